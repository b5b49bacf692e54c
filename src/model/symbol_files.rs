//! Files that hold no profile but names for addresses: programs and libraries with their debug information, maps of
//! just-in-time compilers, the kernel's symbols. They may be opened before or after the profiles that need them.

use super::code::Code;
use super::copied_stacks::Machine;
use crate::base::ids::SourceId;
use crate::base::slabs::Texts;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What addresses a file names, and how it is told to belong to a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SymbolKind {
    /// An ELF program, library or debug file: by build id, else by name. Addresses are virtual addresses of the file.
    Elf,
    /// A perf map or jitdump of one process (-1 if the file does not say which): addresses are those of its memory.
    Process(i64),
    /// The kernel's symbols: addresses are those of its memory.
    Kernel,
}

/// A file with names for addresses.
#[derive(Clone, Debug)]
pub struct SymbolFile {
    /// Its row in the session.
    pub source: SourceId,
    /// Its name without folders and without the ending of a compression.
    pub name: String,
    /// What it names.
    pub kind: SymbolKind,
    /// Build id in hex; empty if it has none.
    pub build_id: String,
    /// Name and checksum (CRC-32) of the debug file that an ELF file points to (`.gnu_debuglink`).
    pub debug_link: Option<(String, u32)>,
    /// CRC-32 of the file itself.
    pub checksum: u32,
    /// Loaded parts of an ELF file.
    pub segments: Vec<Segment>,
    /// Symbols.
    pub symbols: SymbolTable,
    /// Lines of code that a just-in-time compiler wrote.
    pub lines: LineTable,
    /// DWARF sections by name (`.debug_info`), inflated; empty without debug information.
    pub debug: Arc<Vec<(String, Vec<u8>)>>,
    /// How to unwind stacks through its code.
    pub unwind: Arc<UnwindSections>,
    /// Whether numbers in `debug` are big-endian.
    pub big: bool,
    /// Machine code, of machines that can be decoded; a debug file has none.
    pub code: Option<Arc<Code>>,
}

/// Call frame information of a program; empty where it has none, or none that is read: that of 64-bit x86 and ARM is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnwindSections {
    /// `.eh_frame`.
    pub eh_frame: Vec<u8>,
    /// Virtual address of `.eh_frame`.
    pub eh_frame_address: u64,
    /// Virtual address of `.text`.
    pub text_address: u64,
    /// `.debug_frame`, inflated.
    pub debug_frame: Vec<u8>,
    /// What the program runs on.
    pub machine: Machine,
}

impl UnwindSections {
    /// Whether there are any.
    pub fn is_some(&self) -> bool {
        !self.eh_frame.is_empty() || !self.debug_frame.is_empty()
    }
}

/// A part of an ELF file that is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Offset in the file.
    pub offset: u64,
    /// Bytes in the file.
    pub size: u64,
    /// Virtual address.
    pub address: u64,
    /// Bytes in memory.
    pub memory: u64,
    /// Whether it holds code.
    pub code: bool,
}

impl SymbolFile {
    /// A file that names nothing yet.
    pub fn new(source: SourceId, name: &str, kind: SymbolKind) -> SymbolFile {
        let base = name.rsplit(['/', '\\']).next().unwrap_or(name);
        let name = [".gz", ".zst", ".lz4"].iter().find_map(|end| base.strip_suffix(end)).unwrap_or(base).to_string();
        SymbolFile {
            source,
            name,
            kind,
            build_id: String::new(),
            debug_link: None,
            checksum: 0,
            segments: Vec::new(),
            symbols: SymbolTable::default(),
            lines: LineTable::default(),
            debug: Arc::default(),
            unwind: Arc::default(),
            big: false,
            code: None,
        }
    }

    /// Whether it has DWARF debug information.
    pub fn has_debug(&self) -> bool {
        self.debug.iter().any(|(name, _)| name == ".debug_info")
    }

    /// The virtual address of a place in an ELF file.
    pub fn address_of(&self, offset: u64) -> Option<u64> {
        let inside = |s: &&Segment| offset >= s.offset && offset - s.offset < s.size;
        let found = self.segments.iter().filter(|s| s.code).find(inside).or_else(|| self.segments.iter().find(inside));
        found.map(|s| s.address.wrapping_add(offset - s.offset))
    }

    /// Whether code lies at a virtual address.
    pub fn has_code_at(&self, address: u64) -> bool {
        self.segments.iter().any(|s| s.code && address >= s.address && address - s.address < s.memory)
    }
}

/// Symbols in order of address, without overlap: where one covered another, the part that is left.
#[derive(Clone, Debug, Default)]
pub struct SymbolTable {
    start: Vec<u64>,
    end: Vec<u64>,
    /// Where the symbol begins: offsets are counted from it.
    base: Vec<u64>,
    name: Vec<u32>,
    names: Texts,
}

