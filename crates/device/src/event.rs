//! What a device tells its owner.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use work::{Difficulty, Ehash, HashRate, Kind, Target};

/// Something happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviceEvent {
    /// A connection is being made.
    Connecting {
        /// `host:port`.
        pool: String,
    },
    /// The connection stands and is encrypted.
    Connected {
        /// `host:port`.
        pool: String,
    },
    /// The pool opened a channel.
    ChannelOpened {
        /// Its id.
        channel_id: u32,
        /// Its first target.
        target: Target,
        /// Standard, or extended with so many bytes of extranonce.
        kind: Kind,
    },
    /// A job is being mined.
    NewJob {
        /// Its id.
        job_id: u32,
        /// The block that it builds on, as in the header.
        prev_hash: [u8; 32],
        /// Whether that block is new.
        new_block: bool,
    },
    /// The pool set a target for the jobs to come.
    TargetChanged {
        /// The target.
        target: Target,
    },
    /// Shares were acknowledged.
    SharesAccepted {
        /// How many.
        count: u64,
        /// What they are worth.
        credit: Ehash,
    },
    /// A share was refused.
    ShareRejected {
        /// The pool's code, escaped.
        code: String,
    },
    /// A submitted share met the network target.
    BlockFound {
        /// The block's hash, little-endian as a number.
        hash: [u8; 32],
    },
    /// A connection ended or did not come about.
    Disconnected {
        /// `host:port`.
        pool: String,
        /// Why.
        reason: String,
        /// When the next attempt is made; `None` if there is none.
        retry_in: Option<Duration>,
    },
    /// Something worth a line in a log.
    Notice(String),
    /// The device has stopped; nothing follows.
    Stopped,
}

impl fmt::Display for DeviceEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceEvent::Connecting { pool } => write!(f, "connecting to {pool}"),
            DeviceEvent::Connected { pool } => write!(f, "connected to {pool}"),
            DeviceEvent::ChannelOpened { channel_id, target, kind: Kind::Standard } => {
                write!(f, "standard channel {channel_id} open, difficulty {}", target.difficulty())
            }
            DeviceEvent::ChannelOpened { channel_id, target, kind: Kind::Extended { rollable } } => write!(
                f,
                "extended channel {channel_id} open, difficulty {}, {rollable} bytes of extranonce",
                target.difficulty()
            ),
            DeviceEvent::NewJob { job_id, prev_hash, new_block } => {
                let news = if *new_block { "new block, " } else { "" };
                write!(f, "{news}job {job_id} on {}", DisplayHash(prev_hash))
            }
            DeviceEvent::TargetChanged { target } => write!(f, "difficulty {}", target.difficulty()),
            DeviceEvent::SharesAccepted { count, credit } => write!(f, "{count} accepted, {credit} eHash"),
            DeviceEvent::ShareRejected { code } => write!(f, "share rejected: {code}"),
            DeviceEvent::BlockFound { hash } => write!(f, "block found: {}", DisplayHash(hash)),
            DeviceEvent::Disconnected { pool, reason, retry_in: Some(delay) } => {
                write!(f, "{pool}: {reason}; next attempt in {} ms", delay.as_millis())
            }
            DeviceEvent::Disconnected { pool, reason, retry_in: None } => write!(f, "{pool}: {reason}"),
            DeviceEvent::Notice(text) => f.write_str(text),
            DeviceEvent::Stopped => f.write_str("stopped"),
        }
    }
}

/// Shows a hash as block explorers do, most significant byte first.
struct DisplayHash<'a>(&'a [u8; 32]);

impl fmt::Display for DisplayHash<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().rev().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What a device is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceState {
    /// Measuring its speed, starting threads.
    Starting,
    /// Connecting to a pool.
    Connecting,
    /// Agreeing on channel and first job.
    Opening,
    /// Hashing.
    Mining,
    /// Pausing before the next attempt.
    Waiting,
    /// Done.
    Stopped,
}

impl fmt::Display for DeviceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DeviceState::Starting => "starting",
            DeviceState::Connecting => "connecting",
            DeviceState::Opening => "opening a channel",
            DeviceState::Mining => "mining",
            DeviceState::Waiting => "waiting",
            DeviceState::Stopped => "stopped",
        })
    }
}

/// A device's figures at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceStats {
    /// What it is doing.
    pub state: DeviceState,
    /// The same for humans, with the last reason for not mining.
    pub state_text: String,
    /// `host:port` of the pool in use.
    pub pool: Option<String>,
    /// Over the last ten seconds.
    pub hash_rate: HashRate,
    /// Hashes since the start.
    pub hashes: u64,
    /// Shares sent.
    pub shares_submitted: u64,
    /// Shares acknowledged.
    pub shares_accepted: u64,
    /// Shares refused.
    pub shares_rejected: u64,
    /// Shares refused, by the pool's code; at most 32 codes, the rest as "other".
    pub rejected_by_code: BTreeMap<String, u64>,
    /// Shares that wait for their answer.
    pub shares_outstanding: u64,
    /// Shares that were never answered.
    pub shares_unanswered: u64,
    /// Results not submitted because their job had ended.
    pub shares_dropped: u64,
    /// Sum of difficulties, as pools reported it.
    pub difficulty_sum: u64,
    /// What the acknowledged shares are worth.
    pub credit: Ehash,
    /// Share target of the job that is mined.
    pub target: Option<Target>,
    /// Network target of the job that is mined.
    pub network_target: Option<Target>,
    /// Difficulty of [`Self::target`].
    pub difficulty: Difficulty,
    /// Submitted shares that met the network target.
    pub blocks_found: u64,
    /// Connections made so far.
    pub connections: u64,
    /// Events that the owner's queue had no room for.
    pub events_dropped: u64,
}

impl Default for DeviceStats {
    fn default() -> Self {
        DeviceStats {
            state: DeviceState::Starting,
            state_text: DeviceState::Starting.to_string(),
            pool: None,
            hash_rate: HashRate::ZERO,
            hashes: 0,
            shares_submitted: 0,
            shares_accepted: 0,
            shares_rejected: 0,
            rejected_by_code: BTreeMap::new(),
            shares_outstanding: 0,
            shares_unanswered: 0,
            shares_dropped: 0,
            difficulty_sum: 0,
            credit: Ehash::ZERO,
            target: None,
            network_target: None,
            difficulty: Difficulty::ZERO,
            blocks_found: 0,
            connections: 0,
            events_dropped: 0,
        }
    }
}
