//! Reading the books beside their writer, exact up to the last commit.

use crate::{
    Block, BlockHash, Epoch, EpochInfo, Event, Line, Outlook, Params, Source, StoreError, Totals,
    journal::{Decoder, Head},
    store::{ReadOnly, read},
};
use std::{collections::BTreeMap, path::Path};
use work::{Ehash, PayoutKey};

/// A read-only view of a ledger, also of one that another process is writing.
///
/// Each call sees one moment: the tables, and the credits that the journal holds beyond them.
#[derive(Debug)]
pub struct Reader {
    store: ReadOnly,
    keys: Decoder,
    tail: Tail,
}

/// Credits of the open epoch that the tables have not taken in. Kept between calls, as journals only grow.
#[derive(Debug, Default)]
struct Tail {
    folded: Head,
    read: u64,
    open: Epoch,
    credits: BTreeMap<PayoutKey, Ehash>,
    total: u64,
    sources: BTreeMap<Source, u64>,
}

impl Reader {
    /// Opens the ledger at `path` for reading.
    ///
    /// # Errors
    /// When there is none, or it was written by a newer program.
    pub fn open(path: impl AsRef<Path>) -> Result<Reader, StoreError> {
        let store = ReadOnly::open(path.as_ref())?;
        Ok(Reader { store, keys: Decoder::new(), tail: Tail::default() })
    }

    /// Runs a query in one read transaction, with the tail as it is then.
    fn read<T>(
        &mut self,
        query: impl FnOnce(&rusqlite::Connection, &mut Decoder, &Tail) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let snapshot = self.store.snapshot()?;
        self.tail.catch_up(&snapshot, &mut self.keys)?;
        query(&snapshot, &mut self.keys, &self.tail)
    }

    /// The epoch that work is credited to.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn open_epoch(&mut self) -> Result<Epoch, StoreError> {
        self.read(|_, _, tail| Ok(tail.open))
    }

    /// Epochs from one on, ascending, at most `limit`.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn epochs(&mut self, from: Epoch, limit: u32) -> Result<Vec<EpochInfo>, StoreError> {
        self.read(|db, _, tail| {
            let mut epochs = read::epochs(db, from, limit)?;
            epochs.iter_mut().for_each(|info| tail.add_to(info));
            Ok(epochs)
        })
    }

    /// One epoch; `None` if it is not open yet.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn epoch(&mut self, epoch: Epoch) -> Result<Option<EpochInfo>, StoreError> {
        Ok(self.epochs(epoch, 1)?.into_iter().next().filter(|info| info.epoch == epoch))
    }

    /// An epoch and what it still waits for; `None` if it is not open yet.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn outlook(&mut self, epoch: Epoch) -> Result<Option<Outlook>, StoreError> {
        self.read(|db, _, tail| {
            let mut found = read::epochs(db, epoch, 1)?.into_iter().filter(|info| info.epoch == epoch);
            let Some(mut info) = found.next() else { return Ok(None) };
            tail.add_to(&mut info);
            let (_, _, tip, _) = read::ledger(db)?;
            let unsettled = read::unsettled_blocks(db)?;
            Ok(Some(Outlook::new(info, &read::params(db)?, tail.open, tip, &unsettled)))
        })
    }

    /// Parameters by the first epoch that has them, ascending; the last may be of an epoch to come.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn params(&mut self) -> Result<Vec<(Epoch, Params)>, StoreError> {
        self.read(|db, _, _| read::params(db))
    }

    /// The sums over all blocks and epochs: pots + carry + fees = rewards.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn totals(&mut self) -> Result<Totals, StoreError> {
        self.read(|db, _, _| Ok(read::ledger(db)?.1))
    }

    /// What a key has in an epoch.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn credit(&mut self, epoch: Epoch, key: &PayoutKey) -> Result<Ehash, StoreError> {
        self.read(|db, _, tail| Ok(sum(read::credit(db, epoch, key)?, tail.in_epoch(epoch, key))))
    }

    /// What a key has in each epoch from one on, ascending, at most `limit` epochs.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn credits_of(
        &mut self,
        key: &PayoutKey,
        from: Epoch,
        limit: u32,
    ) -> Result<Vec<(Epoch, Ehash)>, StoreError> {
        self.read(|db, _, tail| {
            let mut credits = read::credits_of(db, key, from, limit)?;
            let room = !is_full(credits.len(), limit);
            let more = tail.in_epoch(tail.open, key);
            match credits.last_mut() {
                // The open epoch is the last there is.
                Some((epoch, amount)) if *epoch == tail.open => *amount = sum(*amount, more),
                _ if !more.is_zero() && tail.open >= from && room => {
                    credits.push((tail.open, more));
                }
                _ => {}
            }
            Ok(credits)
        })
    }

    /// What each key has in an epoch, by key: the first `limit` after `after`.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn credits_in(
        &mut self,
        epoch: Epoch,
        after: Option<PayoutKey>,
        limit: u32,
    ) -> Result<Vec<(PayoutKey, Ehash)>, StoreError> {
        self.read(|db, keys, tail| {
            let mut credits: BTreeMap<_, _> =
                read::credits_in(db, keys, epoch, after, limit)?.into_iter().collect();
            for (key, amount) in tail.after(after).filter(|_| epoch == tail.open) {
                let held = credits.entry(*key).or_insert(Ehash::ZERO);
                *held = sum(*held, *amount);
            }
            Ok(credits.into_iter().take(limit as usize).collect())
        })
    }

    /// What each key has in all epochs together, by key: the first `limit` after `after`.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn credits_by_key(
        &mut self,
        after: Option<PayoutKey>,
        limit: u32,
    ) -> Result<Vec<(PayoutKey, u128)>, StoreError> {
        self.read(|db, keys, tail| {
            let mut credits: BTreeMap<_, _> =
                read::credits_by_key(db, keys, after, limit)?.into_iter().collect();
            // A key of the tail that lies beyond the last of a full page belongs to a later page.
            let last = credits.keys().next_back().copied().filter(|_| is_full(credits.len(), limit));
            for (key, amount) in tail.after(after).filter(|(key, _)| last.is_none_or(|last| **key <= last)) {
                *credits.entry(*key).or_insert(0) += u128::from(amount.get());
            }
            Ok(credits.into_iter().take(limit as usize).collect())
        })
    }

    /// Blocks that pay the pool, the highest first: at most `limit` below a height.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn blocks(&mut self, below_height: Option<u32>, limit: u32) -> Result<Vec<Block>, StoreError> {
        self.read(|db, _, _| read::blocks(db, below_height, limit))
    }

    /// What a block put into which pot.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn lines_of_block(&mut self, block: &BlockHash) -> Result<Vec<Line>, StoreError> {
        let sql = "SELECT * FROM lines WHERE block = ?1 ORDER BY epoch";
        self.read(|db, _, _| read::lines(db, sql, [block.to_bytes()]))
    }

    /// What is in an epoch's pot, by block.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn lines_of_epoch(&mut self, epoch: Epoch) -> Result<Vec<Line>, StoreError> {
        let sql = "SELECT * FROM lines WHERE epoch = ?1 ORDER BY block";
        self.read(|db, _, _| read::lines(db, sql, [epoch.get()]))
    }

    /// The number of a source's last batch; 0 before its first.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn last_sequence(&mut self, source: Source) -> Result<u64, StoreError> {
        self.read(|db, _, tail| {
            if let Some(last) = tail.sources.get(&source) {
                return Ok(*last);
            }
            let sources = read::sources(db)?;
            Ok(sources.into_iter().find(|(known, _)| *known == source).map_or(0, |(_, last)| last))
        })
    }
}

