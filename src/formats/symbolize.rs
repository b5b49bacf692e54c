//! Names for the addresses of profiles, once all files are read: from programs, debug files, maps of just-in-time compilers
//! and the kernel's symbols that were opened beside them, in any order.
//!
//! The stacks of a profile as they were read are kept beside the named ones, so that a file that comes later changes the names
//! as if it had come first.

use super::carried::carried;
use super::dwarf;
use super::names::{self, Named};
use super::symbol_match::{Matcher, Owner};
use super::unwind_stacks;
use crate::base::ids::{FrameId, FuncId, StackId, StringId};
use crate::model::Session;
use crate::model::profile::Raw;
use crate::model::symbol_files::SymbolFile;
use crate::model::symbols::{FRAME_CALLER, FRAME_INLINED, FUNC_KERNEL, FUNC_UNSYMBOLIZED, FrameKey, FuncKey, NO_ADDRESS};
use std::collections::BTreeMap;

/// Formats whose frames may be addresses without a name.
const FORMATS: [&str; 2] = ["perf-data", "perf-script"];

/// Names what can be named, and says in the ledgers what could not.
pub fn symbolize(session: &mut Session) {
    let files = std::mem::take(&mut session.symbol_files);
    // A build that reads no symbol files has nothing that they could name.
    if let Some(by_files) = carried().symbols {
        by_files(session, &files);
    }
    super::symbol_report::report(session, &files);
    super::code_loops::find(session, &files);
    session.symbol_files = files;
}

/// Unwinds copied stacks and names addresses.
pub fn by_files(session: &mut Session, files: &[SymbolFile]) {
    unwind_stacks::forget(session);
    for p in 0..session.profiles.len() {
        unwind_stacks::unwind(session, p, files);
    }
    for p in 0..session.profiles.len() {
        if FORMATS.contains(&session.profiles[p].format) && !files.is_empty() {
            symbolize_profile(session, p, files);
        }
    }
}

fn symbolize_profile(session: &mut Session, p: usize, files: &[SymbolFile]) {
    let raw = match session.profiles[p].raw.take() {
        Some(raw) => raw,
        None => {
            let profile = &session.profiles[p];
            let raw = Raw { stack: profile.samples.stack.clone(), from: profile.branches.from.clone(), to: profile.branches.to.clone() };
            Box::new(raw)
        }
    };
    let used = used_stacks(session, &raw);
    let wanted = wanted_frames(session, &raw, &used);
    let named = name_frames(session, p, files, &wanted);
    if !named.is_empty() {
        let stacks = rebuild(session, &used, &named);
        let outermost = |frame: &FrameId| named.get(frame).and_then(|frames| frames.first().copied()).unwrap_or(*frame);
        let profile = &mut session.profiles[p];
        for (to, from) in profile.samples.stack.iter_mut().zip(&raw.stack) {
            *to = stacks.get(from.0 as usize).copied().unwrap_or(*from);
        }
        profile.branches.from = raw.from.iter().map(outermost).collect();
        profile.branches.to = raw.to.iter().map(outermost).collect();
    }
    session.profiles[p].raw = Some(raw);
}

/// Whether each stack is one of a sample or lies below one.
fn used_stacks(session: &Session, raw: &Raw) -> Vec<bool> {
    let stacks = &session.symbols.stacks;
    let mut used = vec![false; stacks.len()];
    for stack in &raw.stack {
        if let Some(used) = used.get_mut(stack.0 as usize) {
            *used = true;
        }
    }
    for row in (0..stacks.len()).rev() {
        if used[row]
            && let Some(below) = stacks.prefix[row].get()
        {
            used[below.index()] = true;
        }
    }
    used
}

/// Frames that are an address only, in order.
fn wanted_frames(session: &Session, raw: &Raw, used: &[bool]) -> Vec<FrameId> {
    let s = &session.symbols;
    let mut wanted = vec![false; s.frames.len()];
    let in_stacks = used.iter().zip(&s.stacks.frame).filter(|(used, _)| **used).map(|(_, frame)| *frame);
    for frame in in_stacks.chain(raw.from.iter().copied()).chain(raw.to.iter().copied()) {
        let Some(i) = frame.get().map(FrameId::index) else { continue };
        wanted[i] = s.funcs.flags[s.frames.func[i].index()] & FUNC_UNSYMBOLIZED != 0 && s.frames.address[i] != NO_ADDRESS;
    }
    (0..wanted.len()).filter(|i| wanted[*i]).map(FrameId::from_index).collect()
}

/// A frame and where to look for its name.
struct Place {
    frame: FrameId,
    /// Address as the file counts.
    address: u64,
    /// Address that the symbol and the line are looked up at: inside the call.
    within: u64,
}

