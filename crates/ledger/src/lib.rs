//! The pool's books: eHash credited by epoch and payout key, pots of the blocks found, and the journal that
//! both are derived from.
//!
//! The core is [`State`], a pure state machine without I/O, clock or threads: an [`Event`] goes in, [`Outcome`]s
//! come out, and every balance is asserted where it changes. [`Ledger`] puts one writer thread around it: whatever
//! waits in its queue becomes one transaction and one fsync, and only then is anybody told that it happened.
//! [`Reader`] reads committed books beside it, and [`verify()`] replays the whole journal and compares.
//!
//! Amounts are integers throughout. A share's credit counts `work::Ehash` (`2^50` are one expected block), money
//! counts millisatoshi ([`Msats`]).

pub use block::{Block, BlockHash, BlockHashError, BlockStatus, Line, Payment};
pub use event::{Batch, ChainBlock, Event, FoundBlock, Outcome, Refusal, Source};
pub use outlook::Outlook;
pub use params::{Params, ParamsDifference, ParamsError};
pub use reader::Reader;
pub use state::{Applied, Assignment, EpochInfo, EpochState, State, Tables, Totals};
pub use store::{Store, StoreError};
pub use units::{Epoch, Msats, Sats};
pub use verify::{Fault, Report, verify};
#[cfg(feature = "simulation")]
pub use writer::simulation;
pub use writer::{
    BlockCounts, EpochCounts, Ledger, LedgerError, LedgerHandle, OpenError, Options, Receipt, Summary,
};

mod block;
mod event;
pub mod journal;
mod outlook;
mod params;
mod reader;
mod state;
pub mod store;
mod units;
mod verify;
mod writer;
