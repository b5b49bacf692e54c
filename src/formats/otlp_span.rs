//! The records of OTLP JSON and how they become rows.

use super::Import;
use super::json::{Scalar, Text};
use super::span_draft::{Attrs, Draft, DraftEvent, DraftLink, service_name};
use super::span_sink::{kind, trace_id};
use crate::base::ids::{ResourceId, ServiceId};
use crate::model::trace::{SPAN_ASYNC, SPAN_ERROR, SPAN_REMOTE_PARENT};
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;

/// An instrumentation scope.
#[derive(Debug, Default, Deserialize, PartialEq)]
pub struct Scope<'a> {
    /// Library name.
    #[serde(borrow, default)]
    pub name: Option<Text<'a>>,
}

/// A resource: what its spans share.
#[derive(Debug, Default, Deserialize, PartialEq)]
pub struct Resource<'a> {
    #[serde(borrow, default)]
    pub(super) attributes: Attributes<'a>,
}

/// A list of keys and values.
#[derive(Debug, Default, PartialEq)]
pub struct Attributes<'a>(pub Attrs<'a>);

impl<'de: 'a, 'a> Deserialize<'de> for Attributes<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Attributes<'a>, D::Error> {
        let list = Option::<Vec<KeyValue<'de>>>::deserialize(d)?;
        let pair = |kv: KeyValue<'a>| (kv.key.unwrap_or_default().0, kv.value.map_or(Scalar::Null, |v| v.scalar()));
        Ok(Attributes(list.into_iter().flatten().map(pair).collect()))
    }
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
        match (&self.array, &self.list) {
            (Some(value), _) => Scalar::Json(plain(value, false, 0).to_string().into()),
            (None, Some(value)) => Scalar::Json(plain(value, true, 0).to_string().into()),
            (None, None) => Scalar::Null,
        }
    }
}

/// `{"values":[{"stringValue":"a"}]}` of an array as `["a"]`, of a list of keys as `{"k":"a"}`. Depth is bounded, as the
/// nesting that serde_json accepts is.
fn plain(value: &serde_json::Value, list: bool, depth: u32) -> serde_json::Value {
    use serde_json::Value;
    let Value::Object(map) = value else { return value.clone() };
    let values = map.get("values").and_then(Value::as_array).map_or(&[][..], |v| v);
    if list {
        let entry = |v: &Value| {
            let key = v.get("key").and_then(Value::as_str).unwrap_or("").to_string();
            (key, any(v.get("value").unwrap_or(&Value::Null), depth + 1))
        };
        Value::Object(values.iter().map(entry).collect())
    } else {
        Value::Array(values.iter().map(|v| any(v, depth + 1)).collect())
    }
}

/// An `AnyValue` as the value that it wraps.
fn any(value: &serde_json::Value, depth: u32) -> serde_json::Value {
    use serde_json::Value;
    let Value::Object(map) = value else { return value.clone() };
    if depth > 64 {
        return value.clone();
    }
    let Some((key, inner)) = map.iter().next().filter(|_| map.len() == 1) else {
        return if map.is_empty() { Value::Null } else { value.clone() };
    };
    match (key.as_str(), inner) {
        ("arrayValue" | "array_value", inner) => plain(inner, false, depth),
        ("kvlistValue" | "kvlist_value", inner) => plain(inner, true, depth),
        // 64-bit integers are texts in protobuf's JSON.
        ("intValue" | "int_value", Value::String(text)) => text.parse::<i64>().map_or_else(|_| Value::from(text.as_str()), Value::from),
        (key, inner) if key.ends_with("Value") || key.ends_with("_value") => inner.clone(),
        _ => value.clone(),
    }
}

/// A span.
#[derive(Debug, Default, Deserialize, PartialEq)]
pub struct Span<'a> {
    #[serde(borrow, rename = "traceId", alias = "trace_id", default)]
    pub(super) trace_id: Option<Text<'a>>,
    #[serde(borrow, rename = "spanId", alias = "span_id", default)]
    pub(super) span_id: Option<Text<'a>>,
    #[serde(borrow, rename = "parentSpanId", alias = "parent_span_id", default)]
    pub(super) parent: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) name: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) kind: Scalar<'a>,
    #[serde(borrow, rename = "startTimeUnixNano", alias = "start_time_unix_nano", default)]
    pub(super) start: Scalar<'a>,
    #[serde(borrow, rename = "endTimeUnixNano", alias = "end_time_unix_nano", default)]
    pub(super) end: Scalar<'a>,
    #[serde(borrow, default)]
    pub(super) attributes: Attributes<'a>,
    #[serde(borrow, default)]
    pub(super) events: Option<Vec<Event<'a>>>,
    #[serde(borrow, default)]
    pub(super) links: Option<Vec<Link<'a>>>,
    #[serde(borrow, default)]
    pub(super) status: Option<JsonStatus<'a>>,
    #[serde(borrow, default)]
    pub(super) flags: Scalar<'a>,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
pub(super) struct Event<'a> {
    #[serde(borrow, rename = "timeUnixNano", alias = "time_unix_nano", default)]
    pub(super) time: Scalar<'a>,
    #[serde(borrow, default)]
    pub(super) name: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) attributes: Attributes<'a>,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
