//! The old forms of pprof: facts of the corpus, names from symbol sections and comments, and damage. All their numbers are
//! compared with `go tool pprof` itself in `go_pprof.rs`.

use crate::corpus::{Table, expected, fixture, open, open_bytes};
use crate::go_pprof::ours;
use crate::profiles::survives_damage;
use hotspan::engine::Engine;

/// Rows by function: self, total, name.
fn functions(engine: &Engine, value: usize) -> Vec<(i64, i64, String)> {
    ours(engine, 0, (value, 0, false)).1
}

#[test]
fn corpus_equals_the_reference() {
    let mut table = Table::default();
    for (file, _, facts) in expected(&["pprof-legacy"]) {
        table.file();
        let engine = open(&file).unwrap();
        let source = &engine.session.sources[0];
        assert_eq!((source.format.as_str(), &source.error), ("pprof-legacy", &None), "{file}");
        let p = &engine.session.profiles[0];
        for lists in facts["go_pprof"].as_array().unwrap() {
            let header: Vec<&str> = lists["header"].as_array().unwrap().iter().map(|h| h.as_str().unwrap()).collect();
            let shown = header.iter().find_map(|h| h.strip_prefix("Type: ")).unwrap();
            let value = p.value_index(shown).unwrap_or_else(|| panic!("{file} has no {shown}"));
            let rows = functions(&engine, value);
            for row in lists["top10_flat"].as_array().into_iter().chain(lists["top10_cum"].as_array()).flatten() {
                let name = row["name"].as_str().unwrap();
                let got = rows.iter().find(|r| r.2 == name).map(|r| (r.0, r.1));
                table.check(&file, name, got, Some((row["flat"].as_i64().unwrap(), row["cum"].as_i64().unwrap())));
            }
            let total = header.iter().find_map(|h| h.split_once(" of ").filter(|_| h.starts_with("Showing nodes accounting"))).unwrap().1;
            table.check(&file, "total", p.total(value), total.split(' ').next().unwrap().parse().unwrap());
        }
        if file.ends_with(".contention") {
            table.check(&file, "duration", p.duration_ns, 16_502_830 * 1_000_000);
        }
    }
    // `go tool pprof` does not read the names in comments: two of the ten goroutines have one at their leaf.
    table.finish("pprof-legacy", &["pprof-legacy/gonotes--1.net.http.pprof.goroutine.debug1.txt: <unknown>"]);
}

#[test]
fn a_symbol_section_gives_names() {
    let engine = fixture("pprof-legacy/cpu-symbols.prof");
    let row = |own, total, name: &str| (own, total, name.to_string());
    // 3 + 5 + 1 samples; `std::min` was inlined into `hot_loop`; the address 0x402010 is that of a mangled name.
    assert_eq!(
        functions(&engine, 0),
        [row(5, 5, "std::min"), row(3, 8, "hot_loop"), row(1, 1, "work::stride"), row(0, 9, "__libc_start_main"), row(0, 3, "main"),]
    );
    assert_eq!(engine.session.profiles[0].total(1), 9 * 10_000_000);
}

#[test]
fn comments_of_go_give_names_and_labels() {
    let engine = fixture("pprof-legacy/goroutine.go-debug1.txt");
    let row = |own, total, name: &str| (own, total, name.to_string());
    assert_eq!(functions(&engine, 0), [row(5, 5, "<unknown>"), row(0, 2, "main.serve"), row(0, 3, "main.wait")]);
    let (session, p) = (&engine.session, &engine.session.profiles[0]);
    let labels: Vec<(&str, &str)> = p.labels.labels.iter().map(|l| (session.strings.get(l.key), session.strings.get(l.text))).collect();
    assert_eq!(labels, [("tenant", "a\"b"), ("worker", "mail")]);
    // `main.grow` was inlined into `main.main`, for both have one address.
    let engine = fixture("pprof-legacy/heap.go-debug1.txt");
    let rows = functions(&engine, 1);
    let named: Vec<&(i64, i64, String)> = rows.iter().filter(|r| r.2.starts_with("main.")).collect();
    assert_eq!(named, [&row(2_098_688, 2_098_688, "main.small"), &row(0, 1_212_696, "main.grow"), &row(0, 1_212_696, "main.main")]);
    assert_eq!(engine.session.sources[0].ledger.diagnostics.count("pprof-legacy/bad-line"), 0);
}

#[test]
fn what_is_no_sample_is_counted() {
    let text = b"heap profile: 1: 2 [1: 2] @ heapprofile\n1: 2 [1: 2] @ 0x10 0x20\nnonsense\n0: 5 [1: 2] @ 0x10\n".to_vec();
    let engine = open_bytes(text);
    let ledger = &engine.session.sources[0].ledger;
    assert_eq!((ledger.records_in, ledger.records_kept, ledger.diagnostics.count("pprof-legacy/bad-line")), (3, 1, 2));
    let cut = open_bytes([0_u64, 3, 0, 10_000, 0, 4, 2, 0x10, 0x20, 7, 9, 1].iter().flat_map(|w| w.to_le_bytes()).collect());
    assert_eq!(cut.session.sources[0].ledger.diagnostics.count("pprof-legacy/cut"), 1);
    assert_eq!(cut.session.profiles[0].total(0), 4);
}

#[test]
fn damage_is_survived() {
    for name in
        ["heap_v2.heap", "heap.go-debug1.txt", "contentionz.txt", "threadz.txt", "cpu-32be.prof", "cpu-symbols.prof", "java-cpu.prof"]
    {
        survives_damage(&format!("pprof-legacy/{name}"), 300);
    }
}
