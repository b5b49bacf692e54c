//! The lines of a file, lent from the reader's buffer: only a line that lies across two buffers is copied.

use std::io::{BufRead, Result};

/// A walk over lines.
pub struct Lines<'a> {
    input: &'a mut dyn BufRead,
    /// Bytes of the buffer that the last line took.
    used: usize,
    /// Offset of the next line.
    at: u64,
    /// A line across buffers.
    carried: Vec<u8>,
}

impl<'a> Lines<'a> {
    /// Begins at an offset of the file, which the input is at.
    pub fn new(input: &'a mut dyn BufRead, at: u64) -> Lines<'a> {
        Lines { input, used: 0, at, carried: Vec::new() }
    }

    /// The next line with its offset and without its line feed; `None` behind the last one.
    ///
    /// # Errors
    /// Those of the reader.
    pub fn line(&mut self) -> Result<Option<(u64, &[u8])>> {
        self.input.consume(std::mem::take(&mut self.used));
        let begin = self.at;
        if let Some(n) = memchr::memchr(b'\n', self.input.fill_buf()?) {
            self.used = n + 1;
            self.at += n as u64 + 1;
            return Ok(Some((begin, &self.input.fill_buf()?[..n])));
        }
        self.carried.clear();
        loop {
            let buffer = self.input.fill_buf()?;
            let end = memchr::memchr(b'\n', buffer);
            let taken = end.map_or(buffer.len(), |n| n + 1);
            self.carried.extend_from_slice(&buffer[..end.unwrap_or(taken)]);
            self.input.consume(taken);
            self.at += taken as u64;
            if end.is_some() {
                break;
            }
            if taken == 0 {
                return Ok((self.at > begin).then_some((begin, &self.carried[..])));
            }
        }
        Ok(Some((begin, &self.carried[..])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_their_offsets_do_not_depend_on_buffers() {
        for text in ["", "\n", "a", "a\n", "ab\n\ncdefghij\r\nk", "\n\n\nlonger than any buffer here\nx\n"] {
            let mut at = 0;
            let mut expected = Vec::new();
            for line in text.split_inclusive('\n') {
                expected.push((7 + at, line.strip_suffix('\n').unwrap_or(line).as_bytes().to_vec()));
                at += line.len() as u64;
            }
            for size in 1..text.len() + 2 {
                let mut reader = std::io::BufReader::with_capacity(size, text.as_bytes());
                let mut lines = Lines::new(&mut reader, 7);
                let mut got = Vec::new();
                while let Some((at, line)) = lines.line().unwrap() {
                    got.push((at, line.to_vec()));
                }
                assert_eq!(got, expected, "{text:?} by {size}");
            }
        }
    }
}
