//! Bursts of work: the program is mostly quiet and now and then works hard, perhaps at regular times (PROFILES 1.5).

use super::active::{Active, cpu_profiles};
use super::finding::{Confidence, Evidence, Finding, Impact, Occurrences, Rule, Severity, ShareOf, Subject, Threshold, fingerprint};
use super::time_order::usual_interval;
use super::{Context, Detector, Outcome, counted};
use crate::analysis::neighbours::heaviest_path;
use crate::analysis::weights::Selection;
use crate::base::ids::FuncId;
use crate::base::quantity::{format_count, format_ns, format_share};
use crate::base::stats::wilson;
use crate::base::view::{View, ViewRef};
use std::collections::BTreeMap;

/// Documentation of the rule.
pub const RULE: Rule = Rule {
    id: "bursts",
    name: "Bursts of work",
    family: "hot loops",
    summary: "CPU time comes in bursts, perhaps at regular times, and one function is in them that is not in the rest.",
    remedies: &["Spread the work of the burst over time, do it when nobody waits, or do less of it."],
    thresholds: &[
        Threshold {
            name: "bin_ms",
            default: 20.0,
            doc: "Least width in milliseconds of the slices of time that are compared; PROFILES 1.5.",
        },
        Threshold { name: "bins", default: 200.0, doc: "Slices that a long recording is cut into; PROFILES 1.5." },
        Threshold {
            name: "deviations",
            default: 4.0,
            doc: "Standard deviations above the mean from which a slice is a burst; PROFILES 1.5 takes 3, which chance reaches in one of 700 slices.",
        },
        Threshold { name: "min_slice_samples", default: 5.0, doc: "Samples that a slice of a burst has at least; PROFILES 1.5." },
        Threshold { name: "min_bursts", default: 2.0, doc: "Bursts; a single one is a phase (recording-phases)." },
        Threshold {
            name: "max_time_share",
            default: 0.5,
            doc: "Share of the time that bursts take at most: with more, the quiet parts are the exception.",
        },
        Threshold {
            name: "min_excess",
            default: 0.2,
            doc: "Samples of the bursts beyond what the same time holds elsewhere, as share of all.",
        },
        Threshold { name: "min_difference", default: 0.2, doc: "Share in bursts less share elsewhere of what the bursts are made of." },
        Threshold {
            name: "min_correlation",
            default: 0.3,
            doc: "Autocorrelation at the period, from which bursts are regular; PROFILES 1.5.",
        },
        Threshold { name: "min-active-samples", default: 100.0, doc: "Active samples below which nothing is said; PROFILES 4.2." },
    ],
    doc: include_str!("../../docs/rules/bursts.md"),
};

/// Smallest lag of a period, in slices.
const LEAST_LAG: usize = 3;
/// Functions that are compared, the most frequent in bursts first.
const COMPARED: usize = 50;

/// The rule.
pub struct Bursts;

/// Samples in slices of time, and the runs of slices that are bursts.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// Begin of the first slice, nanoseconds.
    pub origin: i64,
    /// Width of a slice, nanoseconds.
    pub width: i64,
    /// Active samples per slice.
    pub counts: Vec<u64>,
    /// First and last slice of each burst.
    pub bursts: Vec<(usize, usize)>,
    /// Time between bursts, nanoseconds, where it is regular, with its autocorrelation.
    pub period: Option<(i64, f64)>,
}

/// Limits of what is a burst, by the thresholds of the same names.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Nanoseconds.
    pub bin_ns: i64,
    /// See the rule.
    pub bins: i64,
    /// See the rule.
    pub deviations: f64,
    /// See the rule.
    pub min_slice_samples: f64,
    /// See the rule.
    pub min_correlation: f64,
}

/// The shape of active samples at these ascending times. `None` for fewer than ten slices.
pub fn shape(times: &[i64], limits: Limits) -> Option<Shape> {
    let (origin, last) = (*times.first()?, *times.last()?);
    let length = last.saturating_sub(origin);
    let width = (length / limits.bins.max(1)).max(limits.bin_ns).max(1);
    let n = usize::try_from(length / width + 1).ok()?;
    if n < 10 {
        return None;
    }
    let mut counts = vec![0_u64; n];
    for time in times {
        counts[((time - origin) / width) as usize] += 1;
    }
    // What is usual, from the lower half of the slices, so that bursts do not raise the limit that they must pass.
    let mut sorted = counts.clone();
    sorted.sort_unstable();
    let lower = &sorted[..n.div_ceil(2)];
    let quiet = lower.iter().sum::<u64>() as f64 / lower.len() as f64;
    let variance = lower.iter().map(|c| (*c as f64 - quiet).powi(2)).sum::<f64>() / lower.len() as f64;
    let mean = times.len() as f64 / n as f64;
    // Counts of independent events vary as their mean; those of a program that works in turns vary more.
    let dispersion = if quiet > 0.0 { (variance / quiet).max(1.0) } else { 1.0 };
    let limit = (mean + limits.deviations * (mean * dispersion).sqrt()).max(limits.min_slice_samples);
    let mut bursts: Vec<(usize, usize)> = Vec::new();
    for (i, _) in counts.iter().enumerate().filter(|(_, c)| **c as f64 >= limit) {
        match bursts.last_mut() {
            Some((_, end)) if *end + 1 >= i => *end = i,
            _ => bursts.push((i, i)),
        }
    }
    let period = period(&counts, limits.min_correlation).map(|(lag, r)| (lag as i64 * width, r));
    Some(Shape { origin, width, counts, bursts, period })
}

