//! VTune's top-down tree as CSV (`vtune -report top-down -format csv`): the function's place in the tree is the number of
//! blanks before it, and each column that ends in `:Self` is a value of its own.

use super::csv::{fields, separator};
use super::stack_sink::{Lines, OwnTree, Sink, Spot, decimal};
use super::{Format, Import, ImportError, Prefix, Sniff};
use crate::base::ids::StackId;
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use crate::model::profile::{Profile, ValueKind, ValueType};
use std::io::BufRead;

const NAME: &str = "VTune top-down CSV";
const BAD_ROW: DiagnosticCode = DiagnosticCode {
    code: "vtune/bad-row",
    level: Level::DataLoss,
    message: "Rows without a function or with a broken number were skipped.",
};

/// The format.
pub struct Vtune;

impl Format for Vtune {
    fn id(&self) -> &'static str {
        "vtune"
    }
    fn name(&self) -> &'static str {
        NAME
    }
    fn extensions(&self) -> &'static [&'static str] {
        &["csv"]
    }
    fn hint(&self) -> &'static str {
        "`vtune -report top-down -call-stack-mode all -format csv -csv-delimiter comma -report-output tree.csv -r RESULT` writes it."
    }
    fn sniff(&self, prefix: &Prefix<'_>) -> Sniff {
        let header = prefix.text().lines().next().unwrap_or_default();
        let separator = separator(header);
        let names = fields(header, separator);
        let own = names.iter().any(|n| n.trim().ends_with(":Self"));
        if names.first().is_some_and(|n| n.trim() == "Function Stack") && own { Sniff::Certain } else { Sniff::No }
    }
    fn read(&self, input: &mut dyn BufRead, import: &mut Import<'_>) -> Result<(), ImportError> {
        let mut lines = Lines::new(input);
        lines.next(import)?;
        let separator = separator(&lines.text);
        let names: Vec<String> = fields(&lines.text, separator).iter().map(|n| n.trim().to_string()).collect();
        let position = |name: &str| names.iter().position(|n| n == name);
        let columns: Vec<(usize, u32, ValueType)> = names.iter().enumerate().filter_map(|(at, name)| value(at, name)).collect();
        if columns.is_empty() {
            return Err(ImportError::Malformed { format: NAME, reason: "line 1: no column ends in `:Self`".into() });
        }
        let (module, file, address) = (position("Module"), position("Source File"), position("Start Address"));
        let mut sink = Sink::of(Profile::new(import.source, "vtune", columns.iter().map(|(_, _, kind)| kind.clone()).collect()));
        let mut tree = OwnTree::default();
        while lines.next(import)? {
            if lines.text.trim().is_empty() {
                continue;
            }
            import.ledger.records_in += 1;
            let row = fields(&lines.text, separator);
            let name = row[0].trim();
            let values: Option<Vec<i64>> = columns
                .iter()
                .map(|(at, digits, _)| match row.get(*at).map(|v| v.trim()) {
                    Some("") | None => Some(0),
                    Some(text) => decimal(text.trim_end_matches(['s', '%']), *digits),
                })
                .collect();
            let (Some(values), false) = (values, name.is_empty()) else {
                import.report(BAD_ROW, At::Line(lines.number), &lines.text);
                continue;
            };
            import.ledger.records_kept += 1;
            let depth = row[0].len() - row[0].trim_start().len();
            // The first row stands for the program as a whole.
            let stack = if name == "Total" && depth == 0 {
                StackId::NONE
            } else {
                let cell = |at: Option<usize>| at.and_then(|at| row.get(at)).map_or("", |c| c.trim());
                let known = |text| if text == "[Unknown]" { "" } else { text };
                let address = cell(address).strip_prefix("0x").and_then(|hex| u64::from_str_radix(hex, 16).ok());
                let spot = Spot { module: known(cell(module)), file: known(cell(file)), address, ..Spot::named(known(name)) };
                let frame = spot.intern(import.session);
                tree.enter(depth, frame, import.session)
            };
            if values.iter().any(|v| *v != 0) {
                sink.sample(stack, &values);
            }
        }
        sink.finish(import);
        Ok(())
    }
}

/// A value column: its position, decimal digits that are kept, and what it measures. Times are in seconds.
fn value(at: usize, name: &str) -> Option<(usize, u32, ValueType)> {
    let name = name.strip_suffix(":Self")?;
    let (digits, unit, kind) = if name.starts_with("CPU Time") || name.starts_with("Effective Time") {
        (9, "nanoseconds", ValueKind::CpuTime)
    } else if name.starts_with("Wait Time") {
        (9, "nanoseconds", ValueKind::BlockTime)
    } else if name.contains("Time") {
        (9, "nanoseconds", ValueKind::Other)
    } else if name.contains("Count") || name.contains("Retired") || name.contains("Clockticks") {
        (0, "count", ValueKind::Other)
    } else {
        (3, "1e-3", ValueKind::Other)
    };
    Some((at, digits, ValueType { name: name.to_string(), unit: unit.to_string(), kind }))
}
