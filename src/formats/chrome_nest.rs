//! Nesting of slices by their times: callers, rows and self times.

use super::Import;
use crate::base::ids::{StackId, StringId};
use crate::model::diagnostics::{At, DiagnosticCode};
use crate::model::symbols::{FrameKey, FuncKey};

/// Slices in order of start, callers first.
#[derive(Default)]
pub struct Nested {
    /// Path.
    pub stack: Vec<StackId>,
    /// Begin in nanoseconds.
    pub start: Vec<i64>,
    /// Length in nanoseconds.
    pub duration: Vec<i64>,
    /// Row: 0 for outermost slices.
    pub depth: Vec<u32>,
    /// Length without what is in it.
    pub own: Vec<i64>,
}

impl Nested {
    /// How many.
    pub fn len(&self) -> usize {
        self.stack.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.stack.is_empty()
    }

    /// Makes room for so many more, in columns of their final length: growing ones would leave gaps in a memory that cannot
    /// shrink.
    pub fn reserve(&mut self, more: usize) {
        self.stack.reserve_exact(more);
        self.start.reserve_exact(more);
        self.duration.reserve_exact(more);
        self.depth.reserve_exact(more);
        self.own.reserve_exact(more);
    }

    /// Appends a slice.
    pub fn push(&mut self, stack: StackId, start: i64, duration: i64, depth: u32, own: i64) {
        self.stack.push(stack);
        self.start.push(start);
        self.duration.push(duration);
        self.depth.push(depth);
        self.own.push(own);
    }
}

struct Open {
    start: i64,
    end: i64,
    stack: StackId,
    row: usize,
    depth: u32,
    /// Up to where inner slices were subtracted from the self time.
    covered: i64,
}

/// Nests slices (begin, length, name) that share a thread or an id, and appends them. Those that overlap without nesting keep
/// their length on a row of their own and are counted as `overlap`.
pub fn nest(mut slices: Vec<(i64, i64, StringId)>, out: &mut Nested, overlap: Option<DiagnosticCode>, import: &mut Import<'_>) {
    slices.sort_by_key(|s| (s.0, std::cmp::Reverse(s.1)));
    let mut open: Vec<Open> = Vec::new();
    for (start, duration, name) in slices {
        let end = start.saturating_add(duration);
        // A slice without length at a border belongs to what begins there or is still open, but not to another one without
        // length: a thousand at one time stand side by side and not on a tower.
        while open.last().is_some_and(|o| o.end < start || o.end == start && (duration > 0 || o.start == start)) {
            open.pop();
        }
        let mut depth = open.last().map_or(0, |o| o.depth + 1);
        if open.last().is_some_and(|o| end > o.end) {
            if let Some(code) = overlap {
                let text = import.session.strings.get(name).to_string();
                import.report(code, At::File, &text);
            }
            while open.last().is_some_and(|o| end > o.end) {
                open.pop();
            }
            depth = depth.max(open.last().map_or(0, |o| o.depth + 1));
        }
        let session = &mut *import.session;
        let name = if name.is_none() { session.strings.intern("(unnamed)") } else { name };
        let func = session.symbols.funcs.intern(FuncKey::named(name));
        let frame = session.symbols.frames.intern(FrameKey::of(func));
        let stack = session.symbols.stacks.push(open.last().map_or(StackId::NONE, |o| o.stack), frame);
        if let Some(o) = open.last_mut() {
            let from = start.max(o.covered);
            if end > from {
                out.own[o.row] -= end - from;
                o.covered = end;
            }
        }
        let row = out.len();
        out.push(stack, start, duration, depth, duration);
        open.push(Open { start, end, stack, row, depth, covered: start });
    }
}
