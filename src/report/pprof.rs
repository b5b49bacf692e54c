//! pprof: `perftools.profiles.Profile` (google/pprof proto/profile.proto), gzipped. Equal samples are merged, as
//! `go tool pprof -proto` does. Ids, texts and samples stand in order of first use, so that the same profile gives the same
//! bytes, and what is read back gives them again.

use crate::base::ids::{FrameId, FuncId, LabelSetId, MappingId, StackId, StringId, ThreadId};
use crate::base::protobuf::Message;
use crate::model::Session;
use crate::model::profile::{MappedRange, Profile};
use crate::model::symbols::{FRAME_INLINED, NO_ADDRESS};
use std::collections::HashMap;
use std::hash::Hash;
use std::io::Write;

/// A written profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pprof {
    /// The file: gzip.
    pub bytes: Vec<u8>,
    /// What the form cannot express; also in the file as comments.
    pub lost: Vec<String>,
}

/// Things by number from 1, in order of first use.
struct Numbers<K> {
    of: HashMap<K, u64>,
}

impl<K: Hash + Eq> Numbers<K> {
    fn new() -> Numbers<K> {
        Numbers { of: HashMap::new() }
    }

    /// The number, and whether it is new.
    fn get(&mut self, key: K) -> (u64, bool) {
        let next = self.of.len() as u64 + 1;
        let number = *self.of.entry(key).or_insert(next);
        (number, number == next)
    }
}

/// One line of a location: function, line.
type Line = (u64, u32);

struct Writer<'a> {
    session: &'a Session,
    p: &'a Profile,
    texts: Numbers<String>,
    text_list: Vec<String>,
    functions: Numbers<(String, String, StringId, u32)>,
    /// Function by row, once known.
    function_of: Vec<u64>,
    mappings: Numbers<(MappingId, u64, u64, u64)>,
    ranges: HashMap<MappingId, Vec<MappedRange>>,
    locations: Numbers<(u64, u64, Vec<Line>)>,
    /// Location by its frames from the outermost: samples share most of them.
    location_of: HashMap<Vec<FrameId>, u64>,
    mapping_messages: Vec<(Message, bool)>,
    location_messages: Vec<Message>,
    function_messages: Vec<Message>,
    offsets_lost: bool,
}

/// Writes a profile with all its value types; only samples of one thread if that is wanted.
pub fn pprof(session: &Session, profile: usize, thread: Option<ThreadId>) -> Option<Pprof> {
    let p = session.profiles.get(profile)?;
    let mut w = Writer {
        session,
        p,
        texts: Numbers::new(),
        text_list: Vec::new(),
        functions: Numbers::new(),
        function_of: vec![0; session.symbols.funcs.len()],
        mappings: Numbers::new(),
        ranges: HashMap::new(),
        locations: Numbers::new(),
        location_of: HashMap::new(),
        mapping_messages: Vec::new(),
        location_messages: Vec::new(),
        function_messages: Vec::new(),
        offsets_lost: false,
    };
    for range in &p.ranges {
        w.ranges.entry(range.mapping).or_default().push(*range);
    }
    w.ranges.values_mut().for_each(|list| list.sort_by_key(|r| r.start));
    Some(w.write(thread))
}

