//! From a file's bytes to a recognised format: unwrapping, sniffing, reading, and the ledger.

use super::{
    FORMATS, Format, Import, ImportError, LONG_PREFIX_BYTES, Limits, PREFIX_BYTES, Prefix, Progress, Sniff, describe_start, detect,
    unsupported,
};
use crate::base::ids::SourceId;
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use crate::model::{Session, Source};
use std::cell::Cell;
use std::io::{BufRead, BufReader, Read};
use std::rc::Rc;

const GZIP_DAMAGED: DiagnosticCode = DiagnosticCode {
    code: "container/gzip-damaged",
    level: Level::DataLoss,
    message: "The gzip stream is cut or damaged; what could be inflated was read.",
};

/// Reads one file into the session and appends its [`Source`]. Never fails: what went wrong is in the source.
/// `progress` is called with wrapped bytes and rows; returning `false` stops.
pub fn open(
    session: &mut Session,
    file_name: &str,
    size: u64,
    reader: Box<dyn Read>,
    limits: Limits,
    progress: &mut dyn FnMut(Progress) -> bool,
) -> SourceId {
    let id = SourceId::from_index(session.sources.len());
    session.sources.push(Source { file: file_name.to_string(), bytes: size, ..Source::default() });
    let consumed = Rc::new(Cell::new(0));
    let mut import = Import {
        session,
        source: id,
        file_name,
        ledger: Default::default(),
        limits,
        progress,
        consumed: consumed.clone(),
        timeline: None,
        has_spans: false,
    };
    let mut container = Vec::new();
    let (format, result, raw_bytes) = read(&mut import, reader, &mut container);
    let (ledger, timeline, has_spans) = (std::mem::take(&mut import.ledger), import.timeline, import.has_spans);
    let source = &mut session.sources[id.index()];
    source.format = format.map_or(String::new(), |f| f.id().to_string());
    source.container = container;
    source.bytes = if size == 0 { consumed.get() } else { size };
    source.raw_bytes = raw_bytes;
    source.error = result.err().map(|e| e.to_string());
    source.ledger = ledger;
    source.timeline = timeline;
    source.has_spans = has_spans;
    id
}

type Outcome = (Option<&'static dyn Format>, Result<(), ImportError>, u64);

fn read(import: &mut Import<'_>, reader: Box<dyn Read>, container: &mut Vec<String>) -> Outcome {
    let counted = Counting { inner: reader, count: import.consumed.clone() };
    let mut wrapped: Box<dyn BufRead> = Box::new(BufReader::with_capacity(1 << 18, counted));
    let damage = Rc::new(Cell::new(None));
    // A gzip file inside a gzip file occurs when a server compresses a download; more layers do not.
    for _ in 0..2 {
        match wrapped.fill_buf() {
            Ok([0x1f, 0x8b, ..]) => {
                container.push("gzip".to_string());
                let inflater = Inflater {
                    inner: flate2::bufread::MultiGzDecoder::new(wrapped),
                    damage: damage.clone(),
                    out: 0,
                    consumed: import.consumed.clone(),
                    ratio: import.limits.max_inflate_ratio,
                };
                wrapped = Box::new(BufReader::with_capacity(1 << 18, inflater));
            }
            Ok(_) => break,
            Err(e) => return (None, Err(e.into()), 0),
        }
    }
    if let Some(big_endian) = wrapped.fill_buf().ok().and_then(super::utf16::mark) {
        container.push("utf-16".to_string());
        wrapped = Box::new(BufReader::new(super::utf16::Utf16Reader::new(wrapped, big_endian)));
    }
    let raw = Rc::new(Cell::new(0));
    let mut input = Peeked { head: Vec::new(), at: 0, rest: wrapped, raw: raw.clone(), max_bytes: import.limits.max_bytes };
    let outcome = recognise_and_read(import, &mut input);
    if let Some(reason) = damage.take() {
        import.report(GZIP_DAMAGED, At::Byte(raw.get()), &reason);
    }
    (outcome.0, outcome.1, raw.get())
}

fn recognise_and_read(import: &mut Import<'_>, input: &mut Peeked) -> (Option<&'static dyn Format>, Result<(), ImportError>) {
    let mut found = None;
    for length in [PREFIX_BYTES, LONG_PREFIX_BYTES] {
        if let Err(e) = input.peek(length) {
            return (None, Err(e.into()));
        }
        let complete = input.head.len() < length;
        found = detect(&Prefix { bytes: strip_mark(&input.head), complete });
        if found.is_some() || complete {
            break;
        }
    }
    let start = strip_mark(&input.head);
    // What is only similar to a format must not hide what the file really is.
    if found.is_none_or(|(_, sure)| sure < Sniff::Certain)
        && let Some(error) = unsupported::error(&Prefix { bytes: start, complete: false })
    {
        return (None, Err(error));
    }
    let Some((format, _)) = found else {
        let error = if start.iter().all(u8::is_ascii_whitespace) {
            ImportError::Empty
        } else {
            ImportError::Unrecognized { start: describe_start(start) }
        };
        return (None, Err(error));
    };
    input.at = input.head.len() - strip_mark(&input.head).len();
    (Some(format), format.read(input, import))
}

/// A format by id, for tests and for a user's override.
pub fn format_by_id(id: &str) -> Option<&'static dyn Format> {
    FORMATS.iter().copied().find(|f| f.id() == id)
}

