//! Generated files against what their generator planted and counted while it wrote them (`*.truth.json` beside each).

use crate::corpus::{Table, open_bytes};
use hotspan::base::ids::StackId;
use hotspan::engine::Engine;
use hotspan::model::Session;
use hotspan::model::profile::Profile;
use hotspan::model::trace::SPAN_ERROR;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

const HOT: &str = "acme::planted::HotLoop::spin";

/// The generator, built once; `None`, said aloud, where it is not there.
fn generator() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = root.join("../shared/gen/Cargo.toml");
    if !manifest.exists() {
        println!("SKIPPED: ../shared/gen is absent, so nothing was compared with what a generator planted");
        return None;
    }
    let target = root.join("target/bench-gen");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--quiet", "--manifest-path"])
        .arg(manifest)
        .env("CARGO_TARGET_DIR", &target)
        // A test runs below cargo, which sets flags for its own build.
        .env_remove("RUSTFLAGS")
        .status();
    assert!(built.is_ok_and(|s| s.success()), "the generator does not build");
    Some(target.join("release/hsgen"))
}

/// Makes a small file of a kind and opens it: what was read, and the truth.
fn made(kind: &str, size: &[&str]) -> Option<(Engine, Value)> {
    let tool = generator()?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/truth");
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join(format!("{kind}-{}", std::process::id()));
    let truth = folder.join(format!("{kind}-{}.truth.json", std::process::id()));
    assert!(Command::new(tool).arg(kind).arg(&file).args(size).status().unwrap().success(), "{kind}");
    let engine = open_bytes(std::fs::read(&file).unwrap());
    let facts = serde_json::from_str(&std::fs::read_to_string(&truth).unwrap()).unwrap();
    std::fs::remove_file(file).unwrap();
    std::fs::remove_file(truth).unwrap();
    let source = &engine.session.sources[0];
    assert_eq!(source.error, None, "{kind}");
    assert_eq!(source.ledger.records_in, source.ledger.records_kept, "{kind}: a generated file is sound");
    Some((engine, facts))
}

fn number(facts: &Value, fact: &str) -> i64 {
    facts[fact].as_i64().unwrap_or_else(|| panic!("the truth does not tell {fact}"))
}

/// Names of a stack's functions as the file gives them, leaf first.
fn names(session: &Session, stack: StackId) -> Vec<&str> {
    let funcs = &session.symbols.funcs;
    let name = |frame: hotspan::base::ids::FrameId| {
        let func = session.symbols.frames.func[frame.index()].index();
        let full = if funcs.system_name[func].is_none() { funcs.name[func] } else { funcs.system_name[func] };
        session.strings.get(full)
    };
    session.symbols.stacks.leaf_to_root(stack).map(name).collect()
}

/// Weight by function: of samples that end in it, and of samples that hold it.
fn flat_and_cum(session: &Session, p: &Profile, value: usize) -> (BTreeMap<String, i64>, BTreeMap<String, i64>) {
    let (mut flat, mut cum) = (BTreeMap::new(), BTreeMap::new());
    for (stack, weight) in p.samples.stack.iter().zip(&p.samples.values[value]) {
        let names = names(session, *stack);
        *flat.entry(names[0].to_string()).or_default() += weight;
        for name in names.into_iter().collect::<BTreeSet<_>>() {
            *cum.entry(name.to_string()).or_default() += weight;
        }
    }
    (flat, cum)
}

/// Compares a list of names and weights. A truth names functions without the hash of Rust's legacy mangling.
fn check_top(table: &mut Table, file: &str, fact: &str, ours: &BTreeMap<String, i64>, truth: &Value) {
    let mut plain: BTreeMap<&str, i64> = BTreeMap::new();
    for (name, weight) in ours {
        let hash = name.rsplit_once("::h").filter(|(_, hash)| hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit()));
        *plain.entry(hash.map_or(name.as_str(), |(name, _)| name)).or_default() += weight;
    }
    let list = truth.as_array().unwrap();
    assert!(list.len() >= 5, "{file}: {fact} is empty");
    for pair in list {
        let (name, weight) = (pair[0].as_str().unwrap(), pair[1].as_i64().unwrap());
        let (name, _) = name.rsplit_once("::h").filter(|(_, hash)| hash.len() == 16).unwrap_or((name, ""));
        table.check(file, &format!("{fact} {name}"), plain.get(name).copied().unwrap_or(0), weight);
    }
}

