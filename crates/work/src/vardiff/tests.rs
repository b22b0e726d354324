#![allow(clippy::float_arithmetic, clippy::cast_possible_truncation, reason = "a simulation, not money")]

use super::*;

const SPM: u32 = 12;
const EASIEST: u8 = 50;
/// Between a change of target and the first share under it.
const LATENCY: u64 = 100;

/// SplitMix64: the same numbers on every machine.
struct Rng(u64);

impl Rng {
    /// In (0, 1].
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (((z ^ (z >> 31)) >> 11) + 1) as f64 / (1u64 << 53) as f64
    }
}

/// A miner that would send the wished number of shares on rung `ideal`, which need not be whole.
struct Miner {
    rng: Rng,
    vardiff: Vardiff,
    ideal: f64,
    now: f64,
    changes: u32,
    /// The rung under which the miner works, and from when on which other.
    working: u8,
    ordered: (f64, u8),
    easiest: u8,
}

impl Miner {
    /// Opens a channel with a nominal hash rate that is wrong by `2^error`: too high if positive.
    fn open(seed: u64, ideal: f64, error: i32) -> Self {
        let nominal = ideal - f64::from(error);
        let rung = nominal.round().clamp(0.0, EASIEST.into()) as u8;
        let share_millis = 60_000.0 / f64::from(SPM) * (nominal - f64::from(rung)).exp2();
        let vardiff = Vardiff::new(rung, share_millis as u128, 0);
        let (rng, ordered) = (Rng(seed), (0.0, rung));
        Self { rng, vardiff, ideal, now: 0.0, changes: 0, working: rung, ordered, easiest: EASIEST }
    }

    fn run_until(&mut self, end: f64) {
        while self.now < end {
            if self.now >= self.ordered.0 {
                self.working = self.ordered.1;
            }
            let per_milli = f64::from(SPM) / 60_000.0 * (f64::from(self.working) - self.ideal).exp2();
            let next = self.now - self.rng.uniform().ln() / per_milli;
            // Polled ten times a second. A share later than that is drawn anew: it has no memory.
            let poll = (self.now / 100.0).floor() * 100.0 + 100.0;
            self.now = next.min(poll);
            let millis = self.now as u64;
            if next <= poll {
                self.vardiff.record(self.working, SPM, millis);
            }
            let easiest = self.easiest;
            if self.vardiff.adjust(SPM, || easiest, millis) {
                self.changes += 1;
                self.ordered = ((millis + LATENCY) as f64, self.vardiff.rung());
            }
        }
    }

    fn off_by(&self) -> f64 {
        (f64::from(self.vardiff.rung()) - self.ideal).abs()
    }
}

/// How many of `runs` end well; the ideal rung lies anywhere between two.
fn share_of_runs(runs: u64, run: impl Fn(u64, f64) -> bool) -> f64 {
    let good = (0..runs).filter(|&seed| run(seed, 20.0 + seed as f64 / runs as f64)).count();
    good as f64 / runs as f64
}

// proves: PO-07
#[test]
fn at_the_right_rate_nothing_changes_for_ten_minutes() {
    let calm = share_of_runs(1000, |seed, ideal| {
        let mut miner = Miner::open(seed, ideal, 0);
        miner.run_until(600_000.0);
        miner.changes == 0
    });
    assert!(calm >= 0.99, "{calm}");
}

#[test]
fn at_the_right_rate_little_changes_for_ten_hours() {
    let calm = share_of_runs(40, |seed, ideal| {
        let mut miner = Miner::open(seed, ideal, 0);
        miner.run_until(36_000_000.0);
        miner.changes <= 4 && miner.off_by() <= 1.5
    });
    assert!(calm >= 0.9, "{calm}");
}

#[track_caller]
fn converges(error: i32, within: f64, tolerance: f64, runs: u64) {
    let good = share_of_runs(runs, |seed, ideal| {
        let mut miner = Miner::open(seed, ideal, error);
        miner.run_until(within);
        miner.off_by() <= tolerance
    });
    assert!(good >= 0.95, "error 2^{error}: {good} of the runs");
}

// proves: PO-07
#[test]
fn a_nominal_rate_wrong_by_65536_is_corrected_within_a_minute() {
    converges(-16, 60_000.0, 1.5, 100);
    converges(16, 60_000.0, 1.5, 500);
}

