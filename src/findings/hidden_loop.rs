//! Hidden loops: a function that does little itself and hands the work to one other, again and again (PROFILES 1.1, 1.6).

use super::active::Active;
use super::finding::{Evidence, Finding, Rule, Threshold};
use super::owner::{is_interpreter, is_stand_in};
use super::stack_share::{
    FEW, MIN_ACTIVE, MIN_SAMPLES, Pile, RE_ENTRIES, UNKNOWN, begin, flame, of_active, over_active, recover, subject, table, view,
};
use super::time_order::TimeOrder;
use super::{Context, Detector, Outcome};
use crate::analysis::weights::{subtree, walk};
use crate::base::ids::{FuncId, StackId};
use crate::base::intern::PairIndex;
use crate::base::quantity::format_share;
use crate::base::view::{View, ViewRef};
use crate::model::symbols::FUNC_KERNEL;
use std::collections::BTreeMap;

/// The rule.
pub struct HiddenLoop;

/// Its documentation.
pub const RULE: Rule = Rule {
    id: "hidden-loop",
    name: "Hidden loop",
    family: "hot loops",
    summary: "A function that does little itself runs another one again and again, which takes a large share of the time.",
    remedies: &[
        "Call the costly function less often: once for a batch, only for what changed, or with its result kept.",
        "Use an interface that takes many items at once.",
    ],
    thresholds: &[
        Threshold {
            name: "info-share",
            default: 0.10,
            doc: "lower bound of the share of active samples in the repeated function that scores 25 (info); PROFILES 1.1",
        },
        Threshold { name: "warning-share", default: 0.40, doc: "share that scores 75 (warning); own choice" },
        Threshold {
            name: "caller-share",
            default: 0.8,
            doc: "least share of the function's samples that the caller must carry; PROFILES 1.1",
        },
        Threshold { name: "own-share", default: 0.2, doc: "most of the caller's samples that are in its own code; PROFILES 1.1" },
        Threshold { name: "chain-share", default: 0.9, doc: "share that neighbours of a chain of calls have in common; PROFILES 1.1" },
        Threshold {
            name: "body-share",
            default: 0.5,
            doc: "share of its own code from which the called function is itself the place: the rule hot-loop speaks of it; own choice",
        },
        RE_ENTRIES,
        MIN_ACTIVE,
        FEW,
        MIN_SAMPLES,
        UNKNOWN,
    ],
    doc: include_str!("../../docs/rules/hidden-loop.md"),
};

/// Functions that begin programs, modules and threads: everything is below them, which says nothing.
const ENTRIES: [&str; 14] = [
    "main",
    "_main",
    "Main",
    "main.main",
    "runtime.main",
    "<module>",
    "(anonymous)",
    "start_thread",
    "_start",
    "thread_start",
    "__libc_start_main",
    "__libc_start_call_main",
    "java.lang.Thread.run",
    "runpy.run_module",
];

/// What a runtime or the system does on its own account.
const NOT_CALLED: [&str; 6] = ["gc", "jit", "classload", "idle", "wait", "scheduler"];

/// Events per function and call, each sample counted once however often its stack has them.
pub struct Calls {
    /// In the function's own code, by canonical function.
    pub own: BTreeMap<FuncId, i64>,
    /// With the function on the stack.
    pub total: BTreeMap<FuncId, i64>,
    /// By caller and function called.
    pub edges: BTreeMap<(FuncId, FuncId), i64>,
}

/// A stack without a caller.
const NO_CALL: u32 = u32::MAX;

