//! The reader of `cpuprofile`, whatever the bytes look like.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hotspan_fuzz::format("cpuprofile", bytes));
