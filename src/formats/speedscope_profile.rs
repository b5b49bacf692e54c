//! A profile of a speedscope file: from paths of frame numbers and events to the tables.

use super::Import;
use crate::base::ids::{FrameId, StackId};
use crate::base::intern::PairIndex;
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use crate::model::profile::{Profile, SliceTable, ValueKind, ValueType};
use std::collections::BTreeMap;

const WEIGHTS: DiagnosticCode = DiagnosticCode {
    code: "speedscope/weight-count",
    level: Level::DataLoss,
    message: "Profiles whose weights are more or fewer than their samples: what has no counterpart was dropped.",
};
const ORDER: DiagnosticCode = DiagnosticCode {
    code: "speedscope/out-of-order",
    level: Level::DataLoss,
    message: "Events lie before their predecessors; the events of the profile from there on were dropped.",
};
const MISMATCH: DiagnosticCode = DiagnosticCode {
    code: "speedscope/mismatched-close",
    level: Level::Notice,
    message: "Close events name another frame than the innermost open one; that frame was closed, with all inside it.",
};
const STRAY: DiagnosticCode = DiagnosticCode {
    code: "speedscope/close-without-open",
    level: Level::DataLoss,
    message: "Close events of frames that are not open were dropped.",
};
const UNFINISHED: DiagnosticCode = DiagnosticCode {
    code: "speedscope/open-without-close",
    level: Level::Notice,
    message: "Frames that are never closed were closed at the end of their profile.",
};
const EMPTY: DiagnosticCode = DiagnosticCode {
    code: "speedscope/empty-profile",
    level: Level::Notice,
    message: "Profiles without samples and events are not shown.",
};
const UNIT: DiagnosticCode =
    DiagnosticCode { code: "speedscope/unit", level: Level::Notice, message: "Units that speedscope does not define are taken as counts." };

/// Decimal places that weights without a unit of time may have.
const MAX_DIGITS: u32 = 6;

/// Paths of frame numbers as a tree, callers first.
#[derive(Default)]
pub struct Tree {
    above: Vec<u32>,
    frame: Vec<u32>,
    index: PairIndex,
    /// The stacks of the paths, as far as they were asked for.
    stacks: Vec<StackId>,
}

impl Tree {
    /// The empty path.
    pub const ROOT: u32 = u32::MAX;

    /// The path that has a frame below another path.
    pub fn step(&mut self, node: u32, frame: u32) -> u32 {
        let (row, new) = self.index.get_or_insert(node, frame, self.above.len() as u32);
        if new {
            self.above.push(node);
            self.frame.push(frame);
        }
        row
    }

    /// The last frame of each path.
    pub fn frames(&self) -> impl Iterator<Item = u32> + '_ {
        self.frame.iter().copied()
    }

    fn stacks(&mut self, frames: &[FrameId], unknown: FrameId, import: &mut Import<'_>) -> &[StackId] {
        for row in self.stacks.len()..self.above.len() {
            let below = self.stacks.get(self.above[row] as usize).copied().unwrap_or(StackId::NONE);
            let frame = frames.get(self.frame[row] as usize).copied().unwrap_or(unknown);
            self.stacks.push(import.session.symbols.stacks.push(below, frame));
        }
        &self.stacks
    }
}

/// A profile as the file has it.
#[derive(Default)]
pub struct RawProfile {
    /// Name.
    pub name: String,
    /// Unit of weights or times.
    pub unit: String,
    /// `endValue`.
    pub end: Option<f64>,
    /// Whether there is a list of samples.
    pub sampled: bool,
    /// Path of each sample; `None` for one that could not be read.
    pub samples: Vec<Option<u32>>,
    /// Weight of each sample; not a number for one that could not be read.
    pub weights: Vec<f64>,
    /// Open or close, frame, place.
    pub events: Vec<(bool, u32, f64)>,
}

/// A row that is ready but for its stack: path and weight.
type Row = (u32, f64);

impl RawProfile {
    /// Nanoseconds per unit; `None` for what is no time.
    fn ns(&self) -> Option<f64> {
        Some(match self.unit.as_str() {
            "nanoseconds" => 1.0,
            "microseconds" => 1e3,
            "milliseconds" => 1e6,
            "seconds" => 1e9,
            _ => return None,
        })
    }

