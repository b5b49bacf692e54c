//! What several views of one selection share, kept until files are added.

use crate::analysis::call_tree::{CallTree, Order, from_weights};
use crate::analysis::categories::{self, Classifier};
use crate::analysis::weights::{Selection, Weights, weights};
use crate::base::ids::{FuncId, ThreadId};
use crate::engine::protocol::{Failure, SampleQuery};
use crate::model::Session;
use crate::model::profile::Profile;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Functions below this share of the whole are not classified: their boxes are too narrow to see (PROFILES 3 gives the
/// figure, because the taxonomy costs 0.1 to 0.3 ms per name).
const CLASSIFY_SHARE: f64 = 0.0005;

/// How many selections are kept; a session has few value types and threads that anyone looks at.
const KEPT: usize = 8;

/// Derived tables of one selection.
pub struct Derived {
    /// Weights per stack.
    pub weights: Weights,
    /// The merged call tree.
    pub tree: CallTree,
    /// Category per function row (canonical): 0 for none, else 1 + position in [`categories::names`].
    pub category: Vec<u8>,
}

/// Derived tables by query.
#[derive(Default)]
pub struct Selections {
    kept: BTreeMap<SampleQuery, Rc<Derived>>,
}

impl Selections {
    /// The tables of a query, computed on first use.
    ///
    /// # Errors
    /// [`Failure`] when the query names a profile, value type or thread that does not exist.
    pub fn get(&mut self, session: &Session, query: &SampleQuery) -> Result<Rc<Derived>, Failure> {
        check(session, query)?;
        if let Some(known) = self.kept.get(query) {
            return Ok(Rc::clone(known));
        }
        if self.kept.len() >= KEPT {
            self.kept.clear();
        }
        let weights = weights(session, selection(query));
        let tree = from_weights(session, &weights, Order::Heaviest);
        let category = classify(session, &session.profiles[query.profile as usize], &tree);
        let derived = Rc::new(Derived { weights, tree, category });
        self.kept.insert(query.clone(), Rc::clone(&derived));
        Ok(derived)
    }
}

/// The selection of a query.
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
