//! Inputs of the benchmarks, made once by the generator in `../shared/gen`, where that exists, into `target/bench-data`.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Kind, name and size of each generated input.
const INPUTS: &[(&str, &str, &[&str])] = &[
    ("perf", "perf-10.txt", &["--mb", "10"]),
    ("perf", "perf-50.txt", &["--mb", "50"]),
    ("perf", "perf-200.txt", &["--mb", "200"]),
    ("folded", "folded-100.folded", &["--mb", "100"]),
    ("chrome", "chrome-50.json", &["--mb", "50"]),
    ("chrome", "chrome-200.json", &["--mb", "200"]),
    ("pprof-cpu", "cpu-200k.pb.gz", &["--samples", "200000"]),
    ("pprof-cpu", "cpu-1m.pb.gz", &["--samples", "1000000"]),
    ("otlp", "otlp-100k.json", &["--spans", "100000", "--traces", "1000"]),
    ("jaeger", "jaeger-100k.json", &["--spans", "100000", "--traces", "1000"]),
];

/// A gigabyte, a million spans, six million samples.
const LARGE: &[(&str, &str, &[&str])] = &[
    ("perf", "perf-1000.txt", &["--mb", "1000"]),
    ("chrome", "chrome-1000.json", &["--mb", "1000"]),
    ("pprof-cpu", "cpu-6m.pb.gz", &["--samples", "6000000"]),
    ("otlp", "otlp-1m.json", &["--spans", "1000000", "--traces", "10000"]),
    ("jaeger", "jaeger-1m.json", &["--spans", "1000000", "--traces", "10000"]),
];

/// Paths of the inputs; empty (and said aloud) without the generator.
pub fn generated(large: bool) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = root.join("../shared/gen/Cargo.toml");
    if !manifest.exists() {
        println!("no inputs: name files, or put the generator into ../shared/gen");
        return Vec::new();
    }
    let (tool, data) = (root.join("target/bench-gen"), root.join("target/bench-data"));
    std::fs::create_dir_all(&data).unwrap();
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--quiet", "--manifest-path"])
        .arg(&manifest)
        .env("CARGO_TARGET_DIR", &tool)
        .status();
    if !built.is_ok_and(|s| s.success()) {
        println!("the generator could not be built");
        return Vec::new();
    }
    let make = |(kind, name, size): &(&str, &str, &[&str])| {
        let out = data.join(name);
        let made =
            out.exists() || Command::new(tool.join("release/hsgen")).arg(kind).arg(&out).args(*size).status().is_ok_and(|s| s.success());
        made.then_some(out)
    };
    INPUTS.iter().chain(if large { LARGE } else { &[] }).filter_map(make).collect()
}
