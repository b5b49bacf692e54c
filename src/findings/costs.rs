//! Where CPU time goes by kind of work: one pass over the stacks of a profile for all rules and for the partition that sums to
//! the whole (PROFILES 3; "datacenter tax" of Kanev et al., ISCA 2015).

use super::active::Active;
use super::owner::is_interpreter;
use super::partition::{DOMAIN, Partition, part_name};
use crate::analysis::categories::names;
use crate::base::ids::{FuncId, StackId};
use std::collections::BTreeMap;

/// What a function's name tells beside its categories; bits from the top, so that they never meet those of the taxonomy.
const TRAITS: [(&str, u64); 10] = [
    ("handshake", 1 << 63),
    ("mapgrow", 1 << 62),
    ("contended", 1 << 61),
    ("idle_worker", 1 << 60),
    ("init", 1 << 59),
    ("interpreter", 1 << 58),
    ("encode", 1 << 57),
    ("decode", 1 << 56),
    ("module_init", 1 << 55),
    ("assist", 1 << 54),
];

/// Key exchange and signatures, which happen once per connection (PROFILES 3: `tls_*handshake*`, `ec_*`, `rsa*`, `bn_*`).
const HANDSHAKE: [&str; 16] = [
    "andshake",
    "ecdsa",
    "ecdh",
    "ECDH",
    "ECDSA",
    "rsa",
    "RSA",
    "bn_",
    "BN_",
    "math/big.",
    "x25519",
    "X25519",
    "ec_",
    "EC_",
    "nistec",
    "ed25519",
];
/// Growth of hash maps (PROFILES 3).
const MAPGROW: [&str; 8] = ["hashGrow", "evacuate", "growWork", "esize", "rehash", "dictresize", "grow", "split"];
/// The slow paths of locks: somebody waits or wakes (PROFILES 3); what has none of these is the fast path.
const CONTENDED: [&str; 25] = [
    "futex",
    "Slow",
    "slow",
    "pin",
    "ObjectMonitor::",
    "lll_lock_wait",
    "lll_lock_wake",
    "take_gil",
    "contended",
    "Contention",
    "park",
    "Park",
    "rwsem",
    "osq_lock",
    "__mutex_lock",
    "semacquire",
    "Semacquire",
    "procyield",
    "semaRoot",
    "thread_sched_",
    "gvl_acquire",
    "acquireQueued",
    "Wait",
    "AwareLock::",
    "osyield",
];
/// Threads of Go that look for work or sleep: what they spend on futexes and polls is the scheduler's, not contention.
const IDLE_WORKER: [&str; 9] = [
    "runtime.findRunnable",
    "runtime.findrunnable",
    "runtime.schedule",
    "runtime.stopm",
    "runtime.sysmon",
    "runtime.mPark",
    "runtime.park_m",
    "runtime.bgsweep",
    "runtime.bgscavenge",
];
/// Functions below which everything runs once when a program starts (PROFILES 1.1, step 7).
const INIT: [&str; 3] = ["runtime.doInit", "_GLOBAL__sub_I_", "__static_initialization_and_destruction_0"];
/// The same for modules: a script's whole work may stand above them, so that only what they call themselves runs once.
const MODULE_INIT: [&str; 5] = ["<module>", "_find_and_load", "Module._compile", "compileForInternalLoader", "Object.<anonymous>"];

/// Functions in which a thread of the program is made to collect or to wait for the collector (PROFILES 2.1).
const ASSIST: [&str; 4] = ["runtime.gcAssistAlloc", "satisfy_failed_allocation", "alloc_page_stall", "ShenandoahPacer"];

/// The bits of categories and traits by name; unknown names have none, which a test excludes.
pub fn mask(wanted: &[&str]) -> u64 {
    let mut out = 0;
    for (i, name) in names().iter().enumerate() {
        out |= if wanted.contains(&name.as_str()) { 1 << i } else { 0 };
    }
    TRAITS.iter().filter(|(name, _)| wanted.contains(name)).fold(out, |m, (_, bit)| m | bit)
}

/// Which frames of a stack a measure looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frames {
    /// Any: the work of whatever the matching function called, the program's own callbacks included.
    Any,
    /// Library frames above the nearest function of the program: frameworks at the root of every stack do not count.
    Called,
    /// The leaf alone.
    Leaf,
}

