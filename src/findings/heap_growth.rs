//! Growth of the heap between snapshots: who holds certainly more than before (PROFILES 2.3).

use super::active::Active;
use super::allocation_sites::{Site, raw_samples};
use super::cost_rule::cover;
use super::finding::{Confidence, Cover, Evidence, Finding, Impact, Occurrences, Rule, Severity, ShareOf, Subject, Threshold, fingerprint};
use super::{Context, Detector, Outcome, counted};
use crate::analysis::neighbours::heaviest_path;
use crate::analysis::weights::Selection;
use crate::base::ids::{FuncId, ProfileId, StackId};
use crate::base::quantity::{format_bytes, format_count, format_ns};
use crate::base::stats::{map_exp100, wilson};
use crate::base::view::{View, ViewRef};
use crate::model::Session;
use crate::model::profile::{Profile, ValueKind};
use std::collections::BTreeMap;

/// The rule.
pub struct HeapGrowth;

/// Its documentation.
pub const RULE: Rule = Rule {
    id: "heap-growth",
    name: "Growing heap",
    family: "allocation",
    summary: "Between two snapshots of the heap one function holds certainly more memory than before.",
    remedies: &[
        "See who keeps what the function allocates: caches without bound, lists that only grow, listeners that are never removed.",
        "Take a third snapshot later: what is still growing then is a leak, what has stopped was a cache that filled.",
    ],
    thresholds: &[
        Threshold {
            name: "rate-info",
            default: 0.0021,
            doc: "growth per second over the live bytes of the first snapshot that scores 25; JDK Mission Control IncreasingLiveSet",
        },
        Threshold { name: "rate-warning", default: 0.01, doc: "the same, scores 75; JDK Mission Control IncreasingLiveSet" },
        Threshold {
            name: "growth-info",
            default: 0.05,
            doc: "growth over the live bytes of the first snapshot that scores 25 where no time is known; own",
        },
        Threshold { name: "growth-warning", default: 0.5, doc: "the same, would score 75; own" },
        Threshold {
            name: "min-share",
            default: 0.05,
            doc: "growth below this share of the first snapshot is not reported unless it reaches min-bytes; PROFILES 2.3",
        },
        Threshold { name: "min-bytes", default: 1_048_576.0, doc: "growth in bytes that is reported whatever its share; PROFILES 2.3" },
        Threshold {
            name: "min-raw",
            default: 10.0,
            doc: "raw samples of the function in the last snapshot below which nothing is claimed; PROFILES 2.3",
        },
        Threshold {
            name: "min-z",
            default: 3.0,
            doc: "standard deviations (Poisson, on raw samples) from which growth is certain; PROFILES 2.3",
        },
        Threshold {
            name: "possible-z",
            default: 2.0,
            doc: "the same from which growth is told as possible, if the whole heap grew by a quarter through it; own",
        },
        Threshold {
            name: "monotone-share",
            default: 0.8,
            doc: "of three and more snapshots the share of steps that must not shrink; PROFILES 2.3",
        },
    ],
    doc: include_str!("../../docs/rules/heap-growth.md"),
};

/// Growth of the whole heap from which weak evidence is told.
const LARGE: f64 = 0.25;

/// One heap as of one moment.
struct Snapshot<'a> {
    time_ns: i64,
    sites: BTreeMap<&'a str, Held>,
    bytes: i64,
    /// Of the open session; `None` for a baseline.
    id: Option<ProfileId>,
    column: usize,
}

#[derive(Default)]
struct Held {
    site: Site,
    func: FuncId,
    stacks: Vec<(i64, StackId)>,
}

/// Heap profiles of a session by what they measure: format and name of the live column.
fn heaps(session: &Session) -> Vec<(ProfileId, &Profile, usize)> {
    let all = session.profiles.iter().enumerate();
    all.filter_map(|(i, p)| p.value_of_kind(ValueKind::InUseBytes).filter(|c| p.total(*c) > 0).map(|c| (ProfileId::from_index(i), p, c)))
        .collect()
}

fn snapshot<'a>(session: &'a Session, id: ProfileId, p: &'a Profile, column: usize, own: bool) -> Snapshot<'a> {
    let active = Active::weighted(session, id, p, column);
    let objects = p.value_of_kind(ValueKind::InUseObjects);
    let mut sites: BTreeMap<&'a str, Held> = BTreeMap::new();
    for (i, stack) in p.samples.stack.iter().enumerate() {
        let (Some(stack), bytes) = (stack.get(), p.samples.values[column][i]) else { continue };
        if bytes == 0 {
            continue;
        }
        let count = objects.map_or(0, |c| p.samples.values[c][i]);
        let func = active.owner(stack).map_or_else(|| active.func(stack), |o| o.func);
        let held = sites.entry(session.symbols.func_name(&session.strings, func)).or_default();
        held.func = func;
        held.site.add(&Site { bytes, objects: count, raw: raw_samples(session, p, i, bytes, count), ..Site::default() });
        held.stacks.push((bytes, stack));
    }
    Snapshot { time_ns: p.start_ns, sites, bytes: p.total(column), id: own.then_some(id), column }
}

