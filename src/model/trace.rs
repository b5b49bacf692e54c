//! Spans, traces, services: the tables of distributed traces.
//!
//! Readers append spans in file order with [`TraceSet::push`]; [`TraceSet::link`](crate::model::trace_link) then groups them
//! by trace, resolves parents and sorts. Linking may be repeated after more files were read: raw ids stay in the table.

use crate::base::hash::hash_u64;
use crate::base::ids::{OperationId, ResourceId, ServiceId, SourceId, SpanRow, StringId, TraceRow};
use crate::base::intern::{RowIndex, StringTable};

/// Begins are kept up to this moment before and after 1970: the year 2100. What lies beyond is damage, and differences of such
/// times would leave the range of integers.
pub const LATEST: i64 = 4_102_444_800_000_000_000;
/// Spans are kept up to this length, two years, for the same reason.
pub const LONGEST: i64 = 63_072_000_000_000_000;

/// Span kinds, as OTLP numbers them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SpanKind {
    /// Not said.
    #[default]
    Unspecified,
    /// Work inside a service.
    Internal,
    /// Handling of a request.
    Server,
    /// An outgoing call.
    Client,
    /// Sending of a message.
    Producer,
    /// Handling of a message.
    Consumer,
}

impl SpanKind {
    /// The kind's name in lower case; `unspecified` for none.
    pub fn name(self) -> &'static str {
        match self {
            SpanKind::Unspecified => "unspecified",
            SpanKind::Internal => "internal",
            SpanKind::Server => "server",
            SpanKind::Client => "client",
            SpanKind::Producer => "producer",
            SpanKind::Consumer => "consumer",
        }
    }
}

/// The span failed.
pub const SPAN_ERROR: u16 = 1;
/// Its parent id is not in the trace.
pub const SPAN_ORPHAN: u16 = 2;
/// Another span of the trace has the same id (and it is not a shared client/server pair).
pub const SPAN_DUPLICATE_ID: u16 = 4;
/// It has no end (unfinished, in progress).
pub const SPAN_UNFINISHED: u16 = 8;
/// It follows from its parent or consumes its message: the parent does not wait for it.
pub const SPAN_ASYNC: u16 = 16;
/// The server half of a span whose id both sides share (Zipkin B3). Set by linking or by the reader.
pub const SPAN_SHARED: u16 = 32;
/// It does not lie inside its parent's interval.
pub const SPAN_OUTSIDE_PARENT: u16 = 64;
/// The format gave no duration; stored as 0.
pub const SPAN_NO_DURATION: u16 = 128;
/// Its parent chain was a cycle, cut here.
pub const SPAN_CYCLE: u16 = 256;
/// The parent is in another process (OTLP flags bit 9).
pub const SPAN_REMOTE_PARENT: u16 = 512;

/// Bits that linking computes anew; readers set the others.
pub const SPAN_DERIVED: u16 = SPAN_ORPHAN | SPAN_DUPLICATE_ID | SPAN_OUTSIDE_PARENT | SPAN_CYCLE;

/// Spans; after linking contiguous by trace, in order of start, then longer first, then file order.
#[derive(Clone, Debug, Default)]
pub struct SpanTable {
    /// File.
    pub source: Vec<SourceId>,
    /// Trace id as normalised text: lower-case hex.
    pub trace_id: Vec<StringId>,
    /// Span id; ids that are not at most 16 hex digits are hashed and kept in `odd_ids`. 0 if missing.
    pub id: Vec<u64>,
    /// Parent's span id, by the same rule; 0 for none.
    pub parent_id: Vec<u64>,
    /// Service, name, kind.
    pub operation: Vec<OperationId>,
    /// Begin, nanoseconds since 1970.
    pub start_ns: Vec<i64>,
    /// Length in nanoseconds, never negative.
    pub duration_ns: Vec<i64>,
    /// `SPAN_*` bits.
    pub flags: Vec<u16>,
    /// Resource block.
    pub resource: Vec<ResourceId>,
    /// Instrumentation scope (library) name; `NONE` if unknown.
    pub scope: Vec<StringId>,
    /// Attributes: `attrs[attr_start..attr_start + attr_len]`.
    pub attr_start: Vec<u32>,
    /// Count of attributes.
    pub attr_len: Vec<u32>,
    /// Events: rows `event_start..event_start + event_len`.
    pub event_start: Vec<u32>,
    /// Count of events.
    pub event_len: Vec<u32>,
    /// Links: rows `link_start..link_start + link_len`.
    pub link_start: Vec<u32>,
    /// Count of links.
    pub link_len: Vec<u32>,
    /// Trace row. Derived by linking.
    pub trace: Vec<TraceRow>,
    /// Parent row; `NONE` for roots and orphans. Derived by linking.
    pub parent: Vec<SpanRow>,
    /// Distance from the root. Derived by linking.
    pub depth: Vec<u32>,
}

