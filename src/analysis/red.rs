//! Rate, errors and durations ("RED", T. Wilkie) per operation and per service. Percentiles are exact nearest ranks.

use crate::base::ids::{ServiceId, SpanRow, StringId};
use crate::base::stats::nearest_rank;
use crate::model::trace::{SPAN_ERROR, SpanKind, TraceSet};

/// The calls of one group of spans.
#[derive(Clone, Debug, PartialEq)]
pub struct Red {
    /// Service; `NONE` if unknown.
    pub service: ServiceId,
    /// Operation; `NONE` for a service as a whole.
    pub name: StringId,
    /// Spans.
    pub calls: u64,
    /// Failed spans.
    pub errors: u64,
    /// Sum of durations in nanoseconds, saturating.
    pub sum_ns: i64,
    /// Nearest-rank percentiles of the durations in nanoseconds.
    pub p50_ns: i64,
    /// See `p50_ns`.
    pub p95_ns: i64,
    /// See `p50_ns`.
    pub p99_ns: i64,
    /// Longest duration.
    pub max_ns: i64,
    /// A span at the median.
    pub median: SpanRow,
    /// The longest span.
    pub worst: SpanRow,
}

/// One row per service and span name, in order of falling sum, then service, then name (as interned).
pub fn operations(traces: &TraceSet) -> Vec<Red> {
    let key = |span: SpanRow| {
        let operation = traces.spans.operation[span.index()].index();
        (traces.operations.service[operation], traces.operations.name[operation])
    };
    group(traces, (0..traces.spans.len()).map(SpanRow::from_index).map(|s| (key(s), s)).collect())
}

/// One row per service over its entry spans: those that another service or nobody called.
pub fn services(traces: &TraceSet) -> Vec<Red> {
    let entry = |span: SpanRow| {
        let outside = traces.spans.parent[span.index()].get().is_none_or(|p| traces.service(p) != traces.service(span));
        outside || matches!(traces.kind(span), SpanKind::Server | SpanKind::Consumer)
    };
    let rows = (0..traces.spans.len()).map(SpanRow::from_index).filter(|s| entry(*s));
    group(traces, rows.map(|s| ((traces.service(s), StringId::NONE), s)).collect())
}

/// Earliest begin and latest end of all spans in nanoseconds since 1970; `None` without spans.
pub fn window(traces: &TraceSet) -> Option<(i64, i64)> {
    let start = traces.traces.start_ns.iter().min()?;
    let end = traces.traces.end_ns.iter().max()?;
    Some((*start, *end))
}

/// Durations of an operation in nanoseconds, sorted.
pub fn durations(traces: &TraceSet, service: ServiceId, name: StringId) -> Vec<i64> {
    let wanted = |span: &usize| {
        let operation = traces.spans.operation[*span].index();
        traces.operations.service[operation] == service && traces.operations.name[operation] == name
    };
    let mut out: Vec<i64> = (0..traces.spans.len()).filter(wanted).map(|i| traces.spans.duration_ns[i]).collect();
    out.sort_unstable();
    out
}

fn group(traces: &TraceSet, mut spans: Vec<((ServiceId, StringId), SpanRow)>) -> Vec<Red> {
    let duration = |span: SpanRow| traces.spans.duration_ns[span.index()];
    spans.sort_by_key(|(key, span)| (*key, duration(*span), *span));
    let mut out: Vec<Red> = spans
        .chunk_by(|a, b| a.0 == b.0)
        .map(|rows| {
            let sorted: Vec<i64> = rows.iter().map(|(_, span)| duration(*span)).collect();
            let ((service, name), worst) = rows[rows.len() - 1];
            Red {
                service,
                name,
                calls: rows.len() as u64,
                errors: rows.iter().filter(|(_, s)| traces.spans.has(*s, SPAN_ERROR)).count() as u64,
                sum_ns: sorted.iter().fold(0, |sum: i64, d| sum.saturating_add(*d)),
                p50_ns: nearest_rank(&sorted, 0.5),
                p95_ns: nearest_rank(&sorted, 0.95),
                p99_ns: nearest_rank(&sorted, 0.99),
                max_ns: duration(worst),
                median: rows[(rows.len() - 1) / 2].1,
                worst,
            }
        })
        .collect();
    out.sort_by_key(|r| (std::cmp::Reverse(r.sum_ns), r.service, r.name));
    out
}
