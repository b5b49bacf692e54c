//! Allocation pressure: how much CPU time allocating memory and collecting garbage takes, from CPU profiles.

use super::active::{Active, cpu_profiles};
use super::cost_rule::cover;
use super::cost_specs::{ALLOC, ASSIST, BOTH, BOXING, FAULTS, GC, first_of};
use super::finding::{Confidence, Cover, Evidence, Finding, Impact, Occurrences, Rule, Severity, ShareOf, Subject, Threshold, fingerprint};
use super::{Context, Detector, Outcome, counted};
use crate::analysis::neighbours::heaviest_path;
use crate::analysis::weights::Selection;
use crate::base::ids::{FuncId, StackId};
use crate::base::quantity::{format_count, format_share, format_value};
use crate::base::stats::{map_exp100, wilson};
use crate::base::view::{View, ViewRef};
use crate::model::profile::ValueKind;
use std::collections::BTreeMap;

/// The rule.
pub struct AllocationPressure;

/// Its documentation.
pub const RULE: Rule = Rule {
    id: "allocation-pressure",
    name: "Allocation pressure",
    family: "allocation",
    summary: "Allocating memory and collecting garbage take a large share of the CPU time.",
    remedies: &[
        "Allocate less where the finding says most of it happens; a heap profile of the same run shows bytes and sizes.",
        "Give the collector more room (GOGC, -Xmx, --max-old-space-size) if memory is free: it then runs less often.",
    ],
    thresholds: &[
        Threshold { name: "gc-info", default: 0.05, doc: "share of garbage collection that scores 25; JDK Mission Control, GC pauses 5 %" },
        Threshold {
            name: "gc-warning",
            default: 0.10,
            doc: "share of garbage collection that scores 75; JDK Mission Control and Datadog, 10 %",
        },
        Threshold { name: "alloc-info", default: 0.05, doc: "share of allocating and freeing that scores 25; PROFILES 2.1" },
        Threshold { name: "alloc-warning", default: 0.15, doc: "share of allocating and freeing that scores 75; PROFILES 2.1" },
        Threshold { name: "pressure-info", default: 0.08, doc: "share of both together that scores 25; PROFILES 2.1" },
        Threshold { name: "pressure-warning", default: 0.20, doc: "share of both together that scores 75; PROFILES 2.1" },
        Threshold {
            name: "assist-info",
            default: 0.01,
            doc: "share of collection that the program's own threads are made to do, scores 25; PROFILES 2.1",
        },
        Threshold { name: "assist-warning", default: 0.05, doc: "the same, scores 75; PROFILES 2.1" },
        Threshold { name: "boxing-info", default: 0.05, doc: "share of boxing numbers that scores 25; Datadog, 5 %" },
        Threshold { name: "boxing-warning", default: 0.10, doc: "the same, scores 75; PROFILES 2.1" },
        Threshold { name: "min-active-samples", default: 20.0, doc: "active samples below which nothing is claimed; PROFILES 4.2" },
        Threshold { name: "few-samples", default: 100.0, doc: "active samples below which findings stay at info; PROFILES 4.2" },
        Threshold {
            name: "min-samples",
            default: 10.0,
            doc: "samples of allocation and collection below which nothing is claimed, and of a function below which it is not named first; PROFILES 4.2",
        },
        Threshold { name: "unknown-share", default: 0.5, doc: "share of leaves without symbol from which the profile is not judged" },
    ],
    doc: include_str!("../../docs/rules/allocation-pressure.md"),
};

/// What was counted, in events and in weight.
#[derive(Clone, Debug, Default)]
struct Pressure {
    gc: i64,
    alloc: i64,
    both: i64,
    assist: i64,
    boxing: i64,
    /// Page faults while memory is allocated; part of `alloc`.
    faults: i64,
    weight: i64,
    /// Samples of allocation by the nearest function that can be changed.
    owners: BTreeMap<FuncId, i64>,
    /// The heaviest stacks.
    cover: Vec<StackId>,
}

impl Detector for AllocationPressure {
    fn rule(&self) -> &'static Rule {
        &RULE
    }

    fn detect(&self, cx: &Context<'_>) -> Outcome {
        let profiles = cpu_profiles(cx.session);
        if profiles.is_empty() {
            return Outcome::NotChecked("because no file holds samples of CPU or wall-clock time".to_string());
        }
        let (mut findings, mut checked, mut samples) = (Vec::new(), 0, 0);
        let mut reason = String::new();
        for (id, p) in profiles {
            let active = cx.active(id, p);
            if (active.count as f64) < cx.threshold(&RULE, "min-active-samples") {
                reason = format!("because there are only {} samples that are not idle", active.count);
                continue;
            }
            if active.unknown_share() >= cx.threshold(&RULE, "unknown-share") {
                reason = format!("because {} of the samples have no function name", format_share(active.unknown_share()));
                continue;
            }
            checked += 1;
            samples += active.count;
            findings.extend(describe(cx, &active, pressure(cx, &active)));
        }
        if checked == 0 {
            return Outcome::NotChecked(reason);
        }
        findings.sort_by(|a, b| b.score.cmp(&a.score).then_with(|| a.fingerprint.cmp(&b.fingerprint)));
        Outcome::Checked {
            findings,
            over: format!("{} active samples in {}", format_count(samples as f64), counted(checked, "CPU profile")),
        }
    }
}

