//! A forward-only JSON scanner over a stream. It walks objects and arrays without building a tree, and cuts out the text of
//! one record (a span, an event) at a time; serde then reads that record. A record that is not JSON is lost alone.

use super::ImportError;
pub use super::json_outline::{Outline, keys_under, outline};
use super::json_quick::Quick;
pub use super::json_value::{Pairs, Scalar, Text};
use std::io::BufRead;

/// Why scanning cannot go on.
#[derive(Clone, Debug, PartialEq)]
pub enum Broken {
    /// The text ends inside a value.
    End,
    /// A character that cannot stand here: byte offset and what was wanted.
    Unexpected(u64, &'static str),
    /// The bytes could not be had.
    Io(String),
}

impl Broken {
    /// As an import error of a format.
    pub fn into_error(self, format: &'static str) -> ImportError {
        match self {
            Broken::Io(reason) => ImportError::Io(reason),
            other => ImportError::Malformed { format, reason: other.to_string() },
        }
    }
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Broken::End => f.write_str("the file ends inside a value"),
            Broken::Unexpected(at, wanted) => write!(f, "byte {at}: expected {wanted}"),
            Broken::Io(reason) => f.write_str(reason),
        }
    }
}

type Result<T> = std::result::Result<T, Broken>;

/// Why a reader of JSON stops: the text is broken, or the import ends.
#[derive(Clone, Debug, PartialEq)]
pub enum Stop {
    /// The text.
    Broken(Broken),
    /// The import.
    Import(ImportError),
}

impl From<Broken> for Stop {
    fn from(b: Broken) -> Stop {
        Stop::Broken(b)
    }
}

impl From<ImportError> for Stop {
    fn from(e: ImportError) -> Stop {
        Stop::Import(e)
    }
}

/// Which bytes are in a set.
const fn set(members: &[u8]) -> [bool; 256] {
    let mut out = [false; 256];
    let mut i = 0;
    while i < members.len() {
        out[members[i] as usize] = true;
        i += 1;
    }
    out
}

const STRUCTURE: [bool; 256] = set(b"\"{}[]");
const ENDS_SCALAR: [bool; 256] = set(b",}]: \n\r\t");

/// The scanner.
pub struct Json<'r> {
    input: &'r mut dyn BufRead,
    buf: Vec<u8>,
    at: usize,
    /// Offset of `buf[0]` in the file.
    base: u64,
    /// The byte before `buf[0]`; 0 at the start.
    before: u8,
    /// Offset of the comma that was consumed last, while nothing but white space followed it.
    comma: Option<u64>,
}

