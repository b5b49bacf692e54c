//! Loops of a flow graph and how they lie in each other.
//!
//! Paul Havlak, "Nesting of Reducible and Irreducible Loops", TOPLAS 19(4), 1997, after Tarjan (1974): one walk depth first, then
//! from the innermost headers outward what reaches a back edge without passing its header is collapsed into it. In a reducible
//! graph these are the natural loops, merged by header: the header dominates the loop. A loop that can be entered elsewhere is
//! marked; the entry that the walk met first is its header. No recursion; near linear.

/// A loop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nested {
    /// Its header.
    pub header: u32,
    /// The loop around it.
    pub parent: Option<u32>,
    /// 1 for an outermost loop.
    pub depth: u32,
    /// Whether it can be entered elsewhere than at its header.
    pub irreducible: bool,
}

/// The loops of a graph.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nest {
    /// Loops; a loop stands before those inside it, else by header.
    pub loops: Vec<Nested>,
    /// The innermost loop of each node.
    pub of: Vec<Option<u32>>,
}

const NONE: u32 = u32::MAX;

/// Finds the loops of a graph, given as successors. Walks begin at the roots in turn; what cannot be reached is in no loop.
pub fn nest(next: &[Vec<u32>], roots: &[u32]) -> Nest {
    let walked = Walked::new(next, roots);
    let n = walked.node.len();
    // All that follows speaks of positions in the order of the walk.
    let mut back: Vec<Vec<u32>> = vec![Vec::new(); n];
    let mut other: Vec<Vec<u32>> = vec![Vec::new(); n];
    for (from, node) in walked.node.iter().enumerate() {
        for to in &next[*node as usize] {
            let to = walked.order[*to as usize];
            let list = if walked.covers(to, from as u32) { &mut back } else { &mut other };
            list[to as usize].push(from as u32);
        }
    }
    let mut merged: Vec<u32> = (0..n as u32).collect();
    let mut header = vec![NONE; n];
    let mut is_loop = vec![false; n];
    let mut irreducible = vec![false; n];
    let mut taken = vec![NONE; n];
    // Entries that bypass a header are looked at again outside; the bound keeps odd graphs linear.
    let mut budget = 8 * (n + next.iter().map(Vec::len).sum::<usize>());
    for w in (0..n as u32).rev() {
        let mut body: Vec<u32> = Vec::new();
        for v in &back[w as usize] {
            is_loop[w as usize] = true;
            let v = find(&mut merged, *v);
            if v != w && taken[v as usize] != w {
                taken[v as usize] = w;
                body.push(v);
            }
        }
        let mut at = 0;
        while at < body.len() {
            let x = body[at] as usize;
            at += 1;
            for i in 0..other[x].len() {
                let y = find(&mut merged, other[x][i]);
                if !walked.covers(w, y) {
                    irreducible[w as usize] = true;
                    if budget > 0 {
                        budget -= 1;
                        other[w as usize].push(y);
                    }
                } else if y != w && taken[y as usize] != w {
                    taken[y as usize] = w;
                    body.push(y);
                }
            }
        }
        for x in body {
            header[x as usize] = w;
            merged[x as usize] = w;
        }
    }
    collect(&walked, next.len(), &header, &is_loop, &irreducible)
}

/// Names loops and nodes.
fn collect(walked: &Walked, nodes: usize, header: &[u32], is_loop: &[bool], irreducible: &[bool]) -> Nest {
    let mut out = Nest { loops: Vec::new(), of: vec![None; nodes] };
    let mut rows = vec![NONE; header.len()];
    // A header is walked before what is inside.
    for at in 0..header.len() {
        let around = if header[at] == NONE { NONE } else { rows[header[at] as usize] };
        let around = (around != NONE).then_some(around);
        if is_loop[at] {
            rows[at] = out.loops.len() as u32;
            out.loops.push(Nested {
                header: walked.node[at],
                parent: around,
                depth: around.map_or(1, |p| out.loops[p as usize].depth + 1),
                irreducible: irreducible[at],
            });
            out.of[walked.node[at] as usize] = Some(rows[at]);
        } else {
            out.of[walked.node[at] as usize] = around;
        }
    }
    out
}

/// The header that a position was collapsed into, with paths made shorter on the way.
fn find(merged: &mut [u32], at: u32) -> u32 {
    let mut root = at;
    while merged[root as usize] != root {
        root = merged[root as usize];
    }
    let mut at = at;
    while merged[at as usize] != root {
        at = std::mem::replace(&mut merged[at as usize], root);
    }
    root
}

/// A walk depth first.
struct Walked {
    /// Position of each node in the walk, `NONE` if it was not met.
    order: Vec<u32>,
    /// The node at each position.
    node: Vec<u32>,
    /// Last position below each.
    last: Vec<u32>,
}

impl Walked {
    fn new(next: &[Vec<u32>], roots: &[u32]) -> Walked {
        let mut out = Walked { order: vec![NONE; next.len()], node: Vec::new(), last: Vec::new() };
        let mut open: Vec<(u32, usize)> = Vec::new();
        for root in roots {
            if out.order[*root as usize] == NONE {
                out.meet(*root, &mut open);
            }
            while let Some((node, at)) = open.last_mut() {
                match next[*node as usize].get(*at) {
                    Some(to) => {
                        *at += 1;
                        let to = *to;
                        if out.order[to as usize] == NONE {
                            out.meet(to, &mut open);
                        }
                    }
                    None => {
                        let position = out.order[*node as usize];
                        out.last[position as usize] = out.node.len() as u32 - 1;
                        open.pop();
                    }
                }
            }
        }
        out
    }

    fn meet(&mut self, node: u32, open: &mut Vec<(u32, usize)>) {
        self.order[node as usize] = self.node.len() as u32;
        self.node.push(node);
        self.last.push(0);
        open.push((node, 0));
    }

