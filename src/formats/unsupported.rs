//! Files that no format reads but that are known: what they are, and how to get a form that is read. The kinds themselves
//! stand in [`super::unsupported_kinds`]; a kind leaves that table when a format learns to read it.

use super::json::{Outline, outline};
use super::json_outline::has_under;
use super::unsupported_kinds::KINDS;
use super::wire::{Fields, Value};
use super::{ImportError, Prefix};

/// A kind of file that is known and not read. Shown as "it is `what`; `instead`."
#[derive(Debug)]
pub struct Kind {
    /// What it is, with its article: `a Linux perf.data recording`.
    pub what: &'static str,
    /// What to do instead, as a command to the reader, without full stop.
    pub instead: &'static str,
    /// Any of these tells it.
    pub marks: &'static [Mark],
}

/// What tells a kind.
#[derive(Debug)]
pub enum Mark {
    /// These bytes at this offset.
    At(usize, &'static [u8]),
    /// The text starts so, after white space, in any case.
    Start(&'static str),
    /// The text starts so, after white space, and holds the other text in its first [`HEAD`] bytes.
    StartHolds(&'static str, &'static str),
    /// The file is binary and holds these bytes in its first [`HEAD`] bytes.
    Binary(&'static [u8]),
    /// JSON with all of these keys in its outermost object, or in the first object of its outermost array.
    Keys(&'static [&'static str]),
    /// As `Keys`, and the text holds this too.
    KeysHold(&'static [&'static str], &'static str),
    /// JSON with all of the second keys in the first object that is reached through the first ones.
    Under(&'static [&'static str], &'static [&'static str]),
    /// Something else about the bytes.
    Test(fn(&[u8]) -> bool),
}

/// How far text and bytes are searched.
pub const HEAD: usize = 64 * 1024;

/// What the file is, if it is a known kind that no format reads.
pub fn kind(prefix: &Prefix<'_>) -> Option<&'static Kind> {
    let start = Start::new(prefix);
    KINDS.iter().find(|kind| kind.marks.iter().any(|mark| start.has(mark)))
}

/// The error for it.
pub fn error(prefix: &Prefix<'_>) -> Option<ImportError> {
    kind(prefix).map(|kind| ImportError::Unsupported(format!("it is {}; {}.", kind.what, kind.instead)))
}

/// A file's first bytes, looked at in several ways.
struct Start<'a> {
    bytes: &'a [u8],
    text: &'a str,
    /// Whether bytes were met that text does not hold.
    binary: bool,
    outline: Option<Outline>,
}

impl<'a> Start<'a> {
    fn new(prefix: &Prefix<'a>) -> Start<'a> {
        let head = Prefix { bytes: &prefix.bytes[..prefix.bytes.len().min(HEAD)], complete: false };
        let text = head.text();
        // Four bytes are the longest character that the end of the prefix may cut.
        let binary = text.len() + 4 <= head.bytes.len() || text.contains('\0');
        Start { bytes: head.bytes, text: text.trim_start(), binary, outline: outline(prefix.bytes) }
    }

    fn starts(&self, with: &str) -> bool {
        self.text.as_bytes().get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with.as_bytes()))
    }

    fn has_keys(&self, keys: &[&str]) -> bool {
        self.outline.as_ref().is_some_and(|o| keys.iter().all(|key| o.has(&[key])))
    }

    fn has(&self, mark: &Mark) -> bool {
        match mark {
            Mark::At(offset, bytes) => self.bytes.get(*offset..).is_some_and(|rest| rest.starts_with(bytes)),
            Mark::Start(text) => self.starts(text),
            Mark::StartHolds(text, held) => self.starts(text) && self.text.contains(held),
            Mark::Binary(bytes) => self.binary && self.bytes.windows(bytes.len()).any(|window| window == *bytes),
            Mark::Keys(keys) => self.has_keys(keys),
            Mark::KeysHold(keys, held) => self.has_keys(keys) && self.text.contains(held),
            Mark::Under(path, keys) => has_under(self.bytes, path, keys),
            Mark::Test(test) => test(self.bytes),
        }
    }
}

