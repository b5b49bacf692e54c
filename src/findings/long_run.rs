//! Event loops that are held: one task of a user interface or of Node.js, asyncio or the like runs so long that everything
//! else has to wait for it (PROFILES 1.5).

use super::active::{Active, cpu_profiles};
use super::finding::{Confidence, Evidence, Finding, Impact, Occurrences, Rule, Severity, ShareOf, Subject, Threshold, fingerprint};
use super::tasks::{Task, Tasks, is_task, is_ui, of_samples, of_slices};
use super::{Context, Detector, Outcome, counted};
use crate::analysis::call_tree::stack_path;
use crate::base::ids::{ProfileId, ThreadId};
use crate::base::quantity::{format_count, format_ns, format_share};
use crate::base::stats::wilson;
use crate::base::view::{View, ViewRef};
use crate::model::profile::Profile;

/// Documentation of the rule.
pub const RULE: Rule = Rule {
    id: "long-run",
    name: "Event loops that are held",
    family: "event loops",
    summary: "One task holds an event loop or the user interface so long that input, frames and other requests wait.",
    remedies: &["Cut the task into pieces and give way between them, or move it to a worker."],
    thresholds: &[
        Threshold { name: "info_ms", default: 50.0, doc: "Milliseconds of one task that score 25 (W3C, Long Tasks)." },
        Threshold { name: "warning_ms", default: 100.0, doc: "Milliseconds that score 75 (PROFILES 1.5)." },
        Threshold { name: "critical_ms", default: 250.0, doc: "Milliseconds that score 90 (PROFILES 1.5)." },
        Threshold { name: "min_samples", default: 5.0, doc: "Samples of a task, where it is known by samples; own choice." },
    ],
    doc: include_str!("../../docs/rules/long-run.md"),
};

/// Below a warning: what is only worth knowing.
const MOST_INFO: f64 = 74.0;
/// Tasks that are shown.
const SHOWN: usize = 3;

/// The rule.
pub struct LongRun;

impl Detector for LongRun {
    fn rule(&self) -> &'static Rule {
        &RULE
    }

    fn detect(&self, cx: &Context<'_>) -> Outcome {
        let least = (cx.threshold(&RULE, "info_ms") * 1e6) as i64;
        let least_samples = cx.threshold(&RULE, "min_samples") as u64;
        let (mut findings, mut tasks, mut threads) = (Vec::new(), 0, 0);
        let mut traced = Vec::new();
        for (id, p) in cx.profiles().filter(|(_, p)| p.slices.is_some()) {
            for found in of_slices(cx.session, p, least) {
                traced.push(p.source);
                (tasks, threads) = (tasks + found.all, threads + 1);
                let name = thread_name(p, found.thread);
                findings.extend(tell(cx, id, p, &found, if is_ui(name) { Held::People } else { Held::Others }));
            }
        }
        for (id, p) in cpu_profiles(cx.session) {
            // Samples of the same threads say less than their slices.
            if traced.contains(&p.source) {
                continue;
            }
            let active = cx.active(id, p);
            for found in of_samples(&active, least, least_samples) {
                let ui = is_ui(thread_name(p, found.thread));
                if !ui && !found.rests {
                    continue;
                }
                (tasks, threads) = (tasks + found.all, threads + 1);
                let held = if ui { Held::People } else { Held::Requests };
                findings.extend(sampled(cx, &active, found, held));
            }
        }
        if threads == 0 {
            return Outcome::NotChecked(
                "because no thread is an event loop: neither are there slices of tasks, nor samples in order of time of a thread that rests between tasks"
                    .to_string(),
            );
        }
        findings.sort_by(|a: &Finding, b| b.score.cmp(&a.score).then_with(|| a.fingerprint.cmp(&b.fingerprint)));
        let over = format!("{} tasks of {}", format_count(tasks as f64), counted(threads, "event loop"));
        Outcome::Checked { findings, over }
    }
}

