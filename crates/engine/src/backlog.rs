//! Bytes that a socket did not take: the only output that a connection ever owns.

use crate::buffer::{Buffer, Purse, UsedUp};

/// Sealed bytes in the order in which they must leave. Owns memory only while it holds some.
#[derive(Default)]
pub(crate) struct Backlog {
    buffer: Buffer,
    sent: usize,
}

impl Backlog {
    pub(crate) fn len(&self) -> usize {
        self.buffer.len() - self.sent
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory that it owns.
    pub(crate) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// What must leave next.
    pub(crate) fn unsent(&self) -> &[u8] {
        &self.buffer.bytes()[self.sent..]
    }

    pub(crate) fn push(&mut self, bytes: &[u8], purse: &mut Purse) -> Result<(), UsedUp> {
        // Move what is left to the front when more than half has gone, so that a reader that is always
        // a little behind does not make the buffer grow.
        if self.sent > self.buffer.len() / 2 {
            self.buffer.drop_front(self.sent);
            self.sent = 0;
        }
        self.buffer.push(bytes, purse)
    }

    /// The socket took `count` bytes. Frees the memory when that was the last of them.
    pub(crate) fn advance(&mut self, count: usize, purse: &mut Purse) {
        assert!(count <= self.len(), "more bytes left than there were");
        self.sent += count;
        if self.is_empty() {
            self.free(purse);
        }
    }

    pub(crate) fn free(&mut self, purse: &mut Purse) {
        self.buffer.free(purse);
        self.sent = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// Nothing is lost, repeated or reordered, and no memory stays behind.
        #[test]
        fn keeps_order_and_frees(steps in prop::collection::vec((0usize..40, 0usize..40), 1..60)) {
            let (mut backlog, mut next, mut expected) = (Backlog::default(), 0u8, Vec::new());
            let (mut left, mut purse) = (Vec::new(), Purse::new(usize::MAX));
            for (add, take) in steps {
                let bytes: Vec<u8> = (0..add).map(|_| { next = next.wrapping_add(1); next }).collect();
                backlog.push(&bytes, &mut purse).unwrap();
                expected.extend_from_slice(&bytes);
                let take = take.min(backlog.len());
                left.extend_from_slice(&backlog.unsent()[..take]);
                backlog.advance(take, &mut purse);
                prop_assert_eq!(backlog.len(), expected.len() - left.len());
                prop_assert_eq!(purse.held(), backlog.capacity());
                prop_assert!(!backlog.is_empty() || backlog.capacity() == 0);
            }
            left.extend_from_slice(backlog.unsent());
            prop_assert_eq!(left, expected);
        }
    }
}
