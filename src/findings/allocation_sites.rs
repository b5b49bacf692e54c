//! Allocation sites: who allocates most bytes, and in which sizes, from heap profiles.

use super::active::Active;
use super::cost_rule::cover;
use super::finding::{Confidence, Cover, Evidence, Finding, Impact, Occurrences, Rule, Severity, ShareOf, Subject, Threshold, fingerprint};
use super::{Context, Detector, Outcome, counted};
use crate::analysis::call_tree::CallTree;
use crate::analysis::neighbours::heaviest_path;
use crate::analysis::weights::Selection;
use crate::base::ids::{FuncId, ProfileId, StackId};
use crate::base::quantity::{format_bytes, format_count, format_share, format_value};
use crate::base::stats::{map_exp100, wilson};
use crate::base::view::{View, ViewRef};
use crate::model::Session;
use crate::model::profile::{Profile, ValueKind};
use std::collections::BTreeMap;

/// The rule.
pub struct AllocationSites;

/// Its documentation.
pub const RULE: Rule = Rule {
    id: "allocation-sites",
    name: "Allocation site",
    family: "allocation",
    summary: "One function allocates a large share of all bytes, or most of the objects in tiny pieces.",
    remedies: &[
        "Allocate less often: reuse buffers, reserve the final size, build strings in one buffer.",
        "Allocate less: smaller types, values instead of pointers, slices of one array instead of many objects.",
    ],
    thresholds: &[
        Threshold { name: "info-share", default: 0.10, doc: "lower bound of the share of bytes that scores 25 (info); PROFILES 2.2" },
        Threshold { name: "warning-share", default: 0.30, doc: "share of bytes that scores 75 (warning); PROFILES 2.2" },
        Threshold { name: "min-raw", default: 10.0, doc: "raw samples of a site below which it is not reported; PROFILES 2.2" },
        Threshold { name: "warning-raw", default: 30.0, doc: "raw samples of a site below which it stays at info; PROFILES 2.2" },
        Threshold { name: "tiny-bytes", default: 64.0, doc: "mean size up to which objects are tiny; PROFILES 2.2" },
        Threshold {
            name: "tiny-objects-share",
            default: 0.30,
            doc: "share of objects from which a site of tiny objects is reported; PROFILES 2.2",
        },
        Threshold {
            name: "churn-info",
            default: 10.0,
            doc: "bytes allocated per second, over bytes live, that score 25; JDK Mission Control GcFreedRatio",
        },
        Threshold { name: "churn-warning", default: 50.0, doc: "the same, scores 75; PROFILES 2.2" },
        Threshold {
            name: "large-bytes",
            default: 32768.0,
            doc: "mean size from which buffers are large (Go's large-object limit); PROFILES 2.2",
        },
    ],
    doc: include_str!("../../docs/rules/allocation-sites.md"),
};

/// What one function allocates.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Site {
    /// Bytes.
    pub bytes: i64,
    /// Objects.
    pub objects: i64,
    /// Of the bytes, still live.
    pub live: i64,
    /// Samples that the profiler took, recovered from its scaling.
    pub raw: f64,
}

/// Columns of a heap profile.
struct Columns {
    bytes: usize,
    objects: Option<usize>,
    /// Live bytes, where the profile has both.
    live: Option<usize>,
    /// Bytes allocated since start or in the window; else bytes live.
    allocated: bool,
}

fn columns(p: &Profile) -> Option<Columns> {
    if let Some(bytes) = p.value_of_kind(ValueKind::AllocBytes) {
        let (objects, live) = (p.value_of_kind(ValueKind::AllocObjects), p.value_of_kind(ValueKind::InUseBytes));
        // Go writes alloc_* into live profiles too; where all of it is zero only the live columns say something.
        if p.total(bytes) > 0 {
            return Some(Columns { bytes, objects, live, allocated: true });
        }
    }
    let bytes = p.value_of_kind(ValueKind::InUseBytes)?;
    Some(Columns { bytes, objects: p.value_of_kind(ValueKind::InUseObjects), live: None, allocated: false })
}

