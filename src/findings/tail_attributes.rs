//! Attributes that slow requests have more often than the middle ones: instance, region, version, tenant, cache misses. The
//! comparison of Honeycomb's BubbleUp and Grafana's trace drilldown, with Fisher's exact test as a guard.

use super::Context;
use super::tail::{MIDDLE, SLOW, Tail, spent};
use crate::analysis::path_times::{Endpoint, PathTimes};
use crate::base::ids::{SpanRow, StringId, TraceRow};
use crate::base::quantity::format_share;
use crate::base::significance::fisher;
use crate::model::trace::AttrValue;
use std::collections::{BTreeMap, BTreeSet};

/// Values of a key beyond which it tells requests apart and not kinds of them.
const MAX_VALUES: usize = 20;
/// Requests of a side that are looked at.
const LOOKED_AT: usize = 1000;
/// Attributes that are told.
const TOLD: usize = 3;

/// An attribute with its share of either side.
#[derive(Clone, Debug)]
pub struct Attribute {
    /// Key.
    pub key: String,
    /// Value as text.
    pub value: String,
    /// Requests that have it, middle and slow.
    pub count: [u64; 2],
    /// Requests looked at.
    pub of: [u64; 2],
    /// A span that has it.
    pub example: SpanRow,
}

impl Attribute {
    /// Share of a side.
    pub fn share(&self, side: usize) -> f64 {
        self.count[side] as f64 / self.of[side].max(1) as f64
    }

    /// The sentence.
    pub fn text(&self) -> String {
        format!(
            "{} = {}: {} of the slow requests, {} of the middle ones.",
            self.key,
            self.value,
            format_share(self.share(SLOW)),
            format_share(self.share(MIDDLE))
        )
    }
}

type Value = (u8, u64);

fn value_key(value: AttrValue) -> Value {
    match value {
        AttrValue::Text(id) => (0, u64::from(id.0)),
        AttrValue::Json(id) => (1, u64::from(id.0)),
        AttrValue::Int(n) => (2, n as u64),
        AttrValue::Double(f) => (3, f.to_bits()),
        AttrValue::Bool(b) => (4, u64::from(b)),
    }
}

fn value_text(cx: &Context<'_>, value: Value) -> String {
    match value.0 {
        0 | 1 => cx.session.strings.get(StringId(value.1 as u32)).to_string(),
        2 => (value.1 as i64).to_string(),
        3 => f64::from_bits(value.1).to_string(),
        _ => (value.1 != 0).to_string(),
    }
}

/// Attributes of roots, of the spans on the explaining path and of their resources that are certainly more frequent in slow
/// requests, by falling difference.
pub fn discover(cx: &Context<'_>, times: &PathTimes, endpoint: &Endpoint, tail: &Tail, inside: &[bool]) -> Vec<Attribute> {
    let mut seen: BTreeMap<(StringId, Value), ([u64; 2], SpanRow)> = BTreeMap::new();
    let mut of = [0_u64; 2];
    for side in [MIDDLE, SLOW] {
        let list = &tail.sides[side];
        for &trace in list.iter().step_by(list.len().div_ceil(LOOKED_AT).max(1)) {
            of[side] += 1;
            for (pair, span) in pairs(cx, trace, spent(times, endpoint, inside, trace).2) {
                let entry = seen.entry(pair).or_insert(([0, 0], span));
                entry.0[side] += 1;
                if side == SLOW {
                    entry.1 = span;
                }
            }
        }
    }
    let mut values: BTreeMap<StringId, usize> = BTreeMap::new();
    for (key, _) in seen.keys() {
        *values.entry(*key).or_default() += 1;
    }
    let mut out: Vec<Attribute> = seen
        .into_iter()
        .filter(|((key, _), (count, _))| {
            let share = |s: usize| count[s] as f64 / of[s].max(1) as f64;
            values[key] <= MAX_VALUES
                && share(SLOW) >= 0.5
                && share(SLOW) - share(MIDDLE) >= 0.3
                && fisher(count[SLOW], of[SLOW], count[MIDDLE], of[MIDDLE]) < 0.01
        })
        .map(|((key, value), (count, example))| Attribute {
            key: cx.session.strings.get(key).to_string(),
            value: value_text(cx, value),
            count,
            of,
            example,
        })
        .collect();
    let more = |a: &Attribute| a.share(SLOW) - a.share(MIDDLE);
    out.sort_by(|a, b| more(b).total_cmp(&more(a)).then_with(|| (&a.key, &a.value).cmp(&(&b.key, &b.value))));
    out.truncate(TOLD);
    out
}

/// Keys and values of one request, each once, with the span that has them.
fn pairs(cx: &Context<'_>, trace: TraceRow, on_path: Option<SpanRow>) -> Vec<((StringId, Value), SpanRow)> {
    let set = &cx.session.traces;
    let mut seen = BTreeSet::new();
    let mut out = Vec::new();
    for span in set.traces.root[trace.index()].get().into_iter().chain(on_path) {
        let resource = set.spans.resource[span.index()].get().map(|r| r.index());
        let of_resource = resource.map(|r| set.attr_rows(set.resources.attr_start[r], set.resources.attr_len[r]));
        for (key, value) in set.span_attrs(span).chain(of_resource.into_iter().flatten()) {
            let pair = (key, value_key(value));
            if seen.insert(pair) {
                out.push((pair, span));
            }
        }
    }
    out
}
