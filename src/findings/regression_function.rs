//! Functions that take a larger share of a profile than in the baseline, certainly and not because cost only moved.

use super::compare_profiles::{Change, Limits, ProfileComparison, Row, explaining_path, share};
use super::finding::{Confidence, Evidence, Finding, Impact, Rule, Severity, ShareOf, Subject, Threshold, fingerprint};
use super::{Context, Detector, Outcome, counted};
use crate::base::quantity::{format_count, format_share};
use crate::base::stats::{map_exp100, wilson};
use crate::base::view::{View, ViewRef};

/// The rule.
pub struct RegressionFunction;

/// Its documentation.
pub const RULE: Rule = Rule {
    id: "regression-function",
    name: "Function regressed",
    family: "before and after",
    summary: "A function takes a certainly larger share of a profile than in the baseline.",
    remedies: &["Look at what changed on the path that explains the rise; the rest of the profile is as it was."],
    thresholds: &[
        Threshold {
            name: "false-discovery-rate",
            default: 0.05,
            doc: "share of wrong ones among all changes called certain; PROFILES 4.3",
        },
        Threshold {
            name: "min-events",
            default: 10.0,
            doc: "events of a function on both sides together below which it is not tested; PROFILES 4.3",
        },
        Threshold { name: "min-points", default: 0.5, doc: "smallest change in percentage points; PROFILES 4.3" },
        Threshold { name: "min-relative", default: 0.1, doc: "smallest relative change; PROFILES 4.3" },
        Threshold { name: "info-points", default: 1.0, doc: "lower bound of the rise, in percentage points, that scores 25; PROFILES 4.3" },
        Threshold {
            name: "warning-points",
            default: 5.0,
            doc: "lower bound of the rise, in percentage points, that scores 75; PROFILES 4.3",
        },
    ],
    doc: include_str!("../../docs/rules/regression-function.md"),
};

/// Limits of the comparison as the user set them.
pub fn limits(cx: &Context<'_>) -> Limits {
    Limits {
        q: cx.threshold(&RULE, "false-discovery-rate"),
        events: cx.threshold(&RULE, "min-events") as i64,
        points: cx.threshold(&RULE, "min-points") / 100.0,
        relative: cx.threshold(&RULE, "min-relative"),
    }
}

impl Detector for RegressionFunction {
    fn rule(&self) -> &'static Rule {
        &RULE
    }
    fn detect(&self, cx: &Context<'_>) -> Outcome {
        let Some(comparison) = cx.comparison() else {
            return Outcome::NotChecked("because there is no baseline to compare with".to_string());
        };
        if comparison.profiles.is_empty() {
            return Outcome::NotChecked("because baseline and candidate have no profiles that measure the same".to_string());
        }
        let mut findings = Vec::new();
        for c in &comparison.profiles {
            findings.extend(c.rows.iter().filter(|r| reported(c, r)).filter_map(|r| describe(cx, c, r)));
        }
        let tests: usize = comparison.profiles.iter().map(|c| c.tested).sum();
        let events: i64 = comparison.profiles.iter().map(|c| c.events[0] + c.events[1]).sum();
        findings.sort_by(|a, b| b.score.cmp(&a.score).then_with(|| a.fingerprint.cmp(&b.fingerprint)));
        let pairs = counted(comparison.profiles.len(), "pair of profiles")
            .replace("profiless", "profiles")
            .replace("pair of profiless", "pairs of profiles");
        Outcome::Checked { findings, over: format!("{} in {pairs}, {} events", counted(tests, "test"), format_count(events as f64)) }
    }
}

