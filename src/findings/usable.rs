//! Over how much usable data the rules looked: what stands beside "no findings", which is worth nothing without it.

use super::active::cpu_profiles;
use super::finding::{RuleStatus, RuleVerdict};
use super::{Context, counted};
use crate::base::ids::TraceRow;
use crate::base::quantity::format_count;

/// One sentence part: `333 active samples of 1 CPU profile, 12 idle ones left out; 40 rules checked, 33 could not`.
pub fn usable(cx: &Context<'_>, verdicts: &[RuleVerdict]) -> String {
    let mut parts = Vec::new();
    let cpu = cpu_profiles(cx.session);
    if !cpu.is_empty() {
        let (mut active, mut idle) = (0_i64, 0_i64);
        for (id, p) in &cpu {
            let samples = cx.active(*id, p);
            active = active.saturating_add(samples.count);
            idle = idle.saturating_add(samples.idle);
        }
        let left_out = if idle > 0 { format!(", {} idle ones left out", format_count(idle as f64)) } else { String::new() };
        parts.push(format!("{} of {}{left_out}", counted(active as usize, "active sample"), counted(cpu.len(), "CPU profile")));
    }
    let is_cpu = |i: usize| cpu.iter().any(|(id, _)| id.index() == i);
    let others: Vec<usize> = (0..cx.session.profiles.len()).filter(|i| !is_cpu(*i)).collect();
    if !others.is_empty() {
        let rows: i64 = others.iter().map(|i| cx.session.profiles[*i].samples.len() as i64).sum();
        parts.push(format!("{} of {}", counted(rows as usize, "stack"), counted(others.len(), "other profile")));
    }
    let traces = &cx.session.traces;
    if !traces.spans.is_empty() {
        let calls: usize = (0..traces.traces.len()).map(|i| cx.calls().of(TraceRow::from_index(i)).len()).sum();
        let (spans, calls) = (counted(traces.spans.len(), "span"), counted(calls, "call"));
        parts.push(format!("{spans} with {calls} in {}", counted(traces.traces.len(), "trace")));
    }
    let dropped: u64 = cx.session.sources.iter().map(|s| s.ledger.records_dropped()).sum();
    if dropped > 0 {
        let all: u64 = cx.session.sources.iter().map(|s| s.ledger.records_in).sum();
        parts.push(format!("{} of {} not usable", format_count(dropped as f64), counted(all as usize, "record")));
    }
    parts.extend(super::given_up::usable(cx));
    let missing = verdicts.iter().filter(|v| v.status == RuleStatus::NotChecked).count();
    parts.push(format!("{} checked, {missing} could not", counted(verdicts.len() - missing, "rule")));
    parts.join("; ")
}
