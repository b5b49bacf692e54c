//! Old profiles as text: heap, growth, contention, threads, counts (goroutines), and those of Java.

use super::pprof_legacy::{Line, NAME, Raw, RawSample, Tag, bad_line};
use super::pprof_legacy_cpu::without_twins;
use super::pprof_memory_map::{is_map_mark, memory_map};
use super::{Import, ImportError};
use std::collections::BTreeMap;

/// The kinds of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `heap profile: …`: whether allocations are told apart from what is live, and the rate to unsample by (0 or 1: not).
    Heap { with_alloc: bool, rate: i64, period: i64 },
    /// `--- contentionz 1 ---`, or Go's `--- mutex:` and `--- contention:`.
    Contention,
    /// `--- threadz 1 ---` or `--- Thread 7f… (name: main/12) stack: ---`.
    Threads,
    /// `goroutine profile: total 10`.
    Count(String),
    /// `--- heapz 1 ---`.
    JavaHeap,
}

/// The kind that a first line announces.
pub(super) fn kind(line: &str) -> Option<Kind> {
    let line = line.trim();
    if let Some(rest) = line.strip_prefix("heap profile:") {
        return heap_kind(rest);
    }
    if let Some((name, rest)) = line.split_once(" profile: total ") {
        let plain = !name.is_empty() && !name.contains(char::is_whitespace) && rest.parse::<u64>().is_ok();
        return plain.then(|| Kind::Count(name.to_string()));
    }
    if line == "--- heapz 1 ---" {
        return Some(Kind::JavaHeap);
    }
    if ["--- contentionz ", "--- mutex:", "--- contention:"].iter().any(|start| line.starts_with(start)) {
        return Some(Kind::Contention);
    }
    (line.starts_with("--- threadz ") || thread(line).is_some()).then_some(Kind::Threads)
}

/// Whether a line is the first of a text profile.
pub(super) fn is_kind(line: &str) -> bool {
    kind(line).is_some()
}

/// ` 144: 8498176 [ 144: 8498176] @ heapz_v2/524288`
fn heap_kind(rest: &str) -> Option<Kind> {
    let (counts, form) = rest.split_once('@')?;
    let [objects, bytes, all_objects, all_bytes] = heap_numbers(counts)?;
    let (form, rate) = form.trim().split_once('/').unwrap_or((form.trim(), ""));
    let rate: i64 = rate.split_whitespace().next().and_then(|r| r.parse().ok()).unwrap_or(0);
    let with_alloc = (all_objects != objects && all_objects != 0) || (all_bytes != bytes && all_bytes != 0);
    let (rate, period, with_alloc) = match form {
        "heapz_v2" | "heap_v2" => (rate, rate, with_alloc),
        "heap" => (rate / 2, rate / 2, with_alloc),
        "heapprofile" => (0, 1, with_alloc),
        "growthz" | "growth" | "fragmentationz" | "fragmentation" => (0, 1, false),
        _ => return None,
    };
    Some(Kind::Heap { with_alloc, rate, period })
}

/// `1: 9216 [ 2: 18432]`
fn heap_numbers(text: &str) -> Option<[i64; 4]> {
    let (live, all) = text.trim().strip_suffix(']')?.split_once('[')?;
    let pair = |text: &str| {
        let (count, bytes) = text.split_once(':')?;
        Some((count.trim().parse().ok()?, bytes.trim().parse().ok()?))
    };
    let ((count, bytes), (all_count, all_bytes)) = (pair(live)?, pair(all)?);
    Some([count, bytes, all_count, all_bytes])
}

/// Count and bytes of a sample divided by the probability that one of its size is sampled: 1 - e^(-size/rate).
fn unsample(count: i64, bytes: i64, rate: i64) -> (i64, i64) {
    if count == 0 || bytes == 0 {
        return (0, 0);
    }
    if rate <= 1 {
        return (count, bytes);
    }
    let size = bytes as f64 / count as f64;
    let scale = 1.0 / (1.0 - (-size / rate as f64).exp());
    ((count as f64 * scale) as i64, (bytes as f64 * scale) as i64)
}

