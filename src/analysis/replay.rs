//! What if: replays one trace with some spans shorter, gone, or side by side, and says how long its root would take.
//!
//! The model is the observed order (TRACES 3.2 of the project's notes): a child starts after the latest end of the siblings
//! that ended before it, plus the gap that was there; a parent ends after its last child, plus the tail that was there.
//! Only children that the parent waits for take part. Without an edit the result is the observed duration, exactly.
//! [`replay`] gives the root's new duration alone, [`replay_times`] where every span would lie.

use super::clipped::{Clipped, Part};
use crate::base::ids::SpanRow;
use crate::base::work::step;
use crate::model::trace::TraceSet;
use std::collections::BTreeMap;

/// A change to a trace.
#[derive(Clone, Debug, Default)]
pub struct Edit {
    /// New durations, nanoseconds; 0 removes the span's time.
    durations: BTreeMap<SpanRow, i64>,
    /// Spans whose gap before them goes away too.
    no_gap: Vec<SpanRow>,
    /// Spans that no longer wait for one another, and how many may run at once.
    parallel: Vec<SpanRow>,
    workers: usize,
    /// Factors on durations.
    factors: BTreeMap<SpanRow, f64>,
    /// Nanoseconds that are added to durations.
    added: BTreeMap<SpanRow, i64>,
    /// Longest gap before a span, nanoseconds.
    gaps: BTreeMap<SpanRow, i64>,
}

impl Edit {
    /// The spans take no time; what was between them stays.
    pub fn zero(spans: &[SpanRow]) -> Edit {
        Edit { durations: spans.iter().map(|s| (*s, 0)).collect(), ..Edit::default() }
    }

    /// One call of `duration` nanoseconds in the place of the first member does the work of all.
    /// Without `keep_gaps` the caller's own time between the members goes away too.
    pub fn batch(members: &[SpanRow], duration: i64, keep_gaps: bool) -> Edit {
        let mut edit = Edit::zero(members);
        if let Some(first) = members.first() {
            edit.durations.insert(*first, duration);
        }
        if !keep_gaps {
            edit.no_gap = members.iter().skip(1).copied().collect();
            edit.no_gap.sort_unstable();
        }
        edit
    }

    /// The members run side by side, at most `workers` at once.
    pub fn parallel(members: &[SpanRow], workers: usize) -> Edit {
        let mut parallel = members.to_vec();
        parallel.sort_unstable();
        Edit { parallel, workers: workers.max(1), ..Edit::default() }
    }

    /// The span takes `duration` nanoseconds, whatever its children take.
    pub fn set(span: SpanRow, duration: i64) -> Edit {
        Edit { durations: BTreeMap::from([(span, duration.max(0))]), ..Edit::default() }
    }

    /// The spans take `factor` times as long as they did.
    pub fn scale(spans: &[SpanRow], factor: f64) -> Edit {
        Edit { factors: spans.iter().map(|s| (*s, factor.max(0.0))).collect(), ..Edit::default() }
    }

    /// The spans take `ns` nanoseconds longer: remote calls over a slower network.
    pub fn add_rtt(spans: &[SpanRow], ns: i64) -> Edit {
        Edit { added: spans.iter().map(|s| (*s, ns)).collect(), ..Edit::default() }
    }

    /// The spans begin at most `ns` nanoseconds after what they waited for: the rest of the gap before them goes away.
    pub fn gap(spans: &[SpanRow], ns: i64) -> Edit {
        Edit { gaps: spans.iter().map(|s| (*s, ns.max(0))).collect(), ..Edit::default() }
    }

    /// Both changes at once; of two durations for one span the other's wins.
    pub fn and(mut self, other: Edit) -> Edit {
        self.durations.extend(other.durations);
        self.no_gap.extend(other.no_gap);
        self.no_gap.sort_unstable();
        self.parallel.extend(other.parallel);
        self.parallel.sort_unstable();
        self.workers = self.workers.max(other.workers);
        self.factors.extend(other.factors);
        self.added.extend(other.added);
        self.gaps.extend(other.gaps);
        self
    }

    fn spans(&self) -> impl Iterator<Item = SpanRow> + '_ {
        let changed = self.durations.keys().chain(self.factors.keys()).chain(self.added.keys()).chain(self.gaps.keys());
        changed.chain(&self.no_gap).chain(&self.parallel).copied()
    }
}

