//! Time between sending and handling: messages that wait, queues that grow, deliveries that repeat, and requests that wait
//! before a busy callee (TRACES 3.3.12).

use super::chatty::score;
use super::chatty_n_plus_one::sorted;
use super::facts::Fact;
use super::finding::{Confidence, Finding, Rule, Subject, Threshold};
use super::queue_edges::{Queued, in_front, messages};
use super::traced::{Case, Said, endpoint, finding, measure, named, quantile};
use super::{Context, Detector, Outcome};
use crate::analysis::replay::Edit;
use crate::base::quantity::{format_ns, format_share};

/// Documentation of the rule.
pub const RULE: Rule = Rule {
    id: "queue-lag",
    name: "Work that waits in a queue",
    family: "queued work",
    summary: "Messages wait long before they are handled, the wait grows, messages are delivered again, or requests wait before the callee begins.",
    remedies: &["More consumers or a larger batch, less work per message; for requests more workers or less work at once."],
    thresholds: &[
        Threshold { name: "min_lag_ms", default: 1000.0, doc: "Milliseconds of wait in the median that are long anywhere." },
        Threshold { name: "min_share", default: 0.5, doc: "Share of the time from sending to handled that is wait, from floor_ms on." },
        Threshold { name: "min_factor", default: 10.0, doc: "Times the handling itself, from floor_ms on." },
        Threshold { name: "floor_ms", default: 100.0, doc: "Milliseconds below which a wait is short whatever the handling takes." },
        Threshold {
            name: "growth",
            default: 2.0,
            doc: "Times that the wait of the last third of the messages is that of the first, in the median.",
        },
        Threshold { name: "min_messages", default: 3.0, doc: "Messages, or requests that wait, that make a pattern." },
        Threshold {
            name: "front_ms",
            default: 50.0,
            doc: "Milliseconds that a request waits before the callee begins, beyond the shortest way between the two.",
        },
        Threshold {
            name: "front_share",
            default: 0.05,
            doc: "Part of the calls of the pair that wait so: fewer are outliers, not a queue.",
        },
        Threshold { name: "front_factor", default: 2.0, doc: "The same in times of what the callee takes in the median." },
    ],
    doc: include_str!("../../docs/rules/queue-lag.md"),
};

/// The rule.
pub struct QueueLag;

impl Detector for QueueLag {
    fn rule(&self) -> &'static Rule {
        &RULE
    }
    fn detect(&self, cx: &Context<'_>) -> Outcome {
        let set = &cx.session.traces;
        if set.spans.is_empty() {
            return Outcome::NotChecked("no trace is open".to_string());
        }
        let (queues, skewed) = messages(cx);
        let pairs = in_front(cx);
        let (sent, asked) = (queues.values().map(Vec::len).sum::<usize>(), pairs.values().map(Vec::len).sum::<usize>());
        if sent + asked == 0 {
            return Outcome::NotChecked("no message is linked to its handling, and no call to the span that answers it".to_string());
        }
        let mut findings = Vec::new();
        for ((producer, queue), list) in &queues {
            findings.extend(of_messages(cx, producer, queue, list, skewed.get(queue).copied().unwrap_or(0)));
        }
        for ((caller, callee), list) in &pairs {
            findings.extend(of_requests(cx, caller, callee, list));
        }
        Outcome::Checked {
            findings: sorted(findings),
            over: format!("{sent} messages and {asked} answered calls in {}", super::counted(set.traces.len(), "trace")),
        }
    }
}

/// Median wait of the first and the last third of the messages, in order of sending; `None` for less than nine.
fn thirds(list: &[Queued]) -> Option<(i64, i64)> {
    let n = list.len() / 3;
    let median = |part: &[Queued]| {
        let mut waits: Vec<i64> = part.iter().map(|q| q.wait).collect();
        waits.sort_unstable();
        quantile(&waits, 0.5)
    };
    (n >= 3).then(|| (median(&list[..n]), median(&list[list.len() - n..])))
}

