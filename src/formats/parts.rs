//! Reading in parts: a file is cut at record boundaries, the parts are read by different threads or workers, and joined in
//! order. The result is the same, row for row, as that of reading in one piece.
//!
//! A cut is a byte offset. The part behind it begins at the first *boundary* behind the cut; the part before it ends there. In
//! texts by lines both sides see the same boundary. In JSON the part behind has to guess, since it knows nothing of what
//! stands before it; so the part before says where it really ended, and what began elsewhere is read again from there.

use super::json::{Broken, Json};
use super::json_cut::Mark;
use super::room::Gathered;
use super::stream::Counting;
use super::{Import, ImportError, Limits, PREFIX_BYTES, Prefix, Progress, Sniff, archive, detect, input, unwrap};
use crate::base::ids::SourceId;
use crate::base::pack::{Packer, Unpacker};
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use crate::model::join::Landed;
use crate::model::ledger::Ledger;
use crate::model::profile::Profile;
use crate::model::symbols::Symbols;
use crate::model::{ReadInPart, Session, Source, TimelineCounts, parcel};
use std::any::Any;
use std::cell::Cell;
use std::io::{BufRead, BufReader, Read};
use std::rc::Rc;

const STOPPED: DiagnosticCode = DiagnosticCode {
    code: "reading/stopped",
    level: Level::DataLoss,
    message: "Reading was stopped on request: the rest of the file is not in the tables, and nothing is known of what it holds.",
};

