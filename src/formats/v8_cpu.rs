//! CPU profiles of V8, however they are packed: a tree of nodes, and samples that name nodes (Chrome DevTools Protocol,
//! domain `Profiler`; where it is silent, the behaviour of DevTools and VS Code).
//!
//! A sample stands for the time up to the next one. Samples of the garbage collector hang below the root in the file; in
//! order of time they are put on top of the stack that they interrupted.

use super::Import;
use super::json::{Scalar, Text};
use super::v8_lines::{Tick, lines_of};
use crate::base::ids::{FrameId, FuncId, StackId, StringId, ThreadId};
use crate::base::quantity::format_ns;
use crate::base::stats::nearest_rank;
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use crate::model::profile::{Profile, Thread, ValueKind, ValueType};
use crate::model::symbols::{FUNC_UNSYMBOLIZED, FrameKey, FuncKey};
use serde::Deserialize;
use std::collections::HashMap;

const MISSING_NODE: DiagnosticCode = DiagnosticCode {
    code: "v8/missing-node",
    level: Level::DataLoss,
    message: "Samples name nodes that the file does not define; they are shown as <unknown>.",
};
const CYCLE: DiagnosticCode =
    DiagnosticCode { code: "v8/cyclic-nodes", level: Level::DataLoss, message: "Nodes that are their own callers were cut off there." };
const UNORDERED: DiagnosticCode = DiagnosticCode {
    code: "v8/unordered-samples",
    level: Level::Notice,
    message: "Samples that lie before their predecessors (negative time deltas) were put in order of time.",
};
const NO_TIME: DiagnosticCode = DiagnosticCode {
    code: "v8/samples-without-time",
    level: Level::Notice,
    message: "Samples without a time delta were put one usual interval behind their predecessors.",
};
const GAP: DiagnosticCode = DiagnosticCode {
    code: "v8/long-gaps",
    level: Level::Notice,
    message: "Gaps of more than 1.5 usual intervals count for the function before them, as in DevTools; idle time may be in them.",
};
const GC: DiagnosticCode = DiagnosticCode {
    code: "v8/garbage-collector",
    level: Level::Info,
    message: "Samples of the garbage collector stand on the stack that they interrupted; their own total is that of (garbage collector).",
};
const LONE_PROGRAM: DiagnosticCode = DiagnosticCode {
    code: "v8/lone-program",
    level: Level::Info,
    message: "Single (program) samples between two samples with the same outermost function are probably stacks that V8 could not walk.",
};

const NO_ROW: u32 = u32::MAX;
/// The last sample is given the time up to the end of the recording, unless that is more than this many usual intervals.
const MAX_LAST: f64 = 2.5;
/// Gaps of more than this many usual intervals are counted.
const LONG_GAP: f64 = 1.5;

/// What a node stands for that is no function of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Special {
    No,
    Root,
    Collector,
    Program,
    /// `(idle)` and the like.
    Other,
}

fn special(name: &str, url: &str) -> Special {
    match name {
        _ if !url.is_empty() => Special::No,
        "(root)" => Special::Root,
        "(garbage collector)" => Special::Collector,
        "(program)" => Special::Program,
        "(idle)" | "(idle external)" | "(no samples)" => Special::Other,
        _ => Special::No,
    }
}

/// A node as `nodes` arrays have it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RawNode<'a> {
    #[serde(borrow)]
    id: Scalar<'a>,
    #[serde(borrow)]
    parent: Scalar<'a>,
    children: Option<Vec<i64>>,
    #[serde(borrow)]
    call_frame: Option<CallFrame<'a>>,
    #[serde(borrow)]
    hit_count: Scalar<'a>,
    position_ticks: Option<Vec<Tick>>,
}

/// Where a function stands. Lines and columns count from 0; -1 and absence mean that there is none.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CallFrame<'a> {
    /// Name; empty for anonymous functions.
    #[serde(borrow)]
    pub function_name: Text<'a>,
    /// Script.
    #[serde(borrow)]
    pub url: Text<'a>,
    /// Line of the function.
    #[serde(borrow)]
    pub line_number: Scalar<'a>,
    /// Column of the function.
    #[serde(borrow)]
    pub column_number: Scalar<'a>,
}

