//! Folded stacks: one line per stack, frames from root to leaf joined by `;`, a space, a weight (Brendan Gregg's
//! stackcollapse scripts and everything that followed them). A second number makes it the output of `difffolded`.

use super::lines::Lines;
use super::parts::{InParts, Part, PartReader, read_whole};
use super::perf_script::trim;
use super::room::Gathered;
use super::{Format, Import, ImportError, Prefix, Sniff};
use crate::base::ids::StackId;
use crate::base::pack::{Packer, Unpacker};
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use crate::model::fold::{GivenUp, Groups};
use crate::model::join::Landed;
use crate::model::profile::{Profile, ValueKind, ValueType};
use crate::model::reduce::report_fold;
use crate::model::symbols::{FRAME_INLINED, FUNC_KERNEL, FrameKey, FuncKey};
use std::any::Any;
use std::io::BufRead;

const BAD_LINE: DiagnosticCode =
    DiagnosticCode { code: "folded/bad-line", level: Level::DataLoss, message: "Lines that do not end in a number were skipped." };
const BAD_TEXT: DiagnosticCode =
    DiagnosticCode { code: "folded/not-utf-8", level: Level::Notice, message: "Bytes that are not UTF-8 are shown as \u{fffd}." };
/// Fractions are kept to this many digits behind the point.
const MAX_DIGITS: u32 = 9;
/// How many lines decide whether there is a second column.
const LOOK_AHEAD: usize = 200;
/// Or how many bytes of them: stacks may be thousands of frames deep.
const LOOK_AHEAD_BYTES: usize = 400_000;

/// The format.
pub struct Folded;

impl Format for Folded {
    fn id(&self) -> &'static str {
        "folded"
    }
    fn name(&self) -> &'static str {
        "folded stacks"
    }
    fn extensions(&self) -> &'static [&'static str] {
        &["folded", "collapsed", "txt"]
    }
    fn hint(&self) -> &'static str {
        "stackcollapse-*, inferno-collapse-*, async-profiler (`-o collapsed`), py-spy (`-f raw`), rbspy and bpftrace scripts write it."
    }

    fn sniff(&self, prefix: &Prefix<'_>) -> Sniff {
        let text = prefix.text();
        if text.len() + 4 < prefix.bytes.len() || text.trim_start().starts_with('{') || text.contains('\0') {
            return Sniff::No;
        }
        // `[libc.so.6];` and `<unknown>;` begin stacks, but JSON and markup begin like them.
        let strict = text.trim_start().starts_with(['[', '<']);
        let mut lines: Vec<&str> = text.lines().collect();
        // The last line of a prefix is cut.
        if !prefix.complete && lines.len() > 1 {
            lines.pop();
        }
        let (mut good, mut bad, mut joined) = (0, 0, 0);
        for line in lines.iter().map(|l| l.trim()).filter(|l| !l.is_empty() && !l.starts_with('#')).take(LOOK_AHEAD) {
            match split(line) {
                Some((stack, _)) => {
                    good += 1;
                    joined += u32::from(stack.contains(';'));
                }
                None => bad += 1,
            }
        }
        let named = |line: &str| !line.starts_with(|c: char| c.is_ascii_digit());
        if good == 0 || good <= bad || strict && bad > 0 {
            Sniff::No
        } else if joined > 0 {
            Sniff::Likely
        } else if bad == 0 && (good > 1 || lines.iter().any(|l| named(l.trim()))) {
            Sniff::Possible
        } else {
            Sniff::No
        }
    }

    fn read(&self, input: &mut dyn BufRead, import: &mut Import<'_>) -> Result<(), ImportError> {
        read_whole(self, input, import)
    }

    fn in_parts(&self) -> Option<&'static dyn InParts> {
        Some(&Folded)
    }
}

impl InParts for Folded {
    fn context(&self, head: &[u8]) -> Option<String> {
        let mut waiting = Waiting::default();
        // The last line of the head may be cut.
        let lines = head.split_inclusive(|b| *b == b'\n').filter(|line| line.ends_with(b"\n"));
        for (number, line) in lines.enumerate() {
            if let Some(text) = content(line) {
                waiting.push(number as u64, &text);
            }
            if waiting.enough() {
                return Some(waiting.columns().to_string());
            }
        }
        None
    }
    fn reader(&self, context: Option<&str>) -> Box<dyn PartReader> {
        Box::new(Reader { columns: context.and_then(|c| c.parse().ok()), ..Reader::default() })
    }
    fn unpack(&self, from: &mut Unpacker<'_>) -> Option<Box<dyn PartReader>> {
        let columns = Some(from.number()? as usize);
        let stacks = from.column()?;
        let mut values = [Vec::new(), Vec::new()];
        for column in &mut values {
            *column = from.column::<i64>()?.into_iter().zip(from.column::<u32>()?).collect();
        }
        Some(Box::new(Reader { columns, stacks, values, ..Reader::default() }))
    }
}

