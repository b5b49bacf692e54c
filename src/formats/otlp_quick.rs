//! The records of OTLP JSON in their usual form: see [`Quick`].

use super::json::Scalar;
use super::json_quick::{Quick, members, pass};
use super::otlp_span::{Attributes, Event, JsonStatus, Link, Resource, Scope, Span};
use std::borrow::Cow;

impl<'a> Attributes<'a> {
    fn quick(quick: &mut Quick<'a>) -> Option<Attributes<'a>> {
        quick.list(key_value).map(|list| Attributes(list.unwrap_or_default()))
    }
}

fn key_value<'a>(quick: &mut Quick<'a>) -> Option<(Cow<'a, str>, Scalar<'a>)> {
    let (mut key, mut value) = (Cow::Borrowed(""), Scalar::Null);
    members(quick, |q, name| match name {
        b"key" => {
            key = q.text()?;
            Some(1)
        }
        b"value" => {
            value = any_value(q)?;
            Some(2)
        }
        _ => pass(q),
    })?;
    Some((key, value))
}

/// One member of a scalar type; several, lists and bytes are for the general way.
fn any_value<'a>(quick: &mut Quick<'a>) -> Option<Scalar<'a>> {
    let (mut value, mut first) = (Scalar::Null, true);
    quick.object(|q, key| {
        value = match key {
            b"stringValue" | b"string_value" => Scalar::Text(q.text()?),
            b"intValue" | b"int_value" => {
                let n = q.scalar()?;
                n.int().map_or(n, Scalar::Int)
            }
            b"boolValue" | b"bool_value" => match q.scalar()? {
                Scalar::Bool(b) => Scalar::Bool(b),
                _ => return None,
            },
            b"doubleValue" | b"double_value" => match q.scalar()? {
                number @ (Scalar::Int(_) | Scalar::Float(_)) => number,
                _ => return None,
            },
            _ => return None,
        };
        std::mem::take(&mut first).then_some(())
    })?;
    // A number that is null is none.
    if !first && value == Scalar::Null { None } else { Some(value) }
}

