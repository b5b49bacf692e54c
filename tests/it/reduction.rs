//! Where there is no room: times are given up first, then attributes that no rule looks at, and only then reading ends. Sums stay
//! exact, the account stays whole, and what is gone is said where it is missed.

use crate::corpus;
use crate::parts::{files, long_script};
use hotspan::base::ids::{StackId, ThreadId};
use hotspan::base::memory::Budget;
use hotspan::engine::Engine;
use hotspan::engine::protocol::Request;
use hotspan::formats::parts::{HEAD_BYTES, Joiner, Partial, plan, read_part};
use hotspan::formats::{Limits, input};
use hotspan::model::Session;
use hotspan::model::profile::Profile;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::Read;
use std::path::Path;

fn budget(tables: u64) -> Limits {
    Limits { memory: Budget { tables, limit: u64::MAX, taken: || 0 }, ..Limits::default() }
}

fn whole(bytes: &[u8], limits: Limits) -> Session {
    let mut session = Session::default();
    let reader: Box<dyn Read> = Box::new(std::io::Cursor::new(bytes.to_vec()));
    input::open(&mut session, "f", bytes.len() as u64, reader, limits, &mut |_| true);
    session
}

fn in_parts(bytes: &[u8], limits: Limits) -> Option<Session> {
    let size = bytes.len() as u64;
    let plan = plan(&bytes[..bytes.len().min(HEAD_BYTES)], size, size.div_ceil(9))?;
    let mut session = Session::default();
    let mut joiner = Joiner::new(&mut session, &plan, "f", size)?;
    joiner.limits = limits;
    for part in 0..plan.cuts.len() {
        let mut exact = None;
        loop {
            let open = |at: u64| Ok(Box::new(std::io::Cursor::new(bytes[at as usize..].to_vec())) as Box<dyn Read>);
            let read = read_part(&plan, plan.range(part), exact, open, &mut |_| true).unwrap();
            exact = joiner.add(Partial::unpack(&plan, &read.pack()).unwrap(), &mut session);
            if exact.is_none() {
                break;
            }
        }
    }
    joiner.finish(&mut session);
    Some(session)
}

/// Every sum by names of the path, thread and value type.
fn sums(session: &Session) -> BTreeMap<(String, String, String), i64> {
    let path = |stack: StackId| {
        let mut names: Vec<&str> = (session.symbols.stacks.leaf_to_root(stack))
            .map(|f| session.symbols.func_name(&session.strings, session.symbols.frames.func[f.index()]))
            .collect();
        names.reverse();
        names.join(";")
    };
    let mut out = BTreeMap::new();
    for p in &session.profiles {
        for row in 0..p.samples.len() {
            let thread =
                p.samples.thread.get(row).copied().and_then(ThreadId::get).map_or(String::new(), |t| format!("{:?}", p.threads[t.index()]));
            let path = path(p.samples.stack[row]);
            for (column, value) in p.value_types.iter().enumerate() {
                *out.entry((path.clone(), thread.clone(), format!("{}/{}", p.name, value.name))).or_default() +=
                    p.samples.values[column][row];
            }
        }
    }
    out.retain(|_, sum| *sum != 0);
    out
}

fn folded_lines() -> String {
    (0..60_000).fold(String::new(), |mut out, i| {
        let _ = writeln!(out, "main;work{};leaf{} {}", i % 7, i % 100, i % 5 + 1);
        out
    })
}

fn chrome() -> String {
    let mut out = String::from("[");
    for i in 0..30_000 {
        let _ = writeln!(
            out,
            "{{\"name\":\"n{}\",\"ph\":\"X\",\"ts\":{},\"dur\":{},\"pid\":1,\"tid\":{}}},",
            i % 40,
            i * 10,
            3 + i % 30,
            i % 3
        );
    }
    out.push_str("{}]");
    out
}

