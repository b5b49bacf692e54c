//! Labels of samples as a dimension: which keys and values there are with their weight, and which samples a filter lets pass.

use super::joined::{self, ProfileJoin};
use super::weights::Selection;
use crate::base::ids::{LabelSetId, SpanRow};
use crate::base::intern::StringTable;
use crate::base::labels::{LabelFilter, Wanted};
use crate::base::work::step;
use crate::model::Session;
use crate::model::profile::{Label, Profile};
use std::collections::BTreeMap;

/// A label's value as it is shown: the text, or the number with its unit.
pub fn value_text(strings: &StringTable, label: &Label) -> String {
    match (label.text.get(), label.unit.get().map(|u| strings.get(u)).filter(|u| !u.is_empty())) {
        (Some(text), _) => strings.get(text).to_string(),
        (None, Some(unit)) => format!("{} {unit}", label.number),
        (None, None) => label.number.to_string(),
    }
}

/// Whether one label has a value: as shown, or the bare number.
fn has_value(strings: &StringTable, label: &Label, value: &str) -> bool {
    value_text(strings, label) == value || label.text.is_none() && label.number.to_string() == value
}

fn passes(session: &Session, set: &[Label], filter: &LabelFilter) -> bool {
    let mut of_key = set.iter().filter(|l| session.strings.get(l.key) == filter.key);
    match &filter.wanted {
        Wanted::Value(value) => of_key.any(|l| has_value(&session.strings, l, value)),
        Wanted::Present => of_key.next().is_some(),
        Wanted::Absent => of_key.next().is_none(),
    }
}

/// Which samples of a profile pass.
pub struct Passing {
    /// By set of labels; the last entry is for samples without labels.
    sets: Vec<bool>,
    /// By sample, where filters speak of the spans that samples are joined with.
    samples: Option<Vec<bool>>,
}

impl Passing {
    /// Whether a sample passes.
    pub fn has(&self, p: &Profile, sample: usize) -> bool {
        self.sets[set_of(p, sample)] && self.samples.as_ref().is_none_or(|s| s[sample])
    }
}

/// Which samples all filters let pass: those on labels, and those on [`joined::SPAN_KEY`] and [`joined::ENDPOINT_KEY`].
pub fn passing(session: &Session, p: &Profile, filters: &[LabelFilter]) -> Passing {
    let (joins, filters): (Vec<&LabelFilter>, Vec<&LabelFilter>) = filters.iter().partition(|f| is_joined(&f.key));
    let sets = p.labels.start.len().saturating_sub(1);
    let sets = (0..=sets)
        .map(|set| {
            step(1);
            let labels = if set < sets { p.labels.set(LabelSetId::from_index(set)) } else { &[] };
            filters.iter().all(|f| passes(session, labels, f))
        })
        .collect();
    let samples = (!joins.is_empty()).then(|| {
        let join = joined::join(session, p);
        let texts: Vec<Option<String>> =
            joins.iter().map(|f| if let Wanted::Value(v) = &f.wanted { Some(v.clone()) } else { None }).collect();
        (0..p.samples.len())
            .map(|i| {
                joins.iter().zip(&texts).all(|(f, text)| {
                    let here = join.as_ref().and_then(|j| joined_slot(j, &f.key, i).map(|slot| (j, slot)));
                    match (here, text) {
                        (Some((j, slot)), Some(text)) => joined_text(session, j, &f.key, slot) == *text,
                        (None, Some(_)) => false,
                        (here, None) => here.is_some() == (f.wanted == Wanted::Present),
                    }
                })
            })
            .collect()
    });
    Passing { sets, samples }
}

/// Whether a key names what samples are joined with.
pub fn is_joined(key: &str) -> bool {
    key == joined::SPAN_KEY || key == joined::ENDPOINT_KEY
}

