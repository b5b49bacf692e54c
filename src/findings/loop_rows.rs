//! What a finding says of loops that are seen in machine code and taken branches: the table, the proof, the reservations.

use super::active::Active;
use super::finding::{Evidence, LoopRow, Trips};
use super::loop_seen::{FITS, Hit, Seen, SeenLoop, Unit};
use super::loop_text::Claim;
use crate::base::quantity::format_share;
use crate::base::view::ViewRef;

/// Rows of a finding's table.
const ROWS: usize = 12;
/// Times a loop must be seen to be left before its mean is told.
const EXITS: u64 = 10;

/// The loops of one claim.
#[derive(Clone)]
pub(super) struct Shown {
    /// Where the samples lie.
    pub hit: Hit,
    /// The table.
    pub rows: Vec<LoopRow>,
    /// The loop that the claim is about, copied out of the profile's.
    pub hottest: Option<SeenLoop>,
    /// The loop around it.
    pub around: Option<SeenLoop>,
    /// Most branches of a sample.
    pub depth: usize,
    /// Vague jumps in the function.
    pub indirect: u32,
    /// Bytes of the function that are no known instructions.
    pub unknown: u32,
    /// Whether other functions of the binary are not those that ran.
    pub foreign: bool,
}

impl Shown {
    /// Of samples that hit a unit's loops.
    pub fn new(active: &Active<'_>, seen: &Seen, hit: Hit) -> Shown {
        let list = seen.loops.get(&hit.unit).map_or(&[][..], Vec::as_slice);
        let hottest = hit.hottest.and_then(|i| list.get(i)).cloned();
        let around = hottest.as_ref().and_then(|l| l.parent).and_then(|p| list.get(p)).cloned();
        // The loops with samples, those with most first; in the table they stand in the order of the code.
        let mut order: Vec<usize> = (0..list.len()).filter(|i| list[*i].total > 0).collect();
        order.sort_by_key(|i| (std::cmp::Reverse(list[*i].total), *i));
        order.truncate(ROWS);
        order.sort_unstable();
        let rows = order.into_iter().map(|i| row(active, &list[i], Some(i) == hit.hottest)).collect();
        let function = match hit.unit {
            Unit::Code(row) => active.session.code.functions.get(row as usize),
            Unit::Func(_) => None,
        };
        let (indirect, unknown) = function.map_or((0, 0), |f| (f.indirect, f.unknown));
        let foreign = function.is_some_and(|f| f.binary_fits.is_some_and(|fits| fits < FITS));
        Shown { hit, rows, hottest, around, depth: seen.branches.depth, indirect, unknown, foreign }
    }

    /// Whether machine code proves the loop.
    pub fn by_code(&self) -> bool {
        self.hit.loops() && self.hottest.as_ref().is_some_and(|l| l.code.is_some())
    }

    /// Whether taken branches prove it.
    pub fn by_branches(&self) -> bool {
        self.hit.loops() && self.hottest.as_ref().is_some_and(|l| l.trips.is_some())
    }
}

fn row(active: &Active<'_>, l: &SeenLoop, hottest: bool) -> LoopRow {
    let share = |n: i64| n as f64 / active.count.max(1) as f64;
    let code = l.code.as_ref();
    LoopRow {
        place: place(l),
        file: code.map_or(String::new(), |c| c.file.clone()),
        first_line: code.map_or(0, |c| c.first_line),
        last_line: code.map_or(0, |c| c.last_line),
        inlined: code.map_or(String::new(), |c| c.inlined.clone()),
        depth: l.depth,
        hottest,
        share: share(l.own),
        with_calls: share(l.total),
        instructions: code.map(|c| c.instructions),
        calls: code.map(|c| c.calls),
        packed: code.map(|c| c.packed),
        vector_bits: code.map(|c| c.width),
        trips: l.trips.as_ref().map(|t| Trips {
            mean: t.mean.filter(|_| t.exits >= EXITS),
            median: t.median,
            p95: t.p95,
            longest: t.longest,
            exits: t.exits,
            stacks: t.stacks,
            cycles: t.cycles,
            mispredicted: t.mispredicted,
        }),
    }
}

/// `+0x20 to +0x3a`.
fn place(l: &SeenLoop) -> String {
    format!("+{:#x} to +{:#x}", l.ranges.first().map_or(l.header, |r| r.0), l.ranges.last().map_or(l.header, |r| r.1))
}

/// `lines 10 to 11 of fix.c`, or the place in the machine code.
fn lines(l: &SeenLoop) -> String {
    let Some(c) = l.code.as_ref().filter(|c| c.first_line > 0) else { return place(l) };
    let file = c.file.rsplit(['/', '\\']).next().unwrap_or(&c.file);
    let inlined = if c.inlined.is_empty() { String::new() } else { format!(" ({}, inlined)", c.inlined) };
    if c.first_line == c.last_line {
        format!("line {} of {file}{inlined}", c.first_line)
    } else {
        format!("lines {} to {} of {file}{inlined}", c.first_line, c.last_line)
    }
}

fn has_lines(l: &SeenLoop) -> bool {
    l.code.as_ref().is_some_and(|c| c.first_line > 0)
}

/// The end of the message: where the loop is and how often it runs.
pub(super) fn message(shown: &Shown) -> String {
    let Some(l) = shown.hottest.as_ref().filter(|_| shown.hit.loops()) else { return String::new() };
    let mut out = format!("; the loop is {}{}", if has_lines(l) { "" } else { "at " }, lines(l));
    if let Some(around) = &shown.around {
        out.push_str(&format!(", in the loop of {}", lines(around)));
    }
    if let Some(t) = l.trips.as_ref() {
        if let Some(mean) = t.mean.filter(|_| t.exits >= EXITS) {
            out.push_str(&format!("; it iterates {} times per entry", trips(mean)));
        } else if t.longest > 1 {
            out.push_str(&format!("; it iterates at least {} times in a row", t.longest));
        }
    }
    out
}

