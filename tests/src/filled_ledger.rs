//! A ledger as pools leave it, made without one: epochs that keys have earned, and blocks that paid them.

use std::path::Path;

use ledger::{Batch, BlockHash, ChainBlock, Event, Ledger, LedgerHandle, Msats, Params, Source};
use work::{Ehash, PayoutKey};

/// All eHash of each epoch of [`PARAMS`]: few enough that a satoshi for each is no more than there is.
pub const EPOCH: u64 = 1 << 34;

/// A block is final when it is found; each pays the epoch that closed last.
pub const PARAMS: Params = Params { q: 16, window: 1, fee_ppm: 0, maturity: 1, redeem_blocks: 0 };

/// A ledger that is being filled.
pub struct FilledLedger {
    books: Ledger,
    handle: LedgerHandle,
    height: u32,
}

impl FilledLedger {
    /// Opens the ledger at `path`, or begins one there.
    pub fn open(path: &Path, params: Params) -> FilledLedger {
        let directory = path.parent().expect("a file in a directory");
        std::fs::create_dir_all(directory).expect("the temporary directory can be written");
        let (books, handle) = Ledger::open(path, params).expect("a ledger");
        FilledLedger { books, handle, height: 0 }
    }

    /// Credits of the open epoch, and of the next ones when they are more than it takes.
    pub fn credit(&self, credits: &[(PayoutKey, u64)]) {
        let source = Source { front: 0, shard: 0 };
        let sequence = self.handle.last_sequence(source).expect("a ledger that runs");
        let credits = credits.iter().map(|(key, amount)| (*key, Ehash::new(*amount))).collect();
        self.apply(Event::Credits(Batch { source, sequence: sequence + 1, credits }));
    }

    /// In a ledger with [`PARAMS`], `somebody` closes the open epoch, and the next; a block between them pays the first a satoshi for each eHash, and is final.
    pub fn mature(&mut self, credited: u64, somebody: PayoutKey) {
        self.credit(&[(somebody, EPOCH - credited)]);
        self.height += 10;
        let (hash, reward) = (BlockHash::from_bytes([7; 32]), Msats::new(EPOCH * 1000));
        self.apply(Event::BlockConnected(ChainBlock { hash, height: self.height, reward }));
        self.credit(&[(somebody, EPOCH)]);
        self.apply(Event::Tip { height: self.height });
    }

    /// Closes the file.
    pub fn close(self) {
        drop(self.handle);
        self.books.close().expect("a ledger in good order");
    }

    fn apply(&self, event: Event) {
        drop(self.handle.apply(event).expect("the ledger takes it"));
    }
}
