//! What a user or a team decides about the rules: thresholds, rules that are off, and targets of operations. Read from
//! `hotspan.toml`, the command line (`--set`) and the page; later settings win.

use super::DETECTORS;
use super::finding::Rule;
use crate::base::quantity::parse_duration;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// All settings of a run of the rules. The default changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Changed thresholds; of several for one threshold the last counts.
    pub thresholds: Vec<Setting>,
    /// Ids of rules that do not run.
    pub off: Vec<String>,
    /// If not empty, only these rules run.
    pub only: Vec<String>,
    /// What operations are expected to do.
    pub targets: Vec<Target>,
}

/// A changed threshold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// Rule id.
    pub rule: String,
    /// Threshold name.
    pub threshold: String,
    /// Value in the threshold's own unit.
    pub value: f64,
}

/// A service level objective of one operation, or of every operation that the names match.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Target {
    /// Service name; empty for any.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service: String,
    /// Operation name as in the Services view; empty for any.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub operation: String,
    /// Largest median, nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50_ns: Option<i64>,
    /// Largest 95th percentile, nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p95_ns: Option<i64>,
    /// Largest 99th percentile, nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99_ns: Option<i64>,
    /// Largest share of failed executions, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_rate: Option<f64>,
}

/// `hotspan.toml` as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    rules: BTreeMap<String, BTreeMap<String, Value>>,
    #[serde(default)]
    target: Vec<FileTarget>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Value {
    Switch(bool),
    Number(f64),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileTarget {
    #[serde(default)]
    service: String,
    #[serde(default)]
    operation: String,
    p50: Option<String>,
    p95: Option<String>,
    p99: Option<String>,
    error_rate: Option<f64>,
}

impl Settings {
    /// Reads the text of a `hotspan.toml`:
    /// ```toml
    /// [rules.chatty-n-plus-one]
    /// min_calls = 8        # a threshold of the rule
    /// [rules.allocation-sites]
    /// enabled = false
    /// [[target]]
    /// service = "checkout"
    /// operation = "POST /cart"
    /// p95 = "250 ms"
    /// error_rate = 0.01
    /// ```
    ///
    /// # Errors
    /// A sentence that names the place and what is accepted there.
    pub fn parse(text: &str) -> Result<Settings, String> {
        let file: File = basic_toml::from_str(text).map_err(|e| format!("hotspan.toml: {e}"))?;
        let mut out = Settings::default();
        for (id, entries) in file.rules {
            let rule = rule(&id)?;
            for (name, value) in entries {
                match value {
                    Value::Switch(on) if name == "enabled" => {
                        if !on {
                            out.off.push(id.clone());
                        }
                    }
                    Value::Switch(_) => return Err(format!("hotspan.toml: {id}.{name} must be a number")),
                    Value::Number(value) => out.thresholds.push(setting(rule, &name, value)?),
                }
            }
        }
        for t in file.target {
            let length = |text: &Option<String>| text.as_deref().map(duration).transpose();
            let target = Target {
                p50_ns: length(&t.p50)?,
                p95_ns: length(&t.p95)?,
                p99_ns: length(&t.p99)?,
                service: t.service,
                operation: t.operation,
                error_rate: t.error_rate,
            };
            if target.error_rate.is_some_and(|r| !(0.0..=1.0).contains(&r)) {
                return Err("hotspan.toml: an error_rate is a share from 0 to 1".to_string());
            }
            if target.p50_ns.or(target.p95_ns).or(target.p99_ns).is_none() && target.error_rate.is_none() {
                return Err("hotspan.toml: a target names at least one of p50, p95, p99, error_rate".to_string());
            }
            out.targets.push(target);
        }
        Ok(out)
    }

    /// Adds settings that win over these.
    pub fn extend(&mut self, later: Settings) {
        self.thresholds.extend(later.thresholds);
        self.off.extend(later.off);
        self.only.extend(later.only);
        self.targets.extend(later.targets);
    }

    /// Whether a rule is to run.
    pub fn runs(&self, id: &str) -> bool {
        !self.off.iter().any(|o| o == id) && (self.only.is_empty() || self.only.iter().any(|o| o == id))
    }

    /// The changed value of a threshold.
    pub fn threshold(&self, rule: &str, name: &str) -> Option<f64> {
        self.thresholds.iter().rev().find(|s| s.rule == rule && s.threshold == name).map(|s| s.value)
    }

    /// The settings of one rule as arguments of the command: ` --set RULE.NAME=VALUE`.
    pub fn arguments(&self, rule: &str) -> String {
        let of = self.thresholds.iter().filter(|s| s.rule == rule);
        of.map(|s| format!(" --set {}.{}={}", s.rule, s.threshold, s.value)).collect()
    }
}

/// The rule with an id.
///
/// # Errors
/// A sentence with the ids that exist.
pub fn rule(id: &str) -> Result<&'static Rule, String> {
    DETECTORS.iter().map(|d| d.rule()).find(|r| r.id == id).ok_or_else(|| {
        let ids: Vec<&str> = DETECTORS.iter().map(|d| d.rule().id).collect();
        format!("there is no rule {id}; rules are {}", ids.join(", "))
    })
}

