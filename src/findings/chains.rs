//! Chains of calls that wait for one another: which calls a handler makes in turn with next to no work between them, and what
//! speaks for or against their having to wait (TRACES 3.3.2 of the project's notes).

use super::calls::{Call, CallTable, Category};
use super::chatty::Group;
use crate::base::ids::{OperationId, SpanRow, StringId, TraceRow};
use crate::base::work::step;
use crate::model::Session;
use crate::model::trace::{AttrValue, SPAN_ASYNC, TraceSet};
use std::collections::{BTreeMap, BTreeSet};

/// What a call of a chain must take, and what may lie between two.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Nanoseconds of one call, or share of its execution.
    pub call_ns: f64,
    /// See `call_ns`.
    pub call_share: f64,
    /// Nanoseconds between two, or share of the shorter one.
    pub gap_ns: f64,
    /// See `gap_ns`.
    pub gap_share: f64,
    /// Equal calls of one execution from which they are a loop and no links of a chain.
    pub loop_calls: usize,
}

/// The chains of one trace: calls directly under one span, none overlapping another, each of another kind.
pub fn chains(
    set: &TraceSet,
    table: &CallTable,
    trace: TraceRow,
    limits: Limits,
    repeated: &BTreeSet<SpanRow>,
    each: &mut dyn FnMut(Group),
) {
    let list = table.of(trace);
    if list.len() < 2 {
        return;
    }
    let mut often: BTreeMap<(SpanRow, StringId), usize> = BTreeMap::new();
    for call in list {
        *often.entry((call.scope, call.signature)).or_default() += call.count as usize;
    }
    let mut by_parent: Vec<(SpanRow, usize)> = Vec::new();
    for (i, call) in list.iter().enumerate() {
        let Some(parent) = set.spans.parent[call.span.index()].get() else { continue };
        let (own, whole) = (set.spans.duration_ns[call.span.index()] as f64, set.spans.duration_ns[call.scope.index()] as f64);
        let large = own > 0.0 && (own >= limits.call_ns || own >= limits.call_share * whole);
        let looped = often.get(&(call.scope, call.signature)).is_some_and(|n| *n >= limits.loop_calls);
        if large && !looped && !set.spans.has(call.span, SPAN_ASYNC) && !repeated.contains(&call.span) {
            by_parent.push((parent, i));
        }
    }
    by_parent.sort_unstable();
    for own in by_parent.chunk_by(|a, b| a.0 == b.0).filter(|own| own.len() > 1) {
        let calls: Vec<Call> = own.iter().map(|(_, i)| list[*i]).collect();
        let mut chain: Vec<Call> = Vec::new();
        for call in heaviest(set, calls) {
            let linked = chain.last().is_some_and(|last| {
                let gap = (set.spans.start_ns[call.span.index()] - set.spans.end_ns(last.span)) as f64;
                let shorter = set.spans.duration_ns[call.span.index()].min(set.spans.duration_ns[last.span.index()]);
                let most = limits.gap_ns.max(limits.gap_share * shorter as f64);
                gap <= most && chain.iter().all(|c| c.signature != call.signature)
            });
            if !linked {
                close(trace, std::mem::take(&mut chain), each);
            }
            chain.push(call);
        }
        close(trace, chain, each);
    }
}

fn close(trace: TraceRow, chain: Vec<Call>, each: &mut dyn FnMut(Group)) {
    if chain.len() > 1 {
        each(Group::new(trace, chain[0].scope, chain));
    }
}

/// The calls of which none overlaps another and that take most time together (weighted interval scheduling), in order.
fn heaviest(set: &TraceSet, mut calls: Vec<Call>) -> Vec<Call> {
    let end = |c: &Call| set.spans.end_ns(c.span);
    calls.sort_by_key(|c| (end(c), c.span));
    // Best sum among the first k calls, and how many come before the last of them if it is taken.
    let mut best: Vec<(i64, Option<usize>)> = vec![(0, None)];
    for (k, call) in calls.iter().enumerate() {
        step(1);
        let before = calls[..k].partition_point(|c| end(c) <= set.spans.start_ns[call.span.index()]);
        let with = best[before].0.saturating_add(set.spans.duration_ns[call.span.index()]);
        let without = best[k].0;
        best.push(if with > without { (with, Some(before)) } else { (without, None) });
    }
    let mut out = Vec::new();
    let mut at = calls.len();
    while at > 0 {
        match best[at].1 {
            Some(before) => {
                out.push(calls[at - 1]);
                at = before;
            }
            None => at -= 1,
        }
    }
    out.reverse();
    out
}

/// What is known about a link of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Link {
    /// The later call needs the earlier one, or must come after it.
    Needed,
    /// Nothing speaks against it.
    Possible,
    /// Two reads of different callees, with no value of one in the other.
    Likely,
    /// Another execution made the later call before the earlier had ended.
    Confirmed,
}

