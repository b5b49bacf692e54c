//! Boxes in order of time, one track per thread: exact slices, or samples whose common callers are joined.

use super::call_tree::{NO_NODE, stack_path};
use super::flame::{FlameBoxes, MAX_BOXES, Track};
use super::weights::Selection;
use crate::base::ids::{FuncId, StackId};
use crate::model::Session;
use crate::model::profile::Profile;
use std::collections::HashMap;

/// A sample stands for the time up to the next sample of its thread, unless that is more than this many median intervals
/// away: then for one median interval, because nothing is known about the rest.
pub const MAX_GAP: f64 = 3.0;

/// Draws a profile in order of time; `None` if it has no times.
pub fn chart(session: &Session, selection: Selection) -> Option<FlameBoxes> {
    let p = session.profiles.get(selection.profile).filter(|p| p.has_times())?;
    let threads = p.threads.len().max(1);
    let wanted = |t: usize| selection.thread.is_none_or(|w| w.index() == t);
    let mut tracks: Vec<(usize, Drawing)> = (0..threads).map(|t| (t, Drawing::default())).collect();
    match &p.slices {
        Some(slices) => {
            for i in 0..slices.stack.len() {
                let t = slices.thread.get(i).map_or(0, |t| t.index());
                if t < threads
                    && wanted(t)
                    && let Some(stack) = slices.stack[i].get()
                {
                    let s = &session.symbols;
                    let func = s.funcs.canonical[s.frames.func[s.stacks.frame[stack.index()].index()].index()];
                    let slice = Slice { stack, above: s.stacks.prefix[stack.index()], func };
                    tracks[t].1.slice(slice, slices.start_ns[i], slices.duration_ns[i].max(0), slices.depth[i]);
                }
            }
        }
        None => {
            let by_thread = samples_by_thread(p, threads, &wanted);
            let fallback = usual_interval(p, &by_thread);
            for (t, samples) in by_thread.iter().enumerate() {
                tracks[t].1.samples(session, p, samples, fallback);
            }
        }
    }
    tracks.retain(|(_, d)| !d.parent.is_empty());
    // The busiest thread first: by time in its outermost boxes.
    tracks.sort_by_key(|(t, d)| (std::cmp::Reverse(d.busy()), *t));
    Some(assemble(p, tracks))
}

fn assemble(p: &Profile, tracks: Vec<(usize, Drawing)>) -> FlameBoxes {
    let origin = tracks.iter().flat_map(|(_, d)| d.start.iter().copied()).min().unwrap_or(0);
    let mut out = FlameBoxes { origin_ns: origin, ..FlameBoxes::default() };
    let mut row = 0;
    for (t, d) in tracks {
        let first_row = row + 1;
        let base = out.len() as u32;
        let rows = d.depth.iter().map(|r| r + 1).max().unwrap_or(0);
        let mut own: Vec<i64> = d.end.iter().zip(&d.start).map(|(end, start)| end.saturating_sub(*start)).collect();
        for i in 0..d.parent.len() {
            let width = d.end[i].saturating_sub(d.start[i]);
            if d.parent[i] != NO_NODE {
                own[d.parent[i] as usize] = own[d.parent[i] as usize].saturating_sub(width);
            }
            out.parent.push(if d.parent[i] == NO_NODE { NO_NODE } else { base + d.parent[i] });
            out.row.push(first_row + d.depth[i]);
            out.func.push(d.func[i]);
            out.start.push(d.start[i].saturating_sub(origin) as f64);
            out.width.push(width as f64);
            out.extent = out.extent.max(d.end[i].saturating_sub(origin) as f64);
        }
        // Slices that overlap their parent's end would make its own part negative.
        out.own.extend(own.iter().map(|v| (*v).max(0) as f64));
        out.tracks.push(Track { thread: (!p.threads.is_empty()).then_some(t as u32), first_row, rows });
        row = first_row + rows;
    }
    out.rows = row;
    out.limit(MAX_BOXES);
    out
}

