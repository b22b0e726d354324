//! The on-chain wallet on a devchain and on a real node.

// The name that the shared module knows it by.
extern crate node as assay_node;

mod chain;
mod core_node;
mod crashes;
mod keys;
mod payouts;
mod properties;
mod rig;

#[allow(dead_code, reason = "the node's own tests use the rest")]
#[path = "../../../node/tests/real_node/mod.rs"]
mod real_node;
