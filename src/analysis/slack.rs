//! Slack: how much longer a span could take before its root takes longer.
//!
//! In the replay's model (see [`super::replay`]) a root's end is the longest chain of spans and gaps, so the slack of a span is
//! what its longest chain lacks. CRISP (`slack_drag.py`) gives the same figure per span of a critical path. All spans of a
//! tree take one pass and a sort of the children of each span.

use super::clipped::{Clipped, Part};
use super::replay::overlap_is_tolerated;
use crate::base::ids::SpanRow;
use crate::base::work::step;
use crate::model::trace::TraceSet;

/// Slack of each span of a trace under `root`, nanoseconds; columns run parallel to the trace. `None` for spans that the root
/// does not wait for, and for those of other trees.
pub fn slack(set: &TraceSet, clipped: &Clipped, root: SpanRow) -> Vec<Option<i64>> {
    // The longest chain from a span's end to the root's end.
    let mut after: Vec<Option<i64>> = vec![None; clipped.len()];
    after[clipped.position(root)] = Some(0);
    for &parent in &clipped.order {
        if let Some(beyond) = after[clipped.position(parent)] {
            children(set, clipped, parent, beyond, &mut after);
        }
    }
    let (begin, whole) = (clipped.start(root), clipped.duration(root));
    let of = |span: &SpanRow| after[clipped.position(*span)].map(|beyond| whole - (clipped.end(*span) - begin) - beyond);
    let mut out = vec![None; clipped.len()];
    for span in &clipped.order {
        out[clipped.position(*span)] = of(span);
    }
    out
}

/// Fills the chains of the children of a span whose own chain is known.
fn children(set: &TraceSet, clipped: &Clipped, parent: SpanRow, beyond: i64, after: &mut [Option<i64>]) {
    let origin = clipped.start(parent);
    let mut list: Vec<(i64, i64, SpanRow)> = set
        .children(parent)
        .iter()
        .filter(|c| clipped.part(**c) == Part::Waited)
        .map(|&c| (clipped.start(c) - origin, clipped.end(c) - origin, c))
        .collect();
    if list.is_empty() {
        return;
    }
    step(list.len());
    list.sort_unstable();
    let n = list.len();
    let mut by_end: Vec<usize> = (0..n).collect();
    by_end.sort_by_key(|&i| (list[i].1, i));
    let mut rank = vec![0; n];
    for (r, i) in by_end.iter().enumerate() {
        rank[*i] = r;
    }
    let mut moments: Vec<i64> = list.iter().flat_map(|c| [c.0, c.1]).collect();
    moments.sort_unstable();
    // Of each child: how many in order of end it waits for, the gap after the last of them, and the one it may overlap.
    let (mut next, mut last) = (0, None);
    let mut waits: Vec<(usize, i64, Option<usize>)> = Vec::with_capacity(n);
    for i in 0..n {
        let start = list[i].0;
        while let Some(&a) = by_end.get(next).filter(|&&a| a < i && list[a].1 <= start) {
            last = Some(a);
            next += 1;
        }
        let own = (list[i].0, list[i].1);
        let overlaps = by_end
            .get(next)
            .copied()
            .filter(|&a| a < i && overlap_is_tolerated((list[a].0, list[a].1), own, clipped.duration(parent), &moments));
        let gap = overlaps.or(last).map_or(0, |a| start - list[a].1);
        waits.push((next, gap, overlaps));
    }
    let latest = list.iter().map(|c| c.1).max().unwrap_or(0);
    let tail = clipped.duration(parent) - latest + beyond;
    let mut chain = vec![i64::MIN; n];
    // `best[i]`: the longest chain from the moment that the children from `i` on wait for, their gap included.
    let mut best = vec![i64::MIN; n + 1];
    let mut through = vec![i64::MIN; n];
    for i in (0..n).rev() {
        let first = waits.partition_point(|(done, _, _)| *done <= rank[i]);
        let own = tail.max(best[first.max(i + 1)]).max(through[i]);
        chain[i] = own;
        let (_, gap, overlaps) = waits[i];
        let reach = gap + (list[i].1 - list[i].0) + own;
        best[i] = best[i + 1].max(reach);
        if let Some(a) = overlaps {
            through[a] = through[a].max(reach);
        }
    }
    for (i, child) in list.iter().enumerate() {
        after[clipped.position(child.2)] = Some(chain[i]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::drawn::draw;
    use crate::analysis::replay::{Edit, replay};
    use crate::base::ids::TraceRow;

    /// The definition: a span is made longer by more than any slack, and what the root does not take longer was slack.
    fn by_replay(set: &TraceSet, clipped: &Clipped, root: SpanRow, span: SpanRow) -> i64 {
        let whole = clipped.duration(root);
        let more = whole + 1;
        let longer = replay(set, clipped, root, &Edit::set(span, clipped.duration(span) + more));
        more - (longer - whole)
    }

    fn check(spans: &[(&str, &str, i64, i64)]) -> Vec<Option<i64>> {
        let t = draw(spans);
        let clipped = Clipped::of(&t.set, TraceRow(0));
        let root = t.set.traces.root[0];
        let all = slack(&t.set, &clipped, root);
        for &span in &clipped.order {
            if let Some(slack) = all[clipped.position(span)] {
                assert_eq!(slack, by_replay(&t.set, &clipped, root, span), "{}", t.set.name(&t.strings, span));
            }
        }
        spans.iter().map(|s| all[clipped.position(t.span(s.0))]).collect()
    }

    #[test]
    fn what_runs_beside_the_path_has_slack() {
        let found = check(&[("root", "", 0, 100), ("a", "root", 10, 30), ("b", "root", 10, 20), ("c", "root", 50, 40), ("d", "b", 12, 3)]);
        assert_eq!(found, [Some(0), Some(0), Some(10), Some(0), Some(10)]);
        let found = check(&[("root", "", 0, 100), ("a", "root", 10, 30), ("x follows", "root", 10, 20)]);
        assert_eq!(found, [Some(0), Some(0), None]);
    }

    #[test]
    fn slack_is_what_the_replay_says_on_drawn_trees() {
        // Trees from a fixed sequence of numbers: overlaps, ties, spans of length 0, nesting.
        let mut state = 7_u64;
        let mut roll = |n: u64| {
            state = crate::base::hash::hash_u64(state, 1);
            (state >> 20) % n
        };
        for _ in 0..200 {
            let mut rows: Vec<(String, String, i64, i64)> = vec![("s0".into(), String::new(), 0, 2000)];
            for i in 1..12 {
                let parent = roll(i) as usize;
                let (name, _, from, length) = rows[parent].clone();
                let start = from + roll(length as u64 + 1) as i64;
                let room = (from + length - start) as u64;
                let dur = if roll(8) == 0 { 0 } else { roll(room + 1) as i64 };
                rows.push((format!("s{i}"), name, start, dur));
            }
            let spans: Vec<(&str, &str, i64, i64)> = rows.iter().map(|(n, p, s, d)| (n.as_str(), p.as_str(), *s, *d)).collect();
            check(&spans);
        }
    }
}
