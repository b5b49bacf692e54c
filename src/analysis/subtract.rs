//! One profile minus another, as `go tool pprof -base` and `-diff_base` do it: the base's samples count negative, samples of
//! equal stack and labels are merged, and what cancels out is gone. Marked base samples are the whole of which shares are taken.

use super::magnitude::{BASE_KEY, BASE_TEXT};
use crate::base::ids::{LabelSetId, MappingId, StackId, StringId};
use crate::model::Session;
use crate::model::profile::{Label, LabelTable, Profile, ValueType};
use crate::model::symbols::{FrameKey, NO_ADDRESS};
use std::collections::HashMap;

/// Appends candidate minus base to the session's profiles and gives its position. Value types that only one of them has are
/// left out. `mark` labels the base's samples as such (`-diff_base`).
///
/// # Errors
/// A sentence when the profiles do not exist or measure nothing in common.
pub fn subtract(session: &mut Session, candidate: usize, base: usize, mark: bool) -> Result<usize, String> {
    let (Some(c), Some(b)) = (session.profiles.get(candidate).cloned(), session.profiles.get(base).cloned()) else {
        return Err("there is no such profile".to_string());
    };
    let same = |of: &ValueType| b.value_types.iter().position(|t| (&t.name, &t.unit) == (&of.name, &of.unit));
    let columns: Vec<(usize, usize)> = c.value_types.iter().enumerate().filter_map(|(i, of)| Some((i, same(of)?))).collect();
    if columns.is_empty() {
        return Err("the two profiles measure nothing in common".to_string());
    }
    let mut out = Profile::new(c.source, c.format, columns.iter().map(|(i, _)| c.value_types[*i].clone()).collect());
    out.default_value = columns.iter().position(|(i, _)| *i == c.default_value).unwrap_or(columns.len() - 1);
    (out.name, out.period, out.period_unit) = (c.name.clone(), c.period, c.period_unit.clone());
    (out.start_ns, out.duration_ns, out.ranges) = (c.start_ns, c.duration_ns, c.ranges.clone());
    let stack_of = moved(session, &c, &b);
    let marking = Label { key: session.strings.intern(BASE_KEY), text: session.strings.intern(BASE_TEXT), number: 0, unit: StringId::NONE };
    let mut sets = Sets::default();
    let own: Vec<LabelSetId> = sets.take(&c.labels, None);
    let of_base: Vec<LabelSetId> = sets.take(&b.labels, mark.then_some(marking));
    let unlabelled = if mark { sets.intern(vec![marking]) } else { LabelSetId::NONE };
    let set = |p: &Profile, list: &[LabelSetId], none: LabelSetId, row: usize| {
        p.samples.labels.get(row).and_then(|set| set.get()).map_or(none, |set| list[set.index()])
    };
    let mut rows: HashMap<(StackId, LabelSetId), usize> = HashMap::new();
    let mut kept: Vec<(StackId, LabelSetId, Vec<i64>)> = Vec::new();
    let mut add = |stack: StackId, set: LabelSetId, values: Vec<i64>| {
        let row = *rows.entry((stack, set)).or_insert(kept.len());
        match kept.get_mut(row) {
            Some((.., sums)) => sums.iter_mut().zip(values).for_each(|(sum, v)| *sum = sum.saturating_add(v)),
            None => kept.push((stack, set, values)),
        }
    };
    for (row, stack) in c.samples.stack.iter().enumerate() {
        add(*stack, set(&c, &own, LabelSetId::NONE, row), columns.iter().map(|(i, _)| c.samples.values[*i][row]).collect());
    }
    for (row, stack) in b.samples.stack.iter().enumerate() {
        let stack = stack.get().map_or(StackId::NONE, |s| stack_of.get(&s).copied().unwrap_or(s));
        let values = columns.iter().map(|(_, i)| b.samples.values[*i][row].saturating_neg()).collect();
        add(stack, set(&b, &of_base, unlabelled, row), values);
    }
    kept.retain(|(.., values)| values.iter().any(|v| *v != 0));
    let labelled = kept.iter().any(|(_, set, _)| !set.is_none());
    for (stack, set, values) in kept {
        out.samples.stack.push(stack);
        if labelled {
            out.samples.labels.push(set);
        }
        out.samples.values.iter_mut().zip(values).for_each(|(column, v)| column.push(v));
    }
    out.labels = sets.table;
    session.profiles.push(out);
    Ok(session.profiles.len() - 1)
}

