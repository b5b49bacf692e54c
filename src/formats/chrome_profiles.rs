//! Profiles inside of Chrome traces: V8's `Profile`, `ProfileChunk` and `CpuProfile` events, and sampling events with stack
//! frames. Their records are kept as they are until the whole file is read: chunks name nodes of earlier ones, samples name
//! frames that may stand behind them, and a file read in parts must give the same.

use super::Import;
use super::chrome_slices::Slices;
use super::json::{Scalar, Text};
use super::v8_cpu::{RawNode, V8Cpu};
use crate::base::ids::{StackId, ThreadId};
use crate::base::pack::{Packer, Unpacker};
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use crate::model::profile::{Profile, ValueKind, ValueType};
use crate::model::symbols::{FrameKey, FuncKey};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};

const BAD_CHUNK: DiagnosticCode = DiagnosticCode {
    code: "chrome-trace/bad-profile",
    level: Level::DataLoss,
    message: "Events of a CPU profile or samples that cannot be read were skipped.",
};
const NO_FRAME: DiagnosticCode = DiagnosticCode {
    code: "chrome-trace/missing-stack-frame",
    level: Level::Notice,
    message: "Samples or stack frames name stack frames that the file does not define; their stacks end there.",
};

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// An event of V8's profiler.
    V8,
    /// A sampling event (`P`), or an entry of `samples`.
    Sample,
    /// An entry of `stackFrames`: its key, a zero, the frame.
    Frame,
}

/// Records that wait for the end of the file.
#[derive(Default)]
pub struct Profiles {
    text: Vec<u8>,
    end: Vec<u64>,
    kind: Vec<u8>,
    at: Vec<u64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Event<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    ts: Scalar<'a>,
    #[serde(borrow)]
    pid: Scalar<'a>,
    #[serde(borrow)]
    tid: Scalar<'a>,
    #[serde(borrow)]
    id: Scalar<'a>,
    #[serde(borrow)]
    id2: Scalar<'a>,
    #[serde(borrow)]
    sf: Scalar<'a>,
    #[serde(borrow)]
    weight: Scalar<'a>,
    #[serde(borrow)]
    args: Option<Args<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Args<'a> {
    #[serde(borrow)]
    data: Option<Data<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Data<'a> {
    #[serde(borrow)]
    cpu_profile: Option<Whole<'a>>,
    #[serde(borrow)]
    start_time: Scalar<'a>,
    #[serde(borrow)]
    end_time: Scalar<'a>,
    #[serde(borrow)]
    time_deltas: Option<Vec<Scalar<'a>>>,
    #[serde(borrow)]
    lines: Option<Vec<Scalar<'a>>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Whole<'a> {
    #[serde(borrow)]
    nodes: Option<Vec<RawNode<'a>>>,
    #[serde(borrow)]
    samples: Option<Vec<Scalar<'a>>>,
    #[serde(borrow)]
    time_deltas: Option<Vec<Scalar<'a>>>,
    #[serde(borrow)]
    start_time: Scalar<'a>,
    #[serde(borrow)]
    end_time: Scalar<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StackFrame<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    parent: Scalar<'a>,
}

/// The id of an event as text: `id`, else the members of `id2`.
pub fn id_text(id: &Scalar<'_>, id2: &Scalar<'_>) -> (String, bool) {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Id2<'a> {
        #[serde(borrow)]
        global: Option<Text<'a>>,
        #[serde(borrow)]
        local: Option<Text<'a>>,
    }
    let text = |s: &Scalar<'_>| match s {
        Scalar::Null => None,
        Scalar::Text(text) | Scalar::Json(text) => Some(text.to_string()),
        Scalar::Bool(b) => Some(b.to_string()),
        Scalar::Int(n) => Some(n.to_string()),
        Scalar::Big(n) => Some(n.to_string()),
        Scalar::Float(n) => Some(n.to_string()),
    };
    if let Some(id) = text(id) {
        return (id, false);
    }
    let Scalar::Json(json) = id2 else { return (String::new(), true) };
    let id2: Id2<'_> = serde_json::from_str(json).unwrap_or_default();
    match (id2.global, id2.local) {
        (Some(global), _) => (global.0.into_owned(), false),
        (None, local) => (local.unwrap_or_default().0.into_owned(), true),
    }
}

/// A profile of V8 that is being put together.
struct V8 {
    pid: i64,
    tid: i64,
    cpu: V8Cpu,
}

impl Profiles {
    /// Keeps a record that begins at this byte.
    pub fn hold(&mut self, kind: Held, at: u64, parts: &[&[u8]]) {
        parts.iter().for_each(|part| self.text.extend_from_slice(part));
        self.end.push(self.text.len() as u64);
        self.kind.push(kind as u8);
        self.at.push(at);
    }

    /// Takes over the records of the next part.
    pub fn join(&mut self, next: &Profiles) {
        let base = self.text.len() as u64;
        self.text.extend_from_slice(&next.text);
        self.end.extend(next.end.iter().map(|end| base + end));
        self.kind.extend_from_slice(&next.kind);
        self.at.extend_from_slice(&next.at);
    }

