//! Kinds of work of a selection: the partition of [`crate::findings::partition`].

use super::derived::{check, is_narrowed, selection};
use crate::analysis::narrow::narrow;
use crate::base::ids::ProfileId;
use crate::base::slabs::Slabs;
use crate::engine::Engine;
use crate::engine::protocol::kinds::{Kind, KindsData};
use crate::engine::protocol::{Failure, SampleQuery};
use crate::findings::active::{Active, is_cpu};
use crate::findings::costs::Costs;
use crate::findings::partition::{in_tax, label};
use crate::model::Session;

/// The partition of a selection's active samples.
///
/// # Errors
/// [`Failure`] when the query names nothing.
pub fn answer(engine: &Engine, query: &SampleQuery) -> Result<Slabs, Failure> {
    let own = &engine.session;
    check(own, query)?;
    let narrowed = is_narrowed(query).then(|| narrow(own, query.profile as usize, &query.labels, None)).flatten();
    let (session, profile) = narrowed.as_ref().map_or((own, query.profile as usize), |s| (s, 0));
    let threads = session.profiles[profile].threads.len();
    let wanted = selection(query).thread.map(|t| (0..threads).map(|i| i == t.index()).collect::<Vec<bool>>());
    let data = kinds(session, profile, wanted.as_deref());
    serde_json::to_string(&data).map(Slabs::json).map_err(|e| Failure::new(e.to_string()))
}

/// The partition of a profile, or of some of its threads; without kinds if it does not measure CPU time.
pub fn kinds(session: &Session, profile: usize, wanted: Option<&[bool]>) -> KindsData {
    let p = &session.profiles[profile];
    if !is_cpu(p) || p.value_types.is_empty() {
        return KindsData::default();
    }
    let active = Active::of_threads(session, ProfileId::from_index(profile), p, wanted);
    let costs = Costs::new(&active);
    let tops = costs.leaves(&active);
    let kind = |(name, sum): &(&'static str, crate::findings::costs::Sum)| Kind {
        name: (*name).to_string(),
        label: label(name).to_string(),
        weight: sum.value as f64,
        samples: sum.count.max(0) as u64,
        function: tops.get(name).map_or(String::new(), |f| active.name(*f).to_string()),
    };
    KindsData {
        value: active.value_name().to_string(),
        unit: active.unit().to_string(),
        whole: active.weight as f64,
        samples: active.count.max(0) as u64,
        idle: active.idle.max(0) as u64,
        kinds: costs.parts.iter().map(kind).collect(),
        tax: costs.parts.iter().filter(|(name, _)| in_tax(name)).map(|(_, sum)| sum.count.max(0) as u64).sum(),
    }
}
