//! N+1: one execution makes the same call again and again, one after the other, with other values.

use super::batch;
pub use super::chatty::sorted;
use super::chatty::{Group, NO_CALLS, Pattern, Patterns, Words, finding, groups};
use super::finding::{Confidence, Evidence, Finding, Rule, Threshold};
use super::loop_kind::{self, Job};
use super::{Context, Detector, Outcome, tandem};
use crate::analysis::replay::Edit;
use crate::base::ids::{SpanRow, StringId};
use crate::base::view::{View, ViewRef};
use crate::findings::calls::Category;
use crate::model::trace::TraceSet;
use std::collections::BTreeSet;

/// Documentation of the rule.
pub const RULE: Rule = Rule {
    id: "chatty-n-plus-one",
    name: "N+1 calls",
    family: "chatty calls",
    summary: "One execution makes the same call one after the other, once per item.",
    remedies: &["Ask once for all items: a join, an IN list, a batch endpoint, MGET."],
    thresholds: &[
        Threshold {
            name: "min_calls",
            default: 5.0,
            doc: "Calls of one execution; Sentry's N+1 detectors use 5. Twice as many for caches and messaging.",
        },
        Threshold {
            name: "min_ms",
            default: 50.0,
            doc: "Milliseconds of wall time that the calls take together; Sentry's N+1 DB detector uses 50.",
        },
        Threshold {
            name: "min_share",
            default: 0.1,
            doc: "Share of the execution that they take; reported when this or min_ms is reached.",
        },
        Threshold { name: "many_calls", default: 20.0, doc: "So many calls are reported whatever they take: they grow with the data." },
        Threshold { name: "min_repeats", default: 3.0, doc: "Rounds of a pattern of two to eight different calls (Sentry, MN+1 DB)." },
        Threshold {
            name: "max_concurrency",
            default: 1.5,
            doc: "Calls under way at a time, on average, below which they count as serial.",
        },
    ],
    doc: include_str!("../../docs/rules/chatty-n-plus-one.md"),
};

/// The rule.
pub struct NPlusOne;

/// Whether a group takes enough of its execution to matter.
pub fn matters(cx: &Context<'_>, rule: &Rule, g: &Group) -> bool {
    let set = &cx.session.traces;
    let (_, union) = g.sum_and_union(set);
    let scope = set.spans.duration_ns[g.scope.index()].max(1);
    let factor = if matches!(g.calls[0].category, Category::Cache | Category::Messaging) { 2.0 } else { 1.0 };
    g.count() as f64 >= cx.threshold(rule, "min_calls") * factor
        && (union as f64 / 1e6 >= cx.threshold(rule, "min_ms")
            || union as f64 / scope as f64 >= cx.threshold(rule, "min_share")
            || g.count() as f64 >= cx.threshold(rule, "many_calls"))
}

/// One batch per wave with all gaps kept, and one batch for all without the gaps between the calls.
pub fn plan(set: &TraceSet, g: &Group) -> (Edit, Edit) {
    let spans = g.spans();
    let mut low = Edit::default();
    for (i, &from) in g.waves.iter().enumerate() {
        let to = g.waves.get(i + 1).copied().unwrap_or(spans.len());
        let (_, slow) = batch::bounds(set, &g.calls[from..to]);
        low = low.and(Edit::batch(&spans[from..to], slow, true));
    }
    let (fast, _) = batch::bounds(set, &g.calls);
    (low, Edit::batch(&spans, fast, false))
}

/// How sure it is that the calls differ in their values; `None` where they are equal or nothing speaks for it.
pub fn differ(cx: &Context<'_>, g: &Group) -> Option<Confidence> {
    let set = &cx.session.traces;
    let n = g.count();
    if let Some(distinct) = g.distinct() {
        // Some values may repeat; that is the duplicate rule's business too.
        return match distinct {
            1 => None,
            d if d * 2 >= n => Some(Confidence::Confirmed),
            _ => Some(Confidence::Likely),
        };
    }
    if batch::by_mapper(cx.session, g.calls[0].span) || n >= 15 || spread(set, g) >= 0.5 {
        return Some(Confidence::Likely);
    }
    Some(Confidence::Possible)
}

