//! `hotspan.inspect/1`: what each file holds and its ledger. A public contract: fields may be added, never renamed.

use crate::base::ids::{LabelSetId, SourceId, SpanRow};
use crate::base::quantity::counted;
use crate::base::view::{View, ViewRef};
use crate::model::ledger::{Choice, Ledger, WeightLine};
use crate::model::profile::Profile;
use crate::model::trace::{SPAN_ERROR, SPAN_ORPHAN};
use crate::model::{ReadInPart, Session, Source, TimelineCounts, diagnostics::Level};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// The whole answer of `hotspan inspect --json`.
#[derive(Debug, Serialize)]
pub struct Inspect {
    /// `hotspan.inspect/1`.
    pub schema: &'static str,
    /// One per file.
    pub sources: Vec<InspectSource>,
}

/// One file.
#[derive(Debug, Serialize)]
pub struct InspectSource {
    /// Name as given; a member of an archive is `archive.zip/folder/member`.
    pub file: String,
    /// Which of the opened files it is or is in, from 0.
    pub file_index: u32,
    /// Format id; empty if no format read it.
    pub format: String,
    /// Wrappings, outermost first.
    pub container: Vec<String>,
    /// Size as given.
    pub bytes: u64,
    /// Why it could not be read.
    pub error: Option<String>,
    /// How much of it was read, when reading ended early and what was read until then is kept.
    pub partial: Option<ReadInPart>,
    /// Profiles of the file.
    pub profiles: Vec<InspectProfile>,
    /// Spans of the file; null if the format has none.
    pub trace_set: Option<InspectTraceSet>,
    /// Timeline of the file; null if the format has none.
    pub timeline: Option<TimelineCounts>,
    /// The account.
    pub ledger: InspectLedger,
}

/// A value type of a profile.
#[derive(Debug, Serialize)]
pub struct InspectValueType {
    /// Name.
    pub name: String,
    /// Unit.
    pub unit: String,
    /// Plain sum over the samples.
    pub total: i64,
    /// Whether it is shown first.
    pub default: bool,
}

/// A profile.
#[derive(Debug, Serialize)]
pub struct InspectProfile {
    /// Name in the file.
    pub name: String,
    /// Value types.
    pub value_types: Vec<InspectValueType>,
    /// Rows of the table: one stack each, and in formats that add up, many events.
    pub samples: u64,
    /// Events that were sampled; null where the numbers count something else.
    pub events: Option<u64>,
    /// Threads.
    pub threads: u64,
    /// Distinct functions in its stacks.
    pub functions: u64,
    /// Distinct frames in its stacks.
    pub frames: u64,
    /// Distinct stacks of its samples.
    pub stacks: u64,
    /// Frames of its deepest stack.
    pub max_depth: u32,
    /// Sampling period.
    pub period: i64,
    /// Unit of the period.
    pub period_unit: String,
    /// Length of the recording.
    pub duration_ns: i64,
    /// Begin of the recording since 1970.
    pub start_ns: i64,
    /// Samples that carry each label key.
    pub labels: BTreeMap<String, u64>,
}

/// The spans of a file.
#[derive(Debug, Default, Serialize)]
pub struct InspectTraceSet {
    /// Traces that the file contributes to.
    pub traces: u64,
    /// Spans.
    pub spans: u64,
    /// Spans per service.
    pub services: BTreeMap<String, u64>,
    /// Distinct pairs of service and span name.
    pub operations: u64,
    /// Failed spans.
    pub errors: u64,
    /// Spans that name no parent.
    pub roots: u64,
    /// Spans whose parent is not in the trace.
    pub orphans: u64,
    /// Spans on the longest path from a root.
    pub max_depth: u32,
    /// Links.
    pub links: u64,
    /// Events.
    pub events: u64,
    /// Earliest begin since 1970.
    pub start_ns: i64,
    /// Latest end since 1970.
    pub end_ns: i64,
}

/// The account of a file.
#[derive(Debug, Serialize)]
pub struct InspectLedger {
    /// Records.
    pub records: InspectRecords,
    /// One line per weight.
    pub weight: Vec<WeightLine>,
    /// What was skipped or repaired.
    pub entries: Vec<InspectEntry>,
    /// Guesses.
    pub choices: Vec<InspectChoice>,
}

/// A guess with the way to each alternative.
#[derive(Debug, Serialize)]
pub struct InspectChoice {
    /// The guess.
    #[serde(flatten)]
    pub choice: Choice,
    /// One per alternative.
    pub switches: Vec<Switch>,
}

