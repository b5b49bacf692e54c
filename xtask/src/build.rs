//! `dist/`: the page as static files. The same steps as Trunk's (cargo, wasm-bindgen, wasm-opt, copy), for three modules that are
//! linked from one compilation: the page, the worker with what most files need, and the worker with everything.

use crate::tools::{cargo, run, say, target_dir, wasm_opt, wasm_target};
use crate::{Result, root};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

/// What today's compiler assumes of a browser. Naming them keeps wasm-opt from using what browsers do not have yet.
const FEATURES: &[&str] = &[
    "--enable-mutable-globals",
    "--enable-sign-ext",
    "--enable-nontrapping-float-to-int",
    "--enable-bulk-memory",
    "--enable-reference-types",
    "--enable-multivalue",
];

/// SIMD makes scanning faster; every browser since 2021 (Safari since 2023) has it. `--no-simd` builds a page without.
const SIMD: &str = "-C target-feature=+simd128";

/// A module of the page: the binary, the name of its files, and how it is optimised at last.
const MODULES: [(&str, &str, &str); 3] = [("page", "hotspan", "-Oz"), ("first", "first", "-O3"), ("whole", "whole", "-Os")];

/// What a browser transfers for a page that is started and has read a file of a common format.
const TRANSFERRED: [&str; 8] =
    ["index.html", "hotspan.js", "boot.js", "app.css", "hotspan_bg.wasm", "first.js", "first_bg.wasm", "whole.js"];
/// What comes with the first file of a rarer format.
const LATER: [&str; 1] = ["whole_bg.wasm"];

/// A sentence for a failed file operation.
pub fn io(what: &Path) -> impl Fn(std::io::Error) -> String + '_ {
    move |e| format!("{}: {e}", what.display())
}

/// Where the page is built.
pub fn dist() -> PathBuf {
    root().join("dist")
}

/// Builds the page. `quick` trades size and speed of the wasm for a shorter wait.
pub fn build(quick: bool, simd: bool) -> Result<PathBuf> {
    wasm_target()?;
    let profile = if quick { "quick" } else { "release" };
    let wait = if quick { "a minute" } else { "two to four minutes" };
    say(&format!("compiling the page for wasm32, profile {profile} (the first time {wait}, later seconds)"));
    let mut compile = cargo();
    compile.args(["build", "--locked", "--target", "wasm32-unknown-unknown", "--features", "modules", "--profile", profile]);
    for (binary, _, _) in MODULES {
        compile.args(["--bin", binary]);
    }
    if simd {
        // The caller's own flags would hide it, and are for other targets.
        compile.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", SIMD).env_remove("RUSTFLAGS");
    }
    run(&mut compile)?;
    let compiled = target_dir().join("wasm32-unknown-unknown").join(profile);
    let dist = dist();
    // Start from nothing: a file of an earlier build must not be published with this one.
    if dist.exists() {
        fs::remove_dir_all(&dist).map_err(io(&dist))?;
    }
    fs::create_dir_all(&dist).map_err(io(&dist))?;
    say("generating the glue (wasm-bindgen)");
    for (binary, name, _) in MODULES {
        let mut bindgen = wasm_bindgen_cli_support::Bindgen::new();
        let bindgen = bindgen.input_path(compiled.join(format!("{binary}.wasm"))).no_modules(true).map_err(|e| e.to_string())?;
        bindgen.typescript(false).out_name(name).generate(&dist).map_err(|e| format!("wasm-bindgen: {e:#}"))?;
    }
    if !quick && let Some(tool) = wasm_opt() {
        say("optimising the wasm (wasm-opt, about a minute)");
        // Each runs on one core.
        let started: Vec<(&str, Child)> = MODULES
            .iter()
            .map(|(_, name, level)| {
                let wasm = dist.join(format!("{name}_bg.wasm"));
                let mut command = Command::new(&tool);
                command.arg(level).args(FEATURES).args(simd.then_some("--enable-simd")).arg("-o").arg(&wasm).arg(&wasm);
                command.spawn().map(|child| (*name, child)).map_err(|e| format!("wasm-opt: {e}"))
            })
            .collect::<Result<_>>()?;
        for (name, mut child) in started {
            let status = child.wait().map_err(|e| format!("wasm-opt: {e}"))?;
            if !status.success() {
                return Err(format!("wasm-opt failed on {name}_bg.wasm ({status})"));
            }
        }
    }
    copy_folder(&root().join("static"), &dist)?;
    let index = root().join("index.html");
    let text = fs::read_to_string(&index).map_err(io(&index))?;
    // Trunk turns its own links into these lines; without Trunk this does.
    let text = lines(&text, |line| match line.trim() {
        l if l.contains("data-trunk") && l.contains("rel=\"css\"") => Some("  <link rel=\"stylesheet\" href=\"app.css\">".to_string()),
        l if l.contains("data-trunk") => None,
        l if l.starts_with("<script src=\"boot.js\"") => {
            Some("  <script src=\"boot.js\" data-first=\"first\" data-whole=\"whole\" defer></script>".to_string())
        }
        _ => Some(line.to_string()),
    });
    let index = dist.join("index.html");
    fs::write(&index, text).map_err(io(&index))?;
    if !quick {
        println!("    {:<16} {:>9} {:>9}", "", "bytes", "brotli");
        let start = sizes(&dist, &TRANSFERRED)?;
        let later = sizes(&dist, &LATER)?;
        println!("    the page with what most files need: {start} bytes by brotli; for rarer files {later} more");
    }
    Ok(dist)
}

