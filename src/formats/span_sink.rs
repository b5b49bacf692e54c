//! What all readers of spans share: ids, attributes, kinds, and the diagnostics of a span.

use super::Import;
use super::json::Scalar;
use crate::base::attribute_keys::is_looked_at;
use crate::base::ids::{ServiceId, StringId};
use crate::model::diagnostics::{At, DiagnosticCode, Level};
use crate::model::trace::{AttrValue, LATEST, LONGEST, SpanKind, span_id};

/// A record that is not JSON or not a span.
pub const BAD_SPAN: DiagnosticCode =
    DiagnosticCode { code: "spans/unreadable", level: Level::DataLoss, message: "Records that cannot be read as spans were skipped." };
const FAR: DiagnosticCode = DiagnosticCode {
    code: "spans/implausible-time",
    level: Level::Notice,
    message: "Times that no clock gives: begins beyond the year 2100 were taken as there, and lengths beyond two years as two years.",
};
/// End before start.
pub const NEGATIVE: DiagnosticCode = DiagnosticCode {
    code: "spans/negative-duration",
    level: Level::Notice,
    message: "Spans that end before they start count as having no duration.",
};
/// No begin.
pub const NO_START: DiagnosticCode = DiagnosticCode {
    code: "spans/no-start",
    level: Level::Notice,
    message: "Spans without a begin time are kept at the begin of time zero.",
};
/// A file of the right form with nothing in it.
pub const NO_SPANS: DiagnosticCode =
    DiagnosticCode { code: "spans/none", level: Level::Notice, message: "The file holds no spans: the query that it answers found none." };
/// A time or length that is there and is none.
pub const BAD_TIME: DiagnosticCode = DiagnosticCode {
    code: "spans/unreadable-time",
    level: Level::DataLoss,
    message: "Times and durations that are not of their form count as missing.",
};
/// The file ends early.
pub const CUT: DiagnosticCode = DiagnosticCode {
    code: "json/cut",
    level: Level::DataLoss,
    message: "The JSON ends inside a value; the complete records before that place were read.",
};
/// A line or document that is not JSON.
pub const BROKEN: DiagnosticCode =
    DiagnosticCode { code: "json/broken", level: Level::DataLoss, message: "Text that is not JSON was skipped up to the next line." };

/// A trace id as 32 or 16 lower-case hex digits. A 64-bit id padded to 128 bits is the same id (Zipkin and Jaeger pad
/// differently). Base64 forms (protobuf JSON of Tempo and Kiali) are decoded; anything else stays as it is.
pub fn trace_id(text: &str) -> String {
    let text = text.trim();
    let hex = hex_id(text, 16).unwrap_or_else(|| text.to_string());
    if hex.is_empty() || !hex.bytes().all(|b| b.is_ascii_hexdigit()) || hex.len() > 32 {
        return hex;
    }
    let hex = hex.to_ascii_lowercase();
    let significant = hex.trim_start_matches('0');
    if significant.len() <= 16 { format!("{significant:0>16}") } else { format!("{significant:0>32}") }
}

/// A span id as lower-case hex digits; base64 forms are decoded, anything else stays as it is.
pub fn span_id_text(text: &str) -> String {
    hex_id(text.trim(), 8).unwrap_or_else(|| text.trim().to_ascii_lowercase())
}

