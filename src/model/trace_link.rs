//! Linking: spans grouped by trace, parents resolved, children sorted.
//!
//! Follows TRACES 1.9 of the project's notes: exact duplicates are dropped, client and server halves that share an id are
//! told apart, self-parents are roots, cycles are cut at their earliest start, spans with an unknown parent are extra roots.

use super::trace::*;
use crate::base::ids::{OperationId, ResourceId, SourceId, SpanRow, StringId, TraceRow};
use crate::base::work::step;
use hashbrown::HashTable;

/// What linking found; counts per source file are in the same order as `Session::sources`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkReport {
    /// Dropped exact duplicates: the file and the span's id.
    pub duplicates: Vec<(SourceId, u64)>,
    /// Spans that share an id with a different span: kept, children go to the first.
    pub duplicate_ids: Vec<(SourceId, u64)>,
    /// Spans whose parent is not in the trace.
    pub orphans: Vec<(SourceId, u64)>,
    /// Spans at which a parent cycle was cut.
    pub cycles: Vec<(SourceId, u64)>,
}

impl TraceSet {
    /// Groups, resolves and sorts; safe to call again after more spans were pushed.
    pub fn link(&mut self) -> LinkReport {
        let mut report = LinkReport::default();
        self.odd_ids.sort_unstable();
        self.odd_ids.dedup_by_key(|(hash, _)| *hash);
        let groups = self.group();
        let order = self.drop_duplicates(groups, &mut report);
        self.permute(&order);
        self.build_traces();
        for trace in 0..self.traces.len() {
            self.resolve_parents(TraceRow::from_index(trace), &mut report);
        }
        self.build_children();
        self.measure();
        report
    }

    /// Rows by trace (in order of first appearance), then start, then longer first, then file order.
    fn group(&self) -> Vec<u32> {
        let n = self.spans.len();
        let mut first_seen: Vec<u32> = Vec::new();
        let mut rank_of: Vec<u32> = vec![u32::MAX; n];
        let mut index: HashTable<(StringId, u32)> = HashTable::new();
        for (row, slot) in rank_of.iter_mut().enumerate() {
            let id = self.spans.trace_id[row];
            let hash = crate::base::hash::hash_u64(7, u64::from(id.0));
            let rank = match index.find(hash, |(other, _)| *other == id) {
                Some((_, rank)) => *rank,
                None => {
                    let rank = first_seen.len() as u32;
                    first_seen.push(row as u32);
                    index.insert_unique(hash, (id, rank), |(other, _)| crate::base::hash::hash_u64(7, u64::from(other.0)));
                    rank
                }
            };
            *slot = rank;
        }
        let mut order: Vec<u32> = (0..n as u32).collect();
        order.sort_by_key(|&row| {
            let i = row as usize;
            (rank_of[i], self.spans.start_ns[i], std::cmp::Reverse(self.spans.duration_ns[i]), row)
        });
        order
    }

    /// Removes rows that repeat an earlier row of the same trace in every raw column.
    fn drop_duplicates(&self, order: Vec<u32>, report: &mut LinkReport) -> Vec<u32> {
        let t = &self.spans;
        let mut kept: Vec<u32> = Vec::with_capacity(order.len());
        let mut group_start = 0;
        for row in order {
            let i = row as usize;
            let new_group = kept.get(group_start).is_none_or(|&first| {
                let f = first as usize;
                t.trace_id[f] != t.trace_id[i] || t.start_ns[f] != t.start_ns[i] || t.duration_ns[f] != t.duration_ns[i]
            });
            if new_group {
                group_start = kept.len();
            }
            // Equal spans have equal trace, start and duration, so they are neighbours; a run of such neighbours is searched
            // back only over a bounded window, which keeps a trace of a million simultaneous spans linear.
            let window = kept.len().saturating_sub(64).max(group_start);
            let same = t.id[i] != 0
                && kept[window..].iter().any(|&other| {
                    step(1);
                    self.same_span(other as usize, i)
                });
            if same {
                report.duplicates.push((t.source[i], t.id[i]));
            } else {
                kept.push(row);
            }
        }
        kept
    }

