//! Too few samples: numbers of which chance is the larger part.

use super::doctor::{FAMILY, MOST, MOST_INFO, Symptom, flame_view, over_cpu};
use super::finding::{Evidence, Rule, Threshold};
use super::{Context, Detector, Outcome};
use crate::base::quantity::format_share;
use crate::base::stats::wilson;

/// The rule.
pub struct FewSamples;

/// Its documentation.
pub const RULE: Rule = Rule {
    id: "recording-few-samples",
    name: "Too few samples",
    family: FAMILY,
    summary: "The profile has so few active samples that shares are mostly chance.",
    remedies: &["Record longer, under load, or with a higher sampling rate."],
    thresholds: &[
        Threshold { name: "useless", default: 20.0, doc: "active samples below which nothing can be concluded; PROFILES 4.2" },
        Threshold { name: "few", default: 100.0, doc: "active samples below which findings stay at info; PROFILES 4.2" },
    ],
    doc: include_str!("../../docs/rules/recording-few-samples.md"),
};

impl Detector for FewSamples {
    fn rule(&self) -> &'static Rule {
        &RULE
    }

    fn detect(&self, cx: &Context<'_>) -> Outcome {
        let (useless, few) = (cx.threshold(&RULE, "useless"), cx.threshold(&RULE, "few"));
        over_cpu(cx, &RULE, |active| {
            // Where numbers may be anything, nothing is known of how many samples there were.
            if !active.counted || active.count as f64 >= few {
                return None;
            }
            let n = active.count.max(0) as u64;
            let interval = wilson(n as f64 / 10.0, n);
            let useless = (n as f64) < useless;
            Some(Symptom {
                key: active.profile.name.clone(),
                score: if useless { 75.0_f64.min(MOST) } else { 25.0 + (few - n as f64) / few * 40.0 }.min(if useless {
                    MOST
                } else {
                    MOST_INFO
                }),
                title: match n {
                    0 => "No sample is active".to_string(),
                    n => format!("Only {}", super::counted(n as usize, "active sample")),
                },
                message: format!(
                    "{} has {}: a function shown with 10 % may really have {} to {}.",
                    if active.profile.name.is_empty() { "The profile" } else { &active.profile.name },
                    super::counted(n as usize, "active sample"),
                    format_share(interval.low),
                    format_share(interval.high)
                ),
                count: n,
                evidence: vec![Evidence { text: format!("{n} active and {} idle samples.", active.idle), view: flame_view(active) }],
                remedies: RULE.remedies.iter().map(|r| (*r).to_string()).collect(),
                ..Symptom::default()
            })
        })
    }
}
