//! The report as one page without scripts: findings with their evidence, every rule's answer, the account of every file and a
//! flame graph of each profile that is shown first. It loads nothing, and its policy forbids it.

use super::inspect::{InspectSource, inspect, size_text};
use super::markup::escape;
use super::svg::flame_graph;
use crate::base::quantity::{format_bytes, format_value};
use crate::findings::finding::Finding;
use crate::findings::{DETECTORS, Report};
use crate::model::Session;
use std::fmt::Write;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1c1e21;background:#fff}\
h1{font-size:1.5rem}h2{font-size:1.2rem;margin-top:2.5rem}h3{font-size:1rem;margin:0}\
table{border-collapse:collapse;width:100%;font-size:.875rem}td,th{text-align:left;padding:.25rem .5rem;border-bottom:1px solid #8884;vertical-align:top}\
.n{text-align:right;font-variant-numeric:tabular-nums}article{border:1px solid #8886;border-left:.4rem solid #8886;border-radius:.4rem;padding:.75rem 1rem;margin:1rem 0}\
.critical{border-left-color:#c62828}.warning{border-left-color:#b26a00}.info{border-left-color:#1565c0}\
.dim{color:#5f6672}code{font-size:.85em;overflow-wrap:anywhere}li{overflow-wrap:anywhere}img{max-width:100%;background:#fff}\
@media(prefers-color-scheme:dark){body{color:#e4e6eb;background:#17181c}.dim{color:#a0a7b4}}";
/// Flame graphs that a report holds at most.
const MAX_GRAPHS: usize = 4;

/// The whole page.
pub fn html(session: &Session, report: &Report) -> String {
    let sources = inspect(session).sources;
    let mut out = String::from("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">");
    out.push_str("<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">");
    out.push_str("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">");
    let _ = write!(out, "<title>hotspan report</title><style>{STYLE}</style></head><body><h1>hotspan report</h1>");
    let files: Vec<&str> = sources.iter().map(|s| s.file.as_str()).collect();
    let _ = write!(out, "<p class=\"dim\">{} \u{b7} hotspan {}</p>", escape(&files.join(", ")), env!("CARGO_PKG_VERSION"));
    let _ = write!(out, "<h2>Findings ({})</h2>", report.findings.len());
    let none = if report.findings.is_empty() { "No findings, over" } else { "Over" };
    let _ = write!(out, "<p>{none} {}.</p>", escape(&report.usable));
    report.findings.iter().for_each(|f| one(f, &mut out));
    graphs(session, &mut out);
    out.push_str("<h2>What was read</h2>");
    sources.iter().for_each(|s| account(s, &mut out));
    rules(report, &mut out);
    out.push_str("</body></html>\n");
    out
}

fn one(f: &Finding, out: &mut String) {
    let word = f.severity.word();
    let _ = write!(out, "<article class=\"{word}\" id=\"{}\"><h3>{}</h3>", escape(&f.id), escape(&f.title));
    let tier = if f.tier.is_empty() { String::new() } else { format!(", tier {}", f.tier) };
    let _ = write!(
        out,
        "<p class=\"dim\">{} \u{b7} {word} {} \u{b7} {}{}</p><p>{}</p><ul>",
        f.rule,
        f.score,
        f.confidence.word(),
        escape(&tier),
        escape(&f.message)
    );
    let mut item = |what: &str, text: &str| {
        let _ = write!(out, "<li><span class=\"dim\">{what}</span> {}</li>", escape(text));
    };
    if let Some(share) = &f.share {
        item("share", &share.told());
    }
    if f.impact.recoverable_high > 0 {
        let value = |v: i64| format_value(v as f64, &f.impact.unit);
        let range = format!("{} to {}: {}", value(f.impact.recoverable_low), value(f.impact.recoverable_high), f.impact.model);
        item("a fix would save", &range);
    }
    if f.occurrences.of_traces > 0 {
        let text = format!("{} of {} traces; {}", f.occurrences.traces, f.occurrences.of_traces, f.occurrences.exemplars.join(", "));
        item("in", &text);
    }
    f.evidence.iter().for_each(|e| item("shows", &e.text));
    f.remedies.iter().for_each(|r| item("to do", r));
    f.caveats.iter().for_each(|c| item("but", c));
    for (what, list) in [("also", &f.also), ("follows from it", &f.consequences)] {
        list.iter().for_each(|other| item(what, &other.message));
    }
    let _ = write!(out, "</ul><p><code>{}</code></p></article>", escape(&f.query));
}

/// As pictures: a script in them does not run.
fn graphs(session: &Session, out: &mut String) {
    let drawn = (0..session.profiles.len()).filter_map(|p| {
        let profile = &session.profiles[p];
        let value = profile.value_types.get(profile.default_value)?;
        Some((profile, value, flame_graph(session, p, profile.default_value, None).ok()?))
    });
    let drawn: Vec<_> = drawn.take(MAX_GRAPHS).collect();
    if drawn.is_empty() {
        return;
    }
    out.push_str("<h2>Flame graphs</h2>");
    for (profile, value, svg) in drawn {
        let file = session.sources.get(profile.source.index()).map_or("", |s| s.file.as_str());
        let name = format!("{file} {}: {} in {}", profile.name, value.name, value.unit);
        let _ = write!(out, "<p>{}</p><img alt=\"Flame graph of {}\" src=\"data:image/svg+xml,", escape(&name), escape(&name));
        for b in svg.bytes() {
            if b.is_ascii_alphanumeric() || b" -_.!~*()/:=,;@+".contains(&b) {
                out.push(char::from(b));
            } else {
                let _ = write!(out, "%{b:02X}");
            }
        }
        out.push_str("\">");
    }
    let all = session.profiles.len();
    if all > MAX_GRAPHS {
        let _ = write!(out, "<p class=\"dim\">The first {MAX_GRAPHS} of {all} profiles are drawn.</p>");
    }
}

fn account(s: &InspectSource, out: &mut String) {
    let _ = write!(out, "<h3>{}</h3>", escape(&s.file));
    if let Some(error) = &s.error {
        let _ = write!(out, "<p>Not read: {}</p>", escape(error));
    }
    let r = &s.ledger.records;
    let bytes = format_bytes(s.bytes as f64);
    let _ = write!(
        out,
        "<table><tr><td>{}, {bytes}</td><td>{} records in, {} kept, {} dropped</td></tr>",
        s.format, r.records_in, r.kept, r.dropped
    );
    for p in &s.profiles {
        let shown = p.value_types.iter().find(|v| v.default);
        let weight = shown.map_or(String::new(), |v| format!(", {} of {}", format_value(v.total as f64, &v.unit), v.name));
        let _ = write!(out, "<tr><td>{}</td><td>{}{}</td></tr>", escape(&p.name), size_text(p.events, p.samples), escape(&weight));
    }
    for w in &s.ledger.weight {
        let (name, unit) = (escape(&w.value), escape(&w.unit));
        let _ = write!(out, "<tr><td>{name} in {unit}</td><td>{} in, {} kept, {} dropped</td></tr>", w.weight_in, w.kept, w.dropped);
    }
    for c in &s.ledger.choices {
        let otherwise: Vec<&str> = c.switches.iter().map(|s| s.argument.as_str()).collect();
        let otherwise = if otherwise.is_empty() { String::new() } else { format!(" Otherwise: {}.", otherwise.join(" or ")) };
        let text = format!("{}: {}{otherwise}", c.choice.chosen, c.choice.why);
        let _ = write!(out, "<tr><td>chosen: {}</td><td>{}</td></tr>", escape(&c.choice.what), escape(&text));
    }
    for e in &s.ledger.entries {
        let at: Vec<&str> = e.examples.iter().map(|x| x.at.as_str()).collect();
        let text = format!("{} \u{d7} {} At {}.", e.count, e.message, at.join(", "));
        let _ = write!(out, "<tr><td><code>{}</code></td><td>{}</td></tr>", escape(&e.code), escape(&text));
    }
    out.push_str("</table>");
}

fn rules(report: &Report, out: &mut String) {
    out.push_str("<h2>Rules</h2><table><tr><th>Rule</th><th>Result</th><th>Over</th></tr>");
    for v in &report.verdicts {
        let name = DETECTORS.iter().map(|d| d.rule()).find(|r| r.id == v.rule).map_or("", |r| r.name);
        let (status, over) = v.told();
        let _ = write!(out, "<tr><td>{} <code>{}</code></td><td>{status}</td><td>{}</td></tr>", escape(name), v.rule, escape(over));
    }
    out.push_str("</table>");
}
