//! The books at a glance.

use super::books::Books;
use crate::{BlockStatus, Epoch, EpochState, Msats, State};
use serde::{Serialize, Serializer};
use work::Ehash;

/// Sums after the last commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The epoch that work is credited to.
    pub open_epoch: Epoch,
    /// How much it holds.
    pub filled: Ehash,
    /// How much it will hold.
    pub epoch_size: Ehash,
    /// The most that one batch may hold: [`State::max_batch_credit`].
    pub max_batch_credit: Ehash,
    /// Keys that have credits in it.
    pub keys_open: usize,
    /// All eHash ever credited.
    #[serde(serialize_with = "number_or_text")]
    pub credited: u128,
    /// What all blocks in the books paid. `pots + carry + fees = rewards`.
    pub rewards: Msats,
    /// The operator's part.
    pub fees: Msats,
    /// What the next block's epochs get on top.
    pub carry: Msats,
    /// What is in all pots.
    pub pots: Msats,
    /// The chain's height, once known.
    pub tip: Option<u32>,
    /// Rows of the journal.
    pub journal_rows: u64,
    /// Batches counted.
    pub batches: u64,
    /// Blocks by where they stand.
    pub blocks: BlockCounts,
    /// Epochs by how far they have come.
    pub epochs: EpochCounts,
    /// Whether the writer is there: [`super::Ledger::is_running`].
    pub running: bool,
    /// Why the last commit failed, or why the writer ended. `None` as soon as a commit succeeds.
    pub disk_error: Option<String>,
}

/// JSON's writers know no numbers beyond 64 bits, which test chains come to.
fn number_or_text<S: Serializer>(sum: &u128, serializer: S) -> Result<S::Ok, S::Error> {
    match u64::try_from(*sum) {
        Ok(sum) => serializer.serialize_u64(sum),
        Err(_) => serializer.collect_str(sum),
    }
}

/// Blocks by [`BlockStatus`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct BlockCounts {
    pub found: u32,
    pub connected: u32,
    pub disconnected: u32,
    pub finals: u32,
    pub stale: u32,
    pub lost: u32,
}

/// Epochs by [`EpochState`]; one more is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct EpochCounts {
    pub accruing: u32,
    pub settling: u32,
    pub redeemable: u32,
    pub frozen: u32,
    pub retired: u32,
}

impl EpochCounts {
    /// Epochs that hold their `Q`, whatever became of them.
    pub fn closed(&self) -> u32 {
        self.accruing + self.settling + self.redeemable + self.frozen + self.retired
    }

    fn of(state: &State) -> EpochCounts {
        EpochCounts {
            accruing: state.count_epochs(EpochState::Accruing),
            settling: state.count_epochs(EpochState::Settling),
            redeemable: state.count_epochs(EpochState::Redeemable),
            frozen: state.count_epochs(EpochState::Frozen),
            retired: state.count_epochs(EpochState::Retired),
        }
    }
}

impl BlockCounts {
    /// Blocks whose reward is in the books.
    pub fn paid(&self) -> u32 {
        self.connected + self.finals + self.lost
    }

    fn of(state: &State) -> BlockCounts {
        let mut counts = BlockCounts::default();
        for block in state.blocks() {
            *match block.status {
                BlockStatus::Found => &mut counts.found,
                BlockStatus::Connected => &mut counts.connected,
                BlockStatus::Disconnected => &mut counts.disconnected,
                BlockStatus::Final => &mut counts.finals,
                BlockStatus::Stale => &mut counts.stale,
                BlockStatus::Lost => &mut counts.lost,
            } += 1;
        }
        counts
    }
}

impl Summary {
    pub(super) fn of(books: &Books) -> Summary {
        let state = &books.state;
        let totals = state.totals();
        Summary {
            open_epoch: state.open_epoch(),
            filled: state.filled(),
            epoch_size: state.open_size(),
            max_batch_credit: state.max_batch_credit(),
            keys_open: state.open_credits().len(),
            credited: state.credited(),
            rewards: totals.rewards,
            fees: totals.fees,
            carry: totals.carry,
            pots: totals.pots,
            tip: state.tip(),
            journal_rows: books.head.sequence,
            batches: state.sources().map(|(_, last)| last).sum(),
            blocks: BlockCounts::of(state),
            epochs: EpochCounts::of(state),
            running: true,
            disk_error: None,
        }
    }

    /// Takes in a commit. Blocks and epochs are only counted again when the tables were brought up, as they do not
    /// change otherwise; and when the books were read back, as the commit that failed may be on the disk.
    pub(super) fn update(&mut self, books: &Books, wrote: bool, read_back: bool) {
        let disk_error = self.disk_error.take().filter(|_| !wrote);
        if books.changes.is_empty() || read_back {
            *self = Summary::of(books);
        } else {
            let state = &books.state;
            self.filled = state.filled();
            self.keys_open = state.open_credits().len();
            self.credited = state.credited();
            self.journal_rows = books.head.sequence;
            self.batches = state.sources().map(|(_, last)| last).sum();
            debug_assert_eq!(
                self.open_epoch,
                state.open_epoch(),
                "the tables are brought up when an epoch closes"
            );
        }
        self.disk_error = disk_error;
    }
}
