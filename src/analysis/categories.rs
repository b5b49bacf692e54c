//! What functions are for: garbage collection, allocation, locks, idling, … by their names.
//!
//! The taxonomy is `categories.json` beside this file: regular expressions per category, each for one runtime and one
//! scope. A rule is tried only if its runtime occurs in the profile, which is both faster and safer; a rule marked weak
//! (its names are generic) needs the function's own binary or file to belong to that runtime.

use crate::base::hash::hash_text;
use crate::base::ids::FuncId;
use crate::base::patterns::Patterns;
use crate::model::Session;
use crate::model::profile::Profile;
use crate::model::symbols::FUNC_KERNEL;
use std::collections::BTreeMap;
use std::sync::OnceLock;

const TAXONOMY: &str = include_str!("categories.json");

/// A set of categories, one bit each in the order of [`names`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CategorySet(pub u64);

impl CategorySet {
    /// Whether it holds a category of this name.
    pub fn has(self, name: &str) -> bool {
        !self.is_empty() && bit(name).is_some_and(|b| self.0 & b != 0)
    }
    /// Whether it holds any of these.
    pub fn any(self, names: &[&str]) -> bool {
        !self.is_empty() && names.iter().any(|n| self.has(n))
    }
    /// Whether it is empty: the program's own code, as far as names tell.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
    /// Both sets together.
    pub fn with(self, other: CategorySet) -> CategorySet {
        CategorySet(self.0 | other.0)
    }
    /// The first category in order of precedence as 1 + its position in [`names`]; 0 for none.
    pub fn primary(self) -> u8 {
        if self.0 == 0 { 0 } else { self.0.trailing_zeros() as u8 + 1 }
    }
}

/// Rules ask for names once per stack: numbers are compared before texts.
fn bit(name: &str) -> Option<u64> {
    let t = taxonomy();
    let code = hash_text(name.as_bytes());
    let at = t.codes.iter().position(|c| *c == code)?;
    (t.order[at] == name).then_some(1 << at)
}

/// All categories in order of precedence.
pub fn names() -> &'static [String] {
    &taxonomy().order
}

#[derive(serde::Deserialize)]
struct File {
    runtime_detect: BTreeMap<String, Detect>,
    order: Vec<String>,
    rules: BTreeMap<String, Vec<RuleText>>,
}

#[derive(serde::Deserialize, Default)]
#[serde(default)]
struct Detect {
    symbol: String,
    dso: String,
    comm: String,
    file: String,
}

#[derive(serde::Deserialize)]
struct RuleText {
    runtime: String,
    scope: String,
    re: String,
    #[serde(default)]
    weak: bool,
}

/// Which text of a function a rule looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Scope {
    Symbol,
    Leaf,
    Comm,
    Dso,
    FileName,
}

const SCOPES: [(Scope, &str); 5] =
    [(Scope::Symbol, "any"), (Scope::Leaf, "leaf"), (Scope::Comm, "comm"), (Scope::Dso, "dso"), (Scope::FileName, "file")];

/// Rules of one runtime and scope; compiled on first use.
struct Group {
    scope: Scope,
    /// Runtimes of which one must be present; empty for any.
    runtimes: Vec<usize>,
    weak: bool,
    patterns: Vec<String>,
    bits: Vec<u64>,
    compiled: OnceLock<Patterns>,
}

impl Group {
    fn hits(&self, text: &str) -> u64 {
        let set = self.compiled.get_or_init(|| compile(&self.patterns));
        set.matches(text.as_bytes()).fold(0, |bits, i| bits | self.bits[i])
    }
}

struct Taxonomy {
    order: Vec<String>,
    /// The hash of each name.
    codes: Vec<u64>,
    groups: Vec<Group>,
    /// Patterns that show a runtime: by symbol, binary, thread name, file.
    detect: [(Vec<usize>, Patterns); 4],
    /// Names of the runtimes that can be detected.
    known: Vec<String>,
}

/// A set that does not compile would be empty; a test compiles every pattern.
fn compile(patterns: &[String]) -> Patterns {
    Patterns::new(patterns).unwrap_or_default()
}

