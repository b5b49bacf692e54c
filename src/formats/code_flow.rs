//! Blocks of a function's machine code, and how they follow each other.

use super::code_insn::{Flow, Insn, Machine, decode};

/// A piece of code that runs from its first instruction to its last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// First instruction, by position.
    pub first: u32,
    /// One behind the last.
    pub end: u32,
    /// Blocks that may follow.
    pub next: Vec<u32>,
}

/// The code of a function.
#[derive(Clone, Debug, Default)]
pub struct FlowGraph {
    /// Instructions with their offsets, in order.
    pub insns: Vec<(u32, Insn)>,
    /// Blocks in order; the first is where the function begins.
    pub blocks: Vec<Block>,
    /// Blocks that nothing known leads to and that are more than filling, in order: handlers of exceptions, or targets of jumps
    /// through tables, which then lead to them.
    pub orphans: Vec<u32>,
    /// Jumps through tables or registers.
    pub indirect: u32,
    /// Bytes that are no known instructions.
    pub unknown: u32,
}

/// Marks of bytes while decoding.
const FREE: u8 = 0;
const BEGIN: u8 = 1;
const INSIDE: u8 = 2;
const UNKNOWN: u8 = 3;

/// Decodes a function: first what can be reached from its beginning, then what lies between, in order. Linear in bytes.
pub fn flow_graph(machine: Machine, bytes: &[u8], address: u64) -> FlowGraph {
    let mut marks = vec![FREE; bytes.len()];
    let mut found: Vec<(u32, Insn)> = Vec::new();
    let mut todo: Vec<usize> = vec![0];
    let inside = |to: u64| usize::try_from(to.wrapping_sub(address)).ok().filter(|to| *to < bytes.len());
    let mut sweep = 0;
    loop {
        let mut at = match todo.pop() {
            Some(at) => at,
            None => {
                // What nothing led to, from the first free byte on.
                while sweep < bytes.len() && marks[sweep] != FREE {
                    sweep += 1;
                }
                if sweep >= bytes.len() {
                    break;
                }
                sweep
            }
        };
        while at < bytes.len() && marks[at] == FREE {
            let insn = decode(machine, &bytes[at..], address.wrapping_add(at as u64));
            // An instruction that reaches into another one is none.
            let fits = |i: &Insn| at + usize::from(i.len) <= bytes.len() && marks[at..at + usize::from(i.len)].iter().all(|m| *m == FREE);
            let Some(insn) = insn.filter(fits) else {
                let step = if machine == Machine::Aarch64 { 4.min(bytes.len() - at) } else { 1 };
                marks[at..at + step].iter_mut().filter(|m| **m == FREE).for_each(|m| *m = UNKNOWN);
                break;
            };
            let end = at + usize::from(insn.len);
            marks[at] = BEGIN;
            marks[at + 1..end].fill(INSIDE);
            found.push((at as u32, insn));
            match insn.flow {
                Flow::Next | Flow::Call => at = end,
                Flow::Branch(to) => {
                    todo.extend(inside(to));
                    at = end;
                }
                Flow::Jump(to) => {
                    todo.extend(inside(to));
                    break;
                }
                Flow::Indirect | Flow::End => break,
            }
        }
    }
    found.sort_unstable_by_key(|(at, _)| *at);
    let mut graph = FlowGraph {
        indirect: found.iter().filter(|(_, i)| i.flow == Flow::Indirect).count() as u32,
        unknown: marks.iter().filter(|m| **m == UNKNOWN).count() as u32,
        insns: found,
        ..FlowGraph::default()
    };
    graph.cut(bytes.len(), &marks, address);
    graph
}

