//! Loops that are seen and not inferred: in the machine code of binaries that were opened beside a profile (tier T5), and in the
//! taken branches of its samples (tier T4); with the samples that lie in them.

use super::active::Active;
use crate::analysis::branch_loops::{BranchLoop, BranchLoops, branch_loops};
use crate::analysis::weights::{subtree, walk};
use crate::base::ids::{FrameId, FuncId};
use crate::model::Session;
use crate::model::code::{CodeFunction, CodeLoop};
use crate::model::symbols::{FRAME_INLINED, FUNC_UNSYMBOLIZED, NO_ADDRESS};
use std::collections::BTreeMap;

/// What offsets are counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    /// A function whose machine code is known, by position in [`crate::model::code::CodeTable::functions`].
    Code(u32),
    /// A function by name, canonical.
    Func(FuncId),
}

/// A loop with what is known of it.
#[derive(Clone, Debug)]
pub struct SeenLoop {
    /// Offset of its header.
    pub header: u64,
    /// Its code, `from..to`, in order.
    pub ranges: Vec<(u64, u64)>,
    /// 1 for an outermost loop.
    pub depth: u32,
    /// Position of the loop around it.
    pub parent: Option<usize>,
    /// What taken branches say of it.
    pub trips: Option<BranchLoop>,
    /// What the machine code says of it.
    pub code: Option<CodeLoop>,
    /// Active events in its own code.
    pub own: i64,
    /// Active events in its code and in what it calls.
    pub total: i64,
}

impl SeenLoop {
    /// Whether an offset lies in it.
    pub fn holds(&self, offset: u64) -> bool {
        let i = self.ranges.partition_point(|(from, _)| *from <= offset);
        i > 0 && offset < self.ranges[i - 1].1
    }
}

/// The loops of a profile.
pub struct Seen {
    /// By what offsets are counted in; a loop stands before those inside it.
    pub loops: BTreeMap<Unit, Vec<SeenLoop>>,
    /// What taken branches say as a whole.
    pub branches: BranchLoops,
}

/// Samples of one owner against the loops.
#[derive(Clone, Debug)]
pub struct Hit {
    /// Where most of them are.
    pub unit: Unit,
    /// The innermost loop that holds most of them, else the outermost with most; `None` without loops.
    pub hottest: Option<usize>,
    /// Samples in loops.
    pub inside: i64,
    /// All samples of the owner's code.
    pub n: i64,
    /// Whether the machine code is known to its last byte, so that no loop means that there is none.
    pub certain: bool,
}

/// Share of an owner's samples that its loop must hold (PROFILES 1.7).
const HOLDS: f64 = 0.8;

/// Share of the samples that must lie at the beginning of an instruction, as those of the program that ran all do.
pub const FITS: f64 = 0.98;

/// Where a frame lies: in code that is known, else at an offset of a function with a name.
pub fn unit(session: &Session, frame: FrameId) -> Option<(Unit, u64)> {
    if let Some(place) = session.code.place(frame) {
        return Some((Unit::Code(place.function), u64::from(place.offset)));
    }
    let s = &session.symbols;
    let (func, offset) = (s.frames.func[frame.index()], s.frames.offset[frame.index()]);
    let named = s.funcs.flags[func.index()] & FUNC_UNSYMBOLIZED == 0 && offset != NO_ADDRESS;
    named.then(|| (Unit::Func(s.funcs.canonical[func.index()]), offset))
}

fn is_inlined(session: &Session, frame: FrameId) -> bool {
    session.symbols.frames.flags[frame.index()] & FRAME_INLINED != 0
}

/// The loops of a profile; `None` when no binary and no branches tell of any.
pub fn seen(active: &Active<'_>) -> Option<Seen> {
    let session = active.session;
    let branches = if active.profile.branches.is_empty() { BranchLoops::default() } else { branch_loops(session, active.profile) };
    if branches.loops.is_empty() && session.code.functions.is_empty() {
        return None;
    }
    let mut loops: BTreeMap<Unit, Vec<SeenLoop>> = BTreeMap::new();
    for (row, function) in session.code.functions.iter().enumerate().filter(|(_, f)| usable(f)) {
        let of = |l: &CodeLoop| SeenLoop {
            header: u64::from(l.header),
            ranges: l.ranges.iter().map(|(a, b)| (u64::from(*a), u64::from(*b))).collect(),
            depth: l.depth,
            parent: l.parent.map(|p| p as usize),
            trips: None,
            code: Some(l.clone()),
            own: 0,
            total: 0,
        };
        loops.insert(Unit::Code(row as u32), function.loops.iter().map(of).collect());
    }
    let mut bare: BTreeMap<Unit, Vec<SeenLoop>> = BTreeMap::new();
    for l in &branches.loops {
        let Some((unit, _)) = unit(session, l.frame) else { continue };
        if let Some(list) = loops.get_mut(&unit).filter(|list| !list.is_empty()) {
            if let Some(same) = list.iter_mut().find(|s| s.header == l.header) {
                same.trips = Some(l.clone());
            }
            continue;
        }
        let (header, ranges) = (l.header, l.ranges.clone());
        let bare = bare.entry(unit).or_default();
        bare.push(SeenLoop { header, ranges, depth: 1, parent: None, trips: Some(l.clone()), code: None, own: 0, total: 0 });
    }
    for (unit, mut list) in bare {
        nest(&mut list);
        loops.insert(unit, list);
    }
    let mut out = Seen { loops, branches };
    out.count(active);
    Some(out)
}

