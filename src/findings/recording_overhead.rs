//! The observer's share: samples in profilers, tracers and their unwinders.

use super::doctor::{FAMILY, MOST_INFO, Symptom, flame_view, over_cpu};
use super::finding::{Evidence, Rule, ShareOf, Threshold};
use super::{Context, Detector, Outcome};
use crate::base::quantity::format_share;
use crate::base::stats::{map_exp100, wilson};

/// The rule.
pub struct Overhead;

/// Its documentation.
pub const RULE: Rule = Rule {
    id: "recording-overhead",
    name: "Profiler overhead",
    family: FAMILY,
    summary: "Profiling or tracing itself takes a visible part of the samples.",
    remedies: &["Sample less often, trace less, or take the observer out of the production build."],
    thresholds: &[
        Threshold {
            name: "info-share",
            default: 0.03,
            doc: "share of active samples below an observer's frame that scores 25; PROFILES 3",
        },
        Threshold { name: "warning-share", default: 0.08, doc: "share that would score 75; the rule stays at info; PROFILES 3" },
    ],
    doc: include_str!("../../docs/rules/recording-overhead.md"),
};

impl Detector for Overhead {
    fn rule(&self) -> &'static Rule {
        &RULE
    }

    fn detect(&self, cx: &Context<'_>) -> Outcome {
        let (info, warning) = (cx.threshold(&RULE, "info-share"), cx.threshold(&RULE, "warning-share"));
        over_cpu(cx, &RULE, |active| {
            let s = &cx.session.symbols;
            let mut under = vec![false; s.stacks.len()];
            for row in 0..under.len() {
                let below = s.stacks.prefix[row].get().is_some_and(|p| under[p.index()]);
                under[row] = below || active.class_of(s.frames.func[s.stacks.frame[row].index()]).has("tracing_overhead");
            }
            let hit: i64 = active.stacks.iter().filter(|a| under[a.stack.index()]).map(|a| a.count).sum();
            let share = wilson(hit as f64, active.count.max(0) as u64);
            if hit < 10 || share.low < info {
                return None;
            }
            Some(Symptom {
                key: active.profile.name.clone(),
                score: map_exp100(share.low, info, warning).min(MOST_INFO),
                title: format!("{} of the time goes to profiling and tracing", format_share(share.p)),
                message: format!(
                    "{} of the active samples lie in frames of profilers, tracers or their unwinders: without them the program would be faster than this recording shows.",
                    format_share(share.p)
                ),
                share: active.counted.then(|| ShareOf::new(share, "active samples")),
                count: hit.max(0) as u64,
                evidence: vec![Evidence { text: "The observer's frames are in the flame graph.".to_string(), view: flame_view(active) }],
                remedies: RULE.remedies.iter().map(|r| (*r).to_string()).collect(),
                caveats: vec!["A program whose own work is tracing or profiling is no victim of it.".to_string()],
                ..Symptom::default()
            })
        })
    }
}