impl SpanTable {
    /// How many spans.
    pub fn len(&self) -> usize {
        self.id.len()
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.id.is_empty()
    }
    /// End, nanoseconds since 1970, saturating.
    pub fn end_ns(&self, span: SpanRow) -> i64 {
        self.start_ns[span.index()].saturating_add(self.duration_ns[span.index()])
    }
    /// Whether a flag is set.
    pub fn has(&self, span: SpanRow, flag: u16) -> bool {
        self.flags[span.index()] & flag != 0
    }
}

/// A span as a reader hands it over. Ranges refer to rows already pushed to the attribute, event and link tables.
#[derive(Clone, Debug, Default)]
pub struct RawSpan {
    /// File.
    pub source: SourceId,
    /// Normalised trace id.
    pub trace_id: StringId,
    /// Span id (see [`span_id`]).
    pub id: u64,
    /// Parent span id or 0.
    pub parent_id: u64,
    /// Operation.
    pub operation: OperationId,
    /// Begin, nanoseconds since 1970.
    pub start_ns: i64,
    /// Length, nanoseconds; negative ones are stored as 0 (the reader reports them).
    pub duration_ns: i64,
    /// `SPAN_*` bits that a reader may set.
    pub flags: u16,
    /// Resource block or `NONE`.
    pub resource: ResourceId,
    /// Scope name or `NONE`.
    pub scope: StringId,
    /// Attribute rows: start and count.
    pub attrs: (u32, u32),
    /// Event rows: start and count.
    pub events: (u32, u32),
    /// Link rows: start and count.
    pub links: (u32, u32),
}

/// An attribute's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AttrValue {
    /// Text.
    Text(StringId),
    /// Integer.
    Int(i64),
    /// Floating point.
    Double(f64),
    /// Truth value.
    Bool(bool),
    /// An array or object, as JSON text.
    Json(StringId),
}

/// Attributes of spans, events, links and resources.
#[derive(Clone, Debug, Default)]
pub struct AttrTable {
    /// Key.
    pub key: Vec<StringId>,
    /// Value.
    pub value: Vec<AttrValue>,
}

impl AttrTable {
    /// Appends one attribute and returns its row.
    pub fn push(&mut self, key: StringId, value: AttrValue) -> u32 {
        self.key.push(key);
        self.value.push(value);
        self.key.len() as u32 - 1
    }
    /// The row that the next `push` will get.
    pub fn next_row(&self) -> u32 {
        self.key.len() as u32
    }
}

/// Events inside spans (logs, annotations).
#[derive(Clone, Debug, Default)]
pub struct EventTable {
    /// Time, nanoseconds since 1970.
    pub time_ns: Vec<i64>,
    /// Name.
    pub name: Vec<StringId>,
    /// Attribute rows: start.
    pub attr_start: Vec<u32>,
    /// Attribute rows: count.
    pub attr_len: Vec<u32>,
}

/// Links from spans to spans, possibly of other traces.
#[derive(Clone, Debug, Default)]
pub struct LinkTable {
    /// Trace id of the target, normalised.
    pub trace_id: Vec<StringId>,
    /// Span id of the target.
    pub span_id: Vec<u64>,
    /// Attribute rows: start.
    pub attr_start: Vec<u32>,
    /// Attribute rows: count.
    pub attr_len: Vec<u32>,
}

/// Resource blocks: what all spans of one process instance share.
#[derive(Clone, Debug, Default)]
pub struct ResourceTable {
    /// Service.
    pub service: Vec<ServiceId>,
    /// Attribute rows: start.
    pub attr_start: Vec<u32>,
    /// Attribute rows: count.
    pub attr_len: Vec<u32>,
}

/// Operations. Key: service, name, kind.
#[derive(Clone, Debug, Default)]
pub struct OperationTable {
    /// Service.
    pub service: Vec<ServiceId>,
    /// Span name.
    pub name: Vec<StringId>,
    /// Span kind.
    pub kind: Vec<SpanKind>,
    pub(super) index: RowIndex,
}

