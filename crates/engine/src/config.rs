//! What an engine is started with.

use {
    crate::limits::Limits,
    std::{net::SocketAddr, sync::Arc, time::Duration},
    sv2::noise::Identity,
};

/// What an engine is started with. [`EngineConfig::new`] fills in what a pool on the internet needs.
#[derive(Clone)]
pub struct EngineConfig {
    /// Addresses to listen on; port 0 lets the system choose.
    pub listen: Vec<SocketAddr>,
    /// Threads that serve connections. One per core, or one less where something else needs a core.
    pub shards: u16,
    /// Static key of the server, and its certificate, which it renews by itself (NS-22).
    pub identity: Arc<Identity>,
    /// Who may connect, and what one connection may take.
    pub limits: Limits,
    /// How long peers may take.
    pub timeouts: Timeouts,
    /// Commands that may wait for one shard.
    pub command_queue: usize,
}

impl EngineConfig {
    /// Listens on `listen` with two shards and the default limits and time-outs.
    #[must_use]
    pub fn new(listen: SocketAddr, identity: Arc<Identity>) -> Self {
        Self {
            listen: vec![listen],
            shards: 2,
            identity,
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            command_queue: 1024,
        }
    }
}

/// How long a peer may take before its connection is closed.
#[derive(Clone, Debug)]
pub struct Timeouts {
    /// From accepting a connection to the end of its handshake (NS-30).
    pub handshake: Duration,
    /// Between two frames; `None`: for ever. TCP keep-alive finds dead peers in any case.
    pub idle: Option<Duration>,
    /// From a frame's first byte to its last.
    pub partial_frame: Duration,
    /// A peer that has output waiting must take some tens of kilobytes in this time, or all of it.
    pub write_stall: Duration,
    /// How long a connection that is being closed may take to read what it was sent.
    pub linger: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            idle: Some(Duration::from_secs(30 * 60)),
            partial_frame: Duration::from_secs(60),
            write_stall: Duration::from_secs(30),
            linger: Duration::from_secs(2),
        }
    }
}
