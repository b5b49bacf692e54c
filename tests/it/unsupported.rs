//! Files that are known and not read get a sentence that names them; what is read is never taken for one of them.

use crate::corpus::{expected, open, open_bytes};

/// Corpus files (by the start of their name) and a part of the sentence that they must get. A row goes when a format learns
/// to read the file.
const KNOWN: &[(&str, &str)] =
    &[("other/otel-proto--logs.json", "logs"), ("other/otel-proto--metrics.json", "metrics"), ("other/speedscope--stack.log", "Papyrus")];

#[test]
fn the_corpus_is_named() {
    let mut wrong = Vec::new();
    let folders = ["other"];
    let mut files = 0;
    for (file, _, _) in expected(&folders) {
        let row = KNOWN.iter().find(|(start, _)| file.starts_with(start));
        let Some((_, part)) = row else {
            // What has no row is read.
            if open(&file).is_some_and(|engine| engine.session.sources[0].error.is_some()) {
                wrong.push(format!("{file}: neither read nor in a row here"));
            }
            continue;
        };
        files += 1;
        let engine = open(&file).unwrap();
        let error = engine.session.sources[0].error.clone().unwrap_or_default();
        if !error.starts_with("it is ") || !error.contains(part) || !error.contains("; ") {
            wrong.push(format!("{file}: expected {part:?} in {error:?}"));
        }
    }
    println!("unsupported: {files} files, {} differ", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn other_files_are_named() {
    let etl = [&0x10000_u32.to_le_bytes()[..], &[0; 68], &[2, 0, 2, 0xc0, 0, 0]].concat();
    let cases: &[(&[u8], &str)] = &[
        (b"\xfd7zXZ\0\0\x04", "xz -d"),
        (b"BZh91AY&SY\0", "bzip2 -d"),
        (b"\x02\x21\x4c\x18\x64", "lz4 -d"),
        (&etl, "Windows event trace"),
        (b"\x7fELF\x02\x01\x01\0", "program"),
        (b"MZ\x90\0\x03This program cannot be run in DOS mode.", "program"),
        (b"\x89PNG\r\n\x1a\n\0\0", "picture"),
        (b"%PDF-1.7\n", "document"),
        (b"<!DOCTYPE html><html><title>Sign in</title>", "web page"),
        (b"\n<?xml version=\"1.0\"?>\n<svg width=\"1200\">", "picture (SVG)"),
        (b"Nettrace\x14\0\0\0!FastSerialization.1", ".NET"),
        (b"go 1.22 trace\0\0\0\x01\x02", "go tool trace"),
        (b"JAVA PROFILE 1.0.2\0\0\0\0\x08", "heap dump"),
        (b"{\x29\x03\xda\x0aprofile.py", "py-spy"),
        (b"Attaching 1 probe...\n\n\n@[\n    f+1\n    g+2\n]: 5\n", "bpftrace"),
        (b"v 10400 2\nX ./app\nI 1000 8\n", "heaptrack_print"),
        (b"# tracer: nop\n#\n", "traceconv"),
        (b"SQLite format 3\0\x10\0", "SQLite"),
        (b"{\"log\":{\"version\":\"1.2\",\"creator\":{},\"entries\":[]}}", ".har"),
        (b"{\"snapshot\":{\"meta\":{}},\"nodes\":[]}", "heap snapshot"),
        (b"{\"traces\":[{\"traceID\":\"1\",\"rootServiceName\":\"a\"}]}", "Tempo"),
        (b"{\"hits\":{\"hits\":[{\"_source\":{}}]}}", "Elasticsearch"),
    ];
    for (bytes, part) in cases {
        let engine = open_bytes(bytes.to_vec());
        let source = &engine.session.sources[0];
        let error = source.error.clone().unwrap_or_default();
        assert!(error.starts_with("it is ") && error.contains(part), "{:?}: {error}", String::from_utf8_lossy(bytes));
        assert_eq!(source.format, "", "{error}");
    }
}

#[test]
fn a_known_kind_is_known_inside_gzip_too() {
    use std::io::Write;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(b"JAVA PROFILE 1.0.2\0\0\0\0\x08").unwrap();
    let engine = open_bytes(gzip.finish().unwrap());
    let source = &engine.session.sources[0];
    assert!(source.error.as_deref().is_some_and(|e| e.contains("heap dump")), "{:?}", source.error);
    assert_eq!(source.container, ["gzip"]);
}
