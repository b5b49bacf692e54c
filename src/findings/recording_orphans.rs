//! Incomplete traces: spans whose parent is not in the files, or whose parents run in a circle.

use super::doctor::{FAMILY, MOST, Symptom, over_spans, service_name, span_evidence, span_text};
use super::finding::{Rule, ShareOf, Threshold};
use super::{Context, Detector, Outcome};
use crate::base::ids::{ServiceId, SpanRow};
use crate::base::quantity::{format_count, format_share};
use crate::base::stats::{map_exp100, wilson};
use crate::model::trace::{SPAN_CYCLE, SPAN_ORPHAN};
use std::collections::BTreeMap;

/// The rule.
pub struct Orphans;

/// Its documentation.
pub const RULE: Rule = Rule {
    id: "recording-orphan-spans",
    name: "Incomplete traces",
    family: FAMILY,
    summary: "Parents of spans are missing, so that parts of traces stand alone.",
    remedies: &["Export whole traces, sample by trace and not by span, and pass the context on in every service."],
    thresholds: &[
        Threshold { name: "info-share", default: 0.01, doc: "share of spans without their parent that scores 25" },
        Threshold { name: "warning-share", default: 0.20, doc: "share that scores 75" },
    ],
    doc: include_str!("../../docs/rules/recording-orphan-spans.md"),
};

impl Detector for Orphans {
    fn rule(&self) -> &'static Rule {
        &RULE
    }

    fn detect(&self, cx: &Context<'_>) -> Outcome {
        let (info, warning) = (cx.threshold(&RULE, "info-share"), cx.threshold(&RULE, "warning-share"));
        let t = &cx.session.traces;
        over_spans(cx, &RULE, |_, rows| {
            let lost: Vec<SpanRow> = rows.iter().copied().filter(|s| t.spans.flags[s.index()] & (SPAN_ORPHAN | SPAN_CYCLE) != 0).collect();
            let share = wilson(lost.len() as f64, rows.len() as u64);
            let first = *lost.first()?;
            let mut services: BTreeMap<ServiceId, u64> = BTreeMap::new();
            for s in &lost {
                *services.entry(t.service(*s)).or_default() += 1;
            }
            let worst = services.iter().max_by_key(|(s, n)| (**n, std::cmp::Reverse(**s))).map_or(ServiceId::NONE, |(s, _)| *s);
            Some(Symptom {
                key: "orphans".to_string(),
                score: map_exp100(share.p, info, warning).min(MOST),
                title: format!("{} of the spans miss their parent", format_share(share.p)),
                message: format!(
                    "{} of {} spans name a parent that is not in the files (most often in {}): they stand as roots of their own, critical paths end there, and calls above them are not seen.",
                    format_count(lost.len() as f64),
                    format_count(rows.len() as f64),
                    service_name(cx, worst)
                ),
                share: Some(ShareOf::new(share, "spans")),
                count: lost.len() as u64,
                evidence: vec![span_evidence(cx, first, "its parent is not in the files.")],
                remedies: vec![
                    "Open the other files of the same traces together with this one.".to_string(),
                    "Export whole traces; sample at the root or at the tail, never span by span.".to_string(),
                ],
                exemplars: lost.iter().take(5).map(|s| span_text(cx, *s)).collect(),
                ..Symptom::default()
            })
        })
    }
}
