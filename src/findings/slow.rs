//! What the rules on slow calls share: which calls are slow where the request waits for them, and how they compare with the
//! other calls of the same kind (TRACES 3.3.8).

use super::Context;
use super::calls::{Call, Category};
use super::facts::Fact;
use super::finding::{Confidence, Finding, Rule, Subject};
use super::traced::{Case, Said, answer, caller, caller_half, endpoint, finding, measure, named, quantile};
use crate::analysis::replay::Edit;
use crate::base::ids::{SpanRow, StringId, TraceRow};
use crate::base::quantity::{format_count, format_ns, format_share};
use std::collections::BTreeMap;

/// A slow call, with the time that the request waits for it and nothing below it that is another call.
struct Slow {
    trace: TraceRow,
    call: Call,
    /// Nanoseconds of the critical path: the span's own and its answer's own.
    own: i64,
}

/// The findings of a rule on the calls of some categories, and how many calls were looked at.
pub fn findings(cx: &Context<'_>, rule: &Rule, is_mine: fn(Category) -> bool) -> (Vec<Finding>, usize) {
    let set = &cx.session.traces;
    let (min_ns, floor_ns) = (cx.threshold(rule, "min_ms") * 1e6, cx.threshold(rule, "floor_ms") * 1e6);
    let (min_share, repeats) = (cx.threshold(rule, "min_share"), cx.threshold(rule, "max_repeats").max(1.0) as usize);
    // Durations of all calls of a kind, to tell outliers from calls that are always slow.
    let mut usual: BTreeMap<StringId, Vec<i64>> = BTreeMap::new();
    let mut slow: BTreeMap<StringId, Vec<Slow>> = BTreeMap::new();
    let mut looked = 0;
    let mut alike: Vec<(SpanRow, StringId)> = Vec::new();
    for trace in (0..set.traces.len()).map(TraceRow::from_index) {
        let Some(root) = set.traces.root[trace.index()].get() else { continue };
        let whole = set.spans.duration_ns[root.index()].max(1) as f64;
        let list = cx.calls().of(trace);
        alike.clear();
        alike.extend(list.iter().map(|c| (c.scope, c.signature)));
        alike.sort_unstable();
        for call in list.iter().filter(|c| is_mine(c.category)) {
            let call = &Call { span: caller_half(set, call.span), ..*call };
            looked += 1;
            usual.entry(call.signature).or_default().push(set.spans.duration_ns[call.span.index()]);
            let own = own_time(cx, call.span);
            let share = own as f64 / whole;
            // Of calls that repeat in one execution the rules on chatty calls speak, unless each is slow.
            let key = (call.scope, call.signature);
            let repeated = || alike.partition_point(|k| *k <= key) - alike.partition_point(|k| *k < key) >= repeats;
            if own as f64 >= min_ns || (share >= min_share && own as f64 >= floor_ns && !repeated()) {
                slow.entry(call.signature).or_default().push(Slow { trace, call: *call, own });
            }
        }
    }
    let found = slow.into_iter().filter_map(|(signature, cases)| {
        let mut all = usual.remove(&signature).unwrap_or_default();
        all.sort_unstable();
        one(cx, rule, &cases, &all)
    });
    (super::chatty_n_plus_one::sorted(found.collect()), looked)
}

/// Time on the critical path in the call itself and in the answering span itself.
fn own_time(cx: &Context<'_>, span: SpanRow) -> i64 {
    let path = cx.path();
    path.own(span) + answer(&cx.session.traces, span).map_or(0, |server| path.own(server))
}

