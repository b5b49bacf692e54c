//! What the rules on slow, failing and queued work share: cases in traces, their savings by replay, and the finding's text.

use super::Context;
use super::calls::Call;
use super::chatty::{mean_share, score, short};
use super::finding::{Confidence, Cover, Evidence, Finding, Impact, Occurrences, Rule, Severity, ShareOf, Subject, fingerprint};
use crate::analysis::clipped::Clipped;
use crate::analysis::replay::{Edit, replay};
use crate::base::ids::{SpanRow, TraceRow};
use crate::base::view::{View, ViewRef};
use crate::model::trace::{SpanKind, TraceSet};
use std::collections::BTreeMap;

/// One occurrence of a defect.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its trace.
    pub trace: TraceRow,
    /// Its spans; the first is shown.
    pub spans: Vec<SpanRow>,
    /// What it takes of the request, nanoseconds.
    pub cost: i64,
    /// What a modest repair changes.
    pub low: Edit,
    /// What the best repair changes.
    pub high: Edit,
}

/// The cases of one finding, measured.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// Cost of all cases, nanoseconds, never more than the requests.
    pub cost: i64,
    /// Pessimistic saving, nanoseconds.
    pub low: i64,
    /// Optimistic saving, nanoseconds.
    pub high: i64,
    /// What the cost is of the affected requests.
    pub shares: Vec<f64>,
    /// Saving, cost, trace and duration of its request; the largest saving first.
    pub ranked: Vec<(i64, i64, TraceRow, i64)>,
}

impl Measured {
    /// The optimistic saving in the worst request, as a share of it and in nanoseconds.
    pub fn worst(&self) -> (f64, i64) {
        let Some((saving, _, _, whole)) = self.ranked.first() else { return (0.0, 0) };
        (*saving as f64 / (*whole).max(1) as f64, *saving)
    }
    /// The trace of the worst request.
    pub fn worst_trace(&self) -> Option<TraceRow> {
        self.ranked.first().map(|r| r.2)
    }
    /// 0 to 100 by the saving in the worst request (TRACES 3.3).
    pub fn score(&self) -> f64 {
        let (share, ns) = self.worst();
        score(share, ns)
    }
}

/// Replays the requests of all cases; those of one trace together, so that a saving never exceeds its request.
/// Linear in the spans of the affected traces.
pub fn measure(cx: &Context<'_>, cases: &[Case]) -> Measured {
    let set = &cx.session.traces;
    let mut by_trace: BTreeMap<TraceRow, Vec<&Case>> = BTreeMap::new();
    for case in cases {
        by_trace.entry(case.trace).or_default().push(case);
    }
    let mut out = Measured::default();
    for (&trace, own) in &by_trace {
        let Some(root) = set.traces.root[trace.index()].get() else { continue };
        let clipped = Clipped::of(set, trace);
        let whole = clipped.duration(root);
        let all = |edit: fn(&Case) -> &Edit| own.iter().fold(Edit::default(), |sum, case| sum.and(edit(case).clone()));
        let saved = |edit: &Edit| (whole - replay(set, &clipped, root, edit)).max(0);
        let (a, b) = (saved(&all(|c| &c.low)), saved(&all(|c| &c.high)));
        let (low, high) = (a.min(b), a.max(b));
        let cost = own.iter().fold(0_i64, |sum, c| sum.saturating_add(c.cost)).min(whole.max(0));
        out.cost = out.cost.saturating_add(cost);
        out.low = out.low.saturating_add(low);
        out.high = out.high.saturating_add(high);
        if whole > 0 {
            out.shares.push(cost as f64 / whole as f64);
        }
        out.ranked.push((high, cost, trace, whole));
    }
    out.ranked.sort_by_key(|(high, cost, trace, _)| (std::cmp::Reverse((*high, *cost)), *trace));
    out
}

/// What a rule says about its cases.
#[derive(Debug, Default)]
pub struct Said {
    /// Title.
    pub title: String,
    /// The claim with its numbers.
    pub message: String,
    /// What it is about; service and path as well.
    pub subject: Subject,
    /// How sure.
    pub confidence: Confidence,
    /// The model behind the saving.
    pub model: String,
    /// What the evidence is, with the span that shows it. The first stands for the worst case.
    pub evidence: Vec<(String, SpanRow)>,
    /// What could make it wrong.
    pub caveats: Vec<String>,
    /// What to do.
    pub remedies: Vec<String>,
    /// Highest score, where the saving in time does not say how bad it is; else 100.
    pub most: f64,
    /// Lowest score.
    pub least: f64,
}

