//! JSON records of the usual form, read in one pass where they stand in the buffer.
//!
//! The general way over a record cuts it out ([`super::json::Json::raw`]), checks it, and gives it to serde: it copes with
//! everything, mends what is almost JSON and reports it. Nearly all records need none of that. [`Quick`] reads those, and gives
//! up with `None` at anything else: what it accepts, the general way accepts with the same result and without a remark. It gives
//! up where the buffer ends, too. (Chrome traces of 200 MB: half of the processor time, in V8.)

use super::json_value::{Scalar, Text};
use std::borrow::Cow;

/// Objects and arrays inside of each other beyond this are left to the general way.
const MAX_DEPTH: u32 = 60;
/// Integers of so many digits are below 2^63.
const MAX_DIGITS: usize = 18;
/// Thousandths below this are the same by way of a double: its error there is less than a quarter.
const EXACT: u64 = 1 << 50;

/// A cursor over one record.
pub struct Quick<'a> {
    bytes: &'a [u8],
    begin: usize,
    at: usize,
    /// Bytes beyond ASCII were passed over: whether they are UTF-8 is still to be seen.
    wide: bool,
}

/// Bytes of a word (as its high bits) that end a run of plain text: quotes, backslashes, control characters. The lowest
/// marked byte is exact; those above it need not be ("Determine if a word has a zero byte", Bit Twiddling Hacks).
#[inline]
fn stops(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let zero = |w: u64| w.wrapping_sub(ONES) & !w;
    (zero(word ^ (ONES * b'"' as u64)) | zero(word ^ (ONES * b'\\' as u64)) | (word.wrapping_sub(ONES * 0x20) & !word)) & HIGH
}

impl<'a> Quick<'a> {
    /// Reads the record that begins at this place of the buffer.
    pub fn new(bytes: &'a [u8], at: usize) -> Quick<'a> {
        Quick { bytes, begin: at, at, wide: false }
    }

    /// The record, once all of it was passed; `None` when it is not UTF-8.
    pub fn record(&self) -> Option<&'a [u8]> {
        let record = self.bytes.get(self.begin..self.at)?;
        (!self.wide || std::str::from_utf8(record).is_ok()).then_some(record)
    }

    /// Offset of the next byte in the buffer.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The next byte that is not white space.
    #[inline]
    pub fn peek(&mut self) -> Option<u8> {
        loop {
            let b = *self.bytes.get(self.at)?;
            if !matches!(b, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(b);
            }
            self.at += 1;
        }
    }

    /// Consumes this byte, which has to be next.
    #[inline]
    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Reads an object: `member` is called for each key and reads its value. Keys with escapes are not usual.
    #[inline]
    pub fn object(&mut self, mut member: impl FnMut(&mut Self, &'a [u8]) -> Option<()>) -> Option<()> {
        self.expect(b'{')?;
        if self.peek()? == b'}' {
            self.at += 1;
            return Some(());
        }
        loop {
            let key = self.key()?;
            member(self, key)?;
            let b = self.peek()?;
            self.at += 1;
            match b {
                b',' => {}
                b'}' => return Some(()),
                _ => return None,
            }
        }
    }

    /// Reads an array: `item` reads each value.
    #[inline]
    pub fn array(&mut self, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.expect(b'[')?;
        if self.peek()? == b']' {
            self.at += 1;
            return Some(());
        }
        loop {
            item(self)?;
            let b = self.peek()?;
            self.at += 1;
            match b {
                b',' => {}
                b']' => return Some(()),
                _ => return None,
            }
        }
    }

    /// Reads an array into a list; null is none.
    #[inline]
    pub fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Option<Vec<T>>> {
        if self.peek()? == b'n' {
            return self.word(b"null", None);
        }
        let mut out = Vec::new();
        self.array(|q| {
            out.push(item(q)?);
            Some(())
        })?;
        Some(Some(out))
    }

    /// Reads a text; null is none.
    #[inline]
    pub fn text_or_null(&mut self) -> Option<Option<Text<'a>>> {
        if self.peek()? == b'n' { self.word(b"null", None) } else { self.text().map(|text| Some(Text(text))) }
    }

