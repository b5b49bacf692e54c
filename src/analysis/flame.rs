//! Boxes of a flame graph: merged (callers above callees) and inverted (callees above their callers).
//! Charts in order of time are in [`super::flame_chart`].

use super::call_tree::{CallTree, NO_NODE, name_ranks, preorder, subtree_ends};
use crate::base::ids::FuncId;
use crate::base::work::step;
use crate::model::Session;

/// More boxes than this are never answered: narrow ones are left out and counted. The page takes them in one task, which
/// must not be felt.
pub const MAX_BOXES: usize = 500_000;

/// The shares of the whole below which boxes are left out, tried in turn until [`MAX_BOXES`] suffice. A box of the last
/// one is 0.13 px wide in a picture of 2,048 px.
const MIN_SHARES: [f64; 5] = [0.0, 1.0 / 16_777_216.0, 1.0 / 1_048_576.0, 1.0 / 131_072.0, 1.0 / 16_384.0];

/// Boxes in preorder.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FlameBoxes {
    /// Parent box, always smaller; [`NO_NODE`] for roots.
    pub parent: Vec<u32>,
    /// Row from the top of the picture.
    pub row: Vec<u32>,
    /// Function: the canonical one of its name.
    pub func: Vec<FuncId>,
    /// Left edge, in the unit of the value (nanoseconds from [`FlameBoxes::origin_ns`] for charts).
    pub start: Vec<f64>,
    /// Width, in the same unit.
    pub width: Vec<f64>,
    /// Part of the width that no child covers because the weight (time) is the box's own.
    pub own: Vec<f64>,
    /// Signed total weight where it differs from the width (differences); else empty.
    pub signed: Vec<f64>,
    /// Right edge of the picture.
    pub extent: f64,
    /// Rows of the picture.
    pub rows: u32,
    /// Threads of a chart, from the top; empty for graphs.
    pub tracks: Vec<Track>,
    /// Time of position 0 of a chart on the profile's clock.
    pub origin_ns: i64,
    /// Boxes left out because they are narrower than [`FlameBoxes::min_share`]; those below them are not counted.
    pub pruned: u64,
    /// Width of the boxes left out; it stays visible in the boxes they belong to.
    pub pruned_weight: f64,
    /// Smallest share of the whole that a box may have; 0 if nothing was left out.
    pub min_share: f64,
}

/// One thread of a chart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// Position of the thread in the profile; `None` where the profile has no threads.
    pub thread: Option<u32>,
    /// Its first row. The row above it is free for the thread's name.
    pub first_row: u32,
    /// Rows of its boxes.
    pub rows: u32,
}

impl FlameBoxes {
    /// How many boxes.
    pub fn len(&self) -> usize {
        self.parent.len()
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.parent.is_empty()
    }
}

/// Lays out the merged graph: children side by side in the tree's order, from the left edge of their parent.
pub fn merged(tree: &CallTree) -> FlameBoxes {
    merged_within(tree, MAX_BOXES)
}

/// No node is wider than its parent, so whole subtrees fall below a share: they are never laid out at all.
fn merged_within(tree: &CallTree, max: usize) -> FlameBoxes {
    let roots = (0..tree.len()).filter(|n| tree.parent[*n] == NO_NODE);
    let extent = roots.fold(0_i64, |sum, n| sum.saturating_add(tree.size[n])) as f64;
    let kept = |share: f64| tree.size.iter().filter(|size| **size as f64 >= share * extent).count();
    let found = MIN_SHARES.iter().map(|share| (*share, kept(*share))).find(|(_, n)| *n <= max);
    let (share, count) = found.unwrap_or((MIN_SHARES[MIN_SHARES.len() - 1], max));
    let mut out = FlameBoxes { extent, ..FlameBoxes::default() };
    out.parent.reserve_exact(count);
    let signed = tree.size != tree.total;
    // Of each open box: its node, its row among the boxes, and where its next child begins.
    let mut open: Vec<(usize, u32, i64)> = Vec::new();
    let (mut node, mut right) = (0, 0_i64);
    while node < tree.len() {
        step(1);
        while open.last().is_some_and(|(above, _, _)| tree.subtree_end[*above] as usize <= node) {
            step(1);
            open.pop();
        }
        let size = tree.size[node];
        let cursor = open.last_mut().map_or(&mut right, |(_, _, next)| next);
        let start = *cursor;
        *cursor = cursor.saturating_add(size);
        if (size as f64) < share * extent {
            out.pruned += 1;
            out.pruned_weight += size as f64;
            node = tree.subtree_end[node] as usize;
            continue;
        }
        let row = out.parent.len() as u32;
        out.parent.push(open.last().map_or(NO_NODE, |(_, row, _)| *row));
        out.row.push(tree.depth[node]);
        out.func.push(tree.func[node]);
        out.start.push(start as f64);
        out.width.push(size as f64);
        out.own.push(tree.own[node] as f64);
        if signed {
            out.signed.push(tree.total[node] as f64);
        }
        open.push((node, row, start));
        node += 1;
    }
    out.min_share = if out.pruned > 0 { share } else { 0.0 };
    out.rows = out.row.iter().map(|r| r + 1).max().unwrap_or(0);
    out
}

