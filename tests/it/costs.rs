//! Rules on CPU time by kind of work, on recordings of programs whose work is known. The shares are those that the reference
//! implementation of the taxonomy (PROFILES 3, an independent program in Python) measures in the same files.

use crate::corpus::{fixture, open, open_bytes};
use hotspan::engine::Engine;
use hotspan::engine::protocol::kinds::KindsData;
use hotspan::engine::protocol::{Request, SampleQuery};
use hotspan::findings::finding::{Confidence, Finding, RuleStatus, Severity};

fn of<'a>(engine: &'a Engine, rule: &str) -> Vec<&'a Finding> {
    engine.report.findings.iter().filter(|f| f.rule == rule).collect()
}

fn one<'a>(engine: &'a Engine, rule: &str) -> &'a Finding {
    let found = of(engine, rule);
    assert_eq!(found.len(), 1, "{rule}: {found:?}");
    found[0]
}

/// Per mille, as the reference prints them.
fn per_mille(f: &Finding) -> i64 {
    (f.share.as_ref().unwrap().p * 1000.0).round() as i64
}

#[test]
fn kinds_of_work_of_a_go_program() {
    let engine = fixture("pprof/cpu.pb.gz");
    for (rule, share, owner) in
        [("regex-compile", 202, "main.regexInLoop"), ("serialization-cost", 160, "main.encodeAll"), ("hash-map-growth", 41, "main.mapGrow")]
    {
        let f = one(&engine, rule);
        assert_eq!((per_mille(f), f.subject.name.as_str()), (share, owner), "{rule}");
        assert!(f.evidence.iter().any(|e| e.text.ends_with(owner) && e.view.path.last().is_some_and(|p| p == owner)), "{:?}", f.evidence);
        assert!(f.impact.recoverable_low <= f.impact.recoverable_high && f.impact.recoverable_high <= f.impact.amount);
        assert_eq!(f.impact.unit, "nanoseconds");
    }
    let compile = one(&engine, "regex-compile");
    assert_eq!((compile.severity, compile.confidence), (Severity::Critical, Confidence::Likely));
    assert!(compile.remedies.iter().any(|r| r.contains("package variable")), "{:?}", compile.remedies);
    // Encoding is not decoding, and part of it is allocation and reflection.
    let json = one(&engine, "serialization-cost");
    assert!(json.evidence.iter().any(|e| e.text == "100 % encode"), "{:?}", json.evidence);
    assert!(json.evidence.iter().any(|e| e.text.contains("also in string formatting") || e.text.contains("also in reflection")));
    // Idle processors spin and sleep on futexes: that is scheduling and no contention.
    for rule in ["lock-contention", "compression-cost", "hashing-cost", "sort-cost", "crypto-cost", "db-driver-cost"] {
        assert_eq!(of(&engine, rule).len(), 0, "{rule}");
        let verdict = engine.report.verdicts.iter().find(|v| v.rule == rule).unwrap();
        assert_eq!((verdict.status, verdict.over.as_str()), (RuleStatus::Clear, "362 active samples in 1 CPU profile"));
    }
}

#[test]
fn compilers_and_collectors_of_the_jvm() {
    for (file, jit) in [("G1", 357), ("Parallel", 387), ("Serial", 401), ("Shenandoah", 385), ("Z", 326)] {
        let name = format!("../shared/recordings/java-Use{file}GC.perf-script.txt.gz");
        let Some(engine) = open_recording(&name) else { return };
        let f = one(&engine, "warm-up");
        assert_eq!((per_mille(f), f.severity), (jit, Severity::Info), "{file}");
        // The threads of collectors spin while they wait for work: 4.8 % under the parallel collector.
        assert_eq!(of(&engine, "lock-contention").len(), 0, "{file}");
    }
}

fn open_recording(name: &str) -> Option<Engine> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    match std::fs::read(&path) {
        Ok(bytes) => Some(open_bytes(bytes)),
        Err(_) => {
            eprintln!("recordings are absent: {name} was not looked at");
            None
        }
    }
}

#[test]
fn a_hot_clock_and_a_hot_map_are_named() {
    let Some(engine) = open("pprof/gpprof--large.cpu") else { return };
    let f = one(&engine, "clock-reads");
    assert_eq!((f.subject.name.as_str(), f.severity), ("main.next", Severity::Critical));
    let Some(engine) = open("pprof/gpprof--sample.cpu") else { return };
    assert_eq!(one(&engine, "hash-map-cost").subject.name, "main.busyLoop");
    // A script's own functions named parse are no codec.
    let Some(engine) = open("cpuprofile/speedscope--sucrase.cpuprofile.gz") else { return };
    assert_eq!(of(&engine, "serialization-cost").len(), 0);
}

