//! The doctor of recordings: hand-drawn files with one defect each, and the same files without it.

use crate::corpus::{fixture, open_bytes};
use hotspan::engine::Engine;
use hotspan::findings::finding::{Finding, RuleStatus, Severity};
use std::fmt::Write;

fn of<'e>(engine: &'e Engine, rule: &str) -> Option<&'e Finding> {
    engine.report.findings.iter().find(|f| f.rule == rule)
}

fn verdict(engine: &Engine, rule: &str) -> (RuleStatus, String) {
    let v = engine.report.verdicts.iter().find(|v| v.rule == rule).unwrap();
    (v.status, format!("{}{}", v.over, v.reason))
}

/// `perf script` with samples at the given milliseconds.
fn perf(samples: impl Iterator<Item = (u64, &'static str)>) -> Engine {
    let mut text = String::new();
    for (ms, frames) in samples {
        let _ = writeln!(text, "app 7/7 [000] {}.{:03}000: 1000000 cpu-clock:", ms / 1000, ms % 1000);
        for name in frames.split(' ') {
            let (name, dso) = name.split_once('@').unwrap_or((name, "/bin/app"));
            let _ = writeln!(text, "\t401000 {name} ({dso})");
        }
        text.push('\n');
    }
    open_bytes(text.into_bytes())
}

#[test]
fn few_samples_are_too_few() {
    let n = |n: u64| perf((0..n).map(|i| (i, "leaf+0x1 main+0x2")));
    let few = n(50);
    let found = of(&few, "recording-few-samples").unwrap();
    assert_eq!((found.occurrences.count, found.severity, found.subject.kind), (50, Severity::Info, "recording"));
    // 5 of 50: Wilson 1927 gives 4.3 % to 21.4 %.
    assert!(found.message.contains("4.35 %") && found.message.contains("21.4 %"), "{}", found.message);
    assert_eq!(of(&n(10), "recording-few-samples").map(|f| f.severity), Some(Severity::Warning));
    let enough = n(100);
    assert!(of(&enough, "recording-few-samples").is_none());
    assert_eq!(verdict(&enough, "recording-few-samples"), (RuleStatus::Clear, "100 samples in 1 CPU profile".to_string()));
}

#[test]
fn stacks_that_end_at_the_limit_are_truncated() {
    let deep = |depth: usize, n: usize| {
        let mut text = String::new();
        for i in 0..100 {
            let _ = writeln!(text, "app 7/7 [000] 1.{i:06}: 1 cycles:");
            for frame in 0..if i < n { depth } else { 5 } {
                let _ = writeln!(text, "\t{frame:x} f{frame}+0x1 (/bin/app)");
            }
            text.push('\n');
        }
        open_bytes(text.into_bytes())
    };
    let cut = deep(127, 20);
    let found = of(&cut, "recording-truncated-stacks").unwrap();
    assert_eq!((found.occurrences.count, found.severity), (20, Severity::Warning));
    assert!(found.remedies[0].contains("--max-stack"));
    assert_eq!(of(&deep(127, 2), "recording-truncated-stacks").map(|f| f.severity), Some(Severity::Info));
    for (depth, n) in [(126, 20), (128, 20), (127, 1)] {
        assert!(of(&deep(depth, n), "recording-truncated-stacks").is_none(), "{depth} {n}");
    }
}

#[test]
fn names_that_are_missing_are_missing_by_binary() {
    let engine = perf((0..100).map(|i| (i, if i < 60 { "[unknown]@/usr/lib/libx.so main+0x2" } else { "leaf+0x1 main+0x2" })));
    let found = of(&engine, "recording-missing-symbols").unwrap();
    assert_eq!((found.occurrences.count, found.severity), (60, Severity::Warning));
    assert!(found.evidence[0].text.starts_with("libx.so: 60"), "{}", found.evidence[0].text);
    assert!(found.remedies[0].starts_with("libx.so: install its debug package"));
    let few = perf((0..100).map(|i| (i, if i < 19 { "[unknown]@/usr/lib/libx.so main+0x2" } else { "leaf+0x1 main+0x2" })));
    assert!(of(&few, "recording-missing-symbols").is_none());
}

#[test]
fn losses_are_told_with_their_places() {
    let text = "app 7/7 [000] 1.000001: 1 cycles:\n\t1 f+0x1 (/a)\n\napp 7 [000] 1.5: PERF_RECORD_LOST lost 300\nthis is no line of perf\n";
    let engine = open_bytes(text.as_bytes().to_vec());
    let found = of(&engine, "recording-lost-data").unwrap();
    assert_eq!((found.occurrences.count, found.severity), (301, Severity::Warning));
    assert!(found.evidence.iter().any(|e| e.text.contains("line 4")) && found.evidence.iter().any(|e| e.text.contains("line 5")));
    assert!(found.evidence[0].view.to_hash().starts_with("#files?src=0"));
    assert!(of(&fixture("pprof/cpu.pb.gz"), "recording-lost-data").is_none());
}

#[test]
fn events_are_named_and_unlikely_counts_questioned() {
    let engine = fixture("perf-script/ev.txt");
    let found = of(&engine, "recording-mixed-weights").unwrap();
    assert!(found.title.starts_with("3 events") && found.evidence.len() == 3, "{}", found.title);
    let mut text = String::new();
    for i in 0..20 {
        let _ = writeln!(text, "main;f{i} {}", 40_000_001 + 977 * i);
    }
    let engine = open_bytes(text.into_bytes());
    assert!(of(&engine, "recording-mixed-weights").is_some_and(|f| f.title.contains("too large to be counts")));
    assert!(of(&fixture("folded/small.folded"), "recording-mixed-weights").is_none());
}

#[test]
fn idle_samples_phases_and_the_observer_are_seen() {
    let engine =
        perf((0..200).map(|i| {
            (i, if i % 4 < 3 { "default_idle+0x1@[kernel.kallsyms] do_idle+0x2@[kernel.kallsyms]" } else { "leaf+0x1 main+0x2" })
        }));
    assert_eq!(of(&engine, "recording-idle").map(|f| f.occurrences.count), Some(150));
    let phases = perf((0..1000).map(|i| (i, if i < 300 { "load+0x1 main+0x2" } else { "compute+0x1 main+0x2" })));
    let found = of(&phases, "recording-phases").unwrap();
    assert!(found.message.contains("100 %") || found.message.contains("0 %"), "{}", found.message);
    assert_eq!(found.evidence[0].view.mode.as_deref(), Some("chart"));
    let mixed = perf((0..1000).map(|i| (i, if i * 7 % 10 < 3 { "load+0x1 main+0x2" } else { "compute+0x1 main+0x2" })));
    assert_eq!(verdict(&mixed, "recording-phases").0, RuleStatus::Clear);
    assert_eq!(verdict(&fixture("pprof/cpu.pb.gz"), "recording-phases").0, RuleStatus::NotChecked);
}

#[test]
fn a_program_that_waits_is_not_bound_by_the_cpu() {
    // One sample of a millisecond every 50 ms: 2 %.
    let waits = perf((0..100).map(|i| (i * 50, "leaf+0x1 main+0x2")));
    let found = of(&waits, "recording-not-cpu-bound").unwrap();
    assert!(found.title.contains("2.02 %"), "{}", found.title);
    let works = perf((0..2000).map(|i| (i, "leaf+0x1 main+0x2")));
    assert_eq!(verdict(&works, "recording-not-cpu-bound").0, RuleStatus::Clear);
}

/// OTLP spans: id, parent, service, kind, start and end in milliseconds, attribute.
fn traces(spans: &[(u64, u64, &str, u32, i64, i64)]) -> Engine {
    let mut lines = String::new();
    for (id, parent, service, kind, start, end) in spans {
        let ns = |ms: i64| 1_700_000_000_000_000_000_i64 + ms * 1_000_000;
        let parent = if *parent == 0 { String::new() } else { format!("\"parentSpanId\":\"{parent:016x}\",") };
        let _ = writeln!(
            lines,
            "{{\"resourceSpans\":[{{\"resource\":{{\"attributes\":[{{\"key\":\"service.name\",\"value\":{{\"stringValue\":\"{service}\"}}}}]}},\"scopeSpans\":[{{\"spans\":[{{\"traceId\":\"{:032x}\",\"spanId\":\"{id:016x}\",{parent}\"name\":\"op\",\"kind\":{kind},\"startTimeUnixNano\":\"{}\",\"endTimeUnixNano\":\"{}\"}}]}}]}}]}}",
            id / 100 + 1,
            ns(*start),
            ns(*end)
        );
    }
    open_bytes(lines.into_bytes())
}

#[test]
fn traces_are_examined_too() {
    // Twelve traces: a calls b; b's clock is 70 ms ahead in all; b is missing in two; one span has no length.
    let mut spans = Vec::new();
    for t in 0..12 {
        let id = t * 100;
        spans.push((id + 1, 0, "a", 2, 0, 100));
        spans.push((id + 2, id + 1, "a", 3, 10, 90));
        if t >= 2 {
            spans.push((id + 3, id + 2, "b", 2, 90, 130));
        }
    }
    let engine = traces(&spans);
    let skew = of(&engine, "recording-clock-skew").unwrap();
    // The caller's 80 ms around the callee's 40: it belongs at 30 ms and stands at 90.
    assert!(skew.title.contains("a and b differ by about 60.0 ms") && skew.message.contains("ahead"), "{} {}", skew.title, skew.message);
    let gaps = of(&engine, "recording-sampling-gaps").unwrap();
    assert_eq!((gaps.occurrences.count, gaps.share.as_ref().map(|s| s.n)), (2, Some(12)));
    assert_eq!(verdict(&engine, "recording-orphan-spans"), (RuleStatus::Clear, "34 spans in 12 traces".to_string()));
    // Orphans and lengths.
    let engine = traces(&[(1, 0, "a", 2, 0, 100), (2, 9, "a", 1, 0, 50), (3, 1, "", 0, 20, 20)]);
    assert_eq!(of(&engine, "recording-orphan-spans").map(|f| f.occurrences.count), Some(1));
    assert_eq!(of(&engine, "recording-unfinished-spans").map(|f| f.occurrences.count), Some(1));
    let orphan = of(&engine, "recording-orphan-spans").unwrap();
    assert!(orphan.evidence[0].view.to_hash().contains("span=0000000000000002"), "{:?}", orphan.evidence);
}

#[test]
fn spans_without_names_are_unusable() {
    let spans: Vec<_> = (0..30).map(|i| (i + 1, 0, if i < 20 { "a" } else { "" }, u32::from(i >= 6) * 2, 0, 10)).collect();
    let engine = traces(&spans);
    let found = of(&engine, "recording-unusable-spans").unwrap();
    assert!(
        found.message.contains("10 of 30 spans have no service") && found.message.contains("6 of 30 spans have no kind"),
        "{}",
        found.message
    );
    assert!(verdict(&engine, "recording-unusable-spans").1.contains("calls usable"));
    assert_eq!(verdict(&fixture("pprof/cpu.pb.gz"), "recording-unusable-spans").0, RuleStatus::NotChecked);
}
