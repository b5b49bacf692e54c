//! Waiting for a connection of a pool (TRACES 3.3.10).

use super::calls::Call;
use super::chatty_n_plus_one::sorted;
use super::connections::{is_wait, served};
use super::finding::{Confidence, Finding, Rule, Subject, Threshold};
use super::traced::{Case, Said, callee, endpoint, finding, measure, named, quantile};
use super::{Context, Detector, Outcome};
use crate::analysis::replay::Edit;
use crate::base::ids::{SpanRow, TraceRow};
use crate::base::quantity::{format_ns, format_share};
use std::collections::BTreeMap;

/// Documentation of the rule.
pub const RULE: Rule = Rule {
    id: "pool-wait",
    name: "Waiting for a connection",
    family: "queued work",
    summary: "Calls wait until a pool gives them a connection.",
    remedies: &["Hold connections for less time, then make the pool larger if the callee can take it."],
    thresholds: &[
        Threshold { name: "min_ms", default: 50.0, doc: "Milliseconds that a wait takes to matter by itself." },
        Threshold { name: "min_share", default: 0.2, doc: "Part of wait and call together that is the wait, from floor_ms on." },
        Threshold { name: "floor_ms", default: 5.0, doc: "Milliseconds below which no share of a call matters." },
        Threshold { name: "min_waits", default: 3.0, doc: "Waits of that size: a pool that fills once at the beginning is not too small." },
    ],
    doc: include_str!("../../docs/rules/pool-wait.md"),
};

/// The rule.
pub struct PoolWait;

struct Wait {
    trace: TraceRow,
    span: SpanRow,
    call: Option<Call>,
}

impl Detector for PoolWait {
    fn rule(&self) -> &'static Rule {
        &RULE
    }
    fn detect(&self, cx: &Context<'_>) -> Outcome {
        let (set, strings) = (&cx.session.traces, &cx.session.strings);
        if set.spans.is_empty() {
            return Outcome::NotChecked("no trace is open".to_string());
        }
        let list = served(cx, is_wait);
        if list.is_empty() {
            return Outcome::NotChecked("no span waits for a connection: pools are not instrumented, or nobody waited".to_string());
        }
        let n = list.len();
        let mut places: BTreeMap<(String, String, String), Vec<Wait>> = BTreeMap::new();
        for (trace, span, call) in list {
            let to = call.as_ref().map_or(String::new(), |c| callee(cx, c).to_string());
            let key = (set.service_name(strings, span).to_string(), set.name(strings, span).to_string(), to);
            places.entry(key).or_default().push(Wait { trace, span, call });
        }
        let findings = places.into_iter().filter_map(|(place, waits)| one(cx, &place, &waits));
        Outcome::Checked { findings: sorted(findings.collect()), over: format!("{n} waits for connections") }
    }
}

fn one(cx: &Context<'_>, (service, name, to): &(String, String, String), waits: &[Wait]) -> Option<Finding> {
    let set = &cx.session.traces;
    let length = |s: SpanRow| set.spans.duration_ns[s.index()];
    let ms = |name: &str| cx.threshold(&RULE, name) * 1e6;
    let long = |w: &&Wait| {
        let wait = length(w.span) as f64;
        let whole = wait + w.call.map_or(0, |c| length(c.span)) as f64;
        wait >= ms("min_ms") || (wait >= ms("floor_ms") && wait / whole.max(1.0) >= cx.threshold(&RULE, "min_share"))
    };
    let long: Vec<&Wait> = waits.iter().filter(long).collect();
    if (long.len() as f64) < cx.threshold(&RULE, "min_waits").max(1.0) {
        return None;
    }
    let mut sorted: Vec<i64> = waits.iter().map(|w| length(w.span)).collect();
    sorted.sort_unstable();
    let cases: Vec<Case> = long
        .iter()
        .map(|w| {
            let half = length(w.span) / 2;
            Case { trace: w.trace, spans: vec![w.span], cost: length(w.span), low: Edit::set(w.span, half), high: Edit::zero(&[w.span]) }
        })
        .collect();
    let measured = measure(cx, &cases);
    let worst = long.iter().max_by_key(|w| (length(w.span), std::cmp::Reverse(w.span)))?;
    let served = worst.call.map_or(0, |c| length(c.span));
    let (_, root) = endpoint(cx, worst.trace);
    let to_text = if to.is_empty() { String::new() } else { format!(" of {to}") };
    let message = format!(
        "{} of {} calls by {} wait for a connection{to_text}: {} in the median, up to {}, before a call of {}; {}.",
        long.len(),
        waits.len(),
        if service.is_empty() { "an unnamed service" } else { service },
        format_ns(quantile(&sorted, 0.5) as f64),
        format_ns(length(worst.span) as f64),
        format_ns(served as f64),
        super::in_traces(measured.ranked.len(), set.traces.len())
    );
    let share = long.len() as f64 / waits.len() as f64;
    let said = Said {
        title: format!(
            "{} of the calls{to_text} wait for a connection, up to {}",
            format_share(share),
            format_ns(length(worst.span) as f64)
        ),
        message,
        subject: Subject {
            kind: "edge",
            name: if to.is_empty() { name.clone() } else { format!("{name} → {to}") },
            service: service.clone(),
            path: vec![root],
            ..Subject::default()
        },
        confidence: Confidence::Likely,
        model: "Replay of the requests with the waits half as long (at worst) and without them (at best).".to_string(),
        evidence: vec![(format!("{} waits {}.", named(cx, worst.span), format_ns(length(worst.span) as f64)), worst.span)],
        caveats: vec![
            "A larger pool moves the queue to the callee where that is the bottleneck.".to_string(),
            "Some drivers count the making of a new connection as a wait.".to_string(),
        ],
        remedies: vec![
            "Give connections back sooner: no remote call while one is held, shorter transactions, results read at once.".to_string(),
            "Then raise the pool's size (maximumPoolSize, max_connections, SetMaxOpenConns, maxSockets) in steps, and watch the callee."
                .to_string(),
        ],
        ..Said::default()
    };
    Some(finding(cx, &RULE, &cases, &measured, &[service, name, to], said))
}
