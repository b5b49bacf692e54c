//! Operations that became slower or fail more often than in the baseline.

use super::compare_profiles::{Change, share};
use super::compare_traces::{EndpointRow, OperationRow, TraceComparison};
use super::finding::{Confidence, Evidence, Finding, Impact, Occurrences, Rule, Severity, ShareOf, Subject, Threshold, fingerprint};
use super::{Context, Detector, Outcome, counted};
use crate::base::quantity::{format_ns, format_share};
use crate::base::stats::{map_exp100, wilson};
use crate::base::view::{View, ViewRef};

/// The rule.
pub struct RegressionOperation;

/// Its documentation.
pub const RULE: Rule = Rule {
    id: "regression-operation",
    name: "Operation regressed",
    family: "before and after",
    summary: "An operation takes certainly longer, or fails certainly more often, than in the baseline.",
    remedies: &["Look at what changed on the path that explains the rise; operations below it that did not change are not the cause."],
    thresholds: &[
        Threshold {
            name: "info-relative",
            default: 0.1,
            doc: "rise of the median, or of the 95th percentile, relative to the baseline, that scores 25",
        },
        Threshold { name: "warning-relative", default: 0.5, doc: "relative rise that scores 75" },
        Threshold { name: "info-error-points", default: 0.5, doc: "rise of the error rate in percentage points that scores 25" },
        Threshold { name: "warning-error-points", default: 5.0, doc: "rise of the error rate in percentage points that scores 75" },
    ],
    doc: include_str!("../../docs/rules/regression-operation.md"),
};

/// What a rule on traces needs of a comparison, or why it cannot look.
pub(super) fn traces<'c>(cx: &'c Context<'_>) -> Result<&'c TraceComparison, Outcome> {
    let comparison = cx.comparison().ok_or_else(|| Outcome::NotChecked("because there is no baseline to compare with".to_string()))?;
    comparison.traces.as_ref().ok_or_else(|| Outcome::NotChecked("because baseline and candidate do not both have traces".to_string()))
}

/// Over how much a rule on traces looked.
pub(super) fn over(t: &TraceComparison) -> String {
    let requests: [u64; 2] = [0, 1].map(|s| t.endpoints.iter().map(|e| e.requests[s]).sum());
    format!("{} of {} operations, {} and {} requests", counted(t.tested, "test"), t.operations.len(), requests[0], requests[1])
}

impl Detector for RegressionOperation {
    fn rule(&self) -> &'static Rule {
        &RULE
    }
    fn detect(&self, cx: &Context<'_>) -> Outcome {
        let t = match traces(cx) {
            Ok(t) => t,
            Err(outcome) => return outcome,
        };
        let slower = t.operations.iter().filter(|r| r.duration_change == Change::Regressed).filter_map(|r| slow(cx, t, r));
        let failing = t.operations.iter().filter(|r| r.error_change == Change::Regressed).filter_map(|r| fails(cx, t, r));
        let mut findings: Vec<Finding> = slower.chain(failing).collect();
        findings.sort_by(|a, b| b.score.cmp(&a.score).then_with(|| a.fingerprint.cmp(&b.fingerprint)));
        Outcome::Checked { findings, over: over(t) }
    }
}

fn endpoint<'t>(t: &'t TraceComparison, r: &OperationRow) -> Option<&'t EndpointRow> {
    t.endpoints.iter().find(|e| e.service == r.service && e.operation == r.operation)
}

/// An operation is called slower where its own time, not that of what it waits for, is to blame: the callee is told instead.
fn blamed_on_callee(t: &TraceComparison, r: &OperationRow) -> Option<String> {
    let e = endpoint(t, r)?;
    let last = e.explained_by.last()?;
    (e.explained_by.len() > 1).then(|| last.clone())
}

fn evidence(cx: &Context<'_>, r: &OperationRow) -> Vec<Evidence> {
    let set = &cx.session.traces;
    let mut out = vec![Evidence {
        text: "All executions of it in the candidate: durations, errors, callers.".to_string(),
        view: ViewRef { service: Some(r.service.clone()), operation: Some(r.operation.clone()), ..ViewRef::of(View::Services) },
    }];
    if let Some(span) = r.worst.get() {
        let trace = set.spans.trace[span.index()];
        out.push(Evidence {
            text: format!("The slowest of them, {}.", format_ns(set.spans.duration_ns[span.index()] as f64)),
            view: ViewRef {
                trace: Some(cx.session.strings.get(set.traces.id[trace.index()]).to_string()),
                span: Some(set.id_text(&cx.session.strings, set.spans.id[span.index()])),
                ..ViewRef::of(View::Traces)
            },
        });
    }
    out.push(Evidence { text: "All operations of both sides.".to_string(), view: ViewRef::of(View::Compare) });
    out
}

