//! The end of reading a perf.data file: samples and changes of processes are gone through in order of time, and addresses
//! become frames.

use super::Import;
use super::perf_data_attr::sample;
use super::perf_data_copies::{Placing, machine};
use super::perf_data_gather::{Address, Change, Columns, Gather};
use super::perf_data_record::Mode;
use super::perf_data_space::{KERNEL, Kind, Processes};
use super::perf_events::Found;
use crate::base::ids::{FrameId, MappingId, StackId, StringId, ThreadId};
use crate::base::intern::PairIndex;
use crate::model::branches::Branch;
use crate::model::copied_stacks::CopiedStacks;
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use crate::model::symbols::{FRAME_CALLER, FUNC_KERNEL, FUNC_UNSYMBOLIZED, FrameKey, FuncKey};
use std::collections::HashMap;
use std::rc::Rc;

const NO_STACK: DiagnosticCode = DiagnosticCode {
    code: "perf-data/no-stack",
    level: Level::Notice,
    message: "Samples without an address are counted under [no stack].",
};
const BOGUS_ROOT: DiagnosticCode = DiagnosticCode {
    code: "perf-data/bogus-root",
    level: Level::Notice,
    message: "Unwinding ran past the end of these stacks; the addresses at the root that lie in no binary were cut off.",
};
const FOREIGN: DiagnosticCode = DiagnosticCode {
    code: "perf-data/foreign-copied-stacks",
    level: Level::DataLoss,
    message: "The file holds copies of these samples' stacks (`--call-graph dwarf`) of programs that are unwound on the recording machine \
              only: here it is done for 64-bit programs on x86 and ARM. Open the text that `perf script` writes there.",
};
const LEFT: DiagnosticCode = DiagnosticCode {
    code: "perf-data/copied-stacks-left",
    level: Level::DataLoss,
    message: "Copies of stacks beyond 512 MB were left aside; the callers of these samples are missing. Record for a shorter time, at a \
              lower rate, or open the text that `perf script` writes.",
};
const AUX: DiagnosticCode = DiagnosticCode {
    code: "perf-data/aux-data",
    level: Level::DataLoss,
    message: "AUX data (Intel PT, ARM CoreSight or SPE) is not decoded; `perf script --itrace=i100us` turns it into samples.",
};
const REFUSED: DiagnosticCode = DiagnosticCode {
    code: "perf-data/too-many-mappings",
    level: Level::DataLoss,
    message: "Mappings beyond what a process can have were left aside.",
};

/// Makes the profiles.
pub fn finish(mut gather: Gather, import: &mut Import<'_>) {
    name_events(&mut gather);
    for (code, count) in [(FOREIGN, gather.foreign_copies), (LEFT, gather.copies.left)] {
        if count > 0 {
            import.ledger.diagnostics.report_many(code, count, At::File, "");
        }
    }
    if gather.aux_bytes > 0 {
        import.report(AUX, At::File, &format!("{} bytes", gather.aux_bytes));
    }
    let own = std::mem::take(&mut gather.features.symbols).into_iter().filter_map(|file| file.into_file(import.source));
    import.session.symbol_files.extend(own);
    let columns = std::mem::take(&mut gather.columns);
    let timed = columns.event.iter().all(|e| gather.attrs[*e as usize].has(sample::TIME));
    let order = in_order(&columns, timed);
    let mut changes = std::mem::take(&mut gather.changes);
    if timed {
        changes.sort_by_key(|(time, ..)| *time);
    }
    let mut run = Run::new(gather);
    let mut changes = changes.into_iter().peekable();
    let branches_of = branch_starts(&columns);
    let copies = std::mem::take(&mut run.gather.copies);
    let mut placing = Placing::new(copies, run.gather.attrs.iter().map(|attr| machine(attr.registers)));
    for row in order {
        let i = row as usize;
        while let Some((_, _, change)) =
            changes.next_if(|(time, before, _)| if timed { *time <= columns.time_ns[i] } else { *before <= row })
        {
            run.change(change);
        }
        let (stack, position) = run.sample(&columns, i, timed, import);
        if placing.has(row) {
            run.copy(&mut placing, &columns, i, (stack, position), import);
        }
        run.branches(&columns, i, &branches_of, import);
    }
    if run.processes.refused > 0 {
        import.ledger.diagnostics.report_many(REFUSED, run.processes.refused, At::File, "");
    }
    let first = if timed { columns.time_ns.iter().min().copied().unwrap_or(0) } else { 0 };
    let start = run.gather.features.clock.map_or(0, |(wall, clock)| (wall as i64).wrapping_add(first.wrapping_sub(clock as i64)));
    let periods: Vec<(String, i64)> =
        run.names.iter().zip(&run.gather.attrs).map(|(name, attr)| (name.clone(), attr.fixed_period().unwrap_or(0))).collect();
    let begin = import.session.profiles.len();
    let base = run.processes.kernel_base();
    let mut copied: HashMap<String, Box<CopiedStacks>> =
        run.names.iter().zip(placing.finish()).filter_map(|(name, copied)| Some((name.clone(), copied?))).collect();
    run.found.finish(import);
    for profile in &mut import.session.profiles[begin..] {
        profile.copied = copied.remove(&profile.name);
        profile.start_ns = start;
        profile.kernel_base = base;
        if let Some((_, period)) = periods.iter().find(|(name, period)| *name == profile.name && *period > 0) {
            profile.period = *period;
            profile.period_unit = profile.value_types.last().map_or(String::new(), |v| v.unit.clone());
        }
    }
}

