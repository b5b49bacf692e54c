//! Hot loops on recordings of programs whose loops are known (PROFILES 1.2 and 1.3), and on real profiles.

use crate::corpus::{fixture, open, open_bytes};
use hotspan::base::view::{View, ViewRef};
use hotspan::engine::Engine;
use hotspan::engine::protocol::flame::{FlameData, FlameMode};
use hotspan::engine::protocol::{Request, SampleQuery};
use hotspan::findings::finding::{Confidence, Finding, RuleStatus, Severity};
use hotspan::findings::settings::{Settings, parse_setting};

fn loops(engine: &Engine) -> Vec<&Finding> {
    engine.report.findings.iter().filter(|f| f.rule == "hot-loop").collect()
}

fn status(engine: &Engine, rule: &str) -> (RuleStatus, String) {
    let verdict = engine.report.verdicts.iter().find(|v| v.rule == rule).unwrap();
    (verdict.status, verdict.reason.clone())
}

/// Every link of a finding must lead to something that is there.
fn check_links(engine: &mut Engine) {
    for f in engine.report.findings.clone() {
        for e in &f.evidence {
            let place = ViewRef::parse(&e.view.to_hash());
            assert_eq!(place, e.view);
            let profile = place.profile.unwrap();
            let value = engine.session.profiles[profile as usize].value_index(place.value.as_deref().unwrap()).unwrap() as u32;
            let query = SampleQuery { profile, value, ..SampleQuery::default() };
            if place.view == View::Flame && !place.path.is_empty() {
                let request = Request::Flame { query: query.clone(), mode: FlameMode::Merged };
                let picture = FlameData::decode(engine.handle(&request).unwrap()).unwrap();
                assert!(picture.find_path(&place.path).is_some(), "{}: {:?}", f.title, place.path);
            }
            if let Some(function) = place.function {
                engine.handle(&Request::FunctionDetail { query, function }).unwrap();
            }
        }
    }
}

#[test]
fn known_loops_of_a_c_program() {
    let mut engine = fixture("perf-script/loops.perf-script.txt.gz");
    let found = loops(&engine);
    let get = |name: &str| found.iter().find(|f| f.subject.name == name);
    for (name, samples, tier) in [("dot", 664, "T2+T3"), ("scan", 637, "T2+T3"), ("matmul", 176, "T2+T3")] {
        let f = get(name).unwrap_or_else(|| panic!("{name} was not found"));
        assert_eq!((f.occurrences.count, f.tier.as_str(), f.confidence), (samples, tier, Confidence::Confirmed), "{name}");
        assert!(f.title.starts_with("Hot loop (T2+T3): "), "{}", f.title);
        assert_eq!(f.share.as_ref().unwrap().n, 2497);
        // One period of cpu-clock at 2 kHz is half a millisecond.
        assert!((f.impact.amount - samples as i64 * 500_250).abs() < 1_000_000, "{}", f.impact.amount);
        assert!(0 < f.impact.recoverable_low && f.impact.recoverable_low < f.impact.recoverable_high);
    }
    // Straight-line code that is called in a loop, a recursive function, the allocator and the kernel are no loops.
    for name in ["straight", "fib", "malloc", "_int_free", "finish_task_switch.isra.0", "irqentry_exit_to_user_mode"] {
        assert!(get(name).is_none(), "{name}");
    }
    // The loop is where straight is called.
    let caller = found.iter().find(|f| f.subject.path.last().is_some_and(|p| p == "straight")).unwrap();
    assert_eq!((caller.subject.name.as_str(), caller.occurrences.count), ("main", 620));
    assert!(caller.evidence.iter().any(|e| e.text.contains("+0x1ab")), "{:?}", caller.evidence);
    check_links(&mut engine);
}

#[test]
fn a_loop_of_a_go_program_by_lines_and_addresses() {
    let mut engine = fixture("pprof/cpu.pb.gz");
    let found = loops(&engine);
    let f = found.iter().find(|f| f.subject.name == "main.hotLoop").unwrap();
    // 104 samples of its own and 19 in runtime.asyncPreempt, which lands in tight loops.
    assert_eq!((f.occurrences.count, f.tier.as_str()), (123, "T2"));
    assert!(f.evidence.iter().any(|e| e.text.contains("lines 31 to 32")), "{:?}", f.evidence);
    assert!(f.subject.file.ends_with("main.go"));
    for name in ["runtime.mallocgc", "runtime.growslice", "runtime.asyncPreempt"] {
        assert!(found.iter().all(|f| f.subject.name != name), "{name}");
    }
    check_links(&mut engine);
}

#[test]
fn map_iteration_is_charged_to_the_function_that_does_it() {
    let Some(mut engine) = open("pprof/gpprof--sample.cpu") else { return };
    let found = loops(&engine);
    assert_eq!(found.len(), 1);
    let f = found[0];
    assert_eq!((f.subject.name.as_str(), f.severity), ("main.busyLoop", Severity::Critical));
    assert!(f.title.contains("runtime.mapiternext"), "{}", f.title);
    assert!(f.message.contains("runtime.mapiternext 72.7 %"), "{}", f.message);
    assert!(f.remedies[0].contains("map"), "{:?}", f.remedies);
    assert_eq!(f.impact.unit, "nanoseconds");
    check_links(&mut engine);
}

#[test]
fn names_alone_prove_no_loop() {
    let engine = open_bytes(b"main;work 300\nmain;work;memcpy 100\nmain;other 600\nmain;(idle) 5000\n".to_vec());
    let found = loops(&engine);
    assert!(found.iter().all(|f| f.tier == "T0" && f.confidence == Confidence::Possible && f.title.contains("(T0)")));
    // Idle samples are not part of the whole.
    let other = found.iter().find(|f| f.subject.name == "other").unwrap();
    assert_eq!((other.share.as_ref().unwrap().p, other.share.as_ref().unwrap().n), (0.6, 1000));
}

#[test]
fn what_data_cannot_answer_is_said() {
    let engine = open_bytes(b"main;work 3\nmain;other 7\n".to_vec());
    let (status_, reason) = status(&engine, "hot-loop");
    assert_eq!(status_, RuleStatus::NotChecked);
    assert!(reason.contains("fewer than 20 samples"), "{reason}");
    let engine = fixture("pprof/allocs.pb.gz");
    assert!(status(&engine, "hot-loop").1.starts_with("because no file holds samples of CPU"));
    // A threshold can be changed by its name.
    let mut settings = Settings::default();
    settings.thresholds.push(parse_setting("hot-loop.min-leaf-samples=200").unwrap());
    let mut engine = Engine { settings, ..Engine::default() };
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/perf-script/loops.perf-script.txt.gz");
    let bytes = std::fs::read(path).unwrap();
    engine.open("x", bytes.len() as u64, Box::new(std::io::Cursor::new(bytes)), &mut |_| true);
    engine.finish();
    assert!(loops(&engine).iter().all(|f| f.occurrences.count >= 200));
    assert!(loops(&engine).iter().any(|f| f.subject.name == "dot"));
}
