//! What memray writes for other programs to read: `memray transform csv` (every stack at the peak of memory) and
//! `memray stats --json` (the largest places, without stacks).

use super::csv::fields;
use super::json_outline::outline;
use super::stack_sink::{Lines, Sink, Spot, stack_of};
use super::{Format, Import, ImportError, Prefix, Sniff};
use crate::base::ids::StackId;
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use crate::model::profile::ValueKind;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::BufRead;

const NAME: &str = "memray";
const HEADER: &str = "allocator,num_allocations,size,tid,thread_name,stack_trace";
const BAD_ROW: DiagnosticCode =
    DiagnosticCode { code: "memray/bad-row", level: Level::DataLoss, message: "Rows without numbers or with fields missing were skipped." };

/// The format.
pub struct Memray;

impl Format for Memray {
    fn id(&self) -> &'static str {
        "memray"
    }
    fn name(&self) -> &'static str {
        "memray CSV and statistics"
    }
    fn extensions(&self) -> &'static [&'static str] {
        &["csv", "json"]
    }
    fn hint(&self) -> &'static str {
        "`memray transform csv -o run.csv run.bin` (stacks at the peak), or `memray stats --json -o run.json run.bin` (places only)."
    }
    fn sniff(&self, prefix: &Prefix<'_>) -> Sniff {
        let keys = ["total_num_allocations", "total_bytes_allocated"];
        let stats = outline(prefix.bytes).is_some_and(|o| keys.iter().all(|key| o.has(&[key])));
        if stats || prefix.text().starts_with(HEADER) { Sniff::Certain } else { Sniff::No }
    }
    fn read(&self, input: &mut dyn BufRead, import: &mut Import<'_>) -> Result<(), ImportError> {
        if input.fill_buf()?.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'{') {
            return stats(input, import);
        }
        let columns = [("peak_bytes", "bytes", ValueKind::InUseBytes), ("peak_allocations", "count", ValueKind::InUseObjects)];
        let mut sink = Sink::new(import, "memray", &columns);
        let mut lines = Lines::new(input);
        lines.next(import)?;
        while lines.next(import)? {
            if lines.text.trim().is_empty() {
                continue;
            }
            import.ledger.records_in += 1;
            let row = fields(&lines.text, ',');
            let number = |at: usize| row.get(at).and_then(|v: &String| v.trim().parse::<i64>().ok());
            let (Some(count), Some(size), Some(trace)) = (number(1), number(2), row.get(5)) else {
                import.report(BAD_ROW, At::Line(lines.number), &lines.text);
                continue;
            };
            import.ledger.records_kept += 1;
            let mut frames = Vec::new();
            // Leaf first; function, file and line stand between semicolons.
            for frame in trace.split('|').filter(|f| !f.is_empty()) {
                let mut parts = frame.rsplitn(3, ';');
                let (line, file, name) = (parts.next(), parts.next().unwrap_or_default(), parts.next());
                let spot = match name {
                    Some(name) => Spot { file, line: line.and_then(|l| l.parse().ok()).unwrap_or(0), ..Spot::named(name) },
                    None => Spot::named(frame),
                };
                frames.push(spot.intern(import.session));
            }
            let stack = stack_of(import.session, &frames);
            sink.sample(stack, &[size, count]);
            sink.thread(row.get(4).map_or("", |name| name.trim()), -1, number(3).unwrap_or(-1));
        }
        import.choose(
            "moment",
            "peak of memory",
            &["end", "all allocations"],
            "memray transform writes what was allocated at the peak unless it is asked otherwise; the file does not say.",
        );
        sink.finish(import);
        Ok(())
    }
}

#[derive(Deserialize)]
struct Stats {
    total_num_allocations: i64,
    total_bytes_allocated: i64,
    #[serde(default, alias = "top_locations_by_size")]
    top_allocations_by_size: Vec<Top>,
    #[serde(default, alias = "top_locations_by_count")]
    top_allocations_by_count: Vec<Top>,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Top {
    location: String,
    #[serde(default)]
    size: Option<i64>,
    #[serde(default)]
    count: Option<i64>,
}

#[derive(Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    command_line: String,
}

/// Places are listed twice, by size and by count, each list cut; what is in neither is a sample without frames.
fn stats(input: &mut dyn BufRead, import: &mut Import<'_>) -> Result<(), ImportError> {
    let mut bytes = Vec::new();
    input.read_to_end(&mut bytes)?;
    let stats: Stats = serde_json::from_slice(&bytes).map_err(|e| ImportError::Malformed { format: NAME, reason: e.to_string() })?;
    let columns = [("bytes", "bytes", ValueKind::AllocBytes), ("allocations", "count", ValueKind::AllocObjects)];
    let mut sink = Sink::new(import, "memray", &columns);
    sink.profile.name = stats.metadata.command_line;
    let mut places: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
    for top in stats.top_allocations_by_size.iter().chain(&stats.top_allocations_by_count) {
        import.ledger.records_in += 1;
        import.ledger.records_kept += 1;
        let place = places.entry(&top.location).or_default();
        place.0 = top.size.unwrap_or(place.0);
        place.1 = top.count.unwrap_or(place.1);
    }
    let (mut rest_bytes, mut rest_count) = (stats.total_bytes_allocated, stats.total_num_allocations);
    for (location, (size, count)) in places {
        let mut parts = location.rsplitn(2, ':');
        let line = parts.next().and_then(|l| l.parse().ok());
        let (name, file) = parts.next().and_then(|rest| rest.split_once(':')).unwrap_or((location, ""));
        let frame = Spot { file, line: line.unwrap_or(0), ..Spot::named(name) }.intern(import.session);
        let stack = import.session.symbols.stacks.push(StackId::NONE, frame);
        sink.sample(stack, &[size, count]);
        rest_bytes = rest_bytes.saturating_sub(size);
        rest_count = rest_count.saturating_sub(count);
    }
    if rest_bytes > 0 || rest_count > 0 {
        sink.sample(StackId::NONE, &[rest_bytes.max(0), rest_count.max(0)]);
    }
    import.choose("stacks", "places only", &[], "memray's statistics list places without stacks, and only the largest; the rest is a sample without frames. `memray transform csv` has stacks.");
    sink.finish(import);
    Ok(())
}
