//! What devices know: which shares they sent, which were acknowledged, and what each is worth by the rules. Computed
//! without the pool's code, from what was on the wire.

use bitcoin::{BlockHash, CompactTarget, Target};
use ruint::aliases::{U256, U512};
use std::collections::{BTreeMap, BTreeSet};
use work::PayoutKey;

/// One expected block.
const ONE_BLOCK_LOG2: usize = 50;

/// What one key has, as its devices see it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Account {
    /// Credit of acknowledged shares.
    pub acknowledged: u128,
    /// Credit of good shares that were sent and neither acknowledged nor refused: nobody knows of these.
    pub open: u128,
}

/// The books of all devices together.
#[derive(Default)]
pub struct Accounts {
    by_key: BTreeMap<PayoutKey, Account>,
    prefixes: BTreeSet<Vec<u8>>,
    /// Headers that met the network target and were acknowledged.
    blocks: BTreeSet<BlockHash>,
    /// Acknowledged shares.
    pub acknowledged: u64,
    /// Refused shares.
    pub refused: u64,
}

impl Accounts {
    /// A good share is on its way.
    pub fn sent(&mut self, key: PayoutKey, credit: u64) {
        self.by_key.entry(key).or_default().open += u128::from(credit);
    }

    /// It was acknowledged.
    pub fn acknowledge(&mut self, key: PayoutKey, credit: u64, block: Option<BlockHash>) {
        let account = self.by_key.entry(key).or_default();
        account.open -= u128::from(credit);
        account.acknowledged += u128::from(credit);
        self.acknowledged += 1;
        self.blocks.extend(block);
    }

    /// It was refused.
    pub fn refuse(&mut self, key: PayoutKey, credit: u64) {
        self.by_key.entry(key).or_default().open -= u128::from(credit);
        self.refused += 1;
    }

    /// A channel was given this extranonce prefix: nobody ever had it.
    pub fn prefix(&mut self, prefix: &[u8]) {
        let unique = prefix.get(..work::UNIQUE_LEN).expect("a prefix has at least its unique part");
        assert!(self.prefixes.insert(unique.to_vec()), "extranonce prefix {unique:02x?} was given out twice");
    }

    /// All accounts.
    pub fn all(&self) -> impl Iterator<Item = (&PayoutKey, &Account)> {
        self.by_key.iter()
    }

    /// Blocks whose shares were acknowledged.
    pub fn blocks(&self) -> &BTreeSet<BlockHash> {
        &self.blocks
    }
}

/// What a share earns: `floor(2^50 · (Tn + 1) / (Ts + 1))`, the chance that it is a block, at most `2^50`.
pub fn credit_of(share_target: [u8; 32], nbits: u32) -> u64 {
    let share = U512::from(U256::from_le_bytes(share_target)) + U512::from(1);
    let network = U512::from(network_target(nbits)) + U512::from(1);
    let credit = (network << ONE_BLOCK_LOG2) / share;
    u64::try_from(credit).unwrap_or(u64::MAX).min(1 << ONE_BLOCK_LOG2)
}

/// Whether a hash, as its bytes lie, meets a target that is given as on the wire.
pub fn meets(hash: &[u8; 32], target: U256) -> bool {
    U256::from_le_bytes(*hash) <= target
}

/// The target behind a compact one.
pub fn network_target(nbits: u32) -> U256 {
    U256::from_le_bytes(Target::from_compact(CompactTarget::from_consensus(nbits)).to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credits_are_those_of_the_rule() {
        let network = network_target(0x1d00_ffff);
        assert_eq!(credit_of(network.to_le_bytes(), 0x1d00_ffff), 1 << 50);
        assert_eq!(credit_of([0; 32], 0x1d00_ffff), 1 << 50, "never more than a block");
        let double = (network + U256::from(1)) * U256::from(2) - U256::from(1);
        assert_eq!(credit_of(double.to_le_bytes(), 0x1d00_ffff), 1 << 49);
    }
}
