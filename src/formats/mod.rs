//! Formats: bytes to tables. A format is one file and one line in [`FORMATS`].

pub mod archive;
pub mod art_calls;
pub mod art_trace;
pub mod call_graph;
pub mod callgrind;
pub mod carried;
pub mod chrome_async;
pub mod chrome_event;
pub mod chrome_nest;
pub mod chrome_profiles;
pub mod chrome_slices;
pub mod chrome_trace;
mod code_arm64;
pub mod code_flow;
pub mod code_insn;
mod code_lines;
pub mod code_loops;
pub mod code_nest;
mod code_wanted;
mod code_x86;
pub mod cpuprofile;
pub mod csv;
pub mod datadog;
pub mod dhat;
pub mod dtrace;
pub mod dwarf;
pub mod elf;
pub mod explain;
pub mod explain_plan;
pub mod folded;
pub mod folded_unit;
pub mod gecko;
pub mod gecko_build;
pub mod gecko_table;
pub mod ghc_json;
pub mod ghc_prof;
pub mod go_dump;
pub mod heapprofile;
pub mod input;
pub mod instruments;
pub mod jaeger;
pub mod jaeger_es;
pub mod jaeger_proto;
pub mod jaeger_quick;
pub mod jaeger_span;
pub mod java_dump;
pub mod jfr;
pub mod jfr_bytes;
pub mod jfr_constants;
pub mod jfr_events;
pub mod jfr_pauses;
pub mod jfr_types;
pub mod jitdump;
pub mod json;
pub mod json_cut;
pub mod json_mend;
pub mod json_outline;
pub mod json_quick;
pub mod json_records;
pub mod json_value;
pub mod lines;
pub mod macos_sample;
pub mod memray;
pub mod names;
pub mod otel_go;
pub mod otel_python;
pub mod otlp;
pub mod otlp_profiles;
pub mod otlp_profiles_json;
pub mod otlp_profiles_proto;
pub mod otlp_profiles_store;
pub mod otlp_profiles_tables;
pub mod otlp_proto;
pub mod otlp_quick;
pub mod otlp_span;
pub mod otlp_value;
pub mod parts;
pub mod perf_branches;
pub mod perf_bytes;
pub mod perf_data;
pub mod perf_data_attr;
pub mod perf_data_copies;
pub mod perf_data_features;
pub mod perf_data_finish;
pub mod perf_data_gather;
pub mod perf_data_record;
pub mod perf_data_space;
pub mod perf_data_symbols;
pub mod perf_data_zstd;
pub mod perf_events;
pub mod perf_lines;
pub mod perf_script;
pub mod pmcstat;
pub mod pprof;
pub mod pprof_legacy;
mod pprof_legacy_cpu;
mod pprof_legacy_tables;
mod pprof_legacy_text;
mod pprof_memory_map;
pub mod pprof_prune;
pub mod pprof_samples;
pub mod pprof_tables;
mod pprof_threads;
pub mod room;
pub mod span_draft;
pub mod span_parts;
pub mod span_sink;
pub mod speedscope;
pub mod speedscope_profile;
pub mod stack_sink;
pub mod stackprof;
pub mod stream;
pub mod symbol_match;
pub mod symbol_report;
pub mod symbol_text;
pub mod symbolize;
pub mod tar;
pub mod tracemalloc;
pub mod unsupported;
pub mod unsupported_kinds;
pub mod unwind_stacks;
pub mod unwind_table;
pub mod unwrap;
pub mod utf16;
pub mod v8_cpu;
pub mod v8_lines;
pub mod v8_tree;
pub mod vsprof;
pub mod vtune;
pub mod wire;
pub mod xctrace;
pub mod xml;
pub mod xray;
pub mod xray_fields;
pub mod zip;
pub mod zipkin;
pub mod zipkin_v1;
pub mod zstd;

use crate::base::ids::SourceId;
use crate::base::memory;
use crate::model::Session;
use crate::model::diagnostics::{At, DiagnosticCode, excerpt};
use crate::model::ledger::{Choice, Ledger};
use std::io::BufRead;

/// Makes the registry: each line is a format and whether the page's first module reads it (`core`) or sends for the whole one
/// (`rare`).
macro_rules! registry {
    (@core core $format:path) => { &$format };
    (@core rare $format:path) => { &carried::Rare($format) };
    ($($kind:ident $format:path),* $(,)?) => {
        /// Every format, in order of preference where two are equally sure.
        pub const FORMATS: &[&dyn Format] = &[$(&$format),*];
        /// The same list as the page's first module has it: what is rare is recognised and not read.
        pub(crate) const CORE: &[&dyn Format] = &[$(registry!(@core $kind $format)),*];
    };
}

