//! Every check of the repository, in order of how soon it fails; and the benchmarks.

use crate::Result;
use crate::build::{bench_wasm, build, dist};
use crate::bundle::bundle;
use crate::tools::{cargo, chromium, go, run, say, wasm_target};
use std::time::Instant;

type Check = (&'static str, &'static str, fn() -> Result);

const CHECKS: &[Check] = &[
    ("fmt", "format", fmt),
    ("lints", "lints, native and wasm32", lints),
    ("unit", "unit tests", unit),
    ("it", "integration and command line tests", integration),
    ("doc", "documentation", doc),
    ("page", "the page and the single file build", page),
    ("browser", "the page in Chromium, over http and from file://", browser),
];

/// `cargo xtask test`: every check, or those that are named.
pub fn all(args: &[String]) -> Result {
    let names: Vec<&str> = args.iter().map(String::as_str).collect();
    for name in &names {
        if !CHECKS.iter().any(|(id, _, _)| id == name) {
            let known: Vec<&str> = CHECKS.iter().map(|(id, _, _)| *id).collect();
            return Err(format!("there is no check {name}; there are {}", known.join(", ")));
        }
    }
    let begin = Instant::now();
    for (id, title, check) in CHECKS {
        if names.is_empty() || names.contains(id) {
            say(&format!("{id}: {title}"));
            check()?;
        }
    }
    say(&format!("all checks passed in {:.0} s", begin.elapsed().as_secs_f64()));
    Ok(())
}

fn fmt() -> Result {
    run(cargo().args(["fmt", "--all", "--check"]))
}

fn lints() -> Result {
    wasm_target()?;
    let deny = ["--", "-D", "warnings"];
    run(cargo().args(["clippy", "--locked", "--workspace", "--all-targets"]).args(deny))?;
    run(cargo().args(["clippy", "--locked", "--bin", "hotspan", "--lib", "--target", "wasm32-unknown-unknown"]).args(deny))
}

fn unit() -> Result {
    run(cargo().args(["test", "--locked", "--workspace", "--lib", "--bins", "--quiet"]))
}

fn integration() -> Result {
    let mut tests = cargo();
    if go() {
        tests.env("HOTSPAN_REQUIRE_GO", "1");
    }
    run(tests.args(["test", "--locked", "--test", "it", "--quiet", "--", "--nocapture"]))
}

fn doc() -> Result {
    run(cargo().args(["doc", "--locked", "--no-deps", "--lib", "--quiet"]).env("RUSTDOCFLAGS", "-D warnings"))
}

fn page() -> Result {
    build(false, true)?;
    bundle().map(|_| ())
}

fn browser() -> Result {
    if !dist().join("hotspan.html").exists() {
        page()?;
    }
    let chromium = chromium()?;
    run(cargo()
        .args(["test", "--locked", "--test", "browser", "--", "--nocapture", "--test-threads=1"])
        .env("HOTSPAN_CHROMIUM", chromium)
        .env("HOTSPAN_REQUIRE_BROWSER", "1"))
}

/// `cargo xtask bench`: benches/files.rs, with `--browser` benches/browser.rs, with `--wasm` benches/wasm.rs, with `--detection`
/// benches/detection.rs decides what is measured.
pub fn bench(args: &[String]) -> Result {
    if args.iter().any(|a| a == "--browser") {
        page()?;
        let args = args.iter().filter(|a| *a != "--browser");
        return run(cargo().args(["bench", "--locked", "--bench", "browser", "--"]).args(args).env("HOTSPAN_CHROMIUM", chromium()?));
    }
    if args.iter().any(|a| a == "--wasm") {
        let script = bench_wasm()?;
        let args = args.iter().filter(|a| *a != "--wasm");
        return run(cargo().args(["bench", "--locked", "--bench", "wasm", "--"]).args(args).env("HOTSPAN_BENCH_WASM", script));
    }
    if args.iter().any(|a| a == "--detection") {
        let args = args.iter().filter(|a| *a != "--detection");
        return run(cargo().args(["bench", "--locked", "--bench", "detection", "--"]).args(args));
    }
    run(cargo().args(["bench", "--locked", "--bench", "files", "--"]).args(args))
}

/// `cargo xtask shot OUT.png [OPTION…]`: a picture of the built page.
pub fn shot(args: &[String]) -> Result {
    if args.is_empty() {
        return Err("shot needs the name of the picture".to_string());
    }
    if !dist().join("hotspan.html").exists() {
        page()?;
    }
    let chromium = chromium()?;
    run(cargo()
        .args(["test", "--locked", "--quiet", "--test", "browser", "--", "--exact", "shot::takes_the_picture_that_is_asked_for"])
        .env("HOTSPAN_CHROMIUM", chromium)
        .env("HOTSPAN_REQUIRE_BROWSER", "1")
        .env("HOTSPAN_SHOT", args.join("\x1f")))
}
