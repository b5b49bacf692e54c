//! Functions, frames and stacks, shared by all profiles of a session.
//!
//! A stack is a node of a prefix tree: a frame on top of another stack. Prefixes always have smaller rows than the
//! stacks that extend them ("parents first"), so that one pass over the rows in order, or in reverse, replaces recursion.

use crate::base::hash::{hash_bytes, hash_u64};
use crate::base::ids::{FrameId, FuncId, MappingId, StackId, StringId};
use crate::base::intern::{ForkIndex, RowIndex, StringTable};

/// All symbol tables.
#[derive(Clone, Debug, Default)]
pub struct Symbols {
    /// Functions.
    pub funcs: FuncTable,
    /// Frames.
    pub frames: FrameTable,
    /// Stacks.
    pub stacks: StackTable,
    /// Binaries and libraries.
    pub mappings: MappingTable,
}

/// The function's name is not a symbol but a stand-in: `[libfoo.so]`, `[unknown]`.
pub const FUNC_UNSYMBOLIZED: u8 = 1;
/// The function runs in the kernel.
pub const FUNC_KERNEL: u8 = 2;

/// Functions. Key: name, name as the linker knows it, file, mapping.
#[derive(Clone, Debug, Default)]
pub struct FuncTable {
    /// Display name; never empty (`[basename of mapping]` or `<unknown>` where there is no symbol).
    pub name: Vec<StringId>,
    /// Name with parameters and template arguments, if it differs; else `NONE`.
    pub full_name: Vec<StringId>,
    /// Name as the linker knows it, if it differs; else `NONE`.
    pub system_name: Vec<StringId>,
    /// Source file; `NONE` if unknown.
    pub file: Vec<StringId>,
    /// Binary; `NONE` if unknown.
    pub mapping: Vec<MappingId>,
    /// First line of the function; 0 if unknown.
    pub start_line: Vec<u32>,
    /// `FUNC_*` bits.
    pub flags: Vec<u8>,
    /// First function with the same display name: views at granularity "functions" merge by it, as `go tool pprof` does.
    pub canonical: Vec<FuncId>,
    pub(super) index: RowIndex,
    pub(super) by_name: RowIndex,
}

/// What identifies a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FuncKey {
    /// Display name.
    pub name: StringId,
    /// Name with parameters and template arguments, or `NONE`.
    pub full_name: StringId,
    /// Name as the linker knows it, or `NONE`.
    pub system_name: StringId,
    /// Source file or `NONE`.
    pub file: StringId,
    /// Binary or `NONE`.
    pub mapping: MappingId,
    /// First line or 0.
    pub start_line: u32,
    /// `FUNC_*` bits.
    pub flags: u8,
}

impl FuncKey {
    /// A function of which only the name is known.
    pub fn named(name: StringId) -> FuncKey {
        let none = StringId::NONE;
        FuncKey { name, full_name: none, system_name: none, file: none, mapping: MappingId::NONE, start_line: 0, flags: 0 }
    }
    fn hash(&self) -> u64 {
        let names = hash_u64(u64::from(self.name.0), u64::from(self.system_name.0));
        hash_u64(hash_u64(names, u64::from(self.file.0)), u64::from(self.mapping.0))
    }
}

impl FuncTable {
    /// The row of a function. Both names, file and mapping are the key; the rest is taken from the first sight.
    pub fn intern(&mut self, key: FuncKey) -> FuncId {
        let hash = key.hash();
        let found = self.index.find(hash, |row| {
            let i = row as usize;
            (self.name[i], self.system_name[i]) == (key.name, key.system_name) && self.file[i] == key.file && self.mapping[i] == key.mapping
        });
        if let Some(row) = found {
            return FuncId(row);
        }
        let row = self.name.len() as u32;
        self.name.push(key.name);
        self.full_name.push(key.full_name);
        self.system_name.push(key.system_name);
        self.file.push(key.file);
        self.mapping.push(key.mapping);
        self.start_line.push(key.start_line);
        self.flags.push(key.flags);
        let (names, systems, files, mappings) = (&self.name, &self.system_name, &self.file, &self.mapping);
        self.index.insert(hash, row, |row| {
            let i = row as usize;
            FuncKey { system_name: systems[i], file: files[i], mapping: mappings[i], ..FuncKey::named(names[i]) }.hash()
        });
        let name_hash = hash_u64(1, u64::from(key.name.0));
        let canonical = match self.by_name.find(name_hash, |row| names[row as usize] == key.name) {
            Some(first) => first,
            None => {
                self.by_name.insert(name_hash, row, |row| hash_u64(1, u64::from(names[row as usize].0)));
                row
            }
        };
        self.canonical.push(FuncId(canonical));
        FuncId(row)
    }

