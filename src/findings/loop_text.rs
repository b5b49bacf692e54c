//! What a finding about a loop says: claim, numbers, proof, remedies.

use super::Context;
use super::active::Active;
use super::finding::{Confidence, Evidence, Finding, Impact, Occurrences, Severity, ShareOf, Subject, fingerprint};
use super::hot_loop::RULE;
use super::loop_rows::{self, Shown};
use super::loop_shape::{Places, Verdict};
use super::stack_share::{factor, share_of};
use super::time_order::{Moves, TimeOrder};
use crate::analysis::call_tree::CallTree;
use crate::analysis::neighbours::heaviest_path;
use crate::base::ids::FuncId;
use crate::base::quantity::{format_share, format_value};
use crate::base::stats::map_exp100;
use crate::base::view::{View, ViewRef};
use crate::model::symbols::NO_ADDRESS;

/// What was decided about one function.
#[derive(Clone)]
pub(super) struct Claim {
    /// The function that loops.
    pub func: FuncId,
    /// `T0`, `T1`, `T2` (PROFILES 1.0).
    pub tier: &'static str,
    /// Why.
    pub verdict: Verdict,
    /// Events in the loop.
    pub count: i64,
    /// Weight in the profile's value.
    pub value: i64,
    /// Events in the function's own machine code.
    pub own: i64,
    /// Cheap library functions that it repeats, heaviest first.
    pub leaves: Vec<(FuncId, i64)>,
    /// Positions in the function.
    pub places: Places,
    /// The function that it calls again and again, where that is the loop.
    pub repeats: Option<FuncId>,
    /// What the order of time adds (tier T3), where it proves that the code iterates.
    pub order: Option<Moves>,
    /// The loops that machine code and taken branches show (tiers T4 and T5).
    pub shown: Option<Shown>,
    /// Why its machine code was not looked at.
    pub unread: Option<String>,
}

impl Claim {
    /// Looks in the order of time for iterations of what the claim speaks of: of the function called again, of its own code, or
    /// of its calls. Standing still proves one only where the instruction is known, not by lines.
    pub(super) fn in_order(&mut self, order: &TimeOrder, least: f64) {
        // Code that is known to have no loop there is run again by its caller: that is what went backward.
        if self.loopless() {
            return;
        }
        let mut moves = order.of(self.repeats.unwrap_or(self.func));
        if self.repeats.is_some() || !self.places.knows_bytes() {
            moves.same = 0;
        }
        if self.repeats.is_some() {
            moves.again = 0;
        }
        if iterations(&moves) as f64 >= least {
            self.order = Some(moves);
        }
    }

    /// Whether its machine code is known to have no loop where its samples are.
    fn loopless(&self) -> bool {
        self.repeats.is_none() && self.shown.as_ref().is_some_and(|s| s.hit.none())
    }

    /// Whether the loop is known by machine code alone whose jumps are not all known.
    fn vague(&self) -> bool {
        let by_code = self.shown.as_ref().filter(|s| s.by_code() && !s.by_branches());
        self.order.is_none() && by_code.is_some_and(|s| s.indirect > 0 || s.unknown > 0 || s.foreign)
    }

    /// Tiers of the evidence, joined by `+`: `T2+T3`.
    pub(super) fn tiers(&self) -> String {
        let mut out = self.tier.to_string();
        if self.order.is_some() {
            out.push_str("+T3");
        }
        if self.shown.as_ref().is_some_and(Shown::by_branches) {
            out.push_str("+T4");
        }
        if self.loopless() || self.shown.as_ref().is_some_and(Shown::by_code) {
            out.push_str("+T5");
        }
        out
    }
}

/// Moves between neighbouring samples that only code that iterates makes.
pub(super) fn iterations(m: &Moves) -> u64 {
    m.back + m.same + m.site_back + m.again
}