    /// Whether the second position is the first or below it.
    fn covers(&self, above: u32, below: u32) -> bool {
        above <= below && below <= self.last[above as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Loops as `header: nodes`, outermost first, `!` for irreducible ones.
    fn drawn(next: &[&[u32]], roots: &[u32]) -> Vec<String> {
        let next: Vec<Vec<u32>> = next.iter().map(|n| n.to_vec()).collect();
        let found = nest(&next, roots);
        let inside = |node: usize, row: u32| {
            let mut at = found.of[node];
            while let Some(l) = at {
                if l == row {
                    return true;
                }
                at = found.loops[l as usize].parent;
            }
            false
        };
        let text = |(row, l): (usize, &Nested)| {
            let nodes: Vec<String> = (0..next.len()).filter(|n| inside(*n, row as u32)).map(|n| n.to_string()).collect();
            format!("{}{}{}: {}", "-".repeat(l.depth as usize - 1), l.header, if l.irreducible { "!" } else { "" }, nodes.join(" "))
        };
        found.loops.iter().enumerate().map(text).collect()
    }

    #[test]
    fn graphs_drawn_by_hand() {
        // Straight on; and what is not reached loops alone.
        assert_eq!(drawn(&[&[1], &[2], &[], &[3]], &[0]), [""; 0]);
        // A loop on itself.
        assert_eq!(drawn(&[&[1], &[1, 2], &[]], &[0]), ["1: 1"]);
        // 0 → 1 → 2 → 3 → 2, 3 → 1, 1 → 4: one in another.
        assert_eq!(drawn(&[&[1], &[2, 4], &[3], &[2, 1], &[]], &[0]), ["1: 1 2 3", "-2: 2 3"]);
        // Two back edges to one header are one loop (`continue`).
        assert_eq!(drawn(&[&[1], &[2, 3, 4], &[1], &[1], &[]], &[0]), ["1: 1 2 3"]);
        // Two loops in turn, the second entered in its middle by nobody else.
        assert_eq!(drawn(&[&[1], &[1, 2], &[3], &[2, 4], &[]], &[0]), ["1: 1", "2: 2 3"]);
        // 0 → 1, 0 → 2, 1 ↔ 2: two entries.
        assert_eq!(drawn(&[&[1, 2], &[2], &[1, 3], &[]], &[0]), ["1!: 1 2"]);
        // A branch out of the inner loop to behind the outer one, and one back to the outer header.
        assert_eq!(drawn(&[&[1], &[2], &[2, 3, 5], &[4], &[1, 5], &[]], &[0]), ["1: 1 2 3 4", "-2: 2"]);
        // A second root that enters at the header leaves it a header.
        assert_eq!(drawn(&[&[1], &[2], &[1, 3], &[], &[1]], &[0, 4]), ["1: 1 2"]);
    }

    /// What dominates what, by taking nodes away: no cleverness that could share a fault with the code above.
    fn reachable(next: &[Vec<u32>], without: Option<usize>) -> Vec<bool> {
        let mut seen = vec![false; next.len()];
        let mut todo = vec![0_usize];
        while let Some(at) = todo.pop() {
            if Some(at) == without || std::mem::replace(&mut seen[at], true) {
                continue;
            }
            todo.extend(next[at].iter().map(|n| *n as usize));
        }
        seen
    }

    #[test]
    fn reducible_loops_are_the_natural_ones() {
        let mut state = 1_u64;
        let mut random = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % below as u64) as usize
        };
        let (mut reducible, mut loops) = (0, 0);
        for _ in 0..3000 {
            let n = 3 + random(9);
            let mut next: Vec<Vec<u32>> = (0..n).map(|i| if i + 1 < n { vec![i as u32 + 1] } else { Vec::new() }).collect();
            for _ in 0..random(7) {
                let (from, to) = (random(n), random(n));
                if to > 0 {
                    next[from].push(to as u32);
                }
            }
            let all = reachable(&next, None);
            let dominated: Vec<Vec<bool>> = (0..n).map(|d| reachable(&next, Some(d)).iter().map(|r| !r).collect()).collect();
            // Natural loops by the textbook: of each edge to a dominator, what reaches it without the header.
            let mut natural: std::collections::BTreeMap<usize, Vec<bool>> = std::collections::BTreeMap::new();
            for from in (0..n).filter(|f| all[*f]) {
                for to in next[from].iter().map(|t| *t as usize).filter(|to| dominated[*to][from]) {
                    let body = natural.entry(to).or_insert_with(|| vec![false; n]);
                    body[to] = true;
                    let mut todo = vec![from];
                    while let Some(at) = todo.pop() {
                        if !std::mem::replace(&mut body[at], true) {
                            todo.extend((0..n).filter(|p| all[*p] && next[*p].contains(&(at as u32))));
                        }
                    }
                }
            }
            let found = nest(&next, &[0]);
            if found.loops.iter().any(|l| l.irreducible) {
                continue;
            }
            reducible += 1;
            loops += natural.len();
            let mut ours: std::collections::BTreeMap<usize, Vec<bool>> = std::collections::BTreeMap::new();
            for (row, l) in found.loops.iter().enumerate() {
                let body = ours.entry(l.header as usize).or_insert_with(|| vec![false; n]);
                for (node, held) in body.iter_mut().enumerate() {
                    let mut at = found.of[node];
                    while let Some(l) = at {
                        *held |= l as usize == row;
                        at = found.loops[l as usize].parent;
                    }
                }
            }
            assert_eq!(ours, natural, "{next:?}");
        }
        assert!(reducible > 500 && loops > 500, "{reducible} graphs, {loops} loops");
    }
}