/// How long `root` would take with the edit, in nanoseconds. Spans of the edit that are not below `root` change nothing.
/// Costs a sort of the children of each ancestor of an edited span, and nothing for the rest of the trace.
pub fn replay(set: &TraceSet, clipped: &Clipped, root: SpanRow, edit: &Edit) -> i64 {
    let changed = changed(set, clipped, edit, &mut |_, _| {});
    new_duration(clipped, root, edit, &changed)
}

/// Where the spans of a trace would lie; columns run parallel to the trace, on its clipped time line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Begin, nanoseconds since 1970.
    pub start: Vec<i64>,
    /// Length, nanoseconds.
    pub duration: Vec<i64>,
}

/// Replays all trees of a trace. What lies below a span whose duration the edit gives keeps its proportions; what a parent does
/// not wait for keeps its distance from the parent's begin.
pub fn replay_times(set: &TraceSet, clipped: &Clipped, edit: &Edit) -> Replayed {
    let n = clipped.len();
    let mut begins: Vec<Option<i64>> = vec![None; n];
    let changed = changed(set, clipped, edit, &mut |span, begin| begins[clipped.position(span)] = Some(begin));
    let mut out = Replayed { start: vec![0; n], duration: vec![0; n] };
    // Spans below one of a given duration, that one included.
    let mut squeezed = vec![false; n];
    for &span in &clipped.order {
        let at = clipped.position(span);
        let given = edit.durations.contains_key(&span) || edit.factors.contains_key(&span);
        let Some(parent) = set.spans.parent[span.index()].get() else {
            (out.start[at], out.duration[at]) = (clipped.start(span), new_duration(clipped, span, edit, &changed));
            squeezed[at] = given;
            continue;
        };
        let above = clipped.position(parent);
        let offset = clipped.start(span) - clipped.start(parent);
        if squeezed[above] {
            let (new, old) = (i128::from(out.duration[above]), i128::from(clipped.duration(parent)));
            let part = |ns: i64| if old > 0 { (i128::from(ns) * new / old) as i64 } else { 0 };
            out.start[at] = out.start[above] + part(offset);
            out.duration[at] = part(clipped.duration(span));
            squeezed[at] = true;
        } else {
            out.start[at] = out.start[above] + begins[at].unwrap_or(offset);
            out.duration[at] = new_duration(clipped, span, edit, &changed);
            squeezed[at] = given;
        }
    }
    out
}

/// New durations of the ancestors of edited spans. `place` is told when each child that one of them waits for begins, in
/// nanoseconds after its parent's begin.
fn changed(set: &TraceSet, clipped: &Clipped, edit: &Edit, place: &mut dyn FnMut(SpanRow, i64)) -> BTreeMap<SpanRow, i64> {
    let mut touched = vec![false; clipped.len()];
    for span in edit.spans() {
        let mut at = set.spans.parent[span.index()].get();
        while let Some(span) = at.filter(|s| !touched[clipped.position(*s)]) {
            step(1);
            touched[clipped.position(span)] = true;
            at = set.spans.parent[span.index()].get();
        }
    }
    let mut changed: BTreeMap<SpanRow, i64> = BTreeMap::new();
    for &span in clipped.order.iter().rev().filter(|s| touched[clipped.position(**s)]) {
        let duration = with_children(set, clipped, span, edit, &changed, place);
        changed.insert(span, duration);
    }
    changed
}

fn new_duration(clipped: &Clipped, span: SpanRow, edit: &Edit, changed: &BTreeMap<SpanRow, i64>) -> i64 {
    let factor = |f: &f64| (clipped.duration(span) as f64 * f) as i64;
    let own = edit.durations.get(&span).copied().or_else(|| edit.factors.get(&span).map(factor));
    // A call that is gone makes no round trip.
    if own == Some(0) && edit.durations.contains_key(&span) {
        return 0;
    }
    let own = own.or_else(|| changed.get(&span).copied()).unwrap_or_else(|| clipped.duration(span));
    own.saturating_add(edit.added.get(&span).copied().unwrap_or(0))
}

/// A child while its parent is replayed; times are relative to the parent's begin.
struct Child {
    span: SpanRow,
    start: i64,
    end: i64,
    new_end: i64,
    /// When it could start if it did not wait for other members of a parallel group.
    release: i64,
}

