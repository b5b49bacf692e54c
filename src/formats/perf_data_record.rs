//! Records of a perf.data file: samples and what tells of processes. Layouts as in `include/uapi/linux/perf_event.h`.

use super::perf_bytes::Bytes;
use super::perf_data_attr::{Attr, BRANCH_CALL_STACK, BRANCH_HW_INDEX, sample};
use super::perf_data_copies::{machine, registers};
use crate::model::copied_stacks::REGISTERS;

/// Types of records that are read.
pub mod kind {
    #![allow(missing_docs)]
    pub const MMAP: u32 = 1;
    pub const LOST: u32 = 2;
    pub const COMM: u32 = 3;
    pub const EXIT: u32 = 4;
    pub const FORK: u32 = 7;
    pub const SAMPLE: u32 = 9;
    pub const MMAP2: u32 = 10;
    pub const LOST_SAMPLES: u32 = 13;
    pub const KSYMBOL: u32 = 17;
    pub const HEADER_ATTR: u32 = 64;
    pub const HEADER_EVENT_TYPE: u32 = 65;
    pub const TRACING_DATA: u32 = 66;
    pub const BUILD_ID: u32 = 67;
    pub const AUXTRACE: u32 = 71;
    pub const EVENT_UPDATE: u32 = 78;
    pub const HEADER_FEATURE: u32 = 80;
    pub const COMPRESSED: u32 = 81;
    pub const COMPRESSED2: u32 = 83;
}

/// Where code ran: the CPU mode of a record, or a context marker in a call chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// Not told.
    #[default]
    Unknown,
    /// The kernel.
    Kernel,
    /// The process.
    User,
    /// The hypervisor.
    Hypervisor,
    /// The kernel of a guest.
    GuestKernel,
    /// A process of a guest.
    GuestUser,
}

impl Mode {
    /// The low bits of `misc`.
    pub fn of_misc(misc: u16) -> Mode {
        match misc & 7 {
            1 => Mode::Kernel,
            2 => Mode::User,
            3 => Mode::Hypervisor,
            4 => Mode::GuestKernel,
            5 => Mode::GuestUser,
            _ => Mode::Unknown,
        }
    }

    /// A context marker in a call chain; `None` for an address.
    pub fn of_marker(ip: u64) -> Option<Mode> {
        if ip < 4095_u64.wrapping_neg() {
            return None;
        }
        Some(match ip.wrapping_neg() {
            32 => Mode::Hypervisor,
            128 => Mode::Kernel,
            512 | 640 => Mode::User,
            2176 => Mode::GuestKernel,
            2560 => Mode::GuestUser,
            _ => Mode::Unknown,
        })
    }

    /// Kernel addresses have the highest bit set on 64-bit machines.
    pub fn of_address(address: u64) -> Mode {
        if address >> 63 == 1 { Mode::Kernel } else { Mode::User }
    }
}

/// A taken branch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Branch {
    /// Address of the branch.
    pub from: u64,
    /// Address it went to.
    pub to: u64,
    /// Bits as [`crate::model::branches`] has them.
    pub flags: u8,
    /// Cycles since the previous entry; 0 if unknown.
    pub cycles: u16,
    /// `PERF_BR_*`: 0 unknown, 1 conditional, ….
    pub kind: u8,
}

/// A sample.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// Process; -1 if the sample does not say.
    pub pid: i32,
    /// Thread; -1 if the sample does not say.
    pub tid: i32,
    /// Nanoseconds on the recording's clock.
    pub time_ns: Option<i64>,
    /// What the sample stands for.
    pub period: Option<i64>,
    /// Frames, leaf first: address, mode, and whether the address is the place to return to.
    pub chain: Vec<(u64, Mode, bool)>,
    /// Taken branches, newest first.
    pub branches: Vec<Branch>,
    /// Whether a copy of the thread's stack was taken (`--call-graph dwarf`).
    pub copied: bool,
    /// Registers beside the copy, by DWARF's numbers; `None` where they are not those of a 64-bit program that is unwound.
    pub registers: Option<[u64; REGISTERS]>,
    /// Where the copy stands in the record.
    pub stack: std::ops::Range<usize>,
    words: Vec<u64>,
}