fn pressure(cx: &Context<'_>, active: &Active<'_>) -> Pressure {
    let costs = cx.costs(active);
    let first = first_of(RULE.id);
    let count = |measure: usize| costs.sums[first + measure].count;
    let mut out = Pressure {
        gc: count(GC),
        alloc: count(ALLOC),
        both: count(BOTH),
        assist: count(ASSIST),
        boxing: count(BOXING),
        faults: count(FAULTS),
        weight: costs.sums[first + BOTH].value,
        ..Pressure::default()
    };
    let mut stacks = Vec::new();
    for (a, hits) in active.stacks.iter().zip(&costs.hits) {
        let hit = |measure: usize| hits >> (first + measure) & 1 != 0;
        if !hit(BOTH) {
            continue;
        }
        stacks.push((a.count, a.stack));
        if (hit(ALLOC) || hit(ASSIST))
            && let Some(owner) = active.owner(a.stack)
        {
            *out.owners.entry(owner.func).or_default() += a.count;
        }
    }
    out.cover = cover(stacks);
    out
}

/// Functions that allocate most bytes by an allocation profile of the same program, with their share: collection has no owner
/// in its stacks and follows the bytes.
fn bytes_by_owner(cx: &Context<'_>, active: &Active<'_>) -> Vec<(String, f64)> {
    let s = &cx.session.symbols;
    let known: std::collections::BTreeSet<&str> =
        active.stacks.iter().filter_map(|a| active.owner(a.stack)).map(|o| active.name(o.func)).collect();
    for (id, p) in cx.profiles() {
        let Some(bytes) = p.value_of_kind(ValueKind::AllocBytes).filter(|c| p.total(*c) > 0) else { continue };
        let heap = Active::weighted(cx.session, id, p, bytes);
        let mut sums: BTreeMap<&str, i64> = BTreeMap::new();
        for (stack, bytes) in p.samples.stack.iter().zip(&p.samples.values[bytes]) {
            if let Some(owner) = stack.get().filter(|stack| stack.index() < s.stacks.len()).and_then(|stack| heap.owner(stack)) {
                let sum = sums.entry(heap.name(owner.func)).or_default();
                *sum = sum.saturating_add(*bytes);
            }
        }
        let whole = p.total(bytes) as f64;
        let mut out: Vec<(String, f64)> =
            sums.into_iter().filter(|(name, _)| known.contains(name)).map(|(name, n)| (name.to_string(), n as f64 / whole)).collect();
        out.retain(|(_, share)| *share >= 0.05);
        out.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        if !out.is_empty() {
            return out;
        }
    }
    Vec::new()
}

