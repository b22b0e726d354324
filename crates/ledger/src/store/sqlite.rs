//! The store on one machine: SQLite with a write-ahead log, synced at every commit.

use super::{
    Fold, Group, Recovered, Store, StoreError,
    lock::{self, Lock},
    read, schema, wal,
};
use crate::{
    Block, Epoch,
    journal::{Head, Row},
};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params};
use std::path::{Path, PathBuf};

/// Pages of 4 KiB in the log before it is written back, and then written over in place: 4 MiB. A longer one would hold
/// up commits for longer while it is written back.
const WAL_PAGES: i64 = 1024;
/// Memory for pages, in KiB (negative, as SQLite wants it): holds the hot part of a large epoch.
const CACHE_KIB: i64 = -32 * 1024;

/// A ledger in one SQLite file, with `-wal`, `-shm` and `.lock` beside it.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    db: Connection,
    /// Set by a failed commit: what the connection believes may differ from what is on the disk.
    failed: bool,
    lock: Lock,
}

impl SqliteStore {
    /// Opens or creates the ledger at `path`, for this process alone.
    ///
    /// # Errors
    /// When another process has it, or it is no ledger, or was written by a newer program, or is not what was left
    /// there.
    pub fn open(path: impl AsRef<Path>) -> Result<SqliteStore, StoreError> {
        let path = path.as_ref().to_path_buf();
        let lock = Lock::take(&path)?;
        wal::check(&path)?;
        let db = connect(&path)?;
        Ok(SqliteStore { path, db, failed: false, lock })
    }

    /// For tests that make the disk seem full.
    #[cfg(test)]
    pub(crate) fn limit_pages(&self, pages: i64) {
        self.db.pragma_update(None, "max_page_count", pages).unwrap();
    }

    /// For tests that make the disk seem full.
    #[cfg(test)]
    pub(crate) fn pages(&self) -> i64 {
        self.db.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap()
    }
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    let gone = || StoreError::Gone { path: path.into() };
    // Before SQLite looks: of an empty file it takes the log to be left over, and deletes it.
    if !lock::is_long(path) && lock::was_kept(path) {
        return Err(gone());
    }
    let doing = StoreError::sqlite("opening the ledger");
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut db = Connection::open_with_flags(path, flags).map_err(&doing)?;
    let found = match schema::look(&db, path) {
        Ok(schema::Found::Empty) | Err(StoreError::NotALedger { .. }) if lock::was_kept(path) => {
            return Err(gone());
        }
        found => found?,
    };
    // Readers never hold up a writer with a log, but a reader that is recovering one does for a moment.
    db.busy_timeout(std::time::Duration::from_secs(10)).map_err(&doing)?;
    db.pragma_update(None, "journal_mode", "WAL").map_err(&doing)?;
    // FULL syncs the log at every commit. NORMAL, the usual choice, would lose acknowledged shares with the power.
    db.pragma_update(None, "synchronous", "FULL").map_err(&doing)?;
    db.pragma_update(None, "fullfsync", true).map_err(&doing)?;
    db.pragma_update(None, "wal_autocheckpoint", WAL_PAGES).map_err(&doing)?;
    db.pragma_update(None, "cache_size", CACHE_KIB).map_err(&doing)?;
    db.set_prepared_statement_cache_capacity(32);
    match found {
        schema::Found::Empty => schema::create(&mut db)?,
        schema::Found::Older => schema::bring_up(&mut db)?,
        schema::Found::Ledger => {}
    }
    Ok(db)
}

impl Store for SqliteStore {
    fn recover(&mut self) -> Result<Option<Recovered>, StoreError> {
        if self.failed {
            self.db = connect(&self.path)?;
            self.failed = false;
        }
        let doing = StoreError::sqlite("reading the ledger");
        let transaction = self.db.transaction().map_err(&doing)?;
        let empty = "SELECT 1 FROM journal LIMIT 1";
        if transaction.query_row(empty, [], |_| Ok(())).optional().map_err(&doing)?.is_none() {
            return Ok(None);
        }
        self.lock.mark();
        let (folded, tables) = read::tables(&transaction)?;
        let at_fold = read::row(&transaction, folded.sequence)?;
        if at_fold.is_none_or(|row| row.hash != folded.hash) {
            return Err(StoreError::damaged(format!(
                "they are of journal row {}, but that row is not in the journal",
                folded.sequence
            )));
        }
        let mut head = folded;
        let tail = read::rows_after(&transaction, folded.sequence)?;
        for row in &tail {
            row.follow(&mut head)?;
        }
        Ok(Some(Recovered { tables, folded, tail }))
    }

    fn commit(&mut self, group: &Group<'_>) -> Result<(), StoreError> {
        let result = commit(&mut self.db, group);
        self.failed |= result.is_err();
        if result.is_ok() {
            self.lock.mark();
        }
        result
    }
}

