//! Every finding of every rule has all its parts, its links lead somewhere, and its query gives the same numbers again: over the
//! project's fixtures, a part of the corpus, and generated systems.

use crate::corpus::folder;
use crate::generator::{otlp, plants, run};
use hotspan::base::ids::{SpanRow, StringId};
use hotspan::base::view::{View, ViewRef};
use hotspan::engine::{Engine, Settings};
use hotspan::findings::DETECTORS;
use hotspan::findings::finding::{Finding, Severity};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

fn engine(bytes: &[u8], settings: &str) -> Engine {
    let mut engine = Engine { settings: Settings::parse(settings).unwrap(), ..Engine::default() };
    engine.open("x", bytes.len() as u64, Box::new(std::io::Cursor::new(bytes.to_vec())), &mut |_| true);
    engine.finish();
    engine
}

/// Names of what is opened, its bytes, and a target for all its operations.
fn inputs() -> Vec<(String, Vec<u8>, String)> {
    let mut out = Vec::new();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    for name in crate::kinds::KINDS {
        out.push(((*name).to_string(), std::fs::read(fixtures.join(name)).unwrap(), String::new()));
    }
    for name in ["otlp-json/checkout.json", "pprof/heap1.pb.gz", "pprof/mutex.pb.gz", "perf-script/java-UseG1GC.perf-script.txt.gz"] {
        if let Ok(bytes) = std::fs::read(fixtures.join(name)) {
            out.push((name.to_string(), bytes, String::new()));
        }
    }
    let corpus = [
        "chrome-trace/lighthouse--timespan-responsiveness-m103.trace.json",
        "cpuprofile/speedscope--sucrase.cpuprofile.gz",
        "pprof/pprofutils--anon.in.pprof",
        "pprof/pprofutils--labelframes.in.pprof",
        "pprof/gdu--default.pgo",
        "pprof/cs--default.pgo",
        "folded/inferno--bad-lines.txt",
        "perf-script/flamegraph--perf-iperf-stacks-pidtid-01.txt",
        "perf-script/flamegraph--example-perf-stacks.txt.gz",
        "otlp/jaeger--error_timeout_masked.json",
        "otlp/jaeger--n_plus_one_near_miss.json",
        "zipkin/zipkin--messaging-kafka.json",
        "zipkin/zipkin--smartthings-oauth-authorization.json",
        "jaeger/jaeger--ui_01.json",
        "otlp/rf--malformed_trace.json",
    ];
    if let Some(folder) = folder() {
        out.extend(corpus.iter().map(|name| ((*name).to_string(), std::fs::read(folder.join(name)).unwrap(), String::new())));
    }
    // One system of each kind of defect.
    for number in (0..2 * plants::PLANTS.len() as u64).filter(|n| n % 2 == 1) {
        let bytes = otlp::write(&run::spans(&plants::case(number).system));
        out.push((format!("system {number}"), bytes, "[[target]]\np95 = \"5 ms\"\n".to_string()));
    }
    out
}

/// What is wrong with a finding, a sentence each.
fn lacks(engine: &Engine, f: &Finding) -> Vec<String> {
    let mut out = Vec::new();
    let mut need = |holds: bool, what: &str| {
        if !holds {
            out.push(what.to_string());
        }
    };
    let recording = f.rule.starts_with("recording-");
    need(f.fingerprint.len() == 16 && f.fingerprint.bytes().all(|b| b.is_ascii_hexdigit()), "fingerprint");
    need(!f.id.is_empty() && !f.title.is_empty() && f.title.chars().count() <= 300, "id or title");
    need(f.message.ends_with('.') && f.message.bytes().any(|b| b.is_ascii_digit()), "a sentence with numbers");
    need(!f.message.contains("  ") && !f.message.contains("NaN") && !f.message.contains("inf "), "well-formed words");
    need(f.score <= 100 && Severity::of_score(f64::from(f.score)) >= Some(f.severity), "a score that fits the severity");
    need(!f.subject.kind.is_empty() && !f.subject.name.is_empty(), "subject");
    need(!f.remedies.is_empty() && f.remedies.iter().all(|r| !r.is_empty()), "remedy");
    need(f.caveats.iter().all(|c| c.ends_with('.')), "caveats in sentences");
    if let Some(share) = &f.share {
        need(
            share.low <= share.p + 1e-9 && share.p <= share.high + 1e-9 && share.n > 0 && !share.of.is_empty(),
            "share with interval and n",
        );
        need((0.0..=1.0).contains(&share.p), "share between 0 and 1");
    }
    need(recording || f.share.is_some() || !f.caveats.is_empty(), "share, or the caveat that says why there is none");
    if !recording {
        need(!f.impact.unit.is_empty() && !f.impact.model.is_empty() && f.impact.amount >= 0, "impact with unit and model");
        need(0 <= f.impact.recoverable_low && f.impact.recoverable_low <= f.impact.recoverable_high, "range");
    }
    if f.rule == "slow-endpoint" || f.rule.starts_with("chatty") || f.occurrences.of_traces > 0 {
        let o = &f.occurrences;
        need(0 < o.traces && o.traces <= o.of_traces && o.count >= o.traces, "k of N traces");
        let known = |text: &str| text.rsplit_once('/').is_some_and(|(trace, span)| trace_of(engine, trace) && span_of(engine, trace, span));
        need(!o.exemplars.is_empty() && o.exemplars.iter().chain([&o.median, &o.newest]).all(|e| known(e)), "worst, median and newest");
    }
    need(!f.evidence.is_empty(), "evidence");
    for e in &f.evidence {
        need(!e.text.is_empty() && ViewRef::parse(&e.view.to_hash()) == e.view, "evidence whose link gives its view");
        need(leads_somewhere(engine, &e.view), &format!("a link that leads somewhere: {}", e.view.to_hash()));
    }
    need(f.query.starts_with("hotspan analyze ") && f.query.contains(&format!("--rule {}", f.rule)), "query");
    out
}

