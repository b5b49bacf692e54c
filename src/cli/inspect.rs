//! `hotspan inspect`: what each file holds, and its ledger.

use super::analyze::clean;
use super::{Stop, load, to_json, write_out};
use crate::base::quantity::{format_bytes, format_count, format_ns, format_value};
use crate::report::inspect::{Inspect, InspectLedger, InspectSource, inspect, size_text};
use std::fmt::Write;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Profiles and traces
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    reading: load::Reading,
    /// JSON (hotspan.inspect/1) instead of text
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<(), Stop> {
    let (engine, all_read) = load::tables(&args.files, &args.reading);
    let answer = inspect(&engine.session);
    let text = if args.json { to_json(&answer)? } else { text(&answer) };
    write_out(None, &text)?;
    load::status(all_read)
}

fn text(answer: &Inspect) -> String {
    let mut out = String::new();
    for source in &answer.sources {
        one(source, &mut out);
    }
    out
}

fn one(s: &InspectSource, out: &mut String) {
    // The row of an archive itself has the archive as its format.
    let around = s.container.strip_suffix(std::slice::from_ref(&s.format)).unwrap_or(&s.container);
    let wrapped: String = around.iter().rev().map(|name| format!(" in {name}")).collect();
    let format = if s.format.is_empty() { "not recognised" } else { &s.format };
    let _ = writeln!(out, "{}: {format}{wrapped}, {}", clean(&s.file), format_bytes(s.bytes as f64));
    if let Some(error) = &s.error {
        let _ = writeln!(out, "  not read   {}", clean(error));
    }
    for p in &s.profiles {
        let name = if p.name.is_empty() { "profile" } else { &p.name };
        let _ = writeln!(
            out,
            "  {}   {}, {} threads, {} functions, {} stacks, deepest {}",
            clean(name),
            size_text(p.events, p.samples),
            p.threads,
            format_count(p.functions as f64),
            format_count(p.stacks as f64),
            p.max_depth
        );
        for v in &p.value_types {
            let mark = if v.default { " (shown first)" } else { "" };
            let _ = writeln!(out, "    {:<16} {}{mark}", clean(&v.name), format_value(v.total as f64, &v.unit));
        }
        if !p.labels.is_empty() {
            let keys: Vec<String> = p.labels.iter().map(|(key, n)| format!("{} ({n})", clean(key))).collect();
            let _ = writeln!(out, "    labels           {}", keys.join(", "));
        }
    }
    if let Some(t) = &s.trace_set {
        let _ = writeln!(
            out,
            "  {} traces, {} spans, {} services, {} operations, {} errors, {} roots, {} orphans, over {}",
            t.traces,
            t.spans,
            t.services.len(),
            t.operations,
            t.errors,
            t.roots,
            t.orphans,
            format_ns(t.end_ns.saturating_sub(t.start_ns) as f64)
        );
    }
    if let Some(t) = &s.timeline {
        let _ = writeln!(
            out,
            "  {} slices, {} instants, {} counters, {} flows, {} async on {} threads of {} processes",
            t.slices, t.instants, t.counters, t.flows, t.asyncs, t.threads, t.processes
        );
    }
    if let Some(partial) = &s.partial {
        let _ = writeln!(out, "  partial    {}", clean(&partial.text()));
    }
    account(&s.ledger, out);
}

/// The ledger of a file; every line is indented.
pub(super) fn account(ledger: &InspectLedger, out: &mut String) {
    let r = &ledger.records;
    let _ = writeln!(out, "  ledger     {} records in, {} kept, {} dropped", r.records_in, r.kept, r.dropped);
    for w in &ledger.weight {
        let _ = writeln!(
            out,
            "             {} in {}: {} in, {} kept, {} dropped",
            clean(&w.value),
            clean(&w.unit),
            w.weight_in,
            w.kept,
            w.dropped
        );
    }
    for c in &ledger.choices {
        let others = if c.choice.others.is_empty() { String::new() } else { format!(" (or {})", clean(&c.choice.others.join(", "))) };
        let _ = writeln!(out, "  chosen     {}: {}{others}: {}", clean(&c.choice.what), clean(&c.choice.chosen), clean(&c.choice.why));
        let switches: Vec<&str> = c.switches.iter().map(|s| s.argument.as_str()).collect();
        if !switches.is_empty() {
            let _ = writeln!(out, "             otherwise: {}", clean(&switches.join(" or ")));
        }
    }
    for e in &ledger.entries {
        let _ = writeln!(out, "  {:<10} {} × {}: {}", level(e.level), e.count, e.code, e.message);
        for example in &e.examples {
            let _ = writeln!(out, "             at {}: {}", example.at, clean(&example.text));
        }
    }
}

fn level(level: crate::model::diagnostics::Level) -> &'static str {
    use crate::model::diagnostics::Level;
    match level {
        Level::Info => "info",
        Level::Notice => "notice",
        Level::DataLoss => "data loss",
        Level::Error => "error",
    }
}
