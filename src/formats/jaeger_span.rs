//! The span records of Jaeger in its four JSON forms, and how they become rows.
//!
//! The UI and query form (jaeger internal/uimodel) and the documents of its Elasticsearch and OpenSearch indices have times
//! in microseconds and typed tags; documents carry their process, and may flatten tags into `tag` with `@` for dots. The
//! protobuf form (jaeger-idl api_v2/model.proto) has base64 ids, RFC 3339 times, lengths such as `0.005s`, and tags with
//! `vType` and one member per type.

use super::Import;
use super::json::{Pairs, Scalar, Text};
use super::span_draft::Resources;
use crate::base::ids::{ResourceId, ServiceId, StringId};
use crate::base::time::{parse_iso, parse_length};
use crate::model::trace::{RawSpan, SPAN_ASYNC, SPAN_ERROR, SpanKind};
use serde::Deserialize;
use std::borrow::Cow;

/// A process: the service and what its instances share.
#[derive(Debug, Default, Deserialize, PartialEq)]
pub struct Process<'a> {
    #[serde(borrow, rename = "serviceName", alias = "service_name", default)]
    pub(super) service: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) tags: Option<Vec<Tag<'a>>>,
    #[serde(borrow, default)]
    pub(super) tag: Option<Pairs<'a>>,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
pub(super) struct Tag<'a> {
    #[serde(borrow, default)]
    pub(super) key: Option<Text<'a>>,
    #[serde(borrow, rename = "type", alias = "vType", alias = "v_type", default)]
    pub(super) kind: Option<Text<'a>>,
    #[serde(
        borrow,
        alias = "vStr",
        alias = "v_str",
        alias = "vBool",
        alias = "v_bool",
        alias = "vInt64",
        alias = "v_int64",
        alias = "vFloat64",
        alias = "v_float64",
        alias = "vBinary",
        alias = "v_binary",
        default
    )]
    pub(super) value: Scalar<'a>,
}

impl<'a> Tag<'a> {
    fn key(&self) -> &str {
        self.key.as_ref().map_or("", |k| &k.0)
    }
    /// Integers beyond 2^53 are written as texts and typed: they are integers again. Protobuf's JSON leaves zeros out.
    fn value(&self) -> Scalar<'a> {
        let kind = self.kind.as_ref().map_or("", |k| &*k.0);
        let is = |name: &str| kind.eq_ignore_ascii_case(name);
        match &self.value {
            Scalar::Text(text) if is("int64") => text.parse().map_or(self.value.clone(), Scalar::Int),
            Scalar::Text(text) if is("bool") => Scalar::Bool(text == "true"),
            Scalar::Text(text) if is("float64") => text.parse().map_or(self.value.clone(), Scalar::Float),
            Scalar::Null if is("int64") => Scalar::Int(0),
            Scalar::Null if is("bool") => Scalar::Bool(false),
            Scalar::Null if is("float64") => Scalar::Float(0.0),
            other => other.clone(),
        }
    }
}

/// A span.
#[derive(Debug, Default, Deserialize, PartialEq)]
pub struct Span<'a> {
    #[serde(borrow, rename = "traceID", alias = "traceId", alias = "trace_id", default)]
    pub(super) trace_id: Option<Text<'a>>,
    #[serde(borrow, rename = "spanID", alias = "spanId", alias = "span_id", default)]
    pub(super) span_id: Option<Text<'a>>,
    #[serde(borrow, rename = "parentSpanID", alias = "parentSpanId", alias = "parent_span_id", default)]
    pub(super) parent: Option<Text<'a>>,
    #[serde(borrow, rename = "operationName", alias = "operation_name", default)]
    pub(super) name: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) references: Option<Vec<Reference<'a>>>,
    #[serde(borrow, rename = "startTime", alias = "start_time", default)]
    pub(super) start: Scalar<'a>,
    #[serde(borrow, default)]
    pub(super) duration: Scalar<'a>,
    #[serde(borrow, default)]
    pub(super) tags: Option<Vec<Tag<'a>>>,
    #[serde(borrow, default)]
    pub(super) tag: Option<Pairs<'a>>,
    #[serde(borrow, default)]
    pub(super) logs: Option<Vec<Log<'a>>>,
    #[serde(borrow, rename = "processID", alias = "processId", alias = "process_id", default)]
    pub(super) process_id: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) process: Option<Process<'a>>,
    #[serde(borrow, default)]
    pub(super) warnings: Scalar<'a>,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