#[test]
fn perf_script() {
    let Some((engine, truth)) = made("perf", &["--mb", "2"]) else { return };
    let (session, mut table) = (&engine.session, Table::default());
    table.file();
    let all = || session.profiles.iter().flat_map(|p| p.samples.stack.iter().map(move |stack| (p, *stack)));
    table.check("perf", "samples", all().count() as i64, number(&truth, "samples"));
    let depth = |stack: StackId| i64::from(session.symbols.stacks.depth[stack.index()]) + 1;
    table.check("perf", "frames", all().map(|(_, stack)| depth(stack)).sum(), number(&truth, "frames"));
    table.check("perf", "depth", all().map(|(_, stack)| depth(stack)).max().unwrap(), number(&truth, "max_depth"));
    let hot = all().filter(|(_, stack)| names(session, *stack)[0].starts_with(HOT)).count();
    table.check("perf", "planted", hot as i64, number(&truth, "planted_hot_samples"));
    for event in ["cycles", "instructions"] {
        let p = session.profiles.iter().find(|p| p.name == event).unwrap();
        table.check("perf", event, p.samples.len() as i64, number(&truth, &format!("{event}_samples")));
        table.check("perf", event, p.total(1), number(&truth, &format!("{event}_period_sum")));
    }
    let cycles = session.profiles.iter().find(|p| p.name == "cycles").unwrap();
    let (flat, cum) = flat_and_cum(session, cycles, 1);
    check_top(&mut table, "perf", "self", &flat, &truth["top_self_cycles"]);
    check_top(&mut table, "perf", "total", &cum, &truth["top_total_cycles"]);
    let mut threads: BTreeMap<String, i64> = BTreeMap::new();
    for p in &session.profiles {
        for thread in &p.samples.thread {
            let t = &p.threads[thread.index()];
            *threads.entry(format!("{}/{}", t.name, t.tid)).or_default() += 1;
        }
    }
    let expected: BTreeMap<String, i64> = serde_json::from_value(truth["thread_samples"].clone()).unwrap();
    table.check("perf", "threads", threads, expected);
    table.finish("perf script", &[]);
}

#[test]
fn cpuprofile() {
    let Some((engine, truth)) = made("cpuprofile", &["--mb", "2"]) else { return };
    let mut table = Table::default();
    table.file();
    let p = &engine.session.profiles[0];
    table.check("cpuprofile", "samples", p.samples.len() as i64, number(&truth, "samples"));
    table.check("cpuprofile", "counted", p.total(0), number(&truth, "samples"));
    // The recording begins at 5,000 s of its clock; each sample but the last lasts up to the next one.
    let last = p.samples.time_ns.iter().max().unwrap() / 1000;
    table.check("cpuprofile", "time", last - 5_000_000_000, number(&truth, "time_us"));
    let owned: i64 = p.samples.values[1][..p.samples.len() - 1].iter().sum();
    table.check("cpuprofile", "self", owned, (last * 1000) - p.samples.time_ns[0]);
    table.finish("cpuprofile", &[]);
}

#[test]
fn folded() {
    let Some((engine, truth)) = made("folded", &["--mb", "2"]) else { return };
    let (session, mut table) = (&engine.session, Table::default());
    table.file();
    let p = &session.profiles[0];
    table.check("folded", "lines", p.samples.len() as i64, number(&truth, "lines"));
    table.check("folded", "weight", p.total(0), number(&truth, "total_weight"));
    let hot = p.samples.stack.iter().zip(&p.samples.values[0]).filter(|(s, _)| names(session, **s)[0].starts_with(HOT));
    table.check("folded", "planted", hot.map(|(_, w)| *w).sum(), number(&truth, "planted_hot_weight"));
    table.finish("folded", &[]);
}

