//! drop_frames and keep_frames of pprof.

/// drop_frames and keep_frames: anchored patterns on simplified names (google/pprof profile/prune.go).
pub struct Pruner {
    drop: regex::Regex,
    keep: Option<regex::Regex>,
}

impl Pruner {
    /// Compiles the patterns; `None` without a usable drop pattern.
    pub fn new(drop: &str, keep: &str) -> Option<Pruner> {
        let compile = |text: &str| (!text.is_empty()).then(|| regex::Regex::new(&format!("^({text})$")).ok()).flatten();
        Some(Pruner { drop: compile(drop)?, keep: compile(keep) })
    }
    /// Whether a function of this name is dropped.
    pub fn drops(&self, name: &str) -> bool {
        let name = simplify(name);
        !name.is_empty() && self.drop.is_match(name) && !self.keep.as_ref().is_some_and(|keep| keep.is_match(name))
    }
}

/// Without a leading dot and without what follows the first parenthesis that opens parameters.
fn simplify(name: &str) -> &str {
    let name = name.strip_prefix('.').unwrap_or(name);
    let mut from = 0;
    while let Some(at) = name[from..].find('(').map(|at| at + from) {
        let rest = &name[at..];
        let part_of_name =
            ["(anonymous namespace)", "()"].iter().find(|p| rest.starts_with(**p) && (**p != "()" || name[..at].ends_with("operator")));
        match part_of_name {
            Some(part) => from = at + part.len(),
            None => return &name[..at],
        }
    }
    name
}
