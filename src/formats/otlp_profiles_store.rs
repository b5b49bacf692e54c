//! Profiles of OTLP on their way into the session: one profile per service and sample type, over all messages of a file.

use super::Import;
use super::otlp_profiles_tables::{AttrValue, Dictionary, Stacks};
use super::pprof::kind;
use crate::base::ids::{LabelSetId, StackId, StringId, ThreadId};
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use crate::model::profile::{Label, Profile, Thread, ValueKind, ValueType};
use std::collections::HashMap;

const UNEVEN: DiagnosticCode = DiagnosticCode {
    code: "otlp-profiles/uneven",
    level: Level::DataLoss,
    message: "Samples with several values and another number of times were dropped: which value belongs to which time is unknown.",
};
const NO_STACK: DiagnosticCode = DiagnosticCode {
    code: "otlp-profiles/missing-stack",
    level: Level::DataLoss,
    message: "Samples refer to stacks or locations that the dictionary lacks; they are kept without, or with <unknown> frames.",
};
const PART_TIMES: DiagnosticCode = DiagnosticCode {
    code: "otlp-profiles/part-without-time",
    level: Level::Notice,
    message: "Some samples of the profile have times and others not, so their order in time is not shown.",
};
const PAYLOAD: DiagnosticCode = DiagnosticCode {
    code: "otlp-profiles/original-payload",
    level: Level::Info,
    message: "The profile carries the file that it was made from as well; that was not opened.",
};

/// A sample as the message gives it.
#[derive(Clone, Debug, Default)]
pub struct RawSample {
    /// Row of the stack; 0 for none.
    pub stack: i64,
    /// Rows of attributes.
    pub attributes: Vec<i64>,
    /// Row of the link; 0 for none.
    pub link: i64,
    /// Values: one, or one per time.
    pub values: Vec<i64>,
    /// Times in nanoseconds since 1970.
    pub times: Vec<i64>,
}

/// A profile as the message gives it.
#[derive(Clone, Debug, Default)]
pub struct RawProfile {
    /// Rows of the sample type's name and unit.
    pub sample_type: (i64, i64),
    /// Rows of the period's type.
    pub period_type: (i64, i64),
    /// Period.
    pub period: i64,
    /// Begin in nanoseconds since 1970.
    pub time_ns: i64,
    /// Length in nanoseconds.
    pub duration_ns: i64,
    /// Format of the original payload, if there is one.
    pub payload: Option<String>,
    /// Samples.
    pub samples: Vec<RawSample>,
    /// Position of its resource in the message.
    pub resource: usize,
    /// Offset of the message, for places.
    pub at: u64,
}

/// What was read of one message.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// The tables.
    pub dictionary: Dictionary,
    /// Attributes of each resource: keys by text or by row of the strings.
    pub resources: Vec<Vec<(AttrValue, AttrValue)>>,
    /// The profiles.
    pub profiles: Vec<RawProfile>,
    /// A profile of an older draft of the format was met.
    pub older: bool,
}

/// Who a sample comes from.
#[derive(Clone, Debug, Default)]
struct Process {
    service: String,
    name: String,
    pid: i64,
}

struct Group {
    profile: Profile,
    threads: HashMap<(String, i64, i64), u32>,
    sets: HashMap<Vec<(u32, u32, i64, u32)>, LabelSetId>,
    without_time: u64,
    end_ns: i64,
}

/// All profiles of a file.
#[derive(Default)]
pub struct Store {
    groups: Vec<Group>,
    index: HashMap<(String, String, String), usize>,
    /// A profile of an older draft was met.
    pub older: bool,
}

impl Store {
    /// Whether no profile was met.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Takes a message, whose dictionary is complete now.
    pub fn add(&mut self, message: Message, import: &mut Import<'_>) {
        self.older |= message.older;
        let dictionary = &message.dictionary;
        let mut stacks = Stacks::default();
        let processes: Vec<Process> = message.resources.iter().map(|resource| process(resource, dictionary)).collect();
        let unknown = Process { pid: -1, ..Process::default() };
        for raw in &message.profiles {
            let process = processes.get(raw.resource).unwrap_or(&unknown);
            let at = self.group(raw, process, dictionary, import);
            let group = &mut self.groups[at];
            group.begin(raw, dictionary);
            if let Some(format) = &raw.payload {
                import.report(PAYLOAD, At::Byte(raw.at), format);
            }
            for sample in &raw.samples {
                group.sample(sample, raw.at, process, dictionary, &mut stacks, import);
            }
        }
    }

