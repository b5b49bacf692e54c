//! Exports are read back: the same bytes come out again, with the same numbers, and `go tool pprof` finds them too.

use crate::corpus::{Table, folder};
use crate::go_pprof::{ask_go, difference, go, ours, questions, tables};
use hotspan::engine::Engine;
use hotspan::model::profile::Profile;
use hotspan::report::folded::folded;
use hotspan::report::pprof::pprof;
use std::path::{Path, PathBuf};

/// Folders of the corpus and of our fixtures that may hold profiles.
const FORMATS: [&str; 10] =
    ["pprof", "pprof-legacy", "perf-script", "perf-data", "folded", "cpuprofile", "heapprofile", "chrome-trace", "gecko", "speedscope"];

/// Every file of a format, but for the largest timelines: they say nothing about exports that smaller ones do not.
fn files(format: &str) -> Vec<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(format);
    let mut out = Vec::new();
    for folder in [Some(own), folder().map(|c| c.join(format))].into_iter().flatten().filter(|f| f.is_dir()) {
        let list = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap());
        out.extend(list.filter(|e| e.metadata().unwrap().len() < 1_200_000).map(|e| e.path()));
    }
    out.sort();
    out
}

/// What a profile weighs by value type, with names and units.
fn totals(engine: &Engine, profile: usize) -> Vec<(String, String, i64)> {
    let p = &engine.session.profiles[profile];
    (0..p.value_types.len()).map(|i| (p.value_types[i].name.clone(), p.value_types[i].unit.clone(), p.total(i))).collect()
}

#[test]
fn pprof_comes_back() {
    let mut table = Table::default();
    for format in FORMATS {
        for path in files(format) {
            let engine = tables(std::fs::read(&path).unwrap());
            for profile in 0..engine.session.profiles.len() {
                table.file();
                let file = format!("{format}/{} {profile}", path.file_name().unwrap().to_string_lossy());
                let first = pprof(&engine.session, profile, None).unwrap();
                let again = tables(first.bytes.clone());
                let source = &again.session.sources[0];
                table.check(&file, "read", (source.format.as_str(), &source.error), ("pprof", &None));
                if again.session.profiles.is_empty() {
                    continue;
                }
                let second = pprof(&again.session, 0, None).unwrap();
                table.check(&file, "bytes", first.bytes == second.bytes, true);
                table.check(&file, "totals", totals(&again, 0), totals(&engine, profile));
                table.check(
                    &file,
                    "ledger",
                    (source.ledger.records_in, source.ledger.diagnostics.iter().count()),
                    (source.ledger.records_kept, 0),
                );
                let (p, q) = (&engine.session.profiles[profile], &again.session.profiles[0]);
                table.check(&file, "default value", p.value_types[p.default_value].name == q.value_types[q.default_value].name, true);
                table.check(&file, "threads", q.threads.len() <= p.threads.len().max(1) + 1, true);
                // Rows by function, of the value shown first, by file and line, with inlined functions and without.
                for question in [(p.default_value, 0, false), (p.default_value, 3, false), (p.default_value, 0, true)] {
                    let (before, after) = (ours(&engine, profile, question), ours(&again, 0, (q.default_value, question.1, question.2)));
                    let text = difference(&before.1, &after.1);
                    table.check(&file, &format!("rows {question:?} ({text})"), after == before, true);
                }
            }
        }
    }
    table.finish("export to pprof", &[]);
}

#[test]
fn folded_comes_back() {
    let mut table = Table::default();
    for format in FORMATS {
        for path in files(format) {
            let engine = tables(std::fs::read(&path).unwrap());
            for (profile, p) in engine.session.profiles.iter().enumerate() {
                for value in 0..p.value_types.len() {
                    let first = folded(&engine.session, profile, value, None);
                    if first.text.is_empty() {
                        continue;
                    }
                    table.file();
                    let file = format!("{format}/{} {profile} {value}", path.file_name().unwrap().to_string_lossy());
                    let again = tables(first.text.clone().into_bytes());
                    let source = &again.session.sources[0];
                    table.check(&file, "read", (source.format.as_str(), &source.error), ("folded", &None));
                    if again.session.profiles.is_empty() {
                        continue;
                    }
                    let second = folded(&again.session, 0, 0, None);
                    let line = first.text.lines().zip(second.text.lines()).find(|(a, b)| a != b);
                    table.check(&file, &format!("bytes {line:?}"), first.text == second.text, true);
                    let whole = p.total(value) - first.without_stack;
                    table.check(&file, "total", again.session.profiles[0].total(0), whole);
                }
            }
        }
    }
    table.finish("export to folded", &[]);
}