/// Prints the size of each file, as it is and by brotli at its highest level, and gives the sum of the latter.
fn sizes(dist: &Path, names: &[&str]) -> Result<usize> {
    let mut sum = 0;
    for name in names {
        let bytes = fs::read(dist.join(name)).map_err(io(&dist.join(name)))?;
        let mut packed = Vec::new();
        let params = brotli::enc::BrotliEncoderParams { quality: 11, lgwin: 24, size_hint: bytes.len(), ..Default::default() };
        brotli::BrotliCompress(&mut &bytes[..], &mut packed, &params).map_err(|e| format!("brotli: {e}"))?;
        println!("    {name:<16} {:>9} {:>9}", bytes.len(), packed.len());
        sum += packed.len();
    }
    Ok(sum)
}

/// Builds benches/wasm_module.rs as the page is built; gives the script that runs it in Node.js.
pub fn bench_wasm() -> Result<PathBuf> {
    wasm_target()?;
    say("compiling the benchmark for wasm32, profile release (minutes)");
    let mut compile = cargo();
    compile.args(["build", "--locked", "--target", "wasm32-unknown-unknown", "--example", "bench-wasm", "--release"]);
    compile.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", SIMD).env_remove("RUSTFLAGS");
    run(&mut compile)?;
    let compiled = target_dir().join("wasm32-unknown-unknown/release/examples/bench-wasm.wasm");
    let folder = target_dir().join("bench-wasm");
    let mut bindgen = wasm_bindgen_cli_support::Bindgen::new();
    let bindgen = bindgen.input_path(&compiled).nodejs(true).map_err(|e| e.to_string())?.typescript(false).out_name("bench");
    bindgen.generate(&folder).map_err(|e| format!("wasm-bindgen: {e:#}"))?;
    // V8 gets what it gets in the page.
    let wasm = folder.join("bench_bg.wasm");
    if let Some(tool) = wasm_opt() {
        run(Command::new(tool).args(["-O3", "-g", "--enable-simd"]).args(FEATURES).arg("-o").arg(&wasm).arg(&wasm))?;
    }
    let script = folder.join("wasm.cjs");
    fs::copy(root().join("benches/wasm.cjs"), &script).map_err(io(&script))?;
    Ok(script)
}

/// Maps a text line by line.
fn lines(text: &str, map: impl Fn(&str) -> Option<String>) -> String {
    let mut out: String = text.lines().filter_map(map).collect::<Vec<_>>().join("\n");
    out.push('\n');
    out
}

fn copy_folder(from: &Path, to: &Path) -> Result {
    let mut folders = vec![(from.to_path_buf(), to.to_path_buf())];
    while let Some((from, to)) = folders.pop() {
        fs::create_dir_all(&to).map_err(io(&to))?;
        for entry in fs::read_dir(&from).map_err(io(&from))? {
            let entry = entry.map_err(io(&from))?;
            let (path, target) = (entry.path(), to.join(entry.file_name()));
            if path.is_dir() {
                folders.push((path, target));
            } else {
                fs::copy(&path, &target).map_err(io(&path))?;
            }
        }
    }
    Ok(())
}
