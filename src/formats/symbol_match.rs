//! Which of the opened symbol files names an address: by build id, by name, by process.

use crate::base::ids::{FrameId, MappingId};
use crate::model::Session;
use crate::model::symbol_files::{SymbolFile, SymbolKind};
use crate::model::symbols::FUNC_KERNEL;
use std::collections::BTreeMap;

/// The files that name a binary's addresses, as positions in the session's symbol files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// The file with the symbols.
    pub symbols: usize,
    /// The file with DWARF.
    pub debug: Option<usize>,
    /// The ELF file that tells where the binary's parts are loaded.
    layout: Option<usize>,
}

impl Owner {
    /// The ELF file that tells where the binary's parts are loaded.
    pub fn layout(&self) -> Option<usize> {
        self.layout
    }

    /// All files, the loaded one first.
    pub fn files(self) -> impl Iterator<Item = usize> {
        self.layout.into_iter().chain([self.symbols]).chain(self.debug)
    }
}

/// What is known of a binary of a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// There are names for it.
    Found(Owner),
    /// A file of its name was opened, of another build.
    OtherBuild(String),
    /// Nothing was opened for it.
    Missing,
}

/// Matches the binaries of one profile.
pub struct Matcher<'a> {
    files: &'a [SymbolFile],
    /// Whether addresses are offsets in the file for certain.
    offsets: bool,
    kernel_base: u64,
    /// Processes whose addresses lie in memory without a file.
    known: BTreeMap<MappingId, Match>,
}

/// The process in the name that perf gives to memory without a file: `/tmp/perf-PID.map`.
pub fn process_of(path: &str) -> Option<i64> {
    path.rsplit('/').next()?.strip_prefix("perf-")?.strip_suffix(".map")?.parse().ok()
}

