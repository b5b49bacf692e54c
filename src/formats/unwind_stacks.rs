//! Stacks out of the copies that `perf record --call-graph dwarf` took, with the tables of the programs and libraries that were
//! opened beside the recording. Frames are those that perf gives: the first one as the registers have it, callers by their
//! return addresses.

use super::symbol_match::{Match, Matcher, process_of};
use super::unwind_table::{Memory, Registers, Table};
use crate::base::ids::{FrameId, MappingId, StackId};
use crate::model::Session;
use crate::model::copied_stacks::{CopiedStacks, Copy, Machine};
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use crate::model::symbol_files::SymbolFile;
use crate::model::symbols::{FRAME_CALLER, FUNC_UNSYMBOLIZED, FrameKey, FuncKey};
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};

const MISSING: DiagnosticCode = DiagnosticCode {
    code: "perf-data/copied-stacks",
    level: Level::DataLoss,
    message: "The file holds copies of these samples' stacks (`--call-graph dwarf`), which are unwound with the binaries that ran: callers \
              are missing from where a binary was not opened. Open these binaries together with the recording, or the text that `perf \
              script` writes on the recording machine.",
};
const SHORT: DiagnosticCode = DiagnosticCode {
    code: "perf-data/stack-copy-short",
    level: Level::DataLoss,
    message: "These stacks are longer than the copy that was taken: their outermost callers are missing. Record longer copies, \
              `perf record --call-graph dwarf,32768` (65528 at most).",
};
const BROKEN: DiagnosticCode = DiagnosticCode {
    code: "perf-data/stack-copy-broken",
    level: Level::DataLoss,
    message: "These copies of stacks cannot be unwound to their end: the binaries' tables do not tell how, or lead out of all binaries.",
};

/// Stacks are cut here; copies of 64 KB cannot hold more frames of real programs.
const MAX_FRAMES: usize = 4096;

/// Why a stack ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The thread began there.
    Root,
    /// The binary was not opened.
    Missing(MappingId),
    /// The copy ends.
    Short,
    /// The tables do not lead on.
    Broken,
}

/// Makes the stacks of a profile's samples, as far as the files allow.
pub fn unwind(session: &mut Session, p: usize, files: &[SymbolFile]) {
    let Some(copied) = session.profiles[p].copied.take() else { return };
    let mut tables = Tables { files, by_mapping: HashMap::new(), tables: HashMap::new() };
    let mut ends: Vec<(u32, End)> = Vec::new();
    let mut frames: HashMap<(MappingId, u64, bool), FrameId> = HashMap::new();
    let mut places = Vec::new();
    for copy in &copied.copies {
        places.clear();
        let end = walk(session, p, &copied, copy, &mut tables, &mut places);
        ends.push((copy.sample, end));
        let mut stack = StackId::NONE;
        for place in places.iter().rev() {
            let frame = *frames.entry(*place).or_insert_with(|| frame(session, *place));
            stack = session.symbols.stacks.push(stack, frame);
        }
        let kernel: Vec<FrameId> = session.symbols.stacks.leaf_to_root(copy.base).take(copy.kernel as usize).collect();
        for frame in kernel.into_iter().rev() {
            stack = session.symbols.stacks.push(stack, frame);
        }
        let stack = if stack.is_none() { copy.base } else { stack };
        let profile = &mut session.profiles[p];
        let column = match &mut profile.raw {
            Some(raw) => &mut raw.stack,
            None => &mut profile.samples.stack,
        };
        if let Some(slot) = column.get_mut(copy.sample as usize) {
            *slot = stack;
        }
    }
    drop(tables);
    session.profiles[p].copied = Some(copied);
    report(session, p, &ends);
}

/// Forgets what was reported before, for every source of the format.
pub fn forget(session: &mut Session) {
    for source in session.sources.iter_mut().filter(|s| s.format == "perf-data") {
        for code in [MISSING, SHORT, BROKEN] {
            source.ledger.diagnostics.forget(code.code);
        }
    }
}

fn report(session: &mut Session, p: usize, ends: &[(u32, End)]) {
    let mut missing: BTreeMap<MappingId, u64> = BTreeMap::new();
    let mut lines = Vec::new();
    for (sample, end) in ends {
        match end {
            End::Root => {}
            End::Missing(mapping) => *missing.entry(*mapping).or_default() += 1,
            End::Short => lines.push((SHORT, 1, At::Record(u64::from(*sample) + 1), String::new())),
            End::Broken => lines.push((BROKEN, 1, At::Record(u64::from(*sample) + 1), String::new())),
        }
    }
    let mut order: Vec<(MappingId, u64)> = missing.into_iter().collect();
    order.sort_by_key(|(mapping, count)| (std::cmp::Reverse(*count), *mapping));
    for (mapping, count) in order {
        let table = &session.symbols.mappings;
        let path = session.strings.get(table.file[mapping.index()]);
        let id = session.strings.get(table.build_id[mapping.index()]);
        let of = if id.is_empty() { String::new() } else { format!(" (build id {id})") };
        lines.push((MISSING, count, At::File, format!("{count} stacks end in {path}{of}")));
    }
    let source = session.profiles[p].source;
    if let Some(source) = session.sources.get_mut(source.index()) {
        for (code, count, at, text) in lines {
            source.ledger.diagnostics.report_many(code, count, at, &text);
        }
    }
}

