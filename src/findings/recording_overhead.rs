//! The observer's share: samples in profilers, tracers and their unwinders.

use super::active::Active;
use super::doctor::{FAMILY, MOST_INFO, Symptom, flame_view, over_cpu};
use super::finding::{Evidence, Rule, ShareOf, Threshold};
use super::{Context, Detector, Outcome};
use crate::base::quantity::format_share;
use crate::base::stats::{map_exp100, wilson};

/// The rule.
pub struct Overhead;

/// Its documentation.
pub const RULE: Rule = Rule {
    id: "recording-overhead",
    name: "Profiler overhead",
    family: FAMILY,
    summary: "Profiling or tracing itself takes a visible part of the samples.",
    remedies: &["Sample less often, trace less, or take the observer out of the production build."],
    thresholds: &[
        Threshold {
            name: "info-share",
            default: 0.03,
            doc: "share of active samples below an observer's frame that scores 25; PROFILES 3",
        },
        Threshold { name: "warning-share", default: 0.08, doc: "share that would score 75; the rule stays at info; PROFILES 3" },
    ],
    doc: include_str!("../../docs/rules/recording-overhead.md"),
};

impl Detector for Overhead {
    fn rule(&self) -> &'static Rule {
        &RULE
    }

    fn detect(&self, cx: &Context<'_>) -> Outcome {
        let (info, warning) = (cx.threshold(&RULE, "info-share"), cx.threshold(&RULE, "warning-share"));
        over_cpu(cx, &RULE, |active| {
            let under = observed(active);
            let hit: i64 = active.stacks.iter().filter(|a| under[a.stack.index()]).map(|a| a.count).sum();
            let share = wilson(hit as f64, active.count.max(0) as u64);
            if hit < 10 || share.low < info {
                return None;
            }
            Some(Symptom {
                key: active.profile.name.clone(),
                score: map_exp100(share.low, info, warning).min(MOST_INFO),
                title: format!("{} of the time goes to profiling and tracing", format_share(share.p)),
                message: format!(
                    "{} of the active samples lie in frames of profilers, tracers or their unwinders: without them the program would be faster than this recording shows.",
                    format_share(share.p)
                ),
                share: active.counted.then(|| ShareOf::new(share, "active samples")),
                count: hit.max(0) as u64,
                evidence: vec![Evidence { text: "The observer's frames are in the flame graph.".to_string(), view: flame_view(active) }],
                remedies: RULE.remedies.iter().map(|r| (*r).to_string()).collect(),
                caveats: vec!["A program whose own work is tracing or profiling is no victim of it.".to_string()],
                ..Symptom::default()
            })
        })
    }
}

/// What a tracer wraps is not its own work: the program's code, and calls that libraries make for it.
const WRAPPED: [&str; 2] = ["dbdriver", "rpc"];

/// By stack: whether its topmost frame is an observer's, or runs for one. Instrumentation calls what it measures
/// (`otelhttp.(*Handler).ServeHTTP`), so that an observer's share ends where the program's own functions begin.
fn observed(active: &Active<'_>) -> Vec<bool> {
    let s = &active.session.symbols;
    let library = active.library();
    let mut under = vec![false; s.stacks.len()];
    for row in 0..under.len() {
        let func = s.funcs.canonical[s.frames.func[s.stacks.frame[row].index()].index()];
        let class = active.class_of(func);
        let below = s.stacks.prefix[row].get().is_some_and(|p| under[p.index()]);
        under[row] = class.has("tracing_overhead") || below && library[func.index()] && !class.any(&WRAPPED);
    }
    under
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::drawn_stacks::drawn;
    use crate::base::ids::ProfileId;

    #[test]
    fn what_instrumentation_wraps_is_not_its_own() {
        let session = drawn(
            "runtime.goexit;main.main;go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp.(*Handler).ServeHTTP;main.handle;runtime.mallocgc 50\n\
             runtime.goexit;go.opentelemetry.io/otel/sdk/trace.(*batchSpanProcessor).OnEnd;runtime.mallocgc 30\n\
             runtime.goexit;main.main;main.handle;runtime.mallocgc 20",
        );
        let active = Active::new(&session, ProfileId(0), &session.profiles[0]);
        let under = observed(&active);
        let of = |i: usize| under[session.profiles[0].samples.stack[i].index()];
        assert_eq!([of(0), of(1), of(2)], [false, true, false]);
    }
}
