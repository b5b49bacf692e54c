//! The real page in a real Chromium: over http from `dist/`, and the single file from `file://`.
//!
//! `cargo xtask test browser` builds both, finds a Chromium and runs these. Without a Chromium they say so and pass, unless
//! `HOTSPAN_REQUIRE_BROWSER` is set.

mod cdp;
mod journeys;
mod page;
mod shot;
