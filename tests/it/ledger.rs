//! The ledger's invariants over every file there is, and over thousands of damaged ones: nothing panics, records and weights
//! that go in are kept or dropped, what is kept is in the tables, what is lost has places, and a file's name changes nothing.

use crate::corpus::folder;
use crate::profiles::random;
use hotspan::engine::Engine;
use hotspan::model::diagnostics::MAX_EXAMPLES;
use hotspan::report::inspect::sources;
use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Damaged copies in all; a debug build on two cores opens them in about a minute.
const DAMAGED: usize = 8000;
/// Damaged copies are no larger than this: how a reader recovers does not depend on how much follows.
const MOST_BYTES: usize = 24 << 10;
/// Whole files beyond this size are left to the readers' own tests, for a debug build's sake.
const WHOLE_BYTES: u64 = 400 << 10;

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(&folder).into_iter().flatten().filter_map(|e| Some(e.ok()?.path())) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_none_or(|e| e != "md") {
                out.push(path);
            }
        }
    }
    out.sort();
    out
}

/// Our own fixtures, and the corpus where it is there.
fn everything() -> Vec<(String, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut all = files(&root);
    if let Some(corpus) = folder() {
        all.extend(files(&corpus).into_iter().filter(|f| f.parent() != Some(&corpus)));
    }
    let read = |path: PathBuf| {
        let size = std::fs::metadata(&path).unwrap().len();
        let name = format!("{}/{}", path.parent()?.file_name()?.to_string_lossy(), path.file_name()?.to_string_lossy());
        (size > 0 && size <= WHOLE_BYTES).then(|| (name, std::fs::read(&path).unwrap()))
    };
    all.into_iter().filter_map(read).collect()
}

fn open(name: &str, bytes: &[u8], rules: bool) -> Engine {
    let mut engine = Engine::default();
    engine.open(name, bytes.len() as u64, Box::new(Cursor::new(bytes.to_vec())), &mut |_| true);
    if rules {
        engine.finish();
    } else {
        engine.link();
    }
    engine
}

/// Opens and returns what is wrong with the account, a panic included.
fn wrong(name: &str, bytes: &[u8], rules: bool) -> Vec<String> {
    match catch_unwind(AssertUnwindSafe(|| account(&open(name, bytes, rules)))) {
        Ok(wrong) => wrong,
        Err(why) => {
            let text = why.downcast_ref::<String>().cloned().or_else(|| why.downcast_ref::<&str>().map(|s| (*s).to_string()));
            vec![format!("panicked: {}", text.unwrap_or_default())]
        }
    }
}

/// What does not add up.
fn account(engine: &Engine) -> Vec<String> {
    let mut wrong = Vec::new();
    for (at, source) in engine.session.sources.iter().enumerate() {
        let ledger = &source.ledger;
        if source.error.as_ref().is_some_and(String::is_empty) {
            wrong.push("refused without a sentence".to_string());
        }
        if ledger.records_kept > ledger.records_in {
            wrong.push(format!("{} records kept of {}", ledger.records_kept, ledger.records_in));
        }
        for line in &ledger.weights {
            if line.weight_in != line.kept.saturating_add(line.dropped) {
                wrong.push(format!("weight {}: {} in, {} kept, {} dropped", line.value, line.weight_in, line.kept, line.dropped));
            }
        }
        let profiles: Vec<_> = engine.session.profiles.iter().filter(|p| p.source.index() == at).collect();
        let mut tables: BTreeMap<&str, i128> = BTreeMap::new();
        for p in &profiles {
            for (i, v) in p.value_types.iter().enumerate() {
                *tables.entry(&v.unit).or_default() += i128::from(p.total(i));
            }
            for column in &p.samples.values {
                if column.len() != p.samples.len() {
                    wrong.push(format!("a column of {} values beside {} stacks", column.len(), p.samples.len()));
                }
            }
        }
        // Sums that left the range of integers are cut off on either side, not necessarily alike.
        let saturated = ledger.weights.iter().any(|l| l.kept.unsigned_abs() > i64::MAX as u64 / 4);
        let mut kept: BTreeMap<&str, i128> = BTreeMap::new();
        for line in &ledger.weights {
            *kept.entry(&line.unit).or_default() += i128::from(line.kept);
        }
        tables.retain(|_, sum| *sum != 0);
        kept.retain(|_, sum| *sum != 0);
        if !saturated && tables != kept {
            wrong.push(format!("kept {kept:?}, but the tables hold {tables:?}"));
        }
        for (code, entry) in ledger.diagnostics.iter() {
            if entry.count == 0 || entry.examples.is_empty() || entry.examples.len() > MAX_EXAMPLES {
                wrong.push(format!("{code}: {} times with {} places", entry.count, entry.examples.len()));
            }
        }
        let told = ledger.diagnostics.iter().next().is_some();
        if ledger.records_dropped() > 0 && !told && source.error.is_none() {
            wrong.push(format!("{} records dropped without a reason", ledger.records_dropped()));
        }
    }
    wrong
}

