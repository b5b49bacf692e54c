//! Statistics of Python's tracemalloc as text: what `print(stat)` gives for `Snapshot.statistics` and `compare_to`, the
//! tracebacks of the library's "Get the traceback of a memory block", and its `display_top`. Pickled snapshots are never
//! loaded, because that runs what is in them.

use super::stack_sink::{Lines, Sink, Spot, decimal, stack_of};
use super::{Format, Import, ImportError, Prefix, Sniff};
use crate::base::ids::FrameId;
use crate::model::profile::{Profile, ValueKind, ValueType};
use std::io::BufRead;

/// The format.
pub struct Tracemalloc;

impl Format for Tracemalloc {
    fn id(&self) -> &'static str {
        "tracemalloc"
    }
    fn name(&self) -> &'static str {
        "tracemalloc statistics"
    }
    fn extensions(&self) -> &'static [&'static str] {
        &["txt"]
    }
    fn hint(&self) -> &'static str {
        "Python: `for stat in tracemalloc.take_snapshot().statistics('traceback'): print(stat, *stat.traceback.format(), sep='\\n')`."
    }
    fn sniff(&self, prefix: &Prefix<'_>) -> Sniff {
        let mut told = 0;
        for line in prefix.text().lines().filter(|l| !l.trim().is_empty()).take(20) {
            if statistic(line).is_some() {
                return Sniff::Certain;
            }
            told += usize::from(blocks(line).is_some() || top(line).is_some());
        }
        if told > 0 { Sniff::Certain } else { Sniff::No }
    }
    fn read(&self, input: &mut dyn BufRead, import: &mut Import<'_>) -> Result<(), ImportError> {
        let mut lines = Lines::new(input);
        let mut entries: Vec<Entry> = Vec::new();
        let mut below = false;
        while lines.next(import)? {
            let text = lines.text.as_str();
            let entry = statistic(text).or_else(|| blocks(text)).or_else(|| top(text));
            if let Some(Parsed { file, line, numbers }) = entry {
                import.ledger.records_in += 1;
                import.ledger.records_kept += 1;
                let frames = if file.is_empty() { Vec::new() } else { vec![frame(file, line, import)] };
                below = false;
                entries.push(Entry { frames, numbers });
            } else if let Some((file, line)) = traceback(text) {
                let frame = frame(file, line, import);
                if let Some(entry) = entries.last_mut() {
                    // A traceback repeats the place of its statistic, oldest frame first.
                    if !std::mem::replace(&mut below, true) {
                        entry.frames.clear();
                    }
                    entry.frames.push(frame);
                }
            }
        }
        let compared = entries.iter().any(|e| e.numbers.more.is_some());
        let counted = entries.iter().any(|e| e.numbers.count.is_some());
        let mut types = vec![ValueType { name: "size".into(), unit: "bytes".into(), kind: ValueKind::InUseBytes }];
        let mut column = |name: &str, unit: &str, kind| types.push(ValueType { name: name.into(), unit: unit.into(), kind });
        if counted {
            column("count", "count", ValueKind::InUseObjects);
        }
        if compared {
            column("size_diff", "bytes", ValueKind::Other);
            column("count_diff", "count", ValueKind::Other);
        }
        let mut sink = Sink::of(Profile::new(import.source, "tracemalloc", types));
        for mut entry in entries {
            entry.frames.reverse();
            let stack = stack_of(import.session, &entry.frames);
            let mut values = vec![entry.numbers.size];
            if counted {
                values.push(entry.numbers.count.unwrap_or(0));
            }
            if let Some((size, count)) = entry.numbers.more.filter(|_| compared) {
                values.extend([size, count]);
            }
            sink.sample(stack, &values);
        }
        import.choose(
            "sizes",
            "as printed",
            &[],
            "tracemalloc prints sizes with one digit behind the point; they are as exact as the text.",
        );
        sink.finish(import);
        Ok(())
    }
}

struct Entry {
    /// Root first.
    frames: Vec<FrameId>,
    numbers: Numbers,
}

struct Numbers {
    size: i64,
    count: Option<i64>,
    /// Growth since the other snapshot.
    more: Option<(i64, i64)>,
}

struct Parsed<'a> {
    file: &'a str,
    line: u32,
    numbers: Numbers,
}