/// One number that a rule judges: the share of active samples in some kinds of work.
#[derive(Debug)]
pub struct Measure {
    /// Thresholds `NAME-info` and `NAME-warning`; `info-share` and `warning-share` for an empty name.
    pub name: &'static str,
    /// As it stands in a title: `Serialization takes 12 %`.
    pub what: &'static str,
    /// Categories or traits of which a frame must have one.
    pub of: &'static [&'static str],
    /// Traits or categories that some frame must have as well; empty for no condition.
    pub and: &'static [&'static str],
    /// Categories or traits that none of those frames may have; at a leaf, none of the whole stack.
    pub without: &'static [&'static str],
    /// Which frames.
    pub frames: Frames,
}

/// What a stack holds, by scope of frames.
#[derive(Clone, Copy, Debug, Default)]
struct Bits {
    any: u64,
    called: u64,
    leaf: u64,
}

/// A measure's counts over one profile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// Events.
    pub count: i64,
    /// Weight in the profile's value.
    pub value: i64,
}

impl Sum {
    fn add(&mut self, count: i64, value: i64) {
        self.count += count;
        self.value = self.value.saturating_add(value);
    }
}

/// Kinds of work of one profile's active samples.
pub struct Costs {
    /// By function row: categories and traits.
    class: Vec<u64>,
    /// By function row: the same at a leaf.
    leaf_class: Vec<u64>,
    /// Measures hit, by position in `active.stacks`: bit i for measure i.
    pub hits: Vec<u64>,
    /// By measure.
    pub sums: Vec<Sum>,
    /// The part of the partition of each of `active.stacks`, see [`part_name`].
    part_of: Vec<u8>,
    /// The partition: each active sample in one kind of work, largest first, ties by name.
    pub parts: Vec<(&'static str, Sum)>,
}

/// Bits of a function by its name and categories.
fn traits(name: &str, class: u64, crypto: u64, hashmap: u64, lock: u64, serialization: u64) -> u64 {
    let holds = |words: &[&str]| words.iter().any(|w| name.contains(w));
    let mut out = 0;
    let mut set = |trait_: usize, on: bool| out |= if on { TRAITS[trait_].1 } else { 0 };
    set(0, class & crypto != 0 && holds(&HANDSHAKE));
    set(1, class & hashmap != 0 && holds(&MAPGROW));
    set(2, class & lock != 0 && holds(&CONTENDED));
    set(
        3,
        name.starts_with("runtime.")
            && IDLE_WORKER.iter().any(|w| name.strip_prefix(w).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))),
    );
    set(4, INIT.iter().any(|w| name.starts_with(w)) || name.ends_with("<clinit>") || is_go_init(name));
    set(8, MODULE_INIT.iter().any(|w| name.starts_with(w)));
    set(9, class != 0 && holds(&ASSIST));
    set(5, is_interpreter(name));
    if class & serialization != 0 {
        let lower = name.to_ascii_lowercase();
        let any = |words: &[&str]| words.iter().any(|w| lower.contains(w));
        let decode = any(&["unmarshal", "decod", "pars", "load", "deserial", "scan", "readvalue", "from_s"]);
        set(7, decode);
        set(6, !decode && any(&["marshal", "encod", "stringify", "dump", "serial", "writevalue", "to_s", "to_vec"]));
    }
    out
}

/// `main.init`, `pkg.init.0`, `pkg.init.func1`.
fn is_go_init(name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or(name);
    last.split_once('.').is_some_and(|(_, f)| f == "init" || f.starts_with("init.") || f.starts_with("glob..func"))
}

impl Costs {
    /// Measures one profile. Linear in stacks and functions, times the number of measures over 64-bit words.
    pub fn new(active: &Active<'_>) -> Costs {
        Costs::measured(active, super::cost_specs::measures())
    }

