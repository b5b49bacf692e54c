//! Calls that wait for a pool of workers or connections: a staircase of concurrency; and calls that slow each other down.

use super::chatty::{Group, NO_CALLS, Patterns, Plan, Words, finding, groups, sorted};
use super::finding::{Confidence, Rule, Threshold};
use super::pool_shape::{Plateau, intervals, levels, plateau, rank_deviations, spearman};
use super::{Context, Detector, Outcome};
use crate::analysis::replay::Edit;
use crate::model::trace::TraceSet;

/// Documentation of the rule.
pub const RULE: Rule = Rule {
    id: "pool-staircase",
    name: "Calls that wait for a pool",
    family: "chatty calls",
    summary: "Equal calls run so many at once and no more, each starting when another ends; or they slow each other down.",
    remedies: &["Raise the bound on concurrent calls, or make fewer; do not raise it where calls slow each other down."],
    thresholds: &[
        Threshold { name: "min_plateau", default: 0.6, doc: "Share of the calls' time with the full number under way." },
        Threshold { name: "min_handed_over", default: 0.8, doc: "Share of the calls after the first ones that start when another ends." },
        Threshold { name: "near_ms", default: 1.0, doc: "Milliseconds between an end and a start that belong together." },
        Threshold { name: "min_ms", default: 50.0, doc: "Milliseconds of wall time that the calls take together." },
        Threshold { name: "min_share", default: 0.1, doc: "Share of the execution; reported when this or min_ms is reached." },
        Threshold {
            name: "min_correlation",
            default: 0.6,
            doc: "Spearman's correlation of duration with the calls under way, from which they slow each other down.",
        },
        Threshold {
            name: "min_deviations",
            default: 4.0,
            doc: "Standard deviations of Fisher's z between the correlation and none: of a thousand sets of calls, none by chance.",
        },
    ],
    doc: include_str!("../../docs/rules/pool-staircase.md"),
};

/// The rule.
pub struct PoolStaircase;

fn workers(set: &TraceSet, g: &Group) -> usize {
    plateau(&intervals(set, g), 1_000_000).map_or(1, |p| p.workers)
}

/// Half as many workers more at worst, twice as many at best.
fn plan(set: &TraceSet, g: &Group) -> (Edit, Edit) {
    let (spans, workers) = (g.spans(), workers(set, g));
    (Edit::parallel(&spans, workers + workers.div_ceil(2)), Edit::parallel(&spans, workers * 2))
}

/// What is gained by making fewer calls at once cannot be told from a trace.
fn unknown(_: &TraceSet, _: &Group) -> (Edit, Edit) {
    (Edit::default(), Edit::default())
}

/// Durations against the calls under way, of several executions. `None` where so few calls, or so small a correlation, may be
/// chance: independent calls that begin together end in any order.
fn correlation(set: &TraceSet, groups: &[Group], least: f64, deviations: f64) -> Option<f64> {
    let mut pairs = Vec::new();
    for g in groups {
        let calls = intervals(set, g);
        pairs.extend(levels(&calls).into_iter().zip(&calls).map(|(level, call)| (level as f64, (call.1 - call.0) as f64)));
    }
    let mut distinct: Vec<f64> = pairs.iter().map(|p| p.0).collect();
    distinct.sort_by(f64::total_cmp);
    distinct.dedup();
    let r = spearman(&pairs);
    (distinct.len() >= 3 && pairs.len() >= 8 && r >= least && rank_deviations(r, pairs.len()) >= deviations).then_some(r)
}

impl Detector for PoolStaircase {
    fn rule(&self) -> &'static Rule {
        &RULE
    }
    fn detect(&self, cx: &Context<'_>) -> Outcome {
        let set = &cx.session.traces;
        if set.spans.is_empty() {
            return Outcome::NotChecked("no trace is open".to_string());
        }
        let near = (cx.threshold(&RULE, "near_ms") * 1e6) as i64;
        let stairs = |p: &Plateau, n: usize| {
            p.workers >= 2
                && n >= 2 * p.workers
                && p.share >= cx.threshold(&RULE, "min_plateau")
                && p.handed_over >= cx.threshold(&RULE, "min_handed_over")
        };
        let (mut pools, mut crowds) = (Patterns::default(), Patterns::default());
        let (traces, calls) = groups(cx, 4, &mut |g| {
            let (sum, union) = g.sum_and_union(set);
            let scope = set.spans.duration_ns[g.scope.index()].max(1);
            // Two workers and more have more calls than time.
            if sum < union + union / 4
                || ((union as f64) < cx.threshold(&RULE, "min_ms") * 1e6
                    && (union as f64) < cx.threshold(&RULE, "min_share") * scope as f64)
            {
                return;
            }
            match plateau(&intervals(set, &g), near) {
                Some(p) if stairs(&p, g.calls.len()) => pools.add(cx, g),
                Some(p) if p.workers >= 4 => crowds.add(cx, g),
                _ => {}
            }
        });
        if calls == 0 {
            return Outcome::NotChecked(NO_CALLS.to_string());
        }
        let (least, deviations) = (cx.threshold(&RULE, "min_correlation"), cx.threshold(&RULE, "min_deviations"));
        let crowded = |p: &super::chatty::Pattern| correlation(set, &p.groups, least, deviations);
        let mut findings = Vec::new();
        for (place, p) in pools.places() {
            let found: Vec<usize> = p.groups.iter().map(|g| workers(set, g)).collect();
            let most = found.iter().copied().max().unwrap_or(0);
            let words = match crowded(&p) {
                Some(r) => slower(r),
                None => Words {
                    title: format!("{{n}} calls of {{op}} wait for {most} workers in {{endpoint}}"),
                    model: "Replay of the requests with half as many workers more at worst, twice as many at best.",
                    confidence: if p.groups.len() >= 3 { Confidence::Confirmed } else { Confidence::Likely },
                    caveats: vec!["The bound may protect the callee: look at its load before raising it.".to_string()],
                    remedies: vec![
                        "Raise the size of the pool (connections, threads, semaphore) that these calls wait for.".to_string(),
                        "Or make fewer calls: one batch needs one worker.".to_string(),
                    ],
                    note: format!(
                        "Never more than {most} are under way, and the next starts when one ends: they wait for a pool of {most}."
                    ),
                    ..Words::default()
                },
            };
            let plan: Plan<'_> = if words.mild { &unknown } else { &plan };
            findings.push(finding(cx, &RULE, traces, place, &p, plan, words));
        }
        for (place, p) in crowds.places() {
            if let Some(r) = crowded(&p) {
                findings.push(finding(cx, &RULE, traces, place, &p, &unknown, slower(r)));
            }
        }
        Outcome::Checked { findings: sorted(findings), over: format!("{calls} calls in {}", super::counted(traces, "trace")) }
    }
}

/// Calls that take longer the more of them are under way.
fn slower(r: f64) -> Words {
    Words {
        title: "{n} calls of {op} slow each other down in {endpoint}".to_string(),
        model: "None: what fewer calls at once would take cannot be told from the trace.",
        confidence: Confidence::Possible,
        caveats: vec!["Calls that were started later may have had more to do.".to_string()],
        remedies: vec![
            "Do not raise the number of calls under way: lower it until their durations stop growing.".to_string(),
            "One batch instead of many calls, or more capacity at the callee.".to_string(),
        ],
        note: format!("They take longer the more are under way (Spearman's correlation {r:.2}): the callee is the bottleneck."),
        mild: true,
        ..Words::default()
    }
}
