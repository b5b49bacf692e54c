//! How much of each span lies on the critical path of its trace, for all traces at once.

use crate::analysis::clipped::Clipped;
use crate::analysis::critical_path::critical_path;
use crate::base::ids::{SpanRow, TraceRow};
use crate::model::Session;

/// Time on the critical path by span: what the root waited for in the span itself and in none of its children.
#[derive(Debug, Default)]
pub struct PathTable {
    own: Vec<i64>,
}

impl PathTable {
    /// Follows the critical path of every trace from its headline root. Costs one sort of the children of each span on a path.
    pub fn new(session: &Session) -> PathTable {
        let set = &session.traces;
        let mut own = vec![0_i64; set.spans.len()];
        for trace in (0..set.traces.len()).map(TraceRow::from_index) {
            let Some(root) = set.traces.root[trace.index()].get() else { continue };
            let clipped = Clipped::of(set, trace);
            for section in critical_path(set, &clipped, root) {
                own[section.span.index()] += section.to - section.from;
            }
        }
        PathTable { own }
    }

    /// Nanoseconds of the critical path that the span itself takes; 0 off the path.
    pub fn own(&self, span: SpanRow) -> i64 {
        self.own[span.index()]
    }
}
