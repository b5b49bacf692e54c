//! Endpoints by time and by errors, judged by limits that hold without any target.

use super::executions::{occurrences, service_view, trace_view};
use super::finding::{Confidence, Evidence, Finding, Impact, Rule, Severity, ShareOf, Subject, Threshold, fingerprint};
use super::{Context, Detector, Outcome, counted};
use crate::base::ids::SpanRow;
use crate::base::quantity::{format_ns, format_share};
use crate::base::stats::{map_exp100, nearest_rank, wilson};
use crate::model::trace::SPAN_ERROR;

/// The rule.
pub struct SlowEndpoint;

/// Its documentation.
pub const RULE: Rule = Rule {
    id: "slow-endpoint",
    name: "Slow or failing endpoint",
    family: "latency",
    summary: "Requests of an endpoint take longer than people wait, or fail often.",
    remedies: &["Look at the critical path of its requests; the findings below the endpoint say what makes it long."],
    thresholds: &[
        Threshold {
            name: "info_ms",
            default: 1000.0,
            doc: "Milliseconds at the 95th percentile that score 25: the limit of an uninterrupted flow of thought (Nielsen 1993).",
        },
        Threshold {
            name: "warning_ms",
            default: 3000.0,
            doc: "Milliseconds at the 95th percentile that score 75; Grafana Sift calls a trace slow at 3 s.",
        },
        Threshold {
            name: "info_errors",
            default: 0.01,
            doc: "Share of failed requests, at the lower end of its interval, that scores 25.",
        },
        Threshold {
            name: "warning_errors",
            default: 0.05,
            doc: "Share of failed requests, at the lower end of its interval, that scores 75.",
        },
        Threshold { name: "min_requests", default: 5.0, doc: "Requests of an endpoint below which it is not judged." },
    ],
    doc: include_str!("../../docs/rules/slow-endpoint.md"),
};

impl Detector for SlowEndpoint {
    fn rule(&self) -> &'static Rule {
        &RULE
    }
    fn detect(&self, cx: &Context<'_>) -> Outcome {
        let set = &cx.session.traces;
        if set.spans.is_empty() {
            return Outcome::NotChecked("no trace is open".to_string());
        }
        let endpoints = &cx.path_times().endpoints;
        let least = cx.threshold(&RULE, "min_requests") as usize;
        let judged: Vec<_> = endpoints.iter().filter(|e| e.traces.len() >= least).collect();
        if judged.is_empty() {
            return Outcome::NotChecked(format!("no endpoint has {least} requests"));
        }
        let mut findings = Vec::new();
        for endpoint in &judged {
            let roots = endpoint.traces.iter().filter_map(|t| set.traces.root[t.index()].get());
            let mut roots: Vec<SpanRow> = roots.collect();
            roots.sort_by_key(|s| (set.spans.duration_ns[s.index()], *s));
            let place = (endpoint.service.as_str(), endpoint.operation.as_str());
            findings.extend(slow(cx, place, &roots));
            findings.extend(failing(cx, place, &roots));
        }
        let requests: usize = judged.iter().map(|e| e.traces.len()).sum();
        let over = format!("{requests} requests of {}", counted(judged.len(), "endpoint"));
        Outcome::Checked { findings: super::chatty_n_plus_one::sorted(findings), over }
    }
}

