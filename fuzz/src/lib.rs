//! Fuzz targets of Assay.
//!
//! A target's body is a plain function over bytes, so that it runs under libFuzzer (`fuzz_targets`), in an
//! ordinary test (`tests/kept.rs`), and in a debugger alike. `README.md` has the commands.

pub mod input;
pub mod kept;
pub mod mutate;
pub mod samples;
pub mod targets;
pub mod wide;
