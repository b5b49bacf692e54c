//! Loops out of taken branches and out of machine code, on programs whose loops are known.

use crate::corpus::{fixture, open, open_bytes};
use hotspan::analysis::branch_loops::{BranchLoop, BranchLoops, branch_loops};
use hotspan::engine::Engine;
use hotspan::findings::finding::{Confidence, Finding};
use std::io::Read;
use std::path::Path;

/// The recording of `trips.c`, as text.
fn trips() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/perf-script/trips.perf-script.txt.gz");
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text
}

fn of(engine: &Engine) -> BranchLoops {
    branch_loops(&engine.session, &engine.session.profiles[0])
}

/// The loop of a function whose header is at an offset.
fn get<'a>(engine: &Engine, found: &'a BranchLoops, name: &str, header: u64) -> &'a BranchLoop {
    let s = &engine.session;
    let same = |l: &&BranchLoop| s.symbols.func_name(&s.strings, l.func) == name && l.header == header;
    found.loops.iter().find(same).unwrap_or_else(|| panic!("{name}+{header:#x} was not found: {:?}", found.loops))
}

fn hot<'a>(engine: &'a Engine, name: &str) -> &'a Finding {
    let mut found = engine.report.findings.iter().filter(|f| f.rule == "hot-loop" && f.subject.name == name);
    found.next().unwrap_or_else(|| panic!("{name} was not found"))
}

/// Function, header by the listing of `objdump -d`, and iterations per entry by the source of `trips.c`.
const TRIPS: [(&str, u64, f64); 9] = [
    // 40 times 4 and 20 times 10.
    ("fixed", 0x20, 6.0),
    ("nested", 0x29, 12.0),
    ("nested", 0x10, 7.0),
    ("calling", 0x8, 5.0),
    ("geometric", 0x10, 8.0),
    ("driver", 0x10, 9.0),
    // 256 numbers, four at a time.
    ("scale", 0x40, 64.0),
    ("work", 0x70, 20.0),
    ("work", 0xd8, 10.0),
];

fn check_trips(found: &BranchLoops, engine: &Engine) {
    for (name, header, truth) in TRIPS {
        let l = get(engine, found, name, header);
        let mean = l.mean.unwrap();
        // Three standard errors of a ratio of counts.
        let error = 3.0 / (l.exits as f64).sqrt();
        assert!(l.exits >= 10 && (mean / truth - 1.0).abs() <= error, "{name}+{header:#x}: {mean} ± {error}, not {truth}");
        assert!(f64::from(l.longest) <= truth || name == "geometric" || name == "fixed", "{name}: {} in a row", l.longest);
    }
    let quantiles = |name, header| {
        let l = get(engine, found, name, header);
        (l.median, l.p95)
    };
    assert_eq!(quantiles("fixed", 0x20), (Some(4), Some(10)));
    assert_eq!(quantiles("nested", 0x29), (Some(12), Some(12)));
    assert_eq!(quantiles("calling", 0x8).0, Some(5));
    // Leaves with chance 1/8: half within 6, 95 % within 23 (0.875ⁿ).
    let (median, p95) = quantiles("geometric", 0x10);
    assert!(median == Some(5) || median == Some(6), "{median:?}");
    assert!(p95.is_some_and(|p| (19..=27).contains(&p)), "{p95:?}");
    // A run of 64 fits in no stack of 32 branches.
    assert_eq!(quantiles("scale", 0x40), (None, None));
}

#[test]
fn trip_counts_equal_the_source() {
    let engine = fixture("perf-script/trips.perf-script.txt.gz");
    let found = of(&engine);
    assert_eq!((found.stacks, found.depth), (894, 32));
    check_trips(&found, &engine);
    // The recorder's cycles are instructions: of the loop's body by the listing.
    for (name, header, instructions) in [("fixed", 0x20, 8), ("geometric", 0x10, 14), ("scale", 0x40, 7)] {
        assert_eq!(get(&engine, &found, name, header).cycles, Some(instructions), "{name}");
    }
    assert_eq!(get(&engine, &found, "scale", 0x40).mispredicted, Some(0.0));
    // Straight-line code has no loop.
    let s = &engine.session;
    assert!(found.loops.iter().all(|l| !matches!(s.symbols.func_name(&s.strings, l.func), "straight" | "rnd")));
}

