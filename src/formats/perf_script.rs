//! `perf script` text. One profile per event: weights of different events are never summed.

use super::perf_lines::{Frame, Header, frame, header, old_header, source_line};
use super::{Format, Import, ImportError, Prefix, Sniff};
use crate::base::ids::{FrameId, MappingId, StackId, StringId, ThreadId};
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use crate::model::profile::{Profile, Thread, ValueKind, ValueType};
use crate::model::symbols::{FRAME_INLINED, FUNC_KERNEL, FUNC_UNSYMBOLIZED, FrameKey, FuncKey, NO_ADDRESS};
use std::collections::HashMap;
use std::io::BufRead;

const BAD_LINE: DiagnosticCode = DiagnosticCode {
    code: "perf-script/bad-line",
    level: Level::DataLoss,
    message: "Lines that are neither a sample header nor a stack frame were skipped.",
};
const STRAY: DiagnosticCode = DiagnosticCode {
    code: "perf-script/stray-frame",
    level: Level::DataLoss,
    message: "Stack frames without a sample header before them were skipped.",
};
const REOPENED: DiagnosticCode = DiagnosticCode {
    code: "perf-script/blank-before-stack",
    level: Level::Notice,
    message: "A blank line stands between a sample's header and its stack; the stack was given to that sample.",
};
const NO_STACK: DiagnosticCode =
    DiagnosticCode { code: "perf-script/no-stack", level: Level::Notice, message: "Samples without a stack are counted under [no stack]." };
const LOST: DiagnosticCode =
    DiagnosticCode { code: "perf-script/lost", level: Level::DataLoss, message: "perf itself lost events while recording." };
const BOGUS_ROOT: DiagnosticCode = DiagnosticCode {
    code: "perf-script/bogus-root",
    level: Level::Notice,
    message: "Unwinding ran past the end of these stacks; the unknown frames at the root were cut off.",
};
const NO_PERIOD: DiagnosticCode = DiagnosticCode {
    code: "perf-script/no-period",
    level: Level::Notice,
    message: "Samples without a period among samples that have one count with period 1.",
};

/// The format.
pub struct PerfScript;

impl Format for PerfScript {
    fn id(&self) -> &'static str {
        "perf-script"
    }
    fn name(&self) -> &'static str {
        "perf script text"
    }
    fn extensions(&self) -> &'static [&'static str] {
        &["txt", "perf", "script"]
    }
    fn hint(&self) -> &'static str {
        "Linux perf and simpleperf: `perf record -g COMMAND`, then `perf script > out.txt`."
    }

    fn sniff(&self, prefix: &Prefix<'_>) -> Sniff {
        let text = prefix.text();
        if text.starts_with('{') || text.starts_with('[') {
            return Sniff::No;
        }
        let mut old = None;
        for line in text.lines().take(2000) {
            if header(line).is_some() {
                return Sniff::Certain;
            }
            match old {
                Some(()) if frame(line).is_some_and(|f| f.dso.is_some()) => return Sniff::Likely,
                _ => old = old_header(line).map(|_| ()),
            }
        }
        if text.starts_with("# ========") { Sniff::Possible } else { Sniff::No }
    }

    fn read(&self, input: &mut dyn BufRead, import: &mut Import<'_>) -> Result<(), ImportError> {
        let mut reader = Reader::default();
        let mut line = Vec::new();
        loop {
            line.clear();
            if input.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            reader.number += 1;
            let bytes = trim_end(&line);
            match std::str::from_utf8(bytes) {
                Ok(text) => reader.line(text, import),
                Err(_) => reader.line(&String::from_utf8_lossy(bytes), import),
            }
            if reader.number % 16_384 == 0 {
                import.tick(import.ledger.records_in)?;
            }
        }
        reader.finish(import);
        Ok(())
    }
}

/// Without blanks and line ends on both sides.
pub fn trim(bytes: &[u8]) -> &[u8] {
    bytes.trim_ascii()
}

fn trim_end(bytes: &[u8]) -> &[u8] {
    bytes.trim_ascii_end()
}

/// A sample whose stack is being read.
struct Open {
    event: usize,
    thread: ThreadId,
    time_ns: Option<i64>,
    period: Option<i64>,
    /// A blank line was seen.
    closed: bool,
    line: u64,
}

