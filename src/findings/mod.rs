//! Findings: rules, evidence, ranking. A rule is one file and one line in [`DETECTORS`].

pub mod active;
pub mod allocation_in_hot_loop;
pub mod allocation_pressure;
pub mod allocation_sites;
pub mod attempts;
pub mod batch;
pub mod bursts;
pub mod call_facts;
pub mod call_place;
pub mod calls;
pub mod chains;
pub mod chatty;
pub mod chatty_duplicate;
pub mod chatty_fan_out;
pub mod chatty_n_plus_one;
pub mod chatty_transitive;
pub mod compare;
pub mod compare_flame;
pub mod compare_paths;
pub mod compare_profiles;
pub mod compare_traces;
pub mod connection_churn;
pub mod connections;
pub mod cost_rule;
pub mod cost_specs;
pub mod cost_specs_system;
pub mod cost_specs_work;
pub mod costs;
pub mod cpu_evidence;
pub mod deep_chain;
pub mod deep_hops;
pub mod doctor;
pub mod endpoint_cpu;
pub mod error_origin;
pub mod executions;
pub mod facts;
pub mod fan_out_width;
pub mod finding;
pub mod fold;
pub mod given_up;
pub mod growth_law;
pub mod heap_growth;
pub mod hidden_loop;
pub mod hot_loop;
pub mod large_payload;
pub mod lock_wait;
pub mod long_run;
pub mod loop_kind;
mod loop_rows;
pub mod loop_seen;
pub mod loop_shape;
pub mod loop_text;
pub mod many_writes;
pub mod merge;
pub mod owner;
pub mod partition;
pub mod path_table;
pub mod pool_shape;
pub mod pool_staircase;
pub mod pool_wait;
pub mod queue_edges;
pub mod queue_lag;
pub mod recording_clock_skew;
pub mod recording_cpu_use;
pub mod recording_gaps;
pub mod recording_identity;
pub mod recording_idle;
pub mod recording_lost;
pub mod recording_mixed;
pub mod recording_orphans;
pub mod recording_overhead;
pub mod recording_phases;
pub mod recording_samples;
pub mod recording_symbols;
pub mod recording_truncated;
pub mod recording_unfinished;
pub mod recursion;
pub mod regression_calls;
pub mod regression_function;
pub mod regression_operation;
pub mod repeated_cheap_call;
pub mod repeated_setup;
pub mod retry_storm;
pub mod seldom;
pub mod sequential_calls;
pub mod settings;
pub mod settings_lines;
pub mod slo_budget;
pub mod slow;
pub mod slow_call;
pub mod slow_endpoint;
pub mod slow_query;
pub mod stack_share;
pub mod tail;
pub mod tail_attributes;
pub mod tail_latency;
pub mod tandem;
pub mod tasks;
pub mod time_order;
pub mod timeouts;
pub mod timeouts_text;
pub mod traced;
pub mod try_it;
pub mod usable;
pub mod writes;

use crate::analysis::call_tree::{CallTree, Order, call_tree};
use crate::analysis::joined::{ProfileJoin, join_all};
use crate::analysis::path_times::PathTimes;
use crate::analysis::weights::Selection;
use crate::base::ids::{ProfileId, SpanRow, StringId, TraceRow};
use crate::model::Session;
use active::Active;
use attempts::AllAttempts;
use calls::CallTable;
use compare::Comparison;
use costs::Costs;
use facts::Facts;
use finding::{Confidence, Finding, Rule, RuleStatus, RuleVerdict, Severity};
use path_table::PathTable;
use settings::Settings;
use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use time_order::TimeOrder;