/// Counts functions and calls in one pass over the stacks.
pub fn calls(active: &Active<'_>) -> Calls {
    let s = &active.session.symbols;
    let mut own = vec![0_i64; s.stacks.len()];
    for a in active.stacks.iter().filter(|a| !a.thread.any(&["gc", "jit"])) {
        own[a.stack.index()] += a.count;
    }
    let total = subtree(&s.stacks, &own);
    let used: Vec<bool> = total.iter().map(|n| *n > 0).collect();
    let mut out = Calls { own: BTreeMap::new(), total: BTreeMap::new(), edges: BTreeMap::new() };
    let mut open = vec![0_u32; s.funcs.len()];
    let mut pairs = PairIndex::default();
    let mut open_pairs: Vec<u32> = Vec::new();
    let mut sums: Vec<((FuncId, FuncId), i64)> = Vec::new();
    let mut functions = vec![(0_i64, 0_i64); s.funcs.len()];
    // The call by which each stack was entered, for the way back.
    let mut entered = vec![NO_CALL; s.stacks.len()];
    walk(&s.stacks, &used, |row, down| {
        let func = active.func(StackId::from_index(row));
        if !down {
            open[func.index()] -= 1;
            if let Some(of) = open_pairs.get_mut(entered[row] as usize) {
                *of -= 1;
            }
            return;
        }
        functions[func.index()].0 += own[row];
        if open[func.index()] == 0 {
            functions[func.index()].1 += total[row];
        }
        open[func.index()] += 1;
        let Some(below) = s.stacks.prefix[row].get() else { return };
        let caller = active.func(below);
        let (pair, new) = pairs.get_or_insert(caller.0, func.0, open_pairs.len() as u32);
        if new {
            open_pairs.push(0);
            sums.push(((caller, func), 0));
        }
        entered[row] = pair;
        let of = &mut open_pairs[pair as usize];
        if *of == 0 {
            sums[pair as usize].1 += total[row];
        }
        *of += 1;
    });
    for (i, (own, total)) in functions.into_iter().enumerate().filter(|(_, (_, total))| *total > 0) {
        out.own.insert(FuncId::from_index(i), own);
        out.total.insert(FuncId::from_index(i), total);
    }
    out.edges = sums.into_iter().collect();
    out
}

/// A chain of calls: each function but the last does little itself.
struct Chain {
    /// From the caller to the function that it runs.
    funcs: Vec<FuncId>,
    /// Position in `funcs` of the one that repeats the call.
    at: usize,
    /// How often the order of time shows a new iteration.
    seen: u64,
}

impl Detector for HiddenLoop {
    fn rule(&self) -> &'static Rule {
        &RULE
    }

    fn detect(&self, cx: &Context<'_>) -> Outcome {
        over_active(cx, self, |active| {
            let order = cx.order(active);
            let chains = chains(cx, active, order.as_deref());
            chains.iter().filter_map(|chain| describe(cx, active, chain)).collect()
        })
    }
}

fn chains(cx: &Context<'_>, active: &Active<'_>, order: Option<&TimeOrder>) -> Vec<Chain> {
    let least = |name: &str| cx.threshold(&RULE, name);
    let counts = calls(active);
    let total = |f: FuncId| counts.total.get(&f).copied().unwrap_or(0) as f64;
    let own = |f: FuncId| counts.own.get(&f).copied().unwrap_or(0) as f64;
    // The caller that carries most of a function, where it carries enough.
    let mut caller: BTreeMap<FuncId, (FuncId, i64)> = BTreeMap::new();
    for (&(from, to), &n) in counts.edges.iter().filter(|((from, to), _)| from != to) {
        let best = caller.entry(to).or_insert((from, n));
        if n > best.1 {
            *best = (from, n);
        }
    }
    let hands_on = |f: FuncId| own(f) <= least("own-share") * total(f);
    let library = active.library();
    let callable = |f: FuncId| !library[f.index()] && !is_interpreter(active.name(f)) && !is_stand_in(active.name(f));
    let caller_of = |f: FuncId| {
        let (from, n) = *caller.get(&f)?;
        (n as f64 >= least("caller-share") * total(f) && callable(from) && hands_on(from)).then_some(from)
    };
    // Neighbours that share nearly all samples are one chain, told once, from its end.
    let linked = |from: FuncId, to: FuncId| total(to) >= least("chain-share") * total(from);
    let mut out = Vec::new();
    for (&called, &n) in &counts.total {
        if (n as f64) < least("info-share") * active.count as f64 || own(called) >= least("body-share") * n as f64 {
            continue;
        }
        let Some(first) = caller_of(called) else { continue };
        // Within one chain the function called last is told of: where the work fans out, or leaves the program's own code.
        let goes_on = counts.edges.range((called, FuncId(0))..=(called, FuncId(u32::MAX))).any(|((_, to), _)| {
            callable(called)
                && hands_on(called)
                && linked(called, *to)
                && caller_of(*to) == Some(called)
                && own(*to) < least("body-share") * total(*to)
        });
        if goes_on {
            continue;
        }
        let mut funcs = vec![called, first];
        while let Some(next) = caller_of(funcs[funcs.len() - 1]) {
            if !linked(next, funcs[funcs.len() - 1]) || funcs.contains(&next) || funcs.len() >= 32 {
                break;
            }
            funcs.push(next);
        }
        funcs.reverse();
        out.extend(judge(active, order, funcs, least("re-entries"), |f| caller.contains_key(&f)));
    }
    out
}

