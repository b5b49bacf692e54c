//! Call trees in text, tables and XML against what other tools make of the same files, and against damage.

use crate::corpus::{Table, fixture, folder, open};
use crate::profiles::{flat_and_cum, survives_damage};
use crate::text_profiles::{losses, stacks, upstream};
use hotspan::engine::Engine;
use serde_json::Value;
use std::collections::BTreeMap;

/// Compares stacks with those that a tool's own tests expect.
fn compare(table: &mut Table, file: &str, ours: &BTreeMap<String, i64>, theirs: &BTreeMap<String, i64>) {
    table.file();
    table.check(file, "sum", ours.values().sum::<i64>(), theirs.values().sum());
    table.check(file, "stacks", ours.len(), theirs.len());
    for (stack, weight) in theirs {
        table.check(file, stack, ours.get(stack).copied(), Some(*weight));
    }
}

fn diagnostics(engine: &Engine, code: &str) -> u64 {
    engine.session.sources[0].ledger.diagnostics.count(code)
}

fn text(file: &str) -> Option<String> {
    Some(std::fs::read_to_string(folder()?.join(file)).unwrap())
}

#[test]
fn macos_sample_equals_inferno() {
    let mut table = Table::default();
    let file = "other/inferno--sample.txt";
    if let (Some(engine), Some(theirs)) = (open(file), upstream("inferno--sample.txt--sample-default.txt")) {
        let mut without_thread: BTreeMap<String, i64> = BTreeMap::new();
        for (stack, weight) in theirs {
            let stack = stack.split_once(';').map_or("", |(_, rest)| rest).replace("_{{closure}}", "{{closure}}");
            *without_thread.entry(stack).or_default() += weight;
        }
        // inferno takes a module's name to its last point.
        let ours = stacks(&engine, 0, 0, true).into_iter().map(|(s, w)| (s.replace(".dylib`", "`"), w)).collect();
        // inferno gives a node to the leaf that comes after its subtree, and leaves some leaves out: its stacks are here, with
        // at least its weight, and the sum is that of the threads' lines.
        let ours: BTreeMap<String, i64> = ours;
        table.file();
        for (stack, weight) in &without_thread {
            table.check(file, stack, ours.get(stack).is_some_and(|own| own >= weight), true);
        }
        let threads = text(file).unwrap();
        let threads =
            threads.lines().filter(|l| l.contains(" Thread_")).map(|l| l.split_whitespace().next().unwrap().parse::<i64>().unwrap());
        table.check(file, "sum", ours.values().sum::<i64>(), threads.sum());
        table.check(file, "lost", losses(&engine), 0);
        table.check(file, "threads", engine.session.profiles[0].threads.len(), text(file).unwrap().matches(" Thread_").count());
    }
    table.finish("macos-sample", &[]);
    let engine = fixture("macos-sample/small.txt");
    let p = &engine.session.profiles[0];
    assert_eq!((p.name.as_str(), p.period, p.threads.len(), p.threads[1].tid, p.threads[0].pid), ("app", 2_000_000, 2, 78, 42));
    let by_stack = stacks(&engine, 0, 0, true);
    let expected = [
        ("", 1),
        ("app`work", 5),
        ("libdyld.dylib`start;app`main", 2),
        ("libdyld.dylib`start;app`main;app`std::rt::{{closure}}", 3),
        ("libdyld.dylib`start;app`main;libsystem_kernel.dylib`read", 3),
        ("libdyld.dylib`start;app`main;libsystem_kernel.dylib`read;app`0x1000014f8", 1),
    ];
    assert_eq!(by_stack, expected.map(|(s, w)| (s.to_string(), w)).into());
    let engine = fixture("macos-sample/damaged.txt");
    assert_eq!((losses(&engine), diagnostics(&engine, "tree/children-exceed-parent")), (1, 1));
    assert_eq!(stacks(&engine, 0, 0, false), [(String::new(), 1), ("f;g".to_string(), 3)].into());
}

#[test]
fn pmcstat_keeps_its_counts() {
    let mut table = Table::default();
    let file = "other/speedscope--simple.txt";
    if let (Some(engine), Some(text)) = (open(file), text(file)) {
        table.file();
        let rows: Vec<(&str, i64)> = text
            .lines()
            .filter(|l| l.starts_with(|c: char| c.is_ascii_digit()))
            .map(|l| (l.split(']').nth(1).unwrap().trim(), l.split(['[', ']']).nth(1).unwrap().parse().unwrap()))
            .collect();
        let (flat, _) = flat_and_cum(&engine, 0, 0);
        table.check(file, "total", engine.session.profiles[0].total(0), rows.iter().map(|(_, n)| n).sum());
        for (name, count) in rows {
            let name = name.split(" @ ").next().unwrap();
            table.check(file, name, flat.get(name).copied(), Some(count));
        }
    }
    table.finish("pmcstat", &[]);
    let engine = fixture("pmcstat/small.txt");
    let expected = [("spin", 40), ("main;copy", 20), ("sys_read;uiomove;copy", 30), ("copy", 10)];
    assert_eq!(stacks(&engine, 0, 0, false), expected.map(|(s, w)| (s.to_string(), w)).into());
    assert!(stacks(&engine, 0, 0, true).contains_key("/boot/kernel/kernel`sys_read;/boot/kernel/kernel`uiomove;/boot/kernel/kernel`copy"));
    assert_eq!((engine.session.profiles[1].name.as_str(), engine.session.profiles[1].total(0)), ("instructions", 7));
    assert_eq!((losses(&engine), diagnostics(&engine, "pmcstat/samples-not-shown")), (1, 1));
}