registry![
    // Profiles.
    core pprof::Pprof,
    rare perf_data::PerfData,
    rare pprof_legacy::PprofLegacy,
    core perf_script::PerfScript,
    core folded::Folded,
    core cpuprofile::CpuProfile,
    rare heapprofile::HeapProfile,
    rare callgrind::Callgrind,
    rare dhat::Dhat,
    rare dtrace::Dtrace,
    rare jfr::Jfr,
    rare speedscope::Speedscope,
    rare gecko::Gecko,
    rare otlp_profiles::OtlpProfiles,
    rare macos_sample::MacosSample,
    rare art_trace::ArtTrace,
    rare pmcstat::Pmcstat,
    rare instruments::Instruments,
    rare xctrace::Xctrace,
    rare vtune::Vtune,
    rare vsprof::Vsprof,
    rare ghc_prof::GhcProf,
    rare stackprof::Stackprof,
    rare memray::Memray,
    rare tracemalloc::Tracemalloc,
    rare go_dump::GoDump,
    rare java_dump::JavaDump,
    rare explain::Explain,
    // Timelines.
    core chrome_trace::ChromeTrace,
    // Traces.
    core otlp::Otlp,
    rare otlp_proto::OtlpProto,
    core jaeger::Jaeger,
    rare jaeger_es::JaegerEs,
    rare jaeger_proto::JaegerProto,
    core zipkin::Zipkin,
    rare zipkin_v1::ZipkinV1,
    rare xray::Xray,
    rare datadog::Datadog,
    rare otel_python::OtelPython,
    rare otel_go::OtelGo,
    // Names for addresses.
    rare elf::Elf,
    rare jitdump::JitDump,
    rare symbol_text::Kallsyms,
    rare symbol_text::PerfMap,
];

/// A file format.
pub trait Format: Sync {
    /// Stable id, used in links, exports and fixture folders: `chrome-trace`.
    fn id(&self) -> &'static str;
    /// Name for people: `Chrome Trace Event JSON`.
    fn name(&self) -> &'static str;
    /// Usual file name endings, without dot. For display only: recognition is by content.
    fn extensions(&self) -> &'static [&'static str];
    /// One sentence: which producers write it and how to make such a file.
    fn hint(&self) -> &'static str;
    /// How sure it is that the file is its own, from the first bytes.
    fn sniff(&self, prefix: &Prefix<'_>) -> Sniff;
    /// Reads the file into the session's tables. Damaged records are reported and skipped; an error means that nothing
    /// or nothing more can be read (what was read so far stays).
    ///
    /// # Errors
    /// [`ImportError`]; `Stopped` when the progress callback asked to stop.
    fn read(&self, input: &mut dyn BufRead, import: &mut Import<'_>) -> Result<(), ImportError>;
    /// How its files are read in parts; `None` for formats whose files cannot be cut.
    fn in_parts(&self) -> Option<&'static dyn parts::InParts> {
        None
    }
    /// Whether this build reads it. What is not is recognised all the same; see [`carried`].
    fn is_carried(&self) -> bool {
        true
    }
}

/// The first bytes of a file after unwrapping.
#[derive(Clone, Copy, Debug)]
pub struct Prefix<'a> {
    /// At most [`PREFIX_BYTES`] bytes, or [`LONG_PREFIX_BYTES`] on the second attempt. Byte order marks are removed and
    /// UTF-16 is already UTF-8.
    pub bytes: &'a [u8],
    /// Whether this is the whole file.
    pub complete: bool,
}

impl<'a> Prefix<'a> {
    /// The prefix as text, up to the first byte that is not UTF-8 (a cut character at the end is normal).
    pub fn text(&self) -> &'a str {
        match std::str::from_utf8(self.bytes) {
            Ok(text) => text,
            Err(e) => std::str::from_utf8(&self.bytes[..e.valid_up_to()]).unwrap_or(""),
        }
    }
}

/// How many bytes are sniffed at first.
pub const PREFIX_BYTES: usize = 64 * 1024;
/// How many are sniffed when nobody recognised the short prefix (large metadata before the telling key).
pub const LONG_PREFIX_BYTES: usize = 4 * 1024 * 1024;

/// How sure a format is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sniff {
    /// Not this format.
    No,
    /// Could be.
    Possible,
    /// Very likely.
    Likely,
    /// Nothing else looks like this.
    Certain,
}

/// Bounds that keep a hostile or broken file from exhausting the machine.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes after unwrapping.
    pub max_bytes: u64,
    /// Rows (samples, events, spans) of one file.
    pub max_rows: u64,
    /// Nesting of JSON.
    pub max_json_depth: u32,
    /// Unwrapped bytes per wrapped byte, checked beyond 64 MiB.
    pub max_inflate_ratio: u64,
    /// Memory of the tables.
    pub memory: memory::Budget,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { max_bytes: 64 << 30, max_rows: 1 << 30, max_json_depth: 512, max_inflate_ratio: 1100, memory: memory::Budget::default() }
    }
}

/// Why a file could not be read (further).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportError {
    /// No format knows it.
    Unrecognized {
        /// What it starts with.
        start: String,
    },
    /// There is nothing in it.
    Empty,
    /// It is of this format but broken beyond use.
    Malformed {
        /// Format name.
        format: &'static str,
        /// What is wrong, where.
        reason: String,
    },
    /// It is known but not read here; the sentence says what to do instead.
    Unsupported(String),
    /// A limit was met.
    TooLarge(String),
    /// The user stopped it.
    Stopped,
    /// The bytes could not be had.
    Io(String),
}

