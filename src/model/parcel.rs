//! Parcels: texts, symbols and spans of a part as bytes, for the way from one worker to another.
//!
//! Hash indexes stay behind: an opened parcel is read by [`Session::absorb`] and by nothing else.

use super::Session;
use super::symbols::{FrameTable, FuncTable, MappingTable, StackTable};
use super::trace::{AttrTable, AttrValue, EventTable, LinkTable, OperationTable, ResourceTable, SpanKind, SpanTable, TraceSet};
use crate::base::ids::{SourceId, SpanRow, StringId, TraceRow};
use crate::base::intern::StringTable;
use crate::base::pack::{Packer, Unpacker};

/// Writes what [`unpack`] reads.
pub fn pack(session: &Session, out: &mut Packer) {
    let (text, ends) = session.strings.raw();
    out.text(text);
    out.column(ends);
    let s = &session.symbols;
    out.column(&s.mappings.file);
    out.column(&s.mappings.build_id);
    out.column(&s.funcs.name);
    out.column(&s.funcs.full_name);
    out.column(&s.funcs.system_name);
    out.column(&s.funcs.file);
    out.column(&s.funcs.mapping);
    out.column(&s.funcs.start_line);
    out.column(&s.funcs.flags);
    out.column(&s.frames.func);
    out.column(&s.frames.line);
    out.column(&s.frames.address);
    out.column(&s.frames.offset);
    out.column(&s.frames.flags);
    out.column(&s.stacks.prefix);
    out.column(&s.stacks.frame);
    pack_spans(&session.traces, out);
}

fn pack_spans(t: &TraceSet, out: &mut Packer) {
    out.column(&t.services);
    out.column(&t.operations.service);
    out.column(&t.operations.name);
    out.column(&t.operations.kind.iter().map(|k| *k as u8).collect::<Vec<u8>>());
    out.column(&t.attrs.key);
    let (tags, values): (Vec<u8>, Vec<u64>) = t.attrs.value.iter().map(|v| attr_to_word(*v)).unzip();
    out.column(&tags);
    out.column(&values);
    out.column(&t.events.time_ns);
    out.column(&t.events.name);
    out.column(&t.events.attr_start);
    out.column(&t.events.attr_len);
    out.column(&t.links.trace_id);
    out.column(&t.links.span_id);
    out.column(&t.links.attr_start);
    out.column(&t.links.attr_len);
    out.column(&t.resources.service);
    out.column(&t.resources.attr_start);
    out.column(&t.resources.attr_len);
    let (hashes, texts): (Vec<u64>, Vec<StringId>) = t.odd_ids.iter().copied().unzip();
    out.column(&hashes);
    out.column(&texts);
    let s = &t.spans;
    out.column(&s.trace_id);
    out.column(&s.id);
    out.column(&s.parent_id);
    out.column(&s.operation);
    out.column(&s.start_ns);
    out.column(&s.duration_ns);
    out.column(&s.flags);
    out.column(&s.resource);
    out.column(&s.scope);
    out.column(&s.attr_start);
    out.column(&s.attr_len);
    out.column(&s.event_start);
    out.column(&s.event_len);
    out.column(&s.link_start);
    out.column(&s.link_len);
}

/// Opens a parcel; `None` when the bytes are none.
pub fn unpack(from: &mut Unpacker<'_>) -> Option<Session> {
    let mut session = Session { strings: StringTable::from_raw(from.text()?, from.column()?), ..Session::default() };
    let s = &mut session.symbols;
    s.mappings = MappingTable { file: from.column()?, build_id: from.column()?, ..MappingTable::default() };
    s.funcs = FuncTable {
        name: from.column()?,
        full_name: from.column()?,
        system_name: from.column()?,
        file: from.column()?,
        mapping: from.column()?,
        start_line: from.column()?,
        flags: from.column()?,
        ..FuncTable::default()
    };
    s.frames = FrameTable {
        func: from.column()?,
        line: from.column()?,
        address: from.column()?,
        offset: from.column()?,
        flags: from.column()?,
        ..FrameTable::default()
    };
    s.stacks = StackTable { prefix: from.column()?, frame: from.column()?, ..StackTable::default() };
    session.traces = unpack_spans(from)?;
    Some(session)
}

fn unpack_spans(from: &mut Unpacker<'_>) -> Option<TraceSet> {
    let mut t = TraceSet { services: from.column()?, ..TraceSet::default() };
    t.operations = OperationTable {
        service: from.column()?,
        name: from.column()?,
        kind: from.column::<u8>()?.into_iter().map(kind).collect(),
        ..OperationTable::default()
    };
    let key = from.column()?;
    let tags = from.column::<u8>()?;
    let value = tags.into_iter().zip(from.column::<u64>()?).map(|(tag, word)| attr_from_word(tag, word)).collect();
    t.attrs = AttrTable { key, value };
    t.events = EventTable { time_ns: from.column()?, name: from.column()?, attr_start: from.column()?, attr_len: from.column()? };
    t.links = LinkTable { trace_id: from.column()?, span_id: from.column()?, attr_start: from.column()?, attr_len: from.column()? };
    t.resources = ResourceTable { service: from.column()?, attr_start: from.column()?, attr_len: from.column()? };
    t.odd_ids = from.column::<u64>()?.into_iter().zip(from.column::<StringId>()?).collect();
    let trace_id: Vec<StringId> = from.column()?;
    let n = trace_id.len();
    t.spans = SpanTable {
        source: vec![SourceId::NONE; n],
        trace_id,
        id: from.column()?,
        parent_id: from.column()?,
        operation: from.column()?,
        start_ns: from.column()?,
        duration_ns: from.column()?,
        flags: from.column()?,
        resource: from.column()?,
        scope: from.column()?,
        attr_start: from.column()?,
        attr_len: from.column()?,
        event_start: from.column()?,
        event_len: from.column()?,
        link_start: from.column()?,
        link_len: from.column()?,
        trace: vec![TraceRow::NONE; n],
        parent: vec![SpanRow::NONE; n],
        depth: vec![0; n],
    };
    Some(t)
}

fn kind(byte: u8) -> SpanKind {
    match byte {
        1 => SpanKind::Internal,
        2 => SpanKind::Server,
        3 => SpanKind::Client,
        4 => SpanKind::Producer,
        5 => SpanKind::Consumer,
        _ => SpanKind::Unspecified,
    }
}

fn attr_to_word(value: AttrValue) -> (u8, u64) {
    match value {
        AttrValue::Text(id) => (0, u64::from(id.0)),
        AttrValue::Int(n) => (1, n as u64),
        AttrValue::Double(f) => (2, f.to_bits()),
        AttrValue::Bool(b) => (3, u64::from(b)),
        AttrValue::Json(id) => (4, u64::from(id.0)),
    }
}

fn attr_from_word(tag: u8, word: u64) -> AttrValue {
    match tag {
        1 => AttrValue::Int(word as i64),
        2 => AttrValue::Double(f64::from_bits(word)),
        3 => AttrValue::Bool(word != 0),
        4 => AttrValue::Json(StringId(word as u32)),
        _ => AttrValue::Text(StringId(word as u32)),
    }
}
