//! Symbols as text: perf maps, which just-in-time compilers write (`perf-PID.map`), and the kernel's `kallsyms`.

use super::{Format, Import, ImportError, Prefix, Sniff};
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use crate::model::symbol_files::{SymbolFile, SymbolKind, SymbolTable};
use std::io::BufRead;

const BAD_LINE: DiagnosticCode =
    DiagnosticCode { code: "symbols/bad-line", level: Level::DataLoss, message: "Lines that are no symbol were skipped." };
const HIDDEN: DiagnosticCode = DiagnosticCode {
    code: "kallsyms/hidden",
    level: Level::DataLoss,
    message: "The kernel hid its addresses: they are all 0. Copy the file as root: `sudo cat /proc/kallsyms > kallsyms`.",
};

/// A perf map: `START SIZE NAME` with hexadecimal numbers, one line per function (`jit-interface.txt` of perf).
pub struct PerfMap;

/// `/proc/kallsyms`: `ADDRESS TYPE NAME [MODULE]`.
pub struct Kallsyms;

/// Lines looked at to recognise a file.
const SNIFFED: usize = 200;

impl Format for PerfMap {
    fn id(&self) -> &'static str {
        "perf-map"
    }
    fn name(&self) -> &'static str {
        "perf map (symbols)"
    }
    fn extensions(&self) -> &'static [&'static str] {
        &["map"]
    }
    fn hint(&self) -> &'static str {
        "Names for perf.data of just-in-time compiled code: `node --perf-basic-prof`, `java -XX:+DumpPerfMapAtExit`, \
         `python -X perf` write /tmp/perf-PID.map."
    }
    fn sniff(&self, prefix: &Prefix<'_>) -> Sniff {
        // The last line may be cut.
        let lines = || prefix.text().lines().take(SNIFFED);
        let good = lines().filter(|line| map_line(line).is_some()).count();
        let all = lines().filter(|line| !line.trim().is_empty()).count();
        if good > 0 && good + 1 >= all && lines().next().is_some_and(|line| map_line(line).is_some()) { Sniff::Likely } else { Sniff::No }
    }
    fn read(&self, input: &mut dyn BufRead, import: &mut Import<'_>) -> Result<(), ImportError> {
        let pid = pid_in_name(import.file_name).unwrap_or(-1);
        read(input, import, SymbolKind::Process(pid), |line| {
            map_line(line).map(|(start, size, name)| (start, start.saturating_add(size), name.to_string()))
        })
    }
}

impl Format for Kallsyms {
    fn id(&self) -> &'static str {
        "kallsyms"
    }
    fn name(&self) -> &'static str {
        "kallsyms (symbols of the Linux kernel)"
    }
    fn extensions(&self) -> &'static [&'static str] {
        &["kallsyms"]
    }
    fn hint(&self) -> &'static str {
        "Names for kernel frames of perf.data: `sudo cat /proc/kallsyms > kallsyms` on the recording machine before it restarts."
    }
    fn sniff(&self, prefix: &Prefix<'_>) -> Sniff {
        let lines: Vec<&str> = prefix.text().lines().take(SNIFFED).collect();
        let good = lines.iter().filter(|line| kernel_line(line).is_some()).count();
        if good > 0 && good + 1 >= lines.len() { Sniff::Certain } else { Sniff::No }
    }
    fn read(&self, input: &mut dyn BufRead, import: &mut Import<'_>) -> Result<(), ImportError> {
        // Each symbol reaches to the next one; `read` closes those that have no end of their own.
        read(input, import, SymbolKind::Kernel, |line| kernel_line(line).map(|(address, name)| (address, 0, name.to_string())))
    }
}

fn map_line(line: &str) -> Option<(u64, u64, &str)> {
    let hex = |text: &str| u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok();
    let (start, rest) = line.trim_end().split_once(' ')?;
    let (size, name) = rest.split_once(' ')?;
    // A folded stack of two words has its count, and no third word, behind them.
    (start.len() >= 4 && !name.trim().is_empty()).then_some(())?;
    Some((hex(start)?, hex(size)?, name.trim()))
}

