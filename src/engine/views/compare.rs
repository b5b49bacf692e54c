//! From a comparison to its written form, for the command and the Compare view.

use crate::base::slabs::Slabs;
use crate::engine::Engine;
use crate::engine::protocol::Failure;
use crate::engine::protocol::compare::{CallDiff, Diff, EndpointDiff, FunctionDiff, OperationDiff, ProfileDiff, TraceDiff};
use crate::findings::compare::Comparison;
use crate::findings::compare_profiles::{Change, ProfileComparison, explaining_path, share};
use crate::findings::compare_traces::TraceComparison;
use crate::model::Session;

/// Rows per table that the page gets.
const ROWS: usize = 2000;

/// Compares the open files with the baseline.
///
/// # Errors
/// [`Failure`] without a baseline, or when the sides have nothing in common.
pub fn answer(engine: &Engine) -> Result<Slabs, Failure> {
    let comparison = engine.comparison().ok_or_else(|| Failure::new("there is no baseline to compare with"))?;
    if comparison.is_empty() {
        return Err(Failure::new(
            "Baseline and candidate have nothing in common that is compared: no profiles of samples that measure the same, no traces on both sides. Timelines of slices are not compared.",
        ));
    }
    let diff = diff([&engine.baseline, &engine.session], comparison, ROWS);
    serde_json::to_string(&diff).map(Slabs::json).map_err(|e| Failure::new(e.to_string()))
}

fn word(change: Change) -> String {
    match change {
        Change::Same => "same",
        Change::Regressed => "regressed",
        Change::Improved => "improved",
        Change::Moved => "moved",
        Change::ShareOnly => "share-only",
    }
    .to_string()
}

/// The comparison with at most `limit` rows per table; what changed certainly comes first.
pub fn diff(sessions: [&Session; 2], c: &Comparison, limit: usize) -> Diff {
    Diff {
        schema: "hotspan.diff/1".to_string(),
        files: sessions.map(|s| s.sources.iter().map(|s| s.file.clone()).collect()),
        warnings: c.warnings.clone(),
        profiles: c.profiles.iter().map(|p| profile(p, limit)).collect(),
        traces: c.traces.as_ref().map(|t| traces(t, limit)),
    }
}

fn profile(p: &ProfileComparison, limit: usize) -> ProfileDiff {
    let certain = |r: &&crate::findings::compare_profiles::Row| r.change != Change::Same || r.total_change != Change::Same;
    let (sure, rest): (Vec<_>, Vec<_>) = p.rows.iter().partition(certain);
    let functions = sure.into_iter().chain(rest).take(limit).map(|r| FunctionDiff {
        name: p.tree.names.get(r.name).to_string(),
        change: word(r.change),
        total_change: word(r.total_change),
        partner: p.tree.names.get(r.partner).to_string(),
        own: r.own,
        total: r.total,
        self_share: [0, 1].map(|s| share(r.own[s], p.events[s])),
        total_share: [0, 1].map(|s| share(r.total[s], p.events[s])),
        p: r.p,
        path: if certain(&r) { explaining_path(p, r.name) } else { Vec::new() },
    });
    ProfileDiff {
        profiles: p.profiles,
        value: p.value_name.clone(),
        unit: p.unit.clone(),
        events: p.events,
        weight: p.weight,
        duration_ns: p.duration_ns,
        tested: p.tested,
        warnings: p.warnings.clone(),
        functions: functions.collect(),
        more: p.rows.len().saturating_sub(limit),
    }
}

fn traces(t: &TraceComparison, limit: usize) -> TraceDiff {
    let operations = t.operations.iter().take(limit).map(|r| OperationDiff {
        service: r.service.clone(),
        operation: r.operation.clone(),
        count: r.count,
        errors: r.errors,
        p50_ns: r.p50_ns,
        p95_ns: r.p95_ns,
        p99_ns: r.p99_ns,
        mean_ns: r.mean_ns.map(|m| m.round() as i64),
        change: word(r.duration_change),
        error_change: word(r.error_change),
        p: r.p_duration,
        p_errors: r.p_errors,
    });
    let calls = t.calls.iter().take(limit).map(|r| CallDiff {
        service: r.service.clone(),
        operation: r.operation.clone(),
        target: r.target.clone(),
        executions: r.executions,
        calls: r.calls,
        per_execution: [r.mean(0), r.mean(1)],
        change: word(r.change),
        p: r.p,
    });
    let endpoints = t.endpoints.iter().take(limit).map(|e| EndpointDiff {
        service: e.service.clone(),
        operation: e.operation.clone(),
        requests: e.requests,
        mean_ns: e.mean_ns.map(|m| m.round() as i64),
        explained_by: e.explained_by.clone(),
        explained_ns: e.explained_ns.round() as i64,
        one_sided: e
            .one_sided
            .iter()
            .map(|(path, side, n)| (if *side == 1 { "candidate" } else { "baseline" }.to_string(), path.clone(), *n))
            .collect(),
    });
    TraceDiff {
        tested: t.tested,
        warnings: t.warnings.clone(),
        operations: operations.collect(),
        calls: calls.collect(),
        endpoints: endpoints.collect(),
    }
}
