//! pprof: `perftools.profiles.Profile` (google/pprof proto/profile.proto), gzip or not. Numbers follow `go tool pprof`.

use super::pprof_samples::Samples;
use super::pprof_tables::Tables;
use super::pprof_threads::threads_from_labels;
use super::wire::{Fields, Value};
use super::{Format, Import, ImportError, Prefix, Sniff};
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use crate::model::profile::{Profile, ValueKind, ValueType};
use std::io::BufRead;

const NAME: &str = "pprof";
const CUT: DiagnosticCode = DiagnosticCode {
    code: "pprof/cut",
    level: Level::DataLoss,
    message: "The file is cut or damaged; what lies before the place was read.",
};
const PRUNED: DiagnosticCode = DiagnosticCode {
    code: "pprof/drop-frames",
    level: Level::Notice,
    message: "Frames that the profile's own drop_frames names were cut off, as `go tool pprof` does; no weight is lost.",
};

/// The format.
pub struct Pprof;

impl Format for Pprof {
    fn id(&self) -> &'static str {
        "pprof"
    }
    fn name(&self) -> &'static str {
        NAME
    }
    fn extensions(&self) -> &'static [&'static str] {
        &["pb.gz", "pprof", "prof", "pgo"]
    }
    fn hint(&self) -> &'static str {
        "Go (runtime/pprof, net/http/pprof), gperftools, Parca, Pyroscope, Node and Rust agents write it: `curl -o cpu.pb.gz http://HOST/debug/pprof/profile`."
    }

    fn sniff(&self, prefix: &Prefix<'_>) -> Sniff {
        // Any protobuf begins with a tag; a profile has small field numbers of known wire types, and its first message
        // (a sample type, a sample or a mapping) parses. Text of some length does not survive this, and short text is text:
        // lengths and numbers are control characters.
        let head = &prefix.bytes[..prefix.bytes.len().min(64)];
        if head.iter().all(|b| !b.is_ascii_control() || b.is_ascii_whitespace()) {
            return Sniff::No;
        }
        let fields = Fields::new(prefix.bytes);
        let mut seen = 0;
        let mut types = 0;
        for (number, value) in fields {
            let length_delimited = matches!(value, Value::Bytes(_));
            let expected = match number {
                1..=6 | 11 => length_delimited,
                7..=10 | 12 | 14 | 15 => !length_delimited,
                13 => true,
                _ => return Sniff::No,
            };
            if !expected || (matches!(number, 1..=5 | 11) && !is_message(value.bytes())) || number == 1 && !is_value_type(value.bytes()) {
                return Sniff::No;
            }
            types += u32::from(number == 1);
            seen += 1;
            if seen > 200 {
                break;
            }
        }
        match (seen, types) {
            (0, _) => {
                // One message may be longer than the prefix.
                let long = matches!(prefix.bytes, [0x0a | 0x12 | 0x1a | 0x22 | 0x2a, ..]);
                if long && !prefix.complete && prefix.text().len() < 16 { Sniff::Possible } else { Sniff::No }
            }
            (_, 0) => Sniff::Possible,
            _ => Sniff::Certain,
        }
    }

    fn read(&self, input: &mut dyn BufRead, import: &mut Import<'_>) -> Result<(), ImportError> {
        let (mut tables, mut samples) = (Tables::default(), Samples::default());
        let end = stream(input, import, &mut tables, &mut samples);
        // Names stand at the end of the file: what breaks off before them means nothing.
        if end.is_err() && !tables.has_names() {
            return end;
        }
        let stored = tables.check(!samples.is_empty()).and_then(|()| store_as(self.id(), &tables, samples, import));
        end.and(stored)
    }
}

/// How much is read at a time.
const CHUNK: usize = 1 << 20;

/// Splits the file into its fields as it comes: of a file of any size only a chunk and the tables are held.
fn stream(input: &mut dyn BufRead, import: &mut Import<'_>, tables: &mut Tables, samples: &mut Samples) -> Result<(), ImportError> {
    let (mut buf, mut at, mut base, mut ended) = (Vec::new(), 0, 0_u64, false);
    // How many bytes are wanted before the next field is tried: long ones must not be tried at every chunk.
    let mut wanted = 1;
    loop {
        while !ended && buf.len() - at < wanted.max(CHUNK / 2) {
            let bytes = input.fill_buf()?;
            let n = bytes.len();
            buf.extend_from_slice(bytes);
            input.consume(n);
            ended = n == 0;
        }
        let mut fields = Fields::new(&buf[at..]);
        let before = at;
        while let Some((number, value)) = fields.next() {
            match number {
                2 => samples.add(value.bytes()),
                _ => tables.field(number, value),
            }
            at = before + fields.position();
        }
        import.tick_with(samples.len() as u64, samples)?;
        wanted = if at == before { (buf.len() - at) * 2 } else { 1 };
        base += at as u64;
        buf.drain(..at);
        at = 0;
        if ended {
            tables.cut = (!buf.is_empty()).then_some(base);
            return Ok(());
        }
    }
}

