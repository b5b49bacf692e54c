//! Branch stacks in `perf script` text (`-F +brstack`, `+brstacksym`): entries `FROM/TO/FLAGS/INTX/ABORT/CYCLES[/TYPE[/SPEC]]`,
//! newest first (`tools/perf/Documentation/perf-script.txt`).

use crate::model::branches::{BRANCH_ABORT, BRANCH_IN_TX, BRANCH_KINDS, BRANCH_MISPREDICTED, BRANCH_NOT_TAKEN, BRANCH_PREDICTED};

/// An end of a branch as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End<'a> {
    /// Symbol; empty where only the address is printed.
    pub symbol: &'a str,
    /// Offset in the symbol, or the address.
    pub at: u64,
    /// Binary.
    pub dso: Option<&'a str>,
}

/// An entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Where the branch stood, as text.
    pub from: &'a str,
    /// Where it went, as text.
    pub to: &'a str,
    /// Bits of [`crate::model::branches`].
    pub flags: u8,
    /// Position in [`BRANCH_KINDS`].
    pub kind: u8,
    /// Cycles since the entry before it in time.
    pub cycles: u16,
}

/// The entries of a line; `None` when it is no branch stack. Entries that are damaged are left out and counted.
pub fn branch_stack(line: &str) -> Option<(Vec<Entry<'_>>, u64)> {
    let line = line.trim();
    // Two blanks stand between entries; symbols may hold single ones.
    let parts: Vec<&str> = if line.contains("  ") || !line.starts_with("0x") {
        line.split("  ").map(str::trim).filter(|part| !part.is_empty()).collect()
    } else {
        line.split(' ').collect()
    };
    let first = entry(parts.first()?)?;
    let mut out = vec![first];
    let mut bad = 0;
    for part in &parts[1..] {
        match entry(part) {
            Some(entry) => out.push(entry),
            None => bad += 1,
        }
    }
    Some((out, bad))
}

/// Symbols and paths may hold slashes: the entry is told from its end.
fn entry(text: &str) -> Option<Entry<'_>> {
    let mut end = text.len();
    let mut fields = [""; 7];
    let mut starts = [0; 7];
    let mut found = 0;
    while found < fields.len() {
        let at = text[..end].rfind('/')?;
        (fields[found], starts[found]) = (&text[at + 1..end], at);
        end = at;
        found += 1;
        // The cycles may be the last, the last but one or the last but two.
        if found >= 4
            && let Some(last) = found.checked_sub(4).filter(|last| *last <= 2)
            && let Some((flags, cycles)) = marks(fields[last + 3], fields[last + 2], fields[last + 1], fields[last])
        {
            let kind = match last {
                0 => 0,
                _ => BRANCH_KINDS.iter().position(|kind| *kind == fields[last - 1] && !kind.is_empty()).unwrap_or(0),
            };
            let (from, to) = split_ends(&text[..starts[last + 3]])?;
            (parse_end(from).is_some() && parse_end(to).is_some()).then_some(())?;
            return Some(Entry { from, to, flags, kind: kind as u8, cycles });
        }
    }
    None
}

fn marks(predicted: &str, in_tx: &str, abort: &str, cycles: &str) -> Option<(u8, u16)> {
    if !matches!(in_tx, "X" | "-") || !matches!(abort, "A" | "-") || !predicted.chars().all(|c| matches!(c, 'M' | 'P' | 'N' | '-')) {
        return None;
    }
    let mut flags = 0;
    for (set, bit) in [
        (predicted.contains('M'), BRANCH_MISPREDICTED),
        (predicted.contains('P'), BRANCH_PREDICTED),
        (predicted.contains('N'), BRANCH_NOT_TAKEN),
        (in_tx == "X", BRANCH_IN_TX),
        (abort == "A", BRANCH_ABORT),
    ] {
        flags |= if set { bit } else { 0 };
    }
    let cycles: u64 = cycles.parse().ok()?;
    Some((flags, cycles.min(u64::from(u16::MAX)) as u16))
}

