//! Jaeger's UI and query JSON: `{"data":[TRACE…]}`, a bare trace, or an array of traces (jaeger internal/uimodel).

use super::json::{Broken, Json, Scalar, Stop, Text, outline};
use super::json_cut::Mark;
use super::json_mend::record;
use super::parts::{InParts, Part, PartReader, read_whole};
use super::span_parts::SpanReader;
use super::span_sink::{BAD_SPAN, BROKEN, CUT};
use super::{Format, Import, ImportError, Prefix, Sniff};
use crate::base::ids::{ResourceId, ServiceId, StringId};
use crate::base::pack::Unpacker;
use crate::model::diagnostics::At;
use crate::model::trace::{RawSpan, SPAN_ASYNC, SPAN_ERROR, SpanKind};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::BufRead;

const NAME: &str = "Jaeger JSON";

/// The format.
pub struct Jaeger;

impl Format for Jaeger {
    fn id(&self) -> &'static str {
        "jaeger-json"
    }
    fn name(&self) -> &'static str {
        NAME
    }
    fn extensions(&self) -> &'static [&'static str] {
        &["json"]
    }
    fn hint(&self) -> &'static str {
        "Jaeger's UI (\u{201c}Trace JSON\u{201d}) and its query API `/api/traces?service=NAME` write it."
    }
    fn sniff(&self, prefix: &Prefix<'_>) -> Sniff {
        let Some(o) = outline(prefix.bytes) else { return Sniff::No };
        let text = prefix.text();
        if o.has(&["resourceSpans", "resource_spans"]) {
            return Sniff::No;
        }
        if o.has(&["spans"]) && (o.has(&["traceID", "processes"]) || text.contains("\"operationName\"")) {
            return Sniff::Certain;
        }
        if o.first == b'{' && o.has(&["data"]) && (text.contains("\"traceID\"") || text.contains("\"spanID\"")) {
            return Sniff::Certain;
        }
        Sniff::No
    }
    fn read(&self, input: &mut dyn BufRead, import: &mut Import<'_>) -> Result<(), ImportError> {
        read_whole(self, input, import)
    }
    fn in_parts(&self) -> Option<&'static dyn InParts> {
        Some(&Jaeger)
    }
}

/// What a part has to know: whether traces stand in `data` (or in a bare array), and what traces begin with.
#[derive(Default, Deserialize, Serialize)]
struct Context {
    data: bool,
    mark: Mark,
}

impl InParts for Jaeger {
    fn context(&self, head: &[u8]) -> Option<String> {
        let mut bytes = head;
        let mut json = Json::new(&mut bytes);
        let data = json.eat(b'{').ok()?;
        if data {
            let mut key = String::new();
            while json.next_key(&mut key).ok()? && key != "data" {
                json.skip().ok()?;
            }
        }
        if !json.eat(b'[').ok()? {
            return None;
        }
        let mark = Mark::learn(&mut json, false)?;
        serde_json::to_string(&Context { data, mark }).ok()
    }
    fn reader(&self, context: Option<&str>) -> Box<dyn PartReader> {
        SpanReader::boxed(read, context)
    }
    fn unpack(&self, _: &mut Unpacker<'_>) -> Option<Box<dyn PartReader>> {
        Some(self.reader(None))
    }
}

fn read(context: Option<&str>, input: &mut dyn BufRead, part: &mut Part, import: &mut Import<'_>) -> Result<(), ImportError> {
    let known = context.and_then(|c| serde_json::from_str(c).ok()).unwrap_or_default();
    let mut reader = Reader { known, part: *part, ..Reader::default() };
    let mut json = Json::at(input, part.at);
    let end = reader.part(&mut json, import);
    *part = reader.part;
    match end {
        Ok(()) => Ok(()),
        Err(Stop::Import(e)) => Err(e),
        Err(Stop::Broken(Broken::End)) => {
            import.report(CUT, At::Byte(json.position()), "");
            Ok(())
        }
        Err(Stop::Broken(Broken::Io(reason))) => Err(ImportError::Io(reason)),
        // What a later part finds unreadable, its predecessors have gone before.
        Err(Stop::Broken(broken)) if import.ledger.records_kept > 0 || part.between() => {
            import.report(BROKEN, At::Byte(json.position()), &broken.to_string());
            Ok(())
        }
        Err(Stop::Broken(broken)) => Err(broken.into_error(NAME)),
    }
}

