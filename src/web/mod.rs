//! The page and its worker: one wasm, told apart by the global scope.

use wasm_bindgen::JsCast;

/// Starts the page in a window, the worker loop in a worker.
pub fn start() {
    let global = js_sys::global();
    if let Ok(window) = global.dyn_into::<web_sys::Window>() {
        let root = window.document().and_then(|d| d.document_element());
        if let Some(root) = root {
            let _ = root.set_attribute("data-state", "empty");
        }
    }
}
