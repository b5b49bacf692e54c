//! Attempts: the same call made again because it failed. They are told apart from loops and duplicates, whose calls succeed.

use super::call_facts::Ending;
use super::calls::{Call, CallTable};
use crate::base::ids::{SpanRow, StringId, TraceRow};
use crate::base::work::step;
use crate::model::trace::TraceSet;
use std::collections::{BTreeMap, BTreeSet};

/// Attempts at one thing by one execution, in order of start, none overlapping another.
#[derive(Clone, Debug)]
pub struct Attempts {
    /// Their trace.
    pub trace: TraceRow,
    /// The calls; all but possibly the last failed.
    pub calls: Vec<Call>,
    /// The attempts (position in [`AllAttempts::runs`]) below one of whose calls these were made.
    pub under: Option<usize>,
}

impl Attempts {
    /// The failed ones that another followed.
    pub fn failed(&self) -> &[Call] {
        &self.calls[..self.calls.len() - 1]
    }

    /// Whether the last one succeeded.
    pub fn succeeded(&self) -> bool {
        self.calls.last().is_some_and(|c| c.ending != Ending::Transient)
    }

    /// Pauses between the attempts, nanoseconds.
    pub fn pauses<'a>(&'a self, set: &'a TraceSet) -> impl Iterator<Item = i64> + 'a {
        self.calls.windows(2).map(|pair| set.spans.start_ns[pair[1].span.index()] - set.spans.end_ns(pair[0].span))
    }
}

/// All attempts of a session.
#[derive(Debug, Default)]
pub struct AllAttempts {
    /// By trace, outer ones before those below them.
    pub runs: Vec<Attempts>,
    /// Calls that failed and were made again: other rules leave them to the rule on retries.
    pub repeated: BTreeSet<SpanRow>,
}

impl AllAttempts {
    /// Finds them in every trace.
    pub fn new(set: &TraceSet, calls: &CallTable) -> AllAttempts {
        let mut out = AllAttempts::default();
        let mut order: Vec<(SpanRow, StringId, Option<u64>, usize)> = Vec::new();
        for trace in (0..set.traces.len()).map(TraceRow::from_index) {
            let list = calls.of(trace);
            // Without a failure or a resend there is nothing to find, which is the case for nearly all traces.
            if !list.iter().any(|c| c.ending == Ending::Transient || c.resent) {
                continue;
            }
            let first = out.runs.len();
            order.clear();
            order.extend(list.iter().enumerate().map(|(i, c)| (c.scope, c.signature, c.values, i)));
            order.sort_unstable();
            for equal in order.chunk_by(|a, b| (a.0, a.1, a.2) == (b.0, b.1, b.2)).filter(|e| e.len() > 1) {
                let mut run: Vec<Call> = Vec::new();
                for call in equal.iter().map(|e| list[e.3]) {
                    step(1);
                    let follows = run.last().is_some_and(|last| {
                        let after = set.spans.start_ns[call.span.index()] >= set.spans.end_ns(last.span);
                        let again = last.ending == Ending::Transient || (call.resent && last.ending == Ending::Fine);
                        after && again
                    });
                    if !follows {
                        out.close(trace, std::mem::take(&mut run));
                    }
                    run.push(call);
                }
                out.close(trace, run);
            }
            out.nest(set, trace, first);
        }
        out
    }

    fn close(&mut self, trace: TraceRow, calls: Vec<Call>) {
        if calls.len() > 1 {
            self.repeated.extend(calls[..calls.len() - 1].iter().map(|c| c.span));
            self.runs.push(Attempts { trace, calls, under: None });
        }
    }

    /// Sets `under` of a trace's attempts, from `first` on, and brings outer ones to the front.
    fn nest(&mut self, set: &TraceSet, trace: TraceRow, first: usize) {
        if self.runs.len() - first < 2 {
            return;
        }
        let begin = |run: &Attempts| (set.spans.depth[run.calls[0].span.index()], run.calls[0].span);
        self.runs[first..].sort_by_key(begin);
        let mut own: BTreeMap<SpanRow, usize> = BTreeMap::new();
        for (i, run) in self.runs.iter().enumerate().skip(first) {
            own.extend(run.calls.iter().map(|c| (c.span, i)));
        }
        // From the roots down: the attempts nearest above each span.
        let mut todo: Vec<(SpanRow, Option<usize>)> =
            set.traces.spans(trace).filter(|s| set.spans.parent[s.index()].is_none()).map(|s| (s, None)).collect();
        while let Some((span, above)) = todo.pop() {
            step(1);
            let here = own.get(&span).copied();
            if let Some(i) = here {
                self.runs[i].under = above;
            }
            todo.extend(set.children(span).iter().map(|c| (*c, here.or(above))));
        }
    }

