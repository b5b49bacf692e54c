//! Pauses of the garbage collector in a Java Flight Recorder recording, as slices on a track of their own.

use super::Import;
use super::jfr_bytes::Cursor;
use super::jfr_constants::Constants;
use super::jfr_events::Clock;
use super::jfr_types::{Plan, Slots, Types};
use crate::base::ids::{StackId, ThreadId};
use crate::model::profile::{Profile, SliceTable, Thread, ValueKind, ValueType};
use crate::model::symbols::{FrameKey, FuncKey};
use std::collections::HashMap;

/// Pauses and collections so far.
#[derive(Default)]
pub struct Pauses {
    /// Start, length, number of the collection, name of the phase.
    pauses: Vec<(i64, i64, i64, String)>,
    /// What a collection is called: `G1New (G1 Evacuation Pause)`.
    collections: HashMap<i64, String>,
}

/// How a chunk stores them.
pub struct Reading {
    /// Id of `jdk.GCPhasePause` and its plan.
    pub pause: Option<(i64, Plan)>,
    /// Id of `jdk.GarbageCollection` and its plan.
    pub collection: Option<(i64, Plan)>,
}

impl Reading {
    /// For a chunk of these types.
    pub fn new(types: &Types) -> Reading {
        let plan = |event: &str, wanted: &[&str]| {
            let id = types.id(event)?;
            Some((id, types.plan(id, wanted)?))
        };
        Reading {
            pause: plan("jdk.GCPhasePause", &["startTime", "duration", "gcId", "name"]),
            collection: plan("jdk.GarbageCollection", &["gcId", "name", "cause"]),
        }
    }
}

impl Pauses {
    /// Reads an event from behind its size and type. `Some(true)` for a pause, `Some(false)` for an event that is none of
    /// these; `None` when it is damaged.
    pub fn read(
        &mut self,
        reading: &Reading,
        event: i64,
        bytes: &mut Cursor<'_>,
        slots: &mut Slots,
        clock: Clock,
        constants: &Constants,
    ) -> Option<bool> {
        if let Some((id, plan)) = &reading.pause
            && *id == event
        {
            plan.read(bytes, slots)?;
            let start = clock.moment(slots.number(0).unwrap_or(0));
            let length = clock.span(slots.number(1).unwrap_or(0)).max(0);
            self.pauses.push((start, length, slots.number(2).unwrap_or(-1), constants.text(slots.text(3))));
            return Some(true);
        }
        if let Some((id, plan)) = &reading.collection
            && *id == event
        {
            plan.read(bytes, slots)?;
            let name = |slot: usize| {
                let class = plan.fields[slot].map_or(0, |(class, _)| class);
                slots.number(slot).map_or_else(|| constants.text(slots.text(slot)), |key| constants.name(class, key))
            };
            let (collector, cause) = (name(1), name(2));
            let text = if cause.is_empty() { collector } else { format!("{collector} ({cause})") };
            self.collections.insert(slots.number(0).unwrap_or(-1), text);
        }
        Some(false)
    }

    /// Stores the profile; `false` when there was no pause.
    pub fn finish(mut self, start_ns: i64, duration_ns: i64, import: &mut Import<'_>) -> bool {
        if self.pauses.is_empty() {
            return false;
        }
        self.pauses.sort_by_key(|(start, length, gc, _)| (*start, std::cmp::Reverse(*length), *gc));
        let value = ValueType { name: "pause".to_string(), unit: "nanoseconds".to_string(), kind: ValueKind::WallTime };
        let mut profile = Profile::new(import.source, "jfr", vec![value]);
        profile.name = "jdk.GCPhasePause".to_string();
        (profile.start_ns, profile.duration_ns) = (start_ns, duration_ns);
        profile.threads.push(Thread { name: "GC pauses".to_string(), pid: -1, tid: -1, process: String::new() });
        let mut slices = SliceTable::default();
        for (start, length, gc, phase) in &self.pauses {
            let collection = self.collections.get(gc).filter(|text| !text.is_empty());
            let name = collection.map_or_else(|| phase.clone(), |collection| format!("{phase}: {collection}"));
            let name = import.session.strings.intern(if name.is_empty() { "GC pause" } else { &name });
            let func = import.session.symbols.funcs.intern(FuncKey::named(name));
            let frame = import.session.symbols.frames.intern(FrameKey::of(func));
            let stack = import.session.symbols.stacks.push(StackId::NONE, frame);
            slices.stack.push(stack);
            slices.thread.push(ThreadId(0));
            slices.start_ns.push(*start);
            slices.duration_ns.push(*length);
            slices.depth.push(0);
            profile.samples.stack.push(stack);
            profile.samples.thread.push(ThreadId(0));
            profile.samples.values[0].push(*length);
        }
        profile.slices = Some(slices);
        import.ledger.weigh("jdk.GCPhasePause:pause", "nanoseconds", profile.total(0), true);
        import.session.profiles.push(profile);
        true
    }
}