pub(super) struct Reference<'a> {
    #[serde(borrow, rename = "refType", alias = "ref_type", default)]
    pub(super) kind: Option<Text<'a>>,
    #[serde(borrow, rename = "traceID", alias = "traceId", alias = "trace_id", default)]
    pub(super) trace_id: Option<Text<'a>>,
    #[serde(borrow, rename = "spanID", alias = "spanId", alias = "span_id", default)]
    pub(super) span_id: Option<Text<'a>>,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
pub(super) struct Log<'a> {
    #[serde(borrow, default)]
    pub(super) timestamp: Scalar<'a>,
    #[serde(borrow, default)]
    pub(super) fields: Option<Vec<Tag<'a>>>,
}

fn text<'t>(text: &'t Option<Text<'_>>) -> &'t str {
    text.as_ref().map_or("", |t| &t.0)
}

/// Appends the tags, and those that an index keeps flattened.
fn tags(list: &Option<Vec<Tag<'_>>>, flat: &Option<Pairs<'_>>, import: &mut Import<'_>) -> (u32, u32) {
    let start = import.next_attr();
    for tag in list.iter().flatten() {
        import.attr(tag.key(), &tag.value());
    }
    for (key, value) in flattened(flat) {
        if !list.iter().flatten().any(|t| t.key() == key) {
            import.attr(&key, value);
        }
    }
    (start, import.next_attr() - start)
}

fn flattened<'t, 'a>(flat: &'t Option<Pairs<'a>>) -> impl Iterator<Item = (Cow<'t, str>, &'t Scalar<'a>)> {
    flat.iter().flat_map(|p| &p.0).map(|(key, value)| {
        let key: Cow<'t, str> = if key.contains('@') { key.replace('@', ".").into() } else { Cow::Borrowed(key) };
        (key, value)
    })
}

/// Stores a process unless it is known.
pub fn read_process(process: &Process<'_>, known: &mut Resources, import: &mut Import<'_>) -> (ResourceId, ServiceId) {
    let mut list: Vec<(Cow<'_, str>, Scalar<'_>)> = process.tags.iter().flatten().map(|t| (Cow::Borrowed(t.key()), t.value())).collect();
    for (key, value) in flattened(&process.tag) {
        if !list.iter().any(|(k, _)| *k == key) {
            list.push((key, value.clone()));
        }
    }
    known.get(text(&process.service), &list, import)
}

/// Nanoseconds of a time: microseconds as a number, or RFC 3339.
fn time(value: &Scalar<'_>) -> Option<i64> {
    value.thousandths().or_else(|| parse_iso(value.text()?))
}

fn follows(reference: &Reference<'_>) -> bool {
    let kind = text(&reference.kind);
    kind.eq_ignore_ascii_case("FOLLOWS_FROM") || kind == "1"
}

