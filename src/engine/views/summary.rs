//! The summary after a load.

use crate::base::slabs::Slabs;
use crate::engine::Engine;
use crate::engine::protocol::Failure;
use crate::engine::protocol::summary::{COLOURED_SERVICES, ProfileInfo, RuleDoc, SettingsInfo, Summary, ThresholdDoc, ValueInfo};
use crate::findings::DETECTORS;
use crate::findings::finding::Threshold;
use crate::model::Session;
use crate::report;

/// Builds the summary.
///
/// # Errors
/// Never in practice; serialising a number that JSON does not know would be one.
pub fn answer(engine: &Engine) -> Result<Slabs, Failure> {
    let session = &engine.session;
    let rule_docs = DETECTORS
        .iter()
        .map(|d| d.rule())
        .map(|r| RuleDoc {
            id: r.id.into(),
            name: r.name.into(),
            family: r.family.into(),
            summary: r.summary.into(),
            doc: r.doc.into(),
            on: engine.settings.runs(r.id),
            thresholds: r.thresholds.iter().map(|t| threshold(engine, r.id, t)).collect(),
        })
        .collect();
    let files = engine.baseline.sources.chunk_by(|a, b| a.file_index == b.file_index);
    let summary = Summary {
        sources: report::inspect::sources(session),
        // What stands behind a slash is the path in an archive.
        baseline: files.map(|f| f[0].file.split('/').next().unwrap_or_default().to_string()).collect(),
        findings: serde_json::to_value(&engine.report.findings).map_err(|e| Failure::new(e.to_string()))?,
        rules: serde_json::to_value(&engine.report.verdicts).map_err(|e| Failure::new(e.to_string()))?,
        usable: engine.report.usable.clone(),
        rule_docs,
        settings: SettingsInfo { lines: engine.settings.lines(), errors: engine.settings_errors.clone(), toml: engine.settings.to_toml() },
        ..shape(session)
    };
    serde_json::to_string(&summary).map(Slabs::json).map_err(|e| Failure::new(e.to_string()))
}

/// What the selectors and the rail need, and nothing of files, ledgers and rules: cheap enough to be made while a file is read.
///
/// # Errors
/// As [`answer`].
pub fn outline(engine: &Engine) -> Result<Slabs, Failure> {
    serde_json::to_string(&shape(&engine.session)).map(Slabs::json).map_err(|e| Failure::new(e.to_string()))
}

/// The parts of a summary that say what there is to look at.
fn shape(session: &Session) -> Summary {
    let profiles = session
        .profiles
        .iter()
        .map(|p| ProfileInfo {
            source: p.source.0,
            file: session.sources.get(p.source.index()).map_or(String::new(), |s| s.file.clone()),
            name: p.name.clone(),
            format: p.format.to_string(),
            values: p
                .value_types
                .iter()
                .enumerate()
                .map(|(i, v)| ValueInfo { name: v.name.clone(), unit: v.unit.clone(), total: p.total(i) as f64 })
                .collect(),
            default_value: p.default_value as u32,
            threads: p.threads.iter().map(thread_name).collect(),
            labels: report::inspect::labels(session, p).into_iter().collect(),
            samples: p.samples.len() as u64,
            events: p.events(),
            duration_ns: p.duration_ns as f64,
            has_times: p.has_times(),
        })
        .collect();
    Summary {
        profiles,
        traces: session.traces.traces.len() as u64,
        spans: session.traces.spans.len() as u64,
        services: session.traces.services.len() as u64,
        service_names: session.traces.services.iter().take(COLOURED_SERVICES).map(|s| session.strings.get(*s).to_string()).collect(),
        ..Summary::default()
    }
}

fn threshold(engine: &Engine, rule: &str, t: &Threshold) -> ThresholdDoc {
    let value = engine.settings.threshold(rule, t.name).unwrap_or(t.default);
    ThresholdDoc { name: t.name.into(), default: t.default, value, doc: t.doc.into() }
}

/// A thread as selectors show it: name and ids as far as they are known.
pub fn thread_name(thread: &crate::model::profile::Thread) -> String {
    let ids = match (thread.pid, thread.tid) {
        (-1, -1) => String::new(),
        (-1, tid) => tid.to_string(),
        (pid, -1) => pid.to_string(),
        (pid, tid) => format!("{pid}/{tid}"),
    };
    match (thread.name.is_empty(), ids.is_empty()) {
        (true, _) => ids,
        (false, true) => thread.name.clone(),
        (false, false) => format!("{} {ids}", thread.name),
    }
}
