//! The page and its worker.

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

/// Starts the page in a window; everything else is asked of workers.
pub fn start_page() {
    if let Some(root) = dom::document().get_element_by_id("app") {
        root.set_inner_html("");
        yew::Renderer::<ui::App>::with_root(root).render();
    }
}

/// The page and its worker in one module that carries everything, told apart by the global scope: what Trunk builds.
pub fn start() {
    if js_sys::global().has_type::<web_sys::DedicatedWorkerGlobalScope>() {
        worker::start_whole();
    } else {
        start_page();
    }
}
