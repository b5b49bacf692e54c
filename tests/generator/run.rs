//! Executes a system: one request after the other, into spans or only into the time that each takes.

use super::{Calls, Count, How, Step, System, Target, US, Values, hash};
use std::collections::BTreeMap;

/// A finished span.
#[derive(Clone, Debug)]
pub struct Span {
    /// Trace number.
    pub trace: u64,
    /// Span id, from 1 within the run.
    pub id: u64,
    /// Parent's id, 0 for a root.
    pub parent: u64,
    /// Service name.
    pub service: String,
    /// Span name.
    pub name: String,
    /// `2` server, `3` client.
    pub kind: u8,
    /// Nanoseconds.
    pub start: i64,
    /// Nanoseconds.
    pub end: i64,
    /// Attributes.
    pub attributes: Vec<(&'static str, String)>,
    /// It failed.
    pub error: bool,
}

/// Executes all requests; gives the spans.
pub fn spans(system: &System) -> Vec<Span> {
    let mut out = Vec::new();
    for trace in 0..system.traces {
        let mut run = Run { system, trace, done: BTreeMap::new(), spans: Some(&mut out), next: trace << 20, late: 0 };
        run.request();
    }
    out
}

/// Durations of all requests, nanoseconds.
pub fn durations(system: &System) -> Vec<i64> {
    (0..system.traces)
        .map(|trace| {
            let mut run = Run { system, trace, done: BTreeMap::new(), spans: None, next: trace << 20, late: 0 };
            run.request()
        })
        .collect()
}

fn text_hash(text: &str, more: u64) -> u64 {
    text.bytes().fold(more, |h, b| hash(&[h, u64::from(b)]))
}

pub(super) struct Run<'a> {
    pub(super) system: &'a System,
    pub(super) trace: u64,
    /// Answers that are there, by what was asked, with the time since when.
    done: BTreeMap<String, i64>,
    spans: Option<&'a mut Vec<Span>>,
    next: u64,
    /// End of the last work that nobody waits for.
    late: i64,
}

/// Beginning of the first request; one request a second.
const EPOCH: i64 = 1_700_000_000_000_000_000;

