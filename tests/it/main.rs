//! Integration tests: one binary, one module per subject.

mod architecture;
mod corpus;
mod profile_analysis;
mod profiles;
mod traces;
mod unsupported;
