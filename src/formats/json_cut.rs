//! Boundaries in JSON: where a part may begin without knowing what stands before it.
//!
//! A boundary is a record (an object) behind a comma, or at the start of a line, that begins with the keys that records of
//! this file begin with. Inside texts and nested arrays the same characters may stand, so a boundary is a guess; see
//! [`super::parts`] for how a wrong one is noticed.

use super::json::{Broken, Json};
use serde::{Deserialize, Serialize};

/// How far into a record its keys are looked for.
const WINDOW: usize = 4096;
/// White space between comma and record that is looked through.
const MAX_BLANKS: usize = 128;
/// Records of the head that are learned from.
const MAX_HEADS: usize = 16;

/// What records of a file begin with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Mark {
    /// Records stand at the start of lines, and not behind commas.
    pub lines: bool,
    /// The first key of a record, and the second one where the first value is no object or array.
    heads: Vec<Vec<String>>,
}

impl Mark {
    /// Learns from the items of an array (or, by lines, from the documents) up to where the head of the file is cut.
    pub fn learn(json: &mut Json<'_>, lines: bool) -> Option<Mark> {
        let mut mark = Mark { lines, heads: Vec::new() };
        loop {
            let more = if lines { json.peek().is_ok_and(|b| b.is_some()) } else { json.next_item().unwrap_or(false) };
            if !more {
                break;
            }
            if let Some(head) = json.ahead(WINDOW).ok().and_then(head)
                && !mark.heads.contains(&head)
                && mark.heads.len() < MAX_HEADS
            {
                mark.heads.push(head);
            }
            if json.skip().is_err() {
                break;
            }
        }
        (!mark.heads.is_empty()).then_some(mark)
    }

    /// Whether a boundary behind `cut` is here.
    ///
    /// # Errors
    /// [`Broken::Io`].
    pub fn here(&self, json: &mut Json<'_>, cut: u64) -> Result<bool, Broken> {
        let at = json.position();
        let behind = if self.lines {
            at > cut && json.previous() == b'\n'
        } else {
            json.comma().is_some_and(|comma| comma >= cut && at - comma <= MAX_BLANKS as u64)
        };
        Ok(behind && self.fits(json.ahead(WINDOW)?))
    }

    fn fits(&self, record: &[u8]) -> bool {
        head(record).is_some_and(|head| self.heads.contains(&head))
    }

    /// Goes to the first boundary behind `cut` and gives its offset; `None` when none begins before `end`.
    ///
    /// # Errors
    /// [`Broken::Io`].
    pub fn find(&self, json: &mut Json<'_>, cut: u64, end: u64) -> Result<Option<u64>, Broken> {
        // The last byte that is not white space, with its offset, and the byte before this place.
        let (mut last, mut previous) = ((0_u8, 0_u64), 0_u8);
        loop {
            let from = json.position();
            if from > end {
                return Ok(None);
            }
            let window = json.ahead(2 * WINDOW)?;
            if window.is_empty() {
                return Ok(None);
            }
            // At the end of the file the window is short and all of it is looked at.
            let complete = window.len() < 2 * WINDOW;
            let limit = if complete { window.len() } else { WINDOW };
            let mut found = None;
            for (i, &b) in window[..limit].iter().enumerate() {
                let at = from + i as u64;
                let behind = if self.lines {
                    at > cut && previous == b'\n'
                } else {
                    last.0 == b',' && last.1 >= cut && at - last.1 <= MAX_BLANKS as u64
                };
                if b == b'{' && behind && self.fits(&window[i..window.len().min(i + WINDOW)]) {
                    found = Some(i);
                    break;
                }
                if !b.is_ascii_whitespace() {
                    last = (b, at);
                }
                previous = b;
            }
            json.pass(found.unwrap_or(limit));
            if found.is_some() {
                return Ok(Some(json.position()));
            }
        }
    }
}

/// The first key of an object, and the second where the first value is a scalar.
fn head(record: &[u8]) -> Option<Vec<String>> {
    let mut at = blanks(record, 0);
    if record.get(at) != Some(&b'{') {
        return None;
    }
    at = blanks(record, at + 1);
    let (first, end) = text(record, at)?;
    let mut keys = vec![first];
    at = blanks(record, end);
    if record.get(at) != Some(&b':') {
        return None;
    }
    at = blanks(record, at + 1);
    at = match record.get(at)? {
        b'{' | b'[' => return Some(keys),
        b'"' => text(record, at)?.1,
        _ => at + record[at..].iter().position(|b| matches!(b, b',' | b'}'))?,
    };
    at = blanks(record, at);
    if record.get(at) == Some(&b',') {
        keys.push(text(record, blanks(record, at + 1))?.0);
    }
    Some(keys)
}

fn blanks(bytes: &[u8], at: usize) -> usize {
    at + bytes[at.min(bytes.len())..].iter().take_while(|b| b.is_ascii_whitespace()).count()
}

/// The text that begins at a quote, as written, and the place behind it.
fn text(bytes: &[u8], at: usize) -> Option<(String, usize)> {
    if bytes.get(at) != Some(&b'"') {
        return None;
    }
    let mut end = at + 1;
    loop {
        match bytes.get(end)? {
            b'\\' => end += 2,
            b'"' => break,
            _ => end += 1,
        }
    }
    Some((String::from_utf8_lossy(&bytes[at + 1..end]).into_owned(), end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_of_records() {
        let keys = |record: &str| head(record.as_bytes()).map(|k| k.join(" "));
        assert_eq!(keys(r#"{"traceID":"a\"b","spans":[{"#).as_deref(), Some("traceID spans"));
        assert_eq!(keys(r#"{ "ph" : "X" , "ts":1}"#).as_deref(), Some("ph ts"));
        assert_eq!(keys(r#"{"resource":{"a":1},"x":2}"#).as_deref(), Some("resource"));
        assert_eq!(keys(r#"{"a":12}"#).as_deref(), Some("a"));
        assert_eq!(keys("{}"), None);
        assert_eq!(keys(r#"{"cut of"#), None);
    }

    #[test]
    fn both_sides_of_a_cut_see_the_same_boundary() {
        let text = br#"{"traceEvents":[{"ph":"M","pid":1}, {"ph":"X","pid":2,"args":{"s":"},{\"ph\":\"X\",\"pid\":9"}},
            {"ph":"X","pid":3,"args":[{"ph":"B","pid":7},{"n":1}]},{"ph":"E","pid":4}]}"#;
        let begin = 15;
        let mut bytes = &text[begin + 1..];
        let mark = Mark::learn(&mut Json::at(&mut bytes, begin as u64 + 1), false).unwrap();
        for cut in 0..text.len() as u64 {
            // The side before the cut walks the items.
            let mut bytes = &text[begin + 1..];
            let mut json = Json::at(&mut bytes, begin as u64 + 1);
            let mut left = None;
            while left.is_none() && json.next_item().unwrap() {
                if mark.here(&mut json, cut).unwrap() {
                    left = Some(json.position());
                } else {
                    json.skip().unwrap();
                }
            }
            let from = cut.saturating_sub(20);
            let mut bytes = &text[from as usize..];
            let right = mark.find(&mut Json::at(&mut bytes, from), cut, u64::MAX).unwrap();
            let wrong = text[..right.unwrap_or(0) as usize].ends_with(br#"{"ph":"B","pid":7},"#);
            assert!(left == right || wrong, "cut at {cut}: {left:?} {right:?}");
        }
    }
}