/// Formats whose files can be cut.
pub trait InParts: Sync {
    /// What every part must know of the head of the file (columns, form of the document); `None` when this one cannot be cut.
    fn context(&self, head: &[u8]) -> Option<String>;
    /// A reader that has read nothing. Without context it reads a whole file.
    fn reader(&self, context: Option<&str>) -> Box<dyn PartReader>;
    /// The reader that [`PartReader::pack`] wrote.
    fn unpack(&self, from: &mut Unpacker<'_>) -> Option<Box<dyn PartReader>>;
}

/// What a format gathers besides texts, symbols and spans, until the last part is joined.
pub trait PartReader: Any + Send {
    /// Reads the records of a part.
    ///
    /// # Errors
    /// As [`super::Format::read`]; what was read stays.
    fn read(&mut self, input: &mut dyn BufRead, part: &mut Part, import: &mut Import<'_>) -> Result<(), ImportError>;
    /// Takes over what the reader of the next part gathered. Its texts and stacks have landed in `import.session`.
    fn join(&mut self, next: Box<dyn Any>, landed: &Landed, import: &mut Import<'_>);
    /// Stores the profile, once everything is read.
    fn finish(&mut self, import: &mut Import<'_>);
    /// Stores what the profile would be if nothing more came, without times, and changes nothing of what was gathered. Texts
    /// must not be added to the session. Readers of spans store nothing: those are in the tables already.
    fn preview(&self, _: &mut Import<'_>) {}
    /// What it has gathered, to be folded where there is no room; readers of spans hold nothing.
    fn gathered(&mut self) -> &mut dyn Gathered;
    /// Whether [`PartReader::preview`] makes stacks, which reading and joining do not.
    fn makes_stacks(&self) -> bool {
        false
    }
    /// Writes what was gathered.
    fn pack(&self, out: &mut Packer);
}

/// Where a part lies in its file, and what its reader says of it.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// Offset of the first byte of the input in the file.
    pub at: u64,
    /// The boundary to begin at lies behind this offset; `None` when `at` is the place to begin.
    pub behind: Option<u64>,
    /// The part ends at the first boundary behind this offset; `u64::MAX`: with the file.
    pub cut: u64,
    /// Set by the reader: where it began; `None` when there was no boundary before `cut`.
    pub begin: Option<u64>,
    /// Set by the reader: the boundary where it ended; `u64::MAX` with the file.
    pub end: u64,
    /// Set by the reader: how many lines it read.
    pub lines: u64,
}

impl Default for Part {
    fn default() -> Part {
        Part::WHOLE
    }
}

impl Part {
    /// A whole file.
    pub const WHOLE: Part = Part { at: 0, behind: None, cut: u64::MAX, begin: None, end: u64::MAX, lines: 0 };

    /// Goes to the place where a part of a JSON file begins; `false` when there is none.
    ///
    /// # Errors
    /// [`Broken::Io`].
    pub fn enter(&mut self, json: &mut Json<'_>, mark: &Mark) -> Result<bool, Broken> {
        self.begin = match self.behind {
            None => Some(self.at),
            Some(cut) => mark.find(json, cut, self.cut)?,
        };
        Ok(self.begin.is_some())
    }

    /// Whether it was entered behind the start of the file, between two records.
    pub fn between(&self) -> bool {
        self.begin != Some(0)
    }

    /// Whether the part ends here; then its end is set.
    ///
    /// # Errors
    /// [`Broken::Io`].
    pub fn ends(&mut self, json: &mut Json<'_>, mark: &Mark) -> Result<bool, Broken> {
        let ends = json.position() > self.cut && mark.here(json, self.cut)?;
        if ends {
            self.end = json.position();
        }
        Ok(ends)
    }
}

/// Reads a whole file with a part reader: what [`super::Format::read`] of such a format does.
///
/// # Errors
/// As [`super::Format::read`].
pub fn read_whole(format: &dyn InParts, input: &mut dyn BufRead, import: &mut Import<'_>) -> Result<(), ImportError> {
    let mut reader = format.reader(None);
    let result = reader.read(input, &mut Part::default(), import);
    if result != Err(ImportError::Stopped) {
        reader.finish(import);
    }
    result
}

/// How much of the head of a file is needed to plan.
pub const HEAD_BYTES: usize = 1 << 20;
/// Bytes before a cut that a part gets to see, so that it recognises a boundary right behind the cut.
pub const LOOK_BACK: u64 = 256;
/// Files below this size are read in one piece: starting workers would cost more.
pub const MIN_BYTES: u64 = 16 << 20;

/// How a file is to be read in parts.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Plan {
    /// Format id.
    pub format: String,
    /// See [`InParts::context`].
    pub context: String,
    /// Offsets where parts begin, the first being 0.
    pub cuts: Vec<u64>,
}

impl Plan {
    /// The range of a part: where it begins and the next cut.
    pub fn range(&self, part: usize) -> (u64, u64) {
        (self.cuts[part], self.cuts.get(part + 1).copied().unwrap_or(u64::MAX))
    }

    fn in_parts(&self) -> Option<&'static dyn InParts> {
        input::format_by_id(&self.format)?.in_parts()
    }
}

/// Cuts a file into parts of about `part_bytes`, if it is of a format that can be cut. `head` is its first
/// [`HEAD_BYTES`] bytes.
pub fn plan(head: &[u8], size: u64, part_bytes: u64) -> Option<Plan> {
    let wrapped = unwrap::wrapping(&head[..head.len().min(unwrap::HEAD_BYTES)]).is_some() || archive::archive(head).is_some();
    if head.starts_with(&[0xef, 0xbb, 0xbf]) || wrapped {
        return None;
    }
    let bytes = &head[..head.len().min(PREFIX_BYTES)];
    let (format, sure) = detect(&Prefix { bytes, complete: false })?;
    // What is only similar to a format goes through the longer recognition of the whole-file reader.
    if sure < Sniff::Certain && super::unsupported::error(&Prefix { bytes, complete: false }).is_some() {
        return None;
    }
    let context = format.in_parts()?.context(head)?;
    let count = size.div_ceil(part_bytes.max(1)).max(1);
    if count < 2 {
        return None;
    }
    let cuts = (0..count).map(|i| size / count * i).collect();
    Some(Plan { format: format.id().to_string(), context, cuts })
}

/// What was read from a part.
pub struct Partial {
    /// Offset of the cut that it was read for, and the next one.
    pub range: (u64, u64),
    begin: Option<u64>,
    end: u64,
    lines: u64,
    session: Session,
    ledger: Ledger,
    reader: Box<dyn PartReader>,
    error: Option<String>,
}

/// Reads one part. `open` gives the bytes from an offset on; `exact` is the place to begin where it is known.
///
/// # Errors
/// A sentence when the plan is not one of this build, or the bytes could not be had.
pub fn read_part(
    plan: &Plan,
    range: (u64, u64),
    exact: Option<u64>,
    open: impl FnOnce(u64) -> std::io::Result<Box<dyn Read>>,
    progress: &mut dyn FnMut(Progress) -> bool,
) -> Result<Partial, ImportError> {
    let format = plan.in_parts().ok_or_else(|| ImportError::Unsupported(format!("{} cannot be read in parts", plan.format)))?;
    let behind = if exact.is_none() && range.0 > 0 { Some(range.0) } else { None };
    let at = exact.unwrap_or(range.0.saturating_sub(if behind.is_some() { LOOK_BACK } else { 0 }));
    let consumed = Rc::new(Cell::new(0));
    let counted = Counting { inner: open(at)?, count: consumed.clone() };
    let mut session = Session::default();
    let mut import = Import {
        session: &mut session,
        source: SourceId(0),
        file_name: "",
        ledger: Ledger::default(),
        limits: Limits::default(),
        progress,
        consumed,
        timeline: None,
        has_spans: false,
    };
    let mut reader = format.reader(Some(&plan.context));
    let mut bytes = BufReader::with_capacity(1 << 18, counted);
    let mut part = Part { at, behind, cut: range.1, ..Part::WHOLE };
    let result = reader.read(&mut bytes, &mut part, &mut import);
    let (begin, end, lines) = (part.begin, part.end, part.lines);
    let ledger = import.ledger;
    Ok(Partial { range, begin, end, lines, session, ledger, reader, error: result.err().map(|e| e.to_string()) })
}

impl Partial {
    /// As bytes, for another worker.
    pub fn pack(&self) -> Vec<u8> {
        let mut out = Packer::default();
        out.number(self.range.0);
        out.number(self.range.1);
        out.number(u64::from(self.begin.is_some()));
        out.number(self.begin.unwrap_or(0));
        out.number(self.end);
        out.number(self.lines);
        out.text(&serde_json::to_string(&(&self.ledger, &self.error)).unwrap_or_default());
        parcel::pack(&self.session, &mut out);
        self.reader.pack(&mut out);
        out.into_bytes()
    }

