//! What people decide: thresholds, settings, what is compared with what, whose clock is right.

use crate::cdp::Browser;
use crate::page::{fixture, serve};
use serde_json::json;
use std::path::PathBuf;

/// A file of this test run.
fn written(name: &str, text: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("hotspan-deciding-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

const HOT_LOOP: &str = "[...document.querySelectorAll('.finding')].find(f => f.innerText.includes('hot-loop'))";

/// Types a number into a threshold of the rule that is shown.
fn set(browser: &mut Browser, rule: &str, threshold: &str, value: &str) {
    browser.eval(&format!(
        "(() => {{ const e = document.querySelector('[data-thresholds=\"{rule}\"] [data-threshold=\"{threshold}\"]'); e.value = '{value}'; e.dispatchEvent(new Event('change', {{bubbles: true}})); }})()"
    ));
}

#[test]
fn a_threshold_is_changed_kept_in_the_address_and_reset() {
    let Some(mut browser) = Browser::start() else { return };
    let address = serve();
    browser.open(&address);
    browser.drop_files(&[fixture("pprof/cpu.pb.gz")]);
    browser.loaded();
    browser.wait(HOT_LOOP);
    browser.eval(&format!("{HOT_LOOP}.click()"));
    browser.wait("document.querySelector('.detail [data-thresholds=\"hot-loop\"]')");
    // Above the share of every function nothing is reported any more: the rule is among those that found nothing.
    set(&mut browser, "hot-loop", "warning-share", "0.99");
    set(&mut browser, "hot-loop", "info-share", "0.98");
    browser.wait("location.hash.includes('set=hot-loop.info-share%3D0.98')");
    browser.wait(&format!("!({HOT_LOOP}) && document.querySelector('.settings-bar')"));
    let hash = browser.eval("location.hash").as_str().unwrap().to_string();
    // The address alone restores it.
    browser.call("Page.navigate", json!({"url": "about:blank"}));
    browser.open(&format!("{address}{hash}"));
    browser.drop_files(&[fixture("pprof/cpu.pb.gz")]);
    browser.loaded();
    browser.wait("document.querySelector('.findings')");
    assert_eq!(browser.eval(&format!("!!({HOT_LOOP})")), json!(false));
    // In the list of rules it can be set back.
    browser.eval("document.querySelector('#rules-clear').open = true");
    browser.eval("document.querySelector('[data-rule=\"hot-loop\"]').open = true");
    browser.wait("document.querySelector('[data-thresholds=\"hot-loop\"] tr.changed')");
    browser.eval("document.querySelector('.settings-bar').open = true");
    browser.click("#reset-settings");
    browser.wait(&format!("{HOT_LOOP} && !document.querySelector('.settings-bar')"));
    assert_eq!(browser.eval("location.hash.includes('set=')"), json!(false));
    // A rule that is off says so.
    browser.eval(&format!("{HOT_LOOP}.click()"));
    browser.wait("document.querySelector('.detail [data-thresholds=\"hot-loop\"] input[type=checkbox]')");
    browser.eval("document.querySelector('.detail [data-thresholds=\"hot-loop\"] input[type=checkbox]').click()");
    browser.wait(&format!("!({HOT_LOOP}) && document.querySelector('#rules-not-checked')?.textContent.includes('switched off')"));
    // The back button undoes it.
    browser.eval("history.back()");
    browser.wait(HOT_LOOP);
    browser.is_quiet();
}

#[test]
fn settings_are_dropped_and_mistakes_in_them_are_told() {
    let Some(mut browser) = Browser::start() else { return };
    browser.open(&serve());
    let good = written("ours.txt", "[rules.hot-loop]\nenabled = false\n[[target]]\nservice = \"shop\"\np95 = \"250 ms\"\n");
    let bad = written("hotspan.toml", "[rules.hot-loop]\nnonsense = 1\n");
    browser.drop_files(&[good, fixture("pprof/cpu.pb.gz"), bad]);
    browser.loaded();
    browser.wait("document.querySelector('#rules-not-checked')?.textContent.includes('switched off')");
    assert_eq!(browser.eval(&format!("!!({HOT_LOOP})")), json!(false));
    assert!(browser.eval("location.hash").as_str().unwrap().contains("set=hot-loop%3Doff"));
    // One chip: settings are no source.
    assert_eq!(browser.eval("document.querySelectorAll('.sources li').length"), json!(1));
    browser.eval("[...document.querySelectorAll('.rail button')].find(b => b.innerText.startsWith('Files')).click()");
    browser.wait("document.querySelector('.settings-source .error')");
    let text = browser.text(".settings-source");
    assert!(text.contains("hot-loop has no threshold nonsense; it has info-share"), "{text}");
    assert!(text.contains("ours.txt") && text.contains("p95 250 ms"), "{text}");
    // Putting the file away takes back what it set.
    browser.eval("document.querySelector('[aria-label=\"Close ours.txt\"]').click()");
    browser.wait("!location.hash.includes('set=')");
    browser.eval("[...document.querySelectorAll('.rail button')].find(b => b.innerText.startsWith('Findings')).click()");
    browser.wait(HOT_LOOP);
    browser.is_quiet();
}

#[test]
fn two_files_are_compared_a_regression_is_followed_and_the_sides_are_swapped() {
    let Some(mut browser) = Browser::start() else { return };
    browser.open(&serve());
    let before = written("before.folded", "main;serve;parse 4000\nmain;serve;render 6000\n");
    let after = written("after.folded", "main;serve;parse 4000\nmain;serve;render 6000\nmain;serve;audit;hash 5000\n");
    browser.drop_files(&[before, after]);
    browser.loaded();
    browser.eval("location.hash = '#compare'");
    browser.wait("document.querySelector('.side')");
    browser.eval(
        "[...document.querySelectorAll('.side li')].find(l => l.innerText.includes('before.folded')).querySelector('button').click()",
    );
    browser.wait("document.querySelector('#baseline-slot li')?.innerText.includes('before.folded')");
    // A third of all events is new: 5,000 of 15,000.
    browser.wait(
        "[...document.querySelectorAll('.compare tbody tr')].some(r => r.innerText.includes('hash') && r.innerText.includes('+33.33 pp'))",
    );
    browser.eval("location.hash = '#findings'");
    let regression = "[...document.querySelectorAll('.finding')].find(f => f.innerText.includes('regression-function'))";
    browser.wait(regression);
    browser.eval(&format!("{regression}.click()"));
    browser.wait("document.querySelector('.detail .evidence-link[href^=\"#flame\"]')");
    browser.eval("document.querySelector('.detail .evidence-link[href^=\"#flame\"]').click()");
    browser.wait(
        "document.querySelectorAll('.crumbs button').length > 2 && document.querySelector('.inspector h2').innerText !== 'Everything'",
    );
    browser.eval("history.back()");
    browser.wait("document.querySelector('.detail')");
    // The same in the differential flame graph, with both shares of the path.
    browser.eval("location.hash = '#compare?m=flame&f=main&f=serve&f=audit'");
    browser.wait("document.querySelector('.legend') && document.querySelector('canvas')");
    browser.wait("document.querySelector('.inspector')?.innerText.includes('+33.33 pp')");
    let text = browser.text(".inspector");
    assert!(text.contains("0 %") && text.contains("33.3 %") && text.contains("yes"), "{text}");
    let folder = std::env::temp_dir().join(format!("hotspan-deciding-{}", std::process::id()));
    browser.call("Page.setDownloadBehavior", json!({"behavior": "allow", "downloadPath": folder.display().to_string()}));
    browser.eval("[...document.querySelectorAll('button')].find(b => b.innerText === 'Save as SVG').click()");
    browser.wait("document.querySelector('.toast')?.innerText.includes('after.diff.svg')");
    let begin = std::time::Instant::now();
    while !folder.join("after.diff.svg").exists() && begin.elapsed() < crate::cdp::PATIENCE {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let svg = std::fs::read_to_string(folder.join("after.diff.svg")).unwrap();
    assert!(svg.contains("before 0 % (0 events), now 33.3 % (5,000 events): +33.33 percentage points, certain"), "{svg}");
    // Swapped, it is gone and its time is less.
    browser.eval("[...document.querySelectorAll('button')].find(b => b.innerText === 'Swap sides').click()");
    browser.wait("document.querySelector('#baseline-slot li')?.innerText.includes('after.folded')");
    browser.eval("location.hash = '#compare'");
    browser.wait(
        "[...document.querySelectorAll('.compare tbody tr')].some(r => r.innerText.includes('hash') && r.innerText.includes('-33.33 pp'))",
    );
    browser.is_quiet();
}

#[test]
fn clocks_are_aligned_and_the_address_keeps_it() {
    let Some(mut browser) = Browser::start() else { return };
    let address = serve();
    browser.open(&address);
    browser.drop_files(&[fixture("zipkin-json/skew.json")]);
    browser.loaded();
    browser.eval("location.hash = '#traces?trace=5b8efff798038103d269b633813fc60d'");
    browser.wait("!!document.querySelector('#align-clocks')");
    browser.wait("document.querySelectorAll('.clocks li').length === 1");
    browser.click("#align-clocks");
    browser.wait("location.hash.includes('clocks=aligned')");
    browser.wait("[...document.querySelectorAll('.span-row')].filter(r => r.textContent.includes('⏱')).length === 7");
    browser.eval("[...document.querySelectorAll('.span-row')].find(r => r.textContent.includes('⏱')).click()");
    browser.wait("[...document.querySelectorAll('.remark')].some(r => r.textContent.includes('500 ms later'))");
    // The address alone restores it.
    browser.eval("location.hash = '#traces'");
    browser.wait("!document.querySelector('#align-clocks')");
    browser.eval("location.hash = '#traces?trace=5b8efff798038103d269b633813fc60d&clocks=aligned'");
    browser.wait("document.querySelector('#align-clocks')?.checked === true");
    browser.is_quiet();
}

#[test]
fn an_archive_is_one_file_with_several_sources() {
    let Some(mut browser) = Browser::start() else { return };
    browser.open(&serve());
    browser.drop_files(&[fixture("container/bundle.zip")]);
    browser.loaded();
    browser.wait("document.querySelector('.sources li')");
    let chips = browser.eval("[...document.querySelectorAll('.sources li span')].map(e => e.innerText)");
    assert_eq!(chips, json!(["bundle.zip"]));
    assert_eq!(browser.eval("document.querySelectorAll('.sources button').length"), json!(1));
    browser.eval("location.hash = '#files'");
    browser.wait("document.querySelectorAll('.source').length > 2");
    let names = browser.eval("[...document.querySelectorAll('.source h2')].map(e => e.innerText)");
    assert!(names.as_array().unwrap().iter().all(|n| n.as_str().unwrap().starts_with("bundle.zip")), "{names}");
    // Its row in the table of contents leads to it.
    browser.eval("document.querySelectorAll('.contents tbody a')[2].click()");
    browser.wait("document.querySelectorAll('.source')[2].classList.contains('current')");
    browser.click(".sources button");
    browser.wait("document.documentElement.dataset.state === 'empty'");
    browser.is_quiet();
}
