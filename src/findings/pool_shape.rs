//! The shape of calls that wait for a pool: a plateau of concurrency on which every call starts when another ends.

use super::chatty::Group;
use crate::model::trace::TraceSet;

/// How many calls are under way over time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plateau {
    /// Most calls at once.
    pub workers: usize,
    /// Share of the time from first begin to last end with so many under way.
    pub share: f64,
    /// Share of the calls after the first `workers` that start when another ends.
    pub handed_over: f64,
}

/// Begin and end of each call, in order of begin.
pub fn intervals(set: &TraceSet, g: &Group) -> Vec<(i64, i64)> {
    let mut out: Vec<(i64, i64)> = g.calls.iter().map(|c| (set.spans.start_ns[c.span.index()], set.spans.end_ns(c.span))).collect();
    out.sort_unstable();
    out
}

/// The plateau of calls given by begin and end, in order of begin. `None` for fewer than two.
///
/// A start coincides with an end within `near_ns` or 2 % of the call, but never by more than a quarter of it: of very short
/// calls every start is near some end.
pub fn plateau(calls: &[(i64, i64)], near_ns: i64) -> Option<Plateau> {
    if calls.len() < 2 {
        return None;
    }
    let mut ends: Vec<i64> = calls.iter().map(|c| c.1).collect();
    ends.sort_unstable();
    // Moments in order; at one moment ends come before begins.
    let (mut at, mut ended, mut now, mut most) = (0, 0, 0_usize, 0_usize);
    let mut time_at: Vec<i64> = vec![0; calls.len() + 1];
    let mut last = calls[0].0;
    while ended < ends.len() {
        let next_end = ends[ended];
        let begins = at < calls.len() && calls[at].0 < next_end;
        let moment = if begins { calls[at].0 } else { next_end };
        time_at[now] += moment - last;
        last = moment;
        if begins {
            now += 1;
            at += 1;
        } else if at < calls.len() && calls[at].0 == calls[at].1 && calls[at].0 == next_end && now == 0 {
            // A call without length begins and ends at once.
            now += 1;
            at += 1;
        } else {
            now = now.saturating_sub(1);
            ended += 1;
        }
        most = most.max(now);
    }
    let whole = (last - calls[0].0).max(1);
    let (mut waiting, mut met, mut near) = (0_usize, 0_usize, 0_usize);
    for &(start, end) in calls.iter().skip(most) {
        let length = end - start;
        let tolerance = near_ns.max(length / 50).min(length / 4);
        while near < ends.len() && ends[near] < start - tolerance {
            near += 1;
        }
        waiting += 1;
        met += usize::from(ends.get(near).is_some_and(|e| *e <= start + tolerance));
    }
    let handed_over = if waiting == 0 { 0.0 } else { met as f64 / waiting as f64 };
    Some(Plateau { workers: most, share: time_at[most] as f64 / whole as f64, handed_over })
}

/// For each call, how many are under way when it begins, itself included.
pub fn levels(calls: &[(i64, i64)]) -> Vec<usize> {
    let mut ends: Vec<i64> = calls.iter().map(|c| c.1).collect();
    ends.sort_unstable();
    let mut ended = 0;
    calls
        .iter()
        .enumerate()
        .map(|(i, (start, _))| {
            while ended < i && ends[ended] <= *start {
                ended += 1;
            }
            i + 1 - ended
        })
        .collect()
}

