//! The worker: one engine, messages in, answers out. Files are read here, in slices, while the page stays free.

use super::wire::{FileProgress, get, set, to_js};
use crate::base::slabs::Slabs;
use crate::engine::Engine;
use crate::engine::protocol::{Failure, Request};
use js_sys::{Array, Object, Uint8Array};
use std::cell::RefCell;
use std::rc::Rc;
use wasm_bindgen::prelude::Closure;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{DedicatedWorkerGlobalScope, File, FileReaderSync, MessageEvent};

/// Bytes per read: large enough that the call costs nothing, small enough to report progress.
const SLICE_BYTES: f64 = (4 << 20) as f64;

/// Installs the message handler and says that it is there.
pub fn start(scope: &DedicatedWorkerGlobalScope) {
    std::panic::set_hook(Box::new(|info| {
        let global: DedicatedWorkerGlobalScope = js_sys::global().unchecked_into();
        let object = Object::new();
        set(&object, "crash", &JsValue::from_str(&info.to_string()));
        let _ = global.post_message(&object);
    }));
    let engine = Rc::new(RefCell::new(Engine::default()));
    let global = scope.clone();
    let on_message = Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
        let data = event.data();
        let answer = match get(&data, "files").dyn_into::<Array>() {
            Ok(files) => open(&mut engine.borrow_mut(), &files, &global),
            Err(_) => ask(&mut engine.borrow_mut(), &data),
        };
        post(&global, &get(&data, "id"), answer);
    });
    scope.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
    // The handler lives as long as the worker.
    on_message.forget();
    let ready = Object::new();
    set(&ready, "ready", &JsValue::TRUE);
    let _ = scope.post_message(&ready);
}

fn ask(engine: &mut Engine, data: &JsValue) -> Result<Slabs, Failure> {
    let text = get(data, "request").as_string().unwrap_or_default();
    let request: Request =
        serde_json::from_str(&text).map_err(|e| Failure::new(format!("the page asked what the engine does not know: {e}")))?;
    engine.handle(&request)
}

/// Reads files in order, then links and runs the rules; the answer is the summary.
fn open(engine: &mut Engine, files: &Array, scope: &DedicatedWorkerGlobalScope) -> Result<Slabs, Failure> {
    for (index, file) in files.iter().enumerate() {
        let Ok(file) = file.dyn_into::<File>() else { continue };
        let Ok(reader) = FileReaderSync::new() else {
            return Err(Failure::new("this browser cannot read files in a worker"));
        };
        let slices = Slices { size: file.size(), file: file.clone(), reader, at: 0.0, chunk: Vec::new(), used: 0 };
        let mut last = f64::NEG_INFINITY;
        engine.open(&file.name(), file.size() as u64, Box::new(slices), &mut |progress| {
            let now = js_sys::Date::now();
            if now - last >= 100.0 {
                last = now;
                let progress = FileProgress { file: index, bytes: progress.bytes as f64, rows: progress.rows };
                let object = Object::new();
                set(&object, "progress", &JsValue::from_str(&serde_json::to_string(&progress).unwrap_or_default()));
                let _ = scope.post_message(&object);
            }
            true
        });
    }
    engine.finish();
    engine.handle(&Request::Summary)
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

/// A file of the browser as a reader.
struct Slices {
    file: File,
    reader: FileReaderSync,
    size: f64,
    at: f64,
    chunk: Vec<u8>,
    used: usize,
}

impl std::io::Read for Slices {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        if self.used >= self.chunk.len() {
            if self.at >= self.size {
                return Ok(0);
            }
            let end = (self.at + SLICE_BYTES).min(self.size);
            let failed =
                |e: JsValue| std::io::Error::other(format!("the browser refused to read the file ({e:?}); it may have changed or moved"));
            let slice = self.file.slice_with_f64_and_f64(self.at, end).map_err(failed)?;
            let buffer = self.reader.read_as_array_buffer(&slice).map_err(failed)?;
            self.chunk = Uint8Array::new(&buffer).to_vec();
            self.used = 0;
            self.at = end;
        }
        let n = buf.len().min(self.chunk.len() - self.used);
        buf[..n].copy_from_slice(&self.chunk[self.used..self.used + n]);
        self.used += n;
        Ok(n)
    }
}
