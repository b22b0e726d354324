//! The extranonce space: every channel of every server of a pool, in every run, gets a part of its
//! own (MP-02, PO-04).
//!
//! A full extranonce has [`FULL_LEN`] bytes, whatever the channel: `server id (2) ‖ lease (3) ‖
//! index (3) ‖ 16 bytes more`, big-endian. A standard channel is given all of them, the last 16 zero;
//! an extended channel with `r` rollable bytes is given the first `24 − r`. So all channels share one
//! coinbase, and one group a connection is enough (MP-21).

use {
    std::{fmt, ops::Deref},
    thiserror::Error,
};

/// Bytes that tell one channel from every other.
pub const UNIQUE_LEN: usize = 8;
/// Bytes of a full extranonce of the pool's channels.
pub const FULL_LEN: usize = 24;
/// The most rollable bytes an extended channel can be granted.
pub const MAX_ROLLABLE: usize = FULL_LEN - UNIQUE_LEN;
/// The rollable bytes an extended channel is granted when it asks for fewer.
pub const MIN_ROLLABLE: usize = 8;
/// The most bytes of a full extranonce that the protocol can carry (MP-43, LIM-06).
pub const MAX_LEN: usize = 32;

/// A prefix or an extranonce is longer than the protocol can carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("extranonce of {0} bytes: at most {MAX_LEN} fit into the protocol")]
pub struct ExtranonceTooLong(pub usize);

/// Up to 32 bytes of extranonce: a channel's prefix, or a full extranonce.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Extranonce {
    len: u8,
    bytes: [u8; MAX_LEN],
}

impl Extranonce {
    /// No bytes at all.
    pub const EMPTY: Self = Self { len: 0, bytes: [0; MAX_LEN] };

    /// A copy of `bytes`.
    pub fn new(bytes: &[u8]) -> Result<Self, ExtranonceTooLong> {
        Self::EMPTY.join(bytes)
    }

    /// `self ‖ bytes`: a channel's prefix followed by what the miner rolled.
    pub fn join(mut self, bytes: &[u8]) -> Result<Self, ExtranonceTooLong> {
        let start = usize::from(self.len);
        let len = start + bytes.len();
        self.bytes.get_mut(start..len).ok_or(ExtranonceTooLong(len))?.copy_from_slice(bytes);
        self.len = u8::try_from(len).expect("at most MAX_LEN = 32");
        Ok(self)
    }
}

