//! Lost data: records that a reader had to drop, and events that the profiler itself lost.

use super::doctor::{FAMILY, MOST, Symptom, file_name, finding, ledger_view};
use super::finding::{Evidence, Rule, ShareOf, Threshold};
use super::{Context, Detector, Outcome, counted};
use crate::base::ids::SourceId;
use crate::base::quantity::{format_count, format_share};
use crate::base::stats::{map_exp100, wilson};
use crate::model::diagnostics::Level;

/// The rule.
pub struct Lost;

/// Its documentation.
pub const RULE: Rule = Rule {
    id: "recording-lost-data",
    name: "Lost data",
    family: FAMILY,
    summary: "Records of a file could not be read, or its profiler lost events while recording.",
    remedies: &["Record again; for lost events with larger buffers or a lower rate."],
    thresholds: &[
        Threshold { name: "info-share", default: 0.001, doc: "share of lost records that scores 25; any loss is reported" },
        Threshold { name: "warning-share", default: 0.05, doc: "share that scores 75: a twentieth shifts every other share" },
    ],
    doc: include_str!("../../docs/rules/recording-lost-data.md"),
};

impl Detector for Lost {
    fn rule(&self) -> &'static Rule {
        &RULE
    }

    fn detect(&self, cx: &Context<'_>) -> Outcome {
        let (info, warning) = (cx.threshold(&RULE, "info-share"), cx.threshold(&RULE, "warning-share"));
        let (mut findings, mut files, mut records) = (Vec::new(), 0, 0_u64);
        for (i, source) in cx.session.sources.iter().enumerate().filter(|(_, s)| s.ledger.records_in > 0) {
            let id = SourceId::from_index(i);
            let ledger = &source.ledger;
            files += 1;
            records = records.saturating_add(ledger.records_in);
            let losses: Vec<_> = ledger.diagnostics.iter().filter(|(_, e)| e.level >= Level::DataLoss).collect();
            if losses.is_empty() {
                continue;
            }
            // Events that never reached the file are no records of it.
            let outside: u64 = losses.iter().filter(|(code, _)| code.ends_with("/lost")).map(|(_, e)| e.count).sum();
            let told: u64 = losses.iter().filter(|(code, _)| !code.ends_with("/lost")).map(|(_, e)| e.count).sum();
            let lost = ledger.records_dropped().max(told).saturating_add(outside);
            let share = wilson(lost as f64, ledger.records_kept.saturating_add(lost));
            let examples = losses.iter().map(|(code, e)| {
                let at: Vec<String> = e.examples.iter().map(|(at, _)| at.to_string()).collect();
                Evidence { text: format!("{} × {code}: {} At {}.", e.count, e.message, at.join(", ")), view: ledger_view(id) }
            });
            let remedy = if outside > 0 {
                "Record with larger buffers (`perf record -m 8M`), a lower rate (`-F`), or without `--call-graph dwarf`."
            } else {
                "Record or export the file again: it is cut or damaged at the places that the ledger lists."
            };
            findings.extend(finding(
                cx,
                &RULE,
                id,
                Symptom {
                    key: losses[0].0.to_string(),
                    score: map_exp100(share.p, info, warning).clamp(25.0, MOST),
                    title: format!("{} lost {} of its records", file_name(cx, id), format_share(share.p)),
                    message: format!(
                        "{} of {} records of {} are not in the tables; whatever they would have shown is missing from every number.",
                        format_count(lost as f64),
                        format_count(ledger.records_kept.saturating_add(lost) as f64),
                        file_name(cx, id)
                    ),
                    share: Some(ShareOf::new(share, "records")),
                    count: lost,
                    evidence: examples.collect(),
                    remedies: vec![remedy.to_string()],
                    ..Symptom::default()
                },
            ));
        }
        if files == 0 {
            return Outcome::NotChecked("because no file was read".to_string());
        }
        Outcome::Checked { findings, over: format!("{} records of {}", format_count(records as f64), counted(files, "file")) }
    }
}