/// Every rule, of one family the general ones before the special ones: where two speak of the same rows, the later leads.
pub const DETECTORS: &[&dyn Detector] = &[
    &hidden_loop::HiddenLoop,
    &repeated_cheap_call::RepeatedCheapCall,
    &hot_loop::HotLoop,
    &recursion::Recursion,
    &long_run::LongRun,
    &bursts::Bursts,
    &repeated_setup::RepeatedSetup,
    &allocation_sites::AllocationSites,
    &heap_growth::HeapGrowth,
    &allocation_pressure::AllocationPressure,
    &allocation_in_hot_loop::AllocationInHotLoop,
    &cost_specs_system::WARM_UP,
    &cost_specs_system::INTERPRETER,
    &cost_specs_work::RPC,
    &cost_specs_work::DB_DRIVER,
    &cost_specs_system::SYSCALLS,
    &cost_specs_system::SCHEDULER,
    &cost_specs_system::PAGE_FAULTS,
    &cost_specs_system::MEMORY_COPY,
    &cost_specs_work::HASHING,
    &cost_specs_work::REFLECTION,
    &cost_specs_work::STRFMT,
    &cost_specs_work::HASH_MAP,
    &cost_specs_work::HASH_MAP_GROWTH,
    &cost_specs_system::LOCK,
    &lock_wait::LockWait,
    &cost_specs_system::CLOCK,
    &cost_specs_system::STACK_GROWTH,
    &cost_specs_work::EXCEPTIONS,
    &cost_specs_work::SORT,
    &cost_specs_work::COMPRESSION,
    &cost_specs_work::CRYPTO,
    &cost_specs_work::LOGGING,
    &cost_specs_work::SERIALIZATION,
    &cost_specs_system::FSYNC,
    &cost_specs_system::SYNC_IO,
    &cost_specs_work::REGEX,
    &cost_specs_work::REGEX_COMPILE,
    &fan_out_width::Width,
    &endpoint_cpu::EndpointCpu,
    &slow_endpoint::SlowEndpoint,
    &slo_budget::SloBudget,
    &tail_latency::TailLatency,
    &growth_law::GrowthLaw,
    &chatty_n_plus_one::NPlusOne,
    &chatty_fan_out::FanOut,
    &pool_staircase::PoolStaircase,
    &chatty_duplicate::Duplicate,
    &chatty_transitive::Transitive,
    &deep_chain::DeepChain,
    &slow_call::SlowCall,
    &slow_query::SlowQuery,
    &many_writes::ManyWrites,
    &large_payload::LargePayload,
    &connection_churn::ConnectionChurn,
    &pool_wait::PoolWait,
    &sequential_calls::Sequential,
    &error_origin::ErrorOrigin,
    &timeouts::Timeouts,
    &queue_lag::QueueLag,
    &retry_storm::RetryStorm,
    &recording_lost::Lost,
    &recording_samples::FewSamples,
    &recording_truncated::Truncated,
    &recording_symbols::MissingSymbols,
    &recording_mixed::Mixed,
    &recording_idle::Idle,
    &recording_phases::Phases,
    &recording_overhead::Overhead,
    &recording_cpu_use::CpuUse,
    &recording_orphans::Orphans,
    &recording_unfinished::Unfinished,
    &recording_clock_skew::ClockSkew,
    &recording_identity::Identity,
    &recording_gaps::Gaps,
    &regression_function::RegressionFunction,
    &regression_operation::RegressionOperation,
    &regression_calls::RegressionCalls,
];

/// What a rule looks at.
pub struct Context<'a> {
    /// The tables.
    pub session: &'a Session,
    /// Thresholds, targets and rules that the user changed.
    pub settings: &'a Settings,
    /// The files to compare with, if there are any.
    pub baseline: Option<&'a Session>,
    calls: OnceCell<CallTable>,
    joined: OnceCell<Vec<Option<ProfileJoin>>>,
    path: OnceCell<PathTable>,
    path_times: OnceCell<PathTimes>,
    facts: OnceCell<Facts>,
    attempts: OnceCell<AllAttempts>,
    comparison: OnceCell<Comparison>,
    active: RefCell<BTreeMap<ProfileId, Rc<Active<'a>>>>,
    costs: RefCell<BTreeMap<ProfileId, Rc<Costs>>>,
    order: RefCell<BTreeMap<ProfileId, Option<Rc<TimeOrder>>>>,
    seen: RefCell<BTreeMap<ProfileId, Option<Rc<loop_seen::Seen>>>>,
    claims: RefCell<BTreeMap<ProfileId, Rc<Vec<loop_text::Claim>>>>,
    trees: RefCell<Trees>,
}