    fn value_type(&self, digits: u32, import: &mut Import<'_>) -> ValueType {
        let scaled = |unit: &str| if digits == 0 { unit.to_string() } else { format!("1e-{digits} {unit}") };
        if self.ns().is_some() {
            return ValueType { name: "time".into(), unit: "nanoseconds".into(), kind: ValueKind::WallTime };
        }
        if self.unit == "bytes" {
            import.choose("weight", "bytes allocated", &["bytes in use"], "The file does not say whether its bytes were freed since.");
            return ValueType { name: "bytes".into(), unit: scaled("bytes"), kind: ValueKind::AllocBytes };
        }
        if self.unit != "none" {
            import.report(UNIT, At::File, &self.unit);
        }
        import.choose("unit", "samples", &[], "The file names no unit, so the numbers are taken as counts of samples.");
        ValueType { name: "samples".into(), unit: if digits == 0 { "count".into() } else { scaled("samples") }, kind: ValueKind::Samples }
    }

    /// Stores the profile.
    pub fn store(self, tree: &mut Tree, frames: &[FrameId], unknown: FrameId, import: &mut Import<'_>) {
        if self.samples.is_empty() && self.events.is_empty() {
            import.report(EMPTY, At::File, &self.name);
            return;
        }
        if !self.sampled && self.ns().is_some() {
            self.store_slices(tree, frames, unknown, import);
            return;
        }
        let rows = if self.sampled { self.sampled_rows(import) } else { self.evented_rows(tree, import) };
        let stacks = tree.stacks(frames, unknown, import);
        let scale = self.ns();
        let digits = if scale.is_some() { 0 } else { rows.iter().map(|(_, w)| digits(*w)).max().unwrap_or(0) };
        let factor = scale.unwrap_or_else(|| 10_f64.powi(digits as i32));
        let value = self.value_type(digits, import);
        let mut p = Profile::new(import.source, "speedscope", vec![value]);
        // In order of time each sample lasts as long as its weight says.
        let mut now = 0_i64;
        for (node, weight) in rows {
            let weight = (weight * factor).round() as i64;
            p.samples.stack.push(stacks.get(node as usize).copied().unwrap_or(StackId::NONE));
            p.samples.values[0].push(weight);
            if scale.is_some() {
                p.samples.time_ns.push(now);
                now = now.saturating_add(weight.max(0));
            }
        }
        p.duration_ns = now;
        self.push(p, import);
    }

    fn push(self, mut p: Profile, import: &mut Import<'_>) {
        let value = &p.value_types[0];
        import.ledger.weigh(&format!("{}:{}", self.name, value.name), &value.unit, p.total(0), true);
        p.name = self.name;
        import.session.profiles.push(p);
    }

    fn sampled_rows(&self, import: &mut Import<'_>) -> Vec<Row> {
        let mut out = Vec::with_capacity(self.samples.len());
        for (at, node) in self.samples.iter().enumerate() {
            let weight = self.weights.get(at).copied();
            if let (Some(node), Some(weight)) = (*node, weight.filter(|w| w.is_finite())) {
                import.ledger.records_kept += 1;
                out.push((node, weight));
            }
        }
        let odd = self.samples.len().abs_diff(self.weights.len());
        if odd > 0 {
            let text = format!("{}: {} samples, {} weights", self.name, self.samples.len(), self.weights.len());
            import.ledger.diagnostics.report_many(WEIGHTS, odd as u64, At::File, &text);
        }
        out
    }