/// The function of a call frame. Anonymous functions carry their place in their name: a thousand of one name would be
/// one function.
pub fn function(frame: &CallFrame<'_>, import: &mut Import<'_>) -> FuncId {
    let from_one = |n: &Scalar<'_>| n.int().filter(|n| *n >= 0).and_then(|n| u32::try_from(n).ok()?.checked_add(1)).unwrap_or(0);
    let (name, url) = (&*frame.function_name.0, &*frame.url.0);
    let (line, column) = (from_one(&frame.line_number), from_one(&frame.column_number));
    let session = &mut *import.session;
    let name = if !name.is_empty() {
        session.strings.intern(name)
    } else if url.is_empty() || line == 0 {
        session.strings.intern("(anonymous)")
    } else {
        let path = url.split(['?', '#']).next().unwrap_or(url);
        let base = if path.starts_with("node:") { path } else { path.rsplit('/').find(|part| !part.is_empty()).unwrap_or(path) };
        let base: String = base.chars().take(80).collect();
        session.strings.intern(&format!("(anonymous) {base}:{line}:{column}"))
    };
    let file = if url.is_empty() { StringId::NONE } else { session.strings.intern(url) };
    let key = FuncKey { file, start_line: line, ..FuncKey::named(name) };
    session.symbols.funcs.intern(key)
}

/// A profile that is being read.
#[derive(Default)]
pub struct V8Cpu {
    rows: HashMap<i64, u32>,
    ids: Vec<i64>,
    parent: Vec<u32>,
    func: Vec<FuncId>,
    special: Vec<Special>,
    hits: Vec<i64>,
    ticks: Vec<Vec<Tick>>,
    /// Rows of parents with the ids of their children: children may stand behind them.
    families: Vec<(u32, i64)>,
    /// Ids of parents that stand in the node itself.
    parents: Vec<(u32, i64)>,
    /// Node ids in file order.
    pub samples: Vec<i64>,
    /// Nanoseconds since the sample before; the first since `start_ns`.
    pub deltas: Vec<i64>,
    /// Nanoseconds of each sample, where the file gives times and no deltas.
    pub times: Vec<i64>,
    /// The line of each sample from 1, where the file gives it; 0 for none.
    pub lines: Vec<u32>,
    /// Begin of the recording.
    pub start_ns: Option<i64>,
    /// End of the recording.
    pub end_ns: Option<i64>,
}

impl V8Cpu {
    /// How many nodes.
    pub fn nodes(&self) -> usize {
        self.ids.len()
    }

    /// How many records it becomes: its samples, or its nodes where there are none.
    pub fn records(&self) -> u64 {
        if self.samples.is_empty() { self.ids.len() as u64 } else { self.samples.len() as u64 }
    }

    /// Takes a node of a `nodes` array.
    pub fn node(&mut self, raw: &RawNode<'_>, import: &mut Import<'_>) {
        let fallback = CallFrame::default();
        let frame = raw.call_frame.as_ref().unwrap_or(&fallback);
        let row = self.place(raw.id.int().unwrap_or(-1), frame, raw.hit_count.int().unwrap_or(0).max(0), import);
        if let Some(parent) = raw.parent.int() {
            self.parents.push((row, parent));
        }
        self.families.extend(raw.children.iter().flatten().map(|child| (row, *child)));
        self.ticks[row as usize] = raw.position_ticks.clone().unwrap_or_default();
    }

    /// Takes a node whose caller is a row already known.
    pub fn node_below(&mut self, parent: u32, id: i64, frame: &CallFrame<'_>, hits: i64, import: &mut Import<'_>) -> u32 {
        let row = self.place(id, frame, hits.max(0), import);
        self.parent[row as usize] = parent;
        row
    }

