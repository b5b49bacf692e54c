//! Idle samples among those of the CPU: machines that waited, not programs that worked.

use super::doctor::{FAMILY, MOST_INFO, Symptom, flame_view, over_cpu};
use super::finding::{Evidence, Rule, ShareOf, Threshold};
use super::{Context, Detector, Outcome};
use crate::base::quantity::{format_count, format_share};
use crate::base::stats::{map_exp100, wilson};

/// The rule.
pub struct Idle;

/// Its documentation.
pub const RULE: Rule = Rule {
    id: "recording-idle",
    name: "Mostly idle",
    family: FAMILY,
    summary: "Most samples of a CPU profile are idle: shares of all samples say little about the program.",
    remedies: &["Record the process instead of the machine, and under load."],
    thresholds: &[Threshold { name: "info-share", default: 0.50, doc: "share of idle samples that scores 25; PROFILES 3" }],
    doc: include_str!("../../docs/rules/recording-idle.md"),
};

impl Detector for Idle {
    fn rule(&self) -> &'static Rule {
        &RULE
    }

    fn detect(&self, cx: &Context<'_>) -> Outcome {
        let info = cx.threshold(&RULE, "info-share");
        over_cpu(cx, &RULE, |active| {
            let all = active.idle.saturating_add(active.count);
            if !active.counted || all <= 0 || (active.idle as f64) < info * all as f64 {
                return None;
            }
            let share = wilson(active.idle as f64, all as u64);
            Some(Symptom {
                key: active.profile.name.clone(),
                score: map_exp100(share.p, info, 1.0).min(MOST_INFO),
                title: format!("{} of the samples are idle", format_share(share.p)),
                message: format!(
                    "{} of {} samples are of idle processors or waiting loops. The flame graph shows them; rules leave them out and stand on the {} others.",
                    format_count(active.idle as f64),
                    format_count(all as f64),
                    format_count(active.count as f64)
                ),
                share: Some(ShareOf::new(share, "samples")),
                count: active.idle.max(0) as u64,
                evidence: vec![Evidence {
                    text: "Idle samples weigh in the flame graph like any other.".to_string(),
                    view: flame_view(active),
                }],
                remedies: vec!["Record one process (`perf record -p PID`) instead of the machine (`-a`), and while it works.".to_string()],
                ..Symptom::default()
            })
        })
    }
}