/// Stores a span and gives its row and the name of its process; none when it carries its process.
pub fn push(span: &Span<'_>, known: &mut Resources, import: &mut Import<'_>) -> (usize, StringId) {
    let number = import.ledger.records_in;
    let name = text(&span.name);
    let start = import.checked_time(time(&span.start), &span.start).unwrap_or(0);
    let duration = span.duration.thousandths().or_else(|| parse_length(span.duration.text()?));
    let duration = import.checked_time(duration, &span.duration).unwrap_or(0);
    let duration_ns = import.span_length(start, start.saturating_add(duration), number, name);
    let find = |key: &str| {
        let own = span.tags.iter().flatten().rfind(|t| t.key() == key).map(Tag::value);
        own.or_else(|| flattened(&span.tag).find(|(k, _)| k == key).map(|(_, value)| value.clone()))
    };
    let kind = find("span.kind").map_or(SpanKind::Unspecified, |value| super::span_sink::kind(&value));
    let failed = find("error").is_some_and(|value| value.truthy())
        || find("otel.status_code").is_some_and(|value| value.text().is_some_and(|v| v.eq_ignore_ascii_case("error")));
    let mut flags = if failed { SPAN_ERROR } else { 0 };
    if kind == SpanKind::Consumer {
        flags |= SPAN_ASYNC;
    }
    let trace = import.trace_id(text(&span.trace_id));
    // The parent is the first CHILD_OF of this trace, else the first FOLLOWS_FROM of it; the other references are links.
    let references: Vec<&Reference<'_>> = span.references.iter().flatten().collect();
    let mut same = |id: &str| id.is_empty() || id == text(&span.trace_id) || import.trace_id(id) == trace;
    let own: Vec<bool> = references.iter().map(|r| same(text(&r.trace_id))).collect();
    let of_kind = |async_edge: bool| references.iter().zip(&own).position(|(r, own)| *own && follows(r) == async_edge);
    let parent_at = of_kind(false).or_else(|| of_kind(true));
    if parent_at.is_some_and(|at| follows(references[at])) {
        flags |= SPAN_ASYNC;
    }
    let parent = parent_at.map_or(text(&span.parent), |at| text(&references[at].span_id)).to_string();
    let mut links = (import.session.traces.links.trace_id.len() as u32, 0);
    for (at, reference) in references.iter().enumerate().filter(|(at, _)| Some(*at) != parent_at) {
        let to = if own[at] { trace } else { import.trace_id(text(&reference.trace_id)) };
        let id = import.span_id(text(&reference.span_id));
        let none = (import.next_attr(), 0);
        import.link(to, id, none);
        links.1 += 1;
    }
    let mut attrs = tags(&span.tags, &span.tag, import);
    if let Scalar::Json(warnings) = &span.warnings {
        import.attr("jaeger.warnings", &Scalar::Json(warnings.clone()));
        attrs.1 += 1;
    }
    let mut events = (import.session.traces.events.name.len() as u32, 0);
    for log in span.logs.iter().flatten() {
        let field = |key: &str| log.fields.iter().flatten().find(|t| t.key() == key).and_then(|t| t.value.text());
        let name = field("event").or_else(|| field("message")).unwrap_or("log").to_string();
        let fields = tags(&log.fields, &None, import);
        import.event(time(&log.timestamp).unwrap_or(start), &name, fields);
        events.1 += 1;
    }
    let scope = find("otel.scope.name").or_else(|| find("otel.library.name")).and_then(|value| value.text().map(str::to_string));
    let scope = scope.map_or(StringId::NONE, |s| import.session.strings.intern(&s));
    // Spans of storage exports carry their process with them.
    let (resource, service) = span.process.as_ref().map_or((ResourceId::NONE, ServiceId::NONE), |p| read_process(p, known, import));
    let name = import.session.strings.intern(name);
    let raw = RawSpan {
        source: import.source,
        trace_id: trace,
        id: import.span_id(text(&span.span_id)),
        parent_id: import.span_id(&parent),
        operation: import.session.traces.operations.intern(service, name, kind),
        start_ns: start,
        duration_ns,
        flags,
        resource,
        scope,
        attrs,
        events,
        links,
    };
    let row = import.session.traces.push(raw).index();
    import.ledger.records_kept += 1;
    let process = text(&span.process_id);
    let process = if process.is_empty() || span.process.is_some() { StringId::NONE } else { import.session.strings.intern(process) };
    (row, process)
}