/// Who waits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Held {
    /// Input and frames.
    People,
    /// Requests and timers of a server.
    Requests,
    /// Other work of a browser's helper thread.
    Others,
    /// Nobody yet: the program is starting.
    Start,
}

fn thread_name(p: &Profile, thread: Option<ThreadId>) -> &str {
    thread.and_then(|t| p.threads.get(t.index())).map_or("", |t| t.name.as_str())
}

/// Tasks that load modules are told apart from those that do the program's work.
fn sampled(cx: &Context<'_>, active: &Active<'_>, found: Tasks, held: Held) -> Vec<Finding> {
    let loads = |t: &Task| {
        let path = t.most.get().map_or_else(Vec::new, |st| stack_path(cx.session, st));
        path.iter().any(|f| active.class_of(*f).any(&["module_init", "classload"]))
    };
    let (start, work): (Vec<Task>, Vec<Task>) = found.long.iter().cloned().partition(loads);
    [(work, held), (start, if held == Held::Requests { Held::Start } else { held })]
        .into_iter()
        .filter_map(|(long, held)| tell(cx, active.id, active.profile, &Tasks { long, ..found.clone() }, held))
        .collect()
}

/// 25 at the limit of an info, 75 and 90 at the others, with straight lines between.
fn score(cx: &Context<'_>, ns: i64) -> f64 {
    let ms = ns as f64 / 1e6;
    let [info, warning, critical] = ["info_ms", "warning_ms", "critical_ms"].map(|name| cx.threshold(&RULE, name));
    let between = |from: f64, to: f64| if to > from { ((ms - from) / (to - from)).clamp(0.0, 1.0) } else { 1.0 };
    match ms {
        _ if ms < info => 0.0,
        _ if ms < warning => 25.0 + 49.0 * between(info, warning),
        _ if ms < critical => 75.0 + 14.0 * between(warning, critical),
        _ => (90.0 + (ms / critical.max(1.0)).log2()).min(99.0),
    }
}

