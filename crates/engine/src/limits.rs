//! Who may connect: connections in all, per address, and how many handshakes may be under way.
//!
//! The counts are behind one lock that is taken when a connection is accepted, when its handshake is
//! done and when it ends; never for a frame.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What one engine and one peer may take. The defaults suit a pool on the internet.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections of the whole engine.
    pub connections: usize,
    /// Connections of one address: an IPv4 address, or an IPv6 /64, which is what one customer gets.
    pub connections_per_address: usize,
    /// Handshakes under way in the whole engine. When they are used up the listener waits, and new
    /// connections queue in the kernel: after a restart everybody comes back at once, and should be
    /// served late rather than turned away.
    pub half_open: usize,
    /// Handshakes under way of one address. More are refused, so that one host cannot use them all up.
    pub half_open_per_address: usize,
    /// Bytes of payload in a frame before the handler calls
    /// [`Link::set_frame_limit`](crate::Link::set_frame_limit). `SetupConnection` has at most 1291.
    pub frame_before_setup: u32,
    /// Bytes that a connection may have been sent and not have read (beyond what the kernel buffers).
    /// Above half of it, the engine stops reading from the connection; above all of it, it is dropped.
    /// Not below 256 KiB or so: one pass reads 32 KiB, and its answers must fit into the other half.
    pub backlog: usize,
    /// `SO_SNDBUF` of each connection in bytes; `None` leaves it to the kernel.
    pub send_buffer: Option<usize>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 100_000,
            connections_per_address: 4096,
            half_open: 2048,
            half_open_per_address: 1024,
            frame_before_setup: 2048,
            backlog: 1 << 20,
            send_buffer: None,
        }
    }
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
    /// The process has no descriptor left; raise `ulimit -n`.
    Descriptors,
}

impl Refusal {
    /// All of them, in the order in which [`Stats::refused`](crate::Stats::refused) counts.
    pub const ALL: [Self; 4] =
        [Self::Connections, Self::ConnectionsPerAddress, Self::HalfOpenPerAddress, Self::Descriptors];

    /// A short name for a metric's label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::ConnectionsPerAddress => "connections_per_address",
            Self::HalfOpenPerAddress => "half_open_per_address",
            Self::Descriptors => "descriptors",
        }
    }
}

/// What the limits per address count by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum AddressKey {
    V4(Ipv4Addr),
    /// The first 64 bits: whoever has one address of a /64 has them all.
    V6(u64),
}

impl From<IpAddr> for AddressKey {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }
}

#[derive(Default)]
struct Count {
    open: usize,
    half_open: usize,
}

#[derive(Default)]
struct Counts {
    all: Count,
    by_address: HashMap<AddressKey, Count>,
}

/// Counts connections and says who may come in.
pub(crate) struct Admission {
    connections: usize,
    connections_per_address: usize,
    half_open: usize,
    half_open_per_address: usize,
    counts: Mutex<Counts>,
}

impl Admission {
    pub(crate) fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            connections: limits.connections,
            connections_per_address: limits.connections_per_address,
            half_open: limits.half_open,
            half_open_per_address: limits.half_open_per_address,
            counts: Mutex::default(),
        })
    }

    /// Whether another handshake may begin; if not, the listener waits.
    pub(crate) fn has_room(&self) -> bool {
        self.counts().all.half_open < self.half_open
    }

    /// Counts a new connection, for as long as the permit lives, or says what forbids it.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Result<Permit, Refusal> {
        let key = AddressKey::from(address);
        let mut counts = self.counts();
        if counts.all.open >= self.connections {
            return Err(Refusal::Connections);
        }
        let (open, half_open) = counts.by_address.get(&key).map_or((0, 0), |own| (own.open, own.half_open));
        if open >= self.connections_per_address {
            return Err(Refusal::ConnectionsPerAddress);
        }
        if half_open >= self.half_open_per_address {
            return Err(Refusal::HalfOpenPerAddress);
        }
        let Counts { all, by_address } = &mut *counts;
        for count in [all, by_address.entry(key).or_default()] {
            count.open += 1;
            count.half_open += 1;
        }
        Ok(Permit { admission: Arc::clone(self), key, half_open: true })
    }

    // A panic elsewhere leaves plain counts behind, which are still right to within one.
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's place in the counts; dropping it gives the place back.
pub(crate) struct Permit {
    admission: Arc<Admission>,
    key: AddressKey,
    half_open: bool,
}

impl Permit {
    /// The handshake is done.
    pub(crate) fn established(&mut self) {
        if !std::mem::take(&mut self.half_open) {
            return;
        }
        let mut counts = self.admission.counts();
        let Counts { all, by_address } = &mut *counts;
        all.half_open -= 1;
        by_address.entry(self.key).and_modify(|own| own.half_open -= 1);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.established();
        let mut counts = self.admission.counts();
        let Counts { all, by_address } = &mut *counts;
        all.open -= 1;
        if let Entry::Occupied(mut own) = by_address.entry(self.key) {
            own.get_mut().open -= 1;
            if own.get().open == 0 {
                debug_assert_eq!(own.get().half_open, 0);
                own.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests;
