//! Integration tests: one binary, one module per subject.

mod architecture;
mod corpus;
mod profiles;
mod traces;
