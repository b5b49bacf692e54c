//! Growth law: over many requests of an endpoint, how the duration grows with the number of calls of one kind (TRACES 3.3.16).

use super::executions::{occurrences, trace_view};
use super::finding::{Confidence, Evidence, Finding, Impact, Rule, Severity, ShareOf, Subject, Threshold, fingerprint};
use super::{Context, Detector, Outcome, counted};
use crate::analysis::path_times::{Endpoint, PathTimes, Spent};
use crate::base::ids::{SpanRow, TraceRow};
use crate::base::quantity::{format_ns, format_share};
use crate::base::stats::{Share, map_exp100};
use std::collections::BTreeMap;

/// The rule.
pub struct GrowthLaw;

/// Its documentation.
pub const RULE: Rule = Rule {
    id: "growth-law",
    name: "Time grows with the number of calls",
    family: "latency",
    summary: "The requests of an endpoint take longer in proportion to how often they make one call.",
    remedies: &["Ask for all items at once, or bound how many a request handles: pages, limits, background work."],
    thresholds: &[
        Threshold { name: "min_traces", default: 10.0, doc: "Requests of the endpoint." },
        Threshold { name: "min_r2", default: 0.6, doc: "Share of the variance of durations that the number of calls explains." },
        Threshold { name: "min_spread", default: 5.0, doc: "Calls between the request with the fewest and the one with the most." },
        Threshold {
            name: "info_share",
            default: 0.25,
            doc: "Share of the mean duration that the calls make up by the law, that scores 25.",
        },
        Threshold { name: "warning_share", default: 0.75, doc: "The same, that scores 75." },
    ],
    doc: include_str!("../../docs/rules/growth-law.md"),
};

/// A line through points by least squares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// Nanoseconds per call.
    pub slope: f64,
    /// Nanoseconds without calls.
    pub base: f64,
    /// Share of the variance that it explains.
    pub r2: f64,
    /// Half width of the 95 % interval of the slope (normal quantile).
    pub half: f64,
}

/// The line of durations over counts; `None` if all counts are equal or there are less than three.
pub fn line(points: &[(f64, f64)]) -> Option<Line> {
    let n = points.len() as f64;
    if points.len() < 3 {
        return None;
    }
    let mean = |f: fn(&(f64, f64)) -> f64| points.iter().map(f).sum::<f64>() / n;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let (mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0);
    for (a, b) in points {
        xx += (a - x) * (a - x);
        xy += (a - x) * (b - y);
        yy += (b - y) * (b - y);
    }
    if xx <= 0.0 {
        return None;
    }
    let slope = xy / xx;
    let r2 = if yy > 0.0 { xy * xy / (xx * yy) } else { 0.0 };
    let rest = (yy - slope * xy).max(0.0);
    let half = 1.96 * (rest / (n - 2.0).max(1.0) / xx).sqrt();
    Some(Line { slope, base: y - slope * x, r2, half })
}

impl Detector for GrowthLaw {
    fn rule(&self) -> &'static Rule {
        &RULE
    }
    fn detect(&self, cx: &Context<'_>) -> Outcome {
        if cx.session.traces.spans.is_empty() {
            return Outcome::NotChecked("no trace is open".to_string());
        }
        let times = cx.path_times();
        let least = cx.threshold(&RULE, "min_traces").max(3.0) as usize;
        let judged: Vec<&Endpoint> = times.endpoints.iter().filter(|e| e.traces.len() >= least).collect();
        if judged.is_empty() {
            return Outcome::NotChecked(format!("no endpoint has {least} requests, which a law needs"));
        }
        let found = judged.iter().filter_map(|e| endpoint(cx, times, e));
        let requests: usize = judged.iter().map(|e| e.traces.len()).sum();
        let over = format!("{requests} requests of {}", counted(judged.len(), "endpoint"));
        Outcome::Checked { findings: super::chatty_n_plus_one::sorted(found.collect()), over }
    }
}

