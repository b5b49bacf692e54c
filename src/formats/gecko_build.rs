//! From the tables of Firefox profiles to profiles: one for all threads per kind of sample and weight.

use super::Import;
use super::gecko_table::Table;
use crate::base::ids::{FrameId, LabelSetId, MappingId, StackId, StringId, ThreadId};
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use crate::model::profile::{self, Label, Profile, ValueKind, ValueType};
use crate::model::symbols::{FRAME_INLINED, FUNC_UNSYMBOLIZED, FrameKey, FuncKey, NO_ADDRESS};

const NO_STACK: DiagnosticCode = DiagnosticCode {
    code: "gecko/no-sample",
    level: Level::Info,
    message: "Rows without a stack say that there was no sample; they end the one before them and weigh nothing.",
};
const BAD_STACK: DiagnosticCode = DiagnosticCode {
    code: "gecko/bad-row",
    level: Level::DataLoss,
    message: "Rows name stacks, frames or functions that the file does not define; those are shown as <unknown>.",
};
const UNSYMBOLIZED: DiagnosticCode = DiagnosticCode {
    code: "gecko/not-symbolicated",
    level: Level::Notice,
    message: "Functions are addresses: symbolicate the profile (samply: open it with `samply load` and download it; Firefox: upload or download it again) to see names.",
};

/// A library.
#[derive(Clone, Copy, Debug)]
pub struct Lib {
    /// File.
    pub file: StringId,
    /// Build id, `NONE` if unknown.
    pub build: StringId,
}

/// A profile, or that of a subprocess in it.
#[derive(Debug, Default)]
pub struct Document {
    /// Milliseconds between samples.
    pub interval_ms: f64,
    /// Milliseconds since 1970.
    pub start_ms: f64,
    /// Version of the processed form; 0 for raw ones and the oldest.
    pub version: i64,
    /// Unit of `threadCPUDelta`.
    pub cpu_unit: String,
    /// Names of categories.
    pub categories: Vec<StringId>,
    /// Libraries.
    pub libs: Vec<Lib>,
    /// Tables that all threads share.
    pub shared: Thread,
}

/// A thread with its tables; those that it has not are shared.
#[derive(Debug, Default)]
pub struct Thread {
    /// Row of its document.
    pub document: usize,
    /// Name.
    pub name: String,
    /// Name of the process.
    pub process_name: String,
    /// Kind of the process.
    pub process_type: String,
    /// Process id as text.
    pub pid: String,
    /// Thread id as text.
    pub tid: String,
    /// Samples.
    pub samples: Table,
    /// Sampled allocations of JavaScript.
    pub js_allocations: Table,
    /// Sampled allocations and frees of native code.
    pub native_allocations: Table,
    /// Stacks.
    pub stacks: Table,
    /// Frames.
    pub frames: Table,
    /// Functions.
    pub funcs: Table,
    /// Resources of functions.
    pub resources: Table,
    /// Native symbols of frames.
    pub symbols: Table,
    /// Source files.
    pub sources: Table,
    /// Texts.
    pub strings: Vec<StringId>,
    /// Libraries, in old versions.
    pub libs: Vec<Lib>,
    /// How many markers.
    pub markers: u64,
}

/// Stacks of a thread or of a document: by row the stack and its category.
#[derive(Default)]
struct Resolved {
    stack: Vec<StackId>,
    category: Vec<Option<usize>>,
}

/// What is sampled; profiles are kept apart by it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Samples,
    Js,
    Native,
}

