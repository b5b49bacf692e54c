//! Targets of operations from `hotspan.toml`: which are broken, by how many executions, and which traces break them.

use super::executions::{occurrences, service_view, trace_view};
use super::finding::{Confidence, Evidence, Finding, Impact, Rule, Severity, ShareOf, Subject, Threshold, fingerprint};
use super::settings::Target;
use super::{Context, Detector, Outcome, counted};
use crate::analysis::normalize;
use crate::base::ids::SpanRow;
use crate::base::quantity::{format_ns, format_share};
use crate::base::stats::{nearest_rank, wilson};
use crate::model::trace::SPAN_ERROR;
use std::collections::BTreeMap;

/// The rule.
pub struct SloBudget;

/// Its documentation.
pub const RULE: Rule = Rule {
    id: "slo-budget",
    name: "Target broken",
    family: "latency",
    summary: "An operation is slower or fails more often than the targets of hotspan.toml allow.",
    remedies: &["Begin with the executions that break the target; the other findings on their traces say why they are slow."],
    thresholds: &[Threshold {
        name: "critical_burn",
        default: 5.0,
        doc: "How many times the allowed executions are over the limit when it is critical; the page-worthy burn rates of Google's SRE workbook begin at 6 over six hours.",
    }],
    doc: include_str!("../../docs/rules/slo-budget.md"),
};

/// One limit of a target.
struct Limit {
    /// `p95`, `error rate`.
    name: &'static str,
    /// Share of executions that may be over it.
    allowed: f64,
    /// Longest duration, nanoseconds; `None` for errors.
    ns: Option<i64>,
}

fn limits(t: &Target) -> Vec<Limit> {
    let time = |name, allowed, ns: Option<i64>| ns.map(|ns| Limit { name, allowed, ns: Some(ns) });
    let errors = t.error_rate.map(|allowed| Limit { name: "error rate", allowed, ns: None });
    [time("p50", 0.5, t.p50_ns), time("p95", 0.05, t.p95_ns), time("p99", 0.01, t.p99_ns), errors].into_iter().flatten().collect()
}

/// Executions of an operation in order of duration, under the names of the Services view and with ids normalised.
struct Operation {
    service: String,
    name: String,
    normal: String,
    spans: Vec<SpanRow>,
}

fn operations(cx: &Context<'_>) -> Vec<Operation> {
    let (set, strings) = (&cx.session.traces, &cx.session.strings);
    let mut by_name: BTreeMap<(&str, &str), Vec<SpanRow>> = BTreeMap::new();
    for span in (0..set.spans.len()).map(SpanRow::from_index) {
        by_name.entry((set.service_name(strings, span), set.name(strings, span))).or_default().push(span);
    }
    by_name
        .into_iter()
        .map(|((service, name), mut spans)| {
            spans.sort_by_key(|s| (set.spans.duration_ns[s.index()], *s));
            Operation { service: service.to_string(), name: name.to_string(), normal: normalize::name(name).text, spans }
        })
        .collect()
}

impl Detector for SloBudget {
    fn rule(&self) -> &'static Rule {
        &RULE
    }
    fn detect(&self, cx: &Context<'_>) -> Outcome {
        let targets = &cx.settings.targets;
        if cx.session.traces.spans.is_empty() {
            return Outcome::NotChecked("no trace is open".to_string());
        }
        if targets.is_empty() {
            return Outcome::NotChecked("no targets are set in hotspan.toml".to_string());
        }
        let operations = operations(cx);
        let (mut findings, mut checked, mut unmatched) = (Vec::new(), 0, Vec::new());
        for target in targets {
            let fits = |o: &&Operation| {
                (target.service.is_empty() || target.service == o.service)
                    && (target.operation.is_empty() || target.operation == o.name || target.operation == o.normal)
            };
            let mut any = false;
            for operation in operations.iter().filter(fits) {
                any = true;
                for limit in limits(target) {
                    checked += operation.spans.len();
                    findings.extend(judge(cx, operation, &limit));
                }
            }
            if !any {
                unmatched.push(format!("{} {}", target.service, target.operation).trim().to_string());
            }
        }
        // Two targets may name one operation; the stricter of equal limits is the one that is broken more.
        findings = super::chatty_n_plus_one::sorted(findings);
        let mut seen = std::collections::BTreeSet::new();
        findings.retain(|f| seen.insert(f.fingerprint.clone()));
        let mut over = format!("{} and {checked} executions", counted(targets.len(), "target"));
        if !unmatched.is_empty() {
            if unmatched.len() == targets.len() {
                return Outcome::NotChecked(format!("no operation of these files has a target: {}", unmatched.join(", ")));
            }
            over.push_str(&format!("; no operation is named {}", unmatched.join(", ")));
        }
        Outcome::Checked { findings, over }
    }
}