#[test]
fn other_errors_are_corrected_too() {
    for error in [-20, -12, -8, -5, -3] {
        converges(error, 60_000.0, 1.5, 100);
    }
    for error in [8, 12] {
        converges(error, 60_000.0, 2.5, 300);
    }
    for error in [2, 3, 4, 5, 6] {
        converges(error, 420_000.0, 1.7, 200);
    }
}

#[test]
fn silence_eases_with_patience_and_not_without_end() {
    let mut miner = Miner::open(1, 20.0, 0);
    miner.run_until(300_000.0);
    let rung = miner.vardiff.rung();
    // The device is gone.
    miner.ideal = 1000.0;
    miner.run_until(300_000.0 + 60_000.0);
    assert_eq!(miner.vardiff.rung(), rung);
    miner.run_until(300_000.0 + 180_000.0);
    assert!(miner.vardiff.rung() > rung);
    miner.run_until(36_000_000.0);
    assert!(miner.vardiff.rung() <= rung + EASE_MOST);
    // It comes back.
    miner.ideal = 20.0;
    miner.run_until(36_060_000.0);
    assert!(miner.off_by() <= 1.5);
}

#[test]
fn the_easiest_rung_holds() {
    let mut miner = Miner::open(2, 40.0, 20);
    miner.easiest = 30;
    miner.run_until(600_000.0);
    assert_eq!(miner.vardiff.rung(), 30);
}

#[test]
fn a_fourfold_rise_and_a_fourfold_fall_are_followed() {
    let good = share_of_runs(100, |seed, ideal| {
        let mut miner = Miner::open(seed, ideal, 0);
        miner.run_until(600_000.0);
        miner.ideal -= 2.0;
        miner.run_until(1_200_000.0);
        let risen = miner.off_by() <= 1.5;
        miner.ideal += 2.0;
        miner.run_until(2_400_000.0);
        risen && miner.off_by() <= 1.5
    });
    assert!(good >= 0.95, "{good}");
}

#[test]
fn a_burst_after_a_stalled_network_is_no_rise() {
    let mut vardiff = Vardiff::new(20, 5000, 0);
    for share in 1..100 {
        vardiff.record(20, SPM, share * 5000);
        assert!(!vardiff.adjust(SPM, || EASIEST, share * 5000));
    }
    // A minute of silence, then its twelve shares at once.
    for _ in 0..12 {
        vardiff.record(20, SPM, 555_000);
        vardiff.adjust(SPM, || EASIEST, 555_000);
    }
    assert!(vardiff.rung() >= 19, "{}", vardiff.rung());
}

#[test]
fn shares_of_the_target_before_do_not_count_as_a_rise() {
    let mut vardiff = Vardiff::new(30, 5000, 0);
    for millis in 0..30 {
        vardiff.record(30, SPM, millis);
        vardiff.adjust(SPM, || EASIEST, millis);
    }
    let rung = vardiff.rung();
    assert!(rung < 20);
    for millis in 30..1000 {
        vardiff.record(30, SPM, millis);
        vardiff.adjust(SPM, || EASIEST, millis);
    }
    assert_eq!(vardiff.rung(), rung);
}

proptest::proptest! {
  #[test]
  fn nothing_panics_and_limits_hold(
    start in 0u8..=50,
    share_millis: u64,
    shares_per_minute: u32,
    events in proptest::collection::vec((proptest::prelude::any::<u64>(), 0u8..60, 0u8..3), 0..200),
  ) {
    let mut vardiff = Vardiff::new(start, share_millis.into(), 0);
    let mut now = 0u64;
    for (step, rung, what) in events {
      match what {
        0 => now = step,
        1 => now = now.saturating_add(step % 10_000),
        _ => {}
      }
      vardiff.record(rung, shares_per_minute, now);
      vardiff.adjust(shares_per_minute, || EASIEST, now);
      proptest::prop_assert!(vardiff.rung() <= EASIEST);
    }
  }
}

