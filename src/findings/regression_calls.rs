//! Executions that make more calls than in the baseline, and call paths that appeared or vanished.

use super::compare_profiles::Change;
use super::compare_traces::{CallRow, EndpointRow};
use super::finding::{Confidence, Evidence, Finding, Impact, Occurrences, Rule, Severity, Subject, Threshold, fingerprint};
use super::regression_operation::{over, traces};
use super::{Context, Detector, Outcome};
use crate::base::stats::map_exp100;
use crate::base::view::{View, ViewRef};

/// The rule.
pub struct RegressionCalls;

/// Its documentation.
pub const RULE: Rule = Rule {
    id: "regression-calls",
    name: "More calls than before",
    family: "before and after",
    summary: "An operation makes certainly more calls per execution than in the baseline, or requests take paths that did not exist.",
    remedies: &["Find the change that added the calls; where they are one per item, fetch all items at once."],
    thresholds: &[
        Threshold { name: "info-calls", default: 1.0, doc: "additional calls per execution that score 25" },
        Threshold {
            name: "warning-calls",
            default: 5.0,
            doc: "additional calls per execution that score 75 (the count from which calls are an N+1)",
        },
    ],
    doc: include_str!("../../docs/rules/regression-calls.md"),
};

impl Detector for RegressionCalls {
    fn rule(&self) -> &'static Rule {
        &RULE
    }
    fn detect(&self, cx: &Context<'_>) -> Outcome {
        let t = match traces(cx) {
            Ok(t) => t,
            Err(outcome) => return outcome,
        };
        let more = t.calls.iter().filter(|r| r.change == Change::Regressed).filter_map(|r| more(cx, r));
        let paths = t.endpoints.iter().filter(|e| !e.one_sided.is_empty()).map(paths);
        let mut findings: Vec<Finding> = more.chain(paths).collect();
        findings.sort_by(|a, b| b.score.cmp(&a.score).then_with(|| a.fingerprint.cmp(&b.fingerprint)));
        Outcome::Checked { findings, over: over(t) }
    }
}

fn more(cx: &Context<'_>, r: &CallRow) -> Option<Finding> {
    let delta = r.mean(1) - r.mean(0);
    let score = map_exp100(delta, cx.threshold(&RULE, "info-calls"), cx.threshold(&RULE, "warning-calls"));
    let set = &cx.session.traces;
    let mut evidence = Vec::new();
    if let Some(span) = r.example.get().filter(|_| r.calls[1] > 0) {
        let trace = set.spans.trace[span.index()];
        evidence.push(Evidence {
            text: "One of the calls in the candidate.".to_string(),
            view: ViewRef {
                trace: Some(cx.session.strings.get(set.traces.id[trace.index()]).to_string()),
                span: Some(set.id_text(&cx.session.strings, set.spans.id[span.index()])),
                ..ViewRef::of(View::Traces)
            },
        });
    }
    evidence.push(Evidence { text: "Calls per execution of both sides.".to_string(), view: ViewRef::of(View::Compare) });
    Some(Finding {
        rule: RULE.id,
        fingerprint: fingerprint(RULE.id, &["calls", &r.service, &r.operation, &r.target]),
        severity: Severity::of_score(score)?,
        score: score.round() as u32,
        confidence: Confidence::Confirmed,
        title: format!("{} {} calls {} {:.1} times instead of {:.1}", r.service, r.operation, r.target, r.mean(1), r.mean(0)),
        message: format!(
            "{} calls in {} executions, {} in {} before: {delta:.1} more per execution, p = {:.2e}.",
            r.calls[1], r.executions[1], r.calls[0], r.executions[0], r.p
        ),
        subject: Subject {
            kind: "edge",
            name: r.target.clone(),
            service: r.service.clone(),
            path: vec![r.operation.clone()],
            ..Subject::default()
        },
        impact: Impact {
            amount: r.calls[1] as i64,
            unit: "calls".to_string(),
            recoverable_low: 0,
            recoverable_high: ((delta * r.executions[1] as f64) as i64).clamp(0, r.calls[1] as i64),
            model: "The executions of the candidate make as many calls as the baseline's did.".to_string(),
        },
        evidence,
        occurrences: Occurrences { count: r.calls[1], ..Occurrences::default() },
        remedies: RULE.remedies.iter().map(|r| (*r).to_string()).collect(),
        ..Finding::default()
    })
}

fn paths(e: &EndpointRow) -> Finding {
    let line = |(path, side, n): &(Vec<String>, usize, u64)| {
        format!("{} {} ({n} times)", if *side == 1 { "new:" } else { "vanished:" }, path.join(" → "))
    };
    let shown: Vec<String> = e.one_sided.iter().take(5).map(line).collect();
    let more = e.one_sided.len().saturating_sub(5);
    Finding {
        rule: RULE.id,
        fingerprint: fingerprint(RULE.id, &["paths", &e.service, &e.operation]),
        severity: Severity::Info,
        score: 25,
        confidence: Confidence::Confirmed,
        title: format!("Requests of {} {} take other paths than before", e.service, e.operation),
        message: format!("{}{}.", shown.join("; "), if more > 0 { format!("; and {more} more") } else { String::new() }),
        subject: Subject { kind: "operation", name: e.operation.clone(), service: e.service.clone(), ..Subject::default() },
        impact: Impact { model: "Another path is a change, not yet a cost.".to_string(), ..Impact::default() },
        evidence: vec![Evidence { text: "Operations and calls of both sides.".to_string(), view: ViewRef::of(View::Compare) }],
        occurrences: Occurrences { count: e.requests[1], ..Occurrences::default() },
        remedies: Vec::new(),
        ..Finding::default()
    }
}
