//! Zipkin v1 JSON: spans whose sides are told by annotations (`cs`, `cr`, `sr`, `ss`, `ms`, `mr`) and whose tags are binary
//! annotations. Behaviour of Zipkin's own conversion to v2 (zipkin2/v1/V1SpanConverter).

use super::json::{Scalar, Text, outline};
use super::json_mend::record;
use super::json_records::{Path, read_records};
use super::span_draft::{Draft, DraftEvent};
use super::span_sink::BAD_SPAN;
use super::zipkin::{Endpoint, place};
use super::{Format, Import, ImportError, Prefix, Sniff};
use crate::model::diagnostics::At;
use crate::model::trace::{SPAN_ERROR, SPAN_NO_DURATION, SPAN_SHARED, SpanKind};
use serde::Deserialize;
use std::io::BufRead;

/// The format.
pub struct ZipkinV1;

fn locate(_: &[u8]) -> Option<Path> {
    Some(&[])
}

impl Format for ZipkinV1 {
    fn id(&self) -> &'static str {
        "zipkin-v1"
    }
    fn name(&self) -> &'static str {
        "Zipkin v1 JSON"
    }
    fn extensions(&self) -> &'static [&'static str] {
        &["json"]
    }
    fn hint(&self) -> &'static str {
        "Zipkin's API `/api/v1/traces` and reporters of its first years (Brave 3, Finagle, Spring Sleuth 1) write it."
    }
    fn sniff(&self, prefix: &Prefix<'_>) -> Sniff {
        let Some(o) = outline(prefix.bytes) else { return Sniff::No };
        if !o.has(&["traceId"]) || !o.has(&["id"]) || o.has(&["localEndpoint", "resourceSpans", "ph"]) {
            return Sniff::No;
        }
        let annotated = super::json_outline::has_under(prefix.bytes, &["annotations"], &["value", "endpoint"]);
        if o.has(&["binaryAnnotations"]) || annotated { Sniff::Certain } else { Sniff::No }
    }
    fn read(&self, input: &mut dyn BufRead, import: &mut Import<'_>) -> Result<(), ImportError> {
        let mut spare = Vec::new();
        read_records(input, import, locate, &mut |raw, at, import| {
            import.ledger.records_in += 1;
            match record::<Span<'_>>(raw, &mut spare, at, import) {
                Ok(span) => {
                    let sides = convert(&span, import);
                    // Both sides in one record are two spans.
                    import.ledger.records_in += sides.len() as u64 - 1;
                    for side in sides {
                        side.store(import);
                    }
                }
                Err(e) => import.report(BAD_SPAN, At::Byte(at), &e.to_string()),
            }
            Ok(())
        })
    }
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
    timestamp: Scalar<'a>,
    #[serde(borrow, default)]
    duration: Scalar<'a>,
    #[serde(borrow, default)]
    annotations: Option<Vec<Annotation<'a>>>,
    #[serde(borrow, rename = "binaryAnnotations", default)]
    tags: Option<Vec<Tag<'a>>>,
}

#[derive(Deserialize)]
struct Annotation<'a> {
    #[serde(borrow, default)]
    timestamp: Scalar<'a>,
    #[serde(borrow, default)]
    value: Option<Text<'a>>,
    #[serde(borrow, default)]
    endpoint: Option<Endpoint<'a>>,
}

#[derive(Deserialize)]
struct Tag<'a> {
    #[serde(borrow, default)]
    key: Option<Text<'a>>,
    #[serde(borrow, default)]
    value: Scalar<'a>,
    #[serde(borrow, default)]
    endpoint: Option<Endpoint<'a>>,
}

fn text<'t>(text: &'t Option<Text<'_>>) -> &'t str {
    text.as_ref().map_or("", |t| &t.0)
}

/// A moment that an annotation gives, and where.
#[derive(Clone, Copy)]
struct Moment<'s> {
    ns: i64,
    at: &'s Endpoint<'s>,
}

/// One side of a record.
struct Side<'s> {
    endpoint: Option<&'s Endpoint<'s>>,
    remote: Option<&'s Endpoint<'s>>,
    kind: SpanKind,
    start: Option<i64>,
    length: Option<i64>,
    shared: bool,
    draft: Draft<'s>,
}

impl<'s> Side<'s> {
    fn new(endpoint: Option<&'s Endpoint<'s>>) -> Side<'s> {
        Side { endpoint, remote: None, kind: SpanKind::Unspecified, start: None, length: None, shared: false, draft: Draft::default() }
    }
}

/// The sides of one record; the first is the one that the record's own times belong to.
struct Sides<'s> {
    sides: Vec<Side<'s>>,
}

fn same_service(a: &Endpoint<'_>, b: &Endpoint<'_>) -> bool {
    a.service() == b.service()
}

