//! Allocation in hot code: places that take CPU time and allocate much as well, from a CPU profile and an allocation profile of
//! one program; without the latter, loops that spend much of their time on memory (PROFILES 2.4).

use super::active::{Active, cpu_profiles};
use super::allocation_sites::raw_samples;
use super::cost_rule::cover;
use super::cost_specs::{BOTH, PRESSURE, first_of};
use super::finding::{Confidence, Cover, Evidence, Finding, Impact, Occurrences, Rule, Severity, ShareOf, Subject, Threshold, fingerprint};
use super::{Context, Detector, Outcome, counted};
use crate::analysis::neighbours::heaviest_path;
use crate::analysis::weights::Selection;
use crate::base::ids::{FuncId, ProfileId, StackId};
use crate::base::quantity::{format_bytes, format_count, format_share};
use crate::base::stats::{Share, map_exp100, wilson};
use crate::base::view::{View, ViewRef};
use crate::model::profile::{Profile, ValueKind};
use std::collections::BTreeMap;

/// The rule.
pub struct AllocationInHotLoop;

/// Its documentation.
pub const RULE: Rule = Rule {
    id: "allocation-in-hot-loop",
    name: "Allocation in hot code",
    family: "allocation",
    summary: "One place takes much CPU time and allocates much as well.",
    remedies: &[
        "Move the allocation out of the loop: reuse a buffer, reserve the size, build once what does not change.",
        "What is saved is time twice: allocating, and collecting or freeing.",
    ],
    thresholds: &[
        Threshold { name: "cpu-info", default: 0.03, doc: "lower bound of the place's share of CPU time that scores 25; PROFILES 2.4" },
        Threshold { name: "cpu-warning", default: 0.10, doc: "the same, scores 75; PROFILES 2.4" },
        Threshold {
            name: "alloc-info",
            default: 0.05,
            doc: "lower bound of the place's share of allocated bytes that scores 25; PROFILES 2.4",
        },
        Threshold { name: "alloc-warning", default: 0.20, doc: "the same, scores 75; PROFILES 2.4" },
        Threshold {
            name: "memory-share",
            default: 0.20,
            doc: "without an allocation profile: share of a loop's own time in allocation and collection; PROFILES 2.4",
        },
        Threshold { name: "min-active-samples", default: 20.0, doc: "active samples below which nothing is claimed; PROFILES 4.2" },
        Threshold { name: "few-samples", default: 100.0, doc: "active samples below which findings stay at info; PROFILES 4.2" },
        Threshold {
            name: "min-samples",
            default: 10.0,
            doc: "samples of the place, in either profile, below which it is not reported; PROFILES 4.2",
        },
    ],
    doc: include_str!("../../docs/rules/allocation-in-hot-loop.md"),
};

/// A place: the nearest function that can be changed and its line; 0 where lines are unknown.
type Place<'a> = (&'a str, u32);

#[derive(Default)]
struct Hot {
    func: FuncId,
    count: i64,
    value: i64,
    /// Of the count, in allocation and collection.
    memory: i64,
    stacks: Vec<(i64, StackId)>,
}

#[derive(Default)]
struct Bytes {
    bytes: i64,
    objects: i64,
    raw: f64,
}

fn place<'a>(active: &Active<'a>, at: StackId, func: FuncId) -> Place<'a> {
    (active.name(func), active.session.symbols.frames.line[active.session.symbols.stacks.frame[at.index()].index()])
}

impl Detector for AllocationInHotLoop {
    fn rule(&self) -> &'static Rule {
        &RULE
    }

    fn detect(&self, cx: &Context<'_>) -> Outcome {
        let profiles = cpu_profiles(cx.session);
        if profiles.is_empty() {
            return Outcome::NotChecked("because no file holds samples of CPU or wall-clock time".to_string());
        }
        let heaps: Vec<(ProfileId, &Profile, usize)> = cx
            .profiles()
            .filter_map(|(id, p)| p.value_of_kind(ValueKind::AllocBytes).filter(|c| p.total(*c) > 0).map(|c| (id, p, c)))
            .collect();
        let (mut best, mut checked, mut samples) = (BTreeMap::<String, Finding>::new(), 0, 0);
        for (id, p) in profiles {
            let active = cx.active(id, p);
            if (active.count as f64) < cx.threshold(&RULE, "min-active-samples") {
                continue;
            }
            checked += 1;
            samples += active.count;
            let hot = hot_places(cx, &active);
            let mut found: Vec<Finding> = heaps.iter().flat_map(|heap| joined(cx, &active, &hot, *heap)).collect();
            if heaps.is_empty() {
                found = loops(cx, &active, &hot);
            }
            for f in found {
                if best.get(&f.fingerprint).is_none_or(|known| known.score < f.score) {
                    best.insert(f.fingerprint.clone(), f);
                }
            }
        }
        if checked == 0 {
            return Outcome::NotChecked("because the CPU profiles have too few samples that are not idle".to_string());
        }
        let mut findings: Vec<Finding> = best.into_values().collect();
        findings.sort_by(|a, b| b.score.cmp(&a.score).then_with(|| a.fingerprint.cmp(&b.fingerprint)));
        let with = if heaps.is_empty() { String::new() } else { format!(" and {}", counted(heaps.len(), "allocation profile")) };
        Outcome::Checked {
            findings,
            over: format!("{} active samples in {}{with}", format_count(samples as f64), counted(checked, "CPU profile")),
        }
    }
}

