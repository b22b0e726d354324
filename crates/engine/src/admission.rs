//! Who may connect: connections in all and per address, how often, and how many handshakes may be
//! under way.
//!
//! The counts are behind one lock that is taken when a connection is accepted, when its handshake is
//! done and when it ends; never for a frame. What is kept about addresses is bounded: about those that
//! are connected by the number of connections, about others by [`Limits::addresses`].

pub(crate) mod bucket;

use {
    crate::limits::{Limits, Refusal},
    bucket::{Bucket, Nanos, Refill},
    std::{
        collections::{HashMap, VecDeque},
        net::{IpAddr, Ipv4Addr},
        sync::{Arc, Mutex, MutexGuard, PoisonError},
        time::Duration,
    },
};

/// Addresses without a connection that are looked at when another one comes.
const FORGOTTEN_AT_ONCE: usize = 4;

pub(crate) fn nanos(duration: Duration) -> Nanos {
    Nanos::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX)
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

/// What is known about one address.
#[derive(Default)]
struct Address {
    open: usize,
    half_open: usize,
    bucket: Bucket,
    /// Is in the list of those that may be forgotten.
    resting: bool,
}

#[derive(Default)]
struct Counts {
    open: usize,
    half_open: usize,
    waiting: usize,
    by_address: HashMap<AddressKey, Address>,
    /// Addresses whose last connection has ended, each once. One that came back is still here.
    resting: VecDeque<AddressKey>,
    /// The time when somebody came last. Good enough for what is charged when connections end.
    now: Nanos,
}

impl Counts {
    /// Forgets addresses without connections that owe nothing, and if there are too many, others too:
    /// whoever has that many addresses is not held up by a limit per address.
    fn forget(&mut self, most: usize) {
        for _ in 0..FORGOTTEN_AT_ONCE {
            let Some(key) = self.resting.front().copied() else { return };
            let own = self.by_address.get_mut(&key);
            let crowded = self.resting.len() > most;
            match own {
                Some(own) if own.open > 0 => own.resting = false,
                Some(own) if !crowded && !own.bucket.is_full(self.now) => return,
                _ => drop(self.by_address.remove(&key)),
            }
            self.resting.pop_front();
        }
    }
}

/// Counts connections and says who may come in, and when.
pub(crate) struct Admission {
    limits: Limits,
    /// Connections that the process has descriptors for.
    descriptors: usize,
    refill: Refill,
    patience: Nanos,
    counts: Mutex<Counts>,
}

impl Admission {
    pub(crate) fn new(limits: &Limits, descriptors: usize) -> Arc<Self> {
        Arc::new(Self {
            limits: limits.clone(),
            descriptors: descriptors.saturating_sub(limits.spare_descriptors),
            refill: limits.connection_rate.into(),
            patience: nanos(limits.patience),
            counts: Mutex::default(),
        })
    }

    /// Whether another handshake may begin; if not, the listener waits.
    pub(crate) fn has_room(&self) -> bool {
        self.counts().half_open < self.limits.half_open
    }

    /// Whether more than half of the handshakes that may be under way are: no time for peers that
    /// connect and say nothing.
    pub(crate) fn is_crowded(&self) -> bool {
        self.counts().half_open > self.limits.half_open / 2
    }

    /// Counts a new connection, for as long as the permit lives, or says what forbids it. The second is
    /// how long it has to wait before [`Permit::begin`] is worth a try; the handshake may begin at once
    /// if it is `None`.
    pub(crate) fn admit(
        self: &Arc<Self>,
        address: IpAddr,
        now: Nanos,
    ) -> Result<(Permit, Option<Nanos>), Refusal> {
        let (key, limits) = (AddressKey::from(address), &self.limits);
        let mut counts = self.counts();
        counts.now = now;
        counts.forget(limits.addresses);
        if counts.open >= limits.connections {
            return Err(Refusal::Connections);
        }
        if counts.open >= self.descriptors {
            return Err(Refusal::Descriptors);
        }
        let Counts { open, half_open, waiting, by_address, .. } = &mut *counts;
        if by_address.get(&key).map_or(0, |own| own.open) >= limits.connections_per_address {
            return Err(Refusal::ConnectionsPerAddress);
        }
        let own = by_address.entry(key).or_default();
        let patience = if *waiting < limits.waiting { self.patience } else { 0 };
        let Some(wait) = own.bucket.take(self.refill, now, patience) else {
            return Err(Refusal::ConnectionRate);
        };
        let begins = wait == 0 && own.half_open < limits.half_open_per_address;
        if !begins && patience == 0 {
            return Err(Refusal::HalfOpenPerAddress);
        }
        own.open += 1;
        *open += 1;
        if begins {
            own.half_open += 1;
            *half_open += 1;
        } else {
            *waiting += 1;
        }
        let stage = if begins { Stage::HalfOpen } else { Stage::Waiting };
        Ok((Permit { admission: Arc::clone(self), key, stage }, (!begins).then_some(wait)))
    }

    // A panic elsewhere leaves plain counts behind, which are still right to within one.
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Held before its handshake.
    Waiting,
    /// In its handshake.
    HalfOpen,
    Established,
}

/// One connection's place in the counts; dropping it gives the place back.
pub(crate) struct Permit {
    admission: Arc<Admission>,
    key: AddressKey,
    stage: Stage,
}

impl Permit {
    /// Lets the handshake of a connection that has waited begin, unless too many of its address are
    /// under way.
    pub(crate) fn begin(&mut self) -> bool {
        let mut counts = self.admission.counts();
        let Counts { half_open, waiting, by_address, .. } = &mut *counts;
        let Some(own) = by_address.get_mut(&self.key) else { return false };
        if self.stage != Stage::Waiting || own.half_open >= self.admission.limits.half_open_per_address {
            return self.stage != Stage::Waiting;
        }
        own.half_open += 1;
        *half_open += 1;
        *waiting -= 1;
        drop(counts);
        self.stage = Stage::HalfOpen;
        true
    }

    /// The handshake is done.
    pub(crate) fn established(&mut self) {
        debug_assert_eq!(self.stage, Stage::HalfOpen);
        self.admission.counts().leave(self.key, self.stage);
        self.stage = Stage::Established;
    }

    /// The peer has made us work for nothing: its address pays for it.
    pub(crate) fn failed(&self) {
        let Admission { refill, limits, .. } = &*self.admission;
        let mut counts = self.admission.counts();
        let now = counts.now;
        if let Some(own) = counts.by_address.get_mut(&self.key) {
            own.bucket.charge(*refill, now, limits.failure_cost);
        }
    }
}

impl Counts {
    /// A connection is not in this stage any more.
    fn leave(&mut self, key: AddressKey, stage: Stage) {
        match stage {
            Stage::Waiting => self.waiting -= 1,
            Stage::HalfOpen => {
                self.half_open -= 1;
                if let Some(own) = self.by_address.get_mut(&key) {
                    own.half_open -= 1;
                }
            }
            Stage::Established => {}
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self.admission.counts();
        counts.leave(self.key, self.stage);
        counts.open -= 1;
        let Counts { by_address, resting, .. } = &mut *counts;
        if let Some(own) = by_address.get_mut(&self.key) {
            own.open -= 1;
            if own.open == 0 {
                debug_assert_eq!(own.half_open, 0);
                if !std::mem::replace(&mut own.resting, true) {
                    resting.push_back(self.key);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
