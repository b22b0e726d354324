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
    /// Bounds of channels and connections.
    pub limits: ChannelLimits,
}

/// Bounds of channels, connections, and of what they leave behind in the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelLimits {
    /// Channels that one connection may have open (MP-52).
    pub channels_per_connection: u16,
    /// Channels that the whole process may have open. The last quarter of them is for connections that have few.
    pub channels: usize,
    /// Shares that one channel may have accepted on one tip.
    pub shares_per_tip: usize,
    /// Bytes for all that shares leave behind in the process until the next block: what tells a duplicate, beyond the 2 KiB
    /// that each channel may have in any case, and which workers were credited.
    pub share_memory: usize,
    /// A channel is ended when it goes on sending so many times more shares than [`PoolConfig::shares_per_minute`] although
    /// its target was raised; 0: never.
    pub shares_over_aim: u32,
    /// Shares beyond that rate which a channel may send before its new target has taken effect.
    pub share_burst: u32,
    /// Refused shares in a minute that end a channel (PO-09).
    pub invalid_shares_per_minute: u32,
    /// Requests (all messages but shares) a minute and channel of a connection, beyond one for each channel it may have.
    pub requests_per_minute: u32,
    /// Payout keys that the workers of one connection may be credited under in an hour.
    pub worker_keys: usize,
    /// Payout keys that the open epoch may hold before no further worker's key is taken; at twice as many, channels are
    /// refused.
    pub keys_per_epoch: usize,
    /// Shares are taken without acknowledgement for so long while the ledger takes no credits; then channels are closed.
    pub ledger_patience: Duration,
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
            share_memory: 512 << 20,
            shares_over_aim: 500,
            share_burst: 20_000,
            invalid_shares_per_minute: 600,
            requests_per_minute: 30,
            worker_keys: 4096,
            keys_per_epoch: 1_000_000,
            ledger_patience: Duration::from_secs(60),
            setup_patience: Duration::from_secs(20),
            first_channel_patience: Duration::from_secs(120),
        }
    }
}
