//! Self and total weight per function, file, line or address. Recursion counts once per sample.

use super::weights::{Weights, subtree, walk};
use crate::base::hash::hash_u64;
use crate::base::ids::{FuncId, MappingId, StringId};
use crate::base::intern::RowIndex;
use crate::model::Session;
use crate::model::symbols::{FRAME_INLINED, NO_ADDRESS};

/// What one row stands for, as `go tool pprof -functions`, `-filefunctions`, `-files`, `-lines`, `-addresses`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Granularity {
    /// Functions by name, whatever their file.
    #[default]
    Functions,
    /// Functions by name and file.
    FileFunctions,
    /// Files.
    Files,
    /// Function, file and line.
    Lines,
    /// Instruction addresses (or offsets in the symbol).
    Addresses,
}

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// A function of this row: the first seen. `name` and `file` say what of it counts.
    pub func: FuncId,
    /// Function name; `NONE` at granularity files.
    pub name: StringId,
    /// Binary, at granularity files: `go tool pprof` tells files of different binaries apart. Else `NONE`.
    pub mapping: MappingId,
    /// Source file; `NONE` if unknown or not part of the granularity.
    pub file: StringId,
    /// Line; 0 if unknown or not part of the granularity.
    pub line: u32,
    /// Address; `NO_ADDRESS` if unknown or not part of the granularity.
    pub address: u64,
    /// Offset in the symbol; `NO_ADDRESS` if unknown or not part of the granularity.
    pub offset: u64,
    /// Weight of samples whose leaf is here.
    pub own: i64,
    /// Weight of samples that have it anywhere in their stack.
    pub total: i64,
}

/// All rows of a selection, in order of first sight.
#[derive(Clone, Debug, Default)]
pub struct FunctionTable {
    /// The rows; those without any weight are absent.
    pub rows: Vec<Entry>,
    /// Sum of magnitudes, of which shares are taken.
    pub magnitude: i64,
    /// Sum.
    pub sum: i64,
}

/// Counts self and total. `no_inlines` charges inlined frames to the function they were compiled into.
/// Linear in stacks.
pub fn functions(session: &Session, weights: &Weights, granularity: Granularity, no_inlines: bool) -> FunctionTable {
    let s = &session.symbols;
    let (entry_of_frame, mut rows) = entries(session, weights, granularity, no_inlines);
    let total = subtree(&s.stacks, &weights.own);
    // The entry that the weight of a stack is charged to: its leaf's, or where inlined frames are left out that of the
    // frame they were compiled into.
    let mut charged = vec![u32::MAX; s.stacks.len()];
    for row in (0..s.stacks.len()).filter(|row| weights.used[*row]) {
        let entry = entry_of_frame[s.stacks.frame[row].index()];
        charged[row] = match (entry, s.stacks.prefix[row].get()) {
            (u32::MAX, Some(prefix)) => charged[prefix.index()],
            (entry, _) => entry,
        };
        if let Some(entry) = rows.get_mut(charged[row] as usize) {
            entry.own = entry.own.saturating_add(weights.own[row]);
        }
    }
    let mut on_path = vec![0_u32; rows.len()];
    walk(&s.stacks, &weights.used, |row, down| {
        let at = entry_of_frame[s.stacks.frame[row].index()] as usize;
        let Some(entry) = rows.get_mut(at) else { return };
        if !down {
            on_path[at] -= 1;
            return;
        }
        if on_path[at] == 0 {
            entry.total = entry.total.saturating_add(total[row]);
        }
        on_path[at] += 1;
    });
    FunctionTable { rows, magnitude: weights.magnitude, sum: weights.total }
}

