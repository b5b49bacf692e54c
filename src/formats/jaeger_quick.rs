//! The records of Jaeger's JSON in their usual form: see [`Quick`].

use super::jaeger_span::{Log, Process, Reference, Span, Tag};
use super::json_quick::{Quick, members, pass};

impl<'a> Process<'a> {
    /// A process of the usual form.
    pub fn quick(quick: &mut Quick<'a>) -> Option<Process<'a>> {
        let mut out = Process::default();
        members(quick, |q, key| {
            Some(match key {
                b"serviceName" => {
                    out.service = q.text_or_null()?;
                    1
                }
                b"tags" => {
                    out.tags = q.list(Tag::quick)?;
                    2
                }
                b"service_name" | b"tag" => return None,
                _ => pass(q)?,
            })
        })?;
        Some(out)
    }
}

impl<'a> Tag<'a> {
    fn quick(quick: &mut Quick<'a>) -> Option<Tag<'a>> {
        let mut out = Tag::default();
        members(quick, |q, key| {
            Some(match key {
                b"key" => {
                    out.key = q.text_or_null()?;
                    1
                }
                b"type" => {
                    out.kind = q.text_or_null()?;
                    2
                }
                b"value" => {
                    out.value = q.scalar()?;
                    4
                }
                // The protobuf form has many spellings of these two.
                [b'v', ..] => return None,
                _ => pass(q)?,
            })
        })?;
        Some(out)
    }
}

impl<'a> Span<'a> {
    /// A span of the usual form, which is that of the UI and the query service.
    pub fn quick(quick: &mut Quick<'a>) -> Option<Span<'a>> {
        let mut s = Span::default();
        members(quick, |q, key| {
            Some(match key {
                b"traceID" => {
                    s.trace_id = q.text_or_null()?;
                    1
                }
                b"spanID" => {
                    s.span_id = q.text_or_null()?;
                    1 << 1
                }
                b"parentSpanID" => {
                    s.parent = q.text_or_null()?;
                    1 << 2
                }
                b"operationName" => {
                    s.name = q.text_or_null()?;
                    1 << 3
                }
                b"references" => {
                    s.references = q.list(Reference::quick)?;
                    1 << 4
                }
                b"startTime" => {
                    s.start = q.scalar()?;
                    1 << 5
                }
                b"duration" => {
                    s.duration = q.scalar()?;
                    1 << 6
                }
                b"tags" => {
                    s.tags = q.list(Tag::quick)?;
                    1 << 7
                }
                b"logs" => {
                    s.logs = q.list(Log::quick)?;
                    1 << 8
                }
                b"processID" => {
                    s.process_id = q.text_or_null()?;
                    1 << 9
                }
                b"process" => {
                    s.process = Some(Process::quick(q)?);
                    1 << 10
                }
                b"warnings" => {
                    s.warnings = q.scalar()?;
                    1 << 11
                }
                b"flags" | b"startTimeMillis" => pass(q)?,
                // Flattened tags and the spellings of the protobuf form.
                _ => return None,
            })
        })?;
        Some(s)
    }
}

impl<'a> Reference<'a> {
    fn quick(quick: &mut Quick<'a>) -> Option<Reference<'a>> {
        let mut out = Reference::default();
        members(quick, |q, key| {
            Some(match key {
                b"refType" => {
                    out.kind = q.text_or_null()?;
                    1
                }
                b"traceID" => {
                    out.trace_id = q.text_or_null()?;
                    2
                }
                b"spanID" => {
                    out.span_id = q.text_or_null()?;
                    4
                }
                _ => return None,
            })
        })?;
        Some(out)
    }
}

impl<'a> Log<'a> {
    fn quick(quick: &mut Quick<'a>) -> Option<Log<'a>> {
        let mut out = Log::default();
        members(quick, |q, key| {
            Some(match key {
                b"timestamp" => {
                    out.timestamp = q.scalar()?;
                    1
                }
                b"fields" => {
                    out.fields = q.list(Tag::quick)?;
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
        let tag = r#"{"key":"a","type":"int64","value":7}"#;
        let spans = [
            (
                format!(
                    r#"{{"traceID":"5b","spanID":"1","operationName":"GET","references":[{{"refType":"CHILD_OF","traceID":"5b","spanID":"2"}}],"flags":1,
                "startTime":1795000000000000,"duration":46.5,"tags":[{tag},{{"key":"s","value":"x\\u00e9"}}],"logs":[{{"timestamp":1795000000000001,"fields":[{tag}]}}],
                "processID":"p1","warnings":null}}"#
                ),
                true,
            ),
            (
                format!(
                    r#"{{"spanID":null,"references":null,"logs":[],"startTimeMillis":5,"process":{{"serviceName":"s","tags":[{tag}],"x":[1]}}}}"#
                ),
                true,
            ),
            ("{}".to_string(), true),
            (r#"{"warnings":["late"]}"#.to_string(), false),
            (r#"{"tag":{"a@b":1}}"#.to_string(), false),
            (r#"{"tags":[{"key":"a","vType":"INT64","vInt64":"7"}]}"#.to_string(), false),
            (r#"{"spanId":"1"}"#.to_string(), false),
            (r#"{"spanID":"1","spanID":"2"}"#.to_string(), false),
        ];
        for (text, usual) in spans {
            let bytes = [text.as_bytes(), b" ,       "].concat();
            let mut quick = Quick::new(&bytes, 0);
            let read = Span::quick(&mut quick);
            assert_eq!(read.is_some(), usual, "{text}");
            if let Some(span) = read {
                assert_eq!((span, quick.record()), (serde_json::from_str(&text).unwrap(), Some(text.as_bytes())));
            }
        }
    }
}
