//! `hotspan analyze`: findings as text, JSON or Markdown.

use super::{Stop, load, write_out};
use crate::base::quantity::{format_share, format_value};
use crate::findings::finding::{Finding, RuleStatus, Severity};
use crate::findings::{DETECTORS, worst};
use crate::report;
use clap::ValueEnum;
use std::fmt::Write;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Profiles and traces
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Form of the output
    #[arg(long, value_enum, default_value = "text")]
    format: Form,
    /// Write to a file instead of standard output
    #[arg(short, value_name = "OUT")]
    out: Option<PathBuf>,
    /// Exit with status 3 when a finding is at least this severe
    #[arg(long, value_enum, value_name = "SEVERITY")]
    fail_on: Option<FailOn>,
    /// Change a threshold, such as hot-loop.min-leaf-samples=50 (see `hotspan rules RULE`)
    #[arg(long = "set", value_name = "RULE.THRESHOLD=VALUE", value_parser = setting)]
    settings: Vec<(String, String, f64)>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Form {
    Text,
    Json,
    Markdown,
}

#[derive(Clone, Copy, ValueEnum)]
enum FailOn {
    Info,
    Warning,
    Critical,
}

pub(super) fn run(args: &Args) -> Result<(), Stop> {
    let (engine, all_read) = load::load(&args.files, args.settings.clone());
    let text = match args.format {
        Form::Json => report::analyze::json(&engine.session, &engine.report).map_err(|e| Stop::Output(std::io::Error::other(e)))?,
        Form::Markdown => report::markdown::markdown(&engine.session, &engine.report),
        Form::Text => text(&engine.report),
    };
    write_out(args.out.as_ref(), &text)?;
    let limit = args.fail_on.map(|f| match f {
        FailOn::Info => Severity::Info,
        FailOn::Warning => Severity::Warning,
        FailOn::Critical => Severity::Critical,
    });
    if limit.is_some_and(|limit| worst(&engine.report.findings).is_some_and(|worst| worst >= limit)) {
        return Err(Stop::Findings);
    }
    load::status(all_read)
}

/// `RULE.THRESHOLD=VALUE`, checked against the rules' own lists.
fn setting(text: &str) -> Result<(String, String, f64), String> {
    let (name, value) = text.split_once('=').ok_or("expected RULE.THRESHOLD=VALUE")?;
    let (rule_id, threshold) = name.split_once('.').ok_or("expected RULE.THRESHOLD=VALUE")?;
    let rule = DETECTORS.iter().map(|d| d.rule()).find(|r| r.id == rule_id).ok_or_else(|| {
        let ids: Vec<&str> = DETECTORS.iter().map(|d| d.rule().id).collect();
        format!("there is no rule {rule_id}; rules are {}", ids.join(", "))
    })?;
    if !rule.thresholds.iter().any(|t| t.name == threshold) {
        let names: Vec<&str> = rule.thresholds.iter().map(|t| t.name).collect();
        return Err(format!("{rule_id} has no threshold {threshold}; it has {}", names.join(", ")));
    }
    let value = value.parse::<f64>().ok().filter(|v| v.is_finite()).ok_or_else(|| format!("{value} is not a number"))?;
    Ok((rule_id.to_string(), threshold.to_string(), value))
}

fn text(report: &crate::findings::Report) -> String {
    let mut out = String::new();
    for f in &report.findings {
        one(f, &mut out);
    }
    if report.findings.is_empty() {
        out.push_str("No findings.\n\n");
    }
    for (status, heading) in [(RuleStatus::Clear, "Checked, clear"), (RuleStatus::NotChecked, "Not checked")] {
        let verdicts: Vec<_> = report.verdicts.iter().filter(|v| v.status == status).collect();
        if verdicts.is_empty() {
            continue;
        }
        let _ = writeln!(out, "{heading}:");
        for verdict in verdicts {
            let detail = if status == RuleStatus::Clear { format!("over {}", verdict.over) } else { verdict.reason.clone() };
            let _ = writeln!(out, "  {:<24} {detail}", verdict.rule);
        }
    }
    out
}

fn one(f: &Finding, out: &mut String) {
    let mark = match f.severity {
        Severity::Critical => "!!!",
        Severity::Warning => "!! ",
        Severity::Info => "!  ",
    };
    let _ = writeln!(out, "{mark} {} {}  [{} {}, {}]", f.id, clean(&f.title), f.severity.word(), f.score, f.confidence.word());
    let _ = writeln!(out, "    {}", clean(&f.message));
    if let Some(share) = &f.share {
        let _ = writeln!(
            out,
            "    share   {} of {} (95 %: {} to {}, n = {})",
            format_share(share.p),
            share.of,
            format_share(share.low),
            format_share(share.high),
            share.n
        );
    }
    if f.impact.recoverable_high > 0 {
        let value = |v: i64| format_value(v as f64, &f.impact.unit);
        let _ = writeln!(
            out,
            "    saves   {} to {}: {}",
            value(f.impact.recoverable_low),
            value(f.impact.recoverable_high),
            clean(&f.impact.model)
        );
    }
    for evidence in &f.evidence {
        let _ = writeln!(out, "    shows   {}", clean(&evidence.text));
    }
    for remedy in &f.remedies {
        let _ = writeln!(out, "    to do   {}", clean(remedy));
    }
    for caveat in &f.caveats {
        let _ = writeln!(out, "    but     {}", clean(caveat));
    }
    out.push('\n');
}

/// Names come from files: control characters must not reach a terminal.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
