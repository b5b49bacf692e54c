//! Samples that `xctrace export` writes as XML: rows whose cells are elements; a value is written once with an `id` and then
//! referred to by `ref`. The schema is not documented; its shape is that of Xcode 13 to 16.

use super::stack_sink::{Sink, Spot, stack_of};
use super::xml::{Event, Xml};
use super::{Format, Import, ImportError, Prefix, Sniff};
use crate::base::ids::{FrameId, StackId};
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use crate::model::profile::ValueKind;
use std::collections::BTreeMap;
use std::io::BufRead;

const NAME: &str = "xctrace export (XML)";
const NO_STACK: DiagnosticCode = DiagnosticCode {
    code: "xctrace/no-backtrace",
    level: Level::Notice,
    message: "Rows without a backtrace are kept as samples without frames.",
};
const BAD_REF: DiagnosticCode = DiagnosticCode {
    code: "xctrace/undefined-reference",
    level: Level::DataLoss,
    message: "A value is referred to that was not written before.",
};
const CUT: DiagnosticCode =
    DiagnosticCode { code: "xctrace/cut", level: Level::DataLoss, message: "The document ends early; the rows before were read." };

/// The format.
pub struct Xctrace;

impl Format for Xctrace {
    fn id(&self) -> &'static str {
        "xctrace"
    }
    fn name(&self) -> &'static str {
        NAME
    }
    fn extensions(&self) -> &'static [&'static str] {
        &["xml"]
    }
    fn hint(&self) -> &'static str {
        "`xctrace export --input run.trace --xpath '/trace-toc/*/data/table[@schema=\"time-profile\"]' > run.xml` writes it."
    }
    fn sniff(&self, prefix: &Prefix<'_>) -> Sniff {
        let text = prefix.text().trim_start();
        let head = &text[..text.char_indices().nth(2000).map_or(text.len(), |(at, _)| at)];
        if head.starts_with('<') && head.contains("<trace-query-result") { Sniff::Certain } else { Sniff::No }
    }
    fn read(&self, input: &mut dyn BufRead, import: &mut Import<'_>) -> Result<(), ImportError> {
        let mut xml = Xml::new(input);
        let mut reader = Reader::default();
        let end = loop {
            match xml.event()? {
                Event::Open { name, attributes, empty } => {
                    reader.open(name, &attributes, xml.at, import)?;
                    if empty {
                        reader.close(import);
                    }
                }
                Event::Text(text) => reader.text(&text),
                Event::Close(_) => reader.close(import),
                Event::End(inside) => break inside || !reader.path.is_empty(),
            }
        };
        if end {
            import.report(CUT, At::Byte(xml.at), "");
        }
        reader.finish(import)
    }
}

/// An element that is open.
struct Element {
    name: String,
    id: Option<u64>,
    /// Frames of a backtrace, leaf first.
    frames: Vec<FrameId>,
    spot: (String, Option<u64>),
    binary: String,
    text: String,
    label: String,
    /// Value of an element that refers to another.
    of: Option<u64>,
}

#[derive(Default)]
struct Row {
    stack: Option<StackId>,
    thread: Option<(String, i64, i64)>,
    weight: Option<(bool, i64)>,
    time: Option<i64>,
}

struct Sample {
    stack: StackId,
    thread: Option<(String, i64, i64)>,
    weight: Option<(bool, i64)>,
    time: Option<i64>,
}

#[derive(Default)]
struct Reader {
    path: Vec<Element>,
    frames: BTreeMap<u64, FrameId>,
    binaries: BTreeMap<u64, String>,
    stacks: BTreeMap<u64, StackId>,
    numbers: BTreeMap<u64, i64>,
    threads: BTreeMap<u64, (String, i64, i64)>,
    row: Option<Row>,
    samples: Vec<Sample>,
}

/// Deeper than any export nests.
const MAX_DEPTH: usize = 256;

