//! Chrome trace slices: matching of begin and end, tracks, the profile of all of them.

use super::Import;
use super::chrome_async::Asyncs;
use super::chrome_nest::{Nested, nest};
use super::json::Scalar;
use super::room::Gathered;
use crate::base::ids::{StringId, ThreadId};
use crate::base::pack::{Packer, Unpacker};
use crate::model::TimelineCounts;
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use crate::model::fold::{GivenUp, Groups};
use crate::model::join::Landed;
use crate::model::profile::{Profile, SliceTable, Thread, ValueKind, ValueType};
use crate::model::reduce::report_fold;
use std::collections::{BTreeMap, BTreeSet};

const STRAY_END: DiagnosticCode = DiagnosticCode {
    code: "chrome-trace/end-without-begin",
    level: Level::Notice,
    message: "End events without a begin (it lies before the recording) name no slice and were skipped.",
};
const MISMATCH: DiagnosticCode = DiagnosticCode {
    code: "chrome-trace/mismatched-end",
    level: Level::Notice,
    message: "End events name another slice than the innermost open one; the slice of that name was closed, with all inside it.",
};
const UNFINISHED: DiagnosticCode = DiagnosticCode {
    code: "chrome-trace/begin-without-end",
    level: Level::Notice,
    message: "Begin events without an end were closed at the last time of the file.",
};
const OVERLAP: DiagnosticCode = DiagnosticCode {
    code: "chrome-trace/overlap",
    level: Level::Notice,
    message: "Slices of one thread overlap without nesting; they are kept whole, on a row of their own.",
};

/// The synthetic number of the first id that is a text; the following ones count down. Real ids may be negative, but none is
/// as small as this.
const FIRST_TEXT: i64 = -1 << 48;

/// Phases in the order in which they are matched at one time.
#[derive(Clone, Copy, PartialEq)]
enum Mark {
    Begin,
    End,
}

/// Collects events; [`Slices::finish`] makes the profile.
#[derive(Default)]
pub struct Slices {
    tracks: Vec<Track>,
    by_id: BTreeMap<(i64, i64), u32>,
    processes: BTreeMap<i64, String>,
    /// Synthetic numbers of ids that are texts.
    texts: BTreeMap<String, i64>,
    /// Asynchronous events.
    pub asyncs: Asyncs,
    /// There is no room for the begin and end of every slice.
    flat: bool,
}

impl Gathered for Slices {
    fn bytes(&self) -> u64 {
        // Nesting needs all slices of a thread at once; what comes of it is stored per slice, or per path and thread.
        let slices: usize = self.tracks.iter().map(|t| t.slices.len() + t.marks.len() / 2).sum();
        let longest = self.tracks.iter().map(|t| t.slices.len() + t.marks.len() / 2).max().unwrap_or(0);
        let read: usize = self.tracks.iter().map(|t| (t.slices.len() + t.marks.len()) * 24).sum();
        (read + longest * 32 + if self.flat { 0 } else { slices * 44 }) as u64
    }
    fn fold(&mut self) {
        self.flat = true;
    }
}

#[derive(Clone, Default)]
struct Track {
    pid: i64,
    tid: i64,
    name: Option<String>,
    /// Start, length, name; in file order.
    slices: Vec<(i64, i64, StringId)>,
    marks: Vec<(i64, Mark, StringId)>,
}

impl Slices {
    /// The number of a process or thread id; texts get one of their own.
    pub fn number(&mut self, id: &Scalar<'_>) -> Option<i64> {
        match id {
            Scalar::Null => None,
            Scalar::Text(text) if text.trim().parse::<i64>().is_err() => Some(self.text_number(text)),
            other => other.int(),
        }
    }

    fn text_number(&mut self, text: &str) -> i64 {
        if let Some(known) = self.texts.get(text) {
            return *known;
        }
        let next = FIRST_TEXT - self.texts.len() as i64;
        self.texts.insert(text.to_string(), next);
        next
    }

    /// The text of a synthetic number.
    fn text_of(&self, number: i64) -> Option<&str> {
        if number > FIRST_TEXT {
            return None;
        }
        self.texts.iter().find(|(_, n)| **n == number).map(|(text, _)| text.as_str())
    }

    /// A thread as people know it: ids that are texts become names where there is no other.
    pub fn thread(&self, pid: i64, tid: i64, name: &str) -> Thread {
        let shown = |number: i64, given: &str| match self.text_of(number) {
            Some(text) => (-1, if given.is_empty() { text.to_string() } else { given.to_string() }),
            None => (number, given.to_string()),
        };
        let (pid, process) = shown(pid, self.processes.get(&pid).map_or("", String::as_str));
        let (tid, name) = shown(tid, name);
        Thread { name, pid, tid, process }
    }

