//! The books of a device: what it submitted and what became of it.

use std::collections::{BTreeMap, VecDeque};

use work::Ehash;

/// Shares that may wait for an answer; beyond it the oldest counts as unanswered.
const OUTSTANDING: usize = 4096;
/// Distinct error codes counted one by one.
const CODES: usize = 32;
/// Where errors beyond [`CODES`] are counted.
const OTHER_CODES: &str = "other";

/// Counts shares over the whole life of a device.
///
/// `submitted = accepted + rejected + unanswered + outstanding` holds at all times.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    submitted: u64,
    accepted: u64,
    rejected: u64,
    unanswered: u64,
    dropped: u64,
    blocks: u64,
    credit: Ehash,
    difficulty_sum: u64,
    by_code: BTreeMap<String, u64>,
    outstanding: VecDeque<Outstanding>,
}

#[derive(Debug, Clone, Copy)]
struct Outstanding {
    sequence_number: u32,
    credit: Ehash,
}

/// What one SubmitShares.Success settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    /// Shares of this device that it covers.
    pub count: u64,
    /// What they are worth.
    pub credit: Ehash,
}

impl Tally {
    /// A share went out.
    pub fn submit(&mut self, sequence_number: u32, credit: Ehash, block: bool) {
        if self.outstanding.len() == OUTSTANDING {
            self.outstanding.pop_front();
            self.unanswered += 1;
        }
        self.submitted += 1;
        self.blocks += u64::from(block);
        self.outstanding.push_back(Outstanding { sequence_number, credit });
        self.check();
    }

    /// A result was not submitted because its job had ended.
    pub fn drop_stale(&mut self) {
        self.dropped += 1;
    }

    /// The server accepted `count` shares, `last` being the latest of them. Counters of the message
    /// restart with each batch (MP-130), so they are added up here. Which shares they are is not said:
    /// the oldest unanswered ones up to `last`.
    pub fn accept(&mut self, last: u32, count: u32, difficulty_sum: u64) -> Settled {
        let mut settled = Settled { count: 0, credit: Ehash::ZERO };
        while settled.count < u64::from(count) {
            let covered = |share: &Outstanding| not_after(share.sequence_number, last);
            match self.outstanding.front() {
                Some(share) if covered(share) => settled.credit = settled.credit.saturating_add(share.credit),
                _ => break,
            }
            self.outstanding.pop_front();
            settled.count += 1;
        }
        self.accepted += settled.count;
        self.credit = self.credit.saturating_add(settled.credit);
        self.difficulty_sum = self.difficulty_sum.saturating_add(difficulty_sum);
        self.check();
        settled
    }

    /// The server refused the share with this number. Answers whether it was waited for.
    pub fn reject(&mut self, sequence_number: u32, code: &str) -> bool {
        let at = self.outstanding.iter().position(|share| share.sequence_number == sequence_number);
        if at.and_then(|at| self.outstanding.remove(at)).is_none() {
            return false;
        }
        self.rejected += 1;
        let known = self.by_code.contains_key(code) || self.by_code.len() < CODES;
        *self.by_code.entry(if known { code } else { OTHER_CODES }.to_owned()).or_default() += 1;
        self.check();
        true
    }

    /// The channel is gone: nothing that is outstanding will be answered any more.
    pub fn abandon(&mut self) {
        self.unanswered += self.outstanding.len() as u64;
        self.outstanding.clear();
        self.check();
    }

    fn check(&self) {
        assert_eq!(
            self.submitted,
            self.accepted + self.rejected + self.unanswered + self.outstanding(),
            "every submitted share is in exactly one account"
        );
    }

    /// Shares sent to a pool.
    pub fn submitted(&self) -> u64 {
        self.submitted
    }

    /// Shares that a pool acknowledged.
    pub fn accepted(&self) -> u64 {
        self.accepted
    }

    /// Shares that a pool refused.
    pub fn rejected(&self) -> u64 {
        self.rejected
    }

    /// Refused shares by the pool's code.
    pub fn rejected_by_code(&self) -> &BTreeMap<String, u64> {
        &self.by_code
    }

    /// Shares that may still be answered.
    pub fn outstanding(&self) -> u64 {
        self.outstanding.len() as u64
    }

    /// Shares that were never answered.
    pub fn unanswered(&self) -> u64 {
        self.unanswered
    }

    /// Results not submitted, as their job had ended before they arrived.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Submitted shares that met the network target.
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// What the accepted shares are worth, by the targets of their jobs.
    pub fn credit(&self) -> Ehash {
        self.credit
    }

    /// Sum of difficulties, as pools reported it.
    pub fn difficulty_sum(&self) -> u64 {
        self.difficulty_sum
    }
}

/// Whether `number` is `last` or before it, in a counter that wraps (MD-08).
fn not_after(number: u32, last: u32) -> bool {
    last.wrapping_sub(number) < 1 << 31
}

#[cfg(test)]
mod tests {
    use super::*;

    fn submitted(first: u32, count: u32) -> Tally {
        let mut tally = Tally::default();
        for at in 0..count {
            tally.submit(first.wrapping_add(at), Ehash::new(10), false);
        }
        tally
    }

    // proves: MD-08
    #[test]
    fn batches_add_up_across_the_wrap_of_the_sequence_number() {
        let mut tally = submitted(u32::MAX - 1, 4); // −2, −1, 0, 1
        assert_eq!(tally.accept(0, 3, 7), Settled { count: 3, credit: Ehash::new(30) });
        assert_eq!(tally.accept(1, 1, 2), Settled { count: 1, credit: Ehash::new(10) });
        assert_eq!((tally.accepted(), tally.outstanding(), tally.difficulty_sum()), (4, 0, 9));
    }

    #[test]
    fn a_server_cannot_acknowledge_what_was_not_submitted() {
        let mut tally = submitted(1, 2);
        assert_eq!(tally.accept(1, 1000, 0).count, 1, "the second has a later number");
        assert_eq!(tally.accept(9, 1000, 0).count, 1);
        assert_eq!(tally.accept(9, 1000, 0).count, 0);
        assert!(!tally.reject(1, "stale-share"), "already accepted");
        assert_eq!((tally.accepted(), tally.rejected()), (2, 0));
    }

    #[test]
    fn errors_take_their_share_out_of_the_batch() {
        let mut tally = submitted(1, 3);
        assert!(tally.reject(2, "duplicate-share"));
        assert_eq!(tally.accept(3, 2, 0).count, 2);
        assert_eq!((tally.accepted(), tally.rejected(), tally.credit()), (2, 1, Ehash::new(20)));
        assert_eq!(tally.rejected_by_code()["duplicate-share"], 1);
    }

    #[test]
    fn memory_is_bounded_whatever_the_server_does() {
        let mut tally = submitted(0, 10_000);
        assert_eq!((tally.outstanding(), tally.unanswered()), (4096, 10_000 - 4096));
        for number in 5904..10_000u32 {
            assert!(tally.reject(number, &format!("code-{number}")));
        }
        assert_eq!(tally.rejected_by_code().len(), CODES + 1);
        assert_eq!(tally.rejected_by_code().values().sum::<u64>(), 4096);
        tally.submit(0, Ehash::ZERO, true);
        tally.abandon();
        assert_eq!((tally.outstanding(), tally.blocks()), (0, 1));
    }
}