/// Lays out the inverted graph: roots are the functions in which samples end, their children the callers.
/// A box's own part is the weight of stacks that begin there.
pub fn inverted(session: &Session, tree: &CallTree) -> FlameBoxes {
    let whole: f64 = tree.own.iter().map(|v| v.saturating_abs() as f64).sum();
    let mut out = FlameBoxes::default();
    for min_share in MIN_SHARES {
        if let Some(boxes) = inverted_within(session, tree, min_share * whole, MAX_BOXES) {
            out = boxes;
            out.min_share = if out.pruned == 0 { 0.0 } else { min_share };
            break;
        }
    }
    out
}

/// Nodes of the inverted tree while it grows.
#[derive(Default)]
struct Growing {
    parent: Vec<u32>,
    func: Vec<FuncId>,
    size: Vec<i64>,
    value: Vec<i64>,
    own: Vec<i64>,
}

/// Grows the inverted tree row by row: each group of samples that share their last functions splits by the next caller.
/// `None` when more than `max` boxes would be needed.
fn inverted_within(session: &Session, tree: &CallTree, min: f64, max: usize) -> Option<FlameBoxes> {
    let ranks = name_ranks(session, &tree.func);
    let rank = |node: u32| ranks[tree.func[node as usize].index()];
    let mut g = Growing::default();
    let (mut pruned, mut pruned_weight) = (0_u64, 0.0);
    // (box above, where on its path to the root, sample's node), grouped by the box above.
    let mut row: Vec<(u32, u32, u32)> = (0..tree.len() as u32).filter(|n| tree.own[*n as usize] != 0).map(|n| (NO_NODE, n, n)).collect();
    while !row.is_empty() {
        step(row.len());
        row.sort_unstable_by_key(|&(above, at, _)| (above, rank(at)));
        let mut next = Vec::new();
        for group in row.chunk_by(|a, b| a.0 == b.0 && rank(a.1) == rank(b.1)) {
            let size = group.iter().fold(0_i64, |sum, (_, _, n)| sum.saturating_add(tree.own[*n as usize].saturating_abs()));
            if (size as f64) < min {
                pruned += 1;
                pruned_weight += size as f64;
                continue;
            }
            let node = g.parent.len() as u32;
            if node as usize == max {
                return None;
            }
            g.parent.push(group[0].0);
            g.func.push(tree.func[group[0].1 as usize]);
            g.size.push(size);
            g.value.push(group.iter().fold(0_i64, |sum, (_, _, n)| sum.saturating_add(tree.own[*n as usize])));
            let mut own = 0_i64;
            for &(_, at, sample) in group {
                match tree.parent[at as usize] {
                    NO_NODE => own = own.saturating_add(tree.own[sample as usize]),
                    above => next.push((node, above, sample)),
                }
            }
            g.own.push(own);
        }
        row = next;
    }
    let order = preorder(&g.parent, |a, b| {
        let key = |n: u32| (-g.size[n as usize], ranks[g.func[n as usize].index()]);
        key(a).cmp(&key(b))
    });
    let mut new_row = vec![NO_NODE; order.len()];
    for (new, old) in order.iter().enumerate() {
        new_row[*old as usize] = new as u32;
    }
    let mut sorted = CallTree::default();
    for &old in &order {
        let i = old as usize;
        let above = if g.parent[i] == NO_NODE { NO_NODE } else { new_row[g.parent[i] as usize] };
        sorted.depth.push(if above == NO_NODE { 0 } else { sorted.depth[above as usize] + 1 });
        sorted.parent.push(above);
        sorted.func.push(g.func[i]);
        sorted.own.push(g.own[i]);
        sorted.size.push(g.size[i]);
        sorted.total.push(g.value[i]);
    }
    sorted.subtree_end = subtree_ends(&sorted.parent);
    let mut out = merged(&sorted);
    out.pruned += pruned;
    out.pruned_weight += pruned_weight;
    Some(out)
}

