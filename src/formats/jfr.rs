//! Java Flight Recorder (`.jfr`, version 2: OpenJDK 8u262 and later, async-profiler, GraalVM): a file is a row of chunks, each
//! with its own types, constants and clock. The layout is that of the JDK's `jdk.jfr.internal.consumer` and of JMC's parser.
//! A chunk is held while it is read, because the constants stand behind the events that refer to them.

use super::archive::fill;
use super::jfr_bytes::{Cursor, Text};
use super::jfr_constants::Constants;
use super::jfr_events::{Clock, Events};
use super::jfr_pauses::{self, Pauses};
use super::jfr_types::{Slots, Types};
use super::{Format, Import, ImportError, Prefix, Sniff};
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use std::collections::BTreeMap;
use std::io::{BufRead, Read};

const NAME: &str = "Java Flight Recorder";
const CUT: DiagnosticCode = DiagnosticCode {
    code: "jfr/cut",
    level: Level::DataLoss,
    message: "A chunk of the recording is cut or damaged; the events before the place were read.",
};
const LIVE: DiagnosticCode = DiagnosticCode {
    code: "jfr/unfinished",
    level: Level::Notice,
    message: "The recording was copied while it ran: its last chunk has no end, and was read as far as it was written.",
};
const NO_TYPES: DiagnosticCode = DiagnosticCode {
    code: "jfr/no-metadata",
    level: Level::DataLoss,
    message: "A chunk lacks the description of its events, which stands at its end: nothing of it can be read.",
};
const BAD_CONSTANTS: DiagnosticCode = DiagnosticCode {
    code: "jfr/bad-constants",
    level: Level::DataLoss,
    message: "Constants (stacks, methods, threads) are damaged; events that refer to them lack their stack.",
};
const BAD_EVENT: DiagnosticCode =
    DiagnosticCode { code: "jfr/bad-event", level: Level::DataLoss, message: "Events that do not fit their description were dropped." };
const OTHER: DiagnosticCode = DiagnosticCode {
    code: "jfr/other-events",
    level: Level::Info,
    message: "Events that are neither samples, allocations, waiting nor pauses are not shown.",
};

const HEADER: usize = 68;
/// A larger chunk is not held. The JDK's own default is 12 MB, async-profiler's 100 MB.
const MAX_CHUNK: u64 = 1 << 30;
/// Classes of the events that describe the others.
const METADATA: i64 = 0;
const CHECKPOINT: i64 = 1;

/// The format.
pub struct Jfr;

impl Format for Jfr {
    fn id(&self) -> &'static str {
        "jfr"
    }
    fn name(&self) -> &'static str {
        NAME
    }
    fn extensions(&self) -> &'static [&'static str] {
        &["jfr"]
    }
    fn hint(&self) -> &'static str {
        "The JDK and async-profiler write it: `java -XX:StartFlightRecording=filename=app.jfr,settings=profile …`, `jcmd PID JFR.dump`, `asprof -d 30 -f app.jfr PID`."
    }
    fn sniff(&self, prefix: &Prefix<'_>) -> Sniff {
        if prefix.bytes.starts_with(b"FLR\0") { Sniff::Certain } else { Sniff::No }
    }

    fn read(&self, input: &mut dyn BufRead, import: &mut Import<'_>) -> Result<(), ImportError> {
        let mut recording = Recording { events: Events::new(), ..Recording::default() };
        let end = recording.chunks(input, import);
        if end == Err(ImportError::Stopped) {
            return end;
        }
        let stored = recording.store(import);
        end?;
        let lost = import.ledger.diagnostics.worst() >= Some(Level::DataLoss);
        if stored || lost {
            return Ok(());
        }
        Err(ImportError::Unsupported(
            "it is a Flight Recorder recording without samples, allocations, waiting and pauses; record with `settings=profile`, or with async-profiler, and open that."
                .to_string(),
        ))
    }
}

#[derive(Default)]
struct Recording {
    events: Events,
    pauses: Pauses,
    /// Events that are not shown, by name.
    others: BTreeMap<String, u64>,
    /// Begin and end since 1970.
    span_ns: Option<(i64, i64)>,
}