impl Detector for AllocationSites {
    fn rule(&self) -> &'static Rule {
        &RULE
    }

    fn detect(&self, cx: &Context<'_>) -> Outcome {
        let (mut findings, mut checked, mut raw, mut empty) = (Vec::new(), 0, 0.0, 0);
        for (id, p) in cx.profiles() {
            let Some(columns) = columns(p) else { continue };
            if p.total(columns.bytes) <= 0 {
                empty += 1;
                continue;
            }
            checked += 1;
            let mut own = Vec::new();
            raw += of_profile(cx, id, p, &columns, &mut own);
            let file = cx.session.sources.get(p.source.index()).map_or("", |s| s.file.as_str());
            findings.extend(own.into_iter().map(|f| (f, file)));
        }
        match (checked, empty) {
            (0, 0) => return Outcome::NotChecked("because no file holds a heap or allocation profile".to_string()),
            (0, _) => return Outcome::NotChecked("because the heap profiles hold no bytes".to_string()),
            _ => {}
        }
        let mut findings = once(findings);
        findings.sort_by(|a, b| b.score.cmp(&a.score).then_with(|| a.fingerprint.cmp(&b.fingerprint)));
        Outcome::Checked { findings, over: format!("{} raw samples in {}", format_count(raw.round()), counted(checked, "heap profile")) }
    }
}

/// A site that several profiles show is told once, as the profile with most of its bytes has it; the others are evidence.
fn once(found: Vec<(Finding, &str)>) -> Vec<Finding> {
    let mut groups: BTreeMap<String, Vec<(Finding, &str)>> = BTreeMap::new();
    for (finding, file) in found {
        groups.entry(finding.fingerprint.clone()).or_default().push((finding, file));
    }
    let one = |mut group: Vec<(Finding, &str)>| -> Option<Finding> {
        group.sort_by_key(|(f, _)| std::cmp::Reverse(f.impact.amount));
        let mut rest = group.into_iter();
        let (mut first, file) = rest.next()?;
        for (at, (other, other_file)) in rest.enumerate() {
            if at == 0 {
                first.caveats.push(format!("Its numbers are those of {file}; other heap profiles show it too."));
            }
            let share = other.share.as_ref().map_or(String::new(), |s| format!(" ({})", format_share(s.p)));
            let view = other.evidence.first().map(|e| e.view.clone());
            first.evidence.extend(view.map(|view| Evidence {
                text: format!("In {other_file}: {}{share}", format_value(other.impact.amount as f64, &other.impact.unit)),
                view,
            }));
        }
        Some(first)
    };
    groups.into_values().filter_map(one).collect()
}

/// Adds the findings of a profile and returns its raw samples.
fn of_profile(cx: &Context<'_>, id: ProfileId, p: &Profile, columns: &Columns, findings: &mut Vec<Finding>) -> f64 {
    let active = Active::weighted(cx.session, id, p, columns.bytes);
    let mut sites: BTreeMap<FuncId, Site> = BTreeMap::new();
    let mut stacks: BTreeMap<FuncId, Vec<(i64, StackId)>> = BTreeMap::new();
    let mut all = Site::default();
    for (i, stack) in p.samples.stack.iter().enumerate() {
        let value = |column: Option<usize>| column.map_or(0, |c| p.samples.values[c][i]);
        let one = Site {
            bytes: value(Some(columns.bytes)),
            objects: value(columns.objects),
            live: value(columns.live),
            raw: raw_samples(cx.session, p, i, value(Some(columns.bytes)), value(columns.objects)),
        };
        all.add(&one);
        // Where everything is library code the leaf is the site.
        let Some(stack) = stack.get() else { continue };
        let func = active.owner(stack).map_or_else(|| active.func(stack), |o| o.func);
        sites.entry(func).or_default().add(&one);
        stacks.entry(func).or_default().push((one.bytes, stack));
    }
    let selection = Selection { profile: id.index(), value: columns.bytes, thread: None };
    let tree = cx.tree(selection);
    for (func, site) in &sites {
        let mut found = describe(cx, &active, &tree, columns, *func, site, &all);
        if let Some(f) = &mut found {
            f.cover = Cover::Stacks(id, cover(stacks.remove(func).unwrap_or_default()));
        }
        findings.extend(found);
    }
    findings.extend(churn(cx, &active, columns, &all));
    all.raw
}

