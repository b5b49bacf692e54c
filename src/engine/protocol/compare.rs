//! The answer to [`super::Request::Compare`], and `hotspan diff --json`: `hotspan.diff/1`, a public contract.

use serde::{Deserialize, Serialize};

/// A comparison as it is written. Pairs are baseline and candidate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Diff {
    /// `hotspan.diff/1`.
    pub schema: String,
    /// File names per side.
    pub files: [Vec<String>; 2],
    /// Why the sides may not be comparable.
    pub warnings: Vec<String>,
    /// Pairs of profiles.
    pub profiles: Vec<ProfileDiff>,
    /// Traces; `None` unless both sides have some.
    pub traces: Option<TraceDiff>,
}

/// A pair of profiles.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProfileDiff {
    /// Positions of the profiles in their sessions.
    pub profiles: [usize; 2],
    /// Value type and unit.
    pub value: String,
    /// Unit of weights.
    pub unit: String,
    /// Active events.
    pub events: [i64; 2],
    /// Their weight.
    pub weight: [i64; 2],
    /// Lengths of the recordings in nanoseconds; 0 if unknown.
    pub duration_ns: [i64; 2],
    /// Tests that were made.
    pub tested: usize,
    /// Why the sides may not be comparable.
    pub warnings: Vec<String>,
    /// Functions with a certain change, then the others by size of change.
    pub functions: Vec<FunctionDiff>,
    /// Functions beyond those listed.
    pub more: usize,
}

/// A function of both sides.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FunctionDiff {
    /// Name.
    pub name: String,
    /// `same`, `regressed`, `improved`, `moved`, `share-only`: of its own share.
    pub change: String,
    /// The same of its total share.
    pub total_change: String,
    /// Function from or to which its share moved; empty otherwise.
    pub partner: String,
    /// Own events.
    #[serde(rename = "self")]
    pub own: [i64; 2],
    /// Total events.
    pub total: [i64; 2],
    /// Own share of all events.
    pub self_share: [f64; 2],
    /// Total share.
    pub total_share: [f64; 2],
    /// p-values of own and total.
    pub p: [f64; 2],
    /// The smallest path that explains the change; only of certain ones.
    pub path: Vec<String>,
}

/// Two sets of traces.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TraceDiff {
    /// Tests that were made.
    pub tested: usize,
    /// Why the sides may not be comparable.
    pub warnings: Vec<String>,
    /// Operations.
    pub operations: Vec<OperationDiff>,
    /// Calls per execution.
    pub calls: Vec<CallDiff>,
    /// Endpoints.
    pub endpoints: Vec<EndpointDiff>,
}

/// An operation of both sides.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct OperationDiff {
    pub service: String,
    pub operation: String,
    pub count: [u64; 2],
    pub errors: [u64; 2],
    pub p50_ns: [i64; 2],
    pub p95_ns: [i64; 2],
    pub p99_ns: [i64; 2],
    pub mean_ns: [i64; 2],
    pub change: String,
    pub error_change: String,
    pub p: f64,
    pub p_errors: f64,
}

/// Calls of one target by one operation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct CallDiff {
    pub service: String,
    pub operation: String,
    pub target: String,
    pub executions: [u64; 2],
    pub calls: [u64; 2],
    pub per_execution: [f64; 2],
    pub change: String,
    pub p: f64,
}

/// Requests of one endpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct EndpointDiff {
    pub service: String,
    pub operation: String,
    pub requests: [u64; 2],
    pub mean_ns: [i64; 2],
    pub explained_by: Vec<String>,
    pub explained_ns: i64,
    /// Paths of one side only: `baseline` or `candidate`, the path, how often.
    pub one_sided: Vec<(String, Vec<String>, u64)>,
}
