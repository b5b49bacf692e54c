//! The way of a request down through services: its hops, what each costs, and which of them are told.

use super::Context;
use super::deep_chain::RULE;
use super::facts::Fact;
use crate::base::ids::{ServiceId, SpanRow, TraceRow};
use crate::base::work::step;
use crate::model::trace::{SPAN_ASYNC, SpanKind, TraceSet};
use std::collections::{BTreeMap, BTreeSet};

/// Why a way is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Many hops.
    Long,
    /// One hop that only passes on.
    PassThrough,
    /// The operation is entered again below itself.
    SameOperation,
    /// The service is.
    SameService,
    /// Caller and callee are in different regions.
    Regions,
}

impl Kind {
    /// For fingerprints.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Long => "long",
            Kind::PassThrough => "pass-through",
            Kind::SameOperation => "same-operation",
            Kind::SameService => "same-service",
            Kind::Regions => "regions",
        }
    }
}

/// A call from one service into another.
#[derive(Clone, Copy, Debug)]
pub struct Hop {
    /// The caller's span; the callee's where the caller recorded none.
    pub client: SpanRow,
    /// The first span of the callee.
    pub server: SpanRow,
    /// Time on the way there and back, nanoseconds; 0 where the caller recorded no span.
    pub net: i64,
    /// What the callee takes beside its only call, nanoseconds, if it only passes on.
    pub own: i64,
    /// It only passes on.
    pub passes: bool,
}

/// Hops of one trace that are told together, from above.
#[derive(Clone, Debug)]
pub struct Chain {
    /// Why.
    pub kind: Kind,
    /// Its trace.
    pub trace: TraceRow,
    /// Its hops.
    pub hops: Vec<Hop>,
    /// For hops between regions: `A to B`.
    pub regions: String,
}

impl Chain {
    /// Names of the services on the way (of operations, where one hop or a circle of operations is meant).
    pub fn names(&self, cx: &Context<'_>) -> String {
        let (set, strings) = (&cx.session.traces, &cx.session.strings);
        let service = |s: SpanRow| set.service_name(strings, s).to_string();
        let name = |s: SpanRow| format!("{} {}", service(s), crate::analysis::normalize::name(set.name(strings, s)).text);
        match (self.kind, self.hops.first()) {
            (_, None) => String::new(),
            (Kind::PassThrough, Some(hop)) => name(hop.server),
            (Kind::Regions, Some(hop)) => format!("{} → {}", service(caller(set, hop)), name(hop.server)),
            (kind, Some(first)) => {
                let shown: &dyn Fn(SpanRow) -> String = if kind == Kind::SameOperation { &name } else { &service };
                let mut parts = vec![service(caller(set, first))];
                parts.extend(self.hops.iter().map(|h| shown(h.server)));
                parts.join(" → ")
            }
        }
    }

    /// What the hops cost, nanoseconds.
    pub fn cost(&self) -> i64 {
        self.hops.iter().map(|h| h.net.saturating_add(if h.passes { h.own } else { 0 })).sum()
    }
}

fn caller(set: &TraceSet, hop: &Hop) -> SpanRow {
    if hop.client == hop.server { set.spans.parent[hop.server.index()].get().unwrap_or(hop.server) } else { hop.client }
}

/// The chains of all traces, and how many hops there are. One walk over the spans of each trace from its headline root; the ways
/// themselves are only followed where they are told.
pub fn chains(cx: &Context<'_>) -> (Vec<Chain>, usize) {
    let set = &cx.session.traces;
    let (mut out, mut count) = (Vec::new(), 0);
    let mut order: Vec<SpanRow> = Vec::new();
    for trace in (0..set.traces.len()).map(TraceRow::from_index) {
        if set.traces.services[trace.index()] < 2 {
            continue;
        }
        order.clear();
        order.extend(set.traces.root[trace.index()].get());
        let mut at = 0;
        while at < order.len() {
            let span = order[at];
            at += 1;
            order.extend(set.children(span));
        }
        count += of_trace(cx, trace, &order, &mut out);
    }
    (out, count)
}

/// What is known of a span on the way down.
#[derive(Clone, Copy)]
struct Seen {
    /// The nearest hop at or above it, as a position among the hops.
    hop: Option<usize>,
    depth: u32,
}

