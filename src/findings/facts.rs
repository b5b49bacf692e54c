//! What attributes say about the size, the outcome and the place of a call, under the old and new names of the semantic
//! conventions and of common instrumentation.

use crate::base::ids::{SpanRow, StringId};
use crate::base::intern::StringTable;
use crate::model::trace::{AttrValue, TraceSet};

/// What an attribute says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// Bytes of the answer, as sent.
    ResponseBytes,
    /// Bytes of the answer before compression.
    DecodedBytes,
    /// How the answer is compressed.
    Encoding,
    /// Media type of the answer.
    ContentType,
    /// Bytes of the request.
    RequestBytes,
    /// Bytes of the message.
    MessageBytes,
    /// Rows that the database returned.
    Rows,
    /// Statement.
    Statement,
    /// HTTP status.
    Status,
    /// gRPC status, a number or its name.
    RpcStatus,
    /// Class of the error.
    ErrorType,
    /// Region, else zone.
    Region,
    /// When the message was queued: seconds, milliseconds or nanoseconds since 1970.
    Enqueued,
    /// How often the message was delivered.
    Deliveries,
}

/// Keys by fact, in order of preference; the order of the rows is that of [`Fact`].
const KEYS: &[&[&str]] = &[
    &["http.response.body.size", "http.response.size", "http.response_content_length", "response_size", "rpc.response.size"],
    &[
        "http.response.body.uncompressed_size",
        "http.response_content_length_uncompressed",
        "http.decoded_response_content_length",
        "http.decoded_response_body_length",
    ],
    &["http.response.header.content-encoding", "http.response.content_encoding", "http.response_content_encoding"],
    &["http.response.header.content-type", "http.response.content_type", "http.response_content_type"],
    &["http.request.body.size", "http.request.size", "http.request_content_length", "request_size", "rpc.request.size"],
    &[
        "messaging.message.body.size",
        "messaging.message.envelope.size",
        "messaging.message_payload_size_bytes",
        "messaging.message.payload_size_bytes",
    ],
    &["db.response.returned_rows", "db.rows_returned", "db.row_count", "db.returned_rows", "db.sql.rows"],
    &["db.query.text", "db.statement", "sql.query", "cassandra.query"],
    &["http.response.status_code", "http.status_code"],
    &["rpc.grpc.status_code", "rpc.response.status_code", "grpc.status_code"],
    &["error.type", "exception.type", "error.kind"],
    &["cloud.region", "cloud.availability_zone"],
    &["messaging.servicebus.message.enqueued_time", "messaging.eventhubs.message.enqueued_time", "messaging.message.enqueued_time"],
    &[
        "messaging.servicebus.message.delivery_count",
        "messaging.gcp_pubsub.message.delivery_attempt",
        "messaging.message.delivery_attempt",
        "messaging.message.delivery_count",
        "messaging.rabbitmq.message.delivery_count",
    ],
];

/// The keys of a session that say something.
#[derive(Debug, Default)]
pub struct Facts {
    /// Fact, rank and id of each key that occurs, by fact, then rank.
    keys: Vec<(u8, StringId)>,
}

impl Facts {
    /// Looks the keys up.
    pub fn new(strings: &StringTable) -> Facts {
        let mut keys = Vec::new();
        for (fact, names) in KEYS.iter().enumerate() {
            keys.extend(names.iter().filter_map(|name| Some((fact as u8, strings.find(name)?))));
        }
        Facts { keys }
    }

    fn of(&self, fact: Fact) -> &[(u8, StringId)] {
        let from = self.keys.partition_point(|k| k.0 < fact as u8);
        let to = self.keys.partition_point(|k| k.0 <= fact as u8);
        &self.keys[from..to]
    }

    /// Whether any span could say it.
    pub fn has(&self, fact: Fact) -> bool {
        !self.of(fact).is_empty()
    }

    /// The attribute of a span itself; of a key that occurs twice the last counts.
    pub fn value(&self, set: &TraceSet, span: SpanRow, fact: Fact) -> Option<AttrValue> {
        self.of(fact).iter().find_map(|(_, key)| set.span_attrs(span).filter(|(k, _)| k == key).last().map(|(_, value)| value))
    }

    /// A number, also from text; `None` for other values.
    pub fn number(&self, set: &TraceSet, strings: &StringTable, span: SpanRow, fact: Fact) -> Option<i64> {
        number(strings, self.value(set, span, fact)?)
    }

    /// A text that is not empty.
    pub fn text<'s>(&self, set: &TraceSet, strings: &'s StringTable, span: SpanRow, fact: Fact) -> Option<&'s str> {
        match self.value(set, span, fact)? {
            AttrValue::Text(id) | AttrValue::Json(id) => Some(strings.get(id)).filter(|t| !t.is_empty()),
            _ => None,
        }
    }

    /// A text of the span's last event that has it.
    pub fn text_of_events<'s>(&self, set: &TraceSet, strings: &'s StringTable, span: SpanRow, fact: Fact) -> Option<&'s str> {
        let first = set.spans.event_start[span.index()] as usize;
        let last = (first + set.spans.event_len[span.index()] as usize).min(set.events.name.len());
        (first..last).rev().find_map(|row| {
            let is_fact = |key: StringId| self.of(fact).iter().any(|(_, k)| *k == key);
            let told = set.attr_rows(set.events.attr_start[row], set.events.attr_len[row]).filter(|(key, _)| is_fact(*key)).last();
            match told?.1 {
                AttrValue::Text(id) => Some(strings.get(id)).filter(|t| !t.is_empty()),
                _ => None,
            }
        })
    }

    /// A text of the span or of its resource.
    pub fn text_of_host<'s>(&self, set: &TraceSet, strings: &'s StringTable, span: SpanRow, fact: Fact) -> Option<&'s str> {
        self.of(fact).iter().find_map(|(_, key)| match set.attr(span, *key)? {
            AttrValue::Text(id) => Some(strings.get(id)).filter(|t| !t.is_empty()),
            _ => None,
        })
    }
}

/// A number, also from text.
pub fn number(strings: &StringTable, value: AttrValue) -> Option<i64> {
    match value {
        AttrValue::Int(n) => Some(n),
        AttrValue::Double(f) if f.is_finite() => Some(f as i64),
        AttrValue::Text(id) => strings.get(id).trim().parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::drawn::{Drawn, S, add};

    #[test]
    fn every_fact_has_its_keys_and_the_first_of_several_counts() {
        assert_eq!(KEYS.len(), Fact::Deliveries as usize + 1);
        let mut drawn = Drawn { strings: StringTable::default(), set: TraceSet::default() };
        let attrs = [("http.response_content_length", "7"), ("http.response.body.size", "12"), ("db.row_count", "many")];
        add(&mut drawn, "t", &[S { name: "a", attrs: &attrs, ..S::default() }]);
        drawn.set.link();
        let facts = Facts::new(&drawn.strings);
        let get = |fact| facts.number(&drawn.set, &drawn.strings, SpanRow(0), fact);
        assert_eq!(get(Fact::ResponseBytes), Some(12));
        assert_eq!(get(Fact::Rows), None);
        assert!(facts.has(Fact::Rows) && !facts.has(Fact::Enqueued));
    }
}
