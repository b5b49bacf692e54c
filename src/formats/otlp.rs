//! OTLP traces as JSON (opentelemetry-proto, JSON mapping): one request, an array of requests, or JSON lines; Tempo's
//! `batches` and wrapped forms; camelCase and snake_case keys; hex and base64 ids.

use super::json::{Broken, Json, Scalar, Stop, keys_under, outline};
use super::json_cut::Mark;
use super::json_mend::record;
use super::otlp_span::{Resource, Scope, Span, push, read_resource, settle};
use super::parts::{InParts, Part, PartReader, read_whole};
use super::span_parts::SpanReader;
use super::span_sink::{BAD_SPAN, BROKEN, CUT};
use super::{Format, Import, ImportError, Prefix, Sniff};
use crate::base::ids::{ResourceId, ServiceId, StringId};
use crate::base::pack::Unpacker;
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use serde::{Deserialize, Serialize};
use std::io::BufRead;

const NAME: &str = "OTLP JSON";
const ROOT_KEYS: &[&str] = &["resourceSpans", "resource_spans", "batches"];
/// What is entered on the way to them: Tempo's v2 answer, Jaeger's v3 answer, and tools that put an answer into `data`.
const WRAPPERS: &[&str] = &["trace", "result", "data"];
/// Tempo's answer when a trace is larger than it gives.
const PARTIAL: DiagnosticCode = DiagnosticCode {
    code: "otlp/partial",
    level: Level::DataLoss,
    message: "The server says that its answer is only a part of the trace.",
};
const SCOPE_KEYS: &[&str] = &["scopeSpans", "scope_spans", "instrumentationLibrarySpans", "instrumentation_library_spans"];

/// The format.
pub struct Otlp;

impl Format for Otlp {
    fn id(&self) -> &'static str {
        "otlp-json"
    }
    fn name(&self) -> &'static str {
        NAME
    }
    fn extensions(&self) -> &'static [&'static str] {
        &["json", "jsonl"]
    }
    fn hint(&self) -> &'static str {
        "The OpenTelemetry Collector's file exporter, SDK file exporters, Tempo and Grafana (\u{201c}Download trace\u{201d}) write it."
    }
    fn sniff(&self, prefix: &Prefix<'_>) -> Sniff {
        let Some(o) = outline(prefix.bytes) else { return Sniff::No };
        let wrapped = || WRAPPERS.iter().any(|w| keys_under(prefix.bytes, &[w]).iter().any(|key| ROOT_KEYS.contains(&key.as_str())));
        let batch = || keys_under(prefix.bytes, &["batches"]).iter().any(|key| key == "resource" || SCOPE_KEYS.contains(&key.as_str()));
        if o.has(&["ph"]) {
            Sniff::No
        } else if o.has(&["resourceSpans", "resource_spans"]) || o.has(WRAPPERS) && wrapped() || o.has(&["batches"]) && batch() {
            Sniff::Certain
        } else if o.has(&["batches"]) {
            Sniff::Likely
        } else {
            Sniff::No
        }
    }
    fn read(&self, input: &mut dyn BufRead, import: &mut Import<'_>) -> Result<(), ImportError> {
        read_whole(self, input, import)
    }
    fn in_parts(&self) -> Option<&'static dyn InParts> {
        Some(&Otlp)
    }
}

/// What a part has to know: how many objects are open around `resourceSpans` (0: parts are lines), and what records begin with.
#[derive(Default, Deserialize, Serialize)]
struct Context {
    open: u32,
    mark: Mark,
}