/// The path whose number of calls explains the durations best, if one does.
fn endpoint(cx: &Context<'_>, times: &PathTimes, endpoint: &Endpoint) -> Option<Finding> {
    let mut by_path: BTreeMap<u32, Vec<(TraceRow, Spent)>> = BTreeMap::new();
    for &trace in &endpoint.traces {
        for spent in times.of(trace) {
            by_path.entry(spent.path).or_default().push((trace, *spent));
        }
    }
    let n = endpoint.traces.len();
    let total: BTreeMap<TraceRow, i64> = endpoint.traces.iter().map(|t| (*t, times.total(*t))).collect();
    let mean = total.values().map(|d| *d as f64).sum::<f64>() / n as f64;
    let mut best: Option<(f64, u32, Line, f64)> = None;
    for (&path, list) in &by_path {
        let most = list.iter().map(|(_, s)| s.count).max().unwrap_or(0);
        let fewest = if list.len() < n { 0 } else { list.iter().map(|(_, s)| s.count).min().unwrap_or(0) };
        if f64::from(most - fewest) < cx.threshold(&RULE, "min_spread") {
            continue;
        }
        let absent = n - list.len();
        let mut points: Vec<(f64, f64)> = list.iter().map(|(t, s)| (f64::from(s.count), total[t] as f64)).collect();
        if absent > 0 {
            let here: std::collections::BTreeSet<TraceRow> = list.iter().map(|(t, _)| *t).collect();
            points.extend(total.iter().filter(|(t, _)| !here.contains(t)).map(|(_, d)| (0.0, *d as f64)));
        }
        let Some(line) = line(&points) else { continue };
        let calls = list.iter().map(|(_, s)| f64::from(s.count)).sum::<f64>() / n as f64;
        let share = line.slope * calls / mean.max(1.0);
        if line.slope - line.half > 0.0 && line.r2 >= cx.threshold(&RULE, "min_r2") && best.is_none_or(|b| line.r2 > b.0) {
            best = Some((line.r2, path, line, share));
        }
    }
    let (_, path, line, share) = best?;
    let score = map_exp100(share, cx.threshold(&RULE, "info_share"), cx.threshold(&RULE, "warning_share"));
    let severity = Severity::of_score(score)?;
    let list = &by_path[&path];
    let mut worst: Vec<(u32, TraceRow, SpanRow)> = list.iter().map(|(t, s)| (s.count, *t, s.span)).collect();
    worst.sort_by_key(|(count, trace, _)| (std::cmp::Reverse(*count), *trace));
    let spans: Vec<SpanRow> = worst.iter().map(|w| w.2).collect();
    let labels = times.path(path);
    let name = labels.last().cloned().unwrap_or_default();
    let calls: u64 = list.iter().map(|(_, s)| u64::from(s.count)).sum();
    let fewest = if list.len() < n { 0 } else { worst.last().map_or(0, |w| w.0) };
    let bound = |slope: f64| ((slope.max(0.0) * calls as f64).min(mean * n as f64)) as i64;
    Some(Finding {
        rule: RULE.id,
        fingerprint: fingerprint(RULE.id, &[&endpoint.service, &endpoint.operation, &name]),
        severity,
        score: score.round() as u32,
        confidence: if line.r2 >= 0.9 && n >= 30 { Confidence::Confirmed } else { Confidence::Likely },
        title: format!("{} {} takes {} more per call of {}", endpoint.service, endpoint.operation, format_ns(line.slope), name),
        message: format!(
            "Duration = {} + {} × calls of {name} (slope ± {}, r² = {:.2}, over {n} requests with {fewest} to {} calls): {} of the mean request.",
            format_ns(line.base.max(0.0)),
            format_ns(line.slope),
            format_ns(line.half),
            line.r2,
            worst[0].0,
            format_share(share.clamp(0.0, 1.0))
        ),
        subject: Subject { kind: "call-path", name, service: endpoint.service.clone(), path: labels, ..Subject::default() },
        share: Some(ShareOf::new(
            Share {
                p: share.clamp(0.0, 1.0),
                low: (share * (1.0 - line.half / line.slope)).clamp(0.0, 1.0),
                high: (share * (1.0 + line.half / line.slope)).clamp(0.0, 1.0),
                n: n as u64,
            },
            "request",
        )),
        impact: Impact {
            amount: bound(line.slope),
            unit: "nanoseconds".to_string(),
            recoverable_low: 0,
            recoverable_high: bound(line.slope),
            model: "What the law gives for all calls together; how much of it a batch saves depends on the callee, so nothing is promised."
                .to_string(),
        },
        evidence: vec![
            Evidence { text: format!("The request with the most, {} calls.", worst[0].0), view: trace_view(cx, spans[0]) },
            Evidence { text: format!("One with fewer, {} calls.", worst[worst.len() - 1].0), view: trace_view(cx, spans[spans.len() - 1]) },
        ],
        occurrences: occurrences(cx, &spans, n),
        caveats: vec!["Calls and duration may both grow with something else, such as the size of what is asked for.".to_string()],
        remedies: RULE.remedies.iter().map(|r| (*r).to_string()).collect(),
        ..Finding::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_that_of_the_textbook() {
        // Anscombe's first set (1973): y = 3.00 + 0.500 x, r² = 0.667, standard error of the slope 0.1179.
        let x = [10.0, 8.0, 13.0, 9.0, 11.0, 14.0, 6.0, 4.0, 12.0, 7.0, 5.0];
        let y = [8.04, 6.95, 7.58, 8.81, 8.33, 9.96, 7.24, 4.26, 10.84, 4.82, 5.68];
        let points: Vec<(f64, f64)> = x.into_iter().zip(y).collect();
        let l = line(&points).unwrap();
        assert!((l.slope - 0.5001).abs() < 1e-3 && (l.base - 3.0001).abs() < 1e-3 && (l.r2 - 0.6665).abs() < 1e-3, "{l:?}");
        assert!((l.half / 1.96 - 0.1179).abs() < 1e-3, "{l:?}");
        assert_eq!(line(&[(1.0, 1.0), (1.0, 2.0), (1.0, 3.0)]), None);
    }
}
