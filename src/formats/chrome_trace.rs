//! Chrome Trace Event JSON (the Trace Event Format document; behaviour of perfetto and catapult where it is silent):
//! object form, array form, and arrays that were never closed.

use super::chrome_async::{self, Act, Key};
use super::chrome_event::Event;
use super::chrome_profiles::{Held, Profiles, id_text};
use super::chrome_slices::Slices;
use super::json::{Broken, Json, Scalar, Stop, outline};
use super::json_cut::Mark;
use super::json_mend::record;
use super::parts::{InParts, Part, PartReader, read_whole};
use super::room::Gathered;
use super::span_sink::CUT;
use super::{Format, Import, ImportError, Prefix, Sniff};
use crate::base::ids::StringId;
use crate::base::pack::{Packer, Unpacker};
use crate::model::TimelineCounts;
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use crate::model::join::Landed;
use serde::{Deserialize, Serialize};
use std::any::Any;
use std::io::BufRead;

const NAME: &str = "Chrome Trace Event JSON";
const UNCLOSED: DiagnosticCode = DiagnosticCode {
    code: "chrome-trace/unclosed-array",
    level: Level::Notice,
    message: "The array of events is not closed, which the format allows; every complete event was read.",
};
const BAD_EVENT: DiagnosticCode = DiagnosticCode {
    code: "chrome-trace/bad-event",
    level: Level::DataLoss,
    message: "Events without a phase, without a time or not readable as JSON were skipped.",
};
const NO_DURATION: DiagnosticCode = DiagnosticCode {
    code: "chrome-trace/no-duration",
    level: Level::Notice,
    message: "Complete events without a duration count as having none.",
};
const NOT_DRAWN: DiagnosticCode = DiagnosticCode {
    code: "chrome-trace/not-drawn",
    level: Level::Info,
    message: "Object, memory and context events are counted but have no place in the flame chart.",
};
const NO_ID: DiagnosticCode = DiagnosticCode {
    code: "chrome-trace/async-without-id",
    level: Level::Notice,
    message: "Asynchronous events without an id, which the format demands, belong to those of their thread.",
};

/// The format.
pub struct ChromeTrace;

impl Format for ChromeTrace {
    fn id(&self) -> &'static str {
        "chrome-trace"
    }
    fn name(&self) -> &'static str {
        NAME
    }
    fn extensions(&self) -> &'static [&'static str] {
        &["json", "trace"]
    }
    fn hint(&self) -> &'static str {
        "Chrome DevTools (Performance, \u{201c}Save profile\u{201d}), about:tracing, Bazel `--profile`, clang `-ftime-trace`, PyTorch and viztracer write it."
    }
    fn sniff(&self, prefix: &Prefix<'_>) -> Sniff {
        let Some(o) = outline(prefix.bytes) else { return Sniff::No };
        let text = prefix.text();
        let events = text.contains("\"ph\"");
        match o.first {
            b'{' if o.has(&["traceEvents"]) => Sniff::Certain,
            b'[' if o.has(&["ph"]) && !o.nested => Sniff::Certain,
            b'[' if !o.nested && events && !o.has(&["traceId", "resourceSpans", "traceID"]) => Sniff::Possible,
            _ => Sniff::No,
        }
    }
    fn read(&self, input: &mut dyn BufRead, import: &mut Import<'_>) -> Result<(), ImportError> {
        read_whole(self, input, import)
    }
    fn in_parts(&self) -> Option<&'static dyn InParts> {
        Some(&ChromeTrace)
    }
}

/// What a part has to know: whether the array of events stands in an object, and what events begin with.
#[derive(Default, Deserialize, Serialize)]
struct Context {
    object: bool,
    mark: Mark,
}

