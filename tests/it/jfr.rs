//! Java Flight Recorder against the JDK's own `jfr print`, and against damage.

use crate::corpus::{Table, fixture, open, open_bytes};
use crate::profiles::random;
use hotspan::engine::Engine;
use hotspan::model::diagnostics::Level;
use hotspan::model::profile::{Label, Profile};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

fn facts(name: &str) -> Value {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/jfr/{name}.expected.json"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn numbers(fact: &Value) -> BTreeMap<String, i64> {
    serde_json::from_value(fact.clone()).unwrap()
}

/// Weights per value of a label.
fn by_label(engine: &Engine, p: &Profile, key: &str, weights: &[i64]) -> BTreeMap<String, i64> {
    let strings = &engine.session.strings;
    let mut out = BTreeMap::new();
    for (set, weight) in p.samples.labels.iter().zip(weights) {
        for Label { key: own, text, .. } in p.labels.set(*set) {
            if strings.get(*own) == key {
                *out.entry(strings.get(*text).to_string()).or_default() += weight;
            }
        }
    }
    out
}

fn compare(file: &str, engine: &Engine, facts: &Value, table: &mut Table) {
    table.file();
    let (session, source) = (&engine.session, &engine.session.sources[0]);
    table.check(file, "format", (source.format.as_str(), source.error.clone()), ("jfr", None));
    let (symbols, strings) = (&session.symbols, &session.strings);
    table.check(file, "kinds", session.profiles.len(), facts.as_object().unwrap().len());
    let (mut truncated, mut records) = (0, 0);
    for (kind, fact) in facts.as_object().unwrap() {
        let Some(p) = session.profiles.iter().find(|p| p.name == *kind) else {
            table.check(file, kind, "absent", "present");
            continue;
        };
        let say = |what: &str| format!("{kind} {what}");
        let count = fact["count"].as_u64().unwrap();
        records += count;
        truncated += fact["truncated"].as_u64().unwrap();
        table.check(file, &say("count"), p.samples.len() as u64, count);
        let last = p.value_types.len() - 1;
        if fact["weight"].as_i64() != Some(0) {
            table.check(file, &say("weight"), p.total(last), fact["weight"].as_i64().unwrap());
        }
        if let Some(causes) = fact.get("causes") {
            let slices = p.slices.as_ref().unwrap();
            let mut own = BTreeMap::new();
            for (stack, length) in slices.stack.iter().zip(&slices.duration_ns) {
                let func = symbols.frames.func[symbols.stacks.frame[stack.index()].index()];
                *own.entry(symbols.func_name(strings, func).to_string()).or_default() += length;
            }
            table.check(file, &say("causes"), own, numbers(causes));
            continue;
        }
        let mut threads = BTreeMap::new();
        for thread in &p.samples.thread {
            *threads.entry(p.threads[thread.index()].name.clone()).or_default() += 1;
        }
        threads.remove("");
        table.check(file, &say("threads"), threads, numbers(&fact["threads"]));
        let (mut leaves, mut stacks, mut frames) = (BTreeMap::new(), BTreeSet::new(), 0);
        for stack in p.samples.stack.iter().filter(|s| !s.is_none()) {
            let leaf = symbols.stacks.frame[stack.index()].index();
            let name = symbols.func_name(strings, symbols.frames.func[leaf]);
            *leaves.entry(format!("{name}:{}", symbols.frames.line[leaf])).or_default() += 1;
            frames += symbols.stacks.leaf_to_root(*stack).count() as u64;
            let line = |f: hotspan::base::ids::FrameId| {
                (symbols.func_name(strings, symbols.frames.func[f.index()]), symbols.frames.line[f.index()])
            };
            stacks.insert(symbols.stacks.leaf_to_root(*stack).map(line).collect::<Vec<_>>());
        }
        table.check(file, &say("leaves"), leaves, numbers(&fact["leaves"]));
        table.check(file, &say("stacks"), stacks.len() as u64, fact["stacks"].as_u64().unwrap());
        table.check(file, &say("frames"), frames, fact["frames"].as_u64().unwrap());
        table.check(file, &say("classes"), by_label(engine, p, "class", &p.samples.values[last]), numbers(&fact["classes"]));
        table.check(file, &say("states"), by_label(engine, p, "state", &p.samples.values[0]), numbers(&fact["states"]));
        let times = &p.samples.time_ns;
        table.check(file, &say("times"), times.iter().all(|t| *t >= p.start_ns && *t <= p.start_ns + p.duration_ns), true);
    }
    table.check(file, "truncated", source.ledger.diagnostics.count("jfr/truncated-stack"), truncated);
    table.check(file, "records", (source.ledger.records_in, source.ledger.records_kept), (records, records));
}

