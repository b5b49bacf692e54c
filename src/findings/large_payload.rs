//! Calls that carry more than the request needs: large bodies, many rows, answers that nobody compressed (TRACES 3.3.9).

use super::calls::{Call, Category};
use super::chatty_n_plus_one::sorted;
use super::facts::Fact;
use super::finding::{Confidence, Finding, Rule, Subject, Threshold};
use super::traced::{Case, NO_CALLS, Said, answer, caller, endpoint, finding, measure, named};
use super::{Context, Detector, Outcome};
use crate::analysis::replay::Edit;
use crate::base::ids::{SpanRow, StringId, TraceRow};
use crate::base::quantity::{format_bytes, format_count, format_ns};
use std::collections::BTreeMap;

/// Documentation of the rule.
pub const RULE: Rule = Rule {
    id: "large-payload",
    name: "Large payloads",
    family: "slow calls",
    summary: "A call carries a large body, many rows or a large message, or the calls of one request carry much together.",
    remedies: &["Ask for the fields and rows that are used, page, compress, and send files past the service."],
    thresholds: &[
        Threshold { name: "min_bytes", default: 300_000.0, doc: "Bytes of a body (Sentry, large HTTP payload)." },
        Threshold { name: "min_ms", default: 100.0, doc: "Milliseconds that a call with a large body takes (Sentry, large HTTP payload)." },
        Threshold {
            name: "uncompressed_bytes",
            default: 512_000.0,
            doc: "Bytes of an answer in text that was sent uncompressed (Sentry, uncompressed asset).",
        },
        Threshold { name: "message_bytes", default: 262_144.0, doc: "Bytes of a message (the limit of Amazon SQS)." },
        Threshold { name: "min_rows", default: 1000.0, doc: "Rows that a database returned." },
        Threshold { name: "request_bytes", default: 5_000_000.0, doc: "Bytes of all calls of one request together." },
    ],
    doc: include_str!("../../docs/rules/large-payload.md"),
};

/// The rule.
pub struct LargePayload;

/// Why a call is large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Why {
    Sum,
    Rows,
    Request,
    Message,
    Answer,
    Plain,
}

/// A call with its size.
struct Sized {
    trace: TraceRow,
    call: Call,
    amount: i64,
}

/// Downloads and media are large by their nature.
fn is_media(cx: &Context<'_>, call: &Call) -> bool {
    let (set, strings) = (&cx.session.traces, &cx.session.strings);
    if let Some(kind) = cx.facts().text(set, strings, call.span, Fact::ContentType) {
        let kind = kind.to_ascii_lowercase();
        return ["image/", "video/", "audio/", "font/", "zip", "octet-stream", "pdf"].iter().any(|m| kind.contains(m));
    }
    let path = cx.calls().texts.get(call.shown).split(['?', '#']).next().unwrap_or("").to_ascii_lowercase();
    let last = path.rsplit('/').next().unwrap_or("");
    let ends = last.rsplit_once('.').map(|(_, end)| end).unwrap_or("");
    path.contains("/_next/")
        || path.contains("/download")
        || (!ends.is_empty() && !matches!(ends, "json" | "xml" | "html" | "php" | "aspx" | "svc"))
}

