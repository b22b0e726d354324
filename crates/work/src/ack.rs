//! Batches of `SubmitShares.Success`.

use crate::target::Difficulty;

/// One `SubmitShares.Success`: the shares accepted since the one before (MP-129, MP-130).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// Of the last share accepted (MP-112).
    pub last_sequence_number: u32,
    /// How many shares.
    pub new_submits_accepted_count: u32,
    /// Sum of the difficulties of their jobs' targets (MP-131).
    pub new_shares_sum: u64,
}

/// Collects accepted shares until their batch is taken.
#[derive(Debug, Default)]
pub(crate) struct Acks {
    last_sequence_number: u32,
    count: u32,
    whole: u64,
    /// What is behind the point goes over into the next batch: a device below difficulty 1 would
    /// otherwise be told 0 for ever (MP-132, AM-18).
    fraction: u64,
}

impl Acks {
    pub fn record(&mut self, sequence_number: u32, difficulty: Difficulty) {
        let sum = Difficulty::from_parts(self.whole, self.fraction) + difficulty;
        (self.whole, self.fraction) = (sum.whole(), sum.fraction());
        self.last_sequence_number = sequence_number;
        self.count = self.count.saturating_add(1);
    }

    /// Ends the batch; `None` if nothing was accepted.
    pub fn take(&mut self) -> Option<Ack> {
        if self.count == 0 {
            return None;
        }
        let ack = Ack {
            last_sequence_number: self.last_sequence_number,
            new_submits_accepted_count: self.count,
            new_shares_sum: self.whole,
        };
        self.count = 0;
        self.whole = 0;
        Some(ack)
    }
}

#[cfg(test)]
mod tests {
    use {super::*, proptest::prelude::*};

    // proves: TV-17 MP-129 MP-130 MP-131 CW-08
    #[test]
    fn a_batch_mixes_difficulties_and_the_next_starts_from_nothing() {
        let mut acks = Acks::default();
        assert_eq!(acks.take(), None);
        for sequence_number in 0..4 {
            acks.record(sequence_number, Difficulty::from_parts(100, 0));
        }
        for sequence_number in 4..10 {
            acks.record(sequence_number, Difficulty::from_parts(7, 0));
        }
        let ack = |last, count, sum| {
            Some(Ack { last_sequence_number: last, new_submits_accepted_count: count, new_shares_sum: sum })
        };
        assert_eq!(acks.take(), ack(9, 10, 4 * 100 + 6 * 7));
        assert_eq!(acks.take(), None);
        acks.record(10, Difficulty::from_parts(7, 0));
        assert_eq!(acks.take(), ack(10, 1, 7));
    }

    // proves: MP-112
    #[test]
    fn sequence_numbers_need_not_rise() {
        let mut acks = Acks::default();
        for sequence_number in [9, u32::MAX, 3] {
            acks.record(sequence_number, Difficulty::ONE);
        }
        assert_eq!(acks.take().unwrap().last_sequence_number, 3);
    }

    proptest! {
      // proves: MP-132 AM-18
      #[test]
      fn what_batches_say_adds_up(
        shares in proptest::collection::vec((0u64..1000, any::<u64>(), any::<bool>()), 1..200),
      ) {
        let mut acks = Acks::default();
        let (mut total, mut said, mut count) = (0u128, 0u64, 0);
        for (whole, fraction, take) in &shares {
          let difficulty = Difficulty::from_parts(*whole, *fraction);
          total += (u128::from(*whole) << 64) + u128::from(*fraction);
          acks.record(0, difficulty);
          if *take {
            let ack = acks.take().unwrap();
            said += ack.new_shares_sum;
            count += ack.new_submits_accepted_count as usize;
          }
        }
        if let Some(ack) = acks.take() {
          said += ack.new_shares_sum;
          count += ack.new_submits_accepted_count as usize;
        }
        prop_assert_eq!(u128::from(said), total >> 64);
        prop_assert_eq!(count, shares.len());
      }
    }
}
