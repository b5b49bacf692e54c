//! A profile: samples, each a stack with one value per value type.

use super::branches::BranchTable;
use super::copied_stacks::CopiedStacks;
use crate::base::ids::ProfileId;
use crate::base::ids::{FrameId, LabelSetId, MappingId, SourceId, StackId, StringId, ThreadId};
use crate::base::intern::StringTable;

/// What a value type measures; drives defaults, statistics and rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ValueKind {
    /// A count of samples.
    Samples,
    /// Time on a CPU.
    CpuTime,
    /// Elapsed time.
    WallTime,
    /// Hardware or software events (cycles, page faults), by their period.
    Events,
    /// Bytes allocated since start or in the window.
    AllocBytes,
    /// Objects allocated.
    AllocObjects,
    /// Bytes live.
    InUseBytes,
    /// Objects live.
    InUseObjects,
    /// Time blocked or waiting for locks.
    BlockTime,
    /// Count of blocking events.
    BlockCount,
    /// Anything else.
    Other,
}

/// One column of values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueType {
    /// As the format names it: `cpu`, `alloc_space`, `period`.
    pub name: String,
    /// As the format names it: `nanoseconds`, `bytes`, `count`.
    pub unit: String,
    /// What it measures.
    pub kind: ValueKind,
}

/// A thread of a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// Thread or command name; may be empty.
    pub name: String,
    /// Process id; -1 if unknown.
    pub pid: i64,
    /// Thread id; -1 if unknown.
    pub tid: i64,
    /// Process name if known apart from the thread's.
    pub process: String,
}

/// Samples in file order. A column that the format lacks is empty, never filled with invented data.
#[derive(Clone, Debug, Default)]
pub struct SampleTable {
    /// Stack; `NONE` for a sample without frames.
    pub stack: Vec<StackId>,
    /// Thread; empty if the format has none.
    pub thread: Vec<ThreadId>,
    /// Time in nanoseconds on the profile's clock; empty if the format has none.
    pub time_ns: Vec<i64>,
    /// One column per value type, each as long as `stack`.
    pub values: Vec<Vec<i64>>,
    /// Labels; empty if no sample has any.
    pub labels: Vec<LabelSetId>,
}

impl SampleTable {
    /// How many samples.
    pub fn len(&self) -> usize {
        self.stack.len()
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.stack.is_empty()
    }
}

/// Slices with exact begin and end (Chrome trace events), in order of thread, then start, parents before children.
/// `samples` of such a profile hold the same slices: the stack, and the self time as value; their times are in this table only.
#[derive(Clone, Debug, Default)]
pub struct SliceTable {
    /// The slice's path: its own frame on top of its enclosing slices.
    pub stack: Vec<StackId>,
    /// Track.
    pub thread: Vec<ThreadId>,
    /// Begin in nanoseconds on the profile's clock.
    pub start_ns: Vec<i64>,
    /// Length in nanoseconds.
    pub duration_ns: Vec<i64>,
    /// Row on its track: 0 for outermost slices.
    pub depth: Vec<u32>,
}

/// A label: key with text or number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// Key.
    pub key: StringId,
    /// Text, `NONE` for a number.
    pub text: StringId,
    /// Number (0 for a text).
    pub number: i64,
    /// Unit of the number or `NONE`.
    pub unit: StringId,
}

/// Distinct sets of labels: `labels[start[i]..start[i + 1]]`.
#[derive(Clone, Debug, Default)]
pub struct LabelTable {
    /// Start of each set in `labels`, with one closing entry; empty if there are no sets.
    pub start: Vec<u32>,
    /// All labels.
    pub labels: Vec<Label>,
}

impl LabelTable {
    /// Labels of a set.
    pub fn set(&self, id: LabelSetId) -> &[Label] {
        let Some(id) = id.get() else { return &[] };
        match (self.start.get(id.index()), self.start.get(id.index() + 1)) {
            (Some(&a), Some(&b)) => &self.labels[a as usize..b as usize],
            _ => &[],
        }
    }
}

/// A range of addresses at which a part of a binary lay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MappedRange {
    /// Binary.
    pub mapping: MappingId,
    /// First address.
    pub start: u64,
    /// One behind the last.
    pub limit: u64,
    /// Offset of the first address in the file.
    pub offset: u64,
}

/// The thread that labels name, by the keys of perf_to_profile, Go programs and the agents of Datadog and Pyroscope; `None`
/// where they name none. A process id alone is no thread.
pub fn thread_of_labels(strings: &StringTable, labels: &[Label]) -> Option<Thread> {
    let label = |keys: &[&str]| keys.iter().find_map(|key| labels.iter().find(|l| strings.get(l.key) == *key));
    let text = |keys: &[&str]| label(keys).map(|l| strings.get(l.text)).filter(|t| !t.is_empty());
    let number =
        |keys: &[&str]| label(keys).map_or(-1, |l| if l.text.is_none() { l.number } else { strings.get(l.text).parse().unwrap_or(-1) });
    let own_name = text(&["thread_comm", "thread_name", "thread name", "thread"]);
    let tid = number(&["tid", "thread_id", "thread id", "os thread id", "thread"]);
    if own_name.is_none() && tid == -1 {
        return None;
    }
    // Where threads have no name of their own `comm` is the thread's; else it is the process's.
    let comm = text(&["comm", "process_name", "process name"]);
    let name = own_name.or(comm).unwrap_or("");
    let process = comm.filter(|_| own_name.is_some()).unwrap_or("");
    Some(Thread { name: name.to_string(), pid: number(&["pid", "process_id", "process id"]), tid, process: process.to_string() })
}