#[test]
fn go_tool_pprof_reads_what_is_written() {
    if !go() {
        return;
    }
    let out = std::env::temp_dir().join(format!("hotspan-export-{}", std::process::id()));
    std::fs::create_dir_all(&out).unwrap();
    let mut table = Table::default();
    for format in FORMATS {
        for path in files(format) {
            let engine = tables(std::fs::read(&path).unwrap());
            // `go tool pprof` prints numbers and units without a space between: units that begin with a digit cannot be read back.
            let legible = |p: &&Profile| !p.samples.is_empty() && !p.value_types[p.default_value].unit.starts_with("1e-");
            let Some(p) = engine.session.profiles.first().filter(legible) else { continue };
            let file = format!("{format}/{}", path.file_name().unwrap().to_string_lossy());
            let written = out.join("profile.pb.gz");
            std::fs::write(&written, pprof(&engine.session, 0, None).unwrap().bytes).unwrap();
            let units: Vec<String> = p.value_types.iter().map(|v| v.unit.clone()).collect();
            let value = p.default_value;
            let asked: Vec<_> = questions(units.len()).into_iter().filter(|q| q.0 == value && (q.1 == 0 || q.1 == 3)).collect();
            let answers = ask_go(&[&written], &["-symbolize=remote".to_string()], &units, &asked);
            table.file();
            table.check(&file, "read", answers.is_some(), true);
            for (question, (total, rows)) in asked.iter().zip(answers.into_iter().flatten()) {
                let (our_total, mut our_rows) = ours(&engine, 0, *question);
                our_rows.retain(|r| (r.0, r.1) != (0, 0));
                let rows: Vec<_> = rows.into_iter().filter(|r| (r.0, r.1) != (0, 0)).collect();
                let text = difference(&our_rows, &rows);
                table.check(&file, &format!("rows {question:?} ({text})"), our_rows == rows, true);
                if !our_rows.is_empty() {
                    table.check(&file, &format!("total {question:?}"), total, our_total);
                }
            }
        }
    }
    std::fs::remove_dir_all(&out).ok();
    table.finish("go tool pprof of exports", &[]);
}

#[test]
fn the_command_writes_what_the_library_writes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pprof/cpu.pb.gz");
    let command =
        |args: &[&str]| std::process::Command::new(env!("CARGO_BIN_EXE_hotspan")).arg("export").arg(&path).args(args).output().unwrap();
    let engine = tables(std::fs::read(&path).unwrap());
    assert_eq!(command(&["--to", "pprof"]).stdout, pprof(&engine.session, 0, None).unwrap().bytes);
    assert_eq!(command(&["--to", "folded", "--value", "samples"]).stdout, folded(&engine.session, 0, 0, None).text.into_bytes());
    // The form cannot hold the times of samples, and says so in the file and on standard error.
    let perf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/perf-script/java-UseSerialGC.perf-script.txt.gz");
    let written = pprof(&tables(std::fs::read(perf).unwrap()).session, 0, None).unwrap();
    assert_eq!(
        written.lost,
        [
            "hotspan: this is what cpu-clock measured",
            "hotspan: the times of samples are not in it",
            "hotspan: offsets in symbols are not in it where no address was known",
        ]
    );
    let again = tables(written.bytes);
    let p = &again.session.profiles[0];
    assert_eq!(p.comments, written.lost);
    assert!(p.threads.iter().any(|t| t.name == "VM Thread" && t.tid > 0), "{:?}", p.threads);
}
