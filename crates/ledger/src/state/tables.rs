//! The state laid flat, as the store keeps it.

use super::{ClosedEpoch, EpochInfo, EpochState, OpenEpoch, State, Totals};
use crate::{Block, BlockHash, BlockStatus, Epoch, Msats, Params, Source};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use thiserror::Error;
use work::{Ehash, PayoutKey};

/// All of a state except the credits of closed epochs. Two states are equal exactly if their tables are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// Parameters by the first epoch that has them.
    pub params: Vec<(Epoch, Params)>,
    /// All epochs, the open one last.
    pub epochs: Vec<EpochInfo>,
    /// Credits of the open epoch, by key.
    pub open_credits: Vec<(PayoutKey, Ehash)>,
    /// All blocks, by hash.
    pub blocks: Vec<Block>,
    /// The last batch of each source.
    pub sources: Vec<(Source, u64)>,
    /// The sums.
    pub totals: Totals,
    /// The chain's height.
    pub tip: Option<u32>,
    /// How many leases were taken.
    pub leases_taken: u32,
}

/// Tables that no sequence of events can lead to.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Inconsistent(pub String);

macro_rules! require {
    ($holds:expr, $($message:tt)*) => {
        if !$holds {
            return Err(Inconsistent(format!($($message)*)));
        }
    };
}

impl State {
    /// The state laid flat, in a fixed order.
    pub fn tables(&self) -> Tables {
        let mut open_credits: Vec<_> =
            self.open.credits.iter().map(|(key, amount)| (*key, *amount)).collect();
        open_credits.sort_unstable();
        Tables {
            params: self.params.iter().map(|(epoch, params)| (*epoch, *params)).collect(),
            epochs: (0..=self.open.epoch.get()).filter_map(|epoch| self.epoch(Epoch(epoch))).collect(),
            open_credits,
            blocks: self.blocks.values().cloned().collect(),
            sources: self.sources().collect(),
            totals: self.totals,
            tip: self.tip,
            leases_taken: self.leases_taken,
        }
    }

    /// Parameters by the first epoch that has them.
    pub fn params_by_epoch(&self) -> impl Iterator<Item = (Epoch, &Params)> {
        self.params.iter().map(|(epoch, params)| (*epoch, params))
    }

    /// The state that these tables are of.
    ///
    /// # Errors
    /// When they break an invariant, saying which row.
    pub fn restore(tables: Tables) -> Result<State, Inconsistent> {
        let Some(((Epoch::ZERO, first), Some(open))) =
            tables.params.first().copied().zip(Some(tables.epochs.last()))
        else {
            return Err(Inconsistent("epoch 0 has no parameters".into()));
        };
        for (epoch, params) in &tables.params {
            require!(params.validate().is_ok(), "parameters of epoch {epoch} are out of bounds");
        }
        let mut state = State::create(first).map_err(|e| Inconsistent(e.to_string()))?;
        state.params = tables.params.into_iter().collect();
        state.open = OpenEpoch {
            epoch: open.epoch,
            size: state.params_of(open.epoch).epoch_size(),
            filled: open.credited,
            credits: tables.open_credits.into_iter().collect(),
        };
        state.restore_epochs(&tables.epochs)?;
        state.blocks = tables.blocks.into_iter().map(|block| (block.hash, block)).collect();
        state.restore_chain();
        state.sources = tables.sources.into_iter().collect::<BTreeMap<_, _>>();
        state.totals = tables.totals;
        state.tip = tables.tip;
        state.leases_taken = tables.leases_taken;
        state.check()?;
        Ok(state)
    }

    fn restore_epochs(&mut self, epochs: &[EpochInfo]) -> Result<(), Inconsistent> {
        for (number, info) in epochs.iter().enumerate() {
            let EpochInfo { epoch, state, size, credited, pot, swept, redeemable_until } = *info;
            require!(epoch.index() == number, "epoch {number} is missing");
            let is_open = epoch == self.open.epoch;
            require!(is_open == (state == EpochState::Open), "epoch {epoch} is said to be {}", state.name());
            require!(size == self.params_of(epoch).epoch_size(), "epoch {epoch} has another size than its Q");
            if is_open {
                require!(credited < size, "epoch {epoch} is full but open");
                require!(pot == Msats::ZERO && swept == Msats::ZERO, "epoch {epoch} is open but has a pot");
                continue;
            }
            require!(credited == size, "epoch {epoch} is closed but not full");
            require!(
                swept == Msats::ZERO || state == EpochState::Retired,
                "epoch {epoch} was swept but is not retired"
            );
            require!(
                redeemable_until.is_none() || !state.is_provisional(),
                "epoch {epoch} has an end but is not redeemable"
            );
            self.closed.push(ClosedEpoch { state, pot, swept, redeemable_until });
            match state {
                EpochState::Accruing => self.accruing.insert(epoch),
                EpochState::Settling => self.settling.insert(epoch),
                _ => true,
            };
        }
        Ok(())
    }

