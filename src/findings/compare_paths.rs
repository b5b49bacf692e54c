//! Two recordings in one tree of call paths, joined by names: the ground on which profiles and traces are compared.

use crate::base::ids::StringId;
use crate::base::intern::{PairIndex, StringTable};

/// Baseline and candidate, in this order everywhere.
pub const SIDES: [usize; 2] = [0, 1];

/// A tree of call paths with counts and weights of both sides. Parents come before their children; row 0 is the root of all.
#[derive(Debug, Default)]
pub struct PathTree {
    /// Names of both sides.
    pub names: StringTable,
    /// Parent row; `u32::MAX` for row 0.
    pub parent: Vec<u32>,
    /// Name; `NONE` for row 0.
    pub name: Vec<StringId>,
    /// Events in the row's subtree, per side.
    pub count: [Vec<i64>; 2],
    /// Weight of the row's subtree, per side.
    pub weight: [Vec<i64>; 2],
    index: PairIndex,
}

impl PathTree {
    /// An empty tree with its root.
    pub fn new() -> PathTree {
        PathTree {
            parent: vec![u32::MAX],
            name: vec![StringId::NONE],
            count: [vec![0], vec![0]],
            weight: [vec![0], vec![0]],
            ..PathTree::default()
        }
    }

    /// How many rows, the root included.
    pub fn len(&self) -> usize {
        self.parent.len()
    }

    /// Whether there is nothing but the root.
    pub fn is_empty(&self) -> bool {
        self.len() <= 1
    }

    /// The child of a row with a name.
    pub fn child(&mut self, row: u32, name: StringId) -> u32 {
        let (child, new) = self.index.get_or_insert(row, name.0, self.parent.len() as u32);
        if new {
            self.parent.push(row);
            self.name.push(name);
            for side in SIDES {
                self.count[side].push(0);
                self.weight[side].push(0);
            }
        }
        child
    }

    /// Adds to a row itself; [`PathTree::close`] then adds it to the rows above.
    pub fn add(&mut self, side: usize, row: u32, count: i64, weight: i64) {
        let (c, w) = (&mut self.count[side][row as usize], &mut self.weight[side][row as usize]);
        *c = c.saturating_add(count);
        *w = w.saturating_add(weight);
    }

    /// Turns what was added to single rows into sums of subtrees. To be called once.
    pub fn close(&mut self) {
        for side in SIDES {
            for row in (1..self.parent.len()).rev() {
                let above = self.parent[row] as usize;
                self.count[side][above] = self.count[side][above].saturating_add(self.count[side][row]);
                self.weight[side][above] = self.weight[side][above].saturating_add(self.weight[side][row]);
            }
        }
    }

    /// Names from the root down to a row.
    pub fn path(&self, row: u32) -> Vec<String> {
        let mut out = Vec::new();
        let mut at = row;
        while at != 0 && at != u32::MAX {
            out.push(self.names.get(self.name[at as usize]).to_string());
            at = self.parent[at as usize];
        }
        out.reverse();
        out
    }

    /// The smallest path that explains a change: from the root down as long as one child alone holds 80 % of it.
    /// `of` gives the change that begins in exactly a row (its subtree excluded); all rows together make the change.
    pub fn explain(&self, of: impl Fn(usize) -> f64) -> u32 {
        let mut sum: Vec<f64> = (0..self.len()).map(of).collect();
        for row in (1..sum.len()).rev() {
            let own = sum[row];
            sum[self.parent[row] as usize] += own;
        }
        let whole = sum[0];
        // The largest child of each row: children come later than their parents, so one pass finds them.
        let mut largest: Vec<u32> = vec![0; self.len()];
        for row in 1..sum.len() {
            let above = self.parent[row] as usize;
            let best = largest[above] as usize;
            if best == 0 || sum[row] * whole.signum() > sum[best] * whole.signum() {
                largest[above] = row as u32;
            }
        }
        let mut at = 0_u32;
        loop {
            let next = largest[at as usize];
            if next == 0 || sum[next as usize] * whole.signum() < 0.8 * whole.abs() {
                return at;
            }
            at = next;
        }
    }
}

/// Ids of one side's texts in the tree's own table, filled on first use.
pub struct Joined<'a> {
    strings: &'a StringTable,
    ids: Vec<StringId>,
}

impl<'a> Joined<'a> {
    /// For the texts of a session.
    pub fn new(strings: &'a StringTable) -> Joined<'a> {
        Joined { strings, ids: vec![StringId::NONE; strings.len()] }
    }

    /// The tree's id of a text.
    pub fn id(&mut self, names: &mut StringTable, text: StringId) -> StringId {
        if text.is_none() {
            return names.intern("");
        }
        let known = &mut self.ids[text.index()];
        if known.is_none() {
            *known = names.intern(self.strings.get(text));
        }
        *known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_path_that_explains_is_found() {
        let mut tree = PathTree::new();
        let mut row = |path: &str| {
            path.split(';').fold(0, |at, name| {
                let name = tree.names.intern(name);
                tree.child(at, name)
            })
        };
        let (hot, cold, far) = (row("main;serve;hot"), row("main;serve;cold"), row("main;log"));
        let change = |r: usize| match r as u32 {
            r if r == hot => 9.0,
            r if r == cold => 0.5,
            r if r == far => 0.5,
            _ => 0.0,
        };
        assert_eq!(tree.path(tree.explain(change)), ["main", "serve", "hot"]);
        let spread = |r: usize| if [hot, cold].contains(&(r as u32)) { 5.0 } else { 0.0 };
        assert_eq!(tree.path(tree.explain(spread)), ["main", "serve"]);
        let falling = |r: usize| if r as u32 == cold { -3.0 } else { 0.0 };
        assert_eq!(tree.path(tree.explain(falling)), ["main", "serve", "cold"]);
    }
}
