//! Hosts whose clocks differ: told per pair, aligned on demand, and the times of the file kept.

use crate::corpus::{fixture, open};
use hotspan::analysis::clock_skew::{align, host_pairs};
use hotspan::base::ids::{SpanRow, TraceRow};
use hotspan::base::view::ViewRef;
use hotspan::engine::Engine;
use hotspan::engine::protocol::Request;
use hotspan::engine::protocol::traces::{FLAG_OUTSIDE, FLAG_SHIFTED, SpanDetail, TraceData};
use hotspan::model::trace::{SPAN_OUTSIDE_PARENT, SPAN_SHARED};
use serde_json::Value;
use std::process::Command;

const ID: &str = "5b8efff798038103d269b633813fc60d";
const MS: f64 = 1e6;

fn shown(engine: &mut Engine, align: bool) -> TraceData {
    TraceData::decode(engine.handle(&Request::Trace { id: ID.to_string(), align }).unwrap()).unwrap()
}

#[test]
fn one_offset_per_host_is_told_and_taken_out() {
    let mut engine = fixture("zipkin-json/skew.json");
    let before = (engine.session.traces.spans.start_ns.clone(), hotspan::report::otlp_json::otlp_json(&engine.session));
    let raw = shown(&mut engine, false);
    // The price host's clock is 500 ms behind: three calls say so, the message says nothing.
    let clocks = &raw.head.clocks;
    assert_eq!(clocks.len(), 1);
    assert_eq!((clocks[0].from.as_str(), clocks[0].to.as_str()), ("10.0.0.1", "10.0.0.2"));
    assert_eq!((clocks[0].calls, clocks[0].outside, clocks[0].median_ns, clocks[0].constant), (3, 3, 500.0 * MS, true));
    assert_eq!((raw.head.movable, raw.head.aligned, raw.head.row.duration_ns), (7, false, 1490.0 * MS));
    assert!(raw.flags.iter().all(|f| f & FLAG_SHIFTED == 0));

    let data = shown(&mut engine, true);
    assert_eq!((data.head.movable, data.head.aligned, data.head.row.duration_ns), (7, true, 1000.0 * MS));
    let row = |id: &str| (0..data.ids.len() as u32).find(|r| data.ids.get(*r) == format!("{id:0>16}")).unwrap() as usize;
    for (id, start, moved) in [("1", 0.0, false), ("a1", 200.0, false), ("b1", 210.0, true), ("c1", 220.0, true), ("e", 760.0, true)] {
        assert_eq!((data.start[row(id)], data.flags[row(id)] & FLAG_SHIFTED != 0), (start * MS, moved), "{id}");
    }
    assert!(["b0", "b1", "b2", "c2"].iter().all(|id| data.flags[row(id)] & FLAG_OUTSIDE == 0));
    // Self time of a caller is now what its callee leaves of it.
    assert_eq!(data.self_time[row("a1")], 20.0 * MS);
    assert_eq!(data.critical_time.chunks(2).map(|s| s[1] - s[0]).sum::<f64>(), data.head.critical_ns);

    let detail = |engine: &mut Engine, align| {
        let request = Request::Span { trace: ID.to_string(), span: "00000000000000b1".to_string(), align };
        serde_json::from_str::<SpanDetail>(&engine.handle(&request).unwrap().head).unwrap()
    };
    let (plain, moved) = (detail(&mut engine, false), detail(&mut engine, true));
    assert_eq!((plain.start.clone(), plain.offset_ns), (moved.start, moved.offset_ns), "times in the tables are the file's");
    let says = |d: &[String]| d.iter().any(|r| r.contains("500 ms later"));
    assert!(!says(&plain.remarks) && says(&moved.remarks), "{:?}", moved.remarks);
    assert_eq!(before, (engine.session.traces.spans.start_ns.clone(), hotspan::report::otlp_json::otlp_json(&engine.session)));
}