impl Reader {
    fn open(&mut self, name: String, attributes: &[(String, String)], at: u64, import: &mut Import<'_>) -> Result<(), ImportError> {
        if self.path.len() >= MAX_DEPTH {
            return Err(ImportError::Malformed { format: NAME, reason: format!("byte {at}: elements lie deeper than {MAX_DEPTH}") });
        }
        let get = |key: &str| attributes.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str());
        let number = |key: &str| get(key).and_then(|v| v.parse::<u64>().ok());
        let address = get("addr").and_then(|a| u64::from_str_radix(a.strip_prefix("0x")?, 16).ok());
        let symbol = get("name").unwrap_or_default();
        if name == "row" {
            self.row = Some(Row::default());
            import.ledger.records_in += 1;
            if import.ledger.records_in.is_multiple_of(16_384) {
                import.tick(import.ledger.records_in)?;
            }
        }
        let of = number("ref");
        let known = of.is_none_or(|of| match name.as_str() {
            "frame" => self.frames.contains_key(&of),
            "backtrace" | "tagged-backtrace" => self.stacks.contains_key(&of),
            _ => true,
        });
        if !known {
            import.report(BAD_REF, At::Byte(at), &format!("{name} {}", of.unwrap_or(0)));
        }
        self.path.push(Element {
            id: number("id"),
            frames: Vec::new(),
            spot: (if symbol.starts_with("0x") { String::new() } else { symbol.to_string() }, address),
            binary: String::new(),
            text: String::new(),
            label: get("fmt").unwrap_or_default().to_string(),
            of,
            name,
        });
        Ok(())
    }

    fn text(&mut self, text: &str) {
        if let Some(element) = self.path.last_mut() {
            element.text.push_str(text.trim());
        }
    }

    fn close(&mut self, import: &mut Import<'_>) {
        let Some(element) = self.path.pop() else { return };
        let in_row = self.path.last().is_some_and(|e| e.name == "row");
        let number = element.of.map_or_else(|| element.text.parse::<i64>().ok(), |of| self.numbers.get(&of).copied());
        if let (Some(id), Some(number)) = (element.id, number) {
            self.numbers.insert(id, number);
        }
        match element.name.as_str() {
            "binary" => {
                let name = element.of.map_or(Some(&element.spot.0), |of| self.binaries.get(&of)).cloned().unwrap_or_default();
                if let Some(id) = element.id {
                    self.binaries.insert(id, name.clone());
                }
                if let Some(frame) = self.path.last_mut() {
                    frame.binary = name;
                }
            }
            "frame" => {
                let frame = match element.of {
                    Some(of) => self.frames.get(&of).copied(),
                    None => {
                        let (name, address) = (&element.spot.0, element.spot.1);
                        Some(Spot { module: &element.binary, address, ..Spot::named(name) }.intern(import.session))
                    }
                };
                if let (Some(id), Some(frame)) = (element.id, frame) {
                    self.frames.insert(id, frame);
                }
                if let (Some(backtrace), Some(frame)) = (self.path.last_mut(), frame) {
                    backtrace.frames.push(frame);
                }
            }
            "backtrace" | "tagged-backtrace" | "stack" => {
                let stack = match element.of {
                    Some(of) => self.stacks.get(&of).copied(),
                    None if element.frames.is_empty() => None,
                    None => Some(stack_of(import.session, &element.frames)),
                };
                if let (Some(id), Some(stack)) = (element.id, stack) {
                    self.stacks.insert(id, stack);
                }
                // A tagged backtrace wraps a backtrace: the wrapper's id stands for it too.
                match (self.path.last_mut(), stack) {
                    (Some(outer), Some(stack)) if outer.name.ends_with("backtrace") => {
                        if let Some(id) = outer.id {
                            self.stacks.insert(id, stack);
                        }
                        if let Some(row) = &mut self.row {
                            row.stack = Some(stack);
                        }
                    }
                    (_, Some(stack)) => {
                        if let Some(row) = &mut self.row {
                            row.stack = Some(stack);
                        }
                    }
                    _ => {}
                }
            }
            "thread" => {
                let thread = match element.of {
                    Some(of) => self.threads.get(&of).cloned(),
                    None => Some(thread(&element.label)),
                };
                if let (Some(id), Some(thread)) = (element.id, &thread) {
                    self.threads.insert(id, thread.clone());
                }
                if let (Some(row), true) = (&mut self.row, in_row) {
                    row.thread = thread;
                }
            }
            "weight" | "cycle-weight" => {
                if let (Some(row), Some(number)) = (&mut self.row, number) {
                    row.weight = Some((element.name == "cycle-weight", number));
                }
            }
            "sample-time" => {
                if let (Some(row), true) = (&mut self.row, in_row) {
                    row.time = number;
                }
            }
            "row" => {
                if let Some(row) = self.row.take() {
                    import.ledger.records_kept += 1;
                    if row.stack.is_none() {
                        import.report(NO_STACK, At::Record(import.ledger.records_in), "");
                    }
                    let stack = row.stack.unwrap_or(StackId::NONE);
                    self.samples.push(Sample { stack, thread: row.thread, weight: row.weight, time: row.time });
                }
            }
            _ => {}
        }
    }

    fn finish(self, import: &mut Import<'_>) -> Result<(), ImportError> {
        let all = |has: fn(&Sample) -> bool| !self.samples.is_empty() && self.samples.iter().all(has);
        let mut columns = vec![("samples", "count", ValueKind::Samples)];
        // A column stands for one measure: rows of several tables may differ.
        let time = all(|s| matches!(s.weight, Some((false, _))));
        let cycles = all(|s| matches!(s.weight, Some((true, _))));
        if time {
            columns.push(("weight", "nanoseconds", ValueKind::CpuTime));
        } else if cycles {
            columns.push(("cycles", "count", ValueKind::Events));
        }
        let (threads, times) = (all(|s| s.thread.is_some()), all(|s| s.time.is_some()));
        let mut sink = Sink::new(import, "xctrace", &columns);
        sink.profile.default_value = columns.len() - 1;
        for sample in &self.samples {
            sink.sample(sample.stack, &[1, sample.weight.map_or(0, |(_, w)| w)]);
            if let (true, Some((name, pid, tid))) = (threads, &sample.thread) {
                sink.thread(name, *pid, *tid);
            }
            if let (true, Some(time)) = (times, sample.time) {
                sink.profile.samples.time_ns.push(time);
            }
        }
        sink.finish(import);
        Ok(())
    }
}

/// `Main Thread 0x1a2b (app, pid: 123)`.
fn thread(label: &str) -> (String, i64, i64) {
    let pid = label.rsplit_once("pid: ").and_then(|(_, p)| p.trim_end_matches(')').parse().ok()).unwrap_or(-1);
    let name = label.split(" (").next().unwrap_or(label);
    let (name, tid) = match name.rsplit_once(" 0x") {
        Some((plain, hex)) => i64::from_str_radix(hex, 16).map_or((name, -1), |tid| (plain, tid)),
        None => (name, -1),
    };
    (name.to_string(), pid, tid)
}

#[cfg(test)]
mod tests {
    #[test]
    fn threads_are_taken_apart() {
        assert_eq!(super::thread("Main Thread 0x1a2b (app, pid: 123)"), ("Main Thread".to_string(), 123, 0x1a2b));
        assert_eq!(super::thread("worker"), ("worker".to_string(), -1, -1));
    }
}
