//! `hotspan traces` and `hotspan trace`: the list with operations and edges, and one trace with its critical path.

use super::analyze::clean;
use super::{Stop, load, to_json, what_if, write_out};
use crate::analysis::clipped::Clipped;
use crate::analysis::clock_skew;
use crate::analysis::critical_path::{Section, critical_path};
use crate::analysis::joined::{SpanCosts, join_all};
use crate::analysis::trace_tree::trace_tree;
use crate::analysis::{red, service_graph};
use crate::base::ids::{ServiceId, SpanRow, StringId, TraceRow};
use crate::base::intern::StringTable;
use crate::base::quantity::format_ns;
use crate::engine::views::traces::find;
use crate::model::Session;
use crate::model::trace::{SPAN_ERROR, TraceSet};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct ListArgs {
    /// Trace files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// JSON (hotspan.traces/1) instead of text
    #[arg(long)]
    json: bool,
    /// How many traces and operations; 0 for all. Without it 20 in text and all in JSON
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Move the spans of hosts whose clocks differ, by one offset per host and trace
    #[arg(long)]
    align_clocks: bool,
}

#[derive(clap::Args)]
pub(super) struct OneArgs {
    /// Trace files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Trace id, hex
    #[arg(long, value_name = "TRACEID")]
    id: String,
    /// JSON (hotspan.trace/1) instead of text
    #[arg(long)]
    json: bool,
    /// Move the spans of hosts whose clocks differ, by one offset per host and trace
    #[arg(long)]
    align_clocks: bool,
    /// Replay the trace with a change; several are applied together: zero:SPAN, batch:SPAN+siblings, parallel:SPAN+siblings:4,
    /// scale:SPAN:0.5, set:SPAN:12ms, rtt:2ms. SPAN is an id or several with commas; +siblings takes all of its operation under
    /// its parent, +all all of the trace
    #[arg(long, value_name = "CHANGE")]
    what_if: Vec<String>,
}

#[derive(Serialize)]
struct Root {
    service: String,
    operation: String,
}

#[derive(Serialize)]
struct Trace {
    id: String,
    root: Root,
    spans: usize,
    services: u32,
    errors: u32,
    start_ns: i64,
    duration_ns: i64,
    max_depth: u32,
}

#[derive(Serialize)]
struct Operation {
    service: String,
    operation: String,
    kind: &'static str,
    count: u64,
    errors: u64,
    sum_ns: i64,
    min_ns: i64,
    p50_ns: i64,
    p95_ns: i64,
    p99_ns: i64,
    max_ns: i64,
    critical_path_ns: i64,
}

#[derive(Serialize)]
struct Edge {
    from: String,
    to: String,
    calls: u64,
    errors: u64,
    sum_ns: i64,
}

#[derive(Serialize)]
struct List {
    schema: &'static str,
    traces: Vec<Trace>,
    operations: Vec<Operation>,
    edges: Vec<Edge>,
    clock_skew: Vec<Skew>,
    clocks_aligned: bool,
}

/// Hosts whose clocks differ, as the files have them.
#[derive(Serialize)]
struct Skew {
    from: String,
    to: String,
    calls: u32,
    outside: u32,
    median_ns: i64,
    q1_ns: i64,
    q3_ns: i64,
    constant: bool,
}

fn skew(session: &Session, trace: Option<TraceRow>) -> Vec<Skew> {
    let (t, strings) = (&session.traces, &session.strings);
    let pairs = clock_skew::host_pairs(t, strings, trace).into_iter().map(|p| Skew {
        from: p.from.name(t, strings),
        to: p.to.name(t, strings),
        calls: p.calls,
        outside: p.outside,
        median_ns: p.median_ns,
        q1_ns: p.q1_ns,
        q3_ns: p.q3_ns,
        constant: p.constant,
    });
    pairs.collect()
}

fn draw_skew(list: &[Skew], aligned: bool, out: &mut String) {
    if list.is_empty() {
        return;
    }
    let _ = writeln!(out, "\nclocks that differ{}:", if aligned { " (aligned here)" } else { " (--align-clocks moves the spans)" });
    for s in list.iter().take(20) {
        let way = if s.median_ns < 0 { "ahead" } else { "behind" };
        let sure = if s.constant { "" } else { ", not constant" };
        let names = clean(&format!("{} → {}", s.from, s.to));
        let _ = writeln!(out, "  {names}: {} of {} calls outside, {} {way}{sure}", s.outside, s.calls, format_ns(s.median_ns.abs() as f64));
    }
}

