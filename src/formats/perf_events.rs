//! The samples of perf by event, out of `perf script` or perf.data, gathered over all parts of a file; [`Found::finish`] makes
//! the profiles.

use super::Import;
use super::room::Gathered;
use crate::base::ids::{StackId, ThreadId};
use crate::base::pack::{Packer, Unpacker};
use crate::model::branches::{Branch, BranchTable};
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use crate::model::fold::{GivenUp, Groups};
use crate::model::join::Landed;
use crate::model::profile::{Profile, Thread, ValueKind, ValueType};
use crate::model::reduce::report_fold;
use std::collections::HashMap;

const NO_PERIOD: DiagnosticCode = DiagnosticCode {
    code: "perf/no-period",
    level: Level::Notice,
    message: "Samples without a period among samples that have one count with period 1.",
};

const CROWDED: DiagnosticCode = DiagnosticCode {
    code: "perf/too-many-branches",
    level: Level::DataLoss,
    message: "Taken branches beyond four thousand million were left aside.",
};

/// The samples of one event.
#[derive(Default)]
pub struct Event {
    name: String,
    stack: Vec<StackId>,
    thread: Vec<ThreadId>,
    time_ns: Vec<i64>,
    period: Vec<i64>,
    /// How many samples each row stands for; empty as long as that is one each.
    count: Vec<i64>,
    /// Rows are added up and have no time of their own any more.
    folded: bool,
    /// Earliest and latest time, once they are nowhere else.
    span: Option<(i64, i64)>,
    /// Taken branches that were given up.
    unbranched: u64,
    with_time: u64,
    with_period: u64,
    branches: BranchTable,
    /// Branches that the table had no room for.
    crowded: u64,
}

impl Event {
    /// Appends a sample.
    pub fn push(&mut self, stack: StackId, thread: ThreadId, time_ns: Option<i64>, period: Option<i64>) {
        self.stack.push(stack);
        self.thread.push(thread);
        if self.folded {
            self.count.push(1);
            self.span = joined(self.span, time_ns.map(|t| (t, t)));
        } else {
            self.time_ns.push(time_ns.unwrap_or(0));
        }
        self.period.push(period.unwrap_or(1));
        self.with_time += u64::from(time_ns.is_some());
        self.with_period += u64::from(period.is_some());
    }

    /// How many samples.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.stack.len()
    }

    /// How many samples its rows stand for.
    fn samples(&self) -> u64 {
        if self.count.is_empty() { self.stack.len() as u64 } else { self.count.iter().sum::<i64>() as u64 }
    }

    /// The same weights with one row per stack and thread, without times and branches.
    fn folded(&self) -> Event {
        let groups = Groups::by_numbers(self.stack.len(), |row| (self.stack[row].0, self.thread[row].0, 0));
        let ones = vec![1; if self.count.is_empty() { self.stack.len() } else { 0 }];
        Event {
            name: self.name.clone(),
            stack: groups.firsts(&self.stack),
            thread: groups.firsts(&self.thread),
            period: groups.sums(&self.period),
            count: groups.sums(if self.count.is_empty() { &ones } else { &self.count }),
            folded: true,
            span: joined(self.span, self.times()),
            unbranched: self.unbranched + self.branches.len() as u64,
            with_time: self.with_time,
            with_period: self.with_period,
            crowded: self.crowded,
            ..Event::default()
        }
    }

    /// Earliest and latest time, if every sample has one.
    fn times(&self) -> Option<(i64, i64)> {
        let all = self.with_time == self.samples() && self.time_ns.len() == self.stack.len();
        all.then(|| Some((*self.time_ns.iter().min()?, *self.time_ns.iter().max()?))).flatten()
    }

    /// Appends a branch to the last sample; newest first.
    pub fn branch(&mut self, branch: Branch) {
        if self.folded {
            self.unbranched += 1;
            return;
        }
        self.crowded += u64::from(!self.branches.push(self.stack.len().saturating_sub(1), branch));
    }
}

/// Events and threads in order of appearance.
pub struct Found {
    /// Format id for the profiles.
    format: &'static str,
    /// Events.
    pub events: Vec<Event>,
    threads: Vec<Thread>,
    thread_rows: HashMap<(String, i64, i64), u32>,
    /// The thread of the last header: most samples stay on their thread.
    last: Option<ThreadId>,
    /// Samples are added up from now on.
    folding: bool,
}

impl Gathered for Found {
    fn bytes(&self) -> u64 {
        // When they are stored, rows with times get two columns more: the count and the time that they stand for.
        let of = |e: &Event| e.stack.len() * if e.folded { 24 } else { 40 } + e.branches.len() * 13;
        self.events.iter().map(of).sum::<usize>() as u64
    }
    fn fold(&mut self) {
        self.folding = true;
        self.events.iter_mut().for_each(|event| *event = event.folded());
    }
}

/// For `perf script`, whose reader is made without arguments.
impl Default for Found {
    fn default() -> Found {
        Found::new("perf-script")
    }
}

