//! perf.data, the recording of Linux perf and simpleperf: files and pipes of either byte order, with and without zstd.
//! Structure as in `tools/perf/Documentation/perf.data-file-format.txt` of Linux. One profile per event, as for `perf script`.
//!
//! The data stand before the sections that describe them, so the file is read once from front to back: samples become a few
//! columns (see [`super::perf_data_gather`]), and names are given at the end.

use super::perf_bytes::Bytes;
use super::perf_data_attr::Attr;
use super::perf_data_finish::finish;
use super::perf_data_gather::Gather;
use super::perf_data_record::kind;
use super::perf_data_zstd::Stream;
use super::{Format, Import, ImportError, Prefix, Sniff};
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use std::io::BufRead;

const BAD_SIZE: DiagnosticCode = DiagnosticCode {
    code: "perf-data/bad-record-size",
    level: Level::DataLoss,
    message: "A record says that it is shorter than its own header; what follows it cannot be told apart and was left aside.",
};
const CUT: DiagnosticCode =
    DiagnosticCode { code: "perf-data/cut", level: Level::DataLoss, message: "The file ends within its data; what is there was read." };
const MESSAGE: DiagnosticCode = DiagnosticCode {
    code: "perf-data/message-in-pipe",
    level: Level::Notice,
    message: "perf's own messages (\u{201c}[ perf record: Woken up \u{2026}\u{201d}) were written behind the recording; they were passed over.",
};
const UNENDED: DiagnosticCode = DiagnosticCode {
    code: "perf-data/not-ended",
    level: Level::Notice,
    message: "The recording was not ended properly (perf was killed), so that names of events and build ids are missing.",
};
const BAD_ZSTD: DiagnosticCode = DiagnosticCode {
    code: "perf-data/zstd-damaged",
    level: Level::DataLoss,
    message: "The zstd stream of the records is damaged; what could be inflated was read.",
};
const BAD_FEATURE: DiagnosticCode = DiagnosticCode {
    code: "perf-data/bad-feature",
    level: Level::DataLoss,
    message: "Sections that describe the recording are cut or damaged; names of events or build ids may be missing.",
};

/// Bytes before the data that are looked at: events and their ids, a few kilobytes in practice.
const MAX_HEAD: u64 = 64 << 20;
/// Bytes behind the data that are looked at: descriptions, and simpleperf's symbols.
const MAX_TAIL: u64 = 512 << 20;

/// The format.
pub struct PerfData;

impl Format for PerfData {
    fn id(&self) -> &'static str {
        "perf-data"
    }
    fn name(&self) -> &'static str {
        "Linux perf.data"
    }
    fn extensions(&self) -> &'static [&'static str] {
        &["data"]
    }
    fn hint(&self) -> &'static str {
        "Linux perf and simpleperf: `perf record -g COMMAND` writes perf.data. For names drop the programs and libraries beside it."
    }

    fn sniff(&self, prefix: &Prefix<'_>) -> Sniff {
        if prefix.bytes.starts_with(b"PERFILE2") || prefix.bytes.starts_with(b"2ELIFREP") { Sniff::Certain } else { Sniff::No }
    }

    fn read(&self, input: &mut dyn BufRead, import: &mut Import<'_>) -> Result<(), ImportError> {
        let ratio = import.limits.max_inflate_ratio;
        let mut reader = Reader { input, at: 0, gather: Gather::default(), zstd: Stream::new(ratio), records: 0, damage: None };
        let result = reader.run(import);
        if result == Err(ImportError::Stopped) {
            return result;
        }
        let (damage, gather) = (reader.damage, reader.gather);
        let none = gather.columns.event.is_empty();
        finish(gather, import);
        if result.is_ok() && none {
            let reason = match damage {
                Some(reason) => format!("{reason}, and there is no sample before it. Record again, or copy the file again."),
                None => "it holds no samples: nothing ran that the event counts, or perf was stopped at once. Record again, for longer."
                    .to_string(),
            };
            return Err(malformed(&reason));
        }
        result
    }
}

fn malformed(reason: &str) -> ImportError {
    ImportError::Malformed { format: "Linux perf.data", reason: reason.to_string() }
}

struct Reader<'a> {
    input: &'a mut dyn BufRead,
    /// Offset of the next byte of `input`.
    at: u64,
    gather: Gather,
    zstd: Stream,
    records: u64,
    /// The first damage that ended reading, in words.
    damage: Option<String>,
}

