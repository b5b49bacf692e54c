//! Requests that pass through many services: long chains, hops that only pass on, services and operations that come back,
//! and hops between regions (TRACES 3.3.7; CRISP, `getCycles` and `getCrossRegionCalls`).

use super::chatty_n_plus_one::sorted;
use super::deep_hops::{Chain, Hop, Kind, chains};
use super::finding::{Confidence, Finding, Rule, Subject, Threshold};
use super::traced::{Case, NO_CALLS, Said, endpoint, finding, measure, named};
use super::{Context, Detector, Outcome};
use crate::analysis::clipped::Clipped;
use crate::analysis::replay::{Edit, replay};
use crate::base::ids::SpanRow;
use crate::base::quantity::format_ns;
use std::collections::BTreeMap;

/// Documentation of the rule.
pub const RULE: Rule = Rule {
    id: "deep-chain",
    name: "Deep chains of services",
    family: "slow calls",
    summary: "A request passes many services one below the other, a hop that only passes it on, a service that it left before, or another region.",
    remedies: &["Call the service that does the work, merge hops that add nothing, keep calls in their region."],
    thresholds: &[
        Threshold { name: "min_hops", default: 6.0, doc: "Calls from service to service on one way down." },
        Threshold { name: "pass_own", default: 0.05, doc: "Share of its time that a hop takes itself, below which it only passes on." },
        Threshold { name: "pass_down", default: 0.9, doc: "Share of its time that its only call takes." },
        Threshold { name: "min_ms", default: 20.0, doc: "Milliseconds that a hop which passes on costs to be told by itself." },
        Threshold { name: "min_share", default: 0.1, doc: "The same as share of the request." },
        Threshold {
            name: "cycle_ms",
            default: 10.0,
            doc: "Milliseconds on the way that a return to a service costs; a return to an operation is told always.",
        },
        Threshold { name: "region_ms", default: 5.0, doc: "Milliseconds on the way that a hop between regions costs." },
    ],
    doc: include_str!("../../docs/rules/deep-chain.md"),
};

/// The rule.
pub struct DeepChain;

impl Detector for DeepChain {
    fn rule(&self) -> &'static Rule {
        &RULE
    }
    fn detect(&self, cx: &Context<'_>) -> Outcome {
        let set = &cx.session.traces;
        if set.spans.is_empty() {
            return Outcome::NotChecked("no trace is open".to_string());
        }
        if cx.calls().is_empty() {
            return Outcome::NotChecked(NO_CALLS.to_string());
        }
        let (list, hops) = chains(cx);
        let mut places: BTreeMap<(Kind, String, String), Vec<Chain>> = BTreeMap::new();
        for chain in list {
            let (service, name) = endpoint(cx, chain.trace);
            places.entry((chain.kind, chain.names(cx), format!("{service} {name}"))).or_default().push(chain);
        }
        let findings = places.into_iter().filter_map(|((kind, names, place), list)| one(cx, kind, &names, &place, &list));
        Outcome::Checked {
            findings: sorted(findings.collect()),
            over: format!("{hops} calls between services in {}", super::counted(set.traces.len(), "trace")),
        }
    }
}

/// Every hop is shorter by so much.
fn shorter(hops: &[(SpanRow, i64)]) -> Edit {
    hops.iter().fold(Edit::default(), |edit, (span, ns)| edit.and(Edit::add_rtt(&[*span], -*ns)))
}

fn case(chain: &Chain) -> Case {
    let own: Vec<(SpanRow, i64)> = chain.hops.iter().filter(|h| h.passes).map(|h| (h.client, h.net.saturating_add(h.own))).collect();
    let all: Vec<(SpanRow, i64)> =
        chain.hops.iter().map(|h| (h.client, if h.passes { h.net.saturating_add(h.own) } else { h.net })).collect();
    let half: Vec<(SpanRow, i64)> = all.iter().map(|(s, ns)| (*s, ns / 2)).collect();
    let (low, high) = match chain.kind {
        Kind::Long => (shorter(&own), shorter(&all)),
        Kind::PassThrough => (shorter(&half), shorter(&all)),
        Kind::SameOperation | Kind::SameService => (Edit::default(), shorter(&all)),
        Kind::Regions => (shorter(&half), shorter(&all)),
    };
    Case { trace: chain.trace, spans: chain.hops.iter().map(|h| h.client).collect(), cost: all.iter().map(|h| h.1).sum(), low, high }
}