#[derive(Default)]
struct Reader {
    known: Context,
    part: Part,
    /// The part has ended at a boundary.
    ended: bool,
    key: String,
    raw: Vec<u8>,
    spare: Vec<u8>,
    /// Spans of the current trace: row and the name of its process.
    waiting: Vec<(usize, StringId)>,
    /// Processes of the current trace by name.
    processes: BTreeMap<String, (ResourceId, ServiceId)>,
}

impl Reader {
    fn part(&mut self, json: &mut Json<'_>, import: &mut Import<'_>) -> Result<(), Stop> {
        if !self.part.enter(json, &self.known.mark)? {
            return Ok(());
        }
        if self.part.between() && self.known.data {
            self.data(json, import)?;
            if !self.ended {
                self.rest(json, import)?;
            }
        }
        self.file(json, import)
    }

    fn file(&mut self, json: &mut Json<'_>, import: &mut Import<'_>) -> Result<(), Stop> {
        while !self.ended
            && let Some(next) = json.peek()?
        {
            match next {
                b'{' if !self.known.data && self.part.ends(json, &self.known.mark)? => self.ended = true,
                b'{' => self.object(json, import)?,
                // An array of traces, or traces one after the other.
                b'[' | b',' | b']' => {
                    json.eat(next)?;
                }
                _ => return Err(Broken::Unexpected(json.position(), "a trace").into()),
            }
        }
        Ok(())
    }

    /// The file's object with `data`, or one trace.
    fn object(&mut self, json: &mut Json<'_>, import: &mut Import<'_>) -> Result<(), Stop> {
        json.eat(b'{')?;
        self.rest(json, import)
    }

    /// The members of the object that are still to come.
    fn rest(&mut self, json: &mut Json<'_>, import: &mut Import<'_>) -> Result<(), Stop> {
        let end = self.members(json, import);
        self.finish_trace(import);
        end
    }

    fn members(&mut self, json: &mut Json<'_>, import: &mut Import<'_>) -> Result<(), Stop> {
        while !self.ended && json.next_key(&mut self.key)? {
            match self.key.as_str() {
                "data" => match json.peek()? {
                    Some(b'[') => {
                        json.eat(b'[')?;
                        self.data(json, import)?;
                    }
                    Some(b'{') => {
                        json.eat(b'{')?;
                        let end = self.trace(json, import);
                        self.finish_trace(import);
                        end?;
                    }
                    _ => json.skip()?,
                },
                _ => self.member(json, import)?,
            }
        }
        Ok(())
    }

    /// The traces of `data` that are still to come.
    fn data(&mut self, json: &mut Json<'_>, import: &mut Import<'_>) -> Result<(), Stop> {
        while json.next_item()? {
            if self.known.data && self.part.ends(json, &self.known.mark)? {
                self.ended = true;
                return Ok(());
            }
            if json.eat(b'{')? {
                let end = self.trace(json, import);
                self.finish_trace(import);
                end?;
            } else {
                json.skip()?;
            }
        }
        Ok(())
    }

    fn trace(&mut self, json: &mut Json<'_>, import: &mut Import<'_>) -> Result<(), Stop> {
        while json.next_key(&mut self.key)? {
            self.member(json, import)?;
        }
        Ok(())
    }

