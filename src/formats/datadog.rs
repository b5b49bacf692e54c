//! Datadog spans: what tracers send to the agent (`[[span]]`, `{"traces":[[span]]}`; numbers of 64 bits, nanoseconds), and
//! the answers of the spans API (`{"data":[{"attributes":{…}}]}`, ISO times).

use super::json::{Pairs, Scalar, Text, keys_under};
use super::json_mend::record;
use super::json_records::{Path, read_records};
use super::span_draft::{Draft, Resources};
use super::span_sink::{BAD_SPAN, kind};
use super::{Format, Import, ImportError, Prefix, Sniff};
use crate::base::time::parse_iso;
use crate::model::diagnostics::At;
use crate::model::trace::{SPAN_ERROR, SPAN_NO_DURATION, SpanKind};
use serde::Deserialize;
use std::io::BufRead;

/// The format.
pub struct Datadog;

/// Where spans stand in the first object.
fn locate(head: &[u8]) -> Option<Path> {
    let paths: [Path; 3] = [&[], &["traces"], &["data", "attributes"]];
    paths.into_iter().find(|path| {
        let keys = keys_under(head, path);
        let has = |name: &str| keys.iter().any(|k| k == name);
        let sent = has("start") && has("duration") && ["meta", "metrics", "service", "resource"].into_iter().any(has);
        has("trace_id") && has("span_id") && (sent || has("start_timestamp"))
    })
}

impl Format for Datadog {
    fn id(&self) -> &'static str {
        "datadog"
    }
    fn name(&self) -> &'static str {
        "Datadog spans"
    }
    fn extensions(&self) -> &'static [&'static str] {
        &["json"]
    }
    fn hint(&self) -> &'static str {
        "Datadog's tracers send it to the agent (its test agent returns it at `/test/traces`), and the spans API answers with it."
    }
    fn sniff(&self, prefix: &Prefix<'_>) -> Sniff {
        if locate(prefix.bytes).is_some() { Sniff::Certain } else { Sniff::No }
    }
    fn read(&self, input: &mut dyn BufRead, import: &mut Import<'_>) -> Result<(), ImportError> {
        let (mut known, mut spare) = (Resources::default(), Vec::new());
        read_records(input, import, locate, &mut |raw, at, import| {
            import.ledger.records_in += 1;
            match record::<Span<'_>>(raw, &mut spare, at, import) {
                Ok(span) => store(&span, &mut known, import),
                Err(e) => import.report(BAD_SPAN, At::Byte(at), &e.to_string()),
            }
            Ok(())
        })
    }
}

#[derive(Deserialize)]
struct Span<'a> {
    #[serde(borrow, default)]
    trace_id: Scalar<'a>,
    #[serde(borrow, default)]
    span_id: Scalar<'a>,
    #[serde(borrow, default)]
    parent_id: Scalar<'a>,
    #[serde(borrow, default)]
    service: Option<Text<'a>>,
    #[serde(borrow, alias = "resource_name", default)]
    resource: Option<Text<'a>>,
    #[serde(borrow, alias = "operation_name", default)]
    name: Option<Text<'a>>,
    #[serde(borrow, rename = "type", default)]
    class: Option<Text<'a>>,
    #[serde(borrow, default)]
    start: Scalar<'a>,
    #[serde(borrow, default)]
    duration: Scalar<'a>,
    #[serde(borrow, default)]
    start_timestamp: Option<Text<'a>>,
    #[serde(borrow, default)]
    end_timestamp: Option<Text<'a>>,
    #[serde(borrow, default)]
    error: Scalar<'a>,
    #[serde(borrow, default)]
    status: Option<Text<'a>>,
    #[serde(borrow, default)]
    meta: Pairs<'a>,
    #[serde(borrow, default)]
    metrics: Pairs<'a>,
    /// The API's own tags.
    #[serde(borrow, default)]
    attributes: Pairs<'a>,
    #[serde(borrow, default)]
    custom: Pairs<'a>,
    #[serde(borrow, default)]
    host: Option<Text<'a>>,
    #[serde(borrow, default)]
    env: Option<Text<'a>>,
}

