//! The wallet's file: BDK's change set and the payouts, in one SQLite database with one writer.

mod lock;
mod schema;

use {
    crate::{OnchainError, StoreError},
    bdk_wallet::ChangeSet,
    lock::Lock,
    rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior},
    std::path::{Path, PathBuf},
};

/// Name of the file in the data directory.
pub(crate) const FILE: &str = "onchain.sqlite";

/// An open file, for this process alone.
pub(crate) struct Store {
    path: PathBuf,
    db: Connection,
    lock: Lock,
    created: bool,
}

impl Store {
    /// Opens the file at `path`, or an empty one, which [`Store::create`] then fills.
    pub(crate) fn open(path: &Path) -> Result<Store, OnchainError> {
        let mut lock = Lock::take(path)?;
        let (db, found) = connect(path)?;
        let created = found == schema::Found::Wallet;
        if created {
            lock.mark();
        }
        Ok(Store { path: path.into(), db, lock, created })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is a wallet in it.
    pub(crate) fn is_created(&self) -> bool {
        self.created
    }

    /// Lays the file out with its first change set, wholly or not at all.
    pub(crate) fn create(&mut self, first: &ChangeSet) -> Result<(), OnchainError> {
        assert!(!self.created, "a wallet is created once");
        let failed = StoreError::sqlite("creating the wallet");
        self.write("creating the wallet", |transaction| {
            schema::create(transaction).map_err(&failed)?;
            first.persist_to_sqlite(transaction).map_err(&failed)?;
            Ok(())
        })?;
        self.created = true;
        self.lock.mark();
        Ok(())
    }

    /// What BDK has stored.
    pub(crate) fn change_set(&mut self) -> Result<ChangeSet, OnchainError> {
        let failed = StoreError::sqlite("reading the wallet");
        let transaction = self.db.transaction().map_err(&failed)?;
        // Brings tables of an older BDK up to date.
        ChangeSet::init_sqlite_tables(&transaction).map_err(&failed)?;
        let changes = ChangeSet::from_sqlite(&transaction).map_err(&failed)?;
        transaction.commit().map_err(&failed)?;
        Ok(changes)
    }

    /// For reading what is committed.
    pub(crate) fn db(&self) -> &Connection {
        &self.db
    }

    /// One transaction: all that `change` does is durable, or none of it was done.
    pub(crate) fn write<T>(
        &mut self,
        doing: &'static str,
        change: impl FnOnce(&Transaction<'_>) -> Result<T, OnchainError>,
    ) -> Result<T, OnchainError> {
        let failed = StoreError::sqlite(doing);
        let transaction =
            self.db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&failed)?;
        let value = change(&transaction)?;
        transaction.commit().map_err(&failed)?;
        Ok(value)
    }

    /// Opens the file anew: after a commit that failed, what the connection believes may differ from what is on the disk.
    pub(crate) fn reconnect(&mut self) -> Result<(), OnchainError> {
        self.db = connect(&self.path)?.0;
        Ok(())
    }
}

fn connect(path: &Path) -> Result<(Connection, schema::Found), StoreError> {
    let gone = || StoreError::Gone { path: path.into() };
    // Before SQLite looks: of an empty file it takes the log to be left over, and deletes it.
    if !lock::is_long(path) && lock::was_kept(path) {
        return Err(gone());
    }
    let failed = StoreError::sqlite("opening the wallet");
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags).map_err(&failed)?;
    let found = match schema::look(&db, path) {
        Ok(schema::Found::Empty) | Err(StoreError::NotAWallet { .. }) if lock::was_kept(path) => {
            return Err(gone());
        }
        found => found?,
    };
    db.busy_timeout(std::time::Duration::from_secs(10)).map_err(&failed)?;
    db.pragma_update(None, "journal_mode", "WAL").map_err(&failed)?;
    // FULL syncs the log at every commit. NORMAL, the usual choice, would forget with the power what was sent already.
    db.pragma_update(None, "synchronous", "FULL").map_err(&failed)?;
    db.pragma_update(None, "fullfsync", true).map_err(&failed)?;
    db.pragma_update(None, "foreign_keys", true).map_err(&failed)?;
    db.set_prepared_statement_cache_capacity(32);
    Ok((db, found))
}

#[cfg(test)]
mod tests;