    fn place(&mut self, id: i64, frame: &CallFrame<'_>, hits: i64, import: &mut Import<'_>) -> u32 {
        let row = self.ids.len() as u32;
        self.rows.entry(id).or_insert(row);
        self.ids.push(id);
        self.parent.push(NO_ROW);
        self.func.push(function(frame, import));
        self.special.push(special(&frame.function_name.0, &frame.url.0));
        self.hits.push(hits);
        self.ticks.push(Vec::new());
        row
    }

    /// The callers by row.
    fn link(&mut self) {
        for (row, child) in std::mem::take(&mut self.families) {
            if let Some(&child) = self.rows.get(&child) {
                self.parent[child as usize] = row;
            }
        }
        for (row, parent) in std::mem::take(&mut self.parents) {
            self.parent[row as usize] = self.rows.get(&parent).copied().unwrap_or(NO_ROW);
        }
    }

    /// Per node the stack of its callers and its own stack. `(root)` is no frame, unless it stands alone.
    fn stacks(&self, import: &mut Import<'_>) -> Vec<(StackId, FrameId)> {
        let symbols = &mut import.session.symbols;
        let frames: Vec<FrameId> = self.func.iter().map(|f| symbols.frames.intern(FrameKey::of(*f))).collect();
        let mut own: Vec<Option<StackId>> = vec![None; frames.len()];
        let mut path = Vec::new();
        let mut on_path = vec![false; frames.len()];
        let mut cycles = 0;
        for row in 0..frames.len() as u32 {
            let mut at = row;
            while at != NO_ROW && own[at as usize].is_none() {
                if on_path[at as usize] {
                    cycles += 1;
                    break;
                }
                on_path[at as usize] = true;
                path.push(at);
                at = self.parent[at as usize];
            }
            let mut stack = if at == NO_ROW { StackId::NONE } else { own[at as usize].unwrap_or(StackId::NONE) };
            while let Some(at) = path.pop() {
                let i = at as usize;
                if self.special[i] != Special::Root {
                    stack = symbols.stacks.push(stack, frames[i]);
                }
                own[i] = Some(stack);
                on_path[i] = false;
            }
        }
        if cycles > 0 {
            import.ledger.diagnostics.report_many(CYCLE, cycles, At::File, "");
        }
        let above = |row: usize| match self.parent[row] {
            NO_ROW => StackId::NONE,
            parent => own[parent as usize].unwrap_or(StackId::NONE),
        };
        (0..frames.len()).map(|row| (above(row), frames[row])).collect()
    }

    /// Stores the profile. `code` names the format, `thread` the thread if the file knows it.
    pub fn finish(mut self, format: &'static str, name: &str, thread: Option<Thread>, import: &mut Import<'_>) {
        if self.ids.is_empty() && self.samples.is_empty() {
            return;
        }
        self.link();
        let stacks = self.stacks(import);
        let types = vec![
            ValueType { name: "samples".into(), unit: "count".into(), kind: ValueKind::Samples },
            ValueType { name: "time".into(), unit: "nanoseconds".into(), kind: ValueKind::WallTime },
        ];
        let mut p = Profile::new(import.source, format, types);
        p.name = name.to_string();
        p.default_value = 1;
        p.period_unit = "nanoseconds".into();
        if self.samples.is_empty() {
            self.by_hits(&stacks, &mut p, import)
        } else {
            self.by_samples(&stacks, &mut p, import)
        }
        if let Some(thread) = thread {
            p.threads.push(thread);
            p.samples.thread = vec![ThreadId(0); p.samples.len()];
        }
        import.ledger.weigh("samples", "count", p.total(0), true);
        import.ledger.weigh("time", "nanoseconds", p.total(1), true);
        import.session.profiles.push(p);
    }

