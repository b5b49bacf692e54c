//! Database calls that the request waits for, and that take long.

use super::calls::Category;
use super::finding::{Rule, Threshold};
use super::traced::NO_CALLS;
use super::{Context, Detector, Outcome, slow};

/// Documentation of the rule.
pub const RULE: Rule = Rule {
    id: "slow-query",
    name: "Slow database calls",
    family: "slow calls",
    summary: "A statement takes long where the request waits for it.",
    remedies: &["Read the plan, add the index, ask for fewer rows; for outliers look for locks."],
    thresholds: &[
        Threshold {
            name: "min_ms",
            default: 200.0,
            doc: "Milliseconds on the critical path that are slow anywhere (SkyWalking's slow SQL value; Sentry takes 500).",
        },
        Threshold { name: "min_share", default: 0.25, doc: "Share of the request that is slow, from floor_ms on." },
        Threshold { name: "floor_ms", default: 100.0, doc: "Milliseconds below which no share is slow (SkyWalking's value for MongoDB)." },
        Threshold {
            name: "max_repeats",
            default: 5.0,
            doc: "Calls of a kind in one execution from which their share is the chatty rules' business.",
        },
        Threshold { name: "outlier_factor", default: 4.0, doc: "Times the median from which a call is an outlier of its kind." },
    ],
    doc: include_str!("../../docs/rules/slow-query.md"),
};

/// The rule.
pub struct SlowQuery;

impl Detector for SlowQuery {
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
        let (findings, n) = slow::findings(cx, &RULE, |c| matches!(c, Category::Db | Category::Cache));
        if n == 0 {
            return Outcome::NotChecked("no span is a database call".to_string());
        }
        Outcome::Checked { findings, over: format!("{n} database calls in {}", super::counted(cx.session.traces.traces.len(), "trace")) }
    }
}
