//! What the window runs, as a module of its own: the page starts before the engine is there.

fn main() {
    #[cfg(target_arch = "wasm32")]
    hotspan::web::start_page();
}
