//! Records that are almost JSON. Producers write `NaN` and `Infinity` (Python, PyTorch), cut texts between the halves of a
//! surrogate pair (attribute limits in JavaScript), put raw control characters into texts, or leave a comma behind the last
//! member. Such a record is rewritten once and then read: losing a span for a number in its arguments helps nobody.

use super::Import;
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use serde::Deserialize;
use std::collections::BTreeSet;

const MENDED: DiagnosticCode = DiagnosticCode {
    code: "json/mended",
    level: Level::Notice,
    message: "Records with NaN, broken escapes, control characters, bytes that are not UTF-8 or a stray comma are not quite JSON and were read all the same.",
};

const REPEATED: DiagnosticCode = DiagnosticCode {
    code: "json/repeated-key",
    level: Level::Notice,
    message: "Records that give a key twice were read with the last value that they give.",
};

/// Reads a record, mended into `spare` where it must be.
///
/// # Errors
/// What serde says when the record is not JSON, or not of this shape, after mending too.
pub fn record<'a, T: Deserialize<'a>>(raw: &'a [u8], spare: &'a mut Vec<u8>, at: u64, import: &mut Import<'_>) -> serde_json::Result<T> {
    let first = match std::str::from_utf8(raw) {
        Ok(text) => match serde_json::from_str(text) {
            Ok(record) => return Ok(record),
            Err(e) => Some(e),
        },
        Err(_) => None,
    };
    let repeated = |e: &serde_json::Error| e.is_data() && e.to_string().starts_with("duplicate field");
    if first.as_ref().is_some_and(repeated) {
        spare.clear();
        spare.extend_from_slice(raw);
    } else {
        mend(raw, spare);
    }
    let (mut code, mut reason) = (MENDED, first.as_ref().map_or("not UTF-8".to_string(), ToString::to_string));
    if holds_key_twice(spare) {
        // A tree keeps the last of equal keys.
        let tree: serde_json::Value = serde_json::from_slice(spare)?;
        *spare = tree.to_string().into_bytes();
        code = REPEATED;
        reason = first.as_ref().filter(|e| repeated(e)).map_or(reason, ToString::to_string);
    }
    match serde_json::from_slice(spare) {
        Ok(record) => {
            import.report(code, At::Byte(at), &reason);
            Ok(record)
        }
        // Places of the first reading fit the file.
        Err(e) => Err(first.unwrap_or(e)),
    }
}

/// Whether an object of the record holds a key more than once. Records that are no JSON hold none.
fn holds_key_twice(record: &[u8]) -> bool {
    let mut open: Vec<BTreeSet<&[u8]>> = Vec::new();
    let mut at = 0;
    while let Some(&b) = record.get(at) {
        at += 1;
        match b {
            b'{' | b'[' => open.push(BTreeSet::new()),
            b'}' | b']' => {
                open.pop();
            }
            b'"' => {
                let begin = at;
                while let Some(&b) = record.get(at).filter(|b| **b != b'"') {
                    at += if b == b'\\' { 2 } else { 1 };
                }
                let text = record.get(begin..at).unwrap_or_default();
                at += 1;
                let behind = record.get(at..).unwrap_or_default().iter().find(|b| !b.is_ascii_whitespace());
                if behind == Some(&b':') && open.last_mut().is_some_and(|keys| !keys.insert(text)) {
                    return true;
                }
            }
            _ => {}
        }
    }
    false
}

/// Rewrites what is almost JSON; JSON stays as it is.
fn mend(raw: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let text = String::from_utf8_lossy(raw);
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&b) = bytes.get(at) {
        match b {
            b'"' => at = string(bytes, at, out),
            b',' => {
                at += 1;
                let next = bytes[at..].iter().find(|b| !b.is_ascii_whitespace());
                if !matches!(next, Some(b'}' | b']')) {
                    out.push(b',');
                }
            }
            b'-' | b'+' | b'a'..=b'z' | b'A'..=b'Z' => {
                let rest = &bytes[at..];
                let word =
                    &rest[..rest.iter().position(|b| !matches!(b, b'-' | b'+' | b'.') && !b.is_ascii_alphanumeric()).unwrap_or(rest.len())];
                let known: &[u8] = match word.strip_prefix(b"-").or(word.strip_prefix(b"+")).unwrap_or(word) {
                    b"NaN" | b"nan" | b"Infinity" | b"inf" | b"Inf" | b"undefined" | b"None" => b"null",
                    b"True" => b"true",
                    b"False" => b"false",
                    _ => word,
                };
                out.extend_from_slice(known);
                at += word.len();
            }
            _ => {
                out.push(b);
                at += 1;
            }
        }
    }
}

