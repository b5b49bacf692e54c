//! Cheap operations that only repetition makes expensive: one copy, hash, lookup or allocation takes nanoseconds (PROFILES 1.1).

use super::active::Active;
use super::finding::{Finding, Rule, Threshold};
use super::hot_loop::{CHEAP, claims};
use super::owner::Owner;
use super::stack_share::{FEW, MIN_ACTIVE, MIN_SAMPLES, Pile, UNKNOWN, begin, flame, of_active, over_active, recover, subject, table};
use super::{Context, Detector, Outcome};
use crate::analysis::categories::CategorySet;
use crate::base::ids::FuncId;
use crate::base::quantity::format_share;
use std::collections::{BTreeMap, BTreeSet};

/// The rule.
pub struct RepeatedCheapCall;

/// Its documentation.
pub const RULE: Rule = Rule {
    id: "repeated-cheap-call",
    name: "Repeated cheap operation",
    family: "hot loops",
    summary: "A function spends a large share of the time in an operation of which one call takes nanoseconds: it is called very often.",
    remedies: &[
        "Do the operation once outside the loop, for a batch, or not at all for what has not changed.",
        "Choose a structure or interface that needs fewer of them.",
    ],
    thresholds: &[
        Threshold {
            name: "info-share",
            default: 0.05,
            doc: "lower bound of the share of active samples that scores 25 (info); PROFILES 1.1",
        },
        Threshold { name: "warning-share", default: 0.20, doc: "share that scores 75 (warning); own choice, near JMC's 19 % for methods" },
        MIN_ACTIVE,
        FEW,
        MIN_SAMPLES,
        UNKNOWN,
    ],
    doc: include_str!("../../docs/rules/repeated-cheap-call.md"),
};

/// Categories in words, and what to do about them.
const WORDS: [(&str, &str, &str); 10] = [
    (
        "memops",
        "copying and comparing of memory",
        "Copy less: slices or views instead of copies, one large copy instead of many small ones.",
    ),
    ("hashing", "hashing", "Hash once per batch, keep the hash beside its key, or use a cheaper hash function."),
    (
        "hashmap",
        "hash map lookups",
        "Look up once and keep the reference; index by small numbers instead of a map; give the map its final size at once.",
    ),
    ("clock", "reads of the clock", "Read the clock once per batch, or use a coarse clock."),
    ("alloc", "allocation", "Allocate outside the loop: reuse a buffer, reserve the final size, pass by reference."),
    ("boxing", "boxing of numbers", "Use primitive types and collections of them."),
    ("lock", "taking of locks", "Take the lock once per batch, or give each thread its own part."),
    ("strfmt", "formatting of strings", "Format once outside the loop, or write into a reused buffer."),
    ("reflection", "reflection", "Look members up once and keep them; generate code instead."),
    ("regex", "matching of regular expressions", "Test with a plain substring first, or combine patterns into one."),
];

impl Detector for RepeatedCheapCall {
    fn rule(&self) -> &'static Rule {
        &RULE
    }

    fn detect(&self, cx: &Context<'_>) -> Outcome {
        over_active(cx, self, |active| of_profile(cx, active))
    }
}

fn of_profile(cx: &Context<'_>, active: &Active<'_>) -> Vec<Finding> {
    // What is known to be a loop with these calls in it is told by the rule hot-loop.
    let told: BTreeSet<(FuncId, FuncId)> =
        claims(cx, active).iter().flat_map(|c| c.leaves.iter().map(|(leaf, _)| (c.func, *leaf))).collect();
    let mut piles: BTreeMap<(FuncId, usize), (Pile, BTreeMap<FuncId, i64>)> = BTreeMap::new();
    for a in active.stacks.iter().filter(|a| !a.thread.any(&["gc", "jit"])) {
        let leaf = active.func(a.stack);
        let class = active.leaf_class_of(leaf);
        let Some(kind) = kind(class) else { continue };
        let Some(Owner { func, body: false, .. }) = active.owner(a.stack) else { continue };
        if told.contains(&(func, leaf)) {
            continue;
        }
        let (pile, leaves) = piles.entry((func, kind)).or_default();
        pile.add(a);
        *leaves.entry(leaf).or_default() += a.count;
    }
    piles.into_iter().filter_map(|((owner, kind), (pile, leaves))| describe(cx, active, owner, kind, pile, &leaves)).collect()
}

/// The cheap kind of work that a leaf does; what collects or compiles, or spins for a lock, is another matter.
fn kind(class: CategorySet) -> Option<usize> {
    if class.is_empty() || class.any(&["gc", "jit", "idle", "spin"]) || !class.any(&CHEAP) {
        return None;
    }
    WORDS.iter().position(|(name, ..)| class.has(name))
}

fn describe(
    cx: &Context<'_>,
    active: &Active<'_>,
    owner: FuncId,
    kind: usize,
    pile: Pile,
    leaves: &BTreeMap<FuncId, i64>,
) -> Option<Finding> {
    let (category, what, remedy) = WORDS[kind];
    let name = active.name(owner);
    let count = pile.count;
    let mut f = begin(cx, &RULE, active, pile, "T0", &[name, category])?;
    let share = f.share.as_ref().map_or(0.0, |s| s.p);
    let mut listed: Vec<(FuncId, i64)> = leaves.iter().map(|(f, n)| (*f, *n)).collect();
    listed.sort_by_key(|(f, n)| (std::cmp::Reverse(*n), active.name(*f)));
    let top = listed.first().map_or(owner, |(f, _)| *f);
    let parts: Vec<String> =
        listed.iter().take(3).map(|(f, n)| format!("{} {}", active.name(*f), format_share(*n as f64 / active.count as f64))).collect();
    f.subject = subject(cx, active, owner, &[]);
    f.title = format!("Repeated cheap operation (T0): {name} spends {} of the time in {what}", format_share(share));
    f.message = format!(
        "{} end in {what} that {name} does ({}): one such call takes nanoseconds, so it is called many times.",
        of_active(active, count),
        parts.join(", ")
    );
    f.evidence.push(flame(active, &f));
    f.evidence.push(table(active, top, format!("callers and callees of {}", active.name(top))));
    f.caveats.push("One call over very large data looks the same.".to_string());
    recover(&mut f, 0.5, 1.0, "Amdahl: from half of the calls at the lower bound of the share to none of them");
    f.remedies = vec![remedy.to_string(), "Profile again after the change and compare the share.".to_string()];
    Some(f)
}
