//! Everything that the tests need beyond Rust, a C compiler and git.

mod bitcoin_node;
mod components;
mod crate_source;
mod debian;
mod translator;

use crate::cache::Cache;
use crate::step::say;
use anyhow::Result;
use std::path::PathBuf;

/// Programs of others that the whole-system tests run against.
pub struct Peers {
    /// `bitcoin-node` with IPC; `bitcoin-cli` lies beside it.
    pub bitcoin_node: PathBuf,
    /// The reference implementation's SV1 to SV2 translator.
    pub translator: PathBuf,
}

/// Sets up what is missing. Does nothing but look when all is there.
pub fn run() -> Result<Peers> {
    components::ensure()?;
    let cache = Cache::open()?;
    let peers =
        Peers { bitcoin_node: bitcoin_node::ensure(&cache)?, translator: translator::ensure(&cache)? };
    say(format_args!("bitcoin-node: {}", peers.bitcoin_node.display()));
    say(format_args!("translator_sv2: {}", peers.translator.display()));
    Ok(peers)
}
