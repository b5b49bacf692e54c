//! Lengths and control flow of x86-64 instructions. Encodings are those of the Intel manual, volume 2, appendix A (opcode maps),
//! and of AMD's manual, volume 3 (XOP, 3DNow!, SSE4a). Operands are of no interest here.

use super::code_insn::{Flow, Insn};

/// A longer instruction is refused by the processor.
const MAX: usize = 15;

/// Bytes that follow the opcode.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Not an instruction in 64-bit mode.
    Bad,
    /// Nothing.
    Plain,
    /// Operands only.
    Operands,
    /// So many bytes.
    Imm(u8),
    /// Four bytes, or two by prefix.
    ImmZ,
    /// Operands and so many bytes.
    OperandsImm(u8),
    /// Operands and four bytes, or two by prefix.
    OperandsImmZ,
    /// A distance of one byte, of a branch.
    Short,
    /// A distance of four bytes, of a branch.
    Near,
}
use Form::{Bad, Imm, ImmZ, Near, Operands, OperandsImm, OperandsImmZ, Plain, Short};

/// The one-byte opcodes.
fn one_byte(op: u8) -> Form {
    match op {
        0x00..=0x3f => match op & 7 {
            0..=3 => Operands,
            4 => Imm(1),
            5 => ImmZ,
            _ => Bad,
        },
        0x50..=0x5f | 0x6c..=0x6f | 0x90..=0x99 | 0x9b..=0x9f | 0xa4..=0xa7 | 0xaa..=0xaf | 0xc3 | 0xc9 | 0xcb | 0xcc | 0xcf => Plain,
        0xd7 | 0xec..=0xef | 0xf1 | 0xf4 | 0xf5 | 0xf8..=0xfd => Plain,
        0x63 | 0x84..=0x8f | 0xd0..=0xd3 | 0xd8..=0xdf | 0xf6 | 0xf7 | 0xfe | 0xff => Operands,
        0x68 | 0xa9 => ImmZ,
        0x69 | 0x81 | 0xc7 => OperandsImmZ,
        0x6a | 0xa8 | 0xb0..=0xb7 | 0xcd | 0xe4..=0xe7 => Imm(1),
        0x6b | 0x80 | 0x83 | 0xc0 | 0xc1 | 0xc6 => OperandsImm(1),
        0x70..=0x7f | 0xe0..=0xe3 | 0xeb => Short,
        0xb8..=0xbf => ImmZ,
        0xc2 | 0xca => Imm(2),
        0xc8 => Imm(3),
        0xe8 | 0xe9 => Near,
        _ => Bad,
    }
}

/// The opcodes behind 0F.
fn two_byte(op: u8) -> Form {
    match op {
        0x04 | 0x0a | 0x0c | 0x24..=0x27 | 0x36 | 0x39 | 0x3b..=0x3f | 0x7a | 0x7b => Bad,
        0x05..=0x09 | 0x0b | 0x0e | 0x30..=0x37 | 0x77 | 0xa0..=0xa2 | 0xa8..=0xaa | 0xc8..=0xcf => Plain,
        0x0f | 0x70..=0x73 | 0xa4 | 0xac | 0xba | 0xc2 | 0xc4..=0xc6 => OperandsImm(1),
        0x80..=0x8f => Near,
        _ => Operands,
    }
}

/// Opcodes behind VEX, EVEX and XOP prefixes, by map.
fn extended(map: u8, op: u8, evex: bool) -> Form {
    match map {
        1 if op == 0x77 && !evex => Plain,
        1 if matches!(op, 0x70..=0x73 | 0xc2 | 0xc4..=0xc6) => OperandsImm(1),
        3 | 8 => OperandsImm(1),
        10 => OperandsImm(4),
        1 | 2 | 9 => Operands,
        5 | 6 if evex => Operands,
        _ => Bad,
    }
}

