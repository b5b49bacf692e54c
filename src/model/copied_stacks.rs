//! Copies of threads' stacks, which a recording took instead of walking them (`perf record --call-graph dwarf`). They are
//! unwound when the programs and libraries that ran are opened beside the recording, before or after it.

use crate::base::ids::{MappingId, StackId};
use std::sync::Arc;

/// How registers are numbered and calls return.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Machine {
    /// x86-64: 64-bit programs on Intel and AMD.
    #[default]
    X86_64,
    /// AArch64: 64-bit programs on ARM.
    Aarch64,
}

/// Registers that are kept per copy: DWARF's numbers up to the stack pointer of AArch64, and the address of the instruction.
pub const REGISTERS: usize = 33;

impl Machine {
    /// DWARF's number of the register, or the column, that holds the return address.
    pub fn return_column(self) -> usize {
        if self == Machine::X86_64 { 16 } else { 30 }
    }

    /// DWARF's number of the stack pointer.
    pub fn stack_pointer(self) -> usize {
        if self == Machine::X86_64 { 7 } else { 31 }
    }

    /// Where [`REGISTERS`] hold the address of the instruction.
    pub fn instruction(self) -> usize {
        if self == Machine::X86_64 { 16 } else { 32 }
    }
}

/// Where a part of a file lay in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// First address.
    pub start: u64,
    /// Address behind the last.
    pub end: u64,
    /// Offset in the file of the first address; for memory without a file, the address.
    pub offset: u64,
    /// The file.
    pub mapping: MappingId,
}

/// One copy.
#[derive(Clone, Copy, Debug)]
pub struct Copy {
    /// The sample.
    pub sample: u32,
    /// Its stack as it was read: what the kernel did, below it where the thread was.
    pub base: StackId,
    /// How many frames at the leaf of `base` are the kernel's.
    pub kernel: u32,
    /// Registers by DWARF's numbers.
    pub registers: [u64; REGISTERS],
    /// Position in [`CopiedStacks::spaces`].
    pub space: u32,
    /// Position in [`CopiedStacks::chunks`] and the range in it: the bytes at the stack pointer and above.
    pub bytes: (u32, u32, u32),
}

/// The copies of a profile.
#[derive(Clone, Debug, Default)]
pub struct CopiedStacks {
    /// What ran.
    pub machine: Machine,
    /// In order of samples.
    pub copies: Vec<Copy>,
    /// Address spaces as they were, each in order of address without overlap.
    pub spaces: Vec<Arc<Vec<Placed>>>,
    /// The bytes.
    pub chunks: Arc<Vec<Vec<u8>>>,
}

impl CopiedStacks {
    /// The bytes of a copy; its first is at the stack pointer.
    pub fn bytes(&self, copy: &Copy) -> &[u8] {
        let (chunk, begin, end) = copy.bytes;
        self.chunks.get(chunk as usize).and_then(|c| c.get(begin as usize..end as usize)).unwrap_or_default()
    }

    /// The file that lay at an address, and the offset in it.
    pub fn locate(&self, space: u32, address: u64) -> Option<(MappingId, u64)> {
        let space = self.spaces.get(space as usize)?;
        let at = space.partition_point(|p| p.start <= address).checked_sub(1)?;
        let p = space[at];
        (address < p.end).then(|| (p.mapping, p.offset.wrapping_add(address - p.start)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lie_in_files() {
        let placed = |start, end, offset, mapping| Placed { start, end, offset, mapping: MappingId(mapping) };
        let c = CopiedStacks {
            spaces: vec![Arc::new(vec![placed(0x1000, 0x2000, 0x40, 0), placed(0x5000, 0x6000, 0, 1)])],
            chunks: Arc::new(vec![vec![1, 2, 3]]),
            ..CopiedStacks::default()
        };
        let at = |address| c.locate(0, address);
        assert_eq!([at(0xfff), at(0x1010), at(0x2000), at(0x5fff)], [None, Some((MappingId(0), 0x50)), None, Some((MappingId(1), 0xfff))]);
        assert_eq!(c.locate(1, 0x1000), None);
    }
}