/// Whether a function's code is that of the program that ran.
pub fn usable(f: &CodeFunction) -> bool {
    f.fits.is_none_or(|fits| fits >= FITS)
}

/// Puts loops that are known by their extent into each other.
fn nest(list: &mut [SeenLoop]) {
    let extent = |l: &SeenLoop| (l.ranges.first().map_or(0, |r| r.0), l.ranges.last().map_or(0, |r| r.1));
    list.sort_by_key(|l| (extent(l).0, std::cmp::Reverse(extent(l).1), l.header));
    let mut open: Vec<usize> = Vec::new();
    for i in 0..list.len() {
        while open.last().is_some_and(|o| extent(&list[*o]).1 < extent(&list[i]).1) {
            open.pop();
        }
        list[i].parent = open.last().copied();
        list[i].depth = open.len() as u32 + 1;
        open.push(i);
    }
}

impl Seen {
    /// Counts the active samples in each loop, each once however often its stack is in it.
    fn count(&mut self, active: &Active<'_>) {
        let stacks = &active.session.symbols.stacks;
        let mut own = vec![0_i64; stacks.len()];
        for a in &active.stacks {
            own[a.stack.index()] += a.count;
        }
        let total = subtree(stacks, &own);
        // What is inlined stands at the same place; other frames above a frame were called, and return behind their call.
        let mut exact = own.clone();
        for row in (0..exact.len()).rev() {
            if let Some(below) = stacks.prefix[row].get().filter(|_| is_inlined(active.session, stacks.frame[row])) {
                exact[below.index()] += exact[row];
            }
        }
        let used: Vec<bool> = total.iter().map(|n| *n > 0).collect();
        let mut open: BTreeMap<Unit, Vec<u32>> = self.loops.iter().map(|(unit, list)| (*unit, vec![0; list.len()])).collect();
        let loops = &mut self.loops;
        walk(stacks, &used, |row, down| {
            let Some((unit, offset)) = unit(active.session, stacks.frame[row]) else { return };
            let (Some(list), Some(open)) = (loops.get_mut(&unit), open.get_mut(&unit)) else { return };
            for (l, open) in list.iter_mut().zip(open) {
                let (here, call) = (l.holds(offset), l.holds(offset.saturating_sub(1)));
                if !here && !call {
                    continue;
                }
                if !down {
                    *open -= 1;
                    continue;
                }
                if *open == 0 {
                    l.total += if here { exact[row] } else { 0 } + if call { total[row] - exact[row] } else { 0 };
                }
                l.own += if here { own[row] } else { 0 };
                *open += 1;
            }
        });
    }

    /// How samples at some places, with their counts, lie in the loops.
    pub fn hit(&self, session: &Session, places: &BTreeMap<(Unit, u64), i64>) -> Option<Hit> {
        let mut units: BTreeMap<Unit, i64> = BTreeMap::new();
        for ((unit, _), n) in places {
            *units.entry(*unit).or_default() += n;
        }
        let (&unit, _) = units.iter().filter(|(u, _)| self.loops.contains_key(u)).max_by_key(|(u, n)| (**n, std::cmp::Reverse(**u)))?;
        let list = self.loops.get(&unit)?;
        let n: i64 = units.values().sum();
        let mut held = vec![0_i64; list.len()];
        let mut inside = 0;
        for ((_, offset), count) in places.range((unit, 0)..=(unit, u64::MAX)) {
            let mut any = false;
            for (l, held) in list.iter().zip(&mut held).filter(|(l, _)| l.holds(*offset)) {
                *held += count;
                any |= l.holds(*offset);
            }
            inside += if any { *count } else { 0 };
        }
        let all = (0..list.len()).filter(|i| held[*i] > 0);
        let most =
            all.clone().filter(|i| held[*i] as f64 >= HOLDS * n as f64).max_by_key(|i| (list[*i].depth, held[*i], std::cmp::Reverse(*i)));
        let hottest = most.or_else(|| all.max_by_key(|i| (held[*i], list[*i].depth, std::cmp::Reverse(*i))));
        let certain = match unit {
            Unit::Code(row) => session.code.functions.get(row as usize).is_some_and(|f| f.unknown == 0 && f.indirect == 0),
            Unit::Func(_) => false,
        };
        Some(Hit { unit, hottest, inside, n, certain })
    }
}

impl Hit {
    /// Whether the samples are in loops.
    pub fn loops(&self) -> bool {
        self.hottest.is_some() && self.inside as f64 >= HOLDS * self.n as f64
    }

    /// Whether it is certain that nothing loops where the samples are.
    pub fn none(&self) -> bool {
        self.certain && self.inside as f64 <= (1.0 - HOLDS) * self.n as f64
    }
}

/// Why the machine code of a function says nothing; `None` where it was looked at or cannot be.
pub fn unread(active: &Active<'_>, frame: FrameId) -> Option<String> {
    let session = active.session;
    let module = session.symbols.module(&session.strings, session.symbols.frames.func[frame.index()]);
    match session.code.place(frame).and_then(|p| session.code.functions.get(p.function as usize)) {
        Some(f) if !usable(f) => Some(format!(
            "The machine code of {} was not used, because only {} of the samples in {} lie at the beginning of an instruction there: another build ran.",
            f.binary,
            crate::base::quantity::format_share(f.fits.unwrap_or(0.0)),
            f.name
        )),
        Some(_) => None,
        None if matches!(active.profile.format, "perf-data" | "perf-script" | "pprof")
            && !module.is_empty()
            && !module.starts_with('[') =>
        {
            Some(format!("Its loops in the machine code were not checked, because {module} was not opened beside the profile."))
        }
        None => None,
    }
}
