//! Wrappings and archives: what is in them gives the same tables as without them, and nothing hostile is believed.

use crate::corpus::{fixture, open, open_bytes};
use crate::profiles::random;
use hotspan::engine::Engine;
use hotspan::model::Source;
use std::io::Write;
use std::path::Path;

/// Everything that is in the tables, and the account of each source that is no archive.
fn tables(engine: &Engine) -> String {
    let session = &engine.session;
    let ledgers: Vec<_> = session.sources.iter().map(|s| (&s.format, &s.error, &s.ledger, s.timeline, s.has_spans)).collect();
    format!("{ledgers:?} {:?} {:?} {:?}", session.profiles, session.traces, session.symbols.stacks.frame)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

/// An lz4 frame of stored blocks (LZ4 Frame Format 1.6.3): 64 KB blocks without checksums.
fn lz4(bytes: &[u8]) -> Vec<u8> {
    let mut out = b"\x04\x22\x4d\x18\x60\x40\x82".to_vec();
    for block in bytes.chunks(1 << 16) {
        out.extend_from_slice(&(block.len() as u32 | 1 << 31).to_le_bytes());
        out.extend_from_slice(block);
    }
    out.extend_from_slice(&[0; 4]);
    out
}

#[derive(Clone, Copy, PartialEq)]
enum Sizes {
    Header,
    Descriptor,
    WideDescriptor,
}

/// A local header with its member. The directory is made by [`zip`].
fn entry(name: &str, method: u16, sizes: Sizes, packed: &[u8], crc: u32, size: usize) -> Vec<u8> {
    let mut out = b"PK\x03\x04\x14\0".to_vec();
    out.extend_from_slice(&(if sizes == Sizes::Header { 0_u16 } else { 8 }).to_le_bytes());
    out.extend_from_slice(&method.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    let told = [crc, packed.len() as u32, size as u32];
    out.extend(told.iter().flat_map(|n| if sizes == Sizes::Header { n.to_le_bytes() } else { [0; 4] }));
    out.extend_from_slice(&(name.len() as u16).to_le_bytes());
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(packed);
    match sizes {
        Sizes::Header => {}
        Sizes::Descriptor => {
            out.extend_from_slice(b"PK\x07\x08");
            out.extend(told.iter().flat_map(|n| n.to_le_bytes()));
        }
        Sizes::WideDescriptor => {
            out.extend_from_slice(&crc.to_le_bytes());
            out.extend([packed.len(), size].iter().flat_map(|n| (*n as u64).to_le_bytes()));
        }
    }
    out
}

fn zip(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut out = entries.concat();
    for _ in entries {
        out.extend_from_slice(b"PK\x01\x02");
        out.extend_from_slice(&[0; 42]);
    }
    out.extend_from_slice(b"PK\x05\x06");
    out.extend_from_slice(&[0; 18]);
    out
}

fn zip_of(files: &[(&str, &[u8])], method: u16, sizes: Sizes) -> Vec<u8> {
    let one = |(name, bytes): &(&str, &[u8])| {
        let packed = if method == 8 { deflate(bytes) } else { bytes.to_vec() };
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        entry(name, method, sizes, &packed, crc.sum(), bytes.len())
    };
    zip(&files.iter().map(one).collect::<Vec<_>>())
}

fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, bytes) in files {
        let mut block = [0; 512];
        block[..name.len()].copy_from_slice(name.as_bytes());
        block[124..136].copy_from_slice(format!("{:011o} ", bytes.len()).as_bytes());
        block[156] = b'0';
        block[257..265].copy_from_slice(b"ustar\x0000");
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.extend_from_slice(&block);
        out.extend_from_slice(bytes);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

fn utf16(text: &str, big_endian: bool) -> Vec<u8> {
    let units = std::iter::once(0xfeff).chain(text.encode_utf16());
    units.flat_map(|u| if big_endian { u.to_be_bytes() } else { u.to_le_bytes() }).collect()
}

/// Our fixtures of every format, without those that are not small.
fn fixtures() -> Vec<(String, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut out = Vec::new();
    for format in hotspan::formats::FORMATS {
        for file in std::fs::read_dir(root.join(format.id())).unwrap() {
            let path = file.unwrap().path();
            let name = format!("{}/{}", format.id(), path.file_name().unwrap().to_string_lossy());
            let bytes = std::fs::read(&path).unwrap_or_default();
            if !bytes.is_empty() && bytes.len() < 100_000 && !name.ends_with(".md") && !name.ends_with(".txt.md") {
                out.push((name, bytes));
            }
        }
    }
    out.sort();
    out
}

#[test]
fn every_fixture_is_the_same_in_every_container() {
    let fixtures = fixtures();
    assert!(fixtures.len() > 20);
    for (name, bytes) in fixtures {
        let plain = tables(&open_bytes(bytes.clone()));
        let file = [("a/b", &bytes[..])];
        let containers: Vec<(&str, Vec<u8>, Vec<&str>)> = vec![
            ("gzip", gzip(&bytes), vec!["gzip"]),
            ("gzip twice", gzip(&gzip(&bytes)), vec!["gzip", "gzip"]),
            ("zlib", zlib(&bytes), vec!["zlib"]),
            ("zstd", zstd(&bytes), vec!["zstd"]),
            ("lz4", lz4(&bytes), vec!["lz4"]),
            ("zip, deflated", zip_of(&file, 8, Sizes::Header), vec!["zip"]),
            ("zip, streamed", zip_of(&file, 8, Sizes::Descriptor), vec!["zip"]),
            ("zip, streamed, wide", zip_of(&file, 8, Sizes::WideDescriptor), vec!["zip"]),
            ("zip, stored", zip_of(&file, 0, Sizes::Header), vec!["zip"]),
            ("zip, stored and streamed", zip_of(&file, 0, Sizes::Descriptor), vec!["zip"]),
            ("tar", tar(&file), vec!["tar"]),
            ("tar.gz", gzip(&tar(&file)), vec!["gzip", "tar"]),
            ("tar.zst of a gzip", zstd(&tar(&[("x", &gzip(&bytes))])), vec!["zstd", "tar", "gzip"]),
            ("zip in tar", tar(&[("x.zip", &zip_of(&file, 8, Sizes::Header))]), vec!["tar", "zip"]),
        ];
        for (what, wrapped, chain) in containers {
            let engine = open_bytes(wrapped);
            let sources = &engine.session.sources;
            assert!(sources[0].container.iter().map(String::as_str).eq(chain.iter().copied().chain(own(&bytes))), "{name} in {what}");
            assert_eq!(tables(&engine), plain, "{name} in {what}");
        }
        if let Ok(text) = String::from_utf8(bytes) {
            let text = text.trim_start_matches('\u{feff}');
            for big_endian in [true, false] {
                assert_eq!(tables(&open_bytes(utf16(text, big_endian))), plain, "{name} as UTF-16");
            }
            assert_eq!(tables(&open_bytes(gzip(&utf16(text, false)))), plain, "{name} as UTF-16 in gzip");
        }
    }
}

/// The wrapping that a fixture itself has.
fn own(bytes: &[u8]) -> Option<&'static str> {
    bytes.starts_with(&[0x1f, 0x8b]).then_some("gzip")
}

fn shape(engine: &Engine) -> Vec<(String, String, String)> {
    let line = |s: &Source| (s.file.clone(), s.format.clone(), s.container.join(" "));
    engine.session.sources.iter().map(line).collect()
}

fn row(file: &str, format: &str, container: &str) -> (String, String, String) {
    (file.to_string(), format.to_string(), container.to_string())
}

#[test]
fn archives_of_the_usual_programs() {
    let small = tables(&fixture("folded/small.folded"));
    for (name, member) in [
        ("streamed.zip", "x/-"),
        ("zip64.zip", "x/small.folded"),
        ("zip64-streamed.zip", "x/dir/Grüße.folded"),
        ("v7.tar.gz", "x/bundle/small.folded"),
        ("two-frames.zst", "x"),
        ("small.folded.lz4", "x"),
    ] {
        let engine = fixture(&format!("container/{name}"));
        assert_eq!(engine.session.sources[0].file, member, "{name}");
        assert_eq!(tables(&engine), small, "{name}");
    }
    let comm = tables(&fixture("perf-script/comm.txt"));
    for name in ["stored.zip", "comm.txt.lz4"] {
        assert_eq!(tables(&fixture(&format!("container/{name}"))), comm, "{name}");
    }
    let engine = fixture("container/stored-streamed.zip");
    assert_eq!(shape(&engine), [row("x/a.folded", "folded", "zip"), row("x/b.folded", "folded", "zip")]);
    let engine = fixture("container/gnu-long-name.tar.gz");
    let long = "long".repeat(40);
    let shown: String = format!("{long}/{long}.folded").chars().take(240).collect();
    let folder = engine.session.sources.iter().find(|s| s.format == "folded").unwrap();
    assert_eq!(folder.file, format!("x/{shown}…"));
}

#[test]
fn a_folder_in_an_archive() {
    for (name, archive) in [("bundle.zip", "zip"), ("bundle.tar.zst", "zstd tar"), ("pax.tar.gz", "gzip tar")] {
        let engine = fixture(&format!("container/{name}"));
        let mut rows = shape(&engine);
        let account = engine.session.sources.last().unwrap();
        assert_eq!(rows.pop(), Some(row("x", archive.rsplit(' ').next().unwrap(), archive)), "{name}");
        rows.sort();
        let expected = [
            row("x/bundle/README.md", "", archive),
            row("x/bundle/deep/comm.txt.gz", "perf-script", &format!("{archive} gzip")),
            row("x/bundle/deep/shop.json", "zipkin-json", archive),
            row("x/bundle/small.folded", "folded", archive),
        ];
        assert_eq!(rows, expected, "{name}");
        // Three folders, an empty file and a resource fork.
        assert_eq!(account.ledger.diagnostics.count("container/skipped-member"), 5, "{name}");
        assert_eq!((account.ledger.records_in, account.ledger.records_kept, &account.error), (9, 3, &None), "{name}");
        let readme = engine.session.sources.iter().find(|s| s.file.ends_with("README.md")).unwrap();
        assert!(readme.error.as_deref().is_some_and(|e| e.contains("no format recognises it")), "{:?}", readme.error);
        assert!(engine.session.sources.iter().all(|s| s.file_index == 0));
        assert_eq!(engine.session.next_file(), 1);
    }
}

#[test]
fn what_cannot_be_opened_says_so() {
    for (name, part) in [("encrypted.zip", "it is encrypted; unpack"), ("bzip2-method.zip", "packed by bzip2 (zip method 12)")] {
        let engine = fixture(&format!("container/{name}"));
        let error = engine.session.sources[0].error.clone().unwrap_or_default();
        assert!(error.contains(part), "{name}: {error}");
        assert_eq!(engine.session.sources.len(), 1, "{name}");
    }
    for empty in [zip(&[]), tar(&[("folder", b"")])] {
        let engine = open_bytes(empty);
        assert!(engine.session.sources[0].error.as_deref().is_some_and(|e| e.contains("without files")), "{:?}", engine.session.sources);
    }
    let mut deep = b"main;a 1\n".to_vec();
    for _ in 0..5 {
        deep = gzip(&deep);
    }
    assert!(open_bytes(deep).session.sources[0].error.as_deref().is_some_and(|e| e.contains("wrapped more than 4 times")));
    let mut deep = b"main;a 1\n".to_vec();
    for _ in 0..4 {
        deep = zip_of(&[("a", &deep)], 8, Sizes::Header);
    }
    assert!(open_bytes(deep).session.sources[0].error.as_deref().is_some_and(|e| e.contains("more than 3 deep")));
}

#[test]
fn hostile_archives_are_bounded() {
    // Paths are only shown.
    let engine = open_bytes(zip_of(&[("../../../etc/passwd", b"main;a 1\n"), ("/abs\u{1b}[2J", b"main;a 2\n")], 0, Sizes::Header));
    assert_eq!(shape(&engine), [row("x/../../../etc/passwd", "folded", "zip"), row("x//abs [2J", "folded", "zip")]);
    // Thousands of members: so many are opened, the rest is said.
    let names: Vec<String> = (0..1500).map(|i| format!("{i}.folded")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|n| (n.as_str(), &b"main;a 1\n"[..])).collect();
    let engine = open_bytes(tar(&files));
    assert_eq!((engine.session.sources.len(), engine.session.profiles.len()), (1001, 1000));
    assert_eq!(engine.session.sources[1000].ledger.diagnostics.count("container/archive-limit"), 1);
    // Of what is nothing, a few have a row and all are counted.
    let files: Vec<(&str, &[u8])> = names.iter().take(300).map(|n| (n.as_str(), &b"nothing of note"[..])).collect();
    let engine = open_bytes(zip_of(&files, 0, Sizes::Header));
    assert_eq!(engine.session.sources.len(), 21);
    assert_eq!(engine.session.sources[20].ledger.diagnostics.count("container/unread-member"), 280);
    // A bomb: 1 GiB of zeros in gzip in gzip. The outer layer is a thousandth of the inner one.
    let mut inner = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let zeros = vec![b'\n'; 1 << 20];
    (0..256).for_each(|_| inner.write_all(&zeros).unwrap());
    let bomb = gzip(&gzip(&inner.finish().unwrap()));
    let engine = open_bytes(bomb);
    assert!(engine.session.sources[0].error.is_some());
    // A directory that does not list what is there: what lies in the archive counts, and the difference is said.
    let mut odd = zip_of(&[("a", b"main;a 1\n"), ("b", b"main;a 2\n")], 0, Sizes::Header);
    let at = odd.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
    odd.drain(at..at + 46);
    let engine = open_bytes(odd);
    assert_eq!(engine.session.profiles.len(), 2);
    assert_eq!(engine.session.sources[2].ledger.diagnostics.count("container/archive-damaged"), 1);
}

#[test]
fn damage_of_wrappings_keeps_what_is_there() {
    let text: String = (0..20_000).map(|i| format!("main;work_{};step_{} {}\n", i % 97, i % 1013, 1 + i % 7)).collect();
    let whole = open_bytes(text.clone().into_bytes()).session.sources[0].ledger.records_in;
    for (what, wrapped) in
        [("gzip", gzip(text.as_bytes())), ("zlib", zlib(text.as_bytes())), ("zstd", zstd(text.as_bytes())), ("lz4", lz4(text.as_bytes()))]
    {
        let mut cut = wrapped.clone();
        cut.truncate(wrapped.len() / 2);
        let engine = open_bytes(cut);
        let source = &engine.session.sources[0];
        assert_eq!(source.ledger.diagnostics.count(&format!("container/{what}-damaged")), 1, "{what}");
        assert!(source.ledger.records_kept > whole / 4 && source.ledger.records_kept < whole, "{what}: {}", source.ledger.records_kept);
    }
    // A changed byte of a stored member is seen by its checksum.
    let mut changed = zip_of(&[("a", b"main;a 1\n"), ("b", b"main;a 2\n")], 0, Sizes::Header);
    let at = changed.windows(7).position(|w| w == b"ain;a 1").unwrap();
    changed[at + 6] = b'7';
    let engine = open_bytes(changed);
    let counts: Vec<u64> = engine.session.sources.iter().map(|s| s.ledger.diagnostics.count("container/member-damaged")).collect();
    assert_eq!(counts, [1, 0]);
    // Cut archives keep the members before the place.
    let files = [("a", &b"main;a 1\n"[..]), ("b", text.as_bytes())];
    for (what, mut archive) in
        [("zip", zip_of(&files, 8, Sizes::Descriptor)), ("stored zip", zip_of(&files, 0, Sizes::Header)), ("tar", tar(&files))]
    {
        archive.truncate(archive.len() * 2 / 3);
        let engine = open_bytes(archive);
        assert_eq!(engine.session.profiles[0].total(0), 1, "{what}");
        let lost =
            engine.session.sources[1..].iter().any(|s| s.ledger.diagnostics.worst() == Some(hotspan::model::diagnostics::Level::DataLoss));
        assert!(lost && engine.session.sources[1].ledger.records_kept > 0, "{what}: {:?}", engine.session.sources);
    }
}

#[test]
fn random_damage_is_survived() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/container");
    let mut state = 7;
    let mut files: Vec<_> = std::fs::read_dir(root).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    for path in files {
        let bytes = std::fs::read(&path).unwrap();
        for round in 0..400 {
            let mut copy = bytes.clone();
            if round % 2 == 0 {
                copy.truncate(random(&mut state) as usize % bytes.len());
            } else {
                for _ in 0..1 + random(&mut state) % 6 {
                    let at = random(&mut state) as usize % copy.len();
                    copy[at] = random(&mut state) as u8;
                }
            }
            for source in &open_bytes(copy).session.sources {
                assert!(source.ledger.records_kept <= source.ledger.records_in, "{path:?} round {round}");
                assert!(source.error.as_deref() != Some(""), "{path:?} round {round}");
            }
        }
    }
}

#[test]
fn the_zip_of_the_corpus_is_opened() {
    // Its facts are compared with those of all Chrome traces.
    let Some(engine) = open("chrome-trace/catapult--simple_trace_zip.zip") else { return };
    assert_eq!(shape(&engine), [row("x/simple_trace.json", "chrome-trace", "zip")]);
}
