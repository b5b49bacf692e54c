//! The native command as a shell sees it: output, JSON fields of the public contract, exit status, a closed pipe.

use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn hotspan(args: &[&str], files: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hotspan")).args(args).args(files.iter().map(|f| fixture(f))).output().unwrap()
}

fn json(out: &Output) -> Value {
    serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&out.stderr)))
}

#[test]
fn every_command_answers() {
    let report = json(&hotspan(&["analyze", "--format", "json"], &["otlp-json/checkout.json"]));
    assert_eq!(report["schema"], "hotspan.report/1");
    assert_eq!(report["findings"][0]["rule"], "chatty-n-plus-one");
    let inspected = json(&hotspan(&["inspect", "--json"], &["folded/small.folded"]));
    assert_eq!(inspected["schema"], "hotspan.inspect/1");
    assert_eq!(inspected["sources"][0]["ledger"]["records"]["dropped"], 1);
    let top = json(&hotspan(&["top", "--json"], &["folded/small.folded"]));
    assert_eq!(
        (top["schema"].as_str(), top["rows"][0]["name"].as_str(), top["rows"][0]["self"].as_i64()),
        (Some("hotspan.top/1"), Some("lex"), Some(12))
    );
    let kinds = json(&hotspan(&["top", "--by", "category", "--json"], &["pprof/cpu.pb.gz"]));
    assert_eq!((kinds["schema"].as_str(), kinds["samples"].as_u64()), (Some("hotspan.categories/1"), Some(362)));
    let parts: Vec<u64> = kinds["kinds"].as_array().unwrap().iter().map(|k| k["samples"].as_u64().unwrap()).collect();
    assert_eq!(parts.iter().sum::<u64>(), 362);
    let kinds = hotspan(&["top", "--by", "category"], &["pprof/cpu.pb.gz"]);
    assert!(String::from_utf8(kinds.stdout).unwrap().contains("560 ms  garbage collection"));
    assert_eq!(hotspan(&["top", "--by", "category"], &["pprof/allocs.pb.gz"]).status.code(), Some(2), "bytes are no CPU time");
    let folded = hotspan(&["export", "--to", "folded"], &["folded/small.folded"]);
    assert_eq!(String::from_utf8(folded.stdout).unwrap(), "main;parse 3\nmain;parse;lex 12\nmain;render;draw_[k] 8\n");
    let svg = hotspan(&["export", "--to", "svg"], &["folded/small.folded"]);
    assert!(String::from_utf8(svg.stdout).unwrap().contains("<svg"));
    let speedscope = json(&hotspan(&["export", "--to", "speedscope"], &["cpuprofile/drawn.cpuprofile"]));
    assert_eq!(speedscope["profiles"].as_array().map(Vec::len), Some(2));
    let one = hotspan(&["export", "--to", "speedscope", "--value", "samples"], &["cpuprofile/drawn.cpuprofile"]);
    assert_eq!(json(&one)["profiles"].as_array().map(Vec::len), Some(1));
    assert!(String::from_utf8_lossy(&one.stderr).contains("times of samples"), "what is not in it is told");
    for list in ["formats", "rules"] {
        assert!(hotspan(&[list], &[]).status.success(), "{list}");
    }
    let markdown = hotspan(&["analyze", "--format", "markdown"], &["otlp-json/checkout.json"]);
    assert!(String::from_utf8(markdown.stdout).unwrap().contains("N+1"));
}

