//! Headless Chromium: hotspan, speedscope and the browser's own floors on the same files, in the same run.
//!
//! `cargo xtask bench --browser [--runs N] [--large] [--only hotspan|speedscope|floor] [FILE…]`. The page must be built
//! (`cargo xtask build`, which the command does). Each run has a browser of its own. Prints a table of medians and writes
//! `target/bench-browser.json`. What is measured is told in `docs/performance.md`.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints, and a failure in it is its result")]
#![allow(dead_code, reason = "the browser tests use more of the protocol client")]

#[path = "../tests/browser/cdp.rs"]
mod cdp;
#[path = "inputs.rs"]
mod inputs;
#[path = "peers.rs"]
mod peers;

use cdp::Browser;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Longest wait for one file.
const LIMIT: Duration = Duration::from_secs(180);

/// Watches the page from before the drop: long tasks, and the gaps between animation frames.
pub const WATCH: &str = "(() => { const w = window.__watch = { tasks: [], gap: 0, frames: [] };
  try { new PerformanceObserver((l) => l.getEntries().forEach((e) => w.tasks.push(e.duration))).observe({ type: 'longtask' }); } catch {}
  let last = performance.now();
  const tick = (t) => { const now = performance.now(); w.gap = Math.max(w.gap, now - last); w.frames.push(now - last); last = now; requestAnimationFrame(tick); };
  requestAnimationFrame(tick); return true; })()";

