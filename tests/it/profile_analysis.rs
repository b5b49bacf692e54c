//! Flame graphs, function tables and charts as the page gets them, against the facts of independent tools.

use crate::corpus::{Table, expected, fixture, open};
use hotspan::engine::Engine;
use hotspan::engine::protocol::flame::{FlameData, FlameMode};
use hotspan::engine::protocol::functions::{FunctionDetail, FunctionsData, Rows, TableForm};
use hotspan::engine::protocol::{Request, SampleQuery};
use std::collections::BTreeMap;

fn query(profile: usize, value: usize) -> SampleQuery {
    SampleQuery { profile: profile as u32, value: value as u32, ..SampleQuery::default() }
}

fn flame(engine: &mut Engine, query: SampleQuery, mode: FlameMode) -> FlameData {
    FlameData::decode(engine.handle(&Request::Flame { query, mode }).unwrap()).unwrap()
}

fn table(engine: &mut Engine, query: SampleQuery, rows: Rows) -> FunctionsData {
    let form = TableForm { rows, ..TableForm::default() };
    FunctionsData::decode(engine.handle(&Request::Functions { query, form }).unwrap()).unwrap()
}

fn detail(engine: &mut Engine, query: SampleQuery, function: &str) -> FunctionDetail {
    FunctionDetail::decode(&engine.handle(&Request::FunctionDetail { query, function: function.into() }).unwrap()).unwrap()
}

/// Self and total by name.
fn by_name(t: &FunctionsData) -> BTreeMap<String, (f64, f64)> {
    (0..t.head.rows).map(|i| (t.names.get(i).to_string(), (t.self_weight[i as usize], t.total[i as usize]))).collect()
}

/// Children lie inside their parent, rows are one apart, widths add up.
fn check_picture(file: &str, d: &FlameData) {
    let mut covered = vec![0.0; d.parent.len()];
    for i in 0..d.parent.len() {
        let end = d.start[i] + d.total[i];
        match d.parent[i] {
            u32::MAX => assert!(end <= d.head.extent, "{file}"),
            p => {
                let p = p as usize;
                assert!(p < i && d.depth[p] + 1 == d.depth[i], "{file}: box {i}");
                assert!(d.start[i] >= d.start[p] && end <= d.start[p] + d.total[p], "{file}: box {i}");
                covered[p] += d.total[i];
            }
        }
    }
    if d.signed.is_empty() && d.head.pruned == 0 {
        for (i, covered) in covered.iter().enumerate() {
            assert_eq!(d.total[i], covered + d.self_weight[i], "{file}: box {i} of {:?}", d.head.mode);
        }
    }
}

#[test]
fn pprof_tables_equal_the_reference() {
    let mut facts_table = Table::default();
    for (file, _, facts) in expected(&["pprof"]) {
        let mut engine = open(&file).unwrap();
        facts_table.file();
        for (i, lists) in facts["go_pprof"].as_array().into_iter().flatten().enumerate() {
            let t = table(&mut engine, query(0, i), Rows::Functions);
            let rows = by_name(&t);
            for row in lists["top10_flat"].as_array().into_iter().chain(lists["top10_cum"].as_array()).flatten() {
                let name = row["name"].as_str().unwrap();
                let name = name.strip_suffix(" (inline)").or(name.strip_suffix(" (partial-inline)")).unwrap_or(name);
                let expected = (row["flat"].as_f64().unwrap(), row["cum"].as_f64().unwrap());
                facts_table.check(&file, name, rows.get(name).copied().unwrap_or_default(), expected);
            }
        }
    }
    facts_table.finish("pprof function tables", &[]);
}

#[test]
fn folded_tables_equal_the_reference() {
    let mut facts_table = Table::default();
    for (file, _, facts) in expected(&["folded"]) {
        let mut engine = open(&file).unwrap();
        facts_table.file();
        let value = engine.session.profiles[0].default_value;
        if engine.session.profiles[0].value_types[value].unit.starts_with("1e-") {
            continue;
        }
        let rows = by_name(&table(&mut engine, query(0, value), Rows::Functions));
        for (list, pick) in [("top10_self", 0), ("top10_inclusive", 1)] {
            for pair in facts[list].as_array().into_iter().flatten() {
                let (own, total) = rows.get(pair[0].as_str().unwrap()).copied().unwrap_or_default();
                facts_table.check(&file, &pair[0].to_string(), [own, total][pick], pair[1].as_f64().unwrap());
            }
        }
    }
    // Of two columns the reference takes the second and leaves the first in the frame's name; here both are values.
    facts_table.finish("folded function tables", &["folded/inferno--perf-cycles-instructions-01-collapsed-all-diff.txt"]);
}

