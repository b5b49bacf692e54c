//! One recording in several formats gives the same tables: perf.data with its binary, the text that `perf script` wrote of it,
//! and folded stacks and pprof that a script made of that text (`oracles/same_profile.py`).

use hotspan::analysis::functions::{Options, functions};
use hotspan::analysis::weights::{Selection, weights};
use hotspan::engine::Engine;
use std::collections::BTreeMap;
use std::path::Path;

fn open(files: &[&str]) -> Engine {
    let mut engine = Engine::default();
    for file in files {
        let bytes = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(file)).unwrap();
        engine.open(file, bytes.len() as u64, Box::new(std::io::Cursor::new(bytes)), &mut |_| true);
    }
    engine.link();
    engine
}

/// Own and total weight by function.
fn table(engine: &Engine, value: &str) -> BTreeMap<String, (i64, i64)> {
    let s = &engine.session;
    let value = s.profiles[0].value_index(value).unwrap_or_else(|| panic!("{value}"));
    let w = weights(s, Selection { profile: 0, value, thread: None });
    let rows = functions(s, &w, Options::default()).rows;
    rows.iter().map(|e| (s.strings.get(e.name).to_string(), (e.own, e.total))).collect()
}

#[test]
fn one_profile_in_four_formats_is_one_table() {
    let text = open(&["perf-script/stack.txt.gz"]);
    let samples = table(&text, "samples");
    assert!(samples.len() > 10 && samples["run"].1 > 60, "{samples:?}");
    assert_eq!(table(&open(&["folded/stack.folded"]), "samples"), samples, "folded");
    let pprof = open(&["pprof/stack.pb.gz"]);
    assert_eq!(table(&pprof, "samples"), samples, "pprof");
    assert_eq!(table(&pprof, "cpu"), table(&text, "period"), "pprof, time");
    // The recording itself has no names of the kernel and of the label in assembler; perf had the first from the machine.
    let recording = open(&["perf-data/stack.data.gz", "elf/stack"]);
    let ours = table(&recording, "samples");
    let binary = ["spin", "down", "variable", "on_alarm", "run", "begin", "_start"];
    for name in binary {
        assert_eq!(ours[name].1, samples[name].1, "total of {name}");
    }
    let own = |t: &BTreeMap<String, (i64, i64)>| binary.iter().map(|name| t[*name].0).sum::<i64>();
    assert_eq!(own(&ours), own(&samples));
    assert_eq!(ours.values().map(|(own, _)| own).sum::<i64>(), samples.values().map(|(own, _)| own).sum::<i64>());
}
