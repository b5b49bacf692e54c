//! Samples joined with the spans during which they were taken: by ids in their labels, else by thread and time.
//!
//! Label keys are those of the profilers of Datadog (`span id`, `local root span id`, `trace endpoint`), Pyroscope
//! (`profile_id`, `span_name`), OpenTelemetry (links of OTLP profiles, kept as `trace_id` and `span_id`) and async-profiler.

use super::joined_times::by_time;
use super::labels::set_of;
use crate::base::ids::{FuncId, LabelSetId, SpanRow, StringId};
use crate::base::intern::StringTable;
use crate::base::work::step;
use crate::model::Session;
use crate::model::profile::{Label, Profile, ValueKind};
use crate::model::trace::{SPAN_SHARED, SpanKind, TraceSet, span_id};
use std::collections::BTreeMap;

/// The key under which filters know the span of a sample: its value is `traceid/spanid`.
pub const SPAN_KEY: &str = "joined.span";
/// The key under which filters know the endpoint of a sample.
pub const ENDPOINT_KEY: &str = "joined.endpoint";
/// No endpoint.
pub const NO_ENDPOINT: u32 = u32::MAX;

/// Labels that hold the id of the span that was active, then those of the local root: the entry span of the process.
const SPAN_IDS: [&str; 3] = ["span_id", "span id", "spanId"];
const ROOT_IDS: [&str; 3] = ["local root span id", "local_root_span_id", "profile_id"];
const TRACE_IDS: [&str; 3] = ["trace_id", "trace id", "traceId"];
const ENDPOINTS: [&str; 4] = ["trace endpoint", "span_name", "http.route", "endpoint"];

/// What joined a profile's samples with spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// Labels with the id of the active span.
    SpanIds,
    /// Labels with the id of the local root alone: its samples are those of all spans below it in its process.
    LocalRoots,
    /// Labels with endpoints alone: no span is known.
    Endpoints,
    /// The thread on which a span ran, and the time.
    Times,
}

/// The spans and endpoints of one profile's samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileJoin {
    /// Span of each sample; `NONE` for those outside of spans.
    pub span: Vec<SpanRow>,
    /// Position in `endpoints` for each sample; [`NO_ENDPOINT`] for none.
    pub endpoint: Vec<u32>,
    /// Endpoints, by first appearance: service and name of the entry span, or the label's text.
    pub endpoints: Vec<String>,
    /// What joined them.
    pub way: Way,
    /// Samples that name a span which is in none of the files.
    pub missing: u64,
    /// Samples at whose time spans overlapped on their thread without one being the other's ancestor.
    pub ambiguous: u64,
}

/// The entry span of each span: the nearest upwards that serves a request or whose service differs from its parent's, or a
/// root. Each span is looked at once.
pub fn entries(set: &TraceSet) -> Vec<SpanRow> {
    let mut out = vec![SpanRow::NONE; set.spans.len()];
    let mut path = Vec::new();
    for row in (0..out.len()).map(SpanRow::from_index) {
        let mut at = row;
        let entry = loop {
            step(1);
            if !out[at.index()].is_none() {
                break out[at.index()];
            }
            path.push(at);
            match set.spans.parent[at.index()].get() {
                Some(parent)
                    if !matches!(set.kind(at), SpanKind::Server | SpanKind::Consumer) && set.service(parent) == set.service(at) =>
                {
                    at = parent
                }
                _ => break at,
            }
        };
        for span in path.drain(..) {
            out[span.index()] = entry;
        }
    }
    out
}

/// Service and name of an endpoint's entry span.
pub fn endpoint_name(session: &Session, entry: SpanRow) -> String {
    let (service, name) = (session.traces.service_name(&session.strings, entry), session.traces.name(&session.strings, entry));
    if service.is_empty() { name.to_string() } else { format!("{service} {name}") }
}

/// `traceid/spanid`, as [`SPAN_KEY`] has it.
pub fn span_text(session: &Session, span: SpanRow) -> String {
    let t = &session.traces;
    format!("{}/{}", session.strings.get(t.spans.trace_id[span.index()]), t.id_text(&session.strings, t.spans.id[span.index()]))
}

/// Spans by id.
struct Ids<'a> {
    session: &'a Session,
    /// (id, row), sorted.
    rows: Vec<(u64, SpanRow)>,
}

