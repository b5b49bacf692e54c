//! OTLP traces in protobuf (opentelemetry-proto trace/v1): one `TracesData` or `ExportTraceServiceRequest`, or a stream of
//! them with their lengths before them, as the collector's file exporter (four bytes, big-endian) and protobuf's delimited
//! streams (a varint) write them.

use super::json::Scalar;
use super::otlp_span::{Status, settle, store, store_resource};
use super::otlp_value::{attributes, key_value};
use super::span_draft::{Draft, DraftEvent, DraftLink};
use super::span_sink::kind;
use super::wire::{Fields, Value, varint};
use super::{Format, Import, ImportError, Prefix, Sniff};
use crate::base::ids::StringId;
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use std::io::{BufRead, Read};

const CUT: DiagnosticCode = DiagnosticCode {
    code: "otlp-proto/cut",
    level: Level::DataLoss,
    message: "Messages that are cut or damaged were read up to that place.",
};

/// The format.
pub struct OtlpProto;

impl Format for OtlpProto {
    fn id(&self) -> &'static str {
        "otlp-proto"
    }
    fn name(&self) -> &'static str {
        "OTLP protobuf"
    }
    fn extensions(&self) -> &'static [&'static str] {
        &["pb", "binpb", "otlp"]
    }
    fn hint(&self) -> &'static str {
        "The OpenTelemetry Collector's file exporter with `format: proto` writes it, and SDKs send it as OTLP over HTTP."
    }
    fn sniff(&self, prefix: &Prefix<'_>) -> Sniff {
        if framing(prefix.bytes).is_some() { Sniff::Certain } else { Sniff::No }
    }
    fn read(&self, input: &mut dyn BufRead, import: &mut Import<'_>) -> Result<(), ImportError> {
        import.has_spans = true;
        let mut stream = Stream { input, at: 0 };
        let head = stream.input.fill_buf()?;
        // What was sniffed may be more than the reader's buffer holds; a bare message needs no length.
        let framing = framing(head).unwrap_or(if head.first() == Some(&0x0a) { Framing::Bare } else { Framing::Length32 });
        loop {
            let begin = stream.at;
            let length = match framing {
                Framing::Bare => match stream.varint()? {
                    // Only `resource_spans` (1) is defined; other fields of known length are passed over.
                    Some(tag) if tag & 7 == 2 => stream.varint()?.map(|n| (n, tag >> 3 == 1)),
                    Some(0) | None => None,
                    Some(_) => {
                        import.report(CUT, At::Byte(begin), "not a field of a trace message");
                        return Ok(());
                    }
                },
                Framing::Length32 => stream.length32()?.map(|n| (n, true)),
                Framing::Varint => stream.varint()?.map(|n| (n, true)),
            };
            let Some((length, wanted)) = length else {
                if stream.at > begin {
                    import.report(CUT, At::Byte(begin), "the file ends inside a length");
                }
                return Ok(());
            };
            let at = stream.at;
            let bytes = stream.take(length)?;
            let cut = (bytes.len() as u64) < length;
            if wanted {
                let spans = match framing {
                    Framing::Bare => resource_spans(&bytes, at, import),
                    _ => message(&bytes, at, import),
                };
                if !spans || cut {
                    import.report(CUT, At::Byte(at), if cut { "the file ends inside a message" } else { "damaged message" });
                }
            }
            if cut {
                return Ok(());
            }
            import.tick(import.ledger.records_in)?;
        }
    }
}

/// What stands before messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Bare,
    Length32,
    Varint,
}

/// How the file is framed; `None` when no span is found in its first message.
fn framing(head: &[u8]) -> Option<Framing> {
    if is_message(head) {
        return Some(Framing::Bare);
    }
    if let Some((length, rest)) = head.split_first_chunk::<4>()
        && is_message(&rest[..rest.len().min(u32::from_be_bytes(*length) as usize)])
    {
        return Some(Framing::Length32);
    }
    let mut at = 0;
    let length = usize::try_from(varint(head, &mut at)?).ok()?;
    let rest = &head[at..];
    is_message(&rest[..rest.len().min(length)]).then_some(Framing::Varint)
}

/// Whether the first resource of the message holds a span with ids of the right length.
fn is_message(bytes: &[u8]) -> bool {
    let is_span = |span: &[u8]| {
        let (mut trace, mut id) = (0, 0);
        for (number, value) in Fields::new(span) {
            match number {
                1 => trace = value.bytes().len(),
                2 => id = value.bytes().len(),
                _ => {}
            }
        }
        trace == 16 && id == 8
    };
    let Some((1, Value::Bytes(first))) = fields_to_end(bytes).into_iter().next() else { return false };
    fields_to_end(first)
        .into_iter()
        .filter(|(number, _)| matches!(number, 2 | 1000))
        .flat_map(|(_, scope)| fields_to_end(scope.bytes()))
        .any(|(number, span)| number == 2 && is_span(span.bytes()))
}

/// The fields of a message; one that the end cuts is given as far as it goes.
fn fields_to_end(bytes: &[u8]) -> Vec<(u64, Value<'_>)> {
    let mut fields = Fields::new(bytes);
    let mut out: Vec<(u64, Value<'_>)> = fields.by_ref().collect();
    out.extend(fields.cut().map(|(number, rest)| (number, Value::Bytes(rest))));
    out
}

struct Stream<'r> {
    input: &'r mut dyn BufRead,
    at: u64,
}