fn of_messages(cx: &Context<'_>, producer: &str, queue: &str, list: &[Queued], skewed: usize) -> Option<Finding> {
    let (set, strings) = (&cx.session.traces, &cx.session.strings);
    let ms = |name: &str| cx.threshold(&RULE, name) * 1e6;
    let mut waits: Vec<i64> = list.iter().map(|q| q.wait).collect();
    waits.sort_unstable();
    let mut works: Vec<i64> = list.iter().map(|q| q.work).collect();
    works.sort_unstable();
    let (wait, work) = (quantile(&waits, 0.5), quantile(&works, 0.5));
    let floor = wait as f64 >= ms("floor_ms");
    let share = wait as f64 / (wait + work).max(1) as f64;
    let growing = thirds(list).filter(|(first, last)| {
        *last as f64 >= ms("floor_ms") && *last as f64 >= (*first).max(1) as f64 * cx.threshold(&RULE, "growth").max(1.0)
    });
    let again = list.iter().filter(|q| cx.facts().number(set, strings, q.span, Fact::Deliveries).is_some_and(|n| n > 1)).count();
    let enough = list.len() as f64 >= cx.threshold(&RULE, "min_messages");
    let long = wait as f64 >= ms("min_lag_ms")
        || (floor && share >= cx.threshold(&RULE, "min_share"))
        || (floor && wait as f64 >= work.max(1) as f64 * cx.threshold(&RULE, "min_factor"));
    let repeated = again as f64 >= cx.threshold(&RULE, "min_messages") && again * 10 >= list.len();
    if !(enough && (long || growing.is_some()) || repeated) {
        return None;
    }
    let cases: Vec<Case> = list
        .iter()
        .map(|q| Case { trace: q.trace, spans: vec![q.span], cost: q.wait, low: Edit::default(), high: Edit::default() })
        .collect();
    let mut measured = measure(cx, &cases);
    // No request waits for its messages: the saving is in the time until they are handled.
    let total = waits.iter().fold(0_i64, |sum, w| sum.saturating_add(*w));
    (measured.cost, measured.low, measured.high) = (total, total / 2, total);
    let worst = list.iter().max_by_key(|q| (q.wait, std::cmp::Reverse(q.span)))?;
    let (_, root) = endpoint(cx, worst.trace);
    let serial = one_at_a_time(list);
    let mut message = format!(
        "Messages from {} to {queue} wait {} in the median and {} at the 95th percentile before they are handled in {}: {} of the time from sending to done; {} messages.",
        if producer.is_empty() { "an unnamed service" } else { producer },
        format_ns(wait as f64),
        format_ns(quantile(&waits, 0.95) as f64),
        format_ns(work as f64),
        format_share(share),
        list.len()
    );
    if let Some((first, last)) = growing {
        message.push_str(&format!(" The wait grows from {} to {}.", format_ns(first as f64), format_ns(last as f64)));
    }
    if let Some(use_of) = serial {
        message.push_str(&format!(" They are handled one at a time, {} of the time.", format_share(use_of)));
    }
    if again > 0 {
        message.push_str(&format!(" {again} were delivered more than once."));
    }
    let mut caveats = vec!["Sender and handler stamp their spans by different clocks.".to_string()];
    if skewed > 0 {
        caveats.push(format!("{skewed} messages were handled before they were sent, by their clocks, and are not counted."));
    }
    if list.iter().any(|q| q.enqueued) {
        caveats.push("Some waits begin where the broker says that the message was queued.".to_string());
    }
    let title = if long || growing.is_none() && !repeated {
        format!("Messages to {queue} wait {}", format_ns(wait as f64))
    } else if growing.is_some() {
        format!("The queue before {queue} grows")
    } else {
        format!("{again} messages to {queue} were delivered again")
    };
    let said = Said {
        title,
        message,
        subject: Subject { kind: "edge", name: format!("{producer} → {queue}"), service: producer.to_string(), path: vec![root], ..Subject::default() },
        confidence: if long && growing.is_some() { Confidence::Confirmed } else { Confidence::Likely },
        model: "The time until messages are handled, of which a faster consumer saves half of the wait to all of it. Requests do not wait for it.".to_string(),
        evidence: vec![(format!("{} begins {} after its message was sent.", named(cx, worst.span), format_ns(worst.wait as f64)), worst.span)],
        caveats,
        remedies: vec![
            "Add consumers (and partitions, which bound them), handle messages in batches, or do less for each.".to_string(),
            "Watch the age of the oldest message, not only the queue's length.".to_string(),
            "For repeated deliveries: acknowledge in time, make the lock or visibility longer than the handling, move poison messages aside.".to_string(),
        ],
        most: 80.0,
        least: score(share * 0.2, wait / 10).min(80.0),
    };
    Some(finding(cx, &RULE, &cases, &measured, &["message", producer, queue], said))
}