impl InParts for ChromeTrace {
    fn context(&self, head: &[u8]) -> Option<String> {
        let mut bytes = head;
        let mut json = Json::new(&mut bytes);
        let object = json.eat(b'{').ok()?;
        if object {
            let mut key = String::new();
            while json.next_key(&mut key).ok()? && key != "traceEvents" {
                json.skip().ok()?;
            }
        }
        if !json.eat(b'[').ok()? {
            return None;
        }
        let mark = Mark::learn(&mut json, false)?;
        serde_json::to_string(&Context { object, mark }).ok()
    }
    fn reader(&self, context: Option<&str>) -> Box<dyn PartReader> {
        let known = context.and_then(|c| serde_json::from_str(c).ok()).unwrap_or_default();
        Box::new(Reader { known, ..Reader::default() })
    }
    fn unpack(&self, from: &mut Unpacker<'_>) -> Option<Box<dyn PartReader>> {
        let counts = TimelineCounts {
            instants: from.number()?,
            counters: from.number()?,
            flows: from.number()?,
            asyncs: from.number()?,
            ..TimelineCounts::default()
        };
        let slices = Slices::unpack(from)?;
        Some(Box::new(Reader { counts, slices, profiles: Profiles::unpack(from)?, ..Reader::default() }))
    }
}

#[derive(Default)]
struct Reader {
    known: Context,
    part: Part,
    key: String,
    raw: Vec<u8>,
    spare: Vec<u8>,
    counts: TimelineCounts,
    slices: Slices,
    profiles: Profiles,
    /// The file may end here without being damaged.
    in_array: bool,
    /// The part has ended at a boundary.
    ended: bool,
}

impl PartReader for Reader {
    fn read(&mut self, input: &mut dyn BufRead, part: &mut Part, import: &mut Import<'_>) -> Result<(), ImportError> {
        let mut json = Json::at(input, part.at);
        self.part = *part;
        let end = self.part(&mut json, import);
        *part = self.part;
        match end {
            Ok(()) => Ok(()),
            Err(Stop::Import(e)) => Err(e),
            Err(Stop::Broken(Broken::End)) if self.in_array => {
                import.report(UNCLOSED, At::Byte(json.position()), "");
                Ok(())
            }
            Err(Stop::Broken(Broken::Io(reason))) => Err(ImportError::Io(reason)),
            // What a later part finds unreadable, its predecessors have gone before.
            Err(Stop::Broken(broken)) if import.ledger.records_in > 0 || part.between() => {
                import.report(CUT, At::Byte(json.position()), &broken.to_string());
                Ok(())
            }
            Err(Stop::Broken(broken)) => Err(broken.into_error(NAME)),
        }
    }

    fn join(&mut self, next: Box<dyn Any>, landed: &Landed, _: &mut Import<'_>) {
        let Ok(next) = next.downcast::<Reader>() else { return };
        self.counts.instants += next.counts.instants;
        self.counts.counters += next.counts.counters;
        self.counts.flows += next.counts.flows;
        self.counts.asyncs += next.counts.asyncs;
        self.slices.join(next.slices, landed);
        self.profiles.join(&next.profiles);
    }

    fn finish(&mut self, import: &mut Import<'_>) {
        // What was read before a break is shown all the same.
        let names = self.slices.thread_names();
        import.timeline = Some(self.slices.finish(self.counts, import));
        self.profiles.finish(&mut self.slices, &names, import);
    }

    fn preview(&self, import: &mut Import<'_>) {
        // Slices lie in no order of time: a chart of some of them would have holes that are none.
        self.slices.synchronous().finish(self.counts, import);
    }

    fn gathered(&mut self) -> &mut dyn Gathered {
        &mut self.slices
    }

    fn makes_stacks(&self) -> bool {
        true
    }

    fn pack(&self, out: &mut Packer) {
        out.number(self.counts.instants);
        out.number(self.counts.counters);
        out.number(self.counts.flows);
        out.number(self.counts.asyncs);
        self.slices.pack(out);
        self.profiles.pack(out);
    }
}

impl Reader {
    fn part(&mut self, json: &mut Json<'_>, import: &mut Import<'_>) -> Result<(), Stop> {
        if !self.part.enter(json, &self.known.mark)? {
            return Ok(());
        }
        if self.part.between() {
            self.events(json, import)?;
            return if self.known.object { self.members(json, import) } else { Ok(()) };
        }
        if json.eat(b'[')? {
            return self.events(json, import);
        }
        if !json.eat(b'{')? {
            return Err(Broken::Unexpected(json.position(), "an object or array").into());
        }
        self.members(json, import)
    }