fn one(cx: &Context<'_>, kind: Kind, names: &str, place: &str, list: &[Chain]) -> Option<Finding> {
    let set = &cx.session.traces;
    let cases: Vec<Case> = list.iter().map(case).collect();
    let measured = measure(cx, &cases);
    let worst = list.iter().max_by_key(|c| (Some(c.trace) == measured.worst_trace(), c.cost(), std::cmp::Reverse(c.trace)))?;
    let root = set.traces.root[worst.trace.index()].get()?;
    let clipped = Clipped::of(set, worst.trace);
    let whole = clipped.duration(root);
    let net: i64 = worst.hops.iter().map(|h| h.net).sum();
    let passing: Vec<&Hop> = worst.hops.iter().filter(|h| h.passes).collect();
    let n = worst.hops.len();
    // What a slower network does to this request: one millisecond more for each of its remote calls.
    let remote: Vec<SpanRow> = cx.calls().of(worst.trace).iter().map(|c| c.span).collect();
    let slower = replay(set, &clipped, root, &Edit::add_rtt(&remote, 1_000_000)) - whole;
    let after = if net > whole { ", whose own span ends before they do," } else { "" };
    let on_the_way = format!("{} of a request of {}{after} on the way", format_ns(net as f64), format_ns(whole as f64));
    let counted = super::in_traces(measured.ranked.len(), set.traces.len());
    let (title, claim) = match kind {
        Kind::Long => (
            format!("{n} services one below the other in {place}"),
            format!(
                "{place} goes down {n} hops ({names}), which spend {on_the_way}; {} of the hops only pass it on; {counted}.",
                passing.len()
            ),
        ),
        Kind::PassThrough => (
            format!("{names} only passes requests on"),
            format!(
                "{names} spends {} itself and the rest in one call, {} on the way to it; {counted}.",
                format_ns(passing.first().map_or(0, |h| h.own) as f64),
                format_ns(net as f64)
            ),
        ),
        Kind::SameOperation => (
            format!("{place} comes back to an operation that it is in"),
            format!("A request of {place} calls {names}, the last of which it is already in; that spends {on_the_way}; {counted}."),
        ),
        Kind::SameService => (
            format!("{place} comes back to a service that it left"),
            format!("A request of {place} passes {names} and so comes back; that spends {on_the_way}; {counted}."),
        ),
        Kind::Regions => {
            (format!("{names} crosses regions"), format!("The call {names} goes from {}; {on_the_way}; {counted}.", worst.regions))
        }
    };
    let first = worst.hops.first()?.client;
    let last = worst.hops.last()?.client;
    let mut evidence = vec![(format!("The first hop is {}, the last {}.", named(cx, first), named(cx, last)), last)];
    if let Some(pass) = passing.first() {
        evidence.push((format!("{} does {} of work itself.", named(cx, pass.server), format_ns(pass.own as f64)), pass.server));
    }
    let said = Said {
        title,
        message: format!("{claim} With a millisecond more on each remote call the request takes {} longer.", format_ns(slower as f64)),
        subject: Subject { kind: "call-path", name: names.to_string(), path: names.split(" → ").map(str::to_string).collect(), ..Subject::default() },
        confidence: if passing.is_empty() { Confidence::Possible } else { Confidence::Likely },
        model: match kind {
            Kind::Long => "Replay of the requests without the hops that only pass on (at worst), and with none of the time on the way either (at best).",
            Kind::PassThrough | Kind::Regions => "Replay of the requests with half (at worst) or nothing (at best) of what the hop costs on the way and by itself.",
            _ => "Replay of the requests without the time on the way of the hops of the circle (at best); nothing, where the circle is needed (at worst).",
        }
        .to_string(),
        evidence,
        caveats: vec!["Gateways and proxies pass on by their nature: they authenticate, limit and route.".to_string()],
        remedies: match kind {
            Kind::Regions => vec!["Call an instance in the same region, replicate what is read, or move the caller.".to_string()],
            Kind::SameOperation | Kind::SameService => vec!["Pass on what the callee comes back for, or move it below both.".to_string()],
            _ => vec!["Call the service that does the work; merge a hop that adds nothing into its neighbour.".to_string()],
        },
        ..Said::default()
    };
    Some(finding(cx, &RULE, &cases, &measured, &[kind.word(), names, place], said))
}
