//! Where errors begin, how far they spread, and what they cost on the critical path (TRACES 3.3.14; CRISP, `propagateErrors`).

use super::calls::Call;
use super::chatty_n_plus_one::sorted;
use super::facts::Fact;
use super::finding::{Confidence, Finding, Rule, Subject, Threshold};
use super::traced::{Case, Said, endpoint, finding, measure, named, quantile};
use super::{Context, Detector, Outcome};
use crate::analysis::clipped::Clipped;
use crate::analysis::replay::{Edit, replay};
use crate::base::ids::{OperationId, SpanRow, StringId, TraceRow};
use crate::base::quantity::{format_ns, format_share};
use crate::base::stats::map_exp100;
use crate::base::work::step;
use crate::model::trace::{SPAN_ASYNC, SPAN_ERROR, SPAN_ORPHAN, TraceSet};
use std::collections::{BTreeMap, BTreeSet};

/// Documentation of the rule.
pub const RULE: Rule = Rule {
    id: "error-origin",
    name: "Origins of errors",
    family: "failing calls",
    summary: "Spans fail of which no child failed: there the error begins. It is fatal where it reaches the request, masked where a caller answers without it.",
    remedies: &["Repair the origin, not the spans that pass its error on; fail at once where a fallback exists."],
    thresholds: &[
        Threshold { name: "fatal_info", default: 0.001, doc: "Share of the endpoint's requests that fail by it which scores 25." },
        Threshold { name: "fatal_warning", default: 0.05, doc: "The share that scores 75." },
        Threshold {
            name: "min_masked_share",
            default: 0.01,
            doc: "Share of a request that a masked error must take on the critical path, unless min_masked is reached.",
        },
        Threshold { name: "min_masked", default: 3.0, doc: "Masked errors that are told whatever they take." },
    ],
    doc: include_str!("../../docs/rules/error-origin.md"),
};

/// The rule.
pub struct ErrorOrigin;

/// What an error came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Fatal,
    Masked,
}

/// One error, from its origin to the last span that fails with it.
struct Failure {
    trace: TraceRow,
    origin: SpanRow,
    /// From the origin upwards.
    chain: Vec<SpanRow>,
}

/// Statuses by which a callee says no, as part of its work.
const EXPECTED: [i64; 4] = [401, 404, 409, 412];

fn fails(cx: &Context<'_>, span: SpanRow) -> bool {
    let (set, strings) = (&cx.session.traces, &cx.session.strings);
    set.spans.has(span, SPAN_ERROR) && !cx.facts().number(set, strings, span, Fact::Status).is_some_and(|s| EXPECTED.contains(&s))
}

/// How much earlier the root would end if no failing span took any time: CRISP's `timeSavedOnCP`.
pub fn time_in_errors(set: &TraceSet, clipped: &Clipped, root: SpanRow, failing: &[SpanRow]) -> i64 {
    clipped.duration(root) - replay(set, clipped, root, &Edit::zero(failing))
}

/// The class of an error: its type, else an event's, else a status.
fn class(cx: &Context<'_>, span: SpanRow) -> String {
    let (set, strings, facts) = (&cx.session.traces, &cx.session.strings, cx.facts());
    if let Some(text) =
        facts.text(set, strings, span, Fact::ErrorType).or_else(|| facts.text_of_events(set, strings, span, Fact::ErrorType))
    {
        return text.to_string();
    }
    if let Some(n) = facts.number(set, strings, span, Fact::Status) {
        return format!("HTTP {n}");
    }
    match facts.number(set, strings, span, Fact::RpcStatus) {
        Some(n) => format!("gRPC {n}"),
        None => facts.text(set, strings, span, Fact::RpcStatus).unwrap_or("").to_string(),
    }
}

