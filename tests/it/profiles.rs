//! Profiles against the facts of independent tools, and against damage.

use crate::corpus::{Table, expected, fixture, open, open_bytes};
use hotspan::base::ids::StackId;
use hotspan::engine::Engine;
use hotspan::model::diagnostics::Level;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Flat and cumulative weight by function name, counted from the tables in the plainest way.
pub fn flat_and_cum(engine: &Engine, profile: usize, value: usize) -> (BTreeMap<String, i64>, BTreeMap<String, i64>) {
    let session = &engine.session;
    let p = &session.profiles[profile];
    let name = |frame: hotspan::base::ids::FrameId| {
        session.symbols.func_name(&session.strings, session.symbols.frames.func[frame.index()]).to_string()
    };
    let (mut flat, mut cum) = (BTreeMap::new(), BTreeMap::new());
    for (stack, weight) in p.samples.stack.iter().zip(&p.samples.values[value]).filter(|(_, w)| **w != 0) {
        let names: Vec<String> = session.symbols.stacks.leaf_to_root(*stack).map(name).collect();
        if let Some(leaf) = names.first() {
            *flat.entry(leaf.clone()).or_default() += weight;
        }
        for n in names.into_iter().collect::<BTreeSet<_>>() {
            *cum.entry(n).or_default() += weight;
        }
    }
    (flat, cum)
}

fn top(map: &BTreeMap<String, i64>, list: &Value) -> Vec<(String, i64, i64)> {
    let list = list.as_array().into_iter().flatten();
    list.map(|pair| (pair[0].as_str().unwrap().to_string(), pair[1].as_i64().unwrap()))
        // Python names a frame without symbol by its address; we and pprof name it by its binary.
        .filter(|(name, _)| !name.starts_with("0x"))
        .map(|(name, weight)| (name.clone(), map.get(&name).copied().unwrap_or(0), weight))
        .collect()
}

#[test]
fn pprof_equals_the_reference() {
    let mut table = Table::default();
    for (file, expect, facts) in expected(&["pprof"]) {
        let engine = open(&file).unwrap();
        table.file();
        let source = &engine.session.sources[0];
        table.check(&file, "format", source.format.as_str(), "pprof");
        assert_eq!(source.error, None, "{file}");
        let Some(p) = engine.session.profiles.first() else { panic!("{file} gave no profile") };
        table.check(&file, "samples", p.samples.len() as u64, facts["samples"].as_u64().unwrap());
        for (i, total) in facts["totals"].as_array().unwrap().iter().enumerate() {
            table.check(&file, "total", p.total(i), total.as_i64().unwrap());
        }
        for (i, kind) in facts["sample_types"].as_array().unwrap().iter().enumerate() {
            table.check(&file, "type", p.value_types[i].name.as_str(), kind["type"].as_str().unwrap());
            table.check(&file, "unit", p.value_types[i].unit.as_str(), kind["unit"].as_str().unwrap());
        }
        for (ours, theirs) in [(p.period, "period"), (p.start_ns, "time_nanos"), (p.duration_ns, "duration_nanos")] {
            table.check(&file, theirs, ours, facts[theirs].as_i64().unwrap_or(0));
        }
        let labels = serde_json::to_value(hotspan::report::inspect::sources(&engine.session)).unwrap()[0]["profiles"][0]["labels"].take();
        let expected_labels: serde_json::Map<String, Value> = facts["label_keys"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(key, count)| (key.rsplit_once(':').map_or(key.as_str(), |(k, _)| k).to_string(), count.clone()))
            .collect();
        table.check(&file, "label_keys", labels, Value::Object(expected_labels));
        let lost = source.ledger.diagnostics.iter().any(|(_, e)| e.level >= Level::DataLoss);
        table.check(&file, "lost", lost, expect != "ok");
        for (i, lists) in facts["py_by_function_name"].as_array().into_iter().flatten().enumerate() {
            let (flat, cum) = flat_and_cum(&engine, 0, i);
            // Python does not apply drop_frames; the lists of `go tool pprof` below do.
            if facts["drop_frames"].as_str() == Some("") {
                for (name, got, weight) in top(&flat, &lists["flat_top10"]) {
                    table.check(&file, &format!("flat {name}"), got, weight);
                }
                for (name, got, weight) in top(&cum, &lists["cum_top10"]) {
                    table.check(&file, &format!("cum {name}"), got, weight);
                }
            }
        }
        for (i, lists) in facts["go_pprof"].as_array().into_iter().flatten().enumerate() {
            let (flat, cum) = flat_and_cum(&engine, 0, i);
            for row in lists["top10_flat"].as_array().into_iter().chain(lists["top10_cum"].as_array()).flatten() {
                let name = row["name"].as_str().unwrap();
                let name = name.strip_suffix(" (inline)").or(name.strip_suffix(" (partial-inline)")).unwrap_or(name);
                let got = (flat.get(name).copied().unwrap_or(0), cum.get(name).copied().unwrap_or(0));
                table.check(&file, &format!("go tool pprof {name}"), got, (row["flat"].as_i64().unwrap(), row["cum"].as_i64().unwrap()));
            }
        }
    }
    table.finish("pprof", &[]);
}

