//! Events of Java Flight Recorder that become profiles: one profile per kind of event, gathered over all chunks.

use super::Import;
use super::jfr_constants::{Constants, ThreadConstant};
use super::jfr_types::{Plan, Slots, Types, Unit};
use crate::base::ids::{LabelSetId, StackId, StringId, ThreadId};
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use crate::model::profile::{Label, Profile, Thread, ValueKind, ValueType};
use std::collections::HashMap;

const TRUNCATED: DiagnosticCode = DiagnosticCode {
    code: "jfr/truncated-stack",
    level: Level::Notice,
    message: "Stacks are deeper than the recorder was told to keep (option `stackdepth`, async-profiler's `-j`): frames at their root are missing.",
};
const NO_STACK: DiagnosticCode =
    DiagnosticCode { code: "jfr/no-stack", level: Level::Notice, message: "Events without a stack are counted under [no stack]." };

/// A kind of event: how often it occurred, and what each one weighs.
struct Shape {
    event: &'static str,
    thread: &'static str,
    /// The column that counts events.
    count: (&'static str, ValueKind),
    /// Field of the weight, and its column: name, unit, kind.
    weight: Option<(&'static str, &'static str, &'static str, ValueKind)>,
    /// Field with the class that the event is about, kept as label `class`.
    class: &'static str,
}

const fn sampled(event: &'static str) -> Shape {
    Shape { event, thread: "sampledThread", count: ("samples", ValueKind::Samples), weight: None, class: "" }
}
const fn allocated(event: &'static str, field: &'static str, name: &'static str) -> Shape {
    let weight = Some((field, name, "bytes", ValueKind::AllocBytes));
    Shape { event, thread: "eventThread", count: ("samples", ValueKind::Samples), weight, class: "objectClass" }
}
const fn blocked(event: &'static str, class: &'static str) -> Shape {
    let weight = Some(("duration", "delay", "nanoseconds", ValueKind::BlockTime));
    Shape { event, thread: "eventThread", count: ("contentions", ValueKind::BlockCount), weight, class }
}

/// Every kind, in the order in which profiles are shown. JDK: `metadata.xml`; `profiler.*`: async-profiler.
const SHAPES: &[Shape] = &[
    sampled("jdk.ExecutionSample"),
    Shape {
        event: "jdk.CPUTimeSample",
        thread: "eventThread",
        count: ("samples", ValueKind::Samples),
        weight: Some(("samplingPeriod", "cpu", "nanoseconds", ValueKind::CpuTime)),
        class: "",
    },
    Shape {
        event: "profiler.WallClockSample",
        thread: "sampledThread",
        count: ("events", ValueKind::Other),
        weight: Some(("samples", "samples", "count", ValueKind::Samples)),
        class: "",
    },
    sampled("jdk.NativeMethodSample"),
    allocated("jdk.ObjectAllocationInNewTLAB", "tlabSize", "alloc_in_new_tlab_bytes"),
    // Each of them is one object.
    Shape {
        count: ("alloc_outside_tlab_objects", ValueKind::AllocObjects),
        ..allocated("jdk.ObjectAllocationOutsideTLAB", "allocationSize", "alloc_outside_tlab_bytes")
    },
    allocated("jdk.ObjectAllocationSample", "weight", "alloc_space"),
    Shape {
        event: "profiler.LiveObject",
        thread: "eventThread",
        count: ("samples", ValueKind::Samples),
        weight: Some(("allocationSize", "inuse_space", "bytes", ValueKind::InUseBytes)),
        class: "objectClass",
    },
    blocked("jdk.JavaMonitorEnter", "monitorClass"),
    blocked("jdk.ThreadPark", "parkedClass"),
    blocked("jdk.JavaMonitorWait", "monitorClass"),
    blocked("jdk.ThreadSleep", ""),
    blocked("jdk.VirtualThreadPinned", ""),
    blocked("jdk.SocketRead", ""),
    blocked("jdk.SocketWrite", ""),
    blocked("jdk.FileRead", ""),
    blocked("jdk.FileWrite", ""),
];

/// The clock of a chunk.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    /// Nanoseconds since 1970 at the start.
    pub start_ns: i64,
    /// Ticks at the start.
    pub start_ticks: i64,
    /// Ticks per second; not 0.
    pub frequency: i64,
}

impl Clock {
    /// A span of ticks in nanoseconds.
    pub fn span(&self, ticks: i64) -> i64 {
        let ns = i128::from(ticks) * 1_000_000_000 / i128::from(self.frequency.max(1));
        i64::try_from(ns).unwrap_or(if ns < 0 { i64::MIN } else { i64::MAX })
    }
    /// A moment in nanoseconds since 1970.
    pub fn moment(&self, ticks: i64) -> i64 {
        self.start_ns.saturating_add(self.span(ticks.saturating_sub(self.start_ticks)))
    }
    /// A span of a unit in nanoseconds.
    pub fn in_unit(&self, value: i64, unit: Unit) -> i64 {
        match unit {
            Unit::Ticks => self.span(value),
            Unit::Nanoseconds(n) => value.saturating_mul(n),
        }
    }
}

#[derive(Default)]
struct Gathered {
    stack: Vec<StackId>,
    thread: Vec<u32>,
    time_ns: Vec<i64>,
    weight: Vec<i64>,
    labels: Vec<LabelSetId>,
    truncated: u64,
    without_stack: u64,
}

/// Events of all chunks so far.
#[derive(Default)]
pub struct Events {
    kinds: Vec<Gathered>,
    threads: Vec<Thread>,
    thread_rows: HashMap<(String, i64), u32>,
    sets: Vec<Vec<Label>>,
    set_rows: HashMap<Vec<(u32, u32)>, u32>,
    /// Sampling period of `jdk.ExecutionSample` in nanoseconds; 0 if unknown.
    pub period_ns: i64,
    /// Process id; -1 if unknown.
    pub pid: i64,
}

/// How the events of a kind are read in one chunk.
pub struct Reading {
    kind: usize,
    plan: Plan,
    /// Threads of this chunk by their number there.
    known: HashMap<i64, u32>,
}

/// Slots of the plan.
const TIME: usize = 0;
const STACK: usize = 1;
const THREAD: usize = 2;
const WEIGHT: usize = 3;
const CLASS: usize = 4;
const STATE: usize = 5;
const SPAN: usize = 6;

impl Events {
    /// None yet.
    pub fn new() -> Events {
        Events { kinds: SHAPES.iter().map(|_| Gathered::default()).collect(), pid: -1, ..Events::default() }
    }

