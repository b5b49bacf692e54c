//! What must stay, or change in a known way, when the input does: order of files and records, repetition, other names, other
//! units of time, too little data. Nothing here knows what the right findings are; each input is its own oracle.

use crate::corpus::{folder, open_bytes};
use crate::generator::plants::case;
use crate::generator::{otlp, run};
use hotspan::analysis::functions::{Options, functions, label};
use hotspan::analysis::red;
use hotspan::analysis::weights::{Selection, weights};
use hotspan::engine::Engine;
use hotspan::engine::protocol::{ExportKind, Request, SampleQuery};
use hotspan::findings::finding::Finding;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// How many generated systems: every plant comes up several times.
const SYSTEMS: u64 = 72;

fn opened(files: &[(&str, &[u8])]) -> Engine {
    let mut engine = Engine::default();
    for (name, bytes) in files {
        engine.open(name, bytes.len() as u64, Box::new(std::io::Cursor::new(bytes.to_vec())), &mut |_| true);
    }
    engine.finish();
    engine
}

/// All that a finding says, but for its rank and the files that its command names.
fn essence(f: &Finding) -> String {
    let mut f = f.clone();
    (f.id, f.query) = (String::new(), String::new());
    serde_json::to_string(&f).unwrap()
}

/// The findings as a set of texts.
fn said(engine: &Engine) -> BTreeSet<String> {
    engine.report.findings.iter().map(essence).collect()
}

fn same(number: u64, what: &str, one: &BTreeSet<String>, other: &BTreeSet<String>) {
    let only = |a: &BTreeSet<String>, b: &BTreeSet<String>| a.difference(b).cloned().collect::<Vec<_>>().join("\n  ");
    assert!(one == other, "case {number}, {what}\nonly before:\n  {}\nonly after:\n  {}", only(one, other), only(other, one));
}

/// Files of a corpus folder, small enough for many runs.
fn corpus(folders: &[&str]) -> Vec<PathBuf> {
    let Some(root) = folder() else { return Vec::new() };
    let small = |p: &PathBuf| p.metadata().is_ok_and(|m| m.is_file() && m.len() < 400_000);
    let mut out: Vec<PathBuf> =
        folders.iter().flat_map(|f| std::fs::read_dir(root.join(f)).unwrap()).filter_map(|e| Some(e.ok()?.path())).filter(small).collect();
    out.sort();
    out
}

fn fixture_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

#[test]
fn the_order_of_records_and_files_means_nothing() {
    for number in 0..SYSTEMS {
        let mut spans = run::spans(&case(number).system);
        let whole = otlp::write(&spans);
        let before = said(&opened(&[("x", &whole)]));
        // The same requests, each span before the one that called it. Traces stay in order: it decides between equals.
        spans.sort_by_key(|s| (s.trace, std::cmp::Reverse(s.id)));
        same(number, "spans backwards", &before, &said(&opened(&[("x", &otlp::write(&spans))])));
        // One file per service, in both orders.
        let lines: Vec<&[u8]> = whole.split_inclusive(|b| *b == b'\n').collect();
        let files: Vec<(&str, &[u8])> = lines.iter().map(|l| ("x", *l)).collect();
        let backwards: Vec<(&str, &[u8])> = files.iter().rev().copied().collect();
        let (forth, back) = (opened(&files), opened(&backwards));
        let names = |e: &Engine| -> BTreeSet<(String, String, String)> {
            // What is wrong with a recording is told per file.
            let program = e.report.findings.iter().filter(|f| !f.rule.starts_with("recording-"));
            program.map(|f| (f.rule.to_string(), f.fingerprint.clone(), f.message.clone())).collect()
        };
        assert_eq!(names(&forth), names(&back), "case {number}: files backwards");
    }
}

