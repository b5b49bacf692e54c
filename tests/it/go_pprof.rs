//! Every row of the function table against `go tool pprof -top` itself: all granularities, with and without inlined
//! functions, every sample type. Where Go is absent the numbers it gave for our own recordings are compared.

use crate::corpus::{Table, folder};
use hotspan::analysis::functions::{By, Granularity, Options, functions, printable};
use hotspan::analysis::subtract::subtract;
use hotspan::analysis::weights::{Selection, weights};
use hotspan::engine::Engine;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The granularities by the names that both tools give them.
const GRANULARITIES: [(&str, Granularity); 5] = [
    ("functions", Granularity::Functions),
    ("filefunctions", Granularity::FileFunctions),
    ("files", Granularity::FunctionsOfFiles),
    ("lines", Granularity::Lines),
    ("addresses", Granularity::Addresses),
];

/// One table: (flat, cum, name) in order.
type Rows = Vec<(i64, i64, String)>;

/// Whether `go tool pprof` can be started; says so when it cannot.
pub fn go() -> bool {
    let found = Command::new("go").args(["tool", "pprof", "-h"]).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        assert!(std::env::var_os("HOTSPAN_REQUIRE_GO").is_none(), "HOTSPAN_REQUIRE_GO is set and there is no `go`");
        println!("SKIPPED: there is no `go`, so nothing was compared with `go tool pprof` itself");
    }
    found
}

/// What is asked of one file: (sample type, granularity, no inlines).
pub type Question = (usize, usize, bool);

/// All questions for a number of sample types.
pub fn questions(types: usize) -> Vec<Question> {
    (0..types).flat_map(|t| (0..GRANULARITIES.len()).flat_map(move |g| [(t, g, false), (t, g, true)])).collect()
}

/// The unit in which `go tool pprof` prints whole numbers of a sample type's unit.
fn unit(of: &str) -> &str {
    match of {
        "nanoseconds" => "ns",
        "microseconds" => "us",
        "milliseconds" => "ms",
        "seconds" => "s",
        "bytes" => "B",
        other => other,
    }
}

/// The answers of `go tool pprof` to all questions about a file, with the total that it takes shares of; `None` when it refuses the file.
/// `units` are those of the sample types.
pub fn ask_go(files: &[&Path], flags: &[String], units: &[String], questions: &[Question]) -> Option<Vec<(i64, Rows)>> {
    let out = std::env::temp_dir().join(format!("hotspan-go-{}-{:?}", std::process::id(), std::thread::current().id()));
    std::fs::create_dir_all(&out).unwrap();
    let mut script = String::from("nodecount=100000000\nnodefraction=0\nedgefraction=0\n");
    for (i, (t, g, no_inlines)) in questions.iter().enumerate() {
        let _ =
            writeln!(script, "sample_index={t}\nunit={}\ngranularity={}\nnoinlines={no_inlines}", unit(&units[*t]), GRANULARITIES[*g].0);
        let _ = writeln!(script, "top 100000000 >{}", out.join(i.to_string()).display());
    }
    // Away from the sources: pprof shortens paths that hold the name of the folder it runs in.
    let mut child = Command::new("go")
        .args(["tool", "pprof"])
        .args(flags)
        .args(files)
        .current_dir(&out)
        .env("TERM", "dumb")
        .env("PPROF_BINARY_PATH", &out)
        .env("PPROF_TMPDIR", &out)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).ok();
    let output = child.wait_with_output().unwrap();
    let answers: Option<Vec<(i64, Rows)>> =
        (0..questions.len()).map(|i| std::fs::read_to_string(out.join(i.to_string())).ok().map(|text| parse(&text))).collect();
    std::fs::remove_dir_all(&out).ok();
    if answers.is_none() {
        println!("go tool pprof refuses {files:?}: {}", String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default());
    }
    answers
}

fn number(text: &str) -> i64 {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    digits.parse().unwrap_or_else(|_| panic!("{text} is no whole number"))
}

fn parse(text: &str) -> (i64, Rows) {
    let mut total = 0;
    let mut rows = Rows::new();
    let mut lines = text.lines();
    for line in lines.by_ref() {
        if let Some((_, rest)) = line.split_once(" of ").filter(|_| line.starts_with("Showing nodes accounting for")) {
            total = number(rest.split(' ').next().unwrap());
        }
        if line.trim_start().starts_with("flat ") {
            break;
        }
    }
    for line in lines {
        let mut rest = line.trim_start();
        let mut words = Vec::new();
        for _ in 0..5 {
            let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
            words.push(word);
            rest = after.trim_start();
        }
        let name = line.trim_start();
        let name = name.get(name.len() - rest.len()..).unwrap();
        let name = name.strip_suffix(" (inline)").or(name.strip_suffix(" (partial-inline)")).unwrap_or(name);
        rows.push((number(words[0]), number(words[3]), name.to_string()));
    }
    (total, rows)
}

