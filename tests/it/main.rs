//! Integration tests: one binary, one module per subject.

mod allocation;
mod architecture;
mod corpus;
mod hot_loops;
mod profile_analysis;
mod profiles;
mod services;
mod top;
mod traces;
mod unsupported;
