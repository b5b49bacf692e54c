//! Firefox profiles: the corpus against a plain decoding of the same JSON, drawn profiles of both forms, and damage.

use crate::corpus::{Table, expected, fixture, folder, open, open_bytes};
use crate::profiles::{flat_and_cum, survives_damage};
use hotspan::model::profile::ValueKind;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// All threads of a file, also those of subprocesses and those that are texts of JSON.
fn threads(profile: &Value) -> Vec<(Value, Value)> {
    let mut out = Vec::new();
    for thread in profile["threads"].as_array().into_iter().flatten() {
        match thread.as_str() {
            Some(text) => out.extend(threads(&serde_json::from_str(text).unwrap())),
            None => out.push((profile.clone(), thread.clone())),
        }
    }
    profile["processes"].as_array().into_iter().flatten().for_each(|p| out.extend(threads(p)));
    out
}

/// A cell of a table in either form.
fn cell(table: &Value, column: &str, row: usize) -> Value {
    match table["schema"][column].as_u64() {
        Some(at) => table["data"][row][at as usize].clone(),
        None => table[column][row].clone(),
    }
}

fn rows(table: &Value) -> usize {
    table["data"].as_array().filter(|_| !table["schema"].is_null()).map_or(table["length"].as_u64().unwrap_or(0) as usize, Vec::len)
}

/// The names of a stack, leaf first.
fn names(profile: &Value, thread: &Value, mut stack: Value) -> Vec<String> {
    let strings = [&thread["stringArray"], &thread["stringTable"], &profile["shared"]["stringArray"]];
    let strings = strings.into_iter().find(|s| s.is_array()).unwrap();
    let mut out = Vec::new();
    while let Some(row) = stack.as_u64() {
        let frame = cell(&thread["stackTable"], "frame", row as usize).as_u64().unwrap() as usize;
        let name = match cell(&thread["frameTable"], "func", frame).as_u64() {
            Some(func) => thread["funcTable"]["name"][func as usize].as_u64().unwrap(),
            None => cell(&thread["frameTable"], "location", frame).as_u64().unwrap(),
        };
        out.push(strings[name as usize].as_str().unwrap().to_string());
        stack = cell(&thread["stackTable"], "prefix", row as usize);
    }
    out
}

#[test]
fn the_corpus_equals_a_plain_decoding() {
    let mut table = Table::default();
    for (file, _, facts) in expected(&["gecko"]) {
        let engine = open(&file).unwrap();
        table.file();
        let session = &engine.session;
        let source = &session.sources[0];
        assert_eq!((source.format.as_str(), &source.error), ("gecko", &None), "{file}");
        let json: Value = serde_json::from_str(&std::fs::read_to_string(folder().unwrap().join(&file)).unwrap()).unwrap();
        let p = &session.profiles[0];
        for (row, fact) in facts["threads"].as_array().unwrap().iter().enumerate() {
            // The reference does not look into threads that are texts.
            if fact["samples"].is_null() {
                continue;
            }
            let count = p.samples.thread.iter().filter(|t| t.index() == row).count();
            table.check(&file, "thread", p.threads[row].name.as_str(), fact["name"].as_str().unwrap());
            table.check(&file, "samples", count as u64, fact["samples"].as_u64().unwrap());
            if let Some(tid) = fact["tid"].as_i64() {
                table.check(&file, "tid", p.threads[row].tid, tid);
            }
        }
        let markers: u64 = threads(&json).iter().map(|(_, t)| rows(&t["markers"]) as u64).sum();
        table.check(&file, "markers", source.ledger.diagnostics.count("gecko/markers-not-drawn"), markers);
        let (mut flat, mut cum): (BTreeMap<String, i64>, BTreeMap<String, i64>) = Default::default();
        let mut count = 0;
        for (profile, thread) in threads(&json) {
            for row in 0..rows(&thread["samples"]) {
                count += 1;
                let path = names(&profile, &thread, cell(&thread["samples"], "stack", row));
                if let Some(leaf) = path.first() {
                    *flat.entry(leaf.clone()).or_default() += 1;
                }
                path.into_iter().collect::<BTreeSet<_>>().into_iter().for_each(|name| *cum.entry(name).or_default() += 1);
            }
        }
        table.check(&file, "all samples", p.samples.len(), count);
        let (own_flat, own_cum) = flat_and_cum(&engine, 0, 0);
        // Addresses are shown by their library, and raw places are split into name and file.
        let comparable = |name: &String| !name.starts_with("0x") && !name.ends_with(')') || name == "(root)";
        for (name, n) in flat.iter().filter(|(name, _)| comparable(name)) {
            table.check(&file, &format!("self {name}"), own_flat.get(name), Some(n));
        }
        for (name, n) in cum.iter().filter(|(name, _)| comparable(name)) {
            table.check(&file, &format!("total {name}"), own_cum.get(name), Some(n));
        }
    }
    table.finish("gecko", &[]);
}

