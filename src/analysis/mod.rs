//! Tables to derived tables: pure functions.

pub mod batch;
pub mod branch_loops;
mod branch_walk;
pub mod call_tree;
pub mod categories;
pub mod clipped;
pub mod clock_skew;
pub mod critical_path;
pub mod critical_profile;
#[cfg(any(test, feature = "drawn"))]
#[allow(clippy::unwrap_used)]
pub mod drawn;
#[cfg(any(test, feature = "drawn"))]
#[allow(clippy::unwrap_used)]
pub mod drawn_stacks;
pub mod flame;
pub mod flame_chart;
pub mod functions;
pub mod joined;
pub mod joined_times;
pub mod labels;
pub mod magnitude;
pub mod narrow;
pub mod neighbours;
pub mod normalize;
pub mod path_times;
pub mod red;
pub mod replay;
pub mod service_graph;
pub mod slack;
pub mod subtract;
pub mod trace_tree;
pub mod weights;
pub mod what_if;
pub mod where_time;