    /// For each of the attempts: how often the call is made for one of the outermost caller's, and through how many levels.
    pub fn amplification(&self) -> Vec<(usize, usize)> {
        let outermost = |mut at: usize| {
            let mut levels = 1;
            while let Some(above) = self.runs[at].under.filter(|above| *above < at) {
                at = above;
                levels += 1;
            }
            (at, levels)
        };
        let places: Vec<(usize, usize)> = (0..self.runs.len()).map(outermost).collect();
        let mut sums: BTreeMap<(usize, StringId), usize> = BTreeMap::new();
        for (run, (top, _)) in self.runs.iter().zip(&places) {
            *sums.entry((*top, run.calls[0].signature)).or_default() += run.calls.len();
        }
        self.runs
            .iter()
            .zip(places)
            .map(|(run, (top, levels))| (sums.get(&(top, run.calls[0].signature)).copied().unwrap_or(0), levels))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::drawn::{Drawn, S, add};
    use crate::base::intern::StringTable;
    use crate::model::Session;
    use crate::model::trace::SpanKind;

    fn found(spans: &[S<'_>]) -> AllAttempts {
        let mut drawn = Drawn { strings: StringTable::default(), set: TraceSet::default() };
        add(&mut drawn, "t1", spans);
        drawn.set.link();
        let session = Session { traces: drawn.set, strings: drawn.strings, ..Session::default() };
        AllAttempts::new(&session.traces, &CallTable::new(&session))
    }

    fn call(name: &'static str, parent: &'static str, start: i64, attrs: &'static [(&'static str, &'static str)]) -> S<'static> {
        S { name, parent, service: "a", operation: "GET", start, dur: 10, attrs, kind: SpanKind::Client, ..S::default() }
    }

    const BAD: &[(&str, &str)] = &[("http.request.method", "GET"), ("url.full", "http://b/x/1"), ("http.response.status_code", "503")];
    const GOOD: &[(&str, &str)] = &[("http.request.method", "GET"), ("url.full", "http://b/x/1"), ("http.response.status_code", "200")];
    const OTHER: &[(&str, &str)] = &[("http.request.method", "GET"), ("url.full", "http://b/x/2"), ("http.response.status_code", "503")];
    const MISSING: &[(&str, &str)] = &[("http.request.method", "GET"), ("url.full", "http://b/x/1"), ("http.response.status_code", "404")];
    const AGAIN: &[(&str, &str)] = &[("http.request.method", "GET"), ("url.full", "http://b/x/1"), ("http.request.resend_count", "1")];
    const ROOT: S<'static> =
        S { name: "root", parent: "", service: "a", operation: "", start: 0, dur: 1000, attrs: &[], error: false, kind: SpanKind::Server };

    #[test]
    fn failures_that_are_followed_are_attempts() {
        let all = found(&[
            ROOT,
            call("1", "root", 0, BAD),
            call("2", "root", 50, BAD),
            call("3", "root", 100, GOOD),
            call("4", "root", 200, GOOD),
        ]);
        assert_eq!(all.runs.len(), 1);
        assert_eq!((all.runs[0].calls.len(), all.runs[0].succeeded(), all.repeated.len()), (3, true, 2));
        let resent = found(&[ROOT, call("1", "root", 0, GOOD), call("2", "root", 50, AGAIN)]);
        assert_eq!(resent.runs.len(), 1);
    }

    #[test]
    fn polls_other_values_and_hedges_are_not() {
        assert!(found(&[ROOT, call("1", "root", 0, MISSING), call("2", "root", 50, MISSING), call("3", "root", 99, GOOD)]).runs.is_empty());
        assert!(found(&[ROOT, call("1", "root", 0, BAD), call("2", "root", 50, OTHER)]).runs.is_empty());
        assert!(found(&[ROOT, call("1", "root", 0, BAD), call("2", "root", 5, GOOD)]).runs.is_empty(), "they overlap");
    }

    #[test]
    fn retries_below_retries_multiply() {
        let server = |name, parent, start| S {
            name,
            parent,
            service: "b",
            operation: "GET /x",
            start,
            dur: 40,
            kind: SpanKind::Server,
            ..S::default()
        };
        let outer = |name, start| S { dur: 44, ..call(name, "root", start, BAD) };
        let inner = |name, parent, start| S { service: "b", ..call(name, parent, start, OTHER) };
        let mut spans = vec![ROOT];
        for (k, [o, s, a, b, c]) in [["o0", "s0", "a0", "b0", "c0"], ["o1", "s1", "a1", "b1", "c1"]].into_iter().enumerate() {
            let at = k as i64 * 100;
            spans.extend([outer(o, at), server(s, o, at + 1), inner(a, s, at + 2), inner(b, s, at + 14), inner(c, s, at + 26)]);
        }
        let all = found(&spans);
        assert_eq!(all.runs.iter().map(|r| (r.calls.len(), r.under)).collect::<Vec<_>>(), [(2, None), (3, Some(0)), (3, Some(0))]);
        assert_eq!(all.amplification(), [(2, 1), (6, 2), (6, 2)]);
    }
}
