//! What people do: drop, look, follow the proof, take away, come back.

use crate::cdp::Browser;
use crate::page::{fixture, inspect, serve, single_file};
use serde_json::{Value, json};
use std::io::Write;
use std::path::PathBuf;

/// One file per format.
const FILES: &[&str] = &[
    "pprof/cpu.pb.gz",
    "perf-script/loops.perf-script.txt.gz",
    "folded/small.folded",
    "chrome-trace/unclosed.json",
    "otlp-json/shop.json",
    "jaeger-json/shop.json",
    "zipkin-json/shop.json",
];

/// Larger than what is read in one piece: workers share it.
pub fn large_file(name: &str, text: impl Fn(usize) -> String) -> PathBuf {
    let path = std::env::temp_dir().join(format!("hotspan-{}-{name}", std::process::id()));
    let mut out = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
    let (mut written, mut i) = (0, 0);
    while written < 30 << 20 {
        let text = text(i);
        out.write_all(text.as_bytes()).unwrap();
        written += text.len();
        i += 1;
    }
    path
}

/// What the Files view and the native command say of a file must be one and the same.
pub fn agrees(browser: &mut Browser, address: &str, file: &std::path::Path) {
    browser.open(&format!("{address}#files"));
    browser.drop_files(&[file.to_path_buf()]);
    browser.loaded();
    browser.wait("document.querySelector('.source')");
    let native = inspect(file);
    for value in native["profiles"].as_array().unwrap().iter().flat_map(|p| p["value_types"].as_array().unwrap()) {
        let cell = format!("[...document.querySelectorAll('.source td')].some(e => e.title === '{}')", value["total"]);
        assert_eq!(browser.eval(&cell), json!(true), "{value} is not in the page");
    }
    if let Some(n) = native["trace_set"]["spans"].as_u64() {
        let shown = browser.eval("[...document.querySelectorAll('.source .facts div')].find(d => d.querySelector('dt').innerText === 'spans')?.querySelector('dd').innerText");
        assert_eq!(shown.as_str().map(|s| s.replace([',', ' '], "")), Some(n.to_string()));
    }
}

#[test]
fn large_files_are_read_by_several_workers_with_the_same_numbers_and_freed_when_closed() {
    let Some(mut browser) = Browser::start() else { return };
    let perf = large_file("large.txt", |i| {
        format!(
            "app 7/{} [000] {}.000001: {} cycles:\n\t{:x} leaf{}+0x1 (/bin/app)\n\t2 main+0x1 (/bin/app)\n\n",
            i % 5,
            i + 1,
            i % 97 + 1,
            i % 512 + 16,
            i % 300
        )
    });
    let lines = large_file("large.jsonl", |i| {
        format!(
            "{{\"resourceSpans\":[{{\"resource\":{{\"attributes\":[{{\"key\":\"service.name\",\"value\":{{\"stringValue\":\"s{}\"}}}}]}},\"scopeSpans\":[{{\"spans\":[{{\"traceId\":\"{:032x}\",\"spanId\":\"{:016x}\",\"name\":\"op\",\"kind\":2,\"startTimeUnixNano\":\"{}\",\"endTimeUnixNano\":\"{}\"}}]}}]}}]}}\n",
            i % 3,
            i / 10 + 1,
            i + 1,
            1_700_000_000_000_000_000_u64 + i as u64,
            1_700_000_000_000_001_000_u64 + i as u64
        )
    });
    for address in [serve(), single_file()] {
        for file in [&perf, &lines] {
            agrees(&mut browser, &address, file);
            browser.eval("document.querySelector('.sources button').click()");
            browser.wait("document.documentElement.dataset.state === 'empty'");
            browser.call("Page.navigate", json!({"url": "about:blank"}));
        }
    }
    browser.is_quiet();
    let _ = (std::fs::remove_file(perf), std::fs::remove_file(lines));
}

