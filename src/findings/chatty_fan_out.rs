//! Many equal calls at the same time: load on the callee more than latency of the caller, and often one batch.

use super::batch;
use super::chatty::{NO_CALLS, Patterns, Words, finding, groups, sorted};
use super::chatty_n_plus_one::{matters, plan};
use super::finding::{Confidence, Rule, Threshold};
use super::{Context, Detector, Outcome};

/// Documentation of the rule.
pub const RULE: Rule = Rule {
    id: "chatty-fan-out",
    name: "Repeated concurrent calls",
    family: "chatty calls",
    summary: "One execution makes the same call many times at once.",
    remedies: &["Batch the calls where the callee allows it; bound how many are under way."],
    thresholds: &[
        Threshold {
            name: "min_calls",
            default: 8.0,
            doc: "Calls of one execution. Above Sentry's 5 for serial calls, because concurrent ones cost less latency.",
        },
        Threshold { name: "min_ms", default: 50.0, doc: "Milliseconds of wall time that the calls take together (Sentry's N+1 value)." },
        Threshold {
            name: "min_share",
            default: 0.1,
            doc: "Share of the execution that they take; reported when this or min_ms is reached.",
        },
        Threshold {
            name: "many_calls",
            default: 20.0,
            doc: "So many calls are reported whatever they take; perf-sentinel's fan-out value.",
        },
        Threshold {
            name: "min_concurrency",
            default: 1.5,
            doc: "Calls under way at a time, on average, from which they count as concurrent.",
        },
    ],
    doc: include_str!("../../docs/rules/chatty-fan-out.md"),
};

/// The rule.
pub struct FanOut;

impl Detector for FanOut {
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
            if g.concurrency(set) >= cx.threshold(&RULE, "min_concurrency") && matters(cx, &RULE, &g) && g.distinct() != Some(1) {
                patterns.add(cx, g);
            }
        });
        if calls == 0 {
            return Outcome::NotChecked(NO_CALLS.to_string());
        }
        let findings = patterns.places().map(|(place, p)| {
            let first = &p.groups[0];
            let mut caveats = vec!["Calls to different shards or hosts cannot become one call; a fan-out may be the work itself.".to_string()];
            if first.waves.len() > 1 {
                caveats.push(format!("Other calls lie between {} waves; the lower bound batches each wave on its own.", first.waves.len()));
            }
            let words = Words {
                title: "{n} concurrent calls of {op} in {endpoint}".to_string(),
                model: "Replay of the requests with one batched call per wave, or one for all; what the callee is spared in load is not in it.",
                confidence: if first.distinct().is_some() { Confidence::Likely } else { Confidence::Possible },
                caveats,
                remedies: batch::remedies(cx.session, &first.calls[0]),
                ..Words::default()
            };
            finding(cx, &RULE, traces, place, &p, &plan, words)
        });
        Outcome::Checked { findings: sorted(findings.collect()), over: format!("{calls} calls in {}", super::counted(traces, "trace")) }
    }
}