/// Its own share rose, or the share of all below it did and no single function below it explains that.
fn reported(c: &ProfileComparison, r: &Row) -> bool {
    if r.change == Change::Regressed {
        return true;
    }
    if r.total_change != Change::Regressed {
        return false;
    }
    let n = c.events;
    let tree = &c.tree;
    let delta = |row: usize| share(tree.count[1][row], n[1]) - share(tree.count[0][row], n[0]);
    let rise = r.total_delta(n);
    let by_name = |name: crate::base::ids::StringId| c.rows.iter().find(|o| o.name == name);
    // A child that holds the rise is reported in its place; so is one that holds part of it and rose itself.
    let mut explained = 0.0;
    for row in 1..tree.len() {
        let above = tree.parent[row] as usize;
        if above == 0 || tree.name[above] != r.name || tree.name[row] == r.name {
            continue;
        }
        let own = delta(row);
        if own >= 0.8 * rise {
            return false;
        }
        if by_name(tree.name[row]).is_some_and(|o| o.change == Change::Regressed || o.total_change == Change::Regressed) {
            explained += own;
        }
    }
    explained < 0.5 * rise
}

fn describe(cx: &Context<'_>, c: &ProfileComparison, r: &Row) -> Option<Finding> {
    let n = c.events;
    let own = r.change == Change::Regressed;
    let (x, delta, weight) = if own { (r.own, r.own_delta(n), r.own_weight) } else { (r.total, r.total_delta(n), r.total_weight) };
    let variance = |s: usize| share(x[s], n[s]) * (1.0 - share(x[s], n[s])) / n[s].max(1) as f64;
    let half = 1.96 * (variance(0) + variance(1)).sqrt();
    let least = (delta - half).max(0.0);
    let score = map_exp100(least * 100.0, cx.threshold(&RULE, "info-points"), cx.threshold(&RULE, "warning-points"));
    let severity = Severity::of_score(score)?;
    let name = c.tree.names.get(r.name).to_string();
    let path = explaining_path(c, r.name);
    let profile = &cx.session.profiles[c.profiles[1]];
    let what = if own { "itself" } else { "with all it calls" };
    let amount = |share: f64| ((share * c.weight[1] as f64) as i64).clamp(0, weight[1].max(0));
    let view = ViewRef { profile: Some(c.profiles[1] as u32), value: Some(c.value_name.clone()), ..ViewRef::of(View::Flame) };
    let mut caveats = c.warnings.clone();
    caveats.push("A share can rise because other work became cheaper; compare the work done, such as requests, on both sides.".to_string());
    let new = if x[0] == 0 { " It does not occur in the baseline." } else { "" };
    Some(Finding {
        rule: RULE.id,
        fingerprint: fingerprint(RULE.id, &[&profile.name, &c.value_name, &name]),
        severity,
        score: score.round() as u32,
        confidence: if c.warnings.is_empty() { Confidence::Confirmed } else { Confidence::Likely },
        title: format!("{name} rose by {:.1} percentage points", delta * 100.0),
        message: format!(
            "{name} {what} took {} of {} events before and takes {} of {} now: {:.1} percentage points more (95 %: {:.1} to {:.1}), {}.{new}",
            format_share(share(x[0], n[0])),
            format_count(n[0] as f64),
            format_share(share(x[1], n[1])),
            format_count(n[1] as f64),
            delta * 100.0,
            least * 100.0,
            (delta + half) * 100.0,
            if share(x[0], n[0]) > 0.0 {
                format!("{:.1} times as much", share(x[1], n[1]) / share(x[0], n[0]))
            } else {
                "all of it new".to_string()
            },
        ),
        subject: Subject { kind: "function", name: name.clone(), path: path.clone(), ..Subject::default() },
        share: Some(ShareOf::new(wilson(x[1].max(0) as f64, n[1].max(0) as u64), &c.value_name)),
        impact: Impact {
            amount: weight[1],
            unit: c.unit.clone(),
            recoverable_low: amount(least),
            recoverable_high: amount(delta + half),
            model: "The function's share goes back to the baseline's, within the 95 % interval of the difference.".to_string(),
        },
        evidence: vec![
            Evidence { text: format!("The rise lies on the path {}.", path.join(" → ")), view: ViewRef { path, ..view.clone() } },
            Evidence {
                text: "All functions of both sides.".to_string(),
                view: ViewRef { function: Some(name), ..ViewRef::of(View::Compare) },
            },
        ],
        caveats,
        remedies: RULE.remedies.iter().map(|r| (*r).to_string()).collect(),
        ..Finding::default()
    })
}
