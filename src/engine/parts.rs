//! Reading in parts, for those who own the threads or workers that do it.

pub use crate::formats::ImportError;
pub use crate::formats::Progress;
pub use crate::formats::parts::{HEAD_BYTES, Joiner, MIN_BYTES, Partial, Plan, plan, read_part};