/// A symbol that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol<'a> {
    /// Its name as the file has it.
    pub name: &'a str,
    /// Its first address.
    pub address: u64,
}

impl SymbolTable {
    /// From symbols (first address, address behind the last, name); what comes later covers what came before.
    pub fn new<'a>(symbols: impl Iterator<Item = (u64, u64, &'a str)>) -> SymbolTable {
        let mut names = Texts::default();
        let mut placed: BTreeMap<u64, (u64, u64, u32)> = BTreeMap::new();
        for (start, end, name) in symbols.filter(|(start, end, _)| start < end) {
            let name = names.push(name);
            if let Some((_, below)) = placed.range_mut(..start).next_back()
                && below.0 > start
            {
                let (was, base, of) = *below;
                below.0 = start;
                if was > end {
                    placed.insert(end, (was, base, of));
                }
            }
            while let Some((&from, &(was, base, of))) = placed.range(start..end).next() {
                placed.remove(&from);
                if was > end {
                    placed.insert(end, (was, base, of));
                }
            }
            placed.insert(start, (end, start, name));
        }
        let mut table = SymbolTable { names, ..SymbolTable::default() };
        for (start, (end, base, name)) in placed {
            table.start.push(start);
            table.end.push(end);
            table.base.push(base);
            table.name.push(name);
        }
        table
    }

    /// The symbol at an address.
    pub fn find(&self, address: u64) -> Option<Symbol<'_>> {
        let i = self.start.partition_point(|start| *start <= address).checked_sub(1)?;
        (address < self.end[i]).then(|| Symbol { name: self.names.get(self.name[i]), address: self.base[i] })
    }

    /// The first address of the symbol with this name.
    pub fn address_of(&self, name: &str) -> Option<u64> {
        (0..self.len()).find(|i| self.names.get(self.name[*i]) == name).map(|i| self.base[i])
    }

    /// Where the code of the symbol that begins at an address ends.
    pub fn end_of(&self, address: u64) -> Option<u64> {
        // Labels inside cut it into pieces, which follow each other closely.
        let from = self.start.partition_point(|start| *start < address);
        let near = from..self.len().min(from + 64);
        near.filter(|i| self.base[*i] == address).map(|i| self.end[i]).max()
    }

    /// All symbols, by address; one that others cut into pieces comes more than once.
    pub fn iter(&self) -> impl Iterator<Item = Symbol<'_>> {
        (0..self.len()).map(|i| Symbol { name: self.names.get(self.name[i]), address: self.base[i] })
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.start.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.start.is_empty()
    }
}

/// Lines by first address.
#[derive(Clone, Debug, Default)]
pub struct LineTable {
    /// Address, line and position in `files`, in order of address.
    pub rows: Vec<(u64, u32, u32)>,
    /// File names.
    pub files: Texts,
}

impl LineTable {
    /// File and line at an address, not below `from`.
    pub fn find(&self, address: u64, from: u64) -> Option<(&str, u32)> {
        let i = self.rows.partition_point(|(at, ..)| *at <= address).checked_sub(1)?;
        let (at, line, file) = self.rows[i];
        (at >= from).then(|| (self.files.get(file), line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_symbols_cover_earlier_ones() {
        let t = SymbolTable::new([(10, 30, "outer"), (15, 20, "inner"), (50, 60, "old"), (45, 55, "new"), (7, 7, "empty")].into_iter());
        let at = |address| t.find(address).map(|s| (s.name, s.address));
        assert_eq!(at(9), None);
        assert_eq!(at(14), Some(("outer", 10)));
        assert_eq!(at(15), Some(("inner", 15)));
        assert_eq!(at(20), Some(("outer", 10)));
        assert_eq!(at(30), None);
        assert_eq!(at(50), Some(("new", 45)));
        assert_eq!(at(59), Some(("old", 50)));
        assert_eq!(t.address_of("inner"), Some(15));
    }

    #[test]
    fn offsets_become_addresses() {
        let mut f = SymbolFile::new(SourceId(0), "/lib/x.so", SymbolKind::Elf);
        f.segments = vec![
            Segment { offset: 0, size: 0x1000, address: 0x40_0000, memory: 0x1000, code: false },
            Segment { offset: 0x1000, size: 0x500, address: 0x40_2000, memory: 0x500, code: true },
        ];
        assert_eq!(f.name, "x.so");
        assert_eq!([f.address_of(0x10), f.address_of(0x1010), f.address_of(0x1500)], [Some(0x40_0010), Some(0x40_2010), None]);
        assert!(f.has_code_at(0x40_2001) && !f.has_code_at(0x40_0010));
    }
}