fn trace_of(engine: &Engine, id: &str) -> bool {
    let set = &engine.session.traces;
    set.traces.id.iter().any(|t| engine.session.strings.get(*t) == id)
}

fn span_of(engine: &Engine, trace: &str, id: &str) -> bool {
    let (set, strings) = (&engine.session.traces, &engine.session.strings);
    let of = |s: SpanRow| strings.get(set.spans.trace_id[s.index()]) == trace && set.id_text(strings, set.spans.id[s.index()]) == id;
    (0..set.spans.len()).map(SpanRow::from_index).any(of)
}

fn leads_somewhere(engine: &Engine, view: &ViewRef) -> bool {
    let session = &engine.session;
    let profile = view.profile.map(|p| session.profiles.get(p as usize));
    let named = |name: &str| {
        let id = session.strings.find(name);
        name.starts_with('[') || id.is_some_and(|id: StringId| session.symbols.funcs.find_by_name(id).is_some())
    };
    let places = match view.view {
        View::Flame | View::Functions => profile.is_some_and(|p| p.is_some()),
        View::Traces => view.trace.as_deref().is_none_or(|t| trace_of(engine, t)),
        View::Services => view.service.is_some() || view.operation.is_some() || view.search.is_some(),
        View::Files => view.source.is_some_and(|s| (s as usize) < session.sources.len()),
        View::Findings | View::Compare => true,
    };
    let value = match (&view.value, profile.flatten()) {
        (Some(value), Some(p)) => p.value_index(value).is_some(),
        _ => true,
    };
    let functions = view.function.iter().chain(&view.path).all(|name| named(name));
    let span = match (&view.trace, &view.span) {
        (Some(trace), Some(span)) => span_of(engine, trace, span),
        _ => true,
    };
    places && value && functions && span
}

#[test]
fn every_finding_has_all_its_parts_and_its_links_lead_somewhere() {
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    let mut wrong: BTreeSet<String> = BTreeSet::new();
    for (name, bytes, settings) in inputs() {
        let engine = engine(&bytes, &settings);
        let prints: BTreeSet<&str> = engine.report.findings.iter().map(|f| f.fingerprint.as_str()).collect();
        assert_eq!(prints.len(), engine.report.findings.len(), "{name}: fingerprints tell findings apart");
        for f in &engine.report.findings {
            *seen.entry(f.rule).or_default() += 1;
            let missing = lacks(&engine, f);
            wrong.extend(missing.into_iter().map(|what| format!("{} of {name}: no {what} ({})", f.rule, f.title)));
        }
    }
    let never: Vec<&str> = DETECTORS.iter().map(|d| d.rule().id).filter(|id| !seen.contains_key(id)).collect();
    println!("{} rules speak, {never:?} do not", seen.len());
    assert!(wrong.is_empty(), "{}", wrong.into_iter().take(60).collect::<Vec<_>>().join("\n"));
    assert!(seen.len() >= 45, "{} rules speak: {seen:?}", seen.len());
}

#[test]
fn the_query_of_a_finding_gives_its_numbers_again() {
    let mut compared = 0;
    for (name, bytes, settings) in inputs().into_iter().step_by(2) {
        let whole = engine(&bytes, &settings);
        let rules: BTreeSet<&str> = whole.report.findings.iter().map(|f| f.rule).collect();
        for rule in rules {
            let mut alone = Engine { settings: Settings::parse(&settings).unwrap(), ..Engine::default() };
            alone.settings.only = vec![rule.to_string()];
            alone.open("x", bytes.len() as u64, Box::new(std::io::Cursor::new(bytes.clone())), &mut |_| true);
            alone.finish();
            for f in whole.report.findings.iter().filter(|f| f.rule == rule) {
                let own = |message: &str| message.split(" The same is said, with less weight,").next().unwrap_or("").to_string();
                // Alone, a note may stand under another of its shape.
                let led = alone.report.findings.iter().find(|g| g.rule == rule && own(&g.message) == own(&f.message));
                let under = || alone.report.findings.iter().flat_map(|g| &g.places).find(|p| p.fingerprint == f.fingerprint);
                match led {
                    Some(g) => {
                        assert_eq!((&g.impact, &g.share, &g.occurrences), (&f.impact, &f.share, &f.occurrences), "{name}: {rule}");
                    }
                    None => assert_eq!(under().map(|p| own(&p.message)), Some(own(&f.message)), "{name}: {rule} {}", f.title),
                }
                compared += 1;
            }
        }
    }
    assert!(compared > 40, "{compared} findings were asked for again");
}
