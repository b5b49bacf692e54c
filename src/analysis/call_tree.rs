//! The call tree: stacks merged by function name, in preorder, with self and total weight.

use super::weights::{Selection, Weights, weights};
use crate::base::ids::{FuncId, StackId};
use crate::base::intern::ForkIndex;
use crate::base::work::step;
use crate::model::Session;

/// No parent.
pub const NO_NODE: u32 = u32::MAX;

/// How brothers are ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Order {
    /// Heaviest first, then by name: the "left heavy" flame graph.
    #[default]
    Heaviest,
    /// By name, then heaviest.
    Name,
}

/// Nodes in preorder: a node's subtree is the rows from itself up to `subtree_end`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallTree {
    /// Parent row, always smaller; [`NO_NODE`] for roots.
    pub parent: Vec<u32>,
    /// Function: the canonical one of its name.
    pub func: Vec<FuncId>,
    /// 0 for roots.
    pub depth: Vec<u32>,
    /// First row after the subtree.
    pub subtree_end: Vec<u32>,
    /// Weight of samples that end here.
    pub own: Vec<i64>,
    /// Weight of samples that pass or end here.
    pub total: Vec<i64>,
    /// Sum of magnitudes in the subtree: equals `total` unless weights are negative (differences). Widths are drawn by it.
    pub size: Vec<i64>,
    /// Weight of samples without frames; they are not in the tree.
    pub without_stack: i64,
    /// Sum of all samples.
    pub sum: i64,
}

impl CallTree {
    /// How many nodes.
    pub fn len(&self) -> usize {
        self.parent.len()
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.parent.is_empty()
    }

    /// Functions from the root to a node.
    pub fn path(&self, node: u32) -> Vec<FuncId> {
        let mut out = Vec::new();
        let mut at = node;
        while let Some(&func) = self.func.get(at as usize) {
            out.push(func);
            at = self.parent[at as usize];
        }
        out.reverse();
        out
    }

    /// The heaviest node of a function that is not below another node of the same function.
    pub fn heaviest(&self, func: FuncId) -> Option<u32> {
        let mut best: Option<u32> = None;
        let mut at = 0;
        while at < self.len() {
            if self.func[at] == func {
                if best.is_none_or(|b| self.size[at] > self.size[b as usize]) {
                    best = Some(at as u32);
                }
                at = self.subtree_end[at] as usize;
            } else {
                at += 1;
            }
        }
        best
    }
}

/// Merges the stacks of a selection. Linear in stacks; sorting of brothers comes on top.
pub fn call_tree(session: &Session, selection: Selection, order: Order) -> CallTree {
    from_weights(session, &weights(session, selection), order)
}

/// Merges weighted stacks.
pub fn from_weights(session: &Session, weights: &Weights, order: Order) -> CallTree {
    let symbols = &session.symbols;
    // At most as many nodes as stacks: columns that never grow leave no gaps in a memory that cannot shrink.
    let most = weights.used.iter().filter(|used| **used).count();
    let mut parent: Vec<u32> = Vec::with_capacity(most);
    let mut func: Vec<FuncId> = Vec::with_capacity(most);
    let mut own: Vec<i64> = Vec::with_capacity(most);
    let mut size: Vec<i64> = Vec::with_capacity(most);
    let mut index = ForkIndex::default();
    let mut node_of = vec![NO_NODE; symbols.stacks.len()];
    for row in (0..symbols.stacks.len()).filter(|row| weights.used[*row]) {
        step(1);
        let above = symbols.stacks.prefix[row].get().map_or(NO_NODE, |p| node_of[p.index()]);
        let f = symbols.funcs.canonical[symbols.frames.func[symbols.stacks.frame[row].index()].index()];
        let (node, new) = index.get_or_insert(above, f.0, parent.len() as u32, |row| (parent[row as usize], func[row as usize].0));
        if new {
            parent.push(above);
            func.push(f);
            own.push(0);
            size.push(0);
        }
        node_of[row] = node;
        let weight = weights.own[row];
        own[node as usize] = own[node as usize].saturating_add(weight);
        size[node as usize] = size[node as usize].saturating_add(weight.saturating_abs());
    }
    drop((index, node_of));
    let mut total = own.clone();
    for node in (0..parent.len()).rev() {
        if parent[node] != NO_NODE {
            let p = parent[node] as usize;
            total[p] = total[p].saturating_add(total[node]);
            size[p] = size[p].saturating_add(size[node]);
        }
    }
    let ranks = name_ranks(session, &func);
    let key = |node: u32| {
        let i = node as usize;
        match order {
            Order::Heaviest => (-size[i], i64::from(ranks[func[i].index()])),
            Order::Name => (i64::from(ranks[func[i].index()]), -size[i]),
        }
    };
    let rows = preorder(&parent, |a, b| {
        step(1);
        key(a).cmp(&key(b))
    });
    let mut new_row = vec![NO_NODE; parent.len()];
    for (new, old) in rows.iter().enumerate() {
        new_row[*old as usize] = new as u32;
    }
    let above = |old: &u32| Some(parent[*old as usize]).filter(|p| *p != NO_NODE).map_or(NO_NODE, |p| new_row[p as usize]);
    let mut out = CallTree { without_stack: weights.without_stack, sum: weights.total, ..CallTree::default() };
    out.parent = rows.iter().map(above).collect();
    drop((parent, new_row));
    out.func = rows.iter().map(|old| func[*old as usize]).collect();
    drop(func);
    out.own = rows.iter().map(|old| own[*old as usize]).collect();
    drop(own);
    out.total = rows.iter().map(|old| total[*old as usize]).collect();
    drop(total);
    out.size = rows.iter().map(|old| size[*old as usize]).collect();
    drop((size, rows));
    out.depth = vec![0; out.parent.len()];
    for i in 0..out.parent.len() {
        if out.parent[i] != NO_NODE {
            out.depth[i] = out.depth[out.parent[i] as usize] + 1;
        }
    }
    out.subtree_end = subtree_ends(&out.parent);
    out
}

