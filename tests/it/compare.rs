//! Before and after: injected faults of other people's systems are found, random halves of one profile are not called different.

use crate::corpus::{Table, folder, open_bytes};
use crate::profiles::random;
use hotspan::engine::Engine;
use hotspan::engine::views::compare::diff;
use hotspan::findings::compare_profiles::{Change, Limits, compare};
use hotspan::model::Session;
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

/// Splits the events of a profile in two at random: both halves come from one truth.
fn halves(engine: &Engine, profile: usize, state: &mut u64) -> [Session; 2] {
    let mut out = [engine.session.clone(), engine.session.clone()];
    let column = engine.session.profiles[profile].value_types.iter().position(|v| matches!(v.unit.as_str(), "count")).unwrap_or(0);
    let p = &engine.session.profiles[profile];
    let rows = p.samples.len();
    for row in 0..rows {
        let n = p.samples.values[column][row];
        let first = (0..n).filter(|_| random(state).is_multiple_of(2)).count() as i64;
        for (side, part) in [(0, first), (1, n - first)] {
            for (k, values) in out[side].profiles[profile].samples.values.iter_mut().enumerate() {
                let whole = p.samples.values[k][row];
                values[row] = if n > 0 { (i128::from(whole) * i128::from(part) / i128::from(n)) as i64 } else { 0 };
            }
        }
    }
    out
}

#[test]
fn random_halves_of_a_profile_are_not_different() {
    let mut splits = 0;
    let mut wrong = 0;
    let mut state = 7;
    for name in ["pprof/cpu.pb.gz", "perf-script/loops.perf-script.txt.gz", "perf-script/java-UseSerialGC.perf-script.txt.gz"] {
        let bytes = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap();
        let engine = open_bytes(bytes);
        // A thousand splits are the goal; the optimised build makes them all, the other a part.
        let rounds = if cfg!(debug_assertions) { 40 } else { 334 };
        for _ in 0..rounds {
            let [a, b] = halves(&engine, 0, &mut state);
            let c = compare([&a, &b], [0, 0], Limits::default());
            splits += 1;
            let accused = c.rows.iter().any(|r| matches!(r.change, Change::Regressed) || matches!(r.total_change, Change::Regressed));
            wrong += u32::from(accused);
        }
    }
    println!("{wrong} of {splits} random splits have a false regression");
    assert!(f64::from(wrong) <= 0.05 * f64::from(splits), "{wrong} of {splits}");
}
