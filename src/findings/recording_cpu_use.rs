//! CPU utilisation: a program that hardly used the CPU is not explained by where it used it.

use super::active::cpu_profiles;
use super::doctor::{FAMILY, MOST_INFO, Symptom, finding};
use super::finding::{Evidence, Rule, Threshold};
use super::{Context, Detector, Outcome, counted};
use crate::base::quantity::{format_ns, format_share};
use crate::base::view::{View, ViewRef};
use crate::model::profile::{Profile, ValueKind};

/// The rule.
pub struct CpuUse;

/// Its documentation.
pub const RULE: Rule = Rule {
    id: "recording-not-cpu-bound",
    name: "Not bound by the CPU",
    family: FAMILY,
    summary: "The program used the CPU for a small part of the recording: waiting explains it, and a CPU profile does not show waiting.",
    remedies: &["Record elapsed time: a wall-clock or off-CPU profile, or a trace."],
    thresholds: &[
        Threshold {
            name: "low",
            default: 0.10,
            doc: "CPU time over elapsed time below which the program is not bound by the CPU; PROFILES 3",
        },
        Threshold { name: "min-seconds", default: 1.0, doc: "seconds of recording below which utilisation says nothing" },
    ],
    doc: include_str!("../../docs/rules/recording-not-cpu-bound.md"),
};

/// CPU time and elapsed time in nanoseconds.
fn utilisation(p: &Profile) -> Option<(i64, i64)> {
    let column = p.value_of_kind(ValueKind::CpuTime).filter(|c| p.value_types[*c].unit == "nanoseconds")?;
    (p.duration_ns > 0).then(|| (p.total(column), p.duration_ns))
}

impl Detector for CpuUse {
    fn rule(&self) -> &'static Rule {
        &RULE
    }

    fn detect(&self, cx: &Context<'_>) -> Outcome {
        let (low, least) = (cx.threshold(&RULE, "low"), cx.threshold(&RULE, "min-seconds") * 1e9);
        let (mut findings, mut checked, mut elapsed) = (Vec::new(), 0, 0_i64);
        for (id, p) in cpu_profiles(cx.session) {
            let Some((cpu, wall)) = utilisation(p) else { continue };
            if (wall as f64) < least || cpu < 0 {
                continue;
            }
            checked += 1;
            elapsed = elapsed.saturating_add(wall);
            let used = cpu as f64 / wall as f64;
            if used >= low {
                continue;
            }
            findings.extend(finding(
                cx,
                &RULE,
                p.source,
                Symptom {
                    key: p.name.clone(),
                    score: (25.0 + (low - used) / low * 40.0).min(MOST_INFO),
                    title: format!("The CPU was used for {} of the time", format_share(used)),
                    message: format!(
                        "{} of CPU time in {} of recording: the program waited for {} of it, and this profile cannot show for what.",
                        format_ns(cpu as f64),
                        format_ns(wall as f64),
                        format_share(1.0 - used)
                    ),
                    evidence: vec![Evidence {
                        text: format!("{} of samples are all there is.", format_ns(cpu as f64)),
                        view: ViewRef { profile: Some(id.0), ..ViewRef::of(View::Flame) },
                    }],
                    remedies: vec!["Record elapsed time: `perf trace -s`, off-CPU stacks (`offcputime`), Go's block and mutex profiles or `fgprof`, async-profiler `-e wall`, or a trace.".to_string()],
                    caveats: vec!["A service without load is idle, not slow: record while it is asked.".to_string()],
                    ..Symptom::default()
                },
            ));
        }
        if checked == 0 {
            return Outcome::NotChecked("because no CPU profile says how long it was recorded and gives its weights as time".to_string());
        }
        Outcome::Checked { findings, over: format!("{} of recording in {}", format_ns(elapsed as f64), counted(checked, "CPU profile")) }
    }
}
