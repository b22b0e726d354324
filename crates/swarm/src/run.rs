//! The measured run of one worker: when it sends, when it is over, and what it counted.

use std::time::{Duration, Instant};

use crate::board::Reasons;
use crate::histogram::Histogram;
use crate::worker::TurnoverOrder;

/// How long the last answers are waited for.
const LAST_ANSWERS: Duration = Duration::from_secs(2);
/// Without any answer for so long, the pool has stopped.
const STALL: Duration = Duration::from_secs(5);

/// What a run is to be.
#[derive(Clone, Debug)]
pub(crate) struct RunOrder {
    pub started: Instant,
    pub until: Instant,
    /// Of each channel.
    pub window: u32,
    /// Shares a second of this worker, in thousandths.
    pub millirate: Option<u64>,
    /// Shares that were not prepared are found when they are due, and nothing but time ends the run.
    pub endless: bool,
    /// Connections that come and go meanwhile.
    pub turnover: Option<TurnoverOrder>,
}

/// Why sending ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ended {
    Time,
    SharesUsedUp,
    TipChanged,
    Stalled,
    Interrupted,
}

/// What one worker counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Messages that came since the board was told.
    pub received: u64,
    pub submitted: u64,
    /// What the server's acknowledgements say.
    pub accepted: u64,
    /// What they cover by their sequence numbers.
    pub acknowledged: u64,
    pub rejected: Reasons,
    /// From submission to acknowledgement, in microseconds.
    pub latency: Histogram,
    /// Submissions without an answer.
    pub outstanding: u64,
    /// Submissions whose channel or connection ended.
    pub abandoned: u64,
    /// Prepared and not submitted yet.
    pub left: u64,
    /// Prepared for a job that has ended.
    pub cut: u64,
    /// Submitted for a job that a newer one had taken the place of, on the same tip.
    pub superseded: u64,
    /// Turns in which no share could leave, as the window was full or the socket was.
    pub held_back: u64,
    pub writes: u64,
    pub cpu: Duration,
    pub ended: Option<Ended>,
    /// When the last answer came.
    pub last_answer: Option<Instant>,
}

impl Tally {
    pub(crate) fn merge(&mut self, other: &Self) {
        self.submitted += other.submitted;
        self.accepted += other.accepted;
        self.acknowledged += other.acknowledged;
        self.rejected.merge(&other.rejected);
        self.latency.merge(&other.latency);
        self.outstanding += other.outstanding;
        self.abandoned += other.abandoned;
        self.left += other.left;
        self.cut += other.cut;
        self.superseded += other.superseded;
        self.held_back += other.held_back;
        self.writes += other.writes;
        self.cpu += other.cpu;
        self.ended = self.ended.max(other.ended);
        self.last_answer = self.last_answer.max(other.last_answer);
    }
}

/// A run that is going on.
#[derive(Debug)]
pub(crate) struct Run {
    pub order: RunOrder,
    /// Connection and channel of each turn, for runs at a rate.
    pub turns: Vec<(usize, usize)>,
    pub cpu_before: Duration,
    pub writes_before: u64,
    next_turn: usize,
    turns_taken: u64,
    ended: Option<(Ended, Instant)>,
    /// When the last answer came, or a first share went out to an idle pool.
    progress: Instant,
}

impl Run {
    pub(crate) fn new(order: RunOrder, turns: Vec<(usize, usize)>, cpu: Duration, writes: u64) -> Self {
        Self {
            progress: order.started,
            order,
            turns,
            cpu_before: cpu,
            writes_before: writes,
            next_turn: 0,
            turns_taken: 0,
            ended: None,
        }
    }

    /// Whether shares still go out.
    pub(crate) fn is_sending(&self) -> bool {
        self.ended.is_none()
    }

    /// Whether shares go out as soon as there is room in a window.
    pub(crate) fn is_pipelined(&self) -> bool {
        self.order.millirate.is_none() && self.is_sending()
    }

    pub(crate) fn end(&mut self, why: Ended, now: Instant) {
        self.ended.get_or_insert((why, now));
    }

    pub(crate) fn progressed(&mut self, now: Instant) {
        self.progress = now;
    }

