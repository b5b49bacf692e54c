//! Flame graphs and charts: columns and a viewport → the rectangles and labels that are visible.
//!
//! The page keeps the columns and one [`Rows`] index; every frame, hover and search works on these alone.

use super::label::fit;
use crate::base::hash::hash_bytes;
use crate::base::slabs::Texts;
use crate::base::work::step;

/// The columns of a picture, borrowed from the answer of the engine. Boxes are in preorder.
#[derive(Clone, Copy)]
pub struct Boxes<'a> {
    /// Parent box, always smaller; `u32::MAX` for the outermost.
    pub parent: &'a [u32],
    /// Row from the top.
    pub depth: &'a [u32],
    /// Position in `names`.
    pub name: &'a [u32],
    /// Left edge in units of the value.
    pub start: &'a [f64],
    /// Width in units of the value.
    pub total: &'a [f64],
    /// Function names.
    pub names: &'a Texts,
    /// Category per name.
    pub name_category: &'a [u8],
    /// Differential graphs: colour per box, in the place of its category; else empty.
    pub tint: &'a [u8],
}

/// What of the picture is on screen, and what is marked. Lengths are in CSS pixels.
#[derive(Clone, Copy)]
pub struct Viewport<'a> {
    /// Width of the canvas.
    pub width: f64,
    /// Height of the canvas.
    pub height: f64,
    /// Height of a row, with its gap.
    pub row_height: f64,
    /// Distance that the picture is scrolled up.
    pub scroll: f64,
    /// Zoom: the part of the x axis that is shown, in units of the value.
    pub window: (f64, f64),
    /// Approximate width of a character of the labels.
    pub char_width: f64,
    /// Root at the bottom ("flame") instead of at the top ("icicle").
    pub upward: bool,
    /// Box under the pointer.
    pub hovered: Option<u32>,
    /// Selected box; its ancestors are marked too.
    pub selected: Option<u32>,
    /// Result of a search, if any.
    pub matches: Option<&'a Matches>,
}

/// The rectangle matches the search.
pub const MATCH: u8 = 1;
/// The rectangle is the box under the pointer.
pub const HOVERED: u8 = 2;
/// The rectangle is the selected box.
pub const SELECTED: u8 = 4;
/// The rectangle is an ancestor of the selected box.
pub const ON_PATH: u8 = 8;
/// The rectangle stands for several boxes that are too narrow to draw.
pub const MERGED: u8 = 16;
/// The rectangle reaches beyond the zoom window on both sides: it is above what was zoomed to.
pub const ABOVE_ZOOM: u8 = 32;

/// One rectangle in CSS pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rect {
    /// Left edge, not left of 0.
    pub x: f32,
    /// Top edge.
    pub y: f32,
    /// Width.
    pub w: f32,
    /// Height.
    pub h: f32,
    /// The box; the first of several if [`MERGED`].
    pub node: u32,
    /// Category of its name; the box's own colour in differential graphs.
    pub category: u8,
    /// A number from 0 to 7 by its name, for shades of one hue.
    pub shade: u8,
    /// Marks.
    pub flags: u8,
}

/// A text inside a rectangle.
#[derive(Clone, Debug, PartialEq)]
pub struct Label {
    /// Left edge.
    pub x: f32,
    /// Middle of the row.
    pub y: f32,
    /// The text, shortened so that it fits.
    pub text: String,
}

/// All that is visible.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Picture {
    /// Rectangles, row by row.
    pub rects: Vec<Rect>,
    /// Labels.
    pub labels: Vec<Label>,
}

/// Boxes narrower than this many pixels are joined with their neighbours.
pub const NARROW: f64 = 0.5;
/// Space between a box's left edge and its label.
const PADDING: f64 = 3.0;

/// Boxes of each row from left to right: `nodes[start[row]..start[row + 1]]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    start: Vec<u32>,
    nodes: Vec<u32>,
}

