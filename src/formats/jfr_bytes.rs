//! Primitive values of Java Flight Recorder chunks (JDK `jdk.jfr.internal.consumer`, JMC's flight recorder parser).

/// Reads values one behind the other. `None` where the bytes end or say nothing valid.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Integers are variable in length (every recording since JDK 9); else they are big endian.
    compressed: bool,
}

/// A text as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub enum Text {
    /// Null.
    Null,
    /// Here.
    Here(String),
    /// In the constants of `java.lang.String`.
    Constant(i64),
}

impl<'a> Cursor<'a> {
    /// From an offset on.
    pub fn new(bytes: &'a [u8], at: usize, compressed: bool) -> Cursor<'a> {
        Cursor { bytes, at, compressed }
    }

    /// Offset of the next byte.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// The next `n` bytes.
    pub fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let out = self.bytes.get(self.at..self.at.checked_add(n)?)?;
        self.at += n;
        Some(out)
    }

    /// One byte.
    pub fn byte(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    fn fixed(&mut self, n: usize) -> Option<i64> {
        let bytes = self.take(n)?;
        let sign = if bytes[0] & 0x80 != 0 { -1_i64 } else { 0 };
        Some(bytes.iter().fold(sign, |value, b| value << 8 | i64::from(*b)))
    }

    /// Seven bits per byte from the lowest on; a ninth byte gives eight.
    fn variable(&mut self) -> Option<i64> {
        let mut value = 0_u64;
        for i in 0..8 {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                return Some(value as i64);
            }
        }
        Some((value | u64::from(self.byte()?) << 56) as i64)
    }

    fn number(&mut self, size: usize) -> Option<i64> {
        if self.compressed { self.variable() } else { self.fixed(size) }
    }

    /// A `short` or `char`.
    pub fn short(&mut self) -> Option<i64> {
        self.number(2)
    }

    /// An `int`.
    pub fn int(&mut self) -> Option<i64> {
        Some(i64::from(self.number(4)? as i32))
    }

    /// A `long`.
    pub fn long(&mut self) -> Option<i64> {
        self.number(8)
    }

    /// An `int` that counts something that takes at least one byte.
    pub fn count(&mut self) -> Option<usize> {
        let n = usize::try_from(self.int()?).ok()?;
        (n <= self.bytes.len() - self.at).then_some(n)
    }

    /// A text in one of its encodings.
    pub fn text(&mut self) -> Option<Text> {
        Some(match self.byte()? {
            0 => Text::Null,
            1 => Text::Here(String::new()),
            2 => Text::Constant(self.long()?),
            3 => {
                let n = self.count()?;
                Text::Here(String::from_utf8_lossy(self.take(n)?).into_owned())
            }
            4 => {
                let units: Option<Vec<u16>> = (0..self.count()?).map(|_| self.short().map(|c| c as u16)).collect();
                Text::Here(String::from_utf16_lossy(&units?))
            }
            5 => {
                let n = self.count()?;
                Text::Here(self.take(n)?.iter().map(|b| char::from(*b)).collect())
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_texts() {
        let mut c = Cursor::new(&[0x96, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], 0, true);
        assert_eq!((c.long(), c.long(), c.is_empty()), (Some(150), Some(-1), true));
        let mut c = Cursor::new(&[0xff, 0xff, 0xff, 0xfe], 0, false);
        assert_eq!((c.int(), c.int()), (Some(-2), None));
        let mut c = Cursor::new(&[3, 2, 0xc3, 0xa9, 5, 1, 0xe9, 4, 1, 0xe9, 0x01, 2, 7, 0, 9], 0, true);
        let here = || Some(Text::Here("é".into()));
        assert_eq!([c.text(), c.text(), c.text()], [here(), here(), here()]);
        assert_eq!((c.text(), c.text(), c.text()), (Some(Text::Constant(7)), Some(Text::Null), None));
        // A count beyond the bytes is no count.
        assert_eq!(Cursor::new(&[0x80, 0x80, 0x04], 0, true).count(), None);
    }
}