fn taxonomy() -> &'static Taxonomy {
    static CELL: OnceLock<Taxonomy> = OnceLock::new();
    CELL.get_or_init(|| {
        let empty = File { runtime_detect: BTreeMap::new(), order: Vec::new(), rules: BTreeMap::new() };
        let file: File = serde_json::from_str(TAXONOMY).unwrap_or(empty);
        let known: Vec<&String> = file.runtime_detect.keys().collect();
        let texts: [fn(&Detect) -> &String; 4] = [|d| &d.symbol, |d| &d.dso, |d| &d.comm, |d| &d.file];
        let detect = texts.map(|text| {
            let of: Vec<usize> = (0..known.len()).filter(|i| !text(&file.runtime_detect[known[*i]]).is_empty()).collect();
            let patterns: Vec<String> = of.iter().map(|i| text(&file.runtime_detect[known[*i]]).clone()).collect();
            (of, compile(&patterns))
        });
        // `jvm-dotnet` means either; a word that nothing detects (`folded`, `native`) means any.
        let runtimes_of = |word: &str| -> Vec<usize> {
            let find = |w: &str| known.iter().position(|k| *k == w);
            match find(word) {
                Some(i) => vec![i],
                None => word.split('-').map(find).collect::<Option<Vec<_>>>().unwrap_or_default(),
            }
        };
        let mut groups: BTreeMap<(String, Scope, bool), Group> = BTreeMap::new();
        for (position, category) in file.order.iter().enumerate() {
            for rule in file.rules.get(category).into_iter().flatten() {
                let Some((scope, _)) = SCOPES.iter().find(|(_, word)| *word == rule.scope) else { continue };
                let group = groups.entry((rule.runtime.clone(), *scope, rule.weak)).or_insert_with(|| Group {
                    scope: *scope,
                    runtimes: runtimes_of(&rule.runtime),
                    weak: rule.weak,
                    patterns: Vec::new(),
                    bits: Vec::new(),
                    compiled: OnceLock::new(),
                });
                group.patterns.push(rule.re.clone());
                group.bits.push(1 << position);
            }
        }
        let known = known.into_iter().cloned().collect();
        let codes = file.order.iter().map(|name| hash_text(name.as_bytes())).collect();
        Taxonomy { known, groups: groups.into_values().collect(), detect, order: file.order, codes }
    })
}

/// Compiles all patterns, which a page does while it waits for its first file.
pub fn warm() {
    for group in &taxonomy().groups {
        group.hits("main.main");
    }
}

/// Classifies the functions of one profile, each once.
pub struct Classifier<'a> {
    session: &'a Session,
    present: Vec<bool>,
    memo: Vec<Option<(u64, u64)>>,
}

