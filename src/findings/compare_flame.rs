//! The differential flame graph: the call paths of both sides of a comparison as boxes, each with its change of share and
//! whether that is certain. Widths are those of one side (Gregg, "Differential Flame Graphs", 2014), so that paths of the other
//! side alone need a second look with its widths.
//!
//! Every call path is a question of its own: paths are tested as functions are (PROFILES 4.3), with false discoveries
//! controlled over all paths. A path that holds exactly what its caller holds asks nothing new and gets its answer.

use super::compare_paths::SIDES;
use super::compare_profiles::{Limits, ProfileComparison, share};
use crate::base::significance::{discoveries, two_shares};

/// More boxes than this are never answered, see [`crate::analysis::flame::MAX_BOXES`].
const MAX_BOXES: usize = 200_000;
/// The shares of the whole below which boxes are left out, tried in turn.
const MIN_SHARES: [f64; 4] = [0.0, 1.0 / 1_048_576.0, 1.0 / 131_072.0, 1.0 / 16_384.0];

/// Boxes in preorder, each a row of [`ProfileComparison::tree`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DiffBoxes {
    /// Row of the tree.
    pub row: Vec<u32>,
    /// Parent box, always smaller; `u32::MAX` for roots.
    pub parent: Vec<u32>,
    /// 0 for roots.
    pub depth: Vec<u32>,
    /// Left edge, in events.
    pub start: Vec<f64>,
    /// Events on the side that gives the widths.
    pub width: Vec<f64>,
    /// Events on the other side.
    pub other: Vec<f64>,
    /// Change of the share of all events, candidate minus baseline, in parts of one.
    pub change: Vec<f64>,
    /// Whether the change is certain.
    pub certain: Vec<bool>,
    /// Right edge.
    pub extent: f64,
    /// Paths that were tested.
    pub tested: usize,
    /// Boxes left out because they are narrower than `min_share`.
    pub pruned: u64,
    /// Smallest share of `extent` that a box may have; 0 if nothing was left out.
    pub min_share: f64,
}

/// Lays out the graph with the widths of a side.
pub fn boxes(c: &ProfileComparison, side: usize, limits: Limits) -> DiffBoxes {
    let (certain, tested) = judge(c, limits);
    let tree = &c.tree;
    let size = |row: u32| tree.count[side][row as usize].max(0);
    let mut order: Vec<u32> = (1..tree.len() as u32).filter(|row| size(*row) > 0).collect();
    let name = |row: u32| tree.names.get(tree.name[row as usize]);
    order.sort_by(|a, b| {
        let above = |row: u32| tree.parent[row as usize];
        above(*a).cmp(&above(*b)).then(size(*b).cmp(&size(*a))).then_with(|| name(*a).cmp(name(*b)))
    });
    // Where each row's children begin.
    let mut first = vec![0_usize; tree.len() + 1];
    for row in &order {
        first[tree.parent[*row as usize] as usize + 1] += 1;
    }
    for i in 0..tree.len() {
        first[i + 1] += first[i];
    }
    let children = |row: u32| &order[first[row as usize]..first[row as usize + 1]];
    let extent: f64 = children(0).iter().map(|row| size(*row) as f64).sum();
    let kept = |min: f64| order.iter().filter(|row| size(**row) as f64 >= min * extent).count();
    let min_share = MIN_SHARES.into_iter().find(|min| kept(*min) <= MAX_BOXES).unwrap_or(MIN_SHARES[MIN_SHARES.len() - 1]);
    let mut out = DiffBoxes { extent, tested, ..DiffBoxes::default() };
    // Rows that wait, with their parent's box, depth and left edge; the first child is the last to be pushed.
    let mut open: Vec<(u32, u32, u32, f64)> = Vec::new();
    let push = |open: &mut Vec<(u32, u32, u32, f64)>, row: u32, of: u32, depth: u32, mut left: f64, right: f64| {
        let begin = open.len();
        for child in children(row) {
            open.push((*child, of, depth, left));
            // Negative weights can make children larger than their caller: they end where it ends.
            left = (left + size(*child) as f64).min(right);
        }
        open[begin..].reverse();
    };
    push(&mut open, 0, u32::MAX, 0, 0.0, extent);
    while let Some((row, parent, depth, start)) = open.pop() {
        let right = if parent == u32::MAX { extent } else { out.start[parent as usize] + out.width[parent as usize] };
        let width = (size(row) as f64).min(right - start);
        if width < min_share * extent || width <= 0.0 {
            out.pruned += 1;
            continue;
        }
        let at = out.row.len() as u32;
        let count = SIDES.map(|s| tree.count[s][row as usize]);
        out.row.push(row);
        out.parent.push(parent);
        out.depth.push(depth);
        out.start.push(start);
        out.width.push(width);
        out.other.push(count[1 - side] as f64);
        out.change.push(share(count[1], c.events[1]) - share(count[0], c.events[0]));
        out.certain.push(certain[row as usize]);
        push(&mut open, row, at, depth + 1, start, start + width);
    }
    out.min_share = if out.pruned > 0 { min_share } else { 0.0 };
    out
}

