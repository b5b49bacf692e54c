//! Filters on the labels of samples, in the one text form that the address bar, the command line and messages share.
//!
//! `key=value` wants a value, `key` wants the key with any value, `!key` wants samples without the key. A `\` takes the
//! meaning from a `=`, `!` or `\` inside a key.

use std::fmt;

/// What a label must be.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wanted {
    /// Exactly this value, as it is shown.
    Value(String),
    /// Any value.
    Present,
    /// None at all.
    Absent,
}

/// One condition on the labels of a sample; several are and-ed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct LabelFilter {
    /// Key.
    pub key: String,
    /// What it must be.
    pub wanted: Wanted,
}

impl LabelFilter {
    /// The filter that a value of a key passes.
    pub fn value(key: &str, value: &str) -> LabelFilter {
        LabelFilter { key: key.to_string(), wanted: Wanted::Value(value.to_string()) }
    }

    /// Reads the text form. Every text is one: without `=` it is a key.
    pub fn parse(text: &str) -> LabelFilter {
        let (absent, rest) = text.strip_prefix('!').map_or((false, text), |rest| (true, rest));
        let mut key = String::new();
        let mut chars = rest.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => key.extend(chars.next().map(|(_, c)| c)),
                '=' if !absent => return LabelFilter { key, wanted: Wanted::Value(rest[at + 1..].to_string()) },
                c => key.push(c),
            }
        }
        LabelFilter { key, wanted: if absent { Wanted::Absent } else { Wanted::Present } }
    }
}

impl fmt::Display for LabelFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.wanted == Wanted::Absent {
            f.write_str("!")?;
        }
        for (i, c) in self.key.chars().enumerate() {
            if c == '\\' || c == '=' || c == '!' && i == 0 {
                f.write_str("\\")?;
            }
            write!(f, "{c}")?;
        }
        match &self.wanted {
            Wanted::Value(value) => write!(f, "={value}"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_filter_has_a_text() {
        let filter = |key: &str, wanted| LabelFilter { key: key.into(), wanted };
        for (drawn, text) in [
            (filter("user", Wanted::Value("a=b!\\c".into())), "user=a=b!\\c"),
            (filter("user", Wanted::Present), "user"),
            (filter("user", Wanted::Absent), "!user"),
            (filter("!odd=key\\", Wanted::Value(String::new())), "\\!odd\\=key\\\\="),
            (filter("!odd=", Wanted::Absent), "!\\!odd\\="),
            (filter("", Wanted::Value("x".into())), "=x"),
        ] {
            assert_eq!(drawn.to_string(), text);
            assert_eq!(LabelFilter::parse(text), drawn);
        }
    }
}