fn describe(cx: &Context<'_>, active: &Active<'_>, mut found: Pressure) -> Option<Finding> {
    if (found.both as f64) < cx.threshold(&RULE, "min-samples") {
        return None;
    }
    let n = active.count as u64;
    let of = |count: i64| wilson(count as f64, n);
    let score_of = |count: i64, name: &str| {
        map_exp100(of(count).low, cx.threshold(&RULE, &format!("{name}-info")), cx.threshold(&RULE, &format!("{name}-warning")))
    };
    let mut score = score_of(found.gc, "gc")
        .max(score_of(found.alloc, "alloc"))
        .max(score_of(found.both, "pressure"))
        .max(score_of(found.assist, "assist"))
        .max(score_of(found.boxing, "boxing"));
    if (active.count as f64) < cx.threshold(&RULE, "few-samples") || !active.counted {
        score = score.min(74.0);
    }
    let severity = Severity::of_score(score)?;
    let share = of(found.both);
    let mut owners: Vec<(FuncId, i64)> = found.owners.iter().map(|(f, n)| (*f, *n)).collect();
    owners.retain(|(_, n)| *n as f64 >= cx.threshold(&RULE, "min-samples") / 2.0);
    owners.sort_by_key(|(f, n)| (std::cmp::Reverse(*n), active.name(*f)));
    let selection = Selection { profile: active.id.index(), value: active.value, thread: None };
    let tree = cx.tree(selection);
    let view = |view| ViewRef { profile: Some(active.id.0), value: Some(active.value_name().to_string()), ..ViewRef::of(view) };
    let mut evidence = vec![Evidence {
        text: format!(
            "{} in collection, {} in allocation, of {} active samples",
            format_share(of(found.gc).p),
            format_share(of(found.alloc).p),
            active.count
        ),
        view: view(View::Flame),
    }];
    let charged: i64 = found.owners.values().sum();
    for (func, count) in owners.iter().take(5) {
        let path = heaviest_path(active.session, &tree, *func);
        evidence.push(Evidence {
            text: format!(
                "{} of the allocation samples with an owner ({count} of {charged}) are below {}",
                format_share(*count as f64 / charged.max(1) as f64),
                active.name(*func)
            ),
            view: ViewRef { path, function: Some(active.name(*func).to_string()), ..view(View::Flame) },
        });
    }
    if found.gc > 0 {
        evidence.extend(bytes_by_owner(cx, active).into_iter().take(3).map(|(name, part)| Evidence {
            text: format!(
                "estimated: {name} allocates {} of the bytes, so about {} of the time is collection on its behalf",
                format_share(part),
                format_share(part * of(found.gc).p)
            ),
            view: ViewRef { function: Some(name), ..view(View::Functions) },
        }));
    }
    for (count, what) in [(found.boxing, "boxing numbers"), (found.faults, "page faults while memory is allocated")] {
        if count > 0 {
            evidence.push(Evidence {
                text: format!("{} ({}) in {what}", format_share(of(count).p), counted(count as usize, "sample")),
                view: view(View::Flame),
            });
        }
    }
    let cover = Cover::Stacks(active.id, std::mem::take(&mut found.cover));
    let top = owners.first().filter(|(_, n)| *n as f64 >= cx.threshold(&RULE, "min-samples")).map(|(f, _)| active.name(*f));
    let half = (found.weight as f64 * share.low / share.p.max(f64::MIN_POSITIVE) / 2.0) as i64;
    let file = active.session.sources.get(active.profile.source.index()).map_or("", |s| s.file.as_str());
    Some(Finding {
        id: String::new(),
        rule: RULE.id,
        fingerprint: fingerprint(RULE.id, &[file, &active.profile.name]),
        severity,
        score: score.round() as u32,
        confidence: Confidence::Likely,
        tier: String::new(),
        title: match top {
            Some(name) => {
                format!("Allocation pressure: {} of the time allocates or collects, most of it for {name}", format_share(share.p))
            }
            None => format!("Allocation pressure: {} of the time allocates or collects", format_share(share.p)),
        },
        message: format!(
            "{} ({}) go to memory management: {} to garbage collection, {} to allocating and freeing{}.",
            format_value(found.weight as f64, active.unit()),
            format_share(share.p),
            format_share(of(found.gc).p),
            format_share(of(found.alloc).p),
            if found.assist > 0 {
                format!(", and for {} the program's own threads are made to help", format_share(of(found.assist).p))
            } else {
                String::new()
            }
        ),
        subject: Subject { kind: "recording", name: file.to_string(), ..Subject::default() },
        share: Some(ShareOf::new(share, active.value_name())),
        impact: Impact {
            amount: found.weight,
            unit: active.unit().to_string(),
            recoverable_low: half,
            recoverable_high: found.weight,
            model: "in proportion to what is allocated: from half of it, at the lower bound of the share, to none".to_string(),
        },
        evidence,
        occurrences: Occurrences { count: found.both as u64, ..Occurrences::default() },
        caveats: caveats(active, &found),
        remedies: remedies(active, top, of(found.gc).p),
        cover,
        ..Finding::default()
    })
}

fn caveats(active: &Active<'_>, found: &Pressure) -> Vec<String> {
    let mut out = vec!["Functions are told by their names; an allocator with names of its own is not seen.".to_string()];
    if found.gc > 0 {
        out.push("Collection has no owner in the stacks: who causes it is estimated from who allocates.".to_string());
    }
    if active.unknown > 0 {
        out.push(format!("{} of the leaves have no symbol.", format_share(active.unknown_share())));
    }
    out
}

fn remedies(active: &Active<'_>, top: Option<&str>, gc: f64) -> Vec<String> {
    let mut out = Vec::new();
    if let Some(name) = top {
        out.push(format!("Start with {name}: reuse buffers, reserve sizes, avoid temporary strings and boxing."));
    }
    if gc >= 0.25 && active.has_runtime("go") {
        out.push(
            "Collection is above Go's background budget of a quarter of the processors: the program's own goroutines pay for it."
                .to_string(),
        );
    } else if gc >= 0.25 {
        out.push(
            "Collection takes a quarter of the time or more: first see that the heap is not too small for what lives in it.".to_string(),
        );
    }
    let more = if active.has_runtime("go") {
        "See bytes and sizes with a heap profile (`go tool pprof -sample_index=alloc_space`); if memory is free, raise GOGC or set GOMEMLIMIT."
    } else if active.has_runtime("jvm") {
        "See bytes and sizes with async-profiler `-e alloc` or JFR; if memory is free, raise -Xmx or the young generation."
    } else if active.has_runtime("v8") || active.has_runtime("node") {
        "See bytes with `node --heap-prof`; if memory is free, raise --max-semi-space-size."
    } else {
        "See bytes and sizes with a heap profiler (heaptrack, jemalloc's); a faster allocator (jemalloc, mimalloc) treats the symptom."
    };
    out.push(more.to_string());
    out
}
