//! What becomes of an epoch after it closes, and the parameters that epochs have.

use super::{Applied, ClosedEpoch, State};
use crate::{BlockHash, Epoch, Msats, Outcome, Params, Refusal};
use serde::{Deserialize, Serialize};
use work::Ehash;

/// How far an epoch has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EpochState {
    /// Work is credited to it.
    Open,
    /// It holds its `Q` eHash; blocks found now pay it.
    Accruing,
    /// Blocks found from now on do not pay it; some found before are not final.
    Settling,
    /// All of its blocks are final: its eHash has its value.
    Redeemable,
    /// It took too long, and redeems as it is.
    Frozen,
    /// What was left of its pot went to the carry.
    Retired,
}

impl EpochState {
    pub(crate) const ALL: [EpochState; 6] = [
        EpochState::Open,
        EpochState::Accruing,
        EpochState::Settling,
        EpochState::Redeemable,
        EpochState::Frozen,
        EpochState::Retired,
    ];

    /// The name, as it is stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            EpochState::Open => "open",
            EpochState::Accruing => "accruing",
            EpochState::Settling => "settling",
            EpochState::Redeemable => "redeemable",
            EpochState::Frozen => "frozen",
            EpochState::Retired => "retired",
        }
    }

    /// Whether lines may still join its pot or leave it.
    pub fn is_provisional(self) -> bool {
        matches!(self, EpochState::Accruing | EpochState::Settling)
    }

    /// Whether its eHash has its value, and is redeemed.
    pub fn is_redeemable(self) -> bool {
        matches!(self, EpochState::Redeemable | EpochState::Frozen)
    }
}

/// One epoch, in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct EpochInfo {
    /// Its number.
    pub epoch: Epoch,
    /// How far it has come.
    pub state: EpochState,
    /// `Q`: what it holds when it closes.
    pub size: Ehash,
    /// What it holds. Equal to `size` unless it is open.
    pub credited: Ehash,
    /// What its eHash is worth together. Provisional before it is redeemable; what was swept has left it.
    pub pot: Msats,
    /// What went to the carry when it retired.
    pub swept: Msats,
    /// The chain's height from which it may retire. None before it is redeemable, and when it does not end by itself.
    pub redeemable_until: Option<u32>,
}

impl EpochInfo {
    /// `floor(pot · amount / Q)`: what an amount of its eHash redeems for, if nothing more joins the pot.
    pub fn value_of(&self, amount: Ehash) -> Option<Msats> {
        self.pot.mul_div_floor(amount.get(), self.size.get())
    }

    /// Whether the time is over for which it was to be redeemed, on a chain of this height.
    pub fn has_expired(&self, tip: Option<u32>) -> bool {
        self.redeemable_until.zip(tip).is_some_and(|(until, tip)| tip >= until)
    }

    /// The height until which it is still to be redeemed; none when nothing is promised any more, or never was.
    pub fn promised_until(&self, tip: Option<u32>) -> Option<u32> {
        self.redeemable_until.filter(|_| !self.has_expired(tip))
    }
}

impl State {
    /// The parameters that an epoch has, or will have if nothing changes.
    pub fn params_of(&self, epoch: Epoch) -> &Params {
        let (_, params) = self.params.range(..=epoch).next_back().expect("epoch 0 has parameters");
        params
    }

    /// The parameters that come last: those of the open epoch unless a change is scheduled.
    pub fn params_scheduled(&self) -> &Params {
        self.params.values().next_back().expect("epoch 0 has parameters")
    }

    /// One epoch; `None` if it is not open yet.
    pub fn epoch(&self, epoch: Epoch) -> Option<EpochInfo> {
        if epoch == self.open.epoch {
            return Some(EpochInfo {
                epoch,
                state: EpochState::Open,
                size: self.open.size,
                credited: self.open.filled,
                pot: Msats::ZERO,
                swept: Msats::ZERO,
                redeemable_until: None,
            });
        }
        let closed = self.closed.get(epoch.index())?;
        let size = self.params_of(epoch).epoch_size();
        let ClosedEpoch { state, pot, swept, redeemable_until } = *closed;
        Some(EpochInfo { epoch, state, size, credited: size, pot, swept, redeemable_until })
    }

    /// How many epochs are in a state.
    pub fn count_epochs(&self, state: EpochState) -> u32 {
        let count = self.closed.iter().filter(|epoch| epoch.state == state).count();
        u32::try_from(count).expect("epochs are numbered by a u32") + u32::from(state == EpochState::Open)
    }

