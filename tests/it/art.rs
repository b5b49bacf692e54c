//! Method traces of Android, against `dmtracedump` and drawn traces.

use crate::corpus::{Table, folder, open_bytes};
use crate::profiles::survives_damage;
use hotspan::engine::Engine;
use std::collections::BTreeMap;
use std::path::Path;

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/art-trace").join(name)).unwrap()
}

/// Own weight by method with its signature.
fn own(engine: &Engine, value: &str) -> BTreeMap<String, i64> {
    let s = &engine.session;
    let p = &s.profiles[0];
    let column = &p.samples.values[p.value_index(value).unwrap()];
    let mut out = BTreeMap::new();
    for (stack, weight) in p.samples.stack.iter().zip(column) {
        let func = s.symbols.frames.func[s.symbols.stacks.frame[stack.index()].index()].index();
        let full = s.symbols.funcs.full_name[func];
        let name = if full.is_none() { s.symbols.funcs.name[func] } else { full };
        *out.entry(s.strings.get(name).to_string()).or_default() += weight;
    }
    out
}

#[test]
fn own_times_equal_those_of_dmtracedump() {
    let Some(corpus) = folder() else { return };
    let file = "other/ffprof--art-trace-regular.trace.gz";
    let engine = open_bytes(std::fs::read(corpus.join(file)).unwrap());
    let source = &engine.session.sources[0];
    assert_eq!((source.format.as_str(), source.error.as_deref()), ("art-trace", None));
    let mut table = Table::default();
    table.file();
    // The header counts the records, dmtracedump adds up all time.
    table.check(file, "records", source.ledger.records_kept, 13_295);
    let p = &engine.session.profiles[0];
    table.check(file, "total", p.total(1), 6_081_916_000);
    table.check(file, "calls", p.samples.len(), 6777);
    let ours = own(&engine, "cpu");
    for line in String::from_utf8(fixture("dmtracedump.tsv")).unwrap().lines() {
        let (us, method) = line.split_once('\t').unwrap();
        table.check(file, method, ours.get(method).copied().unwrap_or(-1), us.parse::<i64>().unwrap() * 1000);
    }
    table.finish("Android method trace", &[]);
}

#[test]
fn drawn_traces_are_read_in_each_form() {
    let drawn = |names: [(&str, i64); 4]| names.map(|(name, us)| (name.to_string(), us * 1000)).into_iter().collect::<BTreeMap<_, _>>();
    let wall =
        drawn([("com.acme.Main.run()V", 120), ("com.acme.Work.heavy(I)I", 730), ("com.acme.Work.light()V", 870), ("[method 0x1c]", 200)]);
    let cpu =
        drawn([("com.acme.Main.run()V", 20), ("com.acme.Work.heavy(I)I", 260), ("com.acme.Work.light()V", 35), ("[method 0x1c]", 90)]);
    for file in ["dual.trace", "wall.trace", "streamed.trace"] {
        let engine = open_bytes(fixture(file));
        let source = &engine.session.sources[0];
        assert_eq!(source.error, None, "{file}");
        assert_eq!((source.ledger.records_in, source.ledger.records_kept), (11, 10), "{file}");
        assert_eq!(own(&engine, "wall"), wall, "{file}");
        if file != "wall.trace" {
            assert_eq!(own(&engine, "cpu"), cpu, "{file}");
        }
        let p = &engine.session.profiles[0];
        let threads: Vec<(&str, i64, i64)> = p.threads.iter().map(|t| (t.name.as_str(), t.pid, t.tid)).collect();
        assert_eq!(threads, [("main", 7, 7), ("worker", 7, 9)], "{file}");
        let slices = p.slices.as_ref().unwrap();
        assert_eq!(slices.depth, [0, 1, 2, 1, 0, 0], "{file}");
        assert_eq!(slices.start_ns, [100_000, 120_000, 400_000, 1_000_000, 130_000, 1_300_000], "{file}");
        assert_eq!(slices.duration_ns, [1_100_000, 780_000, 50_000, 200_000, 820_000, 0], "{file}");
        for code in ["exit-without-entry", "mismatched-exit", "still-running", "unknown-method"] {
            assert_eq!(source.ledger.diagnostics.count(&format!("art-trace/{code}")), 1, "{file}: {code}");
        }
    }
}

#[test]
fn other_versions_are_named() {
    let mut bytes = fixture("dual.trace");
    let at = bytes.windows(4).position(|w| w == b"SLOW").unwrap();
    bytes[at + 4] = 5;
    let error = open_bytes(bytes).session.sources[0].error.clone().unwrap();
    assert!(error.contains("version 5") && error.contains("simpleperf"), "{error}");
    let packed = [&b"SLOW\x05\0\x20\0"[..], &[0; 64]].concat();
    let error = open_bytes(packed).session.sources[0].error.clone().unwrap();
    assert!(error.contains("Android 16"), "{error}");
}

#[test]
fn damage_is_survived() {
    for name in ["dual.trace", "wall.trace", "streamed.trace"] {
        survives_damage(&format!("art-trace/{name}"), 400);
    }
}
