//! drop_frames and keep_frames of pprof.

use super::carried;

/// Whether a name matches.
pub type Matcher = Box<dyn Fn(&str) -> bool>;

/// drop_frames and keep_frames: anchored patterns on simplified names (google/pprof profile/prune.go).
pub struct Pruner {
    drop: Matcher,
    keep: Option<Matcher>,
}

/// A pattern of a file as a matcher of whole names; `None` when it is none.
pub fn anchored(pattern: &str) -> Option<Matcher> {
    let compiled = regex::Regex::new(&format!("^({pattern})$")).ok()?;
    Some(Box::new(move |name| compiled.is_match(name)))
}

impl Pruner {
    /// Compiles the patterns; `None` without a usable drop pattern.
    pub fn new(drop: &str, keep: &str) -> Option<Pruner> {
        if drop.is_empty() {
            return None;
        }
        let Some(compile) = carried::carried().pattern else {
            carried::ask();
            return None;
        };
        Some(Pruner { drop: compile(drop)?, keep: if keep.is_empty() { None } else { compile(keep) } })
    }
    /// Whether a function of this name is dropped.
    pub fn drops(&self, name: &str) -> bool {
        let name = simplify(name);
        !name.is_empty() && (self.drop)(name) && !self.keep.as_ref().is_some_and(|keep| keep(name))
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
