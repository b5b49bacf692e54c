//! Copies of stacks in perf.data, unwound with the binaries beside them, against what `perf script` makes of the same file.

use crate::profiles::random;
use hotspan::base::ids::StackId;
use hotspan::engine::Engine;
use hotspan::model::symbols::{FUNC_KERNEL, NO_ADDRESS};
use std::io::Cursor;
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn add(engine: &mut Engine, name: &str, bytes: Vec<u8>) {
    engine.open(name, bytes.len() as u64, Box::new(Cursor::new(bytes)), &mut |_| true);
}

fn open(files: &[PathBuf]) -> Engine {
    let mut engine = Engine::default();
    for file in files {
        add(&mut engine, &file.file_name().unwrap().to_string_lossy(), std::fs::read(file).unwrap());
    }
    engine.link();
    engine
}

/// Frames of the process of each sample, leaf first, as `binary+address` and as names.
fn frames(engine: &Engine) -> Vec<(Vec<String>, Vec<String>)> {
    let s = &engine.session.symbols;
    let p = &engine.session.profiles[0];
    let one = |stack: StackId| {
        let user: Vec<_> = s
            .stacks
            .leaf_to_root(stack)
            .map(|frame| s.frames.key(frame.0))
            .filter(|k| s.funcs.flags[k.func.index()] & FUNC_KERNEL == 0)
            .collect();
        let place = |k: &hotspan::model::symbols::FrameKey| {
            let mapping = s.funcs.mapping[k.func.index()];
            let file = engine.session.strings.get(s.mappings.file[mapping.index()]);
            format!("{}+{:x}", file.rsplit('/').next().unwrap_or(file), k.address)
        };
        let names = user.iter().map(|k| s.func_name(&engine.session.strings, k.func).to_string()).collect();
        (user.iter().filter(|k| k.address != NO_ADDRESS).map(place).collect(), names)
    };
    // As they were unwound, before names were given: addresses are then offsets in the file.
    let raw = p.raw.as_ref().map_or(&p.samples.stack, |raw| &raw.stack);
    raw.iter().zip(&p.samples.stack).map(|(raw, named)| (one(*raw).0, one(*named).1)).collect()
}

/// One line per sample: places as perf prints them, leaf first. perf gives callers by the instruction before the one that the
/// call returns to, unless a signal interrupted it.
fn compare(engine: &Engine, perf: &str) {
    let ours = frames(engine);
    let theirs: Vec<&str> = perf.lines().collect();
    assert_eq!(ours.len(), theirs.len());
    let (mut compared, mut wrong) = (0, Vec::new());
    for (i, ((places, _), line)) in ours.iter().zip(theirs).enumerate() {
        let as_ours = |(depth, place): (usize, &str)| {
            let (file, address) = place.rsplit_once('+').unwrap();
            let address = u64::from_str_radix(address, 16).unwrap();
            let near = |by: u64| format!("{file}+{:x}", address + by);
            let own = places.get(depth).cloned().unwrap_or_default();
            if depth > 0 && own == near(1) { near(1) } else { near(0) }
        };
        let expected: Vec<String> = line.split(' ').enumerate().map(as_ours).collect();
        compared += expected.len();
        if *places != expected {
            wrong.push(format!("sample {i}: {places:?}, perf: {expected:?}"));
        }
    }
    assert!(compared > 100, "{compared} frames");
    println!("{compared} frames of {} samples compared, {} samples differ", ours.len(), wrong.len());
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), ours.len(), wrong[..wrong.len().min(5)].join("\n"));
}

#[test]
fn stacks_equal_those_of_perf_frame_by_frame() {
    let engine = open(&[fixture("perf-data/stack.data.gz"), fixture("elf/stack")]);
    let perf = std::fs::read_to_string(fixture("perf-data/stack.expected.txt")).unwrap();
    compare(&engine, &perf);
    let names: Vec<Vec<String>> = frames(&engine).into_iter().map(|(_, names)| names).collect();
    let with = |parts: &[&str]| names.iter().filter(|n| parts.iter().all(|part| n.iter().any(|name| name == part))).count();
    // A signal interrupted work: below the handler stands what it interrupted.
    assert!(with(&["on_alarm", "run", "_start"]) > 10);
    assert!(with(&["variable", "run", "_start"]) > 10);
}

