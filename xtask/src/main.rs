//! Project automation: `cargo xtask serve`, `cargo xtask test`, `cargo xtask build`, `cargo xtask bundle`, `cargo xtask bench`.

fn main() {}
