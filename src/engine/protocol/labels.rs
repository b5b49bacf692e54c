//! The labels of a selection: keys, values, and what they weigh.

use serde::{Deserialize, Serialize};

/// So many values of a key are sent; the rest is counted.
pub const VALUES: usize = 200;

/// Keys of the samples that pass the filters of the query.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LabelsData {
    /// Unit of the weights.
    pub unit: String,
    /// Weight of all samples of the query, labelled or not.
    pub whole: f64,
    /// By name.
    pub keys: Vec<LabelKey>,
}

/// One key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LabelKey {
    /// Key.
    pub key: String,
    /// Samples that carry it.
    pub samples: u64,
    /// Their weight.
    pub weight: f64,
    /// How many distinct values there are; [`LabelKey::values`] holds the heaviest.
    pub distinct: u64,
    /// The heaviest values with their weight.
    pub values: Vec<(String, f64)>,
}
