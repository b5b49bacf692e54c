//! Loops out of taken branches (LBR): how often they iterate each time they are entered, and what an iteration costs.
//!
//! Where the machine code is known its loops are watched. Else a back edge is a taken branch that goes backward within a function:
//! its target is the header of a loop, which reaches to the farthest of its back edges; loops that overlap without one being in
//! the other are one loop, whose header is the one that runs most often.
//!
//! A sample's branches tell the way of the processor without gaps: between the target of an entry and the source of the next it
//! ran straight on, so that entering, iterating and leaving are seen, and calls are stepped over.
//!
//! Two estimates, since a stack of 8 to 64 entries is a window: the mean is iterations over exits, which does not depend on the
//! window (AutoFDO counts so); the distribution comes from the runs that lie whole in a window, each weighed by one over the
//! number of windows of that size that would hold it. Samples by time find slow code more often, and with it the windows that end
//! there: where cycles are recorded, a window is weighed by the inverse of the usual time from its newest branch to the next.

use super::branch_walk::{End, Walk, Watch, is_jump};
use crate::base::ids::{FrameId, FuncId};
use crate::model::Session;
use crate::model::branches::{BRANCH_ABORT, BRANCH_NOT_TAKEN, Branch};
use crate::model::profile::Profile;
use crate::model::symbols::{FUNC_UNSYMBOLIZED, NO_ADDRESS};
use std::collections::BTreeMap;

/// A longer way back is no loop but an odd record (the bound of AutoFDO's sanity checks).
const LONGEST: u64 = 64 << 10;
/// Loops of one function that are looked at, those with most back edges.
const MOST: usize = 64;

/// A loop that taken branches show.
#[derive(Clone, Debug, PartialEq)]
pub struct BranchLoop {
    /// The function, by its own row.
    pub func: FuncId,
    /// Offset of the loop's header in the function: what runs once per iteration.
    pub header: u64,
    /// Its code as ranges of offsets in the function, in order, `from..to`.
    pub ranges: Vec<(u64, u64)>,
    /// A frame at the header, or at the target of a back edge.
    pub frame: FrameId,
    /// Back edges seen: taken branches to the header, or backward within the loop where its code is not known.
    pub backs: u64,
    /// Samples whose branches iterate in it.
    pub stacks: u64,
    /// Iterations seen.
    pub turns: u64,
    /// Times it was seen to be left.
    pub exits: u64,
    /// Runs seen from entry to exit.
    pub whole: u64,
    /// Iterations per entry, on average; `None` if it was never seen to be left.
    pub mean: Option<f64>,
    /// Median; `None` if half of the runs do not fit in a stack, or too few were seen whole.
    pub median: Option<u32>,
    /// 95th percentile, likewise.
    pub p95: Option<u32>,
    /// Most iterations seen in a row.
    pub longest: u32,
    /// Cycles per iteration, the median; `None` where the processor does not count them.
    pub cycles: Option<u32>,
    /// Share of the back edges that were predicted wrongly; `None` where the processor does not say.
    pub mispredicted: Option<f64>,
}

/// The loops of a profile's branches.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BranchLoops {
    /// By function, then header.
    pub loops: Vec<BranchLoop>,
    /// Samples with branches.
    pub stacks: u64,
    /// Most branches of one sample: how far back they tell.
    pub depth: usize,
}

/// Finds the loops. Linear in branches times the loops of one function, which are bounded.
pub fn branch_loops(session: &Session, profile: &Profile) -> BranchLoops {
    let s = &session.symbols;
    let end = |frame: FrameId| -> End {
        let i = frame.get()?.index();
        let func = s.frames.func[i];
        let named = s.funcs.flags[func.index()] & FUNC_UNSYMBOLIZED == 0;
        (named && s.frames.offset[i] != NO_ADDRESS).then_some((func, s.frames.offset[i]))
    };
    let table = &profile.branches;
    let mut out = BranchLoops::default();
    let mut edges: BTreeMap<(FuncId, u64), Edge> = BTreeMap::new();
    for i in 0..profile.samples.len() {
        let stack = taken(table.of(i), &end);
        out.stacks += u64::from(!stack.is_empty());
        out.depth = out.depth.max(stack.len());
        for b in &stack {
            let (Some((func, from)), Some((to_func, to))) = (end(b.from), end(b.to)) else { continue };
            if func == to_func && to <= from && from - to <= LONGEST && is_jump(b.kind, to) {
                let edge = edges.entry((func, to)).or_insert(Edge { end: from, seen: 0, frame: b.to });
                edge.seen += 1;
                edge.end = edge.end.max(from);
            }
        }
    }
    let mut rows = watches(session, edges);
    if rows.is_empty() {
        return out;
    }
    let mut funcs: BTreeMap<FuncId, (usize, usize)> = BTreeMap::new();
    for (row, watch) in rows.iter().enumerate() {
        funcs.entry(watch.func).or_insert((row, row)).1 = row + 1;
    }
    let pace = pace(profile);
    for once in [true, false] {
        let mut walk = Walk::new(&mut rows, &funcs);
        for i in 0..profile.samples.len() {
            let mut stack = taken(table.of(i), &end);
            stack.reverse();
            if once {
                walk.headers(&stack, &end);
            } else {
                let weight = stack.last().map_or(1.0, |newest| pace.as_ref().map_or(1.0, |p| p.weight(newest.to)));
                walk.stack(&stack, weight, &end);
            }
        }
        if once {
            rows.iter_mut().for_each(Watch::choose_header);
        }
    }
    out.loops = rows.into_iter().filter(|w| w.turns > 0 && w.backs > 0).map(Watch::finish).collect();
    out.loops.sort_by_key(|l| (l.func, l.header));
    out
}