    /// A key and its colon.
    #[inline]
    pub fn key(&mut self) -> Option<&'a [u8]> {
        self.expect(b'"')?;
        let begin = self.at;
        self.run()?;
        let key = &self.bytes[begin..self.at];
        self.expect(b'"')?;
        self.expect(b':')?;
        Some(key)
    }

    /// Goes to the quote, backslash or control character that ends a run of plain text.
    #[inline]
    fn run(&mut self) -> Option<()> {
        let mut seen = 0;
        loop {
            let word = u64::from_le_bytes(*self.bytes.get(self.at..)?.first_chunk()?);
            let stop = stops(word);
            if stop == 0 {
                seen |= word;
                self.at += 8;
                continue;
            }
            // The marked byte and those behind it are no part of the run.
            seen |= word & ((stop & stop.wrapping_neg()) - 1);
            self.at += (stop.trailing_zeros() / 8) as usize;
            self.wide |= seen & 0x8080_8080_8080_8080 != 0;
            return Some(());
        }
    }

    /// A text, borrowed where it has no escapes.
    #[inline]
    pub fn text(&mut self) -> Option<Cow<'a, str>> {
        self.expect(b'"')?;
        let begin = self.at;
        self.run()?;
        if self.bytes[self.at] != b'"' {
            return self.escaped(begin);
        }
        let text = &self.bytes[begin..self.at];
        self.at += 1;
        std::str::from_utf8(text).ok().map(Cow::Borrowed)
    }

    /// The rest of a text with escapes.
    #[cold]
    fn escaped(&mut self, begin: usize) -> Option<Cow<'a, str>> {
        while self.bytes[self.at] == b'\\' {
            self.at += 2;
            self.run()?;
        }
        self.expect(b'"')?;
        serde_json::from_slice(&self.bytes[begin - 1..self.at]).ok().map(Cow::Owned)
    }

    /// A scalar. Numbers with exponents, and integers that may not fit, are not usual.
    #[inline]
    pub fn scalar(&mut self) -> Option<Scalar<'a>> {
        Some(match self.peek()? {
            b'"' => Scalar::Text(self.text()?),
            b't' => self.word(b"true", Scalar::Bool(true))?,
            b'f' => self.word(b"false", Scalar::Bool(false))?,
            b'n' => self.word(b"null", Scalar::Null)?,
            _ => {
                let begin = self.at;
                match self.number()? {
                    (magnitude, 0) if self.bytes[begin] == b'-' => Scalar::Int(-(magnitude as i64)),
                    (magnitude, 0) => Scalar::Int(magnitude as i64),
                    _ => Scalar::Float(std::str::from_utf8(&self.bytes[begin..self.at]).ok()?.parse().ok()?),
                }
            }
        })
    }

    /// A number in thousandths, as [`Scalar::thousandths`] gives it.
    #[inline]
    pub fn thousandths(&mut self) -> Option<i64> {
        self.peek()?;
        let begin = self.at;
        let (digits, fraction) = self.number()?;
        let scaled = digits.checked_mul(1000)? / 10_u64.pow(fraction.min(3));
        if fraction > 3 || scaled >= EXACT && fraction > 0 {
            let text = std::str::from_utf8(&self.bytes[begin..self.at]).ok()?;
            return Scalar::Float(text.parse().ok()?).thousandths();
        }
        let scaled = i64::try_from(scaled).ok()?;
        Some(if self.bytes[begin] == b'-' { -scaled } else { scaled })
    }

    /// The digits of a number, and how many of them stand behind its point.
    #[inline]
    fn number(&mut self) -> Option<(u64, u32)> {
        let negative = self.bytes[self.at] == b'-';
        let begin = self.at + usize::from(negative);
        let (mut at, mut digits, mut point) = (begin, 0_u64, None);
        loop {
            match *self.bytes.get(at)? {
                b @ b'0'..=b'9' => digits = digits.wrapping_mul(10).wrapping_add(u64::from(b - b'0')),
                b'.' if point.is_none() && at > begin => point = Some(at),
                b'.' | b'e' | b'E' => return None,
                _ => break,
            }
            at += 1;
        }
        let whole = point.unwrap_or(at) - begin;
        let fraction = point.map_or(0, |point| at - point - 1);
        let zero_first = self.bytes[begin] == b'0' && whole > 1;
        // -0 is a double.
        let unusual = whole == 0 || zero_first || point.is_some() && fraction == 0 || negative && digits == 0;
        if unusual || whole + fraction > MAX_DIGITS {
            return None;
        }
        self.at = at;
        Some((digits, fraction as u32))
    }

    #[inline]
    fn word<T>(&mut self, word: &[u8], meaning: T) -> Option<T> {
        self.bytes.get(self.at..)?.starts_with(word).then(|| {
            self.at += word.len();
            meaning
        })
    }

    /// Passes over a value, which must be JSON all the same.
    #[inline(never)]
    pub fn skip(&mut self) -> Option<()> {
        // Of the objects and arrays that are open, one bit each says which it is; the lowest is the innermost.
        let (mut depth, mut objects) = (0, 0_u64);
        loop {
            match self.peek()? {
                b'"' => self.skip_text()?,
                open @ (b'{' | b'[') => {
                    self.at += 1;
                    let object = open == b'{';
                    if self.peek()? == if object { b'}' } else { b']' } {
                        self.at += 1;
                    } else {
                        depth += 1;
                        objects = objects << 1 | u64::from(object);
                        if depth > MAX_DEPTH {
                            return None;
                        }
                        if object {
                            self.key()?;
                        }
                        continue;
                    }
                }
                b't' => self.word(b"true", ())?,
                b'f' => self.word(b"false", ())?,
                b'n' => self.word(b"null", ())?,
                _ => self.skip_number()?,
            }
            loop {
                if depth == 0 {
                    return Some(());
                }
                let object = objects & 1 == 1;
                let b = self.peek()?;
                self.at += 1;
                match b {
                    b',' => {
                        if object {
                            self.key()?;
                        }
                        break;
                    }
                    b'}' if object => {}
                    b']' if !object => {}
                    _ => return None,
                }
                depth -= 1;
                objects >>= 1;
            }
        }
    }

    /// Passes over a number: exponents and any length are fine here.
    fn skip_number(&mut self) -> Option<()> {
        let digits = |quick: &mut Self| {
            let begin = quick.at;
            while quick.bytes.get(quick.at)?.is_ascii_digit() {
                quick.at += 1;
            }
            (quick.at > begin).then_some(())
        };
        self.at += usize::from(self.bytes[self.at] == b'-');
        let zero = *self.bytes.get(self.at)? == b'0';
        let begin = self.at;
        digits(self)?;
        if zero && self.at - begin > 1 {
            return None;
        }
        if *self.bytes.get(self.at)? == b'.' {
            self.at += 1;
            digits(self)?;
        }
        if matches!(self.bytes.get(self.at)?, b'e' | b'E') {
            self.at += 1;
            self.at += usize::from(matches!(self.bytes.get(self.at)?, b'+' | b'-'));
            digits(self)?;
        }
        Some(())
    }

    #[inline]
    fn skip_text(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            self.run()?;
            match self.bytes[self.at] {
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                // Code points may be halves of a pair, which is for the general way to judge.
                b'\\' if matches!(self.bytes.get(self.at + 1)?, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
                _ => return None,
            }
        }
    }
}

