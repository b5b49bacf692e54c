//! The reader of `gecko`, whatever the bytes look like.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hotspan_fuzz::format("gecko", bytes));