    /// Writes what [`Profiles::unpack`] reads.
    pub fn pack(&self, out: &mut Packer) {
        out.column(&self.text);
        out.column(&self.end);
        out.column(&self.kind);
        out.column(&self.at);
    }

    /// Reads what [`Profiles::pack`] wrote.
    pub fn unpack(from: &mut Unpacker<'_>) -> Option<Profiles> {
        Some(Profiles { text: from.column()?, end: from.column()?, kind: from.column()?, at: from.column()? })
    }

    fn records(&self, kind: Held) -> impl Iterator<Item = (u64, &[u8])> + '_ {
        (0..self.end.len()).filter(move |i| self.kind[*i] == kind as u8).map(|i| {
            let from = if i == 0 { 0 } else { self.end[i - 1] };
            (self.at[i], self.text.get(from as usize..self.end[i] as usize).unwrap_or(&[]))
        })
    }

    /// Stores the profiles. `threads` are the names of threads by process and thread.
    pub fn finish(&self, slices: &mut Slices, threads: &BTreeMap<(i64, i64), String>, import: &mut Import<'_>) {
        self.v8(slices, threads, import);
        self.samples(slices, threads, import);
    }

    fn v8(&self, slices: &mut Slices, threads: &BTreeMap<(i64, i64), String>, import: &mut Import<'_>) {
        // Chunks may be written in any order; their own times put them right.
        let mut order: Vec<(i64, u64, &[u8])> = Vec::new();
        for (at, text) in self.records(Held::V8) {
            match serde_json::from_slice::<Stamp<'_>>(text) {
                Ok(stamp) => order.push((stamp.ts.thousandths().unwrap_or(0), at, text)),
                Err(e) => import.report(BAD_CHUNK, At::Byte(at), &e.to_string()),
            }
        }
        order.sort_by_key(|(ts, _, _)| *ts);
        let mut found: BTreeMap<(i64, String), usize> = BTreeMap::new();
        let mut profiles: Vec<V8> = Vec::new();
        for (ts, at, text) in order {
            let event = match serde_json::from_slice::<Event<'_>>(text) {
                Ok(event) => event,
                Err(e) => {
                    import.report(BAD_CHUNK, At::Byte(at), &e.to_string());
                    continue;
                }
            };
            let pid = slices.number(&event.pid).unwrap_or(0);
            let tid = slices.number(&event.tid).unwrap_or(pid);
            // Ids repeat between processes; a whole profile is one for itself.
            let whole = event.name.0 == "CpuProfile";
            let id = if whole { format!("whole {}", profiles.len()) } else { id_text(&event.id, &event.id2).0 };
            let next = profiles.len();
            let row = *found.entry((pid, id)).or_insert(next);
            if row == next {
                profiles.push(V8 { pid, tid, cpu: V8Cpu::default() });
            }
            let v8 = &mut profiles[row];
            if event.name.0 == "Profile" {
                // The thread that the profile is of; chunks are written by the sampler.
                v8.tid = tid;
            }
            v8.add(ts, event.args.and_then(|a| a.data).unwrap_or_default(), import);
        }
        for v8 in profiles {
            let thread = slices.thread(v8.pid, v8.tid, threads.get(&(v8.pid, v8.tid)).map_or("", String::as_str));
            let name = if thread.name.is_empty() { "CPU profile".to_string() } else { thread.name.clone() };
            v8.cpu.finish("chrome-trace", &name, Some(thread), import);
        }
    }

    fn samples(&self, slices: &mut Slices, threads: &BTreeMap<(i64, i64), String>, import: &mut Import<'_>) {
        let mut records = self.records(Held::Sample).peekable();
        if records.peek().is_none() {
            return;
        }
        let frames = Frames::read(self.records(Held::Frame), import);
        let types = vec![ValueType { name: "samples".into(), unit: "count".into(), kind: ValueKind::Samples }];
        let mut p = Profile::new(import.source, "chrome-trace", types);
        p.name = "samples".into();
        let mut rows: HashMap<(i64, i64), u32> = HashMap::new();
        for (at, text) in records {
            let event = serde_json::from_slice::<Event<'_>>(text);
            let read = event.as_ref().ok().and_then(|e| Some((e, e.ts.thousandths()?)));
            let Some((event, time)) = read else {
                import.ledger.records_kept = import.ledger.records_kept.saturating_sub(1);
                import.report(BAD_CHUNK, At::Byte(at), &String::from_utf8_lossy(text));
                continue;
            };
            let pid = slices.number(&event.pid).unwrap_or(-1);
            let tid = slices.number(&event.tid).unwrap_or(pid);
            let row = *rows.entry((pid, tid)).or_insert_with(|| {
                p.threads.push(slices.thread(pid, tid, threads.get(&(pid, tid)).map_or("", String::as_str)));
                p.threads.len() as u32 - 1
            });
            let named = |import: &mut Import<'_>, name: &str| {
                let session = &mut *import.session;
                let func = session.symbols.funcs.intern(FuncKey::named(session.strings.intern(name)));
                let frame = session.symbols.frames.intern(FrameKey::of(func));
                session.symbols.stacks.push(StackId::NONE, frame)
            };
            let (sf, _) = id_text(&event.sf, &Scalar::Null);
            let stack = match frames.stack.get(&sf) {
                Some(stack) => *stack,
                None => {
                    if !sf.is_empty() {
                        import.report(NO_FRAME, At::Byte(at), &sf);
                    }
                    named(import, if event.name.0.is_empty() { "(no stack)" } else { &event.name.0 })
                }
            };
            p.samples.stack.push(stack);
            p.samples.thread.push(ThreadId(row));
            p.samples.time_ns.push(time);
            p.samples.values[0].push(event.weight.int().unwrap_or(1));
        }
        if p.samples.is_empty() {
            return;
        }
        let (first, last) = (p.samples.time_ns.iter().min().copied().unwrap_or(0), p.samples.time_ns.iter().max().copied().unwrap_or(0));
        p.duration_ns = last.saturating_sub(first);
        import.ledger.weigh("samples", "count", p.total(0), true);
        import.session.profiles.push(p);
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Stamp<'a> {
    #[serde(borrow)]
    ts: Scalar<'a>,
}