/// Reads an object whose keys must not come twice, which is for the general way to report: `member` gives the bit of the key
/// whose value it has read, 0 for one that does not matter.
#[inline]
pub fn members<'a>(quick: &mut Quick<'a>, mut member: impl FnMut(&mut Quick<'a>, &'a [u8]) -> Option<u16>) -> Option<()> {
    let mut seen = 0;
    quick.object(|q, key| {
        let bit = member(q, key)?;
        let twice = seen & bit != 0;
        seen |= bit;
        (!twice).then_some(())
    })
}

/// Passes over a member that does not matter.
#[inline]
pub fn pass(quick: &mut Quick<'_>) -> Option<u16> {
    quick.skip().map(|()| 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::json_value::Pairs;
    use serde::Deserialize;
    use serde::de::IgnoredAny;

    /// The text of a value with room behind it, as in a buffer.
    fn padded(text: &str) -> Vec<u8> {
        [text.as_bytes(), b" ,        "].concat()
    }

    #[rustfmt::skip]
    const VALUES: &[&str] = &[
        "0", "7", "-7", "-0", "01", "-", "1.", ".5", "1.5", "-1.25", "1.2.3", "1e3", "1E+3", "1e", "0.0", "-0.5",
        "123456789012345678", "1234567890123456789", "9223372036854775808", "1.7976931348623159e309", "12345.678",
        "1099511627776.123", "1700000000000000.125", "0.0004", "0.0005", "1.23456", "+1", "NaN", "true", "false", "null", "nul",
        "True", "\"\"", "\"a\"", "\"eight by\"", "\"a longer text, with more than sixteen bytes\"", "\"a\\n\\u00e9\\\"\"",
        "\"\\ud83d\\ude00\"", "\"\\ud83d\"", "\"\\x\"", "\"\\u12\"", "\"tab\tin it\"", "\"\u{e9}\u{1f600}\"", "\"open", "[]",
        "{}", "[1,]", "[,1]", "{\"a\":}", "{\"a\" : [ 1 , {\"b\":[[]]} ] }", "{a:1}", "{\"a\":1,}", "[}", "{]", "[1 2]",
        "{\"a\":1 \"b\":2}", "{\"a\"}", "[\"\\\"]\", \"\\\\\"]", "[1.5e-7,-0,0]", "[NaN]",
    ];

    #[test]
    fn what_is_accepted_is_what_serde_reads() {
        let mut accepted = 0;
        for text in VALUES {
            let bytes = padded(text);
            let mut quick = Quick::new(&bytes, 0);
            if let Some(value) = quick.scalar() {
                accepted += 1;
                assert_eq!(serde_json::from_str::<Scalar<'_>>(text).unwrap(), value, "{text}");
                assert_eq!(quick.record(), Some(text.as_bytes()));
            }
            let mut quick = Quick::new(&bytes, 0);
            if let Some(value) = quick.thousandths() {
                let scalar = serde_json::from_str::<Scalar<'_>>(text).unwrap();
                assert_eq!(scalar.thousandths(), Some(value), "{text}");
            }
            // What follows a value is seen by what it stands in.
            let list = format!("[{text}]");
            let bytes = padded(&list);
            let mut quick = Quick::new(&bytes, 0);
            if quick.skip().is_some() {
                accepted += 1;
                assert!(serde_json::from_str::<IgnoredAny>(&list).is_ok(), "{text}");
                assert_eq!(quick.record(), Some(list.as_bytes()), "{text}");
            }
        }
        assert!(accepted > 40, "{accepted}");
    }

    #[test]
    fn members_and_items_come_in_order() {
        let text = r#"{ "a" : "x" , "list" : [ 1 , "two", null ], "b":{"c":[]}}"#;
        let bytes = padded(text);
        let mut quick = Quick::new(&bytes, 0);
        let mut seen = Vec::new();
        let read = quick.object(|q, key| {
            match key {
                b"list" => q.array(|q| {
                    seen.push(format!("{:?}", q.scalar()?));
                    Some(())
                })?,
                b"a" => seen.push(q.text()?.into_owned()),
                _ => q.skip()?,
            }
            Some(())
        });
        assert_eq!((read, seen.join(" ").as_str()), (Some(()), "x Int(1) Text(\"two\") Null"));
        assert_eq!(quick.record(), Some(text.as_bytes()));
    }

    #[test]
    fn damage_and_ends_of_the_buffer_are_no_panic() {
        let text = r#"{"ph":"X","n\u0061me":"é","ts":12.5,"args":{"a":[true,false,null,-1.5e3],"b":"\\\"\u00e9"}}"#;
        let bytes = padded(text);
        for at in 0..text.len() {
            for new in [b'"', b'\\', b'{', b'}', b',', b'0', 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] = new;
                let mut quick = Quick::new(&damaged, 0);
                if quick.skip().is_some() && quick.record().is_some() {
                    let read = serde_json::Deserializer::from_slice(&damaged).into_iter::<IgnoredAny>().next();
                    assert!(read.is_some_and(|r| r.is_ok()), "{at} {new}");
                }
            }
            assert_eq!(Quick::new(&bytes[..at], 0).skip(), None);
            let members = |q: &mut Quick<'_>| q.object(|q, _| q.scalar().map(|_| ()));
            assert_eq!(members(&mut Quick::new(&bytes[..at], 0)), None);
        }
        let serde = Pairs::deserialize(&mut serde_json::Deserializer::from_str(text)).unwrap();
        assert_eq!(serde.0.len(), 4);
    }
}