/// The samples of each thread in order of time: (time, row).
fn samples_by_thread(p: &Profile, threads: usize, wanted: &dyn Fn(usize) -> bool) -> Vec<Vec<(i64, u32)>> {
    let mut out: Vec<Vec<(i64, u32)>> = vec![Vec::new(); threads];
    for (i, &time) in p.samples.time_ns.iter().enumerate() {
        let t = p.samples.thread.get(i).map_or(0, |t| t.index());
        if t < threads && wanted(t) {
            out[t].push((time, i as u32));
        }
    }
    for samples in &mut out {
        samples.sort_unstable();
    }
    out
}

/// Median of the positive gaps; 0 if there is none.
fn median_gap(samples: &[(i64, u32)]) -> i64 {
    let mut gaps: Vec<i64> = samples.windows(2).map(|w| w[1].0.saturating_sub(w[0].0)).filter(|g| *g > 0).collect();
    gaps.sort_unstable();
    crate::base::stats::nearest_rank(&gaps, 0.5)
}

/// The interval for a thread with a single sample: the median of the other threads, else the profile's period.
fn usual_interval(p: &Profile, by_thread: &[Vec<(i64, u32)>]) -> i64 {
    let mut medians: Vec<i64> = by_thread.iter().map(|s| median_gap(s)).filter(|g| *g > 0).collect();
    medians.sort_unstable();
    match crate::base::stats::nearest_rank(&medians, 0.5) {
        0 if p.period_unit == "nanoseconds" && p.period > 0 => p.period,
        median => median.max(1),
    }
}

/// Boxes of one track in order of start, parents first.
#[derive(Default)]
struct Drawing {
    parent: Vec<u32>,
    depth: Vec<u32>,
    func: Vec<FuncId>,
    start: Vec<i64>,
    end: Vec<i64>,
    /// Boxes that may still get children or grow, outermost first; for slices the last box of each row.
    open: Vec<u32>,
    /// For slices: their paths, and the last box of each path.
    stack: Vec<StackId>,
    by_stack: HashMap<StackId, u32>,
}

/// What a slice is, without its time.
struct Slice {
    stack: StackId,
    above: StackId,
    func: FuncId,
}

impl Drawing {
    fn busy(&self) -> i64 {
        (0..self.parent.len())
            .filter(|i| self.parent[*i] == NO_NODE)
            .fold(0_i64, |sum, i| sum.saturating_add(self.end[i].saturating_sub(self.start[i])))
    }

    fn push(&mut self, func: FuncId, start: i64, end: i64) {
        let node = self.parent.len() as u32;
        self.parent.push(self.open.last().copied().unwrap_or(NO_NODE));
        self.depth.push(self.open.len() as u32);
        self.func.push(func);
        self.start.push(start);
        self.end.push(end);
        self.open.push(node);
    }

    /// Draws a slice on its row. It belongs to the slice of its path that is open: on the row above, or further up where it
    /// overlaps others. Rows may also stand side by side without belonging together (what was under way at once).
    fn slice(&mut self, slice: Slice, start: i64, duration: i64, depth: u32) {
        let end = start.saturating_add(duration);
        let around = |node: u32| node != NO_NODE && self.start[node as usize] <= start && self.end[node as usize] >= start;
        let row = depth as usize;
        let above =
            (row > 0).then(|| self.open.get(row - 1).copied()).flatten().filter(|n| around(*n) && self.stack[*n as usize] == slice.above);
        let parent = match above.or_else(|| self.by_stack.get(&slice.above).copied().filter(|n| around(*n))) {
            Some(node) if !slice.above.is_none() => node,
            _ => NO_NODE,
        };
        let node = self.parent.len() as u32;
        self.parent.push(parent);
        self.depth.push(depth);
        self.func.push(slice.func);
        self.start.push(start);
        self.end.push(end);
        self.stack.push(slice.stack);
        self.open.resize(self.open.len().max(row + 1), NO_NODE);
        self.open[row] = node;
        self.by_stack.insert(slice.stack, node);
    }

