//! Slow, failing and queued work in small traces drawn by hand, each beside one that differs only in what makes it harmless.

use crate::corpus::open_bytes;
use hotspan::engine::Engine;

/// A span: name, service, parent, kind, begin and length in milliseconds, attributes, failed.
struct S(&'static str, &'static str, &'static str, u8, u64, u64, &'static [(&'static str, &'static str)], bool);

/// Spans of one trace as OTLP JSON; names are ids.
fn otlp(traces: &[(u64, Vec<S>)]) -> Engine {
    let id = |name: &str| format!("{:016x}", name.bytes().fold(7_u64, |h, b| h.wrapping_mul(31).wrapping_add(u64::from(b))));
    let mut text = String::new();
    for (trace, spans) in traces {
        for S(name, service, parent, kind, start, length, attributes, failed) in spans {
            let operation = name.split('#').next().unwrap_or(name);
            let mut list: Vec<serde_json::Value> = Vec::new();
            for (key, value) in attributes.iter().filter(|(key, _)| *key != "link") {
                list.push(serde_json::json!({"key": key, "value": {"stringValue": value}}));
            }
            let begin = 1_700_000_000_000_000_000 + start * 1_000_000;
            let mut span = serde_json::json!({
                "traceId": format!("{trace:032x}"), "spanId": id(name), "name": operation, "kind": kind,
                "startTimeUnixNano": begin.to_string(), "endTimeUnixNano": (begin + length * 1_000_000).to_string(),
                "attributes": list, "status": {"code": if *failed { 2 } else { 0 }}
            });
            if !parent.is_empty() {
                span["parentSpanId"] = serde_json::json!(id(parent));
            }
            // `trace/name` of the linked span.
            if let Some((_, link)) = attributes.iter().find(|(key, _)| *key == "link") {
                let (trace, name) = link.split_once('/').unwrap();
                let trace: u64 = trace.parse().unwrap();
                span["links"] = serde_json::json!([{"traceId": format!("{trace:032x}"), "spanId": id(name)}]);
            }
            let resource = serde_json::json!({"attributes": [{"key": "service.name", "value": {"stringValue": service}}]});
            let line = serde_json::json!({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]});
            text.push_str(&format!("{line}\n"));
        }
    }
    open_bytes(text.into_bytes())
}

fn messages<'e>(engine: &'e Engine, rule: &str) -> Vec<&'e str> {
    engine.report.findings.iter().filter(|f| f.rule == rule).map(|f| f.message.as_str()).collect()
}

const SQL: &[(&str, &str)] = &[("db.system", "postgresql"), ("db.statement", "SELECT * FROM big WHERE a LIKE '%x'")];

#[test]
fn a_slow_query_counts_only_where_the_request_waits_for_it() {
    let with = |other: u64| {
        otlp(&[(
            1,
            vec![
                S("GET /", "web", "", 2, 0, 1000, &[], false),
                S("query", "web", "GET /", 3, 10, 400, SQL, false),
                S("work", "web", "GET /", 1, 5, other, &[], false),
            ],
        )])
    };
    let waited = with(2);
    let told = messages(&waited, "slow-query");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("400 ms") && told[0].contains("all columns") && told[0].contains("wildcard"), "{}", told[0]);
    // Beside other work that lasts longer nobody waits for it.
    assert!(messages(&with(900), "slow-query").is_empty());
}

