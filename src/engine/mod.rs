//! The engine: one session, requests in, responses out. The same in the page's worker and in the native command.

pub mod carried;
pub mod parts;
pub mod preview;
pub mod protocol;
pub mod views;
pub mod warm;

use crate::analysis::clock_skew;
use crate::base::ids::TraceRow;
use crate::base::slabs::Slabs;
use crate::findings;
pub use crate::findings::settings::Settings;
pub use crate::findings::settings_lines::is_settings;
use crate::formats::{Limits, Progress, folded_unit, input, symbolize};
use crate::model::Session;
use crate::model::ledger::Choice;
use protocol::stage::Stage;
use protocol::{Failure, Request};
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::io::Read;

/// A session and what was derived from it.
#[derive(Default)]
pub struct Engine {
    /// The tables.
    pub session: Session,
    /// What it is compared with; empty if nothing is.
    pub baseline: Session,
    /// Findings of the current session.
    pub report: findings::Report,
    /// Thresholds, targets and rules that the user changed.
    pub settings: Settings,
    /// What of the settings that were asked for means nothing, a sentence each.
    pub settings_errors: Vec<String>,
    /// What the numbers of folded stacks are, if someone said so: one of [`folded_unit::UNITS`].
    pub unit: Option<String>,
    /// Bounds of reading; of these the memory that tables may take.
    pub limits: Limits,
    /// Derived tables, by query.
    pub cache: views::Cache,
    /// What is shown of a file that is still being read.
    pub preview: Option<Box<preview::Preview>>,
}

impl Engine {
    /// Reads one more file. Call [`Engine::finish`] after the last one of a drop.
    pub fn open(&mut self, file_name: &str, size: u64, reader: Box<dyn Read>, progress: &mut dyn FnMut(Progress) -> bool) {
        input::open(&mut self.session, file_name, size, reader, self.limits, progress);
    }

    /// Exchanges candidate and baseline, so that files are read into the other one. Call it again before [`Engine::finish`].
    pub fn swap(&mut self) {
        std::mem::swap(&mut self.session, &mut self.baseline);
    }

    /// Gives names to addresses, links spans and accounts for what linking dropped.
    pub fn link(&mut self) {
        self.link_telling(&mut |_| ());
    }

    fn link_telling(&mut self, tell: &mut dyn FnMut(Stage)) {
        self.cache = views::Cache::default();
        for session in [&mut self.session, &mut self.baseline] {
            tell(Stage::Naming);
            symbolize::symbolize(session);
            if let Some(unit) = &self.unit {
                // Units come from a closed list, by the command line's parser and by `Request::Interpret`.
                let _ = folded_unit::interpret(session, unit);
            }
            session.symbols.stacks.seal();
            tell(Stage::Linking);
            let report = session.traces.link();
            views::account::link_report(session, &report);
        }
    }

    /// What the rules look at.
    fn context(&self) -> findings::Context<'_> {
        let baseline = Some(&self.baseline).filter(|b| !b.sources.is_empty());
        findings::Context::new(&self.session, &self.settings).with_baseline(baseline)
    }

    /// Moves the spans of hosts whose clocks differ, in all traces of both sides, before the rules are run; gives how many were
    /// moved. Each file that holds such spans says so among its choices. Call it after [`Engine::link`].
    pub fn align_clocks(&mut self) -> u64 {
        let mut sum = 0;
        for session in [&mut self.session, &mut self.baseline] {
            let (traces, strings) = (&session.traces, &session.strings);
            let rows = (0..traces.traces.len()).map(TraceRow::from_index);
            let shifts: Vec<i64> = rows.flat_map(|trace| clock_skew::shifts(traces, strings, trace)).collect();
            let mut moved: BTreeMap<usize, u64> = BTreeMap::new();
            for (row, _) in shifts.iter().enumerate().filter(|(_, shift)| **shift != 0) {
                *moved.entry(traces.spans.source[row].index()).or_default() += 1;
            }
            session.traces.shift_all(&shifts);
            for (source, count) in &moved {
                session.sources[*source].ledger.choices.push(Choice {
                    what: "Clocks of hosts".to_string(),
                    chosen: format!("aligned: {count} spans moved, by one offset per host and trace"),
                    others: vec!["as the file has them".to_string()],
                    why: "aligning was asked for".to_string(),
                });
            }
            sum += moved.values().sum::<u64>();
        }
        sum
    }

    /// Links, and runs the rules.
    pub fn finish(&mut self) {
        self.finish_telling(&mut |_, _, _| ());
    }

    /// As [`Engine::finish`], and tells before each step which one it is, how much of it is done and of how much.
    pub fn finish_telling(&mut self, tell: &mut dyn FnMut(Stage, usize, usize)) {
        self.end_preview();
        self.link_telling(&mut |stage| tell(stage, 0, 0));
        let all = findings::DETECTORS.len();
        self.judge_telling(&mut |done, _| tell(Stage::Rules, done, all));
    }

    /// Runs the rules over what is linked, with the settings that are in force now.
    pub fn judge(&mut self) {
        self.judge_telling(&mut |_, _| ());
    }

    fn judge_telling(&mut self, tell: &mut dyn FnMut(usize, &'static str)) {
        let cx = self.context();
        let report = findings::run_telling(&cx, tell);
        let (trees, comparison) = cx.into_parts();
        self.report = report;
        self.cache.selections.trees = trees;
        self.cache.comparison = comparison.map_or_else(OnceCell::new, |c| OnceCell::from(Some(c)));
    }

    /// The comparison with the baseline, made once for rules and views; `None` without one.
    pub fn comparison(&self) -> Option<&findings::compare::Comparison> {
        let make = || {
            let cx = self.context();
            cx.comparison();
            cx.into_parts().1
        };
        self.cache.comparison.get_or_init(make).as_ref()
    }

    /// What a change must be to be called certain, as the settings have it.
    pub fn compare_limits(&self) -> findings::compare_profiles::Limits {
        findings::regression_function::limits(&self.context())
    }

    /// Answers a request of the page.
    ///
    /// # Errors
    /// [`Failure`] with a sentence for people when the request names something that does not exist.
    pub fn handle(&mut self, request: &Request) -> Result<Slabs, Failure> {
        match self.preview.take() {
            Some(preview) => self.answer_from(preview, request),
            None => views::answer(self, request),
        }
    }
}
