//! Callers, callees and places of one function.

use super::call_tree::CallTree;
use super::functions::{By, Entry, Granularity, Options, functions};
use super::weights::{Weights, subtree, walk};
use crate::base::ids::FuncId;
use crate::model::Session;

/// One function and its surroundings.
#[derive(Clone, Debug, Default)]
pub struct Neighbours {
    /// Weight of samples whose leaf it is.
    pub own: i64,
    /// Weight of samples that hold it anywhere, once each.
    pub total: i64,
    /// Weight of samples whose outermost frame it is.
    pub as_root: i64,
    /// Functions that call it, heaviest first. A pair counts once per sample; calls of itself are left out.
    pub callers: Vec<(FuncId, i64)>,
    /// Functions that it calls, heaviest first, counted likewise.
    pub callees: Vec<(FuncId, i64)>,
}

/// Counts the edges of one function (canonical id) as `go tool pprof -peek` does. Linear in stacks.
pub fn neighbours(session: &Session, weights: &Weights, func: FuncId) -> Neighbours {
    let s = &session.symbols;
    let total = subtree(&s.stacks, &weights.own);
    let func_of = |row: usize| s.funcs.canonical[s.frames.func[s.stacks.frame[row].index()].index()];
    let n = s.funcs.len();
    let mut out = Neighbours::default();
    let (mut calls_in, mut calls_out) = (vec![0_i64; n], vec![0_i64; n]);
    let (mut in_path, mut out_path) = (vec![0_u32; n], vec![0_u32; n]);
    let mut depth_of_func = 0_u32;
    walk(&s.stacks, &weights.used, |row, down| {
        let own = func_of(row);
        let parent = s.stacks.prefix[row].get().map(|p| func_of(p.index()));
        let step = |count: &mut u32, sum: Option<&mut i64>| {
            if !down {
                *count -= 1;
                return;
            }
            if *count == 0
                && let Some(sum) = sum
            {
                *sum = sum.saturating_add(total[row]);
            }
            *count += 1;
        };
        if own == func {
            if down {
                out.own = out.own.saturating_add(weights.own[row]);
            }
            step(&mut depth_of_func, Some(&mut out.total));
            match parent {
                None if down => out.as_root = out.as_root.saturating_add(total[row]),
                Some(caller) if caller != func => step(&mut in_path[caller.index()], Some(&mut calls_in[caller.index()])),
                _ => {}
            }
        } else if parent == Some(func) {
            step(&mut out_path[own.index()], Some(&mut calls_out[own.index()]));
        }
    });
    out.callers = ranked(session, &calls_in);
    out.callees = ranked(session, &calls_out);
    out
}

fn ranked(session: &Session, sums: &[i64]) -> Vec<(FuncId, i64)> {
    let mut out: Vec<(FuncId, i64)> = sums.iter().enumerate().filter(|(_, w)| **w != 0).map(|(i, w)| (FuncId::from_index(i), *w)).collect();
    out.sort_by_key(|(f, w)| (std::cmp::Reverse(w.saturating_abs()), session.symbols.func_name(&session.strings, *f)));
    out
}

/// The hottest lines or addresses of one function (canonical id), by self weight, then total; at most `limit`.
/// Empty where the data have none.
pub fn places(session: &Session, weights: &Weights, func: FuncId, granularity: Granularity, limit: usize) -> Vec<Entry> {
    let s = &session.symbols;
    let mut table = functions(session, weights, Options { granularity, ..Options::default() });
    let known = |e: &Entry| match granularity {
        Granularity::Lines => e.line != 0,
        _ => e.address != crate::model::symbols::NO_ADDRESS || e.offset != crate::model::symbols::NO_ADDRESS,
    };
    table.rows.retain(|e| s.funcs.canonical[e.func.index()] == func && known(e));
    table.sort(session, By::Own);
    table.rows.truncate(limit);
    table.rows
}

/// The heaviest path from the root to a function, by names; empty if it does not occur.
pub fn heaviest_path(session: &Session, tree: &CallTree, func: FuncId) -> Vec<String> {
    let path = tree.heaviest(func).map(|node| tree.path(node)).unwrap_or_default();
    path.into_iter().map(|f| session.symbols.func_name(&session.strings, f).to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::call_tree::{Order, call_tree};
    use super::super::drawn_stacks::drawn;
    use super::super::weights::{Selection, weights};
    use super::*;

    #[test]
    fn each_pair_counts_once_per_sample() {
        let s = drawn("main;f;g;f;g 5\nmain;g 2\nf 1\nmain;f;f 4");
        let f = s.symbols.funcs.find_by_name(s.strings.find("f").unwrap()).unwrap();
        let n = neighbours(&s, &weights(&s, Selection::default()), f);
        let named = |list: &[(FuncId, i64)]| -> Vec<(String, i64)> {
            list.iter().map(|(f, w)| (s.symbols.func_name(&s.strings, *f).to_string(), *w)).collect()
        };
        assert_eq!((n.own, n.total, n.as_root), (5, 10, 1));
        assert_eq!(named(&n.callers), [("main".to_string(), 9), ("g".to_string(), 5)]);
        assert_eq!(named(&n.callees), [("g".to_string(), 5)]);
        let tree = call_tree(&s, Selection::default(), Order::Heaviest);
        assert_eq!(heaviest_path(&s, &tree, f), ["main", "f"]);
    }
}