impl<'a> Resource<'a> {
    /// A resource of the usual form.
    pub fn quick(quick: &mut Quick<'a>) -> Option<Resource<'a>> {
        let mut out = Resource::default();
        members(quick, |q, key| match key {
            b"attributes" => {
                out.attributes = Attributes::quick(q)?;
                Some(1)
            }
            _ => pass(q),
        })?;
        Some(out)
    }
}

impl<'a> Scope<'a> {
    /// A scope of the usual form.
    pub fn quick(quick: &mut Quick<'a>) -> Option<Scope<'a>> {
        let mut out = Scope::default();
        members(quick, |q, key| match key {
            b"name" => {
                out.name = q.text_or_null()?;
                Some(1)
            }
            _ => pass(q),
        })?;
        Some(out)
    }
}

impl<'a> Span<'a> {
    /// A span of the usual form.
    pub fn quick(quick: &mut Quick<'a>) -> Option<Span<'a>> {
        let mut s = Span::default();
        members(quick, |q, key| {
            Some(match key {
                b"traceId" | b"trace_id" => {
                    s.trace_id = q.text_or_null()?;
                    1
                }
                b"spanId" | b"span_id" => {
                    s.span_id = q.text_or_null()?;
                    1 << 1
                }
                b"parentSpanId" | b"parent_span_id" => {
                    s.parent = q.text_or_null()?;
                    1 << 2
                }
                b"name" => {
                    s.name = q.text_or_null()?;
                    1 << 3
                }
                b"kind" => {
                    s.kind = q.scalar()?;
                    1 << 4
                }
                b"startTimeUnixNano" | b"start_time_unix_nano" => {
                    s.start = q.scalar()?;
                    1 << 5
                }
                b"endTimeUnixNano" | b"end_time_unix_nano" => {
                    s.end = q.scalar()?;
                    1 << 6
                }
                b"attributes" => {
                    s.attributes = Attributes::quick(q)?;
                    1 << 7
                }
                b"events" => {
                    s.events = q.list(Event::quick)?;
                    1 << 8
                }
                b"links" => {
                    s.links = q.list(Link::quick)?;
                    1 << 9
                }
                b"status" => {
                    s.status = Some(JsonStatus::quick(q)?);
                    1 << 10
                }
                b"flags" => {
                    s.flags = q.scalar()?;
                    1 << 11
                }
                _ => pass(q)?,
            })
        })?;
        Some(s)
    }
}

impl<'a> Event<'a> {
    fn quick(quick: &mut Quick<'a>) -> Option<Event<'a>> {
        let mut out = Event::default();
        members(quick, |q, key| {
            Some(match key {
                b"timeUnixNano" | b"time_unix_nano" => {
                    out.time = q.scalar()?;
                    1
                }
                b"name" => {
                    out.name = q.text_or_null()?;
                    2
                }
                b"attributes" => {
                    out.attributes = Attributes::quick(q)?;
                    4
                }
                _ => pass(q)?,
            })
        })?;
        Some(out)
    }
}

impl<'a> Link<'a> {
    fn quick(quick: &mut Quick<'a>) -> Option<Link<'a>> {
        let mut out = Link::default();
        members(quick, |q, key| {
            Some(match key {
                b"traceId" | b"trace_id" => {
                    out.trace_id = q.text_or_null()?;
                    1
                }
                b"spanId" | b"span_id" => {
                    out.span_id = q.text_or_null()?;
                    2
                }
                b"attributes" => {
                    out.attributes = Attributes::quick(q)?;
                    4
                }
                _ => pass(q)?,
            })
        })?;
        Some(out)
    }
}

impl<'a> JsonStatus<'a> {
    fn quick(quick: &mut Quick<'a>) -> Option<JsonStatus<'a>> {
        let mut out = JsonStatus::default();
        members(quick, |q, key| {
            Some(match key {
                b"code" => {
                    out.code = q.scalar()?;
                    1
                }
                b"message" => {
                    out.message = q.text_or_null()?;
                    2
                }
                _ => pass(q)?,
            })
        })?;
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quick_way_reads_what_serde_reads() {
        let spans = [
            (
                r#"{"traceId":"5b","spanId":"1","parentSpanId":"","name":"GET","kind":2,"startTimeUnixNano":"17","endTimeUnixNano":19,"attributes":[
                {"key":"a","value":{"stringValue":"x\ny"}},{"key":"b","value":{"intValue":"-7"}},{"key":"c","value":{"boolValue":false}},
                {"key":"d","value":{"doubleValue":0.25}},{"key":"e","value":{}},{"key":"f"}],"events":[{"timeUnixNano":"18","name":"e","attributes":[]}],
                "links":[{"traceId":"6b","spanId":"2","attributes":null}],"status":{"code":2,"message":"no"},"flags":257,"traceState":"x=y"}"#,
                true,
            ),
            (r#"{"trace_id":null,"kind":"SPAN_KIND_CLIENT","attributes":null,"events":null,"droppedEventsCount":3}"#, true),
            ("{}", true),
            (r#"{"attributes":[{"key":"a","value":{"intValue":"seven"}}]}"#, true),
            (r#"{"attributes":[{"key":"a","value":{"intValue":null}}]}"#, false),
            (r#"{"attributes":[{"key":"a","value":{"arrayValue":{"values":[]}}}]}"#, false),
            (r#"{"attributes":[{"key":"a","value":{"boolValue":"true"}}]}"#, false),
            (r#"{"attributes":[{"key":"a","value":{"stringValue":"x","intValue":1}}]}"#, false),
            (r#"{"status":null}"#, false),
        ];
        for (text, usual) in spans {
            let bytes = [text.as_bytes(), b" ,       "].concat();
            let mut quick = Quick::new(&bytes, 0);
            let read = Span::quick(&mut quick);
            assert_eq!(read.is_some(), usual, "{text}");
            if let Some(span) = read {
                assert_eq!((span, quick.record()), (serde_json::from_str(text).unwrap(), Some(text.as_bytes())));
            }
        }
        let twice = br#"{"spanId":"1","span_id":"1"}         "#;
        assert_eq!(Span::quick(&mut Quick::new(twice, 0)), None);
        let resource = br#"{"attributes":[{"key":"service.name","value":{"stringValue":"s"}}],"x":[1]}         "#;
        let end = resource.len() - 9;
        assert_eq!(Resource::quick(&mut Quick::new(resource, 0)), serde_json::from_slice(&resource[..end]).ok());
        let scope = br#"{"name":"s","version":"1"}         "#;
        assert_eq!(Scope::quick(&mut Quick::new(scope, 0)), serde_json::from_slice(&scope[..scope.len() - 9]).ok());
    }
}
