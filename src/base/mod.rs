//! What everything stands on: row ids, interning, statistics, units, and the container that crosses from worker to page.

pub mod attribute_keys;
pub mod hash;
pub mod ids;
pub mod intern;
pub mod labels;
pub mod memory;
pub mod pack;
pub mod path;
pub mod pattern_syntax;
pub mod patterns;
pub mod protobuf;
pub mod quantity;
pub mod significance;
pub mod slabs;
pub mod stats;
pub mod time;
pub mod view;
pub mod work;
