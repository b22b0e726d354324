//! From tokens of a mature epoch to bitcoin: with stock wallets, a real ledger, and a chain with real coins.

#[path = "../rig/mod.rs"]
#[allow(dead_code)]
mod rig;

mod chains;
mod crashes;
mod melts;
mod pool;
mod refusals;