#[test]
fn samples_in_another_order_are_the_same_profile() {
    let lines: Vec<String> = (0..40).map(|i| format!("main;part{};hot{} {}\n", i % 5, i % 7, 40 + 13 * i)).collect();
    let backwards: Vec<String> = lines.iter().rev().cloned().collect();
    let (forth, back) = (open_bytes(lines.concat().into_bytes()), open_bytes(backwards.concat().into_bytes()));
    assert!(!forth.report.findings.is_empty());
    same(0, "lines backwards", &said(&forth), &said(&back));
    for path in corpus(&["folded"]) {
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let backwards: String = text.lines().rev().map(|l| format!("{l}\n")).collect();
        let (forth, back) = (opened(&[("x", text.as_bytes())]), opened(&[("x", backwards.as_bytes())]));
        if forth.session.sources[0].format == "folded" && forth.session.sources[0].format == back.session.sources[0].format {
            // What is wrong with a recording names its lines.
            let kept = |e: &Engine| {
                let program = e.report.findings.iter().filter(|f| !f.rule.starts_with("recording-"));
                program.map(|f| (f.fingerprint.clone(), f.message.clone())).collect::<BTreeSet<_>>()
            };
            assert_eq!(kept(&forth), kept(&back), "{}", path.display());
        }
    }
}

#[test]
fn requests_that_happen_twice_count_twice_and_keep_their_shares() {
    let mut compared = 0;
    for number in 0..SYSTEMS {
        let spans = run::spans(&case(number).system);
        let mut twice = spans.clone();
        let traces = spans.iter().map(|s| s.trace).max().unwrap_or(0) + 1;
        twice.extend(spans.iter().cloned().map(|mut s| {
            s.trace += traces;
            s
        }));
        let (once, twice) = (opened(&[("x", &otlp::write(&spans))]), opened(&[("x", &otlp::write(&twice))]));
        let calls = |e: &Engine| {
            red::operations(&e.session.traces)
                .iter()
                .map(|r| (r.calls, r.errors, r.sum_ns))
                .fold((0, 0, 0), |a, b| (a.0 + b.0, a.1 + b.1, a.2 + b.2))
        };
        let (a, b) = (calls(&once), calls(&twice));
        assert_eq!((a.0 * 2, a.1 * 2, a.2 * 2), b, "case {number}");
        let after: BTreeMap<(&str, &str), &Finding> = twice.report.findings.iter().map(|f| ((f.rule, f.fingerprint.as_str()), f)).collect();
        for f in once.report.findings.iter().filter(|f| f.rule.starts_with("chatty-")) {
            let Some(g) = after.get(&(f.rule, f.fingerprint.as_str())) else { panic!("case {number}: {} is gone", f.title) };
            compared += 1;
            assert_eq!(
                (f.occurrences.count * 2, f.occurrences.traces * 2),
                (g.occurrences.count, g.occurrences.traces),
                "case {number}: {}",
                f.title
            );
            assert_eq!(
                (f.impact.amount * 2, f.title.as_str(), f.severity),
                (g.impact.amount, g.title.as_str(), g.severity),
                "case {number}"
            );
            let shares = [f, g].map(|f| f.share.as_ref().map_or(0.0, |s| s.p));
            assert!((shares[0] - shares[1]).abs() < 1e-9, "case {number}: {shares:?}");
        }
    }
    assert!(compared > 5, "only {compared} findings were compared");
}

#[test]
fn a_profile_twice_keeps_shares_and_doubles_weights() {
    let text = std::fs::read_to_string(fixture_path("folded/small.folded")).unwrap();
    let shares = |e: &Engine| {
        let all = Selection { value: e.session.profiles[0].default_value, ..Selection::default() };
        let w = weights(&e.session, all);
        let rows = functions(&e.session, &w, Options::default()).rows;
        rows.iter().map(|r| (label(&e.session, r).to_string(), r.own, r.total, w.total)).collect::<BTreeSet<_>>()
    };
    let once = shares(&open_bytes(text.clone().into_bytes()));
    let twice = shares(&open_bytes(format!("{text}{text}").into_bytes()));
    assert_eq!(once.iter().map(|(n, own, total, all)| (n.clone(), own * 2, total * 2, all * 2)).collect::<BTreeSet<_>>(), twice);
}