/// Samples of two stacks and two values each, as pprof (profile.proto) writes them, names at the end.
fn pprof() -> Vec<u8> {
    fn message(number: u8, body: &[u8], out: &mut Vec<u8>) {
        out.push(number << 3 | 2);
        let mut len = body.len();
        while len >= 0x80 {
            out.push(len as u8 | 0x80);
            len >>= 7;
        }
        out.push(len as u8);
        out.extend_from_slice(body);
    }
    let mut out = Vec::new();
    message(1, &[8, 1, 16, 2], &mut out);
    message(1, &[8, 3, 16, 4], &mut out);
    for i in 0..400_000_u32 {
        let mut sample = Vec::new();
        message(1, if i % 3 == 0 { &[1, 2] } else { &[2] }, &mut sample);
        message(2, &[1, (i % 100) as u8], &mut sample);
        message(2, &sample, &mut out);
    }
    for id in 1..=2 {
        message(4, &[8, id, 34, 2, 8, id], &mut out);
        message(5, &[8, id, 16, 4 + id], &mut out);
    }
    for text in ["", "samples", "count", "cpu", "nanoseconds", "leaf", "main"] {
        message(6, text.as_bytes(), &mut out);
    }
    out
}

/// Profiles of core formats, larger than the distance between two looks at the budget.
fn profiles() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("perf-script", long_script().into_bytes()),
        ("folded", folded_lines().into_bytes()),
        ("chrome-trace", chrome().into_bytes()),
        ("pprof", pprof()),
    ]
}

/// Spans whose attributes are looked at by rules, or by nothing.
fn spans(format: &str) -> Vec<u8> {
    let mut out = String::new();
    let text = |i: usize| format!("a long text that nothing but a person looks at, number {i}");
    for i in 0..16_000_usize {
        let (trace, id, start) = (i / 10 + 1, i + 1, 1_700_000_000_000_000_u64 + i as u64 * 1000);
        let comma = if i == 0 { "" } else { ",\n" };
        let parent = if i % 10 == 0 { 0 } else { i / 10 * 10 + 1 };
        match format {
            "otlp-json" => {
                let parent = if parent == 0 { String::new() } else { format!("\"parentSpanId\":\"{parent:016x}\",") };
                let _ = write!(
                    out,
                    "{comma}{{\"traceId\":\"{trace:032x}\",\"spanId\":\"{id:016x}\",{parent}\"name\":\"op{}\",\"kind\":3,\"startTimeUnixNano\":\"{start}000\",\"endTimeUnixNano\":\"{}000\",\"attributes\":[{{\"key\":\"db.statement\",\"value\":{{\"stringValue\":\"SELECT {}\"}}}},{{\"key\":\"app.note\",\"value\":{{\"stringValue\":\"{}\"}}}}]}}",
                    i % 5,
                    start + 500,
                    i % 3,
                    text(i)
                );
            }
            "jaeger-json" => {
                let parent = if parent == 0 {
                    String::new()
                } else {
                    format!("{{\"refType\":\"CHILD_OF\",\"traceID\":\"{trace:x}\",\"spanID\":\"{parent:x}\"}}")
                };
                let _ = write!(
                    out,
                    "{}{{\"traceID\":\"{trace:x}\",\"spanID\":\"{id:x}\",\"operationName\":\"op{}\",\"references\":[{parent}],\"startTime\":{start},\"duration\":500,\"tags\":[{{\"key\":\"db.statement\",\"type\":\"string\",\"value\":\"SELECT {}\"}},{{\"key\":\"app.note\",\"type\":\"string\",\"value\":\"{}\"}}],\"logs\":[],\"processID\":\"p1\"}}{}",
                    if i % 10 > 0 {
                        ","
                    } else if i == 0 {
                        "{\"traceID\":\"x\",\"spans\":["
                    } else {
                        ",{\"traceID\":\"x\",\"spans\":["
                    },
                    i % 5,
                    i % 3,
                    text(i),
                    if i % 10 == 9 { "],\"processes\":{\"p1\":{\"serviceName\":\"shop\",\"tags\":[]}}}\n" } else { "" }
                );
            }
            _ => {
                let parent = if parent == 0 { String::new() } else { format!("\"parentId\":\"{parent:016x}\",") };
                let _ = write!(
                    out,
                    "{comma}{{\"traceId\":\"{trace:032x}\",\"id\":\"{id:016x}\",{parent}\"name\":\"op{}\",\"kind\":\"CLIENT\",\"timestamp\":{start},\"duration\":500,\"localEndpoint\":{{\"serviceName\":\"shop\"}},\"tags\":{{\"db.statement\":\"SELECT {}\",\"app.note\":\"{}\"}}}}",
                    i % 5,
                    i % 3,
                    text(i)
                );
            }
        }
    }
    match format {
        "otlp-json" => format!("{{\"resourceSpans\":[{{\"resource\":{{\"attributes\":[{{\"key\":\"service.name\",\"value\":{{\"stringValue\":\"shop\"}}}}]}},\"scopeSpans\":[{{\"spans\":[{out}]}}]}}]}}"),
        "jaeger-json" => format!("{{\"data\":[{out}]}}"),
        _ => format!("[{out}]"),
    }
    .into_bytes()
}

