//! Symbols that simpleperf keeps in its recordings (features `FILE` and `FILE2`; `record_file.proto` and `record_file_format.h` of AOSP's
//! system/extras/simpleperf).

use super::perf_bytes::{Bytes, until_nul};
use super::wire::Fields;

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