    fn members(&mut self, json: &mut Json<'_>, import: &mut Import<'_>) -> Result<(), Stop> {
        while !self.ended && json.next_key(&mut self.key)? {
            if self.key == "traceEvents" && json.eat(b'[')? {
                self.events(json, import)?;
            } else if self.key == "stackFrames" && json.eat(b'{')? {
                self.stack_frames(json)?;
            } else if self.key == "samples" && json.eat(b'[')? {
                self.samples(json, import)?;
            } else {
                json.skip()?;
            }
        }
        Ok(())
    }

    fn stack_frames(&mut self, json: &mut Json<'_>) -> Result<(), Stop> {
        while json.next_key(&mut self.key)? {
            let at = json.position();
            json.raw(&mut self.raw)?;
            self.profiles.hold(Held::Frame, at, &[self.key.as_bytes(), &[0], &self.raw]);
        }
        Ok(())
    }

    fn samples(&mut self, json: &mut Json<'_>, import: &mut Import<'_>) -> Result<(), Stop> {
        while json.next_item()? {
            let at = json.position();
            json.raw(&mut self.raw)?;
            import.ledger.records_in += 1;
            import.ledger.records_kept += 1;
            self.profiles.hold(Held::Sample, at, &[&self.raw]);
            if import.ledger.records_in.is_multiple_of(8192) {
                import.tick(import.ledger.records_in)?;
            }
        }
        Ok(())
    }

    fn events(&mut self, json: &mut Json<'_>, import: &mut Import<'_>) -> Result<(), Stop> {
        while self.next_event(json, import)? {
            if import.ledger.records_in.is_multiple_of(8192) {
                import.tick_with(import.ledger.records_in, &mut self.slices)?;
            }
        }
        Ok(())
    }

    /// Reads one event; `false` when the array or the part ended. A function of its own, so that a browser optimises it: see
    /// `engine::warm`.
    #[inline(never)]
    fn next_event(&mut self, json: &mut Json<'_>, import: &mut Import<'_>) -> Result<bool, Stop> {
        self.in_array = true;
        if !json.next_item()? {
            self.in_array = false;
            return Ok(false);
        }
        if self.part.ends(json, &self.known.mark)? {
            self.ended = true;
            return Ok(false);
        }
        let at = json.position();
        let quick = json.quick(|quick| {
            let event = Event::quick(quick)?;
            let record = quick.record()?;
            import.ledger.records_in += 1;
            if let Some(kind) = self.event(&event, at, import) {
                self.profiles.hold(kind, at, &[record]);
            }
            Some(())
        });
        if quick.is_none() {
            self.any_event(json, import)?;
        }
        Ok(true)
    }

