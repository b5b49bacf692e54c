//! From a file's bytes to recognised formats: unwrapping, walking archives, sniffing, reading, and the ledgers.

use super::archive::{self, Kind, Member, Walk};
use super::carried::{self, Carried};
use super::stream::{Counting, Damages, Peeked, Watched, buffered};
use super::unwrap::{HEAD_BYTES, wrapping, wrapping_among};
use super::{
    Format, Import, ImportError, LONG_PREFIX_BYTES, Limits, PREFIX_BYTES, Prefix, Progress, Sniff, describe_start, detect_among,
    unsupported,
};
use crate::base::ids::SourceId;
use crate::model::diagnostics::At;
use crate::model::ledger::Ledger;
use crate::model::{ReadInPart, Session, Source};
use std::cell::Cell;
use std::io::{BufRead, BufReader, Read};
use std::rc::Rc;

/// Wrappings around one stream. A gzip file inside a gzip file occurs when a server compresses a download.
const MAX_LAYERS: usize = 4;

/// Reads one file into the session and appends its [`Source`], or one per member of an archive; the first is returned. Never
/// fails: what went wrong is in the source. `progress` is called with wrapped bytes and rows; returning `false` stops.
pub fn open(
    session: &mut Session,
    file_name: &str,
    size: u64,
    reader: Box<dyn Read>,
    limits: Limits,
    progress: &mut dyn FnMut(Progress) -> bool,
) -> SourceId {
    let id = SourceId::from_index(session.sources.len());
    let consumed = Rc::new(Cell::new(0));
    let counted = Counting { inner: reader, count: consumed.clone() };
    let file_index = session.next_file();
    let mut opener = Opener { session, file_index, limits, progress, consumed, damages: Rc::default(), nested: 0, stopped: false };
    opener.stream(file_name, size, Vec::new(), buffered(Box::new(counted)));
    id
}

/// One opened file on its way into the session.
struct Opener<'a> {
    session: &'a mut Session,
    file_index: u32,
    limits: Limits,
    progress: &'a mut dyn FnMut(Progress) -> bool,
    consumed: Rc<Cell<u64>>,
    damages: Damages,
    /// Archives around the current stream.
    nested: u32,
    /// The user has enough.
    stopped: bool,
}

