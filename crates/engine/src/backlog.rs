//! Bytes that a socket did not take: the only output that a connection ever owns.

/// Sealed bytes in the order in which they must leave. Owns memory only while it holds some.
#[derive(Default)]
pub(crate) struct Backlog {
    bytes: Vec<u8>,
    sent: usize,
}

impl Backlog {
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What must leave next.
    pub(crate) fn unsent(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        // Move what is left to the front when more than half has gone, so that a reader that is always
        // a little behind does not make the buffer grow.
        if self.sent > self.bytes.len() / 2 {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The socket took `count` bytes. Frees the memory when that was the last of them.
    pub(crate) fn advance(&mut self, count: usize) {
        assert!(count <= self.len(), "more bytes left than there were");
        self.sent += count;
        if self.sent == self.bytes.len() {
            *self = Self::default();
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
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
            let mut left = Vec::new();
            for (add, take) in steps {
                let bytes: Vec<u8> = (0..add).map(|_| { next = next.wrapping_add(1); next }).collect();
                backlog.push(&bytes);
                expected.extend_from_slice(&bytes);
                let take = take.min(backlog.len());
                left.extend_from_slice(&backlog.unsent()[..take]);
                backlog.advance(take);
                prop_assert_eq!(backlog.len(), expected.len() - left.len());
                prop_assert!(!backlog.is_empty() || backlog.bytes.capacity() == 0);
            }
            left.extend_from_slice(backlog.unsent());
            prop_assert_eq!(left, expected);
        }
    }
}
