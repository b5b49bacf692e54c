//! `hotspan top` as scripts see it, against `go tool pprof -top`.

use crate::corpus::{Table, expected, folder};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn top(file: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hotspan")).arg("top").arg(file).args(args).output().unwrap()
}

fn json(file: &Path, args: &[&str]) -> Value {
    let output = top(file, &[args, &["--json"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn rows_come_in_the_order_of_go_tool_pprof() {
    let mut table = Table::default();
    for (file, _, facts) in expected(&["pprof"]) {
        table.file();
        let path = folder().unwrap().join(&file);
        for (i, lists) in facts["go_pprof"].as_array().into_iter().flatten().enumerate() {
            let name = facts["sample_types"][i]["type"].as_str().unwrap();
            for (by, list) in [("self", "top10_flat"), ("total", "top10_cum")] {
                let list = lists[list].as_array().unwrap();
                // Where several value types have one name the first is shown.
                if facts["sample_types"].as_array().unwrap()[..i].iter().any(|t| t["type"] == name) {
                    continue;
                }
                let got = json(&path, &["--value", name, "--by", by, "--limit", "0"]);
                // The reference leaves out light functions and breaks ties of its own: the heavy rows' weights must agree in order.
                let heavy = (got["total"].as_f64().unwrap() * 0.01).max(1.0) as i64;
                let key = if by == "self" { "flat" } else { "cum" };
                let theirs: Vec<i64> = list.iter().map(|r| r[key].as_i64().unwrap()).take_while(|w| w.abs() >= heavy).collect();
                let ours: Vec<i64> = got["rows"].as_array().unwrap().iter().take(theirs.len()).map(|r| r[by].as_i64().unwrap()).collect();
                table.check(&file, &format!("{name} by {by}"), ours, theirs);
            }
        }
    }
    table.finish("top", &[]);
}

#[test]
fn the_contract() {
    let got = json(&fixture("pprof/cpu.pb.gz"), &["--limit", "1", "--granularity", "lines"]);
    let row = &got["rows"][0];
    assert_eq!(
        (got["schema"].as_str(), got["value"].as_str(), got["unit"].as_str()),
        (Some("hotspan.top/1"), Some("cpu"), Some("nanoseconds"))
    );
    assert_eq!(got["file"], "cpu.pb.gz");
    assert_eq!((row["name"].as_str(), row["line"].as_u64()), (Some("main.hotLoop"), Some(32)));
    assert!(row["file"].as_str().unwrap().ends_with("main.go") && row["self"].as_i64() <= row["total"].as_i64());
    assert_eq!(got["rows"].as_array().unwrap().len(), 1);
    // However rows are cut, their self weights are the whole.
    for granularity in ["functions", "filefunctions", "files", "lines", "addresses"] {
        for inlines in [&[][..], &["--no-inlines"][..]] {
            let got = json(&fixture("pprof/cpu.pb.gz"), &[&["--limit", "0", "--granularity", granularity], inlines].concat());
            let sum: i64 = got["rows"].as_array().unwrap().iter().map(|r| r["self"].as_i64().unwrap()).sum();
            assert_eq!(Some(sum), got["total"].as_i64(), "{granularity}");
        }
    }
    let one = json(&fixture("perf-script/java-UseSerialGC.perf-script.txt.gz"), &["--thread", "VM Thread", "--value", "samples"]);
    let all = json(&fixture("perf-script/java-UseSerialGC.perf-script.txt.gz"), &["--value", "samples"]);
    assert!(0 < one["total"].as_i64().unwrap() && one["total"].as_i64() < all["total"].as_i64());
}

#[test]
fn wrong_names_are_usage_errors() {
    for args in [&["--thread", "nobody"][..], &["--value", "nothing"], &["--by", "name"], &["--granularity", "words"]] {
        let output = top(&fixture("perf-script/loops.perf-script.txt.gz"), args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(!output.stderr.is_empty() && output.stdout.is_empty());
    }
    assert_eq!(top(Path::new("/nonexistent"), &[]).status.code(), Some(1));
}

#[test]
fn a_base_is_subtracted() {
    let file = fixture("pprof/allocs.pb.gz");
    let path = file.to_str().unwrap();
    let alone = json(&file, &["--value", "alloc_space", "--limit", "0"]);
    // A profile minus itself is nothing; of a marked base it is minus all of the base, which keeps shares apart.
    let nothing = json(&file, &["--value", "alloc_space", "--limit", "0", "--base", path]);
    assert_eq!((nothing["total"].as_i64(), nothing["rows"].as_array().map(Vec::len)), (Some(0), Some(0)));
    let marked = json(&file, &["--value", "alloc_space", "--limit", "0", "--diff-base", path]);
    assert_eq!(marked["total"], alone["total"]);
    assert!(marked["rows"].as_array().unwrap().iter().all(|r| r["self"] == 0 && r["total"] == 0));
    let growth = json(&fixture("pprof/heap1.pb.gz"), &["--value", "inuse_space", "--limit", "0", "--base", path]);
    assert!(growth["rows"].as_array().unwrap().iter().any(|r| r["self"].as_i64() != Some(0)));
    assert_eq!(top(&file, &["--base", path, "--diff-base", path]).status.code(), Some(2));
    let folded = fixture("folded/small.folded");
    assert_eq!(top(&file, &["--base", folded.to_str().unwrap()]).status.code(), Some(2));
}