impl Sample {
    /// Reads a sample of `attr` into `self`, whose buffers are used again. `None` when the record is shorter than it says.
    pub fn read(&mut self, attr: &Attr, misc: u16, payload: &[u8], big: bool) -> Option<()> {
        let mut b = Bytes::new(payload, big);
        let b = &mut b;
        self.chain.clear();
        self.branches.clear();
        (self.pid, self.tid, self.time_ns, self.period) = (-1, -1, None, attr.fixed_period());
        (self.copied, self.registers, self.stack) = (false, None, 0..0);
        let has = |bit| attr.has(bit);
        if has(sample::IDENTIFIER) {
            b.u64()?;
        }
        let ip = if has(sample::IP) { Some(b.u64()?) } else { None };
        if has(sample::TID) {
            (self.pid, self.tid) = (b.u32()? as i32, b.u32()? as i32);
        }
        if has(sample::TIME) {
            self.time_ns = Some(b.u64()? as i64);
        }
        for bit in [sample::ADDR, sample::ID, sample::STREAM_ID, sample::CPU] {
            if has(bit) {
                b.u64()?;
            }
        }
        if has(sample::PERIOD) {
            self.period = Some(b.u64()? as i64);
        }
        if has(sample::READ) {
            skip_read(b, attr.read_format)?;
        }
        let mode = Mode::of_misc(misc);
        if has(sample::CALLCHAIN) {
            self.read_chain(b, mode)?;
        }
        if self.chain.is_empty()
            && let Some(ip) = ip
        {
            self.chain.push((ip, mode, false));
        }
        if has(sample::RAW) {
            let size = b.u32()? as usize;
            b.skip(size)?;
        }
        if has(sample::BRANCH_STACK) {
            self.read_branches(b, attr.branch_sample_type)?;
        }
        if has(sample::STACK_USER) {
            // A damaged copy costs its callers and not the sample.
            let _ = self.read_copy(attr, b, payload.len());
        }
        Some(())
    }

    /// Registers and bytes of the stack. The frames of the process are then those that they tell.
    fn read_copy(&mut self, attr: &Attr, b: &mut Bytes<'_>, len: usize) -> Option<()> {
        let mut abi = 0;
        self.words.clear();
        if attr.has(sample::REGS_USER) {
            abi = b.u64()?;
            if abi != 0 {
                for _ in 0..attr.registers.count_ones() {
                    self.words.push(b.u64()?);
                }
            }
        }
        let size = usize::try_from(b.u64()?).ok()?;
        let begin = len - b.rest().len();
        b.skip(size)?;
        let used = if size == 0 { 0 } else { usize::try_from(b.u64()?).ok()?.min(size) };
        self.copied = used > 0;
        self.stack = begin..begin + used;
        // 2: the program is a 64-bit one.
        let machine = machine(attr.registers).filter(|_| self.copied && abi == 2 && !b.big())?;
        let registers = registers(machine, attr.registers, &self.words);
        self.registers = Some(registers);
        self.chain.retain(|(_, mode, _)| *mode == Mode::Kernel);
        self.chain.push((registers[machine.instruction()], Mode::User, false));
        Some(())
    }

    fn read_chain(&mut self, b: &mut Bytes<'_>, mode: Mode) -> Option<()> {
        let count = b.u64()?;
        if count > b.rest().len() as u64 / 8 {
            return None;
        }
        let (mut mode, mut first) = (mode, true);
        for _ in 0..count {
            let ip = b.u64()?;
            if let Some(next) = Mode::of_marker(ip) {
                (mode, first) = (next, true);
            } else {
                self.chain.push((ip, mode, !first));
                first = false;
            }
        }
        Some(())
    }

    fn read_branches(&mut self, b: &mut Bytes<'_>, branch_sample_type: u64) -> Option<()> {
        let count = b.u64()?;
        if branch_sample_type & BRANCH_HW_INDEX != 0 {
            b.u64()?;
        }
        if count > b.rest().len() as u64 / 24 {
            return None;
        }
        for _ in 0..count {
            let (from, to, word) = (b.u64()?, b.u64()?, b.u64()?);
            let field = |at: u32, bits: u32| {
                let shift = if b.big() { 64 - at - bits } else { at };
                word >> shift & ((1 << bits) - 1)
            };
            // Mispredicted, predicted, in transaction, abort: in the order of the table's bits.
            let flags = field(0, 1) | field(1, 1) << 1 | field(2, 1) << 2 | field(3, 1) << 3;
            self.branches.push(Branch { from, to, flags: flags as u8, cycles: field(4, 16) as u16, kind: field(20, 4) as u8 });
        }
        if branch_sample_type & BRANCH_CALL_STACK != 0 {
            self.chain_of_calls();
        }
        Some(())
    }

    /// `--call-graph lbr`: the kernel's part of the chain is followed by the calls that the branch stack holds, in the order of
    /// perf's `resolve_lbr_callchain_sample`.
    fn chain_of_calls(&mut self) {
        let Some(top) = self.branches.first().copied() else { return };
        self.chain.retain(|(_, mode, _)| *mode == Mode::Kernel);
        self.chain.push((top.to, Mode::User, false));
        self.chain.extend(self.branches.iter().map(|branch| (branch.from, Mode::User, false)));
        self.branches.clear();
    }
}

/// `struct read_format`: one value or a group of values with times and ids.
fn skip_read(b: &mut Bytes<'_>, format: u64) -> Option<()> {
    let times = (format & 3).count_ones() as usize;
    let each = 1 + usize::from(format & 4 != 0) + usize::from(format & 16 != 0);
    if format & 8 == 0 {
        return b.skip(8 * (times + each));
    }
    let count = usize::try_from(b.u64()?).ok()?;
    b.skip(count.checked_mul(8 * each)?.checked_add(8 * times)?)
}

