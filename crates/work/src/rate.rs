//! How often something may happen: token buckets in integers, driven by a clock that is passed in.

/// What one is worth. So a millisecond gives back as much as there are a minute, and nothing is ever rounded.
const ONE: u64 = 60_000;

/// So many a minute in the long run, and so many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    per_minute: u32,
    burst: u32,
}

impl Rate {
    /// Everything, always.
    pub const UNLIMITED: Self = Self { per_minute: u32::MAX, burst: u32::MAX };

    /// `per_minute` in the long run and `burst` at once, at least one of each.
    pub const fn per_minute(per_minute: u32, burst: u32) -> Self {
        Self {
            per_minute: if per_minute == 0 { 1 } else { per_minute },
            burst: if burst == 0 { 1 } else { burst },
        }
    }

    const fn is_unlimited(self) -> bool {
        self.burst == u32::MAX
    }

    const fn room(self) -> u64 {
        self.burst as u64 * ONE
    }
}

/// What of a [`Rate`] is used up. Full at first; the rate may be another with every call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bucket {
    used: u64,
    /// When that was so, in milliseconds.
    at: u64,
}

impl Bucket {
    /// Takes one if there is one. A refusal costs nothing, so whoever slows down is served again.
    pub fn take(&mut self, rate: Rate, now_millis: u64) -> bool {
        if rate.is_unlimited() {
            return true;
        }
        let used = self.used_by(rate, now_millis);
        let taken = used + ONE <= rate.room();
        self.used = if taken { used + ONE } else { used };
        self.at = self.at.max(now_millis);
        taken
    }

    /// Whether less than half is left.
    pub fn is_low(&self, rate: Rate, now_millis: u64) -> bool {
        !rate.is_unlimited() && self.used_by(rate, now_millis) > rate.room() / 2
    }

    fn used_by(&self, rate: Rate, now_millis: u64) -> u64 {
        let elapsed = now_millis.saturating_sub(self.at);
        self.used.saturating_sub(elapsed.saturating_mul(rate.per_minute.into()))
    }

    /// Gives back all that was taken.
    pub fn refill(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use {super::*, proptest::prelude::*};

    fn taken(bucket: &mut Bucket, rate: Rate, now: u64, tries: u32) -> u32 {
        (0..tries).map(|_| u32::from(bucket.take(rate, now))).sum()
    }

    #[test]
    fn bursts_and_refills() {
        let rate = Rate::per_minute(60, 5);
        let mut bucket = Bucket::default();
        // At once; nothing more; one a second; never more than the burst; a clock that stands or jumps back.
        for (now, tries, wanted) in
            [(0, 9, 5), (999, 9, 0), (1000, 9, 1), (3500, 9, 2), (4000, 9, 1), (600_000, 9, 5), (10, 9, 0)]
        {
            assert_eq!(taken(&mut bucket, rate, now, tries), wanted, "at {now}");
        }
        bucket.refill();
        assert_eq!(taken(&mut bucket, rate, 600_000, 9), 5);
        assert_eq!(taken(&mut Bucket::default(), Rate::UNLIMITED, 0, 1000), 1000);
        assert_eq!(taken(&mut Bucket::default(), Rate::per_minute(0, 0), 0, 2), 1, "none is not a rate");
        assert_eq!(taken(&mut Bucket::default(), Rate::per_minute(u32::MAX, u32::MAX), 5, 1000), 1000);
    }

    #[test]
    fn low_is_less_than_half() {
        let rate = Rate::per_minute(60, 10);
        let mut bucket = Bucket::default();
        assert_eq!(taken(&mut bucket, rate, 0, 5), 5);
        assert!(!bucket.is_low(rate, 0));
        assert!(bucket.take(rate, 0) && bucket.is_low(rate, 0) && !bucket.is_low(rate, 1000));
        assert!(!bucket.is_low(Rate::UNLIMITED, 0));
    }

    #[test]
    fn what_was_taken_counts_the_same_at_another_rate() {
        let (slow, fast) = (Rate::per_minute(1, 10), Rate::per_minute(1000, 20));
        let mut bucket = Bucket::default();
        assert_eq!(taken(&mut bucket, slow, 0, 99), 10);
        assert_eq!((taken(&mut bucket, fast, 0, 99), taken(&mut bucket, slow, 0, 99)), (10, 0));
    }

    proptest! {
      /// No window holds more than the burst and what became free within it.
      #[test]
      fn no_window_holds_more(
        per_minute in 1u32..100_000,
        burst in 1u32..500,
        steps in proptest::collection::vec((0u64..400, 0u32..200), 1..80),
      ) {
        let rate = Rate::per_minute(per_minute, burst);
        let (mut bucket, mut now, mut log) = (Bucket::default(), 0, Vec::new());
        for (pause, tries) in steps {
          now += pause;
          log.push((now, taken(&mut bucket, rate, now, tries)));
        }
        for first in 0..log.len() {
          let mut sum = 0;
          for (at, count) in &log[first..] {
            sum += u64::from(*count);
            let free = (at - log[first].0) * u64::from(per_minute) / ONE;
            prop_assert!(sum <= u64::from(burst) + free + 1);
          }
        }
      }

      /// Who keeps to the rate is never refused, whatever the phase.
      #[test]
      fn the_rate_itself_is_granted(per_minute in 1u32..6000, start in 0u64..1 << 40) {
        let (rate, mut bucket) = (Rate::per_minute(per_minute, 2), Bucket::default());
        let step = 60_000u64.div_ceil(u64::from(per_minute));
        for n in 0..200 {
          prop_assert!(bucket.take(rate, start + n * step));
        }
      }
    }
}
