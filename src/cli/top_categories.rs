//! `hotspan top --by category`: CPU time by kind of work, in parts that add up to the whole.

use super::analyze::clean;
use super::{Stop, to_json};
use crate::base::quantity::{format_share, format_value};
use crate::engine::protocol::kinds::KindsData;
use crate::engine::views::kinds::kinds;
use crate::model::Session;
use serde::Serialize;
use std::fmt::Write;

#[derive(Serialize)]
struct Categories<'a> {
    schema: &'static str,
    file: &'a str,
    #[serde(flatten)]
    data: KindsData,
}

/// The partition as text or JSON (`hotspan.categories/1`).
///
/// # Errors
/// [`Stop::Usage`] if the profile does not measure CPU time.
pub(super) fn print(session: &Session, profile: usize, threads: Option<&[bool]>, json: bool, limit: usize) -> Result<String, Stop> {
    let mut data = kinds(session, profile, threads);
    if data.kinds.is_empty() {
        return Err(Stop::Usage("kinds of work are told of CPU time: this profile has no active samples of it".to_string()));
    }
    if json {
        data.kinds.truncate(limit);
        let file = session.sources.get(session.profiles[profile].source.index()).map_or("", |s| s.file.as_str());
        return to_json(&Categories { schema: "hotspan.categories/1", file, data });
    }
    let mut out = String::new();
    let whole = data.samples.max(1) as f64;
    let _ = writeln!(
        out,
        "{}: {} active samples, {} idle ones left out; each counts in one kind of work",
        clean(&data.value),
        data.samples,
        data.idle
    );
    let _ = writeln!(out, "{:>8} {:>8} {:>12}  kind of work, and the function at most of its leaves", "share", "samples", "weight");
    for k in data.kinds.iter().take(limit) {
        let share = format_share(k.samples as f64 / whole);
        let _ =
            writeln!(out, "{share:>8} {:>8} {:>12}  {}: {}", k.samples, format_value(k.weight, &data.unit), k.label, clean(&k.function));
    }
    let tax = format_share(data.tax as f64 / data.samples.max(1) as f64);
    let _ = writeln!(
        out,
        "serialization, RPC, hashing, compression, memory management and copying: {tax} (Kanev 2015: nearly 30 % in a fleet)"
    );
    Ok(out)
}
