//! Traces drawn by hand, for unit tests.

use crate::base::ids::{SourceId, SpanRow};
use crate::base::intern::StringTable;
use crate::model::trace::{AttrValue, RawSpan, SPAN_ASYNC, SPAN_ERROR, SpanKind, TraceSet};

/// A drawn trace with its texts.
pub struct Drawn {
    /// Texts.
    pub strings: StringTable,
    /// Spans.
    pub set: TraceSet,
}

/// A span to be drawn.
#[derive(Clone, Copy, Default)]
pub struct S<'a> {
    /// Unique name.
    pub name: &'a str,
    /// Name of the parent; empty for a root.
    pub parent: &'a str,
    /// Service; empty is `svc`.
    pub service: &'a str,
    /// Shown operation; empty means `name`.
    pub operation: &'a str,
    /// Begin.
    pub start: i64,
    /// Length.
    pub dur: i64,
    /// Text attributes.
    pub attrs: &'a [(&'a str, &'a str)],
    /// Failed.
    pub error: bool,
    /// Kind; unspecified takes it from the last word of the name.
    pub kind: SpanKind,
}

/// Draws one trace. A name that ends with ` client`, ` server`, ` producer`, ` consumer` or ` follows` says its kind.
pub fn draw(spans: &[(&str, &str, i64, i64)]) -> Drawn {
    let all: Vec<S<'_>> = spans.iter().map(|&(name, parent, start, dur)| S { name, parent, start, dur, ..S::default() }).collect();
    let mut drawn = Drawn { strings: StringTable::default(), set: TraceSet::default() };
    add(&mut drawn, "t1", &all);
    drawn.set.link();
    drawn
}

/// Adds a trace; call `set.link()` after the last.
pub fn add(drawn: &mut Drawn, trace: &str, spans: &[S<'_>]) {
    let (strings, set) = (&mut drawn.strings, &mut drawn.set);
    let id = |name: &str| if name.is_empty() { 0 } else { crate::base::hash::hash_bytes(name.as_bytes()).max(1) };
    for s in spans {
        let kind = match (s.kind, s.name.rsplit(' ').next().unwrap_or("")) {
            (SpanKind::Unspecified, "client") => SpanKind::Client,
            (SpanKind::Unspecified, "server") => SpanKind::Server,
            (SpanKind::Unspecified, "producer") => SpanKind::Producer,
            (SpanKind::Unspecified, "consumer") => SpanKind::Consumer,
            (kind, _) => kind,
        };
        let service = set.intern_service(strings.intern(if s.service.is_empty() { "svc" } else { s.service }));
        let operation = strings.intern(if s.operation.is_empty() { s.name } else { s.operation });
        let first = set.attrs.next_row();
        for (key, value) in s.attrs {
            let (key, value) = (strings.intern(key), strings.intern(value));
            set.attrs.push(key, AttrValue::Text(value));
        }
        let mut flags = if s.error { SPAN_ERROR } else { 0 };
        if s.name.ends_with(" follows") {
            flags |= SPAN_ASYNC;
        }
        let operation = set.operations.intern(service, operation, kind);
        set.push(RawSpan {
            source: SourceId(0),
            trace_id: strings.intern(trace),
            id: id(s.name),
            parent_id: id(s.parent),
            operation,
            start_ns: s.start,
            duration_ns: s.dur,
            flags,
            attrs: (first, s.attrs.len() as u32),
            ..RawSpan::default()
        });
    }
}

impl Drawn {
    /// The span of this name.
    pub fn span(&self, name: &str) -> SpanRow {
        let id = crate::base::hash::hash_bytes(name.as_bytes()).max(1);
        SpanRow::from_index(self.set.spans.id.iter().position(|other| *other == id).expect("no such span"))
    }
}
