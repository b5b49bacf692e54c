//! Exports: what the page offers for download.

use super::derived::is_narrowed;
use crate::analysis::critical_profile::critical_profile;
use crate::analysis::narrow::narrow;
use crate::base::ids::ThreadId;
use crate::base::slabs::{Slab, Slabs};
use crate::engine::Engine;
use crate::engine::protocol::{ExportHead, ExportKind, Failure, SampleQuery};
use crate::report;

/// Writes an export.
///
/// # Errors
/// [`Failure`] when there is nothing to export or the finding does not exist.
pub fn answer(engine: &Engine, what: ExportKind, query: &SampleQuery, finding: Option<&str>) -> Result<Slabs, Failure> {
    let session = &engine.session;
    let (profile, value) = (query.profile as usize, query.value as usize);
    let thread = query.thread.map(ThreadId);
    let stem = stem(engine, profile);
    let stacks = matches!(what, ExportKind::Svg | ExportKind::Folded | ExportKind::Pprof);
    let narrowed = (stacks && is_narrowed(query)).then(|| narrow(session, profile, &query.labels, query.group.as_deref())).flatten();
    let (session, profile) = narrowed.as_ref().map_or((session, profile), |s| (s, 0));
    let (name, mime, bytes, note) = match what {
        ExportKind::Json => {
            let text = report::analyze::json(session, &engine.report).map_err(|e| Failure::new(e.to_string()))?;
            ("hotspan-findings.json".to_string(), "application/json", text.into_bytes(), String::new())
        }
        ExportKind::Markdown => {
            let text = match finding {
                None => report::markdown::markdown(session, &engine.report),
                Some(id) => {
                    let one = engine
                        .report
                        .findings
                        .iter()
                        .find(|f| f.id == id)
                        .ok_or_else(|| Failure::new(format!("there is no finding {id}")))?;
                    report::markdown::one(one)
                }
            };
            ("hotspan-findings.md".to_string(), "text/markdown", text.into_bytes(), String::new())
        }
        ExportKind::Svg => {
            let text = report::svg::flame_graph(session, profile, value, thread).map_err(Failure::new)?;
            (format!("{stem}.svg"), "image/svg+xml", text.into_bytes(), String::new())
        }
        ExportKind::DiffSvg => {
            let text = super::compare_flame::svg(engine, query.profile)?;
            (format!("{stem}.diff.svg"), "image/svg+xml", text.into_bytes(), String::new())
        }
        ExportKind::Folded => {
            if session.profiles.get(profile).is_none() {
                return Err(Failure::new("there is no profile to export"));
            }
            let folded = report::folded::folded(session, profile, value, thread);
            let note = if folded.without_stack == 0 {
                String::new()
            } else {
                format!("Samples without frames, of weight {}, are not in it.", folded.without_stack)
            };
            (format!("{stem}.folded"), "text/plain", folded.text.into_bytes(), note)
        }
        ExportKind::Pprof => {
            let pprof = report::pprof::pprof(session, profile, thread).ok_or_else(|| Failure::new("there is no profile to export"))?;
            (format!("{stem}.pb.gz"), "application/gzip", pprof.bytes, pprof.lost.join("; "))
        }
        ExportKind::Speedscope => {
            let written = report::speedscope::speedscope(session, None);
            if written.profiles == 0 {
                return Err(Failure::new("no sample has a positive weight, so there is nothing to export"));
            }
            (format!("{stem}.speedscope.json"), "application/json", written.text.into_bytes(), written.notes.join(" "))
        }
        ExportKind::CriticalFolded => {
            let paths = critical_profile(session, "", "")
                .ok_or_else(|| Failure::new("there are no traces whose critical path could be written"))?;
            let folded = report::folded::folded(&paths, 0, 0, None);
            ("hotspan-critical-path.folded".to_string(), "text/plain", folded.text.into_bytes(), String::new())
        }
        ExportKind::OtlpJson => {
            if session.traces.spans.is_empty() {
                return Err(Failure::new("there are no traces to export"));
            }
            ("hotspan-traces.json".to_string(), "application/json", report::otlp_json::otlp_json(session).into_bytes(), String::new())
        }
    };
    let (name, note) = marked(engine, name, note);
    let head = serde_json::to_string(&ExportHead { name, mime: mime.to_string(), note }).map_err(|e| Failure::new(e.to_string()))?;
    Ok(Slabs { head, slabs: vec![Slab::U8(bytes)] })
}

/// Name and note of an export of files that were read in part: both say so, since most forms have no place for it inside.
fn marked(engine: &Engine, name: String, note: String) -> (String, String) {
    let parts: Vec<String> =
        engine.session.sources.iter().filter_map(|s| Some(format!("{} is partial, {}.", s.file, s.partial.as_ref()?.text()))).collect();
    if parts.is_empty() {
        return (name, note);
    }
    let (stem, ending) = name.split_once('.').unwrap_or((&name, ""));
    (format!("{stem}.partial.{ending}"), [parts.join(" "), note].join(" ").trim_end().to_string())
}

/// The source's file name without its endings.
fn stem(engine: &Engine, profile: usize) -> String {
    let source = engine.session.profiles.get(profile).and_then(|p| engine.session.sources.get(p.source.index()));
    let name = source.map_or("hotspan", |s| s.file.as_str());
    name.split('.').next().filter(|s| !s.is_empty()).unwrap_or("hotspan").to_string()
}
