//! A comparison of two sets of files: a baseline and the candidate that is open. Computed once, for the rules, the page and
//! the command.

use super::calls::CallTable;
use super::compare_profiles::{self, Limits, ProfileComparison};
use super::compare_traces::{self, TraceComparison};
use crate::model::Session;

/// Everything that both sides have.
#[derive(Default)]
pub struct Comparison {
    /// Pairs of profiles that measure the same.
    pub profiles: Vec<ProfileComparison>,
    /// Traces, if both sides have some.
    pub traces: Option<TraceComparison>,
    /// What one side has and the other lacks, a sentence each.
    pub warnings: Vec<String>,
}

/// Compares two sessions.
pub fn compare(baseline: &Session, candidate: &Session, calls: &CallTable, limits: Limits) -> Comparison {
    let pairs = compare_profiles::pairs(baseline, candidate);
    let mut out = Comparison {
        profiles: pairs.iter().map(|(b, c)| compare_profiles::compare([baseline, candidate], [*b, *c], limits)).collect(),
        ..Comparison::default()
    };
    let lonely = |session: &Session, of: fn(&(usize, usize)) -> usize| {
        (0..session.profiles.len()).filter(|i| session.profiles[*i].slices.is_none() && !pairs.iter().any(|p| of(p) == *i)).count()
    };
    for (n, name) in [(lonely(baseline, |p| p.0), "baseline"), (lonely(candidate, |p| p.1), "candidate")] {
        if n > 0 {
            out.warnings.push(format!("{n} of the profiles of the {name} measure nothing that the other side measures."));
        }
    }
    match (baseline.traces.spans.is_empty(), candidate.traces.spans.is_empty()) {
        (false, false) => {
            let before = CallTable::new(baseline);
            out.traces = Some(compare_traces::compare([baseline, candidate], [&before, calls], limits));
        }
        (true, false) => out.warnings.push("The baseline has no traces.".to_string()),
        (false, true) => out.warnings.push("The candidate has no traces.".to_string()),
        (true, true) => {}
    }
    out
}

impl Comparison {
    /// Whether there is anything to compare.
    pub fn is_empty(&self) -> bool {
        self.profiles.is_empty() && self.traces.is_none()
    }
}
