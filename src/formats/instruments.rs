//! A call tree copied out of Instruments ("Edit, Deep Copy"): columns between tabs, the function's place in the tree is the
//! number of blanks before it.

use super::stack_sink::{InclusiveTree, Lines, OwnTree, Sink, Spot, decimal};
use super::{Format, Import, ImportError, Prefix, Sniff};
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use crate::model::profile::{Profile, ValueKind, ValueType};
use std::io::BufRead;

const BAD_LINE: DiagnosticCode =
    DiagnosticCode { code: "instruments/bad-line", level: Level::DataLoss, message: "Lines without a weight or a name were skipped." };

/// The format.
pub struct Instruments;

impl Format for Instruments {
    fn id(&self) -> &'static str {
        "instruments"
    }
    fn name(&self) -> &'static str {
        "Instruments call tree (copied text)"
    }
    fn extensions(&self) -> &'static [&'static str] {
        &["txt"]
    }
    fn hint(&self) -> &'static str {
        "Instruments: select all of a call tree, Edit, Deep Copy, and paste it into a file."
    }
    fn sniff(&self, prefix: &Prefix<'_>) -> Sniff {
        prefix.text().trim_start().lines().next().and_then(Columns::parse).map_or(Sniff::No, |_| Sniff::Certain)
    }
    fn read(&self, input: &mut dyn BufRead, import: &mut Import<'_>) -> Result<(), ImportError> {
        let mut lines = Lines::new(input);
        let mut columns = None;
        while columns.is_none() && lines.next(import)? {
            columns = Columns::parse(&lines.text);
        }
        let Some(columns) = columns else { return Ok(()) };
        let (name, unit, kind) = columns.value;
        let value = ValueType { name: name.into(), unit: unit.into(), kind };
        let mut sink = Sink::of(Profile::new(import.source, "instruments", vec![value]));
        let (mut own, mut inclusive) = (OwnTree::default(), InclusiveTree::default());
        while lines.next(import)? {
            if lines.text.trim().is_empty() {
                continue;
            }
            import.ledger.records_in += 1;
            let cells: Vec<&str> = lines.text.split('\t').collect();
            let symbol = cells.last().copied().unwrap_or_default();
            let cell = |at: usize| cells.get(at).copied().unwrap_or_default();
            let weight = match columns.own {
                Some((at, default)) => quantity(cell(at), default),
                // The share of the whole stands behind the weight.
                None => quantity(cell(columns.all), ""),
            };
            let (Some(weight), false) = (weight, symbol.trim().is_empty() || cells.len() < 2) else {
                import.report(BAD_LINE, At::Line(lines.number), &lines.text);
                continue;
            };
            import.ledger.records_kept += 1;
            let depth = symbol.len() - symbol.trim_start().len();
            let name = symbol.trim();
            let frame = Spot::named(if name == "<Unknown Address>" { "" } else { name }).intern(import.session);
            if columns.own.is_some() {
                let stack = own.enter(depth, frame, import.session);
                if weight != 0 {
                    sink.sample(stack, &[weight]);
                }
            } else {
                inclusive.enter(depth, frame, &[weight], At::Line(lines.number), name, &mut sink, import);
            }
        }
        inclusive.finish(&mut sink, import);
        sink.finish(import);
        Ok(())
    }
}

struct Columns {
    /// Where the inclusive weight stands.
    all: usize,
    /// Where the own weight stands, and the unit of numbers without one.
    own: Option<(usize, &'static str)>,
    value: (&'static str, &'static str, ValueKind),
}

impl Columns {
    /// `Running Time\tSelf (ms)\t\tSymbol Name`, `Weight\tSelf Weight\t\tSymbol Name`, `Bytes Used\t# Allocs\t\tSymbol Name`.
    fn parse(header: &str) -> Option<Columns> {
        let cells: Vec<&str> = header.split('\t').map(str::trim).collect();
        if cells.last() != Some(&"Symbol Name") {
            return None;
        }
        let position = |names: &[&str]| cells.iter().position(|c| names.contains(c));
        let value = if position(&["Bytes Used"]).is_some() {
            ("bytes", "bytes", ValueKind::InUseBytes)
        } else {
            ("time", "nanoseconds", ValueKind::CpuTime)
        };
        let all = position(&["Running Time", "Weight", "Bytes Used"])?;
        let own = position(&["Self (ms)"]).map(|at| (at, "ms")).or_else(|| position(&["Self", "Self Weight"]).map(|at| (at, "")));
        Some(Columns { all, own, value })
    }
}

/// `4273.0ms   99.9%`, `1.21 s  100.0%`, `17.05 MB`, `693`: in nanoseconds or bytes.
fn quantity(text: &str, default: &str) -> Option<i64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | ',')).unwrap_or(text.len());
    let unit = text[end..].trim_start();
    let unit = unit.split(|c: char| c.is_whitespace() || c.is_ascii_digit()).next().unwrap_or_default();
    let scale = match if unit.is_empty() { default } else { unit } {
        "s" => 1e9,
        "ms" => 1e6,
        "µs" | "us" | "μs" => 1e3,
        "min" => 60e9,
        "h" | "hr" => 3600e9,
        "KB" | "KiB" => 1024.0,
        "MB" | "MiB" => 1024.0 * 1024.0,
        "GB" | "GiB" => 1024.0 * 1024.0 * 1024.0,
        "ns" | "" | "Bytes" | "bytes" | "B" => 1.0,
        _ => return None,
    };
    let thousandths = decimal(&text[..end], 3)?;
    Some((thousandths as f64 / 1000.0 * scale).round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_of_all_versions() {
        assert_eq!(quantity("4273.0ms   99.9%", ""), Some(4_273_000_000));
        assert_eq!(quantity("1.21 s  100.0%", ""), Some(1_210_000_000));
        assert_eq!(quantity("2.00 min 50%", ""), Some(120_000_000_000));
        assert_eq!(quantity("693", "ms"), Some(693_000_000));
        assert_eq!(quantity("17.5 KB", ""), Some(17_920));
        assert_eq!(quantity("0", ""), Some(0));
        assert_eq!(quantity("3 apples", ""), None);
        assert_eq!(quantity("", "ms"), None);
    }
}
