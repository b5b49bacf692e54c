//! What is read of a file so far, shown while the rest of it comes. Profiles are folded copies without times, spans a linked copy;
//! the tables that grow stay as they are, so that looking at them changes nothing of what the whole file comes to.

use super::Engine;
use super::parts::Joiner;
use super::protocol::{Failure, Request};
use super::views::{self, Cache};
use crate::base::slabs::Slabs;
use crate::model::profile::Profile;
use crate::model::symbols::Symbols;
use crate::model::trace_preview::Linked;

/// A view of what is read so far.
#[derive(Default)]
pub struct Preview {
    profiles: Vec<Profile>,
    symbols: Option<Symbols>,
    linked: Option<Linked>,
    cache: Cache,
}

impl Engine {
    /// Shows from now on what the joiner has joined, in place of what was shown before. Requests are answered from it until
    /// [`Engine::end_preview`].
    pub fn preview(&mut self, joiner: &Joiner) {
        // The old one goes first: two at a time would take twice the memory.
        self.preview = None;
        let (profiles, symbols) = joiner.preview(&mut self.session);
        let linked = (!self.session.traces.spans.is_empty()).then(|| self.session.traces.link_copy());
        self.preview = Some(Box::new(Preview { profiles, symbols, linked, cache: Cache::default() }));
    }

    /// Shows the session itself again.
    pub fn end_preview(&mut self) {
        self.preview = None;
    }

    /// Answers a request from the preview. What would judge or take away half of the data is refused.
    pub(super) fn answer_from(&mut self, mut preview: Box<Preview>, request: &Request) -> Result<Slabs, Failure> {
        let held = match request {
            Request::Export { .. } => Some("exports are"),
            Request::Settings { .. } => Some("rules are"),
            Request::Compare | Request::CompareFlame { .. } => Some("comparisons are"),
            Request::Interpret { .. } => Some("units are"),
            _ => None,
        };
        if let Some(what) = held {
            self.preview = Some(preview);
            return Err(Failure::new(format!("{what} held back until the whole file is read")));
        }
        let own = self.session.profiles.len();
        let report = std::mem::take(&mut self.report);
        self.session.profiles.append(&mut preview.profiles);
        self.exchange(&mut preview);
        let answer = views::answer(self, request);
        self.exchange(&mut preview);
        preview.profiles = self.session.profiles.split_off(own);
        self.report = report;
        self.preview = Some(preview);
        answer
    }

    fn exchange(&mut self, preview: &mut Preview) {
        std::mem::swap(&mut self.cache, &mut preview.cache);
        if let Some(symbols) = &mut preview.symbols {
            std::mem::swap(&mut self.session.symbols, symbols);
        }
        if let Some(linked) = &mut preview.linked {
            self.session.traces.exchange(linked);
        }
    }
}