impl Recording {
    fn chunks(&mut self, input: &mut dyn BufRead, import: &mut Import<'_>) -> Result<(), ImportError> {
        let mut base = 0_u64;
        let mut chunk = Vec::new();
        loop {
            let mut header = [0; HEADER];
            let n = fill(input, &mut header)?;
            if n == 0 {
                return Ok(());
            }
            if n < HEADER || !header.starts_with(b"FLR\0") {
                import.report(CUT, At::Byte(base), "there is no whole chunk header");
                return Ok(());
            }
            let word = |at: usize| header[at..at + 8].iter().fold(0_i64, |value, b| value << 8 | i64::from(*b));
            if u16::from_be_bytes([header[4], header[5]]) < 2 {
                return Err(ImportError::Unsupported(
                    "it is a Flight Recorder recording of Oracle's JDK 7 or 8; open it in JDK Mission Control, or record with a later JDK."
                        .to_string(),
                ));
            }
            let size = u64::try_from(word(8)).unwrap_or(0);
            if size > MAX_CHUNK {
                return Err(ImportError::TooLarge(format!(
                    "it has a chunk of {size} bytes, which is more than is held at once ({MAX_CHUNK}); record with a smaller `maxchunksize` \
                     (async-profiler: `--chunksize`)."
                )));
            }
            let live = size <= HEADER as u64;
            let body = if live { MAX_CHUNK } else { size - HEADER as u64 };
            chunk.clear();
            chunk.extend_from_slice(&header);
            input.take(body).read_to_end(&mut chunk)?;
            if live {
                import.report(LIVE, At::Byte(base), "");
            } else if (chunk.len() as u64) < size {
                import.report(CUT, At::Byte(base + chunk.len() as u64), "the file ends inside a chunk");
            }
            let clock = Clock { start_ns: word(32), start_ticks: word(48), frequency: word(56).max(1) };
            let end = clock.start_ns.saturating_add(word(40).max(0));
            let (first, last) = self.span_ns.unwrap_or((clock.start_ns, end));
            self.span_ns = Some((first.min(clock.start_ns), last.max(end)));
            self.chunk(&chunk, base, clock, header[67] & 1 != 0, import)?;
            base += chunk.len() as u64;
            import.tick(import.ledger.records_in)?;
        }
    }

    /// Reads a chunk: first its types, then all constants, then the events.
    fn chunk(&mut self, bytes: &[u8], base: u64, clock: Clock, compressed: bool, import: &mut Import<'_>) -> Result<(), ImportError> {
        let (mut metadata, mut checkpoints) = (None, Vec::new());
        let broken = walk(bytes, compressed, |event, cursor| match event {
            METADATA => metadata = Some(cursor),
            CHECKPOINT => checkpoints.push(cursor),
            _ => {}
        });
        if let Some(at) = broken {
            import.report(CUT, At::Byte(base + at as u64), "an event's size leads out of its chunk");
        }
        let Some(types) = metadata.and_then(|mut cursor| Types::read(&mut cursor)) else {
            import.report(NO_TYPES, At::Byte(base), &format!("{} bytes", bytes.len()));
            return Ok(());
        };
        let mut constants = Constants::new(&types);
        for mut cursor in checkpoints {
            let at = base + cursor.position() as u64;
            if constants.read(&types, &mut cursor).is_none() {
                import.report(BAD_CONSTANTS, At::Byte(at), "");
            }
        }
        let mut readings = Events::readings(&types);
        let pauses = jfr_pauses::Reading::new(&types);
        let settings = Settings::new(&types);
        let mut slots = Slots::default();
        let mut stopped = Ok(());
        walk(bytes, compressed, |event, mut cursor| {
            if stopped.is_err() || matches!(event, METADATA | CHECKPOINT) {
                return;
            }
            let at = base + cursor.position() as u64;
            let read = if let Some(reading) = readings.get_mut(&event) {
                import.ledger.records_in += 1;
                let read = self.events.read(reading, &mut cursor, &mut slots, clock, &mut constants, import);
                import.ledger.records_kept += u64::from(read.is_some());
                read
            } else {
                let read = self.pauses.read(&pauses, event, &mut cursor, &mut slots, clock, &constants);
                let pause = read == Some(true) || read.is_none();
                import.ledger.records_in += u64::from(pause);
                import.ledger.records_kept += u64::from(read == Some(true));
                if !pause {
                    settings.read(event, &mut cursor, &mut slots, &constants, &mut self.events);
                    *self.others.entry(types.name(event).to_string()).or_default() += 1;
                }
                read.map(|_| ())
            };
            if read.is_none() {
                import.report(BAD_EVENT, At::Byte(at), types.name(event));
            }
            if import.ledger.records_in.is_multiple_of(4096) {
                stopped = import.tick(import.ledger.records_in);
            }
        });
        stopped
    }

