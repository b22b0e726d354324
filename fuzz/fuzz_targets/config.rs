//! The target `config` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| assay_fuzz::targets::config(data));