#[test]
fn perf_script_equals_the_reference() {
    let mut table = Table::default();
    for (file, expect, facts) in expected(&["perf-script"]) {
        let engine = open(&file).unwrap();
        table.file();
        let source = &engine.session.sources[0];
        if expect == "empty" {
            table.check(&file, "error", source.error.is_some(), true);
            continue;
        }
        assert_eq!((source.format.as_str(), &source.error), ("perf-script", &None), "{file}");
        let profiles = &engine.session.profiles;
        let samples: usize = profiles.iter().map(|p| p.samples.len()).sum();
        let regex = facts["samples_by_our_regex"].as_u64().unwrap() as usize;
        if regex > 0 {
            table.check(&file, "samples", samples, regex);
            for (event, count) in facts["events"].as_object().unwrap() {
                let p = profiles.iter().find(|p| p.name == *event);
                table.check(&file, event, p.map(|p| p.samples.len() as u64), count.as_u64());
                let period = facts["period_by_event"][event].as_i64().unwrap();
                let got = p.and_then(|p| Some(p.total(p.value_index("period")?))).unwrap_or(0);
                table.check(&file, &format!("{event} period"), got, period);
            }
            let comms: Vec<(String, u64)> = serde_json::from_value(facts["comms_top10"].clone()).unwrap();
            for (comm, count) in comms {
                let got: usize =
                    profiles.iter().map(|p| p.samples.thread.iter().filter(|t| p.threads[t.index()].name == comm).count()).sum();
                table.check(&file, &format!("comm {comm}"), got as u64, count);
            }
        } else {
            // The two oldest files have no time stamps: inferno and the Perl script count them.
            let sum = facts["inferno_all"]["sum"].as_i64().unwrap();
            table.check(&file, "sum", profiles.iter().map(|p| p.total(p.default_value)).sum::<i64>(), sum);
        }
        let lost = source.ledger.diagnostics.iter().filter(|(_, e)| e.level >= Level::DataLoss).count();
        if expect == "ok" {
            table.check(&file, "lost", lost, 0);
        }
    }
    table.finish("perf-script", &[]);
}

#[test]
fn folded_equals_the_reference() {
    let mut table = Table::default();
    for (file, _, facts) in expected(&["folded"]) {
        let engine = open(&file).unwrap();
        table.file();
        let source = &engine.session.sources[0];
        assert_eq!((source.format.as_str(), &source.error), ("folded", &None), "{file}");
        let p = &engine.session.profiles[0];
        let sum = p.total(p.default_value) as f64;
        let digits = p.value_types[0].unit.strip_prefix("1e-").map_or(0, |rest| rest[..1].parse().unwrap());
        table.check(&file, "sum", (sum / 10_f64.powi(digits) * 1e6).round(), (facts["sum"].as_f64().unwrap() * 1e6).round());
        table.check(&file, "lines", p.samples.len() as u64, facts["lines"].as_u64().unwrap());
        table.check(&file, "invalid", source.ledger.diagnostics.count("folded/bad-line"), facts["invalid_lines"].as_u64().unwrap());
        let distinct: BTreeSet<StackId> = p.samples.stack.iter().copied().collect();
        table.check(&file, "distinct stacks", distinct.len() as u64, facts["distinct_stacks"].as_u64().unwrap());
        let (flat, cum) = flat_and_cum(&engine, 0, p.default_value);
        if digits == 0 {
            for (name, got, weight) in top(&flat, &facts["top10_self"]).into_iter().chain(top(&cum, &facts["top10_inclusive"])) {
                table.check(&file, &name, got, weight);
            }
        }
    }
    // Of two columns the reference takes the second and leaves the first in the frame's name; here both are values.
    table.finish("folded", &["folded/inferno--perf-cycles-instructions-01-collapsed-all-diff.txt"]);
}