/// `9.7`, `62`.
fn trips(mean: f64) -> String {
    if mean < 20.0 { format!("{mean:.1}") } else { format!("{mean:.0}") }
}

/// The proof.
pub(super) fn evidence(active: &Active<'_>, shown: &Shown, view: &ViewRef, out: &mut Vec<Evidence>) {
    let share = |n: i64| format_share(n as f64 / active.count.max(1) as f64);
    let of = |n: i64| format_share(n as f64 / shown.hit.n.max(1) as f64);
    let mut say = |text: String| out.push(Evidence { text, view: view.clone() });
    let Some(l) = &shown.hottest else {
        if shown.hit.none() {
            say("its machine code has no loop: what repeats is its caller".to_string());
        }
        return;
    };
    if let Some(c) = &l.code {
        if shown.hit.none() {
            say(format!("its machine code loops at {}, where only {} of its samples lie", place(l), of(shown.hit.inside)));
            return;
        }
        let over = if has_lines(l) { format!(" over {}", lines(l)) } else { String::new() };
        let mut text = format!("its machine code loops{over}: {} instructions at {}", c.instructions, place(l));
        if let Some(around) = &shown.around {
            text.push_str(&format!(", {} deep, in {}", l.depth, lines(around)));
        }
        text.push_str(&format!("; {} of all samples are in them", share(l.own)));
        if (l.total - l.own) as f64 >= 0.005 * active.count as f64 {
            text.push_str(&format!(", {} with what they call", share(l.total)));
        }
        text.push_str(&match (c.packed, c.width) {
            (0, _) => "; no arithmetic on vectors".to_string(),
            (n, 0) => format!("; {n} of them compute on vectors"),
            (n, bits) => format!("; {n} of them compute on vectors of up to {bits} bits"),
        });
        say(text);
    }
    let Some(t) = &l.trips else { return };
    let mut text = match t.mean.filter(|_| t.exits >= EXITS) {
        Some(mean) => format!(
            "by taken branches it loops {} times per entry on average (± {}, {} exits)",
            trips(mean),
            format_share(1.0 / (t.exits as f64).sqrt()),
            t.exits
        ),
        None if t.longest > 1 => format!("by taken branches it loops at least {} times in a row", t.longest),
        None => format!("by taken branches it loops, {} seen", super::counted(t.turns as usize, "iteration")),
    };
    match (t.median, t.p95) {
        (Some(median), Some(p95)) => text.push_str(&format!(", median {median}, 95 % up to {p95}")),
        (Some(median), None) => text.push_str(&format!(", median {median}")),
        _ => {}
    }
    text.push_str(&format!(", over {} branch stacks", t.stacks));
    if let Some(cycles) = t.cycles {
        text.push_str(&format!("; {cycles} cycles per iteration"));
    }
    if let Some(wrong) = t.mispredicted.filter(|m| *m >= 0.005) {
        text.push_str(&format!("; {} of its back edges mispredicted", format_share(wrong)));
    }
    say(text);
}

/// What could make it wrong, or was not looked at.
pub(super) fn caveats(active: &Active<'_>, claim: &Claim, out: &mut Vec<String>) {
    let perf = matches!(active.profile.format, "perf-data" | "perf-script");
    let shown = claim.shown.as_ref();
    let t = shown.and_then(|s| s.hottest.as_ref()).and_then(|l| l.trips.as_ref());
    if let Some(t) = t
        && (t.median.is_none() || t.p95.is_none())
    {
        out.push(format!(
            "A sample keeps the last {} taken branches: of longer runs only the average is known{}.",
            shown.map_or(0, |s| s.depth),
            if t.exits < EXITS { ", once enough exits are seen" } else { "" }
        ));
    }
    if let Some(s) = shown.filter(|s| s.by_code()) {
        if s.indirect > 0 {
            out.push(format!(
                "The function has {} through a table or register: each is taken to go wherever nothing else leads, so that loops may be larger or smaller.",
                super::counted(s.indirect as usize, "jump")
            ));
        }
        if s.foreign {
            out.push(
                "Samples in other functions of the binary do not lie at the beginning of instructions: it may be of another build."
                    .to_string(),
            );
        }
        if s.unknown > 0 {
            out.push(format!("{} bytes of the function are no instructions that are known.", s.unknown));
        }
        if s.hottest.as_ref().and_then(|l| l.code.as_ref()).is_some_and(|c| c.irreducible) {
            out.push("The loop can be entered at several places (irreducible): its header is one of them.".to_string());
        }
        if let Some(l) = s.hottest.as_ref().filter(|l| l.total > 2 * l.own) {
            out.push(format!(
                "What the loop calls costs {}, more than the loop itself with {}: look there first.",
                format_share((l.total - l.own) as f64 / active.count.max(1) as f64),
                format_share(l.own as f64 / active.count.max(1) as f64)
            ));
        }
    }
    if claim.tier != "T2" {
        return;
    }
    if let Some(text) = claim.unread.clone() {
        out.push(text);
    }
    if perf && active.profile.branches.is_empty() {
        out.push(
            "How often it iterates per entry was not checked, because the recording has no taken branches (`perf record -b`, on processors with LBR or BRBE).".to_string(),
        );
    }
}
