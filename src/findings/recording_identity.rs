//! Spans that do not say what they are: no service, no kind, calls of which nothing but a name is known.

use super::calls::Category;
use super::doctor::{FAMILY, MOST_INFO, Symptom, over_spans, span_evidence};
use super::finding::{Rule, ShareOf, Threshold};
use super::{Context, Detector, Outcome};
use crate::base::ids::{SpanRow, TraceRow};
use crate::base::quantity::{format_count, format_share};
use crate::base::stats::{map_exp100, wilson};
use crate::model::trace::SpanKind;

/// The rule.
pub struct Identity;

/// Its documentation.
pub const RULE: Rule = Rule {
    id: "recording-unusable-spans",
    name: "Spans that do not say what they are",
    family: FAMILY,
    summary: "Spans lack service or kind, or calls lack the statement, URL or method that rules compare.",
    remedies: &["Set service.name, the span kind, and db.query.text, url.full or rpc.method on calls."],
    thresholds: &[
        Threshold { name: "info-share", default: 0.20, doc: "share of spans or calls that lack something that scores 25" },
        Threshold { name: "warning-share", default: 1.0, doc: "share that would score 75; the rule stays at info" },
        Threshold { name: "min-spans", default: 20.0, doc: "spans or calls below which it is not judged; perf-sentinel, TRACES 3.5" },
    ],
    doc: include_str!("../../docs/rules/recording-unusable-spans.md"),
};

impl Detector for Identity {
    fn rule(&self) -> &'static Rule {
        &RULE
    }

    fn detect(&self, cx: &Context<'_>) -> Outcome {
        let (info, warning) = (cx.threshold(&RULE, "info-share"), cx.threshold(&RULE, "warning-share"));
        let least = cx.threshold(&RULE, "min-spans").max(1.0) as u64;
        let t = &cx.session.traces;
        let calls = cx.calls();
        let outcome = over_spans(cx, &RULE, |source, rows| {
            let mut calls_of = 0_u64;
            let (mut nameless, mut kindless, mut unusable): (Vec<SpanRow>, Vec<SpanRow>, Vec<SpanRow>) = Default::default();
            for &span in rows {
                if t.service(span).is_none() {
                    nameless.push(span);
                }
                if t.kind(span) == SpanKind::Unspecified {
                    kindless.push(span);
                }
            }
            for call in
                (0..t.traces.len()).flat_map(|i| calls.of(TraceRow::from_index(i))).filter(|c| t.spans.source[c.span.index()] == source)
            {
                calls_of += 1;
                if call.category == Category::Service {
                    unusable.push(call.span);
                }
            }
            let n = rows.len() as u64;
            let parts = [
                (&nameless, n, "spans have no service", "it names no service."),
                (&kindless, n, "spans have no kind", "it does not say whether it calls or serves."),
                (&unusable, calls_of, "calls say nothing but a name", "neither statement nor URL nor method is in the data."),
            ];
            let judged = parts.iter().filter(|(list, of, _, _)| *of >= least && !list.is_empty());
            let share = |list: &[SpanRow], of: u64| list.len() as f64 / of as f64;
            let (list, of, what, example) = judged.max_by(|a, b| share(a.0, a.1).total_cmp(&share(b.0, b.1)))?;
            let worst = wilson(list.len() as f64, *of);
            let all: Vec<String> = parts
                .iter()
                .filter(|(list, of, _, _)| *of > 0 && !list.is_empty())
                .map(|(list, of, what, _)| format!("{} of {} {what}", format_count(list.len() as f64), format_count(*of as f64)))
                .collect();
            Some(Symptom {
                key: (*what).to_string(),
                score: map_exp100(worst.p, info, warning).min(MOST_INFO),
                title: format!("{} of the {what}", format_share(worst.p)),
                message: format!(
                    "{}. Rules that compare calls see them as opaque, and what they do not see they cannot report.",
                    all.join("; ")
                ),
                share: Some(ShareOf::new(worst, "spans")),
                count: list.len() as u64,
                evidence: vec![span_evidence(cx, list[0], example)],
                remedies: RULE.remedies.iter().map(|r| (*r).to_string()).collect(),
                ..Symptom::default()
            })
        });
        match outcome {
            Outcome::Checked { findings, over } => {
                let all = calls.len();
                let usable =
                    (0..t.traces.len()).flat_map(|i| calls.of(TraceRow::from_index(i))).filter(|c| c.category != Category::Service).count();
                Outcome::Checked { findings, over: format!("{over}, {usable} of {all} calls usable") }
            }
            other => other,
        }
    }
}
