//! Many patterns over one text in one pass: which of them match anywhere in it.
//!
//! The subset of the regex crate's syntax in byte mode that the taxonomy of function names needs: literals, classes, `.`, groups,
//! alternatives, repetition, `^`, `$`, `\b`. The patterns become one Thompson automaton, of which the text makes a deterministic
//! one as it goes (Aho, Sethi, Ullman, section 3.7); a text costs one look-up per byte once its like was seen. A test compares
//! it with the regex crate, whose general machinery would be a tenth of the page.

use super::pattern_syntax::{Ast, Bytes, holds, is_word, of, parse};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Patterns of one set.
pub const MAX_PATTERNS: usize = 128;
/// States that are remembered before they are forgotten all together.
const MAX_STATES: usize = 4096;

#[derive(Clone)]
enum Node {
    /// Goes on over a byte of a set.
    Byte(u16, u32),
    /// Goes on without a byte, everywhere.
    Split(Vec<u32>),
    Start(u32),
    End(u32),
    Word(u32),
    /// The pattern of this number matched.
    Match(u8),
}

/// A compiled set of patterns.
#[derive(Default)]
pub struct Patterns {
    nodes: Vec<Node>,
    sets: Vec<Bytes>,
    /// Class of each byte: bytes of one class are in the same sets.
    classes: Vec<u8>,
    /// A byte of each class.
    samples: Vec<u8>,
    /// Where patterns begin, and where those do that may begin behind the start of the text.
    starts: Vec<u32>,
    floating: Vec<u32>,
    count: usize,
    cache: Mutex<Cache>,
}

/// What stands before a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Before {
    Nothing,
    Word,
    Other,
}

#[derive(Default)]
struct Cache {
    numbers: BTreeMap<(Vec<u32>, Before), u32>,
    states: Vec<(Vec<u32>, Before)>,
    /// Per state and class, the last class being the end of the text: the next state and the patterns that matched.
    next: Vec<(u32, u16)>,
    masks: Vec<u128>,
}

const UNKNOWN: u32 = u32::MAX;
/// The state that nothing leaves.
const DEAD: u32 = u32::MAX - 1;

impl Patterns {
    /// Compiles patterns; `None` when one of them is not of the syntax that is known here, or they are more than [`MAX_PATTERNS`].
    pub fn new<T: AsRef<str>>(patterns: &[T]) -> Option<Patterns> {
        if patterns.len() > MAX_PATTERNS {
            return None;
        }
        let mut out = Patterns { count: patterns.len(), ..Patterns::default() };
        for (number, pattern) in patterns.iter().enumerate() {
            let ast = parse(pattern.as_ref())?;
            let end = out.node(Node::Match(number as u8));
            let start = out.compile(&ast, end);
            out.starts.push(start);
        }
        out.classify();
        out.floating = out.starts.iter().copied().filter(|start| out.floats(*start)).collect();
        Some(out)
    }

