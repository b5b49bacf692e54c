//! What the order of samples in time says about loops (PROFILES 1.5): a function whose place goes backward from one sample to
//! the next has iterated, at or above that place; one that only goes forward has not.

use super::active::Active;
use crate::base::ids::{FuncId, StackId, ThreadId};
use crate::base::intern::PairIndex;
use crate::model::profile::{Profile, SampleTable};
use crate::model::symbols::{FRAME_INLINED, NO_ADDRESS};
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// Samples further apart than this many usual intervals are no neighbours.
pub const GAP: i64 = 3;
/// Frames that two neighbouring stacks are compared over, from the leaf; beyond, they count as unrelated.
const MAX_FRAMES: u32 = 512;

/// How a function's place changed between neighbouring samples. Above the first frame that differs nothing is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moves {
    /// In its own code, backward.
    pub back: u64,
    /// In its own code, forward.
    pub forward: u64,
    /// At the same instruction or line.
    pub same: u64,
    /// The call that it was in changed to an earlier one.
    pub site_back: u64,
    /// The call that it was in changed to a later one.
    pub site_forward: u64,
    /// From the same place it called a function that it had called before, with another one in between.
    pub again: u64,
}

impl Moves {
    /// Adds those of another function or thread.
    pub fn add(&mut self, other: Moves) {
        self.back += other.back;
        self.forward += other.forward;
        self.same += other.same;
        self.site_back += other.site_back;
        self.site_forward += other.site_forward;
        self.again += other.again;
    }
}

/// Moves of all functions of a profile, over all threads.
#[derive(Clone, Debug, Default)]
pub struct TimeOrder {
    /// By canonical function.
    pub moves: BTreeMap<FuncId, Moves>,
    /// Pairs of neighbouring samples that were compared.
    pub pairs: u64,
}

impl TimeOrder {
    /// The moves of a function.
    pub fn of(&self, func: FuncId) -> Moves {
        self.moves.get(&func).copied().unwrap_or_default()
    }
}

/// Whether a profile tells the order of samples of each thread.
pub fn is_ordered(p: &Profile) -> bool {
    let s = &p.samples;
    // Without threads, files that aggregate over all of them mix their samples.
    s.time_ns.len() == s.len() && !s.is_empty() && (!s.thread.is_empty() || !matches!(p.format, "pprof" | "otlp-profiles"))
}

/// Rows of samples by thread, in order of time.
pub fn by_thread(samples: &SampleTable) -> BTreeMap<Option<ThreadId>, Vec<u32>> {
    let mut out: BTreeMap<Option<ThreadId>, Vec<u32>> = BTreeMap::new();
    for row in 0..samples.len() {
        out.entry(samples.thread.get(row).copied()).or_default().push(row as u32);
    }
    for rows in out.values_mut() {
        let time = |row: &u32| samples.time_ns[*row as usize];
        if !rows.is_sorted_by_key(time) {
            rows.sort_by_key(time);
        }
    }
    out
}

/// The usual interval between neighbours: the median of the positive ones; 0 if there are none.
pub fn usual_interval(samples: &SampleTable, rows: &[u32]) -> i64 {
    let time = |row: u32| samples.time_ns[row as usize];
    let mut gaps: Vec<i64> = rows.windows(2).map(|w| time(w[1]).saturating_sub(time(w[0]))).filter(|gap| *gap > 0).collect();
    if gaps.is_empty() {
        return 0;
    }
    let middle = gaps.len() / 2;
    *gaps.select_nth_unstable(middle).1
}

/// Compares neighbouring samples of every thread; `None` where the profile has no order.
pub fn time_order(active: &Active<'_>) -> Option<TimeOrder> {
    let p = active.profile;
    if !is_ordered(p) {
        return None;
    }
    let mut busy = vec![false; active.session.symbols.stacks.len()];
    for a in &active.stacks {
        busy[a.stack.index()] = true;
    }
    let mut walk = Walk::new(active);
    for rows in by_thread(&p.samples).values() {
        let limit = usual_interval(&p.samples, rows).saturating_mul(GAP);
        let mut last: Option<(StackId, i64)> = None;
        for &row in rows {
            let time = p.samples.time_ns[row as usize];
            let stack = p.samples.stack[row as usize].get().map(|s| active.without_preemption(s));
            // Collecting garbage interrupts and is no part of what goes on.
            if stack.is_some_and(|s| active.leaf_class_of(active.func(s)).has("gc")) {
                continue;
            }
            let Some(stack) = stack.filter(|s| busy[s.index()]) else {
                last = None;
                continue;
            };
            match last {
                Some((before, at)) if time.saturating_sub(at) <= limit || limit == 0 => walk.step(before, stack),
                _ => walk.enter(stack, StackId::NONE),
            }
            last = Some((stack, time));
        }
    }
    Some(walk.finish())
}

struct Walk<'a, 'b> {
    active: &'b Active<'a>,
    pairs: u64,
    /// By canonical function.
    moves: Vec<Moves>,
    /// By stack: which visit of it this is.
    visit: Vec<u32>,
    visits: u32,
    /// Stack and function called from it, with the visit in which that was.
    called: PairIndex,
    called_in: Vec<u32>,
    /// By stack: the row in `called_in` of the call that it begins with, as far as it was looked up. Stacks are visited again and again.
    call: Vec<u32>,
}