/// The slash between the two ends: the first one behind a complete end.
fn split_ends(text: &str) -> Option<(&str, &str)> {
    let slashes = text.match_indices('/').map(|(at, _)| at);
    let mut splits = slashes.map(|at| (&text[..at], &text[at + 1..])).filter(|(from, to)| !from.is_empty() && !to.is_empty());
    let complete = |end: &str| {
        end.ends_with(')') || end.rsplit("0x").next().is_some_and(|hex| !hex.is_empty() && hex.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    splits.find(|(from, _)| complete(from))
}

/// An end of a branch: `0x1234`, `main+0x10`, either followed by `(/path/of/binary)`.
pub fn parse_end(text: &str) -> Option<End<'_>> {
    let (place, dso) = match text.strip_suffix(')').and_then(|t| t.rfind('(').map(|at| (&t[..at], &t[at + 1..]))) {
        Some((place, dso)) if !place.is_empty() => (place, Some(dso)),
        _ => (text, None),
    };
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    if let Some(address) = place.strip_prefix("0x").and_then(hex) {
        return Some(End { symbol: "", at: address, dso });
    }
    match place.rsplit_once("+0x") {
        Some((symbol, offset)) => Some(End { symbol, at: hex(offset)?, dso }),
        None => Some(End { symbol: place, at: 0, dso }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_all_versions() {
        let table = [
            ("0x10/0x20/P/-/-/3", "0x10", "0x20", BRANCH_PREDICTED, 0, 3),
            ("0x10/0x20/M/X/A/0/COND", "0x10", "0x20", BRANCH_MISPREDICTED | BRANCH_IN_TX | BRANCH_ABORT, 1, 0),
            ("0x10/0x20/PN/-/-/7/CALL/-", "0x10", "0x20", BRANCH_PREDICTED | BRANCH_NOT_TAKEN, 4, 7),
            ("0xf(/lib/x.so)/0x1f(/lib/x.so)/P/-/-/1", "0xf(/lib/x.so)", "0x1f(/lib/x.so)", BRANCH_PREDICTED, 0, 1),
            ("operator/(A)+0x4/main+0x10/-/-/-/99999/RET/-", "operator/(A)+0x4", "main+0x10", 0, 6, u16::MAX),
        ];
        for (text, from, to, flags, kind, cycles) in table {
            assert_eq!(entry(text), Some(Entry { from, to, flags, kind, cycles }), "{text}");
        }
        for text in ["0x10/0x20/P/-/-", "a/b/c/d/e/f", "/usr/lib/x/y/z/1", "", "0x10/P/-/-/3", "main (/a/b/c/d/e)"] {
            assert_eq!(entry(text), None, "{text}");
        }
    }

    #[test]
    fn ends() {
        assert_eq!(parse_end("0x1f(/lib/x.so)"), Some(End { symbol: "", at: 0x1f, dso: Some("/lib/x.so") }));
        assert_eq!(parse_end("operator new(unsigned long)+0x8"), Some(End { symbol: "operator new(unsigned long)", at: 8, dso: None }));
        assert_eq!(parse_end("f+0xzz"), None);
    }

    #[test]
    fn lines() {
        let (entries, bad) = branch_stack(" 0x1/0x2/P/-/-/3  0x3/0x4/P/-/-/1  broken/P ").unwrap();
        assert_eq!((entries.len(), bad), (2, 1));
        assert_eq!(branch_stack(" 0x1/0x2/P/-/-/3 0x3/0x4/P/-/-/1").map(|(e, _)| e.len()), Some(2));
        assert_eq!(branch_stack(" a b+0x1/c d+0x2/P/-/-/3  a b+0x1/c d+0x2/P/-/-/3").map(|(e, _)| e.len()), Some(2));
        assert_eq!(branch_stack("  file.c:12"), None);
    }
}
