//! `dist/`: the page as static files. The same steps as Trunk's: cargo, wasm-bindgen, wasm-opt, copy.

use crate::tools::{cargo, run, say, target_dir, wasm_opt, wasm_target};
use crate::{Result, root};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

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
    let common = ["--locked", "--target", "wasm32-unknown-unknown", "--bin", "hotspan", "--profile", profile];
    let mut compile = cargo();
    compile.arg("build").args(common);
    if simd {
        // The caller's own flags would hide it, and are for other targets.
        compile.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", SIMD).env_remove("RUSTFLAGS");
    }
    run(&mut compile)?;
    let compiled = target_dir().join("wasm32-unknown-unknown").join(profile).join("hotspan.wasm");
    let dist = dist();
    // Start from nothing: a file of an earlier build must not be published with this one.
    if dist.exists() {
        fs::remove_dir_all(&dist).map_err(io(&dist))?;
    }
    fs::create_dir_all(&dist).map_err(io(&dist))?;
    say("generating the glue (wasm-bindgen)");
    let mut bindgen = wasm_bindgen_cli_support::Bindgen::new();
    let bindgen = bindgen.input_path(&compiled).no_modules(true).map_err(|e| e.to_string())?.typescript(false).out_name("hotspan");
    bindgen.generate(&dist).map_err(|e| format!("wasm-bindgen: {e:#}"))?;
    let wasm = dist.join("hotspan_bg.wasm");
    if !quick && let Some(tool) = wasm_opt() {
        say("optimising the wasm (wasm-opt, about half a minute)");
        run(Command::new(tool).arg("-O3").args(FEATURES).args(simd.then_some("--enable-simd")).arg("-o").arg(&wasm).arg(&wasm))?;
    }
    copy_folder(&root().join("static"), &dist)?;
    let index = root().join("index.html");
    let text = fs::read_to_string(&index).map_err(io(&index))?;
    // Trunk turns its own links into these lines; without Trunk this does.
    let text = lines(&text, |line| match line.trim() {
        l if l.contains("data-trunk") && l.contains("rel=\"css\"") => Some("  <link rel=\"stylesheet\" href=\"app.css\">".to_string()),
        l if l.contains("data-trunk") => None,
        _ => Some(line.to_string()),
    });
    let index = dist.join("index.html");
    fs::write(&index, text).map_err(io(&index))?;
    let size = fs::metadata(&wasm).map_err(io(&wasm))?.len();
    let transfer: f64 =
        ["index.html", "hotspan.js", "boot.js", "app.css", "hotspan_bg.wasm"].iter().map(|name| gzip_kib(&dist.join(name))).sum();
    println!(
        "    hotspan_bg.wasm {:.0} KiB; the page to transfer, gzipped, {transfer:.0} KiB (brotli: a quarter less)",
        size as f64 / 1024.0
    );
    Ok(dist)
}

fn gzip_kib(file: &Path) -> f64 {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let written = fs::read(file).is_ok_and(|bytes| std::io::Write::write_all(&mut packed, &bytes).is_ok());
    if written { packed.finish().map_or(0.0, |b| b.len() as f64 / 1024.0) } else { 0.0 }
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
