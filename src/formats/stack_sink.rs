//! What readers of stacks in text share: numbered lines, frames by what is known of them, a profile that grows sample by
//! sample, and call trees whose lines carry inclusive values.

use super::names::rust_text;
use super::{Import, ImportError};
use crate::base::ids::{FrameId, LabelSetId, MappingId, StackId, StringId, ThreadId};
use crate::model::Session;
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use crate::model::profile::{Label, Profile, Thread, ValueKind, ValueType};
use crate::model::symbols::{FRAME_INLINED, FUNC_KERNEL, FUNC_UNSYMBOLIZED, FrameKey, FuncKey, NO_ADDRESS};
use std::collections::BTreeMap;
use std::io::BufRead;

const BAD_TEXT: DiagnosticCode =
    DiagnosticCode { code: "text/not-utf-8", level: Level::Notice, message: "Bytes that are not UTF-8 are shown as \u{fffd}." };
const NEGATIVE_SELF: DiagnosticCode = DiagnosticCode {
    code: "tree/children-exceed-parent",
    level: Level::Notice,
    message: "The parts of a node add up to more than the node itself; its own share is taken as 0, and the node is as large as its parts.",
};

/// The lines of a text, one at a time, without their ends.
pub struct Lines<'r> {
    input: &'r mut dyn BufRead,
    raw: Vec<u8>,
    /// The line.
    pub text: String,
    /// Its number, from 1.
    pub number: u64,
}

impl<'r> Lines<'r> {
    /// Before the first line.
    pub fn new(input: &'r mut dyn BufRead) -> Lines<'r> {
        Lines { input, raw: Vec::new(), text: String::new(), number: 0 }
    }

    /// Goes to the next line; `false` at the end. Reports progress.
    ///
    /// # Errors
    /// As [`Import::tick`], and when the bytes cannot be had.
    pub fn next(&mut self, import: &mut Import<'_>) -> Result<bool, ImportError> {
        self.raw.clear();
        if self.input.read_until(b'\n', &mut self.raw)? == 0 {
            return Ok(false);
        }
        self.number += 1;
        let end = self.raw.iter().rposition(|b| !matches!(b, b'\n' | b'\r')).map_or(0, |at| at + 1);
        self.text.clear();
        match std::str::from_utf8(&self.raw[..end]) {
            Ok(text) => self.text.push_str(text),
            Err(_) => {
                self.text.push_str(&String::from_utf8_lossy(&self.raw[..end]));
                import.report(BAD_TEXT, At::Line(self.number), &self.text);
            }
        }
        if self.number.is_multiple_of(16_384) {
            import.tick(import.ledger.records_kept)?;
        }
        Ok(true)
    }
}

/// What is known of a frame. Empty texts and 0 mean "unknown".
#[derive(Clone, Copy, Debug, Default)]
pub struct Spot<'a> {
    /// Function. Without one the binary stands in.
    pub name: &'a str,
    /// Source file.
    pub file: &'a str,
    /// Binary or library.
    pub module: &'a str,
    /// Source line.
    pub line: u32,
    /// First line of the function.
    pub start_line: u32,
    /// Instruction address.
    pub address: Option<u64>,
    /// Offset in the function.
    pub offset: Option<u64>,
    /// Inlined into the next frame towards the root.
    pub inlined: bool,
    /// Runs in the kernel.
    pub kernel: bool,
}

