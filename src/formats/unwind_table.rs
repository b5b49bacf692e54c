//! How a program returns from each of its addresses: call frame information out of `.eh_frame` and `.debug_frame` (DWARF 5,
//! section 6.4; Linux Standard Base, section 10.6), read by gimli.

use crate::model::copied_stacks::{Machine, REGISTERS};
use crate::model::symbol_files::SymbolFile;
use gimli::{
    BaseAddresses, CfaRule, CieOrFde, CommonInformationEntry, DebugFrame, EhFrame, Encoding, EndianSlice, EvaluationResult, Expression,
    RegisterRule, RunTimeEndian, UnwindContext, UnwindOffset, UnwindSection, Value,
};
use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;

type Slice<'a> = EndianSlice<'a, RunTimeEndian>;

/// Longer descriptions of one function occur in no program; each is run once per address, so that their length bounds the work.
const MAX_ENTRY: usize = 1 << 16;
/// Steps of one expression.
const MAX_STEPS: u32 = 1000;

/// What holds at one address.
pub struct Row {
    cfa: CfaRule<usize>,
    rules: Vec<(usize, RegisterRule<usize>)>,
    return_column: usize,
    /// The frame is one that the kernel made to deliver a signal: what it returns to was interrupted, not called.
    pub signal: bool,
    debug: bool,
    encoding: Encoding,
}

/// The tables of one program.
pub struct Table<'a> {
    eh: EhFrame<Slice<'a>>,
    debug: DebugFrame<Slice<'a>>,
    bases: BaseAddresses,
    /// First address, address behind the last, offset in the section, whether it is `.debug_frame`; by address.
    entries: Vec<(u64, u64, usize, bool)>,
    rows: HashMap<u64, Option<Rc<Row>>>,
    context: UnwindContext<usize>,
}

impl<'a> Table<'a> {
    /// Of a file; `None` when it has no such tables.
    pub fn new(file: &'a SymbolFile) -> Option<Table<'a>> {
        let sections = &*file.unwind;
        if sections.eh_frame.is_empty() && sections.debug_frame.is_empty() {
            return None;
        }
        let endian = if file.big { RunTimeEndian::Big } else { RunTimeEndian::Little };
        let mut eh = EhFrame::new(&sections.eh_frame, endian);
        eh.set_address_size(8);
        let mut debug = DebugFrame::new(&sections.debug_frame, endian);
        debug.set_address_size(8);
        let bases = BaseAddresses::default().set_eh_frame(sections.eh_frame_address).set_text(sections.text_address);
        let mut entries = Vec::new();
        index(&eh, &bases, false, &mut entries);
        index(&debug, &bases, true, &mut entries);
        entries.sort_unstable();
        Some(Table { eh, debug, bases, entries, rows: HashMap::new(), context: UnwindContext::new() })
    }

    /// What holds at an address of the file; `None` where nothing is told.
    pub fn row(&mut self, address: u64) -> Option<Rc<Row>> {
        if let Some(known) = self.rows.get(&address) {
            return known.clone();
        }
        // Two sections may describe one function: the nearest start, and of equals any that covers the address.
        let behind = self.entries.partition_point(|(start, ..)| *start <= address);
        let near = self.entries[..behind].iter().rev().take(4);
        let places: Vec<(usize, bool)> = near.filter(|(_, end, ..)| address < *end).map(|e| (e.2, e.3)).collect();
        let found = places.into_iter().find_map(|(offset, debug)| {
            let (bases, context) = (&self.bases, &mut self.context);
            if debug {
                let fde = self.debug.fde_from_offset(bases, offset.into(), DebugFrame::cie_from_offset).ok()?;
                row(&self.debug, bases, context, &fde, address, true)
            } else {
                let fde = self.eh.fde_from_offset(bases, offset.into(), EhFrame::cie_from_offset).ok()?;
                row(&self.eh, bases, context, &fde, address, false)
            }
        });
        let found = found.map(Rc::new);
        self.rows.insert(address, found.clone());
        found
    }

    /// Goes from a frame to its caller; inside, `None` is where the thread began. `None` when the stack does not hold what the
    /// rule asks for.
    pub fn step(&self, row: &Row, at: &Registers, stack: &Memory<'_>) -> Option<Option<Registers>> {
        let expression = |e: &gimli::UnwindExpression<usize>| -> Option<Expression<Slice<'a>>> {
            if row.debug { e.get(&self.debug).ok() } else { e.get(&self.eh).ok() }
        };
        let cfa = match &row.cfa {
            CfaRule::RegisterAndOffset { register, offset } => at.get(usize::from(register.0))?.wrapping_add_signed(*offset),
            CfaRule::Expression(e) => evaluate(expression(e)?, row.encoding, None, at, stack)?,
        };
        let mut next = *at;
        // On x86-64 every table says where the return address is; on ARM it may still be in its register.
        let mut returns = (at.machine == Machine::Aarch64).then(|| at.get(row.return_column));
        for (register, rule) in &row.rules {
            let value = match rule {
                RegisterRule::Undefined => None,
                RegisterRule::SameValue => at.get(*register),
                RegisterRule::Offset(offset) => {
                    let slot = cfa.wrapping_add_signed(*offset);
                    // Compilers do not say that an epilogue took a register back: its place then lies below the stack pointer.
                    if slot < stack.start && *register != row.return_column { at.get(*register) } else { stack.word(slot) }
                }
                RegisterRule::ValOffset(offset) => Some(cfa.wrapping_add_signed(*offset)),
                RegisterRule::Register(other) => at.get(usize::from(other.0)),
                RegisterRule::Expression(e) => {
                    evaluate(expression(e)?, row.encoding, Some(cfa), at, stack).and_then(|slot| stack.word(slot))
                }
                RegisterRule::ValExpression(e) => evaluate(expression(e)?, row.encoding, Some(cfa), at, stack),
                RegisterRule::Constant(value) => Some(*value),
                _ => continue,
            };
            if *register == row.return_column {
                returns = (*rule != RegisterRule::Undefined).then_some(value);
            }
            next.set(*register, value);
        }
        // The stack pointer is where the caller had it, unless a rule says otherwise.
        if !row.rules.iter().any(|(register, _)| *register == at.machine.stack_pointer()) {
            next.set(at.machine.stack_pointer(), Some(cfa));
        }
        let Some(address) = returns else { return Some(None) };
        // On ARM the return address may be signed in its upper bits.
        let address = if at.machine == Machine::Aarch64 { address? & 0x0000_ffff_ffff_ffff } else { address? };
        next.set(at.machine.instruction(), Some(address));
        Some((address != 0).then_some(next))
    }
}

