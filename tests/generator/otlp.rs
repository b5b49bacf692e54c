//! Spans as an OTLP JSON file, as the collector's file exporter writes it: one request a line, here one per service.

use super::run::Span;
use std::collections::BTreeMap;
use std::fmt::Write;

/// The file's bytes.
pub fn write(spans: &[Span]) -> Vec<u8> {
    let mut by_service: BTreeMap<&str, Vec<&Span>> = BTreeMap::new();
    for span in spans {
        by_service.entry(&span.service).or_default().push(span);
    }
    let mut out = String::new();
    for (service, spans) in by_service {
        let _ = write!(
            out,
            r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"{service}"}}}}]}},"scopeSpans":[{{"scope":{{"name":"generated"}},"spans":["#
        );
        for (i, s) in spans.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            let parent = if s.parent == 0 { String::new() } else { format!(r#""parentSpanId":"{:016x}","#, s.parent) };
            let _ = write!(
                out,
                r#"{comma}{{"traceId":"{:032x}","spanId":"{:016x}",{parent}"name":"{}","kind":{},"startTimeUnixNano":"{}","endTimeUnixNano":"{}","attributes":["#,
                s.trace + 1,
                s.id,
                s.name,
                s.kind,
                s.start,
                s.end
            );
            for (k, (key, value)) in s.attributes.iter().enumerate() {
                let comma = if k > 0 { "," } else { "" };
                let value = serde_json::Value::from(value.as_str());
                let _ = write!(out, r#"{comma}{{"key":"{key}","value":{{"stringValue":{value}}}}}"#);
            }
            let status = if s.error { r#"],"status":{"code":2}}"# } else { "]}" };
            out.push_str(status);
        }
        out.push_str("]}]}]}\n");
    }
    out.into_bytes()
}
