//! Two sets of traces: operations by duration and errors, calls per execution, and the critical path's time by call path.
//!
//! Durations are compared by ranks, because they are skewed; errors by shares; call counts by their means. False discoveries
//! are controlled over all tests together. The critical path partitions every request (TRACES 4.4), so the changes of mean
//! time per path add up exactly to the change of the requests' mean duration.

use super::calls::CallTable;
use super::compare_paths::{PathTree, SIDES};
use super::compare_profiles::{Change, Limits, share};
use crate::analysis::clipped::Clipped;
use crate::analysis::critical_path::critical_path;
use crate::analysis::normalize;
use crate::base::ids::{SpanRow, StringId, TraceRow};
use crate::base::significance::{discoveries, mean_difference, rank_sum, two_shares, two_sided};
use crate::base::stats::nearest_rank;
use crate::model::Session;
use crate::model::trace::SPAN_ERROR;
use std::collections::BTreeMap;

/// Executions on each side below which nothing is tested.
pub const MIN_EXECUTIONS: usize = 5;
/// Changes of a percentile below this are not reported, nanoseconds.
const MIN_CHANGE_NS: i64 = 1_000_000;

/// One operation of a service.
#[derive(Clone, Debug)]
pub struct OperationRow {
    /// Service name.
    pub service: String,
    /// Normalised operation name.
    pub operation: String,
    /// Executions per side.
    pub count: [u64; 2],
    /// Failed executions per side.
    pub errors: [u64; 2],
    /// Medians, nanoseconds; 0 without executions.
    pub p50_ns: [i64; 2],
    /// 95th percentiles.
    pub p95_ns: [i64; 2],
    /// 99th percentiles.
    pub p99_ns: [i64; 2],
    /// Means.
    pub mean_ns: [f64; 2],
    /// Half width of the 95 % interval of the difference of means.
    pub mean_half_ns: f64,
    /// p-value of the ranks.
    pub p_duration: f64,
    /// p-value of the error shares.
    pub p_errors: f64,
    /// Verdict on durations.
    pub duration_change: Change,
    /// Verdict on errors.
    pub error_change: Change,
    /// The slowest execution of the candidate.
    pub worst: SpanRow,
    /// Whether it is a root of traces.
    pub is_root: bool,
}

/// Calls of one target by the executions of one operation.
#[derive(Clone, Debug)]
pub struct CallRow {
    /// Calling service.
    pub service: String,
    /// Calling operation, normalised.
    pub operation: String,
    /// What is called, for people.
    pub target: String,
    /// Executions of the caller per side.
    pub executions: [u64; 2],
    /// Calls per side.
    pub calls: [u64; 2],
    /// p-value of the difference of means.
    pub p: f64,
    /// Verdict on calls per execution.
    pub change: Change,
    /// A call of the candidate, else of the baseline.
    pub example: SpanRow,
}

impl CallRow {
    /// Calls per execution of a side.
    pub fn mean(&self, side: usize) -> f64 {
        share(self.calls[side] as i64, self.executions[side] as i64)
    }
}

/// Requests of one endpoint, with the paths that make their time.
pub struct EndpointRow {
    /// Root's service.
    pub service: String,
    /// Root's normalised operation.
    pub operation: String,
    /// Requests per side.
    pub requests: [u64; 2],
    /// Mean duration per side, nanoseconds.
    pub mean_ns: [f64; 2],
    /// Paths that exist on one side only, although the other has requests enough: (path, side, calls on the path).
    pub one_sided: Vec<(Vec<String>, usize, u64)>,
    /// The smallest path that explains the change of the mean.
    pub explained_by: Vec<String>,
    /// Change of mean critical-path time of that path and all below it, nanoseconds.
    pub explained_ns: f64,
}

/// Two sets of traces.
#[derive(Default)]
pub struct TraceComparison {
    /// Operations, by falling change of the sum of their time.
    pub operations: Vec<OperationRow>,
    /// Calls, by falling change per execution.
    pub calls: Vec<CallRow>,
    /// Endpoints, by falling change of the mean.
    pub endpoints: Vec<EndpointRow>,
    /// Tests that were made.
    pub tested: usize,
    /// Why the sides may not be comparable.
    pub warnings: Vec<String>,
}

type Key = (String, String);