fn with_children(
    set: &TraceSet,
    clipped: &Clipped,
    parent: SpanRow,
    edit: &Edit,
    changed: &BTreeMap<SpanRow, i64>,
    place: &mut dyn FnMut(SpanRow, i64),
) -> i64 {
    let origin = clipped.start(parent);
    let old = clipped.duration(parent);
    let waited = set.children(parent).iter().filter(|c| clipped.part(**c) == Part::Waited);
    let mut children: Vec<Child> = waited
        .map(|&span| Child { span, start: clipped.start(span) - origin, end: clipped.end(span) - origin, new_end: 0, release: 0 })
        .collect();
    if children.is_empty() {
        return old;
    }
    children.sort_by_key(|c| (c.start, c.end, c.span));
    let mut by_end: Vec<usize> = (0..children.len()).collect();
    by_end.sort_by_key(|&i| (children[i].end, i));
    let mut moments: Vec<i64> = children.iter().flat_map(|c| [c.start, c.end]).collect();
    moments.sort_unstable();
    // With a worker for everybody nobody waits for one.
    let workers = if edit.parallel.is_empty() || edit.workers >= children.len() { 0 } else { edit.workers };
    let mut free = vec![i64::MIN; workers];
    // Of the children that ended so far: the latest new end, of all and of those that are not members, and the last to end.
    let (mut next, mut done, mut done_others, mut last) = (0, i64::MIN, i64::MIN, None);
    let is_member = |span: SpanRow| edit.parallel.binary_search(&span).is_ok();
    step(children.len());
    for i in 0..children.len() {
        let start = children[i].start;
        while let Some(&a) = by_end.get(next).filter(|&&a| a < i && children[a].end <= start) {
            done = done.max(children[a].new_end);
            if !is_member(children[a].span) {
                done_others = done_others.max(children[a].new_end);
            }
            last = Some(a);
            next += 1;
        }
        let overlapping = by_end.get(next).copied().filter(|&a| a < i && tolerated(&children[a], &children[i], old, &moments));
        let before = overlapping.or(last);
        let done_all = overlapping.map_or(done, |a| done.max(children[a].new_end));
        let member = is_member(children[i].span);
        let mut gap = before.map_or(start, |a| start - children[a].end);
        if before.is_some() && edit.no_gap.binary_search(&children[i].span).is_ok() {
            gap = 0;
        }
        if let Some(most) = edit.gaps.get(&children[i].span) {
            gap = gap.min(*most);
        }
        let duration = new_duration(clipped, children[i].span, edit, changed);
        let mut begin = if before.is_some() { done_all.saturating_add(gap).max(0) } else { gap };
        children[i].release = begin;
        if member {
            if let Some(a) = before.filter(|a| is_member(children[*a].span)) {
                children[i].release = children[a].release.max(done_others);
            }
            let worker = free.iter_mut().min_by_key(|w| **w);
            begin = children[i].release;
            if let Some(worker) = worker {
                begin = begin.max(*worker);
                *worker = begin + duration;
            }
        }
        place(children[i].span, begin);
        children[i].new_end = begin + duration;
    }
    let old_last = children.iter().map(|c| c.end).max().unwrap_or(0);
    let new_last = children.iter().map(|c| c.new_end).max().unwrap_or(0);
    new_last + (old - old_last)
}

/// Whether `b` follows `a` although they overlap: by less than 1 % of the parent, and with no other begin or end of a
/// sibling inside the overlap (CRISP, `happensBefore`).
fn tolerated(a: &Child, b: &Child, parent: i64, moments: &[i64]) -> bool {
    overlap_is_tolerated((a.start, a.end), (b.start, b.end), parent, moments)
}

