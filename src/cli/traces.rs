//! `hotspan traces` and `hotspan trace`: the list with operations and edges, and one trace with its critical path.

use super::analyze::clean;
use super::{Stop, load, to_json, write_out};
use crate::analysis::clipped::Clipped;
use crate::analysis::critical_path::{Section, critical_path};
use crate::analysis::trace_tree::trace_tree;
use crate::analysis::{red, service_graph};
use crate::base::ids::{ServiceId, SpanRow, StringId, TraceRow};
use crate::base::quantity::format_ns;
use crate::engine::views::traces::find;
use crate::model::Session;
use crate::model::trace::SPAN_ERROR;
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
}

fn service_name(session: &Session, service: ServiceId) -> String {
    service.get().map_or(String::new(), |s| session.strings.get(session.traces.services[s.index()]).to_string())
}

fn trace_row(session: &Session, trace: TraceRow) -> Trace {
    let (t, i) = (&session.traces, trace.index());
    let root = t.traces.root[i];
    Trace {
        id: session.strings.get(t.traces.id[i]).to_string(),
        root: Root {
            service: root.get().map_or("", |r| t.service_name(&session.strings, r)).to_string(),
            operation: root.get().map_or("", |r| t.name(&session.strings, r)).to_string(),
        },
        spans: t.traces.spans(trace).len(),
        services: t.traces.services[i],
        errors: t.traces.errors[i],
        start_ns: t.traces.start_ns[i],
        duration_ns: t.traces.duration_ns(trace),
        max_depth: t.traces.max_depth[i],
    }
}

fn sections(session: &Session, trace: TraceRow) -> (Clipped, Vec<Section>) {
    let clipped = Clipped::of(&session.traces, trace);
    let path = session.traces.traces.root[trace.index()].get().map_or_else(Vec::new, |r| critical_path(&session.traces, &clipped, r));
    (clipped, path)
}

fn list(session: &Session) -> List {
    let t = &session.traces;
    let mut traces: Vec<Trace> = (0..t.traces.len()).map(|i| trace_row(session, TraceRow::from_index(i))).collect();
    traces.sort_by_key(|t| std::cmp::Reverse(t.duration_ns));
    let key = |span: SpanRow| (t.service(span), t.operations.name[t.spans.operation[span.index()].index()]);
    let mut critical: BTreeMap<(ServiceId, StringId), i64> = BTreeMap::new();
    for trace in (0..t.traces.len()).map(TraceRow::from_index) {
        for section in sections(session, trace).1 {
            *critical.entry(key(section.span)).or_default() += section.to - section.from;
        }
    }
    // One operation may occur with several kinds; then none is said. The shortest call is not part of the page's table.
    let mut kinds: BTreeMap<(ServiceId, StringId), (BTreeSet<&'static str>, i64)> = BTreeMap::new();
    for span in (0..t.spans.len()).map(SpanRow::from_index) {
        let entry = kinds.entry(key(span)).or_insert((BTreeSet::new(), i64::MAX));
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
    List { schema: "hotspan.traces/1", traces, operations: operations.collect(), edges: edges.collect() }
}

fn no_spans(all_read: bool) -> Result<(), Stop> {
    load::status(all_read)?;
    Err(Stop::Usage("these files hold no traces; for profiles use `hotspan top`".to_string()))
}

pub(super) fn run_list(args: &ListArgs) -> Result<(), Stop> {
    let (engine, all_read) = load::tables(&args.files);
    if engine.session.traces.spans.is_empty() {
        return no_spans(all_read);
    }
    let mut list = list(&engine.session);
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
}

pub(super) fn run_one(args: &OneArgs) -> Result<(), Stop> {
    let (engine, all_read) = load::tables(&args.files);
    let session = &engine.session;
    let t = &session.traces;
    if t.spans.is_empty() {
        return no_spans(all_read);
    }
    let trace = find(session, &args.id).map_err(|f| Stop::Usage(f.message))?;
    let tree = trace_tree(t, trace);
    let id = |span: SpanRow| t.id_text(&session.strings, t.spans.id[span.index()]);
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
        }
    });
    let path = sections(session, trace).1;
    let one = One {
        schema: "hotspan.trace/1",
        trace: trace_row(session, trace),
        rows: rows.collect(),
        critical_path: path.iter().map(|s| PathSection { span: id(s.span), start_ns: s.from, end_ns: s.to }).collect(),
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
    let _ = writeln!(out, "{:>10}  {:>10}  {:>10}  {:>10}", "after", "duration", "self", "critical");
    for row in &one.rows {
        let critical = critical.get(row.span.as_str()).map_or(String::new(), |ns| format_ns(*ns as f64));
        let mark = if row.error { " ✕" } else { "" };
        let indent = "  ".repeat(row.depth.min(40) as usize);
        let _ = writeln!(
            out,
            "{:>10}  {:>10}  {:>10}  {:>10}  {indent}{}{mark}",
            format_ns((row.start_ns - t.start_ns) as f64),
            format_ns(row.duration_ns as f64),
            format_ns(row.self_ns as f64),
            critical,
            clean(&format!("{} {}", row.service, row.operation))
        );
    }
    out
}
