//! Calls of an Android method trace: entries and exits per thread become slices with their own time on the wall clock and on
//! the thread's CPU clock.

use super::Import;
use crate::base::ids::{FrameId, StackId, ThreadId};
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use crate::model::profile::{Profile, SliceTable, Thread, ValueKind, ValueType};
use std::collections::{BTreeMap, HashMap};

const STRAY: DiagnosticCode = DiagnosticCode {
    code: "art-trace/exit-without-entry",
    level: Level::DataLoss,
    message: "Exits of methods whose entry is not in the trace (they were running when it began) were dropped.",
};
const MISMATCH: DiagnosticCode = DiagnosticCode {
    code: "art-trace/mismatched-exit",
    level: Level::Notice,
    message: "Exits name another method than the innermost running one; that method was closed, with all inside it.",
};
const UNFINISHED: DiagnosticCode = DiagnosticCode {
    code: "art-trace/still-running",
    level: Level::Notice,
    message: "Methods that were running when the trace ended are closed at the last record of their thread.",
};
const BACKWARD: DiagnosticCode = DiagnosticCode {
    code: "art-trace/time-goes-back",
    level: Level::Notice,
    message: "Records that lie before their predecessor on the same thread are taken to be at its time.",
};

/// A clock of 32 bits in microseconds, which begins anew after 71 minutes.
#[derive(Clone, Copy, Debug, Default)]
struct Clock {
    last: u32,
    /// Nanoseconds since the trace began.
    now: i64,
}

impl Clock {
    /// Goes on to a reading; `false` when it lies in the past.
    fn go(&mut self, reading: u32) -> bool {
        let ahead = reading.wrapping_sub(self.last);
        if ahead > u32::MAX / 2 {
            return false;
        }
        self.last = reading;
        self.now += i64::from(ahead) * 1000;
        true
    }
}

struct Open {
    method: u32,
    row: usize,
    cpu: i64,
}

#[derive(Default)]
struct Track {
    wall: Clock,
    cpu: Clock,
    open: Vec<Open>,
    /// How often a method is open: an exit of one that is not must not search the whole stack.
    count: HashMap<u32, u32>,
    stack: Vec<StackId>,
    start_ns: Vec<i64>,
    duration_ns: Vec<i64>,
    depth: Vec<u32>,
    own_wall: Vec<i64>,
    own_cpu: Vec<i64>,
}

impl Track {
    fn close(&mut self) -> Option<u32> {
        let open = self.open.pop()?;
        if let Some(n) = self.count.get_mut(&open.method) {
            *n -= 1;
        }
        let (wall, cpu) = (self.wall.now - self.start_ns[open.row], self.cpu.now - open.cpu);
        self.duration_ns[open.row] = wall;
        self.own_wall[open.row] += wall;
        self.own_cpu[open.row] += cpu;
        if let Some(caller) = self.open.last() {
            self.own_wall[caller.row] -= wall;
            self.own_cpu[caller.row] -= cpu;
        }
        Some(open.method)
    }
}

/// All calls.
#[derive(Default)]
pub struct Calls {
    /// Whether records hold two clocks: first the thread's, then the wall's.
    pub dual: bool,
    /// Whether the only clock is the thread's.
    pub thread_clock: bool,
    /// Process; 0 until it is told.
    pub pid: i64,
    tracks: Vec<Track>,
    rows: BTreeMap<i64, usize>,
    names: BTreeMap<i64, String>,
}

impl Calls {
    /// Names a thread.
    pub fn name(&mut self, tid: i64, name: &str) {
        self.names.insert(tid, name.to_string());
    }

    fn track(&mut self, tid: i64, first: u32, second: u32, import: &mut Import<'_>) -> &mut Track {
        let tracks = &mut self.tracks;
        let row = *self.rows.entry(tid).or_insert_with(|| {
            // Clocks of threads begin where their first record has them.
            let cpu = Clock { last: first, now: i64::from(first) * 1000 };
            let wall = Clock { last: second, now: i64::from(second) * 1000 };
            tracks.push(Track { wall, cpu, ..Track::default() });
            tracks.len() - 1
        });
        let track = &mut self.tracks[row];
        let forward = track.cpu.go(first) & track.wall.go(second);
        if !forward {
            import.report(BACKWARD, At::Record(import.ledger.records_in), "");
        }
        track
    }

