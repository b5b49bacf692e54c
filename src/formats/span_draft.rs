//! A span as a reader gathers it, before it becomes rows: the same for all formats whose records are whole spans.

use super::Import;
use super::json::Scalar;
use crate::base::ids::SpanRow;
use crate::base::ids::{ResourceId, ServiceId, StringId};
use crate::model::trace::{RawSpan, SPAN_ASYNC, SPAN_UNFINISHED, SpanKind};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Keys and values in file order.
pub type Attrs<'a> = Vec<(Cow<'a, str>, Scalar<'a>)>;

/// An event.
#[derive(Debug, Default)]
pub struct DraftEvent<'a> {
    /// Time, nanoseconds since 1970; `None` when the file does not say (then the span's begin).
    pub time_ns: Option<i64>,
    /// Name.
    pub name: Cow<'a, str>,
    /// Attributes.
    pub attrs: Attrs<'a>,
}

/// A link.
#[derive(Debug, Default)]
pub struct DraftLink<'a> {
    /// Trace id as the file has it.
    pub trace: Cow<'a, str>,
    /// Span id as the file has it.
    pub span: Cow<'a, str>,
    /// Attributes.
    pub attrs: Attrs<'a>,
}

/// A span.
#[derive(Debug, Default)]
pub struct Draft<'a> {
    /// Trace id as the file has it: hex or base64.
    pub trace: Cow<'a, str>,
    /// Span id as the file has it.
    pub id: Cow<'a, str>,
    /// Parent's span id; empty for none.
    pub parent: Cow<'a, str>,
    /// Operation.
    pub name: Cow<'a, str>,
    /// Kind.
    pub kind: SpanKind,
    /// Begin, nanoseconds since 1970; 0 when the file does not say.
    pub start_ns: i64,
    /// End; `None` when the file does not say.
    pub end_ns: Option<i64>,
    /// `SPAN_*` bits.
    pub flags: u16,
    /// Service.
    pub service: ServiceId,
    /// Resource.
    pub resource: ResourceId,
    /// Scope name; empty for none.
    pub scope: Cow<'a, str>,
    /// Attributes.
    pub attrs: Attrs<'a>,
    /// Events.
    pub events: Vec<DraftEvent<'a>>,
    /// Links.
    pub links: Vec<DraftLink<'a>>,
}

impl<'a> Draft<'a> {
    /// Adds an attribute unless it is null.
    pub fn attr(&mut self, key: impl Into<Cow<'a, str>>, value: Scalar<'a>) {
        if value != Scalar::Null {
            self.attrs.push((key.into(), value));
        }
    }

    /// Adds an attribute that is a text, unless it is empty.
    pub fn text(&mut self, key: &'static str, value: impl Into<Cow<'a, str>>) {
        let value = value.into();
        if !value.is_empty() {
            self.attrs.push((key.into(), Scalar::Text(value)));
        }
    }

    /// The last attribute of this name.
    pub fn get(&self, key: &str) -> Option<&Scalar<'a>> {
        self.attrs.iter().rfind(|(k, _)| k == key).map(|(_, value)| value)
    }

    /// Stores the span and counts it as kept. A span without an end is unfinished unless the flags say otherwise already.
    pub fn store(mut self, import: &mut Import<'_>) -> SpanRow {
        let record = import.ledger.records_in;
        let duration_ns = match self.end_ns {
            Some(end) => import.span_length(self.start_ns, end, record, &self.name),
            None => import.span_length(self.start_ns, self.start_ns, record, &self.name),
        };
        if self.kind == SpanKind::Consumer {
            self.flags |= SPAN_ASYNC;
        }
        let attrs = import.attrs(&self.attrs);
        let mut events = (import.session.traces.events.name.len() as u32, 0);
        for event in &self.events {
            let attrs = import.attrs(&event.attrs);
            import.event(event.time_ns.unwrap_or(self.start_ns), &event.name, attrs);
            events.1 += 1;
        }
        let mut links = (import.session.traces.links.trace_id.len() as u32, 0);
        for link in &self.links {
            let attrs = import.attrs(&link.attrs);
            let (trace, span) = (import.trace_id(&link.trace), import.span_id(&link.span));
            import.link(trace, span, attrs);
            links.1 += 1;
        }
        let name = import.session.strings.intern(&self.name);
        let raw = RawSpan {
            source: import.source,
            trace_id: import.trace_id(&self.trace),
            id: import.span_id(&self.id),
            parent_id: import.span_id(&self.parent),
            operation: import.session.traces.operations.intern(self.service, name, self.kind),
            start_ns: self.start_ns,
            duration_ns,
            flags: self.flags,
            resource: self.resource,
            scope: if self.scope.is_empty() { StringId::NONE } else { import.session.strings.intern(&self.scope) },
            attrs,
            events,
            links,
        };
        import.ledger.records_kept += 1;
        import.session.traces.push(raw)
    }
}

impl Draft<'_> {
    /// Marks a span that has begun and not ended.
    pub fn unfinished(&mut self) {
        self.end_ns = None;
        self.flags |= SPAN_UNFINISHED;
    }
}

impl Import<'_> {
    /// Appends attributes; gives their rows.
    pub fn attrs(&mut self, list: &[(Cow<'_, str>, Scalar<'_>)]) -> (u32, u32) {
        let start = self.next_attr();
        for (key, value) in list {
            self.attr(key, value);
        }
        (start, self.next_attr() - start)
    }

    /// Appends an event whose attributes are stored already.
    pub fn event(&mut self, time_ns: i64, name: &str, attrs: (u32, u32)) {
        let name = self.session.strings.intern(name);
        let table = &mut self.session.traces.events;
        table.time_ns.push(time_ns);
        table.name.push(name);
        table.attr_start.push(attrs.0);
        table.attr_len.push(attrs.1);
    }

    /// Appends a link whose attributes are stored already.
    pub fn link(&mut self, trace: StringId, span: u64, attrs: (u32, u32)) {
        let table = &mut self.session.traces.links;
        table.trace_id.push(trace);
        table.span_id.push(span);
        table.attr_start.push(attrs.0);
        table.attr_len.push(attrs.1);
    }

    /// Appends a resource whose attributes are stored already.
    pub fn resource(&mut self, service: ServiceId, attrs: (u32, u32)) -> ResourceId {
        let table = &mut self.session.traces.resources;
        table.service.push(service);
        table.attr_start.push(attrs.0);
        table.attr_len.push(attrs.1);
        ResourceId::from_index(table.service.len() - 1)
    }
}

/// Resources that every record repeats: each is stored once.
#[derive(Default)]
pub struct Resources {
    known: BTreeMap<String, (ResourceId, ServiceId)>,
}

impl Resources {
    /// The resource with these attributes, and its service.
    pub fn get(&mut self, service: &str, attrs: &[(Cow<'_, str>, Scalar<'_>)], import: &mut Import<'_>) -> (ResourceId, ServiceId) {
        let key = format!("{service:?}{attrs:?}");
        if let Some(known) = self.known.get(&key) {
            return *known;
        }
        let service = import.service(service);
        let rows = import.attrs(attrs);
        let made = (import.resource(service, rows), service);
        self.known.insert(key, made);
        made
    }

    /// Forgets all, where the next ones must not depend on what was read before.
    pub fn clear(&mut self) {
        self.known.clear();
    }
}

/// The name of the service among a resource's attributes; empty for none.
pub fn service_name<'t>(attrs: &'t [(Cow<'_, str>, Scalar<'_>)]) -> &'t str {
    attrs.iter().rfind(|(key, _)| key == "service.name").and_then(|(_, value)| value.text()).unwrap_or("")
}
