//! The smaller profile formats against what other tools make of the same files, and against damage.

use crate::corpus::{Table, expected, fixture, folder, open};
use crate::profiles::{flat_and_cum, survives_damage};
use hotspan::engine::Engine;
use hotspan::model::diagnostics::Level;
use hotspan::model::symbols::{FUNC_UNSYMBOLIZED, NO_ADDRESS};
use serde_json::Value;
use std::collections::BTreeMap;

/// Folded stacks of a profile, counted in the plainest way: frames as `module`name` where a module is wanted.
pub fn stacks(engine: &Engine, profile: usize, value: usize, modules: bool) -> BTreeMap<String, i64> {
    let session = &engine.session;
    let p = &session.profiles[profile];
    let mut out = BTreeMap::new();
    for (stack, weight) in p.samples.stack.iter().zip(&p.samples.values[value]) {
        let mut names: Vec<String> = Vec::new();
        for frame in session.symbols.stacks.leaf_to_root(*stack) {
            let func = session.symbols.frames.func[frame.index()];
            let name = session.symbols.func_name(&session.strings, func);
            let mapping = session.symbols.funcs.mapping[func.index()];
            let module = if mapping.is_none() { "" } else { session.strings.get(session.symbols.mappings.file[mapping.index()]) };
            let address = session.symbols.frames.address[frame.index()];
            let bare = session.symbols.funcs.flags[func.index()] & FUNC_UNSYMBOLIZED != 0 && address != NO_ADDRESS;
            let hex = format!("{address:#x}");
            let name = if bare { &hex } else { name };
            names.push(if modules && !module.is_empty() { format!("{module}`{name}") } else { name.to_string() });
        }
        names.reverse();
        *out.entry(names.join(";")).or_default() += weight;
    }
    out.retain(|_, weight| *weight != 0);
    out
}

/// Folded stacks as a text of lines has them.
pub fn folded(text: &str) -> BTreeMap<String, i64> {
    let mut out = BTreeMap::new();
    for line in text.lines() {
        let (stack, weight) = line.rsplit_once(' ').unwrap();
        *out.entry(stack.to_string()).or_default() += weight.parse::<f64>().unwrap().round() as i64;
    }
    out.retain(|_, weight| *weight != 0);
    out
}

/// Stacks that a tool's own tests expect for a corpus file.
pub fn upstream(name: &str) -> Option<BTreeMap<String, i64>> {
    Some(folded(&std::fs::read_to_string(folder()?.join("expected-upstream").join(name)).unwrap()))
}

/// How much was lost, counted by diagnostics.
pub fn losses(engine: &Engine) -> u64 {
    engine.session.sources[0].ledger.diagnostics.iter().filter(|(_, e)| e.level >= Level::DataLoss).map(|(_, e)| e.count).sum()
}

fn oracle(name: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/oracles").join(name);
    std::fs::read_to_string(path).unwrap()
}

/// Rows of `callgrind_annotate`: name, then one number per event.
fn annotated(text: &str, events: usize) -> Vec<(String, Vec<i64>)> {
    let rows = text.lines().filter(|l| l.contains(':') && l.trim_start().starts_with(|c: char| c.is_ascii_digit()));
    rows.filter_map(|line| {
        let mut numbers = Vec::new();
        let mut rest = line.trim_start();
        while numbers.len() < events {
            let (word, tail) = rest.split_once(' ')?;
            numbers.push(if word == "." { 0 } else { word.replace(',', "").parse().ok()? });
            rest = tail.trim_start();
            if rest.starts_with('(') {
                rest = rest.split_once(')')?.1.trim_start();
            }
        }
        let place = rest.split(" [").next()?;
        Some((place.split_once(':')?.1.to_string(), numbers))
    })
    .collect()
}

#[test]
fn callgrind_equals_callgrind_annotate() {
    let mut table = Table::default();
    let engine = fixture("callgrind/loops.callgrind");
    table.file();
    assert_eq!(losses(&engine), 0);
    let p = &engine.session.profiles[0];
    let events: Vec<&str> = p.value_types.iter().map(|v| v.name.as_str()).collect();
    assert_eq!(events, ["Ir", "Dr", "Dw", "I1mr", "D1mr", "D1mw", "ILmr", "DLmr", "DLmw"]);
    let own = annotated(&oracle("loops.annotate.txt"), events.len());
    assert!(own.len() > 30, "{own:?}");
    let inclusive = annotated(&oracle("loops.annotate-inclusive.txt"), events.len());
    for event in 0..events.len() {
        let (flat, cum) = flat_and_cum(&engine, 0, event);
        let mut sums: BTreeMap<&str, i64> = BTreeMap::new();
        own.iter().for_each(|(name, costs)| *sums.entry(name).or_default() += costs[event]);
        for (name, sum) in &sums {
            table.check("loops", &format!("{} self {name}", events[event]), flat.get(*name).copied().unwrap_or(0), *sum);
        }
        table.check("loops", "total", p.total(event), sums.values().sum());
        // A function of several files is listed once per file there.
        for (name, costs) in inclusive.iter().filter(|(name, _)| inclusive.iter().filter(|(n, _)| n == name).count() == 1) {
            let got = cum.get(name).copied().unwrap_or(0);
            // Where a function has several callers its lines are shared out in whole units.
            let got = if (got - costs[event]).abs() <= 2 { costs[event] } else { got };
            table.check("loops", &format!("inclusive {name}, {}", events[event]), got, costs[event]);
        }
    }
    // callgrind_annotate adds each level of a recursion to the inclusive cost again; here a stack counts once. Of even and odd,
    // which call each other, the graph does not say in which order they stood on the stack.
    table.finish(
        "callgrind",
        &["fib'2", "even", "odd", "even'2", "odd'2"].map(|name| format!("loops: inclusive {name},")).each_ref().map(String::as_str),
    );
    // Other spellings of the same run: addresses, full names, absolute positions, jumps.
    let own = flat_and_cum(&engine, 0, 0).0;
    for other in ["callgrind/addresses.callgrind", "callgrind/jumps.callgrind"] {
        let other_engine = fixture(other);
        assert_eq!(losses(&other_engine), 0, "{other}");
        assert_eq!(flat_and_cum(&other_engine, 0, 0).0, own, "{other}");
        assert!(other_engine.session.symbols.frames.address.iter().any(|a| *a != u64::MAX), "{other}");
    }
}

