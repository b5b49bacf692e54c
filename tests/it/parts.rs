//! A file read in any number of parts gives the tables of the file read in one piece: rows, order, ledger, everything.

use crate::corpus;
use hotspan::base::memory::Budget;
use hotspan::base::pack::Packer;
use hotspan::formats::parts::{HEAD_BYTES, Joiner, Partial, plan, read_part};
use hotspan::formats::{Limits, input};
use hotspan::model::{Session, parcel};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Everything of a session that a reader decides, as text.
pub fn everything(session: &Session) -> String {
    let mut out = Packer::default();
    parcel::pack(session, &mut out);
    let hash = hotspan::base::hash::hash_bytes(&out.into_bytes());
    let (text, ends) = session.strings.raw();
    format!("{:#?}\n{:#?}\n{text}\n{ends:?}\n{hash:x}", session.profiles, session.sources)
}

pub fn in_one_piece(bytes: &[u8]) -> Session {
    let mut session = Session::default();
    let reader: Box<dyn Read> = Box::new(std::io::Cursor::new(bytes.to_vec()));
    input::open(&mut session, "f", bytes.len() as u64, reader, Limits::default(), &mut |_| true);
    session
}

/// `None` when the file cannot be cut; else the session and how many parts had to be read again.
fn in_parts(bytes: &[u8], part_bytes: u64) -> Option<(Session, usize)> {
    let plan = plan(&bytes[..bytes.len().min(HEAD_BYTES)], bytes.len() as u64, part_bytes)?;
    let mut session = Session::default();
    let mut joiner = Joiner::new(&mut session, &plan, "f", bytes.len() as u64)?;
    let mut again = 0;
    for part in 0..plan.cuts.len() {
        let mut exact = None;
        loop {
            let open = |at: u64| Ok(Box::new(std::io::Cursor::new(bytes[at as usize..].to_vec())) as Box<dyn Read>);
            let read = read_part(&plan, plan.range(part), exact, open, &mut |_| true).unwrap();
            // Through bytes and back, as between workers.
            let read = Partial::unpack(&plan, &read.pack()).unwrap();
            exact = joiner.add(read, &mut session);
            if exact.is_none() {
                break;
            }
            again += 1;
        }
    }
    joiner.finish(&mut session);
    Some((session, again))
}

fn compare(path: &Path, bytes: &[u8], table: &mut Vec<(String, usize, usize)>) {
    let whole = everything(&in_one_piece(bytes));
    let mut row = (path.file_name().unwrap().to_string_lossy().into_owned(), 0, 0);
    let n = bytes.len() as u64;
    for part_bytes in [n / 2, n / 3, n / 7, n / 23, 700, 97] {
        // A thousand parts are enough of a test for any file.
        let part_bytes = part_bytes.max(n / 1000).max(1);
        let Some((session, again)) = in_parts(bytes, part_bytes) else { continue };
        row.1 += 1;
        row.2 += again;
        let parts = everything(&session);
        if parts != whole {
            let (a, b): (Vec<&str>, Vec<&str>) = (whole.lines().collect(), parts.lines().collect());
            let at = a.iter().zip(&b).position(|(a, b)| a != b).unwrap_or(a.len().min(b.len()));

            let near = |l: &[&str]| l[at.saturating_sub(3)..(at + 4).min(l.len())].join("\n");
            panic!("{} in parts of {part_bytes} bytes differs at line {at}:\n{}\n-- in parts --\n{}", path.display(), near(&a), near(&b));
        }
    }
    if row.1 > 0 {
        table.push(row);
    }
}

pub fn files(folder: &Path, out: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut paths: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() { files(&path, out) } else { out.push(path) }
    }
}

#[test]
fn the_number_of_parts_changes_nothing() {
    let mut paths = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures"), &mut paths);
    match corpus::folder() {
        Some(folder) => files(&folder, &mut paths),
        None => println!("SKIPPED: the corpus is absent; only our own fixtures were read in parts"),
    }
    let mut table = Vec::new();
    for path in paths {
        let bytes = std::fs::read(&path).unwrap();
        // Larger ones show nothing new and take minutes in a debug build.
        if bytes.len() < 600_000 {
            compare(&path, &bytes, &mut table);
        }
    }
    let again: usize = table.iter().map(|row| row.2).sum();
    println!("read in parts: {} files, {} cuttings, {again} parts read again", table.len(), table.iter().map(|r| r.1).sum::<usize>());
    assert!(table.len() >= 5, "hardly any file was cut: {table:?}");
}

/// Samples that are read a few thousand lines at a time.
pub fn long_script() -> String {
    let sample = |i: usize| format!("a 1/1 [000] {i}.5: 7 cycles: \n\t401000 f{}+0x1 (/bin/a)\n\t402000 main+0x2 (/bin/a)\n\n", i % 50);
    (0..20_000).map(sample).collect()
}

/// A page's memory ends: what was read stays, and the file says why there is no more.
#[test]
fn where_memory_ends_reading_stops_with_a_sentence() {
    let text = long_script();
    let full = Budget { tables: u64::MAX, limit: 1 << 20, taken: || 1 << 30 };
    let mut session = Session::default();
    let limits = Limits { memory: full, ..Limits::default() };
    input::open(&mut session, "f", text.len() as u64, Box::new(std::io::Cursor::new(text.clone())), limits, &mut |_| true);
    let (source, samples) = (&session.sources[0], session.profiles[0].total(0));
    assert!(source.error.as_ref().is_some_and(|e| e.starts_with("reading stopped after")), "{:?}", source.error);
    assert!((500..20_000).contains(&samples), "{samples}");
    assert_eq!((source.ledger.records_in, source.ledger.records_kept), (samples as u64, samples as u64));

    // In parts: the first fills the memory, the second is left aside.
    let bytes = text.as_bytes();
    let plan = plan(&bytes[..HEAD_BYTES.min(bytes.len())], bytes.len() as u64, bytes.len() as u64 / 2).unwrap();
    let mut session = Session::default();
    let mut joiner = Joiner::new(&mut session, &plan, "f", bytes.len() as u64).unwrap();
    joiner.limits.memory = full;
    for part in 0..2 {
        let open = |at: u64| Ok(Box::new(std::io::Cursor::new(bytes[at as usize..].to_vec())) as Box<dyn Read>);
        let read = read_part(&plan, plan.range(part), None, open, &mut |_| true).unwrap();
        assert_eq!(joiner.add(read, &mut session), None);
    }
    joiner.finish(&mut session);
    let (source, samples) = (&session.sources[0], session.profiles[0].total(0));
    assert!(source.error.as_ref().is_some_and(|e| e.starts_with(&format!("reading stopped after {samples} rows"))), "{:?}", source.error);
    assert!((9_000..11_000).contains(&samples), "{samples}");
}
