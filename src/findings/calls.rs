//! Calls of a trace: who calls what with which values, in which execution of which handler.

use super::call_facts::{Ending, FACTS, Facts};
use crate::analysis::normalize::{Normal, key_value, name as normal_name, sql, sql_reads, sql_writes, url};
use crate::base::hash::hash_bytes;
use crate::base::ids::{SpanRow, StringId, TraceRow};
use crate::base::intern::StringTable;
use crate::base::work::step;
use crate::model::Session;
use crate::model::trace::{AttrValue, SPAN_ASYNC, SPAN_DUPLICATE_ID, SPAN_ERROR, SpanKind, TraceSet};

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

/// One call. Texts are ids of [`CallTable::texts`].
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// The caller's span; the callee's where the caller recorded none.
    pub span: SpanRow,
    /// The execution that made it: the caller's entry span.
    pub scope: SpanRow,
    /// What is called.
    pub category: Category,
    /// Caller, category, callee and normalised operation: equal for repetitions.
    pub signature: StringId,
    /// Callee and normalised operation, without the caller.
    pub target: StringId,
    /// Operation for people.
    pub shown: StringId,
    /// Hash of the values; `None` where they are not in the data.
    pub values: Option<u64>,
    /// It changes nothing.
    pub read_only: bool,
    /// It changes something: a statement that writes, a request that is no read, a cache entry that is set.
    pub writes: bool,
    /// LIMIT or OFFSET occurs, or a page number in a URL.
    pub paging: bool,
    /// It asks for several things at once already: a list of values, several rows.
    pub batched: bool,
    /// How it ended.
    pub ending: Ending,
    /// It was sent before.
    pub resent: bool,
    /// A cache answered.
    pub cached: bool,
    /// Calls that it stands for: more than 1 for spans that an agent compressed.
    pub count: u32,
}

/// All calls of a session, described once for all rules.
#[derive(Debug, Default)]
pub struct CallTable {
    /// Signatures, targets and names, each once.
    pub texts: StringTable,
    calls: Vec<Call>,
    /// First call of each trace, with one closing entry.
    start: Vec<u32>,
}

impl CallTable {
    /// Describes the calls of every trace.
    pub fn new(session: &Session) -> CallTable {
        let mut table = CallTable { start: vec![0], ..CallTable::default() };
        let set = &session.traces;
        let names = &set.operations.name;
        let describer = Describer {
            set,
            strings: &session.strings,
            keys: Keys::new(&session.strings),
            noise: names.iter().map(|name| is_noise(session.strings.get(*name))).collect(),
        };
        for trace in (0..set.traces.len()).map(TraceRow::from_index) {
            describer.trace(trace, &mut table);
            table.start.push(table.calls.len() as u32);
        }
        table
    }

    /// The calls of a trace, in order of start.
    pub fn of(&self, trace: TraceRow) -> &[Call] {
        &self.calls[self.start[trace.index()] as usize..self.start[trace.index() + 1] as usize]
    }

    /// All calls, by trace.
    pub fn all(&self) -> &[Call] {
        &self.calls
    }

    /// How many calls there are.
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }
}

/// What an attribute says about a call; its key's position in `KEYS` decides which of several is taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Slot {
    DbText,
    DbSystem,
    DbOther,
    HttpMethod,
    Url,
    Rpc,
    RpcMethod,
    Messaging,
    Peer,
}

/// Attribute keys of the semantic conventions, old and new; of one slot the first that has a text wins.
const KEYS: &[(Slot, &[&str])] = &[
    (Slot::DbText, &["db.query.text", "db.statement", "sql.query", "cassandra.query"]),
    (Slot::DbSystem, &["db.system.name", "db.system", "db.type"]),
    (Slot::DbOther, &["db.query.summary", "db.operation.name", "db.operation"]),
    (Slot::HttpMethod, &["http.request.method", "http.method"]),
    (Slot::Url, &["url.full", "http.url", "url.path", "http.target", "http.path", "url.template", "http.route"]),
    (Slot::Rpc, &["rpc.service", "rpc.system.name", "rpc.system"]),
    (Slot::RpcMethod, &["rpc.method"]),
    (Slot::Messaging, &["messaging.destination.template", "messaging.destination.name", "messaging.destination", "kafka.topic"]),
    (Slot::Peer, &["peer.service", "service.peer.name", "server.address", "net.peer.name", "db.namespace", "db.name"]),
];

/// Prefixes of attributes that hold a parameter of a statement.
const PARAMETERS: [&str; 3] = ["param.", "db.query.parameter.", "db.operation.parameter."];

/// How many keys there are in `KEYS`.
const KEY_COUNT: usize = 33;

/// Which attribute keys of a session mean what.
struct Keys {
    /// By text id: position among all keys of `KEYS`, or `PARAMETER`, or `OTHER`. Ids beyond the end are others.
    meaning: Vec<u8>,
    /// First position of each slot, with one closing entry.
    first: Vec<usize>,
}

