//! Truncated stacks: many samples end at exactly the depth at which a profiler stops, so that their callers are missing.

use super::doctor::{FAMILY, MOST, Symptom, finding};
use super::finding::{Evidence, Rule, ShareOf, Threshold};
use super::{Context, Detector, Outcome, counted};
use crate::base::ids::ProfileId;
use crate::base::quantity::{format_count, format_share};
use crate::base::stats::{map_exp100, wilson};
use crate::base::view::{View, ViewRef};
use crate::model::Session;
use crate::model::profile::Profile;
use crate::model::symbols::FRAME_INLINED;

/// The rule.
pub struct Truncated;

/// Its documentation.
pub const RULE: Rule = Rule {
    id: "recording-truncated-stacks",
    name: "Truncated stacks",
    family: FAMILY,
    summary: "Many stacks end at the depth at which the profiler stops: their callers are missing.",
    remedies: &["Record with a larger depth."],
    thresholds: &[
        Threshold { name: "info-share", default: 0.01, doc: "share of samples at the limit that scores 25; JMC StackDepth, PROFILES 0.1" },
        Threshold { name: "warning-share", default: 0.20, doc: "share of samples at the limit that scores 75" },
    ],
    doc: include_str!("../../docs/rules/recording-truncated-stacks.md"),
};

/// Where profilers stop, and how to make them go on (PROFILES 1.6).
const LIMITS: &[(&str, u32, &str)] = &[
    ("perf", 127, "`perf record --max-stack 512`, or raise the sysctl kernel.perf_event_max_stack"),
    ("pprof", 64, "Go's CPU profiler stops at 64 frames: reduce recursion, or look from the leaves (inverted graph)"),
    ("pprof", 32, "Go up to 1.22 stops at 32 frames for heap, block and mutex profiles: build with a newer Go"),
    ("pprof", 128, "Go from 1.23 stops at 128 frames: set GODEBUG=profstackdepth=1024"),
    ("jfr", 64, "`-XX:FlightRecorderOptions=stackdepth=512`"),
    ("cpuprofile", 255, "V8 stops at 255 frames: look from the leaves (inverted graph)"),
    ("chrome", 255, "V8 stops at 255 frames: look from the leaves (inverted graph)"),
];

/// Instructions per stack: inlined frames have none of their own and do not count towards a limit.
fn depths(session: &Session) -> Vec<u32> {
    let s = &session.symbols;
    let mut out = vec![0_u32; s.stacks.len()];
    for row in 0..out.len() {
        let below = s.stacks.prefix[row].get().map_or(0, |p| out[p.index()]);
        let own = s.frames.flags[s.stacks.frame[row].index()] & FRAME_INLINED == 0;
        out[row] = below + u32::from(own);
    }
    out
}

/// Samples of greatest depth, that depth, and all samples with a stack.
fn deepest(p: &Profile, depths: &[u32]) -> (u64, u32, u64) {
    let (mut at, mut most, mut all) = (0, 0, 0);
    for stack in p.samples.stack.iter().filter_map(|s| s.get()) {
        let depth = depths[stack.index()];
        all += 1;
        if depth > most {
            (at, most) = (0, depth);
        }
        at += u64::from(depth == most);
    }
    (at, most, all)
}

impl Detector for Truncated {
    fn rule(&self) -> &'static Rule {
        &RULE
    }

    fn detect(&self, cx: &Context<'_>) -> Outcome {
        let (info, warning) = (cx.threshold(&RULE, "info-share"), cx.threshold(&RULE, "warning-share"));
        let (mut findings, mut checked, mut samples) = (Vec::new(), 0, 0);
        let mut depth_of = None;
        for (i, p) in cx.session.profiles.iter().enumerate().filter(|(_, p)| p.slices.is_none() && !p.samples.is_empty()) {
            if !LIMITS.iter().any(|(format, _, _)| p.format.starts_with(format)) {
                continue;
            }
            let depths: &Vec<u32> = depth_of.get_or_insert_with(|| depths(cx.session));
            let (at, most, all) = deepest(p, depths);
            checked += 1;
            samples += all;
            let limit = LIMITS.iter().find(|(format, limit, _)| p.format.starts_with(format) && *limit == most);
            let Some((_, _, how)) = limit.filter(|_| at >= 2) else { continue };
            let share = wilson(at as f64, all);
            let view = ViewRef { profile: Some(ProfileId::from_index(i).0), ..ViewRef::of(View::Flame) };
            findings.extend(finding(
                cx,
                &RULE,
                p.source,
                Symptom {
                    key: p.name.clone(),
                    score: map_exp100(share.p, info, warning).min(MOST),
                    title: format!("{} of the stacks are cut at {most} frames", format_share(share.p)),
                    message: format!(
                        "{} of {} samples have exactly {most} frames, where this profiler stops: their callers are missing, so they stand as roots of their own and totals of callers are too small.",
                        format_count(at as f64),
                        format_count(all as f64)
                    ),
                    share: Some(ShareOf::new(share, "samples")),
                    count: at,
                    evidence: vec![Evidence { text: format!("No stack is deeper than {most} frames."), view }],
                    remedies: vec![format!("Record with a larger depth: {how}.")],
                    caveats: vec!["A program may really be that deep and no deeper.".to_string()],
                    ..Symptom::default()
                },
            ));
        }
        if checked == 0 {
            return Outcome::NotChecked("because no profile comes from a profiler whose depth limit is known".to_string());
        }
        Outcome::Checked { findings, over: format!("{} stacks in {}", format_count(samples as f64), counted(checked, "profile")) }
    }
}