/// Hand-drawn stacks: what counts and what does not.
#[test]
fn only_what_the_program_asks_for_counts() {
    let go = "runtime.goexit;runtime.main;main.main;";
    let drawn = |lines: &[(&str, u32)]| {
        let text: String = lines.iter().map(|(stack, n)| format!("{go}{stack} {n}\n")).collect();
        open_bytes(text.into_bytes())
    };
    // Compiled by package variables and by init: nothing is claimed; in a function it is.
    let text = "runtime.goexit;runtime.main;runtime.doInit;main.init;regexp.MustCompile;regexp/syntax.Parse 400\n\
                runtime.goexit;runtime.main;main.main;main.work 600\n";
    assert_eq!(of(&open_bytes(text.as_bytes().to_vec()), "regex-compile").len(), 0);
    let engine = drawn(&[("main.work;regexp.MustCompile;regexp/syntax.Parse", 400), ("main.work", 600)]);
    assert_eq!(one(&engine, "regex-compile").subject.name, "main.work");
    assert_eq!(of(&engine, "regex-match").len(), 0);
    // A mutex that somebody waits for, one that nobody waits for, and workers that look for work.
    let engine = drawn(&[("main.work;sync.(*Mutex).Lock;sync.(*Mutex).lockSlow;runtime.futex", 200), ("main.work", 800)]);
    let f = one(&engine, "lock-contention");
    assert_eq!((per_mille(f), f.title.starts_with("Contended locks: 20.0 %")), (200, true), "{}", f.title);
    let engine = drawn(&[("main.work;sync.(*Mutex).Unlock", 200), ("main.work", 800)]);
    assert!(one(&engine, "lock-contention").title.starts_with("Many uncontended locks"));
    let text = "runtime.mcall;runtime.park_m;runtime.schedule;runtime.findRunnable;runtime.stopm;runtime.futex 200\n\
                runtime.goexit;main.main;main.work 800\n";
    let engine = open_bytes(text.as_bytes().to_vec());
    assert_eq!(of(&engine, "lock-contention").len(), 0);
    assert_eq!(of(&engine, "scheduler-cost").len(), 1);
    // A framework below the program's handler is on every stack and costs nothing; what the handler calls does.
    let text = "runtime.goexit;net/http.(*conn).serve;main.handler 800\n\
                runtime.goexit;net/http.(*conn).serve;main.handler;net/http.(*Client).Do 100\n";
    let engine = open_bytes(text.as_bytes().to_vec());
    assert_eq!(of(&engine, "rpc-cost").len(), 0, "11 % are less than 15 %");
    let engine = open_bytes(text.replace("Do 100", "Do 400").into_bytes());
    assert_eq!(per_mille(one(&engine, "rpc-cost")), 333);
    // Below twenty samples nothing is claimed, below a hundred no more than info.
    let engine = drawn(&[("main.work;regexp.MustCompile", 9), ("main.work", 9)]);
    let verdict = engine.report.verdicts.iter().find(|v| v.rule == "regex-compile").unwrap();
    assert_eq!(verdict.reason, "because there are only 18 samples that are not idle");
    let engine = drawn(&[("main.work;regexp.MustCompile", 40), ("main.work", 40)]);
    assert_eq!(one(&engine, "regex-compile").severity, Severity::Info);
}

#[test]
fn handshakes_have_thresholds_of_their_own() {
    let text =
        "main;main.call;crypto/tls.(*Conn).Handshake;crypto/elliptic.p256 60\nmain;main.call;main.work 940\nruntime.goexit;main.main 1\n";
    let engine = open_bytes(text.as_bytes().to_vec());
    let f = one(&engine, "crypto-cost");
    assert!(f.title.starts_with("Handshakes and signatures: 5.99 %"), "{}", f.title);
    assert!(f.remedies.iter().any(|r| r.contains("MaxIdleConnsPerHost")), "{:?}", f.remedies);
}

