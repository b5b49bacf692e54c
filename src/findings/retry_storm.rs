//! Retries: the same call again and again because it fails, at several levels of a path, without pause.

use super::attempts::{AllAttempts, Attempts};
use super::call_facts::Ending;
use super::calls::Category;
use super::chatty::{Group, NO_CALLS, Patterns, Words, finding, sorted};
use super::finding::{Confidence, Rule, Threshold};
use super::{Context, Detector, Outcome};
use crate::analysis::replay::Edit;
use crate::base::ids::{SpanRow, StringId};
use crate::base::quantity::{format_ns, format_share};
use crate::model::trace::TraceSet;
use std::collections::BTreeMap;

/// Documentation of the rule.
pub const RULE: Rule = Rule {
    id: "retry-storm",
    name: "Retries",
    family: "chatty calls",
    summary: "A failing call is repeated many times, at several levels, or without a pause.",
    remedies: &["Retry at one level only, few times, with growing and random pauses, within the caller's deadline."],
    thresholds: &[
        Threshold {
            name: "min_attempts",
            default: 3.0,
            doc: "Attempts at one thing; the first and one more are the usual policy of clients.",
        },
        Threshold {
            name: "min_amplification",
            default: 4.0,
            doc: "Calls at the bottom for one of the outermost caller's: two attempts at each of two levels.",
        },
        Threshold { name: "min_pause_ms", default: 10.0, doc: "Pause after a failure, in milliseconds, below which there is no back-off." },
        Threshold {
            name: "jitter",
            default: 0.05,
            doc: "Pauses of several executions that differ by less than this share have no jitter.",
        },
    ],
    doc: include_str!("../../docs/rules/retry-storm.md"),
};

/// The rule.
pub struct RetryStorm;

/// As if the last attempt had been the first: the failed ones take no time. At best the pauses go too.
fn plan(set: &TraceSet, g: &Group) -> (Edit, Edit) {
    let spans = g.spans();
    let last = spans.last().map_or(0, |s| set.spans.duration_ns[s.index()]);
    (Edit::batch(&spans, last, true), Edit::batch(&spans, last, false))
}

/// What the attempts of one pattern have in common.
#[derive(Default)]
struct Traits {
    /// Runs of attempts, and of those the ones whose last attempt succeeded.
    runs: usize,
    succeeded: usize,
    /// Most attempts of a run.
    most: usize,
    /// Calls for one of the outermost caller's, and through how many levels.
    amplified: (usize, usize),
    /// Time of failed attempts and of the pauses after them.
    failed_ns: i64,
    paused_ns: i64,
    /// Two failures followed each other without a pause.
    hasty: bool,
    /// The first pause of each run.
    first_pauses: Vec<i64>,
    /// The caller's own caller had given up before the last attempt ended.
    late: bool,
    /// A later attempt says that it was sent before, or the values are recorded.
    certain: bool,
}

impl Traits {
    fn note(&mut self, cx: &Context<'_>, run: &Attempts, amplified: (usize, usize)) {
        let set = &cx.session.traces;
        self.runs += 1;
        self.succeeded += usize::from(run.succeeded());
        self.most = self.most.max(run.calls.len());
        self.amplified = self.amplified.max(amplified);
        self.certain |= run.calls[0].values.is_some() || run.calls.iter().any(|c| c.resent);
        let least = cx.threshold(&RULE, "min_pause_ms") * 1e6;
        for (k, pause) in run.pauses(set).enumerate() {
            self.paused_ns = self.paused_ns.saturating_add(pause);
            self.hasty |= run.calls[k + 1].ending == Ending::Transient && (pause as f64) < least;
        }
        self.first_pauses.extend(run.pauses(set).next());
        for call in run.failed() {
            self.failed_ns = self.failed_ns.saturating_add(set.spans.duration_ns[call.span.index()]);
        }
        let caller = set.spans.parent[run.calls[0].scope.index()].get();
        let end = run.calls.last().map_or(0, |c| set.spans.end_ns(c.span));
        self.late |= caller.is_some_and(|c| set.spans.end_ns(c) < end && set.spans.has(c, crate::model::trace::SPAN_ERROR));
    }

    /// Five executions and more that pause for the same time.
    fn without_jitter(&self, share: f64) -> bool {
        let (least, most) = (self.first_pauses.iter().min(), self.first_pauses.iter().max());
        match (least, most) {
            (Some(&least), Some(&most)) if self.first_pauses.len() >= 5 && least > 0 => (most - least) as f64 <= share * most as f64,
            _ => false,
        }
    }
}