/// A setting, checked against the rule's own list.
///
/// # Errors
/// A sentence with the thresholds that the rule has.
pub fn setting(rule: &Rule, name: &str, value: f64) -> Result<Setting, String> {
    if !rule.thresholds.iter().any(|t| t.name == name) {
        let names: Vec<&str> = rule.thresholds.iter().map(|t| t.name).collect();
        return Err(format!("{} has no threshold {name}; it has {}", rule.id, names.join(", ")));
    }
    if !value.is_finite() {
        return Err(format!("{}.{name} must be a finite number", rule.id));
    }
    Ok(Setting { rule: rule.id.to_string(), threshold: name.to_string(), value })
}

/// `RULE.THRESHOLD=VALUE`, as on the command line.
///
/// # Errors
/// A sentence that says what is wrong and what exists.
pub fn parse_setting(text: &str) -> Result<Setting, String> {
    let (name, value) = text.split_once('=').ok_or("expected RULE.THRESHOLD=VALUE")?;
    let (id, threshold) = name.split_once('.').ok_or("expected RULE.THRESHOLD=VALUE")?;
    let value = value.trim().parse::<f64>().map_err(|_| format!("{value} is not a number"))?;
    setting(rule(id)?, threshold, value)
}

/// A duration as nanoseconds.
fn duration(text: &str) -> Result<i64, String> {
    parse_duration(text).ok_or_else(|| format!("hotspan.toml: \u{201c}{text}\u{201d} is not a duration such as 250 ms, 1.5 s or 80 us"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read() {
        let text = "[rules.chatty-n-plus-one]\nmin_calls = 8\n[rules.allocation-sites]\nenabled = false\n\
                    [[target]]\nservice = \"shop\"\noperation = \"GET /\"\np95 = \"250 ms\"\np99=\"1.5s\"\nerror_rate = 0.01\n";
        let s = Settings::parse(text).unwrap();
        assert_eq!(s.threshold("chatty-n-plus-one", "min_calls"), Some(8.0));
        assert!(!s.runs("allocation-sites") && s.runs("hot-loop"));
        assert_eq!((s.targets[0].p95_ns, s.targets[0].p99_ns), (Some(250_000_000), Some(1_500_000_000)));
        assert_eq!(s.arguments("chatty-n-plus-one"), " --set chatty-n-plus-one.min_calls=8");
    }

    #[test]
    fn mistakes_say_what_exists() {
        for (text, part) in [
            ("[rules.nonsense]\nx = 1", "there is no rule nonsense; rules are hidden-loop"),
            ("[rules.hot-loop]\nx = 1", "hot-loop has no threshold x; it has info-share"),
            ("[rules.hot-loop]\ninfo-share = true", "must be a number"),
            ("[[target]]\np95 = \"soon\"", "is not a duration"),
            ("[[target]]\nservice = \"a\"", "at least one of"),
            ("[[target]]\nerror_rate = 3", "0 to 1"),
            ("[limits]\nx = 1", "limits"),
        ] {
            let error = Settings::parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
