//! What [`super::patterns`] knows of the syntax of patterns, as trees.

/// Nested groups of one pattern.
const MAX_DEPTH: usize = 64;
/// Copies that one repetition makes of what it repeats.
const MAX_COPIES: u32 = 64;

/// A set of bytes.
pub type Bytes = [u64; 4];

/// A pattern as it is written.
pub enum Ast {
    /// One byte of a set.
    Set(Bytes),
    /// The start of the text.
    Start,
    /// Its end.
    End,
    /// Where a word begins or ends.
    Word,
    /// One after the other.
    All(Vec<Ast>),
    /// One of these.
    Any(Vec<Ast>),
    /// So many times at least, and at most.
    Repeat(Box<Ast>, u32, Option<u32>),
}

/// Reads a pattern; `None` when it is not of the syntax that is known here.
pub fn parse(pattern: &str) -> Option<Ast> {
    let mut parser = Parser { rest: pattern.as_bytes(), depth: 0 };
    let ast = parser.alternatives()?;
    parser.rest.is_empty().then_some(ast)
}

/// Whether `\w` holds a byte.
pub fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' ')
}

/// Whether a set holds a byte.
pub fn holds(set: &Bytes, byte: u8) -> bool {
    set[usize::from(byte >> 6)] >> (byte & 63) & 1 != 0
}

fn add(set: &mut Bytes, byte: u8) {
    set[usize::from(byte >> 6)] |= 1 << (byte & 63);
}

/// The set of the bytes that pass a test.
pub fn of(test: impl Fn(u8) -> bool) -> Bytes {
    let mut set = [0; 4];
    (0..=255).filter(|b| test(*b)).for_each(|b| add(&mut set, b));
    set
}

struct Parser<'a> {
    rest: &'a [u8],
    depth: usize,
}

impl Parser<'_> {
    fn take(&mut self, byte: u8) -> bool {
        let found = self.rest.first() == Some(&byte);
        if found {
            self.rest = &self.rest[1..];
        }
        found
    }

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn alternatives(&mut self) -> Option<Ast> {
        let mut all = vec![self.sequence()?];
        while self.take(b'|') {
            all.push(self.sequence()?);
        }
        Some(if all.len() == 1 { all.remove(0) } else { Ast::Any(all) })
    }

    fn sequence(&mut self) -> Option<Ast> {
        let mut all = Vec::new();
        while let Some(byte) = self.rest.first().filter(|b| !matches!(**b, b'|' | b')')) {
            self.rest = &self.rest[1..];
            let one = self.atom(*byte)?;
            all.push(self.repeated(one)?);
        }
        Some(Ast::All(all))
    }

    fn atom(&mut self, byte: u8) -> Option<Ast> {
        Some(match byte {
            b'^' => Ast::Start,
            b'$' => Ast::End,
            b'.' => Ast::Set(of(|b| b != b'\n')),
            b'[' => Ast::Set(self.class()?),
            b'(' => {
                self.depth += 1;
                // Flags and names of groups are not known here.
                if self.depth > MAX_DEPTH || (self.rest.starts_with(b"?") && !self.rest.starts_with(b"?:")) {
                    return None;
                }
                self.rest = self.rest.strip_prefix(b"?:").unwrap_or(self.rest);
                let inner = self.alternatives()?;
                self.depth -= 1;
                self.take(b')').then_some(inner)?
            }
            b'\\' if self.take(b'b') => Ast::Word,
            b'\\' => Ast::Set(self.escaped()?),
            b'*' | b'+' | b'?' | b'{' => return None,
            128.. => return None,
            byte => Ast::Set(of(|b| b == byte)),
        })
    }

    /// The set that an escape stands for.
    fn escaped(&mut self) -> Option<Bytes> {
        Some(match self.next()? {
            b'w' => of(is_word),
            b'W' => of(|b| !is_word(b)),
            b'd' => of(|b| b.is_ascii_digit()),
            b'D' => of(|b| !b.is_ascii_digit()),
            b's' => of(is_space),
            b'S' => of(|b| !is_space(b)),
            byte if byte.is_ascii_punctuation() => of(|b| b == byte),
            _ => return None,
        })
    }

    fn class(&mut self) -> Option<Bytes> {
        let negated = self.take(b'^');
        let (mut set, mut first) = ([0; 4], true);
        loop {
            let byte = self.next()?;
            match byte {
                b']' if !first => break,
                b'\\' => self.escaped()?.iter().zip(&mut set).for_each(|(more, own)| *own |= more),
                // Classes in classes and operations on them are not known here.
                b'[' | b'&' | b'~' | 128.. => return None,
                _ if self.rest.first() == Some(&b'-') && self.rest.get(1).is_some_and(|b| *b != b']') => {
                    let last = *self.rest.get(1)?;
                    if !last.is_ascii_alphanumeric() || last < byte {
                        return None;
                    }
                    self.rest = &self.rest[2..];
                    (byte..=last).for_each(|b| add(&mut set, b));
                }
                _ => add(&mut set, byte),
            }
            first = false;
        }
        Some(if negated { set.map(|part| !part) } else { set })
    }

    fn repeated(&mut self, one: Ast) -> Option<Ast> {
        let (min, max) = match self.rest.first() {
            Some(b'*') => (0, None),
            Some(b'+') => (1, None),
            Some(b'?') => (0, Some(1)),
            Some(b'{') => {
                let end = self.rest.iter().position(|b| *b == b'}')?;
                let times: u32 = std::str::from_utf8(&self.rest[1..end]).ok()?.parse().ok()?;
                if times > MAX_COPIES {
                    return None;
                }
                self.rest = &self.rest[end..];
                (times, Some(times))
            }
            _ => return Some(one),
        };
        self.rest = &self.rest[1..];
        // Whether something matches at all does not depend on what a repetition takes first.
        self.take(b'?');
        if matches!(self.rest.first(), Some(b'*' | b'+' | b'{' | b'?')) {
            return None;
        }
        Some(Ast::Repeat(Box::new(one), min, max))
    }
}