/// The numbers that begin with `0x`.
fn addresses(text: &str) -> Vec<u64> {
    let numbers = text.split("0x").skip(1).map(|rest| rest.split(|c: char| !c.is_ascii_hexdigit()).next().unwrap_or_default());
    numbers.filter_map(|digits| u64::from_str_radix(digits, 16).ok()).collect()
}

/// Return addresses: one less lies in the call.
fn calls(text: &str) -> Vec<u64> {
    addresses(text).into_iter().map(|a| a.wrapping_sub(1)).collect()
}

/// Name and id of `--- Thread 7f794ab90940 (name: main/14748) stack: ---`.
fn thread(line: &str) -> Option<(&str, i64)> {
    let (_, rest) = line.strip_prefix("--- Thread ")?.split_once(" (name: ")?;
    let (name, id) = rest.strip_suffix(") stack: ---")?.rsplit_once('/')?;
    Some((name, id.parse().ok()?))
}

/// A line with its number.
type Numbered<'a> = (u64, &'a str);

/// Reads a text profile, of which `before` lines were taken already.
pub(super) fn read(text: &str, before: u64, raw: &mut Raw, import: &mut Import<'_>) -> Result<(), ImportError> {
    let mut lines = text.lines().enumerate().map(|(i, line)| (before + i as u64 + 1, line.trim()));
    let first = lines.by_ref().find(|(_, l)| !l.is_empty() && !l.starts_with('#'));
    let kind = first.and_then(|(_, line)| kind(line)).ok_or_else(|| ImportError::Malformed {
        format: NAME,
        reason: "no line says which kind of profile it is (heap profile:, --- contentionz, goroutine profile: …)".to_string(),
    })?;
    let java = || text.lines().take(8).any(|l| l.trim().strip_prefix("format").is_some_and(|r| r.trim() == "= java"));
    let mut reader = Reader { raw, import, comments: Vec::new(), rows: 0 };
    match kind {
        Kind::Heap { with_alloc, rate, period } => reader.heap(&mut lines, with_alloc, rate, period)?,
        Kind::Contention if !java() => reader.contention(&mut lines)?,
        Kind::Contention => reader.java(&mut lines, false)?,
        Kind::JavaHeap => reader.java(&mut lines, true)?,
        Kind::Threads => reader.threads(&mut lines, first)?,
        Kind::Count(name) => reader.count(&mut lines, &name)?,
    }
    reader.named();
    raw.maps = memory_map(lines.map(|(_, line)| line));
    Ok(())
}

struct Reader<'r, 'i, 's> {
    raw: &'r mut Raw,
    import: &'i mut Import<'s>,
    /// Frames of the comments beneath the last sample: address and function.
    comments: Vec<(u64, Line)>,
    rows: u64,
}

