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
fn what_nobody_reads_gets_a_sentence() {
    for (bytes, part) in [(&b"\x00\x01garbage\xff\xfe\xfd"[..], "starts with"), (b"", "empty"), (b"{\"a\":1}", "Accepted")] {
        let engine = crate::corpus::open_bytes(bytes.to_vec());
        let error = engine.session.sources[0].error.clone().unwrap();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn damage_is_survived() {
    for name in ["otlp-json/shop.json", "jaeger-json/shop.json", "zipkin-json/shop.json"] {
        survives_damage(name, 400);
    }
}
