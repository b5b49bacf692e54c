//! `hotspan trace --what-if`: what changes would make of a trace; and how much each span of it may grow or could give.

use super::Stop;
use super::analyze::clean;
use crate::analysis::clipped::Clipped;
use crate::analysis::critical_path::Section;
use crate::analysis::slack::slack;
use crate::analysis::what_if::{Change, apply, drag, parse};
use crate::base::ids::{SpanRow, TraceRow};
use crate::base::quantity::{format_ns, format_share};
use crate::engine::views::what_if::label;
use crate::model::Session;
use crate::model::trace::TraceSet;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Spans whose drag is told: each costs a replay.
const DRAGS: usize = 200;

/// The part `what_if` of `hotspan.trace/1`.
#[derive(Serialize)]
pub(super) struct WhatIf {
    changes: Vec<OneChange>,
    /// What the root takes in the file.
    before_ns: i64,
    /// What it would take, at best and at worst.
    after_ns: [i64; 2],
}

#[derive(Serialize)]
struct OneChange {
    change: String,
    label: String,
    spans: Vec<String>,
}

/// Applies the changes; `None` without any.
pub(super) fn run(session: &Session, set: &TraceSet, trace: TraceRow, texts: &[String]) -> Result<Option<WhatIf>, Stop> {
    if texts.is_empty() {
        return Ok(None);
    }
    let changes = texts.iter().map(|t| parse(t)).collect::<Result<Vec<Change>, String>>().map_err(Stop::Usage)?;
    let outcome = apply(set, &session.strings, trace, &changes).map_err(Stop::Usage)?;
    let told = changes.iter().zip(texts).zip(&outcome.spans).map(|((change, text), spans)| OneChange {
        change: text.clone(),
        label: label(session, set, change, spans),
        spans: spans.iter().map(|s| set.id_text(&session.strings, set.spans.id[s.index()])).collect(),
    });
    Ok(Some(WhatIf { changes: told.collect(), before_ns: outcome.before_ns, after_ns: [outcome.best_ns, outcome.worst_ns] }))
}

impl WhatIf {
    /// As text.
    pub(super) fn draw(&self, out: &mut String) {
        for change in &self.changes {
            let _ = writeln!(out, "what if: {}", clean(&change.label));
        }
        let ns = |v: i64| format_ns(v as f64);
        let share = |v: i64| format_share(if self.before_ns > 0 { v as f64 / self.before_ns as f64 } else { 0.0 });
        let [best, worst] = self.after_ns;
        let (least, most) = (self.before_ns - worst, self.before_ns - best);
        let _ = if best == worst {
            let (word, by) = if least >= 0 { ("less", least) } else { ("more", -least) };
            writeln!(out, "the root takes {} instead of {}: {} ({}) {word}\n", ns(worst), ns(self.before_ns), ns(by), share(by))
        } else {
            let parts = [ns(best), ns(worst), ns(self.before_ns), ns(least), ns(most), share(least), share(most)];
            let [best, worst, before, least, most, from, to] = &parts;
            writeln!(out, "the root takes {best} to {worst} instead of {before}: {least} to {most} ({from} to {to}) less\n")
        };
    }
}

/// Slack and drag of the spans of a trace.
pub(super) struct Margins {
    clipped: Clipped,
    slack: Vec<Option<i64>>,
    drag: BTreeMap<SpanRow, i64>,
}

impl Margins {
    /// For a trace and its critical path.
    pub(super) fn new(set: &TraceSet, trace: TraceRow, path: &[Section]) -> Margins {
        let clipped = Clipped::of(set, trace);
        let Some(root) = set.traces.root[trace.index()].get() else {
            return Margins { slack: vec![None; clipped.len()], clipped, drag: BTreeMap::new() };
        };
        let mut critical: BTreeMap<SpanRow, i64> = BTreeMap::new();
        for s in path {
            *critical.entry(s.span).or_default() += s.to - s.from;
        }
        let mut heaviest: Vec<(SpanRow, i64)> = critical.into_iter().collect();
        heaviest.sort_by_key(|(span, ns)| (std::cmp::Reverse(*ns), *span));
        let drag = heaviest.iter().take(DRAGS).map(|(span, _)| (*span, drag(set, &clipped, root, *span))).collect();
        Margins { slack: slack(set, &clipped, root), drag, clipped }
    }

    pub(super) fn slack(&self, span: SpanRow) -> Option<i64> {
        self.slack[self.clipped.position(span)]
    }

    pub(super) fn drag(&self, span: SpanRow) -> Option<i64> {
        self.drag.get(&span).copied()
    }
}
