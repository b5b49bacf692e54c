//! Reports of macOS' `sample` command: a call tree of counts per thread (`man sample`; Activity Monitor's "Sample Process"
//! writes the same).

use super::stack_sink::{InclusiveTree, Lines, Sink, Spot};
use super::{Format, Import, ImportError, Prefix, Sniff};
use crate::base::ids::StackId;
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use crate::model::profile::ValueKind;
use std::io::BufRead;

const BAD_LINE: DiagnosticCode = DiagnosticCode {
    code: "macos-sample/bad-line",
    level: Level::DataLoss,
    message: "Lines of the call graph that are no node of it were skipped.",
};
const NO_GRAPH: DiagnosticCode =
    DiagnosticCode { code: "macos-sample/no-call-graph", level: Level::DataLoss, message: "The report ends before its call graph." };

/// The format.
pub struct MacosSample;

impl Format for MacosSample {
    fn id(&self) -> &'static str {
        "macos-sample"
    }
    fn name(&self) -> &'static str {
        "macOS sample report"
    }
    fn extensions(&self) -> &'static [&'static str] {
        &["txt"]
    }
    fn hint(&self) -> &'static str {
        "`sample PID 10 -file sample.txt` on macOS, or \u{201c}Sample Process\u{201d} in Activity Monitor."
    }
    fn sniff(&self, prefix: &Prefix<'_>) -> Sniff {
        if prefix.text().trim_start().starts_with("Analysis of sampling ") { Sniff::Certain } else { Sniff::No }
    }
    fn read(&self, input: &mut dyn BufRead, import: &mut Import<'_>) -> Result<(), ImportError> {
        let mut sink = Sink::new(import, "macos-sample", &[("samples", "count", ValueKind::Samples)]);
        let mut lines = Lines::new(input);
        let mut tree = InclusiveTree::default();
        let mut thread: Option<Thread> = None;
        let (mut pid, mut begun) = (-1, false);
        while lines.next(import)? {
            let text = lines.text.as_str();
            if !begun {
                if let Some(rest) = text.strip_prefix("Analysis of sampling ") {
                    (sink.profile.name, pid) = process(rest);
                    if let Some(period) = rest.rsplit_once(" every ").and_then(|(_, every)| period_ns(every)) {
                        (sink.profile.period, sink.profile.period_unit) = (period, "nanoseconds".into());
                    }
                }
                begun = text.trim_end() == "Call graph:";
                continue;
            }
            // The tree ends with an empty line or with the first line that is not indented.
            if text.trim().is_empty() || !text.starts_with(' ') {
                break;
            }
            import.ledger.records_in += 1;
            let Some((depth, count, name)) = node(text) else {
                import.report(BAD_LINE, At::Line(lines.number), text);
                continue;
            };
            import.ledger.records_kept += 1;
            if depth == 0 {
                close(&mut tree, thread.take(), pid, &mut sink, import);
                thread = Some(Thread::parse(name, count));
                continue;
            }
            let frame = spot(name).intern(import.session);
            tree.enter(depth, frame, &[count], At::Line(lines.number), name, &mut sink, import);
        }
        close(&mut tree, thread.take(), pid, &mut sink, import);
        if !begun {
            import.report(NO_GRAPH, At::Line(lines.number), "");
        }
        sink.finish(import);
        Ok(())
    }
}

/// A thread's line.
struct Thread {
    name: String,
    tid: i64,
    count: i64,
}

impl Thread {
    /// `Thread_15758523   DispatchQueue_1: com.apple.main-thread  (serial)`, `Thread_77: worker`.
    fn parse(text: &str, count: i64) -> Thread {
        let digits = text.strip_prefix("Thread_").map(|rest| &rest[..rest.bytes().take_while(u8::is_ascii_digit).count()]);
        let tid = digits.and_then(|d| d.parse().ok()).unwrap_or(-1);
        let name = text.split_whitespace().collect::<Vec<_>>().join(" ");
        Thread { name, tid, count }
    }
}