/// The finding, if it scores enough.
pub(super) fn describe(cx: &Context<'_>, active: &Active<'_>, tree: &CallTree, claim: &Claim) -> Option<Finding> {
    let share = share_of(active, claim.count);
    let tiers = claim.tiers();
    let sure = if claim.loopless() { factor("T0") } else { factor(&tiers) };
    let missing = active.unknown_share() >= cx.threshold(&RULE, "unknown-share");
    let few = (active.count as f64) < cx.threshold(&RULE, "few-samples");
    let (info, warning) = (cx.threshold(&RULE, "info-share"), cx.threshold(&RULE, "warning-share"));
    let mut score = map_exp100(share.low, info, warning) * sure;
    if missing || few || !active.counted {
        score = score.min(74.0);
    }
    // The factor says how sure it is, not how much it is: what reaches the threshold is told.
    if share.low >= info {
        score = score.max(25.0);
    }
    let severity = Severity::of_score(score)?;
    let name = active.name(claim.func);
    let s = &active.session.symbols;
    let mut path = heaviest_path(active.session, tree, claim.func);
    if let Some(called) = claim.repeats {
        path.push(active.name(called).to_string());
    }
    let file = active.session.strings.get(s.funcs.file[claim.func.index()]).to_string();
    let line = claim.places.top_line().map_or(0, |(line, _)| line);
    let low = (claim.value as f64 * share.low / share.p.max(f64::MIN_POSITIVE) / 2.0) as i64;
    Some(Finding {
        id: String::new(),
        rule: RULE.id,
        fingerprint: fingerprint(RULE.id, &[name, claim.repeats.map_or("", |f| active.name(f))]),
        severity,
        score: score.round() as u32,
        confidence: match sure {
            f if f >= 0.95 && claim.vague() => Confidence::Likely,
            f if f >= 0.95 => Confidence::Confirmed,
            f if f >= 0.85 => Confidence::Likely,
            _ => Confidence::Possible,
        },
        tier: tiers,
        title: title(active, claim, share.p),
        message: message(active, claim, share.p),
        subject: Subject {
            kind: "function",
            name: name.to_string(),
            service: s.module(&active.session.strings, claim.func).to_string(),
            path: path.clone(),
            file,
            line,
        },
        share: Some(ShareOf::new(share, active.value_name())),
        impact: Impact {
            amount: claim.value,
            unit: active.unit().to_string(),
            recoverable_low: low,
            recoverable_high: claim.value,
            model: format!(
                "Amdahl: from making the loop twice as fast, at the lower bound of its share, to not running it at all ({} at most)",
                speedup(share.p)
            ),
        },
        evidence: evidence(active, claim, share.p, path),
        loops: claim.shown.as_ref().map_or_else(Vec::new, |s| s.rows.clone()),
        occurrences: Occurrences { count: claim.count as u64, ..Occurrences::default() },
        caveats: caveats(active, claim, missing, few),
        remedies: remedies(active, claim),
        ..Finding::default()
    })
}

fn speedup(p: f64) -> String {
    if p > 0.98 { "no limit".to_string() } else { format!("{:.1} times as fast", 1.0 / (1.0 - p)) }
}

fn title(active: &Active<'_>, c: &Claim, p: f64) -> String {
    let (name, share) = (active.name(c.func), format_share(p));
    let top = c.leaves.first().map(|(leaf, n)| (active.name(*leaf), *n));
    if c.repeats.is_some() {
        return format!("Hot loop ({}): {name} repeats one call for {share} of the time", c.tiers());
    }
    let tiers = c.tiers();
    let kind = match factor(&tiers) {
        _ if c.loopless() => format!("Hot spot without a loop ({tiers})"),
        f if f >= 0.95 => format!("Hot loop ({tiers})"),
        f if f >= 0.85 => format!("Probable hot loop ({tiers})"),
        _ => format!("Hot spot ({tiers})"),
    };
    match top {
        Some((leaf, n)) if n > c.own => format!("{kind}: {name} takes {share} of the time, most of it in {leaf}"),
        _ => format!("{kind}: {name} takes {share} of the time"),
    }
}