fn account_is_whole(session: &Session, what: &str) {
    let l = &session.sources[0].ledger;
    assert!(l.records_kept <= l.records_in, "{what}");
    for w in &l.weights {
        assert_eq!(w.weight_in, w.kept + w.dropped, "{what}: {w:?}");
    }
}

#[test]
fn times_are_given_up_before_anything_is_left_unread_and_every_sum_stays() {
    let mut reduced = 0;
    for (format, bytes) in profiles() {
        let full = whole(&bytes, budget(u64::MAX));
        assert_eq!(full.sources[0].format, format, "{:?}", full.sources[0].error);
        let all = sums(&full);
        let timed = full.profiles[0].has_times();
        // What nesting needs must fit in any case.
        let shares: &[u64] = if format == "chrome-trace" { &[20, 16] } else { &[20, 10, 5] };
        for &share in shares {
            let limits = budget(full.bytes() * share / 20);
            for session in [Some(whole(&bytes, limits)), in_parts(&bytes, limits)].into_iter().flatten() {
                let what = format!("{format} within {share}/20");
                let (source, ledger) = (&session.sources[0], &session.sources[0].ledger);
                account_is_whole(&session, &what);
                let times = ledger.diagnostics.count("memory/times-given-up");
                if share == 20 && times == 0 {
                    continue;
                }
                assert_eq!(source.error, None, "{what}");
                assert_eq!(ledger.records_in, full.sources[0].ledger.records_in, "{what}");
                assert_eq!(ledger.records_kept, full.sources[0].ledger.records_kept, "{what}");
                let p: &Profile = &session.profiles[0];
                assert!(p.samples.len() < full.profiles[0].samples.len(), "{what}: nothing was folded");
                assert!(!p.has_times() && p.duration_ns == full.profiles[0].duration_ns, "{what}: {} ns", p.duration_ns);
                // The weight by time between samples went with the times; every other sum is what it was.
                let names: Vec<String> = p.value_types.iter().map(|v| format!("{}/{}", p.name, v.name)).collect();
                let expected: BTreeMap<_, _> = all.clone().into_iter().filter(|((_, _, value), _)| names.contains(value)).collect();
                assert_eq!(sums(&session), expected, "{what}");
                assert_eq!(times > 0, timed, "{what}");
                let code = if timed { "memory/times-given-up" } else { "memory/samples-added-up" };
                assert!(ledger.diagnostics.count(code) > 0, "{what}: {:?}", ledger.diagnostics);
                reduced += 1;
            }
        }
    }
    assert!(reduced >= 14, "hardly anything was reduced: {reduced}");
}

#[test]
fn attributes_that_no_rule_looks_at_go_before_spans_do() {
    for format in ["otlp-json", "jaeger-json", "zipkin-json"] {
        let bytes = spans(format);
        let full = whole(&bytes, budget(u64::MAX));
        assert_eq!((full.sources[0].format.as_str(), full.traces.spans.len()), (format, 16_000), "{:?}", full.sources[0].error);
        let limits = budget(full.bytes() * 14 / 20);
        for session in [Some(whole(&bytes, limits)), in_parts(&bytes, limits)].into_iter().flatten() {
            let ledger = &session.sources[0].ledger;
            account_is_whole(&session, format);
            assert_eq!((session.sources[0].error.as_ref(), session.traces.spans.len()), (None, 16_000), "{format}");
            let given_up = ledger.diagnostics.count("memory/attributes-given-up");
            let line = ledger.weights.iter().find(|w| w.value == "span attributes").unwrap();
            assert_eq!((given_up as i64, line.weight_in), (line.dropped, 32_000), "{format}");
            assert!(given_up > 4_000 && line.kept >= 16_000, "{format}: {line:?}");
            // What rules look at is there, span for span, and belongs to the right one.
            let statement = session.strings.find("db.statement").unwrap();
            for row in (0..16_000).step_by(997) {
                let value = session.traces.attr(hotspan::base::ids::SpanRow::from_index(row), statement);
                let same = full.traces.attr(hotspan::base::ids::SpanRow::from_index(row), full.strings.find("db.statement").unwrap());
                let text = |s: &Session, v| match v {
                    Some(hotspan::model::trace::AttrValue::Text(id)) => s.strings.get(id).to_string(),
                    other => panic!("{other:?}"),
                };
                assert_eq!(text(&session, value), text(&full, same), "{format}, span {row}");
            }
        }
    }
}