impl Detector for ErrorOrigin {
    fn rule(&self) -> &'static Rule {
        &RULE
    }
    fn detect(&self, cx: &Context<'_>) -> Outcome {
        let (set, strings) = (&cx.session.traces, &cx.session.strings);
        if set.spans.is_empty() {
            return Outcome::NotChecked("no trace is open".to_string());
        }
        let mut places: BTreeMap<(String, String, String, Fate, String), Vec<Failure>> = BTreeMap::new();
        let mut endpoints: BTreeMap<(String, String), u64> = BTreeMap::new();
        let mut failing: Vec<(TraceRow, Vec<SpanRow>)> = Vec::new();
        for trace in (0..set.traces.len()).map(TraceRow::from_index) {
            *endpoints.entry(endpoint(cx, trace)).or_default() += 1;
            if set.traces.errors[trace.index()] == 0 {
                continue;
            }
            let failed: Vec<SpanRow> = set.traces.spans(trace).filter(|s| fails(cx, *s)).collect();
            let again = made_good(cx, trace);
            let is_failed = |s: SpanRow| failed.binary_search(&s).is_ok();
            // A failing child explains its parent's failure, unless the parent did not wait for it.
            let mut explained: BTreeSet<SpanRow> = BTreeSet::new();
            for &span in failed.iter().filter(|s| !set.spans.has(**s, SPAN_ASYNC)) {
                if let Some(parent) = set.spans.parent[span.index()].get().filter(|p| is_failed(*p)) {
                    explained.insert(parent);
                }
            }
            for &origin in failed.iter().filter(|s| !explained.contains(s)) {
                let mut chain = vec![origin];
                let mut at = origin;
                let mut parent = set.spans.parent[at.index()].get();
                while let Some(p) = parent.filter(|p| is_failed(*p) && !set.spans.has(at, SPAN_ASYNC)) {
                    step(1);
                    chain.push(p);
                    at = p;
                    parent = set.spans.parent[at.index()].get();
                }
                // A failed attempt that the next one made good is the retry rule's business.
                if again.contains(&at) {
                    continue;
                }
                let fate = if parent.is_none() && !set.spans.has(at, SPAN_ORPHAN) { Fate::Fatal } else { Fate::Masked };
                let name = crate::analysis::normalize::name(set.name(strings, origin)).text;
                let (_, root) = endpoint(cx, trace);
                let key = (set.service_name(strings, origin).to_string(), name, class(cx, origin), fate, root);
                places.entry(key).or_default().push(Failure { trace, origin, chain });
            }
            if !failed.is_empty() {
                failing.push((trace, failed));
            }
        }
        let by_trace: BTreeMap<TraceRow, &Vec<SpanRow>> = failing.iter().map(|(t, f)| (*t, f)).collect();
        let usual = usual(cx, &places);
        let n = failing.iter().map(|(_, f)| f.len()).sum::<usize>();
        let findings = places.into_iter().filter_map(|((service, name, class, fate, _), list)| {
            one(cx, (&service, &name, &class, fate), &list, &endpoints, &by_trace, &usual)
        });
        let over = format!("{} spans, {n} of them failing, in {}", set.spans.len(), super::counted(set.traces.len(), "trace"));
        Outcome::Checked { findings: sorted(findings.collect()), over }
    }
}

/// Failed calls after which the same execution made the same call again, and with success.
fn made_good(cx: &Context<'_>, trace: TraceRow) -> BTreeSet<SpanRow> {
    let set = &cx.session.traces;
    let failed = |span: SpanRow| set.spans.has(span, SPAN_ERROR);
    let key = |c: &Call| (c.scope, c.signature, c.values);
    let mut last: BTreeMap<(SpanRow, StringId, Option<u64>), i64> = BTreeMap::new();
    for call in cx.calls().of(trace).iter().filter(|c| !failed(c.span)) {
        last.insert(key(call), set.spans.start_ns[call.span.index()]);
    }
    let good = |c: &&Call| failed(c.span) && last.get(&key(c)).is_some_and(|at| *at >= set.spans.end_ns(c.span));
    cx.calls().of(trace).iter().filter(good).map(|c| c.span).collect()
}

/// Durations of the calls that did not fail, of the operations whose masked failures are to be compared with them.
fn usual(cx: &Context<'_>, places: &BTreeMap<(String, String, String, Fate, String), Vec<Failure>>) -> BTreeMap<OperationId, Vec<i64>> {
    let set = &cx.session.traces;
    let masked = places.iter().filter(|(key, _)| key.3 == Fate::Masked).flat_map(|(_, list)| list);
    let mut out: BTreeMap<OperationId, Vec<i64>> =
        masked.filter_map(|f| f.chain.last()).map(|s| (set.spans.operation[s.index()], Vec::new())).collect();
    if !out.is_empty() {
        for span in (0..set.spans.len()).map(SpanRow::from_index).filter(|s| !set.spans.has(*s, SPAN_ERROR)) {
            if let Some(list) = out.get_mut(&set.spans.operation[span.index()]) {
                list.push(set.spans.duration_ns[span.index()]);
            }
        }
        out.values_mut().for_each(|list| list.sort_unstable());
    }
    out
}

