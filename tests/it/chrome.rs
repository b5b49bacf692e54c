//! Chrome traces against the facts of independent tools, against plain reckonings of the same JSON, and against drawn cases.

use crate::corpus::{Table, expected, fixture, folder, open};
use crate::profiles::{flat_and_cum, survives_damage};
use hotspan::analysis::flame_chart::chart;
use hotspan::analysis::weights::Selection;
use hotspan::engine::Engine;
use hotspan::model::diagnostics::Level;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Read;

const EXPLAINED: &[&str] = &[];

/// The events of a corpus file that is valid JSON, by another parser.
fn json(file: &str) -> Option<Value> {
    let bytes = std::fs::read(folder()?.join(file)).unwrap();
    let mut text = Vec::new();
    if bytes.starts_with(&[0x1f, 0x8b]) {
        flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut text).unwrap();
    } else {
        text = bytes;
    }
    serde_json::from_slice(&text).ok()
}

fn events(json: &Value) -> Vec<&Value> {
    json.as_array().or(json["traceEvents"].as_array()).into_iter().flatten().collect()
}

fn us(v: &Value) -> i64 {
    let n = v.as_f64().or_else(|| v.as_str().and_then(|t| t.parse().ok())).unwrap_or(0.0);
    (n * 1000.0).round() as i64
}

/// Nestable asynchronous slices: one stack per category, scope, id and name; what stays open ends with its id.
fn asynchronous(table: &mut Table, file: &str, engine: &Engine, json: &Value) {
    let mut list: Vec<&Value> = events(json).into_iter().filter(|e| matches!(e["ph"].as_str(), Some("b" | "e" | "n"))).collect();
    if list.is_empty() || list.iter().any(|e| e["id"].is_null() && e["id2"].is_null()) {
        return;
    }
    list.sort_by_key(|e| us(&e["ts"]));
    let id = |e: &Value| {
        let local = if e["id"].is_null() && e["id2"]["global"].is_null() { e["pid"].to_string() } else { String::new() };
        let id = [&e["id"], &e["id2"]["global"], &e["id2"]["local"]].into_iter().find(|v| !v.is_null()).unwrap();
        format!("{} {} {} {local}", e["cat"], e["scope"], id)
    };
    let mut last: BTreeMap<String, i64> = BTreeMap::new();
    let mut open: BTreeMap<(String, String), Vec<i64>> = BTreeMap::new();
    let mut sums: BTreeMap<String, i64> = BTreeMap::new();
    for e in &list {
        let (id, name, at) = (id(e), e["name"].as_str().unwrap_or_default().to_string(), us(&e["ts"]));
        last.insert(id.clone(), at);
        let stack = open.entry((id, name.clone())).or_default();
        match e["ph"].as_str() {
            Some("b") => stack.push(at),
            Some("e") => *sums.entry(name).or_default() += stack.pop().map_or(0, |start| at - start),
            _ => {}
        }
    }
    for ((id, name), stack) in open {
        *sums.entry(name).or_default() += stack.iter().map(|start| last[&id] - start).sum::<i64>();
    }
    let session = &engine.session;
    let p = session.profiles.iter().find(|p| p.slices.is_some()).unwrap();
    let slices = p.slices.as_ref().unwrap();
    let mut got: BTreeMap<String, i64> = BTreeMap::new();
    let tracks: Vec<bool> = p.threads.iter().map(|t| t.tid == -1 && t.name.starts_with("async")).collect();
    for i in (0..slices.stack.len()).filter(|i| tracks[slices.thread[*i].index()]) {
        let frame = session.symbols.stacks.frame[slices.stack[i].index()];
        let name = session.symbols.func_name(&session.strings, session.symbols.frames.func[frame.index()]);
        *got.entry(name.to_string()).or_default() += slices.duration_ns[i];
    }
    for (name, sum) in sums.into_iter().filter(|(_, sum)| *sum > 0) {
        table.check(file, &format!("async {name}"), got.get(&name).copied().unwrap_or(0), sum);
    }
}

/// Profiles of V8: per process and id, samples per function name.
fn v8(table: &mut Table, file: &str, engine: &Engine, json: &Value) {
    let mut profiles: BTreeMap<String, (BTreeMap<i64, String>, Vec<i64>)> = BTreeMap::new();
    for (i, e) in events(json).into_iter().enumerate() {
        let name = e["name"].as_str().unwrap_or_default();
        if !matches!(name, "Profile" | "ProfileChunk" | "CpuProfile") {
            continue;
        }
        let key = if name == "CpuProfile" { format!("{} {i}", e["pid"]) } else { format!("{} {}", e["pid"], e["id"]) };
        let (names, samples) = profiles.entry(key).or_default();
        let cpu = &e["args"]["data"]["cpuProfile"];
        for node in cpu["nodes"].as_array().into_iter().flatten() {
            names.insert(node["id"].as_i64().unwrap(), node["callFrame"]["functionName"].as_str().unwrap().to_string());
        }
        samples.extend(cpu["samples"].as_array().into_iter().flatten().map(|s| s.as_i64().unwrap()));
    }
    let rows = engine.session.profiles.iter().enumerate().filter(|(_, p)| p.slices.is_none() && p.value_index("time").is_some());
    let rows: Vec<usize> = rows.map(|(i, _)| i).collect();
    table.check(file, "V8 profiles", rows.len(), profiles.len());
    for (row, (names, samples)) in rows.into_iter().zip(profiles.into_values()) {
        table.check(file, "V8 samples", engine.session.profiles[row].samples.len(), samples.len());
        let mut counts: BTreeMap<String, i64> = BTreeMap::new();
        samples.iter().for_each(|s| *counts.entry(names[s].clone()).or_default() += 1);
        let (flat, _) = flat_and_cum(engine, row, 0);
        for (name, count) in counts.into_iter().filter(|(name, _)| !name.is_empty()) {
            table.check(file, &format!("samples of {name}"), flat.get(&name).copied(), Some(count));
        }
    }
}

