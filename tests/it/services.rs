//! Operations and call edges against the facts of independent tools.

use crate::corpus::{Table, expected, open};
use hotspan::analysis::{red, service_graph};
use hotspan::base::ids::ServiceId;
use std::collections::BTreeMap;

#[test]
fn percentiles_and_edges_equal_the_reference() {
    for (folder, explained) in [
        ("otlp", &["otlp/jaeger-ui--otlp2jaeger-in", "otlp/ottl--testdata-traces.json: "][..]),
        ("jaeger", &["jaeger/jaeger--otlp2jaeger-out.json: ", "jaeger/jaeger-ui--otlp2jaeger-out.json: ", "jaeger/jaeger--ui_01.json: "]),
        // Halves of a shared span are parent and child here, siblings by id there.
        (
            "zipkin",
            &[
                "zipkin/zipkin--smartthings-oauth-authorization.json: edge",
                "zipkin/zipkin--yelp.json: edge",
                "zipkin/zipkin--ascend.json: edge",
                "zipkin/zipkin--skew.json: edge",
            ],
        ),
    ] {
        let mut table = Table::default();
        for (file, expect, facts) in expected(&[folder]) {
            if expect != "ok" {
                continue;
            }
            let engine = open(&file).unwrap();
            table.file();
            let (traces, strings) = (&engine.session.traces, &engine.session.strings);
            let service = |s: ServiceId| s.get().map_or("", |s| strings.get(traces.services[s.index()])).to_string();
            let rows = red::operations(traces);
            for fact in facts["operation_stats_top40_by_sum"].as_array().into_iter().flatten() {
                let (name, of) = (fact["operation"].as_str().unwrap_or(""), fact["service"].as_str().unwrap_or(""));
                let row = rows.iter().find(|r| strings.get(r.name) == name && service(r.service) == of);
                let us = |ns: Option<i64>| ns.map(|n| (n as f64 / 1e3).round());
                let their = |key: &str| fact[key].as_f64().map(f64::round);
                table.check(&file, &format!("{of}/{name} count"), row.map(|r| r.calls), fact["count"].as_u64());
                table.check(&file, &format!("{of}/{name} errors"), row.map(|r| r.errors), fact["errors"].as_u64());
                for (ours, key) in [
                    (row.map(|r| r.p50_ns), "p50_nearest"),
                    (row.map(|r| r.p95_ns), "p95_nearest"),
                    (row.map(|r| r.p99_ns), "p99_nearest"),
                    (row.map(|r| r.max_ns), "max_us"),
                ] {
                    table.check(&file, &format!("{of}/{name} {key}"), us(ours), their(key));
                }
            }
            let mut edges: BTreeMap<String, u64> = BTreeMap::new();
            for e in service_graph::edges(traces, strings) {
                if let service_graph::Callee::Service(to) = e.to {
                    *edges.entry(format!("{} -> {}", service(e.from), service(to))).or_default() += e.calls;
                }
            }
            for (edge, calls) in facts["service_edges"].as_object().into_iter().flatten() {
                table.check(&file, &format!("edge {edge}"), edges.get(edge).copied(), calls.as_u64());
            }
        }
        table.finish(&format!("{folder} services"), explained);
    }
}

#[test]
fn critical_paths_equal_those_of_crisp() {
    use hotspan::analysis::clipped::Clipped;
    use hotspan::analysis::critical_path::critical_path;
    use hotspan::base::ids::TraceRow;
    let mut table = Table::default();
    for (file, expect, facts) in expected(&["jaeger"]) {
        if expect != "ok" || facts["crisp"].is_null() {
            continue;
        }
        let engine = open(&file).unwrap();
        table.file();
        let (t, strings) = (&engine.session.traces, &engine.session.strings);
        for fact in facts["crisp"].as_array().into_iter().flatten() {
            // Where CRISP shrank or dropped children that leave their parents its path is another one by definition.
            if fact["shrunk_us"].as_f64() != Some(0.0) || fact["dropped"].as_u64() != Some(0) {
                continue;
            }
            let id = hotspan::formats::span_sink::trace_id(fact["trace"].as_str().unwrap());
            let Some(row) = t.traces.id.iter().position(|i| strings.get(*i) == id).map(TraceRow::from_index) else { continue };
            let Some(root) = t.traces.root[row.index()].get() else { continue };
            let mut exclusive: BTreeMap<String, i64> = BTreeMap::new();
            for s in critical_path(t, &Clipped::of(t, row), root) {
                *exclusive.entry(format!("[{}] {}", t.service_name(strings, s.span), t.name(strings, s.span))).or_default() +=
                    s.to - s.from;
            }
            for (operation, us) in fact["exclusive_us_by_op"].as_object().into_iter().flatten() {
                let ours = exclusive.get(operation).copied().unwrap_or(0) as f64 / 1e3;
                table.check(&file, &format!("{id} {operation}"), ours.round(), us.as_f64().unwrap().round());
            }
        }
    }
    // Where siblings overlap by a little, CRISP counts the overlap twice or gives it to the other; here the sections
    // partition the root exactly (TRACES 4.4). In trace 129442… the overlap decides which branch is followed.
    let explained = [
        "jaeger/crisp--10.json: ",
        "jaeger/deathstarbench--traces-1695947455229.json.gz: 0b4200596ed30320 ",
        "jaeger/deathstarbench--traces-1695947455229.json.gz: 129442a4c59c65ff ",
        "jaeger/nezha-ob-2022-08-22-05_20.converted.json.gz: ",
    ];
    table.finish("critical path", &explained);
}
