//! From a finding to the what-if tool: the repair that it advises, tried out on its worst trace.

use super::finding::{Cover, Evidence, Finding};
use crate::base::ids::SpanRow;
use crate::base::view::{View, ViewRef};
use crate::model::Session;

/// Spans that are named one by one in a link.
const NAMED: usize = 100;

/// What to try for a rule: before and after the ids, and whether the first span stays as it is. Rules that are not named try
/// their spans at half their length.
const TRIES: &[(&str, &str, &str, bool)] = &[
    ("chatty-n-plus-one", "batch:", "", false),
    ("chatty-fan-out", "batch:", "", false),
    ("many-writes", "batch:", "", false),
    ("chatty-duplicate", "zero:", "", true),
    ("chatty-transitive", "zero:", "", true),
    ("connection-churn", "zero:", "", true),
    ("sequential-calls", "parallel:", "", false),
    ("pool-staircase", "parallel:", ":16", false),
    ("retry-storm", "zero:", "", false),
    ("pool-wait", "zero:", "", false),
];

/// Adds the link to a finding on spans whose repair saves time; a finding without such spans stays as it is.
pub fn link(session: &Session, f: &mut Finding) {
    let Cover::Spans(cover) = &f.cover else { return };
    if f.impact.recoverable_high <= 0 || f.impact.unit != "nanoseconds" {
        return;
    }
    let (set, strings) = (&session.traces, &session.strings);
    let Some((trace, _)) = f.occurrences.exemplars.first().and_then(|e| e.rsplit_once('/')) else { return };
    let of_trace = |s: &&SpanRow| strings.get(set.spans.trace_id[s.index()]) == trace;
    let mut spans: Vec<SpanRow> = cover.iter().filter(of_trace).copied().collect();
    spans.sort_by_key(|s| (set.spans.start_ns[s.index()], *s));
    let known = TRIES.iter().find(|t| t.0 == f.rule);
    let (verb, value, keep_first) = known.map_or(("scale:", ":0.5", false), |t| (t.1, t.2, t.3));
    let Some(&first) = spans.first() else { return };
    let changed = if keep_first { &spans[1..] } else { &spans[..] };
    if changed.is_empty() || changed.len() > NAMED {
        return;
    }
    let id = |s: &SpanRow| set.id_text(strings, set.spans.id[s.index()]);
    let ids: Vec<String> = changed.iter().map(id).collect();
    let view = ViewRef {
        trace: Some(trace.to_string()),
        span: Some(id(&first)),
        changes: vec![format!("{verb}{}{value}", ids.join(","))],
        ..ViewRef::of(View::Traces)
    };
    f.evidence.push(Evidence { text: "Try it: the same request with this repaired, replayed.".to_string(), view });
}
