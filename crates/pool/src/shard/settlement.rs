//! From accepted shares to durable credit to acknowledgement.
//!
//! A shard has at most one batch of credits on its way to the disk. Shares that are accepted meanwhile gather in their
//! channels; when the batch is durable its shares are acknowledged and the next batch leaves. So the disk sets the pace:
//! an idle pool acknowledges at once, a busy one once per fsync, and no share is acknowledged before it is safe.

use std::time::{Duration, Instant};

use engine::{ConnId, ShardHandle, TrySendError};
use ledger::{Batch, LedgerError, LedgerHandle, Source};
use tracing::{error, info};
use work::{Ehash, KeyMap, PayoutKey};

use super::Command;
use crate::stats::PoolStats;

/// How long before the ledger's next commit a batch is sent: the distance of a shard's turns under load. A batch that
/// comes too late waits for the commit after it.
const AHEAD: Duration = Duration::from_millis(2);

/// Pause before a batch that the disk did not take is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Keys whose credits may wait for a batch. More than a shard sees between two batches of a healthy disk by far.
const MOST_KEYS: usize = 1 << 16;

/// A channel of a connection.
pub(super) type ChannelKey = (ConnId, u32);

enum InFlight {
    /// Nothing is on its way.
    None,
    /// At the ledger, since this time.
    Sent(Batch, Instant),
    /// The disk did not take it; again at this time.
    Retry(Batch, Instant),
}

/// Gathers a shard's credits and knows which channels wait for their acknowledgement.
pub(super) struct Settlement {
    ledger: LedgerHandle,
    stats: PoolStats,
    source: Source,
    sequence: u64,
    in_flight: InFlight,
    /// Before this the ledger commits nothing, so a batch would only wait there, and what comes meanwhile behind it.
    gather_until: Option<Instant>,
    /// What is left of the credits that are on their way: more than one batch may hold goes in parts.
    rest: Vec<(PayoutKey, Ehash)>,
    /// Channels with shares in the credits that are on their way.
    waiting: Vec<ChannelKey>,
    /// Channels with shares that are in no batch yet.
    touched: Vec<ChannelKey>,
    /// Credits of shares that are in no batch yet, in the order in which their keys came: one run of events gives one
    /// journal.
    credits: Vec<(PayoutKey, Ehash)>,
    /// Where in `credits` a key's sum is.
    places: KeyMap<usize>,
    /// The same, of keys whose sum would not fit its number.
    overflow: Vec<(PayoutKey, Ehash)>,
    /// When the first batch was sent that the disk did not take, until it takes one.
    failing_since: Option<Instant>,
    /// A batch that takes longer is as bad as one that fails.
    slow: Duration,
}

impl Settlement {
    /// Goes on after `last_sequence`, the last batch of `source` in the journal.
    pub(super) fn new(
        ledger: LedgerHandle,
        stats: PoolStats,
        source: Source,
        last_sequence: u64,
        slow: Duration,
    ) -> Self {
        Self {
            ledger,
            stats,
            source,
            sequence: last_sequence,
            in_flight: InFlight::None,
            gather_until: None,
            rest: Vec::new(),
            waiting: Vec::new(),
            touched: Vec::new(),
            credits: Vec::new(),
            places: KeyMap::default(),
            overflow: Vec::new(),
            failing_since: None,
            slow,
        }
    }

    /// Whether a share for this key can be taken in. Always, unless the disk has taken nothing for long.
    pub(super) fn has_room_for(&self, key: &PayoutKey) -> bool {
        self.credits.len() + self.overflow.len() < MOST_KEYS
            || self.overflow.len() < MOST_KEYS && self.places.contains_key(key)
    }

    /// For how long the ledger has taken nothing, if it is failing or slow.
    pub(super) fn stuck_for(&self, now: Instant) -> Option<Duration> {
        let since = match (self.failing_since, &self.in_flight) {
            (Some(since), _) => return Some(now.saturating_duration_since(since)),
            (None, InFlight::Sent(_, since)) => *since,
            (None, InFlight::None | InFlight::Retry(..)) => return None,
        };
        Some(now.saturating_duration_since(since)).filter(|waited| *waited >= self.slow)
    }

    /// Whether the ledger is failing or slow.
    pub(super) fn is_stuck(&self, now: Instant) -> bool {
        self.stuck_for(now).is_some()
    }

    /// Adds one accepted share. `waits` is its channel, if that had no share waiting for a batch.
    pub(super) fn credit(&mut self, waits: Option<ChannelKey>, key: PayoutKey, amount: Ehash) {
        self.touched.extend(waits);
        let place = *self.places.entry(key).or_insert(self.credits.len());
        let Some((_, sum)) = self.credits.get_mut(place) else { return self.credits.push((key, amount)) };
        match sum.checked_add(amount) {
            Some(more) => *sum = more,
            None => self.overflow.push((key, std::mem::replace(sum, amount))),
        }
    }

