//! Mixed or unknown weights: several events in one file that must not be added up, and numbers whose unit nobody tells.

use super::active::cpu_profiles;
use super::doctor::{FAMILY, MOST_INFO, Symptom, file_name, finding, ledger_view};
use super::finding::{Evidence, Rule, Threshold};
use super::{Context, Detector, Outcome, counted};
use crate::base::ids::SourceId;
use crate::base::quantity::{format_count, format_value};
use crate::base::view::{View, ViewRef};
use crate::model::profile::Profile;

/// The rule.
pub struct Mixed;

/// Its documentation.
pub const RULE: Rule = Rule {
    id: "recording-mixed-weights",
    name: "Mixed or unknown weights",
    family: FAMILY,
    summary: "A file holds several events that cannot be added up, or numbers whose unit is a guess.",
    remedies: &["Choose event and unit in the view, or record one event at a time."],
    thresholds: &[Threshold { name: "min-events", default: 2.0, doc: "events in one file from which it is said which one is shown" }],
    doc: include_str!("../../docs/rules/recording-mixed-weights.md"),
};

impl Detector for Mixed {
    fn rule(&self) -> &'static Rule {
        &RULE
    }

    fn detect(&self, cx: &Context<'_>) -> Outcome {
        let least = cx.threshold(&RULE, "min-events").max(2.0) as usize;
        let profiles = &cx.session.profiles;
        if profiles.is_empty() {
            return Outcome::NotChecked("because no file holds a profile".to_string());
        }
        let mut findings = Vec::new();
        for source in (0..cx.session.sources.len()).map(SourceId::from_index) {
            let of: Vec<(usize, &Profile)> =
                profiles.iter().enumerate().filter(|(_, p)| p.source == source && !p.name.is_empty()).collect();
            let events = of.iter().filter(|(_, p)| p.format == "perf-script" || p.format == "perf-data").count();
            if events < least {
                continue;
            }
            let shown = of[0].1;
            findings.extend(finding(
                cx,
                &RULE,
                source,
                Symptom {
                    key: "events".to_string(),
                    score: 25.0,
                    title: format!("{events} events in one recording; {} is shown", shown.name),
                    message: format!(
                        "{} holds samples of {events} events that count different things, so they are kept apart and never added up; {} has most samples and is shown first.",
                        file_name(cx, source),
                        shown.name
                    ),
                    count: events as u64,
                    evidence: of
                        .iter()
                        .take(10)
                        .map(|(i, p)| Evidence {
                            text: format!(
                                "{}: {} samples, {}.",
                                p.name,
                                format_count(p.samples.len() as f64),
                                p.value_types.get(p.default_value).map_or(String::new(), |v| format_value(p.total(p.default_value) as f64, &v.unit))
                            ),
                            view: ViewRef { profile: Some(*i as u32), ..ViewRef::of(View::Flame) },
                        })
                        .collect(),
                    remedies: vec!["Choose the event in the view; `perf record -e EVENT` records one alone.".to_string()],
                    ..Symptom::default()
                },
            ));
        }
        for (id, p) in cpu_profiles(cx.session).into_iter().filter(|(_, p)| p.format == "folded") {
            let active = cx.active(id, p);
            if active.counted {
                continue;
            }
            findings.extend(finding(
                cx,
                &RULE,
                p.source,
                Symptom {
                    key: "unit".to_string(),
                    score: 40.0_f64.min(MOST_INFO),
                    title: "The numbers are too large to be counts of samples".to_string(),
                    message: format!(
                        "Folded stacks name no unit. The mean weight of a stack in {} is above a million, so the numbers are more likely nanoseconds or bytes than samples, and no interval can be given for any share.",
                        file_name(cx, p.source)
                    ),
                    evidence: vec![Evidence { text: "The choice of the unit and its alternatives stand in the ledger.".to_string(), view: ledger_view(p.source) }],
                    remedies: vec!["Say what the numbers are: the switch beside the unit in Files, or `--unit nanoseconds` on the command line.".to_string()],
                    ..Symptom::default()
                },
            ));
        }
        Outcome::Checked { findings, over: counted(profiles.len(), "profile") }
    }
}