impl<'a> Spot<'a> {
    /// A frame of which only the function is known.
    pub fn named(name: &'a str) -> Spot<'a> {
        Spot { name, ..Spot::default() }
    }

    /// The frame's row. Names in Rust's old mangling that a tool demangled halfway are finished.
    pub fn intern(self, session: &mut Session) -> FrameId {
        let mut text = |text: &str| if text.is_empty() { StringId::NONE } else { session.strings.intern(text) };
        let (file, module) = (text(self.file), text(self.module));
        let mapping = if module.is_none() { MappingId::NONE } else { session.symbols.mappings.intern(module, StringId::NONE) };
        let mut flags = if self.kernel { FUNC_KERNEL } else { 0 };
        let (name, system_name) = if self.name.is_empty() {
            flags |= FUNC_UNSYMBOLIZED;
            let base = self.module.rsplit(['/', '\\']).next().unwrap_or_default();
            let name = if base.is_empty() { "<unknown>".to_string() } else { format!("[{base}]") };
            (session.strings.intern(&name), StringId::NONE)
        } else if let Some(name) = rust_text(self.name) {
            (session.strings.intern(&name), session.strings.intern(self.name))
        } else {
            (session.strings.intern(self.name), StringId::NONE)
        };
        let func = session.symbols.funcs.intern(FuncKey {
            system_name,
            file,
            mapping,
            start_line: self.start_line,
            flags,
            ..FuncKey::named(name)
        });
        session.symbols.frames.intern(FrameKey {
            func,
            line: self.line,
            address: self.address.unwrap_or(NO_ADDRESS),
            offset: self.offset.unwrap_or(NO_ADDRESS),
            flags: if self.inlined { FRAME_INLINED } else { 0 },
        })
    }
}

/// The stack of frames given from leaf to root.
pub fn stack_of(session: &mut Session, leaf_to_root: &[FrameId]) -> StackId {
    leaf_to_root.iter().rev().fold(StackId::NONE, |below, frame| session.symbols.stacks.push(below, *frame))
}

/// A profile that grows sample by sample.
pub struct Sink {
    /// The profile.
    pub profile: Profile,
    threads: BTreeMap<(i64, i64, String), ThreadId>,
    label_sets: BTreeMap<Vec<(StringId, StringId, i64, StringId)>, LabelSetId>,
}

impl Sink {
    /// An empty profile with these columns: name, unit, kind.
    pub fn new(import: &Import<'_>, format: &'static str, columns: &[(&str, &str, ValueKind)]) -> Sink {
        let types = columns.iter().map(|(name, unit, kind)| ValueType { name: (*name).into(), unit: (*unit).into(), kind: *kind });
        Sink::of(Profile::new(import.source, format, types.collect()))
    }

    /// Around a profile.
    pub fn of(profile: Profile) -> Sink {
        Sink { profile, threads: BTreeMap::new(), label_sets: BTreeMap::new() }
    }

    /// Adds a sample with one value per column; missing values are 0.
    pub fn sample(&mut self, stack: StackId, values: &[i64]) {
        let samples = &mut self.profile.samples;
        samples.stack.push(stack);
        for (at, column) in samples.values.iter_mut().enumerate() {
            column.push(values.get(at).copied().unwrap_or(0));
        }
    }

    /// Sets the thread of the sample that was added last. Either all samples of a profile have one or none has.
    pub fn thread(&mut self, name: &str, pid: i64, tid: i64) {
        let next = ThreadId::from_index(self.profile.threads.len());
        let id = *self.threads.entry((pid, tid, name.to_string())).or_insert(next);
        if id == next {
            self.profile.threads.push(Thread { name: name.to_string(), pid, tid, process: String::new() });
        }
        self.profile.samples.thread.push(id);
    }

    /// Sets the labels of the sample that was added last. Either all samples of a profile have a set or none has.
    pub fn labels(&mut self, labels: &[Label]) {
        let key = labels.iter().map(|l| (l.key, l.text, l.number, l.unit)).collect();
        let next = LabelSetId::from_index(self.label_sets.len());
        let id = *self.label_sets.entry(key).or_insert(next);
        if id == next {
            let table = &mut self.profile.labels;
            if table.start.is_empty() {
                table.start.push(0);
            }
            table.labels.extend_from_slice(labels);
            table.start.push(table.labels.len() as u32);
        }
        self.profile.samples.labels.push(id);
    }

    /// Stores the profile and its weights, if it has samples.
    pub fn finish(self, import: &mut Import<'_>) {
        let profile = self.profile;
        if profile.samples.is_empty() {
            return;
        }
        for (at, value) in profile.value_types.iter().enumerate() {
            import.ledger.weigh(&value.name, &value.unit, profile.total(at), true);
        }
        import.session.profiles.push(profile);
    }
}

/// A node of a call tree whose descendants may still follow.
struct Open {
    depth: usize,
    stack: StackId,
    inclusive: Vec<i64>,
    children: Vec<i64>,
    at: At,
    text: String,
}

/// A call tree in which each line is a node with its inclusive values and its depth; what is not of the children is own.
#[derive(Default)]
pub struct InclusiveTree {
    /// Sum of the outermost nodes since the last finish.
    pub roots: i64,
    open: Vec<Open>,
}

impl InclusiveTree {
    /// The stack that a node of this depth stands on, after closing its elder siblings and their descendants.
    pub fn parent(&mut self, depth: usize, sink: &mut Sink, import: &mut Import<'_>) -> StackId {
        while self.open.last().is_some_and(|open| open.depth >= depth) {
            self.close(sink, import);
        }
        self.open.last().map_or(StackId::NONE, |open| open.stack)
    }

