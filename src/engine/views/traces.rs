//! The list of traces, the waterfall, the details of a span.

use crate::analysis::clipped::Clipped;
use crate::analysis::clock_skew;
use crate::analysis::critical_path::critical_path;
use crate::analysis::slack::slack;
use crate::analysis::trace_tree::{self_time, trace_tree};
use crate::analysis::what_if::{Alike, drag};
use crate::base::ids::{SpanRow, StringId, TraceRow as Row};
use crate::base::quantity::format_ns;
use crate::base::slabs::{Slabs, Texts};
use crate::base::time::iso_utc;
use crate::engine::Engine;
use crate::engine::protocol::Failure;
use crate::engine::protocol::traces::{
    ClockSkew, EventDetail, FLAG_SHIFTED, SpanDetail, TraceData, TraceHead, TraceList, TraceQuery, TraceRow, TraceSort,
};
use crate::model::Session;
use crate::model::trace::{
    AttrValue, SPAN_ASYNC, SPAN_CYCLE, SPAN_DUPLICATE_ID, SPAN_ERROR, SPAN_NO_DURATION, SPAN_ORPHAN, SPAN_OUTSIDE_PARENT, SPAN_SHARED,
    SPAN_UNFINISHED, TraceSet,
};
use std::collections::BTreeMap;

fn json(value: &impl serde::Serialize) -> Result<Slabs, Failure> {
    serde_json::to_string(value).map(Slabs::json).map_err(|e| Failure::new(e.to_string()))
}

/// A trace as the list shows it.
pub fn summary(session: &Session, trace: Row) -> TraceRow {
    let (t, i) = (&session.traces, trace.index());
    let root = t.traces.root[i];
    TraceRow {
        id: session.strings.get(t.traces.id[i]).to_string(),
        service: root.get().map_or("", |r| t.service_name(&session.strings, r)).to_string(),
        operation: root.get().map_or("", |r| t.name(&session.strings, r)).to_string(),
        start: iso_utc(t.traces.start_ns[i]),
        duration_ns: t.traces.duration_ns(trace) as f64,
        spans: t.traces.spans(trace).len() as u32,
        services: t.traces.services[i],
        errors: t.traces.errors[i],
        depth: t.traces.max_depth[i],
    }
}

/// Traces that match, in order.
///
/// # Errors
/// Never in practice.
pub fn list(engine: &Engine, query: &TraceQuery) -> Result<Slabs, Failure> {
    let session = &engine.session;
    let t = &session.traces;
    let mut rows: Vec<Row> = (0..t.traces.len()).map(Row::from_index).collect();
    let text = query.search.trim().to_lowercase();
    if !text.is_empty() {
        // Each name is looked at once, not once per span.
        let holds = |id: StringId| session.strings.get(id).to_lowercase().contains(&text);
        let services: Vec<bool> = t.services.iter().map(|s| holds(*s)).collect();
        let operations: Vec<bool> = (0..t.operations.len())
            .map(|o| t.operations.service[o].get().is_some_and(|s| services[s.index()]) || holds(t.operations.name[o]))
            .collect();
        rows.retain(|trace| {
            holds(t.traces.id[trace.index()]) || t.traces.spans(*trace).any(|s| operations[t.spans.operation[s.index()].index()])
        });
    }
    let key = |trace: &Row| {
        let i = trace.index();
        match query.sort {
            TraceSort::Duration => t.traces.duration_ns(*trace),
            TraceSort::Errors => i64::from(t.traces.errors[i]),
            TraceSort::Spans => t.traces.spans(*trace).len() as i64,
            TraceSort::Start => t.traces.start_ns[i],
        }
    };
    rows.sort_by_key(|trace| (if query.descending { -i128::from(key(trace)) } else { i128::from(key(trace)) }, *trace));
    let shown = rows.iter().skip(query.offset as usize).take(query.limit as usize);
    json(&TraceList { matching: rows.len() as u32, all: t.traces.len() as u32, rows: shown.map(|r| summary(session, *r)).collect() })
}

/// The trace with an id; a spelling with other padding or case finds it too.
///
/// # Errors
/// [`Failure`] when there is none.
pub fn find(session: &Session, id: &str) -> Result<Row, Failure> {
    let id = crate::formats::span_sink::trace_id(id);
    let wanted = session.strings.find(&id);
    let found = wanted.and_then(|w| session.traces.traces.id.iter().position(|i| *i == w));
    found.map(Row::from_index).ok_or_else(|| Failure::new(format!("there is no trace {id} in these files")))
}

