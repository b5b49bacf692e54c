//! The rules of the house that a machine can check: layers, file length, registries with fixtures and documentation.

use hotspan::findings::DETECTORS;
use hotspan::formats::FORMATS;
use std::fs;
use std::path::{Path, PathBuf};

const MAX_LINES: usize = 500;

/// Each layer with the layers it may name.
const LAYERS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("model", &["base"]),
    ("formats", &["base", "model"]),
    ("analysis", &["base", "model"]),
    ("findings", &["base", "model", "analysis"]),
    ("report", &["base", "model", "analysis", "findings"]),
    ("paint", &["base"]),
    ("engine", &["base", "model", "formats", "analysis", "findings", "report"]),
    ("cli", &["base", "model", "formats", "analysis", "findings", "report", "engine"]),
    ("web", &["base", "paint", "engine"]),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for path in entries.filter_map(|e| Some(e.ok()?.path())) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                out.push(path);
            }
        }
    }
    out.sort();
    out
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

#[test]
fn layers_use_only_what_lies_below() {
    let mut wrong = Vec::new();
    for (layer, allowed) in LAYERS {
        for file in rust_files(&root().join("src").join(layer)) {
            let text = fs::read_to_string(&file).unwrap();
            for (number, line) in text.lines().enumerate() {
                // Doc comments may point anywhere; code may not. Unit tests sit at the end of a file and may build inputs from above.
                if line.trim_start() == "#[cfg(test)]" {
                    break;
                }
                let code = line.split("//").next().unwrap_or("");
                for used in
                    code.split("crate::").skip(1).map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or(""))
                {
                    let fine = used.is_empty() || used == *layer || used == "define_id" || allowed.contains(&used);
                    if !fine {
                        wrong.push(format!("{}:{}: {layer} must not use {used}", relative(&file), number + 1));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_page_sees_the_engine_only_through_the_protocol() {
    let mut wrong = Vec::new();
    for file in rust_files(&root().join("src/web")) {
        // The worker runs the engine, and files are opened in it.
        let hosts_engine = file.file_name().is_some_and(|n| n == "worker.rs" || n == "opening.rs");
        for (number, line) in fs::read_to_string(&file).unwrap().lines().enumerate() {
            let code = line.split("//").next().unwrap_or("");
            if !hosts_engine && code.contains("crate::engine::") && !code.contains("crate::engine::protocol") {
                wrong.push(format!("{}:{}: {}", relative(&file), number + 1, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_stay_readable() {
    let mut long = Vec::new();
    for folder in ["src", "tests", "benches", "xtask", "fuzz"] {
        for file in rust_files(&root().join(folder)) {
            let lines = fs::read_to_string(&file).unwrap().lines().count();
            if lines > MAX_LINES {
                long.push(format!("{}: {lines} lines", relative(&file)));
            }
        }
    }
    assert!(long.is_empty(), "over {MAX_LINES} lines:\n{}", long.join("\n"));
}

#[test]
fn every_format_has_fixtures_and_says_how_to_make_a_file() {
    for format in FORMATS {
        let folder = root().join("tests/fixtures").join(format.id());
        let files = fs::read_dir(&folder).map(|d| d.count()).unwrap_or(0);
        assert!(files > 0, "{} has no fixtures in {}", format.id(), relative(&folder));
        assert!(!format.hint().is_empty() && !format.name().is_empty());
    }
    let mut ids: Vec<&str> = FORMATS.iter().map(|f| f.id()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), FORMATS.len(), "format ids must differ");
    assert!(FORMATS.len() >= 7, "the registry lost formats: {ids:?}");
}

#[test]
fn every_rule_is_documented() {
    assert!(DETECTORS.len() >= 4, "the registry lost rules");
    for rule in DETECTORS.iter().map(|d| d.rule()) {
        let page = root().join("docs/rules").join(format!("{}.md", rule.id));
        let text = fs::read_to_string(&page).unwrap_or_else(|_| panic!("{} has no page docs/rules/{}.md", rule.id, rule.id));
        assert_eq!(text, rule.doc, "{} must show its own page", rule.id);
        for threshold in rule.thresholds {
            assert!(!threshold.doc.is_empty(), "{}.{} has no documentation", rule.id, threshold.name);
            assert!(text.contains(threshold.name), "docs/rules/{}.md does not mention the threshold {}", rule.id, threshold.name);
        }
        let lower = text.to_lowercase();
        for part in ["why", "how to fix", "false positives"] {
            assert!(lower.contains(part), "docs/rules/{}.md has no part \u{201c}{part}\u{201d}", rule.id);
        }
    }
}

#[test]
fn nothing_below_the_shell_touches_the_outside() {
    let banned = ["std::fs", "std::env", "std::net", "std::process", "SystemTime", "Instant::now", "println!", "eprintln!"];
    let mut wrong = Vec::new();
    for (layer, _) in LAYERS.iter().filter(|(layer, _)| *layer != "cli" && *layer != "web") {
        for file in rust_files(&root().join("src").join(layer)) {
            let text = fs::read_to_string(&file).unwrap();
            for (number, line) in text.lines().enumerate().take_while(|(_, line)| line.trim_start() != "#[cfg(test)]") {
                let code = line.split("//").next().unwrap_or("");
                if let Some(word) = banned.iter().find(|word| code.contains(**word)) {
                    wrong.push(format!("{}:{}: {word}", relative(&file), number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