fn main() {
    let mut args = std::env::args().skip(1).filter(|a| a != "--bench");
    let (mut runs, mut large, mut only, mut files) = (3, false, String::new(), Vec::new());
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--runs" => runs = args.next().and_then(|n| n.parse().ok()).expect("--runs NUMBER"),
            "--large" => large = true,
            "--only" => only = args.next().expect("--only hotspan|speedscope|floor"),
            file => files.push(PathBuf::from(file)),
        }
    }
    if std::env::var_os("HOTSPAN_CHROMIUM").is_none() {
        println!("skipped: `cargo xtask bench --browser` finds a Chromium and runs this");
        return;
    }
    if files.is_empty() {
        files = inputs::generated(large);
    }
    let wanted = |name: &str| only.is_empty() || only == name;
    let mut rows: Vec<Value> = Vec::new();
    if wanted("hotspan") {
        rows.push(start_up(runs));
    }
    println!(
        "{:<20} {:<11} {:>9} {:>8} {:>9} {:>9} {:>9} {:>9} {:>9} {:>8}",
        "file", "what", "ready ms", "MB/s", "freeze ms", "task ms", "peak MB", "closed MB", "change ms", "p95 ms"
    );
    for file in &files {
        let mut add = |what: &str, one: &dyn Fn() -> Value| {
            let all: Vec<Value> = (0..runs).map(|_| one()).collect();
            let row = median(file, what, &all);
            print(&row);
            rows.push(row);
        };
        if wanted("hotspan") {
            add("hotspan", &|| hotspan(file));
        }
        if wanted("speedscope") && peers::speedscope_reads(file) {
            add("speedscope", &|| peers::speedscope(file, LIMIT));
        }
        if wanted("floor") {
            for mode in ["stream", "slices", "scan"] {
                if mode != "scan" || file.extension().is_some_and(|e| e == "txt") {
                    add(mode, &|| peers::floor(file, mode, LIMIT));
                }
            }
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench-browser.json");
    if std::fs::write(&path, serde_json::to_string_pretty(&rows).unwrap()).is_ok() {
        println!("\nwritten to target/bench-browser.json");
    }
}

/// From navigation to a page that takes files, and what was transferred for it.
fn start_up(runs: usize) -> Value {
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("dist");
    let address = peers::serve(dist.clone());
    let times: Vec<f64> = (0..runs)
        .map(|_| {
            let mut browser = Browser::start().unwrap();
            browser.open(&address);
            browser.wait("document.querySelector('[data-sample-button]')");
            browser.eval("performance.now()").as_f64().unwrap()
        })
        .collect();
    let sizes: Vec<(String, u64)> =
        ["index.html", "hotspan.js", "boot.js", "app.css", "hotspan_bg.wasm", "first.js", "first_bg.wasm", "whole.js"]
            .iter()
            .map(|name| ((*name).to_string(), peers::brotli_size(&dist.join(name))))
            .collect();
    let sum: u64 = sizes.iter().map(|(_, n)| n).sum();
    println!(
        "page: interactive after at most {:.0} ms (median of {runs}); {:.0} kB transferred (brotli)\n",
        middle(&times),
        sum as f64 / 1e3
    );
    json!({"what": "start", "interactive_ms": middle(&times), "brotli_bytes": sum, "files": sizes})
}

fn middle(values: &[f64]) -> f64 {
    let mut sorted: Vec<f64> = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

fn median(file: &Path, what: &str, all: &[Value]) -> Value {
    let mb = std::fs::metadata(file).map_or(0.0, |m| m.len() as f64 / 1e6);
    let mut row = json!({"file": file.file_name().unwrap().to_string_lossy(), "what": what, "mb": mb});
    if let Some(why) = all.iter().find_map(|r| r["fails"].as_str()) {
        row["fails"] = json!(why);
    }
    for key in ["ready_ms", "freeze_ms", "task_ms", "peak_mb", "closed_mb", "change_ms", "p95_ms"] {
        let values: Vec<f64> = all.iter().filter_map(|r| r[key].as_f64()).collect();
        if !values.is_empty() {
            row[key] = json!(middle(&values));
        }
    }
    row
}

fn print(row: &Value) {
    let n = |key: &str| row[key].as_f64().map_or(String::new(), |v| format!("{v:.0}"));
    let rate = row["ready_ms"].as_f64().map_or(String::new(), |ms| format!("{:.0}", row["mb"].as_f64().unwrap() / ms * 1e3));
    println!(
        "{:<20} {:<11} {:>9} {:>8} {:>9} {:>9} {:>9} {:>9} {:>9} {:>8} {}",
        row["file"].as_str().unwrap(),
        row["what"].as_str().unwrap(),
        n("ready_ms"),
        rate,
        n("freeze_ms"),
        n("task_ms"),
        n("peak_mb"),
        n("closed_mb"),
        n("change_ms"),
        n("p95_ms"),
        row["fails"].as_str().unwrap_or("")
    );
}

/// Samples the proportional set size of all renderers of a browser until it is dropped; remembers the largest.
pub struct Memory {
    stop: Arc<AtomicBool>,
    peak: Arc<AtomicU64>,
    pid: u32,
}

impl Memory {
    /// Starts sampling.
    pub fn watch(browser: &Browser) -> Memory {
        let (stop, peak, pid) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)), browser.pid());
        let (ended, most) = (stop.clone(), peak.clone());
        std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                most.fetch_max(renderers(pid), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        Memory { stop, peak, pid }
    }
    /// The largest so far, MB.
    pub fn peak_mb(&self) -> f64 {
        self.peak.load(Ordering::Relaxed) as f64 / 1e3
    }
    /// At this moment, MB.
    pub fn now_mb(&self) -> f64 {
        renderers(self.pid) as f64 / 1e3
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Proportional set size of the largest renderer below a process, in kB (1,000 bytes): the page's, with its workers.
fn renderers(browser: u32) -> u64 {
    let mut most = 0;
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(line) = std::fs::read(path.join("cmdline")) else { continue };
        if !line.windows(15).any(|w| w == b"--type=renderer") || !is_below(&path, browser) {
            continue;
        }
        let rollup = std::fs::read_to_string(path.join("smaps_rollup")).unwrap_or_default();
        let pss = rollup.lines().find_map(|l| l.strip_prefix("Pss:")).and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok());
        most = most.max(pss.unwrap_or(0) * 1024 / 1000);
    }
    most
}

fn is_below(process: &Path, ancestor: u32) -> bool {
    let mut at = process.to_path_buf();
    for _ in 0..8 {
        let stat = std::fs::read_to_string(at.join("stat")).unwrap_or_default();
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)?.parse::<u32>().ok());
        match parent {
            Some(p) if p == ancestor => return true,
            Some(p) if p > 1 => at = Path::new("/proc").join(p.to_string()),
            _ => return false,
        }
    }
    false
}

