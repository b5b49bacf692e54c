//! Services, operations and the calls between services. Few rows: everything is in the head.

use serde::{Deserialize, Serialize};

/// The answer to [`super::Request::Services`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServicesData {
    /// From the earliest begin to the latest end, in nanoseconds; rates are per this window.
    pub window_ns: f64,
    /// Services over their entry spans, largest sum first.
    pub services: Vec<RedRow>,
    /// Operations, largest sum first.
    pub operations: Vec<RedRow>,
    /// Calls between services, most calls first.
    pub edges: Vec<EdgeRow>,
    /// Cost per endpoint of the profiles whose samples are joined with spans or endpoints.
    #[serde(default)]
    pub endpoint_costs: Vec<EndpointRow>,
    /// Sum of the durations of all requests: what all critical times add up to, nanoseconds.
    #[serde(default)]
    pub whole_ns: f64,
    /// Sum of the self times of all spans that were waited for, nanoseconds; over `whole_ns` it is the parallelism.
    #[serde(default)]
    pub worked_ns: f64,
    /// Time on the critical paths by kind of work, nanoseconds; kinds without time are left out.
    #[serde(default)]
    pub kinds: Vec<(String, f64)>,
    /// Requests by endpoint: service, normalised operation, requests, sum of durations in nanoseconds; largest sum first.
    #[serde(default)]
    pub endpoints: Vec<(String, String, u64, f64)>,
}

/// Rate, errors, durations of a service or operation. Durations in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RedRow {
    /// Service name; empty if unknown.
    pub service: String,
    /// Operation name; empty for a service as a whole.
    pub operation: String,
    /// Spans.
    pub calls: u64,
    /// Failed spans.
    pub errors: u64,
    /// Sum.
    pub sum_ns: f64,
    /// Of it, time on the critical paths of requests; of a service the time of all its operations.
    #[serde(default)]
    pub critical_ns: f64,
    /// Median.
    pub p50_ns: f64,
    /// 95th percentile.
    pub p95_ns: f64,
    /// 99th percentile.
    pub p99_ns: f64,
    /// Longest.
    pub max_ns: f64,
    /// A span at the median: trace id and span id.
    pub median: (String, String),
    /// The longest span: trace id and span id.
    pub worst: (String, String),
}

/// Calls from one service to another.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EdgeRow {
    /// Caller.
    pub from: String,
    /// Callee.
    pub to: String,
    /// The callee has no spans: its callers' attributes name it.
    pub unseen: bool,
    /// Calls.
    pub calls: u64,
    /// Failed ones.
    pub errors: u64,
    /// Sum of durations in nanoseconds.
    pub sum_ns: f64,
    /// Longest in nanoseconds.
    pub max_ns: f64,
    /// The longest call: trace id and span id.
    pub worst: (String, String),
}

/// What the samples of one profile cost for one endpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EndpointRow {
    /// Service and name of the entry span, or the label's text.
    pub endpoint: String,
    /// Profile, position in the session.
    pub profile: u32,
    /// Name of the value type.
    pub value: String,
    /// Its unit.
    pub unit: String,
    /// Weight of the endpoint's samples.
    pub weight: f64,
    /// How many samples.
    pub samples: u64,
    /// Weight of all samples of the profile.
    pub whole: f64,
}