fn base(r: &OperationRow, score: f64, what: &str, cx: &Context<'_>, t: &TraceComparison) -> Option<Finding> {
    Some(Finding {
        rule: RULE.id,
        fingerprint: fingerprint(RULE.id, &[what, &r.service, &r.operation]),
        severity: Severity::of_score(score)?,
        score: score.round() as u32,
        confidence: Confidence::Confirmed,
        subject: Subject { kind: "operation", name: r.operation.clone(), service: r.service.clone(), ..Subject::default() },
        evidence: evidence(cx, r),
        occurrences: Occurrences { count: r.count[1], ..Occurrences::default() },
        caveats: t.warnings.clone(),
        remedies: RULE.remedies.iter().map(|r| (*r).to_string()).collect(),
        ..Finding::default()
    })
}

fn slow(cx: &Context<'_>, t: &TraceComparison, r: &OperationRow) -> Option<Finding> {
    let relative = |v: [i64; 2]| if v[0] > 0 { v[1] as f64 / v[0] as f64 - 1.0 } else { 1.0 };
    let (word, v) = if relative(r.p50_ns) >= relative(r.p95_ns) { ("median", r.p50_ns) } else { ("95th percentile", r.p95_ns) };
    let score = map_exp100(relative(v), cx.threshold(&RULE, "info-relative"), cx.threshold(&RULE, "warning-relative"));
    // A small part of a request is a note, however large its relative change.
    let longest = t.endpoints.iter().map(|e| e.mean_ns[1]).fold(0.0, f64::max);
    let part = if longest > 0.0 { (r.mean_ns[1] - r.mean_ns[0]) / longest } else { 1.0 };
    let score = if part < 0.01 { score.min(30.0) } else { score };
    let mut f = base(r, score, "duration", cx, t)?;
    let difference = r.mean_ns[1] - r.mean_ns[0];
    f.title = format!("{} {} is slower: {word} {} instead of {}", r.service, r.operation, format_ns(v[1] as f64), format_ns(v[0] as f64));
    f.message = format!(
        "Median {} (was {}), 95th percentile {} (was {}), over {} executions (were {}); mean {} more (95 %: {} to {}); rank-sum p = {:.2e}.",
        format_ns(r.p50_ns[1] as f64),
        format_ns(r.p50_ns[0] as f64),
        format_ns(r.p95_ns[1] as f64),
        format_ns(r.p95_ns[0] as f64),
        r.count[1],
        r.count[0],
        format_ns(difference),
        format_ns(difference - r.mean_half_ns),
        format_ns(difference + r.mean_half_ns),
        r.p_duration
    );
    if let Some(e) = endpoint(t, r).filter(|e| !e.explained_by.is_empty()) {
        f.subject.path = e.explained_by.clone();
        f.message.push_str(&format!(
            " {} of the change of the mean lie on the critical path of {}.",
            format_ns(e.explained_ns),
            e.explained_by.join(" → ")
        ));
    }
    if let Some(callee) = blamed_on_callee(t, r) {
        f.caveats.push(format!("The time is spent in {callee}, not in the operation itself."));
    }
    let times = r.count[1] as f64;
    let sum = r.mean_ns[1] * times;
    let bound = |d: f64| (d.max(0.0) * times).min(sum) as i64;
    f.impact = Impact {
        amount: sum as i64,
        unit: "nanoseconds".to_string(),
        recoverable_low: bound(difference - r.mean_half_ns),
        recoverable_high: bound(difference + r.mean_half_ns),
        model: "The mean goes back to the baseline's, within the 95 % interval of the difference, for every execution of the candidate."
            .to_string(),
    };
    Some(f)
}

fn fails(cx: &Context<'_>, t: &TraceComparison, r: &OperationRow) -> Option<Finding> {
    let rate = [0, 1].map(|s| share(r.errors[s] as i64, r.count[s] as i64));
    let points = (rate[1] - rate[0]) * 100.0;
    let score = map_exp100(points, cx.threshold(&RULE, "info-error-points"), cx.threshold(&RULE, "warning-error-points"));
    let mut f = base(r, score, "errors", cx, t)?;
    f.title = format!("{} {} fails more often: {} instead of {}", r.service, r.operation, format_share(rate[1]), format_share(rate[0]));
    f.message = format!(
        "{} of {} executions failed, {} of {} before: {points:.1} percentage points more, p = {:.2e}.",
        r.errors[1], r.count[1], r.errors[0], r.count[0], r.p_errors
    );
    f.share = Some(ShareOf::new(wilson(r.errors[1] as f64, r.count[1]), "executions"));
    f.impact = Impact {
        amount: r.errors[1] as i64,
        unit: "errors".to_string(),
        model: "Errors have no time to save.".to_string(),
        ..Impact::default()
    };
    Some(f)
}
