//! The members of an X-Ray segment and the attributes they become. Names are those of the semantic conventions where there
//! is one, else the member's own.

use super::Import;
use super::json::{Pairs, Scalar, Text};
use super::json_mend::record;
use super::span_draft::{Attrs, Draft, DraftEvent, DraftLink};
use crate::base::time::parse_decimal;
use crate::model::diagnostics::{At, DiagnosticCode, Level as Severity};
use crate::model::trace::{SPAN_ERROR, SpanKind};
use serde::Deserialize;

const BAD_MEMBER: DiagnosticCode = DiagnosticCode {
    code: "xray/unreadable-member",
    level: Severity::DataLoss,
    message: "Members of segments that are not of the documented form were skipped.",
};

/// Which of the two kinds of record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// A service's handling of a request.
    Segment,
    /// A part of it.
    Sub,
}

/// What was read of a segment.
#[derive(Default)]
pub struct Fields {
    /// Trace id as 32 hex digits; empty in subsegments.
    pub trace: String,
    /// Name.
    pub name: String,
    /// The document is a subsegment sent on its own.
    pub independent: bool,
    /// Attributes that hold for the whole segment.
    pub shared: Attrs<'static>,
    /// How many records lie around it.
    pub depth: usize,
    parent: String,
    namespace: String,
    start: Option<i64>,
    end: Option<i64>,
    in_progress: bool,
    failed: bool,
    request: Option<(String, String)>,
    attrs: Attrs<'static>,
    events: Vec<DraftEvent<'static>>,
    links: Vec<DraftLink<'static>>,
}

#[derive(Deserialize)]
struct Http<'a> {
    #[serde(borrow, default)]
    request: Pairs<'a>,
    #[serde(borrow, default)]
    response: Pairs<'a>,
}

#[derive(Deserialize)]
struct Cause<'a> {
    #[serde(borrow, default)]
    exceptions: Option<Vec<Pairs<'a>>>,
}

/// `1-5759e988-bd862e3fe1be46a994272793` as 32 hex digits.
fn trace_id(text: &str) -> String {
    match text.strip_prefix("1-").and_then(|rest| rest.split_once('-')) {
        Some((time, random)) => format!("{time}{random}"),
        None => text.to_string(),
    }
}

