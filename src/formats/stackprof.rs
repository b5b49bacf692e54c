//! Dumps of Ruby's stackprof as JSON (`stackprof --json`, or `StackProf.results.to_json`): raw stacks where they were kept
//! (`raw: true`), else the graph of frames with their edges ([`super::call_graph`]).

use super::call_graph::{Function, Graph, unfold};
use super::json::{Broken, Json, Stop};
use super::json_outline::outline;
use super::stack_sink::{Sink, Spot};
use super::{Format, Import, ImportError, Prefix, Sniff};
use crate::base::ids::{FrameId, StackId};
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use crate::model::profile::ValueKind;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::BufRead;

const NAME: &str = "stackprof JSON";
const CUT: DiagnosticCode =
    DiagnosticCode { code: "stackprof/cut", level: Level::DataLoss, message: "The file ends early; what comes before was read." };
const BAD_FRAME: DiagnosticCode =
    DiagnosticCode { code: "stackprof/bad-frame", level: Level::DataLoss, message: "Frames that cannot be read were skipped." };
const NO_FRAME: DiagnosticCode = DiagnosticCode {
    code: "stackprof/undefined-frame",
    level: Level::Notice,
    message: "A stack names a frame that is not listed; it is shown as unknown.",
};
const BAD_RAW: DiagnosticCode = DiagnosticCode {
    code: "stackprof/bad-stacks",
    level: Level::DataLoss,
    message: "The list of raw stacks breaks off or has impossible lengths; the stacks before were read.",
};
const MISSED: DiagnosticCode =
    DiagnosticCode { code: "stackprof/missed-samples", level: Level::Notice, message: "stackprof says that it missed samples." };

/// The format.
pub struct Stackprof;

impl Format for Stackprof {
    fn id(&self) -> &'static str {
        "stackprof"
    }
    fn name(&self) -> &'static str {
        NAME
    }
    fn extensions(&self) -> &'static [&'static str] {
        &["json"]
    }
    fn hint(&self) -> &'static str {
        "`StackProf.run(mode: :cpu, raw: true, out: 'run.dump') { … }`, then `stackprof --json run.dump > run.json`."
    }
    fn sniff(&self, prefix: &Prefix<'_>) -> Sniff {
        let keys = ["mode", "interval", "samples", "gc_samples"];
        outline(prefix.bytes).filter(|o| keys.iter().all(|key| o.has(&[key]))).map_or(Sniff::No, |_| Sniff::Certain)
    }
    fn read(&self, input: &mut dyn BufRead, import: &mut Import<'_>) -> Result<(), ImportError> {
        let mut json = Json::new(input);
        let mut dump = Dump::default();
        match dump.scan(&mut json, import) {
            Ok(()) => {}
            Err(Stop::Broken(broken)) if dump.frames.is_empty() => return Err(broken.into_error(NAME)),
            Err(Stop::Broken(broken)) => import.report(CUT, At::Byte(json.position()), &broken.to_string()),
            Err(Stop::Import(e)) => return Err(e),
        }
        dump.store(import);
        Ok(())
    }
}

#[derive(Deserialize)]
struct Frame {
    #[serde(default)]
    name: String,
    #[serde(default)]
    file: Option<String>,
    #[serde(default)]
    line: Option<u32>,
    #[serde(default)]
    samples: i64,
    #[serde(default)]
    edges: BTreeMap<String, i64>,
    #[serde(default)]
    lines: serde_json::Value,
}

#[derive(Default)]
struct Dump {
    mode: String,
    interval: i64,
    missed: i64,
    frames: BTreeMap<String, Frame>,
    raw: Vec<u64>,
    raw_lines: Vec<u64>,
    /// Microseconds, one per raw sample.
    times: Vec<i64>,
    at_raw: u64,
}

impl Dump {
    fn scan(&mut self, json: &mut Json<'_>, import: &mut Import<'_>) -> Result<(), Stop> {
        let (mut key, mut raw) = (String::new(), Vec::new());
        if !json.eat(b'{')? {
            return Err(Broken::Unexpected(json.position(), "`{`").into());
        }
        while json.next_key(&mut key)? {
            match key.as_str() {
                "frames" if json.eat(b'{')? => {
                    let mut id = String::new();
                    while json.next_key(&mut id)? {
                        let at = json.position();
                        json.raw(&mut raw)?;
                        match serde_json::from_slice(&raw) {
                            Ok(frame) => _ = self.frames.insert(id.clone(), frame),
                            Err(e) => import.report(BAD_FRAME, At::Byte(at), &e.to_string()),
                        }
                    }
                }
                "raw" | "raw_lines" | "raw_sample_timestamps" => {
                    let at = json.position();
                    if !json.eat(b'[')? {
                        json.skip()?;
                        continue;
                    }
                    let mut list = Vec::new();
                    let end = loop {
                        match json.next_item() {
                            Ok(true) => json.raw(&mut raw)?,
                            Ok(false) => break Ok(()),
                            Err(e) => break Err(e),
                        }
                        list.push(serde_json::from_slice::<i64>(&raw).unwrap_or(-1));
                    };
                    let positive = || list.iter().map(|n| u64::try_from(*n).unwrap_or(u64::MAX)).collect();
                    match key.as_str() {
                        "raw" => (self.raw, self.at_raw) = (positive(), at),
                        "raw_lines" => self.raw_lines = positive(),
                        _ => self.times = list,
                    }
                    end?;
                }
                _ => {
                    json.raw(&mut raw)?;
                    match key.as_str() {
                        "mode" => self.mode = serde_json::from_slice(&raw).unwrap_or_default(),
                        "interval" => self.interval = serde_json::from_slice(&raw).unwrap_or(0),
                        "missed_samples" => self.missed = serde_json::from_slice(&raw).unwrap_or(0),
                        _ => {}
                    }
                }
            }
        }
        Ok(())
    }

