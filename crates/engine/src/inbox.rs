//! The beginning of a frame whose end has not come: the only input that a connection ever owns.

use crate::buffer::{Buffer, Purse, UsedUp};

/// A partial frame up to this long is given its whole memory at once. A longer one gets memory as its
/// bytes come: a claimed length is no reason to reserve it (NS-28).
const RESERVED_FRAME: usize = 4096;

/// The beginning of a frame whose end has not come. Owns memory only while there is one.
#[derive(Default)]
pub(crate) struct Inbox {
    buffer: Buffer,
    /// Bytes at which looking again makes sense.
    needed: usize,
}

impl Inbox {
    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Bytes of memory that it owns.
    pub(crate) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        self.buffer.bytes_mut()
    }

    /// Keeps `bytes`, at least one of which is still missing of `needed`.
    pub(crate) fn keep(&mut self, bytes: &[u8], needed: usize, purse: &mut Purse) -> Result<(), UsedUp> {
        debug_assert!(self.is_empty() && bytes.len() < needed);
        if !bytes.is_empty() {
            self.buffer.push(bytes, purse)?;
            self.needed = needed;
        }
        Ok(())
    }

    /// Takes from the front of `input` what is missing, and gives back the rest.
    pub(crate) fn top_up<'a>(
        &mut self,
        input: &'a mut [u8],
        purse: &mut Purse,
    ) -> Result<&'a mut [u8], UsedUp> {
        let missing = self.needed.saturating_sub(self.len());
        let (taken, rest) = input.split_at_mut(missing.min(input.len()));
        if self.needed <= RESERVED_FRAME {
            self.buffer.reserve(self.needed, purse)?;
        }
        self.buffer.push(taken, purse)?;
        Ok(rest)
    }

    /// Asks for more than was thought to be needed.
    pub(crate) fn need(&mut self, needed: usize) {
        self.needed = needed;
    }

    pub(crate) fn free(&mut self, purse: &mut Purse) {
        self.buffer.free(purse);
        self.needed = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // proves: NS-28
    #[test]
    fn a_claimed_length_reserves_nothing() {
        let (mut inbox, mut purse) = (Inbox::default(), Purse::new(4096));
        inbox.keep(&[1; 22], 16 << 20, &mut purse).unwrap();
        inbox.top_up(&mut [2; 1000], &mut purse).unwrap();
        assert_eq!(inbox.len(), 1022);
        assert!(inbox.capacity() < 2048 && purse.held() == inbox.capacity(), "{}", inbox.capacity());
        assert!(inbox.top_up(&mut [2; 4000], &mut purse).is_err());
        inbox.free(&mut purse);
        assert_eq!((inbox.capacity(), purse.held()), (0, 0), "an idle connection owns no buffer");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// What is taken in and what is given back are together what came, and no more is taken than
        /// is missing.
        #[test]
        fn takes_what_is_missing(
            kept in 1usize..60,
            missing in 1usize..9000,
            pieces in prop::collection::vec(0usize..3000, 1..8),
        ) {
            let (mut inbox, mut purse) = (Inbox::default(), Purse::new(usize::MAX));
            let first: Vec<u8> = (0..kept).map(|index| index.to_le_bytes()[0]).collect();
            inbox.keep(&first, kept + missing, &mut purse).unwrap();
            let (mut all, mut rest) = (first, Vec::new());
            for size in pieces {
                let mut piece: Vec<u8> = (0..size).map(|index| index.to_le_bytes()[0] ^ 0x5a).collect();
                all.extend_from_slice(&piece);
                rest.extend_from_slice(inbox.top_up(&mut piece, &mut purse).unwrap());
            }
            prop_assert_eq!(inbox.len(), (kept + missing).min(all.len()));
            let both = [inbox.bytes(), &mut rest].concat();
            prop_assert_eq!(both, all);
        }
    }
}
