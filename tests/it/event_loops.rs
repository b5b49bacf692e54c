//! Event loops that are held, against an independent count over the raw events, and bursts of work in drawn recordings.

use crate::corpus::{folder, open, open_bytes};
use hotspan::base::view::ViewRef;
use hotspan::engine::Engine;
use hotspan::findings::finding::{Finding, Severity};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::Read;

fn found<'e>(engine: &'e Engine, rule: &str) -> Vec<&'e Finding> {
    engine.report.findings.iter().filter(|f| f.rule == rule).collect()
}

/// Complete events of a task's name, per thread, that no other such event holds; in microseconds, by name of the thread.
fn tasks_of(trace: &Value) -> BTreeMap<String, Vec<f64>> {
    let events = trace.get("traceEvents").unwrap_or(trace).as_array().unwrap();
    let id = |e: &Value| (e["pid"].to_string(), e["tid"].to_string());
    let mut names = BTreeMap::new();
    let mut spans: BTreeMap<(String, String), Vec<(f64, f64)>> = BTreeMap::new();
    for e in events {
        if e["name"] == "thread_name" {
            names.insert(id(e), e["args"]["name"].as_str().unwrap_or("").to_string());
        }
        let name = e["name"].as_str().unwrap_or("");
        let task = ["RunTask", "ThreadControllerImpl::", "TaskQueueManager::ProcessTaskFromWorkQueue", "MessageLoop::RunTask"];
        let task = task.iter().any(|t| name == *t || (t.ends_with("::") && name.starts_with(t)));
        if e["ph"] == "X" && task {
            spans.entry(id(e)).or_default().push((e["ts"].as_f64().unwrap(), e["dur"].as_f64().unwrap_or(0.0)));
        }
    }
    let mut out: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for (thread, list) in spans {
        let outer = list.iter().filter(|(s, d)| !list.iter().any(|(t, e)| t <= s && s + d <= t + e && (t, e) != (s, d)));
        out.entry(names.get(&thread).cloned().unwrap_or_default()).or_default().extend(outer.map(|(_, d)| d));
    }
    out
}

#[test]
fn long_tasks_of_browsers_are_those_that_their_traces_hold() {
    let Some(folder) = folder() else { return };
    let (mut files, mut held) = (0, 0);
    for entry in std::fs::read_dir(folder.join("chrome-trace")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !name.starts_with("lighthouse--") && !name.contains("webview") {
            continue;
        }
        let bytes = std::fs::read(folder.join("chrome-trace").join(&name)).unwrap();
        let mut text = Vec::new();
        if bytes.starts_with(&[0x1f, 0x8b]) {
            flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut text).unwrap();
        } else {
            text = bytes;
        }
        let Ok(trace) = serde_json::from_slice::<Value>(&text) else { continue };
        files += 1;
        let engine = open(&format!("chrome-trace/{name}")).unwrap();
        let told = found(&engine, "long-run");
        let mut expected: BTreeMap<String, (u64, f64)> = BTreeMap::new();
        for (thread, durations) in tasks_of(&trace) {
            let long: Vec<f64> = durations.into_iter().filter(|us| *us >= 50_000.0).collect();
            if !long.is_empty() {
                expected.insert(thread, (long.len() as u64, long.iter().sum::<f64>()));
            }
        }
        let mut seen: BTreeMap<String, (u64, f64)> = BTreeMap::new();
        for f in &told {
            let sum = seen.entry(f.subject.service.clone()).or_default();
            *sum = (sum.0 + f.occurrences.count, sum.1 + f.impact.amount as f64 / 1000.0);
            held += 1;
            // Only threads that draw make more than a note.
            assert!(f.severity == Severity::Info || f.subject.service.contains("Renderer"), "{name}: {}", f.title);
        }
        assert_eq!(
            seen.iter().map(|(k, v)| (k, v.0, v.1.round())).collect::<Vec<_>>(),
            expected.iter().map(|(k, v)| (k, v.0, v.1.round())).collect::<Vec<_>>(),
            "{name}"
        );
    }
    assert!(files >= 8 && held >= 8, "{files} files, {held} threads that are held");
}

#[test]
fn iterations_of_a_node_program_are_the_stretches_without_rest() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cpuprofile/a.cpuprofile");
    let bytes = std::fs::read(path).unwrap();
    let json: Value = serde_json::from_slice(&bytes).unwrap();
    let idle = json["nodes"].as_array().unwrap().iter().find(|n| n["callFrame"]["functionName"] == "(idle)").unwrap()["id"].clone();
    // The program sleeps for 40 ms after each iteration; a stretch is what lies between two sleeps.
    let (mut at, mut begin, mut stretches) = (0.0, None, Vec::new());
    for (sample, delta) in json["samples"].as_array().unwrap().iter().zip(json["timeDeltas"].as_array().unwrap()) {
        at += delta.as_f64().unwrap() / 1000.0;
        if *sample == idle {
            stretches.extend(begin.take().map(|b: f64| at - b));
        } else {
            begin.get_or_insert(at);
        }
    }
    stretches.extend(begin.map(|b| at - b));
    let iterations = stretches.iter().filter(|ms| **ms >= 100.0).count() as u64;
    assert!(iterations >= 8, "{stretches:?}");
    let engine = open_bytes(bytes);
    let told = found(&engine, "long-run");
    let [work] = told.iter().filter(|f| !f.message.contains("not ready")).collect::<Vec<_>>()[..] else { panic!("{told:#?}") };
    // The first stretch loads modules, and is told apart.
    assert!(work.occurrences.count.abs_diff(iterations) <= 1, "{iterations} iterations, {}", work.message);
    assert!(work.severity >= Severity::Warning && work.message.contains("every other request"), "{}", work.message);
    let longest = stretches.iter().copied().fold(0.0, f64::max);
    assert!((work.impact.amount as f64 / 1e6) <= stretches.iter().sum::<f64>() && longest > 100.0, "{}", work.message);
    // The picture begins where the task does: the window lies in the recording.
    let window = ViewRef::parse(&work.evidence[0].view.to_hash()).zoom.unwrap();
    let (from, to) = window.split_once("..").unwrap();
    let (from, to): (f64, f64) = (from.parse().unwrap(), to.parse().unwrap());
    assert!(0.0 <= from && from < to && to <= at * 1e6 + 2e7, "{window}");
}

