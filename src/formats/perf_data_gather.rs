//! What is kept of a perf.data file while it is read: a few columns per sample, distinct stacks of addresses once, and the
//! records that tell of processes. Files of several CPUs are not in order of time, so that names and mappings are known for
//! certain only at the end; [`super::perf_data_finish`] then goes through everything in order.

use super::Import;
use super::perf_bytes::Bytes;
use super::perf_data_attr::Attr;
use super::perf_data_copies::Copies;
use super::perf_data_features::Features;
use super::perf_data_record::{Branch, Mmap, Mode, Sample, kind};
use crate::base::hash::hash_u64;
use crate::base::ids::{FrameId, StackId};
use crate::base::intern::RowIndex;
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use crate::model::symbols::StackTable;
use std::collections::HashMap;

const BAD_SAMPLE: DiagnosticCode = DiagnosticCode {
    code: "perf-data/bad-sample",
    level: Level::DataLoss,
    message: "Samples that are shorter than their event says were skipped.",
};
const UNKNOWN_EVENT: DiagnosticCode = DiagnosticCode {
    code: "perf-data/unknown-event",
    level: Level::DataLoss,
    message: "Samples with the id of an event that the file does not describe were skipped.",
};
const BAD_RECORD: DiagnosticCode = DiagnosticCode {
    code: "perf-data/bad-record",
    level: Level::DataLoss,
    message: "Records about processes that are shorter than their type says were skipped.",
};
const LOST: DiagnosticCode = DiagnosticCode {
    code: "perf-data/lost",
    level: Level::DataLoss,
    message: "perf itself lost events while recording; a larger buffer (`perf record -m 16M`) or a lower rate (`-F 99`) helps.",
};
const LOST_SAMPLES: DiagnosticCode = DiagnosticCode {
    code: "perf-data/lost-samples",
    level: Level::DataLoss,
    message: "The processor or the kernel lost samples while recording; a lower rate (`perf record -F 99`) helps.",
};

/// An address in a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// As it was in memory.
    pub ip: u64,
    /// Where code ran.
    pub mode: Mode,
    /// Whether it is the place that a call returns to.
    pub caller: bool,
}

/// Distinct addresses.
#[derive(Default)]
pub struct Addresses {
    /// All of them.
    pub rows: Vec<Address>,
    index: RowIndex,
}

impl Addresses {
    fn intern(&mut self, address: Address) -> u32 {
        let hash = |a: &Address| hash_u64(a.mode as u64 * 2 + u64::from(a.caller), a.ip);
        let key = hash(&address);
        if let Some(row) = self.index.find(key, |row| self.rows[row as usize] == address) {
            return row;
        }
        let row = self.rows.len() as u32;
        self.rows.push(address);
        let rows = &self.rows;
        self.index.insert(key, row, |row| hash(&rows[row as usize]));
        row
    }
}

/// Samples in order of the file.
#[derive(Default)]
pub struct Columns {
    /// Position in [`Gather::attrs`].
    pub event: Vec<u32>,
    /// Process.
    pub pid: Vec<i32>,
    /// Thread.
    pub tid: Vec<i32>,
    /// Time; 0 where the event has none.
    pub time_ns: Vec<i64>,
    /// Period; `i64::MIN` where there is none.
    pub period: Vec<i64>,
    /// Stack of [`Gather::addresses`]; `NONE` for a sample without an address.
    pub stack: Vec<StackId>,
    /// Sample and its branches with their ends as rows of [`Gather::addresses`].
    pub branches: Vec<(u32, u32, u32, u8, u8, u16)>,
}

/// Something that changes what later addresses and threads mean.
#[derive(Debug)]
pub enum Change {
    /// A mapping.
    Map(Mmap),
    /// A thread's name: process, thread, name, whether it began another program.
    Name(i32, i32, String, bool),
    /// A new thread: process, its parent, thread, its parent.
    Fork(i32, i32, i32, i32),
}

