//! Many notes of one shape are told once: the weightiest leads, and the others stand under it as more places. A file with a
//! hundred endpoints that each ask two services in turn has one habit, not a hundred findings.

use super::finding::{Cover, Finding, Related, Severity, fingerprint};
use std::collections::BTreeMap;

/// Notes of one rule and one confidence that are told one by one; more are told as one.
const ONE_BY_ONE: usize = 4;

/// Folds notes on calls. Warnings and what is critical, and notes on functions, each of which is work of its own, stay as they
/// are. Findings come ranked and leave ranked; what a folded finding had under it stands under the leader too.
pub fn fold(findings: Vec<Finding>) -> Vec<Finding> {
    let shape = |f: &Finding| {
        let note = f.severity == Severity::Info && matches!(f.cover, Cover::Spans(_));
        note.then_some((f.rule, f.confidence))
    };
    let mut often: BTreeMap<_, usize> = BTreeMap::new();
    for key in findings.iter().filter_map(shape) {
        *often.entry(key).or_default() += 1;
    }
    let mut leader: BTreeMap<_, usize> = BTreeMap::new();
    let mut out: Vec<Finding> = Vec::with_capacity(findings.len());
    for f in findings {
        let Some(key) = shape(&f).filter(|key| often.get(key).is_some_and(|n| *n > ONE_BY_ONE)) else {
            out.push(f);
            continue;
        };
        match leader.get(&key) {
            None => {
                leader.insert(key, out.len());
                out.push(f);
            }
            Some(&at) => {
                let related = Related::of(&f);
                out[at].places.push(related);
                out[at].places.extend(f.also);
                out[at].places.extend(f.consequences);
            }
        }
    }
    for at in leader.into_values() {
        let lead = &mut out[at];
        let more = lead.places.iter().filter(|p| p.rule == lead.rule).count();
        lead.title = format!("{}, and {} like it", lead.title, super::counted(more, "place"));
        lead.message.push_str(" The same is said, with less weight, of ");
        lead.message.push_str(&format!("{}; what would be saved there is not in the numbers here.", super::counted(more, "other place")));
    }
    out
}

/// Gives each finding a fingerprint of its own: what has the same names twice, as two processes of one program have, is
/// numbered in order of rank.
pub fn tell_apart(findings: &mut [Finding]) {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for f in findings {
        let n = seen.entry(f.fingerprint.clone()).or_default();
        *n += 1;
        if *n > 1 {
            f.fingerprint = fingerprint(f.rule, &[&f.fingerprint, &n.to_string()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Confidence;
    use super::*;
    use crate::base::ids::SpanRow;

    fn note(rule: &'static str, n: u32, severity: Severity, cover: Cover) -> Finding {
        let (title, message) = (format!("{rule} {n}"), format!("Claim {n}."));
        Finding {
            rule,
            fingerprint: format!("{n:016x}"),
            severity,
            confidence: Confidence::Likely,
            title,
            message,
            cover,
            ..Finding::default()
        }
    }

    fn spans(n: u32) -> Cover {
        Cover::Spans(vec![SpanRow(n)])
    }

    #[test]
    fn notes_of_one_shape_are_one_finding_with_places() {
        let mut all: Vec<Finding> = (0..7).map(|n| note("turns", n, Severity::Info, spans(n))).collect();
        all[3].consequences.push(Related { rule: "below", title: "below".into(), ..Related::default() });
        let out = fold(all);
        assert_eq!(out.len(), 1);
        assert_eq!(out[0].title, "turns 0, and 6 places like it");
        assert_eq!(out[0].fingerprint, format!("{:016x}", 0));
        assert_eq!(out[0].places.iter().filter(|p| p.rule == "turns").count(), 6);
        assert!(out[0].places.iter().any(|p| p.rule == "below"));
        assert!(out[0].message.ends_with("of 6 other places; what would be saved there is not in the numbers here."), "{}", out[0].message);
    }

    #[test]
    fn equal_names_are_numbered() {
        let mut all: Vec<Finding> = (0..3).map(|_| note("turns", 7, Severity::Info, spans(1))).collect();
        tell_apart(&mut all);
        assert_eq!(all[0].fingerprint, format!("{:016x}", 7));
        assert!(all[1].fingerprint != all[0].fingerprint && all[2].fingerprint != all[1].fingerprint && all[2].fingerprint.len() == 16);
    }

    #[test]
    fn few_notes_warnings_and_functions_stay() {
        let few: Vec<Finding> = (0..4).map(|n| note("turns", n, Severity::Info, spans(n))).collect();
        assert_eq!(fold(few).len(), 4);
        let warned: Vec<Finding> = (0..9).map(|n| note("turns", n, Severity::Warning, spans(n))).collect();
        assert_eq!(fold(warned).len(), 9);
        let functions: Vec<Finding> = (0..9).map(|n| note("loops", n, Severity::Info, Cover::Nothing)).collect();
        assert_eq!(fold(functions).len(), 9);
        // Two rules are two shapes.
        let mixed: Vec<Finding> = (0..8).map(|n| note(if n % 2 == 0 { "a" } else { "b" }, n, Severity::Info, spans(n))).collect();
        assert_eq!(fold(mixed).len(), 8);
    }
}
