//! Files on their way into the engine: one after the other, large ones in parts that helpers read.

use super::pace::Pace;
use super::slices::Slices;
use super::wire::{FileProgress, set};
use crate::base::memory;
use crate::engine::Engine;
use crate::engine::carried::{asked, asks_for_more, carried};
use crate::engine::parts::{HEAD_BYTES, ImportError, Joiner, MIN_BYTES, Partial, Plan, Progress, plan, read_part};
use crate::engine::protocol::Failure;
use crate::engine::protocol::Request;
use crate::engine::protocol::summary::SettingsFile;
use crate::engine::{Settings, is_settings};
use js_sys::{Array, Object, Uint8Array};
use std::collections::BTreeMap;
use std::io::Read;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{DedicatedWorkerGlobalScope, File};

/// Bytes per part: large enough that joining costs little, small enough that helpers finish at about the same time.
const PART_BYTES: u64 = 12 << 20;

/// How far the files of a drop are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// A file is read in parts, and goes on with each of them.
    Parts,
    /// All files are read.
    All,
    /// There is something that only the whole module reads; what was read so far is to be read by it again.
    Asks,
}

/// The files of one drop.
pub struct Opening {
    /// The number under which the page waits for the answer.
    pub id: JsValue,
    files: Vec<File>,
    next: usize,
    helpers: bool,
    /// Files of the baseline are not shown while they are read: views are of the candidate.
    shown: bool,
    split: Option<Split>,
    scope: DedicatedWorkerGlobalScope,
}

/// The file that is being read in parts.
struct Split {
    file: File,
    plan: Plan,
    joiner: Joiner,
    next: usize,
    /// Parts that came before their turn; a text instead of bytes says why there are none.
    waiting: BTreeMap<usize, Result<Uint8Array, String>>,
    /// Position of the file in the drop.
    index: usize,
    pace: Pace,
}

impl Opening {
    /// For the files of a message.
    pub fn new(id: JsValue, files: &Array, helpers: bool, shown: bool, scope: DedicatedWorkerGlobalScope) -> Opening {
        let files = files.iter().filter_map(|file| file.dyn_into::<File>().ok()).collect();
        // Nothing of what was done before, warming up included, is of these files.
        asked();
        Opening { id, files, next: 0, helpers, shown, split: None, scope }
    }

    /// How many files there are.
    pub fn count(&self) -> usize {
        self.files.len()
    }

    /// So long, in milliseconds, took what was asked of the preview.
    pub fn spent(&mut self, ms: f64) {
        if let Some(split) = &mut self.split {
            split.pace.cost += ms;
        }
    }

    /// Ends reading here and keeps what was read. `false` when there is nothing that could be kept.
    pub fn keep(&mut self, engine: &mut Engine) -> bool {
        let Some(mut split) = self.split.take() else { return false };
        engine.end_preview();
        split.joiner.stop(&mut engine.session);
        split.joiner.finish(&mut engine.session);
        self.next = self.files.len();
        true
    }

