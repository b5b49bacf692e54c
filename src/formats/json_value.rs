//! Values of JSON records as readers take them: texts borrowed, numbers exact, anything else as text.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;

/// A text, borrowed where it has no escapes; numbers and truth values are taken as their text, null as empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Text<'a>(pub Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> std::result::Result<Text<'a>, D::Error> {
        Ok(match Scalar::deserialize(d)? {
            Scalar::Text(text) | Scalar::Json(text) => Text(text),
            Scalar::Int(n) => Text(n.to_string().into()),
            Scalar::Big(n) => Text(n.to_string().into()),
            Scalar::Float(n) => Text(n.to_string().into()),
            Scalar::Bool(b) => Text(b.to_string().into()),
            Scalar::Null => Text::default(),
        })
    }
}

/// Any JSON value; what is not a scalar is kept as JSON text.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Scalar<'a> {
    /// null.
    #[default]
    Null,
    /// true, false.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// An integer beyond `i64`.
    Big(u64),
    /// Any other number.
    Float(f64),
    /// A text.
    Text(Cow<'a, str>),
    /// An array or object as JSON.
    Json(Cow<'a, str>),
}

impl Scalar<'_> {
    /// As an integer: numbers and texts of numbers, rounded; saturating beyond `i64`.
    pub fn int(&self) -> Option<i64> {
        match self {
            Scalar::Int(n) => Some(*n),
            Scalar::Big(_) => Some(i64::MAX),
            Scalar::Float(f) if f.is_finite() => Some(f.round() as i64),
            Scalar::Text(text) => {
                let text = text.trim();
                text.parse::<i64>()
                    .ok()
                    .or_else(|| text.parse::<u64>().ok().map(|_| i64::MAX))
                    .or_else(|| text.parse::<f64>().ok().filter(|f| f.is_finite()).map(|f| f.round() as i64))
            }
            _ => None,
        }
    }

    /// As a number of thousandths, rounded: microseconds as nanoseconds without loss for integers.
    pub fn thousandths(&self) -> Option<i64> {
        let scaled = |f: f64| f.is_finite().then(|| (f * 1000.0).round() as i64);
        match self {
            Scalar::Int(n) => Some(n.saturating_mul(1000)),
            Scalar::Big(_) => Some(i64::MAX),
            Scalar::Float(f) => scaled(*f),
            Scalar::Text(text) => {
                let text = text.trim();
                text.parse::<i64>().ok().map(|n| n.saturating_mul(1000)).or_else(|| text.parse::<f64>().ok().and_then(scaled))
            }
            _ => None,
        }
    }

    /// As a text, if it is one.
    pub fn text(&self) -> Option<&str> {
        if let Scalar::Text(text) = self { Some(text) } else { None }
    }

    /// true, "true" and 1.
    pub fn truthy(&self) -> bool {
        matches!(self, Scalar::Bool(true) | Scalar::Int(1)) || self.text().is_some_and(|t| t.eq_ignore_ascii_case("true"))
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> std::result::Result<Scalar<'de>, E> {
        Ok(Scalar::Null)
    }
    fn visit_bool<E>(self, b: bool) -> std::result::Result<Scalar<'de>, E> {
        Ok(Scalar::Bool(b))
    }
    fn visit_i64<E>(self, n: i64) -> std::result::Result<Scalar<'de>, E> {
        Ok(Scalar::Int(n))
    }
    fn visit_u64<E>(self, n: u64) -> std::result::Result<Scalar<'de>, E> {
        Ok(i64::try_from(n).map_or(Scalar::Big(n), Scalar::Int))
    }
    fn visit_f64<E>(self, n: f64) -> std::result::Result<Scalar<'de>, E> {
        Ok(Scalar::Float(n))
    }
    fn visit_borrowed_str<E>(self, text: &'de str) -> std::result::Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Borrowed(text)))
    }
    fn visit_str<E>(self, text: &str) -> std::result::Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Owned(text.to_string())))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> std::result::Result<Scalar<'de>, A::Error> {
        let value = serde_json::Value::deserialize(serde::de::value::SeqAccessDeserializer::new(seq))?;
        Ok(Scalar::Json(Cow::Owned(value.to_string())))
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> std::result::Result<Scalar<'de>, A::Error> {
        let value = serde_json::Value::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
        Ok(Scalar::Json(Cow::Owned(value.to_string())))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Scalar<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> std::result::Result<Scalar<'a>, D::Error> {
        d.deserialize_any(ScalarVisitor)
    }
}

/// The members of an object in file order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pairs<'a>(pub Vec<(Cow<'a, str>, Scalar<'a>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> std::result::Result<Pairs<'a>, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Vec<(Cow<'de, str>, Scalar<'de>)>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_unit<E>(self) -> std::result::Result<Self::Value, E> {
                Ok(Vec::new())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Self::Value, A::Error> {
                // An array in the place of an object: what is in it is no member of this name.
                while seq.next_element::<serde::de::IgnoredAny>()?.is_some() {}
                Ok(Vec::new())
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
                let mut out = Vec::new();
                while let Some((key, value)) = map.next_entry::<Text<'de>, Scalar<'de>>()? {
                    out.push((key.0, value));
                }
                Ok(out)
            }
        }
        d.deserialize_any(Members).map(Pairs)
    }
}

impl<'a> Pairs<'a> {
    /// The last member of a name.
    pub fn get(&self, name: &str) -> Option<&Scalar<'a>> {
        self.0.iter().rfind(|(key, _)| key == name).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_digits() {
        let n: Scalar<'_> = serde_json::from_str("1675078742856123").unwrap();
        assert_eq!(n.thousandths(), Some(1_675_078_742_856_123_000));
        let n: Scalar<'_> = serde_json::from_str("\"1544712660000000000\"").unwrap();
        assert_eq!(n.int(), Some(1_544_712_660_000_000_000));
        let n: Scalar<'_> = serde_json::from_str("0.5").unwrap();
        assert_eq!(n.thousandths(), Some(500));
    }
}