#[test]
fn traces_have_the_numbers_of_a_drawn_trace() {
    let list = json(&hotspan(&["traces", "--json"], &["otlp-json/shop.json"]));
    assert_eq!(list["schema"], "hotspan.traces/1");
    assert_eq!(list["traces"][0]["duration_ns"], 50_000_000);
    assert_eq!(list["edges"][0]["from"], "shop");
    let id = list["traces"][0]["id"].as_str().unwrap();
    let one = json(&hotspan(&["trace", "--json", "--id", id], &["otlp-json/shop.json"]));
    assert_eq!(one["rows"].as_array().unwrap().len(), 4);
    // shop: 0–50 ms; SELECT 5–15; GET 20–45 with the server half 22–42. Sections partition the root.
    let path: Vec<(i64, i64)> = one["critical_path"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| (s["start_ns"].as_i64().unwrap(), s["end_ns"].as_i64().unwrap()))
        .map(|(a, b)| ((a - 1_700_000_000_000_000_000) / 1_000_000, (b - 1_700_000_000_000_000_000) / 1_000_000))
        .collect();
    assert_eq!(path, [(0, 5), (5, 15), (15, 20), (20, 22), (22, 42), (42, 45), (45, 50)]);
    let critical: i64 = list["operations"].as_array().unwrap().iter().map(|o| o["critical_path_ns"].as_i64().unwrap()).sum();
    assert_eq!(critical, 50_000_000);
}

#[test]
fn the_exit_status_is_the_contract() {
    let status = |args: &[&str], files: &[&str]| hotspan(args, files).status.code();
    assert_eq!(status(&["inspect"], &["folded/small.folded"]), Some(0));
    assert_eq!(status(&["inspect"], &["no/such/file"]), Some(1));
    assert_eq!(status(&["inspect"], &["no/such/file", "folded/small.folded"]), Some(1));
    assert_eq!(status(&["nonsense"], &[]), Some(2));
    assert_eq!(status(&["traces"], &["folded/small.folded"]), Some(2));
    assert_eq!(status(&["trace", "--id", "abc"], &["otlp-json/shop.json"]), Some(2));
    assert_eq!(status(&["analyze", "--fail-on", "warning"], &["otlp-json/checkout.json"]), Some(3));
    assert_eq!(status(&["analyze", "--fail-on", "warning"], &["zipkin-json/shop.json"]), Some(0));
    // One line of five is no stack: a report on such data is not a clean one.
    assert_eq!(status(&["analyze", "--fail-on", "warning"], &["folded/small.folded"]), Some(3));
}

#[test]
fn an_archive_is_read_when_anything_in_it_is() {
    let out = hotspan(&["inspect", "--json"], &["container/bundle.zip", "folded/small.folded"]);
    assert_eq!(out.status.code(), Some(0));
    let said = String::from_utf8(out.stderr.clone()).unwrap();
    assert!(said.contains("bundle.zip/bundle/README.md: no format recognises it"), "{said}");
    let answer = json(&out);
    let rows = answer["sources"].as_array().unwrap().iter().map(|s| (s["file"].as_str().unwrap(), s["file_index"].as_u64().unwrap()));
    let mut rows: Vec<_> = rows.collect();
    assert_eq!(rows.pop(), Some(("small.folded", 1)));
    assert_eq!(rows.pop(), Some(("bundle.zip", 0)));
    assert!(rows.len() == 4 && rows.iter().all(|(name, file)| name.starts_with("bundle.zip/bundle/") && *file == 0), "{rows:?}");
    let text = String::from_utf8(hotspan(&["inspect"], &["container/bundle.zip"]).stdout).unwrap();
    assert!(text.contains("comm.txt.gz: perf-script in gzip in zip, 190 B") && text.contains("\nbundle.zip: zip, "), "{text}");
    assert_eq!(hotspan(&["inspect"], &["container/encrypted.zip"]).status.code(), Some(1));
}

