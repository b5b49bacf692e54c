//! All traces as OTLP JSON (opentelemetry-proto, JSON mapping): everything of the tables that OTLP can hold.
//!
//! Traces stand in the order of the tables. Within a trace the spans of one resource and scope stand together, in the order of
//! their first span, so that reading the export and exporting again gives the same bytes. What OTLP has no place for travels by
//! convention: a parent that does not wait (FOLLOWS_FROM) as a link with `opentracing.ref_type`, a span without a known end as
//! one that ends at 0. A service that no resource names becomes `service.name`. Lost is only Zipkin's mark of a
//! server half whose client half is not in the files, which changes nothing.

use crate::base::ids::{ResourceId, ServiceId, SpanRow, StringId, TraceRow};
use crate::model::Session;
use crate::model::trace::{AttrValue, SPAN_ASYNC, SPAN_ERROR, SPAN_NO_DURATION, SPAN_REMOTE_PARENT, SPAN_UNFINISHED, SpanKind};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Arrays and objects inside of each other beyond this are written as text: readers of JSON bound their depth, and OTLP needs
/// three levels for each.
const MAX_DEPTH: usize = 24;

/// Writes all traces of the session; a resource per line.
pub fn otlp_json(session: &Session) -> String {
    let mut writer = Writer { session, out: "{\"resourceSpans\":[".to_string(), resources: BTreeMap::new(), first: true };
    for trace in 0..session.traces.traces.len() {
        writer.trace(TraceRow::from_index(trace));
    }
    writer.out.push_str("\n]}\n");
    writer.out
}

/// What makes a resource block: the stored resource, the service, and whether it must be said that there is none.
type Block = (ResourceId, ServiceId, bool);

struct Writer<'s> {
    session: &'s Session,
    out: String,
    /// Attributes of resources as they are written.
    resources: BTreeMap<Block, String>,
    first: bool,
}

/// Spans of one resource by scope.
type Scopes = Vec<(StringId, Vec<SpanRow>)>;

impl Writer<'_> {
    fn trace(&mut self, trace: TraceRow) {
        let t = &self.session.traces;
        let mut groups: Vec<(String, Scopes)> = Vec::new();
        let mut by_block: BTreeMap<Block, usize> = BTreeMap::new();
        let mut by_text: BTreeMap<String, usize> = BTreeMap::new();
        let mut by_scope: BTreeMap<(usize, StringId), usize> = BTreeMap::new();
        for span in t.traces.spans(trace) {
            let (resource, service, scope) = (t.spans.resource[span.index()], t.service(span), t.spans.scope[span.index()]);
            // Without a service readers take the scope for one.
            let scope_name = self.session.strings.get(scope);
            let block = (resource, service, service.is_none() && !scope_name.is_empty());
            let group = match by_block.get(&block) {
                Some(group) => *group,
                None => {
                    let text = self.resources.entry(block).or_insert_with(|| resource_attributes(self.session, block)).clone();
                    let group = *by_text.entry(text.clone()).or_insert_with(|| {
                        groups.push((text, Vec::new()));
                        groups.len() - 1
                    });
                    by_block.insert(block, group);
                    group
                }
            };
            let scopes = &mut groups[group].1;
            // No scope and a scope without a name are written alike.
            let scope = if scope_name.is_empty() { StringId::NONE } else { scope };
            let at = *by_scope.entry((group, scope)).or_insert_with(|| {
                scopes.push((scope, Vec::new()));
                scopes.len() - 1
            });
            scopes[at].1.push(span);
        }
        for (attributes, scopes) in groups {
            self.out.push_str(if std::mem::take(&mut self.first) { "\n" } else { ",\n" });
            let _ = write!(self.out, "{{\"resource\":{{\"attributes\":[{attributes}]}},\"scopeSpans\":[");
            for (at, (scope, spans)) in scopes.into_iter().enumerate() {
                self.out.push_str(if at == 0 { "{\"scope\":{" } else { ",{\"scope\":{" });
                if scope.get().is_some() {
                    self.out.push_str("\"name\":");
                    quote(&mut self.out, self.session.strings.get(scope));
                }
                self.out.push_str("},\"spans\":[");
                for (at, span) in spans.into_iter().enumerate() {
                    if at > 0 {
                        self.out.push(',');
                    }
                    write_span(self.session, span, &mut self.out);
                }
                self.out.push_str("]}");
            }
            self.out.push_str("]}");
        }
    }
}

