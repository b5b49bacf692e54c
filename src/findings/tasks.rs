//! Tasks of event loops: what a thread that must stay free for others does in one go. Browsers trace them as slices; from
//! samples a task is a stretch in which the call that the loop made stays the same and the thread never rests.

use super::active::Active;
use super::time_order::{GAP, by_thread, is_ordered, usual_interval};
use crate::base::ids::{FuncId, StackId, ThreadId};
use crate::model::Session;
use crate::model::profile::{Profile, SliceTable};
use std::collections::BTreeMap;

/// Threads that draw and take input; a long task there is seen by people.
const UI: [&str; 5] = ["CrRendererMain", "CrBrowserMain", "Chrome_InProcRendererThread", "GeckoMain", "Web Content"];

/// Slices of Chromium that are one task each (the titles that Lighthouse takes for top-level tasks, and the oldest one).
const TASKS: [&str; 5] = [
    "RunTask",
    "ThreadControllerImpl::RunTask",
    "ThreadControllerImpl::DoWork",
    "TaskQueueManager::ProcessTaskFromWorkQueue",
    "MessageLoop::RunTask",
];

/// Functions that take the next thing to do and call it, by the end of their names: of asyncio, libuv, Firefox, Chromium,
/// Netty and Apple's run loops.
const LOOPS: [&str; 10] = [
    "run_forever",
    "_run_once",
    "uv_run",
    "nsThread::ProcessNextEvent",
    "NS_ProcessNextEvent",
    "MessageLoop::Run",
    "base::RunLoop::Run",
    "NioEventLoop.run",
    "EpollEventLoop.run",
    "CFRunLoopRun",
];

/// Whether people notice when a thread of this name is held.
pub fn is_ui(name: &str) -> bool {
    UI.iter().any(|ui| name == *ui || name.strip_prefix(ui).is_some_and(|rest| rest.starts_with([' ', '/', '('])))
}

/// Whether a slice of this name is a whole task.
pub fn is_task(name: &str) -> bool {
    TASKS.contains(&name)
}

/// One task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Begin on the profile's clock, nanoseconds.
    pub start: i64,
    /// Length, nanoseconds.
    pub length: i64,
    /// Samples that show it; 0 for slices, which are exact.
    pub samples: u64,
    /// What most of it is: the deepest path that holds at least half of it.
    pub most: StackId,
    /// The part of the task that `most` takes, nanoseconds.
    pub most_ns: i64,
}

/// What one thread did.
#[derive(Clone, Debug)]
pub struct Tasks {
    /// Position of the thread in the profile.
    pub thread: Option<ThreadId>,
    /// The earliest time that a picture of this thread shows, nanoseconds.
    pub origin: i64,
    /// The tasks of at least the asked length, the longest first.
    pub long: Vec<Task>,
    /// All tasks, however short.
    pub all: u64,
    /// Whether the thread rests between tasks: one that never does is no loop at work, but a program that runs through.
    pub rests: bool,
}

/// The tasks of every thread with slices of tasks. Linear in slices, times the depth of what is looked into.
pub fn of_slices(session: &Session, p: &Profile, least_ns: i64) -> Vec<Tasks> {
    let Some(slices) = &p.slices else { return Vec::new() };
    let s = &session.symbols;
    let mut whole = vec![false; s.stacks.len()];
    for (row, flag) in whole.iter_mut().enumerate() {
        let name = session.strings.get(s.funcs.name[s.frames.func[s.stacks.frame[row].index()].index()]);
        *flag = is_task(name);
    }
    let mut out: Vec<Tasks> = Vec::new();
    let mut from = 0;
    while from < slices.stack.len() {
        let thread = slices.thread.get(from).copied();
        let to = (from..slices.stack.len()).find(|i| slices.thread.get(*i).copied() != thread).unwrap_or(slices.stack.len());
        let mut found: Vec<usize> = Vec::new();
        let mut until = i64::MIN;
        for i in from..to {
            if slices.start_ns[i] >= until && slices.stack[i].get().is_some_and(|st| whole[st.index()]) {
                until = slices.start_ns[i].saturating_add(slices.duration_ns[i]);
                found.push(i);
            }
        }
        if !found.is_empty() {
            let mut long: Vec<usize> = found.iter().copied().filter(|i| slices.duration_ns[*i] >= least_ns).collect();
            long.sort_by_key(|i| (std::cmp::Reverse(slices.duration_ns[*i]), slices.start_ns[*i]));
            let busy: i64 = found.iter().fold(0, |sum: i64, i| sum.saturating_add(slices.duration_ns[*i]));
            let end = found.last().map_or(0, |i| slices.start_ns[*i].saturating_add(slices.duration_ns[*i]));
            let origin = slices.start_ns[from..to].iter().copied().min().unwrap_or(0);
            out.push(Tasks {
                thread,
                origin,
                all: found.len() as u64,
                rests: busy < end.saturating_sub(slices.start_ns[found[0]]),
                long: long.into_iter().map(|i| slice_task(slices, i, to)).collect(),
            });
        }
        from = to;
    }
    out
}