/// The span's row or the endpoint's position of a sample.
pub fn joined_slot(join: &ProfileJoin, key: &str, sample: usize) -> Option<u32> {
    let slot = if key == joined::SPAN_KEY { join.span[sample].0 } else { join.endpoint[sample] };
    (slot != u32::MAX).then_some(slot)
}

/// The value of such a slot.
pub fn joined_text(session: &Session, join: &ProfileJoin, key: &str, slot: u32) -> String {
    if key == joined::SPAN_KEY { joined::span_text(session, SpanRow(slot)) } else { join.endpoints[slot as usize].clone() }
}

/// The position of a sample's set of labels in the answer of [`passing`].
pub fn set_of(p: &Profile, sample: usize) -> usize {
    let none = p.labels.start.len().saturating_sub(1);
    p.samples.labels.get(sample).and_then(|l| l.get()).map_or(none, |l| l.index().min(none))
}

/// One value of a key.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueWeight {
    /// As shown.
    pub value: String,
    /// Samples that carry it.
    pub samples: u64,
    /// Their weight.
    pub weight: i64,
}

/// One key with its values, the heaviest first.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyWeight {
    /// Key.
    pub key: String,
    /// Samples that carry the key.
    pub samples: u64,
    /// Their weight; a sample with two values of one key counts once.
    pub weight: i64,
    /// Values.
    pub values: Vec<ValueWeight>,
}

#[derive(Default)]
struct Sum {
    samples: u64,
    weight: i64,
}

impl Sum {
    fn add(&mut self, samples: u64, weight: i64) {
        self.samples += samples;
        self.weight = self.weight.saturating_add(weight);
    }
}

#[derive(Default)]
struct OfKey {
    sum: Sum,
    values: BTreeMap<String, Sum>,
}

/// Keys by name and their values by falling weight, of the samples of a selection that pass the filters.
pub fn keys(session: &Session, selection: Selection, filters: &[LabelFilter]) -> Vec<KeyWeight> {
    let Some(p) = session.profiles.get(selection.profile) else { return Vec::new() };
    let Some(values) = p.samples.values.get(selection.value) else { return Vec::new() };
    let pass = passing(session, p, filters);
    // Samples share sets: weights are added up per set first.
    let mut of_set = vec![(0_u64, 0_i64); p.labels.start.len().saturating_sub(1) + 1];
    for (i, value) in values.iter().enumerate() {
        let set = set_of(p, i);
        if pass.has(p, i) && selection.thread.is_none_or(|t| p.samples.thread.get(i) == Some(&t)) {
            of_set[set] = (of_set[set].0 + 1, of_set[set].1.saturating_add(*value));
        }
    }
    let mut found: BTreeMap<&str, OfKey> = BTreeMap::new();
    for (set, &(samples, weight)) in of_set.iter().enumerate().filter(|(_, (samples, _))| *samples > 0) {
        // A sample with two values of one key counts once for the key and once for each value.
        let mut pairs: Vec<(&str, String)> = Vec::new();
        for label in p.labels.set(LabelSetId::from_index(set)) {
            step(1);
            pairs.push((session.strings.get(label.key), value_text(&session.strings, label)));
        }
        pairs.sort();
        pairs.dedup();
        for (i, (key, value)) in pairs.iter().enumerate() {
            let of_key = found.entry(key).or_default();
            if i == 0 || pairs[i - 1].0 != *key {
                of_key.sum.add(samples, weight);
            }
            of_key.values.entry(value.clone()).or_default().add(samples, weight);
        }
    }
    found
        .into_iter()
        .map(|(key, of_key)| {
            let mut values: Vec<ValueWeight> =
                of_key.values.into_iter().map(|(value, sum)| ValueWeight { value, samples: sum.samples, weight: sum.weight }).collect();
            values.sort_by(|a, b| b.weight.saturating_abs().cmp(&a.weight.saturating_abs()).then_with(|| a.value.cmp(&b.value)));
            KeyWeight { key: key.to_string(), samples: of_key.sum.samples, weight: of_key.sum.weight, values }
        })
        .collect()
}