/// Names from the event descriptions go to the events that have their ids; without ids they go by position.
fn name_events(gather: &mut Gather) {
    for (at, (name, ids)) in std::mem::take(&mut gather.features.events).into_iter().enumerate() {
        let row = ids.iter().find_map(|id| gather.ids.get(id).copied()).map_or(at, |row| row as usize);
        if let Some(attr) = gather.attrs.get_mut(row)
            && attr.name.is_empty()
        {
            attr.name = name;
        }
    }
    for (config, name) in &gather.type_names {
        for attr in gather.attrs.iter_mut().filter(|a| a.config == *config && a.name.is_empty() && a.kind == 2) {
            attr.name.clone_from(name);
        }
    }
}

/// Sample rows in order of time; in order of the file where a sample has no time.
fn in_order(columns: &Columns, timed: bool) -> Vec<u32> {
    let mut order: Vec<u32> = (0..columns.event.len() as u32).collect();
    if timed {
        order.sort_by_key(|row| (columns.time_ns[*row as usize], *row));
    }
    order
}

/// First branch of each sample, with a closing entry; empty without branches.
fn branch_starts(columns: &Columns) -> Vec<u32> {
    if columns.branches.is_empty() {
        return Vec::new();
    }
    let mut starts = vec![0; columns.event.len() + 1];
    for (sample, ..) in &columns.branches {
        starts[*sample as usize + 1] += 1;
    }
    for i in 1..starts.len() {
        starts[i] += starts[i - 1];
    }
    starts
}

/// A place that was resolved before: valid while the process's mappings are the same.
struct Memo<T> {
    index: PairIndex,
    rows: Vec<Option<(u32, T)>>,
}

impl<T: Copy> Memo<T> {
    fn new() -> Memo<T> {
        Memo { index: PairIndex::default(), rows: Vec::new() }
    }

    fn slot(&mut self, space: u32, row: u32) -> &mut Option<(u32, T)> {
        let (at, new) = self.index.get_or_insert(space, row, self.rows.len() as u32);
        if new {
            self.rows.push(None);
        }
        &mut self.rows[at as usize]
    }

    fn get(&mut self, space: u32, row: u32, version: u32) -> Option<T> {
        self.slot(space, row).filter(|(v, _)| *v == version).map(|(_, value)| value)
    }

    fn set(&mut self, space: u32, row: u32, version: u32, value: T) {
        *self.slot(space, row) = Some((version, value));
    }
}

/// A stack whose addresses were resolved: `NONE` while only addresses in no binary were met from the root on.
#[derive(Clone, Copy)]
struct Walked {
    stack: StackId,
    /// Whether addresses at the root are missing.
    cut: bool,
}

struct Run {
    gather: Gather,
    processes: Processes,
    found: Found,
    /// Names of events: unlike in [`super::perf_data_attr`], no two are alike.
    names: Vec<String>,
    /// Position of each event in `found`; `usize::MAX` before its first sample.
    events: Vec<usize>,
    build_ids: HashMap<String, String>,
    mappings: Vec<MappingId>,
    frames: Memo<(FrameId, bool)>,
    stacks: Memo<Walked>,
    threads: HashMap<(i32, i32), (Rc<str>, ThreadId)>,
}