pub(super) struct Link<'a> {
    #[serde(borrow, rename = "traceId", alias = "trace_id", default)]
    pub(super) trace_id: Option<Text<'a>>,
    #[serde(borrow, rename = "spanId", alias = "span_id", default)]
    pub(super) span_id: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) attributes: Attributes<'a>,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
pub(super) struct JsonStatus<'a> {
    #[serde(borrow, default)]
    pub(super) code: Scalar<'a>,
    #[serde(borrow, default)]
    pub(super) message: Option<Text<'a>>,
}

/// Stores a resource; gives its row and service. `None` for the service when the resource does not name one; a name that is
/// empty is no service.
pub fn read_resource(resource: Resource<'_>, import: &mut Import<'_>) -> (ResourceId, Option<ServiceId>) {
    store_resource(&resource.attributes.0, import)
}

/// As [`read_resource`], from its attributes.
pub fn store_resource(attrs: &[(Cow<'_, str>, Scalar<'_>)], import: &mut Import<'_>) -> (ResourceId, Option<ServiceId>) {
    let named = attrs.iter().any(|(key, _)| key == "service.name");
    let service = import.service(service_name(attrs));
    let rows = import.attrs(attrs);
    (import.resource(service, rows), named.then_some(service))
}

/// Gives the spans from a row on their resource and service, once the block of the resource has been read.
pub fn settle(first: usize, resource: Option<(ResourceId, Option<ServiceId>)>, import: &mut Import<'_>) {
    let (id, named) = resource.unwrap_or((ResourceId::NONE, None));
    for row in first..import.session.traces.spans.len() {
        let service = named.unwrap_or_else(|| {
            // Without service.name the scope is the best name that there is.
            let scope = import.session.strings.get(import.session.traces.spans.scope[row]).to_string();
            import.service(&scope)
        });
        import.set_service(row, service);
        import.session.traces.spans.resource[row] = id;
    }
}

/// What OTLP says of a span besides its attributes, events and links.
#[derive(Default)]
pub struct Status {
    /// Status code: 0 unset, 1 ok, 2 error.
    pub code: i64,
    /// `flags`: bit 8 says that bit 9, "the parent is remote", is set deliberately.
    pub flags: i64,
}

/// Stores a span whose end, status and flags are those of OTLP. Service, resource and scope follow when their blocks are read.
pub fn store(mut d: Draft<'_>, status: &Status, import: &mut Import<'_>) {
    if d.end_ns == Some(0) && d.start_ns > 0 {
        d.unfinished();
    }
    if status.code == 2 {
        d.flags |= SPAN_ERROR;
    }
    if status.flags & 0x300 == 0x300 {
        d.flags |= SPAN_REMOTE_PARENT;
    }
    if !d.links.is_empty() {
        // OpenTracing's FOLLOWS_FROM travels as a link to the parent (semantic conventions, opentracing.ref_type).
        let (trace, parent) = (trace_id(&d.trace), d.parent.to_string());
        let follows = |l: &DraftLink<'_>| {
            let says = l.attrs.iter().any(|(key, value)| key == "opentracing.ref_type" && value.text() == Some("follows_from"));
            says && !parent.is_empty() && l.span.eq_ignore_ascii_case(&parent) && trace_id(&l.trace) == trace
        };
        if d.links.iter().any(&follows) {
            d.flags |= SPAN_ASYNC;
            d.links.retain(|l| !follows(l));
        }
    }
    d.store(import);
}

/// Stores a span of JSON.
pub fn push(span: Span<'_>, import: &mut Import<'_>) {
    let text = |text: Option<Text<'_>>| text.unwrap_or_default().0.into_owned();
    let code = span.status.as_ref().map_or(0, |s| if s.code.text() == Some("STATUS_CODE_ERROR") { 2 } else { s.code.int().unwrap_or(0) });
    let status = Status { code, flags: span.flags.int().unwrap_or(0) };
    let mut d = Draft {
        trace: span.trace_id.unwrap_or_default().0,
        id: span.span_id.unwrap_or_default().0,
        parent: span.parent.unwrap_or_default().0,
        name: span.name.unwrap_or_default().0,
        kind: kind(&span.kind),
        start_ns: import.checked_time(span.start.int(), &span.start).unwrap_or(0),
        end_ns: Some(import.checked_time(span.end.int(), &span.end).unwrap_or(0)),
        attrs: span.attributes.0,
        ..Draft::default()
    };
    d.text("otel.status_description", span.status.map_or(String::new(), |s| text(s.message)));
    for event in span.events.into_iter().flatten() {
        let (name, attrs) = (event.name.unwrap_or_default().0, event.attributes.0);
        d.events.push(DraftEvent { time_ns: event.time.int(), name, attrs });
    }
    for link in span.links.into_iter().flatten() {
        let (trace, span) = (link.trace_id.unwrap_or_default().0, link.span_id.unwrap_or_default().0);
        d.links.push(DraftLink { trace, span, attrs: link.attributes.0 });
    }
    store(d, &status, import);
}
