//! The extranonce prefixes that a shard hands out: from the lease at hand, and from a spare that is ordered before it is
//! needed, so that opening a channel never waits for the disk.

use work::{Lease, PrefixSpace, ServerId, UniquePrefix};

/// The prefixes of one shard.
pub(super) struct Prefixes {
    server: ServerId,
    current: PrefixSpace,
    spare: Option<PrefixSpace>,
    /// A spare was ordered and has not come yet.
    ordered: bool,
}

impl Prefixes {
    pub(super) fn new(server: ServerId, current: PrefixSpace) -> Self {
        Self { server, current, spare: None, ordered: false }
    }

    /// A prefix that nobody had. `None` while the lease is used up and the spare has not come.
    pub(super) fn next(&mut self) -> Option<UniquePrefix> {
        self.current.next().or_else(|| {
            self.current = self.spare.take()?;
            self.current.next()
        })
    }

    /// Whether a lease is to be ordered now; it must then be answered with [`Self::arrived`].
    pub(super) fn wants_lease(&mut self) -> bool {
        self.spare.is_none() && !std::mem::replace(&mut self.ordered, true)
    }

    /// The lease that was ordered came, or none did: then it is to be ordered again.
    pub(super) fn arrived(&mut self, lease: Option<Lease>) {
        self.ordered = false;
        self.spare = lease.map(|lease| PrefixSpace::new(self.server, lease));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn lease(number: u32) -> Lease {
        Lease::new(number).unwrap()
    }

    // proves: MP-02 PO-04
    #[test]
    fn a_used_up_lease_is_followed_by_the_spare_and_without_one_channels_have_to_wait() {
        let server = ServerId::new(3);
        let mut prefixes = Prefixes::new(server, PrefixSpace::new(server, lease(1)));
        // The ledger gives none at first: asked again, one order at a time.
        assert!(prefixes.wants_lease() && !prefixes.wants_lease());
        prefixes.arrived(None);
        assert!(prefixes.wants_lease());
        let mut last = None;
        for _ in 0..PrefixSpace::PREFIXES {
            last = prefixes.next();
            assert!(last.is_some());
        }
        assert_eq!(prefixes.next(), None, "nothing is handed out twice");
        prefixes.arrived(Some(lease(2)));
        let mut seen = HashSet::from([last.unwrap()]);
        assert!(!prefixes.wants_lease(), "there is a spare");
        assert!((0..1000).all(|_| seen.insert(prefixes.next().unwrap())));
        assert!(prefixes.wants_lease(), "the spare is in use");
    }
}
