//! Judges the detectors: per rule how many planted defects are found, how many findings are right, and how often the true
//! saving lies inside the stated range.

use super::plants::{Case, case};
use super::{otlp, run};
use hotspan::engine::Engine;
use hotspan::findings::finding::Finding;
use std::collections::BTreeMap;
use std::fmt::Write;

/// The tally of one rule.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Systems with a defect for it.
    pub planted: u32,
    /// Of those, where it was found.
    pub found: u32,
    /// Its findings on other calls, or in healthy systems.
    pub wrong: u32,
    /// Of `wrong`, those in healthy systems.
    pub wrong_in_healthy: u32,
    /// Found defects whose finding leads, so that it states a range.
    pub judged: u32,
    /// Of those, the ones whose true saving lies inside the range.
    pub inside: u32,
    /// Of those outside: distance to the nearer end of the range, as share of the requests' time.
    pub misses: Vec<f64>,
}

impl Tally {
    /// Found of planted; 1 without any planted.
    pub fn recall(&self) -> f64 {
        if self.planted == 0 { 1.0 } else { f64::from(self.found) / f64::from(self.planted) }
    }
    /// Right of all findings; 1 without findings.
    pub fn precision(&self) -> f64 {
        let all = self.found + self.wrong;
        if all == 0 { 1.0 } else { f64::from(self.found) / f64::from(all) }
    }
    /// True savings inside the range, of the judged.
    pub fn inside(&self) -> f64 {
        if self.judged == 0 { 1.0 } else { f64::from(self.inside) / f64::from(self.judged) }
    }
}

/// Tallies by rule, and what went wrong, a line each.
#[derive(Debug, Default)]
pub struct Judgement {
    /// By rule id.
    pub rules: BTreeMap<String, Tally>,
    /// The first complaints.
    pub complaints: Vec<String>,
}

/// Judges the cases of these numbers.
pub fn judge(numbers: std::ops::Range<u64>) -> Judgement {
    let mut out = Judgement::default();
    for number in numbers {
        one(number, &case(number), &mut out);
    }
    out
}

/// The 95th percentile: the smallest time that at least 19 of 20 requests do not exceed.
fn p95(ascending: &[i64]) -> i64 {
    let rank = (ascending.len() * 19).div_ceil(20);
    ascending.get(rank.max(1) - 1).copied().unwrap_or(0)
}

/// A target for the entry's 95th percentile, nanoseconds: well below what it is, or well above.
fn target(number: u64, case: &Case) -> i64 {
    let true_p95 = p95(&run::answers(&case.system));
    if super::hash(&[number, 0x51]).is_multiple_of(2) { true_p95 / 10 * 7 } else { true_p95 / 10 * 13 }
}

/// Findings on a system's trace.
pub fn findings(number: u64, case: &Case) -> Vec<Finding> {
    let bytes = otlp::write(&run::spans(&case.system));
    let mut engine = Engine::default();
    let entry = &case.system.ops[0];
    let settings =
        format!("[[target]]\nservice = \"{}\"\noperation = \"{}\"\np95 = \"{} ns\"\n", entry.service, entry.name, target(number, case));
    engine.settings = hotspan::engine::Settings::parse(&settings).expect("a target");
    engine.open("x", bytes.len() as u64, Box::new(std::io::Cursor::new(bytes)), &mut |_| true);
    engine.finish();
    std::mem::take(&mut engine.report.findings)
}

