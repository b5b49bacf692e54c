//! Lines and inlined calls of addresses, out of DWARF (through gimli). One pass over the units that hold any of the addresses,
//! without recursion, within a bound on steps.

use crate::model::symbol_files::SymbolFile;
use gimli::{AttributeValue, DebugInfoOffset, Dwarf, EndianSlice, RunTimeEndian, Unit, UnitOffset};
use std::collections::HashMap;
use std::rc::Rc;

type Slice<'a> = EndianSlice<'a, RunTimeEndian>;

/// A function at an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CodeFrame {
    /// Name as the linker knows it if there is one, else as the source has it; empty if unknown.
    pub name: String,
    /// Source file of the line; empty if unknown.
    pub file: String,
    /// Line; 0 if unknown.
    pub line: u32,
    /// Line where the function is declared; 0 if unknown.
    pub start_line: u32,
}

/// What is known of some addresses.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// For each address its functions, innermost first; empty where nothing is known.
    pub frames: Vec<Vec<CodeFrame>>,
    /// Whether the debug information was too large or too odd to be gone through to its end.
    pub cut: bool,
}

/// Deeper inlining is shown without its innermost calls.
const MAX_INLINED: usize = 200;
/// Hops from a function to the place that has its name.
const MAX_HOPS: usize = 16;

/// Looks up addresses, which are sorted and distinct.
pub fn places(file: &SymbolFile, addresses: &[u64]) -> Places {
    let endian = if file.big { RunTimeEndian::Big } else { RunTimeEndian::Little };
    let section = |id: gimli::SectionId| {
        let bytes = file.debug.iter().find(|(name, _)| name == id.name()).map_or(&[][..], |(_, bytes)| bytes.as_slice());
        Ok::<_, gimli::Error>(EndianSlice::new(bytes, endian))
    };
    let mut out = Places { frames: vec![Vec::new(); addresses.len()], cut: false };
    let Ok(dwarf) = Dwarf::load(section) else { return out };
    // Every step is paid for by a byte of debug information or by an address, several times over.
    let bytes: usize = file.debug.iter().map(|(_, bytes)| bytes.len()).sum();
    let mut lookup = Lookup {
        dwarf: &dwarf,
        addresses,
        units: HashMap::new(),
        names: HashMap::new(),
        headers: Vec::new(),
        steps: 64 * (bytes + addresses.len()) + 1_000_000,
    };
    let mut headers = dwarf.units();
    while let Ok(Some(header)) = headers.next() {
        lookup.headers.push(header.offset().0);
    }
    for row in 0..lookup.headers.len() {
        let Some(unit) = lookup.unit(row) else { continue };
        if lookup.read_unit(row, &unit, &mut out.frames).is_none() && lookup.steps == 0 {
            out.cut = true;
            break;
        }
    }
    out
}

/// Whether the debug information was split off: lines and inlined calls then stand in `.dwo` files or a `.dwp`, which this
/// file's units only name (DWARF 5, section 7.3).
pub fn is_split(file: &SymbolFile) -> bool {
    let endian = if file.big { RunTimeEndian::Big } else { RunTimeEndian::Little };
    let section = |id: gimli::SectionId| {
        let bytes = file.debug.iter().find(|(name, _)| name == id.name()).map_or(&[][..], |(_, bytes)| bytes.as_slice());
        Ok::<_, gimli::Error>(EndianSlice::new(bytes, endian))
    };
    let Ok(dwarf) = Dwarf::load(section) else { return false };
    // Runtimes and start-up code come whole and first: a program's own units are among the first hundred.
    let mut headers = dwarf.units();
    for _ in 0..100 {
        let Ok(Some(header)) = headers.next() else { return false };
        if matches!(header.type_(), gimli::UnitType::Skeleton(_)) {
            return true;
        }
        let Ok(unit) = dwarf.unit(header) else { continue };
        let mut entries = unit.entries();
        if let Ok(Some(root)) = entries.next_dfs()
            && root.attr_value(gimli::DW_AT_GNU_dwo_name).is_some()
        {
            return true;
        }
    }
    false
}

struct Lookup<'d, 'a> {
    dwarf: &'d Dwarf<Slice<'a>>,
    addresses: &'d [u64],
    /// Units that were parsed, by position; the last few only.
    units: HashMap<usize, Rc<Unit<Slice<'a>>>>,
    /// Name and first line of functions by unit and offset.
    names: HashMap<(usize, usize), (String, u32)>,
    /// Offset of each unit.
    headers: Vec<usize>,
    steps: usize,
}

