//! `Slabs`: a small JSON head and typed arrays; what crosses from worker to page.
//!
//! A million boxes as objects take seconds to clone; as transferred typed arrays a few milliseconds (measured, see the
//! architecture notes). There is no 64-bit slab: it would be a BigInt array. Integers beyond 2^53 do not occur as
//! differences (104 days in nanoseconds); absolute times stay in the worker or travel as text.

/// One typed array.
#[derive(Clone, Debug, PartialEq)]
pub enum Slab {
    /// Bytes.
    U8(Vec<u8>),
    /// Ids, counts, offsets.
    U32(Vec<u32>),
    /// Positions and widths on screen.
    F32(Vec<f32>),
    /// Weights and relative times.
    F64(Vec<f64>),
}

/// A message: head and arrays. The order of the arrays is fixed by the message type.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Slabs {
    /// JSON.
    pub head: String,
    /// The arrays, taken in order by [`Reader`].
    pub slabs: Vec<Slab>,
}

impl Slabs {
    /// A message without arrays.
    pub fn json(head: String) -> Slabs {
        Slabs { head, slabs: Vec::new() }
    }

    /// Reads the arrays back in order.
    pub fn reader(self) -> Reader {
        Reader { slabs: self.slabs.into_iter() }
    }
}

/// Takes the arrays of a message one after the other; a missing or different one reads as empty.
pub struct Reader {
    slabs: std::vec::IntoIter<Slab>,
}

impl Reader {
    /// The next array, if it holds bytes.
    pub fn u8(&mut self) -> Vec<u8> {
        if let Some(Slab::U8(v)) = self.slabs.next() { v } else { Vec::new() }
    }
    /// The next array, if it holds `u32`.
    pub fn u32(&mut self) -> Vec<u32> {
        if let Some(Slab::U32(v)) = self.slabs.next() { v } else { Vec::new() }
    }
    /// The next array, if it holds `f32`.
    pub fn f32(&mut self) -> Vec<f32> {
        if let Some(Slab::F32(v)) = self.slabs.next() { v } else { Vec::new() }
    }
    /// The next array, if it holds `f64`.
    pub fn f64(&mut self) -> Vec<f64> {
        if let Some(Slab::F64(v)) = self.slabs.next() { v } else { Vec::new() }
    }
    /// The next two arrays as a list of texts.
    pub fn texts(&mut self) -> Texts {
        let bytes = self.u8();
        let ends = self.u32();
        Texts { text: String::from_utf8(bytes).unwrap_or_default(), ends }
    }
}

/// A list of texts as one buffer and end offsets: travels as two slabs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Texts {
    text: String,
    ends: Vec<u32>,
}

impl Texts {
    /// Appends a text and returns its position.
    pub fn push(&mut self, text: &str) -> u32 {
        self.text.push_str(text);
        self.ends.push(self.text.len() as u32);
        self.ends.len() as u32 - 1
    }
    /// The text at a position; `""` beyond the end.
    pub fn get(&self, position: u32) -> &str {
        let i = position as usize;
        let Some(&end) = self.ends.get(i) else { return "" };
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        self.text.get(start as usize..end as usize).unwrap_or("")
    }
    /// How many texts.
    pub fn len(&self) -> usize {
        self.ends.len()
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
    /// The two slabs, to be read by [`Reader::texts`].
    pub fn into_slabs(self) -> [Slab; 2] {
        [Slab::U8(self.text.into_bytes()), Slab::U32(self.ends)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let mut t = Texts::default();
        t.push("a");
        t.push("");
        t.push("ćd");
        let [a, b] = t.clone().into_slabs();
        let mut r = Slabs { head: String::new(), slabs: vec![a, b, Slab::F64(vec![1.5])] }.reader();
        let back = r.texts();
        assert_eq!(back, t);
        assert_eq!((back.get(0), back.get(1), back.get(2), back.get(3)), ("a", "", "ćd", ""));
        assert_eq!(r.f64(), [1.5]);
        assert_eq!(r.u32(), Vec::<u32>::new());
    }
}