fn service_name(session: &Session, service: ServiceId) -> String {
    service.get().map_or(String::new(), |s| session.strings.get(session.traces.services[s.index()]).to_string())
}

fn trace_row(set: &TraceSet, strings: &StringTable, trace: TraceRow) -> Trace {
    let (t, i) = (set, trace.index());
    let root = t.traces.root[i];
    Trace {
        id: strings.get(t.traces.id[i]).to_string(),
        root: Root {
            service: root.get().map_or("", |r| t.service_name(strings, r)).to_string(),
            operation: root.get().map_or("", |r| t.name(strings, r)).to_string(),
        },
        spans: t.traces.spans(trace).len(),
        services: t.traces.services[i],
        errors: t.traces.errors[i],
        start_ns: t.traces.start_ns[i],
        duration_ns: t.traces.duration_ns(trace),
        max_depth: t.traces.max_depth[i],
    }
}

fn sections(set: &TraceSet, trace: TraceRow) -> Vec<Section> {
    let clipped = Clipped::of(set, trace);
    set.traces.root[trace.index()].get().map_or_else(Vec::new, |r| critical_path(set, &clipped, r))
}

fn list(session: &Session, align: bool) -> List {
    let (t, strings) = (&session.traces, &session.strings);
    let key = |set: &TraceSet, span: SpanRow| (set.service(span), set.operations.name[set.spans.operation[span.index()].index()]);
    let mut critical: BTreeMap<(ServiceId, StringId), i64> = BTreeMap::new();
    let mut traces: Vec<Trace> = Vec::with_capacity(t.traces.len());
    for trace in (0..t.traces.len()).map(TraceRow::from_index) {
        let moved = align.then(|| clock_skew::align(t, strings, trace));
        let (set, trace) = moved.as_ref().map_or((t, trace), |m| (&m.set, TraceRow(0)));
        traces.push(trace_row(set, strings, trace));
        for section in sections(set, trace) {
            *critical.entry(key(set, section.span)).or_default() += section.to - section.from;
        }
    }
    traces.sort_by_key(|t| std::cmp::Reverse(t.duration_ns));
    // One operation may occur with several kinds; then none is said. The shortest call is not part of the page's table.
    let mut kinds: BTreeMap<(ServiceId, StringId), (BTreeSet<&'static str>, i64)> = BTreeMap::new();
    for span in (0..t.spans.len()).map(SpanRow::from_index) {
        let entry = kinds.entry(key(t, span)).or_insert((BTreeSet::new(), i64::MAX));
        entry.0.insert(t.kind(span).name());
        entry.1 = entry.1.min(t.spans.duration_ns[span.index()]);
    }
    let operations = red::operations(t).into_iter().map(|r| {
        let known = kinds.get(&(r.service, r.name));
        Operation {
            service: service_name(session, r.service),
            operation: session.strings.get(r.name).to_string(),
            kind: known.filter(|k| k.0.len() == 1).and_then(|k| k.0.first().copied()).unwrap_or("unspecified"),
            count: r.calls,
            errors: r.errors,
            sum_ns: r.sum_ns,
            min_ns: known.map_or(0, |k| k.1),
            p50_ns: r.p50_ns,
            p95_ns: r.p95_ns,
            p99_ns: r.p99_ns,
            max_ns: r.max_ns,
            critical_path_ns: critical.get(&(r.service, r.name)).copied().unwrap_or(0),
        }
    });
    let edges = service_graph::edges(t, &session.strings).into_iter().map(|e| Edge {
        from: service_name(session, e.from),
        to: match e.to {
            service_graph::Callee::Service(s) => service_name(session, s),
            service_graph::Callee::Named(s) => session.strings.get(s).to_string(),
        },
        calls: e.calls,
        errors: e.errors,
        sum_ns: e.sum_ns,
    });
    List {
        schema: "hotspan.traces/1",
        traces,
        operations: operations.collect(),
        edges: edges.collect(),
        clock_skew: skew(session, None),
        clocks_aligned: align,
    }
}

fn no_spans(all_read: bool) -> Result<(), Stop> {
    load::status(all_read)?;
    Err(Stop::Usage("these files hold no traces; for profiles use `hotspan top`".to_string()))
}

pub(super) fn run_list(args: &ListArgs) -> Result<(), Stop> {
    let (engine, all_read) = load::tables(&args.files, &load::Reading::default());
    if engine.session.traces.spans.is_empty() {
        return no_spans(all_read);
    }
    let mut list = list(&engine.session, args.align_clocks);
    let limit = args.limit.unwrap_or(if args.json { 0 } else { 20 });
    let (traces, operations) = (list.traces.len(), list.operations.len());
    if limit > 0 {
        list.traces.truncate(limit);
        list.operations.truncate(limit);
    }
    if args.json {
        write_out(None, &to_json(&list)?)?;
        return load::status(all_read);
    }
    let mut out = String::new();
    let _ = writeln!(out, "{:>10}  {:>6}  {:>6}  {:>5}  trace  root", "duration", "spans", "errors", "depth");
    for t in &list.traces {
        let root = clean(&format!("{} {}", t.root.service, t.root.operation));
        let _ = writeln!(
            out,
            "{:>10}  {:>6}  {:>6}  {:>5}  {}  {root}",
            format_ns(t.duration_ns as f64),
            t.spans,
            t.errors,
            t.max_depth,
            clean(&t.id)
        );
    }
    let _ = writeln!(out, "\n{:>8}  {:>6}  {:>9}  {:>9}  {:>9}  {:>9}  operation", "calls", "errors", "p50", "p95", "p99", "critical");
    for o in &list.operations {
        let ns = |v: i64| format_ns(v as f64);
        let name = clean(&format!("{} {}", o.service, o.operation));
        let numbers = [ns(o.p50_ns), ns(o.p95_ns), ns(o.p99_ns), ns(o.critical_path_ns)];
        let _ = writeln!(
            out,
            "{:>8}  {:>6}  {:>9}  {:>9}  {:>9}  {:>9}  {name}",
            o.count, o.errors, numbers[0], numbers[1], numbers[2], numbers[3]
        );
    }
    draw_skew(&list.clock_skew, list.clocks_aligned, &mut out);
    if list.traces.len() < traces || list.operations.len() < operations {
        let _ = writeln!(
            out,
            "\n{} of {traces} traces, {} of {operations} operations; --limit 0 shows all",
            list.traces.len(),
            list.operations.len()
        );
    }
    write_out(None, &out)?;
    load::status(all_read)
}

#[derive(Serialize)]
struct Row {
    span: String,
    parent: String,
    service: String,
    operation: String,
    kind: &'static str,
    start_ns: i64,
    duration_ns: i64,
    self_ns: i64,
    error: bool,
    depth: u32,
    /// How much longer it could take before the root takes longer; none where the root does not wait for it.
    slack_ns: Option<i64>,
    /// How much less the root would take if it took no time; only for the spans with most time on the critical path.
    drag_ns: Option<i64>,
    /// How far the row was moved because the clock of its host differs.
    clock_shift_ns: i64,
    /// CPU time of the samples that are joined with this span; absent where no CPU profile is.
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_ns: Option<i64>,
    /// Bytes that they allocated; absent where no allocation profile is joined.
    #[serde(skip_serializing_if = "Option::is_none")]
    alloc_bytes: Option<i64>,
}

#[derive(Serialize)]
struct PathSection {
    span: String,
    start_ns: i64,
    end_ns: i64,
}

#[derive(Serialize)]
struct One {
    schema: &'static str,
    trace: Trace,
    rows: Vec<Row>,
    critical_path: Vec<PathSection>,
    /// What `--what-if` makes of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    what_if: Option<what_if::WhatIf>,
    clock_skew: Vec<Skew>,
    clocks_aligned: bool,
}

pub(super) fn run_one(args: &OneArgs) -> Result<(), Stop> {
    let (engine, all_read) = load::tables(&args.files, &load::Reading::default());
    let session = &engine.session;
    if session.traces.spans.is_empty() {
        return no_spans(all_read);
    }
    let found = find(session, &args.id).map_err(|f| Stop::Usage(f.message))?;
    let moved = args.align_clocks.then(|| clock_skew::align(&session.traces, &session.strings, found));
    let (t, trace) = moved.as_ref().map_or((&session.traces, found), |m| (&m.set, TraceRow(0)));
    let tree = trace_tree(t, trace);
    let path = sections(t, trace);
    let margins = what_if::Margins::new(t, trace, &path);
    let id = |span: SpanRow| t.id_text(&session.strings, t.spans.id[span.index()]);
    let costs = SpanCosts::new(session, &join_all(session));
    // Moved spans are rows of a table of their own, possibly in another order; of spans with one id the first has the samples.
    let of_id: BTreeMap<u64, usize> =
        session.traces.traces.spans(found).rev().map(|s| (session.traces.spans.id[s.index()], s.index())).collect();
    let own_row = |i: usize| if moved.is_some() { of_id.get(&t.spans.id[i]).copied() } else { Some(i) };
    let rows = tree.span.iter().enumerate().map(|(row, &span)| {
        let i = span.index();
        Row {
            span: id(span),
            parent: if t.spans.parent_id[i] == 0 { String::new() } else { t.id_text(&session.strings, t.spans.parent_id[i]) },
            service: t.service_name(&session.strings, span).to_string(),
            operation: t.name(&session.strings, span).to_string(),
            kind: t.kind(span).name(),
            start_ns: t.spans.start_ns[i],
            duration_ns: t.spans.duration_ns[i],
            self_ns: tree.self_ns[row],
            error: t.spans.has(span, SPAN_ERROR),
            depth: tree.depth[row],
            slack_ns: margins.slack(span),
            drag_ns: margins.drag(span),
            clock_shift_ns: moved.as_ref().map_or(0, |m| m.shift_ns[i]),
            cpu_ns: own_row(i).and_then(|r| costs.cpu_ns.get(r).copied()),
            alloc_bytes: own_row(i).and_then(|r| costs.alloc_bytes.get(r).copied()),
        }
    });
    let one = One {
        schema: "hotspan.trace/1",
        trace: trace_row(t, &session.strings, trace),
        rows: rows.collect(),
        critical_path: path.iter().map(|s| PathSection { span: id(s.span), start_ns: s.from, end_ns: s.to }).collect(),
        what_if: what_if::run(session, t, trace, &args.what_if)?,
        clock_skew: skew(session, Some(found)),
        clocks_aligned: args.align_clocks,
    };
    let text = if args.json { to_json(&one)? } else { draw(&one) };
    write_out(None, &text)?;
    load::status(all_read)
}

fn draw(one: &One) -> String {
    let mut critical: BTreeMap<&str, i64> = BTreeMap::new();
    for s in &one.critical_path {
        *critical.entry(&s.span).or_default() += s.end_ns - s.start_ns;
    }
    let t = &one.trace;
    let mut out = format!(
        "trace {}: {}, {} spans, {} services, {} errors\n\n",
        clean(&t.id),
        format_ns(t.duration_ns as f64),
        t.spans,
        t.services,
        t.errors
    );
    if let Some(what_if) = &one.what_if {
        what_if.draw(&mut out);
    }
    let _ = writeln!(out, "{:>10}  {:>10}  {:>10}  {:>10}", "after", "duration", "self", "critical");
    for row in &one.rows {
        let critical = critical.get(row.span.as_str()).map_or(String::new(), |ns| format_ns(*ns as f64));
        let mut mark = if row.error { " ✕" } else { "" }.to_string();
        if row.clock_shift_ns != 0 {
            let way = if row.clock_shift_ns > 0 { "later" } else { "earlier" };
            let _ = write!(mark, "  (moved {} {way}: clocks aligned)", format_ns(row.clock_shift_ns.abs() as f64));
        }
        let indent = "  ".repeat(row.depth.min(40) as usize);
        let cpu = row.cpu_ns.filter(|ns| *ns > 0).map_or(String::new(), |ns| format!("  (CPU {})", format_ns(ns as f64)));
        let _ = writeln!(
            out,
            "{:>10}  {:>10}  {:>10}  {:>10}  {indent}{}{mark}{cpu}",
            format_ns((row.start_ns - t.start_ns) as f64),
            format_ns(row.duration_ns as f64),
            format_ns(row.self_ns as f64),
            critical,
            clean(&format!("{} {}", row.service, row.operation))
        );
    }
    draw_skew(&one.clock_skew, one.clocks_aligned, &mut out);
    out
}
