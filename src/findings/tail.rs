//! The slowest requests of an endpoint against the middle ones, by call path on the critical path (TRACES 3.3.13).
//!
//! The sections of critical paths partition the requests, so what the paths contribute adds up exactly to the difference of the
//! mean durations. Each contribution splits into more calls and slower calls.

use crate::analysis::path_times::{Endpoint, NO_PATH, PathTimes};
use crate::base::hash::hash_u64;
use crate::base::ids::{SpanRow, TraceRow};

/// Middle and slow requests, in this order everywhere.
pub const MIDDLE: usize = 0;
/// See [`MIDDLE`].
pub const SLOW: usize = 1;

/// Resamples of the bootstrap.
const RESAMPLES: usize = 200;
/// Requests of a side that are resampled; of more, evenly spread ones.
const RESAMPLED: usize = 1000;

/// What one call path, without what it calls, contributes to the difference.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Contribution {
    /// Row of the path.
    pub path: u32,
    /// Sum of times per side, nanoseconds.
    pub sum: [i64; 2],
    /// Spans on the critical path per side.
    pub calls: [u64; 2],
    /// Requests per side in which it occurs.
    pub present: [u64; 2],
}

/// The sides of an endpoint and what makes their difference.
pub struct Tail {
    /// Requests in order of duration, then row.
    pub ordered: Vec<TraceRow>,
    /// The middle requests: the fifth from the 40th to the 60th percentile; the median alone where few.
    pub sides: [Vec<TraceRow>; 2],
    /// Contributions by path, all paths of the endpoint that occur in either side, in order of path.
    pub paths: Vec<Contribution>,
    /// Sums of durations per side, nanoseconds.
    pub sum: [i64; 2],
}

impl Tail {
    /// Compares the requests of an endpoint. With fewer than `enough` requests the slowest stands against the median one.
    /// `None` below three requests.
    pub fn new(times: &PathTimes, endpoint: &Endpoint, enough: usize) -> Option<Tail> {
        let n = endpoint.traces.len();
        if n < 3 {
            return None;
        }
        let mut keyed: Vec<(i64, TraceRow)> = endpoint.traces.iter().map(|t| (times.total(*t), *t)).collect();
        keyed.sort_unstable();
        let ordered: Vec<TraceRow> = keyed.iter().map(|k| k.1).collect();
        let sides = if n < enough.max(15) {
            [vec![ordered[(n - 1) / 2]], vec![ordered[n - 1]]]
        } else {
            let slow = n.div_ceil(100).max(5);
            let (from, to) = (n * 2 / 5, (n * 3).div_ceil(5).min(n - slow));
            [ordered[from..to].to_vec(), ordered[n - slow..].to_vec()]
        };
        let width = (endpoint.end - endpoint.root) as usize;
        let mut all = vec![Contribution::default(); width];
        let mut sum = [0_i64; 2];
        for side in [MIDDLE, SLOW] {
            for spent in sides[side].iter().flat_map(|t| times.of(*t)) {
                let c = &mut all[(spent.path - endpoint.root) as usize];
                c.path = spent.path;
                c.sum[side] += spent.ns;
                c.calls[side] += u64::from(spent.count);
                c.present[side] += 1;
                sum[side] += spent.ns;
            }
        }
        all.retain(|c| c.calls != [0, 0]);
        Some(Tail { ordered, sides, paths: all, sum })
    }

    /// Requests of a side.
    pub fn n(&self, side: usize) -> f64 {
        self.sides[side].len() as f64
    }

    /// Mean duration of a side, nanoseconds.
    pub fn mean(&self, side: usize) -> f64 {
        self.sum[side] as f64 / self.n(side)
    }

    /// What a path contributes to the difference of means, nanoseconds.
    pub fn delta(&self, c: &Contribution) -> f64 {
        c.sum[SLOW] as f64 / self.n(SLOW) - c.sum[MIDDLE] as f64 / self.n(MIDDLE)
    }

    /// The contribution in two parts that add up to it: more calls, each as long as the middle ones', and longer calls. A path
    /// that the middle requests lack consists of more calls.
    pub fn split(&self, c: &Contribution) -> (f64, f64) {
        let calls = [MIDDLE, SLOW].map(|s| c.calls[s] as f64 / self.n(s));
        let each = [MIDDLE, SLOW].map(|s| if c.calls[s] > 0 { c.sum[s] as f64 / c.calls[s] as f64 } else { 0.0 });
        let usual = if c.calls[MIDDLE] > 0 { each[MIDDLE] } else { each[SLOW] };
        let more = (calls[SLOW] - calls[MIDDLE]) * usual;
        (more, self.delta(c) - more)
    }

    /// The smallest path that, with all below it, holds four fifths of the difference; the root's path where none does.
    pub fn explain(&self, times: &PathTimes, endpoint: &Endpoint) -> u32 {
        let sums = self.subtrees(times, endpoint);
        let whole = sums.first().copied().unwrap_or(0.0);
        let mut at = endpoint.root;
        for (i, sum) in sums.iter().enumerate().skip(1) {
            // Rows stand below their parents: the next step down is a later row whose parent is the present one.
            let row = endpoint.root + i as u32;
            if times.parent[row as usize] == at && *sum >= 0.8 * whole {
                at = row;
            }
        }
        at
    }

    /// Contributions with all below, by row of the endpoint.
    fn subtrees(&self, times: &PathTimes, endpoint: &Endpoint) -> Vec<f64> {
        let mut sums = vec![0.0; (endpoint.end - endpoint.root) as usize];
        for c in &self.paths {
            sums[(c.path - endpoint.root) as usize] = self.delta(c);
        }
        for i in (1..sums.len()).rev() {
            let above = times.parent[endpoint.root as usize + i];
            if above != NO_PATH {
                let own = sums[i];
                sums[(above - endpoint.root) as usize] += own;
            }
        }
        sums
    }
}

