//! The memory that shares leave behind, bounded for a whole process.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// What one holder may have of what is free: so one channel never takes it all, and when little is left, those who
/// hold much are refused while those who hold little still grow.
const HOLDERS: usize = 16;

/// A budget of bytes that all channels of a process share. Asked when a holder's memory doubles, not for every share.
#[derive(Debug)]
pub struct ShareMemory {
    limit: usize,
    used: AtomicUsize,
}

impl ShareMemory {
    /// At most `limit` bytes.
    pub const fn new(limit: usize) -> Self {
        Self { limit, used: AtomicUsize::new(0) }
    }

    /// Bytes that are held.
    pub fn used(&self) -> usize {
        self.used.load(Relaxed)
    }

    /// Lets a holder grow from `held` to `wanted` bytes, if that leaves enough for others.
    pub fn grow(&self, held: usize, wanted: usize) -> bool {
        let more = wanted.saturating_sub(held);
        self.used
            .fetch_update(Relaxed, Relaxed, |used| {
                let free = self.limit.saturating_sub(used);
                (more == 0 || more <= free && wanted <= free / HOLDERS).then_some(used.saturating_add(more))
            })
            .is_ok()
    }

    /// Takes bytes that must be had, whatever is left.
    pub(crate) fn insist(&self, bytes: usize) {
        self.used.fetch_add(bytes, Relaxed);
    }

    /// Gives bytes back.
    pub fn give(&self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let before = self.used.fetch_sub(bytes, Relaxed);
        debug_assert!(before >= bytes, "more share memory given back than was taken");
    }
}

impl Default for ShareMemory {
    /// No bound; for tests and tools.
    fn default() -> Self {
        Self::new(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greedy_are_refused_first() {
        let memory = ShareMemory::new(1 << 20);
        let mut greedy = 0;
        while memory.grow(greedy, greedy + 1024) {
            greedy += 1024;
        }
        assert!((1 << 15..=1 << 16).contains(&greedy), "{greedy}");
        let mut others = 0;
        while memory.grow(0, 1 << 12) {
            others += 1 << 12;
        }
        assert!(others > 1 << 19, "{others}");
        assert!(!memory.grow(greedy, greedy * 2) && memory.grow(0, 1 << 10), "the small may still grow");
        assert!(memory.used() <= 1 << 20);
        memory.give(greedy + others + (1 << 10));
        assert_eq!(memory.used(), 0);
        memory.insist(2 << 20);
        assert!(!memory.grow(0, 1) && memory.grow(64, 64));
        memory.give(2 << 20);
    }
}
