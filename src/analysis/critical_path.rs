//! Critical path: the sections of time that decided when a root ended.
//!
//! The sections partition the root's interval exactly (the form of Jaeger's critical path), with two repairs from CRISP:
//! siblings that touch follow one another, and an overlap below 1 % of the parent counts as touching (TRACES 4.4).

use super::clipped::{Clipped, Part};
use crate::base::ids::SpanRow;
use crate::base::work::step;
use crate::model::trace::TraceSet;

/// A stretch of the critical path: between `from` and `to` the root waited for `span` itself and none of its children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section {
    /// The span at work.
    pub span: SpanRow,
    /// Begin, nanoseconds since 1970, on the clipped time line (see [`Clipped::shift`]).
    pub from: i64,
    /// End, nanoseconds since 1970.
    pub to: i64,
}

/// The critical path of one root, earliest section first; adjacent sections of one span are merged.
/// The lengths add up to the root's duration; a root without duration has no sections.
pub fn critical_path(set: &TraceSet, clipped: &Clipped, root: SpanRow) -> Vec<Section> {
    let mut sections = Vec::new();
    let mut todo = vec![(root, clipped.start(root), clipped.end(root))];
    let mut children: Vec<SpanRow> = Vec::new();
    while let Some((span, low, high)) = todo.pop() {
        children.clear();
        children.extend(set.children(span).iter().filter(|c| clipped.part(**c) != Part::Out));
        children.sort_by_key(|&c| (std::cmp::Reverse(clipped.end(c)), std::cmp::Reverse(clipped.start(c)), c));
        let tolerance = clipped.duration(span) / 100;
        let mut now = high;
        let mut previous: Option<SpanRow> = None;
        step(children.len() + 1);
        for &child in &children {
            let from = clipped.start(child).max(low);
            let mut to = clipped.end(child);
            if from >= now {
                continue;
            }
            match previous {
                None => to = to.min(now),
                Some(_) if to <= now => {}
                Some(p) if to - now < tolerance && clipped.start(child) < clipped.start(p) && clipped.end(child) < clipped.end(p) => {
                    to = now
                }
                // Concurrent with the sibling that was waited for: its end did not matter.
                Some(_) => continue,
            }
            if to <= from {
                continue;
            }
            if to < now {
                sections.push(Section { span, from: to, to: now });
            }
            todo.push((child, from, to));
            now = from;
            previous = Some(child);
        }
        if now > low {
            sections.push(Section { span, from: low, to: now });
        }
    }
    sections.sort_by_key(|s| (s.from, s.to));
    sections.dedup_by(|next, kept| {
        let same = next.span == kept.span && next.from == kept.to;
        if same {
            kept.to = next.to;
        }
        same
    });
    sections
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::drawn::{Drawn, draw};
    use crate::base::ids::TraceRow;

    /// Sections as `name[from,to]`, latest first, as the published cases print them.
    fn path(spans: &[(&str, &str, i64, i64)]) -> String {
        path_of(&draw(spans))
    }

    fn path_of(drawn: &Drawn) -> String {
        let clipped = Clipped::of(&drawn.set, TraceRow(0));
        let root = drawn.set.traces.root[0];
        let sections = critical_path(&drawn.set, &clipped, root);
        assert_eq!(sections.iter().map(|s| s.to - s.from).sum::<i64>(), drawn.set.spans.duration_ns[root.index()]);
        assert!(sections.windows(2).all(|w| w[0].to == w[1].from), "the sections must follow one another");
        let text: Vec<String> =
            sections.iter().rev().map(|s| format!("{}[{},{}]", drawn.set.name(&drawn.strings, s.span), s.from, s.to)).collect();
        text.join(" ")
    }

    #[test]
    fn the_nine_cases_of_jaeger() {
        type Spans = &'static [(&'static str, &'static str, i64, i64)];
        let cases: [(Spans, &str); 7] = [
            (&[("C", "", 1, 100), ("D", "C", 20, 20), ("E", "C", 50, 10)], "C[60,101] E[50,60] C[40,50] D[20,40] C[1,20]"),
            (&[("X", "", 1, 100), ("A", "X", 10, 40), ("C", "X", 20, 40)], "X[60,101] C[20,60] X[1,20]"),
            (&[("A", "", 100, 40), ("B", "A", 150, 10)], "A[100,140]"),
            (&[("A", "", 1, 30), ("B", "A", 40, 40), ("C", "B", 50, 10)], "A[1,31]"),
            (&[("A", "", 1, 29), ("B", "A", 15, 20), ("C", "B", 10, 15)], "B[25,30] C[15,25] A[1,15]"),
            (&[("A", "", 1, 29), ("B", "A", 15, 20), ("C", "B", 20, 20)], "C[20,30] B[15,20] A[1,15]"),
            (&[("A", "", 10, 20), ("B", "A", 5, 30)], "B[10,30]"),
        ];
        for (spans, expected) in cases {
            assert_eq!(path(spans), expected, "{spans:?}");
        }
        assert_eq!(path(&[("A", "", 10, 20), ("B", "A", 1, 4)]), "A[10,30]");
        // Case 5: a consumer follows from its producer, and one more child of the consumer.
        let messaging = draw(&[("A producer", "", 1, 30), ("B consumer", "A producer", 10, 10), ("C", "B consumer", 12, 2)]);
        assert_eq!(path_of(&messaging), "A producer[1,31]");
    }

    #[test]
    fn touching_siblings_follow_one_another() {
        // Jaeger gives the first half to the parent (jaeger issue 9148).
        assert_eq!(path(&[("R", "", 0, 100), ("A", "R", 0, 50), ("B", "R", 50, 50)]), "B[50,100] A[0,50]");
    }

    #[test]
    fn a_small_overlap_is_tolerated() {
        // CRISP fixture 10: O2 and O3, O3 and O4 overlap by 1 of 1000.
        let spans = [("O1", "", 0, 1000), ("O2", "O1", 10, 200), ("O3", "O1", 209, 100), ("O4", "O1", 308, 300)];
        assert_eq!(path(&spans), "O1[608,1000] O4[308,608] O3[209,308] O2[10,209] O1[0,10]");
    }

    #[test]
    fn a_server_with_another_clock_is_moved_into_its_client() {
        let spans = [("R", "", 0, 100), ("a client", "R", 10, 80), ("b server", "a client", 1010, 60)];
        let text = path(&spans);
        assert_eq!(text, "R[90,100] b server[30,90] a client[10,30] R[0,10]");
    }

    #[test]
    fn a_chain_of_fifty_thousand_is_no_recursion() {
        let names: Vec<String> = (0..50_000).map(|i| format!("s{i}")).collect();
        let spans: Vec<(&str, &str, i64, i64)> = names
            .iter()
            .enumerate()
            .map(|(i, n)| (n.as_str(), if i == 0 { "" } else { names[i - 1].as_str() }, i as i64, 100_000))
            .collect();
        let drawn = draw(&spans);
        let clipped = Clipped::of(&drawn.set, TraceRow(0));
        assert_eq!(critical_path(&drawn.set, &clipped, SpanRow(0)).len(), 50_000);
    }
}