/// Our answer to a question.
pub fn ours(engine: &Engine, profile: usize, (value, granularity, no_inlines): Question) -> (i64, Rows) {
    let session = &engine.session;
    let weights = weights(session, Selection { profile, value, thread: None });
    let options = Options { granularity: GRANULARITIES[granularity].1, no_inlines, ..Options::default() };
    let mut table = functions(session, &weights, options);
    table.sort(session, By::Own);
    (table.magnitude, table.rows.iter().map(|e| (e.own, e.total, printable(session, e))).collect())
}

/// Opens without running rules.
pub fn tables(bytes: Vec<u8>) -> Engine {
    let mut engine = Engine::default();
    engine.open("x", bytes.len() as u64, Box::new(std::io::Cursor::new(bytes)), &mut |_| true);
    engine.link();
    engine
}

fn weighty(rows: &Rows) -> Vec<&(i64, i64, String)> {
    rows.iter().filter(|r| (r.0, r.1) != (0, 0)).collect()
}

fn sorted(rows: &Rows) -> Vec<&(i64, i64, String)> {
    let mut out = weighty(rows);
    out.sort();
    out
}

/// The first rows that only one side has.
pub fn difference(ours: &Rows, theirs: &Rows) -> String {
    let (a, b) = (sorted(ours), sorted(theirs));
    let only = |x: &[&(i64, i64, String)], y: &[&(i64, i64, String)]| {
        x.iter().filter(|r| y.binary_search(r).is_err()).take(3).map(|r| format!("{r:?}")).collect::<Vec<_>>().join(" ")
    };
    format!("only ours: {}; only theirs: {}", only(&a, &b), only(&b, &a))
}

/// Files of the corpus, our own recordings and fixtures, for a format.
pub fn files(format: &str) -> Vec<PathBuf> {
    let mut out = Vec::new();
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(format);
    let corpus = folder();
    let recordings = corpus.as_ref().map(|c| c.join("../recordings")).filter(|_| format == "pprof");
    for folder in [Some(own), corpus.map(|c| c.join(format)), recordings].into_iter().flatten() {
        let list = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
        out.extend(list.filter(|p| !p.to_string_lossy().ends_with(".md") && !p.to_string_lossy().ends_with(".tsv") && !p.is_dir()));
    }
    out.sort();
    out
}