/// Call trees of whole selections, heaviest first.
pub type Trees = BTreeMap<Selection, Rc<CallTree>>;

impl<'a> Context<'a> {
    /// For one run of the rules over a session.
    pub fn new(session: &'a Session, settings: &'a Settings) -> Context<'a> {
        Context {
            session,
            settings,
            baseline: None,
            comparison: OnceCell::new(),
            calls: OnceCell::new(),
            joined: OnceCell::new(),
            path: OnceCell::new(),
            path_times: OnceCell::new(),
            facts: OnceCell::new(),
            attempts: OnceCell::new(),
            active: RefCell::default(),
            costs: RefCell::default(),
            order: RefCell::default(),
            seen: RefCell::default(),
            claims: RefCell::default(),
            trees: RefCell::default(),
        }
    }

    /// The same, beside a baseline.
    pub fn with_baseline(self, baseline: Option<&'a Session>) -> Context<'a> {
        Context { baseline, ..self }
    }

    /// The comparison with the baseline, made on first use; `None` without a baseline.
    pub fn comparison(&self) -> Option<&Comparison> {
        let baseline = self.baseline?;
        Some(self.comparison.get_or_init(|| compare::compare(baseline, self.session, self.calls(), regression_function::limits(self))))
    }

    /// The active samples of a CPU profile, counted on first use.
    pub fn active(&self, id: ProfileId, profile: &'a crate::model::profile::Profile) -> Rc<Active<'a>> {
        self.active.borrow_mut().entry(id).or_insert_with(|| Rc::new(Active::new(self.session, id, profile))).clone()
    }

    /// Kinds of work of a profile's active samples, measured on first use for all rules at once.
    pub fn costs(&self, active: &Active<'_>) -> Rc<Costs> {
        self.costs.borrow_mut().entry(active.id).or_insert_with(|| Rc::new(Costs::new(active))).clone()
    }

    /// The order of a CPU profile's samples in time, looked at on first use; `None` where it has none.
    pub fn order(&self, active: &Active<'_>) -> Option<Rc<TimeOrder>> {
        self.order.borrow_mut().entry(active.id).or_insert_with(|| time_order::time_order(active).map(Rc::new)).clone()
    }

    /// The loops of a CPU profile in machine code and taken branches, looked for on first use; `None` where neither is there.
    pub fn seen(&self, active: &Active<'_>) -> Option<Rc<loop_seen::Seen>> {
        self.seen.borrow_mut().entry(active.id).or_insert_with(|| loop_seen::seen(active).map(Rc::new)).clone()
    }

    /// The call tree of a selection, built on first use.
    pub fn tree(&self, selection: Selection) -> Rc<CallTree> {
        let build = || Rc::new(call_tree(self.session, selection, Order::Heaviest));
        self.trees.borrow_mut().entry(selection).or_insert_with(build).clone()
    }

    /// What the rules needed and the views need next: call trees, and the comparison if it was made.
    pub fn into_parts(self) -> (Trees, Option<Comparison>) {
        (self.trees.into_inner(), self.comparison.into_inner())
    }

    /// The calls of all traces, described on first use.
    pub fn calls(&self) -> &CallTable {
        self.calls.get_or_init(|| CallTable::new(self.session))
    }

    /// Time on the critical path by call path for every trace, added up on first use. A call stands in its path by what it calls.
    pub fn path_times(&self) -> &PathTimes {
        self.path_times.get_or_init(|| {
            let (calls, path, set) = (self.calls(), self.path(), &self.session.traces);
            let mut called = vec![StringId::NONE; set.spans.len()];
            for trace in (0..set.traces.len()).map(TraceRow::from_index) {
                for call in calls.of(trace) {
                    called[call.span.index()] = call.shown;
                }
            }
            let own = |trace: TraceRow, out: &mut Vec<(SpanRow, i64)>| {
                out.extend(set.traces.spans(trace).map(|s| (s, path.own(s))).filter(|(_, ns)| *ns > 0));
            };
            PathTimes::from(self.session, |_, _| true, Some((&calls.texts, &called)), own)
        })
    }

    /// Time on the critical path of every span, counted on first use.
    pub fn path(&self) -> &PathTable {
        self.path.get_or_init(|| PathTable::new(self.session))
    }

    /// The attributes that tell sizes and outcomes, looked up on first use.
    pub fn facts(&self) -> &Facts {
        self.facts.get_or_init(|| Facts::new(&self.session.strings))
    }

    /// Calls that were made again because they failed, found on first use.
    pub fn attempts(&self) -> &AllAttempts {
        self.attempts.get_or_init(|| AllAttempts::new(&self.session.traces, self.calls()))
    }

    /// The samples of each profile joined with spans and endpoints, on first use.
    pub fn joined(&self) -> &[Option<ProfileJoin>] {
        self.joined.get_or_init(|| join_all(self.session))
    }

    /// A threshold's value: the user's, or the rule's default; 0 for an unknown name.
    pub fn threshold(&self, rule: &Rule, name: &str) -> f64 {
        self.settings.threshold(rule.id, name).or_else(|| rule.thresholds.iter().find(|t| t.name == name).map(|t| t.default)).unwrap_or(0.0)
    }

    /// The profiles with their positions.
    pub fn profiles(&self) -> impl Iterator<Item = (ProfileId, &'a crate::model::profile::Profile)> {
        self.session.profiles.iter().enumerate().map(|(i, p)| (ProfileId::from_index(i), p))
    }
}

/// What a rule found, or why it could not look.
pub enum Outcome {
    /// It looked. `over` says over how much usable data: `1041 spans`.
    Checked {
        /// What it found; empty means clear.
        findings: Vec<Finding>,
        /// Over how much usable data.
        over: String,
    },
    /// The data cannot answer; the sentence says what is missing.
    NotChecked(String),
}

/// A rule's implementation.
pub trait Detector: Sync {
    /// Its documentation.
    fn rule(&self) -> &'static Rule;
    /// Looks at the session. Deterministic; order of findings by falling score, then fingerprint.
    fn detect(&self, cx: &Context<'_>) -> Outcome;
}

/// All findings, ranked, and the verdict of every rule.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// By severity, score, then fingerprint; `id` is `f-1`, `f-2`, …
    pub findings: Vec<Finding>,
    /// One per rule, in registry order.
    pub verdicts: Vec<RuleVerdict>,
    /// Over how much usable data they looked.
    pub usable: String,
}

/// Runs every rule.
pub fn run(cx: &Context<'_>) -> Report {
    run_telling(cx, &mut |_, _| ())
}

/// Runs every rule and tells before each how many were run and what it is called.
pub fn run_telling(cx: &Context<'_>, tell: &mut dyn FnMut(usize, &'static str)) -> Report {
    let mut report = Report::default();
    for (done, detector) in DETECTORS.iter().enumerate() {
        tell(done, detector.rule().name);
        report.run(*detector, cx);
    }
    tell(DETECTORS.len(), "");
    report.rank(cx);
    report
}
impl Report {
    fn run(&mut self, detector: &dyn Detector, cx: &Context<'_>) {
        let rule = detector.rule();
        if !cx.settings.only.is_empty() && !cx.settings.runs(rule.id) {
            return;
        }
        if !cx.settings.runs(rule.id) {
            let reason = "because it is switched off in the settings".to_string();
            self.verdicts.push(RuleVerdict { rule: rule.id.to_string(), status: RuleStatus::NotChecked, over: String::new(), reason });
            return;
        }
        let mut verdict = match detector.detect(cx) {
            Outcome::NotChecked(reason) => {
                RuleVerdict { rule: rule.id.to_string(), status: RuleStatus::NotChecked, over: String::new(), reason }
            }
            Outcome::Checked { findings, over } => {
                let status = if findings.is_empty() { RuleStatus::Clear } else { RuleStatus::Fired };
                self.findings.extend(findings);
                RuleVerdict { rule: rule.id.to_string(), status, over, reason: String::new() }
            }
        };
        given_up::amend(cx, &mut verdict);
        self.verdicts.push(verdict);
    }