fn is_message(bytes: &[u8]) -> bool {
    let mut fields = Fields::new(bytes);
    fields.by_ref().take(64).for_each(drop);
    fields.damaged_at().is_none()
}

/// A sample type is two string numbers; messages of other schemas (OTLP, Perfetto) hold more in their field 1.
fn is_value_type(bytes: &[u8]) -> bool {
    Fields::new(bytes).all(|(number, value)| matches!((number, value), (1 | 2, Value::Int(_))))
}

fn malformed(reason: &str) -> ImportError {
    ImportError::Malformed { format: NAME, reason: reason.to_string() }
}

/// Makes a profile of tables and samples for the format of this id.
///
/// # Errors
/// `Malformed` without any sample type; `Stopped` when the user cancelled.
pub fn store_as(format: &'static str, tables: &Tables, samples: Samples, import: &mut Import<'_>) -> Result<(), ImportError> {
    if let Some(at) = tables.cut {
        import.report(CUT, At::Byte(at), "");
    }
    let head = &tables.head;
    let types: Vec<ValueType> = tables
        .sample_types
        .iter()
        .map(|&(name, unit)| {
            let (name, unit) = (tables.text(name), tables.text(unit));
            ValueType { kind: kind(&name, &unit), name, unit }
        })
        .collect();
    if types.is_empty() {
        return Err(malformed("it names no sample type, so its numbers have no meaning"));
    }
    let mut profile = Profile::new(import.source, format, types.clone());
    profile.period = head.period;
    profile.period_unit = head.period_type.map_or(String::new(), |(_, unit)| tables.text(unit));
    profile.duration_ns = head.duration_ns.max(0);
    profile.start_ns = head.time_ns;
    profile.default_value = default_value(&tables.text(head.default_type), &types);
    profile.comments = head.comments.iter().map(|c| tables.text(*c)).collect();
    let mut frames = tables.frames(import)?;
    profile.ranges = std::mem::take(&mut frames.ranges);
    if frames.pruned > 0 {
        import.report(PRUNED, At::File, &tables.text(head.drop_frames));
    }
    samples.store(tables, &frames, &mut profile, import);
    threads_from_labels(&mut profile, &import.session.strings);
    import.session.profiles.push(profile);
    Ok(())
}

/// `go tool pprof`: the default type compared as a string, else the last one.
fn default_value(default: &str, types: &[ValueType]) -> usize {
    types.iter().position(|t| !default.is_empty() && t.name == default).unwrap_or(types.len() - 1)
}

/// What a sample type measures, by the names that Go, gperftools, Java, Node and Rust producers use.
pub fn kind(name: &str, unit: &str) -> ValueKind {
    let time = matches!(unit, "nanoseconds" | "microseconds" | "milliseconds" | "seconds" | "ns" | "us" | "ms" | "s");
    let bytes = matches!(unit, "bytes" | "byte" | "B" | "kilobytes" | "megabytes");
    match name {
        "cpu" if time => ValueKind::CpuTime,
        "wall" | "time" | "itimer" | "wallclock" if time => ValueKind::WallTime,
        "samples" | "sample" => ValueKind::Samples,
        "alloc_space" | "allocations_bytes" | "alloc-space" | "alloc-size" | "allocated_bytes" if bytes => ValueKind::AllocBytes,
        "alloc_objects" | "allocations" | "alloc-samples" | "allocs" if !time => ValueKind::AllocObjects,
        "inuse_space" | "space" | "live_bytes" | "heap-space" | "live-size" if bytes => ValueKind::InUseBytes,
        "inuse_objects" | "objects" | "live_objects" | "heap-live-size" => ValueKind::InUseObjects,
        "contentions" | "mutex_count" | "block_count" => ValueKind::BlockCount,
        "delay" | "mutex_duration" | "block_duration" | "contention" if time => ValueKind::BlockTime,
        _ if unit == "count" && matches!(name, "cycles" | "instructions" | "page-faults" | "cache-misses") => ValueKind::Events,
        _ => ValueKind::Other,
    }
}
