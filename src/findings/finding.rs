//! What a finding is made of. The JSON form is the public contract of `hotspan analyze --format json`.

use crate::base::hash::{hash_bytes, hash_u64};
use crate::base::ids::{ProfileId, SpanRow, StackId};
use crate::base::quantity::format_share;
use crate::base::stats::Share;
use crate::base::view::ViewRef;
use serde::Serialize;

/// A rule's documentation: one per detector, `const` beside it.
#[derive(Debug)]
pub struct Rule {
    /// Stable id: `chatty-n-plus-one`.
    pub id: &'static str,
    /// Name for people.
    pub name: &'static str,
    /// Family for grouping: `hot loops`, `allocation`, `chatty calls`.
    pub family: &'static str,
    /// What it looks for, one sentence in general terms.
    pub summary: &'static str,
    /// General remedies.
    pub remedies: &'static [&'static str],
    /// Thresholds with defaults, adjustable by name.
    pub thresholds: &'static [Threshold],
    /// The documentation page (Markdown): what, why, how to fix, thresholds with sources, known false positives.
    pub doc: &'static str,
}

/// A named threshold.
#[derive(Debug)]
pub struct Threshold {
    /// Name in `--set RULE.NAME=VALUE`.
    pub name: &'static str,
    /// Default.
    pub default: f64,
    /// Unit and meaning, with the source of the default.
    pub doc: &'static str,
}

/// How bad. JSON: `info`, `warning`, `critical`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Score 25 and above.
    #[default]
    Info,
    /// Score 75 and above.
    Warning,
    /// Score 90 and above.
    Critical,
}

impl Severity {
    /// Severity of a score; `None` below 25.
    pub fn of_score(score: f64) -> Option<Severity> {
        match score {
            s if s >= 90.0 => Some(Severity::Critical),
            s if s >= 75.0 => Some(Severity::Warning),
            s if s >= 25.0 => Some(Severity::Info),
            _ => None,
        }
    }
    /// The word in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }
}

/// How sure. JSON: lower case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// Indirect evidence.
    #[default]
    Possible,
    /// Strong evidence.
    Likely,
    /// Direct evidence.
    Confirmed,
}

impl Confidence {
    /// The word in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Confidence::Possible => "possible",
            Confidence::Likely => "likely",
            Confidence::Confirmed => "confirmed",
        }
    }
}

/// What a finding is about.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Subject {
    /// `function`, `call-path`, `operation`, `edge`, `span-group`, `recording`.
    pub kind: &'static str,
    /// Function, operation or call signature.
    pub name: String,
    /// Service or module; empty if none.
    pub service: String,
    /// Call path from the root; empty if none.
    pub path: Vec<String>,
    /// Source file; empty if unknown.
    pub file: String,
    /// Source line; 0 if unknown.
    pub line: u32,
}

/// A share with its interval, as JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ShareOf {
    /// Observed share, 0 to 1.
    pub p: f64,
    /// Lower bound of the 95 % interval.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
    /// Observations.
    pub n: u64,
    /// Of what: value type or `request`.
    pub of: String,
}

impl ShareOf {
    /// From a computed interval.
    pub fn new(share: Share, of: &str) -> ShareOf {
        ShareOf { p: share.p, low: share.low, high: share.high, n: share.n, of: of.to_string() }
    }

    /// `12.3 % of the requests' time (95 %: 10.1 % to 14.5 %, n = 40)`; one observation has no interval.
    pub fn told(&self) -> String {
        // The name in JSON is short; in a sentence it is time that is shared out.
        let of = match self.of.as_str() {
            "request" => "the requests' time",
            "slow request" => "the slow requests' time",
            other => other,
        };
        let share = format!("{} of {of}", format_share(self.p));
        if self.n == 1 && self.low == self.high {
            return format!("{share} (n = 1, no interval)");
        }
        format!("{share} (95 %: {} to {}, n = {})", format_share(self.low), format_share(self.high), self.n)
    }
}

/// Absolute impact and what a fix would recover.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Impact {
    /// Cost in `unit`.
    pub amount: i64,
    /// `nanoseconds`, `bytes`, `samples`.
    pub unit: String,
    /// Pessimistic saving, same unit.
    pub recoverable_low: i64,
    /// Optimistic saving, same unit.
    pub recoverable_high: i64,
    /// The model behind the range, in words.
    pub model: String,
}

/// One piece of evidence with the view that shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evidence {
    /// What it shows, with numbers.
    pub text: String,
    /// The place, as a hash.
    #[serde(serialize_with = "as_hash")]
    pub view: ViewRef,
}

fn as_hash<S: serde::Serializer>(view: &ViewRef, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(&view.to_hash())
}

/// How often a loop iterates each time it is entered, by taken branches.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Trips {
    /// Mean; `None` if it was hardly ever seen to be left.
    pub mean: Option<f64>,
    /// Median; `None` if half of the runs do not fit in a branch stack.
    pub median: Option<u32>,
    /// 95th percentile, likewise.
    pub p95: Option<u32>,
    /// Most iterations seen in a row.
    pub longest: u32,
    /// Times it was seen to be left.
    pub exits: u64,
    /// Branch stacks with iterations of it.
    pub stacks: u64,
    /// Cycles per iteration, median; `None` where the processor does not count them.
    pub cycles: Option<u32>,
    /// Share of its back edges that were predicted wrongly; `None` where the processor does not say.
    pub mispredicted: Option<f64>,
}