/// Requests in order of duration.
fn slow(cx: &Context<'_>, (service, operation): (&str, &str), roots: &[SpanRow]) -> Option<Finding> {
    let set = &cx.session.traces;
    let durations: Vec<i64> = roots.iter().map(|s| set.spans.duration_ns[s.index()]).collect();
    let [p50, p95, p99] = [0.5, 0.95, 0.99].map(|q| nearest_rank(&durations, q));
    let score = map_exp100(p95 as f64 / 1e6, cx.threshold(&RULE, "info_ms"), cx.threshold(&RULE, "warning_ms"));
    let severity = Severity::of_score(score)?;
    let limit = (cx.threshold(&RULE, "info_ms") * 1e6) as i64;
    let mut over: Vec<SpanRow> = roots.iter().copied().filter(|s| set.spans.duration_ns[s.index()] > limit).collect();
    over.reverse();
    let sum = durations.iter().fold(0_i64, |sum, d| sum.saturating_add(*d));
    let n = roots.len() as u64;
    Some(Finding {
        rule: RULE.id,
        fingerprint: fingerprint(RULE.id, &[service, operation, "duration"]),
        severity,
        score: score.round() as u32,
        confidence: if n >= 30 { Confidence::Confirmed } else { Confidence::Likely },
        title: format!("{service} {operation} is slow: 95th percentile {}", format_ns(p95 as f64)),
        message: format!(
            "{} of {n} requests take longer than {}; median {}, 95th percentile {}, 99th {}.",
            over.len(),
            format_ns(limit as f64),
            format_ns(p50 as f64),
            format_ns(p95 as f64),
            format_ns(p99 as f64)
        ),
        subject: Subject { kind: "operation", name: operation.to_string(), service: service.to_string(), ..Subject::default() },
        share: Some(ShareOf::new(wilson(over.len() as f64, n), "requests")),
        impact: Impact {
            amount: sum,
            unit: "nanoseconds".to_string(),
            model: "The endpoint as a whole has no single remedy; the findings on its calls state what each would save.".to_string(),
            ..Impact::default()
        },
        evidence: vec![
            Evidence { text: "The slowest request.".to_string(), view: trace_view(cx, *roots.last()?) },
            Evidence {
                text: "All its requests: durations, errors, time on the critical path.".to_string(),
                view: service_view(cx, roots[0]),
            },
        ],
        occurrences: occurrences(cx, &over, roots.len()),
        caveats: vec!["Long polling, streams and batch jobs are long on purpose.".to_string()],
        remedies: RULE.remedies.iter().map(|r| (*r).to_string()).collect(),
        ..Finding::default()
    })
}

fn failing(cx: &Context<'_>, (service, operation): (&str, &str), roots: &[SpanRow]) -> Option<Finding> {
    let set = &cx.session.traces;
    let mut failed: Vec<SpanRow> = roots.iter().copied().filter(|s| set.spans.has(*s, SPAN_ERROR)).collect();
    failed.reverse();
    let n = roots.len() as u64;
    let share = wilson(failed.len() as f64, n);
    let score = map_exp100(share.low, cx.threshold(&RULE, "info_errors"), cx.threshold(&RULE, "warning_errors"));
    let severity = Severity::of_score(score)?;
    let worst = *failed.first()?;
    Some(Finding {
        rule: RULE.id,
        fingerprint: fingerprint(RULE.id, &[service, operation, "errors"]),
        severity,
        score: score.round() as u32,
        confidence: Confidence::Confirmed,
        title: format!("{service} {operation} fails: {} of its requests", format_share(share.p)),
        message: format!("{} of {n} requests failed (95 %: {} to {}).", failed.len(), format_share(share.low), format_share(share.high)),
        subject: Subject { kind: "operation", name: operation.to_string(), service: service.to_string(), ..Subject::default() },
        share: Some(ShareOf::new(share, "requests")),
        impact: Impact {
            amount: failed.len() as i64,
            unit: "errors".to_string(),
            model: "Errors have no time to save.".to_string(),
            ..Impact::default()
        },
        evidence: vec![
            Evidence { text: "The longest of the failed requests.".to_string(), view: trace_view(cx, worst) },
            Evidence { text: "All its requests: durations, errors.".to_string(), view: service_view(cx, worst) },
        ],
        occurrences: occurrences(cx, &failed, roots.len()),
        caveats: vec!["A tracer that keeps all failed requests and few others makes errors look frequent.".to_string()],
        remedies: vec!["Follow a failed request to the span that failed first.".to_string()],
        ..Finding::default()
    })
}