impl Site {
    pub(super) fn add(&mut self, other: &Site) {
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.objects = self.objects.saturating_add(other.objects);
        self.live = self.live.saturating_add(other.live);
        self.raw += other.raw;
    }
    fn mean(&self) -> f64 {
        if self.objects > 0 { self.bytes as f64 / self.objects as f64 } else { 0.0 }
    }
}

/// How many samples the profiler took for a row: it scaled each up by 1 / (1 − e^(−size / rate)) (PROFILES 2.2). A row that
/// counts samples says it.
pub(super) fn raw_samples(session: &Session, p: &Profile, sample: usize, bytes: i64, objects: i64) -> f64 {
    if let Some(column) = p.value_of_kind(ValueKind::Samples) {
        return p.samples.values[column].get(sample).map_or(0.0, |n| *n as f64);
    }
    let labels = p.samples.labels.get(sample).map_or(&[][..], |set| p.labels.set(*set));
    let label = labels.iter().find(|l| l.text.is_none() && session.strings.get(l.key) == "bytes").map(|l| l.number);
    let size = match label {
        Some(size) if size > 0 => size as f64,
        _ if objects > 0 => bytes as f64 / objects as f64,
        _ => return 0.0,
    };
    let count = bytes as f64 / size;
    let sampled = p.period > 1 && p.period_unit == "bytes";
    count * if sampled { 1.0 - (-size / p.period as f64).exp() } else { 1.0 }
}