#[test]
fn callgrind_by_hand() {
    let engine = fixture("callgrind/spec.callgrind");
    let (flat, cum) = flat_and_cum(&engine, 0, 0);
    let rows = |map: &BTreeMap<String, i64>| ["main", "func1", "func2"].map(|name| map[name]);
    assert_eq!((rows(&flat), rows(&cum)), ([20, 100, 700], [820, 400, 700]));
    let (flat, cum) = flat_and_cum(&engine, 0, 1);
    assert_eq!((rows(&flat), rows(&cum)), ([1, 10, 30], [41, 20, 30]));
    let by_stack = stacks(&engine, 0, 0, false);
    assert_eq!(by_stack["main;func1;func2"], 300);
    assert_eq!(by_stack["main;func2"], 400);
    let session = &engine.session;
    let inlined = session.symbols.funcs.file.iter().filter(|f| session.strings.get(**f) == "inline.h").count();
    assert_eq!((inlined, losses(&engine), session.sources[0].ledger.diagnostics.count("callgrind/totals-differ")), (1, 0, 0));
    // 90 of main's cost is even's; even and odd call each other, each level half of the rest.
    let engine = fixture("callgrind/recursion.callgrind");
    let (flat, cum) = flat_and_cum(&engine, 0, 0);
    assert_eq!((flat["even"], flat["odd"], flat["alone"]), (50, 40, 7));
    assert_eq!((cum["main"], cum["even"], cum["alone"]), (100, 90, 7));
    assert!(stacks(&engine, 0, 0, false).contains_key("main;even;odd;even"));
    let engine = fixture("callgrind/cachegrind.out");
    assert_eq!((engine.session.profiles[0].total(0), engine.session.profiles[0].total(1)), (50, 3));
    let engine = fixture("callgrind/damaged.callgrind");
    let ledger = &engine.session.sources[0].ledger;
    assert_eq!((ledger.diagnostics.count("callgrind/bad-line"), ledger.diagnostics.count("callgrind/undefined-name")), (5, 1));
    assert_eq!((engine.session.profiles[0].total(0), ledger.diagnostics.count("callgrind/totals-differ")), (41, 1));
}

#[test]
fn a_graph_with_more_paths_than_atoms_keeps_its_sums() {
    use std::fmt::Write;
    let mut text = "# callgrind format\nevents: Ir\n".to_string();
    // Sixty layers of two functions that each call both of the next: 2^60 paths.
    for layer in 0..60_u64 {
        for side in ["l", "r"] {
            let inclusive = (60 - layer) * 2_000_000;
            write!(text, "fn={side}{layer}\n1 1000000\n").unwrap();
            if layer < 59 {
                for called in ["l", "r"] {
                    write!(text, "cfn={called}{}\ncalls=1 1\n2 {}\n", layer + 1, (inclusive - 2_000_000) / 4).unwrap();
                }
            }
        }
    }
    let started = std::time::Instant::now();
    let engine = crate::corpus::open_bytes(text.into_bytes());
    let (flat, cum) = flat_and_cum(&engine, 0, 0);
    assert!(flat.len() == 120 && flat.values().all(|v| *v == 1_000_000), "{flat:?}");
    assert_eq!(engine.session.sources[0].ledger.diagnostics.count("call-graph/paths-cut"), 1);
    assert!(cum["l0"] > 10_000_000 && cum["l0"] <= 60_000_000, "{}", cum["l0"]);
    assert!(started.elapsed().as_secs() < 60);
}

