//! The same call by several executions of one request: each hop repeats what another already asked.

use super::calls::Call;
use super::chatty::{Group, NO_CALLS, Patterns, Words, finding, sorted};
use super::finding::{Confidence, Rule, Threshold};
use super::{Context, Detector, Outcome};
use crate::analysis::replay::Edit;
use crate::base::ids::{SpanRow, StringId, TraceRow};
use crate::model::trace::TraceSet;
use std::collections::{BTreeMap, BTreeSet};

/// Documentation of the rule.
pub const RULE: Rule = Rule {
    id: "chatty-transitive",
    name: "Calls repeated across hops",
    family: "chatty calls",
    summary: "Several executions of one request make the same call: a token check, a configuration, a flag.",
    remedies: &["Ask once at the edge and pass the answer on; cache it per service for a short time."],
    thresholds: &[
        Threshold { name: "min_calls", default: 10.0, doc: "Equal calls of one trace." },
        Threshold { name: "min_executions", default: 3.0, doc: "Executions (entry spans) that make them." },
        Threshold { name: "min_share", default: 0.01, doc: "Share of the trace that they take together." },
    ],
    doc: include_str!("../../docs/rules/chatty-transitive.md"),
};

/// The rule.
pub struct Transitive;

/// At worst each execution still asks once; at best the first of all serves everybody, who wait for it if need be.
fn plan(set: &TraceSet, g: &Group) -> (Edit, Edit) {
    let mut seen: BTreeSet<SpanRow> = BTreeSet::new();
    let again: Vec<SpanRow> = g.calls.iter().filter(|c| !seen.insert(c.scope)).map(|c| c.span).collect();
    let first_end = set.spans.end_ns(g.calls[0].span);
    let served = g.spans()[1..].iter().fold(Edit::default(), |edit, span| {
        let wait = (first_end - set.spans.start_ns[span.index()]).clamp(0, set.spans.duration_ns[span.index()]);
        edit.and(Edit::batch(&[*span], wait, true))
    });
    (Edit::zero(&again), served)
}

impl Detector for Transitive {
    fn rule(&self) -> &'static Rule {
        &RULE
    }
    fn detect(&self, cx: &Context<'_>) -> Outcome {
        let set = &cx.session.traces;
        if set.spans.is_empty() {
            return Outcome::NotChecked("no trace is open".to_string());
        }
        let least = cx.threshold(&RULE, "min_calls").max(2.0) as usize;
        let mut patterns = Patterns::default();
        let total = cx.calls().len();
        for trace in (0..set.traces.len()).map(TraceRow::from_index) {
            let list = cx.calls().of(trace);
            if list.len() < least {
                continue;
            }
            let Some(root) = set.traces.root[trace.index()].get() else { continue };
            let mut by_target: BTreeMap<StringId, Vec<Call>> = BTreeMap::new();
            for call in list.iter().filter(|c| c.read_only && !cx.attempts().repeated.contains(&c.span)) {
                by_target.entry(call.target).or_default().push(*call);
            }
            for own in by_target.into_values().filter(|own| own.len() >= least) {
                let executions: BTreeSet<SpanRow> = own.iter().map(|c| c.scope).collect();
                let group = Group { trace, scope: root, calls: own, waves: vec![0] };
                let share = group.sum_and_union(set).1 as f64 / set.spans.duration_ns[root.index()].max(1) as f64;
                // Values that differ are different questions; where they are hidden it is likely the same one.
                let same = group.distinct().is_none_or(|d| d * 2 <= group.calls.len());
                if same && executions.len() as f64 >= cx.threshold(&RULE, "min_executions") && share >= cx.threshold(&RULE, "min_share") {
                    patterns.add(cx, group);
                }
            }
        }
        if total == 0 {
            return Outcome::NotChecked(NO_CALLS.to_string());
        }
        let traces = set.traces.len();
        let findings = patterns.places().map(|(place, p)| {
            let hidden = p.groups[0].distinct().is_none();
            let words = Words {
                title: "{n} calls of {op} by several hops of {endpoint}".to_string(),
                model: "Replay of the requests in which each execution asks once (at worst), or the first answer serves all (at best).",
                confidence: if hidden { Confidence::Possible } else { Confidence::Likely },
                caveats: if hidden {
                    vec!["The values of the calls are not recorded, so they may ask for different things.".to_string()]
                } else {
                    Vec::new()
                },
                remedies: RULE.remedies.iter().map(|r| (*r).to_string()).collect(),
                ..Words::default()
            };
            finding(cx, &RULE, traces, place, &p, &plan, words)
        });
        Outcome::Checked { findings: sorted(findings.collect()), over: format!("{total} calls in {}", super::counted(traces, "trace")) }
    }
}
