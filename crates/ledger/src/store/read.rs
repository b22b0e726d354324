//! Reading rows back, and refusing those that were never written.

use super::{StoreError, lock, schema};
use crate::{
    Block, BlockHash, BlockStatus, Epoch, EpochInfo, EpochState, Msats, Params, Payment, Source, Tables,
    Totals,
    journal::{ChainHash, Decoder, Head, Row},
};
use rusqlite::{Connection, OpenFlags, Transaction, types::FromSql};
use std::path::Path;
use work::{Ehash, PayoutKey};

const READING: &str = "reading the ledger";

/// A connection that cannot write.
#[derive(Debug)]
pub(crate) struct ReadOnly {
    pub(crate) db: Connection,
}

impl ReadOnly {
    /// Opens a ledger that another process may be writing, or was.
    pub(crate) fn open(path: &Path) -> Result<ReadOnly, StoreError> {
        // SQLite would delete the log of an empty file.
        if !lock::is_long(path) {
            return Err(StoreError::Missing { path: path.into() });
        }
        let doing = StoreError::sqlite("opening the ledger for reading");
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(path, flags).map_err(&doing)?;
        db.busy_timeout(std::time::Duration::from_secs(10)).map_err(&doing)?;
        db.set_prepared_statement_cache_capacity(32);
        match schema::look(&db, path)? {
            schema::Found::Ledger => Ok(ReadOnly { db }),
            schema::Found::Empty => Err(StoreError::Missing { path: path.into() }),
            schema::Found::Older => Err(StoreError::Older { path: path.into() }),
        }
    }
}

impl ReadOnly {
    /// A read transaction: all that is read through it is of one moment.
    pub(crate) fn snapshot(&mut self) -> Result<Transaction<'_>, StoreError> {
        self.db.transaction().map_err(StoreError::sqlite(READING))
    }
}

/// The epoch that was open when the tables were brought up.
pub(crate) fn open_epoch(db: &Connection) -> Result<Epoch, StoreError> {
    let open = db.query_row("SELECT max(epoch) FROM epochs", [], |row| row.get(0)).map(Epoch);
    open.map_err(StoreError::sqlite(READING))
}

/// One row's columns, by name, with errors that say which.
struct Columns<'a, 'b> {
    table: &'static str,
    row: &'a rusqlite::Row<'b>,
}

impl Columns<'_, '_> {
    fn get<T: FromSql>(&self, column: &'static str) -> Result<T, StoreError> {
        self.row.get(column).map_err(|e| StoreError::damaged(format!("table {}: {e}", self.table)))
    }

    fn msats(&self, column: &'static str) -> Result<Msats, StoreError> {
        self.get(column).map(Msats::new)
    }

    fn ehash(&self, column: &'static str) -> Result<Ehash, StoreError> {
        self.get(column).map(Ehash::new)
    }

    fn epoch(&self, column: &'static str) -> Result<Epoch, StoreError> {
        self.get(column).map(Epoch)
    }

    fn hash(&self, column: &'static str) -> Result<BlockHash, StoreError> {
        self.get(column).map(BlockHash::from_bytes)
    }
}