/// A frame of an address that has no name yet; as perf.data's reader makes them.
fn frame(session: &mut Session, (mapping, offset, caller): (MappingId, u64, bool)) -> FrameId {
    let path = session.strings.get(session.symbols.mappings.file[mapping.index()]);
    let base = path.rsplit('/').next().unwrap_or(path);
    let name = session.strings.intern(&format!("{base}+{offset:#x}"));
    let func = session.symbols.funcs.intern(FuncKey { mapping, flags: FUNC_UNSYMBOLIZED, ..FuncKey::named(name) });
    let flags = if caller { FRAME_CALLER } else { 0 };
    session.symbols.frames.intern(FrameKey { address: offset, flags, ..FrameKey::of(func) })
}

/// Where the tables and the addresses of a binary come from.
#[derive(Clone, Copy)]
struct Sources {
    /// The file with the tables.
    unwind: usize,
    /// The file that tells where parts are loaded.
    layout: usize,
}

struct Tables<'a> {
    files: &'a [SymbolFile],
    by_mapping: HashMap<MappingId, Option<Sources>>,
    tables: HashMap<usize, Option<Table<'a>>>,
}

impl<'a> Tables<'a> {
    fn of(&mut self, session: &Session, p: usize, machine: Machine, mapping: MappingId) -> Option<Sources> {
        let files = self.files;
        *self.by_mapping.entry(mapping).or_insert_with(|| {
            let Match::Found(owner) = Matcher::new(session, p, files).of(session, mapping, false) else { return None };
            let layout = owner.layout()?;
            let unwind = owner.files().find(|at| files[*at].unwind.is_some() && files[*at].unwind.machine == machine)?;
            Some(Sources { unwind, layout })
        })
    }

    fn table(&mut self, file: usize) -> Option<&mut Table<'a>> {
        let files = self.files;
        self.tables.entry(file).or_insert_with(|| Table::new(&files[file])).as_mut()
    }
}

/// Puts the places of a stack into `out`, leaf first: file, offset in it, whether a call returns there.
fn walk(
    session: &Session,
    p: usize,
    copied: &CopiedStacks,
    copy: &Copy,
    tables: &mut Tables<'_>,
    out: &mut Vec<(MappingId, u64, bool)>,
) -> End {
    let mut at = Registers::new(copied.machine, copy.registers);
    let stack = Memory { start: at.stack_pointer().unwrap_or(0), bytes: copied.bytes(copy), overrun: Cell::default() };
    // Whether a call returns to the instruction: then it is looked up inside the call.
    let mut caller = false;
    while out.len() < MAX_FRAMES {
        let Some(ip) = at.instruction() else { return End::Broken };
        let Some((mapping, offset)) = copied.locate(copy.space, ip) else { return End::Broken };
        out.push((mapping, offset, caller));
        let path = session.strings.get(session.symbols.mappings.file[mapping.index()]);
        let next = if process_of(path).is_some() {
            at.by_frame_pointer(&stack).map(|next| (Some(next), false))
        } else {
            let Some(sources) = tables.of(session, p, copied.machine, mapping) else { return End::Missing(mapping) };
            let files = tables.files;
            let Some(address) = files[sources.layout].address_of(offset) else { return End::Broken };
            let Some(table) = tables.table(sources.unwind) else { return End::Broken };
            let Some(row) = table.row(address.wrapping_sub(u64::from(caller))) else { return End::Broken };
            table.step(&row, &at, &stack).map(|step| (step, row.signal))
        };
        let next = match next {
            None if stack.overrun.get() => return End::Short,
            None => return End::Broken,
            Some((None, _)) => return End::Root,
            Some((Some(next), signal)) => {
                caller = !signal;
                next
            }
        };
        // Every call takes room on the stack; only the innermost function of ARM may have taken none.
        let (before, after) = (at.stack_pointer(), next.stack_pointer());
        if after < before || after == before && (out.len() > 1 || next.instruction() == at.instruction()) {
            return End::Broken;
        }
        at = next;
    }
    End::Broken
}