impl InParts for Otlp {
    fn context(&self, head: &[u8]) -> Option<String> {
        let by_lines = head.windows(2).any(|w| w == b"\n{");
        let mut bytes = head;
        let mut json = Json::new(&mut bytes);
        let mut open = 0;
        if !by_lines {
            json.eat(b'[').ok()?;
            let mut key = String::new();
            loop {
                if json.eat(b'{').ok()? {
                    open += 1;
                }
                if !json.next_key(&mut key).ok()? {
                    return None;
                }
                if ROOT_KEYS.contains(&key.as_str()) && json.eat(b'[').ok()? {
                    break;
                }
                if !WRAPPERS.contains(&key.as_str()) {
                    json.skip().ok()?;
                }
            }
        }
        let mark = Mark::learn(&mut json, by_lines)?;
        serde_json::to_string(&Context { open, mark }).ok()
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
    if !part.enter(&mut json, &known.mark).map_err(|e| e.into_error(NAME))? {
        return Ok(());
    }
    // A part that begins inside a request takes it up there.
    let mut inside = part.between() && !known.mark.lines;
    let mut reader = Reader { known, part: *part, ..Reader::default() };
    let end = loop {
        if reader.ended {
            break Ok(());
        }
        match json.peek() {
            Ok(None) => break Ok(()),
            Ok(Some(b'[' | b',' | b']')) if !inside => {
                // An array of requests, or requests joined by commas.
                json.eat(b'[').and_then(|_| json.eat(b',')).and_then(|_| json.eat(b']')).map_err(|e| e.into_error(NAME))?;
                continue;
            }
            Ok(Some(_)) => {}
            Err(e) => break Err(e.into_error(NAME)),
        }
        let begin = json.position();
        let step = if inside { reader.inside(&mut json, import) } else { reader.request(&mut json, import) };
        inside = false;
        match step {
            Ok(()) => {}
            Err(Stop::Import(e)) => break Err(e),
            Err(Stop::Broken(Broken::End)) => {
                import.report(CUT, At::Byte(json.position()), "");
                break Ok(());
            }
            Err(Stop::Broken(Broken::Io(reason))) => break Err(ImportError::Io(reason)),
            Err(Stop::Broken(broken)) => {
                import.report(BROKEN, At::Byte(json.position()), &broken.to_string());
                // A line that lacks its closing brackets breaks at the first character of the next one.
                let next_is_whole = json.position() > begin && json.peek().is_ok_and(|b| b == Some(b'{'));
                if !next_is_whole && !json.next_line().map_err(|e| e.into_error(NAME))? {
                    break Ok(());
                }
            }
        }
    };
    *part = reader.part;
    end
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
}

impl Reader {
    /// One request. Wrapping objects (`trace`, `result`, `data`) are entered, other keys passed over.
    fn request(&mut self, json: &mut Json<'_>, import: &mut Import<'_>) -> Result<(), Stop> {
        if self.known.mark.lines && self.part.ends(json, &self.known.mark)? {
            self.ended = true;
            return Ok(());
        }
        if !json.eat(b'{')? {
            return Err(Broken::Unexpected(json.position(), "an object").into());
        }
        self.members(1, json, import)
    }

    /// The rest of a request that was entered between two items of its `resourceSpans`.
    fn inside(&mut self, json: &mut Json<'_>, import: &mut Import<'_>) -> Result<(), Stop> {
        let open = self.known.open;
        self.items(open, json, import)?;
        self.members(open, json, import)
    }

    fn members(&mut self, mut open: u32, json: &mut Json<'_>, import: &mut Import<'_>) -> Result<(), Stop> {
        let (mut partial, mut message) = (None, String::new());
        while open > 0 && !self.ended {
            if !json.next_key(&mut self.key)? {
                open -= 1;
            } else if ROOT_KEYS.contains(&self.key.as_str()) && json.eat(b'[')? {
                self.items(open, json, import)?;
            } else if WRAPPERS.contains(&self.key.as_str()) && json.peek()? == Some(b'{') {
                json.eat(b'{')?;
                open += 1;
            } else if open == 1 && matches!(self.key.as_str(), "status" | "message") {
                let at = json.position();
                json.raw(&mut self.raw)?;
                let value = record::<Scalar<'_>>(&self.raw, &mut self.spare, at, import).unwrap_or_default();
                if self.key == "message" {
                    message = value.text().unwrap_or("").to_string();
                } else if value.text() == Some("PARTIAL") || value == Scalar::Int(1) {
                    partial = Some(at);
                }
            } else {
                json.skip()?;
            }
        }
        if let Some(at) = partial {
            import.report(PARTIAL, At::Byte(at), &message);
        }
        Ok(())
    }