#[test]
fn instruments_copies_keep_their_own_weights() {
    let mut table = Table::default();
    let file = "other/speedscope--simple-time-profile-deep-copy.txt";
    if let (Some(engine), Some(text)) = (open(file), text(file)) {
        table.file();
        let own: i64 = text.lines().skip(1).filter_map(|l| l.split('\t').nth(1)?.trim().parse::<i64>().ok()).sum();
        table.check(file, "own", engine.session.profiles[0].total(0), own * 1_000_000);
        // The root's inclusive weight is printed in the first row.
        table.check(file, "start", flat_and_cum(&engine, 0, 0).1["start"], 4_273_000_000);
        table.check(file, "lost", losses(&engine), 0);
    }
    table.finish("instruments", &[]);
    let engine = fixture("instruments/weights.txt");
    let expected = [("main;work", 1_000_000_000), ("main;work;copy", 200_000_000), ("main;<unknown>", 300_000_000)];
    assert_eq!(stacks(&engine, 0, 0, false), expected.map(|(s, w)| (s.to_string(), w)).into());
    let engine = fixture("instruments/allocations.txt");
    assert_eq!(stacks(&engine, 0, 0, false), [("main;make".to_string(), 1024), ("main;odd".to_string(), 4096)].into());
    assert_eq!((losses(&engine), diagnostics(&engine, "tree/children-exceed-parent")), (1, 1));
}

#[test]
fn xctrace_resolves_its_references() {
    let engine = fixture("xctrace/small.xml");
    let p = &engine.session.profiles[0];
    let expected = [("", 1_000_000), ("app`main;0x18d", 3_000_000), ("app`main;app`f<int>(int)", 2_000_000)];
    assert_eq!(stacks(&engine, 0, 1, true), expected.map(|(s, w)| (s.to_string(), w)).into());
    assert_eq!(p.samples.time_ns, [1_000_000, 2_000_000, 3_000_000, 4_000_000, 5_000_000]);
    let threads: Vec<(&str, i64, i64)> = p.threads.iter().map(|t| (t.name.as_str(), t.pid, t.tid)).collect();
    assert_eq!(threads, [("Main Thread", 123, 0x1a2b), ("worker", 123, 2)]);
    assert_eq!((losses(&engine), diagnostics(&engine, "xctrace/no-backtrace")), (0, 1));
    let engine = fixture("xctrace/cut.xml");
    assert_eq!((diagnostics(&engine, "xctrace/cut"), diagnostics(&engine, "xctrace/undefined-reference")), (1, 1));
    assert_eq!(stacks(&engine, 0, 0, false), [(String::new(), 1), ("a".to_string(), 1)].into());
    // The same stacks as inferno's example in its documentation gives: two of one shape, whatever their addresses.
    let frame = |id: u32, name: &str, addr: u32| format!("<frame id=\"{id}\" name=\"{name}\" addr=\"{addr:#x}\"/>");
    let rows = [(1, 16), (5, 32)].map(|(id, addr)| {
        format!("<row><backtrace id=\"{id}\">{}{}</backtrace></row>", frame(id + 1, "leaf", addr), frame(id + 2, "main", 9))
    });
    let engine = crate::corpus::open_bytes(
        format!("<?xml version=\"1.0\"?><trace-query-result><node>{}</node></trace-query-result>", rows.concat()).into(),
    );
    assert_eq!(stacks(&engine, 0, 0, false), [("main;leaf".to_string(), 2)].into());
}

#[test]
fn vtune_equals_inferno() {
    let mut table = Table::default();
    let file = "other/inferno--vtune.csv";
    if let (Some(engine), Some(theirs)) = (open(file), upstream("inferno--vtune.csv--vtune-default.txt")) {
        let theirs =
            theirs.into_iter().map(|(s, w)| (s.trim_start_matches("[Unknown]`Total").trim_start_matches(';').to_string(), w)).collect();
        // inferno counts in milliseconds.
        let ours: BTreeMap<String, i64> = stacks(&engine, 0, 0, true).into_iter().map(|(s, w)| (s, (w + 500_000) / 1_000_000)).collect();
        compare(&mut table, file, &ours, &theirs);
        table.check(file, "lost", losses(&engine), 0);
    }
    table.finish("vtune", &[]);
    let engine = fixture("vtune/small.csv");
    let expected = [("app`main", 250_000_000), ("app`main;app`work<int, 2>", 1_750_000_000), ("<unknown>", 1)];
    assert_eq!(stacks(&engine, 0, 0, true), expected.map(|(s, w)| (s.to_string(), w)).into());
    assert_eq!((stacks(&engine, 0, 1, true)[""], losses(&engine)), (500_000_000, 1));
    assert!(engine.session.symbols.frames.address.contains(&0x0040_1020));
}

