//! Payouts and the transactions that pay them, as they stand in the file.

use {
    crate::OnchainError,
    bitcoin::{Amount, Block, BlockHash, OutPoint, ScriptBuf, Transaction, Txid, consensus, hashes::Hash},
    rusqlite::{Connection, OptionalExtension, Row, params, types::Type},
    serde::{Deserialize, Serialize},
    std::fmt,
};

/// Longest id, in bytes.
const MAX_ID: usize = 128;
/// Most requested payouts that one batch chooses among, oldest first.
const MAX_CANDIDATES: u32 = 2_000;

/// Names a payout. The caller chooses it, and names the same payout by it for ever.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PayoutId(String);

impl PayoutId {
    /// An id of 1 to 128 bytes.
    ///
    /// # Errors
    /// [`OnchainError::BadId`] for any other length.
    pub fn new(text: impl Into<String>) -> Result<PayoutId, OnchainError> {
        let text = text.into();
        match text.len() {
            1..=MAX_ID => Ok(PayoutId(text)),
            len => Err(OnchainError::BadId { len, max: MAX_ID }),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PayoutId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for PayoutId {
    type Error = OnchainError;

    fn try_from(text: String) -> Result<PayoutId, OnchainError> {
        PayoutId::new(text)
    }
}

impl From<PayoutId> for String {
    fn from(id: PayoutId) -> String {
        id.0
    }
}

/// A payout and what has become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payout {
    /// Its name.
    pub id: PayoutId,
    /// Where it goes.
    pub script: ScriptBuf,
    /// What arrives there.
    pub amount: Amount,
    /// Most that its part of the fee may be.
    pub max_fee: Amount,
    /// How far it is.
    pub status: PayoutStatus,
}

/// How far a payout is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayoutStatus {
    /// It waits for a batch.
    Requested,
    /// It was taken back before it was in a batch, and will never be paid.
    Withdrawn,
    /// A transaction pays it, which is sent until a block holds it.
    Signed {
        /// The output.
        outpoint: OutPoint,
        /// The payout's part of the transaction's fee.
        fee_paid: Amount,
    },
    /// A block of the best chain holds the transaction.
    Confirmed {
        /// The output.
        outpoint: OutPoint,
        /// The block's height.
        height: u32,
        /// The payout's part of the transaction's fee.
        fee_paid: Amount,
    },
}

/// A payout that waits for a batch.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub number: i64,
    pub id: PayoutId,
    pub script: ScriptBuf,
    pub amount: Amount,
    pub max_fee: Amount,
}

/// A transaction that no block holds.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub txid: Txid,
    pub transaction: Transaction,
    pub fee: Amount,
}

pub(crate) fn find(db: &Connection, id: &PayoutId) -> rusqlite::Result<Option<Payout>> {
    let mut select = db.prepare_cached(
        "SELECT p.script, p.amount, p.max_fee, p.withdrawn, p.txid, p.vout, p.fee, t.height
         FROM payouts p LEFT JOIN transactions t ON t.txid = p.txid WHERE p.id = ?1",
    )?;
    let read = |row: &Row<'_>| {
        Ok(Payout {
            id: id.clone(),
            script: ScriptBuf::from_bytes(row.get(0)?),
            amount: Amount::from_sat(row.get(1)?),
            max_fee: Amount::from_sat(row.get(2)?),
            status: status(row)?,
        })
    };
    select.query_row([id.as_str()], read).optional()
}

fn status(row: &Row<'_>) -> rusqlite::Result<PayoutStatus> {
    let Some(txid) = row.get::<_, Option<[u8; 32]>>(4)? else {
        return Ok(if row.get(3)? { PayoutStatus::Withdrawn } else { PayoutStatus::Requested });
    };
    let outpoint = OutPoint { txid: Txid::from_byte_array(txid), vout: row.get(5)? };
    let fee_paid = Amount::from_sat(row.get(6)?);
    Ok(match row.get(7)? {
        Some(height) => PayoutStatus::Confirmed { outpoint, height, fee_paid },
        None => PayoutStatus::Signed { outpoint, fee_paid },
    })
}

pub(crate) fn insert(db: &Connection, payout: &Payout) -> rusqlite::Result<()> {
    let mut insert =
        db.prepare_cached("INSERT INTO payouts (id, script, amount, max_fee) VALUES (?1, ?2, ?3, ?4)")?;
    insert.execute(params![
        payout.id.as_str(),
        payout.script.as_bytes(),
        payout.amount.to_sat(),
        payout.max_fee.to_sat()
    ])?;
    Ok(())
}

pub(crate) fn withdraw(db: &Connection, id: &PayoutId) -> rusqlite::Result<()> {
    let changed = db.execute(
        "UPDATE payouts SET withdrawn = 1 WHERE id = ?1 AND txid IS NULL AND withdrawn = 0",
        [id.as_str()],
    )?;
    assert_eq!(changed, 1, "only a payout that is requested is withdrawn");
    Ok(())
}

/// The payouts that wait, oldest first.
pub(crate) fn wanted(db: &Connection) -> rusqlite::Result<Vec<Wanted>> {
    let mut select = db.prepare_cached(
        "SELECT number, id, script, amount, max_fee FROM payouts
         WHERE txid IS NULL AND withdrawn = 0 ORDER BY number LIMIT ?1",
    )?;
    let read = |row: &Row<'_>| {
        Ok(Wanted {
            number: row.get(0)?,
            id: PayoutId(row.get(1)?),
            script: ScriptBuf::from_bytes(row.get(2)?),
            amount: Amount::from_sat(row.get(3)?),
            max_fee: Amount::from_sat(row.get(4)?),
        })
    };
    select.query_map([MAX_CANDIDATES], read)?.collect()
}