/// The samples of one event.
struct Event {
    name: String,
    stack: Vec<StackId>,
    thread: Vec<ThreadId>,
    time_ns: Vec<i64>,
    period: Vec<i64>,
    with_time: usize,
    with_period: usize,
}

#[derive(Default)]
struct Reader {
    number: u64,
    in_head: bool,
    open: Option<Open>,
    /// Frames of the open sample, leaf first.
    frames: Vec<FrameId>,
    /// Whether each frame is an unknown address in no binary.
    unknown: Vec<bool>,
    events: Vec<Event>,
    threads: Vec<Thread>,
    thread_rows: HashMap<(String, i64, i64), u32>,
    /// Frame lines seen before: most lines of a recording repeat.
    cache: HashMap<String, (FrameId, bool)>,
}

/// Frame lines that are remembered; beyond it they are parsed each time.
const MAX_CACHE: usize = 1 << 20;

impl Reader {
    fn line(&mut self, line: &str, import: &mut Import<'_>) {
        if line.starts_with("# ========") {
            // The command line of the head may hold raw newlines: everything up to the closing rule is head.
            self.in_head = !self.in_head && self.events.is_empty();
            return;
        }
        if line.starts_with('#') || self.in_head && header(line).is_none() {
            return;
        }
        self.in_head = false;
        if line.trim().is_empty() {
            if let Some(open) = &mut self.open {
                open.closed = true;
            }
            return;
        }
        let indented = line.starts_with([' ', '\t']);
        let stacked = self.open.as_ref().is_some_and(|open| !open.closed);
        if stacked && self.cached(line) {
            return;
        }
        // A frame ends with its binary; a header holds a time stamp. Inside a stack the former is by far the likelier.
        let parsed = frame(line).filter(|f| indented || f.dso.is_some());
        if stacked && let Some(found) = parsed.filter(|f| (f.dso.is_some() || f.inlined) && (indented || header(line).is_none())) {
            self.push_frame(line, found, import);
        } else if let Some(found) = header(line).or_else(|| if parsed.is_none() { old_header(line) } else { None }) {
            self.begin(&found, import);
        } else if line.contains("PERF_RECORD_") {
            if let Some(count) = line.split("PERF_RECORD_LOST lost ").nth(1).and_then(|n| n.split_whitespace().next()?.parse().ok()) {
                import.ledger.diagnostics.report_many(LOST, count, At::Line(self.number), line);
            }
        } else if let Some(found) = parsed {
            self.late_frame(line, found, import);
        } else if self.open.is_some() && indented {
            self.note(line, import);
        } else {
            import.report(BAD_LINE, At::Line(self.number), line);
        }
    }

    fn cached(&mut self, line: &str) -> bool {
        let Some(&(frame, unknown)) = self.cache.get(line) else { return false };
        self.frames.push(frame);
        self.unknown.push(unknown);
        true
    }

    /// A frame behind a blank line, or without its binary.
    fn late_frame(&mut self, line: &str, found: Frame<'_>, import: &mut Import<'_>) {
        match &mut self.open {
            Some(open) if !open.closed => self.push_frame(line, found, import),
            Some(open) if self.frames.is_empty() => {
                open.closed = false;
                import.report(REOPENED, At::Line(self.number), line);
                self.push_frame(line, found, import);
            }
            _ => import.report(STRAY, At::Line(self.number), line),
        }
    }

    /// What `-F +srcline` and `+brstack` print beneath frames.
    fn note(&mut self, line: &str, import: &mut Import<'_>) {
        if let (Some((file, number)), Some(last)) = (source_line(line), self.frames.last_mut()) {
            let session = &mut *import.session;
            let file = session.strings.intern(file);
            let frame = session.symbols.frames.key(last.0);
            let i = frame.func.index();
            let funcs = &mut session.symbols.funcs;
            let key = FuncKey {
                name: funcs.name[i],
                system_name: funcs.system_name[i],
                file,
                mapping: funcs.mapping[i],
                start_line: 0,
                flags: funcs.flags[i],
            };
            let func = funcs.intern(key);
            *last = session.symbols.frames.intern(FrameKey { func, line: number, ..frame });
        } else if !(line.trim().starts_with("0x") || line.trim().starts_with("??") || line.trim().ends_with(']')) {
            import.report(BAD_LINE, At::Line(self.number), line);
        }
    }

