//! Helpers: workers that read parts of one file, as many as there are cores. The page only passes messages on: parts go out
//! to whoever is free, and what was read goes to the engine's worker, as transferred bytes.

use super::wire::{FileProgress, get, set};
use js_sys::{Array, Function, Object, Uint8Array};
use wasm_bindgen::prelude::Closure;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{ErrorEvent, File, MessageEvent, Worker};

/// More helpers than this only wait for the one worker that joins.
const MAX_HELPERS: usize = 8;
/// Parts that may be read or underway beyond one per helper before the engine has joined the first of them: bounds memory.
const AHEAD: usize = 2;

/// How many helpers this machine is good for; 0 on a single core.
pub fn helpers() -> usize {
    let cores = gloo::utils::window().navigator().hardware_concurrency() as usize;
    if cores < 2 { 0 } else { cores.min(MAX_HELPERS) }
}

/// A worker of this page with the first or the whole module, or `None` when the browser refuses. When its module cannot be had it
/// says so in a message, as `unavailable`.
pub fn new_worker(whole: bool) -> Option<Worker> {
    let hotspan = get(&js_sys::global(), "hotspan");
    let made = get(&hotspan, "newWorker").dyn_into::<Function>().and_then(|f| f.call1(&hotspan, &JsValue::from_bool(whole)));
    made.and_then(|worker| worker.dyn_into::<Worker>()).ok()
}

/// What a helper says.
pub enum Said {
    /// It is there.
    Ready,
    /// How far it is with its part.
    Progress(FileProgress),
    /// A part is read: to be passed on as it is.
    Partial(JsValue),
    /// It died.
    Crashed(String),
}

struct Helper {
    worker: Worker,
    _message: Closure<dyn FnMut(MessageEvent)>,
    _error: Closure<dyn FnMut(ErrorEvent)>,
    ready: bool,
    /// The part that it reads and how far it is.
    part: Option<FileProgress>,
}

/// The helpers of one file.
pub struct Pool {
    helpers: Vec<Helper>,
    plan: String,
    file: File,
    /// Position of the file in the drop.
    index: usize,
    parts: usize,
    next: usize,
    joined: usize,
    done: FileProgress,
}

impl Pool {
    /// Starts the helpers. `say` is told what each of them says.
    pub fn start(whole: bool, plan: &str, file: File, index: usize, parts: usize, say: impl Fn(usize, Said) + Clone + 'static) -> Pool {
        let mut pool = Pool {
            helpers: Vec::new(),
            plan: plan.to_string(),
            file,
            index,
            parts,
            next: 0,
            joined: 0,
            done: FileProgress { file: index, ..FileProgress::default() },
        };
        for number in 0..helpers().min(parts) {
            let Some(worker) = new_worker(whole) else { break };
            let tell = say.clone();
            let message = Closure::<dyn FnMut(MessageEvent)>::new(move |e: MessageEvent| {
                let data = e.data();
                if get(&data, "ready").is_truthy() {
                    tell(number, Said::Ready);
                } else if let Some(text) = get(&data, "progress").as_string() {
                    if let Ok(progress) = serde_json::from_str(&text) {
                        tell(number, Said::Progress(progress));
                    }
                } else if let Some(text) = get(&data, "crash").as_string() {
                    tell(number, Said::Crashed(text));
                } else if !get(&data, "part").is_undefined() {
                    tell(number, Said::Partial(data));
                }
            });
            let tell = say.clone();
            let error = Closure::<dyn FnMut(ErrorEvent)>::new(move |e: ErrorEvent| {
                e.prevent_default();
                tell(number, Said::Crashed(e.message()));
            });
            worker.set_onmessage(Some(message.as_ref().unchecked_ref()));
            worker.set_onerror(Some(error.as_ref().unchecked_ref()));
            pool.helpers.push(Helper { worker, _message: message, _error: error, ready: false, part: None });
        }
        pool
    }

    /// Whether there is any helper.
    pub fn is_empty(&self) -> bool {
        self.helpers.is_empty()
    }

    /// A helper is there.
    pub fn ready(&mut self, number: usize) {
        self.helpers[number].ready = true;
        self.feed();
    }

    /// The engine has joined so many parts; `true` when that is all.
    pub fn joined(&mut self, parts: usize) -> bool {
        self.joined = parts;
        self.feed();
        self.joined >= self.parts
    }

    /// How far the file is, with what this helper now says.
    pub fn progress(&mut self, number: usize, progress: FileProgress) -> FileProgress {
        if let Some(part) = &mut self.helpers[number].part {
            part.bytes = progress.bytes;
            part.rows = progress.rows;
        }
        let mut sum = self.done.clone();
        sum.file = self.index;
        for part in self.helpers.iter().filter_map(|h| h.part.as_ref()) {
            sum.bytes += part.bytes;
            sum.rows += part.rows;
        }
        sum
    }

    /// A helper is done with its part and gets the next one. Gives what is to be transferred to the engine.
    pub fn done(&mut self, number: usize, message: &JsValue) -> Array {
        if let Some(part) = self.helpers[number].part.take() {
            self.done.bytes += part.bytes;
            self.done.rows += part.rows;
        }
        self.feed();
        match get(message, "partial").dyn_into::<Uint8Array>() {
            Ok(bytes) => Array::of1(&bytes.buffer()),
            Err(_) => Array::new(),
        }
    }

    fn feed(&mut self) {
        let limit = self.joined + self.helpers.len() + AHEAD;
        for helper in self.helpers.iter_mut().filter(|h| h.ready) {
            if helper.part.is_some() || self.next >= self.parts || self.next >= limit {
                continue;
            }
            let message = Object::new();
            set(&message, "part", &JsValue::from_f64(self.next as f64));
            set(&message, "plan", &JsValue::from_str(&self.plan));
            set(&message, "file", &self.file);
            let _ = helper.worker.post_message(&message);
            helper.part = Some(FileProgress { file: self.index, ..FileProgress::default() });
            self.next += 1;
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // Their memory goes with them.
        self.helpers.iter().for_each(|h| h.worker.terminate());
    }
}
