//! Dumps of runtimes and plans of queries against what their own tools count, and against damage.

use crate::corpus::{Table, fixture, folder, open};
use crate::profiles::{flat_and_cum, survives_damage};
use crate::text_profiles::{losses, stacks};
use hotspan::base::ids::LabelSetId;
use hotspan::engine::Engine;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// How many samples carry a text label.
fn labelled(engine: &Engine, key: &str, text: &str) -> usize {
    let (session, p) = (&engine.session, &engine.session.profiles[0]);
    let has =
        |set: &LabelSetId| p.labels.set(*set).iter().any(|l| session.strings.get(l.key) == key && session.strings.get(l.text) == text);
    p.samples.labels.iter().filter(|set| has(set)).count()
}

fn own_fixture(name: &str) -> String {
    std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap()
}

#[test]
fn stackprof_equals_its_own_counts() {
    let mut table = Table::default();
    for file in ["other/speedscope--object-stackprof.json", "other/speedscope--simple-cpu-stackprof.json"] {
        let (Some(engine), Some(folder)) = (open(file), folder()) else { continue };
        table.file();
        let json: Value = serde_json::from_slice(&std::fs::read(folder.join(file)).unwrap()).unwrap();
        let (flat, cum) = flat_and_cum(&engine, 0, 0);
        table.check(file, "samples", engine.session.profiles[0].total(0), json["samples"].as_i64().unwrap());
        table.check(file, "lost", losses(&engine), 0);
        let mut by_name: BTreeMap<&str, (i64, i64, usize)> = BTreeMap::new();
        for frame in json["frames"].as_object().unwrap().values() {
            let sums = by_name.entry(frame["name"].as_str().unwrap()).or_default();
            sums.0 += frame["samples"].as_i64().unwrap();
            sums.1 += frame["total_samples"].as_i64().unwrap();
            sums.2 += 1;
        }
        for (name, (own, total, frames)) in by_name {
            table.check(file, &format!("self {name}"), flat.get(name).copied().unwrap_or(0), own);
            // Two frames of one name may stand on one stack.
            if frames == 1 {
                table.check(file, &format!("total {name}"), cum.get(name).copied().unwrap_or(0), total);
            }
        }
    }
    table.finish("stackprof", &[]);
    let raw = fixture("stackprof/raw.json");
    let by_stack = stacks(&raw, 0, 1, false);
    let expected = [("<main>", 1_000_000), ("<main>;Object#work", 4_000_000), ("<main>;Object#work;Array#sort", 1_000_000)];
    assert_eq!(by_stack, expected.map(|(s, w)| (s.to_string(), w)).into());
    let p = &raw.session.profiles[0];
    assert_eq!(p.samples.time_ns, [100_000, 1_100_000, 2_100_000, 3_100_000, 4_100_000, 5_100_000]);
    assert_eq!((p.period, raw.session.sources[0].ledger.diagnostics.count("stackprof/missed-samples")), (1_000_000, 1));
    // Without raw stacks the graph gives the same.
    let graph = fixture("stackprof/graph.json");
    assert_eq!((stacks(&graph, 0, 0, false), stacks(&graph, 0, 1, false)), (stacks(&raw, 0, 0, false), by_stack));
    let damaged = fixture("stackprof/damaged.json");
    let ledger = &damaged.session.sources[0].ledger;
    assert_eq!((ledger.diagnostics.count("stackprof/undefined-frame"), ledger.diagnostics.count("stackprof/bad-stacks")), (1, 1));
    assert_eq!((damaged.session.profiles[0].total(0), damaged.session.profiles[0].total(1)), (4, 40));
}