#[test]
fn pictures_hold_together_and_agree_with_the_tables() {
    let mut files = 0;
    for (file, expect, _) in expected(&["pprof", "folded", "perf-script"]) {
        let mut engine = open(&file).unwrap();
        if expect == "empty" {
            continue;
        }
        for profile in 0..engine.session.profiles.len() {
            let q = query(profile, engine.session.profiles[profile].default_value);
            let rows = by_name(&table(&mut engine, q.clone(), Rows::Functions));
            for mode in [FlameMode::Merged, FlameMode::Inverted] {
                let d = flame(&mut engine, q.clone(), mode);
                check_picture(&file, &d);
                assert_eq!(d.head.pruned, 0, "{file}");
                if !d.signed.is_empty() {
                    continue;
                }
                assert_eq!(d.head.extent + d.head.without_stack, d.head.total, "{file} {mode:?}");
                // Self weight by name: in the inverted picture it is the width of the outermost boxes.
                let mut own: BTreeMap<&str, f64> = BTreeMap::new();
                for i in 0..d.head.nodes {
                    let weight = match mode {
                        FlameMode::Inverted if d.depth[i as usize] > 0 => 0.0,
                        FlameMode::Inverted => d.total[i as usize],
                        _ => d.self_weight[i as usize],
                    };
                    *own.entry(d.name_of(i)).or_default() += weight;
                }
                for (name, (expected, _)) in rows.iter().filter(|r| r.1.0 != 0.0) {
                    assert_eq!(own.get(name.as_str()), Some(expected), "{file} {name}");
                }
            }
            if engine.session.profiles[profile].has_times() {
                let d = flame(&mut engine, q, FlameMode::Chart);
                check_picture(&file, &d);
                assert!(d.head.tracks.iter().map(|t| t.rows + 1).sum::<u32>() == d.head.rows, "{file}");
            }
        }
        files += 1;
    }
    println!("pictures of {files} files hold together");
}

#[test]
fn callers_callees_lines_and_paths() {
    let mut engine = fixture("pprof/cpu.pb.gz");
    let q = query(0, engine.session.profiles[0].default_value);
    let d = detail(&mut engine, q.clone(), "main.hotLoop");
    assert_eq!(d.path.last().map(String::as_str), Some("main.hotLoop"));
    assert_eq!(d.callers.iter().map(|c| c.weight).sum::<f64>() + d.as_root, d.total);
    assert_eq!(d.callees.iter().map(|c| c.weight).sum::<f64>() + d.self_weight, d.total);
    assert_eq!(d.lines.iter().map(|l| l.self_weight).sum::<f64>(), d.self_weight);
    // PROFILES 1.2: lines 32 and 31 hold it all.
    let lines: Vec<u32> = d.lines.iter().filter(|l| l.self_weight > 0.0).map(|l| l.line).collect();
    assert_eq!(lines, [32, 31]);
    assert!(!d.addresses.is_empty() && d.addresses[0].address.starts_with("0x"));
    let picture = flame(&mut engine, q.clone(), FlameMode::Merged);
    let node = picture.find_path(&d.path).unwrap();
    assert_eq!(picture.path_of(node), d.path);
    assert!(picture.file_of(node).ends_with("main.go"));
    // The garbage collector's functions are known as such.
    let t = table(&mut engine, q.clone(), Rows::Functions);
    let gc = (0..t.head.rows).filter(|i| t.head.categories[usize::from(t.category[*i as usize])] == "gc");
    assert!(gc.map(|i| t.names.get(i)).any(|n| n == "runtime.gcBgMarkWorker"));
    // Coarser rows hold the same self weight.
    for rows in [Rows::FileFunctions, Rows::Files, Rows::Lines, Rows::Addresses] {
        let t = table(&mut engine, q.clone(), rows);
        assert_eq!(t.self_weight.iter().sum::<f64>(), t.head.total, "{rows:?}");
    }
}

#[test]
fn what_does_not_exist_is_said() {
    let mut engine = fixture("folded/small.folded");
    let ask = |engine: &mut Engine, query, mode| engine.handle(&Request::Flame { query, mode }).unwrap_err().message;
    assert!(ask(&mut engine, query(7, 0), FlameMode::Merged).contains("no profile 7"));
    assert!(ask(&mut engine, query(0, 9), FlameMode::Merged).contains("no value type 9"));
    assert!(ask(&mut engine, SampleQuery { thread: Some(3), ..query(0, 0) }, FlameMode::Merged).contains("no thread 3"));
    assert!(ask(&mut engine, query(0, 0), FlameMode::Chart).contains("no times"));
    let request = Request::FunctionDetail { query: query(0, 0), function: "nope".into() };
    assert!(engine.handle(&request).unwrap_err().message.contains("nope"));
}