    fn begin(&mut self, found: &Header<'_>, import: &mut Import<'_>) {
        self.close(import);
        let event = match self.events.iter().position(|e| e.name == found.event) {
            Some(at) => at,
            None => {
                self.events.push(Event {
                    name: found.event.to_string(),
                    stack: Vec::new(),
                    thread: Vec::new(),
                    time_ns: Vec::new(),
                    period: Vec::new(),
                    with_time: 0,
                    with_period: 0,
                });
                self.events.len() - 1
            }
        };
        let key = (found.comm.to_string(), found.pid, found.tid);
        let threads = &mut self.threads;
        let thread = *self.thread_rows.entry(key).or_insert_with(|| {
            threads.push(Thread { name: found.comm.to_string(), pid: found.pid, tid: found.tid, process: String::new() });
            threads.len() as u32 - 1
        });
        self.open =
            Some(Open { event, thread: ThreadId(thread), time_ns: found.time_ns, period: found.period, closed: false, line: self.number });
        if let Some(single) = frame(found.rest).filter(|f| f.dso.is_some()) {
            let line = found.rest.to_string();
            self.push_frame(&line, single, import);
        }
    }

    fn push_frame(&mut self, line: &str, found: Frame<'_>, import: &mut Import<'_>) {
        let unknown = found.dso.is_none_or(|d| d == "[unknown]") && matches!(found.symbol, "[unknown]" | "") && !found.inlined;
        let frame = intern(&found, import);
        if self.cache.len() < MAX_CACHE {
            self.cache.insert(line.to_string(), (frame, unknown));
        }
        self.frames.push(frame);
        self.unknown.push(unknown);
    }

    fn close(&mut self, import: &mut Import<'_>) {
        let Some(open) = self.open.take() else { return };
        import.ledger.records_in += 1;
        import.ledger.records_kept += 1;
        let known = self.unknown.iter().rposition(|unknown| !unknown).map_or(0, |at| at + 1);
        if known > 0 && known < self.frames.len() {
            import.report(BOGUS_ROOT, At::Line(open.line), "");
            self.frames.truncate(known);
        }
        if self.frames.is_empty() {
            import.report(NO_STACK, At::Line(open.line), "");
            let name = import.session.strings.intern("[no stack]");
            let func = import.session.symbols.funcs.intern(FuncKey { flags: FUNC_UNSYMBOLIZED, ..FuncKey::named(name) });
            self.frames.push(import.session.symbols.frames.intern(FrameKey::of(func)));
        }
        let stacks = &mut import.session.symbols.stacks;
        let stack = self.frames.iter().rev().fold(StackId::NONE, |stack, frame| stacks.push(stack, *frame));
        let event = &mut self.events[open.event];
        event.stack.push(stack);
        event.thread.push(open.thread);
        event.time_ns.push(open.time_ns.unwrap_or(0));
        event.period.push(open.period.unwrap_or(1));
        event.with_time += usize::from(open.time_ns.is_some());
        event.with_period += usize::from(open.period.is_some());
        self.frames.clear();
        self.unknown.clear();
    }

    fn finish(mut self, import: &mut Import<'_>) {
        self.close(import);
        // The event with most samples is shown first.
        let mut order: Vec<usize> = (0..self.events.len()).collect();
        order.sort_by_key(|&e| (std::cmp::Reverse(self.events[e].stack.len()), e));
        if order.len() > 1 {
            let names: Vec<&str> = order.iter().map(|&e| self.events[e].name.as_str()).collect();
            import.choose("event", names[0], &names[1..], "Events are never mixed; the one with most samples is shown first.");
        }
        let mut events: Vec<Option<Event>> = self.events.into_iter().map(Some).collect();
        for event in order.into_iter().filter_map(|e| events[e].take()) {
            push_profile(event, &self.threads, import);
        }
    }
}

