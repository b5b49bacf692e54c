//! Control flow of AArch64 instructions: all are four bytes long, little-endian also where data are not. Encodings are those of
//! the Arm Architecture Reference Manual, chapter C4.

use super::code_insn::{Flow, Insn};

/// The instruction at the beginning of some bytes.
pub fn decode(bytes: &[u8], address: u64) -> Option<Insn> {
    let word = u32::from_le_bytes(*bytes.first_chunk::<4>()?);
    // Top-level groups 0 (but for the matrix extension), 1 and 3 hold no instructions.
    let group = word >> 25 & 15;
    if group == 0 && word >> 31 == 0 || matches!(group, 1 | 3) {
        return None;
    }
    let to = |bits: u32, shift: u32| {
        let distance = i64::from(((word >> shift) << (32 - bits)) as i32 >> (32 - bits)) * 4;
        address.wrapping_add_signed(distance)
    };
    let flow = match word {
        w if w >> 26 == 0b00_0101 => Flow::Jump(to(26, 0)),
        w if w >> 26 == 0b10_0101 => Flow::Call,
        w if w & 0xff00_0000 == 0x5400_0000 => Flow::Branch(to(19, 5)),
        w if w & 0x7e00_0000 == 0x3400_0000 => Flow::Branch(to(19, 5)),
        w if w & 0x7e00_0000 == 0x3600_0000 => Flow::Branch(to(14, 5)),
        w if w & 0xfe00_0000 == 0xd600_0000 => match w >> 21 & 15 {
            // With bit 3 the address is authenticated.
            0 | 8 => Flow::Indirect,
            1 | 9 => Flow::Call,
            _ => Flow::End,
        },
        // BRK and HLT.
        w if w & 0xffe0_001f == 0xd420_0000 || w & 0xffe0_001f == 0xd440_0000 => Flow::End,
        _ => Flow::Next,
    };
    Some(Insn { len: 4, flow, filler: word == 0xd503_201f, vector: vector(word) })
}

/// Bits of the vectors that it computes on. Moves and logic do not count: scalar code uses them too.
fn vector(w: u32) -> u16 {
    let bits = if w >> 30 & 1 == 1 { 128 } else { 64 };
    let simd = w & 0x9e00_0000 == 0x0e00_0000;
    let three_same = w & 0x9f20_0400 == 0x0e20_0400 && w >> 11 & 31 != 0b00011;
    let different = w & 0x9f20_0c00 == 0x0e20_0000;
    let by_element = w & 0x9f00_0400 == 0x0f00_0000;
    let shifted = w & 0x9f80_0400 == 0x0f00_0400 && w >> 19 & 15 != 0;
    let misc = w & 0x9f3e_0c00 == 0x0e20_0800 || w & 0x9f3e_0c00 == 0x0e30_0800;
    if simd && (three_same || different || by_element || shifted || misc) {
        return bits;
    }
    // The scalable extension: as wide as the processor's registers.
    u16::from(w >> 25 & 15 == 2 && w >> 31 == 0)
}
