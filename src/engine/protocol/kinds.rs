//! Where the CPU time of a selection goes by kind of work.

use serde::{Deserialize, Serialize};

/// A partition of the active samples: each counts in one kind of work, so that the shares add up to the whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KindsData {
    /// Value type of the weights.
    pub value: String,
    /// Unit of the weights.
    pub unit: String,
    /// Weight of all active samples.
    pub whole: f64,
    /// Active samples.
    pub samples: u64,
    /// Idle samples, left out.
    pub idle: u64,
    /// Largest first; empty for profiles that are not of CPU time.
    pub kinds: Vec<Kind>,
    /// Samples in the parts of the "datacenter tax" (Kanev et al., ISCA 2015): serialization, RPC, hashing, compression,
    /// allocation and collection, data movement.
    pub tax: u64,
}

/// One kind of work.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Kind {
    /// Stable name, of the taxonomy.
    pub name: String,
    /// Name for people.
    pub label: String,
    /// Weight.
    pub weight: f64,
    /// Samples.
    pub samples: u64,
    /// The function at the leaf of most of its samples.
    pub function: String,
}
