//! Where the pool's rewards go when its mint redeems: an on-chain wallet, which follows the chain on a thread of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::{Context, Result, bail};
use bitcoin::{Script, ScriptBuf};
use node::{Node, Stop, Tip};
use onchain::{Follower, Keys, OnchainConfig, OnchainWallet, Opened, SeedPhrase};

use crate::config::RedemptionPlan;
use crate::output;

/// Confirmations before a coinbase may be spent, on every chain with a node of its own.
const COINBASE_MATURITY: u32 = 100;

/// Where a mint beside the pool leaves the script that the coinbases pay, in hex.
const SCRIPT_FILE: &str = "rewards.script";

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

    /// The same for a mint on a node, as the configuration has it.
    pub fn of_mint(plan: &RedemptionPlan, directory: &Path, node: Arc<dyn Node>) -> Result<Self> {
        let keys = match plan.descriptors.clone() {
            None => Keys::Kept,
            Some((receive, change)) => Keys::WatchOnly { receive, change },
        };
        let (rewards, new_phrase) = Self::open(directory, node, keys, COINBASE_MATURITY)?;
        if let Some(phrase) = new_phrase {
            // To the operator's eyes, not to a log.
            output::line(format_args!(
                "wallet: the pool's rewards go to a new wallet. Write these words down; whoever has them has its bitcoin:\n  {}",
                phrase.words().as_str()
            ));
        }
        Ok(rewards)
    }

    pub fn wallet(&self) -> &OnchainWallet {
        &self.wallet
    }

    /// For the coinbase.
    pub fn payout_script(&self) -> &Script {
        self.wallet.payout_script()
    }

    /// Leaves the script where a pool in a process of its own finds it.
    pub fn publish_script(&self, data_dir: &Path) -> Result<()> {
        let path = script_file(data_dir);
        // Replaced as a whole, so that a pool that starts meanwhile reads the one or the other.
        let aside = path.with_extension("new");
        fs::write(&aside, self.payout_script().to_hex_string())
            .and_then(|()| fs::rename(&aside, &path))
            .with_context(|| format!("{} cannot be written", path.display()))
    }

    /// Whether the chain is still followed.
    pub fn is_running(&self) -> bool {
        !self.follower.is_finished()
    }

    pub fn stop(self) {
        self.stop.stop();
        if self.follower.join().is_err() {
            tracing::error!("the on-chain wallet's thread died; start the program again");
        }
    }
}

/// The script that a mint beside the pool has left.
pub fn script_of_mint(data_dir: &Path) -> Result<ScriptBuf> {
    let path = script_file(data_dir);
    let Ok(text) = fs::read_to_string(&path) else {
        bail!(
            "{} is not there: with mint.in_pool = false, start `assay mint` with this configuration first; it makes the \
             wallet that the rewards go to",
            path.display()
        );
    };
    let script = ScriptBuf::from_hex(text.trim()).ok().filter(|script| !script.is_empty());
    script.with_context(|| format!("{} holds no script; start `assay mint` to write it anew", path.display()))
}

fn script_file(data_dir: &Path) -> PathBuf {
    data_dir.join(SCRIPT_FILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_or_torn_script_is_no_place_for_rewards() {
        let dir = tempfile::tempdir().unwrap();
        let error = script_of_mint(dir.path()).unwrap_err().to_string();
        assert!(error.contains("start `assay mint`"), "{error}");
        for torn in ["", "51ae2", "rubbish"] {
            fs::write(script_file(dir.path()), torn).unwrap();
            let error = script_of_mint(dir.path()).unwrap_err().to_string();
            assert!(error.contains("holds no script"), "{error}");
        }
        fs::write(script_file(dir.path()), "51\n").unwrap();
        assert_eq!(script_of_mint(dir.path()).unwrap(), ScriptBuf::from_bytes(vec![0x51]));
    }
}
