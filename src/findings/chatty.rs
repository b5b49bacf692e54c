//! What the rules on chatty calls share: groups of equal calls, their shape, what a fix would save, and the finding's text.

use super::Context;
use super::calls::{Call, entry_of};
use super::finding::{Confidence, Cover, Evidence, Finding, Impact, Occurrences, Rule, Severity, ShareOf, Subject, fingerprint};
pub use crate::analysis::batch::batch_bounds;
use crate::analysis::clipped::Clipped;
use crate::analysis::replay::{Edit, replay};
use crate::base::ids::{SpanRow, StringId, TraceRow};
use crate::base::quantity::{format_ns, format_share};
use crate::base::stats::Share;
use crate::base::view::{View, ViewRef};
use crate::base::work::step;
use crate::model::trace::TraceSet;
use std::collections::BTreeMap;

/// Equal calls of one execution (or one trace), in order of start.
#[derive(Clone, Debug)]
pub struct Group {
    /// Its trace.
    pub trace: TraceRow,
    /// The execution that made the calls.
    pub scope: SpanRow,
    /// The calls.
    pub calls: Vec<Call>,
    /// Starts of waves: another call lies between a wave and the next. The first is 0.
    pub waves: Vec<usize>,
}

/// What a rule answers where no span is a call.
pub const NO_CALLS: &str = "no span is a call: none has kind client, a parent in another service, or database attributes";

impl Group {
    /// A group of one wave.
    pub fn new(trace: TraceRow, scope: SpanRow, calls: Vec<Call>) -> Group {
        Group { trace, scope, calls, waves: vec![0] }
    }

    /// How many calls: spans that an agent compressed stand for several.
    pub fn count(&self) -> usize {
        self.calls.iter().fold(0, |sum, c| sum + c.count as usize)
    }

    /// Spans of the calls.
    pub fn spans(&self) -> Vec<SpanRow> {
        self.calls.iter().map(|c| c.span).collect()
    }

    /// Sum of durations and length of the union of intervals, nanoseconds.
    pub fn sum_and_union(&self, set: &TraceSet) -> (i64, i64) {
        let (mut sum, mut union, mut covered) = (0_i64, 0, i64::MIN);
        for call in &self.calls {
            let (start, end) = (set.spans.start_ns[call.span.index()], set.spans.end_ns(call.span));
            sum = sum.saturating_add(end - start);
            let from = start.max(covered);
            if end > from {
                union += end - from;
                covered = end;
            }
        }
        (sum, union)
    }

    /// From the first begin to the last end, nanoseconds.
    pub fn extent(&self, set: &TraceSet) -> i64 {
        let begin = self.calls.iter().map(|c| set.spans.start_ns[c.span.index()]).min().unwrap_or(0);
        self.calls.iter().map(|c| set.spans.end_ns(c.span)).max().unwrap_or(0).saturating_sub(begin)
    }

    /// Mean number of calls under way at a time: 1 for calls one after the other.
    pub fn concurrency(&self, set: &TraceSet) -> f64 {
        let (sum, union) = self.sum_and_union(set);
        if union > 0 { sum as f64 / union as f64 } else { 1.0 }
    }

    /// Distinct values; `None` where one call's are not in the data.
    pub fn distinct(&self) -> Option<usize> {
        let mut values: Vec<u64> = self.calls.iter().map(|c| c.values).collect::<Option<_>>()?;
        values.sort_unstable();
        values.dedup();
        Some(values.len())
    }
}

/// Groups of at least `least` equal calls of one execution, over all traces, with the traces looked at and their calls.
pub fn groups(cx: &Context<'_>, least: usize, each: &mut dyn FnMut(Group)) -> (usize, usize) {
    let set = &cx.session.traces;
    let repeated = &cx.attempts().repeated;
    // Calls that failed and were made again do not make a group, but belong to one that the others make.
    let once = |c: &Call| repeated.is_empty() || !repeated.contains(&c.span);
    let enough = |calls: &mut dyn Iterator<Item = &Call>| calls.filter(|c| once(c)).fold(0_usize, |sum, c| sum + c.count as usize) >= least;
    // (execution, position in order of start), and the same by signature.
    let mut by_scope: Vec<(SpanRow, usize)> = Vec::new();
    let mut by_signature: Vec<(StringId, usize)> = Vec::new();
    let mut members: Vec<usize> = Vec::new();
    for trace in (0..set.traces.len()).map(TraceRow::from_index) {
        let list = cx.calls().of(trace);
        if !enough(&mut list.iter()) {
            continue;
        }
        by_scope.clear();
        by_scope.extend(list.iter().enumerate().map(|(i, call)| (call.scope, i)));
        by_scope.sort_unstable();
        for own in by_scope.chunk_by(|a, b| a.0 == b.0).filter(|own| enough(&mut own.iter().map(|(_, i)| &list[*i]))) {
            // Calls of one execution in order of start, so that what lies between two of a group is seen.
            members.clear();
            members.extend(own.iter().map(|(_, i)| *i));
            by_signature.clear();
            by_signature.extend(members.iter().map(|i| (list[*i].signature, *i)));
            by_signature.sort_unstable();
            for equal in by_signature.chunk_by(|a, b| a.0 == b.0).filter(|equal| enough(&mut equal.iter().map(|(_, i)| &list[*i]))) {
                let calls: Vec<usize> = equal.iter().map(|(_, i)| *i).collect();
                let waves = waves(set, list, &members, &calls);
                each(Group { trace, scope: own[0].0, calls: calls.iter().map(|i| list[*i]).collect(), waves });
            }
        }
    }
    (set.traces.len(), cx.calls().len())
}