fn judge(cx: &Context<'_>, o: &Operation, limit: &Limit) -> Option<Finding> {
    let set = &cx.session.traces;
    let duration = |s: &SpanRow| set.spans.duration_ns[s.index()];
    let breaks = |s: &&SpanRow| limit.ns.map_or(set.spans.has(**s, SPAN_ERROR), |ns| duration(s) > ns);
    // The longest first.
    let over: Vec<SpanRow> = o.spans.iter().rev().filter(breaks).copied().collect();
    let n = o.spans.len() as u64;
    let durations: Vec<i64> = o.spans.iter().map(duration).collect();
    let broken = match limit.ns {
        Some(ns) => nearest_rank(&durations, 1.0 - limit.allowed) > ns,
        None => over.len() as f64 > limit.allowed * n as f64,
    };
    let worst = *over.first().filter(|_| broken)?;
    let share = wilson(over.len() as f64, n);
    let sure = share.low > limit.allowed;
    let burn = share.p / limit.allowed.max(1e-9);
    let score = match (sure, burn >= cx.threshold(&RULE, "critical_burn")) {
        (true, true) => 90.0 + (burn.log10() * 5.0).clamp(0.0, 10.0),
        (true, false) => 75.0 + burn.min(14.0),
        (false, _) => 50.0 + burn.min(20.0),
    };
    let allowed = (limit.allowed * n as f64).floor() as u64;
    let reached = |q: f64| format_ns(nearest_rank(&durations, q) as f64);
    let (title, message) = match limit.ns {
        Some(ns) => (
            format!("{} {}: {} is {}, target {}", o.service, o.name, limit.name, reached(1.0 - limit.allowed), format_ns(ns as f64)),
            format!(
                "{} of {n} executions take longer than {} ({}; 95 %: {} to {}), {allowed} may; p50 {}, p95 {}, p99 {}.",
                over.len(),
                format_ns(ns as f64),
                format_share(share.p),
                format_share(share.low),
                format_share(share.high),
                reached(0.5),
                reached(0.95),
                reached(0.99)
            ),
        ),
        None => (
            format!("{} {}: {} fail, target {}", o.service, o.name, format_share(share.p), format_share(limit.allowed)),
            format!(
                "{} of {n} executions failed ({}; 95 %: {} to {}), {allowed} may.",
                over.len(),
                format_share(share.p),
                format_share(share.low),
                format_share(share.high)
            ),
        ),
    };
    // To keep the target the executions nearest to the limit must get below it; at most all of them do.
    let excess = |list: &mut dyn Iterator<Item = &SpanRow>| {
        list.map(|s| duration(s) - limit.ns.unwrap_or(i64::MAX)).fold(0_i64, i64::saturating_add)
    };
    let must = over.len().saturating_sub(allowed as usize);
    let impact = match limit.ns {
        Some(_) => Impact {
            amount: over.iter().map(duration).fold(0, i64::saturating_add),
            unit: "nanoseconds".to_string(),
            recoverable_low: excess(&mut over.iter().rev().take(must)),
            recoverable_high: excess(&mut over.iter()),
            model: "Executions over the limit take just the limit: as few of them as the target demands, the nearest first, or all."
                .to_string(),
        },
        None => Impact {
            amount: over.len() as i64,
            unit: "errors".to_string(),
            model: "Errors have no time to save.".to_string(),
            ..Impact::default()
        },
    };
    let mut caveats = Vec::new();
    if !sure {
        caveats.push(format!("With {n} executions the share over the limit may still be within the target."));
    }
    caveats.push("Sampled traces show shares of the sample: a tracer that keeps slow and failed requests breaks every target.".to_string());
    Some(Finding {
        rule: RULE.id,
        fingerprint: fingerprint(RULE.id, &[&o.service, &o.name, limit.name]),
        severity: Severity::of_score(score).unwrap_or(Severity::Info),
        score: score.min(100.0).round() as u32,
        confidence: if sure { Confidence::Confirmed } else { Confidence::Likely },
        title,
        message,
        subject: Subject { kind: "operation", name: o.name.clone(), service: o.service.clone(), ..Subject::default() },
        share: Some(ShareOf::new(share, "executions")),
        impact,
        evidence: vec![
            Evidence { text: "The execution that breaks it most.".to_string(), view: trace_view(cx, worst) },
            Evidence { text: "All executions: durations, errors.".to_string(), view: service_view(cx, worst) },
        ],
        occurrences: occurrences(cx, &over, set.traces.len()),
        caveats,
        remedies: RULE.remedies.iter().map(|r| (*r).to_string()).collect(),
        ..Finding::default()
    })
}
