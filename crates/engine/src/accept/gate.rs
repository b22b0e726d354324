//! Sheds new connections while the shards cannot keep up with those that are there.

use crate::admission::bucket::Nanos;

/// So long must all be well before it is believed.
const CALM: Nanos = 200_000_000;

/// What to do with new connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accept,
    /// They stay in the kernel's queue.
    Wait,
    /// They are told at once that there is no place, so that they go elsewhere.
    Refuse,
}

/// Remembers for how long the shards lag.
pub(crate) struct Gate {
    bound: Nanos,
    patience: Nanos,
    /// Since when the shards lag, and when that was last seen.
    lagging: Option<(Nanos, Nanos)>,
}

impl Gate {
    pub(crate) fn new(bound: Nanos, patience: Nanos) -> Self {
        Self { bound, patience, lagging: None }
    }

    /// More than this is lagging.
    pub(crate) fn bound(&self) -> Nanos {
        self.bound
    }

    /// `lag` is how long a connection that has something to say waits for the least busy shard.
    pub(crate) fn judge(&mut self, lag: Nanos, now: Nanos) -> Verdict {
        // Nobody looks while nobody comes, so what was seen long ago says nothing about now.
        self.lagging = self.lagging.filter(|&(_, seen)| now.saturating_sub(seen) < CALM);
        if lag > self.bound {
            let since = self.lagging.map_or(now, |(since, _)| since);
            self.lagging = Some((since, now));
        }
        match self.lagging {
            None => Verdict::Accept,
            Some((since, _)) if now.saturating_sub(since) < self.patience => Verdict::Wait,
            Some(_) => Verdict::Refuse,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::{Accept, Refuse, Wait};

    const MILLI: Nanos = 1_000_000;

    #[test]
    fn waits_first_and_refuses_later_and_opens_when_all_is_calm() {
        #[track_caller]
        fn case(gate: &mut Gate, at: u64, lag: u64, expected: Verdict) {
            assert_eq!(gate.judge(lag * MILLI, at * MILLI), expected, "at {at} ms, lag {lag} ms");
        }
        let mut gate = Gate::new(250 * MILLI, 1000 * MILLI);
        case(&mut gate, 0, 0, Accept);
        case(&mut gate, 10, 250, Accept);
        case(&mut gate, 20, 251, Wait);
        case(&mut gate, 120, 0, Wait); // A moment between two long turns.
        case(&mut gate, 219, 0, Wait);
        case(&mut gate, 220, 0, Accept);
        for at in (300..1300).step_by(100) {
            case(&mut gate, at, 400, Wait);
        }
        case(&mut gate, 1300, 400, Refuse);
        case(&mut gate, 1400, 100, Refuse);
        case(&mut gate, 1500, 100, Accept);
        case(&mut gate, 1510, 300, Wait);
        // Nobody came for a while, and nobody looked.
        case(&mut gate, 99_000, 300, Wait);
    }
}
