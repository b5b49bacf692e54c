//! How the page looks and is reached: nothing sticks out of narrow pages, text has contrast, controls have names, the keyboard
//! and the system's colours are heard.

use crate::cdp::Browser;
use crate::page::{fixture, serve};
use serde_json::json;
use std::path::{Path, PathBuf};

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("static/samples").join(name)
}

/// Places of the page with what must be there, over a CPU profile with labels and traces.
const PLACES: &[(&str, &str)] = &[
    ("#findings", ".finding"),
    ("#flame", ".children li"),
    ("#functions?fn=runtime.main", ".inspector .facts"),
    ("#traces", ".traces-list tbody tr"),
    ("#services", "table td"),
    ("#services?m=critical", ".path, .inspector .facts"),
    ("#compare", ".side"),
    ("#files", ".source"),
];

/// Texts that run out of the page: what is cut by no scrolling box of its own.
const STICKS_OUT: &str = "(() => {
    const width = document.documentElement.clientWidth;
    const out = document.documentElement.scrollWidth > width ? ['the page'] : [];
    for (const e of document.querySelectorAll('body *')) {
        const r = e.getBoundingClientRect();
        if (!r.width || !r.height || r.right <= width + 1) continue;
        let box = e.parentElement;
        while (box && getComputedStyle(box).overflowX === 'visible') box = box.parentElement;
        if (!box || ['MAIN', 'BODY', 'HTML'].includes(box.tagName)) out.push(e.tagName + '.' + e.className + ' ' + e.textContent.slice(0, 40));
    }
    return out.slice(0, 5);
})()";

/// Texts with less than 4.5:1 against what lies behind them; what is switched off may be fainter.
const FAINT: &str = "(() => {
    const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
    const rgba = colour => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const light = c => {
        const [r, g, b] = c.slice(0, 3).map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const out = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        const e = node.parentElement;
        const style = getComputedStyle(e);
        if (!node.textContent.trim() || !e.getClientRects().length || style.visibility === 'hidden') continue;
        if (e.closest('.hidden, :disabled, [aria-hidden=true], noscript, script, svg, .faded')) continue;
        let box = e;
        while (box && rgba(getComputedStyle(box).backgroundColor)[3] < 255) box = box.parentElement;
        const back = light(rgba(box ? getComputedStyle(box).backgroundColor : 'white'));
        const front = light(rgba(style.color));
        const ratio = (Math.max(back, front) + 0.05) / (Math.min(back, front) + 0.05);
        if (ratio < 4.5) out.push(ratio.toFixed(2) + ' ' + e.tagName + '.' + e.className + ' ' + node.textContent.trim().slice(0, 40));
    }
    return out.slice(0, 5);
})()";

/// Controls without a name.
const NAMELESS: &str = "[...document.querySelectorAll('button, a, select, input, summary, [role=button]')]
    .filter(e => e.getClientRects().length)
    .filter(e => !(e.getAttribute('aria-label') || e.textContent || e.title || e.labels?.[0]?.innerText || '').trim())
    .map(e => e.outerHTML.slice(0, 120))";