    fn group(&mut self, raw: &RawProfile, process: &Process, dictionary: &Dictionary, import: &Import<'_>) -> usize {
        let (name, unit) = (dictionary.text(raw.sample_type.0), dictionary.text(raw.sample_type.1));
        let key = (process.service.clone(), name.to_string(), unit.to_string());
        let groups = &mut self.groups;
        *self.index.entry(key).or_insert_with(|| {
            let kind = match name {
                "off_cpu" | "off-cpu" | "lock_time" => ValueKind::BlockTime,
                "allocated_space" if unit == "bytes" => ValueKind::AllocBytes,
                "allocated_objects" => ValueKind::AllocObjects,
                _ => kind(name, unit),
            };
            let value = ValueType { name: if name.is_empty() { "samples" } else { name }.to_string(), unit: unit.to_string(), kind };
            let mut profile = Profile::new(import.source, "otlp-profiles", vec![value]);
            profile.name.clone_from(&process.service);
            groups.push(Group { profile, threads: HashMap::new(), sets: HashMap::new(), without_time: 0, end_ns: 0 });
            groups.len() - 1
        })
    }

    /// Stores the profiles.
    pub fn finish(self, import: &mut Import<'_>) {
        for group in self.groups {
            let mut profile = group.profile;
            let samples = profile.samples.len();
            if group.without_time > 0 {
                if group.without_time < samples as u64 {
                    import.ledger.diagnostics.report_many(PART_TIMES, group.without_time, At::File, &profile.name);
                }
                profile.samples.time_ns = Vec::new();
            }
            if profile.samples.labels.iter().all(|set| set.is_none()) {
                profile.samples.labels = Vec::new();
            }
            if profile.threads.iter().all(|t| t.pid < 0 && t.tid < 0 && t.name.is_empty() && t.process.is_empty()) {
                profile.threads = Vec::new();
                profile.samples.thread = Vec::new();
            }
            profile.duration_ns = (group.end_ns - profile.start_ns).max(0);
            import.session.profiles.push(profile);
        }
    }
}

fn process(resource: &[(AttrValue, AttrValue)], dictionary: &Dictionary) -> Process {
    let mut out = Process { pid: -1, ..Process::default() };
    let resolved = |value: &AttrValue| match value {
        AttrValue::Constant(row) => AttrValue::Text(dictionary.text(*row).to_string()),
        value => value.clone(),
    };
    for (key, value) in resource {
        match (resolved(key), resolved(value)) {
            (AttrValue::Text(key), AttrValue::Text(text)) if key == "service.name" => out.service = text,
            (AttrValue::Text(key), AttrValue::Text(text)) if key == "process.executable.name" => out.name = text,
            (AttrValue::Text(key), AttrValue::Number(pid)) if key == "process.pid" => out.pid = pid,
            _ => {}
        }
    }
    out
}

impl Group {
    /// Takes over what another profile of the group says of itself.
    fn begin(&mut self, raw: &RawProfile, dictionary: &Dictionary) {
        let first = self.profile.samples.is_empty() || self.profile.start_ns == 0;
        if raw.time_ns > 0 && (first || raw.time_ns < self.profile.start_ns) {
            self.profile.start_ns = raw.time_ns;
        }
        self.end_ns = self.end_ns.max(raw.time_ns.saturating_add(raw.duration_ns.max(0)));
        if raw.period > 0 {
            self.profile.period = raw.period;
            self.profile.period_unit = dictionary.text(raw.period_type.1).to_string();
        }
    }

