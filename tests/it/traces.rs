//! Traces and timelines against the facts of independent tools, and against damage.

use crate::corpus::{Table, expected, fixture, open};
use crate::profiles::survives_damage;
use hotspan::model::diagnostics::Level;

/// Facts of a trace set: names of theirs and ours.
const COUNTS: &[(&str, &str)] = &[
    ("traces", "traces"),
    ("spans", "spans"),
    ("operations", "operations"),
    ("error_spans", "errors"),
    ("roots_without_parent", "roots"),
    ("orphans", "orphans"),
    ("max_depth", "max_depth"),
];

fn compare(folder: &str, id: &str, explained: &[&str]) {
    let mut table = Table::default();
    for (file, expect, facts) in expected(&[folder]) {
        let engine = open(&file).unwrap();
        table.file();
        let source = &engine.session.sources[0];
        if expect == "malformed" {
            let warned = source.error.is_some() || source.ledger.diagnostics.worst() >= Some(Level::DataLoss);
            table.check(&file, "says what is wrong", warned, true);
            continue;
        }
        table.check(&file, "format", source.format.as_str(), id);
        table.check(&file, "error", source.error.clone(), None);
        let inspected = serde_json::to_value(hotspan::report::inspect::sources(&engine.session)).unwrap();
        let ours = &inspected[0]["trace_set"];
        for (theirs, our) in COUNTS {
            if !facts[*theirs].is_null() {
                table.check(&file, theirs, ours[*our].as_u64(), facts[*theirs].as_u64());
            }
        }
        table.check(&file, "services", &ours["services"], &facts["services"]);
        for fact in facts["per_trace"].as_array().into_iter().flatten() {
            let id = hotspan::formats::span_sink::trace_id(fact["trace"].as_str().unwrap());
            let t = &engine.session.traces;
            let Some(row) = t.traces.id.iter().position(|i| engine.session.strings.get(*i) == id) else {
                table.check(&file, &format!("trace {id}"), "absent", "present");
                continue;
            };
            let duration = t.traces.end_ns[row] - t.traces.start_ns[row];
            table.check(&file, &format!("{id} duration"), (duration as f64 / 1e3).round(), fact["duration_us"].as_f64().unwrap().round());
            table.check(&file, &format!("{id} errors"), u64::from(t.traces.errors[row]), fact["errors"].as_u64().unwrap());
        }
        let lost = source.ledger.diagnostics.worst() >= Some(Level::DataLoss);
        table.check(&file, "lost", lost, expect != "ok");
    }
    table.finish(folder, explained);
}

#[test]
fn otlp_equals_the_reference() {
    let explained = [
        // Its two spans are equal in every field: the second is dropped as a duplicate, and counted.
        "otlp/jaeger-ui--otlp2jaeger-in.json: ",
        // Without service.name the scope names the service.
        "otlp/jaeger-ui--otlp2jaeger-in-error.json: services",
        // Its parents run in a circle; the reference counts no root, here the circle is cut.
        "otlp/ottl--testdata-traces.json: ",
    ];
    compare("otlp", "otlp-json", &explained);
}

#[test]
fn jaeger_equals_the_reference() {
    let explained = [
        // These traces begin at time 0, which the reference takes for a missing time.
        "jaeger/crisp--",
        // Two spans equal in every field: the second is dropped as a duplicate, and counted.
        "jaeger/jaeger--otlp2jaeger-out.json: ",
        "jaeger/jaeger-ui--otlp2jaeger-out.json: ",
        // A reference into another trace is a link here; the parent is the one that parentSpanID names.
        "jaeger/jaeger--ui_01.json: ",
    ];
    compare("jaeger", "jaeger-json", &explained);
}

#[test]
fn zipkin_equals_the_reference() {
    // The server half of a shared span is the child of its client half (Zipkin Lens), so chains are one longer per hop.
    let explained = ["ascend", "skew", "smartthings-oauth-authorization", "yelp"].map(|f| format!("zipkin/zipkin--{f}.json: max_depth"));
    compare("zipkin", "zipkin-json", &explained.each_ref().map(String::as_str));
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
            table.check(&file, "events", source.ledger.records_in, events);
        }
        let phase = |p: &str| facts["phases"][p].as_u64().unwrap_or(0);
        let matched = facts["BE"]["matched"].as_u64().unwrap_or(0) + facts["BE"]["unmatched_begin"].as_u64().unwrap_or(0);
        table.check(&file, "slices", timeline.slices, phase("X") + matched);
        table.check(&file, "instants", timeline.instants, phase("i") + phase("I") + phase("R"));
        table.check(&file, "counters", timeline.counters, phase("C"));
        table.check(&file, "flows", timeline.flows, phase("s") + phase("t") + phase("f"));
        // Sums per thread of complete slices, where the thread has no others.
        let Some(p) = engine.session.profiles.first() else { continue };
        let slices = p.slices.as_ref().unwrap();
        if phase("B") == 0 {
            for row in facts["complete_slices_per_thread_top15"].as_array().into_iter().flatten() {
                let (name, count, sum) = (row[0].as_str().unwrap(), row[1].as_u64().unwrap(), row[2].as_f64().unwrap());
                let Some((pid, tid)) = name.split_once('/').and_then(|(p, t)| Some((p.parse::<i64>().ok()?, t.parse::<i64>().ok()?)))
                else {
                    continue;
                };
                let Some(thread) = p.threads.iter().position(|t| t.pid == pid && t.tid == tid) else { continue };
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
    table.finish("chrome-trace", &[]);
}

#[test]
fn one_trace_in_three_formats_is_one_table() {
    let drawn = |name: &str| {
        let engine = fixture(name);
        let (t, s) = (&engine.session.traces, &engine.session.strings);
        t.traces
            .spans(hotspan::base::ids::TraceRow(0))
            .map(|span| {
                let i = span.index();
                let parent = t.spans.parent[i].get().map_or(String::new(), |p| t.id_text(s, t.spans.id[p.index()]));
                (
                    t.id_text(s, t.spans.id[i]),
                    parent,
                    t.service_name(s, span).to_string(),
                    t.name(s, span).to_string(),
                    t.kind(span).name(),
                    t.spans.start_ns[i],
                    t.spans.duration_ns[i],
                )
            })
            .collect::<Vec<_>>()
    };
    let otlp = drawn("otlp-json/shop.json");
    assert_eq!(otlp.len(), 4);
    assert_eq!(otlp, drawn("jaeger-json/shop.json"));
    assert_eq!(otlp, drawn("zipkin-json/shop.json"));
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

#[test]
fn what_nobody_reads_gets_a_sentence() {
    for (bytes, part) in [(&b"\x00\x01garbage\xff\xfe\xfd"[..], "starts with"), (b"", "empty"), (b"{\"a\":1}", "Accepted")] {
        let engine = crate::corpus::open_bytes(bytes.to_vec());
        let error = engine.session.sources[0].error.clone().unwrap();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn damage_is_survived() {
    for name in ["otlp-json/shop.json", "jaeger-json/shop.json", "zipkin-json/shop.json", "chrome-trace/unclosed.json"] {
        survives_damage(name, 400);
    }
}
