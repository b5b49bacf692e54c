//! Which functions of opened binaries the samples of a profile lie in, and where its frames lie in them.

use super::names::{self, Named};
use super::symbol_match::{Match, Matcher};
use crate::base::ids::{FrameId, FuncId, MappingId};
use crate::model::Session;
use crate::model::profile::Profile;
use crate::model::symbol_files::SymbolFile;
use crate::model::symbols::{FRAME_INLINED, FUNC_KERNEL, FUNC_UNSYMBOLIZED, NO_ADDRESS};
use std::collections::{BTreeMap, BTreeSet};

/// Share of a profile's weight in a function's own code from which it is decoded.
const OWN: f64 = 0.005;
/// The same with what it calls.
const TOTAL: f64 = 0.02;
/// A longer function is not decoded.
const MAX_SIZE: u64 = 1 << 20;

/// A function to decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted {
    /// The file with its code.
    pub file: usize,
    /// The file with its lines.
    pub debug: Option<usize>,
    /// Its first address.
    pub begin: u64,
    /// One behind its last.
    pub end: u64,
}

/// Where frames lie, as offsets in functions to decode.
pub type Places = BTreeMap<FrameId, (Wanted, u64)>;

/// A binary's files.
#[derive(Clone, Copy)]
struct Binary {
    symbols: usize,
    code: usize,
    debug: Option<usize>,
}

/// Finds the places of a profile's frames in hot functions. Frames that could lie in several functions are left out.
pub fn places(session: &Session, p: usize, files: &[SymbolFile], out: &mut Places) {
    let profile = &session.profiles[p];
    let hot = hot(session, profile);
    if hot.is_empty() {
        return;
    }
    let mut matcher = Matcher::new(session, p, files);
    let mut binaries: BTreeMap<MappingId, Option<Binary>> = BTreeMap::new();
    let s = &session.symbols;
    // Functions by the binary that they are in. Ends of branches may lack it: that of the function of the same name counts.
    let mut by_name: BTreeMap<FuncId, MappingId> = BTreeMap::new();
    for func in &hot {
        if let Some(mapping) = s.funcs.mapping[func.index()].get() {
            by_name.entry(s.funcs.canonical[func.index()]).or_insert(mapping);
        }
    }
    let mut mapped: Vec<Option<MappingId>> = vec![None; s.funcs.len()];
    for (func, place) in mapped.iter_mut().enumerate() {
        let kernel = s.funcs.flags[func] & FUNC_KERNEL != 0;
        let hot = hot.contains(&FuncId::from_index(func));
        let alike = by_name.get(&s.funcs.canonical[func]).copied();
        *place = s.funcs.mapping[func].get().filter(|_| hot).or(alike).filter(|_| !kernel);
        if let Some(mapping) = *place {
            binaries.entry(mapping).or_insert_with(|| binary(session, &mut matcher, mapping, files));
        }
    }
    binaries.retain(|_, b| b.is_some());
    if binaries.is_empty() {
        return;
    }
    let used = used(session, profile);
    let by_offset = |f: &&FrameId| s.frames.offset[f.index()] != NO_ADDRESS && s.frames.flags[f.index()] & FRAME_INLINED == 0;
    let told: BTreeSet<FuncId> = used.iter().filter(by_offset).map(|f| s.frames.func[f.index()]).collect();
    let begins = begins(session, files, &binaries, &mapped, &told);
    for frame in used {
        let func = s.frames.func[frame.index()];
        let Some(binary) = mapped[func.index()].and_then(|m| binaries.get(&m).copied().flatten()) else { continue };
        let symbols = &files[binary.symbols];
        let (address, offset) = (s.frames.address[frame.index()], s.frames.offset[frame.index()]);
        let place = if offset != NO_ADDRESS && s.frames.flags[frame.index()] & FRAME_INLINED == 0 {
            begins.get(&func).map(|begin| (*begin, offset))
        } else if address != NO_ADDRESS {
            let at = if profile.format == "pprof" { in_file(session, profile, symbols, func, address) } else { Some(address) };
            at.and_then(|at| symbols.symbols.find(at).map(|s| (s.address, at - s.address)))
        } else {
            None
        };
        let Some((begin, offset)) = place else { continue };
        let Some(end) = symbols.symbols.end_of(begin).filter(|end| end - begin <= MAX_SIZE && offset < end - begin) else { continue };
        out.entry(frame).or_insert((Wanted { file: binary.code, debug: binary.debug, begin, end }, offset));
    }
}

/// Functions with enough of a profile's weight, own or with what they call. Inlined ones count as what they are inlined into.
fn hot(session: &Session, profile: &Profile) -> BTreeSet<FuncId> {
    let s = &session.symbols;
    let value = profile.samples.values.get(profile.default_value);
    let mut own = vec![0_i64; s.stacks.len()];
    for (i, stack) in profile.samples.stack.iter().enumerate() {
        if let Some(stack) = stack.get() {
            own[stack.index()] = own[stack.index()].saturating_add(value.map_or(1, |v| v[i]).max(0));
        }
    }
    let whole: i64 = own.iter().fold(0, |sum, n| sum.saturating_add(*n));
    let mut total = own.clone();
    for row in (0..total.len()).rev() {
        if let Some(below) = s.stacks.prefix[row].get() {
            total[below.index()] = total[below.index()].saturating_add(total[row]);
        }
    }
    let mut sums = vec![(0_i64, 0_i64); s.funcs.len()];
    // What is inlined counts as the function below, whose code it is in.
    for row in (0..own.len()).rev() {
        let (func, below) = (s.frames.func[s.stacks.frame[row].index()], s.stacks.prefix[row].get());
        if let Some(below) = below.filter(|_| s.frames.flags[s.stacks.frame[row].index()] & FRAME_INLINED != 0) {
            own[below.index()] = own[below.index()].saturating_add(own[row]);
        }
        let sum = &mut sums[func.index()];
        *sum = (sum.0.saturating_add(own[row]), sum.1.saturating_add(total[row]));
    }
    let enough = |(own, total): (i64, i64)| own as f64 >= OWN * whole as f64 || total as f64 >= TOTAL * whole as f64;
    let named = |i: usize| s.funcs.flags[i] & FUNC_UNSYMBOLIZED == 0;
    (0..sums.len()).filter(|i| sums[*i].1 > 0 && enough(sums[*i]) && named(*i)).map(FuncId::from_index).collect()
}