impl std::fmt::Display for ImportError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ImportError::Unrecognized { start } => {
                let names: Vec<&str> = carried::carried().formats.iter().map(|f| f.name()).collect();
                write!(
                    f,
                    "no format recognises it; it starts with {start}. Accepted: {}; wrapped by gzip, zlib, zstd or lz4, or in a zip or tar archive.",
                    names.join(", ")
                )
            }
            ImportError::Empty => f.write_str("it is empty: there is nothing in it to show. Record or export it again."),
            ImportError::Malformed { format, reason } => write!(f, "it looks like {format} but cannot be read: {reason}"),
            ImportError::Unsupported(sentence) | ImportError::TooLarge(sentence) => f.write_str(sentence),
            ImportError::Stopped => f.write_str("reading was stopped."),
            ImportError::Io(reason) => write!(f, "its bytes could not be read: {reason}"),
        }
    }
}

impl From<std::io::Error> for ImportError {
    fn from(e: std::io::Error) -> ImportError {
        ImportError::Io(e.to_string())
    }
}

/// How far reading is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Progress {
    /// Bytes of the file as given (wrapped) that were consumed.
    pub bytes: u64,
    /// Rows read.
    pub rows: u64,
}

/// What a format reads into.
pub struct Import<'a> {
    /// The tables.
    pub session: &'a mut Session,
    /// The file's row, to be stored in profiles and spans.
    pub source: SourceId,
    /// File name, for messages only: it must not change the result.
    pub file_name: &'a str,
    /// The file's account.
    pub ledger: Ledger,
    /// Bounds.
    pub limits: Limits,
    /// Called with the progress; `false` stops.
    pub progress: &'a mut dyn FnMut(Progress) -> bool,
    /// Bytes consumed of the wrapped file.
    pub consumed: std::rc::Rc<std::cell::Cell<u64>>,
    /// Counts of a timeline, if the format has one.
    pub timeline: Option<crate::model::TimelineCounts>,
    /// Set by formats that hold spans.
    pub has_spans: bool,
}

impl Import<'_> {
    /// Counts a diagnostic.
    pub fn report(&mut self, code: DiagnosticCode, at: At, text: &str) {
        self.ledger.diagnostics.report(code, at, text);
    }

    /// Notes a guess and its alternatives.
    pub fn choose(&mut self, what: &str, chosen: &str, others: &[&str], why: &str) {
        let choice =
            Choice { what: what.into(), chosen: chosen.into(), others: others.iter().map(|s| (*s).to_string()).collect(), why: why.into() };
        if !self.ledger.choices.contains(&choice) {
            self.ledger.choices.push(choice);
        }
    }

    /// To be called every few thousand rows: reports progress and checks limits.
    ///
    /// # Errors
    /// `Stopped` when the user cancelled, `TooLarge` beyond the limits of rows and memory.
    pub fn tick(&mut self, rows: u64) -> Result<(), ImportError> {
        self.make_room(rows, &mut room::Nothing)?;
        self.tell(rows)
    }

    /// Reports progress and checks the limit of rows.
    fn tell(&mut self, rows: u64) -> Result<(), ImportError> {
        if rows > self.limits.max_rows {
            return Err(ImportError::TooLarge(format!("it holds more than {} rows, which is the limit.", self.limits.max_rows)));
        }
        if (self.progress)(Progress { bytes: self.consumed.get(), rows }) { Ok(()) } else { Err(ImportError::Stopped) }
    }
}

/// The format of a file and how sure it is: the surest, the first of equals.
pub fn detect(prefix: &Prefix<'_>) -> Option<(&'static dyn Format, Sniff)> {
    detect_among(carried::carried().formats, prefix)
}

/// As [`detect`], among these.
pub fn detect_among(formats: &[&'static dyn Format], prefix: &Prefix<'_>) -> Option<(&'static dyn Format, Sniff)> {
    let mut best: Option<(&'static dyn Format, Sniff)> = None;
    for format in formats {
        let sniff = format.sniff(prefix);
        if sniff > Sniff::No && best.is_none_or(|(_, sure)| sniff > sure) {
            best = Some((*format, sniff));
        }
    }
    best
}

/// The start of a file for an error message: quoted text, or bytes in hex.
pub fn describe_start(bytes: &[u8]) -> String {
    let head = &bytes[..bytes.len().min(48)];
    let text = Prefix { bytes: head, complete: false }.text();
    if text.len() + 3 >= head.len() && !text.is_empty() && !text.chars().any(|c| c.is_control() && !c.is_whitespace()) {
        format!("\u{201c}{}\u{201d}", excerpt(text.trim()))
    } else {
        let hex: Vec<String> = head.iter().take(16).map(|b| format!("{b:02x}")).collect();
        format!("the bytes {}", hex.join(" "))
    }
}
