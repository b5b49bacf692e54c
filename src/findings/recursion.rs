//! Recursion: the same functions on a stack again and again, directly or in turns (PROFILES 1.6).

use super::active::Active;
use super::finding::{Evidence, Finding, Rule, Severity, Threshold};
use super::owner::{is_interpreter, is_stand_in};
use super::stack_share::{
    FEW, MIN_ACTIVE, MIN_SAMPLES, Pile, UNKNOWN, begin, flame, of_active, over_active, recover, subject, table, view,
};
use super::{Context, Detector, Outcome};
use crate::base::ids::{FuncId, StackId};
use crate::base::quantity::format_share;
use crate::base::view::{View, ViewRef};
use std::collections::BTreeMap;

/// The rule.
pub struct Recursion;

/// Its documentation.
pub const RULE: Rule = Rule {
    id: "recursion",
    name: "Recursion",
    family: "hot loops",
    summary: "Functions call themselves, directly or in turns, many levels deep in a large share of the samples.",
    remedies: &[
        "Keep results of inputs that come again (memoise), or compute bottom-up.",
        "Turn the recursion into a loop with a stack of its own where depth follows the data.",
    ],
    thresholds: &[
        Threshold {
            name: "info-share",
            default: 0.10,
            doc: "lower bound of the share of active samples with the cycle that scores 25 (info); PROFILES 1.6",
        },
        Threshold { name: "warning-share", default: 0.60, doc: "share that scores 75; own choice: much recursion is no defect by itself" },
        Threshold { name: "repetitions", default: 3.0, doc: "mean repetitions on a stack from which it is reported; PROFILES 1.6" },
        Threshold {
            name: "warning-repetitions",
            default: 50.0,
            doc: "repetitions on one stack from which it is at least a warning; PROFILES 1.6",
        },
        Threshold {
            name: "engine-repetitions",
            default: 50.0,
            doc: "the same for parsers, serializers and visitors, which recurse by construction",
        },
        MIN_ACTIVE,
        FEW,
        MIN_SAMPLES,
        UNKNOWN,
    ],
    doc: include_str!("../../docs/rules/recursion.md"),
};

/// Longest cycle of functions that is recognised.
const MAX_PERIOD: usize = 16;
/// So many cycles are measured, those on most samples.
const MAX_CYCLES: usize = 16;
/// Depths at which profilers cut stacks: perf, Go's CPU profiles, its heap profiles, JFR, V8 (PROFILES 1.6).
const LIMITS: [u32; 6] = [32, 64, 127, 128, 255, 512];

/// Words in names of code that recurses over a structure by construction.
const ENGINES: [&str; 18] = [
    "parse",
    "visit",
    "serializ",
    "deserializ",
    "marshal",
    "encode",
    "decode",
    "walk",
    "travers",
    "eval",
    "interpret",
    "compile",
    "render",
    "reconcile",
    "jsonify",
    "stringify",
    "clone",
    "descend",
];

impl Detector for Recursion {
    fn rule(&self) -> &'static Rule {
        &RULE
    }

    fn detect(&self, cx: &Context<'_>) -> Outcome {
        over_active(cx, self, |active| {
            let found = cycles(active);
            found.into_iter().filter_map(|c| describe(cx, active, c)).collect()
        })
    }
}

/// A cycle of calls and the samples with it on their stacks.
struct Cycle {
    /// The functions in the order of calls, the smallest id first.
    funcs: Vec<FuncId>,
    pile: Pile,
    /// Σ repetitions × events.
    repetitions: i64,
    most: u32,
    /// The stack with most repetitions.
    deepest: StackId,
    /// Events whose stack is as deep as a profiler's limit.
    cut: i64,
}

