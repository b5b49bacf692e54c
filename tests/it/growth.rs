//! Work grows with the input and not with its square: steps (never time) are counted at n, 2n and 4n, from the file's bytes to
//! the first views; and the shapes on which viewers die are opened.

use hotspan::base::work::steps;
use hotspan::engine::Engine;
use hotspan::engine::protocol::flame::{FlameData, FlameMode};
use hotspan::engine::protocol::traces::TraceQuery;
use hotspan::engine::protocol::{Request, SampleQuery};
use hotspan::paint::flame::{Boxes, Rows, Viewport, draw, search};
use std::fmt::Write;

fn open(text: String) -> Engine {
    let mut engine = Engine::default();
    engine.open("f", text.len() as u64, Box::new(std::io::Cursor::new(text)), &mut |_| true);
    engine.finish();
    assert_eq!(engine.session.sources[0].error, None);
    engine
}

fn flame(engine: &mut Engine, mode: FlameMode) -> FlameData {
    let query = SampleQuery::default();
    FlameData::decode(engine.handle(&Request::Flame { query, mode }).unwrap()).unwrap()
}

/// Opens a profile and looks at it as the page does.
fn look_at_profile(text: String) -> Engine {
    let mut engine = open(text);
    flame(&mut engine, FlameMode::Inverted);
    let data = flame(&mut engine, FlameMode::Merged);
    let boxes = Boxes {
        parent: &data.parent,
        depth: &data.depth,
        name: &data.name,
        start: &data.start,
        total: &data.total,
        names: &data.names,
        name_category: &data.name_category,
        tint: &[],
    };
    let rows = Rows::new(&data.depth);
    let matches = search(&boxes, "f1");
    let view = Viewport {
        width: 1200.0,
        height: 800.0,
        row_height: 20.0,
        scroll: 0.0,
        window: (0.0, data.head.extent),
        char_width: 6.4,
        upward: false,
        hovered: None,
        selected: None,
        matches: matches.as_ref(),
    };
    draw(&boxes, &rows, &view);
    let ends = data.subtree_ends();
    data.children(&ends, None);
    engine
}

/// Opens traces and looks at them as the page does.
fn look_at_traces(text: String) -> Engine {
    let mut engine = open(text);
    engine.handle(&Request::TraceList { query: TraceQuery { limit: 200, descending: true, ..TraceQuery::default() } }).unwrap();
    engine.handle(&Request::Services).unwrap();
    let id = engine.session.strings.get(engine.session.traces.traces.id[0]).to_string();
    engine.handle(&Request::Trace { id, align: true }).unwrap();
    engine
}

/// Steps at n, 2n and 4n. A sort adds its logarithm, so twice the input may take up to 2.4 times the steps.
fn grows(what: &str, n: usize, run: impl Fn(usize)) {
    let mut seen = Vec::new();
    for size in [n, 2 * n, 4 * n] {
        let before = steps();
        run(size);
        seen.push(steps() - before);
    }
    println!("growth: {what}: {seen:?} steps at {n}, {}, {}", 2 * n, 4 * n);
    if cfg!(debug_assertions) {
        assert!(seen[0] >= n as u64, "{what}: too few steps are counted to tell anything: {seen:?}");
        for pair in seen.windows(2) {
            assert!(pair[1] as f64 <= pair[0] as f64 * 2.4, "{what} does not grow in proportion: {seen:?}");
        }
    }
}

fn distinct_stacks(n: usize) -> String {
    // A binary tree of calls: every stack differs, depth is the logarithm.
    (0..n).fold(String::new(), |mut out, i| {
        let bits = (0..14).map(|b| format!("f{}", (i >> b & 1) + 2 * b)).collect::<Vec<_>>().join(";");
        writeln!(out, "{bits};g{i} 1").unwrap();
        out
    })
}

fn siblings(n: usize) -> String {
    (0..n).fold(String::new(), |mut out, i| {
        writeln!(out, "main;f{i} {}", i % 7 + 1).unwrap();
        out
    })
}

fn deep(n: usize) -> String {
    format!("{} 5\nmain 1\nmain;f2 1\n", (0..n).map(|i| format!("f{}", i % 3)).collect::<Vec<_>>().join(";"))
}