    /// A method begins.
    pub fn enter(&mut self, tid: i64, method: u32, frame: FrameId, first: u32, second: u32, import: &mut Import<'_>) {
        import.ledger.records_kept += 1;
        let track = self.track(tid, first, second, import);
        let caller = track.open.last().map_or(StackId::NONE, |open| track.stack[open.row]);
        let row = track.stack.len();
        track.stack.push(import.session.symbols.stacks.push(caller, frame));
        track.start_ns.push(track.wall.now);
        track.duration_ns.push(0);
        track.depth.push(track.open.len() as u32);
        track.own_wall.push(0);
        track.own_cpu.push(0);
        track.open.push(Open { method, row, cpu: track.cpu.now });
        *track.count.entry(method).or_default() += 1;
    }

    /// A method ends, by return or by exception.
    pub fn leave(&mut self, tid: i64, method: u32, first: u32, second: u32, at: u64, import: &mut Import<'_>) {
        let track = self.track(tid, first, second, import);
        if track.count.get(&method).is_none_or(|n| *n == 0) {
            import.report(STRAY, At::Record(at), &format!("method {method:#x}"));
            return;
        }
        import.ledger.records_kept += 1;
        if track.open.last().is_some_and(|open| open.method != method) {
            import.report(MISMATCH, At::Record(at), &format!("method {method:#x}"));
        }
        while track.close().is_some_and(|closed| closed != method) {}
    }

    /// Stores the profile: wall time and, where the trace has it, CPU time of each call apart from the calls inside.
    pub fn finish(&mut self, import: &mut Import<'_>) {
        let mut still = 0;
        for track in &mut self.tracks {
            still += track.open.len() as u64;
            while track.close().is_some() {}
        }
        if still > 0 {
            import.ledger.diagnostics.report_many(UNFINISHED, still, At::File, "");
        }
        if self.tracks.iter().all(|t| t.stack.is_empty()) {
            return;
        }
        let wall = ValueType { name: "wall".into(), unit: "nanoseconds".into(), kind: ValueKind::WallTime };
        let cpu = ValueType { name: "cpu".into(), unit: "nanoseconds".into(), kind: ValueKind::CpuTime };
        let types = match (self.dual, self.thread_clock) {
            (true, _) => vec![wall, cpu],
            (false, true) => vec![cpu],
            (false, false) => vec![wall],
        };
        if self.dual {
            import.choose(
                "weight",
                "wall",
                &["cpu"],
                "The trace tells both how long each call took and how much CPU its thread used meanwhile.",
            );
        }
        let mut p = Profile::new(import.source, "art-trace", types);
        let mut slices = SliceTable::default();
        for (tid, row) in &self.rows {
            let track = &mut self.tracks[*row];
            if track.stack.is_empty() {
                continue;
            }
            let id = ThreadId::from_index(p.threads.len());
            let name = self.names.get(tid).cloned().unwrap_or_default();
            p.threads.push(Thread { name, pid: if self.pid > 0 { self.pid } else { -1 }, tid: *tid, process: String::new() });
            let n = track.stack.len();
            slices.thread.extend(std::iter::repeat_n(id, n));
            slices.stack.append(&mut track.stack);
            slices.start_ns.append(&mut track.start_ns);
            slices.duration_ns.append(&mut track.duration_ns);
            slices.depth.append(&mut track.depth);
            p.samples.values[0].append(&mut track.own_wall);
            if self.dual {
                p.samples.values[1].append(&mut track.own_cpu);
            }
        }
        p.samples.stack = slices.stack.clone();
        p.samples.thread = slices.thread.clone();
        let first = slices.start_ns.iter().min().copied().unwrap_or(0);
        let last = slices.start_ns.iter().zip(&slices.duration_ns).map(|(s, d)| s + d).max().unwrap_or(first);
        p.duration_ns = last - first;
        p.slices = Some(slices);
        for (at, value) in p.value_types.iter().enumerate() {
            import.ledger.weigh(&value.name, &value.unit, p.total(at), true);
        }
        import.session.profiles.push(p);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_begin_anew() {
        let mut c = Clock { last: u32::MAX - 1, now: 0 };
        assert!(c.go(3) && c.now == 5000);
        assert!(!c.go(2) && c.now == 5000);
    }
}