#[test]
fn files_add_up() {
    for number in 0..SYSTEMS / 4 {
        let (a, mut b) = (run::spans(&case(number).system), run::spans(&case(number + SYSTEMS).system));
        let traces = a.iter().map(|s| s.trace).max().unwrap_or(0) + 1;
        b.iter_mut().for_each(|s| s.trace += traces);
        let (a, b) = (otlp::write(&a), otlp::write(&b));
        let count = |e: &Engine| -> BTreeMap<(String, String), (u64, u64, i64)> {
            let t = &e.session.traces;
            let mut out = BTreeMap::new();
            for r in red::operations(t) {
                let service = r.service.get().map_or("", |s| e.session.strings.get(t.services[s.index()]));
                out.insert((service.to_string(), e.session.strings.get(r.name).to_string()), (r.calls, r.errors, r.sum_ns));
            }
            out
        };
        let mut sum = count(&opened(&[("a", &a)]));
        for (key, more) in count(&opened(&[("b", &b)])) {
            let of = sum.entry(key).or_default();
            *of = (of.0 + more.0, of.1 + more.1, of.2 + more.2);
        }
        assert_eq!(sum, count(&opened(&[("a", &a), ("b", &b)])), "case {number}");
    }
    // Findings of profiles of several files are those of each.
    let files = ["pprof/cpu.pb.gz", "perf-script/loops.perf-script.txt.gz"].map(|n| std::fs::read(fixture_path(n)).unwrap());
    let program =
        |e: &Engine| e.report.findings.iter().filter(|f| f.rule == "hot-loop").map(|f| f.fingerprint.clone()).collect::<BTreeSet<_>>();
    let each: BTreeSet<String> = files.iter().flat_map(|f| program(&opened(&[("x", f)]))).collect();
    let both = program(&opened(&[("x", &files[0]), ("x", &files[1])]));
    assert!(!each.is_empty());
    assert_eq!(each, both);
}

#[test]
fn other_names_give_the_same_findings_under_other_names() {
    for number in 0..SYSTEMS {
        let spans = run::spans(&case(number).system);
        let mut renamed = spans.clone();
        renamed.iter_mut().for_each(|s| s.service = format!("{}zq", s.service));
        let texts = |e: &Engine, services: &BTreeSet<&str>| -> BTreeSet<(String, u32, String, i64, i64, i64)> {
            let back = |text: &str| services.iter().fold(text.to_string(), |t, s| t.replace(&format!("{s}zq"), s));
            let of = |f: &Finding| {
                (f.rule.to_string(), f.score, back(&f.message), f.impact.amount, f.impact.recoverable_low, f.impact.recoverable_high)
            };
            e.report.findings.iter().map(of).collect()
        };
        let services: BTreeSet<&str> = spans.iter().map(|s| s.service.as_str()).collect();
        let (before, after) = (opened(&[("x", &otlp::write(&spans))]), opened(&[("x", &otlp::write(&renamed))]));
        assert_eq!(texts(&before, &services), texts(&after, &services), "case {number}");
    }
    let text = "main;handle;hot 500\nmain;cold 40\nmain;handle 60\n";
    let (before, after) = (open_bytes(text.into()), open_bytes(text.replace("main", "start").into_bytes()));
    assert!(before.report.findings.iter().any(|f| f.rule == "hot-loop"));
    let scores =
        |e: &Engine| e.report.findings.iter().map(|f| (f.rule, f.score, f.message.replace("start", "main"))).collect::<BTreeSet<_>>();
    assert_eq!(scores(&before), scores(&after));
}

#[test]
fn times_ten_is_a_cost_times_ten() {
    let mut compared = 0;
    for number in 0..SYSTEMS {
        let spans = run::spans(&case(number).system);
        let origin = spans.iter().map(|s| s.start).min().unwrap_or(0);
        let mut slow = spans.clone();
        for s in &mut slow {
            (s.start, s.end) = (origin + (s.start - origin) * 10, origin + (s.end - origin) * 10);
        }
        let (before, after) = (opened(&[("x", &otlp::write(&spans))]), opened(&[("x", &otlp::write(&slow))]));
        let found: BTreeMap<(&str, &str), &Finding> = after.report.findings.iter().map(|f| ((f.rule, f.fingerprint.as_str()), f)).collect();
        for f in before.report.findings.iter().filter(|f| f.rule.starts_with("chatty-") && f.also.is_empty()) {
            let Some(g) = found.get(&(f.rule, f.fingerprint.as_str())).filter(|g| g.also.is_empty()) else { continue };
            compared += 1;
            let of = |f: &Finding| [f.impact.amount, f.impact.recoverable_low, f.impact.recoverable_high];
            assert_eq!(of(f).map(|ns| ns * 10), of(g), "case {number}: {}", f.title);
        }
    }
    assert!(compared > 5, "only {compared} findings were compared");
}

