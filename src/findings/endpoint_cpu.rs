//! CPU time per endpoint: where profiles are joined with traces, which request pays for which function.

use super::active::{counts, cpu_profiles};
use super::finding::{Confidence, Evidence, Finding, Impact, Occurrences, Rule, Severity, ShareOf, Subject, Threshold, fingerprint};
use super::{Context, Detector, Outcome, counted};
use crate::analysis::joined::{ENDPOINT_KEY, NO_ENDPOINT, ProfileJoin, SPAN_KEY, Way, cpu_column, endpoint_name, entries, span_text};
use crate::base::ids::{FuncId, OperationId, SpanRow};
use crate::base::labels::LabelFilter;
use crate::base::quantity::{format_count, format_ns, format_share, format_value};
use crate::base::stats::{map_exp100, wilson};
use crate::base::view::{View, ViewRef};
use crate::model::profile::Profile;
use std::collections::BTreeMap;

/// The rule.
pub struct EndpointCpu;

/// Its documentation.
pub const RULE: Rule = Rule {
    id: "endpoint-cpu",
    name: "CPU per endpoint",
    family: "profiles and traces",
    summary: "One function takes a large share of the CPU time for one endpoint: samples that are joined with spans name both.",
    remedies: &["Make the named function cheaper for this endpoint, or call it less often: cache, precompute, page."],
    thresholds: &[
        Threshold {
            name: "info-share",
            default: 0.10,
            doc: "lower bound of the share of active samples that one function takes for one endpoint, scores 25",
        },
        Threshold { name: "warning-share", default: 0.30, doc: "share that scores 75" },
        Threshold {
            name: "min-own-share",
            default: 0.5,
            doc: "CPU time over the time of the endpoint's requests from which they are bound by the CPU; below, findings stay at info",
        },
        Threshold { name: "min-samples", default: 30.0, doc: "samples of the function for the endpoint; PROFILES 4.2" },
        Threshold { name: "few-samples", default: 100.0, doc: "active samples below which findings stay at info; PROFILES 4.2" },
    ],
    doc: include_str!("../../docs/rules/endpoint-cpu.md"),
};

/// What one endpoint's samples hold.
#[derive(Default)]
struct Endpoint {
    count: i64,
    value: i64,
    functions: BTreeMap<FuncId, (i64, i64)>,
    /// Samples and their heaviest span, by function and operation.
    spans: BTreeMap<(FuncId, OperationId), BTreeMap<SpanRow, i64>>,
}

/// Requests of an endpoint within the time of a profile.
#[derive(Clone, Copy, Default)]
struct Requests {
    count: u64,
    ns: i64,
}

impl Detector for EndpointCpu {
    fn rule(&self) -> &'static Rule {
        &RULE
    }

    fn detect(&self, cx: &Context<'_>) -> Outcome {
        let profiles = cpu_profiles(cx.session);
        if profiles.is_empty() {
            return Outcome::NotChecked("because no file holds samples of CPU or wall-clock time".to_string());
        }
        let (mut findings, mut samples, mut checked) = (Vec::new(), 0_u64, 0);
        for (id, p) in profiles {
            let Some(join) = cx.joined().get(id.index()).and_then(Option::as_ref) else { continue };
            checked += 1;
            samples += join.endpoint.iter().filter(|e| **e != NO_ENDPOINT).count() as u64;
            let active = cx.active(id, p);
            let by_endpoint = collect(&active, p, join);
            let requests = if join.way == Way::Endpoints { BTreeMap::new() } else { requests(cx, p) };
            for (endpoint, of) in by_endpoint.iter().enumerate() {
                findings.extend(describe(cx, &active, join, &join.endpoints[endpoint], of, &requests));
            }
        }
        if checked == 0 {
            return Outcome::NotChecked(
                "because no sample of a CPU profile names a span or endpoint of these files: open traces of the same run, recorded with a profiler that labels its samples".to_string(),
            );
        }
        findings.sort_by(|a, b| b.score.cmp(&a.score).then_with(|| a.fingerprint.cmp(&b.fingerprint)));
        let over = format!("{} joined samples in {}", format_count(samples as f64), counted(checked, "CPU profile"));
        Outcome::Checked { findings, over }
    }
}