fn push_profile(event: Event, threads: &[Thread], import: &mut Import<'_>) {
    let samples = event.stack.len();
    let clock = event.name.split(':').next().is_some_and(|base| matches!(base, "cpu-clock" | "task-clock"));
    let unit = if clock { "nanoseconds" } else { "count" };
    let mut types = vec![ValueType { name: "samples".into(), unit: "count".into(), kind: ValueKind::Samples }];
    let weighted = event.with_period > 0;
    if weighted {
        let kind = if clock { ValueKind::CpuTime } else { ValueKind::Events };
        types.push(ValueType { name: "period".into(), unit: unit.into(), kind });
        if event.with_period < samples {
            import.ledger.diagnostics.report_many(NO_PERIOD, (samples - event.with_period) as u64, At::File, &event.name);
        }
        import.choose("weight", "period", &["samples"], "The file gives the period of each sample: what it stands for.");
    } else {
        import.choose("weight", "samples", &[], "The file gives no periods, so every sample counts once.");
    }
    let mut profile = Profile::new(import.source, "perf-script", types);
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
    if event.with_time == samples && samples > 0 {
        let (first, last) = (event.time_ns.iter().min().copied().unwrap_or(0), event.time_ns.iter().max().copied().unwrap_or(0));
        profile.duration_ns = last - first;
        profile.samples.time_ns = event.time_ns;
    }
    profile.samples.stack = event.stack;
    profile.samples.values[0] = vec![1; samples];
    import.ledger.weigh(&format!("{}:samples", event.name), "count", samples as i64, true);
    if weighted {
        profile.samples.values[1] = event.period;
        import.ledger.weigh(&format!("{}:period", event.name), unit, profile.total(1), true);
    }
    profile.name = event.name;
    import.session.profiles.push(profile);
}

/// The row of a frame. Its identity is binary, symbol and offset: the same place has other addresses in other processes.
fn intern(found: &Frame<'_>, import: &mut Import<'_>) -> FrameId {
    let session = &mut *import.session;
    let known_dso = found.dso.filter(|d| *d != "[unknown]" && !d.is_empty());
    let mapping = match known_dso {
        Some(dso) => {
            let dso = session.strings.intern(dso.trim_end_matches(" (deleted)"));
            session.symbols.mappings.intern(dso, StringId::NONE)
        }
        None => MappingId::NONE,
    };
    let mut flags = if known_dso.is_some_and(is_kernel) { FUNC_KERNEL } else { 0 };
    let (name, system) = if matches!(found.symbol, "[unknown]" | "") {
        flags |= FUNC_UNSYMBOLIZED;
        let base = known_dso.map(|d| d.trim_end_matches(" (deleted)")).map(|d| d.rsplit('/').next().unwrap_or(d));
        let name = base.map_or("[unknown]".to_string(), |b| if b.starts_with('[') { b.to_string() } else { format!("[{b}]") });
        (session.strings.intern(&name), StringId::NONE)
    } else {
        match readable(found.symbol) {
            Some(name) => (session.strings.intern(&name), session.strings.intern(found.symbol)),
            None => (session.strings.intern(found.symbol), StringId::NONE),
        }
    };
    let func = session.symbols.funcs.intern(FuncKey { name, system_name: system, file: StringId::NONE, mapping, start_line: 0, flags });
    let address = if found.offset.is_some() { NO_ADDRESS } else { found.ip };
    let flags = if found.inlined { FRAME_INLINED } else { 0 };
    session.symbols.frames.intern(FrameKey { func, line: 0, address, offset: found.offset.unwrap_or(NO_ADDRESS), flags })
}

/// A name that perf left mangled, or with the hash of Rust's legacy scheme; `None` if it is fine as it is.
fn readable(symbol: &str) -> Option<String> {
    if let Some(name) = super::names::demangle(symbol) {
        return Some(name);
    }
    let (name, hash) = symbol.rsplit_once("::h")?;
    (hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit())).then(|| name.to_string())
}

/// Kernel images and modules; not the pseudo files of user space.
fn is_kernel(dso: &str) -> bool {
    let base = dso.rsplit('/').next().unwrap_or(dso);
    let user = matches!(base, "[vdso]" | "[vsyscall]" | "[stack]" | "[heap]" | "[anon]" | "[unknown]" | "[JIT]");
    base.starts_with("[kernel")
        || base.starts_with("[guest.kernel")
        || base.starts_with("vmlinux")
        || base.contains(".ko")
        || base.starts_with('[') && base.ends_with(']') && !user && !base.starts_with("[JIT") && !base.starts_with("[anon")
}
