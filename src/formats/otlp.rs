//! OTLP traces as JSON (opentelemetry-proto, JSON mapping): one request, an array of requests, or JSON lines; Tempo's
//! `batches` and wrapped forms; camelCase and snake_case keys; hex and base64 ids.

use super::json::{Broken, Json, Scalar, Stop, Text, outline};
use super::json_cut::Mark;
use super::json_mend::record;
use super::parts::{InParts, Part, PartReader, read_whole};
use super::span_parts::SpanReader;
use super::span_sink::{BAD_SPAN, BROKEN, CUT, kind};
use super::{Format, Import, ImportError, Prefix, Sniff};
use crate::base::ids::{ResourceId, ServiceId, StringId};
use crate::base::pack::Unpacker;
use crate::model::diagnostics::At;
use crate::model::trace::{RawSpan, SPAN_ASYNC, SPAN_ERROR, SPAN_REMOTE_PARENT, SPAN_UNFINISHED, SpanKind};
use serde::{Deserialize, Serialize};
use std::io::BufRead;

const NAME: &str = "OTLP JSON";
const ROOT_KEYS: &[&str] = &["resourceSpans", "resource_spans", "batches"];
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
        if o.has(&["resourceSpans", "resource_spans"]) {
            Sniff::Certain
        } else if o.has(&["batches"]) || o.has(&["trace", "result"]) && contains(prefix, "\"resourceSpans\"") {
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
                if !matches!(key.as_str(), "trace" | "result") {
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

fn contains(prefix: &Prefix<'_>, text: &str) -> bool {
    prefix.text().contains(text)
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
        while open > 0 && !self.ended {
            if !json.next_key(&mut self.key)? {
                open -= 1;
            } else if ROOT_KEYS.contains(&self.key.as_str()) && json.eat(b'[')? {
                self.items(open, json, import)?;
            } else if matches!(self.key.as_str(), "trace" | "result") && json.eat(b'{')? {
                open += 1;
            } else {
                json.skip()?;
            }
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
                Ok(true) if self.key == "resource" => {
                    let at = json.position();
                    json.raw(&mut self.raw)
                        .map(|()| resource = record(&self.raw, &mut self.spare, at, import).ok().map(|r| read_resource(&r, import)))
                        .map_err(Stop::from)
                }
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
        let (id, service) = resource.unwrap_or((ResourceId::NONE, ServiceId::NONE));
        for row in first..import.session.traces.spans.len() {
            let service = match service.get() {
                Some(service) => service,
                None => {
                    // Without service.name the scope is the best name that there is.
                    let scope = import.session.strings.get(import.session.traces.spans.scope[row]).to_string();
                    import.service(&scope)
                }
            };
            import.set_service(row, service);
            import.session.traces.spans.resource[row] = id;
        }
        end
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
                        let at = json.position();
                        json.raw(&mut self.raw)?;
                        let read = record::<Scope<'_>>(&self.raw, &mut self.spare, at, import);
                        let name = read.ok().and_then(|s| s.name).unwrap_or_default();
                        scope = import.session.strings.intern(&name.0);
                    }
                    "spans" if json.eat(b'[')? => {
                        while json.next_item()? {
                            let at = json.position();
                            let result = json.raw(&mut self.raw);
                            import.ledger.records_in += 1;
                            result?;
                            match record::<Span<'_>>(&self.raw, &mut self.spare, at, import) {
                                Ok(span) => push(&span, import),
                                Err(e) => import.report(BAD_SPAN, At::Byte(at), &e.to_string()),
                            }
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

#[derive(Deserialize)]
struct Scope<'a> {
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Resource<'a> {
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

#[derive(Deserialize)]
struct Span<'a> {
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

fn read_resource(resource: &Resource<'_>, import: &mut Import<'_>) -> (ResourceId, ServiceId) {
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

fn push(span: &Span<'_>, import: &mut Import<'_>) {
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