fn sum(a: Ehash, b: Ehash) -> Ehash {
    Ehash::new(a.get() + b.get())
}

fn is_full(len: usize, limit: u32) -> bool {
    len >= limit as usize
}

impl Tail {
    fn catch_up(&mut self, db: &rusqlite::Connection, keys: &mut Decoder) -> Result<(), StoreError> {
        let (folded, ..) = read::ledger(db)?;
        if folded != self.folded {
            let open = read::open_epoch(db)?;
            *self = Tail { folded, read: folded.sequence, open, ..Tail::default() };
        }
        for row in read::rows_after(db, self.read)? {
            let event = keys.decode(row.kind, &row.payload);
            match event.map_err(|source| StoreError::Row { row: row.sequence, source })? {
                Event::Credits(batch) => {
                    for (key, amount) in batch.credits {
                        let held = self.credits.entry(key).or_insert(Ehash::ZERO);
                        *held = sum(*held, amount);
                        self.total += amount.get();
                    }
                    self.sources.insert(batch.source, batch.sequence);
                }
                // Whatever else happens is in the tables as soon as it is in the journal.
                _ => return Err(StoreError::damaged(format!("they miss journal row {}", row.sequence))),
            }
            self.read = row.sequence;
        }
        Ok(())
    }

    /// What the tables have not taken in of the open epoch.
    fn add_to(&self, info: &mut EpochInfo) {
        if info.epoch == self.open {
            info.credited = Ehash::new(info.credited.get() + self.total);
        }
    }

    fn in_epoch(&self, epoch: Epoch, key: &PayoutKey) -> Ehash {
        let held = self.credits.get(key).filter(|_| epoch == self.open);
        held.copied().unwrap_or(Ehash::ZERO)
    }

    fn after(&self, key: Option<PayoutKey>) -> impl Iterator<Item = (&PayoutKey, &Ehash)> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.credits.range((key.map_or(Unbounded, Excluded), Unbounded))
    }
}