/// Follows the largest part of a task down while it takes at least half of the task.
fn slice_task(slices: &SliceTable, task: usize, end_of_thread: usize) -> Task {
    let (start, length) = (slices.start_ns[task], slices.duration_ns[task]);
    let mut at = task;
    loop {
        let until = slices.start_ns[at].saturating_add(slices.duration_ns[at]);
        let inside = (at + 1..end_of_thread).take_while(|i| slices.start_ns[*i] < until);
        let children = inside.filter(|i| slices.depth[*i] == slices.depth[at] + 1);
        let Some(largest) = children.max_by_key(|i| (slices.duration_ns[*i], std::cmp::Reverse(*i))) else { break };
        if slices.duration_ns[largest].saturating_mul(2) < length {
            break;
        }
        at = largest;
    }
    Task { start, length, samples: 0, most: slices.stack[at], most_ns: slices.duration_ns[at] }
}

/// What a stack says about the loop it is in.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    /// The call that the loop made; `NONE` in the loop itself.
    begin: StackId,
    /// Whether a function of a loop is below.
    looped: bool,
}

/// The tasks of every thread of a CPU profile whose samples have an order and that is an event loop: of V8, of the threads that
/// draw, and those whose stacks mostly come from a known loop. Linear in samples, times the depth of long tasks.
pub fn of_samples(active: &Active<'_>, least_ns: i64, least_samples: u64) -> Vec<Tasks> {
    let p = active.profile;
    if !is_ordered(p) {
        return Vec::new();
    }
    let s = &active.session.symbols;
    let name = |row: usize| active.name(active.func(StackId::from_index(row)));
    let mut places: Vec<Place> = Vec::with_capacity(s.stacks.len());
    for row in 0..s.stacks.len() {
        let below = s.stacks.prefix[row].get().map(|b| places[b.index()]);
        let here = StackId::from_index(row);
        let is_loop = LOOPS.iter().any(|l| name(row).ends_with(l));
        places.push(match below {
            _ if is_loop => Place { begin: StackId::NONE, looped: true },
            None if name(row) == "(root)" => Place { begin: StackId::NONE, looped: false },
            None => Place { begin: here, looped: false },
            // asyncio calls the handler by one more function of its own.
            Some(b) if b.begin.get().is_none() && b.looped && name(row) == "_run" => b,
            Some(b) if b.begin.get().is_none() => Place { begin: here, looped: b.looped },
            Some(b) => b,
        });
    }
    let mut busy = vec![false; s.stacks.len()];
    for a in &active.stacks {
        busy[a.stack.index()] = true;
    }
    let v8 = matches!(p.format, "cpuprofile" | "chrome-trace");
    let mut out = Vec::new();
    for (thread, rows) in by_thread(&p.samples) {
        let ui = thread.and_then(|t| p.threads.get(t.index())).is_some_and(|t| is_ui(&t.name));
        let stacks = rows.iter().filter_map(|r| p.samples.stack[*r as usize].get());
        let looped = stacks.filter(|st| places[st.index()].looped).count();
        if !v8 && !ui && looped * 2 < rows.len() {
            continue;
        }
        out.extend(thread_tasks(active, &rows, &places, &busy, least_ns, least_samples).map(|t| Tasks { thread, ..t }));
    }
    out
}

/// What V8 does in the middle of a call, however long; and what it may be seen at for a single sample.
const WITHIN: &str = "(garbage collector)";
const GLIMPSE: &str = "(program)";

