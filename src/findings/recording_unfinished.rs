//! Spans without an end or without a length: durations that nobody measured.

use super::doctor::{FAMILY, MOST_INFO, Symptom, over_spans, span_evidence, span_text};
use super::finding::{Rule, ShareOf, Threshold};
use super::{Context, Detector, Outcome};
use crate::base::ids::SpanRow;
use crate::base::quantity::{format_count, format_share};
use crate::base::stats::{map_exp100, wilson};
use crate::model::trace::{SPAN_NO_DURATION, SPAN_UNFINISHED};

/// The rule.
pub struct Unfinished;

/// Its documentation.
pub const RULE: Rule = Rule {
    id: "recording-unfinished-spans",
    name: "Spans without a length",
    family: FAMILY,
    summary: "Spans have no end, no duration, or one of zero.",
    remedies: &["End every span, also on errors, and export with the clock's full resolution."],
    thresholds: &[
        Threshold { name: "info-share", default: 0.01, doc: "share of spans without a length that scores 25" },
        Threshold { name: "warning-share", default: 0.20, doc: "share that would score 75; the rule stays at info" },
    ],
    doc: include_str!("../../docs/rules/recording-unfinished-spans.md"),
};

impl Detector for Unfinished {
    fn rule(&self) -> &'static Rule {
        &RULE
    }

    fn detect(&self, cx: &Context<'_>) -> Outcome {
        let (info, warning) = (cx.threshold(&RULE, "info-share"), cx.threshold(&RULE, "warning-share"));
        let spans = &cx.session.traces.spans;
        over_spans(cx, &RULE, |_, rows| {
            let open = |s: &SpanRow| spans.flags[s.index()] & (SPAN_UNFINISHED | SPAN_NO_DURATION) != 0;
            let bad: Vec<SpanRow> = rows.iter().copied().filter(|s| open(s) || spans.duration_ns[s.index()] == 0).collect();
            let first = *bad.first()?;
            let unfinished = bad.iter().filter(|s| open(s)).count();
            let share = wilson(bad.len() as f64, rows.len() as u64);
            Some(Symptom {
                key: "length".to_string(),
                score: map_exp100(share.p, info, warning).min(MOST_INFO),
                title: format!("{} of the spans have no length", format_share(share.p)),
                message: format!(
                    "{} of {} spans have no end ({}) or a length of zero ({}): they cost nothing in every sum and never lie on a critical path.",
                    format_count(bad.len() as f64),
                    format_count(rows.len() as f64),
                    format_count(unfinished as f64),
                    format_count((bad.len() - unfinished) as f64)
                ),
                share: Some(ShareOf::new(share, "spans")),
                count: bad.len() as u64,
                evidence: vec![span_evidence(cx, first, if open(&first) { "it has no end." } else { "its length is zero." })],
                remedies: vec![
                    "End spans in every way out of a function; flush exporters before a process ends; check the unit of durations."
                        .to_string(),
                ],
                caveats: vec!["Spans that mark a moment are meant to have no length.".to_string()],
                exemplars: bad.iter().take(5).map(|s| span_text(cx, *s)).collect(),
            })
        })
    }
}
