//! Time-outs: calls that fail after a fixed time, calls that wait without limit, and work that goes on although its caller
//! gave up (TRACES 3.3.11).

use super::calls::{Call, Category};
use super::chatty_n_plus_one::sorted;
use super::facts::Fact;
use super::finding::{Confidence, Finding, Rule, Threshold};
use super::timeouts_text::{Kind, said};
use super::traced::{Case, NO_CALLS, answer, finding, measure, quantile};
use super::{Context, Detector, Outcome};
use crate::analysis::replay::Edit;
use crate::base::ids::{SpanRow, StringId, TraceRow};
use crate::model::trace::{SPAN_ERROR, SPAN_NO_DURATION, SPAN_UNFINISHED};
use std::collections::BTreeMap;

/// Documentation of the rule.
pub const RULE: Rule = Rule {
    id: "timeouts",
    name: "Missing and bad time-outs",
    family: "failing calls",
    summary: "Calls fail after a fixed time that is far above what they take when they succeed, wait without any limit, or are given up while the callee works on.",
    remedies: &["Set every call's limit from what it takes when it is well, pass the deadline on, and stop work that nobody waits for."],
    thresholds: &[
        Threshold {
            name: "min_failures",
            default: 3.0,
            doc: "Failures of one length that make a time-out; one is enough from 5 s on when it is within 0.5 % of a round time.",
        },
        Threshold { name: "tolerance", default: 0.02, doc: "How far such failures are from a round time or from one another." },
        Threshold { name: "min_ms", default: 250.0, doc: "Milliseconds below which no length is taken for a time-out." },
        Threshold { name: "unlimited_ms", default: 30_000.0, doc: "Milliseconds of a successful call that no limit can have ended." },
        Threshold {
            name: "unlimited_factor",
            default: 20.0,
            doc: "Times the median of its kind, from long_ms on, that no limit can have ended either.",
        },
        Threshold { name: "long_ms", default: 3000.0, doc: "See unlimited_factor (Grafana Sift calls a trace of 3 s slow)." },
        Threshold { name: "overrun_ms", default: 10.0, doc: "Milliseconds that a callee works on after its caller gave up." },
        Threshold { name: "overrun_share", default: 0.05, doc: "The same as share of the call; both must be reached." },
    ],
    doc: include_str!("../../docs/rules/timeouts.md"),
};

/// The rule.
pub struct Timeouts;

/// A call that is in the way.
pub struct Hit {
    /// Its trace.
    pub trace: TraceRow,
    /// The call.
    pub call: Call,
    /// The span at work too long: the call's, or the callee's.
    pub span: SpanRow,
    /// Nanoseconds that it lasted, or that the callee worked on.
    pub ns: i64,
}

/// What is known of the calls of one kind.
#[derive(Default)]
struct Known {
    /// Durations of successes.
    fine: Vec<i64>,
    failed: Vec<(TraceRow, Call, i64)>,
    /// From the caller's begin to the callee's, of successes.
    fronts: Vec<i64>,
    /// Callees that ended after their failed caller: how long, and from the caller's begin to the callee's.
    overrun: Vec<Hit>,
}

/// Usual limits, milliseconds.
const ROUND_MS: [i64; 13] = [250, 500, 1000, 1500, 2000, 3000, 5000, 10_000, 15_000, 20_000, 30_000, 45_000, 60_000];

fn round_near(ns: i64, tolerance: f64) -> Option<i64> {
    let near = |ms: &i64| (ns as f64 / 1e6 - *ms as f64).abs() <= *ms as f64 * tolerance;
    ROUND_MS.iter().copied().find(near).map(|ms| ms * 1_000_000)
}

impl Detector for Timeouts {
    fn rule(&self) -> &'static Rule {
        &RULE
    }
    fn detect(&self, cx: &Context<'_>) -> Outcome {
        let set = &cx.session.traces;
        if set.spans.is_empty() {
            return Outcome::NotChecked("no trace is open".to_string());
        }
        if cx.calls().is_empty() {
            return Outcome::NotChecked(NO_CALLS.to_string());
        }
        let known = gather(cx);
        let mut findings = Vec::new();
        for (signature, mut known) in known {
            known.fine.sort_unstable();
            let mut hits: Vec<(Kind, Vec<Hit>)> = Vec::new();
            hits.extend(shaped(cx, &known));
            hits.extend(unlimited(cx, signature, &known));
            hits.extend(abandoned(cx, &mut known));
            findings.extend(hits.into_iter().filter_map(|(kind, hits)| one(cx, kind, &hits, &known.fine)));
        }
        Outcome::Checked {
            findings: sorted(findings),
            over: format!("{} calls in {}", cx.calls().len(), super::counted(set.traces.len(), "trace")),
        }
    }
}

