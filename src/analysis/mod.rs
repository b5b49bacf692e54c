//! Tables to derived tables: pure functions.