fn close(tree: &mut InclusiveTree, thread: Option<Thread>, pid: i64, sink: &mut Sink, import: &mut Import<'_>) {
    let roots = tree.finish(sink, import);
    let thread = thread.unwrap_or(Thread { name: String::new(), tid: -1, count: 0 });
    if thread.count > roots {
        sink.sample(StackId::NONE, &[thread.count - roots]);
    }
    while sink.profile.samples.thread.len() < sink.profile.samples.len() {
        sink.thread(&thread.name, pid, thread.tid);
    }
}

/// `rg (pid 64751) every 1 millisecond`.
fn process(text: &str) -> (String, i64) {
    let Some((name, rest)) = text.split_once(" (pid ") else { return (text.to_string(), -1) };
    (name.to_string(), rest.split(')').next().and_then(|n| n.parse().ok()).unwrap_or(-1))
}

fn period_ns(text: &str) -> Option<i64> {
    let (number, unit) = text.trim().split_once(' ')?;
    let scale = if unit.starts_with("milli") {
        1_000_000
    } else if unit.starts_with("micro") {
        1000
    } else if unit.starts_with("sec") {
        1_000_000_000
    } else {
        return None;
    };
    number.parse::<i64>().ok()?.checked_mul(scale)
}

/// Depth, count and the rest of a line: four blanks, two characters of guide lines per level, the count.
fn node(line: &str) -> Option<(usize, i64, &str)> {
    let at = line.find(|c: char| !matches!(c, ' ' | '+' | '!' | ':' | '|' | '\''))?;
    let (count, rest) = line[at..].split_once(' ')?;
    Some((at.saturating_sub(4) / 2, count.parse().ok().filter(|c| *c >= 0)?, rest.trim()))
}

/// `read  (in libsystem_kernel.dylib) + 10  [0x7fff73905ef2]`, `???  (in app)  load address 0x1 + 0x14f8  [0x..]`,
/// `main  (in app) + 41,52  [0x1,0x2]  main.c:12`. A node of several addresses has none.
fn spot(text: &str) -> Spot<'_> {
    let (name, rest) = text.rsplit_once("  (in ").or_else(|| text.rsplit_once(" (in ")).unwrap_or((text, ""));
    let (module, rest) = rest.split_once(')').unwrap_or((rest, ""));
    let bracket = rest.split_once('[').and_then(|(_, r)| r.split_once(']'));
    let hex = |text: &str| u64::from_str_radix(text.trim().strip_prefix("0x")?, 16).ok();
    let offset = rest.trim().strip_prefix("+ ").and_then(|r| r.split_whitespace().next()).and_then(|n| n.parse().ok());
    let place = bracket.map_or("", |(_, place)| place.trim());
    let (file, line) = place.rsplit_once(':').and_then(|(f, l)| Some((f, l.parse().ok()?))).unwrap_or_default();
    let name = name.trim();
    Spot {
        module,
        file,
        line,
        offset,
        address: bracket.and_then(|(address, _)| hex(address)),
        ..Spot::named(if name == "???" { "" } else { name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_taken_apart() {
        assert_eq!(node("    825 Thread_1"), Some((0, 825, "Thread_1")));
        assert_eq!(node("    + ! : | 3 f  (in a)"), Some((4, 3, "f  (in a)")));
        assert_eq!(node("    + nothing"), None);
        let s = spot("main  (in app) + 41  [0x10384b549]  main.c:12");
        assert_eq!((s.name, s.module, s.offset, s.address, s.file, s.line), ("main", "app", Some(41), Some(0x1_0384_b549), "main.c", 12));
        let s = spot("f (.llvm.1)  (in rg) + 10,20  [0x1,0x2]");
        assert_eq!((s.name, s.module, s.offset, s.address), ("f (.llvm.1)", "rg", None, None));
        let s = spot("???  (in app)  load address 0x100000000 + 0x14f8  [0x1000014f8]");
        assert_eq!((s.name, s.module, s.offset, s.address), ("", "app", None, Some(0x1_0000_14f8)));
        assert_eq!(process("My App (pid 7) every 1 millisecond"), ("My App".to_string(), 7));
        assert_eq!(period_ns("10 milliseconds"), Some(10_000_000));
    }
}
