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
        let mut run = Run { system, trace, done: BTreeMap::new(), spans: Some(&mut out), next: trace << 20, late: 0, delay: 0 };
        run.request();
    }
    out
}

/// The time until each request is answered, nanoseconds, in ascending order.
pub fn answers(system: &System) -> Vec<i64> {
    let mut out: Vec<i64> = (0..system.traces)
        .map(|trace| Run { system, trace, done: BTreeMap::new(), spans: None, next: trace << 20, late: 0, delay: 0 }.request())
        .collect();
    out.sort_unstable();
    out
}

/// Of all requests the time until each is done, and until each is answered: messages are handled after the answer.
/// Nanoseconds.
pub fn durations(system: &System) -> (i64, i64) {
    (0..system.traces).fold((0, 0), |(done, answered), trace| {
        let mut run = Run { system, trace, done: BTreeMap::new(), spans: None, next: trace << 20, late: 0, delay: 0 };
        let answer = run.request();
        (done + answer.max(run.late - run.begin()), answered + answer)
    })
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
    /// By how much the next query is late, nanoseconds.
    delay: i64,
}

/// Beginning of the first request; one request a second.
const EPOCH: i64 = 1_700_000_000_000_000_000;

impl Run<'_> {
    fn begin(&self) -> i64 {
        EPOCH + self.trace as i64 * 1_000_000_000
    }

    /// Executes the request; gives the time until it is answered.
    fn request(&mut self) -> i64 {
        let start = self.begin();
        self.handler(0, 0, start, 1) - start
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
        let error = attributes.iter().any(|(key, _)| *key == "error.type");
        if let Some(spans) = self.spans.as_mut() {
            spans.push(Span { trace, id, parent, service: service.into(), name: name.into(), kind, start, end, attributes, error });
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
                Step::Rounds(all, gap_us) => {
                    let mut at = now;
                    for k in 0..all.first().map_or(0, |calls| self.count(calls.count)) {
                        for (kind, calls) in all.iter().enumerate() {
                            let place = hash(&[here, kind as u64]);
                            at += self.work(*gap_us, hash(&[place, u64::from(k)]), 1);
                            at = self.call(op, calls, k, id, at, place);
                        }
                    }
                    at
                }
                Step::InTurn(all, gap_us) => {
                    let mut at = now;
                    for (k, calls) in all.iter().enumerate() {
                        if k > 0 {
                            at += self.work(*gap_us, hash(&[here, k as u64]), 1);
                        }
                        at = self.calls(op, calls, id, at, hash(&[here, k as u64]));
                    }
                    at
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
            Count::Rare { usual, rare, percent } => {
                // Evenly spread, so that a few hundred requests have about as many as the percentage says.
                let every = u64::from(100 / percent.max(1));
                if self.trace % every == hash(&[self.system.seed, 0x7a11]) % every { rare } else { usual }
            }
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
            How::Late(late_us) => {
                if self.trace % 6 == self.system.seed % 6 {
                    self.delay = i64::from(late_us) * US;
                }
                now = self.call(op, calls, 0, parent, now, place);
            }
            How::Retried(attempts, pause_us) => {
                for k in 0..n {
                    if k > 0 {
                        now += self.work(calls.gap_us, hash(&[place, u64::from(k)]), 1);
                    }
                    for attempt in 1..attempts {
                        let here = hash(&[place, u64::from(k), u64::from(attempt), 13]);
                        now = self.failure(op, calls, k, parent, now, place);
                        now += self.work(pause_us << (attempt - 1).min(6), here, 1);
                    }
                    now = self.call(op, calls, k, parent, now, place);
                }
            }
            How::Again(attempts, pause_us) => {
                for k in 0..n {
                    for attempt in 1..attempts {
                        let here = hash(&[place, u64::from(k), u64::from(attempt), 29]);
                        now = self.call_that(op, calls, k, parent, now, place, true);
                        now += self.work(pause_us, here, 1);
                    }
                    now = self.call(op, calls, k, parent, now, place);
                }
            }
            How::Crowded => {
                for k in 0..n {
                    let begin = start + i64::from(k) * 20 * US;
                    let (overhead, rows) = self.cost(calls, k, begin, place);
                    // The callee does one thing at a time: each call also waits for those before it.
                    self.delay = (overhead + rows) * i64::from(k);
                    now = now.max(self.call(op, calls, k, parent, begin, place));
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
                let rows: i64 = costs.iter().map(|c| c.1).sum();
                let (overhead, slowest) = costs.iter().copied().max_by_key(|c| c.1).unwrap_or((0, 0));
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

    /// Span name and attributes of a call.
    fn asked(&self, calls: &Calls, k: u32, place: u64) -> (String, Vec<(&'static str, String)>) {
        let here = hash(&[place, u64::from(k), 7]);
        let value = match calls.values {
            Values::Distinct => Some((hash(&[here, self.trace, 11]) % 1_000_000).to_string()),
            // The same wherever the request asks.
            Values::Same => Some((text_hash(&format!("{:?}", calls.target), self.trace) % 1_000_000).to_string()),
            Values::Hidden => None,
        };
        match &calls.target {
            Target::Query { text, .. } => {
                let statement = value.map_or(text.clone(), |v| text.replace('?', &v));
                let attributes = vec![("db.system", "postgresql".to_string()), ("db.statement", statement)];
                (text.split(' ').next().unwrap_or("query").to_string(), attributes)
            }
            Target::Op { op: callee, .. } => {
                let callee = &self.system.ops[*callee];
                let (verb, path) = callee.name.split_once(' ').unwrap_or(("GET", "/"));
                let mut attributes = vec![("http.request.method", verb.to_string())];
                if let Some(value) = value {
                    attributes.push(("url.full", format!("http://{}{path}/{value}", callee.service)));
                }
                (callee.name.clone(), attributes)
            }
        }
    }

    /// One call that fails on its way; gives its end. It takes what the call would have taken at the least.
    fn failure(&mut self, op: usize, calls: &Calls, k: u32, parent: u64, start: i64, place: u64) -> i64 {
        let system = self.system;
        let (overhead, rows) = self.cost(calls, k, start, place);
        let end = start + overhead + rows / 2;
        let (name, mut attributes) = self.asked(calls, k, place);
        attributes.push(("error.type", "timeout".to_string()));
        let id = self.id();
        self.emit(id, parent, &system.ops[op].service, &name, 3, (start, end), attributes);
        end
    }

    /// One call with its spans; gives its end.
    fn call(&mut self, op: usize, calls: &Calls, k: u32, parent: u64, start: i64, place: u64) -> i64 {
        self.call_that(op, calls, k, parent, start, place, false)
    }

    #[allow(clippy::too_many_arguments)]
    fn call_that(&mut self, op: usize, calls: &Calls, k: u32, parent: u64, start: i64, place: u64, fails: bool) -> i64 {
        let system = self.system;
        let service = &system.ops[op].service;
        let (name, mut attributes) = self.asked(calls, k, place);
        if fails {
            attributes.push(("error.type", "timeout".to_string()));
        }
        let (id, end);
        match &calls.target {
            Target::Query { .. } => {
                let (overhead, rows) = self.cost(calls, k, start, place);
                end = start + overhead + rows + std::mem::take(&mut self.delay);
                id = self.id();
            }
            Target::Op { op: callee, net_us } => {
                let net = i64::from(*net_us) * US;
                id = self.id();
                end = self.handler(*callee, id, start + net, hash(&[place, u64::from(k), 7])) + net;
            }
        }
        self.emit(id, parent, service, &name, 3, (start, end), attributes);
        end
    }
}