fn told(engine: &Engine, code: &str) -> (u64, String) {
    let diagnostics = &engine.session.sources.iter().find(|s| s.format == "perf-data").unwrap().ledger.diagnostics;
    let text = diagnostics.iter().find(|(c, _)| *c == code).map_or(String::new(), |(_, e)| e.examples[0].1.clone());
    (diagnostics.count(code), text)
}

#[test]
fn the_binary_may_come_first_later_or_never() {
    let (data, binary) = (fixture("perf-data/stack.data.gz"), fixture("elf/stack"));
    let expected = frames(&open(&[data.clone(), binary.clone()]));
    assert_eq!(frames(&open(&[binary.clone(), data.clone()])), expected);
    let mut engine = open(&[data]);
    let (count, text) = told(&engine, "perf-data/copied-stacks");
    assert_eq!(count, 75);
    assert!(text.starts_with("75 stacks end in ") && text.contains("/stack (build id "), "{text}");
    let alone = frames(&engine);
    for (places, whole) in alone.iter().zip(&expected) {
        assert_eq!(places.0, whole.0[..1], "where the thread was is known without the binary");
    }
    add(&mut engine, "stack", std::fs::read(binary).unwrap());
    engine.finish();
    assert_eq!(frames(&engine), expected);
    assert_eq!(told(&engine, "perf-data/copied-stacks").0, 0);
}

#[test]
fn copies_that_end_too_early_are_told() {
    let engine = open(&[fixture("perf-data/stack-short.data.gz"), fixture("elf/stack")]);
    let all = frames(&engine);
    let (short, _) = told(&engine, "perf-data/stack-copy-short");
    let whole = all.iter().filter(|(_, names)| names.last().is_some_and(|n| n == "_start")).count();
    assert_eq!(short as usize + whole, all.len());
    assert!(short > 10 && whole > 3, "{short} short, {whole} whole");
    let cut = all.iter().find(|(_, names)| names.last().is_some_and(|n| n != "_start")).unwrap();
    assert!(cut.1.len() > 1, "what the copy holds is unwound: {:?}", cut.1);
}

#[test]
fn damage_is_survived() {
    let binary = std::fs::read(fixture("elf/stack")).unwrap();
    let mut data = Vec::new();
    std::io::Read::read_to_end(
        &mut flate2::read::GzDecoder::new(&std::fs::read(fixture("perf-data/stack.data.gz")).unwrap()[..]),
        &mut data,
    )
    .unwrap();
    let mut state = 11;
    for round in 0..400 {
        let (mut elf, mut recording) = (binary.clone(), data.clone());
        for _ in 0..1 + random(&mut state) % 40 {
            if round % 2 == 0 {
                // The tables of the program stand here.
                let at = 0x2000 + random(&mut state) as usize % 0x400;
                elf[at] = random(&mut state) as u8;
            } else {
                let at = 0x200 + random(&mut state) as usize % (recording.len() - 0x200);
                recording[at] = random(&mut state) as u8;
            }
        }
        let mut engine = Engine::default();
        add(&mut engine, "stack.data", recording);
        add(&mut engine, "stack", elf);
        engine.link();
        for p in &engine.session.profiles {
            assert!(p.samples.stack.iter().all(|s| s.get().is_none_or(|s| s.index() < engine.session.symbols.stacks.len())), "{round}");
        }
    }
}

#[test]
fn split_debug_information_is_told() {
    for (file, code) in [("elf/split", "elf/split-debug"), ("elf/split.dwo", "elf/split-debug-file")] {
        let engine = open(&[fixture(file)]);
        let diagnostics = &engine.session.sources[0].ledger.diagnostics;
        assert_eq!(diagnostics.count(code), 1, "{file}");
        assert_eq!(diagnostics.count("elf/stripped"), 0, "{file}");
    }
    for file in ["elf/fix", "elf/fix.debug", "elf/stack"] {
        assert_eq!(open(&[fixture(file)]).session.sources[0].ledger.diagnostics.count("elf/split-debug"), 0, "{file}");
    }
}