/// A call that was not looked up.
const NO_CALL: u32 = u32::MAX;

/// One of two stacks while both are followed down to where they part.
#[derive(Clone, Copy)]
struct Side {
    at: StackId,
    /// The stack right above `at`.
    above: StackId,
    /// Whether all frames above `above` are inlined into it.
    leaf: bool,
}

impl<'a, 'b> Walk<'a, 'b> {
    fn new(active: &'b Active<'a>) -> Walk<'a, 'b> {
        Walk {
            active,
            pairs: 0,
            moves: vec![Moves::default(); active.session.symbols.funcs.len()],
            visit: vec![0; active.session.symbols.stacks.len()],
            visits: 0,
            called: PairIndex::default(),
            called_in: Vec::new(),
            call: vec![NO_CALL; active.session.symbols.stacks.len()],
        }
    }

    fn finish(self) -> TimeOrder {
        let moved = self.moves.into_iter().enumerate().filter(|(_, moves)| *moves != Moves::default());
        TimeOrder { moves: moved.map(|(i, moves)| (FuncId::from_index(i), moves)).collect(), pairs: self.pairs }
    }

    fn moves(&mut self, func: FuncId) -> &mut Moves {
        &mut self.moves[func.index()]
    }

    /// The row of the call from `caller` that `stack` begins with, and whether it is seen for the first time.
    fn call(&mut self, caller: StackId, stack: StackId) -> (usize, bool) {
        let known = self.call[stack.index()];
        if known != NO_CALL {
            return (known as usize, false);
        }
        let func = self.active.func(stack);
        let (row, new) = self.called.get_or_insert(caller.0, func.0, self.called_in.len() as u32);
        if new {
            self.called_in.push(0);
        }
        self.call[stack.index()] = row;
        (row as usize, new)
    }

    fn down(&self, side: &mut Side) {
        let s = &self.active.session.symbols;
        if let Some(above) = side.above.get() {
            side.leaf &= s.frames.flags[s.stacks.frame[above.index()].index()] & FRAME_INLINED != 0;
        }
        side.above = side.at;
        side.at = s.stacks.prefix[side.at.index()];
    }

    fn step(&mut self, before: StackId, now: StackId) {
        self.pairs += 1;
        let s = &self.active.session.symbols;
        if before == now {
            if self.place(now).is_some() {
                self.moves(self.active.func(now)).same += 1;
            }
            return;
        }
        let begin = |at| Side { at, above: StackId::NONE, leaf: true };
        let (mut a, mut b) = (begin(before), begin(now));
        let depth = |at: StackId| at.get().map_or(-1, |at| i64::from(s.stacks.depth[at.index()]));
        for _ in 0..2 * MAX_FRAMES {
            if a.at == b.at {
                break;
            }
            let (da, db) = (depth(a.at), depth(b.at));
            if da >= db {
                self.down(&mut a);
            }
            if db >= da {
                self.down(&mut b);
            }
        }
        if a.at != b.at {
            self.enter(now, StackId::NONE);
            return;
        }
        if let (Some(x), Some(y)) = (a.above.get(), b.above.get()) {
            self.parted(x, y, a.leaf && b.leaf, a.at);
        }
        self.enter(now, b.at);
    }

    /// Two stacks part at `x` and `y`, right above `below`.
    fn parted(&mut self, x: StackId, y: StackId, leaf: bool, below: StackId) {
        let (f, g) = (self.active.func(x), self.active.func(y));
        if f != g {
            // The call that begins anew is noted by `enter`; here is seen whether it was there before in the same visit.
            if let Some(caller) = below.get() {
                let (row, new) = self.call(caller, y);
                if !new && self.called_in[row] == self.visit[caller.index()] {
                    self.moves(self.active.func(caller)).again += 1;
                }
            }
            return;
        }
        let (Some(from), Some(to)) = (self.place(x), self.place(y)) else { return };
        let Some(order) = from.compare(to) else { return };
        let moves = self.moves(f);
        match (order, leaf) {
            (Ordering::Greater, true) => moves.back += 1,
            (Ordering::Less, true) => moves.forward += 1,
            (Ordering::Equal, _) => {}
            (Ordering::Greater, false) => moves.site_back += 1,
            (Ordering::Less, false) => moves.site_forward += 1,
        }
    }

    /// Begins visits of the stacks from `now` down to `below`, which goes on.
    fn enter(&mut self, now: StackId, below: StackId) {
        let stacks = &self.active.session.symbols.stacks;
        let mut at = now;
        for _ in 0..MAX_FRAMES {
            let Some(stack) = at.get().filter(|s| *s != below) else { break };
            self.visits = self.visits.wrapping_add(1);
            self.visit[stack.index()] = self.visits;
            at = stacks.prefix[stack.index()];
        }
        // With the new visits known, each call is noted in the visit of its caller.
        let mut at = now;
        for _ in 0..MAX_FRAMES {
            let Some(stack) = at.get().filter(|s| *s != below) else { break };
            let caller = stacks.prefix[stack.index()];
            if let Some(caller) = caller.get() {
                let (row, _) = self.call(caller, stack);
                self.called_in[row] = self.visit[caller.index()];
            }
            at = caller;
        }
    }

