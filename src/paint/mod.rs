//! View columns to display lists: pure, without a canvas.

pub mod flame;
pub mod label;
pub mod siblings;
