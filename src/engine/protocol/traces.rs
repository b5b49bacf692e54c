//! The list of traces, one trace as a waterfall, one span in detail.

use super::Failure;
pub use crate::analysis::joined::{ENDPOINT_KEY, SPAN_KEY, Way};
use crate::base::slabs::{Slab, Slabs, Texts};
use serde::{Deserialize, Serialize};

/// By what the list is sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TraceSort {
    /// Duration.
    #[default]
    Duration,
    /// Failed spans.
    Errors,
    /// Spans.
    Spans,
    /// Begin.
    Start,
}

impl TraceSort {
    /// The word in the address bar.
    pub fn word(self) -> &'static str {
        match self {
            TraceSort::Duration => "duration",
            TraceSort::Errors => "errors",
            TraceSort::Spans => "spans",
            TraceSort::Start => "start",
        }
    }
    /// The order of a word; by duration for an unknown one.
    pub fn parse(word: &str) -> TraceSort {
        [TraceSort::Errors, TraceSort::Spans, TraceSort::Start].into_iter().find(|s| s.word() == word).unwrap_or_default()
    }
}

/// Which traces, in which order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TraceQuery {
    /// Order.
    pub sort: TraceSort,
    /// Largest (latest) first.
    pub descending: bool,
    /// Traces with a span whose service, name or trace id contains this text; any case.
    pub search: String,
    /// First row of the answer.
    pub offset: u32,
    /// Most rows of the answer.
    pub limit: u32,
}

/// The answer to [`super::Request::TraceList`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TraceList {
    /// Traces that match.
    pub matching: u32,
    /// All traces.
    pub all: u32,
    /// The rows asked for.
    pub rows: Vec<TraceRow>,
}

/// A trace in the list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TraceRow {
    /// Trace id.
    pub id: String,
    /// Service of the headline root.
    pub service: String,
    /// Operation of the headline root.
    pub operation: String,
    /// Begin, ISO 8601 in UTC.
    pub start: String,
    /// From the earliest begin to the latest end, nanoseconds.
    pub duration_ns: f64,
    /// Spans.
    pub spans: u32,
    /// Distinct services.
    pub services: u32,
    /// Failed spans.
    pub errors: u32,
    /// Spans on the longest path from a root.
    pub depth: u32,
}

/// The failed bit of [`TraceData::flags`].
pub const FLAG_ERROR: u32 = 1;
/// The parent is missing.
pub const FLAG_ORPHAN: u32 = 2;
/// The span has no end.
pub const FLAG_UNFINISHED: u32 = 8;
/// The parent does not wait for it.
pub const FLAG_ASYNC: u32 = 16;
/// It does not lie inside its parent.
pub const FLAG_OUTSIDE: u32 = 64;

/// It is shown at another time than the file gives, because its host's clock differs.
pub const FLAG_SHIFTED: u32 = 1 << 16;

/// Calls between two hosts of a trace of which some lie outside their callers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClockSkew {
    /// The caller's host, or its service where no host is named.
    pub from: String,
    /// The callee's.
    pub to: String,
    /// Calls that tell an offset.
    pub calls: u32,
    /// Calls that lie outside their callers.
    pub outside: u32,
    /// What the callee's clock lacks, median over the calls, nanoseconds.
    pub median_ns: f64,
    /// Quartiles of it.
    pub quartiles_ns: (f64, f64),
    /// Whether it is one constant offset.
    pub constant: bool,
}

/// What holds for a trace as a whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TraceHead {
    /// As in the list.
    pub row: TraceRow,
    /// Rows.
    pub rows: u32,
    /// Length of the headline root, which the critical path adds up to, in nanoseconds.
    pub critical_ns: f64,
    /// Pairs of hosts whose clocks differ, as the files have them.
    #[serde(default)]
    pub clocks: Vec<ClockSkew>,
    /// Spans that aligning moves.
    #[serde(default)]
    pub movable: u32,
    /// Whether they are moved.
    #[serde(default)]
    pub aligned: bool,
}

/// The answer to [`super::Request::Trace`]: rows in display order, parents before children.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TraceData {
    /// The trace as a whole.
    pub head: TraceHead,
    /// Row of the parent; `u32::MAX` for roots and orphans.
    pub parent: Vec<u32>,
    /// Distance from the root.
    pub depth: Vec<u32>,
    /// Row after the last descendant.
    pub end_row: Vec<u32>,
    /// Position in `texts` of the service.
    pub service: Vec<u32>,
    /// Position in `texts` of the operation.
    pub operation: Vec<u32>,
    /// Kind, as OTLP numbers them.
    pub kind: Vec<u32>,
    /// `FLAG_*` bits.
    pub flags: Vec<u32>,
    /// Begin in nanoseconds since the trace's begin.
    pub start: Vec<f64>,
    /// Length in nanoseconds.
    pub duration: Vec<f64>,
    /// Time in no child that was waited for, in nanoseconds.
    pub self_time: Vec<f64>,
    /// Critical path: rows of its sections, earliest first.
    pub critical_row: Vec<u32>,
    /// Critical path: begin and end of each section in nanoseconds since the trace's begin, in pairs.
    pub critical_time: Vec<f64>,
    /// Services and operations, each once.
    pub texts: Texts,
    /// Span id per row.
    pub ids: Texts,
}