impl Detector for HeapGrowth {
    fn rule(&self) -> &'static Rule {
        &RULE
    }

    fn detect(&self, cx: &Context<'_>) -> Outcome {
        let own = heaps(cx.session);
        if own.is_empty() {
            return Outcome::NotChecked("because no file holds a heap profile with live bytes".to_string());
        }
        let base = cx.baseline.map(heaps).unwrap_or_default();
        // Snapshots of one kind belong together: by format and by the name of the live column.
        let kind = |p: &Profile, column: usize| (p.format, p.value_types[column].name.clone());
        let mut series: BTreeMap<(&str, String), Vec<Snapshot<'_>>> = BTreeMap::new();
        for (id, p, c) in own {
            series.entry(kind(p, c)).or_default().push(snapshot(cx.session, id, p, c, true));
        }
        if let Some(session) = cx.baseline {
            for (id, p, c) in base {
                if let Some(list) = series.get_mut(&kind(p, c)) {
                    list.insert(0, snapshot(session, id, p, c, false));
                }
            }
        }
        let (mut findings, mut checked, mut untimed) = (Vec::new(), 0, false);
        for list in series.values_mut().filter(|l| l.len() > 1) {
            let timed = list.iter().all(|s| s.time_ns > 0);
            if timed {
                list.sort_by_key(|s| s.time_ns);
            } else if list.iter().filter(|s| s.id.is_some()).count() > 1 {
                // Without times only baseline and candidate have an order.
                untimed = true;
                continue;
            }
            checked += list.len();
            findings.extend(growth(cx, list, timed));
        }
        if checked == 0 {
            let why = if untimed {
                "because the heap profiles do not say when they were taken"
            } else {
                "because growth needs two heap profiles: open a later one as well, or a baseline"
            };
            return Outcome::NotChecked(why.to_string());
        }
        findings.sort_by(|a: &Finding, b| b.score.cmp(&a.score).then_with(|| a.fingerprint.cmp(&b.fingerprint)));
        Outcome::Checked { findings, over: counted(checked, "heap profile") }
    }
}

fn growth(cx: &Context<'_>, list: &[Snapshot<'_>], timed: bool) -> Vec<Finding> {
    let limit = |name: &str| cx.threshold(&RULE, name);
    let (Some(first), Some(last)) = (list.first(), list.last()) else { return Vec::new() };
    let Some(id) = last.id else { return Vec::new() };
    let mut out = Vec::new();
    for (name, held) in &last.sites {
        let of = |s: &Snapshot<'_>| s.sites.get(name).map_or((0, 0.0), |h| (h.site.bytes, h.site.raw));
        let (before, raw_before) = of(first);
        let (now, raw) = (held.site.bytes, held.site.raw);
        let delta = now - before;
        let z = (raw - raw_before) / (raw + raw_before).max(1.0).sqrt();
        let part = delta as f64 / first.bytes.max(1) as f64;
        // Ten samples recovered from rounded bytes may come out as 9.99.
        if delta <= 0 || raw.round() < limit("min-raw") || (part < limit("min-share") && (delta as f64) < limit("min-bytes")) {
            continue;
        }
        let certain = z >= limit("min-z");
        if !certain && (z < limit("possible-z") || part < LARGE) {
            continue;
        }
        let points: Vec<(f64, i64)> = list.iter().map(|s| ((s.time_ns - first.time_ns) as f64 / 1e9, of(s).0)).collect();
        let steps = points.windows(2).filter(|w| w[1].1 >= w[0].1).count();
        if (steps as f64) < limit("monotone-share") * (points.len() - 1) as f64 {
            continue;
        }
        let rate = if timed { slope(&points) } else { None };
        let mut score = match rate {
            Some(rate) => map_exp100(rate / first.bytes.max(1) as f64, limit("rate-info"), limit("rate-warning")),
            None => map_exp100(part, limit("growth-info"), limit("growth-warning")).min(74.0),
        };
        if points.len() < 3 || !certain {
            score = score.min(74.0);
        }
        if let Some(severity) = Severity::of_score(score) {
            let claim = Claim { name, held, before, raw_before, z, certain, rate, points: &points, severity, score, first };
            out.push(describe(cx, id, last, &claim));
        }
    }
    out
}