impl Detector for LargePayload {
    fn rule(&self) -> &'static Rule {
        &RULE
    }
    fn detect(&self, cx: &Context<'_>) -> Outcome {
        let (set, strings) = (&cx.session.traces, &cx.session.strings);
        if set.spans.is_empty() {
            return Outcome::NotChecked("no trace is open".to_string());
        }
        if cx.calls().is_empty() {
            return Outcome::NotChecked(NO_CALLS.to_string());
        }
        let facts = cx.facts();
        let sizes = [Fact::ResponseBytes, Fact::DecodedBytes, Fact::RequestBytes, Fact::MessageBytes, Fact::Rows];
        if !sizes.iter().any(|f| facts.has(*f)) {
            return Outcome::NotChecked(
                "no span tells a size: http.response.body.size, http.request.body.size, messaging.message.body.size, db.response.returned_rows"
                    .to_string(),
            );
        }
        let limit = |name: &str| cx.threshold(&RULE, name) as i64;
        let (bytes, plain, message, rows) = (limit("min_bytes"), limit("uncompressed_bytes"), limit("message_bytes"), limit("min_rows"));
        let long_ns = limit("min_ms") * 1_000_000;
        let mut found: BTreeMap<(Why, StringId), Vec<Sized>> = BTreeMap::new();
        let mut told = 0;
        for trace in (0..set.traces.len()).map(TraceRow::from_index) {
            let mut sum = 0_i64;
            let mut largest: Option<(i64, Call)> = None;
            let mut any = false;
            for call in cx.calls().of(trace) {
                let get = |fact: Fact| {
                    let own = facts.number(set, strings, call.span, fact);
                    own.or_else(|| answer(set, call.span).and_then(|s| facts.number(set, strings, s, fact))).filter(|n| *n >= 0)
                };
                let [sent, decoded, request, body, returned] = sizes.map(get);
                if [sent, decoded, request, body, returned].iter().all(Option::is_none) {
                    continue;
                }
                told += 1;
                let all = sent.or(decoded).unwrap_or(0).saturating_add(request.unwrap_or(0)).saturating_add(body.unwrap_or(0));
                if is_media(cx, call) {
                    continue;
                }
                sum = sum.saturating_add(all);
                if largest.is_none_or(|(most, _)| all > most) {
                    largest = Some((all, *call));
                }
                let long = set.spans.duration_ns[call.span.index()] >= long_ns;
                let encoded = facts.text(set, strings, call.span, Fact::Encoding).is_some_and(|e| !e.eq_ignore_ascii_case("identity"));
                let answered = sent.or(decoded).unwrap_or(0);
                let uncompressed = sent.is_some() && decoded.is_some() && sent >= decoded && !encoded && answered >= plain;
                let why = match () {
                    () if uncompressed && long => Some((Why::Plain, answered)),
                    () if answered > bytes && long => Some((Why::Answer, answered)),
                    () if request.unwrap_or(0) > bytes && long => Some((Why::Request, request.unwrap_or(0))),
                    () if body.unwrap_or(0) > message && call.category == Category::Messaging => Some((Why::Message, body.unwrap_or(0))),
                    () if returned.unwrap_or(0) >= rows => Some((Why::Rows, returned.unwrap_or(0))),
                    () => None,
                };
                if let Some((why, amount)) = why {
                    any = true;
                    found.entry((why, call.signature)).or_default().push(Sized { trace, call: *call, amount });
                }
            }
            // Much in sum is a finding of its own only where no single call is.
            if let Some((_, call)) = largest.filter(|_| !any && sum as f64 >= cx.threshold(&RULE, "request_bytes")) {
                found.entry((Why::Sum, call.signature)).or_default().push(Sized { trace, call, amount: sum });
            }
        }
        if told == 0 {
            return Outcome::NotChecked("no call tells a size".to_string());
        }
        let findings = found.into_iter().filter_map(|((why, signature), list)| one(cx, why, signature, &list));
        Outcome::Checked { findings: sorted(findings.collect()), over: format!("{told} calls with a size of {}", cx.calls().len()) }
    }
}

/// The time that the call spends on the way: all but the callee's, where that is recorded.
fn transfer(cx: &Context<'_>, span: SpanRow) -> Option<(i64, i64)> {
    let set = &cx.session.traces;
    let own = set.spans.duration_ns[span.index()];
    let server = set.spans.duration_ns[answer(set, span)?.index()];
    Some((own, (own - server).max(0)))
}

