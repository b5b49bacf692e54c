//! Call trees of FreeBSD's `pmcstat -G`: sampled functions outermost, callers indented below them (`pmcstat(8)`, and
//! `pmcpl_callgraph.c` of FreeBSD). What a line counts beyond its callers are stacks that begin at it.

use super::stack_sink::{Lines, Sink, Spot, stack_of};
use super::{Format, Import, ImportError, Prefix, Sniff};
use crate::base::ids::FrameId;
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use crate::model::profile::ValueKind;
use std::io::BufRead;

const BAD_LINE: DiagnosticCode =
    DiagnosticCode { code: "pmcstat/bad-line", level: Level::DataLoss, message: "Lines that are no node of the call tree were skipped." };
const TOO_MANY: DiagnosticCode = DiagnosticCode {
    code: "pmcstat/callers-exceed-node",
    level: Level::Notice,
    message: "The callers of a function were sampled more often than the function itself; no stack begins at it.",
};
const CUT: DiagnosticCode = DiagnosticCode {
    code: "pmcstat/samples-not-shown",
    level: Level::Notice,
    message: "The tree holds another number of samples than its header states: pmcstat leaves rare callers out.",
};
/// Deeper than FreeBSD's kernel follows a stack.
const MAX_DEPTH: usize = 1024;

/// The format.
pub struct Pmcstat;

impl Format for Pmcstat {
    fn id(&self) -> &'static str {
        "pmcstat"
    }
    fn name(&self) -> &'static str {
        "pmcstat call tree"
    }
    fn extensions(&self) -> &'static [&'static str] {
        &["txt", "graph", "out"]
    }
    fn hint(&self) -> &'static str {
        "`pmcstat -R samples.pmc -G graph.txt` on FreeBSD writes it."
    }
    fn sniff(&self, prefix: &Prefix<'_>) -> Sniff {
        let text = prefix.text().trim_start();
        if header(text.lines().next().unwrap_or_default()).is_some() { Sniff::Certain } else { Sniff::No }
    }
    fn read(&self, input: &mut dyn BufRead, import: &mut Import<'_>) -> Result<(), ImportError> {
        let mut lines = Lines::new(input);
        let mut reader = Reader::default();
        while lines.next(import)? {
            let text = lines.text.as_str();
            if text.trim().is_empty() {
                continue;
            }
            if let Some((event, samples)) = header(text) {
                reader.finish(import);
                let mut sink = Sink::new(import, "pmcstat", &[("samples", "count", ValueKind::Samples)]);
                sink.profile.name = event.to_string();
                reader.sink = Some((sink, samples, lines.number));
                continue;
            }
            import.ledger.records_in += 1;
            match node(text) {
                Some(node) if reader.sink.is_some() && reader.open.len() < MAX_DEPTH => {
                    reader.enter(&node, lines.number, import);
                    import.ledger.records_kept += 1;
                }
                _ => import.report(BAD_LINE, At::Line(lines.number), text),
            }
        }
        reader.finish(import);
        Ok(())
    }
}

/// `@ inst_retired.any [35705 samples]`.
fn header(line: &str) -> Option<(&str, i64)> {
    let (event, rest) = line.trim().strip_prefix("@ ")?.rsplit_once(" [")?;
    Some((event, rest.strip_suffix(" samples]")?.parse().ok()?))
}

struct Node<'a> {
    depth: usize,
    count: i64,
    name: &'a str,
    module: &'a str,
}

/// `  66.02%  [1723]       arc_buf_thaw @ /boot/kernel/zfs.ko`.
fn node(line: &str) -> Option<Node<'_>> {
    let depth = line.len() - line.trim_start().len();
    let (percent, rest) = line.trim().split_once('%')?;
    percent.trim().parse::<f64>().ok()?;
    let (count, name) = rest.trim_start().strip_prefix('[')?.split_once(']')?;
    let (name, module) = name.trim().split_once(" @ ").unwrap_or((name.trim(), ""));
    Some(Node { depth, count: count.trim().parse().ok().filter(|c| *c >= 0)?, name, module })
}

struct Open {
    depth: usize,
    frame: FrameId,
    module: String,
    count: i64,
    callers: i64,
    line: u64,
}

#[derive(Default)]
struct Reader {
    sink: Option<(Sink, i64, u64)>,
    open: Vec<Open>,
}

impl Reader {
    fn enter(&mut self, node: &Node<'_>, line: u64, import: &mut Import<'_>) {
        while self.open.last().is_some_and(|open| open.depth >= node.depth) {
            self.close(import);
        }
        // The module is printed where it changes from one line to its caller.
        let inherited = self.open.last().map_or(String::new(), |open| open.module.clone());
        let module = if node.module.is_empty() { inherited } else { node.module.to_string() };
        if let Some(open) = self.open.last_mut() {
            open.callers = open.callers.saturating_add(node.count);
        }
        let kernel = module.starts_with("/boot/");
        let name = if node.name.starts_with("0x") { "" } else { node.name };
        let frame = Spot { module: &module, kernel, ..Spot::named(name) }.intern(import.session);
        self.open.push(Open { depth: node.depth, frame, module, count: node.count, callers: 0, line });
    }

    fn close(&mut self, import: &mut Import<'_>) {
        let (Some(open), Some((sink, _, _))) = (self.open.last(), &mut self.sink) else { return };
        let begun = open.count - open.callers;
        if begun < 0 {
            import.report(TOO_MANY, At::Line(open.line), "");
        } else if begun > 0 {
            // The outermost line is the leaf.
            let frames: Vec<FrameId> = self.open.iter().map(|open| open.frame).collect();
            let stack = stack_of(import.session, &frames);
            sink.sample(stack, &[begun]);
        }
        self.open.pop();
    }

    fn finish(&mut self, import: &mut Import<'_>) {
        while !self.open.is_empty() {
            self.close(import);
        }
        if let Some((sink, stated, line)) = self.sink.take() {
            let total = sink.profile.total(0);
            if total != stated {
                import.report(CUT, At::Line(line), &format!("{stated} stated, {total} in the tree"));
            }
            sink.finish(import);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_apart() {
        assert_eq!(header("@ inst_retired.any [35705 samples]"), Some(("inst_retired.any", 35705)));
        let n = node(" 66.02%  [1723]       arc_buf_thaw @ /boot/kernel/zfs.ko").unwrap();
        assert_eq!((n.depth, n.count, n.name, n.module), (1, 1723, "arc_buf_thaw", "/boot/kernel/zfs.ko"));
        assert!(node("arc_buf_thaw").is_none() && node("x% [1] f").is_none() && node("1.0% [-1] f").is_none());
    }
}