    fn samples(&mut self, session: &Session, p: &Profile, samples: &[(i64, u32)], fallback: i64) {
        let median = match median_gap(samples) {
            0 => fallback,
            median => median,
        };
        let mut last_end = i64::MIN;
        let mut last_stack = None;
        for (at, &(time, sample)) in samples.iter().enumerate() {
            let gap = samples.get(at + 1).map(|next| next.0.saturating_sub(time));
            let end = time.saturating_add(gap.filter(|g| *g as f64 <= MAX_GAP * median as f64).unwrap_or(median));
            let stack = p.samples.stack[sample as usize];
            if time != last_end {
                self.open.clear();
                last_stack = None;
            }
            if last_stack != Some(stack) {
                let path = if stack.is_none() { Vec::new() } else { stack_path(session, stack) };
                let common = self.open.iter().zip(&path).take_while(|(node, func)| self.func[**node as usize] == **func).count();
                self.open.truncate(common);
                for func in &path[common..] {
                    self.push(*func, time, end);
                }
            }
            for &node in &self.open {
                self.end[node as usize] = end;
            }
            (last_end, last_stack) = (end, Some(stack));
        }
        self.open.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::super::drawn_stacks::{drawn, push_stack};
    use super::*;
    use crate::base::ids::ThreadId;
    use crate::model::profile::{SliceTable, Thread};

    fn thread(name: &str) -> Thread {
        Thread { name: name.into(), pid: 1, tid: 1, process: String::new() }
    }

    fn shown(session: &Session, b: &FlameBoxes) -> Vec<String> {
        let name = |f: FuncId| session.symbols.func_name(&session.strings, f);
        (0..b.len()).map(|i| format!("{} {} {}+{} self {}", b.row[i], name(b.func[i]), b.start[i], b.width[i], b.own[i])).collect()
    }

    #[test]
    fn samples_join_while_callers_stay_and_gaps_stay_empty() {
        let mut s = drawn("a;b 1\na;b 1\na;c 1\na;c 1\nx 1");
        let p = &mut s.profiles[0];
        p.samples.time_ns = vec![100, 110, 120, 190, 105];
        p.samples.thread = vec![ThreadId(0), ThreadId(0), ThreadId(0), ThreadId(0), ThreadId(1)];
        p.threads = vec![thread("one"), thread("two")];
        let b = chart(&s, Selection::default()).unwrap();
        assert_eq!(
            shown(&s, &b),
            ["1 a 0+30 self 0", "2 b 0+20 self 20", "2 c 20+10 self 10", "1 a 90+10 self 0", "2 c 90+10 self 10", "4 x 5+10 self 10"]
        );
        assert_eq!((b.origin_ns, b.extent, b.rows), (100, 100.0, 5));
        assert_eq!(b.tracks[1], Track { thread: Some(1), first_row: 4, rows: 1 });
        assert_eq!(chart(&drawn("a 1"), Selection::default()), None);
    }

    #[test]
    fn slices_are_exact() {
        let mut s = drawn("");
        let stacks = ["a", "a;b", "a;b", "c"].map(|t| push_stack(&mut s, t));
        s.profiles[0].slices = Some(SliceTable {
            stack: stacks.to_vec(),
            thread: vec![ThreadId(0); 4],
            start_ns: vec![10, 12, 15, 40],
            duration_ns: vec![20, 2, 5, 0],
            depth: vec![0, 1, 1, 0],
        });
        s.profiles[0].threads = vec![thread("t")];
        let b = chart(&s, Selection::default()).unwrap();
        assert_eq!(shown(&s, &b), ["1 a 0+20 self 13", "2 b 2+2 self 2", "2 b 5+5 self 5", "1 c 30+0 self 0"]);
    }
}
