//! `perf script` text. One profile per event: weights of different events are never summed.

use super::lines::Lines;
use super::names::Named;
use super::parts::{InParts, Part, PartReader, read_whole};
use super::perf_branches::{End, Entry, branch_stack, parse_end};
use super::perf_events::{self, Found};
use super::perf_lines::{Frame, Header, frame, header, old_header, source_line};
use super::room::Gathered;
use super::{Format, Import, ImportError, Prefix, Sniff};
use crate::base::ids::{FrameId, MappingId, StackId, StringId, ThreadId};
use crate::base::intern::StringTable;
use crate::base::pack::{Packer, Unpacker};
use crate::model::branches::Branch;
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use crate::model::join::Landed;
use crate::model::symbols::{FRAME_INLINED, FUNC_KERNEL, FUNC_UNSYMBOLIZED, FrameKey, FuncKey, NO_ADDRESS};
use std::any::Any;
use std::borrow::Cow;
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
const BAD_BRANCH: DiagnosticCode = DiagnosticCode {
    code: "perf-script/bad-branch",
    level: Level::DataLoss,
    message: "Entries of branch stacks that are cut or damaged were left out.",
};
const LOST: DiagnosticCode =
    DiagnosticCode { code: "perf-script/lost", level: Level::DataLoss, message: "perf itself lost events while recording." };
const BOGUS_ROOT: DiagnosticCode = DiagnosticCode {
    code: "perf-script/bogus-root",
    level: Level::Notice,
    message: "Unwinding ran past the end of these stacks; the unknown frames at the root were cut off.",
};

const ID: &str = "perf-script";

/// The format.
pub struct PerfScript;

impl Format for PerfScript {
    fn id(&self) -> &'static str {
        ID
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
        read_whole(self, input, import)
    }

    fn in_parts(&self) -> Option<&'static dyn InParts> {
        Some(&PerfScript)
    }
}

impl InParts for PerfScript {
    fn context(&self, head: &[u8]) -> Option<String> {
        // The oldest headers have no time stamp and are no safe places to cut.
        let text = Prefix { bytes: head, complete: false }.text();
        text.lines().any(is_boundary).then(String::new)
    }
    fn reader(&self, _: Option<&str>) -> Box<dyn PartReader> {
        Box::new(Reader::default())
    }
    fn unpack(&self, from: &mut Unpacker<'_>) -> Option<Box<dyn PartReader>> {
        perf_events::unpack(from, ID).map(|found| Box::new(Reader { found, ..Reader::default() }) as Box<dyn PartReader>)
    }
}