fn message(active: &Active<'_>, c: &Claim, p: f64) -> String {
    let of = format!("{} of {} active samples ({})", c.count, active.count, format_share(p));
    let name = active.name(c.func);
    if let Some(called) = c.repeats {
        return format!(
            "{of} are in {}, spread over its whole code, and one place in {name} makes the calls: that place repeats{}{}.",
            active.name(called),
            in_time(c),
            c.shown.as_ref().map_or_else(String::new, loop_rows::message)
        );
    }
    let share = |n: i64| format_share(n as f64 / active.count as f64);
    let mut parts: Vec<String> = Vec::new();
    if c.own > 0 {
        parts.push(format!("its own code {}", share(c.own)));
    }
    parts.extend(c.leaves.iter().take(3).map(|(leaf, n)| format!("{} {}", active.name(*leaf), share(*n))));
    if c.leaves.len() > 3 {
        let rest: i64 = c.leaves[3..].iter().map(|l| l.1).sum();
        parts.push(format!("{} more functions {}", c.leaves.len() - 3, share(rest)));
    }
    let why = match (c.tier, c.verdict) {
        ("T0", _) if c.order.is_some() => "and it iterates, as the order of time shows",
        ("T0", _) if c.loopless() => "and its machine code has no loop there: it is called again and again",
        ("T0", Verdict::Spread) => "spread over its code, so that no loop is proven",
        ("T0", _) => "known by names only, so that a loop is likely but not proven",
        (_, Verdict::Body) => "in one part of its code",
        ("T1", _) => "in a few lines",
        _ => "in a few instructions",
    };
    let seen = c.shown.as_ref().map_or_else(String::new, loop_rows::message);
    format!("{of} are in {name}, {why}: {}{}{seen}.", parts.join(", "), in_time(c))
}

/// What the order of time says, as the end of a sentence.
fn in_time(c: &Claim) -> String {
    c.order.as_ref().map_or(String::new(), |m| format!("; it iterates: {} re-entries seen in the order of time", iterations(m)))
}

fn evidence(active: &Active<'_>, c: &Claim, p: f64, path: Vec<String>) -> Vec<Evidence> {
    let view = |view| ViewRef { profile: Some(active.id.0), value: Some(active.value_name().to_string()), ..ViewRef::of(view) };
    let mut out = Vec::new();
    let amount = format_value(c.value as f64, active.unit());
    let flame = ViewRef { path, ..view(View::Flame) };
    out.push(Evidence { text: format!("{amount} ({}) on its heaviest path in the flame graph", format_share(p)), view: flame });
    let table = |f: FuncId| ViewRef { function: Some(active.name(f).to_string()), ..view(View::Functions) };
    if let Some((from, to)) = c.places.lines80().filter(|_| c.places.knows_lines()) {
        let lines = if from == to { format!("line {from}") } else { format!("lines {from} to {to}") };
        let top = c.places.top_line().map_or(String::new(), |(line, n)| format!(", most ({n}) line {line}"));
        out.push(Evidence { text: format!("80 % of its samples are on {lines}{top}"), view: table(c.func) });
    }
    if let Some(s) = c.places.shape().filter(|_| c.places.knows_bytes() && c.repeats.is_none()) {
        let at = c.places.top_byte().map_or(String::new(), |(b, _)| position(b, c.places.offsets));
        out.push(Evidence {
            text: format!(
                "80 % of its samples lie within {} bytes; {} are at or just before {at}; {:.1} addresses count",
                s.w80,
                format_share(s.top1),
                s.effective
            ),
            view: table(c.func),
        });
    }
    if let Some(shown) = &c.shown {
        loop_rows::evidence(active, shown, &table(c.func), &mut out);
    }
    if let Some(m) = &c.order {
        let mut parts = Vec::new();
        for (n, what) in [
            (m.back + m.site_back, "backward"),
            (m.forward + m.site_forward, "forward"),
            (m.same, "at the same instruction"),
            (m.again, "back at a call made before"),
        ] {
            if n > 0 {
                parts.push(format!("{n} {what}"));
            }
        }
        let text = format!("from one sample of a thread to the next it moves {}", parts.join(", "));
        out.push(Evidence { text, view: ViewRef { mode: Some("chart".to_string()), ..view(View::Flame) } });
    }
    if let Some(called) = c.repeats {
        let at = c.places.top_byte().filter(|(b, _)| *b != NO_ADDRESS).map_or(String::new(), |(b, _)| position(b, true));
        out.push(Evidence { text: format!("all calls of {} come from {at}", active.name(called)), view: table(called) });
    }
    for (leaf, n) in c.leaves.iter().take(3).filter(|_| c.repeats.is_none()) {
        let text = format!("{} of active samples end in {}", format_share(*n as f64 / active.count as f64), active.name(*leaf));
        out.push(Evidence { text, view: table(*leaf) });
    }
    out
}