#[test]
fn memray_and_tracemalloc_keep_what_is_printed() {
    let engine = fixture("memray/peak.csv");
    let (mut bytes, mut count) = (0, 0);
    for line in own_fixture("memray/peak.csv").lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        (count, bytes) = (count + fields[1].parse::<i64>().unwrap(), bytes + fields[2].parse::<i64>().unwrap());
    }
    let p = &engine.session.profiles[0];
    assert_eq!((p.total(0), p.total(1), losses(&engine)), (bytes, count, 0));
    let (flat, cum) = flat_and_cum(&engine, 0, 0);
    // 50 and 20 arrays of 20,000 bytes and one more each.
    assert_eq!((cum["left"], cum["right"], cum["main"]), (50 * 20_001, 20 * 20_001, 70 * 20_001), "{flat:?}");
    let engine = fixture("memray/stats.json");
    let json: Value = serde_json::from_str(&own_fixture("memray/stats.json")).unwrap();
    let p = &engine.session.profiles[0];
    assert_eq!(
        (p.total(0), p.total(1)),
        (json["total_bytes_allocated"].as_i64().unwrap(), json["total_num_allocations"].as_i64().unwrap())
    );
    // Statistics by line, compared, and with tracebacks, all of one run.
    let engine = fixture("tracemalloc/stat.txt");
    assert_eq!(stacks(&engine, 0, 0, false)["tm.py:3"], 75_161);
    assert_eq!(stacks(&engine, 0, 1, false)["tm.py:3"], 144);
    let engine = fixture("tracemalloc/diff.txt");
    let p = &engine.session.profiles[0];
    assert_eq!((p.value_types.len(), p.total(3)), (4, 41));
    let engine = fixture("tracemalloc/traceback.txt");
    assert_eq!(stacks(&engine, 0, 1, false)["tm.py:4;tm.py:3;tm.py:3"], 101);
    let engine = fixture("tracemalloc/top.txt");
    let sizes = stacks(&engine, 0, 0, false);
    assert_eq!((sizes["base64.py:414"], sizes["base64.py:306"], sizes["<frozen importlib>:4"]), (429_875, 1 << 20, 12));
    assert_eq!((sizes[""], engine.session.profiles[0].value_types.len()), (3_689_267, 1));
}

#[test]
fn goroutines_equal_the_profile_of_the_same_moment() {
    let mut table = Table::default();
    let file = "other/gonotes--1.net.http.pprof.goroutine.debug2.txt";
    if let (Some(engine), Some(folder)) = (open(file), folder()) {
        table.file();
        let text = std::fs::read_to_string(folder.join(file)).unwrap();
        let headers = text.lines().filter(|l| l.starts_with("goroutine ") && l.ends_with("]:")).count();
        table.check(file, "goroutines", engine.session.profiles[0].samples.len(), headers);
        table.check(file, "lost", losses(&engine), 0);
        let waiting = text.lines().filter(|l| l.starts_with("goroutine ") && l.contains(" [IO wait")).count();
        table.check(file, "IO wait", labelled(&engine, "state", "IO wait"), waiting);
        let frames = text.lines().filter(|l| l.starts_with('\t')).count() - text.matches("created by ").count();
        let p = &engine.session.profiles[0];
        let depths: usize = p.samples.stack.iter().map(|s| engine.session.symbols.stacks.leaf_to_root(*s).count()).sum();
        table.check(file, "frames", depths, frames);
    }
    let engine = fixture("go-dump/debug2.txt");
    let profile = fixture("oracles/goroutine.pb.gz");
    let (_, ours) = flat_and_cum(&engine, 0, 0);
    let (_, theirs) = flat_and_cum(&profile, 0, 0);
    table.file();
    table.check("debug2", "goroutines", engine.session.profiles[0].total(0), profile.session.profiles[0].total(0));
    for (name, count) in theirs.iter().filter(|(name, _)| name.starts_with("main.")) {
        table.check("debug2", name, ours.get(name).copied(), Some(*count));
    }
    table.finish("go-dump", &[]);
    assert_eq!((labelled(&engine, "state", "semacquire"), labelled(&engine, "created by", "main.main")), (3, 7));
    let engine = fixture("go-dump/panic.txt");
    assert_eq!((engine.session.profiles[0].total(0), flat_and_cum(&engine, 0, 0).1["main.receive"]), (8, 3));
    let engine = fixture("go-dump/forms.txt");
    let expected = [("main.main;main.f;panic", 1), ("main.(*T[...]).recv", 1), ("", 2)];
    assert_eq!(stacks(&engine, 0, 0, false), expected.map(|(s, w)| (s.to_string(), w)).into());
    let ledger = &engine.session.sources[0].ledger;
    assert_eq!((ledger.diagnostics.count("go-dump/no-stack"), ledger.diagnostics.count("go-dump/frames-elided")), (2, 1));
    assert!(engine.session.profiles[0].labels.labels.iter().any(|l| l.number == 5));
}

#[test]
fn java_threads_are_counted_by_state() {
    let engine = fixture("java-dump/jstack.txt");
    let text = own_fixture("java-dump/jstack.txt");
    let p = &engine.session.profiles[0];
    assert_eq!(p.samples.len(), text.lines().filter(|l| l.starts_with('"')).count());
    let blocked = text.matches("java.lang.Thread.State: BLOCKED (on object monitor)").count();
    assert_eq!((labelled(&engine, "state", "BLOCKED (on object monitor)"), blocked), (3, 3));
    let (flat, cum) = flat_and_cum(&engine, 0, 0);
    assert_eq!((flat["J.want"], cum["J.hold"], labelled(&engine, "waits for", "java.lang.Object")), (3, 1, 3));
    assert_eq!(p.threads.iter().filter(|t| t.name.starts_with("wanter-")).count(), 3);
    let frames = text.lines().filter(|l| l.starts_with("\tat ")).count();
    let depths: usize = p.samples.stack.iter().map(|s| engine.session.symbols.stacks.leaf_to_root(*s).count()).sum();
    assert_eq!((depths, losses(&engine)), (frames, 0));
    let engine = fixture("java-dump/twice.txt");
    let expected = [("demo.Main.main;java.lang.Object.wait0", 1), ("demo.Main.main", 1), ("", 1)];
    assert_eq!(stacks(&engine, 0, 0, false), expected.map(|(s, w)| (s.to_string(), w)).into());
    assert!(engine.session.sources[0].ledger.choices.iter().any(|c| c.what == "dumps"));
}

