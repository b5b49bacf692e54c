//! What rules about a share of the active samples have in common: limits, score, the parts of a finding that follow from them.

use super::active::{Active, ActiveStack, cpu_profiles};
use super::finding::{Confidence, Cover, Evidence, Finding, Impact, Occurrences, Rule, Severity, ShareOf, Subject, Threshold, fingerprint};
use super::{Context, Detector, Outcome, counted};
use crate::analysis::neighbours::heaviest_path;
use crate::analysis::weights::Selection;
use crate::base::ids::{FuncId, StackId};
use crate::base::quantity::{format_count, format_share, format_value};
use crate::base::stats::{Share, map_exp100, wilson};
use crate::base::view::{View, ViewRef};

/// Below this nothing is claimed.
pub const MIN_ACTIVE: Threshold =
    Threshold { name: "min-active-samples", default: 20.0, doc: "active samples below which nothing is claimed; PROFILES 4.2" };
/// Below this findings stay at info.
pub const FEW: Threshold =
    Threshold { name: "few-samples", default: 100.0, doc: "active samples below which findings stay at info; PROFILES 4.2" };
/// Below this a place is not named.
pub const MIN_SAMPLES: Threshold =
    Threshold { name: "min-samples", default: 30.0, doc: "samples of one place below which it is not reported; PROFILES 1.0" };
/// From this on findings stay at info.
pub const UNKNOWN: Threshold =
    Threshold { name: "unknown-share", default: 0.2, doc: "share of leaves without symbol from which findings stay at info; PROFILES 4.4" };
/// So many iterations must be seen in the order of time.
pub const RE_ENTRIES: Threshold = Threshold {
    name: "re-entries",
    default: 3.0,
    doc: "backward moves, or returns to a call, between neighbouring samples from which the order of time proves a loop; own choice: one may be chance, phases only go forward",
};

/// Samples of one subject.
#[derive(Clone, Debug, Default)]
pub struct Pile {
    /// Events.
    pub count: i64,
    /// Weight in the profile's value.
    pub value: i64,
    /// Their stacks, each once if added in the order of [`Active::stacks`].
    pub stacks: Vec<StackId>,
}

impl Pile {
    /// Adds the samples of a stack.
    pub fn add(&mut self, a: &ActiveStack) {
        self.count += a.count;
        self.value = self.value.saturating_add(a.value);
        if self.stacks.last() != Some(&a.stack) {
            self.stacks.push(a.stack);
        }
    }
}

/// Runs a rule over every CPU profile with enough active samples.
pub fn over_active<'a>(cx: &Context<'a>, rule: &dyn Detector, mut look: impl FnMut(&Active<'a>) -> Vec<Finding>) -> Outcome {
    let rule = rule.rule();
    let profiles = cpu_profiles(cx.session);
    if profiles.is_empty() {
        return Outcome::NotChecked("because no file holds samples of CPU or wall-clock time".to_string());
    }
    let least = cx.threshold(rule, MIN_ACTIVE.name);
    let (mut findings, mut checked, mut samples) = (Vec::new(), 0_usize, 0_i64);
    for (id, p) in profiles {
        let active = cx.active(id, p);
        if (active.count as f64) < least {
            continue;
        }
        checked += 1;
        samples = samples.saturating_add(active.count);
        findings.extend(look(&active));
    }
    if checked == 0 {
        return Outcome::NotChecked(format!(
            "because no CPU profile has {least} samples that are not idle: record for longer or at a higher rate"
        ));
    }
    findings.sort_by(|a, b| b.score.cmp(&a.score).then_with(|| a.fingerprint.cmp(&b.fingerprint)));
    Outcome::Checked { findings, over: format!("{} active samples in {}", format_count(samples as f64), counted(checked, "CPU profile")) }
}

/// The beginning of a finding about one function: share, score, impact, caveats, rows. `None` below the rule's limits
/// (`info-share`, `warning-share`, `min-samples`). `names` distinguish it from others of the rule.
pub fn begin(cx: &Context<'_>, rule: &'static Rule, active: &Active<'_>, pile: Pile, tier: &str, names: &[&str]) -> Option<Finding> {
    if (pile.count as f64) < cx.threshold(rule, MIN_SAMPLES.name) {
        return None;
    }
    let share = share_of(active, pile.count);
    let (info, warning) = (cx.threshold(rule, "info-share"), cx.threshold(rule, "warning-share"));
    if share.low < info {
        return None;
    }
    let missing = active.unknown_share() >= cx.threshold(rule, UNKNOWN.name);
    let few = (active.count as f64) < cx.threshold(rule, FEW.name);
    let factor = factor(tier);
    let mut score = (map_exp100(share.low, info, warning) * factor).max(25.0);
    if missing || few || !active.counted {
        score = score.min(74.0);
    }
    Some(Finding {
        rule: rule.id,
        fingerprint: fingerprint(rule.id, names),
        severity: Severity::of_score(score)?,
        score: score.round() as u32,
        confidence: if factor >= 0.95 { Confidence::Confirmed } else { Confidence::Possible },
        tier: tier.to_string(),
        share: Some(ShareOf::new(share, active.value_name())),
        impact: Impact { amount: pile.value, unit: active.unit().to_string(), ..Impact::default() },
        occurrences: Occurrences { count: pile.count as u64, ..Occurrences::default() },
        caveats: caveats(active, missing, few),
        cover: Cover::Stacks(active.id, pile.stacks),
        ..Finding::default()
    })
}

