//! The worker: messages in, answers out. The page has one that holds the engine, and helpers that read parts of files; both
//! run this code and differ only in what they are asked.

use super::opening::{Opening, Step, finish, read_for_page};
use super::wire::{get, set, to_js};
use crate::base::memory::Budget;
use crate::base::slabs::Slabs;
use crate::engine::Engine;
use crate::engine::carried::{self, Carried, asked};
use crate::engine::protocol::{Failure, Request};
use js_sys::{Array, Object, Uint8Array};
use std::cell::RefCell;
use std::rc::Rc;
use wasm_bindgen::prelude::Closure;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{DedicatedWorkerGlobalScope, File, MessageEvent};

#[derive(Default)]
struct State {
    engine: Engine,
    /// Whether the baseline stands in the candidate's place.
    swapped: bool,
    opening: Option<Opening>,
}

/// Starts the worker loop of a module that holds what most files need.
pub fn start_first() {
    start_with(&carried::FIRST);
}

/// Starts the worker loop of a module that holds everything.
pub fn start_whole() {
    start_with(&carried::WHOLE);
}

fn start_with(carries: &'static Carried) {
    carried::install(carries);
    if let Ok(scope) = js_sys::global().dyn_into::<DedicatedWorkerGlobalScope>() {
        start(&scope);
    }
}

/// Installs the message handler and says that it is there.
fn start(scope: &DedicatedWorkerGlobalScope) {
    std::panic::set_hook(Box::new(|info| {
        let global: DedicatedWorkerGlobalScope = js_sys::global().unchecked_into();
        let object = Object::new();
        set(&object, "crash", &JsValue::from_str(&info.to_string()));
        let _ = global.post_message(&object);
    }));
    let state = Rc::new(RefCell::new(State::default()));
    let global = scope.clone();
    let on_message = Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
        receive(&mut state.borrow_mut(), &event.data(), &global);
    });
    scope.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
    // The handler lives as long as the worker.
    on_message.forget();
    let ready = Object::new();
    set(&ready, "ready", &JsValue::TRUE);
    let _ = scope.post_message(&ready);
}

fn receive(state: &mut State, data: &JsValue, scope: &DedicatedWorkerGlobalScope) {
    if let Ok(files) = get(data, "files").dyn_into::<Array>() {
        // Files of the baseline are read into the other session, which stands in the place of the first meanwhile.
        state.swapped = get(data, "baseline").is_truthy();
        if state.swapped {
            state.engine.swap();
        }
        state.engine.limits.memory = Budget::of_device(get(data, "memory").as_f64().unwrap_or(0.0));
        state.opening = Some(Opening::new(get(data, "id"), &files, get(data, "helpers").is_truthy(), !state.swapped, scope.clone()));
        proceed(state, scope);
    } else if let Some(plan) = get(data, "plan").as_string() {
        help(&plan, data, scope);
    } else if let Some(part) = get(data, "part").as_f64() {
        let bytes = match get(data, "partial").dyn_into::<Uint8Array>() {
            Ok(bytes) => Ok(bytes),
            Err(_) => Err(get(data, "failed").as_string().unwrap_or_default()),
        };
        if get(data, "asks").is_truthy() {
            return ask_for_more(state, scope);
        }
        let State { engine, opening, .. } = state;
        if opening.as_mut().is_some_and(|o| o.part(engine, part as usize, bytes)) {
            proceed(state, scope);
        }
    } else if get(data, "keep").is_truthy() {
        let State { engine, opening, .. } = state;
        if opening.as_mut().is_some_and(|o| o.keep(engine)) {
            proceed(state, scope);
        }
    } else if let Some(number) = get(data, "warm").as_f64() {
        if crate::engine::warm::step(number as usize) {
            let next = Object::new();
            set(&next, "warmed", &JsValue::from_f64(number + 1.0));
            let _ = scope.post_message(&next);
        }
    } else {
        let begun = js_sys::Date::now();
        let answer = ask(&mut state.engine, data);
        if let Some(opening) = &mut state.opening {
            opening.spent(js_sys::Date::now() - begun);
        }
        post(scope, &get(data, "id"), answer);
    }
}

/// Goes on with the files of a drop; after the last one links and runs the rules. The answer is the summary.
fn proceed(state: &mut State, scope: &DedicatedWorkerGlobalScope) {
    let State { engine, opening, swapped } = state;
    let Some(open) = opening else { return };
    let read = open.proceed(engine);
    if !matches!(read, Ok(Step::Parts)) && std::mem::take(swapped) {
        engine.swap();
    }
    let answer = match read {
        Ok(Step::Parts) => return,
        Ok(Step::Asks) => return ask_for_more(state, scope),
        Ok(Step::All) => {
            finish(engine, open.count(), scope);
            if asked() {
                return ask_for_more(state, scope);
            }
            engine.handle(&Request::Summary)
        }
        Err(failure) => Err(failure),
    };
    let id = open.id.clone();
    *opening = None;
    post(scope, &id, answer);
}

/// Tells the page that these files are for the whole module. It starts anew with them, so that nothing of this worker counts.
fn ask_for_more(state: &mut State, scope: &DedicatedWorkerGlobalScope) {
    *state = State::default();
    let object = Object::new();
    set(&object, "asks", &JsValue::TRUE);
    let _ = scope.post_message(&object);
}

/// A helper's answer: the bytes of a part, transferred.
fn help(plan: &str, data: &JsValue, scope: &DedicatedWorkerGlobalScope) {
    let part = get(data, "part");
    let object = Object::new();
    set(&object, "part", &part);
    let transfer = Array::new();
    let read = get(data, "file").dyn_into::<File>().map_err(|_| "there is no file".to_string());
    match read.and_then(|file| read_for_page(plan, part.as_f64().unwrap_or(0.0) as usize, &file, scope)) {
        Ok(bytes) => {
            let bytes = Uint8Array::from(&bytes[..]);
            transfer.push(&bytes.buffer());
            set(&object, "partial", &bytes);
            set(&object, "asks", &JsValue::from_bool(asked()));
        }
        Err(why) => set(&object, "failed", &JsValue::from_str(&why)),
    }
    let _ = scope.post_message_with_transfer(&object, &transfer);
}

fn ask(engine: &mut Engine, data: &JsValue) -> Result<Slabs, Failure> {
    let text = get(data, "request").as_string().unwrap_or_default();
    let request: Request =
        serde_json::from_str(&text).map_err(|e| Failure::new(format!("the page asked what the engine does not know: {e}")))?;
    engine.handle(&request)
}

fn post(scope: &DedicatedWorkerGlobalScope, id: &JsValue, answer: Result<Slabs, Failure>) {
    let (object, transfer) = match answer {
        Ok(slabs) => to_js(slabs),
        Err(failure) => {
            let object = Object::new();
            set(&object, "failure", &JsValue::from_str(&failure.message));
            (object, Array::new())
        }
    };
    set(&object, "id", id);
    let _ = scope.post_message_with_transfer(&object, &transfer);
}
