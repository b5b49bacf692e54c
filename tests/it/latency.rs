//! Slow, failing and queued work on labelled files: CRISP's error patterns and Jaeger's masked time-out.

use crate::corpus::{expected, folder, open};
use hotspan::analysis::clipped::Clipped;
use hotspan::base::ids::{SpanRow, TraceRow};
use hotspan::engine::Engine;
use hotspan::findings::error_origin::time_in_errors;
use hotspan::findings::finding::Finding;

fn found<'e>(engine: &'e Engine, rule: &str) -> Vec<&'e Finding> {
    engine.report.findings.iter().filter(|f| f.rule == rule).collect()
}

/// Every rule that speaks, leading or under another.
fn told(engine: &Engine) -> Vec<&'static str> {
    let under = |f: &Finding| f.also.iter().chain(&f.consequences).map(|r| r.rule).collect::<Vec<_>>();
    engine.report.findings.iter().flat_map(|f| std::iter::once(f.rule).chain(under(f))).collect()
}

#[test]
fn time_in_failing_spans_equals_that_of_crisp() {
    let Some(folder) = folder() else { return };
    let mut compared = 0;
    for (file, _, _) in expected(&["jaeger"]).into_iter().filter(|(file, ..)| file.contains("crisp--")) {
        let json: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.join(&file)).unwrap()).unwrap();
        // CRISP counts in microseconds.
        let Some(saved) = json["testing"]["timeSavedOnCP"].as_i64() else { continue };
        let engine = open(&file).unwrap();
        let set = &engine.session.traces;
        // For CRISP any error tag is an error, also one of text, which Jaeger's own page does not take for one.
        let error = engine.session.strings.find("error");
        let tagged = |s: SpanRow| set.span_attrs(s).any(|(key, _)| Some(key) == error);
        let failing: Vec<SpanRow> = (0..set.spans.len()).map(SpanRow::from_index).filter(|s| tagged(*s)).collect();
        let root = set.traces.root[0];
        assert_eq!(time_in_errors(set, &Clipped::of(set, TraceRow(0)), root, &failing), saved * 1000, "{file}");
        compared += 1;
    }
    assert!(compared >= 6, "{compared} files tell what CRISP saves");
}

#[test]
fn errors_of_crisp_are_fatal_or_masked_as_their_patterns_are() {
    let Some(fatal) = open("jaeger/crisp--err_pattern1-err1.json") else { return };
    let f = found(&fatal, "error-origin");
    assert_eq!(f.len(), 1, "{:#?}", fatal.report.findings);
    // Pattern 1: O2 fails, and O1, the root, with it. Pattern 2: O1 does not.
    assert!(f[0].subject.name == "O2" && f[0].message.contains("fails the request"), "{}", f[0].message);
    let masked = open("jaeger/crisp--err_pattern2-err1.json").unwrap();
    let f = found(&masked, "error-origin");
    assert_eq!(f.len(), 1, "{:#?}", masked.report.findings);
    assert!(f[0].subject.name == "O2" && f[0].message.contains("is masked by S1 O1"), "{}", f[0].message);
    assert_eq!((f[0].impact.recoverable_low, f[0].impact.recoverable_high), (0, 30_000));
}

#[test]
fn the_masked_time_out_of_jaeger_is_found_where_it_begins() {
    let Some(engine) = open("otlp/jaeger--error_timeout_masked.json") else { return };
    let all = told(&engine);
    assert!(all.contains(&"timeouts") && all.contains(&"error-origin"), "{all:?}");
    // The label: the proxy's checkout POST fails after 15 s, and the root says that all is well.
    let evidence: Vec<&str> = engine.report.findings.iter().flat_map(|f| &f.evidence).map(|e| e.text.as_str()).collect();
    assert!(evidence.iter().any(|e| e.contains("frontend-proxy POST")), "{evidence:#?}");
    let told =
        engine.report.findings.iter().flat_map(|f| std::iter::once(f.message.as_str()).chain(f.also.iter().map(|r| r.message.as_str())));
    let told: Vec<&str> = told.collect();
    assert!(told.iter().any(|m| m.contains("after 15") && m.contains("as a time-out does")), "{told:#?}");
    assert!(told.iter().any(|m| m.contains("masked by load-generator user_checkout_multi")), "{told:#?}");
}

#[test]
fn a_network_delay_makes_the_calls_slow_that_it_was_put_on() {
    // Nezha: network delay at cartservice; frontend's GetCart rises from 5 ms to 250 ms in the median.
    let Some(slow) = open("otlp/nezha-ob-2022-08-22-04_28.converted.json.gz") else { return };
    let cart = |e: &Engine| {
        let all = e.report.findings.iter().filter(|f| f.rule == "slow-call" || f.rule == "queue-lag");
        all.filter(|f| f.message.to_lowercase().contains("cart")).count()
    };
    assert!(cart(&slow) > 0, "{:#?}", slow.report.findings.iter().map(|f| (f.rule, &f.title)).collect::<Vec<_>>());
    let well = open("otlp/nezha-ob-2022-08-23-17_00.converted.json.gz").unwrap();
    assert_eq!(cart(&well), 0, "{:#?}", well.report.findings.iter().map(|f| (f.rule, &f.title)).collect::<Vec<_>>());
}

#[test]
fn no_saving_exceeds_its_requests_and_every_rule_answers() {
    const RULES: [&str; 10] = [
        "slow-call",
        "slow-query",
        "many-writes",
        "large-payload",
        "connection-churn",
        "pool-wait",
        "timeouts",
        "queue-lag",
        "error-origin",
        "deep-chain",
    ];
    for folder in ["otlp", "jaeger", "zipkin", "zipkin-v1"] {
        for (file, expect, _) in expected(&[folder]) {
            if expect != "ok" {
                continue;
            }
            let engine = open(&file).unwrap();
            let t = &engine.session.traces;
            let roots: i64 = t.traces.root.iter().filter_map(|r| r.get()).map(|r| t.spans.duration_ns[r.index()]).sum();
            for rule in RULES {
                assert!(engine.report.verdicts.iter().any(|v| v.rule == rule), "{file}: {rule} says nothing");
            }
            for f in engine.report.findings.iter().filter(|f| RULES.contains(&f.rule)) {
                assert!(0 <= f.impact.recoverable_low && f.impact.recoverable_low <= f.impact.recoverable_high, "{file}: {}", f.title);
                // What nobody waits for is not in the requests.
                let waited = f.rule != "queue-lag" && f.rule != "timeouts";
                assert!(!waited || f.impact.recoverable_high <= roots, "{file}: {}", f.title);
                println!("{file}: {} {} {}: {}", f.score, f.rule, f.severity.word(), f.message);
            }
        }
    }
}
