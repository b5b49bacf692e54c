//! Small cases drawn by hand after TRACES 1.2–1.6: what a reader makes of each, in one line per span or slice.

use crate::corpus::fixture;
use hotspan::base::ids::SpanRow;
use hotspan::engine::Engine;
use hotspan::model::trace::AttrValue;

fn value(engine: &Engine, value: AttrValue) -> String {
    let s = &engine.session.strings;
    match value {
        AttrValue::Text(t) => format!("{:?}", s.get(t)),
        AttrValue::Int(n) => n.to_string(),
        AttrValue::Double(d) => format!("{d:?}"),
        AttrValue::Bool(b) => b.to_string(),
        AttrValue::Json(t) => s.get(t).to_string(),
    }
}

fn attrs(engine: &Engine, rows: (u32, u32)) -> String {
    let (t, s) = (&engine.session.traces, &engine.session.strings);
    let pairs: Vec<String> = t.attr_rows(rows.0, rows.1).map(|(k, v)| format!("{}={}", s.get(k), value(engine, v))).collect();
    pairs.join(" ")
}

/// One line per span, in table order: trace, id < parent, service: name, kind, begin + length, flags; attributes, events, links.
pub fn spans(engine: &Engine) -> Vec<String> {
    let (t, s) = (&engine.session.traces, &engine.session.strings);
    let id = |id: u64| t.id_text(s, id);
    let line = |i: usize| {
        let span = SpanRow::from_index(i);
        let table = &t.spans;
        let parent = table.parent[i].get().map_or("-".to_string(), |p| t.name(s, p).to_string());
        let mut out = format!(
            "{} {} < {parent}, {}: {} ({}) {}+{} flags {}",
            s.get(table.trace_id[i]),
            id(table.id[i]),
            t.service_name(s, span),
            t.name(s, span),
            t.kind(span).name(),
            table.start_ns[i],
            table.duration_ns[i],
            table.flags[i],
        );
        let own = attrs(engine, (table.attr_start[i], table.attr_len[i]));
        if !own.is_empty() {
            out += &format!("; {own}");
        }
        for e in (table.event_start[i]..table.event_start[i] + table.event_len[i]).map(|e| e as usize) {
            let given = attrs(engine, (t.events.attr_start[e], t.events.attr_len[e]));
            out += &format!("; event {} {} [{given}]", t.events.time_ns[e], s.get(t.events.name[e]));
        }
        for l in (table.link_start[i]..table.link_start[i] + table.link_len[i]).map(|l| l as usize) {
            out += &format!("; link {}/{}", s.get(t.links.trace_id[l]), id(t.links.span_id[l]));
        }
        out
    };
    (0..t.spans.len()).map(line).collect()
}

pub fn counts(engine: &Engine) -> (u64, u64, Vec<(&str, u64)>) {
    let ledger = &engine.session.sources[0].ledger;
    (ledger.records_in, ledger.records_kept, ledger.diagnostics.iter().map(|(code, e)| (code, e.count)).collect())
}