    /// The first function with this display name.
    pub fn find_by_name(&self, name: StringId) -> Option<FuncId> {
        self.by_name.find(hash_u64(1, u64::from(name.0)), |row| self.name[row as usize] == name).map(FuncId)
    }

    /// How many functions.
    pub fn len(&self) -> usize {
        self.name.len()
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.name.is_empty()
    }
}

/// The address or offset is not known.
pub const NO_ADDRESS: u64 = u64::MAX;
/// The frame was inlined into the next frame towards the root (which has the same address).
pub const FRAME_INLINED: u8 = 1;
/// The address is where a call returns to: the call itself stands right before it. Only frames without a symbol carry it, since
/// it matters where the symbol and the line are looked up.
pub const FRAME_CALLER: u8 = 2;

/// Frames. Key: all columns.
#[derive(Clone, Debug, Default)]
pub struct FrameTable {
    /// Function.
    pub func: Vec<FuncId>,
    /// Source line; 0 if unknown.
    pub line: Vec<u32>,
    /// Instruction address as the format gives it (pprof `Location.address`); `NO_ADDRESS` if unknown.
    pub address: Vec<u64>,
    /// Offset of the instruction in its symbol (perf `sym+0xoff`); `NO_ADDRESS` if unknown.
    pub offset: Vec<u64>,
    /// `FRAME_*` bits.
    pub flags: Vec<u8>,
    pub(super) index: RowIndex,
}

/// What identifies a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameKey {
    /// Function.
    pub func: FuncId,
    /// Line or 0.
    pub line: u32,
    /// Address or `NO_ADDRESS`.
    pub address: u64,
    /// Offset or `NO_ADDRESS`.
    pub offset: u64,
    /// `FRAME_*` bits.
    pub flags: u8,
}

impl FrameKey {
    /// A frame of which only the function is known.
    pub fn of(func: FuncId) -> FrameKey {
        FrameKey { func, line: 0, address: NO_ADDRESS, offset: NO_ADDRESS, flags: 0 }
    }
    fn hash(&self) -> u64 {
        hash_u64(hash_u64(u64::from(self.func.0) << 32 | u64::from(self.line), self.address), self.offset ^ u64::from(self.flags))
    }
}

impl FrameTable {
    /// The key of a stored frame.
    pub fn key(&self, row: u32) -> FrameKey {
        let i = row as usize;
        FrameKey { func: self.func[i], line: self.line[i], address: self.address[i], offset: self.offset[i], flags: self.flags[i] }
    }

    /// The row of a frame.
    pub fn intern(&mut self, key: FrameKey) -> FrameId {
        let hash = key.hash();
        if let Some(row) = self.index.find(hash, |row| self.key(row) == key) {
            return FrameId(row);
        }
        let row = self.func.len() as u32;
        self.func.push(key.func);
        self.line.push(key.line);
        self.address.push(key.address);
        self.offset.push(key.offset);
        self.flags.push(key.flags);
        let mut index = std::mem::take(&mut self.index);
        index.insert(hash, row, |row| self.key(row).hash());
        self.index = index;
        FrameId(row)
    }

    /// How many frames.
    pub fn len(&self) -> usize {
        self.func.len()
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.func.is_empty()
    }
}

/// Stacks as a prefix tree, parents first.
#[derive(Clone, Debug, Default)]
pub struct StackTable {
    /// The stack below (towards the root); `NONE` for a root frame. Always a smaller row.
    pub prefix: Vec<StackId>,
    /// The topmost (leaf) frame.
    pub frame: Vec<FrameId>,
    /// Frames below: 0 for a root.
    pub depth: Vec<u32>,
    pub(super) index: ForkIndex,
}

impl StackTable {
    /// The stack that has `frame` on top of `prefix` (`NONE` for a root).
    pub fn push(&mut self, prefix: StackId, frame: FrameId) -> StackId {
        let (prefixes, frames) = (&self.prefix, &self.frame);
        let at = |row: u32| (prefixes[row as usize].0, frames[row as usize].0);
        let (row, new) = self.index.get_or_insert(prefix.0, frame.0, prefixes.len() as u32, at);
        if new {
            self.prefix.push(prefix);
            self.frame.push(frame);
            self.depth.push(if prefix.is_none() { 0 } else { self.depth[prefix.index()] + 1 });
        }
        StackId(row)
    }