/// Everything that was gathered.
#[derive(Default)]
pub struct Gather {
    /// Whether the file is big-endian.
    pub big: bool,
    /// Events.
    pub attrs: Vec<Attr>,
    /// Which event an id belongs to.
    pub ids: HashMap<u64, u32>,
    /// Names by `config` in old pipes.
    pub type_names: Vec<(u64, String)>,
    /// Addresses of all stacks.
    pub addresses: Addresses,
    /// Stacks of addresses.
    pub stacks: StackTable,
    /// Samples.
    pub columns: Columns,
    /// Time (0 where it is unknown), how many samples stood before it, and what happened.
    pub changes: Vec<(i64, u32, Change)>,
    /// Feature sections.
    pub features: Features,
    /// Copies of stacks.
    pub copies: Copies,
    /// Samples whose stack was copied in a form that is not unwound.
    pub foreign_copies: u64,
    /// Bytes of AUX data (Intel PT and the like) that were passed over.
    pub aux_bytes: u64,
    sample: Sample,
    /// Addresses of the last sample, root first, and the stacks that they make: neighbours begin alike.
    last: Vec<(u32, StackId)>,
}

impl Gather {
    /// Takes over an event with its ids.
    pub fn attr(&mut self, attr: Attr, ids: impl Iterator<Item = u64>) {
        let row = self.attrs.len() as u32;
        self.ids.extend(ids.map(|id| (id, row)));
        self.attrs.push(attr);
    }

    /// A record of the kernel, or one of perf's that says something about them. `at` is its place in the file.
    pub fn record(&mut self, record: u32, misc: u16, payload: &[u8], at: u64, import: &mut Import<'_>) {
        let known = match record {
            kind::SAMPLE => {
                self.read_sample(misc, payload, at, import);
                Some(())
            }
            kind::LOST => self.lost(payload, 8, LOST, at, import),
            kind::LOST_SAMPLES => self.lost(payload, 0, LOST_SAMPLES, at, import),
            kind::MMAP | kind::MMAP2 => self.mapped(record, misc, payload),
            kind::COMM => self.named(misc, payload),
            kind::FORK => self.forked(payload),
            kind::HEADER_ATTR => self.piped_attr(payload),
            kind::HEADER_EVENT_TYPE => self.event_type(payload),
            kind::EVENT_UPDATE => self.event_update(payload),
            kind::BUILD_ID => {
                self.features.build_ids.extend(super::perf_data_features::build_id(misc, payload));
                Some(())
            }
            kind::HEADER_FEATURE => {
                let mut b = Bytes::new(payload, self.big);
                b.u64().and_then(|feature| self.features.read(u32::try_from(feature).ok()?, b.rest(), self.big))
            }
            _ => Some(()),
        };
        if known.is_none() {
            import.report(BAD_RECORD, At::Byte(at), &format!("type {record}, {} bytes", payload.len() + 8));
        }
    }

    /// The event of a record that ends with [`Attr::trailer`]: all events have the same fields there, or the id tells.
    fn trailing(&self, payload: &[u8]) -> Option<&Attr> {
        let first = self.attrs.first()?;
        if self.attrs.len() > 1 && first.has(super::perf_data_attr::sample::IDENTIFIER) {
            let id = Bytes::new(payload.get(payload.len().checked_sub(8)?..)?, self.big).u64()?;
            return self.ids.get(&id).and_then(|row| self.attrs.get(*row as usize)).or(Some(first));
        }
        Some(first)
    }

    fn change(&mut self, payload: &[u8], change: Change) {
        let time = self.trailing(payload).and_then(|attr| attr.trailer_time(payload, self.big)).unwrap_or(0);
        self.changes.push((time, self.columns.event.len() as u32, change));
    }

    fn mapped(&mut self, record: u32, misc: u16, payload: &[u8]) -> Option<()> {
        let trailer = self.trailing(payload).map_or(0, Attr::trailer);
        let mmap = Mmap::read(record, misc, payload, trailer, self.big)?;
        // Bit 13: mapped without the right to execute.
        if misc & 1 << 13 == 0 {
            self.change(payload, Change::Map(mmap));
        }
        Some(())
    }

    fn named(&mut self, misc: u16, payload: &[u8]) -> Option<()> {
        let trailer = self.trailing(payload).map_or(0, Attr::trailer);
        let mut b = Bytes::new(payload.get(..payload.len().checked_sub(trailer)?)?, self.big);
        let (pid, tid) = (b.u32()? as i32, b.u32()? as i32);
        self.change(payload, Change::Name(pid, tid, b.text(), misc & 1 << 13 != 0));
        Some(())
    }

    fn forked(&mut self, payload: &[u8]) -> Option<()> {
        let mut b = Bytes::new(payload, self.big);
        let (pid, parent, tid, parent_tid) = (b.u32()? as i32, b.u32()? as i32, b.u32()? as i32, b.u32()? as i32);
        self.change(payload, Change::Fork(pid, parent, tid, parent_tid));
        Some(())
    }

