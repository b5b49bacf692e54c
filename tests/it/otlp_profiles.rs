//! OTLP profiles written by the OpenTelemetry project's own messages (see the fixtures' `make.py`).

use crate::corpus::{fixture, open_bytes};
use crate::profiles::survives_damage;
use hotspan::engine::Engine;
use hotspan::model::diagnostics::Level;
use hotspan::model::symbols::{FRAME_INLINED, FUNC_KERNEL, FUNC_UNSYMBOLIZED};

/// Every sample of every profile, as text.
fn drawn(engine: &Engine) -> String {
    let (session, mut out) = (&engine.session, Vec::new());
    let text = |id: hotspan::base::ids::StringId| if id.is_none() { "" } else { session.strings.get(id) };
    for p in &session.profiles {
        let v = &p.value_types[0];
        out.push(format!(
            "{} {} {} {:?} from {} for {} every {} {}",
            p.name, v.name, v.unit, v.kind, p.start_ns, p.duration_ns, p.period, p.period_unit
        ));
        for i in 0..p.samples.len() {
            let symbols = &session.symbols;
            let frame = |f: hotspan::base::ids::FrameId| {
                let func = symbols.frames.func[f.index()];
                let flags = symbols.funcs.flags[func.index()];
                let mut name = format!("{}:{}", symbols.func_name(&session.strings, func), symbols.frames.line[f.index()]);
                for (set, mark) in [
                    (symbols.frames.flags[f.index()] & FRAME_INLINED != 0, " inlined"),
                    (flags & FUNC_KERNEL != 0, " kernel"),
                    (flags & FUNC_UNSYMBOLIZED != 0, " unnamed"),
                ] {
                    name.push_str(if set { mark } else { "" });
                }
                name
            };
            let stack: Vec<String> = symbols.stacks.leaf_to_root(p.samples.stack[i]).map(frame).collect();
            let time = p.samples.time_ns.get(i).map_or(String::new(), |t| format!(" at +{}", t - p.start_ns));
            let thread = p.samples.thread.get(i).map(|t| &p.threads[t.index()]);
            let thread = thread.map_or(String::new(), |t| format!(" {}/{} {} {}", t.pid, t.tid, t.process, t.name));
            let labels = p.samples.labels.get(i).map_or(&[][..], |set| p.labels.set(*set));
            let labels: Vec<String> = labels
                .iter()
                .map(|l| {
                    format!(
                        "{}={}{}{}",
                        text(l.key),
                        text(l.text),
                        if l.text.is_none() { l.number.to_string() } else { String::new() },
                        text(l.unit)
                    )
                })
                .collect();
            out.push(
                format!("  {} [{}]{time}{thread} {}", p.samples.values[0][i], stack.join(" < "), labels.join(" ")).trim_end().to_string(),
            );
        }
    }
    out.join("\n")
}