/// A mapping of a file into an address space.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mmap {
    /// Process; -1 for the kernel.
    pub pid: i32,
    /// First address.
    pub start: u64,
    /// Bytes.
    pub len: u64,
    /// Offset in the file.
    pub offset: u64,
    /// File name.
    pub file: String,
    /// Build id in hex where the record holds one.
    pub build_id: String,
    /// Kernel or user, of a host or a guest.
    pub mode: Mode,
}

impl Mmap {
    /// Reads an `MMAP` or `MMAP2` record. `trailer` bytes at its end belong to [`Attr::trailer`].
    pub fn read(record: u32, misc: u16, payload: &[u8], trailer: usize, big: bool) -> Option<Mmap> {
        let mut b = Bytes::new(payload.get(..payload.len().saturating_sub(trailer))?, big);
        let pid = b.u32()? as i32;
        b.u32()?;
        let mut out = Mmap { pid, start: b.u64()?, len: b.u64()?, offset: b.u64()?, mode: Mode::of_misc(misc), ..Mmap::default() };
        if record == kind::MMAP2 {
            let identity = b.take(24)?;
            if misc & 1 << 14 != 0 {
                let size = usize::from(identity[0]).min(20);
                out.build_id = hex(&identity[4..4 + size]);
            }
            b.skip(8)?;
        }
        out.file = b.text();
        Some(out)
    }
}

/// Bytes in hex, as build ids are written.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[u64]) -> Vec<u8> {
        words.iter().flat_map(|w| w.to_le_bytes()).collect()
    }

    #[test]
    fn a_sample_with_everything() {
        let attr = Attr {
            sample_type: sample::IP | sample::TID | sample::TIME | sample::PERIOD | sample::READ | sample::CALLCHAIN | sample::BRANCH_STACK,
            read_format: 8 | 1,
            branch_sample_type: BRANCH_HW_INDEX,
            ..Attr::default()
        };
        let kernel = 128_u64.wrapping_neg();
        let user = 512_u64.wrapping_neg();
        let payload = words(&[
            0x11,
            7 << 32 | 5,
            99,
            1000, // ip, tid and pid, time, period
            2,
            1,
            8,
            9, // group of two, time enabled, values
            5,
            kernel,
            0xffff_ffff_8000_0010,
            user,
            0x11,
            0x22, // chain
            1,
            3,
            0x100,
            0x80,
            1 << 1 | 12 << 4 | 1 << 20, // branches
        ]);
        let mut s = Sample::default();
        s.read(&attr, 1, &payload, false).unwrap();
        assert_eq!((s.pid, s.tid, s.time_ns, s.period), (5, 7, Some(99), Some(1000)));
        assert_eq!(s.chain, [(0xffff_ffff_8000_0010, Mode::Kernel, false), (0x11, Mode::User, false), (0x22, Mode::User, true)]);
        assert_eq!(s.branches, [Branch { from: 0x100, to: 0x80, flags: 2, cycles: 12, kind: 1 }]);
        for end in 0..payload.len() {
            assert!(s.read(&attr, 1, &payload[..end], false).is_none(), "{end}");
        }
    }

    #[test]
    fn call_stacks_of_the_hardware_become_chains() {
        let attr = Attr {
            sample_type: sample::IP | sample::CALLCHAIN | sample::BRANCH_STACK,
            branch_sample_type: BRANCH_CALL_STACK,
            ..Attr::default()
        };
        let payload = words(&[0x11, 2, 512_u64.wrapping_neg(), 0x11, 2, 0x201, 0x10, 0, 0x301, 0x200, 0]);
        let mut s = Sample::default();
        s.read(&attr, 2, &payload, false).unwrap();
        assert_eq!(s.chain.iter().map(|(ip, ..)| *ip).collect::<Vec<_>>(), [0x10, 0x201, 0x301]);
        assert!(s.branches.is_empty());
    }

    #[test]
    fn mappings_with_and_without_build_id() {
        let mut payload = words(&[4 << 32 | 3, 0x1000, 0x2000, 0x40]);
        payload.extend([3, 0, 0, 0, 0xab, 0xcd, 0xef]);
        payload.extend([0; 17]);
        payload.extend(words(&[0]));
        payload.extend(b"/bin/x\0\0");
        payload.extend(words(&[1, 2]));
        let m = Mmap::read(kind::MMAP2, 2 | 1 << 14, &payload, 16, false).unwrap();
        assert_eq!((m.pid, m.start, m.len, m.offset, m.file.as_str(), m.build_id.as_str()), (3, 0x1000, 0x2000, 0x40, "/bin/x", "abcdef"));
        assert_eq!(Mmap::read(kind::MMAP, 1, &payload[..40], 0, false).unwrap().build_id, "");
    }
}