    /// Names of threads by process and thread.
    pub fn thread_names(&self) -> BTreeMap<(i64, i64), String> {
        self.tracks.iter().filter_map(|t| Some(((t.pid, t.tid), t.name.clone()?))).collect()
    }

    fn row(&mut self, pid: i64, tid: i64) -> usize {
        let tracks = &mut self.tracks;
        *self.by_id.entry((pid, tid)).or_insert_with(|| {
            tracks.push(Track { pid, tid, ..Track::default() });
            tracks.len() as u32 - 1
        }) as usize
    }

    /// The track of a process and thread id; a missing thread id is the process id.
    pub fn track(&mut self, pid: &Scalar<'_>, tid: &Scalar<'_>) -> usize {
        let pid = self.number(pid).unwrap_or(0);
        let tid = self.number(tid).unwrap_or(pid);
        self.row(pid, tid)
    }

    /// Names a thread; the last name wins.
    pub fn name_thread(&mut self, track: usize, name: &str) {
        self.tracks[track].name = Some(name.to_string());
    }

    /// Names a process; the last name wins.
    pub fn name_process(&mut self, pid: &Scalar<'_>, name: &str) {
        if let Some(pid) = self.number(pid) {
            self.processes.insert(pid, name.to_string());
        }
    }

    /// A complete slice.
    pub fn complete(&mut self, track: usize, name: StringId, start: i64, duration: i64) {
        self.tracks[track].slices.push((start, duration, name));
    }

    /// A begin event.
    pub fn begin(&mut self, track: usize, name: StringId, time: i64) {
        self.tracks[track].marks.push((time, Mark::Begin, name));
    }

    /// An end event; the name may be `NONE`.
    pub fn end(&mut self, track: usize, name: StringId, time: i64) {
        self.tracks[track].marks.push((time, Mark::End, name));
    }

    /// Takes over what the next part gathered.
    pub fn join(&mut self, next: Slices, landed: &Landed) {
        // Numbers of text ids were given out by each part for itself.
        let mut texts: Vec<(i64, String)> = next.texts.into_iter().map(|(text, number)| (number, text)).collect();
        texts.sort_unstable_by_key(|(number, _)| std::cmp::Reverse(*number));
        let own: BTreeMap<i64, i64> = texts.into_iter().map(|(number, text)| (number, self.text_number(&text))).collect();
        let number = |n: i64| own.get(&n).copied().unwrap_or(n);
        self.asyncs.join(&next.asyncs, landed, &number);
        for track in next.tracks {
            let row = self.row(number(track.pid), number(track.tid));
            let to = &mut self.tracks[row];
            to.name = track.name.or(to.name.take());
            to.slices.extend(track.slices.iter().map(|(start, length, name)| (*start, *length, landed.string(*name))));
            to.marks.extend(track.marks.iter().map(|(time, mark, name)| (*time, *mark, landed.string(*name))));
        }
        self.processes.extend(next.processes.into_iter().map(|(pid, name)| (number(pid), name)));
    }

    /// The synchronous slices so far, for a look at them while more come.
    pub fn synchronous(&self) -> Slices {
        Slices {
            tracks: self.tracks.clone(),
            by_id: self.by_id.clone(),
            processes: self.processes.clone(),
            texts: self.texts.clone(),
            asyncs: Asyncs::default(),
            flat: true,
        }
    }

    /// Writes what [`Slices::unpack`] reads.
    pub fn pack(&self, out: &mut Packer) {
        out.number(self.texts.len() as u64);
        for (text, number) in &self.texts {
            out.text(text);
            out.number(*number as u64);
        }
        out.number(self.processes.len() as u64);
        for (pid, name) in &self.processes {
            out.number(*pid as u64);
            out.text(name);
        }
        self.asyncs.pack(out);
        out.number(self.tracks.len() as u64);
        for t in &self.tracks {
            out.number(t.pid as u64);
            out.number(t.tid as u64);
            out.number(u64::from(t.name.is_some()));
            out.text(t.name.as_deref().unwrap_or(""));
            out.column(&t.slices.iter().map(|s| s.0).collect::<Vec<i64>>());
            out.column(&t.slices.iter().map(|s| s.1).collect::<Vec<i64>>());
            out.column(&t.slices.iter().map(|s| s.2).collect::<Vec<StringId>>());
            out.column(&t.marks.iter().map(|m| m.0).collect::<Vec<i64>>());
            out.column(&t.marks.iter().map(|m| u8::from(m.1 == Mark::End)).collect::<Vec<u8>>());
            out.column(&t.marks.iter().map(|m| m.2).collect::<Vec<StringId>>());
        }
    }