impl Opener<'_> {
    /// Takes off the wrappings of a stream and reads what is in it.
    fn stream(&mut self, name: &str, size: u64, mut container: Vec<String>, wrapped: Box<dyn BufRead + '_>) {
        let mut stream = Peeked::new(wrapped);
        loop {
            let head = match stream.peek(HEAD_BYTES) {
                Ok(head) => head,
                Err(e) => return self.failed(name, size, container, &e.into()),
            };
            if let Some(wrapping) = wrapping(head) {
                if container.len() >= MAX_LAYERS * (self.nested as usize + 1) {
                    let sentence = format!("it is wrapped more than {MAX_LAYERS} times; unpack it and open what is in it.");
                    return self.failed(name, size, container, &ImportError::TooLarge(sentence));
                }
                container.push(wrapping.name.to_string());
                let Some(inner) = wrapping.open(Box::new(stream)) else {
                    carried::ask();
                    return self.failed(name, size, container, &not_carried(wrapping.name));
                };
                let unwrapped = Watched {
                    inner,
                    code: wrapping.damaged,
                    damages: self.damages.clone(),
                    out: 0,
                    consumed: self.consumed.clone(),
                    ratio: self.limits.max_inflate_ratio,
                    ended: false,
                };
                stream = Peeked::new(buffered(Box::new(unwrapped)));
                continue;
            }
            if let Some(kind) = archive::archive(head) {
                container.push(kind.to_string());
                let Some(open) = carried::carried().archive else {
                    carried::ask();
                    return self.failed(name, size, container, &not_carried(kind));
                };
                return self.archive(name, size, container, &mut *open(kind, Box::new(stream)));
            }
            if let Some(big_endian) = super::utf16::mark(head) {
                container.push("utf-16".to_string());
                stream = Peeked::new(Box::new(BufReader::new(super::utf16::Utf16Reader::new(stream, big_endian))));
            }
            return self.source(name, size, container, stream);
        }
    }

    /// Reads the bytes of one source.
    fn source(&mut self, name: &str, size: u64, container: Vec<String>, mut input: Peeked<'_>) {
        let id = SourceId::from_index(self.session.sources.len());
        let begun = self.consumed.get();
        self.session.sources.push(Source { file: name.to_string(), bytes: size, file_index: self.file_index, ..Source::default() });
        input.limit(self.limits.max_bytes);
        let raw = input.counter();
        let mut import = Import {
            session: self.session,
            source: id,
            file_name: name,
            ledger: Ledger::default(),
            limits: self.limits,
            progress: self.progress,
            consumed: self.consumed.clone(),
            timeline: None,
            has_spans: false,
        };
        let (format, result) = recognise_and_read(&mut import, &mut input);
        for (code, reason) in self.damages.take() {
            import.report(code, At::Byte(raw.get()), &reason);
        }
        let (mut ledger, timeline, has_spans) = (std::mem::take(&mut import.ledger), import.timeline, import.has_spans);
        self.session.account_for_attributes(id, &mut ledger);
        self.stopped |= result == Err(ImportError::Stopped);
        let source = &mut self.session.sources[id.index()];
        source.format = format.map_or(String::new(), |f| f.id().to_string());
        source.container = container;
        source.bytes = if size == 0 { self.consumed.get() - begun.min(self.consumed.get()) } else { size };
        source.raw_bytes = raw.get();
        if let Err(ImportError::TooLarge(why)) = &result
            && ledger.records_kept > 0
        {
            let read = (self.consumed.get() - begun.min(self.consumed.get())).min(source.bytes);
            source.partial = Some(ReadInPart { read, of: source.bytes, why: why.trim_end_matches('.').to_string() });
        }
        source.error = result.err().map(|e| e.to_string());
        source.ledger = ledger;
        source.timeline = timeline;
        source.has_spans = has_spans;
    }

    /// A row for bytes that could not be read.
    fn failed(&mut self, name: &str, size: u64, container: Vec<String>, error: &ImportError) {
        let mut ledger = Ledger::default();
        for (code, reason) in self.damages.take() {
            ledger.diagnostics.report(code, At::File, &reason);
        }
        let (file, error) = (name.to_string(), Some(error.to_string()));
        self.session.sources.push(Source { file, container, bytes: size, error, ledger, file_index: self.file_index, ..Source::default() });
    }

    /// Opens the members of an archive. It gets a row of its own, behind theirs, where there is something to say of it.
    fn archive(&mut self, name: &str, size: u64, container: Vec<String>, walk: &mut dyn Walk) {
        if self.nested >= archive::MAX_NESTED {
            let sentence =
                format!("archives lie in archives more than {} deep; unpack them and open what is in them.", archive::MAX_NESTED);
            return self.failed(name, size, container, &ImportError::TooLarge(sentence));
        }
        let first = self.session.sources.len();
        let mut ledger = Ledger::default();
        let (mut opened, mut unread) = (0, 0);
        let limit = loop {
            let member = match walk.next() {
                Ok(Some(member)) => member,
                Ok(None) => break None,
                Err(reason) => {
                    ledger.diagnostics.report(archive::BROKEN, At::File, &reason);
                    break None;
                }
            };
            ledger.records_in += 1;
            let place = At::Record(ledger.records_in);
            let at = self.session.sources.len();
            if member.kind == Kind::Other || member.size == Some(0) || archive::is_by_product(&member.name) {
                ledger.diagnostics.report(archive::SKIPPED, place, &member.name);
            } else {
                opened += 1;
                if opened > archive::MAX_MEMBERS {
                    break Some(format!("more than {} files", archive::MAX_MEMBERS));
                }
                self.member(name, &container, member, walk);
                ledger.records_kept += u64::from(self.session.sources[at..].iter().any(|s| s.error.is_none()));
            }
            let left = walk.leave();
            if let Ok(Some(reason)) = &left {
                match self.session.sources.get_mut(at) {
                    Some(source) => source.ledger.diagnostics.report(archive::CHECKSUM, At::File, reason),
                    None => ledger.diagnostics.report(archive::CHECKSUM, place, reason),
                }
            }
            // Of files that are nothing that is read here, a few get their sentence and the others are counted.
            if let [source] = &self.session.sources[at..]
                && source.format.is_empty()
                && source.error.is_some()
            {
                unread += 1;
                if unread > archive::MAX_UNREAD_ROWS {
                    ledger.diagnostics.report(archive::UNREAD, place, &source.file);
                    self.session.sources.pop();
                }
            }
            if let Err(reason) = left {
                ledger.diagnostics.report(archive::BROKEN, place, &reason);
                break None;
            }
            if self.stopped {
                break None;
            }
            if ledger.records_in >= archive::MAX_WALKED {
                break Some(format!("more than {} entries", archive::MAX_WALKED));
            }
            if self.limits.memory.pressed(self.session.bytes(), self.session.reduced.steps) {
                break Some("more than a page can hold".to_string());
            }
        };
        if let Some(text) = limit {
            ledger.diagnostics.report(archive::LIMIT, At::Record(ledger.records_in), &text);
        }
        for (code, reason) in self.damages.take() {
            ledger.diagnostics.report(code, At::File, &reason);
        }
        let kind = container.last().cloned().unwrap_or_default();
        let empty = self.session.sources.len() == first;
        if ledger.diagnostics.worst().is_none() && !empty {
            return;
        }
        let error = empty.then(|| format!("it is a {kind} archive without files: there is nothing in it to show."));
        self.session.sources.push(Source {
            file: name.to_string(),
            format: if empty { String::new() } else { kind },
            container,
            bytes: size,
            error,
            ledger,
            file_index: self.file_index,
            ..Source::default()
        });
    }

    fn member(&mut self, archive: &str, container: &[String], member: Member, walk: &mut dyn Walk) {
        let name = format!("{archive}/{}", archive::shown(&member.name));
        let size = member.size.unwrap_or(0);
        if let Kind::Locked(sentence) = member.kind {
            return self.failed(&name, size, container.to_vec(), &ImportError::Unsupported(format!("{sentence}.")));
        }
        self.nested += 1;
        self.stream(&name, size, container.to_vec(), buffered(Box::new(walk)));
        self.nested -= 1;
    }
}