fn frame(file: &str, line: u32, import: &mut Import<'_>) -> FrameId {
    // Only file and line are known: the line is the name.
    let base = file.rsplit(['/', '\\']).next().unwrap_or(file);
    let name = format!("{base}:{line}");
    Spot { file, line, ..Spot::named(&name) }.intern(import.session)
}

/// `4855 KiB`, `+4428 KiB`, `152 B`.
fn size(text: &str) -> Option<i64> {
    let (number, unit) = text.trim().trim_start_matches('+').split_once(' ')?;
    let power = ["B", "KiB", "MiB", "GiB", "TiB"].iter().position(|u| *u == unit)?;
    Some(decimal(number, 3)?.checked_mul(1_i64.checked_shl(10 * power as u32)?)? / 1000)
}

/// `/lib/x.py:353: size=4855 KiB (+4428 KiB), count=39369 (+35638), average=126 B`.
fn statistic(line: &str) -> Option<Parsed<'_>> {
    let (place, rest) = line.split_once(": size=")?;
    let (file, number) = place.rsplit_once(':').and_then(|(f, l)| Some((f, l.parse().ok()?))).unwrap_or((place, 0));
    let mut parts = rest.split(", ");
    let pair = |text: &str| match text.split_once(" (") {
        Some((now, more)) => (now.to_string(), more.strip_suffix(')').map(str::to_string)),
        None => (text.to_string(), None),
    };
    let (now, more) = pair(parts.next()?);
    let (count, more_count) = pair(parts.next()?.strip_prefix("count=")?);
    let more = match (more, more_count) {
        (Some(a), Some(b)) => Some((size(&a)?, b.trim_start_matches('+').parse().ok()?)),
        _ => None,
    };
    let numbers = Numbers { size: size(&now)?, count: Some(count.parse().ok()?), more };
    Some(Parsed { file, line: number, numbers })
}

/// `101 memory blocks: 52.0 KiB`, whose traceback follows.
fn blocks(line: &str) -> Option<Parsed<'_>> {
    let (count, rest) = line.split_once(" memory blocks: ")?;
    let numbers = Numbers { size: size(rest)?, count: Some(count.trim().parse().ok()?), more: None };
    Some(Parsed { file: "", line: 0, numbers })
}

/// `#1: Lib/base64.py:414: 419.8 KiB` and `6220 other: 3602.8 KiB`, without counts.
fn top(line: &str) -> Option<Parsed<'_>> {
    let (place, amount) = line.rsplit_once(": ")?;
    let numbers = Numbers { size: size(amount)?, count: None, more: None };
    if place.strip_suffix(" other").is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit())) {
        return Some(Parsed { file: "", line: 0, numbers });
    }
    let (rank, place) = place.strip_prefix('#')?.split_once(": ")?;
    rank.parse::<u32>().ok()?;
    let (file, line) = place.rsplit_once(':')?;
    Some(Parsed { file, line: line.parse().ok()?, numbers })
}

/// `  File "/lib/x.py", line 4`.
fn traceback(line: &str) -> Option<(&str, u32)> {
    let (file, line) = line.trim_start().strip_prefix("File \"")?.rsplit_once("\", line ")?;
    Some((file, line.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_of_all_forms() {
        let p = statistic("<frozen importlib._bootstrap>:716: size=4855 KiB, count=39328, average=126 B").unwrap();
        assert_eq!((p.file, p.line, p.numbers.size, p.numbers.count), ("<frozen importlib._bootstrap>", 716, 4855 * 1024, Some(39328)));
        let p = statistic("C:\\a.py:3: size=73.5 KiB (-20.5 KiB), count=144 (-41), average=522 B").unwrap();
        assert_eq!((p.file, p.numbers.size, p.numbers.more), ("C:\\a.py", 75_264, Some((-20_992, -41))));
        let p = top("#1: Lib/base64.py:414: 419.8 KiB").unwrap();
        assert_eq!((p.file, p.line, p.numbers.size), ("Lib/base64.py", 414, 429_875));
        assert_eq!(top("6220 other: 3602.8 KiB").unwrap().file, "");
        assert_eq!(traceback("  File \"a b.py\", line 4"), Some(("a b.py", 4)));
        assert!(statistic("a: size=big, count=1").is_none() && top("Total allocated size: 5303.1 KiB").is_none());
    }
}
