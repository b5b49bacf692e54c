//! Labels as a dimension, against `go tool pprof -tags`, `-tagfocus`, `-tagignore` and `-tagroot`.
//!
//! `pprof/labels.pb.gz` is a CPU profile of a Go program that does its work under `pprof.Do` with labels `endpoint` and `user`.

use crate::corpus::{Table, fixture, open};
use hotspan::analysis::functions::{Options, functions, label};
use hotspan::analysis::labels::keys;
use hotspan::analysis::narrow::narrow;
use hotspan::analysis::weights::{Selection, weights};
use hotspan::base::labels::LabelFilter;
use hotspan::base::slabs::Slabs;
use hotspan::engine::Engine;
use hotspan::engine::protocol::flame::{FlameData, FlameMode};
use hotspan::engine::protocol::functions::{FunctionsData, TableForm};
use hotspan::engine::protocol::labels::LabelsData;
use hotspan::engine::protocol::{ExportKind, Request, SampleQuery};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

fn query(labels: &[&str], group: Option<&str>) -> SampleQuery {
    let labels = labels.iter().map(|l| LabelFilter::parse(l)).collect();
    SampleQuery { value: 1, labels, group: group.map(str::to_string), ..SampleQuery::default() }
}

/// Self and total by name in milliseconds.
fn table(engine: &mut Engine, query: SampleQuery) -> BTreeMap<String, (i64, i64)> {
    let answer = engine.handle(&Request::Functions { query, form: TableForm::default() }).unwrap();
    let data = FunctionsData::decode(answer).unwrap();
    let ms = |v: f64| (v / 1e6) as i64;
    (0..data.head.rows).map(|r| (data.names.get(r).to_string(), (ms(data.self_weight[r as usize]), ms(data.total[r as usize])))).collect()
}

fn head<T: serde::de::DeserializeOwned>(slabs: Slabs) -> T {
    serde_json::from_str(&slabs.head).unwrap()
}

#[test]
fn filters_are_those_of_the_reference() {
    let mut engine = fixture("pprof/labels.pb.gz");
    let mut of = |labels: &[&str], name: &str| table(&mut engine, query(labels, None)).get(name).copied();
    assert_eq!(of(&[], "main.work"), Some((1320, 1350)));
    assert_eq!(of(&["endpoint=/search"], "main.work"), Some((920, 950)));
    assert_eq!(of(&["endpoint=/search"], "main.render"), Some((0, 320)));
    assert_eq!(of(&["user=ann"], "main.parse"), Some((0, 540)));
    assert_eq!(of(&["!user"], "main.work"), Some((200, 200)));
    assert_eq!(of(&["!user"], "main.handle"), Some((0, 130)));
    assert_eq!(of(&["!user", "endpoint"], "main.main"), Some((0, 130)));
    assert_eq!(of(&["user=nobody"], "main.work"), None);
    // Either side of a condition is the whole.
    let sum = |a: Option<(i64, i64)>, b: Option<(i64, i64)>| a.unwrap().0 + b.unwrap().0;
    assert_eq!(sum(of(&["user"], "main.work"), of(&["!user"], "main.work")), 1320);
}

#[test]
fn groups_are_root_frames_as_in_the_reference() {
    let mut engine = fixture("pprof/labels.pb.gz");
    let rows = table(&mut engine, query(&[], Some("endpoint")));
    for (name, total) in [("endpoint=/search", 950), ("endpoint=/cart", 200), ("endpoint=/health", 130), ("(no endpoint)", 70)] {
        assert_eq!(rows[name], (0, total), "{name}");
    }
    assert_eq!((rows["main.parse"].1, rows["main.render"].1), (890, 390));
    let flame = engine.handle(&Request::Flame { query: query(&["user=ann"], Some("endpoint")), mode: FlameMode::Merged }).unwrap();
    let flame = FlameData::decode(flame).unwrap();
    let roots: Vec<(&str, f64)> =
        (0..flame.parent.len()).filter(|i| flame.depth[*i] == 0).map(|i| (flame.name_of(i as u32), flame.total[i] / 1e6)).collect();
    assert_eq!(roots.iter().map(|r| r.1).sum::<f64>(), 840.0);
    assert_eq!(roots[0].0, "endpoint=/search");
    // Exports carry the same samples, and the profile itself is untouched.
    let export = Request::Export { what: ExportKind::Folded, query: query(&["user=bob"], Some("endpoint")), finding: None };
    let text = String::from_utf8(engine.handle(&export).unwrap().reader().u8()).unwrap();
    assert!(text.lines().all(|l| l.starts_with("endpoint=/search;")), "{text}");
    assert_eq!(text.lines().map(|l| l.rsplit(' ').next().unwrap().parse::<i64>().unwrap()).sum::<i64>(), 310_000_000);
    assert_eq!(table(&mut engine, query(&[], None))["main.work"], (1320, 1350));
}

