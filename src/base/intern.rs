//! Interning: each text and each row is stored once.

use super::hash::{hash_text, same_bytes};
use super::ids::StringId;
use super::work::step;
use hashbrown::HashTable;

/// All texts of a session in one buffer.
#[derive(Clone, Debug, Default)]
pub struct StringTable {
    text: String,
    /// End offset of each text; it starts where its predecessor ends.
    ends: Vec<u32>,
    index: HashTable<u32>,
}

impl StringTable {
    /// The id of `text`, stored on first sight. Once 4 GiB of text are stored the id of `""` is returned.
    pub fn intern(&mut self, text: &str) -> StringId {
        let hash = hash_text(text.as_bytes());
        if let Some(&row) = self.index.find(hash, |&row| same_bytes(slice(&self.text, &self.ends, row).as_bytes(), text.as_bytes())) {
            return StringId(row);
        }
        if self.text.len() + text.len() > u32::MAX as usize {
            return if text.is_empty() { StringId::NONE } else { self.intern("") };
        }
        let row = self.ends.len() as u32;
        self.text.push_str(text);
        self.ends.push(self.text.len() as u32);
        let (all, ends) = (&self.text, &self.ends);
        self.index.insert_unique(hash, row, |&row| hash_text(slice(all, ends, row).as_bytes()));
        StringId(row)
    }

    /// The id of `text` if it is stored.
    pub fn find(&self, text: &str) -> Option<StringId> {
        self.index
            .find(hash_text(text.as_bytes()), |&row| same_bytes(slice(&self.text, &self.ends, row).as_bytes(), text.as_bytes()))
            .map(|&row| StringId(row))
    }

    /// The id of a text of bytes, whether they are UTF-8 or not.
    pub fn find_bytes(&self, bytes: &[u8]) -> Option<StringId> {
        self.index.find(hash_text(bytes), |&row| same_bytes(slice(&self.text, &self.ends, row).as_bytes(), bytes)).map(|&row| StringId(row))
    }

    /// The text of an id; `""` for `NONE`.
    pub fn get(&self, id: StringId) -> &str {
        if id.is_none() { "" } else { slice(&self.text, &self.ends, id.0) }
    }

    /// The buffer and the end offset of each text in it.
    pub fn raw(&self) -> (&str, &[u32]) {
        (&self.text, &self.ends)
    }

    /// A table that can be read but does not find: texts interned into it are new. For tables on their way (see `model::parcel`).
    pub fn from_raw(text: String, ends: Vec<u32>) -> StringTable {
        StringTable { text, ends, index: HashTable::new() }
    }

    /// How many texts are stored.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

fn slice<'a>(text: &'a str, ends: &[u32], row: u32) -> &'a str {
    let row = row as usize;
    let start = if row == 0 { 0 } else { ends.get(row - 1).copied().unwrap_or(0) as usize };
    let end = ends.get(row).copied().unwrap_or(0) as usize;
    text.get(start..end).unwrap_or("")
}

/// A hash index over columns: a row's key is read back from the columns, never copied.
#[derive(Clone, Debug, Default)]
pub struct RowIndex {
    table: HashTable<u32>,
}

impl RowIndex {
    /// The row whose key equals the searched one, if any. `hash` is the key's hash, `equals` compares a stored row with it.
    pub fn find(&self, hash: u64, equals: impl Fn(u32) -> bool) -> Option<u32> {
        self.table
            .find(hash, |&row| {
                step(1);
                equals(row)
            })
            .copied()
    }

    /// Adds a row that `find` did not find. `rehash` gives the hash of a stored row.
    pub fn insert(&mut self, hash: u64, row: u32, rehash: impl Fn(u32) -> u64) {
        self.table.insert_unique(hash, row, |&row| rehash(row));
    }
}

/// A hash index from pairs of ids to rows that keeps its keys beside the rows: one place in memory is looked at per search, where
/// [`RowIndex`] reads the columns as well. For tables of millions of rows that are searched once per frame of every sample.
#[derive(Clone, Debug, Default)]
pub struct PairIndex {
    /// Pair and row; `FREE` as row marks a free slot. The length is 0 or a power of two.
    slots: Vec<(u32, u32, u32)>,
    used: usize,
}

const FREE: u32 = u32::MAX;