/// Amounts and most fees of all payouts that wait.
pub(crate) fn wanted_sum(db: &Connection) -> rusqlite::Result<Amount> {
    let sum = "SELECT coalesce(sum(amount + max_fee), 0) FROM payouts WHERE txid IS NULL AND withdrawn = 0";
    db.query_row(sum, [], |row| row.get(0)).map(Amount::from_sat)
}

/// Amounts and fees of all payouts whose transaction no block holds.
pub(crate) fn signed_sum(db: &Connection) -> rusqlite::Result<Amount> {
    let sum = "SELECT coalesce(sum(p.amount + p.fee), 0) FROM payouts p
               JOIN transactions t ON t.txid = p.txid WHERE t.height IS NULL";
    db.query_row(sum, [], |row| row.get(0)).map(Amount::from_sat)
}

pub(crate) fn insert_transaction(db: &Connection, pending: &Pending) -> rusqlite::Result<()> {
    let mut insert = db.prepare_cached("INSERT INTO transactions (txid, raw, fee) VALUES (?1, ?2, ?3)")?;
    let raw = consensus::serialize(&pending.transaction);
    insert.execute(params![pending.txid.to_byte_array(), raw, pending.fee.to_sat()])?;
    Ok(())
}

/// Ties a payout to the output that pays it.
pub(crate) fn sign(db: &Connection, number: i64, outpoint: OutPoint, fee: Amount) -> rusqlite::Result<()> {
    let mut update = db.prepare_cached(
        "UPDATE payouts SET txid = ?2, vout = ?3, fee = ?4
         WHERE number = ?1 AND txid IS NULL AND withdrawn = 0",
    )?;
    let (txid, vout) = (outpoint.txid.to_byte_array(), outpoint.vout);
    let changed = update.execute(params![number, txid, vout, fee.to_sat()])?;
    assert_eq!(changed, 1, "a payout is signed once");
    Ok(())
}

/// The transactions that no block holds, parents before their children.
pub(crate) fn pending(db: &Connection) -> rusqlite::Result<Vec<Pending>> {
    let mut select =
        db.prepare_cached("SELECT txid, raw, fee FROM transactions WHERE height IS NULL ORDER BY number")?;
    let read = |row: &Row<'_>| {
        let raw: Vec<u8> = row.get(1)?;
        let transaction = consensus::deserialize(&raw)
            .map_err(|error| rusqlite::Error::FromSqlConversionFailure(1, Type::Blob, Box::new(error)))?;
        let (txid, fee) = (Txid::from_byte_array(row.get(0)?), Amount::from_sat(row.get(2)?));
        Ok(Pending { txid, transaction, fee })
    };
    select.query_map([], read)?.collect()
}

/// The blocks that confirm transactions.
pub(crate) fn confirming_blocks(db: &Connection) -> rusqlite::Result<Vec<(u32, BlockHash)>> {
    let mut select =
        db.prepare("SELECT DISTINCT height, block FROM transactions WHERE height IS NOT NULL")?;
    let read = |row: &Row<'_>| Ok((row.get(0)?, BlockHash::from_byte_array(row.get(1)?)));
    select.query_map([], read)?.collect()
}

/// Notes that `block` holds the transaction. Returns whether it is one of ours.
pub(crate) fn confirm(
    db: &Connection,
    txid: &Txid,
    height: u32,
    block: &BlockHash,
) -> rusqlite::Result<bool> {
    let mut update = db.prepare_cached("UPDATE transactions SET height = ?2, block = ?3 WHERE txid = ?1")?;
    Ok(update.execute(params![txid.to_byte_array(), height, block.to_byte_array()])? == 1)
}

/// Forgets what a block that left the chain has said.
pub(crate) fn disconnect(db: &Connection, block: &BlockHash) -> rusqlite::Result<()> {
    let hash = block.to_byte_array();
    db.execute("UPDATE transactions SET height = NULL, block = NULL WHERE block = ?1", [hash])?;
    db.execute("DELETE FROM foreign_spends WHERE block = ?1 AND accepted = 0", [hash])?;
    Ok(())
}

/// Notes a transaction that spends the wallet's coins without being one of its payouts.
pub(crate) fn note_foreign(db: &Connection, txid: &Txid, height: u32, block: &Block) -> rusqlite::Result<()> {
    // Accepted once is accepted in whatever block it comes.
    db.execute(
        "INSERT INTO foreign_spends (txid, height, block, accepted)
         VALUES (?1, ?2, ?3, EXISTS (SELECT 1 FROM foreign_spends WHERE txid = ?1 AND accepted = 1))
         ON CONFLICT DO NOTHING",
        params![txid.to_byte_array(), height, block.block_hash().to_byte_array()],
    )?;
    Ok(())
}

/// The first such transaction that nobody has accepted.
pub(crate) fn foreign(db: &Connection) -> rusqlite::Result<Option<(Txid, u32)>> {
    let first = "SELECT txid, height FROM foreign_spends WHERE accepted = 0 ORDER BY height LIMIT 1";
    let read = |row: &Row<'_>| Ok((Txid::from_byte_array(row.get(0)?), row.get(1)?));
    db.query_row(first, [], read).optional()
}

pub(crate) fn accept_foreign(db: &Connection) -> rusqlite::Result<usize> {
    db.execute("UPDATE foreign_spends SET accepted = 1 WHERE accepted = 0", [])
}
