//! Flame graph and flame chart: all boxes at once, so that hover, zoom and search need no further message.

use super::Failure;
use crate::base::slabs::{Slab, Slabs, Texts};
use crate::base::work::step;
use serde::{Deserialize, Serialize};

/// Which picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FlameMode {
    /// Stacks merged by function, callers above callees, heaviest first.
    #[default]
    Merged,
    /// Functions in which samples end at the top, their callers below.
    Inverted,
    /// In order of time, one track per thread.
    Chart,
}

impl FlameMode {
    /// The word in the address bar (`m=`).
    pub fn word(self) -> &'static str {
        match self {
            FlameMode::Merged => "merged",
            FlameMode::Inverted => "inverted",
            FlameMode::Chart => "chart",
        }
    }
    /// The mode of a word; merged for an unknown one.
    pub fn parse(word: &str) -> FlameMode {
        [FlameMode::Inverted, FlameMode::Chart].into_iter().find(|m| m.word() == word).unwrap_or_default()
    }
}

/// What holds for the picture as a whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FlameHead {
    /// Which picture this is.
    pub mode: FlameMode,
    /// Value type; `time` for charts.
    pub value: String,
    /// Unit of all weights and positions: the value's; `nanoseconds` for charts.
    pub unit: String,
    /// Sum over all samples of the query in the value's unit; the length of the chart for charts.
    pub total: f64,
    /// Right edge of the picture. Differs from `total` where weights are negative or samples have no frames.
    pub extent: f64,
    /// Boxes.
    pub nodes: u32,
    /// Rows of the picture: one more than the largest depth.
    pub rows: u32,
    /// Weight of samples without frames, which are not in the picture.
    pub without_stack: f64,
    /// Boxes left out because more than half a million are too many for a page; those below them are not counted.
    pub pruned: u64,
    /// Weight of the boxes left out; it remains in the boxes they belong to.
    pub pruned_weight: f64,
    /// Smallest share of `extent` that a box may have; 0 if nothing was left out.
    pub min_share: f64,
    /// Threads of a chart from top to bottom; empty for graphs.
    pub tracks: Vec<TrackHead>,
    /// Time of position 0 of a chart on the profile's clock in nanoseconds, as text (64 bits); empty for graphs.
    pub origin_ns: String,
    /// Names of the categories: category `c` of a name is `categories[c]`, the first (`""`) is the program's own code.
    pub categories: Vec<String>,
    /// Differential graphs: events of baseline and candidate; `None` for others.
    #[serde(default)]
    pub sides: Option<[f64; 2]>,
    /// Differential graphs: whether the widths are those of the baseline.
    #[serde(default)]
    pub baseline_widths: bool,
}

/// One thread of a chart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackHead {
    /// Thread as the selectors name it; empty where the profile has no threads.
    pub name: String,
    /// Position of the thread in the profile, if it has threads.
    pub thread: Option<u32>,
    /// First row of its boxes; the row above is free for the name.
    pub first_row: u32,
    /// Rows of its boxes.
    pub rows: u32,
}

/// The answer to [`super::Request::Flame`]. Boxes are in preorder: a box's children follow it, from left to right.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FlameData {
    /// The picture as a whole.
    pub head: FlameHead,
    /// Parent box, always smaller; `u32::MAX` for the outermost.
    pub parent: Vec<u32>,
    /// Row from the top; in charts over all tracks.
    pub depth: Vec<u32>,
    /// Position in `names`.
    pub name: Vec<u32>,
    /// Left edge in `head.unit`.
    pub start: Vec<f64>,
    /// Width in `head.unit`: the total weight (its magnitude, in differences).
    pub total: Vec<f64>,
    /// Weight that ends in this box; in inverted graphs the weight of stacks that begin here.
    pub self_weight: Vec<f64>,
    /// Signed total weight, only for differences; else empty.
    pub signed: Vec<f64>,
    /// Function names; each once.
    pub names: Texts,
    /// Per name: position in `places` of its module.
    pub name_module: Vec<u32>,
    /// Per name: position in `places` of its source file.
    pub name_file: Vec<u32>,
    /// Per name: category, see [`FlameHead::categories`].
    pub name_category: Vec<u8>,
    /// Modules and files; position 0 is `""`.
    pub places: Texts,
    /// Differential graphs: events of the box on the side that does not give the widths; else empty.
    pub other: Vec<f64>,
    /// Differential graphs: colour of the box: 0 for none, 1 to 4 for less, 5 to 8 for more, the larger the change; else empty.
    pub tint: Vec<u8>,
    /// Differential graphs: 1 where the change is certain; else empty.
    pub certain: Vec<u8>,
}

impl FlameData {
    /// The message.
    ///
    /// # Errors
    /// Never in practice; a number in the head that JSON does not know would be one.
    pub fn encode(self) -> Result<Slabs, Failure> {
        let head = serde_json::to_string(&self.head).map_err(|e| Failure::new(e.to_string()))?;
        let [names_text, names_ends] = self.names.into_slabs();
        let [places_text, places_ends] = self.places.into_slabs();
        let slabs = vec![
            Slab::U32(self.parent),
            Slab::U32(self.depth),
            Slab::U32(self.name),
            Slab::F64(self.start),
            Slab::F64(self.total),
            Slab::F64(self.self_weight),
            Slab::F64(self.signed),
            names_text,
            names_ends,
            Slab::U32(self.name_module),
            Slab::U32(self.name_file),
            Slab::U8(self.name_category),
            places_text,
            places_ends,
            Slab::F64(self.other),
            Slab::U8(self.tint),
            Slab::U8(self.certain),
        ];
        Ok(Slabs { head, slabs })
    }

