//! Calls of a trace: who calls what with which values, in which execution of which handler.

use crate::analysis::normalize::{Normal, key_value, name as normal_name, sql, sql_reads, url};
use crate::base::hash::hash_bytes;
use crate::base::ids::{SpanRow, StringId, TraceRow};
use crate::base::intern::StringTable;
use crate::model::Session;
use crate::model::trace::{AttrValue, SPAN_ASYNC, SPAN_DUPLICATE_ID, SpanKind, TraceSet};

/// What is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Category {
    /// A database.
    Db,
    /// A key-value cache.
    Cache,
    /// HTTP.
    Http,
    /// A remote procedure.
    Rpc,
    /// A broker.
    Messaging,
    /// Another service, of which only the span name is known.
    Service,
}

/// One call.
#[derive(Clone, Debug)]
pub struct Call {
    /// The caller's span; the callee's where the caller recorded none.
    pub span: SpanRow,
    /// The execution that made it: the caller's entry span.
    pub scope: SpanRow,
    /// What is called.
    pub category: Category,
    /// Caller, category, callee and normalised operation: equal for repetitions.
    pub signature: String,
    /// Callee and normalised operation, without the caller.
    pub target: String,
    /// Operation for people.
    pub shown: String,
    /// Hash of the values; `None` where they are not in the data.
    pub values: Option<u64>,
    /// It changes nothing.
    pub read_only: bool,
    /// LIMIT or OFFSET occurs.
    pub paging: bool,
}

struct Keys {
    db_text: Vec<StringId>,
    db_system: Vec<StringId>,
    db_other: Vec<StringId>,
    http_method: Vec<StringId>,
    url: Vec<StringId>,
    rpc: Vec<StringId>,
    rpc_method: Vec<StringId>,
    messaging: Vec<StringId>,
    peer: Vec<StringId>,
}

impl Keys {
    fn new(strings: &StringTable) -> Keys {
        let find = |names: &[&str]| names.iter().filter_map(|n| strings.find(n)).collect();
        Keys {
            db_text: find(&["db.query.text", "db.statement", "sql.query", "cassandra.query"]),
            db_system: find(&["db.system.name", "db.system", "db.type"]),
            db_other: find(&["db.query.summary", "db.operation.name", "db.operation"]),
            http_method: find(&["http.request.method", "http.method"]),
            url: find(&["url.full", "http.url", "url.path", "http.target", "http.path", "url.template", "http.route"]),
            rpc: find(&["rpc.service", "rpc.system.name", "rpc.system"]),
            rpc_method: find(&["rpc.method"]),
            messaging: find(&["messaging.destination.template", "messaging.destination.name", "messaging.destination", "kafka.topic"]),
            peer: find(&["peer.service", "service.peer.name", "server.address", "net.peer.name", "db.namespace", "db.name"]),
        }
    }
}

fn attr<'s>(set: &TraceSet, strings: &'s StringTable, span: SpanRow, keys: &[StringId]) -> Option<&'s str> {
    keys.iter().find_map(|key| {
        set.span_attrs(span).filter(|(k, _)| k == key).last().and_then(|(_, v)| match v {
            AttrValue::Text(id) if !strings.get(id).is_empty() => Some(strings.get(id)),
            _ => None,
        })
    })
}

/// The caller's entry span: the nearest span upwards that serves a request, or whose service differs from its parent's, or a root.
pub fn entry_of(set: &TraceSet, span: SpanRow) -> SpanRow {
    let mut at = span;
    loop {
        let Some(parent) = set.spans.parent[at.index()].get() else { return at };
        if matches!(set.kind(at), SpanKind::Server | SpanKind::Consumer) || set.service(parent) != set.service(at) {
            return at;
        }
        at = parent;
    }
}

/// Spans that say nothing about the work: health checks, transactions, connections.
fn is_noise(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let words = [
        "commit",
        "rollback",
        "begin",
        "savepoint",
        "ping",
        "select 1",
        "pg-pool.connect",
        "connect",
        "tcp.connect",
        "tls.connect",
        "dns.lookup",
    ];
    words.contains(&lower.as_str()) || ["/health", "/ready", "/live", "/metrics", "/debug/pprof"].iter().any(|p| lower.contains(p))
}

/// All calls of a trace, in order of start.
pub fn calls(session: &Session, trace: TraceRow, out: &mut Vec<Call>) {
    let (set, strings) = (&session.traces, &session.strings);
    let keys = Keys::new(strings);
    out.clear();
    // Entry spans are looked up once per span, from the root down: rows are not in tree order, so by need and remembered.
    let mut is_call = vec![false; set.traces.spans(trace).len()];
    let first = set.traces.first_span[trace.index()].index();
    let mut scopes: Vec<SpanRow> = vec![SpanRow::NONE; is_call.len()];
    let mut todo: Vec<SpanRow> = set.traces.spans(trace).rev().filter(|s| set.spans.parent[s.index()].is_none()).collect();
    while let Some(span) = todo.pop() {
        todo.extend(set.children(span).iter().rev());
        let i = span.index() - first;
        let parent = set.spans.parent[span.index()].get();
        let outside = parent.is_none_or(|p| set.service(p) != set.service(span));
        scopes[i] = match parent {
            Some(p) if !outside && !matches!(set.kind(span), SpanKind::Server | SpanKind::Consumer) => scopes[p.index() - first],
            _ => span,
        };
        let Some(parent) = parent else { continue };
        if set.spans.has(span, SPAN_DUPLICATE_ID) || is_noise(set.name(strings, span)) {
            continue;
        }
        // One call has one span: what a call itself consists of (its server half, a driver below a client) is not another.
        if is_call[parent.index() - first] {
            continue;
        }
        let Some(call) = describe(set, strings, &keys, span, parent, outside, scopes[parent.index() - first]) else { continue };
        is_call[i] = true;
        out.push(call);
    }
    out.sort_by_key(|c| (set.spans.start_ns[c.span.index()], c.span));
}

