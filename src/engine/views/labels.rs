//! The labels of a selection.

use super::derived::{check, selection};
use crate::analysis::labels::{keys, passing};
use crate::base::slabs::Slabs;
use crate::engine::Engine;
use crate::engine::protocol::labels::{LabelKey, LabelsData, VALUES};
use crate::engine::protocol::{Failure, SampleQuery};

/// Keys, values and weights. Grouping does not matter here.
///
/// # Errors
/// [`Failure`] when the query names nothing.
pub fn answer(engine: &Engine, query: &SampleQuery) -> Result<Slabs, Failure> {
    let session = &engine.session;
    let p = check(session, query)?;
    let selection = selection(query);
    let pass = passing(session, p, &query.labels);
    let whole = p.samples.values[selection.value]
        .iter()
        .enumerate()
        .filter(|(i, _)| pass.has(p, *i) && selection.thread.is_none_or(|t| p.samples.thread.get(*i) == Some(&t)));
    let data = LabelsData {
        unit: p.value_types[selection.value].unit.clone(),
        whole: whole.fold(0_i64, |sum, (_, v)| sum.saturating_add(*v)) as f64,
        keys: keys(session, selection, &query.labels)
            .into_iter()
            .map(|k| LabelKey {
                distinct: k.values.len() as u64,
                values: k.values.iter().take(VALUES).map(|v| (v.value.clone(), v.weight as f64)).collect(),
                key: k.key,
                samples: k.samples,
                weight: k.weight as f64,
            })
            .collect(),
    };
    serde_json::to_string(&data).map(Slabs::json).map_err(|e| Failure::new(e.to_string()))
}