impl<'s> Sides<'s> {
    /// The side of an endpoint: the first one takes the first endpoint that is named.
    fn of(&mut self, endpoint: Option<&'s Endpoint<'s>>) -> &mut Side<'s> {
        let at = match endpoint {
            None => 0,
            Some(wanted) => match self.sides.iter().position(|s| s.endpoint.is_none_or(|e| same_service(e, wanted))) {
                Some(known) => {
                    self.sides[known].endpoint.get_or_insert(wanted);
                    known
                }
                None => {
                    self.sides.push(Side::new(endpoint));
                    self.sides.len() - 1
                }
            },
        };
        &mut self.sides[at]
    }

    /// A side of its own for the second half of a call of a service to itself.
    fn fork(&mut self, first: &'s Endpoint<'s>, second: &'s Endpoint<'s>) -> &mut Side<'s> {
        if same_service(first, second) {
            self.sides.push(Side::new(Some(second)));
            let last = self.sides.len() - 1;
            return &mut self.sides[last];
        }
        self.of(Some(second))
    }
}

fn convert<'s>(span: &'s Span<'s>, import: &mut Import<'_>) -> Vec<Draft<'s>> {
    let (start, length) = (
        import.checked_time(span.timestamp.thousandths(), &span.timestamp),
        import.checked_time(span.duration.thousandths(), &span.duration),
    );
    let own = (start.filter(|t| *t > 0), length.filter(|d| *d > 0));
    let mut all = Sides { sides: vec![Side::new(None)] };
    // cs, cr, sr, ss, ms, mr, ws, wr.
    let mut core: [Option<Moment<'s>>; 8] = [None; 8];
    const NAMES: [&str; 8] = ["cs", "cr", "sr", "ss", "ms", "mr", "ws", "wr"];
    for a in span.annotations.iter().flatten() {
        let ns = a.timestamp.thousandths();
        let which = NAMES.iter().position(|n| *n == text(&a.value));
        if let (Some(which), Some(at)) = (which, a.endpoint.as_ref()) {
            core[which] = Some(Moment { ns: ns.unwrap_or(0), at });
            let side = all.of(Some(at));
            match which {
                0 | 1 => side.kind = SpanKind::Client,
                2 | 3 => side.kind = SpanKind::Server,
                4 => side.kind = SpanKind::Producer,
                5 => side.kind = SpanKind::Consumer,
                _ => {}
            }
        } else {
            all.of(a.endpoint.as_ref()).draft.events.push(DraftEvent { time_ns: ns, name: text(&a.value).into(), attrs: Vec::new() });
        }
    }
    let [mut cs, cr, mut sr, ss, ms, mr, ws, wr] = core;
    // An end that agrees with the record's own times implies the begin that is missing.
    let reflects = |end: Option<Moment<'s>>| {
        let (start, length) = (own.0?, own.1?);
        end.filter(|e| e.ns == start + length).map(|e| Moment { ns: start, at: e.at })
    };
    cs = cs.or_else(|| reflects(cr));
    sr = sr.or_else(|| reflects(ss));
    times(&mut all, own, (cs, cr, sr, ss), (ms, mr, ws, wr));
    if let (None, Some(sr), None) = (cs, sr, own.0) {
        all.of(Some(sr.at)).shared = true;
    }
    tags(&mut all, span, (cs.or(cr), sr.or(ss), ms, mr));
    let first = &mut all.sides[0];
    if first.start.is_none() {
        (first.start, first.length) = (own.0, first.length.or(own.1));
    }
    all.sides.into_iter().map(|side| finish(span, side, import)).collect()
}

type Four<'s> = (Option<Moment<'s>>, Option<Moment<'s>>, Option<Moment<'s>>, Option<Moment<'s>>);

