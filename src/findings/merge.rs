//! One defect, one finding: what several rules say of the same calls or samples is told once, the more specific rule leading,
//! and what only follows from another finding is listed under its cause (TRACES 3.3.1 "nested", PROFILES 4.4).

use super::finding::{Cover, Finding, Related};
use crate::base::ids::SpanRow;
use crate::model::Session;
use std::collections::BTreeMap;

/// Share of the smaller finding's rows that two findings must have in common, by Jaccard's index, to be one.
const SAME: f64 = 0.8;
/// Share of a finding's spans that must lie below another's to be its consequence.
const BELOW: f64 = 0.8;

/// Rules on what a call takes itself, how it fails or how long it waits. Neither do such findings follow from calls above
/// them, nor does what the callee calls follow from them.
const OWN: [&str; 10] = [
    "connection-churn",
    "deep-chain",
    "error-origin",
    "large-payload",
    "many-writes",
    "pool-wait",
    "queue-lag",
    "slow-call",
    "slow-query",
    "timeouts",
];

/// Merges findings of one ranking. `specific` gives the rank of a rule: the larger leads.
/// Work is linear in the rows that findings cover, times how many findings share a row.
pub fn merge(session: &Session, findings: Vec<Finding>, specific: &dyn Fn(&str) -> u32) -> Vec<Finding> {
    consequences(session, same(findings, specific))
}

/// A row that findings may share: a span, or a stack of a profile.
type Row = (u32, u32);

fn rows(cover: &Cover) -> Box<dyn Iterator<Item = Row> + '_> {
    match cover {
        Cover::Nothing => Box::new(std::iter::empty()),
        Cover::Spans(spans) => Box::new(spans.iter().map(|s| (u32::MAX, s.0))),
        Cover::Stacks(profile, stacks) => Box::new(stacks.iter().map(move |s| (profile.0, s.0))),
    }
}

fn same(findings: Vec<Finding>, specific: &dyn Fn(&str) -> u32) -> Vec<Finding> {
    let mut by_row: BTreeMap<Row, Vec<usize>> = BTreeMap::new();
    for (i, f) in findings.iter().enumerate() {
        for row in rows(&f.cover) {
            by_row.entry(row).or_default().push(i);
        }
    }
    let mut common: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    for list in by_row.values() {
        for (k, a) in list.iter().enumerate() {
            for b in &list[k + 1..] {
                *common.entry((*a, *b)).or_default() += 1;
            }
        }
    }
    // The leader of each finding; chains end in the leader of leaders.
    let mut leader: Vec<usize> = (0..findings.len()).collect();
    let find = |leader: &[usize], mut at: usize| {
        while leader[at] != at {
            at = leader[at];
        }
        at
    };
    for ((a, b), n) in common {
        let size = |i: usize| rows(&findings[i].cover).count();
        let jaccard = n as f64 / (size(a) + size(b) - n) as f64;
        if jaccard < SAME || findings[a].rule == findings[b].rule {
            continue;
        }
        let (a, b) = (find(&leader, a), find(&leader, b));
        if a == b {
            continue;
        }
        let key = |i: usize| (specific(findings[i].rule), std::cmp::Reverse(i));
        let (first, second) = if key(a) >= key(b) { (a, b) } else { (b, a) };
        leader[second] = first;
    }
    let roots: Vec<usize> = (0..findings.len()).map(|i| find(&leader, i)).collect();
    let related: Vec<Related> = findings.iter().map(Related::of).collect();
    let mut out: Vec<Option<Finding>> = findings.into_iter().map(Some).collect();
    for (i, root) in roots.iter().enumerate().filter(|(i, root)| i != *root) {
        let absorbed = out[i].take();
        let (Some(absorbed), Some(lead)) = (absorbed, out[*root].as_mut()) else { continue };
        lead.also.push(related[i].clone());
        lead.also.extend(absorbed.also);
        // The leader is ranked as its weightiest statement.
        if absorbed.score > lead.score {
            lead.score = absorbed.score;
            lead.severity = lead.severity.max(absorbed.severity);
        }
    }
    out.into_iter().flatten().collect()
}

