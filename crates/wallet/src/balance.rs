//! What there is, what is due, and what it may be worth.

use crate::{
    EhashWallet, WalletError,
    address::{self, Answer},
    claim::Due,
};
use ledger::{Epoch, Msats};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use work::Ehash;

/// Epochs that the pool's pages tell of at one asking.
const PAGE: u32 = 1000;

/// What the wallet has in an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EpochBalance {
    /// Its number.
    pub epoch: Epoch,
    /// Tokens in the wallet.
    pub held: Ehash,
    /// Credited and not claimed yet; `None` when the mint was not asked, as all of it is claimed or it is away.
    pub unclaimed: Option<Ehash>,
    /// What the pool tells of the epoch, when its pages are known.
    pub pool: Option<PoolEpoch>,
    /// What all of it is worth at the pot of today: it grows with each block until the epoch stops
    /// collecting, and shrinks with an orphaned one.
    pub worth_msat: Option<Msats>,
}

/// An epoch as the pool's pages show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolEpoch {
    epoch: Epoch,
    /// `open`, `accruing`, `settling`, `redeemable`, `frozen` or `retired`.
    pub state: String,
    /// What it holds when it is full.
    pub size: Ehash,
    /// What it holds.
    pub credited: Ehash,
    /// What all of its eHash is worth.
    pub pot: Msats,
    /// The chain's height until which it is redeemed at least.
    #[serde(default)]
    pub redeemable_until: Option<u32>,
}

/// The wallet's balance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Balance {
    /// Epochs with something in them, the newest first.
    pub epochs: Vec<EpochBalance>,
    /// Satoshi ecash; none when the mint was not asked, or has none.
    pub sats: Option<u64>,
    /// Why a part of it could not be told.
    pub notes: Vec<String>,
}

#[derive(Deserialize)]
struct EpochsPage {
    epochs: Vec<PoolEpoch>,
}

impl PoolEpoch {
    /// `floor(pot · amount / size)`, as redemption has it.
    pub(crate) fn worth(&self, amount: Ehash) -> Option<Msats> {
        self.pot.mul_div_floor(amount.get(), self.size.get())
    }

    /// When it can be redeemed, in words.
    pub fn matures(&self) -> String {
        match (self.state.as_str(), self.redeemable_until) {
            ("open", _) => {
                "after it is full, has collected its window of epochs, and its blocks are deep enough".into()
            }
            ("accruing", _) => {
                "after it has collected its window of epochs, and its blocks are deep enough".into()
            }
            ("settling", _) => "when its blocks are deep enough".into(),
            ("redeemable" | "frozen", None) => "now".into(),
            ("redeemable" | "frozen", Some(until)) => format!("now, until the chain is {until} blocks long"),
            _ => "never".into(),
        }
    }
}

impl EhashWallet {
    /// What the wallet has. `ask` has the mint asked for what is credited, and the pool's pages, when they are known, for the
    /// epochs' state; `pages` takes the place of the kept address. That they do not answer is a note, as what is in the
    /// wallet is known without them.
    ///
    /// # Errors
    /// When no mint is known, or the store cannot be read.
    pub async fn balance(&self, ask: bool, pages: Option<&str>) -> Result<Balance, WalletError> {
        let mut notes = Vec::new();
        let held = self.holdings().await?;
        let mut unclaimed = BTreeMap::new();
        if ask && let Err(error) = self.unclaimed(&mut unclaimed).await {
            notes.push(error.to_string());
        }
        let kept = self.records.pages().await?;
        let mut pool = BTreeMap::new();
        if ask {
            // A mint tells of its epochs itself.
            let mint = self.mint()?.to_string();
            let pages = pages.or(kept.as_deref()).unwrap_or(&mint);
            if let Err(error) = told(pages, &mut pool).await {
                notes.push(error.to_string());
            }
        }
        // A mint that redeems nothing has no satoshi ecash, and that is no trouble.
        let sats = if ask { self.sats().await.ok() } else { None };
        let mut numbers: Vec<Epoch> = held.keys().copied().collect();
        numbers.extend(unclaimed.iter().filter(|(_, due)| **due > Ehash::ZERO).map(|(epoch, _)| *epoch));
        numbers.sort_unstable();
        numbers.dedup();
        let line = |epoch: Epoch| {
            let held = held.get(&epoch).copied().unwrap_or(Ehash::ZERO);
            let unclaimed = unclaimed.get(&epoch).copied();
            let pool: Option<PoolEpoch> = pool.remove(&epoch);
            let worth_msat = pool
                .as_ref()
                .and_then(|pool| pool.worth(held.saturating_add(unclaimed.unwrap_or(Ehash::ZERO))));
            EpochBalance { epoch, held, unclaimed, pool, worth_msat }
        };
        Ok(Balance { epochs: numbers.into_iter().rev().map(line).collect(), sats, notes })
    }

    /// Asks the mint for what is credited and not claimed.
    async fn unclaimed(&self, into: &mut BTreeMap<Epoch, Ehash>) -> Result<(), WalletError> {
        let newest = self.mint()?.newest().await?;
        for epoch in self.unsettled(newest).await? {
            if let Answer::Nothing(_) = self.mint()?.asks_for(epoch).await? {
                continue;
            }
            let wallet = self.of_epoch(epoch).await?;
            let due = self.due(&wallet, epoch).await?;
            into.insert(epoch, due.iter().map(Due::open).sum());
        }
        Ok(())
    }
}

/// All epochs, from the pool's pages.
async fn told(pages: &str, into: &mut BTreeMap<Epoch, PoolEpoch>) -> Result<(), WalletError> {
    let base = pages.trim_end_matches('/');
    if !["http://", "https://"].iter().any(|scheme| base.starts_with(scheme)) {
        return Err(WalletError::PagesUrl(pages.to_owned()));
    }
    let mut from = 0;
    loop {
        let url = format!("{base}/v1/ehash/epochs?from={from}&limit={PAGE}");
        let Answer::Said(EpochsPage { epochs }) = address::get(&url).await? else {
            return Err(WalletError::PagesUrl(pages.to_owned()));
        };
        let Some(last) = epochs.iter().map(|epoch| epoch.epoch.get()).max() else { return Ok(()) };
        let full = epochs.len() >= usize::try_from(PAGE).unwrap_or(usize::MAX);
        into.extend(epochs.into_iter().map(|epoch| (epoch.epoch, epoch)));
        match last.checked_add(1).filter(|next| full && *next > from) {
            Some(next) => from = next,
            None => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worth_is_the_part_of_the_pot_rounded_down() {
        let text = r#"{"epoch":3,"state":"accruing","size":1000,"credited":1000,"pot":2999,"swept":0}"#;
        let epoch: PoolEpoch = serde_json::from_str(text).unwrap();
        let worth = |epoch: &PoolEpoch, amount| epoch.worth(Ehash::new(amount)).map(Msats::get);
        assert_eq!([0, 1, 500, 1000].map(|amount| worth(&epoch, amount)), [0, 2, 1499, 2999].map(Some));
        let (pot, size) = (Msats::new(u64::MAX), Ehash::new(1));
        assert_eq!(worth(&PoolEpoch { pot, size, ..epoch.clone() }, 2), None);
        assert_eq!(worth(&PoolEpoch { size: Ehash::ZERO, ..epoch }, 2), None);
    }
}
