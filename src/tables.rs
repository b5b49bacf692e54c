//! The lower layers of hotspan: bytes to tables, and the tables that are derived from them. `hotspan` shows them as its own.
//!
//! They are where the time goes, and are a crate of their own to be optimised for speed in a page that is otherwise
//! optimised for size.

pub mod analysis;
pub mod base;
pub mod formats;
pub mod model;
