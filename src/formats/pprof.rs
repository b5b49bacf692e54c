//! pprof: `perftools.profiles.Profile` (google/pprof proto/profile.proto), gzip or not. Numbers follow `go tool pprof`.

use super::pprof_tables::Tables;
use super::wire::{Fields, Value, repeated};
use super::{Format, Import, ImportError, Prefix, Sniff};
use crate::base::ids::{LabelSetId, StackId};
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use crate::model::profile::{Label, Profile, ValueKind, ValueType};
use std::io::BufRead;

const NAME: &str = "pprof";
const CUT: DiagnosticCode = DiagnosticCode {
    code: "pprof/cut",
    level: Level::DataLoss,
    message: "The file is cut or damaged; what lies before the place was read.",
};
const VALUES: DiagnosticCode = DiagnosticCode {
    code: "pprof/value-count",
    level: Level::DataLoss,
    message: "Samples whose number of values differs from the number of value types were dropped.",
};
const NO_LOCATION: DiagnosticCode = DiagnosticCode {
    code: "pprof/missing-location",
    level: Level::DataLoss,
    message: "Samples name locations that the file does not define; those frames are shown as <unknown>.",
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
        // (a sample type, a sample or a mapping) parses. Text does not survive this.
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
        let mut bytes = Vec::new();
        let mut chunk = vec![0; 1 << 20];
        loop {
            let n = input.read(&mut chunk)?;
            if n == 0 {
                break;
            }
            bytes.extend_from_slice(&chunk[..n]);
            import.tick(0)?;
        }
        drop(chunk);
        read(&bytes, import)
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

fn read(bytes: &[u8], import: &mut Import<'_>) -> Result<(), ImportError> {
    let tables = Tables::scan(bytes)?;
    if let Some(at) = tables.cut {
        import.report(CUT, At::Byte(at as u64), &format!("of {} bytes", bytes.len()));
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
    let mut profile = Profile::new(import.source, "pprof", types.clone());
    profile.period = head.period;
    profile.period_unit = head.period_type.map_or(String::new(), |(_, unit)| tables.text(unit));
    profile.duration_ns = head.duration_ns.max(0);
    profile.start_ns = head.time_ns;
    profile.default_value = default_value(&tables.text(head.default_type), &types);
    let frames = tables.frames(import)?;
    if frames.pruned > 0 {
        import.report(PRUNED, At::File, &tables.text(head.drop_frames));
    }
    read_samples(&tables, &frames, &mut profile, import)?;
    import.session.profiles.push(profile);
    Ok(())
}

/// `go tool pprof`: the default type compared as a string, else the last one.
fn default_value(default: &str, types: &[ValueType]) -> usize {
    types.iter().position(|t| !default.is_empty() && t.name == default).unwrap_or(types.len() - 1)
}

fn read_samples(
    tables: &Tables<'_>,
    frames: &super::pprof_tables::Frames,
    profile: &mut Profile,
    import: &mut Import<'_>,
) -> Result<(), ImportError> {
    let width = profile.value_types.len();
    let (mut locations, mut values, mut labels) = (Vec::new(), Vec::new(), Vec::new());
    let mut sets = LabelSets::default();
    let mut any_label = false;
    for (number, &sample) in tables.samples.iter().enumerate() {
        locations.clear();
        values.clear();
        labels.clear();
        let mut fields = Fields::new(sample);
        for (field, value) in fields.by_ref() {
            match field {
                1 => repeated(value, &mut locations),
                2 => repeated(value, &mut values),
                3 => labels.push(tables.label(value.bytes(), import)),
                _ => {}
            }
        }
        import.ledger.records_in += 1;
        let at = At::Record(number as u64 + 1);
        let kept = values.len() == width && fields.damaged_at().is_none();
        for (value, of) in values.iter().zip(&profile.value_types) {
            import.ledger.weigh(&of.name, &of.unit, *value as i64, kept);
        }
        if !kept {
            import.report(VALUES, at, &format!("{} values for {width} types", values.len()));
            continue;
        }
        import.ledger.records_kept += 1;
        let mut stack = StackId::NONE;
        let mut missing = 0;
        for &frame in frames.of_sample(&locations, &mut missing) {
            stack = import.session.symbols.stacks.push(stack, frame);
        }
        if missing > 0 {
            import.report(NO_LOCATION, at, &format!("{missing} of {} locations", locations.len()));
        }
        profile.samples.stack.push(stack);
        for (column, value) in profile.samples.values.iter_mut().zip(&values) {
            column.push(*value as i64);
        }
        any_label |= !labels.is_empty();
        let set = sets.intern(&labels, profile);
        profile.samples.labels.push(set);
        if number % 8192 == 0 {
            import.tick(number as u64)?;
        }
    }
    if !any_label {
        profile.samples.labels = Vec::new();
    }
    Ok(())
}

/// Distinct label sets; a set without labels is `NONE`.
#[derive(Default)]
struct LabelSets {
    index: crate::base::intern::RowIndex,
}

impl LabelSets {
    fn intern(&mut self, labels: &[Label], profile: &mut Profile) -> LabelSetId {
        if labels.is_empty() {
            return LabelSetId::NONE;
        }
        fn hash(labels: &[Label]) -> u64 {
            use crate::base::hash::hash_u64;
            labels.iter().fold(0, |h, l| {
                hash_u64(hash_u64(h, u64::from(l.key.0) << 32 | u64::from(l.text.0)), l.number as u64 ^ u64::from(l.unit.0) << 40)
            })
        }
        let table = &mut profile.labels;
        let own = hash(labels);
        if let Some(row) = self.index.find(own, |row| table.set(LabelSetId(row)) == labels) {
            return LabelSetId(row);
        }
        if table.start.is_empty() {
            table.start.push(0);
        }
        let row = table.start.len() as u32 - 1;
        table.labels.extend_from_slice(labels);
        table.start.push(table.labels.len() as u32);
        let table = &profile.labels;
        self.index.insert(own, row, |row| hash(table.set(LabelSetId(row))));
        LabelSetId(row)
    }
}

/// What a sample type measures, by the names that Go, gperftools, Java, Node and Rust producers use.
fn kind(name: &str, unit: &str) -> ValueKind {
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
