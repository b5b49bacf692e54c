//! A profile narrowed to the samples whose labels pass, with the values of one key as its root frames if that is wanted.
//!
//! The result is a session of its own that holds only what these samples need, so that every analysis and export works on it
//! without knowing about labels. `go tool pprof` calls the same things `-tagfocus` and `-tagroot`.

use super::joined::join;
use super::labels::{is_joined, joined_slot, joined_text, passing, set_of, value_text};
use crate::base::ids::{FrameId, FuncId, LabelSetId, MappingId, StackId, StringId};
use crate::base::labels::LabelFilter;
use crate::base::work::step;
use crate::model::Session;
use crate::model::profile::{Profile, SampleTable, SliceTable};
use crate::model::symbols::{FrameKey, FuncKey};
use std::collections::{BTreeMap, HashMap};

/// So many values of a key become roots; lighter ones share one root that says how many they are. Nobody reads more, and every
/// root repeats the stacks below it.
pub const MAX_GROUPS: usize = 1000;

/// The samples of a profile that pass all filters, as profile 0 of a session of its own. Threads and value types keep their
/// positions. `None` if there is no such profile.
pub fn narrow(session: &Session, profile: usize, filters: &[LabelFilter], group: Option<&str>) -> Option<Session> {
    let p = session.profiles.get(profile)?;
    let pass = passing(session, p, filters);
    let kept: Vec<usize> = (0..p.samples.len()).filter(|i| pass.has(p, *i)).collect();
    let mut copy = Copy::new(session);
    let slots = group.map(|key| Slots::new(session, p, key));
    let (group_of, roots) = match (group, &slots) {
        (Some(key), Some(slots)) => groups(p, &kept, key, slots),
        _ => (Vec::new(), Vec::new()),
    };
    let roots: Vec<StackId> = roots.iter().map(|name| copy.root(name)).collect();
    let under = |i: usize| slots.as_ref().and_then(|s| group_of.get(s.of(p, i))).map_or(0, |g| *g);
    let root = |group: u32| roots.get(group as usize).copied().unwrap_or(StackId::NONE);
    let pick = |column: &[i64]| -> Vec<i64> { kept.iter().filter_map(|i| column.get(*i).copied()).collect() };
    let mut samples = SampleTable {
        thread: kept.iter().filter_map(|i| p.samples.thread.get(*i).copied()).collect(),
        time_ns: pick(&p.samples.time_ns),
        values: p.samples.values.iter().map(|column| pick(column)).collect(),
        ..SampleTable::default()
    };
    samples.stack = kept.iter().map(|&i| copy.stack(under(i), root(under(i)), p.samples.stack[i])).collect();
    // Slices stand in the order of the samples; where they do not, they cannot be told apart by labels.
    let slices = p.slices.as_ref().filter(|s| s.stack.len() == p.samples.len()).map(|s| SliceTable {
        stack: kept.iter().map(|&i| copy.stack(under(i), root(under(i)), s.stack[i])).collect(),
        thread: kept.iter().map(|&i| s.thread[i]).collect(),
        start_ns: pick(&s.start_ns),
        duration_ns: pick(&s.duration_ns),
        depth: kept.iter().map(|&i| s.depth[i]).collect(),
    });
    let mut out = Profile::new(p.source, p.format, p.value_types.clone());
    (out.name, out.default_value) = (p.name.clone(), p.default_value);
    (out.period, out.period_unit) = (p.period, p.period_unit.clone());
    (out.duration_ns, out.start_ns) = (p.duration_ns, p.start_ns);
    (out.threads, out.samples, out.slices) = (p.threads.clone(), samples, slices);
    let mut session = copy.to;
    session.profiles.push(out);
    session.symbols.stacks.seal();
    Some(session)
}

/// What samples are grouped by: sets of labels, or the spans and endpoints that they are joined with.
struct Slots {
    /// Slot of each sample; `None` for the position of its set of labels.
    of_sample: Option<Vec<u32>>,
    /// The root's name by slot; the last is for samples without the key.
    names: Vec<String>,
}

impl Slots {
    fn new(session: &Session, p: &Profile, key: &str) -> Slots {
        let none = format!("(no {key})");
        if is_joined(key) {
            let mut position: BTreeMap<u32, u32> = BTreeMap::new();
            let mut names = Vec::new();
            let join = join(session, p);
            let slot_of = |i: usize| join.as_ref().and_then(|j| joined_slot(j, key, i));
            let mut rows: Vec<u32> = Vec::with_capacity(p.samples.len());
            for i in 0..p.samples.len() {
                rows.push(slot_of(i).map_or(u32::MAX, |slot| {
                    *position.entry(slot).or_insert_with(|| {
                        names.push(join.as_ref().map_or(String::new(), |j| format!("{key}={}", joined_text(session, j, key, slot))));
                        names.len() as u32 - 1
                    })
                }));
            }
            let last = names.len() as u32;
            names.push(none);
            return Slots { of_sample: Some(rows.into_iter().map(|r| r.min(last)).collect()), names };
        }
        let sets = p.labels.start.len().saturating_sub(1);
        let name = |set: usize| {
            // A sample may carry several values of one key: they are one group of their own, so that no weight counts twice.
            let of_key = p.labels.set(LabelSetId::from_index(set)).iter().filter(|l| session.strings.get(l.key) == key);
            let mut texts: Vec<String> = of_key.map(|l| value_text(&session.strings, l)).collect();
            texts.sort();
            texts.dedup();
            if texts.is_empty() { none.clone() } else { format!("{key}={}", texts.join(", ")) }
        };
        Slots { of_sample: None, names: (0..sets).map(name).chain([none.clone()]).collect() }
    }

