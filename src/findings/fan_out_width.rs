//! Wide fan-outs: one span waits for very many calls, for very many callees, or for one slow call among fast ones.

use super::calls::Call;
use super::chatty::{Group, NO_CALLS, Pattern, Words, finding, place_of, sorted};
use super::finding::{Confidence, Rule, Threshold};
use super::pool_shape::{intervals, levels};
use super::{Context, Detector, Outcome};
use crate::analysis::replay::Edit;
use crate::base::ids::{OperationId, SpanRow, StringId, TraceRow};
use crate::base::quantity::{format_ns, format_share};
use crate::model::trace::{SPAN_ASYNC, TraceSet};
use std::collections::{BTreeMap, BTreeSet};

/// Documentation of the rule.
pub const RULE: Rule = Rule {
    id: "fan-out-width",
    name: "Wide fan-out",
    family: "chatty calls",
    summary: "One span waits for very many calls at once, or for one that is much slower than the others.",
    remedies: &["Ask fewer callees, hedge or bound the slowest, answer without it when it is late."],
    thresholds: &[
        Threshold { name: "max_calls", default: 20.0, doc: "Calls of one span that overlap others (perf-sentinel, excessive fan-out)." },
        Threshold { name: "max_callees", default: 8.0, doc: "Distinct callees of one span." },
        Threshold { name: "max_peak", default: 10.0, doc: "Calls to one callee under way at once (perf-sentinel, pool saturation)." },
        Threshold { name: "min_calls", default: 4.0, doc: "Calls under way at once from which a straggler is looked for." },
        Threshold { name: "straggler", default: 3.0, doc: "The slowest call as multiple of the median of those under way with it." },
        Threshold { name: "straggler_ms", default: 50.0, doc: "Milliseconds by which it is slower than the next." },
    ],
    doc: include_str!("../../docs/rules/fan-out-width.md"),
};

/// The rule.
pub struct Width;

fn duration(set: &TraceSet, span: SpanRow) -> i64 {
    set.spans.duration_ns[span.index()]
}

fn median(set: &TraceSet, calls: &[Call]) -> i64 {
    let mut all: Vec<i64> = calls.iter().map(|c| duration(set, c.span)).collect();
    all.sort_unstable();
    all.get((all.len().max(1) - 1) / 2).copied().unwrap_or(0)
}

/// The slowest takes as long as the next, or just no longer is a straggler of its kind if that is more, at worst; at best all that take more
/// than twice the median take the median.
fn plan(set: &TraceSet, g: &Group, usual: &Usual) -> (Edit, Edit) {
    let middle = median(set, &g.calls);
    let mut order: Vec<SpanRow> = g.spans();
    order.sort_by_key(|s| (std::cmp::Reverse(duration(set, *s)), *s));
    let low = match order.as_slice() {
        [first, second, ..] => {
            let own = usual.get(&slowest(set, g).signature).map_or(0, |u| u.high);
            Edit::batch(&[*first], duration(set, *second).max(own).min(duration(set, *first)), true)
        }
        _ => Edit::default(),
    };
    let slow = order.iter().filter(|s| duration(set, **s) > middle.saturating_mul(2));
    (low, slow.fold(Edit::default(), |edit, s| edit.and(Edit::batch(&[*s], middle, true))))
}

/// What is wide about the calls of one span.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Why {
    calls: bool,
    callees: bool,
    peak: bool,
    straggler: bool,
}

impl Why {
    fn any(self) -> bool {
        self.calls || self.callees || self.peak || self.straggler
    }
}

fn callee<'a>(cx: &'a Context<'_>, call: &Call) -> &'a str {
    cx.calls().texts.get(call.target).split('\u{1f}').next().unwrap_or("")
}