#[test]
fn a_drawn_profile_of_the_newest_version() {
    let engine = fixture("gecko/shared.json");
    let (session, p) = (&engine.session, &engine.session.profiles[0]);
    assert_eq!(p.samples.time_ns, [10_500_000, 12_500_000, 14_500_000, 16_500_000, 18_500_000, 11_000_000, 13_000_000]);
    assert_eq!(p.samples.values[0], [1, 1, 0, 1, 1, 3, -1]);
    assert_eq!(p.samples.values[1], [0, 1_500_000, 0, 0, 500_000, 0, 0]);
    assert_eq!((p.value_types[1].kind, p.default_value, p.period), (ValueKind::CpuTime, 1, 2_000_000));
    let threads: Vec<(&str, &str, i64, i64)> = p.threads.iter().map(|t| (t.process.as_str(), t.name.as_str(), t.pid, t.tid)).collect();
    assert_eq!(threads, [("Web", "GeckoMain", 12, 13), ("", "Worker", 12, 14)]);
    let (flat, cum) = flat_and_cum(&engine, 0, 0);
    // An address is shown by its library.
    assert_eq!((flat["work"], flat["inner"], flat["wait"], flat["[libfoo.so]"], flat["main"]), (1, 0, 1, 1, 3));
    assert_eq!((cum["main"], cum["work"]), (6, 1));
    let frames = &session.symbols.frames;
    let of = |name: &str| {
        let name = session.strings.find(name).unwrap();
        (0..frames.len()).find(|f| session.symbols.funcs.name[frames.func[*f].index()] == name).unwrap()
    };
    let inner = of("inner");
    assert_eq!((frames.line[inner], frames.address[inner], frames.offset[inner], frames.flags[inner]), (21, 4112, 16, 1));
    let main = frames.func[of("main")].index();
    let file = session.strings.get(session.symbols.funcs.file[main]);
    assert_eq!((file, session.symbols.funcs.start_line[main], frames.line[of("main")]), ("a.js", 3, 7));
    // A frame without a category has that of its caller.
    let category = |row: usize| p.labels.set(p.samples.labels[row]).first().map(|l| session.strings.get(l.text));
    assert_eq!([category(0), category(1), category(2), category(3)], [Some("Work"), Some("Work"), None, Some("Idle")]);
    let js = &session.profiles[1];
    assert_eq!((js.name.as_str(), js.total(0), js.value_types[0].kind), ("JavaScript allocations", 96, ValueKind::AllocBytes));
    let d = &session.sources[0].ledger.diagnostics;
    assert_eq!((d.count("gecko/markers-not-drawn"), d.count("gecko/no-sample"), d.count("gecko/not-symbolicated")), (2, 1, 1));
}

#[test]
fn a_drawn_raw_profile_with_a_subprocess() {
    let engine = fixture("gecko/raw.json");
    let (session, p) = (&engine.session, &engine.session.profiles[0]);
    // The subprocess began 3 ms later; times count from the start of the first.
    assert_eq!(p.samples.time_ns, [5_000_000, 7_000_000, 9_000_000, 4_000_000]);
    assert_eq!(p.samples.values[1], [100, 200, 0, 50]);
    let threads: Vec<(&str, i64)> = p.threads.iter().map(|t| (t.name.as_str(), t.pid)).collect();
    assert_eq!(threads, [("GeckoMain", 5), ("Content", 6)]);
    let (flat, cum) = flat_and_cum(&engine, 0, 0);
    assert_eq!((flat["load"], flat["0x7f01"], cum["load"], cum["(root)"]), (1, 2, 3, 3));
    let load = session.symbols.funcs.find_by_name(session.strings.find("load").unwrap()).unwrap().index();
    assert_eq!((session.strings.get(session.symbols.funcs.file[load]), session.symbols.funcs.start_line[load]), ("chrome://x/a.js", 12));
    assert!(session.symbols.frames.line.contains(&14));
}

#[test]
fn hostile_tables_are_survived() {
    // Stacks that are their own callers or name nothing, a newer version, and subprocesses in subprocesses in subprocesses.
    let bad = r#"{"meta":{"preprocessedProfileVersion":99,"interval":1},"threads":[{"name":"t","stringArray":["f"],
        "funcTable":{"name":[0],"length":1},"frameTable":{"func":[0,7],"length":2},
        "stackTable":{"frame":[0,1,9],"prefix":[0,2,0],"length":3},"samples":{"stack":[0,1,2,77],"time":[1,2,3,4],"length":4}}]}"#;
    let engine = open_bytes(bad.as_bytes().to_vec());
    let source = &engine.session.sources[0];
    assert_eq!((source.error.as_deref(), source.ledger.records_kept), (None, 4));
    assert_eq!(source.ledger.diagnostics.count("gecko/newer-version"), 1);
    assert_eq!(source.ledger.diagnostics.count("gecko/bad-row"), 4);
    let depth = 20_000;
    let nested = format!("{}{}", r#"{"meta":{"interval":1},"threads":[],"processes":["#.repeat(depth), "]}".repeat(depth));
    let error = open_bytes(nested.into_bytes()).session.sources[0].error.clone();
    assert!(error.is_some_and(|e| e.contains("no threads")));
}

#[test]
fn damage_is_survived() {
    survives_damage("gecko/shared.json", 400);
    survives_damage("gecko/raw.json", 400);
}
