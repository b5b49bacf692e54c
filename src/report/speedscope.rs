//! speedscope's JSON (`file-format-spec.ts` of speedscope): one profile per value type and thread, as the format has a single
//! weight and no threads. Slices become events, samples stay samples; times are written in nanoseconds.
//!
//! What was exported and read back is exported to the same bytes.

use crate::base::ids::{FrameId, StackId, StringId, ThreadId};
use crate::model::Session;
use crate::model::profile::{Profile, SliceTable, Thread};
use std::collections::HashMap;
use std::fmt::Write;

/// The text, and what it does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Speedscope {
    /// The JSON.
    pub text: String,
    /// How many profiles are in it.
    pub profiles: usize,
    /// What the format cannot express, one sentence each; empty if nothing was lost.
    pub notes: Vec<String>,
}

/// Slices of one thread that overlap without nesting are spread over at most so many profiles.
const MAX_LANES: usize = 32;

/// Writes all profiles of a session, or only some columns of values (profile, value type). Of each profile the column that is
/// shown first comes first.
pub fn speedscope(session: &Session, only: Option<&[(usize, usize)]>) -> Speedscope {
    let mut out = Writer { session, frames: String::new(), rows: HashMap::new(), profiles: String::new(), count: 0, lost: Lost::default() };
    for (row, p) in session.profiles.iter().enumerate() {
        let wanted = |v: &usize| only.is_none_or(|only| only.contains(&(row, *v)));
        let mut columns: Vec<usize> = (0..p.value_types.len()).filter(wanted).collect();
        columns.sort_by_key(|v| *v != p.default_value);
        for column in columns {
            match &p.slices {
                Some(slices) => out.slices(p, column, slices),
                None => out.samples(p, column),
            }
        }
        out.lost.look_at(session, p);
    }
    let text = format!(
        "{{\"$schema\":\"https://www.speedscope.app/file-format-schema.json\",\"exporter\":\"hotspan\",\"activeProfileIndex\":0,\n\"shared\":{{\"frames\":[{}]}},\n\"profiles\":[{}]}}\n",
        out.frames, out.profiles
    );
    Speedscope { text, profiles: out.count, notes: out.lost.notes() }
}

/// What cannot be said.
#[derive(Default)]
struct Lost {
    times: bool,
    labels: bool,
    addresses: bool,
    binaries: bool,
    overlapping: bool,
    negative: u64,
    left_out: u64,
}

impl Lost {
    fn look_at(&mut self, session: &Session, p: &Profile) {
        self.times |= p.slices.is_none() && !p.samples.time_ns.is_empty() && p.format != "speedscope";
        self.labels |= p.samples.labels.iter().any(|l| !l.is_none());
        let symbols = &session.symbols;
        self.addresses |= symbols.frames.address.iter().chain(&symbols.frames.offset).any(|a| *a != crate::model::symbols::NO_ADDRESS);
        self.binaries |= symbols.funcs.mapping.iter().any(|m| !m.is_none());
    }

    fn notes(self) -> Vec<String> {
        let mut out = Vec::new();
        let mut note = |lost: bool, sentence: String| {
            if lost {
                out.push(sentence);
            }
        };
        note(self.times, "The times of samples are not in it: speedscope lays samples end to end.".to_string());
        note(self.labels, "Labels are not in it.".to_string());
        note(self.binaries, "Binaries and libraries of functions are not in it.".to_string());
        note(self.addresses, "Addresses are not in it.".to_string());
        note(self.overlapping, "Slices that overlap without nesting stand in profiles of their own.".to_string());
        note(self.negative > 0, format!("{} samples with negative weights are not in it.", self.negative));
        note(self.left_out > 0, format!("{} slices that overlap more than {MAX_LANES} others are not in it.", self.left_out));
        out
    }
}

struct Writer<'a> {
    session: &'a Session,
    frames: String,
    rows: HashMap<(StringId, StringId, u32), usize>,
    profiles: String,
    count: usize,
    lost: Lost,
}

