//! What-if: changes to a trace as people write them, resolved to spans and replayed.
//!
//! `zero:ID`, `batch:ID+siblings`, `parallel:ID+siblings:4`, `scale:ID:0.5`, `set:ID:12ms`, `rtt:2ms`. An id may be followed by
//! `+siblings` (the spans under the same parent that are alike, see [`Alike`]) or `+all` (those of the whole trace); several ids
//! are separated by commas. The page keeps these texts in its address, the command takes them as `--what-if`.

use super::batch::batch_bounds;
use super::clipped::Clipped;
use super::normalize;
use super::replay::{Edit, Replayed, replay, replay_times};
use crate::base::ids::{OperationId, ServiceId, SpanRow, StringId, TraceRow};
use crate::base::intern::StringTable;
use crate::base::quantity::parse_duration;
use crate::model::trace::{AttrValue, SpanKind, TraceSet};
use std::collections::BTreeMap;

/// What happens to the spans of a change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verb {
    /// They take no time: removed, or answered by a cache.
    Zero,
    /// One call does the work of all.
    Batch,
    /// They run side by side, so many at once; 0 for all at once.
    Parallel(usize),
    /// They take so many times what they took.
    Scale(f64),
    /// They take so many nanoseconds each.
    Set(i64),
    /// Every remote call of the trace takes so many nanoseconds more.
    Rtt(i64),
}

/// Which spans an id stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The span itself.
    One,
    /// All that are like it under its parent.
    Siblings,
    /// All that are like it in the trace.
    All,
}

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// What happens.
    pub verb: Verb,
    /// To which spans, by id.
    pub spans: Vec<(String, Reach)>,
}

/// What is accepted, for messages.
const FORMS: &str = "zero:ID, batch:ID+siblings, parallel:ID+siblings:4, scale:ID:0.5, set:ID:12ms, rtt:2ms";

/// Reads one change.
///
/// # Errors
/// A sentence that says what is wrong and what is accepted.
pub fn parse(text: &str) -> Result<Change, String> {
    let wrong = |why: &str| format!("\u{201c}{text}\u{201d} is no what-if: {why}; accepted are {FORMS}");
    let mut parts = text.split(':');
    let (word, first, second) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""), parts.next());
    if parts.next().is_some() {
        return Err(wrong("there are too many colons"));
    }
    let duration = |text: &str| parse_duration(text).ok_or_else(|| wrong("the duration is none"));
    if word == "rtt" {
        return if second.is_some() {
            Err(wrong("rtt takes one duration"))
        } else {
            Ok(Change { verb: Verb::Rtt(duration(first)?), spans: Vec::new() })
        };
    }
    let verb = match (word, second) {
        ("zero", None) => Verb::Zero,
        ("batch", None) => Verb::Batch,
        ("parallel", None) => Verb::Parallel(0),
        ("parallel", Some(n)) => Verb::Parallel(n.parse().map_err(|_| wrong("the number of workers is none"))?),
        ("scale", Some(f)) => {
            let factor = f.parse::<f64>().ok().filter(|f| f.is_finite() && (0.0..=1000.0).contains(f));
            Verb::Scale(factor.ok_or_else(|| wrong("the factor is no number from 0 to 1000"))?)
        }
        ("set", Some(d)) => Verb::Set(duration(d)?),
        ("scale" | "set", None) => return Err(wrong("a value is missing at the end")),
        ("zero" | "batch", Some(_)) => return Err(wrong("it takes no value")),
        _ => return Err(wrong("it begins with an unknown word")),
    };
    let mut spans = Vec::new();
    for id in first.split(',').map(str::trim).filter(|id| !id.is_empty()) {
        let (id, reach) = match id.split_once('+') {
            None => (id, Reach::One),
            Some((id, "siblings")) => (id, Reach::Siblings),
            Some((id, "all")) => (id, Reach::All),
            Some(_) => return Err(wrong("after a + there is neither siblings nor all")),
        };
        spans.push((id.to_string(), reach));
    }
    if spans.is_empty() {
        return Err(wrong("no span is named"));
    }
    Ok(Change { verb, spans })
}

