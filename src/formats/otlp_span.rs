//! The records of OTLP JSON and how they become rows.

use super::Import;
use super::json::{Scalar, Text};
use super::span_sink::kind;
use crate::base::ids::{ResourceId, ServiceId, StringId};
use crate::model::trace::{RawSpan, SPAN_ASYNC, SPAN_ERROR, SPAN_REMOTE_PARENT, SPAN_UNFINISHED, SpanKind};
use serde::Deserialize;

/// An instrumentation scope.
#[derive(Deserialize)]
pub struct Scope<'a> {
    /// Library name.
    #[serde(borrow, default)]
    pub name: Option<Text<'a>>,
}

/// A resource: what its spans share.
#[derive(Deserialize)]
pub struct Resource<'a> {
    #[serde(borrow, default)]
    attributes: Option<Vec<KeyValue<'a>>>,
}

#[derive(Deserialize)]
struct KeyValue<'a> {
    #[serde(borrow, default)]
    key: Option<Text<'a>>,
    #[serde(borrow, default)]
    value: Option<AnyValue<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AnyValue<'a> {
    #[serde(borrow, rename = "stringValue", alias = "string_value")]
    string: Option<Text<'a>>,
    #[serde(borrow, rename = "boolValue", alias = "bool_value")]
    boolean: Option<Scalar<'a>>,
    #[serde(borrow, rename = "intValue", alias = "int_value")]
    int: Option<Scalar<'a>>,
    #[serde(borrow, rename = "doubleValue", alias = "double_value")]
    double: Option<Scalar<'a>>,
    #[serde(rename = "arrayValue", alias = "array_value")]
    array: Option<serde_json::Value>,
    #[serde(rename = "kvlistValue", alias = "kvlist_value")]
    list: Option<serde_json::Value>,
    #[serde(borrow, rename = "bytesValue", alias = "bytes_value")]
    bytes: Option<Text<'a>>,
}

impl<'a> AnyValue<'a> {
    fn scalar(&self) -> Scalar<'a> {
        if let Some(text) = self.string.as_ref().or(self.bytes.as_ref()) {
            return Scalar::Text(text.0.clone());
        }
        if let Some(b) = &self.boolean {
            return Scalar::Bool(b.truthy());
        }
        if let Some(n) = &self.int {
            return n.int().map_or_else(|| n.clone(), Scalar::Int);
        }
        if let Some(Scalar::Text(text)) = &self.double {
            return text.parse().map_or(Scalar::Text(text.clone()), Scalar::Float);
        }
        if let Some(n) = &self.double {
            return n.clone();
        }
        match self.array.as_ref().or(self.list.as_ref()) {
            Some(value) => Scalar::Json(plain(value, 0).to_string().into()),
            None => Scalar::Null,
        }
    }
}

/// `{"values":[{"stringValue":"a"}]}` as `["a"]`. The nesting that serde_json accepts bounds the depth.
fn plain(value: &serde_json::Value, depth: u32) -> serde_json::Value {
    use serde_json::Value;
    if depth > 64 {
        return value.clone();
    }
    let Value::Object(map) = value else { return value.clone() };
    if let Some(Value::Array(values)) = map.get("values") {
        let entry = |v: &Value| {
            let key = v.get("key").and_then(Value::as_str);
            (key.map(str::to_string), plain(v.get("value").filter(|_| key.is_some()).unwrap_or(v), depth + 1))
        };
        let entries: Vec<(Option<String>, Value)> = values.iter().map(entry).collect();
        return if !entries.is_empty() && entries.iter().all(|(key, _)| key.is_some()) {
            Value::Object(entries.into_iter().map(|(key, v)| (key.unwrap_or_default(), v)).collect())
        } else {
            Value::Array(entries.into_iter().map(|(_, v)| v).collect())
        };
    }
    match map.iter().next() {
        // 64-bit integers are texts in protobuf's JSON.
        Some((key, Value::String(text))) if map.len() == 1 && matches!(key.as_str(), "intValue" | "int_value") => {
            text.parse::<i64>().map_or_else(|_| Value::from(text.as_str()), Value::from)
        }
        Some((key, inner)) if map.len() == 1 && (key.ends_with("Value") || key.ends_with("_value")) => plain(inner, depth + 1),
        None => Value::Array(Vec::new()),
        _ => value.clone(),
    }
}

/// A span.
#[derive(Deserialize)]
pub struct Span<'a> {
    #[serde(borrow, rename = "traceId", alias = "trace_id", default)]
    trace_id: Option<Text<'a>>,
    #[serde(borrow, rename = "spanId", alias = "span_id", default)]
    span_id: Option<Text<'a>>,
    #[serde(borrow, rename = "parentSpanId", alias = "parent_span_id", default)]
    parent: Option<Text<'a>>,
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
    #[serde(borrow, default)]
    kind: Scalar<'a>,
    #[serde(borrow, rename = "startTimeUnixNano", alias = "start_time_unix_nano", default)]
    start: Scalar<'a>,
    #[serde(borrow, rename = "endTimeUnixNano", alias = "end_time_unix_nano", default)]
    end: Scalar<'a>,
    #[serde(borrow, default)]
    attributes: Option<Vec<KeyValue<'a>>>,
    #[serde(borrow, default)]
    events: Option<Vec<Event<'a>>>,
    #[serde(borrow, default)]
    links: Option<Vec<Link<'a>>>,
    #[serde(borrow, default)]
    status: Option<Status<'a>>,
    #[serde(borrow, default)]
    flags: Scalar<'a>,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, rename = "timeUnixNano", alias = "time_unix_nano", default)]
    time: Scalar<'a>,
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
    #[serde(borrow, default)]
    attributes: Option<Vec<KeyValue<'a>>>,
}

