//! Wallets, ours and others', each with files of its own. Those of others know the mint by its address, and nothing else of ours.

mod cashu_ts;
mod cdk_cli;
mod nutshell;
mod own;
mod stock;

pub use cashu_ts::{CashuTs, States};
pub use cdk_cli::CdkCli;
pub use nutshell::{Invoice, Nutshell};
pub use own::AssayWallet;
pub use stock::{Holder, payout_key};

use std::time::{Duration, Instant};

use crate::process::Finished;

/// The end of whatever a wallet does, also on a machine that compiles something beside it.
const PATIENCE: Duration = Duration::from_secs(90);

/// What a wallet did, and how long that took it from its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timed<T> {
    /// What came of it.
    pub value: T,
    /// Time.
    pub took: Duration,
}

/// Has a wallet do something that must succeed, and gives what it says.
fn done(wallet: &str, words: &[&str], run: impl FnOnce() -> Finished) -> Timed<String> {
    let start = Instant::now();
    let finished = run();
    let took = start.elapsed();
    assert!(finished.status.success(), "{wallet} {words:?}: {finished:?}");
    Timed { value: finished.stdout, took }
}

/// A mint's address, and the unit that is used there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// As tokens name it.
    pub mint: String,
    /// Such as `ehash-7`.
    pub unit: String,
}
