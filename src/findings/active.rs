//! The samples of a profile on which rules for CPU profiles stand: idle ones removed, counted as events.

use super::owner::{Owned, Owner, libraries, owners};
use crate::analysis::categories::{CategorySet, Classifier};
use crate::base::ids::{FuncId, ProfileId, StackId};
use crate::model::Session;
use crate::model::profile::{Profile, ValueKind};
use crate::model::symbols::FUNC_UNSYMBOLIZED;
use std::cell::OnceCell;

/// Functions below this share of the whole are not classified (PROFILES 3: 0.05 %).
const CLASSIFY_SHARE: f64 = 0.0005;

/// Go's signal preemption lands in tight loops and would take their samples: its frames are folded into the caller.
const FOLDED: [&str; 3] = ["runtime.asyncPreempt", "runtime.asyncPreempt2", "runtime.asyncPreempt.abi0"];

/// Samples with one stack, of threads that do the same kind of work.
#[derive(Clone, Copy, Debug)]
pub struct ActiveStack {
    /// The stack, preemption frames removed; never `NONE`.
    pub stack: StackId,
    /// Events.
    pub count: i64,
    /// Weight in the profile's value.
    pub value: i64,
    /// What the thread's name says about all its samples (`gc`, `jit`).
    pub thread: CategorySet,
}

/// The active samples of one profile.
pub struct Active<'a> {
    /// Everything.
    pub session: &'a Session,
    /// Position of the profile.
    pub id: ProfileId,
    /// The profile.
    pub profile: &'a Profile,
    /// The value type in which costs are given.
    pub value: usize,
    /// Stacks, by row.
    pub stacks: Vec<ActiveStack>,
    /// Events that are not idle.
    pub count: i64,
    /// Weight that is not idle.
    pub weight: i64,
    /// Idle events left out.
    pub idle: i64,
    /// Whether counts are events; else they are weights of unknown meaning and no interval holds.
    pub counted: bool,
    /// Active events whose leaf has no symbol.
    pub unknown: i64,
    /// By stack: the function of its topmost frame, canonical. Rules ask for it once per stack, and stacks are many.
    func: Vec<FuncId>,
    class: Vec<CategorySet>,
    leaf_class: Vec<CategorySet>,
    runtimes: Vec<&'static str>,
    /// By function row: a frame of Go's preemption.
    folded: Vec<bool>,
    library: OnceCell<Vec<bool>>,
    owners: OnceCell<Vec<Owned>>,
}

/// Languages that remedies tell apart, by the runtimes of the taxonomy.
const RUNTIMES: [&str; 9] = ["go", "jvm", "v8", "node", "cpython", "dotnet", "ruby", "rust", "cpp"];

/// Whether a profile's name is the event that was counted; others are named by their program, service, thread or file, and
/// their value type says what they measure.
fn names_events(p: &Profile) -> bool {
    matches!(p.format, "perf-script" | "perf-data" | "jfr" | "pmcstat" | "stackprof")
}

/// Whether a profile shows where CPU time goes.
pub fn is_cpu(p: &Profile) -> bool {
    let has = |kinds: &[ValueKind]| p.value_types.iter().any(|v| kinds.contains(&v.kind));
    let other = [
        ValueKind::AllocBytes,
        ValueKind::AllocObjects,
        ValueKind::InUseBytes,
        ValueKind::InUseObjects,
        ValueKind::BlockTime,
        ValueKind::BlockCount,
    ];
    let cpu = has(&[ValueKind::CpuTime, ValueKind::WallTime, ValueKind::Samples, ValueKind::Events]) && !has(&other);
    // A plan of a database has times and no code.
    cpu && p.slices.is_none() && p.format != "pg-explain" && (!names_events(p) || is_cpu_event(&p.name))
}

/// Events that tick with the CPU: of perf; tracepoints and faults do not. Of Java Flight Recorder, the samples of running
/// code; those of native methods mostly wait. Of stackprof, the modes that follow a clock. Profiles without an event name pass.
fn is_cpu_event(name: &str) -> bool {
    if matches!(name, "jdk.ExecutionSample" | "jdk.CPUTimeSample" | "profiler.WallClockSample") {
        return true;
    }
    let base = name
        .trim_end_matches(':')
        .rsplit_once(':')
        .map_or(name, |(head, tail)| if tail.chars().all(|c| "ukhHGpPSDIWeb".contains(c)) { head } else { name });
    base.is_empty() || ["clock", "cycles", "instructions", "cpu", "wall"].iter().any(|word| base.contains(word))
}

