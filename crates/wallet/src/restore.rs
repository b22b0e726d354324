//! Finding everything again from the words.

use crate::{
    EhashWallet, Places, SeedPhrase, WalletError,
    address::Answer,
    claim::{Due, up_to},
};
use ledger::Epoch;
use serde::Serialize;
use std::path::Path;
use work::Ehash;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// The newest epoch of the mint.
    pub newest: Option<Epoch>,
    /// Epochs with something in them.
    pub epochs: Vec<EpochRestored>,
}

/// What was found of an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EpochRestored {
    /// Its number.
    pub epoch: Epoch,
    /// Tokens that nobody has spent.
    pub held: Ehash,
    /// Credited and not claimed yet.
    pub unclaimed: Ehash,
}

impl EhashWallet {
    /// Makes a wallet from its words, in a directory that has none, and asks the mint for the tokens of every epoch. Without
    /// words: for the seed that is there, when the store beside it is gone or an earlier restore was interrupted.
    ///
    /// Tokens that were sent and not received yet are this wallet's own again, until somebody receives them.
    ///
    /// # Errors
    /// When there is a wallet with other words, or the mint cannot be reached; then it is to be done again.
    pub async fn restore(
        directory: &Path,
        words: Option<SeedPhrase>,
        places: &Places,
    ) -> Result<(Self, Restored), WalletError> {
        let wallet = Self::begin_restore(directory, words, places).await?;
        let newest = wallet.mint()?.newest().await?;
        let mut restored = Restored { newest, epochs: Vec::new() };
        for epoch in up_to(newest) {
            if let Answer::Nothing(_) = wallet.mint()?.asks_for(epoch).await? {
                wallet.records.note_settled(wallet.mint()?, epoch).await?;
                continue;
            }
            let cashu = wallet.of_epoch(epoch).await?;
            cashu.restore().await?;
            let due = wallet.due(&cashu, epoch).await?;
            let unclaimed: Ehash = due.iter().map(Due::open).sum();
            let held = wallet.held(epoch).await?;
            if held > Ehash::ZERO || unclaimed > Ehash::ZERO {
                restored.epochs.push(EpochRestored { epoch, held, unclaimed });
            }
        }
        wallet.records.note_restoring(false).await?;
        Ok((wallet, restored))
    }
}
