//! What the rules on durations of requests and operations share: exemplars, places, service and endpoint names.

use super::Context;
use super::finding::Occurrences;
use crate::base::ids::SpanRow;
use crate::base::view::{View, ViewRef};

/// `traceid/spanid` of a span.
pub fn exemplar(cx: &Context<'_>, span: SpanRow) -> String {
    let (set, strings) = (&cx.session.traces, &cx.session.strings);
    format!("{}/{}", strings.get(set.spans.trace_id[span.index()]), set.id_text(strings, set.spans.id[span.index()]))
}

/// The waterfall of a span's trace with the span selected.
pub fn trace_view(cx: &Context<'_>, span: SpanRow) -> ViewRef {
    let (set, strings) = (&cx.session.traces, &cx.session.strings);
    ViewRef {
        trace: Some(strings.get(set.spans.trace_id[span.index()]).to_string()),
        span: Some(set.id_text(strings, set.spans.id[span.index()])),
        ..ViewRef::of(View::Traces)
    }
}

/// The row of a span's operation in the Services view.
pub fn service_view(cx: &Context<'_>, span: SpanRow) -> ViewRef {
    let (set, strings) = (&cx.session.traces, &cx.session.strings);
    ViewRef {
        service: Some(set.service_name(strings, span).to_string()),
        operation: Some(set.name(strings, span).to_string()),
        ..ViewRef::of(View::Services)
    }
}

/// Occurrences of spans that are given by falling weight, the worst first; each trace is named once.
pub fn occurrences(cx: &Context<'_>, spans: &[SpanRow], of_traces: usize) -> Occurrences {
    let set = &cx.session.traces;
    let mut seen = std::collections::BTreeSet::new();
    let first: Vec<SpanRow> = spans.iter().copied().filter(|s| seen.insert(set.spans.trace[s.index()])).collect();
    let newest = first.iter().copied().max_by_key(|s| (set.spans.start_ns[s.index()], *s));
    Occurrences {
        count: spans.len() as u64,
        traces: first.len() as u64,
        of_traces: of_traces as u64,
        exemplars: first.iter().take(5).map(|s| exemplar(cx, *s)).collect(),
        median: first.get(first.len() / 2).map_or(String::new(), |s| exemplar(cx, *s)),
        newest: newest.map_or(String::new(), |s| exemplar(cx, s)),
    }
}