/// Stacks of the base whose binaries lay elsewhere, as they would be where the candidate's lay.
fn moved(session: &mut Session, candidate: &Profile, base: &Profile) -> HashMap<StackId, StackId> {
    // Where the same part of the same binary lay in the candidate.
    let part = |r: &crate::model::profile::MappedRange| (r.mapping, (r.limit - r.start).div_ceil(0x1000), r.offset);
    let there: HashMap<(MappingId, u64, u64), u64> = candidate.ranges.iter().rev().map(|r| (part(r), r.start)).collect();
    let mut shifts: HashMap<MappingId, Vec<(u64, u64, u64)>> = HashMap::new();
    for r in &base.ranges {
        if let Some(start) = there.get(&part(r)).filter(|start| **start != r.start) {
            shifts.entry(r.mapping).or_default().push((r.start, r.limit, start.wrapping_sub(r.start)));
        }
    }
    let mut out: HashMap<StackId, StackId> = HashMap::new();
    if shifts.is_empty() {
        return out;
    }
    shifts.values_mut().for_each(|list| list.sort_unstable());
    let symbols = &mut session.symbols;
    let mut used = vec![false; symbols.stacks.len()];
    for stack in base.samples.stack.iter().filter_map(|s| s.get()) {
        let mut at = Some(stack);
        while let Some(row) = at.filter(|row| !used[row.index()]) {
            used[row.index()] = true;
            at = symbols.stacks.prefix[row.index()].get();
        }
    }
    // Parents come first, so each prefix has moved already.
    for row in (0..used.len()).filter(|row| used[*row]) {
        let (prefix, frame) = (symbols.stacks.prefix[row], symbols.stacks.frame[row]);
        let key = symbols.frames.key(frame.0);
        let list = shifts.get(&symbols.funcs.mapping[key.func.index()]).map_or(&[][..], Vec::as_slice);
        let at = list.partition_point(|(start, ..)| *start <= key.address);
        let shift = at.checked_sub(1).map(|i| list[i]).filter(|(_, limit, _)| key.address != NO_ADDRESS && key.address < *limit);
        let frame = match shift {
            Some((.., by)) => symbols.frames.intern(FrameKey { address: key.address.wrapping_add(by), ..key }),
            None => frame,
        };
        let prefix = prefix.get().map_or(StackId::NONE, |p| out.get(&p).copied().unwrap_or(p));
        let stack = symbols.stacks.push(prefix, frame);
        out.insert(StackId::from_index(row), stack);
    }
    out
}

/// Label sets of both profiles in one table.
#[derive(Default)]
struct Sets {
    table: LabelTable,
    rows: HashMap<Vec<(StringId, StringId, i64, StringId)>, LabelSetId>,
}

impl Sets {
    /// The sets of a profile, with one more label each if that is wanted.
    fn take(&mut self, table: &LabelTable, more: Option<Label>) -> Vec<LabelSetId> {
        let sets = 0..table.start.len().saturating_sub(1);
        sets.map(|row| self.intern(table.set(LabelSetId::from_index(row)).iter().copied().chain(more).collect())).collect()
    }

    /// Equal sets are one, in whatever order their labels stand.
    fn intern(&mut self, labels: Vec<Label>) -> LabelSetId {
        let mut key: Vec<_> = labels.iter().map(|l| (l.key, l.text, l.number, l.unit)).collect();
        key.sort_unstable_by_key(|(k, t, n, u)| (k.0, t.0, *n, u.0));
        if let Some(known) = self.rows.get(&key) {
            return *known;
        }
        if self.table.start.is_empty() {
            self.table.start.push(0);
        }
        let row = LabelSetId::from_index(self.table.start.len() - 1);
        self.table.labels.extend(labels);
        self.table.start.push(self.table.labels.len() as u32);
        self.rows.insert(key, row);
        row
    }
}
