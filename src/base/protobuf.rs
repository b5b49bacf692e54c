//! Writing of Protocol Buffers messages (protobuf.dev "Encoding"): fields in the order in which they are added.

/// A message that is being written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Its bytes so far.
    pub bytes: Vec<u8>,
}

impl Message {
    /// A number; 0 is the default and left out.
    pub fn number(&mut self, field: u64, value: u64) {
        if value != 0 {
            self.varint(field << 3);
            self.varint(value);
        }
    }

    /// Bytes, a text or a message; written even if empty.
    pub fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }

    /// A repeated number in packed form; nothing if there are none.
    pub fn packed(&mut self, field: u64, values: impl Iterator<Item = u64>) {
        let mut inner = Message::default();
        values.for_each(|v| inner.varint(v));
        if !inner.bytes.is_empty() {
            self.bytes(field, &inner.bytes);
        }
    }

    fn varint(&mut self, value: u64) {
        let mut rest = value;
        while rest >= 0x80 {
            self.bytes.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        self.bytes.push(rest as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_of_the_encoding_page() {
        let mut m = Message::default();
        m.number(1, 150);
        m.number(7, 0);
        m.bytes(2, b"testing");
        assert_eq!(m.bytes, b"\x08\x96\x01\x12\x07testing");
        let mut m = Message::default();
        m.packed(6, [3, 270, 86942].into_iter());
        m.packed(5, std::iter::empty());
        assert_eq!(m.bytes, [0x32, 6, 3, 0x8e, 2, 0x9e, 0xa7, 5]);
        let mut m = Message::default();
        m.number(1, -1_i64 as u64);
        assert_eq!(m.bytes.len(), 11);
    }
}