#[test]
fn recordings_equal_what_the_jdk_prints() {
    let mut table = Table::default();
    for name in ["shop", "chunks"] {
        let engine = fixture(&format!("jfr/{name}.jfr.gz"));
        compare(name, &engine, &facts(name), &mut table);
        // The settings say 10 ms.
        assert_eq!((engine.session.profiles[0].period, engine.session.profiles[0].period_unit.as_str()), (10_000_000, "nanoseconds"));
        assert!(engine.session.profiles[0].threads.iter().all(|t| t.pid > 0 && t.tid > 0));
    }
    if let Some(engine) = open("other/jfr-parser--cortex-dev-01__kafka-0__cpu__0.jfr.gz") {
        compare("other/jfr-parser", &engine, &facts("jfr-parser-cortex"), &mut table);
    }
    table.finish("jfr", &[]);
}

#[test]
fn damage_is_survived() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/jfr/shop.jfr.gz");
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&std::fs::read(path).unwrap()[..]), &mut bytes).unwrap();
    let (mut state, mut kept) = (3, 0);
    for round in 0..160 {
        let mut copy = bytes.clone();
        if round % 4 == 0 {
            copy.truncate(random(&mut state) as usize % bytes.len());
        } else {
            for _ in 0..1 + random(&mut state) % 30 {
                let at = random(&mut state) as usize % copy.len();
                copy[at] = random(&mut state) as u8;
            }
        }
        let engine = open_bytes(copy);
        let source = &engine.session.sources[0];
        assert!(source.ledger.records_kept <= source.ledger.records_in, "round {round}");
        let samples: usize = engine.session.profiles.iter().map(|p| p.samples.len()).sum();
        assert_eq!(samples as u64, source.ledger.records_kept, "round {round}");
        let lost = source.ledger.records_kept < source.ledger.records_in || source.error.is_some();
        assert!(!lost || source.error.is_some() || source.ledger.diagnostics.worst() >= Some(Level::DataLoss), "round {round}");
        kept += samples;
    }
    // Most rounds still show events: damage is tested behind the header too.
    assert!(kept > 100_000, "{kept}");
}

/// A chunk header of version 2 with compressed numbers.
fn header(size: u64) -> Vec<u8> {
    let words: [u64; 7] = [size, 0, 0, 1_700_000_000_000_000_000, 1_000_000_000, 0, 1_000_000_000];
    let mut out = b"FLR\0\0\x02\0\x01".to_vec();
    out.extend(words.iter().flat_map(|w| w.to_be_bytes()));
    out.extend_from_slice(&[0, 0, 0, 1]);
    out
}

#[test]
fn what_is_no_recording_says_so() {
    let error = |bytes: Vec<u8>| open_bytes(bytes).session.sources[0].error.clone().unwrap_or_default();
    assert!(error(b"FLR\0\0\0\0\x09".iter().copied().chain([0; 60]).collect()).contains("Oracle's JDK 7 or 8"));
    assert!(error(header(8 << 30)).contains("maxchunksize"));
    // No metadata: its bytes are counted as lost.
    let engine = open_bytes([header(75), vec![7, 99, 0, 0, 0, 0, 0]].concat());
    assert_eq!(engine.session.sources[0].ledger.diagnostics.count("jfr/no-metadata"), 1);
    // Types that contain each other have no finite record.
    let texts = ["root", "metadata", "class", "id", "name", "field", "5", "jdk.ExecutionSample", "class", "a"];
    let mut metadata = vec![0, 0, 0, 0, texts.len() as u8];
    for text in texts {
        metadata.extend([3, text.len() as u8]);
        metadata.extend(text.as_bytes());
    }
    // root { metadata { class id=5 name=jdk.ExecutionSample { field name=a class=5 } } }
    metadata.extend([0, 0, 1, 1, 0, 1, 2, 2, 3, 6, 4, 7, 1, 5, 2, 4, 9, 8, 6, 0]);
    metadata.insert(0, metadata.len() as u8 + 1);
    let event = [3, 5, 0];
    let engine = open_bytes([header(68 + metadata.len() as u64 + 3), metadata, event.to_vec()].concat());
    let source = &engine.session.sources[0];
    assert!(source.error.as_deref().is_some_and(|e| e.contains("without samples")), "{source:?}");
}