/// The lag of the largest autocorrelation among those that are peaks, if it is large enough. Quadratic in slices, which are few.
fn period(counts: &[u64], least: f64) -> Option<(usize, f64)> {
    let n = counts.len();
    let mean = counts.iter().sum::<u64>() as f64 / n as f64;
    let away: Vec<f64> = counts.iter().map(|c| *c as f64 - mean).collect();
    let whole: f64 = away.iter().map(|a| a * a).sum();
    if whole <= 0.0 {
        return None;
    }
    let of = |lag: usize| away.iter().zip(&away[lag..]).map(|(a, b)| a * b).sum::<f64>() / whole * n as f64 / (n - lag) as f64;
    // A period must be seen three times.
    let all: Vec<f64> = (0..=n / 3 + 1).map(of).collect();
    let peaks = (LEAST_LAG..all.len() - 1).filter(|k| all[*k] >= least && all[*k] >= all[k - 1] && all[*k] >= all[k + 1]);
    // The first of about the largest: its multiples are as large.
    let best = peaks.clone().map(|k| all[k]).fold(0.0, f64::max);
    peaks.into_iter().find(|k| all[*k] >= 0.8 * best).map(|k| (k, all[k]))
}

impl Detector for Bursts {
    fn rule(&self) -> &'static Rule {
        &RULE
    }

    fn detect(&self, cx: &Context<'_>) -> Outcome {
        let (mut findings, mut looked, mut samples) = (Vec::new(), 0, 0_u64);
        for (id, p) in cpu_profiles(cx.session) {
            let active = cx.active(id, p);
            if p.samples.time_ns.len() != p.samples.len() || (active.count as f64) < cx.threshold(&RULE, "min-active-samples") {
                continue;
            }
            let times = Timed::of(&active);
            let limits = Limits {
                bin_ns: (cx.threshold(&RULE, "bin_ms") * 1e6) as i64,
                bins: cx.threshold(&RULE, "bins") as i64,
                deviations: cx.threshold(&RULE, "deviations"),
                min_slice_samples: cx.threshold(&RULE, "min_slice_samples"),
                min_correlation: cx.threshold(&RULE, "min_correlation"),
            };
            // A slice that holds less than a sample as a rule shows the clock of the profiler.
            let all: Vec<u32> = times.rows.iter().map(|(_, row)| *row).collect();
            let interval = usual_interval(&p.samples, &all);
            let limits = Limits { bin_ns: limits.bin_ns.max(interval.saturating_mul(2)), ..limits };
            let moments: Vec<i64> = times.rows.iter().map(|(time, _)| *time).collect();
            let Some(shape) = shape(&moments, limits) else { continue };
            looked += 1;
            samples += times.rows.len() as u64;
            findings.extend(tell(cx, &active, &times, &shape));
        }
        if looked == 0 {
            return Outcome::NotChecked(
                "because no CPU profile has the times of a hundred active samples over ten slices of time".to_string(),
            );
        }
        findings.sort_by(|a: &Finding, b| b.score.cmp(&a.score).then_with(|| a.fingerprint.cmp(&b.fingerprint)));
        Outcome::Checked {
            findings,
            over: format!("{} active samples in {}", format_count(samples as f64), counted(looked, "CPU profile")),
        }
    }
}

/// Active samples in order of time.
struct Timed {
    rows: Vec<(i64, u32)>,
}

impl Timed {
    fn of(active: &Active<'_>) -> Timed {
        let mut busy = vec![false; active.session.symbols.stacks.len()];
        for a in &active.stacks {
            busy[a.stack.index()] = true;
        }
        let samples = &active.profile.samples;
        let is_busy = |row: usize| samples.stack[row].get().is_some_and(|st| busy[active.without_preemption(st).index()]);
        let mut rows: Vec<(i64, u32)> =
            (0..samples.len()).filter(|row| is_busy(*row)).map(|row| (samples.time_ns[row], row as u32)).collect();
        rows.sort_unstable();
        Timed { rows }
    }
}