fn gather(cx: &Context<'_>) -> BTreeMap<StringId, Known> {
    let set = &cx.session.traces;
    let mut out: BTreeMap<StringId, Known> = BTreeMap::new();
    for trace in (0..set.traces.len()).map(TraceRow::from_index) {
        for call in cx.calls().of(trace) {
            if set.spans.has(call.span, SPAN_UNFINISHED | SPAN_NO_DURATION) || call.category == Category::Messaging {
                continue;
            }
            let known = out.entry(call.signature).or_default();
            let (start, ns) = (set.spans.start_ns[call.span.index()], set.spans.duration_ns[call.span.index()]);
            let server = answer(set, call.span);
            let front = server.map(|s| set.spans.start_ns[s.index()].saturating_sub(start));
            if !set.spans.has(call.span, SPAN_ERROR) {
                known.fine.push(ns);
                known.fronts.extend(front);
                continue;
            }
            known.failed.push((trace, *call, ns));
            if let Some(server) = server {
                let over = set.spans.end_ns(server).saturating_sub(set.spans.end_ns(call.span));
                let least = (cx.threshold(&RULE, "overrun_ms") * 1e6).max(ns as f64 * cx.threshold(&RULE, "overrun_share"));
                // A callee that begins after its caller ended is another clock's, not an overrun.
                if over as f64 > least && set.spans.start_ns[server.index()] <= set.spans.end_ns(call.span) {
                    known.overrun.push(Hit { trace, call: *call, span: server, ns: over });
                }
            }
        }
    }
    out
}

/// Failures of one length: at a round time, or at one that they share.
fn shaped(cx: &Context<'_>, known: &Known) -> Option<(Kind, Vec<Hit>)> {
    let (set, strings) = (&cx.session.traces, &cx.session.strings);
    let tolerance = cx.threshold(&RULE, "tolerance").max(0.0);
    let least = cx.threshold(&RULE, "min_failures").max(1.0) as usize;
    let long: Vec<&(TraceRow, Call, i64)> =
        known.failed.iter().filter(|(_, _, ns)| *ns as f64 >= cx.threshold(&RULE, "min_ms") * 1e6).collect();
    if long.is_empty() {
        return None;
    }
    // The limit: the length that most failures are near to; the shorter of equals.
    let mut lengths: Vec<i64> = long.iter().map(|(_, _, ns)| *ns).collect();
    lengths.sort_unstable();
    let near = |limit: i64, ns: i64| (ns - limit).abs() as f64 <= limit as f64 * tolerance;
    let candidates = lengths.iter().map(|ns| round_near(*ns, tolerance).unwrap_or(*ns));
    let count = |limit: i64| {
        let slack = (limit as f64 * tolerance) as i64;
        lengths.partition_point(|ns| *ns <= limit + slack) - lengths.partition_point(|ns| *ns < limit - slack)
    };
    let limit = candidates.max_by_key(|limit| (count(*limit), std::cmp::Reverse(*limit)))?;
    let mine: Vec<Hit> = long
        .iter()
        .filter(|(_, _, ns)| near(limit, *ns))
        .map(|(trace, call, ns)| Hit { trace: *trace, call: *call, span: call.span, ns: *ns })
        .collect();
    let says_so = |span: SpanRow| {
        let class = cx.facts().text(set, strings, span, Fact::ErrorType).unwrap_or("").to_ascii_lowercase();
        ["timeout", "timed out", "deadline"].iter().any(|w| class.contains(w))
            || matches!(cx.facts().number(set, strings, span, Fact::Status), Some(408 | 504))
            || matches!(cx.facts().number(set, strings, span, Fact::RpcStatus), Some(4))
            || matches!(cx.facts().text(set, strings, span, Fact::RpcStatus), Some("DEADLINE_EXCEEDED"))
    };
    let single = mine.iter().any(|h| h.ns >= 5_000_000_000 && round_near(h.ns, 0.005).is_some());
    let told = mine.iter().any(|h| says_so(h.span));
    // Of failures that end at odd times some are near one another by chance.
    let most = mine.len() * 2 >= long.len();
    let enough = mine.len() >= least && most;
    if !enough && !single && !told {
        return None;
    }
    // A limit close to what successes take is a limit well set.
    let slowest = quantile(&known.fine, 0.99);
    if known.fine.len() >= 5 && limit <= slowest.saturating_mul(2) {
        return None;
    }
    let sure = if told {
        Confidence::Confirmed
    } else if enough {
        Confidence::Likely
    } else {
        Confidence::Possible
    };
    Some((Kind::Shaped { limit, failed: known.failed.len(), sure }, mine))
}

