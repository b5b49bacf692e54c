//! One call instead of many: what it would take, and how each library and framework is told to make it.

use super::call_place;
use super::calls::{Call, Category};
use crate::analysis::batch::batch_bounds;
use crate::base::ids::SpanRow;
use crate::model::Session;
use crate::model::trace::TraceSet;

/// Libraries by a part of the name of their instrumentation, with the way in which each fetches all at once.
const LIBRARIES: &[(&str, &str)] = &[
    ("spring-data", "Spring Data JPA: `@EntityGraph(attributePaths = …)` or `JOIN FETCH` in the query; `findAllById` for keys."),
    ("hibernate", "Hibernate: `JOIN FETCH`, `@EntityGraph`, or `@BatchSize` on the association (`hibernate.default_batch_fetch_size`)."),
    ("jpa", "JPA: `JOIN FETCH` or an entity graph."),
    ("entityframework", "Entity Framework: `.Include(…)` (with `AsSplitQuery()` for several collections), or a projection with `Select`."),
    ("sqlalchemy", "SQLAlchemy: `selectinload(…)` or `joinedload(…)`; `raiseload` keeps the loop from coming back."),
    ("django", "Django: `select_related(…)` for single objects, `prefetch_related(…)` for sets."),
    ("activerecord", "Active Record: `includes(…)` or `preload(…)`; `strict_loading` keeps the loop from coming back."),
    ("active_record", "Active Record: `includes(…)` or `preload(…)`; `strict_loading` keeps the loop from coming back."),
    ("gorm", "GORM: `Preload(…)` or `Joins(…)`."),
    ("sequelize", "Sequelize: `include: […]` in `findAll`."),
    ("prisma", "Prisma: `include` or a nested `select`, `findMany({ where: { id: { in: ids } } })`; `relationLoadStrategy: \"join\"`."),
    ("typeorm", "TypeORM: `relations` or `leftJoinAndSelect`."),
    ("mongoose", "Mongoose: one `populate(…)` for the whole list, or `$in` / `$lookup`."),
    ("sea-orm", "SeaORM: `find_with_related` or the `LoaderTrait` (`load_many`)."),
    ("diesel", "Diesel: `belonging_to(&parents)` with `grouped_by`, or a join."),
    ("jdbi", "Jdbi: `@BindList` with IN, or a join with a row reducer."),
    ("r2dbc", "R2DBC: one statement with IN, or `Statement.add()` for batches."),
    ("eloquent", "Eloquent: `with(…)`; `Model::preventLazyLoading()` keeps the loop from coming back."),
    ("doctrine", "Doctrine: a fetch join in DQL (`addSelect`), or `fetch: EAGER` with `setFetchMode`."),
    ("graphql", "GraphQL: a DataLoader per request, which collects the keys of one tick."),
    ("redis", "Redis: `MGET`, `HMGET` or a pipeline for all keys."),
    ("kafka", "Kafka: `linger.ms` and `batch.size` of the producer; do not wait for each `send`."),
    ("grpc", "gRPC: a method that takes a repeated field, or one stream for all items."),
];

/// Part of the instrumentation names of object-relational mappers.
const MAPPERS: usize = 19;

/// Name of the instrumentation of a call, in lower case.
fn library(session: &Session, call: SpanRow) -> String {
    session.strings.get(session.traces.spans.scope[call.index()]).to_ascii_lowercase()
}

/// Whether an object-relational mapper makes the call.
pub fn by_mapper(session: &Session, call: SpanRow) -> bool {
    let name = library(session, call);
    LIBRARIES[..MAPPERS].iter().any(|(part, _)| name.contains(part))
}

/// What to do about a call that is made once per item: the library's own way where the instrumentation names it, on the
/// call or on a span above it, then the general one.
pub fn remedies(session: &Session, call: &Call) -> Vec<String> {
    let above = std::iter::successors(Some(call.span), |s| session.traces.spans.parent[s.index()].get().filter(|_| *s != call.scope));
    let names: Vec<String> = above.take(call_place::LEVELS).map(|s| library(session, s)).collect();
    let own = names.iter().find_map(|name| LIBRARIES.iter().find(|(part, _)| name.contains(part)));
    let mut out: Vec<String> = own.map(|(_, text)| (*text).to_string()).into_iter().collect();
    out.push(general(call.category).to_string());
    out
}

fn general(category: Category) -> &'static str {
    match category {
        Category::Db => {
            "Fetch all rows with one statement: a join, `WHERE id IN (…)`, or the ORM's eager loading (JOIN FETCH, Include, select_related, Preload, with())."
        }
        Category::Cache => "Use one MGET or a pipeline for all keys.",
        Category::Http => {
            "Ask for all items at once: a batch endpoint or a list parameter; DataLoader-style collecting where the callers are scattered."
        }
        Category::Rpc | Category::Service => "Add a method that takes a list, or collect the ids first and ask once.",
        Category::Messaging => "Publish in batches (sendBatch, linger and batch size of the producer).",
    }
}

/// Durations of a batched call, at best and at worst: the slowest member; what the members have in common paid once and the
/// rest in sum. In common is the way to the callee and back where both halves of the calls are recorded (the median of client
/// less server), else the fastest member, because how much of it is the way cannot be told.
pub fn bounds(set: &TraceSet, calls: &[Call]) -> (i64, i64) {
    let compressed = calls.iter().any(|c| c.count > 1);
    if compressed {
        return compressed_bounds(set, calls);
    }
    let spans: Vec<SpanRow> = calls.iter().map(|c| c.span).collect();
    batch_bounds(set, &spans)
}

/// A span that stands for several calls says how long all of them took: each counts with the mean.
fn compressed_bounds(set: &TraceSet, calls: &[Call]) -> (i64, i64) {
    let each = |c: &Call| set.spans.duration_ns[c.span.index()] / i64::from(c.count.max(1));
    let most = calls.iter().map(each).max().unwrap_or(0);
    let shared = calls.iter().map(each).min().unwrap_or(0);
    let rest = calls.iter().fold(0_i64, |sum, c| sum.saturating_add((each(c) - shared).saturating_mul(i64::from(c.count))));
    (most, shared.saturating_add(rest).max(most))
}
