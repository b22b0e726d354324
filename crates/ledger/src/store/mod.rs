//! Where the journal and the tables derived from it are kept.
//!
//! A [`Store`] commits groups of journal rows, each group wholly or not at all and durably before it says so. The
//! tables are a snapshot of the state after some row, `folded`; the rows after it are the *tail*. Everything but
//! credits is folded in the very transaction that writes its row. Credits of the open epoch are folded when the
//! epoch closes, when the tail grows long or old, and when the writer is idle: so a commit under load appends to
//! the journal and touches nothing else, and opening replays a short tail, however long the journal is.

mod failure;
pub(crate) mod lock;
pub(crate) mod read;
mod schema;
mod sqlite;
pub(crate) mod wal;

#[cfg(test)]
pub(crate) mod tests;

use crate::{
    BlockHash, Epoch, State, Tables,
    journal::{Head, Row},
};
pub use failure::StoreError;
pub(crate) use read::ReadOnly;
pub use sqlite::SqliteStore;
use std::collections::{BTreeMap, BTreeSet};
use work::{Ehash, KeyMap};

/// Durable storage of one ledger, with one writer.
pub trait Store: Send + 'static {
    /// What was committed, or `None` of a store that is new. Called before anything else, and again after a commit
    /// failed: it then starts from what is on the disk, whatever the failed commit left.
    ///
    /// # Errors
    /// When it cannot be read, or is not what was written.
    fn recover(&mut self) -> Result<Option<Recovered>, StoreError>;

    /// Makes a group durable. After an error none of it is acknowledged; whether it is on the disk shows
    /// [`Store::recover`].
    ///
    /// # Errors
    /// When it could not be made durable, for instance on a full disk.
    fn commit(&mut self, group: &Group<'_>) -> Result<(), StoreError>;
}

/// What a store holds.
#[derive(Debug)]
pub struct Recovered {
    /// The tables.
    pub tables: Tables,
    /// The journal row that they are a snapshot after.
    pub folded: Head,
    /// The rows after it.
    pub tail: Vec<Row>,
}

/// What one transaction writes.
#[derive(Clone, Copy, Debug)]
pub struct Group<'a> {
    /// Rows to append to the journal.
    pub rows: &'a [Row],
    /// Whether to bring the tables up to the last of them.
    pub fold: Option<Fold<'a>>,
}

/// What the tables have to take in.
#[derive(Clone, Copy, Debug)]
pub struct Fold<'a> {
    /// The state after the group.
    pub state: &'a State,
    /// The last row of the group.
    pub head: Head,
    /// What changed since the tables were last brought up.
    pub changes: &'a Changes,
}

/// What changed since the tables were last brought up, beside the few rows that are written each time.
#[derive(Debug, Default)]
pub struct Changes {
    /// Credits to add, by epoch and key.
    pub credits: BTreeMap<Epoch, KeyMap<Ehash>>,
    /// Closed epochs whose row changed.
    pub epochs: BTreeSet<Epoch>,
    /// Blocks whose row or lines changed.
    pub blocks: BTreeSet<BlockHash>,
    /// Credits that the tail holds, counted by row and not by key: bounds how long the tail takes to replay.
    pub tail_credits: usize,
}

impl Changes {
    /// Notes what an event changed.
    pub fn note(&mut self, applied: &crate::Applied) {
        for assignment in &applied.assignments {
            let credits = self.credits.entry(assignment.epoch).or_default();
            let sum = credits.entry(assignment.key).or_insert(Ehash::ZERO);
            *sum = sum.checked_add(assignment.amount).expect("an epoch's credits sum to at most its Q");
        }
        self.tail_credits += applied.assignments.len().max(1);
        self.epochs.extend(&applied.epochs);
        self.blocks.extend(&applied.blocks);
    }

    /// Whether the tables are up to date.
    pub fn is_empty(&self) -> bool {
        self.tail_credits == 0
    }
}
