//! The reader of `zipkin-json`, whatever the bytes look like.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hotspan_fuzz::format("zipkin-json", bytes));
