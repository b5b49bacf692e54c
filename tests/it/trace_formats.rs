//! One small trace of a shop in every form that traces come in. The protobuf and protobuf-JSON files were written by the
//! generated classes of opentelemetry-proto, the Python one by the SDK's own exporter; the others are drawn by hand.

use crate::corpus::{fixture, folder, open, open_bytes};
use crate::profiles::survives_damage;
use crate::trace_readers::{counts, spans};
use hotspan::base::ids::{SpanRow, TraceRow};
use hotspan::engine::Engine;
use hotspan::formats::{FORMATS, Prefix, Sniff, detect};
use hotspan::model::trace::SPAN_ERROR;

/// Every file with the shop, and the format that must read it.
const SHOPS: &[(&str, &str)] = &[
    ("otlp-json/shop.json", "otlp-json"),
    ("otlp-json/tempo-v1.json", "otlp-json"),
    ("otlp-json/tempo-v2.json", "otlp-json"),
    ("otlp-json/jaeger-v3.json", "otlp-json"),
    ("otlp-json/data.json", "otlp-json"),
    ("otlp-json/grafana.json", "otlp-json"),
    ("otlp-proto/shop.pb", "otlp-proto"),
    ("otlp-proto/lengths.pb", "otlp-proto"),
    ("otlp-proto/delimited.pb", "otlp-proto"),
    ("jaeger-json/shop.json", "jaeger-json"),
    ("jaeger-es/shop.json", "jaeger-es"),
    ("jaeger-es/shop.jsonl", "jaeger-es"),
    ("jaeger-es/dump.jsonl", "jaeger-es"),
    ("jaeger-proto/shop.json", "jaeger-proto"),
    ("jaeger-proto/stream.json", "jaeger-proto"),
    ("jaeger-proto/bare.jsonl", "jaeger-proto"),
    ("jaeger-proto/map.json", "jaeger-proto"),
    ("zipkin-json/shop.json", "zipkin-json"),
    ("zipkin-v1/shop.json", "zipkin-v1"),
    ("xray/shop.json", "xray"),
    ("xray/documents.jsonl", "xray"),
    ("datadog/shop.json", "datadog"),
    ("datadog/traces.json", "datadog"),
    ("datadog/api.json", "datadog"),
    ("otel-python/shop.txt", "otel-python"),
    ("otel-go/shop.json", "otel-go"),
    ("otel-go/array.json", "otel-go"),
];

/// Cases beyond the shop.
const OTHERS: &[&str] = &["zipkin-v1/sides.json", "xray/odd.jsonl", "datadog/odd.json"];

/// Trace, then id, parent, service, name, kind, begin, length of each span.
fn drawn(engine: &Engine) -> (String, Vec<String>) {
    let (t, s) = (&engine.session.traces, &engine.session.strings);
    let line = |span: SpanRow| {
        let i = span.index();
        let parent = t.spans.parent[i].get().map_or(String::new(), |p| t.id_text(s, t.spans.id[p.index()]));
        let (id, service, name, kind) = (t.id_text(s, t.spans.id[i]), t.service_name(s, span), t.name(s, span), t.kind(span).name());
        format!("{id} < {parent}, {service}: {name} ({kind}) {}+{}", t.spans.start_ns[i], t.spans.duration_ns[i])
    };
    assert_eq!(t.traces.len(), 1);
    (s.get(t.traces.id[0]).to_string(), t.traces.spans(TraceRow(0)).map(line).collect())
}

#[test]
fn one_trace_in_every_form_is_one_table() {
    let (trace, shop) = drawn(&fixture("otlp-json/shop.json"));
    assert_eq!(shop.len(), 4);
    for (file, format) in SHOPS {
        let engine = fixture(file);
        let source = &engine.session.sources[0];
        assert_eq!((source.format.as_str(), &source.error), (*format, &None), "{file}");
        assert_eq!((source.ledger.records_in, source.ledger.records_kept), (4, 4), "{file}");
        let (id, rows) = drawn(&engine);
        assert_eq!(rows, shop, "{file}");
        // Datadog's ids have 64 bits; the other half is a tag of one span.
        assert_eq!(id, if *format == "datadog" { &trace[16..] } else { &trace }, "{file}");
    }
}

