//! Profiles and traces together: a pprof with span ids beside an OTLP trace, OTLP profiles with links, threads and times.
//!
//! The numbers are those that the drawn files say.

use crate::corpus::{fixture, open_bytes};
use crate::joined_files::{Sample, TRACE, otlp, pprof, samples};
use hotspan::engine::Engine;
use hotspan::engine::protocol::Request;
use hotspan::engine::protocol::services::ServicesData;
use hotspan::engine::protocol::traces::{SpanDetail, Way};
use hotspan::findings::Report;
use std::path::PathBuf;
use std::process::Command;

fn opened(files: &[Vec<u8>]) -> Engine {
    let mut engine = Engine::default();
    for (i, bytes) in files.iter().enumerate() {
        engine.open(&format!("file{i}"), bytes.len() as u64, Box::new(std::io::Cursor::new(bytes.clone())), &mut |_| true);
    }
    engine.finish();
    assert!(engine.session.sources.iter().all(|s| s.error.is_none()), "{:?}", engine.session.sources);
    engine
}

fn detail(engine: &mut Engine, trace: &str, span: &str) -> SpanDetail {
    let request = Request::Span { trace: trace.into(), span: span.into(), align: false };
    serde_json::from_str(&engine.handle(&request).unwrap().head).unwrap()
}

fn of_rule<'a>(report: &'a Report, rule: &str) -> Vec<&'a hotspan::findings::finding::Finding> {
    report.findings.iter().filter(|f| f.rule == rule).collect()
}

#[test]
fn spans_have_the_samples_that_name_them() {
    // Datadog writes ids in decimal, everyone else in hex; the order of the files does not matter.
    for files in [[samples(true), otlp().into_bytes()], [otlp().into_bytes(), samples(false)]] {
        let mut engine = opened(&files);
        let of = detail(&mut engine, TRACE, "00000000000000a2").samples;
        assert_eq!(of.len(), 1);
        assert_eq!((of[0].weight, of[0].samples, of[0].of_span, of[0].way), (2e9, 200, Some(1.0), Way::SpanIds));
        assert_eq!(of[0].functions, [("tax".to_string(), 1.8e9), ("render".to_string(), 2e8)]);
        assert_eq!(of[0].endpoint, "shop GET /pay");
        assert!(detail(&mut engine, TRACE, "00000000000000a3").samples.is_empty());
        let services: ServicesData = serde_json::from_str(&engine.handle(&Request::Services).unwrap().head).unwrap();
        let costs: Vec<(&str, f64)> = services.endpoint_costs.iter().map(|e| (e.endpoint.as_str(), e.weight)).collect();
        assert_eq!(costs, [("shop GET /pay", 2e9), ("shop GET /list", 4e8)]);
    }
}

#[test]
fn a_finding_names_endpoint_span_and_function() {
    let engine = opened(&[samples(true), otlp().into_bytes()]);
    let found = of_rule(&engine.report, "endpoint-cpu");
    assert_eq!(found[0].title, "tax takes 59.8 % of the CPU in span price for shop GET /pay");
    // 2 s of CPU in a request of 4 s: half of its time.
    assert!(found[0].message.contains("50.0 % of their time on the CPU"), "{}", found[0].message);
    assert!(found[0].message.contains("2.00 s in each of 1 request"), "{}", found[0].message);
    assert_eq!((found[0].impact.amount, found[0].occurrences.count), (1_800_000_000, 180));
    assert!(found[0].caveats.iter().any(|c| c.starts_with("1 samples name spans that are in none")), "{:?}", found[0].caveats);
    // Each link of the evidence restores exactly the samples that its text counts.
    let view = &found[0].evidence[0].view;
    let profile = &engine.session.profiles[0];
    let narrowed = hotspan::analysis::narrow::narrow(&engine.session, 0, &view.labels, None).unwrap();
    assert_eq!((narrowed.profiles[0].total(0), profile.total(0)), (200, 301));
    // Without traces nothing can be joined, and the rule says what is missing.
    let alone = opened(&[samples(true)]);
    let verdict = alone.report.verdicts.iter().find(|v| v.rule == "endpoint-cpu").unwrap();
    assert!(verdict.reason.contains("names a span or endpoint"), "{verdict:?}");
}

#[test]
fn endpoints_need_no_trace() {
    let engine = opened(&[pprof(&[("tax", 150, &[("trace endpoint", "GET /pay")]), ("encode", 50, &[("trace endpoint", "GET /list")])])]);
    let found = of_rule(&engine.report, "endpoint-cpu");
    assert_eq!(found[0].title, "tax takes 75.0 % of the CPU for GET /pay");
    assert!(found.iter().all(|f| f.severity == hotspan::findings::finding::Severity::Info));
}

#[test]
fn local_roots_stand_for_their_spans() {
    let mut engine =
        opened(&[otlp().into_bytes(), pprof(&[("tax", 150, &[("local root span id", "161"), ("trace endpoint", "GET /pay")])])]);
    let of = detail(&mut engine, TRACE, "00000000000000a1").samples;
    assert_eq!((of[0].way, of[0].weight), (Way::LocalRoots, 1.5e9));
}