impl Writer<'_> {
    /// The number of a frame: name, file and line tell frames apart.
    fn frame(&mut self, frame: FrameId) -> usize {
        let (strings, symbols) = (&self.session.strings, &self.session.symbols);
        let func = symbols.frames.func[frame.index()].index();
        let (name, file, line) = (symbols.funcs.name[func], symbols.funcs.file[func], symbols.frames.line[frame.index()]);
        let next = self.rows.len();
        let row = *self.rows.entry((name, file, line)).or_insert(next);
        if row == next {
            let comma = if next == 0 { "" } else { "," };
            let _ = write!(self.frames, "{comma}\n{{\"name\":{}", quoted(strings.get(name)));
            if let Some(file) = file.get() {
                let _ = write!(self.frames, ",\"file\":{}", quoted(strings.get(file)));
            }
            if line > 0 {
                let _ = write!(self.frames, ",\"line\":{line}");
            }
            self.frames.push('}');
        }
        row
    }

    fn path(&mut self, stack: StackId) -> Vec<usize> {
        let frames: Vec<FrameId> = self.session.symbols.stacks.leaf_to_root(stack).collect();
        frames.into_iter().rev().map(|frame| self.frame(frame)).collect()
    }

    /// The name of an exported profile: what was imported from speedscope keeps its own.
    fn name(&self, p: &Profile, column: usize, thread: Option<&Thread>, lane: usize) -> String {
        let mut parts = Vec::new();
        if p.format == "speedscope" {
            parts.push(p.name.clone());
        } else {
            let files = self.session.sources.len() > 1;
            parts.extend(self.session.sources.get(p.source.index()).filter(|_| files).map(|s| s.file.clone()));
            parts.push(p.name.clone());
            parts.push(thread.map_or(String::new(), thread_name));
            let value = &p.value_types[column];
            let known = unit(&value.unit).0 != "none" || value.unit == "count";
            parts.push(if known { value.name.clone() } else { format!("{} ({})", value.name, value.unit) });
        }
        if lane > 0 {
            parts.push(format!("overlapping {}", lane + 1));
        }
        parts.retain(|part| !part.is_empty());
        parts.join(" · ")
    }

    fn begin(&mut self, kind: &str, name: &str, unit: &str, end: i64) {
        let comma = if self.count == 0 { "" } else { "," };
        self.count += 1;
        let (name, unit) = (quoted(name), quoted(unit));
        let _ =
            write!(self.profiles, "{comma}\n{{\"type\":\"{kind}\",\"name\":{name},\"unit\":{unit},\"startValue\":0,\"endValue\":{end},");
    }

    /// The rows of each thread, in order; one group without a thread where the profile has none.
    fn by_thread(p: &Profile, threads: &[ThreadId], rows: usize) -> Vec<(Option<usize>, Vec<u32>)> {
        if p.threads.is_empty() || threads.is_empty() {
            return vec![(None, (0..rows as u32).collect())];
        }
        let mut groups: Vec<(Option<usize>, Vec<u32>)> = (0..p.threads.len()).map(|t| (Some(t), Vec::new())).collect();
        groups.push((None, Vec::new()));
        for row in 0..rows {
            let thread = threads.get(row).map_or(p.threads.len(), |t| t.index().min(p.threads.len()));
            groups[thread].1.push(row as u32);
        }
        groups.retain(|(_, rows)| !rows.is_empty());
        groups
    }

    fn samples(&mut self, p: &Profile, column: usize) {
        let (unit, factor) = unit(&p.value_types[column].unit);
        for (thread, mut rows) in Self::by_thread(p, &p.samples.thread, p.samples.len()) {
            if p.samples.time_ns.len() == p.samples.len() {
                rows.sort_by_key(|row| p.samples.time_ns[*row as usize]);
            }
            // Neighbours of one path become one sample: that is how they are drawn.
            let mut merged: Vec<(Vec<usize>, i64)> = Vec::new();
            for row in rows {
                let weight = p.samples.values[column][row as usize].saturating_mul(factor);
                if weight <= 0 {
                    self.lost.negative += u64::from(weight < 0);
                    continue;
                }
                let path = self.path(p.samples.stack[row as usize]);
                match merged.last_mut() {
                    Some((last, sum)) if *last == path => *sum = sum.saturating_add(weight),
                    _ => merged.push((path, weight)),
                }
            }
            if merged.is_empty() {
                continue;
            }
            let total = merged.iter().fold(0_i64, |sum, (_, weight)| sum.saturating_add(*weight));
            let name = self.name(p, column, thread.and_then(|t| p.threads.get(t)), 0);
            self.begin("sampled", &name, unit, total);
            let paths: Vec<String> = merged.iter().map(|(path, _)| list(path)).collect();
            let weights: Vec<i64> = merged.iter().map(|(_, weight)| *weight).collect();
            let _ = write!(self.profiles, "\n\"samples\":[{}],\n\"weights\":{}}}", paths.join(","), list(&weights));
        }
    }

    /// Slices as events. The slices of a value column are those that weigh in it; in the first one, those without weight too.
    fn slices(&mut self, p: &Profile, column: usize, slices: &SliceTable) {
        // Speedscope's clock begins at 0.
        let origin = if p.format == "speedscope" { 0 } else { slices.start_ns.iter().min().copied().unwrap_or(0) };
        let others: Vec<usize> = (0..p.value_types.len()).filter(|other| *other != column).collect();
        let belongs = |row: u32| {
            let own = p.samples.values[column].get(row as usize).is_some_and(|v| *v != 0);
            let foreign = others.iter().any(|other| p.samples.values[*other].get(row as usize).is_some_and(|v| *v != 0));
            own || !foreign && column == p.default_value
        };
        for (thread, mut rows) in Self::by_thread(p, &slices.thread, slices.stack.len()) {
            rows.retain(|row| belongs(*row));
            let mut lanes: Vec<Lane> = Vec::new();
            for row in rows {
                let i = row as usize;
                let Some(stack) = slices.stack[i].get() else { continue };
                let start = slices.start_ns[i].saturating_sub(origin);
                let end = start.saturating_add(slices.duration_ns[i].max(0));
                let symbols = &self.session.symbols;
                let (above, frame) = (symbols.stacks.prefix[stack.index()], symbols.stacks.frame[stack.index()]);
                // The lane of its caller, else the first with room.
                lanes.iter_mut().for_each(|lane| lane.close(start));
                let fits = |lane: &Lane| lane.open.last().is_none_or(|top| top.end >= end);
                let at_home = lanes.iter().position(|lane| fits(lane) && lane.open.last().map_or(StackId::NONE, |top| top.stack) == above);
                let Some(lane) = at_home.or_else(|| lanes.iter().position(fits)).or((lanes.len() < MAX_LANES).then_some(lanes.len()))
                else {
                    self.lost.left_out += 1;
                    continue;
                };
                if lane == lanes.len() {
                    lanes.push(Lane::default());
                }
                lanes[lane].push(Open { frame, stack, end }, start);
            }
            self.lost.overlapping |= lanes.len() > 1;
            for (number, mut lane) in lanes.into_iter().enumerate() {
                lane.close(i64::MAX);
                let name = self.name(p, column, thread.and_then(|t| p.threads.get(t)), number);
                self.begin("evented", &name, "nanoseconds", lane.last);
                // Frames are numbered in the order of the text, so that reading and writing it again numbers them the same.
                let events: Vec<String> = (lane.events.iter())
                    .map(|(kind, frame, at)| format!("\n{{\"type\":\"{kind}\",\"frame\":{},\"at\":{at}}}", self.frame(*frame)))
                    .collect();
                let _ = write!(self.profiles, "\n\"events\":[{}]}}", events.join(","));
            }
        }
    }
}

