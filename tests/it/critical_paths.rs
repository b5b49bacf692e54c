//! Critical paths, slack and what-ifs of all traces of the corpus, and a labelled case worked out by hand.

use crate::corpus::{expected, fixture, open};
use hotspan::analysis::clipped::Clipped;
use hotspan::analysis::critical_path::critical_path;
use hotspan::analysis::critical_profile::critical_profile;
use hotspan::analysis::path_times::PathTimes;
use hotspan::analysis::replay::{Edit, replay_times};
use hotspan::analysis::slack::slack;
use hotspan::analysis::what_if::{apply, parse};
use hotspan::base::ids::{SpanRow, TraceRow};
use hotspan::engine::Engine;
use hotspan::report::folded::folded;

/// Every way to add up a critical path gives the root's duration, exactly.
fn partition(name: &str, engine: &Engine) -> usize {
    let session = &engine.session;
    let set = &session.traces;
    let times = PathTimes::new(session, |_, _| true);
    let mut whole = 0_i64;
    for trace in (0..set.traces.len()).map(TraceRow::from_index) {
        let Some(root) = set.traces.root[trace.index()].get() else { continue };
        let clipped = Clipped::of(set, trace);
        let sections = critical_path(set, &clipped, root);
        let duration = set.spans.duration_ns[root.index()];
        assert_eq!(sections.iter().map(|s| s.to - s.from).sum::<i64>(), duration, "{name}: sections");
        assert!(sections.windows(2).all(|w| w[0].to == w[1].from), "{name}: a gap or an overlap");
        for s in &sections {
            assert!(s.from >= clipped.start(s.span) && s.to <= clipped.end(s.span), "{name}: a section outside its span");
        }
        assert_eq!(times.total(trace), duration, "{name}: by path");
        whole += duration;
        // What is on the path at the root's end has no slack; nothing has less than none.
        let slack = slack(set, &clipped, root);
        assert_eq!(slack[clipped.position(root)], Some(0), "{name}");
        for span in set.traces.spans(trace) {
            let own = slack[clipped.position(span)];
            assert!(own.is_none_or(|s| (0..=duration).contains(&s)), "{name}: slack {own:?} of {duration}");
        }
        // No change, no difference, wherever a span lies.
        let leaves: Vec<SpanRow> = set.traces.spans(trace).filter(|s| set.children(*s).is_empty()).collect();
        let same = replay_times(set, &clipped, &Edit::scale(&leaves, 1.0));
        for span in set.traces.spans(trace) {
            let at = clipped.position(span);
            assert_eq!((same.start[at], same.duration[at]), (clipped.start(span), clipped.duration(span)), "{name}");
        }
    }
    if let Some(paths) = critical_profile(session, "", "") {
        let text = folded(&paths, 0, 0, None).text;
        let sum: i64 = text.lines().map(|l| l.rsplit(' ').next().unwrap().parse::<i64>().unwrap()).sum();
        assert_eq!(sum, whole, "{name}: folded");
    }
    set.traces.len()
}

#[test]
fn critical_paths_are_partitions_of_every_trace() {
    let mut traces = partition("otlp-json/shop.json", &fixture("otlp-json/shop.json"));
    for (file, expect, _) in expected(&["otlp", "jaeger", "zipkin"]) {
        if expect == "ok" {
            traces += partition(&file, &open(&file).unwrap());
        }
    }
    println!("{traces} traces");
    assert!(traces > 0);
}

#[test]
fn one_call_instead_of_thirteen_drivers_one_after_the_other() {
    let Some(engine) = open("otlp/jaeger--n_plus_one_positive.json") else { return };
    let (set, strings) = (&engine.session.traces, &engine.session.strings);
    let driver = set.traces.spans(TraceRow(0)).find(|s| set.name(strings, *s) == "GetDriver").unwrap();
    let id = set.id_text(strings, set.spans.id[driver.index()]);
    let outcome = |text: String| apply(set, strings, TraceRow(0), &[parse(&text).unwrap()]).unwrap();
    let batch = outcome(format!("batch:{id}+siblings"));
    assert_eq!(batch.spans[0].len(), 13, "the label of the file");
    // The calls follow one another and nothing runs beside them: by hand, the request gets shorter by their stretch of time
    // and longer by the slowest of them; at worst the caller's own time between them stays.
    let times: Vec<(i64, i64)> = batch.spans[0].iter().map(|s| (set.spans.start_ns[s.index()], set.spans.end_ns(*s))).collect();
    assert!(times.windows(2).all(|w| w[0].1 <= w[1].0));
    let stretch = times[12].1 - times[0].0;
    let slowest = times.iter().map(|(a, b)| b - a).max().unwrap();
    assert_eq!(batch.before_ns - batch.best_ns, stretch - slowest);
    assert!(batch.best_ns < batch.worst_ns && batch.worst_ns < batch.before_ns);
    let list: Vec<String> = batch.spans[0].iter().map(|s| set.id_text(strings, set.spans.id[s.index()])).collect();
    let same = outcome(format!("batch:{}", list.join(",")));
    assert_eq!((same.best_ns, same.worst_ns), (batch.best_ns, batch.worst_ns));
    // Removed one by one or all at once, the gaps stay: the sum of the calls is saved.
    let sum: i64 = times.iter().map(|(a, b)| b - a).sum();
    let gone = outcome(format!("zero:{id}+siblings"));
    assert_eq!(gone.before_ns - gone.worst_ns, sum);
}
