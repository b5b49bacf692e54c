//! Whether the samples of a function lie together as those of a loop do (PROFILES 1.2 and 1.3).

use crate::model::symbols::NO_ADDRESS;
use std::collections::BTreeMap;

/// Where in a function samples lie: by offset or address, and by line. Weights are events.
#[derive(Clone, Debug, Default)]
pub struct Places {
    bytes: BTreeMap<u64, i64>,
    lines: BTreeMap<u32, i64>,
    /// Events with an address or offset.
    pub with_bytes: i64,
    /// Events with a line.
    pub with_lines: i64,
    /// All events.
    pub n: i64,
    /// Whether positions are offsets from the function's first instruction.
    pub offsets: bool,
}

/// The form of the samples.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Shape {
    /// Smallest window in bytes that holds 80 % of the samples.
    pub w80: u64,
    /// Distance from the first to the last sample, in bytes.
    pub span: u64,
    /// Share of the most frequent address.
    pub top1: f64,
    /// 2 to the power of the entropy: how many addresses count.
    pub effective: f64,
    /// Share of samples in the first 16 bytes; only known for offsets.
    pub prologue: f64,
}

/// What the form says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A loop in few instructions or lines.
    Tight,
    /// A loop over a larger body.
    Body,
    /// Spread over the function: it is called from a loop elsewhere, or it is long.
    Spread,
    /// Too few samples, or no positions.
    Unknown,
}

/// Limits of the verdict.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Fewest samples for a verdict.
    pub samples: i64,
    /// Largest window of a tight loop, in bytes, where offsets are known.
    pub tight_offsets: f64,
    /// Largest window of a tight loop, in bytes, where addresses are known.
    pub tight_addresses: f64,
    /// Largest window of a loop body, in bytes.
    pub body: f64,
    /// Largest window of a tight loop, in lines.
    pub lines: f64,
}

impl Places {
    /// Adds samples at a position; unknown parts are `NO_ADDRESS` and 0.
    pub fn add(&mut self, offset: u64, address: u64, line: u32, count: i64) {
        self.n += count;
        if offset != NO_ADDRESS {
            self.offsets = true;
        }
        let byte = if offset != NO_ADDRESS { offset } else { address };
        if byte != NO_ADDRESS {
            *self.bytes.entry(byte).or_default() += count;
            self.with_bytes += count;
        }
        if line != 0 {
            *self.lines.entry(line).or_default() += count;
            self.with_lines += count;
        }
    }

    /// Adds all samples of another set.
    pub fn merge(&mut self, other: &Places) {
        for (byte, count) in &other.bytes {
            *self.bytes.entry(*byte).or_default() += count;
        }
        for (line, count) in &other.lines {
            *self.lines.entry(*line).or_default() += count;
        }
        self.with_bytes += other.with_bytes;
        self.with_lines += other.with_lines;
        self.n += other.n;
        self.offsets |= other.offsets;
    }

    /// Form by bytes; `None` without addresses.
    pub fn shape(&self) -> Option<Shape> {
        let (&first, &last) = (self.bytes.keys().next()?, self.bytes.keys().next_back()?);
        let n = self.with_bytes as f64;
        let points: Vec<(u64, i64)> = self.bytes.iter().map(|(a, c)| (*a, *c)).collect();
        let entropy: f64 = points.iter().map(|(_, c)| *c as f64 / n).map(|p| -p * p.log2()).sum();
        let early: i64 = if self.offsets { self.bytes.range(..16).map(|(_, c)| *c).sum() } else { 0 };
        Some(Shape {
            w80: window(&points, self.with_bytes, 0.8).map_or(0, |(a, b)| b - a),
            span: last - first,
            top1: points.iter().map(|p| p.1).max().unwrap_or(0) as f64 / n,
            effective: entropy.exp2(),
            prologue: early as f64 / n,
        })
    }

    /// Smallest run of lines that holds 80 % of the samples: first and last line.
    pub fn lines80(&self) -> Option<(u32, u32)> {
        let points: Vec<(u64, i64)> = self.lines.iter().map(|(a, c)| (u64::from(*a), *c)).collect();
        window(&points, self.with_lines, 0.8).map(|(a, b)| (a as u32, b as u32))
    }

    /// The line with most samples, and how many.
    pub fn top_line(&self) -> Option<(u32, i64)> {
        self.lines.iter().map(|(l, c)| (*l, *c)).max_by_key(|(l, c)| (*c, std::cmp::Reverse(*l)))
    }

    /// The address or offset with most samples, and how many.
    pub fn top_byte(&self) -> Option<(u64, i64)> {
        self.bytes.iter().map(|(a, c)| (*a, *c)).max_by_key(|(a, c)| (*c, std::cmp::Reverse(*a)))
    }