/// Time of a request on a path and all below it, with its heaviest span there. `below` says per row of the endpoint.
pub fn spent(times: &PathTimes, endpoint: &Endpoint, below: &[bool], trace: TraceRow) -> (i64, u64, Option<SpanRow>) {
    let (mut sum, mut count, mut most) = (0, 0, (-1, None));
    for s in times.of(trace).iter().filter(|s| below[(s.path - endpoint.root) as usize]) {
        sum += s.ns;
        count += u64::from(s.count);
        if s.ns > most.0 {
            most = (s.ns, Some(s.span));
        }
    }
    (sum, count, most.1)
}

/// Which rows of an endpoint are a path or below it.
pub fn below(times: &PathTimes, endpoint: &Endpoint, path: u32) -> Vec<bool> {
    let mut out = vec![false; (endpoint.end - endpoint.root) as usize];
    for i in 0..out.len() {
        let row = endpoint.root + i as u32;
        let above = times.parent[row as usize];
        out[i] = row == path || (above != NO_PATH && out[(above - endpoint.root) as usize]);
    }
    out
}

/// The 90 % interval of the difference of the means of two lists by resampling them (Efron 1979), the same for the same seed.
pub fn bootstrap(middle: &[i64], slow: &[i64], seed: u64) -> (f64, f64) {
    let thin = |list: &[i64]| -> Vec<i64> { list.iter().step_by(list.len().div_ceil(RESAMPLED).max(1)).copied().collect() };
    let (middle, slow) = (thin(middle), thin(slow));
    let mut state = seed;
    let mut mean = |list: &[i64]| {
        let mut sum = 0.0;
        for _ in 0..list.len() {
            state = hash_u64(state, 0xb007);
            sum += list[(state >> 11) as usize % list.len()] as f64;
        }
        sum / list.len().max(1) as f64
    };
    let mut differences: Vec<f64> = (0..RESAMPLES).map(|_| mean(&slow) - mean(&middle)).collect();
    differences.sort_by(f64::total_cmp);
    (differences[RESAMPLES / 20], differences[RESAMPLES - 1 - RESAMPLES / 20])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::drawn::{Drawn, S, add};
    use crate::base::intern::StringTable;
    use crate::model::Session;
    use crate::model::trace::TraceSet;

    /// 100 requests; the last six wait for a lock, the last three make two more calls of another kind.
    fn session() -> Session {
        let mut t = Drawn { strings: StringTable::default(), set: TraceSet::default() };
        for i in 0..100_i64 {
            let lock = if i >= 94 { 500 } else { 20 };
            let calls = if i >= 97 { 3 } else { 1 };
            let mut at = 10 + i % 7;
            let mut spans = vec![];
            let (root, locked) = (format!("r{i}"), format!("k{i}"));
            spans.push((locked.clone(), root.clone(), "lock", at, lock));
            at += lock + 5;
            for k in 0..calls {
                spans.push((format!("c{i}.{k}"), root.clone(), "load", at, 30));
                at += 30;
            }
            let mut drawn = vec![S { name: &root, operation: "GET /", dur: at + 10, ..S::default() }];
            drawn.extend(spans.iter().map(|(name, parent, operation, start, dur)| S {
                name,
                parent,
                operation,
                start: *start,
                dur: *dur,
                ..S::default()
            }));
            add(&mut t, &format!("t{i}"), &drawn);
        }
        t.set.link();
        Session { strings: t.strings, traces: t.set, ..Session::default() }
    }

    #[test]
    fn contributions_add_up_exactly_and_split() {
        let session = session();
        let times = PathTimes::new(&session, |_, _| true);
        let endpoint = &times.endpoints[0];
        let tail = Tail::new(&times, endpoint, 30).unwrap();
        assert_eq!((tail.sides[SLOW].len(), tail.sides[MIDDLE].len()), (5, 20));
        for side in [MIDDLE, SLOW] {
            let roots: i64 = tail.sides[side].iter().map(|t| times.total(*t)).sum();
            assert_eq!(tail.paths.iter().map(|c| c.sum[side]).sum::<i64>(), roots);
        }
        let by = |name: &str| tail.paths.iter().find(|c| times.path(c.path).last().is_some_and(|l| l == name)).unwrap();
        assert_eq!(tail.delta(by("svc lock")), 480.0);
        let near = |(a, b): (f64, f64), (c, d): (f64, f64)| (a - c).abs() < 1e-9 && (b - d).abs() < 1e-9;
        assert!(near(tail.split(by("svc lock")), (0.0, 480.0)));
        // Three of the five slow requests make two more calls of 30.
        assert!(near(tail.split(by("svc load")), (36.0, 0.0)));
        assert_eq!(times.path(tail.explain(&times, endpoint)), ["svc GET /", "svc lock"]);
        let row = by("svc lock").path;
        let inside = below(&times, endpoint, row);
        assert_eq!(spent(&times, endpoint, &inside, tail.sides[SLOW][0]).0, 500);
    }

    #[test]
    fn the_bootstrap_is_the_same_every_time_and_holds_the_difference() {
        let middle: Vec<i64> = (0..40).map(|i| 100 + i % 5).collect();
        let slow = [400, 420, 390, 500, 410];
        let (low, high) = bootstrap(&middle, &slow, 7);
        assert_eq!(bootstrap(&middle, &slow, 7), (low, high));
        assert!(low > 285.0 && low < 322.0 && high > 322.0 && high < 400.0, "{low} {high}");
    }
}
