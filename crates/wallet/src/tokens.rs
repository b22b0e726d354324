//! Tokens: what is in the wallet, sent, received, and what became of it.

use crate::{
    EhashWallet, WalletError,
    address::{epoch_of_unit, split, unit},
};
use cdk::{
    Amount,
    nuts::{CurrencyUnit, State, Token},
    wallet::{
        ReceiveOptions, SendOptions,
        types::{Transaction, TransactionDirection, TransactionStatus},
    },
};
use ledger::Epoch;
use serde::Serialize;
use std::{collections::BTreeMap, str::FromStr};
use work::Ehash;

/// A token to hand over.
#[derive(Clone, Serialize)]
pub struct Sent {
    /// Of which epoch.
    pub epoch: Epoch,
    /// How much.
    pub amount: Ehash,
    /// Whoever has this text has the eHash.
    pub token: String,
}

/// A token that was swapped for this wallet's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Received {
    /// Of which epoch.
    pub epoch: Epoch,
    /// How much.
    pub amount: Ehash,
}

/// How eHash came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// It was mined.
    Claimed,
    /// It came as a token.
    Received,
    /// It left as a token.
    Sent,
}

/// One line of the history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HistoryLine {
    /// Seconds since 1970.
    pub time: u64,
    /// How.
    pub way: Way,
    /// Of which epoch.
    pub epoch: Epoch,
    /// How much.
    pub amount: Ehash,
    /// `completed`; `pending` while a sent token was not received by anybody; `failed`.
    pub status: String,
}

impl EhashWallet {
    /// What the wallet holds of an epoch.
    pub(crate) async fn held(&self, epoch: Epoch) -> Result<Ehash, WalletError> {
        let (url, states) = (self.mint()?.of_epoch(epoch), vec![State::Unspent]);
        Ok(Ehash::new(self.store.get_balance(Some(url), Some(unit(epoch)), Some(states)).await?))
    }

    /// What it holds of all epochs that it holds any of.
    pub(crate) async fn holdings(&self) -> Result<BTreeMap<Epoch, Ehash>, WalletError> {
        let mut held = BTreeMap::new();
        for proof in self.store.get_proofs(None, None, Some(vec![State::Unspent]), None).await? {
            if let Some(epoch) = self.mint()?.epoch_of(&proof.mint_url) {
                let held = held.entry(epoch).or_insert(Ehash::ZERO);
                *held = held.saturating_add(ehash(proof.proof.amount));
            }
        }
        Ok(held)
    }

    /// Takes eHash of an epoch out of the wallet, as a token.
    ///
    /// # Errors
    /// When there is not as much, or the mint cannot be reached.
    pub async fn send(&self, epoch: Epoch, amount: Ehash) -> Result<Sent, WalletError> {
        let has = self.held(epoch).await?;
        if amount == Ehash::ZERO || amount > has {
            return Err(WalletError::TooLittle { epoch, has, wanted: amount });
        }
        let wallet = self.of_epoch(epoch).await?;
        let prepared = wallet.prepare_send(Amount::from(amount.get()), SendOptions::default()).await?;
        let token = prepared.confirm(None).await?.to_string();
        Ok(Sent { epoch, amount, token })
    }

    /// Swaps a token for this wallet's own, after which its giver cannot spend it any more.
    ///
    /// # Errors
    /// When it is none, another mint's or spent, or the mint cannot be reached.
    pub async fn receive(&self, text: &str) -> Result<Received, WalletError> {
        let text = text.trim();
        let token = Token::from_str(text).map_err(|_| WalletError::NoToken)?;
        let unit = token.unit().unwrap_or(CurrencyUnit::Sat).to_string();
        let epoch = epoch_of_unit(&unit).ok_or(WalletError::ForeignUnit(unit))?;
        let url = token.mint_url().map_err(|_| WalletError::NoToken)?;
        let mint = self.mint()?;
        if mint.of_epoch(epoch) != url {
            let theirs = split(&url).map_or_else(|| url.to_string(), |(base, _)| base);
            return Err(WalletError::ForeignMint { theirs, ours: mint.to_string() });
        }
        let wallet = self.of_epoch(epoch).await?;
        let amount = wallet.receive(text, ReceiveOptions::default()).await?;
        Ok(Received { epoch, amount: ehash(amount) })
    }

    /// Takes back what was sent of an epoch and nobody has received; also a token that a crash kept from being shown.
    ///
    /// # Errors
    /// When the mint cannot be reached.
    pub async fn take_back(&self, epoch: Epoch) -> Result<Received, WalletError> {
        let before = self.held(epoch).await?;
        // Tokens that somebody has received are found out here, and left.
        let wallet = self.of_epoch(epoch).await?;
        for send in wallet.get_pending_sends().await? {
            wallet.revoke_send(send).await?;
        }
        Ok(Received { epoch, amount: self.held(epoch).await?.saturating_sub(before) })
    }

    /// What came and went, the oldest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn history(&self) -> Result<Vec<HistoryLine>, WalletError> {
        let transactions = self.store.list_transactions(None, None, None).await?;
        let mint = self.mint()?;
        let line = |transaction: &Transaction| {
            let way = match transaction.direction {
                TransactionDirection::Outgoing => Way::Sent,
                // A token that was refused: CDK writes the line before it asks, and leaves it.
                TransactionDirection::Incoming if transaction.status != TransactionStatus::Completed => {
                    return None;
                }
                TransactionDirection::Incoming if transaction.quote_id.is_some() => Way::Claimed,
                TransactionDirection::Incoming => Way::Received,
            };
            Some(HistoryLine {
                time: transaction.timestamp,
                way,
                epoch: mint.epoch_of(&transaction.mint_url)?,
                amount: ehash(transaction.amount),
                status: transaction.status.to_string(),
            })
        };
        let mut lines: Vec<_> = transactions.iter().filter_map(line).collect();
        lines.sort_by_key(|line| (line.time, line.epoch));
        Ok(lines)
    }
}

/// An amount of CDK's, which knows units from the context alone.
pub(crate) fn ehash(amount: Amount) -> Ehash {
    Ehash::new(amount.into())
}
