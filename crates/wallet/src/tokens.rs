//! Tokens: what is in the wallet, sent, received, and what became of it.

use crate::{EhashWallet, Holding, WalletError};
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
    /// Of what.
    pub of: Holding,
    /// How much of it.
    pub amount: u64,
    /// Whoever has this text has it.
    pub token: String,
}

/// A token that was swapped for this wallet's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Received {
    /// Of what.
    pub of: Holding,
    /// How much of it.
    pub amount: u64,
}

/// How something came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// It was mined.
    Claimed,
    /// It came as a token; or, of satoshi ecash, for what was redeemed.
    Received,
    /// It left as a token.
    Sent,
    /// It was exchanged for satoshi ecash, or for bitcoin at an address.
    Redeemed,
}

/// One line of the history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HistoryLine {
    /// Seconds since 1970.
    pub time: u64,
    /// How.
    pub way: Way,
    /// Of what.
    pub of: Holding,
    /// How much of it.
    pub amount: u64,
    /// `completed`; `pending` while a sent token was not received by anybody; `failed`.
    pub status: String,
}

impl EhashWallet {
    /// What the wallet holds of an epoch.
    pub(crate) async fn held(&self, epoch: Epoch) -> Result<Ehash, WalletError> {
        self.has(Holding::Epoch(epoch)).await.map(Ehash::new)
    }

    /// How much of something is in the wallet. The mint is not asked.
    pub(crate) async fn has(&self, of: Holding) -> Result<u64, WalletError> {
        let (url, states) = (of.address(self.mint()?), vec![State::Unspent]);
        Ok(self.store.get_balance(Some(url), Some(of.unit()), Some(states)).await?)
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

    /// Takes something out of the wallet, as a token.
    ///
    /// # Errors
    /// When there is not as much, or the mint cannot be reached.
    pub async fn send(&self, of: Holding, amount: u64) -> Result<Sent, WalletError> {
        let has = self.has(of).await?;
        if amount == 0 || amount > has {
            return Err(WalletError::TooLittle { of, has, wanted: amount });
        }
        let wallet = self.of_holding(of).await?;
        let prepared = wallet.prepare_send(Amount::from(amount), SendOptions::default()).await?;
        let token = prepared.confirm(None).await?.to_string();
        Ok(Sent { of, amount, token })
    }

    /// Swaps a token for this wallet's own, after which its giver cannot spend it any more.
    ///
    /// # Errors
    /// When it is none, another mint's or spent, or the mint cannot be reached.
    pub async fn receive(&self, text: &str) -> Result<Received, WalletError> {
        let text = text.trim();
        let token = Token::from_str(text).map_err(|_| WalletError::NoToken)?;
        let unit = token.unit().unwrap_or(CurrencyUnit::Sat);
        let of = Holding::of_unit(&unit).ok_or_else(|| WalletError::ForeignUnit(unit.to_string()))?;
        let url = token.mint_url().map_err(|_| WalletError::NoToken)?;
        let mint = self.mint()?;
        if of.address(mint) != url {
            let theirs = of.mint_at(&url).unwrap_or_else(|| url.to_string());
            return Err(WalletError::ForeignMint { theirs, ours: mint.to_string() });
        }
        let wallet = self.of_holding(of).await?;
        let amount = wallet.receive(text, ReceiveOptions::default()).await?.into();
        Ok(Received { of, amount })
    }

    /// Takes back what was sent and nobody has received; also a token that a crash kept from being shown.
    ///
    /// # Errors
    /// When the mint cannot be reached.
    pub async fn take_back(&self, of: Holding) -> Result<Received, WalletError> {
        let before = self.has(of).await?;
        // Tokens that somebody has received are found out here, and left.
        let wallet = self.of_holding(of).await?;
        for send in wallet.get_pending_sends().await? {
            wallet.revoke_send(send).await?;
        }
        Ok(Received { of, amount: self.has(of).await?.saturating_sub(before) })
    }

    /// What came and went, the oldest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn history(&self) -> Result<Vec<HistoryLine>, WalletError> {
        let transactions = self.store.list_transactions(None, None, None).await?;
        let mint = self.mint()?;
        let line = |transaction: &Transaction| {
            let of = Holding::at(mint, &transaction.mint_url)?;
            let way = match transaction.direction {
                TransactionDirection::Outgoing if transaction.quote_id.is_some() => Way::Redeemed,
                TransactionDirection::Outgoing => Way::Sent,
                // A token that was refused: CDK writes the line before it asks, and leaves it.
                TransactionDirection::Incoming if transaction.status != TransactionStatus::Completed => {
                    return None;
                }
                TransactionDirection::Incoming if transaction.quote_id.is_some() && of != Holding::Sat => {
                    Way::Claimed
                }
                TransactionDirection::Incoming => Way::Received,
            };
            Some(HistoryLine {
                time: transaction.timestamp,
                way,
                of,
                amount: transaction.amount.into(),
                status: transaction.status.to_string(),
            })
        };
        let mut lines: Vec<_> = transactions.iter().filter_map(line).collect();
        lines.sort_by_key(|line| (line.time, line.of));
        Ok(lines)
    }
}

/// An amount of CDK's, which knows units from the context alone.
pub(crate) fn ehash(amount: Amount) -> Ehash {
    Ehash::new(amount.into())
}
