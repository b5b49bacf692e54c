//! Calls between services: a span whose parent belongs to another service is a call of it. Calls that end at something
//! without spans of its own (a database, a broker, an uninstrumented peer) are edges to what the client span names.

use crate::base::ids::{ServiceId, SpanRow, StringId};
use crate::base::intern::StringTable;
use crate::model::trace::{AttrValue, SPAN_ERROR, SpanKind, TraceSet};
use std::collections::BTreeMap;

/// Who is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Callee {
    /// A service with spans.
    Service(ServiceId),
    /// Something that only its callers' attributes name.
    Named(StringId),
}

/// All calls from one service to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Caller.
    pub from: ServiceId,
    /// Callee.
    pub to: Callee,
    /// Calls.
    pub calls: u64,
    /// Failed ones.
    pub errors: u64,
    /// Sum of the callee's durations in nanoseconds (of the client spans where the callee has none), saturating.
    pub sum_ns: i64,
    /// Longest one.
    pub max_ns: i64,
    /// The span of the longest call.
    pub worst: SpanRow,
}

/// Attributes that name an uninstrumented peer, the most telling first (OpenTelemetry semantic conventions, old and new).
const PEER_KEYS: &[&str] =
    &["peer.service", "service.peer.name", "db.system.name", "db.system", "db.type", "messaging.system", "rpc.service"];

/// Edges in order of falling calls, then caller, then callee.
pub fn edges(traces: &TraceSet, strings: &StringTable) -> Vec<Edge> {
    let keys: Vec<StringId> = PEER_KEYS.iter().filter_map(|k| strings.find(k)).collect();
    let mut found: BTreeMap<(ServiceId, Callee), Edge> = BTreeMap::new();
    for span in (0..traces.spans.len()).map(SpanRow::from_index) {
        let service = traces.service(span);
        let (from, to) = match traces.spans.parent[span.index()].get() {
            Some(parent) if traces.service(parent) != service => (traces.service(parent), Callee::Service(service)),
            _ => match unseen_peer(traces, span, &keys) {
                Some(peer) => (service, Callee::Named(peer)),
                None => continue,
            },
        };
        let duration = traces.spans.duration_ns[span.index()];
        let edge = found.entry((from, to)).or_insert(Edge { from, to, calls: 0, errors: 0, sum_ns: 0, max_ns: -1, worst: span });
        edge.calls += 1;
        edge.errors += u64::from(traces.spans.has(span, SPAN_ERROR));
        edge.sum_ns = edge.sum_ns.saturating_add(duration);
        if duration > edge.max_ns {
            (edge.max_ns, edge.worst) = (duration, span);
        }
    }
    let mut out: Vec<Edge> = found.into_values().collect();
    out.sort_by_key(|e| (std::cmp::Reverse(e.calls), e.from, e.to));
    out
}

/// What a client span calls, if that has no span of its own.
fn unseen_peer(traces: &TraceSet, span: SpanRow, keys: &[StringId]) -> Option<StringId> {
    if !matches!(traces.kind(span), SpanKind::Client | SpanKind::Producer) {
        return None;
    }
    let service = traces.service(span);
    if traces.children(span).iter().any(|c| traces.service(*c) != service) {
        return None;
    }
    keys.iter().find_map(|key| match traces.span_attrs(span).filter(|(k, _)| k == key).last() {
        Some((_, AttrValue::Text(peer))) => Some(peer),
        _ => None,
    })
}