impl FlowGraph {
    /// Cuts instructions into blocks and joins them.
    fn cut(&mut self, size: usize, marks: &[u8], address: u64) {
        let target = |to: u64| usize::try_from(to.wrapping_sub(address)).ok().filter(|to| *to < size && marks[*to] == BEGIN);
        let mut leads = vec![false; size + 1];
        let mut last_end = u32::MAX;
        for (at, insn) in &self.insns {
            // Behind bytes that are no instructions something new begins.
            if *at != last_end {
                leads[*at as usize] = true;
            }
            last_end = at + u32::from(insn.len);
            match insn.flow {
                Flow::Next | Flow::Call => {}
                Flow::Jump(to) | Flow::Branch(to) => {
                    leads[last_end as usize] = true;
                    if let Some(to) = target(to) {
                        leads[to] = true;
                    }
                }
                Flow::Indirect | Flow::End => leads[last_end as usize] = true,
            }
        }
        let mut of = vec![u32::MAX; size + 1];
        for (i, (at, _)) in self.insns.iter().enumerate() {
            if leads[*at as usize] || self.blocks.is_empty() {
                of[*at as usize] = self.blocks.len() as u32;
                self.blocks.push(Block { first: i as u32, end: i as u32, next: Vec::new() });
            }
            if let Some(block) = self.blocks.last_mut() {
                block.end = i as u32 + 1;
            }
        }
        let mut led = vec![false; self.blocks.len()];
        let mut jumps: Vec<u32> = Vec::new();
        for row in 0..self.blocks.len() {
            let (at, last) = self.insns[self.blocks[row].end as usize - 1];
            let behind = of[at as usize + usize::from(last.len)];
            let mut next: Vec<u32> = match last.flow {
                Flow::Next | Flow::Call => vec![behind],
                Flow::Branch(to) => vec![behind, target(to).map_or(u32::MAX, |to| of[to])],
                Flow::Jump(to) => vec![target(to).map_or(u32::MAX, |to| of[to])],
                Flow::Indirect => {
                    jumps.push(row as u32);
                    Vec::new()
                }
                Flow::End => Vec::new(),
            };
            next.retain(|to| *to != u32::MAX);
            next.dedup();
            if row == 0 || !self.is_filler(row) {
                next.iter().for_each(|to| led[*to as usize] = true);
            }
            self.blocks[row].next = next;
        }
        // Filling that something leads to leads on; other filling leads nowhere. It is followed by what stands behind it.
        for row in 1..self.blocks.len() {
            match (led[row], self.is_filler(row)) {
                (true, true) => self.blocks[row].next.iter().for_each(|to| led[*to as usize] = true),
                (false, true) => self.blocks[row].next.clear(),
                (false, false) => self.orphans.push(row as u32),
                (true, false) => {}
            }
        }
        self.find_islands();
        if !jumps.is_empty() && !self.orphans.is_empty() {
            // One empty block stands between all these jumps and all their targets.
            let hub = self.blocks.len() as u32;
            jumps.iter().for_each(|jump| self.blocks[*jump as usize].next.push(hub));
            self.blocks.push(Block { first: 0, end: 0, next: self.orphans.clone() });
        }
    }

    /// Blocks that lead to each other and that nothing else leads to: the first of each such island is an orphan.
    fn find_islands(&mut self) {
        let mut seen = vec![false; self.blocks.len()];
        let mut todo: Vec<u32> = self.orphans.iter().copied().chain([0]).filter(|_| !self.blocks.is_empty()).collect();
        let mut row = 0;
        loop {
            while let Some(at) = todo.pop() {
                if !std::mem::replace(&mut seen[at as usize], true) {
                    todo.extend(&self.blocks[at as usize].next);
                }
            }
            while row < seen.len() && (seen[row] || self.is_filler(row)) {
                row += 1;
            }
            if row >= seen.len() {
                break;
            }
            self.orphans.push(row as u32);
            todo.push(row as u32);
        }
        self.orphans.sort_unstable();
    }

    /// Whether a block only fills the space to the next.
    fn is_filler(&self, row: usize) -> bool {
        let block = &self.blocks[row];
        self.insns[block.first as usize..block.end as usize].iter().all(|(_, i)| i.filler)
    }

    /// Whether an instruction begins at an offset.
    pub fn begins(&self, offset: u32) -> bool {
        self.insns.binary_search_by_key(&offset, |(at, _)| *at).is_ok()
    }
}