/// A share of the active samples; without an interval where numbers are not events.
pub fn share_of(active: &Active<'_>, count: i64) -> Share {
    let share = wilson(count as f64, active.count as u64);
    if active.counted { share } else { Share { low: share.p, high: share.p, n: 0, ..share } }
}

/// How sure tiers of evidence are, joined by `+` (PROFILES 1.0): the best counts.
pub fn factor(tier: &str) -> f64 {
    let of = |tier: &str| match tier {
        "T5" | "T4" | "T3" => 1.0,
        "T2" => 0.95,
        "T1" => 0.85,
        _ => 0.74,
    };
    tier.split('+').map(of).fold(0.0, f64::max)
}

/// Caveats of every share.
pub fn caveats(active: &Active<'_>, missing: bool, few: bool) -> Vec<String> {
    let mut out = Vec::new();
    if active.idle > 0 {
        out.push(format!("Shares are of {} active samples; {} idle ones are left out.", active.count, active.idle));
    }
    if missing {
        out.push(format!("{} of the leaves have no symbol: what they are is not known.", format_share(active.unknown_share())));
    }
    if few {
        out.push(format!("Only {} active samples: record for longer.", active.count));
    }
    if !active.counted {
        out.push("The file does not say how many samples its numbers stand for, so there is no interval.".to_string());
    }
    out
}

/// Sets the range that a fix recovers: shares of the subject's cost, the lower one at the lower bound of the share.
pub fn recover(f: &mut Finding, low: f64, high: f64, model: &str) {
    let sure = f.share.as_ref().map_or(0.0, |s| s.low / s.p.max(f64::MIN_POSITIVE));
    f.impact.recoverable_low = (f.impact.amount as f64 * sure * low) as i64;
    f.impact.recoverable_high = (f.impact.amount as f64 * high) as i64;
    f.impact.model = model.to_string();
}

/// A function as the subject, with its heaviest path, and `tail` behind it.
pub fn subject(cx: &Context<'_>, active: &Active<'_>, func: FuncId, tail: &[FuncId]) -> Subject {
    let s = &active.session.symbols;
    let tree = cx.tree(Selection { profile: active.id.index(), value: active.value, thread: None });
    // The path must exist: from the function that is furthest from the root.
    let last = tail.last().copied().unwrap_or(func);
    let mut path = heaviest_path(active.session, &tree, last);
    if !path.iter().any(|name| name == active.name(func)) {
        path = heaviest_path(active.session, &tree, func);
    }
    Subject {
        kind: "function",
        name: active.name(func).to_string(),
        service: s.module(&active.session.strings, func).to_string(),
        path,
        file: active.session.strings.get(s.funcs.file[func.index()]).to_string(),
        line: s.funcs.start_line[func.index()],
    }
}

/// A view of the profile.
pub fn view(active: &Active<'_>, view: View) -> ViewRef {
    ViewRef { profile: Some(active.id.0), value: Some(active.value_name().to_string()), ..ViewRef::of(view) }
}

/// The subject's path in the flame graph.
pub fn flame(active: &Active<'_>, f: &Finding) -> Evidence {
    let amount = format_value(f.impact.amount as f64, active.unit());
    let share = f.share.as_ref().map_or(0.0, |s| s.p);
    Evidence {
        text: format!("{amount} ({}) in all, here on its heaviest path", format_share(share)),
        view: ViewRef { path: f.subject.path.clone(), ..view(active, View::Flame) },
    }
}

/// A function in the table.
pub fn table(active: &Active<'_>, func: FuncId, text: String) -> Evidence {
    Evidence { text, view: ViewRef { function: Some(active.name(func).to_string()), ..view(active, View::Functions) } }
}

/// `12 of 340 active samples (3.5 %)`.
pub fn of_active(active: &Active<'_>, count: i64) -> String {
    format!("{count} of {} active samples ({})", active.count, format_share(count as f64 / active.count.max(1) as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_tier_counts() {
        assert_eq!(
            [factor("T0"), factor("T1"), factor("T1+T3"), factor("T2"), factor("T2+T5"), factor("")],
            [0.74, 0.85, 1.0, 0.95, 1.0, 0.74]
        );
    }
}