/// A wave ends where a call of another kind begins after it and ends before the next begins: the next may depend on that one.
fn waves(set: &TraceSet, list: &[Call], members: &[usize], own: &[usize]) -> Vec<usize> {
    let start = |i: usize| set.spans.start_ns[list[i].span.index()];
    let end = |i: usize| set.spans.end_ns(list[i].span);
    let mut out = vec![0];
    let mut ended = end(own[0]);
    let mut at = 0;
    for k in 1..own.len() {
        let next = start(own[k]);
        while at < members.len() && start(members[at]) < ended {
            at += 1;
        }
        let barrier = members[at..].iter().take_while(|m| start(**m) < next).any(|m| {
            step(1);
            list[*m].signature != list[own[k]].signature && end(*m) <= next
        });
        if barrier && next >= ended {
            out.push(k);
        }
        ended = ended.max(end(own[k]));
    }
    out
}

/// Pessimistic and optimistic edits of a group.
pub type Plan<'p> = &'p dyn Fn(&TraceSet, &Group) -> (Edit, Edit);

/// All occurrences of one finding.
pub struct Pattern {
    /// Groups, in order of trace.
    pub groups: Vec<Group>,
}

/// Collects groups by endpoint and signature.
#[derive(Default)]
pub struct Patterns(BTreeMap<(String, String, String), Pattern>);

impl Patterns {
    /// Adds a group under the service and name of its scope.
    pub fn add(&mut self, cx: &Context<'_>, group: Group) {
        let name = cx.calls().texts.get(group.calls[0].signature).to_string();
        self.add_as(cx, group, name);
    }

    /// Adds a group under a name of its own instead of its first call's signature.
    pub fn add_as(&mut self, cx: &Context<'_>, group: Group, name: String) {
        let (service, endpoint) = place_of(cx, group.scope);
        self.0.entry((service, endpoint, name)).or_insert(Pattern { groups: Vec::new() }).groups.push(group);
    }

    /// The patterns with service and endpoint.
    pub fn places(self) -> impl Iterator<Item = ((String, String), Pattern)> {
        self.0.into_iter().map(|((service, endpoint, _), p)| ((service, endpoint), p))
    }
}

/// What a rule says about a pattern.
#[derive(Default)]
pub struct Words {
    /// Title, from the number of calls of the worst occurrence and the operation.
    pub title: String,
    /// The model behind the saving.
    pub model: &'static str,
    /// How sure.
    pub confidence: Confidence,
    /// What could make it wrong.
    pub caveats: Vec<String>,
    /// What to do.
    pub remedies: Vec<String>,
    /// Sentences that follow the claim.
    pub note: String,
    /// More proof.
    pub evidence: Vec<Evidence>,
    /// Severity is at most info: what it says is worth knowing, and may be right as it is.
    pub mild: bool,
    /// What lies between the calls belongs to their cost.
    pub pauses: bool,
    /// What it is about, where that is not the first call's operation.
    pub subject: String,
}

/// Service and normalised name of the handler that an execution belongs to.
pub fn place_of(cx: &Context<'_>, scope: SpanRow) -> (String, String) {
    let set = &cx.session.traces;
    let scope = entry_of(set, scope);
    let service = set.service_name(&cx.session.strings, scope).to_string();
    (service, crate::analysis::normalize::name(set.name(&cx.session.strings, scope)).text)
}