impl Writer<'_> {
    fn write(mut self, thread: Option<ThreadId>) -> Pprof {
        let p = self.p;
        let mut out = Message::default();
        for of in &p.value_types {
            let m = self.value_type(&of.name, &of.unit);
            out.bytes(1, &m.bytes);
        }
        for sample in self.samples(thread) {
            out.bytes(2, &sample.bytes);
        }
        for (m, _) in &self.mapping_messages {
            out.bytes(3, &m.bytes);
        }
        for m in &self.location_messages {
            out.bytes(4, &m.bytes);
        }
        for m in &self.function_messages {
            out.bytes(5, &m.bytes);
        }
        let lost = self.lost();
        let mut comments: Vec<String> = p.comments.clone();
        for note in &lost {
            if !comments.contains(note) {
                comments.push(note.clone());
            }
        }
        let comments: Vec<u64> = comments.iter().map(|c| self.text(c)).collect();
        let shown = p.value_types.get(p.default_value);
        let default = shown.map_or(0, |of| self.text(&of.name));
        let period = (p.period != 0 || !p.period_unit.is_empty()).then(|| {
            let name = shown.map_or("", |of| of.name.as_str());
            self.value_type(name, &p.period_unit)
        });
        out.bytes(6, b"");
        for text in &self.text_list {
            out.bytes(6, text.as_bytes());
        }
        out.number(9, p.start_ns as u64);
        out.number(10, p.duration_ns as u64);
        if let Some(m) = period {
            out.bytes(11, &m.bytes);
        }
        out.number(12, p.period as u64);
        out.packed(13, comments.into_iter());
        out.number(14, default);
        // No name and no time in the header: the same profile gives the same bytes.
        let mut gzip = flate2::GzBuilder::new().write(Vec::new(), flate2::Compression::new(6));
        let bytes = gzip.write_all(&out.bytes).and_then(|()| gzip.finish()).unwrap_or_default();
        Pprof { bytes, lost }
    }

    fn lost(&self) -> Vec<String> {
        let p = self.p;
        let mut lost = Vec::new();
        let mut note = |text: &str| lost.push(format!("hotspan: {text}"));
        if !p.name.is_empty() {
            note(&format!("this is what {} measured", p.name));
        }
        if !p.samples.time_ns.is_empty() {
            note("the times of samples are not in it");
        }
        if p.slices.is_some() {
            note("begin and end of slices are not in it, only their self time");
        }
        if self.offsets_lost {
            note("offsets in symbols are not in it where no address was known");
        }
        lost
    }

    fn text(&mut self, text: &str) -> u64 {
        if text.is_empty() {
            return 0;
        }
        let (number, new) = self.texts.get(text.to_string());
        if new {
            self.text_list.push(text.to_string());
        }
        number
    }

    fn stored(&mut self, id: StringId) -> u64 {
        let session = self.session;
        self.text(session.strings.get(id))
    }

    fn value_type(&mut self, name: &str, unit: &str) -> Message {
        let mut m = Message::default();
        m.number(1, self.text(name));
        m.number(2, self.text(unit));
        m
    }

    /// Samples that weigh something, equal ones merged, in order of first sight.
    fn samples(&mut self, thread: Option<ThreadId>) -> Vec<Message> {
        let p = self.p;
        let mut lists: HashMap<StackId, u64> = HashMap::new();
        let mut list_numbers: Numbers<Vec<u64>> = Numbers::new();
        let mut list_of: Vec<Vec<u64>> = Vec::new();
        let mut tags: HashMap<(LabelSetId, ThreadId), Vec<u8>> = HashMap::new();
        let mut rows: HashMap<(u64, Vec<u8>), usize> = HashMap::new();
        let mut kept: Vec<(u64, Vec<u8>, Vec<i64>)> = Vec::new();
        for (i, stack) in p.samples.stack.iter().enumerate() {
            let of_thread = p.samples.thread.get(i).copied().unwrap_or(ThreadId::NONE);
            let values: Vec<i64> = p.samples.values.iter().map(|column| column.get(i).copied().unwrap_or(0)).collect();
            if thread.is_some_and(|t| t != of_thread) || values.iter().all(|v| *v == 0) {
                continue;
            }
            let list = match lists.get(stack) {
                Some(known) => *known,
                None => {
                    let locations = self.locations_of(*stack);
                    let (number, new) = list_numbers.get(locations.clone());
                    if new {
                        list_of.push(locations);
                    }
                    lists.insert(*stack, number);
                    number
                }
            };
            let set = p.samples.labels.get(i).copied().unwrap_or(LabelSetId::NONE);
            let labels = match tags.get(&(set, of_thread)) {
                Some(known) => known.clone(),
                None => {
                    let labels = self.labels(set, of_thread);
                    tags.insert((set, of_thread), labels.clone());
                    labels
                }
            };
            match rows.entry((list, labels)) {
                std::collections::hash_map::Entry::Occupied(row) => {
                    for (sum, v) in kept[*row.get()].2.iter_mut().zip(&values) {
                        *sum = sum.saturating_add(*v);
                    }
                }
                std::collections::hash_map::Entry::Vacant(row) => {
                    let labels = row.key().1.clone();
                    row.insert(kept.len());
                    kept.push((list, labels, values));
                }
            }
        }
        // What merging cancels out is gone, as in `go tool pprof`; its location and texts may stay.
        let weighs = |(_, _, values): &(u64, Vec<u8>, Vec<i64>)| values.iter().any(|v| *v != 0);
        let samples = kept.into_iter().filter(weighs).map(|(list, labels, values)| {
            let mut m = Message::default();
            m.packed(1, list_of[list as usize - 1].iter().copied());
            m.packed(2, values.into_iter().map(|v| v as u64));
            m.bytes.extend_from_slice(&labels);
            m
        });
        samples.collect()
    }

    /// Label fields of a sample: its own, and the thread's where they do not name it.
    fn labels(&mut self, set: LabelSetId, thread: ThreadId) -> Vec<u8> {
        let (session, p) = (self.session, self.p);
        let mut out = Message::default();
        let own = p.labels.set(set);
        for label in own {
            let mut m = Message::default();
            m.number(1, self.stored(label.key));
            m.number(2, self.stored(label.text));
            m.number(3, label.number as u64);
            m.number(4, self.stored(label.unit));
            out.bytes(3, &m.bytes);
        }
        if let Some(thread) = thread.get().and_then(|t| p.threads.get(t.index()))
            && crate::model::profile::thread_of_labels(&session.strings, own).is_none()
        {
            let numbers = [("tid", thread.tid), ("pid", thread.pid)];
            for (key, text) in [("thread", &thread.name), ("comm", &thread.process)].into_iter().filter(|(_, text)| !text.is_empty()) {
                let mut m = Message::default();
                m.number(1, self.text(key));
                m.number(2, self.text(text));
                out.bytes(3, &m.bytes);
            }
            for (key, number) in numbers.into_iter().filter(|(_, n)| *n != -1) {
                let mut m = Message::default();
                m.number(1, self.text(key));
                m.number(3, number as u64);
                out.bytes(3, &m.bytes);
            }
        }
        out.bytes
    }

    /// Locations of a stack from leaf to root: a frame with those that were inlined into it.
    fn locations_of(&mut self, stack: StackId) -> Vec<u64> {
        let symbols = &self.session.symbols;
        let mut group: Vec<FrameId> = Vec::new();
        let mut out = Vec::new();
        let frames: Vec<FrameId> = symbols.stacks.leaf_to_root(stack).collect();
        for (at, frame) in frames.iter().enumerate() {
            group.push(*frame);
            if symbols.frames.flags[frame.index()] & FRAME_INLINED == 0 || at + 1 == frames.len() {
                group.reverse();
                out.push(self.location(std::mem::take(&mut group)));
            }
        }
        out
    }

    /// The location of frames, the outermost first.
    fn location(&mut self, frames: Vec<FrameId>) -> u64 {
        if let Some(known) = self.location_of.get(&frames) {
            return *known;
        }
        let symbols = &self.session.symbols;
        let outer = frames[0].index();
        let address = match symbols.frames.address[outer] {
            NO_ADDRESS => 0,
            address => address,
        };
        self.offsets_lost |= address == 0 && symbols.frames.offset[outer] != NO_ADDRESS;
        let bare = |func: FuncId, line: u32| {
            let (funcs, f) = (&symbols.funcs, func.index());
            symbols.is_bare(&self.session.strings, func) && funcs.file[f].is_none() && line == 0 && funcs.start_line[f] == 0
        };
        let key = |frame: &FrameId| (symbols.frames.func[frame.index()], symbols.frames.line[frame.index()]);
        // Innermost first, as the format has them.
        let places: Vec<(FuncId, u32)> = frames.iter().rev().map(key).collect();
        let no_lines = matches!(places[..], [(func, line)] if bare(func, line));
        let mapping = self.mapping(symbols.funcs.mapping[symbols.frames.func[outer].index()], address);
        let mut lines: Vec<Line> = Vec::new();
        if !no_lines {
            lines.extend(places.iter().map(|(func, line)| (self.function(*func), *line)));
        }
        if mapping > 0
            && let Some((_, named)) = self.mapping_messages.get_mut(mapping as usize - 1)
        {
            *named |= !no_lines;
        }
        let (number, new) = self.locations.get((mapping, address, lines.clone()));
        if new {
            let mut m = Message::default();
            for (field, value) in [(1, number), (2, mapping), (3, address)] {
                m.number(field, value);
            }
            for (function, line) in lines {
                let mut l = Message::default();
                l.number(1, function);
                l.number(2, u64::from(line));
                m.bytes(4, &l.bytes);
            }
            self.location_messages.push(m);
        }
        self.location_of.insert(frames, number);
        number
    }

    /// The mapping of an address of a binary: the range that holds it, if the profile knows that.
    fn mapping(&mut self, mapping: MappingId, address: u64) -> u64 {
        let Some(row) = mapping.get() else { return 0 };
        let of = self.ranges.get(&mapping).map_or(&[][..], Vec::as_slice);
        let at = of.partition_point(|r| r.start <= address);
        let range = at.checked_sub(1).map(|i| of[i]).filter(|r| address < r.limit);
        let (start, limit, offset) = range.map_or((0, 0, 0), |r| (r.start, r.limit, r.offset));
        let (number, new) = self.mappings.get((mapping, start, limit, offset));
        if new {
            let table = &self.session.symbols.mappings;
            let (file, build_id) = (table.file[row.index()], table.build_id[row.index()]);
            let mut m = Message::default();
            for (field, value) in [(1, number), (2, start), (3, limit), (4, offset)] {
                m.number(field, value);
            }
            m.number(5, self.stored(file));
            m.number(6, self.stored(build_id));
            self.mapping_messages.push((m, false));
        }
        number
    }

    fn function(&mut self, func: FuncId) -> u64 {
        let f = func.index();
        if self.function_of[f] > 0 {
            return self.function_of[f];
        }
        let (funcs, strings) = (&self.session.symbols.funcs, &self.session.strings);
        let (name, system) = names(
            strings.get(funcs.name[f]),
            !funcs.full_name[f].is_none(),
            strings.get(funcs.system_name[f]),
            self.session.symbols.is_bare(strings, func),
        );
        let (file, start_line) = (funcs.file[f], funcs.start_line[f]);
        let (number, new) = self.functions.get((name.to_string(), system.to_string(), file, start_line));
        if new {
            let mut m = Message::default();
            m.number(1, number);
            m.number(2, self.text(name));
            m.number(3, self.text(system));
            m.number(4, self.stored(file));
            m.number(5, u64::from(start_line));
            self.function_messages.push(m);
        }
        self.function_of[f] = number;
        number
    }
}

/// Name and linker's name such that a reader that makes linkers' names readable, and leaves names alone that differ from them,
/// comes to the same name again.
fn names<'a>(name: &'a str, has_full: bool, system: &'a str, bare: bool) -> (&'a str, &'a str) {
    // A name in which nothing looks mangled or like C++ stays as it is.
    let plain = !name.contains(['<', '>', '[', ']', '(', ')']) && !name.contains("::") && !name.starts_with('_');
    match (bare, system.is_empty()) {
        (true, _) => ("", ""),
        (_, true) => (name, if plain { name } else { "" }),
        // perf takes Rust's names apart itself and leaves their hash, which no reader of pprof takes off.
        _ if has_full && system.strip_prefix(name).is_none_or(|rest| !rest.starts_with("::h")) => (system, system),
        _ => (name, system),
    }
}