fn one(cx: &Context<'_>, why: Why, signature: StringId, list: &[Sized]) -> Option<Finding> {
    let set = &cx.session.traces;
    let mut known = true;
    let cases: Vec<Case> = list
        .iter()
        .map(|s| {
            let span = s.call.span;
            let own = set.spans.duration_ns[span.index()];
            let (low, high, cost) = match (transfer(cx, span), why) {
                (_, Why::Rows | Why::Sum) => (Edit::default(), Edit::scale(&[span], 0.2), own),
                (Some((own, way)), _) => (Edit::set(span, own - way / 2), Edit::set(span, own - way / 100 * 98), way),
                (None, _) => {
                    known = false;
                    (Edit::default(), Edit::scale(&[span], 0.2), own)
                }
            };
            Case { trace: s.trace, spans: vec![span], cost, low, high }
        })
        .collect();
    let measured = measure(cx, &cases);
    let worst = list.iter().max_by_key(|s| (s.amount, std::cmp::Reverse(s.call.span)))?;
    let shown = cx.calls().texts.get(worst.call.shown).to_string();
    let by = caller(cx, &worst.call);
    let size = if why == Why::Rows { format!("{} rows", format_count(worst.amount as f64)) } else { format_bytes(worst.amount as f64) };
    let what = match why {
        Why::Sum => format!("The calls of one request carry {size} together, most of it {shown}"),
        Why::Rows => format!("{shown} returns {size}"),
        Why::Request => format!("{shown} is asked with a body of {size}"),
        Why::Message => format!("{shown} carries a message of {size}"),
        Why::Answer => format!("{shown} answers with {size}"),
        Why::Plain => format!("{shown} answers with {size}, uncompressed"),
    };
    let way = transfer(cx, worst.call.span).filter(|_| !matches!(why, Why::Rows | Why::Sum));
    let message = format!(
        "{what} to {} in {}{}; {}.",
        if by.is_empty() { "an unnamed service" } else { &by },
        format_ns(set.spans.duration_ns[worst.call.span.index()] as f64),
        way.map_or(String::new(), |(_, way)| format!(", {} of it on the way", format_ns(way as f64))),
        super::in_traces(measured.ranked.len(), set.traces.len())
    );
    let (_, root) = endpoint(cx, worst.trace);
    let mut caveats = Vec::new();
    if !known {
        caveats.push("The callee's half is not recorded, so what the transfer takes is unknown: the range begins at nothing.".to_string());
    }
    if matches!(why, Why::Rows | Why::Sum) {
        caveats.push("How much of it is needed is not in the trace; the range begins at nothing.".to_string());
    }
    let remedies = match why {
        Why::Rows => vec!["Add LIMIT or pages by key, filter and aggregate in the database, stream what must be read whole.".to_string()],
        Why::Plain => vec!["Compress answers in text (gzip, br, zstd) at the server or the proxy.".to_string()],
        Why::Message => vec!["Put the content into a store and send its key (claim check).".to_string()],
        Why::Request => {
            vec!["Send files straight to the store (a signed URL), compress the body, send changes instead of the whole.".to_string()]
        }
        Why::Answer | Why::Sum => {
            vec!["Page the list, name the fields that are used (fields=, GraphQL, a leaner endpoint), compress, and let what is unchanged be 304.".to_string()]
        }
    };
    let said = Said {
        title: match why {
            Why::Sum => format!("{size} in the calls of one request"),
            Why::Rows => format!("{size} by {shown}"),
            Why::Plain => format!("{size} uncompressed by {shown}"),
            _ => format!("{size} in {shown}"),
        },
        message,
        subject: Subject { kind: "span-group", name: shown, service: by, path: vec![root], ..Subject::default() },
        confidence: if known && way.is_some() { Confidence::Likely } else { Confidence::Possible },
        model: "Replay of the requests in which the time on the way (the call less its answer) is halved (at worst) or all but gone (at best); without the callee's half, nothing to 80 % of the call.".to_string(),
        evidence: vec![(format!("{} carries {size}.", named(cx, worst.call.span)), worst.call.span)],
        caveats,
        remedies,
        ..Said::default()
    };
    let kind = format!("{why:?}");
    Some(finding(cx, &RULE, &cases, &measured, &[&kind, cx.calls().texts.get(signature)], said))
}