#[test]
fn otlp_of_every_spelling() {
    let engine = fixture("otlp-json/spellings.jsonl");
    // Flag 1 is an error; 512 says that the parent is remote (bits 8 and 9 of OTLP's flags).
    expect_test::expect![[r#"
        5b8efff798038103d269b633813fc60c eee19b7ec3c1b174 < -, shop: root (server) 1544712660000000001+1000000000 flags 1; otel.status_description="no"; event 1544712660500000000 exception [exception.type="E"]
        5b8efff798038103d269b633813fc60c eee19b7ec3c1b175 < root, stock: read (client) 1544712660100000000+100000000 flags 512; i=9007199254740993 b=true d=0.5 a=["x",2] m={"k":"v"} e=""; link 0000000000000001/0000000000000002"#]].assert_eq(&spans(&engine).join("\n"));
    assert_eq!(counts(&engine), (2, 2, vec![("json/broken", 1)]));
}

#[test]
fn almost_json_is_read_and_broken_json_is_counted() {
    let engine = fixture("otlp-json/almost.json");
    expect_test::expect![[r#"
        5b8efff798038103d269b633813fc60c eee19b7ec3c1b174 < -, shop: cut � (unspecified) 1000+2000 flags 0
        5b8efff798038103d269b633813fc60c eee19b7ec3c1b175 < cut �, shop: ratio (unspecified) 1500+1000 flags 0; ratio="" path="C:\\Users""#]].assert_eq(&spans(&engine).join("\n"));
    let (records_in, kept, codes) = counts(&engine);
    assert_eq!((records_in, kept), (3, 2));
    assert!(codes.contains(&("json/mended", 2)), "{codes:?}");
}

#[test]
fn jaeger_references_choose_one_parent() {
    let engine = fixture("jaeger-json/references.json");
    expect_test::expect![[r#"
        000000000000001f 000000000000000a < -, shop: root (server) 1000000+50000 flags 0; span.kind="server" big=9007199254740993 jaeger.warnings=["clock skew"]; link 000000000000002e/000000000000000b
        000000000000001f 000000000000000c < root, shop: later (unspecified) 1010000+5000 flags 17; error=true; event 1012000 retry [event="retry" n=2]
        000000000000001f 000000000000000d < root, shop: both (unspecified) 1020000+5000 flags 0; link 000000000000001f/000000000000000c"#]].assert_eq(&spans(&engine).join("\n"));
    assert_eq!(counts(&engine), (3, 3, vec![]));
}

#[test]
fn zipkin_halves_of_a_shared_span() {
    let engine = fixture("zipkin-json/shared.json");
    expect_test::expect![[r#"
        48485a3953bb6124 48485a3953bb6124 < -, web: get (client) 1000000+100000 flags 0; peer.service="shop" network.peer.address="10.0.0.2" network.peer.port=80; event 1001000 ws []
        48485a3953bb6124 48485a3953bb6124 < get, shop: get (server) 1010000+80000 flags 33; error=""
        0000000000000002 0000000000000003 < -, web: lost (unspecified) 5000000+0 flags 130"#]].assert_eq(&spans(&engine).join("\n"));
}

#[test]
fn chrome_events_of_every_oddity() {
    let engine = fixture("chrome-trace/odd.json");
    let p = &engine.session.profiles[0];
    let (slices, session) = (p.slices.as_ref().unwrap(), &engine.session);
    let line = |i: usize| {
        let thread = &p.threads[slices.thread[i].index()];
        let names: Vec<&str> = session
            .symbols
            .stacks
            .leaf_to_root(slices.stack[i])
            .map(|f| session.symbols.func_name(&session.strings, session.symbols.frames.func[f.index()]))
            .collect();
        let own = p.samples.values[0][i];
        format!(
            "{}/{} {:?} {} at {}+{} self {own}",
            thread.pid,
            thread.tid,
            thread.name,
            names.join(" in "),
            slices.start_ns[i],
            slices.duration_ns[i]
        )
    };
    expect_test::expect![[r#"
        -1/-1 "copies" copy at 100500+2002 self 2002
        1/1 "" a at 0+30000 self 10000
        1/1 "" b in a at 10000+20000 self 20000
        1/1 "" left at 40000+20000 self 20000
        1/1 "" right at 50000+20000 self 20000
        1/1 "" open at 80000+22502 self 22502"#]]
    .assert_eq(&(0..slices.start_ns.len()).map(line).collect::<Vec<_>>().join("\n"));
    let timeline = engine.session.sources[0].timeline.unwrap();
    assert_eq!((timeline.slices, timeline.counters, timeline.flows, timeline.instants), (6, 1, 2, 1));
    expect_test::expect![[r#"(15, 13, [("chrome-trace/bad-event", 1), ("chrome-trace/begin-without-end", 1), ("chrome-trace/end-without-begin", 1), ("chrome-trace/mismatched-end", 1), ("chrome-trace/overlap", 1), ("chrome-trace/unclosed-array", 1), ("json/mended", 2)])"#]].assert_eq(&format!("{:?}", counts(&engine)));
}
