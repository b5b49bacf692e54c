//! Time and allocation profiles of the Glasgow Haskell Compiler: the cost centre stacks of `+RTS -p` (text, GHC User's Guide,
//! "Profiling") and of `-pj` ([`super::ghc_json`]).

use super::stack_sink::{Lines, OwnTree, Sink, Spot, decimal};
use super::{Format, Import, ImportError, Prefix, Sniff, ghc_json};
use crate::base::ids::FrameId;
use crate::model::Session;
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use crate::model::profile::ValueKind;
use std::io::BufRead;

/// Name of both forms.
pub const NAME: &str = "GHC profile";
const BAD_LINE: DiagnosticCode = DiagnosticCode {
    code: "ghc-prof/bad-line",
    level: Level::DataLoss,
    message: "Lines of the tree that are no cost centre were skipped.",
};
const NO_TREE: DiagnosticCode =
    DiagnosticCode { code: "ghc-prof/no-tree", level: Level::DataLoss, message: "The report ends before its tree of cost centres." };

/// The format.
pub struct GhcProf;

impl Format for GhcProf {
    fn id(&self) -> &'static str {
        "ghc-prof"
    }
    fn name(&self) -> &'static str {
        NAME
    }
    fn extensions(&self) -> &'static [&'static str] {
        &["prof"]
    }
    fn hint(&self) -> &'static str {
        "Build with `ghc -prof -fprof-auto`, run with `+RTS -P` (or -p, -pj)."
    }
    fn sniff(&self, prefix: &Prefix<'_>) -> Sniff {
        let text = prefix.text();
        let report = text.lines().take(5).any(|line| line.contains("Time and Allocation Profiling Report"));
        if report || ghc_json::is_json(prefix.bytes) { Sniff::Certain } else { Sniff::No }
    }
    fn read(&self, input: &mut dyn BufRead, import: &mut Import<'_>) -> Result<(), ImportError> {
        if input.fill_buf()?.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'{') {
            return ghc_json::read(input, import);
        }
        let mut lines = Lines::new(input);
        let (mut tick_us, mut total_ns, mut total_bytes) = (0_i64, 0_i64, 0_i64);
        let mut detailed = None;
        while detailed.is_none() && lines.next(import)? {
            let text = lines.text.trim();
            if let Some(rest) = text.strip_prefix("total time") {
                let seconds = rest.trim_start_matches([' ', '=']).split(' ').next().unwrap_or_default();
                total_ns = decimal(seconds, 9).unwrap_or(0);
                tick_us = rest.split_once('@').and_then(|(_, r)| r.trim().split(' ').next()?.parse().ok()).unwrap_or(0);
            } else if let Some(rest) = text.strip_prefix("total alloc") {
                total_bytes = decimal(rest.trim_start_matches([' ', '=']).split(' ').next().unwrap_or_default(), 0).unwrap_or(0);
            } else if text.starts_with("COST CENTRE") && text.contains("entries") {
                detailed = Some((text.ends_with("bytes"), text.contains(" SRC ")));
            }
        }
        let Some((ticks, source)) = detailed else {
            import.report(NO_TREE, At::Line(lines.number), "");
            return Ok(());
        };
        let mut sink = sink(import, tick_us.saturating_mul(1000), total_ns);
        if !ticks {
            import.choose(
                "time and bytes",
                "shares times totals",
                &[],
                "The report was written with -p, which rounds to tenths of a percent; -P writes ticks and bytes.",
            );
        }
        let mut tree = OwnTree::default();
        while lines.next(import)? {
            if lines.text.trim().is_empty() {
                continue;
            }
            import.ledger.records_in += 1;
            let Some(row) = row(&lines.text, ticks, source) else {
                import.report(BAD_LINE, At::Line(lines.number), &lines.text);
                continue;
            };
            import.ledger.records_kept += 1;
            let frame = frame(row.module, row.name, row.source, import.session);
            let stack = tree.enter(row.depth, frame, import.session);
            let (time, bytes) = match row.exact {
                Some((ticks, bytes)) => (ticks.saturating_mul(tick_us).saturating_mul(1000), bytes),
                None => (share(row.permille_time, total_ns), share(row.permille_bytes, total_bytes)),
            };
            if time != 0 || bytes != 0 || row.entries != 0 {
                sink.sample(stack, &[time, bytes, row.entries]);
            }
        }
        sink.finish(import);
        Ok(())
    }
}