/// Spearman's rank correlation; 0 where either side does not vary. Equal values share the mean of their ranks.
pub fn spearman(pairs: &[(f64, f64)]) -> f64 {
    let ranks = |of: &dyn Fn(&(f64, f64)) -> f64| {
        let mut order: Vec<usize> = (0..pairs.len()).collect();
        order.sort_by(|a, b| of(&pairs[*a]).total_cmp(&of(&pairs[*b])).then(a.cmp(b)));
        let mut out = vec![0.0; pairs.len()];
        let mut from = 0;
        for equal in order.chunk_by(|a, b| of(&pairs[*a]) == of(&pairs[*b])) {
            let rank = from as f64 + (equal.len() - 1) as f64 / 2.0;
            equal.iter().for_each(|i| out[*i] = rank);
            from += equal.len();
        }
        out
    };
    let (x, y) = (ranks(&|p| p.0), ranks(&|p| p.1));
    let mean = (pairs.len().max(1) - 1) as f64 / 2.0;
    let sum = |f: &dyn Fn(usize) -> f64| (0..pairs.len()).map(f).sum::<f64>();
    let both = sum(&|i| (x[i] - mean) * (y[i] - mean));
    let spread = sum(&|i| (x[i] - mean) * (x[i] - mean)).sqrt() * sum(&|i| (y[i] - mean) * (y[i] - mean)).sqrt();
    if spread > 0.0 { both / spread } else { 0.0 }
}

/// How many standard deviations a rank correlation of `n` pairs lies from none, by Fisher's transformation with the variance
/// of Fieller, Hartley and Pearson (1957), 1.06 / (n - 3). 0 below four pairs.
pub fn rank_deviations(r: f64, n: usize) -> f64 {
    if n < 4 { 0.0 } else { r.clamp(-0.999_999, 0.999_999).atanh() * ((n as f64 - 3.0) / 1.06).sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `n` calls of `length` by `workers` who take the next when they are free.
    fn pool(n: usize, workers: usize, length: i64) -> Vec<(i64, i64)> {
        (0..n).map(|i| ((i / workers) as i64 * length, (i / workers + 1) as i64 * length)).collect()
    }

    #[test]
    fn a_pool_is_a_staircase() {
        let found = plateau(&pool(12, 3, 20_000_000), 1_000_000).unwrap();
        assert_eq!(found, Plateau { workers: 3, share: 1.0, handed_over: 1.0 });
    }

    #[test]
    fn all_at_once_and_random_starts_are_none() {
        let at_once = plateau(&pool(12, 12, 20_000_000), 1_000_000).unwrap();
        assert_eq!((at_once.workers, at_once.handed_over), (12, 0.0));
        let apart: Vec<(i64, i64)> = (0..20).map(|i| (i * 13_000_000, i * 13_000_000 + 20_000_000)).collect();
        let found = plateau(&apart, 1_000_000).unwrap();
        assert!(found.handed_over < 0.5, "{found:?}");
        assert_eq!(plateau(&[(0, 5)], 1), None);
        assert!(plateau(&[(0, 0), (0, 0), (7, 7)], 1).unwrap().workers <= 2);
    }

    #[test]
    fn levels_count_what_is_under_way() {
        assert_eq!(levels(&[(0, 10), (2, 12), (10, 20), (30, 40)]), [1, 2, 2, 1]);
    }

    #[test]
    fn few_pairs_prove_no_correlation() {
        // atanh(0.5) is half the natural logarithm of three.
        assert!((rank_deviations(0.5, 8) - 0.549_306 * (5.0_f64 / 1.06).sqrt()).abs() < 1e-5);
        assert!(rank_deviations(0.6, 8) < 2.0 && rank_deviations(0.6, 60) > 4.0);
        assert_eq!(rank_deviations(1.0, 3), 0.0);
        assert!(rank_deviations(1.0, 8).is_finite());
    }

    #[test]
    fn spearman_knows_order() {
        let up: Vec<(f64, f64)> = (0..9).map(|i| (f64::from(i), f64::from(i * i))).collect();
        assert!((spearman(&up) - 1.0).abs() < 1e-12);
        let down: Vec<(f64, f64)> = (0..9).map(|i| (f64::from(i), f64::from(-i))).collect();
        assert!((spearman(&down) + 1.0).abs() < 1e-12);
        assert_eq!(spearman(&[(1.0, 2.0), (1.0, 3.0)]), 0.0);
        // With shared ranks, computed apart: 7.25 / 9.5.
        assert!((spearman(&[(1.0, 2.0), (2.0, 1.0), (2.0, 3.0), (3.0, 3.0), (5.0, 4.0)]) - 0.763_157_894_736_842_1).abs() < 1e-12);
    }
}
