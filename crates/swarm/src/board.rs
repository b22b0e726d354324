//! What the workers tell: written once per connection, block or run, never per share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::histogram::Histogram;
use crate::run::Tally;

/// Different reasons that are told apart; a server chooses their texts.
const MOST_REASONS: usize = 32;
/// Blocks whose times are kept.
const MOST_ROUNDS: usize = 1024;

/// How often which reason was given, in bounded memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reasons(BTreeMap<String, u64>);

impl Reasons {
    pub(crate) fn count(&mut self, reason: &str) {
        self.add(reason, 1);
    }

    pub(crate) fn add(&mut self, reason: &str, times: u64) {
        if let Some(count) = self.0.get_mut(reason) {
            *count += times;
        } else if self.0.len() < MOST_REASONS {
            self.0.insert(reason.to_owned(), times);
        } else {
            *self.0.entry("other".to_owned()).or_default() += times;
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (reason, count) in &other.0 {
            self.add(reason, *count);
        }
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.values().sum()
    }

    pub(crate) fn by_reason(&self) -> BTreeMap<String, u64> {
        self.0.clone()
    }
}

/// One new block: when each connection had heard of it for all its channels.
#[derive(Clone, Debug)]
pub(crate) struct Round {
    pub prev_hash: [u8; 32],
    pub heard: Vec<Instant>,
}

/// The state of all connections together.
#[derive(Debug, Default)]
pub(crate) struct Books {
    /// Connections whose channels all have work.
    pub ready: usize,
    /// Channels of these connections.
    pub channels: usize,
    /// Connections that ended before they were ready.
    pub failed: Reasons,
    /// Connections that ended afterwards.
    pub lost: Reasons,
    /// Connections that left as they were told to, by how they left.
    pub left: Reasons,
    /// Channels that the server closed.
    pub closed_channels: Reasons,
    /// Messages that do not fit what was sent before.
    pub complaints: Reasons,
    /// Connections that answered when they were asked whether they still live.
    pub answered: usize,
    /// From the beginning of a connection until it was ready, in microseconds.
    pub set_up: Histogram,
    pub last_ready: Option<Instant>,
    /// Whether new blocks are noted.
    pub watching: bool,
    pub rounds: Vec<Round>,
    /// What each worker counted in the run, once it is over.
    pub tallies: Vec<Tally>,
}

impl Books {
    /// Connections of which nothing more is to be expected.
    pub(crate) fn gone(&self) -> u64 {
        self.failed.total() + self.lost.total()
    }

    /// Why connections ended, and what else went wrong.
    pub(crate) fn troubles(&self) -> BTreeMap<String, u64> {
        let mut troubles = self.failed.clone();
        troubles.merge(&self.lost);
        troubles.merge(&self.complaints);
        for (reason, count) in self.closed_channels.by_reason() {
            troubles.add(&format!("channel closed by the pool: {reason}"), count);
        }
        troubles.by_reason()
    }

    /// A connection has heard of a new block.
    pub(crate) fn heard(&mut self, prev_hash: [u8; 32], at: Instant) {
        if !self.watching {
            return;
        }
        match self.rounds.iter_mut().rev().find(|round| round.prev_hash == prev_hash) {
            Some(round) => round.heard.push(at),
            None => self.begin_round(prev_hash, at),
        }
    }

    fn begin_round(&mut self, prev_hash: [u8; 32], at: Instant) {
        if self.rounds.len() < MOST_ROUNDS {
            self.rounds.push(Round { prev_hash, heard: vec![at] });
        }
    }
}

/// [`Books`] that workers and the owner share.
#[derive(Debug, Default)]
pub(crate) struct Board {
    books: Mutex<Books>,
    received: AtomicU64,
}

impl Board {
    // Counts are right to within one connection even if a worker panicked over them.
    pub(crate) fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Messages that a worker received in one turn.
    pub(crate) fn add_received(&self, messages: u64) {
        self.received.fetch_add(messages, Ordering::Relaxed);
    }

    /// Messages that all workers have received so far.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_bounded() {
        let mut reasons = Reasons::default();
        for n in 0..100 {
            reasons.count(&format!("reason {n}"));
            reasons.count("reason 0");
        }
        assert_eq!(reasons.total(), 200);
        assert_eq!(reasons.by_reason().len(), MOST_REASONS + 1);
        assert_eq!(reasons.by_reason()["reason 0"], 101);
        assert_eq!(reasons.by_reason()["other"], 68);
        let mut sum = Reasons::default();
        sum.merge(&reasons);
        assert_eq!(sum.total(), reasons.total());
        assert!(sum.by_reason().len() <= MOST_REASONS + 1);
    }

    #[test]
    fn blocks_are_noted_while_somebody_watches() {
        let mut books = Books::default();
        let now = Instant::now();
        books.heard([1; 32], now);
        books.watching = true;
        for hash in [[2; 32], [3; 32], [2; 32]] {
            books.heard(hash, now);
        }
        let heard: Vec<_> =
            books.rounds.iter().map(|round| (round.prev_hash[0], round.heard.len())).collect();
        assert_eq!(heard, [(2, 2), (3, 1)]);
    }
}