    /// Makes epochs redeemable for which no block can change anything any more.
    pub(super) fn mature_epochs(&mut self, applied: &mut Applied) {
        let ready: Vec<Epoch> =
            self.settling.iter().copied().filter(|epoch| !self.waits_for_blocks(*epoch)).collect();
        for epoch in ready {
            self.settling.remove(&epoch);
            let until = self.params_of(epoch).redeemable_until(self.tip);
            let closed = &mut self.closed[epoch.index()];
            assert_eq!(closed.state, EpochState::Settling);
            closed.state = EpochState::Redeemable;
            closed.redeemable_until = until;
            let pot = closed.pot;
            applied.epochs.insert(epoch);
            applied.tell(Outcome::EpochRedeemable { epoch, pot });
        }
    }

    /// Whether a block that the chain has not decided about was found in the epoch's window.
    fn waits_for_blocks(&self, epoch: Epoch) -> bool {
        let first = (epoch.saturating_add(1), BlockHash::MIN);
        let last = (self.params_of(epoch).collects_until(epoch), BlockHash::MAX);
        self.unsettled.range(first..=last).next().is_some()
    }

    pub(super) fn freeze(&mut self, epoch: Epoch, applied: &mut Applied) -> Result<(), Refusal> {
        let state = self.closed_state(epoch)?;
        if state == EpochState::Frozen {
            applied.unchanged(Outcome::Unchanged);
            return Ok(());
        }
        if !state.is_provisional() {
            let (state, wanted, action) = (state.name(), "accruing or settling", "frozen");
            return Err(Refusal::EpochState { epoch, state, wanted, action });
        }
        // A frozen pot is redeemed at once, so nothing in it may be reversible.
        let paid_by = |hash: &&BlockHash| {
            self.blocks[*hash].payment.as_ref().is_some_and(|p| p.epochs.binary_search(&epoch).is_ok())
        };
        if let Some(block) = self.chain.iter().find(paid_by) {
            return Err(Refusal::EpochNotFinal { epoch, block: *block });
        }
        self.accruing.remove(&epoch);
        self.settling.remove(&epoch);
        let until = self.params_of(epoch).redeemable_until(self.tip);
        let closed = &mut self.closed[epoch.index()];
        closed.state = EpochState::Frozen;
        closed.redeemable_until = until;
        let pot = closed.pot;
        applied.epochs.insert(epoch);
        applied.tell(Outcome::EpochFrozen { epoch, pot });
        Ok(())
    }

    pub(super) fn retire(
        &mut self,
        epoch: Epoch,
        swept: Msats,
        applied: &mut Applied,
    ) -> Result<(), Refusal> {
        let state = self.closed_state(epoch)?;
        if !state.is_redeemable() {
            let (state, wanted, action) = (state.name(), "redeemable or frozen", "retired");
            return Err(Refusal::EpochState { epoch, state, wanted, action });
        }
        if let Some(until) = self.epoch(epoch).and_then(|info| info.promised_until(self.tip)) {
            return Err(Refusal::EpochPromised { epoch, until });
        }
        let closed = &mut self.closed[epoch.index()];
        let Some(redeemed) = closed.pot.checked_sub(swept) else {
            return Err(Refusal::SweptTooMuch { epoch, pot: closed.pot, swept });
        };
        closed.state = EpochState::Retired;
        closed.pot = redeemed;
        closed.swept = swept;
        self.totals.pots = self.totals.pots.checked_sub(swept).expect("a pot is part of all pots");
        self.totals.carry = self.totals.carry.checked_add(swept).expect("what is swept was part of rewards");
        applied.epochs.insert(epoch);
        applied.tell(Outcome::EpochRetired { epoch, swept });
        Ok(())
    }

    fn closed_state(&self, epoch: Epoch) -> Result<EpochState, Refusal> {
        let closed = self.closed.get(epoch.index());
        closed.map(|closed| closed.state).ok_or(Refusal::EpochNotClosed { epoch, open: self.open.epoch })
    }

    pub(super) fn change_params(
        &mut self,
        first_epoch: Epoch,
        params: &Params,
        applied: &mut Applied,
    ) -> Result<(), Refusal> {
        params.validate()?;
        if first_epoch <= self.open.epoch {
            return Err(Refusal::ParamsInForce { first_epoch, open: self.open.epoch });
        }
        if self.params.get(&first_epoch) == Some(params) {
            applied.unchanged(Outcome::Unchanged);
        } else {
            self.params.insert(first_epoch, *params);
            applied.tell(Outcome::ParamsScheduled { first_epoch });
        }
        Ok(())
    }
}
