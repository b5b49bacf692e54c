//! Readers that every opened file goes through: counting, looking ahead, and watching what is inflated.

use crate::model::diagnostics::DiagnosticCode;
use std::cell::{Cell, RefCell};
use std::io::{BufRead, BufReader, Read};
use std::rc::Rc;

/// Bytes per read of wrapped data.
const BUFFER: usize = 1 << 18;

/// A reader with a buffer of the usual size.
pub fn buffered<'a>(inner: Box<dyn Read + 'a>) -> Box<dyn BufRead + 'a> {
    Box::new(BufReader::with_capacity(BUFFER, inner))
}

/// Counts the bytes that pass.
pub struct Counting<'a> {
    /// The bytes.
    pub inner: Box<dyn Read + 'a>,
    /// How many were read.
    pub count: Rc<Cell<u64>>,
}

impl Read for Counting<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.count.set(self.count.get() + n as u64);
        Ok(n)
    }
}

/// What was wrong with wrappings, until the source that was read meanwhile takes it over.
pub type Damages = Rc<RefCell<Vec<(DiagnosticCode, String)>>>;

/// Bytes that come out of a wrapping. Damage ends them and is remembered, so that formats read what is there; so does more
/// than `ratio` times what went in, beyond 64 MiB.
pub struct Watched<'a> {
    /// The decoder.
    pub inner: Box<dyn Read + 'a>,
    /// What damage of it is called.
    pub code: DiagnosticCode,
    /// Where damage is noted.
    pub damages: Damages,
    /// Bytes that came out.
    pub out: u64,
    /// Bytes of the opened file that went in.
    pub consumed: Rc<Cell<u64>>,
    /// See [`super::Limits::max_inflate_ratio`].
    pub ratio: u64,
    /// Nothing more comes out.
    pub ended: bool,
}

impl Read for Watched<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        if self.ended {
            return Ok(0);
        }
        let reason = match self.inner.read(buf) {
            Ok(n) => {
                self.out += n as u64;
                if self.out <= 64 << 20 || self.out / self.ratio <= self.consumed.get() {
                    return Ok(n);
                }
                format!("it unpacks to more than {} times its size; stopped", self.ratio)
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => return Err(e),
            Err(e) => e.to_string(),
        };
        self.ended = true;
        self.damages.borrow_mut().push((self.code, reason));
        Ok(0)
    }
}

/// A reader whose first bytes were looked at.
pub struct Peeked<'a> {
    head: Vec<u8>,
    at: usize,
    rest: Box<dyn BufRead + 'a>,
    read: Rc<Cell<u64>>,
    max_bytes: u64,
}

impl<'a> Peeked<'a> {
    /// A reader that has looked at nothing yet.
    pub fn new(rest: Box<dyn BufRead + 'a>) -> Peeked<'a> {
        Peeked { head: Vec::new(), at: 0, rest, read: Rc::default(), max_bytes: u64::MAX }
    }

    /// More bytes than this are an error of reading.
    pub fn limit(&mut self, max_bytes: u64) {
        self.max_bytes = max_bytes;
    }

    /// How many bytes were had from the reader, those looked at included.
    pub fn counter(&self) -> Rc<Cell<u64>> {
        self.read.clone()
    }

    /// The first `length` bytes, fewer only when there are no more. To be called before anything is consumed.
    ///
    /// # Errors
    /// Those of the reader.
    pub fn peek(&mut self, length: usize) -> std::io::Result<&[u8]> {
        while self.head.len() < length {
            let buf = match self.rest.fill_buf() {
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            if buf.is_empty() {
                break;
            }
            let n = buf.len().min(length - self.head.len());
            self.head.extend_from_slice(&buf[..n]);
            self.rest.consume(n);
        }
        self.read.set(self.head.len() as u64);
        Ok(&self.head[..self.head.len().min(length)])
    }
}

impl Read for Peeked<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let available = self.fill_buf()?;
        let n = available.len().min(buf.len());
        buf[..n].copy_from_slice(&available[..n]);
        self.consume(n);
        Ok(n)
    }
}

impl BufRead for Peeked<'_> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        if self.at < self.head.len() {
            return Ok(&self.head[self.at..]);
        }
        if self.read.get() > self.max_bytes {
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
            self.read.set(self.read.get() + n as u64);
        }
    }
}

/// A reader that may look ahead anywhere.
pub struct Ahead<'a> {
    rest: Box<dyn BufRead + 'a>,
    /// Looked at and not consumed: from `at` on.
    seen: Vec<u8>,
    at: usize,
}

impl<'a> Ahead<'a> {
    /// At the start of the reader.
    pub fn new(rest: Box<dyn BufRead + 'a>) -> Ahead<'a> {
        Ahead { rest, seen: Vec::new(), at: 0 }
    }

    /// The next `n` bytes, fewer only at the end.
    ///
    /// # Errors
    /// Those of the reader.
    pub fn look(&mut self, n: usize) -> std::io::Result<&[u8]> {
        self.seen.drain(..std::mem::take(&mut self.at));
        while self.seen.len() < n {
            let buf = self.rest.fill_buf()?;
            if buf.is_empty() {
                break;
            }
            let step = buf.len().min(n - self.seen.len());
            self.seen.extend_from_slice(&buf[..step]);
            self.rest.consume(step);
        }
        Ok(&self.seen[..self.seen.len().min(n)])
    }
}

impl Read for Ahead<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let available = self.fill_buf()?;
        let n = available.len().min(buf.len());
        buf[..n].copy_from_slice(&available[..n]);
        self.consume(n);
        Ok(n)
    }
}

impl BufRead for Ahead<'_> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        if self.at < self.seen.len() { Ok(&self.seen[self.at..]) } else { self.rest.fill_buf() }
    }
    fn consume(&mut self, n: usize) {
        if self.at < self.seen.len() { self.at += n } else { self.rest.consume(n) }
    }
}

/// Appends up to `n` bytes; fewer at the end of the input. Room is taken as bytes arrive, whatever a length claims.
///
/// # Errors
/// What the input says.
pub fn append(input: &mut dyn BufRead, to: &mut Vec<u8>, n: usize) -> std::io::Result<usize> {
    let mut got = 0;
    while got < n {
        let bytes = input.fill_buf()?;
        if bytes.is_empty() {
            break;
        }
        let take = bytes.len().min(n - got);
        to.extend_from_slice(&bytes[..take]);
        input.consume(take);
        got += take;
    }
    Ok(got)
}