/// Samples with each function anywhere, in bursts and elsewhere; each sample counts once.
fn compared(active: &Active<'_>, times: &Timed, inside: &dyn Fn(i64) -> bool) -> (BTreeMap<FuncId, [u64; 2]>, [u64; 2]) {
    let samples = &active.profile.samples;
    let mut stacks: BTreeMap<crate::base::ids::StackId, [u64; 2]> = BTreeMap::new();
    let mut n = [0, 0];
    for (time, row) in &times.rows {
        let Some(stack) = samples.stack[*row as usize].get() else { continue };
        let side = usize::from(!inside(*time));
        stacks.entry(active.without_preemption(stack)).or_default()[side] += 1;
        n[side] += 1;
    }
    let s = &active.session.symbols;
    let mut out: BTreeMap<FuncId, [u64; 2]> = BTreeMap::new();
    let mut on_stack: Vec<FuncId> = Vec::new();
    for (stack, counts) in stacks {
        on_stack.clear();
        on_stack.extend(s.stacks.leaf_to_root(stack).map(|f| s.funcs.canonical[s.frames.func[f.index()].index()]));
        on_stack.sort_unstable();
        on_stack.dedup();
        for func in &on_stack {
            let sum = out.entry(*func).or_default();
            (sum[0], sum[1]) = (sum[0] + counts[0], sum[1] + counts[1]);
        }
    }
    (out, n)
}