    /// From the bytes of [`Partial::pack`]; `None` when they are none.
    pub fn unpack(plan: &Plan, bytes: &[u8]) -> Option<Partial> {
        let mut from = Unpacker::new(bytes);
        let range = (from.number()?, from.number()?);
        let begin = (from.number()? != 0).then_some(from.number()?);
        let (end, lines) = (from.number()?, from.number()?);
        let (ledger, error) = serde_json::from_str(&from.text()?).ok()?;
        let session = parcel::unpack(&mut from)?;
        let reader = plan.in_parts()?.unpack(&mut from)?;
        Some(Partial { range, begin, end, lines, session, ledger, reader, error })
    }
}

/// Joins the parts of one file in order.
pub struct Joiner {
    /// Bounds; of these the memory that the joined tables may take.
    pub limits: Limits,
    source: SourceId,
    file: String,
    reader: Box<dyn PartReader>,
    ledger: Ledger,
    lines: u64,
    /// Where the last joined part ended; `u64::MAX` when nothing more is to come.
    at: u64,
    error: Option<String>,
}

impl Joiner {
    /// Opens a row for a file of this name and size. `None` when the plan is not one of this build.
    pub fn new(session: &mut Session, plan: &Plan, file: &str, size: u64) -> Option<Joiner> {
        let reader = plan.in_parts()?.reader(None);
        let source = SourceId::from_index(session.sources.len());
        let (file, file_index) = (file.to_string(), session.next_file());
        let format = plan.format.clone();
        session.sources.push(Source { file: file.clone(), bytes: size, raw_bytes: size, format, file_index, ..Source::default() });
        Some(Joiner { limits: Limits::default(), source, file, reader, ledger: Ledger::default(), lines: 0, at: 0, error: None })
    }

