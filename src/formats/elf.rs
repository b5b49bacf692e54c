//! ELF programs, libraries and debug files: names for addresses of perf.data. Kept are the symbols, the build id, what is
//! loaded where, the DWARF sections, and the code for its loops; data are let go.

use super::dwarf;
use super::perf_bytes::{Bytes, until_nul};
use super::perf_data_record::hex;
use super::{Format, Import, ImportError, Prefix, Sniff};
use crate::model::code::Code;
use crate::model::copied_stacks::Machine;
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use crate::model::symbol_files::{Segment, SymbolFile, SymbolKind, SymbolTable, UnwindSections};
use std::io::{BufRead, Read};
use std::sync::Arc;

const DAMAGED: DiagnosticCode = DiagnosticCode {
    code: "elf/damaged",
    level: Level::DataLoss,
    message: "Sections of this program lie beyond its end or cannot be inflated; names may be missing.",
};
const STRIPPED: DiagnosticCode = DiagnosticCode {
    code: "elf/stripped",
    level: Level::Notice,
    message: "This program has no symbols of its own functions (it is stripped): drop the file with its debug information too, for example \
              from the package NAME-dbgsym or NAME-debuginfo.",
};

const SPLIT: DiagnosticCode = DiagnosticCode {
    code: "elf/split-debug",
    level: Level::DataLoss,
    message: "The debug information of this program was split off (`-gsplit-dwarf`) into .dwo files or a .dwp, which are not read: functions \
              are named by symbols, without lines and inlined calls. Build with `-gno-split-dwarf` (Rust: `-C split-debuginfo=off`) to \
              have them.",
};
const DWO: DiagnosticCode = DiagnosticCode {
    code: "elf/split-debug-file",
    level: Level::DataLoss,
    message: "This is a file of split debug information (.dwo, .dwp), which is not read and names nothing alone. Build the program with \
              `-gno-split-dwarf` (Rust: `-C split-debuginfo=off`) and open that.",
};

/// The format.
pub struct Elf;

/// Sections of DWARF that names and lines come from.
const DEBUG: [&str; 13] = [
    ".debug_abbrev",
    ".debug_addr",
    ".debug_aranges",
    ".debug_info",
    ".debug_line",
    ".debug_line_str",
    ".debug_loc",
    ".debug_loclists",
    ".debug_ranges",
    ".debug_rnglists",
    ".debug_str",
    ".debug_str_offsets",
    ".debug_types",
];

impl Format for Elf {
    fn id(&self) -> &'static str {
        "elf"
    }
    fn name(&self) -> &'static str {
        "ELF program, library or debug file (symbols)"
    }
    fn extensions(&self) -> &'static [&'static str] {
        &["so", "debug", "elf"]
    }
    fn hint(&self) -> &'static str {
        "Names, lines and inlined calls for perf.data: drop the programs and libraries that ran beside the recording."
    }
    fn sniff(&self, prefix: &Prefix<'_>) -> Sniff {
        // Type 4 is a core dump, which names nothing.
        let kind = prefix.bytes.get(16..18).map_or(0, |b| b[0] | b[1]);
        if prefix.bytes.starts_with(b"\x7fELF") && matches!(kind, 1..=3) { Sniff::Certain } else { Sniff::No }
    }
    fn read(&self, input: &mut dyn BufRead, import: &mut Import<'_>) -> Result<(), ImportError> {
        // The table of sections stands at the end.
        let mut bytes = Vec::new();
        loop {
            let got = (&mut *input).take(16 << 20).read_to_end(&mut bytes)?;
            if got == 0 {
                break;
            }
            import.tick(0)?;
        }
        let malformed = |reason: &str| ImportError::Malformed { format: "ELF", reason: reason.to_string() };
        let elf = Image::parse(&bytes).ok_or_else(|| malformed("it ends within its header. Copy the file again."))?;
        let file = elf.symbol_file(import);
        if elf.sections.iter().any(|s| s.name == ".debug_info.dwo") {
            import.report(DWO, At::File, "");
        } else if dwarf::is_split(&file) {
            import.report(SPLIT, At::File, "");
        } else if file.symbols.is_empty() && !file.has_debug() {
            import.report(STRIPPED, At::File, "");
        }
        import.ledger.records_in += file.symbols.len() as u64;
        import.ledger.records_kept += file.symbols.len() as u64;
        import.session.symbol_files.push(file);
        Ok(())
    }
}

struct Section<'a> {
    name: String,
    kind: u32,
    flags: u64,
    link: usize,
    address: u64,
    /// Bytes in the file; `None` when they lie beyond its end.
    bytes: Option<&'a [u8]>,
}

