//! Tail latency: what the slowest requests of an endpoint do that the middle ones do not.

use super::executions::{occurrences, trace_view};
use super::finding::{Confidence, Evidence, Finding, Impact, Rule, Severity, ShareOf, Subject, Threshold, fingerprint};
use super::tail::{Contribution, MIDDLE, SLOW, Tail, below, bootstrap, spent};
use super::tail_attributes::discover;
use super::{Context, Detector, Outcome, counted};
use crate::analysis::path_times::{Endpoint, PathTimes};
use crate::base::hash::hash_bytes;
use crate::base::ids::{SpanRow, TraceRow};
use crate::base::quantity::{format_ns, format_share};
use crate::base::significance::rank_sum;
use crate::base::stats::{Share, map_exp100, nearest_rank};

/// The rule.
pub struct TailLatency;

/// Its documentation.
pub const RULE: Rule = Rule {
    id: "tail-latency",
    name: "Tail latency",
    family: "latency",
    summary: "The slowest requests of an endpoint spend their time where the middle ones do not.",
    remedies: &[
        "Look at what the slow requests do on the path that explains them: a lock, a cache that misses, a retry, one slow instance.",
    ],
    thresholds: &[
        Threshold {
            name: "min_traces",
            default: 30.0,
            doc: "Requests of an endpoint from which percentiles are formed; below it the slowest stands against the median one.",
        },
        Threshold { name: "info_ratio", default: 2.0, doc: "99th percentile over median that scores 25." },
        Threshold { name: "warning_ratio", default: 5.0, doc: "99th percentile over median that scores 75." },
        Threshold {
            name: "few_ratio",
            default: 5.0,
            doc: "Slowest over median request that is worth a note where there are few: one case must be plain.",
        },
        Threshold { name: "min_ms", default: 10.0, doc: "Milliseconds between the means of slow and middle requests." },
        Threshold { name: "max_p", default: 0.01, doc: "p-value of the rank-sum test on the time of the path, slow against middle." },
    ],
    doc: include_str!("../../docs/rules/tail-latency.md"),
};

impl Detector for TailLatency {
    fn rule(&self) -> &'static Rule {
        &RULE
    }
    fn detect(&self, cx: &Context<'_>) -> Outcome {
        if cx.session.traces.spans.is_empty() {
            return Outcome::NotChecked("no trace is open".to_string());
        }
        let times = cx.path_times();
        if times.endpoints.iter().all(|e| e.traces.len() < 3) {
            return Outcome::NotChecked("no endpoint has three requests that could be compared".to_string());
        }
        let found = times.endpoints.iter().filter_map(|e| endpoint(cx, times, e));
        let requests: usize = times.endpoints.iter().map(|e| e.traces.len()).sum();
        let over = format!("{requests} requests of {}", counted(times.endpoints.len(), "endpoint"));
        Outcome::Checked { findings: super::chatty_n_plus_one::sorted(found.collect()), over }
    }
}

/// Times of a side on the path, and the heaviest span of each request there.
fn side(times: &PathTimes, endpoint: &Endpoint, inside: &[bool], traces: &[TraceRow]) -> (Vec<i64>, u64, u64) {
    let mut calls = 0;
    let mut present = 0;
    let values = traces.iter().map(|t| {
        let (ns, count, _) = spent(times, endpoint, inside, *t);
        calls += count;
        present += u64::from(count > 0);
        ns
    });
    let values = values.collect();
    (values, calls, present)
}

