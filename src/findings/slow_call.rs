//! Calls of other services that the request waits for, and that take long in themselves.

use super::calls::Category;
use super::finding::{Rule, Threshold};
use super::traced::NO_CALLS;
use super::{Context, Detector, Outcome, slow};

/// Documentation of the rule.
pub const RULE: Rule = Rule {
    id: "slow-call",
    name: "Slow calls of services",
    family: "slow calls",
    summary: "A call takes long where the request waits for it: on the way, or in the callee itself rather than in what that calls.",
    remedies: &["Profile the callee, cache its answer, start it earlier; for outliers compare instances and times."],
    thresholds: &[
        Threshold {
            name: "min_ms",
            default: 300.0,
            doc: "Milliseconds on the critical path, on the way and in the callee itself, that are slow anywhere (nest-profiler's value for HTTP).",
        },
        Threshold { name: "min_share", default: 0.25, doc: "Share of the request that is slow, from floor_ms on." },
        Threshold { name: "floor_ms", default: 200.0, doc: "Milliseconds below which no share is slow: a callee may work." },
        Threshold {
            name: "max_repeats",
            default: 5.0,
            doc: "Calls of a kind in one execution from which their share is the chatty rules' business.",
        },
        Threshold { name: "outlier_factor", default: 4.0, doc: "Times the median from which a call is an outlier of its kind." },
    ],
    doc: include_str!("../../docs/rules/slow-call.md"),
};

/// The rule.
pub struct SlowCall;

impl Detector for SlowCall {
    fn rule(&self) -> &'static Rule {
        &RULE
    }
    fn detect(&self, cx: &Context<'_>) -> Outcome {
        if cx.session.traces.spans.is_empty() {
            return Outcome::NotChecked("no trace is open".to_string());
        }
        if cx.calls().is_empty() {
            return Outcome::NotChecked(NO_CALLS.to_string());
        }
        let (findings, n) = slow::findings(cx, &RULE, |c| !matches!(c, Category::Db | Category::Cache));
        if n == 0 {
            return Outcome::NotChecked("no span is a call of a service".to_string());
        }
        Outcome::Checked { findings, over: format!("{n} calls of services in {}", super::counted(cx.session.traces.traces.len(), "trace")) }
    }
}
