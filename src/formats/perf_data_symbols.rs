//! Symbols that simpleperf keeps in its recordings (features `FILE` and `FILE2`; `record_file.proto` and `record_file_format.h` of AOSP's
//! system/extras/simpleperf).

use super::perf_bytes::{Bytes, until_nul};
use super::wire::Fields;
use crate::base::ids::SourceId;
use crate::model::symbol_files::{Segment, SymbolFile, SymbolKind, SymbolTable};

/// The symbols of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileSymbols {
    /// Path of the file.
    pub path: String,
    /// `DSO_*`: 0 kernel, 1 kernel module, 2 ELF file, 3 dex file, 4 symbol map.
    pub kind: u32,
    /// Lowest address of the executable segment, and where it stands in the file.
    pub min_vaddr: (u64, u64),
    /// Address, length, name.
    pub symbols: Vec<(u64, u64, String)>,
}

impl FileSymbols {
    /// As a file that names addresses; `None` for kinds whose addresses are not those of an ELF file or the kernel.
    pub fn into_file(self, source: SourceId) -> Option<SymbolFile> {
        let kind = match self.kind {
            0 => SymbolKind::Kernel,
            2 => SymbolKind::Elf,
            _ => return None,
        };
        let mut file = SymbolFile::new(source, &self.path, kind);
        let (address, offset) = self.min_vaddr;
        // The executable segment: simpleperf says where it begins and not how long it is.
        let size = u64::MAX - address.max(offset);
        file.segments.push(Segment { offset, size, address, memory: size, code: true });
        file.symbols = SymbolTable::new(self.symbols.iter().map(|(start, len, name)| (*start, start.saturating_add(*len), name.as_str())));
        (!file.symbols.is_empty()).then_some(file)
    }
}

/// Reads the section: each file behind its size, as a struct or (`FILE2`) as a protobuf message.
pub fn simpleperf_files(bytes: &[u8], protobuf: bool, out: &mut Vec<FileSymbols>) -> Option<()> {
    let mut b = Bytes::new(bytes, false);
    while !b.is_empty() {
        let size = b.u32()? as usize;
        let file = b.take(size)?;
        out.push(if protobuf { from_message(file) } else { from_struct(file)? });
    }
    Some(())
}

fn from_struct(bytes: &[u8]) -> Option<FileSymbols> {
    let mut b = Bytes::new(bytes, false);
    let path = b.text();
    let kind = b.u32()?;
    let min_vaddr = (b.u64()?, 0);
    let count = b.u32()? as usize;
    let mut symbols = Vec::new();
    for _ in 0..count {
        let (address, len) = (b.u64()?, u64::from(b.u32()?));
        symbols.push((address, len, b.text()));
    }
    // The offset is there for ELF files of later versions.
    let offset = if kind == 2 { b.u64().unwrap_or(0) } else { 0 };
    Some(FileSymbols { path, kind, min_vaddr: (min_vaddr.0, offset), symbols })
}

fn from_message(bytes: &[u8]) -> FileSymbols {
    let mut out = FileSymbols::default();
    for (number, value) in Fields::new(bytes) {
        match number {
            1 => out.path = until_nul(value.bytes()),
            2 => out.kind = value.u64() as u32,
            3 => out.min_vaddr.0 = value.u64(),
            4 => {
                let mut symbol = (0, 0, String::new());
                for (number, value) in Fields::new(value.bytes()) {
                    match number {
                        1 => symbol.0 = value.u64(),
                        2 => symbol.1 = value.u64(),
                        3 => symbol.2 = until_nul(value.bytes()),
                        _ => {}
                    }
                }
                out.symbols.push(symbol);
            }
            6 => {
                for (number, value) in Fields::new(value.bytes()) {
                    if number == 1 {
                        out.min_vaddr.1 = value.u64();
                    }
                }
            }
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A protobuf field of bytes, shorter than 128.
    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, bytes.len() as u8], bytes].concat()
    }

    #[test]
    fn both_forms_give_the_same_names() {
        let symbol = [&[8, 0x90, 0x20, 16, 0x20][..], &field(3, b"draw")].concat();
        let elf = [8, 0x80, 0x10];
        let message = [field(1, b"/system/lib64/libui.so"), vec![16, 2, 24, 0x80, 0x20], field(4, &symbol), field(6, &elf)].concat();
        let mut as_struct = b"/system/lib64/libui.so\0\x02\0\0\0\0\x10\0\0\0\0\0\0\x01\0\0\0".to_vec();
        as_struct.extend(b"\x10\x10\0\0\0\0\0\0\x20\0\0\0draw\0\0\x08\0\0\0\0\0\0");
        for (bytes, protobuf) in [(message, true), (as_struct, false)] {
            let section = [&(bytes.len() as u32).to_le_bytes()[..], &bytes].concat();
            let mut out = Vec::new();
            assert_eq!(simpleperf_files(&section, protobuf, &mut out), Some(()));
            let file = out.remove(0).into_file(SourceId(0)).unwrap();
            assert_eq!((file.name.as_str(), file.address_of(0x810)), ("libui.so", Some(0x1010)));
            assert_eq!(file.symbols.find(0x102f).map(|s| (s.name, s.address)), Some(("draw", 0x1010)));
            assert_eq!(simpleperf_files(&section[..section.len() - 1], protobuf, &mut out), None);
        }
    }
}