#[test]
fn chrome_trace_equals_the_reference() {
    let mut table = Table::default();
    for (file, expect, facts) in expected(&["chrome-trace"]) {
        let engine = open(&file).unwrap();
        table.file();
        let source = &engine.session.sources[0];
        table.check(&file, "format", source.format.as_str(), "chrome-trace");
        table.check(&file, "error", source.error.clone(), None);
        let timeline = source.timeline.unwrap_or_default();
        if let Some(events) = facts["events"].as_u64() {
            let samples = facts["top_level_samples"].as_u64().unwrap_or(0);
            table.check(&file, "events", source.ledger.records_in, events + samples);
        }
        let phase = |p: &str| facts["phases"][p].as_u64().unwrap_or(0);
        let matched = facts["BE"]["matched"].as_u64().unwrap_or(0) + facts["BE"]["unmatched_begin"].as_u64().unwrap_or(0);
        table.check(&file, "slices", timeline.slices, phase("X") + matched);
        table.check(&file, "instants", timeline.instants, phase("i") + phase("I") + phase("R"));
        table.check(&file, "counters", timeline.counters, phase("C"));
        table.check(&file, "flows", timeline.flows, phase("s") + phase("t") + phase("f"));
        table.check(&file, "async", timeline.asyncs, phase("b") + phase("S"));
        if let Some(json) = json(&file) {
            asynchronous(&mut table, &file, &engine, &json);
            v8(&mut table, &file, &engine, &json);
        }
        // Sums per thread of complete slices, where the thread has no others.
        let Some((p, slices)) = engine.session.profiles.iter().find_map(|p| Some((p, p.slices.as_ref()?))) else { continue };
        if phase("B") == 0 {
            for row in facts["complete_slices_per_thread_top15"].as_array().into_iter().flatten() {
                let (name, count, sum) = (row[0].as_str().unwrap(), row[1].as_u64().unwrap(), row[2].as_f64().unwrap());
                let Some((pid, tid)) = name.split_once('/').and_then(|(p, t)| Some((p.parse::<i64>().ok()?, t.parse::<i64>().ok()?)))
                else {
                    continue;
                };
                // Thread 0 is shown as the main thread, whose id is that of the process.
                let at = |tid: i64| p.threads.iter().position(|t| t.pid == pid && t.tid == tid);
                let Some(thread) = at(tid).or_else(|| at(if tid == 0 { pid } else { tid })) else { continue };
                let own: Vec<i64> =
                    slices.thread.iter().zip(&slices.duration_ns).filter(|(t, _)| t.index() == thread).map(|(_, d)| *d).collect();
                table.check(&file, &format!("slices of {name}"), own.len() as u64, count);
                table.check(&file, &format!("sum of {name}"), (own.iter().sum::<i64>() as f64 / 1e4).round(), (sum / 10.0).round());
            }
        }
        if expect == "ok" {
            table.check(&file, "lost", source.ledger.diagnostics.worst() >= Some(Level::DataLoss), false);
        }
    }
    table.finish("chrome-trace", EXPLAINED);
}

#[test]
fn a_cut_array_keeps_its_events() {
    let engine = fixture("chrome-trace/unclosed.json");
    let source = &engine.session.sources[0];
    assert_eq!(source.timeline.map(|t| t.slices), Some(2));
    let p = &engine.session.profiles[0];
    // outer 0–100 µs, inner 10–40 µs: self times 70 and 30.
    assert_eq!(p.samples.values[0], [70_000, 30_000]);
}

