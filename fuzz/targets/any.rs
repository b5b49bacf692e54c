//! Any file: unwrapping, recognition, and whatever format is recognised.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hotspan_fuzz::any(bytes));
