//! `perf_event_attr`: what an event of a perf.data file is, and what its samples hold. Layout and names as in
//! `perf_event_open(2)` and `tools/perf/util/evsel.c` of Linux.

use super::perf_bytes::Bytes;

/// Bits of `sample_type`.
pub mod sample {
    #![allow(missing_docs)]
    pub const IP: u64 = 1;
    pub const TID: u64 = 1 << 1;
    pub const TIME: u64 = 1 << 2;
    pub const ADDR: u64 = 1 << 3;
    pub const READ: u64 = 1 << 4;
    pub const CALLCHAIN: u64 = 1 << 5;
    pub const ID: u64 = 1 << 6;
    pub const CPU: u64 = 1 << 7;
    pub const PERIOD: u64 = 1 << 8;
    pub const STREAM_ID: u64 = 1 << 9;
    pub const RAW: u64 = 1 << 10;
    pub const BRANCH_STACK: u64 = 1 << 11;
    pub const REGS_USER: u64 = 1 << 12;
    pub const STACK_USER: u64 = 1 << 13;
    pub const IDENTIFIER: u64 = 1 << 16;
}

/// The branch stack holds the hardware's top of stack before its entries.
pub const BRANCH_HW_INDEX: u64 = 1 << 17;
/// The branch stack is a call stack (`--call-graph lbr`), not a list of branches.
pub const BRANCH_CALL_STACK: u64 = 1 << 11;

/// An event: how it was counted and what its samples hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attr {
    /// `PERF_TYPE_*`.
    pub kind: u32,
    /// Meaning depends on `kind`.
    pub config: u64,
    /// Fixed period, or the frequency in Hz.
    pub period_or_freq: u64,
    /// Bits of [`sample`].
    pub sample_type: u64,
    /// `PERF_FORMAT_*` bits.
    pub read_format: u64,
    /// The bit field: bit 10 `freq`, bit 18 `sample_id_all`, ….
    pub flags: u64,
    /// Which branches the branch stack holds.
    pub branch_sample_type: u64,
    /// Which registers samples hold.
    pub registers: u64,
    /// Name where the file gives one.
    pub name: String,
}

impl Attr {
    /// Reads an attr of `size` bytes, whatever its version: newer fields are left aside, missing ones are 0.
    pub fn parse(bytes: &[u8], big: bool) -> Option<Attr> {
        let mut b = Bytes::new(bytes, big);
        let kind = b.u32()?;
        b.u32()?;
        let (config, period_or_freq, sample_type, read_format, flags) = (b.u64()?, b.u64()?, b.u64()?, b.u64()?, b.u64()?);
        let mut tail = b;
        let branch_sample_type = tail.skip(24).and_then(|()| tail.u64()).unwrap_or(0);
        let registers = tail.u64().unwrap_or(0);
        // Compilers for big-endian machines lay bit fields out from the highest bit.
        let flags = if big { flags.reverse_bits() } else { flags };
        Some(Attr { kind, config, period_or_freq, sample_type, read_format, flags, branch_sample_type, registers, name: String::new() })
    }

    /// The size that an attr says it has; 64 for the first version, which left it 0.
    pub fn own_size(bytes: &[u8], big: bool) -> Option<usize> {
        let mut b = Bytes::new(bytes, big);
        b.u32()?;
        b.u32().map(|size| if size == 0 { 64 } else { size as usize })
    }

    fn flag(&self, bit: u32) -> bool {
        self.flags >> bit & 1 == 1
    }

    /// Whether records that are no samples end with the fields of [`Attr::trailer`].
    pub fn sample_id_all(&self) -> bool {
        self.flag(18)
    }

    /// The fixed period; `None` when the kernel aimed at a frequency.
    pub fn fixed_period(&self) -> Option<i64> {
        (!self.flag(10)).then_some(self.period_or_freq as i64).filter(|p| *p > 0)
    }

    /// Whether `sample_type` has all these bits.
    pub fn has(&self, bits: u64) -> bool {
        self.sample_type & bits == bits
    }

    /// Offset of the event's id in a sample, if samples hold one.
    pub fn id_in_sample(&self) -> Option<usize> {
        if self.has(sample::IDENTIFIER) {
            return Some(0);
        }
        let before = sample::IP | sample::TID | sample::TIME | sample::ADDR;
        self.has(sample::ID).then(|| (self.sample_type & before).count_ones() as usize * 8)
    }

    /// Bytes at the end of other records: thread, time, id, stream, CPU, identifier, as far as samples hold them.
    pub fn trailer(&self) -> usize {
        let fields = sample::TID | sample::TIME | sample::ID | sample::STREAM_ID | sample::CPU | sample::IDENTIFIER;
        if self.sample_id_all() { (self.sample_type & fields).count_ones() as usize * 8 } else { 0 }
    }

    /// The time in the trailer of a record; `None` without one.
    pub fn trailer_time(&self, payload: &[u8], big: bool) -> Option<i64> {
        if !self.sample_id_all() || !self.has(sample::TIME) {
            return None;
        }
        let mut b = Bytes::new(payload.get(payload.len().checked_sub(self.trailer())?..)?, big);
        if self.has(sample::TID) {
            b.skip(8)?;
        }
        b.u64().map(|t| t as i64)
    }

