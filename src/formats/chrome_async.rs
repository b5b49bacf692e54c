//! Asynchronous slices of Chrome traces: nestable events (`b`, `n`, `e`) and legacy ones (`S`, `T`, `p`, `F`).
//!
//! Events of one category, scope and id belong together, also across threads and processes (the Trace Event Format document);
//! an end closes the begin of its name that was opened last, of its own process before others. What belongs together is drawn
//! as one tree; trees of one process and category share a track, side by side where they overlap.

use super::Import;
use super::chrome_nest::{Nested, nest};
use crate::base::ids::StringId;
use crate::base::pack::{Packer, Unpacker};
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use crate::model::join::Landed;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

const STRAY: DiagnosticCode = DiagnosticCode {
    code: "chrome-trace/async-end-without-begin",
    level: Level::Notice,
    message: "Asynchronous ends and steps without a begin (it lies before the recording) name no slice and were skipped.",
};
const UNFINISHED: DiagnosticCode = DiagnosticCode {
    code: "chrome-trace/async-begin-without-end",
    level: Level::Notice,
    message: "Asynchronous begins without an end were closed at the last event of their id.",
};

/// What an event does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// `b`, `S`.
    Begin,
    /// `e`, `F`.
    End,
    /// `n`.
    Instant,
    /// `T`: a step begins.
    Into,
    /// `p`: a step has ended.
    Past,
}

/// What events have in common that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// `S`, `T`, `p`, `F`.
    pub legacy: bool,
    /// Category.
    pub cat: StringId,
    /// Scope of the id.
    pub scope: StringId,
    /// Id as text.
    pub id: StringId,
    /// Process, for ids that are local to it; `i64::MIN` for others.
    pub pid: i64,
}

/// An event.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// Time in nanoseconds.
    pub time: i64,
    /// What it does.
    pub act: Act,
    /// Name of the slice, `NONE` if it has none.
    pub name: StringId,
    /// Name of the step, for steps.
    pub step: StringId,
    /// Process.
    pub pid: i64,
}

/// A tree on its track.
struct Tree {
    track: u32,
    start: i64,
    end: i64,
    rows: std::ops::Range<usize>,
    height: u32,
}

/// A track and its slices: process, category, rows in order of start.
pub struct Track {
    /// Process.
    pub pid: i64,
    /// Category.
    pub cat: StringId,
    /// Slices; their depth is the row on the track.
    pub slices: Nested,
}

/// All asynchronous events of a file.
#[derive(Default)]
pub struct Asyncs {
    groups: BTreeMap<Key, u32>,
    keys: Vec<Key>,
    group: Vec<u32>,
    events: Vec<Event>,
}

