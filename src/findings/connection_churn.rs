//! Connections that are made anew for calls that could share one (TRACES 3.3.10).

use super::calls::Call;
use super::chatty_n_plus_one::sorted;
use super::connections::{is_set_up, served};
use super::finding::{Confidence, Finding, Rule, Subject, Threshold};
use super::traced::{Case, NO_CALLS, Said, callee, caller, endpoint, finding, measure, named};
use super::{Context, Detector, Outcome};
use crate::analysis::replay::Edit;
use crate::base::ids::{SpanRow, TraceRow};
use crate::base::quantity::{format_ns, format_share};
use std::collections::{BTreeMap, BTreeSet};

/// Documentation of the rule.
pub const RULE: Rule = Rule {
    id: "connection-churn",
    name: "New connections for many calls",
    family: "slow calls",
    summary: "Calls of one callee set up a connection of their own: DNS, TCP and TLS are paid again and again.",
    remedies: &["Keep connections: one client with a pool and keep-alive for the life of the process."],
    thresholds: &[
        Threshold {
            name: "min_setups",
            default: 3.0,
            doc: "Calls that set a connection up; that many in one trace, or in two traces together.",
        },
        Threshold { name: "min_ratio", default: 0.5, doc: "Part of the calls of that callee that do." },
        Threshold {
            name: "min_share",
            default: 0.2,
            doc: "Part of the calls' time that the set-up takes; enough by itself when the ratio is not reached.",
        },
    ],
    doc: include_str!("../../docs/rules/connection-churn.md"),
};

/// The rule.
pub struct ConnectionChurn;

/// Caller and callee.
type Pair = (String, String);

/// The set-ups of one pair: call (or, where none is found, the set-up span itself), its set-up spans.
type SetUps = BTreeMap<(TraceRow, SpanRow), (Option<Call>, Vec<SpanRow>)>;

impl Detector for ConnectionChurn {
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
        let list = served(cx, is_set_up);
        if list.is_empty() {
            return Outcome::NotChecked(
                "no span sets up a connection: instrumentation of sockets, TLS or DNS is off, or every connection was there".to_string(),
            );
        }
        let mut pairs: BTreeMap<Pair, SetUps> = BTreeMap::new();
        for (trace, span, call) in &list {
            let pair = match call {
                Some(call) => (caller(cx, call), callee(cx, call).to_string()),
                None => (set.service_name(&cx.session.strings, *span).to_string(), String::new()),
            };
            let key = call.map_or(*span, |c| c.span);
            let own = pairs.entry(pair).or_default().entry((*trace, key)).or_insert((*call, Vec::new()));
            own.1.push(*span);
        }
        // All calls of those pairs: how many, and how long.
        let mut totals: BTreeMap<Pair, (usize, i64)> = BTreeMap::new();
        for trace in (0..set.traces.len()).map(TraceRow::from_index) {
            for call in cx.calls().of(trace) {
                let pair = (caller(cx, call), callee(cx, call).to_string());
                if pairs.contains_key(&pair) {
                    let total = totals.entry(pair).or_default();
                    total.0 += 1;
                    total.1 = total.1.saturating_add(set.spans.duration_ns[call.span.index()]);
                }
            }
        }
        let n = list.len();
        let findings = pairs.into_iter().filter_map(|(pair, set_ups)| {
            let total = totals.get(&pair).copied().unwrap_or((0, 0));
            one(cx, &pair, total, &set_ups)
        });
        Outcome::Checked { findings: sorted(findings.collect()), over: format!("{n} set-up spans beside {} calls", cx.calls().len()) }
    }
}

fn one(cx: &Context<'_>, (by, to): &Pair, (calls, calls_ns): (usize, i64), set_ups: &SetUps) -> Option<Finding> {
    let set = &cx.session.traces;
    let least = cx.threshold(&RULE, "min_setups");
    let mut per_trace: BTreeMap<TraceRow, usize> = BTreeMap::new();
    for (trace, _) in set_ups.keys() {
        *per_trace.entry(*trace).or_default() += 1;
    }
    // The first connection of a process is no churn: several in one trace, or several traces.
    let enough = set_ups.len() as f64 >= least && (per_trace.len() >= 2 || per_trace.values().any(|n| *n as f64 >= least));
    let length = |s: &SpanRow| set.spans.duration_ns[s.index()];
    let spent = set_ups.values().flat_map(|(_, spans)| spans).fold(0_i64, |sum, s| sum.saturating_add(length(s)));
    let ratio = set_ups.len() as f64 / calls.max(set_ups.len()) as f64;
    let share = spent as f64 / calls_ns.max(spent).max(1) as f64;
    if !enough || (ratio < cx.threshold(&RULE, "min_ratio") && share < cx.threshold(&RULE, "min_share")) {
        return None;
    }
    let first_trace = *per_trace.keys().next()?;
    let mut seen: BTreeSet<TraceRow> = BTreeSet::new();
    let cases: Vec<Case> = set_ups
        .iter()
        .map(|((trace, _), (_, spans))| {
            // At worst each request still opens one, at best only the first request of the process does.
            let first = seen.insert(*trace);
            let low = if first { Edit::default() } else { Edit::zero(spans) };
            let high = if first && *trace == first_trace { Edit::default() } else { Edit::zero(spans) };
            Case { trace: *trace, spans: spans.clone(), cost: spans.iter().fold(0, |sum, s| sum + length(s)), low, high }
        })
        .collect();
    let measured = measure(cx, &cases);
    let ((trace, _), (_, spans)) = set_ups.iter().max_by_key(|((t, s), _)| (Some(*t) == measured.worst_trace(), std::cmp::Reverse(*s)))?;
    let (_, root) = endpoint(cx, *trace);
    let to_text = if to.is_empty() { "its callee".to_string() } else { to.clone() };
    let by_text = if by.is_empty() { "an unnamed service" } else { by.as_str() };
    let message = format!(
        "{} of {} calls of {to_text} by {by_text} set up a connection of their own, {} in sum, {} of the calls' time; {}.",
        set_ups.len(),
        calls.max(set_ups.len()),
        format_ns(spent as f64),
        format_share(share),
        super::in_traces(per_trace.len(), set.traces.len())
    );
    let said = Said {
        title: format!("{} of {} calls of {to_text} open a connection", set_ups.len(), calls.max(set_ups.len())),
        message,
        subject: Subject { kind: "edge", name: format!("{by_text} → {to_text}"), service: by.clone(), path: vec![root], ..Subject::default() },
        confidence: if ratio >= cx.threshold(&RULE, "min_ratio") { Confidence::Confirmed } else { Confidence::Likely },
        model: "Replay of the requests without the set-up spans: all but one per request (at worst), all but those of the first request (at best).".to_string(),
        evidence: vec![(format!("A connection for one call: {}, {}.", named(cx, spans[0]), format_ns(length(&spans[0]) as f64)), spans[0])],
        caveats: vec!["Functions without a server between requests, and processes that just began, open connections by their nature.".to_string()],
        remedies: vec![
            "Use one client object for the life of the process (HttpClient through IHttpClientFactory, one http.Agent with keepAlive, one requests.Session, one sql.DB); read answers to their end so that the connection goes back.".to_string(),
            "Raise the idle time-out and the number of idle connections (MaxIdleConnsPerHost in Go is 2), or speak HTTP/2.".to_string(),
        ],
        ..Said::default()
    };
    Some(finding(cx, &RULE, &cases, &measured, &[by, to], said))
}