/// Samples with times: one match that does not end, although its share is small.
#[test]
fn one_long_run_is_told_whatever_its_share() {
    let sample = |at: u32, node: u32| (at, node);
    let mut samples: Vec<(u32, u32)> = (0..1000).map(|i| sample(i, 2)).collect();
    samples.splice(500..560, (500..560).map(|i| sample(i, 3)));
    let ids: Vec<String> = samples.iter().map(|(_, n)| n.to_string()).collect();
    let deltas: Vec<&str> = samples.iter().map(|_| "1000").collect();
    let node = |id: u32, name: &str, children: &str| {
        format!(
            r#"{{"id":{id},"callFrame":{{"functionName":"{name}","scriptId":"1","url":"file:///app.js","lineNumber":1,"columnNumber":1}},"hitCount":0,"children":[{children}]}}"#
        )
    };
    let text = format!(
        r#"{{"nodes":[{},{},{}],"startTime":0,"endTime":1000000,"samples":[{}],"timeDeltas":[{}]}}"#,
        node(1, "(root)", "2"),
        node(2, "check", "3"),
        node(3, "RegExp: ^(a+)+$", ""),
        ids.join(","),
        deltas.join(",")
    );
    let engine = open_bytes(text.into_bytes());
    let f = one(&engine, "regex-match");
    assert_eq!((per_mille(f), f.severity), (60, Severity::Info));
    assert!(f.message.contains("longest uninterrupted run takes 60.0 ms"), "{}", f.message);
}

fn kinds(engine: &mut Engine) -> KindsData {
    let answer = engine.handle(&Request::Kinds { query: SampleQuery::default() }).unwrap();
    serde_json::from_str(&answer.head).unwrap()
}

/// Parts add up to the whole; figures that do not depend on where a run of library code ends are those of the reference.
#[test]
fn kinds_of_work_add_up_to_the_whole() {
    let mut engine = fixture("perf-script/loops.perf-script.txt.gz");
    let data = kinds(&mut engine);
    assert_eq!((data.samples, data.kinds.iter().map(|k| k.samples).sum::<u64>()), (2497, 2497));
    let share = |name: &str| data.kinds.iter().find(|k| k.name == name).map_or(0, |k| (k.samples as f64 * 1000.0 / 2497.0).round() as u64);
    // The reference prints app 86.9 %, alloc 7.6 %, memops 3.1 %, pagefault 0.3 %.
    assert_eq!([share("application"), share("alloc"), share("memops"), share("pagefault")], [869, 76, 31, 3]);
    let top = &data.kinds[0];
    assert_eq!((top.label.as_str(), top.function.as_str()), ("application", "dot"));
    let weights: f64 = data.kinds.iter().map(|k| k.weight).sum();
    assert!((weights - data.whole).abs() < 1.0);
    let mut engine = fixture("perf-script/java-UseSerialGC.perf-script.txt.gz");
    let data = kinds(&mut engine);
    assert_eq!(data.kinds.iter().map(|k| k.samples).sum::<u64>(), data.samples);
    assert!(data.kinds.iter().any(|k| k.name == "jit" && (k.samples as f64 * 1000.0 / data.samples as f64).round() == 401.0));
    // A heap profile has no kinds of work, and idle samples are none.
    assert!(kinds(&mut fixture("pprof/allocs.pb.gz")).kinds.is_empty());
    let mut engine = open_bytes(b"main;work 30\nmain;(idle) 5000\nmain;work;memcpy 10\n".to_vec());
    let data = kinds(&mut engine);
    assert!(data.samples >= 40 && data.samples == data.kinds.iter().map(|k| k.samples).sum::<u64>());
}

/// PROFILES 3: half of the block profile is pprof's own waiting and that of workers.
#[test]
fn waiting_for_locks_is_told_from_waiting_for_work() {
    for (file, words) in [("mutex.pb.gz", "while the lock was held by main.contend"), ("block.pb.gz", "in main.contend")] {
        let Some(engine) = open_recording(&format!("../shared/recordings/{file}")) else { return };
        let f = one(&engine, "lock-wait");
        assert!(f.title.ends_with(words), "{}", f.title);
        assert_eq!((f.severity, f.confidence, f.impact.unit.as_str()), (Severity::Info, Confidence::Confirmed, "nanoseconds"));
        let left_out = f.evidence.iter().any(|e| e.text.ends_with("are left out"));
        assert_eq!(left_out, file == "block.pb.gz", "{:?}", f.evidence);
    }
    let engine = fixture("pprof/cpu.pb.gz");
    let verdict = engine.report.verdicts.iter().find(|v| v.rule == "lock-wait").unwrap();
    assert_eq!(verdict.status, RuleStatus::NotChecked);
}
