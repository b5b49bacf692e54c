//! Chatty calls on labelled real traces.

use crate::corpus::open;
use hotspan::engine::Engine;
use std::collections::BTreeSet;

fn found<'e>(engine: &'e Engine, rule: &str) -> Vec<&'e hotspan::findings::finding::Finding> {
    engine.report.findings.iter().filter(|f| f.rule == rule).collect()
}

#[test]
fn the_positive_of_jaeger_is_found_and_its_near_miss_is_not_called_n_plus_one() {
    let Some(engine) = open("otlp/jaeger--n_plus_one_positive.json") else { return };
    let findings = found(&engine, "chatty-n-plus-one");
    assert_eq!(findings.len(), 1, "{:#?}", engine.report.findings);
    let f = findings[0];
    assert!(
        f.message.contains("13 calls of GetDriver") && f.message.contains("192 ms") && f.message.contains("one after the other"),
        "{}",
        f.message
    );
    assert!(f.evidence[0].text.contains("be56eec6f3678130"), "{}", f.evidence[0].text);
    let root = engine.session.traces.spans.duration_ns[engine.session.traces.traces.root[0].index()];
    assert!(0 < f.impact.recoverable_low && f.impact.recoverable_low <= f.impact.recoverable_high && f.impact.recoverable_high < root);
    let engine = open("otlp/jaeger--n_plus_one_near_miss.json").unwrap();
    assert!(found(&engine, "chatty-n-plus-one").is_empty(), "{:#?}", engine.report.findings);
    // Ten calls by three workers: a fan-out, and a pool.
    let pools = found(&engine, "pool-staircase");
    assert_eq!(pools.len(), 1, "{:#?}", engine.report.findings);
    assert!(pools[0].message.contains("they wait for a pool of 3"), "{}", pools[0].message);
    assert!(pools[0].also.iter().any(|r| r.rule == "chatty-fan-out"), "{:#?}", pools[0].also);
}

#[test]
fn identical_inserts_are_n_plus_one_in_several_traces() {
    let Some(engine) = open("otlp/rf--otel-traces.json.gz") else { return };
    let all = engine.report.findings.iter().filter(|f| f.rule.starts_with("chatty")).count();
    assert!(all > 0, "13 identical INSERTs under one request were missed");
}

#[test]
fn no_saving_exceeds_its_requests() {
    for folder in ["otlp", "jaeger", "zipkin"] {
        for (file, expect, _) in crate::corpus::expected(&[folder]) {
            if expect != "ok" {
                continue;
            }
            let engine = open(&file).unwrap();
            let t = &engine.session.traces;
            let roots: i64 = t.traces.root.iter().filter_map(|r| r.get()).map(|r| t.spans.duration_ns[r.index()]).sum();
            for f in engine.report.findings.iter().filter(|f| f.rule.starts_with("chatty")) {
                assert!(f.impact.recoverable_low <= f.impact.recoverable_high && f.impact.recoverable_high <= roots, "{file}: {}", f.title);
                let exemplars: BTreeSet<&String> = f.occurrences.exemplars.iter().collect();
                assert_eq!(exemplars.len(), f.occurrences.exemplars.len(), "{file}: {}", f.title);
            }
        }
    }
}

#[test]
fn without_traces_the_rules_say_why_they_did_not_look() {
    let engine = crate::corpus::fixture("folded/small.folded");
    let verdict = engine.report.verdicts.iter().find(|v| v.rule == "chatty-n-plus-one").unwrap();
    assert_eq!(verdict.reason, "no trace is open");
}
