//! Pool, ledger and chain in one deterministic run from one seed.
//!
//! The code is that of the real pool: the engine's shards with their Noise sessions, the pool's handler, its template,
//! chain and block steps, the ledger's writer. What is simulated is what they stand on: threads, clock, network, disk and
//! node. A seed decides which faults there are, how many, and when; the same seed gives the same run, byte for byte.
//!
//! A run that breaks an invariant panics. `cargo run -p assay-sim -- --seed N --echo` shows it once more.

mod accounts;
mod books;
mod chain;
mod chance;
mod channel;
mod device;
mod disk;
mod profile;
mod shelf;
mod trace;
mod wire;
mod world;

pub use world::{Medium, Options, Report, run};
