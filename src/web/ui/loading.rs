//! What the application does about files: opening, closing, the two sides, and the settings that come among them.

use super::{App, Loading, Msg, SideChange};
use crate::base::quantity::counted;
use crate::base::slabs::Slabs;
use crate::base::view::{View, ViewRef};
use crate::engine::protocol::stage::Stage;
use crate::engine::protocol::summary::{SettingsFile, Summary};
use crate::engine::protocol::{Failure, Request};
use crate::web::dom;
use crate::web::wire::FileProgress;
use std::rc::Rc;
use web_sys::File;
use yew::prelude::*;

impl App {
    pub(super) fn open(&mut self, files: Vec<File>, baseline: bool) {
        if self.loading.is_some() {
            self.incoming.extend(files.into_iter().map(|f| (f, baseline)));
            return;
        }
        dom::mark("hotspan:open");
        dom::set_root("state", Some("loading"));
        dom::set_root("stage", Some("reading"));
        let names = files.iter().map(|f| (f.name(), f.size())).collect();
        self.loading =
            Some(Loading { files: names, progress: FileProgress::default(), since: dom::now(), baseline, preview: None, keeping: false });
        if self.settings != self.place.settings {
            // The rules run right after the files are read: with the settings of the address.
            self.settings.clone_from(&self.place.settings);
            self.client.request(&Request::Settings { lines: self.settings.clone() }, |_| ());
        }
        self.client.open(&files, baseline);
        self.side(baseline).extend(files);
    }

    /// What is read so far can be looked at.
    pub(super) fn show_preview(&mut self, summary: Summary, progress: FileProgress) {
        if let Some(loading) = &mut self.loading
            && !loading.keeping
            && (!summary.profiles.is_empty() || summary.spans > 0)
        {
            loading.preview = Some((Rc::new(summary), progress));
            self.generation += 1;
            dom::set_root("preview", Some("shown"));
        }
    }

    /// Ends reading and keeps what is read.
    pub(super) fn keep(&mut self) {
        if let Some(loading) = self.loading.as_mut().filter(|l| !l.keeping && l.progress.stage == Stage::Reading) {
            loading.keeping = true;
            loading.preview = None;
            dom::set_root("preview", None);
            self.client.keep();
        }
    }

    pub(super) fn side(&mut self, baseline: bool) -> &mut Vec<File> {
        if baseline { &mut self.baseline } else { &mut self.files }
    }

    pub(super) fn opened(&mut self, answer: Result<Slabs, Failure>) {
        dom::mark("hotspan:imported");
        dom::set_root("preview", None);
        if let Some(loading) = self.loading.take() {
            self.took_ms = dom::now() - loading.since;
            self.drop_settings(&loading);
        }
        let summary = answer.and_then(|s| serde_json::from_str::<Summary>(&s.head).map_err(|e| Failure::new(e.to_string())));
        match summary {
            Ok(summary) => {
                let nothing = summary.profiles.is_empty() && summary.spans == 0;
                self.summary = Some(Rc::new(summary));
                self.generation += 1;
                if nothing {
                    // Every file of the drop was refused: the ledger says why.
                    self.place = Rc::new(ViewRef::of(View::Files));
                    dom::go(&self.place.to_hash(), true);
                } else if dom::hash().len() <= 1 {
                    dom::go(&self.place.to_hash(), true);
                }
                let state = if nothing { "error" } else { "ready" };
                dom::after_paint(move || {
                    dom::mark("hotspan:view");
                    dom::set_root("state", Some(state));
                });
            }
            Err(failure) => {
                self.notice = Some(failure.message);
                dom::set_root("state", Some("error"));
            }
        }
        if let Some((_, side)) = self.incoming.first() {
            let side = *side;
            let (now, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.incoming).into_iter().partition(|(_, s)| *s == side);
            self.incoming = later;
            self.open(now.into_iter().map(|(f, _)| f).collect(), side);
        }
    }

    /// Tells the worker what the address says of the unit of folded stacks, if that is news to it.
    pub(super) fn interpret(&mut self, ctx: &Context<App>) {
        let folded = self.summary.as_ref().is_some_and(|s| s.profiles.iter().any(|p| p.format == "folded"));
        let wanted = self.place.unit.clone().or_else(|| self.unit.is_some().then(|| "samples".to_string()));
        if folded && wanted != self.unit && self.loading.is_none() {
            self.unit.clone_from(&wanted);
            let link = ctx.link().clone();
            let request = Request::Interpret { unit: wanted.unwrap_or_default() };
            self.client.request(&request, move |a| link.send_message(Msg::Interpreted(a)));
        }
    }

    /// Ends the worker and reads the remaining files again in a new one.
    pub(super) fn reopen(&mut self) {
        if self.files.is_empty() && self.baseline.is_empty() {
            self.client.forget_whole();
        }
        self.client.restart();
        dom::set_root("preview", None);
        self.unit = None;
        self.settings.clear();
        self.loading = None;
        self.incoming.clear();
        self.summary = None;
        let (files, baseline) = (std::mem::take(&mut self.files), std::mem::take(&mut self.baseline));
        if files.is_empty() && baseline.is_empty() {
            dom::set_root("state", Some("empty"));
            self.place = Rc::default();
            self.settings_files = Rc::default();
            dom::go("#", true);
            return;
        }
        for (side, files) in [(false, files), (true, baseline)] {
            if !files.is_empty() {
                self.open(files, side);
            }
        }
    }

    /// The files that are being read need the whole module: everything is read again, by a worker that has it.
    pub(super) fn read_by_whole(&mut self) {
        self.asked = self.loading.take();
        let incoming = std::mem::take(&mut self.incoming);
        self.reopen();
        self.incoming.extend(incoming);
    }

