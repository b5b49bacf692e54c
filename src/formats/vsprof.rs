//! The call tree of Visual Studio's profiler as CSV (`VSPerfReport /summary:CallTree`, file `…_CallTreeSummary.csv`): one
//! row per node with its level. Instrumented runs have calls and shares of time, sampled ones samples.

use super::csv::fields;
use super::stack_sink::{Lines, OwnTree, Sink, Spot, decimal};
use super::{Format, Import, ImportError, Prefix, Sniff};
use crate::base::ids::StackId;
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use crate::model::profile::{Profile, ValueKind, ValueType};
use std::io::BufRead;

const NAME: &str = "Visual Studio call tree CSV";
const BAD_ROW: DiagnosticCode =
    DiagnosticCode { code: "vsprof/bad-row", level: Level::DataLoss, message: "Rows without level or with a broken number were skipped." };

/// Columns that are a node's own: name, decimal digits that are kept, how it is called here, unit, kind.
const COLUMNS: &[(&str, u32, &str, &str, ValueKind)] = &[
    ("Elapsed Exclusive Time %", 2, "elapsed", "1e-2 %", ValueKind::Other),
    ("Application Exclusive Time %", 2, "application", "1e-2 %", ValueKind::Other),
    ("Exclusive Samples", 0, "samples", "count", ValueKind::Samples),
    ("Exclusive Allocations", 0, "allocations", "count", ValueKind::AllocObjects),
    ("Exclusive Bytes", 0, "bytes", "bytes", ValueKind::AllocBytes),
    ("Number of Calls", 0, "calls", "count", ValueKind::Other),
];

/// The format.
pub struct Vsprof;

impl Format for Vsprof {
    fn id(&self) -> &'static str {
        "vsprof"
    }
    fn name(&self) -> &'static str {
        NAME
    }
    fn extensions(&self) -> &'static [&'static str] {
        &["csv"]
    }
    fn hint(&self) -> &'static str {
        "Visual Studio: \u{201c}Export Report Data\u{201d}, Call Tree, as CSV; or `VSPerfReport /summary:CallTree run.vspx`."
    }
    fn sniff(&self, prefix: &Prefix<'_>) -> Sniff {
        if prefix.text().starts_with("Level,Function Name,") { Sniff::Certain } else { Sniff::No }
    }
    fn read(&self, input: &mut dyn BufRead, import: &mut Import<'_>) -> Result<(), ImportError> {
        let mut lines = Lines::new(input);
        lines.next(import)?;
        let names = fields(&lines.text, ',');
        let position = |name: &str| names.iter().position(|n| n.trim() == name);
        let columns: Vec<(usize, u32, ValueType)> = COLUMNS
            .iter()
            .filter_map(|(theirs, digits, ours, unit, kind)| {
                Some((position(theirs)?, *digits, ValueType { name: (*ours).into(), unit: (*unit).into(), kind: *kind }))
            })
            .collect();
        if columns.is_empty() {
            return Err(ImportError::Malformed { format: NAME, reason: "line 1: no column of exclusive values and none of calls".into() });
        }
        let module = position("Module Name");
        let mut sink = Sink::of(Profile::new(import.source, "vsprof", columns.iter().map(|(_, _, kind)| kind.clone()).collect()));
        let mut tree = OwnTree::default();
        while lines.next(import)? {
            if lines.text.trim().is_empty() {
                continue;
            }
            import.ledger.records_in += 1;
            let row = fields(&lines.text, ',');
            let level = row[0].trim().parse::<usize>().ok();
            let values: Option<Vec<i64>> =
                columns.iter().map(|(at, digits, _)| decimal(row.get(*at).map_or("", String::as_str), *digits)).collect();
            let (Some(level), Some(values), Some(name)) = (level, values, row.get(1)) else {
                import.report(BAD_ROW, At::Line(lines.number), &lines.text);
                continue;
            };
            import.ledger.records_kept += 1;
            // Level 0 is the process; its name is the profile's.
            let stack = if level == 0 {
                sink.profile.name.clone_from(name);
                StackId::NONE
            } else {
                let module = module.and_then(|at| row.get(at)).map_or("", |m| m.trim());
                let frame = Spot { module, ..Spot::named(name.trim()) }.intern(import.session);
                tree.enter(level, frame, import.session)
            };
            if values.iter().any(|v| *v != 0) {
                sink.sample(stack, &values);
            }
        }
        if columns.iter().any(|(_, _, kind)| kind.unit == "1e-2 %") {
            import.choose(
                "time",
                "shares of the run",
                &["average time times calls"],
                "The file rounds average times to hundredths, which are 0 for most functions; its shares of the run are kept as they stand.",
            );
        }
        sink.finish(import);
        Ok(())
    }
}