/// Requests that are not safe to repeat, and carry no key by which the callee could tell.
fn unsafe_to_repeat(cx: &Context<'_>, run: &Attempts) -> bool {
    let call = &run.calls[0];
    let text = cx.calls().texts.get(call.shown);
    let risky = call.writes
        && match call.category {
            Category::Http => text.starts_with("POST ") || text.starts_with("PATCH "),
            Category::Db => text.starts_with("INSERT "),
            Category::Rpc => true,
            _ => false,
        };
    let set = &cx.session.traces;
    risky && !set.span_attrs(call.span).any(|(key, _)| cx.session.strings.get(key).to_ascii_lowercase().contains("idempotency"))
}

/// Failed and all calls of each signature, over all traces.
fn failures(cx: &Context<'_>) -> BTreeMap<StringId, (usize, usize)> {
    let mut out: BTreeMap<StringId, (usize, usize)> = BTreeMap::new();
    for call in cx.calls().all() {
        let entry = out.entry(call.signature).or_default();
        entry.0 += usize::from(call.ending == Ending::Transient);
        entry.1 += 1;
    }
    out
}

impl Detector for RetryStorm {
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
        let all: &AllAttempts = cx.attempts();
        let amplified = all.amplification();
        let mut patterns = Patterns::default();
        for run in &all.runs {
            patterns.add(cx, Group::new(run.trace, run.calls[0].scope, run.calls.clone()));
        }
        let by_first: BTreeMap<SpanRow, usize> = all.runs.iter().enumerate().map(|(i, run)| (run.calls[0].span, i)).collect();
        let failures = if all.runs.is_empty() { BTreeMap::new() } else { failures(cx) };
        let findings = patterns.places().filter_map(|(place, p)| {
            let mut traits = Traits::default();
            let mut risky = false;
            for i in p.groups.iter().filter_map(|g| by_first.get(&g.calls[0].span)) {
                traits.note(cx, &all.runs[*i], amplified[*i]);
                risky |= unsafe_to_repeat(cx, &all.runs[*i]);
            }
            let same_pauses = traits.without_jitter(cx.threshold(&RULE, "jitter"));
            let storm = traits.most as f64 >= cx.threshold(&RULE, "min_attempts")
                || traits.amplified.0 as f64 >= cx.threshold(&RULE, "min_amplification")
                || traits.hasty
                || risky
                || traits.late;
            storm.then(|| finding(cx, &RULE, traces, place, &p, &plan, words(&traits, risky, same_pauses, &p.groups[0], &failures)))
        });
        let over = format!("{calls} calls in {traces} traces, of which {} failed and were made again", all.repeated.len());
        Outcome::Checked { findings: sorted(findings.collect()), over }
    }
}

fn words(traits: &Traits, risky: bool, same_pauses: bool, group: &Group, failures: &BTreeMap<StringId, (usize, usize)>) -> Words {
    let mut note = format!(
        "Up to {} attempts at one thing; {} of {} ended well. Failed attempts took {}, the pauses after them {}.",
        traits.most,
        traits.succeeded,
        traits.runs,
        format_ns(traits.failed_ns as f64),
        format_ns(traits.paused_ns as f64)
    );
    let (calls, levels) = traits.amplified;
    if levels > 1 {
        note.push_str(&format!(" Retries at {levels} levels make {calls} calls out of one."));
    }
    if let Some((failed, all)) = failures.get(&group.calls[0].signature) {
        note.push_str(&format!(" {} of all {all} calls of it fail.", format_share(*failed as f64 / (*all).max(1) as f64)));
    }
    let mut remedies = Vec::new();
    if levels > 1 {
        remedies
            .push("Retry at one level only, the one nearest to the failure or the outermost; pass failures through elsewhere.".to_string());
    }
    if traits.hasty {
        note.push_str(" It is repeated without a pause.");
        remedies.push("Pause before every further attempt, twice as long each time.".to_string());
    }
    if same_pauses {
        note.push_str(" The pauses of all executions are the same.");
    }
    if same_pauses || traits.hasty {
        remedies.push("Make the pauses random (full jitter), so that callers do not come back together.".to_string());
    }
    if risky {
        note.push_str(" The request changes something and carries no idempotency key.");
        remedies.push("Send an idempotency key, or do not repeat requests that change something.".to_string());
    }
    if traits.late {
        note.push_str(" Attempts went on after the caller had given up.");
        remedies.push("Pass the caller's deadline on and stop retrying when it has passed.".to_string());
    }
    remedies
        .push("Bound retries by a budget (a share of all calls) or a circuit breaker, and remove the cause of the failures.".to_string());
    let mut caveats = Vec::new();
    if !traits.certain {
        caveats.push("The values of the calls are not recorded: they may be different calls of which several failed.".to_string());
    }
    Words {
        title: "{n} attempts at {op} in {endpoint}".to_string(),
        model: "Replay of the requests as if the last attempt had been the first: failed attempts take no time; at best the pauses go too.",
        confidence: if traits.certain { Confidence::Confirmed } else { Confidence::Possible },
        caveats,
        remedies,
        note,
        pauses: true,
        ..Words::default()
    }
}