/// The attributes of a resource; `service.name` comes first where the table's own do not name the service.
fn resource_attributes(session: &Session, (resource, service, say_none): Block) -> String {
    let (t, strings) = (&session.traces, &session.strings);
    let name = service.get().map_or("", |s| strings.get(t.services[s.index()]));
    let list: Vec<(StringId, AttrValue)> = resource.get().map_or_else(Vec::new, |r| {
        let r = r.index();
        t.attr_rows(t.resources.attr_start[r], t.resources.attr_len[r]).collect()
    });
    let is_name = |key: StringId| strings.get(key) == "service.name";
    let said = list.iter().rfind(|(key, _)| is_name(*key)).map(|(_, value)| match value {
        AttrValue::Text(text) => strings.get(*text),
        _ => "",
    });
    let fits = said.map_or(name.is_empty() && !say_none, |said| said == name);
    let mut out = String::new();
    if !fits {
        out.push_str("{\"key\":\"service.name\",\"value\":{\"stringValue\":");
        quote(&mut out, name);
        out.push_str("}}");
    }
    for (key, value) in list.into_iter().filter(|(key, _)| fits || !is_name(*key)) {
        key_value(session, key, value, &mut out);
    }
    out
}

fn write_span(session: &Session, span: SpanRow, out: &mut String) {
    let (t, strings, i) = (&session.traces, &session.strings, span.index());
    let s = &t.spans;
    let id = |id: u64| if id == 0 { String::new() } else { t.id_text(strings, id) };
    let trace = trace_id(strings.get(s.trace_id[i]));
    out.push_str("{\"traceId\":");
    quote(out, &trace);
    out.push_str(",\"spanId\":");
    quote(out, &id(s.id[i]));
    if s.parent_id[i] != 0 {
        out.push_str(",\"parentSpanId\":");
        quote(out, &id(s.parent_id[i]));
    }
    if s.has(span, SPAN_REMOTE_PARENT) {
        out.push_str(",\"flags\":768");
    }
    out.push_str(",\"name\":");
    quote(out, t.name(strings, span));
    let end = if s.has(span, SPAN_UNFINISHED | SPAN_NO_DURATION) && s.duration_ns[i] == 0 { 0 } else { s.end_ns(span) };
    let kind = t.kind(span);
    let _ = write!(out, ",\"kind\":{},\"startTimeUnixNano\":\"{}\",\"endTimeUnixNano\":\"{end}\"", kind as u8, s.start_ns[i]);
    // The status has a message of its own in OTLP.
    let mut own: Vec<(StringId, AttrValue)> = t.span_attrs(span).collect();
    let is_message = |(key, value): &(StringId, AttrValue)| {
        matches!(value, AttrValue::Text(v) if !strings.get(*v).is_empty()) && strings.get(*key) == "otel.status_description"
    };
    let message = own.iter().rposition(is_message).map(|at| own.remove(at).1);
    attributes(session, own.into_iter(), out);
    events(session, span, out);
    let links = s.link_start[i] as usize..(s.link_start[i] + s.link_len[i]) as usize;
    let follows = s.has(span, SPAN_ASYNC) && kind != SpanKind::Consumer && s.parent_id[i] != 0;
    if follows || !links.is_empty() {
        out.push_str(",\"links\":[");
        for link in links.clone() {
            out.push_str(if link > links.start { ",{\"traceId\":" } else { "{\"traceId\":" });
            quote(out, &trace_id(strings.get(t.links.trace_id[link])));
            out.push_str(",\"spanId\":");
            quote(out, &id(t.links.span_id[link]));
            attributes(session, t.attr_rows(t.links.attr_start[link], t.links.attr_len[link]), out);
            out.push('}');
        }
        if follows {
            out.push_str(if links.is_empty() { "{\"traceId\":" } else { ",{\"traceId\":" });
            quote(out, &trace);
            out.push_str(",\"spanId\":");
            quote(out, &id(s.parent_id[i]));
            out.push_str(",\"attributes\":[{\"key\":\"opentracing.ref_type\",\"value\":{\"stringValue\":\"follows_from\"}}]}");
        }
        out.push(']');
    }
    out.push_str(",\"status\":{");
    if let Some(AttrValue::Text(message)) = message {
        out.push_str("\"message\":");
        quote(out, strings.get(message));
    }
    if s.has(span, SPAN_ERROR) {
        out.push_str(if message.is_some() { ",\"code\":2" } else { "\"code\":2" });
    }
    out.push_str("}}");
}

fn events(session: &Session, span: SpanRow, out: &mut String) {
    let (t, i) = (&session.traces, span.index());
    let rows = t.spans.event_start[i] as usize..(t.spans.event_start[i] + t.spans.event_len[i]) as usize;
    if rows.is_empty() {
        return;
    }
    out.push_str(",\"events\":[");
    for event in rows.clone() {
        let _ = write!(out, "{}{{\"timeUnixNano\":\"{}\",\"name\":", if event > rows.start { "," } else { "" }, t.events.time_ns[event]);
        quote(out, session.strings.get(t.events.name[event]));
        attributes(session, t.attr_rows(t.events.attr_start[event], t.events.attr_len[event]), out);
        out.push('}');
    }
    out.push(']');
}