/// The CPU profiles of a session: of several events of one file the one with most samples, as `perf report` would open. Of
/// other files that of each service, thread or part.
pub fn cpu_profiles<'a>(session: &'a Session) -> Vec<(ProfileId, &'a Profile)> {
    let mut out: Vec<(ProfileId, &'a Profile)> = Vec::new();
    for (i, p) in session.profiles.iter().enumerate().filter(|(_, p)| is_cpu(p) && !p.samples.is_empty()) {
        let same = |other: &Profile| other.source == p.source && !p.name.is_empty() && names_events(p);
        match out.iter_mut().find(|(_, other)| same(other)) {
            Some(other) if p.samples.len() > other.1.samples.len() => *other = (ProfileId::from_index(i), p),
            Some(_) => {}
            None => out.push((ProfileId::from_index(i), p)),
        }
    }
    out
}

impl<'a> Active<'a> {
    /// Counts the active samples of a profile. Linear in samples and stacks, but for the classification of names.
    pub fn new(session: &'a Session, id: ProfileId, profile: &'a Profile) -> Active<'a> {
        Active::of_threads(session, id, profile, None)
    }

    /// The same of some threads alone, by position.
    pub fn of_threads(session: &'a Session, id: ProfileId, profile: &'a Profile, wanted: Option<&[bool]>) -> Active<'a> {
        let s = &session.symbols;
        let value = shown_value(profile);
        let (mut counts, counted) = counts(profile);
        if let Some(wanted) = wanted {
            let of = |i: usize| profile.samples.thread.get(i).and_then(|t| wanted.get(t.index())).copied().unwrap_or(false);
            for (_, count) in counts.iter_mut().enumerate().filter(|(i, _)| !of(*i)) {
                *count = 0;
            }
        }
        let mut out = Active {
            session,
            id,
            profile,
            value,
            stacks: Vec::new(),
            count: 0,
            weight: 0,
            idle: 0,
            counted,
            unknown: 0,
            func: functions(session),
            class: vec![CategorySet::default(); s.funcs.len()],
            leaf_class: vec![CategorySet::default(); s.funcs.len()],
            runtimes: Vec::new(),
            folded: folded(session),
            library: OnceCell::new(),
            owners: OnceCell::new(),
        };
        out.classify(&counts);
        let wall = profile.value_types[value].kind == ValueKind::WallTime;
        let away: &[&str] = if wall { &["idle", "wait"] } else { &["idle"] };
        // Stacks are many and functions few: names are looked at once per function.
        let idle_func: Vec<bool> = (0..s.funcs.len()).map(|i| out.class_of(FuncId::from_index(i)).any(away)).collect();
        let mut idle = vec![false; s.stacks.len()];
        for row in 0..idle.len() {
            let below = s.stacks.prefix[row].get().is_some_and(|p| idle[p.index()]);
            idle[row] = below || idle_func[s.frames.func[s.stacks.frame[row].index()].index()];
        }
        let threads = out.thread_classes();
        // Threads do few kinds of work: for each kind, counts and weights are added up per stack.
        let mut kinds: Vec<u64> = threads.iter().map(|t| t.0).chain(profile.threads.is_empty().then_some(0)).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let kind_of = |i: usize| profile.samples.thread.get(i).and_then(|t| threads.get(t.index())).copied().unwrap_or_default();
        for &kind in &kinds {
            let idle_thread = CategorySet(kind).has("idle");
            let mut sums: Vec<(i64, i64)> = vec![(0, 0); s.stacks.len()];
            for (i, stack) in profile.samples.stack.iter().enumerate().filter(|(i, _)| counts[*i] > 0) {
                let (Some(stack), thread) = (stack.get(), kind_of(i)) else { continue };
                if thread.0 != kind {
                    continue;
                }
                if idle[stack.index()] || idle_thread {
                    out.idle += counts[i];
                    continue;
                }
                let (count, value) = (counts[i], profile.samples.values[value][i]);
                out.count += count;
                out.weight = out.weight.saturating_add(value);
                let sum = &mut sums[out.without_preemption(stack).index()];
                *sum = (sum.0 + count, sum.1.saturating_add(value));
            }
            let used = sums.iter().enumerate().filter(|(_, (count, _))| *count > 0);
            out.stacks.extend(used.map(|(stack, &(count, value))| ActiveStack {
                stack: StackId::from_index(stack),
                count,
                value,
                thread: CategorySet(kind),
            }));
        }
        if kinds.len() > 1 {
            out.stacks.sort_unstable_by_key(|a| (a.stack, a.thread.0));
        }
        out.unknown = out.stacks.iter().filter(|a| out.is_unknown(out.func(a.stack))).map(|a| a.count).sum();
        out
    }

    /// Classifies the functions of a profile by a value of any kind, without counting active samples: for heap profiles.
    pub fn weighted(session: &'a Session, id: ProfileId, profile: &'a Profile, value: usize) -> Active<'a> {
        let n = session.symbols.funcs.len();
        let mut out = Active {
            session,
            id,
            profile,
            value,
            stacks: Vec::new(),
            count: 0,
            weight: 0,
            idle: 0,
            counted: true,
            unknown: 0,
            func: functions(session),
            class: vec![CategorySet::default(); n],
            leaf_class: vec![CategorySet::default(); n],
            runtimes: Vec::new(),
            folded: folded(session),
            library: OnceCell::new(),
            owners: OnceCell::new(),
        };
        let column = &profile.samples.values[value];
        out.classify(column);
        for (stack, value) in profile.samples.stack.iter().zip(column) {
            if let Some(stack) = stack.get() {
                out.stacks.push(ActiveStack { stack, count: 1, value: *value, thread: CategorySet::default() });
            }
        }
        out
    }

    fn classify(&mut self, counts: &[i64]) {
        let s = &self.session.symbols;
        let mut own = vec![0_i64; s.stacks.len()];
        for (stack, count) in self.profile.samples.stack.iter().zip(counts) {
            if let Some(stack) = stack.get() {
                own[stack.index()] = own[stack.index()].saturating_add((*count).max(0));
            }
        }
        let whole: i64 = own.iter().fold(0, |sum, v| sum.saturating_add(*v));
        let total = crate::analysis::weights::subtree(&s.stacks, &own);
        // Recursive functions are counted more than once, which keeps the limit on the safe side.
        let mut size = vec![0_i64; s.funcs.len()];
        for (row, total) in total.iter().enumerate() {
            let f = s.funcs.canonical[s.frames.func[s.stacks.frame[row].index()].index()].index();
            size[f] = size[f].saturating_add(*total);
        }
        let present = (0..size.len()).filter(|i| size[*i] > 0).map(FuncId::from_index);
        let mut classifier = Classifier::new(self.session, self.profile, present);
        for i in (0..size.len()).filter(|i| size[*i] > 0 && size[*i] as f64 >= CLASSIFY_SHARE * whole as f64) {
            self.class[i] = classifier.of(FuncId::from_index(i));
            self.leaf_class[i] = classifier.leaf(FuncId::from_index(i));
        }
        self.runtimes = RUNTIMES.into_iter().filter(|r| classifier.has_runtime(r)).collect();
        // Heap profiles of Go have no frames of the runtime.
        let go_file = |i: usize| self.session.strings.get(s.funcs.file[i]).ends_with(".go");
        if !self.runtimes.contains(&"go") && (0..size.len()).any(|i| size[i] > 0 && go_file(i)) {
            self.runtimes.push("go");
        }
    }

    fn thread_classes(&self) -> Vec<CategorySet> {
        let classifier = Classifier::new(self.session, self.profile, std::iter::empty());
        self.profile.threads.iter().map(|t| classifier.thread(&t.name)).collect()
    }

    /// The stack without Go's preemption frames on top.
    pub fn without_preemption(&self, stack: StackId) -> StackId {
        let mut at = stack;
        while self.folded[self.func(at).index()]
            && let Some(prefix) = self.session.symbols.stacks.prefix[at.index()].get()
        {
            at = prefix;
        }
        at
    }

    /// For every function whether it is library code.
    pub fn library(&self) -> &[bool] {
        self.library.get_or_init(|| libraries(self))
    }

    /// Who owns the samples of a stack; `None` where everything is library, runtime or kernel, or a stand-in.
    pub fn owner(&self, stack: StackId) -> Option<Owner> {
        let owned = self.owners.get_or_init(|| owners(self))[stack.index()];
        let at = owned.at.get()?;
        Some(Owner { func: self.func(at), at, body: owned.body })
    }

    /// The function of a stack's topmost frame, canonical.
    pub fn func(&self, stack: StackId) -> FuncId {
        self.func[stack.index()]
    }

    /// Display name of a function.
    pub fn name(&self, func: FuncId) -> &'a str {
        self.session.symbols.func_name(&self.session.strings, func)
    }

    /// Categories of a function.
    pub fn class_of(&self, func: FuncId) -> CategorySet {
        self.class[self.session.symbols.funcs.canonical[func.index()].index()]
    }

    /// Categories of a function at a leaf.
    pub fn leaf_class_of(&self, func: FuncId) -> CategorySet {
        self.leaf_class[self.session.symbols.funcs.canonical[func.index()].index()]
    }

    /// Whether a function has no symbol.
    pub fn is_unknown(&self, func: FuncId) -> bool {
        self.session.symbols.funcs.flags[func.index()] & FUNC_UNSYMBOLIZED != 0 || self.name(func) == "[unknown]"
    }

    /// Whether a runtime of the taxonomy (`go`, `jvm`, …) occurs.
    pub fn has_runtime(&self, runtime: &str) -> bool {
        self.runtimes.contains(&runtime)
    }

    /// The runtimes of the taxonomy that occur.
    pub fn runtime_names(&self) -> &[&'static str] {
        &self.runtimes
    }

    /// Name of the value type in which costs are given.
    pub fn value_name(&self) -> &'a str {
        &self.profile.value_types[self.value].name
    }

    /// Unit of the costs.
    pub fn unit(&self) -> &'a str {
        &self.profile.value_types[self.value].unit
    }

    /// Share of active samples whose leaf has no symbol.
    pub fn unknown_share(&self) -> f64 {
        if self.count > 0 { self.unknown as f64 / self.count as f64 } else { 0.0 }
    }
}

