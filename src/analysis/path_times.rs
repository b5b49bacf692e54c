//! Time on the critical path by call path, for every trace: the ground on which many traces are compared and added up.
//!
//! A call path is the list of `service operation` labels from the root to a span, ids in the names normalised; where more is
//! known of what a span calls, such as its statement, that stands in the place of the operation. The sections of a
//! critical path partition the root's interval (see [`super::critical_path`]), so the times of a trace's paths add up exactly
//! to its root's duration, and means over traces to the mean duration (TRACES 3.3.13 of the project's notes).

use super::clipped::Clipped;
use super::critical_path::critical_path;
use super::normalize;
use crate::base::ids::{SpanRow, StringId, TraceRow};
use crate::base::intern::{PairIndex, StringTable};
use crate::base::work::step;
use crate::model::Session;
use std::collections::BTreeMap;

/// No parent.
pub const NO_PATH: u32 = u32::MAX;

/// What one trace spent on one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    /// Row of the path.
    pub path: u32,
    /// Spans of the path that are on the critical path.
    pub count: u32,
    /// Time of theirs on it, nanoseconds.
    pub ns: i64,
    /// The one of them with the most.
    pub span: SpanRow,
}

/// Requests of one kind: traces whose headline roots have one service and operation.
#[derive(Clone, Debug, Default)]
pub struct Endpoint {
    /// Service of the roots.
    pub service: String,
    /// Their operation, normalised.
    pub operation: String,
    /// Row of the roots' path.
    pub root: u32,
    /// Row after the last path of the endpoint: its paths are contiguous, parents before children.
    pub end: u32,
    /// The traces, in order of row.
    pub traces: Vec<TraceRow>,
}

/// Times by path. Columns of paths run in parallel.
#[derive(Debug, Default)]
pub struct PathTimes {
    /// Labels of paths, each once.
    pub labels: StringTable,
    /// Parent path, always smaller; [`NO_PATH`] for roots.
    pub parent: Vec<u32>,
    /// Label of the last step.
    pub label: Vec<StringId>,
    /// Endpoints by service and operation.
    pub endpoints: Vec<Endpoint>,
    spent: Vec<Spent>,
    /// Rows of each trace in `spent`: begin and end; empty for traces without a root.
    of: Vec<(u32, u32)>,
}

impl PathTimes {
    /// Walks the critical path of every trace of endpoints that `wanted` names by service and operation. Linear in spans but for
    /// the sorting of children.
    pub fn new(session: &Session, wanted: impl Fn(&str, &str) -> bool) -> PathTimes {
        let set = &session.traces;
        let own = |trace: TraceRow, out: &mut Vec<(SpanRow, i64)>| {
            let Some(root) = set.traces.root[trace.index()].get() else { return };
            let clipped = Clipped::of(set, trace);
            out.extend(critical_path(set, &clipped, root).iter().map(|s| (s.span, s.to - s.from)));
        };
        PathTimes::from(session, wanted, None, own)
    }

    /// The same from critical paths that are known: `own` appends the spans of a trace that are on its path with their times, a
    /// span as often as it likes. `called` gives texts and, by span row, which of them tells what the span calls; `NONE` and
    /// missing rows tell nothing.
    pub fn from(
        session: &Session,
        wanted: impl Fn(&str, &str) -> bool,
        called: Option<(&StringTable, &[StringId])>,
        own: impl Fn(TraceRow, &mut Vec<(SpanRow, i64)>),
    ) -> PathTimes {
        let set = &session.traces;
        let mut out = PathTimes { of: vec![(0, 0); set.traces.len()], ..PathTimes::default() };
        let names: Vec<(String, String)> = (0..set.operations.len())
            .map(|i| {
                let service = set.operations.service[i].get().map_or("", |s| session.strings.get(set.services[s.index()]));
                (service.to_string(), normalize::name(session.strings.get(set.operations.name[i])).text)
            })
            .collect();
        let labels: Vec<StringId> =
            names.iter().map(|(service, name)| out.labels.intern(format!("{service} {name}").trim_start())).collect();
        let mut labeller = Labeller { names: &names, labels, called, known: BTreeMap::new() };
        let mut by_endpoint: BTreeMap<&(String, String), Vec<TraceRow>> = BTreeMap::new();
        for trace in (0..set.traces.len()).map(TraceRow::from_index) {
            if let Some(root) = set.traces.root[trace.index()].get() {
                by_endpoint.entry(&names[set.spans.operation[root.index()].index()]).or_default().push(trace);
            }
        }
        let mut index = PairIndex::default();
        let mut sections = Vec::new();
        for ((service, operation), traces) in by_endpoint {
            if !wanted(service, operation) {
                continue;
            }
            let root = out.parent.len() as u32;
            for &trace in &traces {
                sections.clear();
                own(trace, &mut sections);
                out.trace(session, trace, &sections, &mut labeller, &mut index);
            }
            let end = out.parent.len() as u32;
            out.endpoints.push(Endpoint { service: service.clone(), operation: operation.clone(), root, end, traces });
        }
        out
    }

