//! Lines of V8's samples: some files give the line of each sample, others count samples per line of each node.

use super::Import;
use serde::Deserialize;

/// Samples per line, which counts from 1.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Tick {
    /// Line.
    pub line: i64,
    /// Samples.
    pub ticks: i64,
}

/// The line of each sample, 0 for none: as the file gives it (`given`), else the lines of its node (`ticks`, of `hits`) in
/// proportion. `rows` are the nodes of the samples, `u32::MAX` for none.
pub fn lines_of(mut given: Vec<u32>, ticks: &[Vec<Tick>], hits: &[i64], rows: &[u32], import: &mut Import<'_>) -> Vec<u32> {
    let known = !given.is_empty();
    given.resize(rows.len(), 0);
    if known || ticks.iter().all(Vec::is_empty) {
        return given;
    }
    import.choose(
        "line",
        "in proportion to positionTicks",
        &[],
        "The file counts samples per line of each node and does not say which sample met which line; the counts are kept, their order is not known.",
    );
    let node = |row: u32| (row as usize) < ticks.len();
    let mut count = vec![0_u64; ticks.len()];
    rows.iter().filter(|row| node(**row)).for_each(|row| count[*row as usize] += 1);
    // Ticks added up, so that a place among all ticks of a node is found by halving.
    let sums: Vec<Vec<(i64, u32)>> = (ticks.iter())
        .map(|ticks| {
            let mut sum = 0_i64;
            let up_to = |t: &Tick| {
                sum = sum.saturating_add(t.ticks.max(0));
                (sum, u32::try_from(t.line).unwrap_or(0))
            };
            ticks.iter().map(up_to).collect()
        })
        .collect();
    let strides: Vec<u64> = count.iter().map(|n| stride((*n).max(1))).collect();
    let mut seen = vec![0_u64; ticks.len()];
    for (i, &row) in rows.iter().enumerate().filter(|(_, row)| node(**row)) {
        let r = row as usize;
        let Some(&(ticks, _)) = sums[r].last() else { continue };
        let n = count[r].max(1);
        // A stride that visits every place once, spread over the recording.
        let place = u128::from(seen[r]) * u128::from(strides[r]) % u128::from(n);
        seen[r] += 1;
        let all = u128::from(ticks.max(hits[r]).max(1) as u64);
        let at = (place * all / u128::from(n)) as i64;
        let found = sums[r].partition_point(|(sum, _)| *sum <= at);
        given[i] = sums[r].get(found).map_or(0, |(_, line)| *line);
    }
    given
}

/// A number near the golden section of `n` without a common divisor with it.
fn stride(n: u64) -> u64 {
    let gcd = |mut a: u64, mut b: u64| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let near = (n as f64 * 0.618_033_988) as u64;
    (near.max(1)..n.max(2)).find(|s| gcd(*s, n) == 1).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strides_visit_every_place() {
        for n in 1..200_u64 {
            let mut seen: Vec<u64> = (0..n).map(|k| k * stride(n) % n).collect();
            seen.sort_unstable();
            assert_eq!(seen, (0..n).collect::<Vec<_>>());
        }
    }
}