impl Found {
    /// Nothing yet, for a format.
    pub fn new(format: &'static str) -> Found {
        Found { format, events: Vec::new(), threads: Vec::new(), thread_rows: HashMap::new(), last: None, folding: false }
    }

    /// The position of an event.
    pub fn event(&mut self, name: &str) -> usize {
        match self.events.iter().position(|e| e.name == name) {
            Some(at) => at,
            None => {
                self.events.push(Event { name: name.to_string(), folded: self.folding, ..Event::default() });
                self.events.len() - 1
            }
        }
    }

    /// The row of a thread.
    pub fn thread(&mut self, comm: &str, pid: i64, tid: i64) -> ThreadId {
        if let Some(last) = self.last {
            let t = &self.threads[last.index()];
            if t.tid == tid && t.pid == pid && t.name == comm {
                return last;
            }
        }
        let threads = &mut self.threads;
        let row = *self.thread_rows.entry((comm.to_string(), pid, tid)).or_insert_with(|| {
            threads.push(Thread { name: comm.to_string(), pid, tid, process: String::new() });
            threads.len() as u32 - 1
        });
        self.last = Some(ThreadId(row));
        ThreadId(row)
    }

    /// Takes over what the next part found.
    pub fn join(&mut self, next: Found, landed: &Landed) {
        let threads: Vec<ThreadId> = next.threads.iter().map(|t| self.thread(&t.name, t.pid, t.tid)).collect();
        for event in next.events {
            let at = self.event(&event.name);
            let own = &mut self.events[at];
            let event = if own.folded && !event.folded { event.folded() } else { event };
            own.span = joined(own.span, event.span);
            own.unbranched += event.unbranched;
            own.count.extend_from_slice(&event.count);
            for sample in 0..event.stack.len() {
                for b in event.branches.of(sample) {
                    let branch = Branch { from: landed.frame(b.from), to: landed.frame(b.to), ..b };
                    own.crowded += u64::from(!own.branches.push(own.stack.len() + sample, branch));
                }
            }
            own.crowded += event.crowded;
            own.stack.extend(event.stack.iter().map(|s| landed.stack(*s)));
            own.thread.extend(event.thread.iter().map(|t| threads.get(t.0 as usize).copied().unwrap_or(ThreadId::NONE)));
            own.time_ns.extend_from_slice(&event.time_ns);
            own.period.extend_from_slice(&event.period);
            own.with_time += event.with_time;
            own.with_period += event.with_period;
        }
    }

    /// What was found so far, with one row per stack and thread of each event.
    pub fn folded(&self) -> Found {
        let events = self.events.iter().map(Event::folded).collect();
        Found { events, threads: self.threads.clone(), ..Found::new(self.format) }
    }

    /// Stores one profile per event: weights of different events are never summed.
    pub fn finish(self, import: &mut Import<'_>) {
        // The event with most samples is shown first.
        let mut order: Vec<usize> = (0..self.events.len()).collect();
        order.sort_by_key(|&e| (std::cmp::Reverse(self.events[e].samples()), e));
        if order.len() > 1 {
            let names: Vec<&str> = order.iter().map(|&e| self.events[e].name.as_str()).collect();
            import.choose("event", names[0], &names[1..], "Events are never mixed; the one with most samples is shown first.");
        }
        let mut events: Vec<Option<Event>> = self.events.into_iter().map(Some).collect();
        for event in order.into_iter().filter_map(|e| events[e].take()) {
            push_profile(event, &self.threads, self.format, import);
        }
    }

    /// Writes what [`unpack`] reads.
    pub fn pack(&self, out: &mut Packer) {
        out.number(self.threads.len() as u64);
        for t in &self.threads {
            out.text(&t.name);
            out.number(t.pid as u64);
            out.number(t.tid as u64);
        }
        out.number(self.events.len() as u64);
        for e in &self.events {
            out.text(&e.name);
            out.column(&e.stack);
            out.column(&e.thread);
            out.column(&e.time_ns);
            out.column(&e.period);
            out.number(e.with_time);
            out.number(e.with_period);
            e.branches.pack(out);
            out.number(e.crowded);
        }
    }
}

