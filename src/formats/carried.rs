//! What a build carries. The page comes in two modules of one source: the first holds what most files need, and is small; the
//! whole one is sent for when a file asks for more. Both recognise the same files by the same rules, so that the first one knows
//! what it cannot read *before* it reads; only names of C++ and patterns of a file show up late, and then everything is read again.
//!
//! A program says at its start which it is ([`install`]). It is said by a value, not by a feature of the crate: the linker drops
//! what the value does not name, both modules are linked from one compilation, and a test has both beside each other.

use super::unwrap::{self, Wrapping};
use super::{CORE, FORMATS, Format, Import, ImportError, Prefix, Sniff, archive, names, pprof_prune, symbolize};
use crate::model::Session;
use crate::model::symbol_files::SymbolFile;
use std::cell::Cell;
use std::io::BufRead;
use std::sync::OnceLock;

/// How archives are opened: as [`archive::open`].
pub type OpenArchive = for<'a> fn(&str, Box<dyn BufRead + 'a>) -> Box<dyn archive::Walk + 'a>;

/// The parts that a build may lack.
pub struct Carried {
    /// Every format, those that are only recognised as [`Rare`].
    pub formats: &'static [&'static dyn Format],
    /// Every wrapping, those that are only recognised without a decoder.
    pub wrappings: &'static [Wrapping],
    /// Walks over archives.
    pub archive: Option<OpenArchive>,
    /// Names of C++ symbols, with or without parameters: as [`names::cpp`].
    pub cpp: Option<fn(&str, bool) -> Option<String>>,
    /// Patterns that a file brings: as [`pprof_prune::anchored`].
    pub pattern: Option<fn(&str) -> Option<pprof_prune::Matcher>>,
    /// Names addresses by symbol files: as [`symbolize::by_files`].
    pub symbols: Option<fn(&mut Session, &[SymbolFile])>,
}

/// Everything.
pub const WHOLE: Carried = Carried {
    formats: FORMATS,
    wrappings: unwrap::WRAPPINGS,
    archive: Some(archive::open),
    cpp: Some(names::cpp),
    pattern: Some(pprof_prune::anchored),
    symbols: Some(symbolize::by_files),
};

/// What the page's first module holds.
pub const FIRST: Carried = Carried { formats: CORE, wrappings: unwrap::FIRST, archive: None, cpp: None, pattern: None, symbols: None };

/// What a module of the page holds that did not say: nothing, lest it holds everything.
#[cfg(target_arch = "wasm32")]
const UNSAID: Carried = Carried { formats: &[], wrappings: &[], archive: None, cpp: None, pattern: None, symbols: None };
/// The native command is whole.
#[cfg(not(target_arch = "wasm32"))]
const UNSAID: Carried = WHOLE;

static INSTALLED: OnceLock<&'static Carried> = OnceLock::new();

thread_local! {
    static ASKED: Cell<bool> = const { Cell::new(false) };
}

/// Says what this program carries; the first call counts.
pub fn install(carried: &'static Carried) {
    let _ = INSTALLED.set(carried);
}

/// What this program carries.
pub fn carried() -> &'static Carried {
    INSTALLED.get().copied().unwrap_or(&UNSAID)
}

/// Notes that something was met on this thread that only the whole module can do; what is made of it here is not to be shown.
pub fn ask() {
    ASKED.set(true);
}

/// Whether [`ask`] was called on this thread since the last time.
pub fn asked() -> bool {
    ASKED.take()
}

/// A format that is recognised and not read.
pub struct Rare<T>(pub T);

impl<T: Format> Format for Rare<T> {
    fn id(&self) -> &'static str {
        self.0.id()
    }
    fn name(&self) -> &'static str {
        self.0.name()
    }
    fn extensions(&self) -> &'static [&'static str] {
        self.0.extensions()
    }
    fn hint(&self) -> &'static str {
        self.0.hint()
    }
    fn sniff(&self, prefix: &Prefix<'_>) -> Sniff {
        self.0.sniff(prefix)
    }
    fn read(&self, _: &mut dyn BufRead, _: &mut Import<'_>) -> Result<(), ImportError> {
        ask();
        Err(ImportError::Unsupported(format!("{} is not read by this part of hotspan.", self.0.name())))
    }
    fn is_carried(&self) -> bool {
        false
    }
}