/// Registers of a frame by DWARF's numbers, as far as they are known.
#[derive(Clone, Copy, Debug)]
pub struct Registers {
    machine: Machine,
    values: [u64; REGISTERS],
    known: u64,
}

impl Registers {
    /// All known.
    pub fn new(machine: Machine, values: [u64; REGISTERS]) -> Registers {
        Registers { machine, values, known: u64::MAX }
    }

    /// The value of a register.
    pub fn get(&self, register: usize) -> Option<u64> {
        self.values.get(register).copied().filter(|_| self.known >> register & 1 == 1)
    }

    fn set(&mut self, register: usize, value: Option<u64>) {
        if let Some(slot) = self.values.get_mut(register) {
            *slot = value.unwrap_or(0);
            self.known = self.known & !(1 << register) | u64::from(value.is_some()) << register;
        }
    }

    /// Where the frame is.
    pub fn instruction(&self) -> Option<u64> {
        self.get(self.machine.instruction())
    }

    /// Where its stack ends.
    pub fn stack_pointer(&self) -> Option<u64> {
        self.get(self.machine.stack_pointer())
    }

    /// The caller by frame pointers, as just-in-time compilers keep them: the saved frame pointer and the return address stand
    /// where the frame pointer points.
    pub fn by_frame_pointer(&self, stack: &Memory<'_>) -> Option<Registers> {
        let pointer = if self.machine == Machine::X86_64 { 6 } else { 29 };
        let at = self.get(pointer)?;
        let mut next = *self;
        next.set(pointer, Some(stack.word(at)?));
        next.set(self.machine.instruction(), Some(stack.word(at.checked_add(8)?)?));
        next.set(self.machine.stack_pointer(), Some(at.checked_add(16)?));
        Some(next)
    }
}

/// The part of a thread's memory that was copied.
pub struct Memory<'a> {
    /// Address of the first byte.
    pub start: u64,
    /// The bytes.
    pub bytes: &'a [u8],
    /// Set when something behind what was copied is asked for.
    pub overrun: Cell<bool>,
}

/// Stacks are smaller: an address farther behind the copy is no place of the stack.
const MAX_STACK: u64 = 1 << 30;

impl Memory<'_> {
    /// The eight bytes at an address.
    pub fn word(&self, address: u64) -> Option<u64> {
        let distance = address.checked_sub(self.start)?;
        let at = usize::try_from(distance).ok()?;
        let Some(bytes) = at.checked_add(8).and_then(|end| self.bytes.get(at..end)) else {
            self.overrun.set(self.overrun.get() || distance < MAX_STACK);
            return None;
        };
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    }
}