fn binary(session: &Session, matcher: &mut Matcher<'_>, mapping: MappingId, files: &[SymbolFile]) -> Option<Binary> {
    let Match::Found(owner) = matcher.of(session, mapping, false) else { return None };
    // The code may stand in another file than the symbols: these may have been split off.
    let code = [Some(owner.symbols), owner.layout()].into_iter().flatten().find(|f| files[*f].code.is_some())?;
    Some(Binary { symbols: owner.symbols, code, debug: owner.debug })
}

/// The first address of each of some functions, by its name; names that several symbols have are left out.
fn begins(
    session: &Session,
    files: &[SymbolFile],
    binaries: &BTreeMap<MappingId, Option<Binary>>,
    mapped: &[Option<MappingId>],
    told: &BTreeSet<FuncId>,
) -> BTreeMap<FuncId, u64> {
    let s = &session.symbols;
    let text = |id: crate::base::ids::StringId| id.get().map_or("", |id| session.strings.get(id));
    let mut out = BTreeMap::new();
    for (mapping, binary) in binaries.iter().filter_map(|(m, b)| Some((*m, (*b)?))) {
        let mut wanted: BTreeMap<&str, Vec<FuncId>> = BTreeMap::new();
        for func in told.iter().filter(|f| mapped[f.index()] == Some(mapping)) {
            let i = func.index();
            for name in [text(s.funcs.system_name[i]), text(s.funcs.full_name[i]), text(s.funcs.name[i])] {
                if !name.is_empty() {
                    wanted.entry(name).or_default().push(*func);
                }
            }
        }
        let mut found: BTreeMap<FuncId, (u8, BTreeSet<u64>)> = BTreeMap::new();
        // The better name decides: the linker's before that without its hash or parameters.
        let mut meet = |name: &str, rank: u8, address: u64| {
            for func in wanted.get(name).into_iter().flatten() {
                let entry = found.entry(*func).or_insert((rank, BTreeSet::new()));
                if rank > entry.0 {
                    *entry = (rank, BTreeSet::new());
                }
                if rank == entry.0 {
                    entry.1.insert(address);
                }
            }
        };
        let symbols = &files[binary.symbols].symbols;
        symbols.iter().for_each(|symbol| meet(symbol.name, 3, symbol.address));
        // Names that a tool made readable are compared with all symbols made readable: that is slow, and seldom needed.
        let readable = told.iter().any(|f| mapped[f.index()] == Some(mapping) && s.funcs.system_name[f.index()].is_none());
        if readable && wanted.keys().any(|name| name.contains("::") || name.contains('(')) {
            for symbol in symbols.iter().filter(|s| s.name.starts_with("_Z") || s.name.starts_with("_R")) {
                let Named { name, full, .. } = names::of_symbol(symbol.name);
                if let Some(full) = full {
                    meet(&full, 2, symbol.address);
                }
                meet(&name, 1, symbol.address);
            }
        }
        out.extend(found.into_iter().filter_map(|(func, (_, at))| Some((func, at.iter().next().copied().filter(|_| at.len() == 1)?))));
    }
    out
}

/// The address in its file of a place in memory.
fn in_file(session: &Session, profile: &Profile, file: &SymbolFile, func: FuncId, address: u64) -> Option<u64> {
    let mapping = session.symbols.funcs.mapping[func.index()];
    let range = profile.ranges.iter().find(|r| r.mapping == mapping && address >= r.start && address < r.limit)?;
    file.address_of(address - range.start + range.offset)
}

/// Frames of a profile's stacks and branches, each once.
fn used(session: &Session, profile: &Profile) -> Vec<FrameId> {
    let s = &session.symbols;
    let mut stacks = vec![false; s.stacks.len()];
    for stack in profile.samples.stack.iter().filter_map(|s| s.get()) {
        stacks[stack.index()] = true;
    }
    let mut frames = vec![false; s.frames.len()];
    for row in (0..stacks.len()).rev().filter(|row| stacks[*row]).collect::<Vec<_>>() {
        let mut at = Some(row);
        while let Some(row) = at {
            frames[s.stacks.frame[row].index()] = true;
            at = s.stacks.prefix[row].get().map(|p| p.index()).filter(|p| !std::mem::replace(&mut stacks[*p], true));
        }
    }
    for frame in profile.branches.from.iter().chain(&profile.branches.to).filter_map(|f| f.get()) {
        frames[frame.index()] = true;
    }
    (0..frames.len()).filter(|f| frames[*f]).map(FrameId::from_index).collect()
}