/// Stores the profiles.
pub fn store(documents: &[Document], threads: &[Thread], import: &mut Import<'_>) {
    let mut unsymbolized = 0;
    let shared: Vec<Resolved> = documents.iter().map(|d| resolve(&d.shared, d, import, &mut unsymbolized)).collect();
    let own: Vec<Option<Resolved>> = threads
        .iter()
        .map(|t| (!t.stacks.is_empty() || !t.frames.is_empty()).then(|| resolve(t, &documents[t.document], import, &mut unsymbolized)))
        .collect();
    if unsymbolized > 0 {
        import.ledger.diagnostics.report_many(UNSYMBOLIZED, unsymbolized, At::File, "");
    }
    let mut groups: Vec<(Kind, &str)> = Vec::new();
    for t in threads {
        for (kind, table) in tables(t) {
            if !table.is_empty() && !groups.contains(&(kind, weight_type(kind, table))) {
                groups.push((kind, weight_type(kind, table)));
            }
        }
    }
    for group in groups {
        let mut build = Build::new(group, documents, threads, import);
        for (row, t) in threads.iter().enumerate() {
            let resolved = own[row].as_ref().unwrap_or(&shared[t.document]);
            for (kind, table) in tables(t) {
                if (kind, weight_type(kind, table)) == group && !table.is_empty() {
                    build.thread(t, table, resolved, import);
                }
            }
        }
        build.store(import);
    }
}

fn tables(t: &Thread) -> [(Kind, &Table); 3] {
    [(Kind::Samples, &t.samples), (Kind::Js, &t.js_allocations), (Kind::Native, &t.native_allocations)]
}

fn weight_type(kind: Kind, table: &Table) -> &str {
    match table.weight_type.as_str() {
        "" if kind == Kind::Samples => "samples",
        "" => "bytes",
        known => known,
    }
}

/// A table's own rows, else the shared ones.
fn either<'a>(own: &'a Table, shared: &'a Table) -> &'a Table {
    if own.is_empty() { shared } else { own }
}

fn resolve(t: &Thread, d: &Document, import: &mut Import<'_>, unsymbolized: &mut u64) -> Resolved {
    let frames = either(&t.frames, &d.shared.frames);
    let names = Names {
        strings: if t.strings.is_empty() { &d.shared.strings } else { &t.strings },
        libs: if t.libs.is_empty() { &d.libs } else { &t.libs },
        funcs: either(&t.funcs, &d.shared.funcs),
        resources: either(&t.resources, &d.shared.resources),
        symbols: either(&t.symbols, &d.shared.symbols),
        sources: either(&t.sources, &d.shared.sources),
    };
    let rows: Vec<FrameId> = (0..frames.len()).map(|row| names.frame(frames, row, import, unsymbolized)).collect();
    let stacks = &t.stacks;
    let relative = !stacks.column("prefixOffset").is_empty();
    let mut out = Resolved::default();
    let mut bad = 0;
    for row in 0..stacks.len() {
        let above = if relative {
            stacks.index("prefixOffset", row).filter(|k| *k > 0).map(|k| row.checked_sub(k))
        } else {
            stacks.index("prefix", row).map(|above| (above < row).then_some(above))
        };
        // Callers stand in front of what they call.
        bad += u64::from(above == Some(None));
        let above = above.flatten();
        let frame = stacks.index("frame", row);
        let id = frame.and_then(|f| rows.get(f).copied());
        bad += u64::from(id.is_none());
        let id = id.unwrap_or_else(|| unknown(import));
        let below = above.map_or(StackId::NONE, |above| out.stack[above]);
        out.stack.push(import.session.symbols.stacks.push(below, id));
        let category = stacks.index("category", row).or_else(|| frames.index("category", frame?));
        out.category.push(category.or_else(|| above.and_then(|above| out.category[above])));
    }
    if bad > 0 {
        import.ledger.diagnostics.report_many(BAD_STACK, bad, At::File, "stack table");
    }
    out
}

/// What explains frames.
struct Names<'a> {
    strings: &'a [StringId],
    libs: &'a [Lib],
    funcs: &'a Table,
    resources: &'a Table,
    symbols: &'a Table,
    sources: &'a Table,
}