/// All rows of a query.
fn select<T>(
    db: &Connection,
    table: &'static str,
    sql: &str,
    values: impl rusqlite::Params,
    mut read: impl FnMut(&Columns<'_, '_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let doing = StoreError::sqlite(READING);
    let mut statement = db.prepare_cached(sql).map_err(&doing)?;
    let mut rows = statement.query(values).map_err(&doing)?;
    let mut all = Vec::new();
    while let Some(row) = rows.next().map_err(&doing)? {
        all.push(read(&Columns { table, row })?);
    }
    Ok(all)
}

/// The tables, and the journal row that they are a snapshot after.
pub(crate) fn tables(db: &Connection) -> Result<(Head, Tables), StoreError> {
    let (folded, totals, tip, leases_taken) = ledger(db)?;
    let epochs = epochs(db, Epoch::ZERO, u32::MAX)?;
    let open_credits = match epochs.last() {
        Some(open) => credits_in(db, &mut Decoder::new(), open.epoch, None, u32::MAX)?,
        None => Vec::new(),
    };
    let tables = Tables {
        params: params(db)?,
        epochs,
        open_credits,
        blocks: all_blocks(db)?,
        sources: sources(db)?,
        totals,
        tip,
        leases_taken,
    };
    Ok((folded, tables))
}

/// The one row of the ledger itself.
pub(crate) fn ledger(db: &Connection) -> Result<(Head, Totals, Option<u32>, u32), StoreError> {
    let rows = select(db, "ledger", "SELECT * FROM ledger", [], |c| {
        let folded = Head { sequence: c.get("folded")?, hash: ChainHash(c.get("folded_hash")?) };
        let totals = Totals {
            rewards: c.msats("rewards")?,
            fees: c.msats("fees")?,
            carry: c.msats("carry")?,
            pots: c.msats("pots")?,
        };
        Ok((folded, totals, c.get("tip")?, c.get("leases_taken")?))
    })?;
    rows.into_iter().next().ok_or_else(|| StoreError::damaged("table ledger is empty"))
}

/// All parameters, by the first epoch that has them.
pub(crate) fn params(db: &Connection) -> Result<Vec<(Epoch, Params)>, StoreError> {
    select(db, "params", "SELECT * FROM params ORDER BY first_epoch", [], |c| {
        let params = Params {
            q: c.get("q")?,
            window: c.get("window")?,
            fee_ppm: c.get("fee_ppm")?,
            maturity: c.get("maturity")?,
            redeem_blocks: c.get("redeem_blocks")?,
        };
        Ok((c.epoch("first_epoch")?, params))
    })
}

pub(crate) fn sources(db: &Connection) -> Result<Vec<(Source, u64)>, StoreError> {
    select(db, "sources", "SELECT * FROM sources ORDER BY front, shard", [], |c| {
        Ok((Source { front: c.get("front")?, shard: c.get("shard")? }, c.get("sequence")?))
    })
}

/// Epochs from one on, ascending.
pub(crate) fn epochs(db: &Connection, from: Epoch, limit: u32) -> Result<Vec<EpochInfo>, StoreError> {
    let sql = "SELECT * FROM epochs WHERE epoch >= ?1 ORDER BY epoch LIMIT ?2";
    select(db, "epochs", sql, [from.get(), limit], |c| {
        let epoch = c.epoch("epoch")?;
        let name: String = c.get("state")?;
        let state = EpochState::ALL.into_iter().find(|state| state.name() == name);
        Ok(EpochInfo {
            epoch,
            state: state.ok_or_else(|| StoreError::damaged(format!("epoch {epoch} is {name:?}")))?,
            size: c.ehash("size")?,
            credited: c.ehash("credited")?,
            pot: c.msats("pot")?,
            swept: c.msats("swept")?,
            redeemable_until: c.get("redeemable_until")?,
        })
    })
}

/// Credits of one epoch, by key.
pub(crate) fn credits_in(
    db: &Connection,
    keys: &mut Decoder,
    epoch: Epoch,
    after: Option<PayoutKey>,
    limit: u32,
) -> Result<Vec<(PayoutKey, Ehash)>, StoreError> {
    let sql = "SELECT key, amount FROM credits WHERE epoch = ?1 AND key > ?2 ORDER BY key LIMIT ?3";
    let after = after.map_or(Vec::new(), |key| key.as_bytes().to_vec());
    select(db, "credits", sql, (epoch.get(), after, limit), |c| {
        let key =
            keys.key(c.get("key")?).map_err(|e| StoreError::damaged(format!("credits of {epoch}: {e}")))?;
        Ok((key, c.ehash("amount")?))
    })
}

/// What one key has in one epoch.
pub(crate) fn credit(db: &Connection, epoch: Epoch, key: &PayoutKey) -> Result<Ehash, StoreError> {
    let sql = "SELECT amount FROM credits WHERE epoch = ?1 AND key = ?2";
    let amounts = select(db, "credits", sql, (epoch.get(), key.as_bytes()), |c| c.ehash("amount"))?;
    Ok(amounts.into_iter().next().unwrap_or(Ehash::ZERO))
}

/// What one key has in each epoch from one on, ascending.
pub(crate) fn credits_of(
    db: &Connection,
    key: &PayoutKey,
    from: Epoch,
    limit: u32,
) -> Result<Vec<(Epoch, Ehash)>, StoreError> {
    let sql = "SELECT epoch, amount FROM credits WHERE key = ?1 AND epoch >= ?2 ORDER BY epoch LIMIT ?3";
    select(db, "credits", sql, (key.as_bytes(), from.get(), limit), |c| {
        Ok((c.epoch("epoch")?, c.ehash("amount")?))
    })
}

/// What each key has in all epochs together, by key. A sum of up to 2^32 epochs of 2^50 is taken in two halves, as
/// SQLite adds in 63 bits.
pub(crate) fn credits_by_key(
    db: &Connection,
    keys: &mut Decoder,
    after: Option<PayoutKey>,
    limit: u32,
) -> Result<Vec<(PayoutKey, u128)>, StoreError> {
    let sql = "SELECT key, sum(amount >> 30) AS high, sum(amount & 1073741823) AS low
               FROM credits INDEXED BY credits_by_key WHERE key > ?1 GROUP BY key ORDER BY key LIMIT ?2";
    let after = after.map_or(Vec::new(), |key| key.as_bytes().to_vec());
    select(db, "credits", sql, (after, limit), |c| {
        let key = keys.key(c.get("key")?).map_err(|e| StoreError::damaged(format!("credits: {e}")))?;
        let (high, low): (u64, u64) = (c.get("high")?, c.get("low")?);
        Ok((key, (u128::from(high) << 30) + u128::from(low)))
    })
}

fn all_blocks(db: &Connection) -> Result<Vec<Block>, StoreError> {
    select_blocks(db, "SELECT * FROM blocks ORDER BY hash", [])
}

/// Blocks below a height, the highest first.
pub(crate) fn blocks(db: &Connection, below: Option<u32>, limit: u32) -> Result<Vec<Block>, StoreError> {
    let sql = "SELECT * FROM blocks WHERE height < ?1 ORDER BY height DESC, hash DESC LIMIT ?2";
    select_blocks(db, sql, (below.map_or(i64::MAX, i64::from), limit))
}

/// Blocks that the chain has not decided about.
pub(crate) fn unsettled_blocks(db: &Connection) -> Result<Vec<Block>, StoreError> {
    let sql = "SELECT * FROM blocks WHERE status IN ('found', 'connected', 'disconnected') ORDER BY height";
    select_blocks(db, sql, [])
}

fn select_blocks(
    db: &Connection,
    sql: &str,
    values: impl rusqlite::Params,
) -> Result<Vec<Block>, StoreError> {
    select(db, "blocks", sql, values, |c| {
        let hash = c.hash("hash")?;
        let name: String = c.get("status")?;
        let status = BlockStatus::ALL.into_iter().find(|status| status.name() == name);
        let amounts: [Option<u64>; 4] =
            [c.get("fee")?, c.get("per_epoch")?, c.get("carry_in")?, c.get("carry_out")?];
        let lines = lines(db, "SELECT * FROM lines WHERE block = ?1 ORDER BY epoch", [hash.to_bytes()])?;
        let payment = match amounts.map(|amount| amount.map(Msats::new)) {
            [Some(fee), Some(per_epoch), Some(carry_in), Some(carry_out)] => {
                if let Some(line) = lines.iter().find(|line| line.amount != per_epoch) {
                    return Err(StoreError::damaged(format!(
                        "block {hash}, epoch {}: the line is {}, not {per_epoch}",
                        line.epoch, line.amount
                    )));
                }
                let epochs = lines.into_iter().map(|line| line.epoch).collect();
                Some(Payment { fee, per_epoch, carry_in, carry_out, epochs })
            }
            _ if !lines.is_empty() => {
                return Err(StoreError::damaged(format!("block {hash} has lines but no payment")));
            }
            _ => None,
        };
        Ok(Block {
            hash,
            prev_hash: c.get::<Option<[u8; 32]>>("prev_hash")?.map(BlockHash::from_bytes),
            height: c.get("height")?,
            reward: c.msats("reward")?,
            epoch: c.epoch("epoch")?,
            status: status.ok_or_else(|| StoreError::damaged(format!("block {hash} is {name:?}")))?,
            payment,
        })
    })
}

/// Lines of pots.
pub(crate) fn lines(
    db: &Connection,
    sql: &str,
    values: impl rusqlite::Params,
) -> Result<Vec<crate::Line>, StoreError> {
    select(db, "lines", sql, values, |c| {
        Ok(crate::Line { block: c.hash("block")?, epoch: c.epoch("epoch")?, amount: c.msats("amount")? })
    })
}

/// How many rows of blocks and lines there are.
pub(crate) fn count(db: &Connection, sql: &str) -> Result<u64, StoreError> {
    db.query_row(sql, [], |row| row.get(0)).map_err(StoreError::sqlite(READING))
}

fn journal_row(c: &Columns<'_, '_>) -> Result<Row, StoreError> {
    Ok(Row {
        sequence: c.get("sequence")?,
        kind: c.get("kind")?,
        payload: c.get("payload")?,
        hash: ChainHash(c.get("hash")?),
    })
}

/// One row of the journal.
pub(crate) fn row(db: &Connection, sequence: u64) -> Result<Option<Row>, StoreError> {
    let sql = "SELECT * FROM journal WHERE sequence = ?1";
    Ok(select(db, "journal", sql, [sequence], journal_row)?.into_iter().next())
}

/// The rows after one, which are few.
pub(crate) fn rows_after(db: &Connection, sequence: u64) -> Result<Vec<Row>, StoreError> {
    let sql = "SELECT * FROM journal WHERE sequence > ?1 ORDER BY sequence";
    select(db, "journal", sql, [sequence], journal_row)
}

/// Hands over all rows of the journal, one at a time, however many there are.
pub(crate) fn each_row(
    db: &Connection,
    mut take: impl FnMut(Row) -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    let doing = StoreError::sqlite("reading the journal");
    let mut statement = db.prepare("SELECT * FROM journal ORDER BY sequence").map_err(&doing)?;
    let mut rows = statement.query([]).map_err(&doing)?;
    while let Some(row) = rows.next().map_err(&doing)? {
        if !take(journal_row(&Columns { table: "journal", row })?)? {
            break;
        }
    }
    Ok(())
}
