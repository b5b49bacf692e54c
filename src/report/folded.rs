//! Folded stacks: one line per distinct stack, `root;…;leaf value`, sorted by stack.

use crate::base::ids::ThreadId;
use crate::model::Session;
use std::collections::BTreeMap;

/// What became of the samples on their way into lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folded {
    /// The lines, each ended by a newline.
    pub text: String,
    /// Samples without any frame, which the format cannot express; their weight.
    pub without_stack: i64,
    /// Negative weights (differences), which renderers of the format refuse; kept in the text.
    pub negative: u64,
}

/// Folds the samples of a profile. `;`, a `#` at the begin of a line, and line breaks become `:`, `:` and
/// a space, as the format has no escape.
pub fn folded(session: &Session, profile: usize, value: usize, thread: Option<ThreadId>) -> Folded {
    let mut out = Folded::default();
    let Some(p) = session.profiles.get(profile) else { return out };
    let Some(values) = p.samples.values.get(value) else { return out };
    let mut weights = vec![0_i64; session.symbols.stacks.len()];
    for (i, stack) in p.samples.stack.iter().enumerate() {
        if thread.is_some_and(|t| p.samples.thread.get(i) != Some(&t)) {
            continue;
        }
        match stack.get() {
            Some(stack) => weights[stack.index()] = weights[stack.index()].saturating_add(values[i]),
            None => out.without_stack = out.without_stack.saturating_add(values[i]),
        }
    }
    let names: Vec<String> = session.symbols.funcs.name.iter().map(|n| clean(session.strings.get(*n))).collect();
    // Stacks that differ only by line or address fold into one line.
    let mut lines: BTreeMap<Vec<u32>, i64> = BTreeMap::new();
    for (row, weight) in weights.into_iter().enumerate().filter(|(_, w)| *w != 0) {
        let frames = session.symbols.stacks.leaf_to_root(crate::base::ids::StackId::from_index(row));
        let mut path: Vec<u32> =
            frames.map(|f| session.symbols.funcs.canonical[session.symbols.frames.func[f.index()].index()].0).collect();
        path.reverse();
        *lines.entry(path).or_default() += weight;
    }
    let mut texts: Vec<(String, i64)> = lines
        .into_iter()
        .map(|(path, weight)| (path.iter().map(|f| names[*f as usize].as_str()).collect::<Vec<_>>().join(";"), weight))
        .collect();
    texts.sort();
    for (stack, weight) in texts {
        out.negative += u64::from(weight < 0);
        // A line that begins with `#` is a comment to readers.
        match stack.strip_prefix('#') {
            Some(rest) => out.text.push_str(&format!(":{rest} {weight}\n")),
            None => out.text.push_str(&format!("{stack} {weight}\n")),
        }
    }
    out
}

fn clean(name: &str) -> String {
    name.chars()
        .map(|c| {
            if c == ';' {
                ':'
            } else if c.is_control() {
                ' '
            } else {
                c
            }
        })
        .collect()
}
