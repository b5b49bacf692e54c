//! Goroutines as Go prints them: `/debug/pprof/goroutine?debug=2`, `runtime.Stack` and what a panic or SIGQUIT leaves on
//! standard error (`runtime/traceback.go`). One sample per goroutine; its state and how long it waits are labels.

use super::stack_sink::{Lines, Sink, Spot, stack_of};
use super::{Format, Import, ImportError, Prefix, Sniff};
use crate::base::ids::{FrameId, StringId};
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use crate::model::profile::{Label, ValueKind};
use std::io::BufRead;

const NO_STACK: DiagnosticCode = DiagnosticCode {
    code: "go-dump/no-stack",
    level: Level::Notice,
    message: "Goroutines without frames are kept as samples without a stack; they ran on another thread, or the dump was cut.",
};
const ELIDED: DiagnosticCode = DiagnosticCode {
    code: "go-dump/frames-elided",
    level: Level::DataLoss,
    message: "Go left frames out of a deep stack; what stands on both sides is joined.",
};

/// The format.
pub struct GoDump;

impl Format for GoDump {
    fn id(&self) -> &'static str {
        "go-dump"
    }
    fn name(&self) -> &'static str {
        "Go goroutine dump"
    }
    fn extensions(&self) -> &'static [&'static str] {
        &["txt", "log"]
    }
    fn hint(&self) -> &'static str {
        "`curl http://HOST/debug/pprof/goroutine?debug=2`, `kill -QUIT PID`, or the output of a panic."
    }
    fn sniff(&self, prefix: &Prefix<'_>) -> Sniff {
        // Behind the header of a goroutine stands a function, and then its place between tabs.
        let mut lines = prefix.text().lines();
        let mut before = 0;
        while let Some(line) = lines.next() {
            if header(line).is_some() {
                let (function, place) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
                let framed = function.ends_with(')') && place.starts_with('\t') || function.starts_with('\t');
                return if framed || before == 0 { Sniff::Certain } else { Sniff::No };
            }
            before += usize::from(!line.trim().is_empty());
            if before > 200 {
                break;
            }
        }
        Sniff::No
    }
    fn read(&self, input: &mut dyn BufRead, import: &mut Import<'_>) -> Result<(), ImportError> {
        let mut lines = Lines::new(input);
        let mut sink = Sink::new(import, "go-dump", &[("goroutines", "count", ValueKind::Other)]);
        let mut goroutine: Option<Goroutine> = None;
        while lines.next(import)? {
            let text = lines.text.as_str();
            if let Some((state, minutes)) = header(text) {
                if let Some(done) = goroutine.take() {
                    done.store(&mut sink, import);
                }
                import.ledger.records_in += 1;
                let (state, line) = (state.to_string(), lines.number);
                goroutine = Some(Goroutine { state, minutes, line, ..Goroutine::default() });
            } else if text.trim().is_empty() {
                if let Some(done) = goroutine.take() {
                    done.store(&mut sink, import);
                }
            } else if let Some(goroutine) = &mut goroutine {
                goroutine.line(text, lines.number, import);
            }
        }
        if let Some(done) = goroutine.take() {
            done.store(&mut sink, import);
        }
        sink.finish(import);
        Ok(())
    }
}

/// `goroutine 41 [chan receive, 5 minutes, locked to thread]:`, since Go 1.23 also with `gp=0x… m=0 mp=0x…` in front of the
/// state: the state and the minutes.
fn header(line: &str) -> Option<(&str, i64)> {
    let rest = line.strip_prefix("goroutine ")?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let inner = rest[digits..].trim_end().strip_suffix("]:")?.split_once(" [").filter(|_| digits > 0)?.1;
    let mut parts = inner.split(", ");
    let state = parts.next()?;
    let minutes = parts.find_map(|part| part.strip_suffix(" minutes")?.parse().ok()).unwrap_or(0);
    Some((state, minutes))
}

#[derive(Default)]
struct Goroutine {
    state: String,
    minutes: i64,
    line: u64,
    frames: Vec<FrameId>,
    /// A function whose place is on the next line.
    function: Option<(String, bool)>,
    created: String,
    in_created: bool,
}

impl Goroutine {
    fn line(&mut self, text: &str, number: u64, import: &mut Import<'_>) {
        if let Some(place) = text.strip_prefix('\t') {
            if std::mem::take(&mut self.in_created) {
                return;
            }
            if let Some((function, inlined)) = self.function.take() {
                // `/src/main.go:12 +0x1d` (and `fp=… sp=… pc=…` with GOTRACEBACK=system).
                let place = place.split(" +0x").next().unwrap_or(place).split(" fp=").next().unwrap_or(place);
                let (file, line) = place.rsplit_once(':').and_then(|(f, l)| Some((f, l.trim().parse().ok()?))).unwrap_or((place, 0));
                self.frames.push(Spot { file, line, inlined, ..Spot::named(&function) }.intern(import.session));
            }
            return;
        }
        self.flush(import);
        if let Some(by) = text.strip_prefix("created by ") {
            self.created = by.split(" in goroutine ").next().unwrap_or(by).to_string();
            self.in_created = true;
        } else if text.starts_with("...") && text.contains("frames elided") {
            import.report(ELIDED, At::Line(number), text);
        } else if text.ends_with(')') {
            // Arguments hold no parentheses of their own.
            let name = text.rfind('(').map_or(text, |at| &text[..at]);
            self.function = Some((name.to_string(), text.ends_with("(...)")));
        }
    }

    /// A function without a place.
    fn flush(&mut self, import: &mut Import<'_>) {
        if let Some((function, inlined)) = self.function.take() {
            self.frames.push(Spot { inlined, ..Spot::named(&function) }.intern(import.session));
        }
    }

    fn store(mut self, sink: &mut Sink, import: &mut Import<'_>) {
        self.flush(import);
        if self.frames.is_empty() {
            import.report(NO_STACK, At::Line(self.line), &self.state);
        }
        let session = &mut *import.session;
        let stack = stack_of(session, &self.frames);
        sink.sample(stack, &[1]);
        let none = StringId::NONE;
        let mut text =
            |key: &str, text: &str| Label { key: session.strings.intern(key), text: session.strings.intern(text), number: 0, unit: none };
        let mut labels = vec![text("state", &self.state)];
        if !self.created.is_empty() {
            labels.push(text("created by", &self.created));
        }
        if self.minutes > 0 {
            let (key, unit) = (session.strings.intern("wait"), session.strings.intern("minutes"));
            labels.push(Label { key, text: none, number: self.minutes, unit });
        }
        sink.labels(&labels);
        import.ledger.records_kept += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_all_versions() {
        assert_eq!(header("goroutine 41 [running]:"), Some(("running", 0)));
        assert_eq!(header("goroutine 1 [chan receive, 5 minutes, locked to thread]:"), Some(("chan receive", 5)));
        assert_eq!(header("goroutine 7 gp=0xc000002380 m=nil [select (no cases)]:"), Some(("select (no cases)", 0)));
        for other in ["goroutine profile: total 5", "goroutine x [running]:", "goroutine 1 [running", "[goroutine 1 [running]:"] {
            assert_eq!(header(other), None, "{other}");
        }
    }
}