impl<'r> Json<'r> {
    /// Scans from the reader's position.
    pub fn new(input: &'r mut dyn BufRead) -> Json<'r> {
        Json::at(input, 0)
    }

    /// Scans from the reader's position, which is this offset of the file.
    pub fn at(input: &'r mut dyn BufRead, base: u64) -> Json<'r> {
        Json { input, buf: Vec::new(), at: 0, base, before: 0, comma: None }
    }

    /// Offset of the next byte.
    pub fn position(&self) -> u64 {
        self.base + self.at as u64
    }

    /// Replaces the consumed buffer by the next bytes; `false` at the end of the file.
    fn refill(&mut self) -> Result<bool> {
        self.before = self.buf.last().copied().unwrap_or(self.before);
        self.base += self.buf.len() as u64;
        self.buf.clear();
        self.at = 0;
        self.append()
    }

    fn append(&mut self) -> Result<bool> {
        let bytes = self.input.fill_buf().map_err(|e| Broken::Io(e.to_string()))?;
        self.buf.extend_from_slice(bytes);
        let n = bytes.len();
        self.input.consume(n);
        Ok(n > 0)
    }

    /// At most `n` bytes from here on, without consuming them; fewer only at the end of the file.
    pub fn ahead(&mut self, n: usize) -> Result<&[u8]> {
        while self.buf.len() - self.at < n {
            if self.at > 0 {
                self.before = self.buf[self.at - 1];
                self.base += self.at as u64;
                self.buf.drain(..self.at);
                self.at = 0;
            }
            if !self.append()? {
                break;
            }
        }
        Ok(&self.buf[self.at..self.buf.len().min(self.at + n)])
    }

    /// Passes over this many bytes that [`Json::ahead`] has shown.
    pub fn pass(&mut self, n: usize) {
        self.at = (self.at + n).min(self.buf.len());
    }

    /// The byte before this place; 0 at the start.
    pub fn previous(&self) -> u8 {
        if self.at > 0 { self.buf[self.at - 1] } else { self.before }
    }

    /// Offset of the comma before this place, if only white space lies between.
    pub fn comma(&self) -> Option<u64> {
        self.comma
    }

    /// The next byte that is not white space; `None` at the end of the file.
    pub fn peek(&mut self) -> Result<Option<u8>> {
        loop {
            while let Some(&b) = self.buf.get(self.at) {
                if !matches!(b, b' ' | b'\n' | b'\r' | b'\t') {
                    return Ok(Some(b));
                }
                self.at += 1;
            }
            if !self.refill()? {
                return Ok(None);
            }
        }
    }

    /// Consumes this byte if it is next.
    pub fn eat(&mut self, byte: u8) -> Result<bool> {
        let found = self.peek()? == Some(byte);
        if found {
            self.comma = (byte == b',').then(|| self.position());
            self.at += 1;
        }
        Ok(found)
    }

    /// Inside an object: reads the next key and its colon. `false` when the object ended.
    ///
    /// # Errors
    /// [`Broken`] where the text is no object.
    pub fn next_key(&mut self, key: &mut String) -> Result<bool> {
        loop {
            match self.peek()? {
                None => return Err(Broken::End),
                Some(b'}') => {
                    self.at += 1;
                    return Ok(false);
                }
                Some(b',') => self.at += 1,
                Some(b'"') => break,
                Some(_) => return Err(Broken::Unexpected(self.position(), "a key or `}`")),
            }
        }
        key.clear();
        // Nearly all keys are plain, and stand in the buffer with their colon.
        let plain = self.quick(|quick| {
            key.push_str(std::str::from_utf8(quick.key()?).ok()?);
            Some(())
        });
        if plain.is_some() {
            return Ok(true);
        }
        let mut raw = Vec::new();
        self.raw(&mut raw)?;
        let text = serde_json::from_slice::<Text<'_>>(&raw).map(|t| t.0);
        key.push_str(&text.unwrap_or_else(|_| String::from_utf8_lossy(&raw)));
        if self.eat(b':')? { Ok(true) } else { Err(Broken::Unexpected(self.position(), "`:`")) }
    }

    /// Inside an array: goes to the next element. `false` when the array ended. Extra commas are passed over.
    ///
    /// # Errors
    /// [`Broken::End`] when the file ends first.
    pub fn next_item(&mut self) -> Result<bool> {
        self.comma = None;
        loop {
            match self.peek()? {
                None => return Err(Broken::End),
                Some(b']') => {
                    self.at += 1;
                    return Ok(false);
                }
                Some(b',') => {
                    self.comma = Some(self.position());
                    self.at += 1;
                }
                Some(b'}' | b':') => return Err(Broken::Unexpected(self.position(), "a value or `]`")),
                Some(_) => return Ok(true),
            }
        }
    }

    /// Cuts out the text of the next value. Brackets are counted, not matched by kind: the reader of the text does that.
    ///
    /// # Errors
    /// [`Broken::End`] when the file ends inside the value.
    pub fn raw(&mut self, out: &mut Vec<u8>) -> Result<()> {
        self.walk(Some(out))
    }

    /// Reads the next value where it stands. `None`, with nothing consumed, when `read` gave up: see [`Quick`].
    #[inline]
    pub fn quick<T>(&mut self, read: impl FnOnce(&mut Quick<'_>) -> Option<T>) -> Option<T> {
        let mut quick = Quick::new(&self.buf, self.at);
        let out = read(&mut quick)?;
        self.at = quick.position();
        self.comma = None;
        Some(out)
    }

    /// Passes over the next value.
    ///
    /// # Errors
    /// As [`Json::raw`].
    pub fn skip(&mut self) -> Result<()> {
        self.walk(None)
    }

    fn walk(&mut self, mut out: Option<&mut Vec<u8>>) -> Result<()> {
        if let Some(out) = &mut out {
            out.clear();
        }
        let Some(first) = self.peek()? else { return Err(Broken::End) };
        if matches!(first, b',' | b'}' | b']' | b':') {
            return Err(Broken::Unexpected(self.position(), "a value"));
        }
        let scalar = !matches!(first, b'{' | b'[' | b'"');
        let (mut depth, mut in_string, mut escaped) = (0_u64, false, false);
        loop {
            let start = self.at;
            let mut done = false;
            // Tight loops over what says nothing: most of a file is inside of texts.
            let buf = &self.buf[..];
            let mut at = self.at;
            while at < buf.len() {
                if scalar {
                    if ENDS_SCALAR[buf[at] as usize] {
                        done = true;
                        break;
                    }
                    at += 1;
                    continue;
                }
                if in_string {
                    if escaped {
                        escaped = false;
                        at += 1;
                        continue;
                    }
                    while at < buf.len() && buf[at] != b'"' && buf[at] != b'\\' {
                        at += 1;
                    }
                    let Some(&b) = buf.get(at) else { break };
                    at += 1;
                    if b == b'\\' {
                        escaped = true;
                        continue;
                    }
                    in_string = false;
                    if depth == 0 {
                        done = true;
                        break;
                    }
                }
                while at < buf.len() && !STRUCTURE[buf[at] as usize] {
                    at += 1;
                }
                let Some(&b) = buf.get(at) else { break };
                at += 1;
                match b {
                    b'"' => in_string = true,
                    b'{' | b'[' => depth += 1,
                    _ => {
                        depth -= 1;
                        if depth == 0 {
                            done = true;
                            break;
                        }
                    }
                }
            }
            self.at = at;
            if let Some(out) = &mut out {
                out.extend_from_slice(&self.buf[start..self.at]);
            }
            if done {
                return Ok(());
            }
            if !self.refill()? {
                // A number may end with the file.
                return if scalar { Ok(()) } else { Err(Broken::End) };
            }
        }
    }

    /// Goes behind the next line end, to take up JSON lines after a broken one. `false` at the end of the file.
    ///
    /// # Errors
    /// [`Broken::Io`].
    pub fn next_line(&mut self) -> Result<bool> {
        loop {
            match self.buf[self.at..].iter().position(|b| *b == b'\n') {
                Some(n) => {
                    self.at += n + 1;
                    return Ok(true);
                }
                None if !self.refill()? => return Ok(false),
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_may_lie_across_any_two_buffers() {
        let text = br#"{"a\"b":["x\\",{"c":-1.5e3}],"d":"}"} 7 "#;
        for size in 1..text.len() {
            let mut reader = std::io::BufReader::with_capacity(size, &text[..]);
            let mut json = Json::new(&mut reader);
            let mut raw = Vec::new();
            json.raw(&mut raw).unwrap();
            assert_eq!(raw, text[..text.len() - 3], "{size}");
            json.raw(&mut raw).unwrap();
            assert_eq!((&raw[..], json.peek()), (&b"7"[..], Ok(None)));
        }
    }

    #[test]
    fn records_are_cut_out() {
        let mut text: &[u8] = br#"{"a":[{"x":"]}\"{"}, 12 ,],"b":null}"#;
        let mut json = Json::new(&mut text);
        let (mut key, mut raw) = (String::new(), Vec::new());
        assert!(json.eat(b'{').unwrap() && json.next_key(&mut key).unwrap() && json.eat(b'[').unwrap());
        assert!(json.next_item().unwrap());
        json.raw(&mut raw).unwrap();
        assert_eq!(raw, br#"{"x":"]}\"{"}"#);
        assert!(json.next_item().unwrap());
        json.raw(&mut raw).unwrap();
        assert_eq!(raw, b"12");
        assert!(!json.next_item().unwrap());
        assert!(json.next_key(&mut key).unwrap());
        json.skip().unwrap();
        assert!(!json.next_key(&mut key).unwrap());
        assert_eq!(json.peek().unwrap(), None);
    }
}
