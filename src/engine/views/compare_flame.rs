//! The differential flame graph, for the page and as SVG.

use crate::base::slabs::Slabs;
use crate::engine::Engine;
use crate::engine::protocol::Failure;
use crate::engine::protocol::flame::{FlameData, FlameHead};
use crate::findings::compare::Comparison;
use crate::findings::compare_flame::{DiffBoxes, boxes};
use crate::findings::compare_profiles::ProfileComparison;
use crate::report::diff_svg;

/// The comparison and the pair with a profile of the candidate; the first pair for a profile without counterpart.
fn pair(c: &Comparison, profile: u32) -> Result<&ProfileComparison, Failure> {
    let named = c.profiles.iter().find(|p| p.profiles[1] == profile as usize);
    named.or(c.profiles.first()).ok_or_else(|| Failure::new("baseline and candidate have no profiles that measure the same"))
}

fn comparison(engine: &Engine) -> Result<&Comparison, Failure> {
    engine.comparison().ok_or_else(|| Failure::new("there is no baseline to compare with"))
}

/// The boxes with their colours.
///
/// # Errors
/// [`Failure`] without a baseline, or when nothing on both sides measures the same.
pub fn answer(engine: &Engine, profile: u32, baseline: bool, uncertain: bool) -> Result<Slabs, Failure> {
    let comparison = comparison(engine)?;
    let p = pair(comparison, profile)?;
    let d = boxes(p, usize::from(!baseline), engine.compare_limits());
    data(p, d, baseline, uncertain).encode()
}

/// The same with the candidate's widths as a picture.
///
/// # Errors
/// As for [`answer`].
pub fn svg(engine: &Engine, profile: u32) -> Result<String, Failure> {
    let comparison = comparison(engine)?;
    let p = pair(comparison, profile)?;
    let files = [&engine.baseline, &engine.session].map(|s| s.sources.iter().map(|s| s.file.as_str()).collect::<Vec<_>>().join(", "));
    Ok(diff_svg::svg(p, &boxes(p, 1, engine.compare_limits()), &format!("{} → {}", files[0], files[1])))
}

fn data(p: &ProfileComparison, d: DiffBoxes, baseline: bool, uncertain: bool) -> FlameData {
    let mut out = FlameData::default();
    let mut position = vec![u32::MAX; p.tree.names.len()];
    for row in &d.row {
        let name = p.tree.name[*row as usize];
        let slot = &mut position[name.index()];
        if *slot == u32::MAX {
            *slot = out.names.push(p.tree.names.get(name));
        }
        out.name.push(*slot);
    }
    let names = out.names.len();
    (out.name_module, out.name_file, out.name_category) = (vec![0; names], vec![0; names], vec![0; names]);
    out.places.push("");
    // What no child holds is the box's own.
    out.self_weight.clone_from(&d.width);
    for (i, parent) in d.parent.iter().enumerate() {
        if let Some(own) = out.self_weight.get_mut(*parent as usize) {
            *own = (*own - d.width[i]).max(0.0);
        }
    }
    out.tint = (0..d.row.len()).map(|i| if d.certain[i] || uncertain { diff_svg::tint(d.change[i]) } else { 0 }).collect();
    out.certain = d.certain.iter().map(|c| u8::from(*c)).collect();
    out.head = FlameHead {
        value: p.value_name.clone(),
        unit: if p.counted() { "events".to_string() } else { p.unit.clone() },
        total: p.events[usize::from(!baseline)] as f64,
        extent: d.extent,
        nodes: d.row.len() as u32,
        rows: d.depth.iter().map(|r| r + 1).max().unwrap_or(0),
        pruned: d.pruned,
        min_share: d.min_share,
        categories: vec![String::new()],
        sides: Some(p.events.map(|n| n as f64)),
        baseline_widths: baseline,
        ..FlameHead::default()
    };
    (out.parent, out.depth, out.start, out.total, out.other) = (d.parent, d.depth, d.start, d.width, d.other);
    out
}
