//! The reader of `art-trace`, whatever the bytes look like.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hotspan_fuzz::format("art-trace", bytes));
