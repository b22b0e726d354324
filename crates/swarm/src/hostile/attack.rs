//! The attacks there are.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

/// One way to be a nuisance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AttackKind {
    /// Random bytes, HTTP, TLS, Stratum V1 instead of a handshake.
    Garbage,
    /// Sixty-four random bytes, which any server has to take for the beginning of a handshake and answer: costs the
    /// attacker nothing and the server its handshake.
    FakeHandshake,
    /// Part of a handshake, or nothing at all, and then silence.
    HalfHandshake,
    /// A handshake, and then silence.
    Silent,
    /// The header of a frame that is larger than anything a client has to say.
    Oversized,
    /// Handshakes and frames byte by byte.
    Drip,
    /// Asks for answers and never reads one.
    SlowReader,
    /// Shares that miss their target.
    InvalidShare,
    /// One valid share again and again.
    DuplicateShare,
    /// Shares for a channel that there is not.
    WrongChannel,
    /// Shares for a job that there is not.
    WrongJob,
    /// Ever more channels.
    ChannelOpen,
    /// `UpdateChannel` with ever other hash rates, each of which may want another target and another job.
    UpdateChannel,
    /// Many connections that send one frame and close, all at once.
    OneFrameFin,
    /// Messages that no one has defined.
    UnknownMessage,
    /// Messages that end too early.
    Malformed,
    /// `SetupConnection` with every version, protocol and flag that is wrong.
    SetupVariation,
}

/// What a turn of an attack is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// A new connection, in the place of the oldest.
    Connection,
    /// A message on the next of the connections, which last.
    Message,
}

impl AttackKind {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::Garbage,
        Self::FakeHandshake,
        Self::HalfHandshake,
        Self::Silent,
        Self::Oversized,
        Self::Drip,
        Self::SlowReader,
        Self::InvalidShare,
        Self::DuplicateShare,
        Self::WrongChannel,
        Self::WrongJob,
        Self::ChannelOpen,
        Self::UpdateChannel,
        Self::OneFrameFin,
        Self::UnknownMessage,
        Self::Malformed,
        Self::SetupVariation,
    ];

    /// As on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Garbage => "garbage",
            Self::FakeHandshake => "fake-handshake",
            Self::HalfHandshake => "half-handshake",
            Self::Silent => "silent",
            Self::Oversized => "oversized",
            Self::Drip => "drip",
            Self::SlowReader => "slow-reader",
            Self::InvalidShare => "invalid-share",
            Self::DuplicateShare => "duplicate-share",
            Self::WrongChannel => "wrong-channel",
            Self::WrongJob => "wrong-job",
            Self::ChannelOpen => "channel-open",
            Self::UpdateChannel => "update-channel",
            Self::OneFrameFin => "one-frame-fin",
            Self::UnknownMessage => "unknown-message",
            Self::Malformed => "malformed",
            Self::SetupVariation => "setup-variation",
        }
    }

    pub(super) fn turn(self) -> Turn {
        match self {
            Self::Garbage
            | Self::FakeHandshake
            | Self::HalfHandshake
            | Self::Silent
            | Self::Oversized
            | Self::OneFrameFin
            | Self::Malformed
            | Self::SetupVariation => Turn::Connection,
            _ => Turn::Message,
        }
    }

    /// Turns a second and connections: what one attacker's machine does without effort.
    fn usual(self) -> (u64, usize) {
        match self {
            Self::Garbage | Self::SetupVariation | Self::Malformed => (50, 50),
            Self::FakeHandshake => (200, 200),
            Self::HalfHandshake => (50, 500),
            Self::Silent => (20, 200),
            Self::Oversized => (20, 50),
            Self::Drip => (200, 100),
            Self::SlowReader => (2000, 4),
            Self::OneFrameFin => (100, 200),
            Self::ChannelOpen => (2000, 2),
            Self::UpdateChannel => (1000, 10),
            _ => (2000, 10),
        }
    }
}

impl Display for AttackKind {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An attack with its strength.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attack {
    /// Which.
    pub kind: AttackKind,
    /// Turns a second: new connections, or messages.
    pub rate: u64,
    /// Connections at a time.
    pub connections: usize,
}

impl Attack {
    /// At its usual strength.
    #[must_use]
    pub fn new(kind: AttackKind) -> Self {
        let (rate, connections) = kind.usual();
        Self { kind, rate, connections }
    }

    /// All attacks, at so many percent of their usual rate.
    #[must_use]
    pub fn all(percent: u64) -> Vec<Self> {
        let scaled =
            |attack: Self| Self { rate: (attack.rate.saturating_mul(percent) / 100).max(1), ..attack };
        AttackKind::ALL.into_iter().map(Self::new).map(scaled).collect()
    }
}

/// A text that names no attack.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no attack: give KIND, KIND:RATE or KIND:RATE:CONNECTIONS with one of {kinds}", kinds = kinds())]
pub struct AttackError(String);

fn kinds() -> String {
    AttackKind::ALL.map(AttackKind::name).join(", ")
}

impl FromStr for Attack {
    type Err = AttackError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || AttackError(text.to_owned());
        let mut parts = text.split(':');
        let name = parts.next().unwrap_or_default();
        let kind = AttackKind::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(error)?;
        let mut attack = Self::new(kind);
        if let Some(rate) = parts.next() {
            attack.rate = rate.parse().map_err(|_| error())?;
        }
        if let Some(connections) = parts.next() {
            attack.connections = connections.parse().map_err(|_| error())?;
        }
        let fits = (1..=1_000_000).contains(&attack.rate) && (1..=50_000).contains(&attack.connections);
        if fits && parts.next().is_none() { Ok(attack) } else { Err(error()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attacks_have_a_name_and_perhaps_a_strength() {
        let drip = |rate, connections| Some(Attack { kind: AttackKind::Drip, rate, connections });
        for (text, expected) in [
            ("drip", drip(200, 100)),
            ("drip:7", drip(7, 100)),
            ("drip:7:3", drip(7, 3)),
            ("drip:0", None),
            ("drip:7:0", None),
            ("drip:7:3:1", None),
            ("drop", None),
            ("", None),
        ] {
            assert_eq!(text.parse().ok(), expected, "{text:?}");
        }
        for kind in AttackKind::ALL {
            assert_eq!(kind.name().parse(), Ok(Attack::new(kind)));
        }
        let error = "x".parse::<Attack>().unwrap_err().to_string();
        assert!(error.contains("KIND:RATE") && error.contains("slow-reader"), "{error}");
        assert!(Attack::all(1).iter().all(|attack| attack.rate >= 1));
    }
}