/// Copies the text that begins at a quote and gives the place behind it.
fn string(bytes: &[u8], begin: usize, out: &mut Vec<u8>) -> usize {
    let mut at = begin + 1;
    out.push(b'"');
    while let Some(&b) = bytes.get(at) {
        at += 1;
        match b {
            b'"' => {
                out.push(b'"');
                return at;
            }
            b'\\' => at = escape(bytes, at, out),
            0..0x20 => out.extend_from_slice(format!("\\u{b:04x}").as_bytes()),
            _ => out.push(b),
        }
    }
    at
}

/// Copies what stands behind a backslash and gives the place behind it.
fn escape(bytes: &[u8], at: usize, out: &mut Vec<u8>) -> usize {
    let unit = |at: usize| -> Option<u16> {
        let hex = bytes.get(at..at + 4).filter(|hex| hex.iter().all(u8::is_ascii_hexdigit))?;
        u16::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()
    };
    match bytes.get(at) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
            out.extend([b'\\', bytes[at]]);
            at + 1
        }
        Some(b'u') => {
            let low = || bytes.get(at + 5..at + 7).filter(|b| *b == b"\\u").and_then(|_| unit(at + 7));
            match unit(at + 1) {
                // A pair of surrogates, whole or cut.
                Some(0xd800..0xdc00) if low().is_some_and(|low| (0xdc00..0xe000).contains(&low)) => {
                    out.push(b'\\');
                    out.extend_from_slice(&bytes[at..at + 11]);
                    at + 11
                }
                Some(0xd800..0xe000) => {
                    out.extend_from_slice(b"\\ufffd");
                    at + 5
                }
                Some(_) => {
                    out.push(b'\\');
                    out.extend_from_slice(&bytes[at..at + 5]);
                    at + 5
                }
                None => {
                    out.extend_from_slice(b"\\\\");
                    at
                }
            }
        }
        // A backslash that escapes nothing is meant (paths of Windows).
        _ => {
            out.extend_from_slice(b"\\\\");
            at
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mended(text: &str) -> String {
        let mut out = Vec::new();
        mend(text.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn keys_are_told_from_texts() {
        for (text, twice) in [
            (r#"{"a":1,"b":{"a":2},"c":["a","a",{"a":1},{"a":1}]}"#, false),
            (r#"{"a":1, "b":2, "a" : 3}"#, true),
            (r#"{"x":{"k\"":1,"k\"":2}}"#, true),
            (r#"{"a":"a\":","b":"#, false),
            (r#"{"a"#, false),
        ] {
            assert_eq!(holds_key_twice(text.as_bytes()), twice, "{text}");
        }
    }

    #[test]
    fn json_stays_as_it_is() {
        for text in [r#"{"a":[1,-2.5e+3,true,null],"b":"x\n\"\\é\ud83d\ude00 , }"}"#, "[]", "\"NaN\"", " { \"k\" : [ ] } "] {
            assert_eq!(mended(text), text);
        }
    }

    #[test]
    fn what_producers_write() {
        for (text, expected) in [
            (r#"{"a":NaN,"b":-Infinity,"c":True}"#, r#"{"a":null,"b":null,"c":true}"#),
            (r#"{"a":[1,2,],}"#, r#"{"a":[1,2]}"#),
            (r#"{"a":"cut \ud83d"}"#, r#"{"a":"cut \ufffd"}"#),
            (r#"{"a":"\ude00\ud83d\ud83d\ude00"}"#, r#"{"a":"\ufffd\ufffd\ud83d\ude00"}"#),
            ("{\"a\":\"one\ntwo\"}", r#"{"a":"one\u000atwo"}"#),
            (r#"{"a":"C:\Users\me\u12"}"#, r#"{"a":"C:\\Users\\me\\u12"}"#),
        ] {
            assert_eq!(mended(text), expected);
            assert!(serde_json::from_str::<serde_json::Value>(expected).is_ok(), "{expected}");
        }
    }
}
