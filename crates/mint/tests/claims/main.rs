//! From credited work to tokens, and the database that they are in.

mod crowds;
mod ownership;
#[path = "../rig/mod.rs"]
mod rig;
mod wallets;
