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
