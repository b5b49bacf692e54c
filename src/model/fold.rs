//! Folding: samples that agree in stack, thread and labels become one, whose values are the sums of theirs. Times are given up,
//! sums are not.

use super::branches::BranchTable;
use super::profile::Profile;
use crate::base::hash::hash_u64;
use crate::base::ids::{LabelSetId, ThreadId};
use crate::base::work::step;
use hashbrown::HashTable;

/// Rows that are alike, in order of first appearance.
#[derive(Debug, Default)]
pub struct Groups {
    /// The group of each row.
    pub of: Vec<u32>,
    /// The first row of each group.
    pub first: Vec<u32>,
}

impl Groups {
    /// Groups `rows` rows by their keys.
    pub fn by<K: Copy + Eq>(rows: usize, key: impl Fn(usize) -> K, hash: impl Fn(K) -> u64) -> Groups {
        let mut groups = Groups { of: Vec::with_capacity(rows), first: Vec::new() };
        let mut index: HashTable<u32> = HashTable::new();
        for row in 0..rows {
            step(1);
            let own = key(row);
            let (of, first) = (&mut groups.of, &mut groups.first);
            let known = index.find(hash(own), |group| key(first[*group as usize] as usize) == own).copied();
            of.push(known.unwrap_or(first.len() as u32));
            if known.is_none() {
                let group = first.len() as u32;
                first.push(row as u32);
                index.insert_unique(hash(own), group, |group| hash(key(first[*group as usize] as usize)));
            }
        }
        groups
    }

    /// Groups rows by three numbers.
    pub fn by_numbers(rows: usize, key: impl Fn(usize) -> (u32, u32, u32)) -> Groups {
        Groups::by(rows, key, |(a, b, c)| hash_u64(hash_u64(u64::from(a), u64::from(b)), u64::from(c)))
    }

    /// What the first row of each group has in a column.
    pub fn firsts<T: Copy>(&self, column: &[T]) -> Vec<T> {
        self.first.iter().filter_map(|row| column.get(*row as usize).copied()).collect()
    }

    /// The sum of a column over each group, saturating.
    pub fn sums(&self, column: &[i64]) -> Vec<i64> {
        let mut sums = vec![0_i64; self.first.len()];
        for (group, value) in self.of.iter().zip(column) {
            sums[*group as usize] = sums[*group as usize].saturating_add(*value);
        }
        sums
    }
}

/// What folding a profile gave up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GivenUp {
    /// Rows before.
    pub before: u64,
    /// Rows after.
    pub after: u64,
    /// Samples or slices whose time is gone.
    pub times: u64,
    /// Taken branches that are gone.
    pub branches: u64,
    /// Copies of stack memory that are gone; what was unwound with them stays.
    pub copies: u64,
}

impl Profile {
    /// Folds the samples. `None` when that would give nothing back: no sample has a time, a slice or branches, and no two agree.
    pub fn fold(&mut self) -> Option<GivenUp> {
        let copies = self.copied.take().map_or(0, |copied| copied.copies.len() as u64);
        if copies > 0 {
            // Stacks that came of the copies cannot be made again: they are taken as they are from now on.
            self.raw = None;
        }
        let samples = &self.samples;
        let rows = samples.len();
        let stacks = self.raw.as_ref().filter(|raw| raw.stack.len() == rows).map_or(&samples.stack, |raw| &raw.stack);
        let groups = Groups::by_numbers(rows, |row| {
            let thread = samples.thread.get(row).copied().unwrap_or(ThreadId::NONE);
            (stacks[row].0, thread.0, samples.labels.get(row).copied().unwrap_or(LabelSetId::NONE).0)
        });
        let times = self.slices.as_ref().map_or(samples.time_ns.len(), |s| s.start_ns.len()) as u64;
        let (branches, after) = (self.branches.len() as u64, groups.first.len());
        if times == 0 && branches == 0 && copies == 0 && after == rows {
            return None;
        }
        let samples = &mut self.samples;
        samples.stack = groups.firsts(&samples.stack);
        samples.thread = groups.firsts(&samples.thread);
        samples.labels = groups.firsts(&samples.labels);
        samples.values.iter_mut().for_each(|column| *column = groups.sums(column));
        samples.time_ns = Vec::new();
        self.slices = None;
        self.branches = BranchTable::default();
        if let Some(raw) = &mut self.raw {
            raw.stack = groups.firsts(&raw.stack);
            (raw.from, raw.to) = (Vec::new(), Vec::new());
        }
        Some(GivenUp { before: rows as u64, after: after as u64, times, branches, copies })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::{SourceId, StackId};
    use crate::model::profile::{ValueKind, ValueType};

    #[test]
    fn samples_that_agree_become_one_and_sums_stay() {
        let value = |name: &str| ValueType { name: name.into(), unit: "count".into(), kind: ValueKind::Samples };
        let mut p = Profile::new(SourceId(0), "test", vec![value("a"), value("b")]);
        for (stack, thread, time, a, b) in [(3, 0, 10, 1, 7), (4, 0, 20, 1, 5), (3, 1, 30, 1, 2), (3, 0, 40, 1, -1)] {
            p.samples.stack.push(StackId(stack));
            p.samples.thread.push(ThreadId(thread));
            p.samples.time_ns.push(time);
            p.samples.values[0].push(a);
            p.samples.values[1].push(b);
        }
        let totals = (p.total(0), p.total(1));
        assert_eq!(p.fold(), Some(GivenUp { before: 4, after: 3, times: 4, branches: 0, copies: 0 }));
        assert_eq!((p.total(0), p.total(1)), totals);
        assert_eq!(p.samples.stack, [StackId(3), StackId(4), StackId(3)]);
        assert_eq!(p.samples.thread, [ThreadId(0), ThreadId(0), ThreadId(1)]);
        assert_eq!(p.samples.values, [vec![2, 1, 1], vec![6, 5, 2]]);
        assert!(!p.has_times() && p.samples.labels.is_empty());
        assert_eq!(p.fold(), None, "nothing is left to give up");
    }
}