    /// Decides whether to go on. True once all is over.
    pub(crate) fn is_over(&mut self, tally: &Tally, now: Instant) -> bool {
        if self.ended.is_none() {
            if tally.left == 0 && !self.order.endless {
                self.end(if tally.cut > 0 { Ended::TipChanged } else { Ended::SharesUsedUp }, now);
            } else if now >= self.order.until {
                self.end(Ended::Time, now);
            } else if !self.order.endless
                && tally.outstanding > 0
                && now.saturating_duration_since(self.progress) > STALL
            {
                self.end(Ended::Stalled, now);
            }
        }
        let Some((_, at)) = self.ended else { return false };
        tally.outstanding == 0 || now.saturating_duration_since(at.max(self.progress)) > LAST_ANSWERS
    }

    pub(crate) fn ended(&self) -> Option<Ended> {
        self.ended.map(|(why, _)| why)
    }

    /// The turn that is due, if one is.
    pub(crate) fn due_turn(&mut self, now: Instant) -> Option<(usize, usize)> {
        let millirate = self.order.millirate.filter(|_| self.is_sending())?;
        let elapsed = now.saturating_duration_since(self.order.started).as_nanos();
        let due = elapsed.saturating_mul(millirate.into()) / 1_000_000_000_000;
        if u128::from(self.turns_taken) >= due {
            return None;
        }
        self.turns_taken += 1;
        let turn = self.turns.get(self.next_turn).copied();
        self.next_turn = (self.next_turn + 1) % self.turns.len().max(1);
        turn
    }

    /// How long the worker may sleep.
    pub(crate) fn patience(&self, now: Instant) -> Duration {
        let longest = Duration::from_millis(50);
        match self.order.millirate {
            Some(millirate) if self.is_sending() => {
                let nanos =
                    u128::from(self.turns_taken + 1) * 1_000_000_000_000 / u128::from(millirate.max(1));
                let next = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
                next.saturating_sub(now.saturating_duration_since(self.order.started)).min(longest)
            }
            _ => longest.min(self.order.until.saturating_duration_since(now).max(Duration::from_millis(1))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(millirate: Option<u64>, now: Instant) -> Run {
        let order = RunOrder {
            started: now,
            until: now + Duration::from_secs(10),
            window: 1,
            millirate,
            endless: false,
            turnover: None,
        };
        Run::new(order, vec![(0, 0), (1, 0), (2, 0)], Duration::ZERO, 0)
    }

    #[test]
    fn turns_come_at_the_rate_and_in_a_circle() {
        let start = Instant::now();
        let mut run = run(Some(2500), start);
        for (millis, expected) in [(0, vec![]), (400, vec![0]), (799, vec![]), (2000, vec![1, 2, 0, 1])] {
            let now = start + Duration::from_millis(millis);
            let turns: Vec<usize> = std::iter::from_fn(|| run.due_turn(now)).map(|turn| turn.0).collect();
            assert_eq!(turns, expected, "after {millis} ms");
        }
        assert_eq!(run.patience(start + Duration::from_millis(2399)), Duration::from_millis(1));
        run.end(Ended::Time, start);
        assert_eq!(run.due_turn(start + Duration::from_secs(9)), None);
    }

    #[test]
    fn a_run_ends_for_one_reason_and_waits_for_its_last_answers() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let tally = |left, cut, outstanding| Tally { left, cut, outstanding, ..Tally::default() };
        for (tally, now, over, ended) in [
            (tally(1, 0, 0), 100, false, None),
            (tally(0, 0, 0), 100, true, Some(Ended::SharesUsedUp)),
            (tally(0, 0, 1), 100, false, Some(Ended::SharesUsedUp)),
            (tally(0, 1, 0), 100, true, Some(Ended::TipChanged)),
            (tally(1, 0, 0), 10_000, true, Some(Ended::Time)),
            (tally(1, 0, 1), 5001, false, Some(Ended::Stalled)),
        ] {
            let mut run = run(None, start);
            assert_eq!(run.is_over(&tally, at(now)), over);
            assert_eq!(run.ended(), ended);
            if ended.is_some() {
                assert!(run.is_over(&tally, at(now + 2001)));
                assert_eq!(run.ended(), ended);
            }
        }
    }
}