fn report(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} accounts do not add up:\n{}", wrong.len(), wrong.iter().take(40).cloned().collect::<Vec<_>>().join("\n"));
}

#[test]
fn every_file_adds_up_and_its_name_means_nothing() {
    let mut all = Vec::new();
    for (name, bytes) in everything() {
        all.extend(wrong("x", &bytes, true).into_iter().map(|w| format!("{name}: {w}")));
        let answer = |file: &str| {
            let mut sources = sources(&open(file, &bytes, false).session);
            for source in sources.as_array_mut().into_iter().flatten() {
                source["file"].take();
            }
            sources
        };
        let file = name.rsplit('/').next().unwrap();
        if answer(file) != answer("8f3a") {
            all.push(format!("{name}: another result under a meaningless name"));
        }
    }
    report(&all);
}

/// The bytes without gzip, no longer than is useful: damage to the wrapping would only ever test the unwrapping.
fn raw(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let _ = flate2::read::GzDecoder::new(bytes).take(MOST_BYTES as u64).read_to_end(&mut out);
    } else {
        out.extend_from_slice(bytes);
    }
    out.truncate(MOST_BYTES);
    out
}

/// Start and end of one to four lines, or of a range of up to 400 bytes.
fn range(bytes: &[u8], state: &mut u64, lines: bool) -> (usize, usize) {
    let at = random(state) as usize % bytes.len();
    if !lines {
        return (at, (at + 1 + random(state) as usize % 400).min(bytes.len()));
    }
    let from = bytes[..at].iter().rposition(|b| *b == b'\n').map_or(0, |p| p + 1);
    let count = 1 + random(state) as usize % 4;
    let to = bytes[at..].iter().enumerate().filter(|(_, b)| **b == b'\n').nth(count - 1).map_or(bytes.len(), |(p, _)| at + p + 1);
    (from, to)
}

fn damage(bytes: &mut Vec<u8>, state: &mut u64) -> String {
    let kind = random(state) % 6;
    match kind {
        0 => bytes.truncate(random(state) as usize % bytes.len()),
        1 => {
            for _ in 0..1 + random(state) % 12 {
                let at = random(state) as usize % bytes.len();
                bytes[at] = random(state) as u8;
            }
        }
        2 | 3 => {
            let (from, to) = range(bytes, state, kind == 2);
            let copy = bytes[from..to].to_vec();
            let at = if kind == 2 { from } else { random(state) as usize % bytes.len() };
            bytes.splice(at..at, copy);
        }
        _ => {
            let (from, to) = range(bytes, state, kind == 4);
            bytes.drain(from..to);
        }
    }
    ["cut", "bytes", "lines twice", "range twice", "lines gone", "range gone"][kind as usize].to_string()
}

#[test]
fn thousands_of_damaged_files_add_up() {
    let files: Vec<(String, Vec<u8>)> =
        everything().into_iter().map(|(name, bytes)| (name, raw(&bytes))).filter(|f| !f.1.is_empty()).collect();
    let each = DAMAGED.div_ceil(files.len());
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    // The panics of readers are collected, not printed one by one.
    let quiet = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let all: Vec<String> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..workers)
            .map(|worker| {
                let files = &files;
                scope.spawn(move || {
                    let mut all = Vec::new();
                    for (number, (name, bytes)) in files.iter().enumerate().filter(|(i, _)| i % workers == worker) {
                        let mut state = number as u64 + 1;
                        for round in 0..each {
                            let mut copy = bytes.clone();
                            let mut what = damage(&mut copy, &mut state);
                            if round % 3 == 2 && !copy.is_empty() {
                                what = format!("{what}, {}", damage(&mut copy, &mut state));
                            }
                            if copy.is_empty() {
                                continue;
                            }
                            // The rules look at some of what remains.
                            all.extend(
                                wrong("x", &copy, round % 6 == 0).into_iter().map(|w| format!("{name} round {round} ({what}): {w}")),
                            );
                        }
                    }
                    all
                })
            })
            .collect();
        handles.into_iter().flat_map(|h| h.join().unwrap()).collect()
    });
    std::panic::set_hook(quiet);
    println!("{} damaged copies of {} files", each * files.len(), files.len());
    report(&all);
}