    /// Merges, sorts and completes what the rules found.
    fn rank(&mut self, cx: &Context<'_>) {
        cpu_evidence::add(cx, &mut self.findings);
        self.findings.sort_by(order);
        // The registry lists general rules before special ones.
        let specific = |rule: &str| DETECTORS.iter().position(|d| d.rule().id == rule).unwrap_or(0) as u32;
        self.findings = merge::merge(cx.session, std::mem::take(&mut self.findings), &specific);
        seldom::seldom(cx.session, &mut self.findings);
        self.findings.sort_by(order);
        self.findings = fold::fold(std::mem::take(&mut self.findings));
        fold::tell_apart(&mut self.findings);
        for (i, finding) in self.findings.iter_mut().enumerate() {
            finding.id = format!("f-{}", i + 1);
            try_it::link(cx.session, finding);
            if finding.query.is_empty() {
                finding.query = query(cx, finding.rule);
            }
        }
        self.usable = usable::usable(cx, &self.verdicts);
    }
}

/// The command that runs one rule over the same files with the same thresholds.
fn query(cx: &Context<'_>, rule: &str) -> String {
    let baseline: String = cx.baseline.iter().flat_map(|b| &b.sources).map(|s| format!(" --baseline {}", quoted(&s.file))).collect();
    let files: String = cx.session.sources.iter().filter(|s| s.error.is_none()).map(|s| format!(" {}", quoted(&s.file))).collect();
    format!("hotspan analyze{files}{baseline} --rule {rule}{}", cx.settings.arguments(rule))
}

