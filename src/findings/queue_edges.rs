//! Edges over which work waits: from the sending of a message to its handling, and from a call to the span that answers it.

use super::Context;
use super::connections::is_set_up;
use super::facts::Fact;
use super::traced::{answer, caller_half};
use crate::base::ids::{SpanRow, StringId, TraceRow};
use crate::model::trace::{SPAN_ERROR, SpanKind};
use std::collections::BTreeMap;

/// A piece of work that waited.
#[derive(Clone, Copy, Debug)]
pub struct Queued {
    /// The trace of the work.
    pub trace: TraceRow,
    /// The span that sent it; the work's own where only the broker's time is known.
    pub client: SpanRow,
    /// The work.
    pub span: SpanRow,
    /// When the work began, nanoseconds since 1970.
    pub begin: i64,
    /// From sending to begin, nanoseconds.
    pub wait: i64,
    /// What the work took, nanoseconds.
    pub work: i64,
    /// The wait begins at a time that the broker told.
    pub enqueued: bool,
}

/// Sender and receiver.
pub type Edge = (String, String);

/// Messages by sender and consumer, in order of handling; and by consumer how many were handled before they were sent.
/// A message's sender is its consumer's parent, or the span that the consumer links to, in whichever trace.
pub fn messages(cx: &Context<'_>) -> (BTreeMap<Edge, Vec<Queued>>, BTreeMap<String, usize>) {
    let (set, strings) = (&cx.session.traces, &cx.session.strings);
    let mut out: BTreeMap<Edge, Vec<Queued>> = BTreeMap::new();
    let mut skewed: BTreeMap<String, usize> = BTreeMap::new();
    if !set.operations.kind.contains(&SpanKind::Consumer) {
        return (out, skewed);
    }
    let consumers: Vec<SpanRow> = (0..set.spans.len()).map(SpanRow::from_index).filter(|s| set.kind(*s) == SpanKind::Consumer).collect();
    let senders = senders(cx, &consumers);
    for span in consumers {
        let sender = set.spans.parent[span.index()].get().filter(|p| set.kind(*p) == SpanKind::Producer);
        // A link to the one message; a batch has many, of which the first that is known waits longest.
        let sender = sender.or_else(|| links(cx, span).find_map(|link| senders.get(&link).copied()));
        let queued = cx.facts().number(set, strings, span, Fact::Enqueued).and_then(as_ns);
        let since = match (queued, sender) {
            (Some(ns), _) => ns,
            (None, Some(sender)) => set.spans.end_ns(sender),
            (None, None) => continue,
        };
        let begin = set.spans.start_ns[span.index()];
        let name = crate::analysis::normalize::name(set.name(strings, span)).text;
        let service = set.service_name(strings, span);
        let consumer = if service.is_empty() { name } else { format!("{service} {name}") };
        let wait = begin.saturating_sub(since);
        if wait < 0 {
            *skewed.entry(consumer).or_default() += 1;
            continue;
        }
        let producer = sender.map_or("", |s| set.service_name(strings, s)).to_string();
        out.entry((producer, consumer)).or_default().push(Queued {
            trace: set.spans.trace[span.index()],
            client: sender.unwrap_or(span),
            span,
            begin,
            wait,
            work: set.spans.duration_ns[span.index()],
            enqueued: queued.is_some(),
        });
    }
    out.values_mut().for_each(|list| list.sort_by_key(|q| (q.begin, q.span)));
    (out, skewed)
}

fn links<'a>(cx: &'a Context<'_>, span: SpanRow) -> impl Iterator<Item = (StringId, u64)> + 'a {
    let set = &cx.session.traces;
    let first = set.spans.link_start[span.index()] as usize;
    let last = (first + set.spans.link_len[span.index()] as usize).min(set.links.span_id.len());
    (first..last).map(|i| (set.links.trace_id[i], set.links.span_id[i]))
}

/// The spans that consumers link to, by trace and span id.
fn senders(cx: &Context<'_>, consumers: &[SpanRow]) -> BTreeMap<(StringId, u64), SpanRow> {
    let set = &cx.session.traces;
    let mut wanted: Vec<(StringId, u64)> = consumers.iter().flat_map(|c| links(cx, *c)).collect();
    if wanted.is_empty() {
        return BTreeMap::new();
    }
    wanted.sort_unstable();
    let spans = (0..set.spans.len()).map(SpanRow::from_index);
    let keyed = spans.map(|s| ((set.spans.trace_id[s.index()], set.spans.id[s.index()]), s));
    keyed.filter(|(key, _)| wanted.binary_search(key).is_ok()).collect()
}

/// A time since 1970 in seconds, milliseconds, microseconds or nanoseconds, whichever gives a year from 2001 to 2286.
fn as_ns(n: i64) -> Option<i64> {
    let factor = match n {
        1_000_000_000..10_000_000_000 => 1_000_000_000,
        1_000_000_000_000..10_000_000_000_000 => 1_000_000,
        1_000_000_000_000_000..10_000_000_000_000_000 => 1000,
        1_000_000_000_000_000_000.. => 1,
        _ => return None,
    };
    n.checked_mul(factor)
}

/// Calls and their answers by caller and callee's operation: how long after the call the callee began. Calls that failed, or
/// that set a connection up first, say nothing.
pub fn in_front(cx: &Context<'_>) -> BTreeMap<Edge, Vec<Queued>> {
    let (set, strings) = (&cx.session.traces, &cx.session.strings);
    let set_up: Vec<bool> = set.operations.name.iter().map(|name| is_set_up(strings.get(*name))).collect();
    let mut by_rows: BTreeMap<(u32, u32), Vec<Queued>> = BTreeMap::new();
    for trace in (0..set.traces.len()).map(TraceRow::from_index) {
        for call in cx.calls().of(trace) {
            let client = caller_half(set, call.span);
            if set.spans.has(client, SPAN_ERROR) {
                continue;
            }
            let told = set.kind(client) == SpanKind::Client;
            let Some(server) = answer(set, client).filter(|s| client != call.span || (told && set.kind(*s) == SpanKind::Server)) else {
                continue;
            };
            if set.children(client).iter().any(|c| set_up[set.spans.operation[c.index()].index()]) {
                continue;
            }
            let begin = set.spans.start_ns[server.index()];
            by_rows.entry((set.spans.operation[client.index()].0, set.spans.operation[server.index()].0)).or_default().push(Queued {
                trace,
                client,
                span: server,
                begin,
                wait: begin.saturating_sub(set.spans.start_ns[client.index()]),
                work: set.spans.duration_ns[server.index()],
                enqueued: false,
            });
        }
    }
    let mut out: BTreeMap<Edge, Vec<Queued>> = BTreeMap::new();
    for list in by_rows.into_values() {
        let Some(first) = list.first() else { continue };
        let name = crate::analysis::normalize::name(set.name(strings, first.span)).text;
        let edge = (set.service_name(strings, first.client).to_string(), format!("{} {name}", set.service_name(strings, first.span)));
        out.entry(edge).or_default().extend(list);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::as_ns;

    #[test]
    fn times_of_brokers_are_read_in_any_unit() {
        let second = 1_700_000_000;
        for (n, unit) in [(second, 1_000_000_000), (second * 1000, 1_000_000), (second * 1_000_000, 1000), (second * 1_000_000_000, 1)] {
            assert_eq!(as_ns(n), Some(n * unit));
        }
        assert_eq!(as_ns(5), None);
    }
}