fn tell(cx: &Context<'_>, id: ProfileId, p: &Profile, tasks: &Tasks, held: Held) -> Option<Finding> {
    let worst = tasks.long.first()?;
    let limit = (cx.threshold(&RULE, "info_ms") * 1e6) as i64;
    let mut score = score(cx, worst.length);
    if matches!(held, Held::Others | Held::Start) {
        score = score.min(MOST_INFO);
    }
    let severity = Severity::of_score(score)?;
    let sum = tasks.long.iter().fold(0_i64, |sum, t| sum.saturating_add(t.length));
    let over = tasks.long.iter().fold(0_i64, |sum, t| sum.saturating_add(t.length - limit));
    let n = tasks.long.len();
    let symbols = &cx.session.symbols;
    let path = worst.most.get().map_or_else(Vec::new, |st| stack_path(cx.session, st));
    let name = |f: crate::base::ids::FuncId| cx.session.strings.get(symbols.funcs.name[f.index()]);
    let names: Vec<String> = path.iter().map(|f| name(*f).to_string()).collect();
    let func = path.last().copied();
    let most = func.map_or("(unknown)", name).to_string();
    // A task in which nothing else was recorded says only how long it took.
    let bare = is_task(&most);
    let mostly = if bare { ", in what was not recorded".to_string() } else { format!(", mostly by {most}") };
    let inside = if bare {
        "of which no part was recorded".to_string()
    } else {
        format!("{} of it in {most}", format_share(worst.most_ns as f64 / worst.length.max(1) as f64))
    };
    let thread = match thread_name(p, tasks.thread) {
        "" => "The event loop".to_string(),
        name => name.to_string(),
    };
    let who = match held {
        Held::People => "input and frames wait",
        Held::Requests => "every other request, timer and answer waits",
        Held::Others => "what is queued behind it waits",
        Held::Start => "the program is not ready yet",
    };
    let exact = worst.samples == 0;
    let at = |t: &Task| ViewRef {
        profile: Some(id.0),
        thread: tasks.thread.map(|t| t.0),
        mode: Some("chart".to_string()),
        zoom: Some(format!("{}..{}", t.start - tasks.origin, t.start - tasks.origin + t.length)),
        ..ViewRef::of(View::Flame)
    };
    let evidence = tasks.long.iter().take(SHOWN).map(|t| {
        let what = t.most.get().and_then(|st| stack_path(cx.session, st).last().copied()).map_or("(unknown)", name);
        let samples = if t.samples == 0 { String::new() } else { format!(", {} samples", t.samples) };
        let part = if is_task(what) { String::new() } else { format!(", {} of it in {what}", format_ns(t.most_ns as f64)) };
        let text = format!("{} in one go{samples}{part}", format_ns(t.length as f64));
        Evidence { text, view: at(t) }
    });
    let share = wilson(n as f64, tasks.all);
    let mut caveats = Vec::new();
    if !exact {
        caveats.push("Two calls from the loop that follow each other without a sample in between look like one.".to_string());
    }
    if held == Held::Others {
        caveats.push("Nobody waits for this thread directly; what it makes for the others comes later.".to_string());
    }
    let mut remedies = vec![match (held, p.format) {
        (Held::Start, _) => "Load what the first request does not need later, or ahead of time (a snapshot, a bundle, the compile cache).",
        (Held::People, _) => "Give way between pieces of the work (scheduler.yield, requestIdleCallback, setTimeout), or move it to a worker.",
        (Held::Others, _) => "Give this thread less in one piece: smaller scripts, images and buffers.",
        (Held::Requests, "cpuprofile" | "chrome-trace") => "Move the work to worker_threads or another process, or cut it into pieces with setImmediate between them.",
        (Held::Requests, _) => "Move the work to an executor or another process (asyncio.to_thread, run_in_executor, a worker pool), or await between pieces of it.",
    }
    .to_string()];
    remedies.push(if bare {
        "Record with more categories (devtools.timeline, v8, blink) or with the JavaScript profiler to see what the task does.".to_string()
    } else {
        format!("Begin with {most}: what of it can be left out, cached, or done for fewer items?")
    });
    Some(Finding {
        rule: RULE.id,
        fingerprint: fingerprint(RULE.id, &[&thread, &most, if held == Held::Start { "start" } else { "" }]),
        severity,
        score: score as u32,
        confidence: if exact { Confidence::Confirmed } else { Confidence::Likely },
        tier: if exact { String::new() } else { "T3".to_string() },
        title: format!("{thread} is held for {} at a time{mostly}", format_ns(worst.length as f64)),
        message: format!(
            "{} of {} {} {} and more, {} together; meanwhile {who}. The longest takes {}, {inside}.",
            format_count(n as f64),
            counted(tasks.all as usize, "task"),
            if n == 1 { "takes" } else { "take" },
            format_ns(limit as f64),
            format_ns(sum as f64),
            format_ns(worst.length as f64)
        ),
        subject: Subject {
            kind: "function",
            name: most.clone(),
            service: thread,
            path: names,
            file: func.map_or(String::new(), |f| cx.session.strings.get(symbols.funcs.file[f.index()]).to_string()),
            line: worst.most.get().map_or(0, |st| symbols.frames.line[symbols.stacks.frame[st.index()].index()]),
        },
        share: Some(ShareOf::new(share, "tasks")),
        impact: Impact {
            amount: sum,
            unit: "nanoseconds".to_string(),
            recoverable_low: (worst.length - limit).max(0),
            recoverable_high: over.max(0),
            model: format!(
                "Blocking time: what tasks take beyond {}. At worst the longest alone is cut into pieces, at best all are.",
                format_ns(limit as f64)
            ),
        },
        evidence: evidence.collect(),
        occurrences: Occurrences { count: n as u64, ..Occurrences::default() },
        caveats,
        remedies,
        ..Finding::default()
    })
}
