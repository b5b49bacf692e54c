//! What the rules on connections share: spans that set a connection up or wait for one, and the call that each serves.

use super::Context;
use super::calls::Call;
use crate::base::ids::{SpanRow, TraceRow};
use crate::base::work::step;
use std::collections::BTreeMap;

/// Names of spans that set a connection up: DNS, TCP, TLS, and the drivers' own.
pub fn is_set_up(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let whole = [
        "connect",
        "tcp.connect",
        "tls.connect",
        "dns.lookup",
        "http connection_setup",
        "http.connect",
        "http.dns",
        "http.tls",
        "pg.connect",
        "mysql.connect",
        "mongodb.connect",
        "redis-connect",
        "redis.connect",
        "createconnection",
    ];
    whole.contains(&lower.as_str()) || ["dns lookup ", "socket connect ", "tls client handshake "].iter().any(|p| lower.starts_with(p))
}

/// Names of spans that wait for a connection of a pool.
pub fn is_wait(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let whole = [
        "http wait_for_connection",
        "http.getconn",
        "pg-pool.connect",
        "pool.acquire",
        "pool.wait",
        "pool.getconnection",
        "getconnection",
        "hikaripool.getconnection",
        "hikaridatasource.getconnection",
        "acquire connection",
        "connection.acquire",
        "pgxpool.acquire",
        "pool acquire",
        "sql.conn.acquire",
        "connection pool wait",
    ];
    whole.contains(&lower.as_str())
}

/// The spans of a kind with the call that each serves: the nearest call above it, else the next call that its parent makes.
/// `kind` is asked once per name. Linear in the spans of traces that have such spans, but for one sort of their calls.
pub fn served(cx: &Context<'_>, kind: fn(&str) -> bool) -> Vec<(TraceRow, SpanRow, Option<Call>)> {
    let (set, strings) = (&cx.session.traces, &cx.session.strings);
    let wanted: Vec<bool> = set.operations.name.iter().map(|name| kind(strings.get(*name))).collect();
    let mut out = Vec::new();
    if !wanted.contains(&true) {
        return out;
    }
    for trace in (0..set.traces.len()).map(TraceRow::from_index) {
        let spans: Vec<SpanRow> = set.traces.spans(trace).filter(|s| wanted[set.spans.operation[s.index()].index()]).collect();
        if spans.is_empty() {
            continue;
        }
        let calls = cx.calls().of(trace);
        let by_span: BTreeMap<SpanRow, usize> = calls.iter().enumerate().map(|(i, c)| (c.span, i)).collect();
        // Calls by parent and start: the next one after a set-up span is found by halving.
        let parent = |s: SpanRow| set.spans.parent[s.index()];
        let start = |s: SpanRow| set.spans.start_ns[s.index()];
        let mut by_parent: Vec<(SpanRow, i64, usize)> = calls.iter().enumerate().map(|(i, c)| (parent(c.span), start(c.span), i)).collect();
        by_parent.sort_unstable();
        for span in spans {
            let mut at = Some(span);
            let mut call = None;
            // A set-up span lies directly below its call, or a few spans of the driver below it.
            for _ in 0..8 {
                step(1);
                let Some(here) = at else { break };
                if let Some(i) = by_span.get(&here).filter(|_| here != span) {
                    call = Some(*i);
                    break;
                }
                at = set.spans.parent[here.index()].get();
            }
            let next = || {
                let end = set.spans.end_ns(span);
                let begin = by_parent.partition_point(|(p, s, _)| (*p, *s) < (parent(span), end));
                let mine = |k: &(SpanRow, i64, usize)| k.0 == parent(span) && calls[k.2].span != span;
                by_parent.get(begin).filter(|k| mine(k)).map(|k| k.2)
            };
            // A wait before a call is nobody's child: the handler's own call above it is another matter.
            let direct = call.filter(|i| parent(span).get() == Some(calls[*i].span));
            out.push((trace, span, direct.or_else(next).or(call).map(|i| calls[i])));
        }
    }
    out
}