#[test]
fn the_address_keeps_the_switch() {
    let place = ViewRef { trace: Some(ID.to_string()), clocks: Some("aligned".to_string()), ..ViewRef::default() };
    assert!(place.to_hash().contains("clocks=aligned"), "{}", place.to_hash());
    assert_eq!(ViewRef::parse(&place.to_hash()), place);
}

#[test]
fn zipkins_own_example_is_put_inside() {
    let Some(engine) = open("zipkin/zipkin--skew.json") else { return };
    let (t, strings) = (&engine.session.traces, &engine.session.strings);
    let pairs = host_pairs(t, strings, None);
    let got: Vec<_> = pairs.iter().map(|p| (p.from.name(t, strings), p.to.name(t, strings), p.outside, p.median_ns)).collect();
    // Zipkin Lens: half of what the client was longer than the server is the way there, 74202 + 481 − 8761 µs.
    assert_eq!(got, [("127.0.0.0".to_string(), "192.0.0.0".to_string(), 1, 65_922_000)]);
    let aligned = align(t, strings, TraceRow(0));
    let set = &aligned.set;
    let half = (0..set.spans.len()).find(|i| set.spans.flags[*i] & SPAN_SHARED != 0).unwrap();
    let (client, span) = (set.spans.parent[half], SpanRow::from_index(half));
    assert_eq!(set.spans.start_ns[half] - set.spans.start_ns[client.index()], set.spans.end_ns(client) - set.spans.end_ns(span));
    assert!(!set.spans.has(span, SPAN_OUTSIDE_PARENT) && t.spans.has(aligned.original[half], SPAN_OUTSIDE_PARENT));
    assert!(aligned.shift_ns.iter().filter(|s| **s != 0).count() == 2);
}

fn command(args: &[&str]) -> (Value, String, String) {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/zipkin-json/skew.json");
    let out = Command::new(env!("CARGO_BIN_EXE_hotspan")).args(args).arg(file).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).unwrap();
    (serde_json::from_str(&text).unwrap_or(Value::Null), text, String::from_utf8(out.stderr).unwrap())
}

#[test]
fn the_command_aligns_too() {
    let (plain, ..) = command(&["trace", "--json", "--id", ID]);
    let (moved, ..) = command(&["trace", "--json", "--align-clocks", "--id", ID]);
    let row = |v: &Value, id: &str| v["rows"].as_array().unwrap().iter().find(|r| r["span"] == id).unwrap().clone();
    let (before, after) = (row(&plain, "00000000000000b0"), row(&moved, "00000000000000b0"));
    assert_eq!((before["clock_shift_ns"].as_i64(), after["clock_shift_ns"].as_i64()), (Some(0), Some(500_000_000)));
    assert_eq!(after["start_ns"].as_i64().unwrap() - before["start_ns"].as_i64().unwrap(), 500_000_000);
    assert_eq!((plain["clock_skew"][0]["outside"].as_i64(), plain["clocks_aligned"].as_bool()), (Some(3), Some(false)));
    assert_eq!(moved["trace"]["duration_ns"], 1_000_000_000);
    let (list, ..) = command(&["traces", "--json", "--align-clocks"]);
    assert_eq!(
        (list["traces"][0]["duration_ns"].as_i64(), list["clock_skew"][0]["median_ns"].as_i64()),
        (Some(1_000_000_000), Some(500_000_000))
    );
    let (_, text, _) = command(&["trace", "--align-clocks", "--id", ID]);
    assert_eq!(text.matches("(moved 500 ms later: clocks aligned)").count(), 7, "{text}");
    let (_, text, _) = command(&["traces"]);
    assert!(text.contains("10.0.0.1 → 10.0.0.2: 3 of 3 calls outside, 500 ms behind"), "{text}");
    let (report, _, errors) = command(&["analyze", "--format", "json", "--align-clocks"]);
    assert!(errors.contains("clocks aligned: 7 spans moved"), "{errors}");
    assert!(report.to_string().contains("aligned: 7 spans moved"), "{report}");
}