    /// Reads what [`Slices::pack`] wrote.
    pub fn unpack(from: &mut Unpacker<'_>) -> Option<Slices> {
        let mut out = Slices::default();
        for _ in 0..from.number()? {
            out.texts.insert(from.text()?, from.number()? as i64);
        }
        for _ in 0..from.number()? {
            out.processes.insert(from.number()? as i64, from.text()?);
        }
        out.asyncs = Asyncs::unpack(from)?;
        for _ in 0..from.number()? {
            let (pid, tid) = (from.number()? as i64, from.number()? as i64);
            let (named, name) = (from.number()? == 1, from.text()?);
            let mut t = Track { pid, tid, name: named.then_some(name), ..Track::default() };
            let (starts, lengths, names) = (from.column::<i64>()?, from.column::<i64>()?, from.column::<StringId>()?);
            t.slices = starts.into_iter().zip(lengths).zip(names).map(|((s, l), n)| (s, l, n)).collect();
            let (times, ends, names) = (from.column::<i64>()?, from.column::<u8>()?, from.column::<StringId>()?);
            let mark = |end| if end == 1 { Mark::End } else { Mark::Begin };
            t.marks = times.into_iter().zip(ends).zip(names).map(|((t, end), n)| (t, mark(end), n)).collect();
            out.tracks.push(t);
        }
        Some(out)
    }

    /// Matches, nests, and stores the profile. Returns the counts with slices, processes and threads filled in.
    pub fn finish(&mut self, mut counts: TimelineCounts, import: &mut Import<'_>) -> TimelineCounts {
        let last = self.tracks.iter().flat_map(|t| t.slices.iter().map(|s| s.0.saturating_add(s.1)).chain(t.marks.iter().map(|m| m.0)));
        let last = last.max().unwrap_or(0);
        let mut profile = Profile::new(
            import.source,
            "chrome-trace",
            vec![ValueType { name: "time".into(), unit: "nanoseconds".into(), kind: ValueKind::WallTime }],
        );
        let (mut table, mut bounds) = (SliceTable::default(), Bounds::default());
        let mut pids: Vec<i64> = self.tracks.iter().map(|t| t.pid).collect();
        pids.sort_unstable();
        pids.dedup();
        counts.processes = pids.len() as u64;
        // Columns of their final length: growing ones would leave gaps in a memory that cannot shrink.
        let flat = self.flat;
        let all: usize = self.tracks.iter().map(|t| t.slices.len() + t.marks.len().div_ceil(2)).sum();
        let total = if flat { 0 } else { all };
        table.stack.reserve(total);
        table.thread.reserve(total);
        table.start_ns.reserve(total);
        table.duration_ns.reserve(total);
        table.depth.reserve(total);
        profile.samples.stack.reserve(total);
        profile.samples.thread.reserve(total);
        profile.samples.values[0].reserve(total);
        let asyncs = std::mem::take(&mut self.asyncs).finish(import);
        if !asyncs.is_empty() {
            // Time that something was under way is no time of a thread: it has a column of its own.
            profile.value_types.push(ValueType { name: "async".into(), unit: "nanoseconds".into(), kind: ValueKind::Other });
            profile.samples.values.push(Vec::with_capacity(total));
        }
        let pairs: BTreeSet<(i64, i64)> = self.tracks.iter().map(|t| (t.pid, t.tid)).collect();
        for mut track in std::mem::take(&mut self.tracks) {
            counts.threads += 1;
            match_marks(&mut track, last, import);
            if track.slices.is_empty() {
                continue;
            }
            counts.slices += track.slices.len() as u64;
            // Thread 0 is the main thread, whose id is that of its process, unless that one is there too.
            let main = track.tid == 0 && track.pid > 0 && !pairs.contains(&(track.pid, track.pid));
            let tid = if main { track.pid } else { track.tid };
            let thread = self.thread(track.pid, tid, track.name.as_deref().unwrap_or(""));
            let mut nested = Nested::default();
            nested.reserve(track.slices.len());
            nest(track.slices, &mut nested, Some(OVERLAP), import);
            bounds.see(&nested);
            append(nested, thread, 0, flat, &mut table, &mut profile);
        }
        for track in asyncs {
            let cat = if track.cat.is_none() { "" } else { import.session.strings.get(track.cat) };
            let name = if cat.is_empty() { "async".to_string() } else { format!("async {cat}") };
            let thread = self.thread(track.pid, -1, &name);
            bounds.see(&track.slices);
            append(track.slices, thread, 1, flat, &mut table, &mut profile);
        }
        if let Some((first, end)) = bounds.0 {
            profile.duration_ns = end.saturating_sub(first);
            for (column, value) in profile.value_types.iter().enumerate() {
                import.ledger.weigh(&value.name, &value.unit, profile.total(column), true);
            }
            if flat {
                let after = profile.samples.len() as u64;
                let times = bounds.1;
                report_fold(&mut import.ledger, GivenUp { before: times, after, times, ..GivenUp::default() }, "the timeline");
            } else {
                profile.slices = Some(table);
            }
            import.session.profiles.push(profile);
        }
        counts
    }
}

