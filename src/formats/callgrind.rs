//! Callgrind's and Cachegrind's output files: costs per line and, in Callgrind's, an exact call graph ("Callgrind Format
//! Specification" of the Valgrind manual). [`super::call_graph`] turns the graph into stacks.

use super::call_graph::{Function, Graph, unfold};
use super::stack_sink::{Lines, Sink};
use super::{Format, Import, ImportError, Prefix, Sniff};
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use crate::model::profile::{Profile, ValueKind, ValueType};
use std::collections::BTreeMap;
use std::io::BufRead;

const BAD_LINE: DiagnosticCode =
    DiagnosticCode { code: "callgrind/bad-line", level: Level::DataLoss, message: "Lines that are no line of the format were skipped." };
const NO_NAME: DiagnosticCode = DiagnosticCode {
    code: "callgrind/undefined-name",
    level: Level::Notice,
    message: "A compressed name is used that was never spelled out; its number stands for it.",
};
const TOTALS: DiagnosticCode = DiagnosticCode {
    code: "callgrind/totals-differ",
    level: Level::Notice,
    message: "The costs of the lines do not add up to the total that the file states; the sum of the lines is shown.",
};
const NAME: &str = "Callgrind";
/// More events than any version of Valgrind counts.
const MAX_EVENTS: usize = 64;

/// The format.
pub struct Callgrind;

impl Format for Callgrind {
    fn id(&self) -> &'static str {
        "callgrind"
    }
    fn name(&self) -> &'static str {
        NAME
    }
    fn extensions(&self) -> &'static [&'static str] {
        &["out", "callgrind", "cachegrind"]
    }
    fn hint(&self) -> &'static str {
        "`valgrind --tool=callgrind PROGRAM` writes callgrind.out.PID, `--tool=cachegrind` cachegrind.out.PID; xdebug and others write it too."
    }
    fn sniff(&self, prefix: &Prefix<'_>) -> Sniff {
        let text = prefix.text();
        if text.trim_start().starts_with("# callgrind format") {
            return Sniff::Certain;
        }
        // Without its first line the header still names events, and costs of functions follow.
        let mut events = false;
        for line in text.lines().take(400) {
            events |= line.starts_with("events:");
            let header = line.split_once(':').is_some_and(|(key, _)| key.bytes().all(|b| b.is_ascii_alphanumeric()));
            if line.starts_with("fn=") || line.starts_with("fl=") || line.starts_with("ob=") {
                return if events { Sniff::Certain } else { Sniff::No };
            }
            if !header && !line.trim().is_empty() && !line.starts_with('#') {
                return Sniff::No;
            }
        }
        Sniff::No
    }
    fn read(&self, input: &mut dyn BufRead, import: &mut Import<'_>) -> Result<(), ImportError> {
        let mut reader = Reader::default();
        let mut lines = Lines::new(input);
        while lines.next(import)? {
            reader.line(&lines.text, lines.number, import);
        }
        reader.finish(import)
    }
}

/// Names by their number in the file.
type Names = BTreeMap<u64, String>;

#[derive(Default)]
struct Reader {
    events: Vec<String>,
    positions: usize,
    /// Whether the first position is an instruction address.
    with_address: bool,
    objects: Names,
    files: Names,
    functions: Names,
    object: String,
    file: String,
    called_object: Option<String>,
    called_file: Option<String>,
    /// The function whose costs follow: its name, and its row in the graph.
    function: Option<(String, usize)>,
    called: Option<usize>,
    /// A `calls=` line was read; the next line has the inclusive cost.
    call: bool,
    /// A jump was read; the next line only says where from.
    jump: bool,
    last: [u64; 2],
    graph: Graph,
    rows: BTreeMap<(String, String, String), usize>,
    command: String,
    stated: Option<Vec<i64>>,
    summaries: Vec<i64>,
}

