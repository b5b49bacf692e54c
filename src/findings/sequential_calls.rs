//! Calls that wait for one another without need: a handler asks one callee, then another, and could have asked both at once.

use super::calls::{Call, Category};
use super::chains::{Key, Limits, Link, Seen, chains, judge, seen};
use super::chatty::{Group, NO_CALLS, Pattern, Words, finding, place_of, sorted};
use super::finding::{Confidence, Evidence, Rule, Threshold};
use super::{Context, Detector, Outcome};
use crate::analysis::replay::Edit;
use crate::base::ids::{SpanRow, TraceRow};
use crate::base::view::{View, ViewRef};
use crate::model::trace::TraceSet;
use std::collections::BTreeMap;

/// Documentation of the rule.
pub const RULE: Rule = Rule {
    id: "sequential-calls",
    name: "Calls that could run in parallel",
    family: "chatty calls",
    summary: "A handler makes different calls one after the other although none seems to need another's answer.",
    remedies: &["Start the calls together and wait for all."],
    thresholds: &[
        Threshold { name: "min_db_calls", default: 2.0, doc: "Calls of a chain of database calls (Sentry, consecutive DB queries)." },
        Threshold { name: "min_calls", default: 3.0, doc: "Calls of any other chain (Sentry, consecutive HTTP)." },
        Threshold { name: "min_call_ms", default: 30.0, doc: "Milliseconds that each call takes (Sentry, consecutive DB queries)." },
        Threshold {
            name: "min_call_share",
            default: 0.05,
            doc: "Share of the execution that each takes, if it takes less than min_call_ms.",
        },
        Threshold { name: "min_saving_ms", default: 100.0, doc: "Sum less the longest, in milliseconds (Sentry, consecutive DB queries)." },
        Threshold { name: "min_saving_share", default: 0.1, doc: "The same as share of the execution; one of both must be reached." },
        Threshold {
            name: "max_gap_ms",
            default: 2.0,
            doc: "Milliseconds between two calls: with more, the handler seems to use the answer.",
        },
        Threshold { name: "max_gap_share", default: 0.02, doc: "The same as share of the shorter call." },
        Threshold {
            name: "min_executions",
            default: 0.5,
            doc: "Share of the executions with these calls in which they follow each other so closely.",
        },
    ],
    doc: include_str!("../../docs/rules/sequential-calls.md"),
};

/// Chains of one operation that are looked at: the most frequent ones.
const MOST_CHAINS: usize = 16;
/// Executions of a chain whose values are compared.
const COMPARED: usize = 5;

/// The rule.
pub struct Sequential;

/// At worst two of them at once, at best all.
fn plan(_: &TraceSet, g: &Group) -> (Edit, Edit) {
    let spans = g.spans();
    (Edit::parallel(&spans, 2), Edit::parallel(&spans, usize::MAX))
}

/// Whether enough calls would save enough.
fn matters(cx: &Context<'_>, set: &TraceSet, calls: &[Call]) -> bool {
    let database = calls.iter().all(|c| matches!(c.category, Category::Db | Category::Cache));
    let least = cx.threshold(&RULE, if database { "min_db_calls" } else { "min_calls" });
    let durations = || calls.iter().map(|c| set.spans.duration_ns[c.span.index()]);
    let saved = durations().fold(0_i64, i64::saturating_add) - durations().max().unwrap_or(0);
    let whole = set.spans.duration_ns[calls[0].scope.index()].max(1);
    calls.len() >= 2
        && calls.len() as f64 >= least
        && (saved as f64 / 1e6 >= cx.threshold(&RULE, "min_saving_ms")
            || saved as f64 / whole as f64 >= cx.threshold(&RULE, "min_saving_share"))
}

/// What is known about each link of a chain, from several of its executions.
fn links(cx: &Context<'_>, groups: &[Group], seen: &Seen) -> Vec<Link> {
    let mut out = vec![Link::Likely; seen.disproved.len()];
    let every = (groups.len() / COMPARED).max(1);
    for g in groups.iter().step_by(every).take(COMPARED) {
        for (k, pair) in g.calls.windows(2).enumerate() {
            out[k] = out[k].min(judge(cx.session, cx.calls(), &pair[0], &pair[1]));
        }
    }
    for (k, disproved) in seen.disproved.iter().enumerate() {
        if disproved.is_some() {
            out[k] = Link::Confirmed;
        }
    }
    out
}

