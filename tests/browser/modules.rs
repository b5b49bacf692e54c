//! The modules of the page: the first is enough for most files, the whole one comes when a file asks for it.

use crate::cdp::Browser;
use crate::page::{fixture, serve, single_file};
use crate::same::compare;
use serde_json::json;
use std::fmt::Write;
use std::path::PathBuf;

/// How often each module was fetched.
fn fetched(browser: &mut Browser) -> [u64; 3] {
    ["hotspan_bg.wasm", "first_bg.wasm", "whole_bg.wasm"].map(|name| {
        let count = format!("performance.getEntriesByType('resource').filter(e => e.name.endsWith('/{name}')).length");
        browser.eval(&count).as_u64().unwrap()
    })
}

fn sources(browser: &mut Browser) -> u64 {
    browser.eval("document.querySelectorAll('.source').length").as_u64().unwrap()
}

/// `perf script` text whose last sample has a name that perf left mangled.
fn mangled(name: &str, samples: usize) -> PathBuf {
    let mut text = String::new();
    for i in 0..samples {
        let symbol = if i + 1 == samples { "_ZN4shop4cart5totalEv".to_string() } else { format!("leaf{}", i % 97) };
        let _ = write!(
            text,
            "app 7/7 [000] {}.000001: 1000 cycles:\n\t{:x} {symbol}+0x1 (/bin/app)\n\t2 main+0x1 (/bin/app)\n\n",
            i + 1,
            i % 512 + 16
        );
    }
    let path = std::env::temp_dir().join(format!("hotspan-{}-{name}", std::process::id()));
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn common_files_need_the_first_module_only_and_each_is_fetched_once() {
    let Some(mut browser) = Browser::start() else { return };
    browser.open(&format!("{}#files", serve()));
    browser.drop_files(&[fixture("folded/small.folded"), fixture("pprof/cpu.pb.gz"), fixture("otlp-json/shop.json")]);
    browser.loaded();
    assert_eq!(fetched(&mut browser), [1, 1, 0]);
    // A rarer file joins what is open: everything is read again by a worker that has the whole module.
    browser.drop_files(&[fixture("callgrind/loops.callgrind")]);
    browser.wait("document.querySelectorAll('.source').length === 4");
    browser.loaded();
    assert_eq!(fetched(&mut browser), [1, 1, 1]);
    browser.drop_files(&[fixture("xray/shop.json")]);
    browser.wait("document.querySelectorAll('.source').length === 5");
    assert_eq!(fetched(&mut browser), [1, 1, 1]);
    browser.is_quiet();
}

#[test]
fn without_the_whole_module_the_page_says_so_and_keeps_what_is_open() {
    let Some(mut browser) = Browser::start() else { return };
    browser.open(&format!("{}#files", serve()));
    browser.drop_files(&[fixture("folded/small.folded")]);
    browser.loaded();
    browser.call("Network.enable", json!({}));
    browser.call("Network.setBlockedURLs", json!({"urls": ["*whole_bg.wasm"]}));
    browser.drop_files(&[fixture("speedscope/events.json")]);
    browser.wait("document.querySelector('.toast')?.innerText.includes('could not be loaded')");
    assert!(browser.text(".toast").contains("events.json"));
    browser.loaded();
    assert_eq!(sources(&mut browser), 1);
    // Once the host answers, the same file opens.
    browser.call("Network.setBlockedURLs", json!({"urls": []}));
    browser.drop_files(&[fixture("speedscope/events.json")]);
    browser.wait("document.querySelectorAll('.source').length === 2");
    browser.loaded();
}

#[test]
fn names_that_only_the_whole_module_reads_are_found_late_and_shown_all_the_same() {
    // In one piece, and in parts by several workers.
    let files = [mangled("mangled.txt", 2_000), mangled("mangled-large.txt", 300_000)];
    assert!(files[1].metadata().unwrap().len() > 16 << 20);
    compare(serve, &files);
    compare(single_file, &files[..1]);
    files.iter().for_each(|f| std::fs::remove_file(f).unwrap());
}