fn describe(
    set: &TraceSet,
    strings: &StringTable,
    keys: &Keys,
    span: SpanRow,
    parent: SpanRow,
    outside: bool,
    scope: SpanRow,
) -> Option<Call> {
    let get = |keys: &[StringId]| attr(set, strings, span, keys);
    let kind = set.kind(span);
    let client = matches!(kind, SpanKind::Client | SpanKind::Producer);
    let statement = get(&keys.db_text);
    let system = get(&keys.db_system).map(str::to_ascii_lowercase).unwrap_or_default();
    let own_name = set.name(strings, span);
    let tells = statement.is_some() || !system.is_empty();
    if !client && !outside && !tells {
        return None;
    }
    let method = get(&keys.http_method);
    let mut read_only = false;
    let (category, normal, shown) = if let Some(text) = statement.filter(|t| !t.is_empty()) {
        let normal = if is_cache(&system) { key_value(text) } else { sql(text, system.contains("mysql") || system.contains("mariadb")) };
        read_only = if is_cache(&system) {
            ["GET", "HGET", "MGET", "HMGET", "EXISTS"].iter().any(|v| normal.text.starts_with(v))
        } else {
            sql_reads(&normal.text)
        };
        let category = if is_cache(&system) { Category::Cache } else { Category::Db };
        (category, normal.clone(), normal.text)
    } else if is_cache(&system) || (!system.is_empty() && method.is_none()) {
        let text = get(&keys.db_other).unwrap_or(own_name);
        let category = if is_cache(&system) { Category::Cache } else { Category::Db };
        (category, Normal { hidden: true, ..normal_name(text) }, text.to_string())
    } else if let Some(topic) = get(&keys.messaging).filter(|_| matches!(kind, SpanKind::Producer | SpanKind::Client)) {
        (Category::Messaging, Normal { hidden: true, ..normal_name(topic) }, format!("publish to {topic}"))
    } else if method.is_some() || get(&keys.url).is_some() {
        let verb = method.unwrap_or("").to_ascii_uppercase();
        read_only = matches!(verb.as_str(), "GET" | "HEAD");
        let mut normal = get(&keys.url).map(url).unwrap_or_else(|| Normal { hidden: true, ..normal_name(own_name) });
        normal.text = format!("{verb} {}", normal.text);
        let shown = normal.text.clone();
        (Category::Http, normal, shown)
    } else if get(&keys.rpc).is_some() || get(&keys.rpc_method).is_some() {
        let name = own_name.trim_start_matches('/');
        let method = name.rsplit('/').next().unwrap_or(name);
        read_only = ["Get", "List", "Find", "Lookup", "Read"].iter().any(|p| method.starts_with(p));
        (Category::Rpc, Normal { hidden: true, ..normal_name(name) }, name.to_string())
    } else {
        let normal = normal_name(own_name);
        read_only = ["get", "list", "find", "select"].iter().any(|p| own_name.to_ascii_lowercase().starts_with(p));
        (Category::Service, Normal { hidden: normal.values.is_empty(), ..normal }, own_name.to_string())
    };
    // The callee: the service that answers, else what the caller names.
    let callee = if outside {
        set.service_name(strings, span).to_string()
    } else {
        let answers = set.children(span).iter().find(|c| set.service(**c) != set.service(span));
        match answers {
            Some(c) => set.service_name(strings, *c).to_string(),
            None => get(&keys.peer).filter(|p| !p.starts_with(|c: char| c.is_ascii_digit())).map_or(system, str::to_string),
        }
    };
    // Parameters that instrumentation records beside the statement.
    let mut values = normal.values.clone();
    let mut visible = !normal.hidden && !normal.truncated && (!values.is_empty() || category != Category::Service);
    for (key, value) in set.span_attrs(span) {
        let key = strings.get(key);
        if ["param.", "db.query.parameter.", "db.operation.parameter."].iter().any(|p| key.starts_with(p)) {
            values.push_str(key);
            values.push_str(&value_text(strings, value));
            visible = true;
        }
    }
    let caller = set.service_name(strings, parent);
    let target = format!("{callee}\u{1f}{category:?}\u{1f}{}", normal.text);
    Some(Call {
        span,
        scope,
        category,
        signature: format!("{caller}\u{1f}{target}"),
        target,
        shown,
        values: visible.then(|| hash_bytes(values.as_bytes())),
        read_only: read_only && !set.spans.has(span, SPAN_ASYNC),
        paging: normal.text.contains(" LIMIT ") || normal.text.contains(" OFFSET "),
    })
}

fn is_cache(system: &str) -> bool {
    matches!(system, "redis" | "memcached" | "valkey")
}

fn value_text(strings: &StringTable, value: AttrValue) -> String {
    match value {
        AttrValue::Text(id) | AttrValue::Json(id) => strings.get(id).to_string(),
        AttrValue::Int(n) => n.to_string(),
        AttrValue::Double(f) => f.to_string(),
        AttrValue::Bool(b) => b.to_string(),
    }
}
