//! Output of OpenTelemetry Go's `stdouttrace` exporter: objects one after another, pretty-printed or not, or arrays of them
//! (older releases, Docker Desktop). Members are named as the exporter's Go structs are.

use super::json::{Scalar, Text, outline};
use super::json_mend::record;
use super::json_outline::has_under;
use super::json_records::{Path, read_records};
use super::span_draft::{Attrs, Draft, DraftEvent, DraftLink, Resources, service_name};
use super::span_sink::{BAD_SPAN, kind};
use super::{Format, Import, ImportError, Prefix, Sniff};
use crate::base::time::parse_iso;
use crate::model::diagnostics::At;
use crate::model::trace::{SPAN_ERROR, SPAN_REMOTE_PARENT};
use serde::Deserialize;
use std::borrow::Cow;
use std::io::BufRead;

/// The format.
pub struct OtelGo;

fn locate(_: &[u8]) -> Option<Path> {
    Some(&[])
}

impl Format for OtelGo {
    fn id(&self) -> &'static str {
        "otel-go"
    }
    fn name(&self) -> &'static str {
        "OpenTelemetry Go console output"
    }
    fn extensions(&self) -> &'static [&'static str] {
        &["json", "txt", "log"]
    }
    fn hint(&self) -> &'static str {
        "OpenTelemetry Go's `stdouttrace` exporter prints it: redirect the program's output into a file."
    }
    fn sniff(&self, prefix: &Prefix<'_>) -> Sniff {
        let Some(o) = outline(prefix.bytes) else { return Sniff::No };
        let context = has_under(prefix.bytes, &["SpanContext"], &["TraceID", "SpanID"]);
        if context && o.has(&["StartTime"]) { Sniff::Certain } else { Sniff::No }
    }
    fn read(&self, input: &mut dyn BufRead, import: &mut Import<'_>) -> Result<(), ImportError> {
        let (mut known, mut spare) = (Resources::default(), Vec::new());
        read_records(input, import, locate, &mut |raw, at, import| {
            import.ledger.records_in += 1;
            match record::<Span<'_>>(raw, &mut spare, at, import) {
                Ok(span) => store(&span, &mut known, import),
                Err(e) => import.report(BAD_SPAN, At::Byte(at), &e.to_string()),
            }
            Ok(())
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Span<'a> {
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
    #[serde(borrow, default)]
    span_context: Option<Context<'a>>,
    #[serde(borrow, default)]
    parent: Option<Context<'a>>,
    /// Releases before 1.0.
    #[serde(borrow, rename = "ParentSpanID", default)]
    parent_span_id: Option<Text<'a>>,
    #[serde(borrow, default)]
    span_kind: Scalar<'a>,
    #[serde(borrow, default)]
    start_time: Option<Text<'a>>,
    #[serde(borrow, default)]
    end_time: Option<Text<'a>>,
    #[serde(borrow, default)]
    attributes: Option<Vec<KeyValue<'a>>>,
    #[serde(borrow, alias = "MessageEvents", default)]
    events: Option<Vec<Event<'a>>>,
    #[serde(borrow, default)]
    links: Option<Vec<Link<'a>>>,
    #[serde(borrow, default)]
    status: Option<Status<'a>>,
    #[serde(borrow, default)]
    resource: Option<Vec<KeyValue<'a>>>,
    #[serde(borrow, default)]
    instrumentation_scope: Option<Library<'a>>,
    /// The scope's old name, which newer releases print as well.
    #[serde(borrow, default)]
    instrumentation_library: Option<Library<'a>>,
}

#[derive(Deserialize)]
struct Context<'a> {
    #[serde(borrow, rename = "TraceID", default)]
    trace_id: Option<Text<'a>>,
    #[serde(borrow, rename = "SpanID", default)]
    span_id: Option<Text<'a>>,
    #[serde(borrow, rename = "Remote", default)]
    remote: Scalar<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct KeyValue<'a> {
    #[serde(borrow, default)]
    key: Option<Text<'a>>,
    #[serde(borrow, default)]
    value: Option<Value<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Value<'a> {
    #[serde(borrow, default)]
    value: Scalar<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Event<'a> {
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
    #[serde(borrow, default)]
    time: Option<Text<'a>>,
    #[serde(borrow, default)]
    attributes: Option<Vec<KeyValue<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Link<'a> {
    #[serde(borrow, default)]
    span_context: Option<Context<'a>>,
    #[serde(borrow, default)]
    attributes: Option<Vec<KeyValue<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Status<'a> {
    #[serde(borrow, default)]
    code: Scalar<'a>,
    #[serde(borrow, alias = "Message", default)]
    description: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Library<'a> {
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
}

fn text<'t>(text: &'t Option<Text<'_>>) -> &'t str {
    text.as_ref().map_or("", |t| &t.0)
}

fn attrs<'t>(list: &'t Option<Vec<KeyValue<'_>>>) -> Attrs<'t> {
    let pair = |kv: &'t KeyValue<'_>| {
        let value = kv.value.as_ref().map_or(Scalar::Null, |v| v.value.clone());
        (Cow::Borrowed(text(&kv.key)), value)
    };
    list.iter().flatten().map(pair).collect()
}

fn moment(time: &Option<Text<'_>>, import: &mut Import<'_>) -> Option<i64> {
    // Go's zero time says that there is none.
    if text(time).starts_with("0001-01-01T00:00:00") {
        return None;
    }
    import.checked_time(parse_iso(text(time)), &Scalar::Text(text(time).into()))
}

fn store(span: &Span<'_>, known: &mut Resources, import: &mut Import<'_>) {
    let shared = attrs(&span.resource);
    let (resource, service) = known.get(service_name(&shared), &shared, import);
    let context = span.span_context.as_ref();
    let parent = span.parent.as_ref();
    let mut d = Draft {
        trace: context.map_or("", |c| text(&c.trace_id)).into(),
        id: context.map_or("", |c| text(&c.span_id)).into(),
        parent: parent.map_or(text(&span.parent_span_id), |p| text(&p.span_id)).into(),
        name: text(&span.name).into(),
        kind: kind(&span.span_kind),
        start_ns: moment(&span.start_time, import).unwrap_or(0),
        end_ns: moment(&span.end_time, import),
        resource,
        service,
        scope: span.instrumentation_scope.as_ref().or(span.instrumentation_library.as_ref()).map_or("", |s| text(&s.name)).into(),
        attrs: attrs(&span.attributes),
        ..Draft::default()
    };
    if d.end_ns.is_none() {
        d.unfinished();
    }
    if parent.is_some_and(|p| p.remote.truthy()) {
        d.flags |= SPAN_REMOTE_PARENT;
    }
    if let Some(status) = &span.status {
        // Go numbers its codes unset, error, ok.
        if status.code.int() == Some(1) || status.code.text().is_some_and(|c| c.eq_ignore_ascii_case("error")) {
            d.flags |= SPAN_ERROR;
        }
        d.text("otel.status_description", text(&status.description));
    }
    for event in span.events.iter().flatten() {
        let time_ns = parse_iso(text(&event.time));
        d.events.push(DraftEvent { time_ns, name: text(&event.name).into(), attrs: attrs(&event.attributes) });
    }
    for link in span.links.iter().flatten() {
        let to = link.span_context.as_ref();
        let (trace, id) = (to.map_or("", |c| text(&c.trace_id)), to.map_or("", |c| text(&c.span_id)));
        d.links.push(DraftLink { trace: trace.into(), span: id.into(), attrs: attrs(&link.attributes) });
    }
    d.store(import);
}
