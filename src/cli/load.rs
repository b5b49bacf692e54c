//! Files from the shell into an engine, with progress on a terminal.

use super::{Stop, threads};
use crate::base::quantity::format_bytes;
use crate::engine::Engine;
use crate::findings::settings::Settings;
use crate::formats::Progress;
use crate::formats::folded_unit::UNITS;
use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How files are to be understood where they do not say it themselves.
#[derive(clap::Args, Default)]
pub struct Reading {
    /// What the numbers of folded stacks are; without it samples
    #[arg(long, value_name = "UNIT", value_parser = clap::builder::PossibleValuesParser::new(UNITS))]
    unit: Option<String>,
}

/// Reads the files in order, says on standard error which could not be read, and runs the rules.
/// The flag tells whether every file was read.
pub fn load(files: &[PathBuf], baseline: &[PathBuf], settings: Settings, align_clocks: bool, reading: &Reading) -> (Engine, bool) {
    let mut engine = Engine { settings, unit: reading.unit.clone(), ..Engine::default() };
    let all_read = read_sides(&mut engine, files, baseline);
    if align_clocks {
        engine.link();
        eprintln!("hotspan: clocks aligned: {} spans moved", engine.align_clocks());
    }
    engine.finish();
    (engine, all_read)
}

/// Reads candidate and baseline without running the rules.
pub fn sides(files: &[PathBuf], baseline: &[PathBuf], settings: Settings) -> (Engine, bool) {
    let mut engine = Engine { settings, ..Engine::default() };
    let all_read = read_sides(&mut engine, files, baseline);
    engine.link();
    (engine, all_read)
}

fn read_sides(engine: &mut Engine, files: &[PathBuf], baseline: &[PathBuf]) -> bool {
    engine.swap();
    let before = read(engine, baseline);
    engine.swap();
    read(engine, files) && before
}

/// Reads the files without running the rules, for commands that show no findings.
pub fn tables(files: &[PathBuf], reading: &Reading) -> (Engine, bool) {
    let mut engine = Engine { unit: reading.unit.clone(), ..Engine::default() };
    let all_read = read(&mut engine, files);
    engine.link();
    (engine, all_read)
}

/// Reads one more file into an engine.
pub fn more(engine: &mut Engine, file: &Path) -> bool {
    let all_read = read(engine, &[file.to_path_buf()]);
    engine.link();
    all_read
}

fn read(engine: &mut Engine, files: &[PathBuf]) -> bool {
    for path in files {
        open(engine, path);
    }
    let sources = &engine.session.sources;
    for source in sources.iter().filter(|s| s.error.is_some()) {
        eprintln!("hotspan: {}: {}", source.file, source.error.as_deref().unwrap_or_default());
    }
    // An archive is read when anything in it was.
    sources.chunk_by(|a, b| a.file_index == b.file_index).all(|file| file.iter().any(|s| s.error.is_none()))
}

/// `Ok` when every file was read, else the status for it.
pub fn status(all_read: bool) -> Result<(), Stop> {
    if all_read { Ok(()) } else { Err(Stop::Unreadable) }
}

fn open(engine: &mut Engine, path: &Path) {
    let name = display_name(path);
    let mut meter = Meter::new(&name, std::fs::metadata(path).map_or(0, |m| m.len()));
    if threads::open_in_parts(engine, path, &name, meter.size, &mut |progress| {
        meter.show(progress);
    }) {
        meter.clear();
        return;
    }
    let opened: std::io::Result<(u64, Box<dyn Read>)> = if path.as_os_str() == "-" {
        Ok((0, Box::new(std::io::stdin())))
    } else {
        std::fs::File::open(path).and_then(|file| {
            let meta = file.metadata()?;
            if meta.is_dir() {
                return Err(std::io::Error::other("it is a folder; name the files in it"));
            }
            Ok((meta.len(), Box::new(file) as Box<dyn Read>))
        })
    };
    match opened {
        Ok((size, reader)) => {
            let mut meter = Meter::new(&name, size);
            engine.open(&name, size, reader, &mut |progress| meter.show(progress));
            meter.clear();
        }
        Err(e) => {
            let (file_index, error) = (engine.session.next_file(), Some(e.to_string()));
            engine.session.sources.push(crate::model::Source { file: name, file_index, error, ..Default::default() });
        }
    }
}

/// The last part of a path: what the page would show for the same file.
fn display_name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// One line on standard error, only when that is a terminal.
struct Meter<'a> {
    name: &'a str,
    size: u64,
    begin: Instant,
    last: Option<Instant>,
    live: bool,
}

impl Meter<'_> {
    fn new(name: &str, size: u64) -> Meter<'_> {
        Meter { name, size, begin: Instant::now(), last: None, live: std::io::stderr().is_terminal() }
    }

    fn show(&mut self, progress: Progress) -> bool {
        if !self.live
            || self.begin.elapsed() < Duration::from_millis(300)
            || self.last.is_some_and(|l| l.elapsed() < Duration::from_millis(100))
        {
            return true;
        }
        self.last = Some(Instant::now());
        let rate = progress.bytes as f64 / self.begin.elapsed().as_secs_f64().max(1e-9);
        let of = if self.size > 0 { format!(" of {}", format_bytes(self.size as f64)) } else { String::new() };
        eprint!("\r\x1b[K{}: {}{of}, {} rows, {}/s", self.name, format_bytes(progress.bytes as f64), progress.rows, format_bytes(rate));
        let _ = std::io::stderr().flush();
        true
    }

    fn clear(&self) {
        if self.last.is_some() {
            eprint!("\r\x1b[K");
        }
    }
}
