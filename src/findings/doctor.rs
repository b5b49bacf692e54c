//! What the rules about the recording itself share. They say what the data cannot show, before anyone trusts a number.

use super::active::{Active, cpu_profiles};
use super::finding::{Confidence, Evidence, Finding, Occurrences, Rule, Severity, ShareOf, Subject, fingerprint};
use super::{Context, Outcome, counted};
use crate::base::ids::{ServiceId, SourceId, SpanRow};
use crate::base::quantity::format_count;
use crate::base::view::{View, ViewRef};
use std::collections::BTreeMap;
use std::rc::Rc;

/// The family of these rules.
pub const FAMILY: &str = "data quality";

/// A defect of a recording can never be critical: it is not a defect of the program (JMC's `mapExp74` for indirect evidence
/// stays below a warning; loss and blindness may reach one).
pub const MOST: f64 = 89.0;
/// What is only worth knowing stays info.
pub const MOST_INFO: f64 = 74.0;

/// What a rule saw in one recording.
#[derive(Default)]
pub struct Symptom {
    /// Distinguishes symptoms of one rule in one file.
    pub key: String,
    /// 0 to 100.
    pub score: f64,
    /// The claim in a few words.
    pub title: String,
    /// The claim in one sentence with its numbers.
    pub message: String,
    /// Share of the whole.
    pub share: Option<ShareOf>,
    /// How often.
    pub count: u64,
    /// Proof beside the file's ledger.
    pub evidence: Vec<Evidence>,
    /// What to do.
    pub remedies: Vec<String>,
    /// What could make it wrong.
    pub caveats: Vec<String>,
    /// `traceid/spanid`.
    pub exemplars: Vec<String>,
}

/// Files are named as the user knows them.
pub fn file_name<'a>(cx: &'a Context<'_>, source: SourceId) -> &'a str {
    cx.session.sources.get(source.index()).map_or("", |s| s.file.as_str())
}

/// The ledger of a file.
pub fn ledger_view(source: SourceId) -> ViewRef {
    ViewRef { source: Some(source.0), ..ViewRef::of(View::Files) }
}

/// Makes a finding of a symptom; `None` below the score of an info.
pub fn finding(cx: &Context<'_>, rule: &'static Rule, source: SourceId, s: Symptom) -> Option<Finding> {
    let severity = Severity::of_score(s.score)?;
    let file = file_name(cx, source);
    let mut evidence = s.evidence;
    if evidence.is_empty() {
        evidence.push(Evidence { text: format!("The ledger of {file} shows what was read."), view: ledger_view(source) });
    }
    Some(Finding {
        rule: rule.id,
        // The same recording under another name, or the next recording of the same program, has the same defect.
        fingerprint: fingerprint(rule.id, &[&s.key]),
        severity,
        score: s.score.round() as u32,
        confidence: Confidence::Confirmed,
        title: s.title,
        message: s.message,
        subject: Subject { kind: "recording", name: file.to_string(), ..Subject::default() },
        share: s.share,
        evidence,
        occurrences: Occurrences { count: s.count, exemplars: s.exemplars, ..Occurrences::default() },
        caveats: s.caveats,
        remedies: s.remedies,
        ..Finding::default()
    })
}

/// Runs a rule over the active samples of every CPU profile.
pub fn over_cpu<'a>(cx: &Context<'a>, rule: &'static Rule, mut look: impl FnMut(&Active<'a>) -> Option<Symptom>) -> Outcome {
    let profiles = cpu_profiles(cx.session);
    if profiles.is_empty() {
        return Outcome::NotChecked("because no file holds a CPU profile".to_string());
    }
    let (mut findings, mut samples) = (Vec::new(), 0_i64);
    let n = profiles.len();
    for (id, p) in profiles {
        let active: Rc<Active<'a>> = cx.active(id, p);
        samples = samples.saturating_add(active.count).saturating_add(active.idle);
        findings.extend(look(&active).and_then(|s| finding(cx, rule, p.source, s)));
    }
    Outcome::Checked { findings, over: format!("{} samples in {}", format_count(samples as f64), counted(n, "CPU profile")) }
}

/// A place in the flame graph of a profile.
pub fn flame_view(active: &Active<'_>) -> ViewRef {
    ViewRef { profile: Some(active.id.0), value: Some(active.value_name().to_string()), ..ViewRef::of(View::Flame) }
}

/// Runs a rule over the spans of every file that has some.
pub fn over_spans(cx: &Context<'_>, rule: &'static Rule, mut look: impl FnMut(SourceId, &[SpanRow]) -> Option<Symptom>) -> Outcome {
    let spans = &cx.session.traces.spans;
    if spans.is_empty() {
        return Outcome::NotChecked("because no file holds spans".to_string());
    }
    let mut by_source: BTreeMap<SourceId, Vec<SpanRow>> = BTreeMap::new();
    for (i, source) in spans.source.iter().enumerate() {
        by_source.entry(*source).or_default().push(SpanRow::from_index(i));
    }
    let mut findings = Vec::new();
    for (source, rows) in &by_source {
        findings.extend(look(*source, rows).and_then(|s| finding(cx, rule, *source, s)));
    }
    let traces = cx.session.traces.traces.len();
    Outcome::Checked { findings, over: format!("{} spans in {}", format_count(spans.len() as f64), counted(traces, "trace")) }
}

/// `traceid/spanid`.
pub fn span_text(cx: &Context<'_>, span: SpanRow) -> String {
    let t = &cx.session.traces;
    let trace = cx.session.strings.get(t.spans.trace_id[span.index()]);
    format!("{trace}/{}", t.id_text(&cx.session.strings, t.spans.id[span.index()]))
}

/// A span in its waterfall, with what it shows.
pub fn span_evidence(cx: &Context<'_>, span: SpanRow, text: &str) -> Evidence {
    let t = &cx.session.traces;
    let view = ViewRef {
        trace: Some(cx.session.strings.get(t.spans.trace_id[span.index()]).to_string()),
        span: Some(t.id_text(&cx.session.strings, t.spans.id[span.index()])),
        ..ViewRef::of(View::Traces)
    };
    let (service, name) = (t.service_name(&cx.session.strings, span), t.name(&cx.session.strings, span));
    Evidence { text: format!("{}{name}: {text}", if service.is_empty() { String::new() } else { format!("{service} ") }), view }
}

/// Service, or a stand-in.
pub fn service_name(cx: &Context<'_>, service: ServiceId) -> String {
    service.get().map_or("(no service)".to_string(), |s| cx.session.strings.get(cx.session.traces.services[s.index()]).to_string())
}
