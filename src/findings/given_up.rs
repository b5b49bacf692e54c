//! What rules could not look at because it was given up to make room: said where their verdicts are read.

use super::Context;
use super::finding::{RuleStatus, RuleVerdict};
use crate::base::quantity::format_count;
use crate::model::reduce::{ATTRIBUTES, BRANCHES, TIMES};

/// Rules that look at nothing but times.
const BY_TIME: &[&str] = &["recording-phases", "long-run", "bursts"];
/// Rules that know more where samples have times.
const WITH_TIME: &[&str] = &["hot-loop", "repeated-setup", "endpoint-cpu"];
/// Rules that know more where samples have taken branches.
const WITH_BRANCHES: &[&str] = &["hot-loop"];
/// Rules that compare attributes of any name.
const WITH_ATTRIBUTES: &[&str] = &["tail-latency"];

fn count(cx: &Context<'_>, code: &str) -> u64 {
    cx.session.sources.iter().map(|s| s.ledger.diagnostics.count(code)).sum()
}

/// Adds to a verdict what of the data the rule did not have.
pub fn amend(cx: &Context<'_>, verdict: &mut RuleVerdict) {
    let is = |rules: &[&str]| rules.contains(&verdict.rule.as_str());
    let mut missing = Vec::new();
    if is(BY_TIME) && verdict.status == RuleStatus::NotChecked && count(cx, TIMES.code) > 0 {
        verdict.reason = "because the times of samples were given up to make room".to_string();
        return;
    }
    if is(WITH_TIME) && count(cx, TIMES.code) > 0 {
        missing.push("the order of time was given up to make room");
    }
    if is(WITH_BRANCHES) && count(cx, BRANCHES.code) > 0 {
        missing.push("taken branches were given up to make room");
    }
    if is(WITH_ATTRIBUTES) && count(cx, ATTRIBUTES.code) > 0 {
        missing.push("attributes that no other rule looks at were given up to make room");
    }
    let text = if verdict.status == RuleStatus::NotChecked { &mut verdict.reason } else { &mut verdict.over };
    for part in missing {
        text.push_str("; ");
        text.push_str(part);
    }
}

/// For the sentence on how much usable data there was.
pub fn usable(cx: &Context<'_>) -> Vec<String> {
    let mut out = Vec::new();
    let (times, attributes) = (count(cx, TIMES.code), count(cx, ATTRIBUTES.code));
    if times > 0 {
        out.push(format!("the times of {} samples given up to make room", format_count(times as f64)));
    }
    if attributes > 0 {
        out.push(format!("{} attributes given up to make room", format_count(attributes as f64)));
    }
    for source in &cx.session.sources {
        if let Some(partial) = &source.partial {
            out.push(format!("only a part of {}, {}", source.file, partial.text()));
        }
    }
    out
}
