//! The tables of a pprof file: strings, functions, locations, mappings; and their frames in the session.

use super::names::{full_name, simple_name};
use super::pprof_prune::Pruner;
use super::wire::{Fields, Value, repeated};
use super::{Import, ImportError};
use crate::base::ids::{FrameId, MappingId, StackId, StringId};
use crate::base::path::clean;
use crate::model::profile::{Label, MappedRange};
use crate::model::symbols::{FRAME_INLINED, FUNC_UNSYMBOLIZED, FrameKey, FuncKey, NO_ADDRESS, StackTable};
use std::collections::HashMap;

/// Scalar fields; texts are positions in the string table.
#[derive(Debug, Default)]
pub struct Head {
    /// Field 7.
    pub drop_frames: u64,
    /// Field 8.
    pub keep_frames: u64,
    /// Field 9, nanoseconds since 1970.
    pub time_ns: i64,
    /// Field 10.
    pub duration_ns: i64,
    /// Field 11: type and unit.
    pub period_type: Option<(u64, u64)>,
    /// Field 12.
    pub period: i64,
    /// Field 13.
    pub comments: Vec<u64>,
    /// Field 14.
    pub default_type: u64,
}

/// Messages or texts one behind the other.
#[derive(Debug, Default)]
pub struct Blobs {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Blobs {
    /// Appends one.
    pub fn push(&mut self, blob: &[u8]) {
        self.bytes.extend_from_slice(blob);
        self.ends.push(self.bytes.len());
    }
    /// The one at a position.
    pub fn get(&self, at: usize) -> Option<&[u8]> {
        let end = *self.ends.get(at)?;
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        self.bytes.get(start..end)
    }
    /// How many.
    pub fn len(&self) -> usize {
        self.ends.len()
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
    fn iter(&self) -> impl Iterator<Item = &[u8]> + Clone {
        (0..self.len()).filter_map(|at| self.get(at))
    }
}

/// What a file holds besides its samples.
#[derive(Debug, Default)]
pub struct Tables {
    /// Scalars.
    pub head: Head,
    /// Type and unit of each value.
    pub sample_types: Vec<(u64, u64)>,
    /// Where the file breaks off.
    pub cut: Option<u64>,
    times: u32,
    strings: Blobs,
    mappings: Blobs,
    locations: Blobs,
    functions: Blobs,
}

/// Ids of the file to rows: a dense vector for the usual small ids, a map for addresses used as ids.
struct Ids {
    dense: Vec<u32>,
    sparse: HashMap<u64, u32>,
}

impl Ids {
    fn new(ids: impl Iterator<Item = u64> + Clone) -> Ids {
        let count = ids.clone().count();
        let dense_until = count as u64 * 4 + 16;
        let mut out = Ids { dense: vec![u32::MAX; count * 4 + 16], sparse: HashMap::new() };
        for (row, id) in ids.enumerate() {
            if id < dense_until {
                out.dense[id as usize] = row as u32;
            } else {
                out.sparse.insert(id, row as u32);
            }
        }
        out
    }
    fn get(&self, id: u64) -> Option<usize> {
        match self.dense.get(id as usize) {
            Some(&row) if row != u32::MAX => Some(row as usize),
            Some(_) => None,
            None => self.sparse.get(&id).map(|row| *row as usize),
        }
    }
}

/// A label as the file gives it: positions in its string table, and a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RawLabel {
    /// Key.
    pub key: u64,
    /// Text; 0 for a number.
    pub text: u64,
    /// Number.
    pub number: i64,
    /// Unit of the number.
    pub unit: u64,
}

impl RawLabel {
    /// Reads a label message.
    pub fn read(bytes: &[u8]) -> RawLabel {
        let mut out = RawLabel::default();
        for (field, value) in Fields::new(bytes) {
            match field {
                1 => out.key = value.u64(),
                2 => out.text = value.u64(),
                3 => out.number = value.i64(),
                4 => out.unit = value.u64(),
                _ => {}
            }
        }
        out
    }
}

/// Frames of every location, root side first, in one vector.
pub struct Frames {
    ids: Ids,
    start: Vec<u32>,
    frames: Vec<FrameId>,
    unknown: FrameId,
    /// Per location: what drop_frames does to it.
    prune: Vec<Prune>,
    /// Locations that drop_frames matches.
    pub pruned: usize,
    /// Where binaries lay.
    pub ranges: Vec<MappedRange>,
}

#[derive(Clone, Copy, PartialEq)]
enum Prune {
    Keep,
    /// The match is inlined: the location stays with its outer lines, what it called goes.
    Beneath,
    /// The location itself goes too.
    Whole,
}

/// How far a walk from the root of a stack has come.
#[derive(Clone, Copy, Debug)]
pub struct Walk {
    /// The stack so far.
    pub stack: StackId,
    /// Locations that the file does not define.
    pub missing: u32,
    /// A frame of the user's own was met: only below it drop_frames prunes, or a matching root would empty the stack.
    user_seen: bool,
    /// The rest is pruned.
    ended: bool,
}

impl Walk {
    /// Before the first location.
    pub const ROOT: Walk = Walk { stack: StackId::NONE, missing: 0, user_seen: false, ended: false };
}

impl Frames {
    /// The walk after one more location.
    pub fn step(&self, walk: Walk, location: u64, stacks: &mut StackTable) -> Walk {
        let mut walk = walk;
        if walk.ended {
            return walk;
        }
        let Some(row) = self.ids.get(location) else {
            walk.missing += 1;
            walk.stack = stacks.push(walk.stack, self.unknown);
            return walk;
        };
        let prune = self.prune[row];
        if prune == Prune::Whole && walk.user_seen {
            walk.ended = true;
            return walk;
        }
        for frame in &self.frames[self.start[row] as usize..self.start[row + 1] as usize] {
            walk.stack = stacks.push(walk.stack, *frame);
        }
        walk.ended = prune == Prune::Beneath && walk.user_seen;
        walk.user_seen |= prune == Prune::Keep;
        walk
    }
}

impl Tables {
    /// Takes a field of the profile, other than a sample.
    pub fn field(&mut self, number: u64, value: Value<'_>) {
        match number {
            1 => self.sample_types.push(value_type(value.bytes())),
            3 => self.mappings.push(value.bytes()),
            4 => self.locations.push(value.bytes()),
            5 => self.functions.push(value.bytes()),
            6 => self.strings.push(value.bytes()),
            7 => self.head.drop_frames = value.u64(),
            8 => self.head.keep_frames = value.u64(),
            9 => {
                self.head.time_ns = value.i64();
                self.times += 1;
            }
            10 => self.head.duration_ns = value.i64(),
            11 => self.head.period_type = Some(value_type(value.bytes())),
            12 => self.head.period = value.i64(),
            13 => repeated(value, &mut self.head.comments),
            14 => self.head.default_type = value.u64(),
            _ => {}
        }
    }

