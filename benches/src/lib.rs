//! What the microbenchmarks of a share's path are fed with: channels, jobs, shares and sealed frames as a pool meets
//! them on mainnet (a coinbase of 0.3 KB, 12 levels of merkle path).
//!
//! `cargo bench -p assay-benches` prints every step. An iteration of a step on the share's path is [`SHARES`] shares,
//! so its microseconds are one share's nanoseconds, and the rate beside it counts shares.

pub mod frames;
pub mod mining;

/// Shares in an iteration.
pub const SHARES: u32 = 1000;
