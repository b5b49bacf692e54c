//! The partition of CPU time by kind of work: each sample counts once, so that the parts add up to the whole ("datacenter tax",
//! Kanev et al., ISCA 2015; order of precedence of PROFILES 3).

use super::costs::{mask, mask_trait};
use crate::analysis::categories::names;

/// Kinds of work that are looked for outermost when a sample is charged to one kind.
pub(super) const DOMAIN: [&str; 21] = [
    "compression",
    "crypto",
    "sync_io",
    "classload",
    "rpc",
    "logging",
    "serialization",
    "dbdriver",
    "regex_compile",
    "templating",
    "validation",
    "hashing",
    "hashmap",
    "regex",
    "exceptions",
    "boxing",
    "collections_copy",
    "sort",
    "fs_sync",
    "clock",
    "tracing_overhead",
];

/// Names of parts of the partition that are no category.
pub const APPLICATION: &str = "application";
/// Samples whose leaf has no symbol and whose callers tell nothing.
pub const NO_SYMBOL: &str = "no symbol";
/// Library code of no known kind that no function of the program called.
pub const OTHER: &str = "other library";

/// Names of parts for people, where the taxonomy's own says less.
const LABELS: [(&str, &str); 26] = [
    ("gc", "garbage collection"),
    ("alloc", "allocation"),
    ("rpc", "RPC and HTTP"),
    ("dbdriver", "database client"),
    ("regex_compile", "compiling regular expressions"),
    ("regex", "regular expressions"),
    ("memops", "copying memory"),
    ("pagefault", "page faults"),
    ("tlb", "mappings and TLB"),
    ("lock", "locks"),
    ("spin", "spinning"),
    ("hashmap", "hash maps"),
    ("strfmt", "string formatting"),
    ("syscall_io", "file system"),
    ("syscall_net", "network"),
    ("syscall", "system calls"),
    ("fs_sync", "forcing data to disk"),
    ("sync_io", "synchronous input and output"),
    ("jit", "just-in-time compilation"),
    ("classload", "loading code"),
    ("stackgrow", "growing stacks"),
    ("clock", "clock reads"),
    ("tracing_overhead", "profiling and tracing"),
    ("collections_copy", "growing collections"),
    ("wait", "waiting in the kernel"),
    ("crypto", "cryptography"),
];

/// A part's name for people.
pub fn label(name: &str) -> &str {
    LABELS.iter().find(|(n, _)| *n == name).map_or(name, |(_, label)| label)
}

/// Whether a part belongs to the "datacenter tax" of Kanev et al. (ISCA 2015): protocol buffers, RPC, hashing, compression,
/// memory allocation, data movement.
pub fn in_tax(name: &str) -> bool {
    ["serialization", "rpc", "hashing", "compression", "alloc", "gc", "memops"].contains(&name)
}

/// The name of a part: a category, or one of the three above.
pub(super) fn part_name(part: usize) -> &'static str {
    let n = names().len();
    match part {
        p if p < n => &names()[p],
        p if p == n => APPLICATION,
        p if p == n + 1 => NO_SYMBOL,
        _ => OTHER,
    }
}

/// Chooses one kind of work for a sample. Precedence of PROFILES 3: compiler threads, collection, page faults, locks, the
/// outermost kind of work, allocation, text and reflection, copying, system calls, kernel, scheduler, and else the program.
pub(super) struct Partition {
    first: Vec<(u64, usize)>,
    later: Vec<(u64, usize)>,
    idle_worker: u64,
    scheduler: usize,
}

impl Partition {
    pub(super) fn new() -> Partition {
        let one = |name: &&str| (mask(&[*name]), names().iter().position(|n| n == *name).unwrap_or(0));
        Partition {
            first: ["idle", "jit", "gc", "pagefault", "tlb", "lock", "spin"].iter().map(one).collect(),
            later: [
                "alloc",
                "strfmt",
                "reflection",
                "memops",
                "fs_sync",
                "syscall_net",
                "syscall_io",
                "syscall",
                "wait",
                "stackgrow",
                "kernel",
                "scheduler",
            ]
            .iter()
            .map(one)
            .collect(),
            idle_worker: mask_trait("idle_worker"),
            scheduler: one(&"scheduler").1,
        }
    }

    /// The part of a sample by the bits of its frames, those above the program's functions, its outermost kind of work, and whether
    /// it has an owner and a name.
    pub(super) fn part(&self, any: u64, called: u64, outer: u8, owned: bool, known: bool) -> usize {
        let gc = self.first[2];
        if any & gc.0 != 0 && called & self.first[1].0 == 0 {
            return gc.1;
        }
        if called & self.idle_worker != 0 {
            return self.scheduler;
        }
        let pick = |list: &[(u64, usize)]| list.iter().find(|(m, _)| called & m != 0).map(|(_, part)| *part);
        pick(&self.first).or(outer.checked_sub(1).map(usize::from)).or_else(|| pick(&self.later)).unwrap_or(match (known, owned) {
            (false, _) => names().len() + 1,
            (true, true) => names().len(),
            (true, false) => names().len() + 2,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_of_categories() {
        for (name, _) in LABELS {
            assert!(names().iter().any(|n| n == name), "{name}");
        }
        assert_eq!((label("sort"), label("memops"), part_name(names().len())), ("sort", "copying memory", APPLICATION));
        assert!(in_tax("gc") && !in_tax(APPLICATION));
    }
}
