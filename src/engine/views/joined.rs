//! The samples of a span, and CPU time per endpoint.

use crate::analysis::joined::{NO_ENDPOINT, ProfileJoin, Way, cpu_column, join_all, leaves, span_text};
use crate::base::ids::SpanRow;
use crate::engine::Engine;
use crate::engine::protocol::services::EndpointRow;
use crate::engine::protocol::traces::SpanSamples;
use crate::model::profile::{Profile, ValueKind};

/// So many functions are listed.
const FUNCTIONS: usize = 10;

fn joined(engine: &Engine) -> impl Iterator<Item = (usize, &Profile, &ProfileJoin)> {
    let joins = engine.cache.joined.get_or_init(|| join_all(&engine.session));
    engine.session.profiles.iter().zip(joins).enumerate().filter_map(|(i, (p, join))| Some((i, p, join.as_ref()?)))
}

/// The column in which a profile's cost is told: CPU time, else allocated bytes, else the default; with nanoseconds per unit.
fn column(p: &Profile) -> (usize, Option<i64>) {
    if let Some((column, factor)) = cpu_column(p) {
        return (column, Some(factor));
    }
    (p.value_of_kind(ValueKind::AllocBytes).unwrap_or(p.default_value), None)
}

/// The samples of a span, by profile.
pub fn of_span(engine: &Engine, span: SpanRow) -> Vec<SpanSamples> {
    let session = &engine.session;
    let duration = session.traces.spans.duration_ns[span.index()] as f64;
    let mut out = Vec::new();
    for (i, p, join) in joined(engine).filter(|(_, _, j)| j.way != Way::Endpoints) {
        let (column, factor) = column(p);
        let values = &p.samples.values[column];
        let own = || (0..p.samples.len()).filter(|s| join.span[*s] == span);
        let Some(first) = own().next() else { continue };
        let weight = own().fold(0_i64, |sum, s| sum.saturating_add(values[s]));
        let functions = leaves(session, p, column, |s| join.span[s] == span);
        out.push(SpanSamples {
            profile: i as u32,
            value: p.value_types[column].name.clone(),
            unit: p.value_types[column].unit.clone(),
            weight: weight as f64,
            samples: own().map(|s| p.events_of(s)).sum(),
            of_span: factor.filter(|_| duration > 0.0).map(|f| weight as f64 * f as f64 / duration),
            functions: functions
                .iter()
                .take(FUNCTIONS)
                .map(|(f, w)| (session.symbols.func_name(&session.strings, *f).to_string(), *w as f64))
                .collect(),
            span: span_text(session, span),
            endpoint: join.endpoints.get(join.endpoint[first] as usize).cloned().unwrap_or_default(),
            way: join.way,
        });
    }
    out
}

/// Cost per endpoint and profile, the heaviest first.
pub fn endpoints(engine: &Engine) -> Vec<EndpointRow> {
    let mut out = Vec::new();
    for (i, p, join) in joined(engine) {
        let (column, _) = column(p);
        let mut sums = vec![(0_u64, 0_i64); join.endpoints.len()];
        for (row, (endpoint, value)) in
            join.endpoint.iter().zip(&p.samples.values[column]).enumerate().filter(|(_, (e, _))| **e != NO_ENDPOINT)
        {
            let sum = &mut sums[*endpoint as usize];
            *sum = (sum.0 + p.events_of(row), sum.1.saturating_add(*value));
        }
        out.extend(join.endpoints.iter().zip(sums).map(|(endpoint, (samples, weight))| EndpointRow {
            endpoint: endpoint.clone(),
            profile: i as u32,
            value: p.value_types[column].name.clone(),
            unit: p.value_types[column].unit.clone(),
            weight: weight as f64,
            samples,
            whole: p.total(column) as f64,
        }));
    }
    out.sort_by(|a, b| {
        (a.profile, &a.value).cmp(&(b.profile, &b.value)).then(b.weight.total_cmp(&a.weight)).then_with(|| a.endpoint.cmp(&b.endpoint))
    });
    out
}
