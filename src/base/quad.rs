//! Four steps of a path at once: a hash index from a node and the next four keys to the node behind them.
//!
//! A prefix tree of millions of nodes is walked once per sample; each step waits for memory. With every fourth node known
//! directly, a walk along known nodes waits a quarter as often. Keys are compared in full: nothing rests on a hash.

/// A node and the four keys behind it.
pub type Quad = [u32; 5];

/// The index.
#[derive(Clone, Debug, Default)]
pub struct QuadIndex {
    /// Key and node; `FREE` as node marks a free slot. The length is 0 or a power of two.
    slots: Vec<[u32; 6]>,
    used: usize,
}

const FREE: u32 = u32::MAX;

impl QuadIndex {
    fn first(&self, key: &Quad) -> usize {
        let pair = |a: u32, b: u32| u64::from(a) << 32 | u64::from(b);
        let mut hash = pair(key[0], key[1]).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash = (hash ^ hash >> 29 ^ pair(key[2], key[3])).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ hash >> 32 ^ u64::from(key[4])).wrapping_mul(0x94d0_49bb_1331_11eb);
        (hash ^ hash >> 32) as usize & self.slots.len().wrapping_sub(1)
    }

    /// What stands where a key is looked for first; looking at many before any is
    /// decided upon lets the memory answer all at once.
    pub fn glance(&self, key: &Quad) -> [u32; 6] {
        self.slots.get(self.first(key)).copied().unwrap_or([FREE; 6])
    }

    /// The node of a slot that [`QuadIndex::glance`] gave, if it is the key's.
    pub fn node_of(slot: &[u32; 6], key: &Quad) -> Option<u32> {
        (slot[..5] == key[..] && slot[5] != FREE).then_some(slot[5])
    }

    /// The node behind a key.
    pub fn find(&self, key: &Quad) -> Option<u32> {
        if self.slots.is_empty() {
            return None;
        }
        let mask = self.slots.len() - 1;
        let mut at = self.first(key);
        loop {
            let slot = &self.slots[at];
            if slot[5] == FREE {
                return None;
            }
            if slot[..5] == key[..] {
                return Some(slot[5]);
            }
            at = (at + 1) & mask;
        }
    }

    /// Adds a key that [`QuadIndex::find`] did not find.
    pub fn insert(&mut self, key: &Quad, node: u32) {
        if self.used * 10 >= self.slots.len() * 7 {
            let wider = vec![[FREE; 6]; (self.slots.len() * 2).max(64)];
            for slot in std::mem::replace(&mut self.slots, wider).into_iter().filter(|slot| slot[5] != FREE) {
                self.put(slot);
            }
        }
        self.put([key[0], key[1], key[2], key[3], key[4], node]);
        self.used += 1;
    }

    fn put(&mut self, slot: [u32; 6]) {
        let mask = self.slots.len() - 1;
        let mut at = self.first(&[slot[0], slot[1], slot[2], slot[3], slot[4]]);
        while self.slots[at][5] != FREE {
            at = (at + 1) & mask;
        }
        self.slots[at] = slot;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_their_nodes_while_the_index_grows() {
        let mut index = QuadIndex::default();
        let key = |i: u32| [i % 7, i, u32::MAX, i / 3, 5];
        for i in 0..5_000 {
            assert_eq!(index.find(&key(i)), None);
            index.insert(&key(i), i);
        }
        for i in 0..5_000 {
            assert_eq!(index.find(&key(i)), Some(i));
            let slot = index.glance(&key(i));
            assert!(QuadIndex::node_of(&slot, &key(i)).is_none_or(|node| node == i));
        }
        assert_eq!(index.find(&key(5_000)), None);
    }
}
