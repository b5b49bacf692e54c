//! Findings as Markdown: for a pull request, an issue, a chat.

use super::inspect::{InspectChoice, InspectLedger, inspect, size_text};
use crate::base::quantity::{format_bytes, format_share, format_value};
use crate::findings::finding::{Finding, LoopRow};
use crate::findings::{DETECTORS, Report};
use crate::model::Session;
use std::fmt::Write;

/// The whole report.
pub fn markdown(session: &Session, report: &Report) -> String {
    let mut out = String::from("# hotspan report\n\n");
    for source in inspect(session).sources {
        let what = match source.error.as_ref().filter(|_| source.partial.is_none()) {
            Some(error) => format!("not read: {}", escape(error)),
            None => format!("{}, {}", source.format, format_bytes(source.bytes as f64)),
        };
        let _ = writeln!(out, "- `{}`: {what}", code(&source.file));
        if let Some(partial) = &source.partial {
            let _ = writeln!(out, "  - **partial**, {}", escape(&partial.text()));
        }
        for p in &source.profiles {
            let shown = p.value_types.iter().find(|v| v.default);
            let weight = shown.map_or(String::new(), |v| format!(", {} of {}", format_value(v.total as f64, &v.unit), escape(&v.name)));
            let name = if p.name.is_empty() { "profile" } else { &p.name };
            let _ = writeln!(out, "  - {}: {}{weight}", escape(name), size_text(p.events, p.samples));
        }
        account(&source.ledger, &mut out);
    }
    let _ = writeln!(out, "\n## Findings ({})\n", report.findings.len());
    if report.findings.is_empty() {
        let _ = writeln!(out, "{}\n", escape(&nothing(report)));
    }
    for finding in &report.findings {
        out.push_str(&one(finding));
        out.push('\n');
    }
    if !report.findings.is_empty() {
        let _ = writeln!(out, "Over {}.\n", escape(&report.usable));
    }
    rules(report, &mut out);
    out
}

/// The ledger of a file: nothing about it is known only to those who have the page.
fn account(ledger: &InspectLedger, out: &mut String) {
    let r = &ledger.records;
    let _ = writeln!(out, "  - records: {} in, {} kept, {} dropped", r.records_in, r.kept, r.dropped);
    for w in &ledger.weight {
        let _ =
            writeln!(out, "  - {} in {}: {} in, {} kept, {} dropped", escape(&w.value), escape(&w.unit), w.weight_in, w.kept, w.dropped);
    }
    for InspectChoice { choice: c, switches } in &ledger.choices {
        let others = if c.others.is_empty() { String::new() } else { format!(" (or {})", escape(&c.others.join(", "))) };
        let _ = write!(out, "  - {} taken as {}{others}: {}", escape(&c.what), escape(&c.chosen), escape(&c.why));
        let arguments: Vec<String> = switches.iter().map(|s| format!("`{}`", code(&s.argument))).collect();
        let _ = if arguments.is_empty() { writeln!(out) } else { writeln!(out, " Otherwise: {}.", arguments.join(" or ")) };
    }
    for e in &ledger.entries {
        let at: Vec<&str> = e.examples.iter().map(|e| e.at.as_str()).collect();
        let _ = writeln!(out, "  - {} \u{d7} `{}`: {} At {}.", e.count, code(&e.code), escape(&e.message), escape(&at.join(", ")));
    }
}

/// "No findings" is only worth something with the amount of data behind it.
pub fn nothing(report: &Report) -> String {
    format!("No findings, over {}.", report.usable)
}

/// One finding, as the page's "copy as Markdown" gives it.
pub fn one(f: &Finding) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "### {} {}: {}\n", f.id, f.severity.word(), escape(&f.title));
    let _ = writeln!(out, "{}\n", escape(&f.message));
    let _ = writeln!(
        out,
        "- rule `{}`, score {}, {}{}",
        f.rule,
        f.score,
        f.confidence.word(),
        if f.tier.is_empty() { String::new() } else { format!(", tier {}", f.tier) }
    );
    if let Some(share) = &f.share {
        let _ = writeln!(out, "- share: {}", escape(&share.told()));
    }
    if f.impact.amount != 0 {
        let value = |v: i64| format_value(v as f64, &f.impact.unit);
        let _ = write!(out, "- cost {}", value(f.impact.amount));
        if f.impact.recoverable_high > 0 {
            let _ = write!(
                out,
                ", a fix would save {} to {} ({})",
                value(f.impact.recoverable_low),
                value(f.impact.recoverable_high),
                escape(&f.impact.model)
            );
        }
        out.push('\n');
    }
    if f.occurrences.of_traces > 0 {
        let _ = writeln!(
            out,
            "- in {} of {} traces; see {}",
            f.occurrences.traces,
            f.occurrences.of_traces,
            escape(&f.occurrences.exemplars.join(", "))
        );
    }
    for evidence in &f.evidence {
        let _ = writeln!(out, "- evidence: {} (`{}`)", escape(&evidence.text), code(&evidence.view.to_hash()));
    }
    for l in &f.loops {
        let _ = writeln!(out, "- loop: {}", escape(&loop_line(l)));
    }
    for caveat in &f.caveats {
        let _ = writeln!(out, "- caveat: {}", escape(caveat));
    }
    for (word, list) in [("also", &f.also), ("follows from it", &f.consequences), ("another place", &f.places)] {
        for other in list {
            let _ = writeln!(out, "- {word}: {} (`{}`)", escape(&other.message), other.rule);
        }
    }
    for remedy in &f.remedies {
        let _ = writeln!(out, "- to do: {}", escape(remedy));
    }
    if !f.query.is_empty() {
        let _ = writeln!(out, "- again: `{}`", code(&f.query));
    }
    out
}

/// A loop in one line.
fn loop_line(l: &LoopRow) -> String {
    let mut out = if l.first_line > 0 { format!("{}:{} to {} ({})", l.file, l.first_line, l.last_line, l.place) } else { l.place.clone() };
    let _ = write!(out, ", depth {}, {} own, {} with calls", l.depth, format_share(l.share), format_share(l.with_calls));
    if let Some(n) = l.instructions {
        let _ = write!(out, ", {n} instructions");
    }
    match l.trips.as_ref().map(|t| (t.mean, t.longest)) {
        Some((Some(mean), _)) => {
            let _ = write!(out, ", {mean:.1} iterations per entry");
        }
        Some((None, longest)) => {
            let _ = write!(out, ", at least {longest} iterations in a row");
        }
        None => {}
    }
    out
}

fn rules(report: &Report, out: &mut String) {
    out.push_str("## Rules\n\n| rule | result | over |\n| --- | --- | --- |\n");
    for verdict in &report.verdicts {
        let name = DETECTORS.iter().map(|d| d.rule()).find(|r| r.id == verdict.rule).map_or("", |r| r.name);
        let (status, over) = verdict.told();
        let _ = writeln!(out, "| {} (`{}`) | {status} | {} |", escape(name), verdict.rule, escape(over).replace('|', "\\|"));
    }
}

/// Text that came from a file must not become markup: HTML, links, emphasis and line breaks are taken out of force.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '*' | '_' | '[' | ']' | '`' | '\\' | '#' | '|' | '!' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// Text inside a code span: a backtick would end it.
fn code(text: &str) -> String {
    text.chars().map(|c| if c == '`' || c.is_control() { '\u{2019}' } else { c }).collect()
}
