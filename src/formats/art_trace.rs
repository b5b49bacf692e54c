//! Method traces of Android: what `Debug.startMethodTracing`, `am profile start` and Android Studio write. Layout as in
//! `art/runtime/trace.cc` of the Android Open Source Project, calls matched as its `dmtracedump` does it.
//!
//! A text with threads and methods stands before the records (`*version`); a trace that is streamed begins with the records,
//! among which threads and methods are introduced.

use super::art_calls::Calls;
use super::stack_sink::Lines;
use super::stream::append;
use super::{Format, Import, ImportError, Prefix, Sniff};
use crate::base::ids::FrameId;
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use crate::model::symbols::{FrameKey, FuncKey};
use std::collections::HashMap;
use std::io::BufRead;

const CUT: DiagnosticCode = DiagnosticCode {
    code: "art-trace/cut",
    level: Level::DataLoss,
    message: "The trace ends within a record; what stands before it was read.",
};
const BAD_LINE: DiagnosticCode = DiagnosticCode {
    code: "art-trace/bad-line",
    level: Level::DataLoss,
    message: "Lines that should tell of a thread or a method do not; they were skipped.",
};
const OVERFLOW: DiagnosticCode = DiagnosticCode {
    code: "art-trace/overflow",
    level: Level::DataLoss,
    message: "The buffer of the recording was full before it ended: later calls are missing. Record with a larger buffer \
              (`Debug.startMethodTracing(name, bytes)`) or for a shorter time.",
};
const UNKNOWN: DiagnosticCode = DiagnosticCode {
    code: "art-trace/unknown-method",
    level: Level::Notice,
    message: "Calls of methods that the trace does not name are shown by their number.",
};
const BAD_RECORD: DiagnosticCode = DiagnosticCode {
    code: "art-trace/bad-record",
    level: Level::DataLoss,
    message: "A record of a kind that is not defined; what follows it cannot be told apart and was left aside.",
};

/// The format.
pub struct ArtTrace;

impl Format for ArtTrace {
    fn id(&self) -> &'static str {
        "art-trace"
    }
    fn name(&self) -> &'static str {
        "Android method trace"
    }
    fn extensions(&self) -> &'static [&'static str] {
        &["trace"]
    }
    fn hint(&self) -> &'static str {
        "Android: `am profile start PROCESS FILE` and `am profile stop`, `Debug.startMethodTracing`, Android Studio's Java method recording."
    }

    fn sniff(&self, prefix: &Prefix<'_>) -> Sniff {
        let text = prefix.bytes.strip_prefix(b"*version").is_some_and(|rest| rest.starts_with(b"\n") || rest.starts_with(b"\r\n"));
        if text || is_streamed(prefix.bytes) { Sniff::Certain } else { Sniff::No }
    }

    fn read(&self, input: &mut dyn BufRead, import: &mut Import<'_>) -> Result<(), ImportError> {
        let mut reader = Reader { methods: HashMap::new(), calls: Calls::default(), unknown: HashMap::new() };
        let streamed = is_streamed(input.fill_buf()?);
        let result = reader.run(input, streamed, import);
        if result != Err(ImportError::Stopped) {
            reader.calls.finish(import);
        }
        result
    }
}

/// The records come first, with a version in the low bits of the byte behind the mark.
fn is_streamed(bytes: &[u8]) -> bool {
    bytes.starts_with(b"SLOW") && bytes.get(4).is_some_and(|v| matches!(v, 0xf1..=0xf3)) && bytes.get(5) == Some(&0)
}

fn malformed(reason: &str) -> ImportError {
    ImportError::Malformed { format: "Android method trace", reason: reason.to_string() }
}

struct Reader {
    methods: HashMap<u32, FrameId>,
    calls: Calls,
    /// Frames of methods without a name.
    unknown: HashMap<u32, FrameId>,
}

