//! Zipkin v2 JSON: an array of spans, or an array of such arrays (openzipkin/zipkin-api zipkin2-api.yaml).

use super::json::{Broken, Json, Pairs, Scalar, Stop, Text, outline};
use super::json_cut::Mark;
use super::json_mend::record;
use super::json_outline::has_under;
use super::parts::{InParts, Part, PartReader, read_whole};
use super::span_draft::Attrs;
use super::span_parts::SpanReader;
use super::span_sink::{BAD_SPAN, CUT, NO_SPANS, kind};
use super::{Format, Import, ImportError, Prefix, Sniff};
use crate::base::ids::ResourceId;
use crate::base::pack::Unpacker;
use crate::model::diagnostics::At;
use crate::model::trace::{RawSpan, SPAN_ASYNC, SPAN_ERROR, SPAN_NO_DURATION, SPAN_SHARED, SpanKind};
use serde::{Deserialize, Serialize};
use std::io::BufRead;

const NAME: &str = "Zipkin v2 JSON";

/// The format.
pub struct Zipkin;

impl Format for Zipkin {
    fn id(&self) -> &'static str {
        "zipkin-json"
    }
    fn name(&self) -> &'static str {
        NAME
    }
    fn extensions(&self) -> &'static [&'static str] {
        &["json"]
    }
    fn hint(&self) -> &'static str {
        "Zipkin's UI (\u{201c}Download JSON\u{201d}) and its API `/api/v2/traces` write it."
    }
    fn sniff(&self, prefix: &Prefix<'_>) -> Sniff {
        let Some(o) = outline(prefix.bytes) else { return Sniff::No };
        // The answer to a query that found nothing.
        if prefix.complete && prefix.bytes.iter().all(|b| matches!(b, b'[' | b']' | b' ' | b'\r' | b'\n' | b'\t')) {
            return Sniff::Possible;
        }
        let span = o.first == b'[' && o.has(&["traceId"]) && o.has(&["id"]);
        let old = o.has(&["binaryAnnotations"]) || has_under(prefix.bytes, &["annotations"], &["value", "endpoint"]);
        if !span || old || o.has(&["resourceSpans", "ph"]) {
            return Sniff::No;
        }
        if o.has(&["localEndpoint", "remoteEndpoint", "annotations", "tags", "kind", "timestamp"]) { Sniff::Certain } else { Sniff::Likely }
    }
    fn read(&self, input: &mut dyn BufRead, import: &mut Import<'_>) -> Result<(), ImportError> {
        read_whole(self, input, import)
    }
    fn in_parts(&self) -> Option<&'static dyn InParts> {
        Some(&Zipkin)
    }
}

/// What a part has to know: how many arrays are open around each span, and what spans begin with.
#[derive(Default, Deserialize, Serialize)]
struct Context {
    depth: u32,
    mark: Mark,
}

impl InParts for Zipkin {
    fn context(&self, head: &[u8]) -> Option<String> {
        let mut bytes = head;
        let mut json = Json::new(&mut bytes);
        let mut depth = 0;
        while json.eat(b'[').ok()? {
            depth += 1;
        }
        let mark = Mark::learn(&mut json, false)?;
        serde_json::to_string(&Context { depth, mark }).ok()
    }
    fn reader(&self, context: Option<&str>) -> Box<dyn PartReader> {
        SpanReader::boxed(read, context)
    }
    fn unpack(&self, _: &mut Unpacker<'_>) -> Option<Box<dyn PartReader>> {
        Some(self.reader(None))
    }
}

fn read(context: Option<&str>, input: &mut dyn BufRead, part: &mut Part, import: &mut Import<'_>) -> Result<(), ImportError> {
    let known: Context = context.and_then(|c| serde_json::from_str(c).ok()).unwrap_or_default();
    let mut json = Json::at(input, part.at);
    match spans(&known, &mut json, part, import) {
        Ok(()) => {
            if import.ledger.records_in == 0 && !part.between() {
                import.report(NO_SPANS, At::File, "");
            }
            Ok(())
        }
        Err(Stop::Broken(Broken::End)) => {
            import.report(CUT, At::Byte(json.position()), "");
            Ok(())
        }
        Err(Stop::Broken(broken)) => Err(broken.into_error(NAME)),
        Err(Stop::Import(e)) => Err(e),
    }
}

fn spans(known: &Context, json: &mut Json<'_>, part: &mut Part, import: &mut Import<'_>) -> Result<(), Stop> {
    if !part.enter(json, &known.mark)? {
        return Ok(());
    }
    let mut depth = if !part.between() { 0 } else { known.depth };
    let (mut raw, mut spare) = (Vec::new(), Vec::new());
    while let Some(next) = json.peek()? {
        match next {
            b'[' => depth += 1,
            b']' => depth = depth.saturating_sub(1),
            b',' => {}
            b'{' => {
                if depth == known.depth && part.ends(json, &known.mark)? {
                    return Ok(());
                }
                let at = json.position();
                let result = json.raw(&mut raw);
                import.ledger.records_in += 1;
                result?;
                match record::<Span<'_>>(&raw, &mut spare, at, import) {
                    Ok(span) => push(&span, import),
                    Err(e) => import.report(BAD_SPAN, At::Byte(at), &e.to_string()),
                }
                if import.ledger.records_in.is_multiple_of(4096) {
                    import.tick(import.ledger.records_in)?;
                }
                continue;
            }
            _ => return Err(Broken::Unexpected(json.position(), "a span").into()),
        }
        json.eat(next)?;
    }
    if depth > 0 { Err(Broken::End.into()) } else { Ok(()) }
}