/// A file may be cut before a sample's header that stands behind a blank line.
fn is_boundary(line: &str) -> bool {
    !line.starts_with([' ', '\t']) && header(line).is_some()
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

#[derive(Default)]
struct Reader {
    number: u64,
    /// Lines read when the progress was told last.
    ticked: u64,
    in_head: bool,
    open: Option<Open>,
    /// Frames of the open sample, leaf first.
    frames: Vec<FrameId>,
    /// Whether each frame is an unknown address in no binary.
    unknown: Vec<bool>,
    found: Found,
    /// Frame lines seen before: most lines of a recording repeat.
    cache: Cache,
    /// Branches of the open sample, newest first.
    branches: Vec<Branch>,
    /// Ends of branches seen before.
    ends: Cache,
    /// Frames of the last sample, root first, and the stacks that they make: neighbours begin alike.
    last: Vec<(FrameId, StackId)>,
}

/// Texts of frame lines that are remembered; beyond it they are parsed each time.
const MAX_CACHE_BYTES: usize = 64 << 20;

/// Frame lines and what they mean.
#[derive(Default)]
struct Cache {
    lines: StringTable,
    meaning: Vec<(FrameId, bool)>,
}

impl Cache {
    fn get(&self, line: &[u8]) -> Option<(FrameId, bool)> {
        self.meaning.get(self.lines.find_bytes(line)?.index()).copied()
    }
    fn insert(&mut self, line: &str, frame: FrameId, unknown: bool) {
        if self.lines.raw().0.len() < MAX_CACHE_BYTES && self.lines.intern(line).index() == self.meaning.len() {
            self.meaning.push((frame, unknown));
        }
    }
}

impl PartReader for Reader {
    fn read(&mut self, input: &mut dyn BufRead, part: &mut Part, import: &mut Import<'_>) -> Result<(), ImportError> {
        let mut lines = Lines::new(input, part.at);
        // The part before ends at the same boundary: behind a blank line that begins behind the cut.
        let mut searching = part.behind;
        let mut blank = false;
        if searching.is_none() {
            part.begin = Some(part.at);
        }
        while let Some((at, line)) = lines.line()? {
            let bytes = trim_end(line);
            // Most lines are frames that were seen before.
            if self.open.as_ref().is_some_and(|open| !open.closed) && self.cached(bytes) {
                self.number += 1;
                continue;
            }
            let text = std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed);
            if let Some(cut) = searching {
                if blank && is_boundary(&text) {
                    part.begin = Some(at);
                    searching = None;
                } else {
                    blank = bytes.is_empty() && at > cut;
                    if at > part.cut {
                        return Ok(());
                    }
                    continue;
                }
            } else if blank && is_boundary(&text) {
                part.end = at;
                break;
            }
            blank = bytes.is_empty() && at > part.cut;
            self.number += 1;
            self.line(&text, import);
            if self.number - self.ticked >= 4096 {
                self.ticked = self.number;
                import.tick_with(import.ledger.records_in, &mut self.found)?;
            }
        }
        part.lines = self.number;
        self.close(import);
        Ok(())
    }

    fn join(&mut self, next: Box<dyn Any>, landed: &Landed, _: &mut Import<'_>) {
        if let Ok(next) = next.downcast::<Reader>() {
            self.found.join(next.found, landed);
        }
    }

    fn finish(&mut self, import: &mut Import<'_>) {
        std::mem::take(&mut self.found).finish(import);
    }

    fn preview(&self, import: &mut Import<'_>) {
        self.found.folded().finish(import);
    }

    fn gathered(&mut self) -> &mut dyn Gathered {
        &mut self.found
    }

    fn pack(&self, out: &mut Packer) {
        self.found.pack(out);
    }
}