fn thread_tasks(active: &Active<'_>, rows: &[u32], places: &[Place], busy: &[bool], least_ns: i64, least_samples: u64) -> Option<Tasks> {
    let p = active.profile;
    let usual = usual_interval(&p.samples, rows);
    let origin = p.samples.time_ns[*rows.first()? as usize];
    let time = |at: usize| p.samples.time_ns[rows[at] as usize];
    let stack = |at: usize| p.samples.stack[rows[at] as usize].get().map(|st| active.without_preemption(st));
    let seen: Vec<Seen> = (0..rows.len())
        .map(|at| match stack(at) {
            Some(st) if active.name(active.func(st)) == WITHIN => Seen::Within,
            Some(st) if active.name(active.func(st)) == GLIMPSE => Seen::Glimpse,
            Some(st) if busy[st.index()] => places[st.index()].begin.get().map_or(Seen::Rest, |begin| {
                // A function is the same wherever in it a sample was taken.
                Seen::Call(active.session.symbols.stacks.prefix[begin.index()], active.func(begin))
            }),
            _ => Seen::Rest,
        })
        .collect();
    // Where rest is recorded, a late sample is a late sample; else the thread may have rested.
    let recorded = seen.contains(&Seen::Rest);
    let limit = if recorded { (least_ns / 2).max(usual.saturating_mul(GAP)) } else { usual.saturating_mul(GAP) }.max(1);
    let mut tasks = Tasks { thread: None, origin, long: Vec::new(), all: 0, rests: recorded };
    let mut at = 0;
    while at < rows.len() {
        let own = seen[at];
        let Seen::Call(..) = own else {
            at += 1;
            continue;
        };
        let (from, mut last, mut glimpses) = (at, at, 0);
        at += 1;
        while at < rows.len() && time(at).saturating_sub(time(at - 1)) <= limit {
            match seen[at] {
                Seen::Call(..) if seen[at] == own => (last, glimpses) = (at, 0),
                Seen::Within => {}
                Seen::Glimpse if glimpses == 0 => glimpses = 1,
                _ => break,
            }
            at += 1;
        }
        tasks.all += 1;
        at = last + 1;
        tasks.rests |= at < rows.len() && time(at).saturating_sub(time(last)) > limit;
        // It ends where the next sample shows something else, or a usual interval after its last one.
        let next = if at < rows.len() { time(at).saturating_sub(time(last)).min(usual) } else { usual };
        let length = time(last).saturating_sub(time(from)).saturating_add(next);
        let samples = (last + 1 - from) as u64;
        if length >= least_ns && samples >= least_samples {
            let (most, part) = deepest(active, (from..=last).filter(|i| matches!(seen[*i], Seen::Call(..))).filter_map(stack));
            tasks.long.push(Task { start: time(from), length, samples, most, most_ns: (length as f64 * part) as i64 });
        }
    }
    tasks.long.sort_by_key(|t| (std::cmp::Reverse(t.length), t.start));
    Some(tasks)
}

/// What a sample shows of a loop.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// Something that the loop called: from where, and what.
    Call(StackId, FuncId),
    /// What interrupts a call without ending it.
    Within,
    /// What may be the loop, or a call that the profiler could not see into.
    Glimpse,
    /// The loop itself, or nothing.
    Rest,
}

/// The deepest path that at least half of these samples share, and the share that has it.
fn deepest(active: &Active<'_>, stacks: impl Iterator<Item = StackId>) -> (StackId, f64) {
    let s = &active.session.symbols;
    let mut left: BTreeMap<StackId, u64> = BTreeMap::new();
    for stack in stacks {
        *left.entry(stack).or_default() += 1;
    }
    let n: u64 = left.values().sum();
    // A stack's row is larger than that of what is below it, so each path is complete when it is taken.
    let mut counts: Vec<(StackId, u64)> = Vec::new();
    while let Some((here, k)) = left.pop_last() {
        counts.push((here, k));
        if let Some(below) = s.stacks.prefix[here.index()].get() {
            *left.entry(below).or_default() += k;
        }
    }
    let depth = |st: &StackId| s.stacks.depth[st.index()];
    let half = counts.iter().filter(|(_, k)| *k * 2 >= n).max_by_key(|(st, k)| (depth(st), *k, std::cmp::Reverse(*st)));
    half.map_or((StackId::NONE, 0.0), |(st, k)| (*st, *k as f64 / n.max(1) as f64))
}