fn commit(db: &mut Connection, group: &Group<'_>) -> Result<(), StoreError> {
    let doing = StoreError::sqlite("committing to the ledger");
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&doing)?;
    append(&transaction, group.rows).map_err(&doing)?;
    if let Some(fold) = &group.fold {
        fold_tables(&transaction, fold).map_err(&doing)?;
    }
    transaction.commit().map_err(&doing)
}

fn append(db: &Transaction<'_>, rows: &[Row]) -> rusqlite::Result<()> {
    let mut insert =
        db.prepare_cached("INSERT INTO journal (sequence, kind, payload, hash) VALUES (?1, ?2, ?3, ?4)")?;
    for row in rows {
        insert.execute(params![row.sequence, row.kind, row.payload, row.hash.0])?;
    }
    Ok(())
}

/// Brings the tables up to `fold.head`.
fn fold_tables(db: &Transaction<'_>, fold: &Fold<'_>) -> rusqlite::Result<()> {
    let (state, changes) = (fold.state, fold.changes);
    fold_ledger(db, fold)?;
    let mut credit = db.prepare_cached(
        "INSERT INTO credits (epoch, key, amount) VALUES (?1, ?2, ?3)
         ON CONFLICT (epoch, key) DO UPDATE SET amount = amount + excluded.amount",
    )?;
    for (epoch, credits) in &changes.credits {
        // In the order of the tree, so that neighbours share the page that is open.
        let mut credits: Vec<_> = credits.iter().collect();
        credits.sort_unstable();
        for (key, amount) in credits {
            credit.execute(params![epoch.get(), key.as_bytes(), amount.get()])?;
        }
    }
    for epoch in changes.epochs.iter().copied().chain([state.open_epoch()]) {
        fold_epoch(db, fold, epoch)?;
    }
    for hash in &changes.blocks {
        if let Some(block) = state.block(hash) {
            fold_block(db, block)?;
        }
    }
    Ok(())
}

/// The rows that are few enough to be written each time.
fn fold_ledger(db: &Transaction<'_>, fold: &Fold<'_>) -> rusqlite::Result<()> {
    let (Head { sequence, hash }, state) = (fold.head, fold.state);
    let totals = state.totals();
    db.prepare_cached(
        "INSERT OR REPLACE INTO ledger
         (one, folded, folded_hash, rewards, fees, carry, pots, tip, leases_taken)
         VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        sequence,
        hash.0,
        totals.rewards.get(),
        totals.fees.get(),
        totals.carry.get(),
        totals.pots.get(),
        state.tip(),
        state.leases_taken()
    ])?;
    let mut insert = db.prepare_cached(
        "INSERT OR REPLACE INTO params (first_epoch, q, window, fee_ppm, maturity, redeem_blocks)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for (first, p) in state.params_by_epoch() {
        insert.execute(params![first.get(), p.q, p.window, p.fee_ppm, p.maturity, p.redeem_blocks])?;
    }
    let mut insert =
        db.prepare_cached("INSERT OR REPLACE INTO sources (front, shard, sequence) VALUES (?1, ?2, ?3)")?;
    for (source, last) in state.sources() {
        insert.execute(params![source.front, source.shard, last])?;
    }
    Ok(())
}

fn fold_epoch(db: &Transaction<'_>, fold: &Fold<'_>, epoch: Epoch) -> rusqlite::Result<()> {
    let info = fold.state.epoch(epoch).expect("only epochs that are open or closed change");
    let mut insert = db.prepare_cached(
        "INSERT OR REPLACE INTO epochs (epoch, state, size, credited, pot, swept, redeemable_until)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    insert.execute(params![
        epoch.get(),
        info.state.name(),
        info.size.get(),
        info.credited.get(),
        info.pot.get(),
        info.swept.get(),
        info.redeemable_until
    ])?;
    Ok(())
}

fn fold_block(db: &Transaction<'_>, block: &Block) -> rusqlite::Result<()> {
    let hash = block.hash.to_bytes();
    let payment = block.payment.as_ref();
    db.prepare_cached(
        "INSERT OR REPLACE INTO blocks
         (hash, prev_hash, height, reward, epoch, status, fee, per_epoch, carry_in, carry_out)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?
    .execute(params![
        hash,
        block.prev_hash.map(|hash| hash.to_bytes()),
        block.height,
        block.reward.get(),
        block.epoch.get(),
        block.status.name(),
        payment.map(|p| p.fee.get()),
        payment.map(|p| p.per_epoch.get()),
        payment.map(|p| p.carry_in.get()),
        payment.map(|p| p.carry_out.get()),
    ])?;
    db.prepare_cached("DELETE FROM lines WHERE block = ?1")?.execute([hash])?;
    if let Some(payment) = payment {
        let mut insert = db.prepare_cached("INSERT INTO lines (block, epoch, amount) VALUES (?1, ?2, ?3)")?;
        for epoch in &payment.epochs {
            insert.execute(params![hash, epoch.get(), payment.per_epoch.get()])?;
        }
    }
    Ok(())
}