fn strip_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// Counts the bytes of the wrapped file.
pub struct Counting {
    /// The bytes.
    pub inner: Box<dyn Read>,
    /// How many were read.
    pub count: Rc<Cell<u64>>,
}

impl Read for Counting {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.count.set(self.count.get() + n as u64);
        Ok(n)
    }
}

/// Inflates; damage ends the stream and is remembered, so that formats read what is there.
struct Inflater<R: BufRead> {
    inner: flate2::bufread::MultiGzDecoder<R>,
    damage: Rc<Cell<Option<String>>>,
    out: u64,
    consumed: Rc<Cell<u64>>,
    ratio: u64,
}

impl<R: BufRead> Read for Inflater<R> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        match self.inner.read(buf) {
            Ok(n) => {
                self.out += n as u64;
                if self.out > 64 << 20 && self.out / self.ratio > self.consumed.get() {
                    self.damage.set(Some(format!("inflates to more than {} times its size; stopped", self.ratio)));
                    return Ok(0);
                }
                Ok(n)
            }
            Err(e) => {
                self.damage.set(Some(e.to_string()));
                Ok(0)
            }
        }
    }
}

/// A reader whose first bytes were looked at.
struct Peeked {
    head: Vec<u8>,
    at: usize,
    rest: Box<dyn BufRead>,
    raw: Rc<Cell<u64>>,
    max_bytes: u64,
}

impl Peeked {
    fn peek(&mut self, length: usize) -> std::io::Result<()> {
        while self.head.len() < length {
            let buf = self.rest.fill_buf()?;
            if buf.is_empty() {
                break;
            }
            let n = buf.len().min(length - self.head.len());
            self.head.extend_from_slice(&buf[..n]);
            self.rest.consume(n);
        }
        self.raw.set(self.head.len() as u64);
        Ok(())
    }
}

impl Read for Peeked {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let available = self.fill_buf()?;
        let n = available.len().min(buf.len());
        buf[..n].copy_from_slice(&available[..n]);
        self.consume(n);
        Ok(n)
    }
}

impl BufRead for Peeked {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        if self.at < self.head.len() {
            return Ok(&self.head[self.at..]);
        }
        if self.raw.get() > self.max_bytes {
            return Err(std::io::Error::other(format!("more than {} bytes after unwrapping, which is the limit", self.max_bytes)));
        }
        self.rest.fill_buf()
    }
    fn consume(&mut self, n: usize) {
        if self.at < self.head.len() {
            self.at += n;
            if self.at >= self.head.len() {
                self.head = Vec::new();
                self.at = 0;
            }
        } else {
            self.rest.consume(n);
            self.raw.set(self.raw.get() + n as u64);
        }
    }
}