/// Opens each file alone and compares what the Files view says with the native command.
fn numbers_agree(browser: &mut Browser, address: &str) {
    for name in FILES {
        browser.open(&format!("{address}#files"));
        let file = fixture(name);
        browser.drop_files(std::slice::from_ref(&file));
        browser.loaded();
        browser.wait("document.querySelector('.source')");
        let native = inspect(&file);
        let text = browser.text(".source");
        assert!(text.contains(native["format"].as_str().unwrap()), "{name}: {text}");
        for profile in native["profiles"].as_array().unwrap() {
            for value in profile["value_types"].as_array().unwrap() {
                let cell = format!("[...document.querySelectorAll('.source td')].some(e => e.title === '{}')", value["total"]);
                assert_eq!(browser.eval(&cell), json!(true), "{name}: {value} is not in the page");
            }
        }
        for count in ["spans", "traces", "errors"] {
            if let Some(n) = native["trace_set"][count].as_u64() {
                let shown = browser.eval(&format!("[...document.querySelectorAll('.source .facts div')].find(d => d.querySelector('dt').innerText === '{count}')?.querySelector('dd').innerText"));
                assert_eq!(shown, json!(n.to_string()), "{name}: {count}");
            }
        }
        browser.call("Page.navigate", json!({"url": "about:blank"}));
    }
}

#[test]
fn every_format_shows_the_numbers_of_the_native_command_over_http() {
    let Some(mut browser) = Browser::start() else { return };
    numbers_agree(&mut browser, &serve());
    browser.is_quiet();
}

#[test]
fn every_format_shows_the_numbers_of_the_native_command_from_a_file() {
    let Some(mut browser) = Browser::start() else { return };
    numbers_agree(&mut browser, &single_file());
    browser.is_quiet();
    let outside: Vec<&String> = browser.requests.iter().filter(|r| r.starts_with("http")).collect();
    assert!(outside.is_empty(), "{outside:?}");
}

#[test]
fn findings_come_first_and_their_proof_is_one_click_away() {
    let Some(mut browser) = Browser::start() else { return };
    browser.open(&serve());
    assert_eq!(browser.eval("document.documentElement.dataset.state"), json!("empty"));
    let before = browser.requests.len();
    browser.drop_files(&[fixture("pprof/cpu.pb.gz"), fixture("otlp-json/shop.json")]);
    browser.loaded();
    browser.wait("document.querySelector('.finding')");
    browser.click(".evidence-link");
    browser.wait("location.hash.length > 1 && !location.hash.startsWith('#findings')");
    browser.wait("document.querySelector('canvas, .grid-table')");
    // The back button returns to the findings.
    browser.eval("history.back()");
    browser.wait("document.querySelector('.finding')");
    for mark in ["hotspan:open", "hotspan:imported", "hotspan:view"] {
        assert_eq!(browser.eval(&format!("performance.getEntriesByName('{mark}').length > 0")), json!(true), "{mark}");
    }
    let after: Vec<&String> = browser.requests[before..].iter().filter(|r| r.starts_with("http")).collect();
    assert!(after.is_empty(), "requests after load: {after:?}");
    browser.is_quiet();
}

#[test]
fn the_flame_graph_zooms_searches_and_comes_back_by_its_address() {
    let Some(mut browser) = Browser::start() else { return };
    let address = serve();
    browser.open(&format!("{address}#flame"));
    let file = fixture("folded/small.folded");
    browser.drop_files(std::slice::from_ref(&file));
    browser.loaded();
    browser.wait("document.querySelector('canvas') && document.querySelector('.children li')");
    // The second row begins with `parse` (15 of 23 samples): a double click zooms to it.
    let place = browser.eval("(() => { const r = document.querySelector('canvas').getBoundingClientRect(); return [r.x, r.y]; })()");
    let (x, y) = (place[0].as_f64().unwrap(), place[1].as_f64().unwrap());
    browser.click_at(x + 60.0, y + 30.0, 2);
    browser.wait("document.querySelectorAll('.crumbs button').length === 3");
    let hash = browser.eval("location.hash").as_str().unwrap().to_string();
    assert_eq!(hash, "#flame?f=main&f=parse");
    browser.eval("(() => { const f = document.querySelector('[data-search]'); f.value = 'draw'; f.dispatchEvent(new InputEvent('input', {bubbles: true})); })()");
    browser.wait("document.querySelector('.matched')");
    // 8 of 23 samples.
    assert!(browser.text(".matched").contains("34.8 %"), "{}", browser.text(".matched"));
    // Enter in the search field goes to the match.
    browser.eval("document.querySelector('[data-search]').focus()");
    browser.key("Enter");
    browser.wait("document.querySelector('.inspector h2').innerText.includes('draw')");
    browser.key("Escape");
    browser.wait("!document.querySelector('.matched')");
    browser.is_quiet();
}

