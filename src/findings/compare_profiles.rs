//! Two profiles, function by function: which changes are certain, which only moved, and which paths explain them.
//!
//! Counts are events, never weights (PROFILES 4.1, 4.3): per function and side, its own and its total events of all active
//! ones. Each key with ten events or more is tested once; false discoveries are controlled over all of them.

use super::active::{Active, is_cpu};
use super::compare_paths::{Joined, PathTree, SIDES};
use crate::analysis::weights::{subtree, walk};
use crate::base::ids::{ProfileId, StringId};
use crate::base::significance::{discoveries, two_shares};
use crate::model::Session;
use crate::model::profile::{Profile, ValueKind};
use crate::model::symbols::FUNC_KERNEL;

/// Weights without counts have no known spread.
const NOT_COUNTED: &str = "The numbers are weights and not counts of samples, so the differences are shown and none is called certain.";

/// What became of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// No certain change.
    Same,
    /// A larger share, and not because another function's went there.
    Regressed,
    /// A smaller share.
    Improved,
    /// The share went to or came from a sibling: cost shifted (FBDetect, SOSP 2024).
    Moved,
    /// The share rose while the absolute rate did not: other work fell away.
    ShareOnly,
}

/// Limits of a comparison.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// False discovery rate.
    pub q: f64,
    /// Events of a key on both sides together, below which it is not tested.
    pub events: i64,
    /// Smallest change in percentage points.
    pub points: f64,
    /// Smallest relative change.
    pub relative: f64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { q: 0.05, events: 10, points: 0.005, relative: 0.1 }
    }
}

/// One function.
#[derive(Clone, Debug)]
pub struct Row {
    /// Name, in [`ProfileComparison::tree`].
    pub name: StringId,
    /// Own events per side.
    pub own: [i64; 2],
    /// Events with it anywhere on the stack, per side.
    pub total: [i64; 2],
    /// Own weight per side.
    pub own_weight: [i64; 2],
    /// Total weight per side.
    pub total_weight: [i64; 2],
    /// p-value of own and total.
    pub p: [f64; 2],
    /// Which of own and total is a discovery of sufficient size.
    pub certain: [bool; 2],
    /// The verdict on its own share.
    pub change: Change,
    /// The verdict on its total share.
    pub total_change: Change,
    /// Function from or to which its share moved.
    pub partner: StringId,
    kernel: bool,
}

impl Row {
    /// Change of the own share of all events, in parts of one.
    pub fn own_delta(&self, n: [i64; 2]) -> f64 {
        share(self.own[1], n[1]) - share(self.own[0], n[0])
    }
    /// Change of the total share.
    pub fn total_delta(&self, n: [i64; 2]) -> f64 {
        share(self.total[1], n[1]) - share(self.total[0], n[0])
    }
}

/// Part of a whole; 0 of nothing.
pub fn share(x: i64, n: i64) -> f64 {
    if n > 0 { x as f64 / n as f64 } else { 0.0 }
}

/// A pair of profiles.
pub struct ProfileComparison {
    /// Positions of the profiles, baseline and candidate.
    pub profiles: [usize; 2],
    /// Positions of the value type.
    pub value: [usize; 2],
    /// Value type's name and unit, of the candidate.
    pub value_name: String,
    /// Unit of weights.
    pub unit: String,
    /// Active events per side.
    pub events: [i64; 2],
    /// Weight of those.
    pub weight: [i64; 2],
    /// Length of the recordings, nanoseconds; 0 if unknown.
    pub duration_ns: [i64; 2],
    /// Functions, by falling magnitude of change.
    pub rows: Vec<Row>,
    /// Call paths of both sides.
    pub tree: PathTree,
    /// How many keys were tested.
    pub tested: usize,
    /// Why the sides may not be comparable, a sentence each.
    pub warnings: Vec<String>,
}

impl ProfileComparison {
    /// Whether both sides are counts of samples, so that changes can be certain.
    pub fn counted(&self) -> bool {
        !self.warnings.iter().any(|w| w == NOT_COUNTED)
    }

    /// By name of the tree, whether it is a function of the kernel.
    pub fn kernel_names(&self) -> Vec<bool> {
        let mut out = vec![false; self.tree.names.len()];
        for row in self.rows.iter().filter(|r| r.kernel) {
            out[row.name.index()] = true;
        }
        out
    }
}

/// The pairs of profiles of two sessions that measure the same: value by name, event by name, in order.
pub fn pairs(baseline: &Session, candidate: &Session) -> Vec<(usize, usize)> {
    let mut taken = vec![false; baseline.profiles.len()];
    let mut out = Vec::new();
    for (c, p) in candidate.profiles.iter().enumerate().filter(|(_, p)| p.slices.is_none()) {
        let fits = |b: &Profile| b.slices.is_none() && kind(b) == kind(p) && b.value_index(value_name(p)).is_some();
        let named = |exact: bool| baseline.profiles.iter().enumerate().find(|(i, b)| !taken[*i] && fits(b) && (!exact || b.name == p.name));
        if let Some((b, _)) = named(true).or_else(|| named(false)) {
            taken[b] = true;
            out.push((b, c));
        }
    }
    out
}

