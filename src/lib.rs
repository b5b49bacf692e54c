//! hotspan reads profiles and traces, shows them, and finds what is slow.
//!
//! # Layers
//! Lowest first; a module uses only what is listed (checked by `tests/it/architecture.rs`).
//! ```text
//! base      ← nothing
//! model     ← base
//! formats   ← base model                    reads bytes into tables
//! analysis  ← base model                    tables → derived tables; pure
//! findings  ← base model analysis           rules, evidence
//! report    ← base model analysis findings  writes bytes
//! paint     ← base                          view columns → display list; pure
//! engine    ← all of the above but paint    one session; request → response
//! cli       ← engine report                 native only
//! web       ← engine::protocol paint base   wasm only (web::worker also uses engine)
//! ```
//! The lower four are the crate `hotspan-tables` (`src/tables.rs`), which is optimised for speed where the rest is for size.
//! Nothing below `cli` and `web` reads a clock, the file system or the environment, or prints.
//!
//! # How to add
//! A format: one file in `formats/`, one line in [`formats::FORMATS`] (`rare`, unless most people have such files), fixtures in
//! `tests/fixtures/ID/`.
//! A rule: one file in `findings/`, one line in [`findings::DETECTORS`], a page in `docs/rules/`.
//! A view: a message in `engine/protocol/`, its answer in `engine/views/`, its picture in `paint/` and `web/ui/`.

#[cfg(not(target_arch = "wasm32"))]
#[allow(clippy::print_stdout, clippy::print_stderr)]
pub mod cli;
pub mod engine;
pub mod findings;
pub mod paint;
pub mod report;
#[cfg(target_arch = "wasm32")]
pub mod web;

pub use hotspan_tables::{analysis, base, formats, model};
