//! Rules beside hot-loop that speak of repetition, on recordings with planted defects and on small drawn ones.

use crate::corpus::{fixture, open_bytes};
use hotspan::engine::Engine;
use hotspan::findings::finding::{Finding, Severity};

fn of<'a>(engine: &'a Engine, rule: &str) -> Vec<&'a Finding> {
    let all = engine.report.findings.iter();
    all.filter(|f| f.rule == rule).collect()
}

/// Findings of a rule, those told under a finding of another rule included.
fn told(engine: &Engine, rule: &str) -> Vec<String> {
    let f = engine.report.findings.iter();
    f.flat_map(|f| {
        let own = (f.rule == rule).then(|| f.title.clone());
        own.into_iter().chain(f.also.iter().chain(&f.consequences).filter(|r| r.rule == rule).map(|r| r.title.clone()))
    })
    .collect()
}

#[test]
fn order_of_time_counts_what_the_oracle_counts() {
    // A script of ours that compares neighbouring samples (no further apart than three usual intervals) counts the same: dot 9
    // backward in its code and once among its callees, 14 and 1 forward, 571 at the same place; scan 250 and 10, 225 and 9, 85.
    // Of straight, standing still does not count.
    let engine = fixture("perf-script/loops.perf-script.txt.gz");
    let text = |name: &str| {
        let f = of(&engine, "hot-loop").into_iter().find(|f| f.subject.path.last().is_some_and(|p| p == name)).unwrap();
        f.evidence.iter().find(|e| e.text.contains("from one sample")).map(|e| e.text.clone()).unwrap_or_default()
    };
    println!("{}\n{}\n{}", text("dot"), text("scan"), text("straight"));
    let numbers = |name: &str| -> Vec<i64> {
        let text = text(name);
        text.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect()
    };
    assert_eq!(numbers("dot"), [10, 15, 571]);
    assert_eq!(numbers("scan"), [260, 234, 85]);
    assert_eq!(numbers("straight"), [288, 276]);
}

#[test]
fn a_pattern_compiled_in_a_loop_is_found() {
    let engine = fixture("pprof/cpu.pb.gz");
    let found = told(&engine, "repeated-setup");
    assert!(found.iter().any(|t| t.contains("main.regexInLoop") && t.contains("regular expressions")), "{found:?}");
    // The same work where a program begins is where it belongs.
    let begin =
        "main.main;runtime.doInit;main.init;regexp.MustCompile;regexp/syntax.Parse 100\nmain.main;main.work 900\nruntime.goexit;main.x 1\n";
    let engine = open_bytes(begin.as_bytes().to_vec());
    assert!(told(&engine, "repeated-setup").is_empty());
    let engine = open_bytes(begin.replace("runtime.doInit;main.init", "main.serve;main.handle").into_bytes());
    assert!(told(&engine, "repeated-setup").iter().any(|t| t.contains("main.handle")), "{:?}", told(&engine, "repeated-setup"));
}

#[test]
fn recursion_is_told_once_with_its_depth() {
    let deep = |n: usize, unit: &str| format!("main;{}leaf", unit.repeat(n));
    let text = format!("{} 200\n{} 100\nmain;other 300\n", deep(10, "fib;"), deep(5, "fib;"));
    let engine = open_bytes(text.into_bytes());
    let found = of(&engine, "recursion");
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].subject.name.as_str(), found[0].severity), ("fib", Severity::Info));
    assert_eq!(found[0].share.as_ref().unwrap().p, 0.5);
    assert!(found[0].message.contains("8.3 times on average, 10 at most"), "{}", found[0].message);
    // Fifty levels are a warning; a parser is expected to recurse less than that.
    let engine = open_bytes(format!("{} 200\nmain;other 300\n", deep(60, "ping;pong;")).into_bytes());
    assert_eq!(of(&engine, "recursion")[0].severity, Severity::Warning);
    assert!(of(&engine, "recursion")[0].title.contains("call each other"));
    let engine = open_bytes(format!("{} 200\nmain;other 300\n", deep(10, "parseExpr;")).into_bytes());
    assert!(of(&engine, "recursion").is_empty());
    // fib of the recorded program takes a fiftieth of the time: less than the limit.
    assert!(of(&fixture("perf-script/loops.perf-script.txt.gz"), "recursion").is_empty());
}

