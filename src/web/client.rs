//! The page's side of the worker. Cancelling ends the worker: one that reads cannot hear, and only its end frees its memory.

use super::pool::{Pool, Said, helpers, new_worker};
use super::wire::{FileProgress, from_js, get, set};
use crate::base::slabs::Slabs;
use crate::engine::protocol::summary::{SettingsFile, Summary};
use crate::engine::protocol::{Failure, Request};
use js_sys::{Array, Object};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use wasm_bindgen::prelude::Closure;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{ErrorEvent, File, MessageEvent, Worker};
use yew::Callback;

/// What the worker says on its own.
pub enum Event {
    /// How far a file is.
    Progress(FileProgress),
    /// What is read so far can be looked at: a summary without files, findings and rules, and how far it goes.
    Preview(Box<Summary>, FileProgress),
    /// All files of a drop are read; the answer is the summary.
    Opened(Result<Slabs, Failure>),
    /// Among the files of the drop is one with settings.
    Settings(SettingsFile),
    /// The worker died: a sentence.
    Crashed(String),
    /// The files of the drop need the whole module, which the next worker has: everything is to be opened again.
    Asks,
    /// The whole module could not be had: a sentence.
    Unavailable(String),
}

type Answer = Box<dyn FnOnce(Result<Slabs, Failure>)>;
type Handler<E> = Closure<dyn FnMut(E)>;

struct Inner {
    worker: RefCell<Option<Worker>>,
    /// Ends the closures with the worker that they listen to.
    handlers: RefCell<Vec<Handler<MessageEvent>>>,
    errors: RefCell<Vec<Handler<ErrorEvent>>>,
    ready: Cell<bool>,
    /// Whether workers are started with the whole module.
    whole: Cell<bool>,
    next: Cell<u32>,
    waiting: RefCell<BTreeMap<u32, Answer>>,
    unsent: RefCell<Vec<Object>>,
    /// Files of the drop that is being read.
    files: RefCell<Vec<File>>,
    /// Helpers, while a file is read in parts.
    pool: RefCell<Option<Pool>>,
    events: Callback<Event>,
}

/// A handle to the worker; clones share it.
#[derive(Clone)]
pub struct Client(Rc<Inner>);

impl PartialEq for Client {
    fn eq(&self, other: &Client) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

impl Client {
    /// Starts a worker.
    pub fn new(events: Callback<Event>) -> Client {
        let client = Client(Rc::new(Inner {
            worker: RefCell::default(),
            handlers: RefCell::default(),
            errors: RefCell::default(),
            ready: Cell::new(false),
            whole: Cell::new(false),
            next: Cell::new(1),
            waiting: RefCell::default(),
            unsent: RefCell::default(),
            files: RefCell::default(),
            pool: RefCell::default(),
            events,
        }));
        client.start();
        client
    }

    fn start(&self) {
        let Some(worker) = new_worker(self.0.whole.get()) else {
            self.0.events.emit(Event::Crashed("this browser refuses to start a worker".to_string()));
            return;
        };
        let client = self.clone();
        let on_message = Closure::<dyn FnMut(MessageEvent)>::new(move |e: MessageEvent| client.receive(&e.data()));
        worker.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        let client = self.clone();
        let on_error = Closure::<dyn FnMut(ErrorEvent)>::new(move |e: ErrorEvent| {
            e.prevent_default();
            client.crashed(&e.message());
        });
        worker.set_onerror(Some(on_error.as_ref().unchecked_ref()));
        *self.0.handlers.borrow_mut() = vec![on_message];
        *self.0.errors.borrow_mut() = vec![on_error];
        *self.0.worker.borrow_mut() = Some(worker);
    }

    fn receive(&self, data: &JsValue) {
        if get(data, "ready").is_truthy() {
            self.0.ready.set(true);
            let unsent = std::mem::take(&mut *self.0.unsent.borrow_mut());
            if unsent.is_empty() {
                self.warm(0.0);
            }
            unsent.into_iter().for_each(|message| self.send(message));
        } else if let Some(text) = get(data, "progress").as_string() {
            if let Ok(progress) = serde_json::from_str(&text) {
                self.0.events.emit(Event::Progress(progress));
            }
        } else if let Some(text) = get(data, "settings").as_string() {
            if let Ok(file) = serde_json::from_str(&text) {
                self.0.events.emit(Event::Settings(file));
            }
        } else if let Some(text) = get(data, "preview").as_string() {
            let number = |key: &str| get(data, key).as_f64().unwrap_or(0.0);
            if let Ok(summary) = serde_json::from_str(&text) {
                let progress = FileProgress { file: number("file") as usize, bytes: number("read"), ..FileProgress::default() };
                self.0.events.emit(Event::Preview(summary, progress));
            }
        } else if let Some(step) = get(data, "warmed").as_f64() {
            // Whoever waits for an answer comes first, and brings work that warms as well.
            if self.0.waiting.borrow().is_empty() {
                self.warm(step);
            }
        } else if let Some(plan) = get(data, "split").as_string() {
            let number = |key: &str| get(data, key).as_f64().unwrap_or(0.0) as usize;
            self.split(&plan, number("file"), number("parts"));
        } else if let Some(parts) = get(data, "joined").as_f64() {
            let all = self.0.pool.borrow_mut().as_mut().is_some_and(|pool| pool.joined(parts as usize));
            if all {
                *self.0.pool.borrow_mut() = None;
            }
        } else if get(data, "asks").is_truthy() {
            self.0.whole.set(true);
            self.0.events.emit(Event::Asks);
        } else if let Some(why) = get(data, "unavailable").as_string() {
            self.0.whole.set(false);
            self.0.events.emit(Event::Unavailable(why));
        } else if let Some(text) = get(data, "crash").as_string() {
            self.crashed(&text);
        } else if let Some(id) = get(data, "id").as_f64() {
            let answer = match get(data, "failure").as_string() {
                Some(message) => Err(Failure { message }),
                None => Ok(from_js(data)),
            };
            let waiting = self.0.waiting.borrow_mut().remove(&(id as u32));
            if let Some(waiting) = waiting {
                waiting(answer);
            }
        }
    }

