//! Names for the addresses of perf.data, against perf, addr2line and the order in which files are opened.

use crate::profiles::random;
use hotspan::base::ids::{FrameId, StackId};
use hotspan::engine::Engine;
use hotspan::model::symbols::{FRAME_INLINED, NO_ADDRESS};
use std::collections::BTreeMap;
use std::path::Path;

fn bytes(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn add(engine: &mut Engine, name: &str, bytes: Vec<u8>) {
    engine.open(name, bytes.len() as u64, Box::new(std::io::Cursor::new(bytes)), &mut |_| true);
}

/// Opens fixtures together, in order.
fn open(names: &[&str]) -> Engine {
    let mut engine = Engine::default();
    for name in names {
        add(&mut engine, name, bytes(name));
    }
    engine.finish();
    engine
}

fn name(engine: &Engine, frame: FrameId) -> String {
    let s = &engine.session;
    s.symbols.func_name(&s.strings, s.symbols.frames.func[frame.index()]).to_string()
}

/// A frame as text: name, place and line.
fn shown(engine: &Engine, frame: FrameId) -> String {
    let s = &engine.session;
    let k = s.symbols.frames.key(frame.0);
    let file = s.strings.get(s.symbols.funcs.file[k.func.index()]);
    let place = if k.offset != NO_ADDRESS { format!("+{:#x}", k.offset) } else { format!("@{:#x}", k.address) };
    let inlined = if k.flags & FRAME_INLINED != 0 { " (inlined)" } else { "" };
    format!("{}{place} {}:{}{inlined}", name(engine, frame), file.rsplit('/').next().unwrap_or(file), k.line)
}

/// Samples by stack, root first, as text.
fn stacks(engine: &Engine) -> BTreeMap<String, usize> {
    let mut out = BTreeMap::new();
    let stacks = &engine.session.symbols.stacks;
    for p in &engine.session.profiles {
        for stack in &p.samples.stack {
            let mut frames: Vec<String> = stacks.leaf_to_root(*stack).map(|f| shown(engine, f)).collect();
            frames.reverse();
            *out.entry(frames.join("; ")).or_default() += 1;
        }
    }
    out
}

fn diagnostics(engine: &Engine, code: &str) -> Vec<String> {
    let found = engine.session.sources.iter().flat_map(|s| s.ledger.diagnostics.iter()).filter(|(c, _)| *c == code);
    found.flat_map(|(_, e)| e.examples.iter().map(|(_, text)| text.clone())).collect()
}

/// What `addr2line -f -i -e fix ADDRESS` and `perf script -F ip` say of `callgraph.data`.
const FIX: [(&str, usize); 4] = [
    ("work+0x32 fix.c:17; fold@0x11f2 fix.c:10 (inlined)", 36),
    ("work+0x3b fix.c:17; fold@0x11fb fix.c:11 (inlined); mix@0x11fb fix.c:4 (inlined)", 55),
    ("work+0x43 fix.c:17; fold@0x1203 fix.c:11 (inlined); mix@0x1203 fix.c:6 (inlined)", 35),
    ("work+0x48 fix.c:17; fold@0x1208 fix.c:11 (inlined); mix@0x1208 fix.c:6 (inlined)", 134),
];

#[test]
fn inlined_frames_equal_addr2line_wherever_the_debug_information_stands() {
    let expected: BTreeMap<String, usize> = FIX.iter().map(|(s, n)| (format!("libc.so.6+0x2724a@0x2724a :0; {s}"), *n)).collect();
    for beside in [&["elf/fix"][..], &["elf/fix.zlib"], &["elf/fix.zstd"], &["elf/fix.debug"], &["elf/fix.stripped", "elf/fix.debug"]] {
        let engine = open(&[&["perf-data/callgraph.data"], beside].concat());
        assert_eq!(stacks(&engine), expected, "{beside:?}");
    }
}

#[test]
fn the_order_of_files_changes_nothing() {
    let files = ["perf-data/callgraph.data", "elf/fix.stripped", "elf/fix.debug"];
    let expected = stacks(&open(&files));
    assert_eq!(expected.len(), 4);
    for order in [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        assert_eq!(stacks(&open(&order.map(|i| files[i]))), expected, "{order:?}");
        // One drop after the other: rules and views run in between.
        let mut engine = Engine::default();
        for i in order {
            add(&mut engine, files[i], bytes(files[i]));
            engine.finish();
        }
        assert_eq!(stacks(&engine), expected, "{order:?}, one by one");
    }
}

#[test]
fn names_equal_those_of_perf() {
    // Map and kernel symbols; node itself is too large to be a fixture.
    let engine = open(&["perf-map/perf-11088.map.gz", "perf-data/node.data.gz", "kallsyms/kallsyms"]);
    let p = &engine.session.profiles[0];
    let mut ours: BTreeMap<String, usize> = BTreeMap::new();
    for stack in &p.samples.stack {
        *ours.entry(name(&engine, engine.session.symbols.stacks.frame[stack.index()])).or_default() += 1;
    }
    let text = String::from_utf8(bytes("perf-data/node.perf.tsv")).unwrap();
    let kernel = String::from_utf8(bytes("kallsyms/kallsyms")).unwrap();
    let mut compared = 0;
    for line in text.lines() {
        let (count, symbol) = line.split_once('\t').unwrap();
        if symbol.starts_with("JS:") || kernel.lines().any(|l| l.split_whitespace().nth(2) == Some(symbol)) {
            assert_eq!(ours.get(symbol).copied().unwrap_or(0), count.parse::<usize>().unwrap(), "{symbol}");
            compared += 1;
        }
    }
    assert!(compared >= 5, "only {compared} symbols");
    assert_eq!(diagnostics(&engine, "perf-data/no-kernel-symbols"), [""; 0]);
    assert_eq!(diagnostics(&engine, "perf-data/no-jit-symbols"), [""; 0]);
    assert!(diagnostics(&engine, "perf-data/no-symbols")[0].contains(" % of the samples end in /usr/bin/node (build id ebeaf2df"));
}

#[test]
fn without_files_it_is_said_what_is_missing() {
    let engine = open(&["perf-data/node.data.gz"]);
    assert!(diagnostics(&engine, "perf-data/no-jit-symbols")[0].starts_with("58.9 % of the samples end in /tmp/perf-11088.map"));
    assert_eq!(diagnostics(&engine, "perf-data/no-kernel-symbols").len(), 1);
    let frames = stacks(&open(&["perf-data/callgraph.data"]));
    assert!(frames.keys().all(|s| s.contains("; fix+0x12") || s.contains("; fix+0x11")), "{frames:?}");
}

#[test]
fn another_build_is_not_used() {
    let mut fix = bytes("elf/fix");
    // The note of the owner GNU: 4 bytes of name, then the id.
    let at = fix.windows(8).position(|w| w == b"\x03\0\0\0GNU\0").unwrap() + 8;
    fix[at] ^= 0xff;
    let mut engine = Engine::default();
    add(&mut engine, "fix", fix);
    add(&mut engine, "callgraph.data", bytes("perf-data/callgraph.data"));
    engine.finish();
    assert!(stacks(&engine).keys().all(|s| s.contains("fix+0x")));
    let told = diagnostics(&engine, "perf-data/other-build");
    assert!(told.len() == 1 && told[0].contains("/fix"), "{told:?}");
}

#[test]
fn text_of_perf_is_named_too() {
    let text = b"fix 1 1.000000: 5 cycles: \n\t11fb [unknown] (/x/fix)\n\t7f00 [unknown] (/tmp/perf-4242.map)\n\t9004 [unknown] (/tmp/perf-4242.map)\n\n";
    for dump in ["jitdump/small.dump", "jitdump/small-be.dump"] {
        let mut engine = Engine::default();
        add(&mut engine, "perf.txt", text.to_vec());
        add(&mut engine, "fix", bytes("elf/fix"));
        add(&mut engine, "jit-4242.dump", bytes(dump));
        engine.finish();
        let found = stacks(&engine);
        let expected =
            "cold+0x4 :0; [perf-4242.map]@0x7f00 :0; work+0x3b fix.c:17; fold@0x11fb fix.c:11 (inlined); mix@0x11fb fix.c:4 (inlined)";
        assert_eq!(found.keys().collect::<Vec<_>>(), [expected], "{dump}");
    }
    let mut engine = Engine::default();
    add(&mut engine, "perf.txt", text.to_vec().iter().map(|b| if *b == b'9' { b'7' } else { *b }).collect());
    add(&mut engine, "jit-4242.dump", bytes("jitdump/small.dump"));
    engine.finish();
    assert!(stacks(&engine).keys().next().unwrap().starts_with("hot app.js:9+0x4 app.js:10; "), "{:?}", stacks(&engine));
}

#[test]
fn damaged_symbol_files_are_survived() {
    let data = bytes("perf-data/callgraph.data");
    for file in ["elf/fix", "elf/fix.zstd", "elf/fix.debug", "jitdump/small.dump", "kallsyms/kallsyms"] {
        let whole = bytes(file);
        let mut state = 7;
        for round in 0..150 {
            let mut copy = whole.clone();
            if round % 3 == 0 {
                copy.truncate(random(&mut state) as usize % whole.len());
            } else {
                for _ in 0..1 + random(&mut state) % 24 {
                    let at = random(&mut state) as usize % copy.len();
                    copy[at] = random(&mut state) as u8;
                }
            }
            let mut engine = Engine::default();
            add(&mut engine, "fix", copy);
            add(&mut engine, "callgraph.data", data.clone());
            engine.link();
            let profile = engine.session.profiles.last().unwrap();
            assert_eq!(profile.samples.len(), 260, "{file} round {round}");
            assert!(profile.samples.stack.iter().all(|s| s.index() < engine.session.symbols.stacks.len()));
            let _: Vec<StackId> = profile.samples.stack.clone();
        }
    }
}