/// Makes the finding of a pattern. `worth` decides with the worst pessimistic saving share whether to report at all.
pub fn finding(
    cx: &Context<'_>,
    rule: &Rule,
    of_traces: usize,
    (service, endpoint): (String, String),
    pattern: &Pattern,
    plan: Plan<'_>,
    words: Words,
) -> Finding {
    let session = cx.session;
    let set = &session.traces;
    // Groups of one trace are replayed together, so that the saving can never exceed the request.
    let mut by_trace: BTreeMap<TraceRow, Vec<&Group>> = BTreeMap::new();
    for g in &pattern.groups {
        by_trace.entry(g.trace).or_default().push(g);
    }
    let (mut low_sum, mut high_sum, mut cost) = (0_i64, 0_i64, 0_i64);
    let (mut shares, mut outlasting): (Vec<f64>, Vec<TraceRow>) = (Vec::new(), Vec::new());
    let mut ranked: Vec<(i64, TraceRow, i64)> = Vec::new();
    for (&trace, groups) in &by_trace {
        let clipped = Clipped::of(set, trace);
        let Some(root) = set.traces.root[trace.index()].get() else { continue };
        let (mut low_edit, mut high_edit) = (Edit::default(), Edit::default());
        let mut taken = 0_i64;
        for g in groups {
            let (low, high) = plan(set, g);
            (low_edit, high_edit) = (low_edit.and(low), high_edit.and(high));
            taken = taken.saturating_add(if words.pauses { g.extent(set) } else { g.sum_and_union(set).1 });
        }
        cost = cost.saturating_add(taken);
        let whole = clipped.duration(root);
        let saved = |edit: &Edit| (whole - replay(set, &clipped, root, edit)).max(0);
        let (a, b) = (saved(&low_edit), saved(&high_edit));
        let (low, high) = (a.min(b), a.max(b));
        low_sum = low_sum.saturating_add(low);
        high_sum = high_sum.saturating_add(high);
        // What goes on after the request's own span has ended is no share of it.
        if taken <= whole && whole > 0 {
            shares.push(taken as f64 / whole as f64);
        } else {
            outlasting.push(trace);
        }
        ranked.push((high, trace, whole));
    }
    ranked.sort_by_key(|(high, trace, _)| (std::cmp::Reverse(*high), *trace));
    let (worst_saving, worst_trace, worst_root) = ranked.first().copied().unwrap_or((0, pattern.groups[0].trace, 0));
    let worst = pattern.groups.iter().filter(|g| g.trace == worst_trace).max_by_key(|g| (g.calls.len(), std::cmp::Reverse(g.scope)));
    let worst = worst.unwrap_or(&pattern.groups[0]);
    let beyond = outlasting.contains(&worst_trace);
    let worst_share = if worst_root > 0 { worst_saving as f64 / worst_root as f64 } else { 0.0 };
    let score = if words.mild { score(worst_share, worst_saving).min(74.0) } else { score(worst_share, worst_saving) };
    let (sum, union) = worst.sum_and_union(set);
    let trace_text = |t: TraceRow| session.strings.get(set.traces.id[t.index()]).to_string();
    let id = |s: SpanRow| set.id_text(&session.strings, set.spans.id[s.index()]);
    let first = worst.calls[0].span;
    let parents: std::collections::BTreeSet<SpanRow> = worst.calls.iter().filter_map(|c| set.spans.parent[c.span.index()].get()).collect();
    let under = match parents.iter().next() {
        Some(p) if parents.len() == 1 => format!("directly under span {} {}", id(*p), set.name(&session.strings, *p)),
        _ => format!("in one execution of span {} {}", id(worst.scope), set.name(&session.strings, worst.scope)),
    };
    let exemplar = |t: TraceRow| {
        let span = by_trace.get(&t).and_then(|groups| groups.first()).map_or(String::new(), |g| id(g.calls[0].span));
        format!("{}/{span}", trace_text(t))
    };
    let begin = |t: TraceRow| set.traces.root[t.index()].get().map_or(0, |r| set.spans.start_ns[r.index()]);
    let distinct = worst.distinct().map_or("values not recorded".to_string(), |d| format!("{d} distinct"));
    let (shown, named) = match words.subject.as_str() {
        "" => (cx.calls().texts.get(worst.calls[0].shown), cx.calls().texts.get(worst.calls[0].signature)),
        subject => (subject, subject),
    };
    let mut message = format!(
        "{} calls of {} by {} in one request ({distinct}), {}, {} in sum, {} of wall time, of a request of {}{}; {}.",
        worst.count(),
        shown,
        if service.is_empty() { "an unnamed service" } else { &service },
        if worst.concurrency(set) < 1.5 { "one after the other" } else { "several at a time" },
        format_ns(sum as f64),
        format_ns(union as f64),
        format_ns(worst_root as f64),
        if beyond { ", whose own span ends before they do" } else { "" },
        super::in_traces(by_trace.len(), of_traces)
    );
    if !words.note.is_empty() {
        message.push(' ');
        message.push_str(&words.note);
    }
    let callee = set.service_name(&session.strings, first).to_string();
    let trace_view = ViewRef { trace: Some(trace_text(worst_trace)), span: Some(id(first)), ..ViewRef::of(View::Traces) };
    let service_view =
        ViewRef { service: Some(callee), operation: Some(set.name(&session.strings, first).to_string()), ..ViewRef::of(View::Services) };
    let mut cover: Vec<SpanRow> = pattern.groups.iter().flat_map(Group::spans).collect();
    cover.sort_unstable();
    cover.dedup();
    let (file, line) = super::call_place::location(session, first, worst.scope).unwrap_or_default();
    let mut evidence = vec![
        Evidence { text: format!("{} calls {under}, the first is span {}.", worst.count(), id(first)), view: trace_view },
        Evidence {
            text: format!(
                "All calls of it: durations, errors, callers. In the worst request a fix saves {}, {} of it.",
                format_ns(worst_saving as f64),
                format_share(worst_share)
            ),
            view: service_view,
        },
    ];
    evidence.extend(words.evidence);
    Finding {
        rule: rule.id,
        fingerprint: fingerprint(rule.id, &[&service, &endpoint, named]),
        severity: Severity::of_score(score).unwrap_or(Severity::Info),
        score: score.round() as u32,
        confidence: words.confidence,
        tier: String::new(),
        title: words
            .title
            .replace("{n}", &worst.count().to_string())
            .replace("{op}", &short(shown))
            .replace("{endpoint}", &short(&endpoint)),
        message,
        subject: Subject { kind: "span-group", name: shown.to_string(), service, path: vec![endpoint], file, line },
        share: mean_share(&shares).map(|s| ShareOf::new(s, "request")),
        impact: Impact {
            amount: cost,
            unit: "nanoseconds".to_string(),
            recoverable_low: low_sum.min(cost),
            recoverable_high: high_sum.min(cost),
            model: words.model.to_string(),
        },
        evidence,
        occurrences: Occurrences {
            count: pattern.groups.iter().map(|g| g.count() as u64).sum(),
            traces: by_trace.len() as u64,
            of_traces: of_traces as u64,
            exemplars: ranked.iter().take(5).map(|(_, t, _)| exemplar(*t)).collect(),
            median: ranked.get(ranked.len() / 2).map_or(String::new(), |(_, t, _)| exemplar(*t)),
            newest: by_trace.keys().max_by_key(|t| (begin(**t), **t)).map_or(String::new(), |t| exemplar(*t)),
        },
        caveats: words.caveats,
        remedies: words.remedies,
        cover: Cover::Spans(cover),
        ..Finding::default()
    }
}

