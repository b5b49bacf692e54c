//! Clocks of hosts that differ: found in calls that lie outside their callers, and taken out of a trace on demand.
//!
//! Follows TRACES 1.10 of the project's notes: the offset of a call is Jaeger's (`adjuster/clockskew.go`, the callee in the
//! middle of its caller), but one offset per host and trace is applied, the median of its calls, and never across edges that
//! nobody waits on or to callees that outlast their callers.

use crate::base::ids::{ServiceId, SpanRow, StringId, TraceRow};
use crate::base::intern::StringTable;
use crate::base::work::step;
use crate::model::trace::{AttrValue, SPAN_ASYNC, SPAN_NO_DURATION, SPAN_UNFINISHED, SpanKind, TraceSet};
use crate::model::trace_shift::Shifted;
use std::collections::BTreeMap;

/// What tells hosts apart, the surest first: OpenTelemetry's resource attributes, Jaeger's process tags, Zipkin's endpoints,
/// containers. Without any of them a service stands for its host.
const HOST_KEYS: &[&str] =
    &["host.id", "host.ip", "host.name", "ip", "hostname", "network.local.address", "k8s.pod.uid", "k8s.pod.name", "container.id"];

/// Calls between two hosts from which an offset is called constant.
const MIN_CALLS: usize = 3;
/// A constant offset varies by less than this part of itself, or by less than a millisecond.
const CONSTANT_SHARE: i64 = 10;
const CONSTANT_NS: i64 = 1_000_000;

/// A clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// Named by an attribute.
    Named(StringId),
    /// A service whose spans name no host.
    Service(ServiceId),
}

impl Host {
    /// Its name for people.
    pub fn name(self, set: &TraceSet, strings: &StringTable) -> String {
        match self {
            Host::Named(name) => strings.get(name).to_string(),
            Host::Service(service) => service.get().map_or(String::new(), |s| strings.get(set.services[s.index()]).to_string()),
        }
    }
}

/// Calls of one host to another of which some lie outside their callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostPair {
    /// The caller's clock.
    pub from: Host,
    /// The callee's.
    pub to: Host,
    /// Calls whose offset is known.
    pub calls: u32,
    /// Calls that lie outside their callers.
    pub outside: u32,
    /// What must be added to the callee's clock: median over the calls, nanoseconds. Calls that fit count as 0.
    pub median_ns: i64,
    /// Lower quartile.
    pub q1_ns: i64,
    /// Upper quartile.
    pub q3_ns: i64,
    /// Whether it is one offset: at least three calls, and quartiles close together.
    pub constant: bool,
}

/// The host of every span of the set.
pub fn hosts(set: &TraceSet, strings: &StringTable) -> Vec<Host> {
    hosts_of(set, strings, 0..set.spans.len())
}

fn hosts_of(set: &TraceSet, strings: &StringTable, rows: std::ops::Range<usize>) -> Vec<Host> {
    let keys: Vec<Option<StringId>> = HOST_KEYS.iter().map(|key| strings.find(key)).collect();
    // Of a span's own attributes an `ip` may be anybody's.
    let own_keys = ["host.id", "host.ip", "host.name", "network.local.address"];
    let own_ranks: Vec<bool> = HOST_KEYS.iter().map(|key| own_keys.contains(key)).collect();
    let best = |start: u32, len: u32, own: bool| {
        let mut best: Option<(usize, StringId)> = None;
        for (key, value) in set.attr_rows(start, len) {
            let (Some(rank), AttrValue::Text(text) | AttrValue::Json(text)) = (keys.iter().position(|k| *k == Some(key)), value) else {
                continue;
            };
            if (!own || own_ranks[rank]) && !strings.get(text).is_empty() && best.is_none_or(|(known, _)| rank < known) {
                best = Some((rank, text));
            }
        }
        best
    };
    let mut of_resource: BTreeMap<usize, Option<(usize, StringId)>> = BTreeMap::new();
    let any = keys.iter().any(Option::is_some);
    rows.map(|i| {
        step(1);
        let span = SpanRow::from_index(i);
        if !any {
            return Host::Service(set.service(span));
        }
        let resource = set.spans.resource[i].get().and_then(|r| {
            let r = r.index();
            *of_resource.entry(r).or_insert_with(|| best(set.resources.attr_start[r], set.resources.attr_len[r], false))
        });
        let own = best(set.spans.attr_start[i], set.spans.attr_len[i], true);
        match [resource, own].into_iter().flatten().min_by_key(|(rank, _)| *rank) {
            Some((_, name)) => Host::Named(name),
            None => Host::Service(set.service(span)),
        }
    })
    .collect()
}

/// How far a call must be moved to lie in the middle of its caller; 0 when it lies inside. `None` when that says nothing about
/// clocks: nobody waited, a length is unknown, or the callee outlasts the caller.
fn offset(set: &TraceSet, parent: SpanRow, child: SpanRow) -> Option<i64> {
    let t = &set.spans;
    let unknown = SPAN_NO_DURATION | SPAN_UNFINISHED;
    if t.has(child, SPAN_ASYNC | unknown) || t.has(parent, unknown) || set.kind(parent) == SpanKind::Producer {
        return None;
    }
    let (p, c) = (parent.index(), child.index());
    if t.start_ns[c] >= t.start_ns[p] && t.end_ns(child) <= t.end_ns(parent) {
        return Some(0);
    }
    let slack = t.duration_ns[p] - t.duration_ns[c];
    (slack >= 0).then(|| t.start_ns[p].saturating_add(slack / 2).saturating_sub(t.start_ns[c]))
}

