//! The rows of a waterfall: one trace's spans in display order with what a viewer needs beside each.

use crate::base::ids::{SpanRow, TraceRow};
use crate::model::trace::{SPAN_ASYNC, SpanKind, TraceSet};

/// No row.
pub const NO_ROW: u32 = u32::MAX;

/// One trace in display order: a parent, then its children by start, each followed by its own. Columns run in parallel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceTree {
    /// Span of each row.
    pub span: Vec<SpanRow>,
    /// Distance from the root.
    pub depth: Vec<u32>,
    /// Row of the parent; [`NO_ROW`] for roots and orphans.
    pub parent: Vec<u32>,
    /// Row after the last descendant.
    pub end_row: Vec<u32>,
    /// Direct children.
    pub children: Vec<u32>,
    /// Time in no child that was waited for, nanoseconds (see [`self_time`]).
    pub self_ns: Vec<i64>,
}

/// Lays out a trace. Linear in its spans but for the order of overlapping children, which the table already holds.
pub fn trace_tree(set: &TraceSet, trace: TraceRow) -> TraceTree {
    let n = set.traces.spans(trace).len();
    let mut out = TraceTree {
        span: Vec::with_capacity(n),
        depth: Vec::with_capacity(n),
        parent: Vec::with_capacity(n),
        end_row: vec![0; n],
        children: Vec::with_capacity(n),
        self_ns: Vec::with_capacity(n),
    };
    let mut stack: Vec<(SpanRow, u32)> =
        set.traces.spans(trace).rev().filter(|s| set.spans.parent[s.index()].is_none()).map(|s| (s, NO_ROW)).collect();
    while let Some((span, parent)) = stack.pop() {
        let row = out.span.len() as u32;
        let children = set.children(span);
        out.span.push(span);
        out.depth.push(set.spans.depth[span.index()]);
        out.parent.push(parent);
        out.children.push(children.len() as u32);
        out.self_ns.push(self_time(set, span));
        stack.extend(children.iter().rev().map(|c| (*c, row)));
    }
    // A row's subtree ends where the last of its children's does; children come after their parents.
    for row in (0..out.span.len()).rev() {
        let end = out.end_row[row].max(row as u32 + 1);
        out.end_row[row] = end;
        if let Some(parent) = out.end_row.get_mut(out.parent[row] as usize) {
            *parent = (*parent).max(end);
        }
    }
    out
}

/// Self time: the span's interval without the union of its children's, in nanoseconds. Children are clipped to the span;
/// those that it does not wait for (messages, follows-from) take nothing away.
pub fn self_time(set: &TraceSet, span: SpanRow) -> i64 {
    let (from, to) = (set.spans.start_ns[span.index()], set.spans.end_ns(span));
    let mut covered_to = from;
    let mut covered = 0;
    // Children are in order of start.
    for &child in set.children(span) {
        if set.spans.has(child, SPAN_ASYNC) || (set.kind(span) == SpanKind::Producer && set.kind(child) == SpanKind::Consumer) {
            continue;
        }
        let a = set.spans.start_ns[child.index()].max(covered_to);
        let b = set.spans.end_ns(child).min(to);
        if b > a {
            covered += b - a;
            covered_to = b;
        }
    }
    to - from - covered
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::drawn::draw;

    #[test]
    fn rows_stand_as_they_are_read() {
        let drawn = draw(&[("a", "", 0, 100), ("b", "a", 10, 30), ("c", "b", 15, 10), ("d", "a", 30, 30), ("x", "missing", 5, 1)]);
        let tree = trace_tree(&drawn.set, TraceRow(0));
        let names: Vec<&str> = tree.span.iter().map(|s| drawn.set.name(&drawn.strings, *s)).collect();
        assert_eq!(names, ["a", "b", "c", "d", "x"]);
        assert_eq!(tree.depth, [0, 1, 2, 1, 0]);
        assert_eq!(tree.parent, [NO_ROW, 0, 1, 0, NO_ROW]);
        assert_eq!(tree.end_row, [4, 3, 3, 4, 5]);
        assert_eq!(tree.children, [2, 1, 0, 0, 0]);
        // b and d cover 10 to 60 of a.
        assert_eq!(tree.self_ns, [50, 20, 10, 30, 1]);
    }

    #[test]
    fn children_that_overhang_or_are_not_waited_for() {
        let drawn = draw(&[("a", "", 0, 100), ("b", "a", 90, 50), ("c follows", "a", 10, 20), ("d", "a", 200, 5), ("e", "a", -10, 20)]);
        assert_eq!(self_time(&drawn.set, drawn.span("a")), 80);
    }
}