/// A Zipkin file: (id, parent, service, name, start, duration) per span.
fn zipkin(spans: impl Iterator<Item = (usize, usize, usize, usize, usize, usize)>) -> String {
    let mut out = String::from("[");
    for (id, parent, service, name, start, duration) in spans {
        if out.len() > 1 {
            out.push(',');
        }
        let above = if parent == 0 { String::new() } else { format!("\"parentId\":\"{parent:x}\",") };
        write!(
            out,
            "{{\"traceId\":\"abc\",{above}\"id\":\"{id:x}\",\"kind\":\"CLIENT\",\"name\":\"op{name}\",\"timestamp\":{},\"duration\":{duration},\"localEndpoint\":{{\"serviceName\":\"s{service}\"}}}}",
            1_700_000_000_000_000 + start
        )
        .unwrap();
    }
    out.push(']');
    out
}

/// `n` equal calls below one root, one after the other.
fn flat(n: usize) -> String {
    let root = std::iter::once((1, 0, 0, 0, 0, 10 * n + 10));
    zipkin(root.chain((0..n).map(|i| (i + 2, 1, 1, 1, 10 * i, 9))))
}

/// Each span below the one before it.
fn chain(n: usize) -> String {
    zipkin((0..n).map(|i| (i + 1, i, i % 5, i % 3, i, 2 * (n - i) + 1)))
}

/// All at the same time, all with the same id.
fn same_id(n: usize) -> String {
    let root = std::iter::once((1, 0, 0, 0, 0, 100));
    zipkin(root.chain((0..n).map(|i| (7, 1, 1, i, 5, 10))))
}

fn many_services(n: usize) -> String {
    let root = std::iter::once((1, 0, 0, 0, 0, 10 * n + 10));
    zipkin(root.chain((0..n).map(|i| (i + 2, 1, i + 1, 1, 10 * i, 9))))
}

fn chrome(n: usize, overlap: usize) -> String {
    let events =
        (0..n).map(|i| format!("{{\"ph\":\"X\",\"name\":\"e{}\",\"pid\":1,\"tid\":1,\"ts\":{},\"dur\":{}}}", i % 9, i * 10, 9 + overlap));
    format!("[{}]", events.collect::<Vec<_>>().join(",\n"))
}

fn perf(n: usize) -> String {
    (0..n).fold(String::new(), |mut out, i| {
        write!(
            out,
            "app 1/1 [000] {}.000000: 1 cycles:\n\t{:x} leaf{}+0x1 (/bin/app)\n\t2 mid{}+0x1 (/bin/app)\n\t1 main+0x1 (/bin/app)\n\n",
            i + 1,
            i + 16,
            i % 50,
            i % 7
        )
        .unwrap();
        out
    })
}

#[test]
fn profiles_grow_in_proportion() {
    grows("distinct stacks", 2_000, |n| drop(look_at_profile(distinct_stacks(n))));
    grows("children of one parent", 3_000, |n| drop(look_at_profile(siblings(n))));
    grows("depth of one stack", 5_000, |n| drop(look_at_profile(deep(n))));
    grows("perf samples", 2_000, |n| drop(look_at_profile(perf(n))));
    grows("nested slices", 3_000, |n| drop(look_at_profile(chrome(n, 0))));
    grows("overlapping slices", 1_000, |n| drop(look_at_profile(chrome(n, 95))));
}

#[test]
fn traces_grow_in_proportion() {
    grows("spans of one flat trace", 2_000, |n| drop(look_at_traces(flat(n))));
    grows("spans of one chain", 2_000, |n| drop(look_at_traces(chain(n))));
    grows("spans with one id", 2_000, |n| drop(look_at_traces(same_id(n))));
    grows("services", 2_000, |n| drop(look_at_traces(many_services(n))));
}

/// Debug code is some thirty times slower than what users run: the shapes are full size in release builds only.
const SHARE: usize = if cfg!(debug_assertions) { 4 } else { 1 };

#[test]
fn shapes_on_which_viewers_die() {
    let engine = look_at_traces(flat(1_000_000 / SHARE));
    assert_eq!(engine.session.traces.spans.len(), 1_000_000 / SHARE + 1);
    let engine = look_at_traces(many_services(50_000 / SHARE));
    assert_eq!(engine.session.traces.services.len(), 50_000 / SHARE + 1);
    // Depth is what recursion dies of, in any build.
    let mut engine = look_at_profile(deep(100_000));
    assert_eq!(flame(&mut engine, FlameMode::Merged).head.rows, 100_000);
    let mut engine = look_at_profile(siblings(200_000 / SHARE));
    assert_eq!(flame(&mut engine, FlameMode::Merged).head.nodes as usize, 200_000 / SHARE + 1);
    let engine = look_at_profile(distinct_stacks(1_000_000 / SHARE));
    assert_eq!(engine.session.profiles[0].samples.len(), 1_000_000 / SHARE);
    look_at_traces(chain(100_000 / SHARE));
}