/// Host pairs of a trace, or of all traces, of which some calls lie outside; those with most such calls first.
pub fn host_pairs(set: &TraceSet, strings: &StringTable, trace: Option<TraceRow>) -> Vec<HostPair> {
    let rows = match trace {
        Some(trace) => set.traces.first_span[trace.index()].index()..set.traces.end_span[trace.index()].index(),
        None => 0..set.spans.len(),
    };
    let hosts = hosts_of(set, strings, rows.clone());
    let mut offsets: BTreeMap<(Host, Host), Vec<i64>> = BTreeMap::new();
    for i in rows.clone() {
        let span = SpanRow::from_index(i);
        let Some(parent) = set.spans.parent[i].get() else { continue };
        let (from, to) = (hosts[parent.index() - rows.start], hosts[i - rows.start]);
        if from != to
            && let Some(ns) = offset(set, parent, span)
        {
            offsets.entry((from, to)).or_default().push(ns);
        }
    }
    let mut out: Vec<HostPair> = offsets
        .into_iter()
        .filter(|(_, list)| list.iter().any(|ns| *ns != 0))
        .map(|((from, to), mut list)| {
            list.sort_unstable();
            let outside = list.iter().filter(|ns| **ns != 0).count() as u32;
            let [q1_ns, median_ns, q3_ns] = [1, 2, 3].map(|quarter| list[(list.len() - 1) * quarter / 4]);
            let constant =
                list.len() >= MIN_CALLS && median_ns != 0 && q3_ns - q1_ns <= (median_ns.abs() / CONSTANT_SHARE).max(CONSTANT_NS);
            HostPair { from, to, calls: list.len() as u32, outside, median_ns, q1_ns, q3_ns, constant }
        })
        .collect();
    out.sort_by_key(|p| (std::cmp::Reverse(p.outside), p.from, p.to));
    out
}

/// How far each host of a trace must be moved so that its calls fit their callers: one offset per host, nanoseconds, in the
/// order in which a walk from the roots meets them. The first root's clock is the measure.
pub fn host_offsets(set: &TraceSet, strings: &StringTable, trace: TraceRow) -> (Vec<(Host, i64)>, Vec<Host>) {
    let first = set.traces.first_span[trace.index()].index();
    let rows = first..set.traces.end_span[trace.index()].index();
    let hosts = hosts_of(set, strings, rows);
    // Breadth first, so that a host is met from the nearest one.
    let mut order: Vec<SpanRow> = set.traces.spans(trace).filter(|s| set.spans.parent[s.index()].is_none()).collect();
    let mut met: Vec<Host> = Vec::new();
    let mut rank: BTreeMap<Host, usize> = BTreeMap::new();
    let mut at = 0;
    while at < order.len() {
        let span = order[at];
        at += 1;
        rank.entry(hosts[span.index() - first]).or_insert_with(|| {
            met.push(hosts[span.index() - first]);
            met.len() - 1
        });
        order.extend(set.children(span));
        step(1);
    }
    // Offsets of calls into each host from hosts that were met before it.
    let mut calls: Vec<Vec<(usize, i64)>> = vec![Vec::new(); met.len()];
    for &span in &order {
        let Some(parent) = set.spans.parent[span.index()].get() else { continue };
        let (from, to) = (rank[&hosts[parent.index() - first]], rank[&hosts[span.index() - first]]);
        if from < to
            && let Some(ns) = offset(set, parent, span)
        {
            calls[to].push((from, ns));
        }
    }
    let mut offsets: Vec<i64> = Vec::with_capacity(met.len());
    for list in &calls {
        let mut known: Vec<i64> = list.iter().map(|(from, ns)| offsets[*from].saturating_add(*ns)).collect();
        known.sort_unstable();
        offsets.push(if known.is_empty() { 0 } else { known[(known.len() - 1) / 2] });
    }
    (met.into_iter().zip(offsets).collect(), hosts)
}

/// A trace with the clocks of its hosts aligned.
pub fn align(set: &TraceSet, strings: &StringTable, trace: TraceRow) -> Shifted {
    set.shifted(trace, &shifts(set, strings, trace))
}

