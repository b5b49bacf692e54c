//! The samples of a pprof file, gathered while their locations are mere numbers: the tables that explain them usually follow.
//!
//! Stacks are kept as a tree of location numbers. Frames are looked up once per node of it when the tables are known, and
//! not once per location of every sample.

use super::Import;
use super::pprof_tables::{Frames, RawLabel, Tables, Walk};
use super::room::Gathered;
use super::wire::{Fields, repeated};
use crate::base::hash::hash_u64;
use crate::base::ids::LabelSetId;
use crate::base::intern::{ForkIndex, RowIndex};
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use crate::model::fold::{GivenUp, Groups};
use crate::model::profile::Profile;
use crate::model::reduce::report_fold;
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
    /// Node above and location number of each node.
    rows: Vec<(u32, u32)>,
    index: ForkIndex,
}

impl Tree {
    /// The node that has a location below another node.
    fn step(&mut self, node: u32, number: u32) -> u32 {
        let rows = &self.rows;
        let (row, new) = self.index.get_or_insert(node, number, rows.len() as u32, |row| rows[row as usize]);
        if new {
            self.rows.push((node, number));
        }
        row
    }
}

/// All samples of a file.
#[derive(Default)]
pub struct Samples {
    numbers: Numbers,
    tree: Tree,
    /// Per sample: the node of its stack.
    node: Vec<u32>,
    /// Values of all samples, one behind the other.
    values: Vec<i64>,
    /// How many values the first sample has.
    width: Option<u32>,
    odd: Vec<Odd>,
    /// Records that were added to earlier ones.
    added_up: u64,
    /// Per sample: its label set; empty while none has any.
    set: Vec<LabelSetId>,
    sets: Sets,
    /// Record number of each row and how many records it stands for, once some were added up; empty before.
    merged: Vec<(u32, u32)>,
    /// Location numbers of the sample at hand, from the leaf to the root.
    path: Vec<u32>,
    scratch: Scratch,
}

#[derive(Default)]
struct Scratch {
    numbers: Vec<u64>,
    labels: Vec<RawLabel>,
}

impl Gathered for Samples {
    fn bytes(&self) -> u64 {
        // The tree becomes stacks of about the same size, values become columns.
        (self.node.len() * 8 + self.values.len() * 16 + self.set.len() * 8 + self.tree.rows.len() * 24 + self.merged.len() * 8) as u64
    }

    /// Samples that agree in stack and labels become one. Where some are damaged, all stay: their places are told one by one.
    fn fold(&mut self) {
        let (rows, width) = (self.node.len(), self.width.unwrap_or(0) as usize);
        if !self.odd.is_empty() || width == 0 {
            return;
        }
        let groups = Groups::by_numbers(rows, |row| (self.node[row], self.set.get(row).map_or(u32::MAX, |s| s.0), 0));
        if groups.first.len() == rows {
            return;
        }
        let mut values = vec![0_i64; groups.first.len() * width];
        for (row, group) in groups.of.iter().enumerate() {
            for (sum, value) in values[*group as usize * width..].iter_mut().zip(&self.values[row * width..(row + 1) * width]) {
                *sum = sum.saturating_add(*value);
            }
        }
        let mut merged: Vec<(u32, u32)> = groups.first.iter().map(|row| (self.record(*row as usize).0, 0)).collect();
        for (row, group) in groups.of.iter().enumerate() {
            merged[*group as usize].1 += self.record(row).1;
        }
        self.added_up += (rows - groups.first.len()) as u64;
        self.node = groups.firsts(&self.node);
        self.set = groups.firsts(&self.set);
        (self.values, self.merged) = (values, merged);
    }
}

impl Samples {
    /// Record number of a row, from 0, and how many records it stands for.
    fn record(&self, row: usize) -> (u32, u32) {
        // Rows behind those that were added up are one record each.
        match self.merged.get(row) {
            Some(known) => *known,
            None => ((row as u64 + self.added_up) as u32, 1),
        }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.node.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes a sample message.
    ///
    /// A function of its own: a browser runs a loop that is entered once in unoptimised code to its end, and optimises only
    /// what is called again.
    #[inline(never)]
    pub fn add(&mut self, sample: &[u8]) {
        let row = self.len() as u32;
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.labels.clear();
        self.path.clear();
        let mut values = 0_u32;
        let mut fields = Fields::new(sample);
        for (field, value) in fields.by_ref() {
            match field {
                1 => {
                    scratch.numbers.clear();
                    repeated(value, &mut scratch.numbers);
                    self.path.extend(scratch.numbers.iter().map(|id| self.numbers.of(*id)));
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
        // The format lists the leaf first.
        let node = self.path.iter().rev().fold(NONE, |node, number| self.tree.step(node, *number));
        self.node.push(node);
    }

    /// Makes the columns of the profile.
    pub fn store(mut self, tables: &Tables, frames: &Frames, profile: &mut Profile, import: &mut Import<'_>) {
        self.tree.index = ForkIndex::default();
        let walks = self.walks(frames, import);
        let after = self.node.len() as u64;
        report_fold(&mut import.ledger, GivenUp { before: after + self.added_up, after, ..GivenUp::default() }, "");
        let types = profile.value_types.len();
        let mut sums = vec![(0_i64, 0_i64); types];
        // Columns of their final length: growing ones would leave gaps in a memory that cannot shrink.
        profile.samples.stack.reserve_exact(self.node.len());
        profile.samples.values.iter_mut().for_each(|column| column.reserve_exact(self.node.len()));
        if !self.set.is_empty() {
            profile.samples.labels.reserve_exact(self.node.len());
        }
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
            let (record, records) = self.record(row);
            import.ledger.records_in += u64::from(records);
            let place = At::Record(u64::from(record) + 1);
            if !kept {
                import.report(VALUES, place, &format!("{count} values for {types} types"));
                continue;
            }
            import.ledger.records_kept += u64::from(records);
            let walk = if node == NONE { Walk::ROOT } else { walks[node as usize] };
            if walk.missing > 0 {
                let depth = std::iter::successors(Some(node), |n| Some(self.tree.rows[*n as usize].0).filter(|n| *n != NONE)).count();
                import.report(NO_LOCATION, place, &format!("{} of {depth} locations", walk.missing));
            }
            profile.samples.stack.push(walk.stack);
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
    fn walks(&self, frames: &Frames, import: &mut Import<'_>) -> Vec<Walk> {
        let mut walks: Vec<Walk> = Vec::with_capacity(self.tree.rows.len());
        let stacks = &mut import.session.symbols.stacks;
        for (above, location) in &self.tree.rows {
            let before = if *above == NONE { Walk::ROOT } else { walks[*above as usize] };
            walks.push(frames.step(before, self.numbers.ids[*location as usize], stacks));
        }
        walks
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