    /// Whether what was read makes a profile; `samples` tells whether there are any.
    ///
    /// # Errors
    /// `Malformed` when it cannot be a single profile.
    pub fn check(&self, samples: bool) -> Result<(), ImportError> {
        let malformed = |reason: &str| ImportError::Malformed { format: "pprof", reason: reason.to_string() };
        if self.times > 1 {
            return Err(malformed(
                "it is several profiles glued together; merge them with `go tool pprof -proto A B` or open them one by one",
            ));
        }
        if self.strings.get(0).is_some_and(|first| !first.is_empty()) {
            return Err(malformed("its string table does not begin with an empty text, as the format demands"));
        }
        if self.cut.is_some() && self.strings.is_empty() && samples {
            return Err(malformed("it breaks off before its string table, so no name or unit is known; record or download it again"));
        }
        Ok(())
    }

    /// Whether any of the string table was read.
    pub fn has_names(&self) -> bool {
        !self.strings.is_empty()
    }

    /// A text of the string table; empty when the position does not exist.
    pub fn text(&self, at: u64) -> String {
        self.strings.get(at as usize).map_or(String::new(), |bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    fn intern(&self, at: u64, import: &mut Import<'_>) -> StringId {
        match self.strings.get(at as usize) {
            Some(bytes) if !bytes.is_empty() => import.session.strings.intern(&String::from_utf8_lossy(bytes)),
            _ => StringId::NONE,
        }
    }

    /// A label; a number without unit takes `bytes` for `alignment` and `request`, else none.
    pub fn label(&self, raw: RawLabel, import: &mut Import<'_>) -> Label {
        let key = self.intern(raw.key, import);
        let mut unit = self.intern(raw.unit, import);
        if raw.text == 0 && unit.is_none() && matches!(self.text(raw.key).as_str(), "alignment" | "request" | "bytes") {
            unit = import.session.strings.intern("bytes");
        }
        Label { key, text: self.intern(raw.text, import), number: raw.number, unit }
    }

    /// Interns the frames of every location.
    ///
    /// # Errors
    /// `Stopped` when the user cancelled.
    pub fn frames(&self, import: &mut Import<'_>) -> Result<Frames, ImportError> {
        let functions: Vec<Function> = self.functions.iter().map(Function::read).collect();
        let function_ids = Ids::new(functions.iter().map(|f| f.id));
        let mut mapping_rows = Vec::with_capacity(self.mappings.len());
        let mut ranges = Vec::new();
        for bytes in self.mappings.iter() {
            let (mut id, mut file, mut build) = (0, 0, 0);
            let (mut start, mut limit, mut offset) = (0, 0, 0);
            for (field, value) in Fields::new(bytes) {
                match field {
                    1 => id = value.u64(),
                    2 => start = value.u64(),
                    3 => limit = value.u64(),
                    4 => offset = value.u64(),
                    5 => file = value.u64(),
                    6 => build = value.u64(),
                    _ => {}
                }
            }
            let (file, build) = (self.intern(file, import), self.intern(build, import));
            let row = if file.is_none() { MappingId::NONE } else { import.session.symbols.mappings.intern(file, build) };
            mapping_rows.push((id, row));
            if !row.is_none() && start < limit {
                ranges.push(MappedRange { mapping: row, start, limit, offset });
            }
        }
        let mapping_ids = Ids::new(mapping_rows.iter().map(|m| m.0));
        let drop = Pruner::new(&self.text(self.head.drop_frames), &self.text(self.head.keep_frames));
        let keys: Vec<FuncKey> = functions.iter().map(|f| self.function(f, import)).collect();
        let strings = &import.session.strings;
        let drops = |key: &FuncKey| drop.as_ref().is_some_and(|d| !key.name.is_none() && d.drops(strings.get(key.name)));
        let matches: Vec<bool> = keys.iter().map(drops).collect();
        let unknown_name = import.session.strings.intern("<unknown>");
        let unknown = FuncKey { flags: FUNC_UNSYMBOLIZED, ..FuncKey::named(unknown_name) };
        let unknown = import.session.symbols.funcs.intern(unknown);
        let mut out = Frames {
            ids: Ids::new(self.locations.iter().map(location_id)),
            start: vec![0],
            frames: Vec::new(),
            unknown: import.session.symbols.frames.intern(FrameKey::of(unknown)),
            prune: Vec::with_capacity(self.locations.len()),
            pruned: 0,
            ranges,
        };
        let mut lines: Vec<(u64, u32)> = Vec::new();
        for (row, bytes) in self.locations.iter().enumerate() {
            let (mut mapping, mut address) = (0, 0);
            lines.clear();
            for (field, value) in Fields::new(bytes) {
                match field {
                    2 => mapping = value.u64(),
                    3 => address = value.u64(),
                    4 => lines.push(line(value)),
                    _ => {}
                }
            }
            let mapping = mapping_ids.get(mapping).map_or(MappingId::NONE, |m| mapping_rows[m].1);
            let address = if address == 0 { NO_ADDRESS } else { address };
            let last = lines.len().saturating_sub(1);
            // The outermost line that matches counts: the format lists the innermost (inlined) one first.
            let hit = lines.iter().rposition(|(function, _)| function_ids.get(*function).is_some_and(|f| matches[f]));
            let (prune, kept) = match hit {
                None => (Prune::Keep, 0),
                Some(at) if at == last => (Prune::Whole, 0),
                Some(at) => (Prune::Beneath, at + 1),
            };
            out.pruned += usize::from(hit.is_some());
            for (at, &(function, line)) in lines.iter().enumerate().skip(kept).rev() {
                let key = function_ids.get(function).map(|f| keys[f]);
                let func = match key {
                    Some(key) if !key.name.is_none() => import.session.symbols.funcs.intern(FuncKey { mapping, ..key }),
                    key => unsymbolized(FuncKey { mapping, ..key.unwrap_or(FuncKey::named(StringId::NONE)) }, import),
                };
                let flags = if at == last { 0 } else { FRAME_INLINED };
                out.frames.push(import.session.symbols.frames.intern(FrameKey { func, line, address, offset: NO_ADDRESS, flags }));
            }
            if lines.is_empty() {
                let func = unsymbolized(FuncKey { mapping, ..FuncKey::named(StringId::NONE) }, import);
                let key = FrameKey { func, line: 0, address, offset: NO_ADDRESS, flags: 0 };
                out.frames.push(import.session.symbols.frames.intern(key));
            }
            out.start.push(out.frames.len() as u32);
            out.prune.push(prune);
            if row % 65_536 == 0 {
                import.tick(0)?;
            }
        }
        Ok(out)
    }

    /// A file name; paths as `go tool pprof` shows them, addresses on the net as they are.
    fn file(&self, at: u64) -> String {
        let path = self.text(at);
        if path.contains("://") { path } else { clean(&path) }
    }

    /// A function without its mapping. A name given apart from the linker's is the producer's own; else the linker's name is
    /// made readable. The name is `NONE` where there is none.
    fn function(&self, f: &Function, import: &mut Import<'_>) -> FuncKey {
        let (given, linked) = (self.text(f.name), self.text(f.system_name));
        let (name, full) =
            if !given.is_empty() && given != linked { (given, String::new()) } else { (simple_name(&linked), full_name(&linked)) };
        let strings = &mut import.session.strings;
        let mut id = |text: &str| if text.is_empty() { StringId::NONE } else { strings.intern(text) };
        FuncKey {
            name: id(&name),
            full_name: id(if full == name { "" } else { &full }),
            system_name: id(if linked == name { "" } else { &linked }),
            file: id(&self.file(f.file)),
            mapping: MappingId::NONE,
            start_line: u32::try_from(f.start_line).unwrap_or(0),
            flags: 0,
        }
    }
}

/// `[basename of the mapping]`, or `<unknown>`.
fn unsymbolized(key: FuncKey, import: &mut Import<'_>) -> crate::base::ids::FuncId {
    let session = &mut *import.session;
    let name = match key.mapping.get() {
        Some(m) => {
            let path = session.strings.get(session.symbols.mappings.file[m.index()]);
            format!("[{}]", path.rsplit(['/', '\\']).next().unwrap_or(path))
        }
        None => "<unknown>".to_string(),
    };
    let name = session.strings.intern(&name);
    session.symbols.funcs.intern(FuncKey { name, flags: FUNC_UNSYMBOLIZED, ..key })
}

fn value_type(bytes: &[u8]) -> (u64, u64) {
    Fields::new(bytes).fold((0, 0), |(name, unit), (field, value)| match field {
        1 => (value.u64(), unit),
        2 => (name, value.u64()),
        _ => (name, unit),
    })
}

fn location_id(bytes: &[u8]) -> u64 {
    Fields::new(bytes).filter(|(field, _)| *field == 1).map(|(_, value)| value.u64()).last().unwrap_or(0)
}

/// Function id and line number.
fn line(value: Value<'_>) -> (u64, u32) {
    let mut numbers = Vec::with_capacity(2);
    Fields::new(value.bytes()).fold((0, 0), |(function, line), (field, value)| {
        numbers.clear();
        repeated(value, &mut numbers);
        let n = numbers.first().copied().unwrap_or(0);
        match field {
            1 => (n, line),
            2 => (function, u32::try_from(n).unwrap_or(0)),
            _ => (function, line),
        }
    })
}

#[derive(Default)]
struct Function {
    id: u64,
    name: u64,
    system_name: u64,
    file: u64,
    start_line: u64,
}

impl Function {
    fn read(bytes: &[u8]) -> Function {
        let mut f = Function::default();
        for (field, value) in Fields::new(bytes) {
            match field {
                1 => f.id = value.u64(),
                2 => f.name = value.u64(),
                3 => f.system_name = value.u64(),
                4 => f.file = value.u64(),
                5 => f.start_line = value.u64(),
                _ => {}
            }
        }
        f
    }
}