fn collect(active: &super::active::Active<'_>, p: &Profile, join: &ProfileJoin) -> Vec<Endpoint> {
    let (counts, _) = counts(p);
    let mut out: Vec<Endpoint> = join.endpoints.iter().map(|_| Endpoint::default()).collect();
    for (i, stack) in p.samples.stack.iter().enumerate().filter(|(i, _)| counts[*i] > 0 && join.endpoint[*i] != NO_ENDPOINT) {
        let Some(stack) = stack.get() else { continue };
        let leaf = active.func(stack);
        if active.leaf_class_of(leaf).has("idle") {
            continue;
        }
        let value = p.samples.values[active.value][i];
        let of = &mut out[join.endpoint[i] as usize];
        of.count += counts[i];
        of.value = of.value.saturating_add(value);
        let func = active.owner(stack).map_or(leaf, |o| o.func);
        let sum = of.functions.entry(func).or_default();
        *sum = (sum.0 + counts[i], sum.1.saturating_add(value));
        if let Some(span) = join.span[i].get() {
            let operation = active.session.traces.spans.operation[span.index()];
            *of.spans.entry((func, operation)).or_default().entry(span).or_default() += counts[i];
        }
    }
    out
}

/// The requests of each endpoint that overlap the profile; all of them where the profile does not say when it was taken.
fn requests(cx: &Context<'_>, p: &Profile) -> BTreeMap<String, Requests> {
    let (session, set) = (cx.session, &cx.session.traces);
    let window = (p.start_ns > 0 && p.duration_ns > 0).then(|| (p.start_ns, p.start_ns.saturating_add(p.duration_ns)));
    let mut by_operation: BTreeMap<OperationId, (SpanRow, Requests)> = BTreeMap::new();
    for (i, entry) in entries(set).into_iter().enumerate().filter(|(i, entry)| *i == entry.index()) {
        let (from, to) = (set.spans.start_ns[i], set.spans.end_ns(entry));
        let (from, to) = window.map_or((from, to), |(a, b)| (from.max(a), to.min(b)));
        if to >= from {
            let of = &mut by_operation.entry(set.spans.operation[i]).or_insert((entry, Requests::default())).1;
            *of = Requests { count: of.count + 1, ns: of.ns.saturating_add(to - from) };
        }
    }
    let mut out: BTreeMap<String, Requests> = BTreeMap::new();
    for (entry, requests) in by_operation.values() {
        let of = out.entry(endpoint_name(session, *entry)).or_default();
        *of = Requests { count: of.count + requests.count, ns: of.ns.saturating_add(requests.ns) };
    }
    out
}

