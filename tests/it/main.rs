//! Integration tests: one binary, one module per subject.

// Tests fail by panicking and say what they compared.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod allocation;
mod architecture;
mod art;
mod carried;
mod chatty;
mod chrome;
mod cli;
mod clocks;
mod compare;
mod containers;
mod corpus;
mod costs;
mod critical_paths;
mod detection;
mod event_loops;
mod exports;
mod extremes;
mod finding_parts;
mod gecko;
#[path = "../generator/mod.rs"]
mod generator;
mod go_pprof;
mod growth;
mod hot_loops;
mod jfr;
mod joined;
#[path = "../joined_files.rs"]
mod joined_files;
#[path = "../kinds.rs"]
mod kinds;
mod labels;
mod latency;
mod latency_drawn;
mod ledger;
mod loop_rules;
mod machine_code;
mod machine_loops;
mod metamorphic;
mod otlp_profiles;
mod parts;
mod perf_data;
mod pprof_legacy;
mod profile_analysis;
mod profiles;
mod reading;
mod recordings;
mod reduction;
mod same;
mod sentry;
mod services;
mod sniff;
mod speedscope;
mod symbols;
mod text_dumps;
mod text_profiles;
mod text_trees;
mod top;
mod trace_export;
mod trace_formats;
mod trace_readers;
mod traces;
mod truth;
mod unsupported;
mod unwound;
mod v8;