impl FlameBoxes {
    /// Leaves out boxes below a minimum share of the picture, and all that is below them, until at most `max` are left;
    /// then counts the rows.
    pub(super) fn limit(&mut self, max: usize) {
        for share in MIN_SHARES {
            let min = share * self.extent;
            let mut keep = vec![true; self.len()];
            let mut kept = 0;
            for i in 0..self.len() {
                let above = self.parent[i];
                keep[i] = self.width[i] >= min && (above == NO_NODE || keep[above as usize]);
                kept += usize::from(keep[i]);
            }
            let last = share == MIN_SHARES[MIN_SHARES.len() - 1];
            if kept > max && !last {
                continue;
            }
            if kept < self.len() {
                self.min_share = share;
                self.retain(&keep);
            }
            break;
        }
        self.rows = self.row.iter().map(|r| r + 1).max().unwrap_or(0).max(self.rows);
    }

    fn retain(&mut self, keep: &[bool]) {
        let mut new_row = vec![NO_NODE; keep.len()];
        let mut n = 0;
        for i in 0..keep.len() {
            if keep[i] {
                new_row[i] = n;
                n += 1;
            } else if self.parent[i] == NO_NODE || keep[self.parent[i] as usize] {
                self.pruned += 1;
                self.pruned_weight += self.width[i];
            }
        }
        fn apply<T: Copy>(column: &mut Vec<T>, keep: &[bool]) {
            let mut i = 0;
            column.retain(|_| {
                i += 1;
                keep[i - 1]
            });
        }
        apply(&mut self.parent, keep);
        for parent in self.parent.iter_mut().filter(|p| **p != NO_NODE) {
            *parent = new_row[*parent as usize];
        }
        apply(&mut self.row, keep);
        apply(&mut self.func, keep);
        apply(&mut self.start, keep);
        apply(&mut self.width, keep);
        apply(&mut self.own, keep);
        apply(&mut self.signed, keep);
    }
}

#[cfg(test)]
mod tests {
    use super::super::call_tree::{Order, call_tree};
    use super::super::drawn_stacks::drawn;
    use super::super::weights::Selection;
    use super::*;
    use expect_test::expect;

    /// One line per row: `name[start..end]`.
    pub(crate) fn shown(session: &Session, boxes: &FlameBoxes) -> String {
        let mut rows = vec![Vec::new(); boxes.rows as usize];
        for i in 0..boxes.len() {
            let name = session.symbols.func_name(&session.strings, boxes.func[i]);
            rows[boxes.row[i] as usize].push((boxes.start[i], format!("{name}[{}..{}]", boxes.start[i], boxes.start[i] + boxes.width[i])));
        }
        rows.into_iter().map(|r| r.into_iter().map(|b| b.1).collect::<Vec<_>>().join(" ") + "\n").collect()
    }

    #[test]
    fn merged_and_inverted() {
        let s = drawn("a;b;c 1\na;b;d 2\na;e 1\nd 3\na;b 2");
        let tree = call_tree(&s, Selection::default(), Order::Heaviest);
        expect![[r#"
            a[0..6] d[6..9]
            b[0..5] e[5..6]
            d[0..2] c[2..3]
        "#]]
        .assert_eq(&shown(&s, &merged(&tree)));
        let boxes = inverted(&s, &tree);
        expect![[r#"
            d[0..5] b[5..7] c[7..8] e[8..9]
            b[0..2] a[5..7] b[7..8] a[8..9]
            a[0..2] a[7..8]
        "#]]
        .assert_eq(&shown(&s, &boxes));
        // Of the five units that end in d, three begin there.
        assert_eq!((boxes.own[0], boxes.pruned, boxes.min_share), (3.0, 0, 0.0));
    }

    #[test]
    fn too_many_boxes_lose_the_narrowest_and_say_so() {
        let text: String = (0..50).map(|i| format!("a;f{i} 1\n")).collect::<String>() + "a;big;x 1000000";
        let s = drawn(&text);
        let tree = call_tree(&s, Selection::default(), Order::Heaviest);
        assert_eq!(merged(&tree).len(), 53);
        let boxes = merged_within(&tree, 10);
        assert_eq!((boxes.len(), boxes.pruned, boxes.pruned_weight), (3, 50, 50.0));
        assert!(boxes.min_share > 0.0);
        assert_eq!(boxes.parent, [NO_NODE, 0, 1]);
        assert_eq!(inverted_within(&s, &tree, 0.0, 10), None);
        let pruned = inverted_within(&s, &tree, 2.0, 10).unwrap();
        assert_eq!((pruned.len(), pruned.pruned), (3, 50));
    }
}
