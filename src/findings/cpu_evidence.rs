//! What joined samples say about the spans of a finding: whether their time is work on the CPU or waiting, and in which function.

use super::Context;
use super::active::is_cpu;
use super::finding::{Cover, Evidence, Finding};
use crate::analysis::joined::{SPAN_KEY, Way, cpu_column, leaves, span_text};
use crate::base::ids::{ProfileId, SpanRow};
use crate::base::labels::LabelFilter;
use crate::base::quantity::{format_ns, format_share};
use crate::base::view::{View, ViewRef};
use std::collections::HashMap;

/// Share of the spans' time from which it is work and not waiting.
const BOUND: f64 = 0.5;

/// Adds evidence to findings that speak of spans, where samples are joined with them or with spans below them. Each profile is
/// walked once.
pub fn add(cx: &Context<'_>, findings: &mut [Finding]) {
    let set = &cx.session.traces;
    let wanted: Vec<usize> = (0..findings.len()).filter(|i| matches!(findings[*i].cover, Cover::Spans(_))).collect();
    if wanted.is_empty() || cx.session.profiles.is_empty() {
        return;
    }
    for (id, p) in cx.profiles().filter(|(_, p)| is_cpu(p)) {
        let Some(join) = cx.joined().get(id.index()).and_then(Option::as_ref).filter(|j| j.way != Way::Endpoints) else { continue };
        let Some((column, factor)) = cpu_column(p) else { continue };
        let mut samples: HashMap<SpanRow, Vec<u32>> = HashMap::new();
        for (i, span) in join.span.iter().enumerate().filter(|(_, s)| !s.is_none()) {
            samples.entry(*span).or_default().push(i as u32);
        }
        for &at in &wanted {
            let Cover::Spans(spans) = &findings[at].cover else { continue };
            let mut rows: Vec<u32> = Vec::new();
            let (mut ns, mut time, mut top) = (0_i64, 0_i64, (0_i64, SpanRow::NONE));
            // Covers may hold a span and one below it; each span's samples count once.
            let mut seen = std::collections::HashSet::new();
            for &span in spans {
                if !seen.insert(span) {
                    continue;
                }
                time = time.saturating_add(set.spans.duration_ns[span.index()]);
                let mut todo = vec![span];
                while let Some(below) = todo.pop() {
                    todo.extend(set.children(below).iter().filter(|c| seen.insert(**c)));
                    let Some(list) = samples.get(&below) else { continue };
                    let own =
                        list.iter().fold(0_i64, |sum, i| sum.saturating_add(p.samples.values[column][*i as usize].saturating_mul(factor)));
                    ns = ns.saturating_add(own);
                    rows.extend(list);
                    if own > top.0 {
                        top = (own, below);
                    }
                }
            }
            if rows.is_empty() || time <= 0 || top.1.is_none() {
                continue;
            }
            rows.sort_unstable();
            let evidence = text(cx, (id, column), &rows, ns, time, top.1);
            findings[at].evidence.push(evidence);
        }
    }
}

fn text(cx: &Context<'_>, (id, column): (ProfileId, usize), rows: &[u32], ns: i64, time: i64, span: SpanRow) -> Evidence {
    let p = &cx.session.profiles[id.index()];
    let top = leaves(cx.session, p, column, |i| rows.binary_search(&(i as u32)).is_ok());
    let share = ns as f64 / time as f64;
    let function =
        top.first().map_or(String::new(), |(f, _)| format!(", most in {}", cx.session.symbols.func_name(&cx.session.strings, *f)));
    let kind = if share >= BOUND { "the time is work, not waiting" } else { "the rest is waiting or was not sampled" };
    Evidence {
        text: format!("{} on the CPU during these spans, {} of their time{function}: {kind}.", format_ns(ns as f64), format_share(share)),
        view: ViewRef {
            profile: Some(id.0),
            value: Some(p.value_types[column].name.clone()),
            labels: vec![LabelFilter::value(SPAN_KEY, &span_text(cx.session, span))],
            ..ViewRef::of(View::Flame)
        },
    }
}
