//! Tools that the build and the tests need: found, installed where that is permitted, or named with what to do by hand.

use crate::{Result, root};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The version of Binaryen whose `wasm-opt` is known to keep the page working.
const BINARYEN: &str = "132.0.0";
/// Older ones do not know the features that today's compiler writes.
const OLDEST_WASM_OPT: u32 = 116;

/// Says what happens, so that a wait has a reason.
pub fn say(text: &str) {
    println!("\x1b[1m==>\x1b[0m {text}");
}

/// Runs a command in the repository's root; its output goes to ours.
pub fn run(command: &mut Command) -> Result {
    let shown = format!("{command:?}").replace('"', "");
    let status = command.current_dir(root()).status().map_err(|e| format!("cannot start `{shown}`: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("`{shown}` failed ({status})")) }
}

/// Cargo, the one that runs us.
pub fn cargo() -> Command {
    Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_string()))
}

/// Where cargo puts its output.
pub fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |d| root().join(d))
}

fn works(program: &Path, argument: &str) -> Option<String> {
    let out = Command::new(program).arg(argument).stderr(Stdio::null()).output().ok()?;
    out.status.success().then(|| String::from_utf8_lossy(&out.stdout).into_owned())
}

/// Makes sure that the compiler can build for wasm32.
pub fn wasm_target() -> Result {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_string());
    let lib = Command::new(rustc).args(["--print", "target-libdir", "--target", "wasm32-unknown-unknown"]).output();
    if lib.is_ok_and(|out| out.status.success() && Path::new(String::from_utf8_lossy(&out.stdout).trim()).is_dir()) {
        return Ok(());
    }
    say("adding the wasm32 target (rustup, seconds)");
    run(Command::new("rustup").args(["target", "add", "wasm32-unknown-unknown"])).map_err(|e| {
        format!("{e}\nThe page is compiled for wasm32-unknown-unknown. Install that target for your compiler: with rustup as above, else with your system's package manager.")
    })
}

/// `wasm-opt`, if one that is new enough is found or can be had; the page works without it and is larger.
pub fn wasm_opt() -> Option<PathBuf> {
    let own = target_dir().join("tools/node_modules/.bin/wasm-opt");
    for candidate in [PathBuf::from("wasm-opt"), own.clone()] {
        if works(&candidate, "--version").is_some_and(|text| version(&text) >= OLDEST_WASM_OPT) {
            return Some(candidate);
        }
    }
    if works(Path::new("npm"), "--version").is_some() {
        say("installing wasm-opt (binaryen from npm, seconds)");
        let folder = target_dir().join("tools");
        let installed = std::fs::create_dir_all(&folder).is_ok()
            && Command::new("npm")
                .args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"])
                .arg(&folder)
                .arg(format!("binaryen@{BINARYEN}"))
                .status()
                .is_ok_and(|s| s.success());
        if installed && works(&own, "--version").is_some() {
            return Some(own);
        }
    }
    say(&format!("no wasm-opt of version {OLDEST_WASM_OPT} or later: the wasm stays about a fifth larger. To have one, install binaryen."));
    None
}

/// The number in `wasm-opt version 132 (version_132)`.
fn version(text: &str) -> u32 {
    text.split_whitespace().find_map(|word| word.parse().ok()).unwrap_or(0)
}

/// A Chromium for the browser tests: from `HOTSPAN_CHROMIUM`, the PATH, or the system's package manager.
pub fn chromium() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("HOTSPAN_CHROMIUM").filter(|v| !v.is_empty()) {
        let path = PathBuf::from(named);
        return match works(&path, "--version") {
            Some(_) => Ok(path),
            None => Err(format!("HOTSPAN_CHROMIUM names {}, which does not start", path.display())),
        };
    }
    let mac = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome";
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", mac];
    let find = || names.iter().map(PathBuf::from).find(|p| works(p, "--version").is_some());
    if let Some(found) = find() {
        return Ok(found);
    }
    install("Chromium", "about a minute", ["chromium", "chromium", "chromium"]);
    if let Some(found) = find() {
        return Ok(found);
    }
    Err("the browser tests need a Chromium or Chrome and none was found. Install one with your system's package manager \
         (Debian: `apt-get install chromium` as root), or name its binary in HOTSPAN_CHROMIUM."
        .to_string())
}

/// Whether there is a Go whose `go tool pprof` the tests can compare with: found, or installed with the system's package manager.
/// Without it those tests compare with what it said about our own recordings, and say so.
pub fn go() -> bool {
    let there = || works(Path::new("go"), "version").is_some();
    if !there() {
        install("Go", "half a minute", ["golang-go", "golang", "go"]);
    }
    if !there() {
        say("no `go`: profiles are not compared with `go tool pprof` itself, only with what it said about our own recordings. \
             To compare, install Go (Debian: `apt-get install golang-go` as root, else https://go.dev/dl) so that `go` is in the PATH.");
        return false;
    }
    true
}

/// Tries the package managers that a root user has: `packages` by apt-get, dnf and apk.
fn install(what: &str, how_long: &str, packages: [&str; 3]) {
    if works(Path::new("id"), "-u").is_none_or(|id| id.trim() != "0") {
        return;
    }
    let managers: [(&str, &[&[&str]]); 3] = [
        // Another installation may be under way: wait for its lock.
        ("apt-get", &[&["update", "-qq"], &["install", "-y", "-qq", "-o", "DPkg::Lock::Timeout=300", "--no-install-recommends"]]),
        ("dnf", &[&["install", "-y", "-q"]]),
        ("apk", &[&["add", "--quiet"]]),
    ];
    for ((manager, steps), package) in managers.into_iter().zip(packages) {
        if works(Path::new(manager), "--version").is_none() {
            continue;
        }
        say(&format!("installing {what} with {manager} ({how_long})"));
        let run = |step: &[&str], package: Option<&str>| {
            let mut command = Command::new(manager);
            command.args(step).args(package).env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null());
            command.status().is_ok_and(|s| s.success())
        };
        let last = steps.len() - 1;
        if steps.iter().enumerate().all(|(at, step)| run(step, (at == last).then_some(package))) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn versions_are_read_from_what_the_tool_prints() {
        assert_eq!(super::version("wasm-opt version 132 (version_132)\n"), 132);
        assert_eq!(super::version("nonsense"), 0);
    }
}
