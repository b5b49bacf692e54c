//! Pictures of the page for people: `cargo xtask shot OUT.png [--file F]… [--hash '#…'] [--size WxH] [--dark] [--click SELECTOR]`.

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
    let (mut files, mut clicks, mut hash, mut size) = (Vec::new(), Vec::new(), String::new(), (1280, 800));
    while let Some(arg) = args.next() {
        match arg {
            "--dark" => browser.scheme("dark"),
            "--file" => files.extend(args.next().map(PathBuf::from)),
            "--click" => clicks.extend(args.next()),
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
    for selector in clicks {
        browser.click(selector);
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