    /// Adds the next part to the session. `Some` offset: the part does not begin where its predecessor ended and was left
    /// aside; its range is to be read again from there (see `exact` of [`read_part`]) and added instead.
    pub fn add(&mut self, mut part: Partial, session: &mut Session) -> Option<u64> {
        if part.begin != Some(self.at) {
            // Its predecessor may have gone through it to its end, or beyond.
            return (self.at < part.range.1 && self.at != u64::MAX).then_some(self.at);
        }
        self.at = if part.error.is_some() { u64::MAX } else { part.end };
        self.error = part.error.take();
        let mut unused = Vec::new();
        if session.reduced.attributes && !part.session.traces.attrs.key.is_empty() {
            // Only readers of spans have attributes, and those hold no texts of their own.
            let gone;
            (gone, unused) = part.session.give_up_attributes_and_texts();
            session.reduced.drop_attributes(self.source, gone);
        }
        let landed = session.absorb_but(&part.session, self.source, &unused);
        let records = self.ledger.records_in;
        self.ledger.absorb(part.ledger, records, self.lines);
        self.lines += part.lines;
        let (mut room, read) = (Ok(()), self.ledger.records_in);
        with_import(session, self.source, &self.file, &mut self.ledger, self.limits, |import| {
            self.reader.join(part.reader, &landed, import);
            room = import.make_room(read, self.reader.gathered());
        });
        if let Err(e) = room {
            let source = &mut session.sources[self.source.index()];
            let read = self.at.min(source.bytes);
            if read < source.bytes {
                source.partial = Some(ReadInPart { read, of: source.bytes, why: e.to_string().trim_end_matches('.').to_string() });
                self.fail(&e);
            }
        }
        None
    }

    /// What the profiles of the file would be if it ended with the last part that was added. The tables stay as they are; the
    /// symbols that these profiles refer to come with them where they are not those of the session.
    pub fn preview(&self, session: &mut Session) -> (Vec<Profile>, Option<Symbols>) {
        let (profiles, before) = (session.profiles.len(), session.symbols.stacks.len());
        // Stacks that only a preview makes would change the order of those that the whole file makes.
        let symbols = self.reader.makes_stacks().then(|| session.symbols.clone());
        with_import(session, self.source, &self.file, &mut Ledger::default(), self.limits, |import| self.reader.preview(import));
        debug_assert!(symbols.is_some() || session.symbols.stacks.len() == before, "a preview makes stacks and does not say so");
        let made = symbols.map(|symbols| std::mem::replace(&mut session.symbols, symbols));
        (session.profiles.split_off(profiles), made)
    }

    /// Ends the file here: the user has seen enough of it. What was added stays, and its source says how much that is.
    pub fn stop(&mut self, session: &mut Session) {
        if self.at == u64::MAX {
            return;
        }
        let source = &mut session.sources[self.source.index()];
        let why = "reading was stopped on request".to_string();
        let read = self.at.min(source.bytes);
        self.ledger.diagnostics.report(STOPPED, At::Byte(read), &format!("{read} of {} bytes were read", source.bytes));
        source.partial = Some(ReadInPart { read, of: source.bytes, why });
        self.at = u64::MAX;
    }

    /// A part could not be had: what follows it is left aside.
    pub fn fail(&mut self, error: &ImportError) {
        if self.at != u64::MAX {
            self.at = u64::MAX;
            self.error = Some(error.to_string());
        }
    }

    /// Stores the profiles and completes the file's row.
    pub fn finish(mut self, session: &mut Session) {
        let (timeline, has_spans) =
            with_import(session, self.source, &self.file, &mut self.ledger, self.limits, |import| self.reader.finish(import));
        session.account_for_attributes(self.source, &mut self.ledger);
        let source = &mut session.sources[self.source.index()];
        source.ledger = self.ledger;
        source.timeline = timeline;
        source.has_spans = has_spans;
        source.error = self.error;
        if let Some(partial) = &source.partial {
            // Of the forms in which a profile may be taken away some have a place for remarks.
            let remark = format!("partial: {}", partial.text());
            session.profiles.iter_mut().filter(|p| p.source == self.source).for_each(|p| p.comments.push(remark.clone()));
        }
    }
}

/// Lends tables and ledger to a step that reads no bytes.
fn with_import(
    session: &mut Session,
    source: SourceId,
    file_name: &str,
    ledger: &mut Ledger,
    limits: Limits,
    step: impl FnOnce(&mut Import<'_>),
) -> (Option<TimelineCounts>, bool) {
    let mut import = Import {
        session,
        source,
        file_name,
        ledger: std::mem::take(ledger),
        limits,
        progress: &mut |_| true,
        consumed: Rc::default(),
        timeline: None,
        has_spans: false,
    };
    step(&mut import);
    let shape = (import.timeline, import.has_spans);
    *ledger = import.ledger;
    shape
}
