//! From credited work to tokens.

mod crowds;
#[path = "../rig/mod.rs"]
mod rig;
mod wallets;