/// Service and normalised operation of a span.
fn key(session: &Session, span: SpanRow) -> Key {
    let set = &session.traces;
    (set.service_name(&session.strings, span).to_string(), normalize::name(set.name(&session.strings, span)).text)
}

/// Keys of all operations of a session, by operation row.
fn keys(session: &Session) -> Vec<Key> {
    let operations = &session.traces.operations;
    (0..operations.name.len())
        .map(|i| {
            let service = operations.service[i].get().map_or("", |s| session.strings.get(session.traces.services[s.index()]));
            (service.to_string(), normalize::name(session.strings.get(operations.name[i])).text)
        })
        .collect()
}

/// Compares two sessions that hold traces.
pub fn compare(sessions: [&Session; 2], calls: [&CallTable; 2], limits: Limits) -> TraceComparison {
    let mut out = TraceComparison { operations: operations(sessions), calls: call_rows(sessions, calls), ..TraceComparison::default() };
    for (side, name) in [(0, "baseline"), (1, "candidate")] {
        let n = sessions[side].traces.traces.len();
        if n < 30 {
            out.warnings.push(format!("The {name} has {n} traces; below 30 percentiles and rates are rough."));
        }
    }
    judge(&mut out, limits);
    out.endpoints = endpoints(sessions);
    out
}

#[derive(Default)]
struct Gathered {
    durations: [Vec<i64>; 2],
    errors: [u64; 2],
    worst: Option<(i64, SpanRow)>,
    is_root: bool,
}

fn operations(sessions: [&Session; 2]) -> Vec<OperationRow> {
    let mut all: BTreeMap<Key, Gathered> = BTreeMap::new();
    for side in SIDES {
        let (keys, spans) = (keys(sessions[side]), &sessions[side].traces.spans);
        // By operation row first: names are compared once per row, not once per span.
        let mut by_row: BTreeMap<usize, Vec<SpanRow>> = BTreeMap::new();
        for row in 0..spans.len() {
            by_row.entry(spans.operation[row].index()).or_default().push(SpanRow::from_index(row));
        }
        for (operation, rows) in by_row {
            let g = all.entry(keys[operation].clone()).or_default();
            for span in rows {
                let duration = spans.duration_ns[span.index()];
                g.durations[side].push(duration);
                g.errors[side] += u64::from(spans.has(span, SPAN_ERROR));
                g.is_root |= spans.parent[span.index()].is_none();
                if side == 1 && g.worst.is_none_or(|(d, _)| duration > d) {
                    g.worst = Some((duration, span));
                }
            }
        }
    }
    all.into_iter()
        .map(|((service, operation), mut g)| {
            for side in SIDES {
                g.durations[side].sort_unstable();
            }
            let [b, c] = &g.durations;
            let floats = |v: &[i64]| v.iter().map(|d| *d as f64).collect::<Vec<f64>>();
            let (_, half) = mean_difference(&floats(b), &floats(c));
            let mean = |v: &[i64]| if v.is_empty() { 0.0 } else { v.iter().map(|d| *d as f64).sum::<f64>() / v.len() as f64 };
            let count = [b.len() as u64, c.len() as u64];
            OperationRow {
                service,
                operation,
                count,
                errors: g.errors,
                p50_ns: [nearest_rank(b, 0.5), nearest_rank(c, 0.5)],
                p95_ns: [nearest_rank(b, 0.95), nearest_rank(c, 0.95)],
                p99_ns: [nearest_rank(b, 0.99), nearest_rank(c, 0.99)],
                mean_ns: [mean(b), mean(c)],
                mean_half_ns: half,
                p_duration: rank_sum(b, c).0,
                p_errors: two_shares(g.errors[0], count[0], g.errors[1], count[1], 1.0),
                duration_change: Change::Same,
                error_change: Change::Same,
                worst: g.worst.map_or(SpanRow::NONE, |(_, s)| s),
                is_root: g.is_root,
            }
        })
        .collect()
}

#[derive(Default)]
struct Counted {
    sum: [u64; 2],
    squares: [u64; 2],
    example: Option<SpanRow>,
    target: String,
}

