//! N+1: one execution makes the same call again and again, one after the other, with other values.

use super::batch;
pub use super::chatty::sorted;
use super::chatty::{Group, NO_CALLS, Patterns, Words, finding, groups};
use super::finding::{Confidence, Rule, Threshold};
use super::{Context, Detector, Outcome};
use crate::analysis::replay::Edit;
use crate::findings::calls::Category;
use crate::model::trace::TraceSet;

/// Documentation of the rule.
pub const RULE: Rule = Rule {
    id: "chatty-n-plus-one",
    name: "N+1 calls",
    family: "chatty calls",
    summary: "One execution makes the same call one after the other, once per item.",
    remedies: &["Ask once for all items: a join, an IN list, a batch endpoint, MGET."],
    thresholds: &[
        Threshold {
            name: "min_calls",
            default: 5.0,
            doc: "Calls of one execution; Sentry's N+1 detectors use 5. Twice as many for caches and messaging.",
        },
        Threshold {
            name: "min_ms",
            default: 50.0,
            doc: "Milliseconds of wall time that the calls take together; Sentry's N+1 DB detector uses 50.",
        },
        Threshold {
            name: "min_share",
            default: 0.1,
            doc: "Share of the execution that they take; reported when this or min_ms is reached.",
        },
        Threshold { name: "many_calls", default: 20.0, doc: "So many calls are reported whatever they take: they grow with the data." },
        Threshold {
            name: "max_concurrency",
            default: 1.5,
            doc: "Calls under way at a time, on average, below which they count as serial.",
        },
    ],
    doc: include_str!("../../docs/rules/chatty-n-plus-one.md"),
};

/// The rule.
pub struct NPlusOne;

/// Whether a group takes enough of its execution to matter.
pub fn matters(cx: &Context<'_>, rule: &Rule, g: &Group) -> bool {
    let set = &cx.session.traces;
    let (_, union) = g.sum_and_union(set);
    let scope = set.spans.duration_ns[g.scope.index()].max(1);
    let factor = if matches!(g.calls[0].category, Category::Cache | Category::Messaging) { 2.0 } else { 1.0 };
    g.count() as f64 >= cx.threshold(rule, "min_calls") * factor
        && (union as f64 / 1e6 >= cx.threshold(rule, "min_ms")
            || union as f64 / scope as f64 >= cx.threshold(rule, "min_share")
            || g.count() as f64 >= cx.threshold(rule, "many_calls"))
}

/// One batch per wave with all gaps kept, and one batch for all without the gaps between the calls.
pub fn plan(set: &TraceSet, g: &Group) -> (Edit, Edit) {
    let spans = g.spans();
    let mut low = Edit::default();
    for (i, &from) in g.waves.iter().enumerate() {
        let to = g.waves.get(i + 1).copied().unwrap_or(spans.len());
        let (_, slow) = batch::bounds(set, &g.calls[from..to]);
        low = low.and(Edit::batch(&spans[from..to], slow, true));
    }
    let (fast, _) = batch::bounds(set, &g.calls);
    (low, Edit::batch(&spans, fast, false))
}

/// How sure it is that the calls differ in their values; `None` where they are equal or nothing speaks for it.
pub fn differ(cx: &Context<'_>, g: &Group) -> Option<Confidence> {
    let set = &cx.session.traces;
    let n = g.count();
    if let Some(distinct) = g.distinct() {
        // Some values may repeat; that is the duplicate rule's business too.
        return match distinct {
            1 => None,
            d if d * 2 >= n => Some(Confidence::Confirmed),
            _ => Some(Confidence::Likely),
        };
    }
    if batch::by_mapper(cx.session, g.calls[0].span) || n >= 15 || spread(set, g) >= 0.5 {
        return Some(Confidence::Likely);
    }
    Some(Confidence::Possible)
}

/// Coefficient of variation of the durations: calls for different things take different times.
fn spread(set: &TraceSet, g: &Group) -> f64 {
    let n = g.calls.len() as f64;
    let durations = || g.calls.iter().map(|c| set.spans.duration_ns[c.span.index()] as f64);
    let mean = durations().sum::<f64>() / n;
    let variance = durations().map(|d| (d - mean) * (d - mean)).sum::<f64>() / (n - 1.0).max(1.0);
    if mean > 0.0 { variance.sqrt() / mean } else { 0.0 }
}

impl Detector for NPlusOne {
    fn rule(&self) -> &'static Rule {
        &RULE
    }
    fn detect(&self, cx: &Context<'_>) -> Outcome {
        if cx.session.traces.spans.is_empty() {
            return Outcome::NotChecked("no trace is open".to_string());
        }
        let set = &cx.session.traces;
        let mut patterns = Patterns::default();
        let least = cx.threshold(&RULE, "min_calls").max(2.0) as usize;
        let (traces, calls) = groups(cx, least, &mut |g| {
            if g.concurrency(set) < cx.threshold(&RULE, "max_concurrency") && matters(cx, &RULE, &g) && differ(cx, &g).is_some() {
                patterns.add(cx, g);
            }
        });
        if calls == 0 {
            return Outcome::NotChecked(NO_CALLS.to_string());
        }
        let findings = patterns.places().map(|(place, p)| {
            let first = &p.groups[0];
            let confidence = p.groups.iter().filter_map(|g| differ(cx, g)).max().unwrap_or(Confidence::Possible);
            let mut caveats = Vec::new();
            if first.distinct().is_none() {
                caveats.push("The values of the calls are not recorded, so they could also be the same call repeated.".to_string());
            }
            if first.calls[0].paging {
                caveats.push("The statement has LIMIT or OFFSET: it may be a loop over pages, for which larger pages are the remedy.".to_string());
            }
            if first.waves.len() > 1 {
                caveats.push(format!("Other calls lie between {} waves; the lower bound batches each wave on its own.", first.waves.len()));
            }
            let words = Words {
                title: "N+1: {n} serial calls of {op} in {endpoint}".to_string(),
                model: "Replay of the requests with one batched call: at worst it takes what the calls have in common once and the rest in sum, at best as long as the slowest of them.",
                confidence,
                caveats,
                remedies: batch::remedies(cx.session, &first.calls[0]),
                ..Words::default()
            };
            finding(cx, &RULE, traces, place, &p, &plan, words)
        });
        Outcome::Checked { findings: sorted(findings.collect()), over: format!("{calls} calls in {traces} traces") }
    }
}