impl PairIndex {
    fn slot(&self, a: u32, b: u32) -> usize {
        let mask = self.slots.len() - 1;
        let key = (u64::from(a) << 32 | u64::from(b)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut at = (key ^ key >> 32) as usize & mask;
        loop {
            step(1);
            let (x, y, row) = self.slots[at];
            if row == FREE || x == a && y == b {
                return at;
            }
            at = (at + 1) & mask;
        }
    }

    /// The row of a pair; an unknown pair gets `new`, and `true` says so.
    pub fn get_or_insert(&mut self, a: u32, b: u32, new: u32) -> (u32, bool) {
        if self.used * 10 >= self.slots.len() * 7 {
            self.grow();
        }
        let at = self.slot(a, b);
        let row = self.slots[at].2;
        if row != FREE {
            return (row, false);
        }
        self.slots[at] = (a, b, new);
        self.used += 1;
        (new, true)
    }

    /// Whether nothing was inserted.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    fn grow(&mut self) {
        let wider = vec![(0, 0, FREE); (self.slots.len() * 2).max(64)];
        for (a, b, row) in std::mem::replace(&mut self.slots, wider) {
            if row != FREE {
                let at = self.slot(a, b);
                self.slots[at] = (a, b, row);
            }
        }
    }
}

/// The index of a prefix tree: from a row and a key to the row of that key below it.
///
/// The first row below another one usually follows it in the table, where it is found without an index: only the other
/// branches of a fork are entered. Stacks that hardly repeat make millions of rows and few forks.
#[derive(Clone, Debug, Default)]
pub struct ForkIndex {
    forks: PairIndex,
}

impl ForkIndex {
    /// The row of `key` below the row `above` (`u32::MAX` for the top) in a tree of `rows` rows, and whether it is new: then
    /// the caller appends it as row number `rows`. `at` gives the row above and the key of a row.
    ///
    /// An index that was dropped while its tree stayed comes back by itself.
    #[inline]
    pub fn get_or_insert(&mut self, above: u32, key: u32, rows: u32, at: impl Fn(u32) -> (u32, u32)) -> (u32, bool) {
        let first = above.wrapping_add(1);
        if first >= rows {
            return (rows, true);
        }
        step(1);
        if at(first) == (above, key) {
            return (first, false);
        }
        if self.forks.is_empty() {
            for (row, (above, key)) in (0..rows).map(|row| (row, at(row))) {
                if above.wrapping_add(1) != row {
                    self.forks.get_or_insert(above, key, row);
                }
            }
        }
        self.forks.get_or_insert(above, key, rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_has_each_branch_once_with_and_without_its_index() {
        // Paths over three keys in an order that makes chains, forks and late children; the oracle is a set of prefixes.
        let mut rows: Vec<(u32, u32)> = Vec::new();
        let mut index = ForkIndex::default();
        let mut oracle = std::collections::BTreeMap::new();
        let mut state = 1_u32;
        for round in 0..4_000 {
            if round % 1_000 == 999 {
                index = ForkIndex::default();
            }
            let (mut above, mut path) = (u32::MAX, Vec::new());
            for _ in 0..1 + round % 9 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                path.push(state >> 30);
                let (row, new) = index.get_or_insert(above, state >> 30, rows.len() as u32, |row| rows[row as usize]);
                if new {
                    rows.push((above, state >> 30));
                }
                assert_eq!(*oracle.entry(path.clone()).or_insert(row), row, "{path:?}");
                above = row;
            }
        }
        assert_eq!(oracle.len(), rows.len());
    }

    #[test]
    fn pairs_keep_their_rows_while_the_index_grows() {
        let mut index = PairIndex::default();
        for i in 0..10_000_u32 {
            assert_eq!(index.get_or_insert(i % 97, i, i), (i, true));
        }
        assert!((0..10_000_u32).all(|i| index.get_or_insert(i % 97, i, 7) == (i, false)));
        assert_eq!(index.get_or_insert(u32::MAX, 0, 10_000), (10_000, true));
    }

    #[test]
    fn same_text_same_id() {
        let mut t = StringTable::default();
        let a = t.intern("main");
        let b = t.intern("");
        assert_eq!(t.intern("main"), a);
        assert_ne!(a, b);
        assert_eq!(t.get(a), "main");
        assert_eq!(t.get(b), "");
        assert_eq!(t.get(StringId::NONE), "");
        assert_eq!(t.find("nope"), None);
        for i in 0..1000 {
            t.intern(&format!("f{i}"));
        }
        assert_eq!(t.get(t.find("f999").unwrap()), "f999");
    }
}
