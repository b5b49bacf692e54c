//! What the page's workers compute, as wasm in V8 outside a browser: processor time of one thread, which other work on the
//! machine does not change, and the memory of each instance.
//!
//! `cargo xtask bench --wasm [--large] [--profile] [FILE…]`. Each file is read by a Node.js of its own (`benches/wasm.cjs`, with
//! `benches/wasm_module.rs` as the module): a helper's instance reads and packs the parts, the engine's instance joins them,
//! runs the rules and answers the first views, then a view after a change. Prints a table and writes `target/bench-wasm.json`;
//! `--profile` leaves a `.cpuprofile` for each file.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints, and a failure in it is its result")]

use std::path::PathBuf;
use std::process::Command;

#[path = "inputs.rs"]
mod inputs;

fn main() {
    let Ok(script) = std::env::var("HOTSPAN_BENCH_WASM") else {
        println!("run it as `cargo xtask bench --wasm`");
        return;
    };
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let has = |flag: &str| args.iter().any(|a| a == flag);
    let named: Vec<PathBuf> = args.iter().filter(|a| !a.starts_with("--")).map(PathBuf::from).collect();
    let files = if named.is_empty() { inputs::generated(has("--large")) } else { named };
    let columns = ["read s", "MB/s", "join s", "finish s", "view s", "change s", "helper MB", "engine MB"];
    println!("{:<22}{}", "file", columns.map(|c| format!("{c:>10}")).concat());
    let mut all = Vec::new();
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let mut node = Command::new("node");
        if has("--profile") {
            node.args(["--cpu-prof", "--cpu-prof-dir=target", &format!("--cpu-prof-name={name}.cpuprofile")]);
        }
        let out = node.arg(&script).arg(&file).output().expect("Node.js runs the benchmark");
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let Ok(r) = serde_json::from_str::<serde_json::Value>(text.trim()) else {
            println!("{name:<22} failed: {}", String::from_utf8_lossy(&out.stderr));
            continue;
        };
        let n = |key: &str| r[key].as_f64().unwrap_or(0.0);
        let rate = n("mb") / (n("read_s") + n("join_s"));
        print!("{name:<22}{:>10.2}{rate:>10.0}", n("read_s"));
        for key in ["join_s", "finish_s", "view_s", "change_s"] {
            print!("{:>10.2}", n(key));
        }
        println!("{:>10.0}{:>10.0}", n("helper_mb"), n("engine_mb"));
        all.push(r);
    }
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench-wasm.json");
    if std::fs::write(&path, serde_json::to_string_pretty(&all).unwrap()).is_ok() {
        println!("\nread: parts, or the whole file; MB/s of reading and joining. Written to target/bench-wasm.json");
    }
}
