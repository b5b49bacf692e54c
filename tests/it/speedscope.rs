//! speedscope's JSON: reading against a plain reckoning of the same file, writing against reading.

use crate::corpus::{Table, expected, fixture, folder, open, open_bytes};
use crate::profiles::{flat_and_cum, survives_damage};
use hotspan::engine::Engine;
use hotspan::report::speedscope::speedscope;
use serde_json::Value;
use std::collections::BTreeMap;

/// Self weights by frame name, straight from the JSON: samples by their last frame, events by the distance to the next event.
fn reckoned(file: &Value, profile: &Value) -> BTreeMap<String, f64> {
    let name = |frame: &Value| file["shared"]["frames"][frame.as_u64().unwrap() as usize]["name"].as_str().unwrap().to_string();
    let mut out: BTreeMap<String, f64> = BTreeMap::new();
    for (sample, weight) in profile["samples"].as_array().into_iter().flatten().zip(profile["weights"].as_array().into_iter().flatten()) {
        if let Some(leaf) = sample.as_array().unwrap().last() {
            *out.entry(name(leaf)).or_default() += weight.as_f64().unwrap();
        }
    }
    let mut open: Vec<&Value> = Vec::new();
    let mut last = 0.0;
    for event in profile["events"].as_array().into_iter().flatten() {
        let at = event["at"].as_f64().unwrap();
        if let Some(top) = open.last() {
            *out.entry(name(top)).or_default() += at - last;
        }
        last = at;
        if event["type"] == "O" {
            open.push(&event["frame"]);
        } else {
            assert_eq!(open.pop(), Some(&event["frame"]), "the reckoning is for files in order");
        }
    }
    out.retain(|_, weight| *weight != 0.0);
    out
}

#[test]
fn the_corpus_equals_a_plain_reckoning() {
    let mut table = Table::default();
    for (file, expect, facts) in expected(&["speedscope"]) {
        let engine = open(&file).unwrap();
        table.file();
        let source = &engine.session.sources[0];
        assert_eq!((source.format.as_str(), &source.error), ("speedscope", &None), "{file}");
        let text = std::fs::read_to_string(folder().unwrap().join(&file)).unwrap();
        let json: Value = serde_json::from_str(&text).unwrap();
        let listed = facts["profiles"].as_array().unwrap();
        let mut records = 0;
        for (i, fact) in listed.iter().enumerate() {
            records += fact["samples"].as_u64().or(fact["events"].as_u64()).unwrap();
            if expect == "malformed" {
                continue;
            }
            let Some(p) = engine.session.profiles.get(i) else { panic!("{file} lost profile {i}") };
            table.check(&file, "name", p.name.as_str(), fact["name"].as_str().unwrap());
            let factor = if fact["unit"] == "seconds" { 1e9 } else { 1.0 };
            if let Some(sum) = fact["weight_sum"].as_f64() {
                table.check(&file, "weight_sum", p.total(0), (sum * factor) as i64);
                table.check(&file, "samples", p.samples.len() as u64, fact["samples"].as_u64().unwrap());
            }
            let (flat, _) = flat_and_cum(&engine, i, 0);
            let expected: BTreeMap<String, i64> =
                reckoned(&json, &json["profiles"][i]).into_iter().map(|(n, w)| (n, (w * factor).round() as i64)).collect();
            table.check(&file, "self", flat, expected);
        }
        table.check(&file, "records", source.ledger.records_in, records);
        table.check(&file, "told", source.ledger.diagnostics.worst().is_some(), expect == "malformed");
    }
    table.finish("speedscope", &[]);
}

#[test]
fn drawn_events_and_samples() {
    let engine = fixture("speedscope/events.json");
    let session = &engine.session;
    let by_name: BTreeMap<&str, usize> = session.profiles.iter().enumerate().map(|(i, p)| (p.name.as_str(), i)).collect();
    // a 10–80 with b 20–45.5 and c 50–80 in it (c is closed by the close of a, its own close finds nothing); b 90–100.
    let main = &session.profiles[by_name["main thread"]];
    let slices = main.slices.as_ref().unwrap();
    assert_eq!(slices.start_ns, [10_000, 20_000, 50_000, 90_000]);
    assert_eq!(slices.duration_ns, [70_000, 25_500, 30_000, 10_000]);
    assert_eq!((&slices.depth[..], &main.samples.values[0][..]), (&[0, 1, 1, 0][..], &[14_500, 25_500, 30_000, 10_000][..]));
    let worker = &session.profiles[by_name["worker"]];
    assert_eq!(worker.samples.values[0], [1_500_000, 250_000, 1_000_000, 1_250_000]);
    assert_eq!(worker.samples.time_ns, [0, 1_500_000, 1_750_000, 2_750_000]);
    let (flat, _) = flat_and_cum(&engine, by_name["worker"], 0);
    assert_eq!((flat["a"], flat["b"], flat["<unknown>"]), (1_500_000, 250_000, 1_250_000));
    assert_eq!(session.profiles[by_name["heap"]].total(0), 96);
    let cut = &session.profiles[by_name["cut"]];
    assert_eq!((cut.total(0), cut.value_types[0].unit.as_str()), (15, "1e-1 samples"));
    let d = &session.sources[0].ledger.diagnostics;
    for (code, count) in [
        ("speedscope/mismatched-close", 1),
        ("speedscope/close-without-open", 1),
        ("speedscope/open-without-close", 1),
        ("speedscope/bad-frame", 1),
        ("speedscope/weight-count", 1),
        ("speedscope/out-of-order", 1),
    ] {
        assert_eq!(d.count(code), count, "{code}");
    }
    let ledger = &session.sources[0].ledger;
    assert_eq!((ledger.records_in, ledger.records_kept), (16, 14));
}