#[test]
fn a_closed_pipe_is_quiet() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_hotspan"))
        .args(["inspect", "--json"])
        .arg(fixture("pprof/cpu.pb.gz"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let out = child.wait_with_output().unwrap();
    assert!(out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(out.status.code(), Some(0));
}

#[test]
fn one_binary_reads_from_standard_input() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_hotspan"))
        .args(["inspect", "--json", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"a;b 1\na;c 2\n").unwrap();
    let out = child.wait_with_output().unwrap();
    assert_eq!(json(&out)["sources"][0]["profiles"][0]["samples"], 2);
}

#[test]
fn settings_come_from_a_file_and_the_command_line() {
    let folder = std::env::temp_dir().join(format!("hotspan-settings-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let config = folder.join("team.toml");
    let run = |text: &str, more: &[&str]| {
        std::fs::write(&config, text).unwrap();
        let mut args = vec!["analyze", "--format", "json", "--config", config.to_str().unwrap()];
        args.extend(more);
        hotspan(&args, &["otlp-json/checkout.json"])
    };
    let rules = |out: &Output| {
        let report = json(out);
        report["findings"].as_array().unwrap().iter().map(|f| f["rule"].as_str().unwrap().to_string()).collect::<Vec<_>>()
    };
    let n_plus_one = "chatty-n-plus-one".to_string();
    assert!(rules(&run("", &[])).contains(&n_plus_one));
    assert!(!rules(&run("[rules.chatty-n-plus-one]\nenabled = false\n", &[])).contains(&n_plus_one));
    assert!(!rules(&run("[rules.chatty-n-plus-one]\nmin_calls = 1000\n", &[])).contains(&n_plus_one));
    // The command line wins over the file; the query of a finding names what was in force.
    let again = run("[rules.chatty-n-plus-one]\nmin_calls = 1000\n", &["--set", "chatty-n-plus-one.min_calls=6", "--rule", &n_plus_one]);
    let report = json(&again);
    assert_eq!(report["rules"].as_array().unwrap().len(), 1);
    let query = report["findings"][0]["query"].as_str().unwrap();
    assert!(query.contains("--rule chatty-n-plus-one") && query.contains("--set chatty-n-plus-one.min_calls=6"), "{query}");
    let wrong = run("[rules.nonsense]\nx = 1\n", &[]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("there is no rule nonsense"));
    std::fs::remove_dir_all(&folder).unwrap();
}

/// What the reader read, dropped and guessed stands in every form of the report, with the argument that chooses otherwise.
#[test]
fn every_report_holds_the_account() {
    for (file, marks) in [
        ("perf-script/ev.txt", &["event", "--value ", "Events are never mixed"][..]),
        ("folded/small.folded", &["unit", "--unit nanoseconds", "folded/bad-line"]),
    ] {
        let told = json(&hotspan(&["inspect", "--json"], &[file]))["sources"][0]["ledger"].clone();
        let records = &told["records"];
        for form in ["text", "markdown", "json", "csv", "sarif", "html"] {
            let text = String::from_utf8(hotspan(&["analyze", "--format", form], &[file]).stdout).unwrap();
            for mark in marks {
                assert!(text.contains(mark), "{file} as {form} lacks {mark}:\n{text}");
            }
            if form == "sarif" {
                let log: Value = serde_json::from_str(&text).unwrap();
                assert_eq!(log["version"], "2.1.0");
                let results = log["runs"][0]["results"].as_array().unwrap();
                let findings = json(&hotspan(&["analyze", "--format", "json"], &[file]))["findings"].clone();
                assert_eq!(results.len(), findings.as_array().unwrap().len());
            }
            if form != "json" {
                let line = format!("{} kept, {} dropped", records["kept"], records["dropped"]);
                assert!(text.contains(&line), "{file} as {form} lacks {line}:\n{text}");
            }
            assert!(text.contains("checked, "), "{file} as {form} does not say over how much");
        }
    }
}

/// Rows of pprof add up equal stacks: what is counted are its events, and where none are counted, rows are called rows.
#[test]
fn samples_are_events_and_not_rows() {
    for (file, line, events) in [
        ("pprof/cpu.pb.gz", "362 samples in 218 rows", Value::from(362)),
        ("pprof/allocs.pb.gz", " rows, ", Value::Null),
        ("folded/small.folded", "23 samples in 4 rows", Value::from(23)),
    ] {
        let inspected = json(&hotspan(&["inspect", "--json"], &[file]));
        assert_eq!(inspected["sources"][0]["profiles"][0]["events"], events, "{file}");
        let text = String::from_utf8(hotspan(&["inspect"], &[file]).stdout).unwrap();
        assert!(text.contains(line), "{file} lacks {line}:\n{text}");
    }
}
