//! Clocks that disagree: callees that begin before their callers or end after them.

use super::doctor::{FAMILY, MOST_INFO, Symptom, over_spans, service_name, span_evidence, span_text};
use super::finding::{Rule, ShareOf, Threshold};
use super::{Context, Detector, Outcome};
use crate::base::ids::{ServiceId, SpanRow};
use crate::base::quantity::{format_count, format_ns, format_share};
use crate::base::stats::{map_exp100, nearest_rank, wilson};
use crate::model::trace::{SPAN_ASYNC, SPAN_UNFINISHED, SpanKind};
use std::collections::BTreeMap;

/// The rule.
pub struct ClockSkew;

/// Its documentation.
pub const RULE: Rule = Rule {
    id: "recording-clock-skew",
    name: "Clocks disagree",
    family: FAMILY,
    summary: "Calls between two services begin before their caller or end after it: their clocks differ.",
    remedies: &["Synchronise the clocks (NTP, chrony, PTP) of the hosts."],
    thresholds: &[
        Threshold { name: "info-share", default: 0.02, doc: "share of calls of a pair of services outside their caller that scores 25" },
        Threshold { name: "warning-share", default: 0.50, doc: "share that would score 75; the rule stays at info" },
        Threshold { name: "min-calls", default: 3.0, doc: "calls of a pair below which an offset is no clock's; TRACES 1.10" },
    ],
    doc: include_str!("../../docs/rules/recording-clock-skew.md"),
};

/// By how much a call must be moved to lie inside its caller, `None` where it does or where it cannot.
fn offset(parent: (i64, i64), child: (i64, i64)) -> Option<i64> {
    let (length, own) = (parent.1 - parent.0, child.1 - child.0);
    if child.0 >= parent.0 && child.1 <= parent.1 || own > length {
        return None;
    }
    // Half of the time on the wire on either side, as Jaeger and Zipkin assume.
    Some(parent.0 + (length - own) / 2 - child.0)
}

#[derive(Default)]
struct Pair {
    calls: u64,
    offsets: Vec<i64>,
    first: SpanRow,
}

impl Detector for ClockSkew {
    fn rule(&self) -> &'static Rule {
        &RULE
    }

    fn detect(&self, cx: &Context<'_>) -> Outcome {
        let (info, warning) = (cx.threshold(&RULE, "info-share"), cx.threshold(&RULE, "warning-share"));
        let least = cx.threshold(&RULE, "min-calls").max(1.0) as usize;
        let t = &cx.session.traces;
        over_spans(cx, &RULE, |_, rows| {
            let mut pairs: BTreeMap<(ServiceId, ServiceId), Pair> = BTreeMap::new();
            for &span in rows {
                let Some(parent) = t.spans.parent[span.index()].get() else { continue };
                let (from, to) = (t.service(parent), t.service(span));
                let waits = t.spans.flags[span.index()] & (SPAN_ASYNC | SPAN_UNFINISHED) == 0
                    && t.spans.flags[parent.index()] & SPAN_UNFINISHED == 0
                    && !matches!(t.kind(span), SpanKind::Consumer | SpanKind::Producer)
                    && t.kind(parent) != SpanKind::Producer;
                if from == to || !waits || t.spans.duration_ns[parent.index()] == 0 {
                    continue;
                }
                let interval = |s: SpanRow| (t.spans.start_ns[s.index()], t.spans.end_ns(s));
                let pair = pairs.entry((from, to)).or_default();
                pair.calls += 1;
                if let Some(by) = offset(interval(parent), interval(span)) {
                    if pair.offsets.is_empty() {
                        pair.first = span;
                    }
                    pair.offsets.push(by);
                }
            }
            let skewed = pairs.into_iter().filter(|(_, p)| p.offsets.len() >= least);
            let ((from, to), mut pair) = skewed.max_by_key(|(names, p)| (p.offsets.len(), std::cmp::Reverse(*names)))?;
            pair.offsets.sort_unstable();
            let median = nearest_rank(&pair.offsets, 0.5);
            let share = wilson(pair.offsets.len() as f64, pair.calls);
            let (from, to) = (service_name(cx, from), service_name(cx, to));
            Some(Symptom {
                key: format!("{from} {to}"),
                score: map_exp100(share.p, info, warning).min(MOST_INFO),
                title: format!("The clocks of {from} and {to} differ by about {}", format_ns(median.saturating_abs() as f64)),
                message: format!(
                    "{} of {} calls from {from} to {to} lie outside their caller; the clock of {to} is about {} {}. Times between the two services are off by that much; lengths of spans are not.",
                    format_count(pair.offsets.len() as f64),
                    format_count(pair.calls as f64),
                    format_ns(median.saturating_abs() as f64),
                    if median > 0 { "late behind the caller's" } else { "ahead of the caller's" }
                ),
                share: Some(ShareOf::new(share, "calls")),
                count: pair.offsets.len() as u64,
                evidence: vec![span_evidence(
                    cx,
                    pair.first,
                    &format!("outside its caller; {} of the calls of this pair are.", format_share(share.p)),
                )],
                remedies: RULE.remedies.iter().map(|r| (*r).to_string()).collect(),
                caveats: vec!["A callee that goes on after it has answered ends after its caller without any skew.".to_string()],
                exemplars: vec![span_text(cx, pair.first)],
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::offset;

    #[test]
    fn a_call_is_moved_to_the_middle_of_its_caller() {
        assert_eq!(offset((0, 100), (20, 60)), None);
        assert_eq!(offset((0, 100), (-50, 10)), Some(70));
        assert_eq!(offset((0, 100), (90, 150)), Some(-70));
        assert_eq!(offset((0, 100), (-50, 150)), None, "what is longer than its caller fits nowhere");
    }
}
