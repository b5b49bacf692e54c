//! The way of the processor through a sample's taken branches: loops are entered, iterate, call, and are left.

use super::branch_loops::BranchLoop;
use crate::base::ids::{FrameId, FuncId};
use crate::model::branches::{BRANCH_MISPREDICTED, BRANCH_PREDICTED, Branch};
use std::collections::BTreeMap;

/// A call returns right behind itself: the longest call instruction has 15 bytes.
const CALL: u64 = 16;
/// Runs seen whole that a median needs.
const ENOUGH: u64 = 10;

/// Kinds of branches by their number in [`crate::model::branches::BRANCH_KINDS`].
fn is_call(kind: u8) -> bool {
    matches!(kind, 4 | 5 | 7 | 9 | 12)
}

fn is_return(kind: u8) -> bool {
    matches!(kind, 6 | 8 | 10 | 11)
}

/// Whether a branch within a function is a jump. Without a kind, one to its first byte may be a call of itself.
pub(super) fn is_jump(kind: u8, to: u64) -> bool {
    !is_call(kind) && !is_return(kind) && (kind != 0 || to != 0)
}

/// An end of a branch: function and offset; `None` where there is no symbol.
pub(super) type End = Option<(FuncId, u64)>;

/// What is counted of one loop.
pub(super) struct Watch {
    pub(super) func: FuncId,
    frame: FrameId,
    pub(super) ranges: Vec<(u64, u64)>,
    /// Where back edges go; the first is the header once [`Watch::choose_header`] ran.
    pub(super) headers: Vec<u64>,
    /// How often each ran.
    ran: Vec<u64>,
    pub(super) backs: u64,
    stacks: u64,
    pub(super) turns: u64,
    exits: u64,
    /// Iterations and exits, each by the weight of its stack.
    weighed: (f64, f64),
    /// Whole runs by iterations: how many, and their weight.
    whole: BTreeMap<u32, (u64, f64)>,
    /// What the weight of all runs would be, by the exits.
    runs: f64,
    longest: u32,
    cycles: BTreeMap<u64, u64>,
    predicted: u64,
    mispredicted: u64,
}

impl Watch {
    pub(super) fn new(func: FuncId, frame: FrameId, headers: Vec<u64>, ranges: Vec<(u64, u64)>) -> Watch {
        Watch {
            func,
            frame,
            ranges,
            ran: vec![0; headers.len()],
            headers,
            backs: 0,
            stacks: 0,
            turns: 0,
            exits: 0,
            weighed: (0.0, 0.0),
            whole: BTreeMap::new(),
            runs: 0.0,
            longest: 0,
            cycles: BTreeMap::new(),
            predicted: 0,
            mispredicted: 0,
        }
    }

    fn holds(&self, at: u64) -> bool {
        let i = self.ranges.partition_point(|(from, _)| *from <= at);
        i > 0 && at < self.ranges[i - 1].1
    }

    pub(super) fn choose_header(&mut self) {
        let best = (0..self.headers.len()).max_by_key(|i| (self.ran[*i], std::cmp::Reverse(self.headers[*i])));
        if let Some(best) = best {
            self.headers.swap(0, best);
        }
    }

    pub(super) fn finish(self) -> BranchLoop {
        let whole: u64 = self.whole.values().map(|w| w.0).sum();
        let weight: f64 = self.whole.values().map(|w| w.1).sum();
        // Runs that are too long for a stack lie above all that were seen.
        let all = if weight >= 0.9 * self.runs { weight } else { self.runs };
        let quantile = |q: f64| {
            let mut sum = 0.0;
            let found = self.whole.iter().find(|(_, w)| {
                sum += w.1;
                sum >= q * all * (1.0 - 1e-9)
            });
            found.filter(|_| whole >= ENOUGH).map(|(trips, _)| *trips)
        };
        let told = self.predicted + self.mispredicted;
        let counted: u64 = self.cycles.values().sum();
        let mut half = 0;
        let cycles = self.cycles.iter().find(|(_, n)| {
            half += **n;
            half * 2 >= counted
        });
        BranchLoop {
            func: self.func,
            header: self.headers[0],
            median: quantile(0.5),
            p95: quantile(0.95),
            ranges: self.ranges,
            frame: self.frame,
            backs: self.backs,
            stacks: self.stacks,
            turns: self.turns,
            exits: self.exits,
            whole,
            mean: (self.weighed.1 > 0.0).then(|| self.weighed.0 / self.weighed.1),
            longest: self.longest,
            cycles: cycles.map(|(c, _)| u32::try_from(*c).unwrap_or(u32::MAX)).filter(|c| *c > 0),
            mispredicted: (told > 0).then(|| self.mispredicted as f64 / told as f64),
        }
    }
}

