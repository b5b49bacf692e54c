//! A trace with every child brought inside its parent: the common ground of critical path and replay.
//!
//! Raw times stay in the table; nothing here is shown as a span's time. Follows TRACES 4.4 of the project's notes: what lies
//! outside the parent is dropped, what overlaps is clipped, a server half that another host's clock moved out of its client
//! is moved back as a whole (CRISP, `sanitizeOverflowingChildren`), and what the parent does not wait for is left out.

use crate::base::ids::{SpanRow, TraceRow};
use crate::base::work::step;
use crate::model::trace::{SPAN_ASYNC, SPAN_NO_DURATION, SPAN_UNFINISHED, SpanKind, TraceSet};

/// How a span takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Not at all: outside its parent, asynchronous, or below such a span.
    Out,
    /// On the time line of its parent, which does not wait for its end.
    Seen,
    /// The parent waits for it.
    Waited,
}

/// The clipped times of one trace. Columns are indexed by span row minus the trace's first.
#[derive(Clone, Debug, Default)]
pub struct Clipped {
    first: usize,
    start: Vec<i64>,
    end: Vec<i64>,
    shift: Vec<i64>,
    part: Vec<Part>,
    /// All spans, parents before their children.
    pub order: Vec<SpanRow>,
}

impl Clipped {
    /// Clips all trees of a trace.
    pub fn of(set: &TraceSet, trace: TraceRow) -> Clipped {
        let spans = set.traces.spans(trace);
        let first = set.traces.first_span[trace.index()].index();
        let n = spans.len();
        let mut out = Clipped {
            first,
            start: vec![0; n],
            end: vec![0; n],
            shift: vec![0; n],
            part: vec![Part::Out; n],
            order: Vec::with_capacity(n),
        };
        for span in spans.filter(|s| set.spans.parent[s.index()].is_none()) {
            out.set(span, set.spans.start_ns[span.index()], set.spans.end_ns(span), 0, Part::Waited);
            out.order.push(span);
        }
        // `order` grows while it is walked: breadth first, so parents come before children without a stack.
        let mut at = 0;
        while at < out.order.len() {
            let parent = out.order[at];
            at += 1;
            for &child in set.children(parent) {
                step(1);
                out.clip(set, parent, child);
                out.order.push(child);
            }
        }
        out
    }

    fn clip(&mut self, set: &TraceSet, parent: SpanRow, child: SpanRow) {
        let p = parent.index() - self.first;
        let (from, to, shift) = (self.start[p], self.end[p], self.shift[p]);
        let mut start = set.spans.start_ns[child.index()].saturating_add(shift);
        let mut end = set.spans.end_ns(child).saturating_add(shift);
        let mut own_shift = shift;
        if self.part[p] == Part::Out || consumes(set, parent, child) {
            return self.set(child, start, end, own_shift, Part::Out);
        }
        if is_server_half(set, parent, child) && (start < from || end > to) && end - start <= (to - from) + (to - from) / 100 {
            let delay = if start < from { from - start } else { (to - end).max(from - start) };
            start += delay;
            end += delay;
            own_shift += delay;
        }
        let follows = set.spans.has(child, SPAN_ASYNC);
        let outside = start > to || end < from || (start == to && end > to) || (end == from && start < from);
        if outside || (follows && end > to) {
            return self.set(child, start, end, own_shift, Part::Out);
        }
        // A child that outlives its parent by more than the clocks' jitter was not waited for.
        let outlives = end - to > (to - from) / 100;
        let part = if follows || outlives { Part::Seen } else { Part::Waited };
        self.set(child, start.clamp(from, to), end.clamp(from, to), own_shift, part);
    }

    fn set(&mut self, span: SpanRow, start: i64, end: i64, shift: i64, part: Part) {
        let i = span.index() - self.first;
        self.start[i] = start;
        self.end[i] = end;
        self.shift[i] = shift;
        self.part[i] = part;
    }

    /// Clipped begin, nanoseconds since 1970.
    pub fn start(&self, span: SpanRow) -> i64 {
        self.start[span.index() - self.first]
    }

    /// Clipped end, nanoseconds since 1970.
    pub fn end(&self, span: SpanRow) -> i64 {
        self.end[span.index() - self.first]
    }

    /// Clipped length, nanoseconds.
    pub fn duration(&self, span: SpanRow) -> i64 {
        self.end(span) - self.start(span)
    }

    /// How far the span was moved because its host's clock differs from its client's, nanoseconds.
    pub fn shift(&self, span: SpanRow) -> i64 {
        self.shift[span.index() - self.first]
    }

    /// How the span takes part.
    pub fn part(&self, span: SpanRow) -> Part {
        self.part[span.index() - self.first]
    }

    /// The position of a span in columns that run parallel to the trace.
    pub fn position(&self, span: SpanRow) -> usize {
        span.index() - self.first
    }

    /// How many spans the trace has.
    pub fn len(&self) -> usize {
        self.start.len()
    }

    /// Whether the trace has no spans.
    pub fn is_empty(&self) -> bool {
        self.start.is_empty()
    }
}

/// Handling of a message under its sending: never waited for.
fn consumes(set: &TraceSet, parent: SpanRow, child: SpanRow) -> bool {
    set.kind(parent) == SpanKind::Producer && set.kind(child) == SpanKind::Consumer
}

/// The only child of a client span, on the other side of the wire.
fn is_server_half(set: &TraceSet, parent: SpanRow, child: SpanRow) -> bool {
    set.kind(parent) == SpanKind::Client
        && set.kind(child) == SpanKind::Server
        && set.children(parent).len() == 1
        && !set.spans.has(parent, SPAN_NO_DURATION | SPAN_UNFINISHED)
}