impl Asyncs {
    /// Takes an event.
    pub fn add(&mut self, key: Key, event: Event) {
        let next = self.keys.len() as u32;
        let group = *self.groups.entry(key).or_insert(next);
        if group == next {
            self.keys.push(key);
        }
        self.group.push(group);
        self.events.push(event);
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Takes over the events of the next part. `number` gives this part's number of a process.
    pub fn join(&mut self, next: &Asyncs, landed: &Landed, number: &dyn Fn(i64) -> i64) {
        for (group, event) in next.group.iter().zip(&next.events) {
            let key = next.keys[*group as usize];
            let pid = if key.pid == i64::MIN { key.pid } else { number(key.pid) };
            let text = |id| landed.string(id);
            let key = Key { cat: text(key.cat), scope: text(key.scope), id: text(key.id), pid, ..key };
            self.add(key, Event { name: text(event.name), step: text(event.step), pid: number(event.pid), ..*event });
        }
    }

    /// Writes what [`Asyncs::unpack`] reads.
    pub fn pack(&self, out: &mut Packer) {
        out.column(&self.keys.iter().map(|k| u8::from(k.legacy)).collect::<Vec<u8>>());
        for part in [|k: &Key| k.cat, |k: &Key| k.scope, |k: &Key| k.id] {
            out.column(&self.keys.iter().map(part).collect::<Vec<StringId>>());
        }
        out.column(&self.keys.iter().map(|k| k.pid).collect::<Vec<i64>>());
        out.column(&self.group);
        out.column(&self.events.iter().map(|e| e.time).collect::<Vec<i64>>());
        out.column(&self.events.iter().map(|e| e.act as u8).collect::<Vec<u8>>());
        out.column(&self.events.iter().map(|e| e.name).collect::<Vec<StringId>>());
        out.column(&self.events.iter().map(|e| e.step).collect::<Vec<StringId>>());
        out.column(&self.events.iter().map(|e| e.pid).collect::<Vec<i64>>());
    }

    /// Reads what [`Asyncs::pack`] wrote.
    pub fn unpack(from: &mut Unpacker<'_>) -> Option<Asyncs> {
        let mut out = Asyncs::default();
        let legacy = from.column::<u8>()?;
        let (cats, scopes, ids) = (from.column::<StringId>()?, from.column::<StringId>()?, from.column::<StringId>()?);
        let pids = from.column::<i64>()?;
        for (i, legacy) in legacy.iter().enumerate() {
            out.keys.push(Key { legacy: *legacy == 1, cat: *cats.get(i)?, scope: *scopes.get(i)?, id: *ids.get(i)?, pid: *pids.get(i)? });
        }
        out.groups = out.keys.iter().enumerate().map(|(i, key)| (*key, i as u32)).collect();
        out.group = from.column()?;
        let (times, acts) = (from.column::<i64>()?, from.column::<u8>()?);
        let (names, steps, pids) = (from.column::<StringId>()?, from.column::<StringId>()?, from.column::<i64>()?);
        for (i, time) in times.iter().enumerate() {
            let act = match acts.get(i)? {
                0 => Act::Begin,
                1 => Act::End,
                2 => Act::Instant,
                3 => Act::Into,
                _ => Act::Past,
            };
            out.events.push(Event { time: *time, act, name: *names.get(i)?, step: *steps.get(i)?, pid: *pids.get(i)? });
        }
        Some(out)
    }

    /// Matches and lays out all slices.
    pub fn finish(self, import: &mut Import<'_>) -> Vec<Track> {
        let mut order: Vec<u32> = (0..self.events.len() as u32).collect();
        order.sort_by_key(|i| (self.group[*i as usize], self.events[*i as usize].time));
        let mut found: BTreeMap<(i64, StringId), u32> = BTreeMap::new();
        let mut tracks: Vec<Track> = Vec::new();
        let mut trees: Vec<Tree> = Vec::new();
        let mut all = Nested::default();
        for run in order.chunk_by(|a, b| self.group[*a as usize] == self.group[*b as usize]) {
            let key = self.keys[self.group[run[0] as usize] as usize];
            let events: Vec<Event> = run.iter().map(|i| self.events[*i as usize]).collect();
            // Slices of different processes are different trees.
            let mut slices = match_events(&events, import);
            slices.sort_by_key(|(pid, _)| *pid);
            for own in slices.chunk_by(|a, b| a.0 == b.0) {
                let pid = own[0].0;
                let next = tracks.len() as u32;
                let track = *found.entry((pid, key.cat)).or_insert(next);
                if track == next {
                    tracks.push(Track { pid, cat: key.cat, slices: Nested::default() });
                }
                let from = all.len();
                nest(own.iter().map(|(_, slice)| *slice).collect(), &mut all, None, import);
                let mut root = from;
                for row in from..all.len() {
                    let end = all.start[row].saturating_add(all.duration[row]);
                    if row == from || all.depth[row] == 0 && all.start[row] >= trees.last().map_or(i64::MIN, |t| t.end) {
                        root = row;
                        trees.push(Tree { track, start: all.start[row], end, rows: row..row, height: 0 });
                    }
                    if let Some(tree) = trees.last_mut() {
                        tree.rows = root..row + 1;
                        tree.height = tree.height.max(all.depth[row] + 1);
                        tree.end = tree.end.max(end);
                    }
                }
            }
        }
        lay_out(trees, &all, &mut tracks);
        tracks
    }
}

/// An open slice: its begin and the step that runs in it.
struct Open {
    start: i64,
    step: Option<(i64, StringId)>,
    /// Up to where steps that ended (`p`) reach.
    past: i64,
}

/// Begin, length, name.
type Slice = (i64, i64, StringId);

/// The slices of events that belong together, in order of time, each with its process.
fn match_events(events: &[Event], import: &mut Import<'_>) -> Vec<(i64, Slice)> {
    let mut out: Vec<(i64, Slice)> = Vec::new();
    // Emptied entries are removed, so that the first of a name is one that is open.
    let mut open: BTreeMap<(StringId, i64), Vec<Open>> = BTreeMap::new();
    // All begins in order, for ends that have no name; what was closed by name is passed over.
    let mut begun: Vec<(StringId, i64)> = Vec::new();
    for e in events {
        if e.act == Act::Begin {
            open.entry((e.name, e.pid)).or_default().push(Open { start: e.time, step: None, past: e.time });
            begun.push((e.name, e.pid));
            continue;
        }
        if e.act == Act::Instant {
            out.push((e.pid, (e.time, 0, e.name)));
            continue;
        }
        let key = if e.name.is_none() {
            while begun.last().is_some_and(|key| !open.contains_key(key)) {
                begun.pop();
            }
            begun.last().copied()
        } else if open.contains_key(&(e.name, e.pid)) {
            Some((e.name, e.pid))
        } else {
            open.range((e.name, i64::MIN)..=(e.name, i64::MAX)).next().map(|(key, _)| *key)
        };
        let Some((key, top)) = key.and_then(|key| Some((key, open.get_mut(&key)?.last_mut()?))) else {
            import.ledger.records_kept = import.ledger.records_kept.saturating_sub(1);
            let name = if e.name.is_none() { "" } else { import.session.strings.get(e.name) }.to_string();
            import.report(STRAY, At::File, &name);
            continue;
        };
        if e.act == Act::Past {
            out.push((key.1, (top.past, e.time.saturating_sub(top.past), e.step)));
            top.past = e.time;
            continue;
        }
        if let Some((start, step)) = top.step.take() {
            out.push((key.1, (start, e.time.saturating_sub(start), step)));
        }
        if e.act == Act::Into {
            top.step = Some((e.time, e.step));
            continue;
        }
        out.push((key.1, (top.start, e.time.saturating_sub(top.start), key.0)));
        if let Some(stack) = open.get_mut(&key) {
            stack.pop();
            if stack.is_empty() {
                open.remove(&key);
            }
        }
    }
    let last = events.last().map_or(0, |e| e.time);
    for ((name, pid), stack) in open {
        let text = if name.is_none() { "" } else { import.session.strings.get(name) }.to_string();
        for open in stack {
            import.report(UNFINISHED, At::File, &text);
            if let Some((start, step)) = open.step {
                out.push((pid, (start, last.saturating_sub(start), step)));
            }
            out.push((pid, (open.start, last.saturating_sub(open.start), name)));
        }
    }
    out
}

/// Gives each tree the lowest rows of its track that are free while it lasts.
fn lay_out(mut trees: Vec<Tree>, all: &Nested, tracks: &mut [Track]) {
    trees.sort_by_key(|t| (t.track, t.start, t.rows.start));
    for run in trees.chunk_by(|a, b| a.track == b.track) {
        let (mut busy, mut free) = (BinaryHeap::<Reverse<(i64, u32)>>::new(), BinaryHeap::<Reverse<u32>>::new());
        let mut heights: Vec<u32> = Vec::new();
        let mut lanes: Vec<u32> = Vec::with_capacity(run.len());
        for tree in run {
            while let Some(&Reverse((end, lane))) = busy.peek()
                && end <= tree.start
            {
                busy.pop();
                free.push(Reverse(lane));
            }
            let lane = free.pop().map_or(heights.len() as u32, |Reverse(lane)| lane);
            if lane as usize == heights.len() {
                heights.push(0);
            }
            heights[lane as usize] = heights[lane as usize].max(tree.height);
            busy.push(Reverse((tree.end, lane)));
            lanes.push(lane);
        }
        let mut first: Vec<u32> = Vec::with_capacity(heights.len());
        let mut row = 0_u32;
        for height in heights {
            first.push(row);
            row += height;
        }
        let mut rows: Vec<(i64, u32, usize)> = Vec::new();
        for (tree, lane) in run.iter().zip(lanes) {
            rows.extend(tree.rows.clone().map(|i| (all.start[i], first[lane as usize] + all.depth[i], i)));
        }
        rows.sort_unstable();
        let to = &mut tracks[run[0].track as usize].slices;
        for (_, depth, i) in rows {
            to.push(all.stack[i], all.start[i], all.duration[i], depth, all.own[i]);
        }
    }
}