/// The row of each frame, and the rows.
fn entries(session: &Session, weights: &Weights, granularity: Granularity, no_inlines: bool) -> (Vec<u32>, Vec<Entry>) {
    let s = &session.symbols;
    let mut of_frame = vec![u32::MAX; s.frames.len()];
    let mut rows: Vec<Entry> = Vec::new();
    let mut index = RowIndex::default();
    for row in (0..s.stacks.len()).filter(|row| weights.used[*row]) {
        let frame = s.stacks.frame[row].index();
        if of_frame[frame] != u32::MAX || (no_inlines && s.frames.flags[frame] & FRAME_INLINED != 0) {
            continue;
        }
        let key = key(session, frame, granularity);
        let hash = hash(&key);
        let found = index.find(hash, |r| same(&rows[r as usize], &key));
        of_frame[frame] = found.unwrap_or_else(|| {
            let new = rows.len() as u32;
            rows.push(key);
            index.insert(hash, new, |r| self::hash(&rows[r as usize]));
            new
        });
    }
    (of_frame, rows)
}

fn key(session: &Session, frame: usize, granularity: Granularity) -> Entry {
    let s = &session.symbols;
    let func = s.frames.func[frame];
    let f = func.index();
    let mut e = Entry {
        func,
        name: s.funcs.name[f],
        mapping: MappingId::NONE,
        file: s.funcs.file[f],
        line: s.frames.line[frame],
        address: s.frames.address[frame],
        offset: s.frames.offset[frame],
        own: 0,
        total: 0,
    };
    if granularity != Granularity::Addresses {
        e.address = NO_ADDRESS;
        e.offset = NO_ADDRESS;
        if granularity != Granularity::Lines {
            e.line = 0;
        }
    }
    match granularity {
        Granularity::Functions => {
            e.func = s.funcs.canonical[f];
            e.file = StringId::NONE;
        }
        Granularity::Files => {
            e.name = StringId::NONE;
            e.mapping = s.funcs.mapping[f];
        }
        _ => {}
    }
    e
}

fn hash(e: &Entry) -> u64 {
    let names = hash_u64(hash_u64(u64::from(e.name.0), u64::from(e.file.0)), u64::from(e.mapping.0));
    hash_u64(hash_u64(hash_u64(names, u64::from(e.line)), e.address), e.offset)
}

fn same(a: &Entry, b: &Entry) -> bool {
    (a.name, a.mapping, a.file, a.line, a.address, a.offset) == (b.name, b.mapping, b.file, b.line, b.address, b.offset)
}

/// What a table is sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum By {
    /// Self weight.
    #[default]
    Own,
    /// Total weight.
    Total,
}

impl FunctionTable {
    /// Rows sorted as `go tool pprof -top` does: largest magnitude first, then name, then the other weight.
    pub fn sort(&mut self, session: &Session, by: By) {
        self.rows.sort_by_cached_key(|e| {
            let (first, second) = match by {
                By::Own => (e.own, e.total),
                By::Total => (e.total, e.own),
            };
            let magnitude = |v: i64| std::cmp::Reverse(v.saturating_abs());
            (magnitude(first), label(session, e), magnitude(second), e.address, e.offset)
        });
    }
}

/// A row's name for people: the function; at granularity files the file, else `[binary]`, else `<unknown>`.
pub fn label(session: &Session, e: &Entry) -> String {
    let module = session.symbols.module(&session.strings, e.func);
    match (e.name.is_none(), e.file.is_none(), e.mapping.is_none()) {
        (false, ..) => session.strings.get(e.name).to_string(),
        (_, false, _) => session.strings.get(e.file).to_string(),
        (.., false) => format!("[{module}]"),
        _ => "<unknown>".to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::weights::tests::drawn;
    use super::super::weights::{Selection, weights};
    use super::*;

    fn table(text: &str) -> Vec<(String, i64, i64)> {
        let s = drawn(text);
        let mut t = functions(&s, &weights(&s, Selection::default()), Granularity::Functions, false);
        t.sort(&s, By::Own);
        t.rows.iter().map(|e| (label(&s, e), e.own, e.total)).collect()
    }

    #[test]
    fn recursion_counts_once() {
        let row = |name: &str, own, total| (name.to_string(), own, total);
        assert_eq!(table("main;f;g;f;f 5\nmain;g 2\nmain 1"), [row("f", 5, 5), row("g", 2, 7), row("main", 1, 8)]);
        assert_eq!(table("a;b -3\na 1"), [row("b", -3, -3), row("a", 1, -2)]);
        assert_eq!(table(""), []);
    }
}
