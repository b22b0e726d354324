//! Where the pool's rewards go when its mint redeems: an on-chain wallet, which follows the chain on a thread of its own.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use bitcoin::Script;
use node::{Node, Stop, Tip};
use onchain::{Follower, Keys, OnchainConfig, OnchainWallet, Opened, SeedPhrase};

/// The wallet and the thread that follows the chain for it.
pub struct Rewards {
    wallet: OnchainWallet,
    follower: JoinHandle<()>,
    stop: Stop,
}

impl Rewards {
    /// Opens the wallet in `directory`, or makes one there: then its phrase is to be shown, once. `maturity` is the chain's rule
    /// for coinbases.
    pub fn open(
        directory: &Path,
        node: Arc<dyn Node>,
        keys: Keys,
        maturity: u32,
    ) -> Result<(Self, Option<SeedPhrase>)> {
        let birthday: Tip = node.tip().context("the node's best block is not known")?;
        let Opened { wallet, new_phrase } =
            OnchainWallet::open(directory, node, keys, OnchainConfig { birthday, maturity })
                .context("the mint's on-chain wallet cannot be opened")?;
        // A flag of its own: it follows until those that pay from it have ended.
        let stop = Stop::new();
        let follower = Follower::new(wallet.clone(), stop.clone()).start()?;
        Ok((Self { wallet, follower, stop }, new_phrase))
    }

    pub fn wallet(&self) -> &OnchainWallet {
        &self.wallet
    }

    /// For the coinbase.
    pub fn payout_script(&self) -> &Script {
        self.wallet.payout_script()
    }

    pub fn stop(self) {
        self.stop.stop();
        if self.follower.join().is_err() {
            tracing::error!("the on-chain wallet's thread died; start the pool again");
        }
    }
}