struct Image<'a> {
    bytes: &'a [u8],
    big: bool,
    wide: bool,
    sections: Vec<Section<'a>>,
    segments: Vec<Segment>,
}

/// What an address-sized number is read with.
fn word(b: &mut Bytes<'_>, wide: bool) -> Option<u64> {
    if wide { b.u64() } else { b.u32().map(u64::from) }
}

fn range(bytes: &[u8], offset: u64, size: u64) -> Option<&[u8]> {
    let begin = usize::try_from(offset).ok()?;
    bytes.get(begin..begin.checked_add(usize::try_from(size).ok()?)?)
}

impl<'a> Image<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Image<'a>> {
        let (wide, big) = (*bytes.get(4)? == 2, *bytes.get(5)? == 2);
        let mut image = Image { bytes, big, wide, sections: Vec::new(), segments: Vec::new() };
        let mut b = Bytes::new(bytes.get(24..)?, big);
        word(&mut b, wide)?;
        let (programs, sections) = (word(&mut b, wide)?, word(&mut b, wide)?);
        b.skip(6)?;
        let (program_size, program_count) = (u64::from(b.u16()?), u64::from(b.u16()?));
        let (section_size, section_count, names) = (u64::from(b.u16()?), u64::from(b.u16()?), usize::from(b.u16()?));
        for i in 0..program_count {
            let entry = range(bytes, programs.saturating_add(i * program_size), program_size);
            image.segments.extend(entry.and_then(|entry| segment(entry, big, wide)));
        }
        image.read_sections(sections, section_size, section_count, names);
        Some(image)
    }

    fn read_sections(&mut self, at: u64, size: u64, count: u64, names: usize) {
        let header = |i: u64| -> Option<(u32, Section<'a>, u64)> {
            let mut b = Bytes::new(range(self.bytes, at.checked_add(i.checked_mul(size)?)?, size)?, self.big);
            let (name, kind, flags) = (b.u32()?, b.u32()?, word(&mut b, self.wide)?);
            let address = word(&mut b, self.wide)?;
            let (offset, len, link) = (word(&mut b, self.wide)?, word(&mut b, self.wide)?, b.u32()? as usize);
            // 8: no bytes in the file.
            let bytes = if kind == 8 { Some(&[][..]) } else { range(self.bytes, offset, len) };
            Some((name, Section { name: String::new(), kind, flags, link, address, bytes }, len))
        };
        if at == 0 {
            return;
        }
        // Large counts stand in the first section's header.
        let first = header(0);
        let count = if count == 0 { first.as_ref().map_or(0, |(.., len)| *len) } else { count };
        let names = if names == 0xffff { first.map_or(0, |(_, s, _)| s.link) } else { names };
        // Each header takes room in the file, which bounds the loop.
        let mut offsets = Vec::new();
        let mut sections = Vec::new();
        for (name, section, _) in (0..count).map_while(header) {
            offsets.push(name);
            sections.push(section);
        }
        let table = sections.get(names).and_then(|s| s.bytes).unwrap_or_default();
        for (section, offset) in sections.iter_mut().zip(offsets) {
            section.name = name_at(table, offset);
        }
        self.sections = sections;
    }

    fn symbol_file(&self, import: &mut Import<'_>) -> SymbolFile {
        let mut file = SymbolFile::new(import.source, import.file_name, SymbolKind::Elf);
        file.big = self.big;
        file.segments.clone_from(&self.segments);
        file.build_id = self.build_id().unwrap_or_default();
        for section in &self.sections {
            if section.bytes.is_none() {
                import.report(DAMAGED, At::File, &section.name);
            }
        }
        let mut crc = flate2::Crc::new();
        crc.update(self.bytes);
        file.checksum = crc.sum();
        file.debug_link = self.debug_link();
        let mut symbols = Vec::new();
        for kind in [11, 2] {
            for section in self.sections.iter().filter(|s| s.kind == kind) {
                self.read_symbols(section, &mut symbols);
            }
        }
        close(&mut symbols, &self.segments);
        file.symbols = SymbolTable::new(symbols.iter().map(|s| (s.address, s.end, s.name.as_str())));
        let mut debug = Vec::new();
        for section in &self.sections {
            let plain = if let Some(rest) = section.name.strip_prefix(".z") { format!(".{rest}") } else { section.name.clone() };
            if DEBUG.contains(&plain.as_str()) && section.kind != 8 {
                match self.inflated(section, import) {
                    Some(bytes) => debug.push((plain, bytes)),
                    None => import.report(DAMAGED, At::File, &section.name),
                }
            }
        }
        file.debug = Arc::new(debug);
        file.code = self.code().map(Arc::new);
        file.unwind = Arc::new(self.unwind_sections(import));
        file
    }

    /// What unwinds stacks, of the machines for which that is done: x86-64 (62) and AArch64 (183).
    fn unwind_sections(&self, import: &mut Import<'_>) -> UnwindSections {
        let mut out = UnwindSections::default();
        let machine = self.bytes.get(18).copied().unwrap_or(0);
        out.machine = match machine {
            62 if self.wide && !self.big => Machine::X86_64,
            183 if self.wide && !self.big => Machine::Aarch64,
            _ => return out,
        };
        for section in self.sections.iter().filter(|s| s.kind != 8) {
            match section.name.as_str() {
                ".eh_frame" => {
                    (out.eh_frame, out.eh_frame_address) = (section.bytes.unwrap_or_default().to_vec(), section.address);
                }
                ".debug_frame" | ".zdebug_frame" => out.debug_frame = self.inflated(section, import).unwrap_or_default(),
                ".text" => out.text_address = section.address,
                _ => {}
            }
        }
        out
    }

    /// The sections with code, of machines that can be decoded.
    fn code(&self) -> Option<Code> {
        let mut b = Bytes::new(self.bytes.get(18..20)?, self.big);
        let machine = match b.u16()? {
            62 if self.wide && !self.big => Machine::X86_64,
            183 if self.wide => Machine::Aarch64,
            _ => return None,
        };
        // Kind 1 has bytes in the file; flags: loaded, and code.
        let holds = |s: &&Section<'a>| s.kind == 1 && s.flags & 6 == 6;
        let parts: Vec<(u64, Vec<u8>)> = self
            .sections
            .iter()
            .filter(holds)
            .filter_map(|s| Some((s.address, s.bytes?.to_vec())))
            .filter(|(_, b)| !b.is_empty())
            .collect();
        (!parts.is_empty()).then_some(Code { machine, parts })
    }

    /// A name, filled up to four bytes, and a checksum.
    fn debug_link(&self) -> Option<(String, u32)> {
        let bytes = self.sections.iter().find(|s| s.name == ".gnu_debuglink")?.bytes?;
        let name = until_nul(bytes);
        let mut b = Bytes::new(bytes.get((name.len() + 1).next_multiple_of(4)..)?, self.big);
        Some((name, b.u32()?))
    }

    /// Note 3 of the owner `GNU`.
    fn build_id(&self) -> Option<String> {
        self.sections.iter().filter(|s| s.kind == 7).filter_map(|s| s.bytes).find_map(|bytes| {
            let mut b = Bytes::new(bytes, self.big);
            loop {
                let (name, len, kind) = (b.u32()? as usize, b.u32()? as usize, b.u32()?);
                let owner = b.take(name.checked_next_multiple_of(4)?)?;
                let id = b.take(len.checked_next_multiple_of(4)?.min(b.rest().len()))?;
                if kind == 3 && owner.starts_with(b"GNU\0") {
                    return id.get(..len).map(hex);
                }
            }
        })
    }

    fn read_symbols(&self, section: &Section<'a>, out: &mut Vec<Function>) {
        let (Some(bytes), Some(names)) = (section.bytes, self.sections.get(section.link).and_then(|s| s.bytes)) else { return };
        let size = if self.wide { 24 } else { 16 };
        // On ARM the lowest bit of an address tells Thumb code.
        let arm = self.bytes.get(18..20).is_some_and(|m| m == [40, 0] || m == [0, 40]);
        for entry in bytes.chunks_exact(size) {
            let mut b = Bytes::new(entry, self.big);
            let parsed = (|| {
                let name = b.u32()?;
                if self.wide {
                    let (info, _, section) = (b.u8()?, b.u8()?, b.u16()?);
                    Some((name, info, section, b.u64()?, b.u64()?))
                } else {
                    let (address, size) = (u64::from(b.u32()?), u64::from(b.u32()?));
                    let (info, _, section) = (b.u8()?, b.u8()?, b.u16()?);
                    Some((name, info, section, address, size))
                }
            })();
            let Some((name, info, section, address, size)) = parsed else { continue };
            // Functions, indirect functions and untyped labels of assembler code that are defined here.
            let code = section != 0 && section < 0xff00 && self.sections.get(usize::from(section)).is_none_or(|s| s.flags & 4 != 0);
            if !matches!(info & 15, 0 | 2 | 10) || !code || address == 0 {
                continue;
            }
            let name = name_at(names, name);
            // Marks of code and data on ARM and RISC-V are no functions.
            if name.is_empty() || name.starts_with('$') {
                continue;
            }
            let address = if arm { address & !1 } else { address };
            out.push(Function { address, end: address.saturating_add(size), global: info >> 4 != 0, typed: info & 15 != 0, name });
        }
    }

    /// A section's bytes, inflated if need be: `SHF_COMPRESSED` with zlib or zstd, or the older `.zdebug`.
    fn inflated(&self, section: &Section<'a>, import: &mut Import<'_>) -> Option<Vec<u8>> {
        let bytes = section.bytes?;
        let mut b = Bytes::new(bytes, self.big);
        let (kind, size) = if section.flags & 0x800 != 0 {
            let kind = b.u32()?;
            if self.wide {
                b.u32()?;
            }
            let size = word(&mut b, self.wide)?;
            word(&mut b, self.wide)?;
            (kind, size)
        } else if section.name.starts_with(".z") {
            (b.take(4)? == b"ZLIB").then_some(())?;
            (1, Bytes::new(b.take(8)?, true).u64()?)
        } else {
            return Some(bytes.to_vec());
        };
        // A section that inflates to more than the format allows is a trap.
        (size <= b.rest().len() as u64 * import.limits.max_inflate_ratio).then_some(())?;
        let mut out = Vec::new();
        match kind {
            1 => {
                let mut inflater = flate2::bufread::ZlibDecoder::new(b.rest()).take(size);
                inflater.read_to_end(&mut out).ok()?;
            }
            2 => {
                super::zstd::Zstd::new(b.rest()).take(size).read_to_end(&mut out).ok()?;
            }
            _ => return None,
        }
        Some(out)
    }
}