    fn trace(
        &mut self,
        session: &Session,
        trace: TraceRow,
        sections: &[(SpanRow, i64)],
        labeller: &mut Labeller<'_>,
        index: &mut PairIndex,
    ) {
        let set = &session.traces;
        // (path, span, time); paths are made for the spans on the critical path and what is above them alone.
        let mut known: BTreeMap<SpanRow, u32> = BTreeMap::new();
        let mut own: Vec<(u32, SpanRow, i64)> = Vec::new();
        let mut up = Vec::new();
        for &(section, ns) in sections {
            let mut at = Some(section);
            let mut path = NO_PATH;
            while let Some(span) = at {
                if let Some(row) = known.get(&span) {
                    path = *row;
                    break;
                }
                up.push(span);
                at = set.spans.parent[span.index()].get();
            }
            while let Some(span) = up.pop() {
                step(1);
                let label = labeller.of(&mut self.labels, set.spans.operation[span.index()].index(), span);
                let (row, new) = index.get_or_insert(path, label.0, self.parent.len() as u32);
                if new {
                    self.parent.push(path);
                    self.label.push(label);
                }
                known.insert(span, row);
                path = row;
            }
            own.push((path, section, ns));
        }
        own.sort_unstable_by_key(|(path, span, _)| (*path, *span));
        let begin = self.spent.len() as u32;
        for of_path in own.chunk_by(|a, b| a.0 == b.0) {
            let mut spent = Spent { path: of_path[0].0, count: 0, ns: 0, span: of_path[0].1 };
            let mut most = -1;
            for of_span in of_path.chunk_by(|a, b| a.1 == b.1) {
                let ns: i64 = of_span.iter().map(|s| s.2).sum();
                spent.count += 1;
                spent.ns += ns;
                if ns > most {
                    (most, spent.span) = (ns, of_span[0].1);
                }
            }
            self.spent.push(spent);
        }
        self.of[trace.index()] = (begin, self.spent.len() as u32);
    }

    /// What a trace spent, in order of path.
    pub fn of(&self, trace: TraceRow) -> &[Spent] {
        let (from, to) = self.of[trace.index()];
        &self.spent[from as usize..to as usize]
    }

    /// Duration of a trace's root: the sum of what it spent, nanoseconds.
    pub fn total(&self, trace: TraceRow) -> i64 {
        self.of(trace).iter().map(|s| s.ns).sum()
    }

    /// Labels from the root to a path.
    pub fn path(&self, row: u32) -> Vec<String> {
        let mut out = Vec::new();
        let mut at = row;
        while at != NO_PATH {
            out.push(self.labels.get(self.label[at as usize]).to_string());
            at = self.parent[at as usize];
        }
        out.reverse();
        out
    }
}

/// Labels of spans.
struct Labeller<'a> {
    /// Service and normalised name by operation.
    names: &'a [(String, String)],
    /// Their labels.
    labels: Vec<StringId>,
    called: Option<(&'a StringTable, &'a [StringId])>,
    /// Labels by operation and what is called.
    known: BTreeMap<(usize, StringId), StringId>,
}

impl Labeller<'_> {
    fn of(&mut self, texts: &mut StringTable, operation: usize, span: SpanRow) -> StringId {
        let called = self.called.and_then(|(t, of)| Some((t, of.get(span.index())?.get()?)));
        let Some((shown, id)) = called else { return self.labels[operation] };
        let service = &self.names[operation].0;
        *self.known.entry((operation, id)).or_insert_with(|| texts.intern(format!("{service} {}", shown.get(id)).trim_start()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_add_up_to_their_roots() {
        let mut drawn = crate::analysis::drawn::draw(&[("a", "", 0, 100), ("b", "a", 10, 30), ("c 7", "b", 15, 10), ("d", "a", 50, 40)]);
        let more = [("b2", "a2", 20_i64, 10_i64), ("b3", "a2", 40, 10)];
        use crate::analysis::drawn::{S, add};
        let mut spans = vec![S { name: "a2", operation: "a", start: 0, dur: 60, ..S::default() }];
        spans.extend(more.iter().map(|(name, parent, start, dur)| S {
            name,
            parent,
            operation: "b",
            start: *start,
            dur: *dur,
            ..S::default()
        }));
        add(&mut drawn, "t2", &spans);
        drawn.set.link();
        let session = Session { strings: drawn.strings, traces: drawn.set, ..Session::default() };
        let times = PathTimes::new(&session, |_, _| true);
        assert_eq!(times.endpoints.len(), 1);
        assert_eq!((times.endpoints[0].root, times.endpoints[0].end, times.endpoints[0].traces.len()), (0, 4, 2));
        let shown = |trace: u32| -> Vec<(String, u32, i64)> {
            times.of(TraceRow(trace)).iter().map(|s| (times.path(s.path).join(";"), s.count, s.ns)).collect()
        };
        let row = |path: &str, count, ns| (path.to_string(), count, ns);
        let mut first = shown(0);
        first.sort();
        assert_eq!(first, [row("svc a", 1, 30), row("svc a;svc b", 1, 20), row("svc a;svc b;svc c *", 1, 10), row("svc a;svc d", 1, 40)]);
        let mut second = shown(1);
        second.sort();
        assert_eq!(second, [row("svc a", 1, 40), row("svc a;svc b", 2, 20)]);
        assert_eq!((times.total(TraceRow(0)), times.total(TraceRow(1))), (100, 60));
    }
}
