//! Jaeger's UI and query JSON: `{"data":[TRACE…]}`, a bare trace, or an array of traces (jaeger internal/uimodel).

use super::jaeger_span::{Process, Span, push, read_process};
use super::json::{Broken, Json, Stop, Text, keys_under, outline};
use super::json_cut::Mark;
use super::json_mend::record;
use super::json_outline::has_under;
use super::parts::{InParts, Part, PartReader, read_whole};
use super::span_draft::Resources;
use super::span_parts::SpanReader;
use super::span_sink::{BAD_SPAN, BROKEN, CUT, NO_SPANS};
use super::{Format, Import, ImportError, Prefix, Sniff};
use crate::base::ids::{ResourceId, ServiceId, StringId};
use crate::base::pack::Unpacker;
use crate::model::diagnostics::At;
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
        if o.has(&["resourceSpans", "resource_spans", "ph", "traceEvents"]) {
            return Sniff::No;
        }
        // A bare trace, or an answer of the query service.
        if o.has(&["spans"]) && o.has(&["traceID", "processes"]) || has_under(prefix.bytes, &["spans"], &["spanID", "operationName"]) {
            return Sniff::Certain;
        }
        if o.first != b'{' || !o.has(&["data"]) {
            return Sniff::No;
        }
        let trace = keys_under(prefix.bytes, &["data"]);
        if trace.iter().any(|key| matches!(key.as_str(), "traceID" | "spans" | "processes")) {
            Sniff::Certain
        } else if trace.is_empty() && o.has(&["total", "limit", "offset", "errors"]) {
            // A query that found nothing.
            Sniff::Likely
        } else {
            Sniff::No
        }
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

/// Reads traces with their processes; the protobuf form has the same members under other spellings.
///
/// # Errors
/// As [`Format::read`].
pub fn read(context: Option<&str>, input: &mut dyn BufRead, part: &mut Part, import: &mut Import<'_>) -> Result<(), ImportError> {
    let known = context.and_then(|c| serde_json::from_str(c).ok()).unwrap_or_default();
    let mut reader = Reader { known, part: *part, ..Reader::default() };
    let mut json = Json::at(input, part.at);
    let end = reader.part(&mut json, import);
    *part = reader.part;
    match end {
        Ok(()) => {
            if import.ledger.records_in == 0 && !part.between() {
                import.report(NO_SPANS, At::File, "");
            }
            Ok(())
        }
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
    /// Processes that spans of the current trace carry with them.
    embedded: Resources,
}

/// A process with its name, as protobuf's JSON lists them.
#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow, rename = "processId", alias = "process_id", default)]
    id: Option<Text<'a>>,
    #[serde(borrow, default)]
    process: Option<Process<'a>>,
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
                "data" | "result" | "batch" => match json.peek()? {
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

    /// Reads one span; `false` when their array ended. A function of its own, so that a browser optimises it: see
    /// `engine::warm`.
    #[inline(never)]
    fn next_span(&mut self, json: &mut Json<'_>, import: &mut Import<'_>) -> Result<bool, Stop> {
        if !json.next_item()? {
            return Ok(false);
        }
        let quick = json.quick(|quick| {
            let span = Span::quick(quick)?;
            quick.record()?;
            import.ledger.records_in += 1;
            self.waiting.push(push(&span, &mut self.embedded, import));
            Some(())
        });
        if quick.is_some() {
            return Ok(true);
        }
        let at = json.position();
        let result = json.raw(&mut self.raw);
        import.ledger.records_in += 1;
        result?;
        match record::<Span<'_>>(&self.raw, &mut self.spare, at, import) {
            Ok(span) => self.waiting.push(push(&span, &mut self.embedded, import)),
            Err(e) => import.report(BAD_SPAN, At::Byte(at), &e.to_string()),
        }
        Ok(true)
    }

    /// One member of a trace object; its key was read.
    fn member(&mut self, json: &mut Json<'_>, import: &mut Import<'_>) -> Result<(), Stop> {
        match self.key.as_str() {
            "spans" if json.eat(b'[')? => {
                while self.next_span(json, import)? {
                    if import.ledger.records_in.is_multiple_of(4096) {
                        import.tick(import.ledger.records_in)?;
                    }
                }
            }
            "processes" if json.eat(b'{')? => {
                while json.next_key(&mut self.key)? {
                    let quick = json.quick(|quick| {
                        let process = Process::quick(quick)?;
                        quick.record()?;
                        Some(read_process(&process, &mut self.embedded, import))
                    });
                    if let Some(known) = quick {
                        self.processes.insert(self.key.clone(), known);
                        continue;
                    }
                    let at = json.position();
                    json.raw(&mut self.raw)?;
                    if let Ok(process) = record::<Process<'_>>(&self.raw, &mut self.spare, at, import) {
                        let known = read_process(&process, &mut self.embedded, import);
                        self.processes.insert(self.key.clone(), known);
                    }
                }
            }
            "processMap" | "process_map" if json.eat(b'[')? => {
                while json.next_item()? {
                    let at = json.position();
                    json.raw(&mut self.raw)?;
                    if let Ok(Named { id: Some(id), process: Some(process) }) = record(&self.raw, &mut self.spare, at, import) {
                        let known = read_process(&process, &mut self.embedded, import);
                        self.processes.insert(id.0.into_owned(), known);
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
        self.embedded.clear();
    }
}