impl OperationTable {
    /// The row of an operation.
    pub fn intern(&mut self, service: ServiceId, name: StringId, kind: SpanKind) -> OperationId {
        let hash = hash_u64(u64::from(service.0) << 32 | u64::from(name.0), kind as u64);
        if let Some(row) = self.index.find(hash, |row| {
            let i = row as usize;
            self.service[i] == service && self.name[i] == name && self.kind[i] == kind
        }) {
            return OperationId(row);
        }
        let row = self.name.len() as u32;
        self.service.push(service);
        self.name.push(name);
        self.kind.push(kind);
        let (services, names, kinds) = (&self.service, &self.name, &self.kind);
        self.index.insert(hash, row, |row| {
            let i = row as usize;
            hash_u64(u64::from(services[i].0) << 32 | u64::from(names[i].0), kinds[i] as u64)
        });
        OperationId(row)
    }
    /// How many operations.
    pub fn len(&self) -> usize {
        self.name.len()
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.name.is_empty()
    }
}

/// Traces, in order of their first appearance in the files.
#[derive(Clone, Debug, Default)]
pub struct TraceTable {
    /// Normalised trace id.
    pub id: Vec<StringId>,
    /// First span row.
    pub first_span: Vec<SpanRow>,
    /// Row after the last span.
    pub end_span: Vec<SpanRow>,
    /// Earliest begin, nanoseconds since 1970.
    pub start_ns: Vec<i64>,
    /// Latest end, nanoseconds since 1970.
    pub end_ns: Vec<i64>,
    /// The headline root: the longest span without a parent in the trace.
    pub root: Vec<SpanRow>,
    /// Spans without a parent in the trace, orphans included.
    pub roots: Vec<u32>,
    /// Failed spans.
    pub errors: Vec<u32>,
    /// Distinct services.
    pub services: Vec<u32>,
    /// Spans on the longest path from a root: 1 for a lone span.
    pub max_depth: Vec<u32>,
}

impl TraceTable {
    /// How many traces.
    pub fn len(&self) -> usize {
        self.id.len()
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.id.is_empty()
    }
    /// The span rows of a trace.
    pub fn spans(&self, trace: TraceRow) -> impl DoubleEndedIterator<Item = SpanRow> + ExactSizeIterator + use<> {
        (self.first_span[trace.index()].0 as usize..self.end_span[trace.index()].0 as usize).map(SpanRow::from_index)
    }
    /// Latest end minus earliest begin, nanoseconds.
    pub fn duration_ns(&self, trace: TraceRow) -> i64 {
        self.end_ns[trace.index()].saturating_sub(self.start_ns[trace.index()])
    }
}

/// All spans of a session and what they refer to.
#[derive(Clone, Debug, Default)]
pub struct TraceSet {
    /// Spans.
    pub spans: SpanTable,
    /// Traces. Derived by linking.
    pub traces: TraceTable,
    /// Service names; a [`ServiceId`] is a position here.
    pub services: Vec<StringId>,
    /// Operations.
    pub operations: OperationTable,
    /// Attributes.
    pub attrs: AttrTable,
    /// Events.
    pub events: EventTable,
    /// Links.
    pub links: LinkTable,
    /// Resources.
    pub resources: ResourceTable,
    /// Original text of ids that are not at most 16 hex digits, by their hash, sorted by hash after linking.
    pub odd_ids: Vec<(u64, StringId)>,
    /// Children of span `i`: `children[child_start[i]..child_start[i + 1]]`, by start, then longer first. Derived.
    pub child_start: Vec<u32>,
    /// See `child_start`. Derived.
    pub children: Vec<SpanRow>,
    pub(super) service_index: RowIndex,
}

impl TraceSet {
    /// The id of a service name.
    pub fn intern_service(&mut self, name: StringId) -> ServiceId {
        let hash = hash_u64(3, u64::from(name.0));
        if let Some(row) = self.service_index.find(hash, |row| self.services[row as usize] == name) {
            return ServiceId(row);
        }
        let row = self.services.len() as u32;
        self.services.push(name);
        let services = &self.services;
        self.service_index.insert(hash, row, |row| hash_u64(3, u64::from(services[row as usize].0)));
        ServiceId(row)
    }

    /// Keeps the text of an id that is no number (see [`span_id`]). Linking removes repetitions; here only runs are.
    pub fn remember_odd_id(&mut self, hash: u64, text: StringId) {
        if self.odd_ids.last() != Some(&(hash, text)) {
            self.odd_ids.push((hash, text));
        }
    }