impl Names<'_> {
    fn text(&self, table: &Table, column: &str, row: usize) -> Option<StringId> {
        table.index(column, row).and_then(|i| self.strings.get(i).copied())
    }

    fn frame(&self, frames: &Table, row: usize, import: &mut Import<'_>, unsymbolized: &mut u64) -> FrameId {
        let line = |n: Option<f64>| n.filter(|n| *n > 0.0).map_or(0, |n| n as u32);
        let own_line = line(frames.number("line", row));
        let Some(func) = frames.index("func", row).filter(|f| *f < self.funcs.len()) else {
            return match self.text(frames, "location", row) {
                Some(location) => raw_frame(location, own_line, import, unsymbolized),
                None => unknown(import),
            };
        };
        let Some(mut name) = self.text(self.funcs, "name", func) else { return unknown(import) };
        let source = self.funcs.index("source", func).and_then(|s| self.text(self.sources, "filename", s));
        let file = source.or_else(|| self.text(self.funcs, "fileName", func)).unwrap_or(StringId::NONE);
        let lib = self.funcs.index("resource", func).and_then(|r| self.resources.index("lib", r)).and_then(|l| self.libs.get(l));
        let session = &mut *import.session;
        let mapping = lib.map_or(MappingId::NONE, |lib| session.symbols.mappings.intern(lib.file, lib.build));
        let mut flags = 0;
        if is_address(session.strings.get(name)) {
            flags = FUNC_UNSYMBOLIZED;
            *unsymbolized += 1;
            if let Some(lib) = lib {
                let path = session.strings.get(lib.file);
                let base = format!("[{}]", path.rsplit(['/', '\\']).next().unwrap_or(path));
                name = session.strings.intern(&base);
            }
        }
        let start_line = line(self.funcs.number("lineNumber", func));
        let key = FuncKey { file, mapping, start_line, flags, ..FuncKey::named(name) };
        let func = session.symbols.funcs.intern(key);
        let address = frames.number("address", row).filter(|a| *a >= 0.0).map_or(NO_ADDRESS, |a| a as u64);
        let begin = frames.index("nativeSymbol", row).and_then(|s| self.symbols.number("address", s));
        let offset = begin.filter(|_| address != NO_ADDRESS).and_then(|b| address.checked_sub(b as u64)).unwrap_or(NO_ADDRESS);
        let inlined = frames.number("inlineDepth", row).is_some_and(|depth| depth > 0.0);
        let flags = if inlined { FRAME_INLINED } else { 0 };
        session.symbols.frames.intern(FrameKey { line: own_line, address, offset, flags, ..FrameKey::of(func) })
    }
}

