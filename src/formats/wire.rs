//! Protocol Buffers wire format over a byte slice (protobuf.dev "Encoding"). Unknown fields are for the caller to skip.

/// One field of a message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Wire type 0; also wire types 1 and 5, widened.
    Int(u64),
    /// Wire type 2.
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    /// As an unsigned number; 0 for bytes.
    pub fn u64(self) -> u64 {
        if let Value::Int(n) = self { n } else { 0 }
    }
    /// As a signed number: a plain varint in two's complement.
    pub fn i64(self) -> i64 {
        self.u64() as i64
    }
    /// As bytes; empty for a number.
    pub fn bytes(self) -> &'a [u8] {
        if let Value::Bytes(b) = self { b } else { &[] }
    }
}

/// Reads the fields of one message in order. Damage ends it early: [`Fields::damaged_at`] tells where.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
    damaged: Option<usize>,
}

impl<'a> Fields<'a> {
    /// Fields of a message.
    pub fn new(bytes: &'a [u8]) -> Fields<'a> {
        Fields { bytes, at: 0, damaged: None }
    }

    /// Offset of the field that could not be read; `None` if the message ended well.
    pub fn damaged_at(&self) -> Option<usize> {
        self.damaged
    }

    /// Offset of the next field.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The field that the end of the message cuts: its number and the bytes that are there. `None` when the message ended
    /// well or is damaged otherwise.
    pub fn cut(&self) -> Option<(u64, &'a [u8])> {
        let mut at = self.damaged?;
        let tag = varint(self.bytes, &mut at)?;
        let length = usize::try_from(varint(self.bytes, &mut at)?).ok()?;
        let rest = &self.bytes[at..];
        (tag & 7 == 2 && tag >> 3 > 0 && length > rest.len()).then_some((tag >> 3, rest))
    }

    fn field(&mut self) -> Option<(u64, Value<'a>)> {
        let tag = varint(self.bytes, &mut self.at)?;
        let value = match tag & 7 {
            0 => Value::Int(varint(self.bytes, &mut self.at)?),
            1 => Value::Int(u64::from_le_bytes(self.take(8)?.try_into().ok()?)),
            2 => {
                let length = varint(self.bytes, &mut self.at)?;
                Value::Bytes(self.take(usize::try_from(length).ok()?)?)
            }
            5 => Value::Int(u64::from(u32::from_le_bytes(self.take(4)?.try_into().ok()?))),
            _ => return None,
        };
        // Field number 0 is illegal: zeros behind the end of a message are padding or damage.
        (tag >> 3 > 0).then_some((tag >> 3, value))
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let out = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(out)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, Value<'a>);
    fn next(&mut self) -> Option<(u64, Value<'a>)> {
        if self.at >= self.bytes.len() || self.damaged.is_some() {
            return None;
        }
        let start = self.at;
        let field = self.field();
        if field.is_none() {
            self.damaged = Some(start);
        }
        field
    }
}

/// A base-128 number; `None` when it is cut or longer than ten bytes.
#[inline]
pub fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    // Most numbers are of one or two bytes: those are read where they stand.
    match bytes.get(*at..) {
        Some(&[a, ..]) if a < 0x80 => {
            *at += 1;
            Some(u64::from(a))
        }
        Some(&[a, b, ..]) if b < 0x80 => {
            *at += 2;
            Some(u64::from(a & 0x7f) | u64::from(b) << 7)
        }
        _ => long_varint(bytes, at),
    }
}

#[inline(never)]
fn long_varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0_u64;
    for i in 0..10 {
        let byte = *bytes.get(*at + i)?;
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            *at += i + 1;
            return Some(value);
        }
    }
    None
}

/// Appends a repeated number, packed or not.
pub fn repeated(value: Value<'_>, out: &mut Vec<u64>) {
    match value {
        Value::Int(n) => out.push(n),
        Value::Bytes(bytes) => {
            let mut at = 0;
            while at < bytes.len() {
                match varint(bytes, &mut at) {
                    Some(n) => out.push(n),
                    None => break,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_of_the_encoding_page() {
        // "Encoding": field 1 = 150; field 2 = "testing"; packed 3, 270, 86942.
        let mut f = Fields::new(&[0x08, 0x96, 0x01, 0x12, 0x07, b't', b'e', b's', b't', b'i', b'n', b'g']);
        assert_eq!(f.next(), Some((1, Value::Int(150))));
        assert_eq!(f.next(), Some((2, Value::Bytes(b"testing"))));
        assert_eq!((f.next(), f.damaged_at()), (None, None));
        let mut out = Vec::new();
        repeated(Value::Bytes(&[0x03, 0x8e, 0x02, 0x9e, 0xa7, 0x05]), &mut out);
        assert_eq!(out, [3, 270, 86942]);
        let mut cut = Fields::new(&[0x12, 0x07, b't']);
        assert_eq!((cut.next(), cut.damaged_at(), cut.cut()), (None, Some(0), Some((2, &b"t"[..]))));
    }
}
