//! The pool role: templates become jobs, shares become durable credit, headers that meet the network target become
//! blocks.
//!
//! ```text
//!   node ──templates──▶ TemplateFeed ──WorkUpdate──▶ Shard (one a core: connections, channels, jobs, shares)
//!     ▲                                               │ solution            │ credits, once per fsync
//!     └────────────── BlockSubmitter ◀────────────────┘                     ▼
//!     └─chain events─▶ ChainFollower ──blocks, tips──────────────────────▶ ledger
//! ```

mod assembly;
mod blocks;
mod chain;
mod config;
mod pool;
mod shard;
#[cfg(feature = "simulation")]
pub mod simulation;
mod stats;
mod templates;
mod ticks;
mod update;

pub use config::{ChannelLimits, MAX_TAG_LEN, PoolConfig};
pub use pool::{Parts, Pool, StartError};
pub use stats::{BlockReport, PoolStats, PoolTotals};