    /// How a chunk of these types stores the kinds: by the id of the event's class.
    pub fn readings(types: &Types) -> HashMap<i64, Reading> {
        let reading = |(kind, shape): (usize, &Shape)| {
            let weight = shape.weight.map_or("", |(field, ..)| field);
            let id = types.id(shape.event)?;
            let plan = types.plan(id, &["startTime", "stackTrace", shape.thread, weight, shape.class, "state", "spanId"])?;
            Some((id, Reading { kind, plan, known: HashMap::new() }))
        };
        SHAPES.iter().enumerate().filter_map(reading).collect()
    }

    /// Reads one event from behind its size and type. `None` when it is damaged.
    pub fn read(
        &mut self,
        reading: &mut Reading,
        bytes: &mut super::jfr_bytes::Cursor<'_>,
        slots: &mut Slots,
        clock: Clock,
        constants: &mut Constants,
        import: &mut Import<'_>,
    ) -> Option<()> {
        reading.plan.read(bytes, slots)?;
        let fields = &reading.plan.fields;
        let (stack, truncated) = constants.stack(slots.number(STACK).unwrap_or(0), import);
        let weight = match fields[WEIGHT] {
            Some((_, unit)) => {
                let value = slots.number(WEIGHT).unwrap_or(0);
                let time = SHAPES[reading.kind].weight.is_some_and(|(_, _, of, _)| of == "nanoseconds");
                if time { clock.in_unit(value, unit) } else { value }.max(0)
            }
            None => 0,
        };
        let thread = self.thread(slots.number(THREAD).unwrap_or(0), &mut reading.known, constants);
        let mut labels = Vec::new();
        let mut label = |key: &str, text: String, import: &mut Import<'_>| {
            if !text.is_empty() {
                labels.push((import.session.strings.intern(key), import.session.strings.intern(&text)));
            }
        };
        if fields[CLASS].is_some() {
            label("class", constants.class_name(slots.number(CLASS).unwrap_or(0)), import);
        }
        if let Some((class, _)) = fields[STATE] {
            let state = slots.number(STATE).map_or_else(|| constants.text(slots.text(STATE)), |key| constants.name(class, key));
            label("state", state, import);
        }
        if let Some(span) = slots.number(SPAN).filter(|span| *span != 0) {
            label("span_id", format!("{:016x}", span as u64), import);
        }
        let set = self.set(labels);
        let into = &mut self.kinds[reading.kind];
        into.truncated += u64::from(truncated);
        into.without_stack += u64::from(stack.is_none());
        into.stack.push(stack);
        into.thread.push(thread);
        into.time_ns.push(clock.moment(slots.number(TIME).unwrap_or(0)));
        into.weight.push(weight);
        into.labels.push(set);
        Some(())
    }