    fn lost(&mut self, payload: &[u8], skip: usize, code: DiagnosticCode, at: u64, import: &mut Import<'_>) -> Option<()> {
        let mut b = Bytes::new(payload, self.big);
        b.skip(skip)?;
        let count = b.u64()?;
        if count > 0 {
            import.ledger.diagnostics.report_many(code, count, At::Byte(at), "");
        }
        Some(())
    }

    fn piped_attr(&mut self, payload: &[u8]) -> Option<()> {
        let size = Attr::own_size(payload, self.big)?.min(payload.len());
        let attr = Attr::parse(payload.get(..size)?, self.big)?;
        let mut b = Bytes::new(payload.get(size..)?, self.big);
        let ids: Vec<u64> = std::iter::from_fn(|| b.u64()).collect();
        self.attr(attr, ids.into_iter());
        Some(())
    }

    fn event_type(&mut self, payload: &[u8]) -> Option<()> {
        let mut b = Bytes::new(payload, self.big);
        self.type_names.push((b.u64()?, b.text()));
        Some(())
    }

    fn event_update(&mut self, payload: &[u8]) -> Option<()> {
        let mut b = Bytes::new(payload, self.big);
        let (what, id) = (b.u64()?, b.u64()?);
        // 2: a name.
        if what == 2
            && let Some(attr) = self.ids.get(&id).and_then(|row| self.attrs.get_mut(*row as usize))
        {
            attr.name = b.text();
        }
        Some(())
    }

    /// The event of a sample, as perf's `evlist__event2evsel` finds it.
    fn event_of(&self, payload: &[u8]) -> Option<u32> {
        let first = self.attrs.first()?;
        if self.attrs.len() == 1 {
            return Some(0);
        }
        let Some(at) = first.id_in_sample() else { return Some(0) };
        let id = Bytes::new(payload.get(at..)?, self.big).u64()?;
        if id == 0 { Some(0) } else { self.ids.get(&id).copied() }
    }

    fn read_sample(&mut self, misc: u16, payload: &[u8], at: u64, import: &mut Import<'_>) {
        import.ledger.records_in += 1;
        let Some(event) = self.event_of(payload) else {
            return import.report(UNKNOWN_EVENT, At::Byte(at), "");
        };
        let mut sample = std::mem::take(&mut self.sample);
        if sample.read(&self.attrs[event as usize], misc, payload, self.big).is_some() {
            import.ledger.records_kept += 1;
            self.keep(event, &sample, payload);
        } else {
            import.report(BAD_SAMPLE, At::Byte(at), &format!("{} bytes", payload.len() + 8));
        }
        self.sample = sample;
    }

    fn keep(&mut self, event: u32, sample: &Sample, payload: &[u8]) {
        let rows = sample.chain.iter().rev().map(|&(ip, mode, caller)| self.addresses.intern(Address { ip, mode, caller }));
        let rows: Vec<u32> = rows.collect();
        let same = rows.iter().zip(&self.last).take_while(|(row, (last, _))| *row == last).count();
        self.last.truncate(same);
        let mut stack = self.last.last().map_or(StackId::NONE, |(_, stack)| *stack);
        for row in rows.into_iter().skip(same) {
            stack = self.stacks.push(stack, FrameId(row));
            self.last.push((row, stack));
        }
        let c = &mut self.columns;
        let sample_row = c.event.len() as u32;
        c.event.push(event);
        c.pid.push(sample.pid);
        c.tid.push(sample.tid);
        c.time_ns.push(sample.time_ns.unwrap_or(0));
        c.period.push(sample.period.unwrap_or(i64::MIN));
        c.stack.push(stack);
        match sample.registers {
            Some(registers) => {
                let kernel = sample.chain.len() as u32 - 1;
                self.copies.push(sample_row, kernel, registers, payload.get(sample.stack.clone()).unwrap_or_default());
            }
            None => self.foreign_copies += u64::from(sample.copied),
        }
        for &Branch { from, to, flags, cycles, kind } in &sample.branches {
            let mut end = |ip| self.addresses.intern(Address { ip, mode: Mode::of_address(ip), caller: false });
            let ends = (end(from), end(to));
            self.columns.branches.push((sample_row, ends.0, ends.1, flags, kind, cycles));
        }
    }
}