/// A loop of the function that a finding is about, as machine code or taken branches show it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LoopRow {
    /// Offsets in the function: `+0x20 to +0x3a`.
    pub place: String,
    /// Source file; empty if unknown.
    pub file: String,
    /// First line; 0 if unknown.
    pub first_line: u32,
    /// Last line; 0 if unknown.
    pub last_line: u32,
    /// The function whose source the lines are, where it was inlined; else empty.
    pub inlined: String,
    /// 1 for an outermost loop.
    pub depth: u32,
    /// Whether the finding speaks of this one.
    pub hottest: bool,
    /// Share of the active samples that end in its own code, 0 to 1.
    pub share: f64,
    /// The same with what it calls.
    pub with_calls: f64,
    /// Instructions; `None` without machine code, as what follows.
    pub instructions: Option<u32>,
    /// Calls among them.
    pub calls: Option<u32>,
    /// Arithmetic on vectors among them.
    pub packed: Option<u32>,
    /// Width of those vectors in bits; 0 if unknown or none.
    pub vector_bits: Option<u32>,
    /// How often it iterates; `None` without taken branches.
    pub trips: Option<Trips>,
}

/// Where else it occurs.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Occurrences {
    /// Repetitions (calls, samples).
    pub count: u64,
    /// Traces affected; 0 for profiles.
    pub traces: u64,
    /// Traces looked at.
    pub of_traces: u64,
    /// `traceid/spanid`, the worst first.
    pub exemplars: Vec<String>,
    /// The occurrence of median weight, `traceid/spanid`; empty for profiles.
    pub median: String,
    /// The latest occurrence, `traceid/spanid`; empty for profiles.
    pub newest: String,
}

/// The rows that a finding speaks of, for telling findings of one defect from findings of several. Not written anywhere.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Cover {
    /// Not comparable with other findings.
    #[default]
    Nothing,
    /// Spans, each once.
    Spans(Vec<SpanRow>),
    /// Stacks of a profile, each once.
    Stacks(ProfileId, Vec<StackId>),
}

/// Another finding, as far as its relative tells of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Related {
    /// Rule id.
    pub rule: &'static str,
    /// Fingerprint.
    pub fingerprint: String,
    /// The claim in a few words.
    pub title: String,
    /// The claim in one sentence.
    pub message: String,
}

impl Related {
    /// What is told of a finding under another.
    pub fn of(f: &Finding) -> Related {
        Related { rule: f.rule, fingerprint: f.fingerprint.clone(), title: f.title.clone(), message: f.message.clone() }
    }
}

/// A finding. Rules fill what they know and take the rest from the default.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Finding {
    /// `f-1`, by rank; set by [`super::run`].
    pub id: String,
    /// Rule id.
    pub rule: &'static str,
    /// Stable across runs: rule and names, hex.
    pub fingerprint: String,
    /// How bad.
    pub severity: Severity,
    /// 0 to 100.
    pub score: u32,
    /// How sure.
    pub confidence: Confidence,
    /// Evidence tier: `T0` … `T5` for loops; empty where tiers do not apply.
    pub tier: String,
    /// The claim in a few words.
    pub title: String,
    /// The claim in one sentence with its numbers.
    pub message: String,
    /// What it is about.
    pub subject: Subject,
    /// Share of the whole, if it has one.
    pub share: Option<ShareOf>,
    /// Cost and saving.
    pub impact: Impact,
    /// Proof.
    pub evidence: Vec<Evidence>,
    /// The loops of its function, in the order of their code; empty where none are known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub loops: Vec<LoopRow>,
    /// Where else.
    pub occurrences: Occurrences,
    /// What could make it wrong.
    pub caveats: Vec<String>,
    /// What to do, for this case.
    pub remedies: Vec<String>,
    /// The command that gives the same numbers from the same files. Set by [`super::run`] where the rule gives none.
    pub query: String,
    /// What other rules say of the same calls or samples.
    pub also: Vec<Related>,
    /// Findings that only follow from this one.
    pub consequences: Vec<Related>,
    /// Notes of the same shape on other places, told here alone, with what stood under them.
    pub places: Vec<Related>,
    /// The rows it speaks of.
    #[serde(skip)]
    pub cover: Cover,
}

/// A stable fingerprint from a rule and names.
pub fn fingerprint(rule: &str, names: &[&str]) -> String {
    let h = names.iter().fold(hash_bytes(rule.as_bytes()), |h, name| hash_u64(h, hash_bytes(name.as_bytes())));
    format!("{h:016x}")
}

/// Whether a rule fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RuleStatus {
    /// It found something.
    Fired,
    /// It looked and found nothing.
    Clear,
    /// The data cannot answer.
    NotChecked,
}

/// A rule's answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RuleVerdict {
    /// Rule id.
    pub rule: String,
    /// Fired, clear, not checked.
    pub status: RuleStatus,
    /// Over how much usable data.
    pub over: String,
    /// Why not checked.
    pub reason: String,
}

impl RuleVerdict {
    /// The answer in words, and over what it is or why there is none.
    pub fn told(&self) -> (&'static str, &str) {
        match self.status {
            RuleStatus::Fired => ("fired", &self.over),
            RuleStatus::Clear => ("checked, clear", &self.over),
            RuleStatus::NotChecked => ("not checked", &self.reason),
        }
    }
}