#[test]
fn chrome() {
    let mut table = Table::default();
    // With begin and end events, and with complete events alone.
    for (file, arguments) in [("chrome B/E/X", &["--mb", "2"][..]), ("chrome X", &["--mb", "2", "--be", "0"])] {
        let Some((engine, truth)) = made("chrome", arguments) else { return };
        let session = &engine.session;
        table.file();
        let p = &session.profiles[0];
        let slices = p.slices.as_ref().unwrap();
        let events = &truth["events_by_ph"];
        let of = |ph: &str| events[ph].as_i64().unwrap_or(0);
        table.check(file, "slices", slices.start_ns.len() as i64, of("X") + of("B"));
        table.check(file, "threads", p.threads.len() as i64, number(&truth, "threads"));
        table.check(file, "depth", i64::from(*slices.depth.iter().max().unwrap()) + 1, number(&truth, "max_depth"));
        let hot: Vec<usize> = (0..slices.stack.len()).filter(|i| names(session, slices.stack[*i])[0] == "PlantedHot").collect();
        table.check(file, "planted", hot.len() as i64, number(&truth, "planted_hot_slices"));
        table.check(file, "planted time", hot.iter().map(|i| slices.duration_ns[*i] / 1000).sum(), number(&truth, "planted_hot_us"));
        // Begin and end events carry nanoseconds that the truth does not count: less than one microsecond each.
        let top: Vec<i64> = (0..slices.depth.len()).filter(|i| slices.depth[*i] == 0).map(|i| slices.duration_ns[i]).collect();
        let off = (top.iter().sum::<i64>() - number(&truth, "top_level_us") * 1000).abs();
        table.check(file, "top level", off <= if of("B") > 0 { top.len() as i64 * 1000 } else { 0 }, true);
    }
    table.finish("Chrome traces", &[]);
}

#[test]
fn pprof() {
    let mut table = Table::default();
    for kind in ["pprof-cpu", "pprof-heap"] {
        let Some((engine, truth)) = made(kind, &["--samples", "6000"]) else { return };
        let session = &engine.session;
        table.file();
        let p = &session.profiles[0];
        table.check(kind, "samples", p.samples.len() as i64, number(&truth, "samples"));
        let types: Vec<Value> = p.value_types.iter().map(|t| t.name.as_str().into()).collect();
        table.check(kind, "types", &types, truth["sample_types"].as_array().unwrap());
        for (value, sum) in truth["sums"].as_array().unwrap().iter().enumerate() {
            table.check(kind, "sum", p.total(value), sum.as_i64().unwrap());
        }
        table.check(kind, "mappings", session.symbols.mappings.file.len() as i64, number(&truth, "mappings"));
        let (flat, _) = flat_and_cum(session, p, 1);
        check_top(&mut table, kind, "self", &flat, &truth["top_self_last_or_alloc_space"]);
        if kind == "pprof-cpu" {
            let planted = p.samples.stack.iter().zip(&p.samples.values[1]).filter(|(s, _)| {
                // The generator's first location is the planted one; functions inlined elsewhere do not count.
                let leaf = session.symbols.stacks.frame[s.index()];
                names(session, **s)[0].starts_with(HOT) && session.symbols.frames.flags[leaf.index()] == 0
            });
            let (count, weight) = planted.fold((0, 0), |(n, sum), (_, w)| (n + 1, sum + w));
            table.check(kind, "planted samples", count >= number(&truth, "planted_hot_samples"), true);
            table.check(kind, "planted weight", weight >= number(&truth, "planted_hot_value"), true);
            let mut endpoints: BTreeMap<String, i64> = BTreeMap::new();
            for (set, count) in p.samples.labels.iter().zip(&p.samples.values[0]) {
                for label in p.labels.set(*set).iter().filter(|l| session.strings.get(l.key) == "endpoint") {
                    *endpoints.entry(session.strings.get(label.text).to_string()).or_default() += count;
                }
            }
            let expected: BTreeMap<String, i64> = serde_json::from_value(truth["endpoint_sample_counts"].clone()).unwrap();
            table.check(kind, "labels", endpoints, expected);
        }
    }
    table.finish("pprof", &[]);
}