/// The functions at an address while a unit is read, outermost first, and what the line table says.
#[derive(Default)]
struct Open {
    /// The function that is not inlined.
    owner: Option<UnitOffset>,
    /// Inlined calls: the function, and file and line of the call.
    inlined: Vec<(UnitOffset, u64, u32)>,
    line: Option<(u64, u32)>,
}

impl<'a> Lookup<'_, 'a> {
    fn step(&mut self, n: usize) -> Option<()> {
        self.steps = self.steps.saturating_sub(n);
        (self.steps > 0).then_some(())
    }

    fn unit(&mut self, row: usize) -> Option<Rc<Unit<Slice<'a>>>> {
        if let Some(unit) = self.units.get(&row) {
            return Some(unit.clone());
        }
        let header = self.dwarf.unit_header(DebugInfoOffset(*self.headers.get(row)?)).ok()?;
        let unit = Rc::new(self.dwarf.unit(header).ok()?);
        if self.units.len() >= 64 {
            self.units.clear();
        }
        self.units.insert(row, unit.clone());
        Some(unit)
    }

    /// Positions of the addresses in a range.
    fn within(&self, begin: u64, end: u64) -> std::ops::Range<usize> {
        let from = self.addresses.partition_point(|a| *a < begin);
        from..from.max(self.addresses.partition_point(|a| *a < end))
    }

    /// Reads a unit if it holds any of the addresses. `None` when it is damaged or too much.
    fn read_unit(&mut self, row: usize, unit: &Unit<Slice<'a>>, out: &mut [Vec<CodeFrame>]) -> Option<()> {
        let mut open: HashMap<usize, Open> = HashMap::new();
        let mut ranges = self.dwarf.unit_ranges(unit).ok()?;
        let (mut any, mut told) = (false, false);
        while let Ok(Some(range)) = ranges.next() {
            self.step(1)?;
            told = true;
            any |= !self.within(range.begin, range.end).is_empty();
        }
        // Some compilers give a unit no ranges of its own.
        if told && !any {
            return Some(());
        }
        let functions = self.read_functions(unit, &mut open);
        let lines = self.read_lines(unit, &mut open);
        let mut found: Vec<(usize, Open)> = open.into_iter().collect();
        found.sort_by_key(|(at, _)| *at);
        for (at, place) in found {
            if out[at].is_empty() {
                out[at] = self.frames(row, unit, &place);
            }
        }
        functions.and(lines)
    }

    fn read_functions(&mut self, unit: &Unit<Slice<'a>>, open: &mut HashMap<usize, Open>) -> Option<()> {
        let mut cursor = unit.entries();
        // Functions enclose each other only in languages with nested functions: the innermost owns what it covers.
        let mut owners: Vec<(isize, UnitOffset)> = Vec::new();
        while let Some(entry) = cursor.next_dfs().ok()? {
            self.step(1)?;
            let depth = entry.depth();
            while owners.last().is_some_and(|(d, _)| *d >= depth) {
                owners.pop();
            }
            let inlined = match entry.tag() {
                gimli::DW_TAG_subprogram => false,
                gimli::DW_TAG_inlined_subroutine => true,
                _ => continue,
            };
            let offset = entry.offset();
            let mut call = None;
            if inlined {
                let number = |name| entry.attr_value(name).and_then(|v| v.udata_value()).unwrap_or(0);
                let file = match entry.attr_value(gimli::DW_AT_call_file) {
                    Some(AttributeValue::FileIndex(file)) => file,
                    _ => number(gimli::DW_AT_call_file),
                };
                let origin = match entry.attr_value(gimli::DW_AT_abstract_origin) {
                    Some(AttributeValue::UnitRef(origin)) => origin,
                    // Its name is looked up from the entry itself, which leads there.
                    _ => offset,
                };
                call = Some((origin, file, u32::try_from(number(gimli::DW_AT_call_line)).unwrap_or(0)));
            } else {
                owners.push((depth, offset));
            }
            let owner = owners.last().map(|(_, owner)| *owner);
            let Ok(mut ranges) = self.dwarf.die_ranges(unit, entry) else { continue };
            while let Ok(Some(range)) = ranges.next() {
                let covered = self.within(range.begin, range.end);
                self.step(1 + covered.len())?;
                // Address 0 is what linkers leave of code that they removed.
                if range.begin == 0 {
                    continue;
                }
                for at in covered {
                    let place = open.entry(at).or_default();
                    match call {
                        None => (place.owner, place.inlined) = (Some(offset), Vec::new()),
                        Some(call) if place.owner == owner && place.inlined.len() < MAX_INLINED => place.inlined.push(call),
                        Some(_) => {}
                    }
                }
            }
        }
        Some(())
    }

    fn read_lines(&mut self, unit: &Unit<Slice<'a>>, open: &mut HashMap<usize, Open>) -> Option<()> {
        let mut rows = unit.line_program.clone()?.rows();
        let mut last: Option<(u64, u64, u32)> = None;
        loop {
            let Ok(Some((_, row))) = rows.next_row() else { return Some(()) };
            self.steps = self.steps.saturating_sub(1);
            if self.steps == 0 {
                return None;
            }
            if let Some((address, file, line)) = last.filter(|(address, ..)| *address != 0) {
                for at in self.within(address, row.address()) {
                    open.entry(at).or_default().line = Some((file, line));
                }
            }
            let line = row.line().map_or(0, |line| u32::try_from(line.get()).unwrap_or(0));
            last = (!row.end_sequence()).then_some((row.address(), row.file_index(), line));
        }
    }

    /// Functions at an address, innermost first: each has the line where the next inner one was called.
    fn frames(&mut self, row: usize, unit: &Unit<Slice<'a>>, place: &Open) -> Vec<CodeFrame> {
        let mut out = Vec::new();
        let mut at = place.line.unwrap_or((0, 0));
        for (function, call_file, call_line) in place.inlined.iter().rev() {
            out.push(self.frame(row, unit, Some(*function), at));
            at = (*call_file, *call_line);
        }
        out.push(self.frame(row, unit, place.owner, at));
        out
    }

    fn frame(&mut self, row: usize, unit: &Unit<Slice<'a>>, function: Option<UnitOffset>, (file, line): (u64, u32)) -> CodeFrame {
        let (name, start_line) = function.map_or((String::new(), 0), |f| self.name(row, f));
        let file = if line == 0 { String::new() } else { self.path(unit, file).unwrap_or_default() };
        CodeFrame { name, file, line, start_line }
    }

    fn path(&self, unit: &Unit<Slice<'a>>, file: u64) -> Option<String> {
        let header = unit.line_program.as_ref()?.header();
        let entry = header.file(file)?;
        let text = |value| self.dwarf.attr_string(unit, value).ok().map(|s| s.to_string_lossy().into_owned());
        let name = text(entry.path_name())?;
        if name.starts_with('/') {
            return Some(name);
        }
        let folder = entry.directory(header).and_then(text).unwrap_or_default();
        let compiled_in = unit.comp_dir.map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        let mut out = String::new();
        for part in [compiled_in, folder, name] {
            if part.starts_with('/') {
                out.clear();
            } else if !out.is_empty() && !out.ends_with('/') {
                out.push('/');
            }
            out.push_str(&part);
        }
        Some(out)
    }

    /// Name and first line of a function: at its entry, or where its entry says that it was declared.
    fn name(&mut self, row: usize, function: UnitOffset) -> (String, u32) {
        if let Some(known) = self.names.get(&(row, function.0)) {
            return known.clone();
        }
        let found = self.find_name(row, function);
        self.names.insert((row, function.0), found.clone());
        found
    }

    fn find_name(&mut self, row: usize, function: UnitOffset) -> (String, u32) {
        let (mut row, mut at) = (row, function);
        let (mut plain, mut line) = (String::new(), 0);
        for _ in 0..MAX_HOPS {
            let Some(unit) = self.unit(row) else { break };
            let Ok(entry) = unit.entry(at) else { break };
            let text = |name| {
                let value = entry.attr_value(name)?;
                self.dwarf.attr_string(&unit, value).ok().map(|s| s.to_string_lossy().into_owned())
            };
            if line == 0 {
                let value = entry.attr_value(gimli::DW_AT_decl_line).and_then(|v| v.udata_value());
                line = value.and_then(|v| u32::try_from(v).ok()).unwrap_or(0);
            }
            if let Some(name) = text(gimli::DW_AT_linkage_name).or_else(|| text(gimli::DW_AT_MIPS_linkage_name)) {
                return (name, line);
            }
            if plain.is_empty() {
                plain = text(gimli::DW_AT_name).unwrap_or_default();
            }
            let next = entry.attr_value(gimli::DW_AT_abstract_origin).or_else(|| entry.attr_value(gimli::DW_AT_specification));
            match next {
                Some(AttributeValue::UnitRef(offset)) => at = offset,
                Some(AttributeValue::DebugInfoRef(DebugInfoOffset(offset))) => {
                    let Some(other) = self.headers.partition_point(|h| *h <= offset).checked_sub(1) else { break };
                    (row, at) = (other, UnitOffset(offset - self.headers[other]));
                }
                _ => break,
            }
        }
        (plain, line)
    }
}