/// What was read of an instruction so far.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at).filter(|_| self.at < MAX)?;
        self.at += 1;
        Some(byte)
    }

    fn skip(&mut self, n: usize) -> Option<()> {
        self.at += n;
        (self.at <= self.bytes.len() && self.at <= MAX).then_some(())
    }

    fn signed(&mut self, n: usize) -> Option<i64> {
        let from = self.at;
        self.skip(n)?;
        let bytes = &self.bytes[from..self.at];
        Some(match *bytes {
            [a] => i64::from(a as i8),
            [a, b, c, d] => i64::from(i32::from_le_bytes([a, b, c, d])),
            _ => 0,
        })
    }

    /// Mode, registers and memory, with what belongs to them: gives the first byte.
    fn operands(&mut self) -> Option<u8> {
        let modrm = self.next()?;
        let (mode, rm) = (modrm >> 6, modrm & 7);
        if mode == 3 {
            return Some(modrm);
        }
        let base = if rm == 4 { self.next()? & 7 } else { rm };
        // Base 5 without distance is a distance of four bytes: from the next instruction, or alone behind an index.
        let distance = match mode {
            0 if base == 5 => 4,
            0 => 0,
            1 => 1,
            _ => 4,
        };
        self.skip(distance)?;
        Some(modrm)
    }
}

/// Prefixes.
#[derive(Default)]
struct Prefix {
    /// 66: shorter operands.
    short: bool,
    /// 67: shorter addresses.
    short_address: bool,
    /// F2 or F3.
    repeat: u8,
    wide: bool,
}

/// The instruction at the beginning of some bytes.
pub fn decode(bytes: &[u8], address: u64) -> Option<Insn> {
    let mut r = Reader { bytes, at: 0 };
    let mut p = Prefix::default();
    let mut op = r.next()?;
    loop {
        match op {
            0x66 => p.short = true,
            0x67 => p.short_address = true,
            0xf2 | 0xf3 => p.repeat = op,
            0x26 | 0x2e | 0x36 | 0x3e | 0x64 | 0x65 | 0xf0 => {}
            0x40..=0x4f => {
                // It counts right before the opcode only.
                p.wide = op & 8 != 0;
                op = r.next()?;
                if matches!(op, 0x26 | 0x2e | 0x36 | 0x3e | 0x40..=0x4f | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3) {
                    p.wide = false;
                    continue;
                }
                break;
            }
            _ => break,
        }
        op = r.next()?;
    }
    let mut insn = match op {
        0x0f => escaped(&mut r, &p, address)?,
        0x62 | 0xc4 | 0xc5 => vector(&mut r, op)?,
        0x8f if r.bytes.get(r.at).is_some_and(|b| b & 0x1f >= 8) => vector(&mut r, op)?,
        _ => plain(&mut r, &p, op, address)?,
    };
    insn.len = r.at as u8;
    Some(insn)
}

/// An instruction that goes on behind itself; its length is set at the end.
fn simple() -> Insn {
    Insn { len: 0, flow: Flow::Next, filler: false, vector: 0 }
}

/// Reads what follows an opcode: the byte of operands, and the target of a branch.
fn follow(r: &mut Reader<'_>, p: &Prefix, form: Form, address: u64) -> Option<(u8, u64)> {
    let z = if p.short && !p.wide { 2 } else { 4 };
    let mut modrm = 0;
    if matches!(form, Operands | OperandsImm(_) | OperandsImmZ) {
        modrm = r.operands()?;
    }
    match form {
        Bad => return None,
        Plain | Operands => {}
        Imm(n) | OperandsImm(n) => r.skip(usize::from(n))?,
        ImmZ | OperandsImmZ => r.skip(z)?,
        Short | Near => {
            let distance = r.signed(if form == Short { 1 } else { 4 })?;
            return Some((0, address.wrapping_add(r.at as u64).wrapping_add_signed(distance)));
        }
    }
    Some((modrm, 0))
}

fn plain(r: &mut Reader<'_>, p: &Prefix, op: u8, address: u64) -> Option<Insn> {
    match op {
        // Addresses of eight bytes, and the one constant of eight.
        0xa0..=0xa3 => {
            r.skip(if p.short_address { 4 } else { 8 })?;
            return Some(simple());
        }
        0xb8..=0xbf if p.wide => {
            r.skip(8)?;
            return Some(simple());
        }
        _ => {}
    }
    let (modrm, target) = follow(r, p, one_byte(op), address)?;
    let reg = modrm >> 3 & 7;
    let mut out = simple();
    match op {
        // Tests have a constant, the others of their group have none.
        0xf6 if reg < 2 => r.skip(1)?,
        0xf7 if reg < 2 => r.skip(if p.short && !p.wide { 2 } else { 4 })?,
        0xfe if reg > 1 => return None,
        0x70..=0x7f | 0xe0..=0xe3 => out.flow = Flow::Branch(target),
        0xe9 | 0xeb => out.flow = Flow::Jump(target),
        0xe8 => out.flow = Flow::Call,
        0xff => match reg {
            2 | 3 => out.flow = Flow::Call,
            4 | 5 => out.flow = Flow::Indirect,
            7 => return None,
            _ => {}
        },
        0xc2 | 0xc3 | 0xca | 0xcb | 0xcf | 0xf4 => out.flow = Flow::End,
        0xcc => (out.flow, out.filler) = (Flow::End, true),
        0x90 => out.filler = p.repeat != 0xf3,
        _ => {}
    }
    Some(out)
}

