//! `hotspan diff BASELINE… -- CANDIDATE…`: what changed, ranked by certain change.

use super::analyze::clean;
use super::{Stop, load, to_json, write_out};
use crate::base::quantity::{format_count, format_ns, format_share};
use crate::engine::protocol::compare::{Diff, ProfileDiff, TraceDiff};
use crate::engine::views::compare::diff;
use crate::findings::settings::{Setting, Settings, parse_setting};
use std::fmt::Write;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The files before
    #[arg(required = true, value_name = "BASELINE")]
    baseline: Vec<PathBuf>,
    /// The files after
    #[arg(last = true, required = true, value_name = "CANDIDATE")]
    candidate: Vec<PathBuf>,
    /// Rows per table
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// Change a threshold of the comparison, such as regression-function.min-points=1
    #[arg(long = "set", value_name = "RULE.THRESHOLD=VALUE", value_parser = parse_setting)]
    settings: Vec<Setting>,
    /// JSON instead of text
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<(), Stop> {
    let settings = Settings { thresholds: args.settings.clone(), ..Settings::default() };
    let (engine, all_read) = load::sides(&args.candidate, &args.baseline, settings);
    let comparison = engine.comparison().filter(|c| !c.is_empty()).ok_or_else(|| {
        Stop::Usage(
            "the two sides have nothing in common that could be compared: no profiles that measure the same, no traces on both".to_string(),
        )
    });
    let comparison = match comparison {
        Ok(c) => c,
        Err(stop) => {
            load::status(all_read)?;
            return Err(stop);
        }
    };
    let diff = diff([&engine.baseline, &engine.session], comparison, args.limit);
    write_out(None, &if args.json { to_json(&diff)? } else { text(&diff) })?;
    load::status(all_read)
}

fn text(diff: &Diff) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "baseline   {}\ncandidate  {}\n", clean(&diff.files[0].join(", ")), clean(&diff.files[1].join(", ")));
    for warning in &diff.warnings {
        let _ = writeln!(out, "note       {}", clean(warning));
    }
    for p in &diff.profiles {
        profile(p, &mut out);
    }
    if let Some(t) = &diff.traces {
        traces(t, &mut out);
    }
    out
}

fn changed(change: &str) -> &str {
    if change == "same" { "" } else { change }
}

fn profile(p: &ProfileDiff, out: &mut String) {
    let _ = writeln!(
        out,
        "{}: {} before, {} now; {} tests at 5 % false discoveries",
        clean(&p.value),
        format_count(p.events[0] as f64),
        format_count(p.events[1] as f64),
        p.tested
    );
    for warning in &p.warnings {
        let _ = writeln!(out, "  note: {}", clean(warning));
    }
    let _ = writeln!(
        out,
        "{:>9} {:>9} {:>9}  {:>9} {:>9} {:>9}  {:<10} function",
        "self was", "self now", "change", "total was", "total now", "change", ""
    );
    for f in &p.functions {
        let points = |s: [f64; 2]| format!("{:+.1} pp", (s[1] - s[0]) * 100.0);
        let word = if f.change == "same" { changed(&f.total_change) } else { &f.change };
        let _ = writeln!(
            out,
            "{:>9} {:>9} {:>9}  {:>9} {:>9} {:>9}  {:<10} {}{}",
            format_share(f.self_share[0]),
            format_share(f.self_share[1]),
            points(f.self_share),
            format_share(f.total_share[0]),
            format_share(f.total_share[1]),
            points(f.total_share),
            word,
            clean(&f.name),
            if f.partner.is_empty() { String::new() } else { format!(" (and {})", clean(&f.partner)) }
        );
        if f.change == "regressed" && f.path.len() > 1 {
            let _ = writeln!(out, "{:>72} by {}", "", clean(&f.path.join(" → ")));
        }
    }
    if p.more > 0 {
        let _ = writeln!(out, "  and {} more functions", p.more);
    }
    out.push('\n');
}

fn traces(t: &TraceDiff, out: &mut String) {
    let _ = writeln!(out, "traces: {} tests at 5 % false discoveries", t.tested);
    for warning in &t.warnings {
        let _ = writeln!(out, "  note: {}", clean(warning));
    }
    let _ = writeln!(
        out,
        "{:>10} {:>10}  {:>10} {:>10}  {:>7} {:>7}  {:<10} operation",
        "p50 was", "p50 now", "p95 was", "p95 now", "n was", "n now", ""
    );
    for r in &t.operations {
        let word = if r.change == "same" && r.error_change != "same" {
            format!("errors {}", r.error_change)
        } else {
            changed(&r.change).to_string()
        };
        let _ = writeln!(
            out,
            "{:>10} {:>10}  {:>10} {:>10}  {:>7} {:>7}  {:<10} {} {}",
            format_ns(r.p50_ns[0] as f64),
            format_ns(r.p50_ns[1] as f64),
            format_ns(r.p95_ns[0] as f64),
            format_ns(r.p95_ns[1] as f64),
            r.count[0],
            r.count[1],
            word,
            clean(&r.service),
            clean(&r.operation)
        );
    }
    let calls: Vec<_> = t.calls.iter().filter(|c| c.change != "same").collect();
    if !calls.is_empty() {
        let _ = writeln!(out, "\ncalls per execution:");
        for c in calls {
            let names = format!("{} {} → {}", clean(&c.service), clean(&c.operation), clean(&c.target));
            let _ = writeln!(out, "{:>9.2} → {:<9.2} {:<10} {names}", c.per_execution[0], c.per_execution[1], c.change);
        }
    }
    let _ = writeln!(out, "\nendpoints:");
    for e in &t.endpoints {
        let _ = writeln!(
            out,
            "{:>10} → {:<10} mean of {} {}{}",
            format_ns(e.mean_ns[0] as f64),
            format_ns(e.mean_ns[1] as f64),
            clean(&e.service),
            clean(&e.operation),
            if e.explained_by.is_empty() {
                String::new()
            } else {
                format!("; {} of it by {}", format_ns(e.explained_ns as f64), clean(&e.explained_by.join(" → ")))
            }
        );
        for (side, path, n) in &e.one_sided {
            let _ = writeln!(out, "{:>24} only in the {side}, {n} times: {}", "", clean(&path.join(" → ")));
        }
    }
}
