//! Traces exported as OTLP JSON: read again they are the same traces, and exported again the same bytes.

use crate::corpus::{expected, fixture, open, open_bytes};
use hotspan::engine::Engine;
use hotspan::report::otlp_json::otlp_json;
use serde_json::Value;

/// What a trace set is in sum and per trace.
fn facts(engine: &Engine) -> Vec<(String, String)> {
    let (t, s) = (&engine.session.traces, &engine.session.strings);
    let inspected = serde_json::to_value(hotspan::report::inspect::sources(&engine.session)).unwrap();
    let mut out = vec![("set".to_string(), inspected[0]["trace_set"].to_string())];
    for i in 0..t.traces.len() {
        let r = &t.traces;
        let per_span: Vec<String> = (r.first_span[i].index()..r.end_span[i].index())
            .map(|row| {
                let span = hotspan::base::ids::SpanRow::from_index(row);
                let p = &t.spans;
                // A span without a known end has none in OTLP either; whether its begin alone was known is not told.
                let known = hotspan::model::trace::SPAN_UNFINISHED | hotspan::model::trace::SPAN_NO_DURATION;
                // Nor can OTLP say that a span is the half of one whose other half is not in the files.
                let other_half = p.parent[row].get().is_some_and(|parent| p.id[parent.index()] == p.id[row]);
                let known = if other_half { known } else { known | hotspan::model::trace::SPAN_SHARED };
                let parent = p.parent[row].get().map_or(String::new(), |p| t.id_text(s, t.spans.id[p.index()]));
                format!(
                    "{} {parent} {} {} {} {} {} {} {}/{}/{}",
                    t.id_text(s, p.id[row]),
                    t.service_name(s, span),
                    t.name(s, span),
                    t.kind(span).name(),
                    p.start_ns[row],
                    p.duration_ns[row],
                    p.flags[row] & !known,
                    p.attr_len[row],
                    p.event_len[row],
                    p.link_len[row]
                )
            })
            .collect();
        let mut sorted = per_span;
        sorted.sort();
        out.push((
            s.get(r.id[i]).to_string(),
            format!("{} {} {} {} {}", r.start_ns[i], r.end_ns[i], r.errors[i], r.max_depth[i], sorted.join("\n")),
        ));
    }
    out
}

/// `None` when the file holds no spans; else how many spans and how many facts differ.
fn there_and_back(name: &str, engine: &Engine, wrong: &mut Vec<String>) -> Option<usize> {
    if engine.session.traces.spans.is_empty() {
        return None;
    }
    let first = otlp_json(&engine.session);
    assert!(serde_json::from_str::<Value>(&first).is_ok(), "{name}: not JSON");
    let again = open_bytes(first.clone().into_bytes());
    let source = &again.session.sources[0];
    if source.format != "otlp-json" || source.error.is_some() || source.ledger.diagnostics.iter().any(|(code, _)| code.starts_with("json/"))
    {
        wrong.push(format!("{name}: read as {:?} with {:?} {:?}", source.format, source.error, source.ledger.diagnostics));
    }
    let second = otlp_json(&again.session);
    if first != second {
        let at = first.bytes().zip(second.bytes()).take_while(|(a, b)| a == b).count();
        let part =
            |text: &str| text.chars().skip(text[..at.min(text.len())].chars().count().saturating_sub(120)).take(240).collect::<String>();
        wrong.push(format!("{name}: bytes differ at {at}:\n  {}\n  {}", part(&first), part(&second)));
    }
    for (before, after) in facts(engine).iter().zip(facts(&again)) {
        if *before != after {
            let line = before.1.lines().zip(after.1.lines()).find(|(a, b)| a != b);
            wrong.push(format!("{name}: {} became {}: {line:?}", before.0, after.0));
        }
    }
    Some(engine.session.traces.spans.len())
}

#[test]
fn exports_of_every_trace_are_stable() {
    let mut wrong = Vec::new();
    let (mut files, mut spans) = (0, 0);
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let ids = hotspan::formats::FORMATS.iter().map(|f| f.id());
    let mut names: Vec<String> = ids
        .filter_map(|id| std::fs::read_dir(folder.join(id)).ok().map(|files| (id, files)))
        .flat_map(|(id, files)| files.map(move |f| format!("{id}/{}", f.unwrap().file_name().to_string_lossy())))
        .filter(|name| !name.ends_with(".md"))
        .collect();
    names.sort();
    for name in &names {
        if let Some(n) = there_and_back(name, &fixture(name), &mut wrong) {
            (files, spans) = (files + 1, spans + n);
        }
    }
    assert!(files >= 30, "{files} of our own files hold traces");
    for (name, _, _) in expected(&["otlp", "jaeger", "zipkin", "zipkin-v1"]) {
        if let Some(n) = there_and_back(&name, &open(&name).unwrap(), &mut wrong) {
            (files, spans) = (files + 1, spans + n);
        }
    }
    println!("export and back: {files} files, {spans} spans, {} differ", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_otlp_has_no_place_for_travels_by_convention() {
    let text = otlp_json(&fixture("jaeger-json/references.json").session);
    assert!(text.contains("opentracing.ref_type") && text.contains("\"service.name\""), "{text}");
    // Ids are padded to what OTLP wants.
    assert!(text.contains("\"traceId\":\"0000000000000000000000000000001f\""), "{text}");
    let odd = r#"[{"traceId":"not hex","id":"neither","name":"a","timestamp":1,"tags":{"n":1e400,"list":"x"}},{"traceId":"2","id":"3","name":"b"}]"#;
    let mut wrong = Vec::new();
    there_and_back("odd", &open_bytes(odd.as_bytes().to_vec()), &mut wrong);
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn values_of_every_kind_come_back() {
    let values = r#"[{"key":"a","value":{"arrayValue":{"values":[{},{"boolValue":true},{"intValue":"-5"},{"doubleValue":0.1},{"kvlistValue":{"values":[]}},{"arrayValue":{}}]}}},
        {"key":"m","value":{"kvlistValue":{"values":[{"key":"k","value":{"stringValue":"\u0001\"\\"}},{"key":"","value":{}}]}}},
        {"key":"d","value":{"doubleValue":"NaN"}},{"key":"i","value":{"doubleValue":"-Infinity"}},{"key":"f","value":{"doubleValue":1}},{"key":"e","value":{}}]"#;
    let text = format!(
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":""}}}},{{"key":"x","value":{{"stringValue":"y"}}}}]}},"scopeSpans":[{{"scope":{{"name":"lib"}},"spans":[{{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","name":"n","kind":2,"startTimeUnixNano":"1","endTimeUnixNano":"0","attributes":{values}}}]}}]}}]}}"#
    );
    let engine = open_bytes(text.into_bytes());
    let line = &crate::trace_readers::spans(&engine)[0];
    expect_test::expect![[r#"5b8efff798038103d269b633813fc60c eee19b7ec3c1b174 < -, : n (server) 1+0 flags 8; a=[null,true,-5,0.1,{},[]] m={"":null,"k":"\u0001\"\\"} d=NaN i=-inf f=1 e="""#]].assert_eq(line);
    let mut wrong = Vec::new();
    assert_eq!(there_and_back("values", &engine, &mut wrong), Some(1));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
