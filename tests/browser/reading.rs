//! While a large file is read: a partial view that says what it is, and an end to reading at any stage. What happens first and
//! what afterwards is held and released by the test; no clock decides.

use crate::cdp::Browser;
use crate::journeys::{agrees, large_file};
use crate::page::{fixture, inspect, serve};
use serde_json::json;
use std::path::PathBuf;

/// The workers' clock goes on by a second with every look at it, so that a look at what is read so far is due at once; parts
/// from `window.holdFrom` on wait until they are released, and workers that are ended are counted.
const HOLD: &str = r#"
(() => {
  const Real = Blob;
  const clock = 'Date.now = (() => { let t = 0; return () => t += 1000; })();\n';
  globalThis.Blob = class extends Real {
    constructor(parts, options) {
      super(options?.type === 'text/javascript' ? [clock, ...parts] : parts, options);
    }
  };
  const post = Worker.prototype.postMessage, end = Worker.prototype.terminate, held = [];
  window.holdFrom = 1; window.ended = 0;
  Worker.prototype.postMessage = function (message, ...rest) {
    if (message?.plan !== undefined && message.part >= window.holdFrom) held.push(() => post.call(this, message, ...rest));
    else post.call(this, message, ...rest);
  };
  Worker.prototype.terminate = function () { window.ended++; end.call(this); };
  window.release = () => { window.holdFrom = Infinity; held.splice(0).forEach((send) => send()); };
  // Cancels in the task that brings word of a stage, and notes the page's state in the next one.
  const heard = Object.getOwnPropertyDescriptor(Worker.prototype, 'onmessage');
  Object.defineProperty(Worker.prototype, 'onmessage', { ...heard, set(handler) {
    heard.set.call(this, (event) => {
      handler(event);
      if (!window.cancelAt || !event.data.progress?.includes('"stage":"' + window.cancelAt)) return;
      window.cancelAt = null;
      document.querySelector('#cancel').click();
      setTimeout(() => { window.after = document.documentElement.dataset.state; }, 0);
    });
  } });
})();
"#;

fn perf(name: &str) -> PathBuf {
    large_file(name, |i| {
        format!(
            "app 7/{} [000] {}.000001: {} cycles:\n\t{:x} leaf{}+0x1 (/bin/app)\n\t2 main+0x1 (/bin/app)\n\n",
            i % 5,
            i + 1,
            i % 97 + 1,
            i % 512 + 16,
            i % 300
        )
    })
}

fn held_browser() -> Option<Browser> {
    let mut browser = Browser::start()?;
    browser.call("Page.addScriptToEvaluateOnNewDocument", json!({"source": HOLD}));
    Some(browser)
}

/// Opens the page at an address and drops a file of which only the first part is read.
fn begin(browser: &mut Browser, address: &str, file: &std::path::Path) {
    browser.call("Page.navigate", json!({"url": "about:blank"}));
    browser.open(address);
    browser.drop_files(&[file.to_path_buf()]);
    browser.wait("document.documentElement.dataset.preview === 'shown' && document.querySelector('.partial')");
}