    fn of(&self, p: &Profile, sample: usize) -> usize {
        self.of_sample.as_ref().map_or_else(|| set_of(p, sample), |rows| rows[sample] as usize)
    }
}

/// For every slot the position of its root, and the roots' names by falling weight.
fn groups(p: &Profile, kept: &[usize], key: &str, slots: &Slots) -> (Vec<u32>, Vec<String>) {
    let names = &slots.names;
    let mut weight = vec![0_i64; names.len()];
    let values = p.samples.values.get(p.default_value).map_or(&[][..], Vec::as_slice);
    for &i in kept {
        let sum = &mut weight[slots.of(p, i)];
        *sum = sum.saturating_add(values.get(i).map_or(0, |v| v.saturating_abs()));
    }
    let mut sums: BTreeMap<&str, i64> = BTreeMap::new();
    for (name, weight) in names.iter().zip(&weight) {
        let sum = sums.entry(name).or_default();
        *sum = sum.saturating_add(*weight);
    }
    let mut order: Vec<(&str, i64)> = sums.into_iter().collect();
    order.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    let position: BTreeMap<&str, u32> = order.iter().enumerate().map(|(i, (name, _))| (*name, i.min(MAX_GROUPS) as u32)).collect();
    let group_of = names.iter().map(|name| position[name.as_str()]).collect();
    let mut roots: Vec<String> = order.iter().take(MAX_GROUPS).map(|(name, _)| (*name).to_string()).collect();
    if order.len() > MAX_GROUPS {
        roots.push(format!("({} other values of {key})", order.len() - MAX_GROUPS));
    }
    (group_of, roots)
}

/// Copies rows of one session into another, each once.
struct Copy<'a> {
    from: &'a Session,
    to: Session,
    mappings: Vec<MappingId>,
    funcs: Vec<FuncId>,
    frames: Vec<FrameId>,
    /// By group and stack.
    stacks: HashMap<(u32, StackId), StackId>,
    path: Vec<StackId>,
}

impl<'a> Copy<'a> {
    fn new(from: &'a Session) -> Copy<'a> {
        let s = &from.symbols;
        Copy {
            from,
            to: Session { sources: from.sources.clone(), ..Session::default() },
            mappings: vec![MappingId::NONE; s.mappings.file.len()],
            funcs: vec![FuncId::NONE; s.funcs.len()],
            frames: vec![FrameId::NONE; s.frames.len()],
            stacks: HashMap::new(),
            path: Vec::new(),
        }
    }

    fn text(&mut self, id: StringId) -> StringId {
        id.get().map_or(StringId::NONE, |id| self.to.strings.intern(self.from.strings.get(id)))
    }

    fn root(&mut self, name: &str) -> StackId {
        let name = self.to.strings.intern(name);
        let func = self.to.symbols.funcs.intern(FuncKey::named(name));
        let frame = self.to.symbols.frames.intern(FrameKey::of(func));
        self.to.symbols.stacks.push(StackId::NONE, frame)
    }

    fn mapping(&mut self, id: MappingId) -> MappingId {
        let Some(i) = id.get().map(MappingId::index) else { return id };
        if self.mappings[i].is_none() {
            let (file, build) = (self.from.symbols.mappings.file[i], self.from.symbols.mappings.build_id[i]);
            let (file, build) = (self.text(file), self.text(build));
            self.mappings[i] = self.to.symbols.mappings.intern(file, build);
        }
        self.mappings[i]
    }

    fn func(&mut self, id: FuncId) -> FuncId {
        let i = id.index();
        if self.funcs[i].is_none() {
            let from = &self.from.symbols.funcs;
            let key = FuncKey {
                name: self.text(from.name[i]),
                full_name: self.text(from.full_name[i]),
                system_name: self.text(from.system_name[i]),
                file: self.text(from.file[i]),
                mapping: self.mapping(from.mapping[i]),
                start_line: from.start_line[i],
                flags: from.flags[i],
            };
            self.funcs[i] = self.to.symbols.funcs.intern(key);
        }
        self.funcs[i]
    }

    fn frame(&mut self, id: FrameId) -> FrameId {
        let i = id.index();
        if self.frames[i].is_none() {
            let key = self.from.symbols.frames.key(id.0);
            let func = self.func(key.func);
            self.frames[i] = self.to.symbols.frames.intern(FrameKey { func, ..key });
        }
        self.frames[i]
    }

    /// The stack below a root. A sample without frames consists of its root alone.
    fn stack(&mut self, group: u32, root: StackId, stack: StackId) -> StackId {
        let mut path = std::mem::take(&mut self.path);
        let (mut at, mut known) = (stack, root);
        while let Some(row) = at.get() {
            step(1);
            if let Some(done) = self.stacks.get(&(group, row)) {
                known = *done;
                break;
            }
            path.push(row);
            at = self.from.symbols.stacks.prefix[row.index()];
        }
        while let Some(row) = path.pop() {
            let frame = self.frame(self.from.symbols.stacks.frame[row.index()]);
            known = self.to.symbols.stacks.push(known, frame);
            self.stacks.insert((group, row), known);
        }
        self.path = path;
        known
    }
}