/// A loop that is running.
struct Open {
    row: usize,
    /// Iterations begun.
    count: u32,
    /// Position of the branch that led to its beginning, where that was seen.
    began: Option<usize>,
    /// The clock when its header ran last.
    lap: Option<u64>,
}

/// A function that is running.
struct Level {
    func: FuncId,
    /// Where the last branch led to; `None` where that is not known.
    at: Option<u64>,
    /// Where in this function that branch stood; `None` if it came from elsewhere.
    came: Option<u64>,
    /// The call that the level above returns behind.
    call: u64,
    open: Vec<Open>,
}

impl Level {
    fn new(func: FuncId, at: Option<u64>) -> Level {
        Level { func, at, came: None, call: u64::MAX, open: Vec::new() }
    }
    fn returns(&self, (func, to): (FuncId, u64)) -> bool {
        self.func == func && to > self.call && to - self.call <= CALL
    }
}

/// The way of the processor through one stack after the other.
pub(super) struct Walk<'a> {
    rows: &'a mut [Watch],
    /// First row and one behind the last of each function.
    funcs: &'a BTreeMap<FuncId, (usize, usize)>,
    levels: Vec<Level>,
    clock: u64,
    /// Branches of the stack.
    width: usize,
    /// What the stack stands for.
    weight: f64,
}

