//! The application: what is loaded, where the user is, and which view that is.

pub mod compare;
pub mod compare_flame;
pub mod critical;
pub mod files;
pub mod finding_detail;
pub mod finding_preview;
pub mod findings;
pub mod flame;
pub mod flame_canvas;
pub mod flame_palette;
pub mod flame_parts;
pub mod flame_tooltip;
pub mod frame;
pub mod functions;
pub mod help;
pub mod home;
pub mod json;
pub mod kinds;
pub mod labels;
pub mod listeners;
pub mod loading;
pub mod loop_table;
pub mod palette;
pub mod preview;
pub mod rules;
pub mod selectors;
pub mod services;
pub mod shared;
pub mod span_detail;
pub mod traces;
pub mod waterfall;
pub mod waterfall_group;
pub mod waterfall_keys;
pub mod what_if;

pub use shared::{Loading, Shared, SideChange};

use super::client::{Client, Event};
use super::dom;
use crate::base::slabs::Slabs;
use crate::base::view::{View, ViewRef};
use crate::engine::protocol::summary::{SettingsFile, Summary};
use crate::engine::protocol::{ExportHead, ExportKind, Failure, Request};
use gloo::events::EventListener;
use gloo::timers::callback::Timeout;
use std::rc::Rc;
use wasm_bindgen::JsCast;
use web_sys::{File, FileList, HtmlInputElement, KeyboardEvent};
use yew::prelude::*;

/// How long a replaced place waits before it is in the address.
const ADDRESS_DELAY_MS: u32 = 120;

/// What happens to the application.
pub enum Msg {
    /// Files came by drop, input or paste.
    Open(Vec<File>),
    /// The worker says something.
    Worker(Event),
    /// The address changed.
    Hash,
    /// A link or view wants to go somewhere.
    Go(Box<ViewRef>, bool),
    /// Stop reading and throw away what was read of the drop.
    Cancel,
    /// Stop reading and keep what was read.
    Keep,
    /// Close one source.
    Close(usize),
    /// Baseline and candidate change.
    Sides(SideChange),
    /// A key.
    Key(KeyboardEvent),
    /// Something is dragged over the page, or no longer.
    Dragging(bool),
    /// A sample of ours.
    Sample(&'static str),
    /// Show or hide the table of keys.
    Help(bool),
    /// Everything by its name: shown, or done with what was chosen.
    Palette(bool, Option<palette::Act>),
    /// Light, dark, as the system.
    Theme,
    /// The system turned dark or light.
    Recolour,
    /// Other settings of the rules, as lines of the address.
    Settings(Vec<String>),
    /// The rules were run again.
    Judged(Result<Slabs, Failure>),
    /// A card of a settings file is put away, and what it set with it.
    Forget(usize),
    /// Write an export.
    Export(ExportKind, Option<String>),
    /// An export was written.
    Exported(Result<Slabs, Failure>),
    /// The numbers of folded stacks have another unit now.
    Interpreted(Result<Slabs, Failure>),
    /// A passing message.
    Say(String),
}

/// The application.
pub struct App {
    client: Client,
    summary: Option<Rc<Summary>>,
    loading: Option<Loading>,
    place: Rc<ViewRef>,
    /// Files in order of opening, kept for re-reading after a cancel or close.
    files: Vec<File>,
    /// The same of the baseline.
    baseline: Vec<File>,
    /// Files that wait, each with whether it belongs to the baseline.
    incoming: Vec<(File, bool)>,
    /// The drop for which the whole module was sent for.
    asked: Option<Loading>,
    generation: u32,
    dragging: bool,
    help: bool,
    palette: bool,
    notice: Option<String>,
    took_ms: f64,
    /// The unit of folded stacks that the worker was told; `None` before anything was said.
    unit: Option<String>,
    /// The settings of the rules that the worker was told.
    settings: Vec<String>,
    /// Files with settings that were dropped.
    settings_files: Rc<Vec<SettingsFile>>,
    /// A change of the address that is about to be written.
    address: Option<Timeout>,
    _listeners: Vec<EventListener>,
}

fn list(files: Option<FileList>) -> Vec<File> {
    files.map(|f| (0..f.length()).filter_map(|i| f.get(i)).collect()).unwrap_or_default()
}

impl App {
    fn shared(&self, ctx: &Context<App>, summary: &Rc<Summary>, place: &Rc<ViewRef>) -> Shared {
        Shared {
            client: self.client.clone(),
            summary: summary.clone(),
            place: place.clone(),
            go: ctx.link().callback(|(place, replace)| Msg::Go(Box::new(place), replace)),
            say: ctx.link().callback(Msg::Say),
            export: ctx.link().callback(|(kind, finding)| Msg::Export(kind, finding)),
            sides: ctx.link().callback(Msg::Sides),
            settings: ctx.link().callback(Msg::Settings),
            settings_files: self.settings_files.clone(),
            forget: ctx.link().callback(Msg::Forget),
            generation: self.generation,
        }
    }