fn kernel_line(line: &str) -> Option<(u64, &str)> {
    let mut words = line.split_ascii_whitespace();
    let (address, kind, name) = (words.next()?, words.next()?, words.next()?);
    let typed = kind.len() == 1 && kind.bytes().all(|b| b.is_ascii_alphabetic());
    (matches!(address.len(), 8 | 16) && typed).then_some(())?;
    // Data are no place where code runs.
    Some((u64::from_str_radix(address, 16).ok()?, if matches!(kind, "t" | "T" | "w" | "W") { name } else { "" }))
}

/// The process in `perf-PID.map`.
fn pid_in_name(name: &str) -> Option<i64> {
    let base = name.rsplit(['/', '\\']).next()?;
    // What stands behind the ending is a wrapping: `perf-12.map.gz`.
    let (pid, rest) = base.strip_prefix("perf-")?.split_once('.')?;
    (rest == "map" || rest.starts_with("map.")).then_some(pid)?.parse().ok()
}

fn read(
    input: &mut dyn BufRead,
    import: &mut Import<'_>,
    kind: SymbolKind,
    parse: impl Fn(&str) -> Option<(u64, u64, String)>,
) -> Result<(), ImportError> {
    let mut symbols: Vec<(u64, u64, String)> = Vec::new();
    let mut line = Vec::new();
    let mut number = 0;
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        number += 1;
        let text = String::from_utf8_lossy(&line);
        if text.trim().is_empty() {
            continue;
        }
        import.ledger.records_in += 1;
        match parse(&text) {
            Some(symbol) => {
                import.ledger.records_kept += 1;
                symbols.push(symbol);
            }
            None => import.report(BAD_LINE, At::Line(number), &text),
        }
        if number % 16_384 == 0 {
            import.tick(number)?;
        }
    }
    let kernel = kind == SymbolKind::Kernel;
    if kernel {
        close(&mut symbols);
        if symbols.is_empty() && import.ledger.records_kept > 0 {
            import.report(HIDDEN, At::File, "");
        }
    }
    let mut file = SymbolFile::new(import.source, import.file_name, kind);
    file.symbols = SymbolTable::new(symbols.iter().map(|(start, end, name)| (*start, *end, name.as_str())));
    import.session.symbol_files.push(file);
    Ok(())
}

/// Gives each symbol the next one's address as its end, and drops data and hidden addresses.
fn close(symbols: &mut Vec<(u64, u64, String)>) {
    symbols.retain(|(address, ..)| *address != 0);
    symbols.sort_by_key(|(address, ..)| *address);
    let mut next = u64::MAX;
    let mut address = u64::MAX;
    for symbol in symbols.iter_mut().rev() {
        if symbol.0 < address {
            (next, address) = (address, symbol.0);
        }
        symbol.1 = next;
    }
    symbols.retain(|(.., name)| !name.is_empty());
    // Of several names for one place the first is shown: what comes later covers what came before.
    symbols.dedup_by_key(|(address, ..)| *address);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        assert_eq!(map_line("7f3a10 2c LazyCompile:~a b /x.js:1"), Some((0x7f3a10, 0x2c, "LazyCompile:~a b /x.js:1")));
        assert_eq!(map_line("0x7f3a10 0x2c f"), Some((0x7f3a10, 0x2c, "f")));
        assert_eq!([map_line("main;a b 12"), map_line("feed face"), map_line("add 12 ")], [None; 3]);
        assert_eq!(kernel_line("ffffffff81000000 T _text"), Some((0xffff_ffff_8100_0000, "_text")));
        assert_eq!(kernel_line("ffffffffc0001000 t nf_hook\t[nf_tables]"), Some((0xffff_ffff_c000_1000, "nf_hook")));
        assert_eq!(kernel_line("ffffffff81000000 D data"), Some((0xffff_ffff_8100_0000, "")));
        assert_eq!(kernel_line("swapper 0 [000]"), None);
        assert_eq!(
            [pid_in_name("/tmp/perf-12.map"), pid_in_name("perf-12.map.gz"), pid_in_name("perf-12"), pid_in_name("x.map")],
            [Some(12), Some(12), None, None]
        );
    }

    #[test]
    fn kernel_symbols_reach_to_the_next_address() {
        let mut s: Vec<(u64, u64, String)> =
            [(30, "c"), (0, "hidden"), (10, "a"), (10, "alias"), (20, "")].iter().map(|(a, n)| (*a, 0, n.to_string())).collect();
        close(&mut s);
        assert_eq!(s, [(10, 20, "a".to_string()), (30, u64::MAX, "c".to_string())]);
    }
}
