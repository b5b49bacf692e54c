//! What-if: changes to one trace, replayed.

use super::traces::find;
use crate::analysis::clipped::Clipped;
use crate::analysis::clock_skew;
use crate::analysis::trace_tree::trace_tree;
use crate::analysis::what_if::{Change, Outcome, Verb, apply, parse};
use crate::base::ids::{SpanRow, TraceRow};
use crate::base::quantity::format_ns;
use crate::base::slabs::Slabs;
use crate::engine::Engine;
use crate::engine::protocol::Failure;
use crate::engine::protocol::what_if::{ChangeHead, WhatIfData, WhatIfHead};
use crate::model::Session;
use crate::model::trace::TraceSet;

/// Replays a trace with changes; with `align` the spans of hosts whose clocks differ are moved first.
///
/// # Errors
/// [`Failure`] when a trace, a span or a change is not what it should be.
pub fn answer(engine: &Engine, id: &str, align: bool, texts: &[String]) -> Result<Slabs, Failure> {
    let session = &engine.session;
    let found = find(session, id)?;
    let moved = align.then(|| clock_skew::align(&session.traces, &session.strings, found));
    let (set, trace) = moved.as_ref().map_or((&session.traces, found), |m| (&m.set, TraceRow(0)));
    let changes = texts.iter().map(|t| parse(t)).collect::<Result<Vec<Change>, String>>().map_err(Failure::new)?;
    let outcome = apply(set, &session.strings, trace, &changes).map_err(Failure::new)?;
    let clipped = Clipped::of(set, trace);
    let origin = set.traces.start_ns[trace.index()];
    let tree = trace_tree(set, trace);
    let mut data = WhatIfData { head: head(session, set, &changes, texts, &outcome), ..WhatIfData::default() };
    let mut concerned = vec![false; clipped.len()];
    for span in outcome.spans.iter().flatten() {
        concerned[clipped.position(*span)] = true;
    }
    for (row, &span) in tree.span.iter().enumerate() {
        let (i, at) = (span.index(), clipped.position(span));
        // The page draws spans where the table puts them; the replay knows the clipped time line.
        let later = outcome.times.start[at] - clipped.start(span);
        let longer = outcome.times.duration[at] - clipped.duration(span);
        data.start.push(set.spans.start_ns[i].saturating_sub(origin).saturating_add(later) as f64);
        data.duration.push(set.spans.duration_ns[i].saturating_add(longer).max(0) as f64);
        if concerned[at] {
            data.rows.push(row as u32);
        }
    }
    data.encode()
}

fn head(session: &Session, set: &TraceSet, changes: &[Change], texts: &[String], outcome: &Outcome) -> WhatIfHead {
    let heads = changes.iter().zip(texts).zip(&outcome.spans).map(|((change, text), spans)| ChangeHead {
        text: text.clone(),
        label: label(session, set, change, spans),
        spans: spans.len() as u32,
    });
    WhatIfHead {
        before_ns: outcome.before_ns as f64,
        best_ns: outcome.best_ns as f64,
        worst_ns: outcome.worst_ns as f64,
        changes: heads.collect(),
    }
}

/// A change for people.
pub fn label(session: &Session, set: &TraceSet, change: &Change, spans: &[SpanRow]) -> String {
    let n = spans.len();
    let named = |span: &SpanRow| format!("{} {}", set.service_name(&session.strings, *span), set.name(&session.strings, *span));
    let mut names: Vec<String> = spans.iter().map(named).collect();
    names.dedup();
    let what = match names.as_slice() {
        [one] if n == 1 => one.trim().to_string(),
        [one] => format!("{n} × {}", one.trim()),
        _ => format!("{n} spans"),
    };
    match change.verb {
        Verb::Zero => format!("without {what}"),
        Verb::Batch => format!("{what} in one call"),
        Verb::Parallel(0) => format!("{what} all at once"),
        Verb::Parallel(w) => format!("{what}, {w} at once"),
        Verb::Scale(f) => format!("{what} takes {f} times as long"),
        Verb::Set(ns) => format!("{what} takes {}", format_ns(ns as f64)),
        Verb::Rtt(ns) => format!("{} more for each of {n} remote calls", format_ns(ns as f64)),
    }
}
