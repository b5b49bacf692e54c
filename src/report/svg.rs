//! A flame graph as SVG, drawn by inferno from folded stacks.

use super::folded::folded;
use crate::base::ids::ThreadId;
use crate::model::Session;

/// The merged flame graph of a profile. The SVG is self-contained and interactive (search and zoom by its own script).
///
/// # Errors
/// A sentence when there is nothing to draw or inferno refuses the input.
pub fn flame_graph(session: &Session, profile: usize, value: usize, thread: Option<ThreadId>) -> Result<String, String> {
    let p = session.profiles.get(profile).ok_or("there is no such profile")?;
    let value_type = p.value_types.get(value).ok_or("the profile has no such value type")?;
    let folded = folded(session, profile, value, thread);
    let mut options = inferno::flamegraph::Options::default();
    options.title = match session.sources.get(p.source.index()) {
        Some(source) if p.name.is_empty() => source.file.clone(),
        Some(source) => format!("{} · {}", source.file, p.name),
        None => p.name.clone(),
    };
    options.count_name = if value_type.unit == "count" { value_type.name.clone() } else { value_type.unit.clone() };
    options.direction = inferno::flamegraph::Direction::Inverted;
    options.deterministic = true;
    // inferno draws weights as widths: a negative one has none.
    let lines: Vec<&str> = folded.text.lines().filter(|line| !line.rsplit(' ').next().is_some_and(|w| w.starts_with('-'))).collect();
    if lines.is_empty() {
        return Err(format!("no sample of {} has a positive weight, so there is nothing to draw", value_type.name));
    }
    let mut out = Vec::new();
    inferno::flamegraph::from_lines(&mut options, lines, &mut out).map_err(|e| e.to_string())?;
    String::from_utf8(out).map_err(|e| e.to_string())
}
