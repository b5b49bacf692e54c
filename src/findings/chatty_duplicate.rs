//! The same call with the same values again within one execution: the first answer would do.

use super::call_facts::Ending;
use super::calls::Call;
use super::chatty::{Group, NO_CALLS, Patterns, Words, finding, groups, sorted};
use super::finding::{Confidence, Rule, Threshold};
use super::loop_kind;
use super::writes::{Writes, between};
use super::{Context, Detector, Outcome};
use crate::analysis::replay::Edit;
use crate::base::ids::TraceRow;
use crate::model::trace::TraceSet;
use std::collections::BTreeMap;

/// Documentation of the rule.
pub const RULE: Rule = Rule {
    id: "chatty-duplicate",
    name: "Duplicate calls",
    family: "chatty calls",
    summary: "One execution reads the same thing with the same values more than once.",
    remedies: &["Keep the first answer for the rest of the request; share a call that is under way (single flight)."],
    thresholds: &[
        Threshold { name: "min_calls", default: 2.0, doc: "Equal calls of one execution; perf-sentinel reports from 2." },
        Threshold { name: "min_ms", default: 10.0, doc: "Milliseconds that the repetitions take together." },
        Threshold {
            name: "many_calls",
            default: 5.0,
            doc: "So many equal calls are reported whatever they take; perf-sentinel warns from 5.",
        },
    ],
    doc: include_str!("../../docs/rules/chatty-duplicate.md"),
};

/// The rule.
pub struct Duplicate;

/// Repetitions take no time, or wait for the first answer if that was still under way; the gaps between the calls stay.
/// At best the first answer was there at once.
fn plan(set: &TraceSet, g: &Group) -> (Edit, Edit) {
    let spans = g.spans();
    let first_end = set.spans.end_ns(spans[0]);
    let waiting = spans[1..].iter().fold(Edit::default(), |edit, span| {
        let wait = (first_end - set.spans.start_ns[span.index()]).clamp(0, set.spans.duration_ns[span.index()]);
        edit.and(Edit::batch(&[*span], wait, true))
    });
    (waiting, Edit::zero(&spans[1..]))
}

/// Longest time after which an answer still counts as the same, nanoseconds.
const FRESH_NS: i64 = 60_000_000_000;

/// Runs of equal reads without a write between them to what they read.
fn needless(set: &TraceSet, written: &[&[i64]], equal: &[Call]) -> Vec<Vec<Call>> {
    let start = |c: &Call| set.spans.start_ns[c.span.index()];
    let mut out: Vec<Vec<Call>> = Vec::new();
    for call in equal {
        match out.last_mut().and_then(|run| run.last().copied().map(|last| (run, last))) {
            Some((run, last)) if start(call) - start(&last) <= FRESH_NS && !between(written, start(&last), start(call)) => run.push(*call),
            _ => out.push(vec![*call]),
        }
    }
    out
}

impl Detector for Duplicate {
    fn rule(&self) -> &'static Rule {
        &RULE
    }
    fn detect(&self, cx: &Context<'_>) -> Outcome {
        if cx.session.traces.spans.is_empty() {
            return Outcome::NotChecked("no trace is open".to_string());
        }
        let set = &cx.session.traces;
        let (mut visible, mut patterns) = (0, Patterns::default());
        let mut written: Option<(TraceRow, Writes<'_>)> = None;
        let least = cx.threshold(&RULE, "min_calls").max(2.0) as usize;
        let (traces, calls) = groups(cx, least, &mut |g| {
            if g.calls[0].values.is_none() || !g.calls[0].read_only {
                return;
            }
            visible += g.calls.len();
            let mut by_value: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
            for (i, call) in g.calls.iter().enumerate() {
                // What failed had to be asked again; what a cache answered costs nothing.
                let answered = !call.cached && call.ending != Ending::Transient;
                if let Some(values) = call.values.filter(|_| answered) {
                    by_value.entry(values).or_default().push(i);
                }
            }
            if by_value.values().all(|equal| equal.len() < least) {
                return;
            }
            if written.as_ref().is_none_or(|(trace, _)| *trace != g.trace) {
                written = Some((g.trace, Writes::of(set, cx.calls(), g.trace)));
            }
            let Some((_, writes)) = &written else { return };
            for equal in by_value.into_values().filter(|e| e.len() >= least) {
                let equal: Vec<Call> = equal.iter().map(|i| g.calls[*i]).collect();
                if loop_kind::polls(set, &equal) {
                    continue;
                }
                for part in needless(set, &writes.to(cx.calls(), &equal[0]), &equal).into_iter().filter(|p| p.len() >= least) {
                    let part = Group::new(g.trace, g.scope, part);
                    let repeated: i64 = part.calls[1..].iter().map(|c| set.spans.duration_ns[c.span.index()]).sum();
                    if repeated as f64 / 1e6 >= cx.threshold(&RULE, "min_ms")
                        || part.calls.len() as f64 >= cx.threshold(&RULE, "many_calls")
                    {
                        patterns.add(cx, part);
                    }
                }
            }
        });
        if calls == 0 {
            return Outcome::NotChecked(NO_CALLS.to_string());
        }
        let findings = patterns.places().map(|(place, p)| {
            let at_once = p.groups[0].concurrency(set) >= 1.5;
            let mut remedies = vec![
                "Keep the answer for the rest of the request (a request-scoped memo), or cache it with a short life.".to_string(),
                "Where the calls overlap, let the later ones share the first (single flight).".to_string(),
            ];
            if at_once {
                remedies.swap(0, 1);
            }
            let words = Words {
                title: "{n} equal calls of {op} in {endpoint}".to_string(),
                model: "Replay of the requests in which every repetition takes no time or waits for the first; at worst the gaps between the calls stay.",
                confidence: Confidence::Likely,
                caveats: vec!["A write that the trace does not show would make the repetition necessary.".to_string()],
                remedies,
                note: if at_once { "They are under way at the same time." } else { "Nothing that the trace shows changes it in between." }.to_string(),
                ..Words::default()
            };
            finding(cx, &RULE, traces, place, &p, &plan, words)
        });
        let over = format!("{visible} read calls with recorded values of {calls} calls in {}", super::counted(traces, "trace"));
        Outcome::Checked { findings: sorted(findings.collect()), over }
    }
}
