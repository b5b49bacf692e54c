//! One rule per kind of work: whether it takes more CPU time than it should, and who asks for it (PROFILES 3).

use super::active::{Active, cpu_profiles};
use super::cost_specs::{BOTH, PRESSURE, first_of, measures};
use super::costs::{Costs, Frames, Measure, Sum};
use super::finding::{Confidence, Cover, Evidence, Finding, Impact, Occurrences, Rule, Severity, ShareOf, Subject, fingerprint};
use super::{Context, Detector, Outcome, counted};
use crate::analysis::neighbours::heaviest_path;
use crate::analysis::weights::Selection;
use crate::base::ids::{FuncId, StackId};
use crate::base::quantity::{format_count, format_ns, format_share, format_value};
use crate::base::stats::{map_exp100, wilson};
use crate::base::view::{View, ViewRef};
use std::collections::BTreeMap;

/// Share of a finding's samples that its cover holds, heaviest stacks first: enough to tell whether two speak of the same.
const COVERED: f64 = 0.95;
/// Stacks that a cover holds at most.
const COVER_STACKS: usize = 20_000;
/// Below a warning: what is only worth knowing.
pub const MOST_INFO: f64 = 74.0;

/// A rule about one kind of work.
#[derive(Debug)]
pub struct CostRule {
    /// Its documentation.
    pub rule: &'static Rule,
    /// What it judges; the score is the largest, the first of equals leads.
    pub measures: &'static [Measure],
    /// Smallest and largest part of the cost that a repair saves, with the model in words.
    pub saving: (f64, f64, &'static str),
    /// What to do, by runtime of the taxonomy; an empty runtime is for all.
    pub remedies: &'static [(&'static str, &'static str)],
    /// What could make it wrong.
    pub caveats: &'static [&'static str],
    /// Whether it never becomes a warning.
    pub info_only: bool,
    /// Whether one uninterrupted run of `min-run-ms` suffices, whatever its share.
    pub runs: bool,
}

impl Detector for CostRule {
    fn rule(&self) -> &'static Rule {
        self.rule
    }

    fn detect(&self, cx: &Context<'_>) -> Outcome {
        let profiles = cpu_profiles(cx.session);
        if profiles.is_empty() {
            return Outcome::NotChecked("because no file holds samples of CPU or wall-clock time".to_string());
        }
        let (mut findings, mut checked, mut samples) = (Vec::new(), 0, 0);
        let mut reason = String::new();
        for (id, p) in profiles {
            let active = cx.active(id, p);
            if (active.count as f64) < cx.threshold(self.rule, "min-active-samples") {
                reason = format!("because there are only {} samples that are not idle", active.count);
                continue;
            }
            if active.unknown_share() >= 0.5 {
                reason = format!("because {} of the samples have no function name", format_share(active.unknown_share()));
                continue;
            }
            checked += 1;
            samples += active.count;
            findings.extend(self.of_profile(cx, &active));
        }
        if checked == 0 {
            return Outcome::NotChecked(reason);
        }
        findings.sort_by(|a: &Finding, b| b.score.cmp(&a.score).then_with(|| a.fingerprint.cmp(&b.fingerprint)));
        Outcome::Checked {
            findings,
            over: format!("{} active samples in {}", format_count(samples as f64), counted(checked, "CPU profile")),
        }
    }
}

/// What was found of one measure.
struct Hit<'a> {
    measure: &'static Measure,
    sum: Sum,
    score: f64,
    bit: u64,
    costs: &'a Costs,
    /// The longest uninterrupted run in nanoseconds, where it was looked for.
    run_ns: i64,
}

