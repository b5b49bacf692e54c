//! One trace on another time line: a copy of its spans with their begins moved, so that what is drawn or measured from it needs
//! no notion of clocks. The tables of the session keep the times of the files.

use super::trace::TraceSet;
use crate::base::ids::{SpanRow, TraceRow};
use std::cmp::Reverse;

/// A trace with moved spans.
#[derive(Clone, Debug, Default)]
pub struct Shifted {
    /// One trace, row 0, in order again. Attributes, events and links are not in it: they are those of the original rows.
    pub set: TraceSet,
    /// Row of the session per row of `set`.
    pub original: Vec<SpanRow>,
    /// How far each row of `set` was moved, nanoseconds.
    pub shift_ns: Vec<i64>,
}

impl TraceSet {
    /// Moves the spans of a trace; `shift_ns` runs in parallel with its rows. Parents, flags and ids stay as linking found them,
    /// but for what follows from times: order, extents, and which spans lie outside their parents.
    pub fn shifted(&self, trace: TraceRow, shift_ns: &[i64]) -> Shifted {
        let first = self.traces.first_span[trace.index()].index();
        let start = |at: usize| self.spans.start_ns[first + at].saturating_add(shift_ns[at]);
        let mut order: Vec<usize> = (0..shift_ns.len()).collect();
        order.sort_by_key(|&at| (start(at), Reverse(self.spans.duration_ns[first + at]), at));
        let mut row_of = vec![SpanRow::NONE; order.len()];
        for (row, &at) in order.iter().enumerate() {
            row_of[at] = SpanRow::from_index(row);
        }
        let mut out = Shifted::default();
        out.set.services.clone_from(&self.services);
        out.set.operations = self.operations.clone();
        out.set.odd_ids.clone_from(&self.odd_ids);
        for &at in &order {
            let i = first + at;
            let (t, from) = (&mut out.set.spans, &self.spans);
            t.source.push(from.source[i]);
            t.trace_id.push(from.trace_id[i]);
            t.id.push(from.id[i]);
            t.parent_id.push(from.parent_id[i]);
            t.operation.push(from.operation[i]);
            t.start_ns.push(start(at));
            t.duration_ns.push(from.duration_ns[i]);
            t.flags.push(from.flags[i] & !super::trace::SPAN_OUTSIDE_PARENT);
            t.resource.push(from.resource[i]);
            t.scope.push(from.scope[i]);
            for column in [&mut t.attr_start, &mut t.attr_len, &mut t.event_start, &mut t.event_len, &mut t.link_start, &mut t.link_len] {
                column.push(0);
            }
            t.trace.push(TraceRow(0));
            t.parent.push(from.parent[i].get().map_or(SpanRow::NONE, |parent| row_of[parent.index() - first]));
            t.depth.push(0);
            out.original.push(SpanRow::from_index(i));
            out.shift_ns.push(shift_ns[at]);
        }
        out.set.traces.id.push(self.traces.id[trace.index()]);
        out.set.traces.first_span.push(SpanRow(0));
        out.set.traces.end_span.push(SpanRow::from_index(order.len()));
        out.set.build_children();
        out.set.measure();
        out
    }

    /// Moves all spans of the set and their events, and links it anew. `shift_ns` runs in parallel with its rows.
    pub fn shift_all(&mut self, shift_ns: &[i64]) {
        for (i, &shift) in shift_ns.iter().enumerate().filter(|(_, shift)| **shift != 0) {
            self.spans.start_ns[i] = self.spans.start_ns[i].saturating_add(shift);
            let events = self.spans.event_start[i] as usize..(self.spans.event_start[i] + self.spans.event_len[i]) as usize;
            for time in &mut self.events.time_ns[events] {
                *time = time.saturating_add(shift);
            }
        }
        self.link();
    }
}