impl Rows {
    /// Sorts boxes by row. Preorder keeps each row in order of the left edge.
    pub fn new(depth: &[u32]) -> Rows {
        let rows = depth.iter().map(|d| d + 1).max().unwrap_or(0) as usize;
        let mut start = vec![0_u32; rows + 1];
        for d in depth {
            start[*d as usize + 1] += 1;
        }
        for i in 0..rows {
            start[i + 1] += start[i];
        }
        let mut next = start.clone();
        let mut nodes = vec![0; depth.len()];
        for (node, d) in depth.iter().enumerate() {
            let at = &mut next[*d as usize];
            nodes[*at as usize] = node as u32;
            *at += 1;
        }
        Rows { start, nodes }
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.start.len().saturating_sub(1)
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn row(&self, row: usize) -> &[u32] {
        match (self.start.get(row), self.start.get(row + 1)) {
            (Some(&a), Some(&b)) => &self.nodes[a as usize..b as usize],
            _ => &[],
        }
    }
}

/// From values to pixels.
struct Scale {
    from: f64,
    per_unit: f64,
}

impl Scale {
    fn new(v: &Viewport<'_>) -> Scale {
        let span = v.window.1 - v.window.0;
        Scale { from: v.window.0, per_unit: if span > 0.0 { v.width / span } else { 0.0 } }
    }
    fn x(&self, value: f64) -> f64 {
        (value - self.from) * self.per_unit
    }
}

/// Top edge of a row on the canvas.
fn row_y(v: &Viewport<'_>, rows: usize, row: usize) -> f64 {
    let line = if v.upward { rows.saturating_sub(1 + row) } else { row };
    line as f64 * v.row_height - v.scroll
}

/// Draws what is visible.
pub fn draw(boxes: &Boxes<'_>, rows: &Rows, v: &Viewport<'_>) -> Picture {
    let mut out = Picture::default();
    let scale = Scale::new(v);
    let mut path = Vec::new();
    let mut at = v.selected.and_then(|s| boxes.parent.get(s as usize)).copied().unwrap_or(u32::MAX);
    while let Some(parent) = boxes.parent.get(at as usize) {
        path.push(at);
        at = *parent;
    }
    path.reverse();
    for row in 0..rows.len() {
        let y = row_y(v, rows.len(), row);
        if y + v.row_height <= 0.0 || y >= v.height {
            continue;
        }
        draw_row(boxes, visible(boxes, rows.row(row), v.window), &scale, v, y, &path, &mut out);
    }
    out
}

/// The boxes of a row that touch the window.
fn visible<'a>(boxes: &Boxes<'_>, row: &'a [u32], window: (f64, f64)) -> &'a [u32] {
    let first = row.partition_point(|n| boxes.start[*n as usize] <= window.0).saturating_sub(1);
    let end = row.partition_point(|n| boxes.start[*n as usize] < window.1);
    &row[first.min(end)..end]
}

fn draw_row(boxes: &Boxes<'_>, nodes: &[u32], scale: &Scale, v: &Viewport<'_>, y: f64, path: &[u32], out: &mut Picture) {
    // A run of narrow boxes: left edge, right edge, first box, marks.
    let mut run: Option<(f64, f64, u32, u8)> = None;
    let h = (v.row_height - 1.0).max(1.0);
    let flush = |run: &mut Option<(f64, f64, u32, u8)>, rects: &mut Vec<Rect>| {
        if let Some((left, right, node, flags)) = run.take() {
            let w = (right - left).max(NARROW);
            rects.push(rect(boxes, node, (left, y, w, h), flags));
        }
    };
    let mut next = 0;
    while let Some(&node) = nodes.get(next) {
        step(1);
        next += 1;
        let i = node as usize;
        let (left, right) = (scale.x(boxes.start[i]), scale.x(boxes.start[i] + boxes.total[i]));
        if right < 0.0 || left > v.width {
            continue;
        }
        let matched = v.matches.is_some_and(|m| m.has(node));
        let mut flags = if matched { MATCH } else { 0 };
        if right - left < NARROW {
            flags |= MERGED;
            // Of the boxes that begin within the same half pixel only the last can reach beyond it. The others need not be
            // looked at, unless a search wants to know whether they match: work is by pixels, not by boxes.
            if v.matches.is_none() {
                let until = boxes.start[i] + NARROW / scale.per_unit.max(f64::MIN_POSITIVE);
                let same = nodes[next..].partition_point(|n| boxes.start[*n as usize] < until);
                next += same.saturating_sub(1);
            }
            run = match run.take() {
                Some((from, to, first, marks)) if left - to < NARROW => Some((from, right.max(to), first, marks | flags)),
                mut other => {
                    flush(&mut other, &mut out.rects);
                    Some((left, right, node, flags))
                }
            };
            continue;
        }
        flush(&mut run, &mut out.rects);
        if v.hovered == Some(node) {
            flags |= HOVERED;
        }
        if v.selected == Some(node) {
            flags |= SELECTED;
        } else if path.binary_search(&node).is_ok() {
            flags |= ON_PATH;
        }
        let end = boxes.start[i] + boxes.total[i];
        if boxes.start[i] <= v.window.0 && end >= v.window.1 && end - boxes.start[i] > v.window.1 - v.window.0 {
            flags |= ABOVE_ZOOM;
        }
        let (x, to) = (left.max(0.0), right.min(v.width));
        // One pixel of background between neighbours, where there is room for it.
        let w = if to - x > 3.0 { to - x - 1.0 } else { to - x };
        out.rects.push(rect(boxes, node, (x, y, w, h), flags));
        let room = ((w - 2.0 * PADDING) / v.char_width).floor();
        if room >= 3.0
            && let Some(text) = fit(boxes.names.get(boxes.name[i]), room as usize)
        {
            out.labels.push(Label { x: (x + PADDING) as f32, y: (y + h / 2.0) as f32, text });
        }
    }
    flush(&mut run, &mut out.rects);
}

fn rect(boxes: &Boxes<'_>, node: u32, (x, y, w, h): (f64, f64, f64, f64), flags: u8) -> Rect {
    let name = boxes.name[node as usize];
    let shade = (hash_bytes(boxes.names.get(name).as_bytes()) % 8) as u8;
    let category = boxes.tint.get(node as usize).or_else(|| boxes.name_category.get(name as usize)).copied().unwrap_or(0);
    Rect { x: x as f32, y: y as f32, w: w as f32, h: h as f32, node, category, shade, flags }
}

/// The box at a point of the canvas. Where several boxes share a pixel, the widest of them within one pixel.
pub fn hit(boxes: &Boxes<'_>, rows: &Rows, v: &Viewport<'_>, x: f64, y: f64) -> Option<u32> {
    if x < 0.0 || x > v.width || y < 0.0 || y > v.height || v.row_height <= 0.0 {
        return None;
    }
    let line = ((y + v.scroll) / v.row_height).floor();
    if line < 0.0 || line >= rows.len() as f64 {
        return None;
    }
    let row = if v.upward { rows.len() - 1 - line as usize } else { line as usize };
    let scale = Scale::new(v);
    if scale.per_unit <= 0.0 {
        return None;
    }
    let value = v.window.0 + x / scale.per_unit;
    let near = NARROW / scale.per_unit;
    let mut best: Option<u32> = None;
    for &node in visible(boxes, rows.row(row), (value - near, value + near)) {
        let i = node as usize;
        let end = boxes.start[i] + boxes.total[i];
        if boxes.start[i] <= value && value < end && boxes.total[i] > near {
            return Some(node);
        }
        if end >= value - near && best.is_none_or(|b| boxes.total[i] > boxes.total[b as usize]) {
            best = Some(node);
        }
    }
    best
}

/// What a search found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matches {
    bits: Vec<u64>,
    /// Matching boxes.
    pub count: u32,
    /// Weight of the matching boxes; below a match nothing is counted again.
    pub weight: f64,
    /// `weight` as a share of the whole picture, 0 to 1.
    pub share: f64,
}

