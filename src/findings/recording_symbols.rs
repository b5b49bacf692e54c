//! Missing symbols: samples whose function has no name, by binary, with the way to get the names.

use super::active::Active;
use super::doctor::{FAMILY, MOST, Symptom, flame_view, over_cpu};
use super::finding::{Evidence, Rule, ShareOf, Threshold};
use super::{Context, Detector, Outcome};
use crate::base::quantity::{format_count, format_share};
use crate::base::stats::{map_exp100, wilson};
use std::collections::BTreeMap;

/// The rule.
pub struct MissingSymbols;

/// Its documentation.
pub const RULE: Rule = Rule {
    id: "recording-missing-symbols",
    name: "Missing symbols",
    family: FAMILY,
    summary: "Many samples end in functions without a name.",
    remedies: &["Give the profiler the symbols: debug packages, unstripped binaries, perf maps for compiled-at-run-time code."],
    thresholds: &[
        Threshold { name: "info-share", default: 0.20, doc: "share of active samples without a name that scores 25; PROFILES 1.8" },
        Threshold { name: "warning-share", default: 0.50, doc: "share that scores 75" },
    ],
    doc: include_str!("../../docs/rules/recording-missing-symbols.md"),
};

/// How to get the names of a binary.
fn remedy(active: &Active<'_>, module: &str) -> String {
    if module.is_empty() || module == "[unknown]" || module.starts_with("[JIT") || module.starts_with("perf-") {
        let jvm = "for Java `perf-map-agent` or `-XX:+PreserveFramePointer -XX:+DumpPerfMapAtExit`";
        let node = "for Node `--perf-basic-prof`";
        return match (active.has_runtime("jvm"), active.has_runtime("node") || active.has_runtime("v8")) {
            (true, _) => format!("Code compiled at run time needs a map: {jvm}."),
            (_, true) => format!("Code compiled at run time needs a map: {node}."),
            _ => format!(
                "Addresses outside every binary are code compiled at run time or broken stacks: {jvm}, {node}, and frame pointers or `--call-graph dwarf`."
            ),
        };
    }
    if module.starts_with("[kernel") || module.starts_with("vmlinux") || module.contains(".ko") {
        return format!("{module}: let perf read the kernel's names (`sysctl kernel.kptr_restrict=0`), or run it as root.");
    }
    format!(
        "{module}: install its debug package or use the unstripped binary, and symbolize again on the machine that has it (`perf script`, `pprof -symbolize`)."
    )
}

impl Detector for MissingSymbols {
    fn rule(&self) -> &'static Rule {
        &RULE
    }

    fn detect(&self, cx: &Context<'_>) -> Outcome {
        let (info, warning) = (cx.threshold(&RULE, "info-share"), cx.threshold(&RULE, "warning-share"));
        over_cpu(cx, &RULE, |active| {
            if active.count <= 0 || active.unknown_share() < info {
                return None;
            }
            let mut modules: BTreeMap<&str, i64> = BTreeMap::new();
            for a in active.stacks.iter().filter(|a| active.is_unknown(active.func(a.stack))) {
                let module = cx.session.symbols.module(&cx.session.strings, active.func(a.stack));
                *modules.entry(module).or_default() += a.count;
            }
            let mut modules: Vec<(&str, i64)> = modules.into_iter().collect();
            modules.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
            let share = wilson(active.unknown as f64, active.count as u64);
            let name = |m: &str| if m.is_empty() { "no binary".to_string() } else { m.to_string() };
            let of = |n: i64| format_share(n as f64 / active.count as f64);
            Some(Symptom {
                key: active.profile.name.clone(),
                score: map_exp100(share.p, info, warning).min(MOST),
                title: format!("{} of the active samples have no function name", format_share(share.p)),
                message: format!(
                    "{} of {} active samples end in code without symbols; most of them in {}. Rules cannot judge what has no name.",
                    format_count(active.unknown as f64),
                    format_count(active.count as f64),
                    name(modules.first().map_or("", |m| m.0))
                ),
                share: active.counted.then(|| ShareOf::new(share, "active samples")),
                count: active.unknown.max(0) as u64,
                evidence: modules
                    .iter()
                    .take(5)
                    .map(|(m, n)| Evidence { text: format!("{}: {} of the active samples.", name(m), of(*n)), view: flame_view(active) })
                    .collect(),
                remedies: modules.iter().take(3).map(|(m, _)| remedy(active, m)).collect(),
                ..Symptom::default()
            })
        })
    }
}