/// Mean share of the affected requests that the calls take, with the normal 95 % interval of the mean; a single request is
/// known exactly.
pub(super) fn mean_share(shares: &[f64]) -> Option<Share> {
    let n = shares.len();
    if n == 0 {
        return None;
    }
    let p = shares.iter().sum::<f64>() / n as f64;
    let variance = if n > 1 { shares.iter().map(|s| (s - p) * (s - p)).sum::<f64>() / (n - 1) as f64 } else { 0.0 };
    let half = 1.96 * (variance / n as f64).sqrt();
    Some(Share { p, low: (p - half).max(0.0), high: (p + half).min(1.0), n: n as u64 })
}

/// 90 and above from 20 % or 500 ms of a request, 75 from 5 % or 100 ms, 50 from 1 %, else 30 (TRACES 3.3).
pub(super) fn score(share: f64, ns: i64) -> f64 {
    let ms = ns as f64 / 1e6;
    if share >= 0.2 || ms >= 500.0 {
        90.0 + (share * 10.0).min(9.0)
    } else if share >= 0.05 || ms >= 100.0 {
        75.0 + (share * 70.0).min(14.0)
    } else if share >= 0.01 {
        50.0 + (share * 400.0).min(20.0)
    } else {
        30.0
    }
}

pub(super) fn short(text: &str) -> String {
    if text.chars().count() <= 80 { text.to_string() } else { text.chars().take(79).chain(['…']).collect() }
}

/// By falling score, then fingerprint.
pub fn sorted(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by(|a, b| b.score.cmp(&a.score).then_with(|| a.fingerprint.cmp(&b.fingerprint)));
    findings
}