#[test]
fn branches_without_kinds_tell_the_same() {
    let kinds = ["/COND", "/UNCOND", "/CALL", "/RET", "/IND_CALL", "/IND"];
    let text = kinds.iter().fold(trips(), |text, kind| text.replace(&format!("{kind} "), " "));
    assert!(!text.contains("COND") && !text.contains("RET"));
    let engine = open_bytes(text.into_bytes());
    let found = of(&engine);
    check_trips(&found, &engine);
}

#[test]
fn a_finding_tells_how_often_its_loop_iterates() {
    let engine = fixture("perf-script/trips.perf-script.txt.gz");
    let f = hot(&engine, "fixed");
    assert_eq!((f.tier.as_str(), f.confidence), ("T2+T3+T4", Confidence::Confirmed));
    assert!(f.message.contains("; the loop is at +0x20 to +0x39; it iterates 6.0 times per entry"), "{}", f.message);
    let proof = f.evidence.iter().find(|e| e.text.starts_with("by taken branches")).unwrap();
    assert!(proof.text.contains("it loops 6.0 times per entry on average"), "{}", proof.text);
    assert!(proof.text.contains("median 4, 95 % up to 10, over 344 branch stacks; 8 cycles per iteration"), "{}", proof.text);
    assert_eq!(f.loops.len(), 1);
    let row = &f.loops[0];
    assert_eq!((row.place.as_str(), row.depth, row.hottest, row.instructions), ("+0x20 to +0x39", 1, true, None));
    // What a stack of 32 cannot tell is said.
    let f = hot(&engine, "scale");
    assert!(f.tier.ends_with("T4") && f.caveats.iter().any(|c| c.contains("the last 32 taken branches")), "{:?}", f.caveats);
    assert!(f.loops[0].trips.as_ref().is_some_and(|t| t.median.is_none() && t.mean.is_some()));
    // The outer loop of two has the time of the inner one, and not its samples.
    let f = hot(&engine, "nested");
    assert_eq!(f.loops.iter().map(|l| (l.depth, l.hottest)).collect::<Vec<_>>(), [(1, false), (2, true)]);
    assert!(f.loops[0].share >= f.loops[1].share);
}

#[test]
fn without_branches_it_is_said_that_nothing_was_counted() {
    let engine = fixture("perf-script/loops.perf-script.txt.gz");
    let f = hot(&engine, "dot");
    let said = |word: &str| f.caveats.iter().any(|c| c.contains(word));
    assert!(said("not checked, because the recording has no taken branches"), "{:?}", f.caveats);
    assert!(said("not checked, because loops was not opened"), "{:?}", f.caveats);
    assert!(f.loops.is_empty());
}

#[test]
fn branches_of_real_recordings_are_gone_through() {
    for name in ["perf-data/pdc--perf.data.branch-4.14", "perf-data/pdc--perf.data.callgraph_and_branch-3.8.gz"] {
        let Some(engine) = open(name) else { return };
        // Without names of functions there is nothing within which an edge goes back.
        let found = of(&engine);
        assert!(found.stacks > 0 && found.depth >= 16, "{name}: {} stacks of {}", found.stacks, found.depth);
        assert!(found.loops.is_empty(), "{name}: {:?}", found.loops);
    }
}

/// Opens fixtures together, in order; one may be changed on the way.
fn together(files: &[(&str, &str)], change: impl Fn(&str, &mut Vec<u8>)) -> Engine {
    let mut engine = Engine::default();
    for (name, path) in files {
        let mut bytes = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(path)).unwrap();
        change(name, &mut bytes);
        engine.open(name, bytes.len() as u64, Box::new(std::io::Cursor::new(bytes)), &mut |_| true);
    }
    engine.finish();
    engine
}

const TOGETHER: [(&str, &str); 2] = [("trips.txt", "perf-script/trips.perf-script.txt.gz"), ("trips", "elf/trips")];

