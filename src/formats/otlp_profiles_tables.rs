//! The dictionary of OTLP profiles (opentelemetry-proto profiles/v1development): tables that all profiles of a message share,
//! whose first row means "none"; and their stacks in the session.

use super::Import;
use super::names::{full_name, simple_name};
use crate::base::ids::{FrameId, MappingId, StackId, StringId};
use crate::model::symbols::{FRAME_INLINED, FUNC_KERNEL, FUNC_UNSYMBOLIZED, FrameKey, FuncKey, NO_ADDRESS};
use std::collections::HashMap;

/// A value of an attribute.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum AttrValue {
    /// None.
    #[default]
    Null,
    /// A text; also truth values, fractions, lists.
    Text(String),
    /// An integer.
    Number(i64),
    /// A row of the strings.
    Constant(i64),
}

/// A row of `mapping_table`.
#[derive(Clone, Debug, Default)]
pub struct Mapping {
    /// Row of the file's name.
    pub file: i64,
    /// Rows of attributes.
    pub attributes: Vec<i64>,
}

/// A row of `location_table`.
#[derive(Clone, Debug, Default)]
pub struct Location {
    /// Row of the mapping.
    pub mapping: i64,
    /// Instruction address; 0 if unknown.
    pub address: u64,
    /// Rows of functions with lines; the outermost is last.
    pub lines: Vec<(i64, i64)>,
    /// Rows of attributes.
    pub attributes: Vec<i64>,
}

/// A row of `function_table`.
#[derive(Clone, Debug, Default)]
pub struct Function {
    /// Row of the name.
    pub name: i64,
    /// Row of the linker's name.
    pub system_name: i64,
    /// Row of the source file.
    pub file: i64,
    /// First line.
    pub start_line: i64,
}

/// A row of `attribute_table`.
#[derive(Clone, Debug, Default)]
pub struct Attribute {
    /// Row of the key.
    pub key: i64,
    /// Value.
    pub value: AttrValue,
    /// Row of the unit.
    pub unit: i64,
}

/// All tables of one message.
#[derive(Clone, Debug, Default)]
pub struct Dictionary {
    /// Texts.
    pub strings: Vec<String>,
    /// Binaries.
    pub mappings: Vec<Mapping>,
    /// Places in the code.
    pub locations: Vec<Location>,
    /// Functions.
    pub functions: Vec<Function>,
    /// Trace id and span id, in hex digits.
    pub links: Vec<(String, String)>,
    /// Attributes.
    pub attributes: Vec<Attribute>,
    /// Rows of locations, leaf first.
    pub stacks: Vec<Vec<i64>>,
}

fn row<T>(table: &[T], at: i64) -> Option<&T> {
    table.get(usize::try_from(at).ok()?)
}

impl Dictionary {
    /// A text; empty for none and for a row that is not there.
    pub fn text(&self, at: i64) -> &str {
        row(&self.strings, at).map_or("", String::as_str)
    }

    /// An attribute: key and value, with the texts that it refers to.
    pub fn attribute(&self, at: i64) -> Option<(&str, AttrValue, &str)> {
        let attribute = row(&self.attributes, at).filter(|_| at > 0)?;
        let value = match &attribute.value {
            AttrValue::Constant(text) => AttrValue::Text(self.text(*text).to_string()),
            value => value.clone(),
        };
        Some((self.text(attribute.key), value, self.text(attribute.unit)))
    }

    /// Trace id and span id of a link; `None` for row 0 and for one that is not there.
    pub fn link(&self, at: i64) -> Option<&(String, String)> {
        row(&self.links, at).filter(|_| at > 0)
    }
}

/// The stacks of a dictionary in the session, found when they are first asked for.
#[derive(Default)]
pub struct Stacks {
    mappings: HashMap<i64, MappingId>,
    locations: HashMap<i64, Option<Vec<FrameId>>>,
    stacks: HashMap<i64, (StackId, u32)>,
}

impl Stacks {
    /// A stack, and how many of its locations the dictionary lacks. `None` when it lacks the stack.
    pub fn get(&mut self, at: i64, of: &Dictionary, import: &mut Import<'_>) -> Option<(StackId, u32)> {
        if at == 0 {
            return Some((StackId::NONE, 0));
        }
        if let Some(known) = self.stacks.get(&at) {
            return Some(*known);
        }
        let (mut stack, mut missing) = (StackId::NONE, 0);
        for location in row(&of.stacks, at)?.iter().rev() {
            if !self.locations.contains_key(location) {
                let frames = self.frames(*location, of, import);
                self.locations.insert(*location, frames);
            }
            match self.locations.get(location) {
                Some(Some(frames)) => {
                    for frame in frames {
                        stack = import.session.symbols.stacks.push(stack, *frame);
                    }
                }
                _ => {
                    missing += 1;
                    let name = import.session.strings.intern("<unknown>");
                    let func = import.session.symbols.funcs.intern(FuncKey { flags: FUNC_UNSYMBOLIZED, ..FuncKey::named(name) });
                    let frame = import.session.symbols.frames.intern(FrameKey::of(func));
                    stack = import.session.symbols.stacks.push(stack, frame);
                }
            }
        }
        self.stacks.insert(at, (stack, missing));
        Some((stack, missing))
    }

