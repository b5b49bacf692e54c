//! `hotspan export`: a profile as pprof, folded stacks, a flame graph as SVG, speedscope's JSON, traces as OTLP JSON, or their
//! critical paths as folded stacks.

use super::{Stop, labels, load, pick, write_bytes};
use crate::analysis::critical_profile::critical_profile;
use crate::model::Session;
use crate::model::profile::Profile;
use crate::report;
use clap::ValueEnum;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Profiles, or traces for otlp-json and critical-path-folded
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What to write
    #[arg(long, value_enum)]
    to: To,
    /// Value type; without it the one that is shown first (speedscope: all, in profiles of their own)
    #[arg(long, value_name = "NAME")]
    value: Option<String>,
    /// Only requests whose root has this service, for critical-path-folded
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Only requests whose root has this operation (ids in it as *), for critical-path-folded
    #[arg(long, value_name = "NAME")]
    operation: Option<String>,
    #[command(flatten)]
    reading: load::Reading,
    #[command(flatten)]
    labels: labels::LabelArgs,
    /// Write to a file instead of standard output
    #[arg(short, value_name = "OUT")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum To {
    /// All value types, gzip
    Pprof,
    Folded,
    Svg,
    Speedscope,
    OtlpJson,
    /// Critical paths of traces: call path and nanoseconds that requests waited there
    CriticalPathFolded,
}

pub(super) fn run(args: &Args) -> Result<(), Stop> {
    let (engine, all_read) = load::tables(&args.files, &args.reading);
    let session = &engine.session;
    if args.to == To::OtlpJson {
        if session.traces.spans.is_empty() {
            load::status(all_read)?;
            return Err(Stop::Usage("these files hold no traces, so there are no spans to export".to_string()));
        }
        write_bytes(args.out.as_ref(), report::otlp_json::otlp_json(session).as_bytes())?;
        return load::status(all_read);
    }
    if args.to == To::CriticalPathFolded {
        if session.traces.spans.is_empty() {
            load::status(all_read)?;
            return Err(Stop::Usage("these files hold no traces, so there is no critical path to export".to_string()));
        }
        let (service, operation) = (args.service.as_deref().unwrap_or(""), args.operation.as_deref().unwrap_or(""));
        let paths = critical_profile(session, service, operation)
            .ok_or_else(|| Stop::Usage(format!("no trace begins with {service} {operation}; `hotspan traces` lists the roots")))?;
        write_bytes(args.out.as_ref(), report::folded::folded(&paths, 0, 0, None).text.as_bytes())?;
        return load::status(all_read);
    }
    if session.profiles.is_empty() {
        load::status(all_read)?;
        return Err(Stop::Usage("these files hold no profile, so there are no stacks to export".to_string()));
    }
    if args.to == To::Speedscope {
        // Its files hold any number of profiles.
        let (profile, _) = pick::pick(session, args.value.as_deref())?;
        let narrowed = labels::apply(session, profile, &args.labels)?;
        let session = narrowed.as_ref().unwrap_or(session);
        let only = args.value.as_deref().map(|name| columns(session, name)).transpose()?;
        let written = report::speedscope::speedscope(session, only.as_deref());
        if written.profiles == 0 {
            return Err(Stop::Usage("no sample of these files has a positive weight, so there is nothing to export".to_string()));
        }
        for note in &written.notes {
            eprintln!("hotspan: {note}");
        }
        write_bytes(args.out.as_ref(), written.text.as_bytes())?;
        return load::status(all_read);
    }
    // One file may hold several profiles (events of a perf script), and a value name picks those that have it.
    // Weights of different events must not be summed, so the first match is exported and the others are named.
    let (profile, value) = pick::pick(session, args.value.as_deref())?;
    let others: Vec<String> = (0..session.profiles.len()).filter(|&p| p != profile).map(|p| pick::profile_name(session, p)).collect();
    if !others.is_empty() {
        eprintln!("hotspan: exported {}; not exported: {}", pick::profile_name(session, profile), others.join(", "));
    }
    let narrowed = labels::apply(session, profile, &args.labels)?;
    let (session, profile) = narrowed.as_ref().map_or((session, profile), |s| (s, 0));
    let bytes = match args.to {
        To::Pprof => {
            let pprof = report::pprof::pprof(session, profile, None).unwrap_or_default();
            for lost in &pprof.lost {
                eprintln!("{lost}");
            }
            pprof.bytes
        }
        To::Folded => {
            let folded = report::folded::folded(session, profile, value, None);
            if folded.without_stack != 0 {
                eprintln!("hotspan: samples without frames, of weight {}, cannot be expressed as folded stacks", folded.without_stack);
            }
            folded.text.into_bytes()
        }
        To::OtlpJson => report::otlp_json::otlp_json(session).into_bytes(),
        To::Svg | To::Speedscope | To::CriticalPathFolded => {
            report::svg::flame_graph(session, profile, value, None).map_err(Stop::Usage)?.into_bytes()
        }
    };
    write_bytes(args.out.as_ref(), &bytes)?;
    load::status(all_read)
}

/// All columns of this name, or the one that [`pick::pick`] finds.
fn columns(session: &Session, name: &str) -> Result<Vec<(usize, usize)>, Stop> {
    let named = |(row, p): (usize, &Profile)| p.value_index(name).map(|value| (row, value));
    let found: Vec<(usize, usize)> = session.profiles.iter().enumerate().filter_map(named).collect();
    if found.is_empty() { Ok(vec![pick::pick(session, Some(name))?]) } else { Ok(found) }
}