/// The text of a line that is neither empty nor a comment.
fn content(line: &[u8]) -> Option<std::borrow::Cow<'_, str>> {
    let bytes = trim(line);
    (!bytes.is_empty() && bytes[0] != b'#').then(|| std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Into::into))
}

/// The first lines, until they are enough to tell how many columns there are.
#[derive(Default)]
struct Waiting {
    lines: Vec<(u64, String)>,
    bytes: usize,
}

impl Waiting {
    fn push(&mut self, number: u64, text: &str) {
        self.bytes += text.len();
        self.lines.push((number, text.to_string()));
    }
    fn enough(&self) -> bool {
        self.lines.len() >= LOOK_AHEAD || self.bytes >= LOOK_AHEAD_BYTES
    }
    fn columns(&self) -> usize {
        columns(&self.lines)
    }
}

/// Two when every good line has two numbers.
fn columns(lines: &[(u64, String)]) -> usize {
    let mut good = lines.iter().filter_map(|(_, text)| split(text)).peekable();
    let some = good.peek().is_some();
    if some && good.all(|(stack, _)| split(stack).is_some_and(|(rest, _)| !rest.is_empty())) { 2 } else { 1 }
}

/// The text before the last space and the number behind it, as digits without point and count of digits behind it.
fn split(line: &str) -> Option<(&str, (i64, u32))> {
    let line = line.trim_end();
    let at = line.rfind([' ', '\t'])?;
    Some((line[..at].trim_end(), decimal(&line[at + 1..])?))
}

fn decimal(text: &str) -> Option<(i64, u32)> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit() || b == b'.') || fraction.contains('.') {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    let fraction = &fraction[..fraction.len().min(MAX_DIGITS as usize)];
    let mut value = 0_i64;
    for b in whole.bytes().chain(fraction.bytes()) {
        value = value.checked_mul(10)?.checked_add(i64::from(b - b'0'))?;
    }
    Some((sign * value, fraction.len() as u32))
}

#[derive(Default)]
struct Reader {
    number: u64,
    waiting: Waiting,
    /// Columns of numbers; `None` until that is known.
    columns: Option<usize>,
    stacks: Vec<StackId>,
    /// Per column: value and its digits behind the point.
    values: [Vec<(i64, u32)>; 2],
    /// Lines that were added to others.
    merged: u64,
}

impl Gathered for Reader {
    fn bytes(&self) -> u64 {
        let column = |values: &Vec<(i64, u32)>| values.len() * 24;
        (self.stacks.len() * 4 + self.values.iter().map(column).sum::<usize>()) as u64
    }
    fn fold(&mut self) {
        let before = self.stacks.len();
        let folded = self.folded();
        (self.stacks, self.values) = (folded.stacks, folded.values);
        self.merged += (before - self.stacks.len()) as u64;
    }
}

impl PartReader for Reader {
    fn read(&mut self, input: &mut dyn BufRead, part: &mut Part, import: &mut Import<'_>) -> Result<(), ImportError> {
        if part.behind.is_none() {
            part.begin = Some(part.at);
        }
        let mut lines = Lines::new(input, part.at);
        while let Some((at, line)) = lines.line()? {
            // Every start of a line behind the cut is a boundary.
            if at > part.cut {
                part.end = at;
                break;
            }
            if part.begin.is_none() {
                if part.behind.is_some_and(|cut| at <= cut) {
                    continue;
                }
                part.begin = Some(at);
            }
            self.number += 1;
            let Some(text) = content(line) else { continue };
            if matches!(text, std::borrow::Cow::Owned(_)) {
                import.report(BAD_TEXT, At::Line(self.number), &text);
            }
            match self.columns {
                Some(columns) => self.line(self.number, &text, columns, import),
                None => self.waiting.push(self.number, &text),
            }
            if self.columns.is_none() && self.waiting.enough() {
                self.decide(import);
            }
            if self.number.is_multiple_of(16_384) {
                import.tick_with(self.stacks.len() as u64 + self.merged, self)?;
            }
        }
        self.decide(import);
        part.lines = self.number;
        Ok(())
    }

    fn join(&mut self, next: Box<dyn Any>, landed: &Landed, _: &mut Import<'_>) {
        let Ok(next) = next.downcast::<Reader>() else { return };
        self.columns = next.columns;
        self.stacks.extend(next.stacks.iter().map(|s| landed.stack(*s)));
        for (own, next) in self.values.iter_mut().zip(&next.values) {
            own.extend_from_slice(next);
        }
    }

    fn finish(&mut self, import: &mut Import<'_>) {
        std::mem::take(self).store(import);
    }

    fn preview(&self, import: &mut Import<'_>) {
        self.folded().store(import);
    }

    fn gathered(&mut self) -> &mut dyn Gathered {
        self
    }