fn value_name(p: &Profile) -> &str {
    p.value_types.get(p.default_value).map_or("", |v| v.name.as_str())
}

fn kind(p: &Profile) -> Option<ValueKind> {
    p.value_types.get(p.default_value).map(|v| v.kind)
}

/// Compares a pair, by the candidate's default value.
pub fn compare(sessions: [&Session; 2], profiles: [usize; 2], limits: Limits) -> ProfileComparison {
    compare_active(&SIDES.map(|side| active_of(sessions[side], profiles[side])), limits)
}

/// The same for samples that are counted already.
pub fn compare_active(active: &[Active<'_>; 2], limits: Limits) -> ProfileComparison {
    let events = SIDES.map(|side| active[side].count);
    let mut out = ProfileComparison {
        profiles: SIDES.map(|side| active[side].id.index()),
        value: SIDES.map(|side| active[side].value),
        value_name: active[1].value_name().to_string(),
        unit: active[1].unit().to_string(),
        events,
        weight: SIDES.map(|side| active[side].weight),
        duration_ns: SIDES.map(|side| active[side].profile.duration_ns),
        rows: Vec::new(),
        tree: PathTree::new(),
        tested: 0,
        warnings: warnings(active),
    };
    for side in SIDES {
        add_side(&mut out, side, &active[side]);
    }
    out.tree.close();
    judge(&mut out, limits);
    out
}

/// The active samples of a CPU profile; of any other profile all samples, with their weights in the place of counts.
fn active_of(session: &Session, profile: usize) -> Active<'_> {
    let (id, p) = (ProfileId::from_index(profile), &session.profiles[profile]);
    if is_cpu(p) {
        return Active::new(session, id, p);
    }
    let mut active = Active::weighted(session, id, p, p.default_value);
    for a in &mut active.stacks {
        a.count = a.value;
    }
    active.count = active.stacks.iter().fold(0, |sum, a| sum.saturating_add(a.value));
    active.weight = active.count;
    active.counted = false;
    active
}