impl V8 {
    /// Takes the data of an event at this time.
    fn add(&mut self, ts: i64, data: Data<'_>, import: &mut Import<'_>) {
        let whole = data.cpu_profile.unwrap_or_default();
        let ns = |values: Option<Vec<Scalar<'_>>>| -> Vec<i64> {
            values.unwrap_or_default().iter().map(|v| v.thousandths().unwrap_or(0)).collect()
        };
        let mut deltas = ns(whole.time_deltas);
        deltas.append(&mut ns(data.time_deltas));
        if let Some(start) = data.start_time.thousandths().or(whole.start_time.thousandths()) {
            self.cpu.start_ns = Some(start);
        } else if self.cpu.start_ns.is_none() {
            // The event that opens the profile is missing: a chunk is written when its last sample is known.
            self.cpu.start_ns = Some(deltas.iter().fold(ts, |at, delta| at.saturating_sub(*delta)));
        }
        if let Some(end) = data.end_time.thousandths().or(whole.end_time.thousandths()) {
            self.cpu.end_ns = Some(end);
        }
        for node in whole.nodes.iter().flatten() {
            self.cpu.node(node, import);
        }
        let samples = whole.samples.unwrap_or_default();
        let before = self.cpu.samples.len();
        self.cpu.samples.extend(samples.iter().map(|s| s.int().unwrap_or(0)));
        self.cpu.deltas.append(&mut deltas);
        if let Some(lines) = data.lines {
            self.cpu.lines.resize(before, 0);
            self.cpu.lines.extend(lines.iter().take(samples.len()).map(|l| l.int().and_then(|l| u32::try_from(l).ok()).unwrap_or(0)));
        }
    }
}

/// Stack frames by key.
struct Frames {
    stack: HashMap<String, StackId>,
}

impl Frames {
    fn read<'a>(records: impl Iterator<Item = (u64, &'a [u8])>, import: &mut Import<'_>) -> Frames {
        let mut rows: HashMap<String, usize> = HashMap::new();
        let mut frames = Vec::new();
        for (at, record) in records {
            let (key, text) = record.split_at(record.iter().position(|b| *b == 0).unwrap_or(0));
            let Ok(frame) = serde_json::from_slice::<StackFrame<'_>>(text.strip_prefix(&[0]).unwrap_or(text)) else {
                import.report(BAD_CHUNK, At::Byte(at), &String::from_utf8_lossy(text));
                continue;
            };
            let session = &mut *import.session;
            let name = session.strings.intern(if frame.name.0.is_empty() { "(anonymous)" } else { &frame.name.0 });
            let func = session.symbols.funcs.intern(FuncKey::named(name));
            let row = session.symbols.frames.intern(FrameKey::of(func));
            rows.insert(String::from_utf8_lossy(key).into_owned(), frames.len());
            frames.push((row, id_text(&frame.parent, &Scalar::Null).0));
        }
        let mut own: Vec<Option<StackId>> = vec![None; frames.len()];
        let mut on_path = vec![false; frames.len()];
        let mut path = Vec::new();
        for row in 0..frames.len() {
            let mut at = Some(row);
            let mut missing = false;
            while let Some(here) = at.filter(|here| own[*here].is_none() && !on_path[*here]) {
                on_path[here] = true;
                path.push(here);
                let parent = &frames[here].1;
                at = rows.get(parent).copied();
                missing = at.is_none() && !parent.is_empty();
            }
            if missing {
                import.report(NO_FRAME, At::File, "a frame's parent");
            }
            let mut stack = at.and_then(|at| own[at]).unwrap_or(StackId::NONE);
            while let Some(here) = path.pop() {
                stack = import.session.symbols.stacks.push(stack, frames[here].0);
                own[here] = Some(stack);
            }
        }
        Frames { stack: rows.into_iter().filter_map(|(key, row)| Some((key, own[row]?))).collect() }
    }
}