fn describe(
    cx: &Context<'_>,
    active: &Active<'_>,
    tree: &CallTree,
    columns: &Columns,
    func: FuncId,
    site: &Site,
    all: &Site,
) -> Option<Finding> {
    let limit = |name: &str| cx.threshold(&RULE, name);
    if site.raw < limit("min-raw") || site.bytes <= 0 {
        return None;
    }
    let n = all.raw.round().max(1.0) as u64;
    let p = site.bytes as f64 / all.bytes.max(1) as f64;
    let share = wilson(p * n as f64, n);
    let mut score = map_exp100(share.low, limit("info-share"), limit("warning-share"));
    let objects_share = site.objects as f64 / all.objects.max(1) as f64;
    let mean = site.mean();
    let tiny = mean > 0.0 && mean <= limit("tiny-bytes") && objects_share >= limit("tiny-objects-share");
    if tiny {
        score = score.max(25.0);
    }
    if site.raw < limit("warning-raw") || !columns.allocated {
        score = score.min(74.0);
    }
    let severity = Severity::of_score(score)?;
    let large = mean >= limit("large-bytes");
    let grown = columns.allocated && !large && mean >= 1024.0 && site.objects >= 10_000;
    let name = active.name(func);
    let verb = if columns.allocated { "allocates" } else { "holds" };
    let of = if columns.allocated { "allocated bytes" } else { "live bytes" };
    let title = if tiny && share.low < limit("info-share") {
        format!("Many tiny objects: {name} {verb} {} of all objects, {} each", format_share(objects_share), size(mean))
    } else {
        format!("Allocation site: {name} {verb} {} of all bytes", format_share(p))
    };
    let s = &active.session.symbols;
    let path = heaviest_path(active.session, tree, func);
    let view = |view| ViewRef {
        profile: Some(active.id.0),
        value: Some(active.profile.value_types[columns.bytes].name.clone()),
        ..ViewRef::of(view)
    };
    // Recorders of a sample's bytes alone do not know how many objects they stand for.
    let (objects, among) = match columns.objects {
        Some(_) => {
            let (count, mean) = (format_count(site.objects as f64), size(mean));
            (
                format!("{count} objects ({}), {mean} on average; ", format_share(objects_share)),
                format!(" in {count} objects of {mean} on average"),
            )
        }
        None => (String::new(), String::new()),
    };
    let mut evidence = vec![
        Evidence {
            text: format!("{} ({}) of {of} on its heaviest path in the flame graph", format_bytes(site.bytes as f64), format_share(p)),
            view: ViewRef { path: path.clone(), ..view(View::Flame) },
        },
        Evidence {
            text: format!("{objects}{} raw samples, so ±{}", format_count(site.raw.round()), format_share(1.0 / site.raw.sqrt())),
            view: ViewRef { function: Some(name.to_string()), ..view(View::Functions) },
        },
    ];
    if let Some(live) = columns.live.filter(|c| active.profile.total(*c) > 0) {
        evidence.push(Evidence {
            text: format!(
                "{} of it were live when the profile was taken: {} was garbage already",
                format_bytes(site.live as f64),
                format_share(garbage(site))
            ),
            view: ViewRef {
                function: Some(name.to_string()),
                value: Some(active.profile.value_types[live].name.clone()),
                ..view(View::Functions)
            },
        });
    }
    let half = (site.bytes as f64 * share.low / p.max(f64::MIN_POSITIVE) / 2.0) as i64;
    Some(Finding {
        id: String::new(),
        rule: RULE.id,
        fingerprint: fingerprint(RULE.id, &[name, of]),
        severity,
        score: score.round() as u32,
        confidence: if site.raw >= limit("warning-raw") { Confidence::Confirmed } else { Confidence::Likely },
        tier: String::new(),
        title,
        message: format!(
            "{name} {verb} {} ({} of {of}){among}{}.",
            format_bytes(site.bytes as f64),
            format_share(p),
            shape_text(tiny, large, grown, columns.live.is_some() && garbage(site) >= 0.9)
        ),
        subject: Subject {
            kind: "function",
            name: name.to_string(),
            service: s.module(&active.session.strings, func).to_string(),
            path,
            file: active.session.strings.get(s.funcs.file[func.index()]).to_string(),
            line: 0,
        },
        share: Some(ShareOf::new(share, &active.profile.value_types[columns.bytes].name)),
        impact: Impact {
            amount: site.bytes,
            unit: "bytes".to_string(),
            recoverable_low: half,
            recoverable_high: site.bytes,
            model: format!(
                "from half of the site's bytes, at the lower bound of its share, to all of them ({of}; time is not in this profile)"
            ),
        },
        evidence,
        occurrences: Occurrences { count: site.objects.max(0) as u64, ..Occurrences::default() },
        caveats: caveats(active, columns, site),
        remedies: remedies(active, tiny, large, grown),
        ..Finding::default()
    })
}

/// A mean size: exact up to 10 KiB, where allocators have their classes.
fn size(bytes: f64) -> String {
    if (64.0..10_240.0).contains(&bytes) { format!("{} B", format_count(bytes.round())) } else { format_bytes(bytes) }
}

fn shape_text(tiny: bool, large: bool, grown: bool, short_lived: bool) -> &'static str {
    match (tiny, large, grown) {
        (true, ..) => ": many tiny objects",
        (_, true, _) if short_lived => ": large temporary buffers",
        (_, true, _) => ": large buffers",
        (_, _, true) => ": many buffers of medium size, as growing or concatenating makes",
        _ => "",
    }
}

/// Churn of a site: the part of what it allocated that is no longer live (PROFILES 2.2).
fn garbage(site: &Site) -> f64 {
    1.0 - (site.live as f64 / site.bytes.max(1) as f64).clamp(0.0, 1.0)
}