    /// Appends a sample: a row for each of its times, or one for its sum.
    fn sample(
        &mut self,
        raw: &RawSample,
        at: u64,
        process: &Process,
        dictionary: &Dictionary,
        stacks: &mut Stacks,
        import: &mut Import<'_>,
    ) {
        let rows = raw.times.len().max(1) as u64;
        import.ledger.records_in += rows;
        let (name, unit) = (self.profile.value_types[0].name.clone(), self.profile.value_types[0].unit.clone());
        let sum = raw.values.iter().fold(0_i64, |sum, v| sum.saturating_add(*v));
        if !raw.times.is_empty() && !raw.values.is_empty() && raw.times.len() != raw.values.len() {
            import.report(UNEVEN, At::Byte(at), &format!("{} values and {} times", raw.values.len(), raw.times.len()));
            import.ledger.weigh(&name, &unit, sum, false);
            return;
        }
        let (stack, missing) = stacks.get(raw.stack, dictionary, import).unwrap_or((StackId::NONE, 1));
        if missing > 0 {
            import.report(NO_STACK, At::Byte(at), &format!("stack {}", raw.stack));
        }
        let mut thread = (String::new(), process.pid, -1, process.name.clone());
        let mut labels = Vec::new();
        for (key, value, unit) in raw.attributes.iter().filter_map(|row| dictionary.attribute(*row)) {
            match (key, &value) {
                ("thread.name", AttrValue::Text(text)) => thread.0.clone_from(text),
                ("thread.id", AttrValue::Number(n)) => thread.2 = *n,
                ("process.pid", AttrValue::Number(n)) => thread.1 = *n,
                ("process.executable.name", AttrValue::Text(text)) => thread.3.clone_from(text),
                _ => labels.push(label(key, &value, unit, import)),
            }
        }
        if let Some((trace, span)) = dictionary.link(raw.link) {
            for (key, id) in [("trace_id", trace), ("span_id", span)] {
                labels.push(label(key, &AttrValue::Text(id.clone()), "", import));
            }
        }
        let set = self.set(labels);
        let thread = self.thread(thread);
        let table = &mut self.profile.samples;
        let mut push = |time: Option<i64>, value: i64| {
            table.stack.push(stack);
            table.thread.push(thread);
            table.time_ns.push(time.unwrap_or(0));
            table.values[0].push(value);
            table.labels.push(set);
            self.without_time += u64::from(time.is_none());
        };
        if raw.times.is_empty() {
            push(None, sum);
            import.ledger.weigh(&name, &unit, sum, true);
        }
        for (i, time) in raw.times.iter().enumerate() {
            // Times without values are one occurrence each.
            let value = raw.values.get(i).copied().unwrap_or(1);
            push(Some(*time), value);
            import.ledger.weigh(&name, &unit, value, true);
        }
        import.ledger.records_kept += rows;
    }

    fn thread(&mut self, (name, pid, tid, process): (String, i64, i64, String)) -> ThreadId {
        let threads = &mut self.profile.threads;
        let row = *self.threads.entry((name.clone(), pid, tid)).or_insert_with(|| {
            threads.push(Thread { name, pid, tid, process });
            threads.len() as u32 - 1
        });
        ThreadId(row)
    }

    fn set(&mut self, labels: Vec<Label>) -> LabelSetId {
        if labels.is_empty() {
            return LabelSetId::NONE;
        }
        let table = &mut self.profile.labels;
        let key = labels.iter().map(|l| (l.key.0, l.text.0, l.number, l.unit.0)).collect();
        *self.sets.entry(key).or_insert_with(|| {
            if table.start.is_empty() {
                table.start.push(0);
            }
            table.labels.extend(labels);
            table.start.push(table.labels.len() as u32);
            LabelSetId::from_index(table.start.len() - 2)
        })
    }
}

fn label(key: &str, value: &AttrValue, unit: &str, import: &mut Import<'_>) -> Label {
    let strings = &mut import.session.strings;
    let (text, number) = match value {
        AttrValue::Number(n) => (StringId::NONE, *n),
        AttrValue::Text(text) => (strings.intern(text), 0),
        AttrValue::Null | AttrValue::Constant(_) => (strings.intern(""), 0),
    };
    let unit = if unit.is_empty() { StringId::NONE } else { strings.intern(unit) };
    Label { key: strings.intern(key), text, number, unit }
}