/// The branches that were taken, without the copy that some processors put on top (a sanity check of AutoFDO).
fn taken(entries: impl Iterator<Item = Branch>, end: &dyn Fn(FrameId) -> End) -> Vec<Branch> {
    let mut out: Vec<Branch> = entries.filter(|b| b.flags & (BRANCH_NOT_TAKEN | BRANCH_ABORT) == 0).collect();
    if let [a, b, ..] = out[..]
        && (a.from, a.to) == (b.from, b.to)
        && let (Some((_, from)), Some((_, to))) = (end(a.from), end(a.to))
        && from.saturating_sub(to) > 0x1000
    {
        out.remove(0);
    }
    out
}

/// Cycles from a branch's target to the next branch.
struct Pace {
    by_target: BTreeMap<FrameId, (u64, u64)>,
    mean: f64,
}

impl Pace {
    /// The weight of a stack whose newest branch led there.
    fn weight(&self, target: FrameId) -> f64 {
        let usual = self.by_target.get(&target).map_or(self.mean, |(cycles, n)| *cycles as f64 / *n as f64);
        self.mean / usual.max(0.5)
    }
}

/// How fast the code behind each target runs; `None` where cycles are not recorded or do not decide when a sample is taken.
fn pace(profile: &Profile) -> Option<Pace> {
    let by_time = ["cycles", "clock"].iter().any(|word| profile.name.contains(word));
    let table = &profile.branches;
    if !by_time || table.cycles.iter().all(|c| *c == 0) {
        return None;
    }
    let mut by_target: BTreeMap<FrameId, (u64, u64)> = BTreeMap::new();
    let (mut sum, mut n) = (0_u64, 0_u64);
    for i in 0..profile.samples.len() {
        let mut newer: Option<Branch> = None;
        for b in table.of(i) {
            if let Some(newer) = newer {
                let entry = by_target.entry(b.to).or_default();
                *entry = (entry.0 + u64::from(newer.cycles), entry.1 + 1);
                (sum, n) = (sum + u64::from(newer.cycles), n + 1);
            }
            newer = Some(b);
        }
    }
    Some(Pace { by_target, mean: sum as f64 / n.max(1) as f64 })
}

/// Back edges with one target.
struct Edge {
    /// The farthest.
    end: u64,
    seen: u64,
    frame: FrameId,
}

/// The loops to watch, by function: those of the machine code, else those that back edges span.
fn watches(session: &Session, edges: BTreeMap<(FuncId, u64), Edge>) -> Vec<Watch> {
    let mut out: Vec<Watch> = Vec::new();
    let mut all: Vec<(FuncId, u64, Edge)> = edges.into_iter().map(|((func, to), edge)| (func, to, edge)).collect();
    for group in all.chunk_by_mut(|a, b| a.0 == b.0) {
        let (func, frame) = (group[0].0, group[0].2.frame);
        let code = session.code.place(frame).and_then(|p| session.code.functions.get(p.function as usize)).filter(|c| !c.loops.is_empty());
        if let Some(code) = code {
            let wide = |ranges: &[(u32, u32)]| ranges.iter().map(|(a, b)| (u64::from(*a), u64::from(*b))).collect();
            let most = code.loops.iter().take(MOST);
            out.extend(most.map(|l| Watch::new(func, frame, vec![u64::from(l.header)], wide(&l.ranges))));
            continue;
        }
        // Of a function with very many loops, those with most back edges.
        group.sort_by_key(|(_, to, edge)| (std::cmp::Reverse(edge.seen), *to));
        let most = group.len().min(MOST);
        let group = &mut group[..most];
        group.sort_by_key(|(_, to, _)| *to);
        // Headers rise: a loop that begins within one before it and ends behind it is the same loop.
        let first = out.len();
        for (_, to, edge) in group.iter() {
            let (mut headers, mut range) = (vec![*to], (*to, edge.end + 1));
            let mut at = first;
            while at < out.len() {
                let (a, b) = out[at].ranges[0];
                if range.0 < b && b < range.1 && a < range.0 {
                    let other = out.remove(at);
                    headers.extend(other.headers);
                    range = (a, range.1);
                    at = first;
                } else {
                    at += 1;
                }
            }
            headers.sort_unstable();
            out.push(Watch::new(func, edge.frame, headers, vec![range]));
        }
    }
    out
}
