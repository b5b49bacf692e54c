//! Jaeger's documents in Elasticsearch or OpenSearch: the answer of a search (`hits.hits[]._source`), a dump with one
//! document per line (elasticdump), or an array of documents (jaeger internal/storage/v1/elasticsearch/dbmodel).

use super::jaeger_span::{Span, push};
use super::json::outline;
use super::json_mend::record;
use super::json_outline::has_under;
use super::json_records::{Path, read_records};
use super::span_draft::Resources;
use super::span_sink::BAD_SPAN;
use super::{Format, Import, ImportError, Prefix, Sniff};
use crate::model::diagnostics::At;
use std::io::BufRead;

/// The format.
pub struct JaegerEs;

const DOCUMENT: &[&str] = &["traceID", "spanID"];

fn locate(head: &[u8]) -> Option<Path> {
    let paths: [Path; 3] = [&["hits", "hits", "_source"], &["_source"], &[]];
    paths.into_iter().find(|path| has_under(head, path, DOCUMENT))
}

impl Format for JaegerEs {
    fn id(&self) -> &'static str {
        "jaeger-es"
    }
    fn name(&self) -> &'static str {
        "Jaeger documents of Elasticsearch"
    }
    fn extensions(&self) -> &'static [&'static str] {
        &["json", "jsonl"]
    }
    fn hint(&self) -> &'static str {
        "A search in the `jaeger-span-*` index of Elasticsearch or OpenSearch, or a dump of it with elasticdump, gives it."
    }
    fn sniff(&self, prefix: &Prefix<'_>) -> Sniff {
        match locate(prefix.bytes) {
            None => Sniff::No,
            Some([]) if outline(prefix.bytes).is_some_and(|o| o.has(&["process", "startTimeMillis", "operationName"])) => Sniff::Certain,
            Some([]) => Sniff::Likely,
            Some(_) => Sniff::Certain,
        }
    }
    fn read(&self, input: &mut dyn BufRead, import: &mut Import<'_>) -> Result<(), ImportError> {
        let (mut known, mut spare) = (Resources::default(), Vec::new());
        read_records(input, import, locate, &mut |raw, at, import| {
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