#[test]
fn a_burst_after_a_pause_that_explains_it_changes_nothing() {
    let mut vardiff = Vardiff::new(20, 5_000, 0);
    let mut now = 0;
    for _ in 0..60 {
        now += 5_000;
        vardiff.record(20, SPM, now);
        assert!(!vardiff.adjust(SPM, || EASIEST, now), "a steady miner at the wished rate");
    }
    // A minute's shares were held up on their way and arrive together.
    now += 60_000;
    for _ in 0..SPM + 1 {
        vardiff.record(20, SPM, now);
    }
    assert!(!vardiff.adjust(SPM, || EASIEST, now));
    assert_eq!(vardiff.rung(), 20);
    // The same number without a pause is another matter.
    for _ in 0..4 * SPM {
        now += 100;
        vardiff.record(20, SPM, now);
    }
    assert!(vardiff.adjust(SPM, || EASIEST, now) && vardiff.rung() < 20);
}

/// A miner whose firmware gets out `most` shares a second, however easy its target; new targets bite after `latency`
/// milliseconds, and jobs that carry them come once a second. Tells when its bucket of shares was empty, if it was.
fn empties_bucket(ideal: f64, most: f64, latency: u64, obeys: bool) -> Option<u64> {
    // What the pool allows by default: 500 times the wished rate, and 20,000 shares beyond.
    let rate = crate::Rate::per_minute(SPM * 500, 20_000);
    let mut bucket = crate::Bucket::default();
    let mut vardiff = Vardiff::new(EASIEST, 5000, 0);
    let (mut working, mut ordered, mut found) = (EASIEST, Vec::new(), 0.0);
    for now in 0..600_000u64 {
        let per_milli = f64::from(SPM) / 60_000.0 * (f64::from(working) - ideal).exp2();
        found += per_milli.min(most / 1000.0);
        while found >= 1.0 {
            found -= 1.0;
            vardiff.record(working, SPM, now);
            if !bucket.take(rate, now) {
                return Some(now);
            }
        }
        // After each batch that the disk took.
        if now % 10 == 0 && vardiff.adjust(SPM, || EASIEST, now) {
            bucket.refill();
            ordered.push((now.next_multiple_of(1000) + latency, vardiff.rung()));
        }
        if obeys && let Some(index) = ordered.iter().rposition(|(at, _)| *at <= now) {
            working = ordered[index].1;
            ordered.drain(..=index);
        }
    }
    None
}

// proves: PO-07
#[test]
fn a_miner_that_is_far_faster_than_it_said_has_its_target_raised_and_is_no_flood() {
    for (ideal, most, latency) in [
        (EASIEST.into(), 1e9, 100),
        (40.0, 1e9, 1000),
        (34.0, 1000.0, 15_000),
        (10.0, 1000.0, 10_000),
        (0.0, 5000.0, 2000),
        (25.0, 10_000.0, 1000),
    ] {
        let ended = empties_bucket(ideal, most, latency, true);
        assert_eq!(ended, None, "2^{} too fast, {most} shares/s, {latency} ms", f64::from(EASIEST) - ideal);
    }
}

#[test]
fn a_miner_that_ignores_its_targets_is_a_flood_soon() {
    for (most, within) in [(200.0, 400_000), (1000.0, 60_000), (100_000.0, 2000)] {
        let ended = empties_bucket(0.0, most, 0, false);
        assert!(ended.is_some_and(|at| at < within), "{most} shares/s: {ended:?}");
    }
    assert_eq!(empties_bucket(0.0, 99.0, 0, false), None, "below 500 times the wished rate it is no danger");
}

/// A server that stood still heard nothing, and then some of what was sent: neither says anything.
#[test]
fn a_pause_of_the_server_is_forgotten() {
    let mut steady = Vardiff::new(10, 5000, 0);
    for share in 1..=20 {
        steady.record(10, SPM, share * 5000);
        assert!(!steady.adjust(SPM, || EASIEST, share * 5000));
    }
    // Ten minutes later come three shares; the others were for a tip that is gone.
    let back = 20 * 5000 + 600_000;
    (0..3).for_each(|_| steady.record(10, SPM, back));
    let mut forgetful = Vardiff { ..steady };
    assert!(steady.adjust(SPM, || EASIEST, back + 2000), "so it would be eased");
    forgetful.restart(back + 2000);
    for share in 1..=20 {
        let now = back + 2000 + share * 5000;
        assert!(!forgetful.adjust(SPM, || EASIEST, now));
        forgetful.record(10, SPM, now);
    }
    assert_eq!(forgetful.rung(), 10);
}