/// A list of attributes behind other members; nothing when there are none.
fn attributes(session: &Session, list: impl Iterator<Item = (StringId, AttrValue)>, out: &mut String) {
    let mut text = String::new();
    for (key, value) in list {
        key_value(session, key, value, &mut text);
    }
    if !text.is_empty() {
        let _ = write!(out, ",\"attributes\":[{text}]");
    }
}

/// One attribute, behind a comma where others stand before it.
fn key_value(session: &Session, key: StringId, value: AttrValue, out: &mut String) {
    if !out.is_empty() {
        out.push(',');
    }
    out.push_str("{\"key\":");
    quote(out, session.strings.get(key));
    out.push_str(",\"value\":{");
    match value {
        AttrValue::Text(text) => string(out, session.strings.get(text)),
        AttrValue::Int(n) => {
            let _ = write!(out, "\"intValue\":\"{n}\"");
        }
        AttrValue::Double(f) => double(out, f),
        AttrValue::Bool(b) => {
            let _ = write!(out, "\"boolValue\":{b}");
        }
        AttrValue::Json(text) => {
            let text = session.strings.get(text);
            match serde_json::from_str::<Value>(text) {
                Ok(tree) if tree.is_array() || tree.is_object() => json(out, &tree, 0),
                _ => string(out, text),
            }
        }
    }
    out.push_str("}}");
}

fn string(out: &mut String, text: &str) {
    out.push_str("\"stringValue\":");
    quote(out, text);
}

/// The shortest digits that are this number; protobuf's JSON has words for what is none.
fn double(out: &mut String, f: f64) {
    let _ = match (f.is_nan(), f.is_infinite(), f > 0.0) {
        (true, ..) => write!(out, "\"doubleValue\":\"NaN\""),
        (_, true, true) => write!(out, "\"doubleValue\":\"Infinity\""),
        (_, true, false) => write!(out, "\"doubleValue\":\"-Infinity\""),
        _ => write!(out, "\"doubleValue\":{}", Value::from(f)),
    };
}

/// A value of JSON as the one member of an `AnyValue`; null has none. The depth is bounded.
fn json(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Null => {}
        Value::Bool(b) => {
            let _ = write!(out, "\"boolValue\":{b}");
        }
        Value::Number(n) => match (n.as_i64(), n.is_f64()) {
            (Some(n), _) => {
                let _ = write!(out, "\"intValue\":\"{n}\"");
            }
            (None, true) => double(out, n.as_f64().unwrap_or(0.0)),
            (None, false) => string(out, &n.to_string()),
        },
        Value::String(text) => string(out, text),
        deep if depth >= MAX_DEPTH => string(out, &deep.to_string()),
        Value::Array(list) => {
            out.push_str("\"arrayValue\":{\"values\":[");
            for (at, item) in list.iter().enumerate() {
                out.push_str(if at > 0 { ",{" } else { "{" });
                json(out, item, depth + 1);
                out.push('}');
            }
            out.push_str("]}");
        }
        Value::Object(map) => {
            out.push_str("\"kvlistValue\":{\"values\":[");
            for (at, (key, item)) in map.iter().enumerate() {
                out.push_str(if at > 0 { ",{\"key\":" } else { "{\"key\":" });
                quote(out, key);
                out.push_str(",\"value\":{");
                json(out, item, depth + 1);
                out.push_str("}}");
            }
            out.push_str("]}");
        }
    }
}

/// OTLP's ids have 128 bits; a shorter one is padded.
fn trace_id(text: &str) -> String {
    let hex = !text.is_empty() && text.len() < 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
    if hex { format!("{text:0>32}") } else { text.to_string() }
}

/// A JSON string.
fn quote(out: &mut String, text: &str) {
    out.push('"');
    let mut kept = 0;
    for (at, b) in text.bytes().enumerate() {
        if b >= 0x20 && b != b'"' && b != b'\\' {
            continue;
        }
        out.push_str(&text[kept..at]);
        kept = at + 1;
        let _ = match b {
            b'"' => write!(out, "\\\""),
            b'\\' => write!(out, "\\\\"),
            b'\n' => write!(out, "\\n"),
            b'\r' => write!(out, "\\r"),
            b'\t' => write!(out, "\\t"),
            _ => write!(out, "\\u{b:04x}"),
        };
    }
    out.push_str(&text[kept..]);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_numbers_are_those_of_serde_json() {
        for text in ["", "plain", "a\"b\\c\n\r\t\u{1}\u{1f}é\u{1f600}\u{7f}"] {
            let mut out = String::new();
            quote(&mut out, text);
            assert_eq!(serde_json::from_str::<String>(&out).ok().as_deref(), Some(text));
        }
        for f in [0.1, -0.0, 1e300, 5e-324, 123_456_789.123_456_78, 1.0] {
            let mut out = String::new();
            double(&mut out, f);
            let back: Value = serde_json::from_str(&format!("{{{out}}}")).unwrap_or_default();
            assert_eq!(back["doubleValue"].as_f64().map(f64::to_bits), Some(f.to_bits()), "{out}");
        }
    }
}
