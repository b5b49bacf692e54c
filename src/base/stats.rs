//! Statistics that findings and tables share.

/// A share with its 95 % Wilson score interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// The observed share, 0 to 1.
    pub p: f64,
    /// Lower bound.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
    /// Number of observations.
    pub n: u64,
}

/// The Wilson score interval at z = 1.96 for `k` hits in `n` observations (Wilson 1927). `n` = 0 gives 0..1.
pub fn wilson(k: f64, n: u64) -> Share {
    if n == 0 {
        return Share { p: 0.0, low: 0.0, high: 1.0, n };
    }
    let nf = n as f64;
    let p = (k / nf).clamp(0.0, 1.0);
    let z = 1.96_f64;
    let z2 = z * z;
    let denominator = 1.0 + z2 / nf;
    let centre = (p + z2 / (2.0 * nf)) / denominator;
    let half = z * (p * (1.0 - p) / nf + z2 / (4.0 * nf * nf)).sqrt() / denominator;
    Share { p, low: (centre - half).max(0.0), high: (centre + half).min(1.0), n }
}

/// Score 0–100 of a value: 25 at `info`, 75 at `warn`, saturating; linear below `info`.
/// Behaviour of `mapExp100` in JDK Mission Control's RulesToolkit.
pub fn map_exp100(value: f64, info: f64, warn: f64) -> f64 {
    if value <= 0.0 {
        return 0.0;
    }
    if value < info {
        return 25.0 * value / info;
    }
    let k = (1.0_f64 / 3.0).ln() / (warn - info);
    25.0 + 75.0 * (1.0 - (k * (value - info)).exp())
}

/// The exact nearest-rank percentile of sorted values, `q` in 0..=1: the smallest value with at least `q` of the values at or below it.
pub fn nearest_rank(sorted: &[i64], q: f64) -> i64 {
    if sorted.is_empty() {
        return 0;
    }
    // The product is nudged down so that 0.95 × 20 (19.000000000000004 in binary) stays rank 19.
    let rank = (q * sorted.len() as f64 - 1e-9).ceil().max(1.0) as usize;
    sorted[rank.min(sorted.len()) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilson_matches_the_printed_table() {
        // PROFILES 4.2, rounded to a tenth of a percent.
        for (n, p, low, high) in
            [(100u64, 0.01, 0.002, 0.054), (1000, 0.05, 0.038, 0.065), (10000, 0.2, 0.192, 0.208), (100, 0.5, 0.404, 0.596)]
        {
            let s = wilson(p * n as f64, n);
            assert!((s.low - low).abs() < 0.0006, "{n} {p} {s:?}");
            assert!((s.high - high).abs() < 0.0006, "{n} {p} {s:?}");
        }
    }

    #[test]
    fn score_passes_through_its_points() {
        assert!((map_exp100(0.0288, 0.0288, 0.1903) - 25.0).abs() < 1e-9);
        assert!((map_exp100(0.1903, 0.0288, 0.1903) - 75.0).abs() < 1e-9);
        assert!((map_exp100(0.01, 0.02, 0.1) - 12.5).abs() < 1e-9);
    }

    #[test]
    fn nearest_rank_is_exact() {
        let v: Vec<i64> = (1..=20).collect();
        assert_eq!(nearest_rank(&v, 0.5), 10);
        assert_eq!(nearest_rank(&v, 0.95), 19);
        assert_eq!(nearest_rank(&v, 0.99), 20);
        assert_eq!(nearest_rank(&[7], 0.5), 7);
        assert_eq!(nearest_rank(&[], 0.5), 0);
    }
}