/// A profile.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Name in the file: the event for `perf script`; may be empty.
    pub name: String,
    /// The file it came from.
    pub source: SourceId,
    /// Format id.
    pub format: &'static str,
    /// Columns of values.
    pub value_types: Vec<ValueType>,
    /// Which column is shown first.
    pub default_value: usize,
    /// Sampling period in `period_unit`; 0 if unknown.
    pub period: i64,
    /// Unit of the period.
    pub period_unit: String,
    /// Length of the recording in nanoseconds; 0 if unknown.
    pub duration_ns: i64,
    /// Begin of the recording in nanoseconds since 1970 where the format says so; 0 if unknown.
    pub start_ns: i64,
    /// Threads; empty if the format has none.
    pub threads: Vec<Thread>,
    /// Samples.
    pub samples: SampleTable,
    /// Exact slices for formats that have them.
    pub slices: Option<SliceTable>,
    /// Label sets of the samples.
    pub labels: LabelTable,
    /// Where binaries lay in memory; empty if the format does not say.
    pub ranges: Vec<MappedRange>,
    /// Remarks of the producer.
    pub comments: Vec<String>,
    /// Taken branches of the samples (LBR); empty for formats and recordings without.
    pub branches: BranchTable,
    /// Address of the kernel's first symbol while it ran; 0 if unknown.
    pub kernel_base: u64,
    /// Copies of threads' stacks that symbol files unwind; `None` where stacks were walked while recording.
    pub copied: Option<Box<CopiedStacks>>,
    /// Stacks and branches as they were read, once symbol files have named their frames.
    pub raw: Option<Box<Raw>>,
}

/// What naming replaced: from it names are given anew when another symbol file is opened.
#[derive(Clone, Debug, Default)]
pub struct Raw {
    /// `samples.stack` as it was read.
    pub stack: Vec<StackId>,
    /// `branches.from` as it was read.
    pub from: Vec<FrameId>,
    /// `branches.to` as it was read.
    pub to: Vec<FrameId>,
}

impl Profile {
    /// An empty profile.
    pub fn new(source: SourceId, format: &'static str, value_types: Vec<ValueType>) -> Profile {
        let values = value_types.iter().map(|_| Vec::new()).collect();
        Profile {
            name: String::new(),
            source,
            format,
            value_types,
            default_value: 0,
            period: 0,
            period_unit: String::new(),
            duration_ns: 0,
            start_ns: 0,
            threads: Vec::new(),
            samples: SampleTable { values, ..SampleTable::default() },
            slices: None,
            labels: LabelTable::default(),
            ranges: Vec::new(),
            comments: Vec::new(),
            branches: BranchTable::default(),
            kernel_base: 0,
            copied: None,
            raw: None,
        }
    }

    /// Sum of a value column, saturating.
    pub fn total(&self, value: usize) -> i64 {
        self.samples.values.get(value).map_or(0, |column| column.iter().fold(0_i64, |sum, v| sum.saturating_add(*v)))
    }

    /// How many events were sampled: rows of formats that count (pprof's `samples/count`) stand for many. `None` for heap
    /// profiles and others whose numbers count something else.
    pub fn events(&self) -> Option<u64> {
        u64::try_from(self.total(self.event_column()?)).ok()
    }

    /// The column that says for how many events a row stands.
    pub fn event_column(&self) -> Option<usize> {
        self.value_of_kind(ValueKind::Samples).filter(|column| self.value_types[*column].unit == "count")
    }

    /// For how many events a row stands; one where the format does not say it.
    pub fn events_of(&self, row: usize) -> u64 {
        self.event_column().map_or(1, |column| u64::try_from(self.samples.values[column][row]).unwrap_or(0))
    }

    /// About how many bytes its rows take.
    pub fn bytes(&self) -> usize {
        let s = &self.samples;
        let rows = s.stack.len() * 4 + s.thread.len() * 4 + s.time_ns.len() * 8 + s.labels.len() * 4 + s.values.len() * s.len() * 8;
        let slices = self.slices.as_ref().map_or(0, |t| t.stack.len() * 28);
        let copied: usize = self.copied.as_ref().map_or(0, |c| c.chunks.iter().map(Vec::len).sum());
        rows + slices + self.branches.len() * 13 + self.labels.labels.len() * 24 + copied
    }

    /// The column with this name.
    pub fn value_index(&self, name: &str) -> Option<usize> {
        self.value_types.iter().position(|v| v.name == name)
    }

    /// The first column of this kind.
    pub fn value_of_kind(&self, kind: ValueKind) -> Option<usize> {
        self.value_types.iter().position(|v| v.kind == kind)
    }

    /// Whether the samples carry times, so that a flame chart can be drawn.
    pub fn has_times(&self) -> bool {
        self.slices.is_some() || !self.samples.time_ns.is_empty()
    }
}

/// Names a profile of a session for requests and links.
pub fn profile_id(index: usize) -> ProfileId {
    ProfileId::from_index(index)
}
