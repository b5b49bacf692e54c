//! Where in the source a call is made, and with which library: what instrumentation says about its own caller.

use crate::base::ids::SpanRow;
use crate::model::Session;
use crate::model::trace::AttrValue;

/// Attribute keys of file and line, new and old names of the semantic conventions, and those of sqlcommenter.
const FILES: [&str; 3] = ["code.file.path", "code.filepath", "code.filename"];
const LINES: [&str; 3] = ["code.line.number", "code.lineno", "code.line"];

/// How many spans upwards a location is looked for: wrappers of a call, not the whole path.
pub const LEVELS: usize = 16;

/// File and line of a call: its own, or the nearest span's above it up to `scope`.
pub fn location(session: &Session, call: SpanRow, scope: SpanRow) -> Option<(String, u32)> {
    let (set, strings) = (&session.traces, &session.strings);
    let mut at = Some(call);
    for _ in 0..LEVELS {
        let span = at?;
        let (mut file, mut line) = (None, 0);
        for (key, value) in set.span_attrs(span) {
            match (strings.get(key), value) {
                (key, AttrValue::Text(id)) if FILES.contains(&key) => file = Some(strings.get(id).to_string()),
                (key, AttrValue::Int(n)) if LINES.contains(&key) => line = u32::try_from(n).unwrap_or(0),
                (key, AttrValue::Text(id)) if LINES.contains(&key) => line = strings.get(id).parse().unwrap_or(0),
                _ => {}
            }
        }
        if let Some(file) = file.filter(|f| !f.is_empty()) {
            return Some((file, line));
        }
        if span == scope {
            return None;
        }
        at = set.spans.parent[span.index()].get();
    }
    None
}
