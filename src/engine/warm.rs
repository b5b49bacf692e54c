//! Warming up: a browser runs each function of a wasm module in quickly made, slow code until it was called often enough, and
//! a loop that is entered once stays in it to its end. A page that waits for its first file reads small drawn ones instead.
//! What it optimises this way serves every worker, for they share one module.

use super::Engine;
use super::parts::{Joiner, Partial, plan, read_part};
use super::protocol::flame::FlameMode;
use super::protocol::traces::TraceQuery;
use super::protocol::{Request, SampleQuery};
use std::fmt::Write;
use std::io::{Cursor, Read};

/// How many times each kind of file is read. Chromium optimises a small function after some thousand rounds of its loops.
const ROUNDS: usize = 24;
/// Records of a drawn file: a step must be short, for a file may be dropped in the meantime.
const RECORDS: usize = 60;

/// Steps of the whole warming up: the pattern compiler, then every kind of file in turn.
pub const STEPS: usize = 1 + DRAWN.len() * ROUNDS;

const DRAWN: [fn() -> Vec<u8>; 6] = [perf, folded, chrome, pprof, otlp, jaeger];

/// Does one step; `false` when it was the last one.
pub fn step(number: usize) -> bool {
    match number.checked_sub(1) {
        None => crate::analysis::categories::warm(),
        Some(n) if number < STEPS => look(DRAWN[n % DRAWN.len()]()),
        Some(_) => {}
    }
    number + 1 < STEPS
}

/// Reads a file in two parts, if it can be cut, and asks for the first views.
fn look(bytes: Vec<u8>) {
    let mut engine = Engine::default();
    let size = bytes.len() as u64;
    let plan = plan(&bytes, size, size / 2);
    let joiner = plan.as_ref().and_then(|plan| Joiner::new(&mut engine.session, plan, "", size));
    if let (Some(plan), Some(mut joiner)) = (plan, joiner) {
        for part in 0..plan.cuts.len() {
            let open = |at: u64| Ok(Box::new(Cursor::new(bytes.get(at as usize..).unwrap_or_default().to_vec())) as Box<dyn Read>);
            let read = read_part(&plan, plan.range(part), None, open, &mut |_| true).ok();
            if let Some(read) = read.and_then(|part| Partial::unpack(&plan, &part.pack())) {
                joiner.add(read, &mut engine.session);
            }
        }
        joiner.finish(&mut engine.session);
    } else {
        engine.open("", size, Box::new(Cursor::new(bytes)), &mut |_| true);
    }
    engine.finish();
    let query = SampleQuery::default();
    let flame = |mode| Request::Flame { query: query.clone(), mode };
    for request in
        [Request::Summary, flame(FlameMode::Merged), flame(FlameMode::Chart), Request::TraceList { query: TraceQuery::default() }]
    {
        // A profile has no traces and traces have no flame graph: that is an answer too.
        let _ = engine.handle(&request);
    }
}

/// A number that looks drawn by lot and is the same every time.
fn lot(i: usize, below: usize) -> usize {
    (i.wrapping_mul(2_654_435_761) >> 7) % below
}

/// Names of functions, root first: some begin alike, as the stacks of a program do.
fn path(i: usize) -> impl Iterator<Item = usize> {
    (0..4 + i % 9).map(move |depth| lot(i >> (depth % 3), 1 + depth * 3) + depth * 100)
}

fn text(write: impl FnOnce(&mut String) -> std::fmt::Result) -> Vec<u8> {
    let mut out = String::new();
    // Writing to a text cannot fail.
    let _ = write(&mut out);
    out.into_bytes()
}

fn perf() -> Vec<u8> {
    text(|out| {
        for i in 0..RECORDS {
            writeln!(out, "warm {}/{} [00{}] {}.{:06}:     250000 cycles: ", 7, 7 + i % 3, i % 4, 10 + i, i)?;
            for f in path(i).collect::<Vec<_>>().iter().rev() {
                writeln!(out, "\t    7f00{f:08x} warm::module::function_{f}(int)+0x{:x} (/usr/lib/libwarm.so.{})", lot(i, 200), f % 5)?;
            }
            writeln!(out)?;
        }
        Ok(())
    })
}

