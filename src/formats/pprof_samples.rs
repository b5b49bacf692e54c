//! The samples of a pprof file, gathered while their locations are mere numbers: the tables that explain them usually follow.
//!
//! Stacks are kept as a tree of location numbers. Frames are looked up once per node of it when the tables are known, and
//! not once per location of every sample.

use super::Import;
use super::pprof_tables::{Frames, RawLabel, Tables, Walk};
use super::wire::{Fields, repeated};
use crate::base::hash::hash_u64;
use crate::base::ids::{LabelSetId, StackId};
use crate::base::intern::{PairIndex, RowIndex};
use crate::base::quad::QuadIndex;
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use crate::model::profile::Profile;
use std::collections::HashMap;

const VALUES: DiagnosticCode = DiagnosticCode {
    code: "pprof/value-count",
    level: Level::DataLoss,
    message: "Samples whose number of values differs from the number of value types were dropped.",
};
const NO_LOCATION: DiagnosticCode = DiagnosticCode {
    code: "pprof/missing-location",
    level: Level::DataLoss,
    message: "Samples name locations that the file does not define; those frames are shown as <unknown>.",
};

const NONE: u32 = u32::MAX;
/// Samples whose stacks are found side by side, so that the memory's latency is waited for once and not once per frame.
const BATCH: usize = 24;
/// Location ids below this have their number in an array.
const DENSE: u64 = 1 << 22;

/// Numbers of location ids, in order of appearance: ids may be anything, usually they are small.
#[derive(Default)]
struct Numbers {
    dense: Vec<u32>,
    sparse: HashMap<u64, u32>,
    ids: Vec<u64>,
}

impl Numbers {
    fn of(&mut self, id: u64) -> u32 {
        let next = self.ids.len() as u32;
        let slot = if id < DENSE {
            if self.dense.len() <= id as usize {
                self.dense.resize((id as usize + 1).next_power_of_two(), NONE);
            }
            &mut self.dense[id as usize]
        } else {
            self.sparse.entry(id).or_insert(NONE)
        };
        if *slot == NONE {
            *slot = next;
            self.ids.push(id);
        }
        *slot
    }
}

/// A sample that does not look like the first one.
struct Odd {
    sample: u32,
    values: u32,
    damaged: bool,
}

/// Stacks as a tree of location numbers, parents first.
#[derive(Default)]
struct Tree {
    /// Node above.
    above: Vec<u32>,
    /// Location number.
    location: Vec<u32>,
    index: PairIndex,
}

impl Tree {
    /// The node that has a location below another node.
    fn step(&mut self, node: u32, number: u32) -> u32 {
        let (row, new) = self.index.get_or_insert(node, number, self.above.len() as u32);
        if new {
            self.above.push(node);
            self.location.push(number);
        }
        row
    }
}

/// All samples of a file.
#[derive(Default)]
pub struct Samples {
    numbers: Numbers,
    tree: Tree,
    quads: QuadIndex,
    /// Per sample: the node of its stack.
    node: Vec<u32>,
    /// Values of all samples, one behind the other.
    values: Vec<i64>,
    /// How many values the first sample has.
    width: Option<u32>,
    odd: Vec<Odd>,
    /// Per sample: its label set; empty while none has any.
    set: Vec<LabelSetId>,
    sets: Sets,
    /// Location numbers of waiting samples, each from the leaf to the root, and where each sample's end.
    waiting: Vec<u32>,
    waiting_end: Vec<u32>,
    scratch: Scratch,
}

#[derive(Default)]
struct Scratch {
    numbers: Vec<u64>,
    labels: Vec<RawLabel>,
}

