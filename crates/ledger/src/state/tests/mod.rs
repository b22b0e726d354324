//! The state machine against tables of cases, the reference model and random play.

mod blocks;
mod credits;
mod epochs;
mod model;
mod reference;

use crate::{Batch, BlockHash, ChainBlock, Epoch, Event, FoundBlock, Msats, Outcome, Params, Source, State};
use work::{Ehash, PayoutKey};

/// A payout key for each number, the same each time.
pub(crate) fn test_key(number: u8) -> PayoutKey {
    let mut bytes = [number; 32];
    let mut keys = (0..=255).filter_map(|last| {
        bytes[31] = last;
        PayoutKey::from_bytes(bytes).ok()
    });
    keys.next().expect("every second x lies on the curve")
}

/// A block hash for each number.
pub(crate) fn test_hash(number: u32) -> BlockHash {
    let mut bytes = [0xb1; 32];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    BlockHash::from_bytes(bytes)
}

pub(crate) const SOURCE: Source = Source { front: 1, shard: 0 };

/// A state, and shorthand for what happens to it.
pub(super) struct Play {
    pub(super) state: State,
    sequence: u64,
}

impl Play {
    pub(super) fn new(params: Params) -> Play {
        Play { state: State::create(params).unwrap(), sequence: 0 }
    }

    #[track_caller]
    pub(super) fn apply(&mut self, event: &Event) -> Vec<Outcome> {
        let outcomes = self.state.apply(event).unwrap().outcomes;
        self.state.check().unwrap();
        outcomes
    }

    #[track_caller]
    pub(super) fn credit(&mut self, credits: &[(PayoutKey, u64)]) -> Vec<Outcome> {
        self.sequence += 1;
        let credits = credits.iter().map(|(key, amount)| (*key, Ehash::new(*amount))).collect();
        self.apply(&Event::Credits(Batch { source: SOURCE, sequence: self.sequence, credits }))
    }

    /// Work that closes so many epochs.
    #[track_caller]
    pub(super) fn close_epochs(&mut self, count: u32) {
        for _ in 0..count {
            let room = self.state.open_size().get() - self.state.filled().get();
            self.credit(&[(test_key(9), room)]);
        }
    }

    #[track_caller]
    pub(super) fn found(&mut self, number: u32, height: u32, reward: u64) -> Vec<Outcome> {
        let (hash, prev_hash) = (test_hash(number), test_hash(0));
        self.apply(&Event::BlockFound(FoundBlock { hash, prev_hash, height, reward: Msats::new(reward) }))
    }

    #[track_caller]
    pub(super) fn connect(&mut self, number: u32, height: u32, reward: u64) -> Vec<Outcome> {
        let hash = test_hash(number);
        self.apply(&Event::BlockConnected(ChainBlock { hash, height, reward: Msats::new(reward) }))
    }

    #[track_caller]
    pub(super) fn disconnect(&mut self, number: u32) -> Vec<Outcome> {
        self.apply(&Event::BlockDisconnected(test_hash(number)))
    }

    #[track_caller]
    pub(super) fn tip(&mut self, height: u32) -> Vec<Outcome> {
        self.apply(&Event::Tip { height })
    }

    pub(super) fn pot(&self, epoch: u32) -> u64 {
        self.state.epoch(Epoch(epoch)).unwrap().pot.get()
    }

    pub(super) fn pots(&self) -> Vec<u64> {
        (0..self.state.open_epoch().get()).map(|epoch| self.pot(epoch)).collect()
    }

    pub(super) fn carry(&self) -> u64 {
        self.state.totals().carry.get()
    }
}

/// Small epochs and windows without fee: numbers that can be followed by eye.
pub(super) const SMALL: Params = Params { q: 3, window: 4, fee_ppm: 0, maturity: 3, redeem_blocks: 0 };