/// What the changes make of a trace.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// What the headline root took, nanoseconds.
    pub before_ns: i64,
    /// What it would take at best, nanoseconds.
    pub best_ns: i64,
    /// What it would take at worst. Differs where a batch is among the changes.
    pub worst_ns: i64,
    /// The spans of each change, in order of start.
    pub spans: Vec<Vec<SpanRow>>,
    /// Where every span would lie at worst.
    pub times: Replayed,
}

/// Applies all changes at once and replays the trace.
///
/// # Errors
/// A sentence when a span does not exist, the trace has no root, or changes contradict each other.
pub fn apply(set: &TraceSet, strings: &StringTable, trace: TraceRow, changes: &[Change]) -> Result<Outcome, String> {
    let root = set.traces.root[trace.index()].get().ok_or("the trace has no root whose duration could change")?;
    let clipped = Clipped::of(set, trace);
    let ids = Ids::new(set, trace);
    let (mut low, mut high) = (Edit::default(), Edit::default());
    let mut workers: Option<usize> = None;
    let mut out = Outcome { before_ns: clipped.duration(root), ..Outcome::default() };
    for change in changes {
        let spans = ids.resolve(set, strings, trace, change)?;
        let both = |edit: Edit| (edit.clone(), edit);
        let (slow, fast) = match change.verb {
            Verb::Zero => both(Edit::zero(&spans)),
            Verb::Batch => {
                // Nobody batches calls that are done sooner side by side.
                let (fast, slow) = batch_bounds(set, &spans);
                let slow = slow.min(wall(set, &spans)).max(fast);
                (Edit::batch(&spans, slow, true), Edit::batch(&spans, fast, false))
            }
            Verb::Parallel(n) => {
                if workers.is_some_and(|w| w != n) {
                    return Err("several parallel changes need the same number of workers".to_string());
                }
                workers = Some(n);
                both(Edit::parallel(&spans, if n == 0 { usize::MAX } else { n }))
            }
            Verb::Scale(factor) => both(Edit::scale(&spans, factor)),
            Verb::Set(ns) => both(spans.iter().fold(Edit::default(), |edit, s| edit.and(Edit::set(*s, ns)))),
            Verb::Rtt(ns) => both(Edit::add_rtt(&spans, ns)),
        };
        (low, high) = (low.and(slow), high.and(fast));
        out.spans.push(spans);
    }
    let (a, b) = (replay(set, &clipped, root, &low), replay(set, &clipped, root, &high));
    (out.best_ns, out.worst_ns) = (a.min(b), a.max(b));
    out.times = replay_times(set, &clipped, if a >= b { &low } else { &high });
    Ok(out)
}

/// How long at least one of the spans was under way, nanoseconds; spans in order of start.
fn wall(set: &TraceSet, spans: &[SpanRow]) -> i64 {
    let (mut union, mut covered) = (0, i64::MIN);
    for span in spans {
        let (from, to) = (set.spans.start_ns[span.index()].max(covered), set.spans.end_ns(*span));
        if to > from {
            union += to - from;
            covered = to;
        }
    }
    union
}

/// How long `root` takes less if a span takes no time: its drag (CRISP's word). At most the span's duration.
pub fn drag(set: &TraceSet, clipped: &Clipped, root: SpanRow, span: SpanRow) -> i64 {
    if span == root { clipped.duration(root) } else { clipped.duration(root) - replay(set, clipped, root, &Edit::zero(&[span])) }
}

/// Spans of a trace by id; of several with one id the first.
struct Ids(BTreeMap<u64, SpanRow>);

impl Ids {
    fn new(set: &TraceSet, trace: TraceRow) -> Ids {
        Ids(set.traces.spans(trace).rev().map(|s| (set.spans.id[s.index()], s)).collect())
    }

    fn resolve(&self, set: &TraceSet, strings: &StringTable, trace: TraceRow, change: &Change) -> Result<Vec<SpanRow>, String> {
        let mut out: Vec<SpanRow> = Vec::new();
        if let Verb::Rtt(_) = change.verb {
            out.extend(set.traces.spans(trace).filter(|s| is_remote_call(set, *s)));
            return Ok(out);
        }
        let alike = Alike::new(strings);
        for (id, reach) in &change.spans {
            let (number, _) = crate::model::trace::span_id(id);
            let span = self.0.get(&number).copied().filter(|_| number != 0);
            let span = span.ok_or_else(|| format!("there is no span {id} in trace {}", strings.get(set.traces.id[trace.index()])))?;
            match reach {
                Reach::One => out.push(span),
                Reach::Siblings => out.extend(alike.siblings(set, strings, span)),
                Reach::All => out.extend(alike.all(set, strings, trace, span)),
            }
        }
        out.sort_by_key(|s| (set.spans.start_ns[s.index()], *s));
        out.dedup();
        Ok(out)
    }
}

