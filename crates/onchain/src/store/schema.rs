//! The tables, and the version of their layout.

use {
    crate::StoreError,
    bdk_wallet::ChangeSet,
    rusqlite::{Connection, Transaction},
    std::path::Path,
};

/// Layout that this program writes. A newer one is refused; an older one would be migrated here.
const VERSION: i64 = 1;
/// "ASOC": tells a wallet from other SQLite files.
const APPLICATION: i64 = 0x4153_4f43;

/// Ours; BDK makes its own beside them. Amounts count satoshi, hashes are in the byte order of headers.
///
/// A payout is requested while it has no transaction, and never loses the one it has got. A transaction is confirmed while
/// it has a height.
const TABLES: &str = "
CREATE TABLE transactions (
    number INTEGER PRIMARY KEY,
    txid BLOB NOT NULL UNIQUE,
    raw BLOB NOT NULL,
    fee INTEGER NOT NULL,
    height INTEGER,
    block BLOB,
    CHECK ((height IS NULL) = (block IS NULL))
) STRICT;
CREATE INDEX transactions_pending ON transactions (number) WHERE height IS NULL;
CREATE INDEX transactions_by_block ON transactions (block) WHERE block IS NOT NULL;
CREATE TRIGGER transactions_are_not_forgotten BEFORE DELETE ON transactions
    BEGIN SELECT RAISE(ABORT, 'what was signed is kept'); END;

CREATE TABLE payouts (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    script BLOB NOT NULL,
    amount INTEGER NOT NULL,
    max_fee INTEGER NOT NULL,
    withdrawn INTEGER NOT NULL DEFAULT 0,
    txid BLOB REFERENCES transactions (txid),
    vout INTEGER,
    fee INTEGER,
    CHECK ((txid IS NULL) = (vout IS NULL) AND (txid IS NULL) = (fee IS NULL)),
    CHECK (txid IS NULL OR withdrawn = 0),
    CHECK (fee IS NULL OR fee <= max_fee)
) STRICT;
CREATE INDEX payouts_requested ON payouts (number) WHERE txid IS NULL AND withdrawn = 0;
CREATE INDEX payouts_by_transaction ON payouts (txid) WHERE txid IS NOT NULL;
CREATE TRIGGER payouts_keep_their_transaction BEFORE UPDATE ON payouts
    WHEN OLD.txid IS NOT NULL OR OLD.withdrawn = 1
    BEGIN SELECT RAISE(ABORT, 'a payout is signed once'); END;
CREATE TRIGGER payouts_are_not_forgotten BEFORE DELETE ON payouts
    BEGIN SELECT RAISE(ABORT, 'payouts are kept'); END;

CREATE TABLE foreign_spends (
    txid BLOB NOT NULL,
    height INTEGER NOT NULL,
    block BLOB NOT NULL,
    accepted INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (txid, block)
) STRICT, WITHOUT ROWID;
";

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Empty,
    Wallet,
}

/// Looks at a file before anything is changed in it.
pub(super) fn look(db: &Connection, path: &Path) -> Result<Found, StoreError> {
    // A file that is no database at all shows here, at the first look.
    let foreign = |source: rusqlite::Error| match source.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase) => StoreError::NotAWallet { path: path.into() },
        _ => StoreError::sqlite("opening the wallet")(source),
    };
    let pragma = |name| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map_err(foreign);
    let count = "SELECT count(*) FROM sqlite_schema";
    let objects: i64 = db.query_row(count, [], |row| row.get(0)).map_err(foreign)?;
    match (pragma("application_id")?, pragma("user_version")?) {
        (0, 0) if objects == 0 => Ok(Found::Empty),
        (APPLICATION, VERSION) => Ok(Found::Wallet),
        (APPLICATION, found) if found > VERSION => {
            Err(StoreError::Newer { path: path.into(), found, known: VERSION })
        }
        _ => Err(StoreError::NotAWallet { path: path.into() }),
    }
}

/// Lays out an empty file, as a part of the transaction that fills it.
pub(super) fn create(db: &Transaction<'_>) -> rusqlite::Result<()> {
    db.execute_batch(TABLES)?;
    ChangeSet::init_sqlite_tables(db)?;
    db.pragma_update(None, "application_id", APPLICATION)?;
    db.pragma_update(None, "user_version", VERSION)
}
