//! The engine: one session, requests in, responses out. The same in the page's worker and in the native command.

pub mod parts;
pub mod protocol;
pub mod views;

use crate::base::slabs::Slabs;
use crate::findings;
use crate::formats::{Limits, Progress, input, symbolize};
use crate::model::Session;
use protocol::{Failure, Request};
use std::io::Read;

/// Makes ready what every session needs, before there is any.
pub fn warm() {
    crate::analysis::categories::warm();
}

/// A session and what was derived from it.
#[derive(Default)]
pub struct Engine {
    /// The tables.
    pub session: Session,
    /// Findings of the current session.
    pub report: findings::Report,
    /// Thresholds, targets and rules that the user changed.
    pub settings: findings::settings::Settings,
    /// Derived tables, by query.
    pub cache: views::Cache,
}

impl Engine {
    /// Reads one more file. Call [`Engine::finish`] after the last one of a drop.
    pub fn open(&mut self, file_name: &str, size: u64, reader: Box<dyn Read>, progress: &mut dyn FnMut(Progress) -> bool) {
        input::open(&mut self.session, file_name, size, reader, Limits::default(), progress);
    }

    /// Gives names to addresses, links spans and accounts for what linking dropped.
    pub fn link(&mut self) {
        self.cache = views::Cache::default();
        symbolize::symbolize(&mut self.session);
        self.session.symbols.stacks.seal();
        let report = self.session.traces.link();
        views::account::link_report(&mut self.session, &report);
    }

    /// Links, and runs the rules.
    pub fn finish(&mut self) {
        self.link();
        let cx = findings::Context::new(&self.session, &self.settings);
        self.report = findings::run(&cx);
        self.cache.selections.trees = cx.into_trees();
    }

    /// Answers a request of the page.
    ///
    /// # Errors
    /// [`Failure`] with a sentence for people when the request names something that does not exist.
    pub fn handle(&mut self, request: &Request) -> Result<Slabs, Failure> {
        views::answer(self, request)
    }
}
