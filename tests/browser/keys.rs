//! The keyboard: rows, equal calls, threads, everything by its name; and the samples of a span.

use crate::cdp::Browser;
use crate::joined_files::{TRACE, otlp, samples};
use crate::page::{fixture, serve};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn written(name: &str, bytes: &[u8]) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("hotspan-keys-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// Of the trace with most spans in a file: its id, its spans, and the most spans of one name under the root.
fn largest(file: &Path) -> (String, usize, usize) {
    let text: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let mut traces: BTreeMap<String, Vec<(String, String, String, String)>> = BTreeMap::new();
    for resource in text["resourceSpans"].as_array().unwrap() {
        let attributes = resource["resource"]["attributes"].as_array().unwrap();
        let service = attributes.iter().find(|a| a["key"] == "service.name").unwrap()["value"]["stringValue"].as_str().unwrap();
        for span in resource["scopeSpans"].as_array().unwrap().iter().flat_map(|s| s["spans"].as_array().unwrap()) {
            let get = |key: &str| span[key].as_str().unwrap_or("").to_string();
            traces.entry(get("traceId")).or_default().push((get("spanId"), get("parentSpanId"), service.to_string(), get("name")));
        }
    }
    let (id, spans) = traces.into_iter().max_by_key(|(_, spans)| spans.len()).unwrap();
    let root = &spans.iter().find(|s| s.1.is_empty()).unwrap().0;
    let mut alike: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for span in spans.iter().filter(|s| s.1 == *root) {
        *alike.entry((&span.2, &span.3)).or_default() += 1;
    }
    (id, spans.len(), alike.into_values().max().unwrap())
}

#[test]
fn equal_calls_are_one_row_that_unfolds() {
    let Some(mut browser) = Browser::start() else { return };
    let address = serve();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("static/samples/checkout.otlp.json");
    let (trace, spans, alike) = largest(&file);
    browser.open(&format!("{address}#traces?trace={trace}"));
    browser.drop_files(std::slice::from_ref(&file));
    browser.loaded();
    browser.wait("document.querySelector('.span-row.group')");
    assert_eq!(browser.text(".span-row.group .times"), format!("×{alike}"));
    let rows = "document.querySelectorAll('.span-row:not(.group)').length";
    let folded = browser.eval(rows).as_u64().unwrap() as usize;
    assert!(folded + alike <= spans, "{folded} of {spans} rows");
    // By a click, and back.
    browser.click(".span-row.group .toggle");
    browser.wait(&format!("{rows} > {}", folded + alike - 1));
    browser.click(".span-row.group .toggle");
    browser.wait(&format!("{rows} === {folded}"));
    // By keys: the first span is chosen, the right arrow unfolds what it calls.
    browser.key("ArrowDown");
    browser.wait("document.querySelector('.span-row.current')");
    browser.key("ArrowRight");
    browser.wait(&format!("{rows} > {folded}"));
    browser.key("ArrowLeft");
    browser.wait(&format!("{rows} === {folded}"));
    browser.key("]");
    browser.wait(&format!("{rows} > {folded}"));
    // A span inside is reached by its address alone.
    browser.key("[");
    browser.wait(&format!("{rows} < {}", folded + 1));
    browser.key("]");
    browser.wait(&format!("{rows} > {folded}"));
    browser.eval("[...document.querySelectorAll('.span-row:not(.group)')].at(-1).click()");
    browser.wait("location.hash.includes('span=')");
    let hash = browser.eval("location.hash").as_str().unwrap().to_string();
    browser.call("Page.navigate", json!({"url": "about:blank"}));
    browser.open(&format!("{address}{hash}"));
    browser.drop_files(&[file]);
    browser.loaded();
    browser.wait("document.querySelector('.span-row.current')");
    browser.is_quiet();
}

#[test]
fn rows_are_walked_by_arrows_and_opened_by_enter() {
    let Some(mut browser) = Browser::start() else { return };
    browser.open(&format!("{}#functions", serve()));
    browser.drop_files(&[fixture("folded/small.folded"), fixture("otlp-json/shop.json")]);
    browser.loaded();
    browser.wait("document.querySelectorAll('.grid-row').length > 4");
    // By self weight: lex is first, with 12 of 23 samples.
    browser.key("ArrowDown");
    browser.wait("document.querySelector('.grid-row.current .name')?.innerText === 'lex' && document.querySelector('#show-in-flame')");
    browser.key("ArrowDown");
    browser.wait("location.hash.includes('fn=') && !location.hash.includes('fn=lex')");
    browser.key("ArrowUp");
    browser.wait("document.querySelector('.inspector h2')?.innerText === 'lex'");
    browser.key("Enter");
    browser.wait("location.hash.startsWith('#flame') && document.querySelector('.inspector h2')?.innerText === 'lex'");
    browser.eval("location.hash = '#traces'");
    browser.wait("document.querySelector('.traces-list tbody button')");
    browser.key("ArrowDown");
    browser.wait("document.activeElement.closest('tbody tr')");
    browser.key("Enter");
    browser.wait("location.hash.includes('trace=') && document.querySelector('.span-row')");
    browser.is_quiet();
}

#[test]
fn everything_is_reached_by_its_name() {
    let Some(mut browser) = Browser::start() else { return };
    browser.open(&serve());
    browser.drop_files(&[fixture("pprof/cpu.pb.gz"), fixture("otlp-json/shop.json")]);
    browser.loaded();
    browser.wait("document.querySelector('.finding')");
    browser.control_key("k");
    browser.wait("document.activeElement.closest('#palette')");
    browser.write("mustcompile");
    browser.wait("document.querySelector('#palette [aria-selected=true]')?.innerText.includes('regexp.MustCompile')");
    browser.key("Enter");
    browser.wait("location.hash.startsWith('#functions') && document.querySelector('.inspector h2')?.innerText === 'regexp.MustCompile'");
    // Escape leaves the page as it was.
    browser.control_key("k");
    browser.wait("document.activeElement.closest('#palette')");
    browser.write("files");
    browser.key("Escape");
    browser.wait("!document.querySelector('#palette')");
    assert_eq!(browser.eval("location.hash.startsWith('#functions?fn=regexp.MustCompile')"), json!(true));
    browser.control_key("k");
    browser.wait("document.activeElement.closest('#palette')");
    browser.write("nothing is called that");
    browser.wait("document.querySelector('#palette .empty')");
    browser.is_quiet();
}

#[test]
fn threads_are_walked_in_the_flame_graph() {
    let Some(mut browser) = Browser::start() else { return };
    let sample = |thread: u32, at: u32, leaf: &str| {
        format!("app 7/{thread} [000] {at}.000001: 10 cycles:\n\t10 {leaf}+0x1 (/bin/app)\n\t2 main+0x1 (/bin/app)\n\n")
    };
    let file = written("threads.txt", (sample(7, 1, "one") + &sample(8, 2, "two")).as_bytes());
    browser.open(&format!("{}#flame", serve()));
    browser.drop_files(&[file]);
    browser.loaded();
    browser.wait("document.querySelector('[aria-label=Thread]')");
    // All, the first, the second, all again; backwards from there.
    for (key, thread) in [("n", "0"), ("n", "1"), ("n", ""), ("p", "1")] {
        browser.key(key);
        browser.wait(&format!("document.querySelector('[aria-label=Thread]').value === '{thread}'"));
        assert_eq!(browser.eval(&format!("location.hash.includes('t={thread}')")), json!(!thread.is_empty()), "after {key}");
    }
    browser.is_quiet();
}

#[test]
fn the_samples_of_a_span_lead_to_its_functions_and_its_flame_graph() {
    let Some(mut browser) = Browser::start() else { return };
    let files = [written("pay.pb", &samples(true)), written("pay.json", otlp().as_bytes())];
    browser.open(&format!("{}#traces?trace={TRACE}&span=00000000000000a2", serve()));
    browser.drop_files(&files);
    browser.loaded();
    browser.wait("document.querySelector('[data-span-samples] .children button')");
    // 180 samples of `tax` and 20 of `render`, ten milliseconds each, in a span of two seconds.
    let text = browser.text("[data-span-samples]");
    assert!(text.contains("Samples (200)") && text.contains("100 % of the span") && text.contains("1.80 s"), "{text}");
    browser.click("[data-span-samples] .children button");
    browser.wait("location.hash.includes('fn=tax') && document.querySelector('.chip.filter')");
    browser.wait("[...document.querySelectorAll('.grid-row .name')].some(e => e.innerText === 'tax')");
    assert_eq!(browser.eval("[...document.querySelectorAll('.grid-row .name')].some(e => e.innerText === 'sweep')"), json!(false));
    browser.eval("history.back()");
    browser.wait("document.querySelector('[data-flame=span]')");
    browser.click("[data-flame=span]");
    browser.wait("document.querySelector('.crumbs')?.innerText.includes('2.00 s')");
    browser.is_quiet();
}