    fn restore_chain(&mut self) {
        let unsettled = self.blocks.values().filter(|block| block.status.is_unsettled());
        self.unsettled = unsettled.map(|block| (block.epoch, block.hash)).collect::<BTreeSet<_>>();
        let connected = self.blocks.values().filter(|block| block.status == BlockStatus::Connected);
        let mut chain: Vec<(u32, BlockHash)> = connected.map(|block| (block.height, block.hash)).collect();
        chain.sort_unstable();
        self.chain = chain.into_iter().map(|(_, hash)| hash).collect::<VecDeque<_>>();
    }

    /// Checks every invariant from scratch. It takes time in proportion to all epochs and blocks: for opening and
    /// verifying, not for each event.
    ///
    /// # Errors
    /// Names the first that does not hold.
    pub fn check(&self) -> Result<(), Inconsistent> {
        let held: u128 = self.open.credits.values().map(|amount| u128::from(amount.get())).sum();
        require!(
            held == u128::from(self.open.filled.get()),
            "credits of open epoch {} sum to {held}, but it holds {}",
            self.open.epoch,
            self.open.filled
        );
        require!(self.totals.balance(), "pots + carry + fees are not rewards: {:?}", self.totals);
        self.check_blocks()?;
        let pots: u128 = self.closed.iter().map(|closed| u128::from(closed.pot.get())).sum();
        require!(pots == u128::from(self.totals.pots.get()), "pots sum to {pots}, not {}", self.totals.pots);
        require!(
            self.chain
                .iter()
                .zip(self.chain.iter().skip(1))
                .all(|(low, high)| { self.blocks[low].height < self.blocks[high].height }),
            "two connected blocks have one height"
        );
        for epoch in &self.accruing {
            let until = self.params_of(*epoch).collects_until(*epoch);
            require!(until >= self.open.epoch, "epoch {epoch} is accruing after its window closed");
        }
        Ok(())
    }

    /// Rewards, fees and every pot, once more from the blocks' lines.
    fn check_blocks(&self) -> Result<(), Inconsistent> {
        let mut pots = vec![0u128; self.closed.len()];
        let (mut rewards, mut fees) = (0u128, 0u128);
        for block in self.blocks.values() {
            let hash = block.hash;
            require!(block.epoch <= self.open.epoch, "block {hash} was found in epoch {}", block.epoch);
            require!(
                block.status.is_paid() == block.payment.is_some(),
                "block {hash} is {} but its lines say otherwise",
                block.status.name()
            );
            let Some(payment) = &block.payment else { continue };
            rewards += u128::from(block.reward.get());
            fees += u128::from(payment.fee.get());
            let lines = payment.per_epoch.get() as u128 * payment.epochs.len() as u128;
            let parts = lines + u128::from(payment.fee.get()) + u128::from(payment.carry_out.get());
            let whole = u128::from(block.reward.get()) + u128::from(payment.carry_in.get());
            require!(parts == whole, "block {hash} is not divided exactly");
            for epoch in &payment.epochs {
                require!(
                    *epoch < block.epoch,
                    "block {hash} pays epoch {epoch}, which was not closed before it"
                );
                let pot = pots.get_mut(epoch.index());
                *pot.ok_or_else(|| Inconsistent(format!("block {hash} pays epoch {epoch}")))? +=
                    u128::from(payment.per_epoch.get());
            }
        }
        let totals = self.totals;
        require!(
            rewards == u128::from(totals.rewards.get()),
            "blocks paid {rewards}, not {}",
            totals.rewards
        );
        require!(fees == u128::from(totals.fees.get()), "fees sum to {fees}, not {}", totals.fees);
        for (number, closed) in self.closed.iter().enumerate() {
            let held = u128::from(closed.pot.get()) + u128::from(closed.swept.get());
            require!(
                held == pots[number],
                "lines of epoch {number} sum to {}, its pot to {held}",
                pots[number]
            );
        }
        Ok(())
    }
}
