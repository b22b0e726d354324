//! The shares of a channel that wait for their answer.

use std::collections::VecDeque;

/// Takes the place of a time: the share was refused already, but an older one still waits.
const ANSWERED: u32 = u32::MAX;

/// Submissions by rising sequence number, oldest first: when each was made, in wrapping microseconds.
#[derive(Debug)]
pub(crate) struct Outstanding {
    next: u32,
    submitted: VecDeque<u32>,
    waiting: u32,
}

impl Default for Outstanding {
    fn default() -> Self {
        // The first submission is number 1.
        Self { next: 1, submitted: VecDeque::new(), waiting: 0 }
    }
}

impl Outstanding {
    /// How many have no answer.
    pub(crate) fn waiting(&self) -> u32 {
        self.waiting
    }

    /// Notes a submission; returns its sequence number.
    pub(crate) fn submit(&mut self, micros: u32) -> u32 {
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        self.submitted.push_back(if micros == ANSWERED { micros - 1 } else { micros });
        self.waiting += 1;
        number
    }

    /// `SubmitShares.Success`: all up to `last` are answered. Calls `each` with the microseconds that each waited.
    pub(crate) fn acknowledge(&mut self, last: u32, micros: u32, mut each: impl FnMut(u32)) {
        let Some(index) = self.index(last) else { return };
        for submitted in self.submitted.drain(..=index) {
            if submitted != ANSWERED {
                self.waiting -= 1;
                each(micros.wrapping_sub(submitted));
            }
        }
        self.drop_answered();
    }

    /// `SubmitShares.Error`: this one is answered. False if it was before, or was never made.
    pub(crate) fn refuse(&mut self, number: u32) -> bool {
        let Some(index) = self.index(number) else { return false };
        if std::mem::replace(&mut self.submitted[index], ANSWERED) == ANSWERED {
            return false;
        }
        self.waiting -= 1;
        self.drop_answered();
        true
    }

    /// Nothing will be answered any more. Returns how many waited.
    pub(crate) fn abandon(&mut self) -> u32 {
        self.submitted = VecDeque::new();
        std::mem::take(&mut self.waiting)
    }

    fn index(&self, number: u32) -> Option<usize> {
        let len = u32::try_from(self.submitted.len()).ok()?;
        let index = number.wrapping_sub(self.next.wrapping_sub(len));
        (index < len).then_some(index as usize)
    }

    fn drop_answered(&mut self) {
        while self.submitted.front() == Some(&ANSWERED) {
            self.submitted.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waited(outstanding: &mut Outstanding, last: u32, micros: u32) -> Vec<u32> {
        let mut times = Vec::new();
        outstanding.acknowledge(last, micros, |time| times.push(time));
        times
    }

    #[test]
    fn an_acknowledgement_covers_all_before_it() {
        let mut outstanding = Outstanding::default();
        let numbers: Vec<u32> = (0..5).map(|n| outstanding.submit(n * 10)).collect();
        assert_eq!(numbers, [1, 2, 3, 4, 5]);
        assert_eq!(waited(&mut outstanding, 3, 100), [100, 90, 80]);
        assert_eq!(outstanding.waiting(), 2);
        // Once more, for the past, for the future: nothing.
        for last in [3, 1, 0, 6, u32::MAX] {
            assert_eq!(waited(&mut outstanding, last, 100), []);
        }
        assert_eq!(waited(&mut outstanding, 5, 100), [70, 60]);
        assert_eq!(outstanding.waiting(), 0);
    }

    #[test]
    fn a_refused_share_is_not_acknowledged_as_well() {
        let mut outstanding = Outstanding::default();
        for _ in 0..4 {
            outstanding.submit(0);
        }
        for (number, expected) in [(2, true), (2, false), (9, false), (1, true)] {
            assert_eq!(outstanding.refuse(number), expected, "{number}");
        }
        assert_eq!(outstanding.waiting(), 2);
        assert_eq!(waited(&mut outstanding, 4, 7), [7, 7]);
        assert_eq!(outstanding.waiting(), 0);
    }

    #[test]
    fn sequence_numbers_and_clocks_may_wrap() {
        let mut outstanding = Outstanding { next: u32::MAX, ..Outstanding::default() };
        outstanding.submit(u32::MAX);
        assert_eq!(outstanding.submit(5), 0);
        assert_eq!(waited(&mut outstanding, 0, 8), [10, 3]);
    }

    #[test]
    fn what_is_abandoned_waits_no_more() {
        let mut outstanding = Outstanding::default();
        outstanding.submit(0);
        outstanding.submit(0);
        outstanding.refuse(2);
        assert_eq!(outstanding.abandon(), 1);
        assert_eq!(outstanding.waiting(), 0);
        assert_eq!(outstanding.submit(0), 3);
    }
}
