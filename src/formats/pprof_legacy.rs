//! The forms that pprof files had before the protobuf one, and that servers still give for `debug=1`: heap, growth,
//! contention, thread and count profiles as text, CPU profiles as words, each with a memory map or a symbol section.
//! Numbers follow `go tool pprof` (google/pprof profile/legacy_profile.go, legacy_java_profile.go); names that stand in
//! comments of Go or in the symbol section of gperftools' `pprof --raw` are taken too.

use super::pprof_legacy_cpu as cpu;
use super::pprof_legacy_text as text;
use super::pprof_memory_map::{Map, Maps};
use super::{Format, Import, ImportError, Prefix, Sniff};
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use std::collections::BTreeMap;
use std::io::BufRead;

pub(super) const NAME: &str = "pprof in its old text or binary form";
pub(super) const BAD_LINE: DiagnosticCode = DiagnosticCode {
    code: "pprof-legacy/bad-line",
    level: Level::DataLoss,
    message: "Lines that are no sample of this kind of profile were skipped.",
};
pub(super) const CUT: DiagnosticCode = DiagnosticCode {
    code: "pprof-legacy/cut",
    level: Level::DataLoss,
    message: "The samples break off before their end mark; what lies before was read.",
};

/// The format.
pub struct PprofLegacy;

impl Format for PprofLegacy {
    fn id(&self) -> &'static str {
        "pprof-legacy"
    }
    fn name(&self) -> &'static str {
        NAME
    }
    fn extensions(&self) -> &'static [&'static str] {
        &["heap", "prof", "txt"]
    }
    fn hint(&self) -> &'static str {
        "gperftools, tcmalloc, old Java agents and Go's `debug=1` write it. With the symbols of `pprof --raw PROGRAM FILE` it has names."
    }

    fn sniff(&self, prefix: &Prefix<'_>) -> Sniff {
        if cpu::header(prefix.bytes).is_some() {
            return Sniff::Certain;
        }
        let head = &prefix.bytes[..prefix.bytes.len().min(64 * 1024)];
        let head = String::from_utf8_lossy(head);
        match head.lines().map(str::trim).find(|l| !l.is_empty() && !l.starts_with('#')) {
            Some(line) if line == SYMBOLS || text::kind(line).is_some() => Sniff::Certain,
            _ => Sniff::No,
        }
    }

    fn read(&self, input: &mut dyn BufRead, import: &mut Import<'_>) -> Result<(), ImportError> {
        let mut bytes = Vec::new();
        loop {
            let chunk = input.fill_buf()?;
            let n = chunk.len();
            bytes.extend_from_slice(chunk);
            input.consume(n);
            if n == 0 {
                break;
            }
            import.tick(0)?;
        }
        let mut raw = Raw::default();
        let (body, lines) = symbol_section(&bytes, &mut raw);
        match cpu::header(body) {
            Some(header) => cpu::read(body, header, &mut raw, import)?,
            None => text::read(&String::from_utf8_lossy(body), lines, &mut raw, import)?,
        }
        raw.store(import)
    }
}

/// First line of the section that gperftools' `pprof --raw` puts before the profile.
const SYMBOLS: &str = "--- symbol";

/// Takes the symbol section if there is one; gives the profile behind it and how many lines lie before it.
fn symbol_section<'a>(bytes: &'a [u8], raw: &mut Raw) -> (&'a [u8], u64) {
    let mut lines = 0;
    let mut rest = bytes;
    let mut inside = false;
    while let Some(end) = rest.iter().position(|b| *b == b'\n') {
        let line = String::from_utf8_lossy(&rest[..end]);
        let line = line.trim();
        if !inside && line != SYMBOLS && !line.is_empty() {
            break;
        }
        rest = &rest[end + 1..];
        lines += 1;
        if line == SYMBOLS {
            inside = true;
            raw.section = true;
        } else if line == "---" {
            // The profile follows, under a line that names its kind.
            return match rest.iter().position(|b| *b == b'\n').filter(|_| rest.starts_with(b"--- ")) {
                Some(end) if !text::is_kind(&String::from_utf8_lossy(&rest[..end])) => (&rest[end + 1..], lines + 1),
                _ => (rest, lines),
            };
        } else if let Some(path) = line.strip_prefix("binary=") {
            raw.binary = path.to_string();
        } else if let Some((address, name)) = line.strip_prefix("0x").and_then(|l| l.split_once(char::is_whitespace))
            && let Ok(address) = u64::from_str_radix(address, 16)
        {
            raw.symbols.insert(address, inlined(name.trim()));
        }
    }
    (bytes, 0)
}

/// `inner--outer`: functions that were inlined into each other at one address. `operator--` is no such mark.
fn inlined(name: &str) -> Vec<Line> {
    let mut out = Vec::new();
    let (mut from, mut at) = (0, 0);
    while let Some(found) = name[at..].find("--").map(|f| f + at) {
        at = found + 2;
        if !name[..found].ends_with("operator") && found > from {
            out.push(Line { name: name[from..found].to_string(), ..Line::default() });
            from = at;
        }
    }
    out.push(Line { name: name[from..].to_string(), ..Line::default() });
    out
}

/// A function at an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    pub name: String,
    pub file: String,
    pub line: u64,
}

/// A label of a sample.
pub(super) struct Tag {
    pub key: String,
    pub text: String,
    pub number: i64,
}

/// A sample: addresses from leaf to root, as they are shown.
#[derive(Default)]
pub(super) struct RawSample {
    pub addresses: Vec<u64>,
    pub values: Vec<i64>,
    pub tags: Vec<Tag>,
}