/// Begins and lengths of the sides.
fn times<'s>(all: &mut Sides<'s>, own: (Option<i64>, Option<i64>), (cs, cr, sr, ss): Four<'s>, (ms, mr, ws, wr): Four<'s>) {
    let set = |side: &mut Side<'s>, begin: Moment<'s>, end: Option<Moment<'s>>| {
        if let (Some(start), Some(length)) = own {
            (side.start, side.length) = (Some(start), Some(length));
        } else {
            side.start = Some(begin.ns);
            side.length = end.map(|e| e.ns - begin.ns).filter(|l| *l > 0);
        }
    };
    match (cs, cr, sr, ss) {
        (Some(cs), cr, Some(sr), ss) => {
            set(all.of(Some(cs.at)), cs, cr);
            let client = all.of(Some(cs.at));
            client.kind = SpanKind::Client;
            if cr.is_none() && own.1.is_none() {
                // One way: nobody waited.
                client.length = None;
            }
            let server = all.fork(cs.at, sr.at);
            (server.kind, server.shared, server.start) = (SpanKind::Server, true, Some(sr.ns));
            server.length = ss.map(|ss| ss.ns - sr.ns).filter(|l| *l >= 0);
        }
        (Some(begin), Some(end), ..) | (_, _, Some(begin), Some(end)) => set(all.of(Some(begin.at)), begin, Some(end)),
        (cs, cr, sr, ss) => {
            // Half of a call: what is there gives the begin, or is kept as an event.
            for begin in [cs, sr].into_iter().flatten() {
                let side = all.of(Some(begin.at));
                (side.start, side.length) = (Some(begin.ns), own.1.filter(|_| own.0 == Some(begin.ns)));
            }
            for (end, name) in [(cr, "cr"), (ss, "ss")] {
                if let Some(end) = end {
                    all.of(Some(end.at)).draft.events.push(DraftEvent { time_ns: Some(end.ns), name: name.into(), attrs: Vec::new() });
                }
            }
        }
    }
    match (ms, mr) {
        (Some(ms), Some(mr)) => {
            let consumer = all.fork(ms.at, mr.at);
            (consumer.kind, consumer.shared) = (SpanKind::Consumer, true);
            consumer.start = Some(wr.map_or(mr.ns, |wr| wr.ns));
            consumer.length = wr.map(|wr| mr.ns - wr.ns).filter(|l| *l >= 0);
            let producer = all.of(Some(ms.at));
            (producer.kind, producer.start) = (SpanKind::Producer, Some(ms.ns));
            producer.length = ws.map(|ws| ws.ns - ms.ns).filter(|l| *l >= 0);
        }
        (Some(ms), None) => set(all.of(Some(ms.at)), ms, ws),
        (None, Some(mr)) => match wr {
            Some(wr) => set(all.of(Some(mr.at)), wr, Some(mr)),
            None => set(all.of(Some(mr.at)), mr, None),
        },
        (None, None) => {
            for (moment, name) in [(ws, "ws"), (wr, "wr")] {
                if let Some(m) = moment {
                    all.of(Some(m.at)).draft.events.push(DraftEvent { time_ns: Some(m.ns), name: name.into(), attrs: Vec::new() });
                }
            }
        }
    }
}

/// Tags, and the addresses of the other side (`ca`, `sa`, `ma`).
fn tags<'s>(all: &mut Sides<'s>, span: &'s Span<'s>, (client, server, producer, consumer): Four<'s>) {
    let (mut ca, mut sa, mut ma) = (None, None, None);
    for tag in span.tags.iter().flatten() {
        let (key, endpoint) = (text(&tag.key), tag.endpoint.as_ref());
        let address = tag.value == Scalar::Bool(true) || tag.value.text() == Some("true");
        match key {
            "ca" if address => ca = endpoint,
            "sa" if address => sa = endpoint,
            "ma" if address => ma = endpoint,
            // The name of a local component marks where the span was, and is a tag only when it has a text.
            "lc" if tag.value.text() == Some("") => {
                all.of(endpoint);
            }
            _ => all.of(endpoint).draft.attr(key, tag.value.clone()),
        }
    }
    let differs = |a: Option<&Endpoint<'_>>, m: Option<Moment<'_>>| matches!((a, m), (Some(a), Some(m)) if !same_service(a, m.at));
    if client.is_none() && server.is_none() && ma.is_none() {
        match (ca, sa) {
            (Some(ca), Some(_)) => all.of(Some(ca)).remote = sa,
            (None, Some(_)) => all.sides[0].remote = sa,
            (Some(_), None) => {
                all.sides[0].kind = SpanKind::Server;
                all.sides[0].remote = ca;
            }
            (None, None) => {}
        }
        return;
    }
    if let Some(server) = server.filter(|_| differs(ca, server)) {
        all.of(Some(server.at)).remote = ca;
    }
    if let Some(client) = client.filter(|_| differs(sa, client)) {
        all.of(Some(client.at)).remote = sa;
    }
    for side in [producer, consumer].into_iter().flatten().filter(|m| differs(ma, Some(*m))) {
        all.of(Some(side.at)).remote = ma;
    }
}

fn finish<'s>(span: &'s Span<'s>, side: Side<'s>, import: &mut Import<'_>) -> Draft<'s> {
    let mut d = side.draft;
    (d.trace, d.id, d.name) = (text(&span.trace_id).into(), text(&span.id).into(), text(&span.name).into());
    d.parent = if text(&span.parent) == text(&span.id) { "".into() } else { text(&span.parent).into() };
    d.kind = side.kind;
    d.start_ns = side.start.unwrap_or(0);
    d.end_ns = side.length.map(|l| d.start_ns.saturating_add(l));
    if side.length.is_none() {
        d.flags |= SPAN_NO_DURATION;
    }
    if side.shared {
        d.flags |= SPAN_SHARED;
    }
    if d.attrs.iter().any(|(key, _)| key == "error") {
        d.flags |= SPAN_ERROR;
    }
    d.service = import.service(side.endpoint.map_or("", Endpoint::service));
    place(&mut d.attrs, side.endpoint, side.remote);
    d
}