impl Run {
    fn new(mut gather: Gather) -> Run {
        let mut names: Vec<String> = Vec::new();
        for attr in &gather.attrs {
            let name = attr.event_name();
            let mut unique = name.clone();
            // Hundreds of events with one name are counted up quickly enough; thousands occur in no recording.
            let mut n = 2;
            while names.contains(&unique) && n < 1000 {
                unique = format!("{name} #{n}");
                n += 1;
            }
            names.push(unique);
        }
        let build_ids = std::mem::take(&mut gather.features.build_ids).into_iter().collect();
        Run {
            events: vec![usize::MAX; names.len()],
            names,
            gather,
            processes: Processes::default(),
            found: Found::new("perf-data"),
            build_ids,
            mappings: Vec::new(),
            frames: Memo::new(),
            stacks: Memo::new(),
            threads: HashMap::new(),
        }
    }

    fn change(&mut self, change: Change) {
        match change {
            Change::Map(mmap) => self.processes.mmap(&mmap),
            Change::Name(pid, tid, name, exec) => self.processes.comm(pid, tid, &name, exec),
            Change::Fork(pid, parent, tid, parent_tid) => self.processes.fork(pid, parent, tid, parent_tid),
        }
    }

    /// Takes over a sample; its stack, and its position among the samples of its event.
    fn sample(&mut self, columns: &Columns, i: usize, timed: bool, import: &mut Import<'_>) -> (StackId, usize) {
        let event = columns.event[i] as usize;
        if self.events[event] == usize::MAX {
            self.events[event] = self.found.event(&self.names[event]);
        }
        let space = self.processes.space(columns.pid[i]);
        let walked = self.walk(space, columns.stack[i], import);
        let stack = if !walked.stack.is_none() {
            if walked.cut {
                import.report(BOGUS_ROOT, At::Record(i as u64 + 1), "");
            }
            walked.stack
        } else if columns.stack[i].is_none() {
            import.report(NO_STACK, At::Record(i as u64 + 1), "");
            no_stack(import)
        } else {
            self.all_unknown(space, columns.stack[i], import)
        };
        let thread = self.thread(columns.pid[i], columns.tid[i]);
        let has_time = timed || self.gather.attrs[event].has(sample::TIME);
        let period = Some(columns.period[i]).filter(|p| *p != i64::MIN);
        let to = &mut self.found.events[self.events[event]];
        to.push(stack, thread, has_time.then_some(columns.time_ns[i]), period);
        (stack, to.len() - 1)
    }

    fn copy(&mut self, placing: &mut Placing, columns: &Columns, i: usize, (stack, position): (StackId, usize), import: &mut Import<'_>) {
        let space = self.processes.space(columns.pid[i]);
        // Mappings of modules are interned where they are first met.
        if let Some(last) = self.processes.modules.len().checked_sub(1) {
            self.mapping(last as u32, import);
        }
        let mappings = &self.mappings;
        let mapping = |module: u32| mappings[module as usize];
        placing.sample(i as u32, columns.event[i] as usize, position, stack, space, &self.processes, &mapping);
    }

    fn branches(&mut self, columns: &Columns, i: usize, starts: &[u32], import: &mut Import<'_>) {
        let (Some(&begin), Some(&end)) = (starts.get(i), starts.get(i + 1)) else { return };
        let space = self.processes.space(columns.pid[i]);
        for &(_, from, to, flags, kind, cycles) in &columns.branches[begin as usize..end as usize] {
            let branch = Branch { from: self.frame(space, from, import).0, to: self.frame(space, to, import).0, flags, kind, cycles };
            self.found.events[self.events[columns.event[i] as usize]].branch(branch);
        }
    }

    fn thread(&mut self, pid: i32, tid: i32) -> ThreadId {
        let name = self.processes.name(tid);
        match self.threads.get(&(pid, tid)) {
            Some((last, row)) if *last == name => *row,
            _ => {
                let row = self.found.thread(&name, i64::from(pid), i64::from(tid));
                self.threads.insert((pid, tid), (name, row));
                row
            }
        }
    }

