//! Attributes of OTLP in protobuf (opentelemetry-proto common/v1) as the values that tables hold.

use super::json::Scalar;
use super::span_draft::Attrs;
use super::wire::{Fields, Value};
use std::borrow::Cow;

/// Arrays and lists inside of each other beyond this are given as nothing.
const MAX_DEPTH: u32 = 64;

/// The attributes of a message that has them in this field.
pub fn attributes(message: &[u8], field: u64) -> Attrs<'_> {
    Fields::new(message).filter(|(number, _)| *number == field).map(|(_, kv)| key_value(kv.bytes())).collect()
}

/// A `KeyValue`.
pub fn key_value(bytes: &[u8]) -> (Cow<'_, str>, Scalar<'_>) {
    let (mut key, mut value) = (Cow::Borrowed(""), Scalar::Null);
    for (number, field) in Fields::new(bytes) {
        match number {
            1 => key = String::from_utf8_lossy(field.bytes()),
            2 => value = any_value(field.bytes()),
            _ => {}
        }
    }
    (key, value)
}

/// An `AnyValue`: of several members the last counts, as protobuf says of a `oneof`.
fn any_value(bytes: &[u8]) -> Scalar<'_> {
    let mut out = Scalar::Null;
    for (number, value) in Fields::new(bytes) {
        out = match (number, value) {
            (1, Value::Bytes(text)) => Scalar::Text(String::from_utf8_lossy(text)),
            (2, Value::Int(n)) => Scalar::Bool(n != 0),
            (3, Value::Int(n)) => Scalar::Int(n as i64),
            (4, Value::Int(bits)) => Scalar::Float(f64::from_bits(bits)),
            (5 | 6, Value::Bytes(_)) => Scalar::Json(tree(number, value, 0).to_string().into()),
            (7, Value::Bytes(bytes)) => Scalar::Text(base64(bytes).into()),
            _ => out,
        };
    }
    out
}

/// A member of an `AnyValue` as JSON. The depth is bounded.
fn tree(number: u64, value: Value<'_>, depth: u32) -> serde_json::Value {
    use serde_json::Value as Json;
    let inner = |bytes: &[u8]| Fields::new(bytes).last().map_or(Json::Null, |(number, value)| tree(number, value, depth + 1));
    match (number, value) {
        (1, Value::Bytes(text)) => Json::from(String::from_utf8_lossy(text)),
        (2, Value::Int(n)) => Json::from(n != 0),
        (3, Value::Int(n)) => Json::from(n as i64),
        (4, Value::Int(bits)) => Json::from(f64::from_bits(bits)),
        (7, Value::Bytes(bytes)) => Json::from(base64(bytes)),
        _ if depth >= MAX_DEPTH => Json::Null,
        (5, Value::Bytes(list)) => Json::Array(Fields::new(list).filter(|(n, _)| *n == 1).map(|(_, v)| inner(v.bytes())).collect()),
        (6, Value::Bytes(list)) => {
            let entry = |bytes: &[u8]| {
                let (mut key, mut value) = (String::new(), Json::Null);
                for (number, field) in Fields::new(bytes) {
                    match number {
                        1 => key = String::from_utf8_lossy(field.bytes()).into_owned(),
                        2 => value = inner(field.bytes()),
                        _ => {}
                    }
                }
                (key, value)
            };
            Json::Object(Fields::new(list).filter(|(n, _)| *n == 1).map(|(_, kv)| entry(kv.bytes())).collect())
        }
        _ => Json::Null,
    }
}

/// Bytes as protobuf's JSON writes them.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = (0..3).fold(0_u32, |word, i| word << 8 | u32::from(chunk.get(i).copied().unwrap_or(0)));
        for i in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * i)) as usize & 63];
            out.push(if i <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_of_rfc_4648() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn values_of_every_kind() {
        // key "k", value: list of keys { a: array [1, "x"], b: double 0.5 }
        let inner = b"\x0a\x0d\x0a\x01a\x12\x08\x2a\x06\x0a\x02\x18\x01\x0a\x00";
        assert_eq!(inner.len(), 15);
        let message = [&b"\x0a\x01k\x12\x11\x32\x0f"[..], inner].concat();
        assert_eq!(key_value(&message), (Cow::Borrowed("k"), Scalar::Json("{\"a\":[1,null]}".into())));
        assert_eq!(key_value(b"\x0a\x01k\x12\x02\x10\x01").1, Scalar::Bool(true));
        assert_eq!(key_value(b"\x0a\x01k\x12\x03\x3a\x01\xff").1, Scalar::Text("/w==".into()));
        assert_eq!(key_value(b"\x0a\x01k\x12\x09\x21\0\0\0\0\0\0\xe0\x3f").1, Scalar::Float(0.5));
        assert_eq!(key_value(b"\x0a\x01k").1, Scalar::Null);
    }
}