    fn thread(&mut self, key: i64, known: &mut HashMap<i64, u32>, constants: &Constants) -> u32 {
        if let Some(row) = known.get(&key) {
            return *row;
        }
        let ThreadConstant { name, tid } = constants.thread(key).unwrap_or(ThreadConstant { name: String::new(), tid: -1 });
        let threads = &mut self.threads;
        let row = *self.thread_rows.entry((name.clone(), tid)).or_insert_with(|| {
            threads.push(Thread { name, pid: -1, tid, process: String::new() });
            threads.len() as u32 - 1
        });
        known.insert(key, row);
        row
    }

    fn set(&mut self, labels: Vec<(StringId, StringId)>) -> LabelSetId {
        if labels.is_empty() {
            return LabelSetId::NONE;
        }
        let sets = &mut self.sets;
        let key: Vec<(u32, u32)> = labels.iter().map(|(k, v)| (k.0, v.0)).collect();
        let row = *self.set_rows.entry(key).or_insert_with(|| {
            sets.push(labels.into_iter().map(|(key, text)| Label { key, text, number: 0, unit: StringId::NONE }).collect());
            sets.len() as u32 - 1
        });
        LabelSetId(row)
    }

    /// Stores a profile for every kind that occurred; `false` when none did.
    pub fn finish(mut self, start_ns: i64, duration_ns: i64, import: &mut Import<'_>) -> bool {
        self.threads.iter_mut().for_each(|t| t.pid = self.pid);
        let kinds = std::mem::take(&mut self.kinds);
        let mut any = false;
        for (shape, found) in SHAPES.iter().zip(kinds).filter(|(_, found)| !found.stack.is_empty()) {
            any = true;
            self.store(shape, found, (start_ns, duration_ns), import);
        }
        any
    }

    fn store(&self, shape: &Shape, found: Gathered, (start_ns, duration_ns): (i64, i64), import: &mut Import<'_>) {
        let column = |name: &str, unit: &str, kind| ValueType { name: name.to_string(), unit: unit.to_string(), kind };
        let mut types = vec![column(shape.count.0, "count", shape.count.1)];
        types.extend(shape.weight.map(|(_, name, unit, kind)| column(name, unit, kind)));
        let mut profile = Profile::new(import.source, "jfr", types);
        profile.name = shape.event.to_string();
        profile.default_value = profile.value_types.len() - 1;
        (profile.start_ns, profile.duration_ns) = (start_ns, duration_ns);
        if shape.event == "jdk.ExecutionSample" && self.period_ns > 0 {
            (profile.period, profile.period_unit) = (self.period_ns, "nanoseconds".to_string());
        }
        if found.truncated > 0 {
            import.ledger.diagnostics.report_many(TRUNCATED, found.truncated, At::File, shape.event);
        }
        if found.without_stack > 0 {
            import.ledger.diagnostics.report_many(NO_STACK, found.without_stack, At::File, shape.event);
        }
        // Only the threads and label sets that these events have, in order of appearance.
        let mut rows = vec![u32::MAX; self.threads.len()];
        for thread in found.thread {
            let row = &mut rows[thread as usize];
            if *row == u32::MAX {
                *row = profile.threads.len() as u32;
                profile.threads.push(self.threads[thread as usize].clone());
            }
            profile.samples.thread.push(ThreadId(*row));
        }
        if found.labels.iter().any(|set| !set.is_none()) {
            let mut rows = vec![LabelSetId::NONE; self.sets.len()];
            profile.labels.start.push(0);
            for set in found.labels {
                let Some(at) = set.get() else {
                    profile.samples.labels.push(LabelSetId::NONE);
                    continue;
                };
                if rows[at.index()].is_none() {
                    rows[at.index()] = LabelSetId::from_index(profile.labels.start.len() - 1);
                    profile.labels.labels.extend_from_slice(&self.sets[at.index()]);
                    profile.labels.start.push(profile.labels.labels.len() as u32);
                }
                profile.samples.labels.push(rows[at.index()]);
            }
        }
        let samples = found.stack.len();
        profile.samples.stack = found.stack;
        profile.samples.time_ns = found.time_ns;
        profile.samples.values[0] = vec![1; samples];
        if shape.weight.is_some() {
            profile.samples.values[1] = found.weight;
        }
        for (i, of) in profile.value_types.iter().enumerate() {
            import.ledger.weigh(&format!("{}:{}", shape.event, of.name), &of.unit, profile.total(i), true);
        }
        import.session.profiles.push(profile);
    }
}