/// Finds cycles: one pass over the tree of stacks, which looks back over one period, then one pass per cycle that matters.
fn cycles(active: &Active<'_>) -> Vec<Cycle> {
    let s = &active.session.symbols;
    let mut own = vec![0_i64; s.stacks.len()];
    for a in active.stacks.iter().filter(|a| !a.thread.any(&["gc", "jit"])) {
        own[a.stack.index()] += a.count;
    }
    let total = crate::analysis::weights::subtree(&s.stacks, &own);
    let mut ids: BTreeMap<Vec<FuncId>, u32> = BTreeMap::new();
    // By stack: the cycle that its top frame closes, and how often it has been closed one after the other.
    let mut closes: Vec<(u32, u32)> = vec![(u32::MAX, 0); s.stacks.len()];
    let mut weights: Vec<i64> = Vec::new();
    let mut window: Vec<FuncId> = Vec::with_capacity(MAX_PERIOD);
    for row in (0..s.stacks.len()).filter(|row| total[*row] > 0) {
        let func = active.func(StackId::from_index(row));
        window.clear();
        window.push(func);
        let mut at = s.stacks.prefix[row];
        let mut before = None;
        while let Some(below) = at.get() {
            if active.func(below) == func {
                before = Some(below);
                break;
            }
            if window.len() == MAX_PERIOD {
                break;
            }
            window.push(active.func(below));
            at = s.stacks.prefix[below.index()];
        }
        let Some(before) = before else { continue };
        window.reverse();
        let cycle = rotated(&window);
        let next = ids.len() as u32;
        let id = *ids.entry(cycle).or_insert(next);
        if id == next {
            weights.push(0);
        }
        let (of, times) = closes[before.index()];
        let times = if of == id { times + 1 } else { 1 };
        closes[row] = (id, times);
        if times == 1 {
            weights[id as usize] = weights[id as usize].saturating_add(total[row]);
        }
    }
    let mut heavy: Vec<(Vec<FuncId>, u32)> = ids.into_iter().collect();
    heavy.sort_by(|a, b| weights[b.1 as usize].cmp(&weights[a.1 as usize]).then_with(|| a.0.cmp(&b.0)));
    heavy.truncate(MAX_CYCLES);
    let measured = heavy.into_iter().map(|(funcs, id)| measure(active, funcs, id, &closes));
    measured.filter(|c| c.pile.count > 0).collect()
}

/// The rotation that begins with the smallest function; a cycle has each function once.
fn rotated(cycle: &[FuncId]) -> Vec<FuncId> {
    let begin = cycle.iter().enumerate().min_by_key(|(_, f)| **f).map_or(0, |(i, _)| i);
    cycle[begin..].iter().chain(&cycle[..begin]).copied().collect()
}

fn measure(active: &Active<'_>, funcs: Vec<FuncId>, id: u32, closes: &[(u32, u32)]) -> Cycle {
    let stacks = &active.session.symbols.stacks;
    // Most repetitions on the way from the root to each stack: a function of the cycle is there once more often.
    let mut times = vec![0_u32; stacks.len()];
    for row in 0..stacks.len() {
        let below = stacks.prefix[row].get().map_or(0, |p| times[p.index()]);
        let (of, n) = closes[row];
        times[row] = if of == id { below.max(n + 1) } else { below };
    }
    let mut out = Cycle { funcs, pile: Pile::default(), repetitions: 0, most: 0, deepest: StackId::NONE, cut: 0 };
    for a in active.stacks.iter().filter(|a| times[a.stack.index()] > 0 && !a.thread.any(&["gc", "jit"])) {
        let n = times[a.stack.index()];
        out.pile.add(a);
        out.repetitions = out.repetitions.saturating_add(i64::from(n).saturating_mul(a.count));
        if n > out.most {
            (out.most, out.deepest) = (n, a.stack);
        }
        let depth = stacks.depth[a.stack.index()] + 1;
        out.cut += if LIMITS.contains(&depth) { a.count } else { 0 };
    }
    out
}

