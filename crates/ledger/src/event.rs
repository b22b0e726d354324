//! What can happen to the books, and what comes of it.

use crate::{BlockHash, Epoch, Msats, Params, ParamsError};
use serde::Serialize;
use std::fmt;
use thiserror::Error;
use work::{Ehash, Lease, PayoutKey};

/// Who commits batches: one shard of one front. Each counts its own sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Source {
    /// The front's server id.
    pub front: u16,
    /// The shard within it.
    pub shard: u16,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "front {} shard {}", self.front, self.shard)
    }
}

/// Credits of one tick of one shard. `(source, sequence)` is its identity: a repeat counts once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Who commits it.
    pub source: Source,
    /// 1 for the source's first batch, then one more for each.
    pub sequence: u64,
    /// Who earned how much. Assigned to epochs in this order; rows of zero are nothing.
    pub credits: Vec<(PayoutKey, Ehash)>,
}

impl Batch {
    /// Moves as many credits as one batch may hold, at most `max` together, out of the front of `credits`. What is left
    /// belongs into the next batch; one credit larger than `max` is spread over several. Assigned in this order, they
    /// come to the same as all in one.
    pub fn take_credits(credits: &mut Vec<(PayoutKey, Ehash)>, max: Ehash) -> Vec<(PayoutKey, Ehash)> {
        let mut room = max;
        let mut fits = |amount| room.checked_sub(amount).map(|rest| room = rest).is_some();
        let whole = credits.iter().take_while(|(_, amount)| fits(*amount)).count();
        let mut taken: Vec<_> = credits.drain(..whole).collect();
        if let Some((key, amount)) = credits.first_mut().filter(|_| !room.is_zero()) {
            taken.push((*key, room));
            *amount = amount.saturating_sub(room);
        }
        taken
    }
}

/// A block that the pool found. Reported when its node has it, it may still lose to another; the epoch that is open
/// when this is journalled is the block's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundBlock {
    /// Its hash.
    pub hash: BlockHash,
    /// The block that it builds on.
    pub prev_hash: BlockHash,
    /// Its height.
    pub height: u32,
    /// What its coinbase pays the pool.
    pub reward: Msats,
}

/// A block that pays the pool and is in the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainBlock {
    /// Its hash.
    pub hash: BlockHash,
    /// Its height.
    pub height: u32,
    /// What its coinbase pays the pool. The chain's word replaces what was reported when it was found.
    pub reward: Msats,
}

/// One entry of the journal. The books are nothing but what the events in their order make of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The ledger's first entry, and only that: the parameters from epoch 0 on.
    Created(Params),
    /// Work was credited.
    Credits(Batch),
    /// The pool found a block: fixes the epochs that it pays.
    BlockFound(FoundBlock),
    /// A block that pays the pool joined the chain.
    BlockConnected(ChainBlock),
    /// A block left the chain.
    BlockDisconnected(BlockHash),
    /// The chain's height, which blocks mature by.
    Tip {
        /// Height of the chain's last block.
        height: u32,
    },
    /// An epoch that takes too long redeems as it is.
    EpochFrozen(Epoch),
    /// What nobody claimed or redeemed goes to the carry.
    EpochRetired {
        /// The epoch, redeemable or frozen.
        epoch: Epoch,
        /// How much of its pot is left.
        swept: Msats,
    },
    /// New parameters for epochs that are not open yet.
    ParamsChanged {
        /// The first epoch that has them.
        first_epoch: Epoch,
        /// The parameters.
        params: Params,
    },
    /// A part of the extranonce space was handed out for good.
    LeaseTaken,
}