/// One trace as a waterfall; with `align` the spans of hosts whose clocks differ are moved, and marked.
///
/// # Errors
/// [`Failure`] when there is no such trace.
pub fn trace(engine: &Engine, id: &str, align: bool) -> Result<Slabs, Failure> {
    let session = &engine.session;
    let strings = &session.strings;
    let found = find(session, id)?;
    let shifts = clock_skew::shifts(&session.traces, strings, found);
    let movable = shifts.iter().filter(|s| **s != 0).count() as u32;
    let moved = (align && movable > 0).then(|| session.traces.shifted(found, &shifts));
    let (t, trace) = moved.as_ref().map_or((&session.traces, found), |m| (&m.set, Row(0)));
    let tree = trace_tree(t, trace);
    let origin = t.traces.start_ns[trace.index()];
    let mut texts = Texts::default();
    let mut known: BTreeMap<StringId, u32> = BTreeMap::new();
    let mut text = |id: StringId| *known.entry(id).or_insert_with(|| texts.push(strings.get(id)));
    let mut data = TraceData { parent: tree.parent, depth: tree.depth, end_row: tree.end_row, ..TraceData::default() };
    let mut row_of = vec![0_u32; tree.span.len()];
    let first = t.traces.first_span[trace.index()].index();
    for (row, &span) in tree.span.iter().enumerate() {
        let i = span.index();
        row_of[i - first] = row as u32;
        let operation = t.spans.operation[i].index();
        let shifted = moved.as_ref().is_some_and(|m| m.shift_ns[i] != 0);
        data.service.push(text(t.service(span).get().map_or(StringId::NONE, |s| t.services[s.index()])));
        data.operation.push(text(t.operations.name[operation]));
        data.kind.push(t.operations.kind[operation] as u32);
        data.flags.push(u32::from(t.spans.flags[i]) | if shifted { FLAG_SHIFTED } else { 0 });
        data.start.push(t.spans.start_ns[i].saturating_sub(origin) as f64);
        data.duration.push(t.spans.duration_ns[i] as f64);
        data.self_time.push(tree.self_ns[row] as f64);
        data.ids.push(&t.id_text(strings, t.spans.id[i]));
    }
    let root = t.traces.root[trace.index()];
    if let Some(root) = root.get() {
        let clipped = Clipped::of(t, trace);
        for section in critical_path(t, &clipped, root) {
            data.critical_row.push(row_of[section.span.index() - first]);
            // Sections lie on the clipped time line; the page draws spans where the table puts them.
            let shift = clipped.shift(section.span);
            data.critical_time.extend([section.from - shift - origin, section.to - shift - origin].map(|ns| ns as f64));
        }
    }
    data.texts = texts;
    let mut row = summary(session, found);
    (row.start, row.duration_ns) = (iso_utc(origin), t.traces.duration_ns(trace) as f64);
    let pairs = clock_skew::host_pairs(&session.traces, strings, Some(found));
    data.head = TraceHead {
        row,
        rows: tree.span.len() as u32,
        critical_ns: root.get().map_or(0.0, |r| t.spans.duration_ns[r.index()] as f64),
        clocks: pairs.iter().map(|p| clock(session, p)).collect(),
        movable,
        aligned: moved.is_some(),
    };
    data.encode()
}

fn clock(session: &Session, pair: &clock_skew::HostPair) -> ClockSkew {
    let name = |host: clock_skew::Host| host.name(&session.traces, &session.strings);
    ClockSkew {
        from: name(pair.from),
        to: name(pair.to),
        calls: pair.calls,
        outside: pair.outside,
        median_ns: pair.median_ns as f64,
        quartiles_ns: (pair.q1_ns as f64, pair.q3_ns as f64),
        constant: pair.constant,
    }
}

/// A value as text.
pub fn value_text(session: &Session, value: AttrValue) -> String {
    match value {
        AttrValue::Text(id) | AttrValue::Json(id) => session.strings.get(id).to_string(),
        AttrValue::Int(n) => n.to_string(),
        AttrValue::Double(f) => f.to_string(),
        AttrValue::Bool(b) => b.to_string(),
    }
}

fn attributes(session: &Session, start: u32, len: u32) -> Vec<(String, String)> {
    session.traces.attr_rows(start, len).map(|(k, v)| (session.strings.get(k).to_string(), value_text(session, v))).collect()
}