fn functions(session: &Session) -> Vec<FuncId> {
    let s = &session.symbols;
    let by_frame: Vec<FuncId> = s.frames.func.iter().map(|func| s.funcs.canonical[func.index()]).collect();
    s.stacks.frame.iter().map(|frame| by_frame[frame.index()]).collect()
}

fn folded(session: &Session) -> Vec<bool> {
    let mut out = vec![false; session.symbols.funcs.len()];
    for name in FOLDED {
        if let Some(func) = session.strings.find(name).and_then(|name| session.symbols.funcs.find_by_name(name)) {
            out[func.index()] = true;
        }
    }
    out
}

/// Time on a CPU if there is a column of it, else the default.
fn shown_value(p: &Profile) -> usize {
    let default = p.default_value.min(p.value_types.len().saturating_sub(1));
    if matches!(p.value_types[default].kind, ValueKind::CpuTime | ValueKind::WallTime) {
        return default;
    }
    p.value_of_kind(ValueKind::CpuTime).or(p.value_of_kind(ValueKind::WallTime)).unwrap_or(default)
}

/// Events per sample, and whether they are known (PROFILES 4.1): the column of counts, else the value over the period,
/// else the value over the greatest common divisor.
pub(super) fn counts(p: &Profile) -> (Vec<i64>, bool) {
    let (mut counts, counted) = raw_counts(p);
    // Numbers whose sums leave the range of integers are no counts; rules add them up in many ways.
    let most = i64::MAX / 64 / counts.len().max(1) as i64;
    let sound = counts.iter().all(|count| (-most..=most).contains(count));
    if !sound {
        counts.iter_mut().for_each(|count| *count = (*count).clamp(-most, most));
    }
    (counts, counted && sound)
}

