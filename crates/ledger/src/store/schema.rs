//! The tables, and the version of their layout.

use super::StoreError;
use rusqlite::Connection;
use std::path::Path;

/// Layout that this program writes. A newer one is refused; an older one is brought up when the ledger is opened for writing.
pub(super) const VERSION: i64 = 2;
/// Before epochs ended: their journals know no `redeem_blocks`, so that no epoch of theirs has an end.
const BEFORE_ENDS: i64 = 1;
const FROM_BEFORE_ENDS: &str = "
ALTER TABLE params ADD COLUMN redeem_blocks INTEGER NOT NULL DEFAULT 0;
ALTER TABLE epochs ADD COLUMN redeemable_until INTEGER;
";
/// "ASAY": tells a ledger from other SQLite files.
pub(super) const APPLICATION: i64 = 0x4153_4159;

/// `amount`s count eHash in `credits` and msat elsewhere. Hashes are in the byte order of headers.
const TABLES: &str = "
CREATE TABLE journal (
    sequence INTEGER PRIMARY KEY,
    kind INTEGER NOT NULL,
    payload BLOB NOT NULL,
    hash BLOB NOT NULL
) STRICT;
CREATE TRIGGER journal_is_not_changed BEFORE UPDATE ON journal
    BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER journal_is_not_cut BEFORE DELETE ON journal
    BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;

CREATE TABLE ledger (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    folded INTEGER NOT NULL,
    folded_hash BLOB NOT NULL,
    rewards INTEGER NOT NULL,
    fees INTEGER NOT NULL,
    carry INTEGER NOT NULL,
    pots INTEGER NOT NULL,
    tip INTEGER,
    leases_taken INTEGER NOT NULL
) STRICT;
CREATE TABLE params (
    first_epoch INTEGER PRIMARY KEY,
    q INTEGER NOT NULL,
    window INTEGER NOT NULL,
    fee_ppm INTEGER NOT NULL,
    maturity INTEGER NOT NULL,
    redeem_blocks INTEGER NOT NULL
) STRICT;
CREATE TABLE epochs (
    epoch INTEGER PRIMARY KEY,
    state TEXT NOT NULL,
    size INTEGER NOT NULL,
    credited INTEGER NOT NULL,
    pot INTEGER NOT NULL,
    swept INTEGER NOT NULL,
    redeemable_until INTEGER
) STRICT;
CREATE TABLE credits (
    epoch INTEGER NOT NULL,
    key BLOB NOT NULL,
    amount INTEGER NOT NULL,
    PRIMARY KEY (epoch, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX credits_by_key ON credits (key, epoch);
CREATE TABLE blocks (
    hash BLOB PRIMARY KEY,
    prev_hash BLOB,
    height INTEGER NOT NULL,
    reward INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    status TEXT NOT NULL,
    fee INTEGER,
    per_epoch INTEGER,
    carry_in INTEGER,
    carry_out INTEGER
) STRICT;
CREATE INDEX blocks_by_height ON blocks (height, hash);
CREATE TABLE lines (
    block BLOB NOT NULL,
    epoch INTEGER NOT NULL,
    amount INTEGER NOT NULL,
    PRIMARY KEY (block, epoch)
) STRICT, WITHOUT ROWID;
CREATE INDEX lines_by_epoch ON lines (epoch, block, amount);
CREATE TABLE sources (
    front INTEGER NOT NULL,
    shard INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    PRIMARY KEY (front, shard)
) STRICT, WITHOUT ROWID;
";

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Empty,
    Ledger,
    /// Of an older program.
    Older,
}

/// Looks at a file before anything is changed in it.
pub(super) fn look(db: &Connection, path: &Path) -> Result<Found, StoreError> {
    // A file that is no database at all shows here, at the first look.
    let foreign = |source: rusqlite::Error| match source.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase) => StoreError::NotALedger { path: path.into() },
        _ => StoreError::sqlite("opening the ledger")(source),
    };
    let pragma = |name| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map_err(foreign);
    let count = "SELECT count(*) FROM sqlite_schema";
    let objects: i64 = db.query_row(count, [], |row| row.get(0)).map_err(foreign)?;
    match (pragma("application_id")?, pragma("user_version")?) {
        (0, 0) if objects == 0 => Ok(Found::Empty),
        (APPLICATION, VERSION) => Ok(Found::Ledger),
        (APPLICATION, BEFORE_ENDS) => Ok(Found::Older),
        (APPLICATION, found) if found > VERSION => {
            Err(StoreError::Newer { path: path.into(), found, known: VERSION })
        }
        _ => Err(StoreError::NotALedger { path: path.into() }),
    }
}

/// Brings an older layout up, wholly or not at all.
pub(super) fn bring_up(db: &mut Connection) -> Result<(), StoreError> {
    let doing = StoreError::sqlite("bringing the ledger's tables up to this version");
    let transaction = db.transaction().map_err(&doing)?;
    transaction.execute_batch(FROM_BEFORE_ENDS).map_err(&doing)?;
    transaction.pragma_update(None, "user_version", VERSION).map_err(&doing)?;
    transaction.commit().map_err(&doing)
}

/// Lays out an empty file, wholly or not at all.
pub(super) fn create(db: &mut Connection) -> Result<(), StoreError> {
    let doing = StoreError::sqlite("creating the ledger");
    let transaction = db.transaction().map_err(&doing)?;
    transaction.execute_batch(TABLES).map_err(&doing)?;
    transaction.pragma_update(None, "application_id", APPLICATION).map_err(&doing)?;
    transaction.pragma_update(None, "user_version", VERSION).map_err(&doing)?;
    transaction.commit().map_err(&doing)
}