impl Reader {
    fn run(&mut self, input: &mut dyn BufRead, streamed: bool, import: &mut Import<'_>) -> Result<(), ImportError> {
        if !streamed {
            self.text(input, import)?;
        }
        let mut head = Vec::new();
        if append(input, &mut head, 8)? < 8 || !head.starts_with(b"SLOW") {
            return Err(malformed("the records that should follow its list of methods are not there. Pull the file again."));
        }
        let (version, offset) = (u16::from_le_bytes([head[4], head[5]]) & 0x0f, usize::from(u16::from_le_bytes([head[6], head[7]])));
        if !(1..=3).contains(&version) || head[5] != 0 {
            return Err(ImportError::Unsupported(format!(
                "it is an Android method trace of version {}, which is not read: versions 1 to 3 are. Convert it with Android Studio (Export as \
                 a Perfetto trace) or record with simpleperf.",
                u16::from_le_bytes([head[4], head[5]])
            )));
        }
        let missing = offset.saturating_sub(head.len());
        append(input, &mut head, missing)?;
        // Single clocks: 9 bytes in the first version, 10 in the second; two clocks: 14.
        let size = match version {
            1 => 9,
            2 => 10,
            _ => head.get(16..18).map_or(14, |b| usize::from(u16::from_le_bytes([b[0], b[1]]))).max(14),
        };
        self.calls.dual = version == 3;
        self.records(input, version, size, streamed, import)
    }

    /// The lists before the records.
    fn text(&mut self, input: &mut dyn BufRead, import: &mut Import<'_>) -> Result<(), ImportError> {
        let mut lines = Lines::new(input);
        let mut section = String::new();
        while lines.next(import)? {
            let line = lines.text.as_str();
            if line.starts_with('*') {
                section = line.to_string();
                if section == "*end" {
                    return Ok(());
                }
                continue;
            }
            let known = match section.as_str() {
                "*version" => {
                    self.fact(line, lines.number, import);
                    true
                }
                "*threads" => self.thread(line),
                "*methods" => self.method(line, import),
                _ => true,
            };
            if !known && !line.is_empty() {
                import.report(BAD_LINE, At::Line(lines.number), line);
            }
        }
        Err(malformed("it ends within its list of threads and methods, before any call. Pull the file again."))
    }

    fn fact(&mut self, line: &str, number: u64, import: &mut Import<'_>) {
        match line.split_once('=') {
            Some(("clock", clock)) => self.calls.thread_clock = clock == "thread-cpu",
            Some(("data-file-overflow", "true")) => import.report(OVERFLOW, At::Line(number), line),
            Some(("pid", pid)) => self.calls.pid = pid.parse().unwrap_or(-1),
            _ => {}
        }
    }

    fn thread(&mut self, line: &str) -> bool {
        let Some((id, name)) = line.split_once('\t') else { return false };
        let Ok(id) = id.parse::<i64>() else { return false };
        self.calls.name(id, name);
        true
    }

    /// Number, class, method, signature, source file and, in old traces, line, divided by tabs.
    fn method(&mut self, line: &str, import: &mut Import<'_>) -> bool {
        let mut parts = line.split('\t');
        let mut next = || parts.next().unwrap_or_default();
        let id = next();
        let Ok(id) = u32::from_str_radix(id.strip_prefix("0x").unwrap_or(id), 16) else { return false };
        let (class, method, signature, file, line) = (next(), next(), next(), next(), next());
        if class.is_empty() && method.is_empty() {
            return false;
        }
        let class = class.replace('/', ".");
        let name = if method.is_empty() { class } else { format!("{class}.{method}") };
        let strings = &mut import.session.strings;
        let full_name = strings.intern(&format!("{name}{signature}"));
        // Methods of one name are told apart by their signatures.
        let key = FuncKey { full_name, system_name: full_name, ..FuncKey::named(strings.intern(&name)) };
        let file = if file.is_empty() { key.file } else { strings.intern(file) };
        let start_line = line.parse().unwrap_or(0);
        let func = import.session.symbols.funcs.intern(FuncKey { file, start_line, ..key });
        let frame = import.session.symbols.frames.intern(FrameKey::of(func));
        self.methods.insert(id & !3, frame);
        true
    }

