//! Settings as lines, each of which stands in the page's address, and as the text of a `hotspan.toml`.
//!
//! A line is `RULE.THRESHOLD=VALUE`, `RULE=off`, or a [`Target`] as JSON.

use super::settings::{Settings, Target, parse_setting, rule};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

impl Settings {
    /// What is in force, each thing once: thresholds, then rules that are off, by name; then targets in their order.
    pub fn lines(&self) -> Vec<String> {
        let thresholds: BTreeMap<String, f64> = self.thresholds.iter().map(|s| (format!("{}.{}", s.rule, s.threshold), s.value)).collect();
        let off: BTreeSet<&String> = self.off.iter().collect();
        let mut out: Vec<String> = thresholds.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        out.extend(off.into_iter().map(|rule| format!("{rule}=off")));
        let mut targets: Vec<String> = Vec::new();
        for text in self.targets.iter().filter_map(|t| serde_json::to_string(t).ok()) {
            if !targets.contains(&text) {
                targets.push(text);
            }
        }
        out.extend(targets);
        out
    }

    /// Reads lines. One that means nothing is left out, with a sentence that says why.
    pub fn from_lines(lines: &[String]) -> (Settings, Vec<String>) {
        let (mut out, mut errors) = (Settings::default(), Vec::new());
        for line in lines {
            if line.starts_with('{') {
                match serde_json::from_str::<Target>(line) {
                    Ok(target) => out.targets.push(target),
                    Err(e) => errors.push(format!("{line}: {e}")),
                }
            } else if let Some(id) = line.strip_suffix("=off") {
                match rule(id) {
                    Ok(rule) => out.off.push(rule.id.to_string()),
                    Err(e) => errors.push(e),
                }
            } else {
                match parse_setting(line) {
                    Ok(setting) => out.thresholds.push(setting),
                    Err(e) => errors.push(format!("{line}: {e}")),
                }
            }
        }
        (out, errors)
    }

    /// The text of a `hotspan.toml` that says the same.
    pub fn to_toml(&self) -> String {
        let mut rules: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        let mut seen: BTreeMap<(&str, &str), f64> = BTreeMap::new();
        for s in &self.thresholds {
            seen.insert((&s.rule, &s.threshold), s.value);
        }
        for ((rule, threshold), value) in seen {
            rules.entry(rule).or_default().push(format!("{threshold} = {}", number(value)));
        }
        for rule in self.off.iter().collect::<BTreeSet<_>>() {
            rules.entry(rule).or_default().insert(0, "enabled = false".to_string());
        }
        let mut out = String::new();
        for (rule, lines) in rules {
            let _ = writeln!(out, "[rules.{rule}]\n{}\n", lines.join("\n"));
        }
        for t in &self.targets {
            let _ = writeln!(out, "[[target]]");
            for (name, text) in [("service", &t.service), ("operation", &t.operation)] {
                if !text.is_empty() {
                    let _ = writeln!(out, "{name} = {}", quoted(text));
                }
            }
            for (name, ns) in [("p50", t.p50_ns), ("p95", t.p95_ns), ("p99", t.p99_ns)] {
                if let Some(ns) = ns {
                    let _ = writeln!(out, "{name} = \"{}\"", length(ns));
                }
            }
            if let Some(rate) = t.error_rate {
                let _ = writeln!(out, "error_rate = {}", number(rate));
            }
            out.push('\n');
        }
        out.truncate(out.trim_end().len());
        if !out.is_empty() {
            out.push('\n');
        }
        out
    }
}

/// Whether a text is a `hotspan.toml`, by its first line that is neither empty nor a comment.
pub fn is_settings(text: &str) -> bool {
    let mut lines = text.lines().map(|l| l.trim_start_matches('\u{feff}').trim()).filter(|l| !l.is_empty() && !l.starts_with('#'));
    let Some(first) = lines.next() else { return false };
    let head = first.split('#').next().unwrap_or("").trim_end();
    match head.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        Some(name) => name == "[target]" || name == "rules" || name.starts_with("rules."),
        None => head.starts_with("rules.") && head.contains('='),
    }
}

/// A number that TOML reads as it was.
fn number(value: f64) -> String {
    if value.abs() < 9e15 { format!("{value}") } else { format!("{value:?}") }
}

/// A basic string: what JSON escapes, and the one control character that only TOML does.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007F")
}

/// In the largest unit that loses nothing.
fn length(ns: i64) -> String {
    let unit = [("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1000)].into_iter().find(|(_, n)| ns != 0 && ns % n == 0);
    unit.map_or(format!("{ns} ns"), |(name, n)| format!("{} {name}", ns / n))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[rules.allocation-sites]\nenabled = false\n\n[rules.chatty-n-plus-one]\nmin_calls = 8\n\n\
                        [rules.hot-loop]\ninfo-share = 0.05\n\n[[target]]\nservice = \"a \\\"b\\\"\"\noperation = \"GET /|;&\"\n\
                        p95 = \"250 ms\"\np99 = \"1500001 ns\"\nerror_rate = 0.01\n";

    #[test]
    fn a_file_and_its_lines_say_the_same() {
        let read = Settings::parse(TEXT).unwrap();
        assert_eq!(read.to_toml(), TEXT);
        let lines = read.lines();
        assert_eq!(lines[..3], ["chatty-n-plus-one.min_calls=8", "hot-loop.info-share=0.05", "allocation-sites=off"]);
        let (again, errors) = Settings::from_lines(&lines);
        assert_eq!((again.lines(), errors), (lines, Vec::new()));
        assert_eq!(again.targets, read.targets);
        assert_eq!(Settings::parse(&again.to_toml()).unwrap().to_toml(), TEXT);
        assert_eq!(Settings::default().to_toml(), "");
    }

    #[test]
    fn the_last_of_several_counts() {
        let lines = ["hot-loop.info-share=0.1", "hot-loop.info-share=0.2", "hot-loop=off", "hot-loop=off"].map(String::from);
        let (settings, _) = Settings::from_lines(&lines);
        assert_eq!(settings.lines(), ["hot-loop.info-share=0.2", "hot-loop=off"]);
        assert_eq!(settings.to_toml(), "[rules.hot-loop]\nenabled = false\ninfo-share = 0.2\n");
    }

    #[test]
    fn lines_that_mean_nothing_say_why() {
        let lines = ["hot-loop.x=1", "nonsense=off", "hot-loop.info-share=much", "{\"p95_ns\":true}", "hot-loop.info-share=0.5"];
        let (settings, errors) = Settings::from_lines(&lines.map(String::from));
        assert_eq!(settings.lines(), ["hot-loop.info-share=0.5"]);
        let parts = ["it has info-share", "there is no rule nonsense", "much is not a number", "invalid type"];
        assert!(errors.len() == 4 && errors.iter().zip(parts).all(|(e, part)| e.contains(part)), "{errors:?}");
    }

    #[test]
    fn settings_are_known_by_content() {
        for text in [TEXT, "# ours\n\n[[target]] # all\np95 = \"1 s\"", "\u{feff}rules.hot-loop.info-share = 1", "[rules.nonsense]\nx = 1"]
        {
            assert!(is_settings(text), "{text}");
        }
        for text in ["", "# nothing", "[rules.a];b 3", "[package]\nname = \"x\"", "{\"rules.\": 1}", "rules.;a 3"] {
            assert!(!is_settings(text), "{text}");
        }
    }
}