/// Opcodes behind 0F, 0F 38 and 0F 3A.
fn escaped(r: &mut Reader<'_>, p: &Prefix, address: u64) -> Option<Insn> {
    let op = r.next()?;
    let mut out = simple();
    let kind = if p.repeat == 0 { u8::from(p.short) } else { p.repeat };
    match op {
        0x38 | 0x3a => {
            let second = r.next()?;
            follow(r, p, if op == 0x38 { Operands } else { OperandsImm(1) }, address)?;
            if op == 0x38 && computes(2, second, kind) {
                out.vector = 128;
            }
        }
        // Control registers: the mode is ignored.
        0x20..=0x23 => r.skip(1)?,
        // SSE4a: two constants.
        0x78 if kind == 1 || kind == 0xf2 => {
            follow(r, p, OperandsImm(2), address)?;
        }
        _ => {
            let (_, target) = follow(r, p, two_byte(op), address)?;
            match op {
                0x80..=0x8f => out.flow = Flow::Branch(target),
                0x07 | 0x0b | 0x35 | 0xb9 | 0xff => out.flow = Flow::End,
                0x1f => out.filler = true,
                _ if computes(1, op, kind) => out.vector = 128,
                _ => {}
            }
        }
    }
    Some(out)
}

/// VEX (C4, C5), EVEX (62) and XOP (8F).
fn vector(r: &mut Reader<'_>, op: u8) -> Option<Insn> {
    let first = r.next()?;
    let (map, pp, bits) = match op {
        0xc5 => (1, first & 3, if first & 4 != 0 { 256 } else { 128 }),
        0x62 => {
            let (second, third) = (r.next()?, r.next()?);
            // Bit 2 of the second byte is 1 in EVEX as it was before APX.
            (second & 4 != 0).then_some(())?;
            let bits = [128, 256, 512, 512][usize::from(third >> 5 & 3)];
            (first & 7, second & 3, bits)
        }
        _ => {
            let second = r.next()?;
            (first & 0x1f, second & 3, if second & 4 != 0 { 256 } else { 128 })
        }
    };
    (op != 0x8f || matches!(map, 8..=10)).then_some(())?;
    (op == 0x8f || map < 8).then_some(())?;
    let opcode = r.next()?;
    follow(r, &Prefix::default(), extended(map, opcode, op == 0x62), 0)?;
    let kind = [0, 1, 0xf3, 0xf2][usize::from(pp)];
    let mut out = simple();
    if op != 0x8f && computes(map, opcode, kind) {
        out.vector = bits;
    }
    Some(out)
}

/// Whether an opcode is arithmetic on all elements of a vector. `kind` is the prefix that selects it: 0, 1 for 66, F2 or F3.
/// Logic and moves do not count: scalar code uses them too.
fn computes(map: u8, op: u8, kind: u8) -> bool {
    match (map, kind) {
        // Roots, sums, products, differences, quotients, least and greatest of floating-point numbers.
        (1, 0) => matches!(op, 0x51..=0x53 | 0x58 | 0x59 | 0x5c..=0x5f),
        // The same in double precision, and integers: compared, shifted, added, subtracted, multiplied.
        (1, 1) => matches!(op,
            0x51 | 0x58 | 0x59 | 0x5c..=0x5f | 0x64..=0x66 | 0x71..=0x76 | 0xd1..=0xd5 | 0xd8..=0xda | 0xdc..=0xde
            | 0xe0..=0xe5 | 0xe8..=0xea | 0xec..=0xee | 0xf1..=0xf6 | 0xf8..=0xfe),
        // Horizontal sums, absolute values, least and greatest, products, shifts by element; fused products and sums.
        (2, 1) => matches!(op,
            0x01..=0x0b | 0x1c..=0x1f | 0x28 | 0x29 | 0x37..=0x40 | 0x45..=0x47 | 0x50..=0x53
            | 0x96..=0x98 | 0x9a | 0x9c | 0x9e | 0xa6..=0xa8 | 0xaa | 0xac | 0xae | 0xb4..=0xb8 | 0xba | 0xbc | 0xbe),
        _ => false,
    }
}