#[test]
fn every_view_fits_is_readable_and_its_controls_have_names() {
    let Some(mut browser) = Browser::start() else { return };
    browser.open(&serve());
    browser.drop_files(&[
        fixture("pprof/labels.pb.gz"),
        fixture("pprof/cpu.pb.gz"),
        sample("checkout.otlp.json"),
        fixture("folded/small.folded"),
    ]);
    browser.loaded();
    let mut places: Vec<(String, String)> = PLACES.iter().map(|(hash, there)| ((*hash).to_string(), (*there).to_string())).collect();
    browser.eval("location.hash = '#traces'");
    browser.wait("document.querySelector('.traces-list tbody button')");
    browser.eval("document.querySelector('.traces-list tbody button').click()");
    browser.wait("document.querySelector('.span-row')");
    browser.eval("document.querySelectorAll('.span-row:not(.group)')[1].click()");
    browser.wait("document.querySelector('[data-try]')");
    browser.eval("document.querySelector('[data-try=zero]').click()");
    browser.wait("document.querySelector('.what-if .result b')");
    places.push((browser.eval("location.hash").as_str().unwrap().to_string(), ".what-if .result b".to_string()));
    for (width, scheme) in [(1400, "light"), (1400, "dark"), (700, "dark"), (400, "light")] {
        browser.size(width, 800);
        browser.scheme(scheme);
        for (hash, there) in &places {
            browser.eval(&format!("location.hash = {hash:?}"));
            browser.wait(&format!("document.querySelector({there:?}) && !document.querySelector('.skeleton')"));
            for (what, expression) in [("sticks out", STICKS_OUT), ("is too faint", FAINT), ("has no name", NAMELESS)] {
                assert_eq!(browser.eval(expression), json!([]), "{hash} at {width} px, {scheme}: {what}");
            }
        }
    }
    // An open menu lies inside a narrow page as well.
    browser.eval("location.hash = '#functions'");
    browser.wait("document.querySelector('#labels-menu summary')");
    browser.click("#labels-menu summary");
    browser.wait("document.querySelector('[data-label-key]')");
    assert_eq!(browser.eval(STICKS_OUT), json!([]));
    browser.is_quiet();
}

/// The most frequent colour of a line of the picture.
const COLOUR: &str = "(() => {
    const picture = document.querySelector('canvas');
    const copy = new OffscreenCanvas(picture.width, 20).getContext('2d', {willReadFrequently: true});
    copy.drawImage(picture, 0, 0);
    const d = copy.getImageData(0, 10, picture.width, 1).data;
    const count = {};
    for (let i = 0; i < d.length; i += 4) { const k = [d[i], d[i + 1], d[i + 2]].join(); count[k] = (count[k] ?? 0) + 1; }
    return Object.entries(count).sort((a, b) => b[1] - a[1])[0][0];
})()";

#[test]
fn pictures_follow_the_colours_of_the_system() {
    let Some(mut browser) = Browser::start() else { return };
    browser.scheme("light");
    browser.open(&format!("{}#flame", serve()));
    browser.drop_files(&[fixture("folded/small.folded")]);
    browser.loaded();
    browser.wait("document.querySelector('canvas')?.dataset.drawn > 0");
    let light = browser.eval(COLOUR);
    browser.scheme("dark");
    browser.wait(&format!("{COLOUR} !== {light}"));
    browser.scheme("light");
    browser.wait(&format!("{COLOUR} === {light}"));
    browser.is_quiet();
}

#[test]
fn the_table_of_keys_keeps_the_keyboard_and_gives_it_back() {
    let Some(mut browser) = Browser::start() else { return };
    browser.open(&serve());
    browser.drop_files(&[fixture("folded/small.folded")]);
    browser.loaded();
    browser.wait("document.querySelector('.findings [data-search]')");
    browser.eval("document.querySelector('[aria-label=Keys]').focus()");
    browser.eval("document.querySelector('[aria-label=Keys]').click()");
    browser.wait("document.activeElement.closest('#help')");
    browser.key("Tab");
    assert_eq!(browser.eval("!!document.activeElement.closest('#help')"), json!(true));
    browser.key("Escape");
    browser.wait("!document.querySelector('#help')");
    browser.wait("document.activeElement.getAttribute('aria-label') === 'Keys'");
    browser.is_quiet();
}

#[test]
fn on_a_narrow_page_a_chosen_finding_comes_into_sight() {
    let Some(mut browser) = Browser::start() else { return };
    browser.open(&serve());
    browser.drop_files(&[fixture("pprof/cpu.pb.gz")]);
    browser.loaded();
    browser.size(400, 700);
    browser.wait("document.querySelectorAll('.finding').length > 2");
    browser.click(".family:nth-of-type(2) .finding, .finding");
    browser.wait("document.querySelector('.detail h2').getBoundingClientRect().top < 600");
    browser.is_quiet();
}
