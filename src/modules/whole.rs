//! The worker with everything, for files that the first one sends on.

fn main() {
    #[cfg(target_arch = "wasm32")]
    hotspan::web::worker::start_whole();
}