fn warnings(active: &[Active<'_>; 2]) -> Vec<String> {
    let [b, c] = active;
    let mut out = Vec::new();
    if b.profile.name != c.profile.name {
        out.push(format!("The events differ: \u{201c}{}\u{201d} and \u{201c}{}\u{201d}.", b.profile.name, c.profile.name));
    }
    if b.unit() != c.unit() {
        out.push(format!("The units differ: {} and {}; shares can be compared, amounts cannot.", b.unit(), c.unit()));
    }
    let (d1, d2) = (b.profile.duration_ns, c.profile.duration_ns);
    if d1 > 0 && d2 > 0 && d1.max(d2) as f64 > 1.5 * d1.min(d2) as f64 {
        out.push(
            "One recording is more than one and a half times as long as the other; shares can be compared, amounts cannot.".to_string(),
        );
    }
    if !b.counted || !c.counted {
        out.push(NOT_COUNTED.to_string());
        return out;
    }
    let few = b.count.min(c.count);
    if few < 1000 {
        out.push(format!(
            "One side has {few} active samples; below 1,000 only changes of several percentage points can be told from chance."
        ));
    }
    if b.runtime_names() != c.runtime_names() {
        out.push("The two sides were made by different language runtimes.".to_string());
    }
    out
}

fn add_side(out: &mut ProfileComparison, side: usize, active: &Active<'_>) {
    let session = active.session;
    let s = &session.symbols;
    let n = s.stacks.len();
    let (mut count, mut weight, mut used) = (vec![0_i64; n], vec![0_i64; n], vec![false; n]);
    for a in &active.stacks {
        let i = a.stack.index();
        count[i] = count[i].saturating_add(a.count);
        weight[i] = weight[i].saturating_add(a.value);
        used[i] = true;
    }
    for row in (0..n).rev() {
        if used[row]
            && let Some(above) = s.stacks.prefix[row].get()
        {
            used[above.index()] = true;
        }
    }
    let mut joined = Joined::new(&session.strings);
    let mut node = vec![0_u32; n];
    for row in (0..n).filter(|row| used[*row]) {
        let func = s.funcs.canonical[s.frames.func[s.stacks.frame[row].index()].index()];
        let name = joined.id(&mut out.tree.names, s.funcs.name[func.index()]);
        let above = s.stacks.prefix[row].get().map_or(0, |p| node[p.index()]);
        node[row] = out.tree.child(above, name);
        out.tree.add(side, node[row], count[row], weight[row]);
        row_of(out, name).kernel |= s.funcs.flags[func.index()] & FUNC_KERNEL != 0;
    }
    let (total_count, total_weight) = (subtree(&s.stacks, &count), subtree(&s.stacks, &weight));
    let name_of = |row: usize, tree: &PathTree| tree.name[node[row] as usize].index();
    let mut on_path = vec![0_u32; out.rows.len()];
    let (rows, tree) = (&mut out.rows, &out.tree);
    walk(&s.stacks, &used, |row, down| {
        let at = name_of(row, tree);
        if !down {
            on_path[at] -= 1;
            return;
        }
        let r = &mut rows[at];
        if on_path[at] == 0 {
            r.total[side] = r.total[side].saturating_add(total_count[row]);
            r.total_weight[side] = r.total_weight[side].saturating_add(total_weight[row]);
        }
        r.own[side] = r.own[side].saturating_add(count[row]);
        r.own_weight[side] = r.own_weight[side].saturating_add(weight[row]);
        on_path[at] += 1;
    });
}

/// The row of a name; rows are in the order of the tree's names.
fn row_of(out: &mut ProfileComparison, name: StringId) -> &mut Row {
    while out.rows.len() <= name.index() {
        out.rows.push(Row {
            name: StringId::from_index(out.rows.len()),
            own: [0; 2],
            total: [0; 2],
            own_weight: [0; 2],
            total_weight: [0; 2],
            p: [1.0; 2],
            certain: [false; 2],
            change: Change::Same,
            total_change: Change::Same,
            partner: StringId::NONE,
            kernel: false,
        });
    }
    &mut out.rows[name.index()]
}

fn judge(out: &mut ProfileComparison, limits: Limits) {
    let n = out.events;
    let counted = out.counted();
    let mut keys: Vec<(usize, usize)> = Vec::new();
    let mut p = Vec::new();
    for (i, row) in out.rows.iter_mut().enumerate().filter(|_| counted) {
        for (k, x) in [row.own, row.total].into_iter().enumerate() {
            // A function whose own and total are the same asks one question, not two.
            if x[0] + x[1] < limits.events || (k == 1 && row.own == row.total) {
                continue;
            }
            // Kernel frames vary more from run to run than sampling alone explains (PROFILES 4.3).
            let spread = if row.kernel { 2.0 } else { 1.0 };
            row.p[k] = two_shares(x[0] as u64, n[0] as u64, x[1] as u64, n[1] as u64, spread);
            keys.push((i, k));
            p.push(row.p[k]);
        }
    }
    out.tested = keys.len();
    for ((i, k), found) in keys.into_iter().zip(discoveries(&p, limits.q)) {
        let row = &mut out.rows[i];
        let delta = if k == 0 { row.own_delta(n) } else { row.total_delta(n) };
        let before = share([row.own, row.total][k][0], n[0]);
        row.certain[k] = found && delta.abs() >= limits.points && delta.abs() >= limits.relative * before;
    }
    for i in 0..out.rows.len() {
        let row = &mut out.rows[i];
        if row.own == row.total {
            row.certain[1] = row.certain[0];
            row.p[1] = row.p[0];
        }
        let verdict = |certain: bool, delta: f64| match certain {
            false => Change::Same,
            true if delta > 0.0 => Change::Regressed,
            true => Change::Improved,
        };
        row.change = verdict(row.certain[0], row.own_delta(n));
        row.total_change = verdict(row.certain[1], row.total_delta(n));
    }
    share_only(out);
    moved(out, limits);
    out.rows.retain(|r| r.total != [0; 2]);
    let names = &out.tree.names;
    let size = |r: &Row| r.total_delta(n).abs().max(r.own_delta(n).abs());
    out.rows.sort_by(|a, b| size(b).total_cmp(&size(a)).then_with(|| names.get(a.name).cmp(names.get(b.name))));
}

/// Where both lengths are known, a share that rose while the events per second did not is nobody's regression.
fn share_only(out: &mut ProfileComparison) {
    let [t1, t2] = out.duration_ns;
    if t1 <= 0 || t2 <= 0 {
        return;
    }
    for row in &mut out.rows {
        for (x, change) in [(row.own, &mut row.change), (row.total, &mut row.total_change)] {
            let rate = x[1] as f64 / t2 as f64 - x[0] as f64 / t1 as f64;
            if *change == Change::Regressed && rate <= 0.0 {
                *change = Change::ShareOnly;
            }
        }
    }
}

/// Cost that went from one function to a sibling under the same caller: the rise of one is the fall of the other, and the
/// fall is more than what the rise of the first dilutes.
fn moved(out: &mut ProfileComparison, limits: Limits) {
    let n = out.events;
    let variance = |x: [i64; 2]| SIDES.map(|s| share(x[s], n[s]) * (1.0 - share(x[s], n[s])) / n[s].max(1) as f64).iter().sum::<f64>();
    // The caller under which a function changed most.
    let mut caller: Vec<(f64, u32)> = vec![(0.0, u32::MAX); out.rows.len()];
    let tree = &out.tree;
    for row in 1..tree.len() {
        let name = tree.name[row].index();
        let delta = share(tree.count[1][row], n[1]) - share(tree.count[0][row], n[0]);
        if name < caller.len() && delta.abs() > caller[name].0.abs() {
            caller[name] = (delta, tree.parent[row]);
        }
    }
    let rising: Vec<usize> = (0..out.rows.len()).filter(|i| out.rows[*i].change == Change::Regressed).collect();
    let falling: Vec<usize> = (0..out.rows.len()).filter(|i| out.rows[*i].change == Change::Improved).collect();
    for up in rising {
        let (a, d) = (&out.rows[up], out.rows[up].own_delta(n));
        let partner = falling.iter().copied().find(|down| {
            let b = &out.rows[*down];
            let e = b.own_delta(n);
            let near = (d + e).abs() <= 1.96 * (variance(a.own) + variance(b.own)).sqrt();
            // Among the events outside the risen function the fallen one must have fallen too.
            let rest = SIDES.map(|s| n[s] - a.own[s]);
            let fell = two_shares(b.own[0] as u64, rest[0].max(0) as u64, b.own[1] as u64, rest[1].max(0) as u64, 1.0) < limits.q
                && share(b.own[1], rest[1]) < share(b.own[0], rest[0]);
            near && fell && caller[up].1 != u32::MAX && caller[up].1 == caller[*down].1 && b.partner.is_none()
        });
        if let Some(down) = partner {
            let names = [out.rows[up].name, out.rows[down].name];
            for (i, other) in [(up, names[1]), (down, names[0])] {
                out.rows[i].partner = other;
                out.rows[i].change = Change::Moved;
                if out.rows[i].own == out.rows[i].total {
                    out.rows[i].total_change = Change::Moved;
                }
            }
        }
    }
}

/// The smallest call path that explains the change of a function's share.
pub fn explaining_path(c: &ProfileComparison, name: StringId) -> Vec<String> {
    let n = c.events;
    // Of nested occurrences only the outermost counts, so that recursion is not explained twice.
    let mut inside = vec![false; c.tree.len()];
    for row in 1..c.tree.len() {
        let above = c.tree.parent[row] as usize;
        inside[row] = inside[above] || (above != 0 && c.tree.name[above] == name);
    }
    let row = c.tree.explain(|row| match row != 0 && c.tree.name[row] == name && !inside[row] {
        true => share(c.tree.count[1][row], n[1]) - share(c.tree.count[0][row], n[0]),
        false => 0.0,
    });
    c.tree.path(row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::drawn_stacks::drawn;

    fn changes(baseline: &str, candidate: &str) -> Vec<String> {
        let (b, c) = (drawn(baseline), drawn(candidate));
        let out = compare([&b, &c], [0, 0], Limits::default());
        let changed = out.rows.iter().filter(|r| r.change != Change::Same);
        changed.map(|r| format!("{} {:?}", out.tree.names.get(r.name), r.change)).collect()
    }

    #[test]
    fn the_same_is_the_same() {
        let text = "main;a 400\nmain;b 300\nmain;c 300";
        assert_eq!(changes(text, text), Vec::<String>::new());
        assert_eq!(changes(text, "main;a 410\nmain;b 295\nmain;c 295"), Vec::<String>::new());
    }

    #[test]
    fn a_rise_dilutes_the_others_and_accuses_only_itself() {
        let out = changes("main;a 400\nmain;b 300\nmain;c 300", "main;a 1000\nmain;b 300\nmain;c 300");
        assert!(out.contains(&"a Regressed".to_string()), "{out:?}");
        assert!(!out.iter().any(|c| c.contains("Moved")), "{out:?}");
    }

    #[test]
    fn what_moved_is_no_regression() {
        let out = changes("main;s;a 400\nmain;s;b 300\nmain;c 1300", "main;s;a 100\nmain;s;b 600\nmain;c 1300");
        assert_eq!(out, ["a Moved", "b Moved"]);
    }

    #[test]
    fn a_rise_is_explained_by_its_path() {
        let (b, c) = (drawn("main;x;f 50\nmain;y;f 50\nmain;o 900"), drawn("main;x;f 50\nmain;y;f 250\nmain;o 900"));
        let out = compare([&b, &c], [0, 0], Limits::default());
        let f = out.tree.names.find("f").unwrap();
        assert_eq!(explaining_path(&out, f), ["main", "y", "f"]);
    }
}