fn raw_counts(p: &Profile) -> (Vec<i64>, bool) {
    if p.format != "folded"
        && let Some(column) = p.value_of_kind(ValueKind::Samples)
    {
        return (p.samples.values[column].clone(), true);
    }
    let column = &p.samples.values[shown_value(p)];
    if p.period > 0 && p.period_unit == p.value_types[shown_value(p)].unit {
        return (column.iter().map(|v| v.saturating_add(p.period / 2) / p.period).collect(), true);
    }
    // A common divisor is a period only if it is large and many numbers share it; round numbers by hand are counts.
    let divisor = match column.iter().fold(0_i64, |d, v| gcd(d, v.saturating_abs())) {
        d if d >= 1000 && column.len() >= 10 => d,
        _ => 1,
    };
    let counts: Vec<i64> = column.iter().map(|v| v / divisor).collect();
    // Nobody takes a million samples per stack: such numbers are nanoseconds or bytes.
    let mean = counts.iter().fold(0_i64, |sum, v| sum.saturating_add(*v)) / counts.len().max(1) as i64;
    (counts, mean < 1_000_000)
}

fn gcd(a: i64, b: i64) -> i64 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_that_tick_with_the_cpu() {
        for (name, cpu) in [
            ("", true),
            ("cpu-clock", true),
            ("cycles:ppp", true),
            ("cpu_core/cycles/:u", true),
            ("sched:sched_switch", false),
            ("page-faults:u", false),
        ] {
            assert_eq!(is_cpu_event(name), cpu, "{name}");
        }
        assert_eq!([gcd(0, 12), gcd(12, 18), gcd(0, 0)], [12, 6, 0]);
    }
}