/// The same for intervals; `moments` are the begins and ends of all siblings, sorted.
pub(super) fn overlap_is_tolerated(a: (i64, i64), b: (i64, i64), parent: i64, moments: &[i64]) -> bool {
    let overlap = a.1 - b.0;
    if !(a.0 < b.0 && a.1 < b.1 && overlap > 0 && overlap < parent / 100) {
        return false;
    }
    let from = moments.partition_point(|m| *m < b.0);
    let to = moments.partition_point(|m| *m <= a.1);
    to - from == 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::drawn::{Drawn, draw};
    use crate::base::ids::TraceRow;

    /// `n` calls `l0`, `l1`, … of `dur` with `gap` between them.
    fn lap(parent: &'static str, start: i64, n: i64, dur: i64, gap: i64) -> Vec<(String, &'static str, i64, i64)> {
        (0..n).map(|i| (format!("l{i}"), parent, start + i * (dur + gap), dur)).collect()
    }

    fn drawn(fixed: &[(&'static str, &'static str, i64, i64)], calls: &[(String, &'static str, i64, i64)]) -> (Drawn, Vec<SpanRow>) {
        let all: Vec<(&str, &str, i64, i64)> =
            fixed.iter().copied().chain(calls.iter().map(|(n, p, s, d)| (n.as_str(), *p, *s, *d))).collect();
        let drawn = draw(&all);
        let members = calls.iter().map(|(n, ..)| drawn.span(n)).collect();
        (drawn, members)
    }

    fn saving(drawn: &Drawn, edit: &Edit) -> i64 {
        let clipped = Clipped::of(&drawn.set, TraceRow(0));
        let root = drawn.set.traces.root[0];
        assert_eq!(replay(&drawn.set, &clipped, root, &identity(drawn)), clipped.duration(root), "identity");
        clipped.duration(root) - replay(&drawn.set, &clipped, root, edit)
    }

    /// Every span keeps its duration, but every parent is replayed.
    fn identity(drawn: &Drawn) -> Edit {
        let leaves = (0..drawn.set.spans.len()).map(SpanRow::from_index).filter(|s| drawn.set.children(*s).is_empty());
        let clipped = Clipped::of(&drawn.set, TraceRow(0));
        Edit { durations: leaves.map(|s| (s, clipped.duration(s))).collect(), ..Edit::default() }
    }

    #[test]
    fn v1_a_loop() {
        let (t, m) = drawn(&[("root", "", 0, 1000)], &lap("root", 50, 20, 10, 5));
        assert_eq!(saving(&t, &Edit::batch(&m, 10, true)), 190);
        assert_eq!(saving(&t, &Edit::batch(&m, 10, false)), 285);
        assert_eq!(saving(&t, &Edit::batch(&m, 60, true)), 140);
        assert_eq!(saving(&t, &Edit::parallel(&m, 8)), 265);
        assert_eq!(saving(&t, &Edit::parallel(&m, usize::MAX)), 285);
        assert_eq!(saving(&t, &Edit::zero(&m[1..])), 190);
    }

    #[test]
    fn v2_a_sibling_limits_what_is_saved() {
        let (t, m) = drawn(&[("root", "", 0, 445), ("child", "root", 50, 295), ("sibling", "root", 50, 255)], &lap("child", 50, 20, 10, 5));
        assert_eq!(saving(&t, &Edit::batch(&m, 10, true)), 40);
        assert_eq!(saving(&t, &Edit::batch(&m, 10, false)), 40);
    }

    #[test]
    fn v3_a_saving_crosses_client_and_server() {
        let fixed = [("root", "", 0, 318), ("c client", "root", 100, 133), ("s server", "c client", 110, 118), ("next", "root", 248, 50)];
        let (t, m) = drawn(&fixed, &lap("s server", 120, 10, 8, 2));
        assert_eq!(saving(&t, &Edit::batch(&m, 8, true)), 72);
        assert_eq!(saving(&t, &Edit::batch(&m, 8, false)), 90);
    }

    #[test]
    fn v4_concurrent_calls_have_little_to_save() {
        let calls: Vec<(String, &str, i64, i64)> = (0..10).map(|i| (format!("l{i}"), "root", 50 + i, 100)).collect();
        let (t, m) = drawn(&[("root", "", 0, 200)], &calls);
        assert_eq!(saving(&t, &Edit::batch(&m, 100, true)), 9);
    }

    #[test]
    fn v5_nothing_is_saved_off_the_critical_path() {
        let fixed = [("root", "", 0, 1000), ("background", "root", 10, 300), ("main", "root", 10, 900)];
        let (t, m) = drawn(&fixed, &lap("background", 20, 20, 10, 2));
        assert_eq!(saving(&t, &Edit::batch(&m, 10, false)), 0);
        let fixed = [("root", "", 0, 1000), ("background follows", "root", 10, 300)];
        let (t, m) = drawn(&fixed, &lap("background follows", 20, 20, 10, 2));
        assert_eq!(saving(&t, &Edit::batch(&m, 10, false)), 0);
    }

    /// The loop of V1 to V3 with the edits that change durations and gaps; worked out by hand.
    #[test]
    fn v6_longer_and_shorter_calls() {
        let (t, m) = drawn(&[("root", "", 0, 1000)], &lap("root", 50, 20, 10, 5));
        assert_eq!(saving(&t, &Edit::scale(&m, 0.5)), 100);
        assert_eq!(saving(&t, &Edit::scale(&m, 3.0)), -400);
        assert_eq!(saving(&t, &Edit::set(m[3], 4)), 6);
        assert_eq!(saving(&t, &Edit::add_rtt(&m, 7)), -140);
        assert_eq!(saving(&t, &Edit::gap(&m, 1)), 49 + 19 * 4);
        assert_eq!(saving(&t, &Edit::gap(&m, 1000)), 0);
        assert_eq!(saving(&t, &Edit::scale(&m, 0.5).and(Edit::gap(&m, 0))), 100 + 50 + 95);
        let (t, m) = drawn(&[("root", "", 0, 445), ("child", "root", 50, 295), ("sibling", "root", 50, 255)], &lap("child", 50, 20, 10, 5));
        assert_eq!(saving(&t, &Edit::scale(&m, 0.5)), 40);
        assert_eq!(saving(&t, &Edit::add_rtt(&m, 1)), -20);
    }

    #[test]
    fn v7_a_round_trip_is_paid_by_every_remote_call_and_a_queue_before_a_server_can_go() {
        let fixed = [("root", "", 0, 318), ("c client", "root", 100, 133), ("s server", "c client", 110, 118), ("next", "root", 248, 50)];
        let (t, m) = drawn(&fixed, &lap("s server", 120, 10, 8, 2));
        let remote: Vec<SpanRow> = m.iter().copied().chain([t.span("c client"), t.span("next")]).collect();
        assert_eq!(saving(&t, &Edit::add_rtt(&remote, 3)), -36);
        assert_eq!(saving(&t, &Edit::gap(&[t.span("s server")], 2)), 8);
        // What a span is set to does not depend on its children.
        assert_eq!(saving(&t, &Edit::set(t.span("c client"), 33).and(Edit::scale(&m, 0.0))), 100);
    }

    #[test]
    fn a_removed_call_makes_no_round_trip_and_a_batched_one_makes_one() {
        let (t, m) = drawn(&[("root", "", 0, 1000)], &lap("root", 50, 20, 10, 5));
        assert_eq!(saving(&t, &Edit::zero(&m).and(Edit::add_rtt(&m, 3))), 200);
        assert_eq!(saving(&t, &Edit::batch(&m, 10, true).and(Edit::add_rtt(&m, 3))), 187);
    }

    #[test]
    fn times_follow_the_replay() {
        let fixed = [("root", "", 0, 318), ("c client", "root", 100, 133), ("s server", "c client", 110, 118), ("next", "root", 248, 50)];
        let (t, m) = drawn(&fixed, &lap("s server", 120, 10, 8, 2));
        let clipped = Clipped::of(&t.set, TraceRow(0));
        let at = |r: &Replayed, name: &str| {
            let i = clipped.position(t.span(name));
            (r.start[i], r.duration[i])
        };
        // Without an edit everything lies where it lay, even if every parent is replayed.
        let same = replay_times(&t.set, &clipped, &identity(&t));
        for span in (0..t.set.spans.len()).map(SpanRow::from_index) {
            let i = clipped.position(span);
            assert_eq!((same.start[i], same.duration[i]), (clipped.start(span), clipped.duration(span)));
        }
        let batched = replay_times(&t.set, &clipped, &Edit::batch(&m, 8, true));
        assert_eq!(at(&batched, "root"), (0, 246));
        assert_eq!(at(&batched, "c client"), (100, 61));
        assert_eq!(at(&batched, "s server"), (110, 46));
        assert_eq!(at(&batched, "next"), (176, 50));
        assert_eq!(at(&batched, "l0"), (120, 8));
        assert_eq!(at(&batched, "l1"), (130, 0));
        // Below a span of given length proportions are kept.
        let halved = replay_times(&t.set, &clipped, &Edit::scale(&[t.span("s server")], 0.5));
        assert_eq!((at(&halved, "s server"), at(&halved, "l2")), ((110, 59), (125, 4)));
        assert_eq!(at(&halved, "next"), (189, 50));
    }

    #[test]
    fn overlaps_and_simultaneous_spans_keep_the_identity() {
        let spans = [
            ("root", "", 0, 1000),
            ("a", "root", 10, 200),
            ("b", "root", 209, 100),
            ("c", "root", 308, 300),
            ("z0", "root", 308, 0),
            ("z1", "root", 308, 0),
            ("z2", "root", 700, 0),
        ];
        let t = draw(&spans);
        // Without `a` the two that follow it move up by its 200: both overlaps are tolerated or end before they begin.
        assert_eq!(saving(&t, &Edit::zero(&[t.span("z2")])), 0);
        assert_eq!(saving(&t, &Edit::default()), 0);
    }
}