/// Applies an alternative.
#[derive(Debug, Serialize)]
pub struct Switch {
    /// The alternative.
    pub to: String,
    /// In the page: a place.
    pub view: String,
    /// On the command line, for `top` and `export`, units also for `analyze` and `inspect`.
    pub argument: String,
}

/// Records of a file; `kept + dropped = in`.
#[derive(Debug, Serialize)]
pub struct InspectRecords {
    /// In the file.
    #[serde(rename = "in")]
    pub records_in: u64,
    /// In the tables.
    pub kept: u64,
    /// Not in the tables.
    pub dropped: u64,
}

/// A diagnostic.
#[derive(Debug, Serialize)]
pub struct InspectEntry {
    /// Stable id.
    pub code: String,
    /// How bad.
    pub level: Level,
    /// How often.
    pub count: u64,
    /// General sentence.
    pub message: String,
    /// The first places.
    pub examples: Vec<InspectExample>,
}

/// A place.
#[derive(Debug, Serialize)]
pub struct InspectExample {
    /// `byte 120`, `line 7`, `record 3`, `file`.
    pub at: String,
    /// Excerpt.
    pub text: String,
}

/// Everything about all files of a session.
pub fn inspect(session: &Session) -> Inspect {
    Inspect {
        schema: "hotspan.inspect/1",
        sources: session.sources.iter().enumerate().map(|(i, s)| source(session, SourceId::from_index(i), s)).collect(),
    }
}

/// The `sources` array as a JSON value, for the page.
pub fn sources(session: &Session) -> serde_json::Value {
    serde_json::to_value(inspect(session).sources).unwrap_or_default()
}

/// The events that were sampled and the rows they stand in: `1,154 samples in 362 rows`; `362 rows` where nothing is counted.
pub fn size_text(events: Option<u64>, rows: u64) -> String {
    let rows_text = counted(rows, "row");
    match events {
        Some(events) if events == rows => counted(events, "sample"),
        Some(events) => format!("{} in {rows_text}", counted(events, "sample")),
        None => rows_text,
    }
}

fn source(session: &Session, id: SourceId, source: &Source) -> InspectSource {
    InspectSource {
        file: source.file.clone(),
        file_index: source.file_index,
        format: source.format.clone(),
        container: source.container.clone(),
        bytes: source.bytes,
        error: source.error.clone(),
        partial: source.partial.clone(),
        profiles: session.profiles.iter().filter(|p| p.source == id).map(|p| profile(session, p)).collect(),
        trace_set: source.has_spans.then(|| trace_set(session, id)),
        timeline: source.timeline,
        ledger: ledger(session, id, &source.ledger),
    }
}

/// How the alternatives of a guess are applied; none for guesses that have no alternative.
fn switches(session: &Session, source: SourceId, choice: &Choice) -> Vec<Switch> {
    let of_source = |p: &Profile| p.source == source;
    let profile = |name: &str| session.profiles.iter().position(|p| of_source(p) && p.name == name);
    let first = session.profiles.iter().position(of_source).map(|p| p as u32);
    let place = ViewRef { profile: first, ..ViewRef::of(View::Flame) };
    let switch = |to: &String| {
        let (view, argument) = match choice.what.as_str() {
            "weight" if session.profiles.iter().any(|p| of_source(p) && p.value_index(to).is_some()) => {
                (ViewRef { value: Some(to.clone()), ..place.clone() }, format!("--value {to}"))
            }
            "event" => (ViewRef { profile: Some(profile(to)? as u32), ..place.clone() }, format!("--value {to}")),
            "unit" => (ViewRef { unit: Some(to.clone()), ..place.clone() }, format!("--unit {to}")),
            _ => return None,
        };
        Some(Switch { to: to.clone(), view: view.to_hash(), argument })
    };
    choice.others.iter().filter_map(switch).collect()
}

fn ledger(session: &Session, source: SourceId, ledger: &Ledger) -> InspectLedger {
    let entry = |(code, e): (&str, &crate::model::diagnostics::Entry)| InspectEntry {
        code: code.to_string(),
        level: e.level,
        count: e.count,
        message: e.message.to_string(),
        examples: e.examples.iter().map(|(at, text)| InspectExample { at: at.to_string(), text: text.clone() }).collect(),
    };
    InspectLedger {
        records: InspectRecords { records_in: ledger.records_in, kept: ledger.records_kept, dropped: ledger.records_dropped() },
        weight: ledger.weights.clone(),
        entries: ledger.diagnostics.iter().map(entry).collect(),
        choices: ledger.choices.iter().map(|c| InspectChoice { choice: c.clone(), switches: switches(session, source, c) }).collect(),
    }
}