fn share(permille: i64, of: i64) -> i64 {
    (i128::from(permille) * i128::from(of) / 1000) as i64
}

/// The profile of either form.
pub fn sink(import: &Import<'_>, tick_ns: i64, duration_ns: i64) -> Sink {
    let columns =
        [("time", "nanoseconds", ValueKind::CpuTime), ("alloc", "bytes", ValueKind::AllocBytes), ("entries", "count", ValueKind::Other)];
    let mut sink = Sink::new(import, "ghc-prof", &columns);
    sink.profile.duration_ns = duration_ns;
    (sink.profile.period, sink.profile.period_unit) = (tick_ns, "nanoseconds".into());
    sink
}

/// The frame of a cost centre, named by its module as Haskell qualifies names.
pub fn frame(module: &str, name: &str, source: &str, session: &mut Session) -> FrameId {
    let (file, line) = place(source);
    let name = if module.is_empty() { name.to_string() } else { format!("{module}.{name}") };
    Spot { file, line, ..Spot::named(&name) }.intern(session)
}

/// `src/Lib.hs:(14,1)-(15,41)`, `app/Main.hs:6:1-11`, `<built-in>`.
fn place(text: &str) -> (&str, u32) {
    if text.starts_with('<') {
        return ("", 0);
    }
    let Some((file, rest)) = text.split_once(".hs:").map(|(file, rest)| (&text[..file.len() + 3], rest)) else { return ("", 0) };
    let digits = rest.trim_start_matches('(');
    let end = digits.bytes().take_while(u8::is_ascii_digit).count();
    (file, digits[..end].parse().unwrap_or(0))
}

struct Row<'a> {
    depth: usize,
    name: &'a str,
    module: &'a str,
    source: &'a str,
    entries: i64,
    permille_time: i64,
    permille_bytes: i64,
    exact: Option<(i64, i64)>,
}

/// A line of the tree: columns are found from the right, because the source may hold blanks.
fn row(line: &str, ticks: bool, source: bool) -> Option<Row<'_>> {
    let depth = line.len() - line.trim_start().len();
    let (name, rest) = line.trim().split_once(char::is_whitespace)?;
    let (module, mut rest) = rest.trim_start().split_once(char::is_whitespace)?;
    let mut last = || -> Option<&str> {
        let text = rest.trim_end();
        let at = text.rfind(char::is_whitespace).map_or(0, |at| at + 1);
        rest = &text[..at];
        (!text.is_empty()).then(|| &text[at..])
    };
    let exact = if ticks {
        let bytes = last()?.parse().ok()?;
        Some((last()?.parse().ok()?, bytes))
    } else {
        None
    };
    let mut permille = || decimal(last()?, 1);
    let (_, _, permille_bytes, permille_time) = (permille()?, permille()?, permille()?, permille()?);
    let entries = last()?.parse().ok()?;
    last()?.parse::<u64>().ok()?;
    let source = if source { rest.trim() } else { "" };
    Some(Row { depth, name, module, source, entries, permille_time, permille_bytes, exact })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_with_and_without_ticks_and_sources() {
        let r = row("  main   Main   app/Main.hs:6:1-11  336   1  0.5  1.0  2.0  3.0  7  80", true, true).unwrap();
        assert_eq!((r.depth, r.name, r.module, r.source, r.entries, r.exact), (2, "main", "Main", "app/Main.hs:6:1-11", 1, Some((7, 80))));
        let r = row("CAF  GHC.Show  <no location info>  1  0  0.0  12.5  0.0  0.0", false, true).unwrap();
        assert_eq!((r.source, r.permille_time, r.permille_bytes), ("<no location info>", 0, 125));
        let r = row("MAIN  MAIN  45  0  97.4  0.0  100.0  100.0", false, false).unwrap();
        assert_eq!((r.module, r.source, r.permille_time), ("MAIN", "", 974));
        assert!(row("MAIN MAIN", false, false).is_none() && row("", true, true).is_none());
        assert_eq!(place("src/Lib.hs:(14,1)-(15,41)"), ("src/Lib.hs", 14));
    }
}
