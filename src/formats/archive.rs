//! Archives: files with several files in them. They are walked as a stream, member by member, so that memory does not grow
//! with their size; each member becomes a source of its own. Names are only shown: nothing is ever written anywhere.

use super::{tar, zip};
use crate::model::diagnostics::{DiagnosticCode, Level};
use std::io::{BufRead, Read};

/// Members that are opened, at most: each is a row in the list of files.
pub const MAX_MEMBERS: u64 = 1000;
/// Members that are passed over, at most, folders included.
pub const MAX_WALKED: u64 = 100_000;
/// Members that no format reads and that still get a row with their own sentence; the others are counted.
pub const MAX_UNREAD_ROWS: u64 = 20;
/// Bytes of one member that are inflated only to find its end.
pub const MAX_DRAINED: u64 = 4 << 30;
/// Archives in archives.
pub const MAX_NESTED: u32 = 3;

/// Folders, links and the files in which systems keep attributes.
pub const SKIPPED: DiagnosticCode = DiagnosticCode {
    code: "container/skipped-member",
    level: Level::Info,
    message: "Folders, links, empty files and the files in which macOS keeps attributes were passed over.",
};
/// Members of no known format behind the first few.
pub const UNREAD: DiagnosticCode = DiagnosticCode {
    code: "container/unread-member",
    level: Level::Notice,
    message: "Files in the archive that hold nothing that is read here.",
};
/// The archive ends early.
pub const BROKEN: DiagnosticCode = DiagnosticCode {
    code: "container/archive-damaged",
    level: Level::DataLoss,
    message: "The archive is cut or damaged; the files before the place were read.",
};
/// A member's content is not what was packed.
pub const CHECKSUM: DiagnosticCode = DiagnosticCode {
    code: "container/member-damaged",
    level: Level::DataLoss,
    message: "The file is damaged in its archive; what could be unpacked was read.",
};
/// A limit of archives.
pub const LIMIT: DiagnosticCode = DiagnosticCode {
    code: "container/archive-limit",
    level: Level::DataLoss,
    message: "The archive holds more than is opened at once; unpack it and open the files that matter.",
};

/// What a member is.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// A file whose bytes can be read.
    File,
    /// Nothing to read: a folder, a link, a device.
    Other,
    /// A file whose bytes cannot be had: the sentence says why and what to do.
    Locked(String),
}

/// The member that an archive stands at.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Path in the archive as it is written there; for display only.
    pub name: String,
    /// Size when unpacked; `None` where only its end will tell.
    pub size: Option<u64>,
    /// What it is.
    pub kind: Kind,
}

/// An archive on its way: `read` gives the bytes of the current member.
pub trait Walk: Read {
    /// Goes to the next member; the current one was left. `None` at the end.
    ///
    /// # Errors
    /// A sentence when the archive is cut or damaged; then nothing more comes.
    fn next(&mut self) -> Result<Option<Member>, String>;
    /// Passes over what is left of the current member, and tells what is wrong with it as far as it was read.
    ///
    /// # Errors
    /// As [`Walk::next`].
    fn leave(&mut self) -> Result<Option<String>, String>;
}

/// The archive that a stream begins with: its name in [`crate::model::Source::container`].
pub fn archive(head: &[u8]) -> Option<&'static str> {
    if zip::starts(head) {
        Some("zip")
    } else if tar::starts(head) {
        Some("tar")
    } else {
        None
    }
}

/// Opens it.
pub fn open<'a>(name: &str, input: Box<dyn BufRead + 'a>) -> Box<dyn Walk + 'a> {
    if name == "zip" { Box::new(zip::Zip::new(input)) } else { Box::new(tar::Tar::new(input)) }
}

/// Whether a member is only a by-product of the system that packed it: macOS' resource forks and folder settings.
pub fn is_by_product(name: &str) -> bool {
    let base = name.rsplit('/').next().unwrap_or(name);
    name.split('/').any(|part| part == "__MACOSX") || base.starts_with("._") || base == ".DS_Store"
}

/// A member's name as it is shown behind the archive's: without control characters, and of bounded length.
pub fn shown(name: &str) -> String {
    let mut out: String = name.chars().map(|c| if c.is_control() { ' ' } else { c }).take(240).collect();
    if name.chars().nth(240).is_some() {
        out.push('…');
    }
    out
}

/// Passes over `n` bytes; `false` when there are fewer.
pub fn pass(input: &mut dyn BufRead, n: u64) -> std::io::Result<bool> {
    let mut left = n;
    while left > 0 {
        let available = input.fill_buf()?.len() as u64;
        if available == 0 {
            return Ok(false);
        }
        let step = available.min(left);
        input.consume(step as usize);
        left -= step;
    }
    Ok(true)
}

/// Fills `buf` as far as the input goes, and tells how far.
pub fn fill(input: &mut dyn BufRead, buf: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buf.len() {
        match input.read(&mut buf[filled..])? {
            0 => break,
            n => filled += n,
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_products_and_names() {
        for name in ["__MACOSX/a/._x.json", "a/._x.json", "a/.DS_Store"] {
            assert!(is_by_product(name), "{name}");
        }
        assert!(!is_by_product("a/x.json") && !is_by_product("._/x"));
        assert_eq!(shown("../../etc/pass\u{1b}wd\n"), "../../etc/pass wd ");
        assert_eq!(shown(&"a".repeat(500)).chars().count(), 241);
    }
}
