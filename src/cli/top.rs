//! `hotspan top`: functions, files, lines or addresses by self or total weight, as `go tool pprof -top` counts them.

use super::analyze::clean;
use super::{Stop, labels, load, pick, to_json, write_out};
use crate::analysis::functions::{By, Entry, FunctionTable, Granularity, Names, Options, functions, label};
use crate::analysis::subtract::subtract;
use crate::analysis::weights::weights_where;
use crate::base::ids::ThreadId;
use crate::base::quantity::{format_share, format_value};
use crate::engine::views::summary::thread_name;
use crate::model::Session;
use crate::model::profile::Profile;
use crate::model::symbols::NO_ADDRESS;
use clap::ValueEnum;
use serde::Serialize;
use std::fmt::Write;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Profile; for perf.data also files that name its addresses
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Value type; without it the one that is shown first
    #[arg(long, value_name = "NAME")]
    value: Option<String>,
    /// Samples of threads with this name or id only
    #[arg(long, value_name = "NAME")]
    thread: Option<String>,
    #[command(flatten)]
    reading: load::Reading,
    #[command(flatten)]
    labels: labels::LabelArgs,
    /// What to sort by
    #[arg(long, value_enum, default_value = "self")]
    by: SortBy,
    /// How many rows; 0 for all
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// What one row stands for
    #[arg(long, value_enum, default_value = "functions")]
    granularity: RowsBy,
    /// Charge inlined functions to the function they were compiled into
    #[arg(long)]
    no_inlines: bool,
    /// Names of functions: as `go tool pprof` writes them, or with parameters and template arguments
    #[arg(long, value_enum, default_value = "pprof")]
    names: NameStyle,
    /// Profile to subtract, as `go tool pprof -base`
    #[arg(long, value_name = "FILE", conflicts_with = "diff_base")]
    base: Option<PathBuf>,
    /// Profile to subtract, of which shares are taken, as `go tool pprof -diff_base`
    #[arg(long, value_name = "FILE")]
    diff_base: Option<PathBuf>,
    /// JSON (hotspan.top/1) instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum SortBy {
    #[value(name = "self")]
    Own,
    Total,
    /// Kinds of work instead of functions: each active sample counts in one
    Category,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum RowsBy {
    Functions,
    Filefunctions,
    Files,
    Lines,
    Addresses,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum NameStyle {
    Pprof,
    Full,
}

impl From<NameStyle> for Names {
    fn from(style: NameStyle) -> Names {
        match style {
            NameStyle::Pprof => Names::Simple,
            NameStyle::Full => Names::Full,
        }
    }
}

#[derive(Serialize)]
struct Top<'a> {
    schema: &'static str,
    file: &'a str,
    value: &'a str,
    unit: &'a str,
    total: i64,
    rows: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    name: String,
    file: String,
    line: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(rename = "self")]
    own: i64,
    total: i64,
}

pub(super) fn run(args: &Args) -> Result<(), Stop> {
    let (mut engine, mut all_read) = load::tables(&args.files, &args.reading);
    if engine.session.profiles.is_empty() {
        load::status(all_read)?;
    }
    let (mut profile, mut value) = pick::pick(&engine.session, args.value.as_deref())?;
    let of_files = engine.session.profiles.len();
    if let Some(base) = args.base.as_ref().or(args.diff_base.as_ref()) {
        all_read &= load::more(&mut engine, base);
        (profile, value) = difference(&mut engine.session, (profile, value), of_files, args.diff_base.is_some())?;
    }
    let session = &engine.session;
    let others: Vec<String> =
        (0..of_files).filter(|&p| p != profile && profile < of_files).map(|p| pick::profile_name(session, p)).collect();
    if !others.is_empty() {
        eprintln!("hotspan: showing {}; not shown: {}", pick::profile_name(session, profile), others.join(", "));
    }
    let narrowed = labels::apply(session, profile, &args.labels)?;
    let (session, profile) = narrowed.as_ref().map_or((session, profile), |s| (s, 0));
    let p = &session.profiles[profile];
    let wanted = threads(p, args.thread.as_deref())?;
    let weights = weights_where(session, profile, value, |t| {
        wanted.as_ref().is_none_or(|list| t.is_some_and(|t: ThreadId| list.get(t.index()).copied().unwrap_or(false)))
    });
    let limit = if args.limit == 0 { usize::MAX } else { args.limit };
    if args.by == SortBy::Category {
        write_out(None, &super::top_categories::print(session, profile, wanted.as_deref(), args.json, limit)?)?;
        return load::status(all_read);
    }
    let granularity = match args.granularity {
        RowsBy::Functions => Granularity::Functions,
        RowsBy::Filefunctions => Granularity::FileFunctions,
        RowsBy::Files => Granularity::FunctionsOfFiles,
        RowsBy::Lines => Granularity::Lines,
        RowsBy::Addresses => Granularity::Addresses,
    };
    let mut table = functions(session, &weights, Options { granularity, no_inlines: args.no_inlines, names: args.names.into() });
    table.sort(
        session,
        match args.by {
            SortBy::Total => By::Total,
            SortBy::Own | SortBy::Category => By::Own,
        },
    );
    let rows: Vec<Row> = table.rows.iter().take(limit).map(|e| row(session, e, args.granularity == RowsBy::Addresses)).collect();
    let of = &p.value_types[value];
    let file = session.sources.get(p.source.index()).map_or("", |s| s.file.as_str());
    let text = if args.json {
        to_json(&Top { schema: "hotspan.top/1", file, value: &of.name, unit: &of.unit, total: table.magnitude, rows })?
    } else {
        text(&of.name, &of.unit, &table, &rows, args.granularity)
    };
    write_out(None, &text)?;
    load::status(all_read)
}