    /// Events in order, matched: what is opened and closed, at which place. Each step is given to `step`.
    fn replay(&self, import: &mut Import<'_>, step: &mut dyn FnMut(Step)) {
        let mut open: Vec<u32> = Vec::new();
        // How often a frame is open: a close for a frame that is not open must not search the whole stack.
        let mut count: BTreeMap<u32, u32> = BTreeMap::new();
        let mut last = f64::NEG_INFINITY;
        for (row, &(opens, frame, at)) in self.events.iter().enumerate() {
            if at < last {
                let rest = (self.events.len() - row) as u64;
                import.ledger.diagnostics.report_many(
                    ORDER,
                    rest,
                    At::Record(row as u64 + 1),
                    &format!("{}: {at} behind {last}", self.name),
                );
                break;
            }
            last = at;
            if opens {
                import.ledger.records_kept += 1;
                open.push(frame);
                *count.entry(frame).or_default() += 1;
                step(Step::Open(frame, at));
                continue;
            }
            if count.get(&frame).is_none_or(|n| *n == 0) {
                import.report(STRAY, At::Record(row as u64 + 1), &self.name);
                continue;
            }
            import.ledger.records_kept += 1;
            if open.last() != Some(&frame) {
                import.report(MISMATCH, At::Record(row as u64 + 1), &self.name);
            }
            while let Some(top) = open.pop() {
                if let Some(n) = count.get_mut(&top) {
                    *n -= 1;
                }
                step(Step::Close(at));
                if top == frame {
                    break;
                }
            }
        }
        if !open.is_empty() {
            import.ledger.diagnostics.report_many(UNFINISHED, open.len() as u64, At::File, &self.name);
            let end = self.end.filter(|end| *end > last).unwrap_or(last);
            open.iter().for_each(|_| step(Step::Close(end)));
        }
    }

    /// Events without a unit of time: the distance between two events belongs to the path that is open there.
    fn evented_rows(&self, tree: &mut Tree, import: &mut Import<'_>) -> Vec<Row> {
        let mut rows: Vec<Row> = Vec::new();
        let mut path = Vec::new();
        let mut last = 0.0;
        self.replay(import, &mut |step| {
            let (Step::Open(_, at) | Step::Close(at)) = step;
            if let Some(&node) = path.last()
                && at > last
            {
                match rows.last_mut() {
                    Some((same, weight)) if *same == node => *weight += at - last,
                    _ => rows.push((node, at - last)),
                }
            }
            last = at;
            match step {
                Step::Open(frame, _) => path.push(tree.step(path.last().copied().unwrap_or(Tree::ROOT), frame)),
                Step::Close(_) => drop(path.pop()),
            }
        });
        rows
    }

    /// Events with times are slices.
    fn store_slices(self, tree: &mut Tree, frames: &[FrameId], unknown: FrameId, import: &mut Import<'_>) {
        let ns = self.ns().unwrap_or(1.0);
        let mut table = SliceTable::default();
        let mut nodes = Vec::new();
        let mut own: Vec<i64> = Vec::new();
        let mut path: Vec<(u32, usize)> = Vec::new();
        self.replay(import, &mut |step| match step {
            Step::Open(frame, at) => {
                let node = tree.step(path.last().map_or(Tree::ROOT, |(node, _)| *node), frame);
                table.depth.push(path.len() as u32);
                table.start_ns.push((at * ns).round() as i64);
                table.duration_ns.push(0);
                path.push((node, nodes.len()));
                nodes.push(node);
                own.push(0);
            }
            Step::Close(at) => {
                let Some((_, row)) = path.pop() else { return };
                let length = ((at * ns).round() as i64).saturating_sub(table.start_ns[row]).max(0);
                table.duration_ns[row] = length;
                own[row] = own[row].saturating_add(length);
                if let Some((_, above)) = path.last() {
                    own[*above] = own[*above].saturating_sub(length);
                }
            }
        });
        let stacks = tree.stacks(frames, unknown, import);
        let value = self.value_type(0, import);
        let mut p = Profile::new(import.source, "speedscope", vec![value]);
        table.stack = nodes.iter().map(|node| stacks[*node as usize]).collect();
        p.samples.stack = table.stack.clone();
        p.samples.values[0] = own;
        let first = table.start_ns.iter().min().copied().unwrap_or(0);
        let last = table.start_ns.iter().zip(&table.duration_ns).map(|(s, d)| s.saturating_add(*d)).max().unwrap_or(first);
        p.duration_ns = last.saturating_sub(first);
        p.slices = Some(table);
        self.push(p, import);
    }
}

/// What happens at a place.
enum Step {
    Open(u32, f64),
    Close(f64),
}

/// Decimal places that a weight needs, up to [`MAX_DIGITS`].
fn digits(weight: f64) -> u32 {
    (0..MAX_DIGITS).find(|d| (weight * 10_f64.powi(*d as i32)).fract().abs() < 1e-9).unwrap_or(MAX_DIGITS)
}
