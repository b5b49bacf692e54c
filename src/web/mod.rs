//! The page and its worker: one wasm, told apart by the global scope.

pub mod client;
pub mod dom;
pub mod hooks;
pub mod opening;
pub mod pace;
pub mod pool;
pub mod slices;
pub mod ui;
pub mod wire;
pub mod worker;

use wasm_bindgen::JsCast;

/// Starts the page in a window, the worker loop in a worker.
pub fn start() {
    let global = js_sys::global();
    match global.dyn_into::<web_sys::DedicatedWorkerGlobalScope>() {
        Ok(scope) => worker::start(&scope),
        Err(_) => {
            if let Some(root) = dom::document().get_element_by_id("app") {
                root.set_inner_html("");
                yew::Renderer::<ui::App>::with_root(root).render();
            }
        }
    }
}
