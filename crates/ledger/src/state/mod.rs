//! The books as a pure state machine.
//!
//! [`State::apply`] takes one [`Event`] and says what came of it, or refuses it and changes nothing. It holds the
//! open epoch's credits by key, a few dozen bytes for each closed epoch and each block, and nothing else: closed
//! epochs' credits are handed over in [`Applied::closed`] and live in the store.
//!
//! Invariants, asserted whenever something changes:
//! - credits of the open epoch sum to what it is filled to; those of a closed one to `Q`;
//! - pots + carry + fees = rewards;
//! - an epoch that is redeemable, frozen or retired gets no line and loses none.

mod blocks;
mod credits;
mod epochs;
mod tables;

#[cfg(test)]
mod tests;

use crate::{Block, BlockHash, Epoch, Event, Msats, Outcome, Params, ParamsError, Refusal, Source};
pub use epochs::{EpochInfo, EpochState};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
pub use tables::{Inconsistent, Tables};
#[cfg(test)]
pub(crate) use tests::{SOURCE, test_hash, test_key};
use work::{Ehash, KeyMap, Lease, PayoutKey};

/// Sums over all blocks and epochs: `pots + carry + fees = rewards`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// What all blocks in the books paid.
    pub rewards: Msats,
    /// The operator's part.
    pub fees: Msats,
    /// What the next block's epochs get on top.
    pub carry: Msats,
    /// What is in all pots, redeemed or not.
    pub pots: Msats,
}

impl Totals {
    /// Whether pots + carry + fees = rewards.
    pub fn balance(&self) -> bool {
        let sum = [self.pots, self.carry, self.fees].iter().map(|part| u128::from(part.get())).sum::<u128>();
        sum == u128::from(self.rewards.get())
    }
}

/// A part of one credit that went into one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The epoch.
    pub epoch: Epoch,
    /// Who earned it.
    pub key: PayoutKey,
    /// How much.
    pub amount: Ehash,
}

/// What an event did, in full: for callers, and for whoever keeps the derived tables.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// What there is to tell.
    pub outcomes: Vec<Outcome>,
    /// Credits by epoch and key, in the order they were assigned.
    pub assignments: Vec<Assignment>,
    /// Epochs that closed, with all credits in them.
    pub closed: Vec<(Epoch, KeyMap<Ehash>)>,
    /// Closed epochs whose row changed.
    pub epochs: BTreeSet<Epoch>,
    /// Blocks whose row or lines changed.
    pub blocks: BTreeSet<BlockHash>,
    /// Whether anything changed at all. If not, the event belongs in no journal.
    pub changed: bool,
}

impl Applied {
    /// Notes something that changed the books.
    fn tell(&mut self, outcome: Outcome) {
        self.changed = true;
        self.outcomes.push(outcome);
    }

    /// Notes that there was nothing to do.
    fn unchanged(&mut self, outcome: Outcome) {
        debug_assert!(!self.changed);
        self.outcomes.push(outcome);
    }
}

/// The epoch that work is credited to.
#[derive(Clone, Debug)]
struct OpenEpoch {
    epoch: Epoch,
    size: Ehash,
    filled: Ehash,
    credits: KeyMap<Ehash>,
}

/// What is remembered of an epoch that has its `Q` eHash.
#[derive(Clone, Copy, Debug)]
struct ClosedEpoch {
    state: EpochState,
    pot: Msats,
    swept: Msats,
    redeemable_until: Option<u32>,
}

/// The books. See the module's documentation.
#[derive(Clone, Debug)]
pub struct State {
    /// By the first epoch that has them. Epoch 0 is always there.
    params: BTreeMap<Epoch, Params>,
    open: OpenEpoch,
    /// All closed epochs, by their number.
    closed: Vec<ClosedEpoch>,
    /// Closed epochs that blocks found from now on still pay.
    accruing: BTreeSet<Epoch>,
    /// Epochs that wait for blocks already found.
    settling: BTreeSet<Epoch>,
    blocks: BTreeMap<BlockHash, Block>,
    /// Blocks that are connected and not final, in the order of the chain: heights rise. Lines are reversed from
    /// the end only, which makes each reversal exact.
    chain: VecDeque<BlockHash>,
    /// Blocks that the chain has not decided about, by the epoch they were found in.
    unsettled: BTreeSet<(Epoch, BlockHash)>,
    sources: BTreeMap<Source, u64>,
    totals: Totals,
    tip: Option<u32>,
    leases_taken: u32,
}

