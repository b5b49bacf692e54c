//! Numbers at the ends of their range, which damaged files hold: nothing panics, rules run, and the account adds up. Each case
//! was found by opening mutated files.

use crate::corpus::open_bytes;
use hotspan::engine::Engine;

fn open(text: &str) -> Engine {
    let engine = open_bytes(text.as_bytes().to_vec());
    let source = &engine.session.sources[0];
    assert_eq!(source.error, None, "{text}");
    for line in &source.ledger.weights {
        assert_eq!(line.weight_in, line.kept.saturating_add(line.dropped), "{text}");
    }
    engine
}

#[test]
fn weights_at_the_end_of_integers() {
    let most = i64::MAX;
    open(&format!("main;a {most}\nmain;b {most}\nmain;c {most}\nmain;regexp.MustCompile {most}\nidle;swapper -{most}\n"));
    open(&format!("--- contention:\ncycles/second=1\nsampling period=1\n{most} 1 @ 0x10 0x20\n{most} {most} @ 0x10 0x30\n"));
    open(&format!("a 1/1 1.000000: {most} cycles: \n\t10 f (x)\n\na 1/1 2.000000: {most} cycles: \n\t10 f (x)\n\n"));
}

#[test]
fn lines_at_the_end_of_integers() {
    let node = |line: i64| {
        format!(
            r#"{{"functionName":"f","url":"a.js","lineNumber":{line},"columnNumber":{line},"hitCount":3,"callUID":1,"children":[],"id":1}}"#
        )
    };
    for line in [i64::MIN, i64::MAX, 0] {
        open(&format!(r#"{{"head":{},"startTime":0,"endTime":1,"samples":[1],"timestamps":[1]}}"#, node(line)));
    }
}

#[test]
fn times_at_the_end_of_integers() {
    let span = |id: &str, parent: &str, start: u64, end: u64| {
        format!(
            r#"{{"traceId":"5b8aa5a2d2c872e8321cf37308d69df2","spanId":"{id}","parentSpanId":"{parent}","name":"GET","kind":3,"startTimeUnixNano":"{start}","endTimeUnixNano":"{end}","attributes":[{{"key":"db.statement","value":{{"stringValue":"SELECT 1"}}}}]}}"#
        )
    };
    let far = i64::MAX as u64;
    let mut spans = vec![span("0000000000000001", "", 1, far)];
    spans.extend((2..40).map(|i| span(&format!("{i:016x}"), "0000000000000001", if i % 2 == 0 { 0 } else { far - i }, far)));
    let engine = open(&format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{}]}}]}}]}}"#, spans.join(",")));
    assert_eq!(engine.session.traces.spans.len(), 39);
    assert!(engine.session.sources[0].ledger.diagnostics.count("spans/implausible-time") > 0);
}

/// A record of what perf lost may claim any number, and so may several.
#[test]
fn counts_of_what_was_lost_add_up_to_the_end() {
    use hotspan::model::diagnostics::{At, DiagnosticCode, Diagnostics, Level};
    let code = DiagnosticCode { code: "x/lost", level: Level::DataLoss, message: "Lost." };
    let mut d = Diagnostics::default();
    d.report_many(code, u64::MAX, At::File, "");
    d.report_many(code, u64::MAX, At::File, "");
    let mut other = Diagnostics::default();
    other.report_many(code, 7, At::File, "");
    d.absorb(other, 0, 0);
    assert_eq!(d.count("x/lost"), u64::MAX);
}
