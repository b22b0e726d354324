//! What one engine and one peer may take.

use std::time::Duration;

/// What one engine and one peer may take. The defaults suit a pool on the internet.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections of the whole engine (100,000). Where the process may open fewer descriptors, so many
    /// less [`Limits::spare_descriptors`].
    pub connections: usize,
    /// Connections of one address: an IPv4 address, or an IPv6 /64, which is what one customer gets
    /// (4096).
    pub connections_per_address: usize,
    /// New connections of one address (512 a second, 1024 at once). A connection has one handshake, so
    /// this bounds the handshakes as well, of which each takes the server some 150 µs. Whoever comes
    /// too fast waits, as long as that is no longer than [`Limits::patience`], and is refused otherwise.
    pub connection_rate: Rate,
    /// How many connections a connection counts for, beside itself, in [`Limits::connection_rate`] if
    /// its handshake was not one, came to nothing, or was of no use since no frame followed (7).
    pub failure_cost: u32,
    /// How long a connection may be held before its handshake, because others of its address were
    /// before it (8 s: most devices give up after 10). With the default rate and burst, some 5,000
    /// devices behind one address are served late when they all come back together; none is refused.
    pub patience: Duration,
    /// Connections that may be held at once in the whole engine (16,384).
    pub waiting: usize,
    /// Addresses that are remembered for what they did in the last seconds, beside those that are
    /// connected (65,536, about 100 bytes each).
    pub addresses: usize,
    /// Handshakes under way in the whole engine (2048). When they are used up the listener waits, and
    /// new connections queue in the kernel: after a restart everybody comes back at once, and should be
    /// served late rather than turned away. When more than half of them are used, a peer has two seconds
    /// to send its first message, so that silent ones cannot keep the others out.
    pub half_open: usize,
    /// Handshakes under way of one address (1024), so that one host cannot use them all up. More wait,
    /// for [`Limits::patience`] at most.
    pub half_open_per_address: usize,
    /// Bytes of payload in a frame before the handler calls
    /// [`Link::set_frame_limit`](crate::Link::set_frame_limit) (2048). `SetupConnection` has at most
    /// 1291.
    pub frame_before_setup: u32,
    /// Bytes that a connection may have been sent and not have read, beyond what the kernel buffers
    /// (1 MiB). Above half of it, the engine stops reading from the connection; above all of it, it is
    /// dropped. Not below 256 KiB or so: one pass reads 32 KiB, and its answers must fit into the other
    /// half.
    pub backlog: usize,
    /// Bytes that the engine keeps for all its peers together: parts of frames, and output that was not
    /// read (256 MiB). Each shard has an equal part, which should be a multiple of
    /// [`Limits::backlog`]. When seven eighths are used, the connections that have the most are dropped.
    pub buffers: usize,
    /// `SO_SNDBUF` of each connection in bytes (128 KiB); `None` leaves it to the kernel, which gives one
    /// connection some megabytes if it once was fast.
    pub send_buffer: Option<usize>,
    /// `SO_RCVBUF` of each connection in bytes (128 KiB: some thousand shares for each round trip);
    /// `None` leaves it to the kernel.
    pub receive_buffer: Option<usize>,
    /// Descriptors of the process that connections leave to everything else (256): the ledger, the
    /// node, the operator's pages.
    pub spare_descriptors: usize,
    /// How long a connection that has something to say may wait for its shard, before new connections
    /// have to wait in the kernel for those that are there (250 ms).
    pub lag: Duration,
    /// For how long the shards may lag before new connections are refused, so that devices go to their
    /// next pool (10 s).
    pub lag_patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 100_000,
            connections_per_address: 4096,
            connection_rate: Rate { per_second: 512, burst: 1024 },
            failure_cost: 7,
            patience: Duration::from_secs(8),
            waiting: 16_384,
            addresses: 65_536,
            half_open: 2048,
            half_open_per_address: 1024,
            frame_before_setup: 2048,
            backlog: 1 << 20,
            buffers: 256 << 20,
            send_buffer: Some(128 * 1024),
            receive_buffer: Some(128 * 1024),
            spare_descriptors: 256,
            lag: Duration::from_millis(250),
            lag_patience: Duration::from_secs(10),
        }
    }
}

/// How often something may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// So often in the long run; at least once.
    pub per_second: u32,
    /// So often at once, after a pause; at least once.
    pub burst: u32,
}

impl Rate {
    /// As often as anybody likes.
    pub const UNLIMITED: Self = Self { per_second: u32::MAX, burst: u32::MAX };
}

/// Why a connection was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// [`Limits::connections`].
    Connections,
    /// [`Limits::connections_per_address`].
    ConnectionsPerAddress,
    /// [`Limits::half_open_per_address`].
    HalfOpenPerAddress,
    /// The process has no descriptor left, but for [`Limits::spare_descriptors`]; raise `ulimit -n`.
    Descriptors,
    /// [`Limits::connection_rate`], and no patience or no place to wait.
    ConnectionRate,
    /// The shards lag ([`Limits::lag`]) for too long.
    Overload,
}

impl Refusal {
    /// All of them, in the order in which [`Stats::refused`](crate::Stats::refused) counts.
    pub const ALL: [Self; 6] = [
        Self::Connections,
        Self::ConnectionsPerAddress,
        Self::HalfOpenPerAddress,
        Self::Descriptors,
        Self::ConnectionRate,
        Self::Overload,
    ];

    /// A short name for a metric's label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::ConnectionsPerAddress => "connections_per_address",
            Self::HalfOpenPerAddress => "half_open_per_address",
            Self::Descriptors => "descriptors",
            Self::ConnectionRate => "connection_rate",
            Self::Overload => "overload",
        }
    }
}