impl<'a> Classifier<'a> {
    /// Looks which runtimes occur among these functions and the profile's threads.
    pub fn new(session: &'a Session, profile: &Profile, funcs: impl Iterator<Item = FuncId>) -> Classifier<'a> {
        let t = taxonomy();
        let mut out = Classifier { session, present: vec![false; t.known.len()], memo: vec![None; session.symbols.funcs.len()] };
        let mut mappings = vec![false; session.symbols.mappings.file.len()];
        let mut files = std::collections::BTreeSet::new();
        for f in funcs {
            out.detect(0, symbol(session.symbols.func_name(&session.strings, f)));
            if let Some(m) = session.symbols.funcs.mapping[f.index()].get() {
                mappings[m.index()] = true;
            }
            files.insert(session.symbols.funcs.file[f.index()]);
        }
        for m in (0..mappings.len()).filter(|m| mappings[*m]) {
            out.detect(1, session.strings.get(session.symbols.mappings.file[m]));
        }
        for thread in &profile.threads {
            out.detect(2, &thread.name);
        }
        for file in files {
            out.detect(3, session.strings.get(file));
        }
        out
    }

    fn detect(&mut self, by: usize, text: &str) {
        let (of, set) = &taxonomy().detect[by];
        if text.is_empty() || of.iter().all(|runtime| self.present[*runtime]) {
            return;
        }
        for hit in set.matches(text.as_bytes()) {
            self.present[of[hit]] = true;
        }
    }

    /// Categories of a function wherever it stands in a stack.
    pub fn of(&mut self, func: FuncId) -> CategorySet {
        CategorySet(self.both(func).0)
    }

    /// Categories of a function at the leaf of a stack.
    pub fn leaf(&mut self, func: FuncId) -> CategorySet {
        let (any, leaf) = self.both(func);
        CategorySet(any | leaf)
    }

    /// Categories that a thread's name gives all its samples.
    pub fn thread(&self, name: &str) -> CategorySet {
        let groups = taxonomy().groups.iter().filter(|g| g.scope == Scope::Comm && self.applies(g));
        CategorySet(groups.fold(0, |bits, g| bits | g.hits(name)))
    }

    /// Whether a runtime that the taxonomy detects (`go`, `jvm`, …) occurs.
    pub fn has_runtime(&self, name: &str) -> bool {
        taxonomy().known.iter().position(|k| k == name).is_some_and(|i| self.present[i])
    }

    fn applies(&self, group: &Group) -> bool {
        group.runtimes.is_empty() || group.runtimes.iter().any(|r| self.present[*r])
    }

    fn both(&mut self, func: FuncId) -> (u64, u64) {
        let Some(slot) = func.get().and_then(|f| self.memo.get(f.index())) else { return (0, 0) };
        if let Some(known) = slot {
            return *known;
        }
        let funcs = &self.session.symbols.funcs;
        let name = symbol(self.session.symbols.func_name(&self.session.strings, func));
        let file = self.session.strings.get(funcs.file[func.index()]);
        let dso = match funcs.mapping[func.index()].get() {
            Some(m) => self.session.strings.get(self.session.symbols.mappings.file[m.index()]),
            None => "",
        };
        let (mut any, mut leaf) = (0, 0);
        for group in taxonomy().groups.iter().filter(|g| self.applies(g)) {
            if group.weak && !belongs(group, dso, file) {
                continue;
            }
            match group.scope {
                Scope::Symbol => any |= group.hits(name),
                Scope::Leaf => leaf |= group.hits(name),
                Scope::Dso if !dso.is_empty() && !NOT_KERNEL.contains(&dso) => any |= group.hits(dso),
                Scope::FileName if !file.is_empty() => any |= group.hits(file),
                _ => {}
            }
        }
        if funcs.flags[func.index()] & FUNC_KERNEL != 0 {
            any |= bit("kernel").unwrap_or(0);
        }
        self.memo[func.index()] = Some((any, leaf));
        (any, leaf)
    }
}

/// Names in brackets that are no kernel modules.
const NOT_KERNEL: [&str; 8] = ["[vdso]", "[vsyscall]", "[stack]", "[heap]", "[anon]", "[unknown]", "[JIT]", "[uprobes]"];

/// Whether a function's binary or file shows one of a group's runtimes; runtimes that are known by symbols only need no more.
fn belongs(group: &Group, dso: &str, file: &str) -> bool {
    // Folded stacks have neither: then it must suffice that the runtime occurs in the profile.
    if dso.is_empty() && file.is_empty() {
        return true;
    }
    let t = taxonomy();
    // A script's own file says nothing of the runtime: `parse` in it is anything.
    if group.runtimes.iter().any(|r| t.known[*r] == "v8") {
        return file.starts_with("node:");
    }
    let shows = |by: usize, text: &str| {
        let (of, set) = &t.detect[by];
        set.matches(text.as_bytes()).any(|hit| group.runtimes.contains(&of[hit]))
    };
    let detectable = [1, 3].iter().any(|by| t.detect[*by].0.iter().any(|r| group.runtimes.contains(r)));
    !detectable || shows(1, dso) || shows(3, file)
}

/// A symbol without what compilers, linkers and collapsers add: offset, clone tags, versions, hashes, `_[k]`.
pub fn symbol(name: &str) -> &str {
    let mut s = name;
    // Most names hold none of these: looking for one byte is far cheaper than looking for words.
    let holds = |s: &str, byte: u8| memchr::memchr(byte, s.as_bytes()).is_some();
    if s.ends_with(']') {
        for mark in ["_[k]", "_[j]", "_[i]", "_[0]", "_[1]"] {
            s = s.strip_suffix(mark).unwrap_or(s);
        }
    }
    if holds(s, b'+')
        && let Some(at) = s.rfind("+0x")
    {
        s = &s[..at];
    }
    for mark in ["@plt", "@@", " [clone"] {
        if holds(s, mark.as_bytes()[0])
            && let Some(at) = s.find(mark).filter(|at| *at > 0)
        {
            s = &s[..at];
        }
    }
    while holds(s, b'.') {
        let cut = [".isra.", ".part.", ".constprop.", ".llvm.", ".cold"].iter().filter_map(|m| s.rfind(m)).filter(|at| *at > 0).min();
        match cut {
            Some(at) => s = &s[..at],
            None => break,
        }
    }
    match s.rsplit_once("::h") {
        Some((head, hash)) if hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit()) => head,
        _ => s,
    }
}

#[cfg(test)]
mod tests {
    use super::super::drawn_stacks::drawn;
    use super::*;