/// Waits for a JavaScript condition; `false` when the limit passes first.
pub fn wait(browser: &mut Browser, condition: &str, limit: Duration) -> bool {
    let begin = Instant::now();
    while begin.elapsed() < limit {
        if browser.eval(&format!("!!({condition})")) == json!(true) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

fn hotspan(file: &Path) -> Value {
    let mut browser = Browser::start().unwrap();
    let memory = Memory::watch(&browser);
    let profile = !file.file_name().is_some_and(|n| n.to_string_lossy().contains("otlp") || n.to_string_lossy().contains("jaeger"));
    let address = peers::serve(Path::new(env!("CARGO_MANIFEST_DIR")).join("dist"));
    let hash = if profile { "#flame" } else { "#traces" };
    browser.open(&format!("{address}{hash}"));
    browser.wait("document.querySelector('[data-sample-button]')");
    // Nobody drops a file in the first second: the page uses it to make itself ready.
    std::thread::sleep(Duration::from_millis(1500));
    browser.eval(WATCH);
    browser.drop_files(&[file.to_path_buf()]);
    // The view is complete when its picture (or its list) is on screen.
    let view = if profile { "document.querySelector('canvas[data-drawn]')" } else { "document.querySelector('.traces-list tbody tr')" };
    if !wait(&mut browser, &format!("document.documentElement.dataset.state === 'ready' && {view}"), LIMIT) {
        return json!({"fails": "not ready in time"});
    }
    let marks = browser.eval("(() => { const at = (m) => performance.getEntriesByName(m).at(-1)?.startTime; return [at('hotspan:open'), Math.max(at('hotspan:view'), at('hotspan:drawn') ?? 0)]; })()");
    let ready = marks[1].as_f64().unwrap_or(0.0) - marks[0].as_f64().unwrap_or(0.0);
    let watched = browser.eval("({ gap: __watch.gap, task: Math.max(0, ...__watch.tasks) })");
    let mut row = json!({"ready_ms": ready, "freeze_ms": watched["gap"], "task_ms": watched["task"]});
    if profile {
        row["p95_ms"] = json!(pan_and_zoom(&mut browser));
        row["change_ms"] = json!(changes(&mut browser));
    } else {
        browser.eval("document.querySelector('.traces-list tbody tr')?.click()");
        if !wait(&mut browser, "document.querySelector('.waterfall [role=row]')", Duration::from_secs(20)) {
            row["fails"] = json!("no waterfall");
        }
        row["p95_ms"] = json!(pan_and_zoom(&mut browser));
    }
    row["peak_mb"] = json!(memory.peak_mb());
    browser.eval("document.querySelector('.sources button').click()");
    wait(&mut browser, "document.documentElement.dataset.state === 'empty'", Duration::from_secs(10));
    browser.call("HeapProfiler.collectGarbage", json!({}));
    // A worker that still computes is given two seconds by the browser before it is ended by force.
    std::thread::sleep(Duration::from_millis(3500));
    row["closed_mb"] = json!(memory.now_mb());
    row
}

/// A hundred wheel turns, drags and moves over the flame graph or the waterfall: p95 of the time between frames.
pub fn pan_and_zoom(browser: &mut Browser) -> f64 {
    browser.eval("__watch.frames.length = 0");
    for i in 0..100 {
        let (x, y) = (300.0 + f64::from(i * 37 % 500), 200.0 + f64::from(i * 53 % 300));
        match i % 4 {
            0 | 1 => {
                let delta = if i % 8 < 4 { -120 } else { 100 };
                browser.call(
                    "Input.dispatchMouseEvent",
                    json!({"type": "mouseWheel", "x": x, "y": y, "deltaX": 0, "deltaY": delta, "modifiers": 2}),
                );
            }
            2 => {
                browser.call("Input.dispatchMouseEvent", json!({"type": "mouseWheel", "x": x, "y": y, "deltaX": 60, "deltaY": 0}));
            }
            _ => {
                browser.call("Input.dispatchMouseEvent", json!({"type": "mouseMoved", "x": x, "y": y}));
            }
        }
    }
    let mut frames: Vec<f64> = browser.eval("__watch.frames").as_array().unwrap().iter().filter_map(Value::as_f64).collect();
    frames.sort_by(f64::total_cmp);
    frames.get(frames.len() * 95 / 100).copied().unwrap_or(0.0)
}

/// Searches, other value types and threads: the 95th percentile of the time from the change to the next complete picture.
fn changes(browser: &mut Browser) -> f64 {
    let mut times = Vec::new();
    let threads = browser.eval("document.querySelectorAll('select option').length > 6") == json!(true);
    let mut addresses = vec!["q=read", "q=alloc", "q=xyzzy", "v=samples", "q=lock", "q=parse", "v=samples&q=read"];
    if threads {
        addresses.extend(["t=1", "t=0", "t=2", "t=3&q=read"]);
    }
    for query in addresses {
        let script = format!(
            "(async () => {{ const c = () => document.querySelector('canvas')?.dataset.drawn; const before = c(); const begin = performance.now();
              location.hash = '#flame?{query}';
              while (c() === before && performance.now() - begin < 5000) await new Promise(requestAnimationFrame);
              return performance.now() - begin; }})()"
        );
        let answer = browser.call("Runtime.evaluate", json!({"expression": script, "awaitPromise": true, "returnByValue": true}));
        times.extend(answer["result"]["value"].as_f64());
    }
    times.sort_by(f64::total_cmp);
    times.get(times.len() * 95 / 100).copied().unwrap_or(0.0)
}