#[test]
fn spans() {
    let mut table = Table::default();
    for kind in ["otlp", "jaeger"] {
        let Some((engine, truth)) = made(kind, &["--spans", "20000", "--traces", "200"]) else { return };
        let (spans, traces) = (&engine.session.traces.spans, &engine.session.traces.traces);
        table.file();
        table.check(kind, "spans", spans.len() as i64, number(&truth, "spans"));
        table.check(kind, "traces", traces.id.len() as i64, number(&truth, "traces"));
        let failed = spans.flags.iter().filter(|f| **f & SPAN_ERROR != 0).count();
        table.check(kind, "errors", failed as i64, number(&truth, "error_spans"));
        // The truth counts levels below the root.
        table.check(kind, "depth", i64::from(*traces.max_depth.iter().max().unwrap()), number(&truth, "max_depth") + 1);
        table.check(kind, "services", engine.session.traces.services.len() as i64, number(&truth, "services"));
        let mut sizes: Vec<i64> = traces.first_span.iter().zip(&traces.end_span).map(|(a, b)| i64::from(b.0 - a.0)).collect();
        sizes.sort_unstable();
        table.check(kind, "largest trace", *sizes.last().unwrap(), number(&truth, "largest_trace_spans"));
        table.check(kind, "median trace", sizes[sizes.len() / 2], number(&truth, "median_trace_spans"));
        let roots = traces.root.iter().map(|root| spans.duration_ns[root.index()] / 1000);
        table.check(kind, "longest root", roots.max().unwrap(), number(&truth, "longest_root_us"));
        // Each planted trace holds one caller with 40 queries, equal to the letter, one after the other. The rule on duplicates
        // names them (or that on transitive calls, where others asked the same). A query that failed and was followed by the
        // same one again is an attempt, which the rule on retries counts, and no repetition (TRACES 3.3.3). No healthy caller
        // has nearly as many.
        let planted = number(&truth, "planted_nplus1_traces");
        let mut expected = Vec::new();
        for parent in (0..spans.len()).map(hotspan::base::ids::SpanRow::from_index) {
            let name = |s: &hotspan::base::ids::SpanRow| engine.session.traces.name(&engine.session.strings, *s);
            let own = engine.session.traces.children(parent).to_vec();
            let Some(most) = own.iter().find(|s| own.iter().filter(|o| name(o) == name(s)).count() >= 40) else { continue };
            let mut queries: Vec<_> = own.iter().copied().filter(|s| name(s) == name(most)).collect();
            queries.sort_by_key(|s| spans.start_ns[s.index()]);
            let made_again = queries.iter().rev().skip(1).filter(|s| spans.flags[s.index()] & SPAN_ERROR != 0).count();
            expected.push(queries.len() - made_again);
        }
        expected.sort_unstable();
        // A finding and what stands under it as the same speak of one caller, its places each of another.
        let number_of = |rule: &str, title: &str| {
            let n = title.split(' ').next().and_then(|n| n.parse::<usize>().ok());
            n.filter(|n| *n >= 30 && rule.starts_with("chatty-"))
        };
        let mut found: Vec<usize> = Vec::new();
        for f in &engine.report.findings {
            let same = f.also.iter().filter_map(|r| number_of(r.rule, &r.title));
            found.extend(number_of(f.rule, &f.title).into_iter().chain(same).max());
            found.extend(f.places.iter().filter_map(|r| number_of(r.rule, &r.title)));
        }
        found.sort_unstable();
        table.check(kind, "planted callers found", found.len() as i64, planted);
        // The caller's other code, and hops below it, may ask the same a few times more, also once more after the last failure.
        let all = found.iter().zip(&expected).all(|(told, asked)| (asked - 1..=asked + 4).contains(told));
        table.check(kind, &format!("calls: {found:?} told, {expected:?} asked"), all, true);
    }
    table.finish("OTLP and Jaeger", &[]);
}
