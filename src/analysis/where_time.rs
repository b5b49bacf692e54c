//! Where requests spend their time: the critical path of all traces by kind of work and by service (TRACES 3.3.15 of the
//! project's notes). The parts add up to the sum of the roots' durations.

use super::clipped::Clipped;
use super::critical_path::critical_path;
use crate::base::ids::{ServiceId, SpanRow, StringId, TraceRow};
use crate::base::intern::StringTable;
use crate::model::trace::{SpanKind, TraceSet};
use std::collections::BTreeMap;

/// Kinds of waiting and work, in the order of [`WhereTime::kinds`].
pub const KINDS: [&str; 6] =
    ["own work", "database", "cache", "messaging", "network and queues between services", "remote calls without spans of their own"];

/// Time on the critical paths of all traces, nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WhereTime {
    /// By kind, parallel to [`KINDS`].
    pub kinds: [i64; 6],
    /// By service and operation name.
    pub operations: BTreeMap<(ServiceId, StringId), i64>,
    /// All: the sum of the durations of headline roots.
    pub whole: i64,
    /// Sum of the self times of all spans that were waited for; over `whole` it is how much ran side by side.
    pub worked: i64,
}

/// Adds up all traces.
pub fn where_time(set: &TraceSet, strings: &StringTable) -> WhereTime {
    let keys = Keys::new(strings);
    let mut out = WhereTime::default();
    for trace in (0..set.traces.len()).map(TraceRow::from_index) {
        let Some(root) = set.traces.root[trace.index()].get() else { continue };
        let clipped = Clipped::of(set, trace);
        for section in critical_path(set, &clipped, root) {
            let ns = section.to - section.from;
            let operation = set.operations.name[set.spans.operation[section.span.index()].index()];
            out.kinds[keys.kind(set, strings, section.span)] += ns;
            *out.operations.entry((set.service(section.span), operation)).or_default() += ns;
            out.whole = out.whole.saturating_add(ns);
        }
        for &span in clipped.order.iter().filter(|s| clipped.part(**s) != super::clipped::Part::Out) {
            out.worked = out.worked.saturating_add(super::trace_tree::self_time(set, span));
        }
    }
    out
}

/// Attribute keys that tell a kind.
struct Keys {
    db: Vec<StringId>,
    messaging: Vec<StringId>,
}

impl Keys {
    fn new(strings: &StringTable) -> Keys {
        let ids = |names: &[&str]| names.iter().filter_map(|n| strings.find(n)).collect();
        Keys {
            db: ids(&["db.system.name", "db.system", "db.type", "db.query.text", "db.statement", "sql.query"]),
            messaging: ids(&["messaging.system", "messaging.destination.name", "messaging.destination", "kafka.topic"]),
        }
    }

    /// Position in [`KINDS`].
    fn kind(&self, set: &TraceSet, strings: &StringTable, span: SpanRow) -> usize {
        let kind = set.kind(span);
        let mut found = None;
        if !(self.db.is_empty() && self.messaging.is_empty()) {
            for (key, value) in set.span_attrs(span) {
                if self.db.contains(&key) {
                    let cache = matches!(value, crate::model::trace::AttrValue::Text(id)
                        if ["redis", "memcached", "valkey"].contains(&strings.get(id)));
                    // The system names a cache; a statement beside it does not make it a database.
                    found = if cache || found == Some(2) { Some(2) } else { Some(1) };
                } else if self.messaging.contains(&key) && found.is_none() {
                    found = Some(3);
                }
            }
        }
        match (found, kind) {
            (Some(found), _) => found,
            (None, SpanKind::Producer | SpanKind::Consumer) => 3,
            (None, SpanKind::Client) => {
                let answered = set.children(span).iter().any(|c| set.service(*c) != set.service(span));
                if answered { 4 } else { 5 }
            }
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::drawn::{Drawn, S, add};

    #[test]
    fn the_parts_are_the_whole() {
        let mut t = Drawn { strings: StringTable::default(), set: TraceSet::default() };
        let db = [("db.system", "postgresql"), ("db.statement", "SELECT 1")];
        let cache = [("db.statement", "GET a"), ("db.system", "redis")];
        add(
            &mut t,
            "t1",
            &[
                S { name: "root server", dur: 100, ..S::default() },
                S { name: "q client", parent: "root server", start: 10, dur: 20, attrs: &db, ..S::default() },
                S { name: "k client", parent: "root server", start: 30, dur: 5, attrs: &cache, ..S::default() },
                S { name: "c client", parent: "root server", start: 40, dur: 30, ..S::default() },
                S { name: "c server", parent: "c client", service: "other", start: 45, dur: 20, ..S::default() },
                S { name: "x client", parent: "root server", start: 80, dur: 10, ..S::default() },
            ],
        );
        t.set.link();
        let w = where_time(&t.set, &t.strings);
        assert_eq!(w.kinds, [35 + 20, 20, 5, 0, 10, 10]);
        assert_eq!((w.kinds.iter().sum::<i64>(), w.operations.values().sum::<i64>(), w.whole, w.worked), (100, 100, 100, 100));
    }
}
