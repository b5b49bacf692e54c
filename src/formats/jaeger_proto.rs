//! Jaeger's protobuf model as JSON: what grpcurl, storage plugins and test fixtures write (jaeger-idl api_v2/model.proto).
//! Traces with a list of spans, the stream of `GetTrace`, or spans one after another.

use super::jaeger;
use super::jaeger_span::{Span, push};
use super::json::keys_under;
use super::json_mend::record;
use super::json_records::{Path, read_records};
use super::parts::Part;
use super::span_draft::Resources;
use super::span_sink::BAD_SPAN;
use super::{Format, Import, ImportError, LONG_PREFIX_BYTES, Prefix, Sniff};
use crate::model::diagnostics::At;
use std::io::BufRead;

/// The format.
pub struct JaegerProto;

/// Where the spans stand in the first object.
fn locate(head: &[u8]) -> Option<Path> {
    let paths: [Path; 4] = [&["spans"], &["result", "spans"], &["batch", "spans"], &[]];
    paths.into_iter().find(|path| {
        let keys = keys_under(head, path);
        let has = |names: [&str; 2]| keys.iter().any(|key| names.contains(&key.as_str()));
        has(["traceId", "trace_id"]) && has(["spanId", "span_id"]) && has(["operationName", "operation_name"])
    })
}

impl Format for JaegerProto {
    fn id(&self) -> &'static str {
        "jaeger-proto"
    }
    fn name(&self) -> &'static str {
        "Jaeger protobuf JSON"
    }
    fn extensions(&self) -> &'static [&'static str] {
        &["json", "jsonl"]
    }
    fn hint(&self) -> &'static str {
        "Jaeger's gRPC query service writes it, for example through `grpcurl HOST:16685 jaeger.api_v2.QueryService/GetTrace`."
    }
    fn sniff(&self, prefix: &Prefix<'_>) -> Sniff {
        if locate(prefix.bytes).is_some() { Sniff::Certain } else { Sniff::No }
    }
    fn read(&self, input: &mut dyn BufRead, import: &mut Import<'_>) -> Result<(), ImportError> {
        let mut head = Vec::new();
        while head.len() < LONG_PREFIX_BYTES {
            let bytes = input.fill_buf()?;
            if bytes.is_empty() {
                break;
            }
            head.extend_from_slice(bytes);
            let n = bytes.len();
            input.consume(n);
        }
        let bare = locate(&head).is_none_or(<[_]>::is_empty);
        let mut input = std::io::BufReader::new(std::io::Read::chain(&head[..], input));
        if !bare {
            import.has_spans = true;
            return jaeger::read(None, &mut input, &mut Part::default(), import);
        }
        let (mut known, mut spare) = (Resources::default(), Vec::new());
        read_records(&mut input, import, locate, &mut |raw, at, import| {
            import.ledger.records_in += 1;
            match record::<Span<'_>>(raw, &mut spare, at, import) {
                Ok(span) => {
                    push(&span, &mut known, import);
                }
                Err(e) => import.report(BAD_SPAN, At::Byte(at), &e.to_string()),
            }
            Ok(())
        })
    }
}