#[test]
fn dhat_equals_its_json_and_valgrind() {
    let mut table = Table::default();
    let files = expected(&["other"]).into_iter().map(|(file, _, _)| file).filter(|f| f.contains("dhat"));
    for (file, engine) in files.map(|file| (file.clone(), open(&file).unwrap())) {
        table.file();
        let mut bytes = std::fs::read(folder().unwrap().join(&file)).unwrap();
        if file.ends_with(".gz") {
            let mut raw = Vec::new();
            std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&bytes[..]), &mut raw).unwrap();
            bytes = raw;
        }
        let json: Value = serde_json::from_slice(&bytes).unwrap();
        let p = &engine.session.profiles[0];
        table.check(&file, "sites", p.samples.len(), json["pps"].as_array().unwrap().len());
        table.check(&file, "lost", losses(&engine), 0);
        let columns = [("total_bytes", "tb"), ("total_blocks", "tbk"), ("gmax_bytes", "gb"), ("end_blocks", "ebk"), ("max_bytes", "mb")];
        for (ours, theirs) in columns {
            let column = p.value_index(ours).unwrap();
            let sum: i64 = json["pps"].as_array().unwrap().iter().map(|s| s[theirs].as_i64().unwrap()).sum();
            table.check(&file, ours, p.total(column), sum);
            // The innermost frame's text names the function; its weight is the sum of its sites.
            let mut by_leaf: BTreeMap<String, i64> = BTreeMap::new();
            for site in json["pps"].as_array().unwrap() {
                let text = json["ftbl"][site["fs"][0].as_u64().unwrap() as usize].as_str().unwrap();
                let name = text.split_once(": ").unwrap().1.rsplit_once(" (").unwrap().0;
                *by_leaf.entry(name.to_string()).or_default() += site[theirs].as_i64().unwrap();
            }
            let (flat, _) = flat_and_cum(&engine, 0, column);
            for (name, sum) in by_leaf {
                table.check(&file, &format!("{ours} {name}"), flat.get(&name).copied().unwrap_or(0), sum);
            }
        }
    }
    table.finish("dhat", &[]);
    // What valgrind printed at the end of the run.
    let engine = fixture("dhat/loops.dhat.json");
    let p = &engine.session.profiles[0];
    let total = |name| p.total(p.value_index(name).unwrap());
    assert_eq!((total("total_bytes"), total("total_blocks")), (2045, 11));
    assert_eq!((total("gmax_bytes"), total("gmax_blocks")), (1629, 7));
    assert_eq!((total("end_bytes"), total("end_blocks")), (520, 5));
    assert_eq!((total("reads_bytes"), total("writes_bytes")), (0, 1000));
    let engine = fixture("dhat/edges.json");
    let ledger = &engine.session.sources[0].ledger;
    assert_eq!((ledger.records_in, ledger.records_kept, ledger.diagnostics.count("dhat/no-such-frame")), (4, 3, 1));
    let p = &engine.session.profiles[0];
    assert_eq!((p.value_types.len(), p.value_types[0].unit.as_str(), p.total(0)), (2, "unit", 13));
}

#[test]
fn dtrace_equals_inferno() {
    let mut table = Table::default();
    let files = [
        ("other/flamegraph--example-dtrace-stacks.txt.gz", "flamegraph--example-dtrace-stacks.txt--dtrace-example.txt"),
        ("other/inferno--rust-names.txt", "inferno--rust-names.txt--rust-names.txt"),
        ("other/inferno--stack-ustack.txt", "inferno--stack-ustack.txt--stack-ustack.txt"),
    ];
    for (file, result) in files {
        let (Some(engine), Some(theirs)) = (open(file), upstream(result)) else { return };
        table.file();
        let ours = stacks(&engine, 0, 0, true);
        table.check(file, "sum", ours.values().sum::<i64>(), theirs.values().sum());
        table.check(file, "stacks", ours.len(), theirs.len());
        table.check(file, "lost", losses(&engine), 0);
        for (stack, weight) in &theirs {
            // An underscore only keeps an identifier from beginning with a dollar sign; inferno leaves it.
            let plain = stack.replace("_{{closure}}", "{{closure}}");
            table.check(file, stack, ours.get(&plain).copied(), Some(*weight));
        }
    }
    // inferno cuts names with type arguments and `::` behind them (`Harness<T,S>::poll` becomes `Harness`).
    table.finish("dtrace", &["other/inferno--stack-ustack.txt: libc.so.1`_lwp_start;"]);
    let engine = fixture("dtrace/quiet.txt");
    let by_stack = stacks(&engine, 0, 0, true);
    assert_eq!(by_stack["app`main;app`flush;libc.so.1`__write"], 12);
    assert_eq!(by_stack["libc.so.1`_lwp_start;genunix`taskq_thread;genunix`cv_wait"], 3);
    assert_eq!(by_stack["app`0x40010;0xfffffd7fff1a2b3c"], 5);
    let engine = fixture("dtrace/cut.txt");
    assert_eq!((engine.session.profiles[0].total(0), losses(&engine)), (4, 1));
}

#[test]
fn damage_is_survived() {
    for name in [
        "callgrind/spec.callgrind",
        "callgrind/recursion.callgrind",
        "callgrind/jumps.callgrind",
        "dhat/loops.dhat.json",
        "dtrace/quiet.txt",
    ] {
        survives_damage(name, 300);
    }
}