/// From the earlier begin to the later end.
fn joined(a: Option<(i64, i64)>, b: Option<(i64, i64)>) -> Option<(i64, i64)> {
    match (a, b) {
        (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
        (one, other) => one.or(other),
    }
}

/// Reads what [`Found::pack`] wrote.
pub fn unpack(from: &mut Unpacker<'_>, format: &'static str) -> Option<Found> {
    let mut found = Found::new(format);
    for _ in 0..from.number()? {
        let name = from.text()?;
        found.threads.push(Thread { name, pid: from.number()? as i64, tid: from.number()? as i64, process: String::new() });
    }
    for _ in 0..from.number()? {
        found.events.push(Event {
            name: from.text()?,
            stack: from.column()?,
            thread: from.column()?,
            time_ns: from.column()?,
            period: from.column()?,
            with_time: from.number()?,
            with_period: from.number()?,
            branches: BranchTable::unpack(from)?,
            crowded: from.number()?,
            ..Event::default()
        });
    }
    Some(found)
}

/// A sample stands for the time up to the next sample of its thread, unless that is more than this many median intervals away:
/// then for one median interval, as in the flame chart.
const MAX_GAP: i64 = 3;

/// The time that each sample stands for, in nanoseconds. Samples are taken in order of time; the last of a thread stands for a
/// median interval.
fn elapsed(thread: &[ThreadId], time_ns: &[i64], threads: usize) -> Vec<i64> {
    let mut order: Vec<u32> = (0..time_ns.len() as u32).collect();
    order.sort_by_key(|i| (time_ns[*i as usize], *i));
    let mut last = vec![u32::MAX; threads];
    let mut out = vec![-1_i64; time_ns.len()];
    for i in order {
        let slot = &mut last[thread[i as usize].index()];
        if *slot != u32::MAX {
            out[*slot as usize] = time_ns[i as usize].saturating_sub(time_ns[*slot as usize]);
        }
        *slot = i;
    }
    let mut gaps: Vec<i64> = out.iter().copied().filter(|gap| *gap > 0).collect();
    let middle = gaps.len() / 2;
    let median = if gaps.is_empty() { 0 } else { *gaps.select_nth_unstable(middle).1 };
    for gap in &mut out {
        if *gap < 0 || *gap > median.saturating_mul(MAX_GAP) {
            *gap = median;
        }
    }
    out
}

fn push_profile(event: Event, threads: &[Thread], format: &'static str, import: &mut Import<'_>) {
    let samples = event.samples();
    let clock = event.name.split(':').next().is_some_and(|base| matches!(base, "cpu-clock" | "task-clock"));
    let unit = if clock { "nanoseconds" } else { "count" };
    let mut types = vec![ValueType { name: "samples".into(), unit: "count".into(), kind: ValueKind::Samples }];
    let weighted = event.with_period > 0;
    let timed = samples > 0 && event.times().is_some();
    let given_up = GivenUp {
        before: samples,
        after: event.stack.len() as u64,
        times: if event.folded { event.with_time } else { 0 },
        branches: event.unbranched,
        copies: 0,
    };
    if event.folded {
        report_fold(&mut import.ledger, given_up, &event.name);
    }
    if weighted {
        let kind = if clock { ValueKind::CpuTime } else { ValueKind::Events };
        types.push(ValueType { name: "period".into(), unit: unit.into(), kind });
        if event.with_period < samples {
            import.ledger.diagnostics.report_many(NO_PERIOD, samples - event.with_period, At::File, &event.name);
        }
        let others: &[&str] = if timed { &["samples", "time"] } else { &["samples"] };
        import.choose("weight", "period", others, "The file gives the period of each sample: what it stands for.");
    } else {
        let others: &[&str] = if timed { &["time"] } else { &[] };
        import.choose("weight", "samples", others, "The file gives no periods, so every sample counts once.");
    }
    if timed {
        // Elapsed, not spent on a CPU: rules for CPU time must not take it for that.
        types.push(ValueType { name: "time".into(), unit: "nanoseconds".into(), kind: ValueKind::Other });
    }
    let mut profile = Profile::new(import.source, format, types);
    profile.default_value = usize::from(weighted);
    // Only the threads that this event has, in order of appearance.
    let mut rows = vec![u32::MAX; threads.len()];
    for thread in event.thread {
        let row = &mut rows[thread.index()];
        if *row == u32::MAX {
            *row = profile.threads.len() as u32;
            profile.threads.push(threads[thread.index()].clone());
        }
        profile.samples.thread.push(ThreadId(*row));
    }
    if timed {
        let times = elapsed(&profile.samples.thread, &event.time_ns, profile.threads.len());
        let total = times.iter().fold(0_i64, |sum, v| sum.saturating_add(*v));
        import.ledger.weigh(&format!("{}:time", event.name), "nanoseconds", total, true);
        if let Some(column) = profile.samples.values.last_mut() {
            *column = times;
        }
        let (first, last) = (event.time_ns.iter().min().copied().unwrap_or(0), event.time_ns.iter().max().copied().unwrap_or(0));
        profile.duration_ns = last.saturating_sub(first);
        profile.samples.time_ns = event.time_ns;
    }
    if let Some((first, last)) = event.span {
        profile.duration_ns = last.saturating_sub(first);
    }
    profile.branches = event.branches;
    if event.crowded > 0 {
        import.ledger.diagnostics.report_many(CROWDED, event.crowded, At::File, &event.name);
    }
    profile.samples.values[0] = if event.count.is_empty() { vec![1; event.stack.len()] } else { event.count };
    import.ledger.weigh(&format!("{}:samples", event.name), "count", samples as i64, true);
    profile.samples.stack = event.stack;
    if weighted {
        profile.samples.values[1] = event.period;
        import.ledger.weigh(&format!("{}:period", event.name), unit, profile.total(1), true);
    }
    profile.name = event.name;
    import.session.profiles.push(profile);
}