    /// Whether the view is made of tables whose rows the arrows walk.
    fn has_tables(&self) -> bool {
        match self.place.view {
            View::Traces => self.place.trace.is_none(),
            View::Services | View::Compare => self.place.mode.is_none(),
            View::Files => true,
            View::Findings | View::Flame | View::Functions => false,
        }
    }

    fn key(&mut self, ctx: &Context<App>, e: &KeyboardEvent) -> bool {
        let control = e.ctrl_key() || e.meta_key();
        if control && e.key() == "o" {
            e.prevent_default();
            if let Some(input) = dom::document().get_element_by_id("open-input") {
                input.unchecked_into::<HtmlInputElement>().click();
            }
            return false;
        }
        if control && e.key() == "k" && self.summary.is_some() {
            e.prevent_default();
            (self.palette, self.help) = (!self.palette, false);
            return true;
        }
        if e.key() == "Escape" && self.help {
            self.help = false;
            return true;
        }
        if dom::takes_text(e.target()) || e.alt_key() || (control && e.key() != "f") || self.summary.is_none() {
            return false;
        }
        match e.key().as_str() {
            "?" => self.help = !self.help,
            "/" | "f" if e.key() == "/" || control => {
                e.prevent_default();
                dom::focus("[data-search]");
                return false;
            }
            "e" => dom::focus("#export-menu summary"),
            // Rows of plain tables; other views move a selection of their own.
            "ArrowDown" | "ArrowUp" if self.has_tables() => {
                e.prevent_default();
                dom::step_rows(e.key() == "ArrowDown");
                return false;
            }
            n => {
                let views = n.parse::<usize>().ok().and_then(|n| View::ALL.get(n.wrapping_sub(1)));
                let Some(view) = views.filter(|v| frame::unavailable(**v, self.summary.as_deref()).is_none()) else { return false };
                ctx.link().send_message(Msg::Go(Box::new(self.place.same_samples(*view)), false));
            }
        }
        true
    }
}

impl Component for App {
    type Message = Msg;
    type Properties = ();

    fn create(ctx: &Context<App>) -> App {
        if let Some(theme) = dom::setting("hotspan.theme") {
            dom::set_root("theme", Some(&theme));
        }
        App {
            client: Client::new(ctx.link().callback(Msg::Worker)),
            summary: None,
            loading: None,
            place: Rc::new(ViewRef::parse(&dom::hash())),
            files: Vec::new(),
            baseline: Vec::new(),
            incoming: Vec::new(),
            asked: None,
            generation: 0,
            dragging: false,
            help: false,
            palette: false,
            notice: None,
            took_ms: 0.0,
            unit: None,
            settings: Vec::new(),
            settings_files: Rc::default(),
            address: None,
            _listeners: listeners::listen(ctx),
        }
    }