    fn store(self, import: &mut Import<'_>) {
        let (name, unit, kind, scale) = match self.mode.as_str() {
            "cpu" => ("cpu", "nanoseconds", ValueKind::CpuTime, 1000),
            "wall" => ("wall", "nanoseconds", ValueKind::WallTime, 1000),
            "object" => ("objects", "count", ValueKind::AllocObjects, 1),
            _ => ("", "", ValueKind::Other, 0),
        };
        let mut columns = vec![("samples", "count", ValueKind::Samples)];
        let weight = self.interval.max(0).saturating_mul(scale);
        if weight > 0 {
            columns.push((name, unit, kind));
        }
        if self.missed > 0 {
            import.report(MISSED, At::File, &self.missed.to_string());
        }
        let mut sink = Sink::new(import, "stackprof", &columns);
        sink.profile.name = self.mode.clone();
        sink.profile.default_value = columns.len() - 1;
        (sink.profile.period, sink.profile.period_unit) = if weight > 0 { (weight, unit.into()) } else { (0, String::new()) };
        if self.raw.is_empty() {
            self.graph(weight, &mut sink, import)
        } else {
            self.stacks(weight, &mut sink, import)
        }
        sink.finish(import);
    }

    /// Length, frames from root to leaf, count; again and again.
    fn stacks(&self, weight: i64, sink: &mut Sink, import: &mut Import<'_>) {
        let unknown = Spot::default().intern(import.session);
        let mut rows: BTreeMap<(u64, u32), FrameId> = BTreeMap::new();
        let with_lines = self.raw_lines.len() == self.raw.len();
        let mut samples: Vec<(StackId, i64)> = Vec::new();
        let mut at = 0;
        while at < self.raw.len() {
            import.ledger.records_in += 1;
            let length = usize::try_from(self.raw[at]).unwrap_or(usize::MAX);
            let end = at.saturating_add(length).saturating_add(1);
            let Some(count) = self.raw.get(end).and_then(|n| i64::try_from(*n).ok()) else {
                import.report(BAD_RAW, At::Byte(self.at_raw), &format!("entry {at}"));
                break;
            };
            let mut stack = StackId::NONE;
            for entry in at + 1..end {
                let id = self.raw[entry];
                let line = if with_lines { u32::try_from(self.raw_lines[entry]).unwrap_or(0) } else { 0 };
                let frame = match rows.get(&(id, line)) {
                    Some(frame) => *frame,
                    None => {
                        let frame = match self.frames.get(&id.to_string()) {
                            Some(frame) => spot(frame, line).intern(import.session),
                            None => {
                                import.report(NO_FRAME, At::Byte(self.at_raw), &id.to_string());
                                unknown
                            }
                        };
                        rows.insert((id, line), frame);
                        frame
                    }
                };
                stack = import.session.symbols.stacks.push(stack, frame);
            }
            samples.push((stack, count));
            import.ledger.records_kept += 1;
            at = end + 1;
        }
        // Stacks that were met several times in a row are written once; each sample has its time.
        let total = samples.iter().fold(0_i64, |sum, (_, count)| sum.saturating_add(*count));
        let timed = !self.times.is_empty() && i64::try_from(self.times.len()).is_ok_and(|n| n == total);
        let mut times = self.times.iter();
        for (stack, count) in samples {
            if !timed {
                sink.sample(stack, &[count, count.saturating_mul(weight)]);
                continue;
            }
            for time in times.by_ref().take(count as usize) {
                sink.sample(stack, &[1, weight]);
                sink.profile.samples.time_ns.push(time.saturating_mul(1000));
            }
        }
    }

    fn graph(&self, weight: i64, sink: &mut Sink, import: &mut Import<'_>) {
        let mut graph = Graph::of(2);
        let rows: BTreeMap<&str, usize> = self.frames.keys().enumerate().map(|(row, id)| (id.as_str(), row)).collect();
        for frame in self.frames.values() {
            graph.functions.push(Function::new(&frame.name, frame.file.as_deref().unwrap_or(""), ""));
        }
        let costs = |samples: i64| [samples.max(0), samples.max(0).saturating_mul(weight)];
        for (row, frame) in self.frames.values().enumerate() {
            import.ledger.records_in += 1;
            let file = frame.file.as_deref().unwrap_or("");
            // Lines give samples as [with callees, own]; old versions give one number, which is with callees.
            let own = |value: &serde_json::Value| value.as_array().and_then(|pair| pair.get(1)?.as_i64());
            let mut rest = frame.samples;
            for (line, value) in frame.lines.as_object().into_iter().flatten() {
                if let (Ok(line), Some(own)) = (line.parse(), own(value).filter(|own| *own > 0 && *own <= rest)) {
                    graph.cost(row, file, line, None, &costs(own));
                    rest -= own;
                }
            }
            if rest > 0 {
                graph.cost(row, file, 0, None, &costs(rest));
            }
            for (called, samples) in &frame.edges {
                match rows.get(called.as_str()) {
                    Some(called) => graph.call(row, *called, 0, &costs(*samples)),
                    None => import.report(NO_FRAME, At::File, called),
                }
            }
            import.ledger.records_kept += 1;
        }
        unfold(&graph, sink, import);
    }
}

fn spot(frame: &Frame, line: u32) -> Spot<'_> {
    let file = frame.file.as_deref().unwrap_or("");
    Spot { file: if file == "<cfunc>" { "" } else { file }, line, start_line: frame.line.unwrap_or(0), ..Spot::named(&frame.name) }
}