#[test]
fn rows_and_bytes_in_sum_are_large_and_downloads_are_not() {
    let call = |name: &'static str, size: &'static [(&'static str, &'static str)]| {
        otlp(&[(1, vec![S("GET /", "web", "", 2, 0, 1000, &[], false), S(name, "web", "GET /", 3, 10, 150, size, false)])])
    };
    let rows = call("query", &[("db.system", "mysql"), ("db.statement", "SELECT a FROM t"), ("db.response.returned_rows", "25000")]);
    assert!(messages(&rows, "large-payload")[0].contains("returns 25"), "{:?}", messages(&rows, "large-payload"));
    let few = call("query", &[("db.system", "mysql"), ("db.statement", "SELECT a FROM t"), ("db.response.returned_rows", "999")]);
    assert!(messages(&few, "large-payload").is_empty());
    let json = call("GET", &[("http.request.method", "GET"), ("url.full", "http://api/list"), ("http.response.body.size", "300001")]);
    assert_eq!(messages(&json, "large-payload").len(), 1);
    let media = call("GET", &[("http.request.method", "GET"), ("url.full", "http://api/a.png"), ("http.response.body.size", "300001")]);
    assert!(messages(&media, "large-payload").is_empty());
    const ONE: &[(&str, &str)] = &[("http.request.method", "GET"), ("url.full", "http://api/list"), ("http.response.body.size", "299000")];
    let many = |n: usize| {
        let names: [&'static str; 18] =
            ["c#1", "c#2", "c#3", "c#4", "c#5", "c#6", "c#7", "c#8", "c#9", "c#a", "c#b", "c#c", "c#d", "c#e", "c#f", "c#g", "c#h", "c#i"];
        let mut spans = vec![S("GET /", "web", "", 2, 0, 1000, &[], false)];
        spans.extend(names[..n].iter().enumerate().map(|(i, name)| S(name, "web", "GET /", 3, i as u64 * 50, 45, ONE, false)));
        otlp(&[(1, spans)])
    };
    assert!(messages(&many(18), "large-payload")[0].contains("together"));
    assert!(messages(&many(16), "large-payload").is_empty());
}

const SEND: &[(&str, &str)] = &[("messaging.system", "kafka"), ("messaging.destination.name", "jobs")];

/// One trace for the sender and one for the handling of each message, which only a link connects.
fn linked(waits: &[u64], again: &'static [(&'static str, &'static str)]) -> Engine {
    let links: [&'static [(&'static str, &'static str)]; 9] = [
        &[("link", "1/send")],
        &[("link", "2/send")],
        &[("link", "3/send")],
        &[("link", "4/send")],
        &[("link", "5/send")],
        &[("link", "6/send")],
        &[("link", "7/send")],
        &[("link", "8/send")],
        &[("link", "9/send")],
    ];
    let mut traces = Vec::new();
    for (i, wait) in waits.iter().enumerate() {
        let (n, at) = (i as u64 + 1, i as u64 * 10_000);
        traces.push((n, vec![S("POST /job", "web", "", 2, at, 20, &[], false), S("send", "web", "POST /job", 4, at + 5, 5, SEND, false)]));
        let attributes: &'static [(&'static str, &'static str)] =
            if again.is_empty() { links[i] } else { Box::leak([links[i], again].concat().into_boxed_slice()) };
        traces.push((100 + n, vec![S("handle", "worker", "", 5, at + 10 + wait, 300, attributes, false)]));
    }
    otlp(&traces)
}

#[test]
fn messages_that_wait_are_followed_over_links_between_traces() {
    let engine = linked(&[2000, 3000, 2500], &[]);
    let told = messages(&engine, "queue-lag");
    assert!(told.len() == 1 && told[0].contains("wait 2.50 s in the median"), "{told:?}");
    assert!(messages(&linked(&[20, 30, 25], &[]), "queue-lag").is_empty());
}

#[test]
fn a_queue_that_grows_and_messages_that_come_again_are_told() {
    let growing = linked(&[10, 20, 30, 60, 80, 100, 200, 220, 240], &[]);
    assert!(messages(&growing, "queue-lag")[0].contains("grows from 20.0 ms to 220 ms"), "{:?}", messages(&growing, "queue-lag"));
    assert!(messages(&linked(&[80, 70, 90, 80, 70, 90, 80, 70, 90], &[]), "queue-lag").is_empty());
    let again = linked(&[20, 30, 25], &[("messaging.servicebus.message.delivery_count", "3")]);
    assert!(messages(&again, "queue-lag")[0].contains("3 were delivered more than once"), "{:?}", messages(&again, "queue-lag"));
    assert!(messages(&linked(&[20, 30, 25], &[("messaging.servicebus.message.delivery_count", "1")]), "queue-lag").is_empty());
}

#[test]
fn a_way_that_comes_back_to_an_operation_is_told_and_one_to_another_operation_of_the_service_is_not() {
    let way = |last: &'static str| {
        otlp(&[(
            1,
            vec![
                S("GET /", "gate", "", 2, 0, 100, &[], false),
                S("call#a", "gate", "GET /", 3, 5, 90, &[], false),
                S("total#1", "a", "call#a", 2, 6, 88, &[], false),
                S("call#b", "a", "total#1", 3, 20, 60, &[], false),
                S("rate", "b", "call#b", 2, 21, 58, &[], false),
                S("call#c", "b", "rate", 3, 30, 30, &[], false),
                S(last, "a", "call#c", 2, 31, 28, &[], false),
            ],
        )])
    };
    let told = way("total#2");
    assert!(messages(&told, "deep-chain")[0].contains("already in"), "{:?}", messages(&told, "deep-chain"));
    assert!(messages(&way("other"), "deep-chain").is_empty());
}

#[test]
fn inverted_limits_are_seen_below_a_call_that_was_given_up() {
    let with = |inner: u64| {
        otlp(&[(
            1,
            vec![
                S("GET /", "gate", "", 2, 0, 2000, &[], false),
                S("call#a", "gate", "GET /", 3, 10, 400, &[], true),
                S("total", "a", "call#a", 2, 12, inner + 10, &[], true),
                S("call#b", "a", "total", 3, 15, inner, &[], true),
            ],
        )])
    };
    let told = with(900);
    let all: Vec<&str> = messages(&told, "timeouts");
    assert!(all.iter().any(|m| m.contains("limits are longer")), "{all:?}");
    assert!(messages(&with(350), "timeouts").iter().all(|m| !m.contains("limits are longer")));
}