/// `(7) name`, `(7)` or `name`.
fn name(text: &str, names: &mut Names, line: u64, import: &mut Import<'_>) -> String {
    let text = text.trim();
    let numbered = text.strip_prefix('(').and_then(|rest| rest.split_once(')'));
    let Some((number, rest)) = numbered.and_then(|(number, rest)| Some((number.parse::<u64>().ok()?, rest.trim()))) else {
        return text.to_string();
    };
    if !rest.is_empty() {
        // Suffixes of recursion levels stand outside of the compressed name.
        names.insert(number, rest.to_string());
        return rest.to_string();
    }
    names.get(&number).cloned().unwrap_or_else(|| {
        import.report(NO_NAME, At::Line(line), text);
        format!("({number})")
    })
}

fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

impl Reader {
    fn line(&mut self, text: &str, at: u64, import: &mut Import<'_>) {
        let text = text.trim();
        let Some(first) = text.bytes().next() else { return };
        if matches!(first, b'+' | b'-' | b'*' | b'0'..=b'9') {
            self.costs(text, at, import);
            return;
        }
        if first == b'#' {
            return;
        }
        if let Some((key, value)) = text.split_once('=')
            && self.specification(key, value, at, import)
        {
            return;
        }
        match text.split_once(':') {
            Some((key, value)) if key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b' ') => self.header(key, value.trim()),
            _ => {
                import.ledger.records_in += 1;
                import.report(BAD_LINE, At::Line(at), text);
            }
        }
    }

    fn header(&mut self, key: &str, value: &str) {
        let costs = || value.split_whitespace().map_while(|v| v.parse().ok()).collect::<Vec<i64>>();
        match key {
            "events" => {
                let events: Vec<String> = value.split_whitespace().take(MAX_EVENTS).map(str::to_string).collect();
                if self.events.is_empty() {
                    self.events = events;
                }
            }
            "positions" => {
                let words: Vec<&str> = value.split_whitespace().collect();
                self.positions = words.len().clamp(1, 2);
                self.with_address = words.first() == Some(&"instr");
                self.last = [0; 2];
            }
            "cmd" => self.command = value.to_string(),
            // Each part of a file has a summary; the totals at the end are those of the file.
            "summary" => {
                for (at, cost) in costs().into_iter().enumerate().take(MAX_EVENTS) {
                    if self.summaries.len() <= at {
                        self.summaries.push(0);
                    }
                    self.summaries[at] = self.summaries[at].saturating_add(cost);
                }
            }
            "totals" => self.stated = Some(costs()),
            "part" => self.last = [0; 2],
            _ => {}
        }
    }

    fn specification(&mut self, key: &str, value: &str, at: u64, import: &mut Import<'_>) -> bool {
        match key {
            "ob" => self.object = name(value, &mut self.objects, at, import),
            "fl" | "fi" | "fe" => self.file = name(value, &mut self.files, at, import),
            "fn" => {
                let function = name(value, &mut self.functions, at, import);
                let row = self.row(&function, self.object.clone(), self.file.clone());
                self.function = Some((function, row));
                self.called = None;
            }
            "cob" => self.called_object = Some(name(value, &mut self.objects, at, import)),
            "cfi" | "cfl" => self.called_file = Some(name(value, &mut self.files, at, import)),
            "cfn" => {
                let function = name(value, &mut self.functions, at, import);
                let object = self.called_object.take().unwrap_or_else(|| self.object.clone());
                let file = self.called_file.take().unwrap_or_else(|| self.file.clone());
                self.called = Some(self.row(&function, object, file));
            }
            "calls" => {
                self.call = true;
                self.jump = false;
            }
            "jump" | "jcnd" => self.jump = true,
            "jfi" => _ = name(value, &mut self.files, at, import),
            "jfn" => _ = name(value, &mut self.functions, at, import),
            _ => return false,
        }
        true
    }

    fn row(&mut self, function: &str, object: String, file: String) -> usize {
        let key = (function.to_string(), file, object);
        if let Some(row) = self.rows.get(&key) {
            return *row;
        }
        let row = self.graph.functions.len();
        self.graph.functions.push(Function::new(&key.0, &key.1, &key.2));
        self.rows.insert(key, row);
        row
    }

    /// A line of positions and costs. `None` where a position cannot be read.
    fn position(&mut self, word: &str, which: usize) -> Option<u64> {
        let last = self.last[which];
        let new = match word.as_bytes().first()? {
            b'*' if word.len() == 1 => last,
            b'+' => last.checked_add(number(&word[1..])?)?,
            b'-' => last.checked_sub(number(&word[1..])?)?,
            _ => number(word)?,
        };
        self.last[which] = new;
        Some(new)
    }

    fn costs(&mut self, text: &str, at: u64, import: &mut Import<'_>) {
        let mut words = text.split_whitespace();
        let mut place = [0; 2];
        let mut good = true;
        for (which, place) in place.iter_mut().enumerate().take(self.positions.max(1)) {
            match words.next().and_then(|word| self.position(word, which)) {
                Some(new) => *place = new,
                None => good = false,
            }
        }
        if std::mem::take(&mut self.jump) && good {
            return;
        }
        import.ledger.records_in += 1;
        let mut costs = Vec::with_capacity(self.events.len());
        for word in words {
            match word.parse::<i64>() {
                Ok(cost) if cost >= 0 && costs.len() < self.events.len() => costs.push(cost),
                _ => good = false,
            }
        }
        let call = std::mem::take(&mut self.call);
        let called = self.called.take();
        let Some((_, row)) = self.function.as_ref().filter(|_| good) else {
            import.report(BAD_LINE, At::Line(at), text);
            return;
        };
        let (address, line) = match (self.with_address, self.positions) {
            (true, 2) => (Some(place[0]), place[1]),
            (true, _) => (Some(place[0]), 0),
            _ => (None, place[0]),
        };
        let line = u32::try_from(line).unwrap_or(0);
        if call {
            let Some(called) = called else {
                import.report(BAD_LINE, At::Line(at), text);
                return;
            };
            self.graph.call(*row, called, line, &costs);
        } else {
            let file = self.file.as_str();
            self.graph.cost(*row, file, line, address, &costs);
        }
        import.ledger.records_kept += 1;
    }

    fn finish(mut self, import: &mut Import<'_>) -> Result<(), ImportError> {
        if self.events.is_empty() {
            return Err(ImportError::Malformed { format: NAME, reason: "it has no `events:` line, which says what the costs are".into() });
        }
        self.graph.events = self.events.len();
        let types = self.events.iter().map(|event| {
            let (unit, kind) = unit_of(event);
            ValueType { name: event.clone(), unit: unit.into(), kind }
        });
        let mut profile = Profile::new(import.source, "callgrind", types.collect());
        profile.name = self.command.clone();
        let mut sink = Sink::of(profile);
        unfold(&self.graph, &mut sink, import);
        let stated = self.stated.or_else(|| (!self.summaries.is_empty()).then(|| self.summaries.clone()));
        for (at, stated) in stated.into_iter().flatten().enumerate().take(self.events.len()) {
            let sum = sink.profile.total(at);
            if sum != stated {
                import.report(TOTALS, At::File, &format!("{}: {sum} in lines, {stated} stated", self.events[at]));
            }
        }
        if sink.profile.samples.is_empty() {
            return Err(ImportError::Malformed { format: NAME, reason: "no line of it has a cost".into() });
        }
        sink.finish(import);
        Ok(())
    }
}

/// Callgrind counts events; with `--collect-systime` also time, and xdebug writes time and memory.
fn unit_of(event: &str) -> (&'static str, ValueKind) {
    let lower = event.to_ascii_lowercase();
    match lower.as_str() {
        "systime" => ("milliseconds", ValueKind::WallTime),
        "time_(10ns)" => ("10ns", ValueKind::WallTime),
        "time_(µs)" => ("microseconds", ValueKind::WallTime),
        "memory_(bytes)" | "memory" => ("bytes", ValueKind::Other),
        _ => ("events", ValueKind::Events),
    }
}
