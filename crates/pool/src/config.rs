//! What a pool is told by its operator, as typed values.

use std::path::PathBuf;
use std::time::Duration;

use bitcoin::ScriptBuf;
use work::{PayoutKey, ServerId};

/// Greatest length of [`PoolConfig::tag`] in bytes.
pub const MAX_TAG_LEN: usize = 32;

/// Settings of the pool role. Sockets are the engine's ([`engine::EngineConfig`]), money is the ledger's.
#[derive(Clone, Debug)]
pub struct PoolConfig {
    /// This process among the servers of one pool; part of every extranonce (PO-04).
    pub server_id: ServerId,
    /// Receives the whole reward of every block.
    pub payout_script: ScriptBuf,
    /// Written into every coinbase; at most [`MAX_TAG_LEN`] bytes.
    pub tag: Vec<u8>,
    /// Credited when a `user_identity` holds no payout key; without it such a channel is refused.
    pub default_payout_key: Option<PayoutKey>,
    /// What vardiff aims at, per channel.
    pub shares_per_minute: u32,
    /// The server's minimum difficulty: expected hashes of the easiest share.
    pub min_share_hashes: u64,
    /// How long mining goes on with the last work while the node is down. Then channels are closed, so that devices go to
    /// their next pool, and opened again when the node is back.
    pub node_patience: Duration,
    /// Where found blocks are kept until the node has judged them; without it, in memory only.
    pub block_dir: Option<PathBuf>,
    /// Bounds of one connection and one channel.
    pub limits: ChannelLimits,
}

/// Bounds of one connection and one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelLimits {
    /// Channels that one connection may have open (MP-52).
    pub channels_per_connection: u16,
    /// Channels that the whole process may have open.
    pub channels: usize,
    /// Shares that one channel may have accepted on one tip.
    pub shares_per_tip: usize,
    /// Refused shares in a minute that end a channel (PO-09).
    pub invalid_shares_per_minute: u32,
    /// A client has this long from the handshake to SetupConnection (CM-19).
    pub setup_patience: Duration,
    /// … and from there to its first channel (MP-35).
    pub first_channel_patience: Duration,
}

impl Default for ChannelLimits {
    fn default() -> Self {
        Self {
            channels_per_connection: 10_000,
            channels: 200_000,
            shares_per_tip: 1 << 16,
            invalid_shares_per_minute: 600,
            setup_patience: Duration::from_secs(20),
            first_channel_patience: Duration::from_secs(120),
        }
    }
}