    /// Reads an event that is not of the usual form.
    fn any_event(&mut self, json: &mut Json<'_>, import: &mut Import<'_>) -> Result<(), Stop> {
        let at = json.position();
        let object = json.peek()? == Some(b'{');
        self.in_array = false;
        let result = json.raw(&mut self.raw);
        import.ledger.records_in += 1;
        if result == Err(Broken::End) {
            import.report(CUT, At::Byte(at), &String::from_utf8_lossy(&self.raw));
            self.in_array = true;
        }
        result?;
        if !object {
            import.report(BAD_EVENT, At::Byte(at), "not an object");
            return Ok(());
        }
        let (raw, mut spare) = (std::mem::take(&mut self.raw), std::mem::take(&mut self.spare));
        spare.clear();
        let held = match record::<Event<'_>>(&raw, &mut spare, at, import) {
            Ok(event) => self.event(&event, at, import),
            Err(e) => {
                import.report(BAD_EVENT, At::Byte(at), &e.to_string());
                None
            }
        };
        if let Some(kind) = held {
            // What had to be mended is kept mended.
            self.profiles.hold(kind, at, &[if spare.is_empty() { &raw } else { &spare }]);
        }
        (self.raw, self.spare) = (raw, spare);
        Ok(())
    }

    /// Takes an event; `Some` when its record is to be kept for later.
    fn event(&mut self, e: &Event<'_>, at: u64, import: &mut Import<'_>) -> Option<Held> {
        let phase = e.ph.as_ref().map_or("", |p| &*p.0);
        let name = e.name.as_ref().map_or("", |n| &*n.0);
        if phase == "M" {
            import.ledger.records_kept += 1;
            self.metadata(name, e);
            return None;
        }
        let Some(ts) = e.ts.0 else {
            // `{}` is a legal filler at the end of arrays.
            let filler = phase.is_empty() && name.is_empty() && e.pid == Scalar::Null;
            if filler {
                import.ledger.records_kept += 1;
            } else {
                import.report(BAD_EVENT, At::Byte(at), &format!("phase {phase:?} without a time: {name}"));
            }
            return None;
        };
        let label = if name.is_empty() { "(unnamed)" } else { name };
        if phase.is_empty() {
            import.report(BAD_EVENT, At::Byte(at), label);
            return None;
        }
        import.ledger.records_kept += 1;
        match phase {
            "X" => {
                let duration = e.dur.0.or(e.tdur.0);
                if duration.is_none_or(|d| d < 0) {
                    import.report(NO_DURATION, At::Byte(at), label);
                }
                let track = self.slices.track(&e.pid, &e.tid);
                self.slices.complete(track, import.session.strings.intern(label), ts, duration.unwrap_or(0).max(0));
            }
            "B" => {
                let track = self.slices.track(&e.pid, &e.tid);
                self.slices.begin(track, import.session.strings.intern(label), ts);
            }
            "E" => {
                let track = self.slices.track(&e.pid, &e.tid);
                let name = if name.is_empty() { StringId::NONE } else { import.session.strings.intern(name) };
                self.slices.end(track, name, ts);
            }
            "b" | "S" => {
                self.counts.asyncs += 1;
                self.asynchronous(Act::Begin, phase, ts, e, at, import);
            }
            "e" | "F" => self.asynchronous(Act::End, phase, ts, e, at, import),
            "n" => self.asynchronous(Act::Instant, phase, ts, e, at, import),
            "T" => self.asynchronous(Act::Into, phase, ts, e, at, import),
            "p" => self.asynchronous(Act::Past, phase, ts, e, at, import),
            "i" | "I" | "R" => {
                self.counts.instants += 1;
                return (name == "CpuProfile").then_some(Held::V8);
            }
            "C" => self.counts.counters += 1,
            "s" | "t" | "f" => self.counts.flows += 1,
            "P" => return Some(if matches!(name, "Profile" | "ProfileChunk" | "CpuProfile") { Held::V8 } else { Held::Sample }),
            _ => import.report(NOT_DRAWN, At::Byte(at), label),
        }
        None
    }

    fn metadata(&mut self, name: &str, e: &Event<'_>) {
        let given = e.args.as_ref().and_then(|a| a.name.as_deref());
        match (name, given) {
            ("thread_name", Some(given)) => {
                let track = self.slices.track(&e.pid, &e.tid);
                self.slices.name_thread(track, given);
            }
            ("process_name", Some(given)) => self.slices.name_process(&e.pid, given),
            _ => {}
        }
    }

    fn asynchronous(&mut self, act: Act, phase: &str, time: i64, e: &Event<'_>, at: u64, import: &mut Import<'_>) {
        let pid = self.slices.number(&e.pid).unwrap_or(0);
        let (mut id, mut local) = id_text(&e.id, &e.id2);
        if e.id == Scalar::Null && e.id2 == Scalar::Null {
            import.report(NO_ID, At::Byte(at), phase);
            id = format!("thread {}", self.slices.number(&e.tid).unwrap_or(pid));
            local = true;
        }
        let strings = &mut import.session.strings;
        let mut text = |text: Option<&str>| text.filter(|t| !t.is_empty()).map_or(StringId::NONE, |t| strings.intern(t));
        let key = Key {
            legacy: matches!(phase, "S" | "T" | "p" | "F"),
            cat: text(e.cat.as_ref().map(|c| &*c.0)),
            scope: text(e.scope.as_ref().map(|s| &*s.0)),
            id: text(Some(&id)),
            pid: if local { pid } else { i64::MIN },
        };
        let step = text(e.args.as_ref().and_then(|a| a.step.as_deref()));
        let name = text(e.name.as_ref().map(|n| &*n.0));
        self.slices.asyncs.add(key, chrome_async::Event { time, act, name, step, pid });
    }
}
