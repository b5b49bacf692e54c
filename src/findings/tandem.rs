//! Patterns of several different calls that repeat as a whole: query, look-up, query, look-up, … (Sentry's MN+1).

use super::calls::{Call, Category};
use super::chatty::Group;
use super::{Context, batch};
use crate::analysis::replay::Edit;
use crate::base::ids::{SpanRow, StringId, TraceRow};
use crate::base::work::step;
use crate::model::trace::TraceSet;
use std::collections::BTreeMap;

/// Longest pattern, in calls (Sentry, MN+1 DB: 8).
const LONGEST: usize = 8;

/// Where a sequence repeats a pattern of 2 to 8 entries, not all equal, at least `times` times: begin, length of the pattern,
/// length of all. Of several patterns at one place the one that covers most, then the shortest.
pub fn repeats(sequence: &[StringId], times: usize) -> Vec<(usize, usize, usize)> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < sequence.len() {
        let mut best: Option<(usize, usize)> = None;
        for period in 2..=LONGEST.min((sequence.len() - at) / times.max(2)) {
            let pattern = &sequence[at..at + period];
            if pattern.iter().all(|s| *s == pattern[0]) {
                continue;
            }
            let same = (at + period..sequence.len()).take_while(|j| sequence[*j] == sequence[j - period]).count();
            step(same);
            let length = (same / period + 1) * period;
            if length / period >= times && best.is_none_or(|(_, most)| length > most) {
                best = Some((period, length));
            }
        }
        match best {
            Some((period, length)) => {
                out.push((at, period, length));
                at += length;
            }
            None => at += 1,
        }
    }
    out
}

/// The repeated patterns of every execution, with the length of the pattern.
pub fn tandems(cx: &Context<'_>, times: usize, each: &mut dyn FnMut(Group, usize)) {
    let set = &cx.session.traces;
    let mut by_scope: Vec<(SpanRow, usize)> = Vec::new();
    for trace in (0..set.traces.len()).map(TraceRow::from_index) {
        let list = cx.calls().of(trace);
        if list.len() < 2 * times {
            continue;
        }
        by_scope.clear();
        by_scope.extend(list.iter().enumerate().map(|(i, call)| (call.scope, i)));
        by_scope.sort_unstable();
        for own in by_scope.chunk_by(|a, b| a.0 == b.0).filter(|own| own.len() >= 2 * times) {
            let sequence: Vec<StringId> = own.iter().map(|(_, i)| list[*i].signature).collect();
            for (begin, period, length) in repeats(&sequence, times) {
                let calls: Vec<Call> = own[begin..begin + length].iter().map(|(_, i)| list[*i]).collect();
                let speaks = |c: &Call| !matches!(c.category, Category::Cache | Category::Messaging);
                if calls.iter().any(speaks) {
                    each(Group::new(trace, own[0].0, calls), period);
                }
            }
        }
    }
}

/// The calls of each kind of a pattern.
pub fn kinds(g: &Group) -> Vec<Group> {
    let mut by_kind: BTreeMap<StringId, Vec<Call>> = BTreeMap::new();
    for call in &g.calls {
        by_kind.entry(call.signature).or_default().push(*call);
    }
    by_kind.into_values().map(|calls| Group::new(g.trace, g.scope, calls)).collect()
}

/// One batch for each kind of call.
pub fn plan(set: &TraceSet, g: &Group) -> (Edit, Edit) {
    kinds(g).iter().fold((Edit::default(), Edit::default()), |(low, high), kind| {
        let (fast, slow) = batch::bounds(set, &kind.calls);
        let spans = kind.spans();
        (low.and(Edit::batch(&spans, slow, true)), high.and(Edit::batch(&spans, fast, false)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(usize, usize, usize)> {
        let sequence: Vec<StringId> = text.bytes().map(|b| StringId::from_index(usize::from(b))).collect();
        repeats(&sequence, 3)
    }

    #[test]
    fn patterns_of_several_calls_are_found() {
        assert_eq!(found("xababab"), [(1, 2, 6)]);
        assert_eq!(found("abcabcabcabcz"), [(0, 3, 12)]);
        assert_eq!(found("aabaabaab"), [(0, 3, 9)]);
        assert_eq!(found("abababxcdcdcd"), [(0, 2, 6), (7, 2, 6)]);
    }

    #[test]
    fn loops_of_one_call_and_two_rounds_are_none() {
        assert!(found("aaaaaaaaaaaa").is_empty());
        assert!(found("abab").is_empty());
        assert!(found("abcdefghijklmnop").is_empty());
        assert!(found("").is_empty());
    }

    #[test]
    fn long_sequences_cost_in_proportion() {
        let cost = |n: usize| {
            let sequence: Vec<StringId> = (0..n).map(|i| StringId::from_index(i % 9 % 4)).collect();
            let before = crate::base::work::steps();
            repeats(&sequence, 3);
            crate::base::work::steps() - before
        };
        assert!(cost(8000) <= cost(4000) * 3, "{} {}", cost(4000), cost(8000));
    }
}
