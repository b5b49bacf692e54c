//! `hotspan analyze`: findings as text, JSON, Markdown, CSV, SARIF or HTML.

use super::{Stop, load, write_out};
use crate::base::quantity::{format_bytes, format_value};
use crate::findings::finding::{Finding, Related, RuleStatus, Severity};
use crate::findings::settings::{Setting, Settings, parse_setting, rule};
use crate::findings::worst;
use crate::model::Session;
use crate::report;
use clap::ValueEnum;
use std::fmt::Write;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Profiles and traces
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    reading: load::Reading,
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
    #[arg(long = "set", value_name = "RULE.THRESHOLD=VALUE", value_parser = parse_setting)]
    settings: Vec<Setting>,
    /// Thresholds, switched-off rules and targets of operations; without it ./hotspan.toml is read if it is there
    #[arg(long, value_name = "hotspan.toml")]
    config: Option<PathBuf>,
    /// A file to compare with; may be given several times
    #[arg(long, value_name = "FILE")]
    baseline: Vec<PathBuf>,
    /// Run only this rule; may be given several times (see `hotspan rules`)
    #[arg(long = "rule", value_name = "RULE", value_parser = rule_id)]
    rules: Vec<String>,
    /// Move the spans of hosts whose clocks differ, by one offset per host and trace
    #[arg(long)]
    align_clocks: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Form {
    Text,
    Json,
    Markdown,
    /// Rows of findings, answers of rules and the account of the files
    Csv,
    /// SARIF 2.1.0, for code hosts and editors
    Sarif,
    /// One page without scripts
    Html,
}

#[derive(Clone, Copy, ValueEnum)]
enum FailOn {
    Info,
    Warning,
    Critical,
}

pub(super) fn run(args: &Args) -> Result<(), Stop> {
    let (engine, all_read) = load::load(&args.files, &args.baseline, settings(args)?, args.align_clocks, &args.reading);
    let text = match args.format {
        Form::Json => report::analyze::json(&engine.session, &engine.report).map_err(|e| Stop::Output(std::io::Error::other(e)))?,
        Form::Csv => report::csv::csv(&engine.session, &engine.report),
        Form::Sarif => report::sarif::sarif(&engine.session, &engine.report).map_err(|e| Stop::Output(std::io::Error::other(e)))?,
        Form::Html => report::html::html(&engine.session, &engine.report),
        Form::Markdown => report::markdown::markdown(&engine.session, &engine.report),
        Form::Text => text(&engine.session, &engine.report),
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

fn rule_id(text: &str) -> Result<String, String> {
    rule(text).map(|r| r.id.to_string())
}

/// The settings of a run: the file's, then those of the command line.
fn settings(args: &Args) -> Result<Settings, Stop> {
    let usual = PathBuf::from("hotspan.toml");
    let mut out = match args.config.as_ref().or(Some(&usual).filter(|p| p.is_file())) {
        None => Settings::default(),
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|e| Stop::Usage(format!("cannot read {}: {e}", path.display())))?;
            Settings::parse(&text).map_err(Stop::Usage)?
        }
    };
    out.extend(Settings { thresholds: args.settings.clone(), only: args.rules.clone(), ..Settings::default() });
    Ok(out)
}

fn text(session: &Session, report: &crate::findings::Report) -> String {
    let mut out = String::new();
    for f in &report.findings {
        one(f, &mut out);
    }
    if report.findings.is_empty() {
        let _ = writeln!(out, "{}\n", crate::report::markdown::nothing(report));
    }
    if !report.findings.is_empty() {
        let _ = writeln!(out, "Looked at: {}\n", report.usable);
    }
    let _ = writeln!(out, "Read:");
    for source in report::inspect::inspect(session).sources {
        let what = match &source.error {
            Some(error) => format!("not read: {}", clean(error)),
            None => format!("{}, {}", source.format, format_bytes(source.bytes as f64)),
        };
        let _ = writeln!(out, "  {}: {what}", clean(&source.file));
        for p in &source.profiles {
            let shown = p.value_types.iter().find(|v| v.default);
            let weight = shown.map_or(String::new(), |v| format!(", {} of {}", format_value(v.total as f64, &v.unit), clean(&v.name)));
            let name = if p.name.is_empty() { "profile" } else { &p.name };
            let _ = writeln!(out, "  {}   {}{weight}", clean(name), report::inspect::size_text(p.events, p.samples));
        }
        super::inspect::account(&source.ledger, &mut out);
    }
    out.push('\n');
    for (status, heading) in [(RuleStatus::Clear, "Checked, clear"), (RuleStatus::NotChecked, "Not checked")] {
        let verdicts: Vec<_> = report.verdicts.iter().filter(|v| v.status == status).collect();
        if verdicts.is_empty() {
            continue;
        }
        let _ = writeln!(out, "{heading}:");
        // Rules with the same answer are named together, the first of each answer in registry order.
        let mut answers: Vec<(String, Vec<&str>)> = Vec::new();
        for verdict in verdicts {
            let detail = if status == RuleStatus::Clear { format!("over {}", verdict.over) } else { verdict.reason.clone() };
            match answers.iter_mut().find(|(known, _)| *known == detail) {
                Some((_, rules)) => rules.push(&verdict.rule),
                None => answers.push((detail, vec![&verdict.rule])),
            }
        }
        for (detail, rules) in answers {
            let _ = writeln!(out, "  {}:", clean(&detail));
            for line in wrapped(&rules, 96) {
                let _ = writeln!(out, "    {line}");
            }
        }
    }
    out
}

/// Words with commas, in lines of at most so many characters.
fn wrapped(words: &[&str], width: usize) -> Vec<String> {
    let mut out: Vec<String> = vec![String::new()];
    for (i, word) in words.iter().enumerate() {
        let comma = if i + 1 < words.len() { "," } else { "" };
        if out.last().is_some_and(|line| !line.is_empty() && line.len() + word.len() + 2 > width) {
            out.push(String::new());
        }
        if let Some(line) = out.last_mut() {
            let space = if line.is_empty() { "" } else { " " };
            let _ = write!(line, "{space}{word}{comma}");
        }
    }
    out
}

/// Findings under another that are named in the terminal; all are in the other forms.
const NAMED: usize = 6;

/// One line for each of the first, and how many more there are.
fn under(word: &str, list: &[Related], out: &mut String) {
    for other in list.iter().take(NAMED) {
        let _ = writeln!(out, "    {word:<7} {} ({})", clean(&other.title), other.rule);
    }
    if list.len() > NAMED {
        let _ = writeln!(out, "    {word:<7} and {} more, all in --format json and markdown", list.len() - NAMED);
    }
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
        let _ = writeln!(out, "    share   {}", clean(&share.told()));
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
    under("also", &f.also, out);
    under("causes", &f.consequences, out);
    under("places", &f.places, out);
    let _ = writeln!(out, "    query   {}", clean(&f.query));
    out.push('\n');
}

/// Names come from files: control characters must not reach a terminal.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