/// Longer names are no symbols.
const MAX_NAME: usize = 1 << 12;

/// The text at an offset of a table.
fn name_at(table: &[u8], offset: u32) -> String {
    let rest = table.get(offset as usize..).unwrap_or_default();
    until_nul(&rest[..rest.len().min(MAX_NAME)])
}

fn segment(entry: &[u8], big: bool, wide: bool) -> Option<Segment> {
    let mut b = Bytes::new(entry, big);
    let kind = b.u32()?;
    let (flags, offset, address, size, memory) = if wide {
        let flags = b.u32()?;
        let (offset, address) = (b.u64()?, b.u64()?);
        b.u64()?;
        (flags, offset, address, b.u64()?, b.u64()?)
    } else {
        let (offset, address) = (u64::from(b.u32()?), u64::from(b.u32()?));
        b.u32()?;
        let (size, memory) = (u64::from(b.u32()?), u64::from(b.u32()?));
        (b.u32()?, offset, address, size, memory)
    };
    (kind == 1).then_some(Segment { offset, size, address, memory, code: flags & 1 != 0 })
}

struct Function {
    address: u64,
    end: u64,
    global: bool,
    typed: bool,
    name: String,
}

/// Puts symbols in the order in which they cover each other: by address; of several at one place the best last. A symbol
/// without a size reaches to the next one.
fn close(symbols: &mut Vec<Function>, segments: &[Segment]) {
    symbols.sort_by(|a, b| {
        let rank = |f: &Function| (f.typed, f.end > f.address, f.global, std::cmp::Reverse(f.name.starts_with('_')));
        // The longer is below the shorter, and names decide between equals so that their order in the file does not.
        (a.address, rank(a)).cmp(&(b.address, rank(b))).then_with(|| b.name.len().cmp(&a.name.len())).then_with(|| b.name.cmp(&a.name))
    });
    let mut next = u64::MAX;
    let mut address = u64::MAX;
    for symbol in symbols.iter_mut().rev() {
        if symbol.address < address {
            (next, address) = (address, symbol.address);
        }
        if symbol.end == symbol.address {
            let segment = segments.iter().find(|s| symbol.address >= s.address && symbol.address - s.address < s.memory);
            let limit = segment.map_or(u64::MAX, |s| s.address.saturating_add(s.memory));
            symbol.end = next.min(limit);
        }
    }
    symbols.dedup_by(|a, b| a.address == b.address && a.name == b.name && a.end == b.end);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_name_of_a_place_is_shown() {
        let f = |address: u64, size: u64, global, typed, name: &str| Function {
            address,
            end: address + size,
            global,
            typed,
            name: name.into(),
        };
        let mut s = vec![
            f(0x10, 0x10, true, true, "open"),
            f(0x10, 0x10, true, true, "__libc_open64"),
            f(0x10, 0, false, false, "label"),
            f(0x30, 0, false, false, "asm"),
            f(0x40, 4, false, true, "last"),
        ];
        close(&mut s, &[]);
        let t = SymbolTable::new(s.iter().map(|s| (s.address, s.end, s.name.as_str())));
        let at = |a| t.find(a).map(|s| s.name);
        assert_eq!([at(0x10), at(0x1f), at(0x3f), at(0x43), at(0x44)], [Some("open"), Some("open"), Some("asm"), Some("last"), None]);
    }
}
