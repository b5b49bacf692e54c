//! Hot loops: code whose samples lie together because it repeats, charged to the function that can be changed.

use super::active::{Active, cpu_profiles};
use super::finding::{Cover, Finding, Rule, Threshold};
use super::loop_rows::Shown;
use super::loop_seen::{self, Hit, Seen, Unit};
use super::loop_shape::{Limits, Places, Verdict};
use super::loop_text::{Claim, describe};
use super::owner::Owner;
use super::stack_share::RE_ENTRIES;
use super::{Context, Detector, Outcome, counted};
use crate::analysis::weights::Selection;
use crate::base::ids::{FrameId, FuncId, StackId};
use crate::base::intern::PairIndex;
use crate::base::quantity::format_count;
use crate::model::symbols::FRAME_INLINED;
use std::collections::BTreeMap;
use std::rc::Rc;

/// The rule.
pub struct HotLoop;

/// Its documentation.
pub const RULE: Rule = Rule {
    id: "hot-loop",
    name: "Hot loop",
    family: "hot loops",
    summary: "A function spends a large share of the CPU time repeating the same few instructions, lines or cheap operations.",
    remedies: &[
        "Do the work less often: hoist what does not change out of the loop, stop early, batch, or cache results.",
        "Choose a data structure or algorithm that needs fewer iterations.",
        "Make one iteration cheaper: contiguous data, no allocation or lookup inside, vectorisation.",
    ],
    thresholds: &[
        Threshold {
            name: "info-share",
            default: 0.03,
            doc: "lower bound of the share of active samples that scores 25 (info); JDK Mission Control MethodProfiling, 2.88 %",
        },
        Threshold {
            name: "warning-share",
            default: 0.19,
            doc: "share that scores 75 (warning); JDK Mission Control MethodProfiling, 19.03 %",
        },
        Threshold { name: "min-active-samples", default: 20.0, doc: "active samples below which nothing is claimed; PROFILES 4.2" },
        Threshold { name: "few-samples", default: 100.0, doc: "active samples below which findings stay at info; PROFILES 4.2" },
        Threshold { name: "min-leaf-samples", default: 30.0, doc: "samples in the loop below which it is not reported; PROFILES 1.0" },
        Threshold { name: "shape-samples", default: 50.0, doc: "samples in a function below which its shape is not judged; PROFILES 1.0" },
        Threshold {
            name: "tight-bytes",
            default: 128.0,
            doc: "largest window in bytes with 80 % of the samples of a tight loop, where offsets in symbols are known; PROFILES 1.3",
        },
        Threshold { name: "tight-address-bytes", default: 256.0, doc: "the same where only addresses are known (pprof); PROFILES 1.2" },
        Threshold { name: "body-bytes", default: 512.0, doc: "the same for a loop with a larger body; PROFILES 1.3" },
        Threshold { name: "tight-lines", default: 8.0, doc: "largest run of lines with 80 % of the samples of a tight loop; PROFILES 1.2" },
        Threshold {
            name: "call-site-share",
            default: 0.8,
            doc: "share of a function's samples that must come from one place for that place to be called a loop; PROFILES 1.3",
        },
        Threshold {
            name: "unknown-share",
            default: 0.2,
            doc: "share of leaves without symbol from which findings stay at info; PROFILES 4.4",
        },
        RE_ENTRIES,
    ],
    doc: include_str!("../../docs/rules/hot-loop.md"),
};

/// Categories of which one call takes nanoseconds to microseconds, so that only repetition explains a large share (PROFILES 1.1).
pub(super) const CHEAP: [&str; 10] = ["memops", "hashing", "hashmap", "clock", "alloc", "boxing", "lock", "strfmt", "reflection", "regex"];

/// What one owner function holds.
#[derive(Default)]
pub(super) struct Group {
    /// Samples in its own machine code, with their positions.
    pub body: Places,
    /// Weight of those in the profile's value.
    pub body_value: i64,
    /// Samples in library functions that it called, by the leaf's function: positions are the call sites.
    pub leaves: BTreeMap<FuncId, (Places, i64)>,
    /// Where its samples were called from: (caller, position) and count.
    pub sites: BTreeMap<(FuncId, u64), i64>,
    /// Where calls at a position stand, for looking at their code.
    pub calls: BTreeMap<(FuncId, u64), FrameId>,
    /// A frame of its own machine code.
    pub frame: Option<FrameId>,
    /// The same samples as `body` by place in known code or function, for loops that are seen.
    pub units: BTreeMap<(Unit, u64), i64>,
}