    fn place(&self, stack: StackId) -> Option<Place> {
        let frames = &self.active.session.symbols.frames;
        let i = self.active.session.symbols.stacks.frame[stack.index()].index();
        let place = Place { offset: frames.offset[i], address: frames.address[i], line: frames.line[i] };
        (place.offset != NO_ADDRESS || place.address != NO_ADDRESS || place.line != 0).then_some(place)
    }
}

#[derive(Clone, Copy)]
struct Place {
    offset: u64,
    address: u64,
    line: u32,
}

impl Place {
    /// By the finest measure that both have.
    fn compare(self, other: Place) -> Option<Ordering> {
        if self.offset != NO_ADDRESS && other.offset != NO_ADDRESS {
            return Some(self.offset.cmp(&other.offset));
        }
        if self.address != NO_ADDRESS && other.address != NO_ADDRESS {
            return Some(self.address.cmp(&other.address));
        }
        (self.line != 0 && other.line != 0).then(|| self.line.cmp(&other.line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::{ProfileId, SourceId};
    use crate::model::Session;
    use crate::model::profile::{ValueKind, ValueType};
    use crate::model::symbols::{FrameKey, FuncKey};

    /// Samples one millisecond apart: `main@3;f@7`, where the number is a line; `@0` has none.
    pub fn recorded(lines: &[&str]) -> Session {
        let mut session = Session::default();
        let value = ValueType { name: "samples".into(), unit: "count".into(), kind: ValueKind::Samples };
        let mut p = Profile::new(SourceId(0), "cpuprofile", vec![value]);
        for (i, text) in lines.iter().enumerate() {
            let mut stack = StackId::NONE;
            for frame in text.split(';').filter(|f| !f.is_empty()) {
                let (name, line) = frame.split_once('@').unwrap();
                let func = session.symbols.funcs.intern(FuncKey::named(session.strings.intern(name)));
                let frame = session.symbols.frames.intern(FrameKey { line: line.parse().unwrap(), ..FrameKey::of(func) });
                stack = session.symbols.stacks.push(stack, frame);
            }
            p.samples.stack.push(stack);
            p.samples.time_ns.push(i as i64 * 1_000_000);
            p.samples.values[0].push(1);
        }
        session.profiles.push(p);
        session
    }

    fn moves(lines: &[&str], func: &str) -> Moves {
        let session = recorded(lines);
        let active = Active::new(&session, ProfileId(0), &session.profiles[0]);
        let func = session.symbols.funcs.find_by_name(session.strings.find(func).unwrap()).unwrap();
        time_order(&active).unwrap().of(func)
    }

    #[test]
    fn backward_moves_are_iterations_and_forward_moves_are_phases() {
        let phases = ["main@1;a@5", "main@2;b@9", "main@3;c@9"];
        assert_eq!(moves(&phases, "main"), Moves { site_forward: 2, ..Moves::default() });
        let turns = ["main@1;a@5", "main@2;b@9", "main@1;a@6", "main@2;b@9", "main@1;a@5"];
        assert_eq!(moves(&turns, "main"), Moves { site_forward: 2, site_back: 2, ..Moves::default() });
        let body = ["main@1;a@5", "main@1;a@6", "main@1;a@5", "main@1;a@5"];
        assert_eq!(moves(&body, "a"), Moves { back: 1, forward: 1, same: 1, ..Moves::default() });
    }

    #[test]
    fn calls_that_come_again_need_one_visit() {
        assert_eq!(moves(&["m@0;a@0", "m@0;b@0", "m@0;a@0", "m@0;b@0"], "m").again, 2);
        // A sample elsewhere ends the visit of m.
        assert_eq!(moves(&["r@0;m@0;a@0", "r@0;m@0;b@0", "r@0;x@0", "r@0;m@0;a@0"], "m").again, 0);
        assert_eq!(moves(&["r@0;m@0;a@0", "r@0;m@0;b@0", "r@0;x@0", "r@0;m@0;a@0"], "r").again, 1);
        // Nothing is known of positions, so nothing went backward.
        assert_eq!(moves(&["m@0;a@0", "m@0;a@0", "m@0;a@0"], "a"), Moves::default());
    }

    #[test]
    fn gaps_and_samples_without_stack_part_what_stands_beside_them() {
        assert_eq!(moves(&["m@2;a@1", "", "m@1;a@1"], "m"), Moves::default());
        let mut session = recorded(&["m@2;a@1", "m@2;a@1", "m@2;a@1", "m@1;a@1"]);
        session.profiles[0].samples.time_ns[3] = 1_000_000_000;
        let active = Active::new(&session, ProfileId(0), &session.profiles[0]);
        assert_eq!(time_order(&active).unwrap().pairs, 2);
    }
}
