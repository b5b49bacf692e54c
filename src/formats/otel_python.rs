//! Output of OpenTelemetry Python's `ConsoleSpanExporter`: pretty-printed objects one after another, often among other
//! output of the program (opentelemetry-sdk, `ReadableSpan.to_json`).

use super::json::{Pairs, Scalar, Text, outline};
use super::json_mend::record;
use super::json_outline::has_under;
use super::json_records::{Path, read_records};
use super::span_draft::{Attrs, Draft, DraftEvent, DraftLink, Resources, service_name};
use super::span_sink::{BAD_SPAN, kind};
use super::{Format, Import, ImportError, Prefix, Sniff};
use crate::base::time::parse_iso;
use crate::model::diagnostics::At;
use crate::model::trace::SPAN_ERROR;
use serde::Deserialize;
use std::io::BufRead;

/// The format.
pub struct OtelPython;

fn locate(_: &[u8]) -> Option<Path> {
    Some(&[])
}

impl Format for OtelPython {
    fn id(&self) -> &'static str {
        "otel-python"
    }
    fn name(&self) -> &'static str {
        "OpenTelemetry Python console output"
    }
    fn extensions(&self) -> &'static [&'static str] {
        &["json", "txt", "log"]
    }
    fn hint(&self) -> &'static str {
        "OpenTelemetry Python's `ConsoleSpanExporter` prints it: redirect the program's output into a file."
    }
    fn sniff(&self, prefix: &Prefix<'_>) -> Sniff {
        let Some(o) = outline(prefix.bytes) else { return Sniff::No };
        let context = has_under(prefix.bytes, &["context"], &["trace_id", "span_id"]);
        if context && o.has(&["start_time", "parent_id"]) { Sniff::Certain } else { Sniff::No }
    }
    fn read(&self, input: &mut dyn BufRead, import: &mut Import<'_>) -> Result<(), ImportError> {
        let (mut known, mut spare) = (Resources::default(), Vec::new());
        read_records(input, import, locate, &mut |raw, at, import| {
            import.ledger.records_in += 1;
            match record::<Span<'_>>(raw, &mut spare, at, import) {
                Ok(span) => store(span, &mut known, import),
                Err(e) => import.report(BAD_SPAN, At::Byte(at), &e.to_string()),
            }
            Ok(())
        })
    }
}

#[derive(Deserialize)]
struct Span<'a> {
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
    #[serde(borrow, default)]
    context: Option<Context<'a>>,
    #[serde(borrow, default)]
    kind: Option<Text<'a>>,
    #[serde(borrow, default)]
    parent_id: Option<Text<'a>>,
    #[serde(borrow, default)]
    start_time: Option<Text<'a>>,
    #[serde(borrow, default)]
    end_time: Option<Text<'a>>,
    #[serde(borrow, default)]
    status: Option<Status<'a>>,
    #[serde(borrow, default)]
    attributes: Pairs<'a>,
    #[serde(borrow, default)]
    events: Option<Vec<Event<'a>>>,
    #[serde(borrow, default)]
    links: Option<Vec<Link<'a>>>,
    #[serde(borrow, default)]
    resource: Option<Resource<'a>>,
}

#[derive(Deserialize)]
struct Context<'a> {
    #[serde(borrow, default)]
    trace_id: Option<Text<'a>>,
    #[serde(borrow, default)]
    span_id: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Status<'a> {
    #[serde(borrow, default)]
    status_code: Option<Text<'a>>,
    #[serde(borrow, default)]
    description: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
    #[serde(borrow, default)]
    timestamp: Option<Text<'a>>,
    #[serde(borrow, default)]
    attributes: Pairs<'a>,
}

#[derive(Deserialize)]
struct Link<'a> {
    #[serde(borrow, default)]
    context: Option<Context<'a>>,
    #[serde(borrow, default)]
    attributes: Pairs<'a>,
}

/// Attributes stand inside `attributes`, in older releases directly in the resource.
#[derive(Deserialize)]
struct Resource<'a> {
    #[serde(borrow, default)]
    attributes: Option<Pairs<'a>>,
    #[serde(borrow, flatten)]
    direct: std::collections::BTreeMap<String, Scalar<'a>>,
}

fn text<'t>(text: &'t Option<Text<'_>>) -> &'t str {
    text.as_ref().map_or("", |t| &t.0)
}

/// Ids are printed as `0x…`.
fn id<'t>(id: Option<&'t Text<'_>>) -> &'t str {
    id.map_or("", |t| t.0.trim_start_matches("0x"))
}

fn moment(time: &Option<Text<'_>>, import: &mut Import<'_>) -> Option<i64> {
    import.checked_time(parse_iso(text(time)), &Scalar::Text(text(time).into()))
}

fn store(span: Span<'_>, known: &mut Resources, import: &mut Import<'_>) {
    let mut attrs = Attrs::new();
    if let Some(resource) = span.resource {
        match resource.attributes {
            Some(list) => attrs = list.0,
            None => attrs.extend(resource.direct.into_iter().map(|(k, v)| (k.into(), v))),
        }
    }
    let (resource, service) = known.get(service_name(&attrs), &attrs, import);
    let context = span.context.as_ref();
    let mut d = Draft {
        trace: id(context.and_then(|c| c.trace_id.as_ref())).into(),
        id: id(context.and_then(|c| c.span_id.as_ref())).into(),
        parent: id(span.parent_id.as_ref()).into(),
        name: text(&span.name).into(),
        kind: kind(&Scalar::Text(text(&span.kind).trim_start_matches("SpanKind.").into())),
        start_ns: moment(&span.start_time, import).unwrap_or(0),
        end_ns: moment(&span.end_time, import),
        resource,
        service,
        attrs: span.attributes.0,
        ..Draft::default()
    };
    if d.end_ns.is_none() {
        d.unfinished();
    }
    if let Some(status) = &span.status {
        if text(&status.status_code).trim_start_matches("StatusCode.").eq_ignore_ascii_case("error") {
            d.flags |= SPAN_ERROR;
        }
        d.text("otel.status_description", text(&status.description));
    }
    for event in span.events.into_iter().flatten() {
        let time_ns = parse_iso(text(&event.timestamp));
        let name = event.name.map_or_else(Default::default, |n| n.0);
        d.events.push(DraftEvent { time_ns, name, attrs: event.attributes.0 });
    }
    for link in span.links.iter().flatten() {
        let context = link.context.as_ref();
        let (trace, span) = (id(context.and_then(|c| c.trace_id.as_ref())), id(context.and_then(|c| c.span_id.as_ref())));
        d.links.push(DraftLink { trace: trace.into(), span: span.into(), attrs: link.attributes.0.clone() });
    }
    d.store(import);
}