    /// One member of a trace object; its key was read.
    fn member(&mut self, json: &mut Json<'_>, import: &mut Import<'_>) -> Result<(), Stop> {
        match self.key.as_str() {
            "spans" if json.eat(b'[')? => {
                while json.next_item()? {
                    let at = json.position();
                    let result = json.raw(&mut self.raw);
                    import.ledger.records_in += 1;
                    result?;
                    match record::<Span<'_>>(&self.raw, &mut self.spare, at, import) {
                        Ok(span) => self.waiting.push(push(&span, import)),
                        Err(e) => import.report(BAD_SPAN, At::Byte(at), &e.to_string()),
                    }
                    if import.ledger.records_in.is_multiple_of(4096) {
                        import.tick(import.ledger.records_in)?;
                    }
                }
            }
            "processes" if json.eat(b'{')? => {
                while json.next_key(&mut self.key)? {
                    let at = json.position();
                    json.raw(&mut self.raw)?;
                    if let Ok(process) = record::<Process<'_>>(&self.raw, &mut self.spare, at, import) {
                        let known = read_process(&process, import);
                        self.processes.insert(self.key.clone(), known);
                    }
                }
            }
            _ => json.skip()?,
        }
        Ok(())
    }

    /// Processes usually stand behind the spans that name them.
    fn finish_trace(&mut self, import: &mut Import<'_>) {
        for (row, process) in self.waiting.drain(..) {
            if process.is_none() {
                continue;
            }
            if let Some(&(resource, service)) = self.processes.get(import.session.strings.get(process)) {
                import.set_service(row, service);
                import.session.traces.spans.resource[row] = resource;
            }
        }
        self.processes.clear();
    }
}

#[derive(Deserialize)]
struct Process<'a> {
    #[serde(borrow, rename = "serviceName", default)]
    service: Option<Text<'a>>,
    #[serde(borrow, default)]
    tags: Option<Vec<Tag<'a>>>,
}

#[derive(Deserialize)]
struct Tag<'a> {
    #[serde(borrow, default)]
    key: Option<Text<'a>>,
    #[serde(borrow, rename = "type", default)]
    kind: Option<Text<'a>>,
    #[serde(borrow, default)]
    value: Scalar<'a>,
}

impl<'a> Tag<'a> {
    fn key(&self) -> &str {
        self.key.as_ref().map_or("", |k| &k.0)
    }
    /// Integers beyond 2^53 are written as texts and typed: they are integers again.
    fn value(&self) -> Scalar<'a> {
        match (self.kind.as_ref().map(|k| &*k.0), &self.value) {
            (Some("int64"), Scalar::Text(text)) => text.parse().map_or(self.value.clone(), Scalar::Int),
            (Some("bool"), Scalar::Text(text)) => Scalar::Bool(text == "true"),
            (Some("float64"), Scalar::Text(text)) => text.parse().map_or(self.value.clone(), Scalar::Float),
            _ => self.value.clone(),
        }
    }
}

#[derive(Deserialize)]
struct Span<'a> {
    #[serde(borrow, rename = "traceID", default)]
    trace_id: Option<Text<'a>>,
    #[serde(borrow, rename = "spanID", default)]
    span_id: Option<Text<'a>>,
    #[serde(borrow, rename = "parentSpanID", default)]
    parent: Option<Text<'a>>,
    #[serde(borrow, rename = "operationName", default)]
    name: Option<Text<'a>>,
    #[serde(borrow, default)]
    references: Option<Vec<Reference<'a>>>,
    #[serde(borrow, rename = "startTime", default)]
    start: Scalar<'a>,
    #[serde(borrow, default)]
    duration: Scalar<'a>,
    #[serde(borrow, default)]
    tags: Option<Vec<Tag<'a>>>,
    #[serde(borrow, default)]
    logs: Option<Vec<Log<'a>>>,
    #[serde(borrow, rename = "processID", default)]
    process_id: Option<Text<'a>>,
    #[serde(borrow, default)]
    process: Option<Process<'a>>,
    #[serde(borrow, default)]
    warnings: Scalar<'a>,
}

#[derive(Deserialize)]
struct Reference<'a> {
    #[serde(borrow, rename = "refType", default)]
    kind: Option<Text<'a>>,
    #[serde(borrow, rename = "traceID", default)]
    trace_id: Option<Text<'a>>,
    #[serde(borrow, rename = "spanID", default)]
    span_id: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Log<'a> {
    #[serde(borrow, default)]
    timestamp: Scalar<'a>,
    #[serde(borrow, default)]
    fields: Option<Vec<Tag<'a>>>,
}

fn text<'t>(text: &'t Option<Text<'_>>) -> &'t str {
    text.as_ref().map_or("", |t| &t.0)
}

fn tags(list: &Option<Vec<Tag<'_>>>, import: &mut Import<'_>) -> (u32, u32) {
    let start = import.next_attr();
    for tag in list.iter().flatten() {
        import.attr(tag.key(), &tag.value());
    }
    (start, import.next_attr() - start)
}