fn profile(session: &Session, p: &Profile) -> InspectProfile {
    let symbols = &session.symbols;
    let mut seen = vec![false; symbols.stacks.len()];
    let (mut stacks, mut max_depth) = (0, 0);
    for stack in p.samples.stack.iter().filter_map(|s| s.get()) {
        stacks += u64::from(!std::mem::replace(&mut seen[stack.index()], true));
        max_depth = max_depth.max(symbols.stacks.depth[stack.index()] + 1);
    }
    // Prefixes have smaller rows, so one pass backwards reaches every frame of every stack.
    let (mut frames, mut functions) = (vec![false; symbols.frames.len()], vec![false; symbols.funcs.len()]);
    for row in (0..seen.len()).rev().filter(|&row| seen[row]).collect::<Vec<_>>() {
        let mut at = row;
        loop {
            let frame = symbols.stacks.frame[at].index();
            frames[frame] = true;
            functions[symbols.frames.func[frame].index()] = true;
            match symbols.stacks.prefix[at].get() {
                Some(prefix) if !seen[prefix.index()] => {
                    seen[prefix.index()] = true;
                    at = prefix.index();
                }
                _ => break,
            }
        }
    }
    let count = |flags: &[bool]| flags.iter().filter(|f| **f).count() as u64;
    InspectProfile {
        name: p.name.clone(),
        value_types: p
            .value_types
            .iter()
            .enumerate()
            .map(|(i, v)| InspectValueType { name: v.name.clone(), unit: v.unit.clone(), total: p.total(i), default: i == p.default_value })
            .collect(),
        samples: p.samples.len() as u64,
        events: p.events(),
        threads: p.threads.len() as u64,
        functions: count(&functions),
        frames: count(&frames),
        stacks,
        max_depth,
        period: p.period,
        period_unit: p.period_unit.clone(),
        duration_ns: p.duration_ns,
        start_ns: p.start_ns,
        labels: labels(session, p),
    }
}

/// Samples that carry each label key.
pub fn labels(session: &Session, p: &Profile) -> BTreeMap<String, u64> {
    let mut uses = vec![0_u64; p.labels.start.len()];
    for set in p.samples.labels.iter().filter_map(|l| l.get()) {
        if let Some(count) = uses.get_mut(set.index()) {
            *count += 1;
        }
    }
    let mut out = BTreeMap::new();
    for (set, &count) in uses.iter().enumerate().filter(|(_, count)| **count > 0) {
        let keys: BTreeSet<&str> = p.labels.set(LabelSetId::from_index(set)).iter().map(|l| session.strings.get(l.key)).collect();
        for key in keys {
            *out.entry(key.to_string()).or_default() += count;
        }
    }
    out
}

fn trace_set(session: &Session, id: SourceId) -> InspectTraceSet {
    let set = &session.traces;
    let mut out = InspectTraceSet { start_ns: i64::MAX, end_ns: i64::MIN, ..InspectTraceSet::default() };
    let mut operations = BTreeSet::new();
    let mut services = vec![0_u64; set.services.len()];
    let mut nameless = 0;
    let mut last_trace = None;
    for i in (0..set.spans.len()).filter(|&i| set.spans.source[i] == id) {
        let span = SpanRow::from_index(i);
        // Spans are contiguous by trace.
        if last_trace != Some(set.spans.trace[i]) {
            last_trace = Some(set.spans.trace[i]);
            out.traces += 1;
        }
        out.spans += 1;
        match set.service(span).get() {
            Some(service) => services[service.index()] += 1,
            None => nameless += 1,
        }
        operations.insert((set.service(span), set.operations.name[set.spans.operation[i].index()]));
        out.errors += u64::from(set.spans.has(span, SPAN_ERROR));
        let orphan = set.spans.has(span, SPAN_ORPHAN);
        out.orphans += u64::from(orphan);
        out.roots += u64::from(set.spans.parent[i].is_none() && !orphan);
        out.max_depth = out.max_depth.max(set.spans.depth[i] + 1);
        out.links += u64::from(set.spans.link_len[i]);
        out.events += u64::from(set.spans.event_len[i]);
        out.start_ns = out.start_ns.min(set.spans.start_ns[i]);
        out.end_ns = out.end_ns.max(set.spans.end_ns(span));
    }
    if out.spans == 0 {
        (out.start_ns, out.end_ns) = (0, 0);
    }
    out.operations = operations.len() as u64;
    if nameless > 0 {
        out.services.insert(String::new(), nameless);
    }
    for (service, count) in services.into_iter().enumerate().filter(|(_, count)| *count > 0) {
        *out.services.entry(session.strings.get(set.services[service]).to_string()).or_default() += count;
    }
    out
}