    fn measured(active: &Active<'_>, measures: &[(&str, &Measure)]) -> Costs {
        let s = &active.session.symbols;
        let n = s.funcs.len();
        let mut seen = vec![false; n];
        let (mut class, mut leaf_class) = (vec![0_u64; n], vec![0_u64; n]);
        let (crypto, hashmap, lock, serialization) =
            (mask(&["crypto"]), mask(&["hashmap"]), mask(&["lock", "spin"]), mask(&["serialization"]));
        for row in 0..s.stacks.len() {
            let f = active.func(StackId::from_index(row));
            let i = f.index();
            if !seen[i] {
                seen[i] = true;
                let (any, leaf) = (active.class_of(f).0, active.leaf_class_of(f).0);
                let more = traits(active.name(f), any | leaf, crypto, hashmap, lock, serialization);
                (class[i], leaf_class[i]) = (any | more, leaf | more);
            }
        }
        let mut out = Costs {
            class,
            leaf_class,
            hits: Vec::with_capacity(active.stacks.len()),
            sums: vec![Sum::default(); measures.len()],
            part_of: Vec::with_capacity(active.stacks.len()),
            parts: Vec::new(),
        };
        out.fill(active, measures);
        out
    }

    fn fill(&mut self, active: &Active<'_>, measures: &[(&str, &Measure)]) {
        let s = &active.session.symbols;
        let library = active.library();
        let (domain, module_init) = (mask(&DOMAIN), mask_trait("module_init"));
        // Prefixes come first: what a stack holds is what its prefix holds and its own frame.
        let (mut any, mut called) = (vec![0_u64; s.stacks.len()], vec![0_u64; s.stacks.len()]);
        let mut outer = vec![0_u8; s.stacks.len()];
        for row in 0..any.len() {
            let func = active.func(StackId::from_index(row)).index();
            let below = s.stacks.prefix[row].get().map(StackId::index);
            let own = self.class[func];
            any[row] = below.map_or(0, |b| any[b]) | own;
            if library[func] {
                called[row] = below.map_or(0, |b| called[b]) | own;
                let inherited = below.map_or(0, |b| outer[b]);
                let first = (own & domain).trailing_zeros() as u8;
                outer[row] = if inherited == 0 && first < 64 { first + 1 } else { inherited };
            } else {
                // A module's body says of what it calls that it runs once.
                called[row] = own & module_init;
            }
        }
        let compiled: Vec<(u64, u64, u64, Frames)> =
            measures.iter().map(|(_, m)| (mask(m.of), mask(m.and), mask(m.without), m.frames)).collect();
        let (jit, gc, kernel) = (mask(&["jit"]), mask(&["gc"]), mask(&["kernel"]));
        let pickers = Partition::new();
        let mut parts = vec![Sum::default(); names().len() + 3];
        for a in &active.stacks {
            let row = a.stack.index();
            let func = active.func(a.stack).index();
            let mut bits = Bits { any: any[row], called: called[row], leaf: self.leaf_class[func] };
            bits.called |= if library[func] { bits.leaf } else { 0 };
            bits.any = (bits.any | bits.leaf) & !module_init | bits.called & module_init;
            if a.thread.has("jit") {
                // Compilers call allocators, locks and barriers of the collector: all of it is compiling.
                let own = jit | bits.any & kernel;
                bits = Bits { any: own, called: own, leaf: own };
            } else if a.thread.has("gc") {
                bits.any |= gc;
                bits.called |= gc;
            }
            let mut hit = 0_u64;
            for (i, (of, and, without, frames)) in compiled.iter().enumerate() {
                let (here, not) = match frames {
                    Frames::Any => (bits.any, bits.any),
                    Frames::Called => (bits.called, bits.called),
                    Frames::Leaf => (bits.leaf, bits.any),
                };
                if here & of != 0 && (*and == 0 || here & and != 0) && not & without == 0 {
                    hit |= 1 << i;
                    self.sums[i].add(a.count, a.value);
                }
            }
            self.hits.push(hit);
            let known = !active.is_unknown(FuncId::from_index(func));
            let part = pickers.part(bits.any, bits.called, outer[row], active.owner(a.stack).is_some(), known);
            parts[part].add(a.count, a.value);
            self.part_of.push(part as u8);
        }
        let named = parts.into_iter().enumerate().filter(|(_, sum)| sum.count > 0).map(|(i, sum)| (part_name(i), sum));
        self.parts = named.collect();
        self.parts.sort_by_key(|(name, sum)| (std::cmp::Reverse(sum.count), *name));
    }