/// Candidate minus the base's profile of the same event, or the first that has the value type; with the value type's position.
fn difference(session: &mut Session, (profile, value): (usize, usize), bases: usize, mark: bool) -> Result<(usize, usize), Stop> {
    let of = session.profiles[profile].value_types[value].clone();
    let name = session.profiles[profile].name.clone();
    let has = |p: &Profile| p.value_types.iter().any(|t| (&t.name, &t.unit) == (&of.name, &of.unit));
    let of_base = || session.profiles.iter().enumerate().skip(bases).filter(|(_, p)| has(p));
    let base = of_base().find(|(_, p)| p.name == name).or_else(|| of_base().next()).map(|(row, _)| row);
    let base = base.ok_or_else(|| Stop::Usage(format!("the base has no value type {} in {}", of.name, of.unit)))?;
    let row = subtract(session, profile, base, mark).map_err(Stop::Usage)?;
    let left: Vec<&str> = session.profiles[profile].value_types.iter().map(|t| t.name.as_str()).collect();
    let value = session.profiles[row].value_types.iter().position(|t| *t == of);
    value.map(|value| (row, value)).ok_or_else(|| Stop::Usage(format!("the two profiles share none of {}", left.join(", "))))
}

/// Which threads are wanted, by position; `None` for all.
fn threads(p: &Profile, name: Option<&str>) -> Result<Option<Vec<bool>>, Stop> {
    let Some(name) = name else { return Ok(None) };
    let list: Vec<bool> =
        p.threads.iter().map(|t| t.name == name || thread_name(t) == name || (t.tid != -1 && t.tid.to_string() == name)).collect();
    if list.contains(&true) {
        return Ok(Some(list));
    }
    if p.threads.is_empty() {
        return Err(Stop::Usage("the profile does not tell threads apart".to_string()));
    }
    let mut names: Vec<&str> = p.threads.iter().map(|t| t.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    Err(Stop::Usage(format!("there is no thread {name}; there are {}", names.join(", "))))
}

fn row(session: &Session, e: &Entry, addresses: bool) -> Row {
    let address = match (e.offset, e.address) {
        (NO_ADDRESS, NO_ADDRESS) => String::new(),
        (NO_ADDRESS, address) => format!("{address:#x}"),
        (offset, _) => format!("+{offset:#x}"),
    };
    Row {
        name: label(session, e),
        file: session.strings.get(e.file).to_string(),
        line: if e.line > 0 { e.line } else { e.start_line },
        address: addresses.then_some(address),
        own: e.own,
        total: e.total,
    }
}

fn text(value: &str, unit: &str, table: &FunctionTable, rows: &[Row], by: RowsBy) -> String {
    let mut out = String::new();
    let whole = table.magnitude.max(1) as f64;
    let shown: i64 = rows.iter().fold(0_i64, |sum, r| sum.saturating_add(r.own));
    let _ = writeln!(
        out,
        "{}: {} in {} rows; the {} below hold {} ({})",
        clean(value),
        format_value(table.magnitude as f64, unit),
        table.rows.len(),
        rows.len(),
        format_value(shown as f64, unit),
        format_share(shown as f64 / whole)
    );
    let _ = writeln!(out, "{:>12} {:>8} {:>12} {:>8}  name", "self", "self %", "total", "total %");
    for r in rows {
        let place = match by {
            RowsBy::Files if r.line > 0 => format!("  (function from line {})", r.line),
            RowsBy::Lines if r.line > 0 => format!("  {}:{}", r.file, r.line),
            RowsBy::Lines | RowsBy::Filefunctions if !r.file.is_empty() => format!("  {}", r.file),
            RowsBy::Addresses => format!("  {}", r.address.as_deref().unwrap_or_default()),
            _ => String::new(),
        };
        let _ = writeln!(
            out,
            "{:>12} {:>8} {:>12} {:>8}  {}{}",
            format_value(r.own as f64, unit),
            format_share(r.own as f64 / whole),
            format_value(r.total as f64, unit),
            format_share(r.total as f64 / whole),
            clean(&r.name),
            clean(&place)
        );
    }
    out
}