impl CostRule {
    fn of_profile(&self, cx: &Context<'_>, active: &Active<'_>) -> Option<Finding> {
        let costs = cx.costs(active);
        let n = active.count.max(0) as u64;
        let limit = |name: &str| cx.threshold(self.rule, name);
        let mut best: Option<Hit<'_>> = None;
        for (i, measure) in self.measures.iter().enumerate() {
            let at = first_of(self.rule.id) + i;
            let sum = costs.sums[at];
            let threshold = |what: &str| match measure.name {
                "" => limit(&format!("{what}-share")),
                name => limit(&format!("{name}-{what}")),
            };
            let mut score = if (sum.count as f64) < limit("min-samples") {
                0.0
            } else {
                map_exp100(wilson(sum.count as f64, n).low, threshold("info"), threshold("warning"))
            };
            let mut run_ns = 0;
            if self.runs && i == 0 && sum.count > 0 {
                run_ns = longest_run(active, &costs, 1 << at);
                if run_ns as f64 >= limit("min-run-ms") * 1e6 {
                    score = score.max(25.0);
                }
            }
            if (sum.count as f64) < limit("warning-samples") || self.info_only {
                score = score.min(MOST_INFO);
            }
            if best.as_ref().is_none_or(|b| score > b.score) {
                best = Some(Hit { measure, sum, score, bit: 1 << at, costs: &costs, run_ns });
            }
        }
        let mut hit = best?;
        let few = (active.count as f64) < limit("few-samples") || active.unknown_share() >= limit("unknown-share");
        if few || !active.counted {
            hit.score = hit.score.min(MOST_INFO);
        }
        let severity = Severity::of_score(hit.score)?;
        Some(self.describe(cx, active, &hit, severity))
    }

    fn describe(&self, cx: &Context<'_>, active: &Active<'_>, hit: &Hit<'_>, severity: Severity) -> Finding {
        let places = Places::of(active, hit);
        let share = wilson(hit.sum.count as f64, active.count.max(0) as u64);
        let part = |count: i64| format_share(count as f64 / hit.sum.count.max(1) as f64);
        let view = |view| ViewRef { profile: Some(active.id.0), value: Some(active.value_name().to_string()), ..ViewRef::of(view) };
        let tree = cx.tree(Selection { profile: active.id.index(), value: active.value, thread: None });
        // Compilers work for everybody.
        let owned = !hit.measure.of.contains(&"jit");
        let top = places.owners.first().filter(|(_, n)| owned && *n * 2 >= hit.sum.count).map(|(f, _)| *f);
        let entry = places.entries.first().map(|(f, _)| active.name(*f));
        // What is told of the work as a whole is shown at the function where most of it begins.
        let table = || ViewRef { function: entry.map(str::to_string), ..view(View::Functions) };
        let mut evidence = Vec::new();
        for (func, count) in places.entries.iter().take(3) {
            let path = heaviest_path(active.session, &tree, *func);
            evidence.push(Evidence {
                text: format!("{} ({}) in {}", part(*count), counted(*count as usize, "sample"), active.name(*func)),
                view: ViewRef { path, function: Some(active.name(*func).to_string()), ..view(View::Flame) },
            });
        }
        for (func, count) in places.owners.iter().take(5) {
            let path = heaviest_path(active.session, &tree, *func);
            evidence.push(Evidence {
                text: format!("{} ({}) asked for by {}", part(*count), counted(*count as usize, "sample"), active.name(*func)),
                view: ViewRef { path, function: Some(active.name(*func).to_string()), ..view(View::Flame) },
            });
        }
        if places.unowned * 5 >= hit.sum.count {
            evidence.push(Evidence {
                text: format!("{} have no function of the program in their stack", part(places.unowned)),
                view: view(View::Flame),
            });
        }
        for (measure, count) in places.also.iter().take(3) {
            evidence.push(Evidence { text: format!("of which {} also in {}", part(*count), measure.what.to_lowercase()), view: table() });
        }
        for (word, count) in [("encode", places.encode), ("decode", places.decode)] {
            if count > 0 {
                evidence.push(Evidence { text: format!("{} {word}", part(count)), view: table() });
            }
        }
        let run = if hit.run_ns > 0 && self.runs {
            format!(" The longest uninterrupted run takes {}.", format_ns(hit.run_ns as f64))
        } else {
            String::new()
        };
        let s = &active.session.symbols;
        let by = top.map_or(String::new(), |f| format!(", most of it for {}", active.name(f)));
        let amount = format_value(hit.sum.value as f64, active.unit());
        let (low, high, model) = self.saving;
        let certain = share.low / share.p.max(f64::MIN_POSITIVE);
        let measure = hit.measure;
        Finding {
            rule: self.rule.id,
            fingerprint: fingerprint(
                self.rule.id,
                &[measure.name, &active.profile.name, top.or(places.owners.first().map(|o| o.0)).map_or("", |f| active.name(f))],
            ),
            severity,
            score: hit.score as u32,
            confidence: Confidence::Likely,
            title: format!("{}: {} of the time{by}", measure.what, format_share(share.p)),
            message: format!(
                "{amount} ({}, {} to {}) go to {}{}{by}.{run}",
                format_share(share.p),
                format_share(share.low),
                format_share(share.high),
                measure.what.to_lowercase(),
                entry.map_or(String::new(), |e| format!(", first in {e}"))
            ),
            subject: match top {
                Some(func) => Subject {
                    kind: "function",
                    name: active.name(func).to_string(),
                    service: s.module(&active.session.strings, func).to_string(),
                    path: heaviest_path(active.session, &tree, func),
                    file: active.session.strings.get(s.funcs.file[func.index()]).to_string(),
                    line: 0,
                },
                None => Subject {
                    kind: "recording",
                    name: super::doctor::file_name(cx, active.profile.source).to_string(),
                    ..Subject::default()
                },
            },
            share: Some(ShareOf::new(share, active.value_name())),
            impact: Impact {
                amount: hit.sum.value,
                unit: active.unit().to_string(),
                recoverable_low: (hit.sum.value as f64 * certain * low) as i64,
                recoverable_high: (hit.sum.value as f64 * high) as i64,
                model: model.to_string(),
            },
            evidence,
            occurrences: Occurrences { count: hit.sum.count.max(0) as u64, ..Occurrences::default() },
            caveats: self.caveats(active, hit.measure),
            remedies: self.remedies(active, top),
            cover: Cover::Stacks(active.id, places.cover),
            ..Finding::default()
        }
    }