    #[test]
    fn every_pattern_compiles_and_is_used() {
        let file: File = serde_json::from_str(TAXONOMY).unwrap();
        let mut used = 0;
        for (category, rules) in &file.rules {
            assert!(file.order.contains(category), "{category} has no place in the order");
            for rule in rules {
                assert!(SCOPES.iter().any(|(_, word)| *word == rule.scope), "{category}: scope {}", rule.scope);
                assert!(Patterns::new(&[&rule.re]).is_some(), "{category}: {}", rule.re);
                used += 1;
            }
        }
        let t = taxonomy();
        assert_eq!(t.groups.iter().map(|g| g.patterns.len()).sum::<usize>(), used);
        for group in &t.groups {
            assert_eq!(compile(&group.patterns).len(), group.patterns.len());
        }
        assert_eq!(t.detect.iter().map(|d| d.0.len()).filter(|n| *n == 0).count(), 0);
        assert!(names().len() <= 64);
    }

    /// Names and paths for every category, from the taxonomy itself: what a pattern spells, with ends cut and things added.
    fn spelled() -> Vec<String> {
        let file: File = serde_json::from_str(TAXONOMY).unwrap();
        let mut out = Vec::new();
        for rule in file.rules.values().flatten() {
            for piece in rule.re.split(|c| "|()^$?*+".contains(c)).step_by(7) {
                let plain = piece.replace("\\w", "x").replace("[.:]", ".").replace("[./]", "/").replace('\\', "");
                for text in
                    [plain.clone(), format!("{plain}_x"), format!("x{plain}"), format!("/{plain}/y.py"), format!("{plain} (a/json/b.py:3)")]
                {
                    out.push(text.clone());
                    out.push(format!("{}::{text}<T>", out.len() % 7));
                    out.push(text.get(..text.len() / 2).unwrap_or("").to_string());
                }
            }
        }
        out
    }

    #[test]
    fn patterns_hit_what_the_regex_crate_says() {
        let texts = spelled();
        let t = taxonomy();
        let groups = t.groups.iter().map(|g| &g.patterns);
        let file: File = serde_json::from_str(TAXONOMY).unwrap();
        let detect: Vec<String> =
            file.runtime_detect.values().flat_map(|d| [&d.symbol, &d.dso, &d.comm, &d.file]).filter(|p| !p.is_empty()).cloned().collect();
        let mut hits = 0;
        for patterns in groups.chain([&detect]) {
            let reference = regex::bytes::RegexSetBuilder::new(patterns).unicode(false).size_limit(64 << 20).build().unwrap();
            let own = compile(patterns);
            assert_eq!(own.len(), patterns.len());
            for text in &texts {
                let (own, theirs): (Vec<usize>, Vec<usize>) =
                    (own.matches(text.as_bytes()).collect(), reference.matches(text.as_bytes()).into_iter().collect());
                assert_eq!(own, theirs, "{text}");
                hits += own.len();
            }
        }
        assert!(texts.len() > 3_000 && hits > 1_500, "{} texts, {hits} hits", texts.len());
    }

    #[test]
    fn names_tell_what_a_function_is_for() {
        let s = drawn("runtime.goexit;main.main;runtime.mallocgc;runtime.gcAssistAlloc 1\nruntime.goexit;main.main;luaC_step 1");
        let all = || (0..s.symbols.funcs.len()).map(FuncId::from_index);
        let mut c = Classifier::new(&s, &s.profiles[0], all());
        let of = |c: &mut Classifier<'_>, name: &str| c.of(s.symbols.funcs.find_by_name(s.strings.find(name).unwrap()).unwrap());
        assert!(of(&mut c, "runtime.mallocgc").has("alloc"));
        assert!(of(&mut c, "runtime.gcAssistAlloc").has("gc"));
        assert!(of(&mut c, "main.main").is_empty());
        // Lua does not occur in a Go program: its rules are not tried.
        assert!(!of(&mut c, "luaC_step").has("gc"));
        assert_eq!(of(&mut c, "main.main").primary(), 0);
        assert_eq!(names()[usize::from(of(&mut c, "runtime.gcAssistAlloc").primary()) - 1], "gc");
    }

    #[test]
    fn decorations_do_not_count() {
        for (name, plain) in [
            ("malloc@@GLIBC_2.2.5", "malloc"),
            ("f.isra.0.cold", "f"),
            ("do_idle_[k]", "do_idle"),
            ("a::b::h0123456789abcdef", "a::b"),
            ("main+0x1f", "main"),
            ("x [clone .part.3]", "x"),
        ] {
            assert_eq!(symbol(name), plain);
        }
    }
}