fn text<'t>(text: &'t Option<Text<'_>>) -> &'t str {
    text.as_ref().map_or("", |t| &t.0)
}

/// An id as hex: decimal numbers, as numbers or texts, of 64 bits; 0 is none. What is no number stays as it is.
fn id(value: &Scalar<'_>) -> String {
    let number = match value {
        Scalar::Int(n) => Some(*n as u64),
        Scalar::Big(n) => Some(*n),
        Scalar::Text(text) => match text.trim().parse::<u64>() {
            Ok(n) => Some(n),
            Err(_) => return text.to_string(),
        },
        _ => None,
    };
    number.filter(|n| *n != 0).map_or(String::new(), |n| format!("{n:016x}"))
}

fn store(span: &Span<'_>, known: &mut Resources, import: &mut Import<'_>) {
    let mut shared = super::span_draft::Attrs::new();
    for (key, value) in [("host.name", text(&span.host)), ("deployment.environment.name", text(&span.env))] {
        if !value.is_empty() {
            shared.push((key.into(), Scalar::Text(value.into())));
        }
    }
    let (resource, service) = known.get(text(&span.service), &shared, import);
    let mut d = Draft { id: id(&span.span_id).into(), parent: id(&span.parent_id).into(), resource, service, ..Draft::default() };
    // Traces of 128 bits have their upper half in a tag of one of their spans; only where every span of the file has it is
    // it part of the id, so it stays a tag.
    d.trace = id(&span.trace_id).into();
    let (resource_name, operation) = (text(&span.resource), text(&span.name));
    d.name = if resource_name.is_empty() { operation } else { resource_name }.into();
    if !resource_name.is_empty() && !operation.is_empty() && resource_name != operation {
        import.choose("Names of spans", "resource", &["name"], "the resource says what was called, the name only how, such as web.request");
    }
    d.text("operation.name", operation);
    d.text("span.type", text(&span.class));
    for list in [&span.meta, &span.metrics, &span.attributes, &span.custom] {
        d.attrs.extend(list.0.iter().filter(|(_, v)| *v != Scalar::Null).cloned());
    }
    if text(&span.class) == "sql" && d.get("db.query.text").or(d.get("db.statement")).is_none() {
        d.text("db.query.text", resource_name);
    }
    d.kind = match d.get("span.kind") {
        Some(said) => kind(said),
        None => match text(&span.class) {
            "web" => SpanKind::Server,
            "http" | "sql" | "db" | "cache" | "redis" | "memcached" | "mongodb" | "cassandra" | "elasticsearch" | "graphql" => {
                SpanKind::Client
            }
            _ => SpanKind::Unspecified,
        },
    };
    if d.get("span.kind").is_none() && d.kind != SpanKind::Unspecified {
        import.choose(
            "Kinds of spans",
            "by their type",
            &["unspecified"],
            "the spans do not say span.kind; web is a server, http and stores are clients",
        );
    }
    let mut moment = |number: &Scalar<'_>, iso: &Option<Text<'_>>| {
        let given = iso.as_ref().map_or_else(|| number.clone(), |t| Scalar::Text(t.0.clone()));
        import.checked_time(number.int().or_else(|| parse_iso(text(iso))), &given)
    };
    d.start_ns = moment(&span.start, &span.start_timestamp).unwrap_or(0);
    let end = if span.end_timestamp.is_some() { moment(&Scalar::Null, &span.end_timestamp) } else { None };
    let length = moment(&span.duration, &None);
    d.end_ns = length.map(|length| d.start_ns.saturating_add(length)).or(end);
    if d.end_ns.is_none() {
        d.flags |= SPAN_NO_DURATION;
    }
    if span.error.int().is_some_and(|e| e != 0) || span.error.truthy() || text(&span.status) == "error" {
        d.flags |= SPAN_ERROR;
    }
    d.store(import);
}