#[test]
fn keys_and_values_have_the_weights_of_the_reference() {
    let mut engine = fixture("pprof/labels.pb.gz");
    let data: LabelsData = head(engine.handle(&Request::Labels { query: query(&[], None) }).unwrap());
    let drawn: Vec<String> = data
        .keys
        .iter()
        .flat_map(|k| std::iter::once((&k.key, k.weight)).chain(k.values.iter().map(|(v, w)| (v, *w))))
        .map(|(name, weight)| format!("{name} {}", weight / 1e6))
        .collect();
    assert_eq!(drawn, ["endpoint 1280", "/search 950", "/cart 200", "/health 130", "user 1150", "ann 840", "bob 310"]);
    assert_eq!((data.whole, data.unit.as_str()), (1.35e9, "nanoseconds"));
}

#[test]
fn corpus_files_agree() {
    let mut table = Table::default();
    let file = "pprof/pprofutils--labelframes.in.pprof";
    let Some(engine) = open(file) else { return };
    table.file();
    let session = &engine.session;
    let all = Selection { value: 1, ..Selection::default() };
    let found = keys(session, all, &[]);
    let values: Vec<(&str, i64)> = found[0].values.iter().map(|v| (v.value.as_str(), v.weight / 1_000_000)).collect();
    table.check(file, "values", values, vec![("val=2", 8150), ("val=0", 7530), ("val=1", 7480)]);
    let narrowed = narrow(session, 0, &[LabelFilter::value("mylabel", "val=2")], None).unwrap();
    let rows = functions(&narrowed, &weights(&narrowed, all), Options::default()).rows;
    for (name, own, total) in
        [("main.cpuHog", 140, 8120), ("fmt.Fprintf", 600, 6270), ("fmt.(*pp).doPrintf", 710, 3620), ("fmt.(*pp).fmtInteger", 310, 2430)]
    {
        let row = rows.iter().find(|r| label(&narrowed, r) == name).map(|r| (r.own / 1_000_000, r.total / 1_000_000));
        table.check(file, name, row, Some((own, total)));
    }
    // Numbers have units and are found with or without them.
    let file = "pprof/pprofutils--heapage.in.pprof";
    let engine = open(file).unwrap();
    table.file();
    let found = keys(&engine.session, all, &[]);
    let first = &found[0].values[0].value;
    let number = first.split(' ').next().unwrap();
    for text in [first.as_str(), number] {
        let narrowed = narrow(&engine.session, 0, &[LabelFilter::value("bytes", text)], None).unwrap();
        table.check(file, text, narrowed.profiles[0].samples.len() as u64, found[0].values[0].samples);
    }
    table.finish("labels", &[]);
}

#[test]
fn the_command_line_filters_and_groups() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pprof/labels.pb.gz");
    let run = |args: &[&str]| Command::new(env!("CARGO_BIN_EXE_hotspan")).args(args).arg(&file).output().unwrap();
    let out = run(&["top", "--json", "--label", "user=ann", "--label", "endpoint", "--group-by", "endpoint", "--by", "total"]);
    let top: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(top["total"], 840_000_000);
    let row = top["rows"].as_array().unwrap().iter().find(|r| r["name"] == "endpoint=/search").unwrap();
    assert_eq!(row["self"], 0);
    let folded = run(&["export", "--to", "folded", "--label", "!user"]);
    let sum: i64 = String::from_utf8(folded.stdout).unwrap().lines().map(|l| l.rsplit(' ').next().unwrap().parse::<i64>().unwrap()).sum();
    assert_eq!(sum, 200_000_000);
    for (args, says) in [
        (&["top", "--label", "team=x"][..], "there are endpoint, user"),
        (&["top", "--group-by", "team"], "there are endpoint, user"),
        (&["export", "--to", "svg", "--label", "user=zoe"], "no sample passes --label user=zoe"),
    ] {
        let out = run(args);
        assert_eq!(out.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&out.stderr).contains(says), "{}", String::from_utf8_lossy(&out.stderr));
    }
}
