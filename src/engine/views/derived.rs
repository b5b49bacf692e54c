//! What several views of one selection share, kept until files are added.

use crate::analysis::call_tree::{CallTree, Order, from_weights};
use crate::analysis::categories::{self, Classifier};
use crate::analysis::narrow::narrow;
use crate::analysis::weights::{Selection, Weights, weights};
use crate::base::ids::{FuncId, ThreadId};
use crate::engine::protocol::{Failure, SampleQuery};
use crate::findings::Trees;
use crate::model::Session;
use crate::model::profile::Profile;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Functions below this share of the whole are not classified: their boxes are too narrow to see (PROFILES 3 gives the
/// figure, because the taxonomy costs 0.1 to 0.3 ms per name).
const CLASSIFY_SHARE: f64 = 0.0005;

/// Bytes of derived tables that are kept. What was used last stays; one selection is always kept, however large.
const BUDGET: usize = 192 << 20;

/// Derived tables of one selection.
pub struct Derived {
    /// Weights per stack.
    pub weights: Weights,
    /// The merged call tree.
    pub tree: Rc<CallTree>,
    /// Category per function row (canonical): 0 for none, else 1 + position in [`categories::names`].
    pub category: Vec<u8>,
    /// The tables that the rest refers to, if labels filter or group the samples; `None` for the session's own.
    narrowed: Option<Rc<Session>>,
    selection: Selection,
}

impl Derived {
    /// The tables that weights, tree and categories refer to.
    pub fn session<'a>(&'a self, own: &'a Session) -> &'a Session {
        self.narrowed.as_deref().unwrap_or(own)
    }

    /// The selection within these tables.
    pub fn selection(&self) -> Selection {
        self.selection
    }

    /// About how many bytes it takes.
    fn bytes(&self) -> usize {
        let narrowed = self.narrowed.as_ref().map_or(0, |s| {
            let samples: usize = s.profiles.iter().map(|p| p.samples.len() * (16 + 8 * p.samples.values.len())).sum();
            samples + s.symbols.stacks.len() * 12 + s.symbols.frames.len() * 40 + s.symbols.funcs.len() * 40 + s.strings.raw().0.len()
        });
        self.weights.own.len() * 9 + self.tree.len() * 44 + self.category.len() + narrowed
    }
}

struct Kept {
    derived: Rc<Derived>,
    bytes: usize,
    /// When it was used last, as a count of uses.
    used: u64,
}

/// Derived tables by query.
#[derive(Default)]
pub struct Selections {
    kept: BTreeMap<SampleQuery, Kept>,
    uses: u64,
    /// Trees that the rules have built already; each is taken once.
    pub trees: Trees,
}

impl Selections {
    /// The tables of a query, computed on first use.
    ///
    /// # Errors
    /// [`Failure`] when the query names a profile, value type or thread that does not exist.
    pub fn get(&mut self, session: &Session, query: &SampleQuery) -> Result<Rc<Derived>, Failure> {
        check(session, query)?;
        self.uses += 1;
        if let Some(known) = self.kept.get_mut(query) {
            known.used = self.uses;
            return Ok(Rc::clone(&known.derived));
        }
        let narrowed = is_narrowed(query).then(|| narrow(session, query.profile as usize, &query.labels, query.group.as_deref())).flatten();
        let narrowed = narrowed.map(Rc::new);
        let (session, selection, ready) = match &narrowed {
            Some(narrowed) => (&**narrowed, Selection { profile: 0, ..selection(query) }, None),
            None => (session, selection(query), self.trees.remove(&selection(query))),
        };
        let weights = weights(session, selection);
        let tree = ready.unwrap_or_else(|| Rc::new(from_weights(session, &weights, Order::Heaviest)));
        let category = classify(session, &session.profiles[selection.profile], &tree);
        let derived = Rc::new(Derived { weights, tree, category, narrowed, selection });
        let bytes = derived.bytes();
        self.kept.insert(query.clone(), Kept { derived: Rc::clone(&derived), bytes, used: self.uses });
        self.keep_within(BUDGET);
        Ok(derived)
    }

    /// Forgets what was not used for longest until the rest fits, or only one selection is left.
    fn keep_within(&mut self, budget: usize) {
        while self.kept.len() > 1 && self.kept.values().map(|k| k.bytes).sum::<usize>() > budget {
            let oldest = self.kept.iter().min_by_key(|(_, k)| k.used).map(|(query, _)| query.clone());
            if let Some(query) = oldest {
                self.kept.remove(&query);
            }
        }
    }
}

/// Whether labels filter or group the samples of a query.
pub fn is_narrowed(query: &SampleQuery) -> bool {
    !query.labels.is_empty() || query.group.is_some()
}

/// The selection of a query, labels aside.
pub fn selection(query: &SampleQuery) -> Selection {
    Selection { profile: query.profile as usize, value: query.value as usize, thread: query.thread.map(ThreadId) }
}

/// The profile of a query, if all that it names exists.
///
/// # Errors
/// [`Failure`] otherwise.
pub fn check<'a>(session: &'a Session, query: &SampleQuery) -> Result<&'a Profile, Failure> {
    let Some(p) = session.profiles.get(query.profile as usize) else {
        return Err(Failure::new(format!("there is no profile {}; the session has {}", query.profile, session.profiles.len())));
    };
    if query.value as usize >= p.value_types.len() {
        return Err(Failure::new(format!("the profile has no value type {}; it has {}", query.value, p.value_types.len())));
    }
    if let Some(thread) = query.thread.filter(|t| *t as usize >= p.threads.len()) {
        return Err(Failure::new(format!("the profile has no thread {thread}; it has {}", p.threads.len())));
    }
    Ok(p)
}