/// Words in the name of a call after which others are only made if it succeeds.
const GATES: [&str; 9] = ["auth", "token", "login", "session", "permission", "oauth", "acquire", "begin", "lock"];

/// What two neighbours of one execution say about their link.
pub fn judge(session: &Session, table: &CallTable, a: &Call, b: &Call) -> Link {
    let gate = table.texts.get(a.shown).to_ascii_lowercase();
    let changes = |c: &Call| c.writes || c.category == Category::Messaging;
    if changes(a) || changes(b) || GATES.iter().any(|word| gate.contains(word)) || passes_on(session, a, b) {
        return Link::Needed;
    }
    let callee = |c: &Call| table.texts.get(c.target).split('\u{1f}').next().unwrap_or("");
    if a.read_only && b.read_only && callee(a) != callee(b) { Link::Likely } else { Link::Possible }
}

/// Whether the later call holds a value that the earlier one holds too and that the handler was not given.
fn passes_on(session: &Session, a: &Call, b: &Call) -> bool {
    let earlier = tokens(session, a.span);
    let later = tokens(session, b.span);
    let mut common = later.intersection(&earlier).filter(|t| is_value(t)).peekable();
    if common.peek().is_none() {
        return false;
    }
    let set = &session.traces;
    let mut given = tokens(session, a.scope);
    if let Some(root) = set.traces.root[set.spans.trace[a.span.index()].index()].get() {
        given.extend(tokens(session, root));
    }
    common.any(|t| !given.contains(t))
}

/// Long enough not to be there by chance, and with a digit, as keys have.
fn is_value(token: &str) -> bool {
    token.len() >= 4 && token.bytes().any(|b| b.is_ascii_digit())
}

/// What stands in the values of a span's attributes that speak of data: not of hosts, threads and status codes.
fn tokens(session: &Session, span: SpanRow) -> BTreeSet<String> {
    const ABOUT: [&str; 12] =
        ["db.", "http.url", "http.target", "url.", "rpc.", "param", "id", "key", "result", "response.body", "message", "sql"];
    let mut out = BTreeSet::new();
    for (key, value) in session.traces.span_attrs(span) {
        let key = session.strings.get(key);
        let told = ABOUT.iter().any(|a| key.starts_with(a) || key.ends_with(a));
        if !told || key.starts_with("db.system") || key.starts_with("db.name") || key.starts_with("db.namespace") {
            continue;
        }
        match value {
            AttrValue::Text(id) | AttrValue::Json(id) => {
                let words = session.strings.get(id).split(|c: char| !(c.is_alphanumeric() || matches!(c, '-' | '_')));
                out.extend(words.filter(|w| is_value(w)).map(str::to_string));
            }
            AttrValue::Int(n) => {
                out.insert(n.to_string());
            }
            AttrValue::Double(_) | AttrValue::Bool(_) => {}
        }
    }
    out
}

/// Kinds of calls in turn, of executions of one operation.
pub type Key = (OperationId, Vec<StringId>);

/// How often executions of the operations make all calls of a chain, and which links another execution disproves.
pub struct Seen {
    /// Executions with all calls of the chain.
    pub executions: usize,
    /// By link: the later call was made before the earlier had ended, in this execution.
    pub disproved: Vec<Option<SpanRow>>,
}

/// Looks at all executions once for all chains.
pub fn seen(set: &TraceSet, table: &CallTable, keys: &[&Key]) -> Vec<Seen> {
    let mut by_operation: BTreeMap<OperationId, Vec<usize>> = BTreeMap::new();
    let mut out: Vec<Seen> = Vec::new();
    for (i, (operation, signatures)) in keys.iter().enumerate() {
        by_operation.entry(*operation).or_default().push(i);
        out.push(Seen { executions: 0, disproved: vec![None; signatures.len() - 1] });
    }
    let mut by_scope: Vec<(SpanRow, usize)> = Vec::new();
    for trace in (0..set.traces.len()).map(TraceRow::from_index) {
        let list = table.of(trace);
        by_scope.clear();
        by_scope.extend(list.iter().enumerate().map(|(i, c)| (c.scope, i)));
        by_scope.sort_unstable();
        for own in by_scope.chunk_by(|a, b| a.0 == b.0) {
            let scope = own[0].0;
            let Some(chains) = by_operation.get(&set.spans.operation[scope.index()]) else { continue };
            let mut first: BTreeMap<StringId, SpanRow> = BTreeMap::new();
            for (_, i) in own {
                first.entry(list[*i].signature).or_insert(list[*i].span);
            }
            for &chain in chains {
                let spans: Option<Vec<SpanRow>> = keys[chain].1.iter().map(|s| first.get(s).copied()).collect();
                let Some(spans) = spans else { continue };
                out[chain].executions += 1;
                for (k, pair) in spans.windows(2).enumerate() {
                    step(1);
                    if set.spans.start_ns[pair[1].index()] < set.spans.end_ns(pair[0]) {
                        out[chain].disproved[k].get_or_insert(pair[1]);
                    }
                }
            }
        }
    }
    out
}