impl Detector for HotLoop {
    fn rule(&self) -> &'static Rule {
        &RULE
    }

    fn detect(&self, cx: &Context<'_>) -> Outcome {
        let profiles = cpu_profiles(cx.session);
        if profiles.is_empty() {
            return Outcome::NotChecked("because no file holds samples of CPU or wall-clock time".to_string());
        }
        let (mut findings, mut checked, mut samples, mut few) = (Vec::new(), 0_usize, 0, 0);
        for (id, p) in profiles {
            let active = cx.active(id, p);
            if (active.count as f64) < cx.threshold(&RULE, "min-active-samples") {
                few += 1;
                continue;
            }
            checked += 1;
            samples += active.count;
            of_profile(cx, &active, &mut findings);
        }
        if checked == 0 {
            let min = cx.threshold(&RULE, "min-active-samples");
            return Outcome::NotChecked(format!(
                "because {} fewer than {min} samples that are not idle: record for longer or at a higher rate",
                if few == 1 { "the CPU profile has".to_string() } else { format!("each of the {few} CPU profiles has") }
            ));
        }
        findings.sort_by(|a, b| b.score.cmp(&a.score).then_with(|| a.fingerprint.cmp(&b.fingerprint)));
        Outcome::Checked {
            findings,
            over: format!("{} active samples in {}", format_count(samples as f64), counted(checked, "CPU profile")),
        }
    }
}

/// Functions with a loop by the shape of their samples, not by names alone.
pub(super) fn looped(cx: &Context<'_>, active: &Active<'_>) -> Vec<FuncId> {
    claims(cx, active).iter().filter(|c| matches!(c.verdict, Verdict::Tight | Verdict::Body)).map(|c| c.func).collect()
}

fn of_profile(cx: &Context<'_>, active: &Active<'_>, findings: &mut Vec<Finding>) {
    let mut claims = Vec::clone(&claims(cx, active));
    if claims.is_empty() {
        return;
    }
    if let Some(order) = cx.order(active) {
        let least = cx.threshold(&RULE, RE_ENTRIES.name);
        claims.iter_mut().for_each(|c| c.in_order(&order, least));
    }
    let selection = Selection { profile: active.id.index(), value: active.value, thread: None };
    let tree = cx.tree(selection);
    let mut covers = covers(active, &claims);
    findings.extend(claims.iter().filter_map(|c| {
        let mut f = describe(cx, active, &tree, c)?;
        f.cover = Cover::Stacks(active.id, covers.remove(&(c.func, c.repeats)).unwrap_or_default());
        Some(f)
    }));
}

/// What can be said about each owner of a CPU profile's samples, for three rules, judged on first use.
pub(super) fn claims(cx: &Context<'_>, active: &Active<'_>) -> Rc<Vec<Claim>> {
    cx.claims.borrow_mut().entry(active.id).or_insert_with(|| Rc::new(judge_all(cx, active))).clone()
}

/// The same by tiers T0 to T2, T4 and T5.
fn judge_all(cx: &Context<'_>, active: &Active<'_>) -> Vec<Claim> {
    let groups = groups(active);
    let seen = cx.seen(active);
    let limits = Limits {
        samples: cx.threshold(&RULE, "shape-samples") as i64,
        tight_offsets: cx.threshold(&RULE, "tight-bytes"),
        tight_addresses: cx.threshold(&RULE, "tight-address-bytes"),
        body: cx.threshold(&RULE, "body-bytes"),
        lines: cx.threshold(&RULE, "tight-lines"),
    };
    let site_share = cx.threshold(&RULE, "call-site-share");
    let min = cx.threshold(&RULE, "min-leaf-samples") as i64;
    let mut claims: Vec<Claim> =
        groups.iter().filter_map(|(func, g)| judge(active, seen.as_deref(), *func, g, &limits, min, site_share)).collect();
    // Names alone, and most of the time in what it calls: the rule repeated-cheap-call speaks of that.
    claims.retain(|c| c.count >= min && (c.tier != "T0" || c.leaves.first().is_none_or(|(_, n)| *n <= c.own)));
    claims
}