    /// Sends the next batch if none is on its way and the ledger can commit it soon. Returns in how many channels its
    /// shares are, see [`Self::waiting`]: their pending acknowledgements are now those of the batch.
    pub(super) fn send(&mut self, now: Instant, shard: &ShardHandle<Command>) -> usize {
        match std::mem::replace(&mut self.in_flight, InFlight::None) {
            InFlight::None if !self.rest.is_empty() => {
                self.commit_part(now, shard);
                0
            }
            InFlight::None if self.credits.is_empty() && self.touched.is_empty() => 0,
            InFlight::None if self.gather_until.is_some_and(|until| now < until) => 0,
            InFlight::None => {
                self.rest.extend(self.overflow.drain(..).chain(self.credits.drain(..)));
                self.places.clear();
                std::mem::swap(&mut self.waiting, &mut self.touched);
                debug_assert!(self.touched.is_empty(), "the channels of the batch before were acknowledged");
                self.commit_part(now, shard);
                self.waiting.len()
            }
            InFlight::Retry(batch, at) if at <= now => {
                self.commit(batch, now, shard);
                0
            }
            other => {
                self.in_flight = other;
                0
            }
        }
    }

    /// One of the channels with shares in the batch that was sent last.
    pub(super) fn waiting(&self, index: usize) -> ChannelKey {
        self.waiting[index]
    }

    fn commit_part(&mut self, now: Instant, shard: &ShardHandle<Command>) {
        self.sequence += 1;
        let credits = Batch::take_credits(&mut self.rest, self.ledger.max_batch_credit());
        self.commit(Batch { source: self.source, sequence: self.sequence, credits }, now, shard);
    }

    fn commit(&mut self, batch: Batch, now: Instant, shard: &ShardHandle<Command>) {
        let shard = shard.clone();
        self.in_flight = InFlight::Sent(batch.clone(), now);
        self.ledger.commit(batch, move |result| {
            let command = Command::Committed(result.map(|receipt| receipt.pause));
            match shard.try_send(command) {
                // A ledger that stopped answers on the shard's own thread, which must not wait for itself; the process
                // is about to end.
                Err(TrySendError::Full(Command::Committed(Err(LedgerError::Stopped)))) => {}
                // On the ledger's thread, which may wait: the shard never waits for the ledger.
                Err(TrySendError::Full(command)) => drop(shard.send(command)),
                // A shard that stopped needs no answer.
                Ok(()) | Err(TrySendError::Stopped(_)) => {}
            }
        });
    }

    /// Takes the ledger's answer. Returns the channels to acknowledge, none while a batch has to be tried again or a
    /// part is left.
    pub(super) fn committed(
        &mut self,
        result: Result<Duration, LedgerError>,
        now: Instant,
    ) -> Vec<ChannelKey> {
        let InFlight::Sent(batch, sent) = std::mem::replace(&mut self.in_flight, InFlight::None) else {
            return Vec::new();
        };
        match result {
            Ok(pause) => {
                self.gather_until = Some(now + pause.saturating_sub(AHEAD));
                if self.failing_since.take().is_some() {
                    info!("the ledger takes credits again");
                }
                if self.rest.is_empty() { std::mem::take(&mut self.waiting) } else { Vec::new() }
            }
            Err(error @ LedgerError::Refused(_)) => {
                // Trying again cannot help, and going on would leave this shard's shares without acknowledgement.
                error!(%error, "the ledger refuses this shard's credits; the pool stops");
                self.stats.fail();
                self.in_flight = InFlight::Sent(batch, sent);
                Vec::new()
            }
            Err(error) => {
                if self.failing_since.is_none() {
                    error!(%error, "credits not durable, so shares are not acknowledged; trying again");
                    self.failing_since = Some(sent);
                }
                self.stats.ledger_retried();
                self.in_flight = InFlight::Retry(batch, now + RETRY_PAUSE);
                Vec::new()
            }
        }
    }

    /// Gives back the list that [`Self::committed`] took, so that its memory is used again.
    pub(super) fn recycle(&mut self, mut channels: Vec<ChannelKey>) {
        if self.waiting.is_empty() {
            channels.clear();
            self.waiting = channels;
        }
    }

    /// Whether every share that was accepted is durable, and acknowledged as far as its channel is open.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.in_flight, InFlight::None)
            && self.rest.is_empty()
            && self.credits.is_empty()
            && self.touched.is_empty()
    }

    /// When [`Self::send`] has to be called again although nothing happens.
    pub(super) fn send_at(&self) -> Option<Instant> {
        match &self.in_flight {
            InFlight::Retry(_, at) => Some(*at),
            InFlight::None => self.gather_until.filter(|_| !self.is_idle()),
            InFlight::Sent(..) => None,
        }
    }
}

#[cfg(test)]
mod tests;