/// What an event did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The batch was counted.
    Credited {
        /// The sum of its rows.
        total: Ehash,
    },
    /// The batch had been counted before and was not counted again.
    Repeated {
        /// Whose batch.
        source: Source,
        /// Its number.
        sequence: u64,
        /// The last that was counted of this source. A repeat of an older one points to a front that lost its
        /// place.
        last: u64,
    },
    /// The epoch holds its `Q` eHash.
    EpochClosed(Epoch),
    /// The last epoch that could still find blocks for it closed.
    EpochSettling(Epoch),
    /// All of its blocks are final.
    EpochRedeemable {
        /// The epoch.
        epoch: Epoch,
        /// What its `Q` eHash are worth together.
        pot: Msats,
    },
    /// It redeems as it is.
    EpochFrozen {
        /// The epoch.
        epoch: Epoch,
        /// What its `Q` eHash are worth together.
        pot: Msats,
    },
    /// The rest of its pot went to the carry.
    EpochRetired {
        /// The epoch.
        epoch: Epoch,
        /// How much went.
        swept: Msats,
    },
    /// The block is known now, and the epoch it was found in is settled.
    BlockNoted {
        /// Its hash.
        hash: BlockHash,
        /// The epoch open when it was found.
        epoch: Epoch,
    },
    /// Its reward was divided.
    BlockPaid {
        /// Its hash.
        hash: BlockHash,
        /// The reward.
        reward: Msats,
        /// The operator's part.
        fee: Msats,
        /// Each epoch's part.
        per_epoch: Msats,
        /// How many epochs.
        epochs: u32,
        /// The carry after it.
        carry: Msats,
    },
    /// Its lines left the pots.
    BlockReversed(BlockHash),
    /// Its lines stay.
    BlockFinal(BlockHash),
    /// It never matured in the chain. Nobody waits for it any more.
    BlockStale(BlockHash),
    /// It left the chain after it was final. The books keep it; the operator bears the loss.
    BlockLost(BlockHash),
    /// It left the chain, and was none of ours.
    BlockUnknown(BlockHash),
    /// The chain's height is noted.
    TipMoved {
        /// The height.
        height: u32,
    },
    /// Parameters will change.
    ParamsScheduled {
        /// From this epoch on.
        first_epoch: Epoch,
    },
    /// This lease is the caller's alone, for ever.
    LeaseTaken(Lease),
    /// All of it was known already.
    Unchanged,
}

/// Why an event was refused. Nothing changed, and a retry of the same will be refused again.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// A batch is missing between this one and the last counted.
    #[error(
        "{source_name}: batch {got} came, but batch {expected} is next: commit the missing ones first (batches count in order)"
    )]
    Gap {
        /// Whose batch.
        source_name: Source,
        /// The number that is next.
        expected: u64,
        /// The number that came.
        got: u64,
    },
    /// Batches count from 1.
    #[error("{0}: batch 0 came, but batches are numbered from 1")]
    BatchZero(Source),
    /// One batch that would close more epochs than the books take at a time. Its number is not used up.
    #[error(
        "a batch of {total} eHash came, but one batch may hold {limit}: split it, or use larger epochs (a smaller epochs.q)"
    )]
    BatchTooLarge {
        /// The sum of its rows.
        total: u128,
        /// [`crate::State::max_batch_credit`].
        limit: Ehash,
    },
    /// All 2^32 epochs are used up.
    #[error("this ledger has no epochs left: start a new one")]
    EpochsExhausted,
    /// More than all bitcoin.
    #[error("block {hash} is said to pay {reward}, which cannot be: check the reward that is reported")]
    RewardTooLarge {
        /// The block.
        hash: BlockHash,
        /// Its alleged reward.
        reward: Msats,
    },
    /// The epoch does not exist yet.
    #[error("epoch {epoch} is not closed yet: epoch {open} is open")]
    EpochNotClosed {
        /// The epoch asked for.
        epoch: Epoch,
        /// The one that is open.
        open: Epoch,
    },
    /// The epoch is in another state than this needs.
    #[error("epoch {epoch} is {state}, but only one that is {wanted} can be {action}")]
    EpochState {
        /// The epoch asked for.
        epoch: Epoch,
        /// Its state.
        state: &'static str,
        /// The states in which it can be done.
        wanted: &'static str,
        /// What was asked.
        action: &'static str,
    },
    /// A block that paid the epoch may still be orphaned.
    #[error("epoch {epoch} cannot be frozen before block {block}, which paid it, is final: try again later")]
    EpochNotFinal {
        /// The epoch asked for.
        epoch: Epoch,
        /// The block.
        block: BlockHash,
    },
    /// It was promised to be redeemed for longer.
    #[error(
        "epoch {epoch} is redeemed until block {until}, as its parameters promise, and cannot be retired before"
    )]
    EpochPromised {
        /// The epoch asked for.
        epoch: Epoch,
        /// The height.
        until: u32,
    },
    /// More than there is in the pot.
    #[error("epoch {epoch} has {pot} left, but {swept} were to be swept")]
    SweptTooMuch {
        /// The epoch asked for.
        epoch: Epoch,
        /// What its pot holds.
        pot: Msats,
        /// What was asked.
        swept: Msats,
    },
    /// Parameters of an epoch that is open or closed.
    #[error("parameters only change for epochs that are not open yet: epoch {open} is open, so they can change from epoch {} on, not from {first_epoch}", .open.saturating_add(1))]
    ParamsInForce {
        /// The epoch asked for.
        first_epoch: Epoch,
        /// The one that is open.
        open: Epoch,
    },
    /// Parameters out of bounds.
    #[error(transparent)]
    Params(#[from] ParamsError),
    /// All 2^24 leases are taken.
    #[error("all leases of extranonce space are taken: start a new ledger with another server id")]
    LeasesExhausted,
    /// The journal's first entry came again.
    #[error("this ledger exists already")]
    Created,
}