/// A V8 profile of samples a millisecond apart: `f`, or `(idle)`, for so many samples.
fn v8(parts: &[(&str, usize)]) -> Engine {
    let mut names: Vec<&str> = parts.iter().map(|p| p.0).collect();
    names.sort_unstable();
    names.dedup();
    let frame = |name: &str| {
        format!(r#""callFrame":{{"functionName":"{name}","scriptId":"1","url":"file:///a.js","lineNumber":3,"columnNumber":1}}"#)
    };
    let ids: Vec<String> = (0..names.len()).map(|i| (i + 2).to_string()).collect();
    let mut nodes = format!(r#"{{"id":1,{},"hitCount":0,"children":[{}]}}"#, frame("(root)"), ids.join(","));
    for (i, name) in names.iter().enumerate() {
        let _ = write!(nodes, r#",{{"id":{},{},"hitCount":1}}"#, i + 2, frame(name));
    }
    let samples: Vec<String> =
        parts.iter().flat_map(|(name, n)| std::iter::repeat_n((names.binary_search(name).unwrap() + 2).to_string(), *n)).collect();
    let deltas = vec!["1000"; samples.len()].join(",");
    let end = samples.len() * 1000;
    open_bytes(
        format!(r#"{{"nodes":[{nodes}],"startTime":0,"endTime":{end},"samples":[{}],"timeDeltas":[{deltas}]}}"#, samples.join(","))
            .into_bytes(),
    )
}

#[test]
fn short_tasks_and_programs_that_run_through_are_left_alone() {
    let rounds = |work: usize, n: usize| -> Vec<(&str, usize)> { (0..n).flat_map(|_| [("handle", work), ("(idle)", 30)]).collect() };
    assert!(found(&v8(&rounds(40, 20)), "long-run").is_empty());
    let long = v8(&rounds(120, 20));
    let [f] = found(&long, "long-run")[..] else { panic!("{:#?}", long.report.findings) };
    assert_eq!((f.occurrences.count, f.subject.name.as_str(), f.severity), (20, "handle", Severity::Warning));
    // 120 ms each: 70 ms of each beyond the limit.
    assert!(f.impact.recoverable_high.abs_diff(20 * 70_000_000) <= 40_000_000, "{:?}", f.impact);
    // It never rests: no loop that anybody waits for.
    assert!(found(&v8(&[("handle", 5000)]), "long-run").is_empty());
    // The collector, and one glimpse of the program, belong to the call; two calls with rest between them are two.
    let broken = v8(&[
        ("(idle)", 50),
        ("handle", 40),
        ("(garbage collector)", 10),
        ("handle", 30),
        ("(program)", 1),
        ("handle", 30),
        ("(idle)", 50),
        ("other", 45),
        ("(idle)", 50),
    ]);
    let [f] = found(&broken, "long-run")[..] else { panic!("{:#?}", broken.report.findings) };
    assert_eq!(f.occurrences.count, 1);
    assert!(f.impact.amount.abs_diff(111_000_000) <= 2_000_000, "{}", f.message);
}

#[test]
fn bursts_are_told_with_their_period_and_what_is_in_them() {
    // perf script: `serve` every 25 ms, and once a second 60 ms of `flush`, for 20 seconds.
    let script = |with_flush: bool| {
        let mut at: Vec<(u64, &str)> = (0..800).map(|i| (i * 25_000, "serve")).collect();
        if with_flush {
            at.extend((0..20).flat_map(|b| (0..60).map(move |k| (b * 1_000_000 + 500_000 + k * 1000, "flush"))));
        }
        at.sort_unstable();
        let mut out = String::new();
        for (us, name) in at {
            let _ = write!(
                out,
                "app 7/7 [000] {}.{:06}: 1000000 cpu-clock:\n\t401000 {name}+0x10 (/app)\n\t402000 work+0x20 (/app)\n\n",
                us / 1_000_000,
                us % 1_000_000
            );
        }
        open_bytes(out.into_bytes())
    };
    let engine = script(true);
    let [f] = found(&engine, "bursts")[..] else { panic!("{:#?}", engine.report.findings.iter().map(|f| &f.title).collect::<Vec<_>>()) };
    assert_eq!((f.subject.name.as_str(), f.occurrences.count), ("flush", 20), "{}", f.message);
    // As exactly as slices of a hundred milliseconds tell it.
    assert!(f.title.contains("every 999 ms") || f.title.contains("every 1.00 s"), "{}", f.title);
    assert!(f.severity == Severity::Info);
    assert!(found(&script(false), "bursts").is_empty());
}