    /// How many patterns there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Which patterns match somewhere in the text: bit by position.
    pub fn hits(&self, text: &[u8]) -> u128 {
        if self.starts.is_empty() {
            return 0;
        }
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut state, mut hits) = (self.number(&mut cache, Vec::new(), Before::Nothing), 0);
        for byte in text {
            let class = usize::from(self.classes[usize::from(*byte)]);
            let (next, mask) = self.step(&mut cache, state, class);
            hits |= mask;
            if next == DEAD {
                return hits;
            }
            state = next;
        }
        hits | self.step(&mut cache, state, self.samples.len()).1
    }

    /// Positions of the patterns that match.
    pub fn matches(&self, text: &[u8]) -> impl Iterator<Item = usize> + use<> {
        let hits = self.hits(text);
        (0..self.count).filter(move |i| hits >> i & 1 != 0)
    }

    fn step(&self, cache: &mut MutexGuard<'_, Cache>, state: u32, class: usize) -> (u32, u128) {
        let width = self.samples.len() + 1;
        let (next, mask) = cache.next[state as usize * width + class];
        if next != UNKNOWN {
            return (next, cache.masks[usize::from(mask)]);
        }
        let (set, before) = cache.states[state as usize].clone();
        let byte = self.samples.get(class).copied();
        let (targets, hits) = self.walk(&set, before, byte);
        let place = state as usize * width + class;
        let full = cache.states.len() >= MAX_STATES || cache.masks.len() >= usize::from(u16::MAX);
        if full {
            **cache = Cache::default();
        }
        let next = match byte {
            Some(_) if targets.is_empty() && self.floating.is_empty() => DEAD,
            Some(byte) => self.number(cache, targets, if is_word(byte) { Before::Word } else { Before::Other }),
            None => DEAD,
        };
        if !full {
            let mask = match cache.masks.iter().position(|m| *m == hits) {
                Some(at) => at,
                None => {
                    cache.masks.push(hits);
                    cache.masks.len() - 1
                }
            };
            cache.next[place] = (next, mask as u16);
        }
        (next, hits)
    }

    /// The number of a state, which is made known.
    fn number(&self, cache: &mut Cache, set: Vec<u32>, before: Before) -> u32 {
        let key = (set, before);
        if let Some(number) = cache.numbers.get(&key) {
            return *number;
        }
        let number = cache.states.len() as u32;
        cache.states.push(key.clone());
        cache.numbers.insert(key, number);
        cache.next.resize(cache.next.len() + self.samples.len() + 1, (UNKNOWN, 0));
        number
    }

    /// From the nodes of a state over a byte, or to the end of the text: the nodes behind it, and what matched before it.
    fn walk(&self, set: &[u32], before: Before, byte: Option<u8>) -> (Vec<u32>, u128) {
        let begins = if before == Before::Nothing { &self.starts } else { &self.floating };
        let mut open: Vec<u32> = set.iter().chain(begins).copied().collect();
        let mut seen = vec![false; self.nodes.len()];
        let (mut targets, mut hits) = (Vec::new(), 0);
        let edge = (before == Before::Word) != byte.is_some_and(is_word);
        while let Some(at) = open.pop() {
            if std::mem::replace(&mut seen[at as usize], true) {
                continue;
            }
            match &self.nodes[at as usize] {
                Node::Byte(set, next) => {
                    if byte.is_some_and(|b| holds(&self.sets[usize::from(*set)], b)) {
                        targets.push(*next);
                    }
                }
                Node::Split(all) => open.extend(all),
                Node::Start(next) if before == Before::Nothing => open.push(*next),
                Node::End(next) if byte.is_none() => open.push(*next),
                Node::Word(next) if edge => open.push(*next),
                Node::Match(number) => hits |= 1 << number,
                Node::Start(_) | Node::End(_) | Node::Word(_) => {}
            }
        }
        targets.sort_unstable();
        targets.dedup();
        (targets, hits)
    }

    /// Whether a pattern that begins here can go on elsewhere than at the start of the text.
    fn floats(&self, start: u32) -> bool {
        let (mut open, mut seen) = (vec![start], vec![false; self.nodes.len()]);
        while let Some(at) = open.pop() {
            if std::mem::replace(&mut seen[at as usize], true) {
                continue;
            }
            match &self.nodes[at as usize] {
                Node::Byte(..) | Node::Match(_) => return true,
                Node::Split(all) => open.extend(all),
                Node::End(next) | Node::Word(next) => open.push(*next),
                Node::Start(_) => {}
            }
        }
        false
    }

    fn node(&mut self, node: Node) -> u32 {
        self.nodes.push(node);
        self.nodes.len() as u32 - 1
    }

    /// The node at which `ast` begins when `next` follows it.
    fn compile(&mut self, ast: &Ast, next: u32) -> u32 {
        match ast {
            Ast::Set(set) => {
                let at = self.sets.iter().position(|s| s == set).unwrap_or_else(|| {
                    self.sets.push(*set);
                    self.sets.len() - 1
                });
                self.node(Node::Byte(at as u16, next))
            }
            Ast::Start => self.node(Node::Start(next)),
            Ast::End => self.node(Node::End(next)),
            Ast::Word => self.node(Node::Word(next)),
            Ast::All(all) => all.iter().rev().fold(next, |next, one| self.compile(one, next)),
            Ast::Any(all) => {
                let all = all.iter().map(|one| self.compile(one, next)).collect();
                self.node(Node::Split(all))
            }
            Ast::Repeat(one, min, max) => {
                let mut at = next;
                match max {
                    None => {
                        let split = self.node(Node::Split(vec![next]));
                        let body = self.compile(one, split);
                        self.nodes[split as usize] = Node::Split(vec![body, next]);
                        at = split;
                    }
                    Some(max) => {
                        for _ in *min..*max {
                            let body = self.compile(one, at);
                            at = self.node(Node::Split(vec![body, next]));
                        }
                    }
                }
                (0..*min).fold(at, |at, _| self.compile(one, at))
            }
        }
    }

    /// Puts bytes that no set tells apart into one class.
    fn classify(&mut self) {
        let mut classes = vec![0_u8; 256];
        let word = of(is_word);
        for set in self.sets.iter().chain([&word]) {
            let mut renamed: BTreeMap<(u8, bool), u8> = BTreeMap::new();
            for byte in 0..=255_u8 {
                let fresh = renamed.len() as u8;
                let class = &mut classes[usize::from(byte)];
                *class = *renamed.entry((*class, holds(set, byte))).or_insert(fresh);
            }
        }
        let count = classes.iter().copied().max().map_or(0, |c| usize::from(c) + 1);
        self.samples = (0..count).filter_map(|c| classes.iter().position(|x| usize::from(*x) == c)).map(|b| b as u8).collect();
        self.classes = classes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATTERNS: [&str; 14] = [
        r"^(ab|cd)+$",
        r"\bword\b",
        r"(^|[^\w])x[yY]?z",
        r"",
        r"a.c",
        r"^\(root\)$",
        r"[a-c]{3}\d+",
        r"[-\w.]*\.ko(\.(gz|xz))?$",
        r"(a*)*b??$",
        r"^swapper(/\d+)?$",
        r"[]x^]\s",
        r"foo\b|^\S+#\S+",
        r"::h[0-9a-f]{16}$",
        r"^(?:|a|b$)c",
    ];

    #[test]
    fn it_matches_as_the_regex_crate_does() {
        let set = Patterns::new(&PATTERNS).unwrap();
        let reference = regex::bytes::RegexSetBuilder::new(PATTERNS).unicode(false).build().unwrap();
        // All texts of up to five letters over what the patterns tell apart, and some longer ones.
        let letters = b"abcxyz0/.# (\n^]";
        let mut texts: Vec<Vec<u8>> = vec![Vec::new()];
        for length in 0..4 {
            let longer: Vec<Vec<u8>> =
                texts.iter().filter(|t| t.len() == length).flat_map(|t| letters.iter().map(|l| [&t[..], &[*l]].concat())).collect();
            texts.extend(longer);
        }
        let whole = [
            "word",
            "a word.",
            "words",
            "swapper/12",
            "(root)",
            "a.ko.gz",
            "x.ko",
            "foo",
            "foo#bar",
            "f::h0123456789abcdef",
            "abcdab",
            "\u{e9}xyz",
        ];
        texts.extend(whole.iter().map(|t| t.as_bytes().to_vec()));
        let mut matched = 0;
        for text in &texts {
            let (own, theirs): (Vec<usize>, Vec<usize>) = (set.matches(text).collect(), reference.matches(text).into_iter().collect());
            assert_eq!(own, theirs, "{:?}", String::from_utf8_lossy(text));
            matched += own.len();
        }
        assert!(texts.len() > 50_000 && matched > 60_000, "{} texts, {matched} matches", texts.len());
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for pattern in ["(?i)a", "a{1,2}", "(a", "a)", "[a", "*", r"\p{L}", "[[:alpha:]]", "a**", "\u{e9}", r"\x41", "a{99999}"] {
            assert!(Patterns::new(&[pattern]).is_none(), "{pattern}");
        }
        assert!(Patterns::new(&["a"; MAX_PATTERNS + 1]).is_none());
        assert_eq!(Patterns::default().hits(b"a"), 0);
    }

    #[test]
    fn states_that_are_forgotten_are_made_again() {
        // Whether the thirteenth byte from the end is an a: a deterministic automaton needs 2^13 states for it.
        let set = Patterns::new(&[r"a............$"]).unwrap();
        let mut seed = 7_u64;
        let text: Vec<u8> = (0..200_000)
            .map(|_| {
                seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                if seed >> 63 == 0 { b'a' } else { b'b' }
            })
            .collect();
        for end in [1000, 50_000, 199_999, 200_000] {
            assert_eq!(set.hits(&text[..end]), u128::from(text[end - 13] == b'a'), "{end}");
        }
        assert!(set.cache.lock().unwrap().states.len() <= MAX_STATES + 1);
    }
}