fn position(byte: u64, offset: bool) -> String {
    if offset { format!("+{byte:#x}") } else { format!("{byte:#x}") }
}

fn caveats(active: &Active<'_>, c: &Claim, missing: bool, few: bool) -> Vec<String> {
    let mut out = Vec::new();
    match c.tier {
        "T0" if c.order.is_some() => {
            out.push("The order of time shows that it iterates at or above this function, not at which line.".to_string());
        }
        "T0" if c.loopless() => {}
        "T0" => out.push("Function names alone cannot tell a loop from one long call: look at the code, or record with lines.".to_string()),
        "T1" => out.push("Lines cannot tell a loop from one long statement.".to_string()),
        _ => out.push("Samples land at or just after the slow instruction (skid).".to_string()),
    }
    loop_rows::caveats(active, c, &mut out);
    out.extend(super::stack_share::caveats(active, missing, few));
    out
}

/// What to do, by what is repeated and in which language.
fn remedies(active: &Active<'_>, c: &Claim) -> Vec<String> {
    let leaf = c.leaves.first().filter(|(_, n)| *n > c.own).map(|(leaf, _)| *leaf);
    let class = leaf.map(|l| active.leaf_class_of(l)).unwrap_or_default();
    let go = active.has_runtime("go");
    let mut out: Vec<String> = Vec::new();
    let mut say = |text: &str| out.push(text.to_string());
    if class.has("hashmap") {
        say(
            "Walk or look up a contiguous array instead of a hash map, or build it once outside the loop; keep what the loop computes from it.",
        );
    } else if class.has("alloc") {
        say("Allocate outside the loop: reuse a buffer, reserve the final size, pass by reference.");
    } else if class.any(&["strfmt", "reflection", "boxing"]) {
        say("Format, box or reflect once outside the loop, or write into a reused buffer of the concrete type.");
    } else if class.any(&["regex"]) {
        say("Match fewer times: test with a plain substring first, or combine patterns into one.");
    } else if class.any(&["memops"]) {
        say("Copy less: slices or views instead of copies, append at the end, one large copy instead of many small ones.");
    } else if class.any(&["lock", "clock", "hashing"]) {
        say("Take the lock, read the clock or hash once per batch instead of once per element.");
    }
    if let Some(called) = c.repeats {
        out.push(format!("Call {} less often: for a batch, for what changed, or with its result kept.", active.name(called)));
    }
    out.push(
        "Hoist what does not change out of the loop; stop as soon as the answer is known; replace nested loops by an index.".to_string(),
    );
    let name = active.name(c.func);
    let check = if active.profile.format == "perf-script" {
        format!("Check: `perf annotate -s '{name}'` shows the instructions of the loop.")
    } else if go {
        format!("Check: `go tool pprof -list '{name}'` shows the lines; `go build -gcflags=-m` shows what escapes.")
    } else if active.has_runtime("jvm") {
        "Check: a JMH benchmark of the method; `-XX:+PrintInlining` shows what the compiler does with it.".to_string()
    } else if active.has_runtime("cpython") {
        "Check: move the loop into a built-in, NumPy or a comprehension, then profile again.".to_string()
    } else {
        "Check: profile again after the change and compare the share.".to_string()
    };
    out.push(check);
    out
}