#[test]
fn one_profile_in_three_formats_is_one_function_table() {
    let tables: Vec<_> = ["folded/same.folded", "speedscope/same.json", "cpuprofile/same.cpuprofile"]
        .iter()
        .map(|name| flat_and_cum(&fixture(name), 0, 0))
        .collect();
    assert_eq!(tables[0].0.get("lex"), Some(&12));
    assert_eq!((&tables[0], &tables[0]), (&tables[1], &tables[2]));
}

fn written(engine: &Engine) -> String {
    speedscope(&engine.session, None).text
}

#[test]
fn export_import_export_gives_the_same_bytes() {
    let fixtures = [
        "pprof/cpu.pb.gz",
        "pprof/allocs.pb.gz",
        "pprof/syn.pb.gz",
        "perf-script/ev.txt",
        "perf-script/loops.perf-script.txt.gz",
        "folded/differential.folded",
        "folded/fractional.folded",
        "cpuprofile/a.cpuprofile",
        "cpuprofile/drawn.cpuprofile",
        "heapprofile/a.heapprofile",
        "chrome-trace/odd.json",
        "chrome-trace/unclosed.json",
        "speedscope/same.json",
    ];
    let mut files: Vec<(String, Engine)> = fixtures.iter().map(|name| (name.to_string(), fixture(name))).collect();
    for (name, expect, _) in expected(&["chrome-trace", "cpuprofile", "folded", "speedscope"]) {
        if matches!(expect.as_str(), "ok" | "stretch") && folder().is_some_and(|f| f.join(&name).metadata().unwrap().len() < 200_000) {
            files.push((name.clone(), open(&name).unwrap()));
        }
    }
    let mut compared = 0;
    for (name, engine) in files {
        if speedscope(&engine.session, None).profiles == 0 {
            continue;
        }
        let first = written(&engine);
        let again = open_bytes(first.clone().into_bytes());
        let source = &again.session.sources[0];
        assert_eq!((source.format.as_str(), &source.error), ("speedscope", &None), "{name}");
        assert_eq!(source.ledger.diagnostics.worst(), None, "{name}: {:?}", source.ledger.diagnostics);
        let second = written(&again);
        let at = first.lines().zip(second.lines()).position(|(a, b)| a != b);
        assert!(
            first == second,
            "{name} differs at line {at:?}: {:?} {:?}",
            at.and_then(|i| first.lines().nth(i)),
            at.and_then(|i| second.lines().nth(i))
        );
        compared += 1;
    }
    println!("speedscope: {compared} files exported, read and exported again, all the same bytes");
    assert!(compared >= fixtures.len());
}

#[test]
fn threads_and_value_types_are_profiles_of_their_own() {
    let engine = fixture("cpuprofile/drawn.cpuprofile");
    let json: Value = serde_json::from_str(&written(&engine)).unwrap();
    let names: Vec<(&str, &str)> =
        json["profiles"].as_array().unwrap().iter().map(|p| (p["name"].as_str().unwrap(), p["unit"].as_str().unwrap())).collect();
    assert_eq!(names, [("time", "nanoseconds"), ("samples", "none")]);
    assert_eq!(json["profiles"][0]["endValue"], 900_000);
    assert!(speedscope(&engine.session, None).notes.iter().any(|n| n.contains("times")));
    let engine = fixture("perf-script/ev.txt");
    let json: Value = serde_json::from_str(&written(&engine)).unwrap();
    let names: Vec<&str> = json["profiles"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert!(names[0].starts_with("cycles:u · ") && names[0].ends_with(" · period"), "{names:?}");
    // Weights of each event stay what they are.
    let sums: i64 = engine.session.profiles.iter().map(|p| p.total(p.default_value)).sum();
    let exported: i64 = (json["profiles"].as_array().unwrap().iter())
        .filter(|p| p["name"].as_str().unwrap().ends_with("period"))
        .map(|p| p["endValue"].as_i64().unwrap())
        .sum();
    assert_eq!(exported, sums);
}

#[test]
fn a_speedscope_file_without_profiles_gets_a_sentence() {
    let text = br#"{"$schema":"https://www.speedscope.app/file-format-schema.json","shared":{"frames":[]},"profiles":[]}"#;
    let error = open_bytes(text.to_vec()).session.sources[0].error.clone().unwrap();
    assert!(error.contains("speedscope") && error.contains("no profile"), "{error}");
}

#[test]
fn damage_is_survived() {
    survives_damage("speedscope/events.json", 400);
    survives_damage("speedscope/same.json", 200);
}