    /// Whether most samples have an address or offset.
    pub fn knows_bytes(&self) -> bool {
        self.with_bytes.saturating_mul(5) >= self.n.saturating_mul(4) && self.n > 0
    }

    /// Whether most samples have a line.
    pub fn knows_lines(&self) -> bool {
        self.with_lines.saturating_mul(5) >= self.n.saturating_mul(4) && self.n > 0
    }

    /// The verdict by bytes where they are known, else by lines.
    pub fn verdict(&self, limits: &Limits) -> Verdict {
        if self.n < limits.samples {
            return Verdict::Unknown;
        }
        let few_lines = self.knows_lines() && self.lines80().is_some_and(|(a, b)| f64::from(b - a + 1) <= limits.lines);
        if self.knows_bytes()
            && let Some(s) = self.shape()
        {
            let tight = if self.offsets { limits.tight_offsets } else { limits.tight_addresses };
            let w80 = s.w80 as f64;
            // Samples in the first bytes are calls that begin; a loop never goes back there.
            if self.offsets && s.prologue >= 0.10 {
                return Verdict::Spread;
            }
            if w80 <= tight && (s.prologue <= 0.02 || w80 < 0.7 * s.span as f64) {
                return Verdict::Tight;
            }
            if !self.offsets && few_lines {
                return Verdict::Tight;
            }
            let inside = w80 <= 0.5 * s.span as f64;
            return if w80 <= limits.body && inside { Verdict::Body } else { Verdict::Spread };
        }
        match (self.knows_lines(), few_lines) {
            (true, true) => Verdict::Tight,
            (true, false) => Verdict::Spread,
            _ => Verdict::Unknown,
        }
    }
}

/// Smallest window of sorted points with at least a share `q` of `n`: its first and last point. Two pointers, linear.
fn window(points: &[(u64, i64)], n: i64, q: f64) -> Option<(u64, u64)> {
    let need = (q * n as f64 - 1e-9).ceil() as i64;
    let mut best: Option<(u64, u64)> = None;
    let (mut from, mut inside) = (0, 0_i64);
    for &(at, count) in points {
        inside += count;
        while inside - points[from].1 >= need && points[from].0 < at {
            inside -= points[from].1;
            from += 1;
        }
        if inside >= need && best.is_none_or(|(a, b)| at - points[from].0 < b - a) {
            best = Some((points[from].0, at));
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { samples: 50, tight_offsets: 128.0, tight_addresses: 256.0, body: 512.0, lines: 8.0 };

    fn at(offsets: &[(u64, i64)]) -> Places {
        let mut p = Places::default();
        for &(offset, count) in offsets {
            p.add(offset, NO_ADDRESS, 0, count);
        }
        p
    }

    #[test]
    fn forms_of_known_code() {
        // A latency-bound loop: one instruction takes nearly all.
        assert_eq!(at(&[(0x20, 98), (0x28, 2)]).verdict(&LIMITS), Verdict::Tight);
        // A small recursive function: the prologue is hit again and again.
        assert_eq!(at(&[(0, 20), (0x20, 20), (0x40, 20)]).verdict(&LIMITS), Verdict::Spread);
        // 2 KiB of straight-line code.
        let straight: Vec<(u64, i64)> = (0..200).map(|i| (i * 11, 3)).collect();
        assert_eq!(at(&straight).verdict(&LIMITS), Verdict::Spread);
        // A loop of 400 bytes in a function of 2,000.
        let body: Vec<(u64, i64)> = (0..100).map(|i| (1000 + i * 4, 3)).chain([(20, 5), (1990, 5)]).collect();
        assert_eq!(at(&body).verdict(&LIMITS), Verdict::Body);
        assert_eq!(at(&[(0x20, 49)]).verdict(&LIMITS), Verdict::Unknown);
        let mut lines = Places::default();
        lines.add(NO_ADDRESS, NO_ADDRESS, 31, 27);
        lines.add(NO_ADDRESS, NO_ADDRESS, 32, 77);
        assert_eq!((lines.verdict(&LIMITS), lines.lines80(), lines.top_line()), (Verdict::Tight, Some((31, 32)), Some((32, 77))));
    }

    #[test]
    fn the_smallest_window_is_found() {
        assert_eq!(window(&[(0, 1), (10, 4), (12, 4), (100, 1)], 10, 0.8), Some((10, 12)));
        assert_eq!(window(&[(5, 10)], 10, 0.8), Some((5, 5)));
        assert_eq!(window(&[], 0, 0.8), None);
        let s = at(&[(0, 1), (4, 1)]).shape().unwrap();
        assert_eq!((s.span, s.top1, s.effective), (4, 0.5, 2.0));
    }
}