    fn frame(&mut self, id: u32, at: u64, import: &mut Import<'_>) -> FrameId {
        if let Some(frame) = self.methods.get(&id) {
            return *frame;
        }
        import.report(UNKNOWN, At::Record(at), &format!("{id:#x}"));
        *self.unknown.entry(id).or_insert_with(|| {
            let name = import.session.strings.intern(&format!("[method {id:#x}]"));
            let func = import.session.symbols.funcs.intern(FuncKey::named(name));
            import.session.symbols.frames.intern(FrameKey::of(func))
        })
    }

    fn records(
        &mut self,
        input: &mut dyn BufRead,
        version: u16,
        size: usize,
        streamed: bool,
        import: &mut Import<'_>,
    ) -> Result<(), ImportError> {
        let mut record = Vec::new();
        let thread_bytes = if version == 1 { 1 } else { 2 };
        loop {
            record.clear();
            let got = append(input, &mut record, thread_bytes)?;
            if got == 0 {
                return Ok(());
            }
            let tid = if version == 1 { u16::from(record[0]) } else { record.get(..2).map_or(0, |b| u16::from_le_bytes([b[0], b[1]])) };
            if streamed && tid == 0 && got == thread_bytes {
                if !self.introduced(input, import)? {
                    return Ok(());
                }
                continue;
            }
            import.ledger.records_in += 1;
            let rest = size - thread_bytes;
            if got < thread_bytes || append(input, &mut record, rest)? < rest {
                import.report(CUT, At::Record(import.ledger.records_in), "");
                return Ok(());
            }
            let word = |at: usize| record.get(at..at + 4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            let (method, first) = (word(thread_bytes), word(thread_bytes + 4));
            let second = if version == 3 { word(thread_bytes + 8) } else { first };
            let at = import.ledger.records_in;
            if method & 3 == 0 {
                let frame = self.frame(method & !3, at, import);
                self.calls.enter(i64::from(tid), method & !3, frame, first, second, import);
            } else {
                self.calls.leave(i64::from(tid), method & !3, first, second, at, import);
            }
            if at.is_multiple_of(65_536) {
                import.tick(at)?;
            }
        }
    }

    /// A method, a thread or the summary of a streamed trace. `false` when it cannot go on.
    fn introduced(&mut self, input: &mut dyn BufRead, import: &mut Import<'_>) -> Result<bool, ImportError> {
        let mut head = Vec::new();
        let mut take = |n: usize| -> Result<Option<Vec<u8>>, ImportError> {
            head.clear();
            Ok((append(input, &mut head, n)? == n).then(|| head.clone()))
        };
        let number = |b: &[u8]| b.iter().rev().fold(0_usize, |n, b| n << 8 | usize::from(*b));
        let Some(kind) = take(1)? else { return Ok(false) };
        let tid = if kind[0] == 2 { take(2)?.map_or(0, |b| number(&b)) } else { 0 };
        let Some(length) = take(if kind[0] == 3 { 4 } else { 2 })?.map(|b| number(&b)) else { return Ok(false) };
        let text = match kind[0] {
            1..=3 => take(length)?,
            other => {
                import.report(BAD_RECORD, At::Record(import.ledger.records_in + 1), &format!("kind {other}"));
                return Ok(false);
            }
        };
        let Some(text) = text else {
            import.report(CUT, At::Record(import.ledger.records_in + 1), "");
            return Ok(false);
        };
        let text = String::from_utf8_lossy(&text);
        match kind[0] {
            1 => {
                if !self.method(text.trim_end_matches('\n'), import) {
                    import.report(BAD_LINE, At::Record(import.ledger.records_in + 1), &text);
                }
            }
            2 => self.calls.name(tid as i64, text.trim_end_matches('\n')),
            _ => {
                let mut section = "";
                for (number, line) in text.lines().enumerate() {
                    if line.starts_with('*') {
                        section = line;
                    } else if section == "*version" {
                        self.fact(line, number as u64 + 1, import);
                    } else if section == "*threads" {
                        self.thread(line);
                    }
                }
            }
        }
        Ok(true)
    }
}
