//! The kinds of work that have a rule each, with the numbers of PROFILES 3 (JDK Mission Control, Datadog, Kanev 2015 and own
//! measurements stand behind them). One entry is one rule.

use super::cost_rule::CostRule;
use super::costs::{Frames, Measure};
use std::sync::OnceLock;

/// Thresholds of a rule: its own, and those that every rule of the family has.
macro_rules! thresholds {
    ($($name:literal $default:literal $doc:literal),+) => {
        &[
            $(Threshold { name: $name, default: $default, doc: $doc },)+
            Threshold { name: "min-active-samples", default: 20.0, doc: "active samples below which nothing is claimed; PROFILES 4.2" },
            Threshold { name: "few-samples", default: 100.0, doc: "active samples below which findings stay at info; PROFILES 4.2" },
            Threshold { name: "min-samples", default: 10.0, doc: "samples of the kind of work below which nothing is claimed; PROFILES 4.2" },
            Threshold { name: "warning-samples", default: 30.0, doc: "samples of the kind of work below which it stays at info; PROFILES 4.2" },
            Threshold { name: "unknown-share", default: 0.2, doc: "share of leaves without symbol from which findings stay at info; PROFILES 4.4" },
        ]
    };
}

/// A rule of the family.
macro_rules! cost {
    (
        $(#[$doc:meta])* $name:ident $id:literal $title:literal $summary:literal,
        [$($threshold:tt)+], [$($measure:expr),+ $(,)?], $saving:expr, [$($remedy:expr),+ $(,)?], [$($caveat:expr),* $(,)?] $(, $option:ident)*
    ) => {
        $(#[$doc])*
        pub static $name: CostRule = CostRule {
            rule: &Rule {
                id: $id,
                name: $title,
                family: "cost by kind of work",
                summary: $summary,
                remedies: &[$($remedy.1),+],
                thresholds: thresholds!($($threshold)+),
                doc: include_str!(concat!("../../docs/rules/", $id, ".md")),
            },
            measures: &[$($measure),+],
            saving: $saving,
            remedies: &[$($remedy),+],
            caveats: &[$($caveat),*],
            info_only: false $(|| is_option(stringify!($option), "info_only"))*,
            runs: false $(|| is_option(stringify!($option), "runs"))*,
        };
    };
}

pub(crate) use cost;
pub(crate) use thresholds;

/// Whether two words are the same, where the compiler decides.
pub const fn is_option(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut i = 0;
    while i < a.len() && i < b.len() && a[i] == b[i] {
        i += 1;
    }
    i == a.len() && i == b.len()
}

/// A share of library frames above the program's functions.
pub const fn called(name: &'static str, what: &'static str, of: &'static [&'static str], without: &'static [&'static str]) -> Measure {
    Measure { name, what, of, and: &[], without, frames: Frames::Called }
}

/// A share of any frames.
pub const fn within(name: &'static str, what: &'static str, of: &'static [&'static str], without: &'static [&'static str]) -> Measure {
    Measure { name, what, of, and: &[], without, frames: Frames::Any }
}

use super::cost_specs_system::{
    CLOCK, FSYNC, INTERPRETER, LOCK, MEMORY_COPY, PAGE_FAULTS, SCHEDULER, STACK_GROWTH, SYNC_IO, SYSCALLS, WARM_UP,
};
use super::cost_specs_work::{
    COMPRESSION, CRYPTO, DB_DRIVER, EXCEPTIONS, HASH_MAP, HASH_MAP_GROWTH, HASHING, LOGGING, REFLECTION, REGEX, REGEX_COMPILE, RPC,
    SERIALIZATION, SORT, STRFMT,
};

/// Every rule of the family, the general ones first.
pub static RULES: &[&CostRule] = &[
    &WARM_UP,
    &INTERPRETER,
    &RPC,
    &DB_DRIVER,
    &SYSCALLS,
    &SCHEDULER,
    &PAGE_FAULTS,
    &MEMORY_COPY,
    &HASHING,
    &REFLECTION,
    &STRFMT,
    &HASH_MAP,
    &HASH_MAP_GROWTH,
    &LOCK,
    &CLOCK,
    &STACK_GROWTH,
    &EXCEPTIONS,
    &SORT,
    &COMPRESSION,
    &CRYPTO,
    &LOGGING,
    &SERIALIZATION,
    &FSYNC,
    &SYNC_IO,
    &REGEX,
    &REGEX_COMPILE,
];

/// The rule on allocation pressure, whose measures are taken in the same pass.
pub const PRESSURE: &str = "allocation-pressure";
/// Positions in [`MEMORY`].
pub const GC: usize = 0;
/// Allocating and freeing, outside collection.
pub const ALLOC: usize = 1;
/// Both together.
pub const BOTH: usize = 2;
/// Collection that the program's own threads are made to do.
pub const ASSIST: usize = 3;
/// Boxing of numbers.
pub const BOXING: usize = 4;
/// Page faults while memory is allocated.
pub const FAULTS: usize = 5;
/// Measures of memory management (PROFILES 2.1).
pub static MEMORY: [Measure; 6] = [
    within("gc", "Garbage collection", &["gc"], &[]),
    within("alloc", "Allocation", &["alloc"], &["gc"]),
    within("pressure", "Memory management", &["gc", "alloc"], &[]),
    Measure {
        name: "assist",
        what: "Collection by the program's threads",
        of: &["gc", "alloc"],
        and: &["assist"],
        without: &[],
        frames: Frames::Any,
    },
    within("boxing", "Boxing", &["boxing"], &["gc"]),
    Measure {
        name: "faults",
        what: "Page faults of allocation",
        of: &["alloc"],
        and: &["pagefault"],
        without: &["gc"],
        frames: Frames::Any,
    },
];

/// All measures with the rules they belong to: one pass over a profile's stacks takes them all.
pub fn measures() -> &'static [(&'static str, &'static Measure)] {
    static CELL: OnceLock<Vec<(&'static str, &'static Measure)>> = OnceLock::new();
    let of_rules = || RULES.iter().flat_map(|r| r.measures.iter().map(|m| (r.rule.id, m)));
    CELL.get_or_init(|| of_rules().chain(MEMORY.iter().map(|m| (PRESSURE, m))).collect())
}

/// Where the measures of a rule begin in [`measures`].
pub fn first_of(rule: &str) -> usize {
    measures().iter().position(|(of, _)| *of == rule).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::costs::mask;
    use super::*;

    #[test]
    fn every_measure_names_categories_and_thresholds_that_exist() {
        assert!(measures().len() <= 64, "a stack's hits are one word");
        for rule in RULES {
            for measure in rule.measures {
                for name in measure.of.iter().chain(measure.and).chain(measure.without) {
                    assert_eq!(mask(&[*name]).count_ones(), 1, "{}: {name}", rule.rule.id);
                }
                let names = match measure.name {
                    "" => ["info-share".to_string(), "warning-share".to_string()],
                    name => [format!("{name}-info"), format!("{name}-warning")],
                };
                let value = |n: &String| rule.rule.thresholds.iter().find(|t| t.name == n.as_str()).map(|t| t.default);
                let (info, warning) = (value(&names[0]).unwrap(), value(&names[1]).unwrap());
                assert!(0.0 < info && info < warning, "{}", rule.rule.id);
            }
            assert_eq!(rule.runs, rule.rule.thresholds.iter().any(|t| t.name == "min-run-ms"));
            assert!(rule.remedies.iter().any(|(runtime, _)| runtime.is_empty()));
            assert!(rule.saving.0 <= rule.saving.1 && rule.saving.1 <= 1.0);
        }
    }
}