    /// Starts helpers for a file that the engine wants to have read in parts.
    fn split(&self, plan: &str, index: usize, parts: usize) {
        let Some(file) = self.0.files.borrow().get(index).cloned() else { return };
        let client = self.clone();
        let pool = Pool::start(self.0.whole.get(), plan, file, index, parts, move |helper, said| client.helper(helper, said));
        if pool.is_empty() {
            return self.crashed("this browser refuses to start a worker");
        }
        *self.0.pool.borrow_mut() = Some(pool);
    }

    fn helper(&self, number: usize, said: Said) {
        if let Said::Crashed(why) = said {
            return self.crashed(&why);
        }
        let mut slot = self.0.pool.borrow_mut();
        let Some(pool) = &mut *slot else { return };
        match said {
            Said::Ready => pool.ready(number),
            Said::Progress(progress) => {
                let progress = pool.progress(number, progress);
                drop(slot);
                self.0.events.emit(Event::Progress(progress));
            }
            Said::Partial(message) => {
                let transfer = pool.done(number, &message);
                if let Some(worker) = &*self.0.worker.borrow() {
                    let _ = worker.post_message_with_transfer(&message, &transfer);
                }
            }
            Said::Crashed(_) => {}
        }
    }

    fn crashed(&self, why: &str) {
        self.0.waiting.borrow_mut().clear();
        if self.0.ready.replace(false) {
            self.0.events.emit(Event::Crashed(why.to_string()));
        }
    }

    fn send(&self, message: Object) {
        if !self.0.ready.get() {
            self.0.unsent.borrow_mut().push(message);
            return;
        }
        if let Some(worker) = &*self.0.worker.borrow() {
            let _ = worker.post_message(&message);
        }
    }

    /// Lets a worker that has nothing to do make itself ready, in short steps.
    fn warm(&self, step: f64) {
        let message = Object::new();
        set(&message, "warm", &JsValue::from_f64(step));
        self.send(message);
    }

    fn ask(&self, parts: &[(&str, JsValue)], answer: Answer) {
        let id = self.0.next.replace(self.0.next.get() + 1);
        self.0.waiting.borrow_mut().insert(id, answer);
        let message = Object::new();
        set(&message, "id", &JsValue::from_f64(f64::from(id)));
        for (key, value) in parts {
            set(&message, key, value);
        }
        self.send(message);
    }

    /// Opens files in addition to those already open, as candidate or as baseline; [`Event::Opened`] follows.
    pub fn open(&self, files: &[File], baseline: bool) {
        let array: Array = files.iter().collect();
        *self.0.files.borrow_mut() = files.to_vec();
        let events = self.0.events.clone();
        let helpers = JsValue::from_bool(helpers() > 0);
        let baseline = JsValue::from_bool(baseline);
        // Gigabytes of the device, where the browser tells: a small one gets a small budget.
        let memory = get(gloo::utils::window().navigator().as_ref(), "deviceMemory");
        self.ask(
            &[("files", array.into()), ("helpers", helpers), ("baseline", baseline), ("memory", memory)],
            Box::new(move |answer| events.emit(Event::Opened(answer))),
        );
    }

    /// Asks the engine; the answer may never come if the worker is ended first.
    pub fn request(&self, request: &Request, answer: impl FnOnce(Result<Slabs, Failure>) + 'static) {
        match serde_json::to_string(request) {
            Ok(text) => self.ask(&[("request", JsValue::from_str(&text))], Box::new(answer)),
            Err(e) => answer(Err(Failure::new(e.to_string()))),
        }
    }

    /// Ends reading in parts and keeps what was read; [`Event::Opened`] follows.
    pub fn keep(&self) {
        *self.0.pool.borrow_mut() = None;
        let message = Object::new();
        set(&message, "keep", &JsValue::TRUE);
        self.send(message);
    }

    /// No file is open any more that needs the whole module.
    pub fn forget_whole(&self) {
        self.0.whole.set(false);
    }

    /// Ends the worker with everything that it holds and starts an empty one.
    pub fn restart(&self) {
        if let Some(worker) = self.0.worker.borrow_mut().take() {
            worker.terminate();
        }
        *self.0.pool.borrow_mut() = None;
        self.0.ready.set(false);
        self.0.waiting.borrow_mut().clear();
        self.0.unsent.borrow_mut().clear();
        self.start();
    }
}