impl TraceData {
    /// The message.
    ///
    /// # Errors
    /// Never in practice; a number in the head that JSON does not know would be one.
    pub fn encode(self) -> Result<Slabs, Failure> {
        let head = serde_json::to_string(&self.head).map_err(|e| Failure::new(e.to_string()))?;
        let mut slabs: Vec<Slab> =
            [self.parent, self.depth, self.end_row, self.service, self.operation, self.kind, self.flags].map(Slab::U32).into();
        slabs.extend([self.start, self.duration, self.self_time].map(Slab::F64));
        slabs.extend([Slab::U32(self.critical_row), Slab::F64(self.critical_time)]);
        slabs.extend(self.texts.into_slabs());
        slabs.extend(self.ids.into_slabs());
        Ok(Slabs { head, slabs })
    }

    /// Reads the message.
    ///
    /// # Errors
    /// [`Failure`] when the head is not that of a trace or columns have different lengths.
    pub fn decode(slabs: Slabs) -> Result<TraceData, Failure> {
        let head: TraceHead = serde_json::from_str(&slabs.head).map_err(|e| Failure::new(format!("not a trace: {e}")))?;
        let mut r = slabs.reader();
        let out = TraceData {
            head,
            parent: r.u32(),
            depth: r.u32(),
            end_row: r.u32(),
            service: r.u32(),
            operation: r.u32(),
            kind: r.u32(),
            flags: r.u32(),
            start: r.f64(),
            duration: r.f64(),
            self_time: r.f64(),
            critical_row: r.u32(),
            critical_time: r.f64(),
            texts: r.texts(),
            ids: r.texts(),
        };
        let n = out.head.rows as usize;
        let lengths = [
            out.parent.len(),
            out.depth.len(),
            out.end_row.len(),
            out.service.len(),
            out.operation.len(),
            out.flags.len(),
            out.start.len(),
            out.duration.len(),
            out.self_time.len(),
            out.ids.len(),
        ];
        if lengths.iter().any(|l| *l != n) || out.critical_time.len() != out.critical_row.len() * 2 {
            return Err(Failure::new("a trace with columns of different lengths"));
        }
        Ok(out)
    }
}

/// Keys and values as text.
pub type Pairs = Vec<(String, String)>;

/// The answer to [`super::Request::Span`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SpanDetail {
    /// Span id.
    pub id: String,
    /// Parent's span id; empty for none.
    pub parent: String,
    /// Service.
    pub service: String,
    /// Operation.
    pub operation: String,
    /// Kind.
    pub kind: String,
    /// Instrumentation scope.
    pub scope: String,
    /// Begin, ISO 8601 in UTC.
    pub start: String,
    /// Begin since the trace's begin, nanoseconds.
    pub offset_ns: f64,
    /// Length, nanoseconds.
    pub duration_ns: f64,
    /// Self time, nanoseconds.
    pub self_ns: f64,
    /// How much less the trace's root would take if the span took no time, nanoseconds; `None` where it does not wait for it.
    #[serde(default)]
    pub drag_ns: Option<f64>,
    /// Spans like it under its parent, itself included.
    #[serde(default)]
    pub siblings: u32,
    /// Spans like it in the trace, itself included.
    #[serde(default)]
    pub alike: u32,
    /// How much longer the span could take before the root takes longer, nanoseconds.
    #[serde(default)]
    pub slack_ns: Option<f64>,
    /// Remarks such as "failed", "parent missing".
    pub remarks: Vec<String>,
    /// Attributes: key and value as text.
    pub attributes: Vec<(String, String)>,
    /// Attributes of the resource.
    pub resource: Vec<(String, String)>,
    /// Events.
    pub events: Vec<EventDetail>,
    /// Links: trace id, span id, attributes.
    pub links: Vec<(String, String, Pairs)>,
    /// Samples that are joined with it, by profile; empty if none are.
    #[serde(default)]
    pub samples: Vec<SpanSamples>,
}

/// The samples of one profile that were taken during a span, spans below it apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpanSamples {
    /// Profile, position in the session.
    pub profile: u32,
    /// Name of the value type.
    pub value: String,
    /// Its unit.
    pub unit: String,
    /// Weight of the span's samples.
    pub weight: f64,
    /// How many samples.
    pub samples: u64,
    /// Share of the span's time that it spends on the CPU; `None` for other values than CPU time.
    pub of_span: Option<f64>,
    /// Functions at the leaves with their weight, the heaviest ten.
    pub functions: Vec<(String, f64)>,
    /// Value of the label filter `joined.span` that selects them.
    pub span: String,
    /// Value of the label filter `joined.endpoint` that selects the samples of all requests of its kind.
    pub endpoint: String,
    /// What joined them.
    pub way: Way,
}

/// An event of a span.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EventDetail {
    /// Time since the span's begin, nanoseconds.
    pub offset_ns: f64,
    /// Name.
    pub name: String,
    /// Attributes.
    pub attributes: Vec<(String, String)>,
}
