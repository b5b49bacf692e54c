//! Findings are the same natively and in wasm, byte for byte, over http and from a file.

use crate::cdp::{Browser, PATIENCE};
use crate::kinds::KINDS;
use crate::page::{fixture, serve, single_file};
use serde_json::json;
use std::path::Path;
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

fn compare(address: impl Fn() -> String) {
    let Some(mut browser) = Browser::start() else { return };
    let address = address();
    let folder = std::env::temp_dir().join(format!("hotspan-same-{}-{}", std::process::id(), browser.pid()));
    std::fs::create_dir_all(&folder).unwrap();
    browser.call("Page.setDownloadBehavior", json!({"behavior": "allow", "downloadPath": folder.display().to_string()}));
    for name in KINDS {
        browser.call("Page.navigate", json!({"url": "about:blank"}));
        browser.open(&address);
        let file = fixture(name);
        browser.drop_files(std::slice::from_ref(&file));
        browser.loaded();
        let (page, command) = (exported(&mut browser, &folder), native(&file));
        if page != command {
            let (page, command) = (String::from_utf8_lossy(&page), String::from_utf8_lossy(&command));
            let first = page.lines().zip(command.lines()).find(|(a, b)| a != b);
            panic!("{name} over {address}: page and command differ, first in {first:?}");
        }
    }
    let _ = std::fs::remove_dir_all(folder);
    browser.is_quiet();
}

#[test]
fn findings_have_the_bytes_of_the_native_command_over_http() {
    compare(serve);
}

#[test]
fn findings_have_the_bytes_of_the_native_command_from_a_file() {
    compare(single_file);
}
