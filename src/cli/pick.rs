//! Which profile and value type a command means.

use super::Stop;
use crate::model::Session;

/// The profile and value type to show: the first profile that has a value of this name, or the first profile's default.
pub fn pick(session: &Session, value: Option<&str>) -> Result<(usize, usize), Stop> {
    if session.profiles.is_empty() {
        return Err(Stop::Usage("the file holds no profile; for traces use `hotspan traces`".to_string()));
    }
    let Some(name) = value else { return Ok((0, session.profiles[0].default_value)) };
    // `EVENT:VALUE` names one of several events of a perf script.
    let found = session.profiles.iter().enumerate().find_map(|(i, p)| {
        let own = p
            .value_index(name)
            .or_else(|| name.strip_prefix(&p.name).and_then(|rest| rest.strip_prefix(':')).and_then(|rest| p.value_index(rest)));
        own.or_else(|| (!p.name.is_empty() && p.name == name).then_some(p.default_value)).map(|value| (i, value))
    });
    found.ok_or_else(|| {
        let mut names: Vec<String> = Vec::new();
        for p in &session.profiles {
            for v in &p.value_types {
                let full = if session.profiles.len() > 1 && !p.name.is_empty() { format!("{}:{}", p.name, v.name) } else { v.name.clone() };
                if !names.contains(&full) {
                    names.push(full);
                }
            }
        }
        Stop::Usage(format!("there is no value type {name}; there are {}", names.join(", ")))
    })
}

/// A profile as messages name it.
pub fn profile_name(session: &Session, profile: usize) -> String {
    let Some(p) = session.profiles.get(profile) else { return String::new() };
    let file = session.sources.get(p.source.index()).map_or("", |s| s.file.as_str());
    if p.name.is_empty() { file.to_string() } else { format!("{file} {}", p.name) }
}