    fn caveats(&self, active: &Active<'_>, measure: &Measure) -> Vec<String> {
        let mut out: Vec<String> = self.caveats.iter().map(|c| (*c).to_string()).collect();
        if measure.frames == Frames::Any {
            out.push("The program's own functions that are called back from there are counted with it.".to_string());
        }
        out.push("Functions are told by their names; one's own implementation under another name is not seen.".to_string());
        if active.has_runtime("v8") || active.has_runtime("node") {
            out.push("V8 has no frames for built-in functions such as JSON.parse: their time stands in the caller.".to_string());
        }
        if active.unknown > 0 {
            out.push(format!("{} of the leaves have no symbol.", format_share(active.unknown_share())));
        }
        out
    }

    fn remedies(&self, active: &Active<'_>, top: Option<FuncId>) -> Vec<String> {
        let mut out: Vec<String> = top.map(|f| format!("Start with {}.", active.name(f))).into_iter().collect();
        let special = self.remedies.iter().filter(|(runtime, _)| !runtime.is_empty() && active.has_runtime(runtime));
        let general = self.remedies.iter().filter(|(runtime, _)| runtime.is_empty());
        out.extend(special.chain(general).map(|(_, text)| (*text).to_string()));
        out
    }
}

/// Where the samples of one measure are, by function, largest first.
struct Places {
    owners: Vec<(FuncId, i64)>,
    /// The outermost functions in which the work begins.
    entries: Vec<(FuncId, i64)>,
    unowned: i64,
    encode: i64,
    decode: i64,
    /// Other rules' measures with the samples in common, at least a tenth.
    also: Vec<(&'static Measure, i64)>,
    cover: Vec<StackId>,
}

impl Places {
    fn of(active: &Active<'_>, hit: &Hit<'_>) -> Places {
        let entry_of = hit.costs.entries(active, hit.measure);
        let (mut owners, mut entries) = (BTreeMap::<FuncId, i64>::new(), BTreeMap::<FuncId, i64>::new());
        let mut common = vec![0_i64; measures().len()];
        let mut stacks: Vec<(i64, StackId)> = Vec::new();
        let (mut unowned, mut encode, mut decode) = (0, 0, 0);
        let (en, de) = (super::costs::mask(&["encode"]), super::costs::mask(&["decode"]));
        for (a, hits) in active.stacks.iter().zip(&hit.costs.hits).filter(|(_, hits)| **hits & hit.bit != 0) {
            match active.owner(a.stack) {
                Some(owner) => *owners.entry(owner.func).or_default() += a.count,
                None => unowned += a.count,
            }
            if let Some(entry) = entry_of[a.stack.index()].get() {
                let func = active.func(entry);
                *entries.entry(func).or_default() += a.count;
                let class = hit.costs.class_of(func);
                encode += if class & en != 0 { a.count } else { 0 };
                decode += if class & de != 0 { a.count } else { 0 };
            }
            let mut others = hits & !hit.bit;
            while others != 0 {
                common[others.trailing_zeros() as usize] += a.count;
                others &= others - 1;
            }
            stacks.push((a.count, a.stack));
        }
        // Its parts are told, the sum would be told twice.
        common[first_of(PRESSURE) + BOTH] = 0;
        let mut also: Vec<(&'static Measure, i64)> =
            measures().iter().zip(common).map(|((_, m), n)| (*m, n)).filter(|(_, n)| *n * 10 >= hit.sum.count && *n > 0).collect();
        also.sort_by_key(|(m, n)| (std::cmp::Reverse(*n), m.what));
        Places { owners: ranked(active, owners), entries: ranked(active, entries), unowned, encode, decode, also, cover: cover(stacks) }
    }
}

fn ranked(active: &Active<'_>, counts: BTreeMap<FuncId, i64>) -> Vec<(FuncId, i64)> {
    let mut out: Vec<(FuncId, i64)> = counts.into_iter().collect();
    out.sort_by_key(|(f, n)| (std::cmp::Reverse(*n), active.name(*f)));
    out
}

/// The heaviest stacks that hold nearly all samples, by row.
pub fn cover(mut stacks: Vec<(i64, StackId)>) -> Vec<StackId> {
    stacks.sort_unstable_by_key(|(count, stack)| (std::cmp::Reverse(*count), *stack));
    let whole: i128 = stacks.iter().map(|s| i128::from(s.0)).sum();
    let mut sum = 0_i128;
    let mut out: Vec<StackId> = Vec::new();
    for (count, stack) in stacks {
        if sum as f64 >= COVERED * whole as f64 || out.len() >= COVER_STACKS {
            break;
        }
        sum += i128::from(count);
        out.push(stack);
    }
    out.sort_unstable();
    out.dedup();
    out
}

/// The longest stretch of one thread in which every sample is in the measured work, in nanoseconds: from its first sample to
/// the next one outside. 0 where samples have no times.
fn longest_run(active: &Active<'_>, costs: &Costs, bit: u64) -> i64 {
    let p = active.profile;
    if p.samples.time_ns.len() != p.samples.len() {
        return 0;
    }
    let mut inside = vec![false; active.session.symbols.stacks.len()];
    for (a, _) in active.stacks.iter().zip(&costs.hits).filter(|(_, hits)| **hits & bit != 0) {
        inside[a.stack.index()] = true;
    }
    let thread = |i: usize| p.samples.thread.get(i).map_or(u32::MAX, |t| t.0);
    let mut order: Vec<(u32, i64, usize)> = (0..p.samples.len()).map(|i| (thread(i), p.samples.time_ns[i], i)).collect();
    order.sort_unstable();
    let next = |pair: &[(u32, i64, usize)]| (pair[0].0 == pair[1].0).then(|| pair[1].1.saturating_sub(pair[0].1));
    // A thread that was away between two samples has not run all the time.
    let mut gaps: Vec<i64> = order.windows(2).filter_map(next).collect();
    let middle = gaps.len() / 2;
    let usual = if gaps.is_empty() { 0 } else { *gaps.select_nth_unstable(middle).1 };
    let (mut longest, mut run) = (0_i64, 0_i64);
    for pair in order.windows(2) {
        let gap = next(pair).filter(|gap| *gap <= usual.saturating_mul(5));
        let here = p.samples.stack[pair[0].2].get().is_some_and(|s| inside[s.index()]);
        run = if here { run.saturating_add(gap.unwrap_or(0)) } else { 0 };
        longest = longest.max(run);
        run = if gap.is_some() { run } else { 0 };
    }
    longest
}
