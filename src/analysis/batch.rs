//! How long one call would take that does the work of many (TRACES 3.2 of the project's notes).

use crate::base::ids::SpanRow;
use crate::model::trace::TraceSet;

/// Durations of a batched call, at best and at worst: the slowest member; what the members have in common paid once and the
/// rest in sum. In common is the way to the callee and back where both halves of the calls are recorded (the median of client
/// less server), else the fastest member, because how much of it is the way cannot be told.
pub fn batch_bounds(set: &TraceSet, spans: &[SpanRow]) -> (i64, i64) {
    let duration = |s: SpanRow| set.spans.duration_ns[s.index()];
    let most = spans.iter().map(|s| duration(*s)).max().unwrap_or(0);
    let answers = |s: SpanRow| match set.children(s) {
        [server] if set.service(*server) != set.service(s) => Some(duration(s) - duration(*server)),
        _ => None,
    };
    let ways: Option<Vec<i64>> = spans.iter().map(|s| answers(*s).filter(|way| *way >= 0)).collect();
    let beyond = |s: SpanRow, shared: i64| (duration(s) - shared).max(0);
    let shared = match ways.filter(|w| !w.is_empty()) {
        Some(mut ways) => {
            ways.sort_unstable();
            ways[ways.len() / 2]
        }
        None => spans.iter().map(|s| duration(*s)).min().unwrap_or(0),
    };
    let rest = spans.iter().fold(0_i64, |sum, s| sum.saturating_add(beyond(*s, shared)));
    (most, shared.saturating_add(rest).max(most))
}