impl Samples {
    /// How many.
    pub fn len(&self) -> usize {
        self.node.len() + self.waiting_end.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes a sample message.
    pub fn add(&mut self, sample: &[u8]) {
        let row = self.len() as u32;
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.labels.clear();
        let mut values = 0_u32;
        let mut fields = Fields::new(sample);
        for (field, value) in fields.by_ref() {
            match field {
                1 => {
                    scratch.numbers.clear();
                    repeated(value, &mut scratch.numbers);
                    for id in &scratch.numbers {
                        let number = self.numbers.of(*id);
                        self.waiting.push(number);
                    }
                }
                2 => {
                    scratch.numbers.clear();
                    repeated(value, &mut scratch.numbers);
                    values += scratch.numbers.len() as u32;
                    self.values.extend(scratch.numbers.iter().map(|v| *v as i64));
                }
                3 => scratch.labels.push(RawLabel::read(value.bytes())),
                _ => {}
            }
        }
        let damaged = fields.damaged_at().is_some();
        if damaged || *self.width.get_or_insert(values) != values {
            self.odd.push(Odd { sample: row, values, damaged });
        }
        if !scratch.labels.is_empty() || !self.set.is_empty() {
            self.set.resize(row as usize, LabelSetId::NONE);
            self.set.push(self.sets.intern(&scratch.labels));
        }
        self.scratch = scratch;
        self.waiting_end.push(self.waiting.len() as u32);
        if self.waiting_end.len() == BATCH {
            self.complete();
        }
    }

    /// Finds the stacks of the samples that wait, step by step for all of them.
    pub fn complete(&mut self) {
        // (node so far, place in `waiting` behind the next location, where its locations begin)
        let mut open = [(NONE, 0_u32, 0_u32); BATCH];
        let mut begin = 0;
        for (slot, end) in open.iter_mut().zip(&self.waiting_end) {
            *slot = (NONE, *end, begin);
            begin = *end;
        }
        let open = &mut open[..self.waiting_end.len()];
        let mut glances = [([0; 5], [NONE; 6]); BATCH];
        loop {
            let mut busy = false;
            for (slot, (node, at, begin)) in glances.iter_mut().zip(&*open) {
                if at - begin >= 4 {
                    let w = &self.waiting[*at as usize - 4..*at as usize];
                    let key = [*node, w[3], w[2], w[1], w[0]];
                    *slot = (key, self.quads.glance(&key));
                    busy = true;
                }
            }
            if !busy {
                break;
            }
            for ((key, seen), (node, at, begin)) in glances.iter().zip(&mut *open) {
                if *at - *begin < 4 {
                    continue;
                }
                *at -= 4;
                *node = match QuadIndex::node_of(seen, key).or_else(|| self.quads.find(key)) {
                    Some(known) => known,
                    None => {
                        let new = key[1..].iter().fold(*node, |node, number| self.tree.step(node, *number));
                        self.quads.insert(key, new);
                        new
                    }
                };
            }
        }
        for (node, at, begin) in open.iter_mut() {
            for number in self.waiting[*begin as usize..*at as usize].iter().rev() {
                *node = self.tree.step(*node, *number);
            }
        }
        self.node.extend(open.iter().map(|(node, _, _)| *node));
        self.waiting.clear();
        self.waiting_end.clear();
    }

    /// Makes the columns of the profile.
    pub fn store(mut self, tables: &Tables, frames: &Frames, profile: &mut Profile, import: &mut Import<'_>) {
        self.complete();
        self.tree.index = PairIndex::default();
        self.quads = QuadIndex::default();
        let walks = self.walks(frames, import);
        let types = profile.value_types.len();
        let mut sums = vec![(0_i64, 0_i64); types];
        let (mut at, mut odd) = (0, 0);
        let mut sets = vec![LabelSetId::NONE; self.sets.len()];
        for (row, &node) in self.node.iter().enumerate() {
            let strange = self.odd.get(odd).filter(|o| o.sample as usize == row);
            odd += usize::from(strange.is_some());
            let count = strange.map_or(self.width.unwrap_or(0), |o| o.values) as usize;
            let values = &self.values[at..at + count];
            at += count;
            let kept = count == types && strange.is_none_or(|o| !o.damaged);
            for (value, (of_kept, of_dropped)) in values.iter().zip(&mut sums) {
                let sum = if kept { of_kept } else { of_dropped };
                *sum = sum.saturating_add(*value);
            }
            import.ledger.records_in += 1;
            let place = At::Record(row as u64 + 1);
            if !kept {
                import.report(VALUES, place, &format!("{count} values for {types} types"));
                continue;
            }
            import.ledger.records_kept += 1;
            let walk = if node == NONE { (StackId::NONE, 0) } else { walks[node as usize] };
            if walk.1 > 0 {
                let depth = std::iter::successors(Some(node), |n| Some(self.tree.above[*n as usize]).filter(|n| *n != NONE)).count();
                import.report(NO_LOCATION, place, &format!("{} of {depth} locations", walk.1));
            }
            profile.samples.stack.push(walk.0);
            for (column, value) in profile.samples.values.iter_mut().zip(values) {
                column.push(*value);
            }
            if !self.set.is_empty() {
                let raw = self.set.get(row).copied().unwrap_or(LabelSetId::NONE);
                let set = match raw.get() {
                    None => LabelSetId::NONE,
                    Some(raw) if !sets[raw.index()].is_none() => sets[raw.index()],
                    Some(raw) => {
                        let set = self.sets.store(raw, tables, profile, import);
                        sets[raw.index()] = set;
                        set
                    }
                };
                profile.samples.labels.push(set);
            }
        }
        if profile.samples.labels.iter().all(|set| set.is_none()) {
            profile.samples.labels = Vec::new();
        }
        if !self.node.is_empty() {
            for ((kept, dropped), of) in sums.into_iter().zip(&profile.value_types) {
                import.ledger.weigh(&of.name, &of.unit, kept, true);
                import.ledger.weigh(&of.name, &of.unit, dropped, false);
            }
        }
    }

    /// The stack of every node, and how many of its locations are not defined.
    fn walks(&self, frames: &Frames, import: &mut Import<'_>) -> Vec<(StackId, u32)> {
        let mut walks: Vec<Walk> = Vec::with_capacity(self.tree.above.len());
        let stacks = &mut import.session.symbols.stacks;
        for (above, location) in self.tree.above.iter().zip(&self.tree.location) {
            let before = if *above == NONE { Walk::ROOT } else { walks[*above as usize] };
            walks.push(frames.step(before, self.numbers.ids[*location as usize], stacks));
        }
        walks.into_iter().map(|walk| (walk.stack, walk.missing)).collect()
    }
}

/// Distinct label sets as the file gives them; a set without labels is `NONE`.
#[derive(Default)]
struct Sets {
    /// End of each set in `labels`.
    end: Vec<u32>,
    labels: Vec<RawLabel>,
    index: RowIndex,
}

impl Sets {
    fn len(&self) -> usize {
        self.end.len()
    }