fn call_rows(sessions: [&Session; 2], tables: [&CallTable; 2]) -> Vec<CallRow> {
    let mut executions: BTreeMap<Key, [u64; 2]> = BTreeMap::new();
    let mut all: BTreeMap<(Key, String), Counted> = BTreeMap::new();
    for side in SIDES {
        let (session, table) = (sessions[side], tables[side]);
        let set = &session.traces;
        let keys = keys(session);
        for row in 0..set.spans.len() {
            executions.entry(keys[set.spans.operation[row].index()].clone()).or_default()[side] += 1;
        }
        for trace in (0..set.traces.len()).map(TraceRow::from_index) {
            let mut own: BTreeMap<(SpanRow, StringId), (u64, SpanRow, StringId)> = BTreeMap::new();
            for call in table.of(trace) {
                own.entry((call.scope, call.target)).or_insert((0, call.span, call.shown)).0 += 1;
            }
            for ((scope, target), (n, example, shown)) in own {
                let caller = keys[set.spans.operation[scope.index()].index()].clone();
                let counted = all.entry((caller, table.texts.get(target).to_string())).or_default();
                counted.sum[side] += n;
                counted.squares[side] += n * n;
                // The candidate comes second and wins, so that the example is in what the user has open.
                if counted.example.is_none() || side == 1 {
                    counted.example = Some(example);
                    counted.target = table.texts.get(shown).to_string();
                }
            }
        }
    }
    all.into_iter()
        .map(|(((service, operation), _), c)| {
            let n = executions.get(&(service.clone(), operation.clone())).copied().unwrap_or_default();
            CallRow {
                p: count_test(n, &c),
                service,
                operation,
                target: c.target,
                executions: n,
                calls: c.sum,
                change: Change::Same,
                example: c.example.unwrap_or(SpanRow::NONE),
            }
        })
        .collect()
}

/// Welch's test with normal quantiles on calls per execution; executions without such a call count as zero.
fn count_test(n: [u64; 2], c: &Counted) -> f64 {
    if n.iter().any(|n| (*n as usize) < MIN_EXECUTIONS) {
        return 1.0;
    }
    let mean = SIDES.map(|s| c.sum[s] as f64 / n[s] as f64);
    let variance = SIDES.map(|s| {
        let n = n[s] as f64;
        ((c.squares[s] as f64 - n * mean[s] * mean[s]) / (n - 1.0)).max(0.0) / n
    });
    let difference = mean[1] - mean[0];
    match variance[0] + variance[1] {
        v if v > 0.0 => two_sided(difference / v.sqrt()),
        _ if difference == 0.0 => 1.0,
        // Every execution of a side makes the same number of calls: the code changed.
        _ => 0.0,
    }
}

fn judge(out: &mut TraceComparison, limits: Limits) {
    let enough = |n: [u64; 2]| n.iter().all(|n| *n as usize >= MIN_EXECUTIONS);
    let mut p = Vec::new();
    for row in out.operations.iter().filter(|r| enough(r.count)) {
        p.push(row.p_duration);
        p.push(row.p_errors);
    }
    for row in out.calls.iter().filter(|r| enough(r.executions)) {
        p.push(row.p);
    }
    out.tested = p.len();
    let mut found = discoveries(&p, limits.q).into_iter();
    let verdict = |certain: bool, delta: f64| match certain {
        false => Change::Same,
        true if delta > 0.0 => Change::Regressed,
        true => Change::Improved,
    };
    for row in out.operations.iter_mut().filter(|r| enough(r.count)) {
        let (slow, fail) = (found.next().unwrap_or(false), found.next().unwrap_or(false));
        let change = |v: [i64; 2]| (v[1] - v[0]).abs() >= MIN_CHANGE_NS.max((limits.relative * v[0] as f64) as i64);
        let sized = change(row.p50_ns) || change(row.p95_ns);
        // Ranks decide whether there is a change, the median its direction, or the 95th percentile where the median is equal.
        let delta = if change(row.p50_ns) { row.p50_ns[1] - row.p50_ns[0] } else { row.p95_ns[1] - row.p95_ns[0] };
        row.duration_change = verdict(slow && sized, delta as f64);
        let errors = share(row.errors[1] as i64, row.count[1] as i64) - share(row.errors[0] as i64, row.count[0] as i64);
        row.error_change = verdict(fail && errors.abs() >= limits.points, errors);
    }
    for row in out.calls.iter_mut().filter(|r| enough(r.executions)) {
        let delta = row.mean(1) - row.mean(0);
        let sized = delta.abs() >= 0.5 && delta.abs() >= limits.relative * row.mean(0);
        row.change = verdict(found.next().unwrap_or(false) && sized, delta);
    }
    let moved = |r: &OperationRow| ((r.mean_ns[1] - r.mean_ns[0]) * r.count[1] as f64).abs();
    out.operations.sort_by(|a, b| moved(b).total_cmp(&moved(a)).then_with(|| (&a.service, &a.operation).cmp(&(&b.service, &b.operation))));
    let more = |r: &CallRow| (r.mean(1) - r.mean(0)).abs();
    let names = |r: &CallRow| (r.service.clone(), r.operation.clone(), r.target.clone());
    out.calls.sort_by(|a, b| more(b).total_cmp(&more(a)).then_with(|| names(a).cmp(&names(b))));
}

