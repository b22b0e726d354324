//! A shard that stood still: its process was stopped, or its machine slept.
//!
//! Ticks come every second, so turns do, too. After a gap between two of them it first reads what was sent meanwhile, of
//! which much may be too late, and then measures every channel anew: neither silence nor the burst were the miners'.

/// Milliseconds between two turns that a busy shard does not need.
const GAP: u64 = 3000;

/// Milliseconds in which what was sent meanwhile is read.
const CATCHING_UP: u64 = 2000;

/// Watches the time between turns, in milliseconds.
#[derive(Debug, Default)]
pub(super) struct Pause {
    last_turn: u64,
    forget_at: Option<u64>,
}

impl Pause {
    /// A turn, or a part of one.
    pub(super) fn look(&mut self, now: u64) {
        if now.saturating_sub(self.last_turn) > GAP && self.last_turn > 0 {
            self.forget_at = Some(now + CATCHING_UP);
        }
        self.last_turn = now;
    }

    /// Whether what is measured now will be forgotten.
    pub(super) fn is_forgotten_later(&self) -> bool {
        self.forget_at.is_some()
    }

    /// Whether it is time to forget it; told once.
    pub(super) fn is_over(&mut self, now: u64) -> bool {
        self.forget_at.take_if(|at| *at <= now).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_noticed_and_forgotten_once() {
        let mut pause = Pause::default();
        for now in [5000, 6000, 7500] {
            pause.look(now);
            assert!(!pause.is_forgotten_later());
        }
        pause.look(20_000);
        pause.look(20_010);
        assert!(pause.is_forgotten_later() && !pause.is_over(21_999));
        assert!(pause.is_over(22_000));
        assert!(!pause.is_over(22_000) && !pause.is_forgotten_later());
    }
}
