//! The answer to a load: what the frame, the findings view, the files view and the selectors need.

use serde::{Deserialize, Serialize};

/// So many services are told apart by colour; those beyond share colours.
pub const COLOURED_SERVICES: usize = 64;

/// Everything that is known right after a load.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Per file, as `hotspan inspect --json` prints it under `sources`.
    pub sources: serde_json::Value,
    /// File names of the baseline; empty without one.
    pub baseline: Vec<String>,
    /// Profiles for the selectors, in session order.
    pub profiles: Vec<ProfileInfo>,
    /// Traces, services and spans of the session.
    pub traces: u64,
    /// See `traces`.
    pub spans: u64,
    /// See `traces`.
    pub services: u64,
    /// Names of services in the order of the session, as far as they have a colour of their own: at most
    /// [`COLOURED_SERVICES`].
    pub service_names: Vec<String>,
    /// Findings, as `hotspan analyze --format json` prints them.
    pub findings: serde_json::Value,
    /// Verdicts of the rules, as `hotspan analyze --format json` prints them.
    pub rules: serde_json::Value,
    /// Over how much usable data the rules looked.
    pub usable: String,
    /// Documentation of the rules: id, name, family, summary.
    pub rule_docs: Vec<RuleDoc>,
    /// Settings that are in force.
    pub settings: SettingsInfo,
}

/// What is changed about the rules.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SettingsInfo {
    /// Each change once, as [`crate::base::view::ViewRef::settings`] holds them.
    pub lines: Vec<String>,
    /// What of the address means nothing, a sentence each.
    pub errors: Vec<String>,
    /// The `hotspan.toml` that says the same; empty if nothing is changed.
    pub toml: String,
}

/// A `hotspan.toml` among the files of a drop.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SettingsFile {
    /// Position in the drop.
    pub position: usize,
    /// File name.
    pub name: String,
    /// What it sets, as [`crate::base::view::ViewRef::settings`] holds it; nothing if there is an error.
    pub lines: Vec<String>,
    /// Why it is not applied; empty if it is.
    pub error: String,
}

/// A profile, as far as selectors need it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProfileInfo {
    /// Source, position in the session.
    pub source: u32,
    /// File name of the source.
    pub file: String,
    /// Name in the file (event of a perf script); may be empty.
    pub name: String,
    /// Format id.
    pub format: String,
    /// Value types.
    pub values: Vec<ValueInfo>,
    /// The value type shown first.
    pub default_value: u32,
    /// Threads by position; empty if there are none.
    pub threads: Vec<String>,
    /// Label keys with the samples that carry them, by name; empty if there are none.
    pub labels: Vec<(String, u64)>,
    /// Rows of samples.
    pub samples: u64,
    /// Events that were sampled; `None` where the numbers count something else.
    pub events: Option<u64>,
    /// Recording length in nanoseconds; 0 if unknown.
    pub duration_ns: f64,
    /// Whether a flame chart (time order) can be drawn.
    pub has_times: bool,
}

/// A value type.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ValueInfo {
    /// Name.
    pub name: String,
    /// Unit.
    pub unit: String,
    /// Sum over all samples.
    pub total: f64,
}

/// A rule for people.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RuleDoc {
    /// Id.
    pub id: String,
    /// Name.
    pub name: String,
    /// Family.
    pub family: String,
    /// One sentence.
    pub summary: String,
    /// The documentation page, Markdown.
    pub doc: String,
    /// Whether it runs.
    pub on: bool,
    /// Its thresholds.
    pub thresholds: Vec<ThresholdDoc>,
}

/// A threshold for people.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ThresholdDoc {
    /// Name.
    pub name: String,
    /// Default.
    pub default: f64,
    /// The value in force.
    pub value: f64,
    /// Unit, meaning and source of the default.
    pub doc: String,
}