/// Coefficient of variation of the durations: calls for different things take different times.
fn spread(set: &TraceSet, g: &Group) -> f64 {
    let n = g.calls.len() as f64;
    let durations = || g.calls.iter().map(|c| set.spans.duration_ns[c.span.index()] as f64);
    let mean = durations().sum::<f64>() / n;
    let variance = durations().map(|d| (d - mean) * (d - mean)).sum::<f64>() / (n - 1.0).max(1.0);
    if mean > 0.0 { variance.sqrt() / mean } else { 0.0 }
}

impl Detector for NPlusOne {
    fn rule(&self) -> &'static Rule {
        &RULE
    }
    fn detect(&self, cx: &Context<'_>) -> Outcome {
        if cx.session.traces.spans.is_empty() {
            return Outcome::NotChecked("no trace is open".to_string());
        }
        let set = &cx.session.traces;
        let (mut patterns, mut tandems) = (Patterns::default(), Patterns::default());
        let least = cx.threshold(&RULE, "min_calls").max(2.0) as usize;
        let most = cx.threshold(&RULE, "max_concurrency");
        // Calls of a pattern of several kinds are told once, as the pattern.
        let mut told: BTreeSet<SpanRow> = BTreeSet::new();
        tandem::tandems(cx, cx.threshold(&RULE, "min_repeats").max(2.0) as usize, &mut |g, _| {
            if g.concurrency(set) < most && matters(cx, &RULE, &g) && tandem::kinds(&g).iter().any(|kind| differ(cx, kind).is_some()) {
                told.extend(g.spans());
                let name = pattern_of(cx, &g);
                tandems.add_as(cx, g, name);
            }
        });
        let (traces, calls) = groups(cx, least, &mut |g| {
            let known = !told.is_empty() && g.calls.iter().filter(|c| told.contains(&c.span)).count() * 5 >= g.calls.len() * 4;
            if !known && g.concurrency(set) < most && is_loop(cx, &g) && matters(cx, &RULE, &g) && differ(cx, &g).is_some() {
                patterns.add(cx, g);
            }
        });
        if calls == 0 {
            return Outcome::NotChecked(NO_CALLS.to_string());
        }
        let mut findings: Vec<Finding> = tandems.places().map(|(place, p)| of_pattern(cx, traces, place, &p)).collect();
        findings.extend(patterns.places().map(|(place, p)| of_loop(cx, traces, place, &p)));
        Outcome::Checked { findings: sorted(findings), over: format!("{calls} calls in {}", super::counted(traces, "trace")) }
    }
}

/// Whether a group is neither a poll nor made of calls that ask for several things already; of messages handled together, each
/// must make enough calls.
fn is_loop(cx: &Context<'_>, g: &Group) -> bool {
    let many = g.count() as f64 >= cx.threshold(&RULE, "many_calls");
    let batches = g.calls.iter().all(|c| c.batched);
    let hidden = g.calls[0].values.is_none();
    let each = match loop_kind::job(cx.session, g) {
        Some(Job::Messages(n)) => g.count() as f64 / n as f64,
        _ => g.count() as f64,
    };
    (!batches || many) && !(hidden && loop_kind::polls(&cx.session.traces, &g.calls)) && each >= cx.threshold(&RULE, "min_calls")
}

/// The kinds of call of a pattern, in order of the first round.
fn pattern_of(cx: &Context<'_>, g: &Group) -> String {
    let mut seen: BTreeSet<StringId> = BTreeSet::new();
    let names = g.calls.iter().filter(|c| seen.insert(c.signature)).map(|c| cx.calls().texts.get(c.shown));
    names.collect::<Vec<_>>().join(", then ")
}