#[derive(Deserialize)]
struct Link<'a> {
    #[serde(borrow, rename = "traceId", alias = "trace_id", default)]
    trace_id: Option<Text<'a>>,
    #[serde(borrow, rename = "spanId", alias = "span_id", default)]
    span_id: Option<Text<'a>>,
    #[serde(borrow, default)]
    attributes: Option<Vec<KeyValue<'a>>>,
}

#[derive(Deserialize)]
struct Status<'a> {
    #[serde(borrow, default)]
    code: Scalar<'a>,
    #[serde(borrow, default)]
    message: Option<Text<'a>>,
}

fn text<'t>(text: &'t Option<Text<'_>>) -> &'t str {
    text.as_ref().map_or("", |t| &t.0)
}

fn attributes(list: &Option<Vec<KeyValue<'_>>>, import: &mut Import<'_>) -> (u32, u32) {
    let start = import.next_attr();
    for kv in list.iter().flatten() {
        let value = kv.value.as_ref().map_or(Scalar::Null, AnyValue::scalar);
        import.attr(text(&kv.key), &value);
    }
    (start, import.next_attr() - start)
}

/// Stores a resource; gives its row and service.
pub fn read_resource(resource: &Resource<'_>, import: &mut Import<'_>) -> (ResourceId, ServiceId) {
    let name = resource.attributes.iter().flatten().rfind(|kv| text(&kv.key) == "service.name").and_then(|kv| {
        let value = kv.value.as_ref()?.scalar();
        value.text().map(str::to_string)
    });
    let service = import.service(&name.unwrap_or_default());
    let (start, len) = attributes(&resource.attributes, import);
    let table = &mut import.session.traces.resources;
    table.service.push(service);
    table.attr_start.push(start);
    table.attr_len.push(len);
    (ResourceId::from_index(table.service.len() - 1), service)
}

/// Stores a span. Service, resource and scope follow when their blocks are read.
pub fn push(span: &Span<'_>, import: &mut Import<'_>) {
    let record = import.ledger.records_in;
    let name = text(&span.name);
    let (start, end) = (span.start.int().unwrap_or(0), span.end.int().unwrap_or(0));
    let mut flags = 0;
    let unfinished = end == 0 && start > 0;
    let duration_ns = if unfinished { 0 } else { import.span_length(start, end, record, name) };
    if unfinished {
        flags |= SPAN_UNFINISHED;
    }
    let status = span.status.as_ref();
    let failed = status.is_some_and(|s| s.code.int() == Some(2) || s.code.text() == Some("STATUS_CODE_ERROR"));
    if failed {
        flags |= SPAN_ERROR;
    }
    if span.flags.int().is_some_and(|f| f & 0x300 == 0x300) {
        flags |= SPAN_REMOTE_PARENT;
    }
    let kind = kind(&span.kind);
    if kind == SpanKind::Consumer {
        flags |= SPAN_ASYNC;
    }
    let mut attrs = attributes(&span.attributes, import);
    if let Some(message) = status.map(|s| text(&s.message)).filter(|m| !m.is_empty()) {
        import.attr("otel.status_description", &Scalar::Text(message.into()));
        attrs.1 += 1;
    }
    let mut events = (import.session.traces.events.name.len() as u32, 0);
    for event in span.events.iter().flatten() {
        let (attr_start, attr_len) = attributes(&event.attributes, import);
        let name = import.session.strings.intern(text(&event.name));
        let table = &mut import.session.traces.events;
        table.time_ns.push(event.time.int().unwrap_or(start));
        table.name.push(name);
        table.attr_start.push(attr_start);
        table.attr_len.push(attr_len);
        events.1 += 1;
    }
    let mut links = (import.session.traces.links.trace_id.len() as u32, 0);
    for link in span.links.iter().flatten() {
        let (attr_start, attr_len) = attributes(&link.attributes, import);
        let (trace, id) = (import.trace_id(text(&link.trace_id)), import.span_id(text(&link.span_id)));
        let table = &mut import.session.traces.links;
        table.trace_id.push(trace);
        table.span_id.push(id);
        table.attr_start.push(attr_start);
        table.attr_len.push(attr_len);
        links.1 += 1;
    }
    let name = import.session.strings.intern(name);
    let raw = RawSpan {
        source: import.source,
        trace_id: import.trace_id(text(&span.trace_id)),
        id: import.span_id(text(&span.span_id)),
        parent_id: import.span_id(text(&span.parent)),
        operation: import.session.traces.operations.intern(ServiceId::NONE, name, kind),
        start_ns: start,
        duration_ns,
        flags,
        resource: ResourceId::NONE,
        scope: StringId::NONE,
        attrs,
        events,
        links,
    };
    import.session.traces.push(raw);
    import.ledger.records_kept += 1;
}
