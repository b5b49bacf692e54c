//! The page when compiled to wasm32, the command line otherwise.

#[cfg(target_arch = "wasm32")]
fn main() {
    hotspan::web::start();
}

#[cfg(not(target_arch = "wasm32"))]
fn main() -> std::process::ExitCode {
    hotspan::cli::main()
}
