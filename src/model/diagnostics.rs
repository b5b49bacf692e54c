//! Counted diagnostics with places: how a reader says what it skipped, repaired or guessed.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// How bad it is. Lost data is never a mere notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Worth knowing.
    Info,
    /// Repaired or interpreted; nothing is missing.
    Notice,
    /// Something of the file is not in the tables.
    DataLoss,
    /// The file is unusable from here on.
    Error,
}

/// A kind of diagnostic, a `const` beside its only use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiagnosticCode {
    /// Stable id, `format/what`: `perf-script/bad-header`.
    pub code: &'static str,
    /// How bad.
    pub level: Level,
    /// One sentence for people, in general terms.
    pub message: &'static str,
}

/// Where in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum At {
    /// Byte offset in the unwrapped file.
    Byte(u64),
    /// Line, from 1.
    Line(u64),
    /// Record number, from 1 (sample, event, span).
    Record(u64),
    /// The file as a whole.
    File,
}

impl std::fmt::Display for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            At::Byte(n) => write!(f, "byte {n}"),
            At::Line(n) => write!(f, "line {n}"),
            At::Record(n) => write!(f, "record {n}"),
            At::File => f.write_str("file"),
        }
    }
}

/// How many examples are kept per code.
pub const MAX_EXAMPLES: usize = 5;

/// One kind of diagnostic that occurred.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Entry {
    /// How bad.
    pub level: Level,
    /// General sentence.
    pub message: Cow<'static, str>,
    /// How often.
    pub count: u64,
    /// The first few: place and an excerpt of at most 120 characters.
    pub examples: Vec<(At, String)>,
}

/// All diagnostics of a file, by code.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Diagnostics {
    entries: BTreeMap<Cow<'static, str>, Entry>,
}

impl Diagnostics {
    /// Counts one occurrence.
    pub fn report(&mut self, code: DiagnosticCode, at: At, text: &str) {
        self.report_many(code, 1, at, text);
    }

    /// Counts `count` occurrences with one example.
    pub fn report_many(&mut self, code: DiagnosticCode, count: u64, at: At, text: &str) {
        let entry = self.entries.entry(Cow::Borrowed(code.code)).or_insert_with(|| Entry {
            level: code.level,
            message: Cow::Borrowed(code.message),
            count: 0,
            examples: Vec::new(),
        });
        entry.count = entry.count.saturating_add(count);
        if entry.examples.len() < MAX_EXAMPLES {
            entry.examples.push((at, excerpt(text)));
        }
    }

    /// Adds what another part of the same file reported, whose records and lines follow `records` and `lines` others.
    pub fn absorb(&mut self, part: Diagnostics, records: u64, lines: u64) {
        for (code, entry) in part.entries {
            let Entry { level, message, count, examples } = entry;
            let own = self.entries.entry(code).or_insert(Entry { level, message, count: 0, examples: Vec::new() });
            own.count = own.count.saturating_add(count);
            let room = MAX_EXAMPLES - own.examples.len();
            own.examples.extend(examples.into_iter().take(room).map(|(at, text)| match at {
                At::Line(n) => (At::Line(lines + n), text),
                At::Record(n) => (At::Record(records + n), text),
                other => (other, text),
            }));
        }
    }

    /// Removes a code, before it is counted anew.
    pub fn forget(&mut self, code: &str) {
        self.entries.remove(code);
    }

    /// All codes that occurred, by code.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(code, entry)| (&**code, entry))
    }

    /// How often a code occurred.
    pub fn count(&self, code: &str) -> u64 {
        self.entries.get(code).map_or(0, |entry| entry.count)
    }

    /// The worst level that occurred.
    pub fn worst(&self) -> Option<Level> {
        self.entries.values().map(|entry| entry.level).max()
    }
}

/// At most 120 characters of a text, control characters shown as spaces.
pub fn excerpt(text: &str) -> String {
    let mut out: String = text.chars().take(120).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(120).is_some() {
        out.push('…');
    }
    out
}