/// Earliest begin and latest end of what was seen, and how many slices that were.
#[derive(Default)]
struct Bounds(Option<(i64, i64)>, u64);

impl Bounds {
    fn see(&mut self, nested: &Nested) {
        self.1 += nested.len() as u64;
        for (start, duration) in nested.start.iter().zip(&nested.duration) {
            let (first, end) = self.0.unwrap_or((*start, i64::MIN));
            self.0 = Some((first.min(*start), end.max(start.saturating_add(*duration))));
        }
    }
}

/// Appends the slices of a track; their self times go to one column. Without their times they are one row per path.
fn append(mut nested: Nested, thread: Thread, column: usize, flat: bool, table: &mut SliceTable, profile: &mut Profile) {
    let id = ThreadId::from_index(profile.threads.len());
    profile.threads.push(thread);
    if flat {
        let groups = Groups::by_numbers(nested.len(), |row| (nested.stack[row].0, 0, 0));
        nested = Nested { stack: groups.firsts(&nested.stack), own: groups.sums(&nested.own), ..Nested::default() };
    }
    let rows = nested.len();
    profile.samples.stack.extend_from_slice(&nested.stack);
    profile.samples.thread.extend(std::iter::repeat_n(id, rows));
    for (i, values) in profile.samples.values.iter_mut().enumerate() {
        if i == column { values.extend_from_slice(&nested.own) } else { values.extend(std::iter::repeat_n(0, rows)) }
    }
    if flat {
        return;
    }
    table.stack.extend_from_slice(&nested.stack);
    table.thread.extend(std::iter::repeat_n(id, rows));
    table.start_ns.extend_from_slice(&nested.start);
    table.duration_ns.extend_from_slice(&nested.duration);
    table.depth.extend_from_slice(&nested.depth);
}

/// Turns begin and end events into slices.
fn match_marks(track: &mut Track, last: i64, import: &mut Import<'_>) {
    let mut marks = std::mem::take(&mut track.marks);
    // Producers flush threads in any order; of one time, file order decides.
    marks.sort_by_key(|m| m.0);
    let mut open: Vec<(i64, StringId)> = Vec::new();
    // How many open slices have a name: an end for a name that is not open must not search the whole stack.
    let mut names: BTreeMap<StringId, u32> = BTreeMap::new();
    let mut close = |open: &mut Vec<(i64, StringId)>, names: &mut BTreeMap<StringId, u32>, end: i64| {
        if let Some((start, name)) = open.pop() {
            if let Some(count) = names.get_mut(&name) {
                *count -= 1;
            }
            track.slices.push((start, end.saturating_sub(start).max(0), name));
        }
    };
    // Ends whose begin stands behind them at the same time: a slice without length, written in the wrong order.
    let mut early: BTreeMap<StringId, u32> = BTreeMap::new();
    let mut now = i64::MIN;
    for (time, mark, name) in marks {
        if time != now {
            now = time;
            stray(&mut early, import);
        }
        if mark == Mark::Begin {
            open.push((time, name));
            *names.entry(name).or_default() += 1;
            if let Some(count) = early.get_mut(&name).filter(|count| **count > 0) {
                *count -= 1;
                close(&mut open, &mut names, time);
            }
            continue;
        }
        match open.last() {
            Some(&(_, top)) if name.is_none() || top == name => close(&mut open, &mut names, time),
            Some(_) if names.get(&name).is_some_and(|n| *n > 0) => {
                import.report(MISMATCH, At::File, import.session.strings.get(name).to_string().as_str());
                while open.last().is_some_and(|o| o.1 != name) {
                    close(&mut open, &mut names, time);
                }
                close(&mut open, &mut names, time);
            }
            _ => *early.entry(name).or_default() += 1,
        }
    }
    stray(&mut early, import);
    while let Some(&(_, name)) = open.last() {
        import.report(UNFINISHED, At::File, import.session.strings.get(name).to_string().as_str());
        close(&mut open, &mut names, last);
    }
}

/// Counts the ends of one time that found no begin.
fn stray(early: &mut BTreeMap<StringId, u32>, import: &mut Import<'_>) {
    for (name, count) in std::mem::take(early).into_iter().filter(|(_, count)| *count > 0) {
        let count = u64::from(count);
        import.ledger.records_kept = import.ledger.records_kept.saturating_sub(count);
        let text = import.session.strings.get(name).to_string();
        import.ledger.diagnostics.report_many(STRAY_END, count, At::File, &text);
    }
}