/// Which spans are alike: those of one service and name that call the same. Clients are often named by their method alone
/// (`GET`, `SELECT`), so the operation that answers and the statement without its values count too.
pub struct Alike {
    statements: Vec<StringId>,
}

/// Service, name, operation that answers, normalised statement.
type Likeness = (ServiceId, StringId, Option<OperationId>, Option<String>);

impl Alike {
    /// For the texts of a session.
    pub fn new(strings: &StringTable) -> Alike {
        Alike { statements: ["db.query.text", "db.statement", "sql.query"].iter().filter_map(|key| strings.find(key)).collect() }
    }

    fn key(&self, set: &TraceSet, strings: &StringTable, span: SpanRow) -> Likeness {
        let answer = set.children(span).iter().find(|c| set.service(**c) != set.service(span));
        let statement = if self.statements.is_empty() {
            None
        } else {
            set.span_attrs(span).find_map(|(key, value)| match value {
                AttrValue::Text(id) if self.statements.contains(&key) => Some(normalize::sql(strings.get(id), false).text),
                _ => None,
            })
        };
        let name = set.operations.name[set.spans.operation[span.index()].index()];
        (set.service(span), name, answer.map(|a| set.spans.operation[a.index()]), statement)
    }

    fn like(&self, set: &TraceSet, strings: &StringTable, span: SpanRow, list: impl Iterator<Item = SpanRow>) -> Vec<SpanRow> {
        let own = self.key(set, strings, span);
        let name = |s: SpanRow| set.operations.name[set.spans.operation[s.index()].index()];
        // Names are compared first: what is asked of a span beyond its name takes a look at its attributes.
        list.filter(|s| name(*s) == own.1 && self.key(set, strings, *s) == own).collect()
    }

    /// Those under the span's parent, itself included.
    pub fn siblings(&self, set: &TraceSet, strings: &StringTable, span: SpanRow) -> Vec<SpanRow> {
        match set.spans.parent[span.index()].get() {
            Some(parent) => self.like(set, strings, span, set.children(parent).iter().copied()),
            None => vec![span],
        }
    }

    /// Those of its trace, itself included.
    pub fn all(&self, set: &TraceSet, strings: &StringTable, trace: TraceRow, span: SpanRow) -> Vec<SpanRow> {
        self.like(set, strings, span, set.traces.spans(trace))
    }
}