/// Notes the functions of a section.
fn index<'a, S>(section: &S, bases: &BaseAddresses, debug: bool, out: &mut Vec<(u64, u64, usize, bool)>)
where
    S: UnwindSection<Slice<'a>>,
{
    let mut common: HashMap<usize, CommonInformationEntry<Slice<'a>>> = HashMap::new();
    let mut entries = section.entries(bases);
    while let Ok(Some(entry)) = entries.next() {
        let CieOrFde::Fde(partial) = entry else { continue };
        let fde = partial.parse(|section, bases, offset| {
            let key: usize = UnwindOffset::into(offset);
            if let Some(known) = common.get(&key) {
                return Ok(known.clone());
            }
            let new = section.cie_from_offset(bases, offset)?;
            common.insert(key, new.clone());
            Ok(new)
        });
        // A function at 0 is one that the linker removed.
        if let Ok(fde) = fde
            && fde.initial_address() != 0
            && fde.len() > 0
            && fde.entry_len() <= MAX_ENTRY
            && fde.cie().entry_len() <= MAX_ENTRY
        {
            out.push((fde.initial_address(), fde.end_address(), fde.offset(), debug));
        }
    }
}

fn row<'a, S: UnwindSection<Slice<'a>>>(
    section: &S,
    bases: &BaseAddresses,
    context: &mut UnwindContext<usize>,
    fde: &gimli::FrameDescriptionEntry<Slice<'a>>,
    address: u64,
    debug: bool,
) -> Option<Row> {
    let found = fde.unwind_info_for_address(section, bases, context, address).ok()?;
    let rules = found.registers().map(|(register, rule)| (usize::from(register.0), rule.clone())).collect();
    Some(Row {
        cfa: found.cfa().clone(),
        rules,
        return_column: usize::from(fde.cie().return_address_register().0),
        signal: fde.is_signal_trampoline(),
        debug,
        encoding: fde.cie().encoding(),
    })
}

/// The value of an expression.
fn evaluate(
    expression: Expression<Slice<'_>>,
    encoding: Encoding,
    initial: Option<u64>,
    at: &Registers,
    stack: &Memory<'_>,
) -> Option<u64> {
    let mut evaluation = expression.evaluation(encoding);
    evaluation.set_max_iterations(MAX_STEPS);
    if let Some(value) = initial {
        evaluation.set_initial_value(value);
    }
    let mut result = evaluation.evaluate().ok()?;
    loop {
        result = match result {
            EvaluationResult::Complete => break,
            EvaluationResult::RequiresMemory { address, size, .. } => {
                let word = stack.word(address)?;
                let word = if size < 8 { word & ((1 << (u32::from(size) * 8)) - 1) } else { word };
                evaluation.resume_with_memory(Value::Generic(word)).ok()?
            }
            EvaluationResult::RequiresRegister { register, .. } => {
                evaluation.resume_with_register(Value::Generic(at.get(usize::from(register.0))?)).ok()?
            }
            _ => return None,
        };
    }
    match evaluation.as_result() {
        [piece] => match piece.location {
            gimli::Location::Address { address } => Some(address),
            gimli::Location::Value { value } => value.to_u64(u64::MAX).ok(),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_lie_within_the_copy() {
        let m = Memory { start: 0x1000, bytes: &[1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0], overrun: Cell::default() };
        assert_eq!([m.word(0x1000), m.word(0x1008), m.word(0xfff), m.word(u64::MAX)], [Some(1), Some(2), None, None]);
        assert!(!m.overrun.get());
        assert_eq!((m.word(0x1009), m.overrun.get()), (None, true));
    }

    #[test]
    fn frame_pointers_lead_to_the_caller() {
        let mut bytes = Vec::new();
        for word in [9_u64, 9, 0x2000, 0x40_0010] {
            bytes.extend(word.to_le_bytes());
        }
        let stack = Memory { start: 0x1000, bytes: &bytes, overrun: Cell::default() };
        let mut values = [0; REGISTERS];
        (values[6], values[7], values[16]) = (0x1010, 0x1000, 0x7f00);
        let next = Registers::new(Machine::X86_64, values).by_frame_pointer(&stack).unwrap();
        assert_eq!((next.instruction(), next.stack_pointer(), next.get(6)), (Some(0x40_0010), Some(0x1020), Some(0x2000)));
        assert!(next.by_frame_pointer(&stack).is_none());
    }
}