/// Turnover of the whole heap, where the profile says over how long it counts: JDK Mission Control's GcFreedRatio, from the
/// allocating side.
fn churn(cx: &Context<'_>, active: &Active<'_>, columns: &Columns, all: &Site) -> Option<Finding> {
    let p = active.profile;
    if !columns.allocated || p.duration_ns <= 0 || all.live <= 0 || all.raw < cx.threshold(&RULE, "min-raw") {
        return None;
    }
    let seconds = p.duration_ns as f64 / 1e9;
    let per_second = all.bytes as f64 / seconds;
    let turnover = per_second / all.live as f64;
    let score = map_exp100(turnover, cx.threshold(&RULE, "churn-info"), cx.threshold(&RULE, "churn-warning"));
    let score = if all.raw < cx.threshold(&RULE, "warning-raw") || seconds < 20.0 { score.min(74.0) } else { score };
    let severity = Severity::of_score(score)?;
    let rate = format!("{} per second", format_bytes(per_second));
    Some(Finding {
        rule: RULE.id,
        fingerprint: fingerprint(RULE.id, &["churn", &p.name]),
        severity,
        score: score as u32,
        confidence: Confidence::Likely,
        title: format!("Allocation churn: {rate}, {} times what is live", format_count(turnover.round())),
        message: format!(
            "The program allocates {rate} beside {} that live: nearly all of it is garbage soon, and the collector turns the heap over {} times a second.",
            format_bytes(all.live as f64),
            format_count(turnover.round())
        ),
        subject: Subject { kind: "recording", name: super::doctor::file_name(cx, p.source).to_string(), ..Subject::default() },
        impact: Impact {
            amount: all.bytes,
            unit: "bytes".to_string(),
            recoverable_low: 0,
            recoverable_high: all.bytes,
            model: "the sites say what of it can be saved".to_string(),
        },
        evidence: vec![Evidence {
            text: format!("{} allocated in {seconds:.1} s", format_bytes(all.bytes as f64)),
            view: ViewRef {
                profile: Some(active.id.0),
                value: Some(p.value_types[columns.bytes].name.clone()),
                ..ViewRef::of(View::Functions)
            },
        }],
        occurrences: Occurrences { count: all.objects.max(0) as u64, ..Occurrences::default() },
        caveats: vec!["Live bytes are as of the last collection.".to_string()],
        remedies: vec!["Start with the sites that allocate most; reuse buffers, or give the collector more room.".to_string()],
        ..Finding::default()
    })
}

fn caveats(active: &Active<'_>, columns: &Columns, site: &Site) -> Vec<String> {
    let mut out = vec!["Recorded sizes are the allocator's size classes, so waste inside them cannot be seen.".to_string()];
    if active.profile.period > 1 {
        out.push(format!("Sizes are estimates from one sample per {} on average.", format_bytes(active.profile.period as f64)));
    }
    if columns.live.is_some_and(|c| active.profile.total(c) > 0) && site.live > 0 {
        out.push("Allocated bytes count since the start of the process, live bytes as of the last collection.".to_string());
    }
    if !columns.allocated {
        out.push("The profile shows live memory only: what was allocated and freed again is not in it.".to_string());
    }
    out
}

fn remedies(active: &Active<'_>, tiny: bool, large: bool, grown: bool) -> Vec<String> {
    let (go, jvm) = (active.has_runtime("go"), active.has_runtime("jvm"));
    let mut out: Vec<&str> = Vec::new();
    if tiny {
        out.push("Put the values into one slice or struct instead of allocating each; avoid boxing, pointers and short strings.");
        if go {
            out.push("`go build -gcflags=-m` shows which values escape to the heap and why.");
        }
    } else if large {
        out.push(if go {
            "Reuse buffers with a sync.Pool or one buffer per worker; read in chunks instead of whole."
        } else {
            "Reuse buffers from a pool or one per worker; read in chunks instead of whole."
        });
    } else if grown {
        out.push(if go {
            "Build strings with strings.Builder and slices with make(…, 0, n): every += or growth copies all that is there."
        } else if jvm {
            "Build strings with one StringBuilder and lists with their final capacity: every growth copies all that is there."
        } else {
            "Reserve the final size before appending, and build strings in one buffer: every growth copies all that is there."
        });
    }
    out.push("Allocate once outside the loop and reuse; return or fill a caller's buffer.");
    out.into_iter().map(str::to_string).collect()
}