impl<'a> Matcher<'a> {
    /// For the profile at a position of the session.
    pub fn new(session: &Session, profile: usize, files: &'a [SymbolFile]) -> Matcher<'a> {
        let profile = &session.profiles[profile];
        Matcher { files, offsets: profile.format == "perf-data", kernel_base: profile.kernel_base, known: BTreeMap::new() }
    }

    /// What names a frame, and its address as that file counts.
    pub fn place(&mut self, session: &Session, frame: FrameId) -> Option<(Owner, u64)> {
        let s = &session.symbols;
        let func = s.frames.func[frame.index()].index();
        let address = s.frames.address[frame.index()];
        let mapping = s.funcs.mapping[func].get()?;
        let kernel = s.funcs.flags[func] & FUNC_KERNEL != 0;
        let Match::Found(owner) = self.of(session, mapping, kernel) else { return None };
        let address = match owner.layout.map(|at| &self.files[at]) {
            None => address,
            Some(file) if kernel => self.kernel_address(file, address)?,
            Some(file) if file.segments.is_empty() => address,
            Some(file) => match file.address_of(address) {
                Some(at) if self.offsets || file.has_code_at(at) => at,
                // Text gives what perf printed: an address of the file in some versions.
                _ if !self.offsets && file.has_code_at(address) => address,
                _ => return None,
            },
        };
        Some((owner, address))
    }

    /// The kernel runs elsewhere than its image says (KASLR).
    fn kernel_address(&self, file: &SymbolFile, address: u64) -> Option<u64> {
        if self.kernel_base == 0 {
            return Some(address);
        }
        let text = file.symbols.address_of("_text").or_else(|| file.symbols.address_of("_stext"))?;
        Some(address.wrapping_sub(self.kernel_base).wrapping_add(text))
    }

    /// What was opened for a binary.
    pub fn of(&mut self, session: &Session, mapping: MappingId, kernel: bool) -> Match {
        if let Some(known) = self.known.get(&mapping) {
            return known.clone();
        }
        let table = &session.symbols.mappings;
        let path = session.strings.get(table.file[mapping.index()]);
        let build_id = session.strings.get(table.build_id[mapping.index()]);
        let found = match process_of(path) {
            Some(pid) => self.process(pid),
            None if kernel => self.kernel(build_id),
            None => self.elf(path, build_id),
        };
        self.known.insert(mapping, found.clone());
        found
    }

    /// The best of some files, whatever their order: more is better, names decide between equals.
    fn best(&self, candidates: impl Iterator<Item = usize>) -> Option<usize> {
        candidates.max_by_key(|at| {
            let file = &self.files[*at];
            (file.lines.rows.len(), file.symbols.len(), std::cmp::Reverse((&file.name, &file.build_id)))
        })
    }

    fn process(&self, pid: i64) -> Match {
        let of = |wanted: i64| (0..self.files.len()).filter(move |at| self.files[*at].kind == SymbolKind::Process(wanted));
        // In a container the process has another number inside: the only map there is must be meant.
        let only = || {
            let mut all = (0..self.files.len()).filter(|at| matches!(self.files[*at].kind, SymbolKind::Process(_)));
            all.next().filter(|_| all.next().is_none())
        };
        match self.best(of(pid)).or_else(|| self.best(of(-1))).or_else(only) {
            Some(symbols) => Match::Found(Owner { symbols, debug: None, layout: None }),
            None => Match::Missing,
        }
    }

    fn kernel(&self, build_id: &str) -> Match {
        let texts = (0..self.files.len()).filter(|at| self.files[*at].kind == SymbolKind::Kernel && !self.files[*at].symbols.is_empty());
        if let Some(symbols) = self.best(texts) {
            return Match::Found(Owner { symbols, debug: None, layout: None });
        }
        match self.elf("vmlinux", build_id) {
            Match::Found(owner) => Match::Found(Owner { layout: Some(owner.symbols), ..owner }),
            other => other,
        }
    }

    fn elf(&self, path: &str, build_id: &str) -> Match {
        let base = path.rsplit('/').next().unwrap_or(path);
        let elf = || (0..self.files.len()).filter(|at| self.files[*at].kind == SymbolKind::Elf);
        let same_name = |at: &usize| {
            let name = &self.files[*at].name;
            name == base || name.strip_suffix(".debug") == Some(base) || base == "vmlinux" && name.starts_with("vmlinux")
        };
        let named: Vec<usize> = elf().filter(same_name).collect();
        let mut all: Vec<usize> = if build_id.is_empty() {
            named.clone()
        } else {
            let fits = |at: &usize| self.files[*at].build_id == build_id || self.files[*at].build_id.is_empty() && same_name(at);
            elf().filter(fits).collect()
        };
        if all.is_empty() {
            return match named.first() {
                Some(at) => Match::OtherBuild(self.files[*at].build_id.clone()),
                None => Match::Missing,
            };
        }
        // Without a build id in the recording, several builds of one name may lie there: they must not be mixed.
        if let Some(best) = self.best(all.iter().copied()) {
            let id = &self.files[best].build_id;
            all.retain(|at| self.files[*at].build_id == *id);
            if !id.is_empty() {
                all.extend(elf().filter(|at| !named.contains(at) && self.files[*at].build_id == *id));
            }
        }
        let linked: Vec<usize> = elf().filter(|at| all.iter().any(|file| self.links(*file, *at))).collect();
        all.extend(linked);
        all.sort_unstable();
        all.dedup();
        let Some(symbols) = self.best(all.iter().copied()) else { return Match::Missing };
        let debug = self.best(all.iter().copied().filter(|at| self.files[*at].has_debug()));
        // A debug file keeps the table of segments and not their bytes.
        let loaded = |at: &usize| self.files[*at].segments.iter().any(|s| s.code && s.size > 0);
        let layout = self.best(all.iter().copied().filter(loaded));
        Match::Found(Owner { symbols, debug, layout })
    }

    /// Whether a file names another one as its debug file (`.gnu_debuglink`).
    fn links(&self, file: usize, to: usize) -> bool {
        let (file, to) = (&self.files[file], &self.files[to]);
        file.debug_link.as_ref().is_some_and(|(name, checksum)| *name == to.name && *checksum == to.checksum)
    }
}
