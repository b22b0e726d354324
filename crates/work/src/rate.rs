//! How often something may happen: token buckets in integers, driven by a clock that is passed in.

/// Nanoseconds of a minute.
const MINUTE: u64 = 60_000_000_000;
const NANOS_PER_MILLI: u64 = 1_000_000;

/// So many a minute in the long run, and so many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Nanoseconds in which one more becomes free; 0: there is no limit.
    every: u64,
    /// Nanoseconds in which all of them become free.
    room: u64,
}

impl Rate {
    /// Everything, always.
    pub const UNLIMITED: Self = Self { every: 0, room: 0 };

    /// `per_minute` in the long run and `burst` at once, at least one of each.
    pub const fn per_minute(per_minute: u32, burst: u32) -> Self {
        let every = MINUTE / if per_minute == 0 { 1 } else { per_minute as u64 };
        Self { every, room: every.saturating_mul(if burst == 0 { 1 } else { burst as u64 }) }
    }
}

/// What of a [`Rate`] is used up. Full at first; the rate may be another with every call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bucket {
    /// When all that was taken has become free again, in nanoseconds.
    free_at: u64,
}

impl Bucket {
    /// Takes one if there is one. A refusal costs nothing, so whoever slows down is served again.
    pub fn take(&mut self, rate: Rate, now_millis: u64) -> bool {
        if rate.every == 0 {
            return true;
        }
        let now = now_millis.saturating_mul(NANOS_PER_MILLI);
        let free_at = self.free_at.max(now).saturating_add(rate.every);
        if free_at - now > rate.room {
            return false;
        }
        self.free_at = free_at;
        true
    }

    /// Whether less than half is left.
    pub fn is_low(&self, rate: Rate, now_millis: u64) -> bool {
        let now = now_millis.saturating_mul(NANOS_PER_MILLI);
        rate.every != 0 && self.free_at.saturating_sub(now) > rate.room / 2
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
            let free = (at - log[first].0) * NANOS_PER_MILLI / rate.every;
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
