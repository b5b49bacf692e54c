//! From tables to answers. One file per view; [`answer`] is the only dispatcher.

pub mod account;
pub mod compare;
pub mod compare_flame;
pub mod critical;
pub mod derived;
pub mod export;
pub mod flame;
pub mod functions;
pub mod joined;
pub mod kinds;
pub mod labels;
pub mod services;
pub mod summary;
pub mod traces;
pub mod what_if;

use super::Engine;
use super::protocol::{Failure, Request};
use crate::base::slabs::Slabs;
use crate::findings::settings::Settings;

/// Derived tables that are worth keeping, by query. Emptied whenever files are added.
#[derive(Default)]
pub struct Cache {
    /// Weights, call tree and categories of profile selections.
    pub selections: derived::Selections,
    /// The comparison with the baseline.
    pub comparison: std::cell::OnceCell<Option<crate::findings::compare::Comparison>>,
    /// Samples of each profile joined with spans.
    pub joined: std::cell::OnceCell<Vec<Option<crate::analysis::joined::ProfileJoin>>>,
}

/// Answers a request.
///
/// # Errors
/// [`Failure`] when the request names something that does not exist.
pub fn answer(engine: &mut Engine, request: &Request) -> Result<Slabs, Failure> {
    match request {
        Request::Summary => summary::answer(engine),
        Request::Outline => summary::outline(engine),
        Request::Interpret { unit } => {
            crate::formats::folded_unit::interpret(&mut engine.session, unit).map_err(Failure::new)?;
            engine.unit = Some(unit.clone());
            engine.finish();
            summary::answer(engine)
        }
        Request::Settings { lines } => {
            let (settings, errors) = Settings::from_lines(lines);
            (engine.settings, engine.settings_errors) = (settings, errors);
            engine.judge();
            summary::answer(engine)
        }
        Request::Flame { query, mode } => flame::answer(engine, query, *mode),
        Request::Functions { query, form } => functions::answer(engine, query, *form),
        Request::Kinds { query } => kinds::answer(engine, query),
        Request::Labels { query } => labels::answer(engine, query),
        Request::FunctionDetail { query, function } => functions::detail(engine, query, function),
        Request::TraceList { query } => traces::list(engine, query),
        Request::Trace { id, align } => traces::trace(engine, id, *align),
        Request::Span { trace, span, align } => traces::span(engine, trace, span, *align),
        Request::WhatIf { trace, align, changes } => what_if::answer(engine, trace, *align, changes),
        Request::CriticalFlame { service, operation } => critical::answer(engine, service, operation),
        Request::Compare => compare::answer(engine),
        Request::CompareFlame { profile, baseline, uncertain } => compare_flame::answer(engine, *profile, *baseline, *uncertain),
        Request::Services => services::answer(engine),
        Request::Histogram { service, operation } => services::histogram(engine, service, operation),
        Request::Export { what, query, finding } => export::answer(engine, *what, query, finding.as_deref()),
    }
}