    /// The whole module cannot be had: what was open before is read again without the files of this drop.
    pub(super) fn without_whole(&mut self, why: &str) {
        let asked = self.asked.take();
        let (gone, side) = asked.as_ref().map_or((0, false), |l| (l.files.len(), l.baseline));
        let names: Vec<String> = asked.iter().flat_map(|l| l.files.iter().map(|(name, _)| name.clone())).collect();
        let files = self.side(side);
        files.truncate(files.len().saturating_sub(gone));
        self.notice = Some(format!(
            "{} cannot be read: the part of hotspan that reads such files could not be loaded ({why}). Open it again when the page's \
             host can be reached.",
            names.join(", ")
        ));
        self.reopen();
        if self.loading.is_none() {
            dom::set_root("state", Some("error"));
        }
    }

    pub(super) fn change_sides(&mut self, change: SideChange) -> bool {
        match change {
            SideChange::Add(files) if files.is_empty() => return false,
            SideChange::Add(files) => {
                self.dragging = false;
                self.open(files, true);
                return true;
            }
            SideChange::Move(i) if i < self.files.len() => {
                let file = self.files.remove(i);
                self.baseline.push(file);
            }
            SideChange::Remove(i) if i < self.baseline.len() => {
                self.baseline.remove(i);
            }
            SideChange::Swap => std::mem::swap(&mut self.files, &mut self.baseline),
            SideChange::Move(_) | SideChange::Remove(_) => return false,
        }
        // Sides are tables of their own: what changes them is read again.
        self.reopen();
        true
    }

    /// Tells the worker what the address says of the rules, if that is news to it.
    pub(super) fn settle(&mut self, ctx: &Context<App>) {
        if self.loading.is_some() || self.summary.is_none() || self.settings == self.place.settings {
            return;
        }
        self.settings.clone_from(&self.place.settings);
        dom::set_root("rules", Some("running"));
        let link = ctx.link().clone();
        let request = Request::Settings { lines: self.settings.clone() };
        self.client.request(&request, move |a| link.send_message(Msg::Judged(a)));
    }

    /// Other settings, other findings: the chosen one stays chosen as long as it exists.
    pub(super) fn judged(&mut self, answer: Result<Slabs, Failure>) {
        dom::set_root("rules", None);
        match answer.and_then(|s| serde_json::from_str::<Summary>(&s.head).map_err(|e| Failure::new(e.to_string()))) {
            Ok(summary) => {
                let find = |s: &Summary, key: &str, value: &str, of: &str| {
                    let all = s.findings.as_array()?;
                    all.iter().find(|f| f[key] == value).and_then(|f| f[of].as_str()).map(str::to_string)
                };
                if let (Some(id), Some(old)) = (&self.place.finding, &self.summary) {
                    let fingerprint = find(old, "id", id, "fingerprint");
                    let now = fingerprint.and_then(|f| find(&summary, "fingerprint", &f, "id"));
                    if now.as_ref() != Some(id) {
                        self.place = Rc::new(ViewRef { finding: now, ..(*self.place).clone() });
                        dom::go(&self.place.to_hash(), true);
                    }
                }
                self.notice = (!summary.settings.errors.is_empty()).then(|| summary.settings.errors.join(" "));
                self.summary = Some(Rc::new(summary));
                self.generation += 1;
            }
            Err(failure) => self.notice = Some(failure.message),
        }
    }

    /// Settings of a dropped file win over those in force. The worker applied them already.
    pub(super) fn found_settings(&mut self, file: SettingsFile) {
        if file.error.is_empty() {
            for lines in [&mut self.settings, &mut Rc::make_mut(&mut self.place).settings] {
                for line in &file.lines {
                    put(lines, line);
                }
            }
        }
        let files = Rc::make_mut(&mut self.settings_files);
        files.retain(|f| f.name != file.name);
        files.push(file);
    }

    /// Files with settings are not kept among those that are read again.
    fn drop_settings(&mut self, loading: &Loading) {
        let first = self.side(loading.baseline).len() - loading.files.len().min(self.side(loading.baseline).len());
        let mut found: Vec<(usize, String)> = Vec::new();
        for file in self.settings_files.iter().filter(|f| loading.files.get(f.position).is_some_and(|(name, _)| *name == f.name)) {
            let said = if file.error.is_empty() {
                format!("{}: {} applied, see Files", file.name, counted(file.lines.len() as u64, "setting"))
            } else {
                format!("{} is not applied: {}", file.name, file.error)
            };
            found.push((file.position, said));
        }
        found.sort_by_key(|(position, _)| std::cmp::Reverse(*position));
        for file in Rc::make_mut(&mut self.settings_files) {
            file.position = usize::MAX;
        }
        for (position, said) in found {
            self.side(loading.baseline).remove(first + position);
            self.notice = Some(said);
        }
        if !loading.files.is_empty() && dom::hash() != self.place.to_hash() && !self.place.settings.is_empty() {
            dom::go(&self.place.to_hash(), true);
        }
    }

    /// Puts a settings file away, with what it set and nobody changed since.
    pub(super) fn forget_settings(&mut self, ctx: &Context<App>, index: usize) {
        if index < self.settings_files.len() {
            let file = Rc::make_mut(&mut self.settings_files).remove(index);
            let lines = self.place.settings.iter().filter(|l| !file.lines.contains(l)).cloned().collect();
            ctx.link().send_message(Msg::Settings(lines));
        }
    }
}

/// Adds a line in the place of one that speaks of the same.
pub fn put(lines: &mut Vec<String>, line: &str) {
    let key = |l: &str| if l.starts_with('{') { l.to_string() } else { l.split('=').next().unwrap_or("").to_string() };
    lines.retain(|l| key(l) != key(line));
    lines.push(line.to_string());
}
