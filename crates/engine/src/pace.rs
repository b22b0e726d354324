//! Lets a little work gather when it comes in drops.
//!
//! To be woken, ask what is ready and serve one share costs a shard more than the share does. So a shard
//! that has had many turns lately sleeps until the next is due, two milliseconds after the last, and
//! finds a few connections ready instead of one. A shard that is idle, or comes to rest now and
//! then, is not slowed down at all; nor is one whose turns are long, as the next is due when it ends.

use {crate::admission::bucket::Nanos, std::time::Duration};

/// From one turn to the next, in the long run.
const TURN: Nanos = 2_000_000;
/// Turns that may follow each other at once, after a pause.
const BURST: Nanos = 16;
/// Falling asleep and waking takes some microseconds: less than this is not worth it.
const SHORTEST: Nanos = 100_000;

/// Counts the turns of a shard.
#[derive(Default)]
pub(crate) struct Pace {
    /// When all turns so far are paid for, at one for each [`TURN`].
    paid: Nanos,
}

impl Pace {
    /// The shard is about to wait for its next turn. For how long to let work gather first.
    pub(crate) fn nap(&mut self, now: Nanos) -> Duration {
        let paid = self.paid.max(now).saturating_add(TURN);
        let credit = now.saturating_add(BURST * TURN);
        // A nap that the bell ended early is not made up for.
        self.paid = paid.min(credit.saturating_add(TURN));
        let nap = self.paid.saturating_sub(credit);
        Duration::from_nanos(if nap < SHORTEST { 0 } else { nap })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Turns of `work` each that are called for every `gap`, for a second; how many there were, and the
    /// longest nap.
    fn second(work: Nanos, gap: Nanos) -> (u32, Nanos) {
        let (mut pace, mut now, mut turns, mut longest) = (Pace::default(), 0, 0, 0);
        let mut called = 0;
        while now < 1_000_000_000 {
            let nap = u64::try_from(pace.nap(now).as_nanos()).unwrap();
            longest = longest.max(nap);
            called = called.max(now) + gap;
            now = called.max(now + nap) + work;
            turns += 1;
        }
        (turns, longest)
    }

    #[test]
    fn many_small_turns_are_drawn_together_and_nothing_else_waits() {
        #[track_caller]
        fn case(work: Nanos, gap: Nanos, turns: std::ops::RangeInclusive<u32>, naps: bool) {
            let (had, longest) = second(work, gap);
            assert!(turns.contains(&had), "{had} turns");
            assert_eq!(longest > 0, naps, "longest nap {longest}");
            assert!(longest <= TURN);
        }
        // One share every 100 µs, every 300 µs, …: five hundred turns in place of ten thousand.
        case(10_000, 100_000, 480..=520, true);
        case(30_000, 300_000, 480..=520, true);
        // … one every 3 ms: each at once.
        case(10_000, 3_000_000, 330..=334, false);
        // Turns full of work follow each other.
        case(5_000_000, 0, 195..=205, false);
    }

    #[test]
    fn a_burst_after_a_pause_is_served_at_once() {
        let mut pace = Pace::default();
        for round in 1..10 {
            let now = round * 1_000_000_000;
            for turn in 0..BURST {
                assert_eq!(pace.nap(now + turn), Duration::ZERO);
            }
            assert!(!pace.nap(now + BURST).is_zero());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// However turns come, and whoever interrupts naps: no nap is longer than a turn's distance, and
        /// after a rest as long as the burst there is none.
        #[test]
        fn naps_are_short(gaps in prop::collection::vec(0u64..3 * TURN, 1..500)) {
            let (mut pace, mut now) = (Pace::default(), 0);
            for gap in gaps {
                prop_assert!(pace.nap(now) <= Duration::from_nanos(TURN));
                now += gap;
            }
            prop_assert!(pace.nap(now + (BURST + 1) * TURN).is_zero());
        }
    }
}
