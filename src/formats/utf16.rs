//! UTF-16 text as UTF-8: what PowerShell writes when a profile is redirected into a file.

use std::io::{BufRead, Read};

/// Reads UTF-16 with a byte order mark from `inner` and gives UTF-8. Lone surrogates become U+FFFD.
pub struct Utf16Reader<R: BufRead> {
    inner: R,
    big_endian: bool,
    /// Encoded text not yet given out.
    out: Vec<u8>,
    at: usize,
    /// A leading surrogate at the end of the last chunk.
    pending: Option<u16>,
    started: bool,
}

/// Whether these bytes begin with a UTF-16 byte order mark, and which.
pub fn mark(bytes: &[u8]) -> Option<bool> {
    match bytes {
        [0xfe, 0xff, ..] => Some(true),
        [0xff, 0xfe, ..] => Some(false),
        _ => None,
    }
}

impl<R: BufRead> Utf16Reader<R> {
    /// `big_endian` as [`mark`] found it; the mark itself is still in `inner`.
    pub fn new(inner: R, big_endian: bool) -> Utf16Reader<R> {
        Utf16Reader { inner, big_endian, out: Vec::new(), at: 0, pending: None, started: false }
    }

    fn refill(&mut self) -> std::io::Result<()> {
        self.out.clear();
        self.at = 0;
        let mut chunk = vec![0; 16 * 1024];
        let mut filled = 0;
        while filled < chunk.len() {
            match self.inner.read(&mut chunk[filled..])? {
                0 => break,
                n => filled += n,
            }
        }
        let units = chunk[..filled].chunks(2).map(|pair| match *pair {
            [a, b] if self.big_endian => u16::from_be_bytes([a, b]),
            [a, b] => u16::from_le_bytes([a, b]),
            // A file cut in the middle of a unit.
            _ => 0xfffd,
        });
        let mut all: Vec<u16> = self.pending.take().into_iter().chain(units).collect();
        if !self.started && !all.is_empty() {
            all.remove(0);
            self.started = true;
        }
        if filled == chunk.len() {
            self.pending = all.pop_if(|last| (0xd800..0xdc00).contains(last));
        }
        for c in char::decode_utf16(all) {
            let mut buffer = [0; 4];
            self.out.extend_from_slice(c.unwrap_or('\u{fffd}').encode_utf8(&mut buffer).as_bytes());
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Utf16Reader<R> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        if self.at >= self.out.len() {
            self.refill()?;
        }
        let n = buf.len().min(self.out.len() - self.at);
        buf[..n].copy_from_slice(&self.out[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_byte_orders_and_chunk_borders() {
        let text = "a😀".repeat(9000);
        for big in [true, false] {
            let bytes: Vec<u8> = std::iter::once(0xfeff)
                .chain(text.encode_utf16())
                .flat_map(|u| if big { u.to_be_bytes() } else { u.to_le_bytes() })
                .collect();
            assert_eq!(mark(&bytes), Some(big));
            let mut out = String::new();
            Utf16Reader::new(&bytes[..], big).read_to_string(&mut out).unwrap();
            assert!(out == text, "big endian {big}");
        }
    }
}
