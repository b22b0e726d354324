//! The target `session` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| assay_fuzz::targets::session(data));
