//! Linking a copy: what is read of a file so far can be looked at while more of it comes.

use super::trace::{SpanTable, TraceSet, TraceTable};
use crate::base::ids::SpanRow;

/// Spans in the order that linking gives them, and what it derives of them. Attributes, events, links and names are those of the
/// [`TraceSet`] that it was made of, which may have grown since.
#[derive(Clone, Debug, Default)]
pub struct Linked {
    spans: SpanTable,
    traces: TraceTable,
    child_start: Vec<u32>,
    children: Vec<SpanRow>,
}

impl TraceSet {
    /// Links a copy of the spans. The spans themselves stay as they were pushed: linking sorts them and drops duplicates, and
    /// done halfway it would change what the whole file comes to.
    pub fn link_copy(&mut self) -> Linked {
        let mut copy = Linked {
            spans: self.spans.clone(),
            traces: std::mem::take(&mut self.traces),
            child_start: std::mem::take(&mut self.child_start),
            children: std::mem::take(&mut self.children),
        };
        self.link();
        self.exchange(&mut copy);
        copy
    }

    /// Exchanges spans and what is derived of them with those of a linked copy.
    pub fn exchange(&mut self, other: &mut Linked) {
        std::mem::swap(&mut self.spans, &mut other.spans);
        std::mem::swap(&mut self.traces, &mut other.traces);
        std::mem::swap(&mut self.child_start, &mut other.child_start);
        std::mem::swap(&mut self.children, &mut other.children);
    }
}