    fn pack(&self, out: &mut Packer) {
        out.number(self.columns.unwrap_or(1) as u64);
        out.column(&self.stacks);
        for column in &self.values {
            let (values, digits): (Vec<i64>, Vec<u32>) = column.iter().copied().unzip();
            out.column(&values);
            out.column(&digits);
        }
    }
}

impl Reader {
    /// The same weights with one row per stack.
    fn folded(&self) -> Reader {
        let groups = Groups::by_numbers(self.stacks.len(), |row| (self.stacks[row].0, 0, 0));
        let digits = self.values.iter().flatten().map(|(_, digits)| *digits).max().unwrap_or(0);
        let sums = |column: &Vec<(i64, u32)>| {
            let scaled: Vec<i64> = column.iter().map(|(v, d)| v.saturating_mul(10_i64.pow(digits - d))).collect();
            let sums = if scaled.is_empty() { Vec::new() } else { groups.sums(&scaled) };
            sums.into_iter().map(|sum| (sum, digits)).collect()
        };
        let values = [sums(&self.values[0]), sums(&self.values[1])];
        Reader { number: self.number, columns: self.columns, stacks: groups.firsts(&self.stacks), values, ..Reader::default() }
    }

    /// Settles the number of columns and reads the lines that waited for it.
    fn decide(&mut self, import: &mut Import<'_>) {
        if self.columns.is_none() {
            let columns = self.waiting.columns();
            self.columns = Some(columns);
            for (number, text) in std::mem::take(&mut self.waiting).lines {
                self.line(number, &text, columns, import);
            }
        }
    }

    fn line(&mut self, number: u64, text: &str, columns: usize, import: &mut Import<'_>) {
        import.ledger.records_in += 1;
        let parsed = split(text).and_then(|(stack, last)| {
            if columns == 1 {
                return Some((stack, last, (0, 0)));
            }
            split(stack).map(|(stack, first)| (stack, first, last))
        });
        let Some((stack, first, second)) = parsed.filter(|(stack, _, _)| !stack.is_empty()) else {
            import.report(BAD_LINE, At::Line(number), text);
            return;
        };
        import.ledger.records_kept += 1;
        let session = &mut *import.session;
        let mut id = StackId::NONE;
        for name in stack.split(';').map(|name| if name.is_empty() { "<empty>" } else { name }) {
            let kernel = name.ends_with("_[k]");
            let key = FuncKey { flags: if kernel { FUNC_KERNEL } else { 0 }, ..FuncKey::named(session.strings.intern(name)) };
            let func = session.symbols.funcs.intern(key);
            let flags = if name.ends_with("_[i]") { FRAME_INLINED } else { 0 };
            let frame = session.symbols.frames.intern(FrameKey { flags, ..FrameKey::of(func) });
            id = session.symbols.stacks.push(id, frame);
        }
        self.stacks.push(id);
        self.values[0].push(first);
        if columns == 2 {
            self.values[1].push(second);
        }
    }

    fn store(self, import: &mut Import<'_>) {
        let columns = self.columns.unwrap_or(1);
        let after = self.stacks.len() as u64;
        report_fold(&mut import.ledger, GivenUp { before: after + self.merged, after, ..GivenUp::default() }, "");
        let digits = self.values.iter().flatten().map(|(_, digits)| *digits).max().unwrap_or(0);
        let unit = if digits == 0 { "count".to_string() } else { format!("1e-{digits} samples") };
        let value = |name: &str| ValueType { name: name.to_string(), unit: unit.clone(), kind: ValueKind::Samples };
        let types = if columns == 2 { vec![value("baseline"), value("candidate")] } else { vec![value("samples")] };
        let mut profile = Profile::new(import.source, "folded", types);
        profile.default_value = columns - 1;
        profile.samples.stack = self.stacks;
        for (column, values) in self.values.into_iter().take(columns).enumerate() {
            profile.samples.values[column] = values.into_iter().map(|(v, d)| v.saturating_mul(10_i64.pow(digits - d))).collect();
            let name = &profile.value_types[column].name;
            import.ledger.weigh(name, &unit, profile.total(column), true);
        }
        let guess = super::folded_unit::choice("samples");
        let others: Vec<&str> = guess.others.iter().map(String::as_str).collect();
        import.choose(&guess.what, &guess.chosen, &others, &guess.why);
        if digits > 0 {
            import.choose("weight", &unit, &[], "The file has fractional weights; they are kept exactly, as integers of this unit.");
        }
        import.session.profiles.push(profile);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_at_the_end() {
        assert_eq!(split("a;b 12"), Some(("a;b", (12, 0))));
        assert_eq!(split("Vec<T, I>::x 3.50"), Some(("Vec<T, I>::x", (35, 1))));
        assert_eq!(split("a -2"), Some(("a", (-2, 0))));
        assert_eq!(split("THIS IS A BAD LINE 12V.43"), None);
        assert_eq!(split("12"), None);
        assert_eq!(split("a ."), None);
        assert_eq!(split("a 99999999999999999999"), None);
    }
}
