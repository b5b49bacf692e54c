//! Many writes by one execution of a handler, over one table or several (TRACES 3.3.8; AppMap, too many updates).

use super::calls::{Call, Category};
use super::chatty::batch_bounds;
use super::chatty_n_plus_one::sorted;
use super::finding::{Confidence, Finding, Rule, Subject, Threshold};
use super::traced::{Case, NO_CALLS, Said, caller, endpoint, finding, measure, named};
use super::{Context, Detector, Outcome};
use crate::analysis::replay::Edit;
use crate::base::ids::{SpanRow, StringId, TraceRow};
use crate::base::quantity::format_ns;
use std::collections::{BTreeMap, BTreeSet};

/// Documentation of the rule.
pub const RULE: Rule = Rule {
    id: "many-writes",
    name: "Many writes in one request",
    family: "slow calls",
    summary: "One execution of a handler writes many times: statements that change rows, or PUT, POST and PATCH.",
    remedies: &["Write rows of one table with one statement, or in one batch; move what nobody waits for behind a queue."],
    thresholds: &[Threshold {
        name: "min_writes",
        default: 21.0,
        doc: "Writes of one execution (AppMap, too many updates: more than 20).",
    }],
    doc: include_str!("../../docs/rules/many-writes.md"),
};

/// The rule.
pub struct ManyWrites;

/// The writes of one execution.
type Execution = (TraceRow, Vec<Call>);

/// A statement that changes rows, or a request that is not meant to be repeated.
fn writes(cx: &Context<'_>, call: &Call) -> bool {
    let operation = cx.calls().texts.get(call.target).rsplit('\u{1f}').next().unwrap_or("");
    let first = operation.split(' ').next().unwrap_or("");
    match call.category {
        Category::Db => ["INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE", "UPSERT"].iter().any(|w| first.eq_ignore_ascii_case(w)),
        Category::Http => matches!(first, "PUT" | "POST" | "PATCH" | "DELETE"),
        _ => false,
    }
}

impl Detector for ManyWrites {
    fn rule(&self) -> &'static Rule {
        &RULE
    }
    fn detect(&self, cx: &Context<'_>) -> Outcome {
        let set = &cx.session.traces;
        if set.spans.is_empty() {
            return Outcome::NotChecked("no trace is open".to_string());
        }
        if cx.calls().is_empty() {
            return Outcome::NotChecked(NO_CALLS.to_string());
        }
        let least = cx.threshold(&RULE, "min_writes").max(2.0) as usize;
        let mut written = 0;
        // Executions with their writes, by caller and endpoint.
        let mut places: BTreeMap<(String, String), Vec<Execution>> = BTreeMap::new();
        for trace in (0..set.traces.len()).map(TraceRow::from_index) {
            let mut own: Vec<Call> = cx.calls().of(trace).iter().filter(|c| writes(cx, c)).copied().collect();
            written += own.len();
            if own.len() < least {
                continue;
            }
            own.sort_by_key(|c| (c.scope, set.spans.start_ns[c.span.index()], c.span));
            for calls in own.chunk_by(|a, b| a.scope == b.scope).filter(|calls| calls.len() >= least) {
                let service = caller(cx, &calls[0]);
                let name = crate::analysis::normalize::name(set.name(&cx.session.strings, calls[0].scope)).text;
                places.entry((service, name)).or_default().push((trace, calls.to_vec()));
            }
        }
        let findings = places.into_iter().filter_map(|((service, name), executions)| one(cx, service, name, &executions));
        Outcome::Checked {
            findings: sorted(findings.collect()),
            over: format!("{written} writes in {}", super::counted(set.traces.len(), "trace")),
        }
    }
}

/// The members of each kind, in order of first start.
fn kinds(calls: &[Call]) -> Vec<Vec<SpanRow>> {
    let mut order: Vec<StringId> = Vec::new();
    let mut by_kind: BTreeMap<StringId, Vec<SpanRow>> = BTreeMap::new();
    for call in calls {
        let list = by_kind.entry(call.signature).or_default();
        if list.is_empty() {
            order.push(call.signature);
        }
        list.push(call.span);
    }
    order.iter().filter_map(|k| by_kind.remove(k)).collect()
}

fn one(cx: &Context<'_>, service: String, name: String, executions: &[Execution]) -> Option<Finding> {
    let set = &cx.session.traces;
    let cases: Vec<Case> = executions
        .iter()
        .map(|(trace, calls)| {
            let (mut low, mut high) = (Edit::default(), Edit::default());
            for members in kinds(calls) {
                let (fast, slow) = batch_bounds(set, &members);
                low = low.and(Edit::batch(&members, slow, true));
                high = high.and(Edit::batch(&members, fast, false));
            }
            let spans: Vec<SpanRow> = calls.iter().map(|c| c.span).collect();
            let cost = spans.iter().fold(0_i64, |sum, s| sum.saturating_add(set.spans.duration_ns[s.index()]));
            Case { trace: *trace, spans, cost, low, high }
        })
        .collect();
    let measured = measure(cx, &cases);
    let (trace, worst) = executions.iter().max_by_key(|(t, c)| (Some(*t) == measured.worst_trace(), c.len(), std::cmp::Reverse(*t)))?;
    let groups = kinds(worst);
    let shown: BTreeSet<&str> = worst.iter().map(|c| cx.calls().texts.get(c.shown)).collect();
    let list: Vec<&str> = shown.iter().copied().take(5).collect();
    let whole = measured.ranked.first().map_or(0, |r| r.3);
    let message = format!(
        "{} writes of {} by {} in one execution of {name}, {} in sum, of a request of {}: {}; {}.",
        worst.len(),
        super::counted(groups.len(), "kind"),
        if service.is_empty() { "an unnamed service" } else { &service },
        format_ns(worst.iter().map(|c| set.spans.duration_ns[c.span.index()] as f64).sum()),
        format_ns(whole as f64),
        list.join(", "),
        super::in_traces(measured.ranked.len(), set.traces.len())
    );
    let (_, root) = endpoint(cx, *trace);
    let said = Said {
        title: format!("{} writes in one execution of {name}", worst.len()),
        message,
        subject: Subject { kind: "span-group", name: list.join("; "), service: service.clone(), path: vec![root, name.clone()], ..Subject::default() },
        confidence: Confidence::Likely,
        model: "Replay of the requests with one batch per kind of write: at worst it takes what the writes have in common once and the rest in sum, at best as long as the slowest of them.".to_string(),
        evidence: vec![(format!("The first of {} writes under {}.", worst.len(), named(cx, worst[0].scope)), worst[0].span)],
        caveats: vec!["Writes that must be seen one by one, or that depend on one another's results, cannot be one batch; imports write many rows by their nature.".to_string()],
        remedies: vec![
            "Insert several rows with one statement (VALUES (…), (…)), use the driver's batch (addBatch, executemany, COPY) or the ORM's bulk writes (bulk_create, saveAll with batching, InsertMany).".to_string(),
            "Put them into one transaction, so that the log is flushed once.".to_string(),
        ],
        ..Said::default()
    };
    Some(finding(cx, &RULE, &cases, &measured, &[&service, &name], said))
}
