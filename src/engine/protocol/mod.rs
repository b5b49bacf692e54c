//! What page and worker say to each other. Heads are JSON, bulk data are typed arrays (see [`crate::base::slabs`]).
//!
//! Indices of profiles and sources are stable while a session lives; functions, spans and call paths are named, never indexed.

pub mod compare;
pub mod flame;
pub mod functions;
pub mod kinds;
pub mod labels;
pub mod services;
pub mod stage;
pub mod summary;
pub mod traces;
pub mod what_if;

use crate::base::labels::LabelFilter;
use serde::{Deserialize, Serialize};

/// A question of the page. `Open` is not among them: it carries `File`s and is handled by the worker itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Everything the frame and the findings view need: [`summary::Summary`] as head.
    Summary,
    /// A [`summary::Summary`] without files, findings and rules.
    Outline,
    /// Takes the numbers of folded stacks as this unit from now on, and answers as [`Request::Summary`] does.
    Interpret {
        /// `samples`, `nanoseconds`, `microseconds`, `milliseconds`, `bytes`.
        unit: String,
    },
    /// Runs the rules again with other settings, and answers as [`Request::Summary`] does.
    Settings {
        /// All settings, as [`crate::base::view::ViewRef::settings`] holds them.
        lines: Vec<String>,
    },
    /// A flame graph or chart: [`flame::FlameData`].
    Flame {
        /// Which samples. A chart ignores the value type.
        query: SampleQuery,
        /// Which picture.
        mode: flame::FlameMode,
    },
    /// The whole function table: [`functions::FunctionsData`].
    Functions {
        /// Which samples.
        query: SampleQuery,
        /// What rows stand for, and how they are counted and named.
        form: functions::TableForm,
    },
    /// CPU time by kind of work, in parts that add up to the whole: [`kinds::KindsData`] as head. Of the query's value type only
    /// whether it is of CPU time matters.
    Kinds {
        /// Which samples.
        query: SampleQuery,
    },
    /// The labels of the samples with their weight: [`labels::LabelsData`] as head.
    Labels {
        /// Which samples.
        query: SampleQuery,
    },
    /// One function with callers, callees, lines: [`functions::FunctionDetail`].
    FunctionDetail {
        /// Which samples.
        query: SampleQuery,
        /// Function name.
        function: String,
    },
    /// Traces for the list: [`traces::TraceList`] as head.
    TraceList {
        /// Which, in which order.
        query: traces::TraceQuery,
    },
    /// One trace as a waterfall: [`traces::TraceData`].
    Trace {
        /// Trace id.
        id: String,
        /// Move the spans of hosts whose clocks differ.
        #[serde(default)]
        align: bool,
    },
    /// One span: [`traces::SpanDetail`] as head.
    Span {
        /// Trace id.
        trace: String,
        /// Span id.
        span: String,
        /// As for [`Request::Trace`]: then the remarks say how far the span is moved there.
        #[serde(default)]
        align: bool,
    },
    /// One trace with changes, replayed: [`what_if::WhatIfData`].
    WhatIf {
        /// Trace id.
        trace: String,
        /// As for [`Request::Trace`].
        #[serde(default)]
        align: bool,
        /// Changes as the page's address writes them: `batch:ID+siblings`.
        changes: Vec<String>,
    },
    /// The critical paths of many traces as a flame graph: [`flame::FlameData`].
    CriticalFlame {
        /// Service of the roots; empty for all.
        service: String,
        /// Their operation, normalised; empty for all.
        operation: String,
    },
    /// Services, operations, call edges: [`services::ServicesData`] as head.
    Services,
    /// Baseline and candidate: [`compare::Diff`] as head.
    Compare,
    /// A pair of profiles as a differential flame graph: [`flame::FlameData`].
    CompareFlame {
        /// Position of the candidate's profile in the session.
        profile: u32,
        /// Widths of the baseline instead of those of the candidate.
        baseline: bool,
        /// Colour changes that are not certain, too.
        uncertain: bool,
    },
    /// Latency histogram of an operation: the only slab is an SVG text.
    Histogram {
        /// Service name; empty if unknown.
        service: String,
        /// Span name.
        operation: String,
    },
    /// Bytes to be downloaded: head is an [`ExportHead`], the only slab is the text.
    Export {
        /// What to write.
        what: ExportKind,
        /// Which samples, for exports of stacks.
        query: SampleQuery,
        /// One finding by id, for [`ExportKind::Markdown`]; all without it.
        finding: Option<String>,
    },
}

/// What can be taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExportKind {
    /// Findings as `hotspan analyze --format json`.
    Json,
    /// Findings as Markdown.
    Markdown,
    /// Flame graph drawn by inferno.
    Svg,
    /// The differential flame graph of the profile with its counterpart in the baseline.
    DiffSvg,
    /// Folded stacks.
    Folded,
    /// speedscope's JSON, with every profile of the session.
    Speedscope,
    /// The critical paths of all traces as folded stacks.
    CriticalFolded,
    /// All traces as OTLP JSON.
    OtlpJson,
    /// pprof with all value types, gzip.
    Pprof,
}

/// Head of the answer to [`Request::Export`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportHead {
    /// Suggested file name.
    pub name: String,
    /// MIME type.
    pub mime: String,
    /// What the form cannot express, one sentence; empty if nothing was lost.
    pub note: String,
}

/// Which samples: the part that every profile query shares.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SampleQuery {
    /// Profile, position in the session.
    pub profile: u32,
    /// Value type, position in the profile.
    pub value: u32,
    /// Thread, position in the profile; `None` for all.
    pub thread: Option<u32>,
    /// What the labels of a sample must be, all of it.
    #[serde(default)]
    pub labels: Vec<LabelFilter>,
    /// The label key whose values are the root frames; `None` for the stacks as they are.
    #[serde(default)]
    pub group: Option<String>,
}

/// Why a request could not be answered: a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What is wrong and what to do.
    pub message: String,
}

impl Failure {
    /// A failure with this sentence.
    pub fn new(message: impl Into<String>) -> Failure {
        Failure { message: message.into() }
    }
}