#[test]
fn cheap_calls_are_charged_to_who_repeats_them() {
    let text = "__libc_start_main;main;build;__memmove_avx_unaligned_erms 300\nmain;build 100\nmain;other 600\n";
    let engine = open_bytes(text.as_bytes().to_vec());
    let found = told(&engine, "repeated-cheap-call");
    assert!(found.iter().any(|t| t.contains("build") && t.contains("copying")), "{found:?}");
    assert!(of(&engine, "hot-loop").iter().all(|f| f.subject.name != "build"));
    // One in a hundred is nothing.
    let engine = open_bytes(b"__libc_start_main;main;build;__memmove_avx_unaligned_erms 40\nmain;build 100\nmain;other 6000\n".to_vec());
    assert!(told(&engine, "repeated-cheap-call").is_empty());
}

/// A recording of stacks one millisecond apart as `perf script` prints it: functions and offsets, from the root.
fn recorded(samples: &[Vec<(&str, u32)>]) -> Engine {
    let mut text = String::new();
    for (i, sample) in samples.iter().enumerate() {
        text.push_str(&format!("app 7/7 {}.{:06}: 1000000 cpu-clock: \n", 100 + i / 1000, i % 1000 * 1000));
        for (name, offset) in sample.iter().rev() {
            text.push_str(&format!("\t{:x} {name}+0x{offset:x} (/opt/app)\n", 0x1000 + offset));
        }
        text.push('\n');
    }
    open_bytes(text.into_bytes())
}

#[test]
fn a_hidden_loop_is_proven_by_its_order() {
    // walk hands everything to step, now from line 10, now from line 11; step spreads its work.
    let turn = |i: u32| vec![("main", 1), ("walk", 10 + i % 2), ("step", 20), (["a", "b", "c"][(i % 3) as usize], 30 + i % 40)];
    let looped: Vec<_> = (0..300).map(turn).collect();
    let engine = recorded(&looped);
    let found = told(&engine, "hidden-loop");
    assert!(found.iter().any(|t| t.starts_with("Hidden loop: walk runs step")), "{found:?}");
    // The same calls one after the other, without return: phases.
    let mut phases = looped.clone();
    phases.sort();
    assert!(told(&recorded(&phases), "hidden-loop").is_empty(), "{:?}", told(&recorded(&phases), "hidden-loop"));
}

#[test]
fn no_hidden_loop_is_made_of_roots_recursion_and_the_system() {
    // A process as the root frame, frames without a name, compilers and collectors on threads of their own.
    for text in [
        "dd;[unknown];[unknown];a 60\ndd;[unknown];b 60\nls;main;c 60\n",
        "java;JavaThread::run();CompileBroker::compiler_thread_loop();C2Compiler::compile_method 200\njava;x;y 30\n",
    ] {
        let engine = open_bytes(text.as_bytes().to_vec());
        assert!(told(&engine, "hidden-loop").is_empty(), "{:?}", told(&engine, "hidden-loop"));
    }
    // The same calls as in a hidden loop, but what is run comes back to its caller.
    let turn = |i: u32| {
        let mut stack = vec![("main", 1), ("walk", 10 + i % 2), ("step", 20)];
        if i.is_multiple_of(3) {
            stack.extend([("walk", 10), ("step", 20)]);
        }
        stack.push((["a", "b", "c"][(i % 3) as usize], 30 + i % 40));
        stack
    };
    let engine = recorded(&(0..300).map(turn).collect::<Vec<_>>());
    assert!(told(&engine, "hidden-loop").is_empty(), "{:?}", told(&engine, "hidden-loop"));
}