const OTHER: u8 = u8::MAX;
const PARAMETER: u8 = u8::MAX - 1;
/// Meanings from here on are facts, by their position in `FACTS`.
const FACT: u8 = 200;

impl Keys {
    fn new(strings: &StringTable) -> Keys {
        let mut keys = Keys { meaning: Vec::new(), first: vec![0] };
        let mut note = |id: StringId, meaning: u8| {
            if keys.meaning.len() <= id.index() {
                keys.meaning.resize(id.index() + 1, OTHER);
            }
            keys.meaning[id.index()] = meaning;
        };
        let mut position = 0;
        for (_, names) in KEYS {
            for name in *names {
                if let Some(id) = strings.find(name) {
                    note(id, position as u8);
                }
                position += 1;
            }
            keys.first.push(position);
        }
        for (i, (_, names)) in FACTS.iter().enumerate() {
            for id in names.iter().filter_map(|name| strings.find(name)) {
                note(id, FACT + i as u8);
            }
        }
        for id in (0..strings.len()).map(StringId::from_index) {
            if PARAMETERS.iter().any(|p| strings.get(id).starts_with(p)) {
                note(id, PARAMETER);
            }
        }
        keys
    }

    fn of(&self, key: StringId) -> u8 {
        self.meaning.get(key.0 as usize).copied().unwrap_or(OTHER)
    }
}

/// The telling attributes of one span.
struct Told<'s> {
    texts: [Option<&'s str>; KEY_COUNT],
    parameters: bool,
    facts: Facts,
}

impl<'s> Told<'s> {
    /// Of a key that occurs twice the last counts.
    fn new(set: &TraceSet, strings: &'s StringTable, keys: &Keys, span: SpanRow) -> Told<'s> {
        let mut told = Told { texts: [None; KEY_COUNT], parameters: false, facts: Facts::default() };
        for (key, value) in set.span_attrs(span) {
            match keys.of(key) {
                OTHER => {}
                PARAMETER => told.parameters = true,
                fact if fact >= FACT => told.facts.note(FACTS[usize::from(fact - FACT)].0, strings, value),
                position => {
                    told.texts[usize::from(position)] = match value {
                        AttrValue::Text(id) => Some(strings.get(id)).filter(|text| !text.is_empty()),
                        _ => None,
                    };
                }
            }
        }
        told
    }

    fn get(&self, keys: &Keys, slot: Slot) -> Option<&'s str> {
        let slot = slot as usize;
        self.texts[keys.first[slot]..keys.first[slot + 1]].iter().find_map(|text| *text)
    }
}