/// Which function of a chain repeats the call: with times the one whose calls go backward, the innermost of several; without,
/// the outermost of the program's own that is no entry point, if what it runs is not its own code.
fn judge(
    active: &Active<'_>,
    order: Option<&TimeOrder>,
    funcs: Vec<FuncId>,
    least: f64,
    has_caller: impl Fn(FuncId) -> bool,
) -> Option<Chain> {
    let last = funcs.len() - 1;
    if let Some(order) = order {
        let seen = |f: FuncId| order.of(f).site_back + order.of(f).again;
        let at = (0..last).rev().find(|i| seen(funcs[*i]) as f64 >= least);
        if let Some(at) = at {
            return Some(Chain { seen: seen(funcs[at]), at, funcs });
        }
    }
    // Without a name, or in the kernel, or in the runtime's own work, there is no call that somebody could make less often.
    let called = funcs[last];
    let kernel = active.session.symbols.funcs.flags[called.index()] & FUNC_KERNEL != 0;
    if !active.library()[called.index()] || kernel || active.is_unknown(called) || active.class_of(called).any(&NOT_CALLED) {
        return None;
    }
    let at = (0..last).find(|i| !is_entry(active.name(funcs[*i])) && has_caller(funcs[*i]))?;
    Some(Chain { at, seen: 0, funcs })
}

fn is_entry(name: &str) -> bool {
    let last = name.rsplit(['.', ':']).next().unwrap_or(name);
    ENTRIES.contains(&name) || matches!(last, "main" | "Main" | "<module>" | "<clinit>")
}

fn describe(cx: &Context<'_>, active: &Active<'_>, chain: &Chain) -> Option<Finding> {
    let (caller, called) = (chain.funcs[chain.at], *chain.funcs.last()?);
    // The samples with the call on their stack.
    let s = &active.session.symbols;
    let mut inside = vec![0_u8; s.stacks.len()];
    for row in 0..inside.len() {
        let below = s.stacks.prefix[row].get().map_or(0, |p| inside[p.index()]);
        let func = active.func(StackId::from_index(row));
        // What is run runs its caller in turn: that is recursion, another rule's matter.
        if below == 2 && func == caller {
            return None;
        }
        inside[row] = match below {
            2 => 2,
            1 if func == called => 2,
            _ if func == caller => 1,
            below => below,
        };
    }
    let mut pile = Pile::default();
    for a in active.stacks.iter().filter(|a| inside[a.stack.index()] == 2 && !a.thread.any(&["gc", "jit"])) {
        pile.add(a);
    }
    let count = pile.count;
    let (from, to) = (active.name(caller), active.name(called));
    let tier = if chain.seen > 0 { "T0+T3" } else { "T0" };
    let mut f = begin(cx, &RULE, active, pile, tier, &[from, to])?;
    let share = f.share.as_ref().map_or(0.0, |s| s.p);
    f.subject = subject(cx, active, caller, &[called]);
    let names: Vec<&str> = chain.funcs[chain.at..].iter().map(|f| active.name(*f)).collect();
    if chain.seen > 0 {
        f.title = format!("Hidden loop: {from} runs {to} again and again, {} of the time", format_share(share));
        f.message = format!(
            "{} are in {to} below {from}, which does little itself, and {} times a later sample of {from} is at an earlier call or back at a call that it had left: it iterates.",
            of_active(active, count),
            chain.seen
        );
        f.evidence.push(Evidence {
            text: format!("{} re-entries below {from} in the order of time", chain.seen),
            view: ViewRef { mode: Some("chart".to_string()), ..view(active, View::Flame) },
        });
    } else {
        f.title = format!("{from} hands {} of the time to {to} (T0)", format_share(share));
        f.message = format!("{} are in {to} below {from}, which does little itself: one long call, or many.", of_active(active, count));
        f.caveats.push("Function names alone cannot tell many calls from one long call: record with times or lines.".to_string());
    }
    f.evidence.insert(0, flame(active, &f));
    f.evidence.push(table(active, called, format!("the chain of calls: {}", names.join(" → "))));
    recover(&mut f, 0.5, 1.0, "Amdahl: from half of the calls at the lower bound of the share to none of them");
    f.remedies = vec![
        format!(
            "Look at the calls of {to} in {from}: hoist them out of the loop, make one for a batch, or keep the result for the same input."
        ),
        "Profile again and compare the share.".to_string(),
    ];
    Some(f)
}
