//! Why connections end.

use {
    crate::buffer::UsedUp,
    std::{borrow::Cow, io},
    sv2::{
        EncodeError, FrameError,
        noise::{HandshakeError, NoiseError, SealError},
    },
    thiserror::Error,
};

/// Why a connection ended. The text is for an operator; [`Close::label`] is for metrics.
///
/// The first half is decided by the engine, the second by handlers.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Close {
    /// The peer closed the connection between two frames.
    #[error("the peer closed the connection")]
    Peer,
    /// The peer closed the connection inside a frame.
    #[error("the peer closed the connection in the middle of a frame")]
    PeerMidFrame,
    /// The socket failed: reset, unreachable, timed out by the kernel.
    #[error("the connection failed: {0}")]
    Io(io::ErrorKind),
    /// The peer began with text: a Stratum V1 device, or a browser (NS-30).
    #[error("the peer speaks {0} where a Noise handshake is expected; point it to the right port")]
    NotNoise(&'static str),
    /// The handshake was not done in time (NS-30).
    #[error("the handshake was not finished in time")]
    HandshakeTimeout,
    /// The handshake failed (NS-14).
    #[error("the handshake failed: {0}")]
    Handshake(HandshakeError),
    /// A frame did not authenticate (NS-14), or the keys are used up (NS-29).
    #[error(transparent)]
    Noise(NoiseError),
    /// A frame that nobody may send, or one over the limit.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The rest of a frame did not come in time.
    #[error("the rest of a frame did not come in time")]
    PartialFrame,
    /// Nothing came for as long as a connection may be idle.
    #[error("nothing was received for too long")]
    Idle,
    /// The peer reads too slowly: this many bytes wait for it.
    #[error("the peer does not read: {backlog} bytes wait for it")]
    SlowReader {
        /// Bytes that waited.
        backlog: usize,
    },
    /// The peer took (almost) none of what waits for it for too long.
    #[error("the peer stopped reading")]
    WriteStalled,
    /// Peers that read slowly or send frames piecemeal have used up the memory for that
    /// ([`Limits::buffers`](crate::Limits::buffers)), and this one had the most of it.
    #[error("the memory for slow peers is used up: {held} bytes")]
    Memory {
        /// Bytes that the connection had, or all connections of the shard.
        held: usize,
    },
    /// A handler sent what a frame cannot carry.
    #[error("a message could not be sent: {0}")]
    Encode(#[from] EncodeError),
    /// The engine stops.
    #[error("the server stops")]
    Shutdown,

    /// For handlers: no acceptable `SetupConnection` in time (CM-19).
    #[error("SetupConnection did not come in time")]
    SetupTimeout,
    /// For handlers: the peer broke a rule of the protocol.
    #[error("protocol error: {0}")]
    Protocol(Cow<'static, str>),
    /// For handlers: all is said, for instance `SetupConnection.Error` (CM-16).
    #[error("{0}")]
    Finished(Cow<'static, str>),
    /// For handlers: the peer used up what it may take.
    #[error("over the limit: {0}")]
    Overload(Cow<'static, str>),
}

impl Close {
    /// Every label, in the order in which [`Stats::closed`](crate::Stats::closed) counts.
    pub const LABELS: [&str; 19] = [
        "peer",
        "peer_mid_frame",
        "io",
        "not_noise",
        "handshake_timeout",
        "handshake",
        "noise",
        "frame",
        "partial_frame",
        "idle",
        "slow_reader",
        "write_stalled",
        "encode",
        "shutdown",
        "setup_timeout",
        "protocol",
        "finished",
        "overload",
        "memory",
    ];

    pub(crate) fn index(&self) -> usize {
        match self {
            Self::Peer => 0,
            Self::PeerMidFrame => 1,
            Self::Io(_) => 2,
            Self::NotNoise(_) => 3,
            Self::HandshakeTimeout => 4,
            Self::Handshake(_) => 5,
            Self::Noise(_) => 6,
            Self::Frame(_) => 7,
            Self::PartialFrame => 8,
            Self::Idle => 9,
            Self::SlowReader { .. } => 10,
            Self::WriteStalled => 11,
            Self::Encode(_) => 12,
            Self::Shutdown => 13,
            Self::SetupTimeout => 14,
            Self::Protocol(_) => 15,
            Self::Finished(_) => 16,
            Self::Overload(_) => 17,
            Self::Memory { .. } => 18,
        }
    }

    /// A short name without details, for a metric's label.
    #[must_use]
    pub fn label(&self) -> &'static str {
        Self::LABELS[self.index()]
    }

    /// Whether the peer should still get what was sent to it before the socket closes. Not for peers
    /// that are gone, do not read, or never proved to speak the protocol.
    pub(crate) fn lets_output_leave(&self) -> bool {
        match self {
            Self::Encode(_)
            | Self::Frame(_)
            | Self::Idle
            | Self::PartialFrame
            | Self::Shutdown
            | Self::SetupTimeout
            | Self::Protocol(_)
            | Self::Finished(_)
            | Self::Overload(_) => true,
            Self::Peer
            | Self::PeerMidFrame
            | Self::Io(_)
            | Self::NotNoise(_)
            | Self::HandshakeTimeout
            | Self::Handshake(_)
            | Self::Noise(_)
            | Self::SlowReader { .. }
            | Self::WriteStalled
            | Self::Memory { .. } => false,
        }
    }
}

impl From<io::Error> for Close {
    fn from(error: io::Error) -> Self {
        Self::Io(error.kind())
    }
}

impl From<UsedUp> for Close {
    fn from(UsedUp { held }: UsedUp) -> Self {
        Self::Memory { held }
    }
}

impl From<NoiseError> for Close {
    fn from(error: NoiseError) -> Self {
        match error {
            NoiseError::Frame(error) => Self::Frame(error),
            error => Self::Noise(error),
        }
    }
}

impl From<SealError> for Close {
    fn from(error: SealError) -> Self {
        match error {
            SealError::Encode(error) => Self::Encode(error),
            SealError::Exhausted => Self::Noise(NoiseError::Exhausted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_distinct_and_texts_are_not_empty() {
        let mut labels = Close::LABELS.to_vec();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), Close::LABELS.len());
        for close in [Close::Peer, Close::Overload("channels".into()), Close::SlowReader { backlog: 3 }] {
            assert!(!close.to_string().is_empty() && Close::LABELS.contains(&close.label()));
        }
        assert_eq!(Close::Memory { held: 0 }.index(), Close::LABELS.len() - 1);
    }
}
