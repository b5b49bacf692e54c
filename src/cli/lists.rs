//! `hotspan formats` and `hotspan rules`.

use super::{Stop, to_json, write_out};
use crate::findings::DETECTORS;
use crate::formats::FORMATS;
use serde_json::json;
use std::fmt::Write;

#[derive(clap::Args)]
pub(super) struct FormatsArgs {
    /// JSON instead of text
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub(super) struct RulesArgs {
    /// Show the documentation of this rule
    rule: Option<String>,
    /// JSON instead of text
    #[arg(long)]
    json: bool,
}

pub(super) fn formats(args: &FormatsArgs) -> Result<(), Stop> {
    if args.json {
        let rows: Vec<_> =
            FORMATS.iter().map(|f| json!({"id": f.id(), "name": f.name(), "extensions": f.extensions(), "hint": f.hint()})).collect();
        return write_out(None, &to_json(&json!({"schema": "hotspan.formats/1", "formats": rows}))?);
    }
    let mut out = String::new();
    for f in FORMATS {
        let _ = writeln!(out, "{:<14} {}\n               {}", f.id(), f.name(), f.hint());
    }
    write_out(None, &out)
}

pub(super) fn rules(args: &RulesArgs) -> Result<(), Stop> {
    let all: Vec<_> = DETECTORS.iter().map(|d| d.rule()).collect();
    let chosen: Vec<_> = all.iter().filter(|r| args.rule.as_deref().is_none_or(|id| id == r.id)).collect();
    if chosen.is_empty() && args.rule.is_some() {
        let ids: Vec<&str> = all.iter().map(|r| r.id).collect();
        return Err(Stop::Usage(format!("there is no rule {}; rules are {}", args.rule.as_deref().unwrap_or_default(), ids.join(", "))));
    }
    if args.json {
        let rows: Vec<_> = chosen
            .iter()
            .map(|r| {
                let thresholds: Vec<_> = r.thresholds.iter().map(|t| json!({"name": t.name, "default": t.default, "doc": t.doc})).collect();
                json!({"id": r.id, "name": r.name, "family": r.family, "summary": r.summary, "remedies": r.remedies, "thresholds": thresholds, "doc": r.doc})
            })
            .collect();
        return write_out(None, &to_json(&json!({"schema": "hotspan.rules/1", "rules": rows}))?);
    }
    let mut out = String::new();
    for r in chosen {
        if args.rule.is_some() {
            let _ = writeln!(out, "{}\n\nThresholds (change with --set {}.NAME=VALUE):", r.doc.trim_end(), r.id);
            for t in r.thresholds {
                let _ = writeln!(out, "  {:<24} {:<8} {}", t.name, t.default, t.doc);
            }
        } else {
            let _ = writeln!(out, "{:<24} {} · {}\n                         {}", r.id, r.family, r.name, r.summary);
        }
    }
    write_out(None, &out)
}