fn why(cx: &Context<'_>, g: &Group) -> Why {
    let set = &cx.session.traces;
    let limit = |name: &str| cx.threshold(&RULE, name);
    let mut by_callee: BTreeMap<&str, Vec<Call>> = BTreeMap::new();
    for call in &g.calls {
        by_callee.entry(callee(cx, call)).or_default().push(*call);
    }
    let peak = |calls: &[Call]| {
        if calls.len() as f64 <= limit("max_peak") {
            return 0;
        }
        levels(&intervals(set, &Group::new(g.trace, g.scope, calls.to_vec()))).into_iter().max().unwrap_or(0)
    };
    let mut order: Vec<i64> = g.calls.iter().map(|c| duration(set, c.span)).collect();
    order.sort_unstable_by_key(|d| std::cmp::Reverse(*d));
    let late = match order.as_slice() {
        [first, second, ..] => (first - second) as f64 >= limit("straggler_ms") * 1e6,
        _ => false,
    };
    Why {
        calls: g.calls.len() as f64 > limit("max_calls"),
        callees: by_callee.len() as f64 > limit("max_callees"),
        peak: by_callee.values().any(|calls| peak(calls) as f64 > limit("max_peak")),
        straggler: late
            && g.calls.len() as f64 >= limit("min_calls")
            && order[0] as f64 >= limit("straggler") * median(set, &g.calls).max(1) as f64,
    }
}

impl Detector for Width {
    fn rule(&self) -> &'static Rule {
        &RULE
    }
    fn detect(&self, cx: &Context<'_>) -> Outcome {
        let set = &cx.session.traces;
        if set.spans.is_empty() {
            return Outcome::NotChecked("no trace is open".to_string());
        }
        let (calls, traces) = (cx.calls().len(), set.traces.len());
        if calls == 0 {
            return Outcome::NotChecked(NO_CALLS.to_string());
        }
        let mut found: Vec<(OperationId, Why, Group)> = Vec::new();
        let mut by_parent: Vec<(SpanRow, usize)> = Vec::new();
        for trace in (0..traces).map(TraceRow::from_index) {
            let list = cx.calls().of(trace);
            by_parent.clear();
            let waited = list.iter().enumerate().filter(|(_, c)| !set.spans.has(c.span, SPAN_ASYNC));
            by_parent.extend(waited.filter_map(|(i, c)| Some((set.spans.parent[c.span.index()].get()?, i))));
            by_parent.sort_unstable();
            for own in by_parent.chunk_by(|a, b| a.0 == b.0).filter(|own| own.len() >= 4) {
                // The longest run of calls that overlap: what is waited for together.
                let calls: Vec<Call> = own.iter().map(|(_, i)| list[*i]).collect();
                for wave in waves(set, calls) {
                    let g = Group::new(trace, wave[0].scope, wave);
                    let why = why(cx, &g);
                    if why.any() {
                        found.push((set.spans.operation[own[0].0.index()], why, g));
                    }
                }
            }
        }
        let usual = usual(cx, &found);
        let mut wide: BTreeMap<OperationId, (Why, Vec<Group>)> = BTreeMap::new();
        for (operation, mut why, g) in found {
            why.straggler &= late(cx, &g, &usual);
            if why.any() {
                let entry = wide.entry(operation).or_default();
                entry.0 = entry.0.max(why);
                entry.1.push(g);
            }
        }
        let findings = wide.into_iter().map(|(operation, (why, groups))| tell(cx, traces, operation, why, groups, &usual)).collect();
        Outcome::Checked { findings: sorted(findings), over: format!("{calls} calls in {}", super::counted(traces, "trace")) }
    }
}

fn slowest(set: &TraceSet, g: &Group) -> Call {
    *g.calls.iter().max_by_key(|c| (duration(set, c.span), std::cmp::Reverse(c.span))).unwrap_or(&g.calls[0])
}

/// How long calls of one kind usually take.
#[derive(Clone, Copy, Default)]
struct Typical {
    n: usize,
    median: i64,
    /// From here on they are stragglers.
    high: i64,
}

type Usual = BTreeMap<StringId, Typical>;

/// How long the kinds of call that were slowest somewhere usually take, over all traces.
fn usual(cx: &Context<'_>, found: &[(OperationId, Why, Group)]) -> Usual {
    let set = &cx.session.traces;
    let mut all: BTreeMap<StringId, Vec<i64>> =
        found.iter().filter(|f| f.1.straggler).map(|f| (slowest(set, &f.2).signature, Vec::new())).collect();
    if all.is_empty() {
        return BTreeMap::new();
    }
    for call in cx.calls().all() {
        if let Some(list) = all.get_mut(&call.signature) {
            list.push(duration(set, call.span));
        }
    }
    let middle = |mut list: Vec<i64>| {
        list.sort_unstable();
        let median = list[(list.len() - 1) / 2];
        let high = (cx.threshold(&RULE, "straggler") * median as f64) as i64;
        Typical { n: list.len(), median, high }
    };
    all.into_iter().filter(|(_, list)| !list.is_empty()).map(|(signature, list)| (signature, middle(list))).collect()
}

