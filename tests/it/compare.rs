//! Before and after: injected faults of other people's systems are found, random halves of one profile are not called different.

use crate::corpus::{Table, folder, open_bytes};
use crate::profiles::random;
use hotspan::base::ids::ProfileId;
use hotspan::engine::Engine;
use hotspan::engine::views::compare::diff;
use hotspan::findings::active::{Active, ActiveStack};
use hotspan::findings::compare_profiles::{Change, Limits, compare_active};
use std::path::Path;

fn both(baseline: &[u8], candidate: &[u8]) -> Engine {
    let mut engine = Engine::default();
    let add = |engine: &mut Engine, bytes: &[u8]| {
        engine.open("x", bytes.len() as u64, Box::new(std::io::Cursor::new(bytes.to_vec())), &mut |_| true);
    };
    engine.swap();
    add(&mut engine, baseline);
    engine.swap();
    add(&mut engine, candidate);
    engine.finish();
    engine
}

fn rules(engine: &Engine) -> Vec<(&'static str, String)> {
    engine.report.findings.iter().filter(|f| f.rule.starts_with("regression")).map(|f| (f.rule, f.title.clone())).collect()
}

#[test]
fn a_file_is_no_regression_of_itself() {
    for name in ["pprof/cpu.pb.gz", "otlp-json/checkout.json", "perf-script/loops.perf-script.txt.gz"] {
        let bytes = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap();
        let engine = both(&bytes, &bytes);
        assert_eq!(rules(&engine), [], "{name}");
        let c = engine.comparison().unwrap();
        let d = diff([&engine.baseline, &engine.session], c, 1000);
        assert!(d.profiles.iter().all(|p| p.functions.iter().all(|f| f.change == "same" && f.own[0] == f.own[1])), "{name}");
        assert!(d.traces.iter().all(|t| t.operations.iter().all(|o| o.change == "same")), "{name}");
    }
    let engine = open_bytes(b"a;b 10\na;c 20\n".to_vec());
    let verdict = engine.report.verdicts.iter().find(|v| v.rule == "regression-function").unwrap();
    assert!(verdict.reason.contains("no baseline"), "{}", verdict.reason);
}

#[test]
fn faults_that_were_injected_are_found() {
    let Some(folder) = folder() else { return };
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let names: Vec<String> =
        std::fs::read_dir(folder.join("otlp")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    let find = |part: &str| names.iter().find(|n| n.contains(part)).map(|n| format!("otlp/{n}")).unwrap();
    let mut table = Table::default();
    table.file();
    // Network delay at cartservice: GetCart as seen by the frontend goes from 5.1 ms to 249.7 ms (the corpus's README).
    let engine = both(&read(&find("nezha-ob-2022-08-23-17_00")), &read(&find("nezha-ob-2022-08-22-04_28")));
    let c = engine.comparison().unwrap();
    let d = diff([&engine.baseline, &engine.session], c, 10_000);
    let t = d.traces.unwrap();
    let cart = t.operations.iter().find(|o| o.service == "frontend" && o.operation.contains("CartService/GetCart")).unwrap();
    table.check("nezha-ob", "GetCart p50 before", (cart.p50_ns[0] + 50_000) / 100_000, 51);
    table.check("nezha-ob", "GetCart p50 after", (cart.p50_ns[1] + 50_000) / 100_000, 2497);
    table.check("nezha-ob", "GetCart", cart.change.as_str(), "regressed");
    let found = rules(&engine);
    let told = found.iter().any(|(rule, title)| *rule == "regression-operation" && title.contains("CartService/GetCart"));
    table.check("nezha-ob", "finding", told, true);
    let slow = t.endpoints.iter().find(|e| e.mean_ns[1] > 2 * e.mean_ns[0]).unwrap();
    table.check("nezha-ob", "explained by the cart", slow.explained_by.join(" ").to_lowercase().contains("cart"), true);
    // The two minutes of the other system also differ by a fault; a minute compared with itself does not.
    let (normal, faulty) = (read(&find("nezha-tt-2023-01-29-08_50")), read(&find("nezha-tt-2023-01-29-08_58")));
    table.file();
    table.check("nezha-tt", "some regression", rules(&both(&normal, &faulty)).is_empty(), false);
    table.check("nezha-tt", "none against itself", rules(&both(&normal, &normal)).len(), 0);
    table.finish("before and after", &[]);
}

/// Splits the active events of a profile in two at random, stack by stack: both halves come from one truth.
fn split(whole: &[ActiveStack], halves: &mut [Active<'_>; 2], state: &mut u64) {
    for half in halves.iter_mut() {
        (half.count, half.weight) = (0, 0);
    }
    for (row, a) in whole.iter().enumerate() {
        let first = (0..a.count).filter(|_| random(state).is_multiple_of(2)).count() as i64;
        for (half, count) in halves.iter_mut().zip([first, a.count - first]) {
            let value = if a.count > 0 { (i128::from(a.value) * i128::from(count) / i128::from(a.count)) as i64 } else { 0 };
            (half.stacks[row].count, half.stacks[row].value) = (count, value);
            (half.count, half.weight) = (half.count + count, half.weight + value);
        }
    }
}

#[test]
fn random_halves_of_a_profile_are_not_different() {
    let (mut splits, mut wrong) = (0, 0);
    let mut state = 7;
    for name in ["pprof/cpu.pb.gz", "perf-script/loops.perf-script.txt.gz", "perf-script/java-UseSerialGC.perf-script.txt.gz"] {
        let bytes = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap();
        let engine = open_bytes(bytes);
        let active = || Active::new(&engine.session, ProfileId(0), &engine.session.profiles[0]);
        let (whole, mut halves) = (active().stacks, [active(), active()]);
        for _ in 0..334 {
            split(&whole, &mut halves, &mut state);
            let c = compare_active(&halves, Limits::default());
            splits += 1;
            let accused = c.rows.iter().any(|r| matches!(r.change, Change::Regressed) || matches!(r.total_change, Change::Regressed));
            wrong += u32::from(accused);
        }
        // Nothing got lost between the halves.
        assert!(halves[0].count > 0 && halves[0].count + halves[1].count == whole.iter().map(|a| a.count).sum::<i64>(), "{name}");
    }
    println!("{wrong} of {splits} random splits have a false regression");
    assert!(splits >= 1000 && f64::from(wrong) <= 0.05 * f64::from(splits), "{wrong} of {splits}");
}
