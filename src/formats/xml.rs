//! A forward-only reader of XML elements over a stream: tags, attributes and text. Declarations, comments and processing
//! instructions are passed over; entities other than the five of XML and characters by number stay as they are, so that
//! nothing expands.

use std::io::{BufRead, Result};

/// What comes next in a document.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// `<name a="b">`; `empty` for `<name/>`, which has no end of its own.
    Open {
        /// Element.
        name: String,
        /// Attributes in order.
        attributes: Vec<(String, String)>,
        /// Whether it ends here.
        empty: bool,
    },
    /// `</name>`.
    Close(String),
    /// Text between tags that is not only white space.
    Text(String),
    /// The end; `true` inside of a tag.
    End(bool),
}

/// The reader.
pub struct Xml<'r> {
    input: &'r mut dyn BufRead,
    /// Offset of the next byte.
    pub at: u64,
    raw: Vec<u8>,
    /// Whether a `<` was read whose tag follows.
    in_tag: bool,
}

impl<'r> Xml<'r> {
    /// From the reader's position.
    pub fn new(input: &'r mut dyn BufRead) -> Xml<'r> {
        Xml { input, at: 0, raw: Vec::new(), in_tag: false }
    }

    /// Reads up to and with a byte; `false` when the file ends first.
    fn until(&mut self, byte: u8) -> Result<bool> {
        self.at += self.input.read_until(byte, &mut self.raw)? as u64;
        Ok(self.raw.last() == Some(&byte))
    }

    /// What comes next.
    ///
    /// # Errors
    /// Those of the reader.
    pub fn event(&mut self) -> Result<Event> {
        loop {
            if !std::mem::take(&mut self.in_tag) {
                self.raw.clear();
                self.in_tag = self.until(b'<')?;
                let text = self.raw.strip_suffix(b"<").unwrap_or(&self.raw);
                if text.iter().any(|b| !b.is_ascii_whitespace()) {
                    return Ok(Event::Text(unescape(&String::from_utf8_lossy(text))));
                }
                if !std::mem::take(&mut self.in_tag) {
                    return Ok(Event::End(false));
                }
            }
            self.raw.clear();
            if let Some(event) = self.tag()? {
                return Ok(event);
            }
        }
    }

    fn tag(&mut self) -> Result<Option<Event>> {
        if !self.until(b'>')? {
            return Ok(Some(Event::End(true)));
        }
        // A `>` inside of a value, a comment or a CDATA section does not end the tag.
        loop {
            let done = if self.raw.starts_with(b"!--") {
                self.raw.len() >= 6 && self.raw.ends_with(b"-->")
            } else if self.raw.starts_with(b"![CDATA[") {
                self.raw.ends_with(b"]]>")
            } else {
                !open_quote(&self.raw)
            };
            if done {
                break;
            }
            if !self.until(b'>')? {
                return Ok(Some(Event::End(true)));
            }
        }
        let raw = String::from_utf8_lossy(&self.raw);
        if let Some(text) = raw.strip_prefix("![CDATA[").and_then(|t| t.strip_suffix("]]>")) {
            return Ok(Some(Event::Text(text.to_string())));
        }
        if raw.starts_with(['!', '?']) {
            return Ok(None);
        }
        let inner = raw.strip_suffix('>').unwrap_or(&raw);
        if let Some(name) = inner.strip_prefix('/') {
            return Ok(Some(Event::Close(name.trim().to_string())));
        }
        let (inner, empty) = inner.strip_suffix('/').map_or((inner, false), |rest| (rest, true));
        let end = inner.find(char::is_whitespace).unwrap_or(inner.len());
        Ok(Some(Event::Open { name: inner[..end].to_string(), attributes: attributes(&inner[end..]), empty }))
    }
}

fn open_quote(tag: &[u8]) -> bool {
    let mut open = None;
    for b in tag {
        match (open, b) {
            (None, b'"' | b'\'') => open = Some(*b),
            (Some(quote), b) if quote == *b => open = None,
            _ => {}
        }
    }
    open.is_some()
}

fn attributes(mut text: &str) -> Vec<(String, String)> {
    let mut out = Vec::new();
    while let Some((key, rest)) = text.split_once('=') {
        let rest = rest.trim_start();
        let Some(quote) = rest.chars().next().filter(|c| matches!(c, '"' | '\'')) else { break };
        let Some((value, tail)) = rest[1..].split_once(quote) else { break };
        out.push((key.trim().to_string(), unescape(value)));
        text = tail;
    }
    out
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let known = rest.split_once(';').filter(|(name, _)| name.len() <= 10).and_then(|(name, tail)| {
            let c = match &name[1..] {
                "amp" => '&',
                "lt" => '<',
                "gt" => '>',
                "quot" => '"',
                "apos" => '\'',
                number => {
                    let digits = number.strip_prefix('#')?;
                    let code = match digits.strip_prefix('x') {
                        Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                        None => digits.parse().ok()?,
                    };
                    char::from_u32(code)?
                }
            };
            Some((c, tail))
        });
        match known {
            Some((c, tail)) => {
                out.push(c);
                rest = tail;
            }
            None => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(text: &str) -> Vec<Event> {
        let mut bytes = text.as_bytes();
        let mut xml = Xml::new(&mut bytes);
        let mut out = Vec::new();
        loop {
            let event = xml.event().unwrap();
            let end = matches!(event, Event::End(_));
            out.push(event);
            if end {
                return out;
            }
        }
    }

    #[test]
    fn tags_texts_and_what_is_passed_over() {
        let open = |name: &str, attributes: &[(&str, &str)], empty| Event::Open {
            name: name.into(),
            attributes: attributes.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
            empty,
        };
        let text = "<?xml version='1.0'?><!-- <x> --><a b=\"1>2\" c='&lt;&#65;&no;'>t &amp; u<d/><![CDATA[<e>]]></a>";
        let expected = [
            open("a", &[("b", "1>2"), ("c", "<A&no;")], false),
            Event::Text("t & u".into()),
            open("d", &[], true),
            Event::Text("<e>".into()),
            Event::Close("a".into()),
            Event::End(false),
        ];
        assert_eq!(events(text), expected);
        assert_eq!(events("<a b=\"").last(), Some(&Event::End(true)));
        assert_eq!(events("plain"), [Event::Text("plain".into()), Event::End(false)]);
    }
}
