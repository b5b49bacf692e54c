//! What the rule on time-outs says.

use super::Context;
use super::finding::{Confidence, Subject};
use super::timeouts::Hit;
use super::traced::{Measured, Said, callee, caller, endpoint, named, quantile};
use crate::base::ids::SpanRow;
use crate::base::quantity::format_ns;

/// Which mistake it is.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Failures of one length.
    Shaped {
        /// The length, nanoseconds.
        limit: i64,
        /// Failures of all lengths.
        failed: usize,
        /// How sure it is that a limit ended them.
        sure: Confidence,
    },
    /// Successes that took very long.
    Unlimited {
        /// Median of the successes, nanoseconds.
        median: i64,
        /// How many there are.
        of: usize,
    },
    /// The callee worked on.
    Abandoned {
        /// A call of the callee that ended after the caller gave up.
        inner: Option<SpanRow>,
    },
}

impl Kind {
    /// For fingerprints.
    pub fn word(&self) -> &'static str {
        match self {
            Kind::Shaped { .. } => "shaped",
            Kind::Unlimited { .. } => "unlimited",
            Kind::Abandoned { .. } => "abandoned",
        }
    }
}

/// The texts of a finding.
pub fn said(cx: &Context<'_>, kind: &Kind, hits: &[Hit], worst: &Hit, measured: &Measured, fine: &[i64]) -> Said {
    let set = &cx.session.traces;
    let shown = cx.calls().texts.get(worst.call.shown).to_string();
    let by = caller(cx, &worst.call);
    let by_text = if by.is_empty() { "an unnamed service" } else { &by };
    let (_, root) = endpoint(cx, worst.trace);
    let traces = super::in_traces(measured.ranked.len(), set.traces.len());
    let well = match fine.len() {
        0 => "none succeeds in these traces".to_string(),
        n => format!(
            "its {} take {} at the 99th percentile",
            if n == 1 { "1 success".to_string() } else { format!("{n} successes") },
            format_ns(quantile(fine, 0.99) as f64)
        ),
    };
    let subject = Subject { kind: "span-group", name: shown.clone(), service: by.clone(), path: vec![root], ..Subject::default() };
    let limits = "Replay of the requests in which the call ends at three times (at worst) or once (at best) the 99th percentile of its successes; with fewer than five of these, nothing to nine tenths of the call.";
    match kind {
        Kind::Shaped { limit, failed, sure } => Said {
            title: format!("{shown} fails after {} each time", format_ns(*limit as f64)),
            message: format!(
                "{} of {failed} failing calls of {shown} by {by_text} end after {}, as a time-out does; {well}; {traces}.",
                hits.len(),
                format_ns(*limit as f64)
            ),
            subject,
            confidence: *sure,
            model: limits.to_string(),
            evidence: vec![(format!("{} fails after {}.", named(cx, worst.span), format_ns(worst.ns as f64)), worst.span)],
            caveats: vec!["Calls that may rightly take long, such as reports, need a long limit.".to_string()],
            remedies: vec![
                "Set the limit from what the call takes when it is well (a little above its 99.9th percentile), below the caller's own deadline.".to_string(),
                format!("Find out why {} does not answer; until then a circuit breaker fails at once.", callee_text(callee(cx, &worst.call))),
            ],
            ..Said::default()
        },
        Kind::Unlimited { median, of } => Said {
            title: format!("{shown} may take {} without a limit", format_ns(worst.ns as f64)),
            message: format!(
                "{} of {of} successful calls of {shown} by {by_text} take up to {}, with a median of {}: no time-out ends them; {traces}.",
                hits.len(),
                format_ns(worst.ns as f64),
                format_ns(*median as f64)
            ),
            subject,
            confidence: Confidence::Likely,
            model: limits.to_string(),
            evidence: vec![(format!("{} takes {} and succeeds.", named(cx, worst.span), format_ns(worst.ns as f64)), worst.span)],
            caveats: vec!["Long polls, streams and batch jobs are open on purpose.".to_string()],
            remedies: vec!["Give the call a limit, and decide what the caller does when it is reached.".to_string()],
            ..Said::default()
        },
        Kind::Abandoned { inner } => {
            let total = hits.iter().fold(0_i64, |sum, h| sum.saturating_add(h.ns));
            let mut evidence = vec![(
                format!("{} works on for {} after its caller gave up.", named(cx, worst.span), format_ns(worst.ns as f64)),
                worst.span,
            )];
            if let Some(inner) = inner {
                evidence.push((format!("{} still waits then: its limit is longer than its caller's.", named(cx, *inner)), *inner));
            }
            Said {
                title: format!("{} works on after {shown} was given up", callee_text(callee(cx, &worst.call))),
                message: format!(
                    "{} failed calls of {shown} by {by_text} end before their callee does, which works on for {} in sum, up to {} each{}; {traces}.",
                    hits.len(),
                    format_ns(total as f64),
                    format_ns(worst.ns as f64),
                    if inner.is_some() { ", waiting for calls whose limits are longer" } else { "" }
                ),
                subject,
                confidence: Confidence::Likely,
                model: "The callee's time after its caller gave up, which no request waits for: nothing of it to all of it.".to_string(),
                evidence,
                caveats: vec!["Work that must be finished once begun is right to go on; the two hosts' clocks are taken to wander by less than a third of it.".to_string()],
                remedies: vec![
                    "Pass the deadline or the cancellation on (gRPC deadlines, context.Context, CancellationToken, AbortSignal) and stop when it is reached.".to_string(),
                    "Make limits shorter from the outside to the inside, retries included.".to_string(),
                ],
                most: 74.0,
                least: 40.0,
            }
        }
    }
}

fn callee_text(callee: &str) -> &str {
    if callee.is_empty() { "the callee" } else { callee }
}