    /// Appends a span in file order.
    pub fn push(&mut self, span: RawSpan) -> SpanRow {
        let t = &mut self.spans;
        let row = SpanRow::from_index(t.len());
        t.source.push(span.source);
        t.trace_id.push(span.trace_id);
        t.id.push(span.id);
        t.parent_id.push(span.parent_id);
        t.operation.push(span.operation);
        t.start_ns.push(span.start_ns.clamp(-LATEST, LATEST));
        t.duration_ns.push(span.duration_ns.clamp(0, LONGEST));
        t.flags.push(span.flags);
        t.resource.push(span.resource);
        t.scope.push(span.scope);
        t.attr_start.push(span.attrs.0);
        t.attr_len.push(span.attrs.1);
        t.event_start.push(span.events.0);
        t.event_len.push(span.events.1);
        t.link_start.push(span.links.0);
        t.link_len.push(span.links.1);
        t.trace.push(TraceRow::NONE);
        t.parent.push(SpanRow::NONE);
        t.depth.push(0);
        row
    }

    /// Children of a span, by start, then longer first. Empty before linking.
    pub fn children(&self, span: SpanRow) -> &[SpanRow] {
        match (self.child_start.get(span.index()), self.child_start.get(span.index() + 1)) {
            (Some(&a), Some(&b)) => &self.children[a as usize..b as usize],
            _ => &[],
        }
    }

    /// Service of a span.
    pub fn service(&self, span: SpanRow) -> ServiceId {
        self.operations.service[self.spans.operation[span.index()].index()]
    }

    /// Kind of a span.
    pub fn kind(&self, span: SpanRow) -> SpanKind {
        self.operations.kind[self.spans.operation[span.index()].index()]
    }

    /// Service name of a span.
    pub fn service_name<'a>(&self, strings: &'a StringTable, span: SpanRow) -> &'a str {
        self.service(span).get().map_or("", |s| strings.get(self.services[s.index()]))
    }

    /// Operation name of a span.
    pub fn name<'a>(&self, strings: &'a StringTable, span: SpanRow) -> &'a str {
        strings.get(self.operations.name[self.spans.operation[span.index()].index()])
    }

    /// Attributes of a span: key and value.
    pub fn span_attrs(&self, span: SpanRow) -> impl Iterator<Item = (StringId, AttrValue)> + '_ {
        self.attr_rows(self.spans.attr_start[span.index()], self.spans.attr_len[span.index()])
    }

    /// Attributes in a range of rows.
    pub fn attr_rows(&self, start: u32, len: u32) -> impl Iterator<Item = (StringId, AttrValue)> + '_ {
        let range = start as usize..(start as usize + len as usize).min(self.attrs.key.len());
        range.map(|i| (self.attrs.key[i], self.attrs.value[i]))
    }

    /// The last attribute of a span with this key (last wins), looked up on the span itself, then on its resource.
    pub fn attr(&self, span: SpanRow, key: StringId) -> Option<AttrValue> {
        let own = self.span_attrs(span).filter(|(k, _)| *k == key).last();
        own.or_else(|| {
            let r = self.spans.resource[span.index()].get()?.index();
            self.attr_rows(self.resources.attr_start[r], self.resources.attr_len[r]).filter(|(k, _)| *k == key).last()
        })
        .map(|(_, value)| value)
    }

    /// A span id as text: 16 hex digits, or the original text of an odd id.
    pub fn id_text(&self, strings: &StringTable, id: u64) -> String {
        match self.odd_ids.binary_search_by_key(&id, |(hash, _)| *hash) {
            Ok(at) => strings.get(self.odd_ids[at].1).to_string(),
            Err(_) => format!("{id:016x}"),
        }
    }
}

/// A span id from its text: at most 16 hex digits are a number; anything else is hashed, and `true` says that the text
/// must be kept in [`TraceSet::odd_ids`]. Empty and all-zero ids are 0 (none).
pub fn span_id(text: &str) -> (u64, bool) {
    let text = text.trim();
    if text.is_empty() || text.bytes().all(|b| b == b'0') {
        return (0, false);
    }
    if text.len() <= 16
        && let Ok(id) = u64::from_str_radix(text, 16)
    {
        return (id, false);
    }
    (crate::base::hash::hash_bytes(text.as_bytes()).max(1), true)
}
