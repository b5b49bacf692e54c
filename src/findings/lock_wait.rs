//! Waiting for locks, from profiles of contention: Go's mutex and block profiles, JFR's monitor events, pprof's contention
//! profiles of C++ (PROFILES 3, second row).

use super::active::Active;
use super::cost_rule::cover;
use super::finding::{Confidence, Cover, Evidence, Finding, Impact, Occurrences, Rule, Severity, ShareOf, Subject, Threshold, fingerprint};
use super::{Context, Detector, Outcome, counted};
use crate::analysis::neighbours::heaviest_path;
use crate::analysis::weights::Selection;
use crate::base::ids::{FuncId, ProfileId, StackId};
use crate::base::quantity::{format_count, format_ns, format_share};
use crate::base::stats::{map_exp100, wilson};
use crate::base::view::{View, ViewRef};
use crate::model::profile::{Profile, ValueKind};
use std::collections::BTreeMap;

/// The rule.
pub struct LockWait;

/// Its documentation.
pub const RULE: Rule = Rule {
    id: "lock-wait",
    name: "Waiting for locks",
    family: "cost by kind of work",
    summary: "Threads wait for locks for a large part of the time.",
    remedies: &[
        "Hold the lock for less time: copy out under the lock, work outside.",
        "Touch it less often or by fewer threads: shard the data, keep state per thread, read without locking.",
    ],
    thresholds: &[
        Threshold {
            name: "info-share",
            default: 0.208,
            doc: "time waited over the length of the recording that scores 25; JDK Mission Control's rule on Java blocking, 20.8 %",
        },
        Threshold { name: "warning-share", default: 1.0, doc: "the same, scores 75: one thread always waits; JDK Mission Control, 100 %" },
        Threshold {
            name: "site-share",
            default: 0.2,
            doc: "where no length is known: share of the waiting for locks at one place that is told, as info; own",
        },
        Threshold { name: "min-wait-ms", default: 10.0, doc: "milliseconds of waiting at a place below which it is not reported; own" },
        Threshold { name: "min-contentions", default: 10.0, doc: "waits at a place below which it is not reported; PROFILES 4.2" },
    ],
    doc: include_str!("../../docs/rules/lock-wait.md"),
};

/// Waits that are nobody's lock: idle workers, timers, and pprof's own (51 % of a block profile were pprof's, PROFILES 3).
const NO_LOCK: [&str; 13] = [
    "runtime.selectgo",
    "runtime.chanrecv",
    "runtime.chansend",
    "runtime.block",
    "time.Sleep",
    "runtime/pprof.",
    "runtime.timeSleep",
    "sync.(*Cond).Wait",
    "sync.(*WaitGroup).Wait",
    "runtime.goparkunlock",
    "net/http/pprof.",
    "internal/poll.runtime_pollWait",
    "java.lang.Object.wait",
];
/// Events of Java Flight Recorder in which a thread waits for something else than a monitor that another one holds.
const NO_MONITOR: [&str; 3] = ["jdk.ThreadPark", "jdk.ThreadSleep", "jdk.JavaMonitorWait"];

#[derive(Default)]
struct Place {
    delay: i64,
    count: i64,
    stacks: Vec<(i64, StackId)>,
}

impl Detector for LockWait {
    fn rule(&self) -> &'static Rule {
        &RULE
    }

    fn detect(&self, cx: &Context<'_>) -> Outcome {
        let (mut findings, mut checked, mut waits) = (Vec::new(), 0, 0_i64);
        for (id, p) in cx.profiles() {
            let Some(delay) = p.value_of_kind(ValueKind::BlockTime) else { continue };
            if NO_MONITOR.contains(&p.name.as_str()) {
                continue;
            }
            checked += 1;
            waits = waits.saturating_add(p.value_of_kind(ValueKind::BlockCount).map_or(0, |c| p.total(c)));
            findings.extend(of_profile(cx, id, p, delay));
        }
        if checked == 0 {
            return Outcome::NotChecked("because no file holds a profile of contention (mutex, block or monitor events)".to_string());
        }
        findings.sort_by(|a: &Finding, b| b.score.cmp(&a.score).then_with(|| a.fingerprint.cmp(&b.fingerprint)));
        Outcome::Checked {
            findings,
            over: format!("{} waits in {}", format_count(waits as f64), counted(checked, "profile of contention")),
        }
    }
}

fn of_profile(cx: &Context<'_>, id: ProfileId, p: &Profile, delay: usize) -> Vec<Finding> {
    let s = &cx.session.symbols;
    let active = Active::weighted(cx.session, id, p, delay);
    // Whether any frame from the root up to here says that the wait is for no lock.
    let other: Vec<bool> = (0..s.funcs.len()).map(|i| NO_LOCK.iter().any(|w| active.name(FuncId::from_index(i)).starts_with(w))).collect();
    let mut left_out = vec![false; s.stacks.len()];
    for row in 0..left_out.len() {
        let below = s.stacks.prefix[row].get().is_some_and(|b| left_out[b.index()]);
        left_out[row] = below || other[active.func(StackId::from_index(row)).index()];
    }
    let count = p.value_of_kind(ValueKind::BlockCount);
    let mut places: BTreeMap<FuncId, Place> = BTreeMap::new();
    let (mut all, mut skipped) = (Place::default(), 0_i64);
    for (i, stack) in p.samples.stack.iter().enumerate() {
        let (Some(stack), wait) = (stack.get(), p.samples.values[delay][i]) else { continue };
        if wait <= 0 {
            continue;
        }
        if left_out[stack.index()] {
            skipped = skipped.saturating_add(wait);
            continue;
        }
        let times = count.map_or(1, |c| p.samples.values[c][i]);
        all.delay = all.delay.saturating_add(wait);
        all.count = all.count.saturating_add(times);
        let place = places.entry(active.owner(stack).map_or_else(|| active.func(stack), |o| o.func)).or_default();
        place.delay = place.delay.saturating_add(wait);
        place.count = place.count.saturating_add(times);
        place.stacks.push((wait, stack));
    }
    // Values are in the unit of the profile; waits in anything but time are not judged.
    let unit_ns = match p.value_types[delay].unit.as_str() {
        "nanoseconds" | "ns" => 1.0,
        "microseconds" | "us" => 1e3,
        "milliseconds" | "ms" => 1e6,
        "seconds" | "s" => 1e9,
        _ => return Vec::new(),
    };
    let whole = Whole { column: delay, all, skipped, unit_ns };
    places.iter().filter_map(|(func, place)| describe(cx, &active, &whole, *func, place)).collect()
}

