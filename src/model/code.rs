//! Loops in the machine code of hot functions, as the binaries that were opened beside a profile have them.

use super::copied_stacks::Machine;
use crate::base::ids::FrameId;

/// The machine code of a program or library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code {
    /// What it runs on.
    pub machine: Machine,
    /// Sections that hold code: the virtual address of each, and its bytes.
    pub parts: Vec<(u64, Vec<u8>)>,
}

impl Code {
    /// The bytes from an address up to another, as far as they lie in one section.
    pub fn bytes(&self, from: u64, to: u64) -> &[u8] {
        let within = |(at, bytes): &&(u64, Vec<u8>)| from >= *at && from - at < bytes.len() as u64;
        let Some((at, bytes)) = self.parts.iter().find(within) else { return &[] };
        let begin = (from - at) as usize;
        let end = to.saturating_sub(*at).min(bytes.len() as u64) as usize;
        bytes.get(begin..end).unwrap_or_default()
    }
}

/// The decoded functions of a session and where its frames lie in them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CodeTable {
    /// Functions that were decoded.
    pub functions: Vec<CodeFunction>,
    /// Places of frames, by frame, each frame once.
    pub places: Vec<CodePlace>,
}

/// Where a frame lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodePlace {
    /// The frame; an inlined one lies in the code of the function that it was inlined into.
    pub frame: FrameId,
    /// Position in [`CodeTable::functions`].
    pub function: u32,
    /// Bytes from the function's first instruction.
    pub offset: u32,
}

/// The machine code of a function.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CodeFunction {
    /// Its symbol.
    pub name: String,
    /// Base name of the file with the code.
    pub binary: String,
    /// Bytes.
    pub size: u32,
    /// Instructions that were decoded.
    pub instructions: u32,
    /// Bytes that are no instructions that are known.
    pub unknown: u32,
    /// Jumps whose targets stand in a register or table: `switch`, threaded code. Each may go to any block that nothing else
    /// leads to.
    pub indirect: u32,
    /// Share of the samples in it that lie at the beginning of an instruction, where the profile has exact addresses; `None`
    /// where it does not. Less than all of them means that another build ran.
    pub fits: Option<f64>,
    /// The same of all decoded functions of its binary.
    pub binary_fits: Option<f64>,
    /// Its loops: a loop stands before those inside it, else by header.
    pub loops: Vec<CodeLoop>,
}

/// A loop in machine code.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CodeLoop {
    /// Offset of its first instruction: where its back edges go.
    pub header: u32,
    /// Its blocks as ranges of offsets, in order, `from..to`.
    pub ranges: Vec<(u32, u32)>,
    /// 1 for an outermost loop.
    pub depth: u32,
    /// Position of the loop that encloses it.
    pub parent: Option<u32>,
    /// Whether it can be entered elsewhere than at its header (irreducible: of hand-written code or `goto`).
    pub irreducible: bool,
    /// Instructions.
    pub instructions: u32,
    /// Calls among them.
    pub calls: u32,
    /// Floating-point and integer arithmetic on vectors.
    pub packed: u32,
    /// Width of those vectors in bits, the widest; 0 if unknown or none.
    pub width: u32,
    /// Source file; empty without debug information.
    pub file: String,
    /// First line.
    pub first_line: u32,
    /// Last line.
    pub last_line: u32,
    /// The function whose source the lines are, where it was inlined.
    pub inlined: String,
}

impl CodeTable {
    /// Where a frame lies.
    pub fn place(&self, frame: FrameId) -> Option<CodePlace> {
        let i = self.places.partition_point(|p| p.frame < frame);
        self.places.get(i).copied().filter(|p| p.frame == frame)
    }
}

impl CodeLoop {
    /// Whether an offset lies in it.
    pub fn holds(&self, offset: u32) -> bool {
        let i = self.ranges.partition_point(|(from, _)| *from <= offset);
        i > 0 && offset < self.ranges[i - 1].1
    }

    /// One behind its last byte.
    pub fn end(&self) -> u32 {
        self.ranges.last().map_or(self.header, |(_, to)| *to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_has_holes() {
        let l = CodeLoop { header: 4, ranges: vec![(4, 10), (20, 24)], ..CodeLoop::default() };
        assert_eq!([3, 4, 9, 10, 19, 20, 23, 24].map(|at| l.holds(at)), [false, true, true, false, false, true, true, false]);
        assert_eq!(l.end(), 24);
    }

    #[test]
    fn frames_are_found() {
        let place = |frame, offset| CodePlace { frame: FrameId(frame), function: 0, offset };
        let t = CodeTable { functions: Vec::new(), places: vec![place(2, 7), place(5, 9)] };
        assert_eq!([1, 2, 5, 6].map(|f| t.place(FrameId(f)).map(|p| p.offset)), [None, Some(7), Some(9), None]);
    }
}