    /// For every stack the outermost frame in which the measured work begins; `NONE` where there is none. One pass.
    pub fn entries(&self, active: &Active<'_>, measure: &Measure) -> Vec<StackId> {
        let s = &active.session.symbols;
        let (of, library) = (mask(measure.of), active.library());
        let mut out = vec![StackId::NONE; s.stacks.len()];
        for row in 0..out.len() {
            let func = active.func(StackId::from_index(row)).index();
            let below = s.stacks.prefix[row].get().map_or(StackId::NONE, |b| out[b.index()]);
            let kept = match measure.frames {
                Frames::Any => below,
                Frames::Called if library[func] => below,
                _ => StackId::NONE,
            };
            let own = if measure.frames == Frames::Leaf { self.leaf_class[func] } else { self.class[func] };
            out[row] = if kept.is_none() && own & of != 0 { StackId::from_index(row) } else { kept };
        }
        out
    }

    /// For every part of the partition the function at the leaf of most of its samples; of equals the first by name.
    pub fn leaves(&self, active: &Active<'_>) -> BTreeMap<&'static str, FuncId> {
        let mut counts: BTreeMap<(u8, FuncId), i64> = BTreeMap::new();
        for (a, part) in active.stacks.iter().zip(&self.part_of) {
            *counts.entry((*part, active.func(a.stack))).or_default() += a.count;
        }
        let mut best: BTreeMap<&'static str, (i64, FuncId)> = BTreeMap::new();
        for ((part, func), n) in counts {
            let known = best.entry(part_name(usize::from(part))).or_insert((n, func));
            if (n, active.name(known.1)) > (known.0, active.name(func)) {
                *known = (n, func);
            }
        }
        best.into_iter().map(|(name, (_, func))| (name, func)).collect()
    }

    /// Categories and traits of a function.
    pub fn class_of(&self, func: FuncId) -> u64 {
        self.class[func.index()]
    }
}

/// The bit of a trait.
pub(super) fn mask_trait(name: &str) -> u64 {
    TRAITS.iter().find(|(n, _)| *n == name).map_or(0, |(_, bit)| *bit)
}

#[cfg(test)]
mod tests {
    use super::super::partition::APPLICATION;
    use super::*;
    use crate::analysis::drawn_stacks::drawn;
    use crate::base::ids::ProfileId;

    fn parts(text: &str) -> Vec<(&'static str, i64)> {
        let s = drawn(text);
        let active = Active::new(&s, ProfileId(0), &s.profiles[0]);
        let costs = Costs::new(&active);
        assert_eq!(costs.parts.iter().map(|p| p.1.count).sum::<i64>(), active.count);
        costs.parts.iter().map(|(name, sum)| (*name, sum.count)).collect()
    }

    #[test]
    fn a_sample_is_charged_to_one_kind_of_work() {
        let got = parts(
            "runtime.goexit;main.main;main.work 40\n\
             runtime.goexit;main.main;encoding/json.Marshal;reflect.Value.Field 20\n\
             runtime.goexit;main.main;encoding/json.Marshal;runtime.mallocgc 5\n\
             runtime.goexit;main.main;encoding/json.Marshal;runtime.mallocgc;runtime.gcAssistAlloc 4\n\
             runtime.goexit;net/http.(*conn).serve;main.main;main.handler 7\n\
             runtime.goexit;main.main;runtime.mallocgc 3\n\
             runtime.mcall;runtime.park_m;runtime.schedule;runtime.findRunnable;runtime.futex 2\n\
             runtime.goexit;main.main;sync.(*Mutex).Lock;sync.(*Mutex).lockSlow;runtime.futex 1",
        );
        let want = [(APPLICATION, 47), ("serialization", 25), ("gc", 4), ("alloc", 3), ("scheduler", 2), ("lock", 1)];
        assert_eq!(got, want);
    }

    #[test]
    fn names_of_traits_and_categories_exist() {
        for name in DOMAIN.iter().chain(&["jit", "gc", "lock", "spin", "kernel", "scheduler", "crypto", "hashmap", "serialization"]) {
            assert_eq!(mask(&[*name]).count_ones(), 1, "{name}");
        }
        assert!(names().len() + TRAITS.len() <= 64);
        for (name, init) in
            [("main.init", true), ("a.b/c.init.0", true), ("main.initialise", false), ("Foo.<clinit>", true), ("main.work", false)]
        {
            assert_eq!(is_go_init(name) || name.ends_with("<clinit>"), init, "{name}");
        }
    }
}