    /// The name in the file, or what perf calls such an event.
    pub fn event_name(&self) -> String {
        if self.name.is_empty() { format!("{}{}", self.base_name(), self.modifiers()) } else { self.name.clone() }
    }

    fn base_name(&self) -> String {
        // Hybrid machines put the type of the PMU above.
        let event = self.config & 0xffff_ffff;
        let known = match self.kind {
            0 => HARDWARE.get(event as usize).copied(),
            1 => SOFTWARE.get(event as usize).copied(),
            _ => None,
        };
        match (known, self.kind) {
            (Some(name), _) => name.to_string(),
            (None, 2) => format!("tracepoint:{}", self.config),
            (None, 3) => cache_name(self.config),
            (None, 4) => format!("r{:x}", self.config),
            (None, 5) => "breakpoint".to_string(),
            (None, kind) => format!("pmu-{kind}/config={:#x}/", self.config),
        }
    }

    /// Behaviour of `evsel__add_modifiers` in perf 6.1.
    fn modifiers(&self) -> String {
        let (user, kernel, hypervisor) = (self.flag(4), self.flag(5), self.flag(6));
        let (host, guest) = (self.flag(19), self.flag(20));
        let mut out = String::new();
        let mut guest_default = false;
        if user || kernel || hypervisor {
            out.extend([(kernel, 'k'), (user, 'u'), (hypervisor, 'h')].iter().filter(|(excluded, _)| !excluded).map(|(_, c)| c));
            guest_default = true;
        }
        let precise = self.flags >> 15 & 3;
        out.extend((0..precise).map(|_| 'p'));
        guest_default |= precise > 0;
        if host || guest == guest_default {
            out.extend([(host, 'H'), (guest, 'G')].iter().filter(|(excluded, _)| !excluded).map(|(_, c)| c));
        }
        if out.is_empty() { out } else { format!(":{out}") }
    }
}

const HARDWARE: [&str; 10] = [
    "cycles",
    "instructions",
    "cache-references",
    "cache-misses",
    "branches",
    "branch-misses",
    "bus-cycles",
    "stalled-cycles-frontend",
    "stalled-cycles-backend",
    "ref-cycles",
];

const SOFTWARE: [&str; 12] = [
    "cpu-clock",
    "task-clock",
    "page-faults",
    "context-switches",
    "cpu-migrations",
    "minor-faults",
    "major-faults",
    "alignment-faults",
    "emulation-faults",
    "dummy",
    "bpf-output",
    "cgroup-switches",
];

/// `PERF_TYPE_HW_CACHE`: cache, operation and result in three bytes.
fn cache_name(config: u64) -> String {
    let byte = |at: u32| (config >> at & 0xff) as usize;
    let cache = ["L1-dcache", "L1-icache", "LLC", "dTLB", "iTLB", "branch", "node"].get(byte(0));
    let operation = ["load", "store", "prefetch"].get(byte(8));
    match (cache, operation, byte(16)) {
        (Some(cache), Some(operation), 0) => format!("{cache}-{operation}s"),
        (Some(cache), Some(operation), 1) => format!("{cache}-{operation}-misses"),
        _ => format!("hw-cache/config={config:#x}/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_perf_writes_them() {
        let name = |kind, config, flags: u64| Attr { kind, config, flags, ..Attr::default() }.event_name();
        // Bit 20 leaves guests out, bits 5 and 6 kernel and hypervisor; 15 and 16 ask for precision.
        assert_eq!(name(0, 0, 2 << 15 | 1 << 20), "cycles:ppH");
        assert_eq!(name(0, 0, 2 << 15), "cycles:pp");
        assert_eq!(name(0, 0, 0), "cycles:HG");
        assert_eq!(name(0, 0, 1 << 20), "cycles");
        assert_eq!(name(1, 9, 1 << 5 | 1 << 6 | 1 << 20), "dummy:uH");
        assert_eq!(name(0, 0xa_0000_0001, 1 << 20), "instructions");
        assert_eq!(name(3, 0x1_0002, 1 << 20), "LLC-load-misses");
        assert_eq!(name(4, 0x1cd, 1 << 20), "r1cd");
    }

    #[test]
    fn fields_at_the_end_of_records() {
        let attr = Attr { sample_type: sample::IP | sample::TID | sample::TIME | sample::IDENTIFIER, flags: 1 << 18, ..Attr::default() };
        assert_eq!(attr.trailer(), 24);
        let mut payload = vec![9; 16];
        payload.extend([0; 8]);
        payload.extend(77_u64.to_le_bytes());
        payload.extend([0; 8]);
        assert_eq!(attr.trailer_time(&payload, false), Some(77));
        assert_eq!(attr.trailer_time(&payload[..8], false), None);
        assert_eq!(Attr { flags: 0, ..attr }.trailer_time(&payload, false), None);
    }
}