fn not_carried(what: &str) -> ImportError {
    ImportError::Unsupported(format!("{what} is not read by this part of hotspan."))
}

/// What is known of the start of a source.
struct Start {
    /// The format and how sure it is.
    found: Option<(&'static dyn Format, Sniff)>,
    /// Bytes of a byte order mark.
    marked: usize,
}

fn recognise(formats: &[&'static dyn Format], input: &mut Peeked<'_>) -> std::io::Result<Start> {
    let mut start = Start { found: None, marked: 0 };
    for length in [PREFIX_BYTES, LONG_PREFIX_BYTES] {
        let head = input.peek(length)?;
        let complete = head.len() < length;
        let bytes = strip_mark(head);
        start.marked = head.len() - bytes.len();
        start.found = detect_among(formats, &Prefix { bytes, complete });
        if start.found.is_some() || complete {
            break;
        }
    }
    Ok(start)
}

/// Whether these bytes are something that a build with these parts recognises and cannot read. Looks at the start only, through
/// the same wrappings and in the same order as [`open`] does.
pub fn asks_for_more(carried: &Carried, reader: Box<dyn Read>) -> bool {
    let mut stream = Peeked::new(buffered(reader));
    for _ in 0..=MAX_LAYERS {
        let Ok(head) = stream.peek(HEAD_BYTES) else { return false };
        if let Some(wrapping) = wrapping_among(carried.wrappings, head) {
            let Some(inner) = wrapping.open(Box::new(stream)) else { return true };
            let (damages, consumed, ratio) = (Damages::default(), Rc::default(), Limits::default().max_inflate_ratio);
            let unwrapped = Watched { inner, code: wrapping.damaged, damages, out: 0, consumed, ratio, ended: false };
            stream = Peeked::new(buffered(Box::new(unwrapped)));
            continue;
        }
        if archive::archive(head).is_some() {
            return carried.archive.is_none();
        }
        if let Some(big_endian) = super::utf16::mark(head) {
            stream = Peeked::new(Box::new(BufReader::new(super::utf16::Utf16Reader::new(stream, big_endian))));
        }
        return recognise(carried.formats, &mut stream).is_ok_and(|start| start.found.is_some_and(|(format, _)| !format.is_carried()));
    }
    false
}

fn recognise_and_read(import: &mut Import<'_>, input: &mut Peeked<'_>) -> (Option<&'static dyn Format>, Result<(), ImportError>) {
    let Start { found, marked } = match recognise(carried::carried().formats, input) {
        Ok(start) => start,
        Err(e) => return (None, Err(e.into())),
    };
    let start = match input.peek(PREFIX_BYTES) {
        Ok(head) => strip_mark(head),
        Err(e) => return (None, Err(e.into())),
    };
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
    input.consume(marked);
    (Some(format), format.read(input, import))
}

/// A format by id, for tests and for a user's override.
pub fn format_by_id(id: &str) -> Option<&'static dyn Format> {
    carried::carried().formats.iter().copied().find(|f| f.id() == id)
}

fn strip_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}
