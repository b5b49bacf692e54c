//! Joining: the tables that were read from one part of a file become rows of the session.
//!
//! Every table gets its rows in order of first appearance. When the parts of a file are joined in order, each row lands
//! where it would have landed had the file been read in one piece: the number of parts changes nothing.

use super::Session;
use super::symbols::{FrameKey, FuncKey};
use super::trace::{AttrValue, RawSpan};
use crate::base::ids::{FrameId, FuncId, MappingId, OperationId, ResourceId, ServiceId, SourceId, StackId, StringId};

/// Where the rows of a part landed in the session: position is the row in the part, value the row in the session.
#[derive(Debug, Default)]
pub struct Landed {
    /// Texts.
    pub strings: Vec<StringId>,
    /// Functions.
    pub funcs: Vec<FuncId>,
    /// Frames.
    pub frames: Vec<FrameId>,
    /// Stacks.
    pub stacks: Vec<StackId>,
}

impl Landed {
    /// The session's id of a text of the part.
    pub fn string(&self, id: StringId) -> StringId {
        self.strings.get(id.0 as usize).copied().unwrap_or(StringId::NONE)
    }
    /// The session's id of a stack of the part.
    pub fn stack(&self, id: StackId) -> StackId {
        self.stacks.get(id.0 as usize).copied().unwrap_or(StackId::NONE)
    }
    /// The session's id of a frame of the part.
    pub fn frame(&self, id: FrameId) -> FrameId {
        self.frames.get(id.0 as usize).copied().unwrap_or(FrameId::NONE)
    }
}

impl Session {
    /// Takes over texts, symbols and spans of a part. Profiles and files are left to the caller.
    pub fn absorb(&mut self, part: &Session, source: SourceId) -> Landed {
        self.absorb_but(part, source, &[])
    }

    /// As [`Session::absorb`], without the texts that are marked: nothing refers to them.
    pub fn absorb_but(&mut self, part: &Session, source: SourceId, unused: &[bool]) -> Landed {
        let text = |row: usize| match unused.get(row) {
            Some(true) => StringId::NONE,
            _ => self.strings.intern(part.strings.get(StringId::from_index(row))),
        };
        let mut landed = Landed { strings: (0..part.strings.len()).map(text).collect(), ..Landed::default() };
        self.absorb_symbols(part, &mut landed);
        self.absorb_spans(part, source, &landed);
        landed
    }

    fn absorb_symbols(&mut self, part: &Session, landed: &mut Landed) {
        let from = &part.symbols;
        let to = &mut self.symbols;
        let mappings: Vec<MappingId> = (from.mappings.file.iter().zip(&from.mappings.build_id))
            .map(|(file, build)| to.mappings.intern(landed.string(*file), landed.string(*build)))
            .collect();
        let mapping = |id: MappingId| mappings.get(id.0 as usize).copied().unwrap_or(MappingId::NONE);
        landed.funcs = (0..from.funcs.len())
            .map(|i| {
                to.funcs.intern(FuncKey {
                    name: landed.string(from.funcs.name[i]),
                    full_name: landed.string(from.funcs.full_name[i]),
                    system_name: landed.string(from.funcs.system_name[i]),
                    file: landed.string(from.funcs.file[i]),
                    mapping: mapping(from.funcs.mapping[i]),
                    start_line: from.funcs.start_line[i],
                    flags: from.funcs.flags[i],
                })
            })
            .collect();
        landed.frames = (0..from.frames.len())
            .map(|i| {
                let key = from.frames.key(i as u32);
                let func = landed.funcs.get(key.func.0 as usize).copied().unwrap_or(FuncId::NONE);
                to.frames.intern(FrameKey { func, ..key })
            })
            .collect();
        landed.stacks = Vec::with_capacity(from.stacks.len());
        for (prefix, frame) in from.stacks.prefix.iter().zip(&from.stacks.frame) {
            let prefix = landed.stack(*prefix);
            let frame = landed.frames.get(frame.0 as usize).copied().unwrap_or(FrameId::NONE);
            landed.stacks.push(to.stacks.push(prefix, frame));
        }
    }

    fn absorb_spans(&mut self, part: &Session, source: SourceId, landed: &Landed) {
        let from = &part.traces;
        let to = &mut self.traces;
        let services: Vec<ServiceId> = from.services.iter().map(|name| to.intern_service(landed.string(*name))).collect();
        let service = |id: ServiceId| services.get(id.0 as usize).copied().unwrap_or(ServiceId::NONE);
        let operations: Vec<OperationId> = (0..from.operations.len())
            .map(|i| {
                let (of, name) = (service(from.operations.service[i]), landed.string(from.operations.name[i]));
                to.operations.intern(of, name, from.operations.kind[i])
            })
            .collect();
        let attrs = to.attrs.next_row();
        to.attrs.key.extend(from.attrs.key.iter().map(|key| landed.string(*key)));
        to.attrs.value.extend(from.attrs.value.iter().map(|value| match value {
            AttrValue::Text(text) => AttrValue::Text(landed.string(*text)),
            AttrValue::Json(text) => AttrValue::Json(landed.string(*text)),
            other => *other,
        }));
        let events = to.events.name.len() as u32;
        to.events.time_ns.extend_from_slice(&from.events.time_ns);
        to.events.name.extend(from.events.name.iter().map(|name| landed.string(*name)));
        to.events.attr_start.extend(from.events.attr_start.iter().map(|row| attrs + row));
        to.events.attr_len.extend_from_slice(&from.events.attr_len);
        let links = to.links.span_id.len() as u32;
        to.links.trace_id.extend(from.links.trace_id.iter().map(|id| landed.string(*id)));
        to.links.span_id.extend_from_slice(&from.links.span_id);
        to.links.attr_start.extend(from.links.attr_start.iter().map(|row| attrs + row));
        to.links.attr_len.extend_from_slice(&from.links.attr_len);
        let resources = to.resources.service.len() as u32;
        to.resources.service.extend(from.resources.service.iter().map(|id| service(*id)));
        to.resources.attr_start.extend(from.resources.attr_start.iter().map(|row| attrs + row));
        to.resources.attr_len.extend_from_slice(&from.resources.attr_len);
        for (hash, text) in &from.odd_ids {
            to.remember_odd_id(*hash, landed.string(*text));
        }
        for i in 0..from.spans.len() {
            let s = &from.spans;
            to.push(RawSpan {
                source,
                trace_id: landed.string(s.trace_id[i]),
                id: s.id[i],
                parent_id: s.parent_id[i],
                operation: operations.get(s.operation[i].0 as usize).copied().unwrap_or(OperationId::NONE),
                start_ns: s.start_ns[i],
                duration_ns: s.duration_ns[i],
                flags: s.flags[i],
                resource: s.resource[i].get().map_or(ResourceId::NONE, |r| ResourceId(resources + r.0)),
                scope: landed.string(s.scope[i]),
                attrs: (attrs + s.attr_start[i], s.attr_len[i]),
                events: (events + s.event_start[i], s.event_len[i]),
                links: (links + s.link_start[i], s.link_len[i]),
            });
        }
    }
}