fn tell(cx: &Context<'_>, active: &Active<'_>, times: &Timed, shape: &Shape) -> Option<Finding> {
    let slices: usize = shape.bursts.iter().map(|(a, b)| b + 1 - a).sum();
    let time_share = slices as f64 / shape.counts.len() as f64;
    if (shape.bursts.len() as f64) < cx.threshold(&RULE, "min_bursts") || time_share > cx.threshold(&RULE, "max_time_share") {
        return None;
    }
    let mut in_burst = vec![false; shape.counts.len()];
    for (a, b) in &shape.bursts {
        in_burst[*a..=*b].fill(true);
    }
    let inside = |time: i64| in_burst[((time - shape.origin) / shape.width) as usize];
    let (functions, [held, rest]) = compared(active, times, &inside);
    let all = held + rest;
    let usual = rest as f64 / (shape.counts.len() - slices).max(1) as f64 * slices as f64;
    let excess = (held as f64 - usual) / all.max(1) as f64;
    if excess < cx.threshold(&RULE, "min_excess") {
        return None;
    }
    // What the bursts are made of: the function whose share differs most, the deepest in the program's order among equals.
    let mut frequent: Vec<(FuncId, [u64; 2])> = functions.into_iter().collect();
    frequent.sort_by_key(|(f, c)| (std::cmp::Reverse(c[0]), *f));
    let share = |k: u64, n: u64| k as f64 / n.max(1) as f64;
    let difference = |c: &[u64; 2]| share(c[0], held) - share(c[1], rest);
    let significant = |c: &[u64; 2]| {
        let p = (c[0] + c[1]) as f64 / all.max(1) as f64;
        let deviation = (p * (1.0 - p) * (1.0 / held.max(1) as f64 + 1.0 / rest.max(1) as f64)).sqrt();
        difference(c) > 4.0 * deviation
    };
    let (func, c) = frequent
        .iter()
        .take(COMPARED)
        .filter(|(_, c)| difference(c) >= cx.threshold(&RULE, "min_difference") && (rest == 0 || significant(c)))
        .max_by(|(f, a), (g, b)| difference(a).total_cmp(&difference(b)).then(a[0].cmp(&b[0])).then(g.cmp(f)))
        .map(|(f, c)| (*f, *c))?;
    let name = active.name(func);
    let regular = shape.period.map_or(String::new(), |(ns, _)| format!(" every {}", format_ns(ns as f64)));
    let tree = cx.tree(Selection { profile: active.id.index(), value: active.value, thread: None });
    let place = |view| ViewRef { profile: Some(active.id.0), value: Some(active.value_name().to_string()), ..ViewRef::of(view) };
    let path = heaviest_path(active.session, &tree, func);
    let at = |(a, b): (usize, usize)| ViewRef {
        mode: Some("chart".to_string()),
        zoom: Some(format!("{}..{}", a as i64 * shape.width, (b as i64 + 1) * shape.width)),
        ..place(View::Flame)
    };
    let mut largest = shape.bursts.clone();
    let size = |(a, b): (usize, usize)| shape.counts[a..=b].iter().sum::<u64>();
    largest.sort_by_key(|b| (std::cmp::Reverse(size(*b)), b.0));
    let mut evidence: Vec<Evidence> = largest
        .iter()
        .take(3)
        .map(|b| Evidence {
            text: format!(
                "{} within {}, from {} on",
                counted(size(*b) as usize, "sample"),
                format_ns(((b.1 + 1 - b.0) as i64 * shape.width) as f64),
                format_ns((b.0 as i64 * shape.width) as f64)
            ),
            view: at(*b),
        })
        .collect();
    evidence.push(Evidence {
        text: format!(
            "{name}: {} of the samples in bursts, {} elsewhere",
            format_share(share(c[0], held)),
            format_share(share(c[1], rest))
        ),
        view: ViewRef { path: path.clone(), function: Some(name.to_string()), ..place(View::Flame) },
    });
    let per_sample = active.weight as f64 / active.count.max(1) as f64;
    let score = (25.0 + 49.0 * excess).min(74.0);
    let lower = wilson(excess * all as f64, all);
    Some(Finding {
        rule: RULE.id,
        fingerprint: fingerprint(RULE.id, &[&active.profile.name, name]),
        severity: Severity::of_score(score)?,
        score: score as u32,
        confidence: if shape.period.is_some() { Confidence::Confirmed } else { Confidence::Likely },
        tier: "T3".to_string(),
        title: format!("Bursts of work{regular}: {name}"),
        message: format!(
            "{} hold {} of the {all} active samples in {} of the time{}; {name} has {} of the samples in them and {} elsewhere.",
            counted(shape.bursts.len(), "burst"),
            format_share(share(held, all)),
            format_share(time_share),
            shape.period.map_or(String::new(), |(ns, r)| format!(", about every {} (autocorrelation {r:.2})", format_ns(ns as f64))),
            format_share(share(c[0], held)),
            format_share(share(c[1], rest))
        ),
        subject: Subject {
            kind: "function",
            name: name.to_string(),
            service: active.session.symbols.module(&active.session.strings, func).to_string(),
            path,
            file: active.session.strings.get(active.session.symbols.funcs.file[func.index()]).to_string(),
            line: 0,
        },
        share: Some(ShareOf::new(lower, active.value_name())),
        impact: Impact {
            amount: (held as f64 * per_sample) as i64,
            unit: active.unit().to_string(),
            recoverable_low: 0,
            recoverable_high: (excess * all as f64 * per_sample) as i64,
            model: "From nothing (the same work, spread over time) to what the bursts hold beyond the rest of the time.".to_string(),
        },
        evidence,
        occurrences: Occurrences { count: shape.bursts.len() as u64, ..Occurrences::default() },
        caveats: vec!["Work that comes when users come is no defect; what makes others wait in the meantime is.".to_string()],
        remedies: vec![
            format!(
                "See what starts {name}{}: a timer, a poll, a flush, a collection of metrics.",
                if regular.is_empty() { "" } else { " at these times" }
            ),
            "Spread it over time, give it a lower priority, or make it incremental.".to_string(),
        ],
        ..Finding::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;
    const LIMITS: Limits = Limits { bin_ns: 20 * MS, bins: 200, deviations: 4.0, min_slice_samples: 5.0, min_correlation: 0.3 };

    #[test]
    fn work_at_every_half_second_is_found_with_its_period() {
        // Ten seconds; every 500 ms a burst of 40 ms with a sample a millisecond, and a sample every 50 ms in between.
        let mut times: Vec<i64> = (0..200).map(|i| i * 50 * MS).collect();
        times.extend((0..20).flat_map(|b| (0..40).map(move |k| (b * 500 + k) * MS)));
        times.sort_unstable();
        let found = shape(&times, LIMITS).unwrap();
        assert_eq!(found.bursts.len(), 20, "{:?}", found.bursts);
        let (period, r) = found.period.unwrap();
        assert!((period - 500 * MS).abs() <= found.width && r > 0.5, "{period} {r}");
    }

    #[test]
    fn steady_work_and_chance_are_no_bursts() {
        let steady: Vec<i64> = (0..10_000).map(|i| i * MS).collect();
        assert_eq!(shape(&steady, LIMITS).unwrap().bursts, []);
        // Independent times: a thousand recordings of two hundred slices, of which few may have a slice above the limit.
        let (mut state, mut with) = (1_u64, 0);
        for _ in 0..1000 {
            let mut times: Vec<i64> = (0..2000)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    ((state >> 33) % 10_000) as i64 * MS
                })
                .collect();
            times.sort_unstable();
            with += usize::from(shape(&times, LIMITS).unwrap().bursts.len() >= 2);
        }
        assert!(with <= 10, "{with} of 1000 recordings of independent samples show two bursts");
        assert_eq!(shape(&[0, MS, 2 * MS], LIMITS), None);
    }
}