#[test]
fn protobuf_says_what_its_json_says() {
    let proto = fixture("otlp-proto/shop.pb");
    let rows = spans(&proto);
    expect_test::expect![[r#"
        5b8efff798038103d269b633813fc60c 00000000000000a1 < -, shop: GET /cart (server) 1700000000000000000+50000000 flags 0; note="x" i=-9007199254740993 d=0.1 t=true list=["x",2,{"k":"v"}] map={"e":[],"k":[1.5]} bytes="Af8="; event 1700000000001000000 begun [n=1]; link 0000000000000001/0000000000000002
        5b8efff798038103d269b633813fc60c 00000000000000a2 < GET /cart, shop: SELECT items (client) 1700000000005000000+10000000 flags 0; note="x"
        5b8efff798038103d269b633813fc60c 00000000000000a3 < GET /cart, shop: GET /price (client) 1700000000020000000+25000000 flags 0; note="x"
        5b8efff798038103d269b633813fc60c 00000000000000b1 < GET /price, price: GET /price (server) 1700000000022000000+20000000 flags 513; note="x" otel.status_description="no price""#]].assert_eq(&rows.join("\n"));
    for file in [
        "otlp-proto/lengths.pb",
        "otlp-proto/delimited.pb",
        "otlp-json/tempo-v1.json",
        "otlp-json/data.json",
        "otlp-json/grafana.json",
        "otlp-json/jaeger-v3.json",
    ] {
        assert_eq!(spans(&fixture(file)), rows, "{file}");
    }
    let partial = fixture("otlp-json/tempo-v2.json");
    assert_eq!(spans(&partial), rows);
    let (at, text) = {
        let entry = partial.session.sources[0].ledger.diagnostics.iter().find(|(code, _)| *code == "otlp/partial").unwrap().1;
        (entry.count, format!("{entry:?}"))
    };
    assert!(at == 1 && text.contains("trace is larger than 5 MB"), "{text}");
}

#[test]
fn jaeger_documents_carry_their_process() {
    let engine = fixture("jaeger-es/shop.json");
    expect_test::expect![[r#"5b8efff798038103d269b633813fc60c 00000000000000a2 < GET /cart, shop: SELECT items (client) 1700000000005000000+10000000 flags 0; span.kind="client" rows=7 cached=true http.status_code=200"#]].assert_eq(&spans(&engine)[1]);
    assert_eq!(engine.session.traces.resources.service.len(), 2);
    expect_test::expect![[r#"5b8efff798038103d269b633813fc60c 00000000000000a2 < GET /cart, shop: SELECT items (client) 1700000000005000000+10000000 flags 0; span.kind="client" rows=7 cached=true none=0; event 1700000000006000000 begun [event="begun"]"#]].assert_eq(&spans(&fixture("jaeger-proto/shop.json"))[1]);
}

#[test]
fn zipkin_v1_sides_become_spans() {
    let engine = fixture("zipkin-v1/sides.json");
    expect_test::expect![[r#"
        0000000000000001 0000000000000001 < -, shop: shared (client) 1700000000000000000+100000 flags 0; peer.service="price" network.peer.address="10.0.0.2" network.peer.port=80 network.local.address="10.0.0.1" network.local.port=80
        0000000000000001 0000000000000001 < shared, price: shared (server) 1700000000000010000+70000 flags 33; error="" peer.service="shop" network.peer.address="10.0.0.1" network.peer.port=80 network.local.address="10.0.0.2" network.local.port=80; event 1700000000000020000 ws sent []
        0000000000000001 0000000000000002 < shared, price: below (client) 1700000000000030000+20000 flags 0; sql.query="select 1" network.local.address="10.0.0.2" network.local.port=80
        0000000000000002 0000000000000003 < -, shop: loop (client) 1700000000000000000+12000 flags 0; network.local.address="10.0.0.1" network.local.port=80
        0000000000000002 0000000000000003 < loop, shop: loop (server) 1700000000000005000+4000 flags 32; network.local.address="10.0.0.1" network.local.port=80
        0000000000000003 0000000000000004 < -, price: reported alone (server) 1700000000000007000+2000 flags 32; network.local.address="10.0.0.2" network.local.port=80
        0000000000000004 0000000000000005 < -, shop: half (client) 1700000000000007000+0 flags 128; network.local.address="10.0.0.1" network.local.port=80
        0000000000000005 0000000000000006 < -, shop: message (producer) 1700000000000001000+0 flags 128; network.local.address="10.0.0.1" network.local.port=80
        0000000000000005 0000000000000006 < message, price: message (consumer) 1700000000000004000+0 flags 240; network.local.address="10.0.0.2" network.local.port=80
        0000000000000006 0000000000000007 < -, shop: local (unspecified) 1700000000000000000+5000 flags 0; n=3 network.local.address="10.0.0.1" network.local.port=80"#]].assert_eq(&spans(&engine).join("\n"));
    assert_eq!(counts(&engine).0, counts(&engine).1);
}

#[test]
fn xray_segments_and_subsegments() {
    expect_test::expect![[r#"
        5b8efff798038103d269b633813fc60c 00000000000000a1 < -, shop: GET /cart (server) 1700000000000000000+50000000 flags 0; http.request.method="GET" url.full="https://shop.example/cart?user=1" client.address="10.1.1.1" http.response.status_code=200 http.response.body.size=12 tier="gold" metadata.debug={"a":[1,2]}
        5b8efff798038103d269b633813fc60c 00000000000000a2 < GET /cart, shop: SELECT items (client) 1700000000005000000+10000000 flags 0; db.query.text="SELECT * FROM items WHERE id = ?" db.system.name="PostgreSQL" peer.service="SELECT items"
        5b8efff798038103d269b633813fc60c 00000000000000a3 < GET /cart, shop: GET /price (client) 1700000000020000000+25000000 flags 0; http.request.method="GET" url.full="http://price/price" http.response.status_code=200 peer.service="price"
        5b8efff798038103d269b633813fc60c 00000000000000b1 < GET /price, price: GET /price (server) 1700000000022000000+20000000 flags 0; http.request.method="GET" url.full="http://price/price" http.response.status_code=200"#]].assert_eq(&spans(&fixture("xray/shop.json")).join("\n"));
    let odd = fixture("xray/odd.jsonl");
    expect_test::expect![[r#"
        5b8efff798038103d269b633813fc60c 00000000000000c1 < -, worker: worker (server) 1478293361271000000+0 flags 8; link 00000001000000000000000000000002/00000000000000d1
        5b8efff798038103d269b633813fc60c 00000000000000c2 < worker, worker: DynamoDB (client) 1478293361271000001+28999999 flags 65; fault=true rpc.method="GetItem" aws.table_name="items" aws.retries=2 peer.service="DynamoDB" rpc.system.name="aws-api" rpc.service="DynamoDB"; event 1478293361271000001 exception [exception.id="e" exception.type="Throttled" exception.message="too fast"]
        5b8efff798038103d269b633813fc60c 00000000000000c3 < DynamoDB, worker: marshal (internal) 1478293361280000000+10000000 flags 0
        5b8efff798038103d269b633813fc60c 00000000000000c4 < worker, : sent alone (internal) 1478293361280000000+0 flags 64"#]].assert_eq(&spans(&odd).join("\n"));
    expect_test::expect![[r#"(5, 4, [("json/cut", 1), ("spans/negative-duration", 1)])"#]].assert_eq(&format!("{:?}", counts(&odd)));
}

#[test]
fn datadog_numbers_of_64_bits() {
    expect_test::expect![[r#"
        ffffffffffffffff 8000000000000001 < -, a: select 1 (client) 1700000000000000001+1 flags 1; operation.name="pg.query" span.type="sql" error.message="no" n=0.5 db.query.text="select 1"
        ffffffffffffffff 0000000000000002 < select 1, b: only name (unspecified) 1700000000000000002+0 flags 0; operation.name="only name""#]].assert_eq(&spans(&fixture("datadog/odd.json")).join("\n"));
    expect_test::expect![[r#"
        d269b633813fc60c 00000000000000a1 < -, shop: GET /cart (server) 1700000000000000000+50000000 flags 0; operation.name="web.request" span.type="web" span.kind="server" _dd.p.tid="5b8efff798038103" _sampling_priority_v1=1
        d269b633813fc60c 00000000000000a2 < GET /cart, shop: SELECT items (client) 1700000000005000000+10000000 flags 0; operation.name="sql.request" span.type="sql" span.kind="client" _sampling_priority_v1=1 db.query.text="SELECT items""#]].assert_eq(&spans(&fixture("datadog/shop.json"))[..2].join("\n"));
}

#[test]
fn console_output_of_sdks() {
    let python = fixture("otel-python/shop.txt");
    expect_test::expect![[r#"
        5b8efff798038103d269b633813fc60c 00000000000000a1 < -, shop: GET /cart (server) 1700000000000000000+50000000 flags 0; event 1700000000001000000 begun [n=true]
        5b8efff798038103d269b633813fc60c 00000000000000a2 < GET /cart, shop: SELECT items (client) 1700000000005000000+10000000 flags 0; rows=7 hosts=["a","b"]
        5b8efff798038103d269b633813fc60c 00000000000000a3 < GET /cart, shop: GET /price (client) 1700000000020000000+25000000 flags 0; rows=7 hosts=["a","b"]
        5b8efff798038103d269b633813fc60c 00000000000000b1 < GET /price, price: GET /price (server) 1700000000022000000+20000000 flags 1; otel.status_description="no price"; link 0000000000000001/0000000000000002"#]].assert_eq(&spans(&python).join("\n"));
    expect_test::expect![[r#"(4, 4, [("json/between", 1)])"#]].assert_eq(&format!("{:?}", counts(&python)));
    expect_test::expect![[r#"
        5b8efff798038103d269b633813fc60c 00000000000000a1 < -, shop: GET /cart (server) 1700000000000000000+50000000 flags 0; event 1700000000001000000 begun [n=true]
        5b8efff798038103d269b633813fc60c 00000000000000a2 < GET /cart, shop: SELECT items (client) 1700000000005000000+10000000 flags 0; rows=7 hosts=["a","b"]
        5b8efff798038103d269b633813fc60c 00000000000000a3 < GET /cart, shop: GET /price (client) 1700000000020000000+25000000 flags 0; rows=7 hosts=["a","b"]
        5b8efff798038103d269b633813fc60c 00000000000000b1 < GET /price, price: GET /price (server) 1700000000022000000+20000000 flags 513; otel.status_description="no price"; link 0000000000000001/0000000000000002"#]].assert_eq(&spans(&fixture("otel-go/shop.json")).join("\n"));
}

#[test]
fn train_ticket_in_zipkin_v1() {
    let Some(folder) = folder() else { return };
    let name = "zipkin-v1/train-ticket--cancel-1.json";
    let records: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.join(name)).unwrap()).unwrap();
    let engine = open(name).unwrap();
    let t = &engine.session.traces;
    // Each record is one span per side that it has annotations of; sides are told by their service.
    let (mut sides, mut errors) = (0, 0);
    let mut services = std::collections::BTreeSet::new();
    for r in records.as_array().unwrap() {
        let all = r["annotations"].as_array().into_iter().flatten().chain(r["binaryAnnotations"].as_array().into_iter().flatten());
        let address = |a: &serde_json::Value| matches!(a["key"].as_str(), Some("sa" | "ca"));
        let own: std::collections::BTreeSet<&str> =
            all.clone().filter(|a| !address(a)).filter_map(|a| a["endpoint"]["serviceName"].as_str()).collect();
        sides += own.len().max(1);
        services.extend(own.iter().map(|s| (*s).to_string()));
        errors += all
            .filter(|a| a["key"] == "error")
            .filter_map(|a| a["endpoint"]["serviceName"].as_str())
            .collect::<std::collections::BTreeSet<_>>()
            .len();
    }
    let ours = engine.session.sources[0].ledger.records_kept as usize;
    let failed = t.spans.flags.iter().filter(|f| **f & SPAN_ERROR != 0).count();
    println!("zipkin-v1: {} records, {ours} spans, {} services, {failed} failed", records.as_array().unwrap().len(), t.services.len());
    assert_eq!((engine.session.sources[0].format.as_str(), ours, t.services.len(), failed), ("zipkin-v1", sides, services.len(), errors));
    assert_eq!(t.traces.len(), 1);
    // Every record's own times are those of its first side.
    let total: i64 = records.as_array().unwrap().iter().map(|r| r["timestamp"].as_i64().unwrap_or(0) * 1000).min().unwrap();
    assert_eq!(t.traces.start_ns[0], total);
}

fn told(text: &str) -> &'static str {
    detect(&Prefix { bytes: text.as_bytes(), complete: true }).map_or("", |(f, _)| f.id())
}

#[test]
fn nested_and_quoted_keys_flip_nothing() {
    // Words that tell other formats, as a text, as a nested key, and as a key of attributes.
    let decoy = r#"{"resourceSpans":[],"traceEvents":[{"ph":"X"}],"data":[{"traceID":"1","spans":[]}],"binaryAnnotations":[],"hits":{"hits":[{"_source":{"traceID":1,"spanID":2}}]},"Traces":[{"Segments":[{"Document":"{}"}]}],"SpanContext":{"TraceID":1},"trace_id":1,"ph":"X"}"#;
    let quoted = serde_json::to_string(decoy).unwrap();
    for (file, format) in SHOPS.iter().filter(|(file, _)| !file.ends_with(".pb")) {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(file);
        let text = std::fs::read_to_string(path).unwrap();
        for odd in [decoy, &quoted] {
            // As the first member of the first object, under a key that nobody reads.
            let changed = text.replacen('{', &format!("{{\"zz\":{odd},"), 1);
            assert_eq!(told(&changed), *format, "{file}");
            // As the value of an attribute.
            let changed = text.replace("\"GET /cart\"", &quoted);
            assert_eq!(told(&changed), *format, "{file}");
        }
        // Nobody else is as sure.
        let sure = FORMATS.iter().filter(|f| f.sniff(&Prefix { bytes: text.as_bytes(), complete: true }) == Sniff::Certain);
        assert_eq!(sure.map(|f| f.id()).collect::<Vec<_>>(), [*format], "{file}");
    }
}

#[test]
fn the_first_object_decides() {
    for (text, format) in [
        (r#"{"data":[{"traceID":"a","spans":[],"processes":{}}]} {"resourceSpans":[]}"#, "jaeger-json"),
        (r#"{"resourceSpans":[]} {"data":[{"traceID":"a","spans":[]}]}"#, "otlp-json"),
        (r#"[{"traceId":"1","id":"2","tags":{"ph":"X","ts":1,"binaryAnnotations":1}}]"#, "zipkin-json"),
        (r#"[{"ph":"X","ts":1,"args":{"traceId":"1","id":"2"}}]"#, "chrome-trace"),
        (r#"{"data":[],"total":0,"limit":0,"offset":0,"errors":null}"#, "jaeger-json"),
        (r#"{"data":{"resourceSpans":[]}}"#, "otlp-json"),
        (r#"{"hits":{"hits":[{"_source":{"message":"traceID spanID"}}]}}"#, ""),
        (r#"{"x":"trace_id span_id start duration meta"}"#, ""),
    ] {
        assert_eq!(told(text), format, "{text}");
    }
}

#[test]
fn a_key_given_twice_counts_once() {
    let text = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","name":"first","name":"last","kind":2,"startTimeUnixNano":"1","endTimeUnixNano":"5"}]}]}]}"#;
    let engine = open_bytes(text.as_bytes().to_vec());
    assert_eq!(counts(&engine), (1, 1, vec![("json/repeated-key", 1)]));
    assert!(spans(&engine)[0].contains(": last (server) 1+4"), "{:?}", spans(&engine));
}

#[test]
fn a_deep_chain_of_subsegments_is_read() {
    let mut text = r#"{"trace_id":"1-5b8efff7-98038103d269b633813fc60c","name":"deep","#.to_string();
    for i in 1..50_000 {
        text += &format!(r#""id":"{i:016x}","start_time":1,"end_time":2,"subsegments":[{{"name":"x","#);
    }
    text += r#""id":"00000000000fffff","start_time":1,"end_time":2}"#;
    text += &"]}".repeat(49_999);
    let engine = open_bytes(text.into_bytes());
    let t = &engine.session.traces;
    assert_eq!((t.spans.len(), t.traces.max_depth[0]), (50_000, 50_000));
}

#[test]
fn damage_is_survived() {
    let files = SHOPS.iter().map(|(file, _)| *file).chain(OTHERS.iter().copied());
    for file in files.filter(|file| !file.ends_with("/shop.json") || !file.starts_with("otlp-json")) {
        survives_damage(file, 120);
    }
}

#[test]
fn an_answer_without_spans_is_no_error() {
    for (text, format) in [("[]", "zipkin-json"), ("[[]]\n", "zipkin-json"), (r#"{"data":[],"total":0,"errors":null}"#, "jaeger-json")] {
        let engine = open_bytes(text.as_bytes().to_vec());
        let source = &engine.session.sources[0];
        assert_eq!((source.format.as_str(), &source.error), (format, &None), "{text}");
        assert_eq!(counts(&engine), (0, 0, vec![("spans/none", 1)]), "{text}");
    }
}