impl Reader {
    fn line(&mut self, line: &str, import: &mut Import<'_>) {
        if line.starts_with("# ========") {
            // The command line of the head may hold raw newlines: everything up to the closing rule is head.
            self.in_head = !self.in_head && self.found.events.is_empty();
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
        if stacked && self.cached(line.as_bytes()) {
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

    fn cached(&mut self, line: &[u8]) -> bool {
        let Some((frame, unknown)) = self.cache.get(line) else { return false };
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
                full_name: funcs.full_name[i],
                system_name: funcs.system_name[i],
                file,
                mapping: funcs.mapping[i],
                start_line: 0,
                flags: funcs.flags[i],
            };
            let func = funcs.intern(key);
            *last = session.symbols.frames.intern(FrameKey { func, line: number, ..frame });
        } else if let Some((entries, bad)) = branch_stack(line) {
            self.push_branches(&entries, bad, line, import);
        } else if !(line.trim().starts_with("0x") || line.trim().starts_with("??") || line.trim().ends_with(']')) {
            import.report(BAD_LINE, At::Line(self.number), line);
        }
    }

    fn begin(&mut self, found: &Header<'_>, import: &mut Import<'_>) {
        self.close(import);
        let event = self.found.event(found.event);
        let thread = self.found.thread(found.comm, found.pid, found.tid);
        self.open = Some(Open { event, thread, time_ns: found.time_ns, period: found.period, closed: false, line: self.number });
        // A frame, a branch stack, or both on the header's line.
        let rest = found.rest;
        let (place, branches) = rest.split_once(") 0x").map_or((rest, ""), |(place, _)| rest.split_at(place.len() + 1));
        if let Some((entries, bad)) = branch_stack(if branches.is_empty() { rest } else { branches }) {
            self.push_branches(&entries, bad, rest, import);
        }
        if let Some(single) = frame(place).filter(|f| f.dso.is_some()) {
            let line = place.to_string();
            self.push_frame(&line, single, import);
        }
    }

    fn push_branches(&mut self, entries: &[Entry<'_>], bad: u64, line: &str, import: &mut Import<'_>) {
        if bad > 0 {
            import.ledger.diagnostics.report_many(BAD_BRANCH, bad, At::Line(self.number), line);
        }
        for entry in entries {
            let (from, to) = (self.branch_end(entry.from, import), self.branch_end(entry.to, import));
            self.branches.push(Branch { from, to, flags: entry.flags, kind: entry.kind, cycles: entry.cycles });
        }
    }

    /// The frame of a branch's end: most repeat.
    fn branch_end(&mut self, text: &str, import: &mut Import<'_>) -> FrameId {
        if let Some((frame, _)) = self.ends.get(text.as_bytes()) {
            return frame;
        }
        let end = parse_end(text).unwrap_or(End { symbol: "", at: 0, dso: None });
        let offset = (!end.symbol.is_empty()).then_some(end.at);
        let frame = intern(&Frame { ip: end.at, symbol: end.symbol, offset, dso: end.dso, inlined: false }, import);
        self.ends.insert(text, frame, false);
        frame
    }

    fn push_frame(&mut self, line: &str, found: Frame<'_>, import: &mut Import<'_>) {
        let unknown = found.dso.is_none_or(|d| d == "[unknown]") && matches!(found.symbol, "[unknown]" | "") && !found.inlined;
        let frame = intern(&found, import);
        self.cache.insert(line, frame, unknown);
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
        let same = self.frames.iter().rev().zip(&self.last).take_while(|(frame, (last, _))| *frame == last).count();
        self.last.truncate(same);
        let mut stack = self.last.last().map_or(StackId::NONE, |(_, stack)| *stack);
        for frame in self.frames.iter().rev().skip(same) {
            stack = stacks.push(stack, *frame);
            self.last.push((*frame, stack));
        }
        let event = &mut self.found.events[open.event];
        event.push(stack, open.thread, open.time_ns, open.period);
        for branch in self.branches.drain(..) {
            event.branch(branch);
        }
        self.frames.clear();
        self.unknown.clear();
    }
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
    let (name, full_name, system_name) = if matches!(found.symbol, "[unknown]" | "") {
        flags |= FUNC_UNSYMBOLIZED;
        let base = known_dso.map(|d| d.trim_end_matches(" (deleted)")).map(|d| d.rsplit('/').next().unwrap_or(d));
        let name = base.map_or("[unknown]".to_string(), |b| if b.starts_with('[') { b.to_string() } else { format!("[{b}]") });
        (session.strings.intern(&name), StringId::NONE, StringId::NONE)
    } else {
        let Named { name, full, system } = super::names::of_symbol(found.symbol);
        let full = full.map_or(StringId::NONE, |full| session.strings.intern(&full));
        let system = if system { session.strings.intern(found.symbol) } else { StringId::NONE };
        (session.strings.intern(&name), full, system)
    };
    let key = FuncKey { full_name, system_name, mapping, flags, ..FuncKey::named(name) };
    let func = session.symbols.funcs.intern(key);
    let address = if found.offset.is_some() { NO_ADDRESS } else { found.ip };
    let flags = if found.inlined { FRAME_INLINED } else { 0 };
    session.symbols.frames.intern(FrameKey { func, line: 0, address, offset: found.offset.unwrap_or(NO_ADDRESS), flags })
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
