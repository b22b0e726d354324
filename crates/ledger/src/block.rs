//! Blocks that pay the pool, and what each put into which pot.

use crate::{Epoch, Msats};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{fmt, str::FromStr};
use thiserror::Error;

/// A block's hash, in the byte order of headers. Text is the usual reversed hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockHash([u8; 32]);

/// Text that is no block hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a block hash is 64 hex digits")]
pub struct BlockHashError;

impl BlockHash {
    pub(crate) const MIN: BlockHash = BlockHash([0; 32]);
    pub(crate) const MAX: BlockHash = BlockHash([0xff; 32]);

    /// From the bytes as they stand in a header's `prev_hash`.
    pub const fn from_bytes(bytes: [u8; 32]) -> BlockHash {
        BlockHash(bytes)
    }

    /// The bytes as they stand in a header's `prev_hash`.
    pub const fn to_bytes(self) -> [u8; 32] {
        self.0
    }
}

impl fmt::Display for BlockHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().rev().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BlockHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for BlockHash {
    type Err = BlockHashError;

    fn from_str(text: &str) -> Result<BlockHash, BlockHashError> {
        let digit =
            |c: u8| char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok()).ok_or(BlockHashError);
        let text = text.as_bytes();
        if text.len() != 64 {
            return Err(BlockHashError);
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().rev().zip(text.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(BlockHash(bytes))
    }
}

impl Serialize for BlockHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BlockHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<BlockHash, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Where a block stands. See `docs/decisions/0003-orphan-reversal.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BlockStatus {
    /// Found by the pool, not yet seen in the chain. Pays nothing; holds its epochs open.
    Found,
    /// In the chain, not yet buried deep enough: its lines are in the pots, provisionally.
    Connected,
    /// Was in the chain and left it: its lines are reversed. May come back.
    Disconnected,
    /// Buried by `maturity` confirmations: its lines stay.
    Final,
    /// Not in the chain when it would have become final. No epoch waits for it any more.
    Stale,
    /// Left the chain after it was final. Its lines stay, as tokens may have been redeemed against them: the
    /// loss is the operator's.
    Lost,
}

impl BlockStatus {
    pub(crate) const ALL: [BlockStatus; 6] = [
        BlockStatus::Found,
        BlockStatus::Connected,
        BlockStatus::Disconnected,
        BlockStatus::Final,
        BlockStatus::Stale,
        BlockStatus::Lost,
    ];

    /// The name, as it is stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            BlockStatus::Found => "found",
            BlockStatus::Connected => "connected",
            BlockStatus::Disconnected => "disconnected",
            BlockStatus::Final => "final",
            BlockStatus::Stale => "stale",
            BlockStatus::Lost => "lost",
        }
    }

    /// Whether the chain has still to decide about it.
    pub fn is_unsettled(self) -> bool {
        matches!(self, BlockStatus::Found | BlockStatus::Connected | BlockStatus::Disconnected)
    }

    /// Whether its reward is in the books.
    pub fn is_paid(self) -> bool {
        matches!(self, BlockStatus::Connected | BlockStatus::Final | BlockStatus::Lost)
    }
}

/// A block whose coinbase pays the pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Block {
    /// Its hash.
    pub hash: BlockHash,
    /// The block that it builds on; `None` if the pool never reported finding it (another front did, or the
    /// report was lost in a crash) and it was first seen in the chain.
    pub prev_hash: Option<BlockHash>,
    /// Its height.
    pub height: u32,
    /// What its coinbase pays the pool.
    pub reward: Msats,
    /// `j`: the epoch that was open when the find was journalled (or, if that was never reported, when it was first
    /// seen in the chain). It never changes, so the block pays the same epochs whenever it is connected.
    pub epoch: Epoch,
    /// Where it stands.
    pub status: BlockStatus,
    /// How the reward was divided, while it is in the books.
    pub payment: Option<Payment>,
}

/// How a reward was divided: `reward + carry_in = fee + per_epoch · epochs + carry_out`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Payment {
    /// The operator's fee.
    pub fee: Msats,
    /// What each epoch got.
    pub per_epoch: Msats,
    /// The carry that was added to the reward.
    pub carry_in: Msats,
    /// The rest, which is the carry after the block.
    pub carry_out: Msats,
    /// The epochs that got it, in ascending order. Empty: all to carry.
    pub epochs: Vec<Epoch>,
}

impl Payment {
    /// What all the epochs got together.
    pub fn to_pots(&self) -> Msats {
        let epochs = u64::try_from(self.epochs.len()).expect("a block pays at most 1024 epochs");
        self.per_epoch.checked_mul(epochs).expect("lines were divided from a sum that fits")
    }
}

/// One line of a pot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The block that paid it.
    pub block: BlockHash,
    /// The epoch whose pot it is in.
    pub epoch: Epoch,
    /// How much.
    pub amount: Msats,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_shown_reversed() {
        let text = "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f";
        let hash: BlockHash = text.parse().unwrap();
        assert_eq!(hash.to_bytes()[0], 0x6f);
        assert_eq!(hash.to_string(), text);
        for bad in ["", "00", &text[1..], &format!("{text}0"), &text.replace('9', "g")] {
            assert_eq!(bad.parse::<BlockHash>(), Err(BlockHashError), "{bad}");
        }
    }
}
