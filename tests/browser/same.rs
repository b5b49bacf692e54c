//! Findings are the same natively and in wasm, byte for byte, over http and from a file.

use crate::cdp::{Browser, PATIENCE};
use crate::kinds::KINDS;
use crate::page::{fixture, serve, single_file};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// What `hotspan analyze --format json` writes, run beside the file: the page knows no folder either.
fn native(file: &Path) -> Vec<u8> {
    let name = file.file_name().unwrap();
    let folder = file.parent().unwrap();
    let out =
        Command::new(env!("CARGO_BIN_EXE_hotspan")).args(["analyze", "--format", "json"]).arg(name).current_dir(folder).output().unwrap();
    assert!(!out.stdout.is_empty(), "{}: {}", file.display(), String::from_utf8_lossy(&out.stderr));
    out.stdout
}

/// Takes the page's export of its findings; the file must have arrived whole.
fn exported(browser: &mut Browser, folder: &Path) -> Vec<u8> {
    let file = folder.join("hotspan-findings.json");
    let _ = std::fs::remove_file(&file);
    browser.eval("[...document.querySelectorAll('#export-menu button')].find(b => b.textContent === 'Findings as JSON').click()");
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        if let Ok(bytes) = std::fs::read(&file)
            && bytes.ends_with(b"}\n")
        {
            return bytes;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("the page exported nothing");
}

/// One or more of every format, wrapping and archive that the page's first module sends on to the whole one.
const SENT_ON: &[&str] = &[
    "callgrind/loops.callgrind",
    "container/bundle.tar.zst",
    "container/bundle.zip",
    "container/comm.txt.lz4",
    "container/pax.tar.gz",
    "container/two-frames.zst",
    "datadog/shop.json",
    "dhat/edges.json",
    "dtrace/quiet.txt",
    "gecko/raw.json",
    "ghc-prof/shares.prof",
    "ghc-prof/same.json",
    "go-dump/debug2.txt",
    "heapprofile/a.heapprofile",
    "instruments/weights.txt",
    "jaeger-es/shop.json",
    "jaeger-proto/shop.json",
    "java-dump/jstack.txt",
    "jfr/chunks.jfr.gz",
    "macos-sample/small.txt",
    "memray/peak.csv",
    "otel-go/shop.json",
    "otel-python/shop.txt",
    "otlp-profiles/shop.json",
    "otlp-profiles/shop.pb",
    "otlp-proto/shop.pb",
    "perf-data/node.data.gz",
    "perf-data/zstd.data",
    "pg-explain/cte.json",
    "pg-explain/cte.txt",
    "pmcstat/small.txt",
    "pprof-legacy/cpu-64le.prof",
    "pprof-legacy/heap.go-debug1.txt",
    "speedscope/events.json",
    "stackprof/graph.json",
    "tracemalloc/stat.txt",
    "vsprof/sampled.csv",
    "vtune/small.csv",
    "xctrace/small.xml",
    "xray/shop.json",
    "zipkin-v1/shop.json",
];

fn fixtures(names: &[&str]) -> Vec<PathBuf> {
    names.iter().map(|name| fixture(name)).collect()
}

/// Opens each file in the page and compares the bytes of its findings with the native command's.
pub fn compare(address: impl Fn() -> String, files: &[PathBuf]) {
    let Some(mut browser) = Browser::start() else { return };
    let address = address();
    let folder = std::env::temp_dir().join(format!("hotspan-same-{}-{}", std::process::id(), browser.pid()));
    std::fs::create_dir_all(&folder).unwrap();
    browser.call("Page.setDownloadBehavior", json!({"behavior": "allow", "downloadPath": folder.display().to_string()}));
    for file in files {
        browser.call("Page.navigate", json!({"url": "about:blank"}));
        browser.open(&address);
        browser.drop_files(std::slice::from_ref(file));
        browser.loaded();
        let (page, command) = (exported(&mut browser, &folder), native(file));
        if page != command {
            let (page, command) = (String::from_utf8_lossy(&page), String::from_utf8_lossy(&command));
            let first = page.lines().zip(command.lines()).find(|(a, b)| a != b);
            panic!("{} over {address}: page and command differ, first in {first:?}", file.display());
        }
    }
    let _ = std::fs::remove_dir_all(folder);
    browser.is_quiet();
}

#[test]
fn findings_have_the_bytes_of_the_native_command_over_http() {
    compare(serve, &fixtures(KINDS));
}

#[test]
fn findings_have_the_bytes_of_the_native_command_from_a_file() {
    compare(single_file, &fixtures(KINDS));
}

#[test]
fn what_the_whole_module_reads_has_the_bytes_of_the_native_command() {
    compare(serve, &fixtures(SENT_ON));
}