/// The caller's entry span: the nearest span upwards that serves a request, or whose service differs from its parent's, or a root.
pub fn entry_of(set: &TraceSet, span: SpanRow) -> SpanRow {
    let mut at = span;
    loop {
        step(1);
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

struct Describer<'s> {
    set: &'s TraceSet,
    strings: &'s StringTable,
    keys: Keys,
    /// By operation.
    noise: Vec<bool>,
}

impl Describer<'_> {
    fn trace(&self, trace: TraceRow, out: &mut CallTable) {
        let set = self.set;
        let begin = out.calls.len();
        // Entry spans are looked up once per span, from the root down: rows are not in tree order, so by need and remembered.
        let mut is_call = vec![false; set.traces.spans(trace).len()];
        let first = set.traces.first_span[trace.index()].index();
        let mut scopes: Vec<SpanRow> = vec![SpanRow::NONE; is_call.len()];
        let mut todo: Vec<SpanRow> = set.traces.spans(trace).rev().filter(|s| set.spans.parent[s.index()].is_none()).collect();
        while let Some(span) = todo.pop() {
            step(1);
            todo.extend(set.children(span).iter().rev());
            let i = span.index() - first;
            let parent = set.spans.parent[span.index()].get();
            let outside = parent.is_none_or(|p| set.service(p) != set.service(span));
            scopes[i] = match parent {
                Some(p) if !outside && !matches!(set.kind(span), SpanKind::Server | SpanKind::Consumer) => scopes[p.index() - first],
                _ => span,
            };
            let Some(parent) = parent else { continue };
            if set.spans.has(span, SPAN_DUPLICATE_ID) || self.noise[set.spans.operation[span.index()].index()] {
                continue;
            }
            // One call has one span: what a call itself consists of (its server half, a driver below a client) is not another.
            if is_call[parent.index() - first] {
                continue;
            }
            if let Some(call) = self.describe(span, parent, outside, scopes[parent.index() - first], &mut out.texts) {
                is_call[i] = true;
                out.calls.push(call);
            }
        }
        out.calls[begin..].sort_by_key(|c| (set.spans.start_ns[c.span.index()], c.span));
    }

    fn describe(&self, span: SpanRow, parent: SpanRow, outside: bool, scope: SpanRow, texts: &mut StringTable) -> Option<Call> {
        let (set, strings) = (self.set, self.strings);
        let told = Told::new(set, strings, &self.keys, span);
        let get = |slot: Slot| told.get(&self.keys, slot);
        let kind = set.kind(span);
        let client = matches!(kind, SpanKind::Client | SpanKind::Producer);
        let statement = get(Slot::DbText);
        let system = get(Slot::DbSystem).map(str::to_ascii_lowercase).unwrap_or_default();
        let own_name = set.name(strings, span);
        let tells = statement.is_some() || !system.is_empty();
        if !client && !outside && !tells {
            return None;
        }
        let method = get(Slot::HttpMethod);
        let (mut read_only, mut writes) = (false, false);
        let (category, normal, shown) = if let Some(text) = statement.filter(|t| !t.is_empty()) {
            let normal =
                if is_cache(&system) { key_value(text) } else { sql(text, system.contains("mysql") || system.contains("mariadb")) };
            (read_only, writes) = if is_cache(&system) {
                let command = normal.text.split(' ').next().unwrap_or("");
                let reads = matches!(command, "GET" | "HGET" | "MGET" | "HMGET" | "EXISTS" | "GETS");
                (reads, CACHE_WRITES.contains(&command))
            } else {
                (sql_reads(&normal.text), sql_writes(&normal.text))
            };
            let category = if is_cache(&system) { Category::Cache } else { Category::Db };
            (category, normal.clone(), normal.text)
        } else if is_cache(&system) || (!system.is_empty() && method.is_none()) {
            let text = get(Slot::DbOther).unwrap_or(own_name);
            let category = if is_cache(&system) { Category::Cache } else { Category::Db };
            (category, Normal { hidden: true, ..normal_name(text) }, text.to_string())
        } else if let Some(topic) = get(Slot::Messaging).filter(|_| matches!(kind, SpanKind::Producer | SpanKind::Client)) {
            (Category::Messaging, Normal { hidden: true, ..normal_name(topic) }, format!("publish to {topic}"))
        } else if method.is_some() || get(Slot::Url).is_some() {
            let verb = method.unwrap_or("").to_ascii_uppercase();
            read_only = matches!(verb.as_str(), "GET" | "HEAD");
            writes = matches!(verb.as_str(), "POST" | "PUT" | "PATCH" | "DELETE");
            let mut normal = get(Slot::Url).map(url).unwrap_or_else(|| Normal { hidden: true, ..normal_name(own_name) });
            normal.text = format!("{verb} {}", normal.text);
            let shown = normal.text.clone();
            (Category::Http, normal, shown)
        } else if get(Slot::Rpc).is_some() || get(Slot::RpcMethod).is_some() {
            let name = own_name.trim_start_matches('/');
            let method = name.rsplit('/').next().unwrap_or(name);
            read_only = ["Get", "List", "Find", "Lookup", "Read"].iter().any(|p| method.starts_with(p));
            writes = WRITE_VERBS.iter().any(|p| method.to_ascii_lowercase().starts_with(p));
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
                None => get(Slot::Peer).filter(|p| !p.starts_with(|c: char| c.is_ascii_digit())).map_or(system, str::to_string),
            }
        };
        // Parameters that instrumentation records beside the statement.
        let mut values = normal.values.clone();
        let mut visible = !normal.hidden && !normal.truncated && (!values.is_empty() || category != Category::Service);
        if told.parameters {
            for (key, value) in set.span_attrs(span).filter(|(key, _)| self.keys.of(*key) == PARAMETER) {
                values.push_str(strings.get(key));
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
            signature: texts.intern(&format!("{caller}\u{1f}{target}")),
            target: texts.intern(&target),
            shown: texts.intern(&shown),
            values: visible.then(|| hash_bytes(values.as_bytes())),
            read_only: read_only && !set.spans.has(span, SPAN_ASYNC),
            writes,
            paging: pages(category, &normal.text),
            batched: normal.listed,
            ending: told.facts.ending(set.spans.has(span, SPAN_ERROR)),
            resent: told.facts.resent,
            cached: told.facts.cached,
            count: told.facts.more + 1,
        })
    }
}

/// First words of cache commands that change an entry.
const CACHE_WRITES: &[&str] = &[
    "SET", "SETEX", "SETNX", "MSET", "HSET", "HMSET", "DEL", "UNLINK", "EXPIRE", "INCR", "DECR", "INCRBY", "APPEND", "LPUSH", "RPUSH",
    "SADD", "ZADD", "HDEL",
];

/// How methods that change something begin.
const WRITE_VERBS: &[&str] =
    &["create", "update", "delete", "add", "put", "set", "insert", "save", "remove", "place", "charge", "send", "ship"];

/// Whether a call asks for one page of several.
fn pages(category: Category, normal: &str) -> bool {
    match category {
        Category::Db => normal.contains(" LIMIT ") || normal.contains(" OFFSET ") || normal.contains(" FETCH NEXT "),
        Category::Http => ["page=", "offset=", "cursor=", "page_token=", "pagetoken=", "after=", "skip="]
            .iter()
            .any(|key| normal.to_ascii_lowercase().split(['?', '&']).skip(1).any(|pair| pair.starts_with(key))),
        _ => false,
    }
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