    fn store(self, import: &mut Import<'_>) -> bool {
        for (name, count) in &self.others {
            import.ledger.diagnostics.report_many(OTHER, *count, At::File, &format!("{count} × {name}"));
        }
        let (first, last) = self.span_ns.unwrap_or_default();
        let events = self.events.finish(first, last.saturating_sub(first), import);
        let pauses = self.pauses.finish(first, last.saturating_sub(first), import);
        events || pauses
    }
}

/// Goes through the events of a chunk: class, and a cursor behind it that ends with the event. Gives the place where sizes stop
/// making sense.
fn walk<'a>(bytes: &'a [u8], compressed: bool, mut each: impl FnMut(i64, Cursor<'a>)) -> Option<usize> {
    let mut at = HEADER;
    while at < bytes.len() {
        let mut cursor = Cursor::new(bytes, at, compressed);
        let size = cursor.int().and_then(|size| usize::try_from(size).ok()).unwrap_or(0);
        let end = at.saturating_add(size);
        let class = cursor.long();
        let Some(class) = class.filter(|_| cursor.position() <= end && end <= bytes.len()) else { return Some(at) };
        each(class, Cursor::new(&bytes[..end], cursor.position(), compressed));
        at = end;
    }
    None
}

/// Events that tell about the recording itself.
struct Settings {
    setting: Option<(i64, super::jfr_types::Plan)>,
    process: Option<(i64, super::jfr_types::Plan)>,
    sample: i64,
}

impl Settings {
    fn new(types: &Types) -> Settings {
        let plan = |event: &str, wanted: &[&str]| {
            let id = types.id(event)?;
            Some((id, types.plan(id, wanted)?))
        };
        Settings {
            setting: plan("jdk.ActiveSetting", &["id", "name", "value"]),
            process: plan("jdk.JVMInformation", &["pid"]),
            sample: types.id("jdk.ExecutionSample").unwrap_or(i64::MIN),
        }
    }

    fn read(&self, event: i64, cursor: &mut Cursor<'_>, slots: &mut Slots, constants: &Constants, events: &mut Events) {
        if let Some((id, plan)) = &self.setting
            && *id == event
            && plan.read(cursor, slots).is_some()
        {
            let text = |slot: usize| constants.text(slots.text(slot).filter(|t| **t != Text::Null));
            match text(1).as_str() {
                "period" if slots.number(0) == Some(self.sample) => events.period_ns = period(&text(2)).unwrap_or(events.period_ns),
                // async-profiler tells nanoseconds.
                "interval" => events.period_ns = text(2).parse().ok().filter(|n| *n > 0).unwrap_or(events.period_ns),
                _ => {}
            }
        }
        if let Some((id, plan)) = &self.process
            && *id == event
            && plan.read(cursor, slots).is_some()
        {
            events.pid = slots.number(0).filter(|pid| *pid > 0).unwrap_or(events.pid);
        }
    }
}

/// `20 ms` in nanoseconds.
fn period(text: &str) -> Option<i64> {
    let (number, unit) = text.split_once(' ')?;
    let unit = match unit {
        "ns" => 1,
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_and_clocks() {
        assert_eq!((period("20 ms"), period("1 s"), period("everyChunk")), (Some(20_000_000), Some(1_000_000_000), None));
        let clock = Clock { start_ns: 1_000, start_ticks: 50, frequency: 500_000_000 };
        assert_eq!((clock.moment(150), clock.span(5)), (1_200, 10));
    }
}