#[test]
fn events_at_one_moment_do_not_pile_up() {
    // Ends without a begin, and slices without length, all at one time: neither may cost more than their number.
    let end = r#"{"ph":"E","pid":1,"tid":1,"ts":5,"name":"NAME"}"#;
    let flat = r#"{"ph":"X","pid":1,"tid":1,"ts":5,"dur":0,"name":"flat"}"#;
    let events: Vec<String> =
        (0..60_000).map(|i| if i % 2 == 0 { end.replace("NAME", &format!("n{i}")) } else { flat.to_string() }).collect();
    let engine = crate::corpus::open_bytes(format!("[{}]", events.join(",")).into_bytes());
    let source = &engine.session.sources[0];
    assert_eq!((source.ledger.records_in, source.ledger.records_kept), (60_000, 30_000));
    assert_eq!(source.ledger.diagnostics.count("chrome-trace/end-without-begin"), 30_000);
    let slices = engine.session.profiles[0].slices.as_ref().unwrap();
    assert_eq!((slices.depth.len(), slices.depth.iter().max()), (30_000, Some(&0)));
}

/// `tests/fixtures/chrome-trace/phases.json`: every phase once or twice.
#[test]
fn every_phase_has_its_place() {
    let engine = fixture("chrome-trace/phases.json");
    let session = &engine.session;
    let source = &session.sources[0];
    let t = source.timeline.unwrap();
    assert_eq!((t.slices, t.asyncs, t.instants, t.counters, t.flows), (4, 7, 2, 1, 3));
    let p = &session.profiles[0];
    let threads: Vec<(&str, &str, i64, i64)> = p.threads.iter().map(|t| (t.process.as_str(), t.name.as_str(), t.pid, t.tid)).collect();
    assert_eq!(
        threads,
        [
            // Thread 0 of a process without a main thread is its main thread.
            ("shop", "", 7, 7),
            // Ids that are texts are names.
            ("gpu", "stream 1", -1, -1),
            // Here both 0 and the process's own id are there, so 0 stays what it is.
            ("", "", 8, 0),
            ("", "", 8, 8),
            ("shop", "async net", 7, -1),
            ("", "async net", 8, -1),
            ("shop", "async old", 7, -1),
        ]
    );
    // Two loads at once, each with a part; the second lies on rows of its own. A third, later, has room on the first again.
    let boxes = chart(session, Selection::default()).unwrap();
    let row = |thread: u32| boxes.tracks.iter().find(|t| t.thread == Some(thread)).unwrap().clone();
    let shown = |thread: u32| -> Vec<String> {
        let track = row(thread);
        (0..boxes.len())
            .filter(|i| (track.first_row..track.first_row + track.rows).contains(&boxes.row[*i]))
            .map(|i| {
                let name = |i: usize| session.symbols.func_name(&session.strings, boxes.func[i]);
                let parent = boxes.parent.get(i).filter(|p| (**p as usize) < boxes.len()).map_or("", |p| name(*p as usize));
                format!("{} {}{}<{} {}+{}", boxes.row[i] - track.first_row, "", name(i), parent, boxes.start[i], boxes.width[i])
            })
            .collect()
    };
    assert_eq!(
        shown(4),
        [
            "0 load< 100000+100000",
            "1 part<load 110000+50000",
            "2 load< 120000+100000",
            "3 part<load 150000+10000",
            "1 mark<load 190000+0",
            "0 load< 210000+40000",
        ]
    );
    // The same local id in another process is another slice.
    assert_eq!(shown(5), ["0 load< 130000+20000"]);
    // Legacy events: steps that begin (T) and one that has ended (p), which overlaps the step that runs.
    assert_eq!(shown(6), ["0 job< 300000+100000", "1 wait<job 320000+40000", "1 work<job 360000+40000"]);
    // What was under way is weighed apart from what threads did.
    assert_eq!((p.value_types[1].name.as_str(), p.total(0)), ("async", 62_000));
    // Two profiles with one id in two processes, and the samples with their frames, which stand behind the events.
    let others: Vec<(&str, &str, i64, i64)> =
        session.profiles[1..].iter().map(|p| (p.name.as_str(), p.threads[0].process.as_str(), p.threads[0].tid, p.total(0))).collect();
    assert_eq!(others, [("CPU profile", "shop", 7, 4), ("CPU profile", "", 9, 1), ("samples", "shop", 7, 6)]);
    let v8 = &session.profiles[1];
    assert_eq!(v8.samples.time_ns, [1_100_000, 1_200_000, 1_300_000, 1_400_000]);
    assert_eq!(v8.samples.values[1], [100_000, 100_000, 100_000, 100_000]);
    let lines: Vec<u32> =
        v8.samples.stack.iter().map(|s| session.symbols.frames.line[session.symbols.stacks.frame[s.index()].index()]).collect();
    assert_eq!(lines, [5, 6, 12, 5]);
    let (flat, cum) = flat_and_cum(&engine, 3, 0);
    assert_eq!((flat["inner"], cum["outer"], flat["bare"]), (4, 5, 1));
    let d = &source.ledger.diagnostics;
    assert_eq!(d.count("chrome-trace/async-begin-without-end"), 0);
    assert_eq!(d.count("chrome-trace/async-end-without-begin"), 1);
    assert_eq!(d.count("chrome-trace/not-drawn"), 4);
}

#[test]
fn damage_is_survived() {
    for name in ["chrome-trace/unclosed.json", "chrome-trace/odd.json", "chrome-trace/phases.json"] {
        survives_damage(name, 400);
    }
}
