//! The whole of which shares are taken, where weights have two signs.
//!
//! `go tool pprof` merges samples of equal stack and labels when it reads a profile and adds up the magnitudes of what results.
//! Where samples are labelled `pprof::base` (a profile written with `-diff_base`) only those count: shares are then of the base.

use crate::base::ids::{LabelSetId, StackId};
use crate::model::Session;
use crate::model::profile::{Label, Profile};

/// Key of the label that marks the samples of a base profile; its text is [`BASE_TEXT`].
pub const BASE_KEY: &str = "pprof::base";
/// Text of the label that marks the samples of a base profile.
pub const BASE_TEXT: &str = "true";

/// Whether any sample of a profile is marked as of a base profile.
pub fn has_base(session: &Session, p: &Profile) -> bool {
    p.labels.labels.iter().any(|l| is_base(session, l))
}

fn is_base(session: &Session, label: &Label) -> bool {
    session.strings.get(label.key) == BASE_KEY && session.strings.get(label.text) == BASE_TEXT
}

/// The whole of the samples that count, by position.
pub fn whole(session: &Session, p: &Profile, value: usize, counts: impl Fn(usize) -> bool) -> i64 {
    let Some(values) = p.samples.values.get(value) else { return 0 };
    let base: Vec<bool> =
        (0..p.labels.start.len()).map(|set| p.labels.set(LabelSetId::from_index(set)).iter().any(|l| is_base(session, l))).collect();
    let set = |row: usize| p.samples.labels.get(row).copied().unwrap_or(LabelSetId::NONE);
    let mut samples: Vec<(StackId, LabelSetId, i64)> =
        (0..values.len()).filter(|row| counts(*row)).map(|row| (p.samples.stack[row], set(row), values[row])).collect();
    samples.sort_unstable_by_key(|(stack, set, _)| (stack.0, set.0));
    let (mut all, mut of_base) = (0_i64, 0_i64);
    for equal in samples.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
        let sum = equal.iter().fold(0_i64, |sum, (.., v)| sum.saturating_add(*v)).saturating_abs();
        all = all.saturating_add(sum);
        if equal[0].1.get().is_some_and(|set| base[set.index()]) {
            of_base = of_base.saturating_add(sum);
        }
    }
    if of_base > 0 { of_base } else { all }
}

#[cfg(test)]
mod tests {
    use super::super::drawn_stacks::drawn;
    use super::*;

    #[test]
    fn equal_samples_are_merged_and_a_base_is_the_whole() {
        let mut s = drawn("a;b 3\na;b -5\na 1\na;b;c -7");
        let p = s.profiles[0].clone();
        assert_eq!((whole(&s, &p, 0, |_| true), whole(&s, &p, 0, |row| row != 1)), (2 + 1 + 7, 3 + 1 + 7));
        let (key, text) = (s.strings.intern(BASE_KEY), s.strings.intern(BASE_TEXT));
        let p = &mut s.profiles[0];
        p.labels.start = vec![0, 1];
        p.labels.labels = vec![Label { key, text, number: 0, unit: crate::base::ids::StringId::NONE }];
        p.samples.labels = [false, true, false, true].map(|base| if base { LabelSetId(0) } else { LabelSetId::NONE }).to_vec();
        let p = s.profiles[0].clone();
        assert!(has_base(&s, &p));
        assert_eq!(whole(&s, &p, 0, |_| true), 5 + 7);
    }
}