struct Open {
    frame: FrameId,
    stack: StackId,
    end: i64,
}

/// Nested slices on their way into events.
#[derive(Default)]
struct Lane {
    open: Vec<Open>,
    /// `O` or `C`, frame, time.
    events: Vec<(char, FrameId, i64)>,
    last: i64,
}

impl Lane {
    fn event(&mut self, kind: char, frame: FrameId, at: i64) {
        self.events.push((kind, frame, at));
        self.last = self.last.max(at);
    }

    /// Closes what ends by then.
    fn close(&mut self, at: i64) {
        while let Some(open) = self.open.pop_if(|open| open.end <= at) {
            self.event('C', open.frame, open.end);
        }
    }

    fn push(&mut self, open: Open, start: i64) {
        self.event('O', open.frame, start);
        self.open.push(open);
    }
}

/// The unit of the format, and what numbers are multiplied with.
fn unit(unit: &str) -> (&'static str, i64) {
    match unit {
        "nanoseconds" | "ns" => ("nanoseconds", 1),
        "microseconds" | "us" | "µs" => ("nanoseconds", 1_000),
        "milliseconds" | "ms" => ("nanoseconds", 1_000_000),
        "seconds" | "s" => ("nanoseconds", 1_000_000_000),
        "bytes" | "byte" | "B" => ("bytes", 1),
        "kilobytes" | "kB" | "KB" | "KiB" => ("bytes", 1024),
        _ => ("none", 1),
    }
}

fn thread_name(t: &Thread) -> String {
    let ids = match (t.pid >= 0, t.tid >= 0) {
        (true, true) => format!("{}/{}", t.pid, t.tid),
        (false, true) => t.tid.to_string(),
        (true, false) => t.pid.to_string(),
        (false, false) => String::new(),
    };
    [t.process.as_str(), t.name.as_str(), ids.as_str()].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn list<T: std::fmt::Display>(items: &[T]) -> String {
    let mut out = String::from("[");
    for (i, item) in items.iter().enumerate() {
        let _ = write!(out, "{}{item}", if i == 0 { "" } else { "," });
    }
    out.push(']');
    out
}
