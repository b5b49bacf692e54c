//! Samples and spans of one thread, joined by time. Only what is certain is joined: the thread must be the same by id or by a
//! name that no other thread has, both clocks must count from 1970, and the spans that are open must be each other's ancestors.

use crate::base::ids::{SpanRow, ThreadId};
use crate::base::work::step;
use crate::model::Session;
use crate::model::profile::Profile;
use crate::model::trace::{AttrValue, TraceSet};
use std::collections::{BTreeMap, BTreeSet};

/// Times from here on are nanoseconds since 1970: the year 1980. Clocks that count from the start of a machine stay below.
const SINCE_1970: i64 = 315_532_800_000_000_000;

/// So many ancestors of a span are looked at to see whether another is among them.
const ANCESTORS: usize = 64;

/// Samples with their spans.
pub struct ByTime {
    /// Span of each sample; `NONE` for none.
    pub span: Vec<SpanRow>,
    /// Samples at whose time several spans were open of which none is the other's ancestor.
    pub ambiguous: u64,
}

/// Thread id, thread name, process id, as spans tell them.
type Place = (Option<i64>, String, Option<i64>);

/// Joins by thread and time; `None` if nothing is joined.
pub fn by_time(session: &Session, p: &Profile) -> Option<ByTime> {
    let samples = &p.samples;
    if samples.time_ns.len() != samples.len() || samples.thread.len() != samples.len() || samples.time_ns.iter().min()? < &SINCE_1970 {
        return None;
    }
    let groups = groups(session);
    if groups.is_empty() {
        return None;
    }
    let mut by_tid: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
    let mut by_name: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (i, ((tid, name, _), _)) in groups.iter().enumerate() {
        if let Some(tid) = tid {
            by_tid.entry(*tid).or_default().push(i);
        }
        if !name.is_empty() {
            by_name.entry(name).or_default().push(i);
        }
    }
    let mut names: BTreeMap<&str, u32> = BTreeMap::new();
    for t in &p.threads {
        *names.entry(&t.name).or_default() += 1;
    }
    let mut of_thread: Vec<Vec<u32>> = vec![Vec::new(); p.threads.len()];
    for (i, thread) in samples.thread.iter().enumerate() {
        if let Some(list) = thread.get().and_then(|t: ThreadId| of_thread.get_mut(t.index())) {
            list.push(i as u32);
        }
    }
    let mut out = ByTime { span: vec![SpanRow::NONE; samples.len()], ambiguous: 0 };
    for (thread, mut list) in p.threads.iter().zip(of_thread).filter(|(_, list)| !list.is_empty()) {
        let alone = names[thread.name.as_str()] == 1;
        let candidates = by_tid.get(&thread.tid).into_iter().chain(by_name.get(thread.name.as_str())).flatten().copied();
        let mut spans: Vec<SpanRow> = candidates
            .collect::<BTreeSet<usize>>()
            .into_iter()
            .filter(|i| {
                let (tid, name, pid) = &groups[*i].0;
                let same_id = thread.tid != -1 && *tid == Some(thread.tid);
                let same = if name.is_empty() || thread.name.is_empty() { same_id } else { *name == thread.name && (same_id || alone) };
                same && (thread.pid == -1 || pid.is_none_or(|pid| pid == thread.pid))
            })
            .flat_map(|i| groups[i].1.iter().copied())
            .collect();
        let set = &session.traces;
        spans.sort_by_key(|s| (set.spans.start_ns[s.index()], std::cmp::Reverse(set.spans.duration_ns[s.index()]), *s));
        list.sort_by_key(|i| (samples.time_ns[*i as usize], *i));
        sweep(set, &spans, &list, &samples.time_ns, &mut out);
    }
    out.span.iter().any(|s| !s.is_none()).then_some(out)
}

/// Spans by what they say of their thread.
fn groups(session: &Session) -> Vec<(Place, Vec<SpanRow>)> {
    let (set, strings) = (&session.traces, &session.strings);
    let key = |name: &str| strings.find(name);
    let (id, name, pid) = (key("thread.id"), key("thread.name"), key("process.pid"));
    if id.is_none() && name.is_none() {
        return Vec::new();
    }
    let number = |value: AttrValue| match value {
        AttrValue::Int(n) => Some(n),
        AttrValue::Text(t) => strings.get(t).parse().ok(),
        _ => None,
    };
    let mut out: BTreeMap<Place, Vec<SpanRow>> = BTreeMap::new();
    for span in (0..set.spans.len()).map(SpanRow::from_index) {
        step(1);
        let tid = id.and_then(|k| set.attr(span, k)).and_then(number);
        let text = match name.and_then(|k| set.attr(span, k)) {
            Some(AttrValue::Text(t)) => strings.get(t).to_string(),
            _ => String::new(),
        };
        if tid.is_some() || !text.is_empty() {
            out.entry((tid, text, pid.and_then(|k| set.attr(span, k)).and_then(number))).or_default().push(span);
        }
    }
    out.into_iter().collect()
}

/// The span that began last and is still open has the sample. Spans by start, samples by time.
fn sweep(set: &TraceSet, spans: &[SpanRow], list: &[u32], times: &[i64], out: &mut ByTime) {
    let (mut open, mut next, mut unclear_until): (Vec<SpanRow>, _, _) = (Vec::new(), 0, i64::MIN);
    for &i in list {
        step(1);
        let now = times[i as usize];
        while let Some(&span) = spans.get(next).filter(|s| set.spans.start_ns[s.index()] <= now) {
            let start = set.spans.start_ns[span.index()];
            while open.last().is_some_and(|top| set.spans.end_ns(*top) <= start) {
                open.pop();
            }
            if let Some(&top) = open.last()
                && !is_below(set, span, top)
            {
                unclear_until = unclear_until.max(set.spans.end_ns(top).min(set.spans.end_ns(span)));
            }
            open.push(span);
            next += 1;
        }
        while open.last().is_some_and(|top| set.spans.end_ns(*top) <= now) {
            open.pop();
        }
        match open.last() {
            Some(_) if now < unclear_until => out.ambiguous += 1,
            Some(top) => out.span[i as usize] = *top,
            None => {}
        }
    }
}

fn is_below(set: &TraceSet, span: SpanRow, above: SpanRow) -> bool {
    std::iter::successors(Some(span), |s| set.spans.parent[s.index()].get()).take(ANCESTORS).any(|s| s == above)
}