fn of_trace(cx: &Context<'_>, trace: TraceRow, order: &[SpanRow], out: &mut Vec<Chain>) -> usize {
    let set = &cx.session.traces;
    let first = set.traces.first_span[trace.index()].index();
    let Some(root) = set.traces.root[trace.index()].get() else { return 0 };
    let whole = set.spans.duration_ns[root.index()].max(1) as f64;
    let mut seen = vec![Seen { hop: None, depth: 0 }; set.traces.spans(trace).len()];
    // Hops with the hop above each.
    let mut hops: Vec<(Hop, Option<usize>)> = Vec::new();
    for &span in order {
        step(1);
        let Some(parent) = set.spans.parent[span.index()].get() else { continue };
        let above = seen[parent.index() - first];
        let waits = !set.spans.has(span, SPAN_ASYNC) && set.kind(span) != SpanKind::Consumer;
        let mut own = above;
        if !waits {
            own = Seen { hop: None, depth: 0 };
        } else if set.service(span) != set.service(parent) {
            let client = if matches!(set.kind(parent), SpanKind::Client) && set.children(parent).len() == 1 { parent } else { span };
            let net = (set.spans.duration_ns[client.index()] - set.spans.duration_ns[span.index()]).max(0);
            hops.push((Hop { client, server: span, net, own: 0, passes: false }, above.hop));
            own = Seen { hop: Some(hops.len() - 1), depth: above.depth + 1 };
        }
        seen[span.index() - first] = own;
    }
    let depth = |hop: usize| seen[hops[hop].0.server.index() - first].depth;
    // Calls of each execution: who makes exactly one, which takes nearly all of its time, only passes on.
    let mut only: BTreeMap<SpanRow, Option<SpanRow>> = BTreeMap::new();
    for call in cx.calls().of(trace) {
        only.entry(call.scope).and_modify(|call| *call = None).or_insert(Some(call.span));
    }
    let passes: Vec<Option<i64>> = hops.iter().map(|(hop, _)| passes_on(cx, hop, only.get(&hop.server).copied().flatten())).collect();
    let full = |i: usize| Hop { passes: passes[i].is_some(), own: passes[i].unwrap_or(0), ..hops[i].0 };
    let way = |from: usize| {
        let mut list = Vec::new();
        let mut at = Some(from);
        while let Some(i) = at {
            step(1);
            list.push(i);
            at = hops[i].1;
        }
        list.reverse();
        list
    };
    let mut told: BTreeSet<usize> = BTreeSet::new();
    // The deepest way of the trace, the costliest of equals.
    let deepest = (0..hops.len()).max_by_key(|i| (depth(*i), hops[*i].0.net, std::cmp::Reverse(*i)));
    if let Some(deepest) = deepest.filter(|i| f64::from(depth(*i)) >= cx.threshold(&RULE, "min_hops").max(2.0)) {
        let list = way(deepest);
        told.extend(&list);
        out.push(Chain { kind: Kind::Long, trace, hops: list.into_iter().map(full).collect(), regions: String::new() });
    }
    let least = (cx.threshold(&RULE, "min_ms") * 1e6).min(cx.threshold(&RULE, "min_share") * whole);
    for i in (0..hops.len()).filter(|i| passes[*i].is_some() && !told.contains(i)) {
        let hop = full(i);
        if hop.net.saturating_add(hop.own) as f64 >= least.max(1.0) {
            out.push(Chain { kind: Kind::PassThrough, trace, hops: vec![hop], regions: String::new() });
        }
    }
    circle(cx, trace, &hops, &full, out);
    regions(cx, trace, &hops, out);
    hops.len()
}

/// What a hop takes beside its only call, if it only passes on and the request waits for it.
fn passes_on(cx: &Context<'_>, hop: &Hop, call: Option<SpanRow>) -> Option<i64> {
    let set = &cx.session.traces;
    let call = call?;
    let whole = set.spans.duration_ns[hop.server.index()];
    let down = set.spans.duration_ns[call.index()];
    let own = whole - down;
    let (most, least) = (cx.threshold(&RULE, "pass_own"), cx.threshold(&RULE, "pass_down"));
    // A database is where the work is.
    let goes_on = set.children(call).iter().any(|c| set.service(*c) != set.service(call)) || set.service(call) != set.service(hop.server);
    let waited = cx.path().own(hop.server) + cx.path().own(call) > 0;
    (whole > 0 && own >= 0 && goes_on && waited && (own as f64) < most * whole as f64 && down as f64 >= least * whole as f64).then_some(own)
}

/// The shortest circle of a trace: from a hop back to the nearest one above that entered the same operation or service.
fn circle(cx: &Context<'_>, trace: TraceRow, hops: &[(Hop, Option<usize>)], full: &dyn Fn(usize) -> Hop, out: &mut Vec<Chain>) {
    let set = &cx.session.traces;
    let least = cx.threshold(&RULE, "cycle_ms") * 1e6;
    let mut best: Option<(Kind, i64, Vec<usize>)> = None;
    for i in 0..hops.len() {
        let mine = hops[i].0.server;
        let mut list = vec![i];
        let mut net = hops[i].0.net;
        let mut at = hops[i].1;
        // Chains are short; a recording that is a thousand hops deep is followed only so far.
        while let Some(above) = at.filter(|_| list.len() < 32) {
            step(1);
            let server = hops[above].0.server;
            let away: ServiceId = set.service(hops[i].0.server);
            if set.service(server) == away && list.len() >= 2 {
                let same = set.spans.operation[server.index()] == set.spans.operation[mine.index()];
                let kind = if same { Kind::SameOperation } else { Kind::SameService };
                if (same || net as f64 >= least)
                    && best.as_ref().is_none_or(|(k, most, _)| (kind, std::cmp::Reverse(net)) < (*k, std::cmp::Reverse(*most)))
                {
                    best = Some((kind, net, list.iter().rev().copied().collect()));
                }
                break;
            }
            list.push(above);
            net = net.saturating_add(hops[above].0.net);
            at = hops[above].1;
        }
    }
    if let Some((kind, _, list)) = best {
        out.push(Chain { kind, trace, hops: list.into_iter().map(full).collect(), regions: String::new() });
    }
}

fn regions(cx: &Context<'_>, trace: TraceRow, hops: &[(Hop, Option<usize>)], out: &mut Vec<Chain>) {
    if !cx.facts().has(Fact::Region) {
        return;
    }
    let (set, strings) = (&cx.session.traces, &cx.session.strings);
    let least = cx.threshold(&RULE, "region_ms") * 1e6;
    for (hop, _) in hops.iter().filter(|(hop, _)| hop.net as f64 >= least) {
        let region = |s: SpanRow| cx.facts().text_of_host(set, strings, s, Fact::Region);
        let (Some(from), Some(to)) = (region(caller(set, hop)), region(hop.server)) else { continue };
        if from != to {
            out.push(Chain { kind: Kind::Regions, trace, hops: vec![*hop], regions: format!("{from} to {to}") });
        }
    }
}