#[derive(Deserialize)]
struct Span<'a> {
    #[serde(borrow, rename = "traceId", default)]
    trace_id: Option<Text<'a>>,
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
    #[serde(borrow, rename = "parentId", default)]
    parent: Option<Text<'a>>,
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
    #[serde(borrow, default)]
    kind: Scalar<'a>,
    #[serde(borrow, default)]
    timestamp: Scalar<'a>,
    #[serde(borrow, default)]
    duration: Scalar<'a>,
    #[serde(borrow, rename = "localEndpoint", default)]
    local: Option<Endpoint<'a>>,
    #[serde(borrow, rename = "remoteEndpoint", default)]
    remote: Option<Endpoint<'a>>,
    #[serde(borrow, default)]
    annotations: Option<Vec<Annotation<'a>>>,
    #[serde(borrow, default)]
    tags: Option<Pairs<'a>>,
    #[serde(borrow, default)]
    shared: Scalar<'a>,
}

/// A side of a call.
#[derive(Deserialize)]
pub struct Endpoint<'a> {
    #[serde(borrow, rename = "serviceName", default)]
    service: Option<Text<'a>>,
    #[serde(borrow, default)]
    ipv4: Option<Text<'a>>,
    #[serde(borrow, default)]
    ipv6: Option<Text<'a>>,
    #[serde(borrow, default)]
    port: Scalar<'a>,
}

#[derive(Deserialize)]
struct Annotation<'a> {
    #[serde(borrow, default)]
    timestamp: Scalar<'a>,
    #[serde(borrow, default)]
    value: Option<Text<'a>>,
}

impl Endpoint<'_> {
    /// Service name; empty when there is none.
    pub fn service(&self) -> &str {
        text(&self.service)
    }
    fn ip(&self) -> &str {
        if text(&self.ipv4).is_empty() { text(&self.ipv6) } else { text(&self.ipv4) }
    }
}

/// Where a span was and whom it talked to, as attributes: the service of its own side is its service.
pub fn place<'s>(attrs: &mut Attrs<'s>, local: Option<&'s Endpoint<'s>>, remote: Option<&'s Endpoint<'s>>) {
    let mut add = |key: &'static str, value: &'s str| {
        if !value.is_empty() {
            attrs.push((key.into(), Scalar::Text(value.into())));
        }
    };
    if let Some(remote) = remote {
        add("peer.service", remote.service());
        add("network.peer.address", remote.ip());
        if remote.port != Scalar::Null {
            attrs.push(("network.peer.port".into(), remote.port.clone()));
        }
    }
    if let Some(local) = local.filter(|l| !l.ip().is_empty()) {
        attrs.push(("network.local.address".into(), Scalar::Text(local.ip().into())));
        if local.port != Scalar::Null {
            attrs.push(("network.local.port".into(), local.port.clone()));
        }
    }
}

fn text<'t>(text: &'t Option<Text<'_>>) -> &'t str {
    text.as_ref().map_or("", |t| &t.0)
}

fn push(span: &Span<'_>, import: &mut Import<'_>) {
    let record = import.ledger.records_in;
    let name = text(&span.name);
    let start = import.checked_time(span.timestamp.thousandths(), &span.timestamp).unwrap_or(0);
    let duration = import.checked_time(span.duration.thousandths(), &span.duration);
    let duration_ns = import.span_length(start, start.saturating_add(duration.unwrap_or(0)), record, name);
    let kind = kind(&span.kind);
    let mut flags = if duration.is_none() { SPAN_NO_DURATION } else { 0 };
    if span.shared.truthy() {
        flags |= SPAN_SHARED;
    }
    if kind == SpanKind::Consumer {
        flags |= SPAN_ASYNC;
    }
    let attr_start = import.next_attr();
    for (key, value) in span.tags.iter().flat_map(|t| &t.0) {
        // The tag means failure even when its text is empty (Zipkin's own rule).
        if key == "error" {
            flags |= SPAN_ERROR;
        }
        import.attr(key, value);
    }
    let mut sides = Attrs::new();
    place(&mut sides, span.local.as_ref(), span.remote.as_ref());
    import.attrs(&sides);
    let attrs = (attr_start, import.next_attr() - attr_start);
    let mut events = (import.session.traces.events.name.len() as u32, 0);
    for annotation in span.annotations.iter().flatten() {
        let none = (import.next_attr(), 0);
        import.event(annotation.timestamp.thousandths().unwrap_or(start), text(&annotation.value), none);
        events.1 += 1;
    }
    let service = import.service(span.local.as_ref().map_or("", |l| text(&l.service)));
    let id = import.span_id(text(&span.id));
    let parent = import.span_id(text(&span.parent));
    let name = import.session.strings.intern(name);
    let raw = RawSpan {
        source: import.source,
        trace_id: import.trace_id(text(&span.trace_id)),
        id,
        parent_id: if parent == id { 0 } else { parent },
        operation: import.session.traces.operations.intern(service, name, kind),
        start_ns: start,
        duration_ns,
        flags,
        resource: ResourceId::NONE,
        attrs,
        events,
        ..RawSpan::default()
    };
    import.session.traces.push(raw);
    import.ledger.records_kept += 1;
}