fn endpoint(cx: &Context<'_>, times: &PathTimes, endpoint: &Endpoint) -> Option<Finding> {
    let set = &cx.session.traces;
    let tail = Tail::new(times, endpoint, cx.threshold(&RULE, "min_traces") as usize)?;
    let few = tail.sides[SLOW].len() == 1;
    let durations: Vec<i64> = tail.ordered.iter().map(|t| times.total(*t)).collect();
    let (p50, p99) = (nearest_rank(&durations, 0.5).max(1), nearest_rank(&durations, 0.99));
    let ratio = p99 as f64 / p50 as f64;
    let difference = tail.mean(SLOW) - tail.mean(MIDDLE);
    let least = cx.threshold(&RULE, if few { "few_ratio" } else { "info_ratio" });
    if ratio < least || difference / 1e6 < cx.threshold(&RULE, "min_ms") {
        return None;
    }
    let path = tail.explain(times, endpoint);
    let inside = below(times, endpoint, path);
    let (middle, middle_calls, middle_present) = side(times, endpoint, &inside, &tail.sides[MIDDLE]);
    let (slow, slow_calls, slow_present) = side(times, endpoint, &inside, &tail.sides[SLOW]);
    let mean = |list: &[i64]| list.iter().sum::<i64>() as f64 / list.len().max(1) as f64;
    let (usual, long) = (mean(&middle), mean(&slow));
    let explained = long - usual;
    let (low, high) = if few { (explained, explained) } else { bootstrap(&middle, &slow, hash_bytes(endpoint.operation.as_bytes())) };
    if !few {
        let sort = |mut v: Vec<i64>| {
            v.sort_unstable();
            v
        };
        if low <= 0.0 || rank_sum(&sort(middle.clone()), &sort(slow.clone())).0 > cx.threshold(&RULE, "max_p") {
            return None;
        }
    }
    let score = map_exp100(ratio, cx.threshold(&RULE, "info_ratio"), cx.threshold(&RULE, "warning_ratio"));
    let score = if few { score.min(40.0) } else { score };
    let severity = Severity::of_score(score)?;
    let labels = times.path(path);
    let name = labels.last().cloned().unwrap_or_default();
    let of_slow = format!("{slow_present} of {} slow requests", slow.len());
    let per = |calls: u64, n: usize| calls as f64 / n as f64;
    let (many, usually) = (per(slow_calls, slow.len()), per(middle_calls, middle.len()));
    let why = if path == endpoint.root {
        "no single path explains four fifths of it".to_string()
    } else if middle_present == 0 {
        format!("{name} occurs in {of_slow} and in none of the {} middle ones", middle.len())
    } else if many > usually * 1.5 && slow_calls > slow_present {
        format!("{name} takes part {many:.1} times in a slow request, {usually:.1} times in a middle one")
    } else {
        format!("{name} takes {} in slow requests, {} in middle ones", format_ns(long), format_ns(usual))
    };
    let (slowest, against) = if few {
        ("The slowest request".to_string(), "the median one".to_string())
    } else {
        (format!("The slowest {} of {} requests", slow.len(), durations.len()), "the middle fifth".to_string())
    };
    let message = format!(
        "{slowest} of {} {} take {} on average, {against} {}; {} ({}) of the difference lie on {name}: {why}; p99 {}, p50 {}.",
        endpoint.service,
        endpoint.operation,
        format_ns(tail.mean(SLOW)),
        format_ns(tail.mean(MIDDLE)),
        format_ns(explained),
        format_share((explained / difference).min(1.0)),
        format_ns(p99 as f64),
        format_ns(p50 as f64),
    );
    // Every request that takes longer on the path than the middle ones do, the longest first.
    let mut longer: Vec<(i64, TraceRow, SpanRow)> = tail
        .ordered
        .iter()
        .filter_map(|t| {
            let (ns, _, span) = spent(times, endpoint, &inside, *t);
            (ns as f64 > usual).then(|| Some((ns, *t, span?)))?
        })
        .collect();
    longer.sort_by_key(|(ns, trace, _)| (std::cmp::Reverse(*ns), *trace));
    let beyond =
        |list: &mut dyn Iterator<Item = i64>| list.map(|ns| ns - usual as i64).filter(|ns| *ns > 0).fold(0_i64, i64::saturating_add);
    let recoverable_low = beyond(&mut slow.iter().copied());
    let recoverable_high = beyond(&mut longer.iter().map(|l| l.0));
    let slow_spans: Vec<SpanRow> = longer.iter().filter(|(_, t, _)| tail.sides[SLOW].contains(t)).map(|l| l.2).collect();
    let attributes = if few { Vec::new() } else { discover(cx, times, endpoint, &tail, &inside) };
    let mut evidence = Vec::new();
    if let Some((ns, _, span)) = longer.first() {
        evidence.push(Evidence { text: format!("The worst: {name} takes {} of it.", format_ns(*ns as f64)), view: trace_view(cx, *span) });
    }
    let ordinary = tail.sides[MIDDLE][tail.sides[MIDDLE].len() / 2];
    if let Some(root) = set.traces.root[ordinary.index()].get() {
        let text = format!("For comparison a request from the middle, {}.", format_ns(times.total(ordinary) as f64));
        evidence.push(Evidence { text, view: trace_view(cx, root) });
    }
    evidence.extend(contributions(cx, times, &tail, difference));
    evidence.extend(attributes.iter().map(|a| Evidence { text: a.text(), view: trace_view(cx, a.example) }));
    let share = Share {
        p: part(explained, tail.mean(SLOW)),
        low: part(low, tail.mean(SLOW)),
        high: part(high, tail.mean(SLOW)),
        n: slow.len() as u64,
    };
    Some(Finding {
        rule: RULE.id,
        fingerprint: fingerprint(RULE.id, &[&endpoint.service, &endpoint.operation, &name]),
        severity,
        score: score.round() as u32,
        confidence: if few { Confidence::Possible } else if slow.len() >= 10 { Confidence::Confirmed } else { Confidence::Likely },
        title: format!("{} {}: p99 is {ratio:.1} times the median, most of it on {}", endpoint.service, endpoint.operation, short(&name)),
        message,
        subject: Subject { kind: "call-path", name, service: endpoint.service.clone(), path: labels, ..Subject::default() },
        share: Some(ShareOf::new(share, "slow request")),
        impact: Impact {
            amount: slow.iter().fold(0, |sum: i64, ns| sum.saturating_add(*ns)),
            unit: "nanoseconds".to_string(),
            recoverable_low: recoverable_low.min(recoverable_high),
            recoverable_high,
            model: "The path takes in slow requests what it takes in the middle ones on average: at least in the slowest that are compared, at most in every request in which it takes longer.".to_string(),
        },
        evidence,
        occurrences: occurrences(cx, if slow_spans.is_empty() { &[] } else { &slow_spans }, durations.len()),
        caveats: caveats(few, durations.len()),
        remedies: remedies(middle_present, many, usually, !attributes.is_empty()),
        ..Finding::default()
    })
}