    fn items(&mut self, open: u32, json: &mut Json<'_>, import: &mut Import<'_>) -> Result<(), Stop> {
        while json.next_item()? {
            if !self.known.mark.lines && open == self.known.open && self.part.ends(json, &self.known.mark)? {
                self.ended = true;
                return Ok(());
            }
            self.resource_spans(json, import)?;
        }
        Ok(())
    }

    fn resource_spans(&mut self, json: &mut Json<'_>, import: &mut Import<'_>) -> Result<(), Stop> {
        if !json.eat(b'{')? {
            json.skip()?;
            return Ok(());
        }
        let first = import.session.traces.spans.len();
        let mut resource = None;
        let mut end = Ok(());
        loop {
            let more = json.next_key(&mut self.key);
            let step = match more {
                Ok(false) => break,
                Ok(true) if self.key == "resource" => self.resource(json, import).map(|known| resource = known).map_err(Stop::from),
                Ok(true) if SCOPE_KEYS.contains(&self.key.as_str()) => self.scopes(json, import),
                Ok(true) => json.skip().map_err(Stop::from),
                Err(e) => Err(e.into()),
            };
            if let Err(e) = step {
                end = Err(e);
                break;
            }
        }
        // The resource may stand behind its spans, and must be known to them even when the file breaks off.
        settle(first, resource, import);
        end
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
            push(span, import);
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
            Ok(span) => push(span, import),
            Err(e) => import.report(BAD_SPAN, At::Byte(at), &e.to_string()),
        }
        Ok(true)
    }

    fn resource(&mut self, json: &mut Json<'_>, import: &mut Import<'_>) -> Result<Option<(ResourceId, Option<ServiceId>)>, Broken> {
        let quick = json.quick(|quick| {
            let resource = Resource::quick(quick)?;
            quick.record()?;
            Some(read_resource(resource, import))
        });
        if quick.is_some() {
            return Ok(quick);
        }
        let at = json.position();
        json.raw(&mut self.raw)?;
        Ok(record::<Resource<'_>>(&self.raw, &mut self.spare, at, import).ok().map(|r| read_resource(r, import)))
    }

    fn scopes(&mut self, json: &mut Json<'_>, import: &mut Import<'_>) -> Result<(), Stop> {
        if !json.eat(b'[')? {
            json.skip()?;
            return Ok(());
        }
        while json.next_item()? {
            if !json.eat(b'{')? {
                json.skip()?;
                continue;
            }
            let first = import.session.traces.spans.len();
            let mut scope = StringId::NONE;
            while json.next_key(&mut self.key)? {
                match self.key.as_str() {
                    "scope" | "instrumentationLibrary" | "instrumentation_library" => {
                        let strings = &mut import.session.strings;
                        let quick = json.quick(|quick| {
                            let scope = Scope::quick(quick)?;
                            quick.record()?;
                            Some(strings.intern(&scope.name.unwrap_or_default().0))
                        });
                        if let Some(known) = quick {
                            scope = known;
                            continue;
                        }
                        let at = json.position();
                        json.raw(&mut self.raw)?;
                        let read = record::<Scope<'_>>(&self.raw, &mut self.spare, at, import);
                        let name = read.ok().and_then(|s| s.name).unwrap_or_default();
                        scope = import.session.strings.intern(&name.0);
                    }
                    "spans" if json.eat(b'[')? => {
                        while self.next_span(json, import)? {
                            if import.ledger.records_in.is_multiple_of(4096) {
                                import.tick(import.ledger.records_in)?;
                            }
                        }
                    }
                    _ => json.skip()?,
                }
            }
            let rows = first..import.session.traces.spans.len();
            import.session.traces.spans.scope[rows].fill(scope);
        }
        Ok(())
    }
}