/// What holds for the profile as a whole.
struct Whole {
    column: usize,
    all: Place,
    /// Time waited for what is no lock.
    skipped: i64,
    /// Nanoseconds of one unit.
    unit_ns: f64,
}

fn describe(cx: &Context<'_>, active: &Active<'_>, whole: &Whole, func: FuncId, place: &Place) -> Option<Finding> {
    let Whole { column: delay, all, skipped, unit_ns } = whole;
    let (delay, skipped) = (*delay, *skipped);
    let limit = |name: &str| cx.threshold(&RULE, name);
    let p = active.profile;
    let wait_ns = place.delay as f64 * unit_ns;
    if wait_ns < limit("min-wait-ms") * 1e6 || (place.count as f64) < limit("min-contentions") {
        return None;
    }
    let part = place.delay as f64 / all.delay.max(1) as f64;
    let (score, over) = if p.duration_ns > 0 {
        let ratio = wait_ns / p.duration_ns as f64;
        (map_exp100(ratio, limit("info-share"), limit("warning-share")), format!(", {} of the recording's length", format_share(ratio)))
    } else if part >= limit("site-share") {
        ((25.0 + 49.0 * part).min(74.0), String::new())
    } else {
        return None;
    };
    let severity = Severity::of_score(score)?;
    let name = active.name(func);
    let s = &active.session.symbols;
    let value = p.value_types[delay].name.clone();
    let tree = cx.tree(Selection { profile: active.id.index(), value: delay, thread: None });
    let path = heaviest_path(active.session, &tree, func);
    let view =
        |view| ViewRef { profile: Some(active.id.0), value: Some(value.clone()), function: Some(name.to_string()), ..ViewRef::of(view) };
    let n = all.count.max(1) as u64;
    let mean = wait_ns / place.count.max(1) as f64;
    let unlocks = place.stacks.iter().any(|(_, stack)| active.name(active.func(*stack)).to_ascii_lowercase().contains("unlock"));
    let mut evidence = vec![
        Evidence {
            text: format!("{} of the waiting for locks on its heaviest path", format_share(part)),
            view: ViewRef { path: path.clone(), ..view(View::Flame) },
        },
        Evidence {
            text: format!("{} waits of {} on average", format_count(place.count as f64), format_ns(mean)),
            view: view(View::Functions),
        },
    ];
    if skipped > 0 {
        let sum = (skipped as f64 + all.delay as f64).max(1.0);
        evidence.push(Evidence {
            text: format!(
                "{} of the profile are waits for channels, timers and the profiler, and are left out",
                format_share(skipped as f64 / sum)
            ),
            view: ViewRef { function: None, ..view(View::Functions) },
        });
    }
    let mut caveats = Vec::new();
    if unlocks {
        caveats.push("A mutex profile charges the function that unlocks: it held the lock while others waited.".to_string());
    }
    if p.duration_ns <= 0 {
        caveats.push("The profile does not say over how long it counts, so only shares of the waiting are known.".to_string());
    }
    caveats.push("Waits of several threads add up and may exceed the length of the recording.".to_string());
    Some(Finding {
        rule: RULE.id,
        fingerprint: fingerprint(RULE.id, &[name, &value]),
        severity,
        score: score as u32,
        confidence: Confidence::Confirmed,
        title: format!("Waiting for locks: {} {} {}", format_ns(wait_ns), if unlocks { "while the lock was held by" } else { "in" }, name),
        message: format!(
            "Threads waited {} ({} of the waiting for locks{over}) in {} waits of {} on average, {} {name}.",
            format_ns(wait_ns),
            format_share(part),
            format_count(place.count as f64),
            format_ns(mean),
            if unlocks { "for a lock that was held by" } else { "for a lock in" }
        ),
        subject: Subject {
            kind: "function",
            name: name.to_string(),
            service: s.module(&active.session.strings, func).to_string(),
            path,
            file: active.session.strings.get(s.funcs.file[func.index()]).to_string(),
            line: 0,
        },
        share: Some(ShareOf::new(wilson(part * n as f64, n), "time waited for locks")),
        impact: Impact {
            amount: wait_ns as i64,
            unit: "nanoseconds".to_string(),
            recoverable_low: 0,
            recoverable_high: wait_ns as i64,
            model: "from nothing, if the threads would then wait for something else, to all the waiting".to_string(),
        },
        evidence,
        occurrences: Occurrences { count: place.count.max(0) as u64, ..Occurrences::default() },
        caveats,
        remedies: RULE.remedies.iter().map(|r| (*r).to_string()).collect(),
        cover: Cover::Stacks(active.id, cover(place.stacks.clone())),
        ..Finding::default()
    })
}