/// Per row of the tree, whether its change is certain; and how many rows were tested.
fn judge(c: &ProfileComparison, limits: Limits) -> (Vec<bool>, usize) {
    let tree = &c.tree;
    let mut certain = vec![false; tree.len()];
    if !c.counted() {
        return (certain, 0);
    }
    let kernel = c.kernel_names();
    let count = |row: usize| SIDES.map(|s| tree.count[s][row]);
    // A row that holds what its caller holds and nothing else does.
    let same = |row: usize| tree.parent[row] != 0 && count(row) == count(tree.parent[row] as usize);
    let (mut rows, mut p) = (Vec::new(), Vec::new());
    for row in 1..tree.len() {
        let x = count(row);
        if x[0].saturating_add(x[1]) < limits.events || same(row) {
            continue;
        }
        // Kernel frames vary more from run to run than sampling alone explains (PROFILES 4.3).
        let spread = if kernel[tree.name[row].index()] { 2.0 } else { 1.0 };
        let [x1, n1, x2, n2] = [x[0], c.events[0], x[1], c.events[1]].map(|v| v.max(0) as u64);
        rows.push(row);
        p.push(two_shares(x1, n1, x2, n2, spread));
    }
    for (row, found) in rows.iter().zip(discoveries(&p, limits.q)) {
        let x = count(*row);
        let before = share(x[0], c.events[0]);
        let delta = (share(x[1], c.events[1]) - before).abs();
        certain[*row] = found && delta >= limits.points && delta >= limits.relative * before;
    }
    for row in 1..tree.len() {
        if same(row) {
            certain[row] = certain[tree.parent[row] as usize];
        }
    }
    (certain, rows.len())
}

#[cfg(test)]
mod tests {
    use super::super::compare_profiles::compare;
    use super::*;
    use crate::analysis::drawn_stacks::drawn;

    /// One line per box: `name[start..end]`, events of the other side, change in percentage points, `!` if certain.
    fn shown(baseline: &str, candidate: &str, side: usize) -> Vec<String> {
        let (b, c) = (drawn(baseline), drawn(candidate));
        let c = compare([&b, &c], [0, 0], Limits::default());
        let d = boxes(&c, side, Limits::default());
        (0..d.row.len())
            .map(|i| {
                let name = c.tree.names.get(c.tree.name[d.row[i] as usize]);
                let sure = if d.certain[i] { "!" } else { "" };
                let (from, to) = (d.start[i], d.start[i] + d.width[i]);
                format!("{}{name}[{from}..{to}] {} {:+.1}{sure}", " ".repeat(d.depth[i] as usize), d.other[i], d.change[i] * 100.0)
            })
            .collect()
    }

    #[test]
    fn boxes_have_the_widths_of_one_side_and_the_change_of_both() {
        let (before, now) = ("main;a;x 500\nmain;b 300\nmain;gone 200", "main;a;x 500\nmain;b 700\nnew 800");
        assert_eq!(
            shown(before, now, 1),
            [
                "main[0..1200] 1000 -40.0!",
                " b[0..700] 300 +5.0!",
                " a[700..1200] 500 -25.0!",
                "  x[700..1200] 500 -25.0!",
                "new[1200..2000] 0 +40.0!"
            ]
        );
        // What only the baseline has is seen with its widths.
        let with_baseline = shown(before, now, 0);
        assert_eq!(with_baseline[4], " gone[800..1000] 0 -20.0!");
        assert!(!with_baseline.iter().any(|b| b.contains("new")));
    }

    #[test]
    fn the_same_twice_has_no_certain_change() {
        let text = "main;a 400\nmain;b;c 300\nmain;b;d 300";
        assert!(shown(text, text, 1).iter().all(|b| b.ends_with("+0.0")));
        // Nine events are too few for a test, and chance is no change.
        assert!(shown("main;a 991\nmain;b 9", "main;a 1000", 0).iter().all(|b| !b.ends_with('!')));
        assert!(shown("main;a 500\nmain;b 500", "main;a 515\nmain;b 485", 1).iter().all(|b| !b.ends_with('!')));
    }
}
