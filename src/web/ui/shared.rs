//! What views share: the engine, what is loaded, where the user is, and what they may ask of the application.

use crate::base::view::ViewRef;
use crate::engine::protocol::summary::{SettingsFile, Summary};
use crate::engine::protocol::{ExportKind, SampleQuery};
use crate::web::client::Client;
use crate::web::wire::FileProgress;
use std::rc::Rc;
use web_sys::File;
use yew::Callback;

/// What every view gets.
#[derive(Clone, PartialEq)]
pub struct Shared {
    /// The engine.
    pub client: Client,
    /// What is loaded.
    pub summary: Rc<Summary>,
    /// Where the user is.
    pub place: Rc<ViewRef>,
    /// Goes to a place: `true` replaces the current step of the history.
    pub go: Callback<(ViewRef, bool)>,
    /// Says something for a while.
    pub say: Callback<String>,
    /// Starts an export.
    pub export: Callback<(ExportKind, Option<String>)>,
    /// Changes what is compared with what.
    pub sides: Callback<SideChange>,
    /// Takes other settings of the rules, as lines of the address.
    pub settings: Callback<Vec<String>>,
    /// Files with settings that were dropped.
    pub settings_files: Rc<Vec<SettingsFile>>,
    /// Puts one of them away.
    pub forget: Callback<usize>,
    /// Changes with every load.
    pub generation: u32,
}

/// A change of baseline and candidate.
pub enum SideChange {
    /// Files are to be read as baseline.
    Add(Vec<File>),
    /// An open file, by position, becomes part of the baseline.
    Move(usize),
    /// A file of the baseline, by position, is closed.
    Remove(usize),
    /// Baseline and candidate change places.
    Swap,
}

impl Shared {
    /// The profile query of the current place.
    pub fn query(&self) -> SampleQuery {
        let profile = self.place.profile.unwrap_or(0);
        let info = self.summary.profiles.get(profile as usize);
        let named = |name: &String| info.and_then(|p| p.values.iter().position(|v| v.name == *name));
        let value = self.place.value.as_ref().and_then(named).map_or(info.map_or(0, |p| p.default_value), |v| v as u32);
        let thread = self.place.thread.filter(|t| info.is_some_and(|p| (*t as usize) < p.threads.len()));
        SampleQuery { profile, value, thread, labels: self.place.labels.clone(), group: self.place.group.clone() }
    }

    /// The colour of a service, the same in every view. The first eight services of the session have one each.
    pub fn service_colour(&self, name: &str) -> String {
        let at = self.summary.service_names.iter().position(|n| n == name);
        let at = at.unwrap_or_else(|| (crate::base::hash::hash_bytes(name.as_bytes()) % 8) as usize);
        format!("var(--span-{})", at % 8)
    }

    /// Changes a threshold of a rule; `None` for its default.
    pub fn set_threshold(&self, rule: &str, threshold: &str, value: Option<f64>) {
        let mut lines = self.place.settings.clone();
        let name = format!("{rule}.{threshold}=");
        lines.retain(|l| !l.starts_with(&name));
        lines.extend(value.map(|v| format!("{name}{v}")));
        self.settings.emit(lines);
    }

    /// Switches a rule on or off.
    pub fn switch_rule(&self, rule: &str, on: bool) {
        let line = format!("{rule}=off");
        let mut lines = self.place.settings.clone();
        lines.retain(|l| *l != line);
        if !on {
            lines.push(line);
        }
        self.settings.emit(lines);
    }

    /// Goes to a changed copy of the current place.
    pub fn change(&self, replace: bool, change: impl FnOnce(&mut ViewRef)) {
        let mut place = (*self.place).clone();
        change(&mut place);
        self.go.emit((place, replace));
    }
}

/// A file that is being read.
#[derive(Clone, PartialEq)]
pub struct Loading {
    /// Names and sizes.
    pub files: Vec<(String, f64)>,
    /// How far.
    pub progress: FileProgress,
    /// When it began, in milliseconds of the page's clock.
    pub since: f64,
    /// Whether it belongs to the baseline.
    pub baseline: bool,
    /// What is read so far, and how far that goes; `None` until there is something to see.
    pub preview: Option<(Rc<Summary>, FileProgress)>,
    /// The user has seen enough: what is read is kept, and the rest of the work on it is under way.
    pub keeping: bool,
}