    /// The frames of a location, outermost first.
    fn frames(&mut self, at: i64, of: &Dictionary, import: &mut Import<'_>) -> Option<Vec<FrameId>> {
        let location = row(&of.locations, at).filter(|_| at > 0)?;
        let mapping = self.mapping(location.mapping, of, import);
        let kernel = location
            .attributes
            .iter()
            .filter_map(|a| of.attribute(*a))
            .any(|(key, value, _)| key == "profile.frame.type" && value == AttrValue::Text("kernel".to_string()));
        let flags = if kernel { FUNC_KERNEL } else { 0 };
        let address = if location.address == 0 { NO_ADDRESS } else { location.address };
        if location.lines.is_empty() {
            let frame = unsymbolized(mapping, flags, of.text(row(&of.mappings, location.mapping).map_or(0, |m| m.file)), import);
            return Some(vec![import.session.symbols.frames.intern(FrameKey { address, ..FrameKey::of(frame) })]);
        }
        let outermost = location.lines.len() - 1;
        let frame = |(i, (function, line)): (usize, &(i64, i64))| {
            let known = row(&of.functions, *function).filter(|_| *function > 0);
            let (name, system) = known.map_or(("", ""), |f| (of.text(f.name), of.text(f.system_name)));
            let func = if name.is_empty() && system.is_empty() {
                unsymbolized(mapping, flags, of.text(row(&of.mappings, location.mapping).map_or(0, |m| m.file)), import)
            } else {
                let given = if name.is_empty() { system } else { name };
                let (shown, full) = (simple_name(given), full_name(given));
                let text = |text: &str, import: &mut Import<'_>| match text {
                    "" => StringId::NONE,
                    text => import.session.strings.intern(text),
                };
                let key = FuncKey {
                    name: import.session.strings.intern(&shown),
                    full_name: if full == shown { StringId::NONE } else { text(&full, import) },
                    system_name: if system == shown { StringId::NONE } else { text(system, import) },
                    file: text(known.map_or("", |f| of.text(f.file)), import),
                    mapping,
                    start_line: known.and_then(|f| u32::try_from(f.start_line).ok()).unwrap_or(0),
                    flags,
                };
                import.session.symbols.funcs.intern(key)
            };
            let line = u32::try_from(*line).unwrap_or(0);
            let flags = if i == outermost { 0 } else { FRAME_INLINED };
            import.session.symbols.frames.intern(FrameKey { func, line, address, offset: NO_ADDRESS, flags })
        };
        Some(location.lines.iter().enumerate().rev().map(frame).collect())
    }

    fn mapping(&mut self, at: i64, of: &Dictionary, import: &mut Import<'_>) -> MappingId {
        if let Some(known) = self.mappings.get(&at) {
            return *known;
        }
        let mapping = row(&of.mappings, at).filter(|m| at > 0 && !of.text(m.file).is_empty());
        let id = mapping.map_or(MappingId::NONE, |m| {
            let build = m.attributes.iter().filter_map(|a| of.attribute(*a)).find_map(|(key, value, _)| match value {
                AttrValue::Text(text) if key.starts_with("process.executable.build_id") => Some(text),
                _ => None,
            });
            let build = build.map_or(StringId::NONE, |text| import.session.strings.intern(&text));
            let file = import.session.strings.intern(of.text(m.file));
            import.session.symbols.mappings.intern(file, build)
        });
        self.mappings.insert(at, id);
        id
    }
}

/// The stand-in for a function without a name: its binary.
fn unsymbolized(mapping: MappingId, flags: u8, file: &str, import: &mut Import<'_>) -> crate::base::ids::FuncId {
    let base = file.rsplit(['/', '\\']).next().unwrap_or(file);
    let name = if base.is_empty() { "<unknown>".to_string() } else { format!("[{base}]") };
    let name = import.session.strings.intern(&name);
    import.session.symbols.funcs.intern(FuncKey { mapping, flags: flags | FUNC_UNSYMBOLIZED, ..FuncKey::named(name) })
}