impl<'a> Walk<'a> {
    pub(super) fn new(rows: &'a mut [Watch], funcs: &'a BTreeMap<FuncId, (usize, usize)>) -> Walk<'a> {
        Walk { rows, funcs, levels: Vec::new(), clock: 0, width: 0, weight: 1.0 }
    }

    /// Counts how often headers run, where a loop has several.
    pub(super) fn headers(&mut self, stack: &[Branch], end: &dyn Fn(FrameId) -> End) {
        for pair in stack.windows(2) {
            let (Some((func, at)), Some((to_func, from))) = (end(pair[0].to), end(pair[1].from)) else { continue };
            let Some(&(begin, last)) = self.funcs.get(&func).filter(|_| func == to_func) else { continue };
            for watch in self.rows[begin..last].iter_mut().filter(|w| w.headers.len() > 1) {
                for (header, ran) in watch.headers.iter().zip(&mut watch.ran) {
                    *ran += u64::from(at <= *header && *header <= from);
                }
            }
        }
    }

    /// A stack, oldest branch first, and what it stands for.
    pub(super) fn stack(&mut self, stack: &[Branch], weight: f64, end: &dyn Fn(FrameId) -> End) {
        self.levels.clear();
        (self.clock, self.width, self.weight) = (0, stack.len(), weight);
        let mut met: Vec<usize> = Vec::new();
        for (i, b) in stack.iter().enumerate() {
            let (Some(from), to) = (end(b.from), end(b.to)) else {
                self.levels.clear();
                self.levels.extend(end(b.to).map(|(func, at)| Level::new(func, Some(at))));
                continue;
            };
            self.run_to(from, i, &mut met);
            self.clock += u64::from(b.cycles);
            match to {
                Some(to) if to.0 == from.0 && is_jump(b.kind, to.1) => self.jump(from.1, to.1, i, b),
                Some(to) => self.leave(from.1, to, b.kind, i),
                None if is_call(b.kind) => {
                    // A function without a name: it returns behind the call.
                    if let Some(top) = self.levels.last_mut() {
                        top.call = from.1;
                    }
                    self.levels.push(Level::new(FuncId::NONE, None));
                }
                None => self.levels.clear(),
            }
        }
        for open in self.levels.iter().flat_map(|l| &l.open) {
            let watch = &mut self.rows[open.row];
            watch.longest = watch.longest.max(open.count);
        }
        met.sort_unstable();
        met.dedup();
        for row in met {
            self.rows[row].stacks += 1;
        }
    }

    /// The processor ran straight on to a branch. The clock is still that of the branch before.
    fn run_to(&mut self, (func, from): (FuncId, u64), i: usize, met: &mut Vec<usize>) {
        if self.levels.last().is_none_or(|top| top.func != func || top.at.is_some_and(|at| at > from)) {
            self.levels.clear();
            self.levels.push(Level::new(func, None));
        }
        let Some(&(begin, end)) = self.funcs.get(&func) else { return };
        let Some(mut top) = self.levels.pop() else { return };
        for row in begin..end {
            let watch = &mut self.rows[row];
            let header = watch.headers[0];
            let turns = top.at.is_some_and(|at| at <= header && header <= from);
            let stays = watch.holds(from);
            let known = top.open.iter().position(|o| o.row == row);
            let mut open = match known {
                Some(open) => top.open.swap_remove(open),
                None if turns => Open { row, count: 0, began: Some(i.saturating_sub(1)), lap: None },
                None if top.at.map_or(stays, |at| watch.holds(at)) => {
                    // Into its middle: from outside, that is an entry; else it was running.
                    let began = top.came.filter(|came| !watch.holds(*came)).map(|_| i.saturating_sub(1));
                    Open { row, count: 0, began, lap: None }
                }
                None => continue,
            };
            if turns {
                open.count += 1;
                watch.turns += 1;
                watch.weighed.0 += self.weight;
                met.push(row);
                if let Some(lap) = open.lap {
                    *watch.cycles.entry(self.clock - lap).or_default() += 1;
                }
                open.lap = Some(self.clock);
            }
            if stays {
                top.open.push(open);
            } else {
                self.close(&open, i);
            }
        }
        self.levels.push(top);
    }

    /// A jump within a function.
    fn jump(&mut self, from: u64, to: u64, i: usize, b: &Branch) {
        let Some(mut top) = self.levels.pop() else { return };
        let mut at = 0;
        while at < top.open.len() {
            let watch = &mut self.rows[top.open[at].row];
            if watch.holds(to) {
                if to <= from && watch.headers.contains(&to) {
                    watch.backs += 1;
                    watch.predicted += u64::from(b.flags & BRANCH_PREDICTED != 0);
                    watch.mispredicted += u64::from(b.flags & BRANCH_MISPREDICTED != 0);
                }
                at += 1;
            } else {
                let open = top.open.swap_remove(at);
                self.close(&open, i);
            }
        }
        (top.at, top.came) = (Some(to), Some(from));
        self.levels.push(top);
    }

    /// A branch out of a function: a call, a return, or a jump.
    fn leave(&mut self, from: u64, to: (FuncId, u64), kind: u8, i: usize) {
        let below = self.levels.len().saturating_sub(1);
        let back = (!is_call(kind)).then(|| self.levels[..below].iter().rposition(|l| l.returns(to))).flatten();
        if let Some(back) = back {
            let left: Vec<Level> = self.levels.drain(back + 1..).collect();
            left.iter().flat_map(|l| &l.open).for_each(|open| self.close(open, i));
            if let Some(level) = self.levels.last_mut() {
                (level.at, level.came, level.call) = (Some(to.1), None, u64::MAX);
            }
        } else if is_call(kind) || kind == 0 && to.1 == 0 {
            if let Some(top) = self.levels.last_mut() {
                top.call = from;
            }
            self.levels.push(Level::new(to.0, Some(to.1)));
        } else {
            // A return to a call that was not seen, or a jump to another function: what runs here is over.
            if let Some(top) = self.levels.pop() {
                top.open.iter().for_each(|open| self.close(open, i));
            }
            if is_return(kind) || kind == 0 {
                self.levels.clear();
            }
            self.levels.push(Level::new(to.0, Some(to.1)));
        }
    }

    /// A loop is left; the branch at position `i` shows it.
    fn close(&mut self, open: &Open, i: usize) {
        let watch = &mut self.rows[open.row];
        watch.exits += 1;
        watch.weighed.1 += self.weight;
        watch.longest = watch.longest.max(open.count);
        watch.runs += self.weight / self.width.saturating_sub(1).max(1) as f64;
        if let Some(began) = open.began {
            let places = self.width.saturating_sub(i - began).max(1);
            let entry = watch.whole.entry(open.count).or_default();
            *entry = (entry.0 + 1, entry.1 + self.weight / places as f64);
        }
    }
}
