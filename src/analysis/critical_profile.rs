//! The critical paths of many traces as a profile: stacks are call paths, weights the time that requests waited there. CRISP
//! (`flameGraph.py`) makes the same picture of the traces of one endpoint.

use super::path_times::PathTimes;
use crate::base::ids::{SourceId, StackId};
use crate::model::Session;
use crate::model::profile::{Profile, ValueKind, ValueType};
use crate::model::symbols::{FrameKey, FuncKey};

/// A session of its own whose only profile holds the critical paths: a sample per call path, with its time in nanoseconds and
/// the spans that make it. `service` and `operation` (normalised) choose requests by their roots; empty ones choose all.
/// `None` if no trace has such a root.
pub fn critical_profile(session: &Session, service: &str, operation: &str) -> Option<Session> {
    let fits = |wanted: &str, name: &str| wanted.is_empty() || wanted == name;
    let times = PathTimes::new(session, |s, o| fits(service, s) && fits(operation, o));
    let first = *times.endpoints.first()?.traces.first()?;
    let root = session.traces.traces.root[first.index()];
    let source = root.get().map_or(SourceId(0), |r| session.traces.spans.source[r.index()]);
    let mut out = Session { sources: session.sources.clone(), ..Session::default() };
    let mut stacks: Vec<StackId> = Vec::with_capacity(times.parent.len());
    for (parent, label) in times.parent.iter().zip(&times.label) {
        let name = out.strings.intern(times.labels.get(*label));
        let func = out.symbols.funcs.intern(FuncKey::named(name));
        let frame = out.symbols.frames.intern(FrameKey::of(func));
        let above = stacks.get(*parent as usize).copied().unwrap_or(StackId::NONE);
        stacks.push(out.symbols.stacks.push(above, frame));
    }
    let mut sums = vec![(0_i64, 0_i64); stacks.len()];
    for endpoint in &times.endpoints {
        for spent in endpoint.traces.iter().flat_map(|t| times.of(*t)) {
            let (ns, count) = &mut sums[spent.path as usize];
            (*ns, *count) = (ns.saturating_add(spent.ns), *count + i64::from(spent.count));
        }
    }
    let value = |name: &str, unit: &str, kind| ValueType { name: name.to_string(), unit: unit.to_string(), kind };
    let values = vec![value("critical path", "nanoseconds", ValueKind::WallTime), value("spans", "count", ValueKind::Other)];
    let mut profile = Profile::new(source, "critical-path", values);
    profile.name = "critical path".to_string();
    for (stack, (ns, count)) in stacks.iter().zip(sums).filter(|(_, (_, count))| *count > 0) {
        profile.samples.stack.push(*stack);
        profile.samples.values[0].push(ns);
        profile.samples.values[1].push(count);
    }
    out.profiles.push(profile);
    out.symbols.stacks.seal();
    Some(out)
}
