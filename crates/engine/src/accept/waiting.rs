//! Connections that are held before their handshake, because others of their address were before them.
//!
//! Nothing is read from them meanwhile: what they have sent waits in the kernel.

use {
    crate::admission::bucket::Nanos,
    std::{cmp::Reverse, collections::BinaryHeap},
};

struct Held<T> {
    /// When to try, and, for equal times, who came first.
    turn: (Nanos, u64),
    until: Nanos,
    what: T,
}

impl<T> PartialEq for Held<T> {
    fn eq(&self, other: &Self) -> bool {
        self.turn == other.turn
    }
}

impl<T> Eq for Held<T> {}

impl<T> PartialOrd for Held<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Held<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.turn.cmp(&other.turn)
    }
}

/// What is held, by the time when its turn comes. [`Limits::waiting`](crate::Limits::waiting) bounds it
/// where permits are given out.
pub(crate) struct WaitingRoom<T> {
    held: BinaryHeap<Reverse<Held<T>>>,
    arrivals: u64,
}

impl<T> WaitingRoom<T> {
    pub(crate) fn new() -> Self {
        Self { held: BinaryHeap::new(), arrivals: 0 }
    }

    /// When the next one has its turn.
    pub(crate) fn next(&self) -> Option<Nanos> {
        self.held.peek().map(|Reverse(held)| held.turn.0)
    }

    /// Holds `what` until `at`; it is given up on at `until`.
    pub(crate) fn hold(&mut self, what: T, at: Nanos, until: Nanos) {
        self.arrivals += 1;
        self.held.push(Reverse(Held { turn: (at, self.arrivals), until, what }));
    }

    /// Gives out the one whose turn has come, with the time at which to give up on it.
    pub(crate) fn take(&mut self, now: Nanos) -> Option<(T, Nanos)> {
        if self.next()? > now {
            return None;
        }
        let Reverse(held) = self.held.pop()?;
        if self.held.is_empty() {
            // Thousands may have been here once.
            self.held = BinaryHeap::new();
        }
        Some((held.what, held.until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_turn_has_come_goes_in_the_order_of_arrival() {
        let mut room = WaitingRoom::new();
        room.hold("late", 20, 90);
        room.hold("first", 10, 80);
        room.hold("second", 10, 70);
        assert_eq!((room.next(), room.take(9)), (Some(10), None));
        assert_eq!(room.take(10), Some(("first", 80)));
        assert_eq!(room.take(10), Some(("second", 70)));
        assert_eq!((room.next(), room.take(19)), (Some(20), None));
        assert_eq!(room.take(99), Some(("late", 90)));
        assert_eq!((room.next(), room.held.capacity()), (None, 0), "an empty room owns no memory");
    }
}
