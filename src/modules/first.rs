//! The worker with what most files need.

fn main() {
    #[cfg(target_arch = "wasm32")]
    hotspan::web::worker::start_first();
}
