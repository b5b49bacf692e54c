//! What is told of an instruction: its length, where it goes on, and whether it computes on vectors.

pub use crate::model::copied_stacks::Machine;

/// Where the processor goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// At the next instruction.
    Next,
    /// At the next instruction, once the called function returns.
    Call,
    /// There, always: an address.
    Jump(u64),
    /// There or at the next instruction.
    Branch(u64),
    /// Where a register or a table says.
    Indirect,
    /// Nowhere in this function: returns and traps.
    End,
}

/// An instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Insn {
    /// Bytes.
    pub len: u8,
    /// Where it goes on.
    pub flow: Flow,
    /// Whether it fills the space between pieces of code.
    pub filler: bool,
    /// Bits of the vectors that it computes on, 0 if it does not; 1 where the width is the processor's.
    pub vector: u16,
}

/// The instruction at the beginning of some bytes, which stand at an address; `None` if it is none that is known.
pub fn decode(machine: Machine, bytes: &[u8], address: u64) -> Option<Insn> {
    match machine {
        Machine::X86_64 => super::code_x86::decode(bytes, address),
        Machine::Aarch64 => super::code_arm64::decode(bytes, address),
    }
}