/// A file name as a shell takes it.
fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/+@%:,".contains(c);
    if !name.is_empty() && name.chars().all(plain) { name.to_string() } else { format!("'{}'", name.replace('\'', "'\\''")) }
}

/// By severity, score, impact times confidence; names decide between equals. Of one severity, what is wrong with the program
/// stands before what is wrong with its recording.
fn order(a: &Finding, b: &Finding) -> std::cmp::Ordering {
    let key = |f: &Finding| (std::cmp::Reverse(f.severity), f.rule.starts_with("recording-"), std::cmp::Reverse(f.score));
    key(a)
        .cmp(&key(b))
        .then(rank(b).total_cmp(&rank(a)))
        .then_with(|| a.fingerprint.cmp(&b.fingerprint))
        .then_with(|| a.title.cmp(&b.title))
}

/// Impact times confidence, among findings of one severity and score.
fn rank(finding: &Finding) -> f64 {
    let sure = match finding.confidence {
        Confidence::Confirmed => 1.0,
        Confidence::Likely => 0.8,
        Confidence::Possible => 0.5,
    };
    finding.share.as_ref().map_or(0.0, |s| s.low) * sure
}

/// `in 3 of 5 traces`; `in the only trace`.
pub(crate) fn in_traces(affected: usize, of: usize) -> String {
    if of == 1 { "in the only trace".to_string() } else { format!("in {affected} of {of} traces") }
}

/// `1 CPU profile`, `2 CPU profiles`.
pub(crate) fn counted(n: usize, what: &str) -> String {
    crate::base::quantity::counted(n as u64, what)
}

/// The worst severity of a list.
pub fn worst(findings: &[Finding]) -> Option<Severity> {
    findings.iter().map(|f| f.severity).max()
}
