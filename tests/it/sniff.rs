//! Every fixture of every format is recognised by its own reader alone, under a name that says nothing.

use crate::corpus::open_bytes;
use hotspan::formats::{FORMATS, Prefix, Sniff};
use std::io::Read;
use std::path::Path;

/// Programs that fixtures were recorded from, what other tools made of them, and notes lie beside the fixtures.
fn is_fixture(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let ending = path.extension().unwrap_or_default().to_string_lossy();
    let beside = ["c", "go", "java", "jfc", "js", "md", "py", "rs", "s", "sh", "tsv"].contains(&&*ending);
    path.is_file() && !beside && !name.starts_with("README") && !name.contains(".expected.")
}

#[test]
fn fixtures_are_recognised_by_their_own_reader() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut wrong = Vec::new();
    let mut files = 0;
    for format in FORMATS {
        let mut paths: Vec<_> = std::fs::read_dir(root.join(format.id())).unwrap().map(|e| e.unwrap().path()).collect();
        paths.sort();
        for path in paths.iter().filter(|p| is_fixture(p)) {
            let shown = path.strip_prefix(&root).unwrap().display();
            files += 1;
            let mut bytes = std::fs::read(path).unwrap();
            let engine = open_bytes(bytes.clone());
            let source = &engine.session.sources[0];
            if source.format != format.id() {
                wrong.push(format!("{shown}: read as {:?}: {:?}", source.format, source.error));
            }
            if bytes.starts_with(&[0x1f, 0x8b]) {
                let mut raw = Vec::new();
                flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut raw).unwrap();
                bytes = raw;
            }
            let prefix = Prefix { bytes: &bytes, complete: true };
            for other in FORMATS.iter().filter(|f| f.id() != format.id()) {
                if other.sniff(&prefix) == Sniff::Certain {
                    wrong.push(format!("{shown}: {} is certain that it is its own", other.id()));
                }
            }
        }
    }
    assert!(files > 20, "{files} fixtures");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