#[test]
fn a_place_is_restored_when_the_file_is_dropped_again() {
    let Some(mut browser) = Browser::start() else { return };
    browser.open(&format!("{}#flame?f=main&f=parse", serve()));
    browser.drop_files(&[fixture("folded/small.folded")]);
    browser.loaded();
    browser.wait("document.querySelectorAll('.crumbs button').length === 3");
    browser.wait("document.querySelector('.inspector h2')?.innerText.includes('parse')");
    browser.is_quiet();
}

#[test]
fn functions_sort_filter_and_show_their_neighbours() {
    let Some(mut browser) = Browser::start() else { return };
    browser.open(&format!("{}#functions?fn=parse", serve()));
    browser.drop_files(&[fixture("folded/small.folded")]);
    browser.loaded();
    browser.wait("document.querySelectorAll('.grid-row').length > 4");
    let first = browser.text(".grid-row:not(.head) .name");
    assert_eq!(first, "lex", "12 of 23 samples end in lex");
    browser.wait("document.querySelector('.inspector')?.innerText.includes('Callers (1)')");
    assert!(browser.text(".inspector").contains("lex"));
    browser.is_quiet();
}

#[test]
fn labels_filter_and_group_and_come_back_by_the_address() {
    let Some(mut browser) = Browser::start() else { return };
    let address = serve();
    browser.open(&format!("{address}#functions"));
    browser.drop_files(&[fixture("pprof/labels.pb.gz")]);
    browser.loaded();
    browser.wait("document.querySelector('#labels-menu summary')");
    browser.click("#labels-menu summary");
    browser.wait("document.querySelectorAll('[data-label-key]').length === 2");
    // `go tool pprof -tags`: ann 840 ms of 1.15 s that have a user, of 1.35 s in all.
    let user = browser.text("[data-label-key='user']");
    assert!(user.contains("1.15 s") && user.contains("840 ms") && user.contains("62.2 %"), "{user}");
    browser.eval("document.querySelector('[data-label-value=\"ann\"]').click()");
    browser.wait("document.querySelector('.chip.filter')?.innerText.startsWith('user = ann')");
    browser.eval(
        "[...document.querySelectorAll('[data-label-key=\"endpoint\"] .actions button')].find(b => b.innerText === 'group by').click()",
    );
    browser.wait("document.querySelector('.chip.group') && [...document.querySelectorAll('.grid-row .name')].some(e => e.innerText === 'endpoint=/search')");
    let hash = browser.eval("location.hash").as_str().unwrap().to_string();
    assert!(hash.contains("l=user%3Dann") && hash.contains("g=endpoint"), "{hash}");
    // The same samples in the flame graph, from the address alone.
    browser.call("Page.navigate", json!({"url": "about:blank"}));
    browser.open(&format!("{address}{}", hash.replace("#functions", "#flame")));
    browser.drop_files(&[fixture("pprof/labels.pb.gz")]);
    browser.loaded();
    browser.wait("document.querySelector('.crumbs')?.innerText.includes('840 ms')");
    browser.wait("document.querySelector('.children')?.innerText.includes('endpoint=/search')");
    // Chips are taken away one by one.
    browser.click(".chip.group");
    browser.wait("document.querySelector('.children')?.innerText.includes('runtime.main')");
    browser.click(".chip.filter");
    browser.wait("document.querySelector('.crumbs')?.innerText.includes('1.35 s') && !document.querySelector('.chip')");
    browser.is_quiet();
}

