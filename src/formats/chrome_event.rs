//! An event of a Chrome trace, as far as it matters here.

use super::json::{Scalar, Text};
use super::json_quick::{Quick, members, pass};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;

/// A time in microseconds as nanoseconds; `None` when it is missing or no number.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Micros(pub Option<i64>);

impl<'de> Deserialize<'de> for Micros {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Micros, D::Error> {
        Scalar::deserialize(d).map(|s| Micros(s.thousandths()))
    }
}

/// The members of an event (the Trace Event Format document).
#[derive(Debug, Default, Deserialize, PartialEq)]
pub struct Event<'a> {
    /// Phase.
    #[serde(borrow, default)]
    pub ph: Option<Text<'a>>,
    /// Name.
    #[serde(borrow, default)]
    pub name: Option<Text<'a>>,
    /// Time.
    #[serde(default)]
    pub ts: Micros,
    /// Length.
    #[serde(default)]
    pub dur: Micros,
    /// Length on the thread's own clock.
    #[serde(default)]
    pub tdur: Micros,
    /// Process.
    #[serde(borrow, default)]
    pub pid: Scalar<'a>,
    /// Thread.
    #[serde(borrow, default)]
    pub tid: Scalar<'a>,
    /// Id of what asynchronous events belong to.
    #[serde(borrow, default)]
    pub id: Scalar<'a>,
    /// The same, global or of a process.
    #[serde(borrow, default)]
    pub id2: Scalar<'a>,
    /// Categories.
    #[serde(borrow, default)]
    pub cat: Option<Text<'a>>,
    /// What the id is unique in.
    #[serde(borrow, default)]
    pub scope: Option<Text<'a>>,
    /// Arguments.
    #[serde(borrow, default)]
    pub args: Option<Args<'a>>,
}

impl<'a> Event<'a> {
    /// An event of the usual form: see [`Quick`].
    pub fn quick(quick: &mut Quick<'a>) -> Option<Event<'a>> {
        let mut e = Event::default();
        members(quick, |q, key| {
            Some(match key {
                b"ph" => {
                    e.ph = Some(Text(q.text()?));
                    1
                }
                b"name" => {
                    e.name = Some(Text(q.text()?));
                    1 << 1
                }
                b"ts" => {
                    e.ts = Micros(Some(q.thousandths()?));
                    1 << 2
                }
                b"dur" => {
                    e.dur = Micros(Some(q.thousandths()?));
                    1 << 3
                }
                b"tdur" => {
                    e.tdur = Micros(Some(q.thousandths()?));
                    1 << 4
                }
                b"pid" => {
                    e.pid = q.scalar()?;
                    1 << 5
                }
                b"tid" => {
                    e.tid = q.scalar()?;
                    1 << 6
                }
                b"cat" => {
                    e.cat = Some(Text(q.text()?));
                    1 << 7
                }
                b"id" => {
                    e.id = q.scalar()?;
                    1 << 8
                }
                b"scope" => {
                    e.scope = Some(Text(q.text()?));
                    1 << 9
                }
                b"args" => {
                    e.args = Some(Args::quick(q)?);
                    1 << 10
                }
                b"id2" => return None,
                _ => pass(q)?,
            })
        })?;
        Some(e)
    }
}

/// Of the arguments a metadata event's `name` and a step's `step` matter here; texts such as `__stripped__` are legal.
#[derive(Debug, Default, PartialEq)]
pub struct Args<'a> {
    /// `name`.
    pub name: Option<Cow<'a, str>>,
    /// `step`.
    pub step: Option<Cow<'a, str>>,
}

impl<'a> Args<'a> {
    fn quick(quick: &mut Quick<'a>) -> Option<Args<'a>> {
        let mut out = Args::default();
        if quick.peek()? == b'"' {
            quick.skip()?;
            return Some(out);
        }
        quick.object(|q, key| {
            match key {
                b"name" => out.name = Some(q.text()?),
                b"step" => out.step = Some(q.text()?),
                _ => q.skip()?,
            }
            Some(())
        })?;
        Some(out)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Args<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Args<'a>, D::Error> {
        struct NameOnly;
        impl<'de> Visitor<'de> for NameOnly {
            type Value = Args<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("arguments")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Args<'de>, A::Error> {
                let mut out = Args::default();
                while let Some(key) = map.next_key::<Text<'de>>()? {
                    match &*key.0 {
                        "name" => out.name = Some(map.next_value::<Text<'de>>()?.0),
                        "step" => out.step = Some(map.next_value::<Text<'de>>()?.0),
                        _ => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(out)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Args<'de>, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Args::default())
            }
            fn visit_str<E>(self, _: &str) -> Result<Args<'de>, E> {
                Ok(Args::default())
            }
            fn visit_unit<E>(self) -> Result<Args<'de>, E> {
                Ok(Args::default())
            }
            fn visit_bool<E>(self, _: bool) -> Result<Args<'de>, E> {
                Ok(Args::default())
            }
            fn visit_f64<E>(self, _: f64) -> Result<Args<'de>, E> {
                Ok(Args::default())
            }
            fn visit_i64<E>(self, _: i64) -> Result<Args<'de>, E> {
                Ok(Args::default())
            }
            fn visit_u64<E>(self, _: u64) -> Result<Args<'de>, E> {
                Ok(Args::default())
            }
        }
        d.deserialize_any(NameOnly)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quick_way_reads_what_serde_reads() {
        let events = [
            (
                r#"{"ph":"X","cat":"a,b","name":"Task","pid":1,"tid":"main","ts":12.25,"dur":3,"args":{"name":"n\u00e9","x":[1,{"y":null}]}}"#,
                true,
            ),
            (
                r#"{ "name" : "b", "ph":"b", "id":"0x1f", "ts":1700000000000000.5, "pid":-7, "tid":0, "scope":"s", "args":{"step":"one"} }"#,
                true,
            ),
            (r#"{"ph":"E","ts":5,"tid":3,"args":"__stripped__","bind_id":"0x1"}"#, true),
            (r#"{"ph":"i","ts":5,"s":"g","args":{}}"#, true),
            ("{}", true),
            (r#"{"ph":"n","ts":5,"id2":{"local":"0x1"}}"#, false),
            (r#"{"ph":"X","ts":"5","name":7}"#, false),
            (r#"{"ph":"X","ts":1e3,"name":null,"args":[1]}"#, false),
        ];
        for (text, usual) in events {
            let bytes = [text.as_bytes(), b" ,       "].concat();
            let mut quick = Quick::new(&bytes, 0);
            let read = Event::quick(&mut quick);
            assert_eq!(read.is_some(), usual, "{text}");
            if let Some(event) = read {
                assert_eq!((event, quick.record()), (serde_json::from_str(text).unwrap(), Some(text.as_bytes())));
            }
        }
        let twice = br#"{"ph":"X","ts":5,"ts":6}         "#;
        assert_eq!(Event::quick(&mut Quick::new(twice, 0)), None);
    }
}