impl Reader<'_, '_, '_> {
    fn push(&mut self, sample: RawSample) -> Result<(), ImportError> {
        self.named();
        self.raw.samples.push(sample);
        self.rows += 1;
        if self.rows.is_multiple_of(16_384) { self.import.tick(self.rows) } else { Ok(()) }
    }

    /// What Go writes as comments beneath a sample: labels, and `# 0x106cd1e time.Sleep+0xbe /usr/go/src/runtime/time.go:188`
    /// with tabs between.
    fn comment(&mut self, line: &str) {
        let text = line.trim_start_matches('#').trim();
        if let Some(labels) = text.strip_prefix("labels:")
            && let (Ok(labels), Some(sample)) =
                (serde_json::from_str::<BTreeMap<String, String>>(labels.trim()), self.raw.samples.last_mut())
        {
            sample.tags.extend(labels.into_iter().map(|(key, text)| Tag { key, text, number: 0 }));
        }
        let mut parts = text.split('\t').filter(|p| !p.is_empty());
        let (Some(address), Some(name), Some(place)) = (parts.next(), parts.next(), parts.next()) else { return };
        let Some(address) = address.strip_prefix("0x").and_then(|a| u64::from_str_radix(a, 16).ok()) else { return };
        let (file, number) = place.rsplit_once(':').unwrap_or((place, ""));
        let name = name.rsplit_once("+0x").map_or(name, |(name, _)| name).to_string();
        self.raw.comments = true;
        self.comments.push((address, Line { name, file: file.to_string(), line: number.parse().unwrap_or(0) }));
    }

    /// Keeps the functions of the comments; several at one address were inlined into each other.
    fn named(&mut self) {
        for same in self.comments.chunk_by(|a, b| a.0 == b.0) {
            self.raw.symbols.entry(same[0].0).or_insert_with(|| same.iter().map(|(_, line)| line.clone()).collect());
        }
        self.comments.clear();
    }

    fn heap<'a>(
        &mut self,
        lines: &mut dyn Iterator<Item = Numbered<'a>>,
        with_alloc: bool,
        rate: i64,
        period: i64,
    ) -> Result<(), ImportError> {
        self.raw.set_types(match with_alloc {
            // What is live comes last, so that it is shown first.
            true => &[("alloc_objects", "count"), ("alloc_space", "bytes"), ("inuse_objects", "count"), ("inuse_space", "bytes")],
            false => &[("objects", "count"), ("space", "bytes")],
        });
        self.raw.period_type = ("space".to_string(), "bytes".to_string());
        self.raw.period = period;
        for (number, line) in lines {
            if is_map_mark(line) {
                break;
            }
            if line.is_empty() || line.starts_with('#') {
                self.comment(line);
                continue;
            }
            let sample = line.split_once('@').and_then(|(numbers, stack)| Some((heap_numbers(numbers)?, stack)));
            let usable = |[count, bytes, all, all_bytes]: [i64; 4]| !(count == 0 && bytes != 0 || with_alloc && all == 0 && all_bytes != 0);
            let Some(([count, bytes, all, all_bytes], stack)) = sample.filter(|(n, _)| usable(*n)) else {
                bad_line(number, line, self.import);
                continue;
            };
            let mut sample = RawSample { addresses: calls(stack), ..RawSample::default() };
            let mut size = 0;
            for (count, bytes) in [(all, all_bytes), (count, bytes)].into_iter().skip(usize::from(!with_alloc)) {
                let mut both = (count, bytes);
                if count != 0 {
                    size = bytes.wrapping_div(count);
                    both = if rate > 0 { unsample(count, bytes, rate) } else { both };
                }
                sample.values.extend([both.0, both.1]);
            }
            sample.tags.push(Tag { key: "bytes".to_string(), text: String::new(), number: size });
            self.push(sample)?;
        }
        Ok(())
    }

    fn contention<'a>(&mut self, lines: &mut dyn Iterator<Item = Numbered<'a>>) -> Result<(), ImportError> {
        self.raw.set_types(&[("contentions", "count"), ("delay", "nanoseconds")]);
        self.raw.period_type = ("contentions".to_string(), "count".to_string());
        self.raw.period = 1;
        let mut hertz = 0_i64;
        for (number, line) in lines {
            if line.starts_with("---") {
                // The mark of the memory map; `named` and the caller read on behind it.
                break;
            }
            if line.is_empty() || line.starts_with('#') {
                self.comment(line);
                continue;
            }
            if let Some((key, value)) = line.split_once('=').filter(|_| self.raw.samples.is_empty()) {
                match (key.trim(), value.trim().parse::<i64>()) {
                    ("cycles/second", Ok(n)) => hertz = n,
                    ("sampling period", Ok(n)) => self.raw.period = n,
                    ("ms since reset", Ok(n)) => self.raw.duration_ns = n.saturating_mul(1_000_000),
                    _ => {}
                }
                continue;
            }
            let numbers = line.split_once('@').and_then(|(numbers, stack)| {
                let (cycles, count) = numbers.trim().split_once(char::is_whitespace)?;
                Some((cycles.parse::<i64>().ok()?, count.trim().parse::<i64>().ok()?, stack))
            });
            let Some((mut delay, mut count, stack)) = numbers else {
                bad_line(number, line, self.import);
                continue;
            };
            let period = self.raw.period;
            if period > 0 {
                if hertz > 0 {
                    delay = (delay as f64 * period as f64 / (hertz as f64 / 1e9)) as i64;
                }
                count = count.saturating_mul(period);
            }
            self.push(RawSample { addresses: calls(stack), values: vec![count, delay], tags: Vec::new() })?;
        }
        Ok(())
    }

    fn count<'a>(&mut self, lines: &mut dyn Iterator<Item = Numbered<'a>>, name: &str) -> Result<(), ImportError> {
        self.raw.set_types(&[(name, "count")]);
        self.raw.period_type = (name.to_string(), "count".to_string());
        self.raw.period = 1;
        for (number, line) in lines {
            if line.starts_with("---") {
                break;
            }
            if line.is_empty() || line.starts_with('#') {
                self.comment(line);
                continue;
            }
            match line.split_once('@').and_then(|(n, stack)| Some((n.trim().parse::<i64>().ok()?, stack))) {
                Some((n, stack)) => self.push(RawSample { addresses: calls(stack), values: vec![n], tags: Vec::new() })?,
                None => bad_line(number, line, self.import),
            }
        }
        Ok(())
    }

    fn threads<'a>(&mut self, lines: &mut dyn Iterator<Item = Numbered<'a>>, first: Option<Numbered<'a>>) -> Result<(), ImportError> {
        self.raw.set_types(&[("thread", "count")]);
        self.raw.period_type = ("thread".to_string(), "count".to_string());
        self.raw.period = 1;
        let mut open: Option<(&str, i64, Vec<u64>, bool)> =
            first.and_then(|(_, l)| thread(l)).map(|(name, id)| (name, id, Vec::new(), false));
        loop {
            let next = lines.next();
            let line = next.map_or("", |(_, line)| line);
            let started = thread(line);
            let end = next.is_none() || is_map_mark(line) || line.starts_with("---- no stack trace for");
            if started.is_some() || end {
                if let Some((name, id, mut stack, same)) = open.take() {
                    stack.iter_mut().skip(1).for_each(|a| *a = a.wrapping_sub(1));
                    if same {
                        stack = self.raw.samples.last().map_or(stack, |s| s.addresses.clone());
                    }
                    let tag = |key: &str, text: &str, number| Tag { key: key.to_string(), text: text.to_string(), number };
                    let tags = vec![tag("thread", name, 0), tag("tid", "", id)];
                    self.push(RawSample { addresses: stack, values: vec![1], tags })?;
                }
                open = started.map(|(name, id)| (name, id, Vec::new(), false));
                if !end {
                    continue;
                }
                // The mark itself may be what ended it; if not, look for it.
                let mut line = next.map(|(_, line)| line);
                while line.is_some_and(|l| !is_map_mark(l)) {
                    line = lines.next().map(|(_, line)| line);
                }
                without_twins(&mut self.raw.samples);
                return Ok(());
            }
            match (&mut open, next) {
                (Some((.., same)), _) if line.contains("same as previous thread") => *same = true,
                (Some((.., stack, _)), _) => stack.extend(addresses(line)),
                (None, Some((number, line))) if line.starts_with("---") => bad_line(number, line, self.import),
                _ => {}
            }
        }
    }

    /// Java's heap and contention: `bytes count @ frame numbers`, then a line per number.
    fn java<'a>(&mut self, lines: &mut dyn Iterator<Item = Numbered<'a>>, heap: bool) -> Result<(), ImportError> {
        /// The rate of the JVM agents that wrote this form.
        const RATE: i64 = 524_288;
        let mut unit = if heap { "bytes".to_string() } else { "nanoseconds".to_string() };
        let mut locations = Vec::new();
        for (number, line) in lines {
            if line.is_empty() {
                continue;
            }
            if line.starts_with("0x") {
                locations.push(line);
                continue;
            }
            if let Some((key, value)) = line.split_once('=').filter(|_| self.raw.samples.is_empty()) {
                match (key.trim(), value.trim().parse::<i64>()) {
                    ("resolution", _) => unit = value.trim().to_string(),
                    ("sampling period", Ok(n)) => self.raw.period = n,
                    ("ms since reset", Ok(n)) => self.raw.duration_ns = n.saturating_mul(1_000_000),
                    _ => {}
                }
                continue;
            }
            let numbers = line.split_once('@').and_then(|(numbers, stack)| {
                let (weight, count) = numbers.trim().split_once(char::is_whitespace)?;
                Some((count.trim().parse::<i64>().ok()?, weight.parse::<i64>().ok()?, stack))
            });
            let Some((count, weight, stack)) = numbers.filter(|(count, ..)| !heap || *count != 0) else {
                if locations.is_empty() {
                    bad_line(number, line, self.import);
                }
                continue;
            };
            let mut sample = RawSample { addresses: addresses(stack), ..RawSample::default() };
            if heap {
                let (objects, bytes) = unsample(count, weight, RATE);
                sample.values = vec![objects, bytes];
                sample.tags.push(Tag { key: "bytes".to_string(), text: String::new(), number: weight.wrapping_div(count) });
            } else {
                let scale = if self.raw.period == 0 { 1 } else { self.raw.period };
                sample.values = vec![count.saturating_mul(scale), weight.saturating_mul(scale)];
            }
            self.push(sample)?;
        }
        if heap {
            self.raw.set_types(&[("inuse_objects", "count"), ("inuse_space", &unit)]);
        } else {
            self.raw.set_types(&[("contentions", &unit), ("delay", &unit)]);
            self.raw.period_type = ("contentions".to_string(), "count".to_string());
        }
        java_locations(locations.into_iter(), self.raw);
        Ok(())
    }
}