#[test]
fn links_of_otlp_profiles_are_followed() {
    let trace = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},"scopeSpans":[{"spans":[
        {"traceId":"000102030405060708090a0b0c0d0e0f","spanId":"08090a0b0c0d0e0f","name":"pay","kind":2,
         "startTimeUnixNano":"1700000000000000000","endTimeUnixNano":"1700000000100000000"}]}]}]}"#;
    let profiles = fixture("otlp-profiles/shop.pb").session.sources[0].bytes;
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/otlp-profiles/shop.pb");
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(bytes.len() as u64, profiles);
    let mut engine = opened(&[bytes, trace.as_bytes().to_vec()]);
    let of = detail(&mut engine, "000102030405060708090a0b0c0d0e0f", "08090a0b0c0d0e0f").samples;
    // Two samples of 10 and 20 ms in a span of 100 ms.
    assert_eq!((of[0].weight, of[0].samples, of[0].of_span), (3e7, 2, Some(0.3)));
    let file = std::env::temp_dir().join(format!("hotspan-joined-{}.json", std::process::id()));
    std::fs::write(&file, trace).unwrap();
    let out = Command::new(env!("CARGO_BIN_EXE_hotspan"))
        .args(["trace", "--json", "--id", "000102030405060708090a0b0c0d0e0f"])
        .args([&file, &path])
        .output()
        .unwrap();
    std::fs::remove_file(&file).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(json["rows"][0]["cpu_ns"], 30_000_000, "{json}");
}

#[test]
fn threads_and_times_join_only_where_they_are_certain() {
    // Thread 42 at 1 s (in price), 3 s (in query), 3.9 s (in the request alone), 4.5 s (in none); thread 7 at 1 s.
    let profile = |times: &[(u64, u64)]| {
        let samples: Vec<String> = times
            .iter()
            .map(|(thread, ms)| {
                format!(
                    r#"{{"stackIndex":1,"values":["10000000"],"timestampsUnixNano":["{}"],"attributeIndices":[{}]}}"#,
                    1_700_000_000_000_000_000_u64 + ms * 1_000_000,
                    if *thread == 42 { 1 } else { 2 }
                )
            })
            .collect();
        format!(
            r#"{{"resourceProfiles":[{{"scopeProfiles":[{{"profiles":[{{"sampleType":{{"typeStrindex":1,"unitStrindex":2}},"samples":[{}]}}]}}]}}],
            "dictionary":{{"stringTable":["","cpu","nanoseconds","main","thread.id"],"functionTable":[{{}},{{"nameStrindex":3}}],"locationTable":[{{}},{{"lines":[{{"functionIndex":1}}]}}],
            "stackTable":[{{}},{{"locationIndices":[1]}}],"attributeTable":[{{}},{{"keyStrindex":4,"value":{{"intValue":"42"}}}},{{"keyStrindex":4,"value":{{"intValue":"7"}}}}]}}}}"#,
            samples.join(",")
        )
    };
    let bytes = profile(&[(42, 1000), (42, 3000), (42, 3900), (42, 4500), (7, 1000)]).into_bytes();
    let mut engine = opened(&[bytes.clone(), otlp().into_bytes()]);
    for (span, ms) in [("a2", 10.0), ("a3", 10.0), ("a1", 10.0)] {
        let of = detail(&mut engine, TRACE, &format!("00000000000000{span}")).samples;
        assert_eq!((of[0].way, of[0].weight / 1e6), (Way::Times, ms), "{span}");
    }
    // A second request on the same thread at the same time: nobody knows whose sample it is.
    let other = otlp().replace(TRACE, "00112233445566778899aabbccddeeaa").replace("00000000000000a", "00000000000000c");
    let engine = opened(&[bytes, otlp().into_bytes(), other.into_bytes()]);
    assert!(hotspan::analysis::joined::join_all(&engine.session).iter().all(Option::is_none));
    assert!(open_bytes(profile(&[(42, 1)]).into_bytes()).session.sources[0].error.is_none());
}

#[test]
fn findings_on_spans_say_whether_their_time_is_work() {
    let call = |i: u64| {
        format!(
            r#"{{"traceId":"{TRACE}","spanId":"00000000000001{i:02x}","parentSpanId":"00000000000000a1","name":"rate","kind":3,"startTimeUnixNano":"{}","endTimeUnixNano":"{}","attributes":[{{"key":"db.system","value":{{"stringValue":"postgresql"}}}},{{"key":"db.statement","value":{{"stringValue":"SELECT r FROM rates WHERE id = {i}"}}}}]}}"#,
            1_700_000_000_000_000_000 + i * 100_000_000,
            1_700_000_000_000_000_000 + i * 100_000_000 + 90_000_000
        )
    };
    let calls: Vec<String> = (0..12).map(call).collect();
    let trace = otlp().replace(r#""spans":["#, &format!(r#""spans":[{},"#, calls.join(",")));
    // 60 of the 90 ms of one call, for all twelve: 72 samples of 10 ms.
    let ids: Vec<String> = (0..12).map(|i| format!("00000000000001{i:02x}")).collect();
    let labels: Vec<[(&str, &str); 1]> = ids.iter().map(|id| [("span_id", id.as_str())]).collect();
    let list: Vec<Sample<'_>> = labels.iter().map(|l| ("decode", 6, &l[..])).collect();
    let engine = opened(&[trace.into_bytes(), pprof(&list)]);
    let found = of_rule(&engine.report, "chatty-n-plus-one");
    let said = found[0].evidence.iter().map(|e| e.text.as_str()).find(|t| t.contains("on the CPU")).unwrap();
    assert_eq!(said, "720 ms on the CPU during these spans, 66.7 % of their time, most in decode: the time is work, not waiting.");
}