    /// Adds a node. `text` is shown when its children exceed it.
    pub fn enter(&mut self, depth: usize, frame: FrameId, inclusive: &[i64], at: At, text: &str, sink: &mut Sink, import: &mut Import<'_>) {
        let parent = self.parent(depth, sink, import);
        if let Some(open) = self.open.last_mut() {
            for (sum, value) in open.children.iter_mut().zip(inclusive) {
                *sum = sum.saturating_add(*value);
            }
        } else {
            self.roots = self.roots.saturating_add(inclusive.first().copied().unwrap_or(0));
        }
        let stack = import.session.symbols.stacks.push(parent, frame);
        let children = vec![0; inclusive.len()];
        let text = text.chars().take(120).collect();
        self.open.push(Open { depth, stack, inclusive: inclusive.to_vec(), children, at, text });
    }

    fn close(&mut self, sink: &mut Sink, import: &mut Import<'_>) {
        let Some(open) = self.open.pop() else { return };
        let own: Vec<i64> = open.inclusive.iter().zip(&open.children).map(|(all, parts)| all.saturating_sub(*parts)).collect();
        if own.iter().zip(&open.inclusive).any(|(own, all)| *own < 0 && *all >= 0) {
            import.report(NEGATIVE_SELF, open.at, &open.text);
        }
        let own: Vec<i64> = own.into_iter().map(|v| v.max(0)).collect();
        if own.iter().any(|v| *v != 0) {
            sink.sample(open.stack, &own);
        }
    }

    /// The stack of the node that was added last.
    pub fn innermost(&self) -> StackId {
        self.open.last().map_or(StackId::NONE, |open| open.stack)
    }

    /// Closes all nodes. Returns the sum of the outermost ones' first values.
    pub fn finish(&mut self, sink: &mut Sink, import: &mut Import<'_>) -> i64 {
        while !self.open.is_empty() {
            self.close(sink, import);
        }
        std::mem::take(&mut self.roots)
    }
}

/// Stacks by depth: a tree in which each line says what is its own.
#[derive(Default)]
pub struct OwnTree {
    open: Vec<(usize, StackId)>,
}

impl OwnTree {
    /// The stack of a node of this depth.
    pub fn enter(&mut self, depth: usize, frame: FrameId, session: &mut Session) -> StackId {
        while self.open.last().is_some_and(|(open, _)| *open >= depth) {
            self.open.pop();
        }
        let below = self.open.last().map_or(StackId::NONE, |(_, stack)| *stack);
        let stack = session.symbols.stacks.push(below, frame);
        self.open.push((depth, stack));
        stack
    }
}

/// A number with an optional fraction and thousands separators, times ten to the power of `digits`, rounded; `1,234.56`.
pub fn decimal(text: &str, digits: u32) -> Option<i64> {
    let text = text.trim().trim_matches('"');
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() && fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let mut value = 0_i64;
    for b in whole.bytes().filter(|b| !matches!(b, b',' | b'\'')) {
        value = value.checked_mul(10)?.checked_add(i64::from(char::from(b).to_digit(10)?))?;
    }
    let mut digit = fraction.bytes().map(|b| i64::from(b - b'0'));
    for _ in 0..digits {
        value = value.checked_mul(10)?.checked_add(digit.next().unwrap_or(0))?;
    }
    if digit.next().is_some_and(|d| d >= 5) {
        value = value.checked_add(1)?;
    }
    Some(sign * value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_people_write_them() {
        assert_eq!(decimal("1,234.56", 0), Some(1235));
        assert_eq!(decimal("0.0041", 9), Some(4_100_000));
        assert_eq!(decimal("\"2,893,824\"", 0), Some(2_893_824));
        assert_eq!(decimal("-1.5", 1), Some(-15));
        assert_eq!(decimal(".5", 3), Some(500));
        for none in ["", "x", "1e5", "-", "1.2.3", "99999999999999999999"] {
            assert_eq!(decimal(none, 0), None, "{none}");
        }
    }
}