/// Makes the finding. `names` make the fingerprint; spans of all cases are what it covers.
pub fn finding(cx: &Context<'_>, rule: &Rule, cases: &[Case], measured: &Measured, names: &[&str], said: Said) -> Finding {
    let session = cx.session;
    let set = &session.traces;
    let mut first: BTreeMap<TraceRow, SpanRow> = BTreeMap::new();
    for case in cases {
        if let Some(span) = case.spans.first() {
            first.entry(case.trace).or_insert(*span);
        }
    }
    let text = |t: TraceRow| format!("{}/{}", trace_text(cx, t), first.get(&t).map_or(String::new(), |s| id_text(cx, *s)));
    let begin = |t: TraceRow| set.traces.root[t.index()].get().map_or(0, |r| set.spans.start_ns[r.index()]);
    let mut cover: Vec<SpanRow> = cases.iter().flat_map(|c| c.spans.iter().copied()).collect();
    cover.sort_unstable();
    cover.dedup();
    let most = if said.most > 0.0 { said.most } else { 100.0 };
    let score = measured.score().min(most).max(said.least);
    Finding {
        rule: rule.id,
        fingerprint: fingerprint(rule.id, names),
        severity: Severity::of_score(score).unwrap_or(Severity::Info),
        score: score.round() as u32,
        confidence: said.confidence,
        title: short(&said.title),
        message: said.message,
        subject: said.subject,
        share: mean_share(&measured.shares).map(|s| ShareOf::new(s, "request")),
        impact: Impact {
            amount: measured.cost,
            unit: "nanoseconds".to_string(),
            recoverable_low: measured.low,
            recoverable_high: measured.high,
            model: said.model,
        },
        evidence: said.evidence.into_iter().map(|(text, span)| Evidence { text, view: span_view(cx, span) }).collect(),
        occurrences: Occurrences {
            count: cases.len() as u64,
            traces: first.len() as u64,
            of_traces: set.traces.len() as u64,
            exemplars: measured.ranked.iter().take(5).map(|r| text(r.2)).collect(),
            median: measured.ranked.get(measured.ranked.len() / 2).map_or(String::new(), |r| text(r.2)),
            newest: first.keys().max_by_key(|t| (begin(**t), **t)).map_or(String::new(), |t| text(*t)),
        },
        caveats: said.caveats,
        remedies: said.remedies,
        cover: Cover::Spans(cover),
        ..Finding::default()
    }
}

/// The waterfall with the span selected.
pub fn span_view(cx: &Context<'_>, span: SpanRow) -> ViewRef {
    let trace = cx.session.traces.spans.trace[span.index()];
    ViewRef { trace: Some(trace_text(cx, trace)), span: Some(id_text(cx, span)), ..ViewRef::of(View::Traces) }
}

/// A trace's id.
pub fn trace_text(cx: &Context<'_>, trace: TraceRow) -> String {
    cx.session.strings.get(cx.session.traces.traces.id[trace.index()]).to_string()
}

/// A span's id.
pub fn id_text(cx: &Context<'_>, span: SpanRow) -> String {
    cx.session.traces.id_text(&cx.session.strings, cx.session.traces.spans.id[span.index()])
}

/// `service operation`, as sentences name a span.
pub fn named(cx: &Context<'_>, span: SpanRow) -> String {
    let (set, strings) = (&cx.session.traces, &cx.session.strings);
    let service = set.service_name(strings, span);
    let name = set.name(strings, span);
    if service.is_empty() { name.to_string() } else { format!("{service} {name}") }
}

/// Service of a trace's root and its normalised name: the endpoint that was asked.
pub fn endpoint(cx: &Context<'_>, trace: TraceRow) -> (String, String) {
    let (set, strings) = (&cx.session.traces, &cx.session.strings);
    let Some(root) = set.traces.root[trace.index()].get() else { return Default::default() };
    (set.service_name(strings, root).to_string(), crate::analysis::normalize::name(set.name(strings, root)).text)
}

/// The other half of a call: the single span by which the callee answers it.
pub fn answer(set: &TraceSet, span: SpanRow) -> Option<SpanRow> {
    let mut other = set.children(span).iter().copied().filter(|c| set.service(*c) != set.service(span));
    other.next().filter(|_| other.next().is_none())
}

/// The caller's half of a call whose recording tells no kinds: the only thing that the span above the callee's does is this
/// call, and it has its name. Else the call's span itself.
pub fn caller_half(set: &TraceSet, span: SpanRow) -> SpanRow {
    let half = |parent: &SpanRow| {
        let name = |s: SpanRow| set.operations.name[set.spans.operation[s.index()].index()];
        set.service(*parent) != set.service(span)
            && set.children(*parent).len() == 1
            && name(*parent) == name(span)
            && !matches!(set.kind(*parent), SpanKind::Server | SpanKind::Consumer)
    };
    set.spans.parent[span.index()].get().filter(half).unwrap_or(span)
}

/// The caller of a call: the service of its span's parent.
pub fn caller(cx: &Context<'_>, call: &Call) -> String {
    let set = &cx.session.traces;
    let parent = set.spans.parent[call.span.index()].get().unwrap_or(call.span);
    set.service_name(&cx.session.strings, parent).to_string()
}

/// The callee in a call's signature; empty if nobody knows.
pub fn callee<'c>(cx: &'c Context<'_>, call: &Call) -> &'c str {
    cx.calls().texts.get(call.target).split('\u{1f}').next().unwrap_or("")
}

/// The value at a quantile of an ascending list; 0 for an empty one.
pub fn quantile(sorted: &[i64], q: f64) -> i64 {
    if sorted.is_empty() { 0 } else { crate::base::stats::nearest_rank(sorted, q) }
}

/// Why a rule on calls did not look.
pub const NO_CALLS: &str = "no span is a call: none has kind client, a parent in another service, or database attributes";