/// Bytes per second by least squares; `None` if all snapshots are of one moment.
fn slope(points: &[(f64, i64)]) -> Option<f64> {
    let n = points.len() as f64;
    let (mx, my) = (points.iter().map(|p| p.0).sum::<f64>() / n, points.iter().map(|p| p.1 as f64).sum::<f64>() / n);
    let sxx: f64 = points.iter().map(|p| (p.0 - mx).powi(2)).sum();
    let sxy: f64 = points.iter().map(|p| (p.0 - mx) * (p.1 as f64 - my)).sum();
    (sxx > 0.0).then(|| sxy / sxx)
}

struct Claim<'a> {
    name: &'a str,
    held: &'a Held,
    before: i64,
    raw_before: f64,
    z: f64,
    certain: bool,
    rate: Option<f64>,
    points: &'a [(f64, i64)],
    severity: Severity,
    score: f64,
    first: &'a Snapshot<'a>,
}

fn describe(cx: &Context<'_>, id: ProfileId, last: &Snapshot<'_>, c: &Claim<'_>) -> Finding {
    let (name, delta) = (c.name, c.held.site.bytes - c.before);
    let s = &cx.session.symbols;
    let p = &cx.session.profiles[id.index()];
    let value = p.value_types[last.column].name.clone();
    let tree = cx.tree(Selection { profile: id.index(), value: last.column, thread: None });
    let path = heaviest_path(cx.session, &tree, c.held.func);
    let bytes = |b: i64| format_bytes(b as f64);
    let rate = c.rate.map_or(String::new(), |r| format!(", {} per second", format_bytes(r)));
    let apart = c.points.last().map_or(0.0, |p| p.0);
    let over = if c.rate.is_some() { format!(" in {}", format_ns(apart * 1e9)) } else { String::new() };
    let growth = last.bytes - c.first.bytes;
    let n = (c.held.site.raw + c.raw_before).round().max(1.0) as u64;
    let mut evidence = vec![
        Evidence {
            text: format!("{} live in the last snapshot, {} in the first", bytes(c.held.site.bytes), bytes(c.before)),
            view: ViewRef {
                profile: Some(id.0),
                value: Some(value.clone()),
                path: path.clone(),
                function: Some(name.to_string()),
                ..ViewRef::of(View::Flame)
            },
        },
        Evidence {
            text: format!(
                "{} raw samples after {}: {:.1} standard deviations",
                format_count(c.held.site.raw.round()),
                format_count(c.raw_before.round()),
                c.z
            ),
            view: ViewRef {
                profile: Some(id.0),
                value: Some(value.clone()),
                function: Some(name.to_string()),
                ..ViewRef::of(View::Functions)
            },
        },
    ];
    if let Some(first) = c.first.id {
        evidence.push(Evidence {
            text: format!(
                "the first snapshot holds {} in all, the last {} ({}{})",
                bytes(c.first.bytes),
                bytes(last.bytes),
                if growth < 0 { "−" } else { "+" },
                bytes(growth.abs())
            ),
            view: ViewRef { profile: Some(first.0), value: Some(value.clone()), ..ViewRef::of(View::Functions) },
        });
    }
    let mut caveats = vec!["A cache that fills grows as a leak does, until it is full.".to_string()];
    if c.points.len() < 3 {
        caveats.push("Two snapshots show a difference; whether it goes on is seen with a third.".to_string());
    }
    if !c.certain {
        caveats.push(format!(
            "The evidence is weak: with so few samples such a difference comes by chance in about one of {} functions.",
            if c.z >= 2.5 { 80 } else { 20 }
        ));
    }
    caveats.push("The function that allocates is not always the one that keeps the memory.".to_string());
    Finding {
        rule: RULE.id,
        fingerprint: fingerprint(RULE.id, &[name, &value]),
        severity: c.severity,
        score: c.score as u32,
        confidence: if c.certain { Confidence::Likely } else { Confidence::Possible },
        title: format!("Growing heap: {name} holds {} more{rate}", bytes(delta)),
        message: format!("{name} held {} and holds {}{over}: {} more{rate}.", bytes(c.before), bytes(c.held.site.bytes), bytes(delta)),
        subject: Subject {
            kind: "function",
            name: name.to_string(),
            service: s.module(&cx.session.strings, c.held.func).to_string(),
            path,
            file: cx.session.strings.get(s.funcs.file[c.held.func.index()]).to_string(),
            line: 0,
        },
        share: Some(ShareOf::new(wilson(c.held.site.raw, n), "raw samples of both snapshots")),
        impact: Impact {
            amount: delta,
            unit: "bytes".to_string(),
            recoverable_low: 0,
            recoverable_high: delta,
            model: "from nothing, if it is a cache that has filled, to all that was added".to_string(),
        },
        evidence,
        occurrences: Occurrences { count: (c.held.site.objects).max(0) as u64, ..Occurrences::default() },
        caveats,
        remedies: RULE.remedies.iter().map(|r| (*r).to_string()).collect(),
        cover: Cover::Stacks(id, cover(c.held.stacks.clone())),
        ..Finding::default()
    }
}