    /// Old files without samples: counts per node times the interval that fills the recording.
    fn by_hits(&self, stacks: &[(StackId, FrameId)], p: &mut Profile, import: &mut Import<'_>) {
        let total: i64 = self.hits.iter().fold(0, |sum, hits| sum.saturating_add(*hits));
        let length = self.end_ns.zip(self.start_ns).map_or(0, |(end, start)| end.saturating_sub(start).max(0));
        p.duration_ns = length;
        p.period = length.checked_div(total).unwrap_or(0);
        import.choose("weight", "hitCount", &[], "The file has no samples: counts per node stand for equal shares of the recording.");
        for (row, &(above, frame)) in stacks.iter().enumerate() {
            let mut rest = self.hits[row];
            let mut parts: Vec<(u32, i64)> = Vec::new();
            for tick in &self.ticks[row] {
                let ticks = tick.ticks.clamp(0, rest);
                rest -= ticks;
                parts.push((u32::try_from(tick.line).unwrap_or(0), ticks));
            }
            parts.push((0, rest));
            for (line, hits) in parts.into_iter().filter(|(_, hits)| *hits > 0) {
                p.samples.stack.push(leaf(above, frame, line, import));
                p.samples.values[0].push(hits);
                p.samples.values[1].push(hits.saturating_mul(p.period));
            }
        }
    }

    fn by_samples(&mut self, stacks: &[(StackId, FrameId)], p: &mut Profile, import: &mut Import<'_>) {
        let n = self.samples.len();
        let times = self.sample_times(import);
        let mut order: Vec<u32> = (0..n as u32).collect();
        order.sort_by_key(|i| times[*i as usize]);
        let gaps: Vec<i64> = order.windows(2).map(|w| times[w[1] as usize].saturating_sub(times[w[0] as usize])).collect();
        let usual = usual(&gaps);
        p.period = usual;
        let last = order.last().map_or(0, |i| times[*i as usize]);
        let rest = self.end_ns.map_or(usual, |end| end.saturating_sub(last).max(0));
        let kept = if rest as f64 > MAX_LAST * usual as f64 && usual > 0 { usual } else { rest };
        import.ledger.weigh("time", "nanoseconds", rest - kept, false);
        let first = order.first().map_or(0, |i| times[*i as usize]);
        let start = self.start_ns.unwrap_or(first).min(first);
        p.duration_ns = self.end_ns.unwrap_or(last.saturating_add(kept)).max(last).saturating_sub(start);
        let rows: Vec<u32> = self.samples.iter().map(|id| self.rows.get(id).copied().unwrap_or(NO_ROW)).collect();
        let missing = rows.iter().filter(|row| **row == NO_ROW).count();
        if missing > 0 {
            import.ledger.diagnostics.report_many(MISSING_NODE, missing as u64, At::File, "");
        }
        let unknown = unknown_frame(import);
        let lines = lines_of(std::mem::take(&mut self.lines), &self.ticks, &self.hits, &rows, import);
        let mut before = StackId::NONE;
        let (mut collected, mut collector) = (0_u64, 0_i64);
        for (at, &i) in order.iter().enumerate() {
            let (row, line) = (rows[i as usize], lines[i as usize]);
            let own = gaps.get(at).copied().unwrap_or(kept);
            let kind = if row == NO_ROW { Special::No } else { self.special[row as usize] };
            let (above, frame) = if row == NO_ROW { (StackId::NONE, unknown) } else { stacks[row as usize] };
            let stack = if kind == Special::Collector {
                collected += 1;
                collector = collector.saturating_add(own);
                leaf(before, frame, 0, import)
            } else {
                leaf(above, frame, line, import)
            };
            match kind {
                Special::No => before = stack,
                Special::Collector => {}
                _ => before = StackId::NONE,
            }
            p.samples.stack.push(stack);
            p.samples.time_ns.push(times[i as usize]);
            p.samples.values[0].push(1);
            p.samples.values[1].push(own);
        }
        if collected > 0 {
            import.ledger.diagnostics.report_many(GC, collected, At::File, &format_ns(collector as f64));
        }
        self.count_oddities(&order, &rows, &gaps, usual, import);
    }

