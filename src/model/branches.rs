//! Taken branches of samples: the last-branch records (LBR) of Intel, and what AMD and ARM have of the kind (BRS, BRBE).
//!
//! A processor that samples so keeps its last 8 to 64 taken branches. From them rules compute loops and their trip counts:
//! between the target of an entry and the source of the next newer one the code ran straight on.

use crate::base::ids::FrameId;
use crate::base::pack::{Packer, Unpacker};

/// The processor had predicted another way.
pub const BRANCH_MISPREDICTED: u8 = 1;
/// The processor had predicted the branch. Neither bit: it does not say.
pub const BRANCH_PREDICTED: u8 = 2;
/// In a hardware transaction.
pub const BRANCH_IN_TX: u8 = 4;
/// A transaction was aborted here.
pub const BRANCH_ABORT: u8 = 8;
/// The branch was recorded and not taken (newer AMD and perf's `N`): it is no edge.
pub const BRANCH_NOT_TAKEN: u8 = 16;

/// Kinds of branches by the numbers of `PERF_BR_*` in `include/uapi/linux/perf_event.h`, in the words of perf.
pub const BRANCH_KINDS: [&str; 14] =
    ["", "COND", "UNCOND", "IND", "CALL", "IND_CALL", "RET", "SYSCALL", "SYSRET", "COND_CALL", "COND_RET", "ERET", "IRQ", "SERROR"];

/// The branches of a profile's samples. Entries of a sample stand together, **newest first**, as the hardware and perf have
/// them: entry `i` happened after entry `i + 1`.
///
/// Both ends are frames: function, offset in it and, where there is no symbol, the address in the binary, so that the same
/// place is the same row in all samples and processes. They are never inlined frames.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BranchTable {
    /// The entries of sample `i` are `start[i]..start[i + 1]`; one closing entry. Empty when no sample has branches; samples
    /// beyond the last one that has some may be missing.
    pub start: Vec<u32>,
    /// Where the branch stood.
    pub from: Vec<FrameId>,
    /// Where it went.
    pub to: Vec<FrameId>,
    /// `BRANCH_*` bits.
    pub flags: Vec<u8>,
    /// Position in [`BRANCH_KINDS`]; 0 if unknown.
    pub kind: Vec<u8>,
    /// Core cycles since the entry before it in time; 0 if the hardware does not count them.
    pub cycles: Vec<u16>,
}

/// An entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Branch {
    /// Where it stood.
    pub from: FrameId,
    /// Where it went.
    pub to: FrameId,
    /// `BRANCH_*` bits.
    pub flags: u8,
    /// Position in [`BRANCH_KINDS`].
    pub kind: u8,
    /// Cycles since the entry before it in time.
    pub cycles: u16,
}

impl BranchTable {
    /// Appends an entry to a sample; samples come in order. `false` when the table is full (2³² entries).
    pub fn push(&mut self, sample: usize, branch: Branch) -> bool {
        if self.from.len() >= u32::MAX as usize {
            return false;
        }
        let begin = self.from.len() as u32;
        if self.start.len() < sample + 2 {
            let kept = self.start.len().saturating_sub(1);
            self.start.truncate(kept);
            self.start.resize(sample + 2, begin);
        }
        self.from.push(branch.from);
        self.to.push(branch.to);
        self.flags.push(branch.flags);
        self.kind.push(branch.kind);
        self.cycles.push(branch.cycles);
        if let Some(end) = self.start.last_mut() {
            *end = begin + 1;
        }
        true
    }

    /// The entries of a sample, newest first.
    pub fn of(&self, sample: usize) -> impl Iterator<Item = Branch> + '_ {
        let range = match (self.start.get(sample), self.start.get(sample + 1)) {
            (Some(&a), Some(&b)) => a as usize..b as usize,
            _ => 0..0,
        };
        range.map(|i| Branch { from: self.from[i], to: self.to[i], flags: self.flags[i], kind: self.kind[i], cycles: self.cycles[i] })
    }

    /// How many entries.
    pub fn len(&self) -> usize {
        self.from.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.from.is_empty()
    }

    /// Writes what [`BranchTable::unpack`] reads.
    pub fn pack(&self, out: &mut Packer) {
        out.column(&self.start);
        out.column(&self.from);
        out.column(&self.to);
        out.column(&self.flags);
        out.column(&self.kind);
        out.column(&self.cycles);
    }

    /// Reads what [`BranchTable::pack`] wrote.
    pub fn unpack(from: &mut Unpacker<'_>) -> Option<BranchTable> {
        Some(BranchTable {
            start: from.column()?,
            from: from.column()?,
            to: from.column()?,
            flags: from.column()?,
            kind: from.column()?,
            cycles: from.column()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_without_branches_lie_between() {
        let mut t = BranchTable::default();
        let b = |n| Branch { from: FrameId(n), to: FrameId(n), flags: 0, kind: 1, cycles: n as u16 };
        assert!(t.push(1, b(1)) && t.push(1, b(2)) && t.push(4, b(3)));
        let of = |i| t.of(i).map(|b| b.cycles).collect::<Vec<_>>();
        assert_eq!([of(0), of(1), of(2), of(3), of(4), of(5)], [vec![], vec![1, 2], vec![], vec![], vec![3], vec![]]);
        let mut out = Packer::default();
        t.pack(&mut out);
        assert_eq!(BranchTable::unpack(&mut Unpacker::new(&out.into_bytes())), Some(t));
    }
}
