//! Load for Stratum V2 pools, ours or anybody's: many connections with many channels each, and five questions.
//!
//! * [`throughput`](fn@throughput): how many valid shares does the pool take, what does one cost it, and how long is
//!   one unanswered? The shares are found before the measured run, so that the run measures the pool.
//! * [`idle`](fn@idle): how fast are connections set up, and how much memory does one take, also after reconnects?
//! * [`fanout`](fn@fanout): how long does a new block take to reach the first, the middle and the last client?
//! * [`churn`](fn@churn): do the pool's memory and descriptors stay what they are while connections come and go?
//! * [`hostile`](fn@hostile): what do good devices notice while others misbehave in every way there is?
//!
//! From the inside out: `link` is a socket with its encryption, `session` the protocol on it, `submitter` the shares
//! of a channel, `worker` a thread that serves thousands of connections, `crowd` all of the workers, and each question
//! has its module. Nothing here is shared with the pools that are measured but the protocol's library.

mod board;
mod churn;
mod crowd;
mod fanout;
mod histogram;
mod hostile;
mod idle;
mod link;
mod outstanding;
mod plan;
mod process;
mod report;
mod run;
mod session;
mod stock;
mod submitter;
mod throughput;
mod worker;

pub use churn::churn;
pub use fanout::fanout;
pub use histogram::{Histogram, nearest_rank};
pub use hostile::{Attack, AttackError, AttackKind, hostile};
pub use idle::idle;
pub use plan::{
    ChurnPlan, FanoutPlan, Fleet, HostilePlan, IdlePlan, LocalAddresses, LocalAddressesError, PlanError,
    ThroughputPlan,
};
pub use process::{CpuTime, ProcessError, cpu_time, descriptors, resident_bytes};
pub use report::{
    Assault, AttackReport, BlockReport, ChurnReport, Client, Effect, FanoutReport, HostileReport, IdleReport,
    Phase, Sample, ServerCost, SetUp, Shares, ThroughputReport, Trend, Watched, WaveReport,
};
pub use throughput::throughput;

use std::collections::BTreeMap;

/// Why a run gave no result.
#[derive(Debug, thiserror::Error)]
pub enum SwarmError {
    /// The plan cannot be carried out.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The first connection failed, so there is no use in thousands.
    #[error("--pool {pool}: {error}")]
    Pool {
        /// Host and port.
        pool: String,
        /// What went wrong on the connection.
        error: engine::client::ClientError,
    },
    /// Not one connection came to be.
    #[error("no connection was set up{}", reasons(.0))]
    NoConnection(BTreeMap<String, u64>),
    /// The channels are open but there is nothing to do on them.
    #[error("no channel has work for which shares can be prepared{}", reasons(.0))]
    NoWork(BTreeMap<String, u64>),
    /// Shares are too hard to be prepared.
    #[error(
        "a share takes {hashes} hashes, too many to prepare one for each of {channels} channels in {seconds} s; \
         lower the pool's minimum difficulty (min_share_hashes), or raise --prepare-seconds"
    )]
    HardShares {
        /// Expected for one share.
        hashes: u128,
        /// That need shares.
        channels: usize,
        /// That were given.
        seconds: u64,
    },
    /// A new block came each time that shares were ready.
    #[error(
        "the pool's tip changed whenever the shares were ready; use a chain with rarer blocks, or fewer --shares"
    )]
    RestlessTip,
    /// Nothing arrived although a block was made or expected.
    #[error(
        "no new block arrived at any client in {seconds} s; check --trigger-cmd, or make a block during the run"
    )]
    NoBlock {
        /// That were waited for.
        seconds: u64,
    },
    /// The trigger cannot be run.
    #[error("--trigger-cmd {command:?}: {reason}")]
    Trigger {
        /// As given.
        command: String,
        /// What went wrong.
        reason: String,
    },
    /// The server's process cannot be observed.
    #[error("--server-pid: {0}")]
    Process(#[from] ProcessError),
    /// The system gives no thread or no poll.
    #[error("a thread of the load generator cannot be started: {0}")]
    Thread(std::io::Error),
    /// A thread of the load generator ended.
    #[error("a thread of the load generator ended early; this is a bug")]
    WorkerGone,
    /// The owner wants to stop.
    #[error("interrupted before there was a result")]
    Interrupted,
}

fn reasons(reasons: &BTreeMap<String, u64>) -> String {
    let listed: Vec<String> = reasons.iter().map(|(reason, count)| format!("{count} × {reason}")).collect();
    if listed.is_empty() { String::new() } else { format!(": {}", listed.join("; ")) }
}

/// Says whether the owner wants the run to end early.
pub type Stopped<'a> = &'a dyn Fn() -> bool;
