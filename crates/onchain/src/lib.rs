//! The mint's on-chain wallet: the pool's coinbases come in, and redemptions are paid from them, each exactly once.
//!
//! Descriptors, coins and coin selection are BDK's. Blocks come from a [`Node`](node::Node), whole and in order; nothing
//! else talks to the chain. Everything blocks, and any thread may call: an [`OnchainWallet`] is a handle that can be cloned.
//!
//! # Why nothing is paid twice and nothing is forgotten
//!
//! There is one file. What BDK knows and what becomes of each payout change in the same SQLite transaction, synced before
//! anybody is told. So a process that is killed leaves one of these states, and no other:
//!
//! 1. *Not requested.* The caller was not told that the payout is noted, and asks again under the same [`PayoutId`].
//! 2. *Requested.* Asking again returns what is stored. Nothing was signed for it, or what was signed was forgotten before
//!    anybody saw it: a transaction leaves the process only after it and its payouts are stored.
//! 3. *Signed.* Payout and transaction name each other for good. The only way to pay is to send these very bytes, as often as
//!    it takes: sent twice they are one payment. A payout that has a transaction is never put into another one, and the
//!    coins of that transaction into no other one.
//! 4. *Confirmed*, with the block that holds the transaction. Whether a payout is in this state or the one before is decided
//!    by blocks alone, and stored together with them. A reorganisation takes it back, and it is sent again.
//!
//! A file that is older than what was paid, such as a restored backup, would break the second point. Therefore a
//! transaction on the chain that spends this wallet's coins and is not in the file stops all payouts until a person has looked
//! ([`OnchainError::ForeignSpend`]). For the same reason a file that is gone is missed, and not made anew.

mod batch;
mod coins;
mod error;
mod follow;
mod keys;
mod payouts;
mod reserves;
mod store;
mod wallet;

pub use {
    batch::{Batch, Broadcast, LeftOut, MAX_FEE_RATE, MIN_FEE_RATE},
    error::{OnchainError, StoreError},
    follow::Follower,
    keys::{Keys, SeedPhrase},
    payouts::{Payout, PayoutId, PayoutStatus},
    reserves::{Maturing, Reserves},
    wallet::{OnchainConfig, OnchainWallet, Opened},
};
