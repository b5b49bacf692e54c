//! A file read in parts by as many threads as there are cores.

use crate::engine::Engine;
use crate::formats::parts::{HEAD_BYTES, Joiner, MIN_BYTES, Partial, Plan, plan, read_part};
use crate::formats::{ImportError, Progress};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

/// Bytes per part: large enough that joining costs little, small enough that all cores finish at about the same time.
const PART_BYTES: u64 = 16 << 20;

/// Reads a file in parts, if it is large enough and of a format that can be cut; `false` leaves everything untouched.
pub fn open_in_parts(engine: &mut Engine, path: &Path, name: &str, size: u64, progress: &mut dyn FnMut(Progress)) -> bool {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    if size < MIN_BYTES || threads < 2 {
        return false;
    }
    let Some(plan) = head(path).ok().and_then(|head| plan(&head, size, PART_BYTES)) else { return false };
    open_planned(engine, path, name, size, &plan, threads, progress)
}

fn head(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    File::open(path)?.take(HEAD_BYTES as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// Reads a planned file with this many threads; `false` when the plan is of another build.
pub fn open_planned(
    engine: &mut Engine,
    path: &Path,
    name: &str,
    size: u64,
    plan: &Plan,
    threads: usize,
    progress: &mut dyn FnMut(Progress),
) -> bool {
    let session = &mut engine.session;
    let Some(mut joiner) = Joiner::new(session, plan, name, size) else { return false };
    let (next, bytes, rows) = (AtomicUsize::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let read = |range: (u64, u64), exact: Option<u64>| {
        let open = |at: u64| {
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start(at))?;
            Ok(Box::new(file) as Box<dyn Read>)
        };
        let mut last = Progress::default();
        read_part(plan, range, exact, open, &mut |p| {
            bytes.fetch_add(p.bytes - last.bytes, Ordering::Relaxed);
            rows.fetch_add(p.rows - last.rows, Ordering::Relaxed);
            last = p;
            true
        })
    };
    // One channel per part keeps the order. A thread waits with its part until its turn comes, so that only as many parts
    // as there are threads are held beside the session.
    let (senders, receivers): (Vec<_>, Vec<_>) = plan.cuts.iter().map(|_| sync_channel(0)).unzip();
    std::thread::scope(|scope| {
        for _ in 0..threads.min(plan.cuts.len()) {
            scope.spawn(|| {
                loop {
                    let part = next.fetch_add(1, Ordering::Relaxed);
                    let Some(sender) = senders.get(part) else { return };
                    if sender.send(read(plan.range(part), None)).is_err() {
                        return;
                    }
                }
            });
        }
        for receiver in receivers {
            let done = wait(&receiver, || {
                progress(Progress { bytes: bytes.load(Ordering::Relaxed), rows: rows.load(Ordering::Relaxed) });
            });
            if let Some(done) = done {
                join(&mut joiner, done, session, &read);
            }
        }
    });
    joiner.finish(session);
    true
}

fn wait(receiver: &Receiver<Result<Partial, ImportError>>, mut meanwhile: impl FnMut()) -> Option<Result<Partial, ImportError>> {
    loop {
        match receiver.recv_timeout(Duration::from_millis(100)) {
            Ok(done) => return Some(done),
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => meanwhile(),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return None,
        }
    }
}

fn join(
    joiner: &mut Joiner,
    done: Result<Partial, ImportError>,
    session: &mut crate::model::Session,
    read: &dyn Fn((u64, u64), Option<u64>) -> Result<Partial, ImportError>,
) {
    let mut done = done;
    loop {
        match done {
            Ok(part) => {
                let range = part.range;
                match joiner.add(part, session) {
                    None => return,
                    Some(at) => done = read(range, Some(at)),
                }
            }
            Err(e) => return joiner.fail(&e),
        }
    }
}