#[test]
fn too_little_says_nothing() {
    // Nineteen samples are too few for any claim about the program, whatever they show.
    let engine = open_bytes(b"main;hot 19\n".to_vec());
    assert!(engine.report.findings.iter().all(|f| f.rule.starts_with("recording-")), "{:#?}", engine.report.findings);
    let enough = open_bytes(b"main;hot 500\n".to_vec());
    assert!(enough.report.findings.iter().any(|f| f.rule == "hot-loop"), "{:#?}", enough.report.findings);
    // A thousandth of the time: what is left are patterns of many calls, none that a time makes.
    for number in 0..SYSTEMS / 4 {
        let mut spans = run::spans(&case(number).system);
        let origin = spans.iter().map(|s| s.start).min().unwrap_or(0);
        for s in &mut spans {
            (s.start, s.end) = (origin + (s.start - origin) / 1000, origin + (s.end - origin) / 1000);
        }
        let engine = opened(&[("x", &otlp::write(&spans))]);
        let timed: Vec<&str> =
            engine.report.findings.iter().filter(|f| ["slow-call", "slow-query"].contains(&f.rule)).map(|f| f.title.as_str()).collect();
        assert!(timed.is_empty(), "case {number}: {timed:?}");
    }
}

#[test]
fn the_next_recording_has_the_same_fingerprints() {
    let (mut compared, mut gone) = (0, Vec::new());
    for number in 0..SYSTEMS {
        let case = case(number);
        let Some(truth) = &case.truth else { continue };
        let mut again = case.system.clone();
        again.seed ^= 0x5eed;
        let of = |spans: &[run::Span]| {
            let engine = opened(&[("x", &otlp::write(spans))]);
            let planted =
                engine.report.findings.iter().filter(|f| f.rule == truth.rule && f.subject.name.to_lowercase().contains(&truth.marker));
            planted.map(|f| f.fingerprint.clone()).collect::<BTreeSet<_>>()
        };
        let (first, second) = (of(&run::spans(&case.system)), of(&run::spans(&again)));
        if first.is_empty() || second.is_empty() {
            continue;
        }
        compared += 1;
        if first.is_disjoint(&second) {
            gone.push(format!("case {number}: {} {first:?} became {second:?}", truth.rule));
        }
    }
    assert!(gone.is_empty() && compared > 20, "{compared} compared\n{}", gone.join("\n"));
    // Other counts, other addresses, the same functions.
    let prints = |text: &str| {
        open_bytes(text.as_bytes().to_vec())
            .report
            .findings
            .iter()
            .filter(|f| f.rule == "hot-loop")
            .map(|f| f.fingerprint.clone())
            .collect::<BTreeSet<_>>()
    };
    let (first, second) = (prints("main;hot 500\nmain;cold 20\n"), prints("main;cold 25\nmain;hot 470\nother 3\n"));
    assert!(!first.is_empty());
    assert_eq!(first, second);
}

/// The command and the export of the page's engine write the same bytes.
#[test]
fn the_command_writes_what_the_page_exports() {
    let folder = fixture_path("");
    for name in crate::kinds::KINDS {
        let path = folder.join(name);
        let out = Command::new(env!("CARGO_BIN_EXE_hotspan"))
            .args(["analyze", "--format", "json"])
            .arg(path.file_name().unwrap())
            .current_dir(path.parent().unwrap())
            .output()
            .unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let mut engine = opened(&[(path.file_name().unwrap().to_str().unwrap(), &bytes)]);
        let export = Request::Export { what: ExportKind::Json, query: SampleQuery::default(), finding: None };
        let page = engine.handle(&export).unwrap().reader().u8();
        assert!(page == out.stdout, "{name}: the bytes differ");
    }
}
