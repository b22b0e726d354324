//! Everything that the tests and the comparison need beyond Rust, a C compiler and git.

mod bitcoin_node;
mod components;
mod crate_source;
mod debian;
pub mod sri;

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

/// Sets up what is missing for the tests. Does nothing but look when all is there.
pub fn run() -> Result<Peers> {
    components::ensure()?;
    debian::install_missing(&debian::FOR_TESTS)?;
    let cache = Cache::open()?;
    let peers = Peers {
        bitcoin_node: bitcoin_node::ensure(&cache)?,
        translator: sri::ensure(&cache, &sri::TRANSLATOR)?,
    };
    say(format_args!("bitcoin-node: {}", peers.bitcoin_node.display()));
    say(format_args!("translator_sv2: {}", peers.translator.display()));
    Ok(peers)
}

/// Programs of others that `cargo xtask bench` needs.
pub struct BenchPeers {
    /// `bitcoin-node` with IPC.
    pub bitcoin_node: PathBuf,
    /// The reference implementation's pool.
    pub pool_sv2: PathBuf,
    /// A directory for what runs leave behind: on a disk, as ledgers are, and with a short path, as sockets need.
    pub scratch: PathBuf,
}

/// Sets up what is missing for the comparison.
pub fn for_bench() -> Result<BenchPeers> {
    let cache = Cache::open()?;
    let peers = BenchPeers {
        bitcoin_node: bitcoin_node::ensure(&cache)?,
        pool_sv2: sri::ensure(&cache, &sri::POOL)?,
        scratch: cache.path("bench"),
    };
    say(format_args!("bitcoin-node: {}", peers.bitcoin_node.display()));
    say(format_args!("pool_sv2: {}", peers.pool_sv2.display()));
    Ok(peers)
}
