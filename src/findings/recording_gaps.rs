//! Gaps of sampling: calls whose callee is recorded in some traces and missing in others.

use super::doctor::{FAMILY, MOST_INFO, Symptom, over_spans, service_name, span_evidence, span_text};
use super::finding::{Rule, ShareOf, Threshold};
use super::{Context, Detector, Outcome};
use crate::base::ids::{OperationId, ServiceId, SpanRow};
use crate::base::quantity::{format_count, format_share};
use crate::base::stats::{map_exp100, wilson};
use crate::model::trace::SpanKind;
use std::collections::BTreeMap;

/// The rule.
pub struct Gaps;

/// Its documentation.
pub const RULE: Rule = Rule {
    id: "recording-sampling-gaps",
    name: "Sampling gaps",
    family: FAMILY,
    summary: "The same call has its callee's span in some traces and not in others: parts were not sampled.",
    remedies: &["Let every service follow the caller's sampling decision."],
    thresholds: &[
        Threshold { name: "info-share", default: 0.05, doc: "share of a call's executions without the callee that scores 25" },
        Threshold { name: "warning-share", default: 0.60, doc: "share that would score 75; the rule stays at info" },
        Threshold { name: "min-calls", default: 10.0, doc: "executions of a call below which it is not judged" },
    ],
    doc: include_str!("../../docs/rules/recording-sampling-gaps.md"),
};

#[derive(Default)]
struct Op {
    calls: u64,
    answered: u64,
    callee: ServiceId,
    missing: Vec<SpanRow>,
}

impl Detector for Gaps {
    fn rule(&self) -> &'static Rule {
        &RULE
    }

    fn detect(&self, cx: &Context<'_>) -> Outcome {
        let (info, warning) = (cx.threshold(&RULE, "info-share"), cx.threshold(&RULE, "warning-share"));
        let least = cx.threshold(&RULE, "min-calls").max(1.0) as u64;
        let t = &cx.session.traces;
        over_spans(cx, &RULE, |_, rows| {
            let mut ops: BTreeMap<OperationId, Op> = BTreeMap::new();
            for &span in rows.iter().filter(|s| t.kind(**s) == SpanKind::Client) {
                let op = ops.entry(t.spans.operation[span.index()]).or_default();
                op.calls += 1;
                let callee = t.children(span).iter().find(|c| t.service(**c) != t.service(span));
                match callee {
                    Some(callee) => {
                        op.answered += 1;
                        op.callee = t.service(*callee);
                    }
                    None => op.missing.push(span),
                }
            }
            // Calls that never have a callee go to something that is not traced at all: a database, a partner.
            let judged = ops.into_iter().filter(|(_, op)| op.calls >= least && op.answered > 0 && !op.missing.is_empty());
            let (_, op) = judged.max_by_key(|(id, op)| (op.missing.len(), std::cmp::Reverse(*id)))?;
            let share = wilson(op.missing.len() as f64, op.calls);
            let first = op.missing[0];
            let callee = service_name(cx, op.callee);
            Some(Symptom {
                key: format!("{} {callee}", t.name(&cx.session.strings, first)),
                score: map_exp100(share.p, info, warning).min(MOST_INFO),
                title: format!("{} of the calls to {callee} have no callee", format_share(share.p)),
                message: format!(
                    "{} of {} calls “{}” have no span of {callee}, the others have: those executions were not sampled or not exported, and what {callee} did in them is missing from its numbers.",
                    format_count(op.missing.len() as f64),
                    format_count(op.calls as f64),
                    t.name(&cx.session.strings, first)
                ),
                share: Some(ShareOf::new(share, "calls")),
                count: op.missing.len() as u64,
                evidence: vec![span_evidence(cx, first, &format!("no span of {callee} below it."))],
                remedies: vec![format!(
                    "Let {callee} follow the caller's decision (parent-based sampler), and check that its exporter loses nothing."
                )],
                caveats: vec!["Calls that failed before they arrived have no callee either.".to_string()],
                exemplars: op.missing.iter().take(5).map(|s| span_text(cx, *s)).collect(),
            })
        })
    }
}