    fn update(&mut self, ctx: &Context<App>, msg: Msg) -> bool {
        match msg {
            Msg::Open(files) => self.open(files, false),
            Msg::Worker(Event::Progress(progress)) => {
                if let Some(loading) = &mut self.loading {
                    if loading.progress.stage != progress.stage {
                        dom::set_root("stage", serde_json::to_value(progress.stage).ok().as_ref().and_then(|s| s.as_str()));
                    }
                    loading.progress = progress;
                }
            }
            Msg::Worker(Event::Preview(summary, progress)) => self.show_preview(*summary, progress),
            Msg::Worker(Event::Settings(file)) => self.found_settings(file),
            Msg::Worker(Event::Opened(answer)) => {
                self.opened(answer);
                self.interpret(ctx);
                self.settle(ctx);
            }
            Msg::Worker(Event::Crashed(why)) => {
                let name = self
                    .loading
                    .as_ref()
                    .and_then(|l| l.files.get(l.progress.file))
                    .map_or(String::new(), |f| format!(" while reading {}", f.0));
                self.notice = Some(format!(
                    "The engine stopped{name}: {why}. The page goes on without these files; a smaller part of them may work."
                ));
                self.files.clear();
                self.baseline.clear();
                self.reopen();
                dom::set_root("state", Some("error"));
            }
            Msg::Worker(Event::Asks) => self.read_by_whole(),
            Msg::Worker(Event::Unavailable(why)) => self.without_whole(&why),
            Msg::Hash => {
                self.address = None;
                let place = ViewRef::parse(&dom::hash());
                if place == *self.place {
                    return false;
                }
                self.place = Rc::new(place);
                self.interpret(ctx);
                self.settle(ctx);
            }
            Msg::Go(mut place, replace) => {
                // Links of findings say nothing of the unit and of settings: they stay.
                place.settings.clone_from(&self.place.settings);
                if place.unit.is_none() {
                    place.unit.clone_from(&self.place.unit);
                }
                if *place == *self.place {
                    return false;
                }
                self.place = Rc::new(*place);
                self.interpret(ctx);
                if replace {
                    // Panning changes the place with every frame; browsers refuse that many changes of the address.
                    let hash = self.place.to_hash();
                    self.address = Some(Timeout::new(ADDRESS_DELAY_MS, move || dom::go(&hash, true)));
                } else {
                    self.address = None;
                    dom::go(&self.place.to_hash(), false);
                }
            }
            Msg::Cancel => {
                // Files of the cancelled drop go; those that were open before are read again.
                let (gone, side) = self.loading.as_ref().map_or((0, false), |l| (l.files.len(), l.baseline));
                let files = self.side(side);
                files.truncate(files.len().saturating_sub(gone));
                self.notice = Some("Reading was stopped.".to_string());
                self.reopen();
            }
            Msg::Keep => self.keep(),
            Msg::Close(index) => {
                if index < self.files.len() {
                    self.files.remove(index);
                    self.reopen();
                }
            }
            Msg::Sides(change) => return self.change_sides(change),
            Msg::Key(e) => return self.key(ctx, &e),
            Msg::Dragging(dragging) => {
                let changed = self.dragging != dragging;
                self.dragging = dragging;
                dom::set_root("dragging", dragging.then_some(""));
                return changed;
            }
            Msg::Sample(name) => {
                let link = ctx.link().clone();
                home::fetch_sample(name, move |result| match result {
                    Ok(file) => link.send_message(Msg::Open(vec![file])),
                    Err(why) => link.send_message(Msg::Say(why)),
                });
                return false;
            }
            Msg::Help(show) => self.help = show,
            Msg::Palette(show, act) => {
                self.palette = show;
                match act {
                    Some(palette::Act::Go(place)) => ctx.link().send_message(Msg::Go(place, false)),
                    Some(palette::Act::Open) => dom::click("#open-input"),
                    Some(palette::Act::Theme) => ctx.link().send_message(Msg::Theme),
                    Some(palette::Act::Keys) => self.help = true,
                    Some(palette::Act::Export(kind)) => ctx.link().send_message(Msg::Export(kind, None)),
                    None => {}
                }
            }
            Msg::Theme => {
                let next = match dom::setting("hotspan.theme").as_deref() {
                    Some("dark") => "light",
                    Some("light") => "system",
                    _ => "dark",
                };
                dom::remember("hotspan.theme", next);
                dom::set_root("theme", Some(next));
                self.notice = Some(format!("Colours: {next}"));
                // Canvases take their colours from the style sheet when they draw.
                self.generation += 1;
            }
            Msg::Recolour => self.generation += 1,
            Msg::Settings(lines) => {
                if lines == self.place.settings {
                    return false;
                }
                self.place = Rc::new(ViewRef { settings: lines, ..(*self.place).clone() });
                self.address = None;
                dom::go(&self.place.to_hash(), false);
                self.settle(ctx);
            }
            Msg::Judged(answer) => self.judged(answer),
            Msg::Forget(index) => self.forget_settings(ctx, index),
            Msg::Export(what, finding) => {
                let Some(summary) = &self.summary else { return false };
                let query = self.shared(ctx, summary, &self.place).query();
                let link = ctx.link().clone();
                self.client.request(&Request::Export { what, query, finding }, move |a| link.send_message(Msg::Exported(a)));
                return false;
            }
            Msg::Exported(answer) => match answer {
                Ok(slabs) => {
                    let head: Option<ExportHead> = serde_json::from_str(&slabs.head).ok();
                    if let Some(head) = head {
                        dom::download(&head.name, &head.mime, &slabs.reader().u8());
                        let note = if head.note.is_empty() { String::new() } else { format!(" {}", head.note) };
                        self.notice = Some(format!("Saved {}.{note}", head.name));
                    }
                }
                Err(failure) => self.notice = Some(failure.message),
            },
            Msg::Interpreted(answer) => {
                match answer.and_then(|s| serde_json::from_str::<Summary>(&s.head).map_err(|e| Failure::new(e.to_string()))) {
                    Ok(summary) => {
                        self.summary = Some(Rc::new(summary));
                        self.generation += 1;
                    }
                    Err(failure) => self.notice = Some(failure.message),
                }
            }
            Msg::Say(text) => self.notice = (!text.is_empty()).then_some(text),
        }
        true
    }

