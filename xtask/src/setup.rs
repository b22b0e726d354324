//! Everything that the tests and the comparison need beyond Rust, a C compiler and git.

mod bitcoin_node;
mod cashu_ts;
mod components;
mod crate_source;
mod debian;
mod nutshell;
mod programs;

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
    /// CDK's wallet.
    pub cdk_cli: PathBuf,
    /// Where `node_modules` with cashu-ts and Node.js lies.
    pub cashu_ts: PathBuf,
    /// Nutshell's wallet.
    pub nutshell: PathBuf,
}

/// Sets up what is missing for the tests. Does nothing but look when all is there.
pub fn run() -> Result<Peers> {
    components::ensure()?;
    debian::install_missing(&debian::FOR_TESTS)?;
    let cache = Cache::open()?;
    let peers = Peers {
        bitcoin_node: bitcoin_node::ensure(&cache)?,
        translator: programs::ensure(&cache, &programs::TRANSLATOR)?,
        cdk_cli: programs::ensure(&cache, &programs::CDK_CLI)?,
        cashu_ts: cashu_ts::ensure(&cache)?,
        nutshell: nutshell::ensure(&cache)?,
    };
    say(format_args!("bitcoin-node: {}", peers.bitcoin_node.display()));
    say(format_args!("translator_sv2: {}", peers.translator.display()));
    say(format_args!("cdk-cli: {}", peers.cdk_cli.display()));
    say(format_args!("cashu-ts: {}", peers.cashu_ts.display()));
    say(format_args!("Nutshell: {}", peers.nutshell.display()));
    Ok(peers)
}

/// Programs of others that `cargo xtask bench mint` needs.
pub struct MintBenchPeers {
    /// `bitcoin-node`, which the mint's wallet follows.
    pub bitcoin_node: PathBuf,
    /// CDK's own mint.
    pub cdk_mintd: PathBuf,
    /// As [`BenchPeers::scratch`].
    pub scratch: PathBuf,
}

/// Sets up what is missing for the comparison of mints.
pub fn for_mint_bench() -> Result<MintBenchPeers> {
    let cache = Cache::open()?;
    let bitcoin_node = bitcoin_node::ensure(&cache)?;
    let cdk_mintd = programs::ensure(&cache, &programs::CDK_MINTD)?;
    say(format_args!("cdk-mintd: {}", cdk_mintd.display()));
    Ok(MintBenchPeers { bitcoin_node, cdk_mintd, scratch: cache.path("bench") })
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
        pool_sv2: programs::ensure(&cache, &programs::POOL)?,
        scratch: cache.path("bench"),
    };
    say(format_args!("bitcoin-node: {}", peers.bitcoin_node.display()));
    say(format_args!("pool_sv2: {}", peers.pool_sv2.display()));
    Ok(peers)
}
