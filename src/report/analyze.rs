//! `hotspan.report/1`: files, findings and the verdict of every rule. A public contract.

use super::inspect::{InspectSource, inspect};
use crate::findings::Report;
use crate::findings::finding::{Finding, RuleVerdict};
use crate::model::Session;
use serde::Serialize;

/// The whole answer of `hotspan analyze --format json`.
#[derive(Debug, Serialize)]
pub struct Analyze<'a> {
    /// `hotspan.report/1`.
    pub schema: &'static str,
    /// Version of hotspan.
    pub hotspan: &'static str,
    /// As in `inspect`.
    pub sources: Vec<InspectSource>,
    /// Over how much usable data the rules looked.
    pub usable: &'a str,
    /// By rank.
    pub findings: &'a [Finding],
    /// In registry order.
    pub rules: &'a [RuleVerdict],
}

/// The report as JSON text, pretty-printed, with a newline at the end.
///
/// # Errors
/// Only if a number cannot be written as JSON, which the finding types exclude.
pub fn json(session: &Session, report: &Report) -> Result<String, serde_json::Error> {
    let analyze = Analyze {
        schema: "hotspan.report/1",
        hotspan: env!("CARGO_PKG_VERSION"),
        sources: inspect(session).sources,
        usable: &report.usable,
        findings: &report.findings,
        rules: &report.verdicts,
    };
    serde_json::to_string_pretty(&analyze).map(|text| text + "\n")
}