/// Whether the slowest call is slow for its kind, not just of another kind than the others.
fn late(cx: &Context<'_>, g: &Group, usual: &Usual) -> bool {
    let set = &cx.session.traces;
    let slow = slowest(set, g);
    let alike = g.calls.iter().all(|c| c.signature == slow.signature);
    let own = usual.get(&slow.signature).copied().unwrap_or_default();
    alike || (own.n >= 5 && duration(set, slow.span) as f64 >= cx.threshold(&RULE, "straggler") * own.median.max(1) as f64)
}

/// Runs of calls in which each begins before the ones before it have all ended, of at least four.
fn waves(set: &TraceSet, mut calls: Vec<Call>) -> Vec<Vec<Call>> {
    calls.sort_by_key(|c| (set.spans.start_ns[c.span.index()], c.span));
    let mut out: Vec<Vec<Call>> = Vec::new();
    let mut until = i64::MIN;
    for call in calls {
        match out.last_mut() {
            Some(wave) if set.spans.start_ns[call.span.index()] < until => wave.push(call),
            _ => out.push(vec![call]),
        }
        until = until.max(set.spans.end_ns(call.span));
    }
    out.retain(|wave| wave.len() >= 4);
    out
}

fn tell(cx: &Context<'_>, traces: usize, operation: OperationId, why: Why, groups: Vec<Group>, usual: &Usual) -> super::finding::Finding {
    let set = &cx.session.traces;
    let place = place_of(cx, groups[0].scope);
    let pattern = Pattern { groups };
    let widest = pattern.groups.iter().max_by_key(|g| (g.calls.len(), std::cmp::Reverse(g.scope))).unwrap_or(&pattern.groups[0]);
    let callees: BTreeSet<&str> = widest.calls.iter().map(|c| callee(cx, c)).collect();
    let n = widest.calls.len();
    let slowest = slowest(set, widest);
    let (most, middle) = (duration(set, slowest.span), median(set, &widest.calls));
    let mut note = format!(
        "The widest wave has {n} calls to {}; its slowest, {}, takes {}, the median {}.",
        super::counted(callees.len(), "callee"),
        cx.calls().texts.get(slowest.shown),
        format_ns(most as f64),
        format_ns(middle as f64)
    );
    note.push_str(&format!(
        " Of waves so wide, {} meet the slowest 1 % of the calls.",
        format_share(1.0 - 0.99_f64.powi(n.min(100_000) as i32))
    ));
    let mut remedies = Vec::new();
    if why.straggler {
        remedies.push(
            "Look at the slowest call first; hedge it (ask again elsewhere after the 95th percentile), or answer without it.".to_string(),
        );
    }
    if why.peak {
        remedies.push("Bound how many calls to one callee are under way; its pool fills up.".to_string());
    }
    remedies.push("Ask fewer callees: batch per callee, cache what seldom changes, move the join to where the data is.".to_string());
    let name = cx.session.strings.get(set.operations.name[operation.index()]);
    let words = Words {
        title: if why.straggler {
            "{n} calls at once of which one is late in {endpoint}".to_string()
        } else {
            "{n} calls at once in {endpoint}".to_string()
        },
        model: "Replay of the requests with the slowest call as fast as the next, or just no straggler of its kind any more (at worst), or all stragglers at the median (at best).",
        confidence: if why.straggler { Confidence::Likely } else { Confidence::Possible },
        caveats: vec!["Scatter-gather searches, map-reduce and batch jobs are wide by design.".to_string()],
        remedies,
        note,
        mild: !why.straggler,
        subject: format!("fan-out of {name}, slowest {}", cx.calls().texts.get(slowest.shown)),
        ..Words::default()
    };
    finding(cx, &RULE, traces, place, &pattern, &|set, g| plan(set, g, usual), words)
}