/// Time on the critical path by call path, for every endpoint that both sides have.
fn endpoints(sessions: [&Session; 2]) -> Vec<EndpointRow> {
    let mut by_key: BTreeMap<Key, [Vec<TraceRow>; 2]> = BTreeMap::new();
    for side in SIDES {
        let set = &sessions[side].traces;
        for trace in (0..set.traces.len()).map(TraceRow::from_index) {
            if let Some(root) = set.traces.root[trace.index()].get() {
                by_key.entry(key(sessions[side], root)).or_default()[side].push(trace);
            }
        }
    }
    let mut out: Vec<EndpointRow> =
        by_key.into_iter().filter(|(_, t)| t.iter().all(|t| !t.is_empty())).map(|(k, t)| endpoint(sessions, k, &t)).collect();
    let change = |e: &EndpointRow| (e.mean_ns[1] - e.mean_ns[0]).abs();
    out.sort_by(|a, b| change(b).total_cmp(&change(a)).then_with(|| (&a.service, &a.operation).cmp(&(&b.service, &b.operation))));
    out
}

fn endpoint(sessions: [&Session; 2], (service, operation): Key, traces: &[Vec<TraceRow>; 2]) -> EndpointRow {
    let mut tree = PathTree::new();
    let mut mean = [0.0; 2];
    for side in SIDES {
        let session = sessions[side];
        let set = &session.traces;
        let labels: Vec<StringId> =
            keys(session).iter().map(|(service, name)| tree.names.intern(format!("{service} {name}").trim_start())).collect();
        for &trace in &traces[side] {
            let Some(root) = set.traces.root[trace.index()].get() else { continue };
            let clipped = Clipped::of(set, trace);
            mean[side] += clipped.duration(root) as f64;
            let first = set.traces.first_span[trace.index()].index();
            let mut node: Vec<u32> = vec![0; set.traces.spans(trace).len()];
            for &span in &clipped.order {
                let above = set.spans.parent[span.index()].get().map_or(0, |p| node[p.index() - first]);
                let name = labels[set.spans.operation[span.index()].index()];
                node[span.index() - first] = tree.child(above, name);
                tree.add(side, node[span.index() - first], 1, 0);
            }
            for section in critical_path(set, &clipped, root) {
                tree.add(side, node[section.span.index() - first], 0, section.to - section.from);
            }
        }
    }
    let n = SIDES.map(|s| traces[s].len() as f64);
    let own = |row: usize| tree.weight[1][row] as f64 / n[1] - tree.weight[0][row] as f64 / n[0];
    // `explain` wants the change that begins in a row alone, before sums of subtrees are formed.
    let at = tree.explain(own);
    let path = tree.path(at);
    let counts: Vec<[i64; 2]> = (0..tree.len()).map(|r| SIDES.map(|s| tree.count[s][r])).collect();
    tree.close();
    let explained_ns = tree.weight[1][at as usize] as f64 / n[1] - tree.weight[0][at as usize] as f64 / n[0];
    let mut one_sided = Vec::new();
    for row in 1..tree.len() {
        for side in SIDES {
            // Seen in at least half of one side's requests and never on the other; below another such path it says nothing new.
            let above = tree.parent[row] as usize;
            let here = counts[row][side];
            if counts[row][1 - side] == 0
                && here as f64 * 2.0 >= n[side]
                && n.iter().all(|n| *n >= MIN_EXECUTIONS as f64)
                && (above == 0 || counts[above][1 - side] > 0)
            {
                one_sided.push((tree.path(row as u32), side, here as u64));
            }
        }
    }
    EndpointRow {
        service,
        operation,
        requests: SIDES.map(|s| traces[s].len() as u64),
        mean_ns: SIDES.map(|s| mean[s] / n[s]),
        one_sided,
        explained_by: path,
        explained_ns,
    }
}