/// First row after each node's subtree, for rows in preorder.
pub(super) fn subtree_ends(parent: &[u32]) -> Vec<u32> {
    let mut end: Vec<u32> = (1..=parent.len() as u32).collect();
    for node in (0..parent.len()).rev() {
        if parent[node] != NO_NODE {
            let p = parent[node] as usize;
            end[p] = end[p].max(end[node]);
        }
    }
    end
}

/// Rows in preorder with brothers sorted. `parent[i]` must be smaller than `i` or [`NO_NODE`].
pub(super) fn preorder(parent: &[u32], compare: impl Fn(u32, u32) -> std::cmp::Ordering) -> Vec<u32> {
    let n = parent.len();
    let slot = |node: usize| if parent[node] == NO_NODE { n } else { parent[node] as usize };
    let mut start = vec![0_u32; n + 2];
    for node in 0..n {
        start[slot(node) + 1] += 1;
    }
    for i in 0..=n {
        start[i + 1] += start[i];
    }
    let mut next = start.clone();
    let mut children = vec![0_u32; n];
    for node in 0..n {
        let at = &mut next[slot(node)];
        children[*at as usize] = node as u32;
        *at += 1;
    }
    for i in 0..=n {
        children[start[i] as usize..start[i + 1] as usize].sort_by(|a, b| compare(*a, *b));
    }
    let mut out = Vec::with_capacity(n);
    let mut open: Vec<u32> = children[start[n] as usize..start[n + 1] as usize].iter().rev().copied().collect();
    while let Some(node) = open.pop() {
        step(1);
        out.push(node);
        let i = node as usize;
        open.extend(children[start[i] as usize..start[i + 1] as usize].iter().rev());
    }
    out
}

/// Position of each function in the order of names, for the functions that occur; 0 for others.
pub(super) fn name_ranks(session: &Session, funcs: &[FuncId]) -> Vec<u32> {
    let mut present = vec![false; session.symbols.funcs.len()];
    for f in funcs {
        present[f.index()] = true;
    }
    let mut distinct: Vec<FuncId> = (0..present.len()).filter(|i| present[*i]).map(FuncId::from_index).collect();
    distinct.sort_by_key(|f| session.symbols.func_name(&session.strings, *f));
    let mut out = vec![0; present.len()];
    for (rank, f) in distinct.iter().enumerate() {
        out[f.index()] = rank as u32;
    }
    out
}

/// A stack's functions from the root, canonical.
pub fn stack_path(session: &Session, stack: StackId) -> Vec<FuncId> {
    let s = &session.symbols;
    let mut out: Vec<FuncId> = s.stacks.leaf_to_root(stack).map(|f| s.funcs.canonical[s.frames.func[f.index()].index()]).collect();
    out.reverse();
    out
}

#[cfg(test)]
mod tests {
    use super::super::drawn_stacks::drawn;
    use super::*;
    use expect_test::expect;

    fn shown(session: &Session, tree: &CallTree) -> String {
        let mut out = String::new();
        for i in 0..tree.len() {
            let name = session.symbols.func_name(&session.strings, tree.func[i]);
            out.push_str(&format!("{}{name} {} {}\n", "  ".repeat(tree.depth[i] as usize), tree.own[i], tree.total[i]));
        }
        out
    }

    #[test]
    fn stacks_merge_heaviest_first() {
        let s = drawn("a;b;c 1\na;b;d 2\na;e 1\na;b 1\nz 9");
        let tree = call_tree(&s, Selection::default(), Order::Heaviest);
        expect![[r#"
            z 9 9
            a 0 5
              b 1 4
                d 2 2
                c 1 1
              e 1 1
        "#]]
        .assert_eq(&shown(&s, &tree));
        assert_eq!(tree.subtree_end, [1, 6, 5, 4, 5, 6]);
        let by_name = call_tree(&s, Selection::default(), Order::Name);
        assert!(shown(&s, &by_name).starts_with("a 0 5\n  b 1 4\n    c 1 1\n"));
    }

    #[test]
    fn deep_stacks_need_no_recursion_and_differences_keep_their_sign() {
        let deep = vec!["f"; 100_000].join(";");
        let s = drawn(&format!("{deep} 3\na -2\na;b 5"));
        let tree = call_tree(&s, Selection::default(), Order::Heaviest);
        assert_eq!(tree.len(), 100_002);
        assert_eq!((tree.total[0], tree.size[0], tree.own[0]), (3, 7, -2));
        let f = s.symbols.funcs.find_by_name(s.strings.find("f").unwrap()).unwrap();
        assert_eq!(tree.heaviest(f), Some(2));
    }
}