/// New frames for old ones, outermost first.
fn name_frames(session: &mut Session, p: usize, files: &[SymbolFile], wanted: &[FrameId]) -> BTreeMap<FrameId, Vec<FrameId>> {
    // By what names them: each file is gone through once.
    let mut by_owner: BTreeMap<Owner, Vec<Place>> = BTreeMap::new();
    let mut matcher = Matcher::new(session, p, files);
    for &frame in wanted {
        if let Some((owner, address)) = matcher.place(session, frame) {
            let caller = session.symbols.frames.flags[frame.index()] & FRAME_CALLER != 0;
            by_owner.entry(owner).or_default().push(Place { frame, address, within: address.wrapping_sub(u64::from(caller)) });
        }
    }
    let mut out = BTreeMap::new();
    for (owner, places) in by_owner {
        let symbols = &files[owner.symbols];
        let mut addresses: Vec<u64> = places.iter().map(|place| place.within).collect();
        addresses.sort_unstable();
        addresses.dedup();
        let code = owner.debug.map(|file| dwarf::places(&files[file], &addresses)).unwrap_or_default();
        for place in places {
            let row = addresses.partition_point(|a| *a < place.within);
            let frames = frames_of(session, symbols, &place, code.frames.get(row).map_or(&[][..], Vec::as_slice));
            if !frames.is_empty() {
                out.insert(place.frame, frames);
            }
        }
    }
    out
}

/// The functions at a place, outermost first.
fn frames_of(session: &mut Session, file: &SymbolFile, place: &Place, code: &[dwarf::CodeFrame]) -> Vec<FrameId> {
    let symbol = file.symbols.find(place.within);
    // Frames of the debug information: the last one is not inlined.
    let (outer, inner) = match code.split_last() {
        Some((outer, inner)) => (outer.clone(), inner),
        None => (dwarf::CodeFrame::default(), &[][..]),
    };
    let name = symbol.map_or(outer.name.as_str(), |s| s.name);
    if name.is_empty() {
        return Vec::new();
    }
    let old = session.symbols.frames.key(place.frame.0);
    let from = symbol.map_or(0, |s| s.address);
    let jit = file.lines.find(place.within, from).map(|(file, line)| (file.to_string(), line));
    let (path, line) = jit.unwrap_or((outer.file.clone(), outer.line));
    let func = intern(session, old, name, &path, outer.start_line);
    let offset = symbol.map_or(NO_ADDRESS, |s| place.address.wrapping_sub(s.address));
    let address = if symbol.is_some() { NO_ADDRESS } else { place.address };
    let mut out = vec![session.symbols.frames.intern(FrameKey { func, line, address, offset, flags: 0 })];
    for frame in inner.iter().rev().filter(|f| !f.name.is_empty()) {
        let func = intern(session, old, &frame.name, &frame.file, frame.start_line);
        // Where a function is inlined, its offset is one in another function: the address tells the place.
        let key = FrameKey { func, line: frame.line, address: place.address, offset: NO_ADDRESS, flags: FRAME_INLINED };
        out.push(session.symbols.frames.intern(key));
    }
    out
}

fn intern(session: &mut Session, old: FrameKey, symbol: &str, path: &str, start_line: u32) -> FuncId {
    let Named { name, full, system } = names::of_symbol(symbol);
    let strings = &mut session.strings;
    let mut text = |text: Option<&str>| text.map_or(StringId::NONE, |text| strings.intern(text));
    let (name, full_name, system_name) = (text(Some(&name)), text(full.as_deref()), text(system.then_some(symbol)));
    let file = text(Some(path).filter(|p| !p.is_empty()));
    let funcs = &mut session.symbols.funcs;
    let (mapping, flags) = (funcs.mapping[old.func.index()], funcs.flags[old.func.index()] & FUNC_KERNEL);
    funcs.intern(FuncKey { name, full_name, system_name, file, mapping, start_line, flags })
}

/// The stack that each used stack becomes.
fn rebuild(session: &mut Session, used: &[bool], named: &BTreeMap<FrameId, Vec<FrameId>>) -> Vec<StackId> {
    let frames = session.symbols.frames.len();
    let mut rows = vec![u32::MAX; frames];
    let lists: Vec<&Vec<FrameId>> = named.values().collect();
    for (row, frame) in named.keys().enumerate() {
        rows[frame.index()] = row as u32;
    }
    let stacks = &mut session.symbols.stacks;
    let mut out: Vec<StackId> = (0..used.len()).map(StackId::from_index).collect();
    for row in (0..used.len()).filter(|row| used[*row]) {
        let (prefix, frame) = (stacks.prefix[row], stacks.frame[row]);
        let mut stack = if prefix.is_none() { prefix } else { out[prefix.index()] };
        match lists.get(rows[frame.index()] as usize) {
            Some(list) => {
                for frame in *list {
                    stack = stacks.push(stack, *frame);
                }
            }
            None => stack = stacks.push(stack, frame),
        }
        out[row] = stack;
    }
    out
}
