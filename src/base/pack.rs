//! Columns as bytes: what a reader in another worker found, on its way to the session. Little-endian, each column behind its
//! length, no names: both sides are the same build of the same module.

/// A fixed-size element of a column.
pub trait Word: Copy {
    /// Bytes of one element.
    const SIZE: usize;
    /// Writes the element into `SIZE` bytes.
    fn write(self, out: &mut [u8]);
    /// Reads the element from `SIZE` bytes.
    fn read(bytes: &[u8]) -> Self;
}

macro_rules! word {
    ($($type:ty),*) => {$(
        impl Word for $type {
            const SIZE: usize = size_of::<$type>();
            fn write(self, out: &mut [u8]) {
                out.copy_from_slice(&self.to_le_bytes());
            }
            fn read(bytes: &[u8]) -> $type {
                bytes.try_into().map_or(0, <$type>::from_le_bytes)
            }
        }
    )*};
}

word!(u8, u16, u32, u64, i64);

/// Writes columns one behind the other.
#[derive(Default)]
pub struct Packer {
    out: Vec<u8>,
}

impl Packer {
    /// A single number.
    pub fn number(&mut self, n: u64) {
        self.out.extend_from_slice(&n.to_le_bytes());
    }

    /// A column.
    pub fn column<T: Word>(&mut self, column: &[T]) {
        self.number(column.len() as u64);
        let from = self.out.len();
        self.out.resize(from + column.len() * T::SIZE, 0);
        for (bytes, value) in self.out[from..].chunks_exact_mut(T::SIZE).zip(column) {
            value.write(bytes);
        }
    }

    /// A text.
    pub fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.out.extend_from_slice(text.as_bytes());
    }

    /// What was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }
}

/// Reads columns in the order in which they were written. `None` when the bytes are no such columns.
pub struct Unpacker<'a> {
    bytes: &'a [u8],
}

impl<'a> Unpacker<'a> {
    /// Reads from the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Unpacker<'a> {
        Unpacker { bytes }
    }

    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.bytes.split_at_checked(n)?;
        self.bytes = rest;
        Some(head)
    }

    /// A single number.
    pub fn number(&mut self) -> Option<u64> {
        Some(u64::read(self.take(8)?))
    }

    /// A column.
    pub fn column<T: Word>(&mut self) -> Option<Vec<T>> {
        let n = usize::try_from(self.number()?).ok()?.checked_mul(T::SIZE)?;
        Some(self.take(n)?.chunks_exact(T::SIZE).map(T::read).collect())
    }

    /// A text.
    pub fn text(&mut self) -> Option<String> {
        let n = usize::try_from(self.number()?).ok()?;
        String::from_utf8(self.take(n)?.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::StringId;

    #[test]
    fn columns_come_back_and_cut_bytes_are_refused() {
        let mut p = Packer::default();
        p.column(&[1_i64, -2, i64::MAX]);
        p.text("ćd");
        p.column(&[StringId(7), StringId::NONE]);
        p.number(5);
        let bytes = p.into_bytes();
        let mut u = Unpacker::new(&bytes);
        assert_eq!(u.column::<i64>(), Some(vec![1, -2, i64::MAX]));
        assert_eq!(u.text().as_deref(), Some("ćd"));
        assert_eq!(u.column::<StringId>(), Some(vec![StringId(7), StringId::NONE]));
        assert_eq!((u.number(), u.number()), (Some(5), None));
        assert_eq!(Unpacker::new(&bytes[..20]).column::<i64>(), None);
    }
}