/// Findings whose spans lie below the spans of another stand under that one.
fn consequences(session: &Session, findings: Vec<Finding>) -> Vec<Finding> {
    let spans = &session.traces.spans;
    let mut owner: BTreeMap<SpanRow, usize> = BTreeMap::new();
    for (i, f) in findings.iter().enumerate().filter(|(_, f)| !OWN.contains(&f.rule)) {
        if let Cover::Spans(list) = &f.cover {
            for span in list {
                owner.entry(*span).or_insert(i);
            }
        }
    }
    if owner.is_empty() {
        return findings;
    }
    // For each span that was looked at: the nearest finding that covers it or a span above it, and the nearest other one.
    // Remembered, so that shared ancestors are walked once.
    type Nearest = (Option<usize>, Option<usize>);
    let mut known: BTreeMap<SpanRow, Nearest> = BTreeMap::new();
    let mut above = |span: SpanRow, own: usize| -> Option<usize> {
        let mut walked = Vec::new();
        let mut at = spans.parent[span.index()].get();
        let mut state: Nearest = (None, None);
        while let Some(parent) = at {
            if let Some(found) = known.get(&parent) {
                state = *found;
                break;
            }
            walked.push(parent);
            at = spans.parent[parent.index()].get();
        }
        for span in walked.into_iter().rev() {
            if let Some(i) = owner.get(&span).copied()
                && state.0 != Some(i)
            {
                state = (Some(i), state.0);
            }
            known.insert(span, state);
        }
        if state.0 == Some(own) { state.1 } else { state.0 }
    };
    let mut cause: Vec<Option<usize>> = vec![None; findings.len()];
    for (i, f) in findings.iter().enumerate().filter(|(_, f)| !OWN.contains(&f.rule)) {
        let Cover::Spans(list) = &f.cover else { continue };
        let mut votes: BTreeMap<usize, usize> = BTreeMap::new();
        for span in list {
            if let Some(other) = above(*span, i) {
                *votes.entry(other).or_default() += 1;
            }
        }
        cause[i] = votes.into_iter().find(|(_, n)| *n as f64 >= BELOW * list.len() as f64).map(|(other, _)| other);
    }
    let top = |mut at: usize| {
        // Causes form a forest, because spans do; the bound guards against covers that contradict each other.
        for _ in 0..findings.len() {
            match cause[at] {
                Some(next) if next != at => at = next,
                _ => return at,
            }
        }
        at
    };
    let tops: Vec<usize> = (0..findings.len()).map(top).collect();
    let related: Vec<Related> = findings.iter().map(Related::of).collect();
    let mut out: Vec<Option<Finding>> = findings.into_iter().map(Some).collect();
    for (i, root) in tops.iter().enumerate().filter(|(i, root)| i != *root && tops[**root] == **root) {
        let Some(moved) = out[i].take() else { continue };
        if let Some(lead) = out[*root].as_mut() {
            lead.consequences.push(related[i].clone());
            lead.consequences.extend(moved.consequences);
            lead.consequences.extend(moved.also);
        }
    }
    out.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::drawn::draw;

    fn finding(rule: &'static str, score: u32, spans: Vec<SpanRow>) -> Finding {
        Finding { rule, score, title: rule.to_string(), cover: Cover::Spans(spans), ..Finding::default() }
    }

    fn session() -> (Session, Vec<SpanRow>) {
        let drawn = draw(&[
            ("root", "", 0, 100),
            ("a0", "root", 0, 20),
            ("a1", "root", 20, 20),
            ("b0", "a0", 1, 5),
            ("b1", "a1", 21, 5),
            ("c", "root", 50, 20),
        ]);
        let spans = ["a0", "a1", "b0", "b1", "c"].map(|n| drawn.span(n)).to_vec();
        (Session { traces: drawn.set, strings: drawn.strings, ..Session::default() }, spans)
    }

    fn specific(rule: &str) -> u32 {
        u32::from(rule == "special")
    }

    #[test]
    fn the_specific_rule_leads() {
        let (session, s) = session();
        let both = vec![finding("general", 90, vec![s[0], s[1]]), finding("special", 40, vec![s[0], s[1]])];
        let out = merge(&session, both, &specific);
        assert_eq!(out.len(), 1);
        assert_eq!((out[0].rule, out[0].score, out[0].also.len()), ("special", 90, 1));
    }

    #[test]
    fn what_lies_below_is_a_consequence() {
        let (session, s) = session();
        let list = vec![finding("outer", 50, vec![s[0], s[1]]), finding("inner", 60, vec![s[2], s[3]]), finding("other", 20, vec![s[4]])];
        let out = merge(&session, list, &specific);
        assert_eq!(out.iter().map(|f| f.rule).collect::<Vec<_>>(), ["outer", "other"]);
        assert_eq!(out[0].consequences[0].rule, "inner");
    }

    #[test]
    fn errors_and_slow_calls_do_not_follow_from_calls_above_them() {
        let (session, s) = session();
        let list = vec![finding("outer", 50, vec![s[0], s[1]]), finding("error-origin", 60, vec![s[2], s[3]])];
        assert_eq!(merge(&session, list, &specific).len(), 2);
        let list = vec![finding("slow-call", 50, vec![s[0], s[1]]), finding("inner", 60, vec![s[2], s[3]])];
        assert_eq!(merge(&session, list, &specific).len(), 2);
    }

    #[test]
    fn different_calls_stay_apart() {
        let (session, s) = session();
        let list = vec![finding("general", 50, vec![s[0], s[1]]), finding("special", 60, vec![s[1], s[4]])];
        assert_eq!(merge(&session, list, &specific).len(), 2);
    }
}