/// Hex of a base64 id of `bytes` bytes; `None` if it is not one.
fn hex_id(text: &str, bytes: usize) -> Option<String> {
    let length = bytes.div_ceil(3) * 4;
    if text.len() != length || text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let decoded = base64(text)?;
    (decoded.len() == bytes).then(|| decoded.iter().map(|b| format!("{b:02x}")).collect())
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let (mut out, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for b in text.trim_end_matches('=').bytes() {
        let value = match b {
            b'A'..=b'Z' => b - b'A',
            b'a'..=b'z' => b - b'a' + 26,
            b'0'..=b'9' => b - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    Some(out)
}

impl Import<'_> {
    /// A span id as a number; ids of other shapes are remembered with their text.
    pub fn span_id(&mut self, text: &str) -> u64 {
        let hex = hex_id(text.trim(), 8);
        let text = hex.as_deref().unwrap_or(text);
        let (id, odd) = span_id(text);
        if odd {
            let text = self.session.strings.intern(text.trim());
            self.session.traces.remember_odd_id(id, text);
        }
        id
    }

    /// Interns a normalised trace id.
    pub fn trace_id(&mut self, text: &str) -> StringId {
        // Most ids are written as they are kept.
        let digits = || text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if text.len() == 32 && !text.starts_with('0') && digits() {
            return self.session.strings.intern(text);
        }
        self.session.strings.intern(&trace_id(text))
    }

    /// Appends an attribute.
    pub fn attr(&mut self, key: &str, value: &Scalar<'_>) {
        if self.session.reduced.attributes && !is_looked_at(key) {
            self.session.reduced.drop_attributes(self.source, 1);
            return;
        }
        let strings = &mut self.session.strings;
        let value = match value {
            Scalar::Null => AttrValue::Text(strings.intern("")),
            Scalar::Bool(b) => AttrValue::Bool(*b),
            Scalar::Int(n) => AttrValue::Int(*n),
            Scalar::Big(n) => AttrValue::Text(strings.intern(&n.to_string())),
            Scalar::Float(f) => AttrValue::Double(*f),
            Scalar::Text(text) => AttrValue::Text(strings.intern(text)),
            Scalar::Json(text) => AttrValue::Json(strings.intern(text)),
        };
        let key = strings.intern(key);
        self.session.traces.attrs.push(key, value);
    }

    /// The row that the next attribute gets.
    pub fn next_attr(&self) -> u32 {
        self.session.traces.attrs.next_row()
    }

    /// Interns a service; an empty name is no service.
    pub fn service(&mut self, name: &str) -> ServiceId {
        if name.is_empty() {
            return ServiceId::NONE;
        }
        let name = self.session.strings.intern(name);
        self.session.traces.intern_service(name)
    }

    /// Length from begin to end, with the diagnostics of odd times.
    pub fn span_length(&mut self, start: i64, end: i64, record: u64, name: &str) -> i64 {
        if start <= 0 {
            self.report(NO_START, At::Record(record), name);
        }
        if end < start {
            self.report(NEGATIVE, At::Record(record), name);
        }
        let length = end.saturating_sub(start).max(0);
        if !(-LATEST..=LATEST).contains(&start) || length > LONGEST {
            self.report(FAR, At::Record(record), name);
        }
        length
    }

    /// Passes a time or length on, and says so when one is given that cannot be read.
    pub fn checked_time(&mut self, time: Option<i64>, given: &Scalar<'_>) -> Option<i64> {
        let empty = *given == Scalar::Null || given.text().is_some_and(str::is_empty);
        if time.is_none() && !empty {
            self.report(BAD_TIME, At::Record(self.ledger.records_in), &format!("{given:?}"));
        }
        time
    }

    /// Gives rows of spans their service once it is known (formats that name it behind the spans).
    pub fn set_service(&mut self, row: usize, service: ServiceId) {
        let traces = &mut self.session.traces;
        let operation = traces.spans.operation[row].index();
        let (name, kind) = (traces.operations.name[operation], traces.operations.kind[operation]);
        traces.spans.operation[row] = traces.operations.intern(service, name, kind);
    }
}

/// A span kind by number (OTLP) or name, with or without prefix.
pub fn kind(value: &Scalar<'_>) -> SpanKind {
    if let Scalar::Int(n) = value {
        return match n {
            1 => SpanKind::Internal,
            2 => SpanKind::Server,
            3 => SpanKind::Client,
            4 => SpanKind::Producer,
            5 => SpanKind::Consumer,
            _ => SpanKind::Unspecified,
        };
    }
    let text = value.text().unwrap_or("").to_ascii_lowercase();
    match text.strip_prefix("span_kind_").unwrap_or(&text) {
        "internal" => SpanKind::Internal,
        "server" => SpanKind::Server,
        "client" => SpanKind::Client,
        "producer" => SpanKind::Producer,
        "consumer" => SpanKind::Consumer,
        _ => SpanKind::Unspecified,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_every_spelling() {
        assert_eq!(trace_id("5B8EFFF798038103D269B633813FC60C"), "5b8efff798038103d269b633813fc60c");
        assert_eq!(trace_id("00000000000000008ce82b2e9ed820ba"), "8ce82b2e9ed820ba");
        assert_eq!(trace_id("abc"), "0000000000000abc");
        assert_eq!(trace_id("AAAAAAAAAABguiq7RPE+rg=="), "60ba2abb44f13eae");
        assert_eq!(hex_id("cmteMBAvwNA=", 8).as_deref(), Some("726b5e30102fc0d0"));
        assert_eq!(trace_id("not an id"), "not an id");
    }
}
