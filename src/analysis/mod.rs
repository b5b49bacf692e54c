//! Tables to derived tables: pure functions.

pub mod call_tree;
pub mod categories;
pub mod flame;
pub mod flame_chart;
pub mod functions;
pub mod neighbours;
pub mod weights;
pub mod red;
pub mod service_graph;