impl Stream<'_> {
    fn byte(&mut self) -> Result<Option<u8>, ImportError> {
        let byte = self.input.fill_buf()?.first().copied();
        if byte.is_some() {
            self.input.consume(1);
            self.at += 1;
        }
        Ok(byte)
    }

    /// `None` at the end of the file, also inside of the number.
    fn varint(&mut self) -> Result<Option<u64>, ImportError> {
        let mut bytes = Vec::with_capacity(10);
        while let Some(byte) = self.byte()? {
            bytes.push(byte);
            if byte < 0x80 || bytes.len() == 10 {
                break;
            }
        }
        Ok(varint(&bytes, &mut 0))
    }

    fn length32(&mut self) -> Result<Option<u64>, ImportError> {
        let mut length = 0_u64;
        for _ in 0..4 {
            let Some(byte) = self.byte()? else { return Ok(None) };
            length = length << 8 | u64::from(byte);
        }
        Ok(Some(length))
    }

    /// At most this many bytes; fewer at the end of the file. The length is not believed before the bytes are there.
    fn take(&mut self, length: u64) -> Result<Vec<u8>, ImportError> {
        let mut out = Vec::new();
        (&mut *self.input).take(length).read_to_end(&mut out)?;
        self.at += out.len() as u64;
        Ok(out)
    }
}

/// Reads a message; `false` when it is damaged.
fn message(bytes: &[u8], at: u64, import: &mut Import<'_>) -> bool {
    let mut fields = Fields::new(bytes);
    let mut whole = true;
    for (number, value) in fields.by_ref() {
        if let (1, Value::Bytes(inner)) = (number, value) {
            whole &= resource_spans(inner, at, import);
        }
    }
    if let Some((1, rest)) = fields.cut() {
        resource_spans(rest, at, import);
    }
    whole && fields.damaged_at().is_none()
}

fn resource_spans(bytes: &[u8], at: u64, import: &mut Import<'_>) -> bool {
    let first = import.session.traces.spans.len();
    let mut resource = None;
    let mut whole = true;
    let mut fields = Fields::new(bytes);
    let mut take = |number: u64, inner: &[u8], import: &mut Import<'_>| match number {
        1 => {
            let list: Vec<_> = Fields::new(inner).filter(|(n, _)| *n == 1).map(|(_, kv)| key_value(kv.bytes())).collect();
            resource = Some(store_resource(&list, import));
            true
        }
        // 1000 is the old name of the same block.
        2 | 1000 => scope_spans(inner, at, import),
        _ => true,
    };
    for (number, value) in fields.by_ref() {
        whole &= take(number, value.bytes(), import);
    }
    if let Some((number, rest)) = fields.cut() {
        take(number, rest, import);
    }
    settle(first, resource, import);
    whole && fields.damaged_at().is_none()
}

fn scope_spans(bytes: &[u8], at: u64, import: &mut Import<'_>) -> bool {
    let first = import.session.traces.spans.len();
    let mut scope = StringId::NONE;
    let mut whole = true;
    let mut fields = Fields::new(bytes);
    for (number, value) in fields.by_ref() {
        match number {
            1 => {
                let name = Fields::new(value.bytes()).filter(|(n, _)| *n == 1).last();
                scope = import.session.strings.intern(&name.map_or_else(Default::default, |(_, v)| String::from_utf8_lossy(v.bytes())));
            }
            2 => {
                import.ledger.records_in += 1;
                if span(value.bytes(), import) {
                    continue;
                }
                whole = false;
            }
            _ => {}
        }
    }
    if let Some((2, _)) = fields.cut() {
        import.ledger.records_in += 1;
    }
    let rows = first..import.session.traces.spans.len();
    import.session.traces.spans.scope[rows].fill(scope);
    let damaged = fields.damaged_at();
    if let Some(offset) = damaged {
        import.report(CUT, At::Byte(at + offset as u64), "inside a list of spans");
    }
    whole && damaged.is_none()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Stores a span; `false` when its message is damaged, and then it is left out.
fn span(bytes: &[u8], import: &mut Import<'_>) -> bool {
    let mut d = Draft { end_ns: Some(0), ..Draft::default() };
    let mut status = Status::default();
    let mut message = String::new();
    let mut fields = Fields::new(bytes);
    let nanos = |value: Value<'_>| i64::try_from(value.u64()).unwrap_or(i64::MAX);
    for (number, value) in fields.by_ref() {
        match number {
            1 => d.trace = hex(value.bytes()).into(),
            2 => d.id = hex(value.bytes()).into(),
            4 => d.parent = hex(value.bytes()).into(),
            5 => d.name = String::from_utf8_lossy(value.bytes()),
            6 => d.kind = kind(&Scalar::Int(value.i64())),
            7 => d.start_ns = nanos(value),
            8 => d.end_ns = Some(nanos(value)),
            9 => d.attrs.push(key_value(value.bytes())),
            11 => {
                let mut event = DraftEvent { attrs: attributes(value.bytes(), 3), ..DraftEvent::default() };
                for (number, value) in Fields::new(value.bytes()) {
                    match number {
                        1 => event.time_ns = Some(nanos(value)),
                        2 => event.name = String::from_utf8_lossy(value.bytes()),
                        _ => {}
                    }
                }
                d.events.push(event);
            }
            13 => {
                let mut link = DraftLink { attrs: attributes(value.bytes(), 4), ..DraftLink::default() };
                for (number, value) in Fields::new(value.bytes()) {
                    match number {
                        1 => link.trace = hex(value.bytes()).into(),
                        2 => link.span = hex(value.bytes()).into(),
                        _ => {}
                    }
                }
                d.links.push(link);
            }
            15 => {
                for (number, value) in Fields::new(value.bytes()) {
                    match number {
                        2 => message = String::from_utf8_lossy(value.bytes()).into_owned(),
                        3 => status.code = value.i64(),
                        _ => {}
                    }
                }
            }
            16 => status.flags = value.i64(),
            _ => {}
        }
    }
    if fields.damaged_at().is_some() {
        return false;
    }
    d.text("otel.status_description", message);
    store(d, &status, import);
    true
}
