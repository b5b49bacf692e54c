//! Loops in the machine code of hot functions: decoded once all files are read, for whatever profile and binary were opened,
//! in any order.

use super::code_flow::{FlowGraph, flow_graph};
use super::code_insn::{Flow, Machine};
use super::code_lines::set_lines;
use super::code_nest::{Nest, nest};
use super::code_wanted::{Places, Wanted, places};
use super::dwarf;
use crate::model::Session;
use crate::model::code::{CodeFunction, CodeLoop, CodePlace, CodeTable};
use crate::model::symbol_files::SymbolFile;
use std::collections::{BTreeMap, BTreeSet};

/// Loops inside more others than this are not looked at, nor more of one function.
const MAX_DEPTH: u32 = 32;
const MAX_LOOPS: usize = 4096;

/// Formats whose frames are exact addresses or offsets of native code.
const FORMATS: [&str; 3] = ["perf-data", "perf-script", "pprof"];

/// Finds the loops of the functions that the session's profiles are in.
pub fn find(session: &mut Session, files: &[SymbolFile]) {
    session.code = CodeTable::default();
    if files.iter().all(|f| f.code.is_none()) {
        return;
    }
    let mut all = Places::new();
    for p in 0..session.profiles.len() {
        if FORMATS.contains(&session.profiles[p].format) {
            places(session, p, files, &mut all);
        }
    }
    // By file and address, whatever frame came first.
    let wanted: BTreeSet<Wanted> = all.values().map(|(wanted, _)| *wanted).collect();
    let graphs: Vec<(Wanted, FlowGraph)> = wanted.iter().filter_map(|w| Some((*w, graph_of(w, files)?))).collect();
    let mut table = CodeTable::default();
    for (frame, (wanted, offset)) in &all {
        if let Ok(row) = graphs.binary_search_by_key(wanted, |(w, _)| *w) {
            table.places.push(CodePlace { frame: *frame, function: row as u32, offset: *offset as u32 });
        }
    }
    table.functions = graphs.iter().map(|(wanted, graph)| function(wanted, graph, files)).collect();
    let mut lines = Lines::default();
    for (row, (wanted, graph)) in graphs.iter().enumerate() {
        lines.want(row, wanted, graph, &table.functions[row]);
    }
    lines.set(files, &graphs, &mut table.functions);
    session.code = table;
    fit(session, &graphs);
}

fn graph_of(wanted: &Wanted, files: &[SymbolFile]) -> Option<FlowGraph> {
    let code = files[wanted.file].code.as_ref()?;
    let bytes = code.bytes(wanted.begin, wanted.end);
    (!bytes.is_empty()).then(|| flow_graph(code.machine, bytes, wanted.begin))
}

fn function(wanted: &Wanted, graph: &FlowGraph, files: &[SymbolFile]) -> CodeFunction {
    let file = &files[wanted.file];
    CodeFunction {
        name: file.symbols.find(wanted.begin).map_or_else(String::new, |s| super::names::of_symbol(s.name).name.into_owned()),
        binary: file.name.clone(),
        size: (wanted.end - wanted.begin) as u32,
        instructions: graph.insns.len() as u32,
        unknown: graph.unknown,
        indirect: graph.indirect,
        fits: None,
        binary_fits: None,
        loops: loops(graph),
    }
}

/// The loops of some code that stands at an address.
pub fn loops_of(machine: Machine, bytes: &[u8], address: u64) -> Vec<CodeLoop> {
    loops(&flow_graph(machine, bytes, address))
}

/// The loops of a graph, with what is in them.
fn loops(graph: &FlowGraph) -> Vec<CodeLoop> {
    if graph.blocks.is_empty() {
        return Vec::new();
    }
    let next: Vec<Vec<u32>> = graph.blocks.iter().map(|b| b.next.clone()).collect();
    // Without jumps through tables, what nothing leads to is reached from outside: handlers of exceptions.
    let roots: Vec<u32> = std::iter::once(0).chain(graph.orphans.iter().copied()).collect();
    let found = nest(&next, &roots);
    let row_of = kept(&found);
    let mut out: Vec<CodeLoop> = Vec::new();
    for (_, l) in found.loops.iter().enumerate().filter(|(row, _)| row_of[*row].is_some()) {
        let parent = l.parent.and_then(|p| row_of[p as usize]);
        out.push(CodeLoop { parent, depth: l.depth, irreducible: l.irreducible, header: u32::MAX, ..CodeLoop::default() });
    }
    let mut headers = vec![None; out.len()];
    for (row, l) in found.loops.iter().enumerate() {
        if let Some(at) = row_of[row] {
            headers[at as usize] = Some(l.header);
        }
    }
    for (at, block) in graph.blocks.iter().enumerate().filter(|(_, b)| b.first < b.end) {
        let insns = &graph.insns[block.first as usize..block.end as usize];
        let (Some((from, _)), Some((last, insn))) = (insns.first(), insns.last()) else { continue };
        let range = (*from, last + u32::from(insn.len));
        let calls = insns.iter().filter(|(_, i)| i.flow == Flow::Call).count() as u32;
        let packed = insns.iter().filter(|(_, i)| i.vector > 0).count() as u32;
        let width = insns.iter().map(|(_, i)| if i.vector > 1 { u32::from(i.vector) } else { 0 }).max().unwrap_or(0);
        let mut inside = innermost(&found, &row_of, at);
        while let Some(row) = inside {
            let l = &mut out[row as usize];
            match l.ranges.last_mut().filter(|r| r.1 == range.0) {
                Some(last) => last.1 = range.1,
                None => l.ranges.push(range),
            }
            l.instructions += insns.len() as u32;
            l.calls += calls;
            l.packed += packed;
            l.width = l.width.max(width);
            inside = l.parent;
        }
    }
    for (l, header) in out.iter_mut().zip(headers) {
        let block = header.map(|h| &graph.blocks[h as usize]).filter(|b| b.first < b.end);
        // The empty block of jumps through tables has no place: the loop begins where its code does.
        let first = l.ranges.first().map_or(0, |r| r.0);
        l.header = block.map_or(first, |b| graph.insns[b.first as usize].0);
    }
    out
}