#[test]
fn guesses_have_switches_beside_the_number_and_in_the_ledger() {
    let Some(mut browser) = Browser::start() else { return };
    let address = serve();
    // Folded stacks name no unit: 23 samples, or 23 microseconds.
    browser.open(&format!("{address}#flame"));
    browser.drop_files(&[fixture("folded/small.folded")]);
    browser.loaded();
    browser.wait("document.querySelector('.crumbs')?.innerText.includes('all 23 · samples')");
    browser.eval("(() => { const e = document.querySelector('select.guess'); e.value = 'microseconds'; e.dispatchEvent(new Event('change', {bubbles: true})); })()");
    browser.wait("document.querySelector('.crumbs')?.innerText.includes('23.0 µs')");
    assert!(browser.eval("location.hash").as_str().unwrap().contains("u=microseconds"));
    browser.eval("location.hash = '#files?u=microseconds'");
    browser.wait("document.querySelector('.switches a')");
    browser.eval("[...document.querySelectorAll('.switches a')].find(a => a.innerText === 'switch to bytes').click()");
    browser.wait(
        "document.querySelector('.crumbs')?.innerText.includes('23 B') || document.querySelector('.crumbs')?.innerText.includes('23.0 B')",
    );
    // The address alone brings the choice back.
    browser.call("Page.navigate", json!({"url": "about:blank"}));
    browser.open(&format!("{address}#flame?u=nanoseconds"));
    browser.drop_files(&[fixture("folded/small.folded")]);
    browser.loaded();
    browser.wait("document.querySelector('.crumbs')?.innerText.includes('23.0 ns')");
    // perf: periods, samples or time, by a link in the ledger.
    browser.call("Page.navigate", json!({"url": "about:blank"}));
    browser.open(&format!("{address}#files"));
    browser.drop_files(&[fixture("perf-script/ev.txt")]);
    browser.loaded();
    browser.wait("document.querySelectorAll('.switches a').length >= 3");
    browser.eval("[...document.querySelectorAll('.switches a')].find(a => a.innerText === 'switch to samples').click()");
    browser.wait("document.querySelector('.crumbs')?.innerText.includes('· samples')");
    browser.eval("location.hash = '#files'");
    browser.wait("[...document.querySelectorAll('.switches a')].some(a => a.innerText === 'switch to instructions:u')");
    browser.eval("[...document.querySelectorAll('.switches a')].find(a => a.innerText === 'switch to instructions:u').click()");
    browser.wait("document.querySelector('[aria-label=\"Profile\"]')?.selectedOptions[0].innerText.endsWith('instructions:u')");
    browser.is_quiet();
}

#[test]
fn garbage_gets_a_sentence_and_the_other_files_load() {
    let Some(mut browser) = Browser::start() else { return };
    browser.open(&serve());
    let bad = std::env::temp_dir().join(format!("hotspan-garbage-{}.bin", std::process::id()));
    std::fs::write(&bad, b"\x00\x01\x02 nothing that anyone reads").unwrap();
    browser.drop_files(&[bad.clone(), fixture("folded/small.folded")]);
    browser.loaded();
    assert_eq!(browser.eval("document.documentElement.dataset.state"), json!("ready"));
    browser.eval("location.hash = '#files'");
    browser.wait("document.querySelector('.source .error')");
    let (sentence, all) = (browser.text(".source .error"), browser.text(".source [role=alert]"));
    assert!(sentence.contains("starts with") && all.contains("pprof"), "{all}");
    assert!(browser.eval("document.querySelectorAll('.source').length") == json!(2));
    let _ = std::fs::remove_file(bad);
    browser.is_quiet();
}