#[test]
fn everything_that_a_message_says() {
    let engine = fixture("otlp-profiles/shop.pb");
    expect_test::expect![[r#"
        shop cpu nanoseconds CpuTime from 1700000000000000000 for 1000000000 every 10000000 nanoseconds
          10000000 [price:31 inlined < handle:21 < main:10] at +1000000 7/42 shopd worker http.route=/pay trace_id=000102030405060708090a0b0c0d0e0f span_id=08090a0b0c0d0e0f
          20000000 [price:31 inlined < handle:21 < main:10] at +5000000 7/42 shopd worker http.route=/pay trace_id=000102030405060708090a0b0c0d0e0f span_id=08090a0b0c0d0e0f
          30000000 [shop::Tax::add:41 < price:31 inlined < handle:21 < main:10] at +3000000 7/42 shopd worker
          40000000 [vfs_read:0 kernel < main:10] at +4000000 7/-1 shopd
        shop allocated_space bytes AllocBytes from 1700000000000000000 for 1000000000 every 0 
          4096 [[shop]:0 unnamed < main:10] 7/-1 shopd  request.size=512By
          100 [price:31 inlined < handle:21 < main:10] 7/-1 shopd
        shop events count Other from 1700000000000000000 for 1000000000 every 0 
          1 [price:31 inlined < handle:21 < main:10] at +1 7/-1 shopd
          1 [price:31 inlined < handle:21 < main:10] at +2 7/-1 shopd
          1 [price:31 inlined < handle:21 < main:10] at +3 7/-1 shopd
        tax cpu nanoseconds CpuTime from 1700000000000000000 for 0 every 0 
          5 [shop::Tax::add:41 < price:31 inlined < handle:21 < main:10]"#]].assert_eq(&drawn(&engine));
    let symbols = &engine.session.symbols;
    let shop = symbols.mappings.file.iter().position(|f| engine.session.strings.get(*f) == "/usr/bin/shop").unwrap();
    assert_eq!(engine.session.strings.get(symbols.mappings.build_id[shop]), "abcdef");
}

#[test]
fn json_and_protobuf_are_one() {
    let once = drawn(&fixture("otlp-profiles/shop.pb"));
    assert_eq!(drawn(&fixture("otlp-profiles/shop.json")), once);
    // Two messages are two times the samples of the same profiles.
    let twice = drawn(&fixture("otlp-profiles/stream.pb"));
    assert_eq!(drawn(&fixture("otlp-profiles/lines.jsonl")), twice);
    let count = |text: &str, start: &str| text.lines().filter(|l| l.starts_with(start)).count();
    assert_eq!((count(&once, "  "), count(&twice, "  ")), (10, 20));
    assert_eq!((count(&once, "shop "), count(&twice, "shop ")), (3, 3));
}

#[test]
fn older_drafts_are_named() {
    // Written by opentelemetry-proto 1.35.0 of the Python package.
    for name in ["older-draft.pb", "older-draft.json"] {
        let engine = fixture(&format!("otlp-profiles/{name}"));
        assert!(engine.session.sources[0].error.as_deref().is_some_and(|e| e.contains("older draft")), "{name}");
    }
    // The first draft had an id and two times before its profile.
    let container = [&b"\x0a\x10"[..], &[7; 16], b"\x11\x01\0\0\0\0\0\0\0\x19\x02\0\0\0\0\0\0\0"].concat();
    let wrap = |field: u8, bytes: &[u8]| [&[field << 3 | 2, bytes.len() as u8][..], bytes].concat();
    let first = open_bytes(wrap(1, &wrap(2, &wrap(2, &container))));
    assert!(first.session.sources[0].error.as_deref().is_some_and(|e| e.contains("older draft")), "{:?}", first.session.sources);
}

#[test]
fn what_does_not_fit_is_counted() {
    let json = r#"{"resourceProfiles":[{"scopeProfiles":[{"profiles":[{"sampleType":{"typeStrindex":1},"samples":[
        {"stackIndex":1,"values":[1,2],"timestampsUnixNano":["5"]},{"stackIndex":9,"values":["3"]},{"stackIndex":1,"values":[4]},7]}]}]}],
        "dictionary":{"stringTable":["","cpu"],"stackTable":[{},{"locationIndices":[5]}]}}"#;
    let engine = open_bytes(json.as_bytes().to_vec());
    let source = &engine.session.sources[0];
    assert_eq!((source.ledger.records_in, source.ledger.records_kept), (4, 2));
    assert_eq!(engine.session.profiles[0].total(0), 7);
    let count = |code: &str| source.ledger.diagnostics.count(&format!("otlp-profiles/{code}"));
    assert_eq!((count("uneven"), count("missing-stack"), count("bad-record")), (1, 2, 1));
    let weights = &source.ledger.weights[0];
    assert_eq!((weights.weight_in, weights.kept, weights.dropped), (10, 7, 3));
    // A file that is cut before its dictionary keeps its numbers and says what it lacks.
    let cut = open_bytes(json.as_bytes()[..json.len() - 90].to_vec());
    let ledger = &cut.session.sources[0].ledger;
    assert!(ledger.diagnostics.worst() == Some(Level::DataLoss) && ledger.records_kept == 2, "{ledger:?}");
}

#[test]
fn damage_is_survived() {
    for name in ["shop.pb", "stream.pb", "shop.json", "lines.jsonl"] {
        survives_damage(&format!("otlp-profiles/{name}"), 300);
    }
}