    fn same_span(&self, a: usize, b: usize) -> bool {
        let t = &self.spans;
        let raw = !SPAN_DERIVED;
        t.id[a] == t.id[b]
            && t.parent_id[a] == t.parent_id[b]
            && t.operation[a] == t.operation[b]
            && t.flags[a] & raw == t.flags[b] & raw
            && t.attr_len[a] == t.attr_len[b]
            && t.event_len[a] == t.event_len[b]
            && self.attr_rows(t.attr_start[a], t.attr_len[a]).eq(self.attr_rows(t.attr_start[b], t.attr_len[b]))
    }

    fn permute(&mut self, order: &[u32]) {
        fn apply<T: Copy>(column: &mut Vec<T>, order: &[u32]) {
            *column = order.iter().map(|&row| column[row as usize]).collect();
        }
        let t = &mut self.spans;
        apply::<SourceId>(&mut t.source, order);
        apply::<StringId>(&mut t.trace_id, order);
        apply(&mut t.id, order);
        apply(&mut t.parent_id, order);
        apply::<OperationId>(&mut t.operation, order);
        apply(&mut t.start_ns, order);
        apply(&mut t.duration_ns, order);
        apply(&mut t.flags, order);
        apply::<ResourceId>(&mut t.resource, order);
        apply(&mut t.scope, order);
        apply(&mut t.attr_start, order);
        apply(&mut t.attr_len, order);
        apply(&mut t.event_start, order);
        apply(&mut t.event_len, order);
        apply(&mut t.link_start, order);
        apply(&mut t.link_len, order);
        let n = order.len();
        t.flags.iter_mut().for_each(|f| *f &= !SPAN_DERIVED);
        t.trace = vec![TraceRow::NONE; n];
        t.parent = vec![SpanRow::NONE; n];
        t.depth = vec![0; n];
    }

    fn build_traces(&mut self) {
        self.traces = TraceTable::default();
        for row in 0..self.spans.len() {
            let id = self.spans.trace_id[row];
            if row == 0 || self.spans.trace_id[row - 1] != id {
                let t = &mut self.traces;
                t.id.push(id);
                t.first_span.push(SpanRow::from_index(row));
                t.end_span.push(SpanRow::from_index(row));
            }
            let trace = self.traces.len() - 1;
            self.traces.end_span[trace] = SpanRow::from_index(row + 1);
            self.spans.trace[row] = TraceRow::from_index(trace);
        }
    }

    /// Finds each span's parent by id. Within one id a client half is the parent of the server half.
    fn resolve_parents(&mut self, trace: TraceRow, report: &mut LinkReport) {
        let mut by_id: Vec<(u64, u32)> =
            self.traces.spans(trace).map(|s| (self.spans.id[s.index()], s.0)).filter(|(id, _)| *id != 0).collect();
        by_id.sort_unstable();
        let mut at = 0;
        while at < by_id.len() {
            let end = at + by_id[at..].iter().take_while(|(id, _)| *id == by_id[at].0).count();
            if end - at > 1 {
                self.tell_apart(&by_id[at..end], report);
            }
            at = end;
        }
        let same_id = |id: u64| {
            let from = by_id.partition_point(|(other, _)| *other < id);
            by_id[from..].iter().take_while(move |(other, _)| *other == id).map(|(_, row)| {
                step(1);
                SpanRow(*row)
            })
        };
        for span in self.traces.spans(trace) {
            let i = span.index();
            if self.spans.flags[i] & SPAN_SHARED != 0
                && let Some(client) = same_id(self.spans.id[i]).find(|s| *s != span && self.spans.flags[s.index()] & SPAN_SHARED == 0)
            {
                self.spans.parent[i] = client;
                continue;
            }
            let parent_id = self.spans.parent_id[i];
            if parent_id == 0 || parent_id == self.spans.id[i] {
                continue;
            }
            // Of a shared pair the half in the child's own service is the parent (Zipkin Lens, span-node), else the
            // server half for spans that are not it themselves.
            let service = self.service(span);
            let mut candidates = same_id(parent_id).filter(|s| *s != span).take(64);
            let first = candidates.next();
            let chosen = match first {
                None => None,
                Some(only) => {
                    let all: Vec<SpanRow> = std::iter::once(only).chain(candidates).collect();
                    let shared = |s: &&SpanRow| self.spans.flags[s.index()] & SPAN_SHARED != 0;
                    all.iter()
                        .filter(shared)
                        .find(|s| self.service(**s) == service)
                        .or_else(|| all.iter().find(|s| self.spans.flags[s.index()] & SPAN_SHARED == 0))
                        .or(all.first())
                        .copied()
                }
            };
            match chosen {
                Some(parent) => self.spans.parent[i] = parent,
                None => {
                    self.spans.flags[i] |= SPAN_ORPHAN;
                    report.orphans.push((self.spans.source[i], self.spans.id[i]));
                }
            }
        }
        self.cut_cycles(trace, report);
    }

