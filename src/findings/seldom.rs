//! What one or two of many requests of an endpoint show, and what costs next to nothing over all of them, is a note.

use super::finding::{Cover, Finding, Severity};
use crate::base::ids::{OperationId, TraceRow};
use crate::model::Session;
use std::collections::BTreeMap;

/// Requests of an endpoint from which on a defect that fewer than [`SEEN`] of them show is seldom.
const MANY_REQUESTS: u64 = 50;
/// Requests that must show a defect before it is more than a note (Sentry makes an issue of an N+1 when it is seen the third time).
const SEEN: u64 = 3;
/// Cost, as share of the time of all requests of the endpoint, from which on even what is seldom matters.
const MATTERS: f64 = 0.01;

/// Of many requests of an endpoint, what one or two show and what costs next to nothing over all of them is a note: the worst
/// request decides how bad a defect is where it occurs, not whether it is worth anybody's time.
pub fn seldom(session: &Session, findings: &mut [Finding]) {
    let set = &session.traces;
    let endpoint = |trace: TraceRow| set.traces.root[trace.index()].get().map(|root| (root, set.spans.operation[root.index()]));
    let mut requests: BTreeMap<OperationId, (u64, f64)> = BTreeMap::new();
    for (root, operation) in (0..set.traces.len()).filter_map(|t| endpoint(TraceRow::from_index(t))) {
        let sum = requests.entry(operation).or_default();
        *sum = (sum.0 + 1, sum.1 + set.spans.duration_ns[root.index()] as f64);
    }
    for f in findings.iter_mut().filter(|f| f.severity > Severity::Info && f.impact.unit == "nanoseconds") {
        let Cover::Spans(spans) = &f.cover else { continue };
        let Some((_, operation)) = spans.first().and_then(|s| endpoint(set.spans.trace[s.index()])) else { continue };
        let (n, whole) = requests.get(&operation).copied().unwrap_or_default();
        if n >= MANY_REQUESTS && (1..SEEN).contains(&f.occurrences.traces) && (f.impact.amount as f64) < MATTERS * whole {
            f.severity = Severity::Info;
            f.score = f.score.min(74);
            let seen = f.occurrences.traces;
            f.caveats.push(format!("{seen} of {n} requests of the endpoint show it, and it takes less than a hundredth of their time."));
        }
    }
}