fn part(of: f64, whole: f64) -> f64 {
    if whole > 0.0 { (of / whole).clamp(0.0, 1.0) } else { 0.0 }
}

/// The paths that contribute most, each by its own time, with how their shares come about.
fn contributions(cx: &Context<'_>, times: &PathTimes, tail: &Tail, difference: f64) -> Vec<Evidence> {
    let mut list: Vec<&Contribution> = tail.paths.iter().filter(|c| tail.delta(c) > 0.05 * difference).collect();
    list.sort_by(|a, b| tail.delta(b).total_cmp(&tail.delta(a)).then(a.path.cmp(&b.path)));
    let one = |c: &&Contribution| {
        let (more, slower) = tail.split(c);
        let name = times.path(c.path).pop().unwrap_or_default();
        let text = format!(
            "{name} itself: {} of the difference, {} by more calls and {} by slower ones; in {} of {} slow and {} of {} middle requests.",
            format_ns(tail.delta(c)),
            format_ns(more),
            format_ns(slower),
            c.present[SLOW],
            tail.sides[SLOW].len(),
            c.present[MIDDLE],
            tail.sides[MIDDLE].len()
        );
        let worst = tail.sides[SLOW]
            .iter()
            .flat_map(|t| times.of(*t))
            .filter(|s| s.path == c.path)
            .max_by_key(|s| (s.ns, std::cmp::Reverse(s.span)));
        worst.map(|s| Evidence { text, view: trace_view(cx, s.span) })
    };
    list.iter().take(5).filter_map(one).collect()
}

fn caveats(few: bool, n: usize) -> Vec<String> {
    if few {
        vec![format!("With {n} requests there are no percentiles: the slowest one may be a single mishap.")]
    } else if n < 500 {
        vec![format!("Of {n} requests the slowest five stand for the tail, which is more than one in a hundred.")]
    } else {
        Vec::new()
    }
}

fn remedies(middle_present: u64, many: f64, usually: f64, attributes: bool) -> Vec<String> {
    let mut out = Vec::new();
    if middle_present == 0 {
        out.push("Only slow requests do this: fill the cache ahead or keep it longer, remove the cause of the retry, or move the work out of the request.".to_string());
    } else if many > usually * 1.5 {
        out.push("Slow requests do it more often: bound retries, or ask for all items at once.".to_string());
    } else {
        out.push("The same call is sometimes slow: look for locks, a cold cache, garbage collection or a saturated pool at the callee; a deadline with a hedged second attempt bounds it.".to_string());
    }
    if attributes {
        out.push("Slow requests share the attributes named above: begin with that instance, region, version or tenant.".to_string());
    }
    out
}

fn short(text: &str) -> String {
    if text.chars().count() <= 60 { text.to_string() } else { text.chars().take(59).chain(['…']).collect() }
}