fn is_address(name: &str) -> bool {
    name.strip_prefix("0x").is_some_and(|hex| !hex.is_empty() && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// A frame of a raw profile: `name (file:line:column)`, `name (file:line)`, an address, or a label.
fn raw_frame(location: StringId, line: u32, import: &mut Import<'_>, unsymbolized: &mut u64) -> FrameId {
    let session = &mut *import.session;
    let text = session.strings.get(location).to_string();
    let flags = if is_address(&text) { FUNC_UNSYMBOLIZED } else { 0 };
    *unsymbolized += u64::from(flags != 0);
    let (name, file, start_line) = split_location(&text);
    let name = if name == text { location } else { session.strings.intern(name) };
    let file = if file.is_empty() { StringId::NONE } else { session.strings.intern(file) };
    let func = session.symbols.funcs.intern(FuncKey { file, start_line, flags, ..FuncKey::named(name) });
    session.symbols.frames.intern(FrameKey { line, ..FrameKey::of(func) })
}

/// Name, file and line of a location.
fn split_location(text: &str) -> (&str, &str, u32) {
    let plain = (text, "", 0);
    let Some((name, place)) = text.strip_suffix(')').and_then(|t| t.rsplit_once(" (")) else { return plain };
    let Some((file, last)) = place.rsplit_once(':') else { return plain };
    let Ok(last) = last.parse::<u32>() else { return plain };
    match file.rsplit_once(':').and_then(|(file, line)| Some((file, line.parse::<u32>().ok()?))) {
        Some((file, line)) => (name, file, line),
        None => (name, file, last),
    }
}

fn unknown(import: &mut Import<'_>) -> FrameId {
    let name = import.session.strings.intern("<unknown>");
    let func = import.session.symbols.funcs.intern(FuncKey { flags: FUNC_UNSYMBOLIZED, ..FuncKey::named(name) });
    import.session.symbols.frames.intern(FrameKey::of(func))
}

/// A profile that is being put together.
struct Build<'a> {
    profile: Profile,
    documents: &'a [Document],
    /// Nanoseconds per unit of `threadCPUDelta`; 1 for cycles.
    cpu: Option<f64>,
    /// Whether every thread has times.
    times: bool,
    /// What a weight is multiplied with.
    factor: f64,
}

impl<'a> Build<'a> {
    fn new((kind, weights): (Kind, &str), documents: &'a [Document], threads: &[Thread], import: &mut Import<'_>) -> Build<'a> {
        let value = |name: &str, unit: &str, kind| ValueType { name: name.into(), unit: unit.into(), kind };
        let mut types = vec![match (weights, kind) {
            ("tracing-ms", _) => value("time", "nanoseconds", ValueKind::WallTime),
            ("bytes", _) => value("bytes", "bytes", ValueKind::AllocBytes),
            ("samples", Kind::Samples) => value("samples", "count", ValueKind::Samples),
            (other, _) => value(other, "count", ValueKind::Other),
        }];
        let mut cpu = None;
        if kind == Kind::Samples && weights == "samples" && threads.iter().any(|t| !t.samples.column("threadCPUDelta").is_empty()) {
            let (unit, scale, kind) = match documents.iter().map(|d| d.cpu_unit.as_str()).find(|u| !u.is_empty()) {
                Some("ns") => ("nanoseconds", 1.0, ValueKind::CpuTime),
                Some("µs" | "us") => ("nanoseconds", 1e3, ValueKind::CpuTime),
                Some("ms") => ("nanoseconds", 1e6, ValueKind::CpuTime),
                Some(_) => ("cycles", 1.0, ValueKind::Events),
                None => ("count", 1.0, ValueKind::Other),
            };
            types.push(value("cpu", unit, kind));
            cpu = Some(scale);
        }
        let factor = if weights == "tracing-ms" { 1e6 } else { 1.0 };
        let mut profile = Profile::new(import.source, "gecko", types);
        profile.name = match kind {
            Kind::Samples => String::new(),
            Kind::Js => "JavaScript allocations".to_string(),
            Kind::Native => "native allocations".to_string(),
        };
        let ns = |ms: f64| (ms * 1e6).round() as i64;
        if let Some(d) = documents.first() {
            profile.start_ns = ns(d.start_ms);
            if kind == Kind::Samples {
                profile.period = ns(d.interval_ms);
                profile.period_unit = "nanoseconds".into();
            }
        }
        let key = import.session.strings.intern("category");
        let categories: Vec<StringId> = documents.iter().flat_map(|d| d.categories.iter().copied()).collect();
        profile.labels.start = (0..=categories.len() as u32).collect();
        profile.labels.labels = categories.iter().map(|text| Label { key, text: *text, number: 0, unit: StringId::NONE }).collect();
        Build { profile, documents, cpu, times: true, factor }
    }

    fn thread(&mut self, t: &Thread, table: &Table, resolved: &Resolved, import: &mut Import<'_>) {
        let p = &mut self.profile;
        let thread = ThreadId::from_index(p.threads.len());
        let process = [&t.process_name, &t.process_type].into_iter().find(|n| !n.is_empty() && *n != "default").cloned();
        let pid = t.pid.parse().ok();
        // Processes without an id are told by a text.
        let process = process.unwrap_or_else(|| if pid.is_none() { t.pid.clone() } else { String::new() });
        p.threads.push(profile::Thread { name: t.name.clone(), pid: pid.unwrap_or(-1), tid: t.tid.parse().unwrap_or(-1), process });
        let d = &self.documents[t.document];
        // Categories of all documents stand one behind the other.
        let first: usize = self.documents[..t.document].iter().map(|d| d.categories.len()).sum();
        // Times of a subprocess count from its own start.
        let base = d.start_ms - self.documents.first().map_or(0.0, |d| d.start_ms);
        let ns = |ms: f64| (ms * 1e6).round() as i64;
        let (times, deltas) = (table.column("time"), table.column("timeDeltas"));
        self.times &= !times.is_empty() || !deltas.is_empty();
        let mut now = 0.0;
        let (mut empty, mut bad) = (0, 0);
        for row in 0..table.len() {
            now = match (times.get(row), deltas.get(row)) {
                (Some(time), _) if time.is_finite() => *time,
                (_, Some(delta)) if delta.is_finite() => now + delta,
                _ => now,
            };
            let at = table.index("stack", row);
            let stack = at.and_then(|at| resolved.stack.get(at).copied());
            let weight = table.number("weight", row).unwrap_or(1.0);
            let weight = (weight * self.factor).round() as i64;
            let cpu = table.number("threadCPUDelta", row).unwrap_or(0.0) * self.cpu.unwrap_or(0.0);
            import.ledger.records_in += 1;
            import.ledger.records_kept += 1;
            let there = at.is_some();
            empty += u64::from(!there);
            bad += u64::from(there && stack.is_none());
            let stack = match stack {
                None if there => {
                    let frame = unknown(import);
                    import.session.symbols.stacks.push(StackId::NONE, frame)
                }
                found => found.unwrap_or(StackId::NONE),
            };
            p.samples.stack.push(stack);
            p.samples.thread.push(thread);
            p.samples.time_ns.push(ns(base + now));
            p.samples.values[0].push(if there { weight } else { 0 });
            if let Some(column) = p.samples.values.get_mut(1) {
                column.push(if there { cpu.round() as i64 } else { 0 });
            }
            let category = at.and_then(|at| resolved.category.get(at).copied().flatten()).filter(|c| *c < d.categories.len());
            p.samples.labels.push(category.map_or(LabelSetId::NONE, |c| LabelSetId::from_index(first + c)));
        }
        if empty > 0 {
            import.ledger.diagnostics.report_many(NO_STACK, empty, At::File, &t.name);
        }
        if bad > 0 {
            import.ledger.diagnostics.report_many(BAD_STACK, bad, At::File, "samples");
        }
    }

    fn store(self, import: &mut Import<'_>) {
        let mut p = self.profile;
        if !self.times {
            p.samples.time_ns.clear();
        }
        if p.samples.labels.iter().all(|l| l.is_none()) {
            p.samples.labels.clear();
            p.labels = profile::LabelTable::default();
        }
        let (first, last) = (p.samples.time_ns.iter().min().copied().unwrap_or(0), p.samples.time_ns.iter().max().copied().unwrap_or(0));
        p.duration_ns = last.saturating_sub(first);
        if self.cpu.is_some() && p.value_types[1].kind == ValueKind::CpuTime && p.total(1) > 0 {
            // Threads are sampled while they sleep, too.
            p.default_value = 1;
            import.choose("weight", "cpu", &["samples"], "The file tells how much CPU each sample used, which leaves idle threads out.");
        }
        for (column, value) in p.value_types.iter().enumerate() {
            let name = if p.name.is_empty() { value.name.clone() } else { format!("{}:{}", p.name, value.name) };
            import.ledger.weigh(&name, &value.unit, p.total(column), true);
        }
        import.session.profiles.push(p);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_of_raw_profiles() {
        for (text, parts) in [
            ("load (chrome://a/b.js:12:3)", ("load", "chrome://a/b.js", 12)),
            ("load (resource://c.jsm:7)", ("load", "resource://c.jsm", 7)),
            ("EnterJIT", ("EnterJIT", "", 0)),
            ("Foo::bar (int)", ("Foo::bar (int)", "", 0)),
            ("0x100000f84", ("0x100000f84", "", 0)),
        ] {
            assert_eq!(split_location(text), parts);
        }
        assert!(is_address("0x7f") && !is_address("0x") && !is_address("0xyz"));
    }
}