fn describe(
    cx: &Context<'_>,
    active: &super::active::Active<'_>,
    join: &ProfileJoin,
    endpoint: &str,
    of: &Endpoint,
    requests: &BTreeMap<String, Requests>,
) -> Option<Finding> {
    let top = |(f, n): &(&FuncId, &(i64, i64))| (n.0, std::cmp::Reverse(active.name(**f)));
    let (&func, &(count, value)) = of.functions.iter().max_by_key(top)?;
    if (count as f64) < cx.threshold(&RULE, "min-samples") {
        return None;
    }
    let session = cx.session;
    let t = &session.traces;
    let share = wilson(count as f64, active.count.max(0) as u64);
    let mut score = map_exp100(share.low, cx.threshold(&RULE, "info-share"), cx.threshold(&RULE, "warning-share"));
    let ns = cpu_column(active.profile).filter(|(column, _)| *column == active.value).map(|(_, factor)| of.value.saturating_mul(factor));
    let requests = requests.get(endpoint).copied().unwrap_or_default();
    let bound = ns.filter(|_| requests.ns > 0).map(|ns| ns as f64 / requests.ns as f64);
    let sure = bound.is_some_and(|b| b >= cx.threshold(&RULE, "min-own-share"));
    if !sure || (active.count as f64) < cx.threshold(&RULE, "few-samples") || !active.counted {
        score = score.min(super::doctor::MOST_INFO);
    }
    let severity = Severity::of_score(score)?;
    let name = active.name(func);
    let operation_name = |o: OperationId| session.strings.get(t.operations.name[o.index()]);
    let spans = of
        .spans
        .iter()
        .filter(|((f, _), _)| *f == func)
        .map(|((_, o), spans)| (spans.values().sum::<i64>(), std::cmp::Reverse(operation_name(*o)), spans))
        .max_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)));
    let in_span = spans.as_ref().map_or(String::new(), |(_, operation, _)| format!(" in span {}", operation.0));
    let flame = |filters: Vec<LabelFilter>| ViewRef {
        profile: Some(active.id.0),
        value: Some(active.value_name().to_string()),
        labels: filters,
        function: Some(name.to_string()),
        ..ViewRef::of(View::Flame)
    };
    let mut evidence = vec![Evidence {
        text: format!("The flame graph of {endpoint} alone: {}, {count} of them in {name}", counted(of.count as usize, "sample")),
        view: flame(vec![LabelFilter::value(ENDPOINT_KEY, endpoint)]),
    }];
    let mut exemplars = Vec::new();
    if let Some((_, operation, spans)) = &spans {
        let mut ranked: Vec<(SpanRow, i64)> = spans.iter().map(|(s, n)| (*s, *n)).collect();
        ranked.sort_by_key(|(s, n)| (std::cmp::Reverse(*n), *s));
        exemplars = ranked.iter().take(5).map(|(s, _)| span_text(session, *s)).collect();
        if let Some((span, n)) = ranked.first() {
            evidence.push(Evidence {
                text: format!("The span of {} with most of these samples: {n}", operation.0),
                view: ViewRef {
                    trace: Some(session.strings.get(t.spans.trace_id[span.index()]).to_string()),
                    span: Some(t.id_text(&session.strings, t.spans.id[span.index()])),
                    ..ViewRef::of(View::Traces)
                },
            });
            evidence.push(Evidence {
                text: "The same span's samples".to_string(),
                view: flame(vec![LabelFilter::value(SPAN_KEY, &span_text(session, *span))]),
            });
        }
    }
    let per_request = ns.filter(|_| requests.count > 0).map_or(String::new(), |ns| {
        format!(", {} in each of {}", format_ns(ns as f64 / requests.count as f64), counted(requests.count as usize, "request"))
    });
    let waiting = bound.map_or(String::new(), |b| format!("; its requests spend {} of their time on the CPU", format_share(b)));
    let half = (value as f64 * share.low / share.p.max(f64::MIN_POSITIVE) / 2.0) as i64;
    let mut caveats = Vec::new();
    if join.way == Way::LocalRoots {
        caveats.push("Samples name the entry span of the process: which span below it was active is not recorded.".to_string());
    }
    if join.missing > 0 {
        caveats.push(format!("{} samples name spans that are in none of these files.", join.missing));
    }
    if join.ambiguous > 0 {
        caveats.push(format!("{} samples lie where spans overlap on one thread; they are left out.", join.ambiguous));
    }
    if bound.is_none() {
        caveats.push("How long the requests took is not known here, so that it is open whether the CPU is what they wait for.".to_string());
    }
    Some(Finding {
        rule: RULE.id,
        fingerprint: fingerprint(RULE.id, &[endpoint, spans.as_ref().map_or("", |s| s.1.0), name]),
        severity,
        score: score.round() as u32,
        confidence: if spans.is_some() { Confidence::Confirmed } else { Confidence::Likely },
        title: format!("{name} takes {} of the CPU{in_span} for {endpoint}", format_share(share.p)),
        message: format!(
            "{endpoint} takes {} ({} of {} active samples){per_request}; {name} takes {} of it{in_span}{waiting}.",
            format_value(of.value as f64, active.unit()),
            format_share(of.count as f64 / active.count.max(1) as f64),
            format_count(active.count as f64),
            format_value(value as f64, active.unit()),
        ),
        subject: Subject { kind: "function", name: name.to_string(), path: vec![endpoint.to_string()], ..Subject::default() },
        share: Some(ShareOf::new(share, active.value_name())),
        impact: Impact {
            amount: value,
            unit: active.unit().to_string(),
            recoverable_low: half,
            recoverable_high: value,
            model: "from half of the function's time for this endpoint, at the lower bound of its share, to all of it".to_string(),
        },
        evidence,
        occurrences: Occurrences {
            count: count.max(0) as u64,
            traces: spans.map_or(0, |(_, _, spans)| {
                let mut traces: Vec<_> = spans.keys().map(|s| t.spans.trace[s.index()]).collect();
                traces.sort_unstable();
                traces.dedup();
                traces.len() as u64
            }),
            of_traces: t.traces.len() as u64,
            median: exemplars.get(exemplars.len() / 2).cloned().unwrap_or_default(),
            newest: String::new(),
            exemplars,
        },
        caveats,
        remedies: vec![format!(
            "Make {name} cheaper for {endpoint}, or call it less often there: cache its result, precompute it, ask for less at once."
        )],
        ..Finding::default()
    })
}
