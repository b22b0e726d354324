//! The blocks that a node may have to be given once more, in bounded memory.

use {bitcoin::BlockHash, std::collections::VecDeque};

/// Most bytes remembered; the newest block always is.
const MAX_BYTES: usize = 16_000_000;
/// Most blocks remembered.
const MAX_BLOCKS: usize = 100;

/// How far a block has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rpc) enum Delivery {
    /// Somebody is trying, and waits for the answer.
    InHand,
    /// Nobody is, and the node lacked it last.
    Undelivered,
    /// The node had it.
    Delivered,
}

struct Remembered {
    hash: BlockHash,
    prev: BlockHash,
    block: Box<[u8]>,
    delivery: Delivery,
}

/// Blocks that were handed in, oldest first.
#[derive(Default)]
pub(in crate::rpc) struct HandedIn {
    blocks: VecDeque<Remembered>,
    bytes: usize,
}

impl HandedIn {
    /// Remembers a block whose first try is about to be made.
    pub(super) fn take_in_hand(&mut self, hash: BlockHash, prev: BlockHash, block: &[u8]) {
        if self.blocks.iter().any(|known| known.hash == hash) {
            return self.set(&hash, Delivery::InHand);
        }
        self.bytes += block.len();
        self.blocks.push_back(Remembered { hash, prev, block: block.into(), delivery: Delivery::InHand });
        while self.blocks.len() > 1 && (self.bytes > MAX_BYTES || self.blocks.len() > MAX_BLOCKS) {
            // What the node has had is the least loss.
            let mut older = self.blocks.iter().take(self.blocks.len() - 1);
            let at = older.position(|known| known.delivery == Delivery::Delivered).unwrap_or(0);
            self.remove(at);
        }
        debug_assert_eq!(self.bytes, self.blocks.iter().map(|known| known.block.len()).sum::<usize>());
    }

    pub(super) fn set(&mut self, hash: &BlockHash, delivery: Delivery) {
        if let Some(known) = self.blocks.iter_mut().find(|known| known.hash == *hash) {
            known.delivery = delivery;
        }
    }

    pub(super) fn forget(&mut self, hash: &BlockHash) {
        if let Some(at) = self.blocks.iter().position(|known| known.hash == *hash) {
            // Judged by the node, so none that is missed.
            self.blocks[at].delivery = Delivery::Delivered;
            self.remove(at);
        }
    }

    fn remove(&mut self, at: usize) {
        let Some(known) = self.blocks.remove(at) else { return };
        self.bytes -= known.block.len();
        if known.delivery != Delivery::Delivered {
            tracing::error!(block = %known.hash, "block lost: too many wait for the node, and this is the oldest");
        }
    }

    pub(super) fn block(&self, hash: &BlockHash) -> Option<&[u8]> {
        self.blocks.iter().find(|known| known.hash == *hash).map(|known| &*known.block)
    }

    /// Hashes, each with its parent's, of what is due and in nobody's hand.
    pub(super) fn list(&self, due: impl Fn(Delivery) -> bool) -> Vec<(BlockHash, BlockHash)> {
        let free = self.blocks.iter().filter(|known| known.delivery != Delivery::InHand);
        free.filter(|known| due(known.delivery)).map(|known| (known.hash, known.prev)).collect()
    }
}

#[cfg(test)]
mod tests {
    use {super::*, bitcoin::hashes::Hash};

    fn hash(n: u8) -> BlockHash {
        BlockHash::from_byte_array([n; 32])
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut handed_in = HandedIn::default();
        for n in 0..200 {
            handed_in.take_in_hand(hash(n), hash(0), &[n]);
            handed_in.take_in_hand(hash(n), hash(0), &[n]);
        }
        assert_eq!((handed_in.blocks.len(), handed_in.bytes), (MAX_BLOCKS, MAX_BLOCKS));
        handed_in.take_in_hand(hash(201), hash(0), &vec![0; MAX_BYTES - 1]);
        assert_eq!(handed_in.blocks.len(), 2);
        handed_in.take_in_hand(hash(202), hash(0), &vec![0; MAX_BYTES + 1]);
        assert_eq!(handed_in.blocks.len(), 1);
        handed_in.forget(&hash(202));
        assert_eq!((handed_in.blocks.len(), handed_in.bytes), (0, 0));
    }

    #[test]
    fn what_the_node_lacks_is_kept_longest() {
        let mut handed_in = HandedIn::default();
        for n in 0..=150 {
            handed_in.take_in_hand(hash(n), hash(0), &[n]);
            let missed = n % 50 == 0;
            handed_in.set(&hash(n), if missed { Delivery::Undelivered } else { Delivery::Delivered });
        }
        let missed: Vec<_> = [0, 50, 100, 150].map(|n| (hash(n), hash(0))).into();
        assert_eq!(handed_in.list(|delivery| delivery == Delivery::Undelivered), missed);
        handed_in.set(&hash(50), Delivery::InHand);
        assert_eq!(handed_in.list(|_| true).len(), MAX_BLOCKS - 1);
    }
}