impl State {
    /// A ledger's first state.
    ///
    /// # Errors
    /// When the parameters are out of bounds.
    pub fn create(params: Params) -> Result<State, ParamsError> {
        params.validate()?;
        Ok(State {
            params: BTreeMap::from([(Epoch::ZERO, params)]),
            open: OpenEpoch {
                epoch: Epoch::ZERO,
                size: params.epoch_size(),
                filled: Ehash::ZERO,
                credits: KeyMap::default(),
            },
            closed: Vec::new(),
            accruing: BTreeSet::new(),
            settling: BTreeSet::new(),
            blocks: BTreeMap::new(),
            chain: VecDeque::new(),
            unsettled: BTreeSet::new(),
            sources: BTreeMap::new(),
            totals: Totals::default(),
            tip: None,
            leases_taken: 0,
        })
    }

    /// Takes in one event.
    ///
    /// # Errors
    /// A refused event changed nothing.
    pub fn apply(&mut self, event: &Event) -> Result<Applied, Refusal> {
        assert!(self.totals.balance(), "the books do not balance before {event:?}: {:?}", self.totals);
        let mut applied = Applied::default();
        match event {
            Event::Created(_) => return Err(Refusal::Created),
            Event::Credits(batch) => self.credit(batch, &mut applied)?,
            Event::BlockFound(found) => self.block_found(found, &mut applied)?,
            Event::BlockConnected(block) => self.block_connected(block, &mut applied)?,
            Event::BlockDisconnected(hash) => self.block_disconnected(*hash, &mut applied),
            Event::Tip { height } => self.tip_moved(*height, &mut applied),
            Event::EpochFrozen(epoch) => self.freeze(*epoch, &mut applied)?,
            Event::EpochRetired { epoch, swept } => self.retire(*epoch, *swept, &mut applied)?,
            Event::ParamsChanged { first_epoch, params } => {
                self.change_params(*first_epoch, params, &mut applied)?;
            }
            Event::LeaseTaken => self.take_lease(&mut applied)?,
        }
        assert!(self.totals.balance(), "the books do not balance after {event:?}: {:?}", self.totals);
        assert!(self.open.filled < self.open.size, "epoch {} is full but open", self.open.epoch);
        assert!(!applied.outcomes.is_empty());
        Ok(applied)
    }

    fn take_lease(&mut self, applied: &mut Applied) -> Result<(), Refusal> {
        let lease = Lease::new(self.leases_taken).ok_or(Refusal::LeasesExhausted)?;
        self.leases_taken += 1;
        applied.tell(Outcome::LeaseTaken(lease));
        Ok(())
    }

    /// The epoch that work is credited to now.
    pub fn open_epoch(&self) -> Epoch {
        self.open.epoch
    }

    /// How much the open epoch holds.
    pub fn filled(&self) -> Ehash {
        self.open.filled
    }

    /// How much the open epoch will hold when it closes.
    pub fn open_size(&self) -> Ehash {
        self.open.size
    }

    /// Credits of the open epoch by key.
    pub fn open_credits(&self) -> &KeyMap<Ehash> {
        &self.open.credits
    }

    /// All eHash ever credited.
    pub fn credited(&self) -> u128 {
        let mut sum = u128::from(self.open.filled.get());
        let mut changes = self.params.iter().peekable();
        while let Some((first, params)) = changes.next() {
            let end = changes.peek().map_or(self.open.epoch, |(next, _)| **next).min(self.open.epoch);
            let epochs = end.get().saturating_sub(first.get());
            sum += u128::from(epochs) * u128::from(params.epoch_size().get());
        }
        sum
    }

    /// The sums that balance.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// The chain's height, once known.
    pub fn tip(&self) -> Option<u32> {
        self.tip
    }

    /// The number of the last batch counted of a source; 0 before its first.
    pub fn last_sequence(&self, source: Source) -> u64 {
        self.sources.get(&source).copied().unwrap_or(0)
    }

    /// Sources and the number of the last batch of each.
    pub fn sources(&self) -> impl Iterator<Item = (Source, u64)> + '_ {
        self.sources.iter().map(|(source, last)| (*source, *last))
    }

    /// A block, if it pays the pool.
    pub fn block(&self, hash: &BlockHash) -> Option<&Block> {
        self.blocks.get(hash)
    }

    /// All blocks that pay the pool, by their hash.
    pub fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.blocks.values()
    }

    /// Blocks that the chain has not decided about.
    pub fn unsettled_blocks(&self) -> impl Iterator<Item = &Block> {
        self.unsettled.iter().map(|(_, hash)| &self.blocks[hash])
    }

    /// How many leases were taken; the next one has this number.
    pub fn leases_taken(&self) -> u32 {
        self.leases_taken
    }
}