fn folded() -> Vec<u8> {
    text(|out| {
        for i in 0..RECORDS * 4 {
            let names: Vec<String> = path(i).map(|f| format!("warm::function_{f}")).collect();
            writeln!(out, "{} {}", names.join(";"), 1 + i)?;
        }
        Ok(())
    })
}

fn chrome() -> Vec<u8> {
    text(|out| {
        write!(out, "{{\"traceEvents\":[{{\"ph\":\"M\",\"name\":\"process_name\",\"pid\":1,\"tid\":1,\"args\":{{\"name\":\"warm\"}}}}")?;
        for i in 0..RECORDS {
            let (tid, ts) = (1 + i % 3, i * 100);
            let who = format!("\"cat\":\"warm,up\",\"pid\":1,\"tid\":{tid}");
            write!(out, ",\n{{\"ph\":\"X\",{who},\"name\":\"Task{}\",\"ts\":{ts}.25,\"dur\":90,\"args\":{{\"a\":\"b{i}\"}}}}", i % 9)?;
            write!(out, ",\n{{\"ph\":\"B\",{who},\"name\":\"Inner{}\",\"ts\":{}}}", i % 5, ts + 10)?;
            write!(out, ",\n{{\"ph\":\"E\",{who},\"ts\":{}}}", ts + 60)?;
        }
        write!(out, "]}}")
    })
}

/// A trace of each three spans: a call, its other side, and a query.
fn otlp() -> Vec<u8> {
    text(|out| {
        write!(out, "{{\"resourceSpans\":[")?;
        for i in 0..RECORDS {
            let service = ["front", "back", "data"][i % 3];
            let attribute = |key: &str, value: &str| format!("{{\"key\":\"{key}\",\"value\":{{\"stringValue\":\"{value}\"}}}}");
            let resource = attribute("service.name", service);
            let statement = attribute("db.statement", &format!("SELECT a FROM t WHERE id = {i}"));
            let parent = if i % 3 == 0 { String::new() } else { format!("\"parentSpanId\":\"{:016x}\",", i) };
            write!(
                out,
                "{}{{\"resource\":{{\"attributes\":[{resource}]}},\"scopeSpans\":[{{\"scope\":{{\"name\":\"warm\"}},\"spans\":[{{\"traceId\":\"{:032x}\",\"spanId\":\"{:016x}\",{parent}\"name\":\"GET /a/{}\",\"kind\":{},\"startTimeUnixNano\":\"{}\",\"endTimeUnixNano\":\"{}\",\"attributes\":[{statement},{}],\"events\":[],\"status\":{{}}}}]}}]}}",
                if i == 0 { "" } else { ",\n" },
                1 + i / 3,
                1 + i,
                i % 5,
                2 + i % 2,
                1_700_000_000_000_000_000_u64 + i as u64 * 1_000,
                1_700_000_000_000_500_000_u64 + i as u64 * 900,
                attribute("http.request.method", "GET"),
            )?;
        }
        write!(out, "]}}")
    })
}

fn jaeger() -> Vec<u8> {
    text(|out| {
        write!(out, "{{\"data\":[")?;
        for i in 0..RECORDS / 3 {
            write!(out, "{}{{\"traceID\":\"{:016x}\",\"spans\":[", if i == 0 { "" } else { ",\n" }, i + 1)?;
            for s in 0..3 {
                let reference = format!("{{\"refType\":\"CHILD_OF\",\"traceID\":\"{:016x}\",\"spanID\":\"{:016x}\"}}", i + 1, i * 3 + s);
                write!(
                    out,
                    "{}{{\"traceID\":\"{:016x}\",\"spanID\":\"{:016x}\",\"operationName\":\"GET /{s}\",\"references\":[{}],\"startTime\":{},\"duration\":{},\"tags\":[{{\"key\":\"span.kind\",\"type\":\"string\",\"value\":\"server\"}}],\"logs\":[],\"processID\":\"p{s}\"}}",
                    if s == 0 { "" } else { "," },
                    i + 1,
                    i * 3 + s + 1,
                    if s == 0 { "" } else { &reference },
                    1_700_000_000_000_000_u64 + (i * 10 + s) as u64,
                    900 - s * 100,
                )?;
            }
            write!(out, "],\"processes\":{{")?;
            for s in 0..3 {
                write!(out, "{}\"p{s}\":{{\"serviceName\":\"warm{s}\",\"tags\":[]}}", if s == 0 { "" } else { "," })?;
            }
            write!(out, "}}}}")?;
        }
        write!(out, "]}}")
    })
}