    /// The session's stack for a stack of addresses, without the addresses at the root that lie in no binary.
    fn walk(&mut self, space: u32, stack: StackId, import: &mut Import<'_>) -> Walked {
        let version = self.processes.version(space);
        let mut missing = Vec::new();
        let mut at = stack;
        let mut walked = Walked { stack: StackId::NONE, cut: false };
        while !at.is_none() {
            if let Some(known) = self.stacks.get(space, at.0, version) {
                walked = known;
                break;
            }
            missing.push(at);
            at = self.gather.stacks.prefix[at.index()];
        }
        for node in missing.into_iter().rev() {
            let (frame, unknown) = self.frame(space, self.gather.stacks.frame[node.index()].0, import);
            if unknown && walked.stack.is_none() {
                walked.cut = true;
            } else {
                walked.stack = import.session.symbols.stacks.push(walked.stack, frame);
            }
            self.stacks.set(space, node.0, version, walked);
        }
        walked
    }

    /// A stack none of whose addresses lies in a binary.
    fn all_unknown(&mut self, space: u32, stack: StackId, import: &mut Import<'_>) -> StackId {
        let rows: Vec<u32> = self.gather.stacks.leaf_to_root(stack).map(|f| f.0).collect();
        let mut out = StackId::NONE;
        for row in rows.into_iter().rev() {
            let frame = self.frame(space, row, import).0;
            out = import.session.symbols.stacks.push(out, frame);
        }
        out
    }

    /// The frame of an address, and whether it lies in no binary.
    fn frame(&mut self, space: u32, row: u32, import: &mut Import<'_>) -> (FrameId, bool) {
        let address = self.gather.addresses.rows[row as usize];
        let space = if address.mode == Mode::Kernel { KERNEL } else { space };
        let version = self.processes.version(space);
        if let Some(known) = self.frames.get(space, row, version) {
            return known;
        }
        let frame = self.place(space, address, import);
        self.frames.set(space, row, version, frame);
        frame
    }

    fn place(&mut self, space: u32, address: Address, import: &mut Import<'_>) -> (FrameId, bool) {
        let flags = if address.caller { FRAME_CALLER } else { 0 };
        let Some((module, offset)) = self.processes.locate(space, address.ip, address.mode) else {
            let name = import.session.strings.intern("[unknown]");
            let func = import.session.symbols.funcs.intern(FuncKey { flags: FUNC_UNSYMBOLIZED, ..FuncKey::named(name) });
            let key = FrameKey { address: address.ip, flags, ..FrameKey::of(func) };
            return (import.session.symbols.frames.intern(key), true);
        };
        let mapping = self.mapping(module, import);
        let module = &self.processes.modules[module as usize];
        let base = module.file.rsplit('/').next().unwrap_or(&module.file);
        let shown = if module.kind == Kind::Kernel && offset >= module.base { offset - module.base } else { offset };
        let name = import.session.strings.intern(&format!("{base}+{shown:#x}"));
        let kernel = if module.kind == Kind::Kernel { FUNC_KERNEL } else { 0 };
        let func = FuncKey { mapping, flags: FUNC_UNSYMBOLIZED | kernel, ..FuncKey::named(name) };
        let func = import.session.symbols.funcs.intern(func);
        (import.session.symbols.frames.intern(FrameKey { address: offset, flags, ..FrameKey::of(func) }), false)
    }

    fn mapping(&mut self, module: u32, import: &mut Import<'_>) -> MappingId {
        while self.mappings.len() <= module as usize {
            let m = &self.processes.modules[self.mappings.len()];
            let id = if m.build_id.is_empty() { self.build_ids.get(&m.file).map_or("", String::as_str) } else { &m.build_id };
            let id = if id.is_empty() { StringId::NONE } else { import.session.strings.intern(id) };
            let file = import.session.strings.intern(&m.file);
            self.mappings.push(import.session.symbols.mappings.intern(file, id));
        }
        self.mappings[module as usize]
    }
}

fn no_stack(import: &mut Import<'_>) -> StackId {
    let name = import.session.strings.intern("[no stack]");
    let func = import.session.symbols.funcs.intern(FuncKey { flags: FUNC_UNSYMBOLIZED, ..FuncKey::named(name) });
    let frame = import.session.symbols.frames.intern(FrameKey::of(func));
    import.session.symbols.stacks.push(StackId::NONE, frame)
}