fn read_process(process: &Process<'_>, import: &mut Import<'_>) -> (ResourceId, ServiceId) {
    let service = import.service(text(&process.service));
    let (start, len) = tags(&process.tags, import);
    let table = &mut import.session.traces.resources;
    table.service.push(service);
    table.attr_start.push(start);
    table.attr_len.push(len);
    (ResourceId::from_index(table.service.len() - 1), service)
}

/// Stores a span and gives its row and the name of its process.
fn push(span: &Span<'_>, import: &mut Import<'_>) -> (usize, StringId) {
    let number = import.ledger.records_in;
    let name = text(&span.name);
    let start = span.start.thousandths().unwrap_or(0);
    let duration = span.duration.thousandths().unwrap_or(0);
    let duration_ns = import.span_length(start, start.saturating_add(duration), number, name);
    let find = |key: &str| span.tags.iter().flatten().rfind(|t| t.key() == key);
    let kind = find("span.kind").map_or(SpanKind::Unspecified, |t| super::span_sink::kind(&t.value));
    let failed = find("error").is_some_and(|t| t.value.truthy())
        || find("otel.status_code").is_some_and(|t| t.value.text().is_some_and(|v| v.eq_ignore_ascii_case("error")));
    let mut flags = if failed { SPAN_ERROR } else { 0 };
    if kind == SpanKind::Consumer {
        flags |= SPAN_ASYNC;
    }
    let trace = import.trace_id(text(&span.trace_id));
    // The parent is the first CHILD_OF of this trace, else the first FOLLOWS_FROM of it; the other references are links.
    let references: Vec<&Reference<'_>> = span.references.iter().flatten().collect();
    let own: Vec<bool> = references.iter().map(|r| text(&r.trace_id).is_empty() || import.trace_id(text(&r.trace_id)) == trace).collect();
    let of_kind = |wanted: &str| references.iter().zip(&own).position(|(r, own)| *own && text(&r.kind).eq_ignore_ascii_case(wanted));
    let parent_at = of_kind("CHILD_OF").or_else(|| of_kind("FOLLOWS_FROM"));
    if parent_at.is_some_and(|at| text(&references[at].kind).eq_ignore_ascii_case("FOLLOWS_FROM")) {
        flags |= SPAN_ASYNC;
    }
    let parent = parent_at.map_or(text(&span.parent), |at| text(&references[at].span_id)).to_string();
    let mut links = (import.session.traces.links.trace_id.len() as u32, 0);
    for (at, reference) in references.iter().enumerate().filter(|(at, _)| Some(*at) != parent_at) {
        let to = if own[at] { trace } else { import.trace_id(text(&reference.trace_id)) };
        let id = import.span_id(text(&reference.span_id));
        let attr_start = import.next_attr();
        let table = &mut import.session.traces.links;
        table.trace_id.push(to);
        table.span_id.push(id);
        table.attr_start.push(attr_start);
        table.attr_len.push(0);
        links.1 += 1;
    }
    let mut attrs = tags(&span.tags, import);
    if let Scalar::Json(warnings) = &span.warnings {
        import.attr("jaeger.warnings", &Scalar::Json(warnings.clone()));
        attrs.1 += 1;
    }
    let mut events = (import.session.traces.events.name.len() as u32, 0);
    for log in span.logs.iter().flatten() {
        let field = |key: &str| log.fields.iter().flatten().find(|t| t.key() == key).and_then(|t| t.value.text());
        let name = field("event").or_else(|| field("message")).unwrap_or("log").to_string();
        let (attr_start, attr_len) = tags(&log.fields, import);
        let name = import.session.strings.intern(&name);
        let table = &mut import.session.traces.events;
        table.time_ns.push(log.timestamp.thousandths().unwrap_or(start));
        table.name.push(name);
        table.attr_start.push(attr_start);
        table.attr_len.push(attr_len);
        events.1 += 1;
    }
    let scope = find("otel.scope.name").or_else(|| find("otel.library.name")).and_then(|t| t.value.text());
    let scope = scope.map_or(StringId::NONE, |s| import.session.strings.intern(s));
    // Spans of storage exports carry their process with them.
    let (resource, service) = span.process.as_ref().map_or((ResourceId::NONE, ServiceId::NONE), |p| read_process(p, import));
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
