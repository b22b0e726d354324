//! A payout key of its own for each epoch, from a wallet's seed: nobody can link what a miner earned in one with another.

use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use crossbeam_channel::{Receiver, bounded};
use ledger::Epoch;
use tokio::runtime::{Builder, Runtime};
use wallet::{EhashWallet, KeyOf, MintAddress, SeedPhrase};

/// How often the mint is asked which epoch is open. A key that stays in use after its epoch earns in the next one, where the
/// wallet looks for it too; one epoch later it does not.
const ASK: Duration = Duration::from_secs(2);

/// The user names of a miner that changes its key.
pub struct Rotation {
    phrase: SeedPhrase,
    worker: Option<String>,
    epoch: Epoch,
    epochs: Receiver<Epoch>,
}

impl Rotation {
    /// With the keys of the wallet in `directory`. The wallet is free for other programs afterwards.
    pub fn of_wallet(directory: &Path, worker: Option<String>) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let phrase = SeedPhrase::read(directory)?;
        let mint = runtime.block_on(EhashWallet::open(directory, None))?.mint()?.clone();
        let epoch =
            runtime.block_on(mint.newest()).context("the wallet's mint does not say which epoch is open")?;
        let epoch = epoch.unwrap_or(Epoch::ZERO);
        let (sender, epochs) = bounded(1);
        // It ends with the receiver, or with the program.
        thread::Builder::new().name("epochs".to_owned()).spawn(move || {
            follow(&runtime, &mint, epoch, |epoch| sender.send(epoch).is_ok());
        })?;
        Ok(Self { phrase, worker, epoch, epochs })
    }

    /// Who is credited now.
    pub fn user(&self) -> Result<String> {
        let key = self.phrase.payout_key(KeyOf::Epoch(self.epoch))?;
        Ok(match &self.worker {
            Some(worker) => format!("{key}.{worker}"),
            None => key.to_string(),
        })
    }

    /// Whether there is another epoch, and so another user, since the last call.
    pub fn turns(&mut self) -> bool {
        let newest = self.epochs.try_iter().max().filter(|newest| *newest > self.epoch);
        self.epoch = newest.unwrap_or(self.epoch);
        newest.is_some()
    }
}

/// Tells of each new epoch until nobody listens.
fn follow(runtime: &Runtime, mint: &MintAddress, mut known: Epoch, tell: impl Fn(Epoch) -> bool) {
    let mut silent = false;
    loop {
        thread::sleep(ASK);
        match runtime.block_on(mint.newest()) {
            Ok(newest) => {
                silent = false;
                if let Some(newest) = newest.filter(|newest| *newest > known) {
                    known = newest;
                    if !tell(newest) {
                        return;
                    }
                }
            }
            Err(error) if !silent => {
                silent = true;
                tracing::warn!(%error, "the mint does not say which epoch is open; mining goes on with the last key");
            }
            Err(_) => {}
        }
    }
}
