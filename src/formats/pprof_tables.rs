//! The tables of a pprof file: strings, functions, locations, mappings; and their frames in the session.

use super::names::simple_name;
use super::wire::{Fields, Value, repeated};
use super::{Import, ImportError};
use crate::base::ids::{FrameId, MappingId, StringId};
use crate::model::profile::Label;
use crate::model::symbols::{FRAME_INLINED, FUNC_UNSYMBOLIZED, FrameKey, FuncKey, NO_ADDRESS};
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
    /// Field 14.
    pub default_type: u64,
}

/// A file, split into its messages; nothing is copied.
#[derive(Debug, Default)]
pub struct Tables<'a> {
    /// Scalars.
    pub head: Head,
    /// Type and unit of each value.
    pub sample_types: Vec<(u64, u64)>,
    /// Encoded samples.
    pub samples: Vec<&'a [u8]>,
    /// Where the file breaks off.
    pub cut: Option<usize>,
    strings: Vec<&'a [u8]>,
    mappings: Vec<&'a [u8]>,
    locations: Vec<&'a [u8]>,
    functions: Vec<&'a [u8]>,
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
}

#[derive(Clone, Copy, PartialEq)]
enum Prune {
    Keep,
    /// The match is inlined: the location stays with its outer lines, what it called goes.
    Beneath,
    /// The location itself goes too.
    Whole,
}

impl Frames {
    /// Frames of a sample from root to leaf. `locations` are leaf first, as in the file.
    pub fn of_sample<'f>(&'f self, locations: &[u64], missing: &mut u32) -> std::vec::IntoIter<&'f FrameId> {
        let mut out: Vec<&FrameId> = Vec::with_capacity(locations.len() + 8);
        let mut user_seen = false;
        for id in locations.iter().rev() {
            let Some(row) = self.ids.get(*id) else {
                *missing += 1;
                out.push(&self.unknown);
                continue;
            };
            // Frames below the first frame of the user's own stay: a matching root would empty the stack.
            let prune = self.prune[row];
            if prune == Prune::Whole && user_seen {
                break;
            }
            out.extend(&self.frames[self.start[row] as usize..self.start[row + 1] as usize]);
            if prune == Prune::Beneath && user_seen {
                break;
            }
            user_seen |= prune == Prune::Keep;
        }
        out.into_iter()
    }
}