/// How far each span of a trace is moved when its clocks are aligned, nanoseconds.
pub fn shifts(set: &TraceSet, strings: &StringTable, trace: TraceRow) -> Vec<i64> {
    let (offsets, hosts) = host_offsets(set, strings, trace);
    let by_host: BTreeMap<Host, i64> = offsets.into_iter().collect();
    hosts.iter().map(|host| by_host.get(host).copied().unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::SourceId;
    use crate::model::trace::RawSpan;

    /// Spans as (id, parent, host, kind, begin, length, flags) of one trace.
    fn set(rows: &[(u64, u64, &str, SpanKind, i64, i64, u16)]) -> (TraceSet, StringTable) {
        let (mut t, mut strings) = (TraceSet::default(), StringTable::default());
        for &(id, parent_id, host, kind, start_ns, duration_ns, flags) in rows {
            let service = t.intern_service(strings.intern(host));
            let operation = t.operations.intern(service, strings.intern("op"), kind);
            let row = t.attrs.push(strings.intern("host.name"), AttrValue::Text(strings.intern(host)));
            let trace_id = strings.intern("t");
            let span =
                RawSpan { source: SourceId(0), trace_id, id, parent_id, operation, start_ns, duration_ns, flags, ..RawSpan::default() };
            t.push(RawSpan { attrs: (row, 1), ..span });
        }
        t.link();
        (t, strings)
    }

    fn starts(rows: &[(u64, u64, &str, SpanKind, i64, i64, u16)]) -> Vec<(u64, i64)> {
        let (t, strings) = set(rows);
        let aligned = align(&t, &strings, TraceRow(0));
        let mut out: Vec<(u64, i64)> = aligned.set.spans.id.iter().copied().zip(aligned.set.spans.start_ns.iter().copied()).collect();
        out.sort_unstable();
        out
    }

    /// Cases of Jaeger's own table (`clockskew_test.go`), where one call decides.
    #[test]
    fn single_calls_are_moved_as_jaeger_moves_them() {
        use SpanKind::{Client, Server};
        // The callee begins before its caller: into the middle.
        assert_eq!(starts(&[(1, 0, "a", Client, 10, 100, 0), (2, 1, "b", Server, 5, 50, 0)]), [(1, 10), (2, 35)]);
        // It ends after it.
        assert_eq!(starts(&[(1, 0, "a", Client, 10, 100, 0), (2, 1, "b", Server, 80, 50, 0)]), [(1, 10), (2, 35)]);
        // It fits.
        assert_eq!(starts(&[(1, 0, "a", Client, 10, 100, 0), (2, 1, "b", Server, 20, 50, 0)]), [(1, 10), (2, 20)]);
        // The same host has one clock.
        assert_eq!(starts(&[(1, 0, "a", Client, 10, 100, 0), (2, 1, "a", Server, 5, 50, 0)]), [(1, 10), (2, 5)]);
        // Its own children go with it.
        let rows = [(1, 0, "a", Client, 10, 100, 0), (2, 1, "b", Server, 0, 50, 0), (3, 2, "b", Client, 10, 10, 0)];
        assert_eq!(starts(&rows), [(1, 10), (2, 35), (3, 45)]);
    }

    #[test]
    fn what_says_nothing_about_clocks_moves_nothing() {
        use SpanKind::{Client, Consumer, Internal, Producer, Server};
        for (parent, child, start, length, flags) in [
            (Producer, Consumer, 500, 50, SPAN_ASYNC),
            (Internal, Internal, 500, 50, SPAN_ASYNC),
            (Client, Server, 0, 200, 0),
            (Client, Server, 500, 0, SPAN_NO_DURATION),
        ] {
            let rows = [(1, 0, "a", parent, 10, 100, 0), (2, 1, "b", child, start, length, flags)];
            assert_eq!(starts(&rows), [(1, 10), (2, start)], "{parent:?} {child:?}");
            let (t, strings) = set(&rows);
            assert!(host_pairs(&t, &strings, None).is_empty());
        }
    }

    #[test]
    fn one_offset_per_host_is_the_median_and_hosts_add_up() {
        use SpanKind::{Client, Server};
        // Three calls of a to b, whose clock is 1000 early; b calls c, whose clock is 500 late.
        let mut rows = vec![(1, 0, "a", Server, 0, 10_000, 0)];
        for i in 0..3_u64 {
            let at = i as i64 * 2000;
            rows.push((10 + i, 1, "a", Client, at, 100, 0));
            rows.push((20 + i, 10 + i, "b", Server, at - 1000 + 10 + i as i64, 80, 0));
        }
        rows.push((30, 20, "b", Client, -980, 40, 0));
        rows.push((31, 30, "c", Server, -980 + 500, 30, 0));
        let moved = starts(&rows);
        let at = |id: u64| moved.iter().find(|(i, _)| *i == id).map(|(_, start)| *start);
        assert_eq!([at(20), at(21), at(22)], [Some(9), Some(2010), Some(4011)]);
        // c: in the middle of 30 as b's clock has it, and on with b.
        assert_eq!((at(30), at(31)), (Some(19), Some(19 + 5)));
        let (t, strings) = set(&rows);
        let pairs = host_pairs(&t, &strings, Some(TraceRow(0)));
        let named: Vec<_> = pairs.iter().map(|p| (p.to.name(&t, &strings), p.calls, p.outside, p.median_ns, p.constant)).collect();
        assert_eq!(named, [("b".to_string(), 3, 3, 999, true), ("c".to_string(), 1, 1, -495, false)]);
        assert_eq!(host_pairs(&t, &strings, None), pairs);
        // The tables keep the times of the file.
        assert!(t.spans.start_ns.contains(&-990));
    }
}
