//! What the auditor found.

use crate::{EpochState, State, Totals};
use serde::Serialize;
use std::fmt;

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Where: the journal row, or the table and its row.
    pub place: String,
    /// What.
    pub text: String,
}

/// What the auditor found, and how much it looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Empty if all holds.
    pub faults: Vec<Fault>,
    /// Journal rows replayed.
    pub journal_rows: u64,
    /// Running hash after the last of them. Keep one to prove later that nothing before it was rewritten.
    pub head: String,
    /// Epochs that hold their `Q`.
    pub epochs_closed: u32,
    /// Those of them that are redeemable.
    pub epochs_redeemable: u32,
    /// All eHash credited.
    pub credited: u128,
    /// Batches counted.
    pub batches: u64,
    /// Blocks that pay the pool.
    pub blocks: u64,
    /// pots + carry + fees = rewards.
    pub totals: Totals,
}

impl Report {
    /// Whether all holds.
    pub fn is_clean(&self) -> bool {
        self.faults.is_empty()
    }

    pub(super) fn fault(&mut self, place: &str, text: impl fmt::Display) {
        self.faults.push(Fault { place: place.into(), text: text.to_string() });
    }

    pub(super) fn describe(&mut self, state: &State) {
        self.epochs_closed = state.open_epoch().get();
        self.epochs_redeemable = state.count_epochs(EpochState::Redeemable);
        self.credited = state.credited();
        self.batches = state.sources().map(|(_, last)| last).sum();
        self.blocks = state.blocks().count() as u64;
        self.totals = state.totals();
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Totals { rewards, fees, carry, pots } = self.totals;
        writeln!(f, "journal   {} rows, head {}", self.journal_rows, self.head)?;
        writeln!(f, "work      {} eHash in {} batches", self.credited, self.batches)?;
        writeln!(f, "epochs    {} closed, {} redeemable", self.epochs_closed, self.epochs_redeemable)?;
        writeln!(f, "blocks    {}", self.blocks)?;
        writeln!(f, "money     pots {pots} + carry {carry} + fees {fees} = rewards {rewards}")?;
        if self.is_clean() {
            return write!(f, "clean: the journal and every table agree");
        }
        write!(f, "{} FAULTS", self.faults.len())?;
        self.faults.iter().try_for_each(|fault| write!(f, "\n  {}: {}", fault.place, fault.text))
    }
}