    /// Long gaps, and `(program)` where a stack is probably missing.
    fn count_oddities(&self, order: &[u32], rows: &[u32], gaps: &[i64], usual: i64, import: &mut Import<'_>) {
        let long: Vec<i64> = gaps.iter().copied().filter(|gap| *gap as f64 > LONG_GAP * usual as f64).collect();
        if usual > 0 && !long.is_empty() {
            let beyond: f64 = long.iter().map(|gap| (gap - usual) as f64).sum();
            import.ledger.diagnostics.report_many(GAP, long.len() as u64, At::File, &format!("{} beyond the interval", format_ns(beyond)));
        }
        // The outermost function of each node, in one pass over callers.
        let mut outermost: Vec<u32> = vec![NO_ROW; self.ids.len()];
        let mut path = Vec::new();
        for row in 0..self.ids.len() as u32 {
            let mut at = row;
            while outermost[at as usize] == NO_ROW {
                outermost[at as usize] = at;
                path.push(at);
                match self.parent[at as usize] {
                    NO_ROW => break,
                    parent if self.special[parent as usize] == Special::Root => break,
                    parent => at = parent,
                }
            }
            let found = outermost[at as usize];
            path.drain(..).for_each(|at| outermost[at as usize] = found);
        }
        let row = |at: usize| rows[order[at] as usize];
        let function = |row: u32| row != NO_ROW && self.special[row as usize] == Special::No;
        let lone = (1..order.len().saturating_sub(1)).filter(|&at| {
            let (a, here, b) = (row(at - 1), row(at), row(at + 1));
            here != NO_ROW
                && self.special[here as usize] == Special::Program
                && function(a)
                && function(b)
                && outermost[a as usize] == outermost[b as usize]
        });
        let lone = lone.count() as u64;
        if lone > 0 {
            import.ledger.diagnostics.report_many(LONE_PROGRAM, lone, At::File, "");
        }
    }

    /// The time of each sample in file order.
    fn sample_times(&mut self, import: &mut Import<'_>) -> Vec<i64> {
        let n = self.samples.len();
        let mut times = std::mem::take(&mut self.times);
        if times.is_empty() {
            let mut now = self.start_ns.unwrap_or(0);
            times.extend(self.deltas.iter().take(n).map(|delta| {
                now = now.saturating_add(*delta);
                now
            }));
        }
        times.truncate(n);
        let back = times.windows(2).filter(|w| w[1] < w[0]).count();
        if back > 0 {
            import.ledger.diagnostics.report_many(UNORDERED, back as u64, At::File, "");
        }
        if times.len() < n {
            let missing = n - times.len();
            import.ledger.diagnostics.report_many(NO_TIME, missing as u64, At::File, "");
            let gaps: Vec<i64> = times.windows(2).map(|w| w[1].saturating_sub(w[0]).max(0)).collect();
            let length = self.end_ns.zip(self.start_ns).map_or(0, |(end, start)| end.saturating_sub(start).max(0));
            let step = if gaps.is_empty() { length / n as i64 } else { usual(&gaps) };
            let mut now = times.last().copied().unwrap_or(self.start_ns.unwrap_or(0));
            times.resize_with(n, || {
                now = now.saturating_add(step);
                now
            });
        }
        times
    }
}

/// Median of the positive gaps; 0 when there is none.
fn usual(gaps: &[i64]) -> i64 {
    let mut gaps: Vec<i64> = gaps.iter().copied().filter(|gap| *gap > 0).collect();
    gaps.sort_unstable();
    nearest_rank(&gaps, 0.5)
}

fn unknown_frame(import: &mut Import<'_>) -> FrameId {
    let name = import.session.strings.intern("<unknown>");
    let func = import.session.symbols.funcs.intern(FuncKey { flags: FUNC_UNSYMBOLIZED, ..FuncKey::named(name) });
    import.session.symbols.frames.intern(FrameKey::of(func))
}

/// A frame at a line, on top of its callers.
fn leaf(above: StackId, frame: FrameId, line: u32, import: &mut Import<'_>) -> StackId {
    let symbols = &mut import.session.symbols;
    let frame = if line == 0 { frame } else { symbols.frames.intern(FrameKey { line, ..symbols.frames.key(frame.0) }) };
    symbols.stacks.push(above, frame)
}