#[test]
fn plans_add_up_to_the_time_of_the_statement() {
    for name in ["parallel", "cte", "subplan"] {
        let (json, text) = (fixture(&format!("pg-explain/{name}.json")), fixture(&format!("pg-explain/{name}.txt")));
        let plan: Value = serde_json::from_str(&own_fixture(&format!("pg-explain/{name}.json"))).unwrap();
        let ms = |key: &str| (plan[0][key].as_f64().unwrap() * 1e6).round() as i64;
        let ledger = &json.session.sources[0].ledger;
        let stated = ms("Planning Time") + ms("Execution Time");
        let (over, total) = (ledger.diagnostics.count("tree/children-exceed-parent"), json.session.profiles[0].total(0));
        // Of the common table expression a few rows were made for the scan of the initial plan: it is counted once in each.
        let shared = if name == "cte" { 1 } else { 0 };
        assert_eq!(over, shared, "{name}: {:?}", ledger.diagnostics);
        assert!(total >= stated && total - stated <= i64::try_from(shared).unwrap() * 600_000, "{name}: {total} {stated}");
        // Two runs of one statement: times differ, the nodes and their loops do not.
        let names = |engine: &Engine| stacks(engine, 0, 2, false).into_keys().collect::<BTreeSet<_>>();
        assert_eq!(names(&json), names(&text), "{name}");
        assert_eq!(stacks(&json, 0, 2, false).values().sum::<i64>(), stacks(&text, 0, 2, false).values().sum::<i64>(), "{name}");
    }
    let (flat, cum) = flat_and_cum(&fixture("pg-explain/subplan.txt"), 0, 0);
    // 19 loops of 35.387 ms, and what the subplan and the scan around it add to that.
    assert_eq!((flat["Seq Scan on orders o"], flat["Aggregate (SubPlan 1)"]), (19 * 35_387_000, 19 * 32_000));
    assert_eq!(cum["Index Only Scan using customers_id_idx on customers c"], 673_298_000);
    let (flat, _) = flat_and_cum(&fixture("pg-explain/parallel.txt"), 0, 0);
    // The scan of customers was done by one of three processes.
    assert_eq!((flat["Parallel Seq Scan on orders o"], flat["Parallel Seq Scan on customers c"]), (6_361_000, 59_333));
    let by_stack = stacks(&fixture("pg-explain/cte.txt"), 0, 0, false);
    let scan = "Execution;Limit;Hash Semi Join;CTE Scan on big b";
    assert_eq!(by_stack[&format!("{scan};HashAggregate (CTE big)")], 104_931_000 - 24_691_000);
    let engine = fixture("pg-explain/rounding.json");
    let by_stack = stacks(&engine, 0, 0, false);
    assert_eq!(by_stack["Execution;Nested Loop Left Join;Index Scan using i on u"], 700_000);
    assert_eq!((by_stack["Planning"], by_stack["Execution"], by_stack["Execution;Trigger fk"]), (250_000, 500_000, 500_000));
    assert_eq!(engine.session.sources[0].ledger.diagnostics.count("tree/children-exceed-parent"), 1);
    let plain = b"[{\"Plan\":{\"Node Type\":\"Result\",\"Startup Cost\":0.0,\"Total Cost\":0.01,\"Plan Rows\":1}}]";
    let error = crate::corpus::open_bytes(plain.to_vec()).session.sources[0].error.clone();
    assert!(error.as_deref().is_some_and(|e| e.contains("ANALYZE")), "{error:?}");
}

#[test]
fn damage_is_survived() {
    for name in [
        "stackprof/raw.json",
        "stackprof/graph.json",
        "memray/peak.csv",
        "memray/stats.json",
        "tracemalloc/diff.txt",
        "tracemalloc/traceback.txt",
        "go-dump/forms.txt",
        "java-dump/twice.txt",
        "pg-explain/cte.json",
        "pg-explain/cte.txt",
    ] {
        survives_damage(name, 300);
    }
}