fn one(cx: &Context<'_>, rule: &Rule, slow: &[Slow], all: &[i64]) -> Option<Finding> {
    let set = &cx.session.traces;
    let outlier_factor = cx.threshold(rule, "outlier_factor").max(1.0);
    let median = quantile(all, 0.5);
    let typical = slow.iter().map(|s| set.spans.duration_ns[s.call.span.index()]).collect::<Vec<_>>();
    let mut sorted = typical.clone();
    sorted.sort_unstable();
    // An outlier is slow beside its own kind: that is a lock, a pause or the network; otherwise the call is made that way.
    let ordinary: Vec<i64> = all.iter().copied().filter(|d| (*d as f64) < outlier_factor * median.max(1) as f64).collect();
    let outlier = all.len() >= 5 && slow.len() * 3 <= all.len() && quantile(&sorted, 0.5) as f64 >= outlier_factor * median.max(1) as f64;
    let cases: Vec<Case> = slow
        .iter()
        .map(|s| {
            let span = s.call.span;
            let (low, high) = if outlier {
                (Edit::set(span, quantile(&ordinary, 0.9)), Edit::set(span, quantile(&ordinary, 0.1)))
            } else {
                (Edit::scale(&[span], 0.5), Edit::scale(&[span], 0.02))
            };
            Case { trace: s.trace, spans: vec![span], cost: s.own, low, high }
        })
        .collect();
    let measured = measure(cx, &cases);
    let worst = slow.iter().max_by_key(|s| (Some(s.trace) == measured.worst_trace(), s.own, std::cmp::Reverse(s.call.span)))?;
    let (share, _) = measured.worst();
    let shown = cx.calls().texts.get(worst.call.shown).to_string();
    let by = caller(cx, &worst.call);
    let whole = measured.ranked.first().map_or(0, |r| r.3);
    let traces = measured.ranked.len();
    let manner = if outlier {
        format!("an outlier: the median of its {} is {}", calls_text(all.len()), format_ns(median as f64))
    } else if all.len() == slow.len() {
        if all.len() == 1 { "its only call".to_string() } else { format!("as are all its {}", calls_text(all.len())) }
    } else {
        format!(
            "so slow are {} of its {}, the median is {}",
            format_count(slow.len() as f64),
            calls_text(all.len()),
            format_ns(median as f64)
        )
    };
    let shape = shape(cx, &worst.call);
    let mut message = format!(
        "{shown} by {} takes {} on the critical path of a request of {} ({manner}); {}.",
        if by.is_empty() { "an unnamed service" } else { &by },
        format_ns(worst.own as f64),
        format_ns(whole as f64),
        super::in_traces(traces, set.traces.len())
    );
    for sentence in &shape {
        message.push(' ');
        message.push_str(sentence);
    }
    let mut evidence = vec![(
        format!(
            "{} is slow here: {}, {} of which no other recorded span explains.",
            named(cx, worst.call.span),
            format_ns(set.spans.duration_ns[worst.call.span.index()] as f64),
            format_ns(worst.own as f64)
        ),
        worst.call.span,
    )];
    if outlier && let Some(fast) = near_median(cx, &worst.call, median) {
        evidence.push((format!("An ordinary call of the same kind takes {}.", format_ns(median as f64)), fast));
    }
    let remedies = remedies(worst.call.category, outlier, &shape);
    let (_, name) = endpoint(cx, worst.trace);
    let signature = cx.calls().texts.get(worst.call.signature).to_string();
    let mut caveats = Vec::new();
    if !outlier {
        caveats.push("Whether the call can be faster is not in the trace: the range is half of its time to nearly all of it.".to_string());
    }
    if cx.session.traces.children(worst.call.span).is_empty() && worst.call.category != Category::Db {
        caveats.push("The callee's side is not recorded: waiting for the network, queueing and work cannot be told apart.".to_string());
    }
    let said = Said {
        title: format!("{} takes {}, {} of the request", shown, format_ns(worst.own as f64), format_share(worst.own as f64 / whole.max(1) as f64)),
        message,
        subject: Subject { kind: "span-group", name: shown.clone(), service: by, path: vec![name], ..Subject::default() },
        confidence: if outlier || share >= 0.5 || slow.len() >= 3 { Confidence::Likely } else { Confidence::Possible },
        model: if outlier {
            "Replay of the requests in which the slow calls take as long as the ordinary ones: the slowest tenth of those (at worst), the fastest (at best)."
        } else {
            "Replay of the requests with the call half as long (at worst) or with 2 % of its time, as an index look-up or a cache would leave (at best)."
        }
        .to_string(),
        evidence,
        caveats,
        remedies,
        ..Said::default()
    };
    Some(finding(cx, rule, &cases, &measured, &[&signature], said))
}

fn calls_text(n: usize) -> String {
    super::counted(n, "call")
}

/// A call of the kind whose duration is the median, the first in the files.
fn near_median(cx: &Context<'_>, like: &Call, median: i64) -> Option<SpanRow> {
    let set = &cx.session.traces;
    let traces = (0..set.traces.len()).map(TraceRow::from_index);
    let calls = traces.flat_map(|t| cx.calls().of(t)).filter(|c| c.signature == like.signature);
    calls.map(|c| caller_half(set, c.span)).find(|s| set.spans.duration_ns[s.index()] == median)
}

