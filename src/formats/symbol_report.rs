//! What could not be named, how much of the recording it is, and what to open beside it.

use super::symbol_match::{Match, Matcher, process_of};
use crate::base::ids::MappingId;
use crate::model::Session;
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use crate::model::symbol_files::SymbolFile;
use crate::model::symbols::{FUNC_KERNEL, FUNC_UNSYMBOLIZED};
use std::collections::BTreeMap;

const MODULES: DiagnosticCode = DiagnosticCode {
    code: "perf-data/no-symbols",
    level: Level::Notice,
    message: "A recording holds addresses and no names. Frames of these binaries are shown as binary+offset: open the binaries (or their \
              debug files) together with the recording, or open the text that `perf script` writes on the recording machine.",
};
const OTHER_BUILD: DiagnosticCode = DiagnosticCode {
    code: "perf-data/other-build",
    level: Level::Notice,
    message: "Binaries of these names were opened, but of another build than the one that ran: their names would be wrong and were not \
              used. Open the build that ran.",
};
const INCOMPLETE: DiagnosticCode = DiagnosticCode {
    code: "perf-data/stripped",
    level: Level::Notice,
    message: "These binaries were opened, but have no symbol at some of the addresses (they are stripped): open their debug files too.",
};
const KERNEL: DiagnosticCode = DiagnosticCode {
    code: "perf-data/no-kernel-symbols",
    level: Level::Notice,
    message: "Frames of the kernel are shown as addresses: copy its symbols on the recording machine before it restarts, `sudo cat \
              /proc/kallsyms > kallsyms`, and open that file together with the recording.",
};
const JIT: DiagnosticCode = DiagnosticCode {
    code: "perf-data/no-jit-symbols",
    level: Level::Notice,
    message: "Frames of just-in-time compiled code are shown as addresses: open the runtime's /tmp/perf-PID.map or jit-PID.dump together \
              with the recording (`node --perf-basic-prof`, `java -XX:+DumpPerfMapAtExit`, `python -X perf`).",
};

/// Weight of samples that end in a binary, and whether it is the kernel.
type Shares = BTreeMap<MappingId, (i64, bool)>;

/// Reports anew for every file of the format; earlier reports are replaced.
pub fn report(session: &mut Session, files: &[SymbolFile]) {
    for source in 0..session.sources.len() {
        if session.sources[source].format != "perf-data" {
            continue;
        }
        for code in [MODULES, OTHER_BUILD, INCOMPLETE, KERNEL, JIT] {
            session.sources[source].ledger.diagnostics.forget(code.code);
        }
        // The events of a file ran in the same processes; the first, which has most samples, speaks for all.
        let Some(profile) = session.profiles.iter().position(|p| p.source.index() == source) else { continue };
        let (shares, total) = shares(session, profile);
        let mut order: Vec<(MappingId, (i64, bool))> = shares.into_iter().collect();
        order.sort_by_key(|(mapping, (weight, _))| (std::cmp::Reverse(*weight), *mapping));
        let mut matcher = Matcher::new(session, profile, files);
        let mut reports = Vec::new();
        for (mapping, (weight, kernel)) in order {
            let table = &session.symbols.mappings;
            let path = session.strings.get(table.file[mapping.index()]);
            let id = session.strings.get(table.build_id[mapping.index()]);
            let share = if total > 0 { 100.0 * weight as f64 / total as f64 } else { 0.0 };
            let of = if id.is_empty() { String::new() } else { format!(" (build id {id})") };
            let text = format!("{share:.1} % of the samples end in {path}{of}");
            let found = matcher.of(session, mapping, kernel);
            reports.push(match found {
                Match::OtherBuild(other) => (OTHER_BUILD, format!("{text}; opened: build id {other}")),
                Match::Found(_) => (INCOMPLETE, text),
                Match::Missing if kernel => (KERNEL, text),
                Match::Missing if process_of(path).is_some() => (JIT, text),
                Match::Missing => (MODULES, text),
            });
        }
        for (code, text) in reports {
            session.sources[source].ledger.diagnostics.report(code, At::File, &text);
        }
    }
}

/// The binaries whose frames have no name, with the weight of the samples that end in such a frame, and the weight of all.
fn shares(session: &Session, profile: usize) -> (Shares, i64) {
    let s = &session.symbols;
    let p = &session.profiles[profile];
    let mut out = Shares::new();
    let unnamed = |stack: usize| {
        let func = s.frames.func[s.stacks.frame[stack].index()].index();
        let mapping = s.funcs.mapping[func].get()?;
        (s.funcs.flags[func] & FUNC_UNSYMBOLIZED != 0).then_some((mapping, s.funcs.flags[func] & FUNC_KERNEL != 0))
    };
    let mut used = vec![false; s.stacks.len()];
    for (i, stack) in p.samples.stack.iter().enumerate().filter(|(_, stack)| !stack.is_none()) {
        used[stack.index()] = true;
        if let Some((mapping, kernel)) = unnamed(stack.index()) {
            let weight = p.samples.values.get(p.default_value).map_or(0, |v| v[i]);
            let entry = out.entry(mapping).or_insert((0, kernel));
            entry.0 = entry.0.saturating_add(weight);
        }
    }
    for row in (0..used.len()).rev().filter(|row| used[*row]).collect::<Vec<_>>() {
        // Rows below are marked while going down: their rows are smaller.
        let mut at = s.stacks.prefix[row].get();
        while let Some(below) = at.filter(|below| !used[below.index()]) {
            used[below.index()] = true;
            if let Some((mapping, kernel)) = unnamed(below.index()) {
                out.entry(mapping).or_insert((0, kernel));
            }
            at = s.stacks.prefix[below.index()].get();
        }
    }
    (out, p.total(p.default_value))
}