    /// Spans with one id: a client and a server half are a shared span; anything else is a duplicate id.
    fn tell_apart(&mut self, rows: &[(u64, u32)], report: &mut LinkReport) {
        let kind = |set: &TraceSet, row: u32| set.kind(SpanRow(row));
        let client = rows.iter().find(|(_, r)| matches!(kind(self, *r), SpanKind::Client | SpanKind::Producer)).map(|(_, r)| *r);
        let mut plain_seen = client.is_some();
        for &(id, row) in rows {
            let i = row as usize;
            if Some(row) == client || self.spans.flags[i] & SPAN_SHARED != 0 {
                continue;
            }
            if client.is_some() && matches!(kind(self, row), SpanKind::Server | SpanKind::Consumer) {
                self.spans.flags[i] |= SPAN_SHARED;
            } else if plain_seen {
                self.spans.flags[i] |= SPAN_DUPLICATE_ID;
                report.duplicate_ids.push((self.spans.source[i], id));
            }
            plain_seen = true;
        }
    }

    /// Every parent chain must end at a root; where one runs in a circle its earliest span becomes a root.
    fn cut_cycles(&mut self, trace: TraceRow, report: &mut LinkReport) {
        let first = self.traces.first_span[trace.index()].index();
        let n = self.traces.spans(trace).len();
        // 0 unseen, 1 on the current chain, 2 known to reach a root.
        let mut state = vec![0_u8; n];
        let mut chain: Vec<usize> = Vec::new();
        for start in 0..n {
            let mut at = start;
            chain.clear();
            let hit = loop {
                step(1);
                if state[at] == 2 {
                    break None;
                }
                if state[at] == 1 {
                    break Some(at);
                }
                state[at] = 1;
                chain.push(at);
                match self.spans.parent[first + at].get() {
                    Some(parent) => at = parent.index() - first,
                    None => break None,
                }
            };
            if let Some(hit) = hit {
                let from = chain.iter().position(|&c| c == hit).unwrap_or(0);
                // Rows are in order of start, so the smallest row of the circle starts first.
                if let Some(&earliest) = chain[from..].iter().min() {
                    let i = first + earliest;
                    self.spans.parent[i] = SpanRow::NONE;
                    self.spans.flags[i] |= SPAN_CYCLE;
                    report.cycles.push((self.spans.source[i], self.spans.id[i]));
                }
            }
            for &c in &chain {
                state[c] = 2;
            }
        }
    }

    pub(super) fn build_children(&mut self) {
        let n = self.spans.len();
        let mut start = vec![0_u32; n + 1];
        for parent in self.spans.parent.iter().filter_map(|p| p.get()) {
            start[parent.index() + 1] += 1;
        }
        for i in 0..n {
            start[i + 1] += start[i];
        }
        let mut next = start.clone();
        let mut children = vec![SpanRow::NONE; start[n] as usize];
        // Rows are already by start, then longer first, so filling in row order keeps children sorted.
        for row in 0..n {
            if let Some(parent) = self.spans.parent[row].get() {
                children[next[parent.index()] as usize] = SpanRow::from_index(row);
                next[parent.index()] += 1;
            }
        }
        self.child_start = start;
        self.children = children;
    }