impl Matches {
    /// Whether a box matches.
    pub fn has(&self, node: u32) -> bool {
        self.bits.get(node as usize / 64).is_some_and(|word| word >> (node % 64) & 1 == 1)
    }
}

/// Boxes whose name contains a text. Case counts only if the text has capitals. An empty text gives `None`.
pub fn search(boxes: &Boxes<'_>, text: &str) -> Option<Matches> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    let any_case = !text.chars().any(char::is_uppercase);
    let matching: Vec<bool> = (0..boxes.names.len() as u32)
        .map(|n| {
            let name = boxes.names.get(n);
            if any_case { name.to_lowercase().contains(text) } else { name.contains(text) }
        })
        .collect();
    let n = boxes.parent.len();
    let mut out = Matches { bits: vec![0; n.div_ceil(64)], ..Matches::default() };
    let mut covered = vec![false; n];
    let mut whole = 0.0;
    step(n);
    for i in 0..n {
        let parent = boxes.parent[i];
        let above = parent != u32::MAX && covered[parent as usize];
        let own = matching.get(boxes.name[i] as usize).copied().unwrap_or(false);
        if own {
            out.bits[i / 64] |= 1 << (i % 64);
            out.count += 1;
            if !above {
                out.weight += boxes.total[i];
            }
        }
        covered[i] = above || own;
        if parent == u32::MAX {
            whole += boxes.total[i];
        }
    }
    out.share = if whole > 0.0 { out.weight / whole } else { 0.0 };
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Drawn {
        parent: Vec<u32>,
        depth: Vec<u32>,
        name: Vec<u32>,
        start: Vec<f64>,
        total: Vec<f64>,
        names: Texts,
    }

    impl Drawn {
        /// One box per word: `depth:name:start:total`, in preorder.
        fn new(text: &str) -> Drawn {
            let mut d = Drawn { parent: vec![], depth: vec![], name: vec![], start: vec![], total: vec![], names: Texts::default() };
            let mut open: Vec<u32> = Vec::new();
            for word in text.split_whitespace() {
                let part: Vec<&str> = word.split(':').collect();
                let depth: usize = part[0].parse().unwrap();
                open.truncate(depth);
                d.parent.push(open.last().copied().unwrap_or(u32::MAX));
                open.push(d.depth.len() as u32);
                d.depth.push(depth as u32);
                d.name.push(d.names.push(part[1]));
                d.start.push(part[2].parse().unwrap());
                d.total.push(part[3].parse().unwrap());
            }
            d
        }
        fn boxes(&self) -> Boxes<'_> {
            Boxes {
                parent: &self.parent,
                depth: &self.depth,
                name: &self.name,
                start: &self.start,
                total: &self.total,
                names: &self.names,
                name_category: &[0; 16],
                tint: &[],
            }
        }
    }

    fn view(window: (f64, f64)) -> Viewport<'static> {
        Viewport {
            width: 100.0,
            height: 60.0,
            row_height: 20.0,
            scroll: 0.0,
            window,
            char_width: 7.0,
            upward: false,
            hovered: None,
            selected: None,
            matches: None,
        }
    }

    const TEXT: &str = "0:main:0:1000 1:parse_all:0:600 2:tiny1:0:2 2:tiny2:2:2 2:next:500:100 1:write:600:400";

    #[test]
    fn only_what_is_visible_is_drawn_and_narrow_boxes_join() {
        let d = Drawn::new(TEXT);
        let (b, rows) = (d.boxes(), Rows::new(&d.depth));
        let p = draw(&b, &rows, &Viewport { selected: Some(4), hovered: Some(5), ..view((0.0, 1000.0)) });
        let shown: Vec<(f32, f32, f32, u32, u8)> = p.rects.iter().map(|r| (r.x, r.y, r.w, r.node, r.flags)).collect();
        assert_eq!(
            shown,
            [
                (0.0, 0.0, 99.0, 0, ON_PATH),
                (0.0, 20.0, 59.0, 1, ON_PATH),
                (60.0, 20.0, 39.0, 5, HOVERED),
                (0.0, 40.0, 0.5, 2, MERGED),
                (50.0, 40.0, 9.0, 4, SELECTED),
            ]
        );
        let labels: Vec<&str> = p.labels.iter().map(|l| l.text.as_str()).collect();
        assert_eq!(labels, ["main", "parse_…", "wri…"]);
        // Zoomed to `next`, only it and what is above it are there.
        let p = draw(&b, &rows, &view((500.0, 600.0)));
        let shown: Vec<(u32, u8)> = p.rects.iter().map(|r| (r.node, r.flags)).collect();
        assert_eq!(shown, [(0, ABOVE_ZOOM), (1, ABOVE_ZOOM), (4, 0)]);
        // Scrolled and turned over: the root is the lowest of three rows, of which two are on screen.
        let p = draw(&b, &rows, &Viewport { upward: true, scroll: 20.0, height: 40.0, ..view((0.0, 1000.0)) });
        assert_eq!(p.rects.iter().map(|r| r.y).fold(f32::MIN, f32::max), 20.0);
        assert!(p.rects.iter().all(|r| r.node != 4));
    }

    #[test]
    fn points_find_their_boxes() {
        let d = Drawn::new(TEXT);
        let (b, rows, v) = (d.boxes(), Rows::new(&d.depth), view((0.0, 1000.0)));
        assert_eq!(hit(&b, &rows, &v, 50.0, 5.0), Some(0));
        assert_eq!(hit(&b, &rows, &v, 59.9, 25.0), Some(1));
        assert_eq!(hit(&b, &rows, &v, 60.0, 25.0), Some(5));
        assert!(matches!(hit(&b, &rows, &v, 0.3, 45.0), Some(2 | 3)));
        assert_eq!(hit(&b, &rows, &v, 80.0, 45.0), None);
        assert_eq!(hit(&b, &rows, &v, 50.0, 65.0), None);
        assert_eq!(hit(&b, &rows, &Viewport { upward: true, ..v }, 50.0, 59.0), Some(0));
        assert_eq!(hit(&b, &Rows::new(&[]), &v, 1.0, 1.0), None);
    }

    #[test]
    fn a_search_counts_nested_matches_once() {
        let d = Drawn::new("0:a:0:100 1:fAb:0:60 2:b:0:60 1:c:60:30 2:b:60:10");
        let m = search(&d.boxes(), "b").unwrap();
        assert_eq!((m.count, m.weight, m.share), (3, 70.0, 0.7));
        assert!(m.has(1) && m.has(2) && m.has(4) && !m.has(0));
        assert_eq!(search(&d.boxes(), "Ab").unwrap().count, 1);
        assert_eq!(search(&d.boxes(), "fab").unwrap().count, 1);
        assert_eq!(search(&d.boxes(), " "), None);
        let p = draw(&d.boxes(), &Rows::new(&d.depth), &Viewport { matches: Some(&m), ..view((0.0, 100.0)) });
        assert_eq!(p.rects.iter().filter(|r| r.flags & MATCH != 0).count(), 3);
    }
}
