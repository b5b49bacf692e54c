//! The real page in a real Chromium: over http from `dist/`, and the single file from `file://`.
//!
//! `cargo xtask test browser` builds both, finds a Chromium and runs these. Without a Chromium they say so and pass, unless
//! `HOTSPAN_REQUIRE_BROWSER` is set.

// Tests fail by panicking and say what they compared.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod cdp;
mod deciding;
#[path = "../joined_files.rs"]
mod joined_files;
mod journeys;
mod keys;
#[path = "../kinds.rs"]
mod kinds;
mod looks;
mod modules;
mod page;
mod reading;
mod same;
mod shot;