    fn get(&self, row: u32) -> &[RawLabel] {
        let start = if row == 0 { 0 } else { self.end[row as usize - 1] };
        &self.labels[start as usize..self.end[row as usize] as usize]
    }

    fn intern(&mut self, labels: &[RawLabel]) -> LabelSetId {
        if labels.is_empty() {
            return LabelSetId::NONE;
        }
        fn hash(labels: &[RawLabel]) -> u64 {
            labels.iter().fold(0, |h, l| hash_u64(hash_u64(h, l.key << 32 ^ l.text), l.number as u64 ^ l.unit << 40))
        }
        let own = hash(labels);
        if let Some(row) = self.index.find(own, |row| self.get(row) == labels) {
            return LabelSetId(row);
        }
        let row = self.end.len() as u32;
        self.labels.extend_from_slice(labels);
        self.end.push(self.labels.len() as u32);
        let mut index = std::mem::take(&mut self.index);
        index.insert(own, row, |row| hash(self.get(row)));
        self.index = index;
        LabelSetId(row)
    }

    /// Appends a set to the profile. Two sets of one file differ, so they stay two.
    fn store(&self, set: LabelSetId, tables: &Tables, profile: &mut Profile, import: &mut Import<'_>) -> LabelSetId {
        let table = &mut profile.labels;
        if table.start.is_empty() {
            table.start.push(0);
        }
        let row = table.start.len() - 1;
        table.labels.extend(self.get(set.0).iter().map(|raw| tables.label(*raw, import)));
        table.start.push(table.labels.len() as u32);
        LabelSetId::from_index(row)
    }
}