/// A profile of protobuf messages by hand: `perftools.profiles.Profile` with two value types.
fn pprof() -> Vec<u8> {
    fn varint(out: &mut Vec<u8>, mut n: usize) {
        while n >= 0x80 {
            out.push(n as u8 | 0x80);
            n >>= 7;
        }
        out.push(n as u8);
    }
    fn number(out: &mut Vec<u8>, field: usize, n: usize) {
        varint(out, field << 3);
        varint(out, n);
    }
    fn message(out: &mut Vec<u8>, field: usize, bytes: &[u8]) {
        varint(out, field << 3 | 2);
        varint(out, bytes.len());
        out.extend_from_slice(bytes);
    }
    fn numbers(pairs: &[(usize, usize)]) -> Vec<u8> {
        let mut out = Vec::new();
        pairs.iter().for_each(|(field, n)| number(&mut out, *field, *n));
        out
    }
    let mut out = Vec::new();
    message(&mut out, 1, &numbers(&[(1, 1), (2, 2)]));
    message(&mut out, 1, &numbers(&[(1, 3), (2, 4)]));
    let mut most = 0;
    for i in 0..RECORDS * 2 {
        let (mut locations, mut values, mut sample) = (Vec::new(), Vec::new(), Vec::new());
        for f in path(i).collect::<Vec<_>>().iter().rev() {
            most = most.max(*f);
            varint(&mut locations, f + 1);
        }
        varint(&mut values, 1);
        varint(&mut values, 10_000_000);
        message(&mut sample, 1, &locations);
        message(&mut sample, 2, &values);
        message(&mut out, 2, &sample);
    }
    for id in 1..=most + 1 {
        let mut location = numbers(&[(1, id), (3, 4096 + id)]);
        message(&mut location, 4, &numbers(&[(1, id), (2, id % 90)]));
        message(&mut out, 4, &location);
        message(&mut out, 5, &numbers(&[(1, id), (2, 4 + id)]));
    }
    for name in ["", "samples", "count", "cpu", "nanoseconds"] {
        message(&mut out, 6, name.as_bytes());
    }
    for id in 1..=most + 1 {
        message(&mut out, 6, format!("warm.function{id}").as_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::{Limits, input};
    use crate::model::Session;

    #[test]
    fn every_drawn_file_is_read_without_loss_by_its_format() {
        let formats = ["perf-script", "folded", "chrome-trace", "pprof", "otlp-json", "jaeger-json"];
        for (drawn, format) in DRAWN.iter().zip(formats) {
            let bytes = drawn();
            let mut session = Session::default();
            input::open(&mut session, "f", bytes.len() as u64, Box::new(Cursor::new(bytes)), Limits::default(), &mut |_| true);
            let source = &session.sources[0];
            assert_eq!((source.format.as_str(), source.error.as_deref()), (format, None));
            assert!(source.ledger.records_in as usize >= RECORDS / 3 && source.ledger.records_kept == source.ledger.records_in, "{format}");
            assert!(session.profiles.iter().map(|p| p.samples.len()).sum::<usize>() + session.traces.spans.len() >= RECORDS, "{format}");
        }
    }

    #[test]
    fn warming_up_ends() {
        assert!((0..DRAWN.len()).all(step));
        assert!(!step(STEPS - 1) && !step(STEPS));
    }
}
