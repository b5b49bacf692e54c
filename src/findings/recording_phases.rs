//! Recordings that change while they run: their mean describes no moment of them.

use super::doctor::{FAMILY, MOST_INFO, Symptom, flame_view, over_cpu};
use super::finding::{Evidence, Rule, Threshold};
use super::{Context, Detector, Outcome};
use crate::base::ids::FuncId;
use crate::base::quantity::{format_ns, format_share};
use std::collections::BTreeMap;

/// The rule.
pub struct Phases;

/// Its documentation.
pub const RULE: Rule = Rule {
    id: "recording-phases",
    name: "Several phases",
    family: FAMILY,
    summary: "What the program does changes during the recording, so that shares of the whole describe no part of it.",
    remedies: &["Choose a window in the flame chart, or record one phase alone."],
    thresholds: &[
        Threshold {
            name: "deviations",
            default: 3.0,
            doc: "binomial standard deviations between a tenth's share and the mean; PROFILES 1.5",
        },
        Threshold { name: "min-change", default: 0.15, doc: "least difference of the shares: what matters, however significant" },
        Threshold { name: "min-samples", default: 200.0, doc: "active samples below which tenths say nothing" },
    ],
    doc: include_str!("../../docs/rules/recording-phases.md"),
};

/// Parts of the recording.
const PARTS: usize = 10;
/// So many of the heaviest functions are followed.
const FOLLOWED: usize = 5;

impl Detector for Phases {
    fn rule(&self) -> &'static Rule {
        &RULE
    }

    fn detect(&self, cx: &Context<'_>) -> Outcome {
        let (deviations, change) = (cx.threshold(&RULE, "deviations"), cx.threshold(&RULE, "min-change"));
        let least = cx.threshold(&RULE, "min-samples");
        if !cx.session.profiles.iter().any(|p| !p.samples.time_ns.is_empty()) {
            return Outcome::NotChecked("because no profile has times".to_string());
        }
        over_cpu(cx, &RULE, |active| {
            let samples = &active.profile.samples;
            let (first, last) = (*samples.time_ns.iter().min()?, *samples.time_ns.iter().max()?);
            let length = i128::from(last) - i128::from(first);
            if (active.count as f64) < least || length <= 0 {
                return None;
            }
            // Idle stacks are not among the active ones.
            let mut busy = vec![false; cx.session.symbols.stacks.len()];
            for a in &active.stacks {
                busy[a.stack.index()] = true;
            }
            let mut all = [0_u64; PARTS];
            let mut own: BTreeMap<FuncId, [u64; PARTS]> = BTreeMap::new();
            for (stack, time) in samples.stack.iter().zip(&samples.time_ns) {
                let Some(stack) = stack.get().filter(|s| busy[s.index()]) else { continue };
                let part = ((i128::from(*time) - i128::from(first)) * PARTS as i128 / (length + 1)) as usize;
                all[part] += 1;
                own.entry(active.func(stack)).or_default()[part] += 1;
            }
            let n: u64 = all.iter().sum();
            let mut heavy: Vec<(FuncId, [u64; PARTS])> = own.into_iter().collect();
            heavy.sort_by_key(|(f, parts)| (std::cmp::Reverse(parts.iter().sum::<u64>()), *f));
            let mut best: Option<(f64, FuncId, usize, f64, f64, usize)> = None;
            for (func, parts) in heavy.into_iter().take(FOLLOWED) {
                let mean = parts.iter().sum::<u64>() as f64 / n.max(1) as f64;
                let mut away = 0;
                let mut worst = (0.0, 0, 0.0);
                for part in (0..PARTS).filter(|p| all[*p] >= 10) {
                    let share = parts[part] as f64 / all[part] as f64;
                    let deviation = (mean * (1.0 - mean) / all[part] as f64).sqrt();
                    let off = (share - mean).abs();
                    if off >= change && off > deviations * deviation {
                        away += 1;
                        if off > worst.0 {
                            worst = (off, part, share);
                        }
                    }
                }
                // One tenth may be an accident of where it was cut; two are a phase.
                if away >= 2 && best.is_none_or(|b| worst.0 > b.0) {
                    best = Some((worst.0, func, worst.1, worst.2, mean, away));
                }
            }
            let (off, func, part, share, mean, away) = best?;
            let at = |p: usize| format_ns((length * p as i128 / PARTS as i128) as f64);
            Some(Symptom {
                key: active.name(func).to_string(),
                score: (25.0 + off * 60.0).min(MOST_INFO),
                title: "The recording has several phases".to_string(),
                message: format!(
                    "{} has {} of the samples on average, but {} between {} and {}; {away} of {PARTS} tenths differ from the mean by more than chance. Shares of the whole describe none of the phases.",
                    active.name(func),
                    format_share(mean),
                    format_share(share),
                    at(part),
                    at(part + 1)
                ),
                count: away as u64,
                evidence: vec![Evidence {
                    text: "The flame chart shows the order of time.".to_string(),
                    view: crate::base::view::ViewRef { mode: Some("chart".to_string()), ..flame_view(active) },
                }],
                remedies: vec!["Choose a window in the flame chart, or record one phase alone.".to_string()],
                ..Symptom::default()
            })
        })
    }
}
