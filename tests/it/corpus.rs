//! The corpus of real files with facts from independent tools. It is not part of this repository: without it the tests say
//! so and check only our own fixtures.

use hotspan::engine::Engine;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The corpus folder, if it is there.
pub fn folder() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    if folder.join("EXPECTED.json").exists() {
        return Some(folder);
    }
    println!("SKIPPED: ../shared/corpus is absent, so nothing was compared with other tools' results");
    None
}

/// The facts of the files in some of its folders: name, expectation, facts.
pub fn expected(folders: &[&str]) -> Vec<(String, String, Value)> {
    let Some(folder) = folder() else { return Vec::new() };
    let text = std::fs::read_to_string(folder.join("EXPECTED.json")).unwrap();
    let mut all: Value = serde_json::from_str(&text).unwrap();
    let mut out = Vec::new();
    for (name, entry) in all["files"].as_object_mut().unwrap() {
        if folders.iter().any(|f| name.split('/').next() == Some(*f)) {
            let expect = entry["expect"].as_str().unwrap_or_default().to_string();
            out.push((name.clone(), expect, entry["facts"].take()));
        }
    }
    out.sort_by(|a, b| a.0.cmp(&b.0));
    out
}

/// Opens bytes under a name that says nothing.
pub fn open_bytes(bytes: Vec<u8>) -> Engine {
    let mut engine = Engine::default();
    engine.open("x", bytes.len() as u64, Box::new(std::io::Cursor::new(bytes)), &mut |_| true);
    engine.finish();
    engine
}

/// Opens a corpus file under a name that says nothing.
pub fn open(name: &str) -> Option<Engine> {
    Some(open_bytes(std::fs::read(folder()?.join(name)).unwrap()))
}

/// Opens one of our own fixtures under a name that says nothing.
pub fn fixture(name: &str) -> Engine {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    open_bytes(std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
}

/// Collects differences and prints the table of a format.
#[derive(Default)]
pub struct Table {
    files: u32,
    facts: u32,
    differ: Vec<String>,
}

impl Table {
    /// Begins a file.
    pub fn file(&mut self) {
        self.files += 1;
    }
    /// Compares one fact.
    pub fn check<T: PartialEq + std::fmt::Debug>(&mut self, file: &str, fact: &str, got: T, expected: T) {
        self.facts += 1;
        if got != expected {
            self.differ.push(format!("{file}: {fact}: got {got:?}, expected {expected:?}"));
        }
    }
    /// Prints the table and fails on differences that are not explained.
    pub fn finish(self, format: &str, explained: &[&str]) {
        let (known, unknown): (Vec<_>, Vec<_>) = self.differ.iter().partition(|d| explained.iter().any(|e| d.starts_with(e)));
        println!(
            "{format}: {} files, {} facts, {} agree, {} differ",
            self.files,
            self.facts,
            self.facts as usize - self.differ.len(),
            self.differ.len()
        );
        for line in &known {
            println!("  explained: {line}");
        }
        assert!(unknown.is_empty(), "{}", unknown.into_iter().cloned().collect::<Vec<_>>().join("\n"));
    }
}
