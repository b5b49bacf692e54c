//! jitdump, the code that just-in-time compilers write for `perf inject --jit` (`jitdump-specification.txt` of Linux): names,
//! addresses and lines; the code itself is passed over.

use super::perf_bytes::Bytes;
use super::stream::append;
use super::{Format, Import, ImportError, Prefix, Sniff};
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use crate::model::symbol_files::{LineTable, SymbolFile, SymbolKind, SymbolTable};
use std::collections::HashMap;
use std::io::BufRead;

const BAD_RECORD: DiagnosticCode = DiagnosticCode {
    code: "jitdump/bad-record",
    level: Level::DataLoss,
    message: "Records that are shorter than their type says were skipped, or the file ends within one.",
};

/// The format.
pub struct JitDump;

/// Records longer than this are damage: they hold one function's code.
const LONGEST: usize = 256 << 20;

impl Format for JitDump {
    fn id(&self) -> &'static str {
        "jitdump"
    }
    fn name(&self) -> &'static str {
        "jitdump (symbols)"
    }
    fn extensions(&self) -> &'static [&'static str] {
        &["dump"]
    }
    fn hint(&self) -> &'static str {
        "Names and lines for perf.data of just-in-time compiled code: `perf record -k mono node --perf-prof app.js` writes jit-PID.dump."
    }
    fn sniff(&self, prefix: &Prefix<'_>) -> Sniff {
        if prefix.bytes.starts_with(b"DTiJ") || prefix.bytes.starts_with(b"JiTD") { Sniff::Certain } else { Sniff::No }
    }
    fn read(&self, input: &mut dyn BufRead, import: &mut Import<'_>) -> Result<(), ImportError> {
        let mut found = Found::default();
        found.read(input, import)?;
        let mut file = SymbolFile::new(import.source, import.file_name, SymbolKind::Process(found.pid));
        file.symbols = SymbolTable::new(found.symbols.iter().map(|(start, end, name)| (*start, *end, name.as_str())));
        found.lines.rows.sort_by_key(|(address, ..)| *address);
        file.lines = found.lines;
        import.session.symbol_files.push(file);
        Ok(())
    }
}

#[derive(Default)]
struct Found {
    pid: i64,
    symbols: Vec<(u64, u64, String)>,
    /// The newest symbol at an address.
    newest: HashMap<u64, usize>,
    lines: LineTable,
    files: HashMap<String, u32>,
}

impl Found {
    fn read(&mut self, input: &mut dyn BufRead, import: &mut Import<'_>) -> Result<(), ImportError> {
        let mut bytes = Vec::new();
        append(input, &mut bytes, 40)?;
        let big = bytes.starts_with(b"J");
        let mut b = Bytes::new(&bytes, big);
        let head = b.skip(8).and_then(|()| b.u32()).zip(b.skip(8).and_then(|()| b.u32()));
        let Some((size, pid)) = head else {
            let reason = "it ends within its first 40 bytes. Copy the file again.".to_string();
            return Err(ImportError::Malformed { format: "jitdump", reason });
        };
        self.pid = i64::from(pid);
        let more = (size as usize).clamp(40, 4096) - 40;
        append(input, &mut bytes, more)?;
        let mut at = u64::from(size);
        for number in 1.. {
            bytes.clear();
            if append(input, &mut bytes, 16)? == 0 {
                break;
            }
            let mut b = Bytes::new(&bytes, big);
            let head = b.u32().zip(b.u32()).filter(|(_, size)| (16..=LONGEST).contains(&(*size as usize)));
            let Some((kind, size)) = head else {
                import.report(BAD_RECORD, At::Byte(at), "");
                break;
            };
            import.ledger.records_in += 1;
            bytes.clear();
            let whole = append(input, &mut bytes, size as usize - 16)? == size as usize - 16;
            if whole && self.record(kind, &bytes, big).is_some() {
                import.ledger.records_kept += 1;
            } else {
                import.report(BAD_RECORD, At::Byte(at), &format!("type {kind}, {size} bytes"));
            }
            at += u64::from(size);
            if number % 4096 == 0 {
                import.tick(number)?;
            }
        }
        Ok(())
    }

    fn record(&mut self, kind: u32, bytes: &[u8], big: bool) -> Option<()> {
        let mut b = Bytes::new(bytes, big);
        match kind {
            // Code was loaded: process, thread, virtual address, address, size, number, name.
            0 => {
                b.skip(16)?;
                let (address, size) = (b.u64()?, b.u64()?);
                b.u64()?;
                self.newest.insert(address, self.symbols.len());
                self.symbols.push((address, address.saturating_add(size), b.text()));
            }
            // Code was moved.
            1 => {
                b.skip(16)?;
                let (from, to, size) = (b.u64()?, b.u64()?, b.u64()?);
                if let Some(at) = self.newest.get(&from).copied() {
                    self.newest.insert(to, self.symbols.len());
                    let name = self.symbols[at].2.clone();
                    self.symbols.push((to, to.saturating_add(size), name));
                }
            }
            // Lines of code that is loaded next: address, count, then address, line, column, file.
            2 => {
                b.u64()?;
                for _ in 0..b.u64()? {
                    let (address, line) = (b.u64()?, b.u32()?);
                    b.u32()?;
                    let name = b.text();
                    // A file name of one byte 0xff repeats the last one.
                    let file = match self.lines.rows.last() {
                        Some((.., last)) if name == "\u{fffd}" => *last,
                        _ => *self.files.entry(name).or_insert_with_key(|name| self.lines.files.push(name)),
                    };
                    self.lines.rows.push((address, line, file));
                }
            }
            _ => {}
        }
        Some(())
    }
}