impl Run<'_> {
    fn request(&mut self) -> i64 {
        let start = EPOCH + self.trace as i64 * 1_000_000_000;
        // Messages belong to the request: it is done when they are handled.
        self.handler(0, 0, start, 1).max(self.late) - start
    }

    /// From 0 to 1 for this place.
    pub(super) fn draw(&self, place: u64, what: u64) -> f64 {
        (hash(&[self.system.seed, self.trace, place, what]) >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(super) fn id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    #[allow(clippy::too_many_arguments)]
    pub(super) fn emit(
        &mut self,
        id: u64,
        parent: u64,
        service: &str,
        name: &str,
        kind: u8,
        (start, end): (i64, i64),
        attributes: Vec<(&'static str, String)>,
    ) {
        let trace = self.trace;
        if let Some(spans) = self.spans.as_mut() {
            spans.push(Span { trace, id, parent, service: service.into(), name: name.into(), kind, start, end, attributes, error: false });
        }
    }

    /// The span that was emitted last failed.
    pub(super) fn fail_last(&mut self) {
        if let Some(span) = self.spans.as_mut().and_then(|spans| spans.last_mut()) {
            span.error = true;
        }
    }

    /// Work that nobody waits for ends then.
    pub(super) fn later(&mut self, end: i64) {
        self.late = self.late.max(end);
    }

    /// Runs a handler; gives its end.
    fn handler(&mut self, op: usize, parent: u64, start: i64, place: u64) -> i64 {
        let system = self.system;
        let own = &system.ops[op];
        let id = self.id();
        let mut now = start;
        for (i, step) in own.steps.iter().enumerate() {
            let here = hash(&[place, i as u64]);
            now = match step {
                Step::Work(us) => now + self.work(*us, here, 0),
                Step::Calls(calls) => self.calls(op, calls, id, now, here),
                Step::Act(act) => self.act(op, act, id, now, here),
                Step::Together(all) => {
                    let ends = all.iter().enumerate().map(|(k, calls)| self.calls(op, calls, id, now, hash(&[here, k as u64])));
                    ends.max().unwrap_or(now)
                }
            };
        }
        self.emit(id, parent, &own.service, &own.name, 2, (start, now), Vec::new());
        now
    }

    pub(super) fn work(&self, us: u32, place: u64, what: u64) -> i64 {
        (f64::from(us) * (0.6 + 0.8 * self.draw(place, what))) as i64 * US
    }

    fn count(&self, count: Count) -> u32 {
        match count {
            Count::Fixed(n) => n,
            // The same number of items wherever the request loops over them.
            Count::Items(low, high) => low + (hash(&[self.system.seed, self.trace, 0x17e5]) % u64::from(high - low + 1)) as u32,
        }
    }

    fn calls(&mut self, op: usize, calls: &Calls, parent: u64, start: i64, place: u64) -> i64 {
        let n = self.count(calls.count);
        let mut now = start;
        match calls.how {
            How::Serial => {
                for k in 0..n {
                    if k > 0 {
                        now += self.work(calls.gap_us, hash(&[place, u64::from(k)]), 1);
                    }
                    now = self.call(op, calls, k, parent, now, place);
                }
            }
            How::Once => {
                for k in 0..n {
                    if k == 0 {
                        now = self.call(op, calls, 0, parent, now, place);
                    } else {
                        now += self.work(calls.gap_us, hash(&[place, u64::from(k)]), 1);
                    }
                }
            }
            How::OncePerTrace => {
                let key = format!("{:?}", calls.target);
                match self.done.get(&key) {
                    Some(since) => now = now.max(*since),
                    None => {
                        now = self.call(op, calls, 0, parent, now, place);
                        self.done.insert(key, now);
                    }
                }
            }
            How::Parallel(workers) => {
                let mut free = vec![start; workers.clamp(1, n.max(1)) as usize];
                for k in 0..n {
                    let first = free.iter().enumerate().min_by_key(|(i, t)| (**t, *i)).map_or(0, |(i, _)| i);
                    // Starting a call takes the caller a little of its own time.
                    let begin = free[first].max(start + i64::from(k) * 20 * US);
                    free[first] = self.call(op, calls, k, parent, begin, place);
                }
                now = free.into_iter().max().unwrap_or(start);
            }
            How::Batched(part) => {
                let costs: Vec<(i64, i64)> = (0..n).map(|k| self.cost(calls, k, start, place)).collect();
                let overhead = costs.iter().map(|c| c.0).min().unwrap_or(0);
                let rows: i64 = costs.iter().map(|c| c.1).sum();
                let slowest = costs.iter().map(|c| c.1).max().unwrap_or(0);
                now += overhead + ((rows as f64 * part) as i64).max(slowest);
            }
        }
        now
    }

    /// What one call takes whatever it asks for, and what its rows take; without leaving spans.
    fn cost(&mut self, calls: &Calls, k: u32, start: i64, place: u64) -> (i64, i64) {
        let here = hash(&[place, u64::from(k), 7]);
        match &calls.target {
            Target::Query { overhead_us, rows_us, .. } => {
                let tail = if self.draw(here, 4) < 0.05 { 3.0 } else { 1.0 };
                let rows = (f64::from(*rows_us) * (0.5 + self.draw(here, 2)) * tail) as i64 * US;
                ((f64::from(*overhead_us) * (0.97 + 0.06 * self.draw(here, 3))) as i64 * US, rows)
            }
            Target::Op { op, net_us } => {
                let (net, op) = (i64::from(*net_us) * US, *op);
                let kept = self.spans.take();
                let next = self.next;
                let rows = self.handler(op, 0, start + net, here) - start - net;
                self.spans = kept;
                self.next = next;
                (2 * net, rows)
            }
        }
    }

    /// One call with its spans; gives its end.
    fn call(&mut self, op: usize, calls: &Calls, k: u32, parent: u64, start: i64, place: u64) -> i64 {
        let system = self.system;
        let service = &system.ops[op].service;
        let here = hash(&[place, u64::from(k), 7]);
        let value = match calls.values {
            Values::Distinct => Some((hash(&[here, self.trace, 11]) % 1_000_000).to_string()),
            // The same wherever the request asks.
            Values::Same => Some((text_hash(&format!("{:?}", calls.target), self.trace) % 1_000_000).to_string()),
            Values::Hidden => None,
        };
        match &calls.target {
            Target::Query { text, .. } => {
                let (overhead, rows) = self.cost(calls, k, start, place);
                let end = start + overhead + rows;
                let id = self.id();
                let statement = value.map_or(text.clone(), |v| text.replace('?', &v));
                let attributes = vec![("db.system", "postgresql".to_string()), ("db.statement", statement)];
                self.emit(id, parent, service, text.split(' ').next().unwrap_or("query"), 3, (start, end), attributes);
                end
            }
            Target::Op { op: callee, net_us } => {
                let net = i64::from(*net_us) * US;
                let id = self.id();
                let end = self.handler(*callee, id, start + net, here) + net;
                let name = &system.ops[*callee].name;
                let mut attributes = vec![("http.request.method", name.split(' ').next().unwrap_or("GET").to_string())];
                if let Some(value) = value {
                    let path = name.split(' ').nth(1).unwrap_or("/");
                    attributes.push(("url.full", format!("http://{}{path}/{value}", system.ops[*callee].service)));
                }
                self.emit(id, parent, service, name, 3, (start, end), attributes);
                end
            }
        }
    }
}