    /// Reads the message.
    ///
    /// # Errors
    /// [`Failure`] when the head is not that of a flame graph or columns have different lengths.
    pub fn decode(slabs: Slabs) -> Result<FlameData, Failure> {
        let head: FlameHead = serde_json::from_str(&slabs.head).map_err(|e| Failure::new(format!("not a flame graph: {e}")))?;
        let mut r = slabs.reader();
        let out = FlameData {
            head,
            parent: r.u32(),
            depth: r.u32(),
            name: r.u32(),
            start: r.f64(),
            total: r.f64(),
            self_weight: r.f64(),
            signed: r.f64(),
            names: r.texts(),
            name_module: r.u32(),
            name_file: r.u32(),
            name_category: r.u8(),
            places: r.texts(),
            other: r.f64(),
            tint: r.u8(),
            certain: r.u8(),
        };
        let n = out.head.nodes as usize;
        let diff = if out.head.sides.is_some() { n } else { 0 };
        if [out.other.len(), out.tint.len(), out.certain.len()].iter().any(|len| *len != diff) {
            return Err(Failure::new("a differential flame graph with columns of different lengths"));
        }
        let equal = [out.parent.len(), out.depth.len(), out.name.len(), out.start.len(), out.total.len(), out.self_weight.len()];
        if equal.iter().any(|len| *len != n) || out.name_category.len() != out.names.len() {
            return Err(Failure::new("a flame graph with columns of different lengths"));
        }
        Ok(out)
    }

    /// Name of a box.
    pub fn name_of(&self, node: u32) -> &str {
        self.name.get(node as usize).map_or("", |n| self.names.get(*n))
    }

    /// Differential graphs: events of a box and their share of all, of baseline and candidate.
    pub fn sides_of(&self, node: u32) -> Option<[(f64, f64); 2]> {
        let sides = self.head.sides?;
        let mut events = [*self.other.get(node as usize)?, *self.total.get(node as usize)?];
        if self.head.baseline_widths {
            events.reverse();
        }
        Some([0, 1].map(|s| (events[s], if sides[s] > 0.0 { events[s] / sides[s] } else { 0.0 })))
    }

    /// Module of a box; `""` if unknown.
    pub fn module_of(&self, node: u32) -> &str {
        let name = self.name.get(node as usize).copied().unwrap_or(u32::MAX) as usize;
        self.name_module.get(name).map_or("", |p| self.places.get(*p))
    }

    /// Source file of a box; `""` if unknown.
    pub fn file_of(&self, node: u32) -> &str {
        let name = self.name.get(node as usize).copied().unwrap_or(u32::MAX) as usize;
        self.name_file.get(name).map_or("", |p| self.places.get(*p))
    }

    /// First box after each box's subtree.
    pub fn subtree_ends(&self) -> Vec<u32> {
        let mut end: Vec<u32> = (1..=self.parent.len() as u32).collect();
        for i in (0..end.len()).rev() {
            if let Some(above) = end.get(self.parent[i] as usize).copied() {
                end[self.parent[i] as usize] = above.max(end[i]);
            }
        }
        end
    }

    /// Boxes directly below a box (or the outermost ones), widest first. `ends` are the [`FlameData::subtree_ends`]: work is
    /// proportional to the number of children, not of boxes.
    pub fn children(&self, ends: &[u32], of: Option<u32>) -> Vec<u32> {
        let (mut at, end) = match of {
            Some(n) => (n + 1, ends.get(n as usize).copied().unwrap_or(0)),
            None => (0, ends.len() as u32),
        };
        let mut out = Vec::new();
        while at < end {
            step(1);
            out.push(at);
            at = ends[at as usize];
        }
        out.sort_by(|a, b| self.total[*b as usize].total_cmp(&self.total[*a as usize]).then(a.cmp(b)));
        out
    }

    /// Call path of a box from the root, as [`crate::base::view::ViewRef::path`] holds it. In inverted graphs it begins
    /// with the function in which samples end.
    pub fn path_of(&self, node: u32) -> Vec<String> {
        let mut out = Vec::new();
        let mut at = node;
        while let Some(parent) = self.parent.get(at as usize) {
            out.push(self.name_of(at).to_string());
            at = *parent;
        }
        out.reverse();
        out
    }

    /// The box at the end of a call path: of several (in charts) the widest. `None` if the path does not occur.
    pub fn find_path(&self, path: &[String]) -> Option<u32> {
        // Depth of the match of each box: its ancestors equal the beginning of the path.
        let mut matched = vec![0_u32; self.parent.len()];
        let mut best: Option<u32> = None;
        for i in 0..self.parent.len() {
            let above = match self.parent[i] {
                u32::MAX => 0,
                p if matched[p as usize] == 0 => continue,
                p => matched[p as usize],
            };
            if path.get(above as usize).is_none_or(|name| name != self.name_of(i as u32)) {
                continue;
            }
            matched[i] = above + 1;
            if matched[i] as usize == path.len() && best.is_none_or(|b| self.total[i] > self.total[b as usize]) {
                best = Some(i as u32);
            }
        }
        best
    }
}
