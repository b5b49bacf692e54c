//! Pictures of the page for people: `cargo xtask shot OUT.png [--file F]… [--baseline F]… [--hash '#…'] [--size WxH] [--dark]
//! [--click SELECTOR] [--eval EXPRESSION]`. Clicks and expressions come in their order, after the files.

use crate::cdp::Browser;
use crate::page::serve;
use std::path::PathBuf;

#[test]
fn takes_the_picture_that_is_asked_for() {
    // Without a request this checks only that the page can be photographed at all.
    let wish = std::env::var("HOTSPAN_SHOT").unwrap_or_default();
    let Some(mut browser) = Browser::start() else { return };
    let mut args = wish.split('\x1f').filter(|a| !a.is_empty());
    let out = args.next().map(PathBuf::from);
    let (mut files, mut baseline, mut steps) = (Vec::new(), Vec::new(), Vec::new());
    let (mut hash, mut size) = (String::new(), (1280, 800));
    while let Some(arg) = args.next() {
        match arg {
            "--dark" => browser.scheme("dark"),
            "--file" => files.extend(args.next().map(PathBuf::from)),
            "--baseline" => baseline.extend(args.next().map(PathBuf::from)),
            "--click" | "--eval" => steps.extend(args.next().map(|a| (arg, a))),
            "--hash" => hash = args.next().unwrap_or("").to_string(),
            "--size" => {
                let text = args.next().unwrap_or("1280x800");
                size = text.split_once('x').and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?))).expect("--size WIDTHxHEIGHT");
            }
            other => panic!("shot does not know {other}"),
        }
    }
    browser.size(size.0, size.1);
    browser.open(&format!("{}{hash}", serve()));
    if !files.is_empty() {
        browser.drop_files(&files);
        browser.loaded();
    }
    if !baseline.is_empty() {
        browser.eval("location.hash = '#compare'");
        browser.choose("[aria-label='Choose baseline files']", &baseline);
        browser.wait("document.documentElement.dataset.state === 'loading'");
        browser.loaded();
        if !hash.is_empty() {
            browser.eval(&format!("location.hash = '{hash}'"));
        }
    }
    for (kind, what) in steps {
        if kind == "--click" {
            browser.click(what);
        } else {
            browser.eval(what);
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    std::thread::sleep(std::time::Duration::from_millis(400));
    let picture = browser.picture();
    assert!(picture.starts_with(b"\x89PNG"));
    if let Some(out) = out {
        std::fs::write(out, picture).unwrap();
        let marks = browser.eval(
            "['hotspan:open', 'hotspan:imported', 'hotspan:view'].map(m => performance.getEntriesByName(m).at(-1)?.startTime ?? null)",
        );
        println!("complaints: {:?}; milliseconds at open, imported, view: {marks}", browser.complaints);
    }
}