#[test]
fn what_is_read_so_far_is_shown_for_what_it_is_and_becomes_the_whole() {
    let Some(mut browser) = held_browser() else { return };
    let (address, file) = (serve(), perf("shown.txt"));
    begin(&mut browser, &address, &file);
    browser.wait("document.querySelector('.partial ~ * canvas, main canvas')");
    let banner = browser.text(".partial");
    assert!(banner.contains("Partial: ") && banner.contains("numbers grow"), "{banner}");
    // What would mislead is held back, and nothing can be taken away.
    let held = "[...document.querySelectorAll('.rail button')].filter(b => b.disabled && b.title.includes('everything is read')).map(b => b.innerText.trim())";
    assert_eq!(browser.eval(held), json!(["Findings", "Services", "Compare", "Files"]));
    assert_eq!(browser.eval("document.querySelector('#export-menu')"), json!(null));
    // Views answer: the table of functions of the first part.
    browser.eval("[...document.querySelectorAll('.rail button')].find(b => b.innerText.includes('Functions')).click()");
    browser.wait("document.querySelectorAll('.grid-row').length > 4");
    assert_eq!(browser.eval("document.documentElement.dataset.state"), json!("loading"));
    browser.eval("window.release()");
    browser.loaded();
    assert_eq!(browser.eval("document.querySelector('.partial')"), json!(null));
    // The place that was gone to meanwhile is kept, and the numbers are those of the whole file.
    assert_eq!(browser.eval("location.hash"), json!("#functions"));
    browser.eval("location.hash = '#files'");
    browser.wait("document.querySelector('.source')");
    for value in inspect(&file)["profiles"][0]["value_types"].as_array().unwrap() {
        let cell = format!("[...document.querySelectorAll('.source td')].some(e => e.title === '{}')", value["total"]);
        assert_eq!(browser.eval(&cell), json!(true), "{value} is not in the page");
    }
    browser.is_quiet();
    let _ = std::fs::remove_file(file);
}

#[test]
fn reading_is_stopped_and_kept_or_thrown_away() {
    let Some(mut browser) = held_browser() else { return };
    let (address, file) = (serve(), perf("kept.txt"));
    begin(&mut browser, &address, &file);
    let before = browser.eval("window.ended").as_u64().unwrap();
    browser.click("#keep");
    browser.loaded();
    assert!(browser.eval("window.ended").as_u64().unwrap() > before, "the helpers go on");
    browser.eval("location.hash = '#files'");
    browser.wait("document.querySelector('.source')");
    let source = browser.text(".source");
    assert!(source.contains("Read in part: ") && source.contains("reading was stopped on request"), "{source}");
    assert!(browser.text(".status").contains("1 kind of loss"), "{}", browser.text(".status"));
    // A part that stays behind is not taken for the whole when it is taken away.
    browser.eval("window.saved = []; HTMLAnchorElement.prototype.click = function () { window.saved.push(this.download); }");
    browser.eval("[...document.querySelectorAll('#export-menu button')].find(b => b.textContent === 'Folded stacks').click()");
    browser.wait("window.saved.length === 1");
    assert!(browser.eval("window.saved[0]").as_str().unwrap().ends_with(".partial.folded"));
    assert!(browser.text(".toast").contains("partial"), "{}", browser.text(".toast"));

    begin(&mut browser, &address, &file);
    browser
        .eval("document.querySelector('#cancel').click(); setTimeout(() => { window.after = document.documentElement.dataset.state; }, 0)");
    browser.wait("window.after");
    assert_eq!(browser.eval("window.after"), json!("empty"), "the page is free in the task behind the click");
    // The page is as good as new.
    browser.eval("window.release()");
    agrees(&mut browser, &address, &fixture("folded/small.folded"));
    browser.is_quiet();
    let _ = std::fs::remove_file(file);
}

#[test]
fn cancelling_takes_effect_in_the_next_task_at_every_stage() {
    let Some(mut browser) = held_browser() else { return };
    let (address, file) = (serve(), perf("cancelled.txt"));
    for stage in ["reading", "naming", "linking", "rules"] {
        browser.call("Page.navigate", json!({"url": "about:blank"}));
        browser.open(&address);
        browser.eval(&format!("window.release(); window.cancelAt = '{stage}'"));
        browser.drop_files(std::slice::from_ref(&file));
        browser.wait("window.after");
        assert_eq!(browser.eval("window.after"), json!("empty"), "{stage}");
        // The worker that was at work is gone: nothing of the file comes any more, and the next file finds a free one.
        agrees(&mut browser, &address, &fixture("folded/small.folded"));
        assert!(!browser.text(".sources").contains("cancelled"), "{stage}");
    }
    browser.is_quiet();
    let _ = std::fs::remove_file(file);
}
