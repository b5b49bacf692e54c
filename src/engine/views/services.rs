//! Services, operations, call edges and the latency histogram.

use crate::analysis::where_time::{KINDS, where_time};
use crate::analysis::{normalize, red, service_graph};
use crate::base::ids::{OperationId, ServiceId, SpanRow};
use crate::base::slabs::{Slab, Slabs};
use crate::engine::Engine;
use crate::engine::protocol::Failure;
use crate::engine::protocol::services::{EdgeRow, RedRow, ServicesData};
use crate::model::Session;
use crate::report::histogram;
use std::collections::BTreeMap;

/// Builds the table.
///
/// # Errors
/// Never in practice; serialising a number that JSON does not know would be one.
pub fn answer(engine: &Engine) -> Result<Slabs, Failure> {
    let session = &engine.session;
    let traces = &session.traces;
    let time = where_time(traces, &session.strings);
    let mut by_service: BTreeMap<ServiceId, i64> = BTreeMap::new();
    for ((service, _), ns) in &time.operations {
        *by_service.entry(*service).or_default() += ns;
    }
    let critical = |r: &red::Red| match r.name.get() {
        Some(name) => time.operations.get(&(r.service, name)).copied().unwrap_or(0),
        None => by_service.get(&r.service).copied().unwrap_or(0),
    };
    let rows = |list: Vec<red::Red>| list.iter().map(|r| RedRow { critical_ns: critical(r) as f64, ..row(session, r) }).collect();
    let data = ServicesData {
        window_ns: red::window(traces).map_or(0.0, |(start, end)| end.saturating_sub(start) as f64),
        services: rows(red::services(traces)),
        operations: rows(red::operations(traces)),
        edges: service_graph::edges(traces, &session.strings).iter().map(|e| edge(session, e)).collect(),
        endpoint_costs: super::joined::endpoints(engine),
        whole_ns: time.whole as f64,
        worked_ns: time.worked as f64,
        kinds: KINDS.iter().zip(time.kinds).filter(|(_, ns)| *ns > 0).map(|(kind, ns)| ((*kind).to_string(), ns as f64)).collect(),
        endpoints: endpoints(session),
    };
    serde_json::to_string(&data).map(Slabs::json).map_err(|e| Failure::new(e.to_string()))
}

/// Requests by the service and normalised operation of their roots.
fn endpoints(session: &Session) -> Vec<(String, String, u64, f64)> {
    let t = &session.traces;
    // Names are normalised once per operation.
    let mut by_operation: BTreeMap<OperationId, (u64, f64)> = BTreeMap::new();
    for root in t.traces.root.iter().filter_map(|r| r.get()) {
        let sum = by_operation.entry(t.spans.operation[root.index()]).or_default();
        *sum = (sum.0 + 1, sum.1 + t.spans.duration_ns[root.index()] as f64);
    }
    let mut sums: BTreeMap<(String, String), (u64, f64)> = BTreeMap::new();
    for (operation, (n, ns)) in by_operation {
        let i = operation.index();
        let key = (name(session, t.operations.service[i]), normalize::name(session.strings.get(t.operations.name[i])).text);
        let sum = sums.entry(key).or_default();
        *sum = (sum.0 + n, sum.1 + ns);
    }
    let mut out: Vec<(String, String, u64, f64)> = sums.into_iter().map(|((s, o), (n, ns))| (s, o, n, ns)).collect();
    out.sort_by(|a, b| b.3.total_cmp(&a.3).then_with(|| (&a.0, &a.1).cmp(&(&b.0, &b.1))));
    out
}

/// Draws the durations of an operation as SVG.
///
/// # Errors
/// [`Failure`] when there is no such operation.
pub fn histogram(engine: &Engine, service: &str, operation: &str) -> Result<Slabs, Failure> {
    let (strings, traces) = (&engine.session.strings, &engine.session.traces);
    let missing = || Failure::new(format!("there is no operation {operation} of {service}"));
    let name = strings.find(operation).ok_or_else(missing)?;
    let service = if service.is_empty() {
        ServiceId::NONE
    } else {
        let id = strings.find(service).ok_or_else(missing)?;
        ServiceId::from_index(traces.services.iter().position(|s| *s == id).ok_or_else(missing)?)
    };
    let durations = red::durations(traces, service, name);
    if durations.is_empty() {
        return Err(missing());
    }
    let svg = histogram::latency(&durations).map_err(Failure::new)?;
    Ok(Slabs { head: "{}".to_string(), slabs: vec![Slab::U8(svg.into_bytes())] })
}

fn name(session: &Session, service: ServiceId) -> String {
    service.get().map_or(String::new(), |s| session.strings.get(session.traces.services[s.index()]).to_string())
}

fn place(session: &Session, span: SpanRow) -> (String, String) {
    let traces = &session.traces;
    let trace = session.strings.get(traces.spans.trace_id[span.index()]).to_string();
    (trace, traces.id_text(&session.strings, traces.spans.id[span.index()]))
}

fn row(session: &Session, r: &red::Red) -> RedRow {
    RedRow {
        service: name(session, r.service),
        operation: session.strings.get(r.name).to_string(),
        calls: r.calls,
        errors: r.errors,
        sum_ns: r.sum_ns as f64,
        critical_ns: 0.0,
        p50_ns: r.p50_ns as f64,
        p95_ns: r.p95_ns as f64,
        p99_ns: r.p99_ns as f64,
        max_ns: r.max_ns as f64,
        median: place(session, r.median),
        worst: place(session, r.worst),
    }
}

fn edge(session: &Session, e: &service_graph::Edge) -> EdgeRow {
    let (to, unseen) = match e.to {
        service_graph::Callee::Service(s) => (name(session, s), false),
        service_graph::Callee::Named(s) => (session.strings.get(s).to_string(), true),
    };
    EdgeRow {
        from: name(session, e.from),
        to,
        unseen,
        calls: e.calls,
        errors: e.errors,
        sum_ns: e.sum_ns as f64,
        max_ns: e.max_ns as f64,
        worst: place(session, e.worst),
    }
}