#[test]
fn a_long_load_can_be_cancelled() {
    let Some(mut browser) = Browser::start() else { return };
    browser.open(&serve());
    let big = std::env::temp_dir().join(format!("hotspan-big-{}.folded", std::process::id()));
    let mut text = String::new();
    for i in 0..3_000_000 {
        text.push_str(&format!("main;worker{};step{};leaf{} {}\n", i % 97, i % 1009, i, i % 13 + 1));
    }
    std::fs::write(&big, &text).unwrap();
    browser.drop_files(std::slice::from_ref(&big));
    browser.wait("document.documentElement.dataset.state === 'loading' && document.querySelector('#cancel')");
    browser.click("#cancel");
    browser.wait("document.documentElement.dataset.state === 'empty' && document.querySelector('.drop')");
    // The page is as good as new.
    browser.drop_files(&[fixture("folded/small.folded")]);
    browser.loaded();
    browser.wait("document.querySelector('.findings')");
    let _ = std::fs::remove_file(big);
    browser.is_quiet();
}

#[test]
fn findings_are_taken_away() {
    let Some(mut browser) = Browser::start() else { return };
    browser.open(&serve());
    let folder: PathBuf = std::env::temp_dir().join(format!("hotspan-downloads-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    browser.call("Page.setDownloadBehavior", json!({"behavior": "allow", "downloadPath": folder.display().to_string()}));
    browser.drop_files(&[fixture("pprof/cpu.pb.gz")]);
    browser.loaded();
    for (label, name) in [
        ("Findings as JSON", "hotspan-findings.json"),
        ("Findings as Markdown", "hotspan-findings.md"),
        ("Flame graph as SVG", "cpu.svg"),
        ("Folded stacks", "cpu.folded"),
        ("speedscope JSON", "cpu.speedscope.json"),
    ] {
        browser.eval(&format!("[...document.querySelectorAll('#export-menu button')].find(b => b.textContent === '{label}').click()"));
        let file = folder.join(name);
        let begin = std::time::Instant::now();
        while !file.exists() && begin.elapsed() < crate::cdp::PATIENCE {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{name}: {e}"));
        match name.rsplit('.').next() {
            Some("json") if name.contains("speedscope") => assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["exporter"], "hotspan"),
            Some("json") => assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["schema"], "hotspan.report/1"),
            Some("svg") => assert!(text.contains("<svg")),
            Some("folded") => assert!(text.lines().all(|l| l.rsplit(' ').next().is_some_and(|n| n.parse::<i64>().is_ok()))),
            _ => assert!(text.starts_with('#')),
        }
    }
    let _ = std::fs::remove_dir_all(folder);
    browser.is_quiet();
}

#[test]
fn what_if_is_reached_from_a_finding_changed_and_restored_by_the_address() {
    let Some(mut browser) = Browser::start() else { return };
    let address = serve();
    browser.open(&address);
    browser.click("[data-sample-button='checkout.otlp.json']");
    browser.loaded();
    browser.wait("document.querySelector('.finding')");
    // The first finding that can be tried out.
    browser.wait(
        "(() => { const all = [...document.querySelectorAll('.finding')]; for (const f of all) { if (document.querySelector('.evidence-link[href*=\"w=\"]')) return true; } all.find(f => !f.dataset.seen && (f.dataset.seen = '1'))?.click(); return false; })()",
    );
    browser.eval("document.querySelector('.evidence-link[href*=\"w=\"]').click()");
    browser.wait("document.querySelector('.what-if .result b') && document.querySelectorAll('.span-bar.new').length > 3");
    let tried = browser.text(".what-if .result");
    assert!(tried.contains("less") && tried.contains('→'), "{tried}");
    // One more change with the selected span: every remote call takes longer.
    browser.click("[data-try='rtt']");
    browser.wait("document.querySelectorAll('.what-if .chip').length === 2");
    browser.wait(&format!("document.querySelector('.what-if .result').innerText !== {}", json!(tried)));
    let slower = browser.text(".what-if .result");
    let hash = browser.eval("location.hash").as_str().unwrap().to_string();
    assert!(hash.matches("w=").count() == 2 && hash.contains("rtt:2ms"), "{hash}");
    // The address alone brings it back.
    browser.call("Page.navigate", json!({"url": "about:blank"}));
    browser.open(&format!("{address}{hash}"));
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("static/samples/checkout.otlp.json");
    browser.drop_files(&[file]);
    browser.loaded();
    browser.wait(&format!("document.querySelector('.what-if .result')?.innerText === {}", json!(slower)));
    // Taken back, nothing is left of it.
    browser.eval("[...document.querySelectorAll('.what-if button')].at(-1).click()");
    browser.wait("!document.querySelector('.what-if') && !document.querySelector('.span-bar.new')");
    browser.is_quiet();
}

#[test]
fn critical_paths_of_all_requests_are_one_flame_graph() {
    let Some(mut browser) = Browser::start() else { return };
    browser.open(&format!("{}#services", serve()));
    browser.drop_files(&[fixture("otlp-json/shop.json")]);
    browser.loaded();
    browser.wait("document.querySelectorAll('.where .legend li').length > 1");
    browser.click("[data-critical]");
    browser.wait("document.querySelector('.services canvas') && document.querySelector('.inspector .facts')");
    assert!(browser.text(".inspector .facts").contains("100 %"), "{}", browser.text(".inspector .facts"));
    browser.is_quiet();
}

#[test]
fn every_sample_opens_and_every_proof_leads_to_what_it_names() {
    let Some(mut browser) = Browser::start() else { return };
    let pages = [serve(), single_file()];
    for address in pages {
        for sample in ["checkout.otlp.json", "cpu.pb.gz", "allocs.pb.gz", "loops.perf-script.txt.gz"] {
            browser.call("Page.navigate", json!({"url": "about:blank"}));
            browser.open(&address);
            browser.click(&format!("[data-sample-button='{sample}']"));
            browser.loaded();
            browser.wait("document.querySelector('.finding')");
            let links = browser.eval("[...document.querySelectorAll('.finding')].length").as_u64().unwrap();
            for finding in 0..links {
                browser.eval(&format!("document.querySelectorAll('.finding')[{finding}].click()"));
                browser.wait(&format!("document.querySelectorAll('.finding')[{finding}].classList.contains('current')"));
                let targets = browser.eval("[...document.querySelectorAll('.evidence-link')].map(a => a.getAttribute('href'))");
                for target in targets.as_array().unwrap() {
                    let target = target.as_str().unwrap();
                    let back = browser.eval("location.hash").as_str().unwrap().to_string();
                    browser.eval(&format!("document.querySelector('.evidence-link[href=\"{target}\"]').click()"));
                    let shown = match target.split('?').next().unwrap() {
                        // The path of a flame graph is its breadcrumbs, and its end is selected.
                        "#flame" => format!(
                            "document.querySelectorAll('.crumbs button').length === {} && document.querySelector('.inspector h2').innerText !== ''",
                            target.matches("f=").count() + 1
                        ),
                        "#functions" => "document.querySelector('.inspector h2')".to_string(),
                        "#traces" => {
                            "document.querySelector('.span-row.current') && document.querySelector('.inspector .facts')".to_string()
                        }
                        "#services" => "document.querySelector('tr.current') && document.querySelector('.histogram svg')".to_string(),
                        "#files" => "document.querySelector('.source.current .facts')".to_string(),
                        other => panic!("{sample}: a proof in {other}"),
                    };
                    browser.wait(&shown);
                    browser.eval(&format!("location.hash = '{back}'"));
                    browser.wait(&format!("document.querySelectorAll('.finding').length > {finding}"));
                    browser.wait(&format!("document.querySelectorAll('.finding')[{finding}].classList.contains('current')"));
                }
            }
        }
    }
    browser.is_quiet();
}