/// The stacks of each claim's samples, in one pass.
fn covers(active: &Active<'_>, claims: &[Claim]) -> BTreeMap<(FuncId, Option<FuncId>), Vec<StackId>> {
    let mut out: BTreeMap<(FuncId, Option<FuncId>), Vec<StackId>> = BTreeMap::new();
    let by_func: BTreeMap<FuncId, &Claim> = claims.iter().map(|c| (c.repeats.unwrap_or(c.func), c)).collect();
    for a in &active.stacks {
        let Some(owner) = active.owner(a.stack) else { continue };
        let Some(c) = by_func.get(&owner.func) else { continue };
        let leaf = active.func(a.stack);
        if owner.body && (c.repeats.is_some() || c.own > 0) || c.leaves.iter().any(|(f, _)| *f == leaf) {
            let list = out.entry((c.func, c.repeats)).or_default();
            if list.last() != Some(&a.stack) {
                list.push(a.stack);
            }
        }
    }
    out
}

/// Collects samples by owner. Stacks are many and frames few: counts are added up by pairs of frames first.
fn groups(active: &Active<'_>) -> BTreeMap<FuncId, Group> {
    let s = &active.session.symbols;
    // By frame of the owner and: nothing (its own code), the caller's frame, the leaf's function.
    let (mut bodies, mut callers, mut leaves) = (Sums::default(), Sums::default(), Sums::default());
    for a in active.stacks.iter().filter(|a| !a.thread.any(&["gc", "jit"])) {
        let leaf = active.func(a.stack);
        // Collecting garbage is nobody's loop: the rule on allocation pressure speaks of it.
        if active.leaf_class_of(leaf).any(&["gc", "jit", "idle"]) {
            continue;
        }
        let Some(Owner { at, body, .. }) = active.owner(a.stack) else { continue };
        let frame = s.stacks.frame[at.index()].0;
        if body {
            bodies.add(frame, u32::MAX, a.count, a.value);
            if let Some(caller) = caller(active, at) {
                callers.add(frame, s.stacks.frame[caller.index()].0, a.count, a.value);
            }
        } else {
            leaves.add(frame, leaf.0, a.count, a.value);
        }
    }
    let mut out: BTreeMap<FuncId, Group> = BTreeMap::new();
    let func = |frame: u32| s.funcs.canonical[s.frames.func[frame as usize].index()];
    let place = |frame: u32| {
        let i = frame as usize;
        (s.frames.offset[i], s.frames.address[i], s.frames.line[i])
    };
    for &(frame, _, count, value) in &bodies.rows {
        let (offset, address, line) = place(frame);
        let group = out.entry(func(frame)).or_default();
        group.frame.get_or_insert(FrameId(frame));
        if let Some(place) = loop_seen::unit(active.session, FrameId(frame)) {
            *group.units.entry(place).or_default() += count;
        }
        group.body.add(offset, address, line, count);
        group.body_value = group.body_value.saturating_add(value);
    }
    for &(frame, caller, count, _) in &callers.rows {
        if let Some(position) = position(place(caller)) {
            let (group, site) = (out.entry(func(frame)).or_default(), (func(caller), position));
            *group.sites.entry(site).or_default() += count;
            group.calls.entry(site).or_insert(FrameId(caller));
        }
    }
    for &(frame, leaf, count, value) in &leaves.rows {
        let (offset, address, line) = place(frame);
        let (places, sum) = out.entry(func(frame)).or_default().leaves.entry(FuncId(leaf)).or_default();
        places.add(offset, address, line, count);
        *sum = sum.saturating_add(value);
    }
    out
}

/// Counts and weights by pairs of ids.
#[derive(Default)]
struct Sums {
    index: PairIndex,
    rows: Vec<(u32, u32, i64, i64)>,
}

impl Sums {
    fn add(&mut self, a: u32, b: u32, count: i64, value: i64) {
        let (row, new) = self.index.get_or_insert(a, b, self.rows.len() as u32);
        if new {
            self.rows.push((a, b, 0, 0));
        }
        let (_, _, counts, values) = &mut self.rows[row as usize];
        *counts += count;
        *values = values.saturating_add(value);
    }
}

/// The stack that called the machine code which holds a frame.
fn caller(active: &Active<'_>, at: StackId) -> Option<StackId> {
    let s = &active.session.symbols;
    let mut at = at;
    while s.frames.flags[s.stacks.frame[at.index()].index()] & FRAME_INLINED != 0 {
        at = s.stacks.prefix[at.index()].get()?;
    }
    s.stacks.prefix[at.index()].get()
}

/// Offset, address or line, whichever is known.
fn position((offset, address, line): (u64, u64, u32)) -> Option<u64> {
    let known = |v: u64| v != crate::model::symbols::NO_ADDRESS;
    match line {
        _ if known(offset) => Some(offset),
        _ if known(address) => Some(address),
        0 => None,
        line => Some(u64::from(line)),
    }
}