/// The new rows of loops that are not too many and not too deep.
fn kept(found: &Nest) -> Vec<Option<u32>> {
    let mut row = 0;
    let mut keep = |l: &super::code_nest::Nested| {
        let kept = l.depth <= MAX_DEPTH && (row as usize) < MAX_LOOPS;
        row += u32::from(kept);
        kept.then(|| row - 1)
    };
    found.loops.iter().map(&mut keep).collect()
}

/// The innermost loop of a block that was kept.
fn innermost(found: &Nest, row_of: &[Option<u32>], block: usize) -> Option<u32> {
    let mut at = found.of[block];
    while let Some(l) = at {
        if let Some(row) = row_of[l as usize] {
            return Some(row);
        }
        at = found.loops[l as usize].parent;
    }
    None
}

/// Addresses whose lines are looked up, file by file.
#[derive(Default)]
struct Lines {
    by_file: BTreeMap<usize, (Vec<u64>, Vec<usize>)>,
}

impl Lines {
    fn want(&mut self, row: usize, wanted: &Wanted, graph: &FlowGraph, function: &CodeFunction) {
        let Some(debug) = wanted.debug.filter(|_| !function.loops.is_empty()) else { return };
        let (addresses, rows) = self.by_file.entry(debug).or_default();
        rows.push(row);
        let inside = |at: u32| function.loops.iter().any(|l| l.depth == 1 && l.holds(at));
        addresses.extend(graph.insns.iter().map(|(at, _)| *at).filter(|at| inside(*at)).map(|at| wanted.begin + u64::from(at)));
    }

    fn set(self, files: &[SymbolFile], graphs: &[(Wanted, FlowGraph)], functions: &mut [CodeFunction]) {
        for (file, (mut addresses, rows)) in self.by_file {
            addresses.sort_unstable();
            addresses.dedup();
            let found = dwarf::places(&files[file], &addresses);
            for row in rows {
                let (wanted, graph) = &graphs[row];
                for l in &mut functions[row].loops {
                    let insns = graph.insns.iter().map(|(at, _)| *at).filter(|at| l.holds(*at));
                    let frames: Vec<&[dwarf::CodeFrame]> = insns
                        .filter_map(|at| addresses.binary_search(&(wanted.begin + u64::from(at))).ok())
                        .map(|i| found.frames[i].as_slice())
                        .collect();
                    set_lines(l, &frames);
                }
            }
        }
    }
}

/// Counts how many samples lie at the beginning of an instruction: all of them, if it is the program that ran.
fn fit(session: &mut Session, graphs: &[(Wanted, FlowGraph)]) {
    let mut counts = vec![(0_u64, 0_u64); graphs.len()];
    for profile in session.profiles.iter().filter(|p| matches!(p.format, "perf-data" | "perf-script")) {
        for stack in profile.samples.stack.iter().filter_map(|s| s.get()) {
            let frame = session.symbols.stacks.frame[stack.index()];
            if let Some(place) = session.code.place(frame) {
                let count = &mut counts[place.function as usize];
                count.0 += u64::from(graphs[place.function as usize].1.begins(place.offset));
                count.1 += 1;
            }
        }
    }
    let mut binaries: BTreeMap<usize, (u64, u64)> = BTreeMap::new();
    for ((wanted, _), (fit, all)) in graphs.iter().zip(&counts) {
        let sum = binaries.entry(wanted.file).or_default();
        *sum = (sum.0 + fit, sum.1 + all);
    }
    let share = |(fit, all): (u64, u64)| (all > 0).then(|| fit as f64 / all as f64);
    for ((function, count), (wanted, _)) in session.code.functions.iter_mut().zip(counts).zip(graphs) {
        function.fits = share(count);
        function.binary_fits = binaries.get(&wanted.file).copied().and_then(share);
    }
}
