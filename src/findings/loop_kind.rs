//! What kind of loop equal calls are: the query that gave their keys, pages, polls, jobs.

use super::calls::Call;
use super::chatty::Group;
use crate::base::ids::SpanRow;
use crate::model::Session;
use crate::model::trace::{AttrValue, SpanKind, TraceSet};

use super::calls::CallTable;

/// How many calls before the loop are looked at for its source.
const BEFORE: usize = 64;
/// Attributes with the number of rows that a query returned, new and old names.
const ROWS: [&str; 5] = ["db.response.returned_rows", "db.sql.rows", "db.rows", "db.row_count", "db.rows_affected"];
/// Shortest pause between polls, nanoseconds.
const POLL_NS: i64 = 200_000_000;

/// The call that the loop's keys may come from ("the 1" of N+1): the last other call of the execution that ended before the
/// loop began; and the rows that it returned, where that is recorded.
pub fn source(session: &Session, table: &CallTable, g: &Group) -> Option<(SpanRow, Option<i64>)> {
    let set = &session.traces;
    let first = g.calls.first()?;
    let begin = set.spans.start_ns[first.span.index()];
    let list = table.of(g.trace);
    let at = list.partition_point(|c| (set.spans.start_ns[c.span.index()], c.span) < (begin, first.span));
    let own = |c: &&Call| c.scope == g.scope && c.signature != first.signature && set.spans.end_ns(c.span) <= begin;
    let source = list[..at].iter().rev().take(BEFORE).find(own)?.span;
    Some((source, number(session, source, &ROWS)))
}

/// An attribute as number, by the first of several names that the span has.
fn number(session: &Session, span: SpanRow, names: &[&str]) -> Option<i64> {
    session.traces.span_attrs(span).filter(|(key, _)| names.contains(&session.strings.get(*key))).find_map(|(_, value)| match value {
        AttrValue::Int(n) => Some(n),
        AttrValue::Text(id) => session.strings.get(id).parse().ok(),
        _ => None,
    })
}

/// Whether the calls come at regular intervals of at least 200 ms: somebody waits for a change.
pub fn polls(set: &TraceSet, calls: &[Call]) -> bool {
    let pauses = || calls.windows(2).map(|p| set.spans.start_ns[p[1].span.index()] - set.spans.end_ns(p[0].span));
    let (least, most) = (pauses().min().unwrap_or(0), pauses().max().unwrap_or(0));
    calls.len() >= 3 && least >= POLL_NS && (most - least) as f64 <= 0.25 * most as f64
}

/// What a loop is part of, if nobody waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Job {
    /// The handling of so many messages.
    Messages(u64),
    /// A scheduled or bulk job.
    Bulk,
}

/// Words in the names of jobs.
const JOBS: [&str; 7] = ["cron", "schedul", "batch", "import", "migrat", "nightly", "backfill"];

/// The job that a loop belongs to.
pub fn job(session: &Session, g: &Group) -> Option<Job> {
    let set = &session.traces;
    let root = set.traces.root[g.trace.index()].get()?;
    let handles = [g.scope, root].into_iter().find(|s| set.kind(*s) == SpanKind::Consumer);
    if let Some(span) = handles {
        let count = number(session, span, &["messaging.batch.message_count"]).and_then(|n| u64::try_from(n).ok());
        return Some(Job::Messages(count.unwrap_or(1).max(1)));
    }
    let name = set.name(&session.strings, root).to_ascii_lowercase();
    let asked = set.kind(root) == SpanKind::Server;
    (!asked && JOBS.iter().any(|word| name.contains(word))).then_some(Job::Bulk)
}
