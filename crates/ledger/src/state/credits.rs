//! Credits into epochs, exactly `Q` into each.

use super::{Applied, Assignment, ClosedEpoch, EpochState, State};
use crate::{Batch, Epoch, Msats, Outcome, Params, Refusal};
use std::mem;
use work::{Ehash, PayoutKey};

/// How many epochs' worth one batch may hold: one block's at the smallest epochs there can be. An epoch that closes
/// becomes a row and a map of its credits, so this is what bounds one event: to about a quarter of a second and 50 MB.
const BATCH_EPOCHS_MAX: u64 = 1 << Params::MAX_Q;

impl State {
    pub(super) fn credit(&mut self, batch: &Batch, applied: &mut Applied) -> Result<(), Refusal> {
        let (source, sequence) = (batch.source, batch.sequence);
        let last = self.last_sequence(source);
        if sequence == 0 {
            return Err(Refusal::BatchZero(source));
        }
        if sequence <= last {
            applied.unchanged(Outcome::Repeated { source, sequence, last });
            return Ok(());
        }
        if sequence != last + 1 {
            return Err(Refusal::Gap { source_name: source, expected: last + 1, got: sequence });
        }
        let total = self.check_room(batch)?;

        self.sources.insert(source, sequence);
        applied.tell(Outcome::Credited { total });
        let before = self.credited();
        for (key, amount) in &batch.credits {
            self.assign(*key, *amount, applied);
        }
        assert_eq!(self.credited(), before + u128::from(total.get()), "{source} batch {sequence}");
        if !applied.closed.is_empty() {
            self.close_windows(applied);
            self.settle(applied);
        }
        Ok(())
    }

    /// The most eHash that one batch may hold, whatever is scheduled. Never less than [`Ehash::ONE_BLOCK`], which is
    /// the most that one share earns; [`Batch::take_credits`] splits what is more.
    pub fn max_batch_credit(&self) -> Ehash {
        // A batch's sum is told as one amount, so it must be one.
        Ehash::new(self.smallest_epoch().saturating_mul(BATCH_EPOCHS_MAX))
    }

    fn smallest_epoch(&self) -> u64 {
        let sizes = self.params.values().map(|params| params.epoch_size().get());
        sizes.min().expect("epoch 0 has parameters")
    }

    /// The sum of a batch, if the books have room for it.
    fn check_room(&self, batch: &Batch) -> Result<Ehash, Refusal> {
        let limit = self.max_batch_credit();
        let total: u128 = batch.credits.iter().map(|(_, amount)| u128::from(amount.get())).sum();
        let sum = u64::try_from(total).ok().map(Ehash::new).filter(|sum| *sum <= limit);
        let sum = sum.ok_or(Refusal::BatchTooLarge { total, limit })?;
        let closes = sum.get() / self.smallest_epoch() + 1;
        if closes >= u64::from(u32::MAX - self.open.epoch.get()) {
            return Err(Refusal::EpochsExhausted);
        }
        Ok(sum)
    }

    /// Puts one credit into the open epoch, and what overflows into the next ones.
    fn assign(&mut self, key: PayoutKey, amount: Ehash, applied: &mut Applied) {
        let mut rest = amount.get();
        while rest > 0 {
            let room = self.open.size.get() - self.open.filled.get();
            assert!(room > 0, "epoch {} is full but open", self.open.epoch);
            let part = rest.min(room);
            let held = self.open.credits.entry(key).or_insert(Ehash::ZERO);
            *held = Ehash::new(held.get() + part);
            self.open.filled = Ehash::new(self.open.filled.get() + part);
            applied.assignments.push(Assignment { epoch: self.open.epoch, key, amount: Ehash::new(part) });
            rest -= part;
            if part == room {
                self.close_epoch(applied);
            }
        }
    }

    fn close_epoch(&mut self, applied: &mut Applied) {
        let epoch = self.open.epoch;
        let credits = mem::take(&mut self.open.credits);
        let sum: u128 = credits.values().map(|amount| u128::from(amount.get())).sum();
        assert_eq!(sum, u128::from(self.open.size.get()), "epoch {epoch} closes with another sum than its Q");
        assert_eq!(self.closed.len(), epoch.index());

        self.closed.push(ClosedEpoch {
            state: EpochState::Accruing,
            pot: Msats::ZERO,
            swept: Msats::ZERO,
            redeemable_until: None,
        });
        self.accruing.insert(epoch);
        applied.epochs.insert(epoch);
        applied.closed.push((epoch, credits));
        applied.tell(Outcome::EpochClosed(epoch));

        let next = epoch.next().expect("a batch is refused when epochs run out");
        self.open.epoch = next;
        self.open.size = self.params_of(next).epoch_size();
        self.open.filled = Ehash::ZERO;
    }

    /// Ends the collecting of epochs whose window has passed.
    fn close_windows(&mut self, applied: &mut Applied) {
        let open = self.open.epoch;
        let over: Vec<Epoch> = self
            .accruing
            .iter()
            .copied()
            .filter(|epoch| self.params_of(*epoch).collects_until(*epoch) < open)
            .collect();
        for epoch in over {
            self.accruing.remove(&epoch);
            self.settling.insert(epoch);
            self.closed[epoch.index()].state = EpochState::Settling;
            applied.epochs.insert(epoch);
            applied.tell(Outcome::EpochSettling(epoch));
        }
    }
}
