//! Copies of stacks in a perf.data file (`PERF_SAMPLE_REGS_USER`, `PERF_SAMPLE_STACK_USER`): registers, bytes and where the
//! binaries lay, as [`super::unwind_stacks`] needs them. Numbers of registers as in `arch/x86/include/uapi/asm/perf_regs.h` and
//! `arch/arm64/include/uapi/asm/perf_regs.h` of Linux, DWARF's as in the ABIs' own documents.

use super::perf_data_space::Processes;
use crate::base::ids::{MappingId, StackId};
use crate::model::copied_stacks::{CopiedStacks, Copy, Machine, Placed, REGISTERS};
use std::collections::HashMap;
use std::sync::Arc;

/// Bytes that are kept, of all samples: 65,536 samples of 8 KB.
const MAX_BYTES: usize = 512 << 20;
/// Bytes per chunk: growing one buffer would need its size twice.
const CHUNK: usize = 4 << 20;
/// Mappings in all snapshots of address spaces.
const MAX_PLACED: usize = 4_000_000;

/// The machine whose registers a mask selects; `None` for others, and when what unwinding begins with is not among them.
pub fn machine(mask: u64) -> Option<Machine> {
    const X86: u64 = 0xff_0fff;
    const ARM: u64 = 0x1_ffff_ffff;
    // Frame pointer, stack pointer, instruction.
    let begin = |bits: u64| mask & bits == bits;
    if mask & !X86 == 0 && begin(1 << 6 | 1 << 7 | 1 << 8) {
        Some(Machine::X86_64)
    } else if mask & !ARM == 0 && begin(1 << 29 | 1 << 30 | 1 << 31 | 1 << 32) {
        Some(Machine::Aarch64)
    } else {
        None
    }
}

/// Registers of a sample by DWARF's numbers. `words` are those that the mask selects, lowest bit first.
pub fn registers(machine: Machine, mask: u64, words: &[u64]) -> [u64; REGISTERS] {
    const X86: [usize; 9] = [0, 3, 2, 1, 4, 5, 6, 7, 16];
    let mut out = [0; REGISTERS];
    let bits = (0..64).filter(|bit| mask >> bit & 1 == 1);
    for (bit, word) in bits.zip(words) {
        let at = match machine {
            Machine::Aarch64 => Some(bit),
            Machine::X86_64 if bit >= 16 => Some(bit - 8),
            Machine::X86_64 => X86.get(bit).copied(),
        };
        if let Some(slot) = at.and_then(|at| out.get_mut(at)) {
            *slot = *word;
        }
    }
    out
}

/// The copies of a file in order of the file.
#[derive(Default)]
pub struct Copies {
    /// In order of the file: their samples are rows of the file, stacks and address spaces are not known yet.
    rows: Vec<Copy>,
    chunks: Vec<Vec<u8>>,
    bytes: usize,
    /// Copies that there was no room for.
    pub left: u64,
}

impl Copies {
    /// Keeps a copy.
    pub fn push(&mut self, sample: u32, kernel: u32, registers: [u64; REGISTERS], bytes: &[u8]) {
        if self.bytes + bytes.len() > MAX_BYTES {
            self.left += 1;
            return;
        }
        self.bytes += bytes.len();
        if self.chunks.last().is_none_or(|c| c.len() + bytes.len() > CHUNK) {
            self.chunks.push(Vec::new());
        }
        let chunk = self.chunks.len() - 1;
        let to = &mut self.chunks[chunk];
        let begin = to.len() as u32;
        to.extend_from_slice(bytes);
        let bytes = (chunk as u32, begin, to.len() as u32);
        self.rows.push(Copy { sample, base: StackId::NONE, kernel, registers, space: 0, bytes });
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// The copies of each event while samples are gone through in order of time.
pub struct Placing {
    copies: Copies,
    chunks: Arc<Vec<Vec<u8>>>,
    events: Vec<CopiedStacks>,
    /// Version of an address space and its position in each event's list.
    seen: HashMap<(usize, u32), (u32, u32)>,
    placed: usize,
}

impl Placing {
    /// For some events, each with the machine whose registers it holds.
    pub fn new(mut copies: Copies, machines: impl Iterator<Item = Option<Machine>>) -> Placing {
        let chunks = Arc::new(std::mem::take(&mut copies.chunks));
        let of = |machine: Option<Machine>| CopiedStacks {
            machine: machine.unwrap_or_default(),
            chunks: chunks.clone(),
            ..CopiedStacks::default()
        };
        let events = machines.map(of).collect();
        Placing { copies, chunks, events, seen: HashMap::new(), placed: 0 }
    }

    /// Whether a sample has a copy, by its row in the file.
    pub fn has(&self, row: u32) -> bool {
        self.copies.rows.binary_search_by_key(&row, |copy| copy.sample).is_ok()
    }

    /// Takes over the copy of a sample: its row in the file, its event, its position among the event's samples, its stack.
    pub fn sample(
        &mut self,
        row: u32,
        event: usize,
        position: usize,
        base: StackId,
        space: u32,
        processes: &Processes,
        mapping: &dyn Fn(u32) -> MappingId,
    ) {
        let Ok(at) = self.copies.rows.binary_search_by_key(&row, |copy| copy.sample) else { return };
        let copy = self.copies.rows[at];
        let version = processes.version(space);
        let spaces = &mut self.events[event].spaces;
        let known = self.seen.get(&(event, space)).copied();
        let position_of_space = match known {
            Some((of, at)) if of == version || self.placed > MAX_PLACED => at,
            _ => {
                let placed: Vec<Placed> = processes
                    .maps(space)
                    .map(|(start, end, offset, module)| Placed { start, end, offset, mapping: mapping(module) })
                    .collect();
                self.placed += placed.len();
                spaces.push(Arc::new(placed));
                let at = spaces.len() as u32 - 1;
                self.seen.insert((event, space), (version, at));
                at
            }
        };
        self.events[event].copies.push(Copy { sample: position as u32, base, space: position_of_space, ..copy });
    }

    /// The copies of each event, `None` where there are none.
    pub fn finish(self) -> Vec<Option<Box<CopiedStacks>>> {
        drop(self.chunks);
        self.events.into_iter().map(|e| (!e.copies.is_empty()).then(|| Box::new(e))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_are_numbered_as_dwarf_does() {
        assert_eq!(
            [machine(0xff_0fff), machine(0x1_ffff_ffff), machine(0xffff), machine(0xff_0f3f)],
            [Some(Machine::X86_64), Some(Machine::Aarch64), None, None]
        );
        // In perf's order: ax bx cx dx si di bp sp ip flags cs ss r8 to r15.
        let words: Vec<u64> = (100..120).collect();
        let r = registers(Machine::X86_64, 0xff_0fff, &words);
        // DWARF: rax rdx rcx rbx rsi rdi rbp rsp r8 to r15, instruction.
        assert_eq!(r[..17], [100, 103, 102, 101, 104, 105, 106, 107, 112, 113, 114, 115, 116, 117, 118, 119, 108]);
        let words: Vec<u64> = (0..33).collect();
        assert_eq!(registers(Machine::Aarch64, 0x1_ffff_ffff, &words).to_vec(), words);
    }

    #[test]
    fn what_there_is_no_room_for_is_counted() {
        let mut c = Copies { bytes: MAX_BYTES - 10, ..Copies::default() };
        c.push(0, 0, [0; REGISTERS], &[1; 8]);
        c.push(1, 0, [0; REGISTERS], &[1; 8]);
        assert_eq!((c.rows.len(), c.left), (1, 1));
    }
}
