//! What a JSON file is, told by the keys of its first objects: nested keys and texts must not mislead.

use super::json::Json;

/// The top-level keys and the keys of the first element, for recognition: nested keys and texts must not mislead.
#[derive(Debug, Default)]
pub struct Outline {
    /// First byte: `{` or `[`.
    pub first: u8,
    /// Keys at depth 1 of an object, or of the first object of an array (or of an array of arrays).
    pub keys: Vec<String>,
    /// Whether the first element of the array is itself an array.
    pub nested: bool,
}

/// Outlines a prefix; `None` when it is not JSON.
pub fn outline(bytes: &[u8]) -> Option<Outline> {
    let mut reader = bytes;
    let mut json = Json::new(&mut reader);
    let first = json.peek().ok()??;
    if first != b'{' && first != b'[' {
        return None;
    }
    let mut out = Outline { first, ..Outline::default() };
    if first == b'[' {
        json.eat(b'[').ok()?;
        match json.peek() {
            Ok(Some(b'[')) => {
                out.nested = true;
                json.eat(b'[').ok()?;
            }
            Ok(Some(b'{' | b']')) => {}
            _ => return None,
        }
    }
    let mut key = String::new();
    if json.eat(b'{').ok()? {
        // The prefix may end inside any value: the keys up to there are what is known.
        while let Ok(true) = json.next_key(&mut key) {
            out.keys.push(key.clone());
            if json.skip().is_err() {
                break;
            }
        }
        if out.keys.is_empty() && !matches!(json.peek(), Ok(None)) && json.position() < 2 {
            return None;
        }
    }
    Some(out)
}

impl Outline {
    /// Whether one of the keys is there.
    pub fn has(&self, names: &[&str]) -> bool {
        self.keys.iter().any(|k| names.contains(&k.as_str()))
    }
}

/// The keys of the first object that is reached by going into these members, arrays being entered at their first element;
/// empty when there is none. `keys_under(b, &["data"])` gives the keys of the first trace of a Jaeger answer.
pub fn keys_under(bytes: &[u8], path: &[&str]) -> Vec<String> {
    let mut reader = bytes;
    let mut json = Json::new(&mut reader);
    let (mut keys, mut key) = (Vec::new(), String::new());
    let mut path = path.iter();
    loop {
        let mut arrays = 0;
        while arrays < 3 && matches!(json.eat(b'['), Ok(true)) {
            arrays += 1;
        }
        if !matches!(json.eat(b'{'), Ok(true)) {
            return keys;
        }
        let Some(wanted) = path.next() else { break };
        loop {
            match json.next_key(&mut key) {
                Ok(true) if key == *wanted => break,
                Ok(true) if json.skip().is_ok() => {}
                _ => return keys,
            }
        }
    }
    while let Ok(true) = json.next_key(&mut key) {
        keys.push(key.clone());
        if json.skip().is_err() {
            break;
        }
    }
    keys
}

/// Whether the object behind this path has all of these keys.
pub fn has_under(bytes: &[u8], path: &[&str], keys: &[&str]) -> bool {
    let found = keys_under(bytes, path);
    keys.iter().all(|key| found.iter().any(|f| f == key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outlines_ignore_nested_keys() {
        let o = outline(br#"[{"tags":{"resourceSpans":1},"ph":"X","ts"#).unwrap();
        assert_eq!((o.first, o.nested), (b'[', false));
        assert_eq!(o.keys, ["tags", "ph"]);
        assert!(outline(b"a;b 1").is_none());
    }

    #[test]
    fn members_are_entered_by_name_only() {
        let text = br#"{"x":{"data":[{"wrong":1}]},"data":[[{"traceID":"a","spans":[{"spanID":1}]}]],"total":0}"#;
        assert_eq!(keys_under(text, &["data"]), ["traceID", "spans"]);
        assert_eq!(keys_under(text, &["data", "spans"]), ["spanID"]);
        assert!(keys_under(text, &["spans"]).is_empty() && keys_under(b"[1]", &[]).is_empty());
        // The end of the prefix may cut anything.
        for end in 0..text.len() {
            assert!(keys_under(&text[..end], &["data"]).len() <= 2);
        }
        assert!(has_under(text, &["data"], &["spans"]) && !has_under(text, &["data"], &["spans", "ph"]));
    }
}