fn hot_places<'a>(cx: &Context<'_>, active: &Active<'a>) -> BTreeMap<Place<'a>, Hot> {
    let costs = cx.costs(active);
    let memory = 1_u64 << (first_of(PRESSURE) + BOTH);
    let mut out: BTreeMap<Place<'a>, Hot> = BTreeMap::new();
    for (a, hits) in active.stacks.iter().zip(&costs.hits) {
        let Some(owner) = active.owner(a.stack) else { continue };
        let hot = out.entry(place(active, owner.at, owner.func)).or_default();
        hot.func = owner.func;
        hot.count += a.count;
        hot.value = hot.value.saturating_add(a.value);
        hot.memory += if hits & memory != 0 { a.count } else { 0 };
        hot.stacks.push((a.count, a.stack));
    }
    out
}

fn joined(
    cx: &Context<'_>,
    active: &Active<'_>,
    hot: &BTreeMap<Place<'_>, Hot>,
    (id, p, column): (ProfileId, &Profile, usize),
) -> Vec<Finding> {
    let limit = |name: &str| cx.threshold(&RULE, name);
    let heap = Active::weighted(cx.session, id, p, column);
    let objects = p.value_of_kind(ValueKind::AllocObjects);
    let (mut places, mut raw) = (BTreeMap::<Place<'_>, Bytes>::new(), 0.0);
    for (i, stack) in p.samples.stack.iter().enumerate() {
        let (bytes, count) = (p.samples.values[column][i], objects.map_or(0, |c| p.samples.values[c][i]));
        let one = raw_samples(cx.session, p, i, bytes, count);
        raw += one;
        if let Some(owner) = stack.get().and_then(|stack| heap.owner(stack)) {
            let sum = places.entry(place(&heap, owner.at, owner.func)).or_default();
            sum.bytes = sum.bytes.saturating_add(bytes);
            sum.objects = sum.objects.saturating_add(count);
            sum.raw += one;
        }
    }
    let whole = p.total(column).max(1) as f64;
    let n = raw.round().max(1.0) as u64;
    let mut out = Vec::new();
    for (at, bytes) in &places {
        let Some(h) = hot.get(at) else { continue };
        if (h.count as f64) < limit("min-samples") || bytes.raw.round() < limit("min-samples") {
            continue;
        }
        let cpu = wilson(h.count as f64, active.count.max(0) as u64);
        let alloc = wilson(bytes.bytes as f64 / whole * n as f64, n);
        let score = map_exp100(cpu.low, limit("cpu-info"), limit("cpu-warning")).min(map_exp100(
            alloc.low,
            limit("alloc-info"),
            limit("alloc-warning"),
        ));
        let mean = if bytes.objects > 0 {
            format!(", {} each on average", format_bytes(bytes.bytes as f64 / bytes.objects as f64))
        } else {
            String::new()
        };
        let line = if at.1 > 0 { format!(":{}", at.1) } else { String::new() };
        let claim = Claim {
            title: format!(
                "Allocation in hot code: {}{line} takes {} of the time and allocates {} of the bytes",
                at.0,
                format_share(cpu.p),
                format_share(alloc.p)
            ),
            message: format!(
                "{}{line} takes {} of the CPU time ({} samples) and allocates {} ({} of all bytes{mean}): what it allocates there is a large part of what it costs.",
                at.0,
                format_share(cpu.p),
                h.count,
                format_bytes(bytes.bytes as f64),
                format_share(alloc.p)
            ),
            more: Some(Evidence {
                text: format!(
                    "{} ({} raw samples) in the allocation profile",
                    format_bytes(bytes.bytes as f64),
                    format_count(bytes.raw.round())
                ),
                view: ViewRef {
                    profile: Some(id.0),
                    value: Some(p.value_types[column].name.clone()),
                    path: heaviest_path(
                        cx.session,
                        &cx.tree(Selection { profile: id.index(), value: column, thread: None }),
                        heap_func(&heap, at.0),
                    ),
                    function: Some(at.0.to_string()),
                    ..ViewRef::of(View::Flame)
                },
            }),
            confidence: Confidence::Confirmed,
            caveats: vec!["Both profiles must be of the same program and work.".to_string()],
            cpu,
            score,
        };
        out.extend(describe(cx, active, at, h, claim));
    }
    out
}

/// The function of a name among those that own allocations.
fn heap_func(heap: &Active<'_>, name: &str) -> FuncId {
    heap.stacks.iter().filter_map(|a| heap.owner(a.stack)).map(|o| o.func).find(|f| heap.name(*f) == name).unwrap_or(FuncId::NONE)
}

/// Loops that spend much of their time on memory: names of the loops come from the rule on hot loops.
fn loops(cx: &Context<'_>, active: &Active<'_>, hot: &BTreeMap<Place<'_>, Hot>) -> Vec<Finding> {
    let limit = |name: &str| cx.threshold(&RULE, name);
    // A loop spans lines: what its function holds is taken together.
    let mut by_func: BTreeMap<&str, Hot> = BTreeMap::new();
    for ((name, _), h) in hot {
        let sum = by_func.entry(name).or_default();
        sum.func = h.func;
        sum.count += h.count;
        sum.value = sum.value.saturating_add(h.value);
        sum.memory += h.memory;
        sum.stacks.extend(&h.stacks);
    }
    let looped = super::hot_loop::looped(cx, active);
    let mut out = Vec::new();
    for (name, h) in by_func.iter().filter(|(_, h)| looped.contains(&h.func)) {
        let part = h.memory as f64 / h.count.max(1) as f64;
        if part < limit("memory-share") || (h.memory as f64) < limit("min-samples") {
            continue;
        }
        let cpu = wilson(h.count as f64, active.count.max(0) as u64);
        let claim = Claim {
            title: format!("Allocation in a hot loop: {name} spends {} of its {} on memory", format_share(part), format_share(cpu.p)),
            message: format!(
                "{name} takes {} of the CPU time in a loop, and {} of that ({} of {} samples) goes to allocating and collecting.",
                format_share(cpu.p),
                format_share(part),
                h.memory,
                h.count
            ),
            more: None,
            confidence: Confidence::Likely,
            caveats: vec!["Bytes and sizes are seen with an allocation profile of the same run.".to_string()],
            cpu,
            score: map_exp100(cpu.low, limit("cpu-info"), limit("cpu-warning")).min(74.0),
        };
        out.extend(describe(cx, active, &(name, 0), h, claim));
    }
    out
}

struct Claim {
    title: String,
    message: String,
    more: Option<Evidence>,
    confidence: Confidence,
    caveats: Vec<String>,
    cpu: Share,
    score: f64,
}

fn describe(cx: &Context<'_>, active: &Active<'_>, at: &Place<'_>, h: &Hot, c: Claim) -> Option<Finding> {
    let few = (active.count as f64) < cx.threshold(&RULE, "few-samples") || !active.counted;
    let score = if few { c.score.min(74.0) } else { c.score };
    let severity = Severity::of_score(score)?;
    let s = &active.session.symbols;
    let tree = cx.tree(Selection { profile: active.id.index(), value: active.value, thread: None });
    let path = heaviest_path(active.session, &tree, h.func);
    let mut evidence = vec![Evidence {
        text: format!(
            "{} samples of CPU time, {} of them in allocation and collection",
            h.count,
            format_share(h.memory as f64 / h.count.max(1) as f64)
        ),
        view: ViewRef {
            profile: Some(active.id.0),
            value: Some(active.value_name().to_string()),
            path: path.clone(),
            function: Some(at.0.to_string()),
            ..ViewRef::of(View::Flame)
        },
    }];
    evidence.extend(c.more);
    let memory = h.memory as f64 / h.count.max(1) as f64;
    Some(Finding {
        rule: RULE.id,
        fingerprint: fingerprint(RULE.id, &[at.0, &at.1.to_string()]),
        severity,
        score: score as u32,
        confidence: c.confidence,
        title: c.title,
        message: c.message,
        subject: Subject {
            kind: "function",
            name: at.0.to_string(),
            service: s.module(&active.session.strings, h.func).to_string(),
            path,
            file: active.session.strings.get(s.funcs.file[h.func.index()]).to_string(),
            line: at.1,
        },
        share: Some(ShareOf::new(c.cpu, active.value_name())),
        impact: Impact {
            amount: h.value,
            unit: active.unit().to_string(),
            recoverable_low: (h.value as f64 * memory * c.cpu.low / c.cpu.p.max(f64::MIN_POSITIVE)) as i64,
            recoverable_high: h.value,
            model: "from the samples in allocation and collection, at the lower bound of the share, to all of the place's time".to_string(),
        },
        evidence,
        occurrences: Occurrences { count: h.count.max(0) as u64, ..Occurrences::default() },
        caveats: c.caveats,
        remedies: RULE.remedies.iter().map(|r| (*r).to_string()).collect(),
        cover: Cover::Stacks(active.id, cover(h.stacks.clone())),
        ..Finding::default()
    })
}
