//! What hotspan is measured beside: speedscope from the npm registry, and the bare floors of the browser.

use super::cdp::Browser;
use super::{Memory, WATCH, pan_and_zoom, wait};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The release that the figures in `docs/performance.md` are of.
const SPEEDSCOPE: &str = "1.25.0";

fn target() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target")
}

/// Serves a folder on a free port until the process ends.
pub fn serve(folder: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let folder = folder.clone();
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut line = String::new();
                let _ = reader.read_line(&mut line);
                let mut header = String::new();
                while reader.read_line(&mut header).is_ok_and(|n| n > 2) {
                    header.clear();
                }
                let path = line.split_whitespace().nth(1).unwrap_or("/").trim_start_matches('/').split('?').next().unwrap_or("");
                let name = if path.is_empty() { "index.html" } else { path };
                let kind = match name.rsplit('.').next() {
                    Some("html") => "text/html",
                    Some("js") => "text/javascript",
                    Some("css") => "text/css",
                    Some("wasm") => "application/wasm",
                    _ => "application/octet-stream",
                };
                let (status, body) = std::fs::read(folder.join(name)).map_or(("404 Not Found", Vec::new()), |b| ("200 OK", b));
                let head =
                    format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
            });
        }
    });
    address
}

/// Size of a file after brotli, by Node's own encoder; after `gzip -9` where there is no Node.
pub fn brotli_size(file: &Path) -> u64 {
    let script = "const z=require('zlib'),f=require('fs');console.log(z.brotliCompressSync(f.readFileSync(process.argv[1])).length)";
    let out = Command::new("node").arg("-e").arg(script).arg(file).output();
    let size = out.ok().and_then(|o| String::from_utf8_lossy(&o.stdout).trim().parse().ok());
    size.unwrap_or_else(|| Command::new("gzip").arg("-9c").arg(file).output().map_or(0, |o| o.stdout.len() as u64))
}

/// Formats of the generated inputs that speedscope knows.
pub fn speedscope_reads(file: &Path) -> bool {
    let name = file.file_name().map_or(String::new(), |n| n.to_string_lossy().into_owned());
    ["perf", "folded", "chrome", "cpu"].iter().any(|p| name.starts_with(p))
}

fn speedscope_folder() -> Option<PathBuf> {
    let folder = target().join("peers");
    let release = folder.join("node_modules/speedscope/dist/release");
    if !release.exists() {
        std::fs::create_dir_all(&folder).ok()?;
        let package = format!("speedscope@{SPEEDSCOPE}");
        let status =
            Command::new("npm").args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"]).arg(&folder).arg(package).status();
        status.ok().filter(std::process::ExitStatus::success)?;
    }
    release.exists().then_some(release)
}

/// speedscope with one file: ready when its toolbar offers the ways to look at a profile.
pub fn speedscope(file: &Path, limit: Duration) -> Value {
    let Some(folder) = speedscope_folder() else { return json!({"fails": "npm could not install it"}) };
    let mut browser = Browser::start().unwrap();
    let memory = Memory::watch(&browser);
    browser.visit(&serve(folder));
    browser.wait("document.querySelector('input[type=file]')");
    browser.eval(WATCH);
    give(&mut browser, "input[type=file]", file);
    let begin = browser.eval("window.__begin = performance.now()").as_f64().unwrap_or(0.0);
    browser.eval("(() => { const see = () => document.body.innerText.includes('Left Heavy') ? requestAnimationFrame(() => requestAnimationFrame(() => window.__ready = performance.now())) : requestAnimationFrame(see); see(); return 1; })()");
    if !wait(&mut browser, "window.__ready", limit) {
        return json!({"fails": format!("not ready after {} s", limit.as_secs()), "peak_mb": memory.peak_mb()});
    }
    let ready = browser.eval("window.__ready").as_f64().unwrap_or(0.0) - begin;
    let watched = browser.eval("({ gap: __watch.gap, task: Math.max(0, ...__watch.tasks) })");
    let p95 = pan_and_zoom(&mut browser);
    json!({"ready_ms": ready, "freeze_ms": watched["gap"], "task_ms": watched["task"], "peak_mb": memory.peak_mb(), "p95_ms": p95})
}

/// The browser's own speed: `stream` and `slices` only read the file in a worker, `scan` also runs `floor.rs` over it.
pub fn floor(file: &Path, mode: &str, limit: Duration) -> Value {
    let folder = target().join("bench-floor");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches");
    if !folder.join("floor.wasm").exists() {
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::copy(root.join("floor.html"), folder.join("index.html")).unwrap();
        let built = Command::new("rustc")
            .args([
                "--edition",
                "2024",
                "--target",
                "wasm32-unknown-unknown",
                "-O",
                "--crate-type",
                "cdylib",
                "-C",
                "target-feature=+simd128",
                "-o",
            ])
            .arg(folder.join("floor.wasm"))
            .arg(root.join("floor.rs"))
            .status();
        if !built.is_ok_and(|s| s.success()) {
            return json!({"fails": "floor.rs could not be compiled"});
        }
    }
    let mut browser = Browser::start().unwrap();
    browser.visit(&serve(folder));
    browser.wait("window.floor");
    give(&mut browser, "#file", file);
    browser.eval(&format!("floor('{mode}'), 1"));
    if !wait(&mut browser, "window.result", limit) {
        return json!({"fails": "not ready in time"});
    }
    json!({"ready_ms": browser.eval("window.result.ms")})
}

/// Puts a file into a file input.
fn give(browser: &mut Browser, selector: &str, file: &Path) {
    let document = browser.call("DOM.getDocument", json!({}));
    let node = browser.call("DOM.querySelector", json!({"nodeId": document["root"]["nodeId"], "selector": selector}));
    let path = file.canonicalize().unwrap().display().to_string();
    browser.call("DOM.setFileInputFiles", json!({"nodeId": node["nodeId"], "files": [path]}));
}