impl<'a> Tables<'a> {
    /// Splits the file.
    ///
    /// # Errors
    /// `Malformed` when it cannot be a single profile.
    pub fn scan(bytes: &'a [u8]) -> Result<Tables<'a>, ImportError> {
        let malformed = |reason: &str| ImportError::Malformed { format: "pprof", reason: reason.to_string() };
        let mut t = Tables::default();
        let mut times = 0;
        let mut fields = Fields::new(bytes);
        for (number, value) in fields.by_ref() {
            match number {
                1 => t.sample_types.push(value_type(value.bytes())),
                2 => t.samples.push(value.bytes()),
                3 => t.mappings.push(value.bytes()),
                4 => t.locations.push(value.bytes()),
                5 => t.functions.push(value.bytes()),
                6 => t.strings.push(value.bytes()),
                7 => t.head.drop_frames = value.u64(),
                8 => t.head.keep_frames = value.u64(),
                9 => {
                    t.head.time_ns = value.i64();
                    times += 1;
                }
                10 => t.head.duration_ns = value.i64(),
                11 => t.head.period_type = Some(value_type(value.bytes())),
                12 => t.head.period = value.i64(),
                14 => t.head.default_type = value.u64(),
                _ => {}
            }
        }
        t.cut = fields.damaged_at();
        if times > 1 {
            return Err(malformed(
                "it is several profiles glued together; merge them with `go tool pprof -proto A B` or open them one by one",
            ));
        }
        if t.strings.first().is_some_and(|first| !first.is_empty()) {
            return Err(malformed("its string table does not begin with an empty text, as the format demands"));
        }
        if t.cut.is_some() && t.strings.is_empty() && !t.samples.is_empty() {
            return Err(malformed("it breaks off before its string table, so no name or unit is known; record or download it again"));
        }
        Ok(t)
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
    pub fn label(&self, bytes: &[u8], import: &mut Import<'_>) -> Label {
        let (mut key, mut text, mut number, mut unit) = (0, 0, 0, 0);
        for (field, value) in Fields::new(bytes) {
            match field {
                1 => key = value.u64(),
                2 => text = value.u64(),
                3 => number = value.i64(),
                4 => unit = value.u64(),
                _ => {}
            }
        }
        let key_id = self.intern(key, import);
        let mut unit = self.intern(unit, import);
        if text == 0 && unit.is_none() && matches!(self.text(key).as_str(), "alignment" | "request" | "bytes") {
            unit = import.session.strings.intern("bytes");
        }
        Label { key: key_id, text: self.intern(text, import), number, unit }
    }

    /// Interns the frames of every location.
    ///
    /// # Errors
    /// `Stopped` when the user cancelled.
    pub fn frames(&self, import: &mut Import<'_>) -> Result<Frames, ImportError> {
        let functions: Vec<Function> = self.functions.iter().map(|bytes| Function::read(bytes)).collect();
        let function_ids = Ids::new(functions.iter().map(|f| f.id));
        let mut mapping_rows = Vec::with_capacity(self.mappings.len());
        for bytes in &self.mappings {
            let (mut id, mut file, mut build) = (0, 0, 0);
            for (field, value) in Fields::new(bytes) {
                match field {
                    1 => id = value.u64(),
                    5 => file = value.u64(),
                    6 => build = value.u64(),
                    _ => {}
                }
            }
            let (file, build) = (self.intern(file, import), self.intern(build, import));
            let row = if file.is_none() { MappingId::NONE } else { import.session.symbols.mappings.intern(file, build) };
            mapping_rows.push((id, row));
        }
        let mapping_ids = Ids::new(mapping_rows.iter().map(|m| m.0));
        let drop = Pruner::new(&self.text(self.head.drop_frames), &self.text(self.head.keep_frames));
        let names: Vec<String> = functions.iter().map(|f| self.display_name(f)).collect();
        let matches: Vec<bool> = names.iter().map(|name| drop.as_ref().is_some_and(|d| d.drops(name))).collect();
        let unknown_name = import.session.strings.intern("<unknown>");
        let unknown = FuncKey { flags: FUNC_UNSYMBOLIZED, ..FuncKey::named(unknown_name) };
        let unknown = import.session.symbols.funcs.intern(unknown);
        let mut out = Frames {
            ids: Ids::new(self.locations.iter().map(|bytes| location_id(bytes))),
            start: vec![0],
            frames: Vec::new(),
            unknown: import.session.symbols.frames.intern(FrameKey::of(unknown)),
            prune: Vec::with_capacity(self.locations.len()),
            pruned: 0,
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
            let mut prune = Prune::Keep;
            // Outermost line first: the format lists the innermost (inlined) one first.
            for (at, &(function, line)) in lines.iter().enumerate().rev() {
                let found = function_ids.get(function);
                if found.is_some_and(|f| matches[f]) {
                    prune = if at == last { Prune::Whole } else { Prune::Beneath };
                    out.pruned += 1;
                    if at != last {
                        break;
                    }
                }
                let func = match found {
                    Some(f) if !names[f].is_empty() => {
                        let name = import.session.strings.intern(&names[f]);
                        let system = self.intern(functions[f].system_name, import);
                        let key = FuncKey {
                            name,
                            system_name: if system == name { StringId::NONE } else { system },
                            file: self.intern(functions[f].file, import),
                            mapping,
                            start_line: u32::try_from(functions[f].start_line).unwrap_or(0),
                            flags: 0,
                        };
                        import.session.symbols.funcs.intern(key)
                    }
                    _ => unsymbolized(mapping, import),
                };
                let flags = if at == last { 0 } else { FRAME_INLINED };
                out.frames.push(import.session.symbols.frames.intern(FrameKey { func, line, address, offset: NO_ADDRESS, flags }));
            }
            if lines.is_empty() {
                let func = unsymbolized(mapping, import);
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

    /// A name given apart from the linker's is the producer's own; else the linker's name is made readable.
    fn display_name(&self, function: &Function) -> String {
        let (name, system) = (self.text(function.name), self.text(function.system_name));
        if !name.is_empty() && name != system { name } else { simple_name(&system) }
    }
}

/// `[basename of the mapping]`, or `<unknown>`.
fn unsymbolized(mapping: MappingId, import: &mut Import<'_>) -> crate::base::ids::FuncId {
    let session = &mut *import.session;
    let name = match mapping.get() {
        Some(m) => {
            let path = session.strings.get(session.symbols.mappings.file[m.index()]);
            format!("[{}]", path.rsplit(['/', '\\']).next().unwrap_or(path))
        }
        None => "<unknown>".to_string(),
    };
    let name = session.strings.intern(&name);
    session.symbols.funcs.intern(FuncKey { mapping, flags: FUNC_UNSYMBOLIZED, ..FuncKey::named(name) })
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

/// drop_frames and keep_frames: anchored patterns on simplified names (google/pprof profile/prune.go).
struct Pruner {
    drop: regex::Regex,
    keep: Option<regex::Regex>,
}

impl Pruner {
    fn new(drop: &str, keep: &str) -> Option<Pruner> {
        let compile = |text: &str| (!text.is_empty()).then(|| regex::Regex::new(&format!("^({text})$")).ok()).flatten();
        Some(Pruner { drop: compile(drop)?, keep: compile(keep) })
    }
    fn drops(&self, name: &str) -> bool {
        let name = simplify(name);
        !name.is_empty() && self.drop.is_match(name) && !self.keep.as_ref().is_some_and(|keep| keep.is_match(name))
    }
}

/// Without a leading dot and without what follows the first parenthesis that opens parameters.
fn simplify(name: &str) -> &str {
    let name = name.strip_prefix('.').unwrap_or(name);
    let mut from = 0;
    while let Some(at) = name[from..].find('(').map(|at| at + from) {
        let rest = &name[at..];
        let part_of_name =
            ["(anonymous namespace)", "()"].iter().find(|p| rest.starts_with(**p) && (**p != "()" || name[..at].ends_with("operator")));
        match part_of_name {
            Some(part) => from = at + part.len(),
            None => return &name[..at],
        }
    }
    name
}
