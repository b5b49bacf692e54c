//! Findings as SARIF 2.1.0 (OASIS), which code hosts and editors show: one rule per rule, one result per finding, and what was
//! read, dropped and guessed as notifications and properties.

use super::inspect::{InspectSource, inspect};
use crate::findings::finding::{Finding, Severity};
use crate::findings::{DETECTORS, Report};
use crate::model::Session;
use crate::model::diagnostics::Level;
use serde_json::{Value, json};

/// The whole log as JSON text.
///
/// # Errors
/// Only if a number cannot be written as JSON, which the finding types exclude.
pub fn sarif(session: &Session, report: &Report) -> Result<String, serde_json::Error> {
    let sources = inspect(session).sources;
    let rules: Vec<Value> = DETECTORS
        .iter()
        .map(|d| d.rule())
        .map(|r| {
            json!({
                "id": r.id,
                "name": pascal(r.name),
                "shortDescription": {"text": r.name},
                "fullDescription": {"text": r.summary},
                "help": {"text": r.remedies.join(" "), "markdown": r.doc},
                "properties": {"family": r.family},
            })
        })
        .collect();
    let run = json!({
        "tool": {"driver": {"name": "hotspan", "version": env!("CARGO_PKG_VERSION"), "rules": rules}},
        "columnKind": "unicodeCodePoints",
        "invocations": [{
            "executionSuccessful": sources.iter().all(|s| s.error.is_none()),
            "toolExecutionNotifications": sources.iter().flat_map(notifications).collect::<Vec<_>>(),
        }],
        "artifacts": sources.iter().map(|s| json!({"location": {"uri": uri(&s.file)}, "length": s.bytes})).collect::<Vec<_>>(),
        "results": report.findings.iter().map(result).collect::<Vec<_>>(),
        "properties": {"usable": report.usable, "rules": report.verdicts, "sources": sources},
    });
    let log = json!({"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]});
    serde_json::to_string_pretty(&log).map(|text| text + "\n")
}

/// What was not read, lost, repaired or guessed.
fn notifications(source: &InspectSource) -> Vec<Value> {
    let at = json!([{"physicalLocation": {"artifactLocation": {"uri": uri(&source.file)}}}]);
    let one =
        |level: &str, id: &str, text: String| json!({"level": level, "descriptor": {"id": id}, "message": {"text": text}, "locations": at});
    let mut out = Vec::new();
    if let Some(error) = &source.error {
        out.push(one("error", "not-read", format!("{}: {error}", source.file)));
    }
    let r = &source.ledger.records;
    out.push(one("note", "ledger", format!("{}: {} records in, {} kept, {} dropped", source.file, r.records_in, r.kept, r.dropped)));
    for e in &source.ledger.entries {
        let level = match e.level {
            Level::Info => "none",
            Level::Notice => "note",
            Level::DataLoss => "warning",
            Level::Error => "error",
        };
        let places: Vec<&str> = e.examples.iter().map(|x| x.at.as_str()).collect();
        out.push(one(level, &e.code, format!("{} \u{d7} {} At {}.", e.count, e.message, places.join(", "))));
    }
    for c in &source.ledger.choices {
        let otherwise: Vec<&str> = c.switches.iter().map(|s| s.argument.as_str()).collect();
        let otherwise = if otherwise.is_empty() { String::new() } else { format!(" Otherwise: {}.", otherwise.join(" or ")) };
        out.push(one("note", "choice", format!("{} taken as {}: {}{otherwise}", c.choice.what, c.choice.chosen, c.choice.why)));
    }
    out
}

fn result(f: &Finding) -> Value {
    let level = match f.severity {
        Severity::Critical => "error",
        Severity::Warning => "warning",
        Severity::Info => "note",
    };
    let s = &f.subject;
    let full = if s.service.is_empty() { s.name.clone() } else { format!("{} {}", s.service, s.name) };
    let kind = if matches!(s.kind, "function" | "call-path") { "function" } else { "resource" };
    let mut location = json!({"logicalLocations": [{"name": s.name, "fullyQualifiedName": full, "kind": kind}]});
    if !s.file.is_empty() {
        let mut place = json!({"artifactLocation": {"uri": uri(&s.file)}});
        if s.line > 0 {
            place["region"] = json!({"startLine": s.line});
        }
        location["physicalLocation"] = place;
    }
    json!({
        "ruleId": f.rule,
        "ruleIndex": DETECTORS.iter().position(|d| d.rule().id == f.rule),
        "level": level,
        "rank": f.score,
        "message": {"text": format!("{}. {}", f.title, f.message)},
        "partialFingerprints": {"hotspan/v1": f.fingerprint},
        "locations": [location],
        "properties": f,
    })
}

/// SARIF wants names of rules in one word.
fn pascal(name: &str) -> String {
    name.split(|c: char| !c.is_alphanumeric())
        .map(|word| {
            let mut chars = word.chars();
            chars.next().map_or(String::new(), |first| first.to_uppercase().chain(chars).collect())
        })
        .collect()
}

/// A path as a reference of RFC 3986: what has a meaning there, or is no ASCII, is escaped.
fn uri(path: &str) -> String {
    let mut out = String::new();
    for b in path.replace('\\', "/").bytes() {
        if b.is_ascii_alphanumeric() || b"-._~/+".contains(&b) {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_places_are_as_the_standard_wants_them() {
        assert_eq!(pascal("N+1 calls in a loop"), "N1CallsInALoop");
        assert_eq!(uri("C:\\my app\\größe.rs"), "C%3A/my%20app/gr%C3%B6%C3%9Fe.rs");
    }
}