    fn view(&self, ctx: &Context<App>) -> Html {
        let link = ctx.link();
        let preview = self.loading.as_ref().and_then(|l| Some(&l.preview.as_ref()?.0));
        // Views that have to wait give way to one that shows parts for what they are.
        let place = preview.map_or_else(|| self.place.clone(), |p| Rc::new(preview::place(&self.place, p)));
        let body = match (&self.summary, &self.loading) {
            (_, Some(loading)) if let Some(summary) = preview => html! {
                <preview::Preview
                    shared={self.shared(ctx, summary, &place)}
                    loading={loading.clone()}
                    keep={link.callback(|()| Msg::Keep)}
                    cancel={link.callback(|()| Msg::Cancel)}
                />
            },
            (_, Some(loading)) => html! { <home::Progress loading={loading.clone()} cancel={link.callback(|()| Msg::Cancel)} /> },
            (None, None) => html! { <home::Home sample={link.callback(Msg::Sample)} /> },
            (Some(summary), None) => {
                let shared = self.shared(ctx, summary, &self.place);
                frame::view_of(&shared)
            }
        };
        html! {
            <>
                <frame::Bar
                    summary={self.summary.clone()}
                    open={link.callback(Msg::Open)}
                    close={link.callback(Msg::Close)}
                    export={link.callback(|kind| Msg::Export(kind, None))}
                    theme={link.callback(|()| Msg::Theme)}
                    help={link.callback(|()| Msg::Help(true))}
                    palette={link.callback(|()| Msg::Palette(true, None))}
                />
                <div class="middle">
                    if self.summary.is_some() || preview.is_some() {
                        <frame::Rail summary={preview.or(self.summary.as_ref()).cloned()} partial={preview.is_some()} {place} go={link.callback(|p| Msg::Go(Box::new(p), false))} />
                    }
                    <main id="main" tabindex="-1">{ body }</main>
                </div>
                <frame::Status summary={self.summary.clone().filter(|_| self.loading.is_none())} took_ms={self.took_ms} />
                if let Some(text) = &self.notice {
                    <div class="toast" role="status">
                        <span>{ text }</span>
                        <button class="plain" aria-label="Dismiss" onclick={link.callback(|_| Msg::Say(String::new()))}>{ "×" }</button>
                    </div>
                }
                // Where both sides can be dropped on, the two slots are lit instead.
                if self.dragging && (self.summary.is_none() || self.loading.is_some() || self.place.view != View::Compare) {
                    <div class="drop-cover" aria-hidden="true"><p>{ "Drop to open" }</p></div>
                }
                if let (true, None, Some(summary)) = (self.palette, &self.loading, &self.summary) {
                    <palette::Palette shared={self.shared(ctx, summary, &self.place)} close={link.callback(|act| Msg::Palette(false, act))} />
                }
                if self.help {
                    <help::Help close={link.callback(|()| Msg::Help(false))} />
                }
            </>
        }
    }
}