impl Detector for Sequential {
    fn rule(&self) -> &'static Rule {
        &RULE
    }
    fn detect(&self, cx: &Context<'_>) -> Outcome {
        let set = &cx.session.traces;
        if set.spans.is_empty() {
            return Outcome::NotChecked("no trace is open".to_string());
        }
        let (calls, traces) = (cx.calls().len(), set.traces.len());
        if calls == 0 {
            return Outcome::NotChecked(NO_CALLS.to_string());
        }
        let limits = Limits {
            call_ns: cx.threshold(&RULE, "min_call_ms") * 1e6,
            call_share: cx.threshold(&RULE, "min_call_share"),
            gap_ns: cx.threshold(&RULE, "max_gap_ms") * 1e6,
            gap_share: cx.threshold(&RULE, "max_gap_share"),
            loop_calls: 5,
        };
        let mut by_chain: BTreeMap<Key, Vec<Group>> = BTreeMap::new();
        for trace in (0..traces).map(TraceRow::from_index) {
            chains(set, cx.calls(), trace, limits, &cx.attempts().repeated, &mut |g| {
                if matters(cx, set, &g.calls) {
                    let key = (set.spans.operation[g.scope.index()], g.calls.iter().map(|c| c.signature).collect());
                    by_chain.entry(key).or_default().push(g);
                }
            });
        }
        let mut kept: Vec<(Key, Vec<Group>)> = by_chain.into_iter().collect();
        kept.sort_by(|a, b| (a.0.0, b.1.len(), &a.0.1).cmp(&(b.0.0, a.1.len(), &b.0.1)));
        let mut count = 0;
        let mut last = None;
        kept.retain(|((operation, _), _)| {
            count = if last == Some(*operation) { count + 1 } else { 1 };
            last = Some(*operation);
            count <= MOST_CHAINS
        });
        let keys: Vec<&Key> = kept.iter().map(|(key, _)| key).collect();
        let seen = seen(set, cx.calls(), &keys);
        let mut findings = Vec::new();
        for ((_, groups), seen) in kept.iter().zip(&seen) {
            if (groups.len() as f64) < cx.threshold(&RULE, "min_executions") * seen.executions as f64 {
                continue;
            }
            let links = links(cx, groups, seen);
            let mut from = 0;
            for cut in (0..=links.len()).filter(|k| links.get(*k).is_none_or(|l| *l == Link::Needed)) {
                let part = from..cut + 1;
                from = cut + 1;
                if part.len() < 2 {
                    continue;
                }
                let cut_out = |g: &Group| Group::new(g.trace, g.scope, g.calls[part.clone()].to_vec());
                let groups: Vec<Group> = groups.iter().map(cut_out).filter(|g| matters(cx, set, &g.calls)).collect();
                if !groups.is_empty() {
                    let known = part.start..part.end - 1;
                    findings.push(tell(cx, traces, groups, &links[known.clone()], &seen.disproved[known]));
                }
            }
        }
        Outcome::Checked { findings: sorted(findings), over: format!("{calls} calls in {}", super::counted(traces, "trace")) }
    }
}

fn tell(cx: &Context<'_>, traces: usize, groups: Vec<Group>, links: &[Link], disproved: &[Option<SpanRow>]) -> super::finding::Finding {
    let set = &cx.session.traces;
    let place = place_of(cx, groups[0].scope);
    let pattern = Pattern { groups };
    let calls = &pattern.groups[0].calls;
    let names: Vec<&str> = calls.iter().map(|c| cx.calls().texts.get(c.shown)).collect();
    let weakest = links.iter().min().copied().unwrap_or(Link::Possible);
    let confidence = match weakest {
        Link::Confirmed => Confidence::Confirmed,
        Link::Likely => Confidence::Likely,
        Link::Possible | Link::Needed => Confidence::Possible,
    };
    let mut caveats = vec!["An answer may be used in a way that the trace does not show.".to_string()];
    if calls.windows(2).any(|p| p[0].category == Category::Db && p[1].category == Category::Db) {
        caveats.push("Statements of one transaction or connection cannot run side by side.".to_string());
    }
    let proof = disproved.iter().flatten().next();
    let evidence: Vec<Evidence> = proof
        .map(|span| Evidence {
            text: "An execution that made a later call before the earlier one had ended.".to_string(),
            view: ViewRef {
                trace: Some(cx.session.strings.get(set.traces.id[set.spans.trace[span.index()].index()]).to_string()),
                span: Some(set.id_text(&cx.session.strings, set.spans.id[span.index()])),
                ..ViewRef::of(View::Traces)
            },
        })
        .into_iter()
        .collect();
    let note = match weakest {
        Link::Confirmed => "Other executions make these calls at the same time.",
        Link::Likely => "All are reads of different callees, and no value of one occurs in the next.",
        Link::Possible | Link::Needed => "Nothing in the trace shows that one needs another's answer.",
    };
    let words = Words {
        title: "{n} calls in turn that could run at once in {endpoint}".to_string(),
        model: "Replay of the requests with the calls side by side: two at once at worst, all at best.",
        confidence,
        caveats,
        remedies: vec![
            "Start the calls together and wait for all (Promise.all, CompletableFuture.allOf, asyncio.gather, errgroup, Task.WhenAll, tokio::join!)."
                .to_string(),
            "Calls to one database: one statement, or one connection for each.".to_string(),
        ],
        note: note.to_string(),
        evidence,
        // Without an execution that did otherwise, a dependency that the trace does not show is as likely: a note, not a warning.
        mild: weakest < Link::Confirmed,
        subject: names.join(", then "),
        ..Words::default()
    };
    finding(cx, &RULE, traces, place, &pattern, &plan, words)
}