impl Reader<'_> {
    fn run(&mut self, import: &mut Import<'_>) -> Result<(), ImportError> {
        let mut head = Vec::new();
        if self.fill(&mut head, 16)? < 16 {
            return Err(malformed("it ends within its first 16 bytes. Copy the file again."));
        }
        self.gather.big = head.starts_with(b"2");
        let size = Bytes::new(&head[8..], self.gather.big).u64().unwrap_or(0);
        if size == 16 {
            self.data(u64::MAX, import)?;
            self.end_of_zstd(import);
            return Ok(());
        }
        if !(72..=4096).contains(&size) {
            return Err(malformed(&format!("its header says that it has {size} bytes, where 16 or 104 are usual. Copy the file again.")));
        }
        self.fill(&mut head, size as usize - 16)?;
        self.file(head, import)
    }

    /// A file with a table of its parts.
    fn file(&mut self, mut head: Vec<u8>, import: &mut Import<'_>) -> Result<(), ImportError> {
        let big = self.gather.big;
        let mut b = Bytes::new(head.get(16..).unwrap_or_default(), big);
        let mut word = || b.u64().unwrap_or(0);
        let attr_size = word();
        let attrs = (word(), word());
        let data = (word(), word());
        let (_, _) = (word(), word());
        let features = [word(), word(), word(), word()];
        if data.0 < head.len() as u64 || data.0 > MAX_HEAD {
            return Err(malformed(&format!("its data are said to begin at byte {}, which cannot be. Copy the file again.", data.0)));
        }
        let missing = data.0 as usize - head.len();
        if self.fill(&mut head, missing)? < missing {
            return Err(malformed("it ends before its data. Copy the file again."));
        }
        self.attrs(&head, attr_size, attrs)?;
        drop(head);
        if data.1 == 0 {
            import.report(UNENDED, At::File, "");
            self.data(u64::MAX, import)?;
            self.end_of_zstd(import);
            return Ok(());
        }
        let end = data.0.saturating_add(data.1);
        self.data(end, import)?;
        self.end_of_zstd(import);
        self.skip(end.saturating_sub(self.at))?;
        self.features(features, import)
    }

    fn attrs(&mut self, head: &[u8], attr_size: u64, section: (u64, u64)) -> Result<(), ImportError> {
        let big = self.gather.big;
        let bytes =
            part(head, section.0, section.1).ok_or_else(|| malformed("the descriptions of its events do not stand before its data."))?;
        if !(64..=4096).contains(&attr_size) {
            return Err(malformed(&format!("the descriptions of its events are said to have {attr_size} bytes each, which cannot be.")));
        }
        for entry in bytes.chunks_exact(attr_size as usize) {
            let (attr, ids) = entry.split_at(entry.len() - 16);
            let mut b = Bytes::new(ids, big);
            let (offset, size) = (b.u64().unwrap_or(0), b.u64().unwrap_or(0));
            let mut ids = Bytes::new(part(head, offset, size).unwrap_or_default(), big);
            let ids: Vec<u64> = std::iter::from_fn(|| ids.u64()).collect();
            if let Some(attr) = Attr::parse(attr, big) {
                self.gather.attr(attr, ids.into_iter());
            }
        }
        Ok(())
    }

    /// Records up to an offset, or to the end of the input.
    fn data(&mut self, end: u64, import: &mut Import<'_>) -> Result<(), ImportError> {
        let mut record = Vec::new();
        while self.at < end {
            let begin = self.at;
            record.clear();
            let got = self.fill(&mut record, 8)?;
            if got == 0 && end == u64::MAX {
                return Ok(());
            }
            if record == b"[ perf r" {
                import.report(MESSAGE, At::Byte(begin), "");
                return Ok(());
            }
            let header = if got == 8 { header(&record, self.gather.big) } else { None };
            let Some((record_kind, misc, size)) = header else {
                import.report(CUT, At::Byte(begin), "");
                return Ok(());
            };
            if size < 8 {
                import.report(BAD_SIZE, At::Byte(begin), &format!("type {record_kind}, {size} bytes"));
                self.damage.get_or_insert(format!("a record at byte {begin} says that it has {size} bytes"));
                return Ok(());
            }
            record.clear();
            if self.fill(&mut record, size - 8)? < size - 8 {
                import.report(CUT, At::Byte(begin), &format!("type {record_kind}, {} of {size} bytes", record.len() + 8));
                self.damage.get_or_insert(format!("it ends within the record at byte {begin}"));
                return Ok(());
            }
            self.record(record_kind, misc, &record, begin, import)?;
        }
        Ok(())
    }

    fn record(&mut self, record: u32, misc: u16, payload: &[u8], at: u64, import: &mut Import<'_>) -> Result<(), ImportError> {
        let mut b = Bytes::new(payload, self.gather.big);
        match record {
            kind::COMPRESSED => self.inflate(payload, at, import),
            kind::COMPRESSED2 => {
                let size = b.u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
                self.inflate(b.rest().get(..size).unwrap_or(b.rest()), at, import);
            }
            // The data of these stand behind the record.
            kind::AUXTRACE => {
                let size = b.u64().unwrap_or(0);
                self.gather.aux_bytes = self.gather.aux_bytes.saturating_add(size);
                self.skip(size)?;
            }
            kind::TRACING_DATA => self.skip(u64::from(b.u32().unwrap_or(0)).next_multiple_of(8))?,
            _ => self.gather.record(record, misc, payload, at, import),
        }
        self.records += 1;
        if self.records.is_multiple_of(16_384) {
            import.tick(import.ledger.records_in)?;
        }
        Ok(())
    }

    fn inflate(&mut self, piece: &[u8], at: u64, import: &mut Import<'_>) {
        if let Err(reason) = self.zstd.feed(piece) {
            import.report(BAD_ZSTD, At::Byte(at), &reason);
        }
        self.inflated(at, import);
    }

    fn end_of_zstd(&mut self, import: &mut Import<'_>) {
        if !self.zstd.used() {
            return;
        }
        if let Err(reason) = self.zstd.end() {
            import.report(BAD_ZSTD, At::Byte(self.at), &reason);
        }
        self.inflated(self.at, import);
        if !self.zstd.out.is_empty() {
            import.report(CUT, At::Byte(self.at), &format!("{} inflated bytes are part of a record", self.zstd.out.len()));
        }
    }

    /// Takes the whole records out of what was inflated.
    fn inflated(&mut self, at: u64, import: &mut Import<'_>) {
        let out = std::mem::take(&mut self.zstd.out);
        let mut begin = 0;
        while let Some((record, misc, size)) = out.get(begin..).and_then(|rest| header(rest, self.gather.big)) {
            if size < 8 {
                import.report(BAD_SIZE, At::Byte(at), &format!("in zstd, type {record}, {size} bytes"));
                return;
            }
            let Some(payload) = out.get(begin + 8..begin + size) else { break };
            // Compressed within compressed, and data behind a record, do not occur.
            self.gather.record(record, misc, payload, at, import);
            begin += size;
        }
        self.zstd.out = out;
        self.zstd.out.drain(..begin);
    }

    /// The sections behind the data: a table of offsets and sizes, one for each bit that is set.
    fn features(&mut self, bits: [u64; 4], import: &mut Import<'_>) -> Result<(), ImportError> {
        let begin = self.at;
        let mut tail = Vec::new();
        self.fill(&mut tail, usize::try_from(MAX_TAIL).unwrap_or(usize::MAX))?;
        let big = self.gather.big;
        let mut table = Bytes::new(&tail, big);
        for feature in (0..256_u32).filter(|f| bits[*f as usize / 64] >> (f % 64) & 1 == 1) {
            let section = table.u64().zip(table.u64());
            let bytes = section.and_then(|(offset, size)| part(&tail, offset.checked_sub(begin)?, size));
            if bytes.and_then(|bytes| self.gather.features.read(feature, bytes, big)).is_none() {
                import.report(BAD_FEATURE, At::Byte(begin), &format!("feature {feature}"));
            }
        }
        Ok(())
    }

    /// Appends up to `n` bytes; fewer at the end of the input.
    fn fill(&mut self, to: &mut Vec<u8>, n: usize) -> Result<usize, ImportError> {
        let mut got = 0;
        while got < n {
            let bytes = self.input.fill_buf()?;
            if bytes.is_empty() {
                break;
            }
            let take = bytes.len().min(n - got);
            to.extend_from_slice(&bytes[..take]);
            self.input.consume(take);
            got += take;
        }
        self.at += got as u64;
        Ok(got)
    }

    fn skip(&mut self, n: u64) -> Result<(), ImportError> {
        let mut left = n;
        while left > 0 {
            let bytes = self.input.fill_buf()?;
            if bytes.is_empty() {
                break;
            }
            let take = (bytes.len() as u64).min(left);
            self.input.consume(take as usize);
            left -= take;
        }
        self.at += n - left;
        Ok(())
    }
}

/// Type, `misc` and size of a record.
fn header(bytes: &[u8], big: bool) -> Option<(u32, u16, usize)> {
    let mut b = Bytes::new(bytes, big);
    Some((b.u32()?, b.u16()?, usize::from(b.u16()?)))
}

/// A range of a slice given by numbers of the file.
fn part(bytes: &[u8], offset: u64, size: u64) -> Option<&[u8]> {
    let begin = usize::try_from(offset).ok()?;
    bytes.get(begin..begin.checked_add(usize::try_from(size).ok()?)?)
}