    /// Depths, extents, roots and counts of each trace.
    pub(super) fn measure(&mut self) {
        let mut seen_service: Vec<u32> = vec![u32::MAX; self.services.len()];
        for trace in 0..self.traces.len() {
            let row = TraceRow::from_index(trace);
            let (mut start, mut end, mut errors, mut services, mut roots, mut max_depth) = (i64::MAX, i64::MIN, 0, 0, 0, 0);
            let mut root = SpanRow::NONE;
            let mut stack: Vec<SpanRow> = Vec::new();
            for span in self.traces.spans(row) {
                let i = span.index();
                start = start.min(self.spans.start_ns[i]);
                end = end.max(self.spans.end_ns(span));
                errors += u32::from(self.spans.flags[i] & SPAN_ERROR != 0);
                if let Some(service) = self.service(span).get()
                    && seen_service[service.index()] != trace as u32
                {
                    seen_service[service.index()] = trace as u32;
                    services += 1;
                }
                match self.spans.parent[i].get() {
                    None => {
                        roots += 1;
                        stack.push(span);
                        if root.is_none() || self.spans.duration_ns[i] > self.spans.duration_ns[root.index()] {
                            root = span;
                        }
                    }
                    Some(parent) => {
                        let outside = self.spans.start_ns[i] < self.spans.start_ns[parent.index()]
                            || self.spans.end_ns(span) > self.spans.end_ns(parent);
                        if outside {
                            self.spans.flags[i] |= SPAN_OUTSIDE_PARENT;
                        }
                    }
                }
            }
            while let Some(span) = stack.pop() {
                step(1);
                let depth = self.spans.depth[span.index()];
                max_depth = max_depth.max(depth + 1);
                let range = self.child_start[span.index()] as usize..self.child_start[span.index() + 1] as usize;
                for at in range {
                    let child = self.children[at];
                    self.spans.depth[child.index()] = depth + 1;
                    stack.push(child);
                }
            }
            let t = &mut self.traces;
            t.start_ns.push(start);
            t.end_ns.push(end);
            t.root.push(root);
            t.roots.push(roots);
            t.errors.push(errors);
            t.services.push(services);
            t.max_depth.push(max_depth);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::intern::StringTable;

    fn set(rows: &[(u64, u64, i64, i64, SpanKind)]) -> (TraceSet, LinkReport) {
        let mut strings = StringTable::default();
        let mut t = TraceSet::default();
        let service = t.intern_service(strings.intern("svc"));
        for &(id, parent_id, start_ns, duration_ns, kind) in rows {
            let operation = t.operations.intern(service, strings.intern("op"), kind);
            t.push(RawSpan {
                source: SourceId(0),
                trace_id: strings.intern("t"),
                id,
                parent_id,
                operation,
                start_ns,
                duration_ns,
                ..RawSpan::default()
            });
        }
        let report = t.link();
        (t, report)
    }

    #[test]
    fn a_shared_pair_is_client_over_server_and_children_find_their_half() {
        use SpanKind::*;
        let (t, report) = set(&[(2, 1, 12, 5, Server), (2, 1, 10, 10, Client), (1, 0, 0, 100, Server), (3, 2, 13, 1, Client)]);
        assert_eq!(report, LinkReport::default());
        assert_eq!(t.spans.parent, [SpanRow::NONE, SpanRow(0), SpanRow(1), SpanRow(2)]);
        assert_eq!(t.traces.max_depth, [4]);
        assert!(t.spans.has(SpanRow(2), SPAN_SHARED));
    }

    #[test]
    fn cycles_orphans_and_duplicates_are_reported() {
        use SpanKind::*;
        let (t, report) = set(&[
            (1, 2, 0, 10, Internal),
            (2, 1, 1, 10, Internal),
            (3, 9, 2, 1, Internal),
            (3, 9, 2, 1, Internal),
            (4, 4, 3, 1, Internal),
        ]);
        assert_eq!(report.cycles, [(SourceId(0), 1)]);
        assert_eq!(report.orphans, [(SourceId(0), 3)]);
        assert_eq!(report.duplicates, [(SourceId(0), 3)]);
        assert_eq!(t.spans.len(), 4);
        assert_eq!(t.traces.roots, [3]);
    }

    #[test]
    fn linking_again_changes_nothing() {
        use SpanKind::*;
        let (mut t, _) = set(&[(1, 0, 0, 10, Server), (2, 1, 1, 10, Client), (2, 1, 2, 3, Server)]);
        let before = (t.spans.parent.clone(), t.spans.flags.clone(), t.children.clone());
        t.link();
        assert_eq!((t.spans.parent.clone(), t.spans.flags.clone(), t.children.clone()), before);
    }
}