/// Compares all tables of a file.
fn compare(table: &mut Table, file: &str, path: &Path, engine: &Engine) {
    let p = &engine.session.profiles[0];
    let units: Vec<String> = p.value_types.iter().map(|v| v.unit.clone()).collect();
    let questions = questions(units.len());
    let Some(answers) = ask_go(&[path], &["-symbolize=remote".to_string()], &units, &questions) else { return };
    table.file();
    for (question, (total, theirs)) in questions.iter().zip(answers) {
        let (our_total, ours) = ours(engine, 0, *question);
        let what = format!("{} {} {}", p.value_types[question.0].name, GRANULARITIES[question.1].0, question.2);
        let text = difference(&ours, &theirs);
        table.check(file, &format!("{what} ({text})"), sorted(&ours) == sorted(&theirs), true);
        table.check(file, &format!("{what} order"), weighty(&ours) == weighty(&theirs), true);
        if !theirs.is_empty() {
            table.check(file, &format!("{what} total"), our_total, total);
        }
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

#[test]
fn every_row_equals_go_tool_pprof() {
    if !go() {
        return;
    }
    let mut table = Table::default();
    for path in files("pprof") {
        let engine = tables(std::fs::read(&path).unwrap());
        if engine.session.profiles.first().is_some_and(|p| p.format == "pprof") {
            compare(&mut table, &file_name(&path), &path, &engine);
        }
    }
    table.finish("go tool pprof", &[]);
}

#[test]
fn old_forms_equal_go_tool_pprof() {
    if !go() {
        return;
    }
    let mut table = Table::default();
    for path in files("pprof-legacy") {
        // `go tool pprof` knows neither symbol sections nor the names that Go writes as comments.
        let mut bytes = std::fs::read(&path).unwrap();
        if bytes.starts_with(b"--- symbol") {
            continue;
        }
        if let Ok(text) = std::str::from_utf8(&bytes).map(str::to_string)
            && text.contains("\n#")
        {
            bytes = text.lines().filter(|l| !l.starts_with('#')).flat_map(|l| [l, "\n"]).collect::<String>().into_bytes();
        }
        let engine = tables(bytes);
        let source = &engine.session.sources[0];
        assert_eq!((source.format.as_str(), &source.error), ("pprof-legacy", &None), "{}", path.display());
        assert_eq!(source.ledger.records_in, source.ledger.records_kept, "{}", path.display());
        compare(&mut table, &file_name(&path), &path, &engine);
    }
    table.finish("go tool pprof, old forms", &[]);
}

#[test]
fn differences_equal_go_tool_pprof() {
    let (Some(corpus), true) = (folder(), go()) else { return };
    let mut table = Table::default();
    let recordings = corpus.join("../recordings");
    let pairs = [
        (corpus.join("pprof/ddgo--heap.before.pprof"), corpus.join("pprof/ddgo--heap.after.pprof")),
        (corpus.join("pprof/ddgo--block.before.pprof"), corpus.join("pprof/ddgo--block.after.pprof")),
        (corpus.join("pprof/parca--1644509272337470000.pb.gz"), corpus.join("pprof/parca--1644509299337903000.pb.gz")),
        (recordings.join("heap1.pb.gz"), recordings.join("heap2.pb.gz")),
        (corpus.join("pprof/ddgo--stress-failure.before.pprof"), corpus.join("pprof/ddgo--stress-failure.after.pprof")),
    ];
    for (base, candidate) in &pairs {
        for (flag, mark) in [("-base", false), ("-diff_base", true)] {
            table.file();
            let mut engine = tables(std::fs::read(candidate).unwrap());
            let bytes = std::fs::read(base).unwrap();
            engine.open("y", bytes.len() as u64, Box::new(std::io::Cursor::new(bytes)), &mut |_| true);
            engine.link();
            let row = subtract(&mut engine.session, 0, 1, mark).unwrap();
            let units: Vec<String> = engine.session.profiles[row].value_types.iter().map(|v| v.unit.clone()).collect();
            let questions: Vec<Question> = questions(units.len()).into_iter().filter(|q| matches!(q.1, 0 | 3 | 4) && !q.2).collect();
            let flags = ["-symbolize=remote".to_string(), format!("{flag}={}", base.display())];
            let answers = ask_go(&[candidate], &flags, &units, &questions).unwrap();
            for (question, (total, theirs)) in questions.iter().zip(answers) {
                let (our_total, ours) = ours(&engine, row, *question);
                let text = difference(&ours, &theirs);
                let what = format!("{flag} {question:?}");
                table.check(&file_name(candidate), &format!("{what} ({text})"), sorted(&ours) == sorted(&theirs), true);
                if !theirs.is_empty() {
                    table.check(&file_name(candidate), &format!("{what} total"), our_total, total);
                }
            }
        }
    }
    table.finish("go tool pprof -base and -diff_base", &[]);
}

/// What `go tool pprof` said about our own recordings: first lines of each table.
const SAID: &str = "tests/fixtures/pprof/go-tool-pprof.tsv";
/// How many rows of each table are kept there.
const KEPT: usize = 8;

#[test]
fn own_recordings_equal_what_go_tool_pprof_said() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let go = go();
    let said = std::fs::read_to_string(root.join(SAID)).unwrap_or_default();
    let (mut own, mut theirs) = (String::new(), String::new());
    for name in ["allocs", "block", "cpu", "heap1", "syn"] {
        let path = root.join("tests/fixtures/pprof").join(format!("{name}.pb.gz"));
        let engine = tables(std::fs::read(&path).unwrap());
        let p = &engine.session.profiles[0];
        let units: Vec<String> = p.value_types.iter().map(|v| v.unit.clone()).collect();
        let questions = questions(units.len());
        let write = |out: &mut String, (t, g, no_inlines): Question, (total, rows): &(i64, Rows)| {
            let rows = weighty(rows);
            let inlines = if no_inlines { "no-inlines" } else { "inlines" };
            let _ = writeln!(out, "{name}\t{}\t{}\t{inlines}\t{total}\t{}", p.value_types[t].name, GRANULARITIES[g].0, rows.len());
            for (flat, cum, name) in rows.into_iter().take(KEPT) {
                let _ = writeln!(out, "\t{flat}\t{cum}\t{name}");
            }
        };
        for question in &questions {
            write(&mut own, *question, &ours(&engine, 0, *question));
        }
        if go {
            let answers = ask_go(&[&path], &["-symbolize=remote".to_string()], &units, &questions).unwrap();
            for (question, answer) in questions.iter().zip(&answers) {
                write(&mut theirs, *question, answer);
            }
        }
    }
    if go && std::env::var_os("HOTSPAN_WRITE_EXPECTED").is_some() {
        std::fs::write(root.join(SAID), &theirs).unwrap();
    } else {
        for (ours, said) in own.lines().zip(said.lines()) {
            assert_eq!(ours, said);
        }
        assert_eq!(own.lines().count(), said.lines().count());
        assert!(!go || theirs == said, "this version of Go says something else than {SAID}");
    }
}