#[test]
fn our_own_files() {
    let engine = fixture("pprof/cpu.pb.gz");
    assert_eq!(engine.session.sources[0].container, ["gzip"]);
    assert!(engine.session.profiles[0].samples.len() > 100);
    let engine = fixture("folded/small.folded");
    assert_eq!(engine.session.profiles[0].total(0), 23);
    assert_eq!((engine.session.sources[0].ledger.records_in, engine.session.sources[0].ledger.records_kept), (5, 4));
    let engine = fixture("folded/differential.folded");
    assert_eq!((engine.session.profiles[0].total(0), engine.session.profiles[0].total(1)), (30, 19));
    let engine = fixture("folded/fractional.folded");
    assert_eq!((engine.session.profiles[0].total(0), engine.session.profiles[0].value_types[0].unit.as_str()), (325, "1e-2 samples"));
    // Events are kept apart, whatever their modifiers.
    let engine = fixture("perf-script/ev.txt");
    let totals: Vec<(String, i64)> = engine.session.profiles.iter().map(|p| (p.name.clone(), p.total(1))).collect();
    assert_eq!(totals, [("cycles:u".to_string(), 100), ("cycles:k".to_string(), 50), ("instructions:u".to_string(), 7)]);
    // Samples at given times stand for the time up to the next one of their thread, the last for the usual interval.
    let text = "a 1/1 [0] 1.000000: 5 cycles:\n\t1 f (/a)\n\na 1/2 [0] 1.001000: 5 cycles:\n\t1 g (/a)\n\na 1/1 [0] 1.002000: 5 cycles:\n\t1 f (/a)\n\na 1/1 [0] 1.003000: 5 cycles:\n\t1 f (/a)\n\na 1/1 [0] 2.500000: 5 cycles:\n\t1 f (/a)\n";
    let engine = open_bytes(text.replace("[0]", "[000]").into_bytes());
    let p = &engine.session.profiles[0];
    // Gaps of the first thread: 2 ms, 1 ms, 1.497 s (a pause: the median of 2 ms counts instead).
    assert_eq!(p.samples.values[p.value_index("time").unwrap()], [2_000_000, 2_000_000, 1_000_000, 2_000_000, 2_000_000]);
    let engine = fixture("perf-script/srcline.txt");
    assert!(engine.session.symbols.frames.line.contains(&12) && engine.session.symbols.frames.line.contains(&40));
    let engine = fixture("perf-script/hdr.txt.gz");
    assert_eq!(engine.session.sources[0].ledger.diagnostics.count("perf-script/bad-line"), 0);
}

/// A small generator of pseudo random numbers (SplitMix64): damage is the same in every run.
pub fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Opens cut and altered copies: nothing may panic, and what went in is kept or dropped.
pub fn survives_damage(name: &str, rounds: u32) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    let mut bytes = std::fs::read(path).unwrap();
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut raw = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&bytes[..]), &mut raw).unwrap();
        bytes = raw;
    }
    bytes.truncate(200_000);
    let mut state = 1;
    for round in 0..rounds {
        let mut copy = bytes.clone();
        if round % 2 == 0 {
            copy.truncate(random(&mut state) as usize % bytes.len());
        } else {
            for _ in 0..1 + random(&mut state) % 8 {
                let at = random(&mut state) as usize % copy.len();
                copy[at] = random(&mut state) as u8;
            }
        }
        let engine = open_bytes(copy);
        let source = &engine.session.sources[0];
        assert!(source.ledger.records_kept <= source.ledger.records_in, "{name} round {round}");
        for line in &source.ledger.weights {
            assert_eq!(line.weight_in, line.kept.saturating_add(line.dropped), "{name} round {round}: {line:?}");
        }
        assert!(source.error.is_none() || !source.error.as_deref().unwrap().is_empty());
    }
}

#[test]
fn damage_is_survived() {
    for name in [
        "pprof/allocs.pb.gz",
        "pprof/syn.pb.gz",
        "perf-script/comm.txt",
        "perf-script/inl.txt",
        "perf-script/nohdr.txt.gz",
        "folded/small.folded",
    ] {
        survives_damage(name, 300);
    }
}