/// What the statement and its answer say about why it takes time.
fn shape(cx: &Context<'_>, call: &Call) -> Vec<String> {
    let (set, strings) = (&cx.session.traces, &cx.session.strings);
    let mut out = Vec::new();
    if call.category != Category::Db {
        return out;
    }
    if let Some(rows) = cx.facts().number(set, strings, call.span, Fact::Rows).filter(|n| *n >= 1000) {
        out.push(format!("It returns {} rows.", format_count(rows as f64)));
    }
    if let Some(text) = cx.facts().text(set, strings, call.span, Fact::Statement) {
        out.extend(statement_shape(text).into_iter().map(str::to_string));
    }
    out
}

/// What is suspicious about a statement's text.
pub fn statement_shape(text: &str) -> Vec<&'static str> {
    let mut upper: String = text.chars().take(64 * 1024).flat_map(char::to_uppercase).collect();
    upper = upper.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut out = Vec::new();
    if !(upper.starts_with("SELECT") || upper.starts_with("WITH")) {
        return out;
    }
    let limited = [" LIMIT ", " FETCH FIRST ", " FETCH NEXT ", "SELECT TOP ", " ROWNUM"].iter().any(|w| upper.contains(w));
    let single = ["COUNT(", "SUM(", "MIN(", "MAX(", "AVG("].iter().any(|w| upper.contains(w)) && !upper.contains(" GROUP BY ");
    if upper.contains("SELECT *") || upper.contains(".* ") || upper.contains(".*,") {
        out.push("It selects all columns.");
    }
    if !upper.contains(" WHERE ") && upper.contains(" FROM ") {
        out.push("It has no WHERE.");
    }
    if !limited && !single && !upper.contains(" WHERE ID = ") {
        out.push("It has no LIMIT.");
    }
    if upper.matches(" JOIN ").count() >= 5 {
        out.push("It joins six tables or more.");
    }
    if upper.contains("LIKE '%") || upper.contains("LIKE N'%") || upper.contains("LIKE CONCAT('%'") {
        out.push("Its LIKE begins with a wildcard, which no ordinary index answers.");
    }
    if upper.contains(" OFFSET ") {
        out.push("It skips rows with OFFSET.");
    }
    out
}

fn remedies(category: Category, outlier: bool, shape: &[String]) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let has = |part: &str| shape.iter().any(|s| s.contains(part));
    match (category, outlier) {
        (Category::Db | Category::Cache, true) => out.push(
            "Look for what the slow calls met: locks held by others (pg_stat_activity, SHOW ENGINE INNODB STATUS), a changed plan, cold pages, a pause of the database.".to_string(),
        ),
        (Category::Db | Category::Cache, false) => {
            out.push("Look at the plan (EXPLAIN ANALYZE) and add the index that the filter and the order need.".to_string());
        }
        (_, true) => out.push("Compare instance, zone and time of the slow calls with those of the fast ones: a pause, a cold instance, a lost packet; hedge requests that may be sent twice.".to_string()),
        (_, false) => out.push("Look into the callee, whose own time this is (profile it), or take the call off the request's way: cache it, start it earlier, answer without it.".to_string()),
    }
    if has("rows") || has("no LIMIT") {
        out.push("Ask for the rows that are shown: LIMIT, or pages by key.".to_string());
    }
    if has("OFFSET") {
        out.push("Page by the last key (WHERE id > ? ORDER BY id LIMIT n) instead of OFFSET.".to_string());
    }
    if has("all columns") {
        out.push("Name the columns that are needed, so that an index may cover them.".to_string());
    }
    if has("wildcard") {
        out.push("Use a trigram or full-text index for searches inside of words.".to_string());
    }
    if has("joins") {
        out.push("Split the joins, or keep the joined rows ready (a materialised view).".to_string());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::statement_shape;

    #[test]
    fn statements_that_ask_for_too_much_are_told() {
        let has = |text: &str, part: &str| statement_shape(text).iter().any(|s| s.contains(part));
        assert!(has("select * from t where a = 1 limit 5", "all columns"));
        assert!(!has("select * from t where a = 1 limit 5", "no LIMIT"));
        assert!(has("SELECT a FROM t", "no WHERE"));
        assert!(!has("SELECT count(*) FROM t WHERE a = 1", "all columns"));
        assert!(!has("SELECT count(*) FROM t WHERE a = 1", "no LIMIT"));
        assert!(has("SELECT a FROM t WHERE b LIKE '%x'", "wildcard"));
        assert!(!has("SELECT a FROM t WHERE b LIKE 'x%'", "wildcard"));
        assert!(has("SELECT a FROM t1 JOIN t2 ON 1 JOIN t3 ON 1 JOIN t4 ON 1 JOIN t5 ON 1 JOIN t6 ON 1", "six tables"));
        assert!(statement_shape("UPDATE t SET a = 1").is_empty());
    }
}