/// The caller's span of a call to another service, or the callee's where the caller recorded none.
fn is_remote_call(set: &TraceSet, span: SpanRow) -> bool {
    let parent = set.spans.parent[span.index()].get();
    set.kind(span) == SpanKind::Client
        || parent.is_some_and(|p| set.service(p) != set.service(span) && !matches!(set.kind(p), SpanKind::Client | SpanKind::Producer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::drawn::{Drawn, S, add};

    /// A request with ten calls of one operation, in nanoseconds; ids are hashes of names, so they are looked up.
    fn request() -> Drawn {
        let mut t = Drawn { strings: StringTable::default(), set: TraceSet::default() };
        let names: Vec<String> = (0..10).map(|i| format!("l{i} client")).collect();
        let mut spans = vec![S { name: "root", start: 0, dur: 1000, ..S::default() }];
        spans.extend(names.iter().enumerate().map(|(i, n)| S {
            name: n,
            parent: "root",
            operation: "get",
            start: 50 + 20 * i as i64,
            dur: 15,
            ..S::default()
        }));
        add(&mut t, "t1", &spans);
        t.set.link();
        t
    }

    fn run(t: &Drawn, texts: &[String]) -> Result<Outcome, String> {
        let changes: Result<Vec<Change>, String> = texts.iter().map(|t| parse(t)).collect();
        apply(&t.set, &t.strings, TraceRow(0), &changes?)
    }

    #[test]
    fn changes_are_read_resolved_and_replayed() {
        let t = request();
        let id = t.set.id_text(&t.strings, t.set.spans.id[t.span("l3 client").index()]);
        let after = |text: &str| {
            let o = run(&t, &[text.replace("ID", &id)]).unwrap();
            (o.spans[0].len(), o.best_ns, o.worst_ns)
        };
        assert_eq!(after("zero:ID"), (1, 985, 985));
        assert_eq!(after("zero:ID+siblings"), (10, 850, 850));
        assert_eq!(after("zero:ID+all"), (10, 850, 850));
        // At best as long as one call and without gaps, at worst what is common once: all 15 of each.
        assert_eq!(after("batch:ID+siblings"), (10, 820, 865));
        assert_eq!(after("parallel:ID+siblings"), (10, 820, 820));
        assert_eq!(after("parallel:ID+siblings:5"), (10, 835, 835));
        assert_eq!(after("scale:ID+siblings:2"), (10, 1150, 1150));
        assert_eq!(after("set:ID:5ns"), (1, 990, 990));
        assert_eq!(after("rtt:2ns"), (10, 1020, 1020));
        let both = run(&t, &[format!("zero:{id}"), "rtt:2ns".to_string()]).unwrap();
        assert_eq!((both.before_ns, both.worst_ns), (1000, 1000 - 15 + 18));
    }

    #[test]
    fn calls_of_one_name_are_told_apart_by_what_they_call() {
        let mut t = Drawn { strings: StringTable::default(), set: TraceSet::default() };
        let sql = |text: &'static str| [("db.statement", text)];
        let (a, b, c) = (sql("SELECT x FROM a WHERE id = 1"), sql("SELECT x FROM a WHERE id = 2"), sql("SELECT x FROM b WHERE id = 2"));
        let call = |name, start| S { name, parent: "root", operation: "GET", start, dur: 5, ..S::default() };
        let answer = |name, parent, operation, start| S { name, parent, operation, service: "other", start, dur: 3, ..S::default() };
        let query = |name, start, attrs| S { name, parent: "root", operation: "SELECT", start, dur: 5, attrs, ..S::default() };
        add(
            &mut t,
            "t1",
            &[
                S { name: "root", dur: 100, ..S::default() },
                call("1 client", 10),
                call("2 client", 20),
                call("3 client", 30),
                answer("1 server", "1 client", "GET /x", 11),
                answer("2 server", "2 client", "GET /y", 21),
                answer("3 server", "3 client", "GET /x", 31),
                query("q1 client", 40, &a),
                query("q2 client", 50, &b),
                query("q3 client", 60, &c),
            ],
        );
        t.set.link();
        let alike = Alike::new(&t.strings);
        let of = |name: &str| alike.siblings(&t.set, &t.strings, t.span(name)).len();
        assert_eq!((of("1 client"), of("2 client"), of("q1 client"), of("q3 client"), of("root")), (2, 1, 2, 1, 1));
        assert_eq!(alike.all(&t.set, &t.strings, TraceRow(0), t.span("q2 client")).len(), 2);
    }

    #[test]
    fn mistakes_get_a_sentence() {
        let t = request();
        for (text, part) in [
            ("zero", "no span is named"),
            ("zero:77", "there is no span 77"),
            ("scale:1", "a value is missing"),
            ("scale:1:x", "factor"),
            ("batch:1+brothers", "neither siblings nor all"),
            ("rtt:soon", "the duration is none"),
            ("split:1", "unknown word"),
            ("zero:1:2:3", "too many colons"),
        ] {
            let error = run(&t, &[text.to_string()]).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        let id = t.set.id_text(&t.strings, t.set.spans.id[t.span("l3 client").index()]);
        let error = run(&t, &[format!("parallel:{id}:2"), format!("parallel:{id}:3")]).unwrap_err();
        assert!(error.contains("same number of workers"), "{error}");
    }

    #[test]
    fn drag_is_bounded_by_what_runs_beside() {
        let t = crate::analysis::drawn::draw(&[("root", "", 0, 100), ("a", "root", 10, 30), ("b", "root", 10, 20), ("c", "root", 50, 40)]);
        let clipped = Clipped::of(&t.set, TraceRow(0));
        let of = |name: &str| drag(&t.set, &clipped, t.set.traces.root[0], t.span(name));
        assert_eq!((of("a"), of("b"), of("c"), of("root")), (10, 0, 40, 100));
    }
}