impl Deref for Extranonce {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl fmt::Debug for Extranonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// One of the servers of a pool; configured, and different for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(u16);

impl ServerId {
    /// The server with this number.
    pub const fn new(id: u16) -> Self {
        Self(id)
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// A number under which one server may hand out 2^24 prefixes.
///
/// Its owner makes it durable before the first of them is used, and never takes it again: that is
/// what keeps prefixes unique across restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lease(u32);

impl Lease {
    /// The last lease there is; a server that restarts once a minute gets there after 31 years.
    pub const MAX: Self = Self((1 << 24) - 1);

    /// The lease with this number, if it fits into its 3 bytes.
    pub const fn new(lease: u32) -> Option<Self> {
        if lease <= Self::MAX.0 { Some(Self(lease)) } else { None }
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The lease to take after this one.
    pub const fn next(self) -> Option<Self> {
        Self::new(self.0 + 1)
    }
}

/// The 8 bytes that belong to one channel alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UniquePrefix([u8; UNIQUE_LEN]);

/// An extended channel asked for more rollable bytes than there are (EC-09).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("min_extranonce_size {0}: this pool grants at most {MAX_ROLLABLE} bytes")]
pub struct RollableTooLarge(pub u16);

impl RollableTooLarge {
    /// The `error_code` of `OpenMiningChannel.Error`.
    pub const fn code(&self) -> &'static str {
        "min-extranonce-size-too-large"
    }
}

impl UniquePrefix {
    /// The bytes themselves.
    pub const fn as_bytes(&self) -> &[u8; UNIQUE_LEN] {
        &self.0
    }

    /// The prefix of a standard channel: the whole extranonce.
    pub fn standard(&self) -> Extranonce {
        self.padded(FULL_LEN)
    }

    /// The prefix of an extended channel that asked for `min_extranonce_size` bytes, and how many it
    /// is granted: never fewer than it asked for (MP-42).
    pub fn extended(&self, min_extranonce_size: u16) -> Result<(Extranonce, u8), RollableTooLarge> {
        let rollable = usize::from(min_extranonce_size).max(MIN_ROLLABLE);
        if rollable > MAX_ROLLABLE {
            return Err(RollableTooLarge(min_extranonce_size));
        }
        let granted = u8::try_from(rollable).expect("at most MAX_ROLLABLE = 16");
        Ok((self.padded(FULL_LEN - rollable), granted))
    }

    fn padded(&self, len: usize) -> Extranonce {
        let mut bytes = [0; FULL_LEN];
        bytes[..UNIQUE_LEN].copy_from_slice(&self.0);
        Extranonce::new(&bytes[..len]).expect("FULL_LEN is less than MAX_LEN")
    }
}

/// Hands out the prefixes of one lease, each once.
#[derive(Debug)]
pub struct PrefixSpace {
    server: ServerId,
    lease: Lease,
    next: u32,
}

impl PrefixSpace {
    /// Prefixes in one lease.
    pub const PREFIXES: u32 = 1 << 24;

    /// All prefixes of `lease`, which must be new and durable.
    pub const fn new(server: ServerId, lease: Lease) -> Self {
        Self { server, lease, next: 0 }
    }

    /// A prefix that was never handed out before. `None`: the lease is used up, take another.
    #[expect(clippy::should_implement_trait, reason = "an iterator invites collecting 2^24 prefixes")]
    pub fn next(&mut self) -> Option<UniquePrefix> {
        if self.next >= Self::PREFIXES {
            return None;
        }
        let mut bytes = [0; UNIQUE_LEN];
        bytes[..2].copy_from_slice(&self.server.0.to_be_bytes());
        bytes[2..5].copy_from_slice(&self.lease.0.to_be_bytes()[1..]);
        bytes[5..].copy_from_slice(&self.next.to_be_bytes()[1..]);
        self.next += 1;
        Some(UniquePrefix(bytes))
    }
}

#[cfg(test)]
mod tests {
    use {super::*, std::collections::HashSet};

    // proves: MP-02
    #[test]
    fn prefixes_differ_between_channels_leases_and_servers() {
        let mut seen = HashSet::new();
        for server in [0, 1, u16::MAX] {
            for lease in [0, 1, Lease::MAX.get()] {
                let mut space = PrefixSpace::new(ServerId::new(server), Lease::new(lease).unwrap());
                for _ in 0..300 {
                    assert!(seen.insert(space.next().unwrap()));
                }
            }
        }
        let mut space = PrefixSpace::new(ServerId::new(0x0102), Lease::new(0x03_0405).unwrap());
        space.next = 0x06_0708;
        assert_eq!(space.next().unwrap().as_bytes(), &[1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn a_used_up_lease_gives_no_prefix_twice() {
        let mut space = PrefixSpace::new(ServerId::new(7), Lease::MAX);
        space.next = PrefixSpace::PREFIXES - 1;
        assert_eq!(space.next().unwrap().as_bytes(), &[0, 7, 255, 255, 255, 255, 255, 255]);
        assert_eq!(space.next(), None);
        assert_eq!(space.next(), None);
        assert_eq!(Lease::new(1 << 24), None);
        assert_eq!(Lease::MAX.next(), None);
        assert_eq!(Lease::new(0).unwrap().next(), Lease::new(1));
    }

    // proves: MP-21 MP-42 MP-43 LIM-06 EC-09
    #[test]
    fn every_channel_has_the_same_full_length() {
        let unique = PrefixSpace::new(ServerId::new(1), Lease::new(2).unwrap()).next().unwrap();
        assert_eq!(unique.standard().len(), FULL_LEN);
        assert_eq!(unique.standard()[UNIQUE_LEN..], [0; 16]);
        for asked in 0..=40u16 {
            match unique.extended(asked) {
                Ok((prefix, granted)) => {
                    assert!(u16::from(granted) >= asked && granted >= 8 && asked <= 16);
                    assert_eq!(prefix.len() + usize::from(granted), FULL_LEN);
                    assert_eq!(prefix[..UNIQUE_LEN], *unique.as_bytes());
                }
                Err(error) => {
                    assert!(asked > 16);
                    assert_eq!(
                        (error, error.code()),
                        (RollableTooLarge(asked), "min-extranonce-size-too-large")
                    );
                }
            }
        }
        assert_eq!(Extranonce::new(&[0; 33]), Err(ExtranonceTooLong(33)));
        assert_eq!(unique.standard().join(&[0; 9]), Err(ExtranonceTooLong(33)));
        assert_eq!(unique.standard().join(&[9; 8]).unwrap()[FULL_LEN..], [9; 8]);
    }
}