impl<'a> Ids<'a> {
    fn new(session: &'a Session) -> Ids<'a> {
        let mut rows: Vec<(u64, SpanRow)> =
            session.traces.spans.id.iter().enumerate().filter(|(_, id)| **id != 0).map(|(i, id)| (*id, SpanRow::from_index(i))).collect();
        rows.sort_unstable();
        Ids { session, rows }
    }

    /// The span with an id, of the trace if one is named in hex. Of the two halves of a shared span the server's.
    fn find(&self, id: u64, trace: Option<&str>) -> Option<SpanRow> {
        let set = &self.session.traces;
        let from = self.rows.partition_point(|(other, _)| *other < id);
        let same = self.rows[from..].iter().take_while(|(other, _)| *other == id).map(|(_, row)| *row);
        let fits = |row: &SpanRow| trace.is_none_or(|t| same_trace(self.session.strings.get(set.spans.trace_id[row.index()]), t));
        same.filter(fits).max_by_key(|row| (set.spans.has(*row, SPAN_SHARED), std::cmp::Reverse(*row)))
    }

    /// The span that a label names: Datadog writes ids as decimal numbers, everyone else as 16 hex digits.
    fn of_label(&self, key: &str, label: &Label, trace: Option<&str>) -> Option<SpanRow> {
        let Some(text) = label.text.get().map(|t| self.session.strings.get(t).trim()) else {
            return if label.number == 0 { None } else { self.find(label.number as u64, trace) };
        };
        let decimal = text.parse::<u64>().ok().or_else(|| text.parse::<i64>().ok().map(|n| n as u64)).filter(|n| *n != 0);
        let hex = Some(span_id(text).0).filter(|id| *id != 0);
        let order = if key.contains(' ') || text.len() > 16 { [decimal, hex] } else { [hex, decimal] };
        order.into_iter().flatten().find_map(|id| self.find(id, trace))
    }
}

/// Whether two trace ids in hex are one. Ids of 64 bits are the lower half of those of 128; decimal ones decide nothing.
fn same_trace(known: &str, named: &str) -> bool {
    let named = named.trim();
    if named.len() != 32 || !named.bytes().all(|b| b.is_ascii_hexdigit()) {
        return true;
    }
    let significant = |t: &str| t.trim_start_matches('0').to_ascii_lowercase();
    let (known, named) = (significant(known), significant(named));
    known == named || known.len() <= 16 && named.ends_with(&known)
}

/// The first label with one of these keys, in the order of the keys.
fn label<'a>(strings: &StringTable, set: &'a [Label], keys: &[&'static str]) -> Option<(&'static str, &'a Label)> {
    keys.iter().find_map(|key| set.iter().find(|l| strings.get(l.key) == *key).map(|l| (*key, l)))
}

/// What a set of labels says.
#[derive(Clone, Copy, Default)]
struct OfSet {
    span: Option<SpanRow>,
    is_root: bool,
    names_span: bool,
    endpoint: Option<StringId>,
}

/// Joins one profile; `None` if no sample has a span or endpoint.
pub fn join(session: &Session, p: &Profile) -> Option<ProfileJoin> {
    let (strings, set) = (&session.strings, &session.traces);
    let sets = p.labels.start.len().saturating_sub(1);
    let has = |keys: &[&str]| keys.iter().any(|k| strings.find(k).is_some());
    let mut of_set = vec![OfSet::default(); sets + 1];
    if sets > 0 && (has(&SPAN_IDS) || has(&ROOT_IDS) || has(&ENDPOINTS)) {
        let ids = Ids::new(session);
        for (i, out) in of_set.iter_mut().take(sets).enumerate() {
            step(1);
            let labels = p.labels.set(LabelSetId::from_index(i));
            let trace = label(strings, labels, &TRACE_IDS).and_then(|(_, l)| l.text.get()).map(|t| strings.get(t));
            let own = label(strings, labels, &SPAN_IDS);
            let root = label(strings, labels, &ROOT_IDS);
            out.names_span = own.is_some() || root.is_some();
            out.span = own.and_then(|(key, l)| ids.of_label(key, l, trace));
            if out.span.is_none() {
                out.span = root.and_then(|(key, l)| ids.of_label(key, l, trace));
                out.is_root = out.span.is_some();
            }
            out.endpoint = label(strings, labels, &ENDPOINTS).and_then(|(_, l)| l.text.get());
        }
    }
    let n = p.samples.len();
    let mut out = ProfileJoin {
        span: vec![SpanRow::NONE; n],
        endpoint: vec![NO_ENDPOINT; n],
        endpoints: Vec::new(),
        way: Way::Endpoints,
        missing: 0,
        ambiguous: 0,
    };
    let (mut own, mut roots) = (0_u64, 0_u64);
    for i in 0..n {
        let of = of_set[set_of(p, i)];
        match of.span {
            Some(span) => {
                out.span[i] = span;
                *(if of.is_root { &mut roots } else { &mut own }) += 1;
            }
            None => out.missing += u64::from(of.names_span),
        }
    }
    if own + roots > 0 {
        out.way = if own > 0 { Way::SpanIds } else { Way::LocalRoots };
    } else if let Some(times) = by_time(session, p) {
        (out.span, out.ambiguous, out.way) = (times.span, times.ambiguous, Way::Times);
    }
    let entries = if out.way == Way::Endpoints { Vec::new() } else { entries(set) };
    let mut by_name: BTreeMap<String, u32> = BTreeMap::new();
    let mut by_entry: BTreeMap<SpanRow, u32> = BTreeMap::new();
    let mut by_label: BTreeMap<StringId, u32> = BTreeMap::new();
    let mut position = |name: String, names: &mut Vec<String>| {
        *by_name.entry(name).or_insert_with_key(|name| {
            names.push(name.clone());
            names.len() as u32 - 1
        })
    };
    for i in 0..n {
        let names = &mut out.endpoints;
        out.endpoint[i] = match (out.span[i].get(), of_set[set_of(p, i)].endpoint) {
            (Some(span), _) => {
                let entry = entries[span.index()];
                *by_entry.entry(entry).or_insert_with(|| position(endpoint_name(session, entry), names))
            }
            (None, Some(text)) => *by_label.entry(text).or_insert_with(|| position(strings.get(text).to_string(), names)),
            (None, None) => NO_ENDPOINT,
        };
    }
    (!out.endpoints.is_empty()).then_some(out)
}

/// Joins every profile of a session, by position.
pub fn join_all(session: &Session) -> Vec<Option<ProfileJoin>> {
    session.profiles.iter().map(|p| join(session, p)).collect()
}

/// The column that holds CPU time, with the nanoseconds of its unit; without one, the column of samples if each stands for a
/// known time on the CPU.
pub fn cpu_column(p: &Profile) -> Option<(usize, i64)> {
    let nanoseconds = |unit: &str| match unit {
        "nanoseconds" | "ns" => Some(1),
        "microseconds" | "us" => Some(1_000),
        "milliseconds" | "ms" => Some(1_000_000),
        "seconds" | "s" => Some(1_000_000_000),
        _ => None,
    };
    if let Some(column) = p.value_of_kind(ValueKind::CpuTime) {
        return nanoseconds(&p.value_types[column].unit).map(|ns| (column, ns));
    }
    let column = p.value_of_kind(ValueKind::Samples).filter(|_| p.value_of_kind(ValueKind::WallTime).is_none() && p.period > 0)?;
    nanoseconds(&p.period_unit).map(|ns| (column, ns.saturating_mul(p.period)))
}

/// What the samples of all profiles say about each span: its own CPU time and allocations, not those of spans below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpanCosts {
    /// CPU time in nanoseconds by span row; empty if no CPU profile is joined.
    pub cpu_ns: Vec<i64>,
    /// Bytes allocated by span row; empty if no allocation profile is joined.
    pub alloc_bytes: Vec<i64>,
}