fn one(
    cx: &Context<'_>,
    (service, name, class, fate): (&str, &str, &str, Fate),
    list: &[Failure],
    endpoints: &BTreeMap<(String, String), u64>,
    failing: &BTreeMap<TraceRow, &Vec<SpanRow>>,
    usual: &BTreeMap<OperationId, Vec<i64>>,
) -> Option<Finding> {
    let set = &cx.session.traces;
    let cases: Vec<Case> = list
        .iter()
        .map(|f| {
            let top = f.chain.last().copied().unwrap_or(f.origin);
            let ok = usual.get(&set.spans.operation[top.index()]).filter(|list| list.len() >= 10);
            let own = set.spans.duration_ns[top.index()];
            let (low, high) = match (fate, ok) {
                (Fate::Fatal, _) => (Edit::default(), Edit::zero(&[f.origin])),
                (Fate::Masked, Some(ok)) => (Edit::set(top, quantile(ok, 0.9).min(own)), Edit::zero(&[top])),
                (Fate::Masked, None) => (Edit::default(), Edit::zero(&[top])),
            };
            let shown = if fate == Fate::Fatal { f.origin } else { top };
            Case { trace: f.trace, spans: vec![shown], cost: set.spans.duration_ns[shown.index()], low, high }
        })
        .collect();
    let measured = measure(cx, &cases);
    let (share, _) = measured.worst();
    let traces: BTreeSet<TraceRow> = list.iter().map(|f| f.trace).collect();
    if fate == Fate::Masked && share < cx.threshold(&RULE, "min_masked_share") && (list.len() as f64) < cx.threshold(&RULE, "min_masked") {
        return None;
    }
    let worst = list.iter().max_by_key(|f| (Some(f.trace) == measured.worst_trace(), std::cmp::Reverse(f.origin)))?;
    let place = endpoint(cx, worst.trace);
    let asked = endpoints.get(&place).copied().unwrap_or(1).max(1);
    let rate = traces.len() as f64 / asked as f64;
    let root = set.traces.root[worst.trace.index()].get()?;
    let clipped = Clipped::of(set, worst.trace);
    let lost = failing.get(&worst.trace).map_or(0, |failed| time_in_errors(set, &clipped, root, failed));
    let top = worst.chain.last().copied().unwrap_or(worst.origin);
    let what = if class.is_empty() { String::new() } else { format!(" ({class})") };
    let handled = set.spans.parent[top.index()].get();
    let outcome = match (fate, handled) {
        (Fate::Fatal, _) => "and fails the request".to_string(),
        (Fate::Masked, Some(by)) => format!("and is masked by {}", named(cx, by)),
        (Fate::Masked, None) => "below a span that is not recorded".to_string(),
    };
    let by = if service.is_empty() { "an unnamed service" } else { service };
    let message = format!(
        "{name} of {by} fails{what} {outcome} in {} of {asked} requests of {} ({}); {} of its chain, and without the time of failing spans the worst request of {} is {} shorter.",
        traces.len(),
        place.1,
        format_share(rate),
        super::counted(worst.chain.len(), "failing span"),
        format_ns(clipped.duration(root) as f64),
        format_ns(lost as f64)
    );
    let fatal = fate == Fate::Fatal;
    let said = Said {
        title: format!("{name} of {by} fails{what}, {}", if fatal { "and the request with it" } else { "masked by its caller" }),
        message,
        subject: Subject { kind: "operation", name: name.to_string(), service: service.to_string(), path: vec![place.1], ..Subject::default() },
        confidence: Confidence::Confirmed,
        model: if fatal {
            "Replay of the requests whose origin fails at once (at best); the time is lost in any case (at worst), and what a success would take is not in the data."
        } else {
            "Replay of the requests in which the failing call takes what the slowest tenth of its successes take, where ten are known (at worst), or no time at all (at best)."
        }
        .to_string(),
        evidence: vec![
            (format!("The error begins in {}, which fails and none of whose children do.", named(cx, worst.origin)), worst.origin),
            (format!("It reaches {}.", named(cx, top)), top),
        ],
        caveats: vec!["A span counts as failed where its status says so; HTTP 401, 404, 409 and 412 are answers and not counted.".to_string()],
        remedies: if fatal {
            vec!["Repair the origin; time-outs, retries and fallbacks above it only hide it.".to_string()]
        } else {
            vec!["Repair the origin, or stop asking: a circuit breaker answers with the fallback at once.".to_string()]
        },
        least: if fatal { map_exp100(rate, cx.threshold(&RULE, "fatal_info"), cx.threshold(&RULE, "fatal_warning")).min(95.0) } else { 30.0 },
        ..Said::default()
    };
    let fate = if fatal { "fatal" } else { "masked" };
    Some(finding(cx, &RULE, &cases, &measured, &[service, name, class, fate, &endpoint(cx, worst.trace).1], said))
}
