//! Tests of significance for comparisons of two recordings, and control of false discoveries over many of them.
//!
//! Shares are compared by a pooled two-proportion z test, by Fisher's exact test where a cell is expected to hold fewer than
//! ten (PROFILES 4.3); durations by the rank-sum test of Mann and Whitney (1947) with correction for ties; many tests are
//! judged together by the procedure of Benjamini and Hochberg (1995).

/// Two-sided p-value of `x1` hits in `n1` against `x2` in `n2`; `spread` multiplies the variance (1 for independent samples).
/// 1 where one side is empty.
pub fn two_shares(x1: u64, n1: u64, x2: u64, n2: u64, spread: f64) -> f64 {
    if n1 == 0 || n2 == 0 {
        return 1.0;
    }
    let (x1, x2) = (x1.min(n1), x2.min(n2));
    let pooled = (x1 + x2) as f64 / (n1 + n2) as f64;
    if pooled <= 0.0 || pooled >= 1.0 {
        return 1.0;
    }
    let expected = [pooled * n1 as f64, pooled * n2 as f64, (1.0 - pooled) * n1 as f64, (1.0 - pooled) * n2 as f64];
    if expected.iter().any(|e| *e < 10.0) {
        // The exact test knows no overdispersion: its p-value is made that of a z as much smaller.
        let p = fisher(x1, n1, x2, n2);
        return if spread > 1.0 { two_sided(z_of(p) / spread.sqrt()) } else { p };
    }
    let (p1, p2) = (x1 as f64 / n1 as f64, x2 as f64 / n2 as f64);
    let variance = spread * pooled * (1.0 - pooled) * (1.0 / n1 as f64 + 1.0 / n2 as f64);
    two_sided((p1 - p2) / variance.sqrt())
}

/// Fisher's exact test, two-sided: the probability of all tables with these margins that are no likelier than the observed.
pub fn fisher(x1: u64, n1: u64, x2: u64, n2: u64) -> f64 {
    let hits = x1 + x2;
    let low = hits.saturating_sub(n2);
    let high = hits.min(n1);
    let all = ln_choose(n1 + n2, hits);
    let ln_p = |x: u64| ln_choose(n1, x) + ln_choose(n2, hits - x) - all;
    let observed = ln_p(x1) + 1e-9;
    // Terms fall off on both sides of the mode; what lies far away adds nothing.
    let mode = ((hits + 1) as f64 * (n1 + 1) as f64 / (n1 + n2 + 2) as f64) as u64;
    let mode = mode.clamp(low, high);
    let (mut sum, mut x) = (0.0, mode);
    loop {
        let p = ln_p(x);
        if p <= observed {
            sum += p.exp();
            if p < observed - 40.0 {
                break;
            }
        }
        if x == high {
            break;
        }
        x += 1;
    }
    let mut x = mode;
    while x > low {
        x -= 1;
        let p = ln_p(x);
        if p <= observed {
            sum += p.exp();
            if p < observed - 40.0 {
                break;
            }
        }
    }
    sum.min(1.0)
}

fn ln_choose(n: u64, k: u64) -> f64 {
    ln_gamma(n as f64 + 1.0) - ln_gamma(k as f64 + 1.0) - ln_gamma((n - k) as f64 + 1.0)
}

