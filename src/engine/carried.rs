//! What this build carries, for the programs that say it and for workers that ask for more.

pub use crate::formats::carried::{Carried, FIRST, WHOLE, asked, carried, install};
pub use crate::formats::input::asks_for_more;