/// Rules that state a fact about every system, planted or healthy, and the fact as the generator knows it: whether the entry is
/// slow (its 95th percentile takes a second), and whether its target is broken.
fn facts(number: u64, case: &Case) -> [(&'static str, bool); 2] {
    let p95 = p95(&run::answers(&case.system));
    [("slow-endpoint", p95 >= 1_000_000_000), ("slo-budget", p95 > target(number, case))]
}

/// The rule on tails rightly names the planted calls whatever is wrong with them, if some requests are slower by them.
const OF_ANY_CAUSE: &[&str] = &["tail-latency"];

fn one(number: u64, case: &Case, out: &mut Judgement) {
    let findings = findings(number, case);
    let facts = facts(number, case);
    for (rule, holds) in facts {
        let told = findings.iter().filter(|f| f.rule == rule).count() as u32;
        let tally = out.rules.entry(rule.to_string()).or_default();
        tally.planted += u32::from(holds);
        tally.found += u32::from(holds && told > 0);
        let wrong = if holds { told.saturating_sub(1) } else { told };
        tally.wrong += wrong;
        tally.wrong_in_healthy += if case.truth.is_none() { wrong } else { 0 };
        if wrong > 0 || (holds && told == 0) {
            out.complaints.push(format!("case {number}: {rule} speaks {told} times, the fact is {holds}"));
        }
    }
    let mut found = false;
    for f in &findings {
        // What stands under a finding as the same thing or a consequence was said too.
        let told = std::iter::once((f.rule, f.subject.name.to_lowercase()));
        let told = told.chain(f.also.iter().chain(&f.consequences).chain(&f.places).map(|r| (r.rule, r.message.to_lowercase())));
        for (i, (rule, text)) in told.enumerate() {
            if facts.iter().any(|(fact, _)| *fact == rule) {
                continue;
            }
            match &case.truth {
                Some(t) if text.contains(&t.marker) && rule == t.rule => {
                    let tally = out.rules.entry(rule.to_string()).or_default();
                    if !found {
                        tally.found += 1;
                        found = true;
                        if i == 0 {
                            saving(number, case, f, tally, &mut out.complaints);
                        }
                    }
                }
                Some(t) if text.contains(&t.marker) && (t.allowed.contains(&rule) || OF_ANY_CAUSE.contains(&rule)) => {}
                truth => {
                    let tally = out.rules.entry(rule.to_string()).or_default();
                    tally.wrong += 1;
                    tally.wrong_in_healthy += u32::from(truth.is_none());
                    let planted = truth.as_ref().map_or("healthy", |t| t.rule);
                    out.complaints.push(format!("case {number} ({planted}): {rule} wrongly says {}", f.title));
                }
            }
        }
    }
    if let Some(t) = case.truth.as_ref().filter(|t| facts.iter().all(|(fact, _)| *fact != t.rule)) {
        out.rules.entry(t.rule.to_string()).or_default().planted += 1;
        if !found {
            out.complaints.push(format!("case {number}: {} missed {}", t.rule, t.marker));
        }
    }
}

fn saving(number: u64, case: &Case, f: &Finding, tally: &mut Tally, complaints: &mut Vec<String>) {
    // A finding that claims no saving cannot be wrong about it.
    let Some(truth) = case.truth.as_ref().filter(|_| f.impact.recoverable_high > 0) else { return };
    let ((before, answered), (after, answered_after)) = (run::durations(&case.system), run::durations(&truth.repaired));
    tally.judged += 1;
    let (low, high) = (f.impact.recoverable_low, f.impact.recoverable_high);
    // Half a percent of the requests: what the caller itself spends on starting calls is in no model.
    let slack = before / 200;
    // A finding speaks of the answer, or of the end of all work if it is about messages.
    let away = |saved: i64| (low - saved).max(saved - high);
    let saved = [before - after, answered - answered_after].into_iter().min_by_key(|s| away(*s)).unwrap_or(0);
    if away(saved) <= slack {
        tally.inside += 1;
    } else {
        let away = away(saved);
        let share = away as f64 / before as f64;
        tally.misses.push(share);
        complaints.push(format!(
            "case {number}: {} says {low} to {high} ns, the repair saves {saved} ({:.1} % of the requests away)",
            f.rule,
            share * 100.0
        ));
    }
}

/// The table, in Markdown.
pub fn table(judgement: &Judgement) -> String {
    let mut out = String::from(
        "| rule | planted | found | recall | wrong | in healthy | precision | saving inside range | largest miss |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    for (rule, t) in &judgement.rules {
        let miss = t.misses.iter().copied().fold(0.0, f64::max);
        let _ = writeln!(
            out,
            "| {rule} | {} | {} | {:.3} | {} | {} | {:.3} | {:.1} % | {:.1} % |",
            t.planted,
            t.found,
            t.recall(),
            t.wrong,
            t.wrong_in_healthy,
            t.precision(),
            t.inside() * 100.0,
            miss * 100.0
        );
    }
    out
}
