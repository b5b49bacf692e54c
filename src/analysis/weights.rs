//! Which samples count, and their weight per stack: the first step of every analysis of a profile.

use super::magnitude::{has_base, whole};
use crate::base::ids::{StackId, ThreadId};
use crate::model::Session;
use crate::model::symbols::StackTable;

/// Which samples: a profile, one of its value types, all threads or one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Selection {
    /// Position of the profile in the session.
    pub profile: usize,
    /// Position of the value type in the profile.
    pub value: usize,
    /// One thread, or all.
    pub thread: Option<ThreadId>,
}

/// Weight per stack of the session. Stacks of other profiles weigh nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Weights {
    /// Weight of the samples that end in exactly this stack, by stack row.
    pub own: Vec<i64>,
    /// Whether the stack, or one that extends it, has a sample of non-zero weight, by stack row.
    pub used: Vec<bool>,
    /// Weight of samples without frames.
    pub without_stack: i64,
    /// Sum over all samples, saturating.
    pub total: i64,
    /// Sum of magnitudes: the whole of which shares are taken, see [`super::magnitude`] for weights of two signs.
    pub magnitude: i64,
    /// Samples of non-zero weight.
    pub samples: u64,
}

/// Adds up a selection. A selection that names nothing gives empty weights.
pub fn weights(session: &Session, selection: Selection) -> Weights {
    weights_where(session, selection.profile, selection.value, |thread| selection.thread.is_none_or(|t| thread == Some(t)))
}

/// Adds up the samples of the threads that are wanted; profiles without threads ask for `None`.
pub fn weights_where(session: &Session, profile: usize, value: usize, wanted: impl Fn(Option<ThreadId>) -> bool) -> Weights {
    let n = session.symbols.stacks.len();
    let mut out = Weights { own: vec![0; n], used: vec![false; n], ..Weights::default() };
    let Some(p) = session.profiles.get(profile) else { return out };
    let Some(values) = p.samples.values.get(value) else { return out };
    let mut signs = has_base(session, p);
    let column = value;
    for (i, (stack, &value)) in p.samples.stack.iter().zip(values).enumerate() {
        if value == 0 || !wanted(p.samples.thread.get(i).copied()) {
            continue;
        }
        out.samples += 1;
        signs |= value < 0;
        out.total = out.total.saturating_add(value);
        out.magnitude = out.magnitude.saturating_add(value.saturating_abs());
        match stack.get() {
            Some(stack) => {
                let i = stack.index();
                out.own[i] = out.own[i].saturating_add(value);
                out.used[i] = true;
            }
            None => out.without_stack = out.without_stack.saturating_add(value),
        }
    }
    if signs {
        out.magnitude = whole(session, p, column, |i| wanted(p.samples.thread.get(i).copied()));
    }
    let prefix = &session.symbols.stacks.prefix;
    for row in (0..n).rev() {
        if out.used[row]
            && let Some(parent) = prefix[row].get()
        {
            out.used[parent.index()] = true;
        }
    }
    out
}

/// Weight of each stack with all stacks that extend it.
pub fn subtree(stacks: &StackTable, own: &[i64]) -> Vec<i64> {
    let mut total = own.to_vec();
    for row in (0..total.len()).rev() {
        if let Some(parent) = stacks.prefix[row].get() {
            total[parent.index()] = total[parent.index()].saturating_add(total[row]);
        }
    }
    total
}

/// Walks the used stacks depth first: `step(row, true)` on the way down, `step(row, false)` on the way back.
/// Without recursion, so that depth is bounded by memory only.
pub fn walk(stacks: &StackTable, used: &[bool], mut step: impl FnMut(usize, bool)) {
    let n = stacks.len();
    // Children of each stack as one list, grouped by counting; roots are the children of the extra last row.
    let slot = |row: usize| stacks.prefix[row].get().map_or(n, StackId::index);
    let mut start = vec![0_u32; n + 2];
    for row in (0..n).filter(|row| used[*row]) {
        start[slot(row) + 1] += 1;
    }
    for i in 0..=n {
        start[i + 1] += start[i];
    }
    let mut next = start.clone();
    let mut children = vec![0_u32; start[n + 1] as usize];
    for row in (0..n).filter(|row| used[*row]) {
        let at = &mut next[slot(row)];
        children[*at as usize] = row as u32;
        *at += 1;
    }
    let mut open = vec![(n, start[n], start[n + 1])];
    while let Some((row, at, end)) = open.last_mut() {
        crate::base::work::step(1);
        if at == end {
            if *row < n {
                step(*row, false);
            }
            open.pop();
            continue;
        }
        let child = children[*at as usize] as usize;
        *at += 1;
        step(child, true);
        open.push((child, start[child], start[child + 1]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::drawn_stacks::drawn;

    #[test]
    fn every_sample_counts_once() {
        let s = drawn("a;b 3\na;b;c 2\na 1\nx -4");
        let w = weights(&s, Selection::default());
        assert_eq!((w.total, w.magnitude, w.samples), (2, 10, 4));
        assert_eq!(subtree(&s.symbols.stacks, &w.own), [6, 5, 2, -4]);
        let mut seen = String::new();
        walk(&s.symbols.stacks, &w.used, |row, down| seen.push_str(&format!("{}{row}", if down { '+' } else { '-' })));
        assert_eq!(seen, "+0+1+2-2-1-0+3-3");
        assert_eq!(weights(&s, Selection { profile: 7, ..Selection::default() }).samples, 0);
    }
}