/// Successes that no limit can have bounded.
fn unlimited(cx: &Context<'_>, signature: StringId, known: &Known) -> Option<(Kind, Vec<Hit>)> {
    let set = &cx.session.traces;
    let ms = |name: &str| cx.threshold(&RULE, name) * 1e6;
    let median = quantile(&known.fine, 0.5) as f64;
    let long = |ns: f64| {
        ns >= ms("unlimited_ms") || (known.fine.len() >= 5 && ns >= ms("long_ms") && ns >= median * cx.threshold(&RULE, "unlimited_factor"))
    };
    if !known.fine.last().is_some_and(|ns| long(*ns as f64)) {
        return None;
    }
    let mut hits = Vec::new();
    for trace in (0..set.traces.len()).map(TraceRow::from_index) {
        for call in cx.calls().of(trace).iter().filter(|c| c.signature == signature && !set.spans.has(c.span, SPAN_ERROR)) {
            let ns = set.spans.duration_ns[call.span.index()];
            // Of a call that waited for another below it that one is told.
            let own = cx.path().own(call.span) + answer(set, call.span).map_or(0, |server| cx.path().own(server));
            if long(ns as f64) && own * 2 >= ns {
                hits.push(Hit { trace, call: *call, span: call.span, ns });
            }
        }
    }
    if hits.is_empty() {
        return None;
    }
    Some((Kind::Unlimited { median: median as i64, of: known.fine.len() }, hits))
}

/// Callees that work on after their caller gave up, unless the clocks of the two hosts wander by as much.
fn abandoned(cx: &Context<'_>, known: &mut Known) -> Option<(Kind, Vec<Hit>)> {
    let set = &cx.session.traces;
    known.fronts.sort_unstable();
    let spread = quantile(&known.fronts, 0.9) - quantile(&known.fronts, 0.1);
    let hits: Vec<Hit> = std::mem::take(&mut known.overrun).into_iter().filter(|h| h.ns > spread.saturating_mul(3)).collect();
    if hits.is_empty() {
        return None;
    }
    // Below the callee a call that ends after the caller gave up: its limit is longer than its caller's.
    let inner = hits.iter().find_map(|h| {
        let end = set.spans.end_ns(h.call.span);
        let mut below = set.children(h.span).iter().copied();
        below.find(|c| set.spans.start_ns[c.index()] < end && set.spans.end_ns(*c) > end && set.spans.has(*c, SPAN_ERROR))
    });
    Some((Kind::Abandoned { inner }, hits))
}

fn one(cx: &Context<'_>, kind: Kind, hits: &[Hit], fine: &[i64]) -> Option<Finding> {
    let usual = quantile(fine, 0.99);
    let cases: Vec<Case> = hits
        .iter()
        .map(|h| {
            let (low, high) = match kind {
                Kind::Abandoned { .. } => (Edit::default(), Edit::default()),
                _ if fine.len() >= 5 => (Edit::set(h.span, usual.saturating_mul(3).min(h.ns)), Edit::set(h.span, usual.min(h.ns))),
                _ => (Edit::default(), Edit::scale(&[h.span], 0.1)),
            };
            Case { trace: h.trace, spans: vec![h.call.span], cost: h.ns, low, high }
        })
        .collect();
    let mut measured = measure(cx, &cases);
    let worst = hits.iter().max_by_key(|h| (Some(h.trace) == measured.worst_trace(), h.ns, std::cmp::Reverse(h.span)))?;
    let said = said(cx, &kind, hits, worst, &measured, fine);
    if matches!(kind, Kind::Abandoned { .. }) {
        // The request does not wait for it: what is saved is the callee's time.
        measured.cost = hits.iter().fold(0, |sum, h| sum.saturating_add(h.ns));
        measured.high = measured.cost;
    }
    let signature = cx.calls().texts.get(worst.call.signature);
    Some(finding(cx, &RULE, &cases, &measured, &[kind.word(), signature], said))
}
