//! Whole files, natively: import, then the first view (call tree and layout, or trace list and services).
//!
//! `cargo xtask bench [--large] [FILE…]`. Without files, inputs are made by the generator in `../shared/gen`, where that exists.
//! Each file runs in a process of its own, so that peak memory is its own. Prints a table and writes `target/bench.json`.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints, and a failure in it is its result")]

use hotspan::engine::Engine;
use hotspan::engine::protocol::flame::FlameMode;
use hotspan::engine::protocol::traces::TraceQuery;
use hotspan::engine::protocol::{Request, SampleQuery};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

#[path = "inputs.rs"]
mod inputs;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if let [flag, file] = &args[..]
        && flag == "--one"
    {
        println!("{}", one(Path::new(file)));
        return;
    }
    let large = args.iter().any(|a| a == "--large");
    let named: Vec<PathBuf> = args.iter().filter(|a| *a != "--large").map(PathBuf::from).collect();
    let files = if named.is_empty() { inputs::generated(large) } else { named };
    println!(
        "{:<24} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>10}",
        "file", "raw MB", "rows", "import s", "MB/s", "finish s", "view s", "peak MB"
    );
    let mut all = Vec::new();
    for file in files {
        let out = Command::new(std::env::current_exe().unwrap()).arg("--one").arg(&file).output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let Ok(r) = serde_json::from_str::<serde_json::Value>(text.trim()) else {
            println!("{:<24} failed: {}", file.display(), String::from_utf8_lossy(&out.stderr));
            continue;
        };
        let n = |key: &str| r[key].as_f64().unwrap_or(0.0);
        println!(
            "{:<24} {:>9.1} {:>9} {:>9.2} {:>9.0} {:>9.2} {:>9.2} {:>10.0}",
            r["file"].as_str().unwrap_or(""),
            n("raw_mb"),
            n("rows"),
            n("import_s"),
            n("raw_mb") / n("import_s"),
            n("finish_s"),
            n("view_s"),
            n("peak_mb")
        );
        all.push(r);
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench.json");
    if std::fs::write(&path, serde_json::to_string_pretty(&all).unwrap()).is_ok() {
        println!("\nwritten to target/bench.json");
    }
}

/// Reads one file and answers the first view; a line of JSON.
fn one(path: &Path) -> serde_json::Value {
    let file = std::fs::File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let size = file.metadata().unwrap().len();
    let mut engine = Engine::default();
    let begin = Instant::now();
    engine.open(&path.file_name().unwrap().to_string_lossy(), size, Box::new(file), &mut |_| true);
    let import = begin.elapsed();
    let begin = Instant::now();
    engine.finish();
    let finish = begin.elapsed();
    let begin = Instant::now();
    let requests: Vec<Request> = if engine.session.profiles.is_empty() {
        vec![Request::TraceList { query: TraceQuery { limit: 200, descending: true, ..TraceQuery::default() } }, Request::Services]
    } else {
        let value = engine.session.profiles[0].default_value as u32;
        let query = SampleQuery { value, ..SampleQuery::default() };
        vec![Request::Flame { query, mode: FlameMode::Merged }]
    };
    for request in &requests {
        engine.handle(request).unwrap();
    }
    let view = begin.elapsed();
    let source = &engine.session.sources[0];
    assert_eq!(source.error, None);
    serde_json::json!({
        "file": source.file,
        "format": source.format,
        "raw_mb": source.raw_bytes as f64 / 1e6,
        "rows": source.ledger.records_in,
        "import_s": import.as_secs_f64(),
        "finish_s": finish.as_secs_f64(),
        "view_s": view.as_secs_f64(),
        "peak_mb": peak_mb(),
    })
}

/// Largest resident size of this process so far; 0 where the system does not say.
fn peak_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.and_then(|l| l.split_whitespace().next()?.parse::<f64>().ok()).map_or(0.0, |kb| kb * 1024.0 / 1e6)
}
