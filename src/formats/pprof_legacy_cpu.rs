//! CPU profiles as words: "Google CPU Profiler Binary Data File Format" of gperftools, in 32 or 64 bits of either byte order.

use super::pprof_legacy::{CUT, Raw, RawSample};
use super::pprof_legacy_text::java_locations;
use super::pprof_memory_map::memory_map;
use super::{Import, ImportError};
use crate::model::diagnostics::At;
use std::collections::BTreeMap;

/// How the words lie, and what the header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Bytes per word: 4 or 8.
    size: usize,
    big: bool,
    /// Addresses are numbers of Java frames.
    java: bool,
    /// Sampling period in microseconds.
    period_us: u64,
}

impl Header {
    fn word(self, bytes: &[u8], at: usize) -> Option<u64> {
        let word = bytes.get(at..at.checked_add(self.size)?)?;
        let join = |n: u64, b: &u8| n << 8 | u64::from(*b);
        Some(if self.big { word.iter().fold(0, join) } else { word.iter().rev().fold(0, join) })
    }
}

/// The header: 0, 3, 0 (1 for Java), the period in microseconds, 0.
pub(super) fn header(bytes: &[u8]) -> Option<Header> {
    [(4, false), (4, true), (8, false), (8, true)].into_iter().find_map(|(size, big)| {
        let form = Header { size, big, java: false, period_us: 0 };
        let word = |i: usize| form.word(bytes, i * size);
        match [word(0), word(1), word(2), word(3), word(4)] {
            [Some(0), Some(3), Some(java @ 0..=1), Some(period_us @ 1..=10_000_000_000), Some(0)] => {
                Some(Header { java: java == 1, period_us, ..form })
            }
            _ => None,
        }
    })
}

/// Reads samples (count, number of addresses, addresses) up to the mark 0, 1, 0, then the memory map or Java's frames.
pub(super) fn read(bytes: &[u8], header: Header, raw: &mut Raw, import: &mut Import<'_>) -> Result<(), ImportError> {
    raw.set_types(&[("samples", "count"), ("cpu", "nanoseconds")]);
    raw.period_type = ("cpu".to_string(), "nanoseconds".to_string());
    raw.period = i64::try_from(header.period_us.saturating_mul(1000)).unwrap_or(i64::MAX);
    let mut at = 5 * header.size;
    loop {
        let (count, length) = (header.word(bytes, at), header.word(bytes, at + header.size));
        let first = at + 2 * header.size;
        let room = bytes.len().saturating_sub(first) / header.size;
        let (Some(count), Some(length)) = (count, length.and_then(|n| usize::try_from(n).ok()).filter(|n| *n <= room)) else {
            import.report(CUT, At::Byte(at as u64), "");
            at = bytes.len();
            break;
        };
        let mut addresses: Vec<u64> = (0..length).filter_map(|i| header.word(bytes, first + i * header.size)).collect();
        at = first + length * header.size;
        if count == 0 && addresses == [0] {
            break;
        }
        if !header.java {
            // Return addresses: one less lies in the call.
            addresses.iter_mut().skip(1).for_each(|a| *a = a.wrapping_sub(1));
        }
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        raw.samples.push(RawSample { addresses, values: vec![count, count.saturating_mul(raw.period)], tags: Vec::new() });
        if raw.samples.len().is_multiple_of(65_536) {
            import.tick(raw.samples.len() as u64)?;
        }
    }
    let rest = String::from_utf8_lossy(bytes.get(at..).unwrap_or_default());
    if header.java {
        java_locations(rest.lines(), raw);
    } else {
        without_handler(&mut raw.samples);
        without_twins(&mut raw.samples);
        raw.maps = memory_map(rest.lines());
    }
    Ok(())
}

/// Almost all samples having one second frame means that it is the signal handler's, put there by the measurement; there
/// may be two of them.
fn without_handler(samples: &mut [RawSample]) {
    let enough = samples.len() - samples.len() / 32;
    for _ in 0..2 {
        let mut seconds: BTreeMap<u64, usize> = BTreeMap::new();
        for second in samples.iter().filter_map(|s| s.addresses.get(1)) {
            *seconds.entry(*second).or_default() += 1;
        }
        let Some((handler, _)) = seconds.into_iter().find(|(_, count)| *count >= enough) else { return };
        for s in samples.iter_mut().filter(|s| s.addresses.get(1) == Some(&handler)) {
            s.addresses.remove(1);
        }
    }
}

/// The leaf may come twice, from the signal's context and from unwinding; the second is one less.
pub(super) fn without_twins(samples: &mut [RawSample]) {
    for s in samples {
        if let [leaf, second, ..] = s.addresses[..]
            && leaf == second.wrapping_add(1)
        {
            s.addresses.remove(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_all_forms() {
        let words = [0_u32, 3, 0, 10_000, 0];
        let little: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        let big: Vec<u8> = words.iter().flat_map(|w| u64::from(*w).to_be_bytes()).collect();
        assert_eq!(header(&little), Some(Header { size: 4, big: false, java: false, period_us: 10_000 }));
        assert_eq!(header(&big), Some(Header { size: 8, big: true, java: false, period_us: 10_000 }));
        assert_eq!((header(&[0; 40]), header(&little[..16])), (None, None));
    }

    #[test]
    fn frames_of_the_measurement_go() {
        let sample = |addresses: &[u64]| RawSample { addresses: addresses.to_vec(), ..RawSample::default() };
        let mut samples: Vec<RawSample> = (0..40).map(|i| sample(&[i, 7, 100 + i])).collect();
        samples[0].addresses[1] = 8;
        without_handler(&mut samples);
        assert_eq!((&samples[0].addresses[..], &samples[1].addresses[..]), (&[0, 8, 100][..], &[1, 101][..]));
        let mut samples = [sample(&[5, 4, 3]), sample(&[5, 3])];
        without_twins(&mut samples);
        assert_eq!((&samples[0].addresses[..], &samples[1].addresses[..]), (&[5, 3][..], &[5, 3][..]));
    }
}
