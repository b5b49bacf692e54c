//! Self and total weight per function, file, line or address. Recursion counts once per sample.

use super::weights::{Weights, subtree, walk};
use crate::base::hash::hash_u64;
use crate::base::ids::{FuncId, StringId};
use crate::base::intern::RowIndex;
use crate::base::path::clean;
use crate::model::Session;
use crate::model::symbols::{FRAME_INLINED, NO_ADDRESS};
use std::fmt::Write;

/// What one row stands for, as `go tool pprof -functions`, `-filefunctions`, `-files`, `-lines`, `-addresses`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Granularity {
    /// Functions by name, whatever their file.
    #[default]
    Functions,
    /// Functions by name and file.
    FileFunctions,
    /// Files, one row each.
    Files,
    /// Files as `go tool pprof -files` lists them: where a profile knows the first lines of functions, a row per function.
    FunctionsOfFiles,
    /// Function, file and line.
    Lines,
    /// Instruction addresses (or offsets in the symbol).
    Addresses,
}

/// Which of its names a function has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Names {
    /// As `go tool pprof` writes them: without parameters and template arguments, so that instances of a template are one.
    #[default]
    Simple,
    /// With all that the file tells.
    Full,
}

/// How rows are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// What one row stands for.
    pub granularity: Granularity,
    /// Charge inlined frames to the function they were compiled into.
    pub no_inlines: bool,
    /// Names by which functions are told apart.
    pub names: Names,
}

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// A function of this row: the first seen. `name` and `file` say what of it counts.
    pub func: FuncId,
    /// Function name; `NONE` at granularity files.
    pub name: StringId,
    /// Path of the binary where there is no name of a function, for only then `go tool pprof` tells rows apart by it. Else `NONE`.
    pub binary: StringId,
    /// Source file; `NONE` if unknown or not part of the granularity.
    pub file: StringId,
    /// Line; 0 if unknown or not part of the granularity.
    pub line: u32,
    /// First line of the function at granularity [`Granularity::FunctionsOfFiles`], and of functions without a name as
    /// `go tool pprof` tells them apart by it; else 0.
    pub start_line: u32,
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

/// Counts self and total. Linear in stacks.
pub fn functions(session: &Session, weights: &Weights, options: Options) -> FunctionTable {
    let s = &session.symbols;
    let (entry_of_frame, mut rows) = entries(session, weights, options);
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
fn entries(session: &Session, weights: &Weights, options: Options) -> (Vec<u32>, Vec<Entry>) {
    let s = &session.symbols;
    let mut of_frame = vec![u32::MAX; s.frames.len()];
    let mut rows: Vec<Entry> = Vec::new();
    let mut index = RowIndex::default();
    for row in (0..s.stacks.len()).filter(|row| weights.used[*row]) {
        let frame = s.stacks.frame[row].index();
        if of_frame[frame] != u32::MAX || (options.no_inlines && s.frames.flags[frame] & FRAME_INLINED != 0) {
            continue;
        }
        let key = key(session, frame, options);
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

fn key(session: &Session, frame: usize, options: Options) -> Entry {
    let s = &session.symbols;
    let func = s.frames.func[frame];
    let f = func.index();
    let files = matches!(options.granularity, Granularity::Files | Granularity::FunctionsOfFiles);
    let unnamed = files || s.is_bare(&session.strings, func);
    let binary = s.funcs.mapping[f].get().filter(|_| unnamed).map_or(StringId::NONE, |m| s.mappings.file[m.index()]);
    let full = s.funcs.full_name[f];
    let mut e = Entry {
        func,
        name: if options.names == Names::Full && !full.is_none() { full } else { s.funcs.name[f] },
        binary,
        file: s.funcs.file[f],
        line: s.frames.line[frame],
        start_line: if unnamed && options.granularity != Granularity::Files { s.funcs.start_line[f] } else { 0 },
        address: s.frames.address[frame],
        offset: s.frames.offset[frame],
        own: 0,
        total: 0,
    };
    if options.granularity != Granularity::Addresses {
        e.address = NO_ADDRESS;
        e.offset = NO_ADDRESS;
        if options.granularity != Granularity::Lines {
            e.line = 0;
        }
    }
    match options.granularity {
        Granularity::Functions => {
            if options.names == Names::Simple {
                e.func = s.funcs.canonical[f];
            }
            e.file = StringId::NONE;
        }
        Granularity::Files | Granularity::FunctionsOfFiles => e.name = StringId::NONE,
        _ => {}
    }
    e
}

fn hash(e: &Entry) -> u64 {
    let names = hash_u64(hash_u64(u64::from(e.name.0), u64::from(e.file.0)), u64::from(e.binary.0));
    hash_u64(hash_u64(hash_u64(names, u64::from(e.line) << 32 | u64::from(e.start_line)), e.address), e.offset)
}

fn same(a: &Entry, b: &Entry) -> bool {
    let place = |e: &Entry| (e.file, e.line, e.start_line, e.address, e.offset);
    (a.name, a.binary) == (b.name, b.binary) && place(a) == place(b)
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
            (magnitude(first), printable(session, e), magnitude(second), e.address, e.offset)
        });
    }
}

/// A row's name for people: the function; at granularity files the file, else `[binary]`, else `<unknown>`.
pub fn label(session: &Session, e: &Entry) -> String {
    match (e.name.is_none(), e.file.is_none()) {
        (false, _) => session.strings.get(e.name).to_string(),
        (_, false) => session.strings.get(e.file).to_string(),
        _ => binary(session, e),
    }
}

fn binary(session: &Session, e: &Entry) -> String {
    let path = session.strings.get(e.binary);
    match path.rsplit(['/', '\\']).next() {
        Some(base) if !base.is_empty() => format!("[{base}]"),
        _ => "<unknown>".to_string(),
    }
}

/// A row as `go tool pprof -top` writes it: address, function, and the place in the source, as far as they are part of it.
pub fn printable(session: &Session, e: &Entry) -> String {
    let mut out = String::new();
    if e.address != NO_ADDRESS {
        let _ = write!(out, "{:016x} ", e.address);
    }
    let named = !e.name.is_none() && !session.symbols.is_bare(&session.strings, e.func);
    if named {
        out.push_str(session.strings.get(e.name));
        out.push(' ');
    }
    let file = clean(session.strings.get(e.file));
    match (e.line, file.is_empty()) {
        (1.., _) => {
            let _ = write!(out, "{file}:{} ", e.line);
        }
        (_, false) => {
            out.push_str(&file);
            out.push(' ');
        }
        _ if named => {}
        _ => {
            out.push_str(&binary(session, e));
            out.push(' ');
        }
    }
    out.pop();
    out
}

#[cfg(test)]
mod tests {
    use super::super::drawn_stacks::drawn;
    use super::super::weights::{Selection, weights};
    use super::*;

    fn table(text: &str) -> Vec<(String, i64, i64)> {
        let s = drawn(text);
        let mut t = functions(&s, &weights(&s, Selection::default()), Options::default());
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
