//! Stacks that DTrace counted: what `dtrace` prints of an aggregation by `stack()`, `ustack()` or `jstack()` (DTrace's user
//! guide, "Aggregations"). A stack stands leaf first, one frame per line, and ends with a line that is only its count.

use super::stack_sink::{Lines, Sink, Spot, stack_of};
use super::{Format, Import, ImportError, Prefix, Sniff};
use crate::base::ids::FrameId;
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use crate::model::profile::ValueKind;
use std::io::BufRead;

const NO_COUNT: DiagnosticCode = DiagnosticCode {
    code: "dtrace/no-count",
    level: Level::DataLoss,
    message: "Stacks without a count behind them were skipped: the output was cut.",
};

/// The format.
pub struct Dtrace;

impl Format for Dtrace {
    fn id(&self) -> &'static str {
        "dtrace"
    }
    fn name(&self) -> &'static str {
        "DTrace stacks"
    }
    fn extensions(&self) -> &'static [&'static str] {
        &["txt", "stacks", "out"]
    }
    fn hint(&self) -> &'static str {
        "`dtrace -x ustackframes=100 -n 'profile-97 { @[ustack()] = count(); } tick-60s { exit(0); }' -o out.stacks` writes it."
    }
    fn sniff(&self, prefix: &Prefix<'_>) -> Sniff {
        let text = prefix.text();
        let mut words = text.lines().filter(|l| !l.starts_with("dtrace: ")).flat_map(str::split_whitespace);
        if words.next() == Some("CPU") && words.next() == Some("ID") && words.next() == Some("FUNCTION:NAME") {
            return Sniff::Certain;
        }
        // With -q there is no header: indented frames with a module, and a number alone.
        let (mut frames, mut others) = (0, 0);
        for line in text.lines().take(200).filter(|l| !l.trim().is_empty()) {
            let line_text = line.trim();
            if line.starts_with("      ") && line_text.contains('`') && !line_text.starts_with('`') {
                frames += 1;
            } else if line.starts_with(' ') && line_text.bytes().all(|b| b.is_ascii_digit()) {
                return if frames > 0 && others == 0 { Sniff::Likely } else { Sniff::No };
            } else {
                others += 1;
            }
        }
        Sniff::No
    }
    fn read(&self, input: &mut dyn BufRead, import: &mut Import<'_>) -> Result<(), ImportError> {
        let mut sink = Sink::new(import, "dtrace", &[("samples", "count", ValueKind::Samples)]);
        let mut lines = Lines::new(input);
        let mut frames: Vec<FrameId> = Vec::new();
        let mut first = 0;
        // What stands before the first empty line behind a header tells of the probe that fired, not of stacks.
        while lines.next(import)? {
            let text = lines.text.trim();
            if text.is_empty() || is_header(&lines.text) {
                continue;
            }
            match text.parse::<i64>() {
                Ok(count) if !text.starts_with('+') => {
                    import.ledger.records_in += 1;
                    let stack = stack_of(import.session, &frames);
                    sink.sample(stack, &[count]);
                    import.ledger.records_kept += 1;
                    frames.clear();
                }
                _ => {
                    if frames.is_empty() {
                        first = lines.number;
                    }
                    frames.push(spot(text).intern(import.session));
                }
            }
        }
        if !frames.is_empty() {
            import.ledger.records_in += 1;
            import.report(NO_COUNT, At::Line(first), "");
        }
        import.choose("weight", "samples", &[], "DTrace counts what the script told it to; the counts are taken as samples.");
        sink.finish(import);
        Ok(())
    }
}

/// `CPU ID FUNCTION:NAME`, the probe that printed (`  0  64091   :tick-60s`), and the notes that dtrace itself makes.
fn is_header(line: &str) -> bool {
    let text = line.trim();
    if text.starts_with("dtrace: ") || text.starts_with("CPU ") && text.ends_with("FUNCTION:NAME") {
        return true;
    }
    let mut words = text.split_whitespace();
    let number = |word: Option<&str>| word.is_some_and(|w| w.bytes().all(|b| b.is_ascii_digit()));
    number(words.next()) && number(words.next()) && words.next().is_some_and(|w| w.contains(':')) && words.next().is_none()
}

/// ``module`function+0x12``, `0xfffffd7fff1a2b3c`, or a name that `jstack()` translated.
fn spot(text: &str) -> Spot<'_> {
    let (name, offset) = match text.rsplit_once("+0x") {
        Some((name, hex)) if !hex.is_empty() => match u64::from_str_radix(hex, 16) {
            Ok(offset) => (name, Some(offset)),
            Err(_) => (text, None),
        },
        _ => (text, None),
    };
    if let Some(hex) = name.strip_prefix("0x") {
        return Spot { address: u64::from_str_radix(hex, 16).ok(), ..Spot::default() };
    }
    let (module, name) = name.split_once('`').unwrap_or(("", name));
    // An address that the module has no symbol for.
    let address = name.strip_prefix("0x").and_then(|hex| u64::from_str_radix(hex, 16).ok());
    let name = if address.is_some() { "" } else { name };
    Spot { module, offset, address, kernel: matches!(module, "genunix" | "unix"), ..Spot::named(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_taken_apart() {
        let parts = |text| {
            let s = spot(text);
            (s.module, s.name, s.offset, s.address)
        };
        assert_eq!(parts("genunix`fop_write+0x5d"), ("genunix", "fop_write", Some(0x5d), None));
        assert_eq!(parts("libc.so.1`_lwp_start"), ("libc.so.1", "_lwp_start", None, None));
        assert_eq!(parts("a`operator+0xzz"), ("a", "operator+0xzz", None, None));
        assert_eq!(parts("0x10a2"), ("", "", None, Some(0x10a2)));
        assert_eq!(parts("app`0x40010"), ("app", "", None, Some(0x40010)));
        assert_eq!(parts("java/lang/Thread.run()V*"), ("", "java/lang/Thread.run()V*", None, None));
    }

    #[test]
    fn what_the_probe_prints_is_no_frame() {
        assert!(is_header("  0  64091                        :tick-60s ") && is_header("CPU     ID                    FUNCTION:NAME"));
        assert!(!is_header("      unix`sys_syscall+0x17a") && !is_header("  12"));
    }
}