/// A Perfetto trace (`perfetto/trace/trace.proto`): nothing but packets in field 1, and packets carry a time (8), a sequence
/// (10) or a trusted user (3) as plain numbers.
pub(super) fn is_perfetto(bytes: &[u8]) -> bool {
    let mut packets = 0;
    let mut told = 0;
    for (number, value) in Fields::new(bytes).take(50) {
        let (1, Value::Bytes(packet)) = (number, value) else { return false };
        packets += 1;
        let mut fields = Fields::new(packet);
        told += u32::from(fields.any(|(n, v)| matches!((n, v), (3 | 8 | 10, Value::Int(_)))));
    }
    packets > 1 && told * 2 > packets
}

/// Python's marshalled `cProfile` tables: a dict whose first key is a tuple of three (file, line, function).
pub(super) fn is_cprofile(bytes: &[u8]) -> bool {
    // Reference flags (0x80) may be set on any object.
    let [dict, tuple, count, ..] = bytes else { return false };
    dict & 0x7f == b'{' && matches!((tuple & 0x7f, count), (b')' | b'(', 3))
}

/// An OTLP protobuf message: resource attributes have a key in field 1, so its length stands before it.
pub(super) fn is_otlp_protobuf(bytes: &[u8]) -> bool {
    let keys: [&[u8]; 3] = [b"\x0a\x0cservice.name\x12", b"\x0a\x16telemetry.sdk.language\x12", b"\x0a\x12telemetry.sdk.name\x12"];
    let keyed = |key: &[u8]| bytes.windows(key.len()).any(|window| window == key);
    // A file of the collector's exporter puts four bytes of length before each message.
    let message = bytes.first() == Some(&0x0a) || bytes.get(4) == Some(&0x0a);
    message && keys.into_iter().any(keyed)
}

/// The first event of an ETL file is a system trace header behind the 72 bytes of its buffer's header.
pub(super) fn is_etl(bytes: &[u8]) -> bool {
    let size = bytes.get(..4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes);
    let header = bytes.get(72..76);
    // Version 2, header type 1 (32 bits) or 2 (64 bits), flags "trace header" and "event trace".
    matches!(header, Some([2, 0, 1 | 2, 0xc0])) && size.is_multiple_of(1024) && size > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::{FORMATS, Sniff};

    fn told(bytes: &[u8]) -> &'static str {
        kind(&Prefix { bytes, complete: true }).map_or("", |kind| kind.what)
    }

    #[test]
    fn protobuf_messages_are_told_apart() {
        // Resource spans { resource { attribute { key service.name, value { string shop } } } }
        let resource_spans = b"\x0a\x1a\x0a\x18\x0a\x16\x0a\x0cservice.name\x12\x06\x0a\x04shop";
        assert!(told(resource_spans).contains("OTLP"), "{}", told(resource_spans));
        // Two packets, each with a time and a sequence.
        let packets = b"\x0a\x04\x40\x05\x50\x01\x0a\x04\x40\x06\x50\x01";
        assert!(told(packets).contains("Perfetto"), "{}", told(packets));
        for foreign in [&resource_spans[..], packets] {
            let prefix = Prefix { bytes: foreign, complete: true };
            assert!(FORMATS.iter().all(|f| f.sniff(&prefix) < Sniff::Certain));
        }
        // A profile whose only sample type is two numbers.
        assert_eq!(told(b"\x0a\x04\x08\x01\x10\x02\x32\x00\x32\x03cpu"), "");
    }

    #[test]
    fn every_kind_reads_as_one_sentence() {
        for kind in KINDS {
            assert!(
                !kind.marks.is_empty()
                    && ["a ", "an ", "compressed ", "output ", "spans ", "stacks ", "Jaeger ", "Open", "Zipkin "]
                        .iter()
                        .any(|s| kind.what.starts_with(s)),
                "{}",
                kind.what
            );
            let sentence = format!("{}; {}", kind.what, kind.instead);
            assert!(!sentence.ends_with('.') && !sentence.contains(". "), "{sentence}");
        }
    }

    #[test]
    fn ordinary_text_is_no_kind() {
        for text in ["main;work 12\nmain;rest 3\n", "swapper 0 [000] 1.0: cycles:\n", "{}", "[]", "{\"a\":1}", "hello", ""] {
            assert_eq!(told(text.as_bytes()), "", "{text:?}");
        }
    }
}
