//! Tokens that come back with time: how often one address may do what costs us something.

use crate::limits::Rate;

/// Nanoseconds since the engine started.
pub(crate) type Nanos = u64;

const SECOND: Nanos = 1_000_000_000;
/// The longest that an address can be shut out by what it did wrong.
const GREATEST_DEBT: Nanos = 60 * SECOND;

/// A [`Rate`] in the units in which a bucket counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refill {
    /// From one token to the next; 0 means that there is no limit.
    interval: Nanos,
    /// In which time an empty bucket is full.
    whole: Nanos,
}

impl From<Rate> for Refill {
    fn from(rate: Rate) -> Self {
        let interval = SECOND / u64::from(rate.per_second.max(1));
        Self { interval, whole: interval.saturating_mul(u64::from(rate.burst.max(1))) }
    }
}

/// The tokens of one address. It is full at first, and a full one is the same as none: whoever keeps
/// buckets may forget those.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bucket {
    /// When it is full, if nothing more is taken: the only state there is.
    full_at: Nanos,
}

impl Bucket {
    /// Takes a token that is there now, or will be within `patience`; says after how long. Tokens are
    /// promised in the order in which they were asked for. `None`, and nothing is taken, when that is
    /// too long.
    pub(crate) fn take(&mut self, refill: Refill, now: Nanos, patience: Nanos) -> Option<Nanos> {
        let full_at = self.full_at.max(now).saturating_add(refill.interval);
        let wait = full_at.saturating_sub(now.saturating_add(refill.whole));
        if wait > patience {
            return None;
        }
        self.full_at = full_at;
        Some(wait)
    }

    /// Takes tokens whether they are there or not; those who come next wait for them, a minute at most.
    pub(crate) fn charge(&mut self, refill: Refill, now: Nanos, tokens: u32) {
        let most = now.saturating_add(refill.whole).saturating_add(GREATEST_DEBT);
        let cost = refill.interval.saturating_mul(u64::from(tokens));
        let full_at = self.full_at.max(now).saturating_add(cost).min(most);
        self.full_at = self.full_at.max(full_at);
    }

    pub(crate) fn is_full(&self, now: Nanos) -> bool {
        self.full_at <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MILLI: Nanos = SECOND / 1000;

    fn refill(per_second: u32, burst: u32) -> Refill {
        Rate { per_second, burst }.into()
    }

    #[test]
    fn a_burst_is_free_and_the_rest_waits_its_turn() {
        let (refill, mut bucket) = (refill(10, 3), Bucket::default());
        let waits: Vec<_> = (0..6).map(|_| bucket.take(refill, SECOND, 250 * MILLI)).collect();
        assert_eq!(
            waits,
            [Some(0), Some(0), Some(0), Some(100 * MILLI), Some(200 * MILLI), None],
            "beyond our patience nothing is promised"
        );
        assert_eq!(bucket.take(refill, SECOND + 300 * MILLI, 0), Some(0), "and nothing was taken");
        assert!(!bucket.is_full(SECOND + 500 * MILLI));
        assert!(bucket.is_full(SECOND + 600 * MILLI));
    }

    #[test]
    fn what_was_done_wrong_is_paid_for_a_minute_at_most() {
        let (refill, mut bucket) = (refill(10, 3), Bucket::default());
        bucket.charge(refill, SECOND, 5);
        assert_eq!(bucket.take(refill, SECOND, SECOND), Some(300 * MILLI), "three were there, two are owed");
        bucket.charge(refill, SECOND, u32::MAX);
        bucket.charge(refill, SECOND, u32::MAX);
        assert_eq!(bucket.take(refill, SECOND, 59 * SECOND), None);
        assert_eq!(bucket.take(refill, SECOND, 61 * SECOND), Some(60 * SECOND + 100 * MILLI));
    }

    #[test]
    fn no_limit_and_odd_limits() {
        let mut bucket = Bucket::default();
        for _ in 0..100 {
            assert_eq!(bucket.take(Rate::UNLIMITED.into(), 5, 0), Some(0));
            bucket.charge(Rate::UNLIMITED.into(), 5, u32::MAX);
        }
        assert!(bucket.is_full(5));
        // A zero is taken for a one: a limit that nobody could ever pass is no use to anybody.
        assert_eq!(Bucket::default().take(refill(0, 0), 5, 0), Some(0));
        let mut late = Bucket::default();
        for _ in 0..4 {
            late.charge(refill(1, u32::MAX), u64::MAX - 1, u32::MAX);
            let _ = late.take(refill(1, u32::MAX), u64::MAX, u64::MAX);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// In no span of time pass more than the burst and what came back in that span, whenever and
        /// however impatiently somebody asks; and nobody who was promised a token is overtaken.
        #[test]
        fn never_more_than_the_rate(
            per_second in 1u32..2000,
            burst in 1u32..50,
            asks in prop::collection::vec((0u64..40 * MILLI, 0u64..100 * MILLI, 0u32..3), 1..120),
        ) {
            let (refill, mut bucket, mut now) = (refill(per_second, burst), Bucket::default(), 0);
            let mut passed = Vec::new();
            for (pause, patience, fault) in asks {
                now += pause;
                if let Some(wait) = bucket.take(refill, now, patience) {
                    prop_assert!(wait <= patience);
                    passed.push(now + wait);
                }
                if fault == 2 {
                    bucket.charge(refill, now, fault);
                }
            }
            prop_assert!(passed.is_sorted());
            for (first, from) in passed.iter().enumerate() {
                for (last, to) in passed.iter().enumerate().skip(first) {
                    let most = u64::from(burst) + (to - from) / refill.interval + 1;
                    prop_assert!((last - first + 1) as u64 <= most, "{first}..={last}");
                }
            }
        }
    }
}
