//! Equal siblings of a waterfall: many calls of one operation by one caller, told as one row until someone opens it.

/// Fewer equal siblings stay rows of their own.
const FEWEST: usize = 5;

/// The columns of a trace in display order, parents before children.
#[derive(Clone, Copy)]
pub struct Spans<'a> {
    /// Row of the parent; `u32::MAX` for roots and orphans.
    pub parent: &'a [u32],
    /// Row after the last descendant.
    pub end_row: &'a [u32],
    /// Service, as an index of names.
    pub service: &'a [u32],
    /// Operation, as an index of names.
    pub operation: &'a [u32],
    /// Begin in nanoseconds.
    pub start: &'a [f64],
    /// Length in nanoseconds.
    pub duration: &'a [f64],
}

/// Equal siblings.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Their rows, in display order.
    pub rows: Vec<u32>,
    /// The shortest, in nanoseconds.
    pub least: f64,
    /// The mean.
    pub mean: f64,
    /// The longest.
    pub most: f64,
    /// The time in which at least one of them runs.
    pub union: f64,
}

/// All groups of a trace, by their first rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Groups {
    /// The groups.
    pub list: Vec<Group>,
    /// Group of each row; `u32::MAX` for none.
    of: Vec<u32>,
}

/// A line of the waterfall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// A span, by row.
    Span(u32),
    /// The heading of a group.
    Group(u32),
}

impl Groups {
    /// Finds them: n log n for n spans.
    pub fn find(spans: Spans<'_>) -> Groups {
        let key = |r: &u32| (spans.parent[*r as usize], spans.service[*r as usize], spans.operation[*r as usize]);
        let mut rows: Vec<u32> = (0..spans.parent.len() as u32).filter(|r| spans.parent[*r as usize] != u32::MAX).collect();
        rows.sort_by_key(|r| (key(r), *r));
        let mut list: Vec<Group> =
            rows.chunk_by(|a, b| key(a) == key(b)).filter(|rows| rows.len() >= FEWEST).map(|rows| group(spans, rows)).collect();
        list.sort_by_key(|g| g.rows.first().copied());
        let mut of = vec![u32::MAX; spans.parent.len()];
        for (i, g) in list.iter().enumerate() {
            for row in &g.rows {
                of[*row as usize] = i as u32;
            }
        }
        Groups { list, of }
    }

    /// The group of a row.
    pub fn of(&self, row: u32) -> Option<u32> {
        self.of.get(row as usize).copied().filter(|g| *g != u32::MAX)
    }

    /// The lines on screen. A closed group is its heading alone, at the place of its first row; an open one keeps its rows at
    /// their places.
    pub fn lines(&self, end_row: &[u32], collapsed: &[bool], open: impl Fn(u32) -> bool) -> Vec<Line> {
        let mut out = Vec::with_capacity(end_row.len());
        let mut row = 0_u32;
        while (row as usize) < end_row.len() {
            let end = end_row[row as usize].max(row + 1);
            if let Some(g) = self.of(row) {
                if self.list[g as usize].rows.first() == Some(&row) {
                    out.push(Line::Group(g));
                }
                if !open(g) {
                    row = end;
                    continue;
                }
            }
            out.push(Line::Span(row));
            row = if collapsed.get(row as usize).copied().unwrap_or(false) { end } else { row + 1 };
        }
        out
    }
}

fn group(spans: Spans<'_>, rows: &[u32]) -> Group {
    let length = |r: &u32| spans.duration[*r as usize];
    let mut times: Vec<(f64, f64)> = rows.iter().map(|r| (spans.start[*r as usize], spans.start[*r as usize] + length(r))).collect();
    times.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (union, _) =
        times.iter().fold((0.0, f64::NEG_INFINITY), |(sum, until), (from, to)| (sum + (to - from.max(until)).max(0.0), to.max(until)));
    Group {
        least: rows.iter().map(length).fold(f64::INFINITY, f64::min),
        mean: rows.iter().map(length).sum::<f64>() / rows.len() as f64,
        most: rows.iter().map(length).fold(0.0, f64::max),
        union,
        rows: rows.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_siblings_are_one_line_until_it_is_opened() {
        // A root that calls `b` six times, the second and third at once, with a `c` between and one `d` below the first `b`.
        let parent = [u32::MAX, 0, 1, 0, 0, 0, 0, 0, 0];
        let end_row = [9, 3, 3, 4, 5, 6, 7, 8, 9];
        let spans = Spans {
            parent: &parent,
            end_row: &end_row,
            service: &[0; 9],
            operation: &[0, 1, 3, 1, 1, 2, 1, 1, 1],
            start: &[0.0, 0.0, 2.0, 10.0, 12.0, 30.0, 40.0, 50.0, 60.0],
            duration: &[100.0, 10.0, 5.0, 10.0, 10.0, 5.0, 8.0, 6.0, 4.0],
        };
        let groups = Groups::find(spans);
        let [g] = groups.list.as_slice() else { panic!("{:?}", groups.list) };
        assert_eq!(g.rows, [1, 3, 4, 6, 7, 8]);
        // 0 to 10, 10 to 22, then 8, 6 and 4.
        assert_eq!((g.least, g.mean, g.most, g.union), (4.0, 8.0, 10.0, 40.0));
        let closed = groups.lines(&end_row, &[], |_| false);
        assert_eq!(closed, [Line::Span(0), Line::Group(0), Line::Span(5)]);
        let open = groups.lines(&end_row, &[], |_| true);
        assert_eq!(open.len(), 10);
        assert_eq!(open[1..4], [Line::Group(0), Line::Span(1), Line::Span(2)]);
        // What is collapsed hides what is below it, in an open group as well.
        let collapsed: Vec<bool> = (0..9).map(|i| i == 1).collect();
        assert_eq!(groups.lines(&end_row, &collapsed, |_| true).len(), 9);
    }

    #[test]
    fn four_are_no_group() {
        let parent = [u32::MAX, 0, 0, 0, 0];
        let spans = Spans {
            parent: &parent,
            end_row: &[5, 2, 3, 4, 5],
            service: &[0; 5],
            operation: &[0; 5],
            start: &[0.0; 5],
            duration: &[1.0; 5],
        };
        let groups = Groups::find(spans);
        assert!(groups.list.is_empty());
        assert_eq!(groups.lines(spans.end_row, &[], |_| false).len(), 5);
    }
}