    /// Gives the memory back that only growing needs. The index comes back with the next stack.
    pub fn seal(&mut self) {
        self.index = ForkIndex::default();
        self.prefix.shrink_to_fit();
        self.frame.shrink_to_fit();
        self.depth.shrink_to_fit();
    }

    /// The frames of a stack from leaf to root.
    pub fn leaf_to_root(&self, stack: StackId) -> impl Iterator<Item = FrameId> + '_ {
        let mut at = stack;
        std::iter::from_fn(move || {
            let i = at.get()?.index();
            at = self.prefix[i];
            Some(self.frame[i])
        })
    }

    /// How many stacks.
    pub fn len(&self) -> usize {
        self.prefix.len()
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.prefix.is_empty()
    }
}

/// Binaries and libraries. Key: file name and build id.
#[derive(Clone, Debug, Default)]
pub struct MappingTable {
    /// File name as the profile gives it.
    pub file: Vec<StringId>,
    /// Build id or `NONE`.
    pub build_id: Vec<StringId>,
    pub(super) index: RowIndex,
}

impl MappingTable {
    /// The row of a mapping.
    pub fn intern(&mut self, file: StringId, build_id: StringId) -> MappingId {
        let hash = hash_u64(u64::from(file.0), u64::from(build_id.0));
        if let Some(row) = self.index.find(hash, |row| self.file[row as usize] == file && self.build_id[row as usize] == build_id) {
            return MappingId(row);
        }
        let row = self.file.len() as u32;
        self.file.push(file);
        self.build_id.push(build_id);
        let (files, ids) = (&self.file, &self.build_id);
        self.index.insert(hash, row, |row| hash_u64(u64::from(files[row as usize].0), u64::from(ids[row as usize].0)));
        MappingId(row)
    }
}

impl Symbols {
    /// Display name of a function.
    pub fn func_name<'a>(&self, strings: &'a StringTable, func: FuncId) -> &'a str {
        if func.is_none() { "" } else { strings.get(self.funcs.name[func.index()]) }
    }

    /// Base name of a function's binary, `""` if unknown.
    pub fn module<'a>(&self, strings: &'a StringTable, func: FuncId) -> &'a str {
        let Some(mapping) = func.get().and_then(|f| self.funcs.mapping[f.index()].get()) else { return "" };
        let path = strings.get(self.mappings.file[mapping.index()]);
        path.rsplit(['/', '\\']).next().unwrap_or(path)
    }

    /// Whether all that is known of a function is its binary: its name is a stand-in that says no more.
    pub fn is_bare(&self, strings: &StringTable, func: FuncId) -> bool {
        let Some(f) = func.get().map(FuncId::index).filter(|f| self.funcs.flags[*f] & FUNC_UNSYMBOLIZED != 0) else { return false };
        let (name, module) = (strings.get(self.funcs.name[f]), self.module(strings, func));
        let inner = name.strip_prefix('[').and_then(|n| n.strip_suffix(']'));
        matches!(name, "<unknown>" | "[unknown]") || name == module || inner == Some(module)
    }

    /// A fingerprint of a stack by names, independent of row numbers.
    pub fn path_hash(&self, strings: &StringTable, names_root_to_leaf: &[FuncId]) -> u64 {
        names_root_to_leaf.iter().fold(0, |h, f| hash_u64(h, hash_bytes(self.func_name(strings, *f).as_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_shared_and_parents_come_first() {
        let mut strings = StringTable::default();
        let mut s = Symbols::default();
        let a = s.funcs.intern(FuncKey::named(strings.intern("a")));
        let file = strings.intern("x.c");
        let a_in_file = s.funcs.intern(FuncKey { file, ..FuncKey::named(strings.intern("a")) });
        assert_ne!(a, a_in_file);
        assert_eq!(s.funcs.canonical[a_in_file.index()], a);
        let fa = s.frames.intern(FrameKey::of(a));
        assert_eq!(s.frames.intern(FrameKey::of(a)), fa);
        let root = s.stacks.push(StackId::NONE, fa);
        let leaf = s.stacks.push(root, fa);
        assert_eq!(s.stacks.push(root, fa), leaf);
        assert_eq!(s.stacks.depth[leaf.index()], 1);
        assert_eq!(s.stacks.leaf_to_root(leaf).count(), 2);
        assert!(s.stacks.prefix.iter().enumerate().all(|(row, p)| p.is_none() || p.index() < row));
    }
}