impl SpanCosts {
    /// Adds up the joined samples.
    pub fn new(session: &Session, joins: &[Option<ProfileJoin>]) -> SpanCosts {
        let n = session.traces.spans.len();
        let mut out = SpanCosts::default();
        for (p, join) in session.profiles.iter().zip(joins) {
            let Some(join) = join.as_ref().filter(|j| j.way != Way::Endpoints) else { continue };
            let add = |sums: &mut Vec<i64>, column: usize, factor: i64| {
                sums.resize(n, 0);
                for (span, value) in join.span.iter().zip(&p.samples.values[column]) {
                    if let Some(span) = span.get() {
                        sums[span.index()] = sums[span.index()].saturating_add(value.saturating_mul(factor));
                    }
                }
            };
            if let Some((column, factor)) = cpu_column(p) {
                add(&mut out.cpu_ns, column, factor);
            }
            if let Some(column) = p.value_of_kind(ValueKind::AllocBytes) {
                add(&mut out.alloc_bytes, column, 1);
            }
        }
        out
    }
}

/// Functions at the leaves of the wanted samples with their weight, the heaviest first.
pub fn leaves(session: &Session, p: &Profile, column: usize, wanted: impl Fn(usize) -> bool) -> Vec<(FuncId, i64)> {
    let s = &session.symbols;
    let mut sums: BTreeMap<FuncId, i64> = BTreeMap::new();
    for (i, (stack, value)) in p.samples.stack.iter().zip(&p.samples.values[column]).enumerate() {
        if let Some(stack) = stack.get().filter(|_| *value != 0 && wanted(i)) {
            let func = s.funcs.canonical[s.frames.func[s.stacks.frame[stack.index()].index()].index()];
            let sum = sums.entry(func).or_default();
            *sum = sum.saturating_add(*value);
        }
    }
    let mut out: Vec<(FuncId, i64)> = sums.into_iter().collect();
    let name = |f: FuncId| s.func_name(&session.strings, f);
    out.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| name(a.0).cmp(name(b.0))));
    out
}