/// How much of the time from first to last a consumer works that never handles two messages at once; `None` if it does, or
/// for less than three messages.
fn one_at_a_time(list: &[Queued]) -> Option<f64> {
    let mut handled: Vec<(i64, i64)> = list.iter().map(|q| (q.begin, q.begin.saturating_add(q.work))).collect();
    handled.sort_unstable();
    let alone = handled.windows(2).all(|w| w[0].1 <= w[1].0);
    let (first, last) = (handled.first()?.0, handled.iter().map(|h| h.1).max()?);
    let busy = handled.iter().fold(0_i64, |sum, h| sum.saturating_add(h.1 - h.0)) as f64 / (last - first).max(1) as f64;
    (alone && handled.len() >= 3 && busy >= 0.5).then_some(busy)
}

fn of_requests(cx: &Context<'_>, caller: &str, callee: &str, list: &[Queued]) -> Option<Finding> {
    // The shortest way there is the network's, and what the two clocks differ by.
    let base = list.iter().map(|q| q.wait).min()?;
    let mut works: Vec<i64> = list.iter().map(|q| q.work).collect();
    works.sort_unstable();
    let work = quantile(&works, 0.5);
    let least = (cx.threshold(&RULE, "front_ms") * 1e6).max(work as f64 * cx.threshold(&RULE, "front_factor"));
    let long: Vec<&Queued> = list.iter().filter(|q| (q.wait.saturating_sub(base)) as f64 >= least).collect();
    let few = (long.len() as f64) < cx.threshold(&RULE, "front_share") * list.len() as f64;
    if few || (long.len() as f64) < cx.threshold(&RULE, "min_messages").max(1.0) || list.len() < 5 {
        return None;
    }
    let beyond = |q: &Queued| q.wait.saturating_sub(base);
    let cases: Vec<Case> = long
        .iter()
        .map(|q| {
            let front = base.max(0);
            let (low, high) = (Edit::gap(&[q.span], front + beyond(q) / 2), Edit::gap(&[q.span], 0));
            Case { trace: q.trace, spans: vec![q.client], cost: beyond(q), low, high }
        })
        .collect();
    let mut measured = measure(cx, &cases);
    // At best no call waits any more, not even those that do not wait for long.
    let all =
        |q: &Queued| Case { trace: q.trace, spans: vec![q.client], cost: beyond(q), low: Edit::default(), high: Edit::gap(&[q.span], 0) };
    measured.high = measured.high.max(measure(cx, &list.iter().map(all).collect::<Vec<_>>()).high);
    let worst = long.iter().max_by_key(|q| (q.wait, std::cmp::Reverse(q.span)))?;
    let mut waits: Vec<i64> = list.iter().map(beyond).collect();
    waits.sort_unstable();
    let (_, root) = endpoint(cx, worst.trace);
    let message = format!(
        "{} of {} calls of {callee} by {} wait before the callee begins, {} in the median of all and {} at most, while it then takes {} in the median; {}.",
        long.len(),
        list.len(),
        if caller.is_empty() { "an unnamed service" } else { caller },
        format_ns(quantile(&waits, 0.5) as f64),
        format_ns(beyond(worst) as f64),
        format_ns(work as f64),
        super::in_traces(measured.ranked.len(), cx.session.traces.traces.len())
    );
    let said = Said {
        title: format!("Requests wait up to {} before {callee} begins", format_ns(beyond(worst) as f64)),
        message,
        subject: Subject {
            kind: "edge",
            name: format!("{caller} → {callee}"),
            service: caller.to_string(),
            path: vec![root],
            ..Subject::default()
        },
        confidence: Confidence::Likely,
        model:
            "Replay of the requests in which the callee begins after half of the wait (at worst) or at once (at best); the shortest way there may hold some wait as well."
                .to_string(),
        evidence: vec![(
            format!(
                "{} begins {} after it was called, {} of which is wait.",
                named(cx, worst.span),
                format_ns(worst.wait as f64),
                format_ns(beyond(worst) as f64)
            ),
            worst.span,
        )],
        caveats: vec![
            "A large body on its way, a new connection without a span of its own, or a clock that jumps look the same.".to_string(),
        ],
        remedies: vec![
            "Give the callee more workers, threads or instances, or let it refuse early (load shedding) instead of queueing.".to_string(),
            "Look for what holds its workers: long requests, garbage collection, a blocked event loop.".to_string(),
        ],
        ..Said::default()
    };
    Some(finding(cx, &RULE, &cases, &measured, &["request", caller, callee], said))
}