/// The logarithm of the gamma function for positive arguments, by Stirling's series above 10.
fn ln_gamma(x: f64) -> f64 {
    if x < 10.0 {
        return ln_gamma(x + 1.0) - x.ln();
    }
    let inverse = 1.0 / x;
    let square = inverse * inverse;
    let series = inverse * (1.0 / 12.0 - square * (1.0 / 360.0 - square * (1.0 / 1260.0 - square / 1680.0)));
    (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + series
}

/// Two-sided p-value of a standard normal deviate.
pub fn two_sided(z: f64) -> f64 {
    erfc(z.abs() / std::f64::consts::SQRT_2)
}

/// The deviate of a two-sided p-value, by bisection.
fn z_of(p: f64) -> f64 {
    let (mut low, mut high) = (0.0, 40.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if two_sided(middle) > p { low = middle } else { high = middle }
    }
    low
}

/// Complementary error function for arguments from 0, relative error below 2e-7 (Numerical Recipes, Chebyshev fit).
fn erfc(x: f64) -> f64 {
    const C: [f64; 10] = [
        -1.265_512_23,
        1.000_023_68,
        0.374_091_96,
        0.096_784_18,
        -0.186_288_06,
        0.278_868_07,
        -1.135_203_98,
        1.488_515_87,
        -0.822_152_23,
        0.170_872_77,
    ];
    let t = 1.0 / (1.0 + 0.5 * x);
    let poly = C.iter().rev().fold(0.0, |sum, c| sum * t + c);
    (t * (poly - x * x).exp()).min(1.0)
}

/// Two-sided p-value of the rank-sum test and the probability that a value of `b` exceeds one of `a` (ties count half).
/// Both must be sorted. 1 and ½ where one is empty.
pub fn rank_sum(a: &[i64], b: &[i64]) -> (f64, f64) {
    if a.is_empty() || b.is_empty() {
        return (1.0, 0.5);
    }
    let (n1, n2) = (a.len() as f64, b.len() as f64);
    let (mut i, mut j, mut rank_of_b, mut ties) = (0, 0, 0.0, 0.0);
    while i < a.len() || j < b.len() {
        let value = match (a.get(i), b.get(j)) {
            (Some(x), Some(y)) => *x.min(y),
            (Some(x), None) => *x,
            (None, Some(y)) => *y,
            (None, None) => break,
        };
        let before = (i + j) as f64;
        let equal = |list: &[i64], from: usize| list[from..].iter().take_while(|v| **v == value).count();
        let (in_a, in_b) = (equal(a, i), equal(b, j));
        let t = (in_a + in_b) as f64;
        rank_of_b += in_b as f64 * (before + (t + 1.0) / 2.0);
        ties += t * t * t - t;
        i += in_a;
        j += in_b;
    }
    let n = n1 + n2;
    let u = rank_of_b - n2 * (n2 + 1.0) / 2.0;
    let variance = n1 * n2 / 12.0 * ((n + 1.0) - ties / (n * (n - 1.0)).max(1.0));
    let p = if variance <= 0.0 { 1.0 } else { two_sided(((u - n1 * n2 / 2.0).abs() - 0.5).max(0.0) / variance.sqrt()) };
    (p, u / (n1 * n2))
}

/// Which of many tests are discoveries at false discovery rate `q`.
pub fn discoveries(p: &[f64], q: f64) -> Vec<bool> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]).then(a.cmp(b)));
    let m = p.len() as f64;
    let last = order.iter().enumerate().rev().find(|(rank, i)| p[**i] <= q * (*rank as f64 + 1.0) / m).map(|(rank, _)| rank);
    let mut out = vec![false; p.len()];
    if let Some(last) = last {
        for i in &order[..=last] {
            out[*i] = true;
        }
    }
    out
}

/// Difference of two means with the half width of its 95 % interval (Welch, normal quantile), from values.
pub fn mean_difference(a: &[f64], b: &[f64]) -> (f64, f64) {
    let moments = |v: &[f64]| {
        let n = v.len() as f64;
        let mean = v.iter().sum::<f64>() / n.max(1.0);
        let variance = if n > 1.0 { v.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / (n - 1.0) } else { 0.0 };
        (mean, variance / n.max(1.0))
    };
    let ((m1, v1), (m2, v2)) = (moments(a), moments(b));
    (m2 - m1, 1.96 * (v1 + v2).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64, relative: f64) {
        assert!((a - b).abs() <= relative * b.abs(), "{a} is not near {b}");
    }

    #[test]
    fn tables_of_other_people() {
        // R: fisher.test(matrix(c(3,1,1,3),2))$p.value, matrix(c(10,2,3,15),2), and the tea table of Fisher.
        near(fisher(3, 4, 1, 4), 0.485_714_3, 1e-6);
        near(fisher(10, 12, 3, 18), 0.000_536_7, 1e-3);
        // R: prop.test(c(150,200), c(1000,1000), correct=FALSE), here by its formula.
        near(two_shares(150, 1000, 200, 1000, 1.0), 0.003_256_27, 1e-4);
        // pnorm(-1.96)*2
        near(two_sided(1.96), 0.049_995_8, 1e-5);
        near(two_sided(5.0), 5.733_031e-7, 1e-5);
        // R: wilcox.test(1:5, c(4,5,6,7,8), exact=FALSE, correct=TRUE)$p.value
        near(rank_sum(&[1, 2, 3, 4, 5], &[4, 5, 6, 7, 8]).0, 0.035_578_8, 1e-4);
        assert_eq!(rank_sum(&[], &[1]), (1.0, 0.5));
    }

    #[test]
    fn a_wide_spread_makes_tests_shy() {
        let plain = two_shares(150, 1000, 200, 1000, 1.0);
        assert!(two_shares(150, 1000, 200, 1000, 2.0) > plain);
        assert!(two_shares(1, 1000, 9, 1000, 2.0) > two_shares(1, 1000, 9, 1000, 1.0));
    }

    #[test]
    fn discoveries_follow_the_procedure() {
        // The example of Benjamini and Hochberg (1995), section 3: with q = 0.05 the four smallest are rejected.
        let p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.324, 0.4262, 0.5719, 0.6528, 0.759, 1.0];
        assert_eq!(discoveries(&p, 0.05).iter().filter(|d| **d).count(), 4);
        assert!(discoveries(&[], 0.05).is_empty());
    }
}