/// The span with an id in a trace; of several the first.
///
/// # Errors
/// [`Failure`] when there is none.
pub fn find_span(session: &Session, trace: Row, id: &str) -> Result<SpanRow, Failure> {
    let t = &session.traces;
    t.traces
        .spans(trace)
        .find(|s| t.id_text(&session.strings, t.spans.id[s.index()]) == id)
        .ok_or_else(|| Failure::new(format!("there is no span {id} in this trace")))
}

/// Drag and slack of a span, in the file's own times.
fn margins(t: &TraceSet, trace: Row, span: SpanRow) -> (Option<f64>, Option<f64>) {
    let Some(root) = t.traces.root[trace.index()].get() else { return (None, None) };
    let clipped = Clipped::of(t, trace);
    match slack(t, &clipped, root)[clipped.position(span)] {
        Some(slack) => (Some(drag(t, &clipped, root, span) as f64), Some(slack as f64)),
        None => (None, None),
    }
}

/// Everything about one span.
///
/// # Errors
/// [`Failure`] when there is no such trace or span.
pub fn span(engine: &Engine, trace: &str, id: &str, align: bool) -> Result<Slabs, Failure> {
    let session = &engine.session;
    let (t, strings) = (&session.traces, &session.strings);
    let trace = find(session, trace)?;
    let span = find_span(session, trace, id)?;
    let i = span.index();
    let resource = t.spans.resource[i].get().map_or_else(Vec::new, |r| {
        let r = r.index();
        attributes(session, t.resources.attr_start[r], t.resources.attr_len[r])
    });
    let remarks = [
        (SPAN_ERROR, "failed"),
        (SPAN_ORPHAN, "its parent is not in the files"),
        (SPAN_UNFINISHED, "it has no end"),
        (SPAN_NO_DURATION, "the file gives no duration"),
        (SPAN_ASYNC, "its parent does not wait for it"),
        (SPAN_SHARED, "the server half of a span that both sides share"),
        (SPAN_OUTSIDE_PARENT, "it does not lie inside its parent: clocks differ, or it goes on after it"),
        (SPAN_DUPLICATE_ID, "another span of the trace has the same id"),
        (SPAN_CYCLE, "its parents run in a circle, cut here"),
    ];
    let shift = if align { clock_skew::shifts(t, strings, trace)[i - t.traces.first_span[trace.index()].index()] } else { 0 };
    let moved = (shift != 0).then(|| {
        let way = if shift > 0 { "later" } else { "earlier" };
        format!("clocks are aligned: it is drawn {} {way} than its file says; the times here are the file's", format_ns(shift.abs() as f64))
    });
    let events = (t.spans.event_start[i]..t.spans.event_start[i] + t.spans.event_len[i]).map(|e| {
        let e = e as usize;
        EventDetail {
            offset_ns: t.events.time_ns[e].saturating_sub(t.spans.start_ns[i]) as f64,
            name: strings.get(t.events.name[e]).to_string(),
            attributes: attributes(session, t.events.attr_start[e], t.events.attr_len[e]),
        }
    });
    let links = (t.spans.link_start[i]..t.spans.link_start[i] + t.spans.link_len[i]).map(|l| {
        let l = l as usize;
        let list = attributes(session, t.links.attr_start[l], t.links.attr_len[l]);
        (strings.get(t.links.trace_id[l]).to_string(), t.id_text(strings, t.links.span_id[l]), list)
    });
    let (drag_ns, slack_ns) = margins(t, trace, span);
    let alike = Alike::new(strings);
    json(&SpanDetail {
        drag_ns,
        slack_ns,
        siblings: alike.siblings(t, strings, span).len() as u32,
        alike: alike.all(t, strings, trace, span).len() as u32,
        id: id.to_string(),
        parent: if t.spans.parent_id[i] == 0 { String::new() } else { t.id_text(strings, t.spans.parent_id[i]) },
        service: t.service_name(strings, span).to_string(),
        operation: t.name(strings, span).to_string(),
        kind: t.kind(span).name().to_string(),
        scope: strings.get(t.spans.scope[i]).to_string(),
        start: iso_utc(t.spans.start_ns[i]),
        offset_ns: t.spans.start_ns[i].saturating_sub(t.traces.start_ns[trace.index()]) as f64,
        duration_ns: t.spans.duration_ns[i] as f64,
        self_ns: self_time(t, span) as f64,
        remarks: remarks.iter().filter(|(flag, _)| t.spans.has(span, *flag)).map(|(_, r)| (*r).to_string()).chain(moved).collect(),
        attributes: attributes(session, t.spans.attr_start[i], t.spans.attr_len[i]),
        resource,
        events: events.collect(),
        links: links.collect(),
        samples: super::joined::of_span(engine, span),
    })
}