/// Java's frames: `0x00000003 com.example.function003 (Source003.java:103)`.
pub(super) fn java_locations<'a>(lines: impl Iterator<Item = &'a str>, raw: &mut Raw) {
    raw.no_addresses = true;
    // One function per name; its file is that of the first sight.
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    for line in lines {
        let Some((number, text)) = line.trim().strip_prefix("0x").and_then(|l| l.split_once(char::is_whitespace)) else { continue };
        let Ok(number) = u64::from_str_radix(number, 16) else { continue };
        let text = text.trim();
        let place = text.strip_suffix(')').and_then(|t| t.rsplit_once('(')).filter(|(name, _)| name.ends_with(char::is_whitespace));
        let (name, file, line) = match place {
            Some((name, place)) => match place.rsplit_once(':').and_then(|(f, n)| Some((f, n.parse::<i64>().ok()?))) {
                Some((file, line)) if !file.is_empty() => (name.trim_end(), file, u64::try_from(line).unwrap_or(0)),
                // A library, of which the path says little.
                _ => (name.trim_end(), place.rsplit('/').next().unwrap_or(place), 0),
            },
            None if text.contains("generated stub/JIT") => ("STUB", "", 0),
            None => (text, "", 0),
        };
        let file = files.entry(name.to_string()).or_insert_with(|| file.to_string()).clone();
        raw.symbols.insert(number, vec![Line { name: name.to_string(), file, line }]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_lines() {
        let heap = |with_alloc, rate, period| Some(Kind::Heap { with_alloc, rate, period });
        assert_eq!(kind("heap profile:    144:  8498176 [   144:  8498176] @ heapz_v2/524288"), heap(false, 524_288, 524_288));
        assert_eq!(kind("heap profile: 1: 2 [3: 4] @ heap/1048576"), heap(true, 524_288, 524_288));
        assert_eq!(kind("heap profile: 1: 2 [0: 0] @ heapprofile"), heap(false, 0, 1));
        assert_eq!(kind("heap profile: 1: 2 [1: 2] @ growthz"), heap(false, 0, 1));
        assert_eq!(kind("heap profile: 1: 2 [1: 2] @ other"), None);
        assert_eq!(kind("threadcreate profile: total 7"), Some(Kind::Count("threadcreate".to_string())));
        assert_eq!(kind("--- Thread 7f794ab90940 (name: main/14748) stack: ---"), Some(Kind::Threads));
        assert_eq!(kind("main;f 3"), None);
    }

    #[test]
    fn unsampled_by_the_chance_to_be_seen() {
        // scaleHeapSample of google/pprof: 1/(1-e^-1) = 1.58197….
        assert_eq!(unsample(1, 524_288, 524_288), (1, 829_411));
        assert_eq!(unsample(10, 10, 1), (10, 10));
        assert_eq!(unsample(0, 10, 524_288), (0, 0));
    }
}
