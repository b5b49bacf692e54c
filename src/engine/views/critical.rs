//! The critical paths of many traces as one flame graph.

use super::flame::graph;
use crate::analysis::call_tree::{Order, from_weights};
use crate::analysis::critical_profile::critical_profile;
use crate::analysis::flame::merged;
use crate::analysis::weights::{Selection, weights};
use crate::base::slabs::Slabs;
use crate::engine::Engine;
use crate::engine::protocol::Failure;

/// Lays out the picture for the requests of one endpoint; empty names stand for all.
///
/// # Errors
/// [`Failure`] when no trace begins with such a root.
pub fn answer(engine: &Engine, service: &str, operation: &str) -> Result<Slabs, Failure> {
    let session = critical_profile(&engine.session, service, operation)
        .ok_or_else(|| Failure::new(format!("no request of {service} {operation} is in these files")))?;
    let selection = Selection { profile: 0, value: 0, thread: None };
    let weights = weights(&session, selection);
    let tree = from_weights(&session, &weights, Order::Heaviest);
    let plain = vec![0_u8; session.symbols.funcs.len()];
    graph(&session, &session.profiles[0].value_types[0], &weights, merged(&tree), &plain)
}