fn describe(cx: &Context<'_>, active: &Active<'_>, c: Cycle) -> Option<Finding> {
    let library = active.library();
    // What a library does inside is not for its user to change; an interpreter's recursion is the program's.
    let lead = *c.funcs.iter().find(|f| !library[f.index()] && !is_interpreter(active.name(**f)) && !is_stand_in(active.name(**f)))?;
    let mean = c.repetitions as f64 / c.pile.count.max(1) as f64;
    let lower = |f: &FuncId| active.name(*f).to_lowercase();
    let engine = c.funcs.iter().any(|f| ENGINES.iter().any(|word| lower(f).contains(word)));
    let enough =
        if engine { f64::from(c.most) >= cx.threshold(&RULE, "engine-repetitions") } else { mean >= cx.threshold(&RULE, "repetitions") };
    if !enough {
        return None;
    }
    let count = c.pile.count;
    let names: Vec<&str> = c.funcs.iter().map(|f| active.name(*f)).collect();
    let mut f = begin(cx, &RULE, active, c.pile, "T0", &names)?;
    // Stacks are cut where many of the deep ones are exactly as deep as a profiler goes.
    let cut = c.cut as f64 >= 0.01 * count as f64 && c.most >= 10;
    let deep = f64::from(c.most) >= cx.threshold(&RULE, "warning-repetitions");
    let weak = (active.count as f64) < cx.threshold(&RULE, FEW.name) || !active.counted;
    if (deep || cut) && !weak {
        (f.score, f.severity) = (f.score.max(75), f.severity.max(Severity::Warning));
    } else {
        (f.score, f.severity) = (f.score.min(74), Severity::Info);
    }
    let share = f.share.as_ref().map_or(0.0, |s| s.p);
    let name = active.name(lead);
    f.subject = subject(cx, active, lead, &[]);
    let how = if names.len() == 1 { format!("{name} calls itself") } else { format!("{} call each other", names.join(", ")) };
    f.title = format!("Recursion: {how} in {} of the samples, up to {} levels deep", format_share(share), c.most);
    f.message = format!(
        "{how} on the stacks of {}: {mean:.1} times on average, {} at most; each sample counts once.",
        of_active(active, count),
        c.most
    );
    f.evidence.push(flame(active, &f));
    f.evidence.push(Evidence {
        text: "the flame graph from the leaves shows what the recursion spends its time in".to_string(),
        view: ViewRef { mode: Some("inverted".to_string()), ..view(active, View::Flame) },
    });
    f.evidence.push(table(active, lead, format!("callers and callees of {name}")));
    if cut {
        f.caveats.push(format!(
            "{} of the stacks end at a profiler's depth limit: the recursion is deeper than it looks.",
            format_share(c.cut as f64 / count as f64)
        ));
    }
    f.caveats.push("Recursion over a structure is no defect if each part is visited once.".to_string());
    recover(&mut f, 0.0, 1.0, "From nothing (each level does new work) to all of it at most (results that come again are kept)");
    f.remedies = vec![
        format!("See whether {name} is called with the same arguments again: keep results (memoise), or compute from the small cases up."),
        "Where depth follows the input, use a loop with a stack of its own: deep recursion also risks the thread's stack.".to_string(),
    ];
    Some(f)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::drawn_stacks::drawn;
    use crate::base::ids::ProfileId;

    /// Cycle, events, repetitions, most.
    fn of(text: &str) -> Vec<(String, i64, i64, u32)> {
        let session = drawn(text);
        let active = Active::new(&session, ProfileId(0), &session.profiles[0]);
        let names = |c: &Cycle| c.funcs.iter().map(|f| active.name(*f)).collect::<Vec<_>>().join(",");
        cycles(&active).iter().map(|c| (names(c), c.pile.count, c.repetitions, c.most)).collect()
    }

    #[test]
    fn samples_count_once_and_cycles_are_one_whatever_their_beginning() {
        assert_eq!(of("m;f;f;f 5\nm;f 2\nm;f;g;f 1"), [("f".to_string(), 5, 15, 3), ("f,g".to_string(), 1, 2, 2)]);
        assert_eq!(of("m;a;b;a;b;a 4\nm;b;a;b 2"), [("a,b".to_string(), 6, 16, 3)]);
        assert_eq!(of("m;a;b;c 4"), []);
    }
}