fn of_pattern(cx: &Context<'_>, traces: usize, place: (String, String), p: &Pattern) -> Finding {
    let kinds = tandem::kinds(&p.groups[0]);
    let rounds = kinds.iter().map(|k| k.calls.len()).min().unwrap_or(0);
    let confidence = p.groups.iter().flat_map(tandem::kinds).filter_map(|k| differ(cx, &k)).max().unwrap_or(Confidence::Possible);
    let subject = pattern_of(cx, &p.groups[0]);
    let words = Words {
        title: format!("N+1: {{n}} serial calls of {} kinds in turn in {{endpoint}}", kinds.len()),
        model: "Replay of the requests with one batched call for each kind: at worst it takes what the calls have in common once and the rest in sum, at best as long as the slowest of them.",
        confidence,
        caveats: vec!["A later kind may need the answers of an earlier one: batch them one after the other.".to_string()],
        remedies: batch::remedies(cx.session, &p.groups[0].calls[0]),
        note: format!("The same calls follow each other {rounds} times."),
        subject,
        ..Words::default()
    };
    finding(cx, &RULE, traces, place, p, &tandem::plan, words)
}

fn of_loop(cx: &Context<'_>, traces: usize, place: (String, String), p: &Pattern) -> Finding {
    let first = &p.groups[0];
    let session = cx.session;
    let set = &session.traces;
    let mut confidence = p.groups.iter().filter_map(|g| differ(cx, g)).max().unwrap_or(Confidence::Possible);
    let mut note = String::new();
    let mut evidence = Vec::new();
    if let Some((span, rows)) = loop_kind::source(session, cx.calls(), first) {
        let n = first.count() as i64;
        let matches = rows.is_some_and(|r| r == n || first.distinct().is_some_and(|d| r == d as i64));
        if matches {
            confidence = Confidence::Confirmed;
            note = format!("The call before it, {}, returned {n} rows: one call for each.", set.name(&session.strings, span));
        }
        evidence.push(Evidence {
            text: format!(
                "The call before the loop, which may give its keys: {}{}.",
                set.name(&session.strings, span),
                rows.map_or(String::new(), |r| format!(", {r} rows"))
            ),
            view: ViewRef {
                trace: Some(session.strings.get(set.traces.id[first.trace.index()]).to_string()),
                span: Some(set.id_text(&session.strings, set.spans.id[span.index()])),
                ..ViewRef::of(View::Traces)
            },
        });
    }
    let mut caveats = Vec::new();
    let mut remedies = batch::remedies(session, &first.calls[0]);
    let job = loop_kind::job(session, first);
    if first.distinct().is_none() {
        caveats.push("The values of the calls are not recorded, so they could also be the same call repeated.".to_string());
    }
    let pages = first.calls[0].paging && first.calls.iter().all(|c| c.paging);
    if pages {
        caveats.push("Each call asks for one page: the next may need the last one's cursor.".to_string());
        remedies.insert(0, "Ask for larger pages, or for all at once; read on from the last key instead of an offset.".to_string());
    }
    match job {
        Some(Job::Messages(n)) => {
            let each = first.count() as f64 / n as f64;
            note.push_str(&format!(" It handles {}, with {each:.0} such calls for each.", super::counted(n as usize, "message")));
        }
        Some(Job::Bulk) => caveats.push("It is a job that nobody waits for; handling items one by one may be its purpose.".to_string()),
        None => {}
    }
    if first.waves.len() > 1 {
        caveats.push(format!("Other calls lie between {} waves; the lower bound batches each wave on its own.", first.waves.len()));
    }
    let words = Words {
        title: if pages { "Pages: {n} serial calls of {op} in {endpoint}" } else { "N+1: {n} serial calls of {op} in {endpoint}" }
            .to_string(),
        model: "Replay of the requests with one batched call: at worst it takes what the calls have in common once and the rest in sum, at best as long as the slowest of them.",
        confidence,
        caveats,
        remedies,
        note: note.trim().to_string(),
        evidence,
        mild: job == Some(Job::Bulk),
        ..Words::default()
    };
    finding(cx, &RULE, traces, place, p, &plan, words)
}
