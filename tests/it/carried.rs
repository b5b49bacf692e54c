//! The page's first module knows what it cannot read before it reads, and sends everything else on to the whole one.

use crate::corpus;
use hotspan::base::ids::FuncId;
use hotspan::base::patterns::{MAX_PATTERNS, Patterns};
use hotspan::formats::carried::{FIRST, WHOLE};
use hotspan::formats::input::asks_for_more;
use hotspan::formats::{FORMATS, names};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

fn files(folder: &Path) -> Vec<PathBuf> {
    let (mut out, mut folders) = (Vec::new(), vec![folder.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                out.push(path);
            }
        }
    }
    out.sort();
    out
}

/// Format and wrappings of a source.
type Kind = (String, Vec<String>);

/// What the whole build makes of the files of fixtures and corpus.
#[derive(Default)]
struct Opened {
    /// Every file with its sources.
    files: Vec<(PathBuf, Vec<Kind>)>,
    /// Names of functions, files and binaries.
    names: BTreeSet<String>,
}

fn opened() -> &'static Opened {
    static OPENED: OnceLock<Opened> = OnceLock::new();
    OPENED.get_or_init(|| {
        let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")];
        folders.extend(corpus::folder());
        let mut out = Opened::default();
        // Large files say no more than small ones.
        let small = |p: &PathBuf| p.metadata().is_ok_and(|m| m.len() <= 1 << 20);
        for path in folders.iter().flat_map(|f| files(f)).filter(small) {
            let mut engine = hotspan::engine::Engine::default();
            let bytes = std::fs::read(&path).unwrap();
            engine.open("x", bytes.len() as u64, Box::new(Cursor::new(bytes)), &mut |_| true);
            let session = &engine.session;
            out.files.push((path, session.sources.iter().map(|s| (s.format.clone(), s.container.clone())).collect()));
            for func in (0..session.symbols.funcs.len()).map(FuncId::from_index) {
                out.names.insert(session.symbols.func_name(&session.strings, func).to_string());
                out.names.insert(session.strings.get(session.symbols.funcs.file[func.index()]).to_string());
            }
            out.names.extend(session.symbols.mappings.file.iter().map(|file| session.strings.get(*file).to_string()));
            out.names.extend(session.profiles.iter().flat_map(|p| &p.threads).map(|t| t.name.clone()));
        }
        out
    })
}

fn first_reads(format: &str) -> bool {
    FIRST.formats.iter().any(|f| f.id() == format && f.is_carried())
}

#[test]
fn both_modules_recognise_the_same_formats_in_the_same_order() {
    let ids = |formats: &[&'static dyn hotspan::formats::Format]| formats.iter().map(|f| f.id()).collect::<Vec<_>>();
    assert_eq!(ids(FIRST.formats), ids(FORMATS));
    assert_eq!(ids(WHOLE.formats), ids(FORMATS));
    assert!(WHOLE.formats.iter().all(|f| f.is_carried()));
    let carried: Vec<&str> = FIRST.formats.iter().filter(|f| f.is_carried()).map(|f| f.id()).collect();
    for core in ["pprof", "perf-script", "folded", "chrome-trace", "otlp-json", "jaeger-json", "zipkin-json"] {
        assert!(carried.contains(&core), "{core} is a core format: the first module must read it");
    }
    for (rare, whole) in FIRST.formats.iter().zip(WHOLE.formats) {
        assert_eq!((rare.name(), rare.hint(), rare.extensions()), (whole.name(), whole.hint(), whole.extensions()));
        assert!(rare.is_carried() || rare.in_parts().is_none());
    }
    let wrappings = |all: &[hotspan::formats::unwrap::Wrapping]| all.iter().map(|w| w.name).collect::<Vec<_>>();
    assert_eq!(wrappings(FIRST.wrappings), wrappings(WHOLE.wrappings));
}

/// A file is sent on exactly when something of it is of a format, a wrapping or an archive that the first module lacks.
#[test]
fn files_are_sent_on_exactly_when_they_need_it() {
    let (mut first, mut sent, mut wrong) = (0, 0, Vec::new());
    for (path, sources) in &opened().files {
        let ask = |carried| asks_for_more(carried, Box::new(Cursor::new(std::fs::read(path).unwrap())));
        assert!(!ask(&WHOLE), "{}: the whole module has nobody to ask", path.display());
        let lacks = |name: &str| ["zstd", "lz4", "zip", "tar"].contains(&name);
        let needs = sources
            .iter()
            .any(|(format, container)| container.iter().any(|c| lacks(c)) || lacks(format) || (!format.is_empty() && !first_reads(format)));
        *(if needs { &mut sent } else { &mut first }) += 1;
        if ask(&FIRST) != needs {
            wrong.push(format!("{}: needs the whole module {needs}, asks for it {}", path.display(), !needs));
        }
    }
    println!("{first} files are for the first module, {sent} are sent on");
    assert!(first > 40 && sent > 60, "{first} and {sent}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The hooks of the whole module are what the layers call when nothing is left out.
#[test]
fn names_of_cpp_symbols_come_from_the_module_that_carries_them() {
    let cpp = WHOLE.cpp.unwrap();
    assert_eq!(cpp("_ZN3foo3barEi", true).as_deref(), Some("foo::bar(int)"));
    assert_eq!(names::demangle("_ZN3foo3barEi").as_deref(), Some("foo::bar"));
    assert_eq!(cpp("main", true), None);
    assert!(FIRST.cpp.is_none() && FIRST.archive.is_none() && FIRST.symbols.is_none());
}

/// The matcher of the page against the regex crate, over all names that occur in fixtures and corpus.
#[test]
fn the_taxonomy_matches_real_names_as_the_regex_crate_does() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/analysis/categories.json")).unwrap();
    let taxonomy: Value = serde_json::from_str(&text).unwrap();
    let mut patterns: Vec<&str> =
        taxonomy["rules"].as_object().unwrap().values().flat_map(|r| r.as_array().unwrap()).map(|r| r["re"].as_str().unwrap()).collect();
    patterns.extend(
        taxonomy["runtime_detect"].as_object().unwrap().values().flat_map(|d| d.as_object().unwrap().values()).filter_map(Value::as_str),
    );
    let (names, mut hits) = (&opened().names, 0);
    for chunk in patterns.chunks(MAX_PATTERNS) {
        let own = Patterns::new(chunk).unwrap();
        let reference = regex::bytes::RegexSetBuilder::new(chunk).unicode(false).size_limit(64 << 20).build().unwrap();
        for name in names {
            let (own, theirs): (Vec<usize>, Vec<usize>) =
                (own.matches(name.as_bytes()).collect(), reference.matches(name.as_bytes()).into_iter().collect());
            assert_eq!(own, theirs, "{name}");
            hits += own.len();
        }
    }
    println!("{} patterns over {} names: {hits} hits", patterns.len(), names.len());
    assert!(patterns.len() > 100 && names.len() > 2_000 && hits > 2_000);
}