fn owned(value: &Scalar<'_>) -> Scalar<'static> {
    match value {
        Scalar::Null => Scalar::Null,
        Scalar::Bool(b) => Scalar::Bool(*b),
        Scalar::Int(n) => Scalar::Int(*n),
        Scalar::Big(n) => Scalar::Big(*n),
        Scalar::Float(f) => Scalar::Float(*f),
        Scalar::Text(t) => Scalar::Text(t.to_string().into()),
        Scalar::Json(t) => Scalar::Json(t.to_string().into()),
    }
}

/// Members under their conventional names; others keep their own behind the prefix.
fn pairs(list: &Pairs<'_>, prefix: &str, names: &[(&str, &str)], out: &mut Attrs<'static>) {
    for (key, value) in list.0.iter().filter(|(_, value)| *value != Scalar::Null) {
        let name = names.iter().find(|(from, _)| from == key).map_or_else(|| format!("{prefix}{key}"), |(_, to)| (*to).to_string());
        out.push((name.into(), owned(value)));
    }
}

/// Takes one member of a segment.
pub fn field(key: &str, raw: &[u8], spare: &mut Vec<u8>, at: u64, out: &mut Fields, import: &mut Import<'_>) {
    let mut text = |import: &mut Import<'_>| record::<Text<'_>>(raw, spare, at, import).map(|t| t.0.into_owned()).unwrap_or_default();
    match key {
        "id" => {}
        "trace_id" => out.trace = trace_id(&text(import)),
        "name" => out.name = text(import),
        "parent_id" => out.parent = text(import),
        "namespace" => out.namespace = text(import),
        "type" => out.independent = text(import) == "subsegment",
        "in_progress" => out.in_progress = raw == b"true",
        "start_time" | "end_time" => {
            // Seconds as a decimal number, kept exact.
            let number = std::str::from_utf8(raw).unwrap_or("").trim_matches('"');
            let time = import.checked_time(parse_decimal(number, 9), &Scalar::Text(number.into()));
            if key == "start_time" {
                out.start = time;
            } else {
                out.end = time;
            }
        }
        "error" | "fault" | "throttle" => {
            let set = raw == b"true";
            out.failed |= set;
            if set {
                out.attrs.push((key.to_string().into(), Scalar::Bool(true)));
            }
        }
        _ => {
            if let Err(e) = object(key, raw, spare, at, out, import) {
                import.report(BAD_MEMBER, At::Byte(at), &format!("{key}: {e}"));
            }
        }
    }
}

fn object(key: &str, raw: &[u8], spare: &mut Vec<u8>, at: u64, out: &mut Fields, import: &mut Import<'_>) -> serde_json::Result<()> {
    match key {
        "http" => {
            let http: Http<'_> = record(raw, spare, at, import)?;
            let get = |name: &str| http.request.get(name).and_then(Scalar::text).unwrap_or("").to_string();
            out.request = Some((get("method"), get("url")));
            let request = [
                ("method", "http.request.method"),
                ("url", "url.full"),
                ("user_agent", "user_agent.original"),
                ("client_ip", "client.address"),
            ];
            pairs(&http.request, "http.request.", &request, &mut out.attrs);
            let response = [("status", "http.response.status_code"), ("content_length", "http.response.body.size")];
            pairs(&http.response, "http.response.", &response, &mut out.attrs);
        }
        "sql" => {
            let names = [
                ("sanitized_query", "db.query.text"),
                ("database_type", "db.system.name"),
                ("url", "db.connection_string"),
                ("connection_string", "db.connection_string"),
                ("user", "db.user"),
            ];
            pairs(&record(raw, spare, at, import)?, "sql.", &names, &mut out.attrs);
        }
        "aws" => {
            let list: Pairs<'_> = record(raw, spare, at, import)?;
            pairs(&list, "aws.", &[("operation", "rpc.method")], &mut out.attrs);
        }
        "annotations" => pairs(&record(raw, spare, at, import)?, "", &[], &mut out.attrs),
        "metadata" => pairs(&record(raw, spare, at, import)?, "metadata.", &[], &mut out.attrs),
        "service" => pairs(&record(raw, spare, at, import)?, "service.", &[], &mut out.shared),
        "origin" | "resource_arn" | "user" => {
            let value: Scalar<'_> = record(raw, spare, at, import)?;
            out.shared.push((format!("aws.xray.{key}").into(), owned(&value)));
        }
        "cause" if raw.first() == Some(&b'{') => {
            let cause: Cause<'_> = record(raw, spare, at, import)?;
            for exception in cause.exceptions.iter().flatten() {
                let mut attrs = Attrs::new();
                pairs(exception, "exception.", &[("stack", "exception.stacktrace")], &mut attrs);
                out.events.push(DraftEvent { time_ns: None, name: "exception".into(), attrs });
            }
        }
        "links" => {
            let links: Vec<Pairs<'_>> = record(raw, spare, at, import)?;
            for link in links {
                let get = |name: &str| link.get(name).and_then(Scalar::text).unwrap_or("").to_string();
                out.links.push(DraftLink { trace: trace_id(&get("trace_id")).into(), span: get("id").into(), attrs: Attrs::new() });
            }
        }
        _ => {
            let value: Scalar<'_> = record(raw, spare, at, import)?;
            if value != Scalar::Null {
                out.attrs.push((format!("aws.xray.{key}").into(), owned(&value)));
            }
        }
    }
    Ok(())
}

/// The path of an address: `/cart` of `https://shop.example/cart?x=1`.
fn path_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = rest.find('/').map_or("/", |at| &rest[at..]);
    path.split(['?', '#']).next().unwrap_or(path)
}

impl Fields {
    /// The span, but for its id, trace, service and the parent around it.
    pub fn into_draft(self, level: Level, import: &mut Import<'_>) -> Draft<'static> {
        let calls = matches!(self.namespace.as_str(), "remote" | "aws");
        let mut d = Draft {
            trace: self.trace.into(),
            parent: self.parent.into(),
            kind: match level {
                Level::Segment => SpanKind::Server,
                Level::Sub if calls => SpanKind::Client,
                Level::Sub => SpanKind::Internal,
            },
            start_ns: self.start.unwrap_or(0),
            end_ns: self.end,
            attrs: self.attrs,
            events: self.events,
            links: self.links,
            ..Draft::default()
        };
        d.name = self.name.clone().into();
        let named = level == Level::Segment || self.namespace == "remote";
        if let Some((method, url)) = self.request.filter(|(method, url)| named && !method.is_empty() && !url.is_empty()) {
            d.name = format!("{method} {}", path_of(&url)).into();
            let why = "the name of a segment only repeats its service";
            import.choose("Names of spans", "method and path of the request", &["name"], why);
        }
        if level == Level::Sub && calls {
            d.text("peer.service", self.name.clone());
        }
        if self.namespace == "aws" {
            d.text("rpc.system.name", "aws-api");
            d.text("rpc.service", self.name);
        }
        if self.failed {
            d.flags |= SPAN_ERROR;
        }
        if d.end_ns.is_none() || self.in_progress && self.end.is_none() {
            d.unfinished();
        }
        d
    }
}