#[test]
fn with_the_binary_loops_have_lines_and_trips() {
    let engine = together(&TOGETHER, |_, _| {});
    // Branches are counted over the loops of the machine code; all agree with the source again.
    check_trips(&of(&engine), &engine);
    let f = hot(&engine, "fixed");
    assert_eq!((f.tier.as_str(), f.confidence), ("T2+T3+T4+T5", Confidence::Confirmed));
    assert!(f.message.contains("; the loop is lines 13 to 14 of trips.c; it iterates 6.0 times per entry"), "{}", f.message);
    let row = &f.loops[0];
    assert_eq!((row.first_line, row.last_line, row.instructions, row.packed, row.depth), (13, 14, Some(8), Some(0), 1));
    assert!(row.file.ends_with("trips.c") && row.hottest && row.trips.as_ref().unwrap().median == Some(4));
    // The loop in a loop, by lines.
    let f = hot(&engine, "nested");
    assert!(f.message.contains("lines 21 to 25 of trips.c, in the loop of lines 19 to 27"), "{}", f.message);
    assert_eq!(f.loops.iter().map(|l| (l.depth, l.first_line, l.last_line)).collect::<Vec<_>>(), [(1, 19, 27), (2, 21, 25)]);
    let f = hot(&engine, "scale");
    assert!(f.evidence.iter().any(|e| e.text.contains("2 of them compute on vectors of up to 128 bits")), "{:?}", f.evidence);
    // Code that has no loop is a hot spot and no loop, whatever the order of time says of its callers.
    for name in ["straight", "rnd"] {
        let f = hot(&engine, name);
        assert_eq!((f.tier.as_str(), f.confidence), ("T0+T5", Confidence::Possible), "{name}");
        assert!(f.title.starts_with("Hot spot without a loop (T0+T5)") && f.loops.is_empty(), "{}", f.title);
    }
}

#[test]
fn the_order_of_files_changes_no_finding() {
    let one = together(&TOGETHER, |_, _| {});
    let other = together(&[TOGETHER[1], TOGETHER[0]], |_, _| {});
    let told =
        |e: &Engine| e.report.findings.iter().map(|f| (f.fingerprint.clone(), f.message.clone(), f.loops.clone())).collect::<Vec<_>>();
    assert_eq!(told(&one), told(&other));
    assert_eq!(
        one.session.code.functions.iter().map(|f| &f.name).collect::<Vec<_>>(),
        other.session.code.functions.iter().map(|f| &f.name).collect::<Vec<_>>()
    );
}

#[test]
fn code_of_another_build_is_told_by_its_instructions() {
    // Constants of eight bytes in place of `fixed`: its samples lie within instructions then.
    let changed = together(&TOGETHER, |name, bytes| {
        if name == "trips" {
            for (i, byte) in bytes[0x1030..0x1070].iter_mut().enumerate() {
                *byte = [0x48, 0xb8][..].get(i % 10).copied().unwrap_or(0);
            }
        }
    });
    let f = hot(&changed, "fixed");
    assert!(!f.tier.contains("T5") && f.loops.iter().all(|l| l.instructions.is_none()), "{} {:?}", f.tier, f.loops);
    assert!(f.caveats.iter().any(|c| c.contains("another build ran")), "{:?}", f.caveats);
    // The others are as they were, with a reservation.
    let f = hot(&changed, "geometric");
    assert!(f.tier.ends_with("T5") && f.caveats.iter().any(|c| c.contains("may be of another build")), "{:?}", f.caveats);
}

#[test]
fn inlined_functions_lie_in_the_code_that_they_were_inlined_into() {
    let engine = together(&[("perf.data", "perf-data/callgraph.data"), ("fix", "elf/fix")], |_, _| {});
    let f = engine.report.findings.iter().find(|f| f.rule == "hot-loop" && f.tier.contains("T5")).unwrap();
    // fix.c: fold is inlined into work, mix into fold; the loop is fold's.
    let hottest = f.loops.iter().find(|l| l.hottest).unwrap();
    assert_eq!((hottest.file.rsplit('/').next().unwrap(), hottest.inlined.as_str()), ("fix.c", "fold"));
    assert!(hottest.first_line >= 9 && hottest.last_line <= 12, "{hottest:?}");
    assert!(hottest.share > 0.9, "{hottest:?}");
}