#[test]
fn visual_studio_equals_inferno() {
    let mut table = Table::default();
    let file = "other/inferno--CallTreeSummary.csv";
    if let (Some(engine), Some(theirs)) = (open(file), upstream("inferno--CallTreeSummary.csv--vsprof-default.txt")) {
        let p = &engine.session.profiles[0];
        let ours = stacks(&engine, 0, p.value_index("calls").unwrap(), false);
        // inferno subtracts the calls that a function makes from those that it gets; here they stand as the file has them. The
        // sum of the column was taken with Python's csv module.
        table.file();
        for stack in theirs.keys() {
            table.check(file, stack, ours.contains_key(stack), true);
        }
        table.check(file, "calls", ours.values().sum::<i64>(), 63_576_647);
        table.check(file, "rows", engine.session.sources[0].ledger.records_kept, 168);
        table.check(file, "lost", losses(&engine), 0);
        table.check(file, "shares", p.total(0), 9998);
    }
    table.finish("vsprof", &[]);
    let engine = fixture("vsprof/sampled.csv");
    assert_eq!(stacks(&engine, 0, 0, false), [("Main(string, int)".to_string(), 2), ("Main(string, int);Work".to_string(), 1010)].into());
    assert_eq!(losses(&engine), 1);
}

#[test]
fn ghc_profiles_equal_inferno_and_each_other() {
    let mut table = Table::default();
    let file = "other/inferno--utf8.prof";
    if let (Some(engine), Some(theirs)) = (open(file), upstream("inferno--utf8.prof--utf8.txt")) {
        let p = &engine.session.profiles[0];
        let total = p.total(0);
        // inferno counts in tenths of a percent; 19827 ticks of a millisecond are in the header.
        let ours =
            stacks(&engine, 0, 0, false).into_iter().map(|(s, w)| (s, (w * 1000 + total / 2) / total)).filter(|(_, w)| *w > 0).collect();
        compare(&mut table, file, &ours, &theirs);
        table.check(file, "ticks", total, 19_827_000_000);
        table.check(file, "lost", losses(&engine), 0);
        // Bytes of the tree leave out what the profiler itself allocated.
        table.check(file, "bytes", p.total(1), 90_486_357_376 + 456_096 + 640 + 2448 + 200 + 34_736 + 1528 + 256 + 16 + 16);
    }
    let file = "other/speedscope--simple.prof";
    if let (Some(engine), Some(text)) = (open(file), text(file)) {
        table.file();
        let json: Value = serde_json::from_str(&text).unwrap();
        let p = &engine.session.profiles[0];
        table.check(file, "ticks", p.total(0) / 1_000_000, json["total_ticks"].as_i64().unwrap());
        let (mut todo, mut alloc, mut nodes) = (vec![&json["profile"]], 0, 0);
        while let Some(node) = todo.pop() {
            alloc += node["alloc"].as_i64().unwrap();
            nodes += 1;
            todo.extend(node["children"].as_array().unwrap());
        }
        table.check(file, "alloc", p.total(1), alloc);
        table.check(file, "nodes", engine.session.sources[0].ledger.records_kept, nodes);
    }
    table.finish("ghc-prof", &[]);
    let [ticks, shares, json] = ["ticks.prof", "shares.prof", "same.json"].map(|name| fixture(&format!("ghc-prof/{name}")));
    for value in 0..3 {
        let rows = stacks(&ticks, 0, value, false);
        assert_eq!((&stacks(&shares, 0, value, false), &stacks(&json, 0, value, false)), (&rows, &rows), "{value}");
    }
    assert_eq!(stacks(&ticks, 0, 1, false)["MAIN.MAIN;Main.CAF;Main.go"], 600);
    assert_eq!((losses(&ticks), losses(&shares), losses(&json)), (1, 0, 0));
}

#[test]
fn damage_is_survived() {
    for name in [
        "macos-sample/small.txt",
        "pmcstat/small.txt",
        "instruments/weights.txt",
        "instruments/allocations.txt",
        "xctrace/small.xml",
        "vtune/small.csv",
        "vsprof/sampled.csv",
        "ghc-prof/ticks.prof",
        "ghc-prof/same.json",
    ] {
        survives_damage(name, 300);
    }
}