/// Names of categories with the empty one first.
pub fn category_names() -> Vec<String> {
    std::iter::once(String::new()).chain(categories::names().iter().cloned()).collect()
}

fn classify(session: &Session, p: &Profile, tree: &CallTree) -> Vec<u8> {
    let n = session.symbols.funcs.len();
    // Summing all nodes of a function counts recursion more than once: the limit is on the safe side.
    let mut size = vec![0_i64; n];
    for (func, weight) in tree.func.iter().zip(&tree.size) {
        size[func.index()] = size[func.index()].saturating_add(*weight);
    }
    let whole: f64 = (0..tree.len()).filter(|i| tree.depth[*i] == 0).map(|i| tree.size[i] as f64).sum();
    let mut classifier = Classifier::new(session, p, (0..n).filter(|i| size[*i] > 0).map(FuncId::from_index));
    let heavy = |i: usize| size[i] > 0 && size[i] as f64 >= CLASSIFY_SHARE * whole;
    (0..n).map(|i| if heavy(i) { classifier.of(FuncId::from_index(i)).primary() } else { 0 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_last_stays_within_the_budget() {
        let mut session = Session::default();
        let text: &[u8] = b"a;b 1\na;c 2\nd 3\n";
        crate::formats::input::open(&mut session, "f", 0, Box::new(text), crate::formats::Limits::default(), &mut |_| true);
        let profile = session.profiles[0].clone();
        session.profiles = vec![profile; 4];
        let mut selections = Selections::default();
        let query = |profile| SampleQuery { profile, ..SampleQuery::default() };
        for p in [0, 1, 2, 0] {
            selections.get(&session, &query(p)).unwrap();
        }
        let one = selections.kept[&query(0)].bytes;
        assert!(one > 0);
        selections.keep_within(2 * one);
        assert_eq!(selections.kept.keys().map(|q| q.profile).collect::<Vec<_>>(), [0, 2]);
        selections.keep_within(0);
        assert_eq!(selections.kept.keys().map(|q| q.profile).collect::<Vec<_>>(), [0]);
    }
}