    /// Whether there is a file that this module recognises and does not read.
    ///
    /// # Errors
    /// [`Failure`] when the browser cannot read files in a worker.
    fn asks(&self) -> Result<bool, Failure> {
        for file in &self.files {
            if asks_for_more(carried(), Box::new(Slices::open(file, 0)?)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reads files until one is to be read in parts or all are read.
    ///
    /// # Errors
    /// [`Failure`] when the browser cannot read files in a worker.
    pub fn proceed(&mut self, engine: &mut Engine) -> Result<Step, Failure> {
        if asked() || (self.next == 0 && self.asks()?) {
            return Ok(Step::Asks);
        }
        while let Some(file) = self.files.get(self.next).cloned() {
            let index = self.next;
            self.next += 1;
            if let Some(settings) = settings_of(&file, index)? {
                take_settings(engine, &settings, &self.scope);
                continue;
            }
            if self.helpers && self.begin_split(engine, &file, index)? {
                return Ok(Step::Parts);
            }
            let slices = Slices::open(&file, 0)?;
            let mut report = reporter(&self.scope, index);
            engine.open(&file.name(), file.size() as u64, Box::new(slices), &mut report);
            if asked() {
                return Ok(Step::Asks);
            }
        }
        Ok(Step::All)
    }

    fn begin_split(&mut self, engine: &mut Engine, file: &File, index: usize) -> Result<bool, Failure> {
        let size = file.size() as u64;
        if size < MIN_BYTES {
            return Ok(false);
        }
        let mut head = Vec::new();
        // What cannot be read here cannot be read in one piece either, and is reported there.
        if Slices::open(file, 0)?.take(HEAD_BYTES as u64).read_to_end(&mut head).is_err() {
            return Ok(false);
        }
        let Some(plan) = plan(&head, size, PART_BYTES) else { return Ok(false) };
        let Some(mut joiner) = Joiner::new(&mut engine.session, &plan, &file.name(), size) else { return Ok(false) };
        joiner.limits = engine.limits;
        let message = Object::new();
        set(&message, "split", &JsValue::from_str(&serde_json::to_string(&plan).unwrap_or_default()));
        set(&message, "parts", &JsValue::from_f64(plan.cuts.len() as f64));
        set(&message, "file", &JsValue::from_f64(index as f64));
        let _ = self.scope.post_message(&message);
        let pace = Pace::new(js_sys::Date::now());
        self.split = Some(Split { file: file.clone(), plan, joiner, next: 0, waiting: BTreeMap::new(), index, pace });
        Ok(true)
    }

    /// Takes a part that a helper has read. `true` when the file is complete and [`Opening::proceed`] may go on.
    pub fn part(&mut self, engine: &mut Engine, part: usize, bytes: Result<Uint8Array, String>) -> bool {
        let Some(split) = &mut self.split else { return false };
        split.waiting.insert(part, bytes);
        while let Some(bytes) = split.waiting.remove(&split.next) {
            split.join(engine, bytes);
            split.next += 1;
            let message = Object::new();
            set(&message, "joined", &JsValue::from_f64(split.next as f64));
            let _ = self.scope.post_message(&message);
        }
        if split.next < split.plan.cuts.len() {
            if self.shown && split.pace.due(js_sys::Date::now()) && memory::taken() < engine.limits.memory.limit / 2 {
                split.show(engine, &self.scope);
            }
            return false;
        }
        engine.end_preview();
        if let Some(split) = self.split.take() {
            split.joiner.finish(&mut engine.session);
        }
        true
    }
}

/// Files larger than this are no settings.
const SETTINGS_BYTES: f64 = 65_536.0;

/// What a file says if it is a `hotspan.toml`, which its content tells.
fn settings_of(file: &File, position: usize) -> Result<Option<SettingsFile>, Failure> {
    let mut text = String::new();
    // What is no text is no settings; what cannot be read is reported where files are opened.
    if file.size() > SETTINGS_BYTES || Slices::open(file, 0)?.read_to_string(&mut text).is_err() || !is_settings(&text) {
        return Ok(None);
    }
    let (lines, error) = match Settings::parse(&text) {
        Ok(settings) => (settings.lines(), String::new()),
        Err(error) => (Vec::new(), error),
    };
    Ok(Some(SettingsFile { position, name: file.name(), lines, error }))
}

/// Applies settings for the run of the rules that follows, and tells the page, which keeps them in its address.
fn take_settings(engine: &mut Engine, file: &SettingsFile, scope: &DedicatedWorkerGlobalScope) {
    engine.settings.extend(Settings::from_lines(&file.lines).0);
    let message = Object::new();
    set(&message, "settings", &JsValue::from_str(&serde_json::to_string(file).unwrap_or_default()));
    let _ = scope.post_message(&message);
}

impl Split {
    /// Shows what is joined so far.
    fn show(&mut self, engine: &mut Engine, scope: &DedicatedWorkerGlobalScope) {
        let begun = js_sys::Date::now();
        engine.preview(&self.joiner);
        if let Ok(outline) = engine.handle(&Request::Outline) {
            let message = Object::new();
            set(&message, "preview", &JsValue::from_str(&outline.head));
            set(&message, "file", &JsValue::from_f64(self.index as f64));
            set(&message, "read", &JsValue::from_f64(self.plan.range(self.next).0 as f64));
            let _ = scope.post_message(&message);
        }
        self.pace.shown(begun, js_sys::Date::now());
    }

    fn join(&mut self, engine: &mut Engine, bytes: Result<Uint8Array, String>) {
        let range = self.plan.range(self.next);
        let mut part = bytes.map_err(ImportError::Io).and_then(|bytes| {
            let bytes = bytes.to_vec();
            Partial::unpack(&self.plan, &bytes).ok_or_else(|| ImportError::Io("a helper answered in another language".to_string()))
        });
        loop {
            match part {
                Ok(read) => match self.joiner.add(read, &mut engine.session) {
                    None => return,
                    Some(at) => part = read_range(&self.plan, &self.file, range, Some(at), &mut |_| true),
                },
                Err(e) => return self.joiner.fail(&e),
            }
        }
    }
}

fn read_range(
    plan: &Plan,
    file: &File,
    range: (u64, u64),
    exact: Option<u64>,
    progress: &mut dyn FnMut(Progress) -> bool,
) -> Result<Partial, ImportError> {
    let open = |at: u64| {
        let slices = Slices::open(file, at).map_err(|e| std::io::Error::other(e.message))?;
        Ok(Box::new(slices) as Box<dyn Read>)
    };
    read_part(plan, range, exact, open, progress)
}

/// A helper's work: reads a part and gives its bytes.
///
/// # Errors
/// Why there are none.
pub fn read_for_page(plan: &str, part: usize, file: &File, scope: &DedicatedWorkerGlobalScope) -> Result<Vec<u8>, String> {
    let plan: Plan = serde_json::from_str(plan).map_err(|e| e.to_string())?;
    asked();
    let mut report = reporter(scope, part);
    let read = read_range(&plan, file, plan.range(part), None, &mut report).map_err(|e| e.to_string())?;
    Ok(read.pack())
}

fn tell(scope: &DedicatedWorkerGlobalScope, progress: &FileProgress) {
    let object = Object::new();
    set(&object, "progress", &JsValue::from_str(&serde_json::to_string(progress).unwrap_or_default()));
    let _ = scope.post_message(&object);
}

/// Links and runs the rules, and posts each stage as it begins.
pub fn finish(engine: &mut Engine, files: usize, scope: &DedicatedWorkerGlobalScope) {
    engine.finish_telling(&mut |stage, done, all| {
        tell(scope, &FileProgress { file: files, stage, steps: (done, all), ..FileProgress::default() });
    });
}

/// Posts the progress, at most ten times a second.
fn reporter(scope: &DedicatedWorkerGlobalScope, file: usize) -> impl FnMut(Progress) -> bool + use<> {
    let scope = scope.clone();
    let mut last = f64::NEG_INFINITY;
    move |progress| {
        let now = js_sys::Date::now();
        if now - last >= 100.0 {
            last = now;
            tell(&scope, &FileProgress { file, bytes: progress.bytes as f64, rows: progress.rows, ..FileProgress::default() });
        }
        true
    }
}
