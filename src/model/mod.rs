//! The tables. One [`Session`] holds everything that was opened; symbols and texts are shared by all profiles and traces,
//! so that a comparison is a join on ids.

pub mod branches;
pub mod code;
pub mod copied_stacks;
pub mod diagnostics;
pub mod fold;
pub mod join;
pub mod ledger;
pub mod parcel;
pub mod profile;
pub mod reduce;
pub mod symbol_files;
pub mod symbols;
pub mod trace;
pub mod trace_link;
pub mod trace_preview;
pub mod trace_shift;

use crate::base::intern::StringTable;
use crate::base::quantity::format_bytes;
use code::CodeTable;
use ledger::Ledger;
use profile::Profile;
use symbol_files::SymbolFile;
use symbols::Symbols;
use trace::TraceSet;

/// Everything that was opened.
#[derive(Clone, Debug, Default)]
pub struct Session {
    /// All texts.
    pub strings: StringTable,
    /// Functions, frames and stacks of all profiles.
    pub symbols: Symbols,
    /// Profiles in order of opening; a file may hold several.
    pub profiles: Vec<Profile>,
    /// All spans of all files: one trace may be spread over files.
    pub traces: TraceSet,
    /// The files, in order of opening.
    pub sources: Vec<Source>,
    /// What was given up for want of room.
    pub reduced: reduce::Reduced,
    /// What files that hold names for addresses brought, in order of opening.
    pub symbol_files: Vec<SymbolFile>,
    /// Loops in the machine code of functions in which samples lie, from the symbol files that hold code.
    pub code: CodeTable,
}

impl Session {
    /// The [`Source::file_index`] of the file that is opened next.
    pub fn next_file(&self) -> u32 {
        self.sources.last().map_or(0, |s| s.file_index + 1)
    }
}

/// One opened file, or one member of an opened archive, and what became of it.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// File name as given; a member of an archive is `archive.zip/folder/member`.
    pub file: String,
    /// Which of the opened files it is or is in, from 0: the members of an archive share it.
    pub file_index: u32,
    /// Id of the format that read it; empty when none did.
    pub format: String,
    /// Wrappings taken off and archives opened, outermost first: `gzip`, `tar`.
    pub container: Vec<String>,
    /// Size as given, in bytes.
    pub bytes: u64,
    /// Size after unwrapping, in bytes.
    pub raw_bytes: u64,
    /// Why it could not be read; `None` when it was.
    pub error: Option<String>,
    /// Set when reading ended before the file did and what was read until then is kept.
    pub partial: Option<ReadInPart>,
    /// What was read, kept, dropped and guessed.
    pub ledger: Ledger,
    /// Counts of a timeline (Chrome trace events); `None` for other formats.
    pub timeline: Option<TimelineCounts>,
    /// Whether the file held spans.
    pub has_spans: bool,
}

/// How much of a file was read when reading ended early.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ReadInPart {
    /// Bytes that were read.
    pub read: u64,
    /// Bytes of the file.
    pub of: u64,
    /// Why it ended there, one sentence.
    pub why: String,
}

impl ReadInPart {
    /// `312 MB of 1.0 GB: reading was stopped on request`.
    pub fn text(&self) -> String {
        format!("{} of {}: {}", format_bytes(self.read as f64), format_bytes(self.of as f64), self.why)
    }
}

/// What a Chrome trace holds, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TimelineCounts {
    /// Complete slices (`X`, matched `B`/`E`).
    pub slices: u64,
    /// Instant events.
    pub instants: u64,
    /// Counter events.
    pub counters: u64,
    /// Flow events.
    pub flows: u64,
    /// Asynchronous slices.
    #[serde(rename = "async")]
    pub asyncs: u64,
    /// Distinct process ids.
    pub processes: u64,
    /// Distinct (process id, thread id) pairs.
    pub threads: u64,
}