#[test]
fn only_when_that_is_not_enough_the_rest_is_left_unread() {
    for (format, bytes) in profiles().into_iter().chain(["otlp-json", "zipkin-json"].map(|f| (f, spans(f)))) {
        let limits = budget(2_000);
        let parts = in_parts(&bytes, limits);
        for (session, cut) in [(Some(whole(&bytes, limits)), false), (parts, true)] {
            let Some(session) = session else { continue };
            let source = &session.sources[0];
            account_is_whole(&session, format);
            if let Some(partial) = &source.partial {
                assert!(source.error.as_ref().is_some_and(|e| e.starts_with("reading stopped after")), "{format}: {:?}", source.error);
                assert!(partial.read < partial.of && partial.of == bytes.len() as u64, "{format}: {partial:?}");
                assert!(source.ledger.records_kept > 0, "{format}: what was read is kept");
            } else {
                // Folded to a handful of rows it fits even there; or its only part ends with the file.
                assert!(session.bytes() < 10_000 || source.error.is_some() || cut, "{format}: {} bytes", session.bytes());
            }
        }
    }
}

#[test]
fn verdicts_and_views_say_what_they_could_not_look_at() {
    let bytes = long_script().into_bytes();
    let full = whole(&bytes, budget(u64::MAX)).bytes();
    let mut engine = Engine { limits: budget(full / 2), ..Engine::default() };
    engine.open("f", bytes.len() as u64, Box::new(std::io::Cursor::new(bytes)), &mut |_| true);
    engine.finish();
    assert!(engine.report.usable.contains("the times of 20,000 samples given up to make room"), "{}", engine.report.usable);
    let verdict = |rule: &str| engine.report.verdicts.iter().find(|v| v.rule == rule).unwrap();
    assert_eq!(verdict("recording-phases").reason, "because the times of samples were given up to make room");
    let loops = verdict("hot-loop");
    assert!(format!("{}{}", loops.over, loops.reason).contains("the order of time was given up"), "{loops:?}");
    let chart = Request::Flame { query: Default::default(), mode: hotspan::engine::protocol::flame::FlameMode::Chart };
    let failure = engine.handle(&chart).unwrap_err();
    assert!(failure.message.contains("given up to make room"), "{}", failure.message);
}

/// The list of keys that are kept is right when no finding changes without the others.
#[test]
fn no_finding_needs_an_attribute_that_is_given_up() {
    let mut paths = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures"), &mut paths);
    match corpus::folder() {
        Some(folder) => files(&folder, &mut paths),
        None => println!("SKIPPED: the corpus is absent; only our own fixtures were judged without attributes"),
    }
    let (mut compared, mut gone) = (0, 0);
    for path in paths {
        let bytes = std::fs::read(&path).unwrap();
        if bytes.len() > 1_000_000 {
            continue;
        }
        let mut engines = [false, true].map(|give_up| {
            let mut engine = Engine { session: whole(&bytes, budget(u64::MAX)), ..Engine::default() };
            let count = if give_up { engine.session.give_up_attributes() } else { 0 };
            (engine, count)
        });
        if engines[1].1 == 0 {
            continue;
        }
        gone += engines[1].1;
        let [before, after] = engines.each_mut().map(|(engine, _)| {
            engine.finish();
            // Attributes of any name are what this rule compares; it says when some were given up.
            engine.report.findings.retain(|f| f.rule != "tail-latency");
            let text = |f: &hotspan::findings::finding::Finding| serde_json::to_string(f).unwrap();
            engine.report.findings.iter().map(text).collect::<Vec<_>>()
        });
        assert_eq!(before, after, "{}", path.display());
        compared += before.len();
    }
    println!("{gone} attributes given up, {compared} findings compared");
    assert!(gone > 1_000 && compared > 50, "{gone} attributes, {compared} findings");
}
