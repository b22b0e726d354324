//! Memory that peers make a shard keep: counted, bounded, and given back when it is not needed.

/// What a shard may keep for its peers, and what it does: its part of
/// [`Limits::buffers`](crate::Limits::buffers). Plain numbers: a shard shares them with nobody.
pub(crate) struct Purse {
    held: usize,
    most: usize,
}

/// There is no memory left for peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UsedUp {
    /// Bytes that are kept for all peers of the shard.
    pub(crate) held: usize,
}

impl Purse {
    pub(crate) fn new(most: usize) -> Self {
        Self { held: 0, most }
    }

    /// Bytes that are kept, used or reserved.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// More than seven eighths are used: time to make room.
    pub(crate) fn is_low(&self) -> bool {
        self.held > self.most - self.most / 8
    }

    /// A quarter is free: enough room was made. So much at once, as it takes a look at every connection.
    pub(crate) fn has_room(&self) -> bool {
        self.held <= self.most - self.most / 4
    }

    fn take(&mut self, bytes: usize) -> Result<(), UsedUp> {
        match self.held.checked_add(bytes) {
            Some(held) if held <= self.most => self.held = held,
            _ => return Err(UsedUp { held: self.held }),
        }
        Ok(())
    }

    fn give(&mut self, bytes: usize) {
        assert!(bytes <= self.held, "more is given back than was taken");
        self.held -= bytes;
    }
}

/// Bytes whose memory a [`Purse`] pays for. Whoever has one must [free](Self::free) it.
#[derive(Default)]
pub(crate) struct Buffer(Vec<u8>);

impl Buffer {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// Adds bytes at the end. Memory is taken for those alone at first; a buffer that goes on growing
    /// takes a quarter more, so that it is not copied for every packet.
    pub(crate) fn push(&mut self, bytes: &[u8], purse: &mut Purse) -> Result<(), UsedUp> {
        let needed = self.0.len() + bytes.len();
        if needed > self.0.capacity() {
            let spare = if self.0.is_empty() { 0 } else { needed / 4 };
            self.reserve(needed + spare, purse)?;
        }
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    /// Makes sure of memory for `capacity` bytes.
    pub(crate) fn reserve(&mut self, capacity: usize, purse: &mut Purse) -> Result<(), UsedUp> {
        let had = self.0.capacity();
        if capacity > had {
            purse.take(capacity - had)?;
            self.0.reserve_exact(capacity - self.0.len());
            debug_assert_eq!(self.0.capacity(), capacity, "the purse has paid for so many");
        }
        Ok(())
    }

    /// Forgets the first bytes; keeps the memory.
    pub(crate) fn drop_front(&mut self, count: usize) {
        self.0.drain(..count);
    }

    /// Forgets everything and gives the memory back.
    pub(crate) fn free(&mut self, purse: &mut Purse) {
        purse.give(std::mem::take(&mut self.0).capacity());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// The purse holds what the buffers hold, at every step, never more than it may, and nothing in
        /// the end; what was refused changed nothing.
        #[test]
        fn pays_for_every_byte(
            most in 0usize..20_000,
            steps in prop::collection::vec((0usize..4, 0u8..4, 0usize..3000), 1..80),
        ) {
            let mut purse = Purse::new(most);
            let mut buffers: [Buffer; 4] = Default::default();
            for (which, step, count) in steps {
                let buffer = &mut buffers[which];
                let (len, capacity) = (buffer.len(), buffer.capacity());
                match step {
                    0 | 1 => match buffer.push(&vec![7; count], &mut purse) {
                        Ok(()) => prop_assert_eq!(buffer.len(), len + count),
                        Err(used_up) => {
                            prop_assert_eq!((buffer.len(), buffer.capacity()), (len, capacity));
                            prop_assert!(used_up.held + count + (len + count) / 4 > most);
                        }
                    },
                    2 => buffer.drop_front(count.min(len)),
                    _ => buffer.free(&mut purse),
                }
                prop_assert_eq!(purse.held(), buffers.iter().map(Buffer::capacity).sum::<usize>());
                prop_assert!(purse.held() <= most);
            }
            buffers.iter_mut().for_each(|buffer| buffer.free(&mut purse));
            prop_assert_eq!(purse.held(), 0);
        }
    }
}