/// What was read, before names and binaries are found for addresses.
#[derive(Default)]
pub(super) struct Raw {
    /// Name and unit of each value.
    pub types: Vec<(String, String)>,
    /// Name and unit of the period.
    pub period_type: (String, String),
    pub period: i64,
    pub duration_ns: i64,
    pub samples: Vec<RawSample>,
    /// Functions by address, innermost first.
    pub symbols: BTreeMap<u64, Vec<Line>>,
    /// Functions come from a symbol section.
    pub section: bool,
    /// Functions come from comments.
    pub comments: bool,
    /// Addresses are mere numbers of frames (Java).
    pub no_addresses: bool,
    pub maps: Vec<Map>,
    /// The program, where the symbol section names it.
    pub binary: String,
}

impl Raw {
    /// Value types by name and unit.
    pub fn set_types(&mut self, types: &[(&str, &str)]) {
        self.types = types.iter().map(|(name, unit)| ((*name).to_string(), (*unit).to_string())).collect();
    }

    /// The functions at an address. A symbol section names leaves by the address in the file, which is one more where all
    /// addresses were taken for return addresses.
    pub fn lines(&self, address: u64) -> &[Line] {
        let next = || self.section.then(|| self.symbols.get(&address.wrapping_add(1))).flatten();
        self.symbols.get(&address).or_else(next).map_or(&[], Vec::as_slice)
    }

    /// Frames of allocators, lock code and profilers themselves, as `go tool pprof` drops them by what is measured.
    fn drop_frames(&self) -> (&'static str, &'static str) {
        // Go's comments name no frame of the runtime at the leaf; unnamed ones above would count as the user's own.
        if self.comments {
            return ("", "");
        }
        let names: Vec<&str> = self.types.iter().map(|t| t.0.as_str()).collect();
        match names[..] {
            ["objects", "space"]
            | ["inuse_objects", "inuse_space"]
            | ["alloc_objects", "alloc_space"]
            | ["alloc_objects", "alloc_space", "inuse_objects", "inuse_space"] => {
                (ALLOCATORS, r"runtime\.panic|runtime\.reflectcall|runtime\.call[0-9]*")
            }
            ["contentions", "delay"] => (LOCKS, ""),
            _ => (PROFILERS, ""),
        }
    }

    fn store(mut self, import: &mut Import<'_>) -> Result<(), ImportError> {
        if self.maps.is_empty() && !self.binary.is_empty() {
            self.maps.push(Map { start: 0, limit: u64::MAX, file: std::mem::take(&mut self.binary), ..Map::default() });
        }
        let maps = Maps::new(std::mem::take(&mut self.maps));
        super::pprof_legacy_tables::store(&self, maps, self.drop_frames(), import)
    }
}

/// Reports a line that is no sample.
pub(super) fn bad_line(number: u64, line: &str, import: &mut Import<'_>) {
    import.ledger.records_in += 1;
    import.report(BAD_LINE, At::Line(number), line);
}

const ALLOCATORS: &str = r"calloc|cfree|malloc|free|memalign|do_memalign|(__)?posix_memalign|pvalloc|valloc|realloc|tcmalloc::.*|tc_calloc|tc_cfree|tc_malloc|tc_free|tc_memalign|tc_posix_memalign|tc_pvalloc|tc_valloc|tc_realloc|tc_new|tc_delete|tc_newarray|tc_deletearray|tc_new_nothrow|tc_newarray_nothrow|malloc_zone_malloc|malloc_zone_calloc|malloc_zone_valloc|malloc_zone_realloc|malloc_zone_memalign|malloc_zone_free|runtime\..*|BaseArena::.*|(::)?do_malloc_no_errno|(::)?do_malloc_pages|(::)?do_malloc|DoSampledAllocation|MallocedMemBlock::MallocedMemBlock|_M_allocate|__builtin_(vec_)?delete|__builtin_(vec_)?new|__gnu_cxx::new_allocator::allocate|__libc_malloc|__malloc_alloc_template::allocate|allocate|cpp_alloc|operator new(\[\])?|simple_alloc::allocate";
const LOCKS: &str = r"RecordLockProfileData|(base::)?RecordLockProfileData.*|(base::)?SubmitMutexProfileData.*|(base::)?SubmitSpinLockProfileData.*|(base::Mutex::)?AwaitCommon.*|(base::Mutex::)?Unlock.*|(base::Mutex::)?UnlockSlow.*|(base::Mutex::)?ReaderUnlock.*|(base::MutexLock::)?~MutexLock.*|(Mutex::)?AwaitCommon.*|(Mutex::)?Unlock.*|(Mutex::)?UnlockSlow.*|(Mutex::)?ReaderUnlock.*|(MutexLock::)?~MutexLock.*|(SpinLock::)?Unlock.*|(SpinLock::)?SlowUnlock.*|(SpinLockHolder::)?~SpinLockHolder.*";
const PROFILERS: &str = "ProfileData::Add|ProfileData::prof_handler|CpuProfiler::prof_handler|__pthread_sighandler|__restore";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_inlined_at_one_address() {
        let names = |text: &str| inlined(text).into_iter().map(|l| l.name).collect::<Vec<_>>();
        assert_eq!(names("main"), ["main"]);
        assert_eq!(names("std::min--work--main"), ["std::min", "work", "main"]);
        assert_eq!(names("it::operator----main"), ["it::operator--", "main"]);
        assert_eq!(names("it::operator--"), ["it::operator--"]);
    }
}
