//! Source lines of loops: those of the function that most of a loop's instructions come from, be it inlined.

use super::dwarf::CodeFrame;
use crate::model::code::CodeLoop;
use std::collections::BTreeMap;

/// Share of a loop's instructions that a deeper function must hold to be the one that the loop is in.
const MOST: f64 = 0.8;

/// Folders of sources that come with a language or the system: lines there say less than where they are called from.
const SYSTEM: [&str; 5] = ["/rustc/", "/usr/include/", "/usr/lib/", "/usr/local/go/src/", "/rustlib/src/"];

/// Sets file, lines and function of a loop. `frames` has the functions at each of its instructions, innermost first.
pub fn set_lines(l: &mut CodeLoop, frames: &[&[CodeFrame]]) {
    let mut inside: Vec<&[CodeFrame]> = frames.iter().copied().filter(|f| !f.is_empty()).collect();
    let need = MOST * inside.len() as f64;
    let mut depth = 0;
    // Inlined calls are told apart by the line of the call too.
    while let Some(found) = lines(&inside, depth) {
        let own = !SYSTEM.iter().any(|folder| found.0.contains(folder));
        if own || l.file.is_empty() {
            (l.file, l.first_line, l.last_line, l.inlined) = found;
        }
        let mut counts: BTreeMap<(&str, u32), usize> = BTreeMap::new();
        for chain in &inside {
            if let Some(at) = chain.len().checked_sub(depth + 2) {
                *counts.entry((chain[at].name.as_str(), chain[at + 1].line)).or_default() += 1;
            }
        }
        let best = counts.into_iter().max_by_key(|(key, n)| (*n, std::cmp::Reverse(*key)));
        let Some((key, _)) = best.filter(|(_, n)| *n as f64 >= need) else { break };
        inside.retain(|chain| chain.len().checked_sub(depth + 2).is_some_and(|at| (chain[at].name.as_str(), chain[at + 1].line) == key));
        depth += 1;
    }
}

/// File, first and last line of some instructions in the function at a depth of inlining, and its name if it is inlined.
fn lines(inside: &[&[CodeFrame]], depth: usize) -> Option<(String, u32, u32, String)> {
    let frames = || inside.iter().filter_map(|chain| chain.get(chain.len().checked_sub(depth + 1)?)).filter(|f| f.line > 0);
    let mut files: BTreeMap<&str, usize> = BTreeMap::new();
    for frame in frames() {
        *files.entry(frame.file.as_str()).or_default() += 1;
    }
    let (file, _) = files.into_iter().max_by_key(|(file, n)| (*n, std::cmp::Reverse(*file)))?;
    let of_file = || frames().filter(|f| f.file == file);
    let name = of_file().next().filter(|_| depth > 0).map_or_else(String::new, |f| super::names::of_symbol(&f.name).name.into_owned());
    Some((file.to_string(), of_file().map(|f| f.line).min()?, of_file().map(|f| f.line).max()?, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(name: &str, line: u32) -> CodeFrame {
        CodeFrame { name: name.to_string(), file: "a.c".to_string(), line, start_line: 1 }
    }

    #[test]
    fn the_innermost_function_with_most_of_it_has_the_lines() {
        // Innermost first: a loop in `fold`, which is inlined into `work`; part of it is `mix`, which is inlined into `fold`.
        let own = vec![frame("fold", 10), frame("work", 17)];
        let deeper = vec![frame("mix", 4), frame("fold", 11), frame("work", 17)];
        let mut l = CodeLoop::default();
        set_lines(&mut l, &[&own, &deeper, &deeper, &[]]);
        assert_eq!((l.file.as_str(), l.first_line, l.last_line, l.inlined.as_str()), ("a.c", 10, 11, "fold"));
        // A loop of `work` itself that calls something inlined.
        let plain = vec![frame("work", 20)];
        let mut l = CodeLoop::default();
        set_lines(&mut l, &[&plain, &plain, &own]);
        assert_eq!((l.first_line, l.last_line, l.inlined.as_str()), (17, 20, ""));
        // A loop of the language's library is where it was called from.
        let library = vec![CodeFrame { file: "/rustc/abc/library/core/iter.rs".to_string(), ..frame("fold", 200) }, frame("work", 30)];
        let mut l = CodeLoop::default();
        set_lines(&mut l, &[&library, &library]);
        assert_eq!((l.file.as_str(), l.first_line, l.last_line, l.inlined.as_str()), ("a.c", 30, 30, ""));
        let mut l = CodeLoop::default();
        set_lines(&mut l, &[]);
        assert_eq!(l, CodeLoop::default());
    }
}
