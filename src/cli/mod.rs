//! The native command: the same engine from a shell. Its arguments, JSON and exit status are a public contract.

mod analyze;
mod diff;
mod export;
mod inspect;
mod labels;
mod lists;
mod load;
mod pick;
mod threads;
mod top;
mod top_categories;
mod traces;
mod what_if;

use clap::{Parser, Subcommand};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

const ABOUT: &str = "Reads profiles and traces, shows what is slow, and proves it. Nothing leaves the machine.";
const AFTER: &str = "FILE may be - (standard input); gzip is unwrapped and formats are recognised by content.
Exit status: 0 done; 1 a file could not be read (the others still are); 2 wrong usage; 3 findings at or above --fail-on.";

#[derive(Parser)]
#[command(name = "hotspan", version, about = ABOUT, after_help = AFTER, disable_help_subcommand = true)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Findings of one or more files
    Analyze(analyze::Args),
    /// What each file holds, and the ledger of its import
    Inspect(inspect::Args),
    /// Functions of a profile by self or total weight
    Top(top::Args),
    /// Traces, operations and the calls between services
    Traces(traces::ListArgs),
    /// One trace: its rows, its critical path, and what changes would make of it
    Trace(traces::OneArgs),
    /// What changed between two sets of files: baseline, --, candidate
    Diff(diff::Args),
    /// A profile as pprof, folded stacks, a flame graph as SVG, speedscope's JSON, traces as OTLP JSON, or their critical paths folded
    Export(export::Args),
    /// The formats that are read
    Formats(lists::FormatsArgs),
    /// The rules, or the documentation of one
    Rules(lists::RulesArgs),
}

/// How a command ended, short of success.
pub(crate) enum Stop {
    /// A file could not be read: status 1. What is wrong was already said.
    Unreadable,
    /// Wrong usage: status 2, with a sentence.
    Usage(String),
    /// Findings at or above the threshold: status 3.
    Findings,
    /// Output could not be written.
    Output(std::io::Error),
}

impl From<std::io::Error> for Stop {
    fn from(e: std::io::Error) -> Stop {
        Stop::Output(e)
    }
}

/// Runs the command line; the exit status is that of the public contract (0 done, 1 unreadable file, 2 wrong usage, 3 findings).
pub fn main() -> ExitCode {
    let args = Args::parse();
    let result = match args.command {
        Command::Analyze(a) => analyze::run(&a),
        Command::Inspect(a) => inspect::run(&a),
        Command::Top(a) => top::run(&a),
        Command::Traces(a) => traces::run_list(&a),
        Command::Trace(a) => traces::run_one(&a),
        Command::Diff(a) => diff::run(&a),
        Command::Export(a) => export::run(&a),
        Command::Formats(a) => lists::formats(&a),
        Command::Rules(a) => lists::rules(&a),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Stop::Unreadable) => ExitCode::from(1),
        Err(Stop::Usage(sentence)) => {
            eprintln!("hotspan: {sentence}");
            ExitCode::from(2)
        }
        Err(Stop::Findings) => ExitCode::from(3),
        // A reader that has seen enough, such as `head`, closes the pipe: not an error of ours.
        Err(Stop::Output(e)) if e.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(Stop::Output(e)) => {
            eprintln!("hotspan: cannot write the output: {e}");
            ExitCode::from(1)
        }
    }
}

/// Writes to a file, or to standard output.
pub(crate) fn write_out(out: Option<&PathBuf>, text: &str) -> Result<(), Stop> {
    write_bytes(out, text.as_bytes())
}

/// Writes bytes to a file, or to standard output.
pub(crate) fn write_bytes(out: Option<&PathBuf>, bytes: &[u8]) -> Result<(), Stop> {
    match out {
        Some(path) => Ok(std::fs::write(path, bytes)?),
        None => {
            let mut stdout = std::io::stdout().lock();
            stdout.write_all(bytes)?;
            Ok(stdout.flush()?)
        }
    }
}

/// Pretty JSON with a newline at the end.
pub(crate) fn to_json(value: &impl serde::Serialize) -> Result<String, Stop> {
    serde_json::to_string_pretty(value).map(|text| text + "\n").map_err(|e| Stop::Output(std::io::Error::other(e)))
}