/// Decides what can be said about one owner.
fn judge(active: &Active<'_>, seen: Option<&Seen>, func: FuncId, g: &Group, limits: &Limits, min: i64, site_share: f64) -> Option<Claim> {
    let hit = seen.and_then(|s| s.hit(active.session, &g.units)).filter(|h| h.n >= min);
    let shown = |hit: &Option<Hit>| Some(Shown::new(active, seen?, hit.clone()?));
    let cheap: Vec<FuncId> = g.leaves.keys().copied().filter(|l| active.leaf_class_of(*l).any(&CHEAP)).collect();
    let mut together = g.body.clone();
    for leaf in &cheap {
        together.merge(&g.leaves[leaf].0);
    }
    let tier = match () {
        () if together.knows_bytes() => "T2",
        () if together.knows_lines() => "T1",
        () => "T0",
    };
    let claim = |with_body: bool, leaves: &[FuncId], tier: &'static str, verdict: Verdict| {
        let mut places = if with_body { g.body.clone() } else { Places::default() };
        let mut value = if with_body { g.body_value } else { 0 };
        for leaf in leaves {
            places.merge(&g.leaves[leaf].0);
            value = value.saturating_add(g.leaves[leaf].1);
        }
        let mut listed: Vec<(FuncId, i64)> = leaves.iter().map(|l| (*l, g.leaves[l].0.n)).collect();
        listed.sort_by_key(|(l, n)| (std::cmp::Reverse(*n), active.name(*l)));
        let own = if with_body { g.body.n } else { 0 };
        let unread = g.frame.and_then(|frame| loop_seen::unread(active, frame));
        Claim {
            func,
            tier,
            verdict,
            count: places.n,
            value,
            own,
            leaves: listed,
            places,
            repeats: None,
            order: None,
            shown: shown(&hit),
            unread,
        }
    };
    if tier == "T0" {
        return Some(claim(true, &cheap, "T0", Verdict::Unknown));
    }
    let looped = |v: Verdict| matches!(v, Verdict::Tight | Verdict::Body);
    // The body decides if it has samples enough, else body and calls together.
    let verdict = if g.body.n >= limits.samples { g.body.verdict(limits) } else { together.verdict(limits) };
    // What is seen decides before what shapes let guess.
    let verdict = match (&hit, verdict) {
        (Some(hit), Verdict::Spread | Verdict::Unknown) if hit.loops() => Verdict::Body,
        (Some(hit), Verdict::Tight | Verdict::Body) if hit.none() => Verdict::Spread,
        _ => verdict,
    };
    if looped(verdict) {
        return Some(claim(true, &cheap, tier, verdict));
    }
    let site_limits = Limits { samples: min, ..*limits };
    let sited: Vec<FuncId> = cheap.iter().copied().filter(|l| looped(g.leaves[l].0.verdict(&site_limits))).collect();
    let calls: i64 = sited.iter().map(|l| g.leaves[l].0.n).sum();
    if calls >= min && calls >= g.body.n {
        return Some(claim(false, &sited, tier, Verdict::Tight));
    }
    if g.body.n < min {
        return None;
    }
    // Spread over the function. If one place calls it, the loop is there.
    let top = g.sites.iter().max_by_key(|((caller, at), n)| (**n, std::cmp::Reverse((*caller, *at))));
    if let Some((&(caller, at), &n)) = top
        && verdict == Verdict::Spread
        && caller != func
        && n as f64 >= site_share * g.body.n as f64
    {
        let callable = !super::owner::is_library(active, caller);
        // The call stands right before where it returns to.
        let call = g.calls.get(&(caller, at)).and_then(|f| loop_seen::unit(active.session, *f));
        let site: BTreeMap<(Unit, u64), i64> = call.map(|(unit, at)| ((unit, at.saturating_sub(1)), n)).into_iter().collect();
        let hit = seen.and_then(|s| s.hit(active.session, &site));
        // The call is known to stand in no loop: whatever repeats is further up.
        if hit.as_ref().is_some_and(Hit::none) {
            return Some(claim(true, &[], "T0", verdict));
        }
        let mut c = claim(true, &[], tier, Verdict::Spread);
        c.repeats = Some(func);
        c.func = caller;
        c.own = 0;
        c.leaves = vec![(func, g.body.n)];
        c.places = Places::default();
        c.places.add(at, at, 0, n);
        c.shown = shown(&hit);
        c.unread = g.calls.get(&(caller, at)).and_then(|f| loop_seen::unread(active, *f));
        return callable.then_some(c);
    }
    Some(claim(true, &cheap, "T0", verdict))
}
